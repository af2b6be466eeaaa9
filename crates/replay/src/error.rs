//! Why something cannot be replayed.

use model::{UnixNanos, Venue};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A replay cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A raw capture.
    #[error(transparent)]
    Capture(#[from] capture::CaptureError),
    /// A journal.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// The rings that are told into.
    #[error(transparent)]
    Ring(#[from] ring::RingError),
    /// A file, folder or socket.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What lies there is none of the kinds of sources.
    #[error(
        "{path}: nothing to replay; name a journal's folder, a capture (.wslog, .wslog.zst, a venue's folder or the \
         folder of all), or a folder of Parquet files"
    )]
    Nothing {
        /// The path.
        path: PathBuf,
    },
    /// The source has nothing of the venues asked for.
    #[error("nothing is left to replay of what was named once only {venues} is looked at")]
    NoVenue {
        /// The venues.
        venues: String,
    },
    /// A capture without the beginning of a run: its session cannot be made.
    #[error("capture {path}: no run's beginning is captured; name the folder, or an earlier file")]
    Headless {
        /// The file or folder.
        path: PathBuf,
    },
    /// A batch of a journal whose checksum was right and whose content is not.
    #[error("journal {path}: the batch at {place}: {source}")]
    Batch {
        /// The journal's folder.
        path: PathBuf,
        /// Where it begins.
        place: journal::Place,
        /// What is wrong.
        source: wire::batch::BatchError,
    },
    /// Words that are no record.
    #[error("{venue} at {time}: {source}")]
    Record {
        /// Of which venue.
        venue: Venue,
        /// Receive time of what was told around it.
        time: UnixNanos,
        /// What is wrong.
        source: wire::RecordError,
    },
    /// A Parquet file that cannot be made sense of.
    #[error("{path}: {problem}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The folder holds rings that no replay wrote.
    #[error(
        "{path} holds rings that no replay wrote: a replay never writes where live rings may be; name another folder"
    )]
    LiveRings {
        /// The folder.
        path: PathBuf,
    },
    /// Bars that cannot be.
    #[error(transparent)]
    Bars(#[from] book::bars::RuleError),
    /// A seek to a time the interval does not hold.
    #[error("cannot seek to {to}: the replay was asked for {from} up to {until}")]
    OutOfInterval {
        /// Where to.
        to: UnixNanos,
        /// First moment.
        from: UnixNanos,
        /// First moment behind it.
        until: UnixNanos,
    },
}

impl ReplayError {
    /// Names what an error of the file system is about.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReplayError + use<> {
        let path = path.to_owned();
        move |source| ReplayError::Io { action, path, source }
    }
}
