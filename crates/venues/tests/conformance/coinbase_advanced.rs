//! A small Coinbase Advanced Trade for the conformance suite: products by REST, one channel a subscription, every frame
//! of the connection numbered, heartbeats with a count of their own.

use super::case::{Answer, Case, Change, Sent, ServesTrades, Truth};
use super::kraken::time;
use model::{Decimal, Side, UnixNanos, Venue};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use venues::{Settings, VenueMachine};

/// Decimals the case keeps prices and sizes with.
const SCALE: u8 = 8;
const PRODUCTS: &str = "/api/v3/brokerage/market/products";
/// Trades in a snapshot of the channel.
const TRADES: usize = 100;

struct Market {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    trades: Vec<String>,
    /// How many of them, the oldest, are no longer served.
    forgotten: usize,
}

/// The venue.
pub struct CoinbaseAdvanced {
    markets: [Market; 2],
    /// The number of the connection's next frame.
    sequence: Cell<u64>,
    beat: Cell<u64>,
    /// Channels with their products.
    subscribed: BTreeMap<String, Vec<String>>,
}

fn units(text: &str) -> i64 {
    text.parse::<Decimal>().expect("a number").at_scale(SCALE).expect("as precise as the case")
}

/// Without zeros at the end, as the venue writes numbers.
fn written(mantissa: i64) -> String {
    Decimal::new(mantissa.into(), SCALE).to_string()
}

impl Market {
    fn new() -> Market {
        let one = 100_000_000;
        let level = |n: i64| (n + 1) * one / 4;
        Market {
            bids: (0..10).map(|n| ((100 - n) * one, level(n))).collect(),
            asks: (0..10).map(|n| ((101 + n) * one, level(n))).collect(),
            trades: vec![],
            forgotten: 0,
        }
    }
}

impl Default for CoinbaseAdvanced {
    fn default() -> CoinbaseAdvanced {
        CoinbaseAdvanced {
            markets: [Market::new(), Market::new()],
            sequence: Cell::new(0),
            beat: Cell::new(41_000),
            subscribed: BTreeMap::new(),
        }
    }
}

impl CoinbaseAdvanced {
    fn index(symbol: &str) -> Option<usize> {
        Self::VENUE_SYMBOLS.iter().position(|s| *s == symbol)
    }

    /// A frame with the connection's next number.
    fn frame(&self, channel: &str, now: UnixNanos, events: &str) -> String {
        let n = self.sequence.replace(self.sequence.get() + 1);
        let time = time(now);
        format!(r#"{{"channel":"{channel}","timestamp":"{time}","sequence_num":{n},"events":[{events}]}}"#)
    }

    fn level(side: Side, price: i64, size: i64, time: &str) -> String {
        let side = if side == Side::Buy { "bid" } else { "offer" };
        let (price, size) = (written(price), written(size));
        format!(r#"{{"side":"{side}","event_time":"{time}","price_level":"{price}","new_quantity":"{size}"}}"#)
    }

    fn snapshot(&self, symbol: usize, now: UnixNanos) -> String {
        let market = &self.markets[symbol];
        // Snapshots may come without a time.
        let time = if symbol == 0 { "1970-01-01T00:00:00Z".to_owned() } else { time(now) };
        let bids = market.bids.iter().rev().map(|(p, s)| Self::level(Side::Buy, *p, *s, &time));
        let asks = market.asks.iter().map(|(p, s)| Self::level(Side::Sell, *p, *s, &time));
        let (name, levels) = (Self::VENUE_SYMBOLS[symbol], bids.chain(asks).collect::<Vec<_>>().join(","));
        self.frame("l2_data", now, &format!(r#"{{"type":"snapshot","product_id":"{name}","updates":[{levels}]}}"#))
    }

    fn products() -> String {
        let product = |symbol: usize| {
            let (base, quote) = Self::SYMBOLS[symbol].split_once('-').expect("a pair");
            json!({"product_id": Self::VENUE_SYMBOLS[symbol], "base_increment": "0.0001", "quote_increment": "0.01",
                "price_increment": "0.01", "base_min_size": "0.0001", "base_max_size": "3400", "quote_min_size": "1",
                "status": "online", "is_disabled": false, "cancel_only": false, "limit_only": false, "post_only": false,
                "trading_disabled": false, "view_only": false, "auction_mode": false, "product_type": "SPOT",
                "base_currency_id": base, "quote_currency_id": quote, "alias": "", "alias_to": [],
                "fcm_trading_session_details": null})
        };
        json!({"products": [product(0), product(1)], "num_products": 2}).to_string()
    }

    fn request(&mut self, request: &Value, now: UnixNanos) -> Vec<String> {
        let channel = request["channel"].as_str().expect("one channel").to_owned();
        let products: Vec<String> = match request["product_ids"].as_array() {
            Some(list) => list.iter().map(|p| p.as_str().expect("a product").to_owned()).collect(),
            None => vec![channel.clone()],
        };
        let indexes: Vec<usize> = products.iter().filter_map(|p| Self::index(p)).collect();
        assert!(channel == "heartbeats" || indexes.len() == products.len(), "nobody asks for what is not listed");
        let mut frames = vec![];
        match request["type"].as_str() {
            Some("unsubscribe") => drop(self.subscribed.remove(&channel)),
            Some("subscribe") => {
                self.subscribed.entry(channel.clone()).or_default().extend(products);
                for symbol in indexes {
                    match channel.as_str() {
                        "level2" => frames.push(self.snapshot(symbol, now)),
                        "market_trades" => frames.extend(self.last_trades(symbol, now)),
                        "status" => {}
                        other => panic!("the machine was not told to want {other}"),
                    }
                }
            }
            other => panic!("the venue does not know {other:?}"),
        }
        let all = json!({"subscriptions": self.subscribed}).to_string();
        frames.push(self.frame("subscriptions", now, &all));
        frames
    }

    /// The newest trades of a span of whole seconds.
    fn old_trades(&self, path: &str) -> String {
        let rest = path.strip_prefix(PRODUCTS).and_then(|p| p.strip_prefix('/')).expect("a path the venue knows");
        let (name, query) = rest.split_once("/ticker?limit=1000&start=").expect("a limit and a start");
        let (start, end) = query.split_once("&end=").expect("an end");
        let number = |text: &str| text.parse::<u64>().expect("seconds");
        let market = &self.markets[Self::index(name).expect("a product")];
        let within = |trade: &&String| {
            let (_, time) = trade.split_once(r#""time":""#).expect("a time");
            let (nanos, _) = scan::rfc3339_nanos(time.as_bytes()).expect("a time");
            (number(start) * 1_000_000_000..=number(end) * 1_000_000_000).contains(&nanos)
        };
        let trades: Vec<&str> = market.trades[market.forgotten..]
            .iter()
            .rev()
            .filter(within)
            .take(Self::PAGE)
            .map(String::as_str)
            .collect();
        format!(r#"{{"trades":[{}],"best_bid":"100","best_ask":"101"}}"#, trades.join(","))
    }

    /// The last trades, newest first.
    fn last_trades(&self, symbol: usize, now: UnixNanos) -> Option<String> {
        let trades: Vec<&str> = self.markets[symbol].trades.iter().rev().take(TRADES).map(String::as_str).collect();
        let events = format!(r#"{{"type":"snapshot","trades":[{}]}}"#, trades.join(","));
        (!trades.is_empty()).then(|| self.frame("market_trades", now, &events))
    }
}

impl Case for CoinbaseAdvanced {
    const VENUE: Venue = Venue::Coinbase;
    const SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const VENUE_SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const UNKNOWN: &'static str = "NOPE-USD";
    const DEPTH: Option<u32> = None;
    const ONE_SEQUENCE: bool = true;

    fn machine(settings: &Settings) -> Box<dyn VenueMachine> {
        venues::coinbase::advanced::machine(settings, &[]).expect("the default choices")
    }

    fn connected(&mut self, _now: UnixNanos) -> Vec<String> {
        self.subscribed.clear();
        self.sequence.set(0);
        vec![]
    }

    fn asks_for_book(&self, sent: &Sent) -> bool {
        let Sent::Frame(frame) = sent else { return false };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        request["type"] == "subscribe" && request["channel"] == "level2"
    }

    fn asks_for_trades(&self, sent: &Sent) -> bool {
        matches!(sent, Sent::Get(path) if path.contains("/ticker?"))
    }

    fn answer(&mut self, sent: &Sent, now: UnixNanos) -> Vec<Answer> {
        match sent {
            Sent::Get(path) if path == PRODUCTS => vec![Answer::Http(200, CoinbaseAdvanced::products())],
            Sent::Get(path) => vec![Answer::Http(200, self.old_trades(path))],
            Sent::Frame(frame) => {
                let request = serde_json::from_str(frame).expect("the machine sends JSON");
                self.request(&request, now).into_iter().map(Answer::Frame).collect()
            }
        }
    }

    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String {
        let (name, market) = (Self::VENUE_SYMBOLS[symbol], &mut self.markets[symbol]);
        let (id, price, size) = (1001 + market.trades.len(), written(units(price)), written(units(size)));
        // The maker's side, as the venue's page says.
        let side = if taker == Side::Buy { "SELL" } else { "BUY" };
        let trade = format!(
            r#"{{"product_id":"{name}","trade_id":"{id}","price":"{price}","size":"{size}","time":"{}","side":"{side}"}}"#,
            time(now)
        );
        market.trades.push(trade.clone());
        self.frame("market_trades", now, &format!(r#"{{"type":"update","trades":[{trade}]}}"#))
    }

    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String {
        let (name, market) = (Self::VENUE_SYMBOLS[symbol], &mut self.markets[symbol]);
        let mut told = vec![];
        for (side, price, size) in changes {
            let (price, size) = (units(price), units(size));
            let levels = if *side == Side::Buy { &mut market.bids } else { &mut market.asks };
            if size == 0 {
                levels.remove(&price);
            } else {
                levels.insert(price, size);
            }
            told.push(Self::level(*side, price, size, &time(now)));
        }
        let levels = told.join(",");
        self.frame("l2_data", now, &format!(r#"{{"type":"update","product_id":"{name}","updates":[{levels}]}}"#))
    }

    fn again(&mut self, frame: &str) -> String {
        let (head, rest) = frame.split_once(r#""sequence_num":"#).expect("a frame of this venue");
        let (_, tail) = rest.split_once(',').expect("events follow");
        let n = self.sequence.replace(self.sequence.get() + 1);
        format!(r#"{head}"sequence_num":{n},{tail}"#)
    }

    fn numbered(frame: &str, n: u64) -> String {
        let (head, rest) = frame.split_once(r#""sequence_num":"#).expect("a frame of this venue");
        let (_, tail) = rest.split_once(',').expect("events follow");
        format!(r#"{head}"sequence_num":{n},{tail}"#)
    }

    fn widen(&mut self, _symbol: usize, _now: UnixNanos) -> Vec<String> {
        // The venue announces no finer increment on its streams: the number itself is the news.
        vec![]
    }

    fn heartbeat(&self) -> Option<String> {
        let beat = self.beat.replace(self.beat.get() + 1);
        let events = format!(r#"{{"current_time":"2023-11-14 22:13:20 +0000 UTC m=+1.5","heartbeat_counter":{beat}}}"#);
        self.subscribed.contains_key("heartbeats").then(|| {
            let now = UnixNanos(1_700_000_000_000_000_000);
            self.frame("heartbeats", now, &events)
        })
    }

    fn unknown_type(&self) -> String {
        let now = UnixNanos(1_700_000_000_000_000_000);
        self.frame("weather", now, r#"{"type":"update","product_id":"BTC-USD","sun":true}"#)
    }

    fn with_unknown_field(&self, frame: &str) -> String {
        format!(r#"{{"mood":{{"a":[1,"x\""]}},{}"#, &frame[1..])
    }

    fn truth(&self, symbol: usize) -> Truth {
        let market = &self.markets[symbol];
        let level = |(p, s): (&i64, &i64)| [written(*p), written(*s)];
        Truth { bids: market.bids.iter().rev().map(level).collect(), asks: market.asks.iter().map(level).collect() }
    }
}

impl ServesTrades for CoinbaseAdvanced {
    const PAGE: usize = 5;
    const APART: std::time::Duration = std::time::Duration::from_secs(1);

    fn forget_trades(&mut self, symbol: usize, before: u64) {
        self.markets[symbol].forgotten = usize::try_from(before - 1001).expect("an id of the case");
    }
}
