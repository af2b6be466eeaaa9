//! `alphapulse verify books`: whether recorded books can be proved.
//! frames (or a feed's raw captures) -> the venue's machine -> per book: what proved it, and what disagrees, by line.

mod judge;
mod report;

use crate::{
    recorded::{Reading, Recording},
    venue_name,
};
use anyhow::{Context, bail};
use clap::Args;
use judge::Judge;
use model::Venue;
use report::{FileReport, Report};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Exit status 0 when every book is proved and nothing disagrees, 1 when something does, 2 when input cannot be used.
/// See docs/verify.md for what each figure means.
#[derive(Args)]
pub struct BooksArgs {
    /// Frames, one a line, plain or gzip, or a feed's raw captures: files, or a venue's folder of
    /// them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The venue that sent them; known from the frames where it can be.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    /// REST exchanges or bodies that answer what the venue's machine asks for; without it those beside each file. May
    /// be repeated.
    #[arg(long, value_name = "FILE")]
    rest: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
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
    let recording = Recording::find(path, args.venue)?;
    // What is told of a book is held against it level for level.
    let mut judge = Judge::new(args.details);
    let (session, rest) = recording.play(&args.reading, u32::MAX, &args.rest, &mut |step| {
        judge.take(step.line, step.now, step.bad, step.out, step.session);
        Ok(())
    })?;
    judge.end(&session);
    if judge.is_empty() {
        bail!("it holds no book: nothing is verified");
    }
    Ok(judge.report(path, recording.venue, rest))
}
