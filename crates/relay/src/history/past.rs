//! One venue's way through the journal: what a joiner must know as of then, and then every record, batch by batch.
//!
//! [`Past::open`] finds the first record owed. [`Past::look`] takes the next piece off the journal, bounded in size,
//! and [`Past::tell`] hands out what it holds for this subscriber. What a joiner must know is found by reading the
//! stretch before the first record owed, as long as the ring is: feeds repeat definitions, states and snapshots often
//! enough for a ring to hold them.
//!
//! Invariants: from the first record owed on, every record of the venue is told, passed over by the filter, or named
//! in an overrun; never past what the journal acknowledges as written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::source::{Source, Taken};
use super::{HistoryError, PastFrom};
use crate::cursor::{Kind, is_of_book};
use crate::filter::{Filter, kind_and_instrument};
use crate::index::{Books, Plan, Tables};
use crate::subscription::{Snapshots, Subscription};
use model::{UnixNanos, Venue};
use ring::{Entry, Point};
use wire::batch::OUT_OF_BAND;
use wire::{Envelope, OverrunCause, OverrunRecord, Record};

/// What a look found; [`Past::tell`] tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Records owed, of that run; the first sequence of them is in [`Past::first_owed`].
    Live(u64),
    /// Records of that run before the first one owed that the joiner needs.
    CatchUp(u64),
    /// An overrun of that run.
    OutOfBand(u64),
    /// Nothing to tell; there is more.
    Nothing,
    /// The journal has no more for now.
    End,
}

/// Where a way begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The first record owed.
    pub(crate) owed: Point,
    /// The first record from there on that the journal holds; `None` while it holds none.
    pub(crate) held: Option<Point>,
}

impl Found {
    /// Whether the journal has more than a ring whose oldest record is this one.
    pub(crate) fn reaches_back(&self, from: PastFrom, oldest_in_ring: Point) -> bool {
        match from {
            // What the journal does not hold yet, its recorder is about to write.
            PastFrom::Record(asked) => self.held.is_none_or(|held| held == asked || held < oldest_in_ring),
            PastFrom::Oldest | PastFrom::Time(_) => self.owed <= oldest_in_ring,
        }
    }
}

enum Stage {
    /// Learns what the records up to the first one owed say.
    Learn,
    /// Tells what a joiner must know.
    Explain(Plan),
    /// Tells what is owed.
    Follow,
}

/// What [`Past::tell`] is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtHand {
    Nothing,
    Batch,
    Overrun,
}

/// One subscriber's way through one venue's past.
pub(crate) struct Past {
    folder: PathBuf,
    venue: Venue,
    filter: Filter,
    tables: Tables,
    source: Source,
    stage: Stage,
    /// The first sequence of the stretch before the first record owed.
    oldest: u64,
    books: Books,
    owed: Point,
    at_hand: AtHand,
    /// A batch was taken and is not told: overruns come first.
    holds_batch: bool,
    overruns: VecDeque<OverrunRecord>,
}

impl Past {
    /// Finds the first record owed. `None` when the journal has nothing of the venue, or nothing so late. `stretch` is
    /// how many records before it may say what a joiner must know.
    pub(crate) fn open(
        folder: &Path,
        venue: Venue,
        from: PastFrom,
        subscription: &Subscription,
        stretch: u64,
    ) -> Result<Option<(Past, Found)>, HistoryError> {
        let Some(mut source) = Source::open(folder, venue, from)? else { return Ok(None) };
        let held = first_held(&mut source, from)?;
        let owed = match (from, held) {
            (PastFrom::Record(asked), _) => asked,
            (_, Some(held)) => held,
            (_, None) => return Ok(None),
        };
        let knows_books =
            matches!(from, PastFrom::Oldest | PastFrom::Record(_)) && held.is_none_or(|held| held == owed);
        let oldest = owed.sequence.saturating_sub(stretch).max(1);
        source.stand_at(folder, Point { epoch: owed.epoch, sequence: oldest })?;
        let past = Past {
            folder: folder.to_owned(),
            venue,
            filter: Filter::new(subscription),
            tables: Tables::default(),
            source,
            stage: Stage::Learn,
            oldest,
            books: if knows_books { Books::Known } else { Books::Told },
            owed,
            at_hand: AtHand::Nothing,
            holds_batch: false,
            overruns: VecDeque::new(),
        };
        Ok(Some((past, Found { owed, held })))
    }

    /// The next record owed.
    pub(crate) fn owed(&self) -> Point {
        self.owed
    }

    /// The first record of the batch at hand that is owed.
    pub(crate) fn first_owed(&self) -> Point {
        let header = &self.source.header;
        self.owed.max(Point { epoch: header.epoch, sequence: header.scan_first })
    }

    /// When the batch at hand was published, ns since the Unix epoch.
    pub(crate) fn published_at(&self) -> u64 {
        self.source.header.published
    }

    /// Takes the next piece, one batch at most.
    pub(crate) fn look(&mut self, now: UnixNanos) -> Result<Look, HistoryError> {
        self.at_hand = AtHand::Nothing;
        match self.stage {
            Stage::Learn => self.learn(),
            Stage::Explain(_) => self.explain(),
            Stage::Follow => self.follow(now),
        }
    }

    fn learn(&mut self) -> Result<Look, HistoryError> {
        let owed = self.owed;
        let reached = match self.source.take()? {
            Taken::End => true,
            Taken::Other => false,
            Taken::Missing => {
                self.tables.forget_books();
                false
            }
            Taken::Batch if self.source.header.flags & OUT_OF_BAND != 0 => {
                self.tables.forget_books();
                false
            }
            Taken::Batch => {
                let (tables, mut reached) = (&mut self.tables, false);
                self.source.each(|envelope, words| {
                    let Envelope { epoch, sequence } = envelope;
                    if (Point { epoch, sequence }) >= owed {
                        reached = true;
                    } else if epoch == owed.epoch {
                        tables.note(Entry { epoch, sequence, position: sequence }, words);
                    }
                })?;
                reached
            }
        };
        if reached {
            let plan = self.tables.plan(self.oldest, (owed.sequence, owed.epoch), &self.filter, (self.books, Snapshots::Held));
            let first = plan.points.first().copied().unwrap_or(plan.until).min(plan.scan_from);
            self.source.stand_at(&self.folder, Point { epoch: owed.epoch, sequence: first })?;
            self.tables.keep_symbols_only();
            self.stage = if first < plan.until { Stage::Explain(plan) } else { Stage::Follow };
        }
        Ok(Look::Nothing)
    }

    fn explain(&mut self) -> Result<Look, HistoryError> {
        let header = match self.source.take()? {
            Taken::Missing | Taken::Other => return Ok(Look::Nothing),
            Taken::Batch if self.source.header.flags & OUT_OF_BAND != 0 => return Ok(Look::Nothing),
            Taken::Batch => self.source.header,
            Taken::End => return self.stop_explaining(),
        };
        if (Point { epoch: header.epoch, sequence: header.first }) >= self.owed {
            return self.stop_explaining();
        }
        self.at_hand = AtHand::Batch;
        Ok(Look::CatchUp(header.epoch))
    }

    /// What is owed is read from its first record: the batch it stands in may hold both.
    fn stop_explaining(&mut self) -> Result<Look, HistoryError> {
        self.source.stand_at(&self.folder, self.owed)?;
        self.stage = Stage::Follow;
        Ok(Look::Nothing)
    }

    fn follow(&mut self, now: UnixNanos) -> Result<Look, HistoryError> {
        while self.overruns.is_empty() && !self.holds_batch {
            match self.source.take()? {
                Taken::End => return Ok(Look::End),
                Taken::Other => return Ok(Look::Nothing),
                Taken::Missing => self.note_missing(now),
                Taken::Batch if self.source.header.flags & OUT_OF_BAND != 0 => self.note_told_overruns()?,
                Taken::Batch if !self.is_owed() => return Ok(Look::Nothing),
                Taken::Batch => {
                    self.holds_batch = true;
                    self.note_hole(now);
                }
            }
        }
        if let Some(overrun) = self.overruns.front() {
            self.at_hand = AtHand::Overrun;
            return Ok(Look::OutOfBand(overrun.epoch));
        }
        self.holds_batch = false;
        self.at_hand = AtHand::Batch;
        Ok(Look::Live(self.source.header.epoch))
    }

    /// Whether the batch at hand ends at or behind the next record owed.
    fn is_owed(&self) -> bool {
        let header = &self.source.header;
        (Point { epoch: header.epoch, sequence: header.scan_last }) >= self.owed
    }

    /// What lies between the next record owed and the batch at hand is lost.
    fn note_hole(&mut self, now: UnixNanos) {
        let (epoch, first) = (self.source.header.epoch, self.source.header.scan_first);
        let expected = if epoch == self.owed.epoch { self.owed.sequence } else { 1 };
        if first > expected {
            self.lose(epoch, expected, Some(first - 1), now);
        }
    }

    /// A piece of the journal is damaged or was removed.
    fn note_missing(&mut self, now: UnixNanos) {
        let venue = self.venue;
        let ranges: Vec<_> = self.source.missing.iter().filter(|range| range.venue == venue).copied().collect();
        for range in ranges {
            self.lose(range.epoch, range.first, range.last, now);
        }
    }

    /// The recorder missed something itself, and said so.
    fn note_told_overruns(&mut self) -> Result<(), HistoryError> {
        let mut told = Vec::new();
        self.source.each(|_, words| {
            if let Ok(Record::Overrun(overrun)) = Record::read(words) {
                told.push(*overrun);
            }
        })?;
        for mut overrun in told {
            if let Some(first) =
                self.still_owed(overrun.epoch, overrun.first, (overrun.last != 0).then_some(overrun.last))
            {
                overrun.first = first;
                self.overruns.push_back(overrun);
            }
        }
        Ok(())
    }

    fn lose(&mut self, epoch: u64, first: u64, last: Option<u64>, now: UnixNanos) {
        if let Some(first) = self.still_owed(epoch, first, last) {
            let record = OverrunRecord::new(Some(self.venue), epoch, first, last, OverrunCause::Expired, now);
            self.overruns.push_back(record);
        }
    }

    /// The first sequence of a range that was not accounted for yet. Those before it are told of in its own name.
    fn still_owed(&self, epoch: u64, first: u64, last: Option<u64>) -> Option<u64> {
        let pending = self.overruns.back().map(behind);
        let owed = pending.flatten().map_or(self.owed, |pending| pending.max(self.owed));
        let reaches = last.is_none_or(|last| Point { epoch, sequence: last } >= owed) && epoch >= owed.epoch;
        reaches.then(|| if epoch == owed.epoch { first.max(owed.sequence) } else { first })
    }

    /// Hands out what the last look found; nothing is owed of it any more.
    pub(crate) fn tell(&mut self, f: &mut impl FnMut(Kind, Envelope, &[u64])) -> Result<(), HistoryError> {
        match std::mem::replace(&mut self.at_hand, AtHand::Nothing) {
            AtHand::Nothing => Ok(()),
            AtHand::Overrun => {
                if let Some(overrun) = self.overruns.pop_front() {
                    f(Kind::OutOfBand, Envelope { epoch: overrun.epoch, sequence: 0 }, overrun.as_words());
                    self.owed = behind(&overrun).map_or(self.owed, |behind| behind.max(self.owed));
                }
                Ok(())
            }
            AtHand::Batch => self.tell_batch(f),
        }
    }

    fn tell_batch(&mut self, f: &mut impl FnMut(Kind, Envelope, &[u64])) -> Result<(), HistoryError> {
        let Past { source, stage, filter, tables, owed, .. } = self;
        if let Stage::Explain(plan) = stage {
            return source.each(|envelope, words| {
                if envelope.epoch == owed.epoch && envelope.sequence < plan.until {
                    // Symbols were learnt already, of this stretch and of what lies behind it.
                    if explains(plan, filter, envelope.sequence, words) {
                        f(Kind::CatchUp, envelope, words);
                    }
                }
            });
        }
        source.each(|envelope, words| {
            let Envelope { epoch, sequence } = envelope;
            tables.note(Entry { epoch, sequence, position: 0 }, words);
            if (Point { epoch, sequence }) >= *owed && filter.passes(words, tables) {
                f(Kind::Live, envelope, words);
            }
        })?;
        *owed = Point { epoch: source.header.epoch, sequence: source.header.scan_last + 1 };
        Ok(())
    }
}

/// The record expected behind an overrun; `None` where nobody knows its end.
fn behind(overrun: &OverrunRecord) -> Option<Point> {
    (overrun.last != 0).then(|| Point { epoch: overrun.epoch, sequence: overrun.last + 1 })
}

/// Whether a joiner is told a record of the stretch before the first one owed.
fn explains(plan: &Plan, filter: &Filter, sequence: u64, words: &[u64]) -> bool {
    let (kind, instrument) = kind_and_instrument(words);
    if !filter.wants_type(kind) {
        return false;
    }
    let of_book = is_of_book(kind) && plan.starts.get(&instrument).is_some_and(|start| sequence >= *start);
    of_book || plan.points.binary_search(&sequence).is_ok()
}

/// The first record that the journal holds at or behind a start.
fn first_held(source: &mut Source, from: PastFrom) -> Result<Option<Point>, HistoryError> {
    loop {
        match source.take()? {
            Taken::End => return Ok(None),
            Taken::Missing | Taken::Other => continue,
            Taken::Batch if source.header.flags & OUT_OF_BAND != 0 => continue,
            Taken::Batch => {}
        }
        let mut first = None;
        source.each(|envelope, words| {
            let point = Point { epoch: envelope.epoch, sequence: envelope.sequence };
            let counts = match from {
                PastFrom::Oldest => true,
                PastFrom::Record(asked) => point >= asked,
                // Word 2 of every record is its receive time.
                PastFrom::Time(ns) => words.get(2).is_none_or(|received| *received >= ns),
            };
            if counts && first.is_none() {
                first = Some(point);
            }
        })?;
        if first.is_some() {
            return Ok(first);
        }
    }
}
