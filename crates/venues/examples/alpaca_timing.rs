//! How long Alpaca's machine takes for a frame, through `on_frame`, beside a bare fixed-order scan of the same bytes.
//!
//! `cargo run --release -p venues --example alpaca_timing`: frames of our own making in the orders the venue writes, as
//! JSON and as MessagePack; runs are interleaved, the best run of each and the median of their ratios are printed.

use model::{UnixNanos, Venue};
use scan::{Cursor, DayCache};
use std::hint::black_box;
use std::time::Instant;
use venues::{Outbox, Settings, VenueMachine};

const RUNS: usize = 41;
const FRAMES: u64 = 20_000;

/// Known instruments, at scales wide enough for all that follows.
const FIRST: &str = r#"[{"T":"t","S":"AAPL","i":1,"x":"V","p":0.1234,"s":1,"c":[],"z":"C","t":"2024-03-12T10:27:48Z"},{"T":"t","S":"BTC/USD","p":0.1234,"s":0.123456789,"t":"2024-03-12T10:27:48Z","i":1,"tks":"S"},{"T":"o","S":"BTC/USD","t":"2024-03-12T10:27:48Z","b":[{"p":10,"s":1}],"a":[{"p":999999,"s":1}],"r":true}]"#;

/// A message's members, in the venue's order.
enum Value {
    Text(&'static str),
    Whole(u64),
    Float(f64),
    Time(u64),
    List(&'static [&'static str]),
    Levels(Vec<(f64, f64)>),
}
use Value::{Float, Levels, List, Text, Time, Whole};

type Message = Vec<(&'static str, Value)>;

fn share_trade(n: u64) -> Message {
    vec![
        ("T", Text("t")),
        ("S", Text("AAPL")),
        ("i", Whole(52_983_625_699_126 + n)),
        ("x", Text("V")),
        ("p", Float((19_000 + n % 97) as f64 / 100.0)),
        ("s", Whole(1 + n % 300)),
        ("c", List(&["@", "I"])),
        ("z", Text("C")),
        ("t", Time(n)),
    ]
}

fn share_quote(n: u64) -> Message {
    vec![
        ("T", Text("q")),
        ("S", Text("AAPL")),
        ("bx", Text("V")),
        ("bp", Float((19_000 + n % 97) as f64 / 100.0)),
        ("bs", Whole(100 * (1 + n % 9))),
        ("ax", Text("V")),
        ("ap", Float((19_100 + n % 97) as f64 / 100.0)),
        ("as", Whole(100 * (1 + n % 7))),
        ("c", List(&["R"])),
        ("z", Text("C")),
        ("t", Time(n)),
    ]
}

fn coin_trade(n: u64) -> Message {
    vec![
        ("T", Text("t")),
        ("S", Text("BTC/USD")),
        ("p", Float((718_561_435 + n % 97 * 10_000) as f64 / 1e4)),
        ("s", Float((28_054_321 + n % 89 * 1_000_000) as f64 / 1e9)),
        ("t", Time(n)),
        ("i", Whole(3_447_222_699_101_865_076 + n)),
        ("tks", Text("S")),
    ]
}

fn coin_book(n: u64) -> Message {
    let level = |k: u64| ((700_000 - (n * 7 + k * 13) % 500) as f64 / 10.0, (28 + (n + k) % 9) as f64 / 100.0);
    vec![
        ("T", Text("o")),
        ("S", Text("BTC/USD")),
        ("t", Time(n)),
        ("b", Levels((0..8).map(level).collect())),
        ("a", Levels(vec![])),
    ]
}

fn time(n: u64) -> String {
    format!("2024-03-12T10:{:02}:{:02}.{:09}Z", n / 1000 / 60 % 60, n / 1000 % 60, 100_000_001 + n % 1000 * 800_000)
}

fn json(message: &Message) -> Vec<u8> {
    let value = |v: &Value| match v {
        Text(text) => format!("\"{text}\""),
        Whole(n) => n.to_string(),
        Float(f) => f.to_string(),
        Time(n) => format!("\"{}\"", time(*n)),
        List(list) => format!("[{}]", list.iter().map(|t| format!("\"{t}\"")).collect::<Vec<_>>().join(",")),
        Levels(l) => {
            let levels: Vec<String> = l.iter().map(|(p, s)| format!(r#"{{"p":{p},"s":{s}}}"#)).collect();
            format!("[{}]", levels.join(","))
        }
    };
    let members: Vec<String> = message.iter().map(|(k, v)| format!("\"{k}\":{}", value(v))).collect();
    format!("[{{{}}}]", members.join(",")).into_bytes()
}

fn packed(message: &Message) -> Vec<u8> {
    fn text(text: &str, out: &mut Vec<u8>) {
        out.push(0xa0 | text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
    fn float(f: f64, out: &mut Vec<u8>) {
        out.push(0xcb);
        out.extend_from_slice(&f.to_be_bytes());
    }
    let mut out = vec![0x91, 0x80 | message.len() as u8];
    for (key, value) in message {
        text(key, &mut out);
        match value {
            Text(t) => text(t, &mut out),
            Whole(n) => {
                out.push(0xcf);
                out.extend_from_slice(&n.to_be_bytes());
            }
            Float(f) => float(*f, &mut out),
            Time(n) => {
                let nanos = scan::rfc3339_nanos(time(*n).as_bytes()).expect("a time").0;
                out.extend_from_slice(&[0xd7, 0xff]);
                out.extend_from_slice(&(((nanos % 1_000_000_000) << 34) | (nanos / 1_000_000_000)).to_be_bytes());
            }
            List(list) => {
                out.push(0x90 | list.len() as u8);
                list.iter().for_each(|t| text(t, &mut out));
            }
            Levels(levels) => {
                out.push(0x90 | levels.len() as u8);
                for (p, s) in levels {
                    out.push(0x82);
                    text("p", &mut out);
                    float(*p, &mut out);
                    text("s", &mut out);
                    float(*s, &mut out);
                }
            }
        }
    }
    out
}

/// The least any reader of a share's trade does with the text.
fn bare_share(frame: &[u8], days: &mut DayCache) -> Option<u64> {
    let mut c = Cursor::new(frame);
    c.literal(b"[{\"T\":\"t\",\"S\":\"")?;
    let symbol = c.until_quote()?;
    c.literal(b"\",\"i\":")?;
    let id = c.u64()?;
    c.literal(b",\"x\":\"")?;
    let exchange = c.until_quote()?;
    c.literal(b"\",\"p\":")?;
    let price = c.fixed(4)?;
    c.literal(b",\"s\":")?;
    let size = c.fixed(0)?;
    c.literal(b",\"c\":[")?;
    let mut conditions = 0;
    loop {
        c.literal(b"\"")?;
        conditions += c.until_quote()?.len();
        if !c.skip_if(b"\",") {
            c.literal(b"\"],\"z\":\"")?;
            break;
        }
    }
    let tape = c.until_quote()?;
    c.literal(b"\",\"t\":\"")?;
    let time = c.rfc3339_nanos(days)?;
    c.literal(b"\"}]")?;
    c.end()?;
    Some(price as u64 ^ size as u64 ^ id ^ time ^ (symbol.len() + exchange.len() + tape.len() + conditions) as u64)
}

/// The same of a coin's trade.
fn bare_coin(frame: &[u8], days: &mut DayCache) -> Option<u64> {
    let mut c = Cursor::new(frame);
    c.literal(b"[{\"T\":\"t\",\"S\":\"")?;
    let symbol = c.until_quote()?;
    c.literal(b"\",\"p\":")?;
    let price = c.fixed(4)?;
    c.literal(b",\"s\":")?;
    let size = c.fixed(9)?;
    c.literal(b",\"t\":\"")?;
    let time = c.rfc3339_nanos(days)?;
    c.literal(b"\",\"i\":")?;
    let id = c.u64()?;
    c.literal(b",\"tks\":\"")?;
    let side = c.until_quote()?;
    c.literal(b"\"}]")?;
    c.end()?;
    Some(price as u64 ^ size as u64 ^ id ^ time ^ (symbol.len() + side.len()) as u64)
}

/// Nanoseconds a frame through the machine.
fn run(frames: &[Vec<u8>]) -> (f64, Box<dyn VenueMachine>) {
    let mut machine = venues::machine(Venue::Alpaca, &Settings::default(), &[]).expect("defaults are in order");
    let mut out = Outbox::new();
    machine.on_frame(FIRST.as_bytes(), UnixNanos(1), &mut out).expect("a sound frame");
    out.clear();
    let begin = Instant::now();
    for (n, frame) in frames.iter().enumerate() {
        let _ = machine.on_frame(black_box(frame), UnixNanos(n as u64), &mut out);
        black_box(out.records.words());
        out.clear();
    }
    (begin.elapsed().as_nanos() as f64 / frames.len() as f64, machine)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

type Bare = fn(&[u8], &mut DayCache) -> Option<u64>;

/// What is timed: its name, the message of a number, and the bare scan of the same frame where there is one.
type Kind = (&'static str, fn(u64) -> Message, Option<Bare>);

fn main() {
    let kinds: [Kind; 4] = [
        ("a share's trade", share_trade, Some(bare_share)),
        ("a coin's trade", coin_trade, Some(bare_coin)),
        ("a share's quote", share_quote, None),
        ("a coin's book, 8 levels", coin_book, None),
    ];
    for (name, make, bare) in kinds {
        let texts: Vec<Vec<u8>> = (0..FRAMES).map(|n| json(&make(n))).collect();
        let packs: Vec<Vec<u8>> = (0..FRAMES).map(|n| packed(&make(n))).collect();
        let (mut text, mut pack, mut scan) = (vec![], vec![], vec![]);
        for _ in 0..RUNS {
            text.push(run(&texts).0);
            pack.push(run(&packs).0);
            if let Some(bare) = bare {
                let (mut days, begin) = (DayCache::default(), Instant::now());
                for frame in &texts {
                    black_box(bare(black_box(frame), &mut days).expect("a frame of ours"));
                }
                scan.push(begin.elapsed().as_nanos() as f64 / texts.len() as f64);
            }
        }
        for frames in [&texts, &packs] {
            let counts = *run(frames).1.counts();
            assert_eq!((counts.slow_path, counts.malformed, counts.trades_repeated), (1, 0, 0), "{name}");
        }
        println!("{name}: JSON {:.1} ns, MessagePack {:.1} ns at best", least(&text), least(&pack));
        if !scan.is_empty() {
            let ratio = |ours: &[f64]| median(ours.iter().zip(&scan).map(|(a, b)| a / b).collect());
            let (text, pack) = (ratio(&text), ratio(&pack));
            println!(
                "  bare scan of the JSON {:.1} ns; JSON {text:.2}, MessagePack {pack:.2} times that",
                least(&scan)
            );
        }
    }
}
