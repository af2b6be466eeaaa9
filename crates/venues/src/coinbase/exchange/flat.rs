//! Frames without lists, of known products, with their keys in any order: the usual reading of orders, whose keys the
//! venue has written in many orders, and the quick second one of trades. `None` at the first other surprise.

use super::exact::{OrderKind, OrderParts};
use super::messages::{MatchMessage, Message, Scratch, Target, View, order_id};
use model::{Side, UnixNanos};
use scan::Cursor;

/// The fields of a frame, as they stand there.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a [u8]>,
    product: Option<&'a [u8]>,
    order: Option<&'a [u8]>,
    maker: Option<&'a [u8]>,
    side: Option<Side>,
    filled: Option<bool>,
    price: Option<Cursor<'a>>,
    size: Option<Cursor<'a>>,
    remaining: Option<Cursor<'a>>,
    new_size: Option<Cursor<'a>>,
    old_price: Option<Cursor<'a>>,
    new_price: Option<Cursor<'a>>,
    trade: Option<u64>,
    sequence: Option<u64>,
    time: Option<u64>,
    unknown: u64,
}

/// Reads a trade or a step of an order's life; whether it is the latter tells if this is its usual reading.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let f = fields(frame, scratch)?;
    let index = view.instruments.find(f.product?)?;
    let (m, target) = (&view.markets[index as usize], Target::Known(index));
    let price = |at: Option<Cursor<'_>>| at.map_or(Some(None), |at| number(at, m.price_scale).map(Some));
    let size = |at: Option<Cursor<'_>>| at.map_or(Some(None), |at| number(at, m.size_scale).map(Some));
    let time = UnixNanos(f.time?);
    let kind = match f.kind? {
        b"match" | b"last_match" => {
            let (price, size) = (price(f.price)??, size(f.size)??);
            let order = if m.full { order_id(f.maker?)? } else { [0; 2] };
            let (last, maker) = (f.kind == Some(b"last_match"), f.side?);
            let (id, sequence) = (f.trade?, f.sequence?);
            if price <= 0 {
                return None;
            }
            scratch.unknown_fields = f.unknown;
            return Some(Message::Match(MatchMessage { target, last, maker, price, size, id, sequence, order, time }));
        }
        b"received" => OrderKind::Received,
        b"open" => OrderKind::Open,
        b"done" => OrderKind::Done,
        b"change" => OrderKind::Change,
        _ => return None,
    };
    let parts = OrderParts {
        side: f.side,
        order: Some(order_id(f.order?)?),
        filled: f.filled,
        price: price(f.price)?,
        size: size(f.size)?,
        remaining: size(f.remaining)?,
        new_size: size(f.new_size)?,
        old_price: price(f.old_price)?,
        new_price: price(f.new_price)?,
        sequence: Some(f.sequence?),
        time,
    };
    let message = parts.message(kind, target).ok()?;
    scratch.unknown_fields = f.unknown;
    Some(Message::Order(message))
}

/// A number that was kept for later; sizes and prices are not negative.
#[inline(always)]
fn number(mut at: Cursor<'_>, scale: u8) -> Option<i64> {
    at.fixed_quoted(scale).filter(|value| *value >= 0)
}

fn fields<'a>(frame: &'a [u8], scratch: &mut Scratch) -> Option<Fields<'a>> {
    let mut c = Cursor::new(frame);
    let mut f = Fields::default();
    c.open(b'{')?;
    loop {
        match c.key()? {
            b"type" if f.kind.is_none() => f.kind = Some(c.text()?),
            b"product_id" if f.product.is_none() => f.product = Some(c.text()?),
            b"order_id" if f.order.is_none() => f.order = Some(c.text()?),
            b"maker_order_id" if f.maker.is_none() => f.maker = Some(c.text()?),
            b"side" if f.side.is_none() => f.side = Some(side(c.text()?)?),
            b"reason" if f.filled.is_none() => f.filled = Some(c.text()? == b"filled"),
            b"price" => keep(&mut c, &mut f.price)?,
            b"size" => keep(&mut c, &mut f.size)?,
            b"remaining_size" => keep(&mut c, &mut f.remaining)?,
            b"new_size" => keep(&mut c, &mut f.new_size)?,
            b"old_price" => keep(&mut c, &mut f.old_price)?,
            b"new_price" => keep(&mut c, &mut f.new_price)?,
            b"trade_id" if f.trade.is_none() => f.trade = Some(c.u64()?),
            b"sequence" if f.sequence.is_none() => f.sequence = Some(c.u64()?),
            b"time" if f.time.is_none() => {
                c.literal(b"\"")?;
                f.time = Some(c.rfc3339_nanos(&mut scratch.days)?);
                c.literal(b"\"")?;
            }
            b"type" | b"product_id" | b"order_id" | b"maker_order_id" | b"side" | b"reason" | b"trade_id"
            | b"sequence" | b"time" => return None,
            key => {
                f.unknown += u64::from(!super::exact::is_passed_over(key));
                c.skip_flat()?;
            }
        }
        if !c.more(b'}')? {
            break;
        }
    }
    c.end()?;
    Some(f)
}

fn side(text: &[u8]) -> Option<Side> {
    match text {
        b"buy" => Some(Side::Buy),
        b"sell" => Some(Side::Sell),
        _ => None,
    }
}

/// Keeps where a quoted number begins; twice the same key is a surprise.
#[inline(always)]
fn keep<'a>(c: &mut Cursor<'a>, field: &mut Option<Cursor<'a>>) -> Option<()> {
    if field.is_some() {
        return None;
    }
    *field = Some(*c);
    c.text().map(drop)
}
