//! The lock of a row, over any lines made of atomics: loom checks the code that production maps.

use super::OWN_WORDS;
use crate::layout::{SLOT_WORDS, Slot, copy_slot, store_slot};
use crate::sync::{Ordering, fence};

/// Begins to write a row and returns its lock, which is odd from here on. One that was left odd stays so.
#[inline(always)]
pub(super) fn begin(row: &[Slot]) -> u64 {
    let lock = &row[0].words[0];
    let odd = lock.load(Ordering::Relaxed) | 1;
    lock.store(odd, Ordering::Relaxed);
    // Pairs with the Acquire fence in `try_copy`: whoever copied a word stored after this sees the odd lock.
    fence(Ordering::Release);
    odd
}

/// Ends it.
#[inline(always)]
pub(super) fn end(row: &[Slot], odd: u64) {
    // Pairs with the Acquire load in `try_copy`: a reader that sees the even lock sees all words before it.
    row[0].words[0].store(odd.wrapping_add(1), Ordering::Release);
}

/// Words of a row's first line that are the writer's.
const FIRST: usize = SLOT_WORDS.saturating_sub(OWN_WORDS);

/// Stores words from word `at` on; between [`begin`] and [`end`].
#[inline(always)]
pub(super) fn store(row: &[Slot], at: usize, words: &[u64]) {
    // A head, as every write has: its length known, it is some moves instead of a loop.
    if let (OWN_WORDS, Some((first, rest))) = (at, words.split_first_chunk::<FIRST>()) {
        for (to, from) in row[0].words[SLOT_WORDS - FIRST..].iter().zip(first) {
            to.store(*from, Ordering::Relaxed);
        }
        return store_lines(row, at + FIRST, rest);
    }
    store_lines(row, at, words);
}

#[inline(always)]
fn store_lines(row: &[Slot], at: usize, words: &[u64]) {
    let (mut line, mut within, mut rest) = (at / SLOT_WORDS, at % SLOT_WORDS, words);
    while !rest.is_empty() {
        if let (0, Some((whole, others))) = (within, rest.split_first_chunk::<SLOT_WORDS>()) {
            store_slot(&row[line], whole);
            rest = others;
        } else {
            let (part, others) = rest.split_at(rest.len().min(SLOT_WORDS - within));
            for (to, from) in row[line].words[within..].iter().zip(part) {
                to.store(*from, Ordering::Relaxed);
            }
            (rest, within) = (others, 0);
        }
        line += 1;
    }
}

/// Copies the row's first lines, their number known to the compiler; the row's version, or `None` when it was being
/// written.
#[inline(always)]
pub(super) fn try_copy<const LINES: usize>(row: &[Slot; LINES], out: &mut [[u64; SLOT_WORDS]; LINES]) -> Option<u64> {
    let lock = &row[0].words[0];
    let before = lock.load(Ordering::Acquire);
    if before & 1 == 1 {
        return None;
    }
    for (line, slot) in out.iter_mut().zip(row) {
        copy_slot(slot, line);
    }
    // Pairs with the Release fence in `begin`.
    fence(Ordering::Acquire);
    (lock.load(Ordering::Relaxed) == before).then_some(before / 2)
}

/// Whether a row is being written, or was left in the middle of it.
pub(super) fn is_torn(row: &[Slot]) -> bool {
    row[0].words[0].load(Ordering::Relaxed) & 1 == 1
}
