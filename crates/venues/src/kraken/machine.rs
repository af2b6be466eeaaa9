//! Kraken's protocol as a machine: instruments first, then subscriptions, then data.
//!
//! frame -> [`v2`] or [`v1`] -> what it says, in [`Scratch`] -> applied and told. Books and the trust in them are
//! [`super::resync`]'s.

use super::checksum::Divisors;
use super::choices::{Api, ChecksumRule, Choices, Heartbeat};
use super::market::Market;
use super::messages::{Kind, Message, Scratch, Target, TradeMessage, View};
use super::spec::SPEC;
use super::{map, pairs, subscribe, v1, v2};
use crate::choices::{IdRule, Switch};
use crate::trades::{self, Backfill, Missing, Paging, Verdict};
use crate::{
    Counts, Defined, FrameError, InstrumentSet, Known, MachineError, Memory, Outbox, Outgoing, Reply, RequestId,
    Settings, Trust, VenueMachine, Watch,
};
use book::Book;
use model::{
    Decimal, GapCause, Instrument, InstrumentId, Reason, StreamKind, StreamState, UnixNanos, Venue, canonical_symbol,
};
use std::collections::VecDeque;
use std::time::Duration;
use wire::{Flags, SnapshotReason, Status};

/// How long the instrument snapshot may take before another connection is tried.
const DEFINITIONS_WAIT: Duration = Duration::from_secs(10);

/// How often definitions are asked for again where no channel tells their changes.
const DEFINITIONS_EVERY: Duration = Duration::from_secs(300);

/// The first wait after an attempt that failed; doubled each time.
const DEFINITIONS_RETRY: Duration = Duration::from_secs(1);

/// Requests whose answers we can still tell apart; older ones were answered long ago.
const REQUESTS_KEPT: usize = 1024;

/// A symbol that was asked for, in either spelling.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As asked for.
    name: String,
    /// With assets named as they are today.
    spelled: String,
    found: bool,
}

impl Wanted {
    fn new(name: &str) -> Wanted {
        Wanted { name: name.to_owned(), spelled: pairs::new_spelling(name).into_owned(), found: false }
    }

    /// Whether a pair is meant.
    pub fn means(&self, symbol: &str, base: &str, quote: &str) -> bool {
        self.spelled == symbol || self.spelled == canonical_symbol(base, quote)
    }
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    open: bool,
    /// When the last sound frame came, or the connection was opened.
    heard: UnixNanos,
    /// A ping is under way.
    pinged: bool,
    /// Another connection was asked for.
    given_up: bool,
    /// Until when the instrument snapshot must have come.
    definitions_by: Option<UnixNanos>,
    /// Definitions asked for by REST, where the protocol has no channel for them.
    definitions_asked: Option<RequestId>,
    /// When to ask for them again, and how often that failed in a row.
    definitions_due: Option<UnixNanos>,
    definitions_failed: u32,
    /// All definitions came once; who is not among them was told.
    defined: bool,
    /// Requests sent, with the stream they were for.
    pub(super) requests: VecDeque<(u64, StreamKind)>,
}

/// The machine.
pub struct Kraken {
    pub(super) settings: Settings,
    pub(super) choices: Choices,
    pub(super) instruments: InstrumentSet,
    pub(super) markets: Vec<Market>,
    pub(super) counts: Counts,
    pub(super) scratch: Scratch,
    pub(super) watch: Watch,
    /// When the first book is to be asked for again.
    pub(super) next_retry: Option<UnixNanos>,
    pub(super) depth: u32,
    pub(super) bar_minutes: u32,
    wanted: Vec<Wanted>,
    memories: Vec<(InstrumentId, Memory)>,
    pub(super) depths: Vec<(String, u32)>,
    pub(super) connection: Connection,
    pub(super) backfill: Backfill,
    last_request: u64,
    /// Index of the first instrument the frame at hand teaches.
    learnt_from: Known,
}

impl Kraken {
    /// A machine that has seen nothing.
    pub fn new(settings: &Settings, choices: Choices) -> Result<Kraken, MachineError> {
        let (depth, bar_minutes) = subscribe::check(settings)?;
        let fetches = choices.backfill == Switch::On && !settings.symbols.is_empty();
        Ok(Kraken {
            instruments: InstrumentSet::new(SPEC.venue),
            markets: vec![],
            counts: Counts::default(),
            scratch: Scratch::default(),
            watch: Watch::new(&settings.stale_after),
            next_retry: None,
            depth,
            bar_minutes,
            wanted: settings.symbols.iter().map(|s| Wanted::new(s)).collect(),
            memories: vec![],
            depths: vec![],
            connection: Connection::default(),
            backfill: Backfill::new(fetches, Paging::Up),
            last_request: 0,
            learnt_from: 0,
            settings: settings.clone(),
            choices,
        })
    }

    /// Whether instruments are learnt from whatever arrives, as when captures are decoded.
    pub(super) fn learns(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The protocol of what is sent.
    pub(super) fn speaks(&self) -> Api {
        self.choices.api.unwrap_or_default()
    }

    /// Whether a frame is of the older protocol. Captures are told apart by what they hold, unless a choice says.
    #[inline(always)]
    fn is_v1(&self, frame: &[u8]) -> bool {
        match self.choices.api {
            Some(api) => api == Api::V1,
            None => self.learns() && (frame.first() == Some(&b'[') || frame.starts_with(b"{\"event\"")),
        }
    }

    /// Whether frames can be sent.
    pub(super) fn is_open(&self) -> bool {
        self.connection.open
    }

    /// When the last sound frame came.
    pub(super) fn heard(&self) -> UnixNanos {
        self.connection.heard
    }

    /// Sends a request for a stream.
    pub(super) fn send(&mut self, stream: StreamKind, method: &str, params: &str, out: &mut Outbox) {
        self.last_request += 1;
        out.frames.push(Outgoing::text(subscribe::request(method, params, self.last_request, &self.choices)));
        if self.connection.requests.len() == REQUESTS_KEPT {
            self.connection.requests.pop_front();
        }
        self.connection.requests.push_back((self.last_request, stream));
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

    /// The index of whom a message is about, once [`Kraken::prepare`] has run.
    #[inline]
    pub(super) fn known(&self, target: Target) -> Known {
        match target {
            Target::Known(k) => k,
            Target::New(n) => self.learnt_from + n as Known,
        }
    }

    #[inline]
    fn read(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let view = View { instruments: &self.instruments, markets: &self.markets, wanted: &self.wanted };
        let v1 = self.is_v1(frame);
        let usual = if v1 {
            v1::fast::read(frame, view, &mut self.scratch)
        } else {
            v2::fast::read(frame, view, &mut self.scratch)
        };
        if let Some(message) = usual {
            self.apply(message, received, out);
            return Ok(());
        }
        self.read_exact(frame, v1, received, out)
    }

    #[inline(never)]
    fn read_exact(&mut self, frame: &[u8], v1: bool, received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let view = View { instruments: &self.instruments, markets: &self.markets, wanted: &self.wanted };
        let v1 = v1 || (self.choices.api.is_none() && self.learns() && v1::exact::is_event(frame));
        if let Some(message) = v2::any_order::trades(frame, view, &mut self.scratch).filter(|_| !v1) {
            self.counts.slow_path += 1;
            self.counts.unknown_fields += self.scratch.unknown_fields;
            self.apply(message, received, out);
            return Ok(());
        }
        self.scratch.answer = Default::default();
        let message = match v1 {
            true => v1::exact::read(frame, view, &mut self.scratch)?,
            false => v2::exact::read(frame, view, &mut self.scratch)?,
        };
        if let Message::Pairs(kind) = message {
            self.apply_pairs(kind, received, out)?;
        } else {
            self.prepare(received, out)?;
            self.apply(message, received, out);
        }
        if matches!(message, Message::Trades(_) | Message::Books(_) | Message::Quotes(_) | Message::Heartbeat) {
            self.counts.slow_path += 1;
        }
        self.counts.unknown_fields += self.scratch.unknown_fields;
        self.counts.unknown_symbols += self.scratch.unknown_symbols;
        Ok(())
    }

    /// Learns the instruments and widens the scales that a frame needs, or changes nothing.
    fn prepare(&mut self, now: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        if self.scratch.scales.is_empty() && self.scratch.names.is_empty() {
            return Ok(());
        }
        for s in &self.scratch.scales {
            let Target::Known(k) = s.target else { continue };
            if !self.can_widen(k, s.price, s.size) {
                let symbol = &self.instruments.get(k).symbol;
                let problem = format!("{symbol}: what is known does not fit 64 bits at the scale needed");
                return Err(FrameError { offset: 0, field: "data", problem });
            }
        }
        let (names, scales) = (std::mem::take(&mut self.scratch.names), std::mem::take(&mut self.scratch.scales));
        self.learnt_from = self.instruments.len() as Known;
        for (n, name) in names.iter().enumerate() {
            let s = scales.iter().find(|s| s.target == Target::New(n));
            let (price, size) = s.map_or((0, 0), |s| (s.price, s.size));
            self.define(pairs::provisional(name, price, size), true, Divisors::default(), now, out);
        }
        // A book tells the precision its checksum is made with; other streams leave it as it was.
        let books = !self.scratch.books.is_empty();
        for s in &scales {
            let Target::Known(k) = s.target else { continue };
            self.widen(k, (s.price, s.size), books, now, out);
        }
        (self.scratch.names, self.scratch.scales) = (names, scales);
        Ok(())
    }

    /// Whether all that is known of an instrument fits 64 bits at these scales.
    pub(super) fn can_widen(&self, k: Known, price: u8, size: u8) -> bool {
        self.markets[k as usize].fits(price, size) && widened(self.instruments.get(k), price, size).is_some()
    }

    /// Brings an instrument to scales that were checked to fit. `books`: a book has them, and its checksum with it.
    pub(super) fn widen(&mut self, k: Known, (price, size): (u8, u8), books: bool, now: UnixNanos, out: &mut Outbox) {
        let m = &self.markets[k as usize];
        let by = |known: i64, from: u8, to: u8| match to.saturating_sub(from) {
            0 => known,
            _ if books => 1,
            more => known.saturating_mul(10i64.pow(u32::from(more))),
        };
        let by = Divisors { price: by(m.by.price, m.price_scale, price), size: by(m.by.size, m.size_scale, size) };
        let definition = widened(self.instruments.get(k), price, size).expect("the caller checked that it fits");
        self.define(definition, m.provisional, by, now, out);
    }

    /// Takes in a definition that was checked to fit, and tells it when it is news.
    fn define(
        &mut self,
        definition: Instrument,
        provisional: bool,
        by: Divisors,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Known {
        let (price, size) = (definition.price_scale, definition.size_scale);
        let before = self.instruments.find(definition.venue_symbol.as_bytes()).map(|k| self.instruments.get(k).status);
        let defined =
            self.instruments.define(definition, UnixNanos::ZERO, now, out).expect("ids were checked to differ");
        let k = defined.index();
        if let Defined::New(_) = defined {
            let market = self.new_market(k);
            if !market.trades.missing().is_empty() || !market.unnumbered.missing().is_empty() {
                self.backfill.wanted(k, now);
            }
            self.markets.push(market);
            let symbol = self.instruments.get(k).venue_symbol.clone();
            self.instruments.also_known_as(pairs::old_spelling(&symbol).as_bytes(), k);
        }
        self.counts.instruments += u64::from(!matches!(defined, Defined::Same(_)));
        let m = &mut self.markets[k as usize];
        m.rescale(price, size);
        (m.provisional, m.by) = (provisional, by);
        let status = self.instruments.get(k).status;
        if before.is_some_and(|before| before != status) {
            self.tell(Some(k), Status::Instrument(status), (Reason::Venue, ""), now, out);
        }
        if self.markets[k as usize].ladder.trust.halt(Trust::halts(status), now) {
            self.tell_state(k, (Reason::Ok, ""), now, out);
        }
        k
    }

    /// A market with what an earlier run knew of it.
    fn new_market(&mut self, k: Known) -> Market {
        let definition = self.instruments.get(k);
        let mut market = Market::new(definition, self.choices.trade_ids == IdRule::Contiguous);
        if let Some((_, memory)) = self.memories.iter().find(|(id, _)| *id == definition.id) {
            market.trades.remember(memory);
            if self.speaks() == Api::V1 {
                market.unnumbered.remember(memory);
            }
            market.ladder.gap = Some((GapCause::Restart, memory.last_seen));
        }
        if let Some((_, depth)) = self.depths.iter().find(|(symbol, _)| *symbol == definition.venue_symbol) {
            market.ladder.depth = *depth;
        }
        market
    }

    /// Definitions of the venue: checked as a whole, then taken in, then subscribed to.
    fn apply_pairs(&mut self, kind: Kind, now: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let bad = |problem: String| FrameError { offset: 0, field: "pairs", problem };
        let mut definitions = vec![];
        for pair in &self.scratch.pairs {
            let known = self.instruments.find(pair.symbol.as_bytes());
            let definition = pairs::definition(pair, known.map(|k| self.instruments.get(k)))
                .map_err(|e| bad(format!("{}: {e}", pair.symbol)))?;
            let fits =
                known.is_none_or(|k| self.markets[k as usize].fits(definition.price_scale, definition.size_scale));
            if !fits {
                return Err(bad(format!("{}: the book does not fit 64 bits at the new scale", pair.symbol)));
            }
            let others = definitions.iter().map(|(d, _): &(Instrument, Divisors)| d).chain(self.instruments.iter());
            if let Some(other) = others.into_iter().find(|o| o.id == definition.id && o.venue_symbol != pair.symbol) {
                let symbol = &other.venue_symbol;
                return Err(bad(format!("{} and {symbol} have the same id {}", pair.symbol, definition.id)));
            }
            let factor = |scale: u8, precision: u8| 10i64.pow(u32::from(scale - precision));
            let by = match (self.speaks(), known) {
                (Api::V2, _) | (Api::V1, None) => Divisors {
                    price: factor(definition.price_scale, pair.price_precision),
                    size: factor(definition.size_scale, pair.size_precision),
                },
                // The digits of the older checksum are those of its books, which write more than the precision.
                (Api::V1, Some(k)) => {
                    let m = &self.markets[k as usize];
                    Divisors {
                        price: m.by.price.saturating_mul(factor(definition.price_scale, m.price_scale)),
                        size: m.by.size.saturating_mul(factor(definition.size_scale, m.size_scale)),
                    }
                }
            };
            definitions.push((definition, by));
        }
        for (definition, by) in definitions {
            for w in &mut self.wanted {
                w.found |= w.means(&definition.venue_symbol, &definition.base, &definition.quote);
            }
            self.define(definition, false, by, now, out);
        }
        if kind == Kind::Snapshot {
            self.connection.definitions_by = None;
            if !std::mem::replace(&mut self.connection.defined, true) {
                self.refuse_unknown(now, out);
            }
        }
        self.subscribe(now, out);
        Ok(())
    }

    /// Asks for the definitions of all pairs, unless nobody is to be defined.
    fn ask_definitions(&mut self, out: &mut Outbox) {
        self.connection.definitions_due = None;
        if !self.learns() {
            self.connection.definitions_asked = Some(out.request(v1::definitions::PATH.to_owned(), 1));
        }
    }

    fn take_definitions(&mut self, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) -> Result<(), String> {
        let body = match reply {
            Reply::Http { status: 200, body, .. } => body,
            Reply::Http { status, .. } => return Err(format!("HTTP status {status}")),
            Reply::Failed(why) => return Err(why.to_owned()),
        };
        self.scratch.pairs = v1::definitions::read(body, &self.wanted)?;
        self.apply_pairs(Kind::Snapshot, now, out).map_err(|e| e.to_string())?;
        self.connection.definitions_failed = 0;
        self.connection.definitions_due = Some(now.after(DEFINITIONS_EVERY));
        Ok(())
    }

    /// Symbols that were asked for and do not exist.
    fn refuse_unknown(&mut self, now: UnixNanos, out: &mut Outbox) {
        for w in self.wanted.iter().filter(|w| !w.found) {
            let text = format!("{} is no pair of kraken's: check its spelling, as in BTC-USD or BTC/USD", w.name);
            let status = Status::Stream(StreamKind::Instrument, StreamState::Down);
            self.tell(None, status, (Reason::Refused, &text), now, out);
            self.counts.refusals += 1;
        }
    }

    #[inline]
    fn apply(&mut self, message: Message, received: UnixNanos, out: &mut Outbox) {
        match message {
            Message::Books(kind) => self.apply_books(kind, received, out),
            Message::Trades(kind) => self.apply_trades(kind, received, out),
            Message::Quotes(kind) => self.apply_quotes(kind, received, out),
            Message::Heartbeat => self.counts.heartbeats += 1,
            Message::Bars(kind, time) => self.apply_bars(map::Told { time, received, kind }, out),
            Message::Pairs(_) => unreachable!("definitions can fail and are taken in by themselves"),
            Message::System => self.apply_systems(received, out),
            Message::Answer => self.apply_answer(received, out),
            Message::Unused => self.counts.unused_types += 1,
            Message::Unknown => self.counts.unknown_types += 1,
        }
    }

    #[inline]
    fn apply_trades(&mut self, kind: Kind, received: UnixNanos, out: &mut Outbox) {
        let mut trades = std::mem::take(&mut self.scratch.trades);
        // Ids rise within a message as far as is known; a message that says otherwise is told in their order.
        if trades.windows(2).any(|w| w[0].target == w[1].target && w[0].id > w[1].id) {
            trades.sort_by_key(|t| (self.known(t.target), t.id));
        }
        let flags = if kind == Kind::Snapshot { Flags::SNAPSHOT | Flags::LATE } else { Flags::EMPTY };
        // The last record told of the run of trades of one instrument, to be marked if the run ends with a repeat.
        let mut told = None;
        for (n, t) in trades.iter().enumerate() {
            let k = self.known(t.target);
            let last = trades.get(n + 1).is_none_or(|next| next.target != t.target);
            if let Some(late) = self.judge(k, t, received, out) {
                let (at, _) = out.records.mark();
                let m = &self.markets[k as usize];
                map::trade(m, t, flags | late | Flags::LAST.when(last), received, &mut out.records);
                told = Some(at);
                self.counts.trades += 1;
            } else if let (true, Some(at)) = (last, told) {
                let header = *wire::Header::read(&out.records.words()[at..]).expect("just written");
                out.records.set_header(at, header.with_flags(header.flags() | Flags::LAST));
            }
            if last {
                told = None;
                self.seen(k, StreamKind::Trade, t.time.0, received, out);
            }
        }
        self.scratch.trades = trades;
    }

    /// With which flags a trade is to be told, unless it was told before. What is missing before it is told first.
    #[inline]
    fn judge(&mut self, k: Known, t: &TradeMessage, received: UnixNanos, out: &mut Outbox) -> Option<Flags> {
        let m = &mut self.markets[k as usize];
        let (cause, from, verdict) = match t.id {
            Some(id) => (m.trades.cause(), m.trades.received(), m.trades.take(id, t.time, received)),
            None => {
                let number = |mantissa: i64, scale| Decimal::new(mantissa.into(), scale);
                let (price, size) = (number(t.price, m.price_scale), number(t.size, m.size_scale));
                let key = trades::key(t.time, price, size, Some(t.side));
                (m.unnumbered.cause(), m.unnumbered.received(), m.unnumbered.take(key, t.time, received))
            }
        };
        let missing = match verdict {
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
    fn apply_quotes(&mut self, kind: Kind, received: UnixNanos, out: &mut Outbox) {
        for n in 0..self.scratch.quotes.len() {
            let q = self.scratch.quotes[n];
            let k = self.known(q.target);
            map::quote(&self.markets[k as usize], &q, kind, received, &mut out.records);
            self.counts.quotes += 1;
            self.compare_ticker(k, &q, received, out);
            self.seen(k, StreamKind::Quote, q.time.0, received, out);
        }
    }

    fn apply_bars(&mut self, told: map::Told, out: &mut Outbox) {
        let mut bars = std::mem::take(&mut self.scratch.bars);
        bars.sort_by_key(|b| (self.known(b.target), b.interval_s, b.begin));
        for b in &bars {
            let k = self.known(b.target);
            self.counts.bars += map::bar(&mut self.markets[k as usize], b, told, &mut out.records);
            self.seen(k, StreamKind::Bar, 0, told.received, out);
        }
        self.scratch.bars = bars;
    }

    /// When the venue is pinged for want of any other sign of life.
    fn ping_after(&self) -> Duration {
        match self.settings.stale_after.limit(StreamKind::Connection) {
            Some(limit) => SPEC.silence_max.min(limit / 2),
            None => SPEC.silence_max,
        }
    }

    /// When the connection is to be looked after.
    fn connection_due(&self) -> Option<UnixNanos> {
        let c = &self.connection;
        if !c.open || c.given_up {
            return None;
        }
        let ping = (!c.pinged).then(|| c.heard.after(self.ping_after()));
        let give_up = self.settings.stale_after.limit(StreamKind::Connection).map(|limit| c.heard.after(limit));
        [ping, give_up, c.definitions_by, c.definitions_due].into_iter().flatten().min()
    }

    fn check_connection(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.connection_due().is_none_or(|due| now < due) {
            return;
        }
        if self.connection.definitions_due.is_some_and(|due| due <= now) {
            self.ask_definitions(out);
        }
        let silent = now.since(self.connection.heard);
        if self.settings.stale_after.limit(StreamKind::Connection).is_some_and(|limit| silent >= limit) {
            self.connection.given_up = true;
            out.reconnect = Some((Reason::Timeout, format!("not a frame for {} s", silent.as_secs())));
        } else if self.connection.definitions_by.is_some_and(|by| by <= now) {
            self.connection.given_up = true;
            let text = format!("no instruments within {} s of asking", DEFINITIONS_WAIT.as_secs());
            out.reconnect = Some((Reason::Timeout, text));
        } else if !self.connection.pinged && silent >= self.ping_after() {
            self.connection.pinged = true;
            self.send(StreamKind::Connection, "ping", "", out);
        }
    }

    fn check_streams(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.watch.is_due(now) {
            self.check_rhythms(now, out);
        }
        let Kraken { watch, instruments, counts, .. } = self;
        watch.check(now, |k, stream, silent| {
            counts.stale += 1;
            let text = format!("silent for {} s", silent.as_secs());
            let (id, status) = (instruments.get(k).id, Status::Stream(stream, StreamState::Stale));
            out.records.push_status(SPEC.venue, id, status, Reason::Timeout, &text, UnixNanos::ZERO, now);
        });
    }

    /// Whether checksums are compared.
    pub(super) fn verifies(&self) -> bool {
        self.choices.checksum == ChecksumRule::Verify
    }
}

/// A definition at wider scales, when its increments fit them.
fn widened(i: &Instrument, price_scale: u8, size_scale: u8) -> Option<Instrument> {
    let factor = |from: u8, to: u8| 10i64.pow(u32::from(to.saturating_sub(from)));
    let (price, size) = (factor(i.price_scale, price_scale), factor(i.size_scale, size_scale));
    Some(Instrument {
        price_scale: price_scale.max(i.price_scale),
        size_scale: size_scale.max(i.size_scale),
        tick: model::Price(i.tick.0.checked_mul(price)?),
        lot: model::Qty(i.lot.0.checked_mul(size)?),
        min_size: model::Qty(i.min_size.0.checked_mul(size)?),
        ..i.clone()
    })
}

impl VenueMachine for Kraken {
    fn venue(&self) -> Venue {
        SPEC.venue
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        self.memories.push((instrument, memory));
    }

    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.speaks() == Api::V1 {
            self.connection = Connection { open: true, heard: now, ..Connection::default() };
            self.backfill.connected();
            self.ask_definitions(out);
            // What is defined already need not wait for the answer.
            self.subscribe(now, out);
            return;
        }
        self.connection = Connection {
            open: true,
            heard: now,
            definitions_by: (!self.learns()).then(|| now.after(DEFINITIONS_WAIT)),
            ..Connection::default()
        };
        self.backfill.connected();
        self.send(StreamKind::Instrument, "subscribe", r#""channel":"instrument","snapshot":true"#, out);
        if self.choices.heartbeat == Heartbeat::Subscribe {
            self.send(StreamKind::Connection, "subscribe", r#""channel":"heartbeat""#, out);
        }
    }

    fn on_frame(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        self.counts.frames += 1;
        match self.read(frame, received, out) {
            Ok(()) => {
                self.connection.heard = received;
                self.connection.pinged = false;
                Ok(())
            }
            Err(error) => {
                self.counts.malformed += 1;
                Err(error)
            }
        }
    }

    /// The older protocol's definitions and the trades that were missed; all other market data comes over the socket.
    fn on_response(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        if self.connection.definitions_asked != Some(request) {
            return self.on_missed(request, reply, now, out);
        }
        self.connection.definitions_asked = None;
        if let Err(why) = self.take_definitions(reply, now, out) {
            let wait =
                (DEFINITIONS_RETRY * 2u32.pow(self.connection.definitions_failed.min(16))).min(DEFINITIONS_EVERY);
            self.connection.definitions_failed += 1;
            self.connection.definitions_due = Some(now.after(wait));
            let text = format!("no definitions, next attempt in {} s: {why}", wait.as_secs());
            let status = Status::Stream(StreamKind::Instrument, StreamState::Resyncing);
            self.tell(None, status, (Reason::Refused, &text), now, out);
        }
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.check_streams(now, out);
        self.retry_books(now, out);
        self.ask_missed(now, out);
        self.check_connection(now, out);
    }

    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connection = Connection::default();
        self.watch.stop();
        self.backfill.disconnected();
        for k in 0..self.markets.len() as Known {
            self.books_lost(k, now, out);
            let m = &mut self.markets[k as usize];
            m.subscribed = false;
            m.trades.disconnected();
            m.unnumbered.disconnected();
        }
        self.next_retry = None;
    }

    #[inline]
    fn next_timer(&self) -> Option<UnixNanos> {
        [self.watch.next(), self.next_retry, self.connection_due(), self.backfill.next()].into_iter().flatten().min()
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
