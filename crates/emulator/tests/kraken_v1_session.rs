//! A client of Kraken's older protocol against a generated session: acks, arrays, checksums of the texts as sent.

mod common;

use std::collections::BTreeMap;

use common::{connect, get, next, next_text, say};
use emulator::{BookPace, EmulatedVenue, Fault, GeneratedSession, Handle, Options, Rate, Server, Session, Target};
use model::StreamKind;
use serde_json::{Value, json};

fn server(book_pace: BookPace) -> Handle {
    let session = GeneratedSession { seed: 24, levels: 60, book_pace, ..GeneratedSession::default() };
    let options = Options {
        session: Session::Generated(session),
        rate: Rate::FramesPerSecond(10_000),
        ..Options::new(EmulatedVenue::Kraken)
    };
    Server::start(options).expect("a server")
}

/// A book of texts: price and size digits as the checksum takes them, by padded price.
#[derive(Default)]
struct Texts {
    asks: BTreeMap<String, (String, String)>,
    bids: BTreeMap<String, (String, String)>,
    /// Levels that were told again, marked so.
    again: usize,
}

fn digits(text: &str) -> String {
    text.replace('.', "").trim_start_matches('0').to_owned()
}

impl Texts {
    /// Applies one element of a frame; gives the checksum if it has one.
    fn apply(&mut self, element: &Value) -> Option<u32> {
        for (name, list) in element.as_object().expect("an element") {
            let Some(levels) = list.as_array() else { continue };
            let side = if name.starts_with('a') { &mut self.asks } else { &mut self.bids };
            if name.len() == 2 {
                side.clear();
            }
            for level in levels {
                let of = |at: usize| level[at].as_str().expect("text");
                assert!(of(0).split_once('.').is_some_and(|(_, decimals)| decimals.len() >= 5), "{level}");
                let key = format!("{:0>20}", of(0).replace('.', ""));
                if level.as_array().is_some_and(|level| level.len() > 3) {
                    // It comes into the depth again, as old as it is.
                    assert!(of(3) == "r" && !side.contains_key(&key), "{level} is held: {element}");
                    assert!(levels.iter().all(|other| other[3] == "r" || of(2) <= other[2].as_str().expect("text")));
                    self.again += 1;
                }
                match digits(of(1)).is_empty() {
                    true => assert!(side.remove(&key).is_some(), "never sent: {level}"),
                    false => drop(side.insert(key, (digits(of(0)), digits(of(1))))),
                }
            }
        }
        element["c"].as_str().map(|c| c.parse().expect("a number"))
    }

    fn truncate(&mut self, depth: usize) {
        while self.asks.len() > depth {
            self.asks.pop_last();
        }
        while self.bids.len() > depth {
            self.bids.pop_first();
        }
    }

    fn crc(&self) -> u32 {
        let mut text = String::new();
        let best = self.asks.values().take(10).chain(self.bids.values().rev().take(10));
        best.for_each(|(price, size)| text.push_str(&format!("{price}{size}")));
        crc32fast::hash(text.as_bytes())
    }
}

fn book_request(depth: usize) -> String {
    json!({"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "book", "depth": depth}}).to_string()
}

#[test]
fn every_checksum_of_every_depth_verifies() {
    for (pace, depth) in
        [(BookPace::Venue, 10), (BookPace::Venue, 100), (BookPace::Batched, 25), (BookPace::Batched, 1000)]
    {
        let server = server(pace);
        let mut client = connect(server.addr(), "/");
        let greeting = next(&mut client);
        assert_eq!((&greeting["event"], &greeting["status"]), (&json!("systemStatus"), &json!("online")));
        say(&mut client, &book_request(depth));
        let ack = next(&mut client);
        let name = format!("book-{depth}");
        assert_eq!(
            (&ack["status"], &ack["channelName"], &ack["pair"]),
            (&json!("subscribed"), &json!(name), &json!("XBT/USD"))
        );
        assert_eq!(ack["subscription"], json!({"name": "book", "depth": depth}));
        let (mut book, mut both_sides) = (Texts::default(), 0);
        let snapshot = next(&mut client);
        assert_eq!((&snapshot[0], &snapshot[2], &snapshot[3]), (&ack["channelID"], &json!(name), &json!("XBT/USD")));
        assert_eq!(book.apply(&snapshot[1]), None);
        for _ in 0..1500 {
            let frame = next(&mut client);
            let Some(list) = frame.as_array() else { continue };
            let elements = &list[1..list.len() - 2];
            let mut told = None;
            for (index, element) in elements.iter().enumerate() {
                told = book.apply(element);
                assert_eq!(told.is_some(), index + 1 == elements.len(), "{frame}");
            }
            both_sides += usize::from(elements.len() == 2);
            book.truncate(depth);
            assert_eq!(told, Some(book.crc()), "depth {depth}: {frame}");
        }
        assert!(pace == BookPace::Venue || both_sides > 10, "{both_sides}");
        // Nothing lies behind the depth of the whole book.
        assert_eq!(depth < 60, book.again > 0, "{} levels came again at depth {depth}", book.again);
    }
}

#[test]
fn trades_spreads_tickers_and_bars_come_as_arrays() {
    let server = server(BookPace::Venue);
    let mut client = connect(server.addr(), "/");
    next(&mut client);
    for name in ["trade", "spread", "ticker", "ohlc"] {
        say(
            &mut client,
            &json!({"event": "subscribe", "pair": ["ETH/USD"], "subscription": {"name": name}, "reqid": 7}).to_string(),
        );
    }
    let (mut seen, mut last_trade) = (BTreeMap::<String, u32>::new(), String::new());
    while ["trade", "spread", "ticker", "ohlc-1"].iter().any(|name| seen.get(*name).is_none_or(|count| *count < 50)) {
        let frame = next(&mut client);
        let Some(list) = frame.as_array() else {
            assert_eq!((&frame["status"], &frame["reqid"]), (&json!("subscribed"), &json!(7)), "{frame}");
            continue;
        };
        let [_, payload, Value::String(name), Value::String(pair)] = list.as_slice() else { panic!("{frame}") };
        assert_eq!(pair, "ETH/USD");
        if last_trade.is_empty() && name != "trade" {
            // What a subscriber is told first may be older than any trade.
            continue;
        }
        match name.as_str() {
            "trade" => {
                for trade in payload.as_array().expect("trades") {
                    assert_eq!(trade.as_array().map(Vec::len), Some(6), "{trade}");
                    assert!(["b", "s"].contains(&trade[3].as_str().expect("a side")));
                    last_trade = trade[0].as_str().expect("a price").to_owned();
                }
            }
            "spread" => {
                assert!(payload.as_array().map(Vec::len) == Some(5) && payload[0].as_str() < payload[1].as_str())
            }
            "ticker" => assert_eq!(payload["c"][0].as_str(), Some(last_trade.as_str())),
            "ohlc-1" => assert_eq!(
                (payload.as_array().map(Vec::len), payload[5].as_str()),
                (Some(9), Some(last_trade.as_str()))
            ),
            other => panic!("{other}"),
        }
        *seen.entry(name.clone()).or_default() += 1;
    }
}

#[test]
fn errors_are_told_and_both_protocols_share_the_market() {
    let server = server(BookPace::Venue);
    let mut client = connect(server.addr(), "/");
    next(&mut client);
    for (request, error) in [
        (
            r#"{"event":"subscribe","pair":["XX/YY"],"subscription":{"name":"trade"}}"#,
            "Currency pair not supported XX/YY",
        ),
        (
            r#"{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"book","depth":11}}"#,
            "Subscription depth not supported",
        ),
        (r#"{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"dreams"}}"#, "Subscription name invalid"),
        (r#"{"event":"unsubscribe","pair":["XBT/USD"],"subscription":{"name":"trade"}}"#, "Subscription Not Found"),
    ] {
        say(&mut client, request);
        let answer = next(&mut client);
        assert_eq!((&answer["status"], &answer["errorMessage"]), (&json!("error"), &json!(error)), "{answer}");
    }
    say(&mut client, r#"{"event":"ping","reqid":3}"#);
    assert_eq!(next(&mut client), json!({"event": "pong", "reqid": 3}));
    say(&mut client, &book_request(10));
    next(&mut client);
    let mut book = Texts::default();
    book.apply(&next(&mut client)[1]);
    server.inject(Fault::Lose(Target::of(StreamKind::Book, "BTC/USD"), 1));
    let broken = (0..5000).any(|_| {
        let frame = next(&mut client);
        let Some(list) = frame.as_array() else { return false };
        let mut told = None;
        for element in &list[1..list.len() - 2] {
            for (name, levels) in element.as_object().expect("an element") {
                // A level that was lost may be deleted now.
                let Some(levels) = levels.as_array() else { continue };
                let side = if name == "a" { &mut book.asks } else { &mut book.bids };
                for level in levels {
                    let of = |at: usize| level[at].as_str().expect("text");
                    let key = format!("{:0>20}", of(0).replace('.', ""));
                    side.remove(&key);
                    if !digits(of(1)).is_empty() {
                        side.insert(key, (digits(of(0)), digits(of(1))));
                    }
                }
            }
            told = element["c"].as_str().and_then(|c| c.parse::<u32>().ok());
        }
        book.truncate(10);
        told != Some(book.crc())
    });
    assert!(broken, "a lost update left every checksum right");
    let mut modern = connect(server.addr(), "/v2");
    assert_eq!(next(&mut modern)["channel"], "status");
    say(&mut modern, r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}"#);
    while !next_text(&mut modern).contains("\"channel\":\"trade\",\"type\":\"update\"") {}
    let body = get(server.addr(), "/0/public/Trades?pair=XBTUSD&count=5").2;
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let list = answer["result"]["XXBTZUSD"].as_array().expect("trades");
    let ids: Vec<u64> = list.iter().map(|trade| trade[6].as_u64().expect("an id")).collect();
    assert!(!ids.is_empty() && ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{body}");
    let first: Value =
        serde_json::from_str(&get(server.addr(), "/0/public/Trades?pair=XBTUSD&since=0&count=1").2).expect("JSON");
    let since = first["result"]["last"].as_str().expect("a time").to_owned();
    let second = get(server.addr(), &format!("/0/public/Trades?pair=XBTUSD&since={since}&count=1")).2;
    let second: Value = serde_json::from_str(&second).expect("JSON");
    let id = |answer: &Value| answer["result"]["XXBTZUSD"][0][6].as_u64().expect("an id");
    assert_eq!(id(&second), id(&first) + 1);
}
