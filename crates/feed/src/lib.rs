//! Drives a venue machine over real sockets.
//!
//! The transport half stands here: the WebSocket codec, TCP and TLS streams, REST requests on a worker thread, and
//! the pure rules of when to try again and how often. One thread owns the hot path; it sleeps in [`transport::wait`]
//! and nowhere else. Knows nothing of storage.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod budget;
pub mod rest;
pub mod transport;
pub mod websocket;
