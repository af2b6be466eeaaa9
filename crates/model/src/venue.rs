//! The venues, by the one name each has in files, flags, records and metrics.

use std::{fmt, str::FromStr};

/// A trading venue. Its code fits the six bits the record header gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Venue {
    /// Coinbase Exchange and Advanced Trade.
    Coinbase = 1,
    /// Kraken spot.
    Kraken = 2,
    /// Binance spot.
    Binance = 3,
    /// Binance.US spot.
    BinanceUs = 4,
    /// Alpaca: US equities and crypto.
    Alpaca = 5,
}

impl Venue {
    /// Every venue, in the order of their codes.
    pub const ALL: [Venue; 5] = [Venue::Coinbase, Venue::Kraken, Venue::Binance, Venue::BinanceUs, Venue::Alpaca];

    /// The code in a record header; never 0, which means "no venue".
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The venue with this code.
    pub const fn from_code(code: u8) -> Option<Venue> {
        match code {
            1 => Some(Venue::Coinbase),
            2 => Some(Venue::Kraken),
            3 => Some(Venue::Binance),
            4 => Some(Venue::BinanceUs),
            5 => Some(Venue::Alpaca),
            _ => None,
        }
    }

    /// The name used everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Venue::Coinbase => "coinbase",
            Venue::Kraken => "kraken",
            Venue::Binance => "binance",
            Venue::BinanceUs => "binance_us",
            Venue::Alpaca => "alpaca",
        }
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no venue's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no venue is called {0:?}; the venues are coinbase, kraken, binance, binance_us, alpaca")]
pub struct UnknownVenue(pub String);

impl FromStr for Venue {
    type Err = UnknownVenue;
    fn from_str(s: &str) -> Result<Venue, UnknownVenue> {
        Venue::ALL.into_iter().find(|v| v.name() == s).ok_or_else(|| UnknownVenue(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_to_the_venue() {
        for v in Venue::ALL {
            assert_eq!(Venue::from_code(v.code()), Some(v));
            assert_eq!(v.name().parse(), Ok(v));
            assert!(v.code() < 64);
        }
        assert_eq!(Venue::from_code(0), None);
        assert!("Kraken".parse::<Venue>().is_err());
    }
}
