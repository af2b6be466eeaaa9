//! `alphapulse replay`: a capture of a feed's inputs through the same session, and whether it tells the same records.

use anyhow::{Context, bail};
use clap::Args;
use feed::capture::CaptureReader;
use model::Venue;
use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};
use venues::{Input, LineShape, Outbox, Session, SessionLine, SessionSettings, Settings};
use wire::{Envelope, json};

/// A capture holds every input of a session with its time, so a replay depends on nothing else but the venue's
/// settings.
#[derive(Args)]
pub struct ReplayArgs {
    /// The venue of the capture.
    #[arg(long, value_parser = crate::venue_name)]
    venue: Venue,
    /// The capture.
    file: PathBuf,
    /// The symbols the feed was configured with.
    #[arg(long, value_delimiter = ',')]
    symbols: Vec<String>,
    /// Slots of the ring the feed wrote (they pace its refreshes).
    #[arg(long, default_value_t = 1 << 18)]
    ring_slots: u64,
    /// Seconds between refreshes the feed was configured with.
    #[arg(long, default_value_t = 30)]
    refresh_s: u64,
    /// Compare with what the feed left in the rings of this folder instead of printing.
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings { symbols: args.symbols.clone(), ..Settings::default() };
    let defaults = SessionSettings::default();
    let session_settings = SessionSettings {
        refresh: std::time::Duration::from_secs(args.refresh_s),
        refresh_records: defaults.refresh_records.min(args.ring_slots / 4),
        ..defaults
    };
    let mut capture = CaptureReader::open(&args.file)?;
    let mut session = Session::with_lines(lines(args.venue, &settings, &[], capture.shape())?, session_settings);
    match &args.compare {
        Some(rings) => compare(args.venue, rings, &mut session, &mut capture),
        None => print(&mut session, &mut capture),
    }
}

/// The machines of the captured session's lines.
pub fn lines(
    venue: Venue,
    settings: &Settings,
    choices: &[(String, String)],
    shape: &[LineShape],
) -> anyhow::Result<Vec<SessionLine>> {
    let line = |shape: &LineShape| {
        let made = venues::lines(venue, settings, choices)?;
        let there = made.len();
        let line = made.into_iter().nth(shape.group as usize).with_context(|| {
            format!("the capture has a line of endpoint {}, these settings make {there} endpoints", shape.group + 1)
        })?;
        Ok(SessionLine { shape: shape.clone(), machine: line.machine })
    };
    shape.iter().map(line).collect()
}

/// Steps every input and hands each record with its name to `f`.
fn steps(
    session: &mut Session,
    capture: &mut CaptureReader,
    mut f: impl FnMut(Envelope, &[u64]) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut out = Outbox::new();
    let (mut epoch, mut sequence) = (0, 0);
    while let Some((line, input, now)) = capture.next_input()? {
        if let Input::Start { epoch: started, .. } = input {
            epoch = started;
        }
        session.step_line(line, input, now, &mut out);
        for words in out.records.iter() {
            sequence += 1;
            f(Envelope { epoch, sequence }, words)?;
        }
        out.clear();
    }
    Ok(sequence)
}

fn print(session: &mut Session, capture: &mut CaptureReader) -> anyhow::Result<ExitCode> {
    let mut encoder = json::Encoder::new();
    let mut lines = BufWriter::new(io::stdout().lock());
    steps(session, capture, |at, words| {
        if let Some(line) = encoder.push(at, words)? {
            serde_json::to_writer(&mut lines, &line).map_err(io::Error::from)?;
            lines.write_all(b"\n")?;
        }
        Ok(())
    })?;
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn compare(
    venue: Venue,
    rings: &std::path::Path,
    session: &mut Session,
    capture: &mut CaptureReader,
) -> anyhow::Result<ExitCode> {
    let directory = ring::Directory::open(rings)?;
    let mut reader = ring::Reader::open(&directory, venue.name())?;
    let mut told: BTreeMap<Envelope, Vec<u64>> = BTreeMap::new();
    loop {
        let poll = reader.poll(4096, |entry, words| {
            told.insert(Envelope { epoch: entry.epoch, sequence: entry.sequence }, words.to_vec());
        })?;
        if matches!(poll, ring::Poll::Idle | ring::Poll::Retired) {
            break;
        }
    }
    let (mut equal, mut different) = (0u64, 0u64);
    let replayed = steps(session, capture, |at, words| {
        match told.remove(&at) {
            Some(live) if live == words => equal += 1,
            Some(_) => {
                different += 1;
                eprintln!("epoch {} sequence {}: the replay tells another record", at.epoch, at.sequence);
            }
            None => {}
        }
        Ok(())
    })
    .with_context(|| "the capture cannot be replayed")?;
    println!("{replayed} records replayed, {equal} of the ring equal, {different} different");
    if equal == 0 {
        bail!("the ring holds no record of the capture's run; was it overwritten, or is the folder another one?");
    }
    Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
