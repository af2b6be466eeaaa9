//! A client of Advanced Trade against a generated session: the connection's numbers, snapshots, batches, REST.

mod common;

use std::collections::BTreeMap;

use common::{Client, Levels, connect, get, get_with, next, say, units};
use emulator::{BookPace, EmulatedVenue, Fault, GeneratedSession, Handle, Options, Rate, Server, Session, Target};
use model::StreamKind;
use serde_json::{Value, json};

fn server(book_pace: BookPace) -> Handle {
    let session = GeneratedSession { seed: 22, levels: 60, book_pace, ..GeneratedSession::default() };
    let mut options = Options {
        session: Session::Generated(session),
        rate: Rate::FramesPerSecond(3000),
        ..Options::new(EmulatedVenue::Coinbase)
    };
    // No test here is about it.
    options.limits.requests_per_s = 1000;
    Server::start(options).expect("a server")
}

fn subscribe(client: &mut Client, channel: &str, products: &[&str]) {
    say(client, &json!({"type": "subscribe", "channel": channel, "product_ids": products}).to_string());
}

/// A client that insists on the connection's numbers.
struct Counted {
    client: Client,
    next: u64,
}

impl Counted {
    fn connect(server: &Handle) -> Self {
        Self { client: connect(server.addr(), "/"), next: 0 }
    }

    fn read(&mut self) -> Value {
        let frame = next(&mut self.client);
        assert_eq!(frame["sequence_num"].as_u64(), Some(self.next), "{frame}");
        self.next += 1;
        frame
    }

    /// Reads on until a channel speaks.
    fn until(&mut self, channel: &str) -> Value {
        loop {
            let frame = self.read();
            if frame["channel"] == channel {
                return frame;
            }
        }
    }
}

fn apply(book: &mut Levels, frame: &Value) {
    let event = &frame["events"][0];
    if event["type"] == "snapshot" {
        *book = Levels::default();
    }
    for update in event["updates"].as_array().expect("updates") {
        let of = |name: &str| update[name].as_str().expect("text");
        assert!(["bid", "offer"].contains(&of("side")));
        book.set(of("side") == "bid", of("price_level"), of("new_quantity"));
    }
}

/// The time of an envelope, digits padded so that text order is time order.
fn stamp(frame: &Value) -> String {
    let text = frame["timestamp"].as_str().expect("a time").trim_end_matches('Z');
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{decimals:0<9}")
}

#[test]
fn every_frame_has_the_next_number_and_acknowledgements_tell_all() {
    let server = server(BookPace::Venue);
    let mut client = Counted::connect(&server);
    subscribe(&mut client.client, "heartbeats", &[]);
    let ack = client.read();
    assert_eq!(ack["channel"], "subscriptions");
    assert_eq!(ack["events"], json!([{"subscriptions": {"heartbeats": ["heartbeats"]}}]));
    subscribe(&mut client.client, "level2", &["BTC-USD", "ETH-USDC"]);
    let first = client.until("l2_data");
    assert_eq!(
        (&first["events"][0]["type"], &first["events"][0]["product_id"]),
        (&json!("snapshot"), &json!("BTC-USD"))
    );
    let second = client.until("l2_data");
    assert_eq!(second["events"][0]["product_id"], "ETH-USD", "an alias is told under the product's name");
    for channel in ["market_trades", "ticker", "candles", "status"] {
        subscribe(&mut client.client, channel, &["BTC-USD"]);
    }
    let mut seen = BTreeMap::<String, u32>::new();
    let wanted = ["heartbeats", "l2_data", "market_trades", "ticker", "candles", "status"];
    let (mut acks, mut counter) = (Vec::new(), None);
    while acks.len() < 5 || wanted.iter().any(|channel| seen.get(*channel).is_none_or(|count| *count < 2)) {
        let frame = client.read();
        let channel = frame["channel"].as_str().expect("a channel").to_owned();
        if channel == "subscriptions" {
            acks.push(frame);
            continue;
        }
        if channel == "heartbeats" {
            let count = frame["events"][0]["heartbeat_counter"].as_u64().expect("a count");
            assert!(counter.is_none_or(|last| count == last + 1), "{counter:?} then {frame}");
            counter = Some(count);
        }
        *seen.entry(channel).or_default() += 1;
    }
    let last = &acks.last().expect("acks")["events"][0]["subscriptions"];
    assert_eq!(last["level2"], json!(["BTC-USD", "ETH-USD"]));
    assert_eq!((last.as_object().map(serde_json::Map::len), &last["status"]), (Some(6), &json!(["BTC-USD"])));
    say(&mut client.client, r#"{"type":"unsubscribe","channel":"level2","product_ids":["BTC-USD","ETH-USD"]}"#);
    let ack = client.until("subscriptions");
    assert_eq!(ack["events"][0]["subscriptions"].get("level2"), None);
}

#[test]
fn a_followed_book_is_the_snapshot_that_a_later_client_gets() {
    for pace in [BookPace::Venue, BookPace::Batched] {
        let server = server(pace);
        let mut client = Counted::connect(&server);
        subscribe(&mut client.client, "level2", &["BTC-USD"]);
        let mut book = Levels::default();
        for _ in 0..5 {
            for _ in 0..20 {
                apply(&mut book, &client.until("l2_data"));
                assert!(!book.is_crossed());
            }
            let mut late = Counted::connect(&server);
            subscribe(&mut late.client, "level2", &["BTC-USD"]);
            let snapshot = late.read();
            let mut truth = Levels::default();
            apply(&mut truth, &snapshot);
            // Several changes may have one time, so that the book itself says when it has come that far.
            for _ in 0..200 {
                if book == truth {
                    break;
                }
                apply(&mut book, &client.until("l2_data"));
            }
            assert_eq!(book, truth, "{pace:?}");
        }
    }
}

#[test]
fn a_lost_update_leaves_a_hole_in_the_numbers_and_a_wrong_book() {
    let server = server(BookPace::Venue);
    let mut client = connect(server.addr(), "/");
    subscribe(&mut client, "level2", &["BTC-USD"]);
    let mut book = Levels::default();
    apply(&mut book, &next(&mut client));
    let mut last = next(&mut client)["sequence_num"].as_u64().expect("a number");
    server.inject(Fault::Lose(Target::of(StreamKind::Book, "BTC-USD"), 5));
    let step = loop {
        let frame = next(&mut client);
        let number = frame["sequence_num"].as_u64().expect("a number");
        let step = number - last;
        last = number;
        apply(&mut book, &frame);
        if step != 1 {
            break step;
        }
    };
    assert_eq!(step, 6, "five frames were lost");
    let mut late = connect(server.addr(), "/");
    subscribe(&mut late, "level2", &["BTC-USD"]);
    let snapshot = next(&mut late);
    let mut truth = Levels::default();
    apply(&mut truth, &snapshot);
    loop {
        let frame = next(&mut client);
        if stamp(&frame) > stamp(&snapshot) {
            break;
        }
        apply(&mut book, &frame);
    }
    assert_eq!(server.stats().faults, 5);
    assert_ne!(book, truth, "a quarter of a second of changes was lost, and the book is the same");
}

#[test]
fn trades_come_newest_first_in_batches_without_a_hole() {
    let server = server(BookPace::Venue);
    let mut client = Counted::connect(&server);
    subscribe(&mut client.client, "market_trades", &["BTC-USD"]);
    let ids = |frame: &Value| -> Vec<u64> {
        let list = frame["events"][0]["trades"].as_array().expect("trades");
        list.iter().map(|trade| trade["trade_id"].as_str().and_then(|id| id.parse().ok()).expect("an id")).collect()
    };
    let (mut last, mut largest) = (None, 0);
    for _ in 0..12 {
        let batch = ids(&client.until("market_trades"));
        assert!(batch.windows(2).all(|pair| pair[0] == pair[1] + 1), "{batch:?}");
        let Some((newest, oldest)) = batch.first().zip(batch.last()) else { continue };
        assert!(last.is_none_or(|last| *oldest == last + 1), "{last:?} then {batch:?}");
        last = Some(*newest);
        largest = largest.max(batch.len());
    }
    assert!(largest > 10, "4 batches a second carry many trades each, at most {largest} came");
    let mut late = Counted::connect(&server);
    subscribe(&mut late.client, "market_trades", &["BTC-USD"]);
    let snapshot = late.read();
    assert_eq!((&snapshot["events"][0]["type"], ids(&snapshot).len()), (&json!("snapshot"), 100));
    assert_eq!(ids(&late.until("market_trades")).last(), Some(&(ids(&snapshot)[0] + 1)));
}

#[test]
fn errors_carry_no_number_and_change_nothing() {
    let server = server(BookPace::Venue);
    let mut client = connect(server.addr(), "/");
    for (request, message) in [
        (r#"{"type":"subscribe","channel":"dreams","product_ids":["BTC-USD"]}"#, "channel dreams is not supported"),
        (r#"{"type":"subscribe","channel":"level2","product_ids":["XX-YY"]}"#, "product XX-YY not found"),
        (r#"{"type":"dance","channel":"level2"}"#, "type must be subscribe or unsubscribe"),
        (r#"{"type":"subscribe","channel":""}"#, "channel required"),
    ] {
        say(&mut client, request);
        assert_eq!(next(&mut client), json!({"type": "error", "message": message}));
    }
    subscribe(&mut client, "heartbeats", &[]);
    assert_eq!(next(&mut client)["sequence_num"], 0);
}

#[test]
fn rest_tells_products_books_trades_and_time() {
    let server = server(BookPace::Venue);
    let mut client = Counted::connect(&server);
    subscribe(&mut client.client, "market_trades", &["BTC-USD"]);
    (0..4).for_each(|_| drop(client.until("market_trades")));
    let read = |target: &str| -> (u16, Value) {
        let (status, _, body) = get(server.addr(), &format!("/api/v3/brokerage{target}"));
        (status, serde_json::from_str(&body).expect("JSON"))
    };
    let (status, products) = read("/market/products");
    assert_eq!((status, &products["num_products"]), (200, &json!(3)));
    assert_eq!(products["products"][0]["alias_to"], json!(["BTC-USDC"]));
    assert_eq!(read("/market/products/BTC-USD").1["price_increment"], "0.01");
    let signed =
        |target: &str| get_with(server.addr(), &format!("/api/v3/brokerage{target}"), "Authorization: Bearer x\r\n");
    for target in ["/products/BTC-USD", "/best_bid_ask?product_ids=BTC-USD&product_ids=ETH-USD", "/accounts"] {
        let (status, _, body) = get(server.addr(), &format!("/api/v3/brokerage{target}"));
        assert_eq!((status, body.trim()), (401, "Unauthorized"), "{target} is for keys");
        let (status, head, _) = signed(target);
        assert!(status == 200 && head.contains("x-ratelimit-remaining: "), "{head}");
    }
    let best: Value =
        serde_json::from_str(&signed("/best_bid_ask?product_ids=BTC-USD&product_ids=ETH-USD").2).expect("JSON");
    assert_eq!(best["pricebooks"].as_array().map(Vec::len), Some(2));
    let book = read("/market/product_book?product_id=BTC-USD&limit=3").1;
    let bids = book["pricebook"]["bids"].as_array().expect("bids");
    assert!(
        bids.len() == 3
            && units(bids[0]["price"].as_str().expect("a price")) > units(bids[1]["price"].as_str().expect("a price"))
    );
    let trades = read("/market/products/BTC-USD/ticker?limit=7").1;
    assert_eq!(trades["trades"].as_array().map(Vec::len), Some(7));
    let second = read("/time").1["epochSeconds"].as_str().and_then(|s| s.parse::<u64>().ok()).expect("seconds");
    let none = read(&format!("/market/products/BTC-USD/ticker?limit=7&start={}&end={}", second + 60, second + 90)).1;
    assert_eq!(none["trades"], json!([]));
    assert_eq!(read("/market/products/XX-YY").0, 404);
    assert_eq!(read("/market/products/BTC-USD/ticker?limit=x").0, 400);
    assert!(read("/market/products/BTC-USD/candles?granularity=ONE_MINUTE").1["candles"][0]["start"].is_string());
}
