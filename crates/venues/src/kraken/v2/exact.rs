//! Any legal spelling of the venue's frames: keys in any order, white space, escapes, exponents, quoted numbers.
//!
//! Says where and why a frame cannot be read. When a number has more decimals than its instrument's scale, the need is
//! noted and the frame is read again at the wider scale, so that all of its numbers end up at one.

use crate::kraken::messages::{
    Answer, BarMessage, BookMessage, Kind, Message, Named, QuoteMessage, Scratch, System, TradeMessage, View,
};
use crate::kraken::pairs;
use crate::kraken::reading::{Element, Frame, Result, bad, optional_text, require, settle, text, vwap_of};
use model::{Side, UnixNanos};
use scan::{Json, NAME_LEN_MAX, Text};

/// Channels of the protocol that are not market data we use.
const UNUSED_CHANNELS: [&str; 3] = ["level3", "executions", "balances"];

/// Reads a frame of any shape.
pub fn read(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<Message> {
    settle(frame, view, scratch, |frame| frame.read())
}

/// The keys of the outermost object.
#[derive(Default)]
struct Outer {
    channel: Option<Channel>,
    kind: Option<Kind>,
    /// Where the data begins, when it was passed over because channel or type were not known yet.
    data: Option<usize>,
    data_read: bool,
    time: UnixNanos,
    answers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Book,
    Trade,
    Ticker,
    Ohlc,
    Instrument,
    Status,
    Heartbeat,
    Unused,
    Unknown,
}

impl Channel {
    fn of(name: &[u8]) -> Channel {
        match name {
            b"book" => Channel::Book,
            b"trade" => Channel::Trade,
            b"ticker" => Channel::Ticker,
            b"ohlc" => Channel::Ohlc,
            b"instrument" => Channel::Instrument,
            b"status" => Channel::Status,
            b"heartbeat" => Channel::Heartbeat,
            other if UNUSED_CHANNELS.iter().any(|c| c.as_bytes() == other) => Channel::Unused,
            _ => Channel::Unknown,
        }
    }
}

impl<'a> Frame<'a, '_> {
    fn read(&mut self) -> Result<Message> {
        let mut json = Json::new(self.frame);
        let mut outer = Outer::default();
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("frame")?;
        while let Some(key) = json.key().of("frame")? {
            match key.name(&mut room) {
                b"channel" => {
                    outer.channel = Some(Channel::of(json.string().of("channel")?.name(&mut [0; NAME_LEN_MAX])))
                }
                b"type" => outer.kind = Some(kind(&mut json)?),
                b"data" => match (outer.channel, outer.kind) {
                    (Some(channel), Some(kind)) if !outer.data_read => {
                        self.data(&mut json, channel, kind)?;
                        outer.data_read = true;
                    }
                    _ => outer.data = Some(json.offset()),
                },
                b"timestamp" => outer.time = self.time(&mut json)?,
                b"method" => {
                    let method = text(&mut json, "method")?;
                    self.scratch.answer = Answer { method, ..std::mem::take(&mut self.scratch.answer) };
                    outer.answers = true;
                }
                name @ (b"result" | b"error" | b"success" | b"req_id" | b"symbol") => {
                    let name = name.to_owned();
                    self.answer(&mut json, &name)?;
                }
                b"time_in" | b"time_out" | b"warnings" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        json.end().of("frame")?;
        self.conclude(outer)
    }

    fn conclude(&mut self, outer: Outer) -> Result<Message> {
        if outer.answers {
            return Ok(Message::Answer);
        }
        let Some(channel) = outer.channel else {
            return Ok(Message::Unknown);
        };
        if let (Some(offset), false) = (outer.data, outer.data_read) {
            let mut json = Json::at(self.frame, offset);
            self.data(&mut json, channel, outer.kind.unwrap_or(Kind::Update))?;
        } else if !outer.data_read && !matches!(channel, Channel::Heartbeat | Channel::Unused | Channel::Unknown) {
            return Err(bad(self.frame.len(), "data", "is missing"));
        }
        let kind = outer.kind.unwrap_or(Kind::Update);
        Ok(match channel {
            Channel::Book => Message::Books(kind),
            Channel::Trade => Message::Trades(kind),
            Channel::Ticker => Message::Quotes(kind),
            Channel::Ohlc => Message::Bars(kind, outer.time),
            Channel::Instrument => Message::Pairs(kind),
            Channel::Status => Message::System,
            Channel::Heartbeat => Message::Heartbeat,
            Channel::Unused => Message::Unused,
            Channel::Unknown => Message::Unknown,
        })
    }

    fn data(&mut self, json: &mut Json<'a>, channel: Channel, kind: Kind) -> Result<()> {
        let read = match channel {
            Channel::Book => Self::book,
            Channel::Trade => Self::trade,
            Channel::Ticker => Self::quote,
            Channel::Ohlc => Self::bar,
            Channel::Instrument => {
                return pairs::read(json, self.view, self.scratch);
            }
            Channel::Status => return self.systems(json),
            Channel::Heartbeat | Channel::Unused | Channel::Unknown => return json.skip_value().of("data"),
        };
        json.array().of("data")?;
        while json.element().of("data")? {
            let mut ahead = *json;
            let symbol = symbol(&mut ahead)?;
            match self.target(symbol, json.offset())? {
                Some(target) => {
                    let learn = self.learns(target, channel == Channel::Book && kind == Kind::Snapshot);
                    read(self, json, Element { target, learn, scales: self.scales(target), digits: (0, 0) })?;
                }
                None => {
                    json.skip_value().of("data")?;
                    self.scratch.unknown_symbols += 1;
                }
            }
        }
        Ok(())
    }

    fn time(&mut self, json: &mut Json<'a>) -> Result<UnixNanos> {
        let offset = json.offset();
        let text = json.string().of("timestamp")?;
        let mut room = [0; NAME_LEN_MAX];
        let text = text.name(&mut room);
        match self.scratch.days.rfc3339_nanos(text) {
            Ok((nanos, len)) if len == text.len() => Ok(UnixNanos(nanos)),
            Ok(_) => Err(bad(offset, "timestamp", "goes on after the time")),
            Err(e) => Err(bad(offset, "timestamp", e.to_string())),
        }
    }

    fn book(&mut self, json: &mut Json<'a>, mut e: Element) -> Result<()> {
        let (bids_from, asks_from) = (self.scratch.bids.len(), self.scratch.asks.len());
        let (mut checksum, mut time, mut room) = (None, UnixNanos::ZERO, [0; NAME_LEN_MAX]);
        json.object().of("book")?;
        while let Some(key) = json.key().of("book")? {
            match key.name(&mut room) {
                b"symbol" => {}
                b"bids" => self.levels(json, &mut e, Side::Buy)?,
                b"asks" => self.levels(json, &mut e, Side::Sell)?,
                b"checksum" => {
                    let offset = json.offset();
                    let value = json.u64().of("checksum")?;
                    let value = u32::try_from(value).map_err(|_| bad(offset, "checksum", "does not fit 32 bits"))?;
                    checksum = Some(value);
                }
                b"timestamp" => time = self.time(json)?,
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let checksum = require(checksum, json, "checksum")?;
        let (bids, asks) = (bids_from..self.scratch.bids.len(), asks_from..self.scratch.asks.len());
        let digits = e.learn.then_some(e.digits);
        let checksum = Some(checksum);
        let (target, asks_first, depth) = (e.target, false, None);
        self.scratch.books.push(BookMessage { target, bids, asks, asks_first, checksum, time, digits, depth });
        Ok(())
    }

    fn levels(&mut self, json: &mut Json<'a>, e: &mut Element, side: Side) -> Result<()> {
        let field = if side == Side::Buy { "bids" } else { "asks" };
        let mut room = [0; NAME_LEN_MAX];
        json.array().of(field)?;
        while json.element().of(field)? {
            let (mut price, mut size) = (None, None);
            json.object().of(field)?;
            while let Some(key) = json.key().of(field)? {
                match key.name(&mut room) {
                    b"price" => price = Some(self.price(json, e, "price", 1)?),
                    b"qty" => size = Some(self.size(json, e, "qty")?),
                    _ => self.scratch.unknown_fields += 1,
                }
            }
            let level = (require(price, json, "price")?, require(size, json, "qty")?);
            if side == Side::Buy { self.scratch.bids.push(level) } else { self.scratch.asks.push(level) }
        }
        Ok(())
    }

    fn trade(&mut self, json: &mut Json<'a>, mut e: Element) -> Result<()> {
        let (mut side, mut price, mut size, mut id, mut time) = (None, None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("trade")?;
        while let Some(key) = json.key().of("trade")? {
            match key.name(&mut room) {
                b"symbol" | b"ord_type" => {}
                b"side" => {
                    let offset = json.offset();
                    side = Some(match json.string().of("side")? {
                        text if text.is("buy") => Side::Buy,
                        text if text.is("sell") => Side::Sell,
                        _ => return Err(bad(offset, "side", "is neither buy nor sell")),
                    });
                }
                b"price" => price = Some(self.price(json, &mut e, "price", 1)?),
                b"qty" => size = Some(self.size(json, &mut e, "qty")?),
                b"trade_id" => id = Some(json.u64().of("trade_id")?),
                b"timestamp" => time = Some(self.time(json)?),
                _ => self.scratch.unknown_fields += 1,
            }
        }
        self.scratch.trades.push(TradeMessage {
            target: e.target,
            side: require(side, json, "side")?,
            price: require(price, json, "price")?,
            size: require(size, json, "qty")?,
            id: Some(require(id, json, "trade_id")?),
            time: require(time, json, "timestamp")?,
        });
        Ok(())
    }

    fn quote(&mut self, json: &mut Json<'a>, mut e: Element) -> Result<()> {
        let (mut bid, mut bid_size, mut ask, mut ask_size) = (None, None, None, None);
        let (mut time, mut room) = (UnixNanos::ZERO, [0; NAME_LEN_MAX]);
        json.object().of("ticker")?;
        while let Some(key) = json.key().of("ticker")? {
            let key = key.name(&mut room);
            if matches!(key, b"bid" | b"bid_qty" | b"ask" | b"ask_qty") && json.null_if().of("ticker")? {
                continue;
            }
            match key {
                b"bid" => bid = Some(self.price(json, &mut e, "bid", 0)?),
                b"bid_qty" => bid_size = Some(self.size(json, &mut e, "bid_qty")?),
                b"ask" => ask = Some(self.price(json, &mut e, "ask", 0)?),
                b"ask_qty" => ask_size = Some(self.size(json, &mut e, "ask_qty")?),
                b"timestamp" => time = self.time(json)?,
                b"symbol" | b"last" | b"volume" | b"vwap" | b"low" | b"high" | b"change" | b"change_pct" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        let there = |(price, _): &(i64, i64)| *price > 0;
        let (bid, ask) = (bid.zip(bid_size).filter(there), ask.zip(ask_size).filter(there));
        self.scratch.quotes.push(QuoteMessage { target: e.target, bid, ask, time });
        Ok(())
    }

    fn bar(&mut self, json: &mut Json<'a>, mut e: Element) -> Result<()> {
        let (mut open, mut high, mut low, mut close, mut volume) = (None, None, None, None, None);
        let (mut begin, mut interval, mut trades, mut vwap) = (None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("ohlc")?;
        while let Some(key) = json.key().of("ohlc")? {
            match key.name(&mut room) {
                b"open" => open = Some(self.price(json, &mut e, "open", 0)?),
                b"high" => high = Some(self.price(json, &mut e, "high", 0)?),
                b"low" => low = Some(self.price(json, &mut e, "low", 0)?),
                b"close" => close = Some(self.price(json, &mut e, "close", 0)?),
                b"volume" => volume = Some(self.size(json, &mut e, "volume")?),
                b"vwap" => vwap = vwap_of(json)?,
                b"trades" => trades = Some(json.u64().of("trades")?),
                b"interval_begin" => begin = Some(self.time(json)?),
                b"interval" => interval = Some(minutes(json)?),
                b"symbol" | b"timestamp" => {}
                _ => self.scratch.unknown_fields += 1,
            }
        }
        self.scratch.bars.push(BarMessage {
            target: e.target,
            begin: require(begin, json, "interval_begin")?,
            interval_s: require(interval, json, "interval")?,
            open: require(open, json, "open")?,
            high: require(high, json, "high")?,
            low: require(low, json, "low")?,
            close: require(close, json, "close")?,
            volume: require(volume, json, "volume")?,
            vwap,
            trades: require(trades, json, "trades")?,
        });
        Ok(())
    }

    fn systems(&mut self, json: &mut Json<'a>) -> Result<()> {
        let mut room = [0; NAME_LEN_MAX];
        json.array().of("status")?;
        while json.element().of("status")? {
            let mut system = System::default();
            json.object().of("status")?;
            while let Some(key) = json.key().of("status")? {
                match key.name(&mut room) {
                    b"system" => system.system = text(json, "system")?,
                    b"version" => system.version = text(json, "version")?,
                    b"connection_id" => system.connection = Some(json.u64().of("connection_id")?),
                    b"api_version" => {}
                    _ => self.scratch.unknown_fields += 1,
                }
            }
            self.scratch.systems.push(system);
        }
        Ok(())
    }

    /// One field of an answer.
    fn answer(&mut self, json: &mut Json<'a>, name: &[u8]) -> Result<()> {
        let mut answer = std::mem::take(&mut self.scratch.answer);
        match name {
            b"success" => answer.success = Some(json.bool().of("success")?),
            b"req_id" => {
                answer.request = if json.null_if().of("req_id")? { None } else { json.u64().of("req_id").ok() }
            }
            b"error" => answer.error = optional_text(json, "error")?,
            b"symbol" => answer.symbol = optional_text(json, "symbol")?,
            _ => result(json, &mut answer)?,
        }
        self.scratch.answer = answer;
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

/// The symbol of the object that comes next; everything else of it is passed over.
fn symbol<'a>(json: &mut Json<'a>) -> Result<Text<'a>> {
    json.object().of("data")?;
    while let Some(key) = json.key().of("data")? {
        if key.is("symbol") {
            return json.string().of("symbol");
        }
    }
    Err(bad(json.offset(), "symbol", "is missing"))
}

/// An interval in minutes, as seconds.
fn minutes(json: &mut Json<'_>) -> Result<u32> {
    let offset = json.offset();
    let seconds = json.u64().of("interval")?.checked_mul(60).and_then(|s| u32::try_from(s).ok());
    seconds.filter(|s| *s > 0).ok_or_else(|| bad(offset, "interval", "is no number of minutes"))
}

/// The result object of an answer, which says what was subscribed to.
fn result(json: &mut Json<'_>, answer: &mut Answer) -> Result<()> {
    if json.kind().of("result")? != scan::Kind::Object {
        return json.skip_value().of("result");
    }
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("result")?;
    while let Some(key) = json.key().of("result")? {
        match key.name(&mut room) {
            b"channel" => answer.channel = text(json, "channel")?,
            b"symbol" => answer.symbol = optional_text(json, "symbol")?,
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
