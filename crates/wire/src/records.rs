//! The records of fixed layout. Every field is 8 bytes unless drawn otherwise in `docs/protocol.md`.
//!
//! Prices are in units of `10^-price_scale` quote currency per unit, sizes in units of `10^-size_scale`, both scales
//! from the instrument's record; times are ns since the Unix epoch, UTC.

use crate::{Flags, Header, RecordError, RecordType, buf::words_of};
use model::{GapCause, InstrumentId, Price, Qty, SCALE_MAX, Side, SideSource, StreamKind, UnixNanos, Venue};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "No value" in an `i64` field that may be absent.
pub const NONE: i64 = i64::MIN;

/// Views `words` as a record of fixed layout; the length must be exactly the layout's.
#[inline]
pub(crate) fn view<R: FromBytes + Immutable + KnownLayout>(words: &[u64]) -> Result<&R, RecordError> {
    R::ref_from_bytes(words.as_bytes())
        .map_err(|_| RecordError::Size { kind: words.first().map_or(0, |w| *w as u8), words: words.len() })
}

/// The two side bits have a fourth value that means nothing.
#[inline]
pub(crate) fn check_flags(header: &Header) -> Result<(), RecordError> {
    if header.flags().0 & 3 == 3 {
        return Err(RecordError::Code { kind: header.kind, field: "side", code: 3 });
    }
    Ok(())
}

macro_rules! layout {
    ($record:ident, $bytes:literal, $kind:ident, $($field:ident @ $offset:literal),+ $(,)?) => {
        assert_layout!($record, $bytes, align 8, header @ 0, ts_event @ 8, ts_recv @ 16, $($field @ $offset),+);
        impl $record {
            /// The record's type.
            pub const TYPE: RecordType = RecordType::$kind;
            /// Its length in 8-byte words.
            pub const WORDS: u8 = $bytes / 8;
            /// The record as words.
            #[inline]
            pub fn as_words(&self) -> &[u64] { words_of(self) }
        }
    };
}

/// A trade, exactly 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct TradeRecord {
    /// Type 1, 6 words; the flags carry the taker's side and how it is known.
    pub header: Header,
    /// When the venue says the trade happened.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Price mantissa.
    pub price: i64,
    /// Size mantissa.
    pub size: i64,
    /// The venue's id of the trade; 0 under the flag "no id".
    pub trade_id: u64,
}
layout!(TradeRecord, 48, Trade, price @ 24, size @ 32, trade_id @ 40);

impl TradeRecord {
    /// A trade. `side` is the taker's.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        side: Option<Side>,
        source: SideSource,
        flags: Flags,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        price: Price,
        size: Qty,
        trade_id: Option<u64>,
    ) -> TradeRecord {
        let flags = flags | Flags::of_side(side) | Flags::of_source(source) | Flags::NO_ID.when(trade_id.is_none());
        TradeRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), flags, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            price: price.0,
            size: size.0,
            trade_id: trade_id.unwrap_or(0),
        }
    }

    /// The venue's id, unless it gave none.
    pub fn id(&self) -> Option<u64> {
        (!self.header.flags().contains(Flags::NO_ID)).then_some(self.trade_id)
    }
}

/// What happened to a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BookAction {
    /// The level is new.
    Add = 1,
    /// The level has another size.
    Change = 2,
    /// The level is gone; the size is 0.
    Delete = 3,
}

impl BookAction {
    /// The action with this code.
    #[inline]
    pub const fn from_code(code: u8) -> Option<BookAction> {
        match code {
            1 => Some(BookAction::Add),
            2 => Some(BookAction::Change),
            3 => Some(BookAction::Delete),
            _ => None,
        }
    }
}

/// One level of a book, 48 bytes. The size is absolute; 0 removes the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BookChangeRecord {
    /// Type 2, 6 words; the flags carry the book side, last-in-event, snapshot and trust.
    pub header: Header,
    /// When the venue says it happened; 0 when it does not say.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Price mantissa.
    pub price: i64,
    /// Absolute size mantissa.
    pub size: i64,
    /// The [`BookAction`]'s code.
    pub action: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(BookChangeRecord, 48, BookChange, price @ 24, size @ 32, action @ 40, reserved @ 41);

impl BookChangeRecord {
    #[inline]
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        // The size says it too; a record in which they disagree would be read differently by different readers.
        if BookAction::from_code(r.action).is_none_or(|a| (a == BookAction::Delete) != (r.size == 0)) {
            return Err(RecordError::Code { kind: r.header.kind, field: "action", code: r.action.into() });
        }
        if r.header.flags().side().is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "side", code: 0 });
        }
        Ok(r)
    }

    /// One level. `side` is [`Side::Buy`] for a bid.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        side: Side,
        flags: Flags,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        price: Price,
        size: Qty,
        action: BookAction,
    ) -> Self {
        debug_assert_eq!(
            action == BookAction::Delete,
            size.0 == 0,
            "a level is deleted by the size 0 and by nothing else"
        );
        let flags = flags | Flags::of_side(Some(side));
        BookChangeRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), flags, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            price: price.0,
            size: size.0,
            action: action as u8,
            reserved: [0; 7],
        }
    }

    /// What happened to the level.
    pub fn action(&self) -> BookAction {
        BookAction::from_code(self.action).expect("checked when the record was viewed")
    }
}

/// Best bid and offer, 56 bytes. An empty side has the price and the size [`NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct QuoteRecord {
    /// Type 3, 7 words.
    pub header: Header,
    /// When the venue says it held; 0 when it does not say.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Best bid price mantissa.
    pub bid_price: i64,
    /// Its size mantissa.
    pub bid_size: i64,
    /// Best ask price mantissa.
    pub ask_price: i64,
    /// Its size mantissa.
    pub ask_size: i64,
}
layout!(QuoteRecord, 56, Quote, bid_price @ 24, bid_size @ 32, ask_price @ 40, ask_size @ 48);

impl QuoteRecord {
    /// Best bid and offer; a side is `None` when it is empty.
    #[inline]
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        flags: Flags,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        bid: Option<(Price, Qty)>,
        ask: Option<(Price, Qty)>,
    ) -> Self {
        let (bid_price, bid_size) = bid.map_or((NONE, NONE), |(p, q)| (p.0, q.0));
        let (ask_price, ask_size) = ask.map_or((NONE, NONE), |(p, q)| (p.0, q.0));
        QuoteRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), flags, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            bid_price,
            bid_size,
            ask_price,
            ask_size,
        }
    }

    /// Best bid, unless the side is empty.
    pub fn bid(&self) -> Option<(Price, Qty)> {
        (self.bid_price != NONE).then_some((Price(self.bid_price), Qty(self.bid_size)))
    }

    /// Best ask, unless the side is empty.
    pub fn ask(&self) -> Option<(Price, Qty)> {
        (self.ask_price != NONE).then_some((Price(self.ask_price), Qty(self.ask_size)))
    }
}

/// Why a snapshot was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SnapshotReason {
    /// The venue sent it after a subscription, or it was fetched.
    Sync = 1,
    /// Repeated so that a late joiner finds one.
    Periodic = 2,
}

/// A snapshot begins, 48 bytes: `bids + asks` book changes with the flag "snapshot" follow, then the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SnapshotBeginRecord {
    /// Type 4, 6 words.
    pub header: Header,
    /// When the venue says it held; 0 when it does not say.
    pub ts_event: u64,
    /// When the last change in it was received.
    pub ts_recv: u64,
    /// Bid levels that follow.
    pub bids: u32,
    /// Ask levels that follow.
    pub asks: u32,
    /// Levels a side the venue keeps: a reader cuts its book to them after every event; 0 when it keeps all.
    pub depth: u32,
    /// The [`SnapshotReason`]'s code.
    pub reason: u8,
    /// 1 when the book has more levels than are told here.
    pub capped: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The venue's update id the snapshot stands at; 0 where it has none.
    pub update_id: u64,
}
layout!(
    SnapshotBeginRecord, 48, SnapshotBegin,
    bids @ 24, asks @ 28, depth @ 32, reason @ 36, capped @ 37, reserved @ 38, update_id @ 40,
);

impl SnapshotBeginRecord {
    fn read_reason(code: u8) -> Option<SnapshotReason> {
        match code {
            1 => Some(SnapshotReason::Sync),
            2 => Some(SnapshotReason::Periodic),
            _ => None,
        }
    }

    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if Self::read_reason(r.reason).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "reason", code: r.reason.into() });
        }
        if r.capped > 1 {
            return Err(RecordError::Code { kind: r.header.kind, field: "capped", code: r.capped.into() });
        }
        Ok(r)
    }

    /// Why the snapshot was made.
    pub fn reason(&self) -> SnapshotReason {
        Self::read_reason(self.reason).expect("checked when the record was viewed")
    }
}

/// A snapshot is complete, 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SnapshotEndRecord {
    /// Type 5, 6 words.
    pub header: Header,
    /// As in the beginning.
    pub ts_event: u64,
    /// As in the beginning.
    pub ts_recv: u64,
    /// Levels told between beginning and end.
    pub levels: u32,
    /// The venue's checksum of the book, where it has one; else 0.
    pub checksum: u32,
    /// As in the beginning.
    pub update_id: u64,
    /// Zero.
    pub reserved: u64,
}
layout!(SnapshotEndRecord, 48, SnapshotEnd, levels @ 24, checksum @ 28, update_id @ 32, reserved @ 40);

/// Whether a bar may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BarState {
    /// May still change.
    Open = 1,
    /// Final.
    Closed = 2,
}

/// A bar, 136 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BarRecord {
    /// Type 6, 17 words.
    pub header: Header,
    /// When the venue sent it; 0 when it does not say.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// When its interval begins.
    pub ts_open: u64,
    /// Length of the interval in seconds.
    pub interval_s: u32,
    /// The [`BarState`]'s code.
    pub state: u8,
    /// Decimal scale of both notionals.
    pub notional_scale: u8,
    /// Decimal scale of the volume-weighted average price.
    pub vwap_scale: u8,
    /// Zero.
    pub reserved: u8,
    /// Price mantissa of the first trade.
    pub open: i64,
    /// Price mantissa of the highest trade.
    pub high: i64,
    /// Price mantissa of the lowest trade.
    pub low: i64,
    /// Price mantissa of the last trade.
    pub close: i64,
    /// Size mantissa of all trades.
    pub volume: i64,
    /// Size mantissa of what takers bought; [`NONE`] when the venue does not say.
    pub taker_buy_volume: i64,
    /// Low and high half of the notional's 128-bit mantissa at `notional_scale`; [`NONE`] in the high half: not said.
    pub notional: [u64; 2],
    /// The same of what takers bought.
    pub taker_buy_notional: [u64; 2],
    /// Mantissa of the volume-weighted average price at `vwap_scale`; [`NONE`] when the venue does not say.
    pub vwap: i64,
    /// How many trades.
    pub trades: u64,
}
layout!(
    BarRecord, 136, Bar,
    ts_open @ 24, interval_s @ 32, state @ 36, notional_scale @ 37, vwap_scale @ 38, reserved @ 39, open @ 40,
    high @ 48, low @ 56, close @ 64, volume @ 72, taker_buy_volume @ 80, notional @ 88, taker_buy_notional @ 104, vwap @ 120, trades @ 128,
);

impl BarRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        let code = |field, code: u8| RecordError::Code { kind: r.header.kind, field, code: code.into() };
        if !(1..=2).contains(&r.state) {
            return Err(code("state", r.state));
        }
        for (field, scale) in [("notional_scale", r.notional_scale), ("vwap_scale", r.vwap_scale)] {
            if scale > SCALE_MAX {
                return Err(code(field, scale));
            }
        }
        Ok(r)
    }

    /// Whether the bar is final.
    pub fn is_closed(&self) -> bool {
        self.state == BarState::Closed as u8
    }

    /// The two words of an optional 128-bit mantissa.
    pub fn split(wide: Option<i128>) -> [u64; 2] {
        wide.map_or([0, NONE as u64], |v| [v as u64, (v >> 64) as u64])
    }

    /// The 128-bit mantissa of two words, unless absent.
    pub fn join(halves: [u64; 2]) -> Option<i128> {
        (halves[1] != NONE as u64).then(|| i128::from(halves[1] as i64) << 64 | i128::from(halves[0]))
    }
}

/// What happens to an earlier trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CorrectionKind {
    /// It did not happen.
    Cancel = 1,
    /// It happened otherwise.
    Correct = 2,
}

impl CorrectionKind {
    /// Every value, in the order of their codes.
    pub const ALL: [CorrectionKind; 2] = [CorrectionKind::Cancel, CorrectionKind::Correct];

    /// The value with this code.
    pub fn from_code(code: u8) -> Option<CorrectionKind> {
        CorrectionKind::ALL.into_iter().find(|v| *v as u8 == code)
    }

    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            CorrectionKind::Cancel => "cancel",
            CorrectionKind::Correct => "correct",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<CorrectionKind> {
        CorrectionKind::ALL.into_iter().find(|v| v.name() == name)
    }
}

/// An earlier trade is corrected or cancelled, 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct CorrectionRecord {
    /// Type 9, 8 words.
    pub header: Header,
    /// When the venue says so.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// The venue's id of the trade meant.
    pub trade_id: u64,
    /// The id of the corrected trade; 0 for a cancel.
    pub new_trade_id: u64,
    /// Corrected price mantissa; [`NONE`] for a cancel.
    pub price: i64,
    /// Corrected size mantissa; [`NONE`] for a cancel.
    pub size: i64,
    /// The [`CorrectionKind`]'s code.
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(
    CorrectionRecord, 64, Correction,
    trade_id @ 24, new_trade_id @ 32, price @ 40, size @ 48, kind @ 56, reserved @ 57,
);

impl CorrectionRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if CorrectionKind::from_code(r.kind).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "kind", code: r.kind.into() });
        }
        Ok(r)
    }

    /// Whether the trade is cancelled or corrected.
    pub fn kind(&self) -> CorrectionKind {
        CorrectionKind::from_code(self.kind).expect("checked when the record was viewed")
    }
}

/// Data of the venue is missing, 72 bytes. Ids and count are told only where the venue's ids allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct GapRecord {
    /// Type 11, 9 words. No instrument: every instrument of the venue.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was noticed.
    pub ts_recv: u64,
    /// The [`StreamKind`]'s code.
    pub stream: u8,
    /// The [`GapCause`]'s code.
    pub cause: u8,
    /// Bit 0: `first` and `last` are known. Bit 1: `missing` is known.
    pub known: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// First missing id of the venue.
    pub first: u64,
    /// Last missing id of the venue.
    pub last: u64,
    /// How many are missing.
    pub missing: u64,
    /// Receive time of the last record before the gap; 0 when there was none.
    pub ts_from: u64,
    /// Receive time of the first record after it.
    pub ts_to: u64,
}
layout!(
    GapRecord, 72, Gap,
    stream @ 24, cause @ 25, known @ 26, reserved @ 27, first @ 32, last @ 40, missing @ 48, ts_from @ 56, ts_to @ 64,
);

impl GapRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        let code = |field, code: u8| RecordError::Code { kind: r.header.kind, field, code: code.into() };
        StreamKind::from_code(r.stream).ok_or(code("stream", r.stream))?;
        GapCause::from_code(r.cause).ok_or(code("cause", r.cause))?;
        Ok(r)
    }

    /// A gap in a stream. `range` is the venue's first and last missing id, where it has contiguous ids.
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        stream: StreamKind,
        cause: GapCause,
        range: Option<(u64, u64)>,
        from: UnixNanos,
        to: UnixNanos,
    ) -> Self {
        let (first, last) = range.unwrap_or((0, 0));
        debug_assert!(first <= last, "a gap from {first} to {last} is none");
        GapRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, instrument),
            ts_event: 0,
            ts_recv: to.0,
            stream: stream.code(),
            cause: cause.code(),
            known: if range.is_some() { 3 } else { 0 },
            reserved: [0; 5],
            first,
            last,
            missing: if range.is_some() { last.saturating_sub(first).saturating_add(1) } else { 0 },
            ts_from: from.0,
            ts_to: to.0,
        }
    }

    /// First and last missing id, where known.
    pub fn range(&self) -> Option<(u64, u64)> {
        (self.known & 1 != 0).then_some((self.first, self.last))
    }

    /// How many are missing, where known.
    pub fn missing(&self) -> Option<u64> {
        (self.known & 2 != 0).then_some(self.missing)
    }

    /// The stream with the gap.
    pub fn stream(&self) -> StreamKind {
        StreamKind::from_code(self.stream).expect("checked when the record was viewed")
    }

    /// Why.
    pub fn cause(&self) -> GapCause {
        GapCause::from_code(self.cause).expect("checked when the record was viewed")
    }
}

/// Why a consumer missed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OverrunCause {
    /// The consumer was slower than the ring is long.
    Slow = 1,
    /// What was asked for is no longer held.
    Expired = 2,
    /// The relay was not running.
    Relay = 3,
}

impl OverrunCause {
    /// Every value, in the order of their codes.
    pub const ALL: [OverrunCause; 3] = [OverrunCause::Slow, OverrunCause::Expired, OverrunCause::Relay];

    /// The value with this code.
    pub fn from_code(code: u8) -> Option<OverrunCause> {
        OverrunCause::ALL.into_iter().find(|v| *v as u8 == code)
    }

    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            OverrunCause::Slow => "slow",
            OverrunCause::Expired => "expired",
            OverrunCause::Relay => "relay",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<OverrunCause> {
        OverrunCause::ALL.into_iter().find(|v| v.name() == name)
    }
}

/// What a consumer missed, 64 bytes. Made by the transport, never part of a feed's own sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct OverrunRecord {
    /// Type 12, 8 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was noticed.
    pub ts_recv: u64,
    /// Epoch of the missed records.
    pub epoch: u64,
    /// First sequence missed.
    pub first: u64,
    /// Last sequence missed; 0 when nobody can know.
    pub last: u64,
    /// How many; 0 when nobody can know.
    pub count: u64,
    /// The [`OverrunCause`]'s code.
    pub cause: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(OverrunRecord, 64, Overrun, epoch @ 24, first @ 32, last @ 40, count @ 48, cause @ 56, reserved @ 57);

impl OverrunRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if OverrunCause::from_code(r.cause).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "cause", code: r.cause.into() });
        }
        Ok(r)
    }

    /// Why the records were missed.
    pub fn cause(&self) -> OverrunCause {
        OverrunCause::from_code(self.cause).expect("checked when the record was viewed")
    }

    /// Sequences `first..=last` of `epoch` were missed; `last` is `None` when nobody can know.
    pub fn new(
        venue: Option<Venue>,
        epoch: u64,
        first: u64,
        last: Option<u64>,
        cause: OverrunCause,
        now: UnixNanos,
    ) -> Self {
        debug_assert!(last.is_none_or(|last| first <= last), "an overrun from {first} to {last:?} is none");
        OverrunRecord {
            header: Header::new(Self::TYPE, Self::WORDS, venue, Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: now.0,
            epoch,
            first,
            last: last.unwrap_or(0),
            count: last.map_or(0, |last| last.saturating_sub(first).saturating_add(1)),
            cause: cause as u8,
            reserved: [0; 7],
        }
    }
}

/// The wall clock stepped, 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct ClockRecord {
    /// Type 13, 6 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was noticed, on the clock the records use.
    pub ts_recv: u64,
    /// How far the wall clock moved against the monotonic clock, in ns.
    pub step_ns: i64,
    /// What the wall clock showed.
    pub wall: u64,
    /// What it should have shown.
    pub expected: u64,
}
layout!(ClockRecord, 48, Clock, step_ns @ 24, wall @ 32, expected @ 40);

impl ClockRecord {
    /// The wall clock shows `wall` where `expected` was due.
    pub fn new(venue: Venue, wall: UnixNanos, expected: UnixNanos) -> Self {
        ClockRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: expected.0,
            step_ns: (wall.0 as i64).wrapping_sub(expected.0 as i64),
            wall: wall.0,
            expected: expected.0,
        }
    }
}

/// Nothing happened, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct HeartbeatRecord {
    /// Type 14, 4 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was made.
    pub ts_recv: u64,
    /// The sequence the next record will have (in a ring: the one after this record's own).
    pub next_sequence: u64,
}
layout!(HeartbeatRecord, 32, Heartbeat, next_sequence @ 24);

impl HeartbeatRecord {
    /// The next record will have `next_sequence`.
    pub fn new(venue: Venue, next_sequence: u64, now: UnixNanos) -> Self {
        HeartbeatRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: now.0,
            next_sequence,
        }
    }
}

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OrderAction {
    /// The venue took it in; it does not rest yet. The size is what was ordered.
    Received = 1,
    /// It rests. The size is what remains of it.
    Open = 2,
    /// It rested and was traded against. The size is what was traded; the trade itself is told too.
    Match = 3,
    /// Its size or price is another. The size is what remains of it.
    Change = 4,
    /// It is gone because nothing of it remains.
    Filled = 5,
    /// It is gone because it was cancelled. The size is what remained of it.
    Canceled = 6,
    /// A stop order waits no longer.
    Activated = 7,
}

impl OrderAction {
    /// Every value, in the order of their codes.
    pub const ALL: [OrderAction; 7] = [
        OrderAction::Received,
        OrderAction::Open,
        OrderAction::Match,
        OrderAction::Change,
        OrderAction::Filled,
        OrderAction::Canceled,
        OrderAction::Activated,
    ];

    /// The value with this code.
    pub fn from_code(code: u8) -> Option<OrderAction> {
        OrderAction::ALL.into_iter().find(|v| *v as u8 == code)
    }

    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            OrderAction::Received => "received",
            OrderAction::Open => "open",
            OrderAction::Match => "match",
            OrderAction::Change => "change",
            OrderAction::Filled => "filled",
            OrderAction::Canceled => "canceled",
            OrderAction::Activated => "activated",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<OrderAction> {
        OrderAction::ALL.into_iter().find(|v| v.name() == name)
    }
}

/// What happens to one order of a venue's book, 72 bytes. The flags carry the order's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct OrderRecord {
    /// Type 17, 9 words.
    pub header: Header,
    /// When the venue says it happened.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Price mantissa; [`NONE`] for an order without one.
    pub price: i64,
    /// Size mantissa, of what the action says; [`NONE`] where the venue does not say.
    pub size: i64,
    /// The venue's id of the order: the 128 bits of a UUID, high half first.
    pub order_id: [u64; 2],
    /// The venue's sequence of the message; 0 where it has none.
    pub venue_sequence: u64,
    /// The [`OrderAction`]'s code.
    pub action: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(
    OrderRecord, 72, Order,
    price @ 24, size @ 32, order_id @ 40, venue_sequence @ 56, action @ 64, reserved @ 65,
);

impl OrderRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if OrderAction::from_code(r.action).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "action", code: r.action.into() });
        }
        if r.header.flags().side().is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "side", code: 0 });
        }
        Ok(r)
    }

    /// One event of an order; `side` is the order's own.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        side: Side,
        flags: Flags,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        price: Option<Price>,
        size: Option<Qty>,
        order_id: u128,
        venue_sequence: u64,
        action: OrderAction,
    ) -> Self {
        let flags = flags | Flags::of_side(Some(side));
        OrderRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), flags, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            price: price.map_or(NONE, |p| p.0),
            size: size.map_or(NONE, |s| s.0),
            order_id: [(order_id >> 64) as u64, order_id as u64],
            venue_sequence,
            action: action as u8,
            reserved: [0; 7],
        }
    }

    /// What happened.
    pub fn action(&self) -> OrderAction {
        OrderAction::from_code(self.action).expect("checked when the record was viewed")
    }

    /// The order's 128-bit id.
    pub fn id(&self) -> u128 {
        u128::from(self.order_id[0]) << 64 | u128::from(self.order_id[1])
    }
}

/// Prices between which an instrument may trade (limit up, limit down), 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct PriceBandRecord {
    /// Type 18, 6 words.
    pub header: Header,
    /// When the venue says it holds from.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Lowest price mantissa; [`NONE`] for no limit.
    pub lower: i64,
    /// Highest price mantissa; [`NONE`] for no limit.
    pub upper: i64,
    /// The venue's indicator, one ASCII letter; 0 where it gives none.
    pub indicator: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(PriceBandRecord, 48, PriceBand, lower @ 24, upper @ 32, indicator @ 40, reserved @ 41);

impl PriceBandRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if r.indicator != 0 && !r.indicator.is_ascii_graphic() {
            return Err(RecordError::Code { kind: r.header.kind, field: "indicator", code: r.indicator.into() });
        }
        Ok(r)
    }

    /// A band; a bound is `None` where there is no limit.
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        lower: Option<Price>,
        upper: Option<Price>,
        indicator: Option<u8>,
    ) -> Self {
        PriceBandRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            lower: lower.map_or(NONE, |p| p.0),
            upper: upper.map_or(NONE, |p| p.0),
            indicator: indicator.unwrap_or(0),
            reserved: [0; 7],
        }
    }
}

/// What was missing between two times has been fetched, 48 bytes: all of it that the venue still serves was told, by
/// the stream or late. It closes gaps without ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BackfillRecord {
    /// Type 19, 6 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When the venue's answer was taken in.
    pub ts_recv: u64,
    /// From which time on nothing is missing any more, by the venue's clock.
    pub ts_from: u64,
    /// Up to, not including, which time, by the venue's clock.
    pub ts_to: u64,
    /// Records told late just before this one, from the same answer.
    pub told: u32,
    /// The [`StreamKind`]'s code.
    pub stream: u8,
    /// Zero.
    pub reserved: [u8; 3],
}
layout!(BackfillRecord, 48, Backfill, ts_from @ 24, ts_to @ 32, told @ 40, stream @ 44, reserved @ 45);

impl BackfillRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        let code = RecordError::Code { kind: r.header.kind, field: "stream", code: r.stream.into() };
        StreamKind::from_code(r.stream).ok_or(code)?;
        Ok(r)
    }

    /// Of `stream` nothing is missing between `from` and `to`, after `told` records were told late at `received`.
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        stream: StreamKind,
        (from, to): (UnixNanos, UnixNanos),
        told: u32,
        received: UnixNanos,
    ) -> Self {
        BackfillRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, instrument),
            ts_event: 0,
            ts_recv: received.0,
            ts_from: from.0,
            ts_to: to.0,
            told,
            stream: stream.code(),
            reserved: [0; 3],
        }
    }

    /// Of which stream.
    pub fn stream(&self) -> StreamKind {
        StreamKind::from_code(self.stream).expect("checked when the record was viewed")
    }
}
