//! The endpoints and limits of Advanced Trade's market data, as its documentation gives them.

use crate::{Limit, Spec};
use model::Venue;
use std::time::Duration;

/// Public market data needs no key.
pub const SPEC: Spec = Spec {
    venue: Venue::Coinbase,
    ws_url: "wss://advanced-trade-ws.coinbase.com",
    rest_url: "https://api.coinbase.com",
    // By address.
    connections: Limit { count: 8, per: Duration::from_secs(1) },
    // Without a key.
    messages: Limit { count: 8, per: Duration::from_secs(1) },
    // What other clients keep to by address; the venue publishes no current figure.
    requests: Limit { count: 10, per: Duration::from_secs(1) },
    // A heartbeat a second once it is subscribed to.
    silence_max: Duration::from_secs(5),
    // No such cut is documented.
    connection_life: None,
    // The largest snapshot recorded has 5.1 MB.
    deflate: false,
    frame_max: 32 << 20,
};
