//! The book as two sorted arrays with the touch at the end, where most changes are: a change moves few levels and
//! allocates nothing once the arrays have grown to the book's size.

use crate::{Effect, Level};
use model::{Price, Qty, Side};

/// Changes this near to the touch are found by walking, farther ones by halving.
const WALK: usize = 8;

/// A book of two sorted arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Book {
    /// An empty book with room for `levels` a side.
    pub fn with_capacity(levels: usize) -> Book {
        Book { bids: Vec::with_capacity(levels), asks: Vec::with_capacity(levels) }
    }

    /// Sets a level to an absolute size; 0 (or less) removes it.
    #[inline]
    pub fn set(&mut self, side: Side, price: Price, size: Qty) -> Effect {
        match side {
            // Worst first, so that the best is at the end: bids rise, asks fall.
            Side::Buy => set(&mut self.bids, price, size, |a, b| a > b),
            Side::Sell => set(&mut self.asks, price, size, |a, b| a < b),
        }
    }

    /// Keeps the best `depth` levels of each side.
    #[inline]
    pub fn truncate(&mut self, depth: usize) {
        for side in [&mut self.bids, &mut self.asks] {
            if side.len() > depth {
                side.drain(..side.len() - depth);
            }
        }
    }

    /// Forgets everything, keeps the room.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// The levels of a side, best first, without copying.
    pub fn levels(&self, side: Side) -> impl ExactSizeIterator<Item = Level> + '_ {
        let levels = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        levels.iter().rev().copied()
    }

    /// How many levels a side has.
    pub fn depth(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len(),
            Side::Sell => self.asks.len(),
        }
    }

    /// The best level of a side.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Level> {
        match side {
            Side::Buy => self.bids.last().copied(),
            Side::Sell => self.asks.last().copied(),
        }
    }

    /// Best bid at or above best ask: judge only after a whole event.
    #[inline]
    pub fn is_crossed(&self) -> bool {
        match (self.bids.last(), self.asks.last()) {
            (Some(bid), Some(ask)) => bid.price >= ask.price,
            _ => false,
        }
    }

    /// Multiplies every price and size mantissa by a power of ten, as when an instrument's scale grows. `false`, and
    /// nothing done, when one would not fit.
    pub fn rescale(&mut self, price_factor: i64, size_factor: i64) -> bool {
        let fits =
            |l: &Level| l.price.0.checked_mul(price_factor).is_some() && l.size.0.checked_mul(size_factor).is_some();
        if !self.bids.iter().chain(&self.asks).all(fits) {
            return false;
        }
        for l in self.bids.iter_mut().chain(&mut self.asks) {
            l.price.0 *= price_factor;
            l.size.0 *= size_factor;
        }
        true
    }
}

#[inline]
fn set(levels: &mut Vec<Level>, price: Price, size: Qty, better: impl Fn(Price, Price) -> bool) -> Effect {
    let at = position(levels, price, &better);
    // `at` counts the levels that are not better than `price`: the level itself, if there, is the last of them.
    let here = at > 0 && levels[at - 1].price == price;
    if size.0 <= 0 {
        if !here {
            return Effect::Absent;
        }
        levels.remove(at - 1);
        return Effect::Deleted;
    }
    if here {
        levels[at - 1].size = size;
        return Effect::Changed;
    }
    levels.insert(at, Level { price, size });
    Effect::Added
}

/// How many levels are not better than `price`.
#[inline]
fn position(levels: &[Level], price: Price, better: &impl Fn(Price, Price) -> bool) -> usize {
    let near = levels.len().saturating_sub(WALK);
    let mut at = levels.len();
    while at > near && better(levels[at - 1].price, price) {
        at -= 1;
    }
    if at > near || near == 0 {
        return at;
    }
    levels[..near].partition_point(|l| !better(l.price, price))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlainBook;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(Side, i64, i64),
        Truncate(usize),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
        prop_oneof![
            40 => (side, 0i64..60, 0i64..4).prop_map(|(s, p, q)| Step::Set(s, p, q)),
            2 => (0usize..30).prop_map(Step::Truncate),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_book(steps in prop::collection::vec(step(), 0..400)) {
            let (mut fast, mut plain) = (Book::default(), PlainBook::new());
            for s in steps {
                match s {
                    Step::Set(side, p, q) => {
                        prop_assert_eq!(fast.set(side, Price(p), Qty(q)), plain.set(side, Price(p), Qty(q)));
                    }
                    Step::Truncate(n) => { fast.truncate(n); plain.truncate(n); }
                    Step::Clear => { fast.clear(); plain.clear(); }
                }
                for side in [Side::Buy, Side::Sell] {
                    prop_assert_eq!(fast.levels(side).collect::<Vec<_>>(), plain.levels(side));
                    prop_assert_eq!(fast.best(side), plain.levels(side).first().copied());
                }
            }
        }
    }

    #[test]
    fn a_scale_that_does_not_fit_changes_nothing() {
        let mut b = Book::default();
        b.set(Side::Buy, Price(7), Qty(i64::MAX / 5));
        let before = b.clone();
        assert!(!b.rescale(1, 10));
        assert_eq!(b, before);
        assert!(b.rescale(10, 1));
        assert_eq!(b.best(Side::Buy).map(|l| l.price), Some(Price(70)));
    }
}
