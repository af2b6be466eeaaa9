//! `alphapulse capture import`: recordings as captures, so that they are played, checked and rebuilt from like a feed's
//! own. What goes in comes out byte for byte with `capture cat --raw`.

use crate::{
    recorded::{self, Answers, Frames, Playback, Reading, Step},
    roles::BUILD,
    venue_name,
};
use anyhow::{Context, bail};
use capture::{Kind, Options, Recording, Run, RunLine, RunSettings};
use clap::Args;
use model::{UnixNanos, Venue};
use serde_json::json;
use std::{
    io::{BufRead, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};
use venues::{Input, Session, SessionSettings};

/// The epoch of a replay where none is asked for.
const EPOCH: u64 = 1;

/// Frames go through the venue's machine meanwhile, so that the answers recorded beside them stand where the machine
/// was given them; a replay then tells what `decode` tells.
#[derive(Args)]
pub struct ImportArgs {
    /// Frames, one a line, plain or gzip; receive times are read from `NAME.recv.tsv` beside them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The venue that sent them; known from the frames where it can be.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    /// The folder that gets a folder for each venue; the configuration's when not given.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// REST exchanges or bodies recorded beside the frames; without it those found beside each file. May be repeated.
    #[arg(long, value_name = "FILE")]
    rest: Vec<PathBuf>,
    /// The lines are no frames: keep them, and tell nothing of them.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    reading: Reading,
    /// The epoch in the records of a replay.
    #[arg(long, default_value_t = EPOCH)]
    epoch: u64,
    /// Print JSON: one object a file.
    #[arg(long)]
    json: bool,
}

/// Makes captures of a recording with all choices left open; the folder of its venue.
pub fn plainly(path: &Path, venue: Option<Venue>, to: &Path) -> anyhow::Result<PathBuf> {
    let args = ImportArgs {
        files: vec![],
        venue,
        to: None,
        rest: vec![],
        raw: false,
        reading: Reading::default(),
        epoch: EPOCH,
        json: false,
    };
    let (venue, _) = import(path, to, &args).with_context(|| path.display().to_string())?;
    Ok(to.join(venue.name()))
}

/// Runs the subcommand.
pub fn run(args: &ImportArgs, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<ExitCode> {
    let to = args.to.clone().map_or_else(folder, Ok)?;
    for path in &args.files {
        let (venue, files) = import(path, &to, args).with_context(|| path.display().to_string())?;
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        if args.json {
            println!("{}", json!({"file": path, "venue": venue.name(), "captures": names}));
        } else {
            println!("{} -> {}", path.display(), names.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn import(path: &Path, to: &Path, args: &ImportArgs) -> anyhow::Result<(Venue, Vec<PathBuf>)> {
    let venue = match args.venue {
        Some(venue) => venue,
        None if args.raw => bail!("say --venue: lines that are no frames do not tell it"),
        None => recorded::venue::of_frames(path)?.context("no frame of it says which venue sent it: say --venue")?,
    };
    let (settings, choices) = (args.reading.settings(), args.reading.choices()?);
    let run = Run {
        venue: venue.name().to_owned(),
        epoch: args.epoch,
        piece: 0,
        site: String::new(),
        build: BUILD.to_owned(),
        simulated: false,
        lines: vec![RunLine { name: String::new(), group: 0 }],
        settings: RunSettings::new(&settings, &choices, SessionSettings::default()),
    };
    let mut writer = Writer {
        recording: Recording::begin(&Options::new(to), venue, run)?,
        lines: Lines { source: recorded::open(path)?, line: vec![], ended: true, number: 0 },
        last: UnixNanos::ZERO,
    };
    if args.raw {
        writer.rest()?;
    } else {
        let mut frames = Frames::open(path)?;
        let mut answers = Answers::default();
        let rest = if args.rest.is_empty() { recorded::answers_beside(path)? } else { args.rest.clone() };
        for path in &rest {
            answers.load(path)?;
        }
        let machine = venues::machine(venue, &settings, &choices)?;
        let mut played = Playback::new(Session::new(machine, SessionSettings::default()), answers);
        played.all(&mut frames, &mut |step| writer.take(&step))?;
        writer.rest()?;
    }
    Ok((venue, writer.end(path)?))
}

/// Writes a recording's capture.
struct Writer {
    recording: Recording,
    lines: Lines,
    /// When the last frame came.
    last: UnixNanos,
}

impl Writer {
    /// Takes in what was stepped; a frame as the whole line it stands in, whatever ends it.
    fn take(&mut self, step: &Step<'_>) -> anyhow::Result<()> {
        let Input::Frame(_) = step.input else {
            return Ok(self.recording.input(0, &step.input, step.now)?);
        };
        self.last = step.now;
        while self.lines.advance()? {
            if self.lines.number == step.line {
                return Ok(self.recording.input(0, &Input::Frame(&self.lines.line), step.now)?);
            }
            // Lines that were passed over as empty.
            self.recording.entry(Kind::Line, &self.lines.line, step.now)?;
        }
        bail!("it changed while it was read")
    }

    /// Takes in the lines that are left.
    fn rest(&mut self) -> anyhow::Result<()> {
        while self.lines.advance()? {
            self.recording.entry(Kind::Line, &self.lines.line, self.last)?;
        }
        Ok(())
    }

    fn end(mut self, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
        if let Some(beside) = recorded::times_beside(path) {
            let mut bytes = vec![];
            recorded::open(&beside)?.read_to_end(&mut bytes)?;
            self.recording.entry(Kind::Beside, &bytes, self.last)?;
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let about = json!({"name": name, "lines": self.lines.number, "final_newline": self.lines.ended});
        self.recording.entry(Kind::Imported, about.to_string().as_bytes(), self.last)?;
        Ok(self.recording.end()?)
    }
}

/// Lines as they are, but for the line feed.
struct Lines {
    source: Box<dyn BufRead>,
    line: Vec<u8>,
    /// Whether the last line ended with a line feed.
    ended: bool,
    number: u64,
}

impl Lines {
    fn advance(&mut self) -> anyhow::Result<bool> {
        self.line.clear();
        if self.source.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.ended = self.line.last() == Some(&b'\n');
        if self.ended {
            self.line.pop();
        }
        Ok(true)
    }
}
