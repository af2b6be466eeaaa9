//! Nanoseconds per call of each scanner beside typed serde_json, on text as venues send it.
//! `cargo run --release -p scan --example timing`: median of many rounds, with the fastest and the slowest tenth.

use std::hint::black_box;
use std::time::Instant;

use scan::{Cursor, DayCache, Json, ReadError, SymbolTable};

const ROUNDS: usize = 101;
const CALLS: u32 = 20_000;
const TRADE: &[u8] = br#"{"e":"trade","E":1785641751660,"s":"BTCUSDT","t":5023111111,"p":"61837.63000000","q":"0.00100000","T":1785641751659,"m":true,"M":true}"#;

#[derive(serde::Deserialize)]
struct TypedTrade<'a> {
    #[serde(rename = "E")]
    event_ms: u64,
    s: &'a str,
    t: u64,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    trade_ms: u64,
    m: bool,
}

type Trade<'a> = (u64, &'a [u8], u64, i64, i64, u64, bool);

fn typed(frame: &[u8]) -> Trade<'_> {
    let trade: TypedTrade<'_> = serde_json::from_slice(frame).expect("the frame is a trade");
    let fixed = |text: &str| scan::fixed(text.as_bytes(), 8).expect("a decimal").0;
    (trade.event_ms, trade.s.as_bytes(), trade.t, fixed(trade.p), fixed(trade.q), trade.trade_ms, trade.m)
}

#[inline(never)]
fn pull(frame: &[u8]) -> Result<Trade<'_>, ReadError> {
    let mut json = Json::new(frame);
    let mut trade: Trade<'_> = Default::default();
    let mut name = [0; 64];
    json.object()?;
    while let Some(key) = json.key()? {
        match key.name(&mut name) {
            b"E" => trade.0 = json.u64()?,
            b"s" => trade.1 = json.str_plain()?.as_bytes(),
            b"t" => trade.2 = json.u64()?,
            b"p" => trade.3 = json.fixed(8)?,
            b"q" => trade.4 = json.fixed(8)?,
            b"T" => trade.5 = json.u64()?,
            b"m" => trade.6 = json.bool()?,
            _ => {}
        }
    }
    json.end()?;
    Ok(trade)
}

#[inline(never)]
fn fixed_order(frame: &[u8]) -> Option<Trade<'_>> {
    let mut cursor = Cursor::new(frame);
    cursor.literal(b"{\"e\":\"trade\",\"E\":")?;
    let event_ms = cursor.u64()?;
    cursor.literal(b",\"s\":\"")?;
    let symbol = cursor.until_quote()?;
    cursor.literal(b"\",\"t\":")?;
    let id = cursor.u64()?;
    cursor.literal(b",\"p\":\"")?;
    let price = cursor.fixed(8)?;
    cursor.literal(b"\",\"q\":\"")?;
    let quantity = cursor.fixed(8)?;
    cursor.literal(b"\",\"T\":")?;
    let trade_ms = cursor.u64()?;
    cursor.literal(b",\"m\":")?;
    let maker = cursor.bool()?;
    cursor.literal(b",\"M\":true}")?;
    cursor.end()?;
    Some((event_ms, symbol, id, price, quantity, trade_ms, maker))
}

fn measure<T>(name: &str, mut call: impl FnMut() -> T) {
    let mut nanos: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(call());
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    let (low, median, high) = (nanos[ROUNDS / 10], nanos[ROUNDS / 2], nanos[ROUNDS * 9 / 10]);
    println!("{name:<34} {median:7.2} ns  ({low:.2} to {high:.2})");
}

/// A text with room behind it, as in a frame.
fn in_frame(text: &str) -> Vec<u8> {
    format!("{text}\",{}", " ".repeat(40)).into_bytes()
}

fn main() {
    for text in ["61837.63000000", "0.25761908", "63388.7", "12", "1234567.12345678", "0.0000123456", "-1.5", "1e-08"] {
        let framed = in_frame(text);
        measure(&format!("fixed({text:?}, 10)"), || scan::fixed(black_box(&framed), 10));
    }
    let tail = b"61837.63000000".to_vec();
    measure("fixed at the end of the buffer", || scan::fixed(black_box(&tail), 8));
    let mixed: Vec<Vec<u8>> = (0..1024u64)
        .map(|seed| {
            let value = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            in_frame(&format!("{}.{:02$}", value % 100_000, value % 1_000, 3 + (value % 6) as usize))
        })
        .collect();
    let mut turn = 0;
    measure("fixed, 1024 lengths mixed", || {
        turn = (turn + 1) & 1023;
        scan::fixed(black_box(&mixed[turn]), 8)
    });
    for text in ["1785641751660", "5023111", "1785641751660084123"] {
        let framed = in_frame(text);
        measure(&format!("u64_at({text:?})"), || scan::u64_at(black_box(&framed)));
    }
    let mut days = DayCache::default();
    for text in ["2026-08-02T03:35:51.660084Z", "2026-08-02T03:35:51.660084123Z"] {
        let framed = in_frame(text);
        measure(&format!("{text:?}, cached"), || days.rfc3339_nanos(black_box(&framed)));
        measure("  without a cache", || scan::rfc3339_nanos(black_box(&framed)));
    }
    let mut out = [0; scan::FORMAT_LEN];
    measure("format_fixed(6183763000000, 8)", || scan::format_fixed(black_box(6_183_763_000_000), 8, &mut out).len());
    measure("format_digits(633887)", || scan::format_digits(black_box(633_887), &mut out).len());

    let symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "1000SHIBUSDT", "BTC/USD", "XRPUSDC", "BNBUSDT", "DOGEUSDT"];
    let mut table = SymbolTable::new();
    for (index, symbol) in symbols.iter().enumerate() {
        table.insert(symbol.as_bytes(), index as u32);
    }
    measure("SymbolTable::get, one symbol", || table.get(black_box(b"BTCUSDT".as_slice())));
    let order: Vec<&[u8]> = (0..4096u64)
        .map(|seed| symbols[(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as usize].as_bytes())
        .collect();
    measure("SymbolTable::get, 8 mixed", || {
        turn = (turn + 1) & 4095;
        table.get(black_box(order[turn]))
    });

    assert_eq!(pull(TRADE), Ok(typed(TRADE)));
    assert_eq!(fixed_order(TRADE), Some(typed(TRADE)));
    measure("Binance trade, Cursor", || fixed_order(black_box(TRADE)));
    measure("Binance trade, Json", || pull(black_box(TRADE)));
    measure("Binance trade, typed serde_json", || typed(black_box(TRADE)));
}
