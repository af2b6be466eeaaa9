//! The frames that make up nearly all traffic, in the order the venue always writes them. `None` at the first
//! surprise; then [`super::exact`] reads the frame, to the same message.

use crate::Known;
use crate::kraken::market::Market;
use crate::kraken::messages::{BookMessage, Kind, Message, QuoteMessage, Scratch, Target, TradeMessage, View};
use model::{Side, UnixNanos};
use scan::Cursor;

/// Reads a frame of a usual shape.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"channel\":\"")?;
    scratch.clear();
    match c.peek()? {
        b'b' => {
            c.literal(b"book\",\"type\":\"")?;
            let kind = kind(&mut c)?;
            book(&mut c, kind, view, scratch)?;
            Some(Message::Books(kind))
        }
        b't' => {
            if c.skip_if(b"trade\",\"type\":\"") {
                let kind = kind(&mut c)?;
                trades(&mut c, view, scratch)?;
                return Some(Message::Trades(kind));
            }
            c.literal(b"ticker\",\"type\":\"")?;
            let kind = kind(&mut c)?;
            quote(&mut c, view, scratch)?;
            Some(Message::Quotes(kind))
        }
        _ => {
            c.literal(b"heartbeat\"}")?;
            c.end()?;
            Some(Message::Heartbeat)
        }
    }
}

/// The type and all that stands between it and the first symbol.
#[inline(always)]
fn kind(c: &mut Cursor<'_>) -> Option<Kind> {
    let kind = if c.skip_if(b"update") {
        Kind::Update
    } else {
        c.literal(b"snapshot")?;
        Kind::Snapshot
    };
    c.literal(b"\",\"data\":[{\"symbol\":\"")?;
    Some(kind)
}

#[inline(always)]
fn market<'a>(c: &mut Cursor<'_>, view: View<'a>) -> Option<(Known, &'a Market)> {
    let index = view.instruments.find(c.until_quote()?)?;
    Some((index, &view.markets[index as usize]))
}

#[inline(always)]
fn book(c: &mut Cursor<'_>, kind: Kind, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let (index, m) = market(c, view)?;
    // A snapshot may teach the scales of an instrument that is only guessed yet.
    if kind == Kind::Snapshot && m.provisional {
        return None;
    }
    c.literal(b"\",\"bids\":[")?;
    levels(c, m, &mut scratch.bids)?;
    c.literal(b",\"asks\":[")?;
    levels(c, m, &mut scratch.asks)?;
    c.literal(b",\"checksum\":")?;
    let checksum = u32::try_from(c.u64()?).ok()?;
    let mut time = 0;
    if c.skip_if(b",\"timestamp\":\"") {
        time = c.rfc3339_nanos(&mut scratch.days)?;
        c.literal(b"\"")?;
    }
    c.literal(b"}]}")?;
    c.end()?;
    scratch.books.push(BookMessage {
        target: Target::Known(index),
        bids: 0..scratch.bids.len(),
        asks: 0..scratch.asks.len(),
        asks_first: false,
        checksum: Some(checksum),
        time: UnixNanos(time),
        digits: None,
        depth: None,
    });
    Some(())
}

/// Levels up to and with the closing bracket.
#[inline(always)]
fn levels(c: &mut Cursor<'_>, m: &Market, levels: &mut Vec<(i64, i64)>) -> Option<()> {
    if c.skip_if(b"]") {
        return Some(());
    }
    loop {
        c.literal(b"{\"price\":")?;
        let price = c.fixed(m.price_scale)?;
        c.literal(b",\"qty\":")?;
        let size = c.fixed(m.size_scale)?;
        if price <= 0 || size < 0 {
            return None;
        }
        levels.push((price, size));
        if c.skip_if(b"},") {
            continue;
        }
        return c.literal(b"}]");
    }
}

#[inline(always)]
fn trades(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    loop {
        let (index, m) = market(c, view)?;
        c.literal(b"\",\"side\":\"")?;
        let side = if c.skip_if(b"buy") {
            Side::Buy
        } else {
            c.literal(b"sell")?;
            Side::Sell
        };
        c.literal(b"\",\"price\":")?;
        let price = c.fixed(m.price_scale)?;
        c.literal(b",\"qty\":")?;
        let size = c.fixed(m.size_scale)?;
        c.literal(b",\"ord_type\":\"")?;
        if !c.skip_if(b"limit") {
            c.literal(b"market")?;
        }
        c.literal(b"\",\"trade_id\":")?;
        let id = Some(c.u64()?);
        c.literal(b",\"timestamp\":\"")?;
        let time = UnixNanos(c.rfc3339_nanos(&mut scratch.days)?);
        if price <= 0 || size < 0 {
            return None;
        }
        scratch.trades.push(TradeMessage { target: Target::Known(index), side, price, size, id, time });
        if !c.skip_if(b"\"},{\"symbol\":\"") {
            c.literal(b"\"}]}")?;
            return c.end();
        }
    }
}

#[inline(always)]
fn quote(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let (index, m) = market(c, view)?;
    let (price, size) = (m.price_scale, m.size_scale);
    c.literal(b"\",\"bid\":")?;
    let bid = c.fixed(price)?;
    c.literal(b",\"bid_qty\":")?;
    let bid_size = c.fixed(size)?;
    c.literal(b",\"ask\":")?;
    let ask = c.fixed(price)?;
    c.literal(b",\"ask_qty\":")?;
    let ask_size = c.fixed(size)?;
    if bid <= 0 || ask <= 0 || bid_size < 0 || ask_size < 0 {
        return None;
    }
    // The figures of the last 24 hours are not used, only read to know where they end.
    c.literal(b",\"last\":")?;
    c.fixed(price)?;
    c.literal(b",\"volume\":")?;
    c.fixed(size)?;
    c.literal(b",\"vwap\":")?;
    c.fixed(price)?;
    c.literal(b",\"low\":")?;
    c.fixed(price)?;
    c.literal(b",\"high\":")?;
    c.fixed(price)?;
    c.literal(b",\"change\":")?;
    c.fixed(price)?;
    c.literal(b",\"change_pct\":")?;
    c.fixed(4)?;
    let mut time = 0;
    if c.skip_if(b",\"timestamp\":\"") {
        time = c.rfc3339_nanos(&mut scratch.days)?;
        c.literal(b"\"")?;
    }
    c.literal(b"}]}")?;
    c.end()?;
    let (bid, ask) = (Some((bid, bid_size)), Some((ask, ask_size)));
    scratch.quotes.push(QuoteMessage { target: Target::Known(index), bid, ask, time: UnixNanos(time) });
    Some(())
}
