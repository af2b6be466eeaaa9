//! Alpaca's protocol as a machine, one for each of its endpoints: shares or crypto.
//!
//! frame -> [`fast`], [`packed`] or [`exact`] -> what it says, in [`Scratch`] -> applied and told. The session is
//! [`super::login`]'s, books and the trust in them [`super::books`]'s, missed trades [`super::backfill`]'s, hidden ones
//! [`super::audit`]'s.

use super::audit::Audit;
use super::backfill::Fills;
use super::choices::{Choices, QuoteSizes};
use super::definitions;
use super::login::{Connection, Hold, Phase};
use super::market::Market;
use super::messages::{Control, CorrectionMessage, Item, Scratch, StatusMessage, Target, TradeMessage, View};
use super::recent::Key;
use super::spec::SPEC;
use super::{exact, fast, map, packed};
use crate::{
    Counts, Defined, FrameError, InstrumentSet, Known, Memory, Outbox, Reply, RequestId, Settings, Trust, VenueMachine,
    Watch,
};
use book::Book;
use model::{GapCause, Instrument, InstrumentId, Reason, StreamKind, StreamState, UnixNanos, Venue};
use wire::{Flags, SnapshotReason, Status};

/// Shares in a round lot, which nearly every share has.
const ROUND_LOT: i64 = 100;

/// Which of the venue's endpoints a machine speaks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Shares.
    Stocks,
    /// Pairs of currencies.
    Crypto,
}

/// The machine.
pub struct Alpaca {
    pub(super) settings: Settings,
    pub(super) choices: Choices,
    pub(super) line: Line,
    pub(super) instruments: InstrumentSet,
    pub(super) markets: Vec<Market>,
    pub(super) counts: Counts,
    pub(super) scratch: Scratch,
    pub(super) watch: Watch,
    /// When the first book is to be asked for again.
    pub(super) next_retry: Option<UnixNanos>,
    /// The venue's symbols that were asked for; empty when whatever arrives is learnt.
    pub(super) wanted: Vec<String>,
    pub(super) connection: Connection,
    pub(super) hold: Hold,
    pub(super) fills: Fills,
    pub(super) audit: Audit,
    memories: Vec<(InstrumentId, Memory)>,
    /// Index of the first instrument the frame at hand teaches.
    learnt_from: Known,
}

impl Alpaca {
    /// A machine that has seen nothing. `wanted` are the venue's symbols, all of one line.
    pub fn new(settings: &Settings, choices: Choices, line: Line, wanted: Vec<String>) -> Alpaca {
        Alpaca {
            instruments: InstrumentSet::new(SPEC.venue),
            markets: vec![],
            counts: Counts::default(),
            scratch: Scratch::default(),
            watch: Watch::new(&settings.stale_after),
            next_retry: None,
            connection: Connection::default(),
            hold: Hold::default(),
            fills: Fills::default(),
            audit: Audit::new(settings, &choices, line, wanted.is_empty()),
            memories: vec![],
            learnt_from: 0,
            settings: settings.clone(),
            choices,
            line,
            wanted,
        }
    }

    /// Whether instruments are learnt from whatever arrives, as when captures are decoded.
    pub(super) fn learns(&self) -> bool {
        self.wanted.is_empty()
    }

    /// What reading needs to know, and where it puts what it reads.
    #[inline]
    pub(super) fn view(&mut self) -> (View<'_>, &mut Scratch) {
        let lot = if self.choices.quote_sizes == QuoteSizes::Shares { 1 } else { ROUND_LOT };
        let Alpaca { instruments, markets, wanted, scratch, .. } = self;
        (View { instruments, markets, wanted, lot }, scratch)
    }

    /// Data of a stream came.
    #[inline]
    pub(super) fn seen(&mut self, k: Known, stream: StreamKind, mark: u64, now: UnixNanos, out: &mut Outbox) {
        if self.watch.seen(k, stream, mark, now) {
            self.tell(Some(k), Status::Stream(stream, StreamState::Live), (Reason::Ok, ""), now, out);
        }
    }

    /// The index of whom a message is about, once [`Alpaca::prepare`] has run.
    #[inline]
    pub(super) fn known(&self, target: Target) -> Known {
        match target {
            Target::Known(k) => k,
            Target::New(n) => self.learnt_from + n as Known,
        }
    }

    #[inline]
    fn read(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let (view, scratch) = self.view();
        let usual = match frame.first() {
            Some(first) if *first >= 0x80 => packed::read(frame, view, scratch),
            _ => fast::read(frame, view, scratch),
        };
        if usual.is_none() {
            self.read_exact(frame, received, out)?;
        }
        let mut items = std::mem::take(&mut self.scratch.items);
        for item in &items {
            self.apply(item, received, out);
        }
        items.clear();
        self.scratch.items = items;
        Ok(())
    }

    #[inline(never)]
    fn read_exact(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let (view, scratch) = self.view();
        exact::read(frame, view, scratch)?;
        self.prepare(received, out)?;
        let hot = |item: &Item| matches!(item, Item::Trade(_) | Item::Quote(_) | Item::Book(_));
        self.counts.slow_path += u64::from(self.scratch.items.iter().any(hot));
        self.counts.unknown_fields += self.scratch.unknown_fields;
        Ok(())
    }

    /// Learns the instruments and widens the scales that a frame needs, or changes nothing.
    pub(super) fn prepare(&mut self, now: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        if self.scratch.scales.is_empty() && self.scratch.names.is_empty() {
            return Ok(());
        }
        for s in &self.scratch.scales {
            let Target::Known(k) = s.target else { continue };
            if !self.markets[k as usize].fits(s.price, s.size) {
                let symbol = &self.instruments.get(k).symbol;
                let problem = format!("{symbol}: the book does not fit 64 bits at the scale needed");
                return Err(FrameError { offset: 0, field: "message", problem });
            }
        }
        let (names, scales) = (std::mem::take(&mut self.scratch.names), std::mem::take(&mut self.scratch.scales));
        self.learnt_from = self.instruments.len() as Known;
        for (n, name) in names.iter().enumerate() {
            let s = scales.iter().find(|s| s.target == Target::New(n));
            let (price, size) = s.map_or(definitions::scales(name), |s| (s.price, s.size));
            self.define(definitions::provisional(name, price, size), now, out);
        }
        for s in &scales {
            let Target::Known(k) = s.target else { continue };
            self.define(definitions::widened(self.instruments.get(k), s.price, s.size), now, out);
        }
        (self.scratch.names, self.scratch.scales) = (names, scales);
        Ok(())
    }

    /// Takes in a definition that was checked to fit, and tells it when it is news.
    pub(super) fn define(&mut self, definition: Instrument, now: UnixNanos, out: &mut Outbox) -> Known {
        let (price, size) = (definition.price_scale, definition.size_scale);
        let defined =
            self.instruments.define(definition, UnixNanos::ZERO, now, out).expect("ids were checked to differ");
        let k = defined.index();
        if let Defined::New(_) = defined {
            let market = self.new_market(k);
            self.markets.push(market);
        }
        self.counts.instruments += u64::from(!matches!(defined, Defined::Same(_)));
        self.markets[k as usize].rescale(price, size);
        k
    }

    /// A market with what an earlier run knew of it.
    fn new_market(&mut self, k: Known) -> Market {
        let definition = self.instruments.get(k);
        let mut market = Market::new(definition);
        if let Some((_, memory)) = self.memories.iter().find(|(id, _)| *id == definition.id) {
            self.trades_remembered(&mut market, memory);
            if market.crypto {
                market.ladder.gap = Some((GapCause::Restart, memory.last_seen));
            }
        }
        market
    }

    #[inline]
    fn apply(&mut self, item: &Item, received: UnixNanos, out: &mut Outbox) {
        match item {
            Item::Trade(t) => {
                let k = self.known(t.target);
                self.apply_trade(k, t, received, out);
                self.seen(k, StreamKind::Trade, t.time.0, received, out);
            }
            Item::Quote(q) => {
                let k = self.known(q.target);
                map::quote(&self.markets[k as usize], q, received, &mut out.records);
                self.counts.quotes += 1;
                self.compare_with_book(k, q, received, out);
                self.seen(k, StreamKind::Quote, q.time.0, received, out);
            }
            Item::Book(b) => self.apply_book(self.known(b.target), b, received, out),
            other => self.apply_rare(other, received, out),
        }
    }

    #[inline(never)]
    fn apply_rare(&mut self, item: &Item, received: UnixNanos, out: &mut Outbox) {
        match item {
            Item::Bar(b) => {
                let k = self.known(b.target);
                map::bar(&self.markets[k as usize], b, received, &mut out.records);
                self.counts.bars += 1;
                self.seen(k, StreamKind::Bar, 0, received, out);
            }
            Item::Status(s) => self.apply_status(s, received, out),
            Item::Band(b) => {
                let k = self.known(b.target);
                map::band(&self.markets[k as usize], b, received, &mut out.records);
                self.counts.venue_status += 1;
            }
            Item::Correction(c) => {
                let k = self.known(c.target);
                map::correction(&self.markets[k as usize], c, received, &mut out.records);
                self.counts.corrections += 1;
                self.note_corrected(k, c, received);
            }
            Item::Control(control) => match &**control {
                Control::Success(text) => self.on_success(text, received, out),
                Control::Error(code, text) => self.on_error(*code, text, received, out),
                Control::Subscription(channels) => self.on_subscription(channels, received, out),
            },
            Item::Unused => self.counts.unused_types += 1,
            Item::Unknown => self.counts.unknown_types += 1,
            Item::Stranger => self.counts.unknown_symbols += 1,
            Item::Trade(_) | Item::Quote(_) | Item::Book(_) => unreachable!("applied by the caller"),
        }
    }

    /// A trade of the stream.
    #[inline]
    fn apply_trade(&mut self, k: Known, t: &TradeMessage, received: UnixNanos, out: &mut Outbox) {
        if self.markets[k as usize].trades.absence.is_some() && self.after_absence(k, t, received, out) {
            self.counts.trades_repeated += 1;
            return;
        }
        self.tell_trade(k, t, Flags::LAST, received, out);
    }

    /// Tells a trade, unless it was told before; whether it was news.
    #[inline]
    pub(super) fn tell_trade(
        &mut self,
        k: Known,
        t: &TradeMessage,
        flags: Flags,
        received: UnixNanos,
        out: &mut Outbox,
    ) -> bool {
        let m = &mut self.markets[k as usize];
        if let Some(id) = t.id {
            let exchange = self.scratch.text(t.exchange);
            let key = Key::of(id, exchange, t.time, m.crypto);
            if !m.trades.recent.insert(key) {
                self.counts.trades_repeated += 1;
                return false;
            }
            self.audit.note(k, key, t.time, flags.contains(Flags::LATE), received, &mut m.trades);
        }
        m.trades.newest = m.trades.newest.max(t.time);
        if let (Some(absence), Some(id)) = (&mut m.trades.absence, t.id) {
            absence.told.insert((id, t.time));
        }
        map::trade(m, t, &self.scratch, flags, received, &mut out.records);
        self.counts.trades += 1;
        true
    }

    /// REST has the trade as it was corrected, under its new id: that is no news.
    fn note_corrected(&mut self, k: Known, c: &CorrectionMessage, received: UnixNanos) {
        let Some((id, ..)) = c.corrected else { return };
        let m = &mut self.markets[k as usize];
        let key = Key::of(id, self.scratch.text(c.exchange), c.time, m.crypto);
        if m.trades.recent.insert(key) {
            self.audit.note(k, key, c.time, true, received, &mut m.trades);
        }
    }

    fn apply_status(&mut self, s: &StatusMessage, received: UnixNanos, out: &mut Outbox) {
        let k = self.known(s.target);
        self.counts.venue_status += 1;
        let known = self.instruments.get(k);
        let status = definitions::status_of(&s.status).unwrap_or(known.status);
        if status != known.status {
            self.define(Instrument { status, ..known.clone() }, received, out);
        }
        let parts = [[&s.status, &s.status_text], [&s.reason, &s.reason_text]];
        let parts = parts.map(|words| words.map(|w| w.as_str()).join(" ").trim().to_owned());
        let text = parts.iter().filter(|p| !p.is_empty()).map(String::as_str).collect::<Vec<_>>().join("; ");
        let (id, status) = (self.instruments.get(k).id, Status::Instrument(status));
        out.records.push_status(SPEC.venue, id, status, Reason::Venue, &text, s.time, received);
        let status = self.instruments.get(k).status;
        if self.markets[k as usize].ladder.trust.halt(Trust::halts(status), received) {
            self.tell_state(k, (Reason::Ok, ""), received, out);
        }
    }

    fn check_streams(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.watch.is_due(now) {
            self.check_rhythms(now, out);
        }
        let Alpaca { watch, instruments, counts, .. } = self;
        watch.check(now, |k, stream, silent| {
            counts.stale += 1;
            let text = format!("silent for {} s", silent.as_secs());
            let (id, status) = (instruments.get(k).id, Status::Stream(stream, StreamState::Stale));
            out.records.push_status(SPEC.venue, id, status, Reason::Timeout, &text, UnixNanos::ZERO, now);
        });
    }
}

impl VenueMachine for Alpaca {
    fn venue(&self) -> Venue {
        SPEC.venue
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        self.memories.push((instrument, memory));
    }

    fn on_connected(&mut self, now: UnixNanos, _out: &mut Outbox) {
        self.session_opened(now);
    }

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
        if !self.on_audited(request, reply, now, out) {
            self.on_trades_fetched(request, reply, now, out);
        }
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.check_streams(now, out);
        self.retry_books(now, out);
        self.fetch_trades(now, out);
        self.audit(now, out);
        self.check_session(now, out);
    }

    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox) {
        let was_ready = self.connection.phase == Phase::Ready;
        let heard = self.connection.heard;
        self.connection = Connection::default();
        self.watch.stop();
        self.audit.cut();
        for k in 0..self.markets.len() as Known {
            self.book_lost(k, now, out);
        }
        if was_ready {
            self.trades_cut(heard);
        }
    }

    #[inline]
    fn next_timer(&self) -> Option<UnixNanos> {
        [self.watch.next(), self.next_retry, self.fills.due(), self.audit.due(), self.session_due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn refresh(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        self.tell_again(instrument, self.settings.snapshot_depth as usize, now, out);
    }

    fn snapshot(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        self.tell_again(instrument, usize::MAX, now, out);
    }

    /// Ids rise by no rule, so a last one orders nothing; and no second connection ever joins one, as the venue refuses it.
    fn trade_ids_are_contiguous(&self) -> bool {
        false
    }

    fn book(&self, instrument: InstrumentId) -> Option<(&Book, &Trust)> {
        let market = &self.markets[self.instruments.index_of(instrument)? as usize];
        market.crypto.then_some((&market.ladder.book, &market.ladder.trust))
    }

    fn instruments(&self) -> &InstrumentSet {
        &self.instruments
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Alpaca {
    /// Definition, state and, of a live book, so many levels a side.
    fn tell_again(&self, instrument: InstrumentId, depth: usize, now: UnixNanos, out: &mut Outbox) {
        let Some(k) = self.instruments.index_of(instrument) else { return };
        self.instruments.tell(k, UnixNanos::ZERO, now, out);
        let m = &self.markets[k as usize];
        if !m.crypto {
            return;
        }
        self.tell_state(k, (m.ladder.trust.reason(), ""), now, out);
        if m.ladder.trust.is_live() {
            map::snapshot(m, SnapshotReason::Periodic, depth, now, &mut out.records);
        }
    }
}
