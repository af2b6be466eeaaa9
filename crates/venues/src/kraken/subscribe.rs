//! What we say to the venue.

use super::choices::{Choices, RequestId, TickerTrigger, TradeSnapshot};
use super::machine::Kraken;
use super::spec::SPEC;
use crate::{Known, MachineError, Outbox, Settings};
use model::{StreamKind, UnixNanos};

/// Depths a book can be subscribed to with.
const DEPTHS: [u32; 5] = [10, 25, 100, 500, 1000];

/// Bar intervals, in minutes.
const MINUTES: [u32; 9] = [1, 5, 15, 30, 60, 240, 1440, 10080, 21600];

/// Symbols in one request. The venue names no limit; its own clients send hundreds.
const SYMBOLS_PER_REQUEST: usize = 100;

/// The least depth the venue offers that is at least `levels`.
pub fn depth(levels: u32) -> Option<u32> {
    DEPTHS.into_iter().find(|d| *d >= levels)
}

/// Checks what can be asked for: the book's depth and the bars' interval in minutes.
pub fn check(settings: &Settings) -> Result<(u32, u32), MachineError> {
    let refused = |key, value: u32, allowed: String| MachineError::Setting {
        venue: SPEC.venue,
        key,
        value: value.to_string(),
        allowed,
    };
    let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let depth = depth(settings.book_depth)
        .ok_or_else(|| refused("book_depth", settings.book_depth, format!("at most {}", DEPTHS[DEPTHS.len() - 1])))?;
    let minutes = MINUTES.into_iter().find(|m| m * 60 == settings.bar_interval_s);
    let minutes = match minutes {
        Some(minutes) => minutes,
        None if !settings.streams.contains(&StreamKind::Bar) => MINUTES[0],
        None => {
            let seconds = MINUTES.map(|m| m * 60);
            return Err(refused("bar_interval_s", settings.bar_interval_s, list(&seconds)));
        }
    };
    if settings.streams.contains(&StreamKind::Order) {
        let (venue, value, allowed) = (SPEC.venue, "order".to_owned(), "trade, book, quote, bar".to_owned());
        return Err(MachineError::Setting { venue, key: "streams", value, allowed });
    }
    Ok((depth, minutes))
}

/// The venue's name of a stream, where it has such a channel.
fn channel(stream: StreamKind) -> Option<&'static str> {
    match stream {
        StreamKind::Trade => Some("trade"),
        StreamKind::Book => Some("book"),
        StreamKind::Quote => Some("ticker"),
        StreamKind::Bar => Some("ohlc"),
        StreamKind::Order | StreamKind::Instrument | StreamKind::Connection => None,
    }
}

/// A request. `params` are the members of its `params` object; empty for none.
pub fn request(method: &str, params: &str, id: u64, choices: &Choices) -> String {
    match (choices.req_id, params.is_empty()) {
        (_, true) => format!(r#"{{"method":"{method}","req_id":{id}}}"#),
        (RequestId::Top, false) => format!(r#"{{"method":"{method}","params":{{{params}}},"req_id":{id}}}"#),
        (RequestId::Params, false) => format!(r#"{{"method":"{method}","params":{{{params},"req_id":{id}}}}}"#),
    }
}

/// A list of symbols, as JSON.
pub fn symbols<'a>(symbols: impl Iterator<Item = &'a str>) -> String {
    let list: Vec<&str> = symbols.collect();
    serde_json::to_string(&list).expect("a list of strings is JSON")
}

impl Kraken {
    /// Subscribes to everything that is defined and was not asked for on this connection.
    pub(super) fn subscribe(&mut self, now: UnixNanos, out: &mut Outbox) {
        if !self.is_open() || self.learns() {
            return;
        }
        let new: Vec<Known> =
            (0..self.markets.len() as Known).filter(|k| !self.markets[*k as usize].subscribed).collect();
        for stream in self.settings.streams.clone() {
            for batch in new.chunks(SYMBOLS_PER_REQUEST) {
                self.subscribe_stream(stream, batch, now, out);
            }
        }
        for k in new {
            self.markets[k as usize].subscribed = true;
        }
    }

    fn subscribe_stream(&mut self, stream: StreamKind, batch: &[Known], now: UnixNanos, out: &mut Outbox) {
        let params = match stream {
            StreamKind::Trade => {
                let (fill, plain): (Vec<Known>, Vec<Known>) = batch.iter().partition(|k| self.fills_trades(**k));
                self.subscribe_channel(stream, r#","snapshot":true"#, &fill, now, out);
                self.subscribe_channel(stream, r#","snapshot":false"#, &plain, now, out);
                return;
            }
            StreamKind::Book => {
                self.books_asked_for(batch, self.depth, now, out);
                self.book_params()
            }
            StreamKind::Quote => {
                let trigger = if self.choices.ticker_trigger == TickerTrigger::Bbo { "bbo" } else { "trades" };
                format!(r#","event_trigger":"{trigger}","snapshot":true"#)
            }
            StreamKind::Bar => format!(r#","interval":{},"snapshot":true"#, self.bar_minutes),
            StreamKind::Order | StreamKind::Instrument | StreamKind::Connection => return,
        };
        self.subscribe_channel(stream, &params, batch, now, out);
    }

    /// What a book's subscription says beside channel and symbols.
    pub(super) fn book_params(&self) -> String {
        format!(r#","depth":{},"snapshot":true"#, self.depth)
    }

    /// Whether the venue is asked for the last trades of an instrument.
    fn fills_trades(&self, k: Known) -> bool {
        match self.choices.trade_snapshot {
            TradeSnapshot::Always => true,
            TradeSnapshot::Never => false,
            TradeSnapshot::Missed => {
                let t = &self.markets[k as usize].trades;
                t.last().is_some() && t.is_broken()
            }
        }
    }

    pub(super) fn subscribe_channel(
        &mut self,
        stream: StreamKind,
        more: &str,
        batch: &[Known],
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        if batch.is_empty() {
            return;
        }
        let name = channel(stream).expect("only streams with a channel are subscribed to");
        let list = symbols(batch.iter().map(|k| self.instruments.get(*k).venue_symbol.as_str()));
        let params = format!(r#""channel":"{name}","symbol":{list}{more}"#);
        self.send(stream, "subscribe", &params, out);
        for k in batch {
            self.watch.start(*k, stream, now);
        }
    }
}
