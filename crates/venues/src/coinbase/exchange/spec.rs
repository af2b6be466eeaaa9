//! The endpoints and limits of Coinbase Exchange, as its documentation gives them.

use crate::{Limit, Spec};
use model::Venue;
use std::time::Duration;

/// The variables the keys come from, by the names the user knows.
pub const CREDENTIALS: &str = "COINBASE_API_KEY, COINBASE_API_SECRET and COINBASE_API_PASSPHRASE";

/// Level 2 without credentials is batched; the rest of the market data is the same with and without.
pub const SPEC: Spec = Spec {
    venue: Venue::Coinbase,
    ws_url: "wss://ws-feed.exchange.coinbase.com",
    rest_url: "https://api.exchange.coinbase.com",
    // 8 a second by address, in bursts of up to 20.
    connections: Limit { count: 8, per: Duration::from_secs(1) },
    messages: Limit { count: 100, per: Duration::from_secs(1) },
    // Public requests by address, as clients of the venue keep it; the venue's page names no number.
    requests: Limit { count: 10, per: Duration::from_secs(1) },
    // A heartbeat a second for each product, and the status of all products every five.
    silence_max: Duration::from_secs(5),
    // No such cut is documented.
    connection_life: None,
    // Snapshots hold the whole book; 5 MiB have been seen.
    deflate: true,
    frame_max: 64 << 20,
};
