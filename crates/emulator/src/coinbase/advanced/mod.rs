//! Advanced Trade: one channel a message, envelopes numbered over the whole connection, REST under
//! `/api/v3/brokerage`.

mod frames;
mod rest;
mod session;

pub(crate) use frames::{Writer, snapshot};
pub(crate) use rest::{answer, limited};
pub(crate) use session::Session;

/// Channels with a product, in the order of a product's topics.
pub(crate) const CHANNELS: [&str; 6] = ["market_trades", "level2", "ticker", "ticker_batch", "candles", "status"];
/// The channel without one.
pub(crate) const HEARTBEATS: &str = "heartbeats";

/// The name of a topic: of a channel, and of a product where the channel has one.
pub(crate) fn topic_name(channel: &str, product: &str) -> String {
    if product.is_empty() { format!("advanced:{channel}") } else { format!("advanced:{channel}:{product}") }
}
