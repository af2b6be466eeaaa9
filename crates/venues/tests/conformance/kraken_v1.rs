//! A small Kraken of the older protocol for the conformance suite: arrays, definitions by REST, trades without ids. Its
//! books and their checksums are the newer protocol's case; only the words differ.

use super::case::{Answer, Case, Change, Sent, ServesTrades, Truth};
use super::kraken::{Market, PAGE, PRICE_SCALE, SIZE_SCALE, old_trades, units, written};
use model::{Side, UnixNanos, Venue};
use serde_json::{Value, json};
use venues::{Settings, VenueMachine};

/// The venue.
pub struct KrakenV1 {
    markets: [Market; 2],
}

/// As the older protocol spells the pairs.
const OLD_SPELLING: [&str; 2] = ["XBT/USD", "ETH/USD"];

impl Default for KrakenV1 {
    fn default() -> KrakenV1 {
        KrakenV1 { markets: [Market::new(), Market::new()] }
    }
}

/// Seconds with six decimals.
fn time(now: UnixNanos) -> String {
    format!("{}.{:06}", now.0 / 1_000_000_000, now.0 / 1000 % 1_000_000)
}

impl KrakenV1 {
    fn level(&self, symbol: usize, price: i64, size: i64, now: UnixNanos) -> String {
        let (price, size) = (self.markets[symbol].price(price), written(size, SIZE_SCALE, SIZE_SCALE));
        format!(r#"["{price}","{size}","{}"]"#, time(now))
    }

    fn snapshot(&self, symbol: usize, now: UnixNanos) -> String {
        let market = &self.markets[symbol];
        let asks: Vec<_> = market.asks.iter().map(|(p, s)| self.level(symbol, *p, *s, now)).collect();
        let bids: Vec<_> = market.bids.iter().rev().map(|(p, s)| self.level(symbol, *p, *s, now)).collect();
        let (asks, bids, pair) = (asks.join(","), bids.join(","), OLD_SPELLING[symbol]);
        format!(r#"[320,{{"as":[{asks}],"bs":[{bids}]}},"book-10","{pair}"]"#)
    }

    fn subscribed(&self, request: &Value, pair: &str, now: UnixNanos) -> Vec<String> {
        let name = request["subscription"]["name"].as_str().expect("a name");
        let subscription = &request["subscription"];
        let Some(symbol) = OLD_SPELLING.iter().position(|p| *p == pair) else {
            let error = json!({"errorMessage":format!("Currency pair not supported {pair}"),"event":"subscriptionStatus",
                "pair":pair,"reqid":request["reqid"],"status":"error","subscription":subscription});
            return vec![error.to_string()];
        };
        let (status, channel) = match (request["event"].as_str(), name) {
            (Some("subscribe"), "book") => {
                assert_eq!(subscription["depth"], 10, "the depth that was asked for");
                ("subscribed", "book-10")
            }
            (Some("subscribe"), name) => ("subscribed", name),
            (_, name) => ("unsubscribed", name),
        };
        let ack = json!({"channelID":320,"channelName":channel,"event":"subscriptionStatus","pair":pair,
            "reqid":request["reqid"],"status":status,"subscription":subscription});
        match (status, name) {
            ("subscribed", "book") => vec![ack.to_string(), self.snapshot(symbol, now)],
            _ => vec![ack.to_string()],
        }
    }

    fn definitions(&self) -> String {
        let mut pairs = serde_json::Map::new();
        for (symbol, name) in OLD_SPELLING.iter().enumerate() {
            let (base, quote) = name.split_once('/').expect("a pair");
            let decimals = self.markets[symbol].precision;
            let tick = written(1, decimals, decimals);
            let pair = json!({"altname":name.replace('/', ""),"wsname":name,"aclass_base":"currency",
                "base":format!("X{base}"),"aclass_quote":"currency","quote":format!("Z{quote}"),"lot":"unit",
                "pair_decimals":decimals,"lot_decimals":8,"lot_multiplier":1,"fees":[[0,0.26]],"ordermin":"0.0001",
                "costmin":"0.5","tick_size":tick,"status":"online"});
            pairs.insert(format!("X{base}Z{quote}"), pair);
        }
        pairs.insert("XXBTZUSD.d".to_owned(), json!({"altname":"XBTUSD.d","pair_decimals":5,"lot_decimals":8}));
        json!({"error":[],"result":pairs}).to_string()
    }
}

impl Case for KrakenV1 {
    const VENUE: Venue = Venue::Kraken;
    const SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const VENUE_SYMBOLS: [&'static str; 2] = ["BTC/USD", "ETH/USD"];
    const UNKNOWN: &'static str = "NOPE-USD";
    const DEPTH: Option<u32> = Some(10);
    const TRADE_IDS: bool = false;
    const TRADE_IDS_CONTIGUOUS: bool = false;

    fn machine(settings: &Settings) -> Box<dyn VenueMachine> {
        let api = [("api".to_owned(), "v1".to_owned())];
        venues::machine(Venue::Kraken, settings, &api).expect("a known choice")
    }

    fn connected(&mut self, _now: UnixNanos) -> Vec<String> {
        let status =
            r#"{"connectionID":17413893361151983591,"event":"systemStatus","status":"online","version":"1.9.6"}"#;
        vec![status.to_owned()]
    }

    fn asks_for_book(&self, sent: &Sent) -> bool {
        let Sent::Frame(frame) = sent else { return false };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        request["event"] == "subscribe" && request["subscription"]["name"] == "book"
    }

    fn asks_for_trades(&self, sent: &Sent) -> bool {
        matches!(sent, Sent::Get(path) if path.starts_with("/0/public/Trades"))
    }

    fn answer(&mut self, sent: &Sent, now: UnixNanos) -> Vec<Answer> {
        let frame = match sent {
            Sent::Get(path) if path == "/0/public/AssetPairs" => return vec![Answer::Http(200, self.definitions())],
            Sent::Get(path) => return vec![Answer::Http(200, old_trades(&self.markets, path))],
            Sent::Frame(frame) => frame,
        };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        let frames = match request["event"].as_str() {
            Some("ping") => vec![json!({"event":"pong","reqid":request["reqid"]}).to_string()],
            Some("subscribe" | "unsubscribe") => {
                let pairs = request["pair"].as_array().expect("pairs");
                let each = pairs.iter().map(|p| self.subscribed(&request, p.as_str().expect("a pair"), now));
                each.collect::<Vec<_>>().concat()
            }
            other => panic!("the venue does not know {other:?}"),
        };
        frames.into_iter().map(Answer::Frame).collect()
    }

    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String {
        let price = self.markets[symbol].price(units(price, PRICE_SCALE));
        let size = written(units(size, SIZE_SCALE), SIZE_SCALE, SIZE_SCALE);
        self.markets[symbol].remember(&price, &size, taker, now);
        let side = if taker == Side::Buy { "b" } else { "s" };
        let (time, pair) = (time(now), OLD_SPELLING[symbol]);
        format!(r#"[321,[["{price}","{size}","{time}","{side}","m",""]],"trade","{pair}"]"#)
    }

    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String {
        let (mut bids, mut asks) = (vec![], vec![]);
        for change in changes {
            self.markets[symbol].set(*change);
            let level = self.level(symbol, units(change.1, PRICE_SCALE), units(change.2, SIZE_SCALE), now);
            if change.0 == Side::Buy { bids.push(level) } else { asks.push(level) }
        }
        self.markets[symbol].cut();
        let (asks, bids) = (asks.join(","), bids.join(","));
        let sum = format!(r#""c":"{}""#, self.markets[symbol].checksum());
        let parts = match (asks.is_empty(), bids.is_empty()) {
            (false, false) => format!(r#"{{"a":[{asks}]}},{{"b":[{bids}],{sum}}}"#),
            (false, true) => format!(r#"{{"a":[{asks}],{sum}}}"#),
            (true, _) => format!(r#"{{"b":[{bids}],{sum}}}"#),
        };
        format!(r#"[320,{parts},"book-10","{}"]"#, OLD_SPELLING[symbol])
    }

    /// Nothing announces it: the first value with more decimals does.
    fn widen(&mut self, symbol: usize, _now: UnixNanos) -> Vec<String> {
        self.markets[symbol].precision = PRICE_SCALE;
        vec![]
    }

    fn heartbeat(&self) -> Option<String> {
        Some(r#"{"event":"heartbeat"}"#.to_owned())
    }

    fn unknown_type(&self) -> String {
        r#"[77,{"sun":true},"weather","XBT/USD"]"#.to_owned()
    }

    /// Arrays have parts, not fields: a trade gets one more, a book's object gets a key.
    fn with_unknown_field(&self, frame: &str) -> String {
        let mood = r#"{"a":[1,"x\""]}"#;
        match frame.find(r#"]],"trade""#) {
            Some(at) => format!("{},{mood}{}", &frame[..at], &frame[at..]),
            None => frame.replacen('{', &format!(r#"{{"mood":{mood},"#), 1),
        }
    }

    fn truth(&self, symbol: usize) -> Truth {
        self.markets[symbol].truth()
    }
}

impl ServesTrades for KrakenV1 {
    const PAGE: usize = PAGE;

    fn forget_trades(&mut self, symbol: usize, before: u64) {
        self.markets[symbol].forget(usize::try_from(before - 1001).expect("an id of the case"));
    }
}
