//! Whatever a client says first, the relay answers with one clear line, and goes on serving others.

mod common;

use common::*;
use model::Venue;
use relay::{Answer, HELLO_BYTES_MAX, ServerOptions, Subscription};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Sends `bytes`, reads until the relay closes.
fn say(socket: &Path, bytes: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(socket).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    // The relay may have heard enough before all is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(got @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..got]);
    }
    let text = String::from_utf8(answer).expect("text");
    assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text:?}");
    serde_json::from_str(&text).expect("one JSON line")
}

#[test]
fn each_mistake_gets_one_clear_line() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 12, &["BTC"]);
    feed.run(100);
    let _relay = Running::start(rings.path(), &socket);
    let too_long = vec![b' '; HELLO_BYTES_MAX + 4096];
    let cases: [(&[u8], &str); 10] = [
        (b"GET / HTTP/1.1\r\n", "not a subscription"),
        (b"GET / HTTP/1.1\r\n\r\n", "followed by more"),
        (b"\x00\xff\xfe\n", "not a subscription"),
        (b"\n", "not a subscription"),
        (br#"{"version":1,"subscribe":{},"token":"x"}"#, "token"),
        (br#"{"version":1,"subscribe":{"symbol":["BTC-USD"]}}"#, "symbol"),
        (br#"{"version":9,"subscribe":{},"later":1}"#, "version 9"),
        (br#"{"version":1,"subscribe":{"venues":["krakn"]}}"#, "krakn"),
        (br#"{"version":1,"subscribe":{"types":["trades"]}}"#, "trades"),
        (&too_long, "more than"),
    ];
    for (bytes, words) in cases {
        let line: Vec<u8> = bytes.iter().copied().chain(bytes.starts_with(b"{").then_some(b'\n')).collect();
        let answer = say(&socket, &line);
        let error = answer.error.expect("an error");
        assert!(!answer.ok);
        assert!(error.contains(words), "{:?}: {error}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    let mut client = over_socket(&socket, Subscription::default());
    feed.run(10);
    collect_until(&mut client, &mut Vec::new(), |all| reached(all, 7, feed.last()));
}

#[test]
fn an_unknown_symbol_is_subscribed_to_and_said() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 12, &["BTC"]);
    feed.publish();
    let _relay = Running::start(rings.path(), &socket);
    let symbols = vec!["BTC/USD".to_owned(), "DOGE-USD".to_owned()];
    let mut client = over_socket(&socket, Subscription { symbols, ..Subscription::default() });
    assert_eq!(client.unknown_symbols(), ["DOGE-USD"]);
    assert!(client.warnings()[0].contains("DOGE-USD"), "{:?}", client.warnings());
    // It comes once a feed defines it.
    feed.instruments.push(instrument(Venue::Kraken, "DOGE"));
    feed.books.insert(feed.instruments[1].id, book::PlainBook::new());
    feed.define(1);
    feed.run(100);
    collect_until(&mut client, &mut Vec::new(), |all| reached(all, 7, feed.last() - 20));
    assert!(client.instruments().find(Venue::Kraken, "DOGE-USD").is_some());
}

#[test]
fn one_client_too_many_is_told_so() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut options = ServerOptions::new(rings.path().to_owned(), socket.clone());
    options.clients_max = 2;
    let _relay = Running::with(options);
    let clients: Vec<_> = (0..2).map(|_| over_socket(&socket, Subscription::default())).collect();
    let error = relay::Client::open(
        relay::Source::Unix(socket.clone()),
        Subscription::default(),
        relay::ClientOptions::default(),
    )
    .err()
    .expect("refused");
    assert!(error.to_string().contains("2 clients are connected"), "{error}");
    drop(clients);
    // Their places are free again as soon as the relay noticed.
    wait_for(|| {
        relay::Client::open(
            relay::Source::Unix(socket.clone()),
            Subscription::default(),
            relay::ClientOptions::default(),
        )
        .is_ok()
    });
}

#[test]
fn who_talks_where_it_should_listen_is_dropped() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let relay = Running::start(rings.path(), &socket);
    let mut stream = UnixStream::connect(&socket).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    stream.write_all(b"{\"version\":1,\"subscribe\":{}}\n").expect("write");
    wait_for(|| relay.stats.get().clients.len() == 1);
    stream.write_all(b"more").expect("write");
    wait_for(|| relay.stats.get().clients.is_empty());
    // Also when it comes, or the end does, in one piece with the subscription.
    for (bytes, shut) in
        [(&b"{\"version\":1,\"subscribe\":{}}\nmore"[..], false), (b"{\"version\":1,\"subscribe\":{}}\n", true)]
    {
        let mut stream = UnixStream::connect(&socket).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
        stream.write_all(bytes).expect("write");
        if shut {
            stream.shutdown(std::net::Shutdown::Write).expect("shut");
        }
        let mut all = Vec::new();
        // Ends, by a close or a reset, rather than by the time-out.
        let ended = stream.read_to_end(&mut all);
        assert!(!matches!(ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
    }
}
