//! Advanced Trade's protocol as a machine: products first, then subscriptions, then data.
//!
//! frame -> [`fast`], [`any_order`] or [`exact`] -> what it says, in [`Scratch`] -> its number judged -> applied and
//! told. Books and the trust in them are [`super::resync`]'s.

use super::answers::{Definitions, Wanted};
use super::choices::Choices;
use super::market::Market;
use super::messages::{Kind, Message, Scratch, Target, TradeMessage, View};
use super::resync::Sequence;
use super::spec::SPEC;
use super::{any_order, exact, fast, map, products, subscribe};
use crate::choices::{IdRule, Switch};
use crate::trades::{Backfill, Missing, Paging, Verdict};
use crate::{
    Counts, Defined, FrameError, InstrumentSet, Known, MachineError, Memory, Outbox, Reply, RequestId, Settings, Trust,
    VenueMachine, Watch,
};
use book::Book;
use model::{GapCause, Instrument, InstrumentId, Reason, StreamKind, StreamState, UnixNanos, Venue};
use scan::SymbolTable;
use wire::{Flags, SnapshotReason, Status};

/// What is known of the connection.
#[derive(Debug, Default)]
struct Connection {
    open: bool,
    /// When the last sound frame came, or the connection was opened.
    heard: UnixNanos,
    /// Another connection was asked for.
    given_up: bool,
}

/// The machine.
pub struct Advanced {
    pub(super) settings: Settings,
    pub(super) choices: Choices,
    pub(super) instruments: InstrumentSet,
    /// By the name data bears and by the product's own, which differ for an alias.
    pub(super) names: SymbolTable<Known>,
    pub(super) markets: Vec<Market>,
    pub(super) counts: Counts,
    pub(super) scratch: Scratch,
    pub(super) watch: Watch,
    pub(super) wanted: Vec<Wanted>,
    pub(super) definitions: Definitions,
    pub(super) sequence: Sequence,
    pub(super) last_beat: UnixNanos,
    pub(super) backfill: Backfill,
    connection: Connection,
    memories: Vec<(InstrumentId, Memory)>,
    /// Index of the first instrument the frame at hand teaches.
    learnt_from: Known,
}

impl Advanced {
    /// A machine that has seen nothing.
    pub fn new(settings: &Settings, choices: Choices) -> Result<Advanced, MachineError> {
        subscribe::check(settings)?;
        let fetches = choices.backfill == Switch::On && !settings.symbols.is_empty();
        Ok(Advanced {
            instruments: InstrumentSet::new(SPEC.venue),
            names: SymbolTable::new(),
            markets: vec![],
            counts: Counts::default(),
            scratch: Scratch::default(),
            watch: Watch::new(&settings.stale_after),
            wanted: Wanted::all(&settings.symbols),
            definitions: Definitions::default(),
            sequence: Sequence::default(),
            last_beat: UnixNanos::ZERO,
            backfill: Backfill::new(fetches, Paging::Down),
            connection: Connection::default(),
            memories: vec![],
            learnt_from: 0,
            settings: settings.clone(),
            choices,
        })
    }

    /// Whether instruments are learnt from whatever arrives, as when captures are decoded.
    pub(super) fn learns(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether frames can be sent.
    pub(super) fn is_open(&self) -> bool {
        self.connection.open
    }

    /// Whether a kind of stream is wanted.
    pub(super) fn takes(&self, stream: StreamKind) -> bool {
        self.settings.streams.contains(&stream)
    }

    /// Tells a state of an instrument, or of the whole venue.
    pub(super) fn tell(
        &self,
        of: Option<Known>,
        status: Status,
        why: (Reason, &str),
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let id = of.map_or(InstrumentId::NONE, |k| self.instruments.get(k).id);
        out.records.push_status(SPEC.venue, id, status, why.0, why.1, UnixNanos::ZERO, now);
    }

    /// Data of a stream came.
    #[inline]
    pub(super) fn seen(&mut self, k: Known, stream: StreamKind, mark: u64, now: UnixNanos, out: &mut Outbox) {
        if self.watch.seen(k, stream, mark, now) {
            self.tell(Some(k), Status::Stream(stream, StreamState::Live), (Reason::Ok, ""), now, out);
        }
    }

    /// The index of whom a message is about, once [`Advanced::prepare`] has run.
    #[inline]
    pub(super) fn known(&self, target: Target) -> Known {
        match target {
            Target::Known(k) => k,
            Target::New(n) => self.learnt_from + n as Known,
        }
    }

    /// Asks for another connection, once.
    pub(super) fn give_up(&mut self, reason: Reason, text: String, out: &mut Outbox) {
        self.connection.given_up = true;
        out.reconnect = Some((reason, text));
    }

    #[inline]
    fn read(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let view = View { names: &self.names, markets: &self.markets, learns: self.wanted.is_empty() };
        if let Some(message) = fast::read(frame, view, &mut self.scratch) {
            self.apply(message, received, out);
            return Ok(());
        }
        self.read_unusual(frame, received, out)
    }

    #[inline(never)]
    fn read_unusual(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let view = View { names: &self.names, markets: &self.markets, learns: self.wanted.is_empty() };
        if let Some(message) = any_order::trades(frame, view, &mut self.scratch) {
            self.counts.slow_path += 1;
            self.counts.unknown_fields += self.scratch.unknown_fields;
            self.apply(message, received, out);
            return Ok(());
        }
        let message = exact::read(frame, view, &mut self.scratch)?;
        if message == Message::Products {
            self.apply_products(received, out)?;
        } else {
            self.prepare(received, out)?;
        }
        self.apply(message, received, out);
        if matches!(message, Message::Trades | Message::Books | Message::Quotes | Message::Heartbeat) {
            self.counts.slow_path += 1;
        }
        self.counts.unknown_fields += self.scratch.unknown_fields;
        self.counts.unknown_symbols += self.scratch.unknown_symbols;
        self.counts.unused_types += self.scratch.without_quotes;
        Ok(())
    }

    /// Learns the instruments and widens the scales that a frame needs, or changes nothing.
    fn prepare(&mut self, now: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        if self.scratch.scales.is_empty() && self.scratch.names.is_empty() {
            return Ok(());
        }
        for s in &self.scratch.scales {
            let Target::Known(k) = s.target else { continue };
            let (market, definition) = (&self.markets[k as usize], self.instruments.get(k));
            if !market.fits(s.price, s.size) || products::widened(definition, s.price, s.size).is_none() {
                let problem = format!("{}: what is known does not fit 64 bits at the scale needed", definition.symbol);
                return Err(FrameError { offset: 0, field: "events", problem });
            }
        }
        let (names, scales) = (std::mem::take(&mut self.scratch.names), std::mem::take(&mut self.scratch.scales));
        self.learnt_from = self.instruments.len() as Known;
        for (n, name) in names.iter().enumerate() {
            let s = scales.iter().find(|s| s.target == Target::New(n));
            let (price, size) = s.map_or((0, 0), |s| (s.price, s.size));
            self.define(products::provisional(name, price, size), name, now, out);
        }
        for s in &scales {
            let Target::Known(k) = s.target else { continue };
            let wide = products::widened(self.instruments.get(k), s.price, s.size).expect("checked above");
            let name = self.markets[k as usize].data_name.clone();
            self.define(wide, &name, now, out);
        }
        (self.scratch.names, self.scratch.scales) = (names, scales);
        Ok(())
    }

    /// Takes in a definition that was checked to fit, and tells it when it is news.
    pub(super) fn define(&mut self, definition: Instrument, data_name: &str, now: UnixNanos, out: &mut Outbox) {
        let (price, size) = (definition.price_scale, definition.size_scale);
        let before = self.instruments.find(definition.venue_symbol.as_bytes()).map(|k| self.instruments.get(k).status);
        let defined =
            self.instruments.define(definition, UnixNanos::ZERO, now, out).expect("ids were checked to differ");
        let k = defined.index();
        if let Defined::New(_) = defined {
            self.add_market(k, data_name);
            if !self.markets[k as usize].trades.missing().is_empty() {
                self.backfill.wanted(k, now);
            }
        }
        self.counts.instruments += u64::from(!matches!(defined, Defined::Same(_)));
        self.markets[k as usize].rescale(price, size);
        let status = self.instruments.get(k).status;
        if before.is_some_and(|before| before != status) {
            self.tell(Some(k), Status::Instrument(status), (Reason::Venue, ""), now, out);
        }
        if self.markets[k as usize].ladder.trust.halt(Trust::halts(status), now) {
            self.tell_state(k, (Reason::Ok, ""), now, out);
        }
    }

    /// A market with what an earlier run knew of it.
    fn add_market(&mut self, k: Known, data_name: &str) {
        let definition = self.instruments.get(k);
        for name in [data_name, &definition.venue_symbol] {
            if self.names.get(name.as_bytes()).is_none() {
                self.names.insert(name.as_bytes(), k);
            }
        }
        let mut market = Market::new(definition, data_name.to_owned(), self.choices.trade_ids == IdRule::Contiguous);
        if let Some((_, memory)) = self.memories.iter().find(|(id, _)| *id == definition.id) {
            market.trades.remember(memory);
            market.ladder.gap = Some((GapCause::Restart, memory.last_seen));
        }
        self.markets.push(market);
    }

    /// Does what a frame says. Of one whose number was had before only trades are of use, as they have ids of their own.
    #[inline]
    fn apply(&mut self, message: Message, received: UnixNanos, out: &mut Outbox) {
        let news = self.follows(received, out);
        match message {
            Message::Trades => self.apply_trades(received, out),
            Message::Books if news => self.apply_books(received, out),
            Message::Books => self.counts.book_updates_old += self.scratch.books.len() as u64,
            Message::Quotes if news => self.apply_quotes(received, out),
            Message::Bars if news => self.apply_bars(received, out),
            Message::Heartbeat if news => self.apply_beat(received, out),
            Message::Subscriptions => self.counts.acks += 1,
            Message::Error => self.apply_error(received, out),
            Message::Unused => self.counts.unused_types += 1,
            Message::Unknown => self.counts.unknown_types += 1,
            Message::Products | Message::Quotes | Message::Bars | Message::Heartbeat => {}
        }
    }

    #[inline]
    fn apply_trades(&mut self, received: UnixNanos, out: &mut Outbox) {
        let mut trades = std::mem::take(&mut self.scratch.trades);
        // The venue writes several trades newest first; they are told oldest first.
        if trades.windows(2).any(|w| w[0].target != w[1].target || w[0].id > w[1].id) {
            trades.sort_by_key(|t| (self.known(t.target), t.id));
        }
        // The last record told of the run of trades of one instrument, to be marked if the run ends with a repeat.
        let mut told = None;
        for (n, t) in trades.iter().enumerate() {
            let k = self.known(t.target);
            let last = trades.get(n + 1).is_none_or(|next| next.target != t.target);
            if let Some(late) = self.judge_trade(k, t, received, out) {
                let (at, _) = out.records.mark();
                let flags =
                    late | (Flags::SNAPSHOT | Flags::LATE).when(t.kind == Kind::Snapshot) | Flags::LAST.when(last);
                map::trade(&self.markets[k as usize], t, self.choices.side, flags, received, &mut out.records);
                told = Some(at);
                self.counts.trades += 1;
            } else if let (true, Some(at)) = (last, told) {
                let header = *wire::Header::read(&out.records.words()[at..]).expect("just written");
                out.records.set_header(at, header.with_flags(header.flags() | Flags::LAST));
            }
            if last {
                told = None;
                self.seen(k, StreamKind::Trade, t.id, received, out);
            }
        }
        self.scratch.trades = trades;
    }

    /// With which flags a trade is to be told, unless it was told before. What is missing before it is told first.
    #[inline]
    fn judge_trade(&mut self, k: Known, t: &TradeMessage, received: UnixNanos, out: &mut Outbox) -> Option<Flags> {
        let m = &mut self.markets[k as usize];
        let (cause, from) = (m.trades.cause(), m.trades.received());
        let missing = match m.trades.take(t.id, t.time, received) {
            Verdict::Next | Verdict::First => return Some(Flags::EMPTY),
            Verdict::Fills => return Some(Flags::LATE),
            Verdict::Repeat => {
                self.counts.trades_repeated += 1;
                return None;
            }
            Verdict::Jump { first, last } => Some((first, last)),
            Verdict::Break => None,
        };
        map::gap(m, StreamKind::Trade, cause, missing, from, received, &mut out.records);
        self.counts.gaps += 1;
        self.backfill.wanted(k, received);
        Some(Flags::EMPTY)
    }

    #[inline]
    fn apply_quotes(&mut self, received: UnixNanos, out: &mut Outbox) {
        for n in 0..self.scratch.quotes.len() {
            let q = self.scratch.quotes[n];
            let k = self.known(q.target);
            map::quote(&self.markets[k as usize], &q, self.scratch.time, received, &mut out.records);
            self.counts.quotes += 1;
            self.compare_ticker(k, &q, received, out);
            self.seen(k, StreamKind::Quote, self.scratch.time.0, received, out);
        }
    }

    fn apply_bars(&mut self, received: UnixNanos, out: &mut Outbox) {
        let mut bars = std::mem::take(&mut self.scratch.bars);
        bars.sort_by_key(|b| (self.known(b.target), b.begin));
        for (n, b) in bars.iter().enumerate() {
            let k = self.known(b.target);
            let more = bars.get(n + 1).is_some_and(|next| next.target == b.target && next.begin > b.begin);
            let (m, sent) = (&mut self.markets[k as usize], self.scratch.time);
            self.counts.bars += map::bar(m, b, more, sent, received, &mut out.records);
            self.seen(k, StreamKind::Bar, 0, received, out);
        }
        self.scratch.bars = bars;
    }

    /// When the connection is to be given up for silence.
    fn silence_due(&self) -> Option<UnixNanos> {
        let limit = self.settings.stale_after.limit(StreamKind::Connection)?;
        (self.connection.open && !self.connection.given_up).then(|| self.connection.heard.after(limit))
    }

    /// When the last sound frame came.
    pub(super) fn heard(&self) -> UnixNanos {
        self.connection.heard
    }

    fn check_silence(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.silence_due().is_some_and(|due| due <= now) {
            let silent = now.since(self.connection.heard);
            self.give_up(Reason::Timeout, format!("not a frame for {} s", silent.as_secs()), out);
        }
    }

    fn check_streams(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.watch.is_due(now) {
            self.check_rhythms(now, out);
        }
        let Advanced { watch, instruments, counts, .. } = self;
        watch.check(now, |k, stream, silent| {
            counts.stale += 1;
            let text = format!("silent for {} s", silent.as_secs());
            let (id, status) = (instruments.get(k).id, Status::Stream(stream, StreamState::Stale));
            out.records.push_status(SPEC.venue, id, status, Reason::Timeout, &text, UnixNanos::ZERO, now);
        });
    }
}

impl VenueMachine for Advanced {
    fn venue(&self) -> Venue {
        SPEC.venue
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        self.memories.push((instrument, memory));
    }

    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connection = Connection { open: true, heard: now, given_up: false };
        self.backfill.connected();
        self.subscribe_heartbeats(out);
        if !self.learns() {
            self.subscribe(now, out);
            self.begin_definitions(now, out);
        }
    }

    #[inline]
    fn on_frame(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        self.counts.frames += 1;
        match self.read(frame, received, out) {
            Ok(()) => {
                self.connection.heard = received;
                Ok(())
            }
            Err(error) => {
                self.counts.malformed += 1;
                Err(error)
            }
        }
    }

    fn on_response(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        if self.definitions.pending == Some(request) {
            self.definitions.pending = None;
            self.on_products(reply, now, out);
        } else {
            self.on_missed(request, reply, now, out);
        }
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.check_streams(now, out);
        self.retry_books(now, out);
        self.fetch_definitions(now, out);
        self.ask_missed(now, out);
        self.check_silence(now, out);
    }

    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connection = Connection::default();
        self.definitions = Definitions::default();
        self.watch.stop();
        self.backfill.disconnected();
        self.books_lost(now, out);
        for m in &mut self.markets {
            m.subscribed = false;
            m.trades.disconnected();
        }
    }

    #[inline]
    fn next_timer(&self) -> Option<UnixNanos> {
        let (books, missed) = (self.sequence.retry_at(), self.backfill.next());
        let dues = [self.watch.next(), books, missed, self.definitions.due, self.silence_due()];
        dues.into_iter().flatten().min()
    }

    fn refresh(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        let Some(k) = self.instruments.index_of(instrument) else { return };
        self.instruments.tell(k, UnixNanos::ZERO, now, out);
        let m = &self.markets[k as usize];
        self.tell_state(k, (m.ladder.trust.reason(), ""), now, out);
        if m.ladder.trust.is_live() {
            let depth = self.settings.snapshot_depth as usize;
            map::snapshot(m, SnapshotReason::Periodic, depth, now, &mut out.records);
        }
    }

    fn snapshot(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        let Some(k) = self.instruments.index_of(instrument) else { return };
        let m = &self.markets[k as usize];
        if m.ladder.trust.is_live() {
            map::snapshot(m, SnapshotReason::Sync, usize::MAX, now, &mut out.records);
        }
    }

    fn last_trade(&self, instrument: InstrumentId) -> Option<u64> {
        let k = self.instruments.index_of(instrument)?;
        self.markets[k as usize].trades.last()
    }

    fn catch_up(&mut self, instrument: InstrumentId, last_trade: u64) {
        match self.instruments.index_of(instrument) {
            Some(k) => self.markets[k as usize].trades.catch_up(last_trade),
            None => Memory::catch_up(&mut self.memories, instrument, last_trade),
        }
    }

    fn trade_ids_are_contiguous(&self) -> bool {
        self.choices.trade_ids == IdRule::Contiguous
    }

    fn missing(&self, instrument: InstrumentId) -> &[Missing] {
        self.instruments.index_of(instrument).map_or(&[], |k| self.markets[k as usize].trades.missing())
    }

    fn take_missing(&mut self, instrument: InstrumentId, missing: &[Missing], now: UnixNanos) {
        let Some(k) = self.instruments.index_of(instrument) else { return };
        if self.markets[k as usize].trades.take_missing(missing) {
            self.backfill.wanted(k, now);
        }
    }

    fn book(&self, instrument: InstrumentId) -> Option<(&Book, &Trust)> {
        let ladder = &self.markets[self.instruments.index_of(instrument)? as usize].ladder;
        Some((&ladder.book, &ladder.trust))
    }

    fn instruments(&self) -> &InstrumentSet {
        &self.instruments
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}
