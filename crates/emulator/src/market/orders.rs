//! The orders behind the levels of a simulated book, for venues that tell each order.
//! level changes and the trade that caused them -> [`Orders::apply`] -> [`OrderEvent`]s, numbered without a hole.
//!
//! Invariants: the orders of a level add up to its size; a trade meets the oldest order of the best level and is no
//! larger than it, so one trade is one match; every event has the next sequence. Levels stay the simulation's: orders
//! follow them, an increase being a new order and a decrease the youngest orders leaving or shrinking.

use std::collections::{BTreeMap, VecDeque};

use book::{Book, Level};
use fastrand::Rng;
use model::{Price, Qty, Side};

use super::Trade;
use super::simulation::Change;

/// Most orders that a level starts with.
const START_ORDERS_MAX: i64 = 3;

/// A resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The 128 bits of its UUID.
    pub(crate) id: u128,
    pub(crate) price: Price,
    /// What is left of it.
    pub(crate) size: Qty,
}

/// A trade between two orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) sequence: u64,
    pub(crate) maker: u128,
    pub(crate) taker: u128,
    pub(crate) trade: Trade,
}

/// What happened to an order; the side is the order's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderEvent {
    /// The venue took it in; a market order has no price.
    Received { id: u128, side: Side, price: Option<Price>, size: Qty },
    /// It rests in the book.
    Open { side: Side, order: Order },
    /// It traded.
    Match(Match),
    /// It shrank in its place.
    Change { side: Side, order: Order, old: Qty },
    /// It is gone: filled with nothing left, or canceled with `remaining` left.
    Done { id: u128, side: Side, price: Option<Price>, remaining: Qty, filled: bool },
}

#[derive(Debug)]
pub(crate) struct Orders {
    sides: [BTreeMap<Price, VecDeque<Order>>; 2],
    sequence: u64,
    orders_made: u64,
    salt: u64,
    last_match: Option<Match>,
}

impl Orders {
    /// Orders for the levels there are. Sequences count on from `first`.
    pub(crate) fn new(book: &Book, lot: Qty, first: u64, rng: &mut Rng) -> Self {
        let mut orders = Self {
            sides: Default::default(),
            sequence: first,
            orders_made: 0,
            salt: rng.u64(..) ^ first.rotate_left(32),
            last_match: None,
        };
        for side in [Side::Buy, Side::Sell] {
            for level in book.levels(side) {
                let lots = level.size.0 / lot.0.max(1);
                let parts = rng.i64(1..=START_ORDERS_MAX).min(lots.max(1));
                let part = lots / parts * lot.0.max(1);
                for index in 0..parts {
                    let size = if index + 1 < parts { part } else { level.size.0 - part * (parts - 1) };
                    let order = orders.order(level.price, Qty(size));
                    orders.queue(side, level.price).push_back(order);
                }
            }
        }
        orders
    }

    /// Number of the last event.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn last_match(&self) -> Option<&Match> {
        self.last_match.as_ref()
    }

    /// What the next trade at a level can be at most.
    pub(crate) fn head(&self, side: Side, price: Price) -> Option<Qty> {
        self.sides[index(side)].get(&price)?.front().map(|order| order.size)
    }

    /// Every order of a side: best price first, oldest first.
    pub(crate) fn side(&self, side: Side) -> impl Iterator<Item = Order> + '_ {
        let levels = &self.sides[index(side)];
        let (falling, rising) = match side {
            Side::Buy => (Some(levels.values().rev()), None),
            Side::Sell => (None, Some(levels.values())),
        };
        falling.into_iter().flatten().chain(rising.into_iter().flatten()).flatten().copied()
    }

    /// Follows one level's change; `trade` is what consumed the level, if something did.
    pub(crate) fn apply(&mut self, change: &Change, trade: Option<&Trade>, events: &mut Vec<(u64, OrderEvent)>) {
        let Change { side, price, before, after } = *change;
        let mut now = before;
        if let Some(trade) = trade {
            self.meet(side, trade, events);
            now = Qty(before.0 - trade.size.0);
        }
        if after > now {
            let order = self.order(price, Qty(after.0 - now.0));
            self.queue(side, price).push_back(order);
            let (id, size) = (order.id, order.size);
            self.tell(OrderEvent::Received { id, side, price: Some(price), size }, events);
            self.tell(OrderEvent::Open { side, order }, events);
        }
        self.withdraw(side, price, Qty(now.0 - after.0), events);
        if after.0 == 0 {
            self.sides[index(side)].remove(&price);
        }
    }

    /// A taker meets the oldest order of a level.
    fn meet(&mut self, maker_side: Side, trade: &Trade, events: &mut Vec<(u64, OrderEvent)>) {
        let taker = self.order(trade.price, trade.size).id;
        // Every third taker is a market order.
        let price = (!trade.id.is_multiple_of(3)).then_some(trade.price);
        let side = maker_side.opposite();
        self.tell(OrderEvent::Received { id: taker, side, price, size: trade.size }, events);
        let queue = self.queue(maker_side, trade.price);
        let maker = queue.front_mut().expect("the traded level was there, and levels have orders");
        maker.size.0 -= trade.size.0;
        let (id, left) = (maker.id, maker.size);
        if left.0 == 0 {
            queue.pop_front();
        }
        let matched = Match { sequence: self.sequence + 1, maker: id, taker, trade: *trade };
        self.last_match = Some(matched);
        self.tell(OrderEvent::Match(matched), events);
        if left.0 == 0 {
            let price = Some(trade.price);
            self.tell(OrderEvent::Done { id, side: maker_side, price, remaining: Qty(0), filled: true }, events);
        }
        self.tell(OrderEvent::Done { id: taker, side, price, remaining: Qty(0), filled: true }, events);
    }

    /// Takes `excess` out of a level, youngest orders first.
    fn withdraw(&mut self, side: Side, price: Price, mut excess: Qty, events: &mut Vec<(u64, OrderEvent)>) {
        while excess.0 > 0 {
            let queue = self.queue(side, price);
            let last = queue.back_mut().expect("a level's orders add up to its size");
            if last.size > excess {
                let old = last.size;
                last.size.0 -= excess.0;
                let order = *last;
                return self.tell(OrderEvent::Change { side, order, old }, events);
            }
            let Order { id, size, .. } = *last;
            queue.pop_back();
            excess.0 -= size.0;
            self.tell(OrderEvent::Done { id, side, price: Some(price), remaining: size, filled: false }, events);
        }
    }

    fn tell(&mut self, event: OrderEvent, events: &mut Vec<(u64, OrderEvent)>) {
        self.sequence += 1;
        events.push((self.sequence, event));
    }

    fn queue(&mut self, side: Side, price: Price) -> &mut VecDeque<Order> {
        self.sides[index(side)].entry(price).or_default()
    }

    /// A new order with an id of its own: its number in the last 48 bits, noise of the run before.
    fn order(&mut self, price: Price, size: Qty) -> Order {
        self.orders_made += 1;
        let noise = u128::from(mixed(self.salt ^ self.orders_made)) << 64;
        let node = u128::from(self.orders_made & 0xFFFF_FFFF_FFFF);
        let version = 4_u128 << 76;
        let variant = 0x8_u128 << 60;
        let kept = !(0xF_u128 << 76) & !0xFFFF_FFFF_FFFF_FFFF_u128;
        let clock = u128::from(mixed(self.salt.wrapping_add(self.orders_made)) & 0xFFF) << 48;
        Order { id: noise & kept | version | variant | clock | node, price, size }
    }

    /// Whether the orders of each level add up to it.
    #[cfg(test)]
    pub(crate) fn agrees(&self, book: &Book) -> bool {
        [Side::Buy, Side::Sell].into_iter().all(|side| {
            let mut levels: Vec<Level> = Vec::new();
            for order in self.side(side) {
                match levels.last_mut().filter(|level| level.price == order.price) {
                    Some(level) => level.size.0 += order.size.0,
                    None => levels.push(Level { price: order.price, size: order.size }),
                }
            }
            levels == book.levels(side).collect::<Vec<_>>()
        })
    }
}

/// The size of each level and how many orders it has.
pub(crate) fn levels(orders: impl Iterator<Item = Order>) -> Vec<(Level, usize)> {
    let mut levels: Vec<(Level, usize)> = Vec::new();
    for order in orders {
        match levels.last_mut().filter(|(level, _)| level.price == order.price) {
            Some((level, count)) => {
                level.size.0 += order.size.0;
                *count += 1;
            }
            None => levels.push((Level { price: order.price, size: order.size }, 1)),
        }
    }
    levels
}

/// Appends an id as UUIDs are written.
pub(crate) fn push_uuid(id: u128, out: &mut Vec<u8>) {
    for index in 0..32 {
        if [8, 12, 16, 20].contains(&index) {
            out.push(b'-');
        }
        let digit = (id >> (124 - 4 * index)) as u8 & 0xF;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Sell)
}

/// The finaliser of splitmix64: neighbours become noise, and no two become one.
fn mixed(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::simulation::Simulation;
    use model::UnixNanos;

    #[test]
    fn orders_add_up_to_the_levels_and_sequences_have_no_hole() {
        for seed in 0..3 {
            let mut market = Simulation::new(seed, crate::coinbase::default_pairs(), 60, &[60], 1000).with_orders(seed);
            let mut last: Vec<u64> = market.pairs().iter().map(|pair| pair.orders().expect("on").sequence()).collect();
            let mut changed = 0;
            for index in 0..20_000 {
                market.step(UnixNanos(index));
                let event = market.event();
                for (sequence, order) in &event.orders {
                    assert_eq!(*sequence, last[event.pair] + 1, "seed {seed} index {index}");
                    last[event.pair] = *sequence;
                    changed += u64::from(matches!(order, OrderEvent::Change { .. }));
                }
                let pair = &market.pairs()[event.pair];
                assert!(pair.orders().expect("on").agrees(&pair.book), "seed {seed} index {index}");
                assert!(!event.orders.is_empty());
            }
            assert!(changed > 100, "{changed}");
        }
    }

    #[test]
    fn ids_are_written_as_uuids_of_version_four() {
        let mut out = Vec::new();
        let mut orders = Orders::new(&Book::default(), Qty(1), 7, &mut Rng::with_seed(1));
        push_uuid(orders.order(Price(1), Qty(1)).id, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert_eq!((text.len(), &text[14..15], &text[19..20]), (36, "4", "8"), "{text}");
        assert!(text.ends_with("000000000001"), "{text}");
    }
}
