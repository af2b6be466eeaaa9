//! From the intended send time of a frame's bytes to the consumer that holds its record, and the same path of raw parts.
//!
//! The venue and the consumer are one thread, so that two cores suffice: it sends a frame when it is due and waits for
//! the record. The feed has the other core, or both are left to the scheduler. The reference has the same threads and wake-ups: a TCP read, the
//! fixed-order scan, one line of shared memory and a futex; through the relay one more thread and a Unix socket.

use crate::bare::{Shm, futex_wait, futex_wake};
use crate::clock::{Percentiles, spin_until, ticks, ticks_per_ns};
use crate::fixed_order::{self, Arena};
use crate::frames::{FIRST_TRADE_ID, Shape, frames};
use crate::machine::{pin, unpin};
use crate::plant::Plant;
use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, Spread};
use feed::Waiting;
use model::Venue;
use relay::{Client, ClientOptions, Reconnect, Server, ServerOptions, Source, Subscription};
use std::hint::{black_box, spin_loop};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wire::Record;

/// Frames are so far apart that everybody sleeps when one comes.
const GAP_NS: f64 = 100_000.0;
const FRAMES: usize = 3_000;

/// How the record reaches the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Straight from the ring.
    Ring,
    /// Through the relay's socket.
    Relay,
}

/// Where the two threads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Venue and consumer on core 0, the feed on core 1.
    Apart,
    /// Wherever the scheduler puts them.
    Free,
}

impl Place {
    fn take(self, core: usize) {
        match self {
            Place::Apart => pin(core),
            Place::Free => unpin(),
        }
    }
}

/// One run's latencies, and those of its parts where it is made of parts.
struct Run {
    whole: Percentiles,
    parts: Vec<Percentiles>,
}

fn ours(waiting: Waiting, way: Way, place: Place, count: usize) -> Result<Run, BenchError> {
    let mut plant = Plant::start(Venue::Binance, waiting, (place == Place::Apart).then_some(1))?;
    let frames = frames(Shape::BinanceTrade, count + 1);
    let encoded: Vec<Vec<u8>> = frames.iter().map(|frame| plant.encode(std::slice::from_ref(frame))).collect();
    let stop = AtomicBool::new(false);
    let socket = plant.rings().join("relay.sock");
    std::thread::scope(|scope| {
        let source = match way {
            Way::Ring => Source::Rings(plant.rings().to_owned()),
            Way::Relay => {
                let server = Server::bind(ServerOptions::new(plant.rings().to_owned(), socket.clone()))?;
                scope.spawn(|| {
                    unpin();
                    server.run(&stop);
                });
                Source::Unix(socket)
            }
        };
        let measured = follow(&mut plant, source, waiting, place, &encoded);
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

fn follow(
    plant: &mut Plant,
    source: Source,
    waiting: Waiting,
    place: Place,
    encoded: &[Vec<u8>],
) -> Result<Run, BenchError> {
    place.take(0);
    let options =
        ClientOptions { spin: waiting == Waiting::Spin, reconnect: Reconnect::Never, ..ClientOptions::default() };
    let mut client = Client::open(source, Subscription::default(), options)?;
    let gap = (GAP_NS * ticks_per_ns()) as u64;
    let mut samples = Vec::with_capacity(encoded.len());
    for (id, bytes) in (FIRST_TRADE_ID..).zip(encoded) {
        let due = ticks() + gap;
        spin_until(due);
        plant.send(bytes)?;
        let mut held = false;
        while !held {
            let take = |words: &[u64]| matches!(Record::read(words), Ok(Record::Trade(t)) if t.trade_id == id);
            if client.poll(|_, words| held |= take(words))? == 0 && waiting == Waiting::Block {
                client.wait(Duration::from_millis(100));
            }
        }
        samples.push(ticks() - due);
    }
    // The first frame finds everything cold.
    Ok(Run { whole: Percentiles::of(samples.split_off(1)), parts: vec![] })
}

/// The raw parts, joined: TCP, scan, shared memory with a futex (or spinning), and for the relay a Unix socket.
fn raw(waiting: Waiting, way: Way, place: Place, count: usize) -> Result<Run, BenchError> {
    let failed = |what: &'static str| BenchError::system(what);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed("listen on loopback"))?;
    let address = listener.local_addr().map_err(failed("ask for a listener's address"))?;
    let mut sending = TcpStream::connect(address).map_err(failed("connect on loopback"))?;
    let (mut receiving, _) = listener.accept().map_err(failed("accept on loopback"))?;
    sending.set_nodelay(true).map_err(failed("set an option of a socket"))?;
    receiving.set_nonblocking(waiting == Waiting::Spin).map_err(failed("set an option of a socket"))?;
    let (mut relay_end, mut client_end) = UnixStream::pair().map_err(failed("make a pair of sockets"))?;
    client_end.set_nonblocking(waiting == Waiting::Spin).map_err(failed("set an option of a socket"))?;

    let frames = frames(Shape::BinanceTrade, count);
    let arena = Arena::of(&frames);
    let maps = Shm::mappings(64, 3)?;
    let (reader, relay, writer) = (&maps[0], &maps[1], &maps[2]);
    let spin = waiting == Waiting::Spin;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            place.take(1);
            let mut buffer = [0; 4096];
            let mut stamps = Vec::with_capacity(count);
            for (frame, padded) in arena.iter().zip(arena.with_slack()) {
                let mut got = 0;
                while got < frame.len() {
                    match receiving.read(&mut buffer[got..]) {
                        Ok(n) if n > 0 => got += n,
                        Err(e) if e.kind() == ErrorKind::WouldBlock => spin_loop(),
                        _ => return Err(failed("read on loopback")(ErrorKind::UnexpectedEof.into())),
                    }
                }
                let read = ticks();
                // The same bytes as in the buffer, with room behind them.
                black_box(&buffer[..got]);
                black_box(fixed_order::binance_trade(padded));
                let scanned = ticks();
                writer.stamp().store(scanned, Ordering::Relaxed);
                writer.word().fetch_add(1, Ordering::Release);
                if !spin {
                    futex_wake(writer.word());
                }
                stamps.push((read, scanned));
            }
            Ok(stamps)
        });
        if way == Way::Relay {
            scope.spawn(move || {
                unpin();
                for seen in 0..count as u32 {
                    await_word(relay, seen, spin);
                    // The other end is gone only when the run has failed.
                    let _ = relay_end.write_all(&[0; 112]);
                }
            });
        }
        place.take(0);
        let gap = (GAP_NS * ticks_per_ns()) as u64;
        let (mut due_times, mut samples) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (seen, frame) in (0u32..).zip(arena.iter()) {
            let due = ticks() + gap;
            spin_until(due);
            sending.write_all(frame).map_err(failed("write on loopback"))?;
            match way {
                Way::Ring => await_word(reader, seen, spin),
                Way::Relay => await_bytes(&mut client_end)?,
            }
            samples.push(ticks() - due);
            due_times.push(due);
        }
        let stamps = receiver.join().expect("the receiver does not panic")?;
        let part = |f: fn(u64, u64, u64, u64) -> u64| {
            let each = due_times.iter().zip(&stamps).zip(&samples);
            Percentiles::of(
                each.skip(1).map(|((due, (read, scanned)), whole)| f(*due, *read, *scanned, due + whole)).collect(),
            )
        };
        let parts = vec![
            part(|due, read, _, _| read.saturating_sub(due)),
            part(|_, read, scanned, _| scanned - read),
            part(|_, _, scanned, end| end.saturating_sub(scanned)),
        ];
        Ok(Run { whole: Percentiles::of(samples.split_off(1)), parts })
    })
}

fn await_word(memory: &Shm, seen: u32, spin: bool) {
    while memory.word().load(Ordering::Acquire) == seen {
        if spin { spin_loop() } else { futex_wait(memory.word(), seen) }
    }
}

fn await_bytes(end: &mut UnixStream) -> Result<(), BenchError> {
    let (mut buffer, mut got) = ([0; 112], 0);
    while got < buffer.len() {
        match end.read(&mut buffer[got..]) {
            Ok(n) if n > 0 => got += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => spin_loop(),
            _ => return Err(BenchError::system("read a pair of sockets")(ErrorKind::UnexpectedEof.into())),
        }
    }
    Ok(())
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let count = options.effort.of(FRAMES);
    for (waiting, way, place, name, limit_ns) in [
        (Waiting::Block, Way::Ring, Place::Apart, "blocking, two cores", Some(17_000.0)),
        (Waiting::Block, Way::Ring, Place::Free, "blocking, not pinned", Some(17_000.0)),
        (Waiting::Spin, Way::Ring, Place::Apart, "spinning, two cores", Some(5_000.0)),
        (Waiting::Block, Way::Relay, Place::Apart, "blocking, through the relay", None),
    ] {
        let pairs = if options.effort == Effort::Smoke { 1 } else { options.pairs };
        let mut runs = vec![];
        for round in 0..=pairs {
            let measured = (raw(waiting, way, place, count)?, ours(waiting, way, place, count)?);
            // The first pair warms up.
            if round > 0 {
                runs.push(measured);
            }
        }
        let pick = |f: fn(&Percentiles) -> f64| {
            let mut pairs = Pairs::default();
            runs.iter().for_each(|(raw, ours)| pairs.push(f(&raw.whole), f(&ours.whole)));
            pairs
        };
        let reference = if way == Way::Relay { "raw parts, as many wake-ups" } else { "raw parts, joined" };
        let p50 = pick(|p| p.p50);
        report.row(Row::cost(format!("{name}: p50"), reference, &p50, "ns").goal(Goal::AtMost(1.25)));
        if let Some(limit) = limit_ns {
            report.row(Row::figure(format!("{name}: p50"), p50.ours(), "ns").goal(Goal::AtMost(limit)));
        }
        report.row(Row::cost(format!("{name}: p99"), reference, &pick(|p| p.p99), "ns"));
        report.row(Row::cost(format!("{name}: p99.9"), reference, &pick(|p| p.p999), "ns"));
        for (index, part) in ["TCP one way", "scan", "to the consumer"].into_iter().enumerate() {
            let p50s: Vec<f64> = runs.iter().map(|(raw, _)| raw.parts[index].p50).collect();
            report.row(Row::figure(format!("{name}: raw part p50, {part}"), Spread::of(&p50s), "ns"));
        }
    }
    report.note(
        "Latency counts from when a frame was due. The raw parts run joined, in the same threads and with the same \
         wake-ups, so their sum is measured and not added up from runs of their own.",
    );
    Ok(())
}
