//! The 8 bytes every record begins with.

use crate::RecordError;
use model::{InstrumentId, Side, SideSource, Venue};
use std::ops::BitOr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The types of records. The code is the first byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordType {
    /// A trade, 48 bytes.
    Trade = 1,
    /// One book level, 48 bytes.
    BookChange = 2,
    /// Best bid and offer, 56 bytes.
    Quote = 3,
    /// A snapshot begins, 48 bytes.
    SnapshotBegin = 4,
    /// A snapshot is complete, 48 bytes.
    SnapshotEnd = 5,
    /// A bar, 136 bytes.
    Bar = 6,
    /// An instrument's definition, variable.
    Instrument = 7,
    /// A trade with texts, variable.
    LongTrade = 8,
    /// A trade is corrected or cancelled, 64 bytes.
    Correction = 9,
    /// A state, variable.
    Status = 10,
    /// Missing data, 72 bytes.
    Gap = 11,
    /// What a consumer missed, 64 bytes.
    Overrun = 12,
    /// A clock step, 48 bytes.
    Clock = 13,
    /// The next sequence, 32 bytes.
    Heartbeat = 14,
    /// A run begins, variable.
    SessionStart = 15,
    /// A run ends, 40 bytes.
    SessionEnd = 16,
    /// What happens to one order of a venue's book, 72 bytes.
    Order = 17,
    /// Prices between which an instrument may trade, 48 bytes.
    PriceBand = 18,
    /// What was missing has been fetched, 48 bytes.
    Backfill = 19,
}

impl RecordType {
    /// Every type, in the order of their codes.
    pub const ALL: [RecordType; 19] = [
        RecordType::Trade,
        RecordType::BookChange,
        RecordType::Quote,
        RecordType::SnapshotBegin,
        RecordType::SnapshotEnd,
        RecordType::Bar,
        RecordType::Instrument,
        RecordType::LongTrade,
        RecordType::Correction,
        RecordType::Status,
        RecordType::Gap,
        RecordType::Overrun,
        RecordType::Clock,
        RecordType::Heartbeat,
        RecordType::SessionStart,
        RecordType::SessionEnd,
        RecordType::Order,
        RecordType::PriceBand,
        RecordType::Backfill,
    ];

    /// The type with this code.
    #[inline]
    pub const fn from_code(code: u8) -> Option<RecordType> {
        if code == 0 || code as usize > RecordType::ALL.len() {
            return None;
        }
        Some(RecordType::ALL[code as usize - 1])
    }

    /// The type's name in the JSON form. The records of one book event share `book`.
    pub const fn name(self) -> &'static str {
        match self {
            RecordType::Trade | RecordType::LongTrade => "trade",
            RecordType::BookChange | RecordType::SnapshotBegin | RecordType::SnapshotEnd => "book",
            RecordType::Quote => "quote",
            RecordType::Bar => "bar",
            RecordType::Instrument => "instrument",
            RecordType::Correction => "correction",
            RecordType::Status => "status",
            RecordType::Gap => "gap",
            RecordType::Overrun => "overrun",
            RecordType::Clock => "clock",
            RecordType::Heartbeat => "heartbeat",
            RecordType::SessionStart => "session_start",
            RecordType::SessionEnd => "session_end",
            RecordType::Order => "order",
            RecordType::PriceBand => "price_band",
            RecordType::Backfill => "backfill",
        }
    }
}

/// The ten flag bits of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const EMPTY: Flags = Flags(0);
    /// The record closes the event it belongs to; only then is a book whole.
    pub const LAST: Flags = Flags(1 << 4);
    /// Part of a snapshot, not news.
    pub const SNAPSHOT: Flags = Flags(1 << 5);
    /// Told later than it happened: backfilled.
    pub const LATE: Flags = Flags(1 << 6);
    /// The receive time is not to be relied on.
    pub const RECV_SUSPECT: Flags = Flags(1 << 7);
    /// The venue gave the trade no id.
    pub const NO_ID: Flags = Flags(1 << 8);
    /// The book this comes from is not proven right.
    pub const NOT_TRUSTED: Flags = Flags(1 << 9);
    const MASK: u16 = (1 << 10) - 1;

    /// The side: the taker's of a trade, the book side of a level.
    #[inline]
    pub const fn of_side(side: Option<Side>) -> Flags {
        match side {
            None => Flags(0),
            Some(side) => Flags(side as u16),
        }
    }

    /// How the taker's side is known.
    #[inline]
    pub const fn of_source(source: SideSource) -> Flags {
        Flags((source as u16) << 2)
    }

    /// The side, if there is one.
    #[inline]
    pub const fn side(self) -> Option<Side> {
        match self.0 & 3 {
            1 => Some(Side::Buy),
            2 => Some(Side::Sell),
            _ => None,
        }
    }

    /// How the taker's side is known.
    #[inline]
    pub const fn source(self) -> SideSource {
        SideSource::ALL[(self.0 >> 2 & 3) as usize]
    }

    /// Whether every bit of `other` is set.
    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` when `on`, else no flag.
    #[inline]
    pub const fn when(self, on: bool) -> Flags {
        if on { self } else { Flags::EMPTY }
    }
}

impl BitOr for Flags {
    type Output = Flags;
    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Type, length, venue and flags, instrument: byte 0 the [`RecordType`], byte 1 the length in 8-byte words,
/// bytes 2–3 the flags (low ten bits) and the venue's code (high six), bytes 4–7 the instrument's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// The [`RecordType`]'s code.
    pub kind: u8,
    /// Length of the whole record in 8-byte words.
    pub length: u8,
    venue_flags: u16,
    /// The instrument; 0 for none.
    pub instrument: u32,
}

impl Header {
    /// A header for a record of `words` words. `venue` is `None` for records that no venue made.
    #[inline]
    pub const fn new(
        kind: RecordType,
        words: u8,
        venue: Option<Venue>,
        flags: Flags,
        instrument: InstrumentId,
    ) -> Header {
        let venue = match venue {
            Some(venue) => venue.code() as u16,
            None => 0,
        };
        Header {
            kind: kind as u8,
            length: words,
            venue_flags: venue << 10 | (flags.0 & Flags::MASK),
            instrument: instrument.0,
        }
    }

    /// Reads the header of the record at the start of `words` and checks that the record is whole.
    #[inline]
    pub fn read(words: &[u64]) -> Result<&Header, RecordError> {
        let first = words.first().ok_or(RecordError::Empty)?;
        let header = Header::ref_from_bytes(first.as_bytes()).expect("a word is as large and as aligned as a header");
        let claimed = header.words();
        if claimed == 0 || claimed > words.len() {
            return Err(RecordError::Length { kind: header.kind, claimed, available: words.len() });
        }
        Ok(header)
    }

    /// Length of the whole record in 8-byte words.
    #[inline]
    pub const fn words(&self) -> usize {
        self.length as usize
    }

    /// The flags.
    #[inline]
    pub const fn flags(&self) -> Flags {
        Flags(self.venue_flags & Flags::MASK)
    }

    /// The venue, if one made the record and this build knows it.
    #[inline]
    pub const fn venue(&self) -> Option<Venue> {
        Venue::from_code((self.venue_flags >> 10) as u8)
    }

    /// The instrument; [`InstrumentId::NONE`] when the record speaks of the whole venue.
    #[inline]
    pub const fn instrument(&self) -> InstrumentId {
        InstrumentId(self.instrument)
    }

    /// The record's type, if this build knows it.
    #[inline]
    pub const fn record_type(&self) -> Option<RecordType> {
        RecordType::from_code(self.kind)
    }

    /// The same header with other flags.
    #[inline]
    pub const fn with_flags(mut self, flags: Flags) -> Header {
        self.venue_flags = self.venue_flags & !Flags::MASK | (flags.0 & Flags::MASK);
        self
    }
}

assert_layout!(Header, 8, align 4, kind @ 0, length @ 1, venue_flags @ 2, instrument @ 4);
