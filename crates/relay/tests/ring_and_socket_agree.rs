//! The same subscription, over the rings and over the socket, delivers the same records.

mod common;

use common::*;
use model::Venue;
use relay::{Start, Subscription};

/// What both ways must agree on, per venue; the order across venues is each way's own.
fn of_venue(all: &[Got], venue: Venue) -> Vec<&Got> {
    all.iter().filter(|got| got.venue == venue).collect()
}

fn agree(subscription: Subscription) {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let mut kraken = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 14, &["BTC", "ETH", "SOL"]);
    let mut binance = Feed::open(rings.path(), Venue::Binance, 9, 1 << 14, &["BTC", "ETH"]);
    for feed in [&mut kraken, &mut binance] {
        feed.run(2_000);
    }
    let _relay = Running::start(rings.path(), &socket);
    let mut clients = [over_rings(rings.path(), subscription.clone()), over_socket(&socket, subscription.clone())];
    assert_eq!(clients[0].positions(), clients[1].positions());
    for feed in [&mut kraken, &mut binance] {
        feed.run(2_000);
        // The end is a record that every filter lets through.
        feed.define(0);
        feed.publish();
    }
    let ends = |all: &[Got]| {
        [&kraken, &binance].into_iter().filter(|feed| subscription.wants_venue(feed.venue)).all(|feed| {
            let of: Vec<Got> = of_venue(all, feed.venue).into_iter().cloned().collect();
            // Behind the last definition and state stand only book records.
            let behind = 2
                + feed.books[&feed.instruments[0].id].levels(model::Side::Buy).len() as u64
                + feed.books[&feed.instruments[0].id].levels(model::Side::Sell).len() as u64;
            reached(&of, feed.writer.epoch(), feed.last() - behind)
        })
    };
    let told = clients.each_mut().map(|client| {
        let mut all = Vec::new();
        collect_until(client, &mut all, ends);
        // Until nothing more comes: the last batch is whole by now.
        while client.poll(|delivery, words| all.push(got(delivery, words))).expect("poll") > 0 {}
        all
    });
    for venue in [Venue::Kraken, Venue::Binance] {
        let [direct, relayed] = told.each_ref().map(|all| of_venue(all, venue));
        assert_eq!(direct.len(), relayed.len(), "{venue}");
        assert!(direct == relayed, "{venue}");
        assert_eq!(direct.is_empty(), !subscription.wants_venue(venue));
    }
}

#[test]
fn everything_from_now() {
    agree(Subscription::default());
}

#[test]
fn everything_from_the_oldest() {
    agree(Subscription { from: Start::Oldest, ..Subscription::default() });
}

#[test]
fn one_symbol_from_now() {
    agree(Subscription { symbols: vec!["BTC-USD".into()], ..Subscription::default() });
}

#[test]
fn trades_of_one_venue_from_a_time() {
    let from = Start::Time(1_700_000_000_000_000_000 + 7_000_000_000 + 500_000);
    agree(Subscription { venues: vec![Venue::Kraken], types: vec!["trade".into()], from, ..Subscription::default() });
}
