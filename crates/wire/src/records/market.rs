//! What is traded and quoted: trades, quotes, bars, corrections, price bands.

use super::{NONE, view};
use crate::{Flags, Header, RecordError};
use model::{InstrumentId, Price, Qty, SCALE_MAX, Side, SideSource, UnixNanos, Venue};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
