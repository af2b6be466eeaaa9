//! A small Binance for the conformance suite: combined streams, definitions and books by REST, one id space a symbol.

use super::case::{Answer, Case, Change, Sent, ServesTrades, Truth};
use model::{Decimal, Side, StreamKind, UnixNanos, Venue};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use venues::{Settings, StaleAfter, VenueMachine};

/// The venue pads every number to this many decimals.
const SCALE: u8 = 8;

struct Market {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// The id of the last change.
    last: u64,
    /// Every trade from 1001 on, as REST tells it.
    trades: Vec<Value>,
    /// How many of them, the oldest, are no longer served.
    forgotten: usize,
}

/// The venue.
pub struct Binance {
    markets: [Market; 2],
    /// Streams the connection is subscribed to.
    streams: Vec<String>,
}

fn units(text: &str) -> i64 {
    text.parse::<Decimal>().expect("a number").at_scale(SCALE).expect("as precise as the venue")
}

/// With all eight decimals, as the venue writes numbers.
fn written(mantissa: i64) -> String {
    format!("{}.{:08}", mantissa / 100_000_000, mantissa % 100_000_000)
}

fn millis(now: UnixNanos) -> u64 {
    now.0 / 1_000_000
}

impl Market {
    fn new() -> Market {
        let one = 100_000_000;
        let level = |n: i64| (n + 1) * one / 4;
        Market {
            bids: (0..10).map(|n| ((100 - n) * one, level(n))).collect(),
            asks: (0..10).map(|n| ((101 + n) * one, level(n))).collect(),
            last: 5_000_000_000,
            trades: vec![],
            forgotten: 0,
        }
    }

    fn body(&self, limit: usize) -> String {
        let level = |(p, s): (&i64, &i64)| json!([written(*p), written(*s)]);
        let bids: Vec<Value> = self.bids.iter().rev().take(limit).map(level).collect();
        let asks: Vec<Value> = self.asks.iter().take(limit).map(level).collect();
        json!({"lastUpdateId": self.last, "bids": bids, "asks": asks}).to_string()
    }
}

impl Default for Binance {
    fn default() -> Binance {
        Binance { markets: [Market::new(), Market::new()], streams: vec![] }
    }
}

impl Binance {
    fn index(symbol: &str) -> Option<usize> {
        Self::VENUE_SYMBOLS.iter().position(|s| *s == symbol)
    }

    fn definition(symbol: usize) -> Value {
        let (base, quote) = Self::SYMBOLS[symbol].split_once('-').expect("a pair");
        json!({"symbol": Self::VENUE_SYMBOLS[symbol], "status": "TRADING", "baseAsset": base, "baseAssetPrecision": 8,
            "quoteAsset": quote, "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00010000", "maxQty": "9000.00000000", "stepSize": "0.00010000"},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000"}]})
    }

    fn get(&self, path: &str) -> (u16, String) {
        let unescaped = path.replace("%5B", "[").replace("%5D", "]").replace("%22", "\"").replace("%2C", ",");
        if let Some(list) = unescaped.strip_prefix("/api/v3/exchangeInfo?symbols=") {
            let symbols: Vec<String> = serde_json::from_str(list).expect("a list of symbols");
            let found: Option<Vec<usize>> = symbols.iter().map(|s| Binance::index(s)).collect();
            return match found {
                Some(found) => {
                    let symbols: Vec<Value> = found.into_iter().map(Binance::definition).collect();
                    (200, json!({"timezone": "UTC", "rateLimits": [], "symbols": symbols}).to_string())
                }
                None => (400, json!({"code": -1121, "msg": "Invalid symbol."}).to_string()),
            };
        }
        if let Some(query) = path.strip_prefix("/api/v3/historicalTrades?symbol=") {
            let [symbol, from, limit] = query.split('&').collect::<Vec<_>>()[..] else { panic!("{path}") };
            let market = &self.markets[Binance::index(symbol).expect("a defined symbol")];
            let number = |text: &str| text.split_once('=').expect("a value").1.parse::<usize>().expect("a number");
            let start = number(from).saturating_sub(1001).max(market.forgotten).min(market.trades.len());
            let served = market.trades[start..].iter().take(number(limit).min(Self::PAGE));
            return (200, json!(served.collect::<Vec<_>>()).to_string());
        }
        let query = path.strip_prefix("/api/v3/depth?symbol=").expect("a path the venue knows");
        let (symbol, limit) = query.split_once("&limit=").expect("a limit");
        let market = &self.markets[Binance::index(symbol).expect("a defined symbol")];
        (200, market.body(limit.parse().expect("a number")))
    }
}

impl Case for Binance {
    const VENUE: Venue = Venue::Binance;
    const SYMBOLS: [&'static str; 2] = ["BTC-USDT", "ETH-USDT"];
    const VENUE_SYMBOLS: [&'static str; 2] = ["BTCUSDT", "ETHUSDT"];
    const UNKNOWN: &'static str = "NOPE-USDT";
    const DEPTH: Option<u32> = None;
    const BOOK_EVENTS_NUMBERED: bool = true;

    fn machine(settings: &Settings) -> Box<dyn VenueMachine> {
        venues::machine(Venue::Binance, settings, &[]).expect("the default choices")
    }

    fn connected(&mut self, _now: UnixNanos) -> Vec<String> {
        self.streams.clear();
        vec![]
    }

    fn asks_for_book(&self, sent: &Sent) -> bool {
        matches!(sent, Sent::Get(path) if path.starts_with("/api/v3/depth"))
    }

    fn asks_for_trades(&self, sent: &Sent) -> bool {
        matches!(sent, Sent::Get(path) if path.contains("Trades"))
    }

    fn answer(&mut self, sent: &Sent, _now: UnixNanos) -> Vec<Answer> {
        match sent {
            Sent::Get(path) => {
                let (status, body) = self.get(path);
                vec![Answer::Http(status, body)]
            }
            Sent::Frame(frame) => {
                let request: Value = serde_json::from_str(frame).expect("the machine sends JSON");
                assert_eq!(request["method"], "SUBSCRIBE");
                for name in request["params"].as_array().expect("names") {
                    let name = name.as_str().expect("a name");
                    let (symbol, _) = name.split_once('@').expect("symbol and stream");
                    assert!(Binance::index(&symbol.to_uppercase()).is_some() && symbol == symbol.to_lowercase());
                    self.streams.push(name.to_owned());
                }
                vec![Answer::Frame(json!({"result": null, "id": request["id"]}).to_string())]
            }
        }
    }

    fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side, now: UnixNanos) -> String {
        let (name, market) = (Self::VENUE_SYMBOLS[symbol], &mut self.markets[symbol]);
        let id = 1001 + market.trades.len();
        let (price, size, now, maker) = (written(units(price)), written(units(size)), millis(now), taker == Side::Sell);
        market.trades.push(json!({"id": id, "price": price, "qty": size, "quoteQty": "1.00000000", "time": now,
            "isBuyerMaker": maker, "isBestMatch": true}));
        format!(
            r#"{{"stream":"{}@trade","data":{{"e":"trade","E":{now},"s":"{name}","t":{id},"p":"{price}","q":"{size}","T":{now},"m":{maker},"M":true}}}}"#,
            name.to_lowercase()
        )
    }

    fn update(&mut self, symbol: usize, changes: &[Change<'_>], now: UnixNanos) -> String {
        let (name, market) = (Self::VENUE_SYMBOLS[symbol], &mut self.markets[symbol]);
        let (mut bids, mut asks) = (vec![], vec![]);
        for (side, price, size) in changes {
            let (price, size) = (units(price), units(size));
            let (levels, told) =
                if *side == Side::Buy { (&mut market.bids, &mut bids) } else { (&mut market.asks, &mut asks) };
            if size == 0 {
                levels.remove(&price)
            } else {
                levels.insert(price, size)
            };
            told.push(format!(r#"["{}","{}"]"#, written(price), written(size)));
        }
        // One message stands for several changes at the venue.
        let first = market.last + 1;
        market.last += 2 + changes.len() as u64;
        format!(
            r#"{{"stream":"{}@depth@100ms","data":{{"e":"depthUpdate","E":{},"s":"{name}","U":{first},"u":{},"b":[{}],"a":[{}]}}}}"#,
            name.to_lowercase(),
            millis(now),
            market.last,
            bids.join(","),
            asks.join(",")
        )
    }

    fn widen(&mut self, _symbol: usize, _now: UnixNanos) -> Vec<String> {
        // The venue announces no change of tick on its streams: the number itself is the news.
        vec![]
    }

    fn heartbeat(&self) -> Option<String> {
        // Pings are frames of the WebSocket itself, which no machine sees.
        None
    }

    fn unknown_type(&self) -> String {
        r#"{"stream":"btcusdt@weather","data":{"e":"weather","E":1700000000000,"s":"BTCUSDT","sun":true}}"#.to_owned()
    }

    fn with_unknown_field(&self, frame: &str) -> String {
        frame.replacen(r#""data":{"#, r#""data":{"mood":{"a":[1,"x\""]},"#, 1)
    }

    fn truth(&self, symbol: usize) -> Truth {
        let market = &self.markets[symbol];
        let decimal = |m: i64| Decimal::new(m.into(), SCALE).to_string();
        let level = |(p, s): (&i64, &i64)| [decimal(*p), decimal(*s)];
        Truth { bids: market.bids.iter().rev().map(level).collect(), asks: market.asks.iter().map(level).collect() }
    }

    fn settings() -> Settings {
        Settings {
            symbols: Self::SYMBOLS.map(str::to_owned).to_vec(),
            streams: vec![StreamKind::Trade, StreamKind::Book],
            book_depth: 1000,
            bar_interval_s: 60,
            snapshot_depth: 1000,
            // Without heartbeats the machine waits for six times the limit: 12 s here.
            stale_after: StaleAfter { trade_s: 0, book_s: 5, quote_s: 0, bar_s: 0, book_rhythm_s: 5, connection_s: 2 },
            credentials: None,
        }
    }
}

impl ServesTrades for Binance {
    const PAGE: usize = 5;

    fn forget_trades(&mut self, symbol: usize, before: u64) {
        self.markets[symbol].forgotten = usize::try_from(before - 1001).expect("an id of the case");
    }
}
