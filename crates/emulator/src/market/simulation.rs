//! A small market of several pairs whose trades, book, quotes and bars agree with one another.
//! (seed, index) -> [`Simulation::step`] -> [`Event`]: the changes of one book, and the trade that caused them.
//!
//! Invariants: sizes are positive multiples of the lot, prices of the tick; best bid < best ask; trade ids of a pair
//! are contiguous; an update id counts every level change. The sequence of events depends on seed and index alone; the
//! time of each is handed in. A cycle of seven events has three trades, two changes at the touch and two behind it.

use std::collections::VecDeque;

use book::{Book, Level};
use fastrand::Rng;
use model::{Price, Qty, Side, UnixNanos};

use super::orders::{OrderEvent, Orders};
use super::{Bar, Pair, Trade};

/// Bars kept per interval, the running one included.
const BARS_KEPT: usize = 720;
/// A wider spread is narrowed before anything else happens at the touch, ticks.
const SPREAD_TICKS_MAX: i64 = 6;
/// Order ids are drawn from another row of numbers than the events.
const ORDERS_SEED: u64 = 0x6F72_6465_7273;
/// A side thinner than this is not consumed further.
const SIDE_LEVELS_MIN: usize = 12;

/// The order of events in a cycle: the load mix is stated by it.
pub(crate) const CYCLE: [EventKind; 7] = [
    EventKind::Touch,
    EventKind::Trade,
    EventKind::Deep,
    EventKind::Trade,
    EventKind::Touch,
    EventKind::Deep,
    EventKind::Trade,
];

/// A pair and where its simulated price starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedPair {
    /// What is traded.
    pub pair: Pair,
    /// The price that the walk starts at and is drawn back to.
    pub start_price: Price,
    /// Size of a usual order.
    pub usual_size: Qty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// The best level of a side changes without a trade.
    Touch,
    /// A taker consumes the best level, or part of it.
    Trade,
    /// One to three levels behind the best change.
    Deep,
}

/// One level's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) side: Side,
    pub(crate) price: Price,
    /// Size before; 0 where the level is new.
    pub(crate) before: Qty,
    /// Size now; 0 where the level is gone.
    pub(crate) after: Qty,
}

/// What one step did.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) pair: usize,
    pub(crate) kind: EventKind,
    pub(crate) time: UnixNanos,
    pub(crate) changes: Vec<Change>,
    pub(crate) trade: Option<Trade>,
    /// What it was in orders, with their sequences; empty where none are kept.
    pub(crate) orders: Vec<(u64, OrderEvent)>,
}

/// Figures since the start, told as the "24 h" ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) open: Price,
    pub(crate) high: Price,
    pub(crate) low: Price,
    pub(crate) last: Price,
    pub(crate) volume: i128,
    pub(crate) cost: i128,
}

/// One pair's state.
#[derive(Debug)]
pub(crate) struct PairState {
    pub(crate) spec: SimulatedPair,
    pub(crate) book: Book,
    pub(crate) update_id: u64,
    pub(crate) next_trade_id: u64,
    pub(crate) trades: VecDeque<Trade>,
    trades_kept: usize,
    pub(crate) day: Day,
    bars: Vec<VecDeque<Bar>>,
    orders: Option<Orders>,
}

/// All pairs, one generator.
#[derive(Debug)]
pub(crate) struct Simulation {
    rng: Rng,
    index: u64,
    levels: usize,
    intervals_s: &'static [u64],
    pairs: Vec<PairState>,
    event: Event,
}

impl Simulation {
    /// Books with `levels` levels a side. Ids count on from `first_id`, so that a later run can start above an earlier.
    pub(crate) fn new(
        seed: u64,
        specs: Vec<SimulatedPair>,
        levels: usize,
        intervals_s: &'static [u64],
        first_id: u64,
    ) -> Self {
        let mut rng = Rng::with_seed(seed);
        let pairs =
            specs.into_iter().map(|spec| PairState::new(spec, levels, intervals_s, first_id, &mut rng)).collect();
        let event = Event {
            pair: 0,
            kind: EventKind::Deep,
            time: UnixNanos::ZERO,
            changes: Vec::with_capacity(8),
            trade: None,
            orders: Vec::new(),
        };
        Self { rng, index: 0, levels, intervals_s, pairs, event }
    }

    /// The same market, of which REST serves so many trades of each pair.
    pub(crate) fn keeping(mut self, trades: usize) -> Self {
        self.pairs.iter_mut().for_each(|pair| pair.trades_kept = trades);
        self
    }

    /// The same market with the orders behind its levels, for venues that tell them.
    pub(crate) fn with_orders(mut self, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ ORDERS_SEED);
        for pair in &mut self.pairs {
            pair.orders = Some(Orders::new(&pair.book, pair.spec.pair.lot, pair.update_id, &mut rng));
        }
        self
    }

    pub(crate) fn pairs(&self) -> &[PairState] {
        &self.pairs
    }

    /// Bars of an interval, oldest first; empty where the interval is not kept.
    pub(crate) fn bars(&self, pair: usize, interval_s: u64) -> impl DoubleEndedIterator<Item = &Bar> {
        let at = self.intervals_s.iter().position(|i| *i == interval_s);
        at.and_then(|at| self.pairs[pair].bars.get(at)).into_iter().flatten()
    }

    /// What the last step did.
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// Makes the next event happen at `time`.
    pub(crate) fn step(&mut self, time: UnixNanos) {
        let kind = CYCLE[(self.index % CYCLE.len() as u64) as usize];
        self.index += 1;
        let at = self.rng.usize(..self.pairs.len());
        let pair = &mut self.pairs[at];
        self.event.changes.clear();
        self.event.trade = None;
        self.event.orders.clear();
        (self.event.pair, self.event.kind, self.event.time) = (at, kind, time);
        match kind {
            EventKind::Touch => pair.touch(self.levels, &mut self.rng, &mut self.event.changes),
            EventKind::Trade => {
                let trade = pair.trade(time, self.intervals_s, &mut self.rng, &mut self.event.changes);
                self.event.trade = Some(trade);
            }
            EventKind::Deep => {
                for _ in 0..self.rng.usize(1..=3) {
                    pair.deep(self.levels, &mut self.rng, &mut self.event.changes);
                }
            }
        }
        pair.update_id += self.event.changes.len() as u64;
        if let Some(orders) = &mut pair.orders {
            let mut trade = self.event.trade.as_ref();
            for change in &self.event.changes {
                orders.apply(change, trade.take(), &mut self.event.orders);
            }
        }
    }
}

impl PairState {
    fn new(spec: SimulatedPair, levels: usize, intervals_s: &[u64], first_id: u64, rng: &mut Rng) -> Self {
        let start = spec.start_price;
        let day = Day { open: start, high: start, low: start, last: start, volume: 0, cost: 0 };
        let mut pair = Self {
            book: Book::with_capacity(levels + 16),
            update_id: first_id,
            next_trade_id: first_id + 1,
            trades: VecDeque::new(),
            trades_kept: crate::GeneratedSession::default().trades_kept,
            day,
            bars: vec![VecDeque::new(); intervals_s.len()],
            orders: None,
            spec,
        };
        for side in [Side::Buy, Side::Sell] {
            let mut price = pair.spec.start_price;
            for _ in 0..levels.max(SIDE_LEVELS_MIN) {
                price = pair.away(side, price, rng.i64(1..=4));
                let size = pair.size(rng);
                if price.0 > 0 {
                    pair.book.set(side, price, size);
                }
            }
        }
        pair
    }

    pub(crate) fn best(&self, side: Side) -> Level {
        self.book.best(side).expect("a simulated side never runs empty: its last levels are not consumed")
    }

    /// The orders behind the levels, where they are kept.
    pub(crate) fn orders(&self) -> Option<&Orders> {
        self.orders.as_ref()
    }

    /// `ticks` further from the other side.
    fn away(&self, side: Side, price: Price, ticks: i64) -> Price {
        let step = self.spec.pair.tick.0 * ticks;
        Price(if side == Side::Buy { price.0 - step } else { price.0 + step })
    }

    fn size(&self, rng: &mut Rng) -> Qty {
        let lot = self.spec.pair.lot.0;
        let usual = self.spec.usual_size.0;
        let raw = usual * rng.i64(1..=64) / 16 + rng.i64(0..=usual);
        Qty((raw / lot).max(1) * lot)
    }

    /// Buy more often below the start price, less often above it: the walk stays near its start for good.
    fn lean(&self, rng: &mut Rng) -> Side {
        let start = self.spec.start_price.0;
        let middle = i64::midpoint(self.best(Side::Buy).price.0, self.best(Side::Sell).price.0);
        let deviation = i128::from(middle - start) * 10_000 / i128::from(start);
        let buys = (500 - deviation as i64).clamp(200, 800);
        if rng.i64(0..1000) < buys { Side::Buy } else { Side::Sell }
    }

    fn set(&mut self, side: Side, price: Price, after: Qty, changes: &mut Vec<Change>) {
        let before = self.size_at(side, price);
        self.book.set(side, price, after);
        changes.push(Change { side, price, before, after });
    }

    fn size_at(&self, side: Side, price: Price) -> Qty {
        let better = |level: &Level| if side == Side::Buy { level.price > price } else { level.price < price };
        let found = self.book.levels(side).find(|level| !better(level));
        found.filter(|level| level.price == price).map_or(Qty(0), |level| level.size)
    }

    /// A size that differs from `now`.
    fn other_size(&self, now: Qty, rng: &mut Rng) -> Qty {
        let size = self.size(rng);
        if size == now { Qty(size.0 + self.spec.pair.lot.0) } else { size }
    }

    fn touch(&mut self, levels: usize, rng: &mut Rng, changes: &mut Vec<Change>) {
        let (bid, ask) = (self.best(Side::Buy).price.0, self.best(Side::Sell).price.0);
        let spread = (ask - bid) / self.spec.pair.tick.0;
        let side = self.lean(rng);
        if spread > SPREAD_TICKS_MAX || (spread > 1 && rng.u8(..4) == 0) {
            let price = self.away(side, self.best(side).price, -rng.i64(1..=(spread - 1).min(3)));
            let size = self.size(rng);
            return self.set(side, price, size, changes);
        }
        let thinned = side.opposite();
        if spread < 3 && self.book.depth(thinned) > SIDE_LEVELS_MIN.max(levels / 2) && rng.u8(..8) == 0 {
            let price = self.best(thinned).price;
            return self.set(thinned, price, Qty(0), changes);
        }
        let best = self.best(side);
        let size = self.other_size(best.size, rng);
        self.set(side, best.price, size, changes);
    }

    fn trade(&mut self, time: UnixNanos, intervals_s: &[u64], rng: &mut Rng, changes: &mut Vec<Change>) -> Trade {
        let taker = self.lean(rng);
        let best = self.best(taker.opposite());
        let lot = self.spec.pair.lot.0;
        let part = Qty((best.size.0 * rng.i64(1..=15) / 16 / lot).max(1) * lot);
        let thin = self.book.depth(taker.opposite()) <= SIDE_LEVELS_MIN;
        let mut size = if rng.u8(..5) == 0 || part >= best.size { best.size } else { part };
        if let Some(head) = self.orders.as_ref().and_then(|orders| orders.head(taker.opposite(), best.price)) {
            size = size.min(head);
        }
        if thin && size == best.size {
            // The last levels are refilled rather than consumed: an iceberg shows its next part.
            let refilled = self.other_size(best.size, rng);
            size = size.min(refilled);
            self.set(taker.opposite(), best.price, refilled, changes);
        } else {
            self.set(taker.opposite(), best.price, Qty(best.size.0 - size.0), changes);
        }
        let trade = Trade { id: self.next_trade_id, time, price: best.price, size, taker };
        self.next_trade_id += 1;
        self.record(trade, intervals_s);
        trade
    }

    fn record(&mut self, trade: Trade, intervals_s: &[u64]) {
        if self.trades.len() >= self.trades_kept {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
        let day = &mut self.day;
        (day.last, day.high, day.low) = (trade.price, day.high.max(trade.price), day.low.min(trade.price));
        day.volume += i128::from(trade.size.0);
        day.cost += trade.price.notional(trade.size).0;
        for (bars, interval_s) in self.bars.iter_mut().zip(intervals_s) {
            let width = interval_s * 1_000_000_000;
            let begin = UnixNanos(trade.time.0 - trade.time.0 % width);
            match bars.back_mut() {
                Some(bar) if bar.begin >= begin => bar.add(&trade),
                _ => {
                    if bars.len() == BARS_KEPT {
                        bars.pop_front();
                    }
                    bars.push_back(Bar::first(&trade, begin, *interval_s));
                }
            }
        }
    }

    fn deep(&mut self, levels: usize, rng: &mut Rng, changes: &mut Vec<Change>) {
        let off = |side| self.book.depth(side).abs_diff(levels);
        let side = match off(Side::Buy).cmp(&off(Side::Sell)) {
            std::cmp::Ordering::Greater => Side::Buy,
            std::cmp::Ordering::Less => Side::Sell,
            std::cmp::Ordering::Equal if rng.bool() => Side::Buy,
            std::cmp::Ordering::Equal => Side::Sell,
        };
        let depth = self.book.depth(side);
        // Most changes are near the touch, as at real venues.
        let rank =
            (1 + rng.usize(0..depth - 1).min(rng.usize(0..depth - 1)).min(rng.usize(0..depth - 1))).min(depth - 1);
        let level = self.level(side, rank);
        let worst = self.level(side, depth - 1);
        let size = self.other_size(level.size, rng);
        let choice = rng.u8(..10);
        if depth + 4 < levels && choice < 6 {
            let price = self.away(side, worst.price, rng.i64(1..=4));
            if price.0 > 0 {
                return self.set(side, price, size, changes);
            }
        }
        if depth > levels + 4 {
            return self.set(side, worst.price, Qty(0), changes);
        }
        match choice {
            0 | 1 if depth > SIDE_LEVELS_MIN => self.set(side, level.price, Qty(0), changes),
            2 | 3 => {
                let price = self.away(side, level.price, 1);
                if price.0 > 0 {
                    let size = self.other_size(self.size_at(side, price), rng);
                    self.set(side, price, size, changes);
                }
            }
            _ => self.set(side, level.price, size, changes),
        }
    }

    fn level(&self, side: Side, rank: usize) -> Level {
        self.book.levels(side).nth(rank).expect("the rank was drawn below the side's depth")
    }
}

impl Bar {
    pub(crate) fn first(trade: &Trade, begin: UnixNanos, interval_s: u64) -> Self {
        let price = trade.price;
        let mut bar = Self {
            begin,
            interval_s,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0,
            cost: 0,
            taker_buy_volume: 0,
            taker_buy_cost: 0,
            trades: 0,
            first_id: trade.id,
            last_id: trade.id,
        };
        bar.add(trade);
        bar
    }

    pub(crate) fn add(&mut self, trade: &Trade) {
        let (size, cost) = (i128::from(trade.size.0), trade.price.notional(trade.size).0);
        (self.close, self.high, self.low) = (trade.price, self.high.max(trade.price), self.low.min(trade.price));
        self.volume += size;
        self.cost += cost;
        if trade.taker == Side::Buy {
            self.taker_buy_volume += size;
            self.taker_buy_cost += cost;
        }
        self.trades += 1;
        self.last_id = trade.id;
    }

    /// End of the interval, exclusive.
    pub(crate) fn end(&self) -> UnixNanos {
        UnixNanos(self.begin.0 + self.interval_s * 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulation(seed: u64, levels: usize) -> Simulation {
        Simulation::new(seed, crate::kraken::default_pairs(), levels, &[60], 1000)
    }

    #[test]
    fn every_event_leaves_books_that_can_be() {
        for seed in 0..4 {
            let mut market = simulation(seed, 60);
            let mut plain: Vec<book::PlainBook> = Vec::new();
            for pair in market.pairs() {
                let mut book = book::PlainBook::new();
                for side in [Side::Buy, Side::Sell] {
                    for l in pair.book.levels(side) {
                        book.set(side, l.price, l.size);
                    }
                }
                plain.push(book);
            }
            for index in 0..30_000 {
                market.step(UnixNanos(index * 1_000_000));
                let event = market.event();
                let pair = &market.pairs()[event.pair];
                assert!(!pair.book.is_crossed(), "seed {seed} index {index}");
                for change in &event.changes {
                    assert_ne!(change.before, change.after, "seed {seed} index {index}: nothing changed");
                    plain[event.pair].set(change.side, change.price, change.after);
                }
                assert_eq!(event.trade.is_some(), event.kind == EventKind::Trade);
                for side in [Side::Buy, Side::Sell] {
                    let depth = pair.book.depth(side);
                    assert!((SIDE_LEVELS_MIN..=60 * 2).contains(&depth), "seed {seed} index {index}: {depth} levels");
                    assert_eq!(plain[event.pair].levels(side), pair.book.levels(side).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn the_walk_stays_near_its_start() {
        let mut market = simulation(9, 100);
        (0..1_000_000).for_each(|index| market.step(UnixNanos(index)));
        for pair in market.pairs() {
            let (start, last) = (pair.spec.start_price.0, pair.day.last.0);
            assert!((start - last).abs() < start / 5, "{} went from {start} to {last}", pair.spec.pair.symbol);
        }
    }

    #[test]
    fn bars_add_up_to_the_trades() {
        let mut market = simulation(3, 60);
        (0..20_000).for_each(|index| market.step(UnixNanos(index * 20_000_000)));
        for (at, pair) in market.pairs().iter().enumerate() {
            let volume: i128 = market.bars(at, 60).map(|bar| bar.volume).sum();
            let trades: u64 = market.bars(at, 60).map(|bar| bar.trades).sum();
            assert_eq!((volume, trades), (pair.day.volume, pair.next_trade_id - 1001));
        }
    }
}
