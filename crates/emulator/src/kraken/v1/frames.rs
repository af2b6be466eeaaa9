//! The simulation in the words of v1: trade, book with its checksum, ticker, spread and ohlc arrays.
//!
//! Prices have five decimals at least, and the checksum is that of the texts as sent: other digits than v2's. A level
//! that comes into a book's depth again because a better one went carries `"r"` and the time of its own last change.

use std::collections::HashMap;

use book::Level;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

use super::super::frames::{Cut, tell_side, worst};
use super::super::{DEPTHS, INTERVALS_MIN, INTERVALS_S, wsname};
use super::{PRICE_DECIMALS_MIN, topic_name};
use crate::market::simulation::{Event, EventKind, PairState, Simulation};
use crate::market::{Bar, BookView, Joined, Log, Pair, Topic, TopicId, Trade, Writer as MarketWriter};
use crate::options::BookPace;
use crate::text::{push_padded, push_padded_wide, push_u64};

/// Levels a side that the checksum covers.
const CHECKSUM_LEVELS: usize = 10;
/// Trades of a snapshot.
const SNAPSHOT_TRADES: usize = 50;

/// Offsets of a pair's topics.
const TRADE: usize = 0;
const TICKER: usize = 1;
const SPREAD: usize = 2;
const BOOK: usize = 3;
const OHLC: usize = BOOK + DEPTHS.len();
const TOPICS_PER_PAIR: usize = OHLC + INTERVALS_MIN.len();

pub(crate) struct Writer {
    topics: Vec<Topic>,
    book_pace: BookPace,
    cuts: Vec<[Cut; DEPTHS.len()]>,
    levels: [Vec<Level>; 2],
    ages: Vec<Ages>,
}

/// When the levels of a pair last changed, while a book of it is read.
#[derive(Clone, Debug, Default)]
struct Ages {
    /// Those that did not change since are as old as this.
    since: UnixNanos,
    changed: HashMap<(Side, Price), UnixNanos>,
}

impl Ages {
    fn of(&self, side: Side, price: Price) -> UnixNanos {
        self.changed.get(&(side, price)).copied().unwrap_or(self.since)
    }

    fn note(&mut self, event: &Event) {
        for change in &event.changes {
            match change.after.0 {
                0 => self.changed.remove(&(change.side, change.price)),
                _ => self.changed.insert((change.side, change.price), event.time),
            };
        }
    }
}

/// What a subscriber is told of one side: the last `again` levels did not change.
struct Told<'a> {
    side: Side,
    levels: &'a [Level],
    again: usize,
}

impl Writer {
    pub(crate) fn new(pairs: &[Pair], book_pace: BookPace) -> Self {
        let mut topics = Vec::new();
        for pair in pairs {
            let mut add = |channel: &str, kind| {
                let name = topic_name(channel, &pair.symbol);
                topics.push(Topic { name, symbol: pair.symbol.clone(), kind });
            };
            add("trade", StreamKind::Trade);
            add("ticker", StreamKind::Quote);
            add("spread", StreamKind::Quote);
            DEPTHS.iter().for_each(|depth| add(&format!("book-{depth}"), StreamKind::Book));
            INTERVALS_MIN.iter().for_each(|minutes| add(&format!("ohlc-{minutes}"), StreamKind::Bar));
        }
        let cuts = pairs.iter().map(|_| Default::default()).collect();
        Self { topics, book_pace, cuts, levels: Default::default(), ages: vec![Ages::default(); pairs.len()] }
    }

    fn write_book(&mut self, at: usize, depth_at: usize, time: UnixNanos, state: &PairState, log: &mut Log) {
        let cut = &mut self.cuts[at][depth_at];
        let mut again = [0; 2];
        for (side_at, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
            let levels = &mut self.levels[side_at];
            levels.clear();
            again[side_at] = tell_side(state, side, DEPTHS[depth_at], &mut cut.worst[side_at], &cut.pending, levels);
        }
        cut.pending.clear();
        let [bids, asks] = &self.levels;
        if bids.is_empty() && asks.is_empty() {
            return;
        }
        let bids = Told { side: Side::Buy, levels: bids, again: again[0] };
        let asks = Told { side: Side::Sell, levels: asks, again: again[1] };
        push_update(state, DEPTHS[depth_at], &bids, &asks, &self.ages[at], time, log.pen());
        log.commit(topic_id(at, BOOK + depth_at));
    }
}

impl MarketWriter for Writer {
    fn topics(&self) -> &[Topic] {
        &self.topics
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        self.topics.iter().position(|topic| topic.name == name).and_then(|at| TopicId::try_from(at).ok())
    }

    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let event = market.event();
        let (at, state) = (event.pair, &market.pairs()[event.pair]);
        let pair = &state.spec.pair;
        let reads = |topic: usize| readers[at * TOPICS_PER_PAIR + topic] > 0;
        if !event.trades.is_empty() {
            if reads(TRADE) {
                push_trades(pair, event.trades.iter(), log.pen());
                log.commit(topic_id(at, TRADE));
            }
            if reads(TICKER) {
                push_ticker(state, log.pen());
                log.commit(topic_id(at, TICKER));
            }
            for interval_at in (0..INTERVALS_MIN.len()).filter(|i| reads(OHLC + i)) {
                if let Some(bar) = market.bars(at, INTERVALS_S[interval_at]).next_back() {
                    push_bar(pair, bar, event.time, log.pen());
                    log.commit(topic_id(at, OHLC + interval_at));
                }
            }
        }
        if (0..DEPTHS.len()).any(|i| reads(BOOK + i)) {
            self.ages[at].note(event);
        }
        for depth_at in (0..DEPTHS.len()).filter(|i| reads(BOOK + i)) {
            self.cuts[at][depth_at].pending.extend_from_slice(&event.changes);
            if self.book_pace == BookPace::Venue || event.kind == EventKind::Deep {
                self.write_book(at, depth_at, event.time, state, log);
            }
        }
        if event.kind != EventKind::Deep && reads(SPREAD) {
            push_spread(state, event.time, log.pen());
            log.commit(topic_id(at, SPREAD));
        }
    }

    fn on_time(&mut self, _: UnixNanos, _: &Simulation, _: &[u32], _: &mut Log) {}

    fn next_tick(&self) -> UnixNanos {
        // Nothing here follows the clock.
        UnixNanos(u64::MAX)
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined {
        let (at, offset) = (topic as usize / TOPICS_PER_PAIR, topic as usize % TOPICS_PER_PAIR);
        let state = &market.pairs()[at];
        let pair = &state.spec.pair;
        let mut frame = Vec::new();
        match offset {
            TRADE => {
                let skipped = state.trades.len().saturating_sub(SNAPSHOT_TRADES);
                if state.trades.is_empty() {
                    return Joined::default();
                }
                push_trades(pair, state.trades.iter().skip(skipped), &mut frame);
            }
            TICKER => push_ticker(state, &mut frame),
            SPREAD => push_spread(state, now, &mut frame),
            BOOK..OHLC => {
                let (depth_at, depth) = (offset - BOOK, DEPTHS[offset - BOOK]);
                let books = at * TOPICS_PER_PAIR + BOOK;
                if readers[books..books + DEPTHS.len()].iter().all(|count| *count == 0) {
                    self.ages[at] = Ages { since: now, ..Ages::default() };
                }
                if readers[topic as usize] > 0 {
                    self.write_book(at, depth_at, now, state, log);
                } else {
                    self.cuts[at][depth_at].pending.clear();
                }
                let worst = |side| worst(state, side, depth);
                self.cuts[at][depth_at].worst = [worst(Side::Buy), worst(Side::Sell)];
                let cut = |side| state.book().levels(side).take(depth).collect::<Vec<_>>();
                let book = BookView { update_id: 0, bids: cut(Side::Buy), asks: cut(Side::Sell) };
                frame = snapshot(pair, &format!("book-{depth}"), &book, now);
            }
            _ => {
                let Some(bar) = market.bars(at, INTERVALS_S[offset - OHLC]).next_back() else {
                    return Joined::default();
                };
                push_bar(pair, bar, now, &mut frame);
            }
        }
        Joined { snapshot: Some(frame) }
    }
}

fn topic_id(pair: usize, offset: usize) -> TopicId {
    (pair * TOPICS_PER_PAIR + offset) as TopicId
}

/// A number for a channel of a pair. It is deprecated and only has to be the same in acks and data.
pub(super) fn channel_id(channel: &str, symbol: &str) -> u32 {
    crc32fast::hash(topic_name(channel, symbol).as_bytes()) % 10_000
}

fn decimals(pair: &Pair) -> u8 {
    pair.price_scale.max(PRICE_DECIMALS_MIN)
}

fn push_price(price: Price, pair: &Pair, out: &mut Vec<u8>) {
    push_padded(price.0, pair.price_scale, out);
    if pair.price_scale == 0 {
        out.push(b'.');
    }
    out.extend(std::iter::repeat_n(b'0', usize::from(decimals(pair) - pair.price_scale)));
}

/// Appends seconds since the epoch with six decimals.
fn push_seconds(time: UnixNanos, out: &mut Vec<u8>) {
    push_padded(i64::try_from(time.0 / 1000).unwrap_or(i64::MAX), 6, out);
}

fn push_head(channel: &str, pair: &Pair, out: &mut Vec<u8>) {
    out.push(b'[');
    push_u64(channel_id(channel, &pair.symbol).into(), out);
}

fn push_tail(channel: &str, pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(wsname(pair).as_bytes());
    out.extend_from_slice(b"\"]");
}

/// Writes one text of a list.
type Push<'a> = &'a dyn Fn(&mut Vec<u8>);

fn push_texts(texts: &[Push<'_>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, text) in texts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" as &[u8] } else { b",\"" });
        text(out);
        out.push(b'"');
    }
    out.push(b']');
}

/// Levels with the time of each.
fn push_levels(name: &str, levels: impl Iterator<Item = (Level, UnixNanos, Again)>, pair: &Pair, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":[");
    for (index, (level, time, again)) in levels.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_texts(
            &[
                &|out| push_price(level.price, pair, out),
                &|out| push_padded(level.size.0, pair.size_scale, out),
                &|out| push_seconds(time, out),
            ],
            out,
        );
        if again == Again::Yes {
            out.pop();
            out.extend_from_slice(b",\"r\"]");
        }
    }
    out.push(b']');
}

/// Whether a level is told again though it did not change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Yes,
}

/// The frame that a book's subscriber is sent first.
pub(crate) fn snapshot(pair: &Pair, channel: &str, book: &BookView, time: UnixNanos) -> Vec<u8> {
    let mut out = Vec::new();
    push_head(channel, pair, &mut out);
    out.extend_from_slice(b",{");
    let whole = |levels: &[Level]| levels.iter().map(|level| (*level, time, Again::No)).collect::<Vec<_>>();
    push_levels("as", whole(&book.asks).into_iter(), pair, &mut out);
    out.push(b',');
    push_levels("bs", whole(&book.bids).into_iter(), pair, &mut out);
    out.push(b'}');
    push_tail(channel, pair, &mut out);
    out
}

/// One element a side that changed, the checksum in the last.
fn push_update(
    state: &PairState,
    depth: usize,
    bids: &Told<'_>,
    asks: &Told<'_>,
    ages: &Ages,
    time: UnixNanos,
    out: &mut Vec<u8>,
) {
    let (pair, channel) = (&state.spec.pair, format!("book-{depth}"));
    let checksum = checksum(pair, state.book().levels(Side::Buy), state.book().levels(Side::Sell));
    push_head(&channel, pair, out);
    for (name, told, last) in [("a", asks, bids.levels.is_empty()), ("b", bids, true)] {
        if told.levels.is_empty() {
            continue;
        }
        out.extend_from_slice(b",{");
        let (changed, again) = told.levels.split_at(told.levels.len() - told.again);
        let changed = changed.iter().map(|level| (*level, time, Again::No));
        let again = again.iter().map(|level| (*level, ages.of(told.side, level.price), Again::Yes));
        push_levels(name, changed.chain(again), pair, out);
        if last {
            out.extend_from_slice(format!(",\"c\":\"{checksum}\"").as_bytes());
        }
        out.push(b'}');
    }
    push_tail(&channel, pair, out);
}

/// CRC-32 of the ten best asks and bids, as the digits of their texts without points and leading zeros.
fn checksum(pair: &Pair, bids: impl Iterator<Item = Level>, asks: impl Iterator<Item = Level>) -> u32 {
    let mut digits = Vec::new();
    let zeros = usize::from(decimals(pair) - pair.price_scale);
    for level in asks.take(CHECKSUM_LEVELS).chain(bids.take(CHECKSUM_LEVELS)) {
        scan::push_digits(level.price.0, &mut digits);
        digits.extend(std::iter::repeat_n(b'0', zeros));
        scan::push_digits(level.size.0, &mut digits);
    }
    crc32fast::hash(&digits)
}

fn push_trades<'a>(pair: &Pair, trades: impl Iterator<Item = &'a Trade>, out: &mut Vec<u8>) {
    push_head("trade", pair, out);
    out.extend_from_slice(b",[");
    for (index, trade) in trades.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let side: &[u8] = if trade.taker == Side::Buy { b"b" } else { b"s" };
        let kind: &[u8] = if trade.id % 3 == 0 { b"m" } else { b"l" };
        push_texts(
            &[
                &|out| push_price(trade.price, pair, out),
                &|out| push_padded(trade.size.0, pair.size_scale, out),
                &|out| push_seconds(trade.time, out),
                &|out| out.extend_from_slice(side),
                &|out| out.extend_from_slice(kind),
                &|_| {},
            ],
            out,
        );
    }
    out.push(b']');
    push_tail("trade", pair, out);
}

fn push_spread(state: &PairState, time: UnixNanos, out: &mut Vec<u8>) {
    let pair = &state.spec.pair;
    let (bid, ask) = (state.best(Side::Buy), state.best(Side::Sell));
    let size = |size: Qty| move |out: &mut Vec<u8>| push_padded(size.0, pair.size_scale, out);
    push_head("spread", pair, out);
    out.push(b',');
    push_texts(
        &[
            &|out| push_price(bid.price, pair, out),
            &|out| push_price(ask.price, pair, out),
            &|out| push_seconds(time, out),
            &size(bid.size),
            &size(ask.size),
        ],
        out,
    );
    push_tail("spread", pair, out);
}

fn push_ticker(state: &PairState, out: &mut Vec<u8>) {
    let (pair, day) = (&state.spec.pair, &state.day);
    let (bid, ask) = (state.best(Side::Buy), state.best(Side::Sell));
    let vwap = Price(if day.volume > 0 { (day.cost / day.volume) as i64 } else { day.open.0 });
    let last = state.trades.back().map_or(Qty(0), |trade| trade.size);
    let unit = 10_i64.pow(pair.size_scale.into());
    push_head("ticker", pair, out);
    for (name, level) in [(",{\"a", ask), (",\"b", bid)] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":[\"");
        push_price(level.price, pair, out);
        out.extend_from_slice(format!("\",{},\"", level.size.0 / unit).as_bytes());
        push_padded(level.size.0, pair.size_scale, out);
        out.extend_from_slice(b"\"]");
    }
    out.extend_from_slice(b",\"c\":");
    push_texts(&[&|out| push_price(day.last, pair, out), &|out| push_padded(last.0, pair.size_scale, out)], out);
    out.extend_from_slice(b",\"v\":");
    let volume = |out: &mut Vec<u8>| push_padded_wide(day.volume, pair.size_scale, out);
    push_texts(&[&volume, &volume], out);
    out.extend_from_slice(b",\"p\":");
    let price = |price: Price| move |out: &mut Vec<u8>| push_price(price, pair, out);
    push_texts(&[&price(vwap), &price(vwap)], out);
    let trades = state.trades.len();
    out.extend_from_slice(format!(",\"t\":[{trades},{trades}]").as_bytes());
    for (name, value) in [("l", day.low), ("h", day.high), ("o", day.open)] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        push_texts(&[&price(value), &price(value)], out);
    }
    out.push(b'}');
    push_tail("ticker", pair, out);
}

fn push_bar(pair: &Pair, bar: &Bar, time: UnixNanos, out: &mut Vec<u8>) {
    let channel = format!("ohlc-{}", bar.interval_s / 60);
    let vwap = Price((bar.cost / bar.volume.max(1)) as i64);
    let price = |price: Price| move |out: &mut Vec<u8>| push_price(price, pair, out);
    push_head(&channel, pair, out);
    out.push(b',');
    push_texts(
        &[
            &|out| push_seconds(time, out),
            &|out| push_seconds(bar.end(), out),
            &price(bar.open),
            &price(bar.high),
            &price(bar.low),
            &price(bar.close),
            &price(vwap),
            &|out| push_padded_wide(bar.volume, pair.size_scale, out),
        ],
        out,
    );
    // The count of trades is the last and the only number of the list.
    out.pop();
    out.extend_from_slice(format!(",{}]", bar.trades).as_bytes());
    push_tail(&channel, pair, out);
}
