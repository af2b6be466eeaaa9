//! Who joins late rebuilds the books the writer has, whenever it joins.

mod common;

use common::*;
use model::Venue;
use relay::{Snapshots, Subscription};
use std::{io::Read, os::unix::net::UnixListener};
use wire::Record;

#[test]
fn books_rebuilt_by_late_joiners_equal_the_writers() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 16, &["BTC", "ETH", "SOL", "ADA"]);
    feed.publish();
    let _relay = Running::start(rings.path(), &socket);
    let mut joiners = Vec::new();
    for _ in 0..12 {
        feed.run(777);
        let before = feed.last();
        joiners.push((before, over_socket(&socket, Subscription::default())));
    }
    feed.run(100);
    for (joined_after, mut client) in joiners {
        let mut all = Vec::new();
        collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
        let ranges = account(&all, Venue::Kraken);
        assert_eq!(rebuilt(&all), feed.books);
        assert_eq!(ranges, [(7, joined_after + 1, feed.last(), "told")]);
        let caught_up = all.iter().take_while(|got| got.catch_up).count();
        assert!(all[..caught_up].iter().all(|got| got.sequence <= joined_after), "caught up on what is owed anyway");
    }
}

#[test]
fn definitions_come_before_anything_that_needs_them() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 13, &["BTC", "ETH", "SOL"]);
    feed.run(5_000);
    let _relay = Running::start(rings.path(), &socket);
    let mut client = over_socket(&socket, Subscription { symbols: vec!["ETH-USD".into()], ..Subscription::default() });
    feed.run(500);
    let mut all = Vec::new();
    let eth = feed.instruments[1].id;
    collect_until(&mut client, &mut all, |all| {
        all.iter().filter(|got| !got.catch_up && matches!(got.record(), Record::Trade(_))).count() >= 5
    });
    let mut defined = false;
    for got in &all {
        let record = got.record();
        defined |= matches!(record, Record::Instrument(_));
        let of = wire::Header::read(&got.words).expect("header").instrument();
        assert!(of == model::InstrumentId::NONE || (of == eth && defined), "{record:?}");
    }
    assert!(client.instruments().find(Venue::Kraken, "ETH-USD").is_some());
    assert!(client.instruments().find(Venue::Kraken, "BTC-USD").is_none());
}

#[test]
fn a_state_from_before_the_last_definition_has_a_definition_too() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Alpaca, 7, 1 << 13, &["BTC", "ETH"]);
    feed.redefine(0);
    feed.publish();
    let _relay = Running::start(rings.path(), &socket);
    // Whoever wants no books starts at the states.
    let types = vec!["trade".to_owned(), "status".to_owned()];
    let mut client = over_socket(&socket, Subscription { types, ..Subscription::default() });
    feed.run(200);
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| all.iter().any(|got| !got.catch_up));
    let mut defined = std::collections::BTreeSet::new();
    let mut states = 0;
    for got in &all {
        let of = wire::Header::read(&got.words).expect("header").instrument();
        if matches!(got.record(), Record::Instrument(_)) {
            defined.insert(of);
        }
        states +=
            u32::from(got.catch_up && of != model::InstrumentId::NONE && matches!(got.record(), Record::Status(_)));
        assert!(of == model::InstrumentId::NONE || defined.contains(&of), "{:?}", got.record());
    }
    assert_eq!((states, defined.len()), (2, 2));
}

/// What was asked of a feed of which there is nothing but the socket.
fn asked(listener: &UnixListener) -> String {
    let (mut caller, _) = listener.accept().expect("a caller");
    let mut line = String::new();
    caller.read_to_string(&mut line).expect("text");
    line
}

#[test]
fn the_feed_is_asked_for_books_of_which_no_snapshot_is_held() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 10, &["BTC", "ETH"]);
    let listener = UnixListener::bind(rings.path().join("kraken.ask")).expect("a socket");
    feed.publish();
    let relay = Running::start(rings.path(), &socket);
    // Both books are held: nobody is asked, unless a joiner wants it so.
    let held = over_socket(&socket, Subscription { symbols: vec!["BTC-USD".into()], ..Subscription::default() });
    let fresh = Subscription { snapshots: Snapshots::Fresh, ..Subscription::default() };
    let eth = Subscription { symbols: vec!["eth-usd".into()], ..fresh.clone() };
    let (one, two) = (over_socket(&socket, eth), over_rings(rings.path(), fresh));
    assert_eq!(asked(&listener), "snapshot ETH/USD\n");
    let mut both: Vec<String> = asked(&listener).split_whitespace().map(str::to_owned).collect();
    both.sort_unstable();
    assert_eq!(both, ["BTC/USD", "ETH/USD", "snapshot"]);
    // Who stays and falls behind would ask again.
    drop((held, one, two));
    wait_for(|| relay.stats.get().clients.is_empty());
    // Of ETH one is told now and then, of BTC only the definition: its last snapshot falls out of the ring.
    for _ in 0..4 {
        (0..400).for_each(|_| feed.tick());
        feed.define(1);
        feed.redefine(0);
    }
    feed.publish();
    let before = feed.last();
    let mut late = over_socket(&socket, Subscription::default());
    assert_eq!(asked(&listener), "snapshot BTC/USD\n");
    // The answer is for all to see, and makes the joiner's book whole.
    feed.define(0);
    (0..50).for_each(|_| feed.tick());
    feed.publish();
    let mut all = Vec::new();
    collect_until(&mut late, &mut all, |all| reached(all, 7, feed.last()));
    assert_eq!(rebuilt(&all), feed.books);
    assert_eq!(account(&all, Venue::Kraken), [(7, before + 1, feed.last(), "told")]);
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err(), "nobody asks twice");
}

#[test]
fn a_reader_of_a_ring_that_no_longer_defines_an_instrument_asks_by_its_id() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 10, &["BTC", "ETH"]);
    let listener = UnixListener::bind(rings.path().join("kraken.ask")).expect("a socket");
    for _ in 0..4 {
        (0..400).for_each(|_| feed.tick());
        feed.define(1);
    }
    feed.publish();
    let mut late = over_rings(rings.path(), Subscription::default());
    assert_eq!(asked(&listener), format!("snapshot #{}\n", feed.instruments[0].id));
    let btc = Subscription { symbols: vec!["BTC-USD".into()], ..Subscription::default() };
    let _one = over_rings(rings.path(), btc);
    assert_eq!(asked(&listener), "snapshot BTC-USD\n");
    feed.define(0);
    (0..50).for_each(|_| feed.tick());
    feed.publish();
    let mut all = Vec::new();
    collect_until(&mut late, &mut all, |all| reached(all, 7, feed.last()));
    assert_eq!(rebuilt(&all), feed.books);
}

#[test]
fn who_wants_fresh_books_of_nobody_is_told_so() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 10, &["BTC"]);
    feed.publish();
    let client = over_rings(rings.path(), Subscription { snapshots: Snapshots::Fresh, ..Subscription::default() });
    let warned = client.warnings().join("; ");
    assert!(warned.starts_with("kraken: its feed cannot be asked for fresh books"), "{warned}");
    assert!(over_rings(rings.path(), Subscription::default()).warnings().is_empty());
}
