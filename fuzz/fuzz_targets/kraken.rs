//! Hostile frames and answers for Kraken's machine.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::venue(model::Venue::Kraken, data));
