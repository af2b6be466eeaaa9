//! Alpaca's example frames and REST bodies through the session, judged against a plain reading of the same text by
//! `serde_json`; every frame also as MessagePack, which must tell the same records to the byte.
//!
//! The files are not part of the repository: `ALPHAPULSE_TEST_DATA` names their folder (default `../shared/data` beside
//! the repository); where it is absent each test says that it was skipped. No long capture of the venue was at hand.
#![allow(clippy::unwrap_used)]

mod packing;

use model::{Decimal, UnixNanos, Venue};
use packing::{Stamps, pack};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use venues::{Counts, Credentials, Input, Outbox, Reply, Session, SessionSettings, Settings};
use wire::Envelope;
use wire::json::{Encoder, Line};

const BEGIN: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

/// Frames of the example files that nothing is told of, with the reason. All others are told, or counted as what the
/// venue says of the session.
const UNTOLD: [(&str, usize, &str); 8] = [
    ("ws_copied.jsonl", 15, "changes of a book that never came whole"),
    ("ws_copied.jsonl", 16, "changes of a book that never came whole"),
    ("ws_docs.jsonl", 45, "news"),
    ("ws_docs.jsonl", 47, "an order stream's message"),
    ("ws_docs.jsonl", 49, "an order stream's message"),
    ("ws_docs.jsonl", 50, "an order stream's message"),
    ("ws_docs.jsonl", 51, "an order stream's message"),
    ("ws_docs.jsonl", 52, "an order stream's message"),
];

fn folder(test: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("ALPHAPULSE_TEST_DATA").map_or_else(
        || root.join("../shared/data"),
        |given| {
            let given = PathBuf::from(given);
            if given.is_relative() { root.join(given) } else { given }
        },
    );
    let folder = data.join("venues/alpaca");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED {test}: {} is not there", folder.display());
    None
}

/// One frame by itself through a fresh session: its lines, its words, what was counted.
fn told(frame: &[u8]) -> (Vec<Line>, Vec<u64>, Counts) {
    let machine = venues::machine(Venue::Alpaca, &Settings::default(), &[]).unwrap();
    let (mut session, mut out) = (Session::new(machine, SessionSettings::default()), Outbox::new());
    let bad = session.step(Input::Frame(frame), BEGIN, &mut out);
    assert!(bad.is_none(), "{bad:?}: {}", String::from_utf8_lossy(frame));
    (lines(&out), out.records.words().to_vec(), *session.machine().counts())
}

fn lines(out: &Outbox) -> Vec<Line> {
    let (mut encoder, mut lines) = (Encoder::new(), vec![]);
    for (n, words) in out.records.iter().enumerate() {
        lines.extend(encoder.push(Envelope { epoch: 1, sequence: n as u64 + 1 }, words).unwrap());
    }
    lines
}

/// Whether two texts are the same number; a float's shortest text is what the venue sent.
#[track_caller]
fn same(ours: &str, theirs: &Value, what: &str) {
    let theirs = theirs.to_string();
    let (a, b): (Decimal, Decimal) = (ours.parse().unwrap(), theirs.parse().unwrap());
    assert_eq!(a, b, "{what}: we told {ours}, the frame says {theirs}");
}

#[track_caller]
fn same_time(ours: u64, theirs: &Value) {
    assert_eq!(ours, scan::rfc3339_nanos(theirs.as_str().unwrap().as_bytes()).unwrap().0);
}

fn joined(list: &Value) -> Option<String> {
    let texts: Vec<&str> = list.as_array()?.iter().map(|c| c.as_str().unwrap()).collect();
    Some(texts.join(","))
}

fn canonical(symbol: &Value) -> String {
    symbol.as_str().unwrap().replace('/', "-")
}

/// Every number and text of a message, as told.
fn compare(line: &Line, message: &Value) {
    let m = |key: &str| &message[key];
    match line {
        Line::Trade(t) => {
            assert_eq!((m("T"), &t.symbol), (&json!("t"), &canonical(m("S"))));
            compare_trade(t, message);
        }
        Line::Quote(q) => {
            assert_eq!((m("T"), &q.symbol), (&json!("q"), &canonical(m("S"))));
            for (ours, theirs) in [(&q.bid, "bp"), (&q.bid_size, "bs"), (&q.ask, "ap"), (&q.ask_size, "as")] {
                same(ours.as_ref().unwrap(), m(theirs), theirs);
            }
            same_time(q.ts_event, m("t"));
        }
        Line::Bar(b) => {
            let (interval, closed) = if m("T") == "d" { (86_400, false) } else { (60, true) };
            assert_eq!((b.interval_s, b.closed, &b.symbol), (interval, closed, &canonical(m("S"))));
            for (ours, theirs) in [(&b.open, "o"), (&b.high, "h"), (&b.low, "l"), (&b.close, "c"), (&b.volume, "v")] {
                same(ours, m(theirs), theirs);
            }
            match &b.vwap {
                Some(vwap) => same(vwap, m("vw"), "vw"),
                None => assert!(m("vw").is_null() || m("v") == 0, "an average without trades is none"),
            }
            assert_eq!(b.trades, m("n").as_u64().unwrap_or(0));
            same_time(b.ts_open, m("t"));
        }
        Line::Book(b) => {
            assert_eq!((m("T"), m("r"), b.kind.as_str()), (&json!("o"), &json!(true), "snapshot"));
            for (ours, theirs) in [(&b.bids, "b"), (&b.asks, "a")] {
                let levels = m(theirs).as_array().unwrap();
                assert_eq!(ours.len(), levels.len());
                for (ours, theirs) in ours.iter().zip(levels) {
                    same(&ours[0], &theirs["p"], "p");
                    same(&ours[1], &theirs["s"], "s");
                }
            }
            same_time(b.ts_event, m("t"));
        }
        Line::Status(s) => {
            assert_eq!((s.scope.as_str(), s.state.as_str(), s.reason.as_str()), ("instrument", "halted", "venue"));
            for part in ["sc", "sm", "rc", "rm"] {
                assert!(s.text.contains(m(part).as_str().unwrap()), "{}", s.text);
            }
            same_time(s.ts_event, m("t"));
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn compare_trade(t: &wire::json::TradeLine, message: &Value) {
    let m = |key: &str| &message[key];
    same(&t.price, m("p"), "p");
    same(&t.size, m("s"), "s");
    assert_eq!(t.trade_id.as_deref(), Some(m("i").to_string().as_str()));
    assert_eq!(
        (&t.conditions, t.exchange.as_deref(), t.tape.as_deref()),
        (&joined(m("c")), m("x").as_str(), m("z").as_str())
    );
    let side = match m("tks").as_str() {
        Some("B") => "buy",
        Some("S") => "sell",
        _ => "none",
    };
    assert_eq!(t.side, side);
    same_time(t.ts_event, m("t"));
}

/// The received frames of a file, with their line numbers.
fn received(folder: &Path, name: &str) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(folder.join("examples").join(name)).unwrap();
    let sources = std::fs::read_to_string(folder.join("examples").join(name.replace(".jsonl", ".src.tsv"))).unwrap();
    let sent = |n: usize| sources.lines().nth(n).is_some_and(|row| row.split('\t').nth(1) == Some("sent"));
    text.lines().enumerate().map(|(n, l)| (n + 1, l.to_owned())).filter(|(n, _)| !sent(*n)).collect()
}

#[test]
fn example_frames_are_told_exactly_in_both_encodings() {
    let Some(folder) = folder("example_frames_are_told_exactly_in_both_encodings") else { return };
    let (mut messages, mut controls) = (0, 0);
    for name in ["ws_docs.jsonl", "ws_copied.jsonl"] {
        for (number, frame) in received(&folder, name) {
            let value: Value = serde_json::from_str(&frame).unwrap();
            let (lines, words, counts) = told(frame.as_bytes());
            for stamps in [Stamps::Extension, Stamps::Wide, Stamps::Text] {
                let (_, packed, packed_counts) = told(&pack(&value, stamps));
                assert!(words == packed, "{name} line {number} as MessagePack ({stamps:?}) told other records");
                assert_eq!(Counts { slow_path: 0, ..counts }, Counts { slow_path: 0, ..packed_counts });
            }
            let items: Vec<&Value> = value.as_array().map_or(vec![&value], |list| list.iter().collect());
            // Books' states and definitions stand between; they are not of the venue's numbers.
            let data: Vec<&Line> = lines
                .iter()
                .filter(|l| !matches!(l, Line::Instrument(_)))
                .filter(|l| !matches!(l, Line::Status(s) if s.scope != "instrument"))
                .collect();
            let is_data = items[0]["T"].as_str().is_some_and(|kind| kind.len() == 1);
            if let Some((.., why)) = UNTOLD.iter().find(|(file, line, _)| (*file, *line) == (name, number)) {
                assert!(data.is_empty(), "{name} line {number} is listed as untold ({why}): {data:?}");
            } else if is_data {
                assert_eq!(data.len(), items.len(), "{name} line {number}");
                data.iter().zip(&items).for_each(|(line, message)| compare(line, message));
                messages += items.len();
            } else {
                assert_eq!((data.len(), counts.acks + counts.refusals), (0, 1), "{name} line {number}");
                controls += 1;
            }
            assert_eq!(counts.unknown_fields, 0, "{name} line {number}");
        }
    }
    assert_eq!((messages, controls), (21, 25));
}

/// A machine that listens to one share from `begin` on, was cut off and asks for what it missed: the request's answer is
/// `body`.
fn fetched(symbol: &str, begin: UnixNanos, body: &str) -> (Vec<Line>, Counts) {
    let keys = Credentials { key: "k".to_owned(), secret: "s".to_owned(), passphrase: None };
    let settings = Settings { symbols: vec![symbol.to_owned()], credentials: Some(keys), ..Settings::default() };
    let json = [("encoding".to_owned(), "json".to_owned()), ("statuses".to_owned(), "off".to_owned())];
    let machine = venues::machine(Venue::Alpaca, &settings, &json).unwrap();
    let (mut session, mut out) = (Session::new(machine, SessionSettings::default()), Outbox::new());
    let mut now = begin;
    for _ in 0..2 {
        session.step(Input::Connected, now, &mut out);
        for frame in [
            r#"[{"T":"success","msg":"connected"}]"#.to_owned(),
            r#"[{"T":"success","msg":"authenticated"}]"#.to_owned(),
            format!(r#"[{{"T":"subscription","trades":["{symbol}"]}}]"#),
        ] {
            session.step(Input::Frame(frame.as_bytes()), now, &mut out);
        }
        now = now.after(Duration::from_secs(2));
        session.step(Input::Timer, now, &mut out);
        session.step(Input::Disconnected(model::Reason::Connection, "cut"), now, &mut out);
    }
    // The second connection's fetch was asked for before it was cut; a third one asks again and is answered.
    session.step(Input::Connected, now, &mut out);
    for frame in [
        r#"[{"T":"success","msg":"connected"}]"#.to_owned(),
        r#"[{"T":"success","msg":"authenticated"}]"#.to_owned(),
        format!(r#"[{{"T":"subscription","trades":["{symbol}"]}}]"#),
    ] {
        session.step(Input::Frame(frame.as_bytes()), now, &mut out);
    }
    now = now.after(Duration::from_secs(2));
    session.step(Input::Timer, now, &mut out);
    let request = out.requests.last().expect("missed trades are asked for").clone();
    assert!(request.path.starts_with(&format!("/v2/stocks/trades?symbols={symbol}&start=20")), "{request:?}");
    let mark = lines(&out).len();
    let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
    session.step(Input::Response(request.id, reply), now, &mut out);
    (lines(&out).split_off(mark), *session.machine().counts())
}

#[test]
fn rest_trades_are_told_late_and_exactly() {
    let Some(folder) = folder("rest_trades_are_told_late_and_exactly") else { return };
    let mut trades: Vec<(String, Value)> = vec![];
    let docs = std::fs::read_to_string(folder.join("examples/rest_docs.jsonl")).unwrap();
    let recorded = std::fs::read_to_string(folder.join("rest/market_data_2021.http.jsonl")).unwrap();
    let bodies = recorded.lines().map(|line| {
        let exchange: Value = serde_json::from_str(line).unwrap();
        exchange["body"].as_str().unwrap().to_owned()
    });
    for body in docs.lines().map(str::to_owned).chain(bodies) {
        let body: Value = serde_json::from_str(&body).unwrap();
        // A list by symbol is what the machine asks for; other answers hold the same trades elsewhere.
        for (symbol, own) in body["trades"].as_object().into_iter().flatten() {
            match own {
                Value::Array(list) => trades.extend(list.iter().map(|t| (symbol.clone(), t.clone()))),
                one => trades.push((symbol.clone(), one.clone())),
            }
        }
        let symbol = body["symbol"].as_str().unwrap_or_default().to_owned();
        trades.extend(body["trades"].as_array().into_iter().flatten().map(|t| (symbol.clone(), t.clone())));
        if body["trade"].is_object() {
            trades.push((symbol, body["trade"].clone()));
        }
    }
    for (symbol, trade) in &trades {
        let body = json!({"trades": {symbol: [trade, trade]}, "next_page_token": null}).to_string();
        let (time, _) = scan::rfc3339_nanos(trade["t"].as_str().expect("a time").as_bytes()).expect("a time");
        // Half a second after the connection that is cut opened.
        let (lines, counts) = fetched(symbol, UnixNanos(time - 500_000_000), &body);
        let told: Vec<_> = lines.iter().filter_map(|l| if let Line::Trade(t) = l { Some(t) } else { None }).collect();
        // Both cuts are told as gaps at once; what is fetched of them is told late.
        assert_eq!((told.len(), counts.trades_repeated, counts.gaps), (1, 1, 2), "{body}");
        assert!(told[0].late);
        compare_trade(told[0], trade);
    }
    assert!(trades.len() >= 10, "{} trades", trades.len());
}
