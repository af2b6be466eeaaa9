//! The matching book against one so simple that it can be seen to be right.

use std::collections::BTreeMap;

use model::UnixNanos;

use super::*;
use crate::market::draw::Draw;

/// Orders in the order of their coming; everything is searched for.
#[derive(Default)]
struct Naive {
    resting: Vec<(u64, Side, i64, i64)>,
    made: u64,
    traded: i64,
    canceled: i64,
}

impl Naive {
    /// The best order of a side: of equal prices the oldest.
    fn first(&self, side: Side, limit: Option<i64>) -> Option<usize> {
        let sign = if side == Side::Buy { -1 } else { 1 };
        let reaches = |price: i64| limit.is_none_or(|limit| price * sign <= limit * sign);
        let of_side = self.resting.iter().enumerate().filter(|(_, order)| order.1 == side && reaches(order.2));
        of_side.min_by_key(|(_, order)| (order.2 * sign, order.0)).map(|(at, _)| at)
    }

    /// Trades as maker's number, price and size.
    fn submit(&mut self, side: Side, limit: Option<i64>, size: i64) -> Vec<(u64, i64, i64)> {
        self.made += 1;
        let (mut left, mut trades) = (size, Vec::new());
        while left > 0 {
            let Some(at) = self.first(side.opposite(), limit) else { break };
            let (number, _, price, resting) = self.resting[at];
            let traded = left.min(resting);
            trades.push((number, price, traded));
            left -= traded;
            self.traded += traded;
            self.resting[at].3 -= traded;
            if self.resting[at].3 == 0 {
                self.resting.remove(at);
            }
        }
        match limit {
            Some(price) if left > 0 => self.resting.push((self.made, side, price, left)),
            _ => self.canceled += left,
        }
        trades
    }

    fn side(&self, side: Side) -> Vec<(u64, i64, i64)> {
        let sign = if side == Side::Buy { -1 } else { 1 };
        let mut orders: Vec<_> = self.resting.iter().filter(|order| order.1 == side).collect();
        orders.sort_by_key(|order| (order.2 * sign, order.0));
        orders.iter().map(|order| (order.0, order.2, order.3)).collect()
    }
}

fn number(id: u128) -> u64 {
    (id & 0xFFFF_FFFF_FFFF) as u64
}

fn side_of(book: &Matching, side: Side) -> Vec<(u64, i64, i64)> {
    book.side(side).map(|order| (number(order.id), order.price.0, order.size.0)).collect()
}

/// Where an order of the naive book lies in the other.
fn place(book: &Matching, side: Side, price: i64, wanted: u64) -> Place {
    let rank = book.level(side, Price(price)).position(|order| number(order.id) == wanted);
    book.place(side, Price(price), rank.expect("the order rests") as u32).expect("a level with orders")
}

/// Runs random instructions on both; `span` is how many prices there are.
fn compare(seed: u64, span: i64, steps: u64) {
    let mut book = Matching::new(4, 1_000, seed, true);
    let (mut naive, mut event) = (Naive::default(), Event::none());
    let (mut submitted, mut withdrawn, mut sequence) = (0, 0, 1_000);
    let mut levels = BTreeMap::new();
    for step in 0..steps {
        let mut draw = Draw::new(seed, 9, step);
        event.begin(0, UnixNanos(step));
        let choice = draw.below(10);
        if choice < 7 || naive.resting.is_empty() {
            let side = if draw.chance(500) { Side::Buy } else { Side::Sell };
            // Bids are mostly lower than asks, so that books grow.
            let lean = if side == Side::Buy { 0 } else { span / 3 };
            let limit = (!draw.chance(80)).then(|| 10_000 + lean + draw.within(0, span - 1));
            let size = draw.within(1, 50);
            submitted += size;
            book.submit(side, limit.map(Price), Qty(size), &mut event);
            let expected = naive.submit(side, limit, size);
            let matches = event.orders.iter().filter_map(|(_, order)| match order {
                OrderEvent::Match(m) => Some((number(m.maker), m.trade.price.0, m.trade.size.0)),
                _ => None,
            });
            assert_eq!(matches.collect::<Vec<_>>(), expected, "seed {seed} step {step}");
            assert_eq!(event.trades.len(), expected.len());
        } else {
            let at = draw.below(naive.resting.len() as u64) as usize;
            let (wanted, side, price, left) = naive.resting[at];
            let place = place(&book, side, price, wanted);
            if choice < 9 || left == 1 {
                book.cancel(place, &mut event);
                withdrawn += naive.resting.remove(at).3;
            } else {
                let kept = draw.within(1, left - 1);
                book.reduce(place, Qty(kept), &mut event);
                withdrawn += left - kept;
                naive.resting[at].3 = kept;
            }
        }
        for (told, _) in &event.orders {
            sequence += 1;
            assert_eq!(*told, sequence, "seed {seed} step {step}");
        }
        for change in &event.changes {
            assert_ne!(change.before, change.after, "seed {seed} step {step}");
            let known = levels.insert((change.side, change.price), change.after.0).unwrap_or(0);
            assert_eq!(known, change.before.0, "seed {seed} step {step}: a level was something else before");
        }
        levels.retain(|_, size| *size > 0);
        for side in [Side::Buy, Side::Sell] {
            let orders = side_of(&book, side);
            assert_eq!(orders, naive.side(side), "seed {seed} step {step}");
            let told: Vec<Level> = crate::market::orders::levels(book.side(side)).iter().map(|(l, _)| *l).collect();
            assert_eq!(told, book.book().levels(side).collect::<Vec<_>>(), "seed {seed} step {step}");
            let ranked: Vec<Price> = (0..told.len() + 1).map_while(|rank| book.price(side, rank)).collect();
            assert!(ranked.iter().eq(told.iter().map(|level| &level.price)), "seed {seed} step {step}");
            for level in &told {
                assert_eq!(levels.get(&(side, level.price)), Some(&level.size.0));
            }
        }
        assert_eq!(levels.len(), book.book().depth(Side::Buy) + book.book().depth(Side::Sell));
        assert!(!book.book().is_crossed(), "seed {seed} step {step}");
    }
    let resting: i64 = naive.resting.iter().map(|order| order.3).sum();
    // Every unit that came in rests, traded against another one, or was taken out again.
    assert_eq!(submitted, resting + 2 * naive.traded + naive.canceled + withdrawn, "seed {seed}");
    assert_eq!(book.live(), naive.resting.len());
}

#[test]
fn best_price_first_and_oldest_first_with_nothing_lost() {
    for seed in 0..8 {
        compare(seed, 12, 600);
    }
    for seed in 8..12 {
        compare(seed, 300, 600);
    }
}

#[test]
fn tables_find_every_level_however_many_come_and_go() {
    let mut queues = Queues::with_capacity(0);
    let mut known = BTreeMap::new();
    for step in 0..60_000_u64 {
        let mut draw = Draw::new(5, 5, step);
        let price = draw.within(1, 2_000) * 1_000_000;
        if known.remove(&price).is_some() {
            let at = queues.find(price);
            queues.close(at);
        } else {
            let at = queues.open(price);
            (queues.table[at].count, queues.table[at].size) = (1, step as i64);
            known.insert(price, step as i64);
        }
        if step % 1_000 == 0 {
            assert_eq!(queues.used, known.len());
            for (price, size) in &known {
                let queue = queues.table[queues.find(*price)];
                assert_eq!((queue.price, queue.size, queue.count), (*price, *size, 1), "step {step}");
            }
        }
    }
}

#[test]
fn what_happens_takes_no_memory_once_there_was_as_much() {
    let mut book = Matching::new(64, 0, 0, false);
    let mut event = Event::none();
    let mut turn = |book: &mut Matching| {
        for price in 0..64 {
            book.submit(Side::Buy, Some(Price(1_000 - price)), Qty(5), &mut event);
        }
        event.begin(0, UnixNanos(1));
        book.submit(Side::Sell, None, Qty(5 * 64), &mut event);
        event.begin(0, UnixNanos(2));
    };
    turn(&mut book);
    let slots = book.slots.len();
    for _ in 0..1_000 {
        turn(&mut book);
    }
    assert_eq!((book.slots.len(), book.queues[0].table.len(), book.live()), (slots, 256, 0));
}
