//! The journal: append-only checksummed segments of record batches, group commit with named acknowledgement levels,
//! recovery bounded by checkpoints, indexes, retention. The only truth; every store is a view of it.
//!
//! [`Writer::append`] -> [`Writer::write`] (survives a process crash) -> [`Writer::sync`] (survives power loss); what
//! each has reached stands on the [`Watermark`] page. [`Reader`] follows in any process, never past the watermark of
//! its level; a sink keeps its place in a [`Cursor`]. The files are drawn in `docs/journal.md`.
//!
//! Invariants: a record is taken once and in the order of its venue's (epoch, sequence), and a hole is refused unless
//! an overrun tells of it; nothing is acknowledged at a level before it is there; after a failed write or sync nothing
//! is acknowledged again by this writer; damage never hides what follows it. Knows nothing of rings, sockets or sinks,
//! reads no clock.

#![forbid(unsafe_code)]

pub mod crash;
mod cursor;
mod disk;
mod error;
#[cfg(test)]
mod flips;
mod format;
mod helper;
mod index;
mod missing;
mod options;
mod positions;
mod reader;
mod recover;
mod retain;
mod scan;
mod verify;
mod watch;
mod watermark;
mod writer;

pub use cursor::Cursor;
pub use disk::{Access, Disk, DiskFile, Files};
pub use error::JournalError;
pub use format::{FORMAT_VERSION, PAGE_BYTES, SITE_MAX, SegmentHeader};
pub use helper::Helper;
pub use missing::{Missing, MissingRange, Why};
pub use options::Options;
pub use positions::Positions;
pub use reader::{Batch, Event, From, Item, Reader};
pub use recover::{Recovered, Torn};
pub use retain::Retained;
pub use verify::{Checked, verify, verify_on};
pub use watermark::{State, Watermark};
pub use writer::{Marks, Writer};

use std::fmt;

use error::failed;

/// A place in the journal: where a batch begins or the next one will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment, counted from 1.
    pub segment: u64,
    /// Bytes from the start of its file.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// What an acknowledgement promises. (Being in a ring, the level below, is the ring's own business.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Survives the death of any process: the operating system has it.
    Written,
    /// Survives the loss of power: the disk says it has it.
    Synced,
}

impl Level {
    /// The name used in configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Written => "written",
            Level::Synced => "synced",
        }
    }
}
