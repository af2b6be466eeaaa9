//! The sorted array: a side as one run of levels with the touch at the end, where most changes of a small book are.
//!
//! A change moves all levels between its place and the touch, which nothing beats in a book of fifty levels and which a
//! book of thirty thousand pays for at each far level.

use super::Kept;
use book::Level;
use model::{Price, Qty, Side};

/// Changes this near to the touch are found by walking, farther ones by halving.
const WALK: usize = 8;

/// Two sorted arrays, worst first.
#[derive(Default)]
pub struct Sorted {
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Kept for Sorted {
    #[inline]
    fn set(&mut self, side: Side, price: Price, size: Qty) {
        match side {
            Side::Buy => set(&mut self.bids, price, size, |a, b| a > b),
            Side::Sell => set(&mut self.asks, price, size, |a, b| a < b),
        }
    }

    #[inline]
    fn touch(&self) -> [Option<Level>; 2] {
        [self.bids.last().copied(), self.asks.last().copied()]
    }
}

#[inline]
fn set(levels: &mut Vec<Level>, price: Price, size: Qty, better: impl Fn(Price, Price) -> bool) {
    let at = position(levels, price, &better);
    // `at` counts the levels that are not better than `price`: the level itself, if there, is the last of them.
    let here = at > 0 && levels[at - 1].price == price;
    match (size.0 > 0, here) {
        (true, true) => levels[at - 1].size = size,
        (true, false) => levels.insert(at, Level { price, size }),
        (false, true) => drop(levels.remove(at - 1)),
        (false, false) => {}
    }
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
