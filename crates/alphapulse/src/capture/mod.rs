//! `alphapulse capture`: raw captures listed, printed, checked, played back, rebuilt from, and made of recordings.

mod cat;
pub mod import;
mod ls;
mod rebuild;
mod replay;

use crate::{config::Config, recorded, venue_name};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use model::{UnixNanos, Venue};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What can be done with captures. Without a PATH, those of the configuration are meant.
#[derive(Subcommand)]
pub enum CaptureCommand {
    /// List the files: times, entries, bytes.
    Ls(ls::LsArgs),
    /// Print the entries with their times, or with --raw the frames byte for byte.
    Cat(cat::CatArgs),
    /// Check every checksum, every number and the index; exit status 0 only when all is sound.
    Verify(ls::VerifyArgs),
    /// Step captured inputs through the session again and print the records, one JSON object a line.
    Replay(replay::ReplayArgs),
    /// Derive the records of an interval again and compare them row by row with what was kept, or keep them anew.
    Rebuild(rebuild::RebuildArgs),
    /// Make captures of recorded frames, one a line, plain or gzip.
    Import(import::ImportArgs),
}

/// Which captures.
#[derive(Args)]
struct Where {
    /// A capture file, a venue's folder, or the folder of all venues; the configuration's when not given.
    path: Option<PathBuf>,
    /// The venue, where the folder has several.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
}

/// Which part of them.
#[derive(Args)]
struct Interval {
    /// From this time on: RFC 3339 in UTC, or ns since 1970.
    #[arg(long, value_parser = time, value_name = "TIME")]
    from: Option<UnixNanos>,
    /// Before this time.
    #[arg(long, value_parser = time, value_name = "TIME")]
    until: Option<UnixNanos>,
}

impl Interval {
    fn bounds(&self) -> (UnixNanos, UnixNanos) {
        (self.from.unwrap_or(UnixNanos::ZERO), self.until.unwrap_or(UnixNanos(u64::MAX)))
    }
}

fn time(text: &str) -> Result<UnixNanos, String> {
    recorded::receive_time(text).map_err(|e| format!("{text:?} is no time: {e}; write 2025-01-13T02:00:00Z"))
}

/// Runs a subcommand; the configuration is read only where it is needed.
pub fn run(command: &CaptureCommand, config: impl Fn() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    let config = || config().context("the configuration is not usable; name a PATH to do without");
    let folder = || Ok(config()?.capture_folder());
    match command {
        CaptureCommand::Ls(args) => ls::ls(args, folder),
        CaptureCommand::Cat(args) => cat::run(args, folder),
        CaptureCommand::Verify(args) => ls::verify(args, folder),
        CaptureCommand::Replay(args) => replay::run(args, folder),
        CaptureCommand::Rebuild(args) => rebuild::run(args, config),
        CaptureCommand::Import(args) => import::run(args, folder),
    }
}

impl Where {
    /// The named file, or the folder of each venue that is meant.
    fn places(&self, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
        let path = self.path.clone().map_or_else(folder, Ok)?;
        if !path.is_dir() || !capture::files(&path)?.is_empty() {
            return Ok(vec![path]);
        }
        let wanted = |v: &Venue| self.venue.is_none_or(|wanted| wanted == *v);
        let places: Vec<PathBuf> =
            Venue::ALL.into_iter().filter(wanted).map(|v| path.join(v.name())).filter(|p| has_files(p)).collect();
        if places.is_empty() {
            bail!("{}: there are no captures in it", path.display());
        }
        Ok(places)
    }

    /// The one file or folder that is meant.
    fn place(&self, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<PathBuf> {
        let mut places = self.places(folder)?;
        if places.len() > 1 {
            let names: Vec<String> =
                places.iter().filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
            bail!("there are captures of {}; say which with --venue", names.join(", "));
        }
        Ok(places.remove(0))
    }
}

fn has_files(folder: &Path) -> bool {
    folder.is_dir() && capture::files(folder).is_ok_and(|files| !files.is_empty())
}

/// The files to play for an interval: a named one alone, of a folder those from the run's beginning on.
fn files(place: &Path, (from, until): (UnixNanos, UnixNanos)) -> anyhow::Result<Vec<PathBuf>> {
    if place.is_dir() { Ok(capture::files_for(place, from, until)?) } else { Ok(vec![place.to_owned()]) }
}
