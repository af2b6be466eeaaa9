//! What can go wrong with a table, in words that name the file and say what follows.

use crate::RingError;
use std::path::PathBuf;

/// Why a table cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Its name, its file or the directory.
    #[error(transparent)]
    File(#[from] RingError),
    /// No such table (yet).
    #[error("no table at {path}: its feed has not been started")]
    NotFound {
        /// File looked for.
        path: PathBuf,
    },
    /// Another live writer holds the table.
    #[error("{path} is being written by process {pid}: stop it before starting a second writer")]
    Busy {
        /// Table file.
        path: PathBuf,
        /// Process id in the table's header; 0 while the other writer is still creating it.
        pid: u64,
    },
    /// A size that no table has.
    #[error(
        "table {name}: {rows} rows of {lines} lines asked for; 1 to {rows_max} rows of 1 to {lines_max} lines can be had"
    )]
    BadSize {
        /// Table.
        name: String,
        /// Rows asked for.
        rows: u32,
        /// Lines of 64 bytes a row asked for.
        lines: u32,
        /// Most rows.
        rows_max: u32,
        /// Most lines.
        lines_max: u32,
    },
    /// The table has as many rows as a table can have.
    #[error("table {name}: all {rows} rows are taken, and a table has no more: ask for fewer instruments")]
    Full {
        /// Table.
        name: String,
        /// Its rows.
        rows: u32,
    },
    /// The table has no such row.
    #[error("table {name}: row {row} with {lines} lines asked for; there are {used} rows of {has} lines")]
    NoRow {
        /// Table.
        name: String,
        /// Row asked for.
        row: u32,
        /// Lines asked for.
        lines: usize,
        /// Rows in use.
        used: u32,
        /// Lines a row.
        has: u32,
    },
    /// The writer has ended in order.
    #[error("table {name}: its writer has ended; start it again")]
    Ended {
        /// Table.
        name: String,
    },
    /// The writer's process is gone without a word.
    #[error("table {name}: its writer, process {pid}, is gone; start it again")]
    Died {
        /// Table.
        name: String,
        /// The process that wrote it last.
        pid: u64,
    },
    /// The table was replaced by a larger or different one.
    #[error("table {name}: a new file has taken its place: open it again")]
    Retired {
        /// Table.
        name: String,
    },
    /// The writer lives, has begun to write the row and does not go on.
    #[error("table {name}: process {pid} has been writing row {row} for too long: is it stopped?")]
    Held {
        /// Table.
        name: String,
        /// The row.
        row: u32,
        /// The writer.
        pid: u64,
    },
}

impl TableError {
    /// Whether nobody writes the table now: whatever it holds is of the past.
    pub fn is_gone(&self) -> bool {
        matches!(self, TableError::Ended { .. } | TableError::Died { .. } | TableError::Retired { .. })
    }
}
