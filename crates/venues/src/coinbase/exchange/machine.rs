//! The protocol as a machine: definitions first, then subscriptions, then data.
//!
//! frame -> [`fast`], [`flat`] or [`exact`] -> what it says -> applied and told. Books and the trust in them are in
//! [`super::books`], books of orders in [`super::orders`].

use super::market::Market;
use super::messages::{BeatMessage, MatchMessage, Message, QuoteMessage, Scratch, Target, View};
use super::products::{self, Product, Wanted};
use super::sign::Signer;
use super::{exact, fast, flat, map, spec, subscribe};
use crate::choices::{IdRule, Switch};
use crate::coinbase::choices::{Choices, Level2, TradeTail};
use crate::trades::{Backfill, Missing, Paging, Verdict};
use crate::{
    Counts, Defined, FrameError, InstrumentSet, Known, MachineError, Memory, Outbox, Outgoing, Reply, RequestId,
    Settings, Trust, VenueMachine, Watch,
};
use book::Book;
use model::{GapCause, Instrument, InstrumentId, Reason, StreamKind, StreamState, UnixNanos, Venue};
use std::time::Duration;
use wire::{Flags, SnapshotReason, Status};

const VENUE: Venue = Venue::Coinbase;

/// How long definitions may take before they are asked for again: the first wait, doubled each time.
const DEFINITIONS_WAIT: Duration = Duration::from_secs(5);

/// The longest wait for definitions.
const DEFINITIONS_WAIT_MAX: Duration = Duration::from_secs(60);

/// What this connection has seen and asked for.
#[derive(Default)]
struct Connection {
    open: bool,
    given_up: bool,
    /// When the last sound frame came.
    heard: UnixNanos,
    /// Definitions were asked for so often.
    asked: u32,
    definitions: Option<RequestId>,
    /// When they are asked for again.
    definitions_at: Option<UnixNanos>,
    /// Symbols that do not exist were told.
    refused: bool,
}

/// The machine.
pub struct Exchange {
    pub(super) settings: Settings,
    pub(super) choices: Choices,
    pub(super) instruments: InstrumentSet,
    pub(super) markets: Vec<Market>,
    pub(super) counts: Counts,
    pub(super) scratch: Scratch,
    pub(super) watch: Watch,
    /// When the first book is to be asked for again.
    pub(super) next_retry: Option<UnixNanos>,
    pub(super) signer: Option<Signer>,
    pub(super) backfill: Backfill,
    wanted: Vec<Wanted>,
    memories: Vec<(InstrumentId, Memory)>,
    connection: Connection,
}

impl Exchange {
    /// A machine that has seen nothing.
    pub fn new(settings: &Settings, choices: Choices) -> Result<Exchange, MachineError> {
        let mut signer = None;
        if subscribe::needs_signature(choices.level2, settings) {
            let missing = MachineError::NoCredentials { venue: VENUE, variables: spec::CREDENTIALS };
            let credentials = settings.credentials.as_ref().ok_or(missing)?;
            let sign = Signer::new(credentials).map_err(|needs| subscribe::refused("credentials", "these", needs))?;
            signer = Some(sign);
        }
        if settings.streams.contains(&StreamKind::Order)
            && choices.level2 != Level2::Full
            && !settings.symbols.is_empty()
        {
            return Err(subscribe::refused("streams", "order", "so with the choice level2 = full"));
        }
        Ok(Exchange {
            instruments: InstrumentSet::new(VENUE),
            markets: vec![],
            counts: Counts::default(),
            scratch: Scratch::default(),
            watch: Watch::new(&settings.stale_after),
            next_retry: None,
            backfill: Backfill::new(choices.backfill == Switch::On && !settings.symbols.is_empty(), Paging::Down),
            signer,
            wanted: settings.symbols.iter().map(|s| Wanted { name: s.clone(), found: false }).collect(),
            memories: vec![],
            connection: Connection::default(),
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

    /// When the last sound frame came.
    pub(super) fn heard(&self) -> UnixNanos {
        self.connection.heard
    }

    /// Whether a stream is wanted.
    pub(super) fn takes(&self, stream: StreamKind) -> bool {
        self.settings.streams.contains(&stream)
    }

    /// Whether books are made of orders.
    pub(super) fn is_full(&self) -> bool {
        let books = self.takes(StreamKind::Book) || self.takes(StreamKind::Order);
        self.choices.level2 == Level2::Full && books && !self.learns()
    }

    /// Whether orders are told: where they are wanted, and from captures.
    pub(super) fn tells_orders(&self) -> bool {
        self.learns() || self.takes(StreamKind::Order)
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
        out.records.push_status(VENUE, id, status, why.0, why.1, UnixNanos::ZERO, now);
    }

    /// Data of a stream came.
    #[inline]
    pub(super) fn seen(&mut self, k: Known, stream: StreamKind, mark: u64, now: UnixNanos, out: &mut Outbox) {
        if self.watch.seen(k, stream, mark, now) {
            self.tell(Some(k), Status::Stream(stream, StreamState::Live), (Reason::Ok, ""), now, out);
        }
    }

    #[inline]
    fn read(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let view = View { instruments: &self.instruments, markets: &self.markets, wanted: &self.wanted };
        if let Some(message) = fast::read(frame, view, &mut self.scratch) {
            self.apply(message, received, out);
            return Ok(());
        }
        self.read_further(frame, received, out)
    }

    #[inline(never)]
    fn read_further(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let view = View { instruments: &self.instruments, markets: &self.markets, wanted: &self.wanted };
        if let Some(message) = flat::read(frame, view, &mut self.scratch) {
            // The keys of trades have a usual order, those of orders have not.
            self.counts.slow_path += u64::from(matches!(message, Message::Match(_)));
            self.counts.unknown_fields += self.scratch.unknown_fields;
            self.apply(message, received, out);
            return Ok(());
        }
        let message = exact::read(frame, view, &mut self.scratch)?;
        if let Message::Products = message {
            let products = std::mem::take(&mut self.scratch.products);
            self.apply_products(&products, received, out)?;
            self.scratch.products = products;
        } else {
            let message = self.prepare(message, received, out)?;
            self.counts.slow_path += u64::from(message.target().is_some());
            self.apply(message, received, out);
        }
        self.counts.unknown_fields += self.scratch.unknown_fields;
        Ok(())
    }

    /// Learns the instrument and widens the scales that a frame needs, or changes nothing.
    fn prepare(&mut self, mut message: Message, now: UnixNanos, out: &mut Outbox) -> Result<Message, FrameError> {
        let (Some(target), Some((price, size))) = (message.target(), self.scratch.scales) else { return Ok(message) };
        match target {
            Target::Known(k) => self.widen(k, (price, size), now, out)?,
            Target::New => {
                let k = self.define(products::provisional(&self.scratch.name, price, size), true, now, out);
                let target = Target::Known(k);
                match &mut message {
                    Message::Match(m) => m.target = target,
                    Message::Quote(m) => m.target = target,
                    Message::Beat(m) => m.target = target,
                    Message::Order(m) => m.target = target,
                    Message::Snapshot(t, _) | Message::Changes(t, _) => *t = target,
                    _ => {}
                }
            }
        }
        Ok(message)
    }

    /// Brings an instrument to scales at least as wide as these, or changes nothing.
    pub(super) fn widen(
        &mut self,
        k: Known,
        (price, size): (u8, u8),
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Result<(), FrameError> {
        let (m, definition) = (&self.markets[k as usize], self.instruments.get(k));
        if price <= m.price_scale && size <= m.size_scale {
            return Ok(());
        }
        let fits = m.fits(price, size).then(|| products::widened(definition, price, size)).flatten();
        let Some(definition) = fits else {
            let problem = format!("{}: what is known does not fit 64 bits at the scale needed", definition.symbol);
            return Err(FrameError { offset: 0, field: "frame", problem });
        };
        let provisional = m.provisional;
        self.define(definition, provisional, now, out);
        Ok(())
    }

    /// Takes in a definition that was checked to fit, and tells it when it is news.
    fn define(&mut self, definition: Instrument, provisional: bool, now: UnixNanos, out: &mut Outbox) -> Known {
        let (price, size) = (definition.price_scale, definition.size_scale);
        let before = self.instruments.find(definition.venue_symbol.as_bytes()).map(|k| self.instruments.get(k).status);
        let defined =
            self.instruments.define(definition, UnixNanos::ZERO, now, out).expect("ids were checked to differ");
        let k = defined.index();
        if let Defined::New(_) = defined {
            let market = self.new_market(k);
            if !market.trades.ids.missing().is_empty() {
                self.backfill.wanted(k, now);
            }
            self.markets.push(market);
        }
        self.counts.instruments += u64::from(!matches!(defined, Defined::Same(_)));
        let m = &mut self.markets[k as usize];
        m.rescale(price, size);
        m.provisional = provisional;
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
        let contiguous = self.choices.trade_ids == IdRule::Contiguous;
        let mut market = Market::new(definition, self.is_full(), contiguous);
        if let Some((_, memory)) = self.memories.iter().find(|(id, _)| *id == definition.id) {
            market.trades.ids.remember(memory);
            market.ladder.gap = Some((GapCause::Restart, memory.last_seen));
        }
        market
    }

    /// Definitions of the venue: checked as a whole, then taken in, then subscribed to.
    fn apply_products(&mut self, products: &[Product], now: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        let bad = |problem: String| FrameError { offset: 0, field: "products", problem };
        let mut definitions: Vec<Instrument> = vec![];
        for product in products {
            let known = self.instruments.find(product.symbol.as_bytes());
            let definition = products::definition(product, known.map(|k| self.instruments.get(k)))
                .map_err(|e| bad(format!("{}: {e}", product.symbol)))?;
            let fits =
                known.is_none_or(|k| self.markets[k as usize].fits(definition.price_scale, definition.size_scale));
            if !fits {
                return Err(bad(format!("{}: the book does not fit 64 bits at the new scale", product.symbol)));
            }
            let others = || definitions.iter().chain(self.instruments.iter());
            if let Some(other) = others().find(|o| o.id == definition.id && o.venue_symbol != product.symbol) {
                let symbol = &other.venue_symbol;
                return Err(bad(format!("{} and {symbol} have the same id {}", product.symbol, definition.id)));
            }
            definitions.push(definition);
        }
        for definition in definitions {
            for w in &mut self.wanted {
                w.found |= w.means(&definition.venue_symbol);
            }
            self.define(definition, false, now, out);
        }
        if !self.connection.refused {
            self.refuse_unknown(now, out);
        }
        self.connection.definitions_at = None;
        self.subscribe(now, out);
        Ok(())
    }

    /// Symbols that were asked for and do not exist.
    fn refuse_unknown(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connection.refused = true;
        for w in self.wanted.iter().filter(|w| !w.found) {
            let text = format!("{} is no product of coinbase's: check its spelling, as in BTC-USD", w.name);
            let status = Status::Stream(StreamKind::Instrument, StreamState::Down);
            self.tell(None, status, (Reason::Refused, &text), now, out);
            self.counts.refusals += 1;
        }
    }

    #[inline]
    fn apply(&mut self, message: Message, received: UnixNanos, out: &mut Outbox) {
        // Every message is of an instrument that is known by now, or of none.
        let known = |target| match target {
            Target::Known(k) => k,
            Target::New => unreachable!("it was learnt before"),
        };
        match message {
            Message::Match(m) => self.apply_match(known(m.target), &m, received, out),
            Message::Changes(target, time) => self.apply_changes(known(target), time, received, out),
            Message::Quote(q) => self.apply_quote(known(q.target), &q, received, out),
            Message::Beat(b) => self.apply_beat(known(b.target), &b, received, out),
            Message::Order(o) => self.apply_order(known(o.target), &o, received, out),
            Message::Snapshot(target, time) => self.apply_snapshot(known(target), time, received, out),
            Message::Products => unreachable!("definitions can fail and are taken in by themselves"),
            Message::Subscriptions => self.counts.acks += 1,
            Message::Refused => self.apply_refusal(received, out),
            Message::Stranger => self.counts.unknown_symbols += 1,
            Message::Unused => self.counts.unused_types += 1,
            Message::Unknown => self.counts.unknown_types += 1,
        }
    }

    #[inline]
    fn apply_match(&mut self, k: Known, t: &MatchMessage, received: UnixNanos, out: &mut Outbox) {
        if let Some(flags) = self.is_news(k, t, received, out) {
            map::trade(&self.markets[k as usize], t, flags, received, &mut out.records);
            self.counts.trades += 1;
        }
        self.seen(k, StreamKind::Trade, t.id, received, out);
        if self.markets[k as usize].full && !t.last {
            self.apply_match_step(k, t, received, out);
        }
    }

    /// How a trade that was not told before is told. A jump of the ids is told as a gap first.
    #[inline]
    fn is_news(&mut self, k: Known, t: &MatchMessage, received: UnixNanos, out: &mut Outbox) -> Option<Flags> {
        let trades = &mut self.markets[k as usize].trades;
        let (cause, from) = (trades.ids.cause(), trades.ids.received());
        let flags = Flags::LAST | (Flags::SNAPSHOT | Flags::LATE).when(t.last);
        match trades.ids.take(t.id, map::when(t.time, received), received) {
            Verdict::Next | Verdict::First => {}
            Verdict::Repeat => {
                self.counts.trades_repeated += 1;
                return None;
            }
            Verdict::Fills => return Some(flags | Flags::LATE),
            Verdict::Jump { first, last } => {
                self.trades_missing(k, cause, Some((first, last)), from, received, out);
            }
            Verdict::Break => self.trades_missing(k, cause, None, from, received, out),
        }
        let trades = &mut self.markets[k as usize].trades;
        if t.sequence != 0 {
            let before = std::mem::replace(&mut trades.sequence, t.sequence);
            if t.sequence < before {
                self.sequence_fell(k, t, before, received, out);
            }
        }
        Some(flags)
    }

    /// Trades never came: told as a gap, and fetched.
    #[cold]
    fn trades_missing(
        &mut self,
        k: Known,
        cause: GapCause,
        range: Option<(u64, u64)>,
        from: UnixNanos,
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let m = &self.markets[k as usize];
        map::gap(m, StreamKind::Trade, cause, range, from, now, &mut out.records);
        self.counts.gaps += 1;
        self.backfill.wanted(k, now);
    }

    /// The venue's sequence only rises: it skips where other channels have messages, but never falls.
    #[cold]
    fn sequence_fell(&mut self, k: Known, t: &MatchMessage, before: u64, now: UnixNanos, out: &mut Outbox) {
        self.counts.sequences_back += 1;
        let text = format!("trade {} has sequence {}, below {before}", t.id, t.sequence);
        let status = Status::Stream(StreamKind::Trade, StreamState::Live);
        self.tell(Some(k), status, (Reason::Sequence, &text), now, out);
    }

    #[inline]
    fn apply_quote(&mut self, k: Known, q: &QuoteMessage, received: UnixNanos, out: &mut Outbox) {
        map::quote(&self.markets[k as usize], q, received, &mut out.records);
        self.counts.quotes += 1;
        self.compare_ticker(k, q, received, out);
        self.seen(k, StreamKind::Quote, q.time.0, received, out);
    }

    /// A heartbeat tells how far the product has come. It may overtake what it speaks of, so only what the one before
    /// it told of is missing.
    fn apply_beat(&mut self, k: Known, b: &BeatMessage, received: UnixNanos, out: &mut Outbox) {
        self.counts.heartbeats += 1;
        let told_before = self.markets[k as usize].beat;
        let m = &mut self.markets[k as usize];
        if told_before.sequence == Some(b.sequence) {
            // Nothing happened at all: a silent book is whole, not stale.
            self.watch.quiet(k, StreamKind::Book, received);
            m.ladder.trust.quiet(received);
        }
        m.beat.sequence = Some(b.sequence);
        let ids = &mut m.trades.ids;
        let (cause, from) = (ids.cause(), ids.received());
        if let Some(range) = told_before.trade.and_then(|trade| ids.tail(trade, received)) {
            self.trades_missing(k, cause, Some(range), from, received, out);
        }
        if let Some(order) = told_before.order {
            self.catch_up_orders(k, order, received, out);
        }
        let m = &mut self.markets[k as usize];
        let live = m.ladder.trust.is_live();
        let behind = m.trades.ids.last().is_some_and(|last| b.last_trade > last);
        m.beat.trade = (behind && self.choices.trade_tail == TradeTail::Heartbeat).then_some(b.last_trade);
        m.beat.order = (m.full && m.orders.behind(live, b.sequence)).then_some(b.sequence);
    }

    /// The venue refused something, in words. What it is about is guessed from them; the words are told.
    #[cold]
    fn apply_refusal(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.counts.refusals += 1;
        let text = std::mem::take(&mut self.scratch.text);
        let words = || text.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'));
        let stream = words().find_map(subscribe::stream_named).unwrap_or(StreamKind::Connection);
        let of = words().find_map(|word| self.instruments.find(word.as_bytes()));
        self.tell(of, Status::Stream(stream, StreamState::Down), (Reason::Refused, &text), now, out);
        self.scratch.text = text;
    }

    /// Asks for the definitions of all products.
    fn ask_definitions(&mut self, now: UnixNanos, out: &mut Outbox) {
        let c = &mut self.connection;
        let wait = (DEFINITIONS_WAIT * 2u32.pow(c.asked.min(8))).min(DEFINITIONS_WAIT_MAX);
        c.asked += 1;
        c.definitions = Some(out.request("/products".to_owned(), 1));
        c.definitions_at = Some(now.after(wait));
    }

    fn on_definitions(&mut self, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let why = match reply {
            Reply::Http { status: 200, body, .. } => {
                let view = View { instruments: &self.instruments, markets: &self.markets, wanted: &self.wanted };
                let mut products = vec![];
                let read = products::answer(body, view, &mut products);
                match read.and_then(|()| self.apply_products(&products, now, out)) {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                }
            }
            Reply::Http { status, body, .. } => {
                format!("HTTP status {status}: {}", String::from_utf8_lossy(&body[..body.len().min(100)]))
            }
            Reply::Failed(why) => why.to_owned(),
        };
        let text = format!("no products: {why}");
        let status = Status::Stream(StreamKind::Instrument, StreamState::Resyncing);
        self.tell(None, status, (Reason::Connection, &text), now, out);
    }

    /// When the connection is to be looked after.
    fn connection_due(&self) -> Option<UnixNanos> {
        let c = &self.connection;
        if !c.open || c.given_up {
            return None;
        }
        let give_up = self.settings.stale_after.limit(StreamKind::Connection).map(|limit| c.heard.after(limit));
        [give_up, c.definitions_at].into_iter().flatten().min()
    }

    fn check_connection(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.connection_due().is_none_or(|due| now < due) {
            return;
        }
        let silent = now.since(self.connection.heard);
        if self.settings.stale_after.limit(StreamKind::Connection).is_some_and(|limit| silent >= limit) {
            self.connection.given_up = true;
            out.reconnect = Some((Reason::Timeout, format!("not a frame for {} s", silent.as_secs())));
        } else {
            self.ask_definitions(now, out);
        }
    }

    fn check_streams(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.watch.is_due(now) {
            self.check_rhythms(now, out);
        }
        let Exchange { watch, instruments, counts, .. } = self;
        watch.check(now, |k, stream, silent| {
            counts.stale += 1;
            let text = format!("silent for {} s", silent.as_secs());
            let (id, status) = (instruments.get(k).id, Status::Stream(stream, StreamState::Stale));
            out.records.push_status(VENUE, id, status, Reason::Timeout, &text, UnixNanos::ZERO, now);
        });
    }
}

impl VenueMachine for Exchange {
    fn venue(&self) -> Venue {
        VENUE
    }

    fn remember(&mut self, instrument: InstrumentId, memory: Memory) {
        self.memories.push((instrument, memory));
    }

    /// The venue closes connections that subscribe to nothing within 5 s. The status of all products needs no
    /// definitions, and brings some.
    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connection = Connection { open: true, heard: now, ..Connection::default() };
        if self.learns() {
            return;
        }
        self.backfill.connected();
        out.frames.push(Outgoing::text(r#"{"type":"subscribe","channels":["status"]}"#));
        self.ask_definitions(now, out);
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
        if self.connection.definitions == Some(request) {
            self.connection.definitions = None;
            self.on_definitions(reply, now, out);
        } else if !self.on_trades(request, &reply, now, out) {
            self.on_orders(request, reply, now, out);
        }
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.check_streams(now, out);
        self.retry_books(now, out);
        self.ask_trades(now, out);
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
            m.beat = Default::default();
            m.trades.ids.disconnected();
        }
        self.next_retry = None;
    }

    #[inline]
    fn next_timer(&self) -> Option<UnixNanos> {
        [self.watch.next(), self.next_retry, self.backfill.next(), self.connection_due()].into_iter().flatten().min()
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
        self.markets[k as usize].trades.ids.last()
    }

    fn catch_up(&mut self, instrument: InstrumentId, last_trade: u64) {
        match self.instruments.index_of(instrument) {
            Some(k) => self.markets[k as usize].trades.ids.catch_up(last_trade),
            None => Memory::catch_up(&mut self.memories, instrument, last_trade),
        }
    }

    fn trade_ids_are_contiguous(&self) -> bool {
        self.choices.trade_ids == IdRule::Contiguous
    }

    fn missing(&self, instrument: InstrumentId) -> &[Missing] {
        self.instruments.index_of(instrument).map_or(&[], |k| self.markets[k as usize].trades.ids.missing())
    }

    fn take_missing(&mut self, instrument: InstrumentId, missing: &[Missing], now: UnixNanos) {
        let Some(k) = self.instruments.index_of(instrument) else { return };
        if self.markets[k as usize].trades.ids.take_missing(missing) {
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
