//! A market made up on the spot: the simulation, paced by the clock and written down in the venue's words.
//!
//! Event `n` happens at a fixed time after the start, so the frames depend on seed, index and start alone, not on when
//! anybody looked. Nobody there, nothing happens: the market stands still without readers, and after a second without
//! processor time it goes on from now instead of running after the clock.

use model::UnixNanos;

use super::orders::Orders;
use super::simulation::{CYCLE, Simulation};
use super::{Bar, BookView, Joined, Log, Market, Pair, Topic, TopicId, Trade};

/// Frames that the seven events of a cycle make when trades, quotes and batched book changes are all read:
/// 3 trades, 5 quotes (each trade and each change at the touch), 2 book updates.
pub(crate) const FRAMES_PER_CYCLE: u64 = 10;
/// Further behind than this, the market goes on from now, ns.
const LAG_NS_MAX: u64 = 1_000_000_000;
/// Flat out, so much is written ahead of the slowest reader, bytes.
const AHEAD_BYTES: usize = 256 << 10;

/// How fast events follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So many frames a second by the mix of [`FRAMES_PER_CYCLE`].
    PerSecond(u64),
    /// As fast as the readers take them.
    FlatOut,
}

/// Writes the simulation's events as one venue's frames.
pub(crate) trait Writer: Send {
    /// Every stream that can be had.
    fn topics(&self) -> &[Topic];
    /// The stream a client means.
    fn topic(&self, name: &str) -> Option<TopicId>;
    /// The simulation's last event.
    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log);
    /// Writes what is due on the clock up to `now`; every event before `now` was seen.
    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log);
    /// When [`Writer::on_time`] has something to do.
    fn next_tick(&self) -> UnixNanos;
    /// A client joins a topic that has `readers[topic]` already.
    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined;
}

/// Two protocols of one venue over the same market: the second's topics come behind the first's.
pub(crate) struct Beside<A, B> {
    first: A,
    second: B,
    topics: Vec<Topic>,
    split: usize,
}

impl<A: Writer, B: Writer> Beside<A, B> {
    pub(crate) fn new(first: A, second: B) -> Self {
        let topics = [first.topics(), second.topics()].concat();
        Self { split: first.topics().len(), first, second, topics }
    }
}

impl<A: Writer, B: Writer> Writer for Beside<A, B> {
    fn topics(&self) -> &[Topic] {
        &self.topics
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        self.first.topic(name).or_else(|| self.second.topic(name).map(|topic| topic + self.split as TopicId))
    }

    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let (first, second) = readers.split_at(self.split);
        self.first.on_event(market, first, log);
        log.shifted(self.split, |log| self.second.on_event(market, second, log));
    }

    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let (first, second) = readers.split_at(self.split);
        if self.first.next_tick() <= now {
            self.first.on_time(now, market, first, log);
        }
        if self.second.next_tick() <= now {
            log.shifted(self.split, |log| self.second.on_time(now, market, second, log));
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.first.next_tick().min(self.second.next_tick())
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined {
        let (first, second) = readers.split_at(self.split);
        match (topic as usize).checked_sub(self.split) {
            None => self.first.join(topic, now, market, first, log),
            Some(topic) => log.shifted(self.split, |log| self.second.join(topic as TopicId, now, market, second, log)),
        }
    }
}

pub(crate) struct Generated<W> {
    simulation: Simulation,
    writer: W,
    pairs: Vec<Pair>,
    pace: Pace,
    /// Event `anchor.0` happens at `anchor.1`.
    anchor: Option<(u64, UnixNanos)>,
    index: u64,
}

impl<W: Writer> Generated<W> {
    pub(crate) fn new(simulation: Simulation, writer: W, pace: Pace) -> Self {
        let pairs = simulation.pairs().iter().map(|state| state.spec.pair.clone()).collect();
        Self { simulation, writer, pairs, pace, anchor: None, index: 0 }
    }

    /// When event `index` happens.
    fn time_of(&self, index: u64, (first, start): (u64, UnixNanos), frames_per_s: u64) -> UnixNanos {
        let cycle_ns = u128::from(index - first) * u128::from(FRAMES_PER_CYCLE) * 1_000_000_000;
        let ns = cycle_ns / (CYCLE.len() as u128 * u128::from(frames_per_s));
        UnixNanos(start.0.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX)))
    }

    fn step(&mut self, time: UnixNanos, readers: &[u32], log: &mut Log) {
        if self.writer.next_tick() <= time {
            self.writer.on_time(time, &self.simulation, readers, log);
        }
        self.simulation.step(time);
        self.index += 1;
        self.writer.on_event(&self.simulation, readers, log);
    }
}

impl<W: Writer> Market for Generated<W> {
    fn topics(&self) -> &[Topic] {
        self.writer.topics()
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        self.writer.topic(name)
    }

    fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    fn advance(&mut self, now: UnixNanos, readers: &[u32], log: &mut Log) {
        if readers.iter().all(|count| *count == 0) {
            self.anchor = None;
            return;
        }
        match self.pace {
            Pace::FlatOut => {
                // Without a frame the backlog cannot grow: a bound on the events keeps the caller's turn short.
                for _ in 0..10_000 {
                    if log.backlog_bytes() >= AHEAD_BYTES {
                        break;
                    }
                    self.step(now, readers, log);
                }
            }
            Pace::PerSecond(rate) => {
                let mut anchor = *self.anchor.get_or_insert((self.index, now));
                if now.0.saturating_sub(self.time_of(self.index, anchor, rate).0) > LAG_NS_MAX {
                    anchor = (self.index, now);
                    self.anchor = Some(anchor);
                }
                loop {
                    let time = self.time_of(self.index, anchor, rate);
                    if time > now {
                        break;
                    }
                    self.step(time, readers, log);
                }
            }
        }
        if self.writer.next_tick() <= now {
            self.writer.on_time(now, &self.simulation, readers, log);
        }
    }

    fn next_due(&self) -> Option<UnixNanos> {
        let anchor = self.anchor;
        match self.pace {
            Pace::FlatOut => Some(UnixNanos::ZERO),
            Pace::PerSecond(rate) => {
                anchor.map(|anchor| self.time_of(self.index, anchor, rate).min(self.writer.next_tick()))
            }
        }
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, readers: &[u32], log: &mut Log) -> Joined {
        self.writer.join(topic, now, &self.simulation, readers, log)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn deserted(&mut self) {
        self.anchor = None;
    }

    fn book(&mut self, pair: usize, depth: usize) -> Option<BookView> {
        let state = self.simulation.pairs().get(pair)?;
        let levels = |side| state.book.levels(side).take(depth).collect();
        let (bids, asks) = (levels(model::Side::Buy), levels(model::Side::Sell));
        Some(BookView { update_id: state.update_id, bids, asks })
    }

    fn trades(&self, pair: usize) -> Vec<Trade> {
        self.simulation.pairs().get(pair).map(|state| state.trades.iter().copied().collect()).unwrap_or_default()
    }

    fn orders(&self, pair: usize) -> Option<&Orders> {
        self.simulation.pairs().get(pair).and_then(|state| state.orders())
    }

    fn bars(&self, pair: usize, interval_s: u64) -> Vec<Bar> {
        if pair < self.pairs.len() { self.simulation.bars(pair, interval_s).copied().collect() } else { Vec::new() }
    }
}
