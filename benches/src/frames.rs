//! Frames of the venues' shapes with plausible values, the same in every run: what the parsers are timed on.
//!
//! A mid price walks; trades happen at it, book changes fall off exponentially from a fixed one, so that a book made of
//! them is never crossed. Kraken's book is kept ten deep and carries the checksum that follows from it.

use crate::random::Random;
use std::collections::BTreeMap;

/// A shape of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Binance `trade`.
    BinanceTrade,
    /// Binance `depthUpdate`, 2 to 17 levels a side, 19 together on average.
    BinanceDepth,
    /// Binance `bookTicker`.
    BinanceQuote,
    /// Kraken v2 `trade` with one trade.
    KrakenTrade,
    /// Kraken v2 `book` update; the first frame is the snapshot.
    KrakenBook,
    /// Kraken v2 `ticker`.
    KrakenQuote,
    /// Coinbase Exchange `match`.
    CoinbaseMatch,
    /// Coinbase Advanced Trade `market_trades` with one trade.
    CoinbaseAdvancedTrade,
    /// Alpaca crypto `t`, one a frame, JSON.
    AlpacaTrade,
}

impl Shape {
    /// The shape with this name.
    pub fn named(name: &str) -> Option<Shape> {
        Some(match name {
            "binance_trade" => Shape::BinanceTrade,
            "kraken_trade" => Shape::KrakenTrade,
            "coinbase_match" => Shape::CoinbaseMatch,
            "coinbase_advanced_trade" => Shape::CoinbaseAdvancedTrade,
            "alpaca_trade" => Shape::AlpacaTrade,
            _ => return None,
        })
    }
}

/// Binance update ids begin here; the snapshot that bridges stands at the id before.
pub const BINANCE_FIRST_ID: u64 = 73_000_000_001;
/// The first trade id of either venue.
pub const FIRST_TRADE_ID: u64 = 5_210_000_000;
/// Mid price in ticks of 0.01 (Binance).
const BINANCE_MID: i64 = 11_673_661;
/// Mid price in ticks of 0.1 (Kraken).
const KRAKEN_MID: i64 = 1_167_366;
/// 2025-08-17T20:00:00Z in ns; the walk stays within that day.
const START_NS: u64 = 1_755_460_800_000_000_000;

/// `count` frames of a shape.
pub fn frames(shape: Shape, count: usize) -> Vec<String> {
    let mut walk = Walk::new(1000 + shape as u64);
    let mut book = KrakenBook::new(&mut walk);
    (0..count as u64)
        .map(|index| {
            walk.step();
            match shape {
                Shape::BinanceTrade => binance_trade(index, &mut walk),
                Shape::BinanceDepth => binance_depth(index, &mut walk),
                Shape::BinanceQuote => binance_quote(index, &mut walk),
                Shape::KrakenTrade => kraken_trade(index, &mut walk),
                Shape::KrakenBook => book.frame(index, &mut walk),
                Shape::KrakenQuote => kraken_quote(&mut walk),
                Shape::CoinbaseMatch => coinbase_match(index, &mut walk),
                Shape::CoinbaseAdvancedTrade => coinbase_advanced_trade(index, &mut walk),
                Shape::AlpacaTrade => alpaca_trade(index, &mut walk),
            }
        })
        .collect()
}

/// The answer to a request for Binance's definitions: BTCUSDT alone.
pub fn binance_definitions() -> String {
    concat!(
        r#"{"timezone":"UTC","serverTime":1755460800000,"rateLimits":[],"exchangeFilters":[],"symbols":[{"symbol":"BTCUSDT","#,
        r#""status":"TRADING","baseAsset":"BTC","baseAssetPrecision":8,"quoteAsset":"USDT","quotePrecision":8,"#,
        r#""quoteAssetPrecision":8,"orderTypes":["LIMIT"],"isSpotTradingAllowed":true,"isMarginTradingAllowed":true,"#,
        r#""filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01000000","maxPrice":"1000000.00000000","tickSize":"0.01000000"},"#,
        r#"{"filterType":"LOT_SIZE","minQty":"0.00001000","maxQty":"9000.00000000","stepSize":"0.00001000"}],"permissions":["SPOT"]}]}"#
    )
    .to_owned()
}

/// The answer to a request for Binance's book: 1000 levels a side that the first change bridges.
pub fn binance_snapshot() -> String {
    let side = |sign: i64| {
        let level = |n: i64| format!(r#"["{}","1.50000000"]"#, decimal(BINANCE_MID + sign * n, 2) + "000000");
        (1..=1000).map(level).collect::<Vec<_>>().join(",")
    };
    format!(r#"{{"lastUpdateId":{},"bids":[{}],"asks":[{}]}}"#, BINANCE_FIRST_ID - 1, side(-1), side(1))
}

/// Kraken's definitions: BTC/USD alone.
pub fn kraken_definitions() -> String {
    concat!(
        r#"{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","#,
        r#""status":"online","qty_precision":8,"qty_increment":0.00000001,"price_precision":1,"cost_precision":5,"#,
        r#""marginable":true,"has_index":true,"cost_min":0.5,"tick_size":0.1,"price_increment":0.1,"qty_min":0.00005}]}}"#
    )
    .to_owned()
}

struct Walk {
    random: Random,
    binance: i64,
    kraken: i64,
    ns: u64,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        Walk { random: Random::new(seed), binance: BINANCE_MID, kraken: KRAKEN_MID, ns: START_NS }
    }

    fn step(&mut self) {
        let step = [-2, -1, -1, 0, 0, 0, 1, 1, 2][self.random.below(9) as usize];
        self.binance += step;
        self.kraken += step;
        // At most 20 µs a frame: ten million frames are within four minutes.
        self.ns += 1_000 * (1 + self.random.below(20));
    }

    fn ms(&self) -> u64 {
        self.ns / 1_000_000
    }

    fn iso(&self) -> String {
        let us = (self.ns - START_NS) / 1_000;
        let (s, us) = (us / 1_000_000, us % 1_000_000);
        format!("2025-08-17T{:02}:{:02}:{:02}.{us:06}Z", 20 + s / 3600, s / 60 % 60, s % 60)
    }

    /// Mostly small, sometimes large, in units of 10^-5.
    fn size(&mut self) -> i64 {
        (self.random.exponential(25_000.0) as i64).min(5_000_000) + 1
    }

    /// Ticks from the touch: most changes are near to it.
    fn distance(&mut self) -> i64 {
        self.random.exponential(25.0) as i64
    }
}

/// `12345` with 2 decimals is `123.45`.
fn decimal(mantissa: i64, decimals: usize) -> String {
    let one = 10i64.pow(decimals as u32);
    format!("{}.{:0decimals$}", mantissa / one, mantissa % one)
}

fn binance_trade(index: u64, w: &mut Walk) -> String {
    let (ms, size, maker) = (w.ms(), w.size(), w.random.below(2) == 0);
    format!(
        r#"{{"e":"trade","E":{},"s":"BTCUSDT","t":{},"p":"{}000000","q":"{}000","T":{ms},"m":{maker},"M":true}}"#,
        ms + 1,
        FIRST_TRADE_ID + index,
        decimal(w.binance, 2),
        decimal(size, 5)
    )
}

fn binance_depth(index: u64, w: &mut Walk) -> String {
    let first = BINANCE_FIRST_ID + 30 * index;
    let mut side = |sign: i64| {
        let count = 2 + w.random.below(16);
        let level = |_| {
            let price = BINANCE_MID + sign * (1 + w.distance());
            let size = if w.random.below(10) < 3 { 0 } else { w.size() };
            format!(r#"["{}000000","{}000"]"#, decimal(price, 2), decimal(size, 5))
        };
        (0..count).map(level).collect::<Vec<_>>().join(",")
    };
    let (bids, asks) = (side(-1), side(1));
    format!(
        r#"{{"e":"depthUpdate","E":{},"s":"BTCUSDT","U":{first},"u":{},"b":[{bids}],"a":[{asks}]}}"#,
        w.ms(),
        first + 29
    )
}

fn binance_quote(index: u64, w: &mut Walk) -> String {
    let (bid, ask) = (w.size(), w.size());
    format!(
        r#"{{"u":{},"s":"BTCUSDT","b":"{}000000","B":"{}000","a":"{}000000","A":"{}000"}}"#,
        BINANCE_FIRST_ID + index,
        decimal(w.binance - 1, 2),
        decimal(bid, 5),
        decimal(w.binance + 1, 2),
        decimal(ask, 5)
    )
}

fn kraken_trade(index: u64, w: &mut Walk) -> String {
    let side = if w.random.below(2) == 0 { "buy" } else { "sell" };
    let kind = if w.random.below(2) == 0 { "market" } else { "limit" };
    let size = w.size() * 1000 + 7;
    format!(
        concat!(
            r#"{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"{}","price":{},"qty":{},"#,
            r#""ord_type":"{}","trade_id":{},"timestamp":"{}"}}]}}"#
        ),
        side,
        decimal(w.kraken, 1),
        decimal(size, 8),
        kind,
        FIRST_TRADE_ID + index,
        w.iso()
    )
}

fn kraken_quote(w: &mut Walk) -> String {
    let (bid, ask) = (w.size() * 1000, w.size() * 1000);
    format!(
        concat!(
            r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"BTC/USD","bid":{},"bid_qty":{},"ask":{},"ask_qty":{},"#,
            r#""last":{},"volume":1802.04513297,"vwap":116201.4,"low":115001.0,"high":118000.0,"change":-120.5,"change_pct":-0.10,"#,
            r#""timestamp":"{}"}}]}}"#
        ),
        decimal(w.kraken - 1, 1),
        decimal(bid, 8),
        decimal(w.kraken + 1, 1),
        decimal(ask, 8),
        decimal(w.kraken, 1),
        w.iso()
    )
}

fn uuid(w: &mut Walk) -> String {
    let mut hex = |digits: u32| format!("{:0width$x}", w.random.below(1 << (4 * digits)), width = digits as usize);
    format!("{}-{}-{}-{}-{}", hex(8), hex(4), hex(4), hex(4), hex(12))
}

fn coinbase_match(index: u64, w: &mut Walk) -> String {
    let (maker, taker) = (uuid(w), uuid(w));
    let side = if w.random.below(2) == 0 { "buy" } else { "sell" };
    let size = w.size() * 1000 + 7;
    format!(
        concat!(
            r#"{{"type":"match","trade_id":{},"maker_order_id":"{}","taker_order_id":"{}","side":"{}","#,
            r#""size":"{}","price":"{}","product_id":"BTC-USD","sequence":{},"time":"{}"}}"#
        ),
        FIRST_TRADE_ID + index,
        maker,
        taker,
        side,
        decimal(size, 8),
        decimal(w.binance, 2),
        110_614_077_300 + 7 * index,
        w.iso()
    )
}

fn coinbase_advanced_trade(index: u64, w: &mut Walk) -> String {
    let side = if w.random.below(2) == 0 { "BUY" } else { "SELL" };
    let size = w.size() * 1000 + 7;
    let time = w.iso();
    format!(
        concat!(
            r#"{{"channel":"market_trades","client_id":"","timestamp":"{}","sequence_num":{},"events":[{{"type":"update","#,
            r#""trades":[{{"product_id":"BTC-USD","trade_id":"{}","price":"{}","size":"{}","time":"{}","side":"{}"}}]}}]}}"#
        ),
        time,
        index,
        FIRST_TRADE_ID + index,
        decimal(w.binance, 2),
        decimal(size, 8),
        time,
        side
    )
}

fn alpaca_trade(index: u64, w: &mut Walk) -> String {
    let side = if w.random.below(2) == 0 { "B" } else { "S" };
    format!(
        r#"[{{"T":"t","S":"BTC/USD","p":{},"s":{},"t":"{}","i":{},"tks":"{}"}}]"#,
        decimal(w.binance, 2),
        decimal(w.size() * 1000 + 7, 8),
        w.iso(),
        3_447_222_699_101_865_076 + index,
        side
    )
}

/// A book ten deep as the venue keeps it: price in ticks to size in 10^-8.
struct KrakenBook {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl KrakenBook {
    fn new(w: &mut Walk) -> KrakenBook {
        let mut side = |sign: i64| (1..=10).map(|n| (KRAKEN_MID + sign * 3 * n, w.size() * 1000)).collect();
        KrakenBook { bids: side(-1), asks: side(1) }
    }

    fn frame(&mut self, index: u64, w: &mut Walk) -> String {
        let level =
            |(price, size): (&i64, &i64)| format!(r#"{{"price":{},"qty":{}}}"#, decimal(*price, 1), decimal(*size, 8));
        let (kind, bids, asks) = if index == 0 {
            ("snapshot", self.bids.iter().rev().map(level).collect(), self.asks.iter().map(level).collect())
        } else {
            let changes = |changed: Vec<(i64, i64)>| changed.iter().map(|(p, s)| level((p, s))).collect::<Vec<_>>();
            // One side in three messages of four, both in the fourth: two levels a message on average.
            let both = w.random.below(4) == 0;
            let bid = both || w.random.below(2) == 0;
            let bids = if bid { changes(change(&mut self.bids, -1, w)) } else { vec![] };
            let asks = if both || !bid { changes(change(&mut self.asks, 1, w)) } else { vec![] };
            ("update", bids, asks)
        };
        format!(
            concat!(
                r#"{{"channel":"book","type":"{}","data":[{{"symbol":"BTC/USD","bids":[{}],"asks":[{}],"checksum":{},"#,
                r#""timestamp":"{}"}}]}}"#
            ),
            kind,
            bids.join(","),
            asks.join(","),
            self.checksum(),
            w.iso()
        )
    }

    /// CRC-32 over the digits of the ten best asks, then bids.
    fn checksum(&self) -> u32 {
        let text: String =
            self.asks.iter().chain(self.bids.iter().rev()).map(|(price, size)| format!("{price}{size}")).collect();
        crc32fast::hash(text.as_bytes())
    }
}

/// Changes a level's size, or moves the worst level to a free price, so that the side stays ten deep.
fn change(side: &mut BTreeMap<i64, i64>, sign: i64, w: &mut Walk) -> Vec<(i64, i64)> {
    let nth = w.random.below(10) as usize;
    let at = *side.keys().nth(nth).expect("ten levels a side");
    let size = w.size() * 1000;
    let worst =
        if sign < 0 { *side.keys().next().expect("ten levels") } else { *side.keys().last().expect("ten levels") };
    let moved = KRAKEN_MID + sign * (1 + w.random.below(31) as i64);
    if w.random.below(3) > 0 || side.contains_key(&moved) {
        side.insert(at, size);
        return vec![(at, size)];
    }
    side.remove(&worst);
    side.insert(moved, size);
    vec![(worst, 0), (moved, size)]
}
