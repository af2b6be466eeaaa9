//! An order book that matches: best price first, oldest order first.
//! orders, cancels, reductions -> [`Matching`] -> trades, level changes and order events of one [`Event`].
//!
//! Invariants: the orders of a level add up to its size; no bid at or above an ask; a trade is at the maker's price and
//! no larger than what is left of either order; every order event has the next sequence. Orders lie in a slab, those of
//! a level in a list from oldest to youngest, lists are found by price in a table, and the [`Book`] keeps the levels in
//! order: once as large as it gets, it takes no memory for what happens. Traders look at levels by rank, which a book
//! would have to count out, so the prices lie in a list too, the best at its end, where most comes and goes.

use book::{Book, Level};
use model::{Price, Qty, Side};

use super::Trade;
use super::event::{Change, Event};
use super::orders::{Match, Order, OrderEvent, id};

/// No order, in lists and tables.
const NONE: u32 = u32::MAX;

/// Where an order lies in the slab.
pub(crate) type Place = u32;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Counts the orders of a run from 1.
    number: u64,
    price: i64,
    size: i64,
    older: u32,
    /// The next younger of its level, or the next free slot.
    younger: u32,
    side: Side,
}

/// The orders of one level.
#[derive(Clone, Copy, Debug)]
struct Queue {
    price: i64,
    size: i64,
    oldest: u32,
    youngest: u32,
    count: u32,
}

const EMPTY: Queue = Queue { price: 0, size: 0, oldest: NONE, youngest: NONE, count: 0 };

/// Queues by price: a table with open places, at most half full.
#[derive(Clone, Debug)]
struct Queues {
    table: Vec<Queue>,
    used: usize,
}

impl Queues {
    fn with_capacity(levels: usize) -> Self {
        Self { table: vec![EMPTY; (levels * 2 + 16).next_power_of_two()], used: 0 }
    }

    #[inline]
    fn home(&self, price: i64) -> usize {
        let spread = (price as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (spread >> (64 - self.table.len().trailing_zeros())) as usize
    }

    /// Where a price's queue is, or where it belongs.
    #[inline]
    fn find(&self, price: i64) -> usize {
        let mut at = self.home(price);
        while self.table[at].count > 0 && self.table[at].price != price {
            at = (at + 1) & (self.table.len() - 1);
        }
        at
    }

    /// Where to put a price's first order; the table grows where it is half full.
    fn open(&mut self, price: i64) -> usize {
        if (self.used + 1) * 2 > self.table.len() {
            let wider = vec![EMPTY; self.table.len() * 2];
            for queue in std::mem::replace(&mut self.table, wider).into_iter().filter(|queue| queue.count > 0) {
                let at = self.find(queue.price);
                self.table[at] = queue;
            }
        }
        self.used += 1;
        let at = self.find(price);
        self.table[at] = Queue { price, ..EMPTY };
        at
    }

    /// Takes an emptied queue out; those that had to give way to it move up.
    fn close(&mut self, mut hole: usize) {
        self.used -= 1;
        let mask = self.table.len() - 1;
        let mut at = (hole + 1) & mask;
        while self.table[at].count > 0 {
            let home = self.home(self.table[at].price);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.table[hole] = self.table[at];
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.table[hole] = EMPTY;
    }
}

/// One instrument's orders and book.
#[derive(Clone, Debug)]
pub(crate) struct Matching {
    book: Book,
    queues: [Queues; 2],
    /// The prices of each side, the best last.
    ranks: [Vec<i64>; 2],
    slots: Vec<Slot>,
    free: u32,
    live: usize,
    made: u64,
    next_trade_id: u64,
    /// Number of the last fills of one taker at one price.
    aggregate: u64,
    sequence: u64,
    salt: u64,
    /// Whether order events are told.
    tells: bool,
    last_match: Option<Match>,
}

impl Matching {
    /// An empty book. Sequences and trade ids count on from `first_id`; `salt` makes the ids of a run its own.
    pub(crate) fn new(levels: usize, first_id: u64, salt: u64, tells: bool) -> Self {
        Self {
            book: Book::with_capacity(levels),
            queues: [Queues::with_capacity(levels), Queues::with_capacity(levels)],
            ranks: [Vec::with_capacity(levels * 2), Vec::with_capacity(levels * 2)],
            slots: Vec::with_capacity(levels * 3),
            free: NONE,
            live: 0,
            made: 0,
            next_trade_id: first_id + 1,
            aggregate: first_id,
            sequence: first_id,
            salt,
            tells,
            last_match: None,
        }
    }

    /// Sequences count on from here: the orders of the beginning are told by nobody.
    pub(crate) fn number_from(&mut self, first_id: u64) {
        self.sequence = first_id;
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Orders in the book.
    #[cfg(test)]
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Number of the last event.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn next_trade_id(&self) -> u64 {
        self.next_trade_id
    }

    pub(crate) fn last_match(&self) -> Option<&Match> {
        self.last_match.as_ref()
    }

    /// The price `rank` levels behind the best one.
    pub(crate) fn price(&self, side: Side, rank: usize) -> Option<Price> {
        let prices = &self.ranks[index(side)];
        prices.len().checked_sub(rank + 1).map(|at| Price(prices[at]))
    }

    /// Every order of a side: best price first, oldest first.
    pub(crate) fn side(&self, side: Side) -> impl Iterator<Item = Order> + '_ {
        self.book.levels(side).flat_map(move |level| self.level(side, level.price))
    }

    /// The orders of a level, oldest first.
    pub(crate) fn level(&self, side: Side, price: Price) -> impl Iterator<Item = Order> + '_ {
        let queues = &self.queues[index(side)];
        let oldest = Some(queues.table[queues.find(price.0)].oldest).filter(|at| *at != NONE);
        let younger = |at: &u32| Some(self.slots[*at as usize].younger).filter(|at| *at != NONE);
        std::iter::successors(oldest, younger).map(|at| self.order(at))
    }

    /// How many orders a level has.
    pub(crate) fn count(&self, side: Side, price: Price) -> u32 {
        let queues = &self.queues[index(side)];
        queues.table[queues.find(price.0)].count
    }

    /// The order that stands `rank` places behind the oldest of a level, or the youngest.
    pub(crate) fn place(&self, side: Side, price: Price, rank: u32) -> Option<Place> {
        let queues = &self.queues[index(side)];
        let mut at = queues.table[queues.find(price.0)].oldest;
        for _ in 0..rank {
            at = Some(self.slots.get(at as usize)?.younger).filter(|younger| *younger != NONE).unwrap_or(at);
        }
        Some(at).filter(|at| *at != NONE)
    }

    /// What is left of an order.
    pub(crate) fn size(&self, place: Place) -> Qty {
        Qty(self.slots[place as usize].size)
    }

    fn order(&self, place: Place) -> Order {
        let slot = &self.slots[place as usize];
        Order { id: id(self.salt, slot.number), price: Price(slot.price), size: Qty(slot.size) }
    }

    fn tell(&mut self, event: impl FnOnce(&Self) -> OrderEvent, out: &mut Event) {
        self.sequence += 1;
        if self.tells {
            let event = event(self);
            out.orders.push((self.sequence, event));
        }
    }

    /// An order comes in. It meets what is at its limit or better, oldest first at the best price; what is left rests,
    /// or is canceled if there is no limit.
    pub(crate) fn submit(&mut self, side: Side, limit: Option<Price>, size: Qty, out: &mut Event) {
        self.made += 1;
        let number = self.made;
        let taker = |book: &Self| id(book.salt, number);
        self.tell(|book| OrderEvent::Received { id: taker(book), side, price: limit, size }, out);
        let mut left = size.0;
        while left > 0 {
            let reaches = |level: &Level| match (limit, side) {
                (None, _) => true,
                (Some(limit), Side::Buy) => level.price <= limit,
                (Some(limit), Side::Sell) => level.price >= limit,
            };
            let Some(level) = self.book.best(side.opposite()).filter(reaches) else { break };
            left = self.meet(side, level.price, left, number, out);
        }
        match limit {
            Some(price) if left > 0 => self.rest(side, price, left, number, out),
            _ => {
                let (filled, remaining) = (left == 0, Qty(left));
                self.tell(|book| OrderEvent::Done { id: taker(book), side, price: limit, remaining, filled }, out);
            }
        }
    }

    /// A taker meets the orders of one level; gives what is left of it.
    fn meet(&mut self, taker_side: Side, price: Price, mut left: i64, number: u64, out: &mut Event) -> i64 {
        let side = taker_side.opposite();
        let at = self.queues[index(side)].find(price.0);
        let before = self.queues[index(side)].table[at].size;
        self.aggregate += 1;
        while left > 0 {
            let place = self.queues[index(side)].table[at].oldest;
            let Some(maker) = self.slots.get(place as usize).copied() else { break };
            let size = left.min(maker.size);
            left -= size;
            let trade = Trade {
                id: self.next_trade_id,
                aggregate: self.aggregate,
                time: out.time,
                price,
                size: Qty(size),
                taker: taker_side,
            };
            self.next_trade_id += 1;
            out.trades.push(trade);
            if self.tells {
                let (maker, taker) = (id(self.salt, maker.number), id(self.salt, number));
                let matched = Match { sequence: self.sequence + 1, maker, taker, trade };
                self.last_match = Some(matched);
            }
            self.tell(|book| OrderEvent::Match(book.last_match.expect("set above where events are told")), out);
            self.slots[place as usize].size -= size;
            self.queues[index(side)].table[at].size -= size;
            if size == maker.size {
                self.unlink(side, at, place);
                let price = Some(price);
                let done = |book: &Self| OrderEvent::Done {
                    id: id(book.salt, maker.number),
                    side,
                    price,
                    remaining: Qty(0),
                    filled: true,
                };
                self.tell(done, out);
            }
        }
        self.changed(side, at, price, before, out);
        left
    }

    fn rest(&mut self, side: Side, price: Price, size: i64, number: u64, out: &mut Event) {
        let queues = &mut self.queues[index(side)];
        let found = queues.find(price.0);
        let at = if queues.table[found].count > 0 { found } else { queues.open(price.0) };
        let queue = &mut queues.table[at];
        let (before, older) = (queue.size, queue.youngest);
        let slot = Slot { number, price: price.0, size, older, younger: NONE, side };
        let place = match self.free {
            NONE => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
            free => {
                self.free = self.slots[free as usize].younger;
                self.slots[free as usize] = slot;
                free
            }
        };
        match older {
            NONE => queue.oldest = place,
            older => self.slots[older as usize].younger = place,
        }
        (queue.youngest, queue.size, queue.count) = (place, before + size, queue.count + 1);
        self.live += 1;
        self.tell(|book| OrderEvent::Open { side, order: book.order(place) }, out);
        self.changed(side, at, price, before, out);
    }

    /// Takes an order out.
    pub(crate) fn cancel(&mut self, place: Place, out: &mut Event) {
        let Slot { number, price, size, side, .. } = self.slots[place as usize];
        let at = self.queues[index(side)].find(price);
        let before = self.queues[index(side)].table[at].size;
        self.queues[index(side)].table[at].size -= size;
        self.unlink(side, at, place);
        let (price, remaining) = (Price(price), Qty(size));
        let done = |book: &Self| OrderEvent::Done {
            id: id(book.salt, number),
            side,
            price: Some(price),
            remaining,
            filled: false,
        };
        self.tell(done, out);
        self.changed(side, at, price, before, out);
    }

    /// Shrinks an order, which keeps its place. `size` is positive and less than what is left of it.
    pub(crate) fn reduce(&mut self, place: Place, size: Qty, out: &mut Event) {
        let Slot { price, size: old, side, .. } = self.slots[place as usize];
        let at = self.queues[index(side)].find(price);
        let before = self.queues[index(side)].table[at].size;
        self.queues[index(side)].table[at].size -= old - size.0;
        self.slots[place as usize].size = size.0;
        self.tell(|book| OrderEvent::Change { side, order: book.order(place), old: Qty(old) }, out);
        self.changed(side, at, Price(price), before, out);
    }

    /// Takes an order out of its level's list and gives its slot back.
    fn unlink(&mut self, side: Side, at: usize, place: Place) {
        let Slot { older, younger, .. } = self.slots[place as usize];
        let queue = &mut self.queues[index(side)].table[at];
        match older {
            NONE => queue.oldest = younger,
            older => self.slots[older as usize].younger = younger,
        }
        match younger {
            NONE => queue.youngest = older,
            younger => self.slots[younger as usize].older = older,
        }
        queue.count -= 1;
        self.live -= 1;
        self.slots[place as usize].younger = self.free;
        self.free = place;
    }

    /// Brings the book up to a level's new size and says so.
    #[inline]
    fn changed(&mut self, side: Side, at: usize, price: Price, before: i64, out: &mut Event) {
        let queue = self.queues[index(side)].table[at];
        if queue.count == 0 {
            self.queues[index(side)].close(at);
        }
        if before == 0 || queue.count == 0 {
            let prices = &mut self.ranks[index(side)];
            let found = prices.binary_search_by(|other| match side {
                Side::Buy => other.cmp(&price.0),
                Side::Sell => price.0.cmp(other),
            });
            match found {
                Ok(at) if queue.count == 0 => drop(prices.remove(at)),
                Err(at) if queue.count > 0 => prices.insert(at, price.0),
                _ => {}
            }
        }
        self.book.set(side, price, Qty(queue.size));
        out.changes.push(Change { side, price, before: Qty(before), after: Qty(queue.size) });
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Sell)
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
