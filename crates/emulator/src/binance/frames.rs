//! The simulation in Binance's words: trade, aggTrade, depth, bookTicker and kline payloads.
//!
//! Payloads are written bare; a connection in combined mode puts them into `{"stream":…,"data":…}` itself. Depth
//! updates of a symbol form one chain per speed: each starts where the one before ended, whatever lies between.

use model::{Qty, Side, StreamKind, UnixNanos};

use super::{INTERVALS, INTERVALS_S, MICROS_MARK};
use crate::market::simulation::{Change, EventKind, PairState, Simulation};
use crate::market::{Bar, Joined, Log, Pair, Topic, TopicId, Writer};
use crate::options::BookPace;
use crate::text::{push_padded, push_padded_wide, push_u64};

/// The clock's step: the faster depth stream, ns.
const TICK_NS: u64 = 100_000_000;
/// The slower depth stream, in steps of the clock.
const SLOW_DEPTH_TICKS: u64 = 10;
/// Bars are told this often while they change, in steps of the clock.
const KLINE_TICKS: u64 = 20;

/// Offsets of a pair's topics; each has a twin with times in microseconds behind it.
const TRADE: usize = 0;
const AGG_TRADE: usize = 2;
const BOOK_TICKER: usize = 4;
const DEPTH_FAST: usize = 6;
const DEPTH_SLOW: usize = 8;
const KLINE: usize = 10;
const TOPICS_PER_PAIR: usize = KLINE + 2 * INTERVALS.len();

/// Unit of the times in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Millis,
    Micros,
}

impl TimeUnit {
    pub(crate) fn of(self, time: UnixNanos) -> u64 {
        match self {
            Self::Millis => time.0 / 1_000_000,
            Self::Micros => time.0 / 1_000,
        }
    }
}

/// Changes of one book since the last depth update of one speed.
#[derive(Debug, Default)]
struct Chain {
    pending: Vec<Change>,
    /// Id of the last change told.
    told: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct KlineState {
    /// Trades in the bar when it was last told.
    told_trades: u64,
    told_begin: UnixNanos,
    closed: bool,
}

pub(crate) struct BinanceWriter {
    topics: Vec<Topic>,
    book_pace: BookPace,
    /// Fast and slow chain of each pair.
    chains: Vec<[Chain; 2]>,
    klines: Vec<[KlineState; INTERVALS.len()]>,
    next_tick: UnixNanos,
}

/// Every topic of the given pairs.
pub(crate) fn topics(pairs: &[Pair]) -> Vec<Topic> {
    let mut topics = Vec::new();
    for pair in pairs {
        let lower = pair.symbol.to_lowercase();
        let mut add = |stream: &str, kind| {
            for mark in ["", MICROS_MARK] {
                topics.push(Topic { name: format!("{lower}@{stream}{mark}"), symbol: pair.symbol.clone(), kind });
            }
        };
        add("trade", StreamKind::Trade);
        add("aggTrade", StreamKind::Trade);
        add("bookTicker", StreamKind::Quote);
        add("depth@100ms", StreamKind::Book);
        add("depth", StreamKind::Book);
        INTERVALS.iter().for_each(|(name, _)| add(&format!("kline_{name}"), StreamKind::Bar));
    }
    topics
}

impl BinanceWriter {
    pub(crate) fn new(pairs: &[Pair], book_pace: BookPace) -> Self {
        Self {
            topics: topics(pairs),
            book_pace,
            chains: pairs.iter().map(|_| Default::default()).collect(),
            klines: vec![Default::default(); pairs.len()],
            next_tick: UnixNanos::ZERO,
        }
    }

    /// Tells what a chain holds to its readers in either unit.
    fn write_depth(
        &mut self,
        at: usize,
        slow: bool,
        time: UnixNanos,
        pair: &PairState,
        readers: &[u32],
        log: &mut Log,
    ) {
        let chain = &mut self.chains[at][usize::from(slow)];
        if chain.pending.is_empty() {
            return;
        }
        let first = chain.told + 1;
        chain.told = pair.update_id;
        // Stable, so that the last change of a price stays last among its equals.
        chain.pending.sort_by_key(|change| change.price);
        let offset = if slow { DEPTH_SLOW } else { DEPTH_FAST };
        write_units(at, offset, readers, log, |unit, out| {
            push_depth(&pair.spec.pair, unit.of(time), first, chain.told, &chain.pending, out);
        });
        chain.pending.clear();
    }

    fn write_klines(&mut self, at: usize, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        for interval_at in 0..INTERVALS.len() {
            let offset = KLINE + 2 * interval_at;
            let first = at * TOPICS_PER_PAIR + offset;
            if readers[first] + readers[first + 1] == 0 {
                continue;
            }
            let Some(bar) = market.bars(at, INTERVALS_S[interval_at]).next_back() else { continue };
            let state = &mut self.klines[at][interval_at];
            let closed = bar.end() <= now;
            let known = state.told_begin == bar.begin;
            if known && (state.closed || state.told_trades == bar.trades && !closed) {
                continue;
            }
            *state = KlineState { told_trades: bar.trades, told_begin: bar.begin, closed };
            let pair = &market.pairs()[at].spec.pair;
            write_units(at, offset, readers, log, |unit, out| {
                push_kline(pair, INTERVALS[interval_at].0, bar, closed, unit, now, out);
            });
        }
    }
}

impl Writer for BinanceWriter {
    fn topics(&self) -> &[Topic] {
        &self.topics
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        let (stream, mark) = name.strip_suffix(MICROS_MARK).map_or((name, ""), |stream| (stream, MICROS_MARK));
        let plain = stream.strip_suffix("@1000ms").unwrap_or(stream);
        let wanted = |topic: &Topic| {
            let own = topic.name.strip_suffix(MICROS_MARK);
            own.unwrap_or(&topic.name) == plain && own.is_some() != mark.is_empty()
        };
        self.topics.iter().position(wanted).and_then(|at| TopicId::try_from(at).ok())
    }

    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let event = market.event();
        let (at, pair) = (event.pair, &market.pairs()[event.pair]);
        for trade in &event.trades {
            for (offset, kind) in [(TRADE, "trade"), (AGG_TRADE, "aggTrade")] {
                write_units(at, offset, readers, log, |unit, out| {
                    push_trade(kind, &pair.spec.pair, trade, unit.of(event.time), out);
                });
            }
        }
        for slow in [false, true] {
            let first = at * TOPICS_PER_PAIR + if slow { DEPTH_SLOW } else { DEPTH_FAST };
            let chain = &mut self.chains[at][usize::from(slow)];
            if readers[first] + readers[first + 1] == 0 {
                chain.pending.clear();
                chain.told = pair.update_id;
                continue;
            }
            chain.pending.extend_from_slice(&event.changes);
            if self.book_pace == BookPace::Batched && !slow && event.kind == EventKind::Deep {
                self.write_depth(at, slow, event.time, pair, readers, log);
            }
        }
        if event.kind != EventKind::Deep {
            write_units(at, BOOK_TICKER, readers, log, |_, out| push_book_ticker(pair, out));
        }
    }

    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let tick = now.0 / TICK_NS;
        let boundary = UnixNanos(tick * TICK_NS);
        let due = self.next_tick.0 / TICK_NS;
        // Whether a multiple of `ticks` lies between the last boundary handled and this one.
        let crossed = |ticks: u64| tick / ticks > due.saturating_sub(1) / ticks || self.next_tick.0 == 0;
        let (slow_depth, klines) = (crossed(SLOW_DEPTH_TICKS), crossed(KLINE_TICKS));
        self.next_tick = UnixNanos((tick + 1) * TICK_NS);
        for (at, pair) in market.pairs().iter().enumerate() {
            if self.book_pace == BookPace::Venue {
                self.write_depth(at, false, boundary, pair, readers, log);
            }
            if slow_depth {
                self.write_depth(at, true, boundary, pair, readers, log);
            }
            if klines {
                self.write_klines(at, boundary, market, readers, log);
            }
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.next_tick
    }

    fn join(&mut self, topic: TopicId, _: UnixNanos, market: &Simulation, readers: &[u32], _: &mut Log) -> Joined {
        let (at, offset) = (topic as usize / TOPICS_PER_PAIR, topic as usize % TOPICS_PER_PAIR);
        let both = |first: usize| readers[at * TOPICS_PER_PAIR + first] + readers[at * TOPICS_PER_PAIR + first + 1];
        for (slow, first) in [(false, DEPTH_FAST), (true, DEPTH_SLOW)] {
            if (first..first + 2).contains(&offset) && both(first) == 0 {
                let chain = &mut self.chains[at][usize::from(slow)];
                chain.pending.clear();
                chain.told = market.pairs()[at].update_id;
            }
        }
        Joined::default()
    }
}

/// Writes a frame once for each unit that has readers.
#[inline]
fn write_units(pair: usize, offset: usize, readers: &[u32], log: &mut Log, write: impl Fn(TimeUnit, &mut Vec<u8>)) {
    let first = pair * TOPICS_PER_PAIR + offset;
    for (twin, unit) in [TimeUnit::Millis, TimeUnit::Micros].into_iter().enumerate() {
        if readers[first + twin] > 0 {
            write(unit, log.pen());
            log.commit((first + twin) as TopicId);
        }
    }
}

fn push_quoted(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    push_padded(mantissa, scale, out);
    out.push(b'"');
}

fn push_integer(name: &str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_u64(value, out);
}

fn push_event(kind: &str, time: u64, pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"e\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"E\":");
    push_u64(time, out);
    out.extend_from_slice(b",\"s\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.push(b'"');
}

fn push_trade(kind: &str, pair: &Pair, trade: &crate::market::Trade, time: u64, out: &mut Vec<u8>) {
    push_event(kind, time, pair, out);
    push_integer(if kind == "trade" { "t" } else { "a" }, trade.id, out);
    push_quoted("p", trade.price.0, pair.price_scale, out);
    push_quoted("q", trade.size.0, pair.size_scale, out);
    if kind == "aggTrade" {
        push_integer("f", trade.id, out);
        push_integer("l", trade.id, out);
    }
    push_integer("T", time, out);
    // `m` says whether the buyer was the maker, that is whether the taker sold.
    out.extend_from_slice(if trade.taker == Side::Sell { b",\"m\":true" as &[u8] } else { b",\"m\":false" });
    out.extend_from_slice(b",\"M\":true}");
}

fn push_book_ticker(state: &PairState, out: &mut Vec<u8>) {
    let pair = &state.spec.pair;
    let (bid, ask) = (state.best(Side::Buy), state.best(Side::Sell));
    out.extend_from_slice(b"{\"u\":");
    push_u64(state.update_id, out);
    out.extend_from_slice(b",\"s\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.push(b'"');
    push_quoted("b", bid.price.0, pair.price_scale, out);
    push_quoted("B", bid.size.0, pair.size_scale, out);
    push_quoted("a", ask.price.0, pair.price_scale, out);
    push_quoted("A", ask.size.0, pair.size_scale, out);
    out.push(b'}');
}

pub(crate) fn push_level(price: i64, size: Qty, pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[\"");
    push_padded(price, pair.price_scale, out);
    out.extend_from_slice(b"\",\"");
    push_padded(size.0, pair.size_scale, out);
    out.extend_from_slice(b"\"]");
}

/// One side of a depth update: the last size of each price, best first. `sorted` rises by price.
fn push_depth_side(side: Side, sorted: &[Change], pair: &Pair, out: &mut Vec<u8>) {
    let start = out.len();
    let mut push = |change: &Change, last: bool| {
        if change.side == side && last {
            if out.len() > start {
                out.push(b',');
            }
            push_level(change.price.0, change.after, pair, out);
        }
    };
    // A price is on one side at a time, but may change sides within a batch: equals are judged per side.
    let last = |at: usize| {
        let change = &sorted[at];
        let later = sorted[at + 1..].iter().take_while(|later| later.price == change.price);
        later.filter(|later| later.side == change.side).count() == 0
    };
    match side {
        Side::Buy => (0..sorted.len()).rev().for_each(|at| push(&sorted[at], last(at))),
        Side::Sell => (0..sorted.len()).for_each(|at| push(&sorted[at], last(at))),
    }
}

fn push_depth(pair: &Pair, time: u64, first: u64, last: u64, sorted: &[Change], out: &mut Vec<u8>) {
    push_event("depthUpdate", time, pair, out);
    push_integer("U", first, out);
    push_integer("u", last, out);
    out.extend_from_slice(b",\"b\":[");
    push_depth_side(Side::Buy, sorted, pair, out);
    out.extend_from_slice(b"],\"a\":[");
    push_depth_side(Side::Sell, sorted, pair, out);
    out.extend_from_slice(b"]}");
}

fn push_kline(pair: &Pair, name: &str, bar: &Bar, closed: bool, unit: TimeUnit, now: UnixNanos, out: &mut Vec<u8>) {
    push_event("kline", unit.of(now), pair, out);
    out.extend_from_slice(b",\"k\":{\"t\":");
    push_u64(unit.of(bar.begin), out);
    push_integer("T", unit.of(bar.end()) - 1, out);
    out.extend_from_slice(b",\"s\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.extend_from_slice(b"\",\"i\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
    push_integer("f", bar.first_id, out);
    push_integer("L", bar.last_id, out);
    for (key, price) in [("o", bar.open), ("c", bar.close), ("h", bar.high), ("l", bar.low)] {
        push_quoted(key, price.0, pair.price_scale, out);
    }
    push_sum("v", bar.volume, 0, pair, out);
    push_integer("n", bar.trades, out);
    out.extend_from_slice(if closed { b",\"x\":true" as &[u8] } else { b",\"x\":false" });
    push_sum("q", bar.cost, pair.price_scale, pair, out);
    push_sum("V", bar.taker_buy_volume, 0, pair, out);
    push_sum("Q", bar.taker_buy_cost, pair.price_scale, pair, out);
    out.extend_from_slice(b",\"B\":\"0\"}}");
}

/// A sum with `extra` decimals more than a size, cut to a size's decimals.
pub(crate) fn push_sum(name: &str, sum: i128, extra: u8, pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    push_padded_wide(sum / 10_i128.pow(extra.into()), pair.size_scale, out);
    out.push(b'"');
}
