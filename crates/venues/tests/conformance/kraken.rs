//! A small Kraken for the conformance suite: WebSocket v2, acknowledgements one per symbol, checksums of its own making.

use super::case::{Answer, Case, Change, Sent, ServesTrades, Truth};
use model::{Decimal, Side, UnixNanos, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use venues::{Settings, VenueMachine};

/// Decimals the case keeps prices and sizes with.
pub const PRICE_SCALE: u8 = 3;
pub const SIZE_SCALE: u8 = 8;
const DEPTH: usize = 10;

/// Trades in an answer.
pub const PAGE: usize = 5;

/// One market, in either protocol.
pub struct Market {
    pub bids: BTreeMap<i64, i64>,
    pub asks: BTreeMap<i64, i64>,
    /// The venue's `price_precision`.
    pub precision: u8,
    trades: Vec<String>,
    /// The same as REST tells them, with their time in ns.
    rows: Vec<(u64, String)>,
    /// How many of them, the oldest, are no longer served.
    forgotten: usize,
}

/// The venue.
pub struct Kraken {
    markets: [Market; 2],
}

pub fn units(text: &str, scale: u8) -> i64 {
    text.parse::<Decimal>().expect("a number").at_scale(scale).expect("as precise as the case")
}

/// A mantissa with exactly `decimals` decimals, as the venue writes numbers.
pub fn written(mantissa: i64, scale: u8, decimals: u8) -> String {
    let factor = 10i64.pow(u32::from(scale - decimals));
    assert_eq!(mantissa % factor, 0, "the venue has no such number");
    let digits = format!("{:0>width$}", mantissa / factor, width = usize::from(decimals) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(decimals));
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// CRC-32 as in zlib, bit by bit: slow, and nobody else's code.
pub fn crc32(text: &str) -> u32 {
    let step = |crc: u32| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !text.bytes().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

pub fn time(now: UnixNanos) -> String {
    let micros = now.0 / 1000 - 1_699_920_000_000_000;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    assert!(seconds < 86_400, "the suite lives within one day");
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2023-11-14T{h:02}:{m:02}:{s:02}.{micros:06}Z")
}

impl Market {
    /// A trade as REST tells it, which knows the time to the nanosecond and pads prices.
    pub fn remember(&mut self, price: &str, size: &str, taker: Side, now: UnixNanos) {
        let (nanos, side) = (now.0 + 789, if taker == Side::Buy { "b" } else { "s" });
        let (s, ns, id) = (nanos / 1_000_000_000, nanos % 1_000_000_000, 1001 + self.rows.len());
        self.rows.push((nanos, format!(r#"["{price}000","{size}",{s}.{ns:09},"{side}","l","",{id}]"#)));
    }

    /// Of the trades so far these are no longer served.
    pub fn forget(&mut self, trades: usize) {
        self.forgotten = trades;
    }

    pub fn new() -> Market {
        let level = |n: i64| ((n + 1) * 100_000_000) / 4;
        Market {
            bids: (0..10).map(|n| ((100 - n) * 1000, level(n))).collect(),
            asks: (0..10).map(|n| ((101 + n) * 1000, level(n))).collect(),
            precision: 2,
            trades: vec![],
            rows: vec![],
            forgotten: 0,
        }
    }

    pub fn price(&self, mantissa: i64) -> String {
        written(mantissa, PRICE_SCALE, self.precision)
    }

    pub fn set(&mut self, (side, price, size): Change<'_>) {
        let levels = if side == Side::Buy { &mut self.bids } else { &mut self.asks };
        match units(size, SIZE_SCALE) {
            0 => levels.remove(&units(price, PRICE_SCALE)),
            size => levels.insert(units(price, PRICE_SCALE), size),
        };
    }

    pub fn cut(&mut self) {
        while self.bids.len() > DEPTH {
            self.bids.pop_first();
        }
        while self.asks.len() > DEPTH {
            self.asks.pop_last();
        }
    }

    pub fn checksum(&self) -> u32 {
        let mut text = String::new();
        for (price, size) in self.asks.iter().take(10).chain(self.bids.iter().rev().take(10)) {
            let digits = |text: String| text.replace('.', "").trim_start_matches('0').to_owned();
            text += &digits(self.price(*price));
            text += &digits(written(*size, SIZE_SCALE, SIZE_SCALE));
        }
        crc32(&text)
    }

    pub fn truth(&self) -> Truth {
        let decimal = |m: i64, scale| Decimal::new(m.into(), scale).to_string();
        let level = |(p, s): (&i64, &i64)| [decimal(*p, PRICE_SCALE), decimal(*s, SIZE_SCALE)];
        Truth { bids: self.bids.iter().rev().map(level).collect(), asks: self.asks.iter().map(level).collect() }
    }

    fn level(&self, price: i64, size: i64) -> String {
        format!(r#"{{"price":{},"qty":{}}}"#, self.price(price), written(size, SIZE_SCALE, SIZE_SCALE))
    }

    fn book(&self, kind: &str, symbol: &str, bids: &[String], asks: &[String], now: UnixNanos) -> String {
        format!(
            r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{}],"asks":[{}],"checksum":{},"timestamp":"{}"}}]}}"#,
            bids.join(","),
            asks.join(","),
            self.checksum(),
            time(now)
        )
    }

    fn snapshot(&self, symbol: &str, now: UnixNanos) -> String {
        let bids: Vec<_> = self.bids.iter().rev().map(|(p, s)| self.level(*p, *s)).collect();
        let asks: Vec<_> = self.asks.iter().map(|(p, s)| self.level(*p, *s)).collect();
        self.book("snapshot", symbol, &bids, &asks, now)
    }
}

impl Default for Kraken {
    fn default() -> Kraken {
        Kraken { markets: [Market::new(), Market::new()] }
    }
}

/// The oldest trades behind a time, a page of them, whichever protocol asks.
pub fn old_trades(markets: &[Market; 2], path: &str) -> String {
    let query = path.strip_prefix("/0/public/Trades?pair=").expect("the one path the venue serves");
    let [pair, since, count] = query.split('&').collect::<Vec<_>>()[..] else { panic!("{path}") };
    let symbol = ["XBTUSD", "ETHUSD"].iter().position(|p| *p == pair).expect("a pair by its REST name");
    let number = |text: &str| text.split_once('=').expect("a value").1.parse::<u64>().expect("a number");
    let (since, market) = (number(since), &markets[symbol]);
    let served: Vec<_> = market.rows[market.forgotten..].iter().filter(|(time, _)| *time > since).collect();
    let page = &served[..served.len().min(number(count) as usize).min(PAGE)];
    let last = page.last().map_or(since, |(time, _)| *time);
    let rows: Vec<&str> = page.iter().map(|(_, row)| row.as_str()).collect();
    format!(r#"{{"error":[],"result":{{"{pair}":[{}],"last":"{last}"}}}}"#, rows.join(","))
}

impl Kraken {
    fn index(symbol: &str) -> Option<usize> {
        Self::VENUE_SYMBOLS.iter().position(|s| *s == symbol)
    }

    /// The definition of one pair as the instrument channel writes it.
    fn pair(&self, symbol: usize) -> String {
        let name = Self::VENUE_SYMBOLS[symbol];
        let (base, quote) = name.split_once('/').expect("a pair");
        let precision = self.markets[symbol].precision;
        format!(
            r#"{{"symbol":"{name}","base":"{base}","quote":"{quote}","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":{precision},"cost_precision":5,"marginable":false,"has_index":true,"cost_min":"0.5","tick_size":1e-{precision:02},"price_increment":1e-{precision:02},"qty_min":0.0001}}"#
        )
    }

    fn instruments(&self, kind: &str, pairs: &[usize]) -> String {
        let pairs: Vec<String> = pairs.iter().map(|p| self.pair(*p)).collect();
        let assets = r#"{"id":"USD","status":"enabled","precision":4,"precision_display":2,"borrowable":true,"collateral_value":1.00,"margin_rate":0.025}"#;
        let pairs = pairs.join(",");
        format!(r#"{{"channel":"instrument","type":"{kind}","data":{{"assets":[{assets}],"pairs":[{pairs}]}}}}"#)
    }

    fn subscribed(&self, request: &Value, symbol: &str, now: UnixNanos) -> Vec<String> {
        let params = &request["params"];
        let (method, channel) = (&request["method"], params["channel"].as_str().expect("a channel"));
        let Some(index) = Kraken::index(symbol) else {
            let error = format!("Currency pair not supported {symbol}");
            let ack = json!({"method":method,"error":error,"success":false,"symbol":symbol,"req_id":request["req_id"]});
            return vec![ack.to_string()];
        };
        let mut result = json!({"channel":channel,"snapshot":params["snapshot"],"symbol":symbol});
        if channel == "book" {
            assert_eq!(params["depth"], 10, "the depth that was asked for");
            result["depth"] = params["depth"].clone();
        }
        let ack = json!({"method":method,"result":result,"success":true,"req_id":request["req_id"]}).to_string();
        if method == "unsubscribe" {
            return vec![ack];
        }
        let market = &self.markets[index];
        match channel {
            "book" => vec![ack, market.snapshot(symbol, now)],
            "trade" if params["snapshot"] == true => {
                let last = &market.trades[market.trades.len().saturating_sub(50)..];
                vec![ack, format!(r#"{{"channel":"trade","type":"snapshot","data":[{}]}}"#, last.join(","))]
            }
            _ => vec![ack],
        }
    }
}

impl Case for Kraken {
    const VENUE: Venue = Venue::Kraken;
    const SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const VENUE_SYMBOLS: [&'static str; 2] = ["BTC/USD", "ETH/USD"];
    const UNKNOWN: &'static str = "NOPE-USD";
    const DEPTH: Option<u32> = Some(10);

    fn machine(settings: &Settings) -> Box<dyn VenueMachine> {
        venues::machine(Venue::Kraken, settings, &[]).expect("the default choices")
    }

    fn connected(&mut self, _now: UnixNanos) -> Vec<String> {
        let status = r#"{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":12393906104898154338}]}"#;
        vec![status.to_owned()]
    }

    fn asks_for_book(&self, sent: &Sent) -> bool {
        let Sent::Frame(frame) = sent else { return false };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        request["method"] == "subscribe" && request["params"]["channel"] == "book"
    }

    fn asks_for_trades(&self, sent: &Sent) -> bool {
        matches!(sent, Sent::Get(_))
    }

    fn answer(&mut self, sent: &Sent, now: UnixNanos) -> Vec<Answer> {
        let frame = match sent {
            Sent::Frame(frame) => frame,
            Sent::Get(path) => return vec![Answer::Http(200, old_trades(&self.markets, path))],
        };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        let frames = match (request["method"].as_str(), request["params"]["channel"].as_str()) {
            (Some("ping"), _) => vec![json!({"method":"pong","req_id":request["req_id"]}).to_string()],
            (Some("subscribe"), Some("instrument")) => {
                let result = json!({"channel":"instrument","snapshot":true,"warnings":["tick_size is deprecated"]});
                let ack = json!({"method":"subscribe","req_id":request["req_id"],"result":result,"success":true});
                vec![ack.to_string(), self.instruments("snapshot", &[0, 1])]
            }
            (Some("subscribe" | "unsubscribe"), Some(_)) => {
                let symbols = request["params"]["symbol"].as_array().expect("symbols");
                let each = symbols.iter().map(|s| self.subscribed(&request, s.as_str().expect("a symbol"), now));
                each.collect::<Vec<_>>().concat()
            }
            other => panic!("the venue does not know {other:?}"),
        };
        frames.into_iter().map(Answer::Frame).collect()
    }

    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String {
        let name = Self::VENUE_SYMBOLS[symbol];
        let market = &mut self.markets[symbol];
        let (price, id) = (market.price(units(price, PRICE_SCALE)), 1001 + market.trades.len());
        let size = written(units(size, SIZE_SCALE), SIZE_SCALE, SIZE_SCALE);
        market.trades.push(format!(
            r#"{{"symbol":"{name}","side":"{taker}","price":{price},"qty":{size},"ord_type":"limit","trade_id":{id},"timestamp":"{}"}}"#,
            time(now)
        ));
        market.remember(&price, &size, taker, now);
        format!(r#"{{"channel":"trade","type":"update","data":[{}]}}"#, market.trades.last().expect("just pushed"))
    }

    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String {
        let market = &mut self.markets[symbol];
        let (mut bids, mut asks) = (vec![], vec![]);
        for change in changes {
            market.set(*change);
            let level = market.level(units(change.1, PRICE_SCALE), units(change.2, SIZE_SCALE));
            if change.0 == Side::Buy { bids.push(level) } else { asks.push(level) }
        }
        market.cut();
        market.book("update", Self::VENUE_SYMBOLS[symbol], &bids, &asks, now)
    }

    fn widen(&mut self, symbol: usize, _now: UnixNanos) -> Vec<String> {
        self.markets[symbol].precision = PRICE_SCALE;
        vec![self.instruments("update", &[symbol])]
    }

    fn heartbeat(&self) -> Option<String> {
        Some(r#"{"channel":"heartbeat"}"#.to_owned())
    }

    fn unknown_type(&self) -> String {
        r#"{"channel":"weather","type":"update","data":[{"symbol":"BTC/USD","sun":true}]}"#.to_owned()
    }

    fn with_unknown_field(&self, frame: &str) -> String {
        let mut text = String::new();
        write!(text, r#"{}"mood":{{"a":[1,"x\""]}},{}"#, &frame[..1], &frame[1..]).expect("a String takes all");
        text
    }

    fn truth(&self, symbol: usize) -> Truth {
        self.markets[symbol].truth()
    }
}

impl ServesTrades for Kraken {
    const PAGE: usize = PAGE;

    fn forget_trades(&mut self, symbol: usize, before: u64) {
        self.markets[symbol].forget(usize::try_from(before - 1001).expect("an id of the case"));
    }
}
