//! What a consumer asks for: which records, from where on, and what is to happen when it is too slow.
//! The same value configures a reader of the rings and is said, as JSON, to a relay.

use crate::history::Reach;
use model::Venue;
use serde::{Deserialize, Serialize};
use wire::RecordType;

/// The most symbols one subscription may name: more than any venue lists, and a bound on what a client makes us keep.
pub const SYMBOLS_MAX: usize = 4096;
/// The most bytes a symbol may have; the records' own limit.
pub const SYMBOL_BYTES_MAX: usize = 64;

/// What a consumer asks for. Empty lists mean "all".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscription {
    /// Venues.
    #[serde(with = "venue_names", skip_serializing_if = "Vec::is_empty")]
    pub venues: Vec<Venue>,
    /// Canonical or venue-spelled symbols, in upper or lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Names of record types ([`RecordType::name`]). They choose among `trade`, `book`, `quote`, `bar` and
    /// `correction`; the records without which data cannot be read (`instrument`, `status`, `gap`, `clock`,
    /// `session_start`, `session_end`, `overrun`) always come. Naming only such a type asks for no market data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Where to start.
    pub from: Start,
    /// Which snapshots its books begin from.
    #[serde(rename = "books", skip_serializing_if = "Snapshots::is_held")]
    pub snapshots: Snapshots,
    /// What happens when the records are overwritten before they are read.
    pub slow: Slow,
    /// Whether the feeds' heartbeat records are wanted.
    pub heartbeats: bool,
}

/// Where a subscription starts, at each venue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// At the next record; definitions, states and books as of then are told first.
    #[default]
    Now,
    /// At the oldest record held, by the journal where there is one; definitions and states as of then are told first.
    Oldest,
    /// At these records, one per venue; definitions and states as of then are told first. What is no longer held is
    /// told as an overrun. A venue not named starts at the oldest record of its ring, so that nothing new to the
    /// consumer is lost.
    Sequence(Vec<Position>),
    /// At the first record held that was received at or after this time, ns since the Unix epoch; definitions, states
    /// and books as of then are told first.
    Time(u64),
}

/// Which snapshots the books of a subscription begin from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snapshots {
    /// The last ones that the rings hold; of books of which they hold none, the feed is asked for one.
    #[default]
    Held,
    /// The feed is asked for one of every book; those held are told first all the same. It comes in the stream, for
    /// all to see, as soon as the feed's pace allows.
    Fresh,
}

impl Snapshots {
    fn is_held(&self) -> bool {
        *self == Snapshots::Held
    }
}

/// The name of a record to start at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Venue.
    #[serde(with = "venue_name")]
    pub venue: Venue,
    /// The run of its feed.
    pub epoch: u64,
    /// The record within the run, from 1.
    pub sequence: u64,
}

/// What happens to a consumer whose next record was overwritten before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slow {
    /// It goes on now: told exactly what it missed, then definitions, states and books anew.
    #[default]
    Skip,
    /// It is told exactly what it missed and gets nothing more.
    Disconnect,
    /// It gets what it missed from the journal, and then goes on. Where there is no journal this is `skip`.
    History,
}

/// Why a subscription makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// No such type.
    #[error(
        "no record type is called {0:?}; the types are trade, book, quote, bar, instrument, correction, order, \
         price_band, status, gap, backfill, overrun, clock, heartbeat, session_start, session_end"
    )]
    UnknownType(String),
    /// Too many symbols.
    #[error("{0} symbols asked for; at most {SYMBOLS_MAX} can be named, none means all")]
    Symbols(usize),
    /// Not a symbol.
    #[error("symbol {0:?} is not 1 to {SYMBOL_BYTES_MAX} bytes long")]
    Symbol(String),
    /// A venue has two start positions.
    #[error("{0} has two start positions")]
    TwoPositions(Venue),
}

/// The types that a list of types chooses among; all others always come.
const CHOSEN: [RecordType; 11] = [
    RecordType::Trade,
    RecordType::LongTrade,
    RecordType::BookChange,
    RecordType::SnapshotBegin,
    RecordType::SnapshotEnd,
    RecordType::Quote,
    RecordType::Bar,
    RecordType::Correction,
    RecordType::Order,
    RecordType::PriceBand,
    RecordType::Heartbeat,
];

impl Subscription {
    /// Checks names and bounds.
    pub fn check(&self) -> Result<(), SubscriptionError> {
        if self.symbols.len() > SYMBOLS_MAX {
            return Err(SubscriptionError::Symbols(self.symbols.len()));
        }
        if let Some(bad) = self.symbols.iter().find(|s| s.is_empty() || s.len() > SYMBOL_BYTES_MAX) {
            return Err(SubscriptionError::Symbol(bad.chars().take(SYMBOL_BYTES_MAX).collect()));
        }
        let known = |name: &String| RecordType::ALL.iter().any(|kind| kind.name() == name);
        if let Some(bad) = self.types.iter().find(|name| !known(name)) {
            return Err(SubscriptionError::UnknownType(bad.chars().take(SYMBOL_BYTES_MAX).collect()));
        }
        if let Start::Sequence(positions) = &self.from {
            for (at, position) in positions.iter().enumerate() {
                if positions[..at].iter().any(|earlier| earlier.venue == position.venue) {
                    return Err(SubscriptionError::TwoPositions(position.venue));
                }
            }
        }
        Ok(())
    }

    /// Whether the venue is wanted.
    pub fn wants_venue(&self, venue: Venue) -> bool {
        self.venues.is_empty() || self.venues.contains(&venue)
    }

    /// Whether records of this type are wanted.
    pub fn wants_type(&self, kind: RecordType) -> bool {
        if kind == RecordType::Heartbeat {
            return self.heartbeats;
        }
        !CHOSEN.contains(&kind) || self.types.is_empty() || self.types.iter().any(|name| name == kind.name())
    }

    /// What a journal, where there is one, is good for at a venue. Where a position was saved for others only, the
    /// venue is new to the consumer, and so is its past.
    pub(crate) fn reach_at(&self, venue: Venue) -> Reach {
        match &self.from {
            Start::Now => Reach::Laps,
            Start::Oldest | Start::Time(_) => Reach::Start,
            Start::Sequence(positions) if positions.iter().any(|at| at.venue == venue) => Reach::Start,
            Start::Sequence(_) => Reach::Laps,
        }
    }

    /// Where to start at a venue.
    pub(crate) fn start_at(&self, venue: Venue) -> ring::From {
        match &self.from {
            Start::Now => ring::From::Now,
            Start::Oldest => ring::From::Oldest,
            Start::Time(ns) => ring::From::Time(*ns),
            Start::Sequence(positions) => positions
                .iter()
                .find(|at| at.venue == venue)
                .map_or(ring::From::Oldest, |at| ring::From::Sequence { epoch: at.epoch, sequence: at.sequence }),
        }
    }
}

mod venue_name {
    use super::{Deserialize, Venue};
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(venue: &Venue, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(venue.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Venue, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod venue_names {
    use super::{Deserialize, Venue};
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(venues: &[Venue], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(venues.iter().map(|venue| venue.name()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Venue>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Subscription, String> {
        let subscription: Subscription = serde_json::from_str(json).map_err(|error| error.to_string())?;
        subscription.check().map_err(|error| error.to_string())?;
        Ok(subscription)
    }

    #[test]
    fn the_json_form_reads_and_writes() {
        let json = r#"{"venues":["kraken"],"symbols":["BTC-USD"],"types":["trade"],"from":{"sequence":[{"venue":"kraken","epoch":7,"sequence":9}]},"slow":"disconnect","heartbeats":true}"#;
        let subscription = read(json).expect("valid");
        assert_eq!(serde_json::to_string(&subscription).expect("writes"), json);
        assert_eq!(subscription.start_at(Venue::Kraken), ring::From::Sequence { epoch: 7, sequence: 9 });
        assert_eq!(subscription.start_at(Venue::Binance), ring::From::Oldest);
        assert_eq!(read("{}"), Ok(Subscription::default()));
        let fresh = Subscription { snapshots: Snapshots::Fresh, ..Subscription::default() };
        assert_eq!(read(r#"{"books":"fresh"}"#), Ok(fresh));
        assert_eq!(read(r#"{"from":{"time":5}}"#).map(|s| s.from), Ok(Start::Time(5)));
    }

    #[test]
    fn what_is_unknown_is_refused_by_name() {
        for (json, words) in [
            (r#"{"venues":["krakn"]}"#, "krakn"),
            (r#"{"types":["trades"]}"#, "trades"),
            (r#"{"symbol":["BTC-USD"]}"#, "symbol"),
            (r#"{"symbols":[""]}"#, "bytes long"),
            (r#"{"from":"yesterday"}"#, "yesterday"),
            (
                r#"{"from":{"sequence":[{"venue":"kraken","epoch":1,"sequence":1},{"venue":"kraken","epoch":2,"sequence":1}]}}"#,
                "two start",
            ),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn control_records_come_with_any_choice_of_types() {
        let trades = Subscription { types: vec!["trade".into()], ..Subscription::default() };
        assert!(trades.wants_type(RecordType::LongTrade));
        assert!(!trades.wants_type(RecordType::BookChange));
        assert!(!trades.wants_type(RecordType::Heartbeat));
        for kind in [RecordType::Instrument, RecordType::Status, RecordType::Gap, RecordType::SessionStart] {
            assert!(trades.wants_type(kind));
        }
    }
}
