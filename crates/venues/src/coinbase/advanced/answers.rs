//! What the venue says of products and of our requests: definitions, their changes, refusals.

use super::choices::Products as Which;
use super::exact::bad;
use super::machine::Advanced;
use super::products::{self, DefinitionError, Listed, PATH, Products};
use crate::{FrameError, Known, Outbox, Reply, RequestId};
use model::{Instrument, InstrumentStatus, Reason, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::Status;

/// How often products are asked for again: changed increments and restrictions are told by no stream that is proven.
const DEFINITIONS_EVERY: Duration = Duration::from_secs(3600);

/// The first wait after an attempt that failed; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// How often the wait is doubled: to 64 s at most.
const RETRY_DOUBLINGS: u32 = 7;

/// Requests for products: at most one is under way.
#[derive(Debug, Default)]
pub struct Definitions {
    pub due: Option<UnixNanos>,
    pub pending: Option<RequestId>,
    attempts: u32,
}

/// A symbol that was asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As the settings spell it.
    spelled: String,
    /// As the venue spells it.
    name: String,
    /// Its definition came, or it was refused on this connection.
    settled: bool,
}

impl Wanted {
    /// Each symbol once.
    pub fn all(symbols: &[String]) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = vec![];
        for spelled in symbols {
            let name = spelled.replace('/', "-").to_uppercase();
            if !all.iter().any(|w| w.name == name) {
                all.push(Wanted { spelled: spelled.clone(), name, settled: false });
            }
        }
        all
    }
}

impl Advanced {
    /// A connection is open: products are asked for, whether known or not.
    pub(super) fn begin_definitions(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.wanted.iter_mut().for_each(|w| w.settled = false);
        self.definitions = Definitions { due: Some(now), ..Definitions::default() };
        self.fetch_definitions(now, out);
    }

    /// Asks for products when that is due.
    pub(super) fn fetch_definitions(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.definitions.due.is_none_or(|due| now < due) {
            return;
        }
        let path = match self.choices.products {
            Which::All => PATH.to_owned(),
            Which::Named => {
                let names: Vec<String> = self.wanted.iter().map(|w| format!("product_ids={}", w.name)).collect();
                format!("{PATH}?{}", names.join("&"))
            }
        };
        self.definitions.due = None;
        self.definitions.pending = Some(out.request(path, 1));
    }

    /// The answer to a request for products.
    pub(super) fn on_products(&mut self, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let (why, retry_after) = match reply {
            Reply::Http { status: 200, body, .. } => match serde_json::from_slice::<Products<'_>>(body) {
                Ok(list) => return self.take_products(&list.products, now, out),
                Err(error) => (error.to_string(), None),
            },
            Reply::Http { status, body, retry_after } => {
                let said: String = String::from_utf8_lossy(body).chars().take(200).collect();
                (format!("HTTP status {status}: {said}"), retry_after)
            }
            Reply::Failed(why) => (why.to_owned(), None),
        };
        let wait = retry_after.unwrap_or(RETRY_FIRST * 2u32.pow(self.definitions.attempts.min(RETRY_DOUBLINGS)));
        self.definitions.attempts += 1;
        self.definitions.due = Some(now.after(wait));
        let text = format!("products cannot be had, next try in {:.1} s: {why}", wait.as_secs_f64());
        let status = Status::Stream(StreamKind::Instrument, StreamState::Resyncing);
        self.tell(None, status, (Reason::Refused, &text), now, out);
    }

    fn take_products(&mut self, list: &[Listed<'_>], now: UnixNanos, out: &mut Outbox) {
        self.definitions.attempts = 0;
        self.definitions.due = Some(now.after(DEFINITIONS_EVERY));
        // Markets of their own first, so that another name of one that is also configured finds it taken.
        for aliases in [false, true] {
            for at in 0..self.wanted.len() {
                let wanted = &self.wanted[at];
                let listed = list.iter().find(|l| l.product_id == wanted.name.as_str());
                if listed.is_some_and(|l| !l.alias.is_empty()) != aliases {
                    continue;
                }
                let taken = match listed {
                    None => Err(format!(
                        "{} is no product of coinbase's: check its spelling, as in BTC-USD",
                        wanted.spelled
                    )),
                    Some(listed) => self.take_product(listed, now, out),
                };
                if let (Err(why), false) = (taken, self.wanted[at].settled) {
                    self.counts.refusals += 1;
                    let status = Status::Stream(StreamKind::Instrument, StreamState::Down);
                    self.tell(None, status, (Reason::Refused, &why), now, out);
                }
                self.wanted[at].settled = true;
            }
        }
        self.subscribe(now, out);
    }

    fn take_product(&mut self, listed: &Listed<'_>, now: UnixNanos, out: &mut Outbox) -> Result<(), String> {
        let id = &*listed.product_id;
        if !matches!(&*listed.product_type, "SPOT" | "") {
            return Err(format!("{id} is of type {}: only spot products can be told", listed.product_type));
        }
        let known = self.instruments.find(id.as_bytes());
        // An alias is no market: its data bears the other's name.
        let data_name = if listed.alias.is_empty() { id } else { &*listed.alias };
        if let Some(other) = self.names.get(data_name.as_bytes()).filter(|k| Some(*k) != known) {
            let other = &self.instruments.get(other).symbol;
            return Err(format!("{id} is another name of {data_name}, whose market data is told as {other} already"));
        }
        let product = listed.product().map_err(|e| e.to_string())?;
        let known = known.map(|k| self.instruments.get(k));
        let unusable = |source| DefinitionError::Number {
            product: id.to_owned(),
            field: "increments",
            value: format!("{:?} {:?}", product.tick, product.lot),
            source,
        };
        let definition = products::definition(&product, known).map_err(|e| unusable(e).to_string())?;
        self.check_definition(&definition, &[])?;
        self.define(definition, data_name, now, out);
        Ok(())
    }

    /// Whether a definition can be taken in together with `others`.
    fn check_definition(&self, definition: &Instrument, others: &[Instrument]) -> Result<(), String> {
        let symbol = &definition.venue_symbol;
        let clash = |i: &&Instrument| i.id == definition.id && i.venue_symbol != *symbol;
        if let Some(other) = self.instruments.iter().chain(others).find(clash) {
            return Err(format!("{symbol} and {} have the same id {}", other.venue_symbol, definition.id));
        }
        let known = self.instruments.find(symbol.as_bytes()).map(|k| &self.markets[k as usize]);
        if known.is_some_and(|m| !m.fits(definition.price_scale, definition.size_scale)) {
            return Err(format!("{symbol}: what is known does not fit 64 bits at the new scale"));
        }
        Ok(())
    }

    /// The `status` channel: checked as a whole, then taken in. It tells no restrictions and less of increments than
    /// the list of products, so of an instrument defined by that it only changes whether it trades.
    pub(super) fn apply_products(&mut self, now: UnixNanos, out: &mut Outbox) -> Result<(), FrameError> {
        self.counts.venue_status += 1;
        let mut definitions: Vec<Instrument> = vec![];
        for product in &self.scratch.products {
            let known = self.names.get(product.id.as_bytes()).map(|k| self.instruments.get(k));
            let definition = match known {
                Some(known) if !self.learns() => {
                    let mut changed = known.clone();
                    let restricted =
                        (known.status, product.status) == (InstrumentStatus::Restricted, InstrumentStatus::Trading);
                    if !restricted {
                        changed.status = product.status;
                    }
                    changed
                }
                None if !self.learns() => {
                    self.scratch.unknown_symbols += 1;
                    continue;
                }
                _ => products::definition(product, known)
                    .map_err(|e| bad(0, "products", format!("{}: {e}", product.id)))?,
            };
            self.check_definition(&definition, &definitions).map_err(|problem| bad(0, "products", problem))?;
            definitions.push(definition);
        }
        for definition in definitions {
            let name = definition.venue_symbol.clone();
            self.define(definition, &name, now, out);
        }
        Ok(())
    }

    /// The venue refused something: told of its instrument where the text names one, as only the text could.
    pub(super) fn apply_error(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.counts.refusals += 1;
        let text = std::mem::take(&mut self.scratch.error);
        let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let of: Option<Known> = words.find_map(|word| self.names.get(word.as_bytes()));
        let status = Status::Stream(StreamKind::Connection, StreamState::Down);
        self.tell(of, status, (Reason::Refused, &text), now, out);
    }
}
