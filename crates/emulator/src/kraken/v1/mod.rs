//! Kraken's older WebSocket protocol on the bare path: events as objects, data as arrays, pairs by their old names.

mod capture;
mod frames;
mod protocol;

pub(super) use capture::{apply, read};
pub(crate) use frames::{Writer, snapshot};
pub(crate) use protocol::Protocol;

/// Decimals of prices, at least: the checksum covers the texts as they are sent.
const PRICE_DECIMALS_MIN: u8 = 5;

/// The name of a topic, by v2's symbol so that faults mean both protocols.
pub(super) fn topic_name(channel: &str, symbol: &str) -> String {
    format!("v1:{channel}:{symbol}")
}
