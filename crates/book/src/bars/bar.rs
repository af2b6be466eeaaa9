//! One bar: what it adds up of its trades, and what adding two of them is.

use crate::Ratio;
use model::{Notional, Price, Qty, Side, UnixNanos};
use std::ops::BitOr;

/// A trade as bars need it. Prices and sizes are mantissas at the instrument's scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// When the venue says it happened.
    pub time: UnixNanos,
    /// The venue's id; 0 where it gives none. Of trades of one time the one with the smaller id was first.
    pub id: u64,
    /// Price mantissa.
    pub price: Price,
    /// Size mantissa.
    pub size: Qty,
    /// Which side took, where that is known.
    pub taker: Option<Side>,
}

impl Trade {
    /// Its place among others.
    #[inline]
    pub fn key(&self) -> TradeKey {
        TradeKey { time: self.time, id: self.id }
    }

    /// All bits when this side took, none else. Who takes next cannot be predicted, so nothing branches on it.
    #[inline]
    fn mask(&self, side: Side) -> i64 {
        -i64::from(self.taker == Some(side))
    }
}

/// The order of trades: by the venue's time, then by its id, then as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TradeKey {
    /// The venue's time.
    pub time: UnixNanos,
    /// The venue's id; 0 where it gives none.
    pub id: u64,
}

/// What is not ordinary about a bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// Nothing.
    pub const NONE: Marks = Marks(0);
    /// It has a trade that came after the bar was closed, or, in a bar that time does not close, after a newer trade.
    pub const LATE: Marks = Marks(1);
    /// A trade of it was corrected.
    pub const CORRECTED: Marks = Marks(1 << 1);
    /// A trade of it was cancelled.
    pub const CANCELLED: Marks = Marks(1 << 2);
    /// Late trades alone, of a bar that is no longer kept: to be merged into it by whoever has it.
    pub const FRAGMENT: Marks = Marks(1 << 3);
    /// A sum did not fit and stands at its limit: prices and sizes near the ends of 64 bits.
    pub const OVERFLOW: Marks = Marks(1 << 4);
    /// Its first trades are from before the stream was joined, so they are missing.
    pub const PARTIAL: Marks = Marks(1 << 5);

    /// Whether all of these are set.
    pub fn contains(self, marks: Marks) -> bool {
        self.0 & marks.0 == marks.0
    }

    pub(crate) fn without(self, marks: Marks) -> Marks {
        Marks(self.0 & !marks.0)
    }

    /// The marks as bits: late 1, corrected 2, cancelled 4, fragment 8, overflow 16, partial 32.
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Marks {
    type Output = Marks;

    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// What trades of a stretch of time, or of so much trading, add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// A time bar's begin, on the interval's grid; else the time of the first trade.
    pub start: UnixNanos,
    /// A time bar's end, the first moment that is no longer in it; else the time of the last trade.
    pub end: UnixNanos,
    /// Price mantissa of the first trade.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// Price mantissa of the last trade.
    pub close: Price,
    /// The sum of sizes, as size mantissa.
    pub volume: i128,
    /// The sum of price times size.
    pub notional: Notional,
    /// Of the volume what buyers took.
    pub buy_volume: i128,
    /// Of the volume what sellers took. What is left is of trades whose taker is not known.
    pub sell_volume: i128,
    /// Of the notional what buyers took.
    pub buy_notional: Notional,
    /// How many trades. A bar whose trades were all cancelled has none, and its prices mean nothing.
    pub trades: u64,
    /// The first trade's place.
    pub first: TradeKey,
    /// The last trade's place.
    pub last: TradeKey,
    /// How often it has been told before: the highest is the one that counts.
    pub revision: u32,
    /// What is not ordinary about it.
    pub marks: Marks,
}

impl Bar {
    /// A bar of one trade, from `start` to `end`.
    #[inline]
    pub fn of(trade: &Trade, start: UnixNanos, end: UnixNanos) -> Bar {
        let mut bar = Bar {
            open: trade.price,
            high: trade.price,
            low: trade.price,
            close: trade.price,
            first: trade.key(),
            last: trade.key(),
            ..Bar::void(start, end)
        };
        bar.sum(trade);
        bar
    }

    /// A bar of no trade.
    pub(crate) fn void(start: UnixNanos, end: UnixNanos) -> Bar {
        let never = TradeKey { time: UnixNanos::ZERO, id: 0 };
        Bar {
            start,
            end,
            open: Price(0),
            high: Price(0),
            low: Price(0),
            close: Price(0),
            volume: 0,
            notional: Notional(0),
            buy_volume: 0,
            sell_volume: 0,
            buy_notional: Notional(0),
            trades: 0,
            first: never,
            last: never,
            revision: 0,
            marks: Marks::NONE,
        }
    }

    /// Adds a trade, wherever in the bar it belongs.
    #[inline]
    pub fn add(&mut self, trade: &Trade) {
        if self.trades == 0 {
            // All of its trades were cancelled.
            *self = self.merge(&Bar::of(trade, self.start, self.end));
            return;
        }
        let key = trade.key();
        if key >= self.last {
            (self.last, self.close) = (key, trade.price);
        }
        if key < self.first {
            (self.first, self.open) = (key, trade.price);
        }
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.sum(trade);
    }

    #[inline]
    fn sum(&mut self, trade: &Trade) {
        let (size, notional) = (i128::from(trade.size.0), trade.price.notional(trade.size).0);
        // A sum of 2^64 sizes of 64 bits fits 128.
        self.volume += size;
        self.notional = self.plus(self.notional, notional);
        let (bought, sold) = (i128::from(trade.mask(Side::Buy)), i128::from(trade.mask(Side::Sell)));
        self.buy_volume += size & bought;
        self.buy_notional = self.plus(self.buy_notional, notional & bought);
        self.sell_volume += size & sold;
        self.trades += 1;
    }

    #[inline]
    pub(super) fn plus(&mut self, sum: Notional, more: i128) -> Notional {
        let (total, overflow) = sum.0.overflowing_add(more);
        if overflow {
            self.marks = self.marks | Marks::OVERFLOW;
            return Notional(sum.0.saturating_add(more));
        }
        Notional(total)
    }

    /// Both bars as one. Of trades at one place those of `self` are first. Associative, so bars of any length add up to
    /// longer ones in any grouping.
    pub fn merge(&self, other: &Bar) -> Bar {
        let (start, end) = (self.start.min(other.start), self.end.max(other.end));
        let told =
            Bar { start, end, marks: self.marks | other.marks, revision: self.revision.max(other.revision), ..*self };
        if other.trades == 0 {
            return told;
        }
        let marks = told.marks;
        if self.trades == 0 {
            return Bar { start, end, marks, revision: told.revision, ..*other };
        }
        let (first, open) = if other.first < self.first { (other.first, other.open) } else { (self.first, self.open) };
        let (last, close) = if other.last >= self.last { (other.last, other.close) } else { (self.last, self.close) };
        let mut bar = Bar {
            open,
            high: self.high.max(other.high),
            low: self.low.min(other.low),
            close,
            volume: self.volume + other.volume,
            buy_volume: self.buy_volume + other.buy_volume,
            sell_volume: self.sell_volume + other.sell_volume,
            trades: self.trades + other.trades,
            first,
            last,
            ..told
        };
        bar.notional = bar.plus(self.notional, other.notional.0);
        bar.buy_notional = bar.plus(self.buy_notional, other.buy_notional.0);
        bar
    }

    /// The mean price by size, exactly: notional over volume. `None` of no volume.
    pub fn vwap(&self) -> Option<Ratio> {
        Ratio::new(self.notional.0, self.volume)
    }

    /// What buyers took less what sellers took, as size mantissa.
    pub fn delta(&self) -> i128 {
        self.buy_volume - self.sell_volume
    }
}
