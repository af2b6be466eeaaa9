//! The same facts in any legal spelling give the same records: the fast reading and the exact one are one meaning.
#![allow(clippy::unwrap_used)]

use model::UnixNanos;
use proptest::prelude::*;
use spelling::Value::{self, List, Number, Object, Quoted, Text};
use spelling::{Dice, plainly};
use venues::{Counts, Outbox, Settings, VenueMachine};

mod spelling;

/// Teaches the scales: two decimals of prices, eight of sizes.
const SNAPSHOT: &str = r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48Z","sequence_num":0,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"100.01","new_quantity":"1.00000001"},{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"200","new_quantity":"1"}]}]}"#;

fn machine() -> Box<dyn VenueMachine> {
    let mut machine = venues::coinbase::advanced::machine(&Settings::default(), &[]).unwrap();
    let mut out = Outbox::new();
    machine.on_frame(SNAPSHOT.as_bytes(), UnixNanos(2), &mut out).unwrap();
    machine
}

/// The records of a frame, and the counts it added.
fn told(frame: &str) -> (Vec<u64>, Counts) {
    let (mut machine, mut out) = (machine(), Outbox::new());
    let before = machine.counts().slow_path;
    machine.on_frame(frame.as_bytes(), UnixNanos(3), &mut out).unwrap_or_else(|e| panic!("{e}\n{frame}"));
    let counts = *machine.counts();
    (out.records.words().to_vec(), Counts { slow_path: counts.slow_path - before, ..counts })
}

fn frame(channel: &str, client: bool, time: Value, event: Vec<(&'static str, Value)>) -> Value {
    let mut members = vec![("channel", Text(channel.to_owned()))];
    members.extend(client.then(|| ("client_id", Text(String::new()))));
    members.push(("timestamp", time));
    members.push(("sequence_num", Number("1".to_owned())));
    members.push(("events", List(vec![Object(event)])));
    Object(members)
}

/// Without zeros at the end, as the venue writes numbers.
fn trimmed(text: String) -> Value {
    Quoted(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

fn price() -> impl Strategy<Value = Value> {
    (1u32..2_000_000, 0u8..100).prop_map(|(whole, cents)| trimmed(format!("{whole}.{cents:02}")))
}

fn size() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Quoted("0".to_owned())),
        4 => (0u32..5000, 1u32..100_000_000).prop_map(|(w, f)| trimmed(format!("{w}.{f:08}"))),
    ]
}

fn time() -> impl Strategy<Value = Value> {
    let digits = prop_oneof![Just(0usize), Just(1), Just(3), Just(6), Just(9)];
    (0u32..86_400, 0u32..1_000_000_000, digits).prop_map(|(s, ns, digits)| {
        let fraction = if digits == 0 { String::new() } else { format!(".{}", &format!("{ns:09}")[..digits]) };
        Text(format!("2026-08-02T{:02}:{:02}:{:02}{fraction}Z", s / 3600, s / 60 % 60, s % 60))
    })
}

fn kind() -> impl Strategy<Value = Value> {
    prop_oneof![Just("update"), Just("snapshot")].prop_map(|kind| Text(kind.to_owned()))
}

fn product() -> Value {
    Text("BTC-USD".to_owned())
}

fn trades() -> impl Strategy<Value = Value> {
    let trade = (any::<bool>(), price(), size(), any::<u64>(), time());
    let trades = prop::collection::vec(trade, 1..5);
    (kind(), any::<bool>(), time(), trades).prop_map(|(kind, client, sent, trades)| {
        let one = |(buy, price, size, id, time): (bool, Value, Value, u64, Value)| {
            Object(vec![
                ("product_id", product()),
                ("trade_id", Quoted(id.to_string())),
                ("price", price),
                ("size", size),
                ("time", time),
                ("side", Text(if buy { "BUY" } else { "SELL" }.to_owned())),
            ])
        };
        let trades = List(trades.into_iter().map(one).collect());
        frame("market_trades", client, sent, vec![("type", kind), ("trades", trades)])
    })
}

fn books() -> impl Strategy<Value = Value> {
    let times = (time(), time());
    let level = (any::<bool>(), any::<bool>(), price(), size());
    (kind(), any::<bool>(), time(), times, prop::collection::vec(level, 1..12)).prop_map(
        |(kind, client, sent, (first, second), levels)| {
            let one = |(bid, early, price, size): (bool, bool, Value, Value)| {
                Object(vec![
                    ("side", Text(if bid { "bid" } else { "offer" }.to_owned())),
                    ("event_time", if early { first.clone() } else { second.clone() }),
                    ("price_level", price),
                    ("new_quantity", size),
                ])
            };
            let levels = List(levels.into_iter().map(one).collect());
            frame("l2_data", client, sent, vec![("type", kind), ("product_id", product()), ("updates", levels)])
        },
    )
}

fn tickers() -> impl Strategy<Value = Value> {
    let figures = (price(), size(), price(), price());
    (kind(), any::<bool>(), any::<bool>(), time(), price(), size(), price(), size(), figures).prop_map(
        |(kind, client, pairs, sent, bid, bid_size, ask, ask_size, (last, volume, low, high))| {
            let mut members = vec![
                ("type", Text("ticker".to_owned())),
                ("product_id", product()),
                ("price", last),
                ("volume_24_h", volume),
                ("low_24_h", low.clone()),
                ("high_24_h", high.clone()),
                ("low_52_w", low),
                ("high_52_w", high),
                ("price_percent_chg_24_h", Text("-1.25".to_owned())),
                ("best_bid", bid),
            ];
            if pairs {
                members.extend([("best_bid_quantity", bid_size), ("best_ask", ask)]);
            } else {
                members.extend([("best_ask", ask), ("best_bid_quantity", bid_size)]);
            }
            members.push(("best_ask_quantity", ask_size));
            frame("ticker", client, sent, vec![("type", kind), ("tickers", List(vec![Object(members)]))])
        },
    )
}

fn heartbeats() -> impl Strategy<Value = Value> {
    (any::<bool>(), time(), 0u64..1 << 60).prop_map(|(client, sent, beat)| {
        let now = Text("2026-08-09 21:06:02.854903844 +0000 UTC m=+41705.260549141".to_owned());
        let counter = Number(beat.to_string());
        frame("heartbeats", client, sent, vec![("current_time", now), ("heartbeat_counter", counter)])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_spelling_tells_the_same(
        value in prop_oneof![3 => trades(), 3 => books(), 2 => tickers(), 1 => heartbeats()],
        seed in any::<u64>(),
    ) {
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
