//! The pages of a running gateway, and its end.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use market::{Market, body};
use serde_json::{Value, json};
use tungstenite::Message;

#[test]
fn the_pages_say_what_is_here() {
    let market = Market::open(1024);
    let page = market.get_until("/", |page| page.contains("3 instruments"));
    assert!(page.contains("SIMULATED</strong> The data of binance, kraken"), "{page}");
    let answer = market.get_until("/v1/instruments", |answer| answer.contains("BTCUSDT"));
    let list = body(&answer).as_array().expect("a list").clone();
    let symbols: Vec<_> = list.iter().map(|i| (i["venue"].as_str(), i["symbol"].as_str())).collect();
    let expected = [("binance", "BTC-USDT"), ("kraken", "BTC-USD"), ("kraken", "ETH-USD")];
    assert_eq!(symbols, expected.map(|(venue, symbol)| (Some(venue), Some(symbol))));
    assert_eq!(market.get("/healthz").0, 200);
    assert_eq!(market.get("/nowhere").0, 404);
    let (status, metrics) = market.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("ws_clients 0"), "{metrics}");
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let market = Market::open(1024);
    let mut client = market.client();
    client.subscribe(json!({}));
    market.get_until("/metrics", |text| text.contains("ws_clients 1") && text.contains("ws_lag_slots{client="));
    drop(client);
    market.get_until("/metrics", |text| text.contains("ws_clients 0") && !text.contains("ws_lag_slots{client="));
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
