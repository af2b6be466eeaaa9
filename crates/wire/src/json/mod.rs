//! The JSON form of the records: the same facts for people, scripts and browsers.
//!
//! Prices and sizes are decimal strings, times integers in ns since the Unix epoch, UTC; epoch and sequence are plain
//! fields. The changes of one book event fold into one line with `seq_first` and `seq`; whether a level was new or
//! only changed is told by the binary record alone. records -> [`Encoder`] -> [`Line`] -> [`Decoder`] -> records.
//! The schema is generated from the line types.

mod decode;
mod encode;
mod lines;

pub use decode::{Decoder, Span, mantissa, price, qty, status_of_names};
pub use encode::{EVENT_LEVELS_MAX, Encoder};
pub use lines::{
    BackfillLine, BarLine, BookLine, ClockLine, CorrectionLine, GapLine, HeartbeatLine, InstrumentLine, Line,
    OrderLine, OverrunLine, PriceBandLine, QuoteLine, SessionEndLine, SessionStartLine, StatusLine, TradeLine,
};

use crate::{Header, Record, RecordError, TextError};
use model::{Decimal, Instrument, InstrumentId, Venue};
use std::collections::HashMap;

/// Why a record has no JSON form, or a line no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The record is broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A text of the line is too long for its record.
    #[error(transparent)]
    Text(#[from] TextError),
    /// No definition of the instrument came before it.
    #[error("instrument {id} of {venue} is not defined yet: its scale is unknown")]
    UnknownInstrument {
        /// The id in the record.
        id: InstrumentId,
        /// The venue in the record.
        venue: String,
    },
    /// No definition of the symbol came before the line.
    #[error("symbol {symbol:?} of {venue} is not defined yet: its scale is unknown")]
    UnknownSymbol {
        /// The symbol in the line.
        symbol: String,
        /// The venue in the line.
        venue: Venue,
    },
    /// Two instruments of a venue have the line's symbol.
    #[error("symbol {symbol:?} of {venue} is the instruments {first} and {second}: the line does not say which")]
    AmbiguousSymbol {
        /// The symbol in the line.
        symbol: String,
        /// The venue in the line.
        venue: Venue,
        /// One instrument.
        first: InstrumentId,
        /// The other.
        second: InstrumentId,
    },
    /// The venue's code means nothing to this build.
    #[error("record of type {kind} comes from a venue this build does not know")]
    UnknownVenue {
        /// The type byte.
        kind: u8,
    },
    /// A snapshot ended that is not whole.
    #[error("snapshot of instrument {id} is not whole: {problem}")]
    TornSnapshot {
        /// The instrument.
        id: InstrumentId,
        /// What is wrong with it.
        problem: String,
    },
    /// A book event without an end.
    #[error("book event of instrument {id} has more than {EVENT_LEVELS_MAX} levels")]
    EventTooLong {
        /// The instrument.
        id: InstrumentId,
    },
    /// A text of the line is no value of its field.
    #[error("field {field}: {value:?} {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The text is not the JSON form of a record.
    #[error("no line of the JSON form: {0}")]
    Line(String),
}

/// The definitions seen so far.
#[derive(Debug, Default, Clone)]
pub struct Instruments {
    // An id is a hash that is unique within its venue; across venues only the pair is.
    by_id: HashMap<(Venue, InstrumentId), Instrument>,
}

impl Instruments {
    /// No definitions.
    pub fn new() -> Instruments {
        Instruments::default()
    }

    /// Takes in a definition.
    pub fn insert(&mut self, i: Instrument) {
        self.by_id.insert((i.venue, i.id), i);
    }

    /// Takes in the record if it is a definition.
    pub fn observe(&mut self, record: &Record<'_>) {
        if let Record::Instrument(view) = record
            && let Some(instrument) = view.to_instrument()
        {
            self.insert(instrument);
        }
    }

    /// The definition with this id, of the first venue that uses it. Where the venue is known, [`Instruments::of`]
    /// cannot take one venue's instrument for another's.
    #[inline]
    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        Venue::ALL.iter().find_map(|venue| self.by_id.get(&(*venue, id)))
    }

    /// The definition of the instrument a record speaks of.
    #[inline]
    pub fn of(&self, header: &Header) -> Option<&Instrument> {
        self.by_id.get(&(header.venue()?, header.instrument()))
    }

    /// The definition of a canonical symbol at a venue; the one with the least id when several share it.
    pub fn find(&self, venue: Venue, symbol: &str) -> Option<&Instrument> {
        self.named(venue, symbol).min_by_key(|i| i.id)
    }

    /// The only definition of a canonical symbol at a venue.
    fn only(&self, venue: Venue, symbol: &str) -> Result<&Instrument, JsonError> {
        let unknown = || JsonError::UnknownSymbol { symbol: symbol.to_owned(), venue };
        let first = self.find(venue, symbol).ok_or_else(unknown)?;
        match self.named(venue, symbol).find(|i| i.id != first.id) {
            None => Ok(first),
            Some(other) => {
                Err(JsonError::AmbiguousSymbol { symbol: symbol.to_owned(), venue, first: first.id, second: other.id })
            }
        }
    }

    fn named<'a, 's>(&'a self, venue: Venue, symbol: &'s str) -> impl Iterator<Item = &'a Instrument> + use<'a, 's> {
        self.by_id.values().filter(move |i| i.venue == venue && i.symbol == symbol)
    }

    /// All definitions, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.by_id.values()
    }
}

/// A mantissa as decimal text, without trailing zeros.
pub fn decimal(mantissa: i64, scale: u8) -> String {
    Decimal::new(mantissa.into(), scale).to_string()
}

/// The JSON Schema of every line, generated from the types above.
pub fn schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(Line)).expect("a schema is plain JSON")
}
