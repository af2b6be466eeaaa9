//! Sessions of many instruments: every venue names them, serves their deep books, and refuses what is too much.

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use common::{connect, get_with, next, say};
use emulator::{Account, EmulatedVenue, GeneratedSession, Options, Server, Session, StartError};
use serde_json::{Value, json};

const INSTRUMENTS: usize = 40;
const LEVELS: usize = 1000;

fn options(venue: EmulatedVenue, instruments: usize, levels: usize) -> Options {
    let session = GeneratedSession { instruments, levels, ..GeneratedSession::default() };
    Options { session: Session::Generated(session), ..Options::new(venue) }
}

/// What a REST list names, by a pointer to the list and the key of a name.
fn symbols(addr: SocketAddr, target: &str, list: &str, key: &str) -> BTreeSet<String> {
    let account = Account::default();
    let keys = format!("APCA-API-KEY-ID: {}\r\nAPCA-API-SECRET-KEY: {}\r\n", account.key, account.secret);
    let (status, _, body) = get_with(addr, target, &keys);
    assert_eq!(status, 200, "{target}: {body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let items: Vec<&Value> = match body.pointer(list).expect("a list") {
        Value::Array(items) => items.iter().collect(),
        Value::Object(items) => items.values().collect(),
        other => panic!("no list: {other}"),
    };
    items.iter().map(|item| item[key].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_venue_names_all() {
    for (venue, target, list, key) in [
        (EmulatedVenue::Kraken, "/0/public/AssetPairs", "/result", "wsname"),
        (EmulatedVenue::Binance, "/api/v3/exchangeInfo", "/symbols", "symbol"),
        (EmulatedVenue::Coinbase, "/products", "", "id"),
        (EmulatedVenue::Alpaca, "/v2/assets?asset_class=crypto&status=active", "", "symbol"),
    ] {
        let server = Server::start(options(venue, INSTRUMENTS, 60)).expect("a server");
        assert_eq!(symbols(server.addr(), target, list, key).len(), INSTRUMENTS, "{venue:?}");
    }
}

#[test]
fn deep_books_are_told_whole() {
    let server = Server::start(options(EmulatedVenue::Kraken, INSTRUMENTS, LEVELS)).expect("a server");
    let names = symbols(server.addr(), "/0/public/AssetPairs", "/result", "wsname");
    let wanted: Vec<String> = names.iter().map(|name| name.replace("XBT", "BTC")).collect();
    let mut client = connect(server.addr(), "/v2");
    let params = json!({"channel": "book", "symbol": wanted, "depth": LEVELS});
    say(&mut client, &json!({"method": "subscribe", "params": params}).to_string());
    let mut told = BTreeSet::new();
    while told.len() < INSTRUMENTS {
        let frame = next(&mut client);
        if frame["channel"] == "book" && frame["type"] == "snapshot" {
            let book = &frame["data"][0];
            for side in ["bids", "asks"] {
                assert_eq!(book[side].as_array().map(Vec::len), Some(LEVELS), "{}", book["symbol"]);
            }
            told.insert(book["symbol"].as_str().expect("a symbol").to_owned());
        }
    }
}

#[test]
fn too_much_is_refused() {
    for (instruments, levels, name) in [(2_001, 20, "instruments"), (0, 100_001, "levels"), (100, 10_001, "levels")] {
        match Server::start(options(EmulatedVenue::Binance, instruments, levels)) {
            Err(StartError::Option { name: refused, .. }) => assert_eq!(refused, name),
            other => panic!("{instruments} of {levels}: {other:?}"),
        }
    }
}
