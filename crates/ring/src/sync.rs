//! The one place that decides whose atomics the protocol uses: the machine's, or loom's when a model is checked.
//! Protocol code imports from here only, so that what loom proves is the code that ships.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
