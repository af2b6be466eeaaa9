//! The channels taken, and by what each is proven.

use crate::Channel;
use crate::Maturity::{Emulated, Recorded};

const SINGLE: &str = "recorded single frames; the emulator's sessions";

/// What is taken of Kraken.
pub const CHANNELS: &[Channel] = &[
    Channel::of("v2", "instrument", "instrument, status", "none", Recorded, "a recorded snapshot of all pairs"),
    Channel::of("v2", "trade", "trade", "trade ids contiguous", Emulated, SINGLE),
    Channel::of(
        "v2",
        "book",
        "snapshot, book change",
        "CRC-32 of the ten best levels, with every message",
        Recorded,
        "captures of depth 25: all checksums of two instruments",
    ),
    Channel::of("v2", "ticker", "quote", "none", Emulated, SINGLE),
    Channel::of("v2", "ohlc", "bar", "none", Emulated, SINGLE),
    Channel::of("v2", "status, heartbeat", "status", "none", Recorded, "captures of the book channel"),
    Channel::of("v1", "AssetPairs (REST)", "instrument, status", "none", Emulated, "the conformance suite's venue"),
    Channel::of("v1", "trade", "trade", "none: no ids", Recorded, "a capture of ten pairs"),
    Channel::of(
        "v1",
        "book",
        "snapshot, book change",
        "CRC-32 of the ten best levels, with every update",
        Recorded,
        "a capture of depth 1000: all checksums of ten pairs",
    ),
    Channel::of("v1", "spread, ticker", "quote", "none", Recorded, "a capture of tickers; a single frame of spreads"),
    Channel::of("v1", "ohlc", "bar", "none", Emulated, "a recorded single frame"),
    Channel::of("v1", "systemStatus, heartbeat", "status", "none", Recorded, "captures of the other channels"),
];
