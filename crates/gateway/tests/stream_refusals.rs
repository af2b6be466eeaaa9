//! What is refused is refused in words, and costs nobody else anything.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use gateway::{GatewayError, GatewayOptions, REQUEST_BYTES_MAX, Server};
use market::{Client, Market};
use relay::Source;
use serde_json::json;
use telemetry::Registry;
use tungstenite::Message;

#[test]
fn a_wrong_request_is_answered_and_the_connection_stays() {
    let mut market = Market::open(1024);
    let mut client = market.client();
    client.subscribe(json!({"id": 1, "types": ["trade"]}));
    for (request, id, words) in [
        ("subscribe please", json!(null), "one JSON object"),
        (r#"{"op":"subscribe","id":5,"venues":["krakn"]}"#, json!(5), "krakn"),
        (r#"{"op":"subscribe","id":6,"types":["ticks"]}"#, json!(6), "ticks"),
    ] {
        client.say(request);
        let answer = client.until(|line| line["type"] == "error");
        assert_eq!(answer["id"], id);
        assert!(answer["message"].as_str().is_some_and(|text| text.contains(words)), "{answer}");
    }
    market.kraken.trades("BTC/USD", 1, 1);
    assert_eq!(client.data()["trade_id"], "1", "the subscription before goes on");
}

#[test]
fn too_many_requests_are_refused_and_the_connection_stays() {
    let market = Market::open(1024);
    let mut client = market.client();
    for id in 0..200 {
        client.say(&json!({"op": "ping", "id": id}).to_string());
    }
    let answers: Vec<_> = (0..200).map(|_| client.next()).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer["type"] == "error").collect();
    assert_eq!(answers[0]["type"], "pong");
    assert!(!refused.is_empty());
    assert!(refused[0]["message"].as_str().is_some_and(|text| text.contains("too many requests")), "{}", refused[0]);
}

#[test]
fn a_request_that_is_too_long_ends_the_connection_with_1009() {
    let market = Market::open(1024);
    let mut client = market.client();
    client.say(&"x".repeat(REQUEST_BYTES_MAX + 1));
    let Message::Close(Some(frame)) = client.message() else { panic!("not a close") };
    assert_eq!(u16::from(frame.code), 1009, "{frame:?}");
}

#[test]
fn a_source_that_is_not_there_is_an_error_line() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key) = market::users(folder.path());
    let gateway = market::serve(Source::Unix(folder.path().join("relay.sock")), &Registry::new(), &store);
    let mut client = Client::connect(gateway.addr(), &key);
    client.say(r#"{"op":"subscribe","id":9}"#);
    let answer = client.next();
    assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!(9)));
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("relay.sock")), "{answer}");
    client.say(r#"{"op":"ping"}"#);
    assert_eq!(client.next()["type"], "pong");
    let sick = market::get_until(gateway.addr(), "/healthz", &key, |answer| answer.contains("503"));
    assert!(!sick.contains("relay.sock"), "whom anyone may ask names no paths: {sick}");
}

#[test]
fn busy_ports_and_addresses_that_others_reach_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = market::users(folder.path());
    let start = |listen: String| {
        let source = Source::Rings(folder.path().join("rings"));
        Server::start(GatewayOptions { listen, ..market::options(source, &Registry::new(), &store) })
    };
    let error = start("0.0.0.0:0".to_owned()).err().expect("a refusal");
    assert!(matches!(error, GatewayError::NoTls { .. }), "{error}");
    assert!(error.to_string().contains("listen on 127.0.0.1"), "{error}");
    let first = start("127.0.0.1:0".to_owned()).expect("a free port");
    let error = start(first.addr().to_string()).err().expect("a refusal");
    assert!(matches!(error, GatewayError::Bind { .. }), "{error}");
    assert!(error.to_string().contains(&first.addr().to_string()), "{error}");
}
