//! What does the relay cost beside bare sockets? Prints, for ten clients: records/s through the relay and through a
//! bare writer that sends the same bytes in equal batches; what a stopped eleventh client costs the others; and the
//! latency from publication to a client, beside a bare chain with the same two wake-ups.
//!
//! `cargo run --release -p relay --example fanout`

use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use relay::{Client, ClientOptions, Server, ServerOptions, Source, Subscription};
use ring::{Directory, Writer, WriterOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::{Flags, TradeRecord};

const CLIENTS: usize = 10;
/// Fewer than the ring holds: the writer does not wait.
const RECORDS: u64 = 900_000;
const SLOTS: u64 = 1 << 20;
const ROUNDS: usize = 5;
const PINGS: usize = 4_000;

fn trade(id: u64, now: u64) -> TradeRecord {
    let (price, size, now) = (Price(641_234), Qty(351_000), UnixNanos(now));
    let side = Some(Side::Buy);
    let instrument = InstrumentId(7);
    TradeRecord::new(
        Venue::Kraken,
        instrument,
        side,
        SideSource::ExplicitTaker,
        Flags::EMPTY,
        now,
        now,
        price,
        size,
        Some(id),
    )
}

struct Plant {
    folder: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    relay: Option<thread::JoinHandle<()>>,
    writer: Writer,
}

impl Plant {
    fn start() -> Plant {
        let folder = tempfile::TempDir::with_prefix_in("relay-fanout-", "/dev/shm").expect("folder");
        let directory = Directory::open(folder.path()).expect("directory");
        let mut writer = Writer::open(&directory, "kraken", WriterOptions { slots: SLOTS, epoch: 1 }).expect("writer");
        // Once around, so that no page is new to anybody.
        for id in 0..SLOTS {
            writer.push(trade(id, 1).as_words());
        }
        writer.publish(1);
        let stop = Arc::new(AtomicBool::new(false));
        let server = Server::bind(ServerOptions::new(folder.path().into(), folder.path().join("s"))).expect("bind");
        let flag = stop.clone();
        let relay = Some(thread::spawn(move || server.run(&flag)));
        Plant { folder, stop, relay, writer }
    }

    fn client(&self) -> Client {
        let source = Source::Unix(self.folder.path().join("s"));
        Client::open(source, Subscription::default(), ClientOptions::default()).expect("client")
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            relay.join().expect("relay");
        }
    }
}

/// Writes `RECORDS` in batches of 64 without waiting, counts until every client has all.
fn through_relay(stopped: usize) -> f64 {
    let mut plant = Plant::start();
    let idle: Vec<Client> = (0..stopped).map(|_| plant.client()).collect();
    let readers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = plant.client();
            thread::spawn(move || {
                let mut records = 0;
                while records < RECORDS {
                    let got = client
                        .poll(|delivery, _| records += u64::from(delivery.envelope.sequence != 0 && !delivery.catch_up))
                        .expect("poll");
                    if got == 0 {
                        client.wait(Duration::from_millis(100));
                    }
                }
            })
        })
        .collect();
    let begun = Instant::now();
    for id in 0..RECORDS {
        plant.writer.push(trade(id, 1).as_words());
        if id % 64 == 63 {
            plant.writer.publish(1);
        }
    }
    plant.writer.publish(1);
    readers.into_iter().for_each(|reader| reader.join().expect("reader"));
    let seconds = begun.elapsed().as_secs_f64();
    drop(idle);
    RECORDS as f64 / seconds
}

/// As many bytes, already encoded, in batches as large as the relay's, by one thread to `CLIENTS` sockets whose readers
/// do not look at them. Like the relay's, no batch is in the cache before it is first sent.
fn bare() -> f64 {
    let source = vec![7u8; SLOTS as usize * 64];
    let mut batch = vec![7u8; 64 + 1024 * 48];
    let batches = RECORDS.div_ceil(1024) as usize;
    let total = batch.len() * batches;
    let (mut ends, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        ends.push(ours);
        readers.push(thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut got = 0;
            while got < total {
                got += theirs.read(&mut buffer).expect("read");
            }
        }));
    }
    let begun = Instant::now();
    for at in 0..batches {
        let bytes = batch.len();
        batch.copy_from_slice(&source[at * bytes..(at + 1) * bytes]);
        for end in &mut ends {
            end.write_all(&batch).expect("write");
        }
    }
    readers.into_iter().for_each(|reader| reader.join().expect("reader"));
    RECORDS as f64 / begun.elapsed().as_secs_f64()
}

fn percentiles(mut ns: Vec<u64>) -> String {
    ns.sort_unstable();
    let at = |share: f64| ns[((ns.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    format!("p50 {:.1} µs  p90 {:.1}  p99 {:.1}  max {:.1}", at(0.5), at(0.9), at(0.99), at(1.0))
}

/// Publication to a blocked client through the relay: two wake-ups.
fn latency_relay() -> Vec<u64> {
    let mut plant = Plant::start();
    let mut client = plant.client();
    let epoch = Instant::now();
    let taken = Arc::new(AtomicU64::new(0));
    let (seen, done) = (taken.clone(), Arc::new(AtomicBool::new(false)));
    let over = done.clone();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let polled = client.poll(|_, words| {
                all.push(epoch.elapsed().as_nanos() as u64 - words[2]);
                seen.fetch_add(1, Ordering::Relaxed);
            });
            if polled.expect("poll") == 0 {
                client.wait(Duration::from_millis(50));
            }
        }
        all
    });
    for ping in 0..PINGS as u64 {
        thread::sleep(Duration::from_micros(150));
        let now = epoch.elapsed().as_nanos() as u64;
        plant.writer.push(trade(ping, now).as_words());
        plant.writer.publish(now);
        while taken.load(Ordering::Relaxed) <= ping {
            thread::sleep(Duration::from_micros(20));
        }
    }
    done.store(true, Ordering::Relaxed);
    reader.join().expect("reader")
}

/// The bare chain: a ring wakes a thread by the doorbell, which writes 112 bytes to a socket another thread polls on.
fn latency_bare(folder: &Path) -> Vec<u64> {
    let directory = Directory::open(folder).expect("directory");
    let mut writer = Writer::open(&directory, "kraken", WriterOptions { slots: 1024, epoch: 1 }).expect("writer");
    let mut reader = writer.reader().expect("reader");
    let (mut ours, mut theirs) = UnixStream::pair().expect("pair");
    theirs.set_nonblocking(true).expect("non-blocking");
    let epoch = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let middle = thread::spawn(move || {
        let mut bytes = [0u8; 112];
        while !over.load(Ordering::Relaxed) {
            let polled = reader.poll(64, |_, words| bytes[80..88].copy_from_slice(&words[2].to_le_bytes()));
            if matches!(polled, Ok(ring::Poll::Records(_))) {
                ours.write_all(&bytes).expect("write");
            } else {
                let ticket = directory.doorbell().arm();
                if !reader.has_news() {
                    directory.doorbell().wait(ticket, Some(Duration::from_millis(50)));
                }
            }
        }
    });
    let taken = Arc::new(AtomicU64::new(0));
    let seen = taken.clone();
    let end = thread::spawn(move || {
        let mut all = Vec::new();
        let mut bytes = [0u8; 4096];
        while all.len() < PINGS {
            match theirs.read(&mut bytes) {
                Ok(got) => {
                    assert!(got >= 88, "one message at a time");
                    let sent = u64::from_le_bytes(bytes[80..88].try_into().expect("8 bytes"));
                    all.push(epoch.elapsed().as_nanos() as u64 - sent);
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    let mut fds = [rustix::event::PollFd::new(&theirs, rustix::event::PollFlags::IN)];
                    rustix::event::poll(&mut fds, None).expect("poll");
                }
            }
        }
        all
    });
    for ping in 0..PINGS as u64 {
        thread::sleep(Duration::from_micros(150));
        let now = epoch.elapsed().as_nanos() as u64;
        writer.push(trade(ping, now).as_words());
        writer.publish(now);
        while taken.load(Ordering::Relaxed) <= ping {
            thread::sleep(Duration::from_micros(20));
        }
    }
    done.store(true, Ordering::Relaxed);
    middle.join().expect("middle");
    end.join().expect("end")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let (mut relayed, mut with_stopped, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(bare());
        relayed.push(through_relay(0));
        with_stopped.push(through_relay(1));
    }
    let ratio = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    println!("fan-out to {CLIENTS} clients, records/s to each, median of {ROUNDS}:");
    println!("  bare sockets        {:>12.0}", median(raw.clone()));
    println!("  relay               {:>12.0}  {:.2} of bare", median(relayed.clone()), ratio(&relayed, &raw));
    println!(
        "  relay, one stopped  {:>12.0}  {:.2} of relay",
        median(with_stopped.clone()),
        ratio(&with_stopped, &relayed)
    );
    let folder = tempfile::TempDir::with_prefix_in("relay-fanout-", "/dev/shm").expect("folder");
    println!("publication to blocked client, {PINGS} single records:");
    for round in 0..2 {
        let bare = folder.path().join(format!("{round}"));
        println!("  bare chain  {}", percentiles(latency_bare(&bare)));
        println!("  relay       {}", percentiles(latency_relay()));
    }
}
