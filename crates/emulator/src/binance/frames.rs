//! The simulation in Binance's words: trade, aggTrade, depth, bookTicker, kline and ticker payloads.
//!
//! Payloads are written bare; a connection in combined mode puts them into `{"stream":…,"data":…}` itself. Depth
//! updates of a symbol form one chain per speed: each starts where the one before ended, whatever lies between.

use model::{Qty, Side, UnixNanos};

use super::figures::{Figures, average, push_average, push_mini, push_ticker, push_window};
use super::intervals::INTERVALS;
use super::topics::{
    AGG_TRADE, ALL_MINI, ALL_WINDOW, AVERAGE, BOOK_TICKER, DEPTH_FAST, DEPTH_SLOW, KLINE, MINI_TICKER, PARTIAL_DEPTHS,
    PARTIAL_FAST, PARTIAL_SLOW, TICKER, TOPICS_PER_PAIR, TRADE, Topics, WINDOW_TICKER, WINDOWS,
};
use crate::market::simulation::{Change, EventKind, PairState, Simulation};
use crate::market::{Bar, Joined, Log, Pair, Topic, TopicId, Trade, Writer};
use crate::options::BookPace;
use crate::text::{push_padded, push_padded_wide, push_u64};

/// The clock's step: the faster depth stream, ns.
const TICK_NS: u64 = 100_000_000;
/// The slower depth stream, tickers and bars of a second, in steps of the clock.
const SECOND_TICKS: u64 = 10;
/// Other bars are told this often while they change, in steps of the clock.
const KLINE_TICKS: u64 = 20;

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
    topics: Topics,
    book_pace: BookPace,
    /// Fast and slow chain of each pair.
    chains: Vec<[Chain; 2]>,
    /// Update ids of the partial books told last, fast and slow.
    partials: Vec<[u64; 2]>,
    /// The next trade's id of each pair when the tickers of all were told last.
    all_told: Vec<u64>,
    klines: Vec<[KlineState; INTERVALS.len()]>,
    next_tick: UnixNanos,
}

impl BinanceWriter {
    pub(crate) fn new(pairs: &[Pair], book_pace: BookPace) -> Self {
        Self {
            topics: Topics::new(pairs),
            book_pace,
            chains: pairs.iter().map(|_| Default::default()).collect(),
            partials: vec![[0; 2]; pairs.len()],
            all_told: vec![0; pairs.len()],
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

    /// Tells the best levels of a book to the readers of each depth, if it changed.
    fn write_partial(&mut self, at: usize, slow: bool, pair: &PairState, readers: &[u32], log: &mut Log) {
        let told = &mut self.partials[at][usize::from(slow)];
        if std::mem::replace(told, pair.update_id) == pair.update_id {
            return;
        }
        let offset = if slow { PARTIAL_SLOW } else { PARTIAL_FAST };
        for (index, depth) in PARTIAL_DEPTHS.into_iter().enumerate() {
            write_units(at, offset + 2 * index, readers, log, |_, out| push_partial(pair, depth, out));
        }
    }

    /// Bars of a second, or all others.
    fn write_klines(
        &mut self,
        at: usize,
        of_seconds: bool,
        now: UnixNanos,
        market: &Simulation,
        readers: &[u32],
        log: &mut Log,
    ) {
        for (index, interval) in
            INTERVALS.iter().enumerate().filter(|(_, interval)| (interval.base_s == 1) == of_seconds)
        {
            let offset = KLINE + 2 * index;
            let first = at * TOPICS_PER_PAIR + offset;
            if readers[first] + readers[first + 1] == 0 {
                continue;
            }
            let Some(bar) = interval.last(market.bars(at, interval.base_s)) else { continue };
            let state = &mut self.klines[at][index];
            let closed = bar.end() <= now;
            let known = state.told_begin == bar.begin;
            if known && (state.closed || state.told_trades == bar.trades && !closed) {
                continue;
            }
            *state = KlineState { told_trades: bar.trades, told_begin: bar.begin, closed };
            let pair = &market.pairs()[at].spec.pair;
            write_units(at, offset, readers, log, |unit, out| {
                push_kline(pair, interval.name, &bar, closed, unit, now, out);
            });
        }
    }

    /// Tickers of one pair.
    fn write_tickers(&self, at: usize, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let state = &market.pairs()[at];
        let reads = |offset: usize| {
            let first = at * TOPICS_PER_PAIR + offset;
            readers[first] + readers[first + 1] > 0
        };
        if reads(MINI_TICKER) || reads(TICKER) {
            let figures = Figures::of_market(market, at, 24, now);
            write_units(at, MINI_TICKER, readers, log, |unit, out| push_mini(state, &figures, unit.of(now), out));
            write_units(at, TICKER, readers, log, |unit, out| push_ticker(state, &figures, unit, now, out));
        }
        for (index, (name, hours)) in WINDOWS.into_iter().enumerate() {
            let offset = WINDOW_TICKER + 2 * index;
            if reads(offset) {
                let figures = Figures::of_market(market, at, hours, now);
                write_units(at, offset, readers, log, |unit, out| {
                    push_window(state, name, &figures, unit, now, out);
                });
            }
        }
        if reads(AVERAGE) {
            let price = average(market.bars(at, 60), now).unwrap_or(state.day.last.0);
            let last = state.trades.back().map_or(now, |trade| trade.time);
            write_units(at, AVERAGE, readers, log, |unit, out| {
                push_average(&state.spec.pair, price, unit.of(now), unit.of(last), out);
            });
        }
    }

    /// Tickers of all pairs in which something was traded since the last ones.
    fn write_all(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let first = market.pairs().len() * TOPICS_PER_PAIR;
        if readers[first..].iter().all(|count| *count == 0) {
            return;
        }
        let pairs = market.pairs().iter().enumerate();
        let traded: Vec<usize> =
            pairs.filter(|(at, state)| state.next_trade_id() != self.all_told[*at]).map(|(at, _)| at).collect();
        if traded.is_empty() {
            return;
        }
        let list = |hours: u64, push: &dyn Fn(&PairState, &Figures, &mut Vec<u8>), out: &mut Vec<u8>| {
            for (index, at) in traded.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                push(&market.pairs()[*at], &Figures::of_market(market, *at, hours, now), out);
            }
            out.push(b']');
        };
        write_units(market.pairs().len(), ALL_MINI, readers, log, |unit, out| {
            list(24, &|state, figures, out| push_mini(state, figures, unit.of(now), out), out);
        });
        for (index, (name, hours)) in WINDOWS.into_iter().enumerate() {
            write_units(market.pairs().len(), ALL_WINDOW + 2 * index, readers, log, |unit, out| {
                list(hours, &|state, figures, out| push_window(state, name, figures, unit, now, out), out);
            });
        }
        traded.into_iter().for_each(|at| self.all_told[at] = market.pairs()[at].next_trade_id());
    }
}

impl Writer for BinanceWriter {
    fn topics(&self) -> &[Topic] {
        &self.topics.list
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        self.topics.find(name)
    }

    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let event = market.event();
        let (at, pair) = (event.pair, &market.pairs()[event.pair]);
        for trade in &event.trades {
            write_units(at, TRADE, readers, log, |unit, out| {
                push_trade(&pair.spec.pair, trade, unit.of(event.time), out);
            });
        }
        for fills in event.trades.chunk_by(|a, b| a.aggregate == b.aggregate) {
            write_units(at, AGG_TRADE, readers, log, |unit, out| {
                push_aggregate(&pair.spec.pair, fills, unit.of(event.time), out);
            });
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
        let (second, klines) = (crossed(SECOND_TICKS), crossed(KLINE_TICKS));
        self.next_tick = UnixNanos((tick + 1) * TICK_NS);
        for (at, pair) in market.pairs().iter().enumerate() {
            if self.book_pace == BookPace::Venue {
                self.write_depth(at, false, boundary, pair, readers, log);
            }
            self.write_partial(at, false, pair, readers, log);
            if second {
                self.write_depth(at, true, boundary, pair, readers, log);
                self.write_partial(at, true, pair, readers, log);
                self.write_tickers(at, boundary, market, readers, log);
                self.write_klines(at, true, boundary, market, readers, log);
            }
            if klines {
                self.write_klines(at, false, boundary, market, readers, log);
            }
        }
        if second {
            self.write_all(boundary, market, readers, log);
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.next_tick
    }

    fn join(&mut self, topic: TopicId, _: UnixNanos, market: &Simulation, readers: &[u32], _: &mut Log) -> Joined {
        let (at, offset) = (topic as usize / TOPICS_PER_PAIR, topic as usize % TOPICS_PER_PAIR);
        if at == market.pairs().len() {
            return Joined::default();
        }
        if (PARTIAL_FAST..KLINE).contains(&offset) {
            // The book is told at the next step of the clock, though it did not change.
            self.partials[at][usize::from(offset >= PARTIAL_SLOW)] = 0;
        }
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

pub(super) fn push_quoted(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    push_padded(mantissa, scale, out);
    out.push(b'"');
}

pub(super) fn push_integer(name: &str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_u64(value, out);
}

pub(super) fn push_event(kind: &str, time: u64, pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"e\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"E\":");
    push_u64(time, out);
    out.extend_from_slice(b",\"s\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.push(b'"');
}

fn push_trade(pair: &Pair, trade: &Trade, time: u64, out: &mut Vec<u8>) {
    push_event("trade", time, pair, out);
    push_integer("t", trade.id, out);
    push_quoted("p", trade.price.0, pair.price_scale, out);
    push_quoted("q", trade.size.0, pair.size_scale, out);
    push_taken(trade, time, out);
}

/// The fills of one taker at one price, one at least.
fn push_aggregate(pair: &Pair, fills: &[Trade], time: u64, out: &mut Vec<u8>) {
    let (first, last) = (&fills[0], &fills[fills.len() - 1]);
    push_event("aggTrade", time, pair, out);
    push_integer("a", first.aggregate, out);
    push_quoted("p", first.price.0, pair.price_scale, out);
    push_quoted("q", fills.iter().map(|fill| fill.size.0).sum(), pair.size_scale, out);
    push_integer("f", first.id, out);
    push_integer("l", last.id, out);
    push_taken(first, time, out);
}

fn push_taken(trade: &Trade, time: u64, out: &mut Vec<u8>) {
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

/// The best levels of a book.
fn push_partial(state: &PairState, depth: usize, out: &mut Vec<u8>) {
    let levels = |side| state.book().levels(side).take(depth);
    push_book(&state.spec.pair, state.update_id, levels(Side::Buy), levels(Side::Sell), out);
}

/// A whole book, as REST and partial streams have it.
pub(super) fn push_book(
    pair: &Pair,
    update_id: u64,
    bids: impl Iterator<Item = book::Level>,
    asks: impl Iterator<Item = book::Level>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"lastUpdateId\":");
    push_u64(update_id, out);
    out.extend_from_slice(b",\"bids\":[");
    push_levels(bids, pair, out);
    out.extend_from_slice(b"],\"asks\":[");
    push_levels(asks, pair, out);
    out.extend_from_slice(b"]}");
}

fn push_levels(levels: impl Iterator<Item = book::Level>, pair: &Pair, out: &mut Vec<u8>) {
    for (index, level) in levels.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_level(level.price.0, level.size, pair, out);
    }
}

fn push_level(price: i64, size: Qty, pair: &Pair, out: &mut Vec<u8>) {
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
pub(super) fn push_sum(name: &str, sum: i128, extra: u8, pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    push_padded_wide(sum / 10_i128.pow(extra.into()), pair.size_scale, out);
    out.push(b'"');
}
