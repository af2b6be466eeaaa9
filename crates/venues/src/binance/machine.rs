//! Binance spot as a machine: which message goes where, trades, quotes, bars and control frames.
//!
//! Books are in `books.rs`, definitions and subscriptions in `symbols.rs`. A frame is read whole before anything of it
//! is used, so a malformed one changes nothing.

use super::books::SymbolBook;
use super::choices::{Choices, TradeKind};
use super::definitions::PROVISIONAL;
use super::exact::{Frame, Numbers, Shape};
use super::map::Subject;
use super::messages::{Hot, Quote, Scales, Trade, fast, frame_error};
use super::subscribe::{Budget, Streams};
use super::symbols::Wanted;
use super::{any_order, map};
use crate::choices::{IdRule, Switch};
use crate::trades::{self, Backfill, Missing, Paging, Verdict};
use crate::{
    Counts, FrameError, InstrumentSet, Known, MachineError, Memory, Outbox, Reply, RequestId, Settings, Spec, Trust,
    VenueMachine, Watch,
};
use book::{Book, Level};
use model::{GapCause, InstrumentId, Reason, StreamKind, StreamState, UnixNanos, Venue};
use std::time::Duration;
use wire::{Flags, Status};

/// The venue's own pings are answered below us, so the connection is judged by data: silence of every stream for so
/// many times the configured limit. Single streams may well be silent for that long, all of them are not.
const SILENCE_FACTOR: u32 = 6;
/// A pause the venue asks for without saying how long.
const PAUSE: Duration = Duration::from_secs(60);
/// A trade id below the last one whose trade is newer by this means that ids began anew, not a repetition.
const IDS_RESTART_AFTER: Duration = Duration::from_secs(60);

/// What an answer is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// Definitions of these of the wanted symbols.
    Definitions(Vec<usize>),
    /// A book.
    Book(Known),
    /// A snapshot to compare a live book with.
    Comparison(Known),
}

/// What is kept of one symbol.
#[derive(Debug)]
pub(super) struct Symbol {
    pub of: Subject,
    pub scales: Scales,
    pub book: SymbolBook,
    pub trades: TradeState,
}

/// Where a symbol's trades stand.
#[derive(Debug)]
pub(super) struct TradeState {
    /// The kind told; the other is passed over.
    pub kind: Option<TradeKind>,
    pub ids: trades::TradeIds,
}

impl Symbol {
    pub(super) fn new(of: Subject, scales: Scales, ids: IdRule) -> Symbol {
        let ids = trades::TradeIds::new(ids == IdRule::Contiguous);
        Symbol { of, scales, book: SymbolBook::new(of), trades: TradeState { kind: None, ids } }
    }

    /// What an earlier run told.
    pub(super) fn remember(&mut self, memory: &Memory) {
        self.trades.ids.remember(memory);
        (self.book.broken, self.book.seen) = (Some(GapCause::Restart), memory.last_seen);
    }
}

/// The machine.
pub(super) struct Machine {
    /// Whose data this is: several venues speak this protocol.
    pub(super) venue: Venue,
    pub(super) instruments: InstrumentSet,
    pub(super) symbols: Vec<Symbol>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) memory: Vec<(InstrumentId, Memory)>,
    pub(super) counts: Counts,
    pub(super) watch: Watch,
    pub(super) budget: Budget,
    pub(super) streams: Streams,
    pub(super) backfill: Backfill,
    /// The venue wants a key for old trades: only the latest can be had.
    pub(super) latest_only: bool,
    /// The levels of the message at hand.
    pub(super) levels: Vec<Level>,
    pub(super) pending: Vec<(RequestId, Pending)>,
    /// SUBSCRIBE frames that are not answered, with what they ask for.
    pub(super) asked: Vec<(u64, Vec<(Known, StreamKind)>)>,
    pub(super) frame_id: u64,
    /// No symbols are configured: whatever arrives is taken in, as from a capture.
    pub(super) learning: bool,
    pub(super) book_depth: u32,
    pub(super) snapshot_depth: usize,
    /// The first time a book should be fetched.
    pub(super) books_due: Option<UnixNanos>,
    /// When live books are to be compared with fresh snapshots.
    pub(super) compare_due: Option<UnixNanos>,
    /// When definitions should be asked for.
    pub(super) definitions_due: Option<UnixNanos>,
    pub(super) definitions_attempts: u32,
    /// When silence should be looked for.
    pub(super) silence_due: Option<UnixNanos>,
    silence: Option<Duration>,
    pub(super) rhythm_floor: Option<Duration>,
    last_frame: UnixNanos,
    pub(super) choices: Choices,
}

impl Machine {
    /// A machine, or which setting the venue does not offer.
    pub(super) fn new(spec: &Spec, settings: &Settings, choices: &[(String, String)]) -> Result<Machine, MachineError> {
        let choices = Choices::read(spec.venue, choices)?;
        let limit = settings.stale_after.limit(StreamKind::Connection);
        Ok(Machine {
            venue: spec.venue,
            instruments: InstrumentSet::new(spec.venue),
            symbols: vec![],
            wanted: Wanted::all(&settings.symbols),
            memory: vec![],
            counts: Counts::default(),
            watch: Watch::new(&settings.stale_after),
            budget: Budget::of(spec.requests.count),
            streams: Streams::new(spec.venue, settings, &choices)?,
            backfill: Backfill::new(choices.backfill == Switch::On && !settings.symbols.is_empty(), Paging::Up),
            latest_only: false,
            levels: vec![],
            pending: vec![],
            asked: vec![],
            frame_id: 0,
            learning: settings.symbols.is_empty(),
            book_depth: settings.book_depth,
            snapshot_depth: settings.snapshot_depth as usize,
            books_due: None,
            compare_due: None,
            definitions_due: None,
            definitions_attempts: 0,
            silence_due: None,
            silence: limit.map(|limit| limit * SILENCE_FACTOR),
            rhythm_floor: settings.stale_after.rhythm_floor(),
            last_frame: UnixNanos::ZERO,
            choices,
        })
    }

    /// Whether a kind of stream is wanted.
    pub(super) fn takes(&self, stream: StreamKind) -> bool {
        self.streams.has(stream)
    }

    /// When the last sound frame came.
    pub(super) fn heard(&self) -> UnixNanos {
        self.last_frame
    }

    /// Silence of the connection counts from now.
    pub(super) fn watch_silence(&mut self, now: UnixNanos) {
        self.silence_due = self.silence.map(|silence| now.after(silence));
    }

    /// Data of a stream came.
    #[inline]
    pub(super) fn seen(&mut self, known: Known, stream: StreamKind, mark: u64, now: UnixNanos, out: &mut Outbox) {
        if self.watch.seen(known, stream, mark, now) {
            self.tell_stream(known, stream, StreamState::Live, Reason::Ok, "", now, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call tells one record; each argument is a type of its own")]
    pub(super) fn tell_stream(
        &self,
        known: Known,
        stream: StreamKind,
        state: StreamState,
        reason: Reason,
        text: &str,
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let id = self.instruments.get(known).id;
        let status = Status::Stream(stream, state);
        out.records.push_status(self.venue, id, status, reason, text, UnixNanos::ZERO, now);
    }

    /// The venue limits us: no request until it lets us.
    pub(super) fn pause_if_told(&mut self, status: u16, retry_after: Option<Duration>, now: UnixNanos) {
        if status == 429 || status == 418 {
            self.budget.pause(now.after(retry_after.unwrap_or(PAUSE)));
        }
    }

    #[inline]
    fn on_hot(&mut self, known: Known, message: &Hot, received: UnixNanos, out: &mut Outbox) {
        match message {
            Hot::Trade(t) => self.on_trade(known, t, received, out),
            Hot::Depth(d) => self.on_depth(known, d, received, out),
            Hot::Quote(q) => self.on_quote(known, q, received, out),
        }
    }

    #[inline]
    fn on_trade(&mut self, known: Known, t: &Trade, received: UnixNanos, out: &mut Outbox) {
        if self.symbols[known as usize].trades.kind != Some(t.kind) && !self.admits(known, t.kind) {
            self.counts.unused_types += 1;
            return;
        }
        let Some(flags) = self.judge(known, t, received, out) else { return };
        out.records.push_trade(&map::trade(self.symbols[known as usize].of, t, flags, received));
        self.counts.trades += 1;
        self.seen(known, StreamKind::Trade, t.id, received, out);
    }

    /// Whether trades of this kind are told of a symbol.
    #[cold]
    fn admits(&mut self, known: Known, kind: TradeKind) -> bool {
        let decided = self.trade_kind().unwrap_or(kind);
        self.takes(StreamKind::Trade) && *self.symbols[known as usize].trades.kind.get_or_insert(decided) == kind
    }

    /// The kind of trades that is told, when it does not depend on what a capture holds.
    pub(super) fn trade_kind(&self) -> Option<TradeKind> {
        self.choices.trades.or((!self.learning).then_some(TradeKind::Trade))
    }

    /// With which flags a trade is to be told, unless it was told before. What is missing before it is told first.
    #[inline]
    fn judge(&mut self, known: Known, t: &Trade, received: UnixNanos, out: &mut Outbox) -> Option<Flags> {
        let ids = &mut self.symbols[known as usize].trades.ids;
        let (cause, from) = (ids.cause(), ids.received());
        let anew = ids.last().is_some_and(|last| t.id <= last) && t.time > ids.time().after(IDS_RESTART_AFTER);
        let (cause, missing) = if anew {
            ids.begin_anew(t.id, t.time, received);
            (GapCause::Sequence, None)
        } else {
            match ids.take(t.id, t.time, received) {
                Verdict::Next | Verdict::First => return Some(Flags::EMPTY),
                Verdict::Fills => return Some(Flags::LATE),
                Verdict::Repeat => {
                    self.counts.trades_repeated += 1;
                    return None;
                }
                Verdict::Jump { first, last } => (cause, Some((first, last))),
                Verdict::Break => (cause, None),
            }
        };
        let of = self.symbols[known as usize].of;
        out.records.push(&map::gap(of, StreamKind::Trade, cause, missing, from, received));
        self.counts.gaps += 1;
        self.backfill.wanted(known, received);
        Some(Flags::EMPTY)
    }

    #[inline]
    fn on_quote(&mut self, known: Known, q: &Quote, received: UnixNanos, out: &mut Outbox) {
        if !self.takes(StreamKind::Quote) {
            self.counts.unused_types += 1;
            return;
        }
        out.records.push(&map::quote(self.symbols[known as usize].of, q, received));
        self.counts.quotes += 1;
        self.compare_ticker(known, q, received, out);
        self.seen(known, StreamKind::Quote, 0, received, out);
    }

    /// A frame the fast reader does not take.
    #[inline(never)]
    fn on_unusual(&mut self, bytes: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let (instruments, symbols) = (&self.instruments, &self.symbols);
        let find = |symbol: &[u8]| {
            let known = instruments.find(symbol)?;
            Some((known, symbols[known as usize].scales))
        };
        if let Some((known, message, unknown)) = any_order::read(bytes, self.choices.time_unit, find, &mut self.levels)
        {
            self.counts.slow_path += 1;
            self.counts.unknown_fields += unknown;
            self.on_hot(known, &message, received, out);
            return Ok(());
        }
        let mut frame = Frame::of(bytes);
        frame.check()?;
        match frame.shape {
            Shape::Trade(_) | Shape::Depth | Shape::Quote => self.on_exact(&frame, received, out)?,
            Shape::Bar => self.on_bar(&frame, received, out)?,
            Shape::Shutdown => {
                self.counts.venue_status += 1;
                out.reconnect = Some((Reason::Venue, "the venue announced that it will shut down".to_owned()));
            }
            Shape::Ack => self.on_ack(frame.answer_id(), received, out),
            Shape::Error => self.on_refusal(frame.answer_id(), &frame.error_text(), received, out),
            Shape::Unused => self.counts.unused_types += 1,
            Shape::Unknown => self.counts.unknown_types += 1,
        }
        Ok(())
    }

    /// A hot shape in an unusual spelling, of a symbol not seen before, or with numbers wider than before.
    fn on_exact(&mut self, frame: &Frame<'_>, received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let mut buffer = [0; 64];
        let symbol = frame.symbol(&mut buffer)?;
        let found = self.instruments.find(symbol.as_bytes());
        let scales = found.map_or(PROVISIONAL, |known| self.symbols[known as usize].scales);
        let unit = self.choices.time_unit;
        let mut numbers = Numbers::at(scales);
        let mut message = frame.hot(unit, &mut numbers, &mut self.levels)?;
        if numbers.need != numbers.have {
            numbers = Numbers::at(numbers.need);
            message = frame.hot(unit, &mut numbers, &mut self.levels)?;
        }
        let Some(known) = self.place(found, symbol, numbers.need, received, out)? else { return Ok(()) };
        self.counts.slow_path += 1;
        self.counts.unknown_fields += frame.unknown_fields();
        self.on_hot(known, &message, received, out);
        Ok(())
    }

    fn on_bar(&mut self, frame: &Frame<'_>, received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let mut buffer = [0; 64];
        let symbol = frame.symbol(&mut buffer)?;
        let found = self.instruments.find(symbol.as_bytes());
        let scales = found.map_or(PROVISIONAL, |known| self.symbols[known as usize].scales);
        let unit = self.choices.time_unit;
        let mut numbers = Numbers::at(scales);
        let (mut bar, mut unknown) = frame.bar(unit, &mut numbers)?;
        if numbers.need != numbers.have {
            numbers = Numbers::at(numbers.need);
            (bar, unknown) = frame.bar(unit, &mut numbers)?;
        }
        if !self.takes(StreamKind::Bar) {
            self.counts.unused_types += 1;
            return Ok(());
        }
        let Some(known) = self.place(found, symbol, numbers.need, received, out)? else { return Ok(()) };
        self.counts.unknown_fields += frame.unknown_fields() + unknown;
        out.records.push(&map::bar(self.symbols[known as usize].of, &bar, received));
        self.counts.bars += 1;
        self.seen(known, StreamKind::Bar, 0, received, out);
        Ok(())
    }

    /// The symbol of a message that was read in full, at the scales it needs; `None` when it was not asked for.
    fn place(
        &mut self,
        found: Option<Known>,
        symbol: &str,
        need: Scales,
        received: UnixNanos,
        out: &mut Outbox,
    ) -> Result<Option<Known>, FrameError> {
        match found {
            Some(known) => {
                self.widen(known, need, received, out)?;
                Ok(Some(known))
            }
            None if self.learning => self.learn(symbol, need, received, out).map(Some),
            None => {
                self.counts.unknown_symbols += 1;
                Ok(None)
            }
        }
    }

    fn judge_silence(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Some(silence) = self.silence.filter(|_| self.silence_due.is_some_and(|due| due <= now)) else { return };
        let due = self.last_frame.after(silence);
        if due > now {
            self.silence_due = Some(due);
            return;
        }
        self.silence_due = None;
        let text = format!("no data on any stream for {} s", now.since(self.last_frame).as_secs());
        out.reconnect = Some((Reason::Timeout, text));
    }
}

impl VenueMachine for Machine {
    fn venue(&self) -> Venue {
        self.venue
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        match self.instruments.index_of(instrument) {
            Some(known) => self.symbols[known as usize].remember(&memory),
            None => self.memory.push((instrument, memory)),
        }
    }

    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.last_frame = now;
        self.backfill.connected();
        if !self.learning {
            self.compare_due = self.compare_after(now);
            self.subscribe(now, out);
            self.begin_definitions(now, out);
        }
    }

    #[inline]
    fn on_frame(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        self.counts.frames += 1;
        let (instruments, symbols) = (&self.instruments, &self.symbols);
        let find = |symbol: &[u8]| {
            let known = instruments.find(symbol)?;
            Some((known, symbols[known as usize].scales))
        };
        match fast(frame, self.choices.time_unit, find, &mut self.levels) {
            Some((known, message)) => self.on_hot(known, &message, received, out),
            None => {
                if let Err(error) = self.on_unusual(frame, received, out) {
                    self.counts.malformed += 1;
                    return Err(error);
                }
            }
        }
        self.last_frame = received;
        Ok(())
    }

    fn on_response(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let Some(index) = self.pending.iter().position(|(id, _)| *id == request) else {
            return self.on_missed(request, reply, now, out);
        };
        match self.pending.swap_remove(index).1 {
            Pending::Book(known) => self.on_book_reply(known, request, reply, now, out),
            Pending::Comparison(known) => self.on_comparison(known, reply, now, out),
            Pending::Definitions(asked) => self.on_definitions(asked, reply, now, out),
        }
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.fetch_books(now, out);
        self.begin_comparisons(now, out);
        self.fetch_definitions(now, out);
        self.ask_missed(now, out);
        self.judge_silence(now, out);
        if self.watch.is_due(now) {
            self.check_rhythms(now, out);
        }
        let mut stale = vec![];
        self.watch.check(now, |known, stream, silent| stale.push((known, stream, silent)));
        for (known, stream, silent) in stale {
            self.counts.stale += 1;
            let text = format!("silent for {} s", silent.as_secs());
            self.tell_stream(known, stream, StreamState::Stale, Reason::Timeout, &text, now, out);
        }
    }

    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.watch.stop();
        self.backfill.disconnected();
        self.pending.clear();
        self.asked.clear();
        (self.books_due, self.definitions_due, self.silence_due) = (None, None, None);
        self.compare_due = None;
        self.definitions_attempts = 0;
        for wanted in &mut self.wanted {
            wanted.subscribed = false;
        }
        for known in 0..self.symbols.len() as Known {
            self.drop_book(known, now, out);
            self.symbols[known as usize].trades.ids.disconnected();
        }
    }

    fn next_timer(&self) -> Option<UnixNanos> {
        let books = [self.books_due, self.compare_due, self.watch.next(), self.backfill.next()];
        let dues = books.into_iter().chain([self.definitions_due, self.silence_due]);
        dues.flatten().min()
    }

    fn refresh(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        let Some(known) = self.instruments.index_of(instrument) else { return };
        self.instruments.tell(known, UnixNanos::ZERO, now, out);
        if self.takes(StreamKind::Book) {
            self.refresh_book(known, now, out);
        }
    }

    fn snapshot(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        if let Some(known) = self.instruments.index_of(instrument) {
            self.symbols[known as usize].book.tell_whole(now, out);
        }
    }

    fn last_trade(&self, instrument: InstrumentId) -> Option<u64> {
        let known = self.instruments.index_of(instrument)?;
        self.symbols[known as usize].trades.ids.last()
    }

    fn catch_up(&mut self, instrument: InstrumentId, last_trade: u64) {
        match self.instruments.index_of(instrument) {
            Some(known) => self.symbols[known as usize].trades.ids.catch_up(last_trade),
            None => Memory::catch_up(&mut self.memory, instrument, last_trade),
        }
    }

    fn trade_ids_are_contiguous(&self) -> bool {
        self.choices.trade_ids == IdRule::Contiguous
    }

    fn missing(&self, instrument: InstrumentId) -> &[Missing] {
        self.instruments.index_of(instrument).map_or(&[], |k| self.symbols[k as usize].trades.ids.missing())
    }

    fn take_missing(&mut self, instrument: InstrumentId, missing: &[Missing], now: UnixNanos) {
        let Some(k) = self.instruments.index_of(instrument) else { return };
        if self.symbols[k as usize].trades.ids.take_missing(missing) {
            self.backfill.wanted(k, now);
        }
    }

    fn book(&self, instrument: InstrumentId) -> Option<(&Book, &Trust)> {
        let book = &self.symbols[self.instruments.index_of(instrument)? as usize].book;
        Some((book.levels(), &book.trust))
    }

    fn instruments(&self) -> &InstrumentSet {
        &self.instruments
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// A symbol that cannot be taken in, as the error of the frame that names it.
pub(super) fn symbol_error(problem: impl ToString) -> FrameError {
    frame_error(0, "s", problem)
}
