//! `alphapulse verify books`: whether recorded books can be proved.
//! frames (or a feed's captured inputs) -> the venue's machine -> per book: what proved it, and what disagrees, by line.

mod judge;
mod report;
pub mod venue;

use crate::{
    recorded::{self, Answers, Frames, Playback},
    venue_name,
};
use anyhow::{Context, bail};
use capture::{Played, Player};
use clap::Args;
use judge::Judge;
use model::{StreamKind, Venue};
use report::{FileReport, Report};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use venues::{Session, SessionSettings, Settings};

/// Exit status 0 when every book is proved and nothing disagrees, 1 when something does, 2 when input cannot be used.
/// See docs/verify.md for what each figure means.
#[derive(Args)]
pub struct BooksArgs {
    /// Frames, one a line, plain or gzip, or a feed's raw captures: files, or a venue's folder of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The venue that sent them; known from the frames where it can be.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    /// REST exchanges or bodies that answer what the venue's machine asks for; without it those beside each file. May
    /// be repeated.
    #[arg(long, value_name = "FILE")]
    rest: Vec<PathBuf>,
    /// Only these symbols; whatever arrives, when not given. Captures have those the feed was configured with.
    #[arg(long, value_delimiter = ',')]
    symbols: Vec<String>,
    /// Levels a side the books were subscribed with, where the frames do not say.
    #[arg(long, default_value_t = 1000)]
    book_depth: u32,
    /// One of the venue's documented choices. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    choice: Vec<String>,
    /// Disagreements shown of each file.
    #[arg(long, value_name = "N", default_value_t = 20)]
    details: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &BooksArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    for path in &args.files {
        let file = verify(path, args).with_context(|| path.display().to_string())?;
        if !args.json {
            file.print();
        }
        report.add(file);
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print_total();
    }
    Ok(ExitCode::from(report.exit()))
}

fn verify(path: &Path, args: &BooksArgs) -> anyhow::Result<FileReport> {
    if path == Path::new("-") {
        bail!("standard input cannot be read twice: name a file");
    }
    if path.is_dir() || capture::is_capture(path) {
        return verify_capture(path, args);
    }
    let venue = match args.venue {
        Some(venue) => venue,
        None => venue::of_frames(path)?.context("no frame of it says which venue sent it: say --venue")?,
    };
    let settings = Settings {
        symbols: args.symbols.clone(),
        streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar],
        book_depth: args.book_depth,
        // What is told of a book is held against it level for level.
        snapshot_depth: u32::MAX,
        ..Settings::default()
    };
    let mut judge = Judge::new(args.details);
    let rest = frames(path, venue, &settings, args, &mut judge)?;
    if judge.is_empty() {
        bail!("it holds no book: nothing is verified");
    }
    Ok(judge.report(path, venue, rest))
}

/// Raw frames, with what REST answered beside them.
fn frames(
    path: &Path,
    venue: Venue,
    settings: &Settings,
    args: &BooksArgs,
    judge: &mut Judge,
) -> anyhow::Result<Vec<PathBuf>> {
    let rest = if args.rest.is_empty() { recorded::answers_beside(path)? } else { args.rest.clone() };
    let mut answers = Answers::default();
    for path in &rest {
        answers.load(path)?;
    }
    let machine = venues::machine(venue, settings, &recorded::choices(&args.choice)?)?;
    let session = Session::new(machine, SessionSettings::default());
    let mut frames = Frames::open(path)?;
    let mut played = Playback::new(session, answers);
    played.all(&mut frames, &mut |step| {
        judge.take(step.line, step.now, step.bad, step.out, step.session);
        Ok(())
    })?;
    judge.end(&played.session);
    Ok(rest)
}

/// A feed's raw captures, each input counted as a line.
fn verify_capture(path: &Path, args: &BooksArgs) -> anyhow::Result<FileReport> {
    // What is told of a book is held against it level for level.
    let whole = |settings| Settings { snapshot_depth: u32::MAX, ..settings };
    let mut player = Player::open(path)?.with_settings(whole);
    let (mut judge, mut number, mut venue) = (Judge::new(args.details), 0, None);
    while let Some(played) = player.next()? {
        match played {
            Played::Run { run, whole } => {
                if !whole {
                    eprintln!("{}: a run's beginning is not captured; its inputs are passed over", path.display());
                }
                if venue.replace(run.venue()).is_some() {
                    bail!("it holds several runs, and a book is judged within one: name the files of one run");
                }
            }
            Played::Step(step) => {
                number += 1;
                judge.take(number, step.time, step.bad.as_ref(), step.out, step.session);
            }
            Played::Lost(lost) => bail!("{} entries are lost before input {}", lost.entries, number + 1),
            Played::Damaged(damage) if damage.cut => {}
            Played::Damaged(damage) => bail!("its bytes {} to {} are damaged", damage.from, damage.to),
        }
    }
    let venue = venue.flatten().context("it holds no run")?;
    judge.end(player.session().context("the beginning of its run is not there: nothing is verified")?);
    if judge.is_empty() {
        bail!("it holds no book: nothing is verified");
    }
    Ok(judge.report(path, venue, vec![]))
}
