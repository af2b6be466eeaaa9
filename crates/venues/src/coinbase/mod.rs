//! Coinbase: two products around one matching engine, each with a protocol of its own.

pub mod advanced;
