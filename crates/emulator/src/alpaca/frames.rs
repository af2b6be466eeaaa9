//! The simulation in Alpaca's words: trades, quotes, bars, crypto books, and what befalls stocks now and then.
//!
//! Every frame is an array of one message; a connection puts several into one. Which trades are corrected or cancelled
//! depends on their ids alone. A halt is the market's: nothing trades and nobody quotes from its status to the next.
//! The consolidated feed and IEX tell the same trades, the one with exchanges of its own choosing.

use std::collections::VecDeque;

use book::Level;
use model::{Price, Qty, Side, StreamKind, UnixNanos};

use super::hours::{self, LATE_AFTER};
use super::{
    CRYPTO_CHANNELS, CRYPTO_ID, Endpoint, ROUND_LOT, STOCK_CHANNELS, TEST_SYMBOL, is_crypto, tape, topic_name,
};
use crate::market::simulation::{Change, EventKind, PairState, Simulation};
use crate::market::{Bar, Joined, Log, Pair, Topic, TopicId, Trade, Writer as MarketWriter};
use crate::options::BookPace;
use crate::text::{push_padded_wide, push_rfc3339_trimmed, push_u64};

/// The clock, ns, and the rhythm of price bands in its steps.
const TICK_NS: u64 = 1_000_000_000;
const BAND_TICKS: u64 = 5;
const MINUTE_TICKS: u64 = 60;
/// One stock trade in so many is corrected, cancelled.
const CORRECTED_OF: u64 = 50;
const CANCELLED_OF: u64 = 70;
/// A repair follows its trade after so many more of the symbol.
const REPAIR_AFTER: u64 = 3;
/// Price bands lie this far from the last price, percent.
const BAND_PERCENT: i64 = 5;
/// Ids of corrected trades lie this far above those they stand for.
const CORRECTED_ID: u64 = 1 << 52;
/// Decimals of an average price beyond those of prices.
const AVERAGE_DECIMALS: u8 = 4;

/// Offsets of the channels that stocks and crypto have both.
const TRADES: usize = 0;
const QUOTES: usize = 1;
const BARS: usize = 2;
const UPDATED_BARS: usize = 3;
const DAILY_BARS: usize = 4;
/// Stocks' own.
const STATUSES: usize = 5;
const LULDS: usize = 6;
const CORRECTIONS: usize = 7;
const CANCELS: usize = 8;
/// Crypto's own.
const ORDERBOOKS: usize = 5;

/// A stock trade that will be taken back or put right.
#[derive(Clone, Copy, Debug)]
struct Repair {
    trade: Trade,
    due: u64,
    cancels: bool,
}

/// What is kept of a pair beside the simulation.
struct PairDesk {
    /// Its first topic; every endpoint's channels follow one another.
    first: usize,
    endpoints: &'static [Endpoint],
    channels: &'static [&'static str],
    /// Book changes not told yet.
    pending: Vec<Change>,
    repairs: VecDeque<Repair>,
    /// Trades whose print comes late.
    late: VecDeque<Trade>,
    halted: bool,
    /// Begin of the bar that a repair reached back into, and what it took out.
    amended: Option<(UnixNanos, Qty)>,
}

pub(crate) struct Writer {
    topics: Vec<Topic>,
    book_pace: BookPace,
    desks: Vec<PairDesk>,
    next_tick: UnixNanos,
}

fn kind(channel: &str) -> StreamKind {
    match channel {
        "quotes" => StreamKind::Quote,
        "bars" | "updatedBars" | "dailyBars" => StreamKind::Bar,
        // Corrections and cancels are no trades: a fault of trades leaves them alone.
        "statuses" | "lulds" | "corrections" | "cancelErrors" => StreamKind::Instrument,
        "orderbooks" => StreamKind::Book,
        _ => StreamKind::Trade,
    }
}

impl PairDesk {
    /// Writes a frame for each endpoint where somebody reads the channel.
    #[inline]
    fn write(&self, channel: usize, readers: &[u32], log: &mut Log, push: impl Fn(Endpoint, &mut Vec<u8>)) {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let topic = self.first + index * self.channels.len() + channel;
            if readers[topic] > 0 {
                push(*endpoint, log.pen());
                log.commit(topic as TopicId);
            }
        }
    }

    fn reads(&self, channel: usize, readers: &[u32]) -> bool {
        (0..self.endpoints.len()).any(|index| readers[self.first + index * self.channels.len() + channel] > 0)
    }
}

impl Writer {
    pub(crate) fn new(pairs: &[Pair], book_pace: BookPace) -> Self {
        let mut topics = Vec::new();
        let mut desks = Vec::new();
        for pair in pairs {
            let symbol = &pair.symbol;
            let (endpoints, channels): (&'static [Endpoint], &'static [&'static str]) = match symbol.as_str() {
                TEST_SYMBOL => (&[Endpoint::Test], &STOCK_CHANNELS),
                _ if is_crypto(symbol) => (&[Endpoint::Crypto], &CRYPTO_CHANNELS),
                _ => (&[Endpoint::Sip, Endpoint::Iex], &STOCK_CHANNELS),
            };
            let first = topics.len();
            for endpoint in endpoints {
                for channel in channels {
                    let name = topic_name(*endpoint, channel, symbol);
                    topics.push(Topic { name, symbol: symbol.clone(), kind: kind(channel) });
                }
            }
            desks.push(PairDesk {
                first,
                endpoints,
                channels,
                pending: Vec::new(),
                repairs: VecDeque::new(),
                late: VecDeque::new(),
                halted: false,
                amended: None,
            });
        }
        Self { topics, book_pace, desks, next_tick: UnixNanos::ZERO }
    }

    fn write_book(&mut self, at: usize, time: UnixNanos, pair: &Pair, readers: &[u32], log: &mut Log) {
        let desk = &mut self.desks[at];
        if desk.pending.is_empty() {
            return;
        }
        let side = |side| {
            let of_side = desk.pending.iter().filter(move |change: &&Change| change.side == side);
            of_side.map(|change| Level { price: change.price, size: change.after }).collect::<Vec<_>>()
        };
        let (bids, asks) = (side(Side::Buy), side(Side::Sell));
        desk.write(ORDERBOOKS, readers, log, |_, out| push_book(pair, &bids, &asks, false, time, out));
        desk.pending.clear();
    }

    /// What happens to a stock around a trade: the end of a halt before it, repairs of earlier trades behind it.
    fn write_around(&mut self, at: usize, trade: &Trade, pair: &Pair, readers: &[u32], log: &mut Log) {
        let desk = &mut self.desks[at];
        while let Some(repair) = desk.repairs.front().copied().filter(|repair| repair.due <= trade.id) {
            desk.repairs.pop_front();
            let minute = |time: UnixNanos| UnixNanos(time.0 - time.0 % (MINUTE_TICKS * TICK_NS));
            if minute(repair.trade.time) < minute(trade.time) {
                let taken = if repair.cancels { repair.trade.size } else { Qty(0) };
                let before = desk.amended.filter(|(begin, _)| *begin == minute(repair.trade.time));
                let taken = Qty(taken.0 + before.map_or(0, |(_, taken)| taken.0));
                desk.amended = Some((minute(repair.trade.time), taken));
            }
            let channel = if repair.cancels { CANCELS } else { CORRECTIONS };
            desk.write(channel, readers, log, |endpoint, out| match repair.cancels {
                true => push_cancel(pair, &repair.trade, endpoint, trade.time, out),
                false => push_correction(pair, &repair.trade, endpoint, trade.time, out),
            });
        }
        let cancels = trade.id % CANCELLED_OF == 11;
        if cancels || trade.id % CORRECTED_OF == 7 {
            desk.repairs.push_back(Repair { trade: *trade, due: trade.id + REPAIR_AFTER, cancels });
        }
    }

    fn write_minute(&mut self, at: usize, mark: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let (desk, state) = (&self.desks[at], &market.pairs()[at]);
        let pair = &state.spec.pair;
        let begin = UnixNanos(mark.0 - MINUTE_TICKS * TICK_NS);
        let ended = market.bars(at, 60).rev().find(|bar| bar.begin == begin);
        match ended {
            Some(bar) => desk.write(BARS, readers, log, |_, out| push_bar("b", pair, bar, out)),
            // Crypto's bars follow the quotes where nothing traded.
            None if is_crypto(&pair.symbol) => {
                desk.write(BARS, readers, log, |_, out| push_still_bar(state, begin, out));
            }
            None => {}
        }
        if let Some(day) = market.bars(at, 86_400).next_back() {
            desk.write(DAILY_BARS, readers, log, |_, out| push_bar("d", pair, day, out));
        }
    }

    fn write_amended(&mut self, at: usize, market: &Simulation, readers: &[u32], log: &mut Log) {
        let Some((begin, taken)) = self.desks[at].amended.take() else { return };
        if let Some(bar) = market.bars(at, 60).rev().find(|bar| bar.begin == begin) {
            let mut bar = *bar;
            // The average stays: its sums shrink alike.
            bar.cost -= bar.cost * i128::from(taken.0) / bar.volume.max(1);
            bar.volume -= i128::from(taken.0);
            bar.trades = bar.trades.saturating_sub(u64::from(taken.0 > 0));
            let pair = &market.pairs()[at].spec.pair;
            self.desks[at].write(UPDATED_BARS, readers, log, |_, out| push_bar("u", pair, &bar, out));
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
        let stock = !is_crypto(&pair.symbol);
        if self.desks[at].halted && !state.is_halted(event.time) {
            self.desks[at].halted = false;
            self.desks[at].write(STATUSES, readers, log, |_, out| push_status(pair, false, event.time, out));
        }
        for trade in &event.trades {
            let desk = &mut self.desks[at];
            if stock && hours::is_late(pair, trade) {
                desk.late.push_back(*trade);
            } else {
                desk.write(TRADES, readers, log, |endpoint, out| push_trade(pair, trade, endpoint, out));
            }
            if let Some(late) = desk.late.pop_front_if(|late| late.id + LATE_AFTER <= trade.id) {
                desk.write(TRADES, readers, log, |endpoint, out| push_trade(pair, &late, endpoint, out));
            }
            if stock {
                self.write_around(at, trade, pair, readers, log);
            }
        }
        if !stock && self.desks[at].reads(ORDERBOOKS, readers) {
            self.desks[at].pending.extend_from_slice(&event.changes);
            if self.book_pace == BookPace::Venue || event.kind == EventKind::Deep {
                self.write_book(at, event.time, pair, readers, log);
            }
        }
        if event.kind != EventKind::Deep {
            self.desks[at].write(QUOTES, readers, log, |endpoint, out| {
                push_head("q", &pair.symbol, out);
                push_quote_fields(state, endpoint, event.time, out);
                out.extend_from_slice(b"}]");
            });
        }
        if !self.desks[at].halted && state.is_halted(event.time) {
            self.desks[at].halted = true;
            self.desks[at].write(STATUSES, readers, log, |_, out| push_status(pair, true, event.time, out));
        }
    }

    fn on_time(&mut self, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) {
        let (tick, due) = (now.0 / TICK_NS, self.next_tick.0 / TICK_NS);
        self.next_tick = UnixNanos((tick + 1) * TICK_NS);
        // Whether a second with this place in a longer rhythm lies between the last one handled and this.
        let crossed =
            |ticks: u64, place: u64| due > 0 && (tick + ticks - place) / ticks > (due - 1 + ticks - place) / ticks;
        let minute = UnixNanos(tick / MINUTE_TICKS * MINUTE_TICKS * TICK_NS);
        for (at, state) in market.pairs().iter().enumerate() {
            let pair = &state.spec.pair;
            if crossed(MINUTE_TICKS, 0) {
                self.write_minute(at, minute, market, readers, log);
            }
            if crossed(MINUTE_TICKS, MINUTE_TICKS / 2) {
                self.write_amended(at, market, readers, log);
            }
            if crossed(BAND_TICKS, 0) && !is_crypto(&pair.symbol) {
                let time = UnixNanos(tick * TICK_NS);
                self.desks[at].write(LULDS, readers, log, |_, out| push_bands(state, time, out));
            }
        }
    }

    fn next_tick(&self) -> UnixNanos {
        self.next_tick
    }

    fn join(&mut self, topic: TopicId, now: UnixNanos, market: &Simulation, readers: &[u32], log: &mut Log) -> Joined {
        let topic_at = topic as usize;
        let found = self.desks.iter().rposition(|desk| desk.first <= topic_at);
        let Some(at) = found.filter(|at| {
            let desk = &self.desks[*at];
            is_crypto(&self.topics[topic_at].symbol) && topic_at - desk.first == ORDERBOOKS
        }) else {
            return Joined::default();
        };
        let state = &market.pairs()[at];
        if readers[topic_at] > 0 {
            self.write_book(at, now, &state.spec.pair, readers, log);
        }
        self.desks[at].pending.clear();
        let mut frame = Vec::new();
        push_snapshot(
            &state.spec.pair,
            state.book().levels(Side::Buy),
            state.book().levels(Side::Sell),
            now,
            &mut frame,
        );
        Joined { snapshot: Some(frame) }
    }
}

fn push_head(kind: &str, symbol: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[{\"T\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"S\":\"");
    out.extend_from_slice(symbol.as_bytes());
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

fn push_number(name: &str, mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    push_name(name, out);
    scan::push_fixed(mantissa, scale, out);
}

fn push_time(time: UnixNanos, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"t\":\"");
    push_rfc3339_trimmed(time, 9, out);
    out.push(b'"');
}

/// Where a stock trade was printed, or a side of a quote comes from.
fn exchange(endpoint: Endpoint, number: u64) -> &'static str {
    const LETTERS: [&str; 6] = ["V", "Q", "P", "D", "K", "Z"];
    match endpoint {
        Endpoint::Iex => "V",
        _ => LETTERS[(number % LETTERS.len() as u64) as usize],
    }
}

/// Condition codes of a stock trade: regular, sweeps now and then, odd lots.
fn conditions(pair: &Pair, trade: &Trade) -> String {
    let regular = if tape(&pair.symbol) == "C" { "\"@\"" } else { "\" \"" };
    let sweep = if trade.id.is_multiple_of(4) { ",\"F\"" } else { "" };
    let odd = if trade.size.0 < ROUND_LOT { ",\"I\"" } else { "" };
    let tape = hours::code(pair, trade).map_or(String::new(), |code| format!(",\"{code}\""));
    format!("[{regular}{sweep}{tape}{odd}]")
}

fn push_trade(pair: &Pair, trade: &Trade, endpoint: Endpoint, out: &mut Vec<u8>) {
    push_head("t", &pair.symbol, out);
    push_trade_fields(pair, trade, endpoint, out);
    out.extend_from_slice(b"}]");
}

/// A trade's fields behind its symbol; those of REST too.
pub(super) fn push_trade_fields(pair: &Pair, trade: &Trade, endpoint: Endpoint, out: &mut Vec<u8>) {
    if is_crypto(&pair.symbol) {
        push_number("p", trade.price.0, pair.price_scale, out);
        push_number("s", trade.size.0, pair.size_scale, out);
        push_time(trade.time, out);
        push_name("i", out);
        push_u64(CRYPTO_ID + trade.id, out);
        return push_text("tks", if trade.taker == Side::Buy { "B" } else { "S" }, out);
    }
    push_name("i", out);
    push_u64(trade.id, out);
    push_text("x", exchange(endpoint, trade.id), out);
    push_number("p", trade.price.0, pair.price_scale, out);
    push_number("s", trade.size.0, pair.size_scale, out);
    push_name("c", out);
    out.extend_from_slice(conditions(pair, trade).as_bytes());
    push_time(trade.time, out);
    push_text("z", tape(&pair.symbol), out);
}

/// A quote's fields behind its symbol; those of REST too. Stocks count in round lots, begun ones included.
fn push_quote_fields(state: &PairState, endpoint: Endpoint, time: UnixNanos, out: &mut Vec<u8>) {
    let book = [state.best(Side::Buy), state.best(Side::Sell)];
    push_quote(&state.spec.pair, book, state.update_id, endpoint, time, out);
}

pub(super) fn push_quote(
    pair: &Pair,
    [bid, ask]: [Level; 2],
    update_id: u64,
    endpoint: Endpoint,
    time: UnixNanos,
    out: &mut Vec<u8>,
) {
    let stock = !is_crypto(&pair.symbol);
    for (level, [exchange_key, price, size], number) in
        [(bid, ["bx", "bp", "bs"], update_id), (ask, ["ax", "ap", "as"], update_id / 2 + 1)]
    {
        if stock {
            push_text(exchange_key, exchange(endpoint, number), out);
        }
        push_number(price, level.price.0, pair.price_scale, out);
        match stock {
            true => push_number(size, (level.size.0 + ROUND_LOT - 1) / ROUND_LOT, 0, out),
            false => push_number(size, level.size.0, pair.size_scale, out),
        }
    }
    if stock {
        out.extend_from_slice(b",\"c\":[\"R\"]");
        push_text("z", tape(&pair.symbol), out);
    }
    push_time(time, out);
}

/// A bar's fields behind its symbol; those of REST too.
pub(super) fn push_bar_fields(pair: &Pair, bar: &Bar, out: &mut Vec<u8>) {
    for (name, price) in [("o", bar.open), ("h", bar.high), ("l", bar.low), ("c", bar.close)] {
        push_number(name, price.0, pair.price_scale, out);
    }
    push_name("v", out);
    let volume = bar.volume.clamp(0, i128::from(i64::MAX)) as i64;
    scan::push_fixed(volume, pair.size_scale, out);
    push_time(bar.begin, out);
    push_name("n", out);
    push_u64(bar.trades, out);
    push_name("vw", out);
    let average = bar.cost * 10_i128.pow(AVERAGE_DECIMALS.into()) / bar.volume.max(1);
    push_padded_wide(average, pair.price_scale + AVERAGE_DECIMALS, out);
}

fn push_bar(kind: &str, pair: &Pair, bar: &Bar, out: &mut Vec<u8>) {
    push_head(kind, &pair.symbol, out);
    push_bar_fields(pair, bar, out);
    out.extend_from_slice(b"}]");
}

/// A bar of a minute without trades, at the middle of the quote.
fn push_still_bar(state: &PairState, begin: UnixNanos, out: &mut Vec<u8>) {
    let pair = &state.spec.pair;
    let middle = i64::midpoint(state.best(Side::Buy).price.0 * 10, state.best(Side::Sell).price.0 * 10);
    push_head("b", &pair.symbol, out);
    for name in ["o", "h", "l", "c"] {
        push_number(name, middle, pair.price_scale + 1, out);
    }
    out.extend_from_slice(b",\"v\":0");
    push_time(begin, out);
    out.extend_from_slice(b",\"n\":0,\"vw\":0}]");
}

fn push_levels(name: &str, levels: impl Iterator<Item = Level>, pair: &Pair, out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'[');
    for (index, level) in levels.enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"p\":" as &[u8] } else { b",{\"p\":" });
        scan::push_fixed(level.price.0, pair.price_scale, out);
        out.extend_from_slice(b",\"s\":");
        scan::push_fixed(level.size.0, pair.size_scale, out);
        out.push(b'}');
    }
    out.push(b']');
}

fn push_book(pair: &Pair, bids: &[Level], asks: &[Level], resets: bool, time: UnixNanos, out: &mut Vec<u8>) {
    push_head("o", &pair.symbol, out);
    push_time(time, out);
    push_levels("b", bids.iter().copied(), pair, out);
    push_levels("a", asks.iter().copied(), pair, out);
    out.extend_from_slice(if resets { b",\"r\":true}]" as &[u8] } else { b"}]" });
}

fn push_snapshot(
    pair: &Pair,
    bids: impl Iterator<Item = Level>,
    asks: impl Iterator<Item = Level>,
    time: UnixNanos,
    out: &mut Vec<u8>,
) {
    push_book(pair, &bids.collect::<Vec<_>>(), &asks.collect::<Vec<_>>(), true, time, out);
}

/// The fields of a book behind its symbol, as REST has them.
pub(super) fn push_book_fields(pair: &Pair, bids: &[Level], asks: &[Level], time: UnixNanos, out: &mut Vec<u8>) {
    push_time(time, out);
    push_levels("b", bids.iter().copied(), pair, out);
    push_levels("a", asks.iter().copied(), pair, out);
}

fn push_status(pair: &Pair, halts: bool, time: UnixNanos, out: &mut Vec<u8>) {
    // Code tables differ by tape: letters of UTP, digits of CTA.
    let [code, message, reason, reason_message] = match (tape(&pair.symbol) == "C", halts) {
        (true, true) => ["H", "Trading Halt", "T12", "Trading Halted; For information requested by NASDAQ"],
        (true, false) => ["T", "Trading Resumption", "T12", "Trading Halted; For information requested by NASDAQ"],
        (false, true) => ["2", "Trading Halt", "P", "News Pending"],
        (false, false) => ["3", "Resume", "", ""],
    };
    push_head("s", &pair.symbol, out);
    push_text("sc", code, out);
    push_text("sm", message, out);
    push_text("rc", reason, out);
    push_text("rm", reason_message, out);
    push_time(time, out);
    push_text("z", tape(&pair.symbol), out);
    out.extend_from_slice(b"}]");
}

fn push_bands(state: &PairState, time: UnixNanos, out: &mut Vec<u8>) {
    let (pair, last) = (&state.spec.pair, state.day.last);
    let away = Price(last.0 * BAND_PERCENT / 100);
    push_head("l", &pair.symbol, out);
    push_number("u", last.0 + away.0, pair.price_scale, out);
    push_number("d", last.0 - away.0, pair.price_scale, out);
    push_text("i", "B", out);
    push_time(time, out);
    push_text("z", tape(&pair.symbol), out);
    out.extend_from_slice(b"}]");
}

fn push_correction(pair: &Pair, trade: &Trade, endpoint: Endpoint, time: UnixNanos, out: &mut Vec<u8>) {
    let conditions = conditions(pair, trade);
    push_head("c", &pair.symbol, out);
    push_text("x", exchange(endpoint, trade.id), out);
    for (prefix, id, price) in
        [("o", trade.id, trade.price.0), ("c", trade.id + CORRECTED_ID, trade.price.0 + pair.tick.0)]
    {
        push_name(&format!("{prefix}i"), out);
        push_u64(id, out);
        push_number(&format!("{prefix}p"), price, pair.price_scale, out);
        push_number(&format!("{prefix}s"), trade.size.0, pair.size_scale, out);
        push_name(&format!("{prefix}c"), out);
        out.extend_from_slice(conditions.as_bytes());
    }
    push_time(time, out);
    push_text("z", tape(&pair.symbol), out);
    out.extend_from_slice(b"}]");
}

fn push_cancel(pair: &Pair, trade: &Trade, endpoint: Endpoint, time: UnixNanos, out: &mut Vec<u8>) {
    push_head("x", &pair.symbol, out);
    push_name("i", out);
    push_u64(trade.id, out);
    push_text("x", exchange(endpoint, trade.id), out);
    push_number("p", trade.price.0, pair.price_scale, out);
    push_number("s", trade.size.0, pair.size_scale, out);
    push_text("a", if trade.id.is_multiple_of(2) { "C" } else { "E" }, out);
    push_time(time, out);
    push_text("z", tape(&pair.symbol), out);
    out.extend_from_slice(b"}]");
}
