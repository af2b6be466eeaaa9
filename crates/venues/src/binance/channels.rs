//! The channels taken, and by what each is proven. Binance.US is the same machine at another address.

use crate::Channel;
use crate::Maturity::{Documented, Recorded};

const CAPTURES: &str = "captures of 2021 and 2024";

/// What is taken of Binance.
pub const CHANNELS: &[Channel] = &[
    Channel::of("", "trade", "trade", "trade ids contiguous", Recorded, "captures of 2024: every id"),
    Channel::of("", "aggTrade", "trade", "aggregate ids contiguous", Recorded, "captures of 2021: every id"),
    Channel::of(
        "",
        "depth@100ms, depth",
        "snapshot, book change",
        "U follows u, bridged to the REST snapshot; never crossed",
        Recorded,
        CAPTURES,
    ),
    Channel::of("", "bookTicker", "quote", "none", Recorded, CAPTURES),
    Channel::of("", "kline_<interval>", "bar", "none", Recorded, "captures of 2021"),
    Channel::of("", "exchangeInfo (REST)", "instrument", "none", Recorded, "a recorded body"),
    Channel::of("", "serverShutdown", "none; another connection", "none", Documented, "no capture has one"),
];
