//! Joining at any time: what lies before the ring's window comes from the journal under the same names, and the ring
//! goes on from there without a hole or a repeat.

mod common;

use common::recorded::{Recorder, checksum, truth};
use common::*;
use model::Venue;
use relay::{Client, Position, ServerOptions, Slow, Source, Start, Subscription};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const VENUE: Venue = Venue::Kraken;
/// A ring that holds a small part of what is written.
const SLOTS: u64 = 1 << 12;

struct Stage {
    rings: TempDir,
    journal: TempDir,
    feed: Feed,
    recorder: Recorder,
}

impl Stage {
    fn open() -> Stage {
        let (rings, journal) = (folder(), folder());
        let mut feed = Feed::open(rings.path(), VENUE, 7, SLOTS, &["BTC", "ETH"]);
        feed.publish();
        let recorder = Recorder::start(rings.path(), journal.path());
        Stage { rings, journal, feed, recorder }
    }

    /// So many ticks, recorded as they come.
    fn run(&mut self, ticks: usize) {
        for _ in 0..ticks / 200 {
            self.feed.run(200);
            self.recorder.drain();
        }
    }

    fn socket(&self) -> PathBuf {
        self.rings.path().join("relay.sock")
    }

    fn relay(&self) -> Running {
        Running::with(options(self.rings.path(), self.journal.path()))
    }

    fn direct(&self, subscription: Subscription) -> Client {
        let (rings, journal) = (self.rings.path().to_owned(), self.journal.path().to_owned());
        Client::open(Source::RingsAndJournal { rings, journal }, subscription, quick()).expect("subscribe")
    }

    /// Over the socket and directly.
    fn both(&self, subscription: &Subscription) -> [Client; 2] {
        [over_socket(&self.socket(), subscription.clone()), self.direct(subscription.clone())]
    }
}

fn options(rings: &Path, journal: &Path) -> ServerOptions {
    let mut options = ServerOptions::new(rings.to_owned(), rings.join("relay.sock"));
    options.journal = Some(journal.to_owned());
    options
}

fn from(from: Start) -> Subscription {
    Subscription { from, ..Subscription::default() }
}

fn at(epoch: u64, sequence: u64) -> Start {
    Start::Sequence(vec![Position { venue: VENUE, epoch, sequence }])
}

/// What came live, by name and content.
fn live(all: &[Got]) -> Vec<((u64, u64), u32)> {
    let live = all.iter().filter(|got| !got.catch_up && got.sequence != 0);
    live.map(|got| ((got.epoch, got.sequence), checksum(&got.words))).collect()
}

#[test]
fn the_oldest_record_is_the_journals() {
    let mut stage = Stage::open();
    stage.run(20_000);
    let _relay = stage.relay();
    let truth = truth(stage.journal.path(), VENUE);
    assert!(truth.records.len() as u64 > 4 * SLOTS && truth.lost.is_empty(), "the ring holds a small part");
    for mut client in stage.both(&from(Start::Oldest)) {
        assert_eq!(client.positions(), [Position { venue: VENUE, epoch: 7, sequence: 1 }]);
        let mut all = Vec::new();
        collect_until(&mut client, &mut all, |all| reached(all, 7, stage.feed.last()));
        assert_eq!(account(&all, VENUE), [(7, 1, stage.feed.last(), "told")]);
        assert_eq!(live(&all), truth.records.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(rebuilt(&all), stage.feed.books);
    }
}

#[test]
fn a_named_record_of_the_past_is_the_first_one_told_and_the_ring_goes_on() {
    let mut stage = Stage::open();
    stage.run(10_000);
    let _relay = stage.relay();
    for asked in [2, 777, 3_000, stage.feed.last() / 2] {
        for mut client in stage.both(&from(at(7, asked))) {
            assert_eq!(client.positions(), [Position { venue: VENUE, epoch: 7, sequence: asked }]);
            let mut all = Vec::new();
            collect_until(&mut client, &mut all, |all| reached(all, 7, asked + 500));
            // While it is still on its way, more is written than the ring holds.
            stage.run(6_000);
            collect_until(&mut client, &mut all, |all| reached(all, 7, stage.feed.last()));
            assert_eq!(account(&all, VENUE), [(7, asked, stage.feed.last(), "told")]);
            assert!(all[0].catch_up, "what a joiner must know comes first");
        }
    }
}

#[test]
fn a_time_in_the_past_comes_with_the_books_of_then() {
    let mut stage = Stage::open();
    let mut times = Vec::new();
    for _ in 0..8 {
        stage.run(1_400);
        times.push((stage.feed.now + 1, stage.feed.last() + 1));
    }
    let _relay = stage.relay();
    for (time, sequence) in times.into_iter().take(7) {
        for mut client in stage.both(&from(Start::Time(time))) {
            assert_eq!(client.positions(), [Position { venue: VENUE, epoch: 7, sequence }]);
            let mut all = Vec::new();
            collect_until(&mut client, &mut all, |all| reached(all, 7, stage.feed.last()));
            assert_eq!(account(&all, VENUE), [(7, sequence, stage.feed.last(), "told")]);
            assert!(all.iter().filter(|got| got.catch_up).all(|got| got.sequence < sequence));
            // Books that begin behind a hole, or from changes alone, would not be these.
            assert_eq!(rebuilt(&all), stage.feed.books);
        }
    }
}

#[test]
fn filters_and_scanned_ranges_are_those_of_the_ring() {
    let mut stage = Stage::open();
    stage.run(10_000);
    let _relay = stage.relay();
    let wants = |from| Subscription { symbols: vec!["ETH-USD".into()], types: vec!["trade".into()], from, ..Subscription::default() };
    let mut everything = Vec::new();
    collect_until(&mut stage.direct(from(Start::Oldest)), &mut everything, |all| reached(all, 7, stage.feed.last()));
    let eth = stage.feed.instruments[1].id.0;
    let expected = |first: u64| -> Vec<Got> {
        // Trades of one instrument; definitions and states of it and of the venue.
        let wanted = |got: &&Got| {
            let (kind, of) = (got.words[0] as u8, (got.words[0] >> 32) as u32);
            let trade = kind == wire::RecordType::Trade as u8;
            let told = [wire::RecordType::Instrument, wire::RecordType::Status, wire::RecordType::SessionStart];
            got.sequence >= first && (of == eth || of == 0) && (trade || told.iter().any(|told| *told as u8 == kind))
        };
        everything.iter().filter(wanted).cloned().collect()
    };
    for first in [1, 1_234, 5_000] {
        for mut client in stage.both(&wants(at(7, first))) {
            let mut all = Vec::new();
            let end = expected(first).last().expect("some").sequence;
            // A range that was scanned and not accounted for would be an overrun made by the client.
            collect_until(&mut client, &mut all, |all| reached(all, 7, end));
            let owed: Vec<Got> = all.into_iter().filter(|got| !got.catch_up).collect();
            assert_eq!(owed, expected(first));
        }
    }
}

#[test]
fn what_the_recorder_missed_is_told_as_it_says() {
    let mut stage = Stage::open();
    stage.run(4_000);
    // More than the ring holds, and nobody looks.
    let before = stage.feed.last();
    stage.feed.run(8_000);
    stage.run(6_000);
    let truth = truth(stage.journal.path(), VENUE);
    let [(7, first, last)] = truth.lost[..] else { panic!("{:?}", truth.lost) };
    assert_eq!(first, before + 1);
    let _relay = stage.relay();
    let end = stage.feed.last();
    for (asked, expected) in [
        (1, vec![(7, 1, first - 1, "told"), (7, first, last, "lost"), (7, last + 1, end, "told")]),
        (first, vec![(7, first, last, "lost"), (7, last + 1, end, "told")]),
        (first + 10, vec![(7, first + 10, last, "lost"), (7, last + 1, end, "told")]),
        (last, vec![(7, last, last, "lost"), (7, last + 1, end, "told")]),
        (last + 1, vec![(7, last + 1, end, "told")]),
    ] {
        for mut client in stage.both(&from(at(7, asked))) {
            let mut all = Vec::new();
            collect_until(&mut client, &mut all, |all| reached(all, 7, end));
            assert_eq!(account(&all, VENUE), expected);
        }
    }
}

#[test]
fn runs_of_a_feed_follow_one_another() {
    let mut stage = Stage::open();
    stage.run(4_000);
    let ends = stage.feed.last();
    let Stage { rings, journal, feed, recorder } = stage;
    drop(feed);
    let feed = Feed::open(rings.path(), VENUE, 8, SLOTS, &["BTC", "ETH"]);
    let mut stage = Stage { rings, journal, feed, recorder };
    stage.run(8_000);
    let _relay = stage.relay();
    for mut client in stage.both(&from(at(7, 100))) {
        let mut all = Vec::new();
        collect_until(&mut client, &mut all, |all| reached(all, 8, stage.feed.last()));
        assert_eq!(account(&all, VENUE), [(7, 100, ends, "told"), (8, 1, stage.feed.last(), "told")]);
        assert_eq!(rebuilt(&all), stage.feed.books);
    }
}

#[test]
fn who_asks_for_it_gets_what_it_missed_from_the_journal() {
    let mut stage = Stage::open();
    stage.run(1_000);
    let _relay = stage.relay();
    let joined = stage.feed.last();
    let wants = Subscription { slow: Slow::History, ..Subscription::default() };
    let mut clients = stage.both(&wants);
    let mut told = clients.each_ref().map(|_| Vec::new());
    stage.run(400);
    for (client, all) in clients.iter_mut().zip(&mut told) {
        collect_until(client, all, |all| reached(all, 7, stage.feed.last()));
    }
    // Nobody reads; the socket holds some of it, the ring a little more.
    stage.run(30_000);
    for (client, all) in clients.iter_mut().zip(&mut told) {
        collect_until(client, all, |all| reached(all, 7, stage.feed.last()));
        assert_eq!(account(all, VENUE), [(7, joined + 1, stage.feed.last(), "told")]);
        assert_eq!(rebuilt(all), stage.feed.books);
    }
}

#[test]
fn without_a_journal_the_ring_does_what_it_can() {
    let mut stage = Stage::open();
    stage.run(8_000);
    let nowhere = stage.journal.path().join("nowhere");
    let _relay = Running::with(options(stage.rings.path(), &nowhere));
    let mut client = over_socket(&stage.socket(), from(at(7, 5)));
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| reached(all, 7, stage.feed.last()));
    let ranges = account(&all, VENUE);
    assert_eq!((ranges[0].1, ranges[0].3, ranges.len()), (5, "lost", 2));
    let mut client = over_socket(&stage.socket(), from(Start::Oldest));
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| reached(all, 7, stage.feed.last()));
    assert_eq!(account(&all, VENUE).len(), 1);
}

#[test]
fn a_journal_that_begins_behind_the_ring_is_left_alone() {
    let (rings, journal) = (folder(), folder());
    let mut feed = Feed::open(rings.path(), VENUE, 7, SLOTS, &["BTC"]);
    feed.run(300);
    let mut recorder = Recorder::start(rings.path(), journal.path());
    let held = feed.last();
    recorder.drain();
    drop(recorder);
    // A journal that only knows the second half.
    let half = folder();
    let now = model::UnixNanos(1_700_000_000_000_000_000);
    let (mut writer, _) =
        journal::Writer::open(half.path(), common::recorded::journal_options(), "here", now).expect("journal");
    let mut reader = journal::Reader::open(journal.path(), journal::From::Oldest, journal::Level::Written).expect("it");
    while let journal::Item::Batch(batch) = reader.next().expect("next") {
        let mut records = Vec::new();
        batch.records(|envelope, words| records.push((envelope.sequence, words.to_vec()))).expect("whole");
        let later = records.iter().filter(|(sequence, _)| *sequence > held / 2);
        writer.append(VENUE, 7, now, later.map(|(sequence, words)| (*sequence, &words[..]))).expect("append");
    }
    writer.write(now).expect("write");
    let _relay = Running::with(options(rings.path(), half.path()));
    let mut client = over_socket(&rings.path().join("relay.sock"), from(Start::Oldest));
    let mut all = Vec::new();
    collect_until(&mut client, &mut all, |all| reached(all, 7, held));
    assert_eq!(account(&all, VENUE), [(7, 1, held, "told")]);
}
