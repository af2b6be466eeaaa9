//! The frames that make up nearly all traffic, as the venue always writes them. `None` at the first surprise; then
//! [`super::exact`] reads the frame, to the same message.
//!
//! The pair stands last, and with it what scale the numbers have: the frame's tail is found first, backwards, then the
//! payload is read forwards and must end where the tail begins.

use super::book_depth;
use crate::kraken::market::Market;
use crate::kraken::messages::{BookMessage, Kind, Message, QuoteMessage, Scratch, Target, TradeMessage, View};
use model::{Side, UnixNanos};
use scan::Cursor;

/// What stands behind the payload.
struct Tail<'a> {
    /// Where it begins: the comma behind the payload.
    from: usize,
    name: &'a [u8],
    pair: &'a [u8],
}

impl<'a> Tail<'a> {
    #[inline(always)]
    fn of(frame: &'a [u8]) -> Option<Tail<'a>> {
        let (rest, pair) = last_text(frame.strip_suffix(b"\"]")?)?;
        let (rest, name) = last_text(rest.strip_suffix(b"\",")?)?;
        Some(Tail { from: rest.strip_suffix(b",")?.len(), name, pair })
    }
}

/// What stands before and behind the last quote.
#[inline(always)]
fn last_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let quote = bytes.iter().rposition(|b| *b == b'"')?;
    Some((&bytes[..quote], &bytes[quote + 1..]))
}

/// Reads a frame of a usual shape.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    if frame == br#"{"event":"heartbeat"}"# {
        return Some(Message::Heartbeat);
    }
    let tail = Tail::of(frame)?;
    let index = view.instruments.find(tail.pair)?;
    let (target, m) = (Target::Known(index), &view.markets[index as usize]);
    let mut c = Cursor::new(frame);
    c.literal(b"[")?;
    c.u64()?;
    c.literal(b",")?;
    scratch.clear();
    let message = match tail.name {
        b"trade" => trades(&mut c, target, m, scratch)?,
        b"spread" => spread(&mut c, target, m, scratch)?,
        b"ticker" => ticker(&mut c, target, m, scratch)?,
        name => {
            let depth = book_depth(name)?;
            update(&mut c, target, m, depth, scratch)?
        }
    };
    (c.offset() == tail.from).then_some(message)
}

/// A time in seconds with its decimals, in quotes.
#[inline(always)]
fn time(c: &mut Cursor<'_>) -> Option<UnixNanos> {
    u64::try_from(c.fixed_quoted(9)?).ok().map(UnixNanos)
}

/// An update of one or both sides; the checksum closes it. Snapshots teach the digits and are read exactly.
#[inline(always)]
fn update(c: &mut Cursor<'_>, target: Target, m: &Market, depth: u32, scratch: &mut Scratch) -> Option<Message> {
    let mut time = UnixNanos::ZERO;
    let asks_first = c.skip_if(b"{\"a\":[");
    if asks_first {
        levels(c, m, &mut scratch.asks, &mut time)?;
        if c.skip_if(b"},{\"b\":[") {
            levels(c, m, &mut scratch.bids, &mut time)?;
        }
    } else {
        c.literal(b"{\"b\":[")?;
        levels(c, m, &mut scratch.bids, &mut time)?;
        if c.skip_if(b"},{\"a\":[") {
            levels(c, m, &mut scratch.asks, &mut time)?;
        }
    }
    c.literal(b",\"c\":\"")?;
    let checksum = u32::try_from(c.u64()?).ok()?;
    c.literal(b"\"}")?;
    scratch.books.push(BookMessage {
        target,
        bids: 0..scratch.bids.len(),
        asks: 0..scratch.asks.len(),
        asks_first,
        checksum: Some(checksum),
        time,
        digits: None,
        depth: Some(depth),
    });
    Some(Message::Books(Kind::Update))
}

/// Levels up to and with the closing bracket; the latest of their times is the message's.
#[inline(always)]
fn levels(c: &mut Cursor<'_>, m: &Market, levels: &mut Vec<(i64, i64)>, latest: &mut UnixNanos) -> Option<()> {
    loop {
        c.literal(b"[")?;
        let price = c.fixed_quoted(m.price_scale)?;
        c.literal(b",")?;
        let size = c.fixed_quoted(m.size_scale)?;
        c.literal(b",")?;
        *latest = time(c)?.max(*latest);
        // A level that was sent before and comes into view again.
        c.skip_if(b",\"r\"");
        if price <= 0 || size < 0 {
            return None;
        }
        levels.push((price, size));
        if !c.skip_if(b"],") {
            return c.literal(b"]]");
        }
    }
}

#[inline(always)]
fn trades(c: &mut Cursor<'_>, target: Target, m: &Market, scratch: &mut Scratch) -> Option<Message> {
    c.literal(b"[")?;
    loop {
        c.literal(b"[")?;
        let price = c.fixed_quoted(m.price_scale)?;
        c.literal(b",")?;
        let size = c.fixed_quoted(m.size_scale)?;
        c.literal(b",")?;
        let time = time(c)?;
        c.literal(b",\"")?;
        let side = if c.skip_if(b"b") {
            Side::Buy
        } else {
            c.literal(b"s")?;
            Side::Sell
        };
        c.literal(b"\",")?;
        c.text()?;
        c.literal(b",")?;
        c.text()?;
        if price <= 0 || size < 0 {
            return None;
        }
        scratch.trades.push(TradeMessage { target, side, price, size, id: None, time });
        if !c.skip_if(b"],") {
            c.literal(b"]]")?;
            return Some(Message::Trades(Kind::Update));
        }
    }
}

#[inline(always)]
fn spread(c: &mut Cursor<'_>, target: Target, m: &Market, scratch: &mut Scratch) -> Option<Message> {
    c.literal(b"[")?;
    let bid = c.fixed_quoted(m.price_scale)?;
    c.literal(b",")?;
    let ask = c.fixed_quoted(m.price_scale)?;
    c.literal(b",")?;
    let time = time(c)?;
    c.literal(b",")?;
    let bid_size = c.fixed_quoted(m.size_scale)?;
    c.literal(b",")?;
    let ask_size = c.fixed_quoted(m.size_scale)?;
    c.literal(b"]")?;
    quote(target, (bid, bid_size), (ask, ask_size), time, scratch)
}

#[inline(always)]
fn ticker(c: &mut Cursor<'_>, target: Target, m: &Market, scratch: &mut Scratch) -> Option<Message> {
    c.literal(b"{\"a\":")?;
    let ask = best(c, m)?;
    c.literal(b",\"b\":")?;
    let bid = best(c, m)?;
    // The figures of the last 24 hours are not used, only read to know where they end.
    for key in [b",\"c\":", b",\"v\":", b",\"p\":", b",\"t\":", b",\"l\":", b",\"h\":", b",\"o\":"] {
        c.literal(key)?;
        c.literal(b"[")?;
        c.skip_flat()?;
        c.literal(b",")?;
        c.skip_flat()?;
        c.literal(b"]")?;
    }
    c.literal(b"}")?;
    quote(target, bid, ask, UnixNanos::ZERO, scratch)
}

/// Price, whole lots, size.
#[inline(always)]
fn best(c: &mut Cursor<'_>, m: &Market) -> Option<(i64, i64)> {
    c.literal(b"[")?;
    let price = c.fixed_quoted(m.price_scale)?;
    c.literal(b",")?;
    c.skip_flat()?;
    c.literal(b",")?;
    let size = c.fixed_quoted(m.size_scale)?;
    c.literal(b"]")?;
    Some((price, size))
}

#[inline(always)]
fn quote(target: Target, bid: (i64, i64), ask: (i64, i64), time: UnixNanos, scratch: &mut Scratch) -> Option<Message> {
    if bid.0 <= 0 || ask.0 <= 0 || bid.1 < 0 || ask.1 < 0 {
        return None;
    }
    scratch.quotes.push(QuoteMessage { target, bid: Some(bid), ask: Some(ask), time });
    Some(Message::Quotes(Kind::Update))
}
