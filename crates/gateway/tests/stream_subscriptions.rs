//! A subscriber gets what it asked for, in order, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use market::Market;
use serde_json::json;

#[test]
fn only_what_was_asked_for_comes() {
    let mut market = Market::open(1024);
    let mut client = market.client();
    client.subscribe(json!({"id": 1, "venues": ["kraken"], "symbols": ["BTC-USD"], "types": ["trade"]}));
    market.binance.trades("BTCUSDT", 900, 1);
    market.kraken.trades("ETH/USD", 800, 1);
    market.kraken.bid("BTC/USD", 5);
    let seq = market.kraken.trades("BTC/USD", 100, 2);
    for (id, seq) in [("100", seq - 1), ("101", seq)] {
        let line = client.data();
        assert_eq!(line["type"], "trade");
        assert_eq!(line["venue"], "kraken");
        assert_eq!(line["symbol"], "BTC-USD");
        assert_eq!(line["price"], "64123.4");
        assert_eq!(line["size"], "0.00351");
        assert_eq!(line["side"], "buy");
        assert_eq!(line["trade_id"], id);
        assert_eq!(line["epoch"], market::EPOCH);
        assert_eq!(line["seq"], seq);
    }
}

#[test]
fn the_book_comes_before_its_changes() {
    let mut market = Market::open(1024);
    let snapshot = market.kraken.snapshot("BTC/USD");
    let mut client = market.client();
    client.subscribe(json!({"venues": ["kraken"], "types": ["book"], "from": "now"}));
    let defined = client.until(|line| line["type"] == "instrument" && line["symbol"] == "BTC-USD");
    assert_eq!(defined["venue_symbol"], "BTC/USD");
    let book = client.data();
    assert_eq!((&book["kind"], &book["seq"]), (&json!("snapshot"), &json!(snapshot)), "{book}");
    assert_eq!(book["bids"], json!([["64123.4", "0.5"]]));
    assert_eq!(book["asks"], json!([["64123.5", "0.5"]]));
    let change = market.kraken.bid("BTC/USD", 0);
    let book = client.data();
    assert_eq!((&book["kind"], &book["seq"]), (&json!("update"), &json!(change)), "{book}");
    assert_eq!(book["bids"], json!([["64123.4", "0"]]));
}

#[test]
fn a_new_subscription_replaces_the_old_one() {
    let mut market = Market::open(1024);
    let mut client = market.client();
    client.subscribe(json!({"id": 1, "types": ["trade"]}));
    market.kraken.trades("BTC/USD", 1, 1);
    assert_eq!(client.data()["trade_id"], "1");

    client.subscribe(json!({"id": 2, "venues": ["binance"], "types": ["trade"]}));
    market.kraken.trades("BTC/USD", 2, 1);
    market.binance.trades("BTCUSDT", 3, 1);
    assert_eq!(client.data()["trade_id"], "3");

    client.say(r#"{"op":"unsubscribe","id":3}"#);
    assert_eq!(client.until(|line| line["type"] == "unsubscribed")["id"], 3);
    market.binance.trades("BTCUSDT", 4, 1);
    client.say(r#"{"op":"ping","id":4}"#);
    assert_eq!(client.next(), json!({"type": "pong", "id": 4}), "nothing comes after the end of a subscription");
}

#[test]
fn what_nobody_has_defined_is_named_and_comes_once_it_is() {
    let mut market = Market::open(1024);
    let mut client = market.client();
    client.say(r#"{"op":"subscribe","id":1,"symbols":["BTC-USD","DOGE-USD"]}"#);
    let answer = client.next();
    assert_eq!(answer["type"], "subscribed");
    assert_eq!(answer["unknown_symbols"], json!(["DOGE-USD"]));
    let warnings = answer["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains("DOGE-USD"))), "{answer}");
    market.kraken.define("DOGE-USD", "DOGE/USD");
    market.kraken.trades("ETH/USD", 1, 1);
    market.kraken.trades("DOGE/USD", 2, 1);
    let line = client.data();
    assert_eq!((&line["symbol"], &line["trade_id"]), (&json!("DOGE-USD"), &json!("2")));
}
