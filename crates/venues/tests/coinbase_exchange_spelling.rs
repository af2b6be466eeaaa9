//! The same facts in any legal spelling give the same records: the fast reading and the exact one are one meaning.
#![allow(clippy::unwrap_used)]

use model::{StreamKind, UnixNanos, Venue};
use proptest::prelude::*;
use spelling::Value::{self, List, Number, Object, Quoted, Text};
use spelling::{Dice, plainly};
use venues::{Counts, Credentials, Outbox, Reply, Settings, VenueMachine};

mod spelling;

const PRODUCTS: &str = r#"[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.1","base_increment":"0.00000001","status":"online"}]"#;
const SNAPSHOT: &str =
    r#"{"type":"snapshot","product_id":"BTC-USD","asks":[["3000000.0","1.00000000"]],"bids":[["0.1","1.00000000"]]}"#;
const ORDERS: &str = r#"{"sequence":1000,"bids":[["0.1","1.0","00000001-0000-4000-8000-000000000000"]],"asks":[["3000000.0","1.0","00000002-0000-4000-8000-000000000000"]]}"#;

/// A machine with a live book: from level 2, or of orders.
fn machine(full: bool) -> Box<dyn VenueMachine> {
    let credentials = Credentials { key: "k".to_owned(), secret: "YQ==".to_owned(), passphrase: Some("p".to_owned()) };
    let settings = Settings {
        symbols: vec!["BTC-USD".to_owned()],
        streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Order],
        credentials: Some(credentials),
        ..Settings::default()
    };
    let level2 = if full { "full" } else { "level2_batch" };
    let settings = if full { settings } else { Settings { streams: Settings::default().streams, ..settings } };
    let mut machine = venues::machine(Venue::Coinbase, &settings, &[("level2".to_owned(), level2.to_owned())]).unwrap();
    let mut out = Outbox::new();
    let answer = |machine: &mut Box<dyn VenueMachine>, out: &mut Outbox, body: &str| {
        let request = out.requests.remove(0).id;
        let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
        machine.on_response(request, reply, UnixNanos(2), out);
    };
    machine.on_connected(UnixNanos(1), &mut out);
    answer(&mut machine, &mut out, PRODUCTS);
    if full {
        machine.on_timer(UnixNanos(1_000_000_000), &mut out);
        answer(&mut machine, &mut out, ORDERS);
    } else {
        machine.on_frame(SNAPSHOT.as_bytes(), UnixNanos(2), &mut out).unwrap();
    }
    machine
}

fn told(frame: &str, full: bool) -> (Vec<u64>, Counts) {
    let (mut machine, mut out) = (machine(full), Outbox::new());
    let now = UnixNanos(2_000_000_000);
    machine.on_frame(frame.as_bytes(), now, &mut out).unwrap_or_else(|e| panic!("{e}\n{frame}"));
    (out.records.words().to_vec(), *machine.counts())
}

fn text(text: &str) -> Value {
    Text(text.to_owned())
}

fn price() -> impl Strategy<Value = Value> {
    (1u32..2_000_000, 0u8..10).prop_map(|(whole, tenth)| Quoted(format!("{whole}.{tenth}")))
}

fn size() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Quoted("0.00000000".to_owned())),
        4 => (0u32..5000, 0u32..100_000_000).prop_map(|(w, f)| Quoted(format!("{w}.{f:08}"))),
    ]
}

fn time() -> impl Strategy<Value = Value> {
    (0u32..86_400, 0u32..1_000_000)
        .prop_map(|(s, us)| Text(format!("2026-08-02T{:02}:{:02}:{:02}.{us:06}Z", s / 3600, s / 60 % 60, s % 60)))
}

fn side() -> impl Strategy<Value = Value> {
    prop_oneof![Just(text("buy")), Just(text("sell"))]
}

fn uuid() -> impl Strategy<Value = Value> {
    (any::<u32>(), 1u8..4).prop_map(|(a, n)| Text(format!("{a:08x}-0000-4000-8000-00000000000{n}")))
}

fn trades() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![Just("match"), Just("last_match")];
    (kind, any::<u64>(), uuid(), uuid(), side(), size(), price(), 1_001u64..2_000, time()).prop_map(
        |(kind, id, maker, taker, side, size, price, sequence, time)| {
            Object(vec![
                ("type", text(kind)),
                ("trade_id", Number(id.to_string())),
                ("maker_order_id", maker),
                ("taker_order_id", taker),
                ("side", side),
                ("size", size),
                ("price", price),
                ("product_id", text("BTC-USD")),
                ("sequence", Number(sequence.to_string())),
                ("time", time),
            ])
        },
    )
}

fn changes() -> impl Strategy<Value = Value> {
    let change = (side(), price(), size()).prop_map(|(side, price, size)| List(vec![side, price, size]));
    (prop::collection::vec(change, 0..6), time(), any::<bool>()).prop_map(|(changes, time, timed_first)| {
        let mut members = vec![("type", text("l2update")), ("product_id", text("BTC-USD"))];
        let (changes, time) = (("changes", List(changes)), ("time", time));
        members.extend(if timed_first { [time, changes] } else { [changes, time] });
        Object(members)
    })
}

fn snapshots() -> impl Strategy<Value = Value> {
    let levels = || {
        let level = (price(), size()).prop_map(|(price, size)| List(vec![price, size]));
        prop::collection::vec(level, 0..6).prop_map(List)
    };
    (levels(), levels(), any::<bool>(), prop::option::of(time())).prop_map(|(bids, asks, asks_first, time)| {
        let mut members = vec![("type", text("snapshot")), ("product_id", text("BTC-USD"))];
        let (bids, asks) = (("bids", bids), ("asks", asks));
        members.extend(if asks_first { [asks, bids] } else { [bids, asks] });
        members.extend(time.map(|t| ("time", t)));
        Object(members)
    })
}

fn tickers() -> impl Strategy<Value = Value> {
    let touch = (price(), size(), price(), size(), any::<bool>());
    (1u32..9, touch, side(), time(), size()).prop_map(|(n, (bid, bid_size, ask, ask_size, sized), side, time, last)| {
        let figure = || Quoted("12.5".to_owned());
        let mut members = vec![
            ("type", text("ticker")),
            ("sequence", Number(n.to_string())),
            ("product_id", text("BTC-USD")),
            ("price", figure()),
            ("open_24h", figure()),
            ("volume_24h", figure()),
            ("low_24h", figure()),
            ("high_24h", figure()),
            ("volume_30d", figure()),
            ("best_bid", bid),
        ];
        if sized {
            members.push(("best_bid_size", bid_size));
        }
        members.push(("best_ask", ask));
        if sized {
            members.push(("best_ask_size", ask_size));
        }
        members.extend([("side", side), ("time", time), ("trade_id", Number("7".to_owned())), ("last_size", last)]);
        Object(members)
    })
}

fn heartbeats() -> impl Strategy<Value = Value> {
    (any::<u64>(), any::<u64>(), time()).prop_map(|(sequence, trade, time)| {
        Object(vec![
            ("type", text("heartbeat")),
            ("sequence", Number(sequence.to_string())),
            ("last_trade_id", Number(trade.to_string())),
            ("product_id", text("BTC-USD")),
            ("time", time),
        ])
    })
}

/// Steps of orders: of one that rests in the book, or of another.
fn orders() -> impl Strategy<Value = Value> {
    let known = prop_oneof![Just(text("00000001-0000-4000-8000-000000000000")), uuid()];
    let own = (known, price(), size(), price(), 0usize..4);
    (own, side(), 1_001u64..1_003, time()).prop_map(|((order, price, size, new_price, kind), side, sequence, time)| {
        let mut members = vec![("type", text(["received", "open", "done", "change"][kind])), ("order_id", order)];
        members.extend(match kind {
            0 => vec![("order_type", text("limit")), ("size", size), ("price", price)],
            1 => vec![("price", price), ("remaining_size", size)],
            2 => vec![("price", price), ("remaining_size", size), ("reason", text("filled"))],
            _ => vec![("old_price", price), ("new_price", new_price), ("new_size", size), ("reason", text("STP"))],
        });
        members.extend([("side", side), ("product_id", text("BTC-USD"))]);
        members.extend([("sequence", Number(sequence.to_string())), ("time", time)]);
        Object(members)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_spelling_tells_the_same(
        value in prop_oneof![trades(), changes(), snapshots(), tickers(), heartbeats()],
        full in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (usual, counts) = told(&plainly(&value), full);
        prop_assert_eq!(counts.slow_path, 0, "the usual order takes the fast path");
        let other = Dice(seed).any(&value);
        let (same, slow) = told(&other, full);
        prop_assert_eq!(slow.slow_path, 1, "{}", other);
        prop_assert!(usual == same, "{}", other);
        prop_assert_eq!(counts, Counts { slow_path: 0, ..slow });
    }

    #[test]
    fn any_spelling_of_an_order_tells_the_same(value in orders(), seed in any::<u64>()) {
        let (usual, counts) = told(&plainly(&value), true);
        prop_assert_eq!((counts.slow_path, counts.unknown_fields), (0, 0));
        prop_assert!(!usual.is_empty());
        let other = Dice(seed).any(&value);
        let (same, slow) = told(&other, true);
        prop_assert!(usual == same, "{}", other);
        prop_assert_eq!(counts, Counts { slow_path: 0, ..slow });
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let (mut machine, mut out) = (machine(false), Outbox::new());
        let _ = machine.on_frame(&bytes, UnixNanos(3), &mut out);
        let at = cut.index(SNAPSHOT.len());
        let spliced = [&SNAPSHOT.as_bytes()[..at], &bytes].concat();
        let _ = machine.on_frame(&spliced, UnixNanos(3), &mut out);
    }
}

/// What is refused, and how it is said.
#[test]
fn refusals_name_the_place_and_the_field() {
    let trade = |from: &str, to: &str| {
        let good = r#"{"type":"match","trade_id":1,"maker_order_id":"a","taker_order_id":"b","side":"buy","size":"2.0","price":"1.5","product_id":"BTC-USD","sequence":5,"time":"2026-08-02T03:35:51.660084Z"}"#;
        assert!(good.contains(from));
        good.replacen(from, to, 1)
    };
    // The place is that of the value refused, told as the text that stands there.
    for (frame, place, says) in [
        (trade(r#""buy""#, r#""up""#), r#""up""#, "side: is neither buy nor sell"),
        (trade(r#""1.5""#, r#""-1.5""#), r#""-1.5""#, "price: is not positive"),
        (trade(r#""1.5""#, r#""0.0""#), r#""0.0""#, "price: is not positive"),
        (trade(r#""1.5""#, r#""x""#), "x", "price: not a number at byte 0"),
        (trade(r#""1.5""#, "1e-19"), "1e-19", "price: needs 19 decimals, at most 18 can be told"),
        (trade(r#""2.0""#, "123456789012345678901"), "123456789012345678901", "size: number out of range"),
        (trade(r#""2.0""#, r#""-2""#), r#""-2""#, "size: is negative"),
        (trade(r#""trade_id":1"#, r#""trade_id":-7"#), "-7", "trade_id: number out of range"),
        (trade("2026-08", "2026-13"), r#""2026-13"#, "time: no such month"),
        (
            trade(r#","sequence":5"#, r#" "sequence":5"#),
            r#""sequence""#,
            "frame: expected a comma or the closing bracket",
        ),
        (trade(r#""product_id":"BTC-USD","#, ""), "", "product_id: is missing"),
        (trade(r#""price":"1.5","#, ""), "", "price: is missing"),
        (r#"{"type":"l2update","product_id":"BTC-USD"}"#.to_owned(), "", "changes: is missing"),
        (
            r#"{"type":"snapshot","product_id":"BTC-USD","bids":[["1"]],"asks":[]}"#.to_owned(),
            r#"],"asks""#,
            "bids: has too few values",
        ),
        ("[]".to_owned(), "[", "frame: expected an object"),
        (String::new(), "", "frame: expected an object"),
    ] {
        let (mut machine, mut out) = (machine(false), Outbox::new());
        let error = machine.on_frame(frame.as_bytes(), UnixNanos(3), &mut out).expect_err(&frame);
        assert_eq!(format!("{}: {}", error.field, error.problem), says, "{frame}");
        assert!(frame[error.offset..].starts_with(place), "byte {} of {frame}", error.offset);
        assert!(out.records.is_empty());
    }
    let (mut machine, mut out) = (machine(true), Outbox::new());
    let frame = trade("BTC-USD", "BTC-USD");
    let error = machine.on_frame(frame.as_bytes(), UnixNanos(3), &mut out).expect_err("orders need their ids");
    assert_eq!(error.to_string(), "byte 46: maker_order_id: is no UUID");
}
