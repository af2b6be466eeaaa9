//! Why the journal could not do what it was asked, in one sentence each.

use crate::Place;
use std::io;
use std::path::PathBuf;

/// Why the journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system said no.
    #[error("journal {path}: failed to {what} {name}: {source}", path = path.display())]
    Io {
        /// The journal's folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// With which file.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The folder cannot be written.
    #[error("journal {path}: the folder cannot be written ({source}); recording needs a folder this user may write to", path = path.display())]
    ReadOnly {
        /// The journal's folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// No room to begin a journal, or to go on where the last segment is used up.
    #[error("journal {path}: the disk is full ({source}); free space or lower retain_bytes", path = path.display())]
    Full {
        /// The journal's folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another writer is at work.
    #[error("journal {path}: another recorder (process {pid}) writes it; stop that one first", path = path.display())]
    Locked {
        /// The journal's folder.
        path: PathBuf,
        /// The process that was last seen writing; 0 when unknown.
        pid: u32,
    },
    /// There is no journal.
    #[error("journal {path}: there is none; a recorder makes it", path = path.display())]
    Absent {
        /// The folder looked into.
        path: PathBuf,
    },
    /// A file of another version.
    #[error(
        "journal file {name} has format version {theirs}, this build reads {ours}; read it with the build that wrote it"
    )]
    Version {
        /// The file.
        name: String,
        /// Its version.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// Records of another version.
    #[error(
        "journal file {name} holds records of wire version {theirs}, this build reads {ours}; read it with the build that wrote it"
    )]
    WireVersion {
        /// The file.
        name: String,
        /// Its records' version.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The journal of another site.
    #[error("journal {path}: it belongs to site {theirs:?}, this is {ours:?}; give each site a folder of its own", path = path.display())]
    Site {
        /// The journal's folder.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// Who asks.
        ours: String,
    },
    /// A write or a sync failed: what reached the disk is unknown, so nothing more is acknowledged.
    #[error("journal {path}: failed to {what} segment {segment}: {reason}; nothing more is acknowledged, a restart recovers what is safe", path = path.display())]
    Poisoned {
        /// The journal's folder.
        path: PathBuf,
        /// The segment that can no longer be believed.
        segment: u64,
        /// What failed.
        what: &'static str,
        /// The system's words.
        reason: String,
    },
    /// A record at or before the last one taken.
    #[error(
        "venue {venue}: record {epoch}/{sequence} comes after {last_epoch}/{last_sequence} in the journal; it was taken already"
    )]
    Repeat {
        /// The venue's code.
        venue: u8,
        /// Epoch offered.
        epoch: u64,
        /// Sequence offered.
        sequence: u64,
        /// Epoch of the last record taken.
        last_epoch: u64,
        /// Sequence of the last record taken.
        last_sequence: u64,
    },
    /// Records are missing and no overrun said so.
    #[error(
        "venue {venue}: record {epoch}/{sequence} leaves a hole behind {last_sequence}; append an overrun for it first"
    )]
    Hole {
        /// The venue's code.
        venue: u8,
        /// The epoch.
        epoch: u64,
        /// Sequence offered.
        sequence: u64,
        /// Last sequence taken.
        last_sequence: u64,
    },
    /// What was appended cannot be written yet, and more is not taken.
    #[error(
        "journal: {pending} bytes wait to be written and no more fit; write first, or keep the records until the disk takes them"
    )]
    Backlog {
        /// Bytes waiting.
        pending: usize,
    },
    /// Options that cannot work together.
    #[error("journal options: {0}")]
    Options(String),
    /// A cursor's name that is no file name.
    #[error("cursor name {name:?}: use 1 to 64 letters, digits, - and _")]
    CursorName {
        /// The name.
        name: String,
    },
    /// A cursor that can no longer be read.
    #[error("cursor {name} is damaged; remove it to start the sink from the oldest record")]
    CursorDamaged {
        /// The name.
        name: String,
    },
    /// A place that no journal of this folder has.
    #[error("journal {path}: nothing begins at {place}; the journal goes from {oldest} to {newest}", path = path.display())]
    Place {
        /// The journal's folder.
        path: PathBuf,
        /// What was asked for.
        place: Place,
        /// The oldest place.
        oldest: Place,
        /// The newest place.
        newest: Place,
    },
}

/// Whether the system says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the system says that nothing may be written here.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Gives a failure its context.
pub(crate) fn failed<'a>(
    disk: &'a dyn crate::Disk,
    what: &'static str,
    name: &'a str,
) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| {
        let path = disk.path().to_owned();
        match source {
            source if is_full(&source) => JournalError::Full { path, source },
            source if is_read_only(&source) => JournalError::ReadOnly { path, source },
            source => JournalError::Io { path, what, name: name.to_owned(), source },
        }
    }
}
