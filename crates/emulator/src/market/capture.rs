//! Reads the files of a recorded session into frames in order of receipt, each with its moving parts marked.
//! lines -> [`CaptureFormat::read`] -> [`Capture`]; decimals of prices and sizes are learned on the way.
//!
//! Everything is read and checked before a server starts: a broken line is named with its file, not found in the middle
//! of a session.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use book::Book;
use model::{Price, Qty, UnixNanos};
use scan::{Json, Kind};

use super::{BookView, Hours, Pair, PairStatus, Topic, TopicId};
use crate::error::CaptureError;

/// Frames without a receive time follow one another at this distance, ns.
const UNTIMED_NS: u64 = 1_000_000;

/// What a moving part of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    /// Epoch milliseconds.
    Millis,
    /// Epoch milliseconds that begin or end a minute: moved by whole minutes only.
    MinuteMillis,
    /// RFC 3339 text.
    Rfc3339,
    /// Epoch seconds with six decimals.
    Seconds,
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
pub(super) struct Frame {
    pub(super) topic: TopicId,
    pub(super) bytes: Range<usize>,
    pub(super) received: UnixNanos,
    pub(super) patches: Range<usize>,
}

/// Everything read from the files of a session.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    pub(super) topics: Vec<Topic>,
    pub(super) pairs: Vec<Pair>,
    pub(super) frames: Vec<Frame>,
    pub(super) bytes: Vec<u8>,
    pub(super) patches: Vec<Patch>,
    /// Recorded REST books by pair.
    pub(super) rest_books: Vec<Option<BookView>>,
    /// Larger than the distance of any two ids of one kind and topic.
    pub(super) id_span: u64,
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
    let failed = |cause| CaptureError::Read { path: path.to_owned(), cause };
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
    let file = File::open(path).map_err(|cause| CaptureError::Read { path: path.to_owned(), cause })?;
    let zipped = path.extension().is_some_and(|extension| extension == "gz");
    let plain: Box<dyn Read> = if zipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(Box::new(BufReader::with_capacity(1 << 16, plain)))
}

/// A receive time in ns since the epoch, in the unit that the column's name says.
fn receive_time(unit: &str, text: &str) -> Option<u64> {
    let (ns, len) = match unit {
        "recv_ns_unix" => scan::u64_at(text.as_bytes()).ok()?,
        "recv_unix_s" => {
            let (ns, len) = scan::fixed(text.as_bytes(), 9).ok()?;
            (u64::try_from(ns).ok()?, len)
        }
        "recv_time_utc" => scan::rfc3339_nanos(text.as_bytes()).ok()?,
        _ => return None,
    };
    (len == text.len()).then_some(ns)
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
            let line = line.map_err(|cause| CaptureError::Read { path: path.to_owned(), cause })?;
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
        let mut unit = String::new();
        Self::lines(found, |index, line| {
            let column = line.split('\t').nth(1).unwrap_or_default();
            if index == 0 {
                unit = column.to_owned();
                return Ok(());
            }
            times.push(receive_time(&unit, column).ok_or_else(|| format!("{column:?} is no {unit:?}"))?);
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
            status: PairStatus::Trading,
            tape: false,
            hours: Hours::Always,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_times_are_read_in_their_unit() {
        for (unit, text, expected) in [
            ("recv_ns_unix", "1785641750295158100", Some(1_785_641_750_295_158_100)),
            ("recv_unix_s", "1633998512.0633569", Some(1_633_998_512_063_356_900)),
            ("recv_time_utc", "2025-08-22T20:11:29.968996+00:00", Some(1_755_893_489_968_996_000)),
            ("recv_ns_unix", "17x", None),
            ("elsewhen", "17", None),
        ] {
            assert_eq!(receive_time(unit, text), expected, "{unit} {text}");
        }
    }
}
