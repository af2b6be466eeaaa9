//! The channels taken, and by what each is proven.

use crate::Channel;
use crate::Maturity::{Documented, Emulated};

const EXAMPLES: &str = "example frames of documents and clients, JSON and MessagePack; the emulator's sessions";
const HAND: &str = "the documents' tables and frames of our own making; the emulator's sessions";

/// What is taken of Alpaca.
pub const CHANNELS: &[Channel] = &[
    Channel::of("stocks", "trades", "trade", "compared with REST; ids do not follow one another", Emulated, EXAMPLES),
    Channel::of("stocks", "quotes", "quote", "none", Emulated, EXAMPLES),
    Channel::of("stocks", "bars, updatedBars, dailyBars", "bar", "none", Emulated, EXAMPLES),
    Channel::of("stocks", "statuses", "instrument, status", "none", Emulated, EXAMPLES),
    Channel::of("stocks", "lulds", "price band", "none", Documented, HAND),
    Channel::of("stocks", "corrections, cancelErrors", "correction", "none", Documented, HAND),
    Channel::of("crypto", "trades", "trade", "compared with REST; ids do not follow one another", Emulated, EXAMPLES),
    Channel::of("crypto", "quotes", "quote", "compared with the top of the book, only counted", Emulated, EXAMPLES),
    Channel::of("crypto", "orderbooks", "snapshot, book change", "never crossed", Emulated, EXAMPLES),
    Channel::of("crypto", "bars, updatedBars, dailyBars", "bar", "none", Emulated, EXAMPLES),
];
