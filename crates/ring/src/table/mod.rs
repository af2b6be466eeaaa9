//! The latest-value table: one row of words for each key, each under a lock that only its readers wait for.
//! [`TableWriter::update`] -> shared memory -> [`TableReader::read`]: a copy that was never torn, or why there is none.
//!
//! Knows nothing of markets: a row is a run of 64-byte lines whose first three words are ours, the rest the writer's.
//! Readers ask for the first so many lines of a row and pay for no more.
//!
//! # The file
//!
//! `<name>.table` in the ring directory, 4096 + 64 × lines × rows bytes, written by one process, mapped read-only by all
//! others. Little-endian; words of 64 bits; whatever is not listed is zero and reserved.
//!
//! | byte | size | what |
//! |---|---|---|
//! | 0 | 8 | magic `APTABLE\n` |
//! | 8 | 4 | layout version, 1 |
//! | 12 | 4 | bytes before the first row, 4096 |
//! | 16 | 8 | rows there is room for |
//! | 24 | 8 | lines of 64 bytes in a row |
//! | 64 | 8 | generation: writers so far, from 1 |
//! | 72 | 8 | writer's process id, 0 after an orderly end |
//! | 80 | 8 | retired: 1 when the name leads to a successor with more room or other rows |
//! | 88 | 8 | beat: when the writer last said that it lives, ns since the Unix epoch, 0 when it has not yet or has ended |
//! | 128 | 8 | rows in use; they keep their place and key as long as the file lives |
//! | 4096 | 64 × lines × rows | rows |
//!
//! A row:
//!
//! | word | what |
//! |---|---|
//! | 0 | lock: odd while the row is written |
//! | 1 | key, never 0 |
//! | 2 | generation of the writer that wrote it last; 0 when it was never written whole |
//! | 3 … | the writer's |
//!
//! # The protocol
//!
//! To write a row the writer makes its lock odd, a release fence, stores words, and makes the lock even with release: it
//! waits for nobody. A reader loads the lock with acquire, copies lines, an acquire fence, and loads the lock again: the
//! copy is whole when both were the same even number. All words are atomics, so nothing is undefined in between.
//!
//! The writer holds an open-file-description lock on the file, which the kernel takes back when its process ends, however
//! that ends. A reader asks the kernel for that lock, without taking it, when a row stays odd, and when the last beat is
//! older than [`SILENCE_NS`]: so it learns that the writer is gone within that time. Nobody but a stopped writer
//! can keep a reader waiting, and only for some hundred milliseconds.
//!
//! A new writer takes the file over under the next generation. Rows that a dead one left torn are emptied; whole ones
//! stay, and every reader sees that they are of an earlier generation until they are written anew.
//!
//! When the rows run out the file is replaced by one with twice the room (up to [`ROWS_MAX`]), rows and keys in their
//! places, and the old one is retired: readers open the name again.

mod error;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod reader;
mod seqlock;
#[cfg(not(loom))]
mod writer;

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used)]
mod models;

pub use error::TableError;
#[cfg(not(loom))]
pub use reader::{Stamp, TableReader};
#[cfg(not(loom))]
pub use writer::{RowPen, TableOptions, TableWriter};

/// One line of a row as a reader's copy: eight words.
pub type Line = [u64; 8];

/// Words at the start of each row that are the table's own: lock, key, generation.
pub const OWN_WORDS: usize = 3;
/// Most rows of a table: with rows of 2 KiB it has 128 MiB then, and more is a typing error.
pub const ROWS_MAX: u32 = 1 << 16;
/// Most lines of a row.
pub const LINES_MAX: u32 = 256;
/// A writer that has not said for so long that it lives is looked for. It should beat at least twice as often.
pub const SILENCE_NS: u64 = 1_000_000_000;

/// A row's place in its table; good for as long as the file, and for its successors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub(crate) u32);

impl Row {
    /// The place, counted from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
