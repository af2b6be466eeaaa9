//! A recorded session served again: the captured frames in their own rhythm, with times and ids moved where asked.
//!
//! One pass goes from the first subscription to the last frame and then ends every connection, as a venue's restart
//! does: books of the next pass do not continue those of the last, and pretending that they did would be a lie. Ids of
//! pass `n` are `n` spans larger than recorded, so they keep rising; in pass 0 without moved times the frames are the
//! captured bytes. Digits never change, so Kraken's checksums stay valid.

use book::Book;
use model::{Side, StreamKind, UnixNanos};

use super::capture::{Capture, CaptureFormat, PatchKind};
use super::{Bar, BookView, Joined, Log, Market, Pair, Topic, TopicId, Trade};
use crate::options::{Rate, RecordedSession, Times};
use crate::text::{push_padded, push_rfc3339, push_u64};

/// Flat out, so much is written ahead of the slowest reader, bytes.
const AHEAD_BYTES: usize = 256 << 10;
/// A longer silence in a capture is cut to this, ns: captures of different days can be merged.
const SILENCE_NS_MAX: u64 = 10_000_000_000;
const MINUTE_MS: i128 = 60_000;

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
        if kind == PatchKind::Seconds {
            let read = scan::fixed(text, 6).ok().filter(|(_, len)| *len == text.len());
            let moved = read.and_then(|(us, _)| i64::try_from(i128::from(us) + shift_ns.div_euclid(1_000)).ok());
            return match moved {
                Some(us) => push_padded(us, 6, out),
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
        // What stands still whatever is recorded does not begin a pass: clients ask for instruments first.
        let standing = self.format.standing_topics().len();
        if self.over || readers[standing..].iter().all(|count| *count == 0) {
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
        let depth = joined.name.split([':', '-']).find_map(|part| part.parse().ok()).unwrap_or(usize::MAX);
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
