//! The venue's words, typed: what a frame says, before anything is done about it.
//!
//! A frame is read whole into [`Scratch`], by [`super::fast`], [`super::packed`] or [`super::exact`], and only then acted
//! on, so that a frame that cannot be read changes nothing. Everything here is used again for the next frame.

use super::market::Market;
use crate::{FrameError, InstrumentSet, Known};
use model::{Side, UnixNanos};
use scan::DayCache;
use std::ops::Range;

/// Whom data is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An instrument we have.
    Known(Known),
    /// The n-th of [`Scratch::names`]: to be learnt from this frame.
    New(usize),
}

/// A text within [`Scratch::texts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    from: u32,
    len: u8,
}

/// The longest list of conditions that is told.
pub const CONDITIONS_MAX: usize = 255;

/// The longest code of an exchange or tape that is told.
pub const CODE_MAX: usize = 64;

/// A trade as sent; mantissas at the target's scales.
#[derive(Clone, Copy, Debug)]
pub struct TradeMessage {
    pub target: Target,
    /// The taker's; shares have none.
    pub side: Option<Side>,
    pub price: i64,
    pub size: i64,
    pub id: Option<u64>,
    pub time: UnixNanos,
    /// Comma-separated.
    pub conditions: Span,
    pub exchange: Span,
    pub tape: Span,
}

/// Best bid and offer; a side is `None` where there is none.
#[derive(Clone, Copy, Debug)]
pub struct QuoteMessage {
    pub target: Target,
    pub bid: Option<(i64, i64)>,
    pub ask: Option<(i64, i64)>,
    pub time: UnixNanos,
}

/// A book's whole content or its changes; the levels lie in [`Scratch::bids`] and [`Scratch::asks`].
#[derive(Clone, Debug)]
pub struct BookMessage {
    pub target: Target,
    pub bids: Range<usize>,
    pub asks: Range<usize>,
    /// The levels are all there are.
    pub reset: bool,
    pub time: UnixNanos,
}

/// Which of the venue's bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// A minute that is over.
    Minute,
    /// A minute told before, corrected by a late trade.
    Updated,
    /// The day so far.
    Daily,
}

/// A bar.
#[derive(Clone, Copy, Debug)]
pub struct BarMessage {
    pub target: Target,
    pub kind: BarKind,
    pub begin: UnixNanos,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
    /// Mantissa and scale.
    pub vwap: Option<(i64, u8)>,
    pub trades: u64,
}

/// A change of a share's trading status.
#[derive(Clone, Debug)]
pub struct StatusMessage {
    pub target: Target,
    pub status: String,
    pub status_text: String,
    pub reason: String,
    pub reason_text: String,
    pub time: UnixNanos,
}

/// The prices a share may trade between.
#[derive(Clone, Copy, Debug)]
pub struct BandMessage {
    pub target: Target,
    pub lower: Option<i64>,
    pub upper: Option<i64>,
    pub indicator: u8,
    pub time: UnixNanos,
}

/// An earlier trade is cancelled or, with what it is now, corrected.
#[derive(Clone, Copy, Debug)]
pub struct CorrectionMessage {
    pub target: Target,
    pub id: u64,
    /// Id, price and size.
    pub corrected: Option<(u64, i64, i64)>,
    pub exchange: Span,
    pub time: UnixNanos,
}

/// What the venue says of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `connected` or `authenticated`.
    Success(String),
    /// A code and its text.
    Error(u64, String),
    /// Every subscription there is: channels and their symbols.
    Subscription(Vec<(String, Vec<String>)>),
}

/// One message of a frame.
#[derive(Clone, Debug)]
pub enum Item {
    Trade(TradeMessage),
    Quote(QuoteMessage),
    Book(BookMessage),
    Bar(Box<BarMessage>),
    Status(Box<StatusMessage>),
    Band(BandMessage),
    Correction(CorrectionMessage),
    Control(Box<Control>),
    /// A type of the protocol that is not used here.
    Unused,
    Unknown,
    /// About a symbol nobody asked for.
    Stranger,
}

/// The scales a frame's numbers are read with, where they are not those of the instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    pub target: Target,
    pub price: u8,
    pub size: u8,
}

/// The data of one frame, and room for the next one's.
#[derive(Debug, Default)]
pub struct Scratch {
    pub items: Vec<Item>,
    pub bids: Vec<(i64, i64)>,
    pub asks: Vec<(i64, i64)>,
    texts: String,
    /// Instruments this frame is the first to name.
    pub names: Vec<String>,
    pub scales: Vec<Scales>,
    /// A number did not fit the scales at hand: the frame must be read again with those in [`Scratch::scales`].
    pub again: bool,
    pub unknown_fields: u64,
    pub days: DayCache,
}

impl Scratch {
    /// Ready for a reading; the scales and names stay when a frame is read a second time.
    #[inline]
    pub fn clear(&mut self) {
        self.items.clear();
        self.bids.clear();
        self.asks.clear();
        self.texts.clear();
        self.unknown_fields = 0;
        self.again = false;
    }

    /// Keeps a text; `None` when it is longer than `max`, which is at most 255.
    #[inline]
    pub fn keep(&mut self, text: &str, max: usize) -> Option<Span> {
        let len = u8::try_from(text.len()).ok().filter(|_| text.len() <= max)?;
        let from = self.texts.len() as u32;
        self.add(text);
        Some(Span { from, len })
    }

    /// Nearly every text is one letter, which needs no copy of unknown length.
    #[inline(always)]
    fn add(&mut self, text: &str) {
        match text.as_bytes() {
            [letter] => self.texts.push(char::from(*letter)),
            _ => self.texts.push_str(text),
        }
    }

    /// Where a list of conditions begins.
    #[inline]
    pub fn begin_list(&self) -> usize {
        self.texts.len()
    }

    /// Adds one condition to the list begun at `from`.
    #[inline]
    pub fn add_to_list(&mut self, from: usize, text: &str, first: bool) -> Option<()> {
        if !first {
            self.texts.push(',');
        }
        self.add(text);
        (self.texts.len() - from <= CONDITIONS_MAX).then_some(())
    }

    /// The list begun at `from`, which no other text may have been kept after.
    #[inline]
    pub fn end_list(&self, from: usize) -> Span {
        Span { from: from as u32, len: (self.texts.len() - from) as u8 }
    }

    /// A text that was kept.
    #[inline]
    pub fn text(&self, span: Span) -> &str {
        let from = span.from as usize;
        self.texts.get(from..from + usize::from(span.len)).unwrap_or_default()
    }
}

/// What reading needs to know of the machine.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub instruments: &'a InstrumentSet,
    pub markets: &'a [Market],
    /// The venue's symbols that were asked for; empty when whatever arrives is learnt.
    pub wanted: &'a [String],
    /// What one of a share's quote sizes counts.
    pub lot: i64,
}

impl View<'_> {
    /// Whether an instrument may be learnt from what arrives.
    pub fn learns(&self, symbol: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|w| w == symbol)
    }
}

/// An error at a place.
pub fn bad(offset: usize, field: &'static str, problem: impl Into<String>) -> FrameError {
    FrameError { offset, field, problem: problem.into() }
}
