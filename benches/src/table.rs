//! A row of the latest-value table written and read, beside a bare seqlock of as many atomic words in plain memory, and
//! what keeping the rows costs a feed for each frame of a book.
//!
//! Rows are taken in turn from among 64, so that they come from the second-level cache and not from the first alone.
//! Nobody contends: a reader that meets a writer repeats its copy, in both halves alike.

use crate::frames::{Shape, frames};
use crate::ring::Folder;
use crate::venue::{NOW, ready, venue_of};
use crate::{BenchError, Goal, Options, Pairs, Report, Row, agree, clock};
use ::ring::Directory;
use ::ring::table::{Line, OWN_WORDS, Row as Place, TableOptions, TableReader, TableWriter};
use feed::Latest;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use venues::{Input, Outbox, Session, SessionSettings};
use wire::{TableHead, TableRow};

const ROWS: usize = 64;
const REPEATS: usize = 20_000;
const FRAMES: usize = 20_000;
const ROW_WORDS: usize = TableRow::LINES * 8;

/// Lock, then words.
#[repr(align(64))]
struct Bare([AtomicU64; ROW_WORDS]);

impl Bare {
    #[inline(always)]
    fn write(&self, words: &[u64]) {
        let version = self.0[0].load(Ordering::Relaxed);
        self.0[0].store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (to, from) in self.0[1..].iter().zip(words) {
            to.store(*from, Ordering::Relaxed);
        }
        self.0[0].store(version + 2, Ordering::Release);
    }

    #[inline(always)]
    fn read(&self, words: &mut [u64]) -> u64 {
        loop {
            let version = self.0[0].load(Ordering::Acquire);
            for (to, from) in words.iter_mut().zip(&self.0[1..]) {
                *to = from.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if version & 1 == 0 && self.0[0].load(Ordering::Relaxed) == version {
                return version;
            }
        }
    }
}

/// Ns a row of `rows`, each done by `work`.
fn timed(repeats: usize, mut work: impl FnMut(usize)) -> f64 {
    let start = clock::cpu_ns();
    for n in 0..repeats {
        work(n % ROWS);
    }
    (clock::cpu_ns() - start) as f64 / repeats as f64
}

struct Bench {
    bare: Vec<Bare>,
    writer: TableWriter,
    reader: TableReader,
    places: Vec<Place>,
    now: u64,
    _folder: Folder,
}

impl Bench {
    fn new() -> Result<Bench, BenchError> {
        let folder = Folder::new("table");
        let directory = Directory::open(&folder.0)?;
        let options = TableOptions { rows: ROWS as u32, lines: TableRow::LINES as u32 };
        let mut writer = TableWriter::open(&directory, "bench", options)?;
        let places = (1..=ROWS as u64).map(|key| writer.claim(key)).collect::<Result<_, _>>()?;
        let now = telemetry::clock::wall_ns();
        // As a feed does every quarter of a second; here the time stands still instead.
        writer.beat(now);
        let reader = TableReader::open(&directory, "bench")?;
        let bare = (0..ROWS).map(|_| Bare(std::array::from_fn(|_| AtomicU64::new(0)))).collect();
        Ok(Bench { bare, writer, reader, places, now, _folder: folder })
    }

    /// Lines and words of a row, and words without the lock: known at compile time to both sides.
    fn rows<const LINES: usize, const WORDS: usize, const UNLOCKED: usize>(
        &mut self,
        name: &str,
        options: &Options,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        let repeats = options.effort.of(REPEATS) * 5;
        let words: [u64; WORDS] = std::array::from_fn(|word| word as u64 * 3 + 1);
        let (mut copy, mut read) = ([[0; 8]; LINES], [0; UNLOCKED]);
        let Bench { bare, writer, reader, places, now, .. } = self;
        let (bare, places, now) = (&*bare, &*places, *now);

        bare[0].write(&words[1..]);
        bare[0].read(&mut read);
        writer.update(places[0], |pen| pen.put(OWN_WORDS, &words[OWN_WORDS..]));
        reader.read(places[0], now, &mut copy)?;
        agree(name, &&copy.as_flattened()[OWN_WORDS..], &&read[OWN_WORDS - 1..])?;

        let mut target = vec![0u64; words.len() * ROWS];
        let mut memcpy = || {
            Ok(timed(repeats, |n| {
                black_box(&mut target[n * WORDS..][..WORDS]).copy_from_slice(black_box(&words));
            }))
        };
        let write = |writer: &mut TableWriter| {
            Ok(timed(repeats, |n| {
                writer.update(places[n], |pen| pen.put(OWN_WORDS, &black_box(&words)[OWN_WORDS..]));
            }))
        };
        let bare_write = || Ok(timed(repeats, |n| bare[n].write(&black_box(&words)[1..])));
        let pairs = Pairs::measure(options.pairs, bare_write, || write(writer))?;
        report.row(Row::cost(format!("write {name}"), "bare seqlock", &pairs, "ns").goal(Goal::AtMost(1.2)));
        let pairs = Pairs::measure(options.pairs, &mut memcpy, || write(writer))?;
        report.row(Row::cost(format!("write {name}"), "memcpy", &pairs, "ns"));

        let bare_read = || {
            Ok(timed(repeats, |n| {
                bare[n].read(&mut read);
                black_box(&mut read);
            }))
        };
        let mut ours = || read_ours(reader, places, now, &mut copy, repeats);
        let pairs = Pairs::measure(options.pairs, bare_read, &mut ours)?;
        report.row(Row::cost(format!("read {name}"), "bare seqlock", &pairs, "ns").goal(Goal::AtMost(1.2)));
        let pairs = Pairs::measure(options.pairs, &mut memcpy, &mut ours)?;
        report.row(Row::cost(format!("read {name}"), "memcpy", &pairs, "ns"));
        Ok(())
    }
}

fn read_ours<const LINES: usize>(
    reader: &mut TableReader,
    places: &[Place],
    now: u64,
    copy: &mut [Line; LINES],
    repeats: usize,
) -> Result<f64, BenchError> {
    let mut failed = None;
    let ns = timed(repeats, |n| {
        if let Err(error) = reader.read(places[n], now, black_box(copy)) {
            failed = Some(error);
        }
    });
    failed.map_or(Ok(ns), |error| Err(error.into()))
}

/// A session of one venue with a live book, and its table.
struct Kept {
    session: Session,
    out: Outbox,
    latest: Latest,
    sequence: u64,
    _folder: Folder,
}

impl Kept {
    fn new(shape: Shape, frames: &[String]) -> Result<Kept, BenchError> {
        let (mut machine, mut out) = ready(shape, frames);
        let folder = Folder::new("latest");
        let directory = Directory::open(&folder.0)?;
        let latest = Latest::open(&directory, venue_of(shape), (1, wire::Origin::Simulated), 1, NOW.0)?;
        let ids: Vec<_> = machine.instruments().iter().map(|i| i.id).collect();
        ids.into_iter().for_each(|id| machine.refresh(id, NOW, &mut out));
        let session = Session::new(machine, SessionSettings::default());
        let mut kept = Kept { session, out, latest, sequence: 0, _folder: folder };
        kept.show();
        Ok(kept)
    }

    /// What a feed does after it has published.
    #[inline]
    fn show(&mut self) {
        for words in &self.out.records {
            self.sequence += 1;
            self.latest.note(words, self.sequence);
        }
        self.latest.write(&self.session, NOW.0);
        self.out.records.clear();
    }

    /// Ns a frame, each in a read of its own.
    fn run(&mut self, frames: &[String], shown: bool) -> f64 {
        let start = clock::cpu_ns();
        for frame in frames {
            self.session.step(Input::Frame(frame.as_bytes()), NOW, &mut self.out);
            if shown {
                self.show();
            } else {
                black_box(&mut self.out).records.clear();
            }
        }
        (clock::cpu_ns() - start) as f64 / frames.len() as f64
    }
}

fn kept(name: &str, shape: Shape, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let part = options.effort.of(FRAMES) / 4;
    let all = frames(shape, 1 + part * 2 * (options.pairs + 1));
    let mut kept = Kept::new(shape, &all)?;
    let mut parts = all[1..].chunks(part);
    // The books go on from one part to the next, so both halves see the same market.
    let mut pairs = Pairs::default();
    while let (Some(one), Some(two)) = (parts.next(), parts.next()) {
        let without = kept.run(one, false);
        pairs.push(without, kept.run(two, true));
    }
    report.row(Row::cost(format!("a frame of {name}, its row written after it"), "without a table", &pairs, "ns"));
    Ok(())
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let mut bench = Bench::new()?;
    bench.rows::<{ TableHead::LINES }, 16, 15>("the top (128 bytes)", options, report)?;
    bench.rows::<{ TableRow::LINES }, 232, 231>("depth 50 (1856 bytes)", options, report)?;
    kept("Binance depth, 1000 levels", Shape::BinanceDepth, options, report)?;
    kept("a Kraken book, 10 levels", Shape::KrakenBook, options, report)?;
    kept("Binance trades", Shape::BinanceTrade, options, report)?;
    report.note("That the writer never waits is by construction: it stores words and looks at nothing of a reader.");
    Ok(())
}
