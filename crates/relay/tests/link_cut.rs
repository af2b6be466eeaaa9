//! A link between machines that is cut, stalls or goes dead without a word: whoever comes back gets every record once
//! and in order, as long as the rings there hold it, and otherwise is told exactly what it missed.

mod common;

use common::*;
use model::Venue;
use relay::Subscription;
use std::time::{Duration, Instant};

struct Linked {
    rings: tempfile::TempDir,
    pki: Pki,
    relay: Running,
    proxy: Proxy,
}

fn linked(dead_after: Duration, rings: tempfile::TempDir) -> Linked {
    let pki = Pki::new();
    let mut options = guarded(rings.path(), &rings.path().join("relay.sock"), &pki);
    if let Some(tcp) = &mut options.tcp {
        tcp.dead_after = dead_after;
    }
    let relay = Running::with(options);
    let proxy = Proxy::start(relay.tcp.expect("listens"));
    Linked { rings, pki, relay, proxy }
}

/// Records come while the link is treated like this, and after it is restored.
fn survives(trouble: Link) {
    let rings = folder();
    let mut feeds = [(Venue::Kraken, 7), (Venue::Binance, 3)]
        .map(|(venue, epoch)| Feed::open(rings.path(), venue, epoch, 1 << 16, &["BTC", "ETH"]));
    feeds.iter_mut().for_each(Feed::publish);
    let Linked { rings: _rings, pki, relay, proxy } = linked(Duration::from_secs(15), rings);
    let mut client = over_tcp(over_tls(proxy.address, &pki), Subscription::default());
    let joined = feeds.each_ref().map(Feed::last);
    let mut all = Vec::new();
    for round in 0..3_u64 {
        feeds.iter_mut().for_each(|feed| feed.run(400));
        if round != 1 {
            // In the middle of a stream as well as at its end.
            collect_until(&mut client, &mut all, |all| all.len() > 200);
        }
        proxy.set(trouble);
        feeds.iter_mut().for_each(|feed| feed.run(400));
        let connections = client.connections();
        // Noticed although nobody closes anything.
        let end = Instant::now() + PATIENCE;
        while client.is_connected() && client.connections() == connections && trouble != Link::Stalled {
            assert!(Instant::now() < end, "the cut was never noticed");
            client.poll(|delivery, words| all.push(got(delivery, words))).expect("poll");
            client.wait(Duration::from_millis(20));
        }
        feeds.iter_mut().for_each(|feed| feed.run(400));
        proxy.set(Link::Up);
    }
    collect_until(&mut client, &mut all, |all| {
        feeds
            .iter()
            .all(|feed| all.iter().any(|got| got.venue == feed.venue && !got.catch_up && got.sequence == feed.last()))
    });
    for (feed, joined) in feeds.iter().zip(joined) {
        assert_eq!(account(&all, feed.venue), [(feed.writer.epoch(), joined + 1, feed.last(), "told")]);
    }
    drop(client);
    // The other side notices too.
    wait_for(|| relay.stats.get().clients.is_empty() || trouble == Link::HalfOpen);
}

#[test]
fn a_cut_link_costs_nothing_that_is_held() {
    survives(Link::Cut);
}

#[test]
fn a_stalled_link_costs_nothing_that_is_held() {
    survives(Link::Stalled);
}

#[test]
fn a_half_open_link_is_noticed_and_costs_nothing_that_is_held() {
    survives(Link::HalfOpen);
}

#[test]
fn what_is_no_longer_held_when_the_link_is_back_is_named() {
    let rings = folder();
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 9, &["BTC"]);
    feed.publish();
    let Linked { rings: _rings, pki, relay: _relay, proxy } = linked(Duration::from_secs(15), rings);
    let mut client = over_tcp(over_tls(proxy.address, &pki), Subscription::default());
    let joined = feed.last();
    let mut all = Vec::new();
    feed.run(50);
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    let told = feed.last();
    proxy.set(Link::Cut);
    wait_for(|| {
        client.poll(|delivery, words| all.push(got(delivery, words))).expect("poll");
        !client.is_connected()
    });
    feed.run(5_000);
    proxy.set(Link::Up);
    collect_until(&mut client, &mut all, |all| reached(all, 7, feed.last()));
    let accounted = account(&all, Venue::Kraken);
    assert_eq!(accounted[0], (7, joined + 1, told, "told"));
    assert_eq!((accounted[1].0, accounted[1].1, accounted[1].3), (7, told + 1, "lost"));
    assert_eq!(accounted[2], (7, accounted[1].2 + 1, feed.last(), "told"));
    assert_eq!(accounted.len(), 3);
}

#[test]
fn a_relay_drops_a_client_whose_machine_takes_nothing_any_more() {
    let Linked { rings, pki, relay, proxy } = linked(Duration::from_secs(2), folder());
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 16, &["BTC"]);
    feed.publish();
    let client = over_tcp(over_tls(proxy.address, &pki), Subscription::default());
    wait_for(|| relay.stats.get().clients.len() == 1);
    // The proxy's own socket stays open and full: nothing but the relay's patience ends this.
    proxy.set(Link::Stalled);
    wait_for(|| {
        feed.run(2_000);
        relay.stats.get().clients.is_empty()
    });
    assert!(client.is_connected(), "the client was not asked");
}

#[test]
fn without_a_ring_to_tell_of_the_link_is_still_known_to_hold() {
    let Linked { rings: _rings, pki, relay: _relay, proxy } = linked(Duration::from_secs(15), folder());
    let mut client = over_tcp(over_tls(proxy.address, &pki), Subscription::default());
    // Longer than the silence that is taken for a cut.
    let end = Instant::now() + quick().silence * 2;
    while Instant::now() < end {
        assert_eq!(client.poll(|_, _| {}).expect("poll"), 0);
        client.wait(Duration::from_millis(50));
    }
    assert_eq!((client.is_connected(), client.connections()), (true, 1));
    proxy.set(Link::Stalled);
    wait_for(|| {
        client.poll(|_, _| {}).expect("poll");
        !client.is_connected()
    });
}
