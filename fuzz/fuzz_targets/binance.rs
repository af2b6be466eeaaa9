//! Hostile frames and answers for Binance's machine.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::venue(model::Venue::Binance, data));
