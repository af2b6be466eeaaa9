//! The frames that make up nearly all traffic, in the order the venue writes them. `None` at the first surprise; then
//! [`super::exact`] reads the frame, to the same message.

use super::market::Market;
use super::messages::{
    BookMessage, Kind, LastProduct, LevelMessage, Message, QuoteMessage, Scratch, Target, TradeMessage, View,
};
use crate::Known;
use model::{Price, Qty, Side, UnixNanos};
use scan::{Cursor, DayCache};

/// Bytes of one level of a snapshot, at least: to make room for all of them at once.
const LEVEL_BYTES: usize = 85;

/// Reads a frame of a usual shape.
#[inline]
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Option<Message> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"channel\":\"")?;
    scratch.clear();
    match c.peek()? {
        b'm' => {
            c.literal(b"market_trades\",\"")?;
            head(&mut c, scratch)?;
            trades(&mut c, view, scratch)?;
            Some(Message::Trades)
        }
        b'l' => {
            c.literal(b"l2_data\",\"")?;
            let sent = head(&mut c, scratch)?;
            book(&mut c, sent, view, scratch)?;
            Some(Message::Books)
        }
        b't' => {
            c.literal(b"ticker\",\"")?;
            let sent = head(&mut c, scratch)?;
            scratch.time = time(sent, &mut scratch.days)?;
            quote(&mut c, view, scratch)?;
            Some(Message::Quotes)
        }
        _ => {
            c.literal(b"heartbeats\",\"")?;
            head(&mut c, scratch)?;
            c.literal(b"\"current_time\":\"")?;
            c.until_quote()?;
            c.literal(b"\",\"heartbeat_counter\":")?;
            scratch.beat = Some(c.u64()?);
            c.literal(b"}]}")?;
            c.end()?;
            Some(Message::Heartbeat)
        }
    }
}

/// From behind the channel up to the first event's first key. Where the time the frame was sent stands is handed back:
/// most frames have no use for it.
#[inline(always)]
fn head<'a>(c: &mut Cursor<'a>, scratch: &mut Scratch) -> Option<Cursor<'a>> {
    c.skip_if(b"client_id\":\"\",\"");
    c.literal(b"timestamp\":\"")?;
    let sent = *c;
    c.until_quote()?;
    c.literal(b"\",\"sequence_num\":")?;
    scratch.sequence = Some(c.u64_like(&mut scratch.like.sequence)?);
    c.literal(b",\"events\":[{")?;
    Some(sent)
}

#[inline(always)]
fn time(mut at: Cursor<'_>, days: &mut DayCache) -> Option<UnixNanos> {
    let nanos = at.rfc3339_nanos(days)?;
    at.literal(b"\"")?;
    Some(UnixNanos(nanos))
}

#[inline(always)]
fn kind(c: &mut Cursor<'_>) -> Option<Kind> {
    c.literal(b"\"type\":\"")?;
    if c.skip_if(b"update\",\"") {
        return Some(Kind::Update);
    }
    c.literal(b"snapshot\",\"")?;
    Some(Kind::Snapshot)
}

#[inline(always)]
fn market<'a>(c: &mut Cursor<'_>, view: View<'a>) -> Option<(Known, &'a Market)> {
    let index = view.names.get(c.until_quote()?)?;
    Some((index, &view.markets[index as usize]))
}

/// [`market`] where the last trade's is the likely one: what follows is then read without looking for where it ends.
#[inline(always)]
fn market_like<'a>(c: &mut Cursor<'_>, view: View<'a>, last: &mut LastProduct) -> Option<(Known, &'a Market)> {
    if let Some((index, len)) = c.rest().first_chunk().and_then(|window| last.find(window)) {
        c.skip(len)?;
        return Some((index, &view.markets[index as usize]));
    }
    let name = c.until_quote()?;
    let index = view.names.get(name)?;
    last.note(name, index);
    Some((index, &view.markets[index as usize]))
}

/// A trade's side as the venue tells it, with its closing quote. Sides come as they please: nothing here branches on which it is.
#[inline(always)]
fn side(c: &mut Cursor<'_>) -> Option<Side> {
    let word = u32::from_le_bytes(*c.rest().first_chunk()?);
    let (buy, sell) = (word == u32::from_le_bytes(*b"BUY\""), word == u32::from_le_bytes(*b"SELL"));
    if !(buy | sell) {
        return None;
    }
    c.skip(3 + usize::from(sell))?;
    c.literal(b"\"")?;
    Some([Side::Buy, Side::Sell][usize::from(sell)])
}

#[inline(always)]
fn trades(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let kind = kind(c)?;
    c.literal(b"trades\":[{\"product_id\":\"")?;
    loop {
        let (index, m) = market_like(c, view, &mut scratch.like.product)?;
        c.literal(b"\",\"trade_id\":\"")?;
        let id = c.u64_like(&mut scratch.like.id)?;
        c.literal(b"\",\"price\":\"")?;
        let price = c.fixed_like(m.price_scale, &mut scratch.like.price)?;
        c.literal(b"\",\"size\":\"")?;
        let size = c.fixed_like(m.size_scale, &mut scratch.like.size)?;
        c.literal(b"\",\"time\":\"")?;
        let time = UnixNanos(c.rfc3339_nanos(&mut scratch.days)?);
        c.literal(b"\",\"side\":\"")?;
        let side = side(c)?;
        if price <= 0 || size < 0 {
            return None;
        }
        let target = Target::Known(index);
        scratch.trades.push(TradeMessage { target, kind, side: Some(side), price, size, id, time });
        if !c.skip_if(b"},{\"product_id\":\"") {
            c.literal(b"}]}]}")?;
            return c.end();
        }
    }
}

#[inline(always)]
fn book(c: &mut Cursor<'_>, sent: Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let kind = kind(c)?;
    c.literal(b"product_id\":\"")?;
    let (index, m) = market(c, view)?;
    c.literal(b"\",\"updates\":[")?;
    let target = Target::Known(index);
    let mut message = BookMessage { target, kind, levels: 0..0, bids: 0..0, asks: 0..0, time: UnixNanos::ZERO };
    match kind {
        Kind::Update => {
            let levels = &mut scratch.levels;
            levels_of(c, m, &mut scratch.days, |side, time, price, size| {
                levels.push(LevelMessage { side, price, size, time });
                size >= 0
            })?;
            message.levels = 0..scratch.levels.len();
        }
        Kind::Snapshot => {
            let (bids, asks) = (&mut scratch.bids, &mut scratch.asks);
            // An ask is only reached behind the bids, so there is room for either.
            let most = c.rest().len() / LEVEL_BYTES;
            bids.reserve(most);
            asks.reserve(most);
            let mut first = None;
            levels_of(c, m, &mut scratch.days, |side, time, price, size| {
                first.get_or_insert(time);
                let levels = if side == Side::Buy { &mut *bids } else { &mut *asks };
                levels.push((Price(price), Qty(size)));
                size >= 0
            })?;
            (message.bids, message.asks) = (0..scratch.bids.len(), 0..scratch.asks.len());
            message.time = first.unwrap_or(UnixNanos::ZERO);
            scratch.time = time(sent, &mut scratch.days)?;
        }
    }
    scratch.books.push(message);
    Some(())
}

/// Levels up to the end of the frame. `take` says whether it can take one.
///
/// Consecutive levels of a side nearly always begin with the same 65 to 75 bytes, as all of a frame have one time:
/// those are compared with the last level's instead of being read again.
#[inline(always)]
fn levels_of(
    c: &mut Cursor<'_>,
    m: &Market,
    days: &mut DayCache,
    mut take: impl FnMut(Side, UnixNanos, i64, i64) -> bool,
) -> Option<()> {
    let (price_scale, size_scale) = (m.price_scale, m.size_scale);
    let (mut begin, mut side, mut time): (&[u8], _, _) = (&[], Side::Buy, UnixNanos::ZERO);
    let mut time_text: &[u8] = &[];
    loop {
        if begins_with(c.rest(), begin) {
            *c = Cursor::new(&c.rest()[begin.len()..]);
        } else {
            let level = c.rest();
            c.literal(b"{\"side\":\"")?;
            side = if c.skip_if(b"bid") {
                Side::Buy
            } else {
                c.literal(b"offer")?;
                Side::Sell
            };
            c.literal(b"\",\"event_time\":\"")?;
            let at = *c;
            let text = c.until_quote()?;
            if text != time_text {
                time = self::time(at, days)?;
                time_text = text;
            }
            c.literal(b"\",\"price_level\":\"")?;
            begin = &level[..level.len() - c.rest().len()];
        }
        let price = c.fixed(price_scale)?;
        c.literal(b"\",\"new_quantity\":\"")?;
        let size = c.fixed(size_scale)?;
        if price <= 0 || !take(side, time, price, size) {
            return None;
        }
        if !c.skip_if(b"\"},") {
            c.literal(b"\"}]}]}")?;
            return c.end();
        }
    }
}

/// Whether `text` begins with `begin`, for 64 to 96 bytes; others are never found to.
#[inline(always)]
fn begins_with(text: &[u8], begin: &[u8]) -> bool {
    let n = begin.len();
    if !(64..=96).contains(&n) || text.len() < n {
        return false;
    }
    let (text, tail) = (&text[..n], n - 32);
    // Six words of 16 bytes, the last two overlapping what was compared: no call, no loop, one branch.
    let word = |t: &[u8], at: usize| u128::from_ne_bytes(t[at..at + 16].try_into().expect("16 bytes"));
    let differ = |at: usize| word(text, at) ^ word(begin, at);
    differ(0) | differ(16) | differ(32) | differ(48) | differ(tail) | differ(tail + 16) == 0
}

#[inline(always)]
fn quote(c: &mut Cursor<'_>, view: View<'_>, scratch: &mut Scratch) -> Option<()> {
    let kind = kind(c)?;
    c.literal(b"tickers\":[{\"type\":\"ticker\",\"product_id\":\"")?;
    let (index, m) = market(c, view)?;
    // The figures of the last day and year are not used.
    c.literal(b"\",\"price\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"volume_24_h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"low_24_h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"high_24_h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"low_52_w\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"high_52_w\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"price_percent_chg_24_h\":\"")?;
    c.until_quote()?;
    c.literal(b"\",\"best_bid\":\"")?;
    let (price, size) = (m.price_scale, m.size_scale);
    let bid = c.fixed(price)?;
    // Prices before sizes since 2026, each price with its size before.
    let (ask, bid_size);
    if c.skip_if(b"\",\"best_ask\":\"") {
        ask = c.fixed(price)?;
        c.literal(b"\",\"best_bid_quantity\":\"")?;
        bid_size = c.fixed(size)?;
    } else {
        c.literal(b"\",\"best_bid_quantity\":\"")?;
        bid_size = c.fixed(size)?;
        c.literal(b"\",\"best_ask\":\"")?;
        ask = c.fixed(price)?;
    }
    c.literal(b"\",\"best_ask_quantity\":\"")?;
    let ask_size = c.fixed(size)?;
    c.literal(b"\"}]}]}")?;
    c.end()?;
    if bid <= 0 || ask <= 0 || bid_size < 0 || ask_size < 0 {
        return None;
    }
    let (bid, ask) = (Some((bid, bid_size)), Some((ask, ask_size)));
    scratch.quotes.push(QuoteMessage { target: Target::Known(index), kind, bid, ask });
    Some(())
}
