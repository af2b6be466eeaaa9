//! A file system for tests that loses what was not synced, tears sectors, fails fsync, fills up and stalls on demand.

#![forbid(unsafe_code)]
