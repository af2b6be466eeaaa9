//! The reading half of the protocol, over any [`Memory`]: copy a batch, validate it once, hand out its records.
//!
//! Invariants: a cursor stands on the first slot of a record (or at the tail); everything between the point it was
//! attached at and `next` was delivered in order or named in a [`Lost`]. It never writes to the ring.

use crate::epochs::{EpochTable, Lost, Point};
use crate::error::RingError;
use crate::layout::{
    CONTINUATION, HOLE, Memory, PAYLOAD_WORDS, RECORD_SLOTS_MAX, SLOT_FLAGS, SLOT_WORDS, copy_slots, slots_for,
    survived,
};
use crate::sync::Ordering;

/// Slots copied and validated at once; must hold the longest record, and 4 KiB stay in the first-level cache.
pub(crate) const BATCH_SLOTS: usize = if cfg!(loom) { 256 } else { 64 };
const _: () = assert!(RECORD_SLOTS_MAX <= BATCH_SLOTS);

/// Which record a poll hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Epoch of the record.
    pub epoch: u64,
    /// Sequence of the record within the epoch, from 1.
    pub sequence: u64,
    /// Slot position of the record, for a later seek.
    pub position: u64,
}

/// What a poll found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// So many records were handed out.
    Records(usize),
    /// Nothing new.
    Idle,
    /// These records were overwritten before they could be read; the next record follows them without a hole.
    Lapped(Vec<Lost>),
    /// These records never were in this ring, which repeats another; what it got next follows them without a hole.
    Missing(Lost),
    /// All was read, and the ring was replaced by one of another size: reopen it by name.
    Retired,
}

/// One reader's place in a ring.
pub(crate) struct Cursor<M> {
    pub(super) memory: M,
    pub(super) capacity: u64,
    pub(super) position: u64,
    /// Start of the next epoch, where known; no batch crosses it.
    pub(super) epoch_end: u64,
    pub(super) next: Point,
    pub(super) generation: u64,
    /// Generation of `table`; 0 forces [`Cursor::settle`].
    pub(super) known_generation: u64,
    pub(super) table: EpochTable,
    pub(super) pending: Vec<Lost>,
    lines: Box<Lines>,
    record: Box<[u64; RECORD_SLOTS_MAX * PAYLOAD_WORDS]>,
}

#[repr(align(64))]
struct Lines([[u64; SLOT_WORDS]; BATCH_SLOTS]);

/// What became of one copied batch.
enum Delivered {
    /// Slots consumed.
    Slots(u64),
    /// The first record needs so many slots.
    Needs(u64),
    /// The first slot is a hole.
    Hole(Lost),
}

impl<M: Memory> Cursor<M> {
    /// At the oldest record held.
    pub(crate) fn new(memory: M) -> Result<Cursor<M>, RingError> {
        let table = EpochTable::read(&memory)?;
        let mut cursor = Cursor {
            capacity: memory.slots().len() as u64,
            position: 0,
            epoch_end: 0,
            next: Point::default(),
            generation: 0,
            known_generation: 0,
            table,
            pending: Vec::new(),
            lines: Box::new(Lines([[0; SLOT_WORDS]; BATCH_SLOTS])),
            record: Box::new([0; RECORD_SLOTS_MAX * PAYLOAD_WORDS]),
            memory,
        };
        cursor.attach(crate::From::Oldest)?;
        Ok(cursor)
    }

    /// Another cursor over the same memory, at the same place.
    pub(crate) fn fork(&self) -> Cursor<M>
    where
        M: Clone,
    {
        Cursor {
            memory: self.memory.clone(),
            capacity: self.capacity,
            position: self.position,
            epoch_end: self.epoch_end,
            next: self.next,
            generation: self.generation,
            known_generation: self.known_generation,
            table: self.table,
            pending: self.pending.clone(),
            lines: Box::new(Lines([[0; SLOT_WORDS]; BATCH_SLOTS])),
            record: Box::new([0; RECORD_SLOTS_MAX * PAYLOAD_WORDS]),
        }
    }

    /// Moves to where `other`, a cursor over the same memory, stands.
    pub(crate) fn stand_with(&mut self, other: &Cursor<M>) {
        self.position = other.position;
        self.epoch_end = other.epoch_end;
        self.next = other.next;
        self.generation = other.generation;
        if self.known_generation != other.known_generation || other.known_generation == 0 {
            self.known_generation = other.known_generation;
            self.table = other.table;
        }
        self.pending.clone_from(&other.pending);
    }

    /// Hands out the records of up to `max_slots` slots (at least one record).
    #[inline]
    pub(crate) fn poll<F: FnMut(Entry, &[u64])>(&mut self, max_slots: usize, mut f: F) -> Result<Poll, RingError> {
        let header = self.memory.header();
        // Pairs with the Release store in `Pen::publish`.
        let tail = header.published.tail.load(Ordering::Acquire);
        let mut end = tail.min(self.epoch_end);
        if self.position == end || header.ownership.generation.load(Ordering::Relaxed) != self.known_generation {
            if let Some(other) = self.settle(tail)? {
                return Ok(other);
            }
            end = tail.min(self.epoch_end);
        }
        let mut records = 0;
        let mut budget = max_slots.max(1) as u64;
        while budget > 0 && self.position != end {
            let available = end.wrapping_sub(self.position);
            if available > self.capacity {
                return self.overtaken(records);
            }
            let mut batch = available.min(budget).min(BATCH_SLOTS as u64);
            let slots = loop {
                if !self.copy(batch) {
                    return self.overtaken(records);
                }
                match self.deliver(batch, &mut records, &mut f)? {
                    Delivered::Slots(slots) => break slots,
                    Delivered::Hole(_) if records > 0 => return Ok(Poll::Records(records)),
                    Delivered::Hole(lost) => return Ok(self.pass(lost)),
                    Delivered::Needs(slots) if slots <= available && slots > batch => batch = slots,
                    Delivered::Needs(_) => return Err(self.damaged("record reaches beyond the tail")),
                }
            };
            budget = budget.saturating_sub(slots);
        }
        Ok(Poll::Records(records))
    }

    /// Copies `batch` slots; false when the writer may have been among them.
    #[inline(always)]
    fn copy(&mut self, batch: u64) -> bool {
        copy_slots(self.memory.slots(), self.position, &mut self.lines.0[..batch as usize]);
        survived(self.memory.header(), self.position, self.capacity)
    }

    /// Walks the validated private copy.
    #[inline(always)]
    fn deliver<F: FnMut(Entry, &[u64])>(
        &mut self,
        batch: u64,
        records: &mut usize,
        f: &mut F,
    ) -> Result<Delivered, RingError> {
        let lines = &self.lines.0[..batch as usize];
        let Point { epoch, mut sequence } = self.next;
        let mut at = 0;
        let mut broken = None;
        let mut needs = 0;
        while let Some(line) = lines.get(at) {
            if line[0] != sequence {
                match hole(line, self.next.epoch, sequence) {
                    Some(lost) if at == 0 => return Ok(Delivered::Hole(lost)),
                    // Met again, as the first, by the next look.
                    Some(_) => {}
                    None => broken = Some("sequence out of order"),
                }
                break;
            }
            let words = ((line[1] >> 8) & 0xff) as usize;
            let entry = Entry { epoch, sequence, position: self.position + at as u64 };
            if let Some(record) = line[1..].get(..words) {
                if words == 0 {
                    broken = Some("record of no words");
                    break;
                }
                f(entry, record);
                at += 1;
            } else {
                needs = slots_for(words);
                let Some(parts) = lines.get(at..at + needs as usize) else { break };
                if parts[1..].iter().any(|part| part[0] != sequence | CONTINUATION) {
                    broken = Some("record is not continued");
                    break;
                }
                for (to, part) in self.record.chunks_exact_mut(PAYLOAD_WORDS).zip(parts) {
                    to.copy_from_slice(&part[1..]);
                }
                f(entry, &self.record[..words]);
                at += needs as usize;
            }
            sequence += 1;
            *records += 1;
        }
        self.position += at as u64;
        self.next.sequence = sequence;
        match broken {
            Some(what) => Err(self.damaged(what)),
            None if at == 0 => Ok(Delivered::Needs(needs)),
            None => Ok(Delivered::Slots(at as u64)),
        }
    }

    /// Steps over a hole.
    #[cold]
    fn pass(&mut self, lost: Lost) -> Poll {
        self.position += 1;
        self.next.sequence = lost.last.map_or(self.next.sequence, |last| last + 1);
        Poll::Missing(lost)
    }

    /// Everything but plain new records: what was lost, a new epoch, nothing, the end. `None`: records can be read.
    #[cold]
    #[inline(never)]
    fn settle(&mut self, tail: u64) -> Result<Option<Poll>, RingError> {
        if !self.pending.is_empty() {
            return Ok(Some(Poll::Lapped(std::mem::take(&mut self.pending))));
        }
        let generation = self.memory.header().ownership.generation.load(Ordering::Acquire);
        if generation != self.known_generation {
            self.table = EpochTable::read(&self.memory)?;
            self.known_generation = self.table.newest().generation;
            if self.table.by_generation(self.generation).is_none() {
                return self.relocate().map(Some);
            }
            self.epoch_end = self.table.end_of(self.generation);
        }
        while self.position == self.epoch_end {
            if let Some(lost) = self.enter_next_epoch()? {
                return Ok(Some(Poll::Missing(lost)));
            }
        }
        if self.position != tail {
            return Ok(None);
        }
        // Retired is set after the last publication, by a process that knows the writer is gone.
        let header = self.memory.header();
        let retired = header.ownership.retired.load(Ordering::Acquire) != 0;
        if retired && header.published.tail.load(Ordering::Acquire) == self.position {
            return Ok(Some(Poll::Retired));
        }
        Ok(Some(Poll::Idle))
    }

    /// What is missing of the run that ended, if its end is not known.
    fn enter_next_epoch(&mut self) -> Result<Option<Lost>, RingError> {
        let ended = self.table.by_generation(self.generation);
        let next = self.table.by_generation(self.generation + 1);
        let (Some(ended), Some(next)) = (ended, next) else { return Err(self.damaged("epoch without a successor")) };
        if ended.last_sequence.is_some_and(|last| self.next.sequence != last.wrapping_add(1)) {
            return Err(self.damaged("epoch ends at another sequence than recorded"));
        }
        let Point { epoch, sequence: first } = self.next;
        self.generation = next.generation;
        self.next = Point { epoch: next.epoch, sequence: 1 };
        self.epoch_end = self.table.end_of(next.generation);
        Ok(ended.last_sequence.is_none().then_some(Lost { epoch, first, last: None }))
    }

    /// The writer passed us: what was handed out stands, the rest is settled at once or at the next poll.
    #[cold]
    #[inline(never)]
    fn overtaken(&mut self, records: usize) -> Result<Poll, RingError> {
        if records > 0 {
            return Ok(Poll::Records(records));
        }
        self.relocate()
    }

    #[cold]
    pub(super) fn damaged(&self, what: &'static str) -> RingError {
        RingError::Damaged { name: self.memory.name().to_owned(), position: self.position, what }
    }

    /// Whether a poll would find anything but [`Poll::Idle`].
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        let header = self.memory.header();
        header.published.tail.load(Ordering::Acquire) != self.position
            || header.ownership.generation.load(Ordering::Acquire) != self.known_generation
            || header.ownership.retired.load(Ordering::Acquire) != 0
    }
}

/// The records a slot stands for, when it is a hole that begins at `expected`.
#[cold]
fn hole(line: &[u64; SLOT_WORDS], epoch: u64, expected: u64) -> Option<Lost> {
    let last = line[0] & !SLOT_FLAGS;
    let whole = line[0] & SLOT_FLAGS == HOLE && line[1] == expected && expected <= last;
    whole.then_some(Lost { epoch, first: expected, last: Some(last) })
}
