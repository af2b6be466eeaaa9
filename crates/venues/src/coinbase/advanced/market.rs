//! What is kept of one instrument: its trades' ids, its book and its open bar.

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
    /// The name its data bears and it is subscribed to by: that of the product it is only another name of, if it is.
    pub data_name: String,
    /// Asked for on this connection.
    pub subscribed: bool,
    pub trades: TradeIds,
    pub ladder: Ladder,
    pub bar: Option<OpenBar>,
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
    /// A hole made it suspect, and no snapshot has mended it yet.
    pub broken: bool,
}

/// The candle that may still change.
#[derive(Clone, Copy, Debug)]
pub struct OpenBar {
    pub begin: UnixNanos,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
}

impl Market {
    /// An instrument of which nothing has arrived.
    /// `contiguous`: trade ids follow one another without holes.
    pub fn new(definition: &Instrument, data_name: String, contiguous: bool) -> Market {
        Market {
            id: definition.id,
            price_scale: definition.price_scale,
            size_scale: definition.size_scale,
            data_name,
            subscribed: false,
            trades: TradeIds::new(contiguous),
            ladder: Ladder {
                book: Book::default(),
                trust: Trust::default(),
                time: UnixNanos::ZERO,
                last_recv: UnixNanos::ZERO,
                gap: None,
                broken: false,
            },
            bar: None,
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
        let mut prices = self.bar.iter().flat_map(|b| [b.open, b.high, b.low, b.close]);
        levels.all(|l| l.price.0.checked_mul(price).is_some() && l.size.0.checked_mul(size).is_some())
            && prices.all(|p| p.checked_mul(price).is_some())
            && self.bar.is_none_or(|b| b.volume.checked_mul(size).is_some())
    }

    /// Brings everything that is kept to wider scales, which must fit.
    pub fn rescale(&mut self, price_scale: u8, size_scale: u8) {
        let (price, size) = self.factors(price_scale, size_scale);
        if (price, size) == (1, 1) {
            return;
        }
        assert!(self.ladder.book.rescale(price, size), "the caller made sure that it fits");
        if let Some(b) = &mut self.bar {
            for p in [&mut b.open, &mut b.high, &mut b.low, &mut b.close] {
                *p *= price;
            }
            b.volume *= size;
        }
        (self.price_scale, self.size_scale) = (price_scale.max(self.price_scale), size_scale.max(self.size_scale));
    }
}
