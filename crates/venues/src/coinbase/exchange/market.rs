//! What is kept of one instrument: its trades' ids, its book and, where the book is made of them, its orders.

use super::orders::Orders;
use crate::Trust;
use crate::trades::TradeIds;
use book::Book;
use model::{GapCause, Instrument, InstrumentId, Side, UnixNanos};

/// One instrument.
#[derive(Debug)]
pub struct Market {
    pub id: InstrumentId,
    pub price_scale: u8,
    pub size_scale: u8,
    /// Nobody defined it: its scales are learnt from the digits that arrive.
    pub provisional: bool,
    /// Asked for on this connection.
    pub subscribed: bool,
    /// Its book is made of orders.
    pub full: bool,
    pub trades: Trades,
    pub ladder: Ladder,
    pub orders: Box<Orders>,
    /// What the last heartbeat said.
    pub beat: Beat,
}

/// What is known of an instrument's trades.
#[derive(Debug)]
pub struct Trades {
    pub ids: TradeIds,
    /// The venue's sequence of the last trade; 0 before the first.
    pub sequence: u64,
}

/// What a heartbeat said that was not heard of otherwise: it may only have overtaken it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beat {
    /// The product's sequence.
    pub sequence: Option<u64>,
    /// The last trade, when it was not told yet.
    pub trade: Option<u64>,
    /// The product's sequence, when its orders were not told as far.
    pub order: Option<u64>,
}

/// A book and the trust in it.
#[derive(Debug)]
pub struct Ladder {
    pub book: Book,
    pub trust: Trust,
    pub time: UnixNanos,
    pub last_recv: UnixNanos,
    /// A gap to be told with the next snapshot, and since when.
    pub gap: Option<(GapCause, UnixNanos)>,
    /// A proof failed, and no snapshot has mended it yet.
    pub broken: bool,
    pub attempts: u32,
    pub retry_at: Option<UnixNanos>,
    pub live_since: UnixNanos,
}

impl Market {
    /// An instrument of which nothing but its definition is known.
    pub fn new(definition: &Instrument, full: bool, contiguous: bool) -> Market {
        Market {
            id: definition.id,
            price_scale: definition.price_scale,
            size_scale: definition.size_scale,
            provisional: true,
            subscribed: false,
            full,
            trades: Trades { ids: TradeIds::new(contiguous), sequence: 0 },
            ladder: Ladder {
                book: Book::default(),
                trust: Trust::default(),
                time: UnixNanos::ZERO,
                last_recv: UnixNanos::ZERO,
                gap: None,
                broken: false,
                attempts: 0,
                retry_at: None,
                live_since: UnixNanos::ZERO,
            },
            orders: Box::default(),
            beat: Beat::default(),
        }
    }

    /// By what mantissas grow when the scales do; scales never shrink.
    fn factors(&self, price_scale: u8, size_scale: u8) -> (i64, i64) {
        let factor = |from: u8, to: u8| 10i64.pow(u32::from(to.saturating_sub(from)));
        (factor(self.price_scale, price_scale), factor(self.size_scale, size_scale))
    }

    /// Whether everything that is kept fits 64 bits at these scales.
    pub fn fits(&self, price_scale: u8, size_scale: u8) -> bool {
        let (price, size) = self.factors(price_scale, size_scale);
        let mut levels = self.ladder.book.levels(Side::Buy).chain(self.ladder.book.levels(Side::Sell));
        levels.all(|l| l.price.0.checked_mul(price).is_some() && l.size.0.checked_mul(size).is_some())
            && self.orders.fit(price, size)
    }

    /// Brings everything that is kept to wider scales, which must fit.
    pub fn rescale(&mut self, price_scale: u8, size_scale: u8) {
        let (price, size) = self.factors(price_scale, size_scale);
        if (price, size) == (1, 1) {
            return;
        }
        assert!(self.ladder.book.rescale(price, size), "the caller made sure that it fits");
        self.orders.rescale(price, size);
        (self.price_scale, self.size_scale) = (price_scale.max(self.price_scale), size_scale.max(self.size_scale));
    }
}
