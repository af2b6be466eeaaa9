//! A recorded session served again: the captured frames in their own rhythm, with times and ids moved where asked.
//!
//! One pass goes from the first subscription to the last frame and then ends every connection, as a venue's restart
//! does: books of the next pass do not continue those of the last, and pretending that they did would be a lie. Ids of
//! pass `n` are `n` spans larger than recorded, so they keep rising; in pass 0 without moved times the frames are the
//! captured bytes. Digits never change, so Kraken's checksums stay valid.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use book::Book;
use model::{Price, Qty, Side, StreamKind, UnixNanos};
use scan::{Json, Kind};

use super::{Bar, BookView, Joined, Log, Market, Pair, Topic, TopicId, Trade};
use crate::error::CaptureError;
use crate::options::{Rate, RecordedSession, Times};
use crate::text::{push_rfc3339, push_u64};

/// Flat out, so much is written ahead of the slowest reader, bytes.
const AHEAD_BYTES: usize = 256 << 10;
/// A longer silence in a capture is cut to this, ns: captures of different days can be merged.
const SILENCE_NS_MAX: u64 = 10_000_000_000;
/// Frames without a receive time follow one another at this distance, ns.
const UNTIMED_NS: u64 = 1_000_000;
const MINUTE_MS: i128 = 60_000;

/// What a moving part of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    /// Epoch milliseconds.
    Millis,
    /// Epoch milliseconds that begin or end a minute: moved by whole minutes only.
    MinuteMillis,
    /// RFC 3339 text.
    Rfc3339,
    /// An id that must rise from pass to pass.
    Id,
}

/// A part of a frame that moves with time or pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    /// From the payload's first byte.
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) kind: PatchKind,
}

/// A captured line that belongs to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CapturedFrame {
    pub(crate) topic: Topic,
    /// Where the payload lies in the line.
    pub(crate) payload: Range<usize>,
    pub(crate) patches: Vec<Patch>,
    /// Texts of prices and of sizes, to learn the decimals from.
    pub(crate) prices: Vec<Range<usize>>,
    pub(crate) sizes: Vec<Range<usize>>,
}

/// One venue's captures.
pub(crate) trait CaptureFormat: Send + Sync {
    /// Reads one line; `None` for frames that belong to a connection (acks, heartbeats), which the server makes anew.
    fn read(&self, line: &str, remembered: &mut Vec<(String, String)>) -> Result<Option<CapturedFrame>, String>;
    /// The pair's base and quote.
    fn split(&self, symbol: &str) -> (String, String);
    /// Applies a book frame unless the book at `update_id` has it already; the update id it brings the book to, where
    /// there is one.
    fn apply(
        &self,
        frame: &[u8],
        topic: &Topic,
        pair: &Pair,
        update_id: u64,
        book: &mut Book,
    ) -> Result<Option<u64>, String>;
    /// The frame that brings a late client up to date.
    fn snapshot(&self, topic: &Topic, pairs: &[Pair], book: Option<&BookView>, now: UnixNanos) -> Option<Vec<u8>>;
    /// The symbol that a REST exchange's URL or a snapshot's file name asks the book of.
    fn depth_symbol(&self, url_or_name: &str) -> Option<String>;
    /// Topics that need no frames.
    fn standing_topics(&self) -> Vec<Topic>;
}

#[derive(Debug)]
struct Frame {
    topic: TopicId,
    bytes: Range<usize>,
    received: UnixNanos,
    patches: Range<usize>,
}

/// Everything read from the files of a session.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    topics: Vec<Topic>,
    pairs: Vec<Pair>,
    frames: Vec<Frame>,
    bytes: Vec<u8>,
    patches: Vec<Patch>,
    /// Recorded REST books by pair.
    rest_books: Vec<Option<BookView>>,
    /// Larger than the distance of any two ids of one kind and topic.
    id_span: u64,
}

/// Calls `visit(path, index, text, offset)` for every string and number; `index` counts in the innermost array.
pub(crate) fn walk<'a>(
    text: &'a [u8],
    mut visit: impl FnMut(&[&'a str], usize, &'a str, usize),
) -> Result<(), scan::JsonError> {
    fn value<'a>(
        json: &mut Json<'a>,
        path: &mut Vec<&'a str>,
        index: usize,
        visit: &mut impl FnMut(&[&'a str], usize, &'a str, usize),
    ) -> Result<(), scan::JsonError> {
        match json.kind()? {
            Kind::Object => {
                json.object()?;
                while let Some(key) = json.key()? {
                    path.push(key.raw());
                    value(json, path, index, visit)?;
                    path.pop();
                }
            }
            Kind::Array => {
                json.array()?;
                let mut index = 0;
                while json.element()? {
                    value(json, path, index, visit)?;
                    index += 1;
                }
            }
            Kind::String => {
                let at = json.offset() + 1;
                let text = json.string()?.raw();
                visit(path, index, text, at);
            }
            Kind::Number => {
                let at = json.offset();
                let text = json.number_text()?;
                visit(path, index, text, at);
            }
            Kind::Bool | Kind::Null => json.skip_value()?,
        }
        Ok(())
    }
    let mut json = Json::new(text);
    value(&mut json, &mut Vec::new(), 0, &mut visit)?;
    json.end()
}

/// Reads the files of a session.
pub(crate) fn read_capture(
    format: &dyn CaptureFormat,
    venue: &'static str,
    paths: &[PathBuf],
) -> Result<Capture, CaptureError> {
    let mut reader = CaptureReader { format, capture: Capture::default(), scales: Vec::new(), depths: Vec::new() };
    reader.capture.topics = format.standing_topics();
    for path in paths {
        for file in files(path)? {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let plain = name.strip_suffix(".gz").unwrap_or(&name);
            match plain {
                _ if plain.ends_with(".http.jsonl") => reader.rest(&file)?,
                _ if plain.ends_with(".depth_snapshot.jsonl") => reader.depth_body(&file, &name)?,
                _ if plain.ends_with(".sent.jsonl") => {}
                _ if plain.ends_with(".jsonl") => reader.frames(&file)?,
                _ => {}
            }
        }
    }
    reader.finish().ok_or_else(|| CaptureError::Empty { venue, paths: paths.to_vec() })
}

/// The files meant by a path: a folder's, or those that share a capture's name up to its first point.
fn files(path: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let failed = |source| CaptureError::Read { path: path.to_owned(), source };
    let (folder, stem) = if path.is_dir() {
        (path.to_owned(), None)
    } else {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (parent.to_owned(), Some(format!("{stem}.")))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if stem.as_ref().is_none_or(|stem| name.starts_with(stem)) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    if found.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    found.sort();
    Ok(found)
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, CaptureError> {
    let file = File::open(path).map_err(|source| CaptureError::Read { path: path.to_owned(), source })?;
    let zipped = path.extension().is_some_and(|extension| extension == "gz");
    let plain: Box<dyn Read> = if zipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(Box::new(BufReader::with_capacity(1 << 16, plain)))
}

struct CaptureReader<'f> {
    format: &'f dyn CaptureFormat,
    capture: Capture,
    /// Per pair: decimals on the wire and decimals in use, of prices and of sizes.
    scales: Vec<[u8; 4]>,
    /// Recorded books as text, applied when the decimals are known.
    depths: Vec<(String, String)>,
}

impl CaptureReader<'_> {
    fn lines(path: &Path, mut each: impl FnMut(usize, &str) -> Result<(), String>) -> Result<(), CaptureError> {
        for (index, line) in open(path)?.lines().enumerate() {
            let line = line.map_err(|source| CaptureError::Read { path: path.to_owned(), source })?;
            each(index, &line).map_err(|problem| CaptureError::Line {
                path: path.to_owned(),
                line: index + 1,
                problem,
            })?;
        }
        Ok(())
    }

    /// Receive times of the frames beside which they lie, by line from 0.
    fn times(path: &Path) -> Result<Vec<u64>, CaptureError> {
        let text = path.to_string_lossy();
        let stem = text.strip_suffix(".gz").unwrap_or(&text);
        let stem = stem.strip_suffix(".jsonl").unwrap_or(stem);
        let candidates = [format!("{stem}.recv.tsv"), format!("{stem}.recv.tsv.gz")];
        let Some(found) = candidates.iter().map(Path::new).find(|path| path.is_file()) else { return Ok(Vec::new()) };
        let mut times = Vec::new();
        Self::lines(found, |index, line| {
            if index > 0 {
                let time = line.split('\t').nth(1).and_then(|time| time.parse().ok());
                times.push(time.ok_or_else(|| "no receive time in the second column".to_owned())?);
            }
            Ok(())
        })?;
        Ok(times)
    }

    fn frames(&mut self, path: &Path) -> Result<(), CaptureError> {
        let times = Self::times(path)?;
        let mut remembered = Vec::new();
        Self::lines(path, |index, line| {
            if let Some(frame) = self.format.read(line, &mut remembered)? {
                let untimed = times.last().copied().unwrap_or(0) + UNTIMED_NS * (index as u64 + 1);
                self.add(line, frame, UnixNanos(times.get(index).copied().unwrap_or(untimed)));
            }
            Ok(())
        })
    }

    fn add(&mut self, line: &str, frame: CapturedFrame, received: UnixNanos) {
        let pair = self.pair(&frame.topic.symbol);
        for (ranges, at) in [(&frame.prices, 0), (&frame.sizes, 2)] {
            for range in ranges {
                let decimals = line[range.clone()].split_once('.').map_or("", |(_, decimals)| decimals);
                let (written, used) = (decimals.len(), decimals.trim_end_matches('0').len());
                let scales = &mut self.scales[pair];
                scales[at] = scales[at].max(u8::try_from(written).unwrap_or(u8::MAX));
                scales[at + 1] = scales[at + 1].max(u8::try_from(used).unwrap_or(u8::MAX));
            }
        }
        let capture = &mut self.capture;
        let known = capture.topics.iter().position(|topic| topic.name == frame.topic.name);
        let topic = known.unwrap_or_else(|| {
            capture.topics.push(frame.topic);
            capture.topics.len() - 1
        });
        let start = capture.bytes.len();
        capture.bytes.extend_from_slice(&line.as_bytes()[frame.payload]);
        let patches = capture.patches.len()..capture.patches.len() + frame.patches.len();
        capture.patches.extend(frame.patches);
        let bytes = start..capture.bytes.len();
        capture.frames.push(Frame { topic: topic as TopicId, bytes, received, patches });
    }

    fn pair(&mut self, symbol: &str) -> usize {
        if let Some(at) = self.capture.pairs.iter().position(|pair| pair.symbol == symbol) {
            return at;
        }
        let (base, quote) = self.format.split(symbol);
        let (tick, lot) = (Price(1), Qty(1));
        self.capture.pairs.push(Pair {
            symbol: symbol.to_owned(),
            base,
            quote,
            price_scale: 0,
            size_scale: 0,
            tick,
            lot,
        });
        self.scales.push([0; 4]);
        self.capture.pairs.len() - 1
    }

    fn rest(&mut self, path: &Path) -> Result<(), CaptureError> {
        Self::lines(path, |_, line| {
            let exchange: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let symbol = exchange["url"].as_str().and_then(|url| self.format.depth_symbol(url));
            if let (Some(symbol), Some(body)) = (symbol, exchange["body"].as_str()) {
                self.depths.push((symbol, body.to_owned()));
            }
            Ok(())
        })
    }

    fn depth_body(&mut self, path: &Path, name: &str) -> Result<(), CaptureError> {
        let symbol = self.format.depth_symbol(name).unwrap_or_default();
        Self::lines(path, |_, line| {
            self.depths.push((symbol.clone(), line.to_owned()));
            Ok(())
        })
    }

    /// `None` when no frame was found.
    fn finish(mut self) -> Option<Capture> {
        if self.capture.frames.is_empty() {
            return None;
        }
        for (symbol, body) in std::mem::take(&mut self.depths) {
            let at = self.capture.pairs.iter().position(|pair| pair.symbol == symbol);
            // Books of pairs without frames serve nobody.
            if let Some(at) = at {
                let mut widen = |text: &str, slot: usize| {
                    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                    self.scales[at][slot] = self.scales[at][slot].max(u8::try_from(decimals).unwrap_or(u8::MAX));
                };
                let seen = walk(body.as_bytes(), |path, index, text, _| {
                    if matches!(path, ["bids" | "asks"]) && index < 2 {
                        widen(text, index * 2);
                    }
                });
                if let Err(error) = seen {
                    tracing::warn!(symbol, %error, "a recorded book is no JSON and is not served");
                }
                self.depths.push((symbol, body));
            }
        }
        let capture = &mut self.capture;
        for (pair, scales) in capture.pairs.iter_mut().zip(&self.scales) {
            (pair.price_scale, pair.size_scale) = (scales[0].min(18), scales[2].min(18));
            pair.tick = Price(10_i64.pow(u32::from(pair.price_scale.saturating_sub(scales[1]))));
            pair.lot = Qty(10_i64.pow(u32::from(pair.size_scale.saturating_sub(scales[3]))));
        }
        capture.rest_books = vec![None; capture.pairs.len()];
        for (symbol, body) in &self.depths {
            let at = capture.pairs.iter().position(|pair| pair.symbol == *symbol);
            if let Some(at) = at {
                // The first book of a session is the one that its frames bridge to.
                let book = || rest_book(body, &capture.pairs[at]);
                capture.rest_books[at] = capture.rest_books[at].take().or_else(book);
            }
        }
        // Stable: frames of one file keep their order even where the clock stood still.
        capture.frames.sort_by_key(|frame| frame.received);
        capture.id_span = id_span(capture);
        Some(self.capture)
    }
}

/// One more than the widest distance between two ids of a topic.
fn id_span(capture: &Capture) -> u64 {
    let mut extremes = vec![(u64::MAX, 0_u64); capture.topics.len()];
    for frame in &capture.frames {
        let bytes = &capture.bytes[frame.bytes.clone()];
        for patch in &capture.patches[frame.patches.clone()] {
            if patch.kind == PatchKind::Id
                && let Ok((id, _)) = scan::u64_at(&bytes[patch.at..])
            {
                let (low, high) = &mut extremes[frame.topic as usize];
                (*low, *high) = ((*low).min(id), (*high).max(id));
            }
        }
    }
    extremes.iter().map(|(low, high)| high.saturating_sub(*low)).max().unwrap_or(0) + 1
}

/// A book as REST gave it: pairs of texts, best first.
fn rest_book(body: &str, pair: &Pair) -> Option<BookView> {
    let mut view = BookView::default();
    let mut price = None;
    let walked = walk(body.as_bytes(), |path, index, text, _| match (path, index) {
        (["lastUpdateId"], _) => view.update_id = text.parse().unwrap_or(0),
        (["bids" | "asks"], 0) => price = scan::fixed(text.as_bytes(), pair.price_scale).ok(),
        (["bids" | "asks"], 1) => {
            let size = scan::fixed(text.as_bytes(), pair.size_scale).ok();
            if let (Some((price, _)), Some((size, _))) = (price.take(), size) {
                let side = if path == ["bids"] { &mut view.bids } else { &mut view.asks };
                side.push(book::Level { price: Price(price), size: Qty(size) });
            }
        }
        _ => {}
    });
    walked.ok().map(|()| view)
}

/// A book as far as the pass has come.
#[derive(Debug)]
struct LiveBook {
    book: Book,
    update_id: u64,
    /// Frames of the capture looked at.
    applied: usize,
    /// Whether a snapshot or REST book was there to start from.
    started: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    started: UnixNanos,
    next: usize,
}

pub(crate) struct Recorded {
    format: &'static dyn CaptureFormat,
    capture: Capture,
    /// When each frame is due after the start of a pass, ns.
    due_ns: Vec<u64>,
    flat_out: bool,
    times: Times,
    passes: Option<u64>,
    number: u64,
    pass: Option<Pass>,
    over: bool,
    books: Vec<Option<LiveBook>>,
}

impl Recorded {
    pub(crate) fn new(
        format: &'static dyn CaptureFormat,
        capture: Capture,
        session: &RecordedSession,
        rate: Rate,
    ) -> Self {
        let mut due_ns = Vec::with_capacity(capture.frames.len());
        let (mut offset, mut last) = (0_u64, capture.frames.first().map_or(0, |frame| frame.received.0));
        for (index, frame) in capture.frames.iter().enumerate() {
            offset += frame.received.0.saturating_sub(last).min(SILENCE_NS_MAX);
            last = frame.received.0;
            let due = match rate {
                Rate::Thousandths(thousandths) => u128::from(offset) * 1000 / u128::from(thousandths),
                Rate::FramesPerSecond(rate) => index as u128 * 1_000_000_000 / u128::from(rate),
                Rate::FlatOut => 0,
            };
            due_ns.push(u64::try_from(due).unwrap_or(u64::MAX));
        }
        let books = capture.pairs.iter().map(|_| None).collect();
        let (times, passes) = (session.times, session.passes);
        let flat_out = rate == Rate::FlatOut;
        Self { format, capture, due_ns, flat_out, times, passes, number: 0, pass: None, over: false, books }
    }

    fn due(&self, pass: Pass) -> Option<UnixNanos> {
        self.due_ns.get(pass.next).map(|ns| UnixNanos(pass.started.0.saturating_add(*ns)))
    }

    fn id_shift(&self) -> u64 {
        self.number.saturating_mul(self.capture.id_span)
    }

    fn write(&self, at: usize, sent: UnixNanos, log: &mut Log) {
        let frame = &self.capture.frames[at];
        let bytes = &self.capture.bytes[frame.bytes.clone()];
        let shift_ns = match self.times {
            Times::Recorded => 0,
            Times::Now => i128::from(sent.0) - i128::from(frame.received.0),
        };
        if shift_ns == 0 && self.number == 0 {
            return log.push(frame.topic, bytes);
        }
        let out = log.pen();
        let mut copied = 0;
        for patch in &self.capture.patches[frame.patches.clone()] {
            out.extend_from_slice(&bytes[copied..patch.at]);
            self.push_moved(&bytes[patch.at..patch.at + patch.len], patch.kind, shift_ns, out);
            copied = patch.at + patch.len;
        }
        out.extend_from_slice(&bytes[copied..]);
        log.commit(frame.topic);
    }

    /// Appends a moving part where it belongs now; what cannot be read stays as it is.
    fn push_moved(&self, text: &[u8], kind: PatchKind, shift_ns: i128, out: &mut Vec<u8>) {
        if kind == PatchKind::Rfc3339 {
            let decimals = text.iter().position(|b| *b == b'.').map_or(0, |point| text.len() - point - 2);
            let read = scan::rfc3339_nanos(text).ok().filter(|(_, len)| *len == text.len());
            let moved = read.and_then(|(ns, _)| u64::try_from(i128::from(ns) + shift_ns).ok());
            return match moved {
                Some(ns) => push_rfc3339(UnixNanos(ns), u8::try_from(decimals).unwrap_or(9), out),
                None => out.extend_from_slice(text),
            };
        }
        let shift_ms = shift_ns.div_euclid(1_000_000);
        let shift = match kind {
            PatchKind::Id => i128::from(self.id_shift()),
            PatchKind::MinuteMillis => shift_ms.div_euclid(MINUTE_MS) * MINUTE_MS,
            _ => shift_ms,
        };
        let read = scan::u64_at(text).ok().filter(|(_, len)| *len == text.len());
        match read.and_then(|(value, _)| u64::try_from(i128::from(value) + shift).ok()) {
            Some(value) => push_u64(value, out),
            None => out.extend_from_slice(text),
        }
    }

    /// The pair's book as of the frames sent in this pass.
    fn live_book(&mut self, pair: usize) -> Option<&LiveBook> {
        let next = self.pass.map_or(0, |pass| pass.next);
        let capture = &self.capture;
        let known = capture.pairs.get(pair)?;
        let live = self.books[pair].get_or_insert_with(|| {
            let mut live = LiveBook { book: Book::default(), update_id: 0, applied: 0, started: false };
            if let Some(rest) = &capture.rest_books[pair] {
                for (side, levels) in [(Side::Buy, &rest.bids), (Side::Sell, &rest.asks)] {
                    for level in levels {
                        live.book.set(side, level.price, level.size);
                    }
                }
                (live.update_id, live.started) = (rest.update_id, true);
            }
            live
        });
        for frame in &capture.frames[live.applied..next] {
            let topic = &capture.topics[frame.topic as usize];
            if topic.kind != StreamKind::Book || topic.symbol != known.symbol {
                continue;
            }
            let bytes = &capture.bytes[frame.bytes.clone()];
            match self.format.apply(bytes, topic, known, live.update_id, &mut live.book) {
                Ok(id) => live.update_id = live.update_id.max(id.unwrap_or(0)),
                Err(problem) => tracing::warn!(symbol = known.symbol, problem, "a captured book frame was passed over"),
            }
            live.started = true;
        }
        live.applied = next;
        Some(live)
    }
}

impl Market for Recorded {
    fn topics(&self) -> &[Topic] {
        &self.capture.topics
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        let plain = name.strip_suffix(crate::binance::MICROS_MARK).unwrap_or(name);
        let plain = plain.strip_suffix("@1000ms").unwrap_or(plain);
        self.capture.topics.iter().position(|topic| topic.name == plain).map(|at| at as TopicId)
    }

    fn pairs(&self) -> &[Pair] {
        &self.capture.pairs
    }

    fn advance(&mut self, now: UnixNanos, readers: &[u32], log: &mut Log) {
        if self.over || readers.iter().all(|count| *count == 0) {
            return;
        }
        if self.passes.is_some_and(|passes| self.number >= passes) {
            self.over = true;
            return;
        }
        let mut pass = self.pass.unwrap_or(Pass { started: now, next: 0 });
        while let Some(due) = self.due(pass) {
            if due > now || self.flat_out && log.backlog_bytes() >= AHEAD_BYTES {
                break;
            }
            if readers[self.capture.frames[pass.next].topic as usize] > 0 {
                self.write(pass.next, if self.flat_out { now } else { due }, log);
            }
            pass.next += 1;
        }
        self.over = pass.next == self.capture.frames.len();
        self.pass = Some(pass);
    }

    fn next_due(&self) -> Option<UnixNanos> {
        let pass = self.pass.filter(|_| !self.over)?;
        if self.flat_out { Some(UnixNanos::ZERO) } else { self.due(pass) }
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, _: &[u32], _: &mut Log) -> Joined {
        let joined = self.capture.topics[topic as usize].clone();
        let depth = joined.name.rsplit(':').next().and_then(|depth| depth.parse().ok()).unwrap_or(usize::MAX);
        let pair = self.capture.pairs.iter().position(|pair| pair.symbol == joined.symbol);
        let next = self.pass.map_or(0, |pass| pass.next);
        let begun = self.capture.frames[..next].iter().any(|frame| frame.topic == topic);
        // Before the topic's first frame there is nothing to catch up with: the captured snapshot is still to come.
        let book = pair.filter(|_| begun && joined.kind == StreamKind::Book).and_then(|at| self.book(at, depth));
        Joined { snapshot: self.format.snapshot(&joined, &self.capture.pairs, book.as_ref(), now) }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn deserted(&mut self) {
        if self.pass.take().is_some() {
            self.number += 1;
        }
        self.over = false;
        self.books.iter_mut().for_each(|book| *book = None);
    }

    fn book(&mut self, pair: usize, depth: usize) -> Option<BookView> {
        let shift = self.id_shift();
        let live = self.live_book(pair).filter(|live| live.started)?;
        let levels = |side| live.book.levels(side).take(depth).collect();
        Some(BookView { update_id: live.update_id + shift, bids: levels(Side::Buy), asks: levels(Side::Sell) })
    }

    fn trades(&self, _: usize) -> Vec<Trade> {
        Vec::new()
    }

    fn bars(&self, _: usize, _: u64) -> Vec<Bar> {
        Vec::new()
    }
}
