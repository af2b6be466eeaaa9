//! How long Coinbase Exchange's machine takes for a frame, through `on_frame`: trades beside a bare fixed-order scan of
//! the same frames, changes by the level, and a snapshot of 5 MB beside a search of its bytes for one that is not there.
//!
//! `cargo run --release -p venues --example coinbase_timing -- FRAMES.jsonl…`: one frame a line of BTC-USD, trades or
//! changes. Runs are interleaved and the median of their ratios is printed. The snapshot is made here.

use model::{UnixNanos, Venue};
use scan::{Cursor, DayCache};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;
use venues::{Outbox, Reply, Settings, VenueMachine};

const RUNS: usize = 41;

/// Bytes of the snapshot.
const SNAPSHOT_LEN: usize = 5_000_000;

const PRODUCTS: &str = r#"[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01","base_increment":"0.00000001","status":"online"}]"#;

const SMALL: &str =
    r#"{"type":"snapshot","product_id":"BTC-USD","asks":[["116736.70","1.0"]],"bids":[["116736.60","1.0"]]}"#;

/// The least any reader of a trade frame does.
fn bare_trade(frame: &str, days: &mut DayCache) -> Option<u64> {
    let mut c = Cursor::new(frame.as_bytes());
    c.literal(b"{\"type\":\"match\",\"trade_id\":")?;
    let id = c.u64()?;
    c.literal(b",\"maker_order_id\":\"")?;
    let maker = c.until_quote()?;
    c.literal(b"\",\"taker_order_id\":\"")?;
    let taker = c.until_quote()?;
    c.literal(b"\",\"side\":\"")?;
    let side = c.until_quote()?;
    c.literal(b"\",\"size\":\"")?;
    let size = c.fixed(8)?;
    c.literal(b"\",\"price\":\"")?;
    let price = c.fixed(2)?;
    c.literal(b"\",\"product_id\":\"")?;
    let symbol = c.until_quote()?;
    c.literal(b"\",\"sequence\":")?;
    let sequence = c.u64()?;
    c.literal(b",\"time\":\"")?;
    let time = c.rfc3339_nanos(days)?;
    c.literal(b"\"}")?;
    c.end()?;
    let texts = symbol.len() + side.len() + maker.len() + taker.len();
    Some(price as u64 ^ size as u64 ^ id ^ sequence ^ time ^ texts as u64)
}

/// A machine that knows the product and holds a small book of it.
fn machine() -> Box<dyn VenueMachine> {
    let settings = Settings { symbols: vec!["BTC-USD".to_owned()], ..Settings::default() };
    // The prices of made frames wander; a crossed book is to be kept as any other.
    let choices = [("crossed".to_owned(), "count".to_owned())];
    let mut machine = venues::machine(Venue::Coinbase, &settings, &choices).expect("known choices");
    let mut out = Outbox::new();
    machine.on_connected(UnixNanos(1), &mut out);
    let reply = Reply::Http { status: 200, body: PRODUCTS.as_bytes(), retry_after: None };
    machine.on_response(out.requests[0].id, reply, UnixNanos(1), &mut out);
    machine.on_frame(SMALL.as_bytes(), UnixNanos(1), &mut out).expect("a sound frame");
    machine
}

/// Nanoseconds a frame through the machine, and the records told.
fn run(frames: &[&str]) -> (f64, usize, Box<dyn VenueMachine>) {
    let (mut machine, mut out, mut records) = (machine(), Outbox::new(), 0);
    let begin = Instant::now();
    for (n, frame) in frames.iter().enumerate() {
        let _ = machine.on_frame(black_box(frame.as_bytes()), UnixNanos(n as u64), &mut out);
        records += out.records.len();
        black_box(out.records.words());
        out.clear();
    }
    (begin.elapsed().as_nanos() as f64 / frames.len() as f64, records, machine)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A whole book of as many levels as make up the length, each price a cent or a few from the one before.
fn snapshot() -> (String, usize) {
    let (mut asks, mut bids, mut levels, mut dice) = (String::new(), String::new(), 0u64, 1u64);
    let (mut ask, mut bid) = (11_673_670u64, 11_673_660u64);
    while asks.len() + bids.len() < SNAPSHOT_LEN {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (step, size) = (1 + (dice >> 60) % 4, (dice >> 20) % 500_000_000 + 1);
        let size = format!("{}.{:08}", size / 100_000_000, size % 100_000_000);
        let (side, price) = if levels.is_multiple_of(2) {
            ask += step;
            (&mut asks, ask)
        } else {
            bid -= step;
            (&mut bids, bid)
        };
        let comma = if side.is_empty() { "" } else { "," };
        write!(side, r#"{comma}["{}.{:02}","{size}"]"#, price / 100, price % 100).expect("a String takes all");
        levels += 1;
    }
    let frame = format!(r#"{{"type":"snapshot","product_id":"BTC-USD","asks":[{asks}],"bids":[{bids}]}}"#);
    (frame, levels as usize)
}

fn large_snapshot() {
    let (frame, levels) = snapshot();
    let (mut ours, mut search) = (vec![], vec![]);
    let (mut machine, mut out) = (machine(), Outbox::new());
    for _ in 0..RUNS {
        let begin = Instant::now();
        machine.on_frame(black_box(frame.as_bytes()), UnixNanos(1), &mut out).expect("a sound frame");
        black_box(out.records.words());
        ours.push(begin.elapsed().as_nanos() as f64);
        out.clear();
        let begin = Instant::now();
        assert_eq!(black_box(memchr::memchr(0, black_box(frame.as_bytes()))), None);
        search.push(begin.elapsed().as_nanos() as f64);
    }
    let ratio = median(ours.iter().zip(&search).map(|(a, b)| a / b).collect());
    let (ours, search) = (median(ours), median(search));
    println!("a snapshot of {} bytes, {levels} levels:", frame.len());
    println!(
        "  {:.2} ms, {:.1} ns a level; memchr {:.3} ms, ratio {ratio:.1}",
        ours / 1e6,
        ours / levels as f64,
        search / 1e6
    );
}

fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let frames: Vec<&str> = text.lines().collect();
        let trades = frames[0].contains("\"match\"");
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
        println!(
            "{path}: {} frames, {records} records, slow {}, malformed {}",
            frames.len(),
            counts.slow_path,
            counts.malformed
        );
        if trades {
            let ratio = median(ours.iter().zip(&bare).map(|(a, b)| a / b).collect());
            println!("  {per_frame:.1} ns a frame, bare scan {:.1} ns, ratio {ratio:.2}", median(bare));
        } else {
            let levels = counts.book_levels as f64 / frames.len() as f64;
            println!("  {per_frame:.1} ns a frame, {levels:.2} levels a frame, {:.1} ns a level", per_frame / levels);
        }
    }
    large_snapshot();
}
