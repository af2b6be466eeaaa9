//! Our bars from recorded trades against the bars the same venues sent in the same recording, to the last digit.
//!
//! What the venues' bars mean, as the recordings show it:
//! - Binance counts each trade of an aggregated one (`l - f + 1`), and a kline says which trades it is of (`f`, `L`). One
//!   that is sent while it grows may be of the first trades of an aggregated one and not yet of the others.
//! - Coinbase's candle is as of some trade a moment before the frame that carries it, and does not say of which.
//! - No recording holds Kraken's bars together with the trades they are made of.
#![allow(clippy::unwrap_used)]

use book::bars::{Bar, Bars, Interval, Rule, Trade};
use model::{Decimal, Notional, Price, Qty, UnixNanos, Venue};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use venues::coinbase::advanced;
use venues::{Input, Outbox, Session, SessionSettings, Settings, VenueMachine};
use wire::{Origin, Record};

/// The text of a recording; `None`, said aloud, when it is not there.
fn recording(test: &str, name: &str) -> Option<String> {
    let root = std::env::var("ALPHAPULSE_TEST_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = root.join("venues").join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED {test}: {} is not there", path.display());
        return None;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

/// A trade as the venue's machine tells it, at 8 decimals.
struct Told {
    symbol: String,
    trade: Trade,
}

/// All trades of the frames, as the venue's own machine reads them.
fn trades(machine: Box<dyn VenueMachine>, frames: &str) -> Vec<Told> {
    let (mut session, mut out) = (Session::new(machine, SessionSettings::default()), Outbox::new());
    let start = Input::Start { epoch: 1, pid: 1, origin: Origin::Live, site: "test", build: "test" };
    session.step(start, UnixNanos(1), &mut out);
    let mut told = vec![];
    for frame in frames.lines() {
        out.clear();
        session.step(Input::Frame(frame.as_bytes()), UnixNanos(2), &mut out);
        for record in out.records.records() {
            let Ok(Record::Trade(t)) = record else { continue };
            let instruments = session.machine().instruments();
            let instrument = instruments.get(instruments.index_of(t.header.instrument()).unwrap());
            let eight = |mantissa: i64, scale: u8| mantissa * 10i64.pow(8 - u32::from(scale));
            let trade = Trade {
                time: UnixNanos(t.ts_event),
                id: t.trade_id,
                price: Price(eight(t.price, instrument.price_scale)),
                size: Qty(eight(t.size, instrument.size_scale)),
                taker: t.header.flags().side(),
            };
            told.push(Told { symbol: instrument.venue_symbol.clone(), trade });
        }
    }
    told
}

fn eight(text: &str) -> i64 {
    text.parse::<Decimal>().unwrap().at_scale(8).unwrap()
}

fn minute() -> Rule {
    Rule::Time(Interval::MINUTE)
}

/// Binance's kline, as it writes it.
#[derive(Deserialize, Clone)]
struct Kline {
    s: String,
    t: u64,
    #[serde(rename = "T")]
    last_ms: u64,
    f: u64,
    #[serde(rename = "L")]
    last: u64,
    o: String,
    h: String,
    l: String,
    c: String,
    v: String,
    q: String,
    n: u64,
    x: bool,
    #[serde(rename = "V")]
    bought: String,
    #[serde(rename = "Q")]
    bought_for: String,
}

/// What both say of a bar: open, high, low, close, volume, notional, taker-buy volume and notional. A notional is at 16
/// decimals here and at 8 there: Binance writes all its digits, as its ticks and lots have no more than 8 together.
type Said = ([i64; 4], i128, Notional, i128, Notional);

impl Kline {
    fn said(&self) -> Said {
        let prices = [&self.o, &self.h, &self.l, &self.c].map(|text| eight(text));
        let notional = |text: &str| Notional(i128::from(eight(text)) * 100_000_000);
        let volume = |text: &str| i128::from(eight(text));
        (prices, volume(&self.v), notional(&self.q), volume(&self.bought), notional(&self.bought_for))
    }

    /// The same as a bar of ours, to be merged with one.
    fn bar(&self, first: &Bar) -> Bar {
        let (prices, volume, notional, buy_volume, buy_notional) = self.said();
        let [open, high, low, close] = prices.map(Price);
        let start = UnixNanos::from_millis(self.t).unwrap();
        // Its trades are all before ours.
        let before = book::bars::TradeKey { time: start, id: 0 };
        let sell_volume = volume - buy_volume;
        let (trades, end) = (self.n, first.end);
        Bar {
            start,
            end,
            open,
            high,
            low,
            close,
            volume,
            notional,
            buy_volume,
            sell_volume,
            buy_notional,
            trades,
            first: before,
            last: before,
            ..*first
        }
    }
}

fn said(bar: &Bar) -> Said {
    let prices = [bar.open.0, bar.high.0, bar.low.0, bar.close.0];
    (prices, bar.volume, bar.notional, bar.buy_volume, bar.buy_notional)
}

/// First and last trade of an aggregated trade.
#[derive(Deserialize)]
struct Aggregate {
    s: String,
    a: u64,
    f: u64,
    l: u64,
}

#[derive(Deserialize)]
struct Stream<T> {
    data: T,
}

#[derive(Deserialize)]
struct KlineFrame {
    k: Kline,
}

#[test]
fn binance_klines_are_our_bars_of_the_trades_they_name() {
    const FILE: &str = "binance/spot_ws/dot_btc_eth_usdt_20210404.jsonl.gz";
    let Some(text) = recording("binance_klines", FILE) else { return };
    let choices = [("trades".to_owned(), "agg_trade".to_owned())];
    let told = trades(venues::machine(Venue::Binance, &Settings::default(), &choices).unwrap(), &text);
    let mut ranges: BTreeMap<(String, u64), (u64, u64)> = BTreeMap::new();
    let mut klines: Vec<Kline> = vec![];
    for line in text.lines() {
        if line.contains("\"e\":\"aggTrade\"") {
            let Stream { data } = serde_json::from_str::<Stream<Aggregate>>(line).unwrap();
            ranges.insert((data.s, data.a), (data.f, data.l));
        } else if line.contains("\"e\":\"kline\"") {
            klines.push(serde_json::from_str::<Stream<KlineFrame>>(line).unwrap().data.k);
        }
    }
    assert_eq!((told.len(), klines.len()), (1910, 118), "everything in the recording is read");

    let (mut whole, mut split, mut closed) = (0, 0, 0);
    for symbol in ["BTCUSDT", "DOTUSDT", "ETHUSDT"] {
        let ours: Vec<(Trade, (u64, u64))> = told
            .iter()
            .filter(|t| t.symbol == symbol)
            .map(|t| (t.trade, ranges[&(symbol.to_owned(), t.trade.id)]))
            .collect();
        let recorded_from = ours[0].1.0;
        let of = |from: u64, to: u64| -> Option<(Bar, u64)> {
            let mut bars = Bars::new(minute(), 0).unwrap();
            let named: Vec<_> = ours.iter().filter(|(_, (f, l))| from <= *f && *l <= to).collect();
            assert!(named.iter().all(|(trade, _)| bars.push(*trade).is_none()), "one kline is one bar");
            let count = named.iter().map(|(_, (f, l))| l - f + 1).sum();
            Some((bars.finish()?, count))
        };
        let seen: Vec<&Kline> = klines.iter().filter(|k| k.s == symbol).collect();
        let cut = |k: &Kline| ours.iter().any(|(_, (f, l))| *f <= k.last && k.last < *l);
        // Klines all of whose trades are in the recording: each one sent, while it grew.
        for kline in seen.iter().filter(|k| k.f >= recorded_from && k.n > 0) {
            if cut(kline) {
                split += 1;
                continue;
            }
            let (bar, count) = of(kline.f, kline.last).unwrap();
            assert_eq!((said(&bar), count), (kline.said(), kline.n), "{symbol} {}..={}", kline.f, kline.last);
            assert_eq!(bar.start, UnixNanos::from_millis(kline.t).unwrap());
            assert_eq!(bar.end, UnixNanos::from_millis(kline.last_ms + 1).unwrap());
            whole += 1;
        }
        // The minute in which the recording began: as first seen, and our bar of all trades after that.
        let first = seen.iter().find(|k| k.last >= recorded_from && !cut(k)).unwrap();
        for kline in seen.iter().filter(|k| k.x) {
            let (rest, count) = of(first.last + 1, kline.last).unwrap();
            let both = first.bar(&rest).merge(&rest);
            assert_eq!((said(&both), first.n + count), (kline.said(), kline.n), "{symbol} closed");
            closed += 1;
        }
    }
    println!(
        "binance: {whole} klines equal as they grew ({split} more end inside a trade), {closed} closed minutes equal"
    );
    assert_eq!((whole + split, closed), (53, 3));
    assert!(split < 10, "{split} klines were left out");
}

#[derive(Deserialize)]
struct CoinbaseFrame<'a> {
    timestamp: String,
    #[serde(borrow)]
    events: Vec<CandleEvent<'a>>,
}

#[derive(Deserialize)]
struct CandleEvent<'a> {
    #[serde(borrow)]
    candles: Vec<Candle<'a>>,
}

#[derive(Deserialize)]
struct Candle<'a> {
    start: &'a str,
    high: &'a str,
    low: &'a str,
    open: &'a str,
    close: &'a str,
    volume: &'a str,
    product_id: &'a str,
}

#[test]
fn coinbase_candles_are_our_bars_as_of_one_trade() {
    const FILE: &str = "coinbase/advanced_ws/all_channels_20260809.jsonl.gz";
    let Some(text) = recording("coinbase_candles", FILE) else { return };
    let mut told = trades(advanced::machine(&Settings::default(), &[]).unwrap(), &text);
    told.sort_by_key(|t| t.trade.id);
    let rule = Rule::Time(Interval::new(Duration::from_secs(300)).unwrap());
    let mut equal = 0;
    for line in text.lines().filter(|line| line.contains("\"channel\":\"candles\"")) {
        let frame: CoinbaseFrame<'_> = serde_json::from_str(line).unwrap();
        for candle in frame.events.iter().flat_map(|e| &e.candles) {
            let start = UnixNanos(candle.start.parse::<u64>().unwrap() * 1_000_000_000);
            let end = start.after(Duration::from_secs(300));
            let ours: Vec<Trade> = told
                .iter()
                .filter(|t| t.symbol == candle.product_id)
                .map(|t| t.trade)
                .skip_while(|t| t.time < start)
                .take_while(|t| t.time < end)
                .collect();
            let before = told.iter().any(|t| t.symbol == candle.product_id && t.trade.time < start);
            if ours.is_empty() || !before {
                // The recording does not hold the candle's first trade.
                continue;
            }
            let mut bars = Bars::new(rule, 0).unwrap();
            let prices = [candle.open, candle.high, candle.low, candle.close].map(eight);
            let said = (prices, i128::from(eight(candle.volume)));
            let as_of: Vec<u64> = ours
                .iter()
                .filter_map(|trade| {
                    assert_eq!(bars.push(*trade), None, "one candle is one bar");
                    let bar = bars.open().unwrap();
                    let same = ([bar.open.0, bar.high.0, bar.low.0, bar.close.0], bar.volume) == said;
                    same.then_some(trade.id)
                })
                .collect();
            println!("{} at {}: as of trade {as_of:?}", candle.product_id, frame.timestamp);
            assert_eq!(
                as_of.len(),
                1,
                "{} {}: exactly one trade after which both say the same",
                candle.product_id,
                candle.start
            );
            equal += 1;
        }
    }
    assert_eq!(equal, 4);
}
