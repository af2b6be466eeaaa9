//! The same facts in any legal spelling and in either encoding give the same records: the readings are one meaning.
#![allow(clippy::unwrap_used)]

mod packing;

use model::{UnixNanos, Venue};
use packing::Stamps;
use proptest::prelude::*;
use venues::{Counts, Outbox, Settings, VenueMachine};

/// Known instruments, at scales wide enough for the numbers below.
const FIRST: &str = r#"[{"T":"t","S":"AAPL","i":1,"x":"V","p":0.1234,"s":1,"c":[],"z":"C","t":"2024-03-12T10:27:48Z"},{"T":"t","S":"BTC/USD","p":0.123456789,"s":0.123456789,"t":"2024-03-12T10:27:48Z","i":1,"tks":"S"},{"T":"o","S":"BTC/USD","t":"2024-03-12T10:27:48Z","b":[{"p":1,"s":1}],"a":[{"p":1000000,"s":1}],"r":true}]"#;

/// A message as a tree whose numbers are texts.
#[derive(Clone, Debug)]
enum Value {
    Number(String),
    Text(String),
    Bool(bool),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}
use Value::{Bool, List, Number, Object, Text};

/// As the venue writes it.
fn plainly(v: &Value) -> String {
    match v {
        Number(text) => text.clone(),
        Text(text) => format!("\"{text}\""),
        Bool(yes) => yes.to_string(),
        List(items) => format!("[{}]", items.iter().map(plainly).collect::<Vec<_>>().join(",")),
        Object(members) => {
            let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\":{}", plainly(v))).collect();
            format!("{{{}}}", members.join(","))
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

    fn order(&mut self, n: usize, from: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for n in (from + 1..order.len()).rev() {
            let other = from + self.below(n + 1 - from);
            order.swap(n, other);
        }
        order
    }

    fn space(&mut self) -> &'static str {
        ["", "", " ", "\t", "\r\n  "][self.below(5)]
    }

    fn text(&mut self, text: &str) -> String {
        let escape = |c: char, n: usize| if n == 0 { format!("\\u{:04x}", c as u32) } else { c.to_string() };
        let inner: String = text.chars().map(|c| escape(c, self.below(6))).collect();
        format!("\"{inner}\"")
    }

    fn number(&mut self, text: &str) -> String {
        match (text.split_once('.'), self.below(4)) {
            (Some((whole, fraction)), 0) => {
                let digits = format!("{whole}{fraction}");
                let digits = digits.trim_start_matches('0');
                format!("{}e-{:02}", if digits.is_empty() { "0" } else { digits }, fraction.len())
            }
            (Some(_), 1) => format!("{text}000000000000000000000"),
            (Some(_), 2) => format!("\"{text}\""),
            _ => text.to_owned(),
        }
    }

    /// Any JSON.
    fn json(&mut self, v: &Value) -> String {
        let (a, b) = (self.space(), self.space());
        let inner = match v {
            Number(text) => self.number(text),
            Text(text) => self.text(text),
            Bool(yes) => yes.to_string(),
            List(items) => {
                let items: Vec<String> = items.iter().map(|i| self.json(i)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            Object(members) => {
                let order = self.order(members.len(), 0);
                let members: Vec<String> = order
                    .iter()
                    .map(|n| {
                        let (key, value) = &members[*n];
                        format!("{}{}{}:{}", self.space(), self.text(key), self.space(), self.json(value))
                    })
                    .collect();
                format!("{{{}{}}}", members.join(","), self.space())
            }
        };
        format!("{a}{inner}{b}")
    }

    /// MessagePack as the venue may write it: the type first, other keys in any order, any size that holds a number.
    fn packed(&mut self, v: &Value, key: &str, usual: bool, out: &mut Vec<u8>) {
        match v {
            Number(text) if text.contains('.') => packing::float(text.parse().unwrap(), out),
            Number(text) => {
                let whole: u64 = text.parse().unwrap();
                match self.below(4) {
                    0 if whole < 1 << 53 => packing::float(whole as f64, out),
                    1 if whole <= i64::MAX as u64 => {
                        out.push(0xd3);
                        out.extend_from_slice(&whole.to_be_bytes());
                    }
                    2 => {
                        out.push(0xcf);
                        out.extend_from_slice(&whole.to_be_bytes());
                    }
                    _ => packing::whole(whole, out),
                }
            }
            Text(text) if key == "t" => {
                let nanos = scan::rfc3339_nanos(text.as_bytes()).unwrap().0;
                match if usual { 0 } else { self.below(3) } {
                    0 => packing::stamp(nanos, Stamps::Extension, out),
                    1 => packing::stamp(nanos, Stamps::Wide, out),
                    _ => packing::text(text, out),
                }
            }
            Text(text) if usual => packing::text(text, out),
            Text(text) => {
                out.extend_from_slice(&[0xda, 0, text.len() as u8]);
                out.extend_from_slice(text.as_bytes());
            }
            Bool(yes) => out.push(0xc2 + u8::from(*yes)),
            List(items) => {
                if usual && items.len() < 16 {
                    out.push(0x90 | items.len() as u8);
                } else {
                    out.extend_from_slice(&[0xdd, 0, 0, 0, items.len() as u8]);
                }
                items.iter().for_each(|i| self.packed(i, "", usual, out));
            }
            Object(members) => {
                if usual {
                    out.push(0x80 | members.len() as u8);
                } else {
                    out.extend_from_slice(&[0xde, 0, members.len() as u8]);
                }
                for n in self.order(members.len(), usize::from(usual && members[0].0 == "T")) {
                    packing::text(members[n].0, out);
                    self.packed(&members[n].1, members[n].0, usual, out);
                }
            }
        }
    }
}

fn machine() -> Box<dyn VenueMachine> {
    let mut machine = venues::machine(Venue::Alpaca, &Settings::default(), &[]).unwrap();
    machine.on_frame(FIRST.as_bytes(), UnixNanos(2), &mut Outbox::new()).unwrap();
    machine
}

fn told(frame: &[u8]) -> (Vec<u64>, Counts) {
    let (mut machine, mut out) = (machine(), Outbox::new());
    let before = machine.counts().slow_path;
    let read = machine.on_frame(frame, UnixNanos(3), &mut out);
    read.unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(frame)));
    let counts = *machine.counts();
    (out.records.words().to_vec(), Counts { slow_path: counts.slow_path - before, ..counts })
}

fn text(s: &str) -> Value {
    Text(s.to_owned())
}

/// At most 15 digits, so that every float is one text.
fn coin(whole_max: u32) -> impl Strategy<Value = Value> {
    (0..whole_max, 1u32..1_000_000_000, 0u32..10).prop_map(|(whole, fraction, cut)| {
        let fraction = (fraction / 10u32.pow(9 - cut.min(9))).max(1);
        match cut {
            0 => Number((whole + 1).to_string()),
            _ => Number(format!("{whole}.{fraction:0>width$}", width = cut as usize)),
        }
    })
}

fn share_price() -> impl Strategy<Value = Value> {
    (0u32..2000, 1u32..10_000).prop_map(|(whole, fraction)| Number(format!("{whole}.{fraction:04}")))
}

fn count() -> impl Strategy<Value = Value> {
    (1u32..100_000).prop_map(|n| Number(n.to_string()))
}

fn id() -> impl Strategy<Value = Value> {
    prop_oneof![1u64..100_000, any::<u64>().prop_map(|n| n.max(2))].prop_map(|n| Number(n.to_string()))
}

fn time() -> impl Strategy<Value = Value> {
    let digits = prop_oneof![Just(0u32), Just(3), Just(7), Just(9)];
    (0u32..86_400, 0u32..1_000_000_000, digits).prop_map(|(s, ns, digits)| {
        let clock = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
        match digits {
            0 => Text(format!("2024-03-12T{clock}Z")),
            n => Text(format!("2024-03-12T{clock}.{:0>w$}Z", ns / 10u32.pow(9 - n), w = n as usize)),
        }
    })
}

fn letter() -> impl Strategy<Value = Value> {
    "[A-Z]".prop_map(Text)
}

fn conditions() -> impl Strategy<Value = Value> {
    prop::collection::vec("[@A-Z ]".prop_map(Text), 0..5).prop_map(List)
}

fn share_trade() -> impl Strategy<Value = Value> {
    (id(), letter(), share_price(), count(), conditions(), letter(), time(), any::<bool>()).prop_map(
        |(i, x, p, s, c, z, t, newer)| {
            Object(if newer {
                vec![
                    ("T", text("t")),
                    ("S", text("AAPL")),
                    ("i", i),
                    ("x", x),
                    ("p", p),
                    ("s", s),
                    ("c", c),
                    ("z", z),
                    ("t", t),
                ]
            } else {
                vec![
                    ("T", text("t")),
                    ("i", i),
                    ("S", text("AAPL")),
                    ("x", x),
                    ("p", p),
                    ("s", s),
                    ("t", t),
                    ("c", c),
                    ("z", z),
                ]
            })
        },
    )
}

fn share_quote() -> impl Strategy<Value = Value> {
    let sides = (letter(), share_price(), count(), letter(), share_price(), count());
    (sides, conditions(), letter(), time(), any::<bool>()).prop_map(|((bx, bp, bs, ax, ap, at), c, z, t, newer)| {
        let mut members = vec![
            ("T", text("q")),
            ("S", text("AAPL")),
            ("bx", bx),
            ("bp", bp),
            ("bs", bs),
            ("ax", ax),
            ("ap", ap),
            ("as", at),
        ];
        members.extend(if newer { [("c", c), ("z", z), ("t", t)] } else { [("t", t), ("c", c), ("z", z)] });
        Object(members)
    })
}

fn coin_trade() -> impl Strategy<Value = Value> {
    let taker = prop_oneof![Just("B"), Just("S"), Just("-")];
    (coin(100_000), coin(1000), time(), id(), taker).prop_map(|(p, s, t, i, taker)| {
        Object(vec![
            ("T", text("t")),
            ("S", text("BTC/USD")),
            ("p", p),
            ("s", s),
            ("t", t),
            ("i", i),
            ("tks", text(taker)),
        ])
    })
}

fn coin_quote() -> impl Strategy<Value = Value> {
    (coin(100_000), coin(1000), coin(100_000), coin(1000), time()).prop_map(|(bp, bs, ap, at, t)| {
        Object(vec![("T", text("q")), ("S", text("BTC/USD")), ("bp", bp), ("bs", bs), ("ap", ap), ("as", at), ("t", t)])
    })
}

fn levels() -> impl Strategy<Value = Value> {
    let size = prop_oneof![1 => Just(Number("0".to_owned())), 4 => coin(1000)];
    let level = (coin(100_000), size).prop_map(|(p, s)| Object(vec![("p", p), ("s", s)]));
    prop::collection::vec(level, 0..6).prop_map(List)
}

fn book() -> impl Strategy<Value = Value> {
    (levels(), levels(), time(), prop::option::of(any::<bool>())).prop_map(|(b, a, t, r)| {
        let mut members = vec![("T", text("o")), ("S", text("BTC/USD")), ("t", t), ("b", b), ("a", a)];
        members.extend(r.map(|r| ("r", Bool(r))));
        Object(members)
    })
}

fn frame() -> impl Strategy<Value = Value> {
    let message = prop_oneof![share_trade(), share_quote(), coin_trade(), coin_quote(), book()];
    prop::collection::vec(message, 1..5).prop_map(List)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn any_spelling_tells_the_same(value in frame(), seed in any::<u64>()) {
        let (usual, counts) = told(plainly(&value).as_bytes());
        prop_assert_eq!(counts.slow_path, 0, "the usual order takes the fast path: {}", plainly(&value));
        let mut dice = Dice(seed);
        let other = format!(" {}", dice.json(&value));
        let (same, counts) = told(other.as_bytes());
        prop_assert_eq!(counts.slow_path, 1, "{}", other);
        prop_assert!(usual == same, "{}", other);
        let mut packed = vec![];
        dice.packed(&value, "", true, &mut packed);
        let (same, _) = told(&packed);
        prop_assert!(usual == same, "{:02x?}", packed);
        let mut packed = vec![];
        dice.packed(&value, "", false, &mut packed);
        let (same, counts) = told(&packed);
        prop_assert_eq!(counts.slow_path, 1, "{:02x?}", packed);
        prop_assert!(usual == same, "{:02x?}", packed);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        value in frame(),
        seed in any::<u64>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut machine, mut out) = (machine(), Outbox::new());
        let mut packed = vec![];
        Dice(seed).packed(&value, "", true, &mut packed);
        for whole in [plainly(&value).into_bytes(), packed] {
            let mut spliced = whole.clone();
            spliced.truncate(cut.index(whole.len()));
            let told = out.records.len();
            prop_assert!(machine.on_frame(&spliced, UnixNanos(3), &mut out).is_err(), "a frame cut short");
            prop_assert_eq!(out.records.len(), told);
            spliced.extend_from_slice(&bytes);
            let _ = machine.on_frame(&spliced, UnixNanos(3), &mut out);
        }
        let _ = machine.on_frame(&bytes, UnixNanos(3), &mut out);
    }
}

#[test]
fn the_usual_packing_takes_the_fast_path() {
    let value = List(vec![Object(vec![
        ("T", text("t")),
        ("S", text("BTC/USD")),
        ("p", Number("47.299".to_owned())),
        ("s", Number("29.205707815".to_owned())),
        ("t", text("2024-03-12T10:27:48.858228144Z")),
        ("i", Number("3447222699101865076".to_owned())),
        ("tks", text("S")),
    ])]);
    for seed in 0..50 {
        let mut packed = vec![];
        Dice(seed).packed(&value, "", true, &mut packed);
        assert_eq!(told(&packed).1.slow_path, 0);
    }
}

/// What is refused, and how it is said.
#[test]
fn refusals_name_the_place_and_the_field() {
    let trade = |member: &str| {
        let good =
            r#"[{"T":"t","S":"BTC/USD","p":47.299,"s":29.2,"t":"2024-03-12T10:27:48.858228144Z","i":7,"tks":"S"}]"#;
        let (name, _) = member.split_once(':').unwrap();
        let from = good.find(&format!("{name}:")).unwrap();
        let to = from + good[from..].find(['}', ',']).unwrap();
        format!("{}{member}{}", &good[..from], &good[to..])
    };
    // The place is that of the value refused, told as the text that stands there.
    for (frame, place, says) in [
        (trade(r#""tks":"up""#), r#""up""#, "tks: is neither B, S nor -"),
        (trade(r#""p":-1.5"#), "-1.5", "p: is negative"),
        (trade(r#""p":0"#), "0", "p: is not positive"),
        (trade(r#""p":"x""#), r#""x""#, "p: not a number at byte 0"),
        (trade(r#""p":1e-19"#), "1e-19", "p: needs 19 decimals, at most 18 can be told"),
        (trade(r#""s":123456789012345678901"#), "1234", "s: number out of range"),
        (trade(r#""i":-7"#), "-7", "i: is negative"),
        (trade(r#""i":7.5"#), "7.5", "i: is not a whole number"),
        (trade(r#""t":"2024-13-02T03:35:51Z""#), r#""2024-13"#, "t: no such month"),
        (trade(r#""s":null"#), "null", "s: expected a number"),
        (r#"[{"T":"t","p":1}]"#.to_owned(), "{", "S: is missing"),
        (r#"[{"T":"t","S":"BTC/USD","p":1}]"#.to_owned(), "{", "s: is missing"),
        (r#"{"T":"o","S":"BTC/USD","t":7}"#.to_owned(), "7", "t: expected a string"),
        ("7".to_owned(), "7", "message: expected an object"),
        (String::new(), "", "frame: expected a value"),
    ] {
        let (mut machine, mut out) = (machine(), Outbox::new());
        let error = machine.on_frame(frame.as_bytes(), UnixNanos(3), &mut out).expect_err(&frame);
        assert_eq!(format!("{}: {}", error.field, error.problem), says, "{frame}");
        assert!(frame[error.offset..].starts_with(place), "byte {} of {frame}", error.offset);
        assert!(out.records.is_empty());
    }
    for (packed, says) in [
        (&[0x91, 0x81, 0xa1, b'T', 0xa1][..], "T: ends in the middle of a value"),
        (&[0x91, 0x81, 0xa1, b'T', 7], "T: expected a text"),
        (&[0xc1], "frame: holds the byte 0xc1, which begins no value"),
        (&[0x91, 0x80, 0xc0], "frame: expected the end"),
        (&[0xdc], "frame: ends in the middle of a value"),
    ] {
        let error = machine().on_frame(packed, UnixNanos(3), &mut Outbox::new()).expect_err("refused");
        assert_eq!(format!("{}: {}", error.field, error.problem), says);
    }
}
