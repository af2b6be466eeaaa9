//! Hostile frames and answers for Coinbase Advanced Trade's machines: one that learns what arrives, and one configured,
//! which asks for products and mends its books.
#![no_main]

use model::StreamKind;
use venues::Settings;
use venues::coinbase::advanced;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let make = |settings: &Settings| advanced::machine(settings, &[]).expect("the settings are in order");
    fuzz::machine(|| make(&Settings::default()), data);
    let symbols = vec!["BTC-USD".to_owned(), "ETH-USDC".to_owned()];
    let streams = vec![StreamKind::Trade, StreamKind::Book];
    let configured = Settings { symbols, streams, ..Settings::default() };
    fuzz::machine(|| make(&configured), data);
});
