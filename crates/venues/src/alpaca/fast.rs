//! The JSON frames that make up nearly all traffic, in the orders the venue writes them. `None` at the first surprise;
//! then [`super::exact`] reads the frame, to the same messages.
//!
//! Shares' trades and quotes have two orders: frames of 2021 write the time before conditions and tape, those since 2024
//! at the end.

use super::exact::side_of_quote;
use super::market::Market;
use super::messages::{BookMessage, CODE_MAX, Item, QuoteMessage, Scratch, Span, Target, TradeMessage, View};
use crate::Known;
use model::{Side, UnixNanos};
use scan::Cursor;

/// Reads a frame of usual messages of known instruments.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let mut c = Cursor::new(frame);
    c.literal(b"[{\"T\":\"")?;
    scratch.clear();
    loop {
        let item = match c.peek()? {
            b't' => trade(&mut c, view, scratch)?,
            b'q' => quote(&mut c, view, scratch)?,
            _ => book(&mut c, view, scratch)?,
        };
        scratch.items.push(item);
        if !c.skip_if(b"},{\"T\":\"") {
            c.literal(b"}]")?;
            return c.end();
        }
    }
}

#[inline(always)]
fn market<'a>(c: &mut Cursor<'_>, view: View<'a>) -> Option<(Known, &'a Market)> {
    let index = view.instruments.find(c.until_quote()?)?;
    Some((index, &view.markets[index as usize]))
}

#[inline(always)]
fn time(c: &mut Cursor<'_>, scratch: &mut Scratch) -> Option<UnixNanos> {
    c.literal(b"\"t\":\"")?;
    let time = c.rfc3339_nanos(&mut scratch.days)?;
    c.literal(b"\"")?;
    Some(UnixNanos(time))
}

/// A code between quotes, of which the first is read.
#[inline(always)]
fn code(c: &mut Cursor<'_>, scratch: &mut Scratch) -> Option<Span> {
    let text = std::str::from_utf8(c.until_quote()?).ok()?;
    c.literal(b"\"")?;
    scratch.keep(text, CODE_MAX)
}

/// Conditions with their key.
#[inline(always)]
fn conditions(c: &mut Cursor<'_>, scratch: &mut Scratch) -> Option<Span> {
    c.literal(b"\"c\":[")?;
    let from = scratch.begin_list();
    if !c.skip_if(b"]") {
        let mut first = true;
        loop {
            c.literal(b"\"")?;
            let text = std::str::from_utf8(c.until_quote()?).ok()?;
            scratch.add_to_list(from, text, first)?;
            first = false;
            if !c.skip_if(b"\",") {
                c.literal(b"\"]")?;
                break;
            }
        }
    }
    Some(scratch.end_list(from))
}

/// The conditions as they stand, unread by anyone.
#[inline(always)]
fn skip_conditions(c: &mut Cursor<'_>) -> Option<()> {
    c.literal(b"\"c\":[")?;
    if c.skip_if(b"]") {
        return Some(());
    }
    loop {
        c.literal(b"\"")?;
        c.until_quote()?;
        if !c.skip_if(b"\",") {
            return c.literal(b"\"]");
        }
    }
}

#[inline(always)]
fn trade(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Item> {
    c.literal(b"t\",\"")?;
    // In 2021 the id came before the symbol.
    let mut id = None;
    if c.skip_if(b"i\":") {
        id = Some(c.u64()?);
        c.literal(b",\"")?;
    }
    c.literal(b"S\":\"")?;
    let (index, m) = market(c, view)?;
    c.literal(b"\",\"")?;
    let mut t = TradeMessage {
        target: Target::Known(index),
        side: None,
        price: 0,
        size: 0,
        id,
        time: UnixNanos::ZERO,
        conditions: Span::default(),
        exchange: Span::default(),
        tape: Span::default(),
    };
    if id.is_none() && c.skip_if(b"p\":") {
        t.price = c.fixed(m.price_scale)?;
        c.literal(b",\"s\":")?;
        t.size = c.fixed(m.size_scale)?;
        c.literal(b",")?;
        t.time = time(c, scratch)?;
        c.literal(b",\"i\":")?;
        t.id = Some(c.u64()?);
        c.literal(b",\"tks\":\"")?;
        if c.skip_if(b"B") {
            t.side = Some(Side::Buy);
        } else if c.skip_if(b"S") {
            t.side = Some(Side::Sell);
        } else {
            c.literal(b"-")?;
        }
        c.literal(b"\"")?;
    } else {
        if id.is_none() {
            c.literal(b"i\":")?;
            t.id = Some(c.u64()?);
            c.literal(b",\"")?;
        }
        c.literal(b"x\":\"")?;
        t.exchange = code(c, scratch)?;
        c.literal(b",\"p\":")?;
        t.price = c.fixed(m.price_scale)?;
        c.literal(b",\"s\":")?;
        t.size = c.fixed(m.size_scale)?;
        c.literal(b",")?;
        let late = !c.rest().starts_with(b"\"t");
        if !late {
            t.time = time(c, scratch)?;
            c.literal(b",")?;
        }
        t.conditions = conditions(c, scratch)?;
        c.literal(b",\"z\":\"")?;
        t.tape = code(c, scratch)?;
        if late {
            c.literal(b",")?;
            t.time = time(c, scratch)?;
        }
    }
    (t.price > 0 && t.size >= 0).then_some(Item::Trade(t))
}

#[inline(always)]
fn quote(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Item> {
    c.literal(b"q\",\"S\":\"")?;
    let (index, m) = market(c, view)?;
    let (price, size) = (m.price_scale, m.size_scale);
    let share = c.skip_if(b"\",\"bx\":\"");
    if share {
        c.until_quote()?;
    }
    c.literal(b"\",\"bp\":")?;
    let bid = c.fixed(price)?;
    c.literal(b",\"bs\":")?;
    let bid_size = c.fixed(size)?;
    if share {
        c.literal(b",\"ax\":\"")?;
        c.until_quote()?;
        c.literal(b"\"")?;
    }
    c.literal(b",\"ap\":")?;
    let ask = c.fixed(price)?;
    c.literal(b",\"as\":")?;
    let ask_size = c.fixed(size)?;
    c.literal(b",")?;
    let late = share && !c.rest().starts_with(b"\"t");
    let mut at = UnixNanos::ZERO;
    if !late {
        at = time(c, scratch)?;
    }
    if share {
        if !late {
            c.literal(b",")?;
        }
        skip_conditions(c)?;
        c.literal(b",\"z\":\"")?;
        c.until_quote()?;
        c.literal(b"\"")?;
    }
    if late {
        c.literal(b",")?;
        at = time(c, scratch)?;
    }
    if bid < 0 || ask < 0 || bid_size < 0 || ask_size < 0 {
        return None;
    }
    let lot = if m.crypto { 1 } else { view.lot };
    let bid = side_of_quote(bid, bid_size, lot).ok()?;
    let ask = side_of_quote(ask, ask_size, lot).ok()?;
    Some(Item::Quote(QuoteMessage { target: Target::Known(index), bid, ask, time: at }))
}

#[inline(always)]
fn book(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Item> {
    c.literal(b"o\",\"S\":\"")?;
    let (index, m) = market(c, view)?;
    c.literal(b"\",")?;
    let time = time(c, scratch)?;
    let (bids, asks) = (scratch.bids.len(), scratch.asks.len());
    c.literal(b",\"b\":[")?;
    levels(c, m, &mut scratch.bids)?;
    c.literal(b",\"a\":[")?;
    levels(c, m, &mut scratch.asks)?;
    let mut reset = false;
    if c.skip_if(b",\"r\":") {
        reset = c.bool()?;
    }
    let (bids, asks) = (bids..scratch.bids.len(), asks..scratch.asks.len());
    Some(Item::Book(BookMessage { target: Target::Known(index), bids, asks, reset, time }))
}

/// Levels up to and with the closing bracket.
#[inline(always)]
fn levels(c: &mut Cursor<'_>, m: &Market, levels: &mut Vec<(i64, i64)>) -> Option<()> {
    if c.skip_if(b"]") {
        return Some(());
    }
    loop {
        c.literal(b"{\"p\":")?;
        let price = c.fixed(m.price_scale)?;
        c.literal(b",\"s\":")?;
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
