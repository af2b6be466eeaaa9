//! What is traded: the definition that gives every mantissa its meaning.

use crate::{Decimal, Price, Qty, Venue};
use std::fmt;

/// A fixed 32-bit hash of (venue, venue symbol); 0 means "no instrument".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct InstrumentId(pub u32);

impl InstrumentId {
    /// No instrument: a record that speaks of the whole venue.
    pub const NONE: InstrumentId = InstrumentId(0);

    /// FNV-1a over the venue's name, a zero byte and the venue's own symbol, folded to 32 bits. Stable for good:
    /// stored records are read by it. A collision is found when the instruments are registered.
    pub fn of(venue: Venue, venue_symbol: &str) -> InstrumentId {
        let bytes = venue.name().bytes().chain([0]).chain(venue_symbol.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let folded = (hash >> 32) as u32 ^ hash as u32;
        InstrumentId(folded.max(1))
    }
}

impl fmt::Display for InstrumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What kind of thing an instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InstrumentKind {
    /// A currency pair traded spot.
    Spot = 1,
    /// A share or fund.
    Equity = 2,
}

impl InstrumentKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [InstrumentKind; 2] = [InstrumentKind::Spot, InstrumentKind::Equity];

    /// The kind with this code.
    pub const fn from_code(code: u8) -> Option<InstrumentKind> {
        match code {
            1 => Some(InstrumentKind::Spot),
            2 => Some(InstrumentKind::Equity),
            _ => None,
        }
    }
    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            InstrumentKind::Spot => "spot",
            InstrumentKind::Equity => "equity",
        }
    }
    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<InstrumentKind> {
        InstrumentKind::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// Whether an instrument trades at its venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InstrumentStatus {
    /// Trades.
    Trading = 1,
    /// Orders may only be cancelled, or only rest.
    Restricted = 2,
    /// Does not trade now.
    Halted = 3,
    /// Will not trade again.
    Delisted = 4,
    /// The venue has not told us.
    Unknown = 5,
}

impl InstrumentStatus {
    /// Every status, in the order of their codes.
    pub const ALL: [InstrumentStatus; 5] = [
        InstrumentStatus::Trading,
        InstrumentStatus::Restricted,
        InstrumentStatus::Halted,
        InstrumentStatus::Delisted,
        InstrumentStatus::Unknown,
    ];

    /// The status with this code.
    pub const fn from_code(code: u8) -> Option<InstrumentStatus> {
        match code {
            1 => Some(InstrumentStatus::Trading),
            2 => Some(InstrumentStatus::Restricted),
            3 => Some(InstrumentStatus::Halted),
            4 => Some(InstrumentStatus::Delisted),
            5 => Some(InstrumentStatus::Unknown),
            _ => None,
        }
    }
    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            InstrumentStatus::Trading => "trading",
            InstrumentStatus::Restricted => "restricted",
            InstrumentStatus::Halted => "halted",
            InstrumentStatus::Delisted => "delisted",
            InstrumentStatus::Unknown => "unknown",
        }
    }
    /// The status with this name.
    pub fn from_name(name: &str) -> Option<InstrumentStatus> {
        InstrumentStatus::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// One version of an instrument's definition. A change of scale, tick or lot is a new version, told before the
/// first value that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Fixed hash of (venue, venue symbol).
    pub id: InstrumentId,
    /// Where it trades.
    pub venue: Venue,
    /// Canonical symbol: `BTC-USD`, `AAPL`.
    pub symbol: String,
    /// The venue's own spelling: `BTC/USD`, `BTCUSDT`.
    pub venue_symbol: String,
    /// Base currency, or the share itself.
    pub base: String,
    /// Quote currency.
    pub quote: String,
    /// Counts from 1 with every change.
    pub version: u32,
    /// Spot or equity.
    pub kind: InstrumentKind,
    /// Whether it trades.
    pub status: InstrumentStatus,
    /// Decimals of every price mantissa.
    pub price_scale: u8,
    /// Decimals of every size mantissa.
    pub size_scale: u8,
    /// Smallest price step; 0 when the venue did not tell.
    pub tick: Price,
    /// Smallest size step; 0 when the venue did not tell.
    pub lot: Qty,
    /// Smallest order size; 0 when the venue did not tell.
    pub min_size: Qty,
    /// Smallest order value in quote currency; `None` when the venue did not tell.
    pub min_notional: Option<Decimal>,
}

impl Instrument {
    /// A pair that trades, as far as its names and scales tell: the first version, steps and limits not told.
    pub fn pair(venue: Venue, venue_symbol: &str, (base, quote): (&str, &str), scales: (u8, u8)) -> Instrument {
        Instrument {
            id: InstrumentId::of(venue, venue_symbol),
            venue,
            symbol: canonical_symbol(base, quote),
            venue_symbol: venue_symbol.to_owned(),
            base: base.to_owned(),
            quote: quote.to_owned(),
            version: 1,
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            price_scale: scales.0,
            size_scale: scales.1,
            tick: Price(0),
            lot: Qty(0),
            min_size: Qty(0),
            min_notional: None,
        }
    }
}

/// The canonical symbol of a pair: `BTC-USD`, upper case.
pub fn canonical_symbol(base: &str, quote: &str) -> String {
    format!("{}-{}", base.to_uppercase(), quote.to_uppercase())
}

/// Two venue symbols hash to the same id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "instruments {first} and {second} of {venue} share the id {id}; give one of them another id in [instrument_ids]"
)]
pub struct SymbolError {
    /// Where both trade.
    pub venue: Venue,
    /// The symbol registered first.
    pub first: String,
    /// The symbol that collides.
    pub second: String,
    /// The id they share.
    pub id: InstrumentId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fixed_for_good() {
        // Stored records are read by these: a change here is a change of every archive.
        assert_eq!(InstrumentId::of(Venue::Kraken, "BTC/USD").to_string(), "b9530a61");
        assert_eq!(InstrumentId::of(Venue::Binance, "BTCUSDT").to_string(), "5434ac66");
        assert_ne!(InstrumentId::of(Venue::Binance, "BTCUSDT"), InstrumentId::of(Venue::BinanceUs, "BTCUSDT"));
    }
}
