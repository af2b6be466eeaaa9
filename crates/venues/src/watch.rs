//! A watchdog per stream: data of the stream itself counts, a pong or a neighbour's data does not.

use crate::{Known, StaleAfter};
use model::{StreamKind, UnixNanos};
use std::time::Duration;

/// The streams one instrument can have, in the order of the columns below.
const STREAMS: [StreamKind; 4] = [StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar];

/// How often silence is looked for.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// When data last came, ns; 0 while the stream is not subscribed.
    last: [u64; 4],
    /// What the last data was marked with.
    marks: [u64; 4],
    stale: [bool; 4],
}

/// When each stream last had data.
#[derive(Debug, Default)]
pub struct Watch {
    rows: Vec<Row>,
    limits: [Option<Duration>; 4],
    next: Option<UnixNanos>,
}

impl Watch {
    /// Watches with these limits.
    pub fn new(limits: &StaleAfter) -> Watch {
        Watch { rows: vec![], limits: STREAMS.map(|s| limits.limit(s)), next: None }
    }

    fn column(stream: StreamKind) -> usize {
        STREAMS.iter().position(|s| *s == stream).expect("only instrument streams are watched")
    }

    /// The stream was subscribed: its silence counts from now.
    pub fn start(&mut self, instrument: Known, stream: StreamKind, now: UnixNanos) {
        if self.rows.len() <= instrument as usize {
            self.rows.resize(instrument as usize + 1, Row::default());
        }
        let row = &mut self.rows[instrument as usize];
        row.last[Watch::column(stream)] = now.0.max(1);
        self.next = Some(self.next.unwrap_or(now.after(EVERY)));
    }

    /// Data came. `true` when the stream had been called stale: it is live again and that should be told. `mark` tells
    /// data from the data before it: the venue's time or number, 0 where it has none. A venue that says the same again
    /// and again says nothing.
    #[inline]
    pub fn seen(&mut self, instrument: Known, stream: StreamKind, mark: u64, now: UnixNanos) -> bool {
        let column = Watch::column(stream);
        let Some(row) = self.rows.get_mut(instrument as usize) else { return false };
        let same = mark != 0 && std::mem::replace(&mut row.marks[column], mark) == mark;
        if row.last[column] == 0 || same {
            return false;
        }
        row.last[column] = now.0.max(1);
        std::mem::take(&mut row.stale[column])
    }

    /// The venue proved that a stream had nothing to say, as by a counter that did not move: its silence counts from
    /// now. A stream already called stale stays so until data comes.
    #[inline]
    pub fn quiet(&mut self, instrument: Known, stream: StreamKind, now: UnixNanos) {
        let column = Watch::column(stream);
        if let Some(row) = self.rows.get_mut(instrument as usize)
            && row.last[column] != 0
            && !row.stale[column]
        {
            row.last[column] = now.0.max(1);
        }
    }

    /// The connection is gone: nothing is watched until it is subscribed again.
    pub fn stop(&mut self) {
        self.rows.fill(Row::default());
        self.next = None;
    }

    /// When [`Watch::check`] should be called next.
    pub fn next(&self) -> Option<UnixNanos> {
        self.next
    }

    /// Whether silence is to be looked for now.
    pub fn is_due(&self, now: UnixNanos) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Tells each stream that has been silent for too long, once, with how long.
    pub fn check(&mut self, now: UnixNanos, mut tell: impl FnMut(Known, StreamKind, Duration)) {
        if !self.is_due(now) {
            return;
        }
        self.next = Some(now.after(EVERY));
        for (index, row) in self.rows.iter_mut().enumerate() {
            for (column, stream) in STREAMS.into_iter().enumerate() {
                let Some(limit) = self.limits[column] else { continue };
                let silent = now.since(UnixNanos(row.last[column]));
                if row.last[column] != 0 && !row.stale[column] && silent >= limit {
                    row.stale[column] = true;
                    tell(index as Known, stream, silent);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silent_stream_is_told_and_only_once() {
        let s = |seconds: u64| UnixNanos(1_000_000_000 * seconds);
        let mut w = Watch::new(&StaleAfter { book_s: 5, ..StaleAfter::default() });
        w.start(0, StreamKind::Book, s(1));
        w.start(0, StreamKind::Trade, s(1));
        w.start(1, StreamKind::Book, s(1));
        w.seen(1, StreamKind::Book, 0, s(4));
        let mut told = vec![];
        w.check(s(6), |i, k, _| told.push((i, k)));
        w.check(s(7), |i, k, _| told.push((i, k)));
        assert_eq!(told, [(0, StreamKind::Book)]);
        assert!(w.seen(0, StreamKind::Book, 7, s(8)), "it is live again");
        assert!(!w.seen(0, StreamKind::Book, 8, s(9)));
        for second in 10..=13 {
            assert!(!w.seen(0, StreamKind::Book, 8, s(second)), "the same again is no data");
        }
        told.clear();
        w.check(s(14), |i, k, _| told.push((i, k)));
        assert_eq!(told[0], (0, StreamKind::Book));
        w.stop();
        told.clear();
        w.check(s(60), |i, k, _| told.push((i, k)));
        assert_eq!(told, []);
    }
}
