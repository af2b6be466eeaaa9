//! Ten subscribers that join at random past moments while two feeds run at full rate, one of them is restarted and the
//! relay is restarted again and again: each one's stream is the journal's, no hole, no repeat.
//!
//! `ALPHAPULSE_TEST_JOIN_RECORDS` sets how many records each feed writes (120,000), `ALPHAPULSE_TEST_SEED` the seed.

mod common;

use common::recorded::{Recorder, checksum, truth};
use common::*;
use model::Venue;
use relay::{Client, Position, ServerOptions, Slow, Source, Start, Subscription};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wire::Record;

const VENUES: [Venue; 2] = [Venue::Kraken, Venue::Binance];
/// A ring that holds a small part of what is written.
const SLOTS: u64 = 1 << 13;
const SUBSCRIBERS: usize = 10;
const RESTARTS: usize = 8;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// How far things are, for threads to see.
#[derive(Default)]
struct Progress {
    /// Records pushed by each feed, over its runs, and recorded of both.
    pushed: [AtomicU64; 2],
    recorded: [AtomicU64; 2],
    /// Newest receive time of each feed.
    now: [AtomicU64; 2],
    done: AtomicBool,
}

/// As fast as the recorder takes it: what it missed would be told as lost, and here nothing may be.
fn feed(rings: &Path, at: usize, records: u64, progress: &Progress) -> (u64, u64) {
    let mut before = 0;
    let runs: &[u64] = if at == 0 { &[7, 8] } else { &[7] };
    let mut end = (0, 0);
    for (run, epoch) in runs.iter().enumerate() {
        let mut feed = Feed::open(rings, VENUES[at], *epoch, SLOTS, &["BTC", "ETH"]);
        let target = records * (run as u64 + 1) / runs.len() as u64;
        while before + feed.last() < target {
            feed.run(100);
            progress.pushed[at].store(before + feed.last(), Ordering::Release);
            progress.now[at].store(feed.now, Ordering::Release);
            while before + feed.last() > progress.recorded[at].load(Ordering::Acquire) + SLOTS / 4 {
                std::thread::yield_now();
            }
        }
        before += feed.last();
        end = (*epoch, feed.last());
    }
    end
}

fn record(rings: &Path, journal: &Path, progress: &Progress) {
    let mut recorder = Recorder::start(rings, journal);
    loop {
        let done = progress.done.load(Ordering::Acquire);
        let drained = recorder.drain();
        for (at, venue) in VENUES.into_iter().enumerate() {
            let Some(last) = recorder.writer.positions().get(venue) else { continue };
            // Runs before this one are over and recorded whole.
            let before = recorder.ended(venue);
            progress.recorded[at].store(before + last.sequence, Ordering::Release);
        }
        if drained == 0 {
            if done {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

struct Stream {
    what: String,
    records: [Vec<((u64, u64), u32)>; 2],
    connections: u64,
}

/// Joins somewhere in the past and reads to the end.
fn subscribe(
    rings: &Path,
    journal: &Path,
    number: usize,
    seed: u64,
    progress: &Progress,
    ends: impl Fn() -> Option<[(u64, u64); 2]>,
) -> Stream {
    let mut random = fastrand::Rng::with_seed(seed + number as u64);
    // Somewhere behind a good part of what will be written.
    let share = random.u64(1..60);
    let total = self::number("ALPHAPULSE_TEST_JOIN_RECORDS", 120_000);
    while progress.recorded.iter().any(|recorded| recorded.load(Ordering::Acquire) < total * share / 100) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let from = match number % 5 {
        0 => Start::Oldest,
        1 | 2 => {
            // Its clock moves a microsecond a tick.
            let now = progress.now[1].load(Ordering::Acquire);
            Start::Time(now - random.u64(0..total * share * 10))
        }
        _ => Start::Sequence(
            VENUES
                .iter()
                .zip([2, 1])
                .map(|(venue, runs)| {
                    let behind = total / runs;
                    let sequence = random.u64(1..(behind * share / 200).max(2));
                    Position { venue: *venue, epoch: 7, sequence }
                })
                .collect(),
        ),
    };
    let subscription = Subscription { from, slow: Slow::History, heartbeats: true, ..Subscription::default() };
    let what = format!("subscriber {number}, seed {seed}: {subscription:?}");
    let mut client = if number % 4 == 3 {
        let (rings, journal) = (rings.to_owned(), journal.to_owned());
        Client::open(Source::RingsAndJournal { rings, journal }, subscription, quick()).expect("subscribe")
    } else {
        over_socket_when_there(&rings.join("relay.sock"), &subscription)
    };
    let mut stream = Stream { what, records: Default::default(), connections: 0 };
    let start = Instant::now();
    loop {
        let polled = client.poll(|delivery, words| {
            if delivery.catch_up {
                return;
            }
            if let Ok(Record::Overrun(lost)) = Record::read(words) {
                panic!("{}: {lost:?}", stream.what);
            }
            let at = VENUES.iter().position(|venue| *venue == delivery.venue).expect("one of two");
            let envelope = delivery.envelope;
            stream.records[at].push(((envelope.epoch, envelope.sequence), checksum(words)));
        });
        if polled.expect("poll") == 0 {
            let has = |at: usize, end| stream.records[at].last().is_some_and(|(last, _)| *last >= end);
            if ends().is_some_and(|ends| has(0, ends[0]) && has(1, ends[1])) {
                stream.connections = client.connections();
                return stream;
            }
            let far = stream.records.each_ref().map(|records| records.last().copied());
            assert!(start.elapsed() < PATIENCE, "{}: still waiting behind {far:?}", stream.what);
            client.wait(Duration::from_millis(20));
        }
    }
}

/// The relay may just be restarting.
fn over_socket_when_there(socket: &Path, subscription: &Subscription) -> Client {
    let start = Instant::now();
    loop {
        match Client::open(Source::Unix(socket.to_owned()), subscription.clone(), quick()) {
            Ok(client) => return client,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whoever_joins_whenever_gets_what_the_journal_holds() {
    let (rings, journal) = (folder(), folder());
    let (rings, journal) = (rings.path(), journal.path());
    let total = number("ALPHAPULSE_TEST_JOIN_RECORDS", 120_000);
    let seed = number("ALPHAPULSE_TEST_SEED", 1);
    let progress = Progress::default();
    let ends = std::sync::OnceLock::new();
    let relay = || {
        let mut options = ServerOptions::new(rings.to_owned(), rings.join("relay.sock"));
        options.journal = Some(journal.to_owned());
        Running::with(options)
    };
    let streams: Vec<Stream> = std::thread::scope(|threads| {
        let feeds = [0, 1].map(|at| {
            let progress = &progress;
            threads.spawn(move || feed(rings, at, total, progress))
        });
        let recorder = threads.spawn(|| record(rings, journal, &progress));
        let subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|number| {
                let (progress, ends) = (&progress, &ends);
                threads.spawn(move || subscribe(rings, journal, number, seed, progress, || ends.get().copied()))
            })
            .collect();
        let mut running = relay();
        for restart in 1..=RESTARTS as u64 {
            while progress.pushed[1].load(Ordering::Acquire) < total * restart / (RESTARTS as u64 + 1) {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(running);
            running = relay();
        }
        let written = feeds.map(|feed| feed.join().expect("feed"));
        progress.done.store(true, Ordering::Release);
        recorder.join().expect("recorder");
        ends.set(written).expect("once");
        let streams = subscribers.into_iter().map(|subscriber| subscriber.join().expect("subscriber")).collect();
        drop(running);
        streams
    });
    let truths = VENUES.map(|venue| truth(journal, venue));
    let mut records = 0;
    for stream in &streams {
        for (told, truth) in stream.records.iter().zip(&truths) {
            assert!(truth.lost.is_empty(), "the recorder kept up");
            let expected: Vec<_> = truth.records.range(told[0].0..).map(|(name, sum)| (*name, *sum)).collect();
            assert!(*told == expected, "{}: {}", stream.what, difference(told, &expected));
            records += told.len();
        }
    }
    let connections: u64 = streams.iter().map(|stream| stream.connections).sum();
    let written: usize = truths.iter().map(|truth| truth.records.len()).sum();
    println!(
        "joins: {SUBSCRIBERS} subscribers, {RESTARTS} restarts of the relay, {connections} connections, {written} \
         records written, {records} told: lost 0, repeated 0, different 0; the rings hold {}; seed {seed}",
        2 * SLOTS
    );
}

fn difference(told: &[((u64, u64), u32)], expected: &[((u64, u64), u32)]) -> String {
    let at = told.iter().zip(expected).position(|(told, expected)| told != expected);
    let at = at.unwrap_or(told.len().min(expected.len()));
    format!(
        "{:?} came where {:?} was due, behind {:?}",
        told.get(at),
        expected.get(at),
        at.checked_sub(1).map(|at| told[at])
    )
}
