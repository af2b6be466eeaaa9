//! What we say to the venue.

use super::choices::{Choices, RequestId};
use super::spec::SPEC;
use crate::{MachineError, Settings};
use model::StreamKind;

/// Depths a book can be subscribed to with.
const DEPTHS: [u32; 5] = [10, 25, 100, 500, 1000];

/// Bar intervals, in minutes.
const MINUTES: [u32; 9] = [1, 5, 15, 30, 60, 240, 1440, 10080, 21600];

/// Symbols in one request. The venue names no limit; its own clients send hundreds.
pub const SYMBOLS_PER_REQUEST: usize = 100;

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
    Ok((depth, minutes))
}

/// The venue's name of a stream, where it has such a channel.
pub fn channel(stream: StreamKind) -> Option<&'static str> {
    match stream {
        StreamKind::Trade => Some("trade"),
        StreamKind::Book => Some("book"),
        StreamKind::Quote => Some("ticker"),
        StreamKind::Bar => Some("ohlc"),
        StreamKind::Instrument | StreamKind::Connection => None,
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
