//! What does history cost, and whom? Prints how fast a subscriber reads the past through the relay, beside reading the
//! journal alone and copying its bytes; then how fast a live subscriber gets what a feed writes, alone and while four
//! others read history, in turns within one run.
//!
//! `cargo run --release -p relay --example history [rounds]`

use journal::{Helper, Item, Level, Options, Reader};
use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use relay::{Client, ClientOptions, Position, Server, ServerOptions, Source, Start, Subscription};
use ring::{Directory, WriterOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::{Flags, TradeRecord};

const SLOTS: u64 = 1 << 16;
/// Of history.
const RECORDS: u64 = 2_000_000;
/// Of the live feed, per round, paced so that nobody is at a limit.
const LIVE_PER_MS: u64 = 200;
const LIVE_MS: u64 = 1_000;
const READERS: usize = 4;
const VENUE: Venue = Venue::Kraken;

fn trade(sequence: u64) -> TradeRecord {
    let (price, size, now) = (Price(641_234), Qty(351_000), UnixNanos(sequence));
    let (side, how) = (Some(Side::Buy), SideSource::ExplicitTaker);
    TradeRecord::new(VENUE, InstrumentId(7), side, how, Flags::EMPTY, now, now, price, size, Some(sequence))
}

fn record(folder: &Path) -> Result<(), journal::JournalError> {
    let options = Options { helper: Helper::Thread, ..Options::default() };
    let (mut writer, _) = journal::Writer::open(folder, options, "here", UnixNanos(1))?;
    for first in (1..=RECORDS).step_by(1_000) {
        let trades: Vec<TradeRecord> = (first..first + 1_000).map(trade).collect();
        writer.append(VENUE, 7, UnixNanos(first), (first..).zip(trades.iter().map(|trade| trade.as_words())))?;
        writer.write(UnixNanos(first))?;
    }
    Ok(())
}

fn client(source: Source, from: Start) -> Client {
    let subscription = Subscription { from, ..Subscription::default() };
    Client::open(source, subscription, ClientOptions::default()).expect("the relay runs")
}

fn oldest() -> Start {
    Start::Sequence(vec![Position { venue: VENUE, epoch: 7, sequence: 1 }])
}

/// Reads to a record; how long that took.
fn read_to(client: &mut Client, last: u64) -> Duration {
    let start = Instant::now();
    let mut seen = 0;
    while seen < last {
        if client.poll(|delivery, _| seen = delivery.envelope.sequence).expect("poll") == 0 {
            client.wait(Duration::from_millis(20));
        }
    }
    start.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A live subscriber's delays from publication, ns, while the feed writes so much.
fn live(writer: &mut ring::Writer, client: &mut Client, published: &AtomicU64) -> Vec<f64> {
    let began = Instant::now();
    let mut delays = Vec::new();
    thread::scope(|threads| {
        let last = writer.next_sequence() - 1 + LIVE_PER_MS * LIVE_MS;
        threads.spawn(|| {
            for ms in 0..LIVE_MS {
                while began.elapsed() < Duration::from_millis(ms) {
                    thread::sleep(Duration::from_micros(200));
                }
                for _ in 0..LIVE_PER_MS {
                    writer.push(trade(writer.next_sequence()).as_words());
                }
                published.store(began.elapsed().as_nanos() as u64, Ordering::Release);
                writer.publish(published.load(Ordering::Relaxed));
            }
        });
        let mut seen = 0;
        while seen < last {
            let mut at = 0;
            client
                .poll(|delivery, _| {
                    seen = seen.max(delivery.envelope.sequence);
                    at = delivery.published_ns;
                })
                .expect("poll");
            if at > 0 {
                delays.push(began.elapsed().as_nanos() as f64 - at as f64);
            } else {
                client.wait(Duration::from_millis(20));
            }
        }
    });
    delays
}

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(5, |text| text.parse().expect("a number of rounds"));
    let rings = tempfile::tempdir_in("/dev/shm").expect("a folder in shared memory");
    let folder = tempfile::tempdir().expect("a folder");
    record(folder.path()).expect("a journal");
    let directory = Directory::open(rings.path()).expect("rings");
    let options = WriterOptions { slots: SLOTS, epoch: 7 };
    let mut writer = ring::Writer::open(&directory, VENUE.name(), options).expect("ring");
    for sequence in 1..=RECORDS {
        writer.push(trade(sequence).as_words());
        if sequence % 1_000 == 0 {
            writer.publish(sequence);
        }
    }
    let socket = rings.path().join("relay.sock");
    let mut options = ServerOptions::new(rings.path().to_owned(), socket.clone());
    options.journal = Some(folder.path().to_owned());
    let server = Server::bind(options).expect("relay");
    let stop = Arc::new(AtomicBool::new(false));
    let relay = thread::spawn({
        let stop = stop.clone();
        move || server.run(&stop)
    });

    let (mut copied, mut alone, mut through) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder.path()).expect("journal").flatten() {
            if entry.path().extension().is_some_and(|kind| kind == "seg") {
                bytes += std::fs::read(entry.path()).expect("segment").len();
            }
        }
        copied.push(bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        let mut reader = Reader::open(folder.path(), journal::From::Oldest, Level::Written).expect("journal");
        let mut records = 0;
        while let Item::Batch(batch) = reader.next().expect("next") {
            batch.records(|_, _| records += 1).expect("whole");
        }
        alone.push(records as f64 / 1e6 / start.elapsed().as_secs_f64());
        let mut client = client(Source::Unix(socket.clone()), oldest());
        through.push(RECORDS as f64 / 1e6 / read_to(&mut client, RECORDS).as_secs_f64());
    }
    let (copied, alone, through) = (median(copied), median(alone), median(through));
    println!(
        "history through the relay  {through:7.2} M records/s ({:.2} of reading the journal alone)",
        through / alone
    );
    println!("reading the journal alone  {alone:7.2} M records/s");
    println!("reading its files          {copied:7.0} MB/s");

    let mut watcher = client(Source::Unix(socket.clone()), Start::Now);
    let published = AtomicU64::new(0);
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let mut read = 0;
    for _ in 0..rounds {
        quiet.extend(live(&mut writer, &mut watcher, &published));
        let over = AtomicBool::new(false);
        thread::scope(|threads| {
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    threads.spawn(|| {
                        let mut told = 0u64;
                        while !over.load(Ordering::Relaxed) {
                            let mut client = client(Source::Unix(socket.clone()), oldest());
                            while !over.load(Ordering::Relaxed) && client.positions()[0].sequence < RECORDS {
                                told += client.poll(|_, _| {}).expect("poll") as u64;
                                client.wait(Duration::from_millis(5));
                            }
                        }
                        told
                    })
                })
                .collect();
            busy.extend(live(&mut writer, &mut watcher, &published));
            over.store(true, Ordering::Relaxed);
            read += readers.into_iter().map(|reader| reader.join().expect("reader")).sum::<u64>();
        });
    }
    let rate = LIVE_PER_MS * 1_000;
    let told = read as f64 / 1e6 / (rounds as f64 * LIVE_MS as f64 / 1e3);
    let tail = |delays: &mut Vec<f64>| {
        delays.sort_by(f64::total_cmp);
        [0.5, 0.9, 0.99].map(|share| delays[(delays.len() as f64 * share) as usize] / 1e3)
    };
    let ([q50, q90, q99], [b50, b90, b99]) = (tail(&mut quiet), tail(&mut busy));
    println!("live at {rate} records/s, alone: p50 {q50:.0} µs, p90 {q90:.0}, p99 {q99:.0}");
    println!(
        "with {READERS} readers of history ({told:.2} M records/s in all): p50 {b50:.0} µs, p90 {b90:.0}, p99 {b99:.0}"
    );
    stop.store(true, Ordering::Relaxed);
    directory.doorbell().ring();
    relay.join().expect("relay");
}
