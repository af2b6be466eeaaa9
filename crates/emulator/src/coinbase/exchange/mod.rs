//! Coinbase Exchange: one `type` a frame, signed subscriptions for whole books, REST under `/products`.

mod frames;
mod rest;
mod session;
mod signature;

pub(crate) use frames::{Writer, snapshot};
pub(crate) use rest::answer;
pub(crate) use session::{Session, join, leave};

/// Channels with a product, in the order of a product's topics.
pub(crate) const CHANNELS: [&str; 7] =
    ["matches", "level2", "level2_batch", "ticker", "ticker_batch", "heartbeat", "full"];

/// The name of a topic: of a channel, and of a product where the channel has one.
pub(crate) fn topic_name(channel: &str, product: &str) -> String {
    if product.is_empty() { format!("exchange:{channel}") } else { format!("exchange:{channel}:{product}") }
}
