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
];
