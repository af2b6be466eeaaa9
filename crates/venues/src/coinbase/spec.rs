//! Coinbase's endpoints and limits, for each of its two protocols, as its documentation gives them.

use crate::{Limit, Spec};
use model::Venue;
use std::time::Duration;

/// Coinbase Exchange: the feed of the institutional venue.
pub const EXCHANGE: Spec = Spec {
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
    // Snapshots hold the whole book; 5 MiB have been seen.
    frame_max: 64 << 20,
};

/// Advanced Trade: the feed of the retail venue over the same matching engine.
pub const ADVANCED: Spec = Spec {
    venue: Venue::Coinbase,
    ws_url: "wss://advanced-trade-ws.coinbase.com",
    rest_url: "https://api.coinbase.com",
    connections: Limit { count: 8, per: Duration::from_secs(1) },
    messages: Limit { count: 8, per: Duration::from_secs(1) },
    requests: Limit { count: 10, per: Duration::from_secs(1) },
    // A heartbeat a second.
    silence_max: Duration::from_secs(5),
    frame_max: 64 << 20,
};
