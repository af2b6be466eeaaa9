//! Several venues' feeds as one book, from whenever it is joined.

mod common;

use book::PlainBook;
use book::consolidated::{Fee, Groups};
use common::*;
use model::{BookState, Reason, Side, UnixNanos, Venue};
use relay::{Consolidation, ConsolidationOptions, Start, Subscription};
use std::collections::BTreeMap;
use std::time::Duration;

const VENUES: [Venue; 3] = [Venue::Kraken, Venue::Coinbase, Venue::Binance];

fn feeds(rings: &std::path::Path, slots: u64) -> Vec<Feed> {
    let open = |venue| {
        let mut feed = Feed::open(rings, venue, 7, slots, &["BTC", "ETH"]);
        feed.publish();
        feed
    };
    VENUES.into_iter().map(open).collect()
}

fn collect(rings: &std::path::Path, feeds: &mut [Feed], from: Start) -> Vec<Got> {
    let mut client = over_rings(rings, Subscription { from, ..Subscription::default() });
    feeds.iter_mut().for_each(|feed| feed.run(900));
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| {
        feeds.iter().all(|feed| {
            let theirs: Vec<Got> = all.iter().filter(|got| got.venue == feed.venue).cloned().collect();
            reached(&theirs, 7, feed.last())
        })
    });
    all
}

/// What all feeds' books of an instrument come to: size by price.
fn merged(feeds: &[Feed], at: usize, side: Side) -> BTreeMap<i64, i64> {
    let mut levels = BTreeMap::new();
    for feed in feeds {
        let book: &PlainBook = &feed.books[&feed.instruments[at].id];
        for level in book.levels(side) {
            *levels.entry(level.price.0).or_insert(0) += level.size.0;
        }
    }
    levels
}

fn check(consolidation: &Consolidation, feeds: &[Feed]) {
    for (at, symbol) in ["BTC-USD", "ETH-USD"].into_iter().enumerate() {
        let book = consolidation.get(symbol).expect("it was told of");
        for side in [Side::Buy, Side::Sell] {
            let expected = merged(feeds, at, side);
            let held: BTreeMap<i64, i64> = book.levels(side).map(|l| (l.price.0 as i64, l.size.0 as i64)).collect();
            assert_eq!(held, expected, "{symbol} {side}");
            let best = if side == Side::Buy { expected.last_key_value() } else { expected.first_key_value() };
            let touch = book.best(side).map(|t| (t.price.0 as i64, t.size.0 as i64));
            assert_eq!(touch, best.map(|(p, q)| (*p, *q)));
        }
    }
}

#[test]
fn whenever_it_is_joined_it_is_the_sum_of_its_venues() {
    let rings = folder();
    let mut feeds = feeds(rings.path(), 1 << 14);
    feeds.iter_mut().for_each(|feed| feed.run(500));
    for _ in 0..3 {
        let all = collect(rings.path(), &mut feeds, Start::default());
        let mut consolidation = Consolidation::new(ConsolidationOptions::default());
        let (mut told, mut moved) = (0, 0);
        for got in &all {
            let seen = |_: &book::Consolidated, settled: book::consolidated::Settled| {
                told += 1;
                moved += usize::from(settled.bid || settled.ask);
            };
            consolidation.push(&got.words, seen).expect("a sound record");
        }
        check(&consolidation, &feeds);
        assert!(moved > 0 && told > moved, "{told} {moved}");
    }
}

#[test]
fn a_venue_that_falls_silent_or_loses_records_is_excluded_until_it_is_whole_again() {
    let rings = folder();
    let mut feeds = feeds(rings.path(), 1 << 14);
    let all = collect(rings.path(), &mut feeds, Start::Oldest);
    let fees = BTreeMap::from([(Venue::Kraken, Fee::basis_points("26".parse().expect("a decimal")).expect("a fee"))]);
    let options = ConsolidationOptions { symbols: vec!["btc-usd".into()], groups: Groups::default(), fees };
    let mut consolidation = Consolidation::new(options);
    for got in &all {
        consolidation.push(&got.words, |_, _| {}).expect("a sound record");
    }
    assert_eq!(consolidation.iter().map(|book| book.symbol().to_owned()).collect::<Vec<_>>(), ["BTC-USD"]);
    let excluded = |consolidation: &Consolidation| -> Vec<_> {
        let book = consolidation.get("BTC-USD").expect("told of");
        book.excluded().map(|(_, m)| (m.venue(), m.standing().state, m.standing().reason)).collect()
    };
    assert_eq!(excluded(&consolidation), []);

    // Nothing of any venue for a second, then a word of one: that one alone counts, and nothing of it is missing.
    let (limit, mut changes) = (Duration::from_secs(1), 0);
    let last = all.iter().map(|got| got.words[2]).max().expect("records came");
    consolidation.tick(UnixNanos(last), limit, |_, _| changes += 1);
    assert_eq!((excluded(&consolidation).len(), changes), (0, 0));
    consolidation.tick(UnixNanos(last + 2_000_000_000), limit, |_, _| changes += 1);
    assert_eq!((excluded(&consolidation).len(), changes), (3, 3));
    assert!(consolidation.get("BTC-USD").expect("told of").best(Side::Buy).is_none());
    let word = wire::HeartbeatRecord::new(Venue::Coinbase, 1, UnixNanos(last + 2_000_000_001));
    consolidation.push(word.as_words(), |_, _| changes += 1).expect("a sound record");
    let silent = |venue| (venue, BookState::Suspect, Reason::Timeout);
    let mut expected = vec![silent(Venue::Kraken), silent(Venue::Binance)];
    let sorted = |mut list: Vec<(Venue, BookState, Reason)>| {
        list.sort();
        list
    };
    expected.sort();
    assert_eq!((sorted(excluded(&consolidation)), changes), (expected, 4));
    assert!(consolidation.get("BTC-USD").expect("told of").best(Side::Buy).is_some());

    // A loss: only a snapshot brings the book back.
    let now = UnixNanos(last + 2_000_000_002);
    let lost = wire::OverrunRecord::new(Some(Venue::Coinbase), 7, 1, Some(9), wire::OverrunCause::Slow, now);
    consolidation.push(lost.as_words(), |_, _| {}).expect("a sound record");
    assert!(excluded(&consolidation).contains(&(Venue::Coinbase, BookState::Syncing, Reason::Sequence)));
    let book = consolidation.get("BTC-USD").expect("told of");
    let (_, coinbase) = book.members().find(|(_, m)| m.venue() == Venue::Coinbase).expect("joined");
    assert_eq!((coinbase.standing().since, coinbase.book().depth(Side::Buy)), (now, 0));
    let feed = &mut feeds[1];
    feed.now = now.0 + 1;
    feed.define(0);
    feed.publish();
    let mut client = over_rings(rings.path(), Subscription::default());
    let mut joined = Vec::new();
    feed.run(16);
    collect_until(&mut client, &mut joined, |all| reached(all, 7, feed.last()));
    for got in joined.iter().filter(|got| got.venue == Venue::Coinbase) {
        consolidation.push(&got.words, |_, _| {}).expect("a sound record");
    }
    assert!(excluded(&consolidation).iter().all(|(venue, ..)| *venue != Venue::Coinbase));
}

#[test]
fn an_instrument_that_cannot_join_is_told_once() {
    let mut records = wire::RecordBuf::default();
    let mut consolidation = Consolidation::new(ConsolidationOptions::default());
    let share = model::Instrument { kind: model::InstrumentKind::Equity, ..instrument(Venue::Alpaca, "BTC") };
    for definition in [instrument(Venue::Kraken, "BTC"), share.clone(), share] {
        records.push_instrument(&definition, UnixNanos(1), UnixNanos(1)).expect("short texts");
    }
    let told: Vec<String> = (records.iter())
        .filter_map(|words| consolidation.push(words, |_, _| {}).err())
        .map(|error| error.to_string())
        .collect();
    assert_eq!(told, ["alpaca BTC-USD is equity, the others in this book are spot"]);
}
