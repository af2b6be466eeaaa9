//! The relay to ten clients beside a bare loop that writes the same bytes to ten Unix sockets in batches as large, and
//! what a stopped client costs the others.

use crate::clock::{ns, ticks};
use crate::ring::Folder;
use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, Spread};
use ::ring::{Directory, Writer, WriterOptions};
use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use relay::{Client, ClientOptions, Reconnect, Server, ServerOptions, Source, Subscription};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::batch::HEADER_BYTES;
use wire::{Flags, TradeRecord};

const CLIENTS: usize = 10;
const RECORDS: usize = 200_000;
/// More than a run's records, so that nobody is lapped: the next run begins when everybody has read the last.
const SLOTS: u64 = 1 << 18;
/// Records of 48 bytes that the relay puts into one batch when it is behind.
const BATCH: usize = 1024;

fn trade(id: u64) -> TradeRecord {
    TradeRecord::new(
        Venue::Kraken,
        InstrumentId(7),
        Some(Side::Buy),
        SideSource::ExplicitTaker,
        Flags::EMPTY,
        UnixNanos(1),
        UnixNanos(1),
        Price(641_234),
        Qty(351_000),
        Some(id),
    )
}

/// A ring, its relay and the clients, alive over many runs so that no run pays for first touches.
struct Relayed {
    writer: Writer,
    counts: Arc<Vec<AtomicU64>>,
    polls: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), BenchError>>>,
    written: u64,
    _stopped: Vec<Client>,
    _folder: Folder,
}

impl Relayed {
    /// With `stopped` more clients that subscribe and never read.
    fn start(stopped: usize) -> Result<Relayed, BenchError> {
        let folder = Folder::new("relay");
        let directory = Directory::open(&folder.0)?;
        let writer = Writer::open(&directory, "kraken", WriterOptions { slots: SLOTS, epoch: 1 })?;
        let socket = folder.0.join("s");
        let server = Server::bind(ServerOptions::new(folder.0.clone(), socket.clone()))?;
        let mut relayed = Relayed {
            writer,
            counts: Arc::new((0..CLIENTS).map(|_| AtomicU64::new(0)).collect()),
            polls: Arc::default(),
            stop: Arc::default(),
            threads: vec![],
            written: 0,
            _stopped: vec![],
            _folder: folder,
        };
        let flag = relayed.stop.clone();
        relayed.threads.push(std::thread::spawn(move || {
            server.run(&flag);
            Ok(())
        }));
        let options = ClientOptions { reconnect: Reconnect::Never, ..ClientOptions::default() };
        let open = || Client::open(Source::Unix(socket.clone()), Subscription::default(), options);
        for _ in 0..stopped {
            relayed._stopped.push(open()?);
        }
        for index in 0..CLIENTS {
            let mut client = open()?;
            let (counts, polls, stop) = (relayed.counts.clone(), relayed.polls.clone(), relayed.stop.clone());
            relayed.threads.push(std::thread::spawn(move || {
                let mut seen = 0;
                while !stop.load(Ordering::Relaxed) {
                    let got = client.poll(|delivery, _| seen += u64::from(delivery.envelope.sequence != 0))?;
                    if got == 0 {
                        client.wait(Duration::from_millis(100));
                    } else {
                        polls.fetch_add(1, Ordering::Relaxed);
                        counts[index].store(seen, Ordering::Release);
                    }
                }
                Ok(())
            }));
        }
        Ok(relayed)
    }

    /// Ns per record delivered, and the records a poll brought.
    fn deliver(&mut self, records: usize) -> Result<(f64, f64), BenchError> {
        let polls = self.polls.load(Ordering::Relaxed);
        let start = ticks();
        for _ in 0..records {
            self.written += 1;
            self.writer.push(trade(self.written).as_words());
            if self.written.is_multiple_of(64) {
                self.writer.publish(1);
            }
        }
        self.writer.publish(1);
        while self.counts.iter().any(|count| count.load(Ordering::Acquire) < self.written) {
            if self.threads.iter().any(JoinHandle::is_finished) {
                let gone = io::Error::other("a client or the relay ended before its time");
                return Err(BenchError::system("deliver through the relay")(gone));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        let deliveries = (records * CLIENTS) as f64;
        let polls = self.polls.load(Ordering::Relaxed) - polls;
        Ok((ns(ticks() - start) / deliveries, deliveries / polls.max(1) as f64))
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A failure was told by the run that noticed it.
            let _ = thread.join();
        }
    }
}

/// The same bytes, already encoded, by one thread to as many sockets; a full socket is passed over, not waited for.
fn bare(records: usize) -> Result<f64, BenchError> {
    let failed = |what| BenchError::system(what);
    let batch = vec![7u8; HEADER_BYTES + BATCH * 48];
    let total = batch.len() * records.div_ceil(BATCH);
    let pairs: Result<Vec<_>, _> = (0..CLIENTS).map(|_| UnixStream::pair()).collect();
    std::thread::scope(|scope| {
        let (mut ends, mut readers) = (vec![], vec![]);
        for (ours, mut theirs) in pairs.map_err(failed("make a pair of sockets"))? {
            ours.set_nonblocking(true).map_err(failed("set an option of a socket"))?;
            ends.push((ours, 0usize));
            readers.push(scope.spawn(move || {
                let (mut buffer, mut got) = (vec![0; 256 << 10], 0);
                while got < total {
                    match theirs.read(&mut buffer) {
                        Ok(n) if n > 0 => got += n,
                        _ => return,
                    }
                }
            }));
        }
        let start = ticks();
        while ends.iter().any(|(_, sent)| *sent < total) {
            let mut moved = false;
            for (end, sent) in ends.iter_mut().filter(|(_, sent)| *sent < total) {
                match end.write(&batch[*sent % batch.len()..]) {
                    Ok(n) => (*sent, moved) = (*sent + n, true),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => return Err(failed("write to a pair of sockets")(e)),
                }
            }
            if !moved {
                std::thread::yield_now();
            }
        }
        readers.into_iter().for_each(|reader| reader.join().expect("no reader panics"));
        Ok(ns(ticks() - start) / (records * CLIENTS) as f64)
    })
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    // The ring bounds a run; a long measurement is more runs.
    let records = options.effort.of(RECORDS).min(RECORDS);
    let count = if options.effort == Effort::Long { options.pairs * 10 } else { options.pairs };
    let mut alone = Relayed::start(0)?;
    let mut batches = vec![];
    // One lap, so that every page of the ring has been touched by everybody.
    alone.deliver(records)?;
    alone.deliver(records)?;
    let pairs = Pairs::measure(
        count,
        || bare(records),
        || {
            let (ns, batch) = alone.deliver(records)?;
            batches.push(batch);
            Ok(ns)
        },
    )?;
    let reference = format!("bare writes of {BATCH} records");
    report.row(Row::speed("deliver a record to 10 clients", reference, &pairs, "ns").goal(Goal::AtLeast(0.8)));
    report.row(Row::figure("records a client's poll brings", Spread::of(&batches), ""));
    let mut beside = Relayed::start(1)?;
    beside.deliver(records)?;
    beside.deliver(records)?;
    let pairs = Pairs::measure(count, || Ok(alone.deliver(records)?.0), || Ok(beside.deliver(records)?.0))?;
    let row = Row::cost("the same beside a stopped client", "without it", &pairs, "ns");
    report.row(row.goal(Goal::AtMost(1.05)));
    Ok(())
}
