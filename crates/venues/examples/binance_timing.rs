//! How long Binance's machine takes for a frame, through `on_frame`, beside a typed serde_json reader of the same frames.
//!
//! `cargo run --release -p venues --example binance_timing -- FRAMES.jsonl…`: one frame a line. Runs of the two are
//! interleaved; the fastest run, the median and the median of their ratios are printed. Each file is timed as it is and
//! with the keys of its objects in reverse, which is what reading in any order costs.

use model::{Price, Qty, UnixNanos, Venue};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;
use venues::{Outbox, Settings, VenueMachine};

const RUNS: usize = 41;

/// A trade as the reference reads it.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "the reference reads what the machine reads, used or not")]
struct Trade<'a> {
    #[serde(rename = "e")]
    event: &'a str,
    #[serde(rename = "E")]
    sent_ms: u64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    size: &'a str,
    #[serde(rename = "T")]
    time_ms: u64,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
    #[serde(rename = "M")]
    ignore: bool,
}

/// Book changes as the reference reads them.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "the reference reads what the machine reads, used or not")]
struct Depth<'a> {
    #[serde(rename = "E")]
    sent_ms: u64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(borrow, rename = "b")]
    bids: Vec<(&'a str, &'a str)>,
    #[serde(borrow, rename = "a")]
    asks: Vec<(&'a str, &'a str)>,
}

fn fixed(text: &str) -> i64 {
    scan::fixed(text.as_bytes(), 8).expect("a decimal").0
}

fn typed(frame: &str, trades: bool) -> i64 {
    if trades {
        let t: Trade<'_> = serde_json::from_str(frame).expect("a trade");
        let record = (Price(fixed(t.price)), Qty(fixed(t.size)), t.id, UnixNanos(t.time_ms * 1_000_000), t.symbol);
        black_box(record);
        return i64::from(t.buyer_is_maker);
    }
    let d: Depth<'_> = serde_json::from_str(frame).expect("a depth message");
    d.bids.iter().chain(&d.asks).fold(0, |sum, (price, size)| sum ^ fixed(price) ^ fixed(size))
}

/// The frame with its keys in reverse order.
fn reversed(frame: &str) -> String {
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(frame).expect("an object");
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(_, value)| std::cmp::Reverse(value.get().as_ptr()));
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Nanoseconds a frame through the machine; the first frame, which teaches the instrument, is not timed.
fn run(frames: &[String]) -> (f64, usize, Box<dyn VenueMachine>) {
    let mut machine = venues::machine(Venue::Binance, &Settings::default(), &[]).expect("no choices");
    let (mut out, mut records) = (Outbox::new(), 0);
    machine.on_frame(frames[0].as_bytes(), UnixNanos(1), &mut out).expect("a sound frame");
    out.clear();
    let begin = Instant::now();
    for (n, frame) in frames.iter().enumerate().skip(1) {
        let _ = machine.on_frame(black_box(frame.as_bytes()), UnixNanos(n as u64 + 1), &mut out);
        records += out.records.len();
        black_box(out.records.words());
        out.clear();
    }
    (begin.elapsed().as_nanos() as f64 / (frames.len() - 1) as f64, records, machine)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn measure(name: &str, frames: &[String]) {
    let trades = frames[0].contains("\"trade\"");
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..RUNS {
        ours.push(run(frames).0);
        let begin = Instant::now();
        for frame in frames {
            black_box(typed(black_box(frame), trades));
        }
        theirs.push(begin.elapsed().as_nanos() as f64 / frames.len() as f64);
    }
    let ratios = sorted(theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    let (_, records, machine) = run(frames);
    println!("{name}: {} frames, {records} records, slow {}", frames.len(), machine.counts().slow_path);
    println!("  ours {:.1} ns a frame at best, median {:.1}", ours[0], ours[RUNS / 2]);
    println!(
        "  typed serde_json {:.1} at best, median {:.1}; {:.2} times ours",
        theirs[0],
        theirs[RUNS / 2],
        ratios[RUNS / 2]
    );
}

fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let frames: Vec<String> = text.lines().map(str::to_owned).collect();
        measure(&path, &frames);
        measure("  keys in reverse", &frames.iter().map(|f| reversed(f)).collect::<Vec<_>>());
    }
}
