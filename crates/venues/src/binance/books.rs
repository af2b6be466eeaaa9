//! One symbol's book: bridging the venue's changes to a fetched snapshot by their ids, and noticing when they break.
//!
//! Changes are kept while a snapshot is fetched; then those it contains (`u <= lastUpdateId`) are dropped, the first
//! applied must reach over it (`U <= lastUpdateId + 1 <= u`), and each later one must follow (`U <= u before + 1`).
//! Anything else is a gap: that symbol alone starts again, and the socket stays.

use super::compare::Comparison;
use super::exact::{Numbers, fetched_book};
use super::machine::{Machine, Pending};
use super::map::{self, SnapshotFrame, Subject};
use super::messages::{Depth, Quote, Scales};
use super::subscribe::{depth_path, depth_weight};
use crate::trust::TICKER_APART;
use crate::{Counts, FrameError, Known, Outbox, Proof, Reply, RequestId, Trust};
use book::{Book, Effect, Level};
use model::{BookState, GapCause, InstrumentStatus, Reason, Side, StreamKind, UnixNanos};
use std::time::Duration;
use wire::{BookAction, Flags, Header, RecordType, SnapshotReason, Status};

/// Depth messages kept for a snapshot: more than three minutes of the fastest stream.
pub(super) const BUFFER_EVENTS_MAX: usize = 2048;
/// Levels kept for a snapshot: 8 MiB at most a symbol.
pub(super) const BUFFER_LEVELS_MAX: usize = 1 << 19;
/// The first wait after a snapshot that failed or did not bridge; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// How often the wait is doubled: to 32 s at most.
const RETRY_DOUBLINGS: u32 = 7;
/// After so many attempts in a row the book is called suspect; the attempts go on at the longest wait.
const ATTEMPTS_TOLD: u32 = 8;
/// A snapshot is asked for with the first change, or so long after the subscription when the book is quiet.
const FIRST_CHANGE_WAIT: Duration = Duration::from_millis(500);
/// A book that stays crossed for so many whole messages is fetched again.
const CROSSED_EVENTS_MAX: u32 = 10;

/// How far a book has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// No change seen on this connection.
    #[default]
    Cold,
    /// Changes are kept until a snapshot bridges them.
    Syncing,
    /// Bridged, and every change followed since.
    Live,
    /// Captured changes without any snapshot: told, never trusted.
    Blind,
}

/// Depth messages waiting for a snapshot.
#[derive(Debug, Default)]
struct Buffer {
    events: Vec<(Depth, UnixNanos, usize)>,
    levels: Vec<Level>,
}

impl Buffer {
    fn is_full(&self, levels: usize) -> bool {
        self.events.len() >= BUFFER_EVENTS_MAX || self.levels.len() + levels > BUFFER_LEVELS_MAX
    }

    fn push(&mut self, depth: Depth, received: UnixNanos, levels: &[Level]) {
        self.events.push((depth, received, levels.len()));
        self.levels.extend_from_slice(levels);
    }

    /// First and last id held.
    fn range(&self) -> Option<(u64, u64)> {
        Some((self.events.first()?.0.first, self.events.last()?.0.last))
    }

    /// Forgets all and gives the room back: a live book keeps nothing here.
    fn clear(&mut self) {
        *self = Buffer::default();
    }
}

/// The book of one symbol and where it stands.
#[derive(Debug)]
pub(super) struct SymbolBook {
    pub of: Subject,
    pub phase: Phase,
    /// The trust in it.
    pub trust: Trust,
    /// Why changes may be missing before the next one: the connection or this process was gone.
    pub broken: Option<GapCause>,
    /// When the last change was received.
    pub seen: UnixNanos,
    /// When a snapshot should be asked for.
    pub due: Option<UnixNanos>,
    levels: Book,
    /// `u` of the last change seen, kept or applied.
    last: u64,
    /// The id up to which changes are told.
    applied: u64,
    /// When the venue made the last applied change.
    time: UnixNanos,
    /// The snapshot was cut at the depth asked for.
    cut: bool,
    /// Whole messages after which the book was crossed, in a row.
    crossed: u32,
    buffer: Buffer,
    request: Option<RequestId>,
    attempts: u32,
    /// A proof failed since the book was last live.
    failed: bool,
    /// A comparison with a fresh snapshot that is under way.
    pub comparison: Option<Box<Comparison>>,
}

impl SymbolBook {
    /// What rests, as far as it was told.
    pub(super) fn levels(&self) -> &Book {
        &self.levels
    }

    pub(super) fn new(of: Subject) -> SymbolBook {
        SymbolBook {
            of,
            phase: Phase::Cold,
            trust: Trust::default(),
            broken: None,
            seen: UnixNanos::ZERO,
            due: None,
            levels: Book::default(),
            last: 0,
            applied: 0,
            time: UnixNanos::ZERO,
            cut: false,
            crossed: 0,
            buffer: Buffer::default(),
            request: None,
            attempts: 0,
            failed: false,
            comparison: None,
        }
    }

    /// Multiplies everything kept when the scales grow. `false`, and nothing done, when something would not fit.
    pub(super) fn rescale(&mut self, from: Scales, to: Scales) -> bool {
        let factor = |from: u8, to: u8| 10i64.checked_pow(u32::from(to.saturating_sub(from)));
        let (Some(price), Some(size)) = (factor(from.price, to.price), factor(from.size, to.size)) else {
            return false;
        };
        let fits = |l: &Level| l.price.0.checked_mul(price).is_some() && l.size.0.checked_mul(size).is_some();
        if !self.buffer.levels.iter().all(fits) || !self.levels.rescale(price, size) {
            return false;
        }
        self.comparison = None;
        for level in &mut self.buffer.levels {
            level.price.0 *= price;
            level.size.0 *= size;
        }
        true
    }

    /// Applies a whole message and tells its levels. A message without levels tells nothing.
    #[inline]
    fn apply(
        &mut self,
        d: &Depth,
        levels: &[Level],
        trust: Flags,
        received: UnixNanos,
        counts: &mut Counts,
        out: &mut Outbox,
    ) {
        let (bids, asks) = levels.split_at(d.bids as usize);
        let before = out.records.len();
        let mut absent = 0;
        let mut tell = |book: &mut Book, side: Side, levels: &[Level], end: bool| {
            let Some((last, before)) = levels.split_last() else { return };
            for &level in before {
                let action = action(book.set(side, level.price, level.size), &mut absent);
                out.records.push(&map::change(self.of, side, trust, d.time, received, level, action));
            }
            let action = action(book.set(side, last.price, last.size), &mut absent);
            let flags = trust | Flags::LAST.when(end);
            out.records.push(&map::change(self.of, side, flags, d.time, received, *last, action));
        };
        tell(&mut self.levels, Side::Buy, bids, asks.is_empty());
        tell(&mut self.levels, Side::Sell, asks, true);
        out.mark_event(self.of.id, before, d.first, d.last);
        (self.last, self.applied, self.time, self.seen) = (d.last, d.last, d.time, received);
        if trust == Flags::EMPTY {
            self.trust.applied(&self.levels, d.last, received);
        } else {
            self.trust.unproved();
        }
        counts.book_updates += 1;
        counts.book_levels += levels.len() as u64;
        counts.absent_deletes += absent;
    }

    /// Tells the book, the best `depth` levels a side.
    fn tell_snapshot(&self, reason: SnapshotReason, depth: usize, now: UnixNanos, out: &mut Outbox) {
        let count = |side| self.levels.depth(side).min(depth) as u32;
        let (bids, asks) = (count(Side::Buy), count(Side::Sell));
        let told_all = bids as usize == self.levels.depth(Side::Buy) && asks as usize == self.levels.depth(Side::Sell);
        let time = if reason == SnapshotReason::Sync { UnixNanos::ZERO } else { self.time };
        let capped = self.cut || !told_all;
        let frame = SnapshotFrame { of: self.of, reason, time, now, bids, asks, capped, update_id: self.last };
        out.records.push(&frame.begin());
        for side in [Side::Buy, Side::Sell] {
            for level in self.levels.levels(side).take(depth) {
                let record = map::change(self.of, side, Flags::SNAPSHOT, time, now, level, BookAction::Add);
                out.records.push(&record);
            }
        }
        out.records.push(&frame.end());
    }

    /// Whether it is bridged and nothing speaks against it.
    pub(super) fn is_proved(&self) -> bool {
        self.phase == Phase::Live && self.crossed == 0
    }

    /// The id it stands at.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Tells a live book whole, as one that begins anew.
    pub(super) fn tell_whole(&self, now: UnixNanos, out: &mut Outbox) {
        if self.is_proved() {
            self.tell_snapshot(SnapshotReason::Sync, usize::MAX, now, out);
        }
    }

    /// Tells a new state; the same again is not told.
    pub(super) fn tell(&mut self, state: BookState, reason: Reason, text: &str, now: UnixNanos, out: &mut Outbox) {
        if self.trust.state() != state {
            self.trust.enter(state, reason, now);
            self.tell_again(reason, text, now, out);
        }
    }

    fn tell_again(&self, reason: Reason, text: &str, now: UnixNanos, out: &mut Outbox) {
        let status = Status::Book(self.trust.state());
        out.records.push_status(self.of.venue, self.of.id, status, reason, text, UnixNanos::ZERO, now);
    }

    /// Tells a live book, or a halted one where the venue halted the symbol.
    pub(super) fn tell_live(&mut self, now: UnixNanos, out: &mut Outbox) {
        if !self.trust.is_live() {
            self.trust.enter(BookState::Live, Reason::Ok, now);
            self.tell_live_again(now, out);
        }
    }

    fn tell_live_again(&self, now: UnixNanos, out: &mut Outbox) {
        let halted = self.trust.state() == BookState::Halted;
        let text = if halted { "the venue halted the symbol" } else { "" };
        self.tell_again(self.trust.reason(), text, now, out);
    }

    /// The venue halted the symbol or lets it trade again; told of a live book.
    pub(super) fn halt(&mut self, status: InstrumentStatus, now: UnixNanos, out: &mut Outbox) {
        if self.trust.halt(Trust::halts(status), now) {
            self.tell_live_again(now, out);
        }
    }

    /// Tells what was missed while the connection or this process was gone; `first` is the first id not missed.
    fn tell_break(&mut self, first: u64, now: UnixNanos, counts: &mut Counts, out: &mut Outbox) {
        let next = self.applied.saturating_add(1);
        match self.broken.take() {
            Some(cause) if self.applied == 0 => self.gap(cause, None, now, counts, out),
            Some(cause) if first > next => self.gap(cause, Some((next, first - 1)), now, counts, out),
            _ => {}
        }
    }

    fn gap(&self, cause: GapCause, range: Option<(u64, u64)>, now: UnixNanos, counts: &mut Counts, out: &mut Outbox) {
        counts.gaps += 1;
        out.records.push(&map::gap(self.of, StreamKind::Book, cause, range, self.seen, now));
    }
}

/// Written without a branch of its own: which effect comes next is as good as random.
#[inline]
fn action(effect: Effect, absent: &mut u64) -> BookAction {
    *absent += u64::from(effect == Effect::Absent);
    match effect {
        Effect::Added => BookAction::Add,
        Effect::Changed => BookAction::Change,
        Effect::Deleted | Effect::Absent => BookAction::Delete,
    }
}

impl Machine {
    /// A message of book changes, its levels in `self.levels`.
    #[inline]
    pub(super) fn on_depth(&mut self, known: Known, d: &Depth, received: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        let trust = match book.phase {
            Phase::Live => Flags::EMPTY,
            Phase::Blind => Flags::NOT_TRUSTED,
            Phase::Cold | Phase::Syncing => return self.on_depth_unusual(known, d, received, out),
        };
        if d.last <= book.last || d.first > book.last.saturating_add(1) {
            return self.on_depth_unusual(known, d, received, out);
        }
        if book.comparison.is_some() && !self.keep_for_comparison(known, d, received, out) {
            return self.on_depth_unusual(known, d, received, out);
        }
        let book = &mut self.symbols[known as usize].book;
        let mark = out.records.mark();
        book.apply(d, &self.levels, trust, received, &mut self.counts, out);
        self.counts.sequences_ok += 1;
        book.trust.held(Proof::Ids);
        if (book.levels.is_crossed() || book.crossed > 0) && book.phase == Phase::Live {
            self.judge_crossed(known, mark, received, out);
        }
        self.seen(known, StreamKind::Book, d.last, received, out);
    }

    #[cold]
    fn on_depth_unusual(&mut self, known: Known, d: &Depth, received: UnixNanos, out: &mut Outbox) {
        if !self.takes(StreamKind::Book) {
            self.counts.unused_types += 1;
            return;
        }
        let book = &mut self.symbols[known as usize].book;
        if book.phase != Phase::Cold && d.last <= book.last {
            self.counts.book_updates_old += 1;
            return;
        }
        let next = book.last.saturating_add(1);
        let missing = (d.first > next).then(|| (next, d.first - 1));
        match book.phase {
            Phase::Blind => {
                book.trust.failed(Proof::Ids);
                book.gap(GapCause::Sequence, missing, received, &mut self.counts, out);
                book.apply(d, &self.levels, Flags::NOT_TRUSTED, received, &mut self.counts, out);
            }
            Phase::Live => {
                book.gap(GapCause::Sequence, missing, received, &mut self.counts, out);
                book.trust.failed(Proof::Ids);
                let text = format!("change {} does not follow {}", d.first, book.last);
                book.tell(BookState::Suspect, Reason::Sequence, &text, received, out);
                book.failed = true;
                self.start_sync(known, Reason::Sequence, received, received, out);
                self.keep(known, d, received, out);
            }
            Phase::Cold => {
                self.start_sync(known, Reason::Snapshot, received, received, out);
                self.keep_first(known, d, received, out);
            }
            Phase::Syncing if book.buffer.events.is_empty() => self.keep_first(known, d, received, out),
            Phase::Syncing => {
                if missing.is_some() {
                    book.trust.failed(Proof::Ids);
                    book.gap(GapCause::Sequence, missing, received, &mut self.counts, out);
                    book.buffer.clear();
                    book.failed = true;
                }
                self.keep(known, d, received, out);
            }
        }
        self.seen(known, StreamKind::Book, d.last, received, out);
        self.fetch_books(received, out);
    }

    /// The subscription stands. A quiet book needs no change to be fetched: none is missed from here on.
    pub(super) fn await_book(&mut self, known: Known, now: UnixNanos, out: &mut Outbox) {
        if self.symbols[known as usize].book.phase == Phase::Cold {
            self.start_sync(known, Reason::Snapshot, now.after(FIRST_CHANGE_WAIT), now, out);
        }
    }

    /// The book waits for a snapshot from now on, to be asked for when it is `due`.
    fn start_sync(&mut self, known: Known, reason: Reason, due: UnixNanos, now: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        book.phase = Phase::Syncing;
        book.comparison = None;
        book.buffer.clear();
        (book.request, book.due) = (None, Some(due));
        (book.attempts, book.crossed, book.last) = (0, 0, 0);
        book.tell(BookState::Syncing, reason, "waiting for a snapshot", now, out);
        self.books_due = Some(self.books_due.map_or(due, |other| other.min(due)));
    }

    /// Keeps the first change, with which a snapshot is worth asking for.
    fn keep_first(&mut self, known: Known, d: &Depth, received: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        book.tell_break(d.first, received, &mut self.counts, out);
        if book.attempts == 0 && book.due.is_some() {
            book.due = Some(received);
            self.books_due = Some(self.books_due.map_or(received, |other| other.min(received)));
        }
        self.keep(known, d, received, out);
    }

    /// Keeps a change until a snapshot comes. A full buffer is told as a gap and emptied.
    fn keep(&mut self, known: Known, d: &Depth, received: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        if book.buffer.is_full(self.levels.len()) {
            let range = book.buffer.range();
            book.gap(GapCause::Overflow, range, received, &mut self.counts, out);
            book.buffer.clear();
            book.failed = true;
            self.retry(known, "the buffer of changes was full", None, received, out);
        }
        let book = &mut self.symbols[known as usize].book;
        book.buffer.push(*d, received, &self.levels);
        (book.last, book.seen) = (d.last, received);
        self.counts.book_updates_buffered += 1;
    }

    /// Asks for the snapshots that are due, as far as the venue's request weight allows.
    pub(super) fn fetch_books(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.books_due.is_none_or(|due| now < due) {
            return;
        }
        let weight = depth_weight(self.book_depth);
        for (index, symbol) in self.symbols.iter_mut().enumerate() {
            let book = &mut symbol.book;
            if book.due.is_none_or(|due| now < due) {
                continue;
            }
            book.due = match self.budget.take(weight, now) {
                Err(later) => Some(later),
                Ok(()) => {
                    let venue_symbol = &self.instruments.get(index as Known).venue_symbol;
                    let id = out.request(depth_path(venue_symbol, self.book_depth), weight);
                    self.pending.push((id, Pending::Book(index as Known)));
                    book.request = Some(id);
                    None
                }
            };
        }
        self.books_due = self.symbols.iter().filter_map(|s| s.book.due).min();
    }

    /// Another attempt after a wait.
    fn retry(&mut self, known: Known, why: &str, after: Option<Duration>, now: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        let wait = RETRY_FIRST * (1 << book.attempts.min(RETRY_DOUBLINGS));
        let due = now.after(after.map_or(wait, |after| after.max(wait)));
        book.attempts += 1;
        (book.request, book.due) = (None, Some(due));
        if book.attempts == ATTEMPTS_TOLD {
            let text = format!("no snapshot after {ATTEMPTS_TOLD} attempts: {why}");
            book.tell(BookState::Suspect, Reason::Snapshot, &text, now, out);
        }
        self.books_due = Some(self.books_due.map_or(due, |other| other.min(due)));
    }

    /// The answer to a request for a book.
    pub(super) fn on_book_reply(
        &mut self,
        known: Known,
        id: RequestId,
        reply: Reply<'_>,
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let book = &mut self.symbols[known as usize].book;
        if book.request != Some(id) || book.phase != Phase::Syncing {
            return;
        }
        book.request = None;
        match reply {
            Reply::Http { status: 200, body, .. } => {
                let mut levels = std::mem::take(&mut self.levels);
                let bridged = self.on_snapshot(known, body, &mut levels, now, out);
                self.levels = levels;
                if let Err(why) = bridged {
                    self.counts.snapshots_unbridged += 1;
                    self.retry(known, &why, None, now, out);
                }
            }
            Reply::Http { status, body, retry_after } => {
                self.pause_if_told(status, retry_after, now);
                let why = format!("HTTP status {status}: {}", String::from_utf8_lossy(&body[..body.len().min(100)]));
                if self.learning {
                    self.go_blind(known, &why, now, out);
                } else {
                    self.retry(known, &why, retry_after, now, out);
                }
            }
            Reply::Failed(why) if self.learning => self.go_blind(known, why, now, out),
            Reply::Failed(why) => self.retry(known, why, None, now, out),
        }
    }

    /// Takes in a snapshot and what was kept; or says why it cannot be used.
    fn on_snapshot(
        &mut self,
        known: Known,
        body: &[u8],
        levels: &mut Vec<Level>,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let text = |e: FrameError| e.to_string();
        let mut numbers = Numbers::at(self.symbols[known as usize].scales);
        let mut fetched = fetched_book(body, &mut numbers, levels).map_err(text)?;
        if numbers.need != numbers.have {
            numbers = Numbers::at(numbers.need);
            fetched = fetched_book(body, &mut numbers, levels).map_err(text)?;
        }
        let buffered = self.symbols[known as usize].book.buffer.range();
        // The empty book of a new listing stands before the first change there is.
        let before_first = buffered.map_or(0, |(first, _)| first.saturating_sub(1));
        let update_id = u64::try_from(fetched.update_id).unwrap_or(before_first);
        if update_id < before_first {
            return Err(format!("snapshot {update_id} is older than the first change kept, {}", before_first + 1));
        }
        self.widen(known, numbers.need, now, out).map_err(text)?;
        let book = &mut self.symbols[known as usize].book;
        book.levels.clear();
        let (bids, asks) = levels.split_at(fetched.bids);
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            // Worst first, which is how the book keeps them.
            for level in levels.iter().rev() {
                book.levels.set(side, level.price, level.size);
            }
        }
        if book.levels.is_crossed() {
            book.levels.clear();
            return Err(format!("snapshot {update_id} is crossed"));
        }
        book.cut = bids.len().max(asks.len()) >= self.book_depth as usize;
        self.counts.book_snapshots += 1;
        self.counts.resyncs += u64::from(std::mem::take(&mut book.failed));
        book.tell_break(update_id.saturating_add(1), now, &mut self.counts, out);
        (book.phase, book.last, book.applied, book.seen) = (Phase::Live, update_id, update_id, now);
        book.trust.loaded(now);
        book.tell_snapshot(SnapshotReason::Sync, usize::MAX, now, out);
        book.tell_live(now, out);
        self.tell_kept(known, Flags::EMPTY, out);
        Ok(())
    }

    /// Applies and tells what was kept, except what the book already contains.
    fn tell_kept(&mut self, known: Known, trust: Flags, out: &mut Outbox) {
        let kept = std::mem::take(&mut self.symbols[known as usize].book.buffer);
        let mut levels = kept.levels.as_slice();
        for (depth, received, count) in &kept.events {
            let (own, rest) = levels.split_at(*count);
            levels = rest;
            let book = &mut self.symbols[known as usize].book;
            if book.phase == Phase::Syncing {
                // The ones before left the book crossed for too long: these wait for the next snapshot.
                book.buffer.push(*depth, *received, own);
                book.last = depth.last;
                continue;
            }
            if depth.last <= book.last {
                self.counts.book_updates_old += 1;
                continue;
            }
            let mark = out.records.mark();
            book.apply(depth, own, trust, *received, &mut self.counts, out);
            if trust == Flags::EMPTY {
                self.counts.sequences_ok += 1;
                book.trust.held(Proof::Ids);
                if book.levels.is_crossed() || book.crossed > 0 {
                    self.judge_crossed(known, mark, *received, out);
                }
            }
        }
    }

    /// No snapshot can be had for captured changes: they are told, never trusted.
    fn go_blind(&mut self, known: Known, why: &str, now: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        (book.phase, book.due) = (Phase::Blind, None);
        book.last = book.buffer.range().map_or(book.last, |(first, _)| first.saturating_sub(1));
        book.levels.clear();
        let text = format!("changes are told without a snapshot: {why}");
        book.tell(BookState::Suspect, Reason::Snapshot, &text, now, out);
        self.tell_kept(known, Flags::NOT_TRUSTED, out);
    }

    /// After a whole message the book is crossed, or was before it.
    #[cold]
    fn judge_crossed(&mut self, known: Known, mark: (usize, usize), now: UnixNanos, out: &mut Outbox) {
        let book = &mut self.symbols[known as usize].book;
        // What uncrosses a book is told while it is still suspect.
        distrust(mark, out);
        if !book.levels.is_crossed() {
            book.crossed = 0;
            return book.tell_live(now, out);
        }
        self.counts.crossed += 1;
        book.crossed += 1;
        book.tell(BookState::Suspect, Reason::Crossed, "best bid at or above best ask", now, out);
        if book.crossed >= CROSSED_EVENTS_MAX && book.phase == Phase::Live {
            book.failed = true;
            book.gap(GapCause::Crossed, None, now, &mut self.counts, out);
            self.start_sync(known, Reason::Crossed, now, now, out);
            self.fetch_books(now, out);
        }
    }

    /// The venue's ticker beside the book.
    #[inline]
    pub(super) fn compare_ticker(&mut self, known: Known, q: &Quote, now: UnixNanos, out: &mut Outbox) {
        let SymbolBook { trust, levels, .. } = &mut self.symbols[known as usize].book;
        let price = |level: Option<Level>| level.map(|level| level.price);
        if trust.quoted((price(q.bid), price(q.ask)), levels, now, &mut self.counts) {
            let why = (Reason::Disagreement, GapCause::Disagreement, TICKER_APART);
            self.distrust_book(known, why, now, out);
        }
    }

    /// Books whose silence is longer than their own rhythm allows, while the connection is heard.
    pub(super) fn check_rhythms(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Some(floor) = self.rhythm_floor else { return };
        let heard = self.heard();
        for known in 0..self.symbols.len() as Known {
            let trust = &mut self.symbols[known as usize].book.trust;
            let Some(text) = trust.silent(now, heard, floor, &mut self.counts) else { continue };
            self.distrust_book(known, (Reason::Timeout, GapCause::Stale, &text), now, out);
        }
    }

    /// A proof other than the ids failed: the book is suspect, and fetched again.
    #[cold]
    pub(super) fn distrust_book(
        &mut self,
        known: Known,
        why: (Reason, GapCause, &str),
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let (reason, cause, text) = why;
        let book = &mut self.symbols[known as usize].book;
        book.gap(cause, None, now, &mut self.counts, out);
        book.tell(BookState::Suspect, reason, text, now, out);
        book.failed = true;
        self.start_sync(known, reason, now, now, out);
        self.fetch_books(now, out);
    }

    /// The connection is gone: what is kept is of no more use, except from a capture.
    pub(super) fn drop_book(&mut self, known: Known, now: UnixNanos, out: &mut Outbox) {
        if self.learning && self.symbols[known as usize].book.phase == Phase::Syncing {
            self.go_blind(known, "the capture ended before one came", now, out);
        }
        let book = &mut self.symbols[known as usize].book;
        book.phase = Phase::Cold;
        book.comparison = None;
        book.buffer.clear();
        (book.request, book.due, book.attempts, book.crossed) = (None, None, 0, 0);
        book.broken = book.broken.or(Some(GapCause::Reconnect));
        book.trust.disconnected();
        if book.trust.state() != BookState::Cold {
            book.tell(BookState::Suspect, Reason::Connection, "the connection is gone", now, out);
        }
    }

    /// The book's part of a refresh: its state and, when live, its levels.
    pub(super) fn refresh_book(&self, known: Known, now: UnixNanos, out: &mut Outbox) {
        let book = &self.symbols[known as usize].book;
        book.tell_again(book.trust.reason(), "", now, out);
        if book.phase == Phase::Live && book.crossed == 0 {
            book.tell_snapshot(SnapshotReason::Periodic, self.snapshot_depth, now, out);
        }
    }
}

/// Marks the book changes told since `mark` as not to be trusted.
fn distrust(mark: (usize, usize), out: &mut Outbox) {
    let mut at = mark.0;
    while let Ok(&header) = Header::read(&out.records.words()[at..]) {
        if header.record_type() == Some(RecordType::BookChange) {
            out.records.set_header(at, header.with_flags(header.flags() | Flags::NOT_TRUSTED));
        }
        at += header.words();
    }
}
