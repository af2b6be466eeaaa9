//! The book as a reader would write it down: two ordered maps. The executable specification of [`crate::Book`].
//!
//! Each answer is worked out from a list of all levels, in the words of its definition and with no care for speed.

use crate::{Changes, Effect, Fill, Level, Mark, Ratio, Total};
use model::{Notional, Price, Qty, Side};
use std::collections::BTreeMap;

/// A book of two ordered maps.
#[derive(Clone, Debug, Default)]
pub struct PlainBook {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
    /// How often each side changed.
    changes: [u64; 2],
}

/// Books are equal when their levels are.
impl PartialEq for PlainBook {
    fn eq(&self, other: &PlainBook) -> bool {
        self.bids == other.bids && self.asks == other.asks
    }
}

impl Eq for PlainBook {}

impl PlainBook {
    /// An empty book.
    pub fn new() -> PlainBook {
        PlainBook::default()
    }

    fn side_mut(&mut self, side: Side) -> (&mut BTreeMap<Price, Qty>, &mut u64) {
        let [bids, asks] = &mut self.changes;
        match side {
            Side::Buy => (&mut self.bids, bids),
            Side::Sell => (&mut self.asks, asks),
        }
    }

    /// Sets a level to an absolute size; 0 removes it.
    pub fn set(&mut self, side: Side, price: Price, size: Qty) -> Effect {
        let (levels, changes) = self.side_mut(side);
        let effect = if size.0 <= 0 {
            levels.remove(&price).map_or(Effect::Absent, |_| Effect::Deleted)
        } else {
            levels.insert(price, size).map_or(Effect::Added, |_| Effect::Changed)
        };
        *changes += u64::from(effect != Effect::Absent);
        effect
    }

    /// Replaces a side by these levels, set one after the other.
    pub fn load(&mut self, side: Side, levels: &[(Price, Qty)]) {
        let before = *self.side_mut(side).1;
        self.side_mut(side).0.clear();
        for (price, size) in levels {
            self.set(side, *price, *size);
        }
        *self.side_mut(side).1 = before + 1;
    }

    /// Keeps the best `depth` levels of each side.
    pub fn truncate(&mut self, depth: usize) {
        for side in [Side::Buy, Side::Sell] {
            let (levels, changes) = self.side_mut(side);
            *changes += u64::from(levels.len() > depth);
            while levels.len() > depth {
                match side {
                    Side::Buy => levels.pop_first(),
                    Side::Sell => levels.pop_last(),
                };
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.load(Side::Buy, &[]);
        self.load(Side::Sell, &[]);
    }

    /// Multiplies every price and size mantissa. `false`, and nothing done, when one would not fit.
    pub fn rescale(&mut self, price_factor: i64, size_factor: i64) -> bool {
        let scaled = |levels: &BTreeMap<Price, Qty>| {
            let each = levels.iter().map(|(price, size)| {
                Some((Price(price.0.checked_mul(price_factor)?), Qty(size.0.checked_mul(size_factor)?)))
            });
            each.collect::<Option<BTreeMap<Price, Qty>>>()
        };
        let (Some(bids), Some(asks)) = (scaled(&self.bids), scaled(&self.asks)) else { return false };
        (self.bids, self.asks) = (bids, asks);
        self.changes = self.changes.map(|n| n + 1);
        true
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> Vec<Level> {
        let level = |(price, size): (&Price, &Qty)| Level { price: *price, size: *size };
        match side {
            Side::Buy => self.bids.iter().rev().map(level).collect(),
            Side::Sell => self.asks.iter().map(level).collect(),
        }
    }

    /// The best level of a side.
    pub fn best(&self, side: Side) -> Option<Level> {
        let best = match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        };
        best.map(|(price, size)| Level { price: *price, size: *size })
    }

    /// The size at a price; 0 where nothing rests.
    pub fn size(&self, side: Side, price: Price) -> Qty {
        let levels = if side == Side::Buy { &self.bids } else { &self.asks };
        levels.get(&price).copied().unwrap_or(Qty(0))
    }

    /// How many levels a side has.
    pub fn depth(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len(),
            Side::Sell => self.asks.len(),
        }
    }

    /// As [`crate::Book::total`].
    pub fn total(&self, side: Side, count: usize) -> Total {
        let levels = self.levels(side);
        sum(&levels[..count.min(levels.len())])
    }

    /// As [`crate::Book::total_to`].
    pub fn total_to(&self, side: Side, price: Price) -> Total {
        let mut levels = self.levels(side);
        levels.retain(|l| if side == Side::Buy { l.price >= price } else { l.price <= price });
        sum(&levels)
    }

    /// As [`crate::Book::total_within`].
    pub fn total_within(&self, side: Side, basis_points: u32) -> Option<Total> {
        let mid = self.mid()?;
        let mut levels = self.levels(side);
        // |price - mid| / mid <= basis points / 10,000, with both sides times twice the mid and 10,000; a level that is
        // past the mid, as in a crossed book, is near.
        levels.retain(|l| {
            let (price, twice) = (2 * i128::from(l.price.0), mid.numerator());
            let past = if side == Side::Buy { price >= twice } else { price <= twice };
            past || (price - twice).abs() * 10_000 <= twice.abs() * i128::from(basis_points)
        });
        Some(sum(&levels))
    }

    /// As [`crate::Book::fill`].
    pub fn fill(&self, taker: Side, size: Qty) -> Fill {
        let mut fill = Fill { remaining: Qty(size.0.max(0)), ..Fill::default() };
        for level in self.levels(taker.opposite()) {
            if fill.remaining == Qty(0) {
                break;
            }
            let taken = level.size.min(fill.remaining);
            fill = Fill {
                filled: Qty(fill.filled.0 + taken.0),
                remaining: Qty(fill.remaining.0 - taken.0),
                notional: Notional(fill.notional.0 + level.price.notional(taken).0),
                last: Some(level.price),
                levels: fill.levels + 1,
            };
        }
        fill
    }

    /// As [`crate::Book::mid`].
    pub fn mid(&self) -> Option<Ratio> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        Ratio::new(i128::from(bid.price.0) + i128::from(ask.price.0), 2)
    }

    /// As [`crate::Book::weighted_mid`].
    pub fn weighted_mid(&self) -> Option<Ratio> {
        self.microprice(1)
    }

    /// As [`crate::Book::microprice`].
    pub fn microprice(&self, count: usize) -> Option<Ratio> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        let (bids, asks) = (self.total(Side::Buy, count).size, self.total(Side::Sell, count).size);
        let low = i128::from(bid.price.0).checked_mul(asks)?;
        let high = i128::from(ask.price.0).checked_mul(bids)?;
        Ratio::new(low.checked_add(high)?, bids + asks)
    }

    /// As [`crate::Book::spread`].
    pub fn spread(&self) -> Option<i128> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        Some(i128::from(ask.price.0) - i128::from(bid.price.0))
    }

    /// As [`crate::Book::spread_ticks`].
    pub fn spread_ticks(&self, tick: Price) -> Option<Ratio> {
        Ratio::new(self.spread()?, tick.0.into())
    }

    /// As [`crate::Book::imbalance`].
    pub fn imbalance(&self, count: usize) -> Option<Ratio> {
        let (bids, asks) = (self.total(Side::Buy, count).size, self.total(Side::Sell, count).size);
        Ratio::new(bids - asks, bids + asks)
    }

    /// As [`crate::Book::since`].
    pub fn since(&self, mark: &mut Mark) -> Changes {
        let old = *mark;
        let [bids, asks] = self.changes;
        *mark = Mark { bid: self.best(Side::Buy), ask: self.best(Side::Sell), bids, asks };
        Changes::between(&old, mark)
    }
}

fn sum(levels: &[Level]) -> Total {
    let notional = levels.iter().try_fold(0i128, |sum, l| sum.checked_add(l.price.notional(l.size).0));
    Total {
        levels: levels.len(),
        size: levels.iter().map(|l| i128::from(l.size.0)).sum(),
        notional: notional.map(Notional),
    }
}
