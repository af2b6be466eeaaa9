//! What does the relay cost beside bare sockets? Prints, for ten receivers: records/s through the relay, which reads
//! them from a ring that is being filled, and through a bare loop that writes the same batches, encoded beforehand, to
//! as many sockets. Both feed the same receivers, which only count records by the batches' headers: the relay is under
//! test, not the client, and the client library's own rate stands on a line of its own, as does its rate over TLS, as
//! another machine would read. Then what a stopped eleventh
//! client costs the others, and the latency from publication to a client, beside a bare chain with the same two
//! wake-ups.
//!
//! `cargo run --release -p relay --example fanout [rounds]`

use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use relay::{
    Client, ClientOptions, Hello, Identity, PROTOCOL_VERSION, Server, ServerOptions, Source, Subscription, TcpOptions,
    TcpSource, Token, Trust,
};
use ring::{Directory, Writer, WriterOptions};
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wire::batch::{BatchBuilder, BatchHeader, CATCH_UP, HEADER_BYTES, OUT_OF_BAND};
use wire::{Flags, TradeRecord};

const CLIENTS: usize = 10;
/// Fewer than the ring holds: the writer does not wait.
const RECORDS: u64 = 900_000;
const SLOTS: u64 = 1 << 20;
/// Records in a batch: as many as the relay puts into one.
const BATCH_RECORDS: usize = 1024;
/// The sockets' buffers are as large as the relay asks for.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
const ROUNDS: usize = 9;
const PINGS: usize = 4_000;
const TOKEN: &str = "only-for-this-measurement-on-loopback";

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
    tls: TcpSource,
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
        let token = || Some(Token::new(TOKEN).expect("long enough"));
        let mut tcp = TcpOptions::new("127.0.0.1:0".parse().expect("an address"));
        tcp.identity = Some(identity(folder.path()));
        tcp.token = token();
        let mut options = ServerOptions::new(folder.path().into(), folder.path().join("s"));
        options.tcp = Some(tcp);
        let server = Server::bind(options).expect("bind");
        let tls = TcpSource {
            address: server.tcp_address().expect("it listens").to_string(),
            trust: Trust::Roots { file: folder.path().join("cert.pem"), server_name: Some("localhost".into()) },
            token: token(),
        };
        let flag = stop.clone();
        let relay = Some(thread::spawn(move || server.run(&flag)));
        Plant { folder, stop, relay, tls, writer }
    }

    fn client(&self) -> Client {
        self.client_of(Source::Unix(self.folder.path().join("s")))
    }

    fn client_of(&self, source: Source) -> Client {
        Client::open(source, Subscription::default(), ClientOptions::default()).expect("client")
    }
}

/// A certificate that is its own root.
fn identity(folder: &Path) -> Identity {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let identity = Identity { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&identity.certificate, made.cert.pem()).expect("written");
    std::fs::write(&identity.key, made.signing_key.serialize_pem()).expect("written");
    identity
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            relay.join().expect("relay");
        }
    }
}

/// What stands at the receiving end.
#[derive(Clone, Copy)]
enum Receiver {
    /// Reads large pieces and counts records by the batches' headers: next to nothing, so that the sender is measured.
    Counting,
    /// The client library: checks every batch and walks its records.
    Client,
    /// The same, over TCP and TLS.
    TlsClient,
}

/// Follows a stream of batches by their headers alone.
struct Counter {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header there so far.
    held: usize,
    /// Bytes of the body still to come.
    body: usize,
    records: u64,
    batches: u64,
}

impl Counter {
    fn new() -> Counter {
        Counter { header: [0; HEADER_BYTES], held: 0, body: 0, records: 0, batches: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            let part = bytes.len().min(HEADER_BYTES - self.held);
            self.header[self.held..self.held + part].copy_from_slice(&bytes[..part]);
            self.held += part;
            bytes = &bytes[part..];
            if self.held == HEADER_BYTES {
                let header = BatchHeader::read(&self.header).expect("a batch").expect("a whole header");
                self.held = 0;
                self.body = header.length as usize;
                if header.flags & (CATCH_UP | OUT_OF_BAND) == 0 {
                    self.records += u64::from(header.count);
                    self.batches += u64::from(header.count > 0);
                }
            }
        }
    }

    /// Until all records are there and the last batch is whole. Returns how many batches held records.
    fn read_all(mut self, mut stream: UnixStream) -> u64 {
        let mut buffer = vec![0; 256 * 1024];
        while self.records < RECORDS || self.body > 0 {
            let got = stream.read(&mut buffer).expect("read");
            assert!(got > 0, "the sender stays until all is read");
            self.take(&buffer[..got]);
        }
        self.batches
    }
}

/// A subscription to everything, by hand: the socket behind the relay's answer.
fn subscribe(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("connect");
    let hello = Hello { version: PROTOCOL_VERSION, token: None, subscribe: Subscription::default() };
    let mut line = serde_json::to_vec(&hello).expect("JSON");
    line.push(b'\n');
    stream.write_all(&line).expect("write");
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).expect("answer");
    }
    stream
}

/// Through the library, which does not show batches: counts none.
fn receive_all(mut client: Client) -> u64 {
    let mut records = 0;
    while records < RECORDS {
        let got = client
            .poll(|delivery, _| records += u64::from(delivery.envelope.sequence != 0 && !delivery.catch_up))
            .expect("poll");
        if got == 0 {
            client.wait(Duration::from_millis(100));
        }
    }
    0
}

/// Publishes `RECORDS` in batches of 64 without waiting, counts until every receiver has all. Returns records/s to
/// each and the batches that counting receivers met.
fn through_relay(receiver: Receiver, stopped: usize) -> (f64, u64) {
    let mut plant = Plant::start();
    let idle: Vec<Client> = (0..stopped).map(|_| plant.client()).collect();
    let readers: Vec<_> = (0..CLIENTS)
        .map(|_| match receiver {
            Receiver::Counting => {
                let stream = subscribe(&plant.folder.path().join("s"));
                thread::spawn(move || Counter::new().read_all(stream))
            }
            Receiver::Client => {
                let client = plant.client();
                thread::spawn(move || receive_all(client))
            }
            Receiver::TlsClient => {
                let client = plant.client_of(Source::Tcp(plant.tls.clone()));
                thread::spawn(move || receive_all(client))
            }
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
    let batches: u64 = readers.into_iter().map(|reader| reader.join().expect("reader")).sum();
    let seconds = begun.elapsed().as_secs_f64();
    drop(idle);
    (RECORDS as f64 / seconds, batches)
}

/// The same records in batches as large as the relay's, encoded before the clock starts.
fn encoded_batches() -> Vec<Vec<u8>> {
    let ids: Vec<u64> = (0..RECORDS).collect();
    let encode = |ids: &[u64]| {
        let mut builder = BatchBuilder::new();
        for id in ids {
            builder.push(id + 1, trade(*id, 1).as_words());
        }
        let mut bytes = Vec::new();
        builder.finish(Some(Venue::Kraken), 1, (ids[0] + 1, ids[ids.len() - 1] + 1), 1, 0, &mut bytes);
        bytes
    };
    ids.chunks(BATCH_RECORDS).map(encode).collect()
}

/// One thread writes ready batches to `CLIENTS` sockets, one after the other, and counting receivers read them. It
/// waits for whoever has no room; it reads no ring, encodes nothing, and nobody publishes beside it.
fn bare(batches: &[Vec<u8>]) -> f64 {
    let (mut ends, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        set_socket_send_buffer_size(&ours, SEND_BUFFER_BYTES).expect("buffer size");
        ends.push(ours);
        readers.push(thread::spawn(move || Counter::new().read_all(theirs)));
    }
    let begun = Instant::now();
    for batch in batches {
        for end in &mut ends {
            end.write_all(batch).expect("write");
        }
    }
    for reader in readers {
        reader.join().expect("reader");
    }
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

fn fan_out(rounds: usize) {
    let batches = encoded_batches();
    let (mut raw, mut relayed, mut with_stopped, mut clients) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut over_tls, mut batch_records) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        raw.push(bare(&batches));
        let (rate, met) = through_relay(Receiver::Counting, 0);
        relayed.push(rate);
        batch_records.push((RECORDS * CLIENTS as u64) as f64 / met as f64);
        with_stopped.push(through_relay(Receiver::Counting, 1).0);
        clients.push(through_relay(Receiver::Client, 0).0);
        over_tls.push(through_relay(Receiver::TlsClient, 0).0);
    }
    let ratio = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    println!("fan-out to {CLIENTS} receivers, records/s to each, median of {rounds} rounds, ratios within a round:");
    println!("  records per batch: bare {BATCH_RECORDS}, relay {:.0} on average", median(batch_records));
    println!("  bare sockets           {:>12.0}", median(raw.clone()));
    let line = |what: &str, values: &[f64], beside: &[f64], of: &str| {
        println!("  {what:<22} {:>12.0}  {:.2} of {of}", median(values.to_vec()), ratio(values, beside));
    };
    line("relay", &relayed, &raw, "bare");
    line("relay, one stopped", &with_stopped, &relayed, "relay");
    line("relay, client library", &clients, &raw, "bare");
    line("the same over TLS", &over_tls, &clients, "the Unix socket");
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    fan_out(rounds);
    let folder = tempfile::TempDir::with_prefix_in("relay-fanout-", "/dev/shm").expect("folder");
    println!("publication to blocked client, {PINGS} single records:");
    for round in 0..2 {
        let bare = folder.path().join(format!("{round}"));
        println!("  bare chain  {}", percentiles(latency_bare(&bare)));
        println!("  relay       {}", percentiles(latency_relay()));
    }
}
