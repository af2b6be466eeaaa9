//! An Alpaca client's whole way: greeting, login and its errors, subscriptions, both encodings, REST in pages.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::{Client, Levels, close_code, connect, connect_with, get_with, next, plain, say};
use emulator::{
    Account, EmulatedVenue, Fault, GeneratedSession, Handle, JournalOptions, Options, Rate, Server, Session, Target,
};
use model::StreamKind;
use serde_json::{Map, Value, json};
use tungstenite::Message;

fn options() -> Options {
    let session = GeneratedSession { seed: 23, levels: 60, ..GeneratedSession::default() };
    Options {
        session: Session::Generated(session),
        rate: Rate::FramesPerSecond(4000),
        ..Options::new(EmulatedVenue::Alpaca)
    }
}

fn server() -> Handle {
    Server::start(options()).expect("a server")
}

fn auth() -> String {
    let Account { key, secret, .. } = Account::default();
    json!({"action": "auth", "key": key, "secret": secret}).to_string()
}

fn control(msg: &str) -> Value {
    json!([{"T": "success", "msg": msg}])
}

fn error(code: u16, msg: &str) -> Value {
    json!([{"T": "error", "code": code, "msg": msg}])
}

fn login(server: &Handle, path: &str) -> Client {
    let mut client = connect(server.addr(), path);
    assert_eq!(next(&mut client), control("connected"));
    say(&mut client, &auth());
    assert_eq!(next(&mut client), control("authenticated"));
    client
}

/// The messages of the next array.
fn messages(client: &mut Client) -> Vec<Value> {
    next(client).as_array().expect("an array").clone()
}

#[test]
fn errors_have_the_codes_of_the_venue() {
    let mut limited = options();
    limited.account = Account { sip: false, symbols_max: Some(2), ..Account::default() };
    limited.limits.auth_within = Duration::from_millis(300);
    let server = Server::start(limited).expect("a server");
    let mut silent = connect(server.addr(), "/v2/iex");
    assert_eq!((next(&mut silent), next(&mut silent)), (control("connected"), error(404, "auth timeout")));
    assert_eq!(close_code(&mut silent), Some(1008));
    let mut wrong = connect(server.addr(), "/v2/iex");
    next(&mut wrong);
    say(&mut wrong, r#"{"action":"subscribe","trades":["AAPL"]}"#);
    assert_eq!(next(&mut wrong), error(401, "not authenticated"));
    say(&mut wrong, r#"{"action":"auth","key":"nobody","secret":"nothing"}"#);
    assert_eq!(next(&mut wrong), error(402, "auth failed"));
    assert_eq!(close_code(&mut wrong), Some(1008));
    let mut poor = connect(server.addr(), "/v2/sip");
    next(&mut poor);
    say(&mut poor, &auth());
    assert_eq!(next(&mut poor), error(409, "insufficient subscription"));
    let mut first = login(&server, "/v2/iex");
    let mut second = connect(server.addr(), "/v2/iex");
    next(&mut second);
    say(&mut second, &auth());
    assert_eq!(next(&mut second), error(406, "connection limit exceeded"));
    assert_eq!(close_code(&mut second), Some(1008));
    // Another endpoint has a session of its own.
    drop(login(&server, "/v1beta3/crypto/us"));
    for (request, code, msg) in [
        (auth(), 403, "already authenticated"),
        ("{".to_owned(), 400, "invalid syntax"),
        (r#"{"action":"subscribe","trades":["aa pl"]}"#.to_owned(), 400, "invalid syntax"),
        (r#"{"action":"subscribe","orderbooks":["AAPL"]}"#.to_owned(), 410, "invalid subscribe action for this feed"),
        (r#"{"action":"subscribe","trades":["A","B"],"quotes":["C"]}"#.to_owned(), 405, "symbol limit exceeded"),
    ] {
        say(&mut first, &request);
        assert_eq!(next(&mut first), error(code, msg), "{request}");
    }
    say(&mut first, r#"{"action":"subscribe","bars":["AAPL"]}"#);
    assert_eq!(next(&mut first)[0]["trades"], json!([]), "refused subscriptions left something");
    // The session is free again when its connection ends.
    drop(first);
    let free = (0..200).any(|_| {
        let mut again = connect(server.addr(), "/v2/iex");
        next(&mut again);
        say(&mut again, &auth());
        next(&mut again) == control("authenticated")
    });
    assert!(free, "an ended connection keeps its session");
}

#[test]
fn keys_in_the_headers_are_a_login() {
    let server = server();
    let Account { key, secret, .. } = Account::default();
    let headers = [("apca-api-key-id", key.as_str()), ("apca-api-secret-key", secret.as_str())];
    let mut client = connect_with(server.addr(), "/v2/test", &headers);
    assert_eq!((next(&mut client), next(&mut client)), (control("connected"), control("authenticated")));
    say(&mut client, r#"{"action":"subscribe","trades":["FAKEPACA"],"quotes":["FAKEPACA"]}"#);
    let expected = json!([{"T": "subscription", "trades": ["FAKEPACA"], "quotes": ["FAKEPACA"], "bars": []}]);
    assert_eq!(next(&mut client), expected);
    let mut seen = BTreeMap::<String, u32>::new();
    while seen.len() < 2 {
        for message in messages(&mut client) {
            assert_eq!(message["S"], "FAKEPACA");
            *seen.entry(plain(&message["T"])).or_default() += 1;
        }
    }
}

#[test]
fn subscriptions_add_up_and_trades_bring_their_repairs() {
    let server = server();
    let mut client = login(&server, "/v2/sip");
    say(&mut client, r#"{"action":"subscribe","trades":["AAPL"],"quotes":["MSFT"],"statuses":["*"]}"#);
    let ack = next(&mut client);
    let expected = json!([{
        "T": "subscription", "trades": ["AAPL"], "quotes": ["MSFT"], "bars": [], "updatedBars": [], "dailyBars": [],
        "statuses": ["*"], "lulds": [], "corrections": ["AAPL"], "cancelErrors": ["AAPL"],
    }]);
    assert_eq!(ack, expected);
    let (mut trades, mut seen, mut halted) = (BTreeMap::new(), BTreeMap::<String, u32>::new(), false);
    let (mut last_trade, mut halted_at) = (0, 0);
    let time = |message: &Value| scan::rfc3339_nanos(plain(&message["t"]).as_bytes()).expect("a time").0;
    while ["t", "q", "c", "x", "s"].iter().any(|kind| seen.get(*kind).is_none_or(|count| *count < 2))
        || !seen.contains_key("a halt that ended")
    {
        for message in messages(&mut client) {
            let kind = plain(&message["T"]);
            match kind.as_str() {
                "t" => {
                    assert!(!halted, "a trade in a halt: {message}");
                    last_trade = time(&message);
                    let odd = message["c"].as_array().expect("codes").contains(&json!("I"));
                    assert_eq!(odd, message["s"].as_u64() < Some(100), "{message}");
                    trades.insert(message["i"].as_u64().expect("an id"), message.clone());
                }
                "q" => {
                    assert_eq!((&message["S"], &message["z"]), (&json!("MSFT"), &json!("C")));
                    assert!(message["bp"].as_f64() < message["ap"].as_f64());
                }
                "c" => {
                    // Trades from before the subscription can be repaired too.
                    if let Some(trade) = message["oi"].as_u64().and_then(|id| trades.get(&id)) {
                        assert_eq!(
                            (&trade["p"], &trade["s"], &trade["x"]),
                            (&message["op"], &message["os"], &message["x"])
                        );
                    }
                    assert_ne!(message["op"], message["cp"]);
                }
                "x" => {
                    if let Some(trade) = message["i"].as_u64().and_then(|id| trades.get(&id)) {
                        assert_eq!(
                            (&trade["p"], &trade["s"], &trade["x"]),
                            (&message["p"], &message["s"], &message["x"])
                        );
                    }
                }
                "s" => {
                    if message["S"] == "AAPL" {
                        assert_eq!(halted, message["sc"] == "T", "{message}");
                        halted = message["sc"] == "H";
                        match halted {
                            true => halted_at = time(&message),
                            false => {
                                let lasted = time(&message) - halted_at;
                                assert!(last_trade <= halted_at && lasted >= 2_000_000_000, "{lasted} ns: {message}");
                                *seen.entry("a halt that ended".to_owned()).or_default() += 1;
                            }
                        }
                    }
                }
                other => panic!("{other} was not asked for"),
            }
            *seen.entry(kind).or_default() += 1;
        }
    }
    say(&mut client, r#"{"action":"unsubscribe","trades":["AAPL"],"statuses":["*"]}"#);
    let ack = loop {
        let frame = next(&mut client);
        if frame[0]["T"] == "subscription" {
            break frame;
        }
    };
    assert_eq!((&ack[0]["quotes"], &ack[0]["corrections"]), (&json!(["MSFT"]), &json!([])));
    (0..20).for_each(|_| assert!(messages(&mut client).iter().all(|message| message["T"] == "q")));
}

fn apply(book: &mut Levels, message: &Value) {
    if message["r"] == true {
        *book = Levels::default();
    }
    for (name, is_bid) in [("b", true), ("a", false)] {
        for level in message[name].as_array().expect("levels") {
            book.set(is_bid, &plain(&level["p"]), &plain(&level["s"]));
        }
    }
}

#[test]
fn a_crypto_book_starts_whole_and_its_top_is_the_quote() {
    let server = server();
    let mut client = login(&server, "/v1beta3/crypto/us");
    say(&mut client, r#"{"action":"subscribe","orderbooks":["BTC/USD"],"quotes":["BTC/USD"],"trades":["BTC/USD"]}"#);
    let ack = next(&mut client);
    assert_eq!(ack[0].as_object().map(Map::len), Some(7), "{ack}");
    let (mut book, mut compared, mut trade, mut first) = (Levels::default(), 0, None, true);
    while compared < 300 {
        for message in messages(&mut client) {
            match plain(&message["T"]).as_str() {
                "o" => {
                    assert_eq!(message["r"] == true, first, "{message}");
                    first = false;
                    apply(&mut book, &message);
                    assert!(!book.is_crossed());
                }
                // A quote is written behind the book change that made it.
                "q" => {
                    let (bid, ask) = (book.bids.last_key_value(), book.asks.first_key_value());
                    let (bid, ask) = bid.zip(ask).expect("a book");
                    let of = |name: &str| common::units(&plain(&message[name]));
                    assert_eq!((*bid.0, *bid.1, *ask.0, *ask.1), (of("bp"), of("bs"), of("ap"), of("as")));
                    compared += 1;
                }
                _ => {
                    let id = message["i"].as_u64().expect("an id");
                    assert!(id > 1 << 53 && trade.is_none_or(|last| id == last + 1), "{trade:?} then {message}");
                    assert!(["B", "S"].contains(&message["tks"].as_str().expect("a side")));
                    trade = Some(id);
                }
            }
        }
    }
    server.inject(Fault::Lose(Target::of(StreamKind::Book, "BTC/USD"), 20));
    let differs = (0..5000).any(|_| {
        messages(&mut client).iter().any(|message| match plain(&message["T"]).as_str() {
            "o" => {
                apply(&mut book, message);
                false
            }
            "q" => {
                let bid = book.bids.last_key_value().expect("bids");
                (*bid.0, *bid.1) != (common::units(&plain(&message["bp"])), common::units(&plain(&message["bs"])))
            }
            _ => false,
        })
    });
    assert!(differs, "lost changes left no trace");
}

/// A msgpack reader of the test's own: what is not in Alpaca's messages is refused.
fn unpack(bytes: &mut &[u8]) -> Value {
    fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(len);
        *bytes = rest;
        taken
    }
    fn number(bytes: &mut &[u8], len: usize) -> u64 {
        take(bytes, len).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
    let text = |bytes: &mut &[u8], len: usize| json!(std::str::from_utf8(take(bytes, len)).expect("UTF-8"));
    let head = number(bytes, 1) as u8;
    let list = |bytes: &mut &[u8], count: u64| (0..count).map(|_| unpack(bytes)).collect::<Vec<_>>();
    let map = |bytes: &mut &[u8], count: u64| {
        let mut map = Map::new();
        for _ in 0..count {
            let key = plain(&unpack(bytes));
            map.insert(key, unpack(bytes));
        }
        Value::Object(map)
    };
    match head {
        0..=0x7F => json!(head),
        0x80..=0x8F => map(bytes, u64::from(head & 15)),
        0x90..=0x9F => json!(list(bytes, u64::from(head & 15))),
        0xA0..=0xBF => text(bytes, usize::from(head & 31)),
        0xC3 => json!(true),
        0xD9 => {
            let len = number(bytes, 1) as usize;
            text(bytes, len)
        }
        0xCB => json!(f64::from_bits(number(bytes, 8))),
        0xCC => json!(number(bytes, 1)),
        0xCD => json!(number(bytes, 2)),
        0xCE => json!(number(bytes, 4)),
        0xCF => json!(number(bytes, 8)),
        0xDC => {
            let count = number(bytes, 2);
            json!(list(bytes, count))
        }
        0xDE => {
            let count = number(bytes, 2);
            map(bytes, count)
        }
        0xD6 | 0xD7 => {
            assert_eq!(number(bytes, 1), 0xFF, "the timestamp extension");
            let raw = number(bytes, if head == 0xD6 { 4 } else { 8 });
            let (seconds, ns) = if head == 0xD6 { (raw, 0) } else { (raw & ((1 << 34) - 1), raw >> 34) };
            json!({"seconds": seconds, "ns": ns})
        }
        other => panic!("{other:#x} is in no message"),
    }
}

/// A JSON message as [`unpack`] gives it: times in their parts, whole prices as floats.
fn expected(value: &Value, key: &str) -> Value {
    const PRICES: [&str; 12] = ["p", "bp", "ap", "o", "h", "l", "c", "vw", "op", "cp", "u", "d"];
    match value {
        Value::Array(list) => list.iter().map(|value| expected(value, "")).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), expected(value, key))).collect(),
        Value::Number(number) if PRICES.contains(&key) => json!(number.as_f64()),
        Value::String(text) if key == "t" && text.ends_with('Z') => {
            let (ns, _) = scan::rfc3339_nanos(text.as_bytes()).expect("a time");
            json!({"seconds": ns / 1_000_000_000, "ns": ns % 1_000_000_000})
        }
        other => other.clone(),
    }
}

#[test]
fn msgpack_says_what_the_json_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = JournalOptions::Folder(folder.path().join("journal"));
    let server = Server::start(Options { journal, ..options() }).expect("a server");
    for (path, subscribe) in [
        ("/v2/sip", r#"{"action":"subscribe","trades":["*"],"quotes":["AAPL"],"statuses":["*"],"lulds":["SPY"]}"#),
        ("/v1beta3/crypto/us", r#"{"action":"subscribe","trades":["*"],"quotes":["*"],"orderbooks":["ETH/USD"]}"#),
    ] {
        let mut client = connect_with(server.addr(), path, &[("content-type", "application/msgpack")]);
        let mut received = Vec::new();
        let mut read = |client: &mut Client| loop {
            match client.read().expect("a frame in time") {
                Message::Binary(bytes) => {
                    let mut rest = &bytes[..];
                    let value = unpack(&mut rest);
                    assert!(rest.is_empty());
                    received.push(value.clone());
                    return value;
                }
                Message::Text(text) => panic!("text on a msgpack connection: {text}"),
                _ => {}
            }
        };
        assert_eq!(read(&mut client), control("connected"));
        let packed = |json: &str| Message::binary(emulator::msgpack_of(json.as_bytes()).expect("JSON"));
        client.send(packed(&auth())).expect("a message");
        assert_eq!(read(&mut client), control("authenticated"));
        client.send(packed(subscribe)).expect("a message");
        assert_eq!(read(&mut client)[0]["T"], "subscription");
        (0..300).for_each(|_| drop(read(&mut client)));
        let number = if path == "/v2/sip" { 1 } else { 2 };
        let lines = loop {
            let text = fs::read_to_string(folder.path().join(format!("journal/{number:06}.jsonl"))).expect("a journal");
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.len() >= received.len() {
                break lines;
            }
            std::thread::yield_now();
        };
        assert!(lines.iter().all(|line| line.starts_with("[{\"T\":\"")), "T is not the first key");
        for (line, value) in lines.iter().zip(&received) {
            let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(expected(&json, ""), *value, "{line}");
        }
    }
}

#[test]
fn rest_asks_for_keys_and_tells_trades_in_pages() {
    let server = server();
    let mut client = login(&server, "/v2/sip");
    say(&mut client, r#"{"action":"subscribe","trades":["AAPL","MSFT"]}"#);
    (0..100).for_each(|_| drop(next(&mut client)));
    say(&mut client, r#"{"action":"unsubscribe","trades":["AAPL","MSFT"]}"#);
    while next(&mut client)[0]["T"] != "subscription" {}
    let path = "/v2/stocks/trades?symbols=AAPL,MSFT";
    let (status, _, body) = get_with(server.addr(), path, "");
    assert_eq!((status, body.as_str()), (401, r#"{"code":40110000,"message":"request is not authorized"}"#));
    let wrong = "APCA-API-KEY-ID: nobody\r\nAPCA-API-SECRET-KEY: nothing\r\n";
    assert_eq!(get_with(server.addr(), path, wrong).0, 403);
    let Account { key, secret, .. } = Account::default();
    let keys = format!("APCA-API-KEY-ID: {key}\r\nAPCA-API-SECRET-KEY: {secret}\r\n");
    let read = |target: &str| -> (u16, Value) {
        let (status, _, body) = get_with(server.addr(), target, &keys);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    let ids = |page: &Value, symbol: &str| -> Vec<u64> {
        let list = page["trades"][symbol].as_array().cloned().unwrap_or_default();
        list.iter().map(|trade| trade["i"].as_u64().expect("an id")).collect()
    };
    let whole = read(&format!("{path}&limit=10000")).1;
    assert_eq!(whole["next_page_token"], Value::Null);
    let (mut paged, mut token, mut pages) = (BTreeMap::<&str, Vec<u64>>::new(), String::new(), 0);
    loop {
        let page = read(&format!("{path}&limit=7{token}")).1;
        for symbol in ["AAPL", "MSFT"] {
            paged.entry(symbol).or_default().extend(ids(&page, symbol));
        }
        pages += 1;
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    for symbol in ["AAPL", "MSFT"] {
        assert_eq!(paged[symbol], ids(&whole, symbol), "{symbol}");
        assert!(paged[symbol].windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
    assert!(pages > 5, "{pages}");
    let some = &whole["trades"]["AAPL"][3];
    let at = some["t"].as_str().expect("a time");
    let one = read(&format!("/v2/stocks/AAPL/trades?start={at}&end={at}")).1;
    assert_eq!((&one["symbol"], &one["trades"][0]), (&json!("AAPL"), some));
    assert!(read("/v1beta3/crypto/us/latest/orderbooks?symbols=BTC%2FUSD").1["orderbooks"]["BTC/USD"]["b"].is_array());
    assert!(read("/v2/stocks/quotes/latest?symbols=AAPL&feed=iex").1["quotes"]["AAPL"]["bx"] == "V");
    assert!(read("/v2/stocks/AAPL/bars?timeframe=1Day").1["bars"][0]["v"].as_u64() > Some(0));
    let assets = read("/v2/assets?asset_class=crypto&status=active").1;
    assert_eq!((assets.as_array().map(Vec::len), &assets[0]["price_increment"]), (Some(3), &json!("0.001")));
    assert_eq!(read("/v2/assets/BTCUSD").1["symbol"], "BTC/USD");
    for (target, status) in [
        ("/v2/stocks/trades", 400),
        ("/v2/stocks/trades?symbols=AAPL&limit=0", 400),
        ("/v2/stocks/trades?symbols=AAPL&page_token=%21", 400),
        ("/v2/stocks/bars?symbols=AAPL&timeframe=7Min", 400),
        ("/v2/nothing", 404),
        ("/v2/assets/NOPE", 404),
    ] {
        assert_eq!(read(target).0, status, "{target}");
    }
}
