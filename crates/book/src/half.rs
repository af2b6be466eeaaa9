//! One side of a book: the levels near the touch in a window of slots, the rest, all of them worse, in ordered pages.
//!
//! A side of few levels is one page alone, which needs no room. The window's place and step are learnt from the levels:
//! it slides with the touch, levels crossing its far end one by one, and is laid anew when a level comes that is off
//! its step or when it has become too small. However odd the prices, no more than speed is at stake.

use crate::pages::Pages;
use crate::window::{Window, slots_for};
use crate::{Effect, Level};
use model::{Price, Qty};

/// From so many levels on a window is tried.
const LEVELS_MANY: usize = 64;
/// A window that would hold fewer levels is not worth having.
const WINDOW_LEAST: usize = 16;
/// After so many changes beyond the window its place is looked at: seldom enough to cost nothing, often enough that a
/// touch which has left is followed within microseconds.
const MISSES_MAX: usize = 64;

/// One side of a book; `BID` tells which prices are better.
#[derive(Clone, Debug, Default)]
pub(crate) struct Half<const BID: bool> {
    window: Window<BID>,
    /// All are worse than the window's last slot.
    rest: Pages,
    /// Changes of `rest` since the window's place was looked at.
    misses: usize,
    /// Changes that did something.
    changes: u64,
}

/// A price as a number that is the larger the better, and back: it is its own inverse.
#[inline(always)]
fn key<const BID: bool>(price: i64) -> i64 {
    if BID { price } else { !price }
}

fn level<const BID: bool>((k, size): (i64, i64)) -> Level {
    Level { price: Price(key::<BID>(k)), size: Qty(size) }
}

impl<const BID: bool> Half<BID> {
    pub(crate) fn with_capacity(levels: usize) -> Half<BID> {
        Half { rest: Pages::with_capacity(levels), ..Half::default() }
    }

    #[inline(always)]
    fn better(a: Price, b: Price) -> bool {
        if BID { a > b } else { a < b }
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, price: Price, size: Qty) -> Effect {
        let effect = match self.window.slot(price) {
            Some(slot) => self.window.put(slot, size),
            None => self.set_outside(price, size),
        };
        self.changes += u64::from(effect != Effect::Absent);
        effect
    }

    /// Sets a level for which the window has no slot.
    #[inline(never)]
    fn set_outside(&mut self, price: Price, size: Qty) -> Effect {
        if self.window.is_laid() && !Self::better(self.window.far(), price) {
            if size.0 <= 0 {
                return Effect::Absent;
            }
            return self.set_inside(price, size);
        }
        let effect = self.rest.set(key::<BID>(price.0), size.0);
        self.misses += 1;
        if self.misses >= MISSES_MAX {
            self.look();
        }
        effect
    }

    /// Adds a level that the window should hold and cannot as it lies.
    #[cold]
    fn set_inside(&mut self, price: Price, size: Qty) -> Effect {
        if let Some(words) = self.window.words_to(price) {
            self.slide_better(words);
            if let Some(slot) = self.window.slot(price) {
                return self.window.put(slot, size);
            }
        }
        self.gather();
        self.rest.set(key::<BID>(price.0), size.0);
        self.spread();
        Effect::Added
    }

    /// Puts the window where it serves best now.
    #[cold]
    fn look(&mut self) {
        if !self.window.is_laid() {
            if self.rest.len() >= LEVELS_MANY && self.misses >= self.rest.len() {
                self.spread();
            }
            return;
        }
        self.misses = 0;
        if self.window.count() == 0 || slots_for(self.depth()) > self.window.slots() {
            self.gather();
            self.spread();
        } else if self.window.is_behind() {
            self.slide_worse();
        }
    }

    /// Moves the window by so many words to better prices: what leaves it at the far end goes to the rest.
    #[cold]
    fn slide_better(&mut self, words: usize) {
        let kept = self.window.slots().saturating_sub(words.saturating_mul(64));
        while let Some(slot) = self.window.last().filter(|slot| *slot >= kept) {
            let Level { price, size } = self.window.level(slot);
            self.rest.push_best(key::<BID>(price.0), size.0);
            self.window.put(slot, Qty(0));
        }
        self.window.slide_better(words);
    }

    /// Moves the window to where the touch went: what it reaches now comes from the rest.
    #[cold]
    fn slide_worse(&mut self) {
        if self.window.slide_worse() && self.pull() {
            return;
        }
        self.gather();
        self.spread();
    }

    /// Moves the levels of the rest that the window reaches into it; `false` when one is off its step.
    fn pull(&mut self) -> bool {
        while let Some(best) = self.rest.best() {
            let Level { price, size } = level::<BID>(best);
            match self.window.slot(price) {
                Some(slot) => self.window.put(slot, size),
                None => return Self::better(self.window.far(), price),
            };
            self.rest.pop_best();
        }
        true
    }

    /// Moves all levels of the window to the rest and lifts it.
    #[cold]
    fn gather(&mut self) {
        while let Some(slot) = self.window.last() {
            let Level { price, size } = self.window.level(slot);
            self.rest.push_best(key::<BID>(price.0), size.0);
            self.window.put(slot, Qty(0));
        }
        self.window.lift();
    }

    /// Lays the window, if that is worth it, and moves the best levels into it. All levels are in the rest.
    #[cold]
    fn spread(&mut self) {
        self.misses = 0;
        if self.window.lay(self.rest.iter().map(level::<BID>), self.rest.len(), WINDOW_LEAST) {
            // The step is one that all levels inside are on.
            let whole = self.pull();
            debug_assert!(whole, "a window is laid on a step of the levels it holds");
        }
    }

    /// Replaces all levels. One pass where they come as venues send them, best first; else they are put in order first,
    /// which gives what setting each of them in turn would.
    pub(crate) fn load(&mut self, levels: &[(Price, Qty)]) {
        let mut previous = None;
        let in_order = levels.iter().all(|(price, size)| {
            let follows = previous.replace(*price).is_none_or(|p| Self::better(p, *price));
            follows && size.0 > 0
        });
        if in_order {
            return self.load_ordered(levels);
        }
        // Of equal prices the one sent last counts: it stands first once turned around, and the sort keeps it there.
        let mut ordered: Vec<(Price, Qty)> = levels.iter().rev().copied().collect();
        ordered.sort_by(|a, b| if BID { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
        ordered.dedup_by_key(|level| level.0);
        ordered.retain(|level| level.1.0 > 0);
        self.load_ordered(&ordered);
    }

    fn load_ordered(&mut self, levels: &[(Price, Qty)]) {
        self.clear();
        let each = || levels.iter().map(|&(price, size)| Level { price, size });
        let laid = levels.len() >= LEVELS_MANY && self.window.lay(each(), levels.len(), WINDOW_LEAST);
        let inside = if laid { self.fill(levels) } else { 0 };
        self.rest.reserve(levels.len() - inside);
        for (price, size) in levels[inside..].iter().rev() {
            self.rest.push_best(key::<BID>(price.0), size.0);
        }
    }

    /// Puts the levels that the window reaches into it: how many they are.
    fn fill(&mut self, levels: &[(Price, Qty)]) -> usize {
        for (count, (price, size)) in levels.iter().enumerate() {
            let Some(slot) = self.window.slot(*price) else { return count };
            self.window.put(slot, *size);
        }
        levels.len()
    }

    /// The size at a price; 0 where nothing rests.
    #[inline]
    pub(crate) fn size(&self, price: Price) -> Qty {
        match self.window.slot(price) {
            Some(slot) => self.window.size(slot),
            None => Qty(self.rest.size(key::<BID>(price.0))),
        }
    }

    #[inline]
    pub(crate) fn truncate(&mut self, depth: usize) {
        let excess = self.depth().saturating_sub(depth);
        if excess == 0 {
            return;
        }
        self.changes += 1;
        let of_rest = excess.min(self.rest.len());
        self.rest.drop_worst(of_rest);
        for _ in of_rest..excess {
            let worst = self.window.last().expect("the levels that are not in the rest are in the window");
            self.window.put(worst, Qty(0));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.window.lift();
        self.rest.clear();
        self.misses = 0;
        self.changes += 1;
    }

    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.window.count() + self.rest.len()
    }

    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    #[inline]
    pub(crate) fn best(&self) -> Option<Level> {
        match self.window.first() {
            Some(slot) => Some(self.window.level(slot)),
            None => self.rest.best().map(level::<BID>),
        }
    }

    /// The levels, best first.
    #[inline]
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> + '_ {
        self.window.levels().chain(self.rest.iter().map(level::<BID>))
    }

    /// Copies the best levels, as many as there are and have room: how many.
    #[inline(always)]
    pub(crate) fn copy_best<const N: usize>(&self, into: &mut [Level; N]) -> usize {
        // A side of few levels has them all in one page: nothing is looped over.
        if self.window.count() == 0 && self.rest.copy_last(into, level::<BID>) {
            return N;
        }
        self.copy_each(into)
    }

    #[inline(never)]
    fn copy_each(&self, into: &mut [Level]) -> usize {
        let inside = self.window.copy_best(into);
        inside + self.rest.copy_best(&mut into[inside..], level::<BID>)
    }

    /// Multiplies all prices and sizes by factors with which they fit.
    pub(crate) fn rescale(&mut self, price_factor: i64, size_factor: i64) {
        let laid = self.window.is_laid();
        self.gather();
        self.rest.rewrite(|k, size| (key::<BID>(key::<BID>(k) * price_factor), size * size_factor));
        self.changes += 1;
        if laid {
            self.spread();
        }
    }

    /// Bytes it has asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.window.bytes() + self.rest.bytes()
    }
}
