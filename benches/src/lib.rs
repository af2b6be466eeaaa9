//! Benchmarks beside their references, interleaved in one run.
