//! `alphapulse decode`: a venue's raw frames in, JSON records out, through the very machine the feed runs.

use crate::{
    recorded::{Answers, Frames, Playback, Reading, Step},
    venue_name,
};
use anyhow::Context;
use clap::Args;
use model::Venue;
use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};
use venues::{Session, SessionSettings};
use wire::{Envelope, json};

/// Frames are one a line (a `.json` file is one frame). Receive times are read from `NAME.recv.tsv` beside the file
/// where there is one.
#[derive(Args)]
pub struct DecodeArgs {
    /// The venue that sent the frames.
    #[arg(long, value_parser = venue_name)]
    venue: Venue,
    /// The frames; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// REST exchanges or bodies recorded beside the frames; answers what the venue machine asks for. May be repeated.
    #[arg(long, value_name = "FILE")]
    rest: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// The epoch in the records.
    #[arg(long, default_value_t = 1)]
    epoch: u64,
    /// Print what was counted, as one JSON object on standard error.
    #[arg(long)]
    counts: bool,
}

/// Runs the subcommand.
pub fn run(args: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let mut frames = Frames::open(&args.file)?;
    let mut answers = Answers::default();
    for path in &args.rest {
        answers.load(path)?;
    }
    let machine = venues::machine(args.venue, &args.reading.settings(), &args.reading.choices()?)?;
    let mut played = Playback::new(Session::new(machine, SessionSettings::default()), answers);
    let mut lines = Lines {
        encoder: json::Encoder::new(),
        epoch: args.epoch,
        sequence: 0,
        out: BufWriter::with_capacity(1 << 18, io::stdout().lock()),
        bad: 0,
    };
    played.all(&mut frames, &mut |step| lines.print(&step))?;
    lines.out.flush()?;
    let counts = played.session.machine().counts();
    if args.counts {
        let object: serde_json::Map<_, _> = counts.iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        eprintln!("{}", serde_json::Value::Object(object));
    }
    if lines.bad > 0 {
        eprintln!("alphapulse: {} of {} frames could not be read", lines.bad, counts.frames);
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// Records as lines of JSON.
struct Lines<W: Write> {
    encoder: json::Encoder,
    epoch: u64,
    sequence: u64,
    out: W,
    bad: u64,
}

impl<W: Write> Lines<W> {
    fn print(&mut self, step: &Step<'_>) -> anyhow::Result<()> {
        let number = step.line;
        if let Some(bad) = step.bad {
            self.bad += 1;
            eprintln!("line {number}: {}", bad.error);
        }
        for words in step.out.records.iter() {
            self.sequence += 1;
            let at = Envelope { epoch: self.epoch, sequence: self.sequence };
            if let Some(line) = self.encoder.push(at, words).with_context(|| format!("line {number}"))? {
                serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}
