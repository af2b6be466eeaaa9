//! A run of equally spaced prices, one slot each, the best price first: a change costs one multiplication to find its
//! slot and no branch on what was there. Which slots are taken is told by bits, and which words of bits are not empty
//! by bits again, so both ends are found in a few steps.

use crate::{Effect, Level};
use model::{Price, Qty};

/// Slots of a window: enough for the levels near the touch of a book this deep, few enough that a thousand books fit a
/// small machine. 8 KiB of sizes for a few hundred levels, 512 KiB for more than ten thousand, of which only pages with
/// levels are touched.
const SLOTS_MIN: usize = 1 << 10;
const SLOTS_MAX: usize = 1 << 16;
/// Slots a level: books are sparse away from the touch.
const SLOTS_PER_LEVEL: usize = 4;
/// The widest step and the farthest touch for which no sum or product below can overflow.
const STEP_MAX: u64 = (1 << 62) / SLOTS_MAX as u64;
const TOUCH_MAX: u64 = 1 << 60;

/// Slots for equally spaced prices; it takes none until it is laid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window<const BID: bool> {
    /// Price of the first slot.
    near: i64,
    /// Distance of two slots' prices.
    step: i64,
    /// The inverse of the step's odd part modulo 2^64, and the power of two that is left of it: with both, dividing
    /// and asking whether it divides is one multiplication and one rotation.
    inverse: u64,
    twos: u32,
    /// Slots in use: all, or none while it is not laid.
    span: u64,
    /// Taken slots.
    count: usize,
    sizes: Vec<i64>,
    taken: Vec<u64>,
    words: [u64; SLOTS_MAX / 4096],
}

/// How many slots a window has that is laid for so many levels.
pub(crate) fn slots_for(levels: usize) -> usize {
    levels.saturating_mul(SLOTS_PER_LEVEL).clamp(SLOTS_MIN, SLOTS_MAX).next_power_of_two()
}

/// Free slots on the better side of the touch when a window of so many is laid.
fn slack(slots: usize) -> usize {
    slots / 8
}

impl<const BID: bool> Window<BID> {
    /// The slot of a price, when it is one of the window's.
    ///
    /// `rotate(x * inverse, twos)` maps 64-bit numbers one to one and `step * n` to `n`, so whatever is off the step
    /// or outside of the window ends above it.
    #[inline(always)]
    pub(crate) fn slot(&self, price: Price) -> Option<usize> {
        let away = if BID { self.near.wrapping_sub(price.0) } else { price.0.wrapping_sub(self.near) };
        let slot = (away as u64).wrapping_mul(self.inverse).rotate_right(self.twos);
        (slot < self.span).then_some(slot as usize)
    }

    /// Sets a slot's size; 0 or less frees it. What is there is as good as random: nothing here branches on it.
    #[inline(always)]
    pub(crate) fn put(&mut self, slot: usize, size: Qty) -> Effect {
        const EFFECTS: [Effect; 4] = [Effect::Absent, Effect::Added, Effect::Deleted, Effect::Changed];
        let (at, bit) = (slot / 64, slot % 64);
        let has = u64::from(size.0 > 0);
        let word = self.taken[at];
        let had = (word >> bit) & 1;
        let word = (word & !(1 << bit)) | (has << bit);
        self.taken[at] = word;
        self.sizes[slot] = size.0;
        let words = &mut self.words[at / 64];
        *words = (*words & !(1 << (at % 64))) | (u64::from(word != 0) << (at % 64));
        self.count = self.count + has as usize - had as usize;
        EFFECTS[(had * 2 + has) as usize]
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn is_laid(&self) -> bool {
        self.span > 0
    }

    /// Price of the last slot, the worst that fits.
    pub(crate) fn far(&self) -> Price {
        self.price(self.sizes.len() - 1)
    }

    /// How many slots it has, laid or not.
    pub(crate) fn slots(&self) -> usize {
        self.sizes.len()
    }

    #[inline]
    fn price(&self, slot: usize) -> Price {
        let away = self.step * slot as i64;
        Price(if BID { self.near - away } else { self.near + away })
    }

    #[inline]
    pub(crate) fn level(&self, slot: usize) -> Level {
        Level { price: self.price(slot), size: Qty(self.sizes[slot]) }
    }

    /// The size in a slot; 0 where it is free.
    #[inline]
    pub(crate) fn size(&self, slot: usize) -> Qty {
        let taken = self.taken[slot / 64] >> (slot % 64) & 1;
        Qty(self.sizes[slot] * taken as i64)
    }

    /// The taken slot of the best price.
    #[inline]
    pub(crate) fn first(&self) -> Option<usize> {
        let (n, words) = self.words.iter().enumerate().find(|(_, words)| **words != 0)?;
        let at = n * 64 + words.trailing_zeros() as usize;
        Some(at * 64 + self.taken[at].trailing_zeros() as usize)
    }

    /// The taken slot of the worst price.
    #[inline]
    pub(crate) fn last(&self) -> Option<usize> {
        let (n, words) = self.words.iter().enumerate().rfind(|(_, words)| **words != 0)?;
        let at = n * 64 + words.ilog2() as usize;
        Some(at * 64 + self.taken[at].ilog2() as usize)
    }

    /// Frees all slots and is laid no more; the room stays.
    pub(crate) fn lift(&mut self) {
        self.taken.fill(0);
        self.words = Default::default();
        (self.span, self.count) = (0, 0);
    }

    /// How many words further to better prices the window has to lie so that a price better than its first slot is
    /// behind the slack; `None` when the price is off the step or too far out for it.
    pub(crate) fn words_to(&self, price: Price) -> Option<usize> {
        let away = if BID { price.0.wrapping_sub(self.near) } else { self.near.wrapping_sub(price.0) };
        let slots = (away as u64).wrapping_mul(self.inverse).rotate_right(self.twos);
        let fits = price.0.unsigned_abs() <= TOUCH_MAX && away > 0 && slots <= away as u64 / self.step as u64;
        fits.then(|| (slots as usize).saturating_add(slack(self.slots())).div_ceil(64))
    }

    /// Moves by so many words to better prices. The slots that fall out at the far end are free.
    pub(crate) fn slide_better(&mut self, words: usize) {
        let moved = words.min(self.taken.len());
        let kept = self.taken.len() - moved;
        self.taken.copy_within(..kept, moved);
        self.taken[..moved].fill(0);
        self.sizes.copy_within(..64 * kept, 64 * moved);
        let by = self.step * 64 * words as i64;
        self.near = if BID { self.near + by } else { self.near - by };
        self.count_words();
    }

    /// Moves to worse prices until the touch is behind the slack. `false`, and nothing done, when there is none in the
    /// window or it is too far out.
    pub(crate) fn slide_worse(&mut self) -> bool {
        let touch = self.first().filter(|slot| self.price(*slot).0.unsigned_abs() <= TOUCH_MAX);
        let Some(slot) = touch else { return false };
        let words = slot.saturating_sub(slack(self.slots())) / 64;
        let kept = self.taken.len() - words;
        self.taken.copy_within(words.., 0);
        self.taken[kept..].fill(0);
        self.sizes.copy_within(64 * words.., 0);
        let by = self.step * 64 * words as i64;
        self.near = if BID { self.near - by } else { self.near + by };
        self.count_words();
        true
    }

    fn count_words(&mut self) {
        for (words, taken) in self.words.iter_mut().zip(self.taken.chunks(64)) {
            *words = taken.iter().enumerate().fold(0, |bits, (n, word)| bits | u64::from(*word != 0) << n);
        }
    }

    /// Lays an empty window around a touch for the prices of `levels`, which come best first and begin with the touch.
    /// Its size is by their number, and the step is the widest on which all levels inside are. `false`, and nothing
    /// done, when the window would hold fewer than `least` of them.
    pub(crate) fn lay(&mut self, levels: impl Iterator<Item = Level>, count: usize, least: usize) -> bool {
        // A window that is somewhat large stays: nothing is allocated while a book breathes.
        let slots = match slots_for(count) {
            slots if slots < self.slots() && self.slots() <= 4 * slots => self.slots(),
            slots => slots,
        };
        let (mut touch, mut step, mut inside) = (None, 0u64, 0);
        for Level { price: Price(price), .. } in levels {
            let away = touch.get_or_insert(price).abs_diff(price);
            if inside > 0 && away >= step.saturating_mul((slots - slack(slots)) as u64) {
                break;
            }
            step = gcd(price.unsigned_abs(), step);
            inside += 1;
        }
        let Some(touch) = touch else { return false };
        if inside < least || step == 0 || step > STEP_MAX || touch.unsigned_abs() > TOUCH_MAX {
            return false;
        }
        if self.sizes.len() != slots {
            // Made anew: memory asked for as zeros is not touched until a level comes.
            self.sizes = vec![0; slots];
            self.taken = vec![0; slots / 64];
        }
        self.step = step as i64;
        let slack = self.step * slack(slots) as i64;
        self.near = if BID { touch + slack } else { touch - slack };
        self.twos = step.trailing_zeros();
        self.inverse = inverse(step >> self.twos);
        self.span = slots as u64;
        true
    }

    /// Whether the touch has moved so far into the window that it should be laid again.
    pub(crate) fn is_behind(&self) -> bool {
        self.first().is_none_or(|slot| slot > 2 * slack(self.sizes.len()))
    }

    /// Bytes it has asked for.
    pub(crate) fn bytes(&self) -> usize {
        (self.sizes.capacity() + self.taken.capacity()) * size_of::<u64>()
    }

    /// Copies the best levels, as many as there are and have room: how many.
    #[inline]
    pub(crate) fn copy_best(&self, into: &mut [Level]) -> usize {
        for (to, level) in into.iter_mut().zip(self.levels()) {
            *to = level;
        }
        self.count.min(into.len())
    }

    /// The levels, best first.
    #[inline]
    pub(crate) fn levels(&self) -> Levels<'_, BID> {
        let at = self.first().map_or(0, |slot| slot / 64);
        Levels { window: self, at, word: self.taken.get(at).copied().unwrap_or(0), left: self.count }
    }
}

/// The levels of a window, best first.
pub(crate) struct Levels<'a, const BID: bool> {
    window: &'a Window<BID>,
    at: usize,
    word: u64,
    left: usize,
}

impl<const BID: bool> Iterator for Levels<'_, BID> {
    type Item = Level;

    #[inline]
    fn next(&mut self) -> Option<Level> {
        if self.left == 0 {
            return None;
        }
        while self.word == 0 {
            self.at += 1;
            self.word = self.window.taken[self.at];
        }
        self.left -= 1;
        let slot = self.at * 64 + self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(self.window.level(slot))
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The inverse of an odd number modulo 2^64: an odd number is its own to three bits, and each round doubles them.
fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_large_as_its_book_needs() {
        let slots = [0, 64, 256, 257, 500, 1000, 1024, 1025, 5000, 50_000, usize::MAX].map(slots_for);
        assert_eq!(slots, [1024, 1024, 1024, 2048, 2048, 4096, 4096, 8192, 32_768, 65_536, 65_536]);
    }

    #[test]
    fn a_window_laid_again_for_more_levels_is_larger_and_empty() {
        let levels = |count: i64| (0..count).map(|n| Level { price: Price(1_000_000 - n), size: Qty(1) });
        let mut window = Window::<true>::default();
        assert_eq!((window.slots(), window.is_laid()), (0, false));
        for (count, slots) in [(100, 1024), (1000, 4096), (20_000, 65_536), (1000, 4096), (500, 4096), (100, 4096)] {
            assert!(window.lay(levels(count), count as usize, 16));
            assert_eq!((window.slots(), window.count()), (slots, 0));
            // The touch is behind the slack, and the last slot is still on the step.
            assert_eq!(window.slot(Price(1_000_000)), Some(slots / 8));
            assert_eq!(window.slot(window.far()), Some(slots - 1));
            for level in levels(count) {
                if let Some(slot) = window.slot(level.price) {
                    window.put(slot, level.size);
                }
            }
            assert_eq!(window.count(), (count as usize).min(slots - slots / 8));
            window.lift();
        }
    }
}
