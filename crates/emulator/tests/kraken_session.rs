//! A Kraken client's whole way against a generated session: status, acks, snapshots, checksums, errors.

mod common;

use std::time::Duration;

use common::{TextBook, connect, get, next, next_text, say};
use emulator::{BookPace, EmulatedVenue, Fault, GeneratedSession, Options, Rate, Server, Session, Target};
use model::StreamKind;
use serde_json::Value;

fn options(book_pace: BookPace) -> Options {
    let session = GeneratedSession { seed: 7, book_pace, levels: 60, ..GeneratedSession::default() };
    Options {
        session: Session::Generated(session),
        rate: Rate::FramesPerSecond(20_000),
        ..Options::new(EmulatedVenue::Kraken)
    }
}

#[test]
fn every_checksum_of_every_depth_verifies() {
    for book_pace in [BookPace::Venue, BookPace::Batched] {
        let server = Server::start(options(book_pace)).expect("a server");
        let depths = [10, 25, 100, 1000];
        for depth in depths {
            let mut client = connect(server.addr(), "/v2");
            assert_eq!(next(&mut client)["channel"], "status");
            say(
                &mut client,
                &format!(
                    r#"{{"method":"subscribe","params":{{"channel":"book","symbol":["BTC/USD"],"depth":{depth}}},"req_id":9}}"#
                ),
            );
            let ack = next(&mut client);
            assert_eq!(ack["success"], true, "{ack}");
            assert_eq!(ack["result"]["depth"], depth, "{ack}");
            assert_eq!(ack["req_id"], 9);
            let mut book = TextBook::new(depth);
            let mut updates = 0;
            while updates < 1000 {
                let text = next_text(&mut client);
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["channel"] == "heartbeat" {
                    continue;
                }
                assert_eq!(frame["type"], if updates == 0 && book.len() == (0, 0) { "snapshot" } else { "update" });
                book.apply(&text);
                assert_eq!(frame["data"][0]["checksum"], book.crc(), "depth {depth} update {updates}: {text}");
                for side in ["bids", "asks"] {
                    let levels = frame["data"][0][side].as_array().expect("levels");
                    let mut behind = levels.iter().skip_while(|level| level["qty"] == 0.0);
                    // As in every capture: a reader may cut its book to the depth after each level.
                    assert!(behind.all(|level| level["qty"] != 0.0), "a level is taken out late: {text}");
                }
                updates += i32::from(frame["type"] == "update");
            }
            assert!(book.len().0 <= depth && book.len().1 <= depth);
        }
    }
}

#[test]
fn trades_book_and_ticker_agree() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/v2");
    for (channel, more) in [("trade", ",\"snapshot\":true"), ("ticker", ",\"event_trigger\":\"bbo\""), ("book", "")] {
        say(
            &mut client,
            &format!(r#"{{"method":"subscribe","params":{{"channel":"{channel}","symbol":["ETH/USD"]{more}}}}}"#),
        );
    }
    let (mut last_id, mut trades, mut tickers) = (None, 0, 0);
    let mut book = TextBook::new(10);
    while trades < 300 || tickers < 300 {
        let text = next_text(&mut client);
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        match frame["channel"].as_str() {
            Some("trade") => {
                for trade in frame["data"].as_array().expect("trades") {
                    let id = trade["trade_id"].as_u64().expect("an id");
                    assert!(last_id.is_none_or(|last| id == last + 1), "{id} follows {last_id:?}");
                    last_id = Some(id);
                    trades += 1;
                }
            }
            Some("book") => book.apply(&text),
            Some("ticker") if book.len() != (0, 0) && frame["type"] == "update" => {
                let (bid, ask) = (&frame["data"][0]["bid"], &frame["data"][0]["ask"]);
                assert!(bid.as_f64() < ask.as_f64());
                assert_eq!(book.best(), (digits(&text, "\"bid\":"), digits(&text, "\"ask\":")), "{text}");
                tickers += 1;
            }
            _ => {}
        }
    }
}

fn digits(text: &str, name: &str) -> String {
    let from = text.find(name).expect("the field") + name.len();
    text[from..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').filter(|c| *c != '.').collect()
}

#[test]
fn errors_are_acks_and_close_nothing() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/v2");
    next(&mut client);
    for (request, error) in [
        (
            r#"{"method":"subscribe","params":{"channel":"trade","symbol":["XX/YY"]},"req_id":1}"#,
            "Currency pair not supported XX/YY",
        ),
        (
            r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":11}}"#,
            "Subscription depth not supported",
        ),
        (
            r#"{"method":"subscribe","params":{"channel":"ohlc","symbol":["BTC/USD"],"interval":2}}"#,
            "Subscription ohlc interval not supported",
        ),
        (r#"{"method":"dance"}"#, "Unsupported event"),
        (r#"{"method":"unsubscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}"#, "Subscription Not Found"),
        ("{", "Invalid JSON"),
    ] {
        say(&mut client, request);
        let answer = next(&mut client);
        assert_eq!((&answer["success"], &answer["error"]), (&Value::Bool(false), &Value::from(error)), "{request}");
    }
    say(&mut client, r#"{"method":"ping","req_id":5}"#);
    let pong = next(&mut client);
    assert_eq!((&pong["method"], &pong["req_id"]), (&"pong".into(), &5.into()));
    // One bad symbol among good ones: one ack each.
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"trade","symbol":["NO/PE","SOL/USD"]},"req_id":2}"#);
    assert_eq!(next(&mut client)["success"], false);
    assert_eq!(next(&mut client)["success"], true);
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"instrument"}}"#);
    let snapshot = loop {
        let frame = next(&mut client);
        if frame["channel"] == "instrument" {
            break frame;
        }
    };
    assert_eq!(snapshot["data"]["pairs"][0]["symbol"], "BTC/USD");
    assert_eq!(snapshot["data"]["pairs"][0]["price_precision"], 1);
}

#[test]
fn silence_is_filled_with_heartbeats_and_ends_without_subscription() {
    let mut options = options(BookPace::Venue);
    options.limits.heartbeat = Duration::from_millis(20);
    options.limits.idle = Duration::from_millis(300);
    let server = Server::start(options).expect("a server");
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"instrument"}}"#);
    let beats = (0..8).filter(|_| next(&mut client)["channel"] == "heartbeat").count();
    assert!(beats >= 5, "{beats} heartbeats among eight frames");
    let mut idle = connect(server.addr(), "/v2");
    next(&mut idle);
    assert!(matches!(idle.read(), Ok(tungstenite::Message::Close(Some(_)))));
}

#[test]
fn rest_answers_in_kraken_s_envelope() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let body = |target: &str| -> Value {
        let (status, head, body) = get(server.addr(), target);
        assert_eq!(status, 200);
        assert!(head.contains("Server: alphapulse-emulator"), "{head}");
        serde_json::from_str(&body).expect("JSON")
    };
    let pairs = body("/0/public/AssetPairs");
    assert_eq!(pairs["result"]["XXBTZUSD"]["wsname"], "XBT/USD");
    assert_eq!(pairs["result"]["SOLUSD"]["pair_decimals"], 2);
    assert_eq!(
        body("/0/public/Depth?pair=XBTUSD&count=5")["result"]["XXBTZUSD"]["asks"].as_array().map(Vec::len),
        Some(5)
    );
    assert!(body("/0/public/Time")["result"]["unixtime"].is_u64());
    assert_eq!(body("/0/public/SystemStatus")["result"]["status"], "online");
    assert_eq!(body("/0/public/Depth?pair=NOPE")["error"][0], "EQuery:Unknown asset pair");
    assert_eq!(body("/0/public/Nothing")["error"][0], "EGeneral:Unknown method");
}

#[test]
fn every_trade_of_the_stream_is_served_by_rest_page_by_page() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}"#);
    let mut told: Vec<(u64, String)> = vec![];
    while told.len() < 25 {
        let frame = next(&mut client);
        for t in frame["data"].as_array().filter(|_| frame["channel"] == "trade").into_iter().flatten() {
            told.push((t["trade_id"].as_u64().expect("an id"), t["side"].as_str().expect("a side")[..1].to_owned()));
        }
    }
    let mut fetched: Vec<(u64, String)> = vec![];
    let mut since = "0".to_owned();
    while fetched.len() < told.len() {
        let (_, _, body) = get(server.addr(), &format!("/0/public/Trades?pair=XBTUSD&since={since}&count=10"));
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let rows = body["result"]["XXBTZUSD"].as_array().expect("trades");
        assert!((1..=10).contains(&rows.len()));
        fetched.extend(rows.iter().map(|r| (r[6].as_u64().expect("an id"), r[3].as_str().expect("a side").to_owned())));
        since = body["result"]["last"].as_str().expect("where to go on").to_owned();
    }
    let first = fetched.iter().position(|f| f.0 == told[0].0).expect("the first of the stream");
    assert_eq!(
        fetched[first..][..told.len().min(fetched.len() - first)],
        told[..(fetched.len() - first).min(told.len())]
    );
    assert!(fetched.windows(2).all(|w| w[1].0 == w[0].0 + 1), "each once and none left out");
    let (_, _, body) = get(server.addr(), "/0/public/Trades?pair=XBTUSD&count=1001");
    assert!(body.contains("Invalid arguments:count"), "{body}");
}

#[test]
fn a_lost_update_breaks_the_checksum_and_a_corrupt_level_does_too() {
    for fault in [
        Fault::Lose(Target::of(StreamKind::Book, "BTC/USD"), 1),
        Fault::Corrupt(Target::of(StreamKind::Book, "BTC/USD")),
    ] {
        let server = Server::start(options(BookPace::Venue)).expect("a server");
        let mut client = connect(server.addr(), "/v2");
        say(&mut client, r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}"#);
        let mut book = TextBook::new(10);
        let mut injected = false;
        let mismatch = (0..5000).any(|_| {
            let text = next_text(&mut client);
            if !text.contains("\"channel\":\"book\",") {
                return false;
            }
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["method"].is_string() {
                return false;
            }
            if !injected {
                server.inject(fault.clone());
                injected = true;
            }
            // A level whose adding was lost may be deleted later: that is a mismatch too.
            let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| book.apply(&text)));
            applied.is_err() || frame["data"][0]["checksum"] != book.crc()
        });
        assert!(mismatch, "{fault:?} went unnoticed");
        assert!(server.stats().faults >= 1);
    }
}
