//! A small Coinbase Exchange for the conformance suite: products by REST, level 2 in batches without any number of its
//! own, heartbeats of one product, a last trade after each subscription.

use super::case::{Answer, Case, Change, Sent, ServesTrades, Truth};
use super::kraken::time;
use model::{Decimal, Side, UnixNanos, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use venues::{Settings, VenueMachine};

/// Decimals the case keeps prices and sizes with.
const SCALE: u8 = 8;

struct Market {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// The last trade but for its type.
    last: Option<String>,
    /// Every trade from 1001 on, as REST tells it.
    trades: Vec<Value>,
    /// How many of them, the oldest, are no longer served.
    forgotten: usize,
    sequence: u64,
}

/// The venue; `FETCHED` where missed trades are fetched, which tells them beside their gap.
pub struct CoinbaseExchange<const FETCHED: bool> {
    markets: [Market; 2],
    /// Channel and product.
    subscribed: Vec<(String, String)>,
}

fn units(text: &str) -> i64 {
    text.parse::<Decimal>().expect("a number").at_scale(SCALE).expect("as precise as the case")
}

/// With all eight decimals, as the venue writes most numbers.
fn written(mantissa: i64) -> String {
    format!("{}.{:08}", mantissa / 100_000_000, mantissa % 100_000_000)
}

impl Market {
    fn new() -> Market {
        let one = 100_000_000;
        let level = |n: i64| (n + 1) * one / 4;
        Market {
            bids: (0..10).map(|n| ((100 - n) * one, level(n))).collect(),
            asks: (0..10).map(|n| ((101 + n) * one, level(n))).collect(),
            last: None,
            trades: vec![],
            forgotten: 0,
            sequence: 5_000_000_000,
        }
    }

    fn snapshot(&self, symbol: &str) -> String {
        // Prices of snapshots are written shorter than those of changes.
        let level = |(p, s): (&i64, &i64)| format!(r#"["{}","{}"]"#, Decimal::new((*p).into(), SCALE), written(*s));
        let bids: Vec<String> = self.bids.iter().rev().map(level).collect();
        let asks: Vec<String> = self.asks.iter().map(level).collect();
        let (bids, asks) = (bids.join(","), asks.join(","));
        format!(r#"{{"type":"snapshot","product_id":"{symbol}","asks":[{asks}],"bids":[{bids}]}}"#)
    }
}

impl<const FETCHED: bool> Default for CoinbaseExchange<FETCHED> {
    fn default() -> Self {
        CoinbaseExchange { markets: [Market::new(), Market::new()], subscribed: vec![] }
    }
}

impl<const FETCHED: bool> CoinbaseExchange<FETCHED> {
    fn index(symbol: &str) -> Option<usize> {
        Self::VENUE_SYMBOLS.iter().position(|s| *s == symbol)
    }

    fn products() -> String {
        let product = |symbol: &str| {
            let (base, quote) = symbol.split_once('-').expect("a pair");
            json!({"id": symbol, "base_currency": base, "quote_currency": quote, "quote_increment": "0.01",
                "base_increment": "0.00000001", "display_name": format!("{base}/{quote}"), "min_market_funds": "1",
                "margin_enabled": false, "post_only": false, "limit_only": false, "cancel_only": false,
                "status": "online", "status_message": "", "trading_disabled": false, "fx_stablecoin": false,
                "max_slippage_percentage": "0.02000000", "auction_mode": false})
        };
        let list: Vec<Value> = Self::VENUE_SYMBOLS.into_iter().chain(["SOL-USD"]).map(product).collect();
        json!(list).to_string()
    }

    fn request(&mut self, request: &Value) -> Vec<String> {
        let products: Vec<&str> =
            request["product_ids"].as_array().into_iter().flatten().map(|p| p.as_str().expect("a product")).collect();
        let channel = request["channels"][0].as_str().expect("a channel");
        assert!(products.iter().all(|p| Self::index(p).is_some()), "nobody asks for what is not listed: {products:?}");
        assert!(request.get("signature").is_none(), "nothing public is signed");
        let mut data = vec![];
        for product in &products {
            let market = &self.markets[Self::index(product).expect("checked above")];
            let own = (channel.to_owned(), (*product).to_owned());
            self.subscribed.retain(|s| *s != own);
            if request["type"] == "unsubscribe" {
                continue;
            }
            self.subscribed.push(own);
            match channel {
                "level2_batch" => data.push(market.snapshot(product)),
                "matches" => data.extend(market.last.as_ref().map(|t| format!(r#"{{"type":"last_match",{t}}}"#))),
                "heartbeat" => {}
                other => panic!("the machine was not told to want {other}"),
            }
        }
        if channel == "status" {
            let currencies = json!([{"id": "USD", "name": "US Dollar", "min_size": "0.01", "details": {}}]);
            let products: Value = serde_json::from_str(&Self::products()).expect("our own JSON");
            data.push(json!({"type": "status", "products": products, "currencies": currencies}).to_string());
        }
        let channels: Vec<Value> =
            self.subscribed.iter().map(|(name, product)| json!({"name": name, "product_ids": [product]})).collect();
        data.insert(0, json!({"type": "subscriptions", "channels": channels}).to_string());
        data
    }
}

impl<const FETCHED: bool> Case for CoinbaseExchange<FETCHED> {
    const VENUE: Venue = Venue::Coinbase;
    const SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const VENUE_SYMBOLS: [&'static str; 2] = ["BTC-USD", "ETH-USD"];
    const UNKNOWN: &'static str = "NOPE-USD";
    const DEPTH: Option<u32> = None;
    const LOST_LEVELS_SHOW: bool = false;
    // Without a number a loss shows only when it leaves the book crossed.
    const LOST: &'static [Change<'static>] = &[(Side::Sell, "101", "0")];
    const SHOWS: &'static [Change<'static>] = &[(Side::Buy, "101", "66")];

    fn machine(settings: &Settings) -> Box<dyn VenueMachine> {
        let fetched = if FETCHED { "on" } else { "off" };
        let choices = [("backfill".to_owned(), fetched.to_owned())];
        venues::machine(Venue::Coinbase, settings, &choices).expect("known choices")
    }

    fn connected(&mut self, _now: UnixNanos) -> Vec<String> {
        self.subscribed.clear();
        vec![]
    }

    fn asks_for_book(&self, sent: &Sent) -> bool {
        let Sent::Frame(frame) = sent else { return false };
        let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
        request["type"] == "subscribe" && request["channels"][0] == "level2_batch"
    }

    fn asks_for_trades(&self, sent: &Sent) -> bool {
        matches!(sent, Sent::Get(path) if path.contains("/trades?"))
    }

    fn answer(&mut self, sent: &Sent, _now: UnixNanos) -> Vec<Answer> {
        match sent {
            Sent::Get(path) if path == "/products" => vec![Answer::Http(200, Self::products())],
            Sent::Get(path) => {
                let (symbol, page) = path.trim_start_matches("/products/").split_once("/trades?").expect("old trades");
                let (limit, after) = page.trim_start_matches("limit=").split_once("&after=").expect("a page");
                let market = &self.markets[Self::index(symbol).expect("a product")];
                let (limit, after): (usize, usize) = (limit.parse().expect("a number"), after.parse().expect("an id"));
                let end = after.saturating_sub(1001).min(market.trades.len()).max(market.forgotten);
                let served = market.trades[market.forgotten..end].iter().rev().take(limit.min(Self::PAGE));
                vec![Answer::Http(200, json!(served.collect::<Vec<_>>()).to_string())]
            }
            Sent::Frame(frame) => {
                let request = serde_json::from_str(frame).expect("the machine sends JSON");
                self.request(&request).into_iter().map(Answer::Frame).collect()
            }
        }
    }

    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String {
        let (name, market) = (Self::VENUE_SYMBOLS[symbol], &mut self.markets[symbol]);
        market.sequence += 7;
        let (maker, id, sequence) = (taker.opposite().name(), 1001 + market.trades.len(), market.sequence);
        let (price, size) = (written(units(price)), written(units(size)));
        market.trades.push(json!({"trade_id": id, "side": maker, "size": size, "price": price, "time": time(now)}));
        let fields = format!(
            r#""trade_id":{id},"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8","taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","side":"{maker}","size":"{size}","price":"{price}","product_id":"{name}","sequence":{sequence},"time":"{}""#,
            time(now)
        );
        let frame = format!(r#"{{"type":"match",{fields}}}"#);
        market.last = Some(fields);
        frame
    }

    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String {
        let (name, market) = (Self::VENUE_SYMBOLS[symbol], &mut self.markets[symbol]);
        market.sequence += 3;
        let mut rows = vec![];
        for (side, price, size) in changes {
            let levels = if *side == Side::Buy { &mut market.bids } else { &mut market.asks };
            match units(size) {
                0 => levels.remove(&units(price)),
                size => levels.insert(units(price), size),
            };
            rows.push(format!(r#"["{side}","{}","{}"]"#, written(units(price)), written(units(size))));
        }
        let rows = rows.join(",");
        format!(r#"{{"type":"l2update","product_id":"{name}","changes":[{rows}],"time":"{}"}}"#, time(now))
    }

    fn widen(&mut self, _symbol: usize, _now: UnixNanos) -> Vec<String> {
        // A change of increment would come with the status of all products; the number itself is as good.
        vec![]
    }

    fn heartbeat(&self) -> Option<String> {
        let (name, market) = (Self::VENUE_SYMBOLS[1], &self.markets[1]);
        let (sequence, last) = (market.sequence, 1000 + market.trades.len());
        Some(format!(
            r#"{{"type":"heartbeat","last_trade_id":{last},"product_id":"{name}","sequence":{sequence},"time":"2023-11-14T22:13:20.000000Z"}}"#
        ))
    }

    fn unknown_type(&self) -> String {
        r#"{"type":"weather","product_id":"BTC-USD","sun":true}"#.to_owned()
    }

    fn with_unknown_field(&self, frame: &str) -> String {
        format!(r#"{}"mood":{{"a":[1,"x\""]}},{}"#, &frame[..1], &frame[1..])
    }

    fn truth(&self, symbol: usize) -> Truth {
        let market = &self.markets[symbol];
        let decimal = |m: i64| Decimal::new(m.into(), SCALE).to_string();
        let level = |(p, s): (&i64, &i64)| [decimal(*p), decimal(*s)];
        Truth { bids: market.bids.iter().rev().map(level).collect(), asks: market.asks.iter().map(level).collect() }
    }
}

impl<const FETCHED: bool> ServesTrades for CoinbaseExchange<FETCHED> {
    const PAGE: usize = 5;

    fn forget_trades(&mut self, symbol: usize, before: u64) {
        self.markets[symbol].forgotten = usize::try_from(before - 1001).expect("an id of the case");
    }
}
