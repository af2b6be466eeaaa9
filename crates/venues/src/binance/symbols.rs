//! Which symbols are wanted, how they become known, and their subscriptions.
//!
//! A symbol is subscribed to once its definition is known, so that no value is told before its scale. One the venue
//! does not know is refused by name and the others go on: a request that names it is refused whole, so it is halved
//! until the culprit stands alone.

use super::definitions::{DefinitionError, ErrorBody, ExchangeInfo, INVALID_SYMBOL, SymbolInfo, provisional};
use super::machine::{Machine, Pending, Symbol, symbol_error};
use super::map::Subject;
use super::messages::Scales;
use super::subscribe::{DEFINITIONS_WEIGHT, STREAMS_PER_FRAME, SYMBOLS_PER_REQUEST, definitions_path, frame};
use crate::{Defined, FrameError, Known, Outbox, Outgoing, Reply};
use model::{Instrument, InstrumentId, InstrumentStatus, Price, Qty, Reason, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::Status;

/// How often definitions are asked for again: halts and changed ticks are not told by any stream.
const DEFINITIONS_EVERY: Duration = Duration::from_secs(300);
/// The first wait after an attempt that failed; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// How often the wait is doubled: to 64 s at most.
const RETRY_DOUBLINGS: u32 = 7;

/// What is known of a wanted symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    /// A request for it is under way.
    Asked,
    Defined(Known),
    Refused,
}

/// A symbol of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// As the settings spell it.
    spelled: String,
    /// As the venue spells it.
    venue_symbol: String,
    standing: Standing,
    /// A SUBSCRIBE frame for it went out on this connection.
    pub subscribed: bool,
}

impl Wanted {
    /// Each symbol once, whether spelled canonically (`BTC-USDT`) or as the venue does (`BTCUSDT`).
    pub(super) fn all(symbols: &[String]) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = vec![];
        for spelled in symbols {
            let venue_symbol = spelled.replace(['-', '/'], "").to_uppercase();
            if !all.iter().any(|w| w.venue_symbol == venue_symbol) {
                let (spelled, standing) = (spelled.clone(), Standing::Unknown);
                all.push(Wanted { spelled, venue_symbol, standing, subscribed: false });
            }
        }
        all
    }

    /// Whether the venue's entry is what was meant: a canonical spelling also names the two currencies.
    fn is(&self, info: &SymbolInfo<'_>) -> bool {
        let split = self.spelled.contains(['-', '/']);
        info.symbol == self.venue_symbol.as_str()
            && (!split || info.canonical() == self.spelled.replace('/', "-").to_uppercase())
    }
}

impl Machine {
    /// Asks for what is not known yet; what is known is asked for again in a while.
    pub(super) fn begin_definitions(&mut self, now: UnixNanos, out: &mut Outbox) {
        for wanted in &mut self.wanted {
            if matches!(wanted.standing, Standing::Asked | Standing::Refused) {
                wanted.standing = Standing::Unknown;
            }
        }
        let complete = !self.wanted.iter().any(|w| w.standing == Standing::Unknown);
        self.definitions_due = Some(if complete { now.after(DEFINITIONS_EVERY) } else { now });
        self.fetch_definitions(now, out);
    }

    /// Asks for definitions when they are due: those not known, or all of them when all are known.
    pub(super) fn fetch_definitions(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.definitions_due.is_none_or(|due| now < due) {
            return;
        }
        let indexes = 0..self.wanted.len();
        let mut list: Vec<usize> = indexes.clone().filter(|&i| self.wanted[i].standing == Standing::Unknown).collect();
        if list.is_empty() && !self.wanted.iter().any(|w| w.standing == Standing::Asked) {
            list = indexes.filter(|&i| matches!(self.wanted[i].standing, Standing::Defined(_))).collect();
        }
        self.definitions_due = Some(now.after(DEFINITIONS_EVERY));
        for chunk in list.chunks(SYMBOLS_PER_REQUEST) {
            self.ask_definitions(chunk.to_vec(), now, out);
        }
    }

    fn ask_definitions(&mut self, list: Vec<usize>, now: UnixNanos, out: &mut Outbox) {
        if let Err(later) = self.budget.take(DEFINITIONS_WEIGHT, now) {
            self.definitions_due = Some(later);
            return;
        }
        for &index in &list {
            if self.wanted[index].standing == Standing::Unknown {
                self.wanted[index].standing = Standing::Asked;
            }
        }
        let symbols: Vec<&str> = list.iter().map(|&i| self.wanted[i].venue_symbol.as_str()).collect();
        let id = out.request(definitions_path(&symbols), DEFINITIONS_WEIGHT);
        self.pending.push((id, Pending::Definitions(list)));
    }

    /// The answer to a request for definitions.
    pub(super) fn on_definitions(&mut self, asked: Vec<usize>, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        match reply {
            Reply::Http { status: 200, body, .. } => match serde_json::from_slice::<ExchangeInfo<'_>>(body) {
                Ok(info) => self.take_definitions(&asked, &info, now, out),
                Err(error) => self.retry_definitions(&asked, &error.to_string(), None, now, out),
            },
            Reply::Http { status, body, retry_after } => {
                self.pause_if_told(status, retry_after, now);
                let said = serde_json::from_slice::<ErrorBody>(body).ok();
                if said.as_ref().is_some_and(|e| e.code == INVALID_SYMBOL) {
                    return self.find_culprit(asked, now, out);
                }
                let words = said.map_or_else(String::new, |e| format!(", code {}: {}", e.code, e.msg));
                self.retry_definitions(&asked, &format!("HTTP status {status}{words}"), retry_after, now, out);
            }
            Reply::Failed(why) => self.retry_definitions(&asked, why, None, now, out),
        }
    }

    /// The venue knows one of these symbols not, and does not say which.
    fn find_culprit(&mut self, mut asked: Vec<usize>, now: UnixNanos, out: &mut Outbox) {
        if let [index] = asked[..] {
            return self.refuse(index, "the venue does not know it", now, out);
        }
        for &index in &asked {
            if self.wanted[index].standing == Standing::Asked {
                self.wanted[index].standing = Standing::Unknown;
            }
        }
        let half = asked.split_off(asked.len() / 2);
        self.ask_definitions(asked, now, out);
        self.ask_definitions(half, now, out);
    }

    fn retry_definitions(
        &mut self,
        asked: &[usize],
        why: &str,
        after: Option<Duration>,
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        for &index in asked {
            if self.wanted[index].standing == Standing::Asked {
                self.wanted[index].standing = Standing::Unknown;
            }
        }
        let wait = RETRY_FIRST * (1 << self.definitions_attempts.min(RETRY_DOUBLINGS));
        let wait = after.map_or(wait, |after| after.max(wait));
        self.definitions_attempts += 1;
        self.definitions_due = Some(now.after(wait));
        let text = format!("no definitions, next attempt in {} ms: {why}", wait.as_millis());
        let status = Status::Stream(StreamKind::Instrument, StreamState::Resyncing);
        let venue = self.venue;
        out.records.push_status(venue, InstrumentId::NONE, status, Reason::Refused, &text, UnixNanos::ZERO, now);
    }

    fn take_definitions(&mut self, asked: &[usize], info: &ExchangeInfo<'_>, now: UnixNanos, out: &mut Outbox) {
        self.definitions_attempts = 0;
        for &index in asked {
            let wanted = &self.wanted[index];
            let Some(entry) = info.symbols.iter().find(|entry| wanted.is(entry)) else {
                self.refuse(index, "the venue does not know it", now, out);
                continue;
            };
            match self.take_definition(entry, now, out) {
                Ok(known) => self.wanted[index].standing = Standing::Defined(known),
                Err(why) => self.refuse(index, &why, now, out),
            }
        }
        self.subscribe(now, out);
    }

    fn take_definition(&mut self, entry: &SymbolInfo<'_>, now: UnixNanos, out: &mut Outbox) -> Result<Known, String> {
        let known = self.instruments.find(entry.symbol.as_bytes());
        let before = known.map(|known| self.symbols[known as usize].scales);
        let instrument = entry.instrument(self.venue, before).map_err(|e: DefinitionError| e.to_string())?;
        self.define(instrument, now, out).map_err(|e| e.problem)
    }

    /// A symbol that cannot be had: told by name, once, and not asked for again on this connection.
    fn refuse(&mut self, index: usize, why: &str, now: UnixNanos, out: &mut Outbox) {
        self.counts.refusals += 1;
        let before = std::mem::replace(&mut self.wanted[index].standing, Standing::Refused);
        let text = format!("{}: {why}", self.wanted[index].spelled);
        let mut id = InstrumentId::NONE;
        if let Standing::Defined(known) = before {
            let mut gone = self.instruments.get(known).clone();
            (id, gone.status) = (gone.id, InstrumentStatus::Delisted);
            // Only the status differs, so it cannot fail to fit.
            if self.define(gone, now, out).is_err() {
                self.counts.malformed += 1;
            }
        }
        let status = Status::Stream(StreamKind::Instrument, StreamState::Down);
        out.records.push_status(self.venue, id, status, Reason::Refused, &text, UnixNanos::ZERO, now);
    }

    /// Takes in a definition: what is kept is brought to its scales, a change is told, and so is a change of status.
    fn define(&mut self, instrument: Instrument, now: UnixNanos, out: &mut Outbox) -> Result<Known, FrameError> {
        let scales = Scales { price: instrument.price_scale, size: instrument.size_scale };
        let (id, status) = (instrument.id, instrument.status);
        let known = self.instruments.find(instrument.venue_symbol.as_bytes());
        let before = known.map(|known| self.instruments.get(known).status);
        if let Some(known) = known {
            let symbol = &mut self.symbols[known as usize];
            if scales != symbol.scales && !symbol.book.rescale(symbol.scales, scales) {
                let text =
                    format!("{} decimals of price and {} of size do not fit the book", scales.price, scales.size);
                return Err(symbol_error(text));
            }
            symbol.scales = scales;
        }
        let defined = self.instruments.define(instrument, UnixNanos::ZERO, now, out).map_err(symbol_error)?;
        match defined {
            Defined::Same(known) => return Ok(known),
            Defined::Changed(_) => {}
            Defined::New(_) => {
                let of = Subject { venue: self.venue, id };
                self.symbols.push(Symbol::new(of, scales, self.choices.trade_ids));
                if let Some(index) = self.memory.iter().position(|(of, _)| *of == id) {
                    let memory = self.memory.swap_remove(index).1;
                    self.symbols[defined.index() as usize].remember(&memory);
                    if !memory.missing.is_empty() {
                        self.backfill.wanted(defined.index(), now);
                    }
                }
            }
        }
        self.counts.instruments += 1;
        let book = &mut self.symbols[defined.index() as usize].book;
        if before.is_some_and(|before| before != status) {
            let told = Status::Instrument(status);
            out.records.push_status(self.venue, id, told, Reason::Venue, "", UnixNanos::ZERO, now);
        }
        book.halt(status, now, out);
        Ok(defined.index())
    }

    /// A symbol of a capture, known by its name alone.
    pub(super) fn learn(
        &mut self,
        symbol: &str,
        need: Scales,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Result<Known, FrameError> {
        self.define(provisional(self.venue, symbol, need).map_err(symbol_error)?, now, out)
    }

    /// Brings a symbol to scales that hold a value with more decimals than any before.
    pub(super) fn widen(
        &mut self,
        known: Known,
        need: Scales,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Result<(), FrameError> {
        let have = self.symbols[known as usize].scales;
        if need == have {
            return Ok(());
        }
        let mut wider = self.instruments.get(known).clone();
        let grow = |value: i64, from: u8, to: u8| {
            let factor = 10i64.checked_pow(u32::from(to - from));
            factor.and_then(|f| value.checked_mul(f)).ok_or_else(|| symbol_error("tick or lot does not fit 64 bits"))
        };
        wider.tick = Price(grow(wider.tick.0, have.price, need.price)?);
        wider.lot = Qty(grow(wider.lot.0, have.size, need.size)?);
        wider.min_size = Qty(grow(wider.min_size.0, have.size, need.size)?);
        (wider.price_scale, wider.size_scale) = (need.price, need.size);
        self.define(wider, now, out).map(drop)
    }

    /// Subscribes to what is defined and not yet subscribed to.
    pub(super) fn subscribe(&mut self, now: UnixNanos, out: &mut Outbox) {
        let mut names = vec![];
        for wanted in &mut self.wanted {
            let Standing::Defined(known) = wanted.standing else { continue };
            if std::mem::replace(&mut wanted.subscribed, true) {
                continue;
            }
            for (stream, name) in self.streams.names(&wanted.venue_symbol) {
                names.push((known, stream, name));
                self.watch.start(known, stream, now);
            }
        }
        if names.is_empty() {
            return;
        }
        for batch in names.chunks(STREAMS_PER_FRAME) {
            self.frame_id += 1;
            let texts: Vec<String> = batch.iter().map(|n| n.2.clone()).collect();
            out.frames.push(Outgoing::text(frame(&texts, self.frame_id)));
            self.asked.push((self.frame_id, batch.iter().map(|n| (n.0, n.1)).collect()));
        }
        self.watch_silence(now);
    }

    /// The venue took a subscription. It also does for symbols it does not have, so this proves nothing yet.
    pub(super) fn on_ack(&mut self, id: Option<u64>, now: UnixNanos, out: &mut Outbox) {
        self.counts.acks += 1;
        for (known, stream) in self.answered(id) {
            self.tell_stream(known, stream, StreamState::Live, Reason::Ok, "subscribed", now, out);
            if stream == StreamKind::Book {
                self.await_book(known, now, out);
            }
        }
    }

    /// The venue refused something: of a subscription all of its streams are down.
    pub(super) fn on_refusal(&mut self, id: Option<u64>, text: &str, now: UnixNanos, out: &mut Outbox) {
        self.counts.refusals += 1;
        let asked = self.answered(id);
        if asked.is_empty() {
            let status = Status::Stream(StreamKind::Connection, StreamState::Live);
            let venue = self.venue;
            out.records.push_status(venue, InstrumentId::NONE, status, Reason::Refused, text, UnixNanos::ZERO, now);
        }
        for (known, stream) in asked {
            self.tell_stream(known, stream, StreamState::Down, Reason::Refused, text, now, out);
        }
    }

    fn answered(&mut self, id: Option<u64>) -> Vec<(Known, StreamKind)> {
        let index = id.and_then(|id| self.asked.iter().position(|(asked, _)| *asked == id));
        index.map_or_else(Vec::new, |index| self.asked.swap_remove(index).1)
    }
}
