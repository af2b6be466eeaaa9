//! The same facts in any legal spelling give the same records: the fast reading and the exact one are one meaning.
#![allow(clippy::unwrap_used)]

use model::{UnixNanos, Venue};
use proptest::prelude::*;
use spelling::Value::{self, List, Number, Object, Text};
use spelling::{Dice, plainly};
use venues::{Counts, Outbox, Settings, VenueMachine};

mod spelling;

const PAIRS: &str = r#"{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,"price_increment":0.1}]}}"#;
const SNAPSHOT: &str = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":100.0,"qty":1.00000000}],"asks":[{"price":200.0,"qty":1.00000000}],"checksum":1}]}"#;

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
