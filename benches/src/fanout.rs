//! The relay to ten clients beside a bare loop that writes the same bytes to ten Unix sockets in batches as large, and
//! what a stopped client costs the others.

use crate::clock::{ns, ticks};
use crate::ring::Folder;
use crate::{BenchError, Goal, Options, Pairs, Report, Row};
use ::ring::{Directory, Writer, WriterOptions};
use model::{InstrumentId, Price, Qty, Side, SideSource, UnixNanos, Venue};
use relay::{Client, ClientOptions, Reconnect, Server, ServerOptions, Source, Subscription};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use wire::batch::HEADER_BYTES;
use wire::{Flags, TradeRecord};

const CLIENTS: usize = 10;
const RECORDS: usize = 300_000;
/// Holds every record of a run, so that nobody can be lapped.
const SLOTS: u64 = 1 << 22;
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

/// Ns per record delivered to `CLIENTS` clients, with `stopped` more that never read; and the batches they got.
fn through_relay(records: usize, stopped: usize) -> Result<(f64, f64), BenchError> {
    let folder = Folder::new("relay");
    let directory = Directory::open(&folder.0)?;
    let slots = SLOTS.min((records as u64 * 2).next_power_of_two().max(1 << 16));
    let mut writer = Writer::open(&directory, "kraken", WriterOptions { slots, epoch: 1 })?;
    let socket = folder.0.join("s");
    let server = Server::bind(ServerOptions::new(folder.0.clone(), socket.clone()))?;
    let stop = AtomicBool::new(false);
    let polls = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| server.run(&stop));
        let options = ClientOptions { reconnect: Reconnect::Never, ..ClientOptions::default() };
        let open = || Client::open(Source::Unix(socket.clone()), Subscription::default(), options);
        let opened = (|| {
            let idle = (0..stopped).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, BenchError>((idle, (0..CLIENTS).map(|_| open()).collect::<Result<Vec<_>, _>>()?))
        })();
        let (idle, clients) = opened.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        let readers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let polls = &polls;
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < records {
                        let got = client.poll(|delivery, _| seen += usize::from(delivery.envelope.sequence != 0))?;
                        if got == 0 {
                            client.wait(Duration::from_millis(100));
                        } else {
                            polls.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Ok::<_, BenchError>(())
                })
            })
            .collect();
        let start = ticks();
        for id in 0..records as u64 {
            writer.push(trade(id).as_words());
            if id % 64 == 63 {
                writer.publish(1);
            }
        }
        writer.publish(1);
        let ended: Result<Vec<()>, _> = readers.into_iter().map(|r| r.join().expect("no client panics")).collect();
        let elapsed = ns(ticks() - start);
        stop.store(true, Ordering::Relaxed);
        drop(idle);
        ended?;
        let deliveries = (records * CLIENTS) as f64;
        Ok((elapsed / deliveries, deliveries / polls.load(Ordering::Relaxed).max(1) as f64))
    })
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
    let records = options.effort.of(RECORDS).min(SLOTS as usize / 2);
    let mut batches = vec![];
    let pairs = Pairs::measure(
        options.pairs,
        || bare(records),
        || {
            let (ns, batch) = through_relay(records, 0)?;
            batches.push(batch);
            Ok(ns)
        },
    )?;
    let reference = format!("bare writes of {BATCH} records");
    report.row(Row::speed("deliver a record to 10 clients", reference, &pairs, "ns").goal(Goal::AtLeast(0.8)));
    report.row(Row::figure("records a client's poll brings", crate::Spread::of(&batches), ""));
    let pairs =
        Pairs::measure(options.pairs, || Ok(through_relay(records, 0)?.0), || Ok(through_relay(records, 1)?.0))?;
    let row = Row::cost("the same beside a stopped client", "without it", &pairs, "ns");
    report.row(row.goal(Goal::AtMost(1.05)));
    Ok(())
}
