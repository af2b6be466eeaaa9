//! The words of the market: price, quantity, side, venue, instrument, time. Everything else is built from these.
//!
//! A price or a size is an exact integer mantissa; the decimal scale that gives it meaning lives in the
//! [`Instrument`]. No type here is made from a float and none reads a clock.
#![forbid(unsafe_code)]

mod decimal;
mod instrument;
mod state;
mod time;
mod venue;

pub use decimal::{Decimal, DecimalError, SCALE_MAX};
pub use instrument::{Instrument, InstrumentId, InstrumentKind, InstrumentStatus, SymbolError, canonical_symbol};
pub use state::{BookState, GapCause, Reason, Scope, StreamKind, StreamState};
pub use time::UnixNanos;
pub use venue::Venue;

use std::fmt;

/// Price in units of `10^-price_scale` quote currency per unit; the scale lives in the [`Instrument`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Price(pub i64);

/// Quantity in units of `10^-size_scale` base currency (or shares); the scale lives in the [`Instrument`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Qty(pub i64);

/// Price times quantity, in units of `10^-(price_scale + size_scale)` quote currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Notional(pub i128);

impl Price {
    /// Exact: the product of two `i64` always fits an `i128`.
    pub fn notional(self, qty: Qty) -> Notional {
        Notional(i128::from(self.0) * i128::from(qty.0))
    }
}

/// Which side of the book, or which side took liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Side {
    /// A bid, or a taker who bought.
    Buy = 1,
    /// An ask, or a taker who sold.
    Sell = 2,
}

impl Side {
    /// The other side: the taker's where the maker's is known.
    pub fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    /// `buy` or `sell`.
    pub fn name(self) -> &'static str {
        match self {
            Side::Buy => "buy",
            Side::Sell => "sell",
        }
    }

    /// The side with this name.
    pub fn from_name(name: &str) -> Option<Side> {
        [Side::Buy, Side::Sell].into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the taker's side of a trade is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SideSource {
    /// The venue names the taker's side.
    #[default]
    ExplicitTaker = 0,
    /// The venue names the maker's side; ours is its opposite.
    InvertedMaker = 1,
    /// Sources disagree about what the venue's field means.
    Disputed = 2,
    /// Derived from prices, not told by the venue.
    Inferred = 3,
}

impl SideSource {
    /// All values, in the order of their codes.
    pub const ALL: [SideSource; 4] =
        [SideSource::ExplicitTaker, SideSource::InvertedMaker, SideSource::Disputed, SideSource::Inferred];

    /// The name used in the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            SideSource::ExplicitTaker => "explicit_taker",
            SideSource::InvertedMaker => "inverted_maker",
            SideSource::Disputed => "disputed",
            SideSource::Inferred => "inferred",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<SideSource> {
        SideSource::ALL.into_iter().find(|s| s.name() == name)
    }
}
