//! The embedded store: Parquet files of trades, quotes and book changes, a view of the journal that can be rebuilt.
//! journal, synced -> [`make`] -> rows -> files of an hour, a venue and a kind, in parts -> the ledger moves on.
//!
//! Invariants: a row is in one file, and files are whole when they have their names; a definition stands before the
//! first row that uses it; nothing is read that a power cut could take back. A sink that fails starts again where the
//! ledger says and never holds anybody up but the journal's retention.

mod ahead;
mod columns;
mod file;
mod ledger;
mod rows;
mod sink;

pub use sink::make;
pub(crate) use sink::run;

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The sink's name among the journal's cursors.
pub const CURSOR: &str = "parquet";
/// Where files go and what they are like.
#[derive(Clone, Debug)]
pub struct ParquetOptions {
    /// Folder of all files.
    pub folder: PathBuf,
    /// Folder of the journal.
    pub journal: PathBuf,
    /// Names this machine in the rows.
    pub site: String,
    /// A part is whole, and can be queried, this long after its first row at the latest.
    pub part: Duration,
    /// zstd's level, 1 to 22.
    pub zstd_level: i32,
}

/// Why the sink cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file or folder.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A Parquet file that cannot be written or read back.
    #[error("{path}: {source}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ParquetError,
    },
    /// Rows that are no columns.
    #[error("{path}: {source}")]
    Columns {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ArrowError,
    },
    /// What was written is not what is read back.
    #[error("{path}: {expected} rows were written, its footer says {told}, its row groups {counted}")]
    Count {
        /// The file.
        path: PathBuf,
        /// Rows written.
        expected: u64,
        /// Rows by the footer.
        told: i64,
        /// Rows by the row groups.
        counted: i64,
    },
    /// The ledger cannot be read.
    #[error("{path} is no ledger ({what}); put the folder of Parquet files aside to have it made anew")]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
}

impl SinkError {
    fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> SinkError {
        let path = path.to_owned();
        move |source| SinkError::Io { action, path: path.clone(), source }
    }

    fn parquet(path: &Path) -> impl Fn(ParquetError) -> SinkError {
        let path = path.to_owned();
        move |source| match source {
            // The system's own words are among Parquet's only as text.
            ParquetError::External(error) if error.downcast_ref::<io::Error>().is_some() => {
                SinkError::Io { action: "write", path: path.clone(), source: io::Error::other(error.to_string()) }
            }
            source => SinkError::Parquet { path: path.clone(), source },
        }
    }

    fn columns(path: &Path) -> impl Fn(ArrowError) -> SinkError {
        let path = path.to_owned();
        move |source| SinkError::Columns { path: path.clone(), source }
    }
}

/// The sink at one moment.
#[derive(Clone, Debug, Default)]
pub struct SinkStats {
    /// Rows in files that have their names.
    pub rows: u64,
    /// Such files made by this process.
    pub files: u64,
    /// Records that an earlier file has already.
    pub repeated: u64,
    /// Records without a definition of their instrument, in no file.
    pub undefined: u64,
    /// Pieces of the journal that could not be read.
    pub damaged: u64,
    /// Age of the oldest record that is read and in no file yet, or that is not read yet, ns; 0 when there is none.
    pub lag_ns: u64,
    /// What went wrong last, while it is wrong.
    pub problem: Option<String>,
}

/// Shared with whoever looks.
#[derive(Default)]
pub(crate) struct SinkShared {
    ending: AtomicBool,
    rows: AtomicU64,
    files: AtomicU64,
    repeated: AtomicU64,
    undefined: AtomicU64,
    damaged: AtomicU64,
    /// When the oldest record that is in no file was published.
    waiting_since: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl SinkShared {
    pub(crate) fn end(&self) {
        self.ending.store(true, Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(crate) fn stats(&self, now: u64) -> SinkStats {
        let waiting_since = self.waiting_since.load(Relaxed);
        SinkStats {
            rows: self.rows.load(Relaxed),
            files: self.files.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            undefined: self.undefined.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            lag_ns: if waiting_since == 0 { 0 } else { now.saturating_sub(waiting_since) },
            problem: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
