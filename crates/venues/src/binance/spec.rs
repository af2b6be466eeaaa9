//! Endpoints and limits of the venues that speak this protocol: data, no logic.

use crate::{Limit, Spec};
use model::Venue;
use std::time::Duration;

/// Binance, as its spot API documents give it. Public market data needs no key.
pub const SPEC: Spec = Spec {
    venue: Venue::Binance,
    ws_url: "wss://stream.binance.com:9443/stream",
    rest_url: "https://api.binance.com",
    connections: Limit { count: 300, per: Duration::from_secs(300) },
    // Pings and pongs count too, so one below the documented five.
    messages: Limit { count: 4, per: Duration::from_secs(1) },
    requests: Limit { count: 6000, per: Duration::from_secs(60) },
    // A ping every 20 s.
    silence_max: Duration::from_secs(60),
    // "A single connection to the API is only valid for 24 hours."
    connection_life: Some(Duration::from_secs(24 * 3600)),
    frame_max: 16 << 20,
    // Its documents say nothing of it.
    deflate: false,
};

/// Binance.US: the same protocol at other addresses, with a fifth of the request weight.
pub const US_SPEC: Spec = Spec {
    venue: Venue::BinanceUs,
    ws_url: "wss://stream.binance.us:9443/stream",
    rest_url: "https://api.binance.us",
    requests: Limit { count: 1200, per: Duration::from_secs(60) },
    ..SPEC
};
