//! Sockets for the hot path: where to connect, how to trust the other end, and bytes in both directions.
//! [`Endpoint`] -> [`Dial`] on a helper thread (name lookup, TCP, TLS, WebSocket upgrade, all of which may block) ->
//! [`Stream`], non-blocking -> [`wait`] in the one loop that owns it.
//!
//! Knows nothing of frames, venues or retries.

mod connect;
mod endpoint;
mod poll;
mod stream;
mod tls;

pub use connect::{ConnectError, Dial, DialError, DialRequest, Dialed, connect};
pub use endpoint::{BadUrl, Endpoint, Scheme};
pub use poll::{Interest, PollFd, Waker, hung_up, readable, wait, watch, writable};
pub use stream::{PENDING_BYTES_MAX, Stream};
pub(crate) use tls::server_name;
pub use tls::{TlsClient, TlsError, TlsOptions, TlsServer};
