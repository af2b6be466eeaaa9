//! How long Kraken's machine takes for a frame, through `on_frame`, beside a bare fixed-order scan of the same frames.
//!
//! `cargo run --release -p venues --example kraken_timing -- FRAMES.jsonl…`: one frame a line; runs are interleaved and
//! the median of their ratios is printed. Checksums are compared only where the file begins with a book snapshot.
//! Trades are also timed with their keys in another order, beside a typed serde_json reader of the same frames.

use model::{UnixNanos, Venue};
use scan::{Cursor, DayCache};
use serde_json::value::RawValue;
use std::hint::black_box;
use std::time::Instant;
use venues::{Outbox, Settings, VenueMachine};

const RUNS: usize = 41;

const PAIRS: &str = r#"{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,"price_increment":0.1,"qty_min":0.0001,"cost_min":"0.5"}]}}"#;

const SNAPSHOT: &str = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":116736.6,"qty":1.0}],"asks":[{"price":116736.7,"qty":1.0}],"checksum":0}]}"#;

/// The least any reader of a trade frame does.
fn bare_trade(frame: &str, days: &mut DayCache) -> Option<u64> {
    let mut c = Cursor::new(frame.as_bytes());
    c.literal(b"{\"channel\":\"trade\",\"type\":\"update\",\"data\":[{\"symbol\":\"")?;
    let symbol = c.until_quote()?;
    c.literal(b"\",\"side\":\"")?;
    let side = c.until_quote()?;
    c.literal(b"\",\"price\":")?;
    let price = c.fixed(1)?;
    c.literal(b",\"qty\":")?;
    let size = c.fixed(8)?;
    c.literal(b",\"ord_type\":\"")?;
    let kind = c.until_quote()?;
    c.literal(b"\",\"trade_id\":")?;
    let id = c.u64()?;
    c.literal(b",\"timestamp\":\"")?;
    let time = c.rfc3339_nanos(days)?;
    c.literal(b"\"}]}")?;
    c.end()?;
    Some(price as u64 ^ size as u64 ^ id ^ time ^ (symbol.len() + side.len() + kind.len()) as u64)
}

/// A trade as the reference reads it, its numbers as written.
#[derive(serde::Deserialize)]
struct Trade<'a> {
    symbol: &'a str,
    side: &'a str,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    ord_type: &'a str,
    trade_id: u64,
    timestamp: &'a str,
}

#[derive(serde::Deserialize)]
struct Trades<'a> {
    channel: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Vec<Trade<'a>>,
}

fn typed(frame: &str, days: &mut DayCache) -> u64 {
    let message: Trades<'_> = serde_json::from_str(frame).expect("a frame of trades");
    message.data.iter().fold(0, |sum, t| {
        let fixed = |text: &RawValue, scale| scan::fixed(text.get().as_bytes(), scale).expect("a decimal").0 as u64;
        let time = days.rfc3339_nanos(t.timestamp.as_bytes()).expect("a time").0;
        sum ^ fixed(t.price, 1) ^ fixed(t.qty, 8) ^ time ^ t.trade_id
    })
}

/// A frame of one trade with the keys in reverse order.
fn reversed(frame: &str) -> String {
    let Trades { channel, kind, data } = serde_json::from_str(frame).expect("a frame of trades");
    let Trade { symbol, side, price, qty, ord_type, trade_id, timestamp } = &data[0];
    format!(
        r#"{{"data":[{{"timestamp":"{timestamp}","trade_id":{trade_id},"ord_type":"{ord_type}","qty":{qty},"price":{price},"side":"{side}","symbol":"{symbol}"}}],"type":"{kind}","channel":"{channel}"}}"#
    )
}

/// Trades in another order than the venue's, ours and the reference's in turn.
fn any_order(frames: &[&str]) {
    let frames: Vec<String> = frames.iter().map(|f| reversed(f)).collect();
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..RUNS {
        ours.push(run(&frames).0);
        let (mut days, begin) = (DayCache::default(), Instant::now());
        for frame in &frames {
            black_box(typed(black_box(frame), &mut days));
        }
        theirs.push(begin.elapsed().as_nanos() as f64 / frames.len() as f64);
    }
    let ratio = median(theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
    let (best, theirs) = (least(&ours), least(&theirs));
    println!("  keys in reverse: {best:.1} ns at best, typed serde_json {theirs:.1}, {ratio:.2} times ours");
}

fn machine(frames: &[&str]) -> Box<dyn VenueMachine> {
    let recorded = frames.iter().any(|f| f.contains("\"snapshot\",\"data\""));
    let choices = if recorded { vec![] } else { vec![("checksum".to_owned(), "ignore".to_owned())] };
    let mut machine = venues::machine(Venue::Kraken, &Settings::default(), &choices).expect("known choices");
    if !recorded {
        let mut out = Outbox::new();
        for frame in [PAIRS, SNAPSHOT] {
            machine.on_frame(frame.as_bytes(), UnixNanos(1), &mut out).expect("a sound frame");
        }
    }
    machine
}

/// Nanoseconds a frame through the machine, and the records told.
fn run(frames: &[&str]) -> (f64, usize, Box<dyn VenueMachine>) {
    let (mut machine, mut out, mut records) = (machine(frames), Outbox::new(), 0);
    let begin = Instant::now();
    for (n, frame) in frames.iter().enumerate() {
        let _ = machine.on_frame(black_box(frame.as_bytes()), UnixNanos(n as u64), &mut out);
        records += out.records.len();
        black_box(out.records.words());
        out.clear();
    }
    (begin.elapsed().as_nanos() as f64 / frames.len() as f64, records, machine)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let frames: Vec<&str> = text.lines().collect();
        let trades = frames[0].contains("\"trade\"");
        let (mut ours, mut bare) = (vec![], vec![]);
        for _ in 0..RUNS {
            ours.push(run(&frames).0);
            let (mut days, begin) = (DayCache::default(), Instant::now());
            let read = frames.iter().filter(|f| bare_trade(black_box(f), &mut days).map(black_box).is_some()).count();
            assert_eq!(read == frames.len(), trades);
            bare.push(begin.elapsed().as_nanos() as f64 / frames.len() as f64);
        }
        let (_, records, machine) = run(&frames);
        let (per_frame, counts) = (median(ours.clone()), machine.counts());
        let levels = counts.book_levels as f64 / frames.len() as f64;
        println!("{path}: {} frames, {records} records, slow {}", frames.len(), counts.slow_path);
        println!(
            "  {per_frame:.1} ns a frame, {:.1} at best; checksums {} ok {} failed",
            least(&ours),
            counts.checksums_ok,
            counts.checksums_failed
        );
        if trades {
            let ratio = median(ours.iter().zip(&bare).map(|(a, b)| a / b).collect());
            println!("  {:.1} ns bare scan, ratio {ratio:.2}", median(bare));
            any_order(&frames);
        } else {
            println!("  {levels:.2} levels a frame, {:.1} ns a level", per_frame / levels);
        }
    }
}
