//! The simulation in Advanced Trade's words: market_trades, l2_data, ticker, candles, status and heartbeats.
//!
//! The `side` of a trade is its maker's: in recorded frames trades at the best ask say SELL.

use book::Level;
use model::{Qty, Side, StreamKind, UnixNanos};

use super::super::{Beat, INTERVALS_S, keep_latest};
use super::session::push_envelope;
use super::{CHANNELS, HEARTBEATS, topic_name};
use crate::market::simulation::{Change, EventKind, PairState, Simulation};
use crate::market::{Bar, BookView, Joined, Log, Pair, Topic, TopicId, Trade, Writer as MarketWriter};
use crate::options::BookPace;
use crate::text::{push_padded_wide, push_rfc3339_trimmed, push_u64};

/// Rhythms in steps of the clock: batches of trades, heartbeats and candles, and the slow channels.
const TRADES_TICKS: u64 = 5;
const SECOND_TICKS: u64 = 20;
const SLOW_TICKS: u64 = 100;
/// Trades and bars in a snapshot.
const SNAPSHOT_TRADES: usize = 100;
const SNAPSHOT_BARS: usize = 100;
/// The interval of the candles channel, seconds.
const CANDLE_S: u64 = INTERVALS_S[1];

/// Offsets of a pair's topics, those of [`CHANNELS`].
const TRADES: usize = 0;
const LEVEL2: usize = 1;
const TICKER: usize = 2;
const TICKER_BATCH: usize = 3;
const CANDLES: usize = 4;
const STATUS: usize = 5;

const KINDS: [StreamKind; CHANNELS.len()] = [
    StreamKind::Trade,
    StreamKind::Book,
    StreamKind::Quote,
    StreamKind::Quote,
    StreamKind::Bar,
    StreamKind::Instrument,
];

/// What is to be told of a pair with the next batch.
#[derive(Debug, Default)]
struct Pending {
    trades: Vec<Trade>,
    changes: Vec<Change>,
    /// When the bar began that changed since it was told.
    bar: Option<UnixNanos>,
    ticker: bool,
}

pub(crate) struct Writer {
    topics: Vec<Topic>,
    book_pace: BookPace,
    pending: Vec<Pending>,
    /// Beats since the market was made.
    heartbeats: u64,
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
        let name = topic_name(HEARTBEATS, "");
        topics.push(Topic { name, symbol: String::new(), kind: StreamKind::Connection });
        let pending = pairs.iter().map(|_| Pending::default()).collect();
        Self { topics, book_pace, pending, heartbeats: 0, next_tick: UnixNanos::ZERO }
    }

    fn write_trades(&mut self, at: usize, time: UnixNanos, pair: &Pair, log: &mut Log) {
        let trades = &mut self.pending[at].trades;
        if !trades.is_empty() {
            push_trades("update", pair, trades.iter().rev(), time, log.pen());
            log.commit(topic_id(at, TRADES));
            trades.clear();
        }
    }

    fn write_book(&mut self, at: usize, time: UnixNanos, pair: &Pair, log: &mut Log) {
        let changes = &mut self.pending[at].changes;
        if changes.is_empty() {
            return;
        }
        keep_latest(changes);
        // Bids from the best down, as the venue's frames have them.
        changes.sort_by_key(|change| (change.side, -change.price.0));
        let levels = changes.iter().map(|change| (change.side, Level { price: change.price, size: change.after }));
        push_book("update", pair, levels, time, log.pen());
        log.commit(topic_id(at, LEVEL2));
        changes.clear();
    }

    fn write_bar(&mut self, at: usize, time: UnixNanos, market: &Simulation, log: &mut Log) {
        let Some(begin) = self.pending[at].bar.take() else { return };
        if let Some(bar) = market.bars(at, CANDLE_S).rev().find(|bar| bar.begin == begin) {
            push_candles("update", &market.pairs()[at].spec.pair, std::iter::once(bar), time, log.pen());
            log.commit(topic_id(at, CANDLES));
        }
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
        let batched = self.book_pace == BookPace::Batched;
        if !event.trades.is_empty() && reads(TRADES) {
            self.pending[at].trades.extend_from_slice(&event.trades);
            if batched {
                self.write_trades(at, event.time, pair, log);
            }
        }
        if !event.trades.is_empty() && reads(CANDLES) {
            let begin = UnixNanos(event.time.0 - event.time.0 % (CANDLE_S * 1_000_000_000));
            // A bar's last state before its successor's first.
            if self.pending[at].bar.is_some_and(|due| due != begin) {
                self.write_bar(at, event.time, market, log);
            }
            self.pending[at].bar = Some(begin);
        }
        if reads(LEVEL2) {
            self.pending[at].changes.extend_from_slice(&event.changes);
            if batched && event.kind == EventKind::Deep {
                self.write_book(at, event.time, pair, log);
            }
        }
        if event.kind != EventKind::Deep {
            self.pending[at].ticker = true;
            if reads(TICKER) {
                push_ticker("ticker", "update", state, event.time, log.pen());
                log.commit(topic_id(at, TICKER));
            }
        }
    }

    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let beat = Beat::at(now, self.next_tick);
        self.next_tick = beat.next();
        let (time, slow) = (beat.boundary(), beat.crossed(SLOW_TICKS));
        for (at, state) in market.pairs().iter().enumerate() {
            let pair = &state.spec.pair;
            let reads = |offset: usize| readers[at * CHANNELS.len() + offset] > 0;
            if reads(LEVEL2) && self.book_pace == BookPace::Venue {
                self.write_book(at, time, pair, log);
            }
            if reads(TRADES) && beat.crossed(TRADES_TICKS) {
                self.write_trades(at, time, pair, log);
            }
            if reads(CANDLES) && beat.crossed(SECOND_TICKS) {
                self.write_bar(at, time, market, log);
            }
            if slow && reads(TICKER_BATCH) && std::mem::take(&mut self.pending[at].ticker) {
                push_ticker("ticker_batch", "update", state, time, log.pen());
                log.commit(topic_id(at, TICKER_BATCH));
            }
            if slow && reads(STATUS) {
                push_status("update", pair, time, log.pen());
                log.commit(topic_id(at, STATUS));
            }
        }
        if beat.crossed(SECOND_TICKS) {
            self.heartbeats += 1;
            let topic = self.topics.len() - 1;
            if readers[topic] > 0 {
                push_heartbeat(self.heartbeats, time, log.pen());
                log.commit(topic as TopicId);
            }
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.next_tick
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined {
        let (at, offset) = (topic as usize / CHANNELS.len(), topic as usize % CHANNELS.len());
        let Some(state) = market.pairs().get(at) else { return Joined::default() };
        let (pair, joined) = (&state.spec.pair, readers[topic as usize] > 0);
        let mut frame = Vec::new();
        match offset {
            TRADES => {
                // What waits for the next batch is in the snapshot, so those who read already get it before.
                if joined {
                    self.write_trades(at, now, pair, log);
                }
                self.pending[at].trades.clear();
                let trades = state.trades.iter().rev().take(SNAPSHOT_TRADES);
                push_trades("snapshot", pair, trades, now, &mut frame);
            }
            LEVEL2 => {
                if joined {
                    self.write_book(at, now, pair, log);
                }
                self.pending[at].changes.clear();
                let levels = |side| state.book().levels(side).collect();
                let (bids, asks) = (levels(Side::Buy), levels(Side::Sell));
                frame = snapshot(pair, &BookView { update_id: 0, bids, asks }, now);
            }
            TICKER => push_ticker("ticker", "snapshot", state, now, &mut frame),
            TICKER_BATCH => push_ticker("ticker_batch", "snapshot", state, now, &mut frame),
            CANDLES => {
                let skipped = market.bars(at, CANDLE_S).count().saturating_sub(SNAPSHOT_BARS);
                push_candles("snapshot", pair, market.bars(at, CANDLE_S).skip(skipped), now, &mut frame);
            }
            _ => push_status("snapshot", pair, now, &mut frame),
        }
        Joined { snapshot: Some(frame) }
    }
}

fn topic_id(pair: usize, offset: usize) -> TopicId {
    (pair * CHANNELS.len() + offset) as TopicId
}

/// The frame that a book's subscriber is sent first.
pub(crate) fn snapshot(pair: &Pair, book: &BookView, time: UnixNanos) -> Vec<u8> {
    let mut out = Vec::new();
    let side = |side, levels: &[Level]| levels.iter().map(|level| (side, *level)).collect::<Vec<_>>();
    let levels = side(Side::Buy, &book.bids).into_iter().chain(side(Side::Sell, &book.asks));
    push_book("snapshot", pair, levels, time, &mut out);
    out
}

fn push_event(kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
}

fn push_text(name: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn push_number(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    scan::push_fixed(mantissa, scale, out);
    out.push(b'"');
}

fn push_wide(name: &str, mantissa: i128, scale: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    push_padded_wide(mantissa, scale, out);
    out.push(b'"');
}

fn push_book(kind: &str, pair: &Pair, levels: impl Iterator<Item = (Side, Level)>, time: UnixNanos, out: &mut Vec<u8>) {
    push_envelope("l2_data", time, out);
    push_event(kind, out);
    push_text("product_id", &pair.symbol, out);
    out.extend_from_slice(b",\"updates\":[");
    let mut stamp = Vec::new();
    push_rfc3339_trimmed(time, 6, &mut stamp);
    for (index, (side, level)) in levels.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(match side {
            Side::Buy => b"{\"side\":\"bid\",\"event_time\":\"" as &[u8],
            Side::Sell => b"{\"side\":\"offer\",\"event_time\":\"",
        });
        out.extend_from_slice(&stamp);
        out.push(b'"');
        push_number("price_level", level.price.0, pair.price_scale, out);
        push_number("new_quantity", level.size.0, pair.size_scale, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}]}");
}

fn push_trades<'a>(
    kind: &str,
    pair: &Pair,
    trades: impl Iterator<Item = &'a Trade>,
    time: UnixNanos,
    out: &mut Vec<u8>,
) {
    push_envelope("market_trades", time, out);
    push_event(kind, out);
    out.extend_from_slice(b",\"trades\":[");
    for (index, trade) in trades.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"product_id\":\"");
        out.extend_from_slice(pair.symbol.as_bytes());
        out.extend_from_slice(b"\",\"trade_id\":\"");
        push_u64(trade.id, out);
        out.push(b'"');
        push_number("price", trade.price.0, pair.price_scale, out);
        push_number("size", trade.size.0, pair.size_scale, out);
        out.extend_from_slice(b",\"time\":\"");
        push_rfc3339_trimmed(trade.time, 6, out);
        out.push(b'"');
        push_text("side", side_word(trade.taker.opposite()), out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}]}");
}

/// A side as Advanced Trade writes it.
pub(super) fn side_word(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

fn push_ticker(channel: &str, kind: &str, state: &PairState, time: UnixNanos, out: &mut Vec<u8>) {
    let (pair, day) = (&state.spec.pair, &state.day);
    let change_bp = i128::from(day.last.0 - day.open.0) * 10_000 / i128::from(day.open.0.max(1));
    push_envelope(channel, time, out);
    push_event(kind, out);
    out.extend_from_slice(b",\"tickers\":[{\"type\":\"ticker\"");
    push_text("product_id", &pair.symbol, out);
    push_number("price", day.last.0, pair.price_scale, out);
    push_wide("volume_24_h", day.volume, pair.size_scale, out);
    push_number("low_24_h", day.low.0, pair.price_scale, out);
    push_number("high_24_h", day.high.0, pair.price_scale, out);
    push_number("low_52_w", day.low.0, pair.price_scale, out);
    push_number("high_52_w", day.high.0, pair.price_scale, out);
    push_number("price_percent_chg_24_h", change_bp as i64, 2, out);
    // The slow channel has no quote at the venue.
    if channel == "ticker" {
        let (bid, ask) = (state.best(Side::Buy), state.best(Side::Sell));
        push_number("best_bid", bid.price.0, pair.price_scale, out);
        push_number("best_ask", ask.price.0, pair.price_scale, out);
        push_number("best_bid_quantity", bid.size.0, pair.size_scale, out);
        push_number("best_ask_quantity", ask.size.0, pair.size_scale, out);
    }
    out.extend_from_slice(b"}]}]}");
}

fn push_candles<'a>(kind: &str, pair: &Pair, bars: impl Iterator<Item = &'a Bar>, time: UnixNanos, out: &mut Vec<u8>) {
    push_envelope("candles", time, out);
    push_event(kind, out);
    out.extend_from_slice(b",\"candles\":[");
    for (index, bar) in bars.enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"start\":\"" as &[u8] } else { b",{\"start\":\"" });
        push_u64(bar.begin.0 / 1_000_000_000, out);
        out.push(b'"');
        for (name, price) in [("high", bar.high), ("low", bar.low), ("open", bar.open), ("close", bar.close)] {
            push_number(name, price.0, pair.price_scale, out);
        }
        push_wide("volume", bar.volume, pair.size_scale, out);
        push_text("product_id", &pair.symbol, out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}]}");
}

fn push_status(kind: &str, pair: &Pair, time: UnixNanos, out: &mut Vec<u8>) {
    push_envelope("status", time, out);
    push_event(kind, out);
    out.extend_from_slice(b",\"products\":[{\"product_type\":\"SPOT\"");
    push_text("id", &pair.symbol, out);
    push_text("base_currency", &pair.base, out);
    push_text("quote_currency", &pair.quote, out);
    push_number("base_increment", Qty(pair.lot.0).0, pair.size_scale, out);
    push_number("quote_increment", pair.tick.0, pair.price_scale, out);
    push_text("display_name", &format!("{}/{}", pair.base, pair.quote), out);
    push_text("status", pair.status_text("online", "delisted"), out);
    push_text("status_message", "", out);
    push_text("min_market_funds", "1", out);
    out.extend_from_slice(b"}]}]}");
}

/// The time in the words of the venue's own language, with what its monotonic clock says.
fn push_heartbeat(count: u64, time: UnixNanos, out: &mut Vec<u8>) {
    push_envelope("heartbeats", time, out);
    let mut stamp = Vec::new();
    push_rfc3339_trimmed(time, 9, &mut stamp);
    stamp.pop();
    let stamp = String::from_utf8_lossy(&stamp).replace('T', " ");
    let text =
        format!("{{\"current_time\":\"{stamp} +0000 UTC m=+{count}.000000001\",\"heartbeat_counter\":{count}}}]}}");
    out.extend_from_slice(text.as_bytes());
}
