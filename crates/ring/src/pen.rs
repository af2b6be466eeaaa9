//! The writing half of the protocol, over any [`Memory`]: announce, write, publish, take over.
//!
//! Invariants: published <= position <= reserved = INTENT; TAIL = published; the slots from published on are nobody's
//! until the next publication. Knows nothing of files, doorbells or clocks.

use crate::epochs::{Epoch, EpochTable, close_entry, write_entry};
use crate::error::RingError;
use crate::layout::{
    CONTINUATION, EPOCHS_KEPT, HEADER_BYTES, HOLE, LAYOUT_VERSION, Memory, PAYLOAD_WORDS, POSITION_MAX, RING_MAGIC,
    SLOT_FLAGS, Slot, intent_chunk, slots_for,
};
use crate::sync::{Ordering, fence};

/// The one writer's state.
pub(crate) struct Pen<M> {
    memory: M,
    capacity: u64,
    chunk: u64,
    /// Slots that may wait for publication; keeps the intent from eating the readers' window.
    unpublished_max: u64,
    position: u64,
    reserved: u64,
    published: u64,
    next_sequence: u64,
    published_at: u64,
    epoch: u64,
    generation: u64,
    #[cfg(loom)]
    pub(crate) weaken: Weaken,
}

/// Ways to break the protocol on purpose, so that a model proves it would notice.
#[cfg(loom)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weaken {
    Nothing,
    RelaxedPublish,
    NoIntentFence,
}

/// Prepares zeroed memory for its first writer. `history` are runs that ended before this memory existed.
pub(crate) fn format<M: Memory>(memory: &M, history: &[Epoch]) {
    let header = memory.header();
    let kept = &history[history.len().saturating_sub(EPOCHS_KEPT - 1)..];
    for epoch in kept {
        write_entry(header, Epoch { start_position: 0, ..*epoch });
    }
    header.ownership.generation.store(kept.last().map_or(0, |last| last.generation), Ordering::Relaxed);
    header.identity.capacity.store(memory.slots().len() as u64, Ordering::Relaxed);
    header.identity.version.store(u64::from(LAYOUT_VERSION) | (HEADER_BYTES as u64) << 32, Ordering::Relaxed);
    header.identity.magic.store(RING_MAGIC, Ordering::Release);
}

/// The finished runs of a ring whose writer is gone, the last one closed: its true end is read from the slots, since
/// the header's own count may be a store behind.
pub(crate) fn finished_epochs<M: Memory>(memory: &M) -> Result<Vec<Epoch>, RingError> {
    let header = memory.header();
    if header.ownership.generation.load(Ordering::Acquire) == 0 {
        return Ok(Vec::new());
    }
    let table = EpochTable::read(memory)?;
    let tail = header.published.tail.load(Ordering::Acquire);
    let intent = header.intent.position.load(Ordering::Acquire);
    let capacity = memory.slots().len() as u64;
    let mut epochs = table.all().to_vec();
    let newest = table.newest();
    let damaged = |what| RingError::Damaged { name: memory.name().to_owned(), position: tail, what };
    if tail > intent || intent - tail > capacity || intent >= POSITION_MAX || newest.start_position > tail {
        return Err(damaged("cursors contradict each other"));
    }
    let last_sequence = if tail == newest.start_position {
        0
    } else {
        memory.slots()[((tail - 1) & (capacity - 1)) as usize].words[0].load(Ordering::Relaxed) & !SLOT_FLAGS
    };
    let written = tail - newest.start_position;
    // With holes a run may have more sequences than slots.
    let holes = header.ownership.origin.load(Ordering::Relaxed) != 0;
    if (last_sequence > written && !holes) || (last_sequence == 0 && written > 0) {
        return Err(damaged("last sequence does not fit its epoch"));
    }
    if let Some(last) = epochs.last_mut() {
        last.last_sequence = Some(last_sequence);
    }
    Ok(epochs)
}

impl<M: Memory> Pen<M> {
    /// Begins a run in memory whose earlier runs, all `finished`, are on record. The caller is the only writer.
    pub(crate) fn begin(memory: M, finished: &[Epoch], epoch: u64, pid: u64) -> Result<Pen<M>, RingError> {
        let last = finished.last().copied().unwrap_or_default();
        if epoch <= last.epoch {
            return Err(RingError::EpochNotNewer { name: memory.name().to_owned(), epoch, last: last.epoch });
        }
        let header = memory.header();
        let tail = header.published.tail.load(Ordering::Relaxed);
        let generation = last.generation + 1;
        if last.generation > 0 {
            close_entry(header, last.generation, last.last_sequence);
        }
        write_entry(header, Epoch { epoch, generation, start_position: tail, last_sequence: None });
        header.ownership.writer_pid.store(pid, Ordering::Relaxed);
        header.published.next_sequence.store(1, Ordering::Relaxed);
        // Pairs with the Acquire load in `EpochTable::read`: who sees the generation sees its entry and the one before.
        header.ownership.generation.store(generation, Ordering::Release);
        Ok(Pen::at_tail(memory, epoch, generation, 1))
    }

    /// Goes on with the newest run of memory whose runs are all `finished`, at the sequence behind its last. The
    /// caller is the only writer. `None` when there was no run, or its end is not known.
    pub(crate) fn resume(memory: M, finished: &[Epoch], pid: u64) -> Option<Pen<M>> {
        let newest = finished.last()?;
        let next_sequence = newest.last_sequence? + 1;
        memory.header().ownership.writer_pid.store(pid, Ordering::Relaxed);
        Some(Pen::at_tail(memory, newest.epoch, newest.generation, next_sequence))
    }

    fn at_tail(memory: M, epoch: u64, generation: u64, next_sequence: u64) -> Pen<M> {
        let header = memory.header();
        let tail = header.published.tail.load(Ordering::Relaxed);
        let reserved = header.intent.position.load(Ordering::Relaxed).max(tail);
        header.intent.position.store(reserved, Ordering::Relaxed);
        fence(Ordering::Release);
        let published_at = header.published.at_ns.load(Ordering::Relaxed);
        let capacity = memory.slots().len() as u64;
        Pen {
            capacity,
            chunk: intent_chunk(capacity),
            unpublished_max: (capacity / 4).max(1),
            position: tail,
            reserved,
            published: tail,
            next_sequence,
            published_at,
            epoch,
            generation,
            memory,
            #[cfg(loom)]
            weaken: Weaken::Nothing,
        }
    }

    /// Writes one record behind the last; readers see it after the next [`Pen::publish`].
    #[inline(always)]
    pub(crate) fn push(&mut self, record: &[u64]) -> u64 {
        let words = ((record[0] >> 8) & 0xff) as usize;
        assert!(words == record.len(), "byte 1 of a record is its length in words");
        if words > PAYLOAD_WORDS {
            return self.push_long(record);
        }
        let position = self.position;
        if position >= self.reserved {
            self.reserve(position + 1);
        }
        let sequence = self.next_sequence;
        self.position = position + 1;
        self.next_sequence = sequence + 1;
        let slots = self.memory.slots();
        store_slot(&slots[position as usize & (slots.len() - 1)], sequence, record);
        sequence
    }

    /// A record of more than one slot; apart, so that the short ones stay short where they are inlined.
    #[inline(never)]
    fn push_long(&mut self, record: &[u64]) -> u64 {
        let position = self.position;
        let end = position + slots_for(record.len());
        if end > self.reserved {
            self.reserve(end);
        }
        let sequence = self.next_sequence;
        self.position = end;
        self.next_sequence = sequence + 1;
        let slots = self.memory.slots();
        let mask = slots.len() - 1;
        let mut head = sequence;
        for (offset, payload) in record.chunks(PAYLOAD_WORDS).enumerate() {
            store_slot(&slots[(position as usize + offset) & mask], head, payload);
            head = sequence | CONTINUATION;
        }
        sequence
    }

    /// Notes that the sequences up to `last` will never be in this ring; readers are told as of the next
    /// [`Pen::publish`].
    pub(crate) fn lose(&mut self, last: u64) {
        let first = self.next_sequence;
        assert!(first <= last && last & SLOT_FLAGS == 0, "a hole begins at the next sequence and is not empty");
        let position = self.position;
        if position >= self.reserved {
            self.reserve(position + 1);
        }
        self.position = position + 1;
        self.next_sequence = last + 1;
        let slots = self.memory.slots();
        store_slot(&slots[position as usize & (slots.len() - 1)], HOLE | last, &[first]);
    }

    #[cold]
    #[inline(never)]
    fn reserve(&mut self, end: u64) {
        if end - self.published > self.unpublished_max {
            self.publish(self.published_at);
        }
        self.reserved = (end + self.chunk - 1) & !(self.chunk - 1);
        self.memory.header().intent.position.store(self.reserved, Ordering::Relaxed);
        #[cfg(loom)]
        if self.weaken == Weaken::NoIntentFence {
            return;
        }
        // Pairs with the Acquire fence in `survived`: who reads a word stored below sees the intent stored above.
        fence(Ordering::Release);
    }

    /// Makes everything pushed visible at once. False when there was nothing.
    #[inline]
    pub(crate) fn publish(&mut self, now_ns: u64) -> bool {
        if self.published == self.position {
            return false;
        }
        let published = &self.memory.header().published;
        published.next_sequence.store(self.next_sequence, Ordering::Relaxed);
        published.at_ns.store(now_ns, Ordering::Relaxed);
        #[cfg(not(loom))]
        let order = Ordering::Release;
        #[cfg(loom)]
        let order = if self.weaken == Weaken::RelaxedPublish { Ordering::Relaxed } else { Ordering::Release };
        // Pairs with the Acquire load in `Cursor::poll`: who sees the tail sees the records before it.
        published.tail.store(self.position, order);
        self.published = self.position;
        self.published_at = now_ns;
        true
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn published_at(&self) -> u64 {
        self.published_at
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }
}

#[inline(always)]
fn store_slot(slot: &Slot, head: u64, payload: &[u64]) {
    slot.words[0].store(head, Ordering::Relaxed);
    // The lengths of trade, book change and quote as straight lines; the rest padded in a loop.
    #[cfg(not(loom))]
    {
        if let Ok(payload) = <&[u64; 6]>::try_from(payload) {
            for (word, value) in slot.words[1..7].iter().zip(payload) {
                word.store(*value, Ordering::Relaxed);
            }
            slot.words[7].store(0, Ordering::Relaxed);
            return;
        }
        if let Ok(payload) = <&[u64; 7]>::try_from(payload) {
            for (word, value) in slot.words[1..].iter().zip(payload) {
                word.store(*value, Ordering::Relaxed);
            }
            return;
        }
    }
    store_padded(slot, payload);
}

#[inline(never)]
fn store_padded(slot: &Slot, payload: &[u64]) {
    let padded = payload.iter().copied().chain(std::iter::repeat(0));
    for (word, value) in slot.words[1..].iter().zip(padded) {
        word.store(value, Ordering::Relaxed);
    }
}
