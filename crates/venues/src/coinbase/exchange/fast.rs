//! The frames that make up nearly all traffic, in the orders the venue writes them. `None` at the first surprise; then
//! [`super::flat`] or [`super::exact`] reads the frame, to the same message.

use super::market::Market;
use super::messages::{BeatMessage, Like, MatchMessage, Message, QuoteMessage, Scratch, Target, View, order_id};
use crate::Known;
use book::Level;
use model::{Price, Qty, Side, UnixNanos};
use scan::{Cursor, Shape};

/// Bytes of a UUID as it is written.
const UUID_LEN: usize = 36;

/// Bytes of one level of a snapshot, at least, with its comma: to make room for all of them at once.
const LEVEL_BYTES: usize = 24;

/// Reads a frame of a usual shape.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"type\":\"")?;
    match c.peek()? {
        b'm' => {
            c.literal(b"match\",\"trade_id\":")?;
            trade(&mut c, false, view, scratch)
        }
        b'l' => {
            if c.skip_if(b"l2update\",\"product_id\":\"") {
                return changes(&mut c, view, scratch);
            }
            c.literal(b"last_match\",\"trade_id\":")?;
            trade(&mut c, true, view, scratch)
        }
        b't' => {
            c.literal(b"ticker\",\"sequence\":")?;
            quote(&mut c, view, scratch)
        }
        b'h' => {
            c.literal(b"heartbeat\",\"")?;
            beat(&mut c, view, scratch)
        }
        b's' => {
            c.literal(b"snapshot\",\"product_id\":\"")?;
            snapshot(&mut c, view, scratch)
        }
        _ => None,
    }
}

#[inline(always)]
fn market<'a>(c: &mut Cursor<'_>, view: View<'a>) -> Option<(Known, &'a Market)> {
    let index = view.instruments.find(c.until_quote()?)?;
    Some((index, &view.markets[index as usize]))
}

/// A number in quotes whose scale is not known yet: where it begins. The cursor goes to the closing quote.
#[inline(always)]
fn later<'a>(c: &mut Cursor<'a>, shape: &mut Shape) -> Option<Cursor<'a>> {
    let at = *c;
    c.pass_like(shape)?;
    Some(at)
}

/// The number a cursor was kept for, up to its closing quote.
#[inline(always)]
fn now(mut at: Cursor<'_>, scale: u8) -> Option<i64> {
    let value = at.fixed(scale)?;
    at.literal(b"\"")?;
    Some(value)
}

#[inline(always)]
fn time(c: &mut Cursor<'_>, scratch: &mut Scratch) -> Option<UnixNanos> {
    Some(UnixNanos(c.rfc3339_nanos(&mut scratch.days)?))
}

/// Sides come as they please: nothing here branches on which it is.
#[inline(always)]
fn side(c: &mut Cursor<'_>) -> Option<Side> {
    let word = u32::from_le_bytes(*c.rest().first_chunk()?);
    let (buy, sell) = (word == u32::from_le_bytes(*b"buy\""), word == u32::from_le_bytes(*b"sell"));
    if !(buy | sell) {
        return None;
    }
    c.skip(3 + usize::from(sell))?;
    c.literal(b"\"")?;
    Some([Side::Buy, Side::Sell][usize::from(sell)])
}

#[inline(always)]
fn trade(c: &mut Cursor<'_>, last: bool, view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let like = &mut scratch.like;
    let id = c.u64_like(&mut like.id)?;
    c.literal(b",\"maker_order_id\":\"")?;
    let order = c.until_quote_likely::<UUID_LEN>()?;
    c.literal(b"\",\"taker_order_id\":\"")?;
    c.until_quote_likely::<UUID_LEN>()?;
    c.literal(b"\",\"side\":\"")?;
    let maker = side(c)?;
    c.literal(b",\"size\":\"")?;
    let size = later(c, &mut like.size)?;
    c.literal(b"\",\"price\":\"")?;
    let price = later(c, &mut like.price)?;
    c.literal(b"\",\"product_id\":\"")?;
    let (index, m) = market(c, view)?;
    c.literal(b"\",\"sequence\":")?;
    let sequence = c.u64_like(&mut like.sequence)?;
    c.literal(b",\"time\":\"")?;
    let time = time(c, scratch)?;
    c.literal(b"\"}")?;
    c.end()?;
    let (price, size) = (now(price, m.price_scale)?, now(size, m.size_scale)?);
    if price <= 0 || size < 0 {
        return None;
    }
    let order = if m.full { order_id(order)? } else { [0; 2] };
    let target = Target::Known(index);
    Some(Message::Match(MatchMessage { target, last, maker, price, size, id, sequence, order, time }))
}

#[inline(always)]
fn changes(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let (index, m) = market(c, view)?;
    let mut at = UnixNanos::ZERO;
    let timed = c.skip_if(b"\",\"time\":\"");
    if timed {
        at = time(c, scratch)?;
    }
    c.literal(b"\",\"changes\":[")?;
    scratch.changes.clear();
    if !c.skip_if(b"]") {
        loop {
            c.literal(b"[\"")?;
            let side = side(c)?;
            c.literal(b",\"")?;
            let level = level(c, m, &mut scratch.like)?;
            scratch.changes.push((side, level));
            if !c.skip_if(b"\"],") {
                c.literal(b"\"]]")?;
                break;
            }
        }
    }
    if !timed {
        c.literal(b",\"time\":\"")?;
        at = time(c, scratch)?;
        c.literal(b"\"")?;
    }
    c.literal(b"}")?;
    c.end()?;
    Some(Message::Changes(Target::Known(index), at))
}

/// Price and size, in quotes, but for the first and the last one.
#[inline(always)]
fn level(c: &mut Cursor<'_>, m: &Market, like: &mut Like) -> Option<Level> {
    let price = c.fixed_like(m.price_scale, &mut like.price)?;
    c.literal(b"\",\"")?;
    let size = c.fixed_like(m.size_scale, &mut like.size)?;
    if price <= 0 || size < 0 {
        return None;
    }
    Some(Level { price: Price(price), size: Qty(size) })
}

#[inline(always)]
fn snapshot(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let (index, m) = market(c, view)?;
    // A snapshot may teach the scales of an instrument that is only guessed yet.
    if m.provisional {
        return None;
    }
    c.literal(b"\",\"")?;
    if c.skip_if(b"asks\":[") {
        levels(c, m, &mut scratch.like, &mut scratch.asks)?;
        c.literal(b",\"bids\":[")?;
        levels(c, m, &mut scratch.like, &mut scratch.bids)?;
    } else {
        c.literal(b"bids\":[")?;
        levels(c, m, &mut scratch.like, &mut scratch.bids)?;
        c.literal(b",\"asks\":[")?;
        levels(c, m, &mut scratch.like, &mut scratch.asks)?;
    }
    let mut at = UnixNanos::ZERO;
    if c.skip_if(b",\"time\":\"") {
        at = time(c, scratch)?;
        c.literal(b"\"")?;
    }
    c.literal(b"}")?;
    c.end()?;
    Some(Message::Snapshot(Target::Known(index), at))
}

/// Levels up to and with the closing bracket.
#[inline(always)]
fn levels(c: &mut Cursor<'_>, m: &Market, like: &mut Like, levels: &mut Vec<(Price, Qty)>) -> Option<()> {
    levels.clear();
    if c.skip_if(b"]") {
        return Some(());
    }
    // The sides are about as long as each other.
    levels.reserve(c.rest().len() / 2 / LEVEL_BYTES);
    // Kept close by: a loop over many levels.
    let mut near = *like;
    c.literal(b"[\"")?;
    loop {
        let Level { price, size } = level(c, m, &mut near)?;
        levels.push((price, size));
        if !c.skip_if(b"\"],[\"") {
            *like = near;
            return c.literal(b"\"]]");
        }
    }
}

#[inline(always)]
fn quote(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    c.u64()?;
    c.literal(b",\"product_id\":\"")?;
    let (index, m) = market(c, view)?;
    // The figures of the last trade and the last day are only read to know where they end.
    c.literal(b"\",\"price\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"open_24h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"volume_24h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"low_24h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"high_24h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"volume_30d\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"best_bid\":\"")?;
    let bid = c.fixed(m.price_scale)?;
    let (mut bid_size, mut ask_size) = (0, 0);
    let sized = c.skip_if(b"\",\"best_bid_size\":\"");
    if sized {
        bid_size = c.fixed(m.size_scale)?;
    }
    c.literal(b"\",\"best_ask\":\"")?;
    let ask = c.fixed(m.price_scale)?;
    if sized {
        c.literal(b"\",\"best_ask_size\":\"")?;
        ask_size = c.fixed(m.size_scale)?;
    }
    c.literal(b"\",\"side\":\"")?;
    side(c)?;
    c.literal(b",\"time\":\"")?;
    let time = time(c, scratch)?;
    c.literal(b"\",\"trade_id\":")?;
    c.u64()?;
    c.literal(b",\"last_size\":\"")?;
    c.until_quote()?;
    c.literal(b"\"}")?;
    c.end()?;
    if bid <= 0 || ask <= 0 || bid_size < 0 || ask_size < 0 {
        return None;
    }
    let (bid, ask) = (Some((bid, bid_size)), Some((ask, ask_size)));
    Some(Message::Quote(QuoteMessage { target: Target::Known(index), bid, ask, time }))
}

#[inline(always)]
fn beat(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let (index, sequence, last_trade);
    if c.skip_if(b"sequence\":") {
        sequence = c.u64()?;
        c.literal(b",\"last_trade_id\":")?;
        last_trade = c.u64()?;
        c.literal(b",\"product_id\":\"")?;
        index = market(c, view)?.0;
        c.literal(b"\"")?;
    } else {
        c.literal(b"last_trade_id\":")?;
        last_trade = c.u64()?;
        c.literal(b",\"product_id\":\"")?;
        index = market(c, view)?.0;
        c.literal(b"\",\"sequence\":")?;
        sequence = c.u64()?;
    }
    c.literal(b",\"time\":\"")?;
    time(c, scratch)?;
    c.literal(b"\"}")?;
    c.end()?;
    Some(Message::Beat(BeatMessage { target: Target::Known(index), sequence, last_trade }))
}
