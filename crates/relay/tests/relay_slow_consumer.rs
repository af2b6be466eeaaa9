//! A stopped and resumed client is told exactly what it missed; the others lose nothing.

mod common;

use common::*;
use model::Venue;
use relay::{ClientError, Slow, Start, Subscription};
use std::time::Duration;

const SLOTS: u64 = 1 << 14;

#[test]
fn a_stopped_client_is_accounted_for_and_nobody_else_loses_a_record() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, SLOTS, &["BTC", "ETH"]);
    feed.publish();
    let relay = Running::start(rings.path(), &socket);
    let from = Start::Oldest;
    let mut stopped = over_socket(&socket, Subscription { from: from.clone(), ..Subscription::default() });
    let mut others: Vec<_> = (0..3)
        .map(|_| (over_socket(&socket, Subscription { from: from.clone(), ..Subscription::default() }), Vec::new()))
        .collect();
    // Ten rings' worth, at the pace of those who read: they must lose nothing.
    while feed.writer.position() < SLOTS * 10 {
        feed.run(500);
        for (client, all) in &mut others {
            collect_until(client, all, |all| reached(all, 7, feed.last()));
        }
    }
    for (_, all) in &others {
        assert_eq!(account(all, Venue::Kraken), [(7, 1, feed.last(), "told")]);
    }
    // The stopped one reads again, and more comes.
    let mut all = Vec::new();
    collect_until(&mut stopped, &mut all, |all| all.iter().any(|got| got.sequence == 0));
    feed.run(500);
    collect_until(&mut stopped, &mut all, |all| reached(all, 7, feed.last()));
    let ranges = account(&all, Venue::Kraken);
    let kinds: Vec<_> = ranges.iter().map(|range| range.3).collect();
    assert_eq!(kinds, ["told", "lost", "told"], "{ranges:?}");
    assert_eq!((ranges[0].1, ranges[2].2), (1, feed.last()));
    assert!(ranges.windows(2).all(|pair| pair[1].1 == pair[0].2 + 1), "a hole: {ranges:?}");
    assert_eq!(rebuilt(&all), feed.books);
    // The numbers tell the same.
    let missed = ranges[1].2 - ranges[1].1 + 1;
    wait_for(|| relay.stats.get().clients.iter().any(|client| (client.missed, client.overruns) == (missed, 1)));
    let stats = relay.stats.get();
    assert_eq!(stats.clients.iter().filter(|client| client.missed > 0).count(), 1);
    assert!(stats.batches_encoded < stats.batches_sent, "equal clients share batches: {stats:?}");
}

#[test]
fn a_client_that_wants_no_skipping_is_told_its_loss_and_closed() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, SLOTS, &["BTC"]);
    feed.publish();
    let relay = Running::start(rings.path(), &socket);
    let subscription = Subscription { from: Start::Oldest, slow: Slow::Disconnect, ..Subscription::default() };
    let mut client = over_socket(&socket, subscription);
    wait_for(|| relay.stats.get().clients.len() == 1);
    while feed.writer.position() < SLOTS * 10 {
        feed.run(500);
        std::thread::sleep(Duration::from_micros(200));
    }
    let mut all = Vec::new();
    let error = loop {
        match client.poll(|delivery, words| all.push(got(delivery, words))) {
            Ok(0) => client.wait(Duration::from_millis(20)),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::TooSlow { venue: Venue::Kraken }), "{error}");
    let ranges = account(&all, Venue::Kraken);
    assert_eq!(ranges.iter().map(|range| range.3).collect::<Vec<_>>(), ["told", "lost"], "{ranges:?}");
    assert_eq!(ranges[1].1, ranges[0].2 + 1);
    wait_for(|| relay.stats.get().clients.is_empty());
}
