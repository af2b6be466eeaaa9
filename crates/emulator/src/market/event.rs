//! What one step of the market did, as the venues' writers read it.

use model::{Price, Qty, Side, UnixNanos};

use super::Trade;
use super::orders::OrderEvent;

/// What an event was for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// The best level of a side changed without a trade.
    Touch,
    /// A taker met one or more resting orders.
    Trade,
    /// Levels behind the best ones changed.
    Deep,
    /// Nothing was traded or ordered: the instrument itself is another now.
    Reference,
}

/// One level's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) side: Side,
    pub(crate) price: Price,
    /// Size before; 0 where the level is new.
    pub(crate) before: Qty,
    /// Size now; 0 where the level is gone.
    pub(crate) after: Qty,
}

/// What one step did to one instrument.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) pair: usize,
    pub(crate) kind: EventKind,
    pub(crate) time: UnixNanos,
    /// In the order in which they happened; a level may change more than once.
    pub(crate) changes: Vec<Change>,
    /// Of one taker; several where it met several orders.
    pub(crate) trades: Vec<Trade>,
    /// What it was in orders, with their sequences; empty where nobody is told.
    pub(crate) orders: Vec<(u64, OrderEvent)>,
}

impl Event {
    /// An event in which nothing happened yet.
    pub(crate) fn none() -> Self {
        let (changes, trades) = (Vec::with_capacity(16), Vec::with_capacity(16));
        Self { pair: 0, kind: EventKind::Deep, time: UnixNanos::ZERO, changes, trades, orders: Vec::new() }
    }

    /// Forgets the last event.
    pub(crate) fn begin(&mut self, pair: usize, time: UnixNanos) {
        (self.pair, self.time) = (pair, time);
        self.changes.clear();
        self.trades.clear();
        self.orders.clear();
    }
}
