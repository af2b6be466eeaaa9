//! The simulation in Kraken's words: trade, book with its checksum, ticker, ohlc and instrument frames.
//!
//! A book subscriber of depth `d` holds the best `d` levels after each frame. What the full book knows and the
//! subscriber does not is bounded by one price a side: the worst it holds. From that follows which changes it must be
//! told and which levels it now needs because better ones are gone.

use book::Level;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

use super::{DEPTHS, INTERVALS_MIN, INTERVALS_S};
use crate::market::simulation::{Change, EventKind, PairState, Simulation};
use crate::market::{Bar, BookView, Joined, Log, Pair, Topic, TopicId, Trade, Writer};
use crate::options::BookPace;
use crate::text::{push_padded, push_padded_wide, push_rfc3339, push_u64};

/// Levels a side that the checksum covers.
const CHECKSUM_LEVELS: usize = 10;
/// Bars and other clocked frames are sent this often, ns.
const TICK_NS: u64 = 1_000_000_000;
/// Trades and bars in a snapshot.
const SNAPSHOT_TRADES: usize = 50;

/// Offsets of a pair's topics.
const TRADE: usize = 0;
const TICKER_TRADES: usize = 1;
const TICKER_BBO: usize = 2;
const BOOK: usize = 3;
const OHLC: usize = BOOK + DEPTHS.len();
const TOPICS_PER_PAIR: usize = OHLC + INTERVALS_MIN.len();

/// What the subscribers of one depth hold of one book.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Worst price held, bids and asks; `None` while the whole side is held.
    pub(super) worst: [Option<Price>; 2],
    /// Changes since the last frame.
    pub(super) pending: Vec<Change>,
}

pub(crate) struct KrakenWriter {
    topics: Vec<Topic>,
    book_pace: BookPace,
    cuts: Vec<[Cut; DEPTHS.len()]>,
    /// Bars that changed since they were sent, and when they began.
    bars_due: Vec<[Option<UnixNanos>; INTERVALS_MIN.len()]>,
    next_tick: UnixNanos,
    levels: [Vec<Level>; 2],
    digits: Vec<u8>,
}

/// Every topic of the given pairs; the last one is the instrument channel.
pub(crate) fn topics(pairs: &[Pair]) -> Vec<Topic> {
    let mut topics = Vec::new();
    for pair in pairs {
        let symbol = &pair.symbol;
        let mut add = |name: String, kind| topics.push(Topic { name, symbol: symbol.clone(), kind });
        add(format!("trade:{symbol}"), StreamKind::Trade);
        add(format!("ticker:{symbol}:trades"), StreamKind::Quote);
        add(format!("ticker:{symbol}:bbo"), StreamKind::Quote);
        DEPTHS.iter().for_each(|depth| add(format!("book:{symbol}:{depth}"), StreamKind::Book));
        INTERVALS_MIN.iter().for_each(|minutes| add(format!("ohlc:{symbol}:{minutes}"), StreamKind::Bar));
    }
    topics.push(Topic { name: "instrument".to_owned(), symbol: String::new(), kind: StreamKind::Instrument });
    topics
}

impl KrakenWriter {
    pub(crate) fn new(pairs: &[Pair], book_pace: BookPace) -> Self {
        Self {
            topics: topics(pairs),
            book_pace,
            cuts: pairs.iter().map(|_| Default::default()).collect(),
            bars_due: vec![[None; INTERVALS_MIN.len()]; pairs.len()],
            next_tick: UnixNanos::ZERO,
            levels: Default::default(),
            digits: Vec::new(),
        }
    }

    /// Brings the subscribers of one depth up to date, if there is something to tell them.
    fn write_book(&mut self, at: usize, depth_at: usize, time: UnixNanos, pair: &PairState, log: &mut Log) {
        let cut = &mut self.cuts[at][depth_at];
        for (side_at, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
            self.levels[side_at].clear();
            tell_side(pair, side, DEPTHS[depth_at], &mut cut.worst[side_at], &cut.pending, &mut self.levels[side_at]);
        }
        cut.pending.clear();
        let [bids, asks] = &self.levels;
        if bids.is_empty() && asks.is_empty() {
            return;
        }
        let checksum = checksum(pair.book().levels(Side::Buy), pair.book().levels(Side::Sell), &mut self.digits);
        push_book("update", &pair.spec.pair, bids, asks, checksum, time, log.pen());
        log.commit(topic_id(at, BOOK + depth_at));
    }

    fn write_bar(&mut self, at: usize, interval_at: usize, begin: UnixNanos, market: &Simulation, log: &mut Log) {
        let found = market.bars(at, INTERVALS_S[interval_at]).rev().find(|bar| bar.begin == begin);
        if let Some(bar) = found {
            let time = market.event().time;
            push_bars("update", &market.pairs()[at].spec.pair, std::iter::once(bar), time, log.pen());
            log.commit(topic_id(at, OHLC + interval_at));
        }
    }
}

impl Writer for KrakenWriter {
    fn topics(&self) -> &[Topic] {
        &self.topics
    }

    fn topic(&self, name: &str) -> Option<TopicId> {
        self.topics.iter().position(|topic| topic.name == name).and_then(|at| TopicId::try_from(at).ok())
    }

    fn on_event(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let event = market.event();
        let (at, pair) = (event.pair, &market.pairs()[event.pair]);
        let first = at * TOPICS_PER_PAIR;
        let reads = |topic: usize| readers[first + topic] > 0;
        if !event.trades.is_empty() {
            if reads(TRADE) {
                push_trades("update", &pair.spec.pair, event.trades.iter(), log.pen());
                log.commit(topic_id(at, TRADE));
            }
            for interval_at in (0..INTERVALS_MIN.len()).filter(|i| reads(OHLC + i)) {
                let width = INTERVALS_S[interval_at] * 1_000_000_000;
                let begin = UnixNanos(event.time.0 - event.time.0 % width);
                let due = self.bars_due[at][interval_at].replace(begin);
                // There is no "closed" flag: the last state of a bar must be out before its successor's first.
                if let Some(old) = due.filter(|old| *old != begin) {
                    self.write_bar(at, interval_at, old, market, log);
                }
            }
        }
        for depth_at in (0..DEPTHS.len()).filter(|i| reads(BOOK + i)) {
            self.cuts[at][depth_at].pending.extend_from_slice(&event.changes);
            if self.book_pace == BookPace::Venue || event.kind == EventKind::Deep {
                self.write_book(at, depth_at, event.time, pair, log);
            }
        }
        for (topic, wanted) in [(TICKER_TRADES, !event.trades.is_empty()), (TICKER_BBO, event.kind != EventKind::Deep)]
        {
            if wanted && reads(topic) {
                push_ticker("update", pair, event.time, log.pen());
                log.commit(topic_id(at, topic));
            }
        }
    }

    fn on_reference(&mut self, market: &Simulation, readers: &[u32], log: &mut Log) {
        let topic = self.topics.len() - 1;
        if readers[topic] > 0 {
            let pair = market.pairs()[market.event().pair].spec.pair.clone();
            push_instruments("update", &[pair], log.pen());
            log.commit(topic as TopicId);
        }
    }

    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        self.next_tick = UnixNanos(now.0 - now.0 % TICK_NS + TICK_NS);
        for at in 0..self.bars_due.len() {
            for interval_at in 0..INTERVALS_MIN.len() {
                let due = self.bars_due[at][interval_at].take();
                if let Some(begin) = due.filter(|_| readers[at * TOPICS_PER_PAIR + OHLC + interval_at] > 0) {
                    self.write_bar(at, interval_at, begin, market, log);
                }
            }
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.next_tick
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined {
        let mut frame = Vec::new();
        let (at, offset) = (topic as usize / TOPICS_PER_PAIR, topic as usize % TOPICS_PER_PAIR);
        let Some(state) = market.pairs().get(at) else {
            let pairs: Vec<Pair> = market.listed().iter().map(|state| state.spec.pair.clone()).collect();
            push_instruments("snapshot", &pairs, &mut frame);
            return Joined { snapshot: Some(frame) };
        };
        let pair = &state.spec.pair;
        match offset {
            TRADE => {
                let skipped = state.trades.len().saturating_sub(SNAPSHOT_TRADES);
                push_trades("snapshot", pair, state.trades.iter().skip(skipped), &mut frame);
            }
            TICKER_TRADES | TICKER_BBO => push_ticker("snapshot", state, now, &mut frame),
            BOOK..OHLC => {
                let depth_at = offset - BOOK;
                if readers[topic as usize] > 0 {
                    self.write_book(at, depth_at, now, state, log);
                } else {
                    self.cuts[at][depth_at].pending.clear();
                }
                let depth = DEPTHS[depth_at];
                self.cuts[at][depth_at].worst = [worst(state, Side::Buy, depth), worst(state, Side::Sell, depth)];
                let cut = |side| state.book().levels(side).take(depth).collect::<Vec<_>>();
                let (bids, asks) = (cut(Side::Buy), cut(Side::Sell));
                let checksum = checksum(bids.iter().copied(), asks.iter().copied(), &mut self.digits);
                push_book("snapshot", pair, &bids, &asks, checksum, now, &mut frame);
            }
            _ => {
                let bars: Vec<&Bar> = market.bars(at, INTERVALS_S[offset - OHLC]).collect();
                push_bars("snapshot", pair, bars.into_iter(), now, &mut frame);
            }
        }
        Joined { snapshot: Some(frame) }
    }
}

fn topic_id(pair: usize, offset: usize) -> TopicId {
    (pair * TOPICS_PER_PAIR + offset) as TopicId
}

/// The worst price among the best `depth` levels; `None` when the side has no more than those.
pub(super) fn worst(pair: &PairState, side: Side, depth: usize) -> Option<Price> {
    let mut rest = pair.book().levels(side);
    let worst = rest.nth(depth - 1)?;
    (rest.len() > 0).then_some(worst.price)
}

/// Collects what a subscriber must be told of one side, and moves the boundary of what it holds. Gives how many levels
/// stand at the end that did not change but are held again, because better ones went.
pub(super) fn tell_side(
    pair: &PairState,
    side: Side,
    depth: usize,
    held: &mut Option<Price>,
    changes: &[Change],
    told: &mut Vec<Level>,
) -> usize {
    let better = |a: Price, b: Price| if side == Side::Buy { a > b } else { a < b };
    let (old, new) = (*held, worst(pair, side, depth));
    *held = new;
    for (index, change) in changes.iter().enumerate().filter(|(_, change)| change.side == side) {
        let again = |other: &Change| other.side == side && other.price == change.price;
        if changes[..index].iter().any(again) {
            continue;
        }
        let last = changes[index..].iter().rfind(|other| again(other)).map_or(change.after, |other| other.after);
        if last == change.before {
            continue;
        }
        let boundary = if last.0 == 0 { old } else { new };
        if boundary.is_none_or(|worst| !better(worst, change.price)) {
            told.push(Level { price: change.price, size: last });
        }
    }
    // The venue takes levels out before it puts others in (all captures): a reader that cuts its book to the depth at
    // every level would lose its worst one otherwise.
    told.sort_by_key(|level| level.size.0 != 0);
    // Levels that were behind the boundary and are not any more, because better ones went.
    let changed = told.len();
    let Some(old) = old else { return 0 };
    let levels = pair.book().levels(side);
    let entering = levels.skip(depth.saturating_sub(changes.len() + 1)).take((changes.len() + 1).min(depth));
    for level in entering {
        if better(old, level.price) && !told.iter().any(|t| t.price == level.price) {
            told.push(level);
        }
    }
    told.len() - changed
}

/// CRC-32 of the ten best asks and bids, as digits without points and leading zeros.
pub(crate) fn checksum(
    bids: impl Iterator<Item = Level>,
    asks: impl Iterator<Item = Level>,
    digits: &mut Vec<u8>,
) -> u32 {
    digits.clear();
    for level in asks.take(CHECKSUM_LEVELS).chain(bids.take(CHECKSUM_LEVELS)) {
        scan::push_digits(level.price.0, digits);
        scan::push_digits(level.size.0, digits);
    }
    crc32fast::hash(digits)
}

/// The snapshot of a book that was not simulated here, cut to what the subscriber holds.
pub(crate) fn book_snapshot(pair: &Pair, book: &BookView, time: UnixNanos) -> Vec<u8> {
    let mut frame = Vec::new();
    let checksum = checksum(book.bids.iter().copied(), book.asks.iter().copied(), &mut Vec::new());
    push_book("snapshot", pair, &book.bids, &book.asks, checksum, time, &mut frame);
    frame
}

fn push_head(channel: &str, kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"channel\":\"");
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\"");
}

fn push_symbol(pair: &Pair, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"symbol\":\"");
    out.extend_from_slice(pair.symbol.as_bytes());
    out.push(b'"');
}

fn push_number(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_padded(mantissa, scale, out);
}

fn push_time(name: &str, time: UnixNanos, decimals: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    push_rfc3339(time, decimals, out);
    out.push(b'"');
}

fn push_levels(levels: &[Level], pair: &Pair, out: &mut Vec<u8>) {
    for (index, level) in levels.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"price\":" as &[u8] } else { b",{\"price\":" });
        push_padded(level.price.0, pair.price_scale, out);
        out.extend_from_slice(b",\"qty\":");
        push_padded(level.size.0, pair.size_scale, out);
        out.push(b'}');
    }
}

fn push_book(
    kind: &str,
    pair: &Pair,
    bids: &[Level],
    asks: &[Level],
    checksum: u32,
    time: UnixNanos,
    out: &mut Vec<u8>,
) {
    push_head("book", kind, out);
    out.extend_from_slice(b",\"data\":[");
    push_symbol(pair, out);
    out.extend_from_slice(b",\"bids\":[");
    push_levels(bids, pair, out);
    out.extend_from_slice(b"],\"asks\":[");
    push_levels(asks, pair, out);
    out.extend_from_slice(b"],\"checksum\":");
    push_u64(checksum.into(), out);
    push_time("timestamp", time, 6, out);
    out.extend_from_slice(b"}]}");
}

fn push_trades<'a>(kind: &str, pair: &Pair, trades: impl Iterator<Item = &'a Trade>, out: &mut Vec<u8>) {
    push_head("trade", kind, out);
    out.extend_from_slice(b",\"data\":[");
    for (index, trade) in trades.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_symbol(pair, out);
        out.extend_from_slice(b",\"side\":\"");
        out.extend_from_slice(trade.taker.name().as_bytes());
        out.push(b'"');
        push_number("price", trade.price.0, pair.price_scale, out);
        push_number("qty", trade.size.0, pair.size_scale, out);
        out.extend_from_slice(b",\"ord_type\":\"");
        out.extend_from_slice(if trade.id % 3 == 0 { b"market" as &[u8] } else { b"limit" });
        out.extend_from_slice(b"\",\"trade_id\":");
        push_u64(trade.id, out);
        push_time("timestamp", trade.time, 6, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

fn push_ticker(kind: &str, state: &PairState, time: UnixNanos, out: &mut Vec<u8>) {
    let pair = &state.spec.pair;
    let (bid, ask, day) = (state.best(Side::Buy), state.best(Side::Sell), &state.day);
    let vwap = if day.volume > 0 { (day.cost / day.volume) as i64 } else { day.open.0 };
    let change = day.last.0 - day.open.0;
    let change_bp = i128::from(change) * 10_000 / i128::from(day.open.0.max(1));
    push_head("ticker", kind, out);
    out.extend_from_slice(b",\"data\":[");
    push_symbol(pair, out);
    push_number("bid", bid.price.0, pair.price_scale, out);
    push_number("bid_qty", bid.size.0, pair.size_scale, out);
    push_number("ask", ask.price.0, pair.price_scale, out);
    push_number("ask_qty", ask.size.0, pair.size_scale, out);
    push_number("last", day.last.0, pair.price_scale, out);
    out.extend_from_slice(b",\"volume\":");
    push_padded_wide(day.volume, pair.size_scale, out);
    push_number("vwap", vwap, pair.price_scale, out);
    push_number("low", day.low.0, pair.price_scale, out);
    push_number("high", day.high.0, pair.price_scale, out);
    push_number("change", change, pair.price_scale, out);
    push_number("change_pct", change_bp as i64, 2, out);
    push_time("timestamp", time, 6, out);
    out.extend_from_slice(b"}]}");
}

fn push_bars<'a>(kind: &str, pair: &Pair, bars: impl Iterator<Item = &'a Bar>, time: UnixNanos, out: &mut Vec<u8>) {
    push_head("ohlc", kind, out);
    push_time("timestamp", time, 9, out);
    out.extend_from_slice(b",\"data\":[");
    for (index, bar) in bars.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_symbol(pair, out);
        for (name, price) in [("open", bar.open), ("high", bar.high), ("low", bar.low), ("close", bar.close)] {
            push_number(name, price.0, pair.price_scale, out);
        }
        out.extend_from_slice(b",\"trades\":");
        push_u64(bar.trades, out);
        out.extend_from_slice(b",\"volume\":");
        push_padded_wide(bar.volume, pair.size_scale, out);
        out.extend_from_slice(b",\"vwap\":");
        push_padded_wide(bar.cost / bar.volume.max(1), pair.price_scale, out);
        push_time("interval_begin", bar.begin, 9, out);
        out.extend_from_slice(b",\"interval\":");
        push_u64(bar.interval_s / 60, out);
        push_time("timestamp", bar.end(), 6, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

/// The instrument channel's snapshot, or its update of some pairs.
pub(crate) fn push_instruments(kind: &str, pairs: &[Pair], out: &mut Vec<u8>) {
    push_head("instrument", kind, out);
    out.extend_from_slice(b",\"data\":{\"assets\":[");
    let mut assets: Vec<&str> = pairs.iter().flat_map(|pair| [pair.base.as_str(), pair.quote.as_str()]).collect();
    assets.sort_unstable();
    assets.dedup();
    for (index, asset) in assets.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let text = format!(
            "{comma}{{\"id\":\"{asset}\",\"status\":\"enabled\",\"precision\":10,\"precision_display\":5,\
             \"borrowable\":false,\"collateral_value\":0.00}}"
        );
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(b"],\"pairs\":[");
    for (index, pair) in pairs.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let Pair { symbol, base, quote, price_scale, size_scale, .. } = pair;
        let status = pair.status_text("online", "delisted");
        let text = format!(
            "{comma}{{\"symbol\":\"{symbol}\",\"base\":\"{base}\",\"quote\":\"{quote}\",\"status\":\"{status}\",\
             \"qty_precision\":{size_scale}"
        );
        out.extend_from_slice(text.as_bytes());
        push_number("qty_increment", pair.lot.0, *size_scale, out);
        out.extend_from_slice(format!(",\"price_precision\":{price_scale},\"cost_precision\":5").as_bytes());
        out.extend_from_slice(b",\"marginable\":false,\"has_index\":false,\"cost_min\":\"0.5\"");
        push_number("tick_size", pair.tick.0, *price_scale, out);
        push_number("price_increment", pair.tick.0, *price_scale, out);
        push_number("qty_min", Qty(pair.lot.0.max(1)).0, *size_scale, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
}
