//! Trades whose keys come in another order than the venue writes today: one pass over the frame, no detours.
//!
//! Stands between [`super::fast`] and [`super::exact`]: the venue's own documents show another order than it sends, and
//! should it ever change or add a field, every trade comes this way. Takes only what `exact` reads to the same message,
//! each key once, in plain spelling; `None` at any other surprise.

use super::messages::{Kind, Message, Scratch, Target, TradeMessage, View};
use model::{Side, UnixNanos};
use scan::Cursor;

/// Reads a frame of trades of known instruments.
pub fn trades(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let mut c = Cursor::new(frame);
    c.open(b'{')?;
    scratch.clear_all();
    let (mut channel, mut events, mut client, mut sent) = (None, None, None, None);
    loop {
        match c.key()? {
            b"channel" if channel.is_none() => channel = Some(c.text().filter(|name| *name == b"market_trades")?),
            b"sequence_num" if scratch.sequence.is_none() => scratch.sequence = Some(c.u64()?),
            b"events" if events.is_none() => events = Some(list(&mut c, view, scratch, event)?),
            b"client_id" if client.is_none() => client = Some(c.text()?),
            b"timestamp" if sent.is_none() => sent = Some(c.text()?),
            _ => return None,
        }
        if !c.more(b'}')? {
            break;
        }
    }
    c.end()?;
    channel.and(events)?;
    scratch.sequence?;
    Some(Message::Trades)
}

/// A list of at least one item.
#[inline(always)]
fn list(
    c: &mut Cursor<'_>,
    view: View<'_>,
    scratch: &mut Scratch,
    mut item: impl FnMut(&mut Cursor<'_>, View<'_>, &mut Scratch) -> Option<()>,
) -> Option<()> {
    c.open(b'[')?;
    loop {
        item(c, view, scratch)?;
        if !c.more(b']')? {
            return Some(());
        }
    }
}

#[inline(always)]
fn event(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    c.open(b'{')?;
    let first = scratch.trades.len();
    let (mut kind, mut trades) = (None, None);
    loop {
        match c.key()? {
            b"type" if kind.is_none() => {
                kind = Some(match c.text()? {
                    b"update" => Kind::Update,
                    b"snapshot" => Kind::Snapshot,
                    _ => return None,
                })
            }
            b"trades" if trades.is_none() => trades = Some(list(c, view, scratch, trade)?),
            _ => return None,
        }
        if !c.more(b'}')? {
            break;
        }
    }
    trades?;
    let kind = kind?;
    scratch.trades[first..].iter_mut().for_each(|t| t.kind = kind);
    Some(())
}

const PRODUCT: u8 = 1;
const SIDE: u8 = 2;
const PRICE: u8 = 4;
const SIZE: u8 = 8;
const ID: u8 = 16;
const TIME: u8 = 32;
const ALL: u8 = 63;

#[inline(always)]
fn trade(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    c.open(b'{')?;
    let (mut seen, mut product, mut side) = (0, &b""[..], Side::Buy);
    // Decimals are read when the product has told their scales.
    let (mut price, mut size, mut id, mut time) = (*c, *c, 0, 0);
    loop {
        let field = match c.key()? {
            b"product_id" => {
                product = c.text()?;
                PRODUCT
            }
            b"side" => {
                side = match c.text()? {
                    b"BUY" => Side::Buy,
                    b"SELL" => Side::Sell,
                    _ => return None,
                };
                SIDE
            }
            b"price" => {
                price = *c;
                c.text()?;
                PRICE
            }
            b"size" => {
                size = *c;
                c.text()?;
                SIZE
            }
            b"trade_id" => {
                c.literal(b"\"")?;
                id = c.u64()?;
                c.literal(b"\"")?;
                ID
            }
            b"time" => {
                c.literal(b"\"")?;
                time = c.rfc3339_nanos(&mut scratch.days)?;
                c.literal(b"\"")?;
                TIME
            }
            _ => {
                c.skip_flat()?;
                scratch.unknown_fields += 1;
                0
            }
        };
        if seen & field != 0 {
            return None;
        }
        seen |= field;
        if !c.more(b'}')? {
            break;
        }
    }
    if seen != ALL {
        return None;
    }
    let index = view.names.get(product)?;
    let m = &view.markets[index as usize];
    let (price, size) = (price.fixed_quoted(m.price_scale)?, size.fixed_quoted(m.size_scale)?);
    if price <= 0 || size < 0 {
        return None;
    }
    let (target, time) = (Target::Known(index), UnixNanos(time));
    scratch.trades.push(TradeMessage { target, kind: Kind::Update, side: Some(side), price, size, id, time });
    Some(())
}
