//! A relay that dies and comes back: its clients go on without a hole and without a repeat, as long as the ring holds
//! what was written meanwhile; what it no longer holds is named.

mod common;

use common::*;
use model::Venue;
use relay::Subscription;

#[test]
fn a_restart_within_the_window_costs_nothing() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feeds = [(Venue::Kraken, 7), (Venue::Binance, 3)]
        .map(|(venue, epoch)| Feed::open(rings.path(), venue, epoch, 1 << 14, &["BTC", "ETH"]));
    feeds.iter_mut().for_each(Feed::publish);
    let mut relay = Running::start(rings.path(), &socket);
    let mut client = over_socket(&socket, Subscription::default());
    let joined = feeds.each_ref().map(Feed::last);
    let mut all = Vec::new();
    for round in 0..5 {
        feeds.iter_mut().for_each(|feed| feed.run(300));
        if round % 2 == 0 {
            let fresh = |all: &[Got]| all.iter().any(|got| !got.catch_up);
            collect_until(&mut client, &mut all, fresh);
        }
        drop(relay);
        feeds.iter_mut().for_each(|feed| feed.run(300));
        relay = Running::start(rings.path(), &socket);
    }
    let ends = |all: &[Got]| {
        feeds.iter().all(|feed| {
            all.iter().rev().any(|got| got.venue == feed.venue && !got.catch_up && got.sequence == feed.last())
        })
    };
    collect_until(&mut client, &mut all, ends);
    for (feed, joined) in feeds.iter().zip(joined) {
        assert_eq!(account(&all, feed.venue), [(feed.writer.epoch(), joined + 1, feed.last(), "told")]);
    }
}

#[test]
fn what_the_ring_no_longer_holds_after_a_restart_is_named() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 11, &["BTC"]);
    feed.publish();
    let relay = Running::start(rings.path(), &socket);
    let mut client = over_socket(&socket, Subscription::default());
    let joined = feed.last();
    feed.run(100);
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    let before = feed.last();
    drop(relay);
    // The feed is restarted too, and writes more than the ring holds in its new epoch.
    drop(feed);
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 8, 1 << 11, &["BTC"]);
    feed.run(5_000);
    let _relay = Running::start(rings.path(), &socket);
    collect_until(&mut client, &mut all, |all| reached(all, 8, feed.last()));
    let ranges = account(&all, Venue::Kraken);
    assert_eq!(ranges[0], (7, joined + 1, before, "told"));
    assert_eq!((ranges[1].0, ranges[1].1, ranges[1].3), (8, 1, "lost"));
    assert_eq!(ranges[2], (8, ranges[1].2 + 1, feed.last(), "told"));
    assert_eq!(rebuilt(&all), feed.books);
}
