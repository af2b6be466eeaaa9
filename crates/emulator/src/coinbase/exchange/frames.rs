//! The simulation in Exchange's words: matches, level 2, ticker, heartbeat, status, and every order on `full`.
//!
//! All channels of a product share its sequence, which the orders count; only `full` tells every number. The `side` of
//! a match is its maker's; that of a ticker is the taker's, as recorded frames have it.

use book::Level;
use model::{Side, StreamKind, UnixNanos};

use super::super::{Beat, keep_latest};
use super::{CHANNELS, topic_name};
use crate::market::orders::{Match, OrderEvent, push_uuid};
use crate::market::simulation::{Change, EventKind, PairState, Simulation};
use crate::market::{BookView, Joined, Log, Pair, Topic, TopicId, Writer as MarketWriter};
use crate::options::BookPace;
use crate::text::{push_padded, push_padded_wide, push_rfc3339, push_u64};

/// Heartbeats, and the slow channels, in steps of the clock.
const HEARTBEAT_TICKS: u64 = 20;
const SLOW_TICKS: u64 = 100;

/// Offsets of a pair's topics, those of [`CHANNELS`].
const MATCHES: usize = 0;
const LEVEL2: usize = 1;
const LEVEL2_BATCH: usize = 2;
const TICKER: usize = 3;
const TICKER_BATCH: usize = 4;
const HEARTBEAT: usize = 5;
const FULL: usize = 6;

const KINDS: [StreamKind; CHANNELS.len()] = [
    StreamKind::Trade,
    StreamKind::Book,
    StreamKind::Book,
    StreamKind::Quote,
    StreamKind::Quote,
    StreamKind::Connection,
    StreamKind::Order,
];

pub(crate) struct Writer {
    topics: Vec<Topic>,
    book_pace: BookPace,
    /// Changes of each book since the last batch.
    pending: Vec<Vec<Change>>,
    /// Trade that the slow ticker told last.
    told_trade: Vec<u64>,
    next_tick: UnixNanos,
}

impl Writer {
    pub(crate) fn new(pairs: &[Pair], book_pace: BookPace) -> Self {
        let mut topics = Vec::new();
        for pair in pairs {
            for (channel, kind) in CHANNELS.into_iter().zip(KINDS) {
                topics.push(Topic { name: topic_name(channel, &pair.symbol), symbol: pair.symbol.clone(), kind });
            }
        }
        let name = topic_name("status", "");
        topics.push(Topic { name, symbol: String::new(), kind: StreamKind::Instrument });
        let pending = vec![Vec::new(); pairs.len()];
        Self { topics, book_pace, pending, told_trade: vec![0; pairs.len()], next_tick: UnixNanos::ZERO }
    }

    fn write_batch(&mut self, at: usize, time: UnixNanos, pair: &Pair, log: &mut Log) {
        let changes = &mut self.pending[at];
        if changes.is_empty() {
            return;
        }
        keep_latest(changes);
        push_update(pair, changes, time, log.pen());
        log.commit(topic_id(at, LEVEL2_BATCH));
        changes.clear();
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
        let reads = |offset: usize| readers[at * CHANNELS.len() + offset] > 0;
        for (sequence, order) in &event.orders {
            if reads(FULL) {
                push_order(pair, *sequence, order, event.time, log.pen());
                log.commit(topic_id(at, FULL));
            }
            if let OrderEvent::Match(matched) = order {
                if reads(MATCHES) {
                    push_match("match", pair, matched, log.pen());
                    log.commit(topic_id(at, MATCHES));
                }
                if reads(TICKER) {
                    push_ticker(state, matched, log.pen());
                    log.commit(topic_id(at, TICKER));
                }
            }
        }
        if reads(LEVEL2) {
            push_update(pair, &event.changes, event.time, log.pen());
            log.commit(topic_id(at, LEVEL2));
        }
        if reads(LEVEL2_BATCH) {
            self.pending[at].extend_from_slice(&event.changes);
            if self.book_pace == BookPace::Batched && event.kind == EventKind::Deep {
                self.write_batch(at, event.time, pair, log);
            }
        } else {
            self.pending[at].clear();
        }
    }

    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let beat = Beat::at(now, self.next_tick);
        self.next_tick = beat.next();
        let slow = beat.crossed(SLOW_TICKS);
        for (at, state) in market.pairs().iter().enumerate() {
            let reads = |offset: usize| readers[at * CHANNELS.len() + offset] > 0;
            if self.book_pace == BookPace::Venue && reads(LEVEL2_BATCH) {
                self.write_batch(at, beat.boundary(), &state.spec.pair, log);
            }
            if reads(HEARTBEAT) && beat.crossed(HEARTBEAT_TICKS) {
                push_heartbeat(state, beat.boundary(), log.pen());
                log.commit(topic_id(at, HEARTBEAT));
            }
            let last = state.orders().and_then(|orders| orders.last_match());
            if let Some(last) = last.filter(|_| slow && reads(TICKER_BATCH))
                && self.told_trade[at] != last.trade.id
            {
                self.told_trade[at] = last.trade.id;
                push_ticker(state, last, log.pen());
                log.commit(topic_id(at, TICKER_BATCH));
            }
        }
        let status = self.topics.len() - 1;
        if slow && readers[status] > 0 {
            push_status(market, log.pen());
            log.commit(status as TopicId);
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.next_tick
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined {
        let (at, offset) = (topic as usize / CHANNELS.len(), topic as usize % CHANNELS.len());
        let mut frame = Vec::new();
        let Some(state) = market.pairs().get(at) else {
            push_status(market, &mut frame);
            return Joined { snapshot: Some(frame) };
        };
        let last = state.orders().and_then(|orders| orders.last_match());
        match (offset, last) {
            (LEVEL2 | LEVEL2_BATCH, _) => {
                if offset == LEVEL2_BATCH && readers[topic as usize] > 0 {
                    self.write_batch(at, now, &state.spec.pair, log);
                } else if offset == LEVEL2_BATCH {
                    self.pending[at].clear();
                }
                let levels = |side| state.book().levels(side).collect();
                let (bids, asks) = (levels(Side::Buy), levels(Side::Sell));
                frame = snapshot(&state.spec.pair, &BookView { update_id: 0, bids, asks });
            }
            (MATCHES, Some(last)) => push_match("last_match", &state.spec.pair, last, &mut frame),
            (TICKER | TICKER_BATCH, Some(last)) => push_ticker(state, last, &mut frame),
            _ => return Joined::default(),
        }
        Joined { snapshot: Some(frame) }
    }
}

fn topic_id(pair: usize, offset: usize) -> TopicId {
    (pair * CHANNELS.len() + offset) as TopicId
}

/// The frame that a book's subscriber is sent first.
pub(crate) fn snapshot(pair: &Pair, book: &BookView) -> Vec<u8> {
    let mut out = Vec::new();
    push_type("snapshot", &mut out);
    push_product(pair, &mut out);
    for (name, levels) in [("asks", &book.asks), ("bids", &book.bids)] {
        out.extend_from_slice(format!(",\"{name}\":[").as_bytes());
        push_levels(levels, pair, &mut out);
        out.push(b']');
    }
    out.push(b'}');
    out
}

fn push_levels(levels: &[Level], pair: &Pair, out: &mut Vec<u8>) {
    for (index, level) in levels.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[\"" as &[u8] } else { b",[\"" });
        push_padded(level.price.0, pair.price_scale, out);
        out.extend_from_slice(b"\",\"");
        push_padded(level.size.0, pair.size_scale, out);
        out.extend_from_slice(b"\"]");
    }
}

fn push_update(pair: &Pair, changes: &[Change], time: UnixNanos, out: &mut Vec<u8>) {
    push_type("l2update", out);
    push_product(pair, out);
    out.extend_from_slice(b",\"changes\":[");
    for (index, change) in changes.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[\"" as &[u8] } else { b",[\"" });
        out.extend_from_slice(change.side.name().as_bytes());
        out.extend_from_slice(b"\",\"");
        push_padded(change.price.0, pair.price_scale, out);
        out.extend_from_slice(b"\",\"");
        push_padded(change.after.0, pair.size_scale, out);
        out.extend_from_slice(b"\"]");
    }
    out.push(b']');
    push_time(time, out);
    out.push(b'}');
}

fn push_match(kind: &str, pair: &Pair, matched: &Match, out: &mut Vec<u8>) {
    let trade = &matched.trade;
    push_type(kind, out);
    push_integer("trade_id", trade.id, out);
    push_id("maker_order_id", matched.maker, out);
    push_id("taker_order_id", matched.taker, out);
    push_text("side", trade.taker.opposite().name(), out);
    push_short("size", trade.size.0, pair.size_scale, out);
    push_short("price", trade.price.0, pair.price_scale, out);
    push_product(pair, out);
    push_integer("sequence", matched.sequence, out);
    push_time(trade.time, out);
    out.push(b'}');
}

fn push_ticker(state: &PairState, last: &Match, out: &mut Vec<u8>) {
    let (pair, day) = (&state.spec.pair, &state.day);
    let (bid, ask) = (state.best(Side::Buy), state.best(Side::Sell));
    push_type("ticker", out);
    push_integer("sequence", last.sequence, out);
    push_product(pair, out);
    push_short("price", last.trade.price.0, pair.price_scale, out);
    push_short("open_24h", day.open.0, pair.price_scale, out);
    push_wide("volume_24h", day.volume, pair.size_scale, out);
    push_short("low_24h", day.low.0, pair.price_scale, out);
    push_short("high_24h", day.high.0, pair.price_scale, out);
    push_wide("volume_30d", day.volume, pair.size_scale, out);
    push_long("best_bid", bid.price.0, pair.price_scale, out);
    push_long("best_bid_size", bid.size.0, pair.size_scale, out);
    push_long("best_ask", ask.price.0, pair.price_scale, out);
    push_long("best_ask_size", ask.size.0, pair.size_scale, out);
    push_text("side", last.trade.taker.name(), out);
    push_time(last.trade.time, out);
    push_integer("trade_id", last.trade.id, out);
    push_short("last_size", last.trade.size.0, pair.size_scale, out);
    out.push(b'}');
}

fn push_heartbeat(state: &PairState, time: UnixNanos, out: &mut Vec<u8>) {
    push_type("heartbeat", out);
    push_integer("sequence", state.orders().map_or(0, |orders| orders.sequence()), out);
    push_integer("last_trade_id", state.next_trade_id() - 1, out);
    push_product(&state.spec.pair, out);
    push_time(time, out);
    out.push(b'}');
}

fn push_order(pair: &Pair, sequence: u64, event: &OrderEvent, time: UnixNanos, out: &mut Vec<u8>) {
    let (prices, sizes) = (pair.price_scale, pair.size_scale);
    let side_of = match *event {
        OrderEvent::Match(matched) => return push_match("match", pair, &matched, out),
        OrderEvent::Received { id, side, price, size } => {
            push_type("received", out);
            push_id("order_id", id, out);
            push_text("order_type", if price.is_some() { "limit" } else { "market" }, out);
            push_short("size", size.0, sizes, out);
            if let Some(price) = price {
                push_short("price", price.0, prices, out);
            }
            side
        }
        OrderEvent::Open { side, order } => {
            push_type("open", out);
            push_id("order_id", order.id, out);
            push_short("price", order.price.0, prices, out);
            push_short("remaining_size", order.size.0, sizes, out);
            side
        }
        OrderEvent::Change { side, order, old } => {
            push_type("change", out);
            push_text("reason", "STP", out);
            push_id("order_id", order.id, out);
            push_short("price", order.price.0, prices, out);
            push_short("old_size", old.0, sizes, out);
            push_short("new_size", order.size.0, sizes, out);
            side
        }
        OrderEvent::Done { id, side, price, remaining, filled } => {
            push_type("done", out);
            push_id("order_id", id, out);
            push_text("reason", if filled { "filled" } else { "canceled" }, out);
            // Market orders have neither: they never rested.
            if let Some(price) = price {
                push_short("price", price.0, prices, out);
                push_short("remaining_size", remaining.0, sizes, out);
            }
            side
        }
    };
    push_text("side", side_of.name(), out);
    push_product(pair, out);
    push_integer("sequence", sequence, out);
    push_time(time, out);
    out.push(b'}');
}

fn push_status(market: &Simulation, out: &mut Vec<u8>) {
    let pairs: Vec<&Pair> = market.listed().iter().map(|state| &state.spec.pair).collect();
    push_type("status", out);
    let products: Vec<_> = pairs.iter().map(|pair| super::rest::product(pair)).collect();
    out.extend_from_slice(format!(",\"products\":{}", serde_json::Value::from(products)).as_bytes());
    let mut currencies: Vec<&str> = pairs.iter().flat_map(|pair| [pair.base.as_str(), pair.quote.as_str()]).collect();
    currencies.sort_unstable();
    currencies.dedup();
    let currency = |id: &&str| {
        serde_json::json!({
            "id": id, "name": id, "display_name": id, "min_size": "0.00000001", "status": "online",
            "max_precision": "0.00000001", "status_message": "", "convertible_to": [], "details": {},
            "default_network": "", "supported_networks": [],
        })
    };
    let currencies: Vec<_> = currencies.iter().map(currency).collect();
    out.extend_from_slice(format!(",\"currencies\":{}}}", serde_json::Value::from(currencies)).as_bytes());
}

fn push_type(kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
}

fn push_name(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_text(name: &str, text: &str, out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn push_product(pair: &Pair, out: &mut Vec<u8>) {
    push_text("product_id", &pair.symbol, out);
}

fn push_integer(name: &str, value: u64, out: &mut Vec<u8>) {
    push_name(name, out);
    push_u64(value, out);
}

fn push_id(name: &str, id: u128, out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'"');
    push_uuid(id, out);
    out.push(b'"');
}

/// A number without zeros at its end: books and trades differ in this at the venue, and readers must not care.
fn push_short(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'"');
    scan::push_fixed(mantissa, scale, out);
    out.push(b'"');
}

fn push_long(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'"');
    push_padded(mantissa, scale, out);
    out.push(b'"');
}

fn push_wide(name: &str, mantissa: i128, scale: u8, out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'"');
    push_padded_wide(mantissa, scale, out);
    out.push(b'"');
}

fn push_time(time: UnixNanos, out: &mut Vec<u8>) {
    push_name("time", out);
    out.push(b'"');
    push_rfc3339(time, 6, out);
    out.push(b'"');
}
