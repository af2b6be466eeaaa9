//! A small market of several pairs whose trades, book, quotes and bars agree with one another.
//! (seed, names, number) -> [`Simulation::step`] -> [`Event`]: the changes of one book, and the trades behind them.
//!
//! Every instrument has its worth, its traders and its matching book. Invariants: sizes are positive, prices and sizes
//! of new orders are multiples of tick and lot; best bid < best ask; trade ids of a pair are contiguous; an update id
//! counts every level change. Event `n` of an instrument is drawn from seed, instrument and `n`; the time that it is
//! stamped with and the time at which its worth is looked up are handed in.

use std::collections::VecDeque;
use std::time::Duration;

use book::{Book, Level};
use model::{Price, Qty, Side, UnixNanos};

use super::arrivals::{Arrivals, Schedule};
use super::bars::{Bars, Day};
use super::draw::stream;
use super::fair::Fair;
use super::flow::{Flow, KINDS, TAKERS, TOUCHES, TRADES_OF_TAKER_PERCENT};
use super::matching::Matching;
use super::reference::{self, Changes, InstrumentChange};
use super::{Bar, Pair, PairStatus, Trade};

pub(crate) use super::event::{Change, Event, EventKind};

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

/// What a simulation is made from.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Whose market it is: venues of one seed share what moves the worth of an asset, and nothing else.
    pub(crate) venue: &'static str,
    pub(crate) seed: u64,
    /// Levels a side.
    pub(crate) levels: usize,
    pub(crate) intervals_s: &'static [u64],
    /// Ids count on from here, so that a later run can start above an earlier.
    pub(crate) first_id: u64,
    /// Trades of each pair that are kept for REST.
    pub(crate) trades_kept: usize,
    /// Whether events are told in orders too.
    pub(crate) tells_orders: bool,
    /// Frames a second when trades, quotes and batched books of all pairs are read.
    pub(crate) frames_per_s: u64,
    /// Whether there are bursts and quiet spells.
    pub(crate) lively: bool,
    /// When the market opens: what its first books are laid around is worth this then.
    pub(crate) opens: UnixNanos,
    /// What happens to instruments, and how often something does by the seed.
    pub(crate) changes: Vec<InstrumentChange>,
    pub(crate) changes_every: Option<Duration>,
}

/// A stock is halted behind one trade in so many, for so long, and not again within so long, ns.
const HALTED_OF: u64 = 200;
const HALTED_PLACE: u64 = 3;
const HALT_NS: u64 = 2_000_000_000;
const HALTS_APART_NS: u64 = 60_000_000_000;

/// One pair's state.
#[derive(Debug)]
pub(crate) struct PairState {
    pub(crate) spec: SimulatedPair,
    /// As it was at the start.
    first: SimulatedPair,
    pub(crate) update_id: u64,
    pub(crate) trades: VecDeque<Trade>,
    trades_kept: usize,
    pub(crate) day: Day,
    bars: Vec<Bars>,
    orders: Matching,
    tells_orders: bool,
    flow: Flow,
    fair: Fair,
    arrivals: Arrivals,
    /// Events so far, those that were scheduled included.
    events: u64,
    scheduled: u64,
    /// When the last halt began.
    halted: Option<UnixNanos>,
}

/// All pairs, one market.
#[derive(Debug)]
pub(crate) struct Simulation {
    pairs: Vec<PairState>,
    schedule: Schedule,
    event: Event,
    changes: Changes,
    /// Pairs from here on are not listed yet.
    listed: usize,
}

impl Simulation {
    pub(crate) fn new(setup: &Setup, specs: Vec<SimulatedPair>) -> Self {
        let mean_ns = mean_gap_ns(setup.frames_per_s, specs.len());
        let (specs, listed) = reference::in_order(specs, &setup.changes);
        let changes = Changes::new(&setup.changes, &specs, setup.seed, setup.changes_every);
        let mut pairs: Vec<PairState> = specs.into_iter().map(|spec| PairState::new(setup, spec, mean_ns)).collect();
        let mut times: Vec<u64> = pairs.iter_mut().map(|pair| pair.schedule(0)).collect();
        times[listed..].fill(u64::MAX);
        Self { pairs, schedule: Schedule::new(times), event: Event::none(), changes, listed }
    }

    /// Every pair that is, was or will be listed.
    pub(crate) fn pairs(&self) -> &[PairState] {
        &self.pairs
    }

    /// Those that are or were.
    pub(crate) fn listed(&self) -> &[PairState] {
        &self.pairs[..self.listed]
    }

    /// Bars of an interval, oldest first; empty where the interval is not kept.
    pub(crate) fn bars(&self, pair: usize, interval_s: u64) -> impl DoubleEndedIterator<Item = &Bar> {
        let bars = self.pairs[pair].bars.iter().find(|bars| bars.interval_s == interval_s);
        bars.into_iter().flat_map(|bars| &bars.kept)
    }

    /// What the last step did.
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// When the next event happens, ns of the market's own time.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        self.schedule.first().0.min(self.changes.next_ns())
    }

    /// Makes the next event happen. It is stamped with `time`; `worth_at` is when the worth is looked up.
    pub(crate) fn step(&mut self, time: UnixNanos, worth_at: UnixNanos) {
        let (now_ns, at) = self.schedule.first();
        if self.changes.next_ns() <= now_ns {
            return self.change(time);
        }
        let (pair, event) = (&mut self.pairs[at], &mut self.event);
        event.begin(at, time);
        event.kind = EventKind::Deep;
        if !pair.is_halted(time) && pair.spec.pair.trades_at(time) {
            pair.act(worth_at, event);
        }
        let next_ns = pair.schedule(now_ns);
        self.schedule.set(at, next_ns);
    }
}

impl Simulation {
    /// Something happens to an instrument.
    fn change(&mut self, time: UnixNanos) {
        let now_ns = self.changes.next_ns();
        let pairs = &self.pairs;
        let taken = self.changes.take(self.listed, |at| (&pairs[at].spec.pair, &pairs[at].first));
        let (at, change) = taken.map_or((0, None), |(at, change)| (at, Some(change)));
        self.event.begin(at, time);
        self.event.kind = EventKind::Reference;
        let state = &mut self.pairs[at];
        let pair = &mut state.spec.pair;
        match change {
            None => {}
            Some(reference::Change::Listing) => {
                pair.status = PairStatus::Trading;
                self.listed = self.listed.max(at + 1);
                let next_ns = state.schedule(now_ns);
                self.schedule.set(at, next_ns);
            }
            Some(reference::Change::Delisting) => {
                pair.status = PairStatus::Delisted;
                self.schedule.set(at, u64::MAX);
            }
            Some(reference::Change::Tick(tick)) => pair.tick = tick,
            Some(reference::Change::Lot(lot)) => pair.lot = lot,
        }
        state.flow.regrid(state.spec.pair.tick, state.spec.pair.lot);
    }
}

/// Mean time between two events of one of `pairs` pairs.
fn mean_gap_ns(frames_per_s: u64, pairs: usize) -> u64 {
    // A taker makes a frame for each trade and a quote; a change at the touch a quote; a deeper one a book update.
    let frames_percent = TAKERS * TRADES_OF_TAKER_PERCENT + 100 * (TAKERS + TOUCHES) + 100 * (KINDS - TAKERS - TOUCHES);
    let ns = 1_000_000_000 * u128::from(frames_percent) * pairs as u128;
    u64::try_from(ns / (100 * u128::from(KINDS) * u128::from(frames_per_s.max(1)))).unwrap_or(u64::MAX)
}

impl PairState {
    fn new(setup: &Setup, spec: SimulatedPair, mean_ns: u64) -> Self {
        let Pair { symbol, base, .. } = &spec.pair;
        let own = stream(&[setup.venue, symbol]);
        let kind = if base == symbol { "stocks" } else { "coins" };
        let mut fair = Fair::new(setup.seed, setup.venue, kind, base, symbol, spec.start_price);
        let worth = fair.at(setup.opens);
        let flow = Flow::new((setup.seed, own), &spec.pair, (spec.start_price, spec.usual_size), worth, setup.levels);
        let salt = setup.seed.rotate_left(17) ^ own ^ setup.first_id.rotate_left(32);
        let mut orders = Matching::new(setup.levels, setup.first_id, salt, setup.tells_orders);
        flow.fill(&mut orders, &mut Event::none());
        orders.number_from(setup.first_id);
        Self {
            update_id: setup.first_id,
            trades: VecDeque::new(),
            trades_kept: setup.trades_kept,
            day: Day::new(worth),
            bars: setup.intervals_s.iter().map(|interval_s| Bars::new(*interval_s)).collect(),
            orders,
            tells_orders: setup.tells_orders,
            flow,
            fair,
            arrivals: Arrivals::new(setup.seed, own, mean_ns, setup.lively),
            events: 0,
            scheduled: 0,
            halted: None,
            first: spec.clone(),
            spec,
        }
    }

    /// When the next event happens after one at `last_ns`.
    fn schedule(&mut self, last_ns: u64) -> u64 {
        self.scheduled += 1;
        self.arrivals.next(self.scheduled, last_ns)
    }

    fn act(&mut self, worth_at: UnixNanos, event: &mut Event) {
        let before = [Side::Buy, Side::Sell].map(|side| self.book().best(side));
        let worth = self.fair.at(worth_at);
        self.events += 1;
        self.flow.act(self.events, worth, &mut self.orders, event);
        self.update_id += event.changes.len() as u64;
        let touched = [Side::Buy, Side::Sell].map(|side| self.book().best(side)) != before;
        event.kind = match (event.trades.is_empty(), touched) {
            (false, _) => EventKind::Trade,
            (true, true) => EventKind::Touch,
            (true, false) => EventKind::Deep,
        };
        for trade in &event.trades {
            if self.trades.len() >= self.trades_kept {
                let gone = self.trades.pop_front();
                // Fills that are told together go together.
                let rest = |next: &Trade| gone.is_some_and(|gone| gone.aggregate == next.aggregate);
                while self.trades.front().is_some_and(rest) {
                    self.trades.pop_front();
                }
            }
            self.trades.push_back(*trade);
            self.day.add(trade);
            self.bars.iter_mut().for_each(|bars| bars.add(trade));
        }
        if self.spec.pair.is_stock() && event.trades.iter().any(|trade| trade.id % HALTED_OF == HALTED_PLACE) {
            let again = self.halted.is_none_or(|last| event.time.0.saturating_sub(last.0) >= HALTS_APART_NS);
            self.halted = if again { Some(event.time) } else { self.halted };
        }
    }

    /// Whether trading is halted: nobody orders, cancels or trades.
    pub(crate) fn is_halted(&self, time: UnixNanos) -> bool {
        self.halted.is_some_and(|since| time.0.saturating_sub(since.0) < HALT_NS)
    }

    pub(crate) fn book(&self) -> &Book {
        self.orders.book()
    }

    pub(crate) fn best(&self, side: Side) -> Level {
        self.book().best(side).expect("a simulated side never runs empty: its last levels are not consumed")
    }

    pub(crate) fn next_trade_id(&self) -> u64 {
        self.orders.next_trade_id()
    }

    /// The orders behind the levels, where they are told.
    pub(crate) fn orders(&self) -> Option<&Matching> {
        self.tells_orders.then_some(&self.orders)
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
