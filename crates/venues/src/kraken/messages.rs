//! The venue's words, typed: what a frame says, before anything is done about it.
//!
//! A frame is read whole into [`Scratch`], by the protocol's readings, and only then acted on, so that a
//! frame that cannot be read changes nothing. Everything here is used again for the next frame.

use super::market::Market;
use crate::{FrameError, InstrumentSet, Known};
use model::{InstrumentStatus, Side, UnixNanos};
use scan::DayCache;
use std::ops::Range;

/// Whether data is what was before or what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The state so far.
    Snapshot,
    /// News.
    Update,
}

/// Whom data is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An instrument we have.
    Known(Known),
    /// The n-th of [`Scratch::names`]: to be learnt from this frame.
    New(usize),
}

/// A trade as sent; mantissas at the target's scales.
#[derive(Clone, Copy, Debug)]
pub struct TradeMessage {
    pub target: Target,
    pub side: Side,
    pub price: i64,
    pub size: i64,
    /// The older protocol gives none.
    pub id: Option<u64>,
    pub time: UnixNanos,
}

/// One book's snapshot or update; its levels lie in [`Scratch::bids`] and [`Scratch::asks`].
#[derive(Clone, Debug)]
pub struct BookMessage {
    pub target: Target,
    pub bids: Range<usize>,
    pub asks: Range<usize>,
    /// Which side the venue wrote first.
    pub asks_first: bool,
    /// Snapshots of the older protocol have none.
    pub checksum: Option<u32>,
    pub time: UnixNanos,
    /// The most decimals of prices and sizes as written, where they are to be learnt from.
    pub digits: Option<(u8, u8)>,
    /// The depth the book is sent with, where the frame says so.
    pub depth: Option<u32>,
}

/// A ticker's best bid and offer.
#[derive(Clone, Copy, Debug)]
pub struct QuoteMessage {
    pub target: Target,
    pub bid: Option<(i64, i64)>,
    pub ask: Option<(i64, i64)>,
    pub time: UnixNanos,
}

/// A bar as it stands.
#[derive(Clone, Copy, Debug)]
pub struct BarMessage {
    pub target: Target,
    pub begin: UnixNanos,
    pub interval_s: u32,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
    /// Mantissa and scale.
    pub vwap: Option<(i64, u8)>,
    pub trades: u64,
}

/// One pair of the instrument channel.
#[derive(Clone, Debug)]
pub struct Pair {
    pub symbol: String,
    pub base: String,
    pub quote: String,
    pub status: InstrumentStatus,
    pub price_precision: u8,
    pub size_precision: u8,
    pub tick: model::Decimal,
    pub lot: model::Decimal,
    pub min_size: model::Decimal,
    pub min_notional: Option<model::Decimal>,
}

/// The venue's answer to a request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub method: String,
    pub request: Option<u64>,
    pub success: Option<bool>,
    pub error: String,
    pub symbol: String,
    pub channel: String,
    pub depth: Option<u32>,
}

/// The venue's own state.
#[derive(Clone, Debug, Default)]
pub struct System {
    pub system: String,
    pub version: String,
    pub connection: Option<u64>,
}

/// What a frame is; the data is in [`Scratch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Heartbeat,
    Trades(Kind),
    Books(Kind),
    Quotes(Kind),
    /// With the time the venue sent it.
    Bars(Kind, UnixNanos),
    Pairs(Kind),
    System,
    Answer,
    /// A type of the protocol that is not used here.
    Unused,
    Unknown,
}

/// The scales a frame's numbers were read with, where they are not those of the instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    pub target: Target,
    pub price: u8,
    pub size: u8,
}

/// The data of one frame, and room for the next one's.
#[derive(Debug, Default)]
pub struct Scratch {
    pub trades: Vec<TradeMessage>,
    pub books: Vec<BookMessage>,
    pub bids: Vec<(i64, i64)>,
    pub asks: Vec<(i64, i64)>,
    pub quotes: Vec<QuoteMessage>,
    pub bars: Vec<BarMessage>,
    pub pairs: Vec<Pair>,
    pub answer: Answer,
    pub systems: Vec<System>,
    /// Instruments this frame is the first to name.
    pub names: Vec<String>,
    pub scales: Vec<Scales>,
    /// A number did not fit the scales at hand: the frame must be read again with those in [`Scratch::scales`].
    pub again: bool,
    pub unknown_fields: u64,
    pub unknown_symbols: u64,
    pub days: DayCache,
}

impl Scratch {
    /// Ready for a frame; the scales and names stay when it is read a second time.
    #[inline]
    pub fn clear(&mut self) {
        self.trades.clear();
        self.books.clear();
        self.bids.clear();
        self.asks.clear();
        self.quotes.clear();
        self.bars.clear();
    }

    /// Ready for the exact reading of a frame.
    pub fn clear_all(&mut self) {
        self.clear();
        self.pairs.clear();
        self.systems.clear();
        self.again = false;
        (self.unknown_fields, self.unknown_symbols) = (0, 0);
    }
}

/// What reading needs to know of the machine.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub instruments: &'a InstrumentSet,
    pub markets: &'a [Market],
    /// Symbols asked for, in either spelling; empty when whatever arrives is learnt.
    pub wanted: &'a [super::machine::Wanted],
}

impl View<'_> {
    /// Whether instruments are learnt from whatever arrives.
    pub fn learns(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// Names the field that could not be read.
pub trait Named<T> {
    /// The same result, with the field's name in the error.
    fn of(self, field: &'static str) -> Result<T, FrameError>;
}

impl<T> Named<T> for Result<T, scan::JsonError> {
    fn of(self, field: &'static str) -> Result<T, FrameError> {
        self.map_err(|e| FrameError { offset: e.offset, field, problem: format!("expected {}", e.expected) })
    }
}

impl<T> Named<T> for Result<T, scan::ReadError> {
    fn of(self, field: &'static str) -> Result<T, FrameError> {
        match self {
            Ok(value) => Ok(value),
            Err(scan::ReadError::Json(e)) => Err(e).of(field),
            Err(scan::ReadError::Number { offset, source }) => {
                Err(FrameError { offset, field, problem: source.to_string() })
            }
        }
    }
}
