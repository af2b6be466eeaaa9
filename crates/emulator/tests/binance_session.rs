//! A Binance client's whole way against a generated session: streams, snapshot, bridge, limits, errors.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Client, connect, get, next, next_text, say};
use emulator::{BookPace, EmulatedVenue, Fault, GeneratedSession, Options, Rate, Server, Session, Target};
use model::StreamKind;
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

fn options(book_pace: BookPace) -> Options {
    let session = GeneratedSession { seed: 11, book_pace, levels: 60, ..GeneratedSession::default() };
    Options {
        session: Session::Generated(session),
        rate: Rate::FramesPerSecond(20_000),
        ..Options::new(EmulatedVenue::Binance)
    }
}

/// Price and size texts of one side; `f64` is good enough to order what the emulator writes with two decimals.
#[derive(Debug, Default)]
struct Side(BTreeMap<u64, String>);

impl Side {
    fn apply(&mut self, levels: &Value) {
        for level in levels.as_array().expect("levels") {
            let (price, size) = (level[0].as_str().expect("a price"), level[1].as_str().expect("a size"));
            let key = price.replace('.', "").parse().expect("digits");
            if size.bytes().all(|b| matches!(b, b'0' | b'.')) {
                self.0.remove(&key);
            } else {
                self.0.insert(key, size.to_owned());
            }
        }
    }
}

/// Bridges a book by the documented rules and follows it for `updates` more; ends with REST saying the same.
fn follow_book(server: &emulator::Handle, client: &mut Client, symbol: &str, updates: usize) {
    let mut buffered = vec![next(client), next(client)];
    let (status, _, body) = get(server.addr(), &format!("/api/v3/depth?symbol={symbol}&limit=5000"));
    assert_eq!(status, 200, "{body}");
    let snapshot: Value = serde_json::from_str(&body).expect("JSON");
    let mut last = snapshot["lastUpdateId"].as_u64().expect("an id");
    let (mut bids, mut asks) = (Side::default(), Side::default());
    bids.apply(&snapshot["bids"]);
    asks.apply(&snapshot["asks"]);
    let first = |event: &Value| event["data"]["U"].as_u64().expect("U");
    let end = |event: &Value| event["data"]["u"].as_u64().expect("u");
    assert!(last + 1 >= first(&buffered[0]), "the snapshot is older than the first buffered event");
    let (mut bridged, mut applied, mut chain) = (false, 0, None);
    while applied < updates {
        let event = if buffered.is_empty() { next(client) } else { buffered.remove(0) };
        assert!(chain.is_none_or(|end| first(&event) == end + 1), "{chain:?} then {event}");
        chain = Some(end(&event));
        if end(&event) <= last {
            continue;
        }
        assert!(first(&event) <= last + 1, "gap: {last} then {event}");
        assert!(bridged || end(&event) > last);
        (bridged, last) = (true, end(&event));
        bids.apply(&event["data"]["b"]);
        asks.apply(&event["data"]["a"]);
        let (bid, ask) = (bids.0.last_key_value().expect("bids"), asks.0.first_key_value().expect("asks"));
        assert!(bid.0 < ask.0, "crossed at {event}");
        applied += 1;
    }
    // The book after update `last` again, as a later REST answer would have it: only the levels untouched since.
    let (_, _, body) = get(server.addr(), &format!("/api/v3/depth?symbol={symbol}&limit=5000"));
    let later: Value = serde_json::from_str(&body).expect("JSON");
    let target = later["lastUpdateId"].as_u64().expect("an id");
    while last < target {
        let event = next(client);
        if end(&event) > target {
            // The answer stands inside this event's changes; what follows cannot be compared.
            return;
        }
        last = end(&event);
        bids.apply(&event["data"]["b"]);
        asks.apply(&event["data"]["a"]);
    }
    let (mut rest_bids, mut rest_asks) = (Side::default(), Side::default());
    rest_bids.apply(&later["bids"]);
    rest_asks.apply(&later["asks"]);
    assert_eq!((bids.0, asks.0), (rest_bids.0, rest_asks.0));
}

#[test]
fn books_bridge_and_the_chain_is_whole() {
    let server = Server::start(options(BookPace::Batched)).expect("a server");
    let mut client = connect(server.addr(), "/stream?streams=btcusdt@depth@100ms");
    follow_book(&server, &mut client, "BTCUSDT", 1000);
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/stream?streams=ethusdt@depth@100ms");
    follow_book(&server, &mut client, "ETHUSDT", 10);
}

#[test]
fn a_quote_is_the_touch_of_the_book_at_its_id() {
    let server = Server::start(options(BookPace::Batched)).expect("a server");
    let mut client = connect(server.addr(), "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade");
    let (_, _, body) = get(server.addr(), "/api/v3/depth?symbol=BTCUSDT&limit=5000");
    let snapshot: Value = serde_json::from_str(&body).expect("JSON");
    let mut last = snapshot["lastUpdateId"].as_u64().expect("an id");
    let (mut bids, mut asks) = (Side::default(), Side::default());
    bids.apply(&snapshot["bids"]);
    asks.apply(&snapshot["asks"]);
    let (mut quotes, mut compared, mut trades, mut trade_id) = (Vec::new(), 0, 0, None);
    let key = |text: &Value| text.as_str().expect("text").replace('.', "").parse::<u64>().expect("digits");
    while compared < 200 || trades < 200 {
        let frame = next(&mut client);
        let data = &frame["data"];
        match frame["stream"].as_str().and_then(|stream| stream.split('@').nth(1)) {
            Some("bookTicker") => quotes.push(data.clone()),
            Some("trade") => {
                let id = data["t"].as_u64().expect("an id");
                assert!(trade_id.is_none_or(|last| id == last + 1));
                trade_id = Some(id);
                trades += 1;
            }
            _ => {
                let end = data["u"].as_u64().expect("u");
                if end > last {
                    bids.apply(&data["b"]);
                    asks.apply(&data["a"]);
                    last = end;
                }
                // A batch ends with changes behind the touch, so the last quote before it is the book's touch after it.
                if let Some(quote) =
                    quotes.last().filter(|quote| quote["u"].as_u64() > snapshot["lastUpdateId"].as_u64())
                {
                    let (bid, ask) = (bids.0.last_key_value().expect("bids"), asks.0.first_key_value().expect("asks"));
                    assert_eq!((*bid.0, *ask.0), (key(&quote["b"]), key(&quote["a"])), "{quote} at {frame}");
                    assert_eq!(
                        (bid.1.as_str(), ask.1.as_str()),
                        (quote["B"].as_str().expect("B"), quote["A"].as_str().expect("A"))
                    );
                    compared += 1;
                }
                quotes.clear();
            }
        }
    }
}

#[test]
fn subscriptions_are_made_listed_and_ended_by_message() {
    let mut options = options(BookPace::Venue);
    options.limits.messages_per_s = 100;
    let server = Server::start(options).expect("a server");
    let mut client = connect(server.addr(), "/ws/7");
    say(&mut client, r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#);
    assert_eq!(next(&mut client), json!({"result": [], "id": 1}));
    say(&mut client, r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","nopeusdt@trade"],"id":"a1"}"#);
    assert_eq!(next(&mut client), json!({"result": null, "id": "a1"}));
    let raw = next(&mut client);
    assert_eq!((&raw["e"], &raw["s"]), (&json!("trade"), &json!("BTCUSDT")));
    let answer = |client: &mut Client| loop {
        let frame = next(client);
        if frame.get("id").is_some() {
            break frame;
        }
    };
    say(&mut client, r#"{"method":"LIST_SUBSCRIPTIONS","id":2}"#);
    assert_eq!(answer(&mut client)["result"], json!(["btcusdt@trade", "nopeusdt@trade"]));
    say(&mut client, r#"{"method":"SET_PROPERTY","params":["combined",true],"id":3}"#);
    assert_eq!(answer(&mut client)["result"], Value::Null);
    assert_eq!(next(&mut client)["stream"], "btcusdt@trade");
    say(&mut client, r#"{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":4}"#);
    assert_eq!(answer(&mut client), json!({"result": null, "id": 4}));
    for (request, code) in [
        ("{", 3),
        (r#"{"method":"NOPE","id":5}"#, 2),
        (r#"{"method":"GET_PROPERTY","params":["x"],"id":6}"#, 0),
        (r#"{"id":7}"#, 2),
    ] {
        say(&mut client, request);
        assert_eq!(next(&mut client)["code"], code, "{request}");
    }
}

#[test]
fn microseconds_klines_and_aggregates_on_request() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/stream?streams=solusdt@aggTrade/solusdt@kline_1m&timeUnit=MICROSECOND");
    let (mut kline, mut trade) = (None, None);
    while kline.is_none() || trade.is_none() {
        let frame = next(&mut client);
        match frame["stream"].as_str() {
            Some("solusdt@kline_1m") => kline = Some(frame["data"].clone()),
            _ => trade = Some(frame["data"].clone()),
        }
    }
    let (kline, trade) = (kline.expect("one came"), trade.expect("one came"));
    assert!(trade["T"].as_u64() > Some(1_000_000_000_000_000), "{trade}");
    // An aggregate is of one fill or several, and has a number of its own.
    assert!(trade["f"].as_u64() <= trade["l"].as_u64() && trade["a"].as_u64() <= trade["f"].as_u64(), "{trade}");
    let (begin, end) = (kline["k"]["t"].as_u64().expect("t"), kline["k"]["T"].as_u64().expect("T"));
    assert_eq!((begin % 60_000_000, end - begin), (0, 59_999_999));
    let ids = kline["k"]["L"].as_u64().expect("L") - kline["k"]["f"].as_u64().expect("f") + 1;
    assert_eq!(kline["k"]["n"].as_u64(), Some(ids));
}

#[test]
fn old_trades_are_served_from_an_id_on() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/stream?streams=btcusdt@trade");
    let mut told: Vec<(u64, Value, Value, Value)> = vec![];
    while told.len() < 12 {
        let frame = next(&mut client);
        let d = &frame["data"];
        told.push((d["t"].as_u64().expect("an id"), d["p"].clone(), d["q"].clone(), d["m"].clone()));
    }
    let list = |path: &str| -> Vec<Value> {
        let (status, _, body) = get(server.addr(), path);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("a list")
    };
    let first = told[3].0;
    let page = list(&format!("/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=5"));
    let read =
        |t: &Value| (t["id"].as_u64().expect("an id"), t["price"].clone(), t["qty"].clone(), t["isBuyerMaker"].clone());
    assert_eq!(page.iter().map(read).collect::<Vec<_>>(), told[3..8]);
    let known = list("/api/v3/aggTrades?symbol=BTCUSDT&limit=3")[0]["a"].as_u64().expect("an id");
    let page = list(&format!("/api/v3/aggTrades?symbol=BTCUSDT&fromId={known}&limit=2"));
    assert_eq!(page.iter().map(|t| t["a"].as_u64()).collect::<Vec<_>>(), [Some(known), Some(known + 1)]);
    let latest = list("/api/v3/trades?symbol=BTCUSDT&limit=4");
    assert!(latest[3]["id"].as_u64() >= Some(told[11].0) && latest.len() == 4, "the latest, whatever is asked for");
    let (status, _, body) = get(server.addr(), "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=x");
    assert!(status == 400 && body.contains("fromId"), "{body}");
}

#[test]
fn rest_answers_with_weights_filters_and_errors() {
    let mut options = options(BookPace::Venue);
    options.limits.weight_per_minute = 100;
    let server = Server::start(options).expect("a server");
    assert_eq!(get(server.addr(), "/api/v3/ping").2, "{}");
    let (status, head, body) = get(server.addr(), "/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%5D");
    let info: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, info["symbols"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(info["symbols"][0]["filters"][0]["filterType"], "PRICE_FILTER");
    assert_eq!(info["symbols"][0]["filters"][0]["tickSize"], "0.01000000");
    assert!(head.contains("X-MBX-USED-WEIGHT-1M: "), "{head}");
    let (status, _, body) = get(server.addr(), "/api/v3/depth?symbol=NOPE");
    assert_eq!((status, body.as_str()), (400, r#"{"code":-1121,"msg":"Invalid symbol."}"#));
    assert_eq!(get(server.addr(), "/api/v3/nothing").0, 404);
    assert!(get(server.addr(), "/api/v3/time").2.starts_with("{\"serverTime\":"));
    // The weight window is the wall clock's minute: enough requests to pass the limit even across its end.
    let refused = (0..40).map(|_| get(server.addr(), "/api/v3/exchangeInfo")).find(|(status, ..)| *status == 429);
    let (_, head, body) = refused.expect("a limit");
    assert!(head.contains("Retry-After: ") && body.contains("-1003"), "{head} {body}");
}

#[test]
fn too_many_messages_end_the_connection() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/ws");
    let mut code = None;
    for id in 0..8 {
        if client.send(Message::text(format!("{{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":{id}}}"))).is_err() {
            break;
        }
    }
    while let Ok(message) = client.read() {
        if let Message::Close(Some(frame)) = message {
            code = Some(frame.code);
        }
    }
    assert_eq!(code, Some(CloseCode::Policy));
}

#[test]
fn pings_come_and_an_unanswered_one_or_age_ends_the_connection() {
    let mut options = options(BookPace::Venue);
    options.limits.ping_every = Duration::from_millis(30);
    options.limits.pong_within = Duration::from_millis(200);
    options.limits.messages_per_s = 1000;
    let server = Server::start(options.clone()).expect("a server");
    // tungstenite answers pings by itself whenever it reads.
    let mut client = connect(server.addr(), "/ws");
    for _ in 0..20 {
        assert!(matches!(client.read().expect("a ping"), Message::Ping(_)));
    }
    let mut mute = connect(server.addr(), "/ws");
    let mut bytes = Vec::new();
    // Below tungstenite, which would answer.
    std::io::Read::read_to_end(mute.get_mut(), &mut bytes).expect("an end in time");
    let goodbye = [&1008_u16.to_be_bytes(), b"Pong timeout".as_slice()].concat();
    assert!(bytes.ends_with(&goodbye), "{}", String::from_utf8_lossy(&bytes));
    options.limits.connection_age = Duration::from_millis(100);
    let server = Server::start(options).expect("a server");
    let mut client = connect(server.addr(), "/ws");
    let end = loop {
        if let Message::Close(frame) = client.read().expect("a close frame in time") {
            break frame;
        }
    };
    assert_eq!(end.map(|frame| frame.code), Some(CloseCode::Away));
}

#[test]
fn faults_hit_streams_and_connections() {
    let server = Server::start(options(BookPace::Venue)).expect("a server");
    let mut client = connect(server.addr(), "/ws/btcusdt@trade");
    let id = |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|frame| frame["t"].as_u64());
    let mut last = id(&next_text(&mut client));
    // The fault may hit the very next frame, so each run begins with the last frame of the one before.
    let mut follow = |fault: Fault| -> Vec<Option<u64>> {
        server.inject(fault);
        let mut ids = vec![last];
        ids.extend((0..3000).map(|_| id(&next_text(&mut client))));
        last = *ids.last().expect("there are many");
        ids
    };
    let target = || Target::of(StreamKind::Trade, "BTCUSDT");
    let twice = follow(Fault::Duplicate(target()));
    assert_eq!(twice.windows(2).filter(|pair| pair[0] == pair[1]).count(), 1);
    let lost = follow(Fault::Lose(target(), 3));
    let jumps: Vec<u64> =
        lost.windows(2).filter_map(|pair| Some(pair[1]? - pair[0]?)).filter(|step| *step != 1).collect();
    assert_eq!(jumps, [4]);
    let broken = follow(Fault::Malform(target()));
    assert_eq!(broken.iter().filter(|id| id.is_none()).count(), 1);
    server.inject(Fault::Refuse { status: 503, wait: Duration::from_secs(30) });
    let (status, head, _) = get(server.addr(), "/api/v3/ping");
    assert!(status == 503 && head.contains("Retry-After: "), "{head}");
    server.inject(Fault::Drop);
    let end = loop {
        match client.read() {
            Ok(Message::Close(_)) => panic!("a broken connection says no goodbye"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, tungstenite::Error::Protocol(_) | tungstenite::Error::Io(_)), "{end}");
}
