//! Bars of the live stream, and of a capture of it, are what the emulator's journal of sent trades adds up to, to the digit.

mod common;

use common::{Site, Up, program, wait_for};
use model::Decimal;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Decimals that no price or size of the session goes beyond.
const SCALE: u8 = 10;

/// A bar as the test adds it up: open, high, low, close, volume, buyers' volume, notional, count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    prices: [i64; 4],
    volume: i128,
    bought: i128,
    notional: i128,
    trades: u64,
}

/// The bars of one second each of Kraken's trades of a symbol, from the frames that were sent.
fn sent(journal: &Path, symbol: &str) -> BTreeMap<u64, Sum> {
    let mut bars: BTreeMap<u64, Sum> = BTreeMap::new();
    for line in fs::read_to_string(journal).expect("the journal").lines() {
        if !line.starts_with(r#"{"channel":"trade""#) {
            continue;
        }
        for trade in line.split(r#"{"symbol":"#).skip(1).filter(|t| t.starts_with(&format!("{symbol:?}"))) {
            let field = |name: &str| {
                let key = format!("\"{name}\":");
                let at = trade.find(&key).unwrap_or_else(|| panic!("{name} in {trade}")) + key.len();
                trade[at..].split([',', '}']).next().expect("a value").trim_matches('"')
            };
            let number = |name| field(name).parse::<Decimal>().expect("a number").at_scale(SCALE).expect("it fits");
            let (time, _) = scan::rfc3339_nanos(field("timestamp").as_bytes()).expect("a time");
            let (price, size) = (number("price"), i128::from(number("qty")));
            let bought = if field("side") == "buy" { size } else { 0 };
            let notional = i128::from(price) * size;
            let first = Sum { prices: [price; 4], volume: 0, bought: 0, notional: 0, trades: 0 };
            let bar = bars.entry(time / 1_000_000_000).or_insert(first);
            let [_, high, low, close] = &mut bar.prices;
            (*high, *low, *close) = ((*high).max(price), (*low).min(price), price);
            bar.volume += size;
            bar.bought += bought;
            bar.notional += notional;
            bar.trades += 1;
        }
    }
    bars
}

/// The last word on each second's bar that is whole.
fn told(output: &[u8]) -> BTreeMap<u64, (Sum, String)> {
    let mut bars = BTreeMap::new();
    for line in String::from_utf8_lossy(output).lines() {
        let bar: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if bar["type"] != "bar" || bar["marks"] != serde_json::json!([]) {
            continue;
        }
        let decimal = |name: &str| bar[name].as_str().and_then(|t| t.parse::<Decimal>().ok()).expect(name);
        let wide = |name, scale: u8| {
            let d: Decimal = decimal(name);
            d.mantissa * 10i128.pow(u32::from(scale - d.scale))
        };
        let sum = Sum {
            prices: ["open", "high", "low", "close"].map(|name| decimal(name).at_scale(SCALE).expect("it fits")),
            volume: wide("volume", SCALE),
            bought: wide("buy_volume", SCALE),
            notional: wide("notional", 2 * SCALE),
            trades: bar["trades"].as_u64().expect("a count"),
        };
        assert_eq!(sum.volume, sum.bought + wide("sell_volume", SCALE), "{line}");
        bars.insert(bar["start"].as_u64().expect("a time") / 1_000_000_000, (sum, line.to_owned()));
    }
    bars
}

#[test]
fn live_and_captured_bars_are_what_was_sent() {
    let captures = tempfile::tempdir().expect("a folder");
    let site = Site::new(&format!("[venues.binance]\nenabled = false\n[capture]\npath = {:?}\n", captures.path()));
    let up = Up::start(&site, &[]);
    wait_for("the ring", || site.rings.path().join("kraken.ring").exists().then_some(()));
    let args = ["bars", "btc-usd", "--venue", "kraken", "--every", "1s", "--from", "oldest", "--json", "--flow"];
    let live = site.output(&[&args[..], &["--once", "8"]].concat());
    let words = String::from_utf8_lossy(&live.stderr).into_owned();
    assert_eq!(live.status.code(), Some(0), "{words}");
    let readable = site.output(&["bars", "BTC-USD", "--ticks", "5", "--once", "1"]);
    let line = String::from_utf8_lossy(&readable.stdout).into_owned();
    assert!(line.contains(" kraken   BTC-USD  O ") && line.contains(" trades 5 vwap "), "{line}");
    assert_eq!(up.stop(), Some(0));

    let sent = sent(&site.state.path().join("journal-kraken").join("000001.jsonl"), "BTC/USD");
    let live = told(&live.stdout);
    assert!(live.len() >= 6, "{} whole bars", live.len());
    for (second, (bar, line)) in &live {
        assert_eq!(Some(bar), sent.get(second), "{line}");
    }

    let capture = captures.path().join("kraken");
    let run = |rule: &[&str]| {
        let out = program()
            .args(["bars", "BTC-USD", "--json", "--flow"])
            .args(rule)
            .arg(&capture)
            .output()
            .expect("the program runs");
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    let recorded = told(&run(&["--every", "1s"]));
    assert!(recorded.len() >= live.len());
    for (second, (bar, line)) in &recorded {
        assert_eq!(Some(bar), sent.get(second), "{line}");
    }
    // The same trades by another rule, and what they say in all.
    let out = run(&["--ticks", "7"]);
    let lines: Vec<Value> =
        String::from_utf8_lossy(&out).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let bars: Vec<&Value> = lines.iter().filter(|line| line["type"] == "bar").collect();
    let trades: u64 = bars.iter().filter_map(|bar| bar["trades"].as_u64()).sum();
    assert!(bars.iter().rev().skip(1).all(|bar| bar["trades"] == 7), "{bars:?}");
    assert!(trades >= sent.values().map(|bar| bar.trades).sum::<u64>() / 2);
    let flow = lines.last().expect("a last line");
    assert_eq!((&flow["type"], &flow["cvd"]), (&"flow".into(), &bars.last().expect("a bar")["cvd"]));
    let nowhere = program().args(["bars", "DOGE-USD"]).arg(&capture).output().expect("the program runs");
    assert_eq!(nowhere.status.code(), Some(2), "{}", String::from_utf8_lossy(&nowhere.stdout));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("has no DOGE-USD"));
}
