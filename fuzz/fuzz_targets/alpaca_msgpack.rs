//! Hostile MessagePack frames for Alpaca's machine.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::packed(model::Venue::Alpaca, data));
