//! One subscriber's way through one ring: overruns first, then what a joiner must know, then the records it is owed.
//! (ring, subscription) -> [`RingCursor::poll`] -> records, each live, caught up on, or the transport's own.
//!
//! Invariants: from the record it was placed at on, every record of the ring was scanned in order or named in an
//! overrun, whatever happened on the way. Catching up repeats nothing that is owed. Used alike by the relay and by a
//! client that reads the rings itself.

use crate::filter::{Filter, kind_and_instrument};
use crate::history::{PastFrom, Reach};
use crate::index::{Books, Plan, RingIndex};
use crate::subscription::{Slow, Snapshots, Subscription};
use model::{UnixNanos, Venue};
use ring::{Lost, Point, Poll, Reader, RingError};
use wire::{Envelope, OverrunCause, OverrunRecord, RecordType};

/// Single records told in one step of catching up.
const POINTS_PER_STEP: usize = 256;
/// The part of the ring nearest to the writer that nobody is handed over to from the journal: it would be gone before
/// it is read.
const ROOM_DIVISOR: u64 = 8;

/// Why a record is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is owed.
    Live,
    /// It lies before the first record owed.
    CatchUp,
    /// No feed made it: an overrun.
    OutOfBand,
}

/// A range of sequences that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What a poll came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Records owed were looked at; so many were told.
    Live { told: usize, scan: Scan },
    /// Something was told, or prepared, aside of what is owed.
    Aside,
    /// Nothing to do.
    Idle,
    /// Everything here was read, and the ring was replaced: [`RingCursor::adopt`] its successor.
    Retired,
    /// It was too slow and wanted to be dropped then; what it missed has been told.
    Ended,
}

struct Overrun {
    lost: Lost,
    cause: OverrunCause,
}

/// One subscriber's place in one ring.
pub(crate) struct RingCursor {
    reader: Reader,
    venue: Venue,
    filter: Filter,
    slow: Slow,
    snapshots: Snapshots,
    /// Books that the feed is to be asked for.
    asks: Vec<String>,
    overruns: Vec<Overrun>,
    plan: Option<Progress>,
    /// The next record owed.
    owed: Point,
    ended: bool,
    /// Everything in this file was read and it has a successor.
    retired: bool,
    reach: Reach,
    /// What is owed next lies in the past: the journal is to be read first, and then [`RingCursor::go_on`].
    past: Option<PastFrom>,
    /// It once had everything there was.
    caught_up: bool,
    /// Records missed so far, where they can be counted, and overruns told.
    pub(crate) missed: Missed,
}

/// What a subscriber did not get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) overruns: u64,
    pub(crate) records: u64,
}

struct Progress {
    plan: Plan,
    next_point: usize,
    scanning: bool,
}

impl RingCursor {
    /// Placed where the subscription starts. `index` is of the same ring, `reach` says what a journal is good for; the
    /// second value says what was asked for and could not be had.
    pub(crate) fn new(
        venue: Venue,
        subscription: &Subscription,
        from: ring::From,
        reach: Reach,
        index: &mut RingIndex,
    ) -> Result<(RingCursor, Option<String>), RingError> {
        let mut cursor = RingCursor {
            reader: index.reader().fork(),
            venue,
            filter: Filter::new(subscription),
            slow: subscription.slow,
            snapshots: subscription.snapshots,
            asks: Vec::new(),
            overruns: Vec::new(),
            plan: None,
            owed: Point::default(),
            ended: false,
            retired: false,
            reach,
            past: None,
            caught_up: false,
            missed: Missed::default(),
        };
        if reach == Reach::Start {
            cursor.past = cursor.lies_in_the_past(from)?;
        }
        let warning = if cursor.past.is_none() { cursor.place(from, index)? } else { None };
        Ok((cursor, warning))
    }

    /// Whether the ring alone cannot start there, and what a journal is to be asked for then.
    fn lies_in_the_past(&mut self, from: ring::From) -> Result<Option<PastFrom>, RingError> {
        match from {
            ring::From::Now => Ok(None),
            ring::From::Oldest => Ok(Some(PastFrom::Oldest)),
            ring::From::Time(ns) => {
                self.reader.attach(from)?;
                let found = self.reader.position();
                self.reader.attach(ring::From::Oldest)?;
                // Whether the oldest one held is the first one received then, only the journal knows.
                Ok((found <= self.reader.position()).then_some(PastFrom::Time(ns)))
            }
            ring::From::Sequence { epoch, sequence } => {
                let asked = Point { epoch, sequence: sequence.max(1) };
                match self.reader.attach(ring::From::Sequence { epoch, sequence }) {
                    // Placing it says what follows from that.
                    Err(RingError::Ahead { .. }) => return Ok(None),
                    other => other?,
                }
                Ok((!self.cost_of_attach(asked)?.is_empty()).then_some(PastFrom::Record(asked)))
            }
        }
    }

    /// What a journal is to be asked for before the ring is read on.
    #[inline]
    pub(crate) fn past(&self) -> Option<PastFrom> {
        self.past
    }

    /// Everything before `owed` was told from the journal.
    pub(crate) fn was_told_until(&mut self, owed: Point) {
        self.owed = owed;
        self.past = Some(PastFrom::Record(owed));
    }

    /// The oldest record of the ring.
    pub(crate) fn oldest_held(&self) -> Result<Point, RingError> {
        let mut reader = self.reader.fork();
        reader.attach(ring::From::Oldest)?;
        Ok(reader.next())
    }

    /// From the journal to the ring, if that holds the next record owed, and not for a moment only. `at_end`: the
    /// journal has no more, so that a moment must do.
    pub(crate) fn go_on(&mut self, at_end: bool) -> Result<bool, RingError> {
        let asked = self.owed;
        match self.reader.attach(ring::From::Sequence { epoch: asked.epoch, sequence: asked.sequence }) {
            Err(RingError::Ahead { .. }) => return Ok(false),
            other => other?,
        }
        if !self.cost_of_attach(asked)?.is_empty() {
            return Ok(false);
        }
        let room = (self.reader.position() + self.reader.capacity()).saturating_sub(self.reader.tail());
        if !at_end && room < self.reader.capacity() / ROOM_DIVISOR {
            return Ok(false);
        }
        self.owed = self.reader.next();
        self.past = None;
        Ok(true)
    }

    /// The journal does not have what is owed: goes on with what the ring has, and says what that leaves out.
    pub(crate) fn forgo_past(&mut self, index: &mut RingIndex) -> Result<Option<String>, RingError> {
        match self.past.take() {
            None => Ok(None),
            Some(PastFrom::Oldest) => self.place(ring::From::Oldest, index),
            Some(PastFrom::Time(ns)) => self.place(ring::From::Time(ns), index),
            Some(PastFrom::Record(Point { epoch, sequence })) => {
                self.place(ring::From::Sequence { epoch, sequence }, index)
            }
        }
    }

    fn place(&mut self, from: ring::From, index: &mut RingIndex) -> Result<Option<String>, RingError> {
        index.catch_up()?;
        let mut warning = None;
        let books = match from {
            ring::From::Now | ring::From::Time(_) => Books::Told,
            ring::From::Oldest | ring::From::Sequence { .. } => Books::Known,
        };
        match self.reader.attach(from) {
            Err(ahead @ RingError::Ahead { .. }) => {
                warning = Some(format!("{ahead}; starting at the oldest record"));
                self.reader.attach(ring::From::Oldest)?;
            }
            other => other?,
        }
        match from {
            ring::From::Sequence { epoch, sequence } if warning.is_none() => {
                self.resume(Point { epoch, sequence: sequence.max(1) }, index)?;
            }
            _ => self.join(index, books)?,
        }
        Ok(warning)
    }

    /// After an attach to `asked`: what that cost. A reader that stands elsewhere says so at its next poll, unless it
    /// stands at the same record by another name.
    fn cost_of_attach(&mut self, asked: Point) -> Result<Vec<Lost>, RingError> {
        if self.reader.next() == asked {
            return Ok(Vec::new());
        }
        let position = self.reader.position();
        if let Poll::Lapped(lost) = self.reader.poll(1, |_, _| {})? {
            return Ok(lost);
        }
        self.reader.seek(position)?;
        Ok(Vec::new())
    }

    /// To a record told before, or as near as it can be had. Who lost book changes needs the books anew.
    fn resume(&mut self, asked: Point, index: &mut RingIndex) -> Result<(), RingError> {
        let lost = self.cost_of_attach(asked)?;
        let books = if lost.is_empty() { Books::Known } else { Books::Told };
        self.lose(lost, OverrunCause::Expired);
        self.join(index, books)
    }

    /// Plans what must be known where the reader stands.
    fn join(&mut self, index: &mut RingIndex, books: Books) -> Result<(), RingError> {
        index.catch_up()?;
        self.owed = self.reader.next();
        let mut plan = index.plan(self.reader.position(), self.owed.epoch, &self.filter, (books, self.snapshots));
        self.asks.append(&mut plan.asks);
        self.plan = Some(Progress { plan, next_point: 0, scanning: false });
        Ok(())
    }

    /// Goes on now; what lies between is lost.
    fn skip(&mut self, mut lost: Vec<Lost>, index: &mut RingIndex) -> Result<(), RingError> {
        index.catch_up()?;
        lost.extend(self.reader.skip()?);
        self.lose(lost, OverrunCause::Slow);
        self.join(index, Books::Told)
    }

    fn lose(&mut self, lost: Vec<Lost>, cause: OverrunCause) {
        for range in lost {
            self.missed.records += range.count().unwrap_or(0);
            match self.overruns.last_mut() {
                Some(before) if before.lost.epoch == range.epoch && before.lost.last == Some(range.first - 1) => {
                    before.lost.last = range.last;
                }
                _ => {
                    self.missed.overruns += 1;
                    self.overruns.push(Overrun { lost: range, cause });
                }
            }
        }
    }

    /// Tells up to `slots` slots' worth of what comes next.
    #[inline]
    pub(crate) fn poll<F: FnMut(Kind, Envelope, &[u64])>(
        &mut self,
        slots: usize,
        now: UnixNanos,
        index: &mut RingIndex,
        mut f: F,
    ) -> Result<Step, RingError> {
        if !self.is_plain() {
            return self.poll_aside(slots, now, index, &mut f);
        }
        let filter = &mut self.filter;
        let mut told = 0;
        let mut first = None;
        let polled = self.reader.poll(slots, |entry, words| {
            first.get_or_insert((entry.epoch, entry.sequence));
            if filter.passes(words, index) {
                told += 1;
                f(Kind::Live, Envelope { epoch: entry.epoch, sequence: entry.sequence }, words);
            }
        });
        self.owed = self.reader.next();
        if let Some((epoch, first)) = first {
            // An error behind them is met again by the next poll.
            return Ok(Step::Live { told, scan: Scan { epoch, first, last: self.owed.sequence - 1 } });
        }
        match polled? {
            Poll::Records(_) => Ok(Step::Idle),
            Poll::Idle => {
                self.caught_up = true;
                Ok(Step::Idle)
            }
            Poll::Retired => {
                self.retired = true;
                Ok(Step::Retired)
            }
            Poll::Lapped(lost) => self.fall_behind(lost, index).map(|()| Step::Aside),
            Poll::Missing(lost) => {
                // Nobody was too slow: what follows is held. The books are not those of before any more.
                self.lose(vec![lost], OverrunCause::Relay);
                self.join(index, Books::Told).map(|()| Step::Aside)
            }
        }
    }

    /// Whether nothing stands before the records that are owed.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.overruns.is_empty() && self.plan.is_none() && !self.ended
    }

    #[cold]
    fn poll_aside(
        &mut self,
        slots: usize,
        now: UnixNanos,
        index: &mut RingIndex,
        f: &mut impl FnMut(Kind, Envelope, &[u64]),
    ) -> Result<Step, RingError> {
        if !self.overruns.is_empty() {
            for Overrun { lost, cause } in self.overruns.drain(..) {
                let record = OverrunRecord::new(Some(self.venue), lost.epoch, lost.first, lost.last, cause, now);
                f(Kind::OutOfBand, Envelope { epoch: lost.epoch, sequence: 0 }, record.as_words());
            }
            return Ok(Step::Aside);
        }
        if self.ended {
            return Ok(Step::Ended);
        }
        let Some(mut progress) = self.plan.take() else { return Ok(Step::Aside) };
        if progress.next_point < progress.plan.points.len() {
            self.tell_points(&mut progress, f)?;
            self.plan = Some(progress);
            return Ok(Step::Aside);
        }
        self.scan(progress, slots, index, f)?;
        Ok(Step::Aside)
    }

    fn tell_points(
        &mut self,
        progress: &mut Progress,
        f: &mut impl FnMut(Kind, Envelope, &[u64]),
    ) -> Result<(), RingError> {
        for position in progress.plan.points.iter().skip(progress.next_point).take(POINTS_PER_STEP) {
            progress.next_point += 1;
            match self.reader.seek(*position) {
                // It fell out of the ring since; the feed tells it again.
                Err(RingError::NotHeld { .. }) => continue,
                other => other?,
            }
            let filter = &self.filter;
            self.reader.poll(1, |entry, words| {
                if filter.wants_type(kind_and_instrument(words).0) {
                    f(Kind::CatchUp, Envelope { epoch: entry.epoch, sequence: entry.sequence }, words);
                }
            })?;
        }
        Ok(())
    }

    /// Tells the books up to the first record owed, a stretch at a time.
    fn scan(
        &mut self,
        mut progress: Progress,
        slots: usize,
        index: &mut RingIndex,
        f: &mut impl FnMut(Kind, Envelope, &[u64]),
    ) -> Result<(), RingError> {
        let Plan { scan_from, until, ref starts, .. } = progress.plan;
        if !progress.scanning {
            match self.reader.seek(scan_from) {
                Err(RingError::NotHeld { .. }) => return self.return_to_owed(index),
                other => other?,
            }
            progress.scanning = true;
        }
        let left = until.saturating_sub(self.reader.position());
        if left == 0 {
            return Ok(());
        }
        let filter = &self.filter;
        let polled = self.reader.poll(slots.min(usize::try_from(left).unwrap_or(slots)), |entry, words| {
            let (kind, instrument) = kind_and_instrument(words);
            if is_of_book(kind)
                && filter.wants_type(kind)
                && starts.get(&instrument).is_some_and(|start| entry.position >= *start)
            {
                f(Kind::CatchUp, Envelope { epoch: entry.epoch, sequence: entry.sequence }, words);
            }
        })?;
        match polled {
            Poll::Records(_) if self.reader.position() < until => self.plan = Some(progress),
            Poll::Records(_) | Poll::Idle | Poll::Retired => {}
            Poll::Lapped(_) | Poll::Missing(_) => self.return_to_owed(index)?,
        }
        Ok(())
    }

    /// The writer overtook the catching up. What is owed may still be there.
    fn return_to_owed(&mut self, index: &mut RingIndex) -> Result<(), RingError> {
        let owed = self.owed;
        self.reader.attach(ring::From::Sequence { epoch: owed.epoch, sequence: owed.sequence })?;
        let lost = self.cost_of_attach(owed)?;
        if lost.is_empty() { self.join(index, Books::Told) } else { self.fall_behind(lost, index) }
    }

    /// Whether what it missed is read from the journal. Who comes from the past and was not here yet was not too slow:
    /// the journal was.
    fn returns(&self) -> bool {
        match self.reach {
            Reach::Ring => false,
            Reach::Laps => self.slow == Slow::History,
            Reach::Start => self.slow == Slow::History || !self.caught_up,
        }
    }

    fn fall_behind(&mut self, lost: Vec<Lost>, index: &mut RingIndex) -> Result<(), RingError> {
        if let Some(first) = lost.first().filter(|_| self.returns()) {
            self.was_told_until(Point { epoch: first.epoch, sequence: first.first });
            return Ok(());
        }
        match self.slow {
            Slow::Skip | Slow::History => self.skip(lost, index)?,
            Slow::Disconnect => {
                self.lose(lost, OverrunCause::Slow);
                self.ended = true;
            }
        }
        Ok(())
    }

    /// After [`Step::Retired`], or when the ring's file was replaced: goes on in the ring that `index` is of.
    pub(crate) fn adopt(&mut self, index: &mut RingIndex) -> Result<(), RingError> {
        self.reader = index.reader().fork();
        self.plan = None;
        self.retired = false;
        if self.past.is_some() {
            // The journal's reader hands over to whatever ring there is then.
            return Ok(());
        }
        let Point { epoch, sequence } = self.owed;
        let from = ring::From::Sequence { epoch, sequence };
        if self.returns() {
            self.past = self.lies_in_the_past(from)?;
        }
        if self.past.is_some() { Ok(()) } else { self.place(from, index).map(|_| ()) }
    }

    /// After an error of the ring's contents: goes on now, and says what that leaves out.
    pub(crate) fn recover(&mut self, index: &mut RingIndex) -> Result<(), RingError> {
        self.plan = None;
        self.skip(Vec::new(), index)
    }

    /// Whether a poll would find anything to do.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.past.is_none() && (!self.is_plain() || (self.reader.has_news() && !self.retired))
    }

    /// Whether the feed is to be asked for books.
    #[inline]
    pub(crate) fn has_asks(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Venue's symbols of the books that the feed is to be asked for, once; and whether they were wanted fresh, where
    /// others would do.
    pub(crate) fn take_asks(&mut self) -> (Vec<String>, bool) {
        (std::mem::take(&mut self.asks), self.snapshots == Snapshots::Fresh)
    }

    /// The reader, as it stands now.
    #[inline]
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Goes to where `other` stands, whose records were handed on; the cursor has nothing but records to tell.
    #[inline]
    pub(crate) fn stand_with(&mut self, other: &Reader) -> bool {
        let moved = self.reader.stand_with(other);
        self.owed = self.reader.next();
        moved
    }

    /// The next record owed.
    pub(crate) fn owed(&self) -> Point {
        self.owed
    }

    /// Venue of the ring.
    pub(crate) fn venue(&self) -> Venue {
        self.venue
    }
}

/// What a scan for books tells: the books, and what explains them.
pub(crate) fn is_of_book(kind: u8) -> bool {
    const OF_BOOK: [RecordType; 5] = [
        RecordType::BookChange,
        RecordType::SnapshotBegin,
        RecordType::SnapshotEnd,
        RecordType::Instrument,
        RecordType::Status,
    ];
    OF_BOOK.iter().any(|of_book| *of_book as u8 == kind)
}
