//! What can go wrong with a ring, in words that name the file and say what to do.

use std::io;
use std::path::PathBuf;

/// Why an operation on a ring, its file or its directory failed.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The name cannot be a ring's name.
    #[error("ring name {name:?} is not usable: 1 to 64 of a-z, A-Z, 0-9, '_' and '-'")]
    BadName {
        /// The name asked for.
        name: String,
    },
    /// The capacity asked for is not one a ring can have.
    #[error("ring {name}: {slots} slots asked for; it must be a power of two from {min} to {max}")]
    BadSlots {
        /// Ring.
        name: String,
        /// Slots asked for.
        slots: u64,
        /// Smallest capacity.
        min: u64,
        /// Largest capacity.
        max: u64,
    },
    /// No such ring (yet).
    #[error("no ring at {path}: its feed has not been started")]
    NotFound {
        /// File looked for.
        path: PathBuf,
    },
    /// Another live writer holds the ring.
    #[error("{path} is being written by process {pid}: stop it before starting a second writer")]
    Busy {
        /// Ring file.
        path: PathBuf,
        /// Process id in the ring's header; 0 while the other writer is still creating it.
        pid: u64,
    },
    /// The file system has no room for the ring.
    #[error("no room for {bytes} bytes at {path}: free shared memory or configure a smaller ring ({source})")]
    Full {
        /// File that was to be created.
        path: PathBuf,
        /// Its full size in bytes.
        bytes: u64,
        /// The system's word for it.
        source: io::Error,
    },
    /// The file was written with another layout.
    #[error(
        "{path} has layout version {found}, this program speaks {expected}: run programs of one version, \
         or stop all users and remove the file"
    )]
    Layout {
        /// Ring or directory file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version of this program.
        expected: u32,
    },
    /// The file is not what its name says.
    #[error("{path} is not usable: {reason}; stop its users and remove it")]
    Unusable {
        /// Ring or directory file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A new run must carry a newer epoch than all before it.
    #[error("ring {name}: epoch {epoch} is not newer than epoch {last} already in the ring")]
    EpochNotNewer {
        /// Ring.
        name: String,
        /// Epoch asked for.
        epoch: u64,
        /// Newest epoch in the ring.
        last: u64,
    },
    /// The ring holds records of another origin than those that are to be repeated in it.
    #[error(
        "{path} holds records of a feed of this machine, or of another machine than is repeated now: stop its users \
         and remove it, or leave the venue out"
    )]
    OtherOrigin {
        /// Ring file.
        path: PathBuf,
    },
    /// A record to be repeated lies before what the ring has already.
    #[error(
        "ring {name}: sequence {sequence} of epoch {epoch} cannot follow; sequence {} of epoch {} is next", next.sequence, next.epoch
    )]
    NotNext {
        /// Ring.
        name: String,
        /// Epoch of the record.
        epoch: u64,
        /// Sequence of the record.
        sequence: u64,
        /// The name expected.
        next: crate::Point,
    },
    /// The ring's contents break the protocol; nothing was delivered from there.
    #[error("ring {name}: damaged at position {position}: {what}")]
    Damaged {
        /// Ring.
        name: String,
        /// Slot position where it was seen.
        position: u64,
        /// Which promise is broken.
        what: &'static str,
    },
    /// The record asked for has not been written yet.
    #[error("ring {name}: asked for sequence {sequence} of epoch {epoch}, which is ahead of what was written")]
    Ahead {
        /// Ring.
        name: String,
        /// Epoch asked for.
        epoch: u64,
        /// Sequence asked for.
        sequence: u64,
    },
    /// The position asked for is not that of a record still held.
    #[error("ring {name}: no held record starts at position {position}; the ring holds {oldest} up to {tail}")]
    NotHeld {
        /// Ring.
        name: String,
        /// Slot position asked for.
        position: u64,
        /// Oldest safe slot position.
        oldest: u64,
        /// Slot position after the newest record.
        tail: u64,
    },
    /// The writer overtook every attempt to find a place in the window.
    #[error("ring {name}: the writer laps faster than a place can be found: configure a larger ring")]
    Contended {
        /// Ring.
        name: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
