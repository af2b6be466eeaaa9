//! Trades whose keys come in another order than the venue writes today: one pass over the frame, no detours.
//!
//! Stands between [`super::fast`] and [`super::exact`]: should the venue ever move or add a field, every trade comes this
//! way, and must not cost several times as much. Takes only what `exact` reads to the same message, each key once, in
//! plain spelling; `None` at any other surprise.

use crate::kraken::messages::{Kind, Message, Scratch, Target, TradeMessage, View};
use model::{Side, UnixNanos};
use scan::Cursor;

/// Reads a frame of trades of known instruments.
pub fn trades(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let mut c = Cursor::new(frame);
    c.open(b'{')?;
    scratch.clear_all();
    let (mut channel, mut kind, mut data) = (None, None, None);
    loop {
        match c.key()? {
            b"channel" if channel.is_none() => channel = Some(c.text().filter(|name| *name == b"trade")?),
            b"type" if kind.is_none() => {
                kind = Some(match c.text()? {
                    b"update" => Kind::Update,
                    b"snapshot" => Kind::Snapshot,
                    _ => return None,
                })
            }
            b"data" if data.is_none() => data = Some(elements(&mut c, view, scratch)?),
            _ => return None,
        }
        if !c.more(b'}')? {
            break;
        }
    }
    c.end()?;
    channel.and(data)?;
    kind.map(Message::Trades)
}

#[inline(always)]
fn elements(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    c.open(b'[')?;
    loop {
        trade(c, view, scratch)?;
        if !c.more(b']')? {
            return Some(());
        }
    }
}

const SYMBOL: u8 = 1;
const SIDE: u8 = 2;
const PRICE: u8 = 4;
const SIZE: u8 = 8;
const ID: u8 = 16;
const TIME: u8 = 32;
const ALL: u8 = 63;

#[inline(always)]
fn trade(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    c.open(b'{')?;
    let (mut seen, mut symbol, mut side) = (0, &b""[..], Side::Buy);
    // Decimals are read when the symbol has told their scales.
    let (mut price, mut size, mut id, mut time) = (*c, *c, None, 0);
    loop {
        let field = match c.key()? {
            b"symbol" => {
                symbol = c.text()?;
                SYMBOL
            }
            b"side" => {
                side = match c.text()? {
                    b"buy" => Side::Buy,
                    b"sell" => Side::Sell,
                    _ => return None,
                };
                SIDE
            }
            b"price" => {
                price = *c;
                c.skip_number()?;
                PRICE
            }
            b"qty" => {
                size = *c;
                c.skip_number()?;
                SIZE
            }
            b"trade_id" => {
                id = Some(c.u64()?);
                ID
            }
            b"timestamp" => {
                c.literal(b"\"")?;
                time = c.rfc3339_nanos(&mut scratch.days)?;
                c.literal(b"\"")?;
                TIME
            }
            b"ord_type" => {
                c.skip_flat()?;
                0
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
    let index = view.instruments.find(symbol)?;
    let m = &view.markets[index as usize];
    let (price, size) = (price.fixed(m.price_scale)?, size.fixed(m.size_scale)?);
    if price <= 0 || size < 0 {
        return None;
    }
    let time = UnixNanos(time);
    scratch.trades.push(TradeMessage { target: Target::Known(index), side, price, size, id, time });
    Some(())
}
