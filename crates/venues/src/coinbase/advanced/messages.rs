//! The venue's words, typed: what a frame says, before anything is done about it.
//!
//! A frame is read whole into [`Scratch`], by [`super::fast`], [`super::any_order`] or [`super::exact`], and only then
//! acted on, so that a frame that cannot be read changes nothing. Everything here is used again for the next frame.

use super::market::Market;
use crate::{FrameError, Known};
use model::{Decimal, InstrumentStatus, Price, Qty, Side, UnixNanos};
use scan::{DayCache, Shape, SymbolTable};
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
    pub kind: Kind,
    /// As the venue names it, whoever's it is.
    pub side: Option<Side>,
    pub price: i64,
    pub size: i64,
    pub id: u64,
    pub time: UnixNanos,
}

/// One level of an update.
#[derive(Clone, Copy, Debug)]
pub struct LevelMessage {
    pub side: Side,
    pub price: i64,
    pub size: i64,
    /// 0 when the venue does not say.
    pub time: UnixNanos,
}

/// One book's snapshot or update.
#[derive(Clone, Debug)]
pub struct BookMessage {
    pub target: Target,
    pub kind: Kind,
    /// An update's levels, in [`Scratch::levels`].
    pub levels: Range<usize>,
    /// A snapshot's, in [`Scratch::bids`] and [`Scratch::asks`].
    pub bids: Range<usize>,
    pub asks: Range<usize>,
    /// Of a snapshot's first level; 0 when the venue does not say.
    pub time: UnixNanos,
}

/// A ticker's best bid and offer.
#[derive(Clone, Copy, Debug)]
pub struct QuoteMessage {
    pub target: Target,
    pub kind: Kind,
    pub bid: Option<(i64, i64)>,
    pub ask: Option<(i64, i64)>,
}

/// A candle as it stands.
#[derive(Clone, Copy, Debug)]
pub struct BarMessage {
    pub target: Target,
    pub kind: Kind,
    pub begin: UnixNanos,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
}

/// What defines a product, wherever it is said.
#[derive(Clone, Debug)]
pub struct Product {
    pub id: String,
    pub base: String,
    pub quote: String,
    pub status: InstrumentStatus,
    pub tick: Option<Decimal>,
    pub lot: Option<Decimal>,
    pub min_size: Option<Decimal>,
    pub min_notional: Option<Decimal>,
}

/// What a frame is; the data is in [`Scratch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Trades,
    Books,
    Quotes,
    Bars,
    Heartbeat,
    Products,
    Subscriptions,
    Error,
    /// A channel of the protocol that is not used here.
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
    /// The frame's number on its connection; absent on errors and unknown frames alone.
    pub sequence: Option<u64>,
    /// When the venue sent the frame; 0 where that was not read, as it is of no use there.
    pub time: UnixNanos,
    pub trades: Vec<TradeMessage>,
    pub books: Vec<BookMessage>,
    pub levels: Vec<LevelMessage>,
    pub bids: Vec<(Price, Qty)>,
    pub asks: Vec<(Price, Qty)>,
    pub quotes: Vec<QuoteMessage>,
    pub bars: Vec<BarMessage>,
    pub products: Vec<Product>,
    /// The heartbeat's own count.
    pub beat: Option<u64>,
    /// What the venue says is wrong.
    pub error: String,
    /// Instruments this frame is the first to name.
    pub names: Vec<String>,
    pub scales: Vec<Scales>,
    /// A number did not fit the scales at hand: the frame must be read again with those in [`Scratch::scales`].
    pub again: bool,
    pub unknown_fields: u64,
    pub unknown_symbols: u64,
    /// Tickers that name no best bid and offer at all, as those of old captures.
    pub without_quotes: u64,
    pub days: DayCache,
    pub like: Like,
}

/// The product of the last trade, as it stood in the frame with its closing quote: trades of one product come in rows,
/// and a name once found stays its instrument's.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastProduct {
    text: u128,
    /// The bytes of `text` that are its; none when there was no trade or its name is too long.
    mask: u128,
    len: usize,
    index: Known,
}

impl LastProduct {
    /// Whether `window` begins with the product: its index and how many bytes its name has.
    #[inline(always)]
    pub fn find(&self, window: &[u8; 16]) -> Option<(Known, usize)> {
        let fits = (u128::from_le_bytes(*window) ^ self.text) & self.mask == 0;
        (fits && self.mask != 0).then_some((self.index, self.len))
    }

    /// Takes note of a name that was looked up.
    pub fn note(&mut self, name: &[u8], index: Known) {
        let mut text = [0; 16];
        *self = LastProduct::default();
        if name.len() < text.len() {
            text[..name.len()].copy_from_slice(name);
            text[name.len()] = b'"';
            let unused = 8 * (text.len() - name.len() - 1) as u32;
            *self = LastProduct { text: u128::from_le_bytes(text), mask: u128::MAX >> unused, len: name.len(), index };
        }
    }
}

/// How long the last numbers of each kind were: a guess at the next ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Like {
    pub product: LastProduct,
    pub price: Shape,
    pub size: Shape,
    /// Digits of a trade's id.
    pub id: usize,
    /// Digits of a frame's number.
    pub sequence: usize,
}

impl Scratch {
    /// Ready for a frame; the scales and names stay when it is read a second time.
    #[inline]
    pub fn clear(&mut self) {
        self.trades.clear();
        self.books.clear();
        self.levels.clear();
        self.bids.clear();
        self.asks.clear();
        self.quotes.clear();
        (self.sequence, self.time, self.beat) = (None, UnixNanos::ZERO, None);
    }

    /// Ready for the exact reading of a frame.
    pub fn clear_all(&mut self) {
        self.clear();
        self.bars.clear();
        self.products.clear();
        self.error.clear();
        self.again = false;
        (self.unknown_fields, self.unknown_symbols, self.without_quotes) = (0, 0, 0);
    }
}

/// What reading needs to know of the machine.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Which instrument data of a name belongs to: a product's own name or the one its data bears.
    pub names: &'a SymbolTable<Known>,
    pub markets: &'a [Market],
    /// Instruments are learnt from whatever arrives.
    pub learns: bool,
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
