//! Kraken's endpoints and limits, as its documentation of the spot WebSockets gives them.

use crate::{Limit, Spec};
use model::Venue;
use std::time::Duration;

/// Public market data needs no key.
pub const SPEC: Spec = Spec {
    venue: Venue::Kraken,
    ws_url: "wss://ws.kraken.com/v2",
    rest_url: "https://api.kraken.com",
    // About 150 attempts in a rolling ten minutes by address, else a ban of ten minutes.
    connections: Limit { count: 150, per: Duration::from_secs(600) },
    // Not published; a third party's list says 50 a second.
    messages: Limit { count: 50, per: Duration::from_secs(1) },
    requests: Limit { count: 15, per: Duration::from_secs(45) },
    // A heartbeat a second when nothing else is sent.
    silence_max: Duration::from_secs(5),
    connection_life: None,
    frame_max: 16 << 20,
    // Its documents say nothing of it.
    deflate: false,
};

/// The older protocol, at the host's root.
pub const V1_SPEC: Spec = Spec { ws_url: "wss://ws.kraken.com", ..SPEC };
