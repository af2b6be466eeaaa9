//! The raw capture: every frame byte for byte in both directions, in hourly files that any language can read.

#![forbid(unsafe_code)]
