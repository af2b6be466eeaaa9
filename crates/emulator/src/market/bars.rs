//! Bars and day figures: what trades add up to.

use std::collections::VecDeque;

use model::{Price, Side, UnixNanos};

use super::{Bar, Trade};

/// Bars kept per interval, the running one included.
const BARS_KEPT: usize = 720;

/// Figures since the start, told as the "24 h" ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) last: Price,
    pub(crate) volume: i128,
    pub(crate) cost: i128,
}

impl Day {
    pub(crate) fn new(open: Price) -> Self {
        Self { open, high: open, low: open, last: open, volume: 0, cost: 0 }
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        (self.last, self.high, self.low) = (trade.price, self.high.max(trade.price), self.low.min(trade.price));
        self.volume += i128::from(trade.size.0);
        self.cost += trade.price.notional(trade.size).0;
    }
}

/// The bars of one interval, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) interval_s: u64,
    pub(crate) kept: VecDeque<Bar>,
}

impl Bars {
    pub(crate) fn new(interval_s: u64) -> Self {
        Self { interval_s, kept: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        // A clock that was set back does not reopen a bar.
        if let Some(bar) = self.kept.back_mut().filter(|bar| trade.time.0 < bar.end().0) {
            return bar.add(trade);
        }
        let width = self.interval_s * 1_000_000_000;
        if self.kept.len() == BARS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Bar::first(trade, UnixNanos(trade.time.0 - trade.time.0 % width), self.interval_s));
    }
}

impl Bar {
    pub(crate) fn first(trade: &Trade, begin: UnixNanos, interval_s: u64) -> Self {
        let price = trade.price;
        let mut bar = Self {
            begin,
            interval_s,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0,
            cost: 0,
            taker_buy_volume: 0,
            taker_buy_cost: 0,
            trades: 0,
            first_id: trade.id,
            last_id: trade.id,
        };
        bar.add(trade);
        bar
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        let (size, cost) = (i128::from(trade.size.0), trade.price.notional(trade.size).0);
        (self.close, self.high, self.low) = (trade.price, self.high.max(trade.price), self.low.min(trade.price));
        self.volume += size;
        self.cost += cost;
        if trade.taker == Side::Buy {
            self.taker_buy_volume += size;
            self.taker_buy_cost += cost;
        }
        self.trades += 1;
        self.last_id = trade.id;
    }

    /// This bar and the ones behind it, of which `later` is the sum.
    pub(crate) fn before(&self, later: &Self) -> Self {
        Self {
            close: later.close,
            high: self.high.max(later.high),
            low: self.low.min(later.low),
            volume: self.volume + later.volume,
            cost: self.cost + later.cost,
            taker_buy_volume: self.taker_buy_volume + later.taker_buy_volume,
            taker_buy_cost: self.taker_buy_cost + later.taker_buy_cost,
            trades: self.trades + later.trades,
            last_id: later.last_id,
            ..*self
        }
    }

    /// End of the interval, exclusive.
    pub(crate) fn end(&self) -> UnixNanos {
        UnixNanos(self.begin.0 + self.interval_s * 1_000_000_000)
    }
}
