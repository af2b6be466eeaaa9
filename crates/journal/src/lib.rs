//! The journal: append-only checksummed segments of record batches, group commit with named acknowledgement levels,
//! recovery bounded by checkpoints, indexes, retention. The only truth; every store is a view of it.

#![forbid(unsafe_code)]
