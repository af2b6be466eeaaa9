//! A client that stops reading is told exactly what it missed; another loses nothing meanwhile.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use market::{Client, Market};
use serde_json::{Value, json};
use std::net::TcpStream;

/// Small, so that the kernel keeps little for a client that does not read.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;
const RING_SLOTS: u64 = 1024;
/// Together some ten times what the kernel, the way and the ring keep.
const TRADES: u64 = 20_000;
const BATCH: u64 = 100;

/// A connection with a small receive buffer.
fn narrow(market: &Market) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream: TcpStream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        socket.connect(market.gateway.addr()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    Client::over(stream, &[("authorization", &market::bearer(&market.key))]).expect("an upgrade")
}

fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("{field} of {line}"))
}

#[test]
fn a_stopped_client_is_told_exactly_what_it_missed_and_another_loses_nothing() {
    let mut market = Market::open(RING_SLOTS);
    let (mut fast, mut slow) = (market.client(), narrow(&market));
    let request = json!({"venues": ["kraken"], "types": ["trade"]});
    fast.subscribe(request.clone());
    slow.subscribe(request);

    // The writer goes no faster than the fast client, and the slow one reads nothing.
    let mut last = 0;
    let mut first = None;
    for batch in 0..TRADES / BATCH {
        last = market.kraken.trades("BTC/USD", batch * BATCH, BATCH);
        let mut due = *first.get_or_insert(last - BATCH + 1) + batch * BATCH;
        while due <= last {
            let line = fast.data();
            assert_eq!((&line["type"], number(&line, "seq")), (&json!("trade"), due), "{line}");
            due += 1;
        }
    }

    // Every record comes or is named by an overrun, in order, none twice.
    let mut due = first.expect("trades were written");
    let (mut told, mut missed) = (0, 0);
    while due <= last {
        let line = slow.data();
        if line["type"] == "overrun" {
            assert_eq!(number(&line, "epoch"), market::EPOCH);
            assert_eq!(line["cause"], "slow");
            assert_eq!(number(&line, "first"), due, "{line}");
            assert_eq!(number(&line, "missing"), number(&line, "last") - due + 1, "{line}");
            missed += number(&line, "missing");
            due = number(&line, "last") + 1;
        } else {
            assert_eq!(number(&line, "seq"), due, "{line}");
            told += 1;
            due += 1;
        }
    }
    assert_eq!(told + missed, TRADES);
    assert!(missed > TRADES / 2, "it read nothing and yet missed only {missed}");

    let next = market.kraken.trades("BTC/USD", TRADES, 1);
    assert_eq!(number(&slow.data(), "seq"), next, "it goes on");
    assert_eq!(number(&fast.data(), "seq"), next);
    let metrics = market.registry.render();
    assert!(metrics.contains("\nws_clients 2\n"), "{metrics}");
    assert!(!metrics.contains("\nws_overruns_total 0\n"), "{metrics}");
}
