//! A market made up on the spot: the simulation, paced by the clock and written down in the venue's words.
//!
//! Events have times of the market's own; the wall's clock only says when that time began to run, so the frames depend
//! on seed and start alone, not on when anybody looked. Nobody there, nothing happens: the market stands still without
//! readers, and after a second without processor time it goes on from now instead of running after the clock.

use model::UnixNanos;

use super::matching::Matching;
use super::simulation::{EventKind, Simulation};
use super::{Bar, BookView, Joined, Log, Market, Pair, PairStatus, Topic, TopicId, Trade};

/// Further behind than this, the market goes on from now, ns.
const LAG_NS_MAX: u64 = 1_000_000_000;
/// Flat out, so much is written ahead of the slowest reader, bytes.
const AHEAD_BYTES: usize = 256 << 10;

/// Flat out, worths move as if so many frames a second were made, and from this time on.
const FLAT_OUT_FRAMES_PER_S: u64 = 10_000;
const FLAT_OUT_BEGIN_NS: u64 = 1_700_000_000_000_000_000;

/// How fast events follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So many frames a second when trades, quotes and batched book changes are all read.
    PerSecond(u64),
    /// As fast as the readers take them.
    FlatOut,
}

impl Pace {
    /// The rate of the market's own time.
    pub(crate) fn frames_per_s(self) -> u64 {
        match self {
            Self::PerSecond(rate) => rate,
            Self::FlatOut => FLAT_OUT_FRAMES_PER_S,
        }
    }

    /// When the market's own time begins, where the wall's clock says it is `now`.
    pub(crate) fn opens(self, now: UnixNanos) -> UnixNanos {
        match self {
            Self::PerSecond(_) => now,
            Self::FlatOut => UnixNanos(FLAT_OUT_BEGIN_NS),
        }
    }
}

/// Writes the simulation's events as one venue's frames.
pub(crate) trait Writer: Send {
    /// Every stream that can be had.
    fn topics(&self) -> &[Topic];
    /// The stream a client means.
    fn topic(&self, name: &str) -> Option<TopicId>;
    /// The simulation's last event.
    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log);
    /// An instrument was listed or delisted or has another tick or lot: the simulation's last event.
    fn on_reference(&mut self, _: &Simulation, _: &[u32], _: &mut Log) {}
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

    fn on_reference(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let (first, second) = readers.split_at(self.split);
        self.first.on_reference(market, first, log);
        log.shifted(self.split, |log| self.second.on_reference(market, second, log));
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
    /// Nanosecond `anchor.0` of the market's time is `anchor.1` of the wall's, while the market runs.
    anchor: Option<(u64, UnixNanos)>,
    /// Nanosecond of the market's time up to which it ran.
    ran_ns: u64,
}

impl<W: Writer> Generated<W> {
    pub(crate) fn new(simulation: Simulation, writer: W, pace: Pace) -> Self {
        let pairs = simulation.listed().iter().map(|state| state.spec.pair.clone()).collect();
        Self { simulation, writer, pairs, pace, anchor: None, ran_ns: 0 }
    }

    /// When the next event happens.
    fn due(&self, (first_ns, start): (u64, UnixNanos)) -> UnixNanos {
        UnixNanos(start.0.saturating_add(self.simulation.next_ns().saturating_sub(first_ns)))
    }

    fn step(&mut self, time: UnixNanos, readers: &[u32], log: &mut Log) {
        if self.writer.next_tick() <= time {
            self.writer.on_time(time, &self.simulation, readers, log);
        }
        self.ran_ns = self.simulation.next_ns();
        let worth_at = match self.pace {
            Pace::PerSecond(_) => time,
            Pace::FlatOut => UnixNanos(FLAT_OUT_BEGIN_NS + self.ran_ns),
        };
        self.simulation.step(time, worth_at);
        let event = self.simulation.event();
        if event.kind != EventKind::Reference {
            return self.writer.on_event(&self.simulation, readers, log);
        }
        self.pairs.clear();
        self.pairs.extend(self.simulation.listed().iter().map(|state| state.spec.pair.clone()));
        self.writer.on_reference(&self.simulation, readers, log);
    }
}

impl<W: Writer> Market for Generated<W> {
    fn topics(&self) -> &[Topic] {
        self.writer.topics()
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        let topic = self.writer.topic(name)?;
        let symbol = &self.writer.topics()[topic as usize].symbol;
        let is_traded = |pair: &Pair| pair.symbol == *symbol && pair.status == PairStatus::Trading;
        (symbol.is_empty() || self.pairs.iter().any(is_traded)).then_some(topic)
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
            Pace::PerSecond(_) => {
                let mut anchor = *self.anchor.get_or_insert((self.ran_ns, now));
                if now.0.saturating_sub(self.due(anchor).0) > LAG_NS_MAX {
                    anchor = (self.simulation.next_ns(), now);
                    self.anchor = Some(anchor);
                }
                loop {
                    let time = self.due(anchor);
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
        match self.pace {
            Pace::FlatOut => Some(UnixNanos::ZERO),
            Pace::PerSecond(_) => self.anchor.map(|anchor| self.due(anchor).min(self.writer.next_tick())),
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
        let levels = |side| state.book().levels(side).take(depth).collect();
        let (bids, asks) = (levels(model::Side::Buy), levels(model::Side::Sell));
        Some(BookView { update_id: state.update_id, bids, asks })
    }

    fn trades(&self, pair: usize) -> Vec<Trade> {
        self.simulation.pairs().get(pair).map(|state| state.trades.iter().copied().collect()).unwrap_or_default()
    }

    fn orders(&self, pair: usize) -> Option<&Matching> {
        self.simulation.pairs().get(pair).and_then(|state| state.orders())
    }

    fn bars(&self, pair: usize, interval_s: u64) -> Vec<Bar> {
        if pair < self.pairs.len() { self.simulation.bars(pair, interval_s).copied().collect() } else { Vec::new() }
    }
}
