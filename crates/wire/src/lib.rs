//! The binary records, their JSON form and its schema: the contract between processes.
//!
//! Little-endian, 8-byte aligned, no padding, readable in place. A record is a run of 64-bit words whose first word
//! is the [`Header`]; word 1 is the event time and word 2 the receive time in every record. Epoch and sequence are
//! not in the record: every transport has an envelope for them ([`Envelope`], [`batch`]).
//! Knows nothing of rings, sockets, files or venues' own formats.

#[cfg(target_endian = "big")]
compile_error!("records are read in place and little-endian: this machine's byte order is not supported");

/// Fixes size, alignment and every field's place at compile time; the pattern refuses a list that misses a field.
macro_rules! assert_layout {
    ($record:ident, $bytes:literal, align $align:literal, $($field:ident @ $offset:literal),+ $(,)?) => {
        const _: () = {
            assert!(size_of::<$record>() == $bytes);
            assert!(align_of::<$record>() == $align);
            $(assert!(std::mem::offset_of!($record, $field) == $offset);)+
            fn _names_every_field($record { $($field: _),+ }: $record) {}
        };
    };
}

pub mod batch;
mod buf;
mod header;
pub mod json;
mod records;
mod table;
mod text;

pub use buf::{RecordBuf, Records};
pub use header::{Flags, Header, RecordType};
pub use records::{
    BackfillRecord, BarRecord, BarState, BookAction, BookChangeRecord, ClockRecord, CorrectionKind, CorrectionRecord,
    GapRecord, HeartbeatRecord, NONE, OrderAction, OrderRecord, OverrunCause, OverrunRecord, PriceBandRecord,
    QuoteRecord, SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, TradeRecord,
};
pub use table::{Line, TABLE_DEPTH, TABLE_SYMBOL_BYTES, TableHead, TableLevel, TableRow, TableSource};
pub use text::{
    InstrumentHead, InstrumentView, LongTrade, LongTradeHead, LongTradeView, Origin, SessionEndHead, SessionHead,
    SessionView, Status, StatusHead, StatusView, TEXT_MAX, TextError,
};

/// The version of the record layouts, carried by every transport; readers refuse another.
pub const WIRE_VERSION: u8 = 1;

/// The most words a record may have: its length is one byte.
pub const RECORD_WORDS_MAX: usize = 255;

/// What names a record for ever, together with site and venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Envelope {
    /// The run of the feed that made the record.
    pub epoch: u64,
    /// Its place in that run, counted from 1 without holes.
    pub sequence: u64,
}

/// Why words are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are no words.
    #[error("no record: the slice is empty")]
    Empty,
    /// The header's length and the words at hand do not agree.
    #[error("record of type {kind} claims {claimed} words, {available} are there")]
    Length {
        /// The type byte.
        kind: u8,
        /// Words the header claims.
        claimed: usize,
        /// Words at hand.
        available: usize,
    },
    /// A known type with a length it cannot have.
    #[error("record of type {kind} cannot have {words} words")]
    Size {
        /// The type byte.
        kind: u8,
        /// Its length in words.
        words: usize,
    },
    /// A field holds a code that means nothing.
    #[error("record of type {kind}: field {field} holds the unknown code {code}")]
    Code {
        /// The type byte.
        kind: u8,
        /// The field.
        field: &'static str,
        /// What it holds.
        code: u64,
    },
    /// A text field is not UTF-8 or points past the record.
    #[error("record of type {kind}: field {field} is not text")]
    Text {
        /// The type byte.
        kind: u8,
        /// The field.
        field: &'static str,
    },
}

/// One record, read in place. Unknown types are handed through so that a reader can pass over them.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A trade.
    Trade(&'a TradeRecord),
    /// A trade with a textual id, conditions, exchange or tape.
    LongTrade(LongTradeView<'a>),
    /// One level of a book.
    BookChange(&'a BookChangeRecord),
    /// A book snapshot begins; its levels follow.
    SnapshotBegin(&'a SnapshotBeginRecord),
    /// A book snapshot is complete.
    SnapshotEnd(&'a SnapshotEndRecord),
    /// Best bid and offer.
    Quote(&'a QuoteRecord),
    /// A bar.
    Bar(&'a BarRecord),
    /// An instrument's definition.
    Instrument(InstrumentView<'a>),
    /// An earlier trade is corrected or cancelled.
    Correction(&'a CorrectionRecord),
    /// The state of a connection, stream or book.
    Status(StatusView<'a>),
    /// Data of the venue is missing.
    Gap(&'a GapRecord),
    /// A consumer missed records.
    Overrun(&'a OverrunRecord),
    /// The clock stepped.
    Clock(&'a ClockRecord),
    /// Nothing happened; the next sequence is told.
    Heartbeat(&'a HeartbeatRecord),
    /// A run of a feed begins.
    SessionStart(SessionView<'a>),
    /// A run of a feed ends in order.
    SessionEnd(&'a SessionEndHead),
    /// What happens to one order of a venue's book.
    Order(&'a OrderRecord),
    /// Prices between which an instrument may trade.
    PriceBand(&'a PriceBandRecord),
    /// What was missing has been fetched.
    Backfill(&'a BackfillRecord),
    /// A type this build does not know.
    Unknown(&'a Header),
}

impl<'a> Record<'a> {
    /// Checks and views the record at the start of `words`; the rest is ignored.
    #[inline]
    pub fn read(words: &'a [u64]) -> Result<Record<'a>, RecordError> {
        let header = Header::read(words)?;
        let words = &words[..header.words()];
        let Some(kind) = RecordType::from_code(header.kind) else {
            return Ok(Record::Unknown(header));
        };
        records::check_flags(header)?;
        Ok(match kind {
            RecordType::Trade => Record::Trade(records::view(words)?),
            RecordType::BookChange => Record::BookChange(BookChangeRecord::read(words)?),
            RecordType::Quote => Record::Quote(records::view(words)?),
            RecordType::LongTrade => Record::LongTrade(LongTradeView::read(words)?),
            RecordType::SnapshotBegin => Record::SnapshotBegin(SnapshotBeginRecord::read(words)?),
            RecordType::SnapshotEnd => Record::SnapshotEnd(records::view(words)?),
            RecordType::Bar => Record::Bar(BarRecord::read(words)?),
            RecordType::Instrument => Record::Instrument(InstrumentView::read(words)?),
            RecordType::Correction => Record::Correction(CorrectionRecord::read(words)?),
            RecordType::Status => Record::Status(StatusView::read(words)?),
            RecordType::Gap => Record::Gap(GapRecord::read(words)?),
            RecordType::Overrun => Record::Overrun(OverrunRecord::read(words)?),
            RecordType::Clock => Record::Clock(records::view(words)?),
            RecordType::Heartbeat => Record::Heartbeat(records::view(words)?),
            RecordType::SessionStart => Record::SessionStart(SessionView::read(words)?),
            RecordType::SessionEnd => Record::SessionEnd(SessionEndHead::read(words)?),
            RecordType::Order => Record::Order(OrderRecord::read(words)?),
            RecordType::PriceBand => Record::PriceBand(PriceBandRecord::read(words)?),
            RecordType::Backfill => Record::Backfill(BackfillRecord::read(words)?),
        })
    }
}
