//! Finding a place in the window while the writer keeps moving it: oldest, now, by sequence, by time, after a lap.
//!
//! Every probe is validated like a batch. A probe that was overtaken says so, and the search starts over in the
//! narrower window; the safety margin makes a second start rare.

use crate::cursor::{Cursor, Poll};
use crate::epochs::{EpochTable, Lost, Point};
use crate::error::RingError;
use crate::layout::{CONTINUATION, HOLE, Memory, POSITION_MAX, SLOT_FLAGS, TIME_WORD, oldest_position, survived};
use crate::sync::Ordering;

/// Where to begin reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The oldest record held, a safety margin ahead of the writer.
    Oldest,
    /// The next record to be published.
    Now,
    /// This record. What is no longer held of it and its successors is reported as lost by the next poll.
    Sequence {
        /// Epoch.
        epoch: u64,
        /// Sequence, from 1 (0 is read as 1).
        sequence: u64,
    },
    /// The first record held that was received at or after this time, ns since the Unix epoch. Exact as long as
    /// receive times do not fall; where they do, one such place.
    Time(u64),
}

/// A lap during a search costs one attempt; so many in a row mean that the ring is far too small.
/// In a model every attempt multiplies the states, and two show what a second one does.
const ATTACH_ATTEMPTS_MAX: usize = if cfg!(loom) { 2 } else { 256 };

/// One consistent look at the ring.
struct Window {
    table: EpochTable,
    /// First slot of the oldest record worth starting at, or the tail.
    oldest: u64,
    tail: u64,
}

impl<M: Memory> Cursor<M> {
    /// Moves to `from`; losses it implies are the next poll's first answer.
    pub(crate) fn attach(&mut self, from: From) -> Result<(), RingError> {
        let from = match from {
            From::Sequence { epoch, sequence: 0 } => From::Sequence { epoch, sequence: 1 },
            other => other,
        };
        self.retry(|cursor, window| {
            let Some(found) = cursor.find(window, from)? else { return Ok(None) };
            let Some(position) = cursor.behind_holes(window, found) else { return Ok(None) };
            let Some(point) = cursor.point_at(window, position)? else { return Ok(None) };
            let lost = match from {
                From::Sequence { epoch, sequence } => window.table.losses(Point { epoch, sequence }, point),
                From::Oldest | From::Now | From::Time(_) => Vec::new(),
            };
            cursor.stand(window, position, point, lost);
            Ok(Some(()))
        })
    }

    /// Moves to a record seen earlier.
    pub(crate) fn seek(&mut self, position: u64) -> Result<(), RingError> {
        self.retry(|cursor, window| {
            let not_held = || RingError::NotHeld {
                name: cursor.memory.name().to_owned(),
                position,
                oldest: window.oldest,
                tail: window.tail,
            };
            if position > window.tail || position < window.table.oldest().start_position {
                return Err(not_held());
            }
            // Also refuses the middle of a record.
            if position < window.tail && cursor.peek(position, 0).is_none_or(|head| head & CONTINUATION != 0) {
                return Err(not_held());
            }
            let Some(point) = cursor.point_at(window, position)? else { return Ok(None) };
            cursor.stand(window, position, point, Vec::new());
            Ok(Some(()))
        })
    }

    /// Moves to the tail and says what was left out.
    pub(crate) fn skip(&mut self) -> Result<Vec<Lost>, RingError> {
        let mut lost = std::mem::take(&mut self.pending);
        let skipped = self.retry(|cursor, window| {
            let Some(point) = cursor.point_at(window, window.tail)? else { return Ok(None) };
            let skipped = window.table.losses(cursor.next, point);
            cursor.stand(window, window.tail, point, Vec::new());
            Ok(Some(skipped))
        })?;
        lost.extend(skipped);
        Ok(lost)
    }

    /// After a lap: to the oldest record held.
    pub(super) fn relocate(&mut self) -> Result<Poll, RingError> {
        self.retry(|cursor, window| {
            if window.oldest < cursor.position {
                return Err(cursor.damaged("cursors contradict each other"));
            }
            let Some(point) = cursor.point_at(window, window.oldest)? else { return Ok(None) };
            let lost = window.table.losses(cursor.next, point);
            cursor.stand(window, window.oldest, point, Vec::new());
            cursor.known_generation = window.table.newest().generation;
            Ok(Some(Poll::Lapped(lost)))
        })
    }

    fn retry<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self, &Window) -> Result<Option<T>, RingError>,
    ) -> Result<T, RingError> {
        for _ in 0..ATTACH_ATTEMPTS_MAX {
            let Some(window) = self.window()? else { continue };
            if let Some(done) = attempt(self, &window)? {
                return Ok(done);
            }
        }
        Err(RingError::Contended { name: self.memory.name().to_owned() })
    }

    fn stand(&mut self, window: &Window, position: u64, point: Point, lost: Vec<Lost>) {
        self.table = window.table;
        self.generation = window.table.by_epoch(point.epoch).map_or(0, |epoch| epoch.generation);
        self.epoch_end = window.table.end_of(self.generation);
        self.known_generation = if lost.is_empty() { window.table.newest().generation } else { 0 };
        self.position = position;
        self.next = point;
        self.pending = lost;
    }

    /// The tail is read before the table: a table newer than the tail still tells whose the tail's slots are.
    fn window(&self) -> Result<Option<Window>, RingError> {
        let header = self.memory.header();
        let tail = header.published.tail.load(Ordering::Acquire);
        let table = EpochTable::read(&self.memory)?;
        let intent = header.intent.position.load(Ordering::Acquire);
        if tail > intent || intent >= POSITION_MAX || table.oldest().start_position > intent {
            return Err(self.damaged("cursors contradict each other"));
        }
        let mut oldest = oldest_position(intent, self.capacity).max(table.oldest().start_position).min(tail);
        while oldest < tail {
            match self.peek(oldest, 0) {
                None => return Ok(None),
                Some(head) if head & SLOT_FLAGS == 0 => break,
                Some(_) => oldest += 1,
            }
        }
        Ok(Some(Window { table, oldest, tail }))
    }

    /// One word of one slot; `None` when it may have been overwritten.
    fn peek(&self, position: u64, word: usize) -> Option<u64> {
        let slots = self.memory.slots();
        let value = slots[(position & (self.capacity - 1)) as usize].words.get(word)?.load(Ordering::Relaxed);
        survived(self.memory.header(), position, self.capacity).then_some(value)
    }

    /// `position`, or the first behind it that is no hole: what was asked for within a hole is told as lost.
    fn behind_holes(&self, window: &Window, position: u64) -> Option<u64> {
        let mut position = position;
        while position < window.tail && self.peek(position, 0)? & HOLE != 0 {
            position += 1;
        }
        Some(position)
    }

    /// Which record stands, or will stand, at `position`.
    fn point_at(&self, window: &Window, position: u64) -> Result<Option<Point>, RingError> {
        let Some(epoch) = window.table.at(position) else { return Err(self.damaged("position before every epoch")) };
        let sequence = if position == epoch.start_position {
            1
        } else if position < window.tail {
            let Some(head) = self.peek(position, 0) else { return Ok(None) };
            if head & SLOT_FLAGS == HOLE {
                let Some(first) = self.peek(position, 1) else { return Ok(None) };
                first
            } else {
                head
            }
        } else {
            let Some(head) = self.peek(position - 1, 0) else { return Ok(None) };
            (head & !SLOT_FLAGS) + 1
        };
        if sequence == 0 || sequence & SLOT_FLAGS != 0 {
            return Err(self.damaged("no record starts here"));
        }
        Ok(Some(Point { epoch: epoch.epoch, sequence }))
    }

    fn find(&self, window: &Window, from: From) -> Result<Option<u64>, RingError> {
        match from {
            From::Oldest => Ok(Some(window.oldest)),
            From::Now => Ok(Some(window.tail)),
            From::Time(ns) => {
                Ok(first_where(window.oldest, window.tail, |at| Some(self.received(window.oldest, at)? >= ns)))
            }
            From::Sequence { epoch, sequence } => self.find_sequence(window, Point { epoch, sequence }),
        }
    }

    /// Receive time of the record that holds slot `at`, or stands before the hole there, no earlier than `oldest`.
    fn received(&self, oldest: u64, at: u64) -> Option<u64> {
        let mut start = at;
        while start > oldest && self.peek(start, 0)? & SLOT_FLAGS != 0 {
            start -= 1;
        }
        self.peek(start, TIME_WORD)
    }

    fn find_sequence(&self, window: &Window, point: Point) -> Result<Option<u64>, RingError> {
        let ahead =
            || RingError::Ahead { name: self.memory.name().to_owned(), epoch: point.epoch, sequence: point.sequence };
        let table = &window.table;
        let Some(epoch) = table.by_epoch(point.epoch) else {
            // A run nobody remembers: everything after it that is held is new to the caller.
            let later = table.all().iter().find(|later| later.epoch > point.epoch).ok_or_else(ahead)?;
            return Ok(Some(later.start_position.clamp(window.oldest, window.tail)));
        };
        if epoch.last_sequence.is_some_and(|last| point.sequence > last + 1) {
            return Err(ahead());
        }
        let end = table.end_of(epoch.generation).min(window.tail);
        let start = epoch.start_position.max(window.oldest);
        let reached = |at| Some(self.peek(at, 0)? & !SLOT_FLAGS >= point.sequence);
        let Some(found) = first_where(start, end, reached) else { return Ok(None) };
        if found == window.tail && epoch.last_sequence.is_none() {
            let Some(next) = self.point_at(window, window.tail)? else { return Ok(None) };
            if point.epoch == next.epoch && point.sequence > next.sequence {
                return Err(ahead());
            }
        }
        Ok(Some(found))
    }
}

/// First position of `low..high` where `holds`, which must not turn false again; `high` (or `low`, when the range is
/// empty) if nowhere. `None` as soon as a probe was overtaken.
fn first_where(low: u64, high: u64, holds: impl Fn(u64) -> Option<bool>) -> Option<u64> {
    let (mut low, mut high) = (low, high.max(low));
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}
