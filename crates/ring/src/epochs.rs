//! The table of the last epochs: where each began and how many records it had, so that a loss which spans a restart of
//! the writer can still be named exactly.
//!
//! Entry `generation % 120` describes one run. It is written under its own generation word (zero while in flux), and a
//! run's last sequence is filled in by its successor before the header's generation moves on; so a reader that sees
//! generation g sees all it needs of g-1, and a writer killed at any store leaves a readable table.

use crate::error::RingError;
use crate::layout::{END_UNKNOWN, EPOCHS_KEPT, Header, Memory};
use crate::sync::{Ordering, fence};

/// One run of one writer, as far as the ring remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch {
    /// Names the run; grows with every takeover.
    pub epoch: u64,
    /// Counts the writers of this ring from 1.
    pub generation: u64,
    /// Slot position of the run's first record.
    pub start_position: u64,
    /// Sequence of the run's last record, 0 when it wrote none; `None` for the newest run, and where nobody knows.
    pub last_sequence: Option<u64>,
}

/// Records a reader did not get and never will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Epoch of the first lost record.
    pub epoch: u64,
    /// Sequence of the first lost record.
    pub first: u64,
    /// Sequence of the last lost record of this epoch. `None` when the epoch's end is no longer on record: everything
    /// from `first` on was lost, and all of any epochs between this one and the next that is named.
    pub last: Option<u64>,
}

impl Lost {
    /// How many records; `None` when nobody can know.
    pub fn count(&self) -> Option<u64> {
        self.last.map(|last| last - self.first + 1)
    }
}

/// The name of one record: the one a reader expects next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Point {
    /// Epoch.
    pub epoch: u64,
    /// Sequence within the epoch, from 1.
    pub sequence: u64,
}

/// A reader's private copy of the epoch table, oldest first. Never empty once read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochTable {
    epochs: [Epoch; EPOCHS_KEPT],
    len: usize,
}

impl Default for EpochTable {
    fn default() -> EpochTable {
        EpochTable { epochs: [Epoch::default(); EPOCHS_KEPT], len: 0 }
    }
}

/// A hundred and twenty takeovers during one read of the table, so often in a row, do not happen.
const TABLE_ATTEMPTS_MAX: usize = 64;

impl EpochTable {
    /// Copies and checks the table; safe while a writer takes over and whatever the bytes are.
    pub(crate) fn read<M: Memory>(memory: &M) -> Result<EpochTable, RingError> {
        let damaged = |what| RingError::Damaged { name: memory.name().to_owned(), position: 0, what };
        let header = memory.header();
        for _ in 0..TABLE_ATTEMPTS_MAX {
            let newest = header.ownership.generation.load(Ordering::Acquire);
            if newest == 0 {
                return Err(damaged("no generation"));
            }
            let mut table = EpochTable::default();
            for generation in (1..=newest).rev().take(EPOCHS_KEPT) {
                let Some(mut epoch) = read_entry(header, generation) else { break };
                if generation == newest {
                    epoch.last_sequence = None;
                }
                table.epochs[table.len] = epoch;
                table.len += 1;
            }
            table.epochs[..table.len].reverse();
            if table.len == 0 {
                continue;
            }
            let in_order =
                |pair: &[Epoch]| pair[0].epoch < pair[1].epoch && pair[0].start_position <= pair[1].start_position;
            if !table.all().windows(2).all(in_order) {
                return Err(damaged("epoch table out of order"));
            }
            return Ok(table);
        }
        Err(damaged("epoch table has no newest entry"))
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> &[Epoch] {
        &self.epochs[..self.len]
    }

    pub(crate) fn newest(&self) -> Epoch {
        self.epochs[self.len - 1]
    }

    pub(crate) fn oldest(&self) -> Epoch {
        self.epochs[0]
    }

    /// The run that owns `position`; runs without records own none.
    pub(crate) fn at(&self, position: u64) -> Option<Epoch> {
        self.all().iter().rev().find(|epoch| epoch.start_position <= position).copied()
    }

    pub(crate) fn by_epoch(&self, epoch: u64) -> Option<Epoch> {
        self.all().iter().find(|entry| entry.epoch == epoch).copied()
    }

    pub(crate) fn by_generation(&self, generation: u64) -> Option<Epoch> {
        self.all().iter().find(|entry| entry.generation == generation).copied()
    }

    /// Where the run after `generation` starts; `u64::MAX` when there is none.
    pub(crate) fn end_of(&self, generation: u64) -> u64 {
        self.by_generation(generation + 1).map_or(u64::MAX, |next| next.start_position)
    }

    /// All records from `from` up to, not including, `to`.
    pub(crate) fn losses(&self, from: Point, to: Point) -> Vec<Lost> {
        let mut lost = Vec::new();
        let mut push = |epoch, first, last: Option<u64>| {
            if last.is_none_or(|last| first <= last) {
                lost.push(Lost { epoch, first, last });
            }
        };
        if from.epoch == to.epoch {
            push(to.epoch, from.sequence, Some(to.sequence - 1));
            return lost;
        }
        push(from.epoch, from.sequence, self.by_epoch(from.epoch).and_then(|entry| entry.last_sequence));
        for entry in self.all().iter().filter(|entry| from.epoch < entry.epoch && entry.epoch < to.epoch) {
            push(entry.epoch, 1, entry.last_sequence);
        }
        push(to.epoch, 1, Some(to.sequence - 1));
        lost
    }
}

fn read_entry(header: &Header, generation: u64) -> Option<Epoch> {
    let entry = &header.epochs[(generation % EPOCHS_KEPT as u64) as usize];
    // Pairs with the Release store that ends `write_entry`.
    if entry.generation.load(Ordering::Acquire) != generation {
        return None;
    }
    let epoch = Epoch {
        epoch: entry.epoch.load(Ordering::Relaxed),
        generation,
        start_position: entry.start_position.load(Ordering::Relaxed),
        last_sequence: Some(entry.last_sequence.load(Ordering::Relaxed)).filter(|last| *last != END_UNKNOWN),
    };
    // Pairs with the Release fence in `write_entry`: a reader of new fields sees that the entry changed hands.
    fence(Ordering::Acquire);
    (entry.generation.load(Ordering::Relaxed) == generation).then_some(epoch)
}

/// Replaces the entry of the run of so many generations ago.
pub(crate) fn write_entry(header: &Header, epoch: Epoch) {
    let entry = &header.epochs[(epoch.generation % EPOCHS_KEPT as u64) as usize];
    entry.generation.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    entry.epoch.store(epoch.epoch, Ordering::Relaxed);
    entry.start_position.store(epoch.start_position, Ordering::Relaxed);
    entry.last_sequence.store(epoch.last_sequence.unwrap_or(END_UNKNOWN), Ordering::Relaxed);
    entry.generation.store(epoch.generation, Ordering::Release);
}

/// Records how many records a run had, if anybody knows; before the header's generation moves on.
pub(crate) fn close_entry(header: &Header, generation: u64, last_sequence: Option<u64>) {
    let entry = &header.epochs[(generation % EPOCHS_KEPT as u64) as usize];
    entry.last_sequence.store(last_sequence.unwrap_or(END_UNKNOWN), Ordering::Relaxed);
}
