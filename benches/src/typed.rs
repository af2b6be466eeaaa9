//! What a careful programmer writes without a scanner of his own: serde_json into exact types, every field used.
//!
//! Text that may be escaped is a `Cow`, numbers outside quotes are raw text, so nothing goes through a float.

use crate::fixed_order::{Level, Side, Trade};
use crate::recorded::Sums;
use scan::{fixed, rfc3339_nanos};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Decimals of the mantissas: what both venues' texts have at most.
const SCALE: u8 = 8;

/// A text of the frame, borrowed unless it is escaped.
type Text<'a> = Cow<'a, str>;

#[derive(Deserialize)]
struct BinanceTrade<'a> {
    #[serde(rename = "E")]
    sent_ms: u64,
    #[serde(borrow)]
    s: Text<'a>,
    t: u64,
    #[serde(borrow)]
    p: Text<'a>,
    #[serde(borrow)]
    q: Text<'a>,
    #[serde(rename = "T")]
    time_ms: u64,
    m: bool,
}

#[derive(Deserialize)]
struct BinanceDepth<'a> {
    #[serde(rename = "E")]
    sent_ms: u64,
    #[serde(borrow)]
    s: Text<'a>,
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    #[serde(borrow)]
    b: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    a: Vec<[&'a str; 2]>,
}

#[derive(Deserialize)]
struct Kraken<'a> {
    #[serde(borrow)]
    channel: Text<'a>,
    #[serde(borrow)]
    data: Vec<KrakenTrade<'a>>,
}

#[derive(Deserialize)]
struct KrakenTrade<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow)]
    side: Text<'a>,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    trade_id: u64,
    #[serde(borrow)]
    timestamp: Text<'a>,
}

fn number(text: &str) -> Option<i64> {
    fixed(text.as_bytes(), SCALE).ok().filter(|(_, len)| *len == text.len()).map(|(mantissa, _)| mantissa)
}

pub fn binance_trade(frame: &[u8]) -> Option<Trade> {
    let t: BinanceTrade<'_> = serde_json::from_slice(frame).ok()?;
    if t.s != "BTCUSDT" || t.sent_ms < t.time_ms {
        return None;
    }
    Some(Trade {
        id: t.t,
        price: number(&t.p)?,
        size: number(&t.q)?,
        time: t.time_ms * 1_000_000,
        side: if t.m { Side::Sell } else { Side::Buy },
    })
}

pub fn binance_depth(frame: &[u8], levels: &mut Vec<Level>) -> Option<(u64, u64, u64)> {
    let d: BinanceDepth<'_> = serde_json::from_slice(frame).ok()?;
    if d.s != "BTCUSDT" {
        return None;
    }
    for (side, texts) in [(Side::Buy, &d.b), (Side::Sell, &d.a)] {
        for [price, size] in texts {
            levels.push(Level { side, price: number(price)?, size: number(size)? });
        }
    }
    Some((d.first, d.u, d.sent_ms * 1_000_000))
}

pub fn kraken_trade(frame: &[u8]) -> Option<Trade> {
    let k: Kraken<'_> = serde_json::from_slice(frame).ok()?;
    let [t] = k.data.as_slice() else { return None };
    if k.channel != "trade" || t.symbol != "BTC/USD" {
        return None;
    }
    Some(Trade {
        id: t.trade_id,
        price: number(t.price.get())?,
        size: number(t.qty.get())?,
        time: rfc3339_nanos(t.timestamp.as_bytes()).ok()?.0,
        side: if t.side == "buy" { Side::Buy } else { Side::Sell },
    })
}

#[derive(Deserialize)]
struct Combined<'a, T> {
    #[serde(borrow)]
    stream: Text<'a>,
    data: T,
}

#[derive(Deserialize)]
struct BinanceQuote<'a> {
    u: u64,
    #[serde(borrow)]
    s: Text<'a>,
    #[serde(borrow)]
    b: &'a str,
    #[serde(borrow, rename = "B")]
    bid_size: &'a str,
    #[serde(borrow)]
    a: &'a str,
    #[serde(borrow, rename = "A")]
    ask_size: &'a str,
}

#[derive(Deserialize)]
struct KrakenBook<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow)]
    bids: Vec<KrakenLevel<'a>>,
    #[serde(borrow)]
    asks: Vec<KrakenLevel<'a>>,
    checksum: u32,
}

#[derive(Deserialize)]
struct KrakenLevel<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

#[derive(Deserialize)]
struct KrakenData<'a> {
    #[serde(borrow)]
    channel: Text<'a>,
    #[serde(borrow)]
    data: Vec<KrakenBook<'a>>,
}

/// A frame of a combined stream; its kind is looked up in the text, which costs less than an untagged enum.
pub fn binance_recorded(frame: &[u8], sums: &mut Sums) -> Option<()> {
    let kind = frame.get(..40).unwrap_or(frame);
    let is = |name: &[u8]| kind.windows(name.len()).any(|window| window == name);
    if is(b"@trade") {
        let t: Combined<'_, BinanceTrade<'_>> = serde_json::from_slice(frame).ok()?;
        sums.trades += 1;
        sums.value = sums.value.wrapping_add(number(&t.data.p)?.wrapping_add(number(&t.data.q)?));
        return (!t.stream.is_empty()).then_some(());
    }
    if is(b"@bookTicker") {
        let q: Combined<'_, BinanceQuote<'_>> = serde_json::from_slice(frame).ok()?;
        sums.quotes += 1;
        for text in [q.data.b, q.data.bid_size, q.data.a, q.data.ask_size] {
            sums.value = sums.value.wrapping_add(number(text)?);
        }
        return (q.data.u > 0 && !q.data.s.is_empty()).then_some(());
    }
    let d: Combined<'_, BinanceDepth<'_>> = serde_json::from_slice(frame).ok()?;
    for [price, size] in d.data.b.iter().chain(&d.data.a) {
        sums.levels += 1;
        sums.value = sums.value.wrapping_add(number(price)?.wrapping_add(number(size)?));
    }
    Some(())
}

/// A frame of a book channel; everything else is not read.
pub fn kraken_recorded(frame: &[u8], sums: &mut Sums) -> Option<()> {
    if !frame.starts_with(br#"{"channel":"book""#) {
        return None;
    }
    let k: KrakenData<'_> = serde_json::from_slice(frame).ok()?;
    let [book] = k.data.as_slice() else { return None };
    for level in book.bids.iter().chain(&book.asks) {
        sums.levels += 1;
        sums.value = sums.value.wrapping_add(number(level.price.get())?.wrapping_add(number(level.qty.get())?));
    }
    (k.channel == "book" && !book.symbol.is_empty() && book.checksum != 0).then_some(())
}
