//! What is taken of each venue and how far it is proven: data, from which the table in `docs/venues.md` is made.

use model::Venue;

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maturity {
    /// Frames the venue sent were decoded, every number compared and every proof it offers checked.
    Recorded,
    /// The venue's documented examples decode; whole sessions come from the emulator alone.
    Emulated,
    /// Read from the documents; nothing of the venue itself was at hand.
    Documented,
}

impl Maturity {
    /// The word in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Maturity::Recorded => "recorded",
            Maturity::Emulated => "emulated",
            Maturity::Documented => "documented",
        }
    }
}

/// One channel of a venue.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// The protocol it belongs to, where a venue has several.
    pub protocol: &'static str,
    /// The venue's name of it.
    pub name: &'static str,
    /// The records it becomes.
    pub records: &'static str,
    /// What proves that nothing is missing or wrong.
    pub proof: &'static str,
    /// How far it has come.
    pub maturity: Maturity,
    /// The capture or client that shows it.
    pub proven_by: &'static str,
}

impl Channel {
    /// A row of the table, in its order.
    pub const fn of(
        protocol: &'static str,
        name: &'static str,
        records: &'static str,
        proof: &'static str,
        maturity: Maturity,
        proven_by: &'static str,
    ) -> Channel {
        Channel { protocol, name, records, proof, maturity, proven_by }
    }
}

/// The channels taken of a venue.
pub fn channels(venue: Venue) -> &'static [Channel] {
    match venue {
        Venue::Coinbase => crate::coinbase::CHANNELS,
        Venue::Alpaca => crate::alpaca::CHANNELS,
        Venue::Kraken => crate::kraken::CHANNELS,
        Venue::Binance => crate::binance::CHANNELS,
        Venue::BinanceUs => crate::binance::US_CHANNELS,
    }
}
