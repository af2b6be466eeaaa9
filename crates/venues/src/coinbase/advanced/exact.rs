//! Any legal spelling of the venue's frames: keys in any order, white space, escapes, exponents, unquoted numbers.
//!
//! Says where and why a frame cannot be read. When a number has more decimals than its instrument's scale, the need is
//! noted and the frame is read again at the wider scale, so that all of its numbers end up at one.

use super::messages::{
    BarMessage, BookMessage, Kind, LevelMessage, Message, Named, QuoteMessage, Scales, Scratch, Target, TradeMessage,
    View,
};
use super::products;
use crate::FrameError;
use model::{Price, Qty, SCALE_MAX, Side, UnixNanos};
use scan::{Json, NAME_LEN_MAX, NumberError, ReadError};

pub type Result<T> = std::result::Result<T, FrameError>;

/// Channels of the protocol that are not market data we use. `ticker_batch` repeats `ticker` more slowly.
const UNUSED_CHANNELS: [&str; 3] = ["user", "ticker_batch", "futures_balance_summary"];

/// A frame can be read again once for each decimal that a price and a size may grow by, and for each new instrument.
const READINGS_MAX: usize = 2 * SCALE_MAX as usize + 2;

/// Reads a frame of any shape.
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<Message> {
    scratch.names.clear();
    scratch.scales.clear();
    for _ in 0..READINGS_MAX {
        scratch.clear_all();
        let message = Frame { frame, view, scratch: &mut *scratch }.read()?;
        if !scratch.again {
            return Ok(message);
        }
    }
    Err(bad(0, "events", "numbers do not settle at a scale"))
}

/// An error at a place.
pub fn bad(offset: usize, field: &'static str, problem: impl Into<String>) -> FrameError {
    FrameError { offset, field, problem: problem.into() }
}

pub fn require<T>(value: Option<T>, json: &Json<'_>, field: &'static str) -> Result<T> {
    value.ok_or_else(|| bad(json.offset(), field, "is missing"))
}

/// A short text, unescaped.
pub fn text(json: &mut Json<'_>, field: &'static str) -> Result<String> {
    let offset = json.offset();
    let text = json.string().of(field)?;
    let mut room = vec![0; text.raw().len()];
    let text = text.unescape(&mut room).ok_or_else(|| bad(offset, field, "cannot be unescaped"))?;
    Ok(text.to_owned())
}

struct Frame<'a, 's> {
    frame: &'a [u8],
    view: View<'a>,
    scratch: &'s mut Scratch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Trades,
    Level2,
    Ticker,
    Candles,
    Heartbeats,
    Status,
    Subscriptions,
    Unused,
    Unknown,
}

impl Channel {
    fn of(name: &[u8]) -> Channel {
        match name {
            b"market_trades" => Channel::Trades,
            b"l2_data" => Channel::Level2,
            b"ticker" => Channel::Ticker,
            b"candles" => Channel::Candles,
            b"heartbeats" => Channel::Heartbeats,
            b"status" => Channel::Status,
            b"subscriptions" => Channel::Subscriptions,
            other if UNUSED_CHANNELS.iter().any(|c| c.as_bytes() == other) => Channel::Unused,
            _ => Channel::Unknown,
        }
    }

    fn message(self) -> Message {
        match self {
            Channel::Trades => Message::Trades,
            Channel::Level2 => Message::Books,
            Channel::Ticker => Message::Quotes,
            Channel::Candles => Message::Bars,
            Channel::Heartbeats => Message::Heartbeat,
            Channel::Status => Message::Products,
            Channel::Subscriptions => Message::Subscriptions,
            Channel::Unused => Message::Unused,
            Channel::Unknown => Message::Unknown,
        }
    }

    /// The list inside of an event.
    fn list(self) -> Option<&'static str> {
        match self {
            Channel::Trades => Some("trades"),
            Channel::Level2 => Some("updates"),
            Channel::Ticker => Some("tickers"),
            Channel::Candles => Some("candles"),
            Channel::Status => Some("products"),
            _ => None,
        }
    }

    /// Whether its records tell when the frame was sent.
    fn tells_sent(self, scratch: &Scratch) -> bool {
        match self {
            Channel::Ticker | Channel::Candles => true,
            Channel::Level2 => scratch.books.iter().any(|b| b.kind == Kind::Snapshot),
            _ => false,
        }
    }
}

/// One object of an event's list while it is read.
#[derive(Clone, Copy)]
struct Element {
    target: Target,
    scales: Scales,
}

impl<'a> Frame<'a, '_> {
    fn read(&mut self) -> Result<Message> {
        let mut json = Json::new(self.frame);
        let (mut channel, mut events, mut sent, mut is_error) = (None, None, None, false);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("frame")?;
        while let Some(key) = json.key().of("frame")? {
            match key.name(&mut room) {
                b"channel" => {
                    channel = Some(Channel::of(json.string().of("channel")?.name(&mut [0; NAME_LEN_MAX])));
                }
                b"sequence_num" => self.scratch.sequence = Some(json.u64().of("sequence_num")?),
                b"events" => events = Some(json.offset()),
                b"timestamp" => sent = Some(json),
                b"client_id" => {}
                b"type" => is_error = json.string().of("type")?.is("error"),
                b"message" | b"reason" => {
                    let said = text(&mut json, "message")?;
                    let gap = if self.scratch.error.is_empty() { "" } else { ": " };
                    self.scratch.error.push_str(gap);
                    self.scratch.error.push_str(&said);
                }
                _ => self.scratch.unknown_fields += 1,
            }
        }
        json.end().of("frame")?;
        let Some(channel) = channel else {
            return Ok(if is_error { Message::Error } else { Message::Unknown });
        };
        if matches!(channel, Channel::Unused | Channel::Unknown) {
            return Ok(channel.message());
        }
        require(self.scratch.sequence, &json, "sequence_num")?;
        let mut events = Json::at(self.frame, require(events, &json, "events")?);
        events.array().of("events")?;
        while events.element().of("events")? {
            self.event(&mut events, channel)?;
        }
        if channel.tells_sent(self.scratch) {
            self.scratch.time = self.time(&mut require(sent, &json, "timestamp")?, "timestamp")?;
        }
        Ok(channel.message())
    }

    fn event(&mut self, json: &mut Json<'a>, channel: Channel) -> Result<()> {
        let (mut kind, mut list, mut product) = (None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("event")?;
        while let Some(key) = json.key().of("event")? {
            match key.name(&mut room) {
                b"type" if channel != Channel::Heartbeats => kind = Some(self::kind(json)?),
                b"product_id" if channel == Channel::Level2 => product = Some(*json),
                b"heartbeat_counter" => self.scratch.beat = Some(json.u64().of("heartbeat_counter")?),
                b"current_time" | b"subscriptions" => {}
                name if channel.list().is_some_and(|l| l.as_bytes() == name) => list = Some(json.offset()),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let Some(field) = channel.list() else {
            if channel == Channel::Heartbeats {
                require(self.scratch.beat, json, "heartbeat_counter")?;
            }
            return Ok(());
        };
        let kind = require(kind, json, "type")?;
        let mut list = Json::at(self.frame, require(list, json, field)?);
        if channel == Channel::Level2 {
            return self.book(&mut list, kind, product);
        }
        if list.null_if().of(field)? {
            return Ok(());
        }
        list.array().of(field)?;
        while list.element().of(field)? {
            if channel == Channel::Status {
                let product = products::read(&mut list, &mut self.scratch.unknown_fields)?;
                self.scratch.products.push(product);
                continue;
            }
            let Some(e) = self.element(list)? else {
                list.skip_value().of(field)?;
                continue;
            };
            match channel {
                Channel::Trades => self.trade(&mut list, kind, e)?,
                Channel::Ticker => self.quote(&mut list, kind, e)?,
                _ => self.bar(&mut list, kind, e)?,
            }
        }
        Ok(())
    }

    /// Whom the object that comes next is about; `None` when nobody asked for it.
    fn element(&mut self, mut ahead: Json<'a>) -> Result<Option<Element>> {
        ahead.object().of("event")?;
        while let Some(key) = ahead.key().of("event")? {
            if key.is("product_id") {
                return self.target(&mut ahead);
            }
        }
        Err(bad(ahead.offset(), "product_id", "is missing"))
    }

    fn target(&mut self, json: &mut Json<'a>) -> Result<Option<Element>> {
        let offset = json.offset();
        let name = json.string().of("product_id")?;
        let mut room = [0; NAME_LEN_MAX];
        let name = name.name(&mut room);
        if let Some(known) = self.view.names.get(name) {
            return Ok(Some(self.at_scales(Target::Known(known))));
        }
        if !self.view.learns {
            self.scratch.unknown_symbols += 1;
            return Ok(None);
        }
        if let Some(n) = self.scratch.names.iter().position(|s| s.as_bytes() == name) {
            return Ok(Some(self.at_scales(Target::New(n))));
        }
        let name = std::str::from_utf8(name).expect("a string of the JSON reader is UTF-8");
        products::check_learnable(name, self.view, &self.scratch.names)
            .map_err(|problem| bad(offset, "product_id", problem))?;
        self.scratch.names.push(name.to_owned());
        Ok(Some(self.at_scales(Target::New(self.scratch.names.len() - 1))))
    }

    fn at_scales(&self, target: Target) -> Element {
        let noted = self.scratch.scales.iter().find(|s| s.target == target).copied();
        let scales = noted.unwrap_or_else(|| match target {
            Target::Known(k) => {
                let m = &self.view.markets[k as usize];
                Scales { target, price: m.price_scale, size: m.size_scale }
            }
            Target::New(_) => Scales { target, price: 0, size: 0 },
        });
        Element { target, scales }
    }

    /// The frame must be read again at these scales.
    fn note(&mut self, needs: Scales) {
        self.scratch.again = true;
        match self.scratch.scales.iter_mut().find(|s| s.target == needs.target) {
            Some(noted) => *noted = needs,
            None => self.scratch.scales.push(needs),
        }
    }

    /// A price of at least `least` units; 0 stands for "none" where the venue may have none.
    fn price(&mut self, json: &mut Json<'a>, e: &mut Element, field: &'static str, least: i64) -> Result<i64> {
        let offset = json.offset();
        let (value, scale) = number(json, e.scales.price, field)?;
        if scale > e.scales.price {
            e.scales.price = scale;
            self.note(e.scales);
        } else if value < least {
            return Err(bad(offset, field, if least > 0 { "is not positive" } else { "is negative" }));
        }
        Ok(value)
    }

    fn size(&mut self, json: &mut Json<'a>, e: &mut Element, field: &'static str) -> Result<i64> {
        let offset = json.offset();
        let (value, scale) = number(json, e.scales.size, field)?;
        if scale > e.scales.size {
            e.scales.size = scale;
            self.note(e.scales);
        } else if value < 0 {
            return Err(bad(offset, field, "is negative"));
        }
        Ok(value)
    }

    fn time(&mut self, json: &mut Json<'a>, field: &'static str) -> Result<UnixNanos> {
        let offset = json.offset();
        let text = json.string().of(field)?;
        let mut room = [0; NAME_LEN_MAX];
        let text = text.name(&mut room);
        match self.scratch.days.rfc3339_nanos(text) {
            Ok((nanos, len)) if len == text.len() => Ok(UnixNanos(nanos)),
            Ok(_) => Err(bad(offset, field, "goes on after the time")),
            Err(e) => Err(bad(offset, field, e.to_string())),
        }
    }

    fn book(&mut self, json: &mut Json<'a>, kind: Kind, product: Option<Json<'a>>) -> Result<()> {
        let empty = {
            let mut ahead = *json;
            ahead.null_if().of("updates")? || {
                ahead.array().of("updates")?;
                !ahead.element().of("updates")?
            }
        };
        // The venue answers a subscription to nothing with an empty snapshot that may name no product.
        if empty && product.is_none_or(|mut p| p.string().is_ok_and(|name| name.is(""))) {
            return Ok(());
        }
        let Some(mut e) = self.target(&mut require(product, json, "product_id")?)? else { return Ok(()) };
        let from = (self.scratch.levels.len(), self.scratch.bids.len(), self.scratch.asks.len());
        let mut first = None;
        if !json.null_if().of("updates")? {
            json.array().of("updates")?;
            while json.element().of("updates")? {
                let level = self.level(json, &mut e)?;
                first.get_or_insert(level.time);
                let (price, size) = (Price(level.price), Qty(level.size));
                match (kind, level.side) {
                    (Kind::Update, _) => self.scratch.levels.push(level),
                    (Kind::Snapshot, Side::Buy) => self.scratch.bids.push((price, size)),
                    (Kind::Snapshot, Side::Sell) => self.scratch.asks.push((price, size)),
                }
            }
        }
        self.scratch.books.push(BookMessage {
            target: e.target,
            kind,
            levels: from.0..self.scratch.levels.len(),
            bids: from.1..self.scratch.bids.len(),
            asks: from.2..self.scratch.asks.len(),
            time: first.filter(|_| kind == Kind::Snapshot).unwrap_or(UnixNanos::ZERO),
        });
        Ok(())
    }

    fn level(&mut self, json: &mut Json<'a>, e: &mut Element) -> Result<LevelMessage> {
        let (mut side, mut price, mut size, mut time) = (None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("updates")?;
        while let Some(key) = json.key().of("updates")? {
            match key.name(&mut room) {
                b"side" => {
                    let offset = json.offset();
                    side = Some(match json.string().of("side")? {
                        text if text.is("bid") => Side::Buy,
                        text if text.is("offer") || text.is("ask") => Side::Sell,
                        _ => return Err(bad(offset, "side", "is neither bid nor offer")),
                    });
                }
                b"price_level" => price = Some(self.price(json, e, "price_level", 1)?),
                b"new_quantity" => size = Some(self.size(json, e, "new_quantity")?),
                b"event_time" => time = Some(self.time(json, "event_time")?),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        Ok(LevelMessage {
            side: require(side, json, "side")?,
            price: require(price, json, "price_level")?,
            size: require(size, json, "new_quantity")?,
            time: time.unwrap_or(UnixNanos::ZERO),
        })
    }

    fn trade(&mut self, json: &mut Json<'a>, kind: Kind, mut e: Element) -> Result<()> {
        let (mut side, mut price, mut size, mut id, mut time) = (None, None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("trades")?;
        while let Some(key) = json.key().of("trades")? {
            match key.name(&mut room) {
                b"product_id" => {}
                b"side" => side = Some(trade_side(json)?),
                b"price" => price = Some(self.price(json, &mut e, "price", 1)?),
                b"size" => size = Some(self.size(json, &mut e, "size")?),
                b"trade_id" => id = Some(json.u64().of("trade_id")?),
                b"time" => time = Some(self.time(json, "time")?),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        self.scratch.trades.push(TradeMessage {
            target: e.target,
            kind,
            side: require(side, json, "side")?,
            price: require(price, json, "price")?,
            size: require(size, json, "size")?,
            id: require(id, json, "trade_id")?,
            time: require(time, json, "time")?,
        });
        Ok(())
    }

    fn quote(&mut self, json: &mut Json<'a>, kind: Kind, mut e: Element) -> Result<()> {
        let (mut bid, mut bid_size, mut ask, mut ask_size) = (None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("tickers")?;
        while let Some(key) = json.key().of("tickers")? {
            let key = key.name(&mut room);
            if key.starts_with(b"best_") && is_blank(json)? {
                continue;
            }
            match key {
                b"best_bid" => bid = Some(self.price(json, &mut e, "best_bid", 0)?),
                b"best_bid_quantity" => bid_size = Some(self.size(json, &mut e, "best_bid_quantity")?),
                b"best_ask" => ask = Some(self.price(json, &mut e, "best_ask", 0)?),
                b"best_ask_quantity" => ask_size = Some(self.size(json, &mut e, "best_ask_quantity")?),
                b"type"
                | b"product_id"
                | b"price"
                | b"volume_24_h"
                | b"low_24_h"
                | b"high_24_h"
                | b"low_52_w"
                | b"high_52_w"
                | b"price_percent_chg_24_h" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        if bid.is_none() && ask.is_none() {
            self.scratch.without_quotes += 1;
            return Ok(());
        }
        let there = |(price, _): &(i64, i64)| *price > 0;
        let (bid, ask) = (bid.zip(bid_size).filter(there), ask.zip(ask_size).filter(there));
        self.scratch.quotes.push(QuoteMessage { target: e.target, kind, bid, ask });
        Ok(())
    }

    fn bar(&mut self, json: &mut Json<'a>, kind: Kind, mut e: Element) -> Result<()> {
        let (mut open, mut high, mut low, mut close, mut volume, mut begin) = (None, None, None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("candles")?;
        while let Some(key) = json.key().of("candles")? {
            match key.name(&mut room) {
                b"product_id" => {}
                b"start" => begin = Some(seconds(json)?),
                b"open" => open = Some(self.price(json, &mut e, "open", 0)?),
                b"high" => high = Some(self.price(json, &mut e, "high", 0)?),
                b"low" => low = Some(self.price(json, &mut e, "low", 0)?),
                b"close" => close = Some(self.price(json, &mut e, "close", 0)?),
                b"volume" => volume = Some(self.size(json, &mut e, "volume")?),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        self.scratch.bars.push(BarMessage {
            target: e.target,
            kind,
            begin: require(begin, json, "start")?,
            open: require(open, json, "open")?,
            high: require(high, json, "high")?,
            low: require(low, json, "low")?,
            close: require(close, json, "close")?,
            volume: require(volume, json, "volume")?,
        });
        Ok(())
    }
}

fn kind(json: &mut Json<'_>) -> Result<Kind> {
    let offset = json.offset();
    match json.string().of("type")? {
        text if text.is("update") => Ok(Kind::Update),
        text if text.is("snapshot") => Ok(Kind::Snapshot),
        _ => Err(bad(offset, "type", "is neither snapshot nor update")),
    }
}

fn trade_side(json: &mut Json<'_>) -> Result<Option<Side>> {
    let offset = json.offset();
    match json.string().of("side")? {
        text if text.is("BUY") => Ok(Some(Side::Buy)),
        text if text.is("SELL") => Ok(Some(Side::Sell)),
        text if text.is("UNKNOWN_ORDER_SIDE") => Ok(None),
        _ => Err(bad(offset, "side", "is neither BUY nor SELL")),
    }
}

/// A candle's start, in whole seconds.
fn seconds(json: &mut Json<'_>) -> Result<UnixNanos> {
    let offset = json.offset();
    let nanos = json.u64().of("start")?.checked_mul(1_000_000_000);
    nanos.map(UnixNanos).ok_or_else(|| bad(offset, "start", "is no time in seconds"))
}

/// Whether a value is `null` or an empty text, which stand for none; it is read then.
fn is_blank(json: &mut Json<'_>) -> Result<bool> {
    let mut ahead = *json;
    let blank = match ahead.kind().of("tickers")? {
        scan::Kind::Null => ahead.null().is_ok(),
        scan::Kind::String => ahead.string().of("tickers")?.is(""),
        _ => false,
    };
    if blank {
        *json = ahead;
    }
    Ok(blank)
}

/// A number at `scale`, and the scale it needs: when that is more, the number is not the number yet.
fn number(json: &mut Json<'_>, scale: u8, field: &'static str) -> Result<(i64, u8)> {
    let offset = json.offset();
    match json.fixed(scale) {
        Ok(value) => Ok((value, scale)),
        Err(ReadError::Number { source: NumberError::TooPrecise { decimals }, .. }) => match u8::try_from(decimals) {
            Ok(needs) if needs <= SCALE_MAX => Ok((1, needs)),
            _ => Err(bad(offset, field, format!("needs {decimals} decimals, at most {SCALE_MAX} can be told"))),
        },
        Err(e) => Err(e).of(field),
    }
}
