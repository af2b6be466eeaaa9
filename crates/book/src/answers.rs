//! What a trader asks of a book: how much rests to a price, what a size costs, where the market's middle is.
//! a [`Book`] -> [`Total`], [`Fill`], [`Ratio`], [`Changes`]; exact, nothing copied and nothing allocated.
//!
//! Prices and sizes are mantissas at the instrument's scales; a notional is at the sum of both scales. Every answer is
//! also given by [`crate::PlainBook`] in the most direct way there is, and both are tested to be the same.

use crate::{Book, Level, Ratio};
use model::{Notional, Price, Qty, Side};

/// Some levels of one side together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// How many levels.
    pub levels: usize,
    /// The sum of their sizes, as mantissa.
    pub size: i128,
    /// The sum of price times size; `None` when it does not fit, which takes mantissas near the ends of 64 bits.
    pub notional: Option<Notional>,
}

impl Total {
    /// No level.
    pub const ZERO: Total = Total { levels: 0, size: 0, notional: Some(Notional(0)) };

    #[inline]
    fn and(self, level: Level) -> Total {
        let notional = self.notional.and_then(|sum| sum.0.checked_add(level.price.notional(level.size).0));
        Total { levels: self.levels + 1, size: self.size + i128::from(level.size.0), notional: notional.map(Notional) }
    }

    pub(crate) fn of(levels: impl Iterator<Item = Level>) -> Total {
        levels.fold(Total::ZERO, Total::and)
    }

    /// The mean price by size; `None` of no level.
    pub fn average(&self) -> Option<Ratio> {
        Ratio::new(self.notional?.0, self.size)
    }
}

/// What taking a size from a book comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// How much the book gives.
    pub filled: Qty,
    /// How much it does not have.
    pub remaining: Qty,
    /// The sum of price times size taken. Always fits: what is taken is at most an `i64` together.
    pub notional: Notional,
    /// The price of the last level taken from: the limit that an order for this size needs.
    pub last: Option<Price>,
    /// How many levels are taken from, the last perhaps in part.
    pub levels: usize,
}

impl Fill {
    /// The mean price of what is filled, exactly; `None` when nothing is.
    pub fn average(&self) -> Option<Ratio> {
        Ratio::new(self.notional.0, i128::from(self.filled.0))
    }

    pub(crate) fn of(mut levels: impl Iterator<Item = Level>, size: Qty) -> Fill {
        let mut fill = Fill { remaining: Qty(size.0.max(0)), ..Fill::default() };
        while fill.remaining.0 > 0
            && let Some(level) = levels.next()
        {
            let taken = Qty(level.size.0.min(fill.remaining.0));
            fill.filled.0 += taken.0;
            fill.remaining.0 -= taken.0;
            fill.notional.0 += level.price.notional(taken).0;
            fill.last = Some(level.price);
            fill.levels += 1;
        }
        fill
    }
}

/// A reader's memory of a book, for [`Book::since`]; the default one remembers an empty book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub(crate) bid: Option<Level>,
    pub(crate) ask: Option<Level>,
    pub(crate) bids: u64,
    pub(crate) asks: u64,
}

/// What is not as it was at a [`Mark`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How often bids changed: each level that was set or removed; a load, a cut, a clearing and a new scale once each.
    pub bids: u64,
    /// The same of asks.
    pub asks: u64,
    /// The best bid has another price, or came, or went.
    pub bid_price: bool,
    /// The best bid has another size, or came, or went.
    pub bid_size: bool,
    /// The best ask has another price, or came, or went.
    pub ask_price: bool,
    /// The best ask has another size, or came, or went.
    pub ask_size: bool,
}

impl Changes {
    /// Anything at all.
    pub fn any(&self) -> bool {
        self.bids + self.asks > 0
    }

    /// The best bid or the best ask differs in price or size.
    pub fn touch(&self) -> bool {
        self.bid_price || self.bid_size || self.ask_price || self.ask_size
    }

    pub(crate) fn between(old: &Mark, new: &Mark) -> Changes {
        let price = |l: Option<Level>| l.map(|l| l.price);
        let size = |l: Option<Level>| l.map(|l| l.size);
        Changes {
            bids: new.bids.wrapping_sub(old.bids),
            asks: new.asks.wrapping_sub(old.asks),
            bid_price: price(old.bid) != price(new.bid),
            bid_size: size(old.bid) != size(new.bid),
            ask_price: price(old.ask) != price(new.ask),
            ask_size: size(old.ask) != size(new.ask),
        }
    }
}

/// Each of two prices weighted by the other side's size; `None` when a product does not fit.
fn weighted(bid: Price, ask: Price, bids: i128, asks: i128) -> Option<Ratio> {
    let low = i128::from(bid.0).checked_mul(asks)?;
    let high = i128::from(ask.0).checked_mul(bids)?;
    Ratio::new(low.checked_add(high)?, bids + asks)
}

impl Book {
    /// The best `count` levels of a side together.
    pub fn total(&self, side: Side, count: usize) -> Total {
        Total::of(self.levels(side).take(count))
    }

    /// The levels of a side at this price or better: what an order with this limit could take.
    pub fn total_to(&self, side: Side, price: Price) -> Total {
        let worse = |p: Price| if side == Side::Buy { p < price } else { p > price };
        Total::of(self.levels(side).take_while(|l| !worse(l.price)))
    }

    /// The levels of a side that are at most so many basis points of the mid away from it; `None` without a mid.
    pub fn total_within(&self, side: Side, basis_points: u32) -> Option<Total> {
        let twice = self.mid()?.numerator();
        let most = i128::from(basis_points) * twice.abs();
        let away = |p: Price| if side == Side::Buy { twice - 2 * i128::from(p.0) } else { 2 * i128::from(p.0) - twice };
        Some(Total::of(self.levels(side).take_while(|l| away(l.price) * 10_000 <= most)))
    }

    /// What a taker who buys (from the asks) or sells (to the bids) this size pays or gets.
    pub fn fill(&self, taker: Side, size: Qty) -> Fill {
        Fill::of(self.levels(taker.opposite()), size)
    }

    /// Half way between best bid and best ask; `None` when a side is empty. The denominator is 2.
    #[inline]
    pub fn mid(&self) -> Option<Ratio> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        Ratio::new(i128::from(bid.price.0) + i128::from(ask.price.0), 2)
    }

    /// Best bid and best ask, each weighted by the size at the *other*: the heavier side pushes the price away from
    /// itself. `None` when a side is empty (or, with mantissas near the ends of 64 bits, when it does not fit).
    #[inline]
    pub fn weighted_mid(&self) -> Option<Ratio> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        weighted(bid.price, ask.price, bid.size.0.into(), ask.size.0.into())
    }

    /// As [`Book::weighted_mid`] with the sizes of the best `count` levels of each side as weights: where between best
    /// bid and best ask the pressure of the book puts the price. With `count` 1 it is the weighted mid.
    pub fn microprice(&self, count: usize) -> Option<Ratio> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        weighted(bid.price, ask.price, self.total(Side::Buy, count).size, self.total(Side::Sell, count).size)
    }

    /// Best ask less best bid, as price mantissa; below 0 when crossed, `None` when a side is empty.
    #[inline]
    pub fn spread(&self) -> Option<i128> {
        let (bid, ask) = (self.best(Side::Buy)?, self.best(Side::Sell)?);
        Some(i128::from(ask.price.0) - i128::from(bid.price.0))
    }

    /// The spread in ticks of this size; whole wherever the venue keeps to its tick. `None` as for the spread, or when
    /// the tick is not positive.
    #[inline]
    pub fn spread_ticks(&self, tick: Price) -> Option<Ratio> {
        Ratio::new(self.spread()?, tick.0.into())
    }

    /// Of the sizes of the best `count` levels of each side: (bids - asks) / (bids + asks), from -1 to 1; `None` when
    /// there is no level.
    pub fn imbalance(&self, count: usize) -> Option<Ratio> {
        let (bids, asks) = (self.total(Side::Buy, count).size, self.total(Side::Sell, count).size);
        Ratio::new(bids - asks, bids + asks)
    }

    /// What changed since the mark was made or last looked through, and moves the mark to now. A reader keeps a mark of
    /// its own, so any number of them can ask; what changed and changed back in between shows in the counts only.
    pub fn since(&self, mark: &mut Mark) -> Changes {
        let [bids, asks] = self.changes();
        let now = Mark { bid: self.best(Side::Buy), ask: self.best(Side::Sell), bids, asks };
        Changes::between(&std::mem::replace(mark, now), &now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bids 100x2 99x3 97x5, asks 102x6 103x1.
    fn book() -> Book {
        let mut book = Book::default();
        for (price, size) in [(100, 2), (99, 3), (97, 5)] {
            book.set(Side::Buy, Price(price), Qty(size));
        }
        for (price, size) in [(102, 6), (103, 1)] {
            book.set(Side::Sell, Price(price), Qty(size));
        }
        book
    }

    fn ratio(n: i128, d: i128) -> Option<Ratio> {
        Ratio::new(n, d)
    }

    #[test]
    fn answers_are_those_of_the_textbook() {
        let b = book();
        assert_eq!(b.mid(), ratio(101, 1));
        assert_eq!(b.weighted_mid(), ratio(100 * 6 + 102 * 2, 8));
        assert_eq!(b.microprice(1), b.weighted_mid());
        assert_eq!(b.microprice(9), ratio(100 * 7 + 102 * 10, 17));
        assert_eq!((b.spread(), b.spread_ticks(Price(2))), (Some(2), ratio(1, 1)));
        assert_eq!(b.imbalance(1), ratio(-1, 2));
        assert_eq!(b.imbalance(9), ratio(3, 17));
        assert_eq!(b.total_to(Side::Buy, Price(98)), Total { levels: 2, size: 5, notional: Some(Notional(497)) });
        // 1 % of 101 is 1.01: 99.99 and better, 102.01 and better.
        assert_eq!(b.total_within(Side::Buy, 100).map(|t| t.size), Some(2));
        assert_eq!(b.total_within(Side::Sell, 100).map(|t| t.size), Some(6));
        assert_eq!(b.total_within(Side::Buy, 99).map(|t| t.levels), Some(0));
        assert_eq!(b.total(Side::Buy, 2).average(), ratio(497, 5));
    }

    #[test]
    fn a_fill_tells_what_is_missing_and_the_limit_it_needs() {
        let b = book();
        let sell = b.fill(Side::Sell, Qty(4));
        assert_eq!((sell.filled, sell.remaining, sell.levels), (Qty(4), Qty(0), 2));
        assert_eq!((sell.notional, sell.last), (Notional(2 * 100 + 2 * 99), Some(Price(99))));
        assert_eq!(sell.average(), ratio(199, 2));
        let buy = b.fill(Side::Buy, Qty(100));
        assert_eq!((buy.filled, buy.remaining, buy.last), (Qty(7), Qty(93), Some(Price(103))));
        assert_eq!(b.fill(Side::Buy, Qty(-1)), Fill::default());
        assert_eq!(b.fill(Side::Buy, Qty(0)).average(), None);
    }

    #[test]
    fn an_empty_side_has_no_middle() {
        let mut b = book();
        b.load(Side::Sell, &[]);
        assert_eq!((b.mid(), b.weighted_mid(), b.microprice(3), b.spread()), (None, None, None, None));
        assert_eq!(b.total_within(Side::Buy, 10), None);
        assert_eq!(b.imbalance(3), ratio(1, 1));
        assert_eq!(Book::default().imbalance(3), None);
        assert_eq!(b.fill(Side::Buy, Qty(3)).remaining, Qty(3));
    }

    #[test]
    fn each_reader_is_told_what_changed_since_it_looked() {
        let mut b = book();
        let (mut one, mut two) = (Mark::default(), Mark::default());
        assert_eq!(b.since(&mut one).bids, 3);
        assert!(!b.since(&mut one).any());
        b.set(Side::Buy, Price(97), Qty(1));
        let far = b.since(&mut one);
        assert_eq!((far.bids, far.asks, far.touch()), (1, 0, false));
        b.set(Side::Buy, Price(100), Qty(9));
        b.set(Side::Sell, Price(101), Qty(6));
        let near = b.since(&mut one);
        assert!(near.bid_size && !near.bid_price && near.ask_price && !near.ask_size);
        b.set(Side::Sell, Price(500), Qty(0));
        assert!(!b.since(&mut one).any(), "deleting what is not there changes nothing");
        let all = b.since(&mut two);
        assert_eq!((all.bids, all.asks, all.touch()), (5, 3, true));
    }
}
