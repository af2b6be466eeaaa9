//! The relay on TCP: TLS and a token let the right ones in, and everybody else gets one clear line or none, in time.

mod common;

use common::*;
use model::Venue;
use relay::{
    Answer, Client, ClientError, ClientOptions, Server, ServerError, ServerOptions, Source, Start, Subscription,
    TcpOptions, TcpSource, Trust,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn refused(source: TcpSource) -> ClientError {
    Client::open(Source::Tcp(source), Subscription::default(), ClientOptions::default()).err().expect("refused")
}

/// Everything until the other side ends the connection, which it does.
fn read_out(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(got) => all.extend_from_slice(&piece[..got]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("still open"),
            Err(_) => return all,
        }
    }
}

#[test]
fn over_tls_the_same_comes_as_over_the_unix_socket() {
    let (rings, pki) = (folder(), Pki::new());
    let socket = rings.path().join("relay.sock");
    let mut feeds = [(Venue::Kraken, 7), (Venue::Binance, 3)]
        .map(|(venue, epoch)| Feed::open(rings.path(), venue, epoch, 1 << 14, &["BTC", "ETH"]));
    feeds.iter_mut().for_each(|feed| feed.run(500));
    let relay = Running::with(guarded(rings.path(), &socket, &pki));
    let subscription = Subscription { from: Start::Oldest, ..Subscription::default() };
    let mut local = over_socket(&socket, subscription.clone());
    let mut remote = over_tcp(over_tls(relay.tcp.expect("listens"), &pki), subscription);
    assert_eq!((remote.site(), remote.connections(), remote.lag()), (Some("there"), 1, None));
    feeds.iter_mut().for_each(|feed| feed.run(2000));
    let all = [&mut local, &mut remote].map(|client| {
        let mut all = Vec::new();
        collect_until(client, &mut all, |all| {
            feeds.iter().all(|feed| all.iter().any(|got| got.venue == feed.venue && got.sequence == feed.last()))
        });
        all
    });
    for feed in &feeds {
        let [local, remote] =
            all.each_ref().map(|all| all.iter().filter(|got| got.venue == feed.venue).collect::<Vec<_>>());
        assert_eq!(local, remote);
    }
    let clients = relay.stats.get().clients;
    wait_for(|| relay.stats.get().clients.len() == 2);
    let address = relay.stats.get().clients.iter().find_map(|client| client.address);
    assert!(address.is_some_and(|address| address.ip().is_loopback()), "{clients:?}");
}

#[test]
fn who_does_not_know_the_token_is_told_so_and_nothing_else() {
    let (rings, pki) = (folder(), Pki::new());
    let relay = Running::with(guarded(rings.path(), &rings.path().join("relay.sock"), &pki));
    let right = over_tls(relay.tcp.expect("listens"), &pki);
    let wrong = refused(TcpSource { token: Some(token(&TOKEN.replace("some", "same"))), ..right.clone() });
    assert!(wrong.to_string().contains("the token is wrong"), "{wrong}");
    assert!(!format!("{wrong:?} {wrong}").contains("-of-same-length"), "a secret in a message: {wrong:?}");
    let missing = refused(TcpSource { token: None, ..right.clone() });
    assert!(missing.to_string().contains("the token is missing"), "{missing}");
    let mut client = over_tcp(right, Subscription::default());
    assert_eq!(client.poll(|_, _| {}).expect("served"), 0);
    assert!(
        relay.stats.get().refused >= 2 || {
            wait_for(|| relay.stats.get().refused >= 2);
            true
        }
    );
}

#[test]
fn only_a_relay_with_the_right_certificate_is_talked_to() {
    let (rings, pki, other) = (folder(), Pki::new(), Pki::new());
    let relay = Running::with(guarded(rings.path(), &rings.path().join("relay.sock"), &pki));
    let right = over_tls(relay.tcp.expect("listens"), &pki);
    let roots = |pki: &Pki, name: &str| Trust::Roots { file: pki.file("ca.pem"), server_name: Some(name.to_owned()) };
    for trust in [roots(&other, "localhost"), roots(&pki, "elsewhere.example")] {
        let error = refused(TcpSource { trust, ..right.clone() });
        assert!(matches!(error, ClientError::Trust { .. }), "{error}");
    }
    // By the address's own host, when no name is given.
    let trust = Trust::Roots { file: pki.file("ca.pem"), server_name: None };
    over_tcp(TcpSource { trust, ..right.clone() }, Subscription::default());
    // In the clear it is not talked to at all.
    let error = refused(TcpSource { trust: Trust::Loopback, ..right.clone() });
    assert!(!matches!(error, ClientError::Refused { .. }), "{error}");
    let error = refused(TcpSource { trust: Trust::Loopback, address: "192.0.2.1:7".to_owned(), ..right.clone() });
    assert!(matches!(error, ClientError::InTheClear { .. }), "{error}");
    let error = refused(TcpSource { address: "no-port".to_owned(), ..right });
    assert!(error.to_string().contains("host:port"), "{error}");
}

#[test]
fn strangers_are_sent_away_in_time_and_the_others_served() {
    let (rings, pki) = (folder(), Pki::new());
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 14, &["BTC"]);
    feed.publish();
    let relay = Running::with(guarded(rings.path(), &rings.path().join("relay.sock"), &pki));
    let address = relay.tcp.expect("listens");
    let mut client = over_tcp(over_tls(address, &pki), Subscription::default());
    let connect = || TcpStream::connect(address).expect("connect");
    // Plaintext, noise, a TLS record that promises more than comes, a first byte and nothing more, nothing at all.
    let (plain, noise, short, slow, silent) = (connect(), connect(), connect(), connect(), connect());
    let _ = (&plain).write_all(b"{\"version\":1,\"subscribe\":{}}\n");
    let _ = (&noise).write_all(&[0xa5; 20_000]);
    let _ = (&short).write_all(&[22, 3, 1, 0x40, 0, 1, 2, 3]);
    let _ = (&slow).write_all(&[22]);
    // The relay serves while they stand at its door.
    let mut all = Vec::new();
    feed.run(500);
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    for stranger in [&plain, &noise, &short, &slow, &silent] {
        let heard = read_out(stranger);
        assert!(!heard.contains(&b'{'), "a stranger was told {heard:?}");
    }
    feed.run(500);
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    assert_eq!(account(&all, Venue::Kraken).len(), 1);
}

#[test]
fn who_drips_its_first_line_is_sent_away_in_time() {
    let rings = folder();
    let mut options = ServerOptions::new(rings.path().to_owned(), rings.path().join("relay.sock"));
    options.tcp = Some(TcpOptions::new("127.0.0.1:0".parse().expect("address")));
    let relay = Running::with(options);
    let mut stream = TcpStream::connect(relay.tcp.expect("listens")).expect("connect");
    // Every byte in itself is quick; together they take for ever.
    let mut sent = 0;
    wait_for(|| {
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b" ").is_err()
    });
    assert!(sent > 10);
}

#[test]
fn an_address_that_keeps_failing_is_not_listened_to_for_a_while() {
    let (rings, pki) = (folder(), Pki::new());
    let relay = Running::with(guarded(rings.path(), &rings.path().join("relay.sock"), &pki));
    let right = over_tls(relay.tcp.expect("listens"), &pki);
    let wrong = TcpSource { token: None, ..right.clone() };
    // Ten failures at once; then it is not even told why.
    let turned_away = (0..40).any(|_| !matches!(refused(wrong.clone()), ClientError::Refused { .. }));
    assert!(turned_away);
    // After a while it may try again.
    wait_for(|| {
        std::thread::sleep(Duration::from_millis(200));
        Client::open(Source::Tcp(right.clone()), Subscription::default(), ClientOptions::default()).is_ok()
    });
}

#[test]
fn a_crowd_of_one_address_leaves_room_for_others() {
    let (rings, pki) = (folder(), Pki::new());
    let relay = Running::with(guarded(rings.path(), &rings.path().join("relay.sock"), &pki));
    let address = relay.tcp.expect("listens");
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(address).expect("connect")).collect();
    // More than a few of one address are turned away at once.
    wait_for(|| relay.stats.get().refused >= 80);
    drop(crowd);
    wait_for(|| {
        std::thread::sleep(Duration::from_millis(200));
        Client::open(Source::Tcp(over_tls(address, &pki)), Subscription::default(), ClientOptions::default()).is_ok()
    });
}

#[test]
fn beyond_loopback_it_listens_only_with_tls_and_a_token() {
    let (rings, pki) = (folder(), Pki::new());
    let bind = |listen: &str, tls: bool, secret: bool| {
        let mut options = guarded(rings.path(), &rings.path().join("relay.sock"), &pki);
        let mut tcp = options.tcp.take().expect("set");
        tcp.listen = listen.parse::<SocketAddr>().expect("address");
        tcp.identity = tcp.identity.filter(|_| tls);
        tcp.token = tcp.token.filter(|_| secret);
        options.tcp = Some(tcp);
        Server::bind(options).map(|_| ())
    };
    for (tls, secret, words) in
        [(false, false, "without TLS and a token"), (false, true, "without TLS:"), (true, false, "without a token")]
    {
        let error = bind("0.0.0.0:0", tls, secret).expect_err("unguarded");
        assert!(matches!(error, ServerError::Unguarded { .. }) && error.to_string().contains(words), "{error}");
    }
    bind("0.0.0.0:0", true, true).expect("guarded");
    bind("127.0.0.1:0", false, false).expect("loopback");
    let mut options = guarded(rings.path(), &rings.path().join("relay.sock"), &pki);
    if let Some(tcp) = &mut options.tcp {
        tcp.identity = Some(relay::Identity { certificate: pki.file("cert.pem"), key: pki.file("no-such.pem") });
    }
    let error = Server::bind(options).map(|_| ()).expect_err("no key").to_string();
    assert!(error.contains("no-such.pem"), "{error}");
}

#[test]
fn on_loopback_the_protocol_is_plain_for_whoever_asks_for_it() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 14, &["BTC"]);
    feed.publish();
    let mut options = ServerOptions::new(rings.path().to_owned(), rings.path().join("relay.sock"));
    options.tcp = Some(TcpOptions::new("127.0.0.1:0".parse().expect("address")));
    let relay = Running::with(options);
    let address = relay.tcp.expect("listens");
    let source = TcpSource { address: address.to_string(), trust: Trust::Loopback, token: None };
    let mut client = over_tcp(source, Subscription::default());
    feed.run(300);
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    assert_eq!(account(&all, Venue::Kraken).len(), 1);
    for (line, words) in [
        (&b"{\"version\":9,\"subscribe\":{}}\n"[..], "version 9"),
        (b"GET / HTTP/1.1\r\n\r\n", "followed by more"),
        (b"{\"version\":1,\"subscribe\":{\"types\":[\"trades\"]}}\n", "trades"),
    ] {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(line).expect("write");
        let answer: Answer = serde_json::from_slice(&read_out(&stream)).expect("one JSON line");
        assert!(!answer.ok && answer.error.as_deref().is_some_and(|error| error.contains(words)), "{answer:?}");
    }
}
