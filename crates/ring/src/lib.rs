//! A broadcast ring in shared memory: one writer that never waits, any number of readers that cost it nothing and
//! learn exactly which records they lost when they are too slow.
//! records -> [`Writer::push`], [`Writer::publish`] -> [`Reader::poll`] -> the same records, or [`Poll::Lapped`].
//!
//! Knows nothing of markets. A record is 1 to 255 words of 64 bits, and two facts about it are all that is relied on:
//! byte 1 (the second lowest of word 0) is its length in words; word 2 is its receive time in ns since the Unix epoch,
//! used only to attach by time.
//!
//! # The ring directory
//!
//! A directory, on a memory file system, of three kinds of files: these two and the tables of latest values ([`table`]). All numbers are little-endian; all words 64 bits
//! unless said otherwise; whatever is not listed is zero and reserved.
//!
//! `directory`, 4096 bytes, writable by all parties:
//!
//! | byte | size | what |
//! |---|---|---|
//! | 0 | 8 | magic `APDIREC\n` |
//! | 8 | 4 | layout version, 2 |
//! | 64 | 4 | doorbell: a futex word; bit 0 = somebody sleeps, the rest counts rings |
//!
//! `<name>.ring`, 4096 + 64 × capacity bytes, written by one process, mapped read-only by all others:
//!
//! | byte | size | what |
//! |---|---|---|
//! | 0 | 8 | magic `APRING\r\n` |
//! | 8 | 4 | layout version, 2 |
//! | 12 | 4 | bytes before the first slot, 4096 |
//! | 16 | 8 | capacity in slots, a power of two from 128 to 2^30 |
//! | 64 | 8 | generation: writers so far, from 1 |
//! | 72 | 8 | writer's process id, 0 after an orderly end |
//! | 80 | 8 | retired: 1 when the name leads to a successor of another capacity |
//! | 88 | 8 | origin: 0 when the writer numbers its records itself, else a name of the ring this one repeats |
//! | 128 | 8 | INTENT: slot position below which the writer may be writing |
//! | 192 | 8 | TAIL: slot position behind the last published record |
//! | 200 | 8 | sequence of the next record |
//! | 208 | 8 | when the last batch was published, ns since the Unix epoch |
//! | 256 | 120 × 32 | epoch table; the run of generation g is entry g mod 120 |
//! | 4096 | 64 × capacity | slots; the slot of position p is slot p mod capacity |
//!
//! An epoch table entry: generation (0 while it changes hands), epoch, start position, last sequence (meaningless for
//! the newest generation, 2^64 - 1 when nobody here knows it). Runs that ended before this file was made start at
//! position 0 and own no slots.
//!
//! A slot: word 0 is the record's sequence (from 1 in each epoch, without holes), with bit 63 set when the slot
//! continues the record of the slot before; words 1 to 7 are the record's, padded with zero. A record of more than 7
//! words takes consecutive slots, modulo the capacity. Positions only grow, across epochs too.
//!
//! A ring may repeat another ring ([`Mirror`]), under the names the records have there. What it never got of the other
//! stands in it as a hole: a slot whose word 0 is the last missing sequence with bit 62 set, and whose word 1 is the
//! first. A run's first record is then not always 1, and only then.
//!
//! # The protocol
//!
//! The writer raises INTENT over the slots it is about to write (in chunks, so that this is not a store per record),
//! a release fence, writes them, and publishes by storing TAIL with release. A reader loads TAIL with acquire, copies
//! slots, an acquire fence, loads INTENT: the copy of the slot at position p is whole if INTENT <= p + capacity. One
//! check a batch, and no word of a slot is a lock.
//!
//! A new writer continues at TAIL under the next generation and a greater epoch; what a dead one wrote beyond TAIL
//! was never visible and is overwritten. The lock that keeps a second writer out is an `flock` on the ring file.
//!
//! Deliberately absent: back-pressure, acknowledgements, a registry of readers, and any write access for readers but
//! to the doorbell.
//!
//! # Example
//!
//! ```
//! use ring::{Directory, Poll, Reader, Writer, WriterOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let directory = Directory::open(&folder.path().join("rings"))?;
//! let mut writer = Writer::open(&directory, "kraken", WriterOptions { slots: 1024, epoch: 7 })?;
//! let mut reader = Reader::open(&directory, "kraken")?;
//!
//! writer.push(&[3 << 8, 0, 1_700_000_000_000_000_000]);
//! writer.publish(1_700_000_000_000_000_500);
//!
//! let mut seen = Vec::new();
//! assert_eq!(reader.poll(64, |entry, record| seen.push((entry.sequence, record.len())))?, Poll::Records(1));
//! assert_eq!(seen, [(1, 3)]);
//!
//! let ticket = directory.doorbell().arm();
//! if !reader.has_news() {
//!     directory.doorbell().wait(ticket, Some(std::time::Duration::from_millis(1)));
//! }
//! # Ok(())
//! # }
//! ```

// A model needs the protocol only; what only the operating system's shell uses is then unused.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the layout is little-endian and its cursors are 64-bit");

mod attach;
mod cursor;
#[cfg(not(loom))]
mod directory;
mod doorbell;
mod epochs;
mod error;
#[cfg(not(loom))]
mod file;
mod layout;
#[cfg(not(loom))]
mod mirror;
mod pen;
#[cfg(not(loom))]
mod reader;
mod sync;
pub mod table;
#[cfg(not(loom))]
mod writer;

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used)]
mod models;
#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod protocol_tests;

pub use attach::From;
pub use cursor::{Entry, Poll};
#[cfg(not(loom))]
pub use directory::Directory;
#[cfg(not(loom))]
pub use doorbell::Doorbell;
pub use doorbell::Ticket;
pub use epochs::{Epoch, Lost, Point};
pub use error::RingError;
#[cfg(not(loom))]
pub use mirror::Mirror;
#[cfg(not(loom))]
pub use reader::Reader;
#[cfg(not(loom))]
pub use writer::{Writer, WriterOptions};
