//! What is kept of one instrument: its trades' ids, its book and its open bars.

use super::checksum::{Checksum, Divisors};
use crate::trades::{Holes, TimedTrades, TradeIds};
use book::Book;
use model::{BookState, GapCause, Instrument, InstrumentId, Side, UnixNanos};

/// Room for a book's levels, so that it allocates once.
const LEVELS_ROOM: usize = 1024;

/// One instrument.
#[derive(Debug)]
pub struct Market {
    pub id: InstrumentId,
    pub price_scale: u8,
    pub size_scale: u8,
    /// From our scales to the venue's precision.
    pub by: Divisors,
    /// Nobody defined it: its scales are learnt from the digits that arrive.
    pub provisional: bool,
    /// Asked for on this connection.
    pub subscribed: bool,
    pub trades: TradeIds,
    /// The same of the older protocol, whose trades have no ids.
    pub unnumbered: TimedTrades,
    pub ladder: Ladder,
    pub bars: Vec<OpenBar>,
}

/// A book and the trust in it.
#[derive(Debug)]
pub struct Ladder {
    pub book: Book,
    pub state: BookState,
    /// Levels a side the venue keeps; 0 while nobody said.
    pub depth: u32,
    pub checksum: Checksum,
    /// The venue's checksum of the book as it stands.
    pub proof: u32,
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

/// A bar that may still change.
#[derive(Clone, Copy, Debug)]
pub struct OpenBar {
    pub interval_s: u32,
    pub begin: UnixNanos,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
    pub vwap: Option<(i64, u8)>,
    pub trades: u64,
}

impl Market {
    /// An instrument of which nothing but its definition is known, and whether its trade ids have no holes.
    pub fn new(definition: &Instrument, contiguous: bool) -> Market {
        Market {
            id: definition.id,
            price_scale: definition.price_scale,
            size_scale: definition.size_scale,
            by: Divisors::default(),
            provisional: true,
            subscribed: false,
            trades: TradeIds::new(contiguous),
            unnumbered: TimedTrades::new(),
            ladder: Ladder {
                book: Book::with_capacity(LEVELS_ROOM),
                state: BookState::Cold,
                depth: 0,
                checksum: Checksum::default(),
                proof: 0,
                time: UnixNanos::ZERO,
                last_recv: UnixNanos::ZERO,
                gap: None,
                broken: false,
                attempts: 0,
                retry_at: None,
                live_since: UnixNanos::ZERO,
            },
            bars: vec![],
        }
    }

    /// The missing trades that are to be fetched first.
    pub fn holes(&self) -> &dyn Holes {
        if self.trades.missing().is_empty() { &self.unnumbered } else { &self.trades }
    }

    /// The venue writes numbers with so many decimals, which are at most our scales.
    pub fn learn_precision(&mut self, price: u8, size: u8) {
        let factor = |scale: u8, precision: u8| 10i64.pow(u32::from(scale.saturating_sub(precision)));
        self.by = Divisors { price: factor(self.price_scale, price), size: factor(self.size_scale, size) };
    }

    /// By what mantissas grow when the scales do; scales never shrink.
    fn factors(&self, price_scale: u8, size_scale: u8) -> (i64, i64) {
        let factor = |from: u8, to: u8| 10i64.pow(u32::from(to.saturating_sub(from)));
        (factor(self.price_scale, price_scale), factor(self.size_scale, size_scale))
    }

    /// Whether everything that is kept fits 64 bits at these scales.
    pub fn fits(&self, price_scale: u8, size_scale: u8) -> bool {
        let (price, size) = self.factors(price_scale, size_scale);
        let levels = self.ladder.book.levels(Side::Buy).chain(self.ladder.book.levels(Side::Sell));
        let mut prices = self.bars.iter().flat_map(|b| [b.open, b.high, b.low, b.close]);
        let mut sizes = self.bars.iter().map(|b| b.volume);
        levels.into_iter().all(|l| l.price.0.checked_mul(price).is_some() && l.size.0.checked_mul(size).is_some())
            && prices.all(|p| p.checked_mul(price).is_some())
            && sizes.all(|s| s.checked_mul(size).is_some())
    }

    /// Brings everything that is kept to wider scales, which must fit.
    pub fn rescale(&mut self, price_scale: u8, size_scale: u8) {
        let (price, size) = self.factors(price_scale, size_scale);
        if (price, size) == (1, 1) {
            return;
        }
        assert!(self.ladder.book.rescale(price, size), "the caller made sure that it fits");
        self.ladder.checksum.forget();
        for b in &mut self.bars {
            for p in [&mut b.open, &mut b.high, &mut b.low, &mut b.close] {
                *p *= price;
            }
            b.volume *= size;
        }
        (self.price_scale, self.size_scale) = (price_scale.max(self.price_scale), size_scale.max(self.size_scale));
    }
}
