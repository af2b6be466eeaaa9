//! The pages of a running gateway, and its end.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use market::{Market, get, get_until};
use serde_json::{Value, json};
use tungstenite::Message;

#[test]
fn the_pages_say_what_is_here() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let page = get_until(address, "/", |page| page.contains("3 instruments"));
    assert!(page.contains("SIMULATED</strong> The data of binance, kraken"), "{page}");
    let answer = get_until(address, "/v1/instruments", |answer| answer.contains("BTCUSDT"));
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let list: Vec<Value> = serde_json::from_str(body).expect("a list");
    let symbols: Vec<_> = list.iter().map(|i| (i["venue"].as_str(), i["symbol"].as_str())).collect();
    let expected = [("binance", "BTC-USDT"), ("kraken", "BTC-USD"), ("kraken", "ETH-USD")];
    assert_eq!(symbols, expected.map(|(venue, symbol)| (Some(venue), Some(symbol))));
    assert_eq!(get(address, "/healthz", &address.to_string()).0, 200);
    assert_eq!(get(address, "/nowhere", &address.to_string()).0, 404);
    let (status, metrics) = get(address, "/metrics", &address.to_string());
    assert_eq!(status, 200);
    assert!(metrics.contains("ws_clients 0"), "{metrics}");
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let mut client = market.client();
    client.subscribe(json!({}));
    get_until(address, "/metrics", |text| text.contains("ws_clients 1") && text.contains("ws_lag_slots{client="));
    drop(client);
    get_until(address, "/metrics", |text| text.contains("ws_clients 0") && !text.contains("ws_lag_slots{client="));
}

#[test]
fn a_stop_tells_what_was_read_and_closes_with_1001() {
    let mut market = Market::open(1024);
    let (mut idle, mut client) = (market.client(), market.client());
    client.subscribe(json!({"types": ["trade"]}));
    // Once something live of each venue has come, nothing but records is left to read.
    market.kraken.trades("BTC/USD", 0, 1);
    market.binance.trades("BTCUSDT", 0, 1);
    for _ in 0..2 {
        client.until(|line| line["trade_id"] == "0");
    }
    // Few enough to be published at once, and so to be read at once.
    market.kraken.trades("BTC/USD", 1, 200);
    assert_eq!(client.data()["trade_id"], "1");
    let Market { gateway, .. } = market;
    let address = gateway.addr();
    let stopping = std::thread::spawn(move || gateway.stop());
    let mut last = 1;
    for client in [&mut client, &mut idle] {
        loop {
            match client.message() {
                Message::Text(text) => {
                    let line: Value = serde_json::from_str(&text).expect("JSON");
                    if line["type"] == "trade" {
                        last += 1;
                        assert_eq!(line["trade_id"], last.to_string());
                    }
                }
                Message::Close(frame) => {
                    assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1001));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(last, 200, "what was read for it in one piece came before the close");
    // The goodbye is answered by the next read; only then is the server's side over.
    for client in [&mut client, &mut idle] {
        client.hang_up();
    }
    stopping.join().expect("an orderly stop");
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}
