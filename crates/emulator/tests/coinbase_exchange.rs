//! A client of Coinbase Exchange against a generated session: signatures, every channel, orders, pages, faults.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Client, Levels, close_code, connect, get, next, say, units};
use emulator::{Account, EmulatedVenue, Fault, GeneratedSession, Handle, Options, Rate, Server, Session, Target};
use model::StreamKind;
use serde_json::{Value, json};

fn server(frames_per_s: u32) -> Handle {
    let session = GeneratedSession { seed: 21, levels: 60, ..GeneratedSession::default() };
    let options = Options {
        session: Session::Generated(session),
        rate: Rate::FramesPerSecond(frames_per_s),
        ..Options::new(EmulatedVenue::Coinbase)
    };
    Server::start(options).expect("a server")
}

/// A signed subscription, by the signature that is written down for the default secret.
fn signed(channels: Value) -> String {
    let Account { key, passphrase, .. } = Account::default();
    json!({
        "type": "subscribe", "product_ids": ["BTC-USD"], "channels": channels, "key": key, "passphrase": passphrase,
        "timestamp": "1700000000", "signature": "YfAT1S7tYUAqBSL+7TbzDKW4FQjICi6/TFbwrK81Z6I=",
    })
    .to_string()
}

/// Orders by id, as the full channel tells them: side, price, size.
#[derive(Default)]
struct FullBook(BTreeMap<String, (bool, i128, i128)>);

fn text<'a>(frame: &'a Value, name: &str) -> &'a str {
    frame[name].as_str().unwrap_or_else(|| panic!("no {name}: {frame}"))
}

impl FullBook {
    fn from_rest(body: &Value) -> Self {
        let mut book = Self::default();
        for (name, is_bid) in [("bids", true), ("asks", false)] {
            for row in body[name].as_array().expect("rows") {
                let of = |at: usize| row[at].as_str().expect("text");
                book.0.insert(of(2).to_owned(), (is_bid, units(of(0)), units(of(1))));
            }
        }
        book
    }

    fn apply(&mut self, frame: &Value) {
        match text(frame, "type") {
            "open" => {
                let order =
                    (text(frame, "side") == "buy", units(text(frame, "price")), units(text(frame, "remaining_size")));
                assert!(self.0.insert(text(frame, "order_id").to_owned(), order).is_none(), "{frame}");
            }
            "match" => {
                let maker = self.0.get_mut(text(frame, "maker_order_id")).expect("a resting maker");
                assert_eq!(maker.0, text(frame, "side") == "buy", "the side is the maker's: {frame}");
                assert_eq!(maker.1, units(text(frame, "price")));
                maker.2 -= units(text(frame, "size"));
                assert!(maker.2 >= 0, "{frame}");
            }
            "change" => {
                let order = self.0.get_mut(text(frame, "order_id")).expect("a resting order");
                assert_eq!(order.2, units(text(frame, "old_size")));
                order.2 = units(text(frame, "new_size"));
            }
            "done" => {
                if let Some(order) = self.0.remove(text(frame, "order_id")) {
                    assert_eq!(order.2, units(text(frame, "remaining_size")), "{frame}");
                } else {
                    assert_eq!(frame["reason"], "filled", "only takers never rest: {frame}");
                }
            }
            "received" => assert!(!self.0.contains_key(text(frame, "order_id"))),
            other => panic!("{other} on full"),
        }
    }

    fn levels(&self) -> Levels {
        let mut levels = Levels::default();
        for (is_bid, price, size) in self.0.values() {
            let side = if *is_bid { &mut levels.bids } else { &mut levels.asks };
            *side.entry(*price).or_insert(0) += size;
        }
        levels
    }
}

fn apply_level2(book: &mut Levels, frame: &Value) {
    if frame["type"] == "snapshot" {
        *book = Levels::default();
        for (name, is_bid) in [("bids", true), ("asks", false)] {
            for row in frame[name].as_array().expect("rows") {
                book.set(is_bid, row[0].as_str().expect("price"), row[1].as_str().expect("size"));
            }
        }
        return;
    }
    for row in frame["changes"].as_array().expect("changes") {
        let of = |at: usize| row[at].as_str().expect("text");
        book.set(of(0) == "buy", of(1), of(2));
    }
}

/// Subscribes to orders and levels, starts the orders from REST, and gives both when they speak of the same moment.
fn orders_and_levels(server: &Handle) -> (Client, FullBook, Levels, u64) {
    let mut client = connect(server.addr(), "/");
    say(&mut client, &signed(json!(["full", "level2"])));
    let ack = next(&mut client);
    let channel = |name: &str| json!({"name": name, "product_ids": ["BTC-USD"]});
    assert_eq!(ack, json!({"type": "subscriptions", "channels": [channel("full"), channel("level2")]}));
    let mut levels = Levels::default();
    apply_level2(&mut levels, &next(&mut client));
    let (status, _, body) = get(server.addr(), "/products/BTC-USD/book?level=3");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let start = body["sequence"].as_u64().expect("a sequence");
    let mut orders = FullBook::from_rest(&body);
    let mut last = 0;
    loop {
        let frame = next(&mut client);
        if frame["type"] == "l2update" {
            apply_level2(&mut levels, &frame);
            // The snapshot was taken between two events, so the event that ends behind it is whole.
            if last > start {
                assert_eq!(orders.levels(), levels, "at {last}");
                return (client, orders, levels, last);
            }
            continue;
        }
        last = frame["sequence"].as_u64().expect("a sequence");
        if last > start {
            orders.apply(&frame);
        }
    }
}

#[test]
fn orders_have_every_sequence_and_add_up_to_level_2() {
    let server = server(4000);
    let (mut client, mut orders, mut levels, mut last) = orders_and_levels(&server);
    let (mut compared, mut kinds) = (0, BTreeMap::<String, u32>::new());
    while compared < 600 {
        let frame = next(&mut client);
        if frame["type"] == "l2update" {
            apply_level2(&mut levels, &frame);
            assert!(!levels.is_crossed());
            assert_eq!(orders.levels(), levels, "at {last}");
            compared += 1;
            continue;
        }
        assert_eq!(frame["sequence"].as_u64(), Some(last + 1), "{frame}");
        last += 1;
        *kinds.entry(text(&frame, "type").to_owned()).or_default() += 1;
        orders.apply(&frame);
    }
    let told: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(told, ["change", "done", "match", "open", "received"]);
}

#[test]
fn a_lost_order_leaves_a_hole_and_a_lost_change_another_book() {
    let server = server(4000);
    let (mut client, _, _, mut last) = orders_and_levels(&server);
    server.inject(Fault::Lose(Target::of(StreamKind::Order, "BTC-USD"), 2));
    loop {
        let frame = next(&mut client);
        if frame["type"] == "l2update" {
            continue;
        }
        let sequence = frame["sequence"].as_u64().expect("a sequence");
        let step = sequence - last;
        last = sequence;
        if step != 1 {
            assert_eq!(step, 3);
            break;
        }
    }
    let (mut client, mut orders, mut levels, _) = orders_and_levels(&server);
    // Several, because one change at the touch is often healed by the next.
    server.inject(Fault::Lose(Target::of(StreamKind::Book, "BTC-USD"), 40));
    let differs = (0..20_000).any(|_| {
        let frame = next(&mut client);
        if frame["type"] == "l2update" {
            apply_level2(&mut levels, &frame);
            return orders.levels() != levels;
        }
        orders.apply(&frame);
        false
    });
    assert!(differs, "a lost update left no trace, faults so far: {}", server.stats().faults);
}

#[test]
fn open_channels_agree_with_one_another() {
    let server = server(2000);
    let mut client = connect(server.addr(), "/?");
    let subscribe = json!({
        "type": "subscribe", "product_ids": ["ETH-USD"],
        "channels": ["matches", "ticker", {"name": "level2_batch"}, {"name": "heartbeat", "product_ids": ["ETH-USD", "SOL-USD"]}],
    });
    say(&mut client, &subscribe.to_string());
    let ack = next(&mut client);
    assert_eq!(ack["channels"][3], json!({"name": "heartbeat", "product_ids": ["ETH-USD", "SOL-USD"]}));
    let (mut book, mut batches, mut beats, mut trade, mut sides) =
        (Levels::default(), 0, BTreeMap::<String, u32>::new(), None, BTreeMap::new());
    while batches < 20 || beats.values().sum::<u32>() < 4 {
        let frame = next(&mut client);
        match text(&frame, "type") {
            "match" => {
                let id = frame["trade_id"].as_u64().expect("an id");
                assert!(trade.is_none_or(|last| id == last + 1), "{trade:?} then {frame}");
                trade = Some(id);
                sides.insert(id, text(&frame, "side").to_owned());
            }
            "ticker" => {
                let id = frame["trade_id"].as_u64().expect("an id");
                let maker = sides.get(&id).unwrap_or_else(|| panic!("a ticker before its match: {frame}"));
                assert_ne!(maker, text(&frame, "side"));
            }
            "heartbeat" => {
                *beats.entry(text(&frame, "product_id").to_owned()).or_default() += 1;
                if frame["product_id"] == "ETH-USD" && trade.is_some() {
                    assert_eq!(frame["last_trade_id"].as_u64(), trade, "trades were lost before {frame}");
                }
            }
            "snapshot" | "l2update" => {
                apply_level2(&mut book, &frame);
                assert!(!book.is_crossed());
                batches += u32::from(frame["type"] == "l2update");
            }
            other => panic!("{other}"),
        }
    }
    assert!(beats.contains_key("SOL-USD") && beats.contains_key("ETH-USD"));
    // A late client is told the last trade first.
    let mut late = connect(server.addr(), "/");
    say(&mut late, r#"{"type":"subscribe","product_ids":["ETH-USD"],"channels":["matches","ticker","status"]}"#);
    next(&mut late);
    let (last, ticker, status) = (next(&mut late), next(&mut late), next(&mut late));
    assert_eq!((&last["type"], &last["trade_id"]), (&json!("last_match"), &ticker["trade_id"]));
    assert_eq!(status["type"], "status");
    assert_eq!(status["products"].as_array().map(Vec::len), Some(3));
    let following = loop {
        let frame = next(&mut late);
        if frame["type"] == "match" {
            break frame;
        }
    };
    assert_eq!(following["trade_id"].as_u64(), last["trade_id"].as_u64().map(|id| id + 1));
    say(&mut late, r#"{"type":"unsubscribe","channels":["matches","ticker"]}"#);
    let ack = std::iter::from_fn(|| Some(next(&mut late))).find(|frame| frame["type"] == "subscriptions");
    assert_eq!(ack.expect("an ack")["channels"], json!([{"name": "status", "product_ids": []}]));
}

#[test]
fn refusals_change_nothing() {
    let server = server(100);
    let mut client = connect(server.addr(), "/");
    for (request, message, reason) in [
        ("{", "Malformed JSON", None),
        (r#"{"type":"subscribe"}"#, "channel required", None),
        (
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","level2"]}"#,
            "Failed to subscribe",
            Some("level2 requires authentication"),
        ),
        (
            r#"{"type":"subscribe","product_ids":["XX-YY"],"channels":["matches"]}"#,
            "Failed to subscribe",
            Some("XX-YY is not a valid product"),
        ),
        (
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["dreams"]}"#,
            "Failed to subscribe",
            Some("dreams is not a valid channel"),
        ),
        (
            r#"{"type":"dance","channels":["matches"]}"#,
            "Failed to subscribe",
            Some("Type has to be either subscribe or unsubscribe"),
        ),
    ] {
        say(&mut client, request);
        let answer = next(&mut client);
        assert_eq!((&answer["type"], &answer["message"]), (&json!("error"), &json!(message)), "{answer}");
        assert_eq!(answer["reason"].as_str(), reason, "{answer}");
    }
    say(&mut client, &signed(json!(["full"])).replace("YfAT", "XfAT"));
    assert_eq!(next(&mut client)["reason"], "full requires authentication");
    say(&mut client, r#"{"type":"unsubscribe","channels":["matches"]}"#);
    assert_eq!(next(&mut client), json!({"type": "subscriptions", "channels": []}));
}

#[test]
fn who_subscribes_to_nothing_is_closed() {
    let mut options = Options::new(EmulatedVenue::Coinbase);
    options.limits.subscribe_within = Duration::from_millis(50);
    let server = Server::start(options).expect("a server");
    assert_eq!(close_code(&mut connect(server.addr(), "/")), Some(1008));
    let mut client = connect(server.addr(), "/");
    say(&mut client, r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["nonsense"]}"#);
    assert_eq!(close_code(&mut client), Some(1008), "a refused subscription is none");
}

#[test]
fn rest_tells_products_books_and_pages_of_trades() {
    let server = server(5000);
    let read = |target: &str| -> (u16, String, Value) {
        let (status, head, body) = get(server.addr(), target);
        (status, head, serde_json::from_str(&body).expect("JSON"))
    };
    let (status, _, products) = read("/products");
    assert_eq!((status, products.as_array().map(Vec::len)), (200, Some(3)));
    assert_eq!(products[0]["quote_increment"], "0.01");
    assert!(read("/time").2["epoch"].as_f64() > Some(1.6e9));
    // Trades happen only while somebody listens.
    let mut client = connect(server.addr(), "/");
    say(&mut client, r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches"]}"#);
    (0..60).for_each(|_| drop(next(&mut client)));
    let ids = |page: &Value| -> Vec<u64> {
        page.as_array().expect("trades").iter().map(|trade| trade["trade_id"].as_u64().expect("an id")).collect()
    };
    let (_, head, page) = read("/products/BTC-USD/trades?limit=10");
    let newest = ids(&page);
    assert!(newest.len() == 10 && newest.windows(2).all(|pair| pair[0] == pair[1] + 1), "{newest:?}");
    let cursor = |head: &str, name: &str| -> u64 {
        let line = head.lines().find_map(|line| line.strip_prefix(name)).expect("a cursor");
        line.trim_start_matches(": ").parse().expect("an id")
    };
    assert_eq!((cursor(&head, "cb-before"), cursor(&head, "cb-after")), (newest[0], newest[9]));
    let (_, _, older) = read(&format!("/products/BTC-USD/trades?limit=5&after={}", newest[9]));
    assert_eq!(ids(&older)[0], newest[9] - 1);
    let (_, _, newer) = read(&format!("/products/BTC-USD/trades?before={}", newest[5]));
    assert_eq!(ids(&newer).last(), Some(&(newest[5] + 1)));
    let (_, _, top) = read("/products/BTC-USD/book?level=1");
    assert_eq!((top["bids"].as_array().map(Vec::len), top["asks"].as_array().map(Vec::len)), (Some(1), Some(1)));
    assert!(read("/products/BTC-USD/book?level=2").2["bids"].as_array().map(Vec::len) > Some(20));
    for (target, status) in [
        ("/products/XX-YY/book", 404),
        ("/products/BTC-USD/book?level=4", 400),
        ("/products/BTC-USD/trades?limit=0", 400),
        ("/nothing", 404),
    ] {
        assert_eq!(get(server.addr(), target).0, status, "{target}");
    }
}
