//! Every stream there is, by name and by place: those of a pair follow one another, those of all pairs come last.
//!
//! Each has a twin with times in microseconds behind it.

use std::collections::HashMap;

use model::StreamKind;

use super::MICROS_MARK;
use super::intervals::INTERVALS;
use crate::market::{Pair, Topic, TopicId};

/// Levels of the partial books.
pub(super) const PARTIAL_DEPTHS: [usize; 3] = [5, 10, 20];
/// Windows of the rolling tickers, by name and in hours.
pub(super) const WINDOWS: [(&str, u64); 3] = [("1h", 1), ("4h", 4), ("1d", 24)];

/// Offsets of a pair's topics.
pub(super) const TRADE: usize = 0;
pub(super) const AGG_TRADE: usize = 2;
pub(super) const BOOK_TICKER: usize = 4;
pub(super) const DEPTH_FAST: usize = 6;
pub(super) const DEPTH_SLOW: usize = 8;
pub(super) const PARTIAL_FAST: usize = 10;
pub(super) const PARTIAL_SLOW: usize = PARTIAL_FAST + 2 * PARTIAL_DEPTHS.len();
pub(super) const KLINE: usize = PARTIAL_SLOW + 2 * PARTIAL_DEPTHS.len();
pub(super) const MINI_TICKER: usize = KLINE + 2 * INTERVALS.len();
pub(super) const TICKER: usize = MINI_TICKER + 2;
pub(super) const WINDOW_TICKER: usize = TICKER + 2;
pub(super) const AVERAGE: usize = WINDOW_TICKER + 2 * WINDOWS.len();
pub(super) const TOPICS_PER_PAIR: usize = AVERAGE + 2;
/// Offsets behind all pairs: every symbol's mini ticker, then those of each window.
pub(super) const ALL_MINI: usize = 0;
pub(super) const ALL_WINDOW: usize = 2;

/// Every topic of some pairs.
pub(super) struct Topics {
    pub(super) list: Vec<Topic>,
    by_name: HashMap<String, TopicId>,
}

impl Topics {
    pub(super) fn new(pairs: &[Pair]) -> Self {
        let mut list = Vec::new();
        for pair in pairs {
            let lower = pair.symbol.to_lowercase();
            streams(|stream, kind| push_twins(&format!("{lower}@{stream}"), &pair.symbol, kind, &mut list));
        }
        push_twins("!miniTicker@arr", "", StreamKind::Quote, &mut list);
        for (window, _) in WINDOWS {
            push_twins(&format!("!ticker_{window}@arr"), "", StreamKind::Quote, &mut list);
        }
        let by_name = list.iter().enumerate().map(|(at, topic)| (topic.name.clone(), at as TopicId)).collect();
        Self { list, by_name }
    }

    /// The stream a client means: a second is what the slower depth streams have anyway.
    pub(super) fn find(&self, name: &str) -> Option<TopicId> {
        let (stream, mark) = name.strip_suffix(MICROS_MARK).map_or((name, ""), |stream| (stream, MICROS_MARK));
        match stream.strip_suffix("@1000ms") {
            Some(plain) if plain.contains("@depth") => self.by_name.get(&format!("{plain}{mark}")).copied(),
            _ => self.by_name.get(name).copied(),
        }
    }
}

fn push_twins(name: &str, symbol: &str, kind: StreamKind, list: &mut Vec<Topic>) {
    for mark in ["", MICROS_MARK] {
        list.push(Topic { name: format!("{name}{mark}"), symbol: symbol.to_owned(), kind });
    }
}

/// A pair's streams in the order of their offsets.
fn streams(mut add: impl FnMut(&str, StreamKind)) {
    add("trade", StreamKind::Trade);
    add("aggTrade", StreamKind::Trade);
    add("bookTicker", StreamKind::Quote);
    add("depth@100ms", StreamKind::Book);
    add("depth", StreamKind::Book);
    PARTIAL_DEPTHS.iter().for_each(|depth| add(&format!("depth{depth}@100ms"), StreamKind::Book));
    PARTIAL_DEPTHS.iter().for_each(|depth| add(&format!("depth{depth}"), StreamKind::Book));
    INTERVALS.iter().for_each(|interval| add(&format!("kline_{}", interval.name), StreamKind::Bar));
    add("miniTicker", StreamKind::Quote);
    add("ticker", StreamKind::Quote);
    WINDOWS.iter().for_each(|(window, _)| add(&format!("ticker_{window}"), StreamKind::Quote));
    add("avgPrice", StreamKind::Quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::default_pairs;

    #[test]
    fn streams_are_found_at_their_offsets() {
        let pairs: Vec<Pair> = default_pairs().into_iter().map(|spec| spec.pair).collect();
        let topics = Topics::new(&pairs);
        let all = pairs.len() * TOPICS_PER_PAIR;
        for (name, at) in [
            ("btcusdt@trade", TRADE),
            ("btcusdt@trade#us", TRADE + 1),
            ("btcusdt@depth", DEPTH_SLOW),
            ("btcusdt@depth@1000ms", DEPTH_SLOW),
            ("btcusdt@depth5@100ms", PARTIAL_FAST),
            ("btcusdt@depth20@1000ms#us", PARTIAL_SLOW + 5),
            ("btcusdt@kline_1s", KLINE),
            ("btcusdt@kline_1M", KLINE + 30),
            ("ethusdt@miniTicker", TOPICS_PER_PAIR + MINI_TICKER),
            ("ethusdt@ticker", TOPICS_PER_PAIR + TICKER),
            ("ethusdt@ticker_4h", TOPICS_PER_PAIR + WINDOW_TICKER + 2),
            ("solusdt@avgPrice", 2 * TOPICS_PER_PAIR + AVERAGE),
            ("!miniTicker@arr", all + ALL_MINI),
            ("!ticker_1d@arr", all + ALL_WINDOW + 4),
        ] {
            assert_eq!(topics.find(name), Some(at as TopicId), "{name}");
        }
        // The last was retired by the venue.
        for name in ["btcusdt@depth7", "btcusdt@trade@1000ms", "BTCUSDT@trade", "!ticker@arr"] {
            assert_eq!(topics.find(name), None, "{name}");
        }
        assert_eq!(topics.list.len(), all + 2 + 2 * WINDOWS.len());
    }
}
