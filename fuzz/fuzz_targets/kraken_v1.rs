//! Hostile frames and answers for Kraken's machine.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::venue_with(model::Venue::Kraken, &[("api", "v1")], data));
