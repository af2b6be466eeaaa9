//! What a process tells about itself: logs, metrics, latency histograms, and the clock it measures them with.
//!
//! Metrics are plain atomics: counting is one relaxed add, never a lock. They are rendered in the Prometheus text
//! format by whoever serves them. Knows nothing of markets.
#![forbid(unsafe_code)]

pub mod clock;
mod histogram;
pub mod log;
mod registry;

pub use histogram::Histogram;
pub use registry::{Counter, Gauge, Registry};
