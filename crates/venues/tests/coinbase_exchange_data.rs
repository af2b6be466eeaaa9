//! Coinbase Exchange's recorded channels through the session, against the counts of the data's own README, and the
//! numbers of the frames as another JSON reader sees them.
#![allow(clippy::unwrap_used)]

use model::{Decimal, UnixNanos, Venue};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use venues::{Counts, Input, Outbox, Reply, Session, SessionSettings, Settings};
use wire::json::{BookLine, Encoder, Line};
use wire::{Envelope, Origin};

/// Frames that cannot be read: file, line, reason. All can.
const REJECTS: [(&str, usize, &str); 0] = [];

/// Where a folder of the shared data is; `None`, said aloud, when it is not there.
fn folder(test: &str, name: &str) -> Option<PathBuf> {
    let root = std::env::var("ALPHAPULSE_TEST_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = root.join("venues/coinbase").join(name);
    if !path.is_dir() {
        println!("SKIPPED {test}: {} is not there", path.display());
        return None;
    }
    println!("{test}: {}", path.display());
    Some(path)
}

/// What each frame told, and all of it counted.
struct Decoded {
    told: Vec<Vec<Line>>,
    counts: Counts,
}

fn decode(file: &Path) -> (Vec<Value>, Decoded) {
    let text = std::fs::read_to_string(file).unwrap();
    let machine = venues::machine(Venue::Coinbase, &Settings::default(), &[]).unwrap();
    let (mut session, mut out) = (Session::new(machine, SessionSettings::default()), Outbox::new());
    let (mut encoder, mut told, mut sequence) = (Encoder::new(), vec![], 0);
    let start = Input::Start { epoch: 1, pid: 1, origin: Origin::Live, site: "test", build: "test" };
    session.step(start, UnixNanos(1), &mut out);
    out.clear();
    let name = file.file_name().unwrap().to_str().unwrap();
    for (n, frame) in text.lines().enumerate() {
        let now = UnixNanos(2_000_000_000_000_000_000 + n as u64);
        let bad = session.step(Input::Frame(frame.as_bytes()), now, &mut out);
        let expected = REJECTS.iter().find(|(file, line, _)| *file == name && *line == n + 1);
        assert_eq!(bad.map(|b| b.error.to_string()).as_deref(), expected.map(|r| r.2), "{name} line {}", n + 1);
        let mut lines = vec![];
        for words in &out.records {
            sequence += 1;
            lines.extend(encoder.push(Envelope { epoch: 1, sequence }, words).unwrap());
        }
        told.push(lines);
        out.clear();
    }
    let frames = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    (frames, Decoded { told, counts: *session.machine().counts() })
}

fn number(v: &Value) -> Decimal {
    v.as_str().unwrap().parse().unwrap()
}

fn nanos(v: &Value) -> u64 {
    scan::rfc3339_nanos(v.as_str().unwrap().as_bytes()).unwrap().0
}

fn levels(told: &[[String; 2]]) -> Vec<(Decimal, Decimal)> {
    told.iter().map(|[price, size]| (price.parse().unwrap(), size.parse().unwrap())).collect()
}

/// A book kept from the lines alone.
#[derive(Default)]
struct Plain {
    bids: BTreeMap<i64, Decimal>,
    asks: BTreeMap<i64, Decimal>,
}

impl Plain {
    fn apply(&mut self, line: &BookLine) {
        if line.kind == "snapshot" {
            *self = Plain::default();
        }
        for (own, told) in [(&mut self.bids, &line.bids), (&mut self.asks, &line.asks)] {
            for (price, size) in levels(told) {
                match size.mantissa {
                    0 => own.remove(&price.at_scale(8).unwrap()),
                    _ => own.insert(price.at_scale(8).unwrap(), size),
                };
            }
        }
        let (bid, ask) = (self.bids.last_key_value(), self.asks.first_key_value());
        assert!(!matches!((bid, ask), (Some((b, _)), Some((a, _))) if b >= a), "{} is crossed", line.symbol);
    }
}

/// What one frame must have told, by its own words.
fn check_frame(frame: &Value, told: &[Line], books: &mut HashMap<String, Plain>, capped: usize) {
    let symbol = frame["product_id"].as_str().unwrap_or_default();
    let books_told: Vec<&BookLine> =
        told.iter().filter_map(|l| if let Line::Book(b) = l { Some(b) } else { None }).collect();
    match frame["type"].as_str().unwrap() {
        "match" | "last_match" => {
            let trades: Vec<_> =
                told.iter().filter_map(|l| if let Line::Trade(t) = l { Some(t) } else { None }).collect();
            let [t] = trades[..] else { panic!("{told:?}") };
            assert_eq!(t.symbol, symbol);
            assert_eq!(t.price.parse::<Decimal>().unwrap(), number(&frame["price"]));
            assert_eq!(t.size.parse::<Decimal>().unwrap(), number(&frame["size"]));
            let taker = if frame["side"] == "buy" { "sell" } else { "buy" };
            assert_eq!((t.side.as_str(), t.side_source.as_str()), (taker, "inverted_maker"));
            assert_eq!(t.trade_id, Some(frame["trade_id"].to_string()));
            assert_eq!(t.ts_event, nanos(&frame["time"]));
            assert_eq!(t.late, frame["type"] == "last_match");
        }
        "snapshot" => {
            let [b] = books_told[..] else { panic!("{told:?}") };
            assert_eq!((b.kind.as_str(), b.symbol.as_str()), ("snapshot", symbol));
            for (side, told) in [("bids", &b.bids), ("asks", &b.asks)] {
                let rows = frame[side].as_array().unwrap();
                let sent: Vec<_> = rows.iter().map(|r| (number(&r[0]), number(&r[1]))).take(capped).collect();
                assert_eq!(levels(told), sent, "{symbol} {side}");
            }
            books.entry(symbol.to_owned()).or_default().apply(b);
        }
        "l2update" => {
            let [b] = books_told[..] else { panic!("{told:?}") };
            assert_eq!((b.kind.as_str(), b.symbol.as_str(), b.ts_event), ("update", symbol, nanos(&frame["time"])));
            for (side, told) in [("buy", &b.bids), ("sell", &b.asks)] {
                let rows = frame["changes"].as_array().unwrap().iter().filter(|r| r[0] == side);
                let sent: Vec<_> = rows.map(|r| (number(&r[1]), number(&r[2]))).collect();
                assert_eq!(levels(told), sent, "{symbol} {side}");
            }
            if b.trusted {
                books.get_mut(symbol).unwrap().apply(b);
            }
        }
        "ticker" => {
            let quotes: Vec<_> =
                told.iter().filter_map(|l| if let Line::Quote(q) = l { Some(q) } else { None }).collect();
            let [q] = quotes[..] else { panic!("{told:?}") };
            let own = |v: &Option<String>| v.as_deref().map(|v| v.parse::<Decimal>().unwrap());
            assert_eq!(own(&q.bid), Some(number(&frame["best_bid"])));
            assert_eq!(own(&q.ask), Some(number(&frame["best_ask"])));
            for (told, sent) in [(&q.bid_size, "best_bid_size"), (&q.ask_size, "best_ask_size")] {
                let sent = frame.get(sent).map_or(Decimal::default(), number);
                assert_eq!(own(told), Some(sent));
            }
            assert_eq!((q.symbol.as_str(), q.ts_event), (symbol, nanos(&frame["time"])));
        }
        kind @ ("received" | "open" | "done") => {
            let orders: Vec<_> =
                told.iter().filter_map(|l| if let Line::Order(o) = l { Some(o) } else { None }).collect();
            let [o] = orders[..] else { panic!("{told:?}") };
            let o = serde_json::to_value(o).unwrap();
            let action = match kind {
                "done" if frame["reason"] == "filled" => "filled",
                "done" => "canceled",
                other => other,
            };
            assert_eq!(
                (&o["action"], &o["symbol"], &o["side"]),
                (&action.into(), &frame["product_id"], &frame["side"])
            );
            assert_eq!(o["order_id"], frame["order_id"]);
            assert_eq!(number(&o["price"]), number(&frame["price"]));
            let size = if kind == "received" { &frame["size"] } else { &frame["remaining_size"] };
            assert_eq!(number(&o["size"]), number(size));
            assert_eq!(o["venue_seq"], frame["sequence"]);
            assert_eq!(o["ts_event"], nanos(&frame["time"]));
        }
        "heartbeat" | "subscriptions" => assert!(books_told.is_empty()),
        other => panic!("{other} is not checked"),
    }
}

/// The venue's own counters, as the data's README says they behave.
fn check_counters(frames: &[Value], d: &Decoded) {
    let (mut ids, mut sequences) = (HashMap::new(), HashMap::new());
    for f in frames.iter().filter(|f| f["type"] == "match" || f["type"] == "last_match") {
        let symbol = f["product_id"].as_str().unwrap().to_owned();
        let (id, sequence) = (f["trade_id"].as_u64().unwrap(), f["sequence"].as_u64().unwrap());
        assert!(ids.insert(symbol.clone(), id).is_none_or(|last| last + 1 == id), "{symbol}: ids are contiguous");
        assert!(sequences.insert(symbol, sequence).is_none_or(|last| last <= sequence), "sequences rise");
    }
    let gaps = d.told.iter().flatten().filter(|l| matches!(l, Line::Gap(_))).count();
    assert_eq!((gaps, d.counts.gaps, d.counts.sequences_back, d.counts.trades_repeated), (0, 0, 0, 0));
}

fn check_file(file: &Path) -> (Vec<Value>, Decoded) {
    let (frames, d) = decode(file);
    let mut books = HashMap::new();
    for (frame, told) in frames.iter().zip(&d.told) {
        check_frame(frame, told, &mut books, Settings::default().snapshot_depth as usize);
    }
    assert_eq!(d.counts.frames as usize, frames.len());
    (frames, d)
}

#[test]
fn level2_ticker_matches() {
    let Some(folder) = folder("level2_ticker_matches", "exchange_ws") else { return };
    let (frames, d) = check_file(&folder.join("level2_ticker_matches_20210417.jsonl"));
    let c = d.counts;
    assert_eq!((c.book_updates, c.quotes, c.trades, c.book_snapshots, c.acks), (5830, 79, 73 + 6, 6, 3));
    assert_eq!((c.malformed, c.unknown_types, c.unknown_fields, c.crossed, c.book_updates_old), (0, 0, 0, 0, 0));
    check_counters(&frames, &d);
    let last: Vec<&str> = d
        .told
        .iter()
        .flatten()
        .filter_map(|l| match l {
            Line::Status(s) if s.scope == "book" => Some(s.state.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(last, ["live"; 6], "each book went live once and stayed so");
}

#[test]
fn matches() {
    let Some(folder) = folder("matches", "exchange_ws") else { return };
    let (frames, d) = check_file(&folder.join("matches_btc_eth_ltc_20250822.jsonl"));
    let c = d.counts;
    assert_eq!((c.trades, c.malformed, c.unknown_types, c.unknown_fields), (268, 0, 0, 0));
    check_counters(&frames, &d);
}

#[test]
fn full_and_heartbeat() {
    let Some(folder) = folder("full_and_heartbeat", "exchange_ws") else { return };
    let (_, d) = check_file(&folder.join("full_heartbeat_20170625.jsonl"));
    let c = d.counts;
    assert_eq!((c.orders, c.heartbeats, c.malformed, c.unknown_fields), (5 + 4 + 3, 1, 0, 0));
    // Two products, whose first message follows nothing.
    assert_eq!((c.sequences_ok, c.gaps), (12 - 2, 0));
}

#[test]
fn single_frames() {
    let Some(folder) = folder("single_frames", "examples") else { return };
    let (_, d) = check_file(&folder.join("exchange_ws_single_frames.jsonl"));
    let c = d.counts;
    // The change is of another day than the snapshot, which was cut to three levels, and leaves its book crossed. An
    // order after it belongs to no book that is kept.
    assert_eq!((c.trades, c.book_snapshots, c.book_updates, c.orders, c.quotes, c.crossed), (1, 1, 1, 1, 1, 1));
    assert_eq!((c.malformed, c.unknown_fields), (0, 0));
}

/// The recorded list of products, each field compared.
#[test]
fn products() {
    let Some(folder) = folder("products", "rest") else { return };
    let text = std::fs::read_to_string(folder.join("exchange_products_20210417.http.jsonl")).unwrap();
    let exchange: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let body = exchange["body"].as_str().unwrap();
    let products: Vec<Value> = serde_json::from_str(body).unwrap();
    let symbols = products.iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    let settings = Settings { symbols, ..Settings::default() };
    let mut machine = venues::machine(Venue::Coinbase, &settings, &[]).unwrap();
    let mut out = Outbox::new();
    machine.on_connected(UnixNanos(1), &mut out);
    let request = out.requests[0].clone();
    assert_eq!(request.path, "/products");
    let reply = Reply::Http { status: 200, body: body.as_bytes(), retry_after: None };
    machine.on_response(request.id, reply, UnixNanos(2), &mut out);
    assert_eq!((machine.instruments().len(), machine.counts().refusals), (162, 0));
    for p in &products {
        let k = machine.instruments().find(p["id"].as_str().unwrap().as_bytes()).unwrap();
        let i = machine.instruments().get(k);
        let decimal = |mantissa: i64, scale| Decimal::new(mantissa.into(), scale);
        assert_eq!(i.symbol, p["id"].as_str().unwrap());
        assert_eq!(
            (&*i.base, &*i.quote),
            (p["base_currency"].as_str().unwrap(), p["quote_currency"].as_str().unwrap())
        );
        assert_eq!(decimal(i.tick.0, i.price_scale), number(&p["quote_increment"]));
        assert_eq!(decimal(i.lot.0, i.size_scale), number(&p["base_increment"]));
        assert_eq!(decimal(i.min_size.0, i.size_scale), number(&p["base_min_size"]));
        assert_eq!(i.min_notional, Some(number(&p["min_market_funds"])));
        let limits = ["post_only", "limit_only", "cancel_only"].iter().any(|f| p[f] == true);
        let status = match (p["status"].as_str().unwrap(), p["trading_disabled"] == true, limits) {
            ("online", true, _) => "halted",
            ("online", false, true) => "restricted",
            ("online", false, false) => "trading",
            ("delisted", ..) => "delisted",
            _ => "halted",
        };
        assert_eq!(i.status.name(), status, "{}", i.symbol);
    }
}
