//! The channels taken of both protocols, and by what each is proven.

use crate::Channel;
use crate::Maturity::{Documented, Recorded};

const LEVELS: &str = "captures of 2021 and 2025";
const ALL: &str = "a capture of 2026 with every channel";

/// What is taken of Coinbase.
pub const CHANNELS: &[Channel] = &[
    Channel::of(
        "Exchange",
        "matches",
        "trade",
        "trade ids contiguous, sequence rising; heartbeats name the last trade",
        Recorded,
        LEVELS,
    ),
    Channel::of(
        "Exchange",
        "level2_batch, level2",
        "snapshot, book change",
        "never crossed; no number, no checksum",
        Recorded,
        "a capture of 2021: 5,830 updates of six products",
    ),
    Channel::of(
        "Exchange",
        "full: received, open, done",
        "order, snapshot, book change",
        "sequence rises by one, bridged to the REST snapshot; heartbeats name the last",
        Recorded,
        "recorded frames of 2017; single frames of 2022",
    ),
    Channel::of(
        "Exchange",
        "full: match, change, activate",
        "order, trade, book change",
        "as above",
        Documented,
        "golden sessions",
    ),
    Channel::of("Exchange", "ticker", "quote", "none", Recorded, "a capture of 2021"),
    Channel::of("Exchange", "heartbeat", "none; tells of lost tails", "none", Recorded, "a recorded frame of 2017"),
    Channel::of("Exchange", "status", "instrument, status", "none", Documented, "golden sessions"),
    Channel::of("Exchange", "/products (REST)", "instrument", "none", Recorded, "a recorded body of 162 products"),
    Channel::of(
        "Advanced Trade",
        "level2",
        "snapshot, book change",
        "sequence_num of the whole connection, without holes; never crossed",
        Recorded,
        ALL,
    ),
    Channel::of("Advanced Trade", "market_trades", "trade", "trade ids contiguous, and sequence_num", Recorded, ALL),
    Channel::of("Advanced Trade", "ticker", "quote", "sequence_num", Recorded, ALL),
    Channel::of("Advanced Trade", "candles", "bar", "sequence_num", Recorded, ALL),
    Channel::of("Advanced Trade", "heartbeats", "none", "sequence_num", Recorded, ALL),
    Channel::of("Advanced Trade", "status", "instrument, status", "sequence_num", Documented, "golden sessions"),
    Channel::of(
        "Advanced Trade",
        "/market/products (REST)",
        "instrument",
        "none",
        Recorded,
        "a recorded body of 920 products",
    ),
];
