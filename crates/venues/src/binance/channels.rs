//! The channels taken of Binance and of Binance.US, and by what each is proven.

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

const US_CAPTURE: &str = "a capture of 2021, ten symbols";

/// What is taken of Binance.US.
pub const US_CHANNELS: &[Channel] = &[
    Channel::of("", "trade", "trade", "trade ids contiguous", Documented, "the same machine as Binance's"),
    Channel::of("", "aggTrade", "trade", "aggregate ids contiguous", Recorded, US_CAPTURE),
    Channel::of(
        "",
        "depth@100ms, depth",
        "snapshot, book change",
        "U follows u, bridged to the REST snapshot; never crossed",
        Recorded,
        US_CAPTURE,
    ),
    Channel::of("", "bookTicker", "quote", "none", Recorded, US_CAPTURE),
    Channel::of("", "kline_<interval>", "bar", "none", Documented, "the same machine as Binance's"),
    Channel::of("", "exchangeInfo (REST)", "instrument", "none", Documented, "the same machine as Binance's"),
];
