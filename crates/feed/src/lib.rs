//! Drives a venue machine over real sockets.
//!
//! [`runtime`] is the loop: bytes arrive, are stamped, stepped through the venue's session and published in the ring.
//! Around it stand the WebSocket codec, TCP and TLS streams, REST requests on a worker thread, and the pure rules of
//! when to try again and how often. One thread owns the hot path; it sleeps in [`transport::wait`] and nowhere else.
//! Knows nothing of storage but that [`capture`] wants a copy of what goes by.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod budget;
pub mod cpu;
mod epoch;
mod metrics;
mod quarantine;
pub mod rest;
pub mod runtime;
pub mod transport;
pub mod websocket;

pub use runtime::{Feed, FeedError, FeedOptions, Latest, Stop, Waiting};
