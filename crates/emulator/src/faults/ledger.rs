//! What faults did, exactly: which frames, which ids, how many. One line of JSON each in the journal's `faults.jsonl`.
//!
//! An extent is open while its fault may still act, and is written down when it is over or the server ends. Bounded:
//! the oldest that are over are forgotten in memory; the file has them all.

use std::sync::Mutex;

use model::{StreamKind, UnixNanos};
use serde_json::{Value, json};

use crate::journal::Journal;

/// Extents remembered.
const KEPT_MAX: usize = 1 << 16;
/// Ranges of ids kept of an extent.
const RANGES_MAX: usize = 1 << 12;

/// What one fault did to one stream, connection or server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Names the fault within the run, from 1 in the order of planning.
    pub id: u64,
    /// The fault's name, as in scripts.
    pub fault: &'static str,
    /// When it first acted, ns since the epoch.
    pub begin: UnixNanos,
    /// When it last acted.
    pub end: UnixNanos,
    /// The stream it acted on, where it acted on frames.
    pub stream: Option<StreamKind>,
    /// The venue's symbol of that stream.
    pub symbol: Option<String>,
    /// The connection it acted on, where it acted on one.
    pub connection: Option<u64>,
    /// Number of the first frame that was hit: among those of the fault's target since it was planned, or among those
    /// sent on the connection; 0 where it hit none.
    pub first_frame: u64,
    /// Number of the last frame that was hit.
    pub last_frame: u64,
    /// Frames, requests or connections hit.
    pub count: u64,
    /// Trade ids, update ids or sequences in the frames that were hit: ranges, in the order they were hit.
    pub ids: Vec<(u64, u64)>,
    /// Whether it is over.
    pub over: bool,
}

impl Extent {
    /// How many ids lie in its ranges.
    pub fn ids_count(&self) -> u64 {
        self.ids.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The line in the journal.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "fault": self.fault,
            "begin_ns": self.begin.0,
            "end_ns": self.end.0,
            "stream": self.stream.map(StreamKind::name),
            "symbol": self.symbol,
            "connection": self.connection,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "count": self.count,
            "ids": self.ids,
        })
    }
}

/// The line of an extent, with the connection's number as the journal's files have it.
fn journaled(extent: &Extent, journal: &Journal) -> Value {
    let connection = extent.connection.map(|number| journal.number(number));
    Extent { connection, ..extent.clone() }.json()
}

/// Where a fault hit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spot<'a> {
    pub(crate) stream: Option<StreamKind>,
    pub(crate) symbol: Option<&'a str>,
    pub(crate) connection: Option<u64>,
    pub(crate) frame: u64,
    pub(crate) ids: &'a [(u64, u64)],
}

#[derive(Debug, Default)]
struct Book {
    extents: Vec<Extent>,
    next: u64,
    /// Hits in all.
    hits: u64,
}

/// Every fault of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    journal: Option<Journal>,
}

impl Ledger {
    pub(crate) fn new(journal: Option<Journal>) -> Self {
        Self { book: Mutex::default(), journal }
    }

    /// The id of a fault that is being planned.
    pub(crate) fn enter(&self) -> u64 {
        let mut book = self.book.lock().expect("no holder of this lock panics");
        book.next += 1;
        book.next
    }

    /// A fault acted once.
    pub(crate) fn hit(&self, id: u64, fault: &'static str, now: UnixNanos, spot: &Spot<'_>) {
        let mut book = self.book.lock().expect("no holder of this lock panics");
        book.hits += 1;
        let same = |e: &&mut Extent| {
            e.id == id
                && !e.over
                && e.stream == spot.stream
                && e.connection == spot.connection
                && e.symbol.as_deref() == spot.symbol
        };
        let at = match book.extents.iter_mut().rev().find(same) {
            Some(extent) => extent,
            None => {
                if book.extents.len() >= KEPT_MAX {
                    book.extents.retain(|extent| !extent.over);
                }
                book.extents.push(Extent {
                    id,
                    fault,
                    begin: now,
                    end: now,
                    stream: spot.stream,
                    symbol: spot.symbol.map(str::to_owned),
                    connection: spot.connection,
                    first_frame: spot.frame,
                    last_frame: spot.frame,
                    count: 0,
                    ids: Vec::new(),
                    over: false,
                });
                book.extents.last_mut().expect("pushed above")
            }
        };
        (at.end, at.last_frame) = (now, spot.frame);
        at.count += 1;
        for (first, last) in spot.ids.iter().copied() {
            let room = at.ids.len() < RANGES_MAX;
            match at.ids.last_mut() {
                Some(before) if before.1.checked_add(1) == Some(first) => before.1 = last,
                _ if room => at.ids.push((first, last)),
                _ => {}
            }
        }
    }

    /// A fault will not act any more: its extents are written down.
    pub(crate) fn finish(&self, id: u64) {
        self.close(|extent| extent.id == id);
    }

    /// The server ends: what is open is written down.
    pub(crate) fn finish_all(&self) {
        self.close(|_| true);
    }

    fn close(&self, which: impl Fn(&Extent) -> bool) {
        let mut book = self.book.lock().expect("no holder of this lock panics");
        for extent in book.extents.iter_mut().filter(|extent| !extent.over && which(extent)) {
            extent.over = true;
            if let Some(Err(error)) = self.journal.as_ref().map(|journal| journal.fault(&journaled(extent, journal))) {
                tracing::error!(%error, "the journal of faults cannot be written");
            }
        }
    }

    pub(crate) fn extents(&self) -> Vec<Extent> {
        self.book.lock().expect("no holder of this lock panics").extents.clone()
    }

    pub(crate) fn hits(&self) -> u64 {
        self.book.lock().expect("no holder of this lock panics").hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_of_one_stream_share_an_extent_and_ids_that_follow_share_a_range() {
        let ledger = Ledger::new(None);
        let id = ledger.enter();
        let hit = |symbol, frame, ids: &[(u64, u64)]| {
            let spot = Spot { symbol: Some(symbol), frame, ids, ..Spot::default() };
            ledger.hit(id, "lose", UnixNanos(frame), &spot);
        };
        hit("A", 3, &[(7, 7)]);
        hit("B", 4, &[(1, 1)]);
        hit("A", 5, &[(8, 9), (20, 20)]);
        ledger.finish(id);
        let [a, b] = &ledger.extents()[..] else { panic!("two streams") };
        assert_eq!((a.first_frame, a.last_frame, a.count, &a.ids[..]), (3, 5, 2, &[(7, 9), (20, 20)][..]));
        assert_eq!((a.ids_count(), b.count, a.over, ledger.hits()), (4, 1, true, 3));
    }
}
