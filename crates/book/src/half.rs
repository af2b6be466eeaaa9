//! One side of a book: the levels near the touch in a window of slots, the rest, all of them worse, in a sorted array.
//!
//! A side of few levels is the array alone, which nothing beats there and which needs no room. The window's place and
//! step are learnt from the levels: it is laid anew when a level comes that it should hold and cannot, or when the
//! touch has left it behind. However odd the prices, no more than speed is at stake.

use crate::window::{Window, slots_for};
use crate::{Effect, Level, sorted};
use model::{Price, Qty};

/// From so many levels on a window is tried.
const LEVELS_MANY: usize = 64;
/// A window that would hold fewer levels is not worth having.
const WINDOW_LEAST: usize = 16;

/// One side of a book; `BID` tells which prices are better.
#[derive(Clone, Debug, Default)]
pub(crate) struct Half<const BID: bool> {
    window: Window<BID>,
    /// Worst first. All are worse than the window's last slot.
    rest: Vec<Level>,
    /// Changes of `rest` since the window's place was looked at.
    misses: usize,
}

impl<const BID: bool> Half<BID> {
    pub(crate) fn with_capacity(levels: usize) -> Half<BID> {
        Half { rest: Vec::with_capacity(levels), ..Half::default() }
    }

    #[inline(always)]
    fn better(a: Price, b: Price) -> bool {
        if BID { a > b } else { a < b }
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, price: Price, size: Qty) -> Effect {
        match self.window.slot(price) {
            Some(slot) => self.window.put(slot, size),
            None => self.set_outside(price, size),
        }
    }

    /// Sets a level for which the window has no slot.
    #[inline(never)]
    fn set_outside(&mut self, price: Price, size: Qty) -> Effect {
        if self.window.is_laid() && !Self::better(self.window.far(), price) {
            if size.0 <= 0 {
                return Effect::Absent;
            }
            // Off the step, or better than the first slot: the window cannot stay as it is.
            self.gather();
            self.rest_set(price, size);
            self.spread();
            return Effect::Added;
        }
        let effect = self.rest_set(price, size);
        self.misses += 1;
        if self.misses >= self.rest.len().max(LEVELS_MANY) {
            self.look();
        }
        effect
    }

    #[inline(always)]
    fn rest_set(&mut self, price: Price, size: Qty) -> Effect {
        sorted::set(&mut self.rest, price, size, Self::better)
    }

    /// Lays the window where it serves best now. Done so seldom that it costs each change little.
    #[cold]
    fn look(&mut self) {
        self.misses = 0;
        let outgrown = || slots_for(self.depth()) > self.window.slots();
        if self.window.is_laid() && (self.window.is_behind() || outgrown()) {
            self.gather();
            self.spread();
        } else if !self.window.is_laid() && self.rest.len() >= LEVELS_MANY {
            self.spread();
        }
    }

    /// Moves all levels of the window to the rest and lifts it.
    #[cold]
    fn gather(&mut self) {
        let kept = self.rest.len();
        self.rest.extend(self.window.levels());
        self.rest[kept..].reverse();
        self.window.lift();
    }

    /// Lays the window, if that is worth it, and moves the best levels into it. All levels are in the rest.
    #[cold]
    fn spread(&mut self) {
        self.misses = 0;
        if !self.window.lay(self.rest.iter().rev().copied(), WINDOW_LEAST) {
            return;
        }
        while let Some(level) = self.rest.last().copied()
            && let Some(slot) = self.window.slot(level.price)
        {
            self.window.put(slot, level.size);
            self.rest.pop();
        }
        self.rest.shrink_to(2 * self.rest.len());
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
        self.rest.extend(levels.iter().rev().map(|&(price, size)| Level { price, size }));
        if self.rest.len() >= LEVELS_MANY {
            self.spread();
        }
    }

    /// The size at a price; 0 where nothing rests.
    #[inline]
    pub(crate) fn size(&self, price: Price) -> Qty {
        match self.window.slot(price) {
            Some(slot) => self.window.size(slot),
            None => sorted::size(&self.rest, price, Self::better),
        }
    }

    #[inline]
    pub(crate) fn truncate(&mut self, depth: usize) {
        let excess = self.depth().saturating_sub(depth);
        if excess == 0 {
            return;
        }
        let of_rest = excess.min(self.rest.len());
        self.rest.drain(..of_rest);
        for _ in of_rest..excess {
            let worst = self.window.last().expect("the levels that are not in the rest are in the window");
            self.window.put(worst, Qty(0));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.window.lift();
        self.rest.clear();
        self.misses = 0;
    }

    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.window.count() + self.rest.len()
    }

    #[inline]
    pub(crate) fn best(&self) -> Option<Level> {
        match self.window.first() {
            Some(slot) => Some(self.window.level(slot)),
            None => self.rest.last().copied(),
        }
    }

    /// The levels, best first.
    #[inline]
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> + '_ {
        self.window.levels().chain(self.rest.iter().rev().copied())
    }

    /// Multiplies all prices and sizes by factors with which they fit.
    pub(crate) fn rescale(&mut self, price_factor: i64, size_factor: i64) {
        let laid = self.window.is_laid();
        self.gather();
        for level in &mut self.rest {
            level.price.0 *= price_factor;
            level.size.0 *= size_factor;
        }
        if laid {
            self.spread();
        }
    }
}
