//! HTTP and WebSocket doors for browsers, scripts and people: the JSON form of the records, live.
//! rings or a relay -> [`Server`] -> `/v1/stream` (WebSocket), `/v1/instruments`, `/metrics`, `/healthz`, `/`.
//!
//! It listens on loopback only: nobody is asked who they are. A web page of another site that the user has open can
//! reach loopback too, so every request must name this server in `Host` and, if it has an `Origin`, come from a
//! loopback page. Knows nothing of venues' protocols.
//!
//! What is said on the stream is drawn in `docs/stream.md`: one subscription a connection, requests and answers as JSON
//! texts, then one [`wire::json::Line`] a message. A client that reads too slowly is never waited for: its place in the
//! ring is overwritten, and an `overrun` line says exactly what it missed.
#![forbid(unsafe_code)]

mod guard;
mod http;
mod known;
mod limits;
mod listener;
mod metrics;
mod protocol;
mod reader;
mod server;
mod stream;

pub use limits::{CONNECTIONS_MAX, REQUEST_BYTES_MAX, STREAMS_MAX};
pub use server::{GatewayError, GatewayOptions, Handle, Server};
