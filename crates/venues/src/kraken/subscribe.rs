//! What we say to the venue.

use super::choices::{Api, Choices, RequestId, TickerTrigger, TradeSnapshot};
use super::machine::Kraken;
use super::pairs::old_spelling;
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
fn channel(stream: StreamKind, choices: &Choices) -> Option<&'static str> {
    match stream {
        StreamKind::Trade => Some("trade"),
        StreamKind::Book => Some("book"),
        // The older ticker comes with trades only; best bid and offer have a channel of their own there.
        StreamKind::Quote => Some(match (choices.api.unwrap_or_default(), choices.ticker_trigger) {
            (Api::V1, TickerTrigger::Bbo) => "spread",
            _ => "ticker",
        }),
        StreamKind::Bar => Some("ohlc"),
        StreamKind::Order | StreamKind::Instrument | StreamKind::Connection => None,
    }
}

/// A request. `params` are the members that say what is wanted; empty for none.
pub fn request(method: &str, params: &str, id: u64, choices: &Choices) -> String {
    if choices.api == Some(Api::V1) {
        let comma = if params.is_empty() { "" } else { "," };
        return format!(r#"{{"event":"{method}","reqid":{id}{comma}{params}}}"#);
    }
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
                let snapshot = |wanted: bool| match self.speaks() {
                    Api::V2 => format!(r#","snapshot":{wanted}"#),
                    Api::V1 => String::new(),
                };
                let (with, without) = (snapshot(true), snapshot(false));
                self.subscribe_channel(stream, &with, &fill, now, out);
                self.subscribe_channel(stream, &without, &plain, now, out);
                return;
            }
            StreamKind::Book => {
                self.books_asked_for(batch, self.depth, now, out);
                self.book_params()
            }
            StreamKind::Quote if self.speaks() == Api::V1 => String::new(),
            StreamKind::Quote => {
                let trigger = if self.choices.ticker_trigger == TickerTrigger::Bbo { "bbo" } else { "trades" };
                format!(r#","event_trigger":"{trigger}","snapshot":true"#)
            }
            StreamKind::Bar if self.speaks() == Api::V1 => format!(r#","interval":{}"#, self.bar_minutes),
            StreamKind::Bar => format!(r#","interval":{},"snapshot":true"#, self.bar_minutes),
            StreamKind::Order | StreamKind::Instrument | StreamKind::Connection => return,
        };
        self.subscribe_channel(stream, &params, batch, now, out);
    }

    /// What a book's subscription says beside channel and symbols.
    pub(super) fn book_params(&self) -> String {
        match self.speaks() {
            Api::V2 => format!(r#","depth":{},"snapshot":true"#, self.depth),
            Api::V1 => format!(r#","depth":{}"#, self.depth),
        }
    }

    /// Whether the venue is asked for the last trades of an instrument.
    fn fills_trades(&self, k: Known) -> bool {
        if self.speaks() == Api::V1 {
            return false;
        }
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
        self.ask("subscribe", stream, more, batch, out);
        for k in batch {
            self.watch.start(*k, stream, now);
        }
    }

    /// A request about a stream of some instruments, in the words of the protocol.
    pub(super) fn ask(&mut self, method: &str, stream: StreamKind, more: &str, batch: &[Known], out: &mut Outbox) {
        let name = channel(stream, &self.choices).expect("only streams with a channel are asked about");
        let names = batch.iter().map(|k| self.instruments.get(*k).venue_symbol.as_str());
        let params = match self.speaks() {
            Api::V2 => format!(r#""channel":"{name}","symbol":{}{more}"#, symbols(names)),
            Api::V1 => {
                let names: Vec<_> = names.map(old_spelling).collect();
                let list = symbols(names.iter().map(|name| &**name));
                format!(r#""pair":{list},"subscription":{{"name":"{name}"{more}}}"#)
            }
        };
        self.send(stream, method, &params, out);
    }
}
