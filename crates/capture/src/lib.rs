//! Raw captures: everything a venue sent and was sent, byte for byte, with its times, and what a session was told, so
//! that any moment can be played back through the same code.
//!
//! feed -> [`Tap`] -> thread -> `<venue>/YYYYMMDD_HH.wslog` -> compressed, checked, indexed, at last deleted; and back:
//! files -> [`Reader`] -> [`Player`] -> the records the feed told, which [`rebuild()`] holds against what was kept.
//! The format is in docs/capture.md.
//!
//! Invariants: the feed never waits for a disk; an entry that is not kept is counted where it would stand; no key of an
//! account is ever in a file; only what was compressed and read back is deleted. Knows nothing of sockets and rings.
#![forbid(unsafe_code)]

mod disk;
mod error;
mod format;
mod house;
mod import;
mod index;
mod inputs;
mod log;
mod names;
mod pace;
mod player;
mod reader;
mod rebuild;
mod redact;
mod run;
mod scribe;
mod seal;
mod source;
mod tap;
mod verify;

pub use disk::{Disk, DiskFile, SystemDisk};
pub use error::CaptureError;
pub use format::{BODY_MAX, Direction, ENTRY_HEAD, EntryHead, FILE_HEAD, FileHead, Kind, MAGIC, VERSION};
pub use house::{keep_house, look_through as file_info};
pub use import::Recording;
pub use index::{Deleted, FileInfo, INDEX, Index};
pub use inputs::{Answer, Lost, Requested};
pub use names::{files, utc};
pub use pace::{NoSpeed, Pace, Speed};
pub use player::{Played, Player, Step, files_for};
pub use reader::{Damage, Entry, Item, Reader, is_capture, run_of, unpack};
pub use rebuild::{Difference, RebuildError, Rebuilt, Reference, ReferenceError, Row, rebuild};
pub use run::{Run, RunLine, RunSettings};
pub use tap::{About, Anchor, HAND_OVER, Keep, Options, Stats, Tap};
pub use verify::{Verified, verify};
