//! Another machine's rings repeated here: the same records under the same names, across cut links, crashed bridges,
//! restarted feeds and losses; and never over what somebody else writes.

mod common;

use common::*;
use model::Venue;
use relay::{Bridge, BridgeError, BridgeOptions, Source, Start, Subscription};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::Record;

fn options(rings: &Path, source: &relay::TcpSource, slots: u64) -> BridgeOptions {
    BridgeOptions {
        source: Source::Tcp(source.clone()),
        venues: vec![Venue::Kraken, Venue::Binance],
        rings: rings.to_owned(),
        slots,
        client: quick(),
    }
}

/// A bridge in a thread of this process. Dropping it gives its rings up at once, wherever it is: what a crash leaves,
/// as a bridge has nothing to do in the end.
struct Bridging {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Bridge>>,
}

impl Bridging {
    fn start(options: BridgeOptions) -> Bridging {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let mut bridge = Bridge::open(options).expect("bridge");
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                bridge.step(Duration::from_millis(20)).expect("step");
            }
            bridge
        });
        Bridging { stop, thread: Some(thread) }
    }
}

impl Drop for Bridging {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the bridge's thread panicked");
        }
    }
}

struct There {
    rings: tempfile::TempDir,
    pki: Pki,
    relay: Running,
}

fn there() -> There {
    let (rings, pki) = (folder(), Pki::new());
    let relay = Running::with(guarded(rings.path(), &rings.path().join("relay.sock"), &pki));
    There { rings, pki, relay }
}

fn oldest() -> Subscription {
    Subscription { from: Start::Oldest, heartbeats: true, ..Subscription::default() }
}

fn ends(all: &[Got], feed: &Feed) -> bool {
    let end = (feed.writer.epoch(), feed.last());
    all.iter().any(|got| got.venue == feed.venue && !got.catch_up && (got.epoch, got.sequence) == end)
}

/// The last record of the feed was told, or named in an overrun.
fn is_accounted_for(all: &[Got], feed: &Feed) -> bool {
    let end = (feed.writer.epoch(), feed.last());
    let named = |got: &Got| match got.record() {
        Record::Overrun(overrun) => (overrun.epoch, overrun.last) == end,
        _ => false,
    };
    ends(all, feed) || all.iter().rev().any(|got| got.venue == feed.venue && got.sequence == 0 && named(got))
}

#[test]
fn a_reader_here_sees_what_a_reader_there_sees() {
    let (There { rings, pki, relay }, here) = (there(), folder());
    let mut feeds = [(Venue::Kraken, 7), (Venue::Binance, 3)]
        .map(|(venue, epoch)| Feed::open(rings.path(), venue, epoch, 1 << 14, &["BTC", "ETH"]));
    feeds.iter_mut().for_each(|feed| feed.run(300));
    let source = over_tls(relay.tcp.expect("listens"), &pki);
    let _bridge = Bridging::start(options(here.path(), &source, 1 << 13));
    wait_for(|| here.path().join("kraken.ring").exists() && here.path().join("binance.ring").exists());
    let mut clients = [rings.path(), here.path()].map(|path| over_rings(path, oldest()));
    feeds.iter_mut().for_each(|feed| feed.run(1000));
    // Another run of one feed, and a venue that appears later, need nothing done.
    let [kraken, _] = &mut feeds;
    let bases = ["BTC", "ETH"];
    kraken.writer.publish(1);
    let last_of_run = kraken.last();
    let replaced = std::mem::replace(kraken, Feed::open(folder().path(), Venue::Kraken, 1, 1 << 10, &bases));
    drop(replaced);
    *kraken = Feed::open(rings.path(), Venue::Kraken, 8, 1 << 14, &bases);
    feeds.iter_mut().for_each(|feed| feed.run(500));
    let [there, here] = clients.each_mut().map(|client| {
        let mut all = Vec::new();
        collect_until(client, &mut all, |all| feeds.iter().all(|feed| ends(all, feed)));
        all
    });
    for feed in &feeds {
        let of = |all: &[Got]| -> Vec<Got> {
            all.iter().filter(|got| got.venue == feed.venue && !got.catch_up).cloned().collect()
        };
        assert_eq!(of(&there), of(&here));
    }
    assert_eq!(account(&here, Venue::Kraken), [(7, 1, last_of_run, "told"), (8, 1, feeds[0].last(), "told")]);
    // The site is the other machine's, for it is part of the records.
    let session = here.iter().find_map(|got| match got.record() {
        Record::SessionStart(session) => Some(session.site.to_owned()),
        _ => None,
    });
    assert_eq!(session.as_deref(), Some("here"), "the site that the test's feed gives itself");
}

#[test]
fn whoever_comes_late_here_gets_definitions_and_books() {
    let (There { rings, pki, relay }, here) = (there(), folder());
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 14, &["BTC", "ETH"]);
    feed.run(1000);
    let source = over_tls(relay.tcp.expect("listens"), &pki);
    let _bridge = Bridging::start(options(here.path(), &source, 1 << 14));
    let mut early = over_rings(here.path(), oldest());
    collect_until(&mut early, &mut Vec::new(), |all| ends(all, &feed));
    let (mut late, mut all) = (over_rings(here.path(), Subscription::default()), Vec::new());
    feed.run(300);
    collect_until(&mut late, &mut all, |all| ends(all, &feed));
    assert_eq!(rebuilt(&all), feed.books);
}

#[test]
fn a_bridge_that_is_killed_again_and_again_leaves_no_hole_and_no_repeat() {
    let (There { rings, pki, relay }, here) = (there(), folder());
    let mut feeds = [(Venue::Kraken, 7), (Venue::Binance, 3)]
        .map(|(venue, epoch)| Feed::open(rings.path(), venue, epoch, 1 << 16, &["BTC"]));
    feeds.iter_mut().for_each(Feed::publish);
    let proxy = Proxy::start(relay.tcp.expect("listens"));
    let source = over_tls(proxy.address, &pki);
    let mut client = over_rings(here.path(), oldest());
    let mut all = Vec::new();
    for round in 0..10 {
        let bridge = Bridging::start(options(here.path(), &source, 1 << 16));
        feeds.iter_mut().for_each(|feed| feed.run(300));
        let before = all.len();
        collect_until(&mut client, &mut all, |all| all.len() > before + 100);
        if round % 3 == 2 {
            proxy.set(Link::Cut);
            feeds.iter_mut().for_each(|feed| feed.run(100));
            proxy.set(Link::Up);
        }
        drop(bridge);
        feeds.iter_mut().for_each(|feed| feed.run(200));
    }
    let _bridge = Bridging::start(options(here.path(), &source, 1 << 16));
    collect_until(&mut client, &mut all, |all| feeds.iter().all(|feed| ends(all, feed)));
    for feed in &feeds {
        assert_eq!(account(&all, feed.venue), [(feed.writer.epoch(), 1, feed.last(), "told")]);
    }
}

#[test]
fn what_the_other_machine_no_longer_holds_is_a_hole_that_everybody_here_is_told_of() {
    let (There { rings, pki, relay }, here) = (there(), folder());
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 9, &["BTC", "ETH"]);
    feed.run(20);
    let proxy = Proxy::start(relay.tcp.expect("listens"));
    let source = over_tls(proxy.address, &pki);
    let _bridge = Bridging::start(options(here.path(), &source, 1 << 15));
    let mut client = over_rings(here.path(), oldest());
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| ends(all, &feed));
    let told = feed.last();
    proxy.set(Link::Cut);
    feed.run(3_000);
    proxy.set(Link::Up);
    collect_until(&mut client, &mut all, |all| is_accounted_for(all, &feed));
    // A loss within one run, and then the end of it and the beginning of the next.
    proxy.set(Link::Cut);
    feed.run(3_000);
    let ended = feed.last();
    drop(feed);
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 9, 1 << 9, &["BTC", "ETH"]);
    feed.run(3_000);
    proxy.set(Link::Up);
    collect_until(&mut client, &mut all, |all| is_accounted_for(all, &feed));
    let accounted = account(&all, Venue::Kraken);
    assert!(accounted.len() > 4 && accounted[0] == (7, 1, told, "told"), "{accounted:?}");
    // Nothing between is unaccounted for.
    for pair in accounted.windows(2) {
        let next = if pair[0].0 == pair[1].0 { pair[0].2 + 1 } else { 1 };
        assert_eq!(pair[1].1, next, "{accounted:?}");
        assert!(pair[0].0 == pair[1].0 || pair[0].2 == ended, "{accounted:?}");
    }
    assert_eq!(accounted.last().map(|last| last.2), Some(feed.last()));
    // Books reach across no hole: whoever is told one after it is told the right one.
    let (mut late, mut joined) = (over_rings(here.path(), Subscription::default()), Vec::new());
    for at in 0..2 {
        feed.define(at);
    }
    // Little enough at a time for the small ring to hold.
    for _ in 0..6 {
        feed.run(50);
        collect_until(&mut late, &mut joined, |all| ends(all, &feed));
    }
    assert_eq!(rebuilt(&joined), feed.books);
    collect_until(&mut client, &mut all, |all| ends(all, &feed));
    assert_eq!(rebuilt(&all), feed.books);
}

#[test]
fn a_loss_is_told_though_nothing_follows_it() {
    let (There { rings, pki, relay }, here) = (there(), folder());
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 11, &["BTC"]);
    feed.run(20);
    let proxy = Proxy::start(relay.tcp.expect("listens"));
    let _bridge = Bridging::start(options(here.path(), &over_tls(proxy.address, &pki), 1 << 15));
    let (mut client, mut all) = (over_rings(here.path(), oldest()), Vec::new());
    collect_until(&mut client, &mut all, |all| ends(all, &feed));
    // Until the relay can send no more; then over everything it has not sent, and silence.
    proxy.set(Link::Stalled);
    wait_for(|| {
        feed.run(1_500);
        relay.stats.get().clients.iter().any(|client| client.blocked)
    });
    feed.run(4_000);
    proxy.set(Link::Up);
    collect_until(&mut client, &mut all, |all| is_accounted_for(all, &feed));
    let accounted = account(&all, Venue::Kraken);
    assert!(accounted.iter().any(|range| range.3 == "lost"), "{accounted:?}");
    assert!(accounted.windows(2).all(|pair| pair[1].1 == pair[0].2 + 1), "{accounted:?}");
}

#[test]
fn what_somebody_else_writes_is_not_touched() {
    let (There { rings, pki, relay }, here) = (there(), folder());
    let mut feed = Feed::open(rings.path(), Venue::Kraken, 7, 1 << 10, &["BTC"]);
    feed.run(20);
    let source = over_tls(relay.tcp.expect("listens"), &pki);
    let mut local = Feed::open(here.path(), Venue::Kraken, 5, 1 << 10, &["BTC"]);
    local.run(20);
    let refused = || match Bridge::open(options(here.path(), &source, 1 << 10)) {
        Err(BridgeError::Ring { venue: Venue::Kraken, source }) => source.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("bridged over a feed"),
    };
    assert!(refused().contains("being written by process"));
    drop(local);
    assert!(refused().contains("a feed of this machine"));
    std::fs::remove_file(here.path().join("kraken.ring")).expect("removed");
    let bridge = Bridging::start(options(here.path(), &source, 1 << 10));
    wait_for(|| here.path().join("kraken.ring").exists());
    assert!(refused().contains("being written by process"));
    drop(bridge);
    // The same address, another machine.
    drop(relay);
    let mut elsewhere = guarded(rings.path(), &rings.path().join("relay.sock"), &pki);
    elsewhere.site = "elsewhere".to_owned();
    let elsewhere = Running::with(elsewhere);
    let source = over_tls(elsewhere.tcp.expect("listens"), &pki);
    match Bridge::open(options(here.path(), &source, 1 << 10)) {
        Err(BridgeError::Ring { source, .. }) => assert!(source.to_string().contains("another machine"), "{source}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two machines' records in one ring"),
    }
    let none = BridgeOptions { venues: Vec::new(), ..options(here.path(), &source, 1 << 10) };
    assert!(matches!(Bridge::open(none), Err(BridgeError::NoVenues)));
}
