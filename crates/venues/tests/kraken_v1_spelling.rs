//! Kraken's older protocol: the same facts in any legal spelling give the same records, in the fast reading and the exact.
#![allow(clippy::unwrap_used)]

use model::{UnixNanos, Venue};
use proptest::prelude::*;
use spelling::Value::{self, List, Number, Object, Quoted, Text};
use spelling::{Dice, plainly};
use venues::{Counts, Outbox, Reply, Settings, VenueMachine};

mod spelling;

const PAIRS: &str = r#"{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,"lot_decimals":8,"tick_size":"0.1","ordermin":"0.0001","costmin":"0.5","status":"online"}}}"#;
const SNAPSHOT: &str = r#"[320,{"as":[["200.00000","1.00000000","1700000000.000001"]],"bs":[["100.00000","1.00000000","1700000000.000002"]]},"book-10","XBT/USD"]"#;

fn machine() -> Box<dyn VenueMachine> {
    let settings = Settings { symbols: vec!["XBT/USD".to_owned()], ..Settings::default() };
    let choices = [("checksum", "ignore"), ("api", "v1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut machine = venues::machine(Venue::Kraken, &settings, &choices).unwrap();
    let mut out = Outbox::new();
    machine.on_connected(UnixNanos(1), &mut out);
    let request = out.requests.remove(0);
    assert_eq!(request.path, "/0/public/AssetPairs");
    let reply = Reply::Http { status: 200, body: PAIRS.as_bytes(), retry_after: None };
    machine.on_response(request.id, reply, UnixNanos(2), &mut out);
    let sent: Vec<_> = out.frames.iter().map(|f| f.as_text().unwrap().to_owned()).collect();
    assert_eq!(
        sent,
        [
            r#"{"event":"subscribe","reqid":1,"pair":["XBT/USD"],"subscription":{"name":"trade"}}"#,
            r#"{"event":"subscribe","reqid":2,"pair":["XBT/USD"],"subscription":{"name":"book","depth":1000}}"#,
            r#"{"event":"subscribe","reqid":3,"pair":["XBT/USD"],"subscription":{"name":"spread"}}"#,
            r#"{"event":"subscribe","reqid":4,"pair":["XBT/USD"],"subscription":{"name":"ohlc","interval":1}}"#,
        ]
    );
    machine.on_frame(SNAPSHOT.as_bytes(), UnixNanos(3), &mut out).unwrap();
    machine
}

fn told(frame: &str) -> (Vec<u64>, Counts) {
    let (mut machine, mut out) = (machine(), Outbox::new());
    machine.on_frame(frame.as_bytes(), UnixNanos(4), &mut out).unwrap_or_else(|e| panic!("{e}\n{frame}"));
    (out.records.words().to_vec(), *machine.counts())
}

fn frame(payload: Vec<Value>, name: &str) -> Value {
    let mut parts = vec![Number("321".to_owned())];
    parts.extend(payload);
    parts.extend([Text(name.to_owned()), Text("XBT/USD".to_owned())]);
    List(parts)
}

fn price() -> impl Strategy<Value = Value> {
    (1u32..2_000_000, 0u32..100_000).prop_map(|(whole, part)| Quoted(format!("{whole}.{part:05}")))
}

fn size() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Quoted("0.00000000".to_owned())),
        4 => (0u32..5000, 0u32..100_000_000).prop_map(|(w, f)| Quoted(format!("{w}.{f:08}"))),
    ]
}

fn time() -> impl Strategy<Value = Value> {
    (1_600_000_000u32..1_800_000_000, 0u32..1_000_000).prop_map(|(s, us)| Quoted(format!("{s}.{us:06}")))
}

fn trades() -> impl Strategy<Value = Value> {
    let trade = (price(), size(), time(), any::<bool>(), any::<bool>());
    prop::collection::vec(trade, 1..5).prop_map(|trades| {
        let one = |(price, size, time, buy, limit): (Value, Value, Value, bool, bool)| {
            let word = |first: bool, a: &str, b: &str| Text(if first { a } else { b }.to_owned());
            List(vec![price, size, time, word(buy, "b", "s"), word(limit, "l", "m"), Text(String::new())])
        };
        frame(vec![List(trades.into_iter().map(one).collect())], "trade")
    })
}

fn levels() -> impl Strategy<Value = Value> {
    let level = (price(), size(), time(), any::<bool>()).prop_map(|(price, size, time, again)| {
        let mut level = vec![price, size, time];
        level.extend(again.then(|| Text("r".to_owned())));
        List(level)
    });
    prop::collection::vec(level, 1..6).prop_map(List)
}

/// One side or both, in either order, the checksum in the last part.
fn books() -> impl Strategy<Value = Value> {
    (levels(), prop::option::of(levels()), any::<bool>(), any::<u32>()).prop_map(|(first, second, asks, crc)| {
        let (one, other) = if asks { ("a", "b") } else { ("b", "a") };
        let sum = ("c", Quoted(crc.to_string()));
        let parts = match second {
            None => vec![Object(vec![(one, first), sum])],
            Some(second) => vec![Object(vec![(one, first)]), Object(vec![(other, second), sum])],
        };
        frame(parts, "book-10")
    })
}

fn spreads() -> impl Strategy<Value = Value> {
    (price(), price(), time(), size(), size()).prop_map(|(bid, ask, time, bid_size, ask_size)| {
        frame(vec![List(vec![bid, ask, time, bid_size, ask_size])], "spread")
    })
}

fn tickers() -> impl Strategy<Value = Value> {
    (price(), size(), price(), size(), 0u32..1000).prop_map(|(ask, ask_size, bid, bid_size, lots)| {
        let best = |price, size| List(vec![price, Number(lots.to_string()), size]);
        let figures = |key| (key, List(vec![Quoted("1.50000".to_owned()), Quoted("2.50000".to_owned())]));
        let count = ("t", List(vec![Number("3".to_owned()), Number("4".to_owned())]));
        let mut members = vec![("a", best(ask, ask_size)), ("b", best(bid, bid_size))];
        members.extend([figures("c"), figures("v"), figures("p"), count, figures("l"), figures("h"), figures("o")]);
        frame(vec![Object(members)], "ticker")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_spelling_tells_the_same(value in prop_oneof![trades(), books(), spreads(), tickers()], seed in any::<u64>()) {
        let (usual, counts) = told(&plainly(&value));
        // The snapshot that teaches the digits was read exactly before.
        prop_assert_eq!(counts.slow_path, 1, "the usual order takes the fast path: {}", plainly(&value));
        let other = Dice(seed).any(&value);
        let (same, counts) = told(&other);
        prop_assert_eq!(counts.slow_path, 2, "{}", other);
        prop_assert!(usual == same, "{}", other);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let (mut machine, mut out) = (machine(), Outbox::new());
        let _ = machine.on_frame(&bytes, UnixNanos(4), &mut out);
        let at = cut.index(SNAPSHOT.len());
        let spliced = [&SNAPSHOT.as_bytes()[..at], &bytes].concat();
        let _ = machine.on_frame(&spliced, UnixNanos(4), &mut out);
    }
}

/// Answers that cannot be used are told and asked for again; the socket stays.
#[test]
fn definitions_that_cannot_be_had_are_asked_for_again() {
    let settings = Settings { symbols: vec!["BTC-USD".to_owned()], ..Settings::default() };
    let api = [("api".to_owned(), "v1".to_owned())];
    let mut machine = venues::machine(Venue::Kraken, &settings, &api).unwrap();
    let mut out = Outbox::new();
    let mut now = UnixNanos(1_700_000_000_000_000_000);
    machine.on_connected(now, &mut out);
    for body in [r#"{"error":["EGeneral:Temporary lockout"]}"#, "<html>", r#"{"error":[],"result":[]}"#] {
        let request = out.requests.remove(0);
        let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
        machine.on_response(request.id, reply, now, &mut out);
        assert!(out.requests.is_empty() && out.frames.is_empty() && out.reconnect.is_none());
        let due = machine.next_timer().expect("another attempt");
        assert!(due > now);
        now = due;
        machine.on_frame(br#"{"event":"heartbeat"}"#, now, &mut out).unwrap();
        machine.on_timer(now, &mut out);
        assert_eq!(out.requests.len(), 1, "after {body}");
    }
    let reply = Reply::Http { status: 200, body: PAIRS.as_bytes(), retry_after: None };
    machine.on_response(out.requests.remove(0).id, reply, now, &mut out);
    assert_eq!((machine.instruments().len(), out.frames.len()), (1, 4));
}
