//! What a session tells again: each instrument in its turn for late joiners, and books that consumers ask for.
//! (a timer, or [`Input::Snapshot`](super::Input::Snapshot)) -> definition, state and a snapshot of what was told so far.

use super::Session;
use crate::Outbox;
use crate::demand::PAUSE;
use model::{InstrumentId, UnixNanos};
use std::time::Duration;
use wire::{Record, RecordBuf, RecordType, SnapshotBeginRecord, SnapshotReason};

impl Session {
    /// Refreshes the next instrument of the round, so that the load is spread evenly.
    pub(super) fn refresh_one(&mut self, now: UnixNanos, out: &mut Outbox) {
        let (count, before) = (self.instruments(), out.records.len());
        if count > 0 && self.up > 0 {
            self.refresh_index = (self.refresh_index + 1) % count;
            self.refresh(self.refresh_index, now, out);
        }
        self.refreshed = Some(now);
        // In a ring too small for its books what is told again must not drive out what is told.
        let told = (out.records.len() - before) as u64;
        self.refresh_records_due = self.records + self.refresh_records_step().max(2 * told);
    }

    fn refresh(&mut self, n: usize, now: UnixNanos, out: &mut Outbox) {
        let Some((group, id)) = self.nth(n) else { return };
        let before = out.records.len();
        self.tell_again(group, id, SnapshotReason::Periodic, now, out);
        if tells_a_book(&out.records, before) {
            self.demands.told(id, now);
        }
    }

    /// The `n`-th instrument of the round, with its group.
    fn nth(&self, mut n: usize) -> Option<(usize, InstrumentId)> {
        let at = self.groups.iter().position(|group| {
            let count = self.instruments_of(group);
            let here = n < count;
            n -= if here { 0 } else { count };
            here
        })?;
        let id = match &self.groups[at].arbiter {
            Some(arbiter) => arbiter.instrument(n)?,
            None => self.lines[self.alone(&self.groups[at])].machine.instruments().get(n as u32).id,
        };
        Some((at, id))
    }

    /// Tells definition, state and, of a live book, a snapshot again.
    fn tell_again(&mut self, group: usize, id: InstrumentId, reason: SnapshotReason, now: UnixNanos, out: &mut Outbox) {
        let alone = self.alone(&self.groups[group]);
        let Session { lines, groups, side, .. } = self;
        let group = &mut groups[group];
        let refresher = match &group.arbiter {
            None if reason == SnapshotReason::Periodic => return lines[alone].machine.refresh(id, now, out),
            None => Some((alone, None)),
            Some(arbiter) => {
                arbiter.refresher(id).map(|(place, with_book)| (group.lines[place], Some((place, with_book))))
            }
        };
        let Some((line, judged)) = refresher else { return };
        side.clear();
        lines[line].machine.refresh(id, now, side);
        if reason != SnapshotReason::Periodic {
            side.records = relabelled(&side.records, reason);
        }
        match (&mut group.arbiter, judged) {
            (Some(arbiter), Some((place, with_book))) => {
                arbiter.tell_refresh(place, id, with_book, &side.records, &mut out.records);
            }
            _ => side.records.iter().for_each(|words| push(words, &mut out.records)),
        }
        side.clear();
    }

    /// Tells books that were asked for, as far as their pace allows.
    pub(super) fn serve_demands(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.demands.due().is_none_or(|due| due > now) {
            return;
        }
        let turn = self.refresh_due().filter(|due| *due <= now.after(PAUSE)).and_then(|due| {
            let (_, id) = self.nth((self.refresh_index + 1) % self.instruments().max(1))?;
            Some((id, due))
        });
        while let Some(id) = self.demands.take(now) {
            match turn {
                Some((next, due)) if next == id => self.demands.leave_to_turn(id, due),
                _ => self.tell_demanded(id, now, out),
            }
        }
    }

    fn tell_demanded(&mut self, id: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        let Some(group) = self.holder(id) else { return };
        let before = out.records.len();
        self.tell_again(group, id, SnapshotReason::Requested, now, out);
        self.demands.spent(out.records.len() - before, now);
        self.demands.told(id, now);
    }

    /// Counted with the instruments there are now: most become known only after the connection opened.
    pub(super) fn refresh_due(&self) -> Option<UnixNanos> {
        self.refreshed.map(|at| at.after(self.refresh_step()))
    }

    fn refresh_step(&self) -> Duration {
        self.settings.refresh / u32::try_from(self.instruments().max(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn refresh_records_step(&self) -> u64 {
        (self.settings.refresh_records / self.instruments().max(1) as u64).max(1)
    }

    /// The instruments of this name: canonical or the venue's, in any case of letters, or `#` and the id in hexadecimal;
    /// all for `*`.
    pub fn named(&self, symbol: &str) -> Vec<InstrumentId> {
        let id = symbol.strip_prefix('#').and_then(|hex| u32::from_str_radix(hex, 16).ok()).map(InstrumentId);
        let is = |own: &str| symbol == "*" || own.eq_ignore_ascii_case(symbol);
        let all = self.lines.iter().flat_map(|line| line.machine.instruments().iter());
        let mut ids: Vec<_> =
            all.filter(|i| Some(i.id) == id || is(&i.symbol) || is(&i.venue_symbol)).map(|i| i.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether an [`crate::Input::Snapshot`] of this instrument would have its book told: there is a live one. One that is not
    /// is told when it comes to be.
    pub fn has_live_book(&self, instrument: InstrumentId) -> bool {
        self.holder(instrument).is_some()
    }

    /// Whether an instrument's book is asked for already and yet to be told.
    pub fn is_asked_for(&self, instrument: InstrumentId) -> bool {
        self.demands.holds(instrument)
    }

    /// The group that can tell an instrument's book.
    fn holder(&self, id: InstrumentId) -> Option<usize> {
        self.groups.iter().position(|group| match &group.arbiter {
            Some(arbiter) => arbiter.refresher(id).is_some_and(|(_, with_book)| with_book),
            None => self.lines[self.alone(group)].machine.book(id).is_some_and(|(_, trust)| trust.is_live()),
        })
    }
}

/// The records of a refresh, with another reason in its snapshot.
#[cold]
fn relabelled(refresh: &RecordBuf, reason: SnapshotReason) -> RecordBuf {
    let mut records = RecordBuf::default();
    for words in refresh {
        match Record::read(words) {
            Ok(Record::SnapshotBegin(begin)) => records.push(&SnapshotBeginRecord { reason: reason as u8, ..*begin }),
            _ => push(words, &mut records),
        }
    }
    records
}

fn push(words: &[u64], out: &mut RecordBuf) {
    out.push_words(words).expect("records of a machine are whole");
}

/// Whether a snapshot begins behind the first `before` records.
fn tells_a_book(records: &RecordBuf, before: usize) -> bool {
    // Byte 0 of a record is its type.
    records.iter().skip(before).any(|words| words[0] as u8 == RecordType::SnapshotBegin as u8)
}
