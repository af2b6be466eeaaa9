//! The book as a reader would write it down: two ordered maps. The executable specification of [`crate::Book`].

use crate::{Effect, Level};
use model::{Price, Qty, Side};
use std::collections::BTreeMap;

/// A book of two ordered maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainBook {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
}

impl PlainBook {
    /// An empty book.
    pub fn new() -> PlainBook {
        PlainBook::default()
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Qty> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Sets a level to an absolute size; 0 removes it.
    pub fn set(&mut self, side: Side, price: Price, size: Qty) -> Effect {
        let levels = self.side_mut(side);
        if size.0 <= 0 {
            return levels.remove(&price).map_or(Effect::Absent, |_| Effect::Deleted);
        }
        levels.insert(price, size).map_or(Effect::Added, |_| Effect::Changed)
    }

    /// Keeps the best `depth` levels of each side.
    pub fn truncate(&mut self, depth: usize) {
        while self.bids.len() > depth {
            self.bids.pop_first();
        }
        while self.asks.len() > depth {
            self.asks.pop_last();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> Vec<Level> {
        let level = |(price, size): (&Price, &Qty)| Level { price: *price, size: *size };
        match side {
            Side::Buy => self.bids.iter().rev().map(level).collect(),
            Side::Sell => self.asks.iter().map(level).collect(),
        }
    }
}
