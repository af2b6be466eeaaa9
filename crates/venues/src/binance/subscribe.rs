//! What is asked of the venue: stream names, SUBSCRIBE frames, REST paths and what they cost.

use super::choices::{Choices, DepthSpeed, TradeKind};
use crate::{MachineError, Settings};
use model::{StreamKind, UnixNanos, Venue};
use std::fmt::Write;

/// Streams one connection may have.
pub(super) const STREAMS_MAX: usize = 1024;
/// Stream names in one SUBSCRIBE frame, so that a frame stays within a few kB.
pub(super) const STREAMS_PER_FRAME: usize = 200;
/// Symbols in one request for definitions, so that its path stays within 2 kB.
pub(super) const SYMBOLS_PER_REQUEST: usize = 100;
/// What a request for definitions costs.
pub(super) const DEFINITIONS_WEIGHT: u32 = 20;
/// Levels a side the venue serves at most.
pub(super) const DEPTH_MAX: u32 = 5000;
/// Sixths of the venue's request weight that are used; the rest is left to other users of the same address.
const WEIGHT_SIXTHS: u32 = 5;

/// The bar intervals of fixed length, in seconds.
const INTERVALS: [(&str, u32); 15] = [
    ("1s", 1),
    ("1m", 60),
    ("3m", 180),
    ("5m", 300),
    ("15m", 900),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("4h", 14_400),
    ("6h", 21_600),
    ("8h", 28_800),
    ("12h", 43_200),
    ("1d", 86_400),
    ("3d", 259_200),
    ("1w", 604_800),
];

/// Seconds of a bar interval of fixed length.
pub(super) fn interval_seconds(name: &str) -> Option<u32> {
    INTERVALS.iter().find(|i| i.0 == name).map(|i| i.1)
}

/// What each symbol is subscribed to, settled once when the machine is made.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    suffixes: Vec<(StreamKind, String)>,
}

impl Streams {
    /// The streams of the settings, or which setting the venue does not offer.
    pub(super) fn new(venue: Venue, settings: &Settings, choices: &Choices) -> Result<Streams, MachineError> {
        let refuse = |key, value: String, allowed: String| Err(MachineError::Setting { venue, key, value, allowed });
        let mut suffixes: Vec<(StreamKind, String)> = vec![];
        for &stream in &settings.streams {
            let suffix = match stream {
                StreamKind::Trade if choices.trades == Some(TradeKind::AggTrade) => "aggTrade".to_owned(),
                StreamKind::Trade => "trade".to_owned(),
                StreamKind::Book if choices.depth_speed == DepthSpeed::Second => "depth".to_owned(),
                StreamKind::Book => "depth@100ms".to_owned(),
                StreamKind::Quote => "bookTicker".to_owned(),
                StreamKind::Bar => match INTERVALS.iter().find(|i| i.1 == settings.bar_interval_s) {
                    Some((name, _)) => format!("kline_{name}"),
                    None => {
                        let allowed: Vec<String> = INTERVALS.iter().map(|i| i.1.to_string()).collect();
                        return refuse("bar_interval_s", settings.bar_interval_s.to_string(), allowed.join(", "));
                    }
                },
                StreamKind::Order => {
                    return refuse("streams", "order".to_owned(), "trade, book, quote, bar".to_owned());
                }
                // Definitions come by REST, the connection's own events unasked.
                StreamKind::Instrument | StreamKind::Connection => continue,
            };
            if !suffixes.iter().any(|(s, _)| *s == stream) {
                suffixes.push((stream, suffix));
            }
        }
        if suffixes.len() * settings.symbols.len() > STREAMS_MAX {
            let value = format!("{} with {} streams each", settings.symbols.len(), suffixes.len());
            return refuse("symbols", value, format!("at most {STREAMS_MAX} streams together"));
        }
        if !(1..=DEPTH_MAX).contains(&settings.book_depth) {
            return refuse("book_depth", settings.book_depth.to_string(), format!("1 to {DEPTH_MAX}"));
        }
        Ok(Streams { suffixes })
    }

    /// Whether a stream is wanted.
    pub(super) fn has(&self, stream: StreamKind) -> bool {
        self.suffixes.iter().any(|(s, _)| *s == stream)
    }

    /// The streams of one symbol with their names.
    pub(super) fn names<'a>(&'a self, venue_symbol: &str) -> impl Iterator<Item = (StreamKind, String)> + 'a {
        let symbol = venue_symbol.to_lowercase();
        self.suffixes.iter().map(move |(stream, suffix)| (*stream, format!("{symbol}@{suffix}")))
    }
}

/// A SUBSCRIBE frame.
pub(super) fn frame(names: &[String], id: u64) -> String {
    let names = serde_json::to_string(names).expect("a list of strings has a JSON form");
    format!("{{\"method\":\"SUBSCRIBE\",\"params\":{names},\"id\":{id}}}")
}

/// Everything but unreserved characters as `%XX`.
pub(super) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => write!(out, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    out
}

/// Path of the definitions of these symbols.
pub(super) fn definitions_path(venue_symbols: &[&str]) -> String {
    let list = serde_json::to_string(venue_symbols).expect("a list of strings has a JSON form");
    format!("/api/v3/exchangeInfo?symbols={}", percent(&list))
}

/// Path of a symbol's book.
pub(super) fn depth_path(venue_symbol: &str, limit: u32) -> String {
    format!("/api/v3/depth?symbol={}&limit={limit}", percent(venue_symbol))
}

/// What a book of so many levels costs.
pub(super) fn depth_weight(limit: u32) -> u32 {
    match limit {
        0..=100 => 5,
        101..=500 => 25,
        501..=1000 => 50,
        _ => 250,
    }
}

/// The venue's request weight, which it counts in whole minutes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    per_minute: u32,
    minute: u64,
    used: u32,
    paused: UnixNanos,
}

const MINUTE_NS: u64 = 60_000_000_000;

impl Budget {
    /// Our part of what the venue allows an address in a minute.
    pub(super) fn of(allowed: u32) -> Budget {
        Budget { per_minute: allowed / 6 * WEIGHT_SIXTHS, minute: 0, used: 0, paused: UnixNanos::ZERO }
    }

    /// Takes the weight, or says when it may be asked for again.
    pub(super) fn take(&mut self, weight: u32, now: UnixNanos) -> Result<(), UnixNanos> {
        if now < self.paused {
            return Err(self.paused);
        }
        let minute = now.0 / MINUTE_NS;
        if self.minute != minute {
            (self.minute, self.used) = (minute, 0);
        }
        if self.used + weight > self.per_minute {
            return Err(UnixNanos((minute + 1).saturating_mul(MINUTE_NS)));
        }
        self.used += weight;
        Ok(())
    }

    /// The venue asked for a pause.
    pub(super) fn pause(&mut self, until: UnixNanos) {
        self.paused = self.paused.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_frames_are_json() {
        let settings = Settings { bar_interval_s: 3600, ..Settings::default() };
        let choices = Choices { trades: Some(TradeKind::AggTrade), ..Choices::default() };
        let streams = Streams::new(Venue::Binance, &settings, &choices).expect("offered");
        let names: Vec<String> = streams.names("BTCUSDT").map(|n| n.1).collect();
        assert_eq!(names, ["btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@kline_1h"]);
        assert_eq!(frame(&names[..1], 7), r#"{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":7}"#);
    }

    #[test]
    fn paths_are_percent_encoded() {
        let path = definitions_path(&["BTCUSDT", "币安USDT"]);
        assert_eq!(path, "/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%2C%22%E5%B8%81%E5%AE%89USDT%22%5D");
        assert_eq!(depth_path("A&B", 5), "/api/v3/depth?symbol=A%26B&limit=5");
    }

    #[test]
    fn what_the_venue_does_not_offer_is_refused_by_name() {
        let refused =
            |s: Settings| Streams::new(Venue::Binance, &s, &Choices::default()).expect_err("not offered").to_string();
        let many = Settings { symbols: vec!["X".to_owned(); 300], ..Settings::default() };
        assert_eq!(
            refused(many),
            "binance: symbols cannot be 300 with 4 streams each; it can be at most 1024 streams together"
        );
        let odd = Settings { bar_interval_s: 61, ..Settings::default() };
        assert!(refused(odd).starts_with("binance: bar_interval_s cannot be 61; it can be 1, 60, 180"));
        let deep = Settings { book_depth: 5001, ..Settings::default() };
        assert_eq!(refused(deep), "binance: book_depth cannot be 5001; it can be 1 to 5000");
    }

    #[test]
    fn the_budget_opens_again_with_the_minute() {
        let mut budget = Budget::of(6000);
        let s = |seconds: u64| UnixNanos(seconds * 1_000_000_000);
        for _ in 0..20 {
            assert_eq!(budget.take(250, s(61)), Ok(()));
        }
        assert_eq!(budget.take(5, s(62)), Err(s(120)));
        assert_eq!(budget.take(5, s(120)), Ok(()));
        budget.pause(s(200));
        assert_eq!(budget.take(5, s(130)), Err(s(200)));
    }
}
