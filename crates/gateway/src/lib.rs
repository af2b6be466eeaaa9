//! HTTP and WebSocket doors for browsers, scripts and people: the JSON form of the records, live.
//! rings or a relay -> [`Server`] -> `/v1/stream` (WebSocket), `/v1/instruments`, `/metrics`, `/healthz`, `/`.
//!
//! It listens on loopback only: nobody is asked who they are. A web page of another site that the user has open can
//! reach loopback too, so every request must name this server in `Host` and, if it has an `Origin`, come from a
//! loopback page. Knows nothing of venues' protocols.
//!
//! # The stream
//!
//! One WebSocket carries one subscription at a time; another `subscribe` replaces it, and no line of the old one comes
//! after its answer. Requests are text messages:
//!
//! ```json
//! {"op":"subscribe","id":1,"venues":["kraken"],"symbols":["BTC-USD"],"types":["trade","book"],"from":"now"}
//! {"op":"unsubscribe","id":2}
//! {"op":"ping","id":3}
//! ```
//!
//! `id` is a number of the client's choice, echoed in the answer; it may be left out. The other fields of `subscribe`
//! are those of [`relay::Subscription`]; none of them means everything from now on. Answers:
//!
//! ```json
//! {"type":"subscribed","id":1,"unknown_symbols":[],"warnings":[]}
//! {"type":"unsubscribed","id":2}
//! {"type":"pong","id":3}
//! {"type":"error","id":1,"message":"no venue is called \"krakn\"; …"}
//! ```
//!
//! Then every line of [`wire::json::Line`], one text message each. An error leaves the connection open; an error about
//! the running subscription carries its id. A client that reads too slowly is never waited for: its place in the ring
//! is overwritten, an `overrun` line says exactly what it missed, and definitions and books follow anew. (A book event
//! of which only a part was read before that is not told.)
//!
//! The server closes with 1001 when it stops, 1008 when a client is silent for too long, 1009 when a request is too
//! long.
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
