//! Listings, delistings and other price steps while clients are connected: who is told, and how.
//!
//! Kraken and both of Coinbase's protocols have a channel for it. Binance, Kraken's older protocol and Alpaca have none:
//! there the lists of REST say it, and the streams fall silent.

mod common;

use std::time::Duration;

use common::{Client, connect, get, get_with, next, say};
use emulator::{Change, EmulatedVenue, GeneratedSession, Handle, InstrumentChange, Options, Rate, Server, Session};
use model::Price;
use serde_json::{Value, json};

const KEYS: &str = "APCA-API-KEY-ID: ALPHAPULSE-EMULATOR\r\nAPCA-API-SECRET-KEY: YWxwaGFwdWxzZS10ZXN0LXNlY3JldA==\r\n";

/// Half a second after its market began to run, the first symbol gets another tick, the second is taken from the list
/// and the third is put on it.
fn server(venue: EmulatedVenue, [tick, delisted, listed]: [&str; 3]) -> Handle {
    let change = |symbol: &str, change| InstrumentChange {
        after: Duration::from_millis(500),
        symbol: symbol.to_owned(),
        change,
    };
    let changes = vec![
        change(tick, Change::Tick(Price(50))),
        change(delisted, Change::Delisting),
        change(listed, Change::Listing),
    ];
    let session = GeneratedSession { changes, ..GeneratedSession::default() };
    let options =
        Options { session: Session::Generated(session), rate: Rate::FramesPerSecond(500), ..Options::new(venue) };
    Server::start(options).expect("a server")
}

fn body(server: &Handle, target: &str) -> Value {
    let (status, _, body) = get_with(server.addr(), target, KEYS);
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Between two looks at a list whose requests are limited.
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Reads on until a frame fits.
fn until(client: &mut Client, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
    for _ in 0..20_000 {
        let frame = next(client);
        if fits(&frame) {
            return frame;
        }
    }
    panic!("no {what} in 20,000 frames")
}

#[test]
fn kraken_tells_its_instrument_channel_at_once() {
    let server = server(EmulatedVenue::Kraken, ["BTC/USD", "ETH/USD", "SOL/USD"]);
    assert!(body(&server, "/0/public/AssetPairs")["result"].as_object().is_some_and(|pairs| pairs.len() == 2));
    let mut client = connect(server.addr(), "/v2");
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"instrument"}}"#);
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","ETH/USD"]}}"#);
    let about = |symbol: &'static str| {
        move |frame: &Value| {
            frame["channel"] == "instrument"
                && frame["type"] == "update"
                && frame["data"]["pairs"][0]["symbol"] == symbol
        }
    };
    let snapshot = until(&mut client, "snapshot", |frame| frame["channel"] == "instrument");
    let old = |symbol: &str| {
        let pairs = snapshot["data"]["pairs"].as_array().expect("pairs");
        pairs.iter().find(|pair| pair["symbol"] == symbol).cloned()
    };
    assert!(old("SOL/USD").is_none() && snapshot["type"] == "snapshot", "{snapshot}");
    let ticked = until(&mut client, "new tick", about("BTC/USD"))["data"]["pairs"][0].clone();
    let increment = |pair: &Value| pair["price_increment"].as_f64().expect("a number");
    assert!(increment(&ticked) > increment(&old("BTC/USD").expect("a pair")), "{ticked}");
    let gone = until(&mut client, "delisting", about("ETH/USD"))["data"]["pairs"][0].clone();
    assert_eq!((&gone["status"], &old("ETH/USD").expect("a pair")["status"]), (&json!("delisted"), &json!("online")));
    let new = until(&mut client, "listing", about("SOL/USD"))["data"]["pairs"][0].clone();
    assert_eq!(new["status"], "online", "{new}");
    say(&mut client, r#"{"method":"subscribe","params":{"channel":"trade","symbol":["SOL/USD"]}}"#);
    let mut others = 0;
    until(&mut client, "trade of the new one", |frame| {
        frame["channel"] == "trade" && frame["data"].as_array().is_some_and(|data| data[0]["symbol"] == "SOL/USD")
    });
    until(&mut client, "hundred trades", |frame| {
        assert!(frame["channel"] != "trade" || frame["data"][0]["symbol"] != "ETH/USD", "{frame}");
        others += usize::from(frame["channel"] == "trade");
        others == 100
    });
}

#[test]
fn coinbase_tells_the_status_channels_of_both_protocols() {
    let server = server(EmulatedVenue::Coinbase, ["BTC-USD", "ETH-USD", "SOL-USD"]);
    let mut exchange = connect(server.addr(), "/");
    let subscribe = r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches",{"name":"status"}]}"#;
    say(&mut exchange, subscribe);
    let mut advanced = connect(server.addr(), "/");
    let ids = json!(["BTC-USD", "ETH-USD"]);
    say(&mut advanced, &json!({"type": "subscribe", "channel": "status", "product_ids": ids}).to_string());
    let product = |frame: &Value, id: &str| {
        let products = frame["products"].as_array().or_else(|| frame["events"][0]["products"].as_array());
        products.and_then(|list| list.iter().find(|product| product["id"] == id)).cloned()
    };
    let first = until(&mut exchange, "status", |frame| frame["type"] == "status");
    assert!(product(&first, "SOL-USD").is_none() && product(&first, "ETH-USD").is_some(), "{first}");
    let increment = product(&first, "BTC-USD").expect("a product")["quote_increment"].clone();
    let later =
        until(&mut exchange, "status", |frame| frame["type"] == "status" && product(frame, "SOL-USD").is_some());
    assert_eq!(product(&later, "ETH-USD").expect("a product")["status"], "delisted");
    assert_ne!(product(&later, "BTC-USD").expect("a product")["quote_increment"], increment);
    let gone = |frame: &Value| product(frame, "ETH-USD").is_some_and(|product| product["status"] == "delisted");
    until(&mut advanced, "status of a delisted product", gone);
    let ticked =
        |frame: &Value| product(frame, "BTC-USD").is_some_and(|product| product["quote_increment"] != increment);
    until(&mut advanced, "status with the new tick", ticked);
}

#[test]
fn binance_and_alpaca_say_it_by_rest_alone() {
    let server = server(EmulatedVenue::Binance, ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    let entry = |symbol: &str| {
        let info = body(&server, "/api/v3/exchangeInfo");
        info["symbols"].as_array().expect("symbols").iter().find(|entry| entry["symbol"] == symbol).cloned()
    };
    let tick = |symbol: &str| entry(symbol).expect("a symbol")["filters"][0]["tickSize"].clone();
    let (old, mut client) = (tick("BTCUSDT"), connect(server.addr(), "/stream?streams=btcusdt@trade/ethusdt@trade"));
    assert!(entry("SOLUSDT").is_none());
    until(&mut client, "trade", |frame| frame["stream"] == "ethusdt@trade");
    while entry("SOLUSDT").is_none() {
        pause();
    }
    assert_eq!(
        (entry("ETHUSDT").expect("listed once")["status"].clone(), tick("BTCUSDT") == old),
        (json!("BREAK"), false)
    );
    // What was sent before the delisting may still be on its way.
    (0..200).for_each(|_| drop(next(&mut client)));
    for _ in 0..200 {
        let frame = next(&mut client);
        assert!(frame["stream"] == "btcusdt@trade" && frame["data"]["e"] == "trade", "{frame}");
    }
    let stocks = self::server(EmulatedVenue::Alpaca, ["MSFT", "AAPL", "TSLA"]);
    let names = |status: &str| -> Vec<String> {
        let list = body(&stocks, &format!("/v2/assets?asset_class=us_equity&status={status}"));
        list.as_array().expect("assets").iter().map(|asset| asset["symbol"].to_string()).collect()
    };
    assert!(names("active").contains(&"\"AAPL\"".to_owned()) && !names("active").contains(&"\"TSLA\"".to_owned()));
    let mut client = connect(stocks.addr(), "/v2/sip");
    say(&mut client, r#"{"action":"auth","key":"ALPHAPULSE-EMULATOR","secret":"YWxwaGFwdWxzZS10ZXN0LXNlY3JldA=="}"#);
    say(&mut client, r#"{"action":"subscribe","trades":["*"]}"#);
    while !names("active").contains(&"\"TSLA\"".to_owned()) {
        pause();
    }
    assert_eq!(names("inactive"), ["\"AAPL\""]);
    let (status, _, body) = get(server.addr(), "/api/v3/depth?symbol=SOLUSDT&limit=5");
    assert_eq!(status, 200, "{body}");
}
