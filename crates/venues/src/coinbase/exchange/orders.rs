//! Books made of orders: the full channel tells every step of every order, numbered without holes for each product.
//!
//! Steps are kept while the orders at rest are fetched; those the answer contains are dropped, the others applied, and
//! from then on each must follow the one before by exactly one. Anything else is a gap, and that book alone is fetched
//! again. A step changes one order, and through it one level (or two, when it moves), which is told as any book's is.

use super::books::Fault;
use super::exact::{self, Numbers};
use super::machine::Exchange;
use super::map;
use super::market::Ladder;
use super::messages::{MatchMessage, Named, OrderId, OrderMessage, order_id};
use crate::{FrameError, Known, Outbox, Proof, Reply, RequestId};
use book::Level;
use model::{BookState, GapCause, Price, Qty, Reason, Side, StreamKind, UnixNanos};
use scan::{Json, NAME_LEN_MAX};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;
use wire::{Flags, NONE, OrderAction};

/// The orders are fetched with the first step, or so long after the subscription when the book is quiet.
pub(super) const FIRST_STEP_WAIT: Duration = Duration::from_millis(500);

/// Steps kept for a snapshot: minutes of the busiest product, 10 MiB.
const QUEUE_MAX: usize = 1 << 17;

/// Order ids are random already; this only brings all of their bits together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    #[inline]
    fn write_u128(&mut self, id: u128) {
        let folded = (id >> 64) as u64 ^ (id as u64).rotate_left(32) ^ self.0;
        self.0 = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// An order at rest: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Resting {
    price: i64,
    /// Below zero for an ask.
    size: i64,
}

impl Resting {
    fn new(side: Side, price: i64, size: i64) -> Resting {
        Resting { price, size: if side == Side::Buy { size } else { -size } }
    }
}

/// A step as far as it concerns a book.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    action: OrderAction,
    side: Side,
    order: u128,
    /// [`NONE`] where the price stays.
    price: i64,
    /// [`NONE`] where the size stays.
    size: i64,
    sequence: u64,
    time: UnixNanos,
}

fn key(id: OrderId) -> u128 {
    u128::from(id[0]) << 64 | u128::from(id[1])
}

impl Step {
    fn of_order(o: &OrderMessage) -> Step {
        let price = if o.action == OrderAction::Change { o.new_price } else { o.price };
        Step {
            action: o.action,
            side: o.side,
            order: key(o.order),
            price: price.unwrap_or(NONE),
            size: o.size.unwrap_or(NONE),
            sequence: o.sequence,
            time: o.time,
        }
    }

    fn of_match(t: &MatchMessage) -> Step {
        Step {
            action: OrderAction::Match,
            side: t.maker,
            order: key(t.order),
            price: NONE,
            size: t.size,
            sequence: t.sequence,
            time: t.time,
        }
    }
}

/// What one step does to one level.
type Delta = Option<(Side, i64, i64)>;

/// The orders of one product and how far they are known.
#[derive(Debug, Default)]
pub struct Orders {
    resting: HashMap<u128, Resting, BuildHasherDefault<Mix>>,
    /// The step up to which the book is made; 0 for none.
    applied: u64,
    /// The last step heard of on this connection; 0 before the first.
    seen: u64,
    /// The first step from which none is missing up to the last; 0 for none.
    from: u64,
    queue: Vec<(Step, UnixNanos)>,
    request: Option<RequestId>,
    /// No snapshot can be had, as of a capture.
    blind: bool,
}

impl Orders {
    /// The step up to which the book is made; 0 where it is not made of orders.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The last step heard of on this connection, or contained in a live book; 0 for none.
    fn last(&self, live: bool) -> u64 {
        if self.seen == 0 && live { self.applied } else { self.seen }
    }

    /// Whether a heartbeat tells of steps that should have been heard of.
    pub fn behind(&self, live: bool, sequence: u64) -> bool {
        self.last(live) != 0 && sequence > self.last(live).max(self.applied)
    }

    /// Whether all orders fit 64 bits when multiplied.
    pub fn fit(&self, price: i64, size: i64) -> bool {
        let fits = |p: i64, s: i64| {
            (p == NONE || p.checked_mul(price).is_some()) && (s == NONE || s.checked_mul(size).is_some())
        };
        self.resting.values().all(|o| fits(o.price, o.size)) && self.queue.iter().all(|(s, _)| fits(s.price, s.size))
    }

    /// Multiplies all orders by factors with which they fit.
    pub fn rescale(&mut self, price: i64, size: i64) {
        for o in self.resting.values_mut() {
            (o.price, o.size) = (o.price * price, o.size * size);
        }
        for (s, _) in &mut self.queue {
            s.price = if s.price == NONE { NONE } else { s.price * price };
            s.size = if s.size == NONE { NONE } else { s.size * size };
        }
    }

    /// The connection is gone. How far the book was made is kept, to tell what was missed.
    pub fn disconnect(&mut self) {
        self.resting.clear();
        self.queue.clear();
        (self.seen, self.from, self.request, self.blind) = (0, 0, None, false);
    }

    /// Takes a step in, and says what it does to levels. Steps of orders that are not at rest do nothing to them.
    #[inline]
    fn take(&mut self, s: &Step) -> [Delta; 2] {
        let sign = |side: Side, size: i64| if side == Side::Buy { size } else { -size };
        match s.action {
            OrderAction::Open => {
                let before = self.resting.insert(s.order, Resting::new(s.side, s.price, s.size));
                let before = before.map(|o| (side_of(&o, s.side), o.price, -o.size.abs()));
                [before, Some((s.side, s.price, s.size))]
            }
            OrderAction::Match => match self.resting.get_mut(&s.order) {
                Some(o) => {
                    let taken = s.size.min(o.size.abs());
                    o.size -= sign(s.side, taken);
                    [Some((s.side, o.price, -taken)), None]
                }
                None => [None, None],
            },
            OrderAction::Filled | OrderAction::Canceled => match self.resting.remove(&s.order) {
                Some(o) => [Some((s.side, o.price, -o.size.abs())), None],
                None => [None, None],
            },
            OrderAction::Change => match self.resting.get_mut(&s.order) {
                Some(o) => {
                    let before = (s.side, o.price, -o.size.abs());
                    let size = if s.size == NONE { o.size.abs() } else { s.size };
                    let price = if s.price == NONE { o.price } else { s.price };
                    *o = Resting::new(s.side, price, size);
                    if price == before.1 {
                        return [Some((s.side, price, size + before.2)), None];
                    }
                    [Some(before), Some((s.side, price, size))]
                }
                None => [None, None],
            },
            OrderAction::Received | OrderAction::Activated => [None, None],
        }
    }
}

/// The side of an order at rest; one of no size has the side it is now said to have.
fn side_of(o: &Resting, said: Side) -> Side {
    match o.size.signum() {
        1 => Side::Buy,
        -1 => Side::Sell,
        _ => said,
    }
}

/// What `/products/{id}/book?level=3` answers.
struct Fetched {
    sequence: u64,
    time: UnixNanos,
}

impl Exchange {
    /// A step of an order's life, other than a trade.
    #[inline]
    pub(super) fn apply_order(&mut self, k: Known, o: &OrderMessage, received: UnixNanos, out: &mut Outbox) {
        if !self.markets[k as usize].full {
            if !self.learns() {
                self.counts.unused_types += 1;
                return;
            }
            // A captured book that is kept from level 2 stays with it.
            self.markets[k as usize].full = self.markets[k as usize].ladder.trust.state() == BookState::Cold;
        }
        let full = self.markets[k as usize].full;
        if full && o.sequence != 0 && !self.follows(k, o.sequence, received, out) {
            return;
        }
        if self.tells_orders() {
            map::order(&self.markets[k as usize], o, received, &mut out.records);
            self.counts.orders += 1;
        }
        if full && o.sequence != 0 {
            self.apply_step(k, &Step::of_order(o), received, out);
        }
        self.seen(k, StreamKind::Book, o.sequence, received, out);
    }

    /// A trade as a step of the maker's order.
    #[inline]
    pub(super) fn apply_match_step(&mut self, k: Known, t: &MatchMessage, received: UnixNanos, out: &mut Outbox) {
        if !self.follows(k, t.sequence, received, out) {
            return;
        }
        if self.tells_orders() {
            map::matched(&self.markets[k as usize], t, received, &mut out.records);
            self.counts.orders += 1;
        }
        self.apply_step(k, &Step::of_match(t), received, out);
        self.seen(k, StreamKind::Book, t.sequence, received, out);
    }

    /// Whether a step is news. Steps missing before it are told.
    #[inline]
    fn follows(&mut self, k: Known, sequence: u64, received: UnixNanos, out: &mut Outbox) -> bool {
        let m = &mut self.markets[k as usize];
        let last = m.orders.last(m.ladder.trust.is_live());
        if sequence <= m.orders.seen {
            self.counts.book_updates_old += 1;
            return false;
        }
        if last != 0 && sequence.saturating_sub(last) > 1 {
            self.steps_missing(k, (last + 1, sequence - 1), received, out);
        } else if last != 0 {
            self.counts.sequences_ok += 1;
            self.markets[k as usize].ladder.trust.held(Proof::Ids);
        }
        let orders = &mut self.markets[k as usize].orders;
        orders.seen = sequence;
        if orders.from == 0 {
            orders.from = sequence;
        }
        true
    }

    /// Steps never came: the book, and the orders where they are told, miss them.
    #[cold]
    pub(super) fn steps_missing(&mut self, k: Known, range: (u64, u64), now: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        m.ladder.trust.failed(Proof::Ids);
        m.orders.queue.clear();
        m.orders.from = 0;
        let from = m.ladder.last_recv;
        if self.tells_orders() {
            let m = &self.markets[k as usize];
            map::gap(m, StreamKind::Order, GapCause::Sequence, Some(range), from, now, &mut out.records);
            self.counts.gaps += 1;
        }
        let m = &self.markets[k as usize];
        if m.ladder.trust.is_live() {
            let text = format!("sequence {} does not follow {}", range.1 + 1, range.0 - 1);
            let fault = Fault { reason: Reason::Sequence, text: &text, range: Some(range) };
            self.fail_book(k, fault, now, out);
        } else {
            map::gap(m, StreamKind::Book, GapCause::Sequence, Some(range), from, now, &mut out.records);
            self.counts.gaps += 1;
            self.markets[k as usize].ladder.broken = true;
        }
    }

    /// An earlier heartbeat told of this step, and it has not come since.
    pub(super) fn catch_up_orders(&mut self, k: Known, told: u64, now: UnixNanos, out: &mut Outbox) {
        let m = &self.markets[k as usize];
        let live = m.ladder.trust.is_live();
        if m.orders.behind(live, told) {
            let first = m.orders.last(live) + 1;
            self.steps_missing(k, (first, told), now, out);
            self.markets[k as usize].orders.seen = told;
        }
    }

    /// Applies a step to a live book, or keeps it for one.
    #[inline]
    fn apply_step(&mut self, k: Known, s: &Step, received: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        match m.ladder.trust.is_live() {
            true if s.sequence > m.orders.applied => {
                m.orders.applied = s.sequence;
                let (id, before) = (m.id, out.records.len());
                self.tell_step(k, s, received, out);
                out.mark_event(id, before, s.sequence, s.sequence);
            }
            // The snapshot contains it.
            true => self.counts.book_updates_old += 1,
            false if m.orders.blind => {}
            false => self.keep_step(k, s, received, out),
        }
    }

    /// What a step does to the book, and tells it.
    #[inline]
    fn tell_step(&mut self, k: Known, s: &Step, received: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        let mut changes = [(Side::Buy, Level { price: Price(0), size: Qty(0) }); 2];
        let mut count = 0;
        for (side, price, delta) in m.orders.take(s).into_iter().flatten().filter(|(_, _, delta)| *delta != 0) {
            let Some(size) = m.ladder.book.size(side, Price(price)).0.checked_add(delta) else {
                let text = "the orders of a level do not fit 64 bits";
                self.fail_book(k, Fault { reason: Reason::Malformed, text, range: None }, received, out);
                return;
            };
            changes[count] = (side, Level { price: Price(price), size: Qty(size.max(0)) });
            count += 1;
        }
        (m.ladder.time, m.ladder.last_recv) = (s.time, received);
        map::changes(m, &changes[..count], Flags::EMPTY, s.time, received, &mut out.records, &mut self.counts);
        if count > 0 {
            let Ladder { trust, book, .. } = &mut m.ladder;
            self.counts.crossed += u64::from(trust.applied(book, s.sequence, received));
            self.counts.book_updates += 1;
        }
    }

    /// Keeps a step for the snapshot, which the first one asks for.
    fn keep_step(&mut self, k: Known, s: &Step, received: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        if m.orders.queue.len() == QUEUE_MAX {
            let (range, from) = ((m.orders.from, m.orders.seen - 1), m.ladder.last_recv);
            m.orders.queue.clear();
            m.orders.from = s.sequence;
            map::gap(m, StreamKind::Book, GapCause::Overflow, Some(range), from, received, &mut out.records);
            self.counts.gaps += 1;
        }
        let m = &mut self.markets[k as usize];
        m.orders.queue.push((*s, received));
        self.counts.book_updates_buffered += 1;
        let asked = m.orders.request.is_some() || m.ladder.attempts > 0;
        if !asked && (m.ladder.trust.state() != BookState::Suspect || self.learns()) {
            self.ask_again(k, received, out);
        }
    }

    /// Asks for the orders at rest.
    pub(super) fn fetch_orders(&mut self, k: Known, out: &mut Outbox) {
        let path = format!("/products/{}/book?level=3", self.instruments.get(k).venue_symbol);
        self.markets[k as usize].orders.request = Some(out.request(path, 1));
    }

    /// The answer to a request for orders, if it is one and still waited for.
    pub(super) fn on_orders(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let Some(k) = self.markets.iter().position(|m| m.orders.request == Some(request)) else { return };
        let k = k as Known;
        self.markets[k as usize].orders.request = None;
        let why = match reply {
            Reply::Http { status: 200, body, .. } => match self.load_orders(k, body, now, out) {
                Ok(()) => return,
                Err(why) => {
                    self.counts.snapshots_unbridged += 1;
                    why
                }
            },
            Reply::Http { status, body, .. } => {
                format!("HTTP status {status}: {}", String::from_utf8_lossy(&body[..body.len().min(100)]))
            }
            Reply::Failed(why) => why.to_owned(),
        };
        if self.learns() {
            let m = &mut self.markets[k as usize];
            m.orders.blind = true;
            m.orders.queue.clear();
            m.ladder.retry_at = None;
            let text = format!("orders are told without a book: {why}");
            self.enter(k, BookState::Suspect, (Reason::Snapshot, &text), now, out);
            self.find_next_retry();
        } else {
            self.retry_later(k, now);
        }
    }

    /// Makes the book of the answer and of what was kept, or says why it cannot be used.
    fn load_orders(&mut self, k: Known, body: &[u8], now: UnixNanos, out: &mut Outbox) -> Result<(), String> {
        let mut rows = vec![];
        let m = &self.markets[k as usize];
        let mut numbers = Numbers::at((m.price_scale, m.size_scale), false);
        let mut fetched = self.read_orders(body, &mut numbers, &mut rows).map_err(|e| e.to_string())?;
        if numbers.need != (numbers.price, numbers.size) {
            numbers = Numbers::at(numbers.need, false);
            fetched = self.read_orders(body, &mut numbers, &mut rows).map_err(|e| e.to_string())?;
        }
        let from = self.markets[k as usize].orders.from;
        if from > fetched.sequence.saturating_add(1) {
            return Err(format!("the orders are of {}, before the first step kept, {from}", fetched.sequence));
        }
        let (bids, asks) = (levels(&mut rows, Side::Buy)?, levels(&mut rows, Side::Sell)?);
        if matches!((bids.first(), asks.first()), (Some(bid), Some(ask)) if bid.0 >= ask.0) {
            return Err(format!("the orders of {} are crossed", fetched.sequence));
        }
        self.widen(k, numbers.need, now, out).map_err(|e| e.to_string())?;
        self.counts.book_snapshots += 1;
        let m = &mut self.markets[k as usize];
        m.ladder.book.load(Side::Buy, &bids);
        m.ladder.book.load(Side::Sell, &asks);
        m.ladder.time = fetched.time;
        m.orders.resting.clear();
        m.orders.resting.extend(rows.iter().map(|(side, order, l)| (*order, Resting::new(*side, l.price.0, l.size.0))));
        let missed = self.missed_steps(k, fetched.sequence);
        let m = &mut self.markets[k as usize];
        m.orders.applied = fetched.sequence;
        if missed.is_none() {
            m.ladder.gap = None;
        }
        self.went_live(k, missed, now, out);
        let queue = std::mem::take(&mut self.markets[k as usize].orders.queue);
        for (step, received) in &queue {
            self.apply_step(k, step, *received, out);
        }
        let orders = &mut self.markets[k as usize].orders;
        if orders.queue.is_empty() {
            orders.queue = queue;
            orders.queue.clear();
        }
        orders.applied = orders.applied.max(orders.seen);
        Ok(())
    }

    /// What is missing between the last book and this one: nothing, something, or exactly these steps.
    fn missed_steps(&self, k: Known, sequence: u64) -> Option<Option<(u64, u64)>> {
        let m = &self.markets[k as usize];
        m.ladder.gap?;
        if m.orders.applied == 0 {
            return Some(None);
        }
        let next = if m.orders.from == 0 { sequence.saturating_add(1) } else { m.orders.from };
        let first = m.orders.applied.saturating_add(1);
        (next > first).then(|| Some((first, next - 1)))
    }

    fn read_orders(
        &mut self,
        body: &[u8],
        numbers: &mut Numbers,
        rows: &mut Vec<(Side, u128, Level)>,
    ) -> Result<Fetched, FrameError> {
        let mut json = Json::new(body);
        let (mut sequence, mut time, mut room) = (None, UnixNanos::ZERO, [0; NAME_LEN_MAX]);
        rows.clear();
        json.object().of("book")?;
        while let Some(name) = json.key().of("book")? {
            match name.name(&mut room) {
                b"sequence" => sequence = Some(json.u64().of("sequence")?),
                b"bids" => read_side(&mut json, Side::Buy, numbers, rows)?,
                b"asks" => read_side(&mut json, Side::Sell, numbers, rows)?,
                b"time" => {
                    let text = json.string().of("time")?;
                    let read = self.scratch.days.rfc3339_nanos(text.name(&mut [0; NAME_LEN_MAX]));
                    time = UnixNanos(read.map_or(0, |(nanos, _)| nanos));
                }
                _ => {}
            }
        }
        json.end().of("book")?;
        let sequence = sequence.ok_or_else(|| exact::bad(body.len(), "sequence", "is missing"))?;
        Ok(Fetched { sequence, time })
    }
}

/// Rows of price, size and order.
fn read_side(
    json: &mut Json<'_>,
    side: Side,
    numbers: &mut Numbers,
    rows: &mut Vec<(Side, u128, Level)>,
) -> Result<(), FrameError> {
    let field = if side == Side::Buy { "bids" } else { "asks" };
    json.array().of(field)?;
    while json.element().of(field)? {
        json.array().of(field)?;
        exact::next(json, field)?;
        let price = Price(numbers.price(json, field, 1)?);
        exact::next(json, field)?;
        let size = Qty(numbers.size(json, field)?);
        exact::next(json, field)?;
        let offset = json.offset();
        let id = order_id(json.string().of(field)?.name(&mut [0; NAME_LEN_MAX]));
        let id = id.ok_or_else(|| exact::bad(offset, field, "has an order id that is no UUID"))?;
        while json.element().of(field)? {}
        rows.push((side, key(id), Level { price, size }));
    }
    Ok(())
}

/// The levels of one side's orders, best first.
fn levels(rows: &mut [(Side, u128, Level)], side: Side) -> Result<Vec<(Price, Qty)>, String> {
    rows.sort_by_key(|(side, _, l)| (*side, l.price));
    let mut levels: Vec<(Price, Qty)> = vec![];
    for (_, _, l) in rows.iter().filter(|(s, _, l)| *s == side && l.size.0 > 0) {
        match levels.last_mut().filter(|(price, _)| *price == l.price) {
            Some((_, size)) => {
                let sum = size.0.checked_add(l.size.0).ok_or("the orders of a level do not fit 64 bits")?;
                *size = Qty(sum);
            }
            None => levels.push((l.price, l.size)),
        }
    }
    if side == Side::Buy {
        levels.reverse();
    }
    Ok(levels)
}
