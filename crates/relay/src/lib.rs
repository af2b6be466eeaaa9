//! Fan-out: from the rings to any number of subscribers, in this process, over a Unix socket, or on other machines.
//! rings -> [`Server`] -> batches on sockets -> [`Client`] -> records; or rings -> [`Client`] -> the same records; or
//! another machine's relay -> [`Bridge`] -> rings here that hold the same records under the same names. Records ->
//! [`Books`] or [`Consolidation`] -> the books a consumer holds.
//!
//! The relay is a reader of the rings without state of its own: one cursor per client straight into them, no queue,
//! so a slow client costs nobody anything and a restart loses nothing that the rings still hold. The socket's bytes
//! are drawn in `docs/relay.md`. Knows nothing of venues' protocols.
#![forbid(unsafe_code)]

mod ask;
mod books;
mod bridge;
mod client;
mod cursor;
mod filter;
mod handshake;
mod history;
mod index;
mod link;
mod path;
mod rings;
mod server;
mod subscription;
pub mod table;
mod tls;
mod token;

pub use books::{Books, Consolidation, ConsolidationError, ConsolidationOptions};
pub use bridge::{Bridge, BridgeError, BridgeOptions, BridgeStats, BridgedVenue};
pub use client::{Client, ClientError, ClientOptions, Delivery, Reconnect, SILENCE_DEFAULT, Source, TcpSource, Trust};
pub use handshake::{ANSWER_BYTES_MAX, Answer, HELLO_BYTES_MAX, Hello, PROTOCOL_VERSION, RingAnswer};
pub use path::{SOCKET_PATH_MAX, SocketPathError};
pub use server::{
    CLIENTS_MAX_DEFAULT, ClientStats, DEAD_AFTER_DEFAULT, Identity, RingStats, Server, ServerError, ServerOptions,
    Stats, StatsHandle, TcpOptions,
};
pub use subscription::{
    Position, SYMBOL_BYTES_MAX, SYMBOLS_MAX, Slow, Snapshots, Start, Subscription, SubscriptionError,
};
pub use tls::TlsError;
pub use token::{TOKEN_BYTES_MAX, TOKEN_BYTES_MIN, Token, TokenError};

/// What to say about symbols nobody has defined.
fn warn_of_unknown(unknown: &[String], asked: &[String]) -> Option<String> {
    if unknown.is_empty() {
        return None;
    }
    let all = if unknown.len() == asked.len() { "none of the symbols asked for" } else { "these symbols" };
    let named = unknown.iter().take(WARNED_SYMBOLS_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if unknown.len() > WARNED_SYMBOLS_MAX { ", …" } else { "" };
    let verb = if all.starts_with("none") { "is" } else { "are not" };
    Some(format!("{all} {verb} known (yet): {named}{more}; they come once a feed defines them"))
}

/// Symbols named in a warning; the full list stands beside it.
const WARNED_SYMBOLS_MAX: usize = 16;
