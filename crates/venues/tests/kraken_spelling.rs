//! The same facts in any legal spelling give the same records: the fast reading and the exact one are one meaning.
#![allow(clippy::unwrap_used)]

use model::{UnixNanos, Venue};
use proptest::prelude::*;
use venues::{Counts, Outbox, Settings, VenueMachine};

const PAIRS: &str = r#"{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,"price_increment":0.1}]}}"#;
const SNAPSHOT: &str = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":100.0,"qty":1.00000000}],"asks":[{"price":200.0,"qty":1.00000000}],"checksum":1}]}"#;

/// JSON as a tree whose numbers are texts.
#[derive(Clone, Debug)]
enum Value {
    Number(String),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}
use Value::{List, Number, Object, Text};

/// As the venue writes it.
fn plainly(v: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(",");
    match v {
        Number(text) => text.clone(),
        Text(text) => format!("\"{text}\""),
        List(items) => format!("[{}]", join(items.iter().map(plainly).collect())),
        Object(members) => {
            format!("{{{}}}", join(members.iter().map(|(k, v)| format!("\"{k}\":{}", plainly(v))).collect()))
        }
    }
}

/// Turns the dice of one spelling.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn space(&mut self) -> &'static str {
        ["", "", " ", "\t", "\r\n  "][self.below(5)]
    }

    fn text(&mut self, text: &str) -> String {
        let escape = |c: char, n: usize| if n == 0 { format!("\\u{:04x}", c as u32) } else { c.to_string() };
        let inner: String = text
            .chars()
            .map(|c| if c == '/' && self.below(2) == 0 { "\\/".to_owned() } else { escape(c, self.below(6)) })
            .collect();
        format!("\"{inner}\"")
    }

    fn number(&mut self, text: &str) -> String {
        if let Some(magnitude) = text.strip_prefix('-') {
            return format!("-{}", self.number(magnitude));
        }
        match (text.split_once('.'), self.below(4)) {
            (Some((whole, fraction)), 0) => {
                let digits = format!("{whole}{fraction}");
                let digits = digits.trim_start_matches('0');
                let digits = if digits.is_empty() { "0" } else { digits };
                format!("{digits}e-{:02}", fraction.len())
            }
            (Some(_), 1) => format!("{text}000000000000000000000"),
            (Some(_), 2) => format!("{}E+2", shifted(text)),
            _ => text.to_owned(),
        }
    }

    fn any(&mut self, v: &Value) -> String {
        let (a, b) = (self.space(), self.space());
        let inner = match v {
            Number(text) => self.number(text),
            Text(text) => self.text(text),
            List(items) => {
                let items: Vec<String> = items.iter().map(|i| self.any(i)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            Object(members) => {
                let mut order: Vec<usize> = (0..members.len()).collect();
                for n in (1..order.len()).rev() {
                    order.swap(n, self.below(n + 1));
                }
                let members: Vec<String> = order
                    .iter()
                    .map(|n| {
                        format!(
                            "{}{}{}:{}",
                            self.space(),
                            self.text(members[*n].0),
                            self.space(),
                            self.any(&members[*n].1)
                        )
                    })
                    .collect();
                format!("{{{}{}}}", members.join(","), self.space())
            }
        };
        format!("{a}{inner}{b}")
    }
}

/// A decimal text divided by 100: two more decimals.
fn shifted(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap();
    let padded = format!("{whole:0>3}");
    let (front, back) = padded.split_at(padded.len() - 2);
    let front = front.trim_start_matches('0');
    format!("{}.{back}{fraction}", if front.is_empty() { "0" } else { front })
}

fn machine() -> Box<dyn VenueMachine> {
    let settings = Settings { symbols: vec!["BTC-USD".to_owned()], ..Settings::default() };
    let unchecked = [("checksum".to_owned(), "ignore".to_owned())];
    let mut machine = venues::machine(Venue::Kraken, &settings, &unchecked).unwrap();
    let mut out = Outbox::new();
    machine.on_connected(UnixNanos(1), &mut out);
    for frame in [PAIRS, SNAPSHOT] {
        machine.on_frame(frame.as_bytes(), UnixNanos(2), &mut out).unwrap();
    }
    machine
}

fn told(frame: &str) -> (Vec<u64>, Counts) {
    let (mut machine, mut out) = (machine(), Outbox::new());
    machine.on_frame(frame.as_bytes(), UnixNanos(3), &mut out).unwrap_or_else(|e| panic!("{e}\n{frame}"));
    (out.records.words().to_vec(), *machine.counts())
}

fn frame(channel: &str, kind: &str, data: Vec<Value>) -> Value {
    Object(vec![("channel", Text(channel.to_owned())), ("type", Text(kind.to_owned())), ("data", List(data))])
}

fn price() -> impl Strategy<Value = Value> {
    (1u32..2_000_000, 0u8..10).prop_map(|(whole, tenth)| Number(format!("{whole}.{tenth}")))
}

fn size() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Number("0.00000000".to_owned())),
        4 => (0u32..5000, 0u32..100_000_000).prop_map(|(w, f)| Number(format!("{w}.{f:08}"))),
    ]
}

fn time() -> impl Strategy<Value = Value> {
    (0u32..86_400, 0u32..1_000_000)
        .prop_map(|(s, us)| Text(format!("2026-08-02T{:02}:{:02}:{:02}.{us:06}Z", s / 3600, s / 60 % 60, s % 60)))
}

fn kind() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("update"), Just("snapshot")]
}

fn symbol() -> Value {
    Text("BTC/USD".to_owned())
}

fn trades() -> impl Strategy<Value = Value> {
    let trade = (any::<bool>(), price(), size(), any::<bool>(), any::<u64>(), time());
    (kind(), prop::collection::vec(trade, 1..5)).prop_map(|(kind, trades)| {
        let one = |(buy, price, size, limit, id, time): (bool, Value, Value, bool, u64, Value)| {
            let side = if buy { "buy" } else { "sell" };
            let order = if limit { "limit" } else { "market" };
            Object(vec![
                ("symbol", symbol()),
                ("side", Text(side.to_owned())),
                ("price", price),
                ("qty", size),
                ("ord_type", Text(order.to_owned())),
                ("trade_id", Number(id.to_string())),
                ("timestamp", time),
            ])
        };
        frame("trade", kind, trades.into_iter().map(one).collect())
    })
}

fn levels() -> impl Strategy<Value = Value> {
    let level = (price(), size()).prop_map(|(p, s)| Object(vec![("price", p), ("qty", s)]));
    prop::collection::vec(level, 0..6).prop_map(List)
}

fn books() -> impl Strategy<Value = Value> {
    (kind(), levels(), levels(), any::<u32>(), prop::option::of(time())).prop_map(|(kind, bids, asks, crc, time)| {
        let mut members =
            vec![("symbol", symbol()), ("bids", bids), ("asks", asks), ("checksum", Number(crc.to_string()))];
        members.extend(time.map(|t| ("timestamp", t)));
        frame("book", kind, vec![Object(members)])
    })
}

fn tickers() -> impl Strategy<Value = Value> {
    let figures = (price(), size(), price(), price(), price(), any::<bool>(), price());
    (kind(), price(), size(), price(), size(), figures, prop::option::of(time())).prop_map(
        |(kind, bid, bid_qty, ask, ask_qty, (last, volume, vwap, low, high, falls, change), time)| {
            let Number(change) = change else { unreachable!() };
            let change = Number(if falls { format!("-{change}") } else { change });
            let mut members = vec![
                ("symbol", symbol()),
                ("bid", bid),
                ("bid_qty", bid_qty),
                ("ask", ask),
                ("ask_qty", ask_qty),
                ("last", last),
                ("volume", volume),
                ("vwap", vwap),
                ("low", low),
                ("high", high),
                ("change", change),
                ("change_pct", Number("-1.25".to_owned())),
            ];
            members.extend(time.map(|t| ("timestamp", t)));
            frame("ticker", kind, vec![Object(members)])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_spelling_tells_the_same(value in prop_oneof![trades(), books(), tickers()], seed in any::<u64>()) {
        let (usual, counts) = told(&plainly(&value));
        prop_assert_eq!(counts.slow_path, 0, "the usual order takes the fast path");
        let other = Dice(seed).any(&value);
        let (same, counts) = told(&other);
        prop_assert_eq!(counts.slow_path, 1, "{}", other);
        prop_assert!(usual == same, "{}", other);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let (mut machine, mut out) = (machine(), Outbox::new());
        let _ = machine.on_frame(&bytes, UnixNanos(3), &mut out);
        let at = cut.index(SNAPSHOT.len());
        let spliced = [&SNAPSHOT.as_bytes()[..at], &bytes].concat();
        let _ = machine.on_frame(&spliced, UnixNanos(3), &mut out);
    }
}

/// What is refused, and how it is said.
#[test]
fn refusals_name_the_place_and_the_field() {
    let trade = |member: &str| {
        let good = r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1.5,"qty":2.0,"ord_type":"limit","trade_id":1,"timestamp":"2026-08-02T03:35:51.660084Z"}]}"#;
        let (name, _) = member.split_once(':').unwrap();
        let from = good.find(name).unwrap();
        let to = from + good[from..].find(['}', ',']).unwrap();
        format!("{}{member}{}", &good[..from], &good[to..])
    };
    // The place is that of the value refused, told as the text that stands there.
    for (frame, place, says) in [
        (trade(r#""side":"up""#), r#""up""#, "side: is neither buy nor sell"),
        (trade(r#""price":-1.5"#), "-1.5", "price: is not positive"),
        (trade(r#""price":0.0"#), "0.0", "price: is not positive"),
        (trade(r#""price":"x""#), r#"x""#, "price: not a number at byte 0"),
        (trade(r#""price":1e-19"#), "1e-19", "price: needs 19 decimals, at most 18 can be told"),
        (trade(r#""qty":123456789012345678901"#), "123456789012345678901", "qty: number out of range"),
        (trade(r#""trade_id":-7"#), "-7", "trade_id: number out of range"),
        (trade(r#""timestamp":"2026-13-02T03:35:51Z""#), r#""2026-13"#, "timestamp: no such month"),
        (trade(r#""price":1.5 "x":1"#), r#""x""#, "trade: expected a comma or the closing bracket"),
        (trade(r#""qty":null"#), "null", "qty: expected a number"),
        (r#"{"channel":"book","type":"update"}"#.to_owned(), "", "data: is missing"),
        (
            r#"{"channel":"trade","type":"new","data":[]}"#.to_owned(),
            r#""new""#,
            "type: is neither snapshot nor update",
        ),
        ("[]".to_owned(), "[", "frame: expected an object"),
        (String::new(), "", "frame: expected an object"),
    ] {
        let (mut machine, mut out) = (machine(), Outbox::new());
        let error = machine.on_frame(frame.as_bytes(), UnixNanos(3), &mut out).expect_err(&frame);
        assert_eq!(format!("{}: {}", error.field, error.problem), says, "{frame}");
        assert!(frame[error.offset..].starts_with(place), "byte {} of {frame}", error.offset);
        assert!(out.records.is_empty());
    }
}
