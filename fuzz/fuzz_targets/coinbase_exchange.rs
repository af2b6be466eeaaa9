//! Hostile frames and answers for Coinbase's machine, as Exchange until a frame of Advanced Trade is recognised.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::venue(model::Venue::Coinbase, data));
