//! What raw captures cost: what they add to a frame's way into the ring, and how fast they are played back out of a
//! compressed file through decoder and book.
//!
//! The reference of the first is the same feed without a capture, of the second zstd's own decompression of the same file.

use crate::frames::{Shape, frames, kraken_definitions};
use crate::plant::Plant;
use crate::recorded::{CAPTURES, Capture, read};
use crate::ring::Folder;
use crate::venue::{NOW, settings};
use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, agree};
use ::capture::{Keep, Played, Player, Recording, Run, RunLine, RunSettings, keep_house};
use ::ring::{Poll, Reader};
use feed::Waiting;
use model::{UnixNanos, Venue};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;
use venues::{Input, Outbox, Reply, Session, SessionSettings, Settings};
use wire::RecordType;

/// Frames of one half of a pair.
const FRAMES: usize = 60_000;
/// Frames of the made-up capture.
const PLAYED: usize = 200_000;
/// A replay of one half of a pair lasts at least so long.
const LEAST_NS: f64 = 100e6;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    for batch in [1, 64] {
        added(options, batch, report)?;
    }
    replays(options, report)?;
    report.note(
        "What capturing adds is the feed thread's own time, by the scheduler's clock; the thread that writes is another. A \
         replay unpacks in a thread of its own, so it can be as fast as bare decompression where there are two cores.",
    );
    Ok(())
}

/// One feed and what was sent to it.
struct Side {
    plant: Plant,
    reader: Reader,
    writes: std::vec::IntoIter<(Vec<u8>, usize)>,
}

impl Side {
    fn new(capture: Option<::capture::Options>, batch: usize, halves: usize, count: usize) -> Result<Side, BenchError> {
        let mut plant = Plant::start_captured(Venue::Binance, Waiting::Block, Some(1), capture)?;
        let frames = frames(Shape::BinanceTrade, halves * count + 1);
        plant.settle(&frames[..1], |record| matches!(record, wire::Record::Trade(_)))?;
        let writes: Vec<_> = frames[1..].chunks(batch).map(|chunk| (plant.encode(chunk), chunk.len())).collect();
        let reader = plant.reader()?;
        Ok(Side { plant, reader, writes: writes.into_iter() })
    }

    /// The feed's time a frame, ns, over `count` frames.
    fn cost(&mut self, count: usize) -> Result<f64, BenchError> {
        let (before, mut sent) = (self.plant.clock.total_ns(), 0);
        while sent < count {
            let Some((bytes, frames)) = self.writes.next() else { break };
            self.plant.send(&bytes)?;
            let mut seen = 0;
            while seen < frames {
                let take = |words: &[u64]| usize::from(words[0] as u8 == RecordType::Trade as u8);
                if self.reader.poll(256, |_, words| seen += take(words))? == Poll::Idle {
                    std::hint::spin_loop();
                }
            }
            sent += frames;
        }
        Ok((self.plant.clock.total_ns() - before) as f64 / sent as f64)
    }
}

fn added(options: &Options, batch: usize, report: &mut Report) -> Result<(), BenchError> {
    // Frames are made beforehand, so their number is bounded by memory.
    let count = options.effort.of(if batch == 1 { FRAMES / 4 } else { FRAMES }).min(4 * FRAMES);
    let folder = Folder::new("capture");
    let capture = ::capture::Options { keeps_house: false, ..::capture::Options::new(&folder.0) };
    crate::machine::pin(0);
    let pairs = options.pairs.max(1);
    let mut plain = Side::new(None, batch, pairs + 1, count)?;
    let mut captured = Side::new(Some(capture), batch, pairs + 1, count)?;
    let pairs = Pairs::measure(pairs, || plain.cost(count), || captured.cost(count))?;
    crate::machine::unpin();
    let name = format!("frame to ring, {batch} frame{} a write", if batch == 1 { "" } else { "s" });
    report.row(Row::cost(name, "the same feed, not captured", &pairs, "ns").goal(Goal::AtMost(1.05)));
    drop(captured);
    let file = Player::open(&folder.0.join(Venue::Binance.name()))?;
    agree("frames captured", &(frames_of(file)? > count), &true)
}

/// Frames of a capture, by playing it.
fn frames_of(mut player: Player) -> Result<usize, BenchError> {
    let mut frames = 0;
    while let Some(played) = player.next()? {
        if let Played::Step(step) = played {
            frames += usize::from(matches!(step.input, Input::Frame(_)));
            black_box(step.out.records.words());
        }
    }
    Ok(frames)
}

fn replays(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let made = made_up(options.effort)?;
    replay(options, report, "replay, made-up Kraken trades, quotes and book of 10", &made)?;
    for capture in &CAPTURES {
        let Some(folder) = options.data.as_deref().filter(|folder| folder.join(capture.stream).is_file()) else {
            report.note(format!("Left out, not at hand: {} (`{}`).", capture.name, capture.stream));
            continue;
        };
        let made = of_recording(capture, folder)?;
        replay(options, report, &format!("replay, {}", capture.name), &made)?;
    }
    Ok(())
}

/// A compressed capture, and the folder it goes with.
struct Made {
    file: PathBuf,
    frames: usize,
    bytes: u64,
    stored: u64,
    _folder: Folder,
}

fn replay(options: &Options, report: &mut Report, name: &str, made: &Made) -> Result<(), BenchError> {
    agree("frames replayed", &frames_of(Player::open(&made.file)?)?, &made.frames)?;
    let once = bare(&made.file, made.bytes)?;
    let passes = match options.effort {
        Effort::Smoke => 1,
        _ => (LEAST_NS / once).ceil().clamp(1.0, 1000.0) as usize,
    };
    let a_mebibyte = |ns: f64| ns / (passes as f64 * made.bytes as f64) * f64::from(1 << 20);
    let pairs = Pairs::measure(
        options.pairs,
        || (0..passes).try_fold(0.0, |ns, _| Ok(ns + bare(&made.file, made.bytes)?)).map(a_mebibyte),
        || {
            let begin = Instant::now();
            for _ in 0..passes {
                frames_of(Player::open(&made.file)?)?;
            }
            Ok(a_mebibyte(begin.elapsed().as_nanos() as f64))
        },
    )?;
    report.row(Row::speed(name, "bare zstd decompression", &pairs, "ns/MiB").goal(Goal::AtLeast(0.7)));
    let ratio = made.bytes as f64 / made.stored as f64;
    report.note(format!("{name}: {} frames, {} bytes, compressed {ratio:.1} times.", made.frames, made.bytes));
    Ok(())
}

/// Time of zstd's decompression of a file to nowhere, ns.
fn bare(file: &Path, bytes: u64) -> Result<f64, BenchError> {
    let begin = Instant::now();
    let unpacked = ::capture::unpack(file, &mut std::io::sink())?;
    agree("bytes unpacked", &unpacked, &bytes)?;
    Ok(begin.elapsed().as_nanos() as f64)
}

/// Writes a capture of a session: what it asks for is answered by `answer`.
struct Maker {
    recording: Recording,
    session: Session,
    out: Outbox,
    answer: String,
    frames: usize,
    now: u64,
    folder: Folder,
}

impl Maker {
    fn new(venue: Venue, settings: &Settings, answer: String) -> Result<Maker, BenchError> {
        let folder = Folder::new("replay");
        let run = Run {
            venue: venue.name().to_owned(),
            epoch: 1,
            piece: 0,
            site: "bench".to_owned(),
            build: "bench".to_owned(),
            simulated: true,
            lines: vec![RunLine { name: String::new(), group: 0 }],
            settings: RunSettings::new(settings, &[], SessionSettings::default()),
        };
        let session = run.make_session(&folder.0)?;
        let recording = Recording::begin(&::capture::Options::new(&folder.0), venue, run)?;
        let mut maker = Maker { recording, session, out: Outbox::new(), answer, frames: 0, now: NOW.0, folder };
        maker.step(&Input::Connected)?;
        Ok(maker)
    }

    fn step(&mut self, input: &Input<'_>) -> Result<(), BenchError> {
        let now = UnixNanos(self.now);
        self.recording.input(0, input, now)?;
        self.frames += usize::from(matches!(input, Input::Frame(_)));
        self.session.step(*input, now, &mut self.out);
        self.now += 1_000;
        let requests = std::mem::take(&mut self.out.requests);
        self.out.clear();
        for request in requests {
            let answer = self.answer.clone();
            let reply = Reply::Http { status: 200, body: answer.trim().as_bytes(), retry_after: None };
            self.step(&Input::Response(request.id, reply))?;
        }
        Ok(())
    }

    fn end(self, venue: Venue) -> Result<Made, BenchError> {
        let Maker { recording, frames, folder, .. } = self;
        recording.end()?;
        let place = folder.0.join(venue.name());
        keep_house(&place, venue, Keep::default(), 3, NOW)?;
        let mut files = ::capture::files(&place)?;
        agree("files made", &files.len(), &1)?;
        let file = files.remove(0);
        let info = ::capture::file_info(&file)?;
        Ok(Made { file, frames, bytes: info.bytes, stored: info.stored_bytes, _folder: folder })
    }
}

fn made_up(effort: Effort) -> Result<Made, BenchError> {
    let count = effort.of(PLAYED).min(PLAYED);
    let mut maker = Maker::new(Venue::Kraken, &settings(Venue::Kraken), String::new())?;
    maker.step(&Input::Frame(kraken_definitions().as_bytes()))?;
    // The mix of the load test: 50 % quotes, 30 % trades, 20 % book updates.
    let mut quotes = frames(Shape::KrakenQuote, count / 2).into_iter();
    let mut trades = frames(Shape::KrakenTrade, count * 3 / 10).into_iter();
    let mut books = frames(Shape::KrakenBook, count / 5).into_iter();
    for n in 0..count {
        let frame = match n % 10 {
            0 | 5 => books.next(),
            1 | 3 | 7 => trades.next(),
            _ => quotes.next(),
        };
        if let Some(frame) = frame {
            maker.step(&Input::Frame(frame.as_bytes()))?;
        }
    }
    agree("frames that could not be read", &maker.session.malformed(), &0)?;
    maker.end(Venue::Kraken)
}

fn of_recording(capture: &Capture, folder: &Path) -> Result<Made, BenchError> {
    let text = read(&folder.join(capture.stream))?;
    let answer = capture.snapshot.map(|path| read(&folder.join(path))).transpose()?.unwrap_or_default();
    let mut maker = Maker::new(capture.venue, &Settings::default(), answer)?;
    for frame in text.lines().filter(|line| !line.is_empty()) {
        maker.step(&Input::Frame(frame.as_bytes()))?;
    }
    maker.end(capture.venue)
}
