//! History: what a subscription is owed from before the rings' time, read from the journal under the same names.
//!
//! A cursor that finds its start, or what it missed, no longer in the ring says so ([`PastFrom`]); a [`Past`] then
//! reads one venue's records from the journal until the ring holds what comes next, and the cursor goes on from there.
//! Both carry (venue, epoch, sequence), so that nothing is lost or told twice where they meet.

mod past;
mod source;

use ring::Point;

pub(crate) use past::{Found, Look, Past};

/// Why history cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A batch whose checksum holds and whose records do not.
    #[error("the journal holds a bad batch: {0}")]
    Batch(#[from] wire::batch::BatchError),
}

/// What a journal is good for in one subscription and venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: there is none.
    Ring,
    /// What was missed on the way, where the subscription asks for that.
    Laps,
    /// That, and where the subscription starts.
    Start,
}

impl Reach {
    /// The same where there is a journal.
    pub(crate) fn where_kept(self, kept: bool) -> Reach {
        if kept { self } else { Reach::Ring }
    }
}

/// What is asked of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PastFrom {
    /// The venue's oldest record.
    Oldest,
    /// Its first record received at or after this time, ns since the Unix epoch.
    Time(u64),
    /// This record.
    Record(Point),
}
