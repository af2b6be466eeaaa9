//! A replay into rings: read like live ones, never taken for them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use model::{Side, UnixNanos, Venue};
use relay::{Books, Client, ClientOptions, Slow, Start, Subscription};
use replay::{Choice, Replay, ReplayError, Rings, RingsOptions, RunOptions, Runner, Speed, find};
use std::path::Path;
use std::time::Duration;
use wire::{Envelope, Record};

fn options(folder: &Path) -> RingsOptions {
    RingsOptions { folder: folder.to_owned(), slots: 1 << 16, about: "a test".to_owned() }
}

fn market(venue: Venue) -> Vec<Row> {
    let mut market = Market::begin(venue, 9, 3, BEGIN);
    market.run(BEGIN, 3000, Duration::from_millis(10), Duration::from_millis(400));
    market.rows
}

fn client(folder: &Path, from: Start) -> Client {
    let subscription = Subscription { from, slow: Slow::Skip, heartbeats: true, ..Subscription::default() };
    Client::open(relay::Source::Rings(folder.to_owned()), subscription, ClientOptions::default()).unwrap()
}

/// So many polls in a row that tell nothing mean that there is nothing.
const IDLE_POLLS: u32 = 20;

/// Everything a client is told until there is nothing more.
fn drain(client: &mut Client) -> Vec<(Venue, Envelope, bool, Vec<u64>)> {
    let (mut told, mut idle) = (vec![], 0);
    // A poll may do no more than find out where to begin.
    while idle < IDLE_POLLS {
        let polled = client.poll(|d, words| told.push((d.venue, d.envelope, d.catch_up, words.to_vec()))).unwrap();
        idle = if polled == 0 { idle + 1 } else { 0 };
    }
    told
}

fn levels(books: &Books, count: usize) -> Vec<(Venue, model::InstrumentId, Vec<book::Level>)> {
    let side = |b: &book::Rebuilt, side| b.book.levels(side).take(count).collect::<Vec<_>>();
    let mut all: Vec<_> =
        books.iter().map(|(v, id, b)| (v, id, [side(b, Side::Buy), side(b, Side::Sell)].concat())).collect();
    all.sort_by_key(|(venue, id, _)| (*venue, id.0));
    all
}

#[test]
fn a_client_reads_the_same_sequences_and_rebuilds_the_same_books() {
    let folder = tempfile::tempdir().unwrap();
    let told: Vec<_> = [Venue::Kraken, Venue::Binance].map(|venue| (venue, market(venue))).into();
    journal(&folder.path().join("journal"), &told);
    let rings = folder.path().join("rings");
    let sink = Rings::open(options(&rings)).unwrap();
    flat_out(find(&folder.path().join("journal"), &[]).unwrap(), Choice::default(), vec![Box::new(sink)]);
    let read = drain(&mut client(&rings, Start::Oldest));
    for (venue, rows) in &told {
        let mut ours = Books::new();
        let mut theirs = Books::new();
        let read: Vec<_> = read.iter().filter(|(v, _, catch_up, _)| v == venue && !catch_up).collect();
        assert_eq!(read.len(), rows.len(), "{venue}");
        for ((_, envelope, _, words), row) in read.iter().zip(rows) {
            assert_eq!(envelope.sequence, row.at.sequence, "{venue}: the run is told from its beginning");
            ours.push(words).unwrap();
            theirs.push(&row.words).unwrap();
            if row.at.sequence % 97 == 0 {
                assert_eq!(levels(&ours, usize::MAX), levels(&theirs, usize::MAX), "{venue} at {:?}", row.at);
            }
            match Record::read(words).unwrap() {
                Record::SessionStart(start) => {
                    assert_eq!(
                        (start.site, start.head.simulated, start.head.epoch),
                        ("replay:desk", 1, envelope.epoch)
                    );
                }
                _ => assert_eq!(*words, row.words),
            }
        }
        assert_eq!(levels(&ours, usize::MAX), levels(&theirs, usize::MAX));
    }
}

#[test]
fn a_seek_begins_a_run_that_can_be_joined() {
    let folder = tempfile::tempdir().unwrap();
    let rows = market(Venue::Kraken);
    journal(&folder.path().join("journal"), &[(Venue::Kraken, rows.clone())]);
    let rings = folder.path().join("rings");
    let replay = Replay::open(find(&folder.path().join("journal"), &[]).unwrap(), Choice::default()).unwrap();
    let sink = Rings::open(options(&rings)).unwrap();
    let run = RunOptions { speed: Speed::Times(1.0), paused: true, linger: true };
    let (runner, handle) = Runner::new(replay, vec![Box::new(sink)], run);
    let running = std::thread::spawn(move || runner.run(&mut replay::SystemClock::start()));
    handle.step_events(1000).unwrap();
    let mut follower = client(&rings, Start::Oldest);
    let mut books = Books::new();
    let first = drain(&mut follower);
    first.iter().for_each(|(_, _, _, words)| books.push(words).map(|_| ()).unwrap());
    let live = |until: UnixNanos| {
        let mut books = Books::new();
        let before = rows.iter().take_while(|row| row.words[2] < until.0);
        before.for_each(|row| books.push(&row.words).map(|_| ()).unwrap());
        books
    };
    let status = handle.status().unwrap();
    assert_eq!(levels(&books, 15), levels(&live(UnixNanos(status.time + 1)), 15));
    // Back, then on: who followed and who joins there have the same books.
    handle.seek(at(5_000)).unwrap();
    let status = handle.step_events(100).unwrap();
    let second = drain(&mut follower);
    second.iter().for_each(|(_, _, _, words)| books.push(words).map(|_| ()).unwrap());
    let epochs: Vec<u64> = second.iter().map(|(_, envelope, ..)| envelope.epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch > first[0].1.epoch), "another run");
    assert!(matches!(Record::read(&second[0].3).unwrap(), Record::SessionStart(s) if s.site == "replay:desk"));
    let mut joined = Books::new();
    let told = drain(&mut client(&rings, Start::Now));
    told.iter().for_each(|(_, _, _, words)| joined.push(words).map(|_| ()).unwrap());
    let expected = levels(&live(UnixNanos(status.time + 1)), 15);
    assert_eq!(levels(&books, 15), expected, "who followed");
    assert_eq!(levels(&joined, 15), expected, "who joined");
    handle.stop().unwrap();
    running.join().unwrap().unwrap();
}

#[test]
fn a_replay_is_never_among_live_rings() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("rings");
    let directory = ring::Directory::open(&live).unwrap();
    let writer = ring::Writer::open(&directory, "kraken", ring::WriterOptions { slots: 1024, epoch: 3 }).unwrap();
    let refused = Rings::open(options(&live)).err().unwrap();
    assert!(matches!(refused, ReplayError::LiveRings { .. }), "{refused}");
    assert!(!replay::is_replay_folder(&live), "a folder that is refused is left as it was");
    // Nor once the live writer is gone: its records are still there to be read.
    drop(writer);
    assert!(matches!(Rings::open(options(&live)), Err(ReplayError::LiveRings { .. })));
    // In a folder of its own it is found by who asks for it, and by nobody who asks for live ones.
    journal(&folder.path().join("journal"), &[(Venue::Kraken, market(Venue::Kraken))]);
    let own = folder.path().join("rings.replay").join("desk");
    let sink = Rings::open(options(&own)).unwrap();
    flat_out(find(&folder.path().join("journal"), &[]).unwrap(), Choice::default(), vec![Box::new(sink)]);
    assert!(replay::is_replay_folder(&own));
    assert_eq!(drain(&mut client(&live, Start::Oldest)).len(), 0);
    assert!(drain(&mut client(&own, Start::Oldest)).len() > 1000);
    // Again into the same folder: a later run of the same rings.
    let again = Rings::open(options(&own)).unwrap();
    flat_out(find(&folder.path().join("journal"), &[]).unwrap(), Choice::default(), vec![Box::new(again)]);
}
