//! The venues' frames and answers as the numbers that are compared, read from the venues' documents with plain serde:
//! nothing of the decoders is used, so that they and this cannot be wrong together.
//! frame -> [`events`] -> trades, book changes, order steps; answer -> [`answer`] -> trades.

use super::content::{Content, nanos};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashMap};

/// Whose protocol a frame speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Kraken's, of either version.
    Kraken,
    /// Binance's streams.
    Binance,
    /// Coinbase's, Exchange or Advanced Trade.
    Coinbase,
    /// Alpaca's.
    Alpaca,
}

/// What a frame tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A trade.
    Trade {
        /// The venue's id, where it has one.
        id: Option<u64>,
        /// Side, price and size; with the time where there is no id.
        content: u64,
        /// With the time all the same, where one protocol of the venue has ids and another has not.
        timed: Option<u64>,
        /// Part of a snapshot: told again to whoever subscribes.
        repeat: bool,
    },
    /// Changes of a book; whole books are no events.
    Book {
        /// Levels and time.
        content: u64,
    },
    /// A step of one order.
    Order {
        /// The product's sequence.
        sequence: u64,
    },
}

/// Hands each event of a frame with its symbol to `tell`. Frames that tell nothing of the kind are no errors.
pub fn events(line: &str, tell: &mut dyn FnMut(&str, Event)) -> Result<Option<Protocol>, serde_json::Error> {
    let mut protocol = None;
    if line.starts_with('[') {
        if line.as_bytes().get(1) == Some(&b'{') {
            protocol = Some(Protocol::Alpaca);
            for message in serde_json::from_str::<Vec<AlpacaMessage<'_>>>(line)? {
                message.tell(tell);
            }
        } else {
            protocol = Some(Protocol::Kraken);
            kraken_v1(line, tell)?;
        }
        return Ok(protocol);
    }
    let head: Head<'_> = serde_json::from_str(line)?;
    if let (Some(_), Some(data)) = (&head.stream, head.data) {
        protocol = Some(Protocol::Binance);
        binance(data.get(), tell)?;
    } else if head.e.is_some() {
        protocol = Some(Protocol::Binance);
        binance(line, tell)?;
    } else if let (Some(channel), Some(events)) = (&head.channel, head.events) {
        protocol = Some(Protocol::Coinbase);
        advanced(channel, head.timestamp.as_deref(), events.get(), tell)?;
    } else if let (Some(channel), Some(data)) = (&head.channel, head.data) {
        protocol = Some(Protocol::Kraken);
        kraken(channel, head.kind.as_deref() == Some("snapshot"), data.get(), tell)?;
    } else if let (Some(kind), Some(_)) = (&head.kind, &head.product_id) {
        protocol = Some(Protocol::Coinbase);
        exchange(kind, line, tell)?;
    }
    Ok(protocol)
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    product_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
}

// Kraken ------------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct KrakenTrade<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    trade_id: u64,
}

#[derive(Deserialize)]
struct KrakenBook<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow, default)]
    bids: Vec<KrakenLevel<'a>>,
    #[serde(borrow, default)]
    asks: Vec<KrakenLevel<'a>>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct KrakenLevel<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

fn kraken(channel: &str, repeat: bool, data: &str, tell: &mut dyn FnMut(&str, Event)) -> Result<(), serde_json::Error> {
    match channel {
        "trade" => {
            for t in serde_json::from_str::<Vec<KrakenTrade<'_>>>(data)? {
                let content = Content::trade(&t.side, t.price.get(), t.qty.get());
                tell(&t.symbol, Event::Trade { id: Some(t.trade_id), content, timed: None, repeat });
            }
        }
        "book" if !repeat => {
            for b in serde_json::from_str::<Vec<KrakenBook<'_>>>(data)? {
                let mut content = Content::new(b.timestamp.as_deref().and_then(nanos).unwrap_or(0));
                b.bids.iter().for_each(|l| content.level('b', l.price.get(), l.qty.get()));
                b.asks.iter().for_each(|l| content.level('a', l.price.get(), l.qty.get()));
                tell_book(&b.symbol, content, tell);
            }
        }
        _ => {}
    }
    Ok(())
}

fn tell_book(symbol: &str, content: Content, tell: &mut dyn FnMut(&str, Event)) {
    if !content.is_empty() {
        tell(symbol, Event::Book { content: content.finish() });
    }
}

/// `[channel id, payload…, channel, pair]`; this protocol names trades by nothing.
fn kraken_v1(line: &str, tell: &mut dyn FnMut(&str, Event)) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Sides<'a> {
        #[serde(borrow, default)]
        b: Vec<Vec<Cow<'a, str>>>,
        #[serde(borrow, default)]
        a: Vec<Vec<Cow<'a, str>>>,
    }
    let parts: Vec<&RawValue> = serde_json::from_str(line)?;
    let [_, bodies @ .., channel, pair] = &parts[..] else { return Ok(()) };
    let (channel, pair): (Cow<'_, str>, Cow<'_, str>) =
        match (serde_json::from_str(channel.get()), serde_json::from_str(pair.get())) {
            (Ok(channel), Ok(pair)) => (channel, pair),
            _ => return Ok(()),
        };
    if channel == "trade" {
        let [trades] = bodies else { return Ok(()) };
        for t in serde_json::from_str::<Vec<Vec<Cow<'_, str>>>>(trades.get())? {
            let [price, size, time, side, ..] = &t[..] else { continue };
            let side = if side == "b" { "buy" } else { "sell" };
            let at = seconds(time).unwrap_or(0);
            let content = Content::timed_trade(at, side, price, size);
            tell(&pair, Event::Trade { id: None, content, timed: None, repeat: false });
        }
    } else if channel.starts_with("book") {
        let changes = bodies.iter().filter(|body| !body.get().contains("\"as\""));
        let sides: Vec<Sides<'_>> = changes.map(|body| serde_json::from_str(body.get())).collect::<Result<_, _>>()?;
        let levels = || {
            sides.iter().flat_map(|s| [('b', &s.b), ('a', &s.a)]).flat_map(|(mark, l)| l.iter().map(move |l| (mark, l)))
        };
        // The change is as old as its newest level.
        let at = levels().filter_map(|(_, l)| seconds(l.get(2)?)).max();
        let mut content = Content::new(at.unwrap_or(0));
        for wanted in ['b', 'a'] {
            let of = levels().filter(|(mark, l)| *mark == wanted && l.len() >= 2);
            of.for_each(|(mark, l)| content.level(mark, &l[0], &l[1]));
        }
        tell_book(&pair, content, tell);
    }
    Ok(())
}

/// Seconds with decimals as ns.
fn seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let ns: u64 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(ns)
}

// Binance -----------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct BinanceEvent<'a> {
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    s: Option<Cow<'a, str>>,
    #[serde(rename = "E")]
    time: Option<u64>,
    t: Option<u64>,
    #[serde(borrow)]
    p: Option<Cow<'a, str>>,
    #[serde(borrow)]
    q: Option<Cow<'a, str>>,
    m: Option<bool>,
    #[serde(borrow)]
    b: Option<&'a RawValue>,
    #[serde(borrow)]
    a: Option<&'a RawValue>,
}

fn binance(data: &str, tell: &mut dyn FnMut(&str, Event)) -> Result<(), serde_json::Error> {
    let d: BinanceEvent<'_> = serde_json::from_str(data)?;
    let (Some(symbol), Some(kind)) = (&d.s, d.e.as_deref()) else { return Ok(()) };
    if let ("trade", Some(id), Some(price), Some(size)) = (kind, d.t, &d.p, &d.q) {
        let side = if d.m == Some(true) { "sell" } else { "buy" };
        let content = Content::trade(side, price, size);
        tell(symbol, Event::Trade { id: Some(id), content, timed: None, repeat: false });
    } else if let ("depthUpdate", Some(bids), Some(asks)) = (kind, d.b, d.a) {
        // Microseconds have three digits more.
        let ns = d.time.map_or(0, |t| if t > 100_000_000_000_000 { t * 1000 } else { t * 1_000_000 });
        let mut content = Content::new(ns);
        for (mark, side) in [('b', bids), ('a', asks)] {
            for [price, size] in serde_json::from_str::<Vec<[Cow<'_, str>; 2]>>(side.get())? {
                content.level(mark, &price, &size);
            }
        }
        tell_book(symbol, content, tell);
    }
    Ok(())
}

// Coinbase ----------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct CoinbaseTrade<'a> {
    #[serde(borrow)]
    product_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    trade_id: &'a RawValue,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    size: Cow<'a, str>,
}

impl CoinbaseTrade<'_> {
    fn tell(&self, symbol: Option<&str>, repeat: bool, tell: &mut dyn FnMut(&str, Event)) {
        let Some(symbol) = self.product_id.as_deref().or(symbol) else { return };
        // The maker's side is told.
        let side = if self.side.eq_ignore_ascii_case("buy") { "sell" } else { "buy" };
        let id = self.trade_id.get().trim_matches('"').parse().ok();
        tell(symbol, Event::Trade { id, content: Content::trade(side, &self.price, &self.size), timed: None, repeat });
    }
}

#[derive(Deserialize)]
struct ExchangeStep<'a> {
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    sequence: Option<u64>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    changes: Vec<[Cow<'a, str>; 3]>,
}

fn exchange(kind: &str, line: &str, tell: &mut dyn FnMut(&str, Event)) -> Result<(), serde_json::Error> {
    if matches!(kind, "match" | "last_match") {
        serde_json::from_str::<CoinbaseTrade<'_>>(line)?.tell(None, kind == "last_match", tell);
    }
    if matches!(kind, "l2update" | "received" | "open" | "done" | "match" | "change") {
        let step: ExchangeStep<'_> = serde_json::from_str(line)?;
        if kind == "l2update" {
            let mut content = Content::new(step.time.as_deref().and_then(nanos).unwrap_or(0));
            for (word, mark) in [("buy", 'b'), ("sell", 'a')] {
                let of = step.changes.iter().filter(|c| c[0] == word);
                of.for_each(|c| content.level(mark, &c[1], &c[2]));
            }
            tell_book(&step.product_id, content, tell);
        } else if let Some(sequence) = step.sequence {
            tell(&step.product_id, Event::Order { sequence });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct AdvancedEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    product_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    trades: Vec<CoinbaseTrade<'a>>,
    #[serde(borrow, default)]
    updates: Vec<AdvancedLevel<'a>>,
}

#[derive(Deserialize)]
struct AdvancedLevel<'a> {
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    price_level: Cow<'a, str>,
    #[serde(borrow)]
    new_quantity: Cow<'a, str>,
}

fn advanced(
    channel: &str,
    time: Option<&str>,
    events: &str,
    tell: &mut dyn FnMut(&str, Event),
) -> Result<(), serde_json::Error> {
    if !matches!(channel, "market_trades" | "l2_data") {
        return Ok(());
    }
    for event in serde_json::from_str::<Vec<AdvancedEvent<'_>>>(events)? {
        let repeat = event.kind.as_deref() == Some("snapshot");
        event.trades.iter().for_each(|t| t.tell(None, repeat, tell));
        if let (Some(symbol), false) = (&event.product_id, repeat) {
            let mut content = Content::new(time.and_then(nanos).unwrap_or(0));
            for (word, mark) in [("bid", 'b'), ("offer", 'a')] {
                let of = event.updates.iter().filter(|u| u.side == word);
                of.for_each(|u| content.level(mark, &u.price_level, &u.new_quantity));
            }
            tell_book(symbol, content, tell);
        }
    }
    Ok(())
}

// Alpaca ------------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct AlpacaMessage<'a> {
    #[serde(borrow, rename = "T")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "S")]
    symbol: Option<&'a RawValue>,
    #[serde(borrow)]
    i: Option<&'a RawValue>,
    #[serde(borrow)]
    p: Option<&'a RawValue>,
    #[serde(borrow)]
    s: Option<&'a RawValue>,
    #[serde(borrow)]
    tks: Option<Cow<'a, str>>,
    #[serde(borrow)]
    t: Option<Cow<'a, str>>,
    #[serde(borrow)]
    b: Option<&'a RawValue>,
    #[serde(borrow)]
    a: Option<&'a RawValue>,
    r: Option<bool>,
}

#[derive(Deserialize)]
struct AlpacaLevel<'a> {
    #[serde(borrow)]
    p: &'a RawValue,
    #[serde(borrow)]
    s: &'a RawValue,
}

impl AlpacaMessage<'_> {
    /// The trade it is, without its symbol.
    fn trade(&self) -> Option<Event> {
        let id = self.i?.get().trim_matches('"').parse().ok()?;
        let side = match self.tks.as_deref() {
            Some("B") => "buy",
            Some("S") => "sell",
            // Of shares the venue does not say who took.
            _ => "none",
        };
        let content = Content::trade(side, self.p?.get(), self.s?.get());
        Some(Event::Trade { id: Some(id), content, timed: None, repeat: false })
    }

    fn tell(&self, tell: &mut dyn FnMut(&str, Event)) {
        let Some(symbol) = self.symbol.map(|s| s.get().trim_matches('"')) else { return };
        match self.kind.as_deref() {
            Some("t") => {
                if let Some(trade) = self.trade() {
                    tell(symbol, trade);
                }
            }
            Some("o") if self.r != Some(true) => {
                let mut content = Content::new(self.t.as_deref().and_then(nanos).unwrap_or(0));
                for (mark, side) in [('b', self.b), ('a', self.a)] {
                    let levels = side.and_then(|s| serde_json::from_str::<Vec<AlpacaLevel<'_>>>(s.get()).ok());
                    for level in levels.unwrap_or_default() {
                        content.level(mark, level.p.get(), level.s.get());
                    }
                }
                tell_book(symbol, content, tell);
            }
            _ => {}
        }
    }
}

// Answers -----------------------------------------------------------------------------------------------------------

/// One REST exchange of a journal.
#[derive(Deserialize)]
pub struct Exchange<'a> {
    /// Path and query.
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    /// The answer.
    #[serde(borrow)]
    pub body: Cow<'a, str>,
}

/// Hands each trade of an answer with its symbol to `tell`; an answer about something else tells none.
pub fn answer(line: &str, tell: &mut dyn FnMut(&str, Event)) -> Result<(), serde_json::Error> {
    let exchange: Exchange<'_> = serde_json::from_str(line)?;
    let (path, query) = exchange.url.split_once('?').unwrap_or((&exchange.url, ""));
    let asked = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let body = &*exchange.body;
    // What cannot be read as its kind of answer is an error of the venue's, and tells no trades.
    if path.ends_with("/public/Trades") {
        if let Some(pair) = asked("pair") {
            kraken_answer(&pair.replace("%2F", "/"), body, tell);
        }
    } else if path.ends_with("/historicalTrades") || path.ends_with("/v3/trades") {
        if let (Some(symbol), Ok(trades)) = (asked("symbol"), serde_json::from_str::<Vec<BinanceTrade<'_>>>(body)) {
            for t in trades {
                let side = if t.is_buyer_maker { "sell" } else { "buy" };
                let content = Content::trade(side, &t.price, &t.qty);
                tell(symbol, Event::Trade { id: Some(t.id), content, timed: None, repeat: true });
            }
        }
    } else if let Some(product) = path.strip_prefix("/products/").and_then(|rest| rest.strip_suffix("/trades")) {
        let trades = serde_json::from_str::<Vec<CoinbaseTrade<'_>>>(body).unwrap_or_default();
        trades.iter().for_each(|t| t.tell(Some(product), true, tell));
    } else if path.ends_with("/ticker") && path.contains("/products/") {
        #[derive(Deserialize)]
        struct Ticker<'a> {
            #[serde(borrow)]
            trades: Vec<CoinbaseTrade<'a>>,
        }
        if let Ok(ticker) = serde_json::from_str::<Ticker<'_>>(body) {
            ticker.trades.iter().for_each(|t| t.tell(None, true, tell));
        }
    } else if path.ends_with("/trades") {
        #[derive(Deserialize)]
        struct Trades<'a> {
            #[serde(borrow)]
            trades: HashMap<Cow<'a, str>, Option<Vec<AlpacaMessage<'a>>>>,
        }
        if let Ok(answer) = serde_json::from_str::<Trades<'_>>(body) {
            for (symbol, trades) in answer.trades {
                trades.iter().flatten().filter_map(AlpacaMessage::trade).for_each(|t| tell(&symbol, t));
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BinanceTrade<'a> {
    id: u64,
    #[serde(borrow)]
    price: Cow<'a, str>,
    #[serde(borrow)]
    qty: Cow<'a, str>,
    is_buyer_maker: bool,
}

/// Rows of price, volume, time, side, kind of order, text and id.
fn kraken_answer(pair: &str, body: &str, tell: &mut dyn FnMut(&str, Event)) {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        result: HashMap<Cow<'a, str>, &'a RawValue>,
    }
    let Ok(answer) = serde_json::from_str::<Answer<'_>>(body) else { return };
    for (_, rows) in answer.result.iter().filter(|(name, _)| *name != "last") {
        let Ok(rows) = serde_json::from_str::<Vec<Vec<&RawValue>>>(rows.get()) else { continue };
        for row in rows {
            let [price, size, time, side, _, _, id] = &row[..] else { continue };
            let text = |v: &&RawValue| v.get().trim_matches('"').to_owned();
            let side = if text(side) == "b" { "buy" } else { "sell" };
            let content = Content::trade(side, &text(price), &text(size));
            let timed = seconds(time.get()).map(|at| Content::timed_trade(at, side, &text(price), &text(size)));
            tell(pair, Event::Trade { id: text(id).parse().ok(), content, timed, repeat: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<(String, Event)> {
        let mut all = vec![];
        events(line, &mut |symbol, event| all.push((symbol.to_owned(), event))).expect("JSON");
        all
    }

    fn trade(id: u64, side: &str, price: &str, size: &str) -> Event {
        Event::Trade { id: Some(id), content: Content::trade(side, price, size), timed: None, repeat: false }
    }

    #[test]
    fn trades_of_every_venue_are_read_with_their_digits() {
        let kraken = r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":64123.40,"qty":0.00351000,"ord_type":"market","trade_id":7,"timestamp":"2026-01-01T00:00:00.000000Z"}]}"#;
        let binance = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"64123.40","q":"0.00351","T":1,"m":false,"M":true}}"#;
        let exchange = r#"{"type":"match","trade_id":7,"sequence":9,"maker_order_id":"a","taker_order_id":"b","time":"2026-01-01T00:00:00.000000Z","product_id":"BTC-USD","size":"0.00351","price":"64123.4","side":"sell"}"#;
        let advanced = r#"{"channel":"market_trades","timestamp":"t","sequence_num":3,"events":[{"type":"update","trades":[{"trade_id":"7","product_id":"BTC-USD","price":"64123.4","size":"0.00351","side":"SELL","time":"t"}]}]}"#;
        let alpaca = r#"[{"T":"t","S":"BTC/USD","p":64123.4,"s":0.00351,"t":"x","i":7,"tks":"B"}]"#;
        for (line, symbol) in [
            (kraken, "BTC/USD"),
            (binance, "BTCUSDT"),
            (exchange, "BTC-USD"),
            (advanced, "BTC-USD"),
            (alpaca, "BTC/USD"),
        ] {
            let told = read(line);
            assert_eq!(told[0], (symbol.to_owned(), trade(7, "buy", "64123.4", "0.00351")), "{line}");
        }
        assert_eq!(read(exchange)[1].1, Event::Order { sequence: 9 });
        let old = r#"[337,[["5541.20000","0.15850568","1534614057.321597","s","l",""]],"trade","XBT/USD"]"#;
        let content = Content::timed_trade(1_534_614_057_321_597_000, "sell", "5541.2", "0.15850568");
        assert_eq!(read(old), [("XBT/USD".to_owned(), Event::Trade { id: None, content, timed: None, repeat: false })]);
    }

    #[test]
    fn whole_books_and_words_about_nothing_tell_no_event() {
        for line in [
            r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":1,"qty":2}],"asks":[],"checksum":1}]}"#,
            r#"{"channel":"heartbeat"}"#,
            r#"{"result":null,"id":1}"#,
            r#"{"event":"systemStatus","status":"online"}"#,
            r#"[{"T":"success","msg":"connected"}]"#,
            r#"[0,{"as":[["1","2","3"]],"bs":[]},"book-10","XBT/USD"]"#,
        ] {
            assert_eq!(read(line), [], "{line}");
        }
        assert!(events("{\"channel\":\"tra", &mut |_, _| ()).is_err());
    }

    #[test]
    fn answers_tell_their_trades() {
        let body = r#"{"error":[],"result":{"XXBTZUSD":[["64123.40","0.00351",1.5,"b","m","",7]],"last":"1"}}"#;
        let line = serde_json::json!({"url": "/0/public/Trades?pair=BTC%2FUSD&since=1", "body": body}).to_string();
        let mut told = vec![];
        answer(&line, &mut |symbol, event| told.push((symbol.to_owned(), event))).expect("JSON");
        let content = Content::trade("buy", "64123.4", "0.00351");
        let timed = Some(Content::timed_trade(1_500_000_000, "buy", "64123.4", "0.00351"));
        assert_eq!(told, [("BTC/USD".to_owned(), Event::Trade { id: Some(7), content, timed, repeat: true })]);
    }
}
