//! How long Advanced Trade's machine takes for a frame, through `on_frame`, beside a bare fixed-order scan of the same
//! frames, and for a snapshot of megabytes beside one memchr over its bytes.
//!
//! `cargo run --release -p venues --example coinbase_advanced_timing -- CAPTURE.jsonl.gz FRAMES.jsonl…`: the capture has
//! one frame a line, snapshots among them; the other files hold frames of one kind. Runs are interleaved and medians
//! printed. Trades are also made here, in each shape the venue is known to write them.

use flate2::read::GzDecoder;
use model::UnixNanos;
use scan::{Cursor, DayCache};
use std::hint::black_box;
use std::io::{BufRead, Read};
use std::time::Instant;
use venues::coinbase::advanced;
use venues::{Outbox, Settings, VenueMachine};

const RUNS: usize = 41;

/// Teaches the product's scales, as a definition would.
const SNAPSHOT: &str = r#"{"channel":"l2_data","client_id":"","timestamp":"2026-08-09T21:05:48Z","sequence_num":0,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"116736.61","new_quantity":"1.00000001"},{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"116736.62","new_quantity":"1.00000001"}]}]}"#;

/// The least any reader of a frame of trades does.
fn bare_trades(frame: &str, days: &mut DayCache) -> Option<u64> {
    let mut c = Cursor::new(frame.as_bytes());
    c.literal(b"{\"channel\":\"market_trades\",\"")?;
    c.skip_if(b"client_id\":\"\",\"");
    c.literal(b"timestamp\":\"")?;
    let sent = c.until_quote()?;
    c.literal(b"\",\"sequence_num\":")?;
    let mut sum = c.u64()? ^ sent.len() as u64;
    c.literal(b",\"events\":[{\"type\":\"update\",\"trades\":[{\"product_id\":\"")?;
    loop {
        let product = c.until_quote()?;
        c.literal(b"\",\"trade_id\":\"")?;
        let id = c.u64()?;
        c.literal(b"\",\"price\":\"")?;
        let price = c.fixed(2)?;
        c.literal(b"\",\"size\":\"")?;
        let size = c.fixed(8)?;
        c.literal(b"\",\"time\":\"")?;
        let time = c.rfc3339_nanos(days)?;
        c.literal(b"\",\"side\":\"")?;
        let side = c.until_quote()?;
        sum ^= price as u64 ^ size as u64 ^ id ^ time ^ (product.len() + side.len()) as u64;
        if !c.skip_if(b"\"},{\"product_id\":\"") {
            c.literal(b"\"}]}]}")?;
            c.end()?;
            return Some(sum);
        }
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn taught() -> (Box<dyn VenueMachine>, Outbox) {
    let (mut machine, mut out) = (advanced::machine(&Settings::default(), &[]).expect("the defaults"), Outbox::new());
    machine.on_frame(SNAPSHOT.as_bytes(), UnixNanos(1), &mut out).expect("a sound frame");
    out.clear();
    (machine, out)
}

/// Nanoseconds a frame through the machine; the machine, for its counts.
fn run(frames: &[String]) -> (f64, Box<dyn VenueMachine>) {
    let (mut machine, mut out) = taught();
    let begin = Instant::now();
    for (n, frame) in frames.iter().enumerate() {
        let _ = machine.on_frame(black_box(frame.as_bytes()), UnixNanos(n as u64), &mut out);
        black_box(out.records.words());
        out.clear();
    }
    (begin.elapsed().as_nanos() as f64 / frames.len() as f64, machine)
}

/// A frame with another number.
fn numbered(frame: &str, n: usize) -> String {
    let (head, rest) = frame.split_once(r#""sequence_num":"#).expect("a numbered frame");
    let (_, tail) = rest.split_once(',').expect("events follow");
    format!(r#"{head}"sequence_num":{n},{tail}"#)
}

/// Trades in one of the shapes the venue writes them.
fn made(shape: &str, count: usize, trades: usize) -> Vec<String> {
    let client = if shape == "2026" { "" } else { r#""client_id":"","# };
    let make = |n: usize| {
        let trade = |t: usize| {
            // Newest first within a frame.
            let id = 865_127_782 + n * trades + (trades - 1 - t);
            let (cents, size) = (n * 7919 % 100, 1 + n * 104_729 % 99_999_999);
            let (price, side) =
                (format!("{}.{cents:02}", 116_700 + n % 90), if n.is_multiple_of(3) { "BUY" } else { "SELL" });
            let time = format!("2026-08-09T21:{:02}:{:02}.{:06}Z", n / 60 % 60, n % 60, n * 31 % 1_000_000);
            match shape {
                "documented" => format!(
                    r#"{{"trade_id":"{id}","product_id":"BTC-USD","price":"{price}","size":"0.{size:08}","side":"{side}","time":"{time}"}}"#
                ),
                _ => format!(
                    r#"{{"product_id":"BTC-USD","trade_id":"{id}","price":"{price}","size":"0.{size:08}","time":"{time}","side":"{side}"}}"#
                ),
            }
        };
        let list: Vec<String> = (0..trades).map(trade).collect();
        format!(
            r#"{{"channel":"market_trades",{client}"timestamp":"2026-08-09T21:05:48.251397169Z","sequence_num":{},"events":[{{"type":"update","trades":[{}]}}]}}"#,
            n + 1,
            list.join(",")
        )
    };
    (0..count).map(make).collect()
}

fn time_trades(name: &str, frames: &[String]) {
    let (mut ours, mut bare) = (vec![], vec![]);
    for _ in 0..RUNS {
        ours.push(run(frames).0);
        let (mut days, begin) = (DayCache::default(), Instant::now());
        let read = frames.iter().filter(|f| bare_trades(black_box(f), &mut days).map(black_box).is_some()).count();
        if read == frames.len() {
            bare.push(begin.elapsed().as_nanos() as f64 / frames.len() as f64);
        }
    }
    let (best, counts) = (least(&ours), *run(frames).1.counts());
    print!("{name}: {:.1} ns a frame, {best:.1} at best", median(ours.clone()));
    if bare.is_empty() {
        print!("; no fixed order");
    } else {
        let ratio = median(ours.iter().zip(&bare).map(|(a, b)| a / b).collect());
        print!("; bare scan {:.1}, {:.1} at best, ratio {ratio:.2}", median(bare.clone()), least(&bare));
    }
    println!("; {} trades, {} slow, {} gaps", counts.trades, counts.slow_path, counts.gaps);
}

fn time_levels(name: &str, frames: &[String]) {
    let ours: Vec<f64> = (0..RUNS).map(|_| run(frames).0).collect();
    let counts = *run(frames).1.counts();
    let levels = frames.iter().map(|f| f.matches("price_level").count()).sum::<usize>() as f64 / frames.len() as f64;
    let (median, best) = (median(ours.clone()), least(&ours));
    println!(
        "{name}: {median:.1} ns a frame of {levels:.2} levels, {:.1} ns a level, {:.1} at best; {} applied, {} slow",
        median / levels,
        best / levels,
        counts.book_updates,
        counts.slow_path
    );
}

/// One memchr of the C library over all bytes: it looks for a byte that no JSON text holds.
fn memchr(bytes: &[u8]) -> f64 {
    let begin = Instant::now();
    let mut rest = black_box(bytes);
    let passed = rest.skip_until(0).expect("a slice can be read");
    assert_eq!(passed, bytes.len());
    begin.elapsed().as_nanos() as f64
}

fn time_snapshot(frame: &str) {
    let (mut ours, mut scans) = (vec![], vec![]);
    let (mut machine, mut out) = taught();
    // The same frame again and again; the first reading teaches its numbers' scales and makes room.
    for n in 0..=RUNS {
        let frame = numbered(frame, n + 1);
        let begin = Instant::now();
        machine.on_frame(black_box(frame.as_bytes()), UnixNanos(n as u64), &mut out).expect("a sound frame");
        let took = begin.elapsed().as_nanos() as f64;
        black_box(out.records.words());
        out.clear();
        if n > 0 {
            ours.push(took);
            scans.push(memchr(frame.as_bytes()));
        }
    }
    let counts = machine.counts();
    let ratio = median(ours.iter().zip(&scans).map(|(a, b)| a / b).collect());
    let levels = frame.matches("price_level").count() as f64;
    println!(
        "snapshot of {} bytes, {levels} levels: {:.0} µs, {:.0} at best, {:.1} ns a level; memchr {:.0} µs, ratio {ratio:.2}; slow {}, snapshots {}",
        frame.len(),
        median(ours.clone()) / 1e3,
        least(&ours) / 1e3,
        median(ours.clone()) / levels,
        median(scans) / 1e3,
        counts.slow_path,
        counts.book_snapshots,
    );
}

fn main() {
    time_trades("one trade, as of 2026", &made("2026", 20_000, 1));
    time_trades("one trade, with a client id", &made("2024", 20_000, 1));
    time_trades("three trades, newest first", &made("2026", 20_000, 3));
    time_trades("one trade, in the documents' order", &made("documented", 20_000, 1));
    for path in std::env::args().skip(1) {
        let mut bytes = std::fs::read(&path).expect("a readable file");
        if path.ends_with(".gz") {
            let packed = std::mem::take(&mut bytes);
            GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).expect("a gzip file");
        }
        let text = String::from_utf8(bytes).expect("text");
        let frames: Vec<String> = text.lines().map(str::to_owned).collect();
        if !frames.iter().any(|f| f.contains("\"snapshot\"")) {
            // Behind the frame that teaches the scales.
            let frames: Vec<String> = frames.iter().enumerate().map(|(n, f)| numbered(f, n + 1)).collect();
            let trades = frames[0].contains("market_trades");
            if trades {
                time_trades(&path, &frames)
            } else {
                time_levels(&path, &frames)
            }
            continue;
        }
        for snapshot in frames.iter().filter(|f| f.contains(r#""l2_data""#) && f.contains(r#""snapshot""#)) {
            time_snapshot(snapshot);
        }
        if frames.iter().any(|f| f.contains(r#""update","product_id""#)) {
            time_capture(&frames);
        }
    }
}

/// The updates of a recorded session, each timed in its place.
fn time_capture(frames: &[String]) {
    let mut runs = vec![];
    let mut levels = 0;
    for _ in 0..RUNS {
        let mut machine = advanced::machine(&Settings::default(), &[]).expect("the defaults");
        let (mut out, mut took) = (Outbox::new(), 0.0);
        levels = 0;
        for (n, frame) in frames.iter().enumerate() {
            let begin = Instant::now();
            machine.on_frame(black_box(frame.as_bytes()), UnixNanos(n as u64), &mut out).expect("a sound frame");
            let elapsed = begin.elapsed().as_nanos() as f64;
            black_box(out.records.words());
            out.clear();
            if frame.contains(r#""l2_data""#) && frame.contains(r#""update","product_id""#) {
                took += elapsed;
                levels += frame.matches("price_level").count();
            }
        }
        runs.push(took / levels as f64);
    }
    println!("recorded updates: {:.1} ns a level, {:.1} at best, {levels} levels", median(runs.clone()), least(&runs));
}
