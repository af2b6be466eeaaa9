//! What is kept of one instrument: its trades' keys, its book and the trust in it.

use super::recent::Recent;
use crate::Trust;
use book::Book;
use model::{GapCause, Instrument, InstrumentId, Side, UnixNanos};
use std::collections::BTreeSet;

/// Room for a crypto book's levels, so that it allocates once.
const LEVELS_ROOM: usize = 1024;

/// One instrument.
#[derive(Debug)]
pub struct Market {
    pub id: InstrumentId,
    /// A pair of currencies; else a share.
    pub crypto: bool,
    pub price_scale: u8,
    pub size_scale: u8,
    pub trades: Trades,
    pub ladder: Ladder,
}

/// What is known of an instrument's trades.
#[derive(Debug)]
pub struct Trades {
    pub recent: Recent,
    /// The newest time of a trade, by the venue's clock.
    pub newest: UnixNanos,
    /// When the venue first confirmed that trades flow; 0 before.
    pub flows_since: UnixNanos,
    /// From when on every trade was listened to or fetched, by the venue's clock: what REST has of it and nobody told was
    /// hidden. [`Trades::NEVER`] until that is known.
    pub audit_from: UnixNanos,
    /// Trades may be missing since then, and why: a gap to be told before the next trade.
    pub missed: Option<(GapCause, UnixNanos)>,
    /// When nobody listened, and what an earlier run told around that time; there while something is to be fetched.
    pub absence: Option<Box<Absence>>,
}

impl Trades {
    /// A time that no trade has.
    pub const NEVER: UnixNanos = UnixNanos(u64::MAX);
}

impl Default for Trades {
    fn default() -> Trades {
        Trades {
            recent: Recent::default(),
            newest: UnixNanos::ZERO,
            flows_since: UnixNanos::ZERO,
            audit_from: Trades::NEVER,
            missed: None,
            absence: None,
        }
    }
}

/// What is to be fetched of an instrument's trades, and what is known of that time.
#[derive(Debug, Default)]
pub struct Absence {
    /// By the venue's clock; the last one may still be open.
    pub windows: Vec<Window>,
    /// Trades told around the windows by an earlier run, and all told since: id and time.
    pub told: BTreeSet<(u64, UnixNanos)>,
    /// Everything before then was told by an earlier run, as far as anyone can know.
    pub told_until: UnixNanos,
}

/// A time without a connection, by the venue's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub since: UnixNanos,
    /// [`Window::OPEN`] until a trade of the new connection shows where it begins.
    pub until: UnixNanos,
}

impl Window {
    /// The end of a window that nothing has ended yet.
    pub const OPEN: UnixNanos = UnixNanos(u64::MAX);
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
    /// A book was crossed, and no snapshot has mended it yet.
    pub broken: bool,
    pub attempts: u32,
    pub retry_at: Option<UnixNanos>,
    pub live_since: UnixNanos,
}

impl Market {
    /// An instrument of which nothing but its definition is known.
    pub fn new(definition: &Instrument) -> Market {
        let crypto = super::definitions::is_pair(&definition.venue_symbol);
        Market {
            id: definition.id,
            crypto,
            price_scale: definition.price_scale,
            size_scale: definition.size_scale,
            trades: Trades::default(),
            ladder: Ladder {
                book: Book::with_capacity(if crypto { LEVELS_ROOM } else { 0 }),
                trust: Trust::default(),
                time: UnixNanos::ZERO,
                last_recv: UnixNanos::ZERO,
                gap: None,
                broken: false,
                attempts: 0,
                retry_at: None,
                live_since: UnixNanos::ZERO,
            },
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
    }

    /// Brings everything that is kept to wider scales, which must fit.
    pub fn rescale(&mut self, price_scale: u8, size_scale: u8) {
        let (price, size) = self.factors(price_scale, size_scale);
        if (price, size) == (1, 1) {
            return;
        }
        assert!(self.ladder.book.rescale(price, size), "the caller made sure that it fits");
        (self.price_scale, self.size_scale) = (price_scale.max(self.price_scale), size_scale.max(self.size_scale));
    }
}
