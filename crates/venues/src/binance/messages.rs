//! The venue's words, typed: what a frame says, with prices and sizes already at the instrument's scales.
//!
//! [`fast`] reads the hot shapes in the order the venue writes them, in one pass, and knows nothing else; whatever it
//! does not take is read by `exact.rs` in any legal spelling, to the same values.

use super::choices::{TimeUnit, TradeKind};
use crate::{FrameError, Known};
use book::Level;
use model::{Price, Qty, UnixNanos};
use scan::Cursor;

/// Digits of a time in milliseconds, from 2001 to 2286.
pub(super) const TIME_DIGITS: usize = 13;

/// Decimals of an instrument's mantissas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scales {
    /// Of prices.
    pub price: u8,
    /// Of sizes.
    pub size: u8,
}

/// A trade or an aggregated trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trade {
    pub kind: TradeKind,
    /// `t` or `a`.
    pub id: u64,
    pub price: Price,
    pub size: Qty,
    /// `T`: when it happened.
    pub time: UnixNanos,
    /// `m`: the taker sold.
    pub buyer_is_maker: bool,
}

/// A message of book changes; its levels lie in the reader's scratch, bids first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// `E`.
    pub time: UnixNanos,
    /// `U`.
    pub first: u64,
    /// `u`.
    pub last: u64,
    /// How many of the levels are bids.
    pub bids: u32,
}

/// Best bid and offer; a side without price is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    pub bid: Option<Level>,
    pub ask: Option<Level>,
}

/// A bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// `E`.
    pub time: UnixNanos,
    /// `t`: when the interval begins.
    pub open_time: UnixNanos,
    pub interval_s: u32,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    pub volume: Qty,
    pub taker_buy_volume: Qty,
    /// At `notional_scale`.
    pub notional: i128,
    /// At `notional_scale`.
    pub taker_buy_notional: i128,
    pub notional_scale: u8,
    pub trades: u64,
    pub closed: bool,
}

/// A message of a hot shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hot {
    Trade(Trade),
    Depth(Depth),
    Quote(Quote),
}

/// A side of a quote: the venue writes zeros where there is no price.
#[inline]
pub(super) fn side(price: i64, size: i64) -> Option<Level> {
    (price != 0).then_some(Level { price: Price(price), size: Qty(size) })
}

/// Reads a frame of a hot shape in the venue's own order; `None` at any surprise, also for a symbol that `find` does
/// not know. `levels` holds what was read of a book, also when that is not used in the end.
#[inline]
pub(super) fn fast(
    frame: &[u8],
    unit: TimeUnit,
    find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
    levels: &mut Vec<Level>,
) -> Option<(Known, Hot)> {
    let mut c = Cursor::new(frame);
    let combined = c.skip_if(b"{\"stream\":\"");
    if combined {
        c.until_quote()?;
        c.literal(b"\",\"data\":")?;
    }
    let found = match c.rest().get(6)? {
        b'd' => depth(&mut c, unit, find, levels)?,
        b't' => {
            c.literal(b"{\"e\":\"trade\",\"E\":")?;
            trade(&mut c, TradeKind::Trade, unit, find)?
        }
        b'a' => {
            c.literal(b"{\"e\":\"aggTrade\",\"E\":")?;
            trade(&mut c, TradeKind::AggTrade, unit, find)?
        }
        _ => quote(&mut c, find)?,
    };
    if combined {
        c.literal(b"}")?;
    }
    c.end()?;
    Some(found)
}

#[inline(always)]
fn trade(
    c: &mut Cursor<'_>,
    kind: TradeKind,
    unit: TimeUnit,
    find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
) -> Option<(Known, Hot)> {
    unit.nanos(c.u64_likely::<TIME_DIGITS>()?)?;
    c.literal(b",\"s\":\"")?;
    let (symbol, scales) = find(c.until_quote()?)?;
    match kind {
        TradeKind::Trade => c.literal(b"\",\"t\":")?,
        TradeKind::AggTrade => c.literal(b"\",\"a\":")?,
    }
    let id = c.u64()?;
    c.literal(b",\"p\":\"")?;
    let price = c.fixed(scales.price)?;
    c.literal(b"\",\"q\":\"")?;
    let size = c.fixed(scales.size)?;
    if kind == TradeKind::AggTrade {
        c.literal(b"\",\"f\":")?;
        c.i64()?;
        c.literal(b",\"l\":")?;
        c.i64()?;
        c.literal(b",\"T\":")?;
    } else {
        c.literal(b"\",\"T\":")?;
    }
    let time = unit.nanos(c.u64_likely::<TIME_DIGITS>()?)?;
    c.literal(b",\"m\":")?;
    let buyer_is_maker = c.bool()?;
    c.literal(b",\"M\":")?;
    c.bool()?;
    c.literal(b"}")?;
    if price < 0 || size < 0 {
        return None;
    }
    Some((symbol, Hot::Trade(Trade { kind, id, price: Price(price), size: Qty(size), time, buyer_is_maker })))
}

#[inline(always)]
fn depth(
    c: &mut Cursor<'_>,
    unit: TimeUnit,
    find: impl Fn(&[u8]) -> Option<(Known, Scales)>,
    levels: &mut Vec<Level>,
) -> Option<(Known, Hot)> {
    c.literal(b"{\"e\":\"depthUpdate\",\"E\":")?;
    let time = unit.nanos(c.u64_likely::<TIME_DIGITS>()?)?;
    c.literal(b",\"s\":\"")?;
    let (symbol, scales) = find(c.until_quote()?)?;
    c.literal(b"\",\"U\":")?;
    let first = c.u64()?;
    c.literal(b",\"u\":")?;
    let last = c.u64()?;
    levels.clear();
    c.literal(b",\"b\":[")?;
    side_levels(c, scales, levels)?;
    let bids = u32::try_from(levels.len()).ok()?;
    c.literal(b",\"a\":[")?;
    side_levels(c, scales, levels)?;
    c.literal(b"}")?;
    (first <= last).then_some((symbol, Hot::Depth(Depth { time, first, last, bids })))
}

/// The levels of a side, whose opening bracket is read, up to and with its closing one.
#[inline(always)]
pub(super) fn side_levels(c: &mut Cursor<'_>, scales: Scales, levels: &mut Vec<Level>) -> Option<()> {
    if c.skip_if(b"]") {
        return Some(());
    }
    loop {
        c.literal(b"[\"")?;
        let price = c.fixed(scales.price)?;
        c.literal(b"\",\"")?;
        let size = c.fixed(scales.size)?;
        c.literal(b"\"]")?;
        if (price | size) < 0 {
            return None;
        }
        levels.push(Level { price: Price(price), size: Qty(size) });
        if !c.skip_if(b",") {
            return c.literal(b"]");
        }
    }
}

#[inline(always)]
fn quote(c: &mut Cursor<'_>, find: impl Fn(&[u8]) -> Option<(Known, Scales)>) -> Option<(Known, Hot)> {
    c.literal(b"{\"u\":")?;
    c.u64()?;
    c.literal(b",\"s\":\"")?;
    let (symbol, scales) = find(c.until_quote()?)?;
    c.literal(b"\",\"b\":\"")?;
    let bid = c.fixed(scales.price)?;
    c.literal(b"\",\"B\":\"")?;
    let bid_size = c.fixed(scales.size)?;
    c.literal(b"\",\"a\":\"")?;
    let ask = c.fixed(scales.price)?;
    c.literal(b"\",\"A\":\"")?;
    let ask_size = c.fixed(scales.size)?;
    c.literal(b"\"}")?;
    if (bid | bid_size | ask | ask_size) < 0 {
        return None;
    }
    Some((symbol, Hot::Quote(Quote { bid: side(bid, bid_size), ask: side(ask, ask_size) })))
}

/// The events of other streams and of user data: known, not used.
pub(super) fn is_unused(event: &str) -> bool {
    const NAMES: [&str; 15] = [
        "24hrTicker",
        "24hrMiniTicker",
        "1hTicker",
        "4hTicker",
        "1dTicker",
        "avgPrice",
        "referencePrice",
        "blockTrade",
        "executionReport",
        "outboundAccountPosition",
        "outboundAccountInfo",
        "balanceUpdate",
        "listStatus",
        "externalLockUpdate",
        "eventStreamTerminated",
    ];
    NAMES.contains(&event)
}

/// An error at an offset of the frame.
pub(super) fn frame_error(offset: usize, field: &'static str, problem: impl ToString) -> FrameError {
    FrameError { offset, field, problem: problem.to_string() }
}
