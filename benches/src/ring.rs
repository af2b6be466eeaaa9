//! The ring through its public door beside a bare copy of its protocol: throughput, one-way time, wake-up.
//!
//! Writer on core 0, one reader on core 1; ten readers share both. Lossless: the writer waits for progress words that
//! belong to the bench, in both halves alike.

use crate::bare::{BareReader, BareWriter, Shm, Wakes, futex_wait, futex_wake};
use crate::clock::{Percentiles, spin_until, ticks, ticks_per_ns};
use crate::machine::{pin, unpin};
use crate::{BenchError, Goal, Options, Pairs, Report, Row, Spread, agree, clock};
use ::ring::{Directory, Poll, Reader, Writer, WriterOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// 16 Ki slots are 1 MiB: what the raw rings of the research used, and within the second-level cache.
const SLOTS: u64 = 1 << 14;
const POLL_MAX: usize = 256;
/// A reader among many gives the core away after so many empty looks.
const PATIENCE: u32 = 64;

/// A folder of rings that is removed at the end.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let base = if PathBuf::from("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Folder(base.join(format!("alphapulse-bench-{}-{name}-{count}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind when it fails; nothing depends on it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

trait Pen: Send {
    fn push(&mut self, record: &[u64; 6]);
    fn publish(&mut self);
}

trait Eye: Send {
    fn poll(&mut self, max: usize, take: impl FnMut(&[u64])) -> Result<usize, BenchError>;
}

impl Pen for BareWriter {
    #[inline]
    fn push(&mut self, record: &[u64; 6]) {
        BareWriter::push(self, record);
    }
    #[inline]
    fn publish(&mut self) {
        BareWriter::publish(self);
    }
}

impl Eye for BareReader {
    #[inline]
    fn poll(&mut self, max: usize, take: impl FnMut(&[u64])) -> Result<usize, BenchError> {
        Ok(BareReader::poll(self, max, take))
    }
}

impl Pen for Writer {
    #[inline]
    fn push(&mut self, record: &[u64; 6]) {
        Writer::push(self, record);
    }
    #[inline]
    fn publish(&mut self) {
        Writer::publish(self, 1);
    }
}

impl Eye for Reader {
    #[inline]
    fn poll(&mut self, max: usize, mut take: impl FnMut(&[u64])) -> Result<usize, BenchError> {
        match Reader::poll(self, max, |_, words| take(words))? {
            Poll::Records(count) => Ok(count),
            Poll::Idle => Ok(0),
            Poll::Lapped(_) | Poll::Missing(_) | Poll::Retired => unreachable!("the harness lets nobody be overtaken"),
        }
    }
}

fn bare(readers: usize, wakes: Wakes) -> Result<(BareWriter, Vec<BareReader>), BenchError> {
    let mut maps = Shm::mappings(SLOTS, readers + 1)?.into_iter();
    let writer = BareWriter::new(maps.next().expect("one more than readers"), SLOTS, wakes);
    Ok((writer, maps.map(|map| BareReader::new(map, SLOTS)).collect()))
}

/// Rings of rising epochs in one directory, so that opening costs no new file.
struct Rings {
    directory: Directory,
    epoch: u64,
    _folder: Folder,
}

impl Rings {
    fn new() -> Result<Rings, BenchError> {
        let folder = Folder::new("ring");
        Ok(Rings { directory: Directory::open(&folder.0)?, epoch: 0, _folder: folder })
    }

    fn open(&mut self, readers: usize) -> Result<(Writer, Vec<Reader>), BenchError> {
        self.epoch += 1;
        let writer = Writer::open(&self.directory, "bench", WriterOptions { slots: SLOTS, epoch: self.epoch })?;
        let eyes = (0..readers).map(|_| {
            let mut reader = Reader::open(&self.directory, "bench")?;
            reader.attach(::ring::From::Now)?;
            Ok(reader)
        });
        let eyes = eyes.collect::<Result<Vec<_>, BenchError>>()?;
        Ok((writer, eyes))
    }
}

/// How far a reader has come, on a line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Progress(AtomicU64);

struct Gate {
    readers: Arc<Vec<Progress>>,
    slowest: u64,
}

impl Gate {
    /// Waits until `position` may be written without overtaking anybody, intent chunk included.
    #[inline]
    fn pass(&mut self, position: u64) {
        while position + 2 * 64 - self.slowest > SLOTS {
            self.slowest = self.readers.iter().map(|p| p.0.load(Ordering::Acquire)).min().unwrap_or(u64::MAX);
            if self.readers.len() > 1 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// Reads `records` records and gives the sum of their last words.
fn follow<E: Eye>(eye: &mut E, records: u64, shared: bool, progress: &Progress) -> Result<u64, BenchError> {
    let (mut seen, mut sum, mut idle) = (0u64, 0u64, 0u32);
    while seen < records {
        let count = eye.poll(POLL_MAX, |w| {
            sum = sum.wrapping_add(w.iter().fold(0, |sum, word| sum ^ word));
        })?;
        if count > 0 {
            seen += count as u64;
            progress.0.store(seen, Ordering::Release);
            idle = 0;
        } else if shared && idle > PATIENCE {
            std::thread::yield_now();
            idle = 0;
        } else {
            idle += 1;
            std::hint::spin_loop();
        }
    }
    Ok(sum)
}

const HEADER: u64 = 1 | 6 << 8;

/// Ns per delivered record, and the readers' sums.
fn throughput<P: Pen, E: Eye>(
    (mut pen, mut eyes): (P, Vec<E>),
    batch: u64,
    records: u64,
) -> Result<(f64, Vec<u64>), BenchError> {
    let progress: Arc<Vec<Progress>> = Arc::new(eyes.iter().map(|_| Progress::default()).collect());
    let mut gate = Gate { readers: progress.clone(), slowest: 0 };
    let readers = eyes.len();
    let ready = Barrier::new(readers + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = eyes
            .iter_mut()
            .zip(progress.iter())
            .map(|(eye, progress)| {
                let ready = &ready;
                scope.spawn(move || {
                    if readers == 1 {
                        pin(1)
                    } else {
                        unpin()
                    }
                    ready.wait();
                    follow(eye, records, readers > 1, progress)
                })
            })
            .collect();
        let writing = scope.spawn(|| {
            pin(0);
            ready.wait();
            let start = ticks();
            let mut position = 0;
            while position < records {
                let end = (position + batch).min(records);
                gate.pass(end);
                while position < end {
                    pen.push(&[HEADER, position, position, position, position, position * 3]);
                    position += 1;
                }
                pen.publish();
            }
            start
        });
        let start = writing.join().expect("the writer does not panic");
        let sums = threads.into_iter().map(|t| t.join().expect("no reader panics")).collect::<Result<Vec<_>, _>>()?;
        Ok((clock::ns(ticks() - start) / (records * readers as u64) as f64, sums))
    })
}

/// One-way times of `count` records published one by one every `gap_ns`, reader spinning.
fn one_way<P: Pen, E: Eye>(
    (mut pen, mut eyes): (P, Vec<E>),
    count: u64,
    gap_ns: f64,
) -> Result<Percentiles, BenchError> {
    let mut eye = eyes.pop().expect("one reader");
    let gap = (gap_ns * ticks_per_ns()) as u64;
    let ready = Barrier::new(2);
    let progress = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(0);
            ready.wait();
            let mut due = ticks() + 100 * gap;
            for index in 0..count {
                spin_until(due);
                while index - progress.load(Ordering::Acquire) > SLOTS / 2 {
                    std::hint::spin_loop();
                }
                pen.push(&[HEADER, 0, 0, ticks(), 0, 0]);
                pen.publish();
                // From now, not from the schedule: a descheduled writer must not send a burst that queues.
                due = ticks() + gap;
            }
        });
        let reading = scope.spawn(|| {
            pin(1);
            let mut samples = Vec::with_capacity(count as usize);
            ready.wait();
            while samples.len() < count as usize {
                eye.poll(POLL_MAX, |w| samples.push(ticks().saturating_sub(w[3])))?;
                progress.store(samples.len() as u64, Ordering::Release);
            }
            Ok(Percentiles::of(samples))
        });
        reading.join().expect("the reader does not panic")
    })
}

/// Wake-up times of a reader asleep on a bare futex.
pub(crate) fn futex_wake_ups(count: u64, gap_ns: f64) -> Result<Percentiles, BenchError> {
    let maps = Shm::mappings(1, 2)?;
    let gap = (gap_ns * ticks_per_ns()) as u64;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            pin(1);
            let memory = &maps[1];
            let mut samples = Vec::with_capacity(count as usize);
            let mut seen = memory.word().load(Ordering::Acquire);
            while !done.load(Ordering::Acquire) {
                futex_wait(memory.word(), seen);
                let now = memory.word().load(Ordering::Acquire);
                if now != seen {
                    samples.push(ticks().saturating_sub(memory.stamp().load(Ordering::Relaxed)));
                    seen = now;
                }
            }
            samples
        });
        let writing = scope.spawn(|| {
            pin(0);
            let memory = &maps[0];
            for _ in 0..count {
                spin_until(ticks() + gap);
                memory.stamp().store(ticks(), Ordering::Relaxed);
                memory.word().fetch_add(1, Ordering::Release);
                futex_wake(memory.word());
            }
            done.store(true, Ordering::Release);
            memory.word().fetch_add(1, Ordering::Release);
            futex_wake(memory.word());
        });
        writing.join().expect("the writer does not panic");
        Ok(Percentiles::of(reading.join().expect("the reader does not panic")))
    })
}

/// Wake-up times of a reader asleep on the doorbell.
fn doorbell_wake_ups(rings: &mut Rings, count: u64, gap_ns: f64) -> Result<Percentiles, BenchError> {
    let (mut writer, mut readers) = rings.open(1)?;
    let mut reader = readers.pop().expect("one reader");
    let gap = (gap_ns * ticks_per_ns()) as u64;
    let doorbell = rings.directory.doorbell();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(0);
            for _ in 0..count {
                spin_until(ticks() + gap);
                writer.push(&[HEADER, 0, 0, ticks(), 0, 0]);
                writer.publish(1);
            }
        });
        let reading = scope.spawn(move || {
            pin(1);
            let mut samples = Vec::with_capacity(count as usize);
            while samples.len() < count as usize {
                let seen = Eye::poll(&mut reader, POLL_MAX, |w| samples.push(ticks().saturating_sub(w[3])))?;
                if seen > 0 {
                    continue;
                }
                let ticket = doorbell.arm();
                if !reader.has_news() {
                    doorbell.wait(ticket, Some(Duration::from_millis(100)));
                }
            }
            Ok(Percentiles::of(samples))
        });
        reading.join().expect("the reader does not panic")
    })
}

/// Ns per record delivered through our ring, losslessly, to spinning readers.
pub fn deliver_ns(readers: usize, batch: u64, records: u64) -> Result<f64, BenchError> {
    let mut rings = Rings::new()?;
    Ok(throughput(rings.open(readers)?, batch, records)?.0)
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let mut rings = Rings::new()?;
    let mut wakes = 0;
    for (readers, batch, normal) in [(1, 1, 2_000_000), (1, 64, 4_000_000), (10, 1, 200_000), (10, 64, 400_000)] {
        let records = options.effort.of(normal) as u64;
        let what = format!("{readers} reader{}, batch {batch}", if readers == 1 { "" } else { "s" });
        let (_, theirs) = throughput(bare(readers, Wakes::Never)?, batch, records.min(100_000))?;
        let (_, ours) = throughput(rings.open(readers)?, batch, records.min(100_000))?;
        agree(&what, &ours, &theirs)?;
        let opened = |rings: &mut Rings, wakes: &mut u64| {
            let parts = rings.open(readers)?;
            let before = rings.directory.doorbell().wakes();
            let (ns, _) = throughput(parts, batch, records)?;
            *wakes += rings.directory.doorbell().wakes() - before;
            Ok(ns)
        };
        let pairs = Pairs::measure(
            options.pairs,
            || Ok(throughput(bare(readers, Wakes::Never)?, batch, records)?.0),
            || opened(&mut rings, &mut wakes),
        )?;
        let row = Row::speed(format!("deliver a record: {what}"), "bare protocol", &pairs, "ns");
        report.row(row.goal(Goal::AtLeast(0.8)));
        if batch == 1 {
            let pairs = Pairs::measure(
                options.pairs,
                || Ok(throughput(bare(readers, Wakes::Looks)?, batch, records)?.0),
                || opened(&mut rings, &mut wakes),
            )?;
            let reference = "bare protocol that looks for sleepers";
            report.row(Row::speed(format!("deliver a record: {what}"), reference, &pairs, "ns"));
        }
    }
    let none = Spread::of(&[wakes as f64]);
    report.row(Row::figure("wake-ups by the writer while no reader sleeps", none, "").goal(Goal::AtMost(0.0)));

    let count = options.effort.of(50_000) as u64;
    let pairs = Pairs::measure(
        options.pairs,
        || Ok(one_way(bare(1, Wakes::Never)?, count, 1_000.0)?.p50),
        || Ok(one_way(rings.open(1)?, count, 1_000.0)?.p50),
    )?;
    report.row(Row::cost("one way p50, 1 µs apart, spinning", "bare protocol", &pairs, "ns").goal(Goal::AtMost(1.25)));

    let count = options.effort.of(2_000) as u64;
    let pairs = Pairs::measure(
        options.pairs,
        || Ok(futex_wake_ups(count, 50_000.0)?.p50),
        || Ok(doorbell_wake_ups(&mut rings, count, 50_000.0)?.p50),
    )?;
    report.row(Row::cost("wake-up p50, 50 µs apart, asleep", "bare futex", &pairs, "ns").goal(Goal::AtMost(1.15)));
    Ok(())
}
