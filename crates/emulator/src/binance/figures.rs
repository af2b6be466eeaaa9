//! What the tickers of the streams and of REST both tell: the sums of a window, from the market's own bars.
//!
//! Both ask here, so they agree at any moment. Windows of up to half a day are made of minutes, longer ones of hours:
//! the first one is whole. A symbol in which nothing was traded has zeros, and ids of -1, as at the venue.

use model::{Price, Qty, Side, UnixNanos};

use super::frames::{TimeUnit, push_event, push_integer, push_quoted, push_sum};
use crate::market::simulation::{PairState, Simulation};
use crate::market::{Bar, Pair};
use crate::sums::Sum;
use crate::text::push_u64;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
/// The longest window that bars of a minute are added up for, ms.
const MINUTES_MAX_MS: u64 = 12 * HOUR_S * 1_000;
/// Minutes of the average price.
pub(super) const AVERAGE_MIN: u64 = 5;

/// Sums of one symbol over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    /// Milliseconds since the epoch.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) open: i64,
    pub(super) high: i64,
    pub(super) low: i64,
    pub(super) close: i64,
    pub(super) volume: i128,
    pub(super) cost: i128,
    pub(super) average: i64,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) trades: u64,
}

impl Figures {
    /// From bars of the interval that [`bars_s`] names for a window, milliseconds.
    pub(super) fn of<'a>(bars: impl Iterator<Item = &'a Bar>, (from, to): (u64, u64)) -> Self {
        let sum = Sum::of(bars.filter(|bar| bar.end().0 / 1_000_000 > from));
        let ids = sum.as_ref().map_or((-1, -1), |sum| (sum.first.first_id as i64, sum.last.last_id as i64));
        Self {
            from,
            to,
            open: sum.as_ref().map_or(0, |sum| sum.first.open.0),
            high: sum.as_ref().map_or(0, |sum| sum.high),
            low: sum.as_ref().map_or(0, |sum| sum.low),
            close: sum.as_ref().map_or(0, |sum| sum.last.close.0),
            volume: sum.as_ref().map_or(0, |sum| sum.volume),
            cost: sum.as_ref().map_or(0, |sum| sum.cost),
            average: sum.as_ref().map_or(0, Sum::average),
            first_id: ids.0,
            last_id: ids.1,
            trades: sum.as_ref().map_or(0, |sum| sum.trades),
        }
    }

    /// The last so many hours of a simulated pair.
    pub(super) fn of_market(market: &Simulation, at: usize, hours: u64, now: UnixNanos) -> Self {
        let to = now.0 / 1_000_000;
        let from = to.saturating_sub(hours * HOUR_S * 1_000);
        Self::of(market.bars(at, bars_s(to - from)), (from, to))
    }

    pub(super) fn change(&self) -> i64 {
        self.close - self.open
    }

    /// The change in percent, three decimals.
    pub(super) fn percent(&self) -> String {
        let thousandths = i128::from(self.change()) * 100_000 / i128::from(self.open.max(1));
        format!("{:.3}", thousandths as f64 / 1000.0)
    }
}

/// The interval of the bars that a window is made of, seconds.
pub(super) fn bars_s(window_ms: u64) -> u64 {
    if window_ms <= MINUTES_MAX_MS { MINUTE_S } else { HOUR_S }
}

/// The average price of the last minutes, from bars of a minute.
pub(super) fn average<'a>(bars: impl Iterator<Item = &'a Bar>, now: UnixNanos) -> Option<i64> {
    let since = now.0.saturating_sub(AVERAGE_MIN * MINUTE_S * 1_000_000_000);
    Sum::of(bars.filter(|bar| bar.begin.0 >= since)).map(|sum| sum.average())
}

fn push_prices(fields: &[(&str, i64)], pair: &Pair, out: &mut Vec<u8>) {
    fields.iter().for_each(|(name, price)| push_quoted(name, *price, pair.price_scale, out));
}

fn push_volumes(figures: &Figures, pair: &Pair, out: &mut Vec<u8>) {
    push_sum("v", figures.volume, 0, pair, out);
    push_sum("q", figures.cost, pair.price_scale, pair, out);
}

fn push_change(figures: &Figures, pair: &Pair, out: &mut Vec<u8>) {
    push_quoted("p", figures.change(), pair.price_scale, out);
    out.extend_from_slice(format!(",\"P\":\"{}\"", figures.percent()).as_bytes());
}

/// The times and ids that end a ticker.
fn push_span(figures: &Figures, unit: TimeUnit, out: &mut Vec<u8>) {
    let time = |ms: u64| unit.of(UnixNanos(ms * 1_000_000));
    push_integer("O", time(figures.from), out);
    push_integer("C", time(figures.to), out);
    for (name, id) in [(",\"F\":", figures.first_id), (",\"L\":", figures.last_id)] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(id.to_string().as_bytes());
    }
    push_integer("n", figures.trades, out);
    out.push(b'}');
}

pub(super) fn push_mini(state: &PairState, figures: &Figures, time: u64, out: &mut Vec<u8>) {
    let pair = &state.spec.pair;
    push_event("24hrMiniTicker", time, pair, out);
    let Figures { open, high, low, close, .. } = *figures;
    push_prices(&[("c", close), ("o", open), ("h", high), ("l", low)], pair, out);
    push_volumes(figures, pair, out);
    out.push(b'}');
}

pub(super) fn push_ticker(state: &PairState, figures: &Figures, unit: TimeUnit, now: UnixNanos, out: &mut Vec<u8>) {
    let pair = &state.spec.pair;
    let (bid, ask) = (state.best(Side::Buy), state.best(Side::Sell));
    let last = state.trades.back();
    let (last_price, last_size) = (last.map_or(Price(0), |t| t.price), last.map_or(Qty(0), |t| t.size));
    push_event("24hrTicker", unit.of(now), pair, out);
    push_change(figures, pair, out);
    push_prices(&[("w", figures.average), ("x", figures.open), ("c", last_price.0)], pair, out);
    push_quoted("Q", last_size.0, pair.size_scale, out);
    for (price, size, level) in [("b", "B", bid), ("a", "A", ask)] {
        push_quoted(price, level.price.0, pair.price_scale, out);
        push_quoted(size, level.size.0, pair.size_scale, out);
    }
    push_prices(&[("o", figures.open), ("h", figures.high), ("l", figures.low)], pair, out);
    push_volumes(figures, pair, out);
    push_span(figures, unit, out);
}

/// The ticker of a rolling window.
pub(super) fn push_window(
    state: &PairState,
    window: &str,
    figures: &Figures,
    unit: TimeUnit,
    now: UnixNanos,
    out: &mut Vec<u8>,
) {
    let pair = &state.spec.pair;
    push_event(&format!("{window}Ticker"), unit.of(now), pair, out);
    push_change(figures, pair, out);
    let Figures { open, high, low, close, average, .. } = *figures;
    push_prices(&[("o", open), ("h", high), ("l", low), ("c", close), ("w", average)], pair, out);
    push_volumes(figures, pair, out);
    push_span(figures, unit, out);
}

/// The average price of the last five minutes; `last` is the time of the last trade.
pub(super) fn push_average(pair: &Pair, price: i64, time: u64, last: u64, out: &mut Vec<u8>) {
    push_event("avgPrice", time, pair, out);
    out.extend_from_slice(b",\"i\":\"");
    push_u64(AVERAGE_MIN, out);
    out.extend_from_slice(b"m\"");
    push_quoted("w", price, pair.price_scale, out);
    push_integer("T", last, out);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::binance::rest::Rest;
    use crate::market::Market;
    use crate::options::Rate;
    use crate::{EmulatedVenue, GeneratedSession};
    use feed::websocket::handshake::RequestHead;
    use model::UnixNanos;

    const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

    /// A market that ran for some seconds, and the last frame of each stream.
    fn ran(streams: &[&str]) -> (Box<dyn Market>, Vec<Value>, UnixNanos) {
        let session = GeneratedSession { seed: 5, ..GeneratedSession::default() };
        let pace = crate::server::pace(Rate::FramesPerSecond(2_000));
        let mut market = crate::server::generated(EmulatedVenue::Binance, &session, pace, 1, START);
        let topics: Vec<_> = streams.iter().map(|name| market.topic(name).expect("a stream")).collect();
        let mut readers = vec![0; market.topics().len()];
        topics.iter().for_each(|topic| readers[*topic as usize] = 1);
        let mut log = crate::market::Log::default();
        let now = UnixNanos(START.0 + 70_000_000_000);
        market.advance(START, &readers, &mut log);
        for step in 1..=70 {
            market.advance(UnixNanos(START.0 + step * 1_000_000_000), &readers, &mut log);
        }
        let mut last = vec![Value::Null; topics.len()];
        for (topic, frame) in log.from(0).expect("nothing was released") {
            let at = topics.iter().position(|known| *known == topic).expect("a stream that is read");
            last[at] = serde_json::from_slice(frame).expect("JSON");
        }
        (market, last, now)
    }

    fn ask(market: &mut dyn Market, now: UnixNanos, target: &str) -> Value {
        let request = format!("GET /api/v3/{target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = RequestHead::parse(request.as_bytes()).expect("a request").expect("whole");
        let answer = Rest::new(6_000).answer(&head, [127, 0, 0, 1].into(), market, now);
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    #[test]
    fn streams_and_rest_tell_the_same_figures() {
        let (mut market, frames, now) = ran(&[
            "btcusdt@ticker",
            "btcusdt@miniTicker",
            "btcusdt@ticker_1h",
            "btcusdt@avgPrice",
            "btcusdt@depth5@100ms",
        ]);
        let [ticker, mini, hour, average, partial] = &frames[..] else { panic!("five streams") };
        let day = ask(&mut *market, now, "ticker/24hr?symbol=BTCUSDT");
        let same = |frame: &Value, rest: &Value, fields: &[(&str, &str)]| {
            for (ours, theirs) in fields {
                assert!(!frame[ours].is_null() && frame[ours] == rest[theirs], "{ours}: {frame}\n{theirs}: {rest}");
            }
        };
        let window = [
            ("p", "priceChange"),
            ("P", "priceChangePercent"),
            ("w", "weightedAvgPrice"),
            ("c", "lastPrice"),
            ("o", "openPrice"),
            ("h", "highPrice"),
            ("l", "lowPrice"),
            ("v", "volume"),
            ("q", "quoteVolume"),
            ("O", "openTime"),
            ("C", "closeTime"),
            ("F", "firstId"),
            ("L", "lastId"),
            ("n", "count"),
        ];
        same(ticker, &day, &window);
        let of_day = [
            ("x", "prevClosePrice"),
            ("Q", "lastQty"),
            ("b", "bidPrice"),
            ("B", "bidQty"),
            ("a", "askPrice"),
            ("A", "askQty"),
            ("s", "symbol"),
        ];
        same(ticker, &day, &of_day);
        same(mini, &day, &[("c", "lastPrice"), ("o", "openPrice"), ("v", "volume"), ("q", "quoteVolume")]);
        same(hour, &ask(&mut *market, now, "ticker?symbol=BTCUSDT&windowSize=1h"), &window);
        let rest = ask(&mut *market, now, "avgPrice?symbol=BTCUSDT");
        same(average, &rest, &[("w", "price"), ("T", "closeTime")]);
        same(ticker, &ask(&mut *market, now, "ticker/bookTicker?symbol=BTCUSDT"), &of_day[2..]);
        same(ticker, &ask(&mut *market, now, "ticker/price?symbol=BTCUSDT"), &[("c", "price")]);
        assert_eq!(*partial, ask(&mut *market, now, "depth?symbol=BTCUSDT&limit=5"));
    }

    #[test]
    fn tickers_of_all_have_those_that_changed() {
        let (_, frames, _) = ran(&["!miniTicker@arr", "!ticker_4h@arr"]);
        for (frame, kind) in frames.iter().zip(["24hrMiniTicker", "4hTicker"]) {
            let list = frame.as_array().expect("an array");
            assert!(!list.is_empty() && list.iter().all(|entry| entry["e"] == kind), "{frame}");
            let symbols: std::collections::BTreeSet<&str> =
                list.iter().filter_map(|entry| entry["s"].as_str()).collect();
            assert_eq!(symbols.len(), list.len(), "{frame}");
        }
    }

    #[test]
    fn aggregates_of_rest_are_those_of_the_stream() {
        let (mut market, frames, now) = ran(&["btcusdt@aggTrade"]);
        let list = ask(&mut *market, now, "aggTrades?symbol=BTCUSDT&limit=1000");
        let list = list.as_array().expect("a list");
        for field in ["a", "p", "q", "f", "l", "T", "m", "M"] {
            assert_eq!(frames[0][field], list[999][field], "{field}");
        }
        let number = |entry: &Value, name: &str| entry[name].as_u64().expect("a number");
        let mut several = 0;
        for (one, next) in list.iter().zip(&list[1..]) {
            assert_eq!((number(one, "a") + 1, number(one, "l") + 1), (number(next, "a"), number(next, "f")));
            several += usize::from(number(one, "l") > number(one, "f"));
        }
        assert!(several > 10, "{several} with more than one fill");
        let from = number(&list[500], "a");
        let page = ask(&mut *market, now, &format!("aggTrades?symbol=BTCUSDT&fromId={from}&limit=3"));
        assert_eq!(page.as_array().expect("a list")[..], list[500..503]);
    }

    #[test]
    fn bars_of_every_interval_are_told_and_agree_with_rest() {
        let (mut market, frames, now) =
            ran(&["btcusdt@kline_1s", "btcusdt@kline_3m", "btcusdt@kline_1w", "btcusdt@kline_1M"]);
        for (frame, name) in frames.iter().zip(["1s", "3m", "1w", "1M"]) {
            let bar = &frame["k"];
            assert_eq!(bar["i"], name);
            let rest = ask(&mut *market, now, &format!("klines?symbol=BTCUSDT&interval={name}&limit=1"));
            for (field, place) in [("t", 0), ("o", 1), ("h", 2), ("l", 3), ("c", 4), ("v", 5), ("T", 6), ("n", 8)] {
                assert_eq!(bar[field], rest[0][place], "{name} {field}: {frame} {rest}");
            }
        }
    }
}
