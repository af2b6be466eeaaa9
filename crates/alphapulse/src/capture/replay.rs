//! `alphapulse capture replay`: captured inputs through the same session, at their own pace or another, and whether the
//! records are those the feed told.

use super::{Interval, Where, files};
use anyhow::bail;
use capture::{Pace, Played, Player, Reader, Speed};
use clap::Args;
use model::UnixNanos;
use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use wire::{Envelope, json};

/// Captures hold every input of a session with its time and how the session was set up: a replay depends on nothing
/// else. Exit status 1 when entries are missing, so that records may differ from those the feed told.
#[derive(Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    interval: Interval,
    /// 1 for the pace of the capture, N for N times as fast, max for at once.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Compare with what the feed left in the rings of this folder instead of printing.
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(args: &ReplayArgs, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<ExitCode> {
    let place = args.place.place(folder)?;
    let bounds = args.interval.bounds();
    let mut player = Player::new(Reader::of_files(files(&place, bounds)?)?);
    match &args.compare {
        Some(rings) => compare(rings, &mut player, bounds),
        None => print(&mut player, bounds, args.speed),
    }
}

/// Steps every input and hands what was told in the interval to `f`; whether nothing was missing.
fn steps(
    player: &mut Player,
    (from, until): (UnixNanos, UnixNanos),
    mut f: impl FnMut(&capture::Step<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut sound, mut played) = (true, false);
    while let Some(next) = player.next()? {
        match next {
            Played::Run { whole: true, .. } => played = true,
            Played::Run { run, .. } => {
                sound = false;
                eprintln!("the beginning of run {} is not captured: its inputs are passed over", run.epoch);
            }
            Played::Step(step) if step.time >= until => break,
            Played::Step(step) if step.time >= from => f(&step)?,
            Played::Step(_) => {}
            Played::Lost(lost) => {
                sound = false;
                let (first, last) = (capture::utc(lost.first), capture::utc(lost.last));
                eprintln!("{} entries from {first} to {last} were not captured: what follows may differ", lost.entries);
            }
            Played::Damaged(d) => {
                // A run that was killed ends so.
                sound &= d.cut;
                let what = if d.cut { "are no whole entry" } else { "are damaged: what follows may differ" };
                eprintln!("{}: its bytes {} to {} {what}", d.path.display(), d.from, d.to);
            }
        }
    }
    if !played {
        bail!("no run's beginning is captured, so nothing can be replayed; name the folder, or an earlier file");
    }
    Ok(sound)
}

fn print(player: &mut Player, bounds: (UnixNanos, UnixNanos), speed: Speed) -> anyhow::Result<ExitCode> {
    let mut encoder = json::Encoder::new();
    let mut lines = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let (mut pace, began) = (Pace::new(speed), Instant::now());
    let sound = steps(player, bounds, |step| {
        let wait = pace.wait(step.time, began.elapsed());
        if !wait.is_zero() {
            // Whoever reads along sees what is told before the wait.
            lines.flush()?;
            std::thread::sleep(wait);
        }
        for (at, words) in step.records() {
            if let Some(line) = encoder.push(at, words)? {
                serde_json::to_writer(&mut lines, &line).map_err(io::Error::from)?;
                lines.write_all(b"\n")?;
            }
        }
        Ok(())
    })?;
    lines.flush()?;
    Ok(ExitCode::from(u8::from(!sound)))
}

fn compare(rings: &Path, player: &mut Player, bounds: (UnixNanos, UnixNanos)) -> anyhow::Result<ExitCode> {
    let directory = ring::Directory::open(rings)?;
    let mut told: Option<BTreeMap<Envelope, Vec<u64>>> = None;
    let (mut replayed, mut equal, mut different) = (0u64, 0u64, 0u64);
    let sound = steps(player, bounds, |step| {
        if told.is_none() {
            told = Some(ring_rows(&directory, step.session.machine().venue())?);
        }
        for (at, words) in step.records() {
            replayed += 1;
            match told.as_mut().and_then(|told| told.remove(&at)) {
                Some(live) if live == words => equal += 1,
                Some(_) => {
                    different += 1;
                    eprintln!("epoch {} sequence {}: the replay tells another record", at.epoch, at.sequence);
                }
                None => {}
            }
        }
        Ok(())
    })?;
    println!("{replayed} records replayed, {equal} of the ring equal, {different} different");
    if equal == 0 {
        bail!("the ring holds no record of the capture's run; was it overwritten, or is the folder another one?");
    }
    Ok(ExitCode::from(u8::from(different > 0 || !sound)))
}

/// What a venue's ring holds, by name.
pub fn ring_rows(directory: &ring::Directory, venue: model::Venue) -> anyhow::Result<BTreeMap<Envelope, Vec<u64>>> {
    let mut reader = ring::Reader::open(directory, venue.name())?;
    let mut told: BTreeMap<Envelope, Vec<u64>> = BTreeMap::new();
    loop {
        let poll = reader.poll(4096, |entry, words| {
            told.insert(Envelope { epoch: entry.epoch, sequence: entry.sequence }, words.to_vec());
        })?;
        if matches!(poll, ring::Poll::Idle | ring::Poll::Retired) {
            return Ok(told);
        }
    }
}
