//! Any legal spelling of the protocol's frames: white space, escapes, exponents, numbers with and without quotes, keys of
//! objects in any order. Says where and why a frame cannot be read.

use super::book_depth;
use crate::FrameError;
use crate::kraken::messages::{
    Answer, BarMessage, BookMessage, Kind, Message, Named, QuoteMessage, Scratch, System, Target, TradeMessage, View,
};
use crate::kraken::pairs;
use crate::kraken::reading::{Element, Frame, Result, bad, optional_text, require, settle, text, vwap_of};
use model::{Side, UnixNanos};
use scan::{Json, NAME_LEN_MAX};
use std::time::Duration;

/// More parts than any array of the protocol has.
const PARTS_MAX: usize = 5;

/// Private channels, whose arrays have two parts and a running number.
const UNUSED_CHANNELS: [&str; 2] = ["openOrders", "ownTrades"];

/// Answers to orders.
const UNUSED_EVENTS: [&str; 6] = [
    "addOrderStatus",
    "editOrderStatus",
    "cancelOrderStatus",
    "cancelAllStatus",
    "cancelAllOrdersAfterStatus",
    "batchAddOrderStatus",
];

/// Whether an object is an event of this protocol, where the protocol is not known yet.
pub fn is_event(frame: &[u8]) -> bool {
    let mut json = Json::new(frame);
    if json.object().is_err() {
        return false;
    }
    while let Ok(Some(key)) = json.key() {
        if key.is("event") {
            return true;
        }
    }
    false
}

/// Reads a frame of any shape.
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<Message> {
    settle(frame, view, scratch, |f| match Json::new(f.frame).kind().of("frame")? {
        scan::Kind::Object => event(f),
        scan::Kind::Array => array(f),
        _ => Err(bad(0, "frame", "is neither an array nor an object")),
    })
}

/// One part of the outermost array: where it begins and what it is.
type Part = (usize, scan::Kind);

fn array(f: &mut Frame<'_, '_>) -> Result<Message> {
    let mut parts: [Option<Part>; PARTS_MAX] = [None; PARTS_MAX];
    let mut count = 0;
    let mut json = Json::new(f.frame);
    json.array().of("frame")?;
    while json.element().of("frame")? {
        if let Some(part) = parts.get_mut(count) {
            *part = Some((json.offset(), json.kind().of("frame")?));
        }
        count += 1;
    }
    json.end().of("frame")?;
    let parts: Vec<Part> = parts.into_iter().flatten().collect();
    match parts[..] {
        _ if count > PARTS_MAX => Ok(Message::Unknown),
        [_, (name, scan::Kind::String), (_, scan::Kind::Object)] => {
            let name = text(&mut Json::at(f.frame, name), "channel")?;
            let unused = UNUSED_CHANNELS.contains(&name.as_str());
            Ok(if unused { Message::Unused } else { Message::Unknown })
        }
        [_, ref payload @ .., (name, scan::Kind::String), (pair, scan::Kind::String)] if !payload.is_empty() => {
            data(f, payload, name, pair)
        }
        _ => Ok(Message::Unknown),
    }
}

#[derive(Clone, Copy)]
enum Channel {
    Trade,
    Spread,
    Ticker,
    Book(u32),
    Bars(u32),
}

impl Channel {
    fn of(name: &str) -> Option<Channel> {
        let minutes = |name: &str| name.strip_prefix("ohlc-")?.parse::<u32>().ok()?.checked_mul(60).filter(|s| *s > 0);
        match name {
            "trade" => Some(Channel::Trade),
            "spread" => Some(Channel::Spread),
            "ticker" => Some(Channel::Ticker),
            _ => book_depth(name.as_bytes()).map(Channel::Book).or(minutes(name).map(Channel::Bars)),
        }
    }
}

/// Data of a channel: its payload, one part but for an update of both sides of a book, and who it is about.
fn data(f: &mut Frame<'_, '_>, payload: &[Part], name: usize, pair: usize) -> Result<Message> {
    let Some(channel) = Channel::of(&text(&mut Json::at(f.frame, name), "channel")?) else {
        return Ok(Message::Unknown);
    };
    let symbol = Json::at(f.frame, pair).string().of("pair")?;
    let Some(target) = f.target(symbol, pair)? else {
        f.scratch.unknown_symbols += 1;
        return Ok(Message::Trades(Kind::Update));
    };
    let mut e = Element { target, learn: matches!(target, Target::New(_)), scales: f.scales(target), digits: (0, 0) };
    if let Channel::Book(depth) = channel {
        return book(f, payload, e, depth);
    }
    let [(offset, _)] = *payload else {
        return Err(bad(payload[1].0, "payload", "is a second one where one is expected"));
    };
    let mut json = Json::at(f.frame, offset);
    match channel {
        Channel::Trade => trades(f, &mut json, e),
        Channel::Spread => spread(f, &mut json, &mut e),
        Channel::Ticker => ticker(f, &mut json, &mut e),
        Channel::Bars(interval_s) => bar(f, &mut json, &mut e, interval_s),
        Channel::Book(_) => unreachable!("returned above"),
    }
}

/// Seconds with their decimals, with or without quotes.
fn seconds(json: &mut Json<'_>, field: &'static str) -> Result<UnixNanos> {
    let offset = json.offset();
    let nanos = json.fixed(9).of(field)?;
    u64::try_from(nanos).map(UnixNanos).map_err(|_| bad(offset, field, "is negative"))
}

/// A book while its parts are read.
#[derive(Default)]
struct Sides {
    asks_first: Option<bool>,
    kind: Option<Kind>,
    checksum: Option<u32>,
    time: UnixNanos,
}

fn book(f: &mut Frame<'_, '_>, payload: &[Part], mut e: Element, depth: u32) -> Result<Message> {
    let mut sides = Sides::default();
    // Whether the digits teach the scale must be known before the first number.
    e.learn |= is_snapshot(f.frame, payload)?;
    for (offset, _) in payload {
        side(f, &mut Json::at(f.frame, *offset), &mut e, &mut sides)?;
    }
    let json = Json::at(f.frame, payload[0].0);
    let kind = require(sides.kind, &json, "a or b")?;
    if kind == Kind::Update {
        require(sides.checksum, &json, "c")?;
    }
    let (bids, asks) = (0..f.scratch.bids.len(), 0..f.scratch.asks.len());
    // An empty book teaches nothing.
    let digits = (e.learn && bids.len() + asks.len() > 0).then_some(e.digits);
    f.scratch.books.push(BookMessage {
        target: e.target,
        bids,
        asks,
        asks_first: sides.asks_first.unwrap_or_default(),
        checksum: sides.checksum,
        time: sides.time,
        digits,
        depth: Some(depth),
    });
    Ok(Message::Books(kind))
}

fn is_snapshot(frame: &[u8], payload: &[Part]) -> Result<bool> {
    for (offset, _) in payload {
        let mut json = Json::at(frame, *offset);
        json.object().of("book")?;
        while let Some(key) = json.key().of("book")? {
            if key.is("as") || key.is("bs") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// One object of a book: one side of an update, or all of a snapshot.
fn side<'a>(f: &mut Frame<'a, '_>, json: &mut Json<'a>, e: &mut Element, sides: &mut Sides) -> Result<()> {
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("book")?;
    while let Some(key) = json.key().of("book")? {
        let offset = json.offset();
        let (side, kind) = match key.name(&mut room) {
            b"a" => (Side::Sell, Kind::Update),
            b"b" => (Side::Buy, Kind::Update),
            b"as" => (Side::Sell, Kind::Snapshot),
            b"bs" => (Side::Buy, Kind::Snapshot),
            b"c" => {
                let value = json.u64().of("c")?;
                sides.checksum = Some(u32::try_from(value).map_err(|_| bad(offset, "c", "does not fit 32 bits"))?);
                continue;
            }
            _ => {
                f.scratch.unknown_fields += 1;
                continue;
            }
        };
        if *sides.kind.get_or_insert(kind) != kind {
            return Err(bad(offset, "book", "is a snapshot and an update at once"));
        }
        sides.asks_first.get_or_insert(side == Side::Sell);
        levels(f, json, e, side, &mut sides.time)?;
    }
    Ok(())
}

fn levels<'a>(
    f: &mut Frame<'a, '_>,
    json: &mut Json<'a>,
    e: &mut Element,
    side: Side,
    latest: &mut UnixNanos,
) -> Result<()> {
    let field = if side == Side::Buy { "bids" } else { "asks" };
    json.array().of(field)?;
    while json.element().of(field)? {
        let offset = json.offset();
        let (mut price, mut size, mut n) = (0, 0, 0);
        json.array().of(field)?;
        while json.element().of(field)? {
            match n {
                0 => price = f.price(json, e, "price", 1)?,
                1 => size = f.size(json, e, "volume")?,
                2 => *latest = seconds(json, "timestamp")?.max(*latest),
                3 => {
                    let mut ahead = *json;
                    f.scratch.unknown_fields += u64::from(!ahead.string().is_ok_and(|word| word.is("r")));
                }
                _ => f.scratch.unknown_fields += 1,
            }
            n += 1;
        }
        parts(n, 3, offset, field)?;
        if side == Side::Buy { f.scratch.bids.push((price, size)) } else { f.scratch.asks.push((price, size)) }
    }
    Ok(())
}

/// Whether an array had all it must have.
fn parts(found: usize, needed: usize, offset: usize, field: &'static str) -> Result<()> {
    if found < needed {
        return Err(bad(offset, field, format!("has {found} of its {needed} parts")));
    }
    Ok(())
}

fn trades<'a>(f: &mut Frame<'a, '_>, json: &mut Json<'a>, mut e: Element) -> Result<Message> {
    json.array().of("trade")?;
    while json.element().of("trade")? {
        let offset = json.offset();
        let mut t =
            TradeMessage { target: e.target, side: Side::Buy, price: 0, size: 0, id: None, time: UnixNanos::ZERO };
        let mut n = 0;
        json.array().of("trade")?;
        while json.element().of("trade")? {
            match n {
                0 => t.price = f.price(json, &mut e, "price", 1)?,
                1 => t.size = f.size(json, &mut e, "volume")?,
                2 => t.time = seconds(json, "time")?,
                3 => t.side = taker(json)?,
                // The order's type, and words that were never seen.
                4 | 5 => drop(json.string().of("trade")?),
                6 => {
                    // Newer frames are said to end with an id; nobody recorded one.
                    let mut ahead = *json;
                    t.id = ahead.u64().ok();
                    f.scratch.unknown_fields += u64::from(t.id.is_none());
                }
                _ => f.scratch.unknown_fields += 1,
            }
            n += 1;
        }
        parts(n, 6, offset, "trade")?;
        f.scratch.trades.push(t);
    }
    Ok(Message::Trades(Kind::Update))
}

fn taker(json: &mut Json<'_>) -> Result<Side> {
    let offset = json.offset();
    match json.string().of("side")? {
        word if word.is("b") => Ok(Side::Buy),
        word if word.is("s") => Ok(Side::Sell),
        _ => Err(bad(offset, "side", "is neither b nor s")),
    }
}

fn quote(f: &mut Frame<'_, '_>, e: &Element, bid: (i64, i64), ask: (i64, i64), time: UnixNanos) -> Message {
    let there = |level: (i64, i64)| Some(level).filter(|(price, _)| *price > 0);
    f.scratch.quotes.push(QuoteMessage { target: e.target, bid: there(bid), ask: there(ask), time });
    Message::Quotes(Kind::Update)
}

fn spread<'a>(f: &mut Frame<'a, '_>, json: &mut Json<'a>, e: &mut Element) -> Result<Message> {
    let offset = json.offset();
    let (mut bid, mut ask, mut time, mut n) = ((0, 0), (0, 0), UnixNanos::ZERO, 0);
    json.array().of("spread")?;
    while json.element().of("spread")? {
        match n {
            0 => bid.0 = f.price(json, e, "bid", 0)?,
            1 => ask.0 = f.price(json, e, "ask", 0)?,
            2 => time = seconds(json, "timestamp")?,
            3 => bid.1 = f.size(json, e, "bid_volume")?,
            4 => ask.1 = f.size(json, e, "ask_volume")?,
            _ => f.scratch.unknown_fields += 1,
        }
        n += 1;
    }
    parts(n, 5, offset, "spread")?;
    Ok(quote(f, e, bid, ask, time))
}

fn ticker<'a>(f: &mut Frame<'a, '_>, json: &mut Json<'a>, e: &mut Element) -> Result<Message> {
    let (mut bid, mut ask, mut room) = (None, None, [0; NAME_LEN_MAX]);
    json.object().of("ticker")?;
    while let Some(key) = json.key().of("ticker")? {
        match key.name(&mut room) {
            b"a" => ask = Some(best(f, json, e, "a")?),
            b"b" => bid = Some(best(f, json, e, "b")?),
            b"c" | b"v" | b"p" | b"t" | b"l" | b"h" | b"o" => {}
            _ => f.scratch.unknown_fields += 1,
        }
    }
    let (bid, ask) = (require(bid, json, "b")?, require(ask, json, "a")?);
    Ok(quote(f, e, bid, ask, UnixNanos::ZERO))
}

/// Price, whole lots, size.
fn best<'a>(f: &mut Frame<'a, '_>, json: &mut Json<'a>, e: &mut Element, field: &'static str) -> Result<(i64, i64)> {
    let offset = json.offset();
    let (mut price, mut size, mut n) = (0, 0, 0);
    json.array().of(field)?;
    while json.element().of(field)? {
        match n {
            0 => price = f.price(json, e, field, 0)?,
            1 => {}
            2 => size = f.size(json, e, field)?,
            _ => f.scratch.unknown_fields += 1,
        }
        n += 1;
    }
    parts(n, 3, offset, field)?;
    Ok((price, size))
}

fn bar<'a>(f: &mut Frame<'a, '_>, json: &mut Json<'a>, e: &mut Element, interval_s: u32) -> Result<Message> {
    let offset = json.offset();
    let (mut time, mut end, mut prices, mut n) = (UnixNanos::ZERO, UnixNanos::ZERO, [0; 4], 0);
    let (mut vwap, mut volume, mut trades) = (None, 0, 0);
    json.array().of("ohlc")?;
    while json.element().of("ohlc")? {
        match n {
            0 => time = seconds(json, "time")?,
            1 => end = seconds(json, "etime")?,
            2..=5 => prices[n - 2] = f.price(json, e, ["open", "high", "low", "close"][n - 2], 0)?,
            6 => vwap = vwap_of(json)?,
            7 => volume = f.size(json, e, "volume")?,
            8 => trades = json.u64().of("count")?,
            _ => f.scratch.unknown_fields += 1,
        }
        n += 1;
    }
    parts(n, 9, offset, "ohlc")?;
    let begin = end.0.checked_sub(Duration::from_secs(interval_s.into()).as_nanos() as u64);
    let begin = begin.map(UnixNanos).ok_or_else(|| bad(offset, "etime", "lies before its interval"))?;
    let [open, high, low, close] = prices;
    let target = e.target;
    let bar = BarMessage { target, begin, interval_s, open, high, low, close, volume, vwap, trades };
    f.scratch.bars.push(bar);
    Ok(Message::Bars(Kind::Update, time))
}

/// The words of an event.
#[derive(Default)]
struct Event {
    event: Option<String>,
    status: String,
    system: System,
    answer: Answer,
}

fn event(f: &mut Frame<'_, '_>) -> Result<Message> {
    let (mut event, mut unknown) = (Event::default(), 0);
    let mut json = Json::new(f.frame);
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("frame")?;
    while let Some(key) = json.key().of("frame")? {
        match key.name(&mut room) {
            b"event" => event.event = Some(text(&mut json, "event")?),
            b"status" => event.status = text(&mut json, "status")?,
            b"version" => event.system.version = text(&mut json, "version")?,
            b"connectionID" => event.system.connection = Some(json.u64().of("connectionID")?),
            b"pair" => event.answer.symbol = pairs::new_spelling(&optional_text(&mut json, "pair")?).into_owned(),
            b"errorMessage" => event.answer.error = optional_text(&mut json, "errorMessage")?,
            b"reqid" => event.answer.request = json.u64().ok(),
            b"subscription" => subscription(&mut json, &mut event.answer)?,
            b"channelID" | b"channelName" => {}
            _ => unknown += 1,
        }
    }
    json.end().of("frame")?;
    let message = conclude(f, event)?;
    if !matches!(message, Message::Unused | Message::Unknown) {
        f.scratch.unknown_fields += unknown;
    }
    Ok(message)
}

fn conclude(f: &mut Frame<'_, '_>, event: Event) -> Result<Message> {
    let Event { event: Some(name), status, mut system, mut answer } = event else { return Ok(Message::Unknown) };
    let answer = match name.as_str() {
        "heartbeat" => return Ok(Message::Heartbeat),
        "systemStatus" => {
            system.system = status;
            f.scratch.systems.push(system);
            return Ok(Message::System);
        }
        "pong" => Answer { method: "pong".to_owned(), ..answer },
        "error" => Answer { method: "subscribe".to_owned(), success: Some(false), ..answer },
        "subscriptionStatus" => {
            let ended = status == "unsubscribed";
            answer.method = if ended { "unsubscribe" } else { "subscribe" }.to_owned();
            answer.success = Some(ended || status == "subscribed");
            answer
        }
        other if UNUSED_EVENTS.contains(&other) => return Ok(Message::Unused),
        _ => return Ok(Message::Unknown),
    };
    f.scratch.answer = answer;
    Ok(Message::Answer)
}

/// What was subscribed to.
fn subscription(json: &mut Json<'_>, answer: &mut Answer) -> std::result::Result<(), FrameError> {
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("subscription")?;
    while let Some(key) = json.key().of("subscription")? {
        match key.name(&mut room) {
            b"name" => answer.channel = text(json, "name")?,
            b"depth" => {
                let offset = json.offset();
                let depth = u32::try_from(json.u64().of("depth")?);
                answer.depth = Some(depth.map_err(|_| bad(offset, "depth", "does not fit 32 bits"))?);
            }
            // What else there is depends on the channel and repeats what was asked for.
            _ => {}
        }
    }
    Ok(())
}
