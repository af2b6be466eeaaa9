//! Hostile JSON frames and answers for Alpaca's machine.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::venue(model::Venue::Alpaca, data));
