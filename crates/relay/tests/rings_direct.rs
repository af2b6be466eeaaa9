//! The client over the rings, without a relay.

mod common;

use common::*;
use model::Venue;
use relay::{Slow, Start, Subscription};

#[test]
fn a_joiner_gets_definitions_books_and_then_everything_once() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 14, &["BTC", "ETH", "SOL"]);
    feed.run(3_000);
    let joined = feed.last();
    let mut client = over_rings(rings.path(), Subscription::default());
    feed.run(1_000);
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    assert_eq!(account(&all, Venue::Kraken), [(7, joined + 1, feed.last(), "told")]);
    assert_eq!(rebuilt(&all), feed.books);
    assert_eq!(client.instruments().iter().count(), 3);
}

#[test]
fn an_overwritten_reader_is_told_what_it_missed_and_gets_the_books_anew() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 11, &["BTC", "ETH"]);
    feed.run(500);
    let from = Start::Oldest;
    let mut client = over_rings(rings.path(), Subscription { from, ..Subscription::default() });
    let mut all = Vec::new();
    let before = feed.last();
    collect_until(&mut client, &mut all, |all| reached(all, 7, before));
    feed.run(20_000);
    let skipped_to = feed.last();
    // The first poll notices; what is published after it is owed.
    while !all.iter().any(|got| got.sequence == 0) {
        client.poll(|delivery, words| all.push(got(delivery, words))).expect("poll");
    }
    feed.run(300);
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    let lost = (7, before + 1, skipped_to, "lost");
    assert_eq!(account(&all, Venue::Kraken), [(7, 1, before, "told"), lost, (7, skipped_to + 1, feed.last(), "told")]);
    assert_eq!(rebuilt(&all), feed.books);
}

#[test]
fn a_reader_that_wants_no_skipping_ends_with_the_exact_loss() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 11, &["BTC"]);
    feed.publish();
    let mut client = over_rings(rings.path(), Subscription { slow: Slow::Disconnect, ..Subscription::default() });
    let joined = feed.last();
    feed.run(20_000);
    let mut all = Vec::new();
    let error = loop {
        match client.poll(|delivery, words| all.push(got(delivery, words))) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("kraken"), "{error}");
    let ranges = account(&all, Venue::Kraken);
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    assert_eq!((ranges[0].0, ranges[0].1, ranges[0].3), (7, joined + 1, "lost"));
    // What was not lost can still be had.
    let from = Start::Sequence(vec![relay::Position { venue: Venue::Kraken, epoch: 7, sequence: ranges[0].2 + 1 }]);
    let mut client = over_rings(rings.path(), Subscription { from, ..Subscription::default() });
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    assert_eq!(account(&all, Venue::Kraken).last().map(|range| range.2), Some(feed.last()));
}

#[test]
fn rings_that_appear_later_are_followed_from_their_start() {
    let rings = folder();
    let mut client =
        over_rings(rings.path(), Subscription { symbols: vec!["btc-usd".into()], ..Subscription::default() });
    assert_eq!(client.unknown_symbols(), ["btc-usd"]);
    assert!(client.warnings()[0].contains("none of the symbols"));
    let mut kraken = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 12, &["BTC", "ETH"]);
    kraken.run(100);
    let mut all = Vec::new();
    let btc = kraken.instruments[0].id;
    collect_until(&mut client, &mut all, |all| all.iter().any(|got| matches!(got.record(), wire::Record::Trade(_))));
    assert_eq!((all[0].sequence, all[0].catch_up), (1, false));
    for got in &all {
        let of = wire::Header::read(&got.words).expect("header").instrument();
        assert!(of == btc || of == model::InstrumentId::NONE);
    }
}

#[test]
fn a_restarted_feed_is_followed_into_its_next_epoch_and_a_ring_of_another_size() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 12, &["BTC"]);
    feed.publish();
    let mut client = over_rings(rings.path(), Subscription { from: Start::Oldest, ..Subscription::default() });
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for (epoch, slots) in [(7, 1 << 12), (8, 1 << 12), (9, 1 << 13)] {
        if epoch > 7 {
            drop(feed);
            feed = Feed::open(rings.path(), Venue::Kraken, epoch, slots, &["BTC"]);
        }
        feed.run(300);
        expected.push((epoch, 1, feed.last(), "told"));
        collect_until(&mut client, &mut all, |all| reached(all, epoch, feed.last()));
    }
    assert_eq!(account(&all, Venue::Kraken), expected);
}

#[test]
fn several_venues_are_merged_by_receive_time() {
    let rings = folder();
    let mut feeds: Vec<Feed> = [Venue::Kraken, Venue::Binance]
        .into_iter()
        .map(|venue| Feed::open(rings.path(), venue, 7, 1 << 12, &["BTC"]))
        .collect();
    feeds.iter_mut().for_each(|feed| feed.run(40));
    let mut client = over_rings(rings.path(), Subscription { from: Start::Oldest, ..Subscription::default() });
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| {
        feeds
            .iter()
            .all(|feed| all.iter().any(|got| got.venue == feed.venue && !got.catch_up && got.sequence == feed.last()))
    });
    let live: Vec<&Got> = all.iter().filter(|got| !got.catch_up).collect();
    let key = |got: &Got| (got.words[2], got.venue, got.sequence);
    assert!(live.windows(2).all(|pair| key(pair[0]) <= key(pair[1])));
    assert!(live.iter().any(|got| got.venue == Venue::Kraken));
    assert!(live.iter().any(|got| got.venue == Venue::Binance));
}
