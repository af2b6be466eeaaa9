//! Alpaca's endpoints, limits and error codes, as its documentation and its own clients give them.
//!
//! | code | says | what follows here |
//! |---|---|---|
//! | 400 | invalid syntax (also: a symbol that cannot be) | the request is split; a symbol refused alone is told by name |
//! | 401 | not authenticated | another connection, backed off |
//! | 402 | auth failed | no login for five minutes: keys do not mend by themselves |
//! | 403 | already authenticated | counted; the session goes on |
//! | 404 | auth timeout | another connection, backed off |
//! | 405 | symbol limit exceeded | the request is split; what does not fit is told by name, the rest goes on |
//! | 406 | connection limit exceeded | another connection, backed off: the old session may linger |
//! | 407 | slow client | another connection, backed off |
//! | 408 | v2 not enabled (old documents) | no login for five minutes |
//! | 409 | insufficient subscription | no login for five minutes: the feed is not in the plan |
//! | 410 | invalid subscribe action for this feed | the stream is told as refused, the rest goes on |
//! | 411 | insufficient scope | no login for five minutes |
//! | 500 | internal error | another connection, backed off |
//! | other | | another connection, backed off |

use crate::{Limit, Spec};
use model::Venue;
use std::time::Duration;

/// The variables the keys come from, by the names the user knows.
pub const CREDENTIALS: &str = "ALPACA_API_KEY and ALPACA_API_SECRET";

/// Market data of both lines; the path says which.
pub const SPEC: Spec = Spec {
    venue: Venue::Alpaca,
    ws_url: "wss://stream.data.alpaca.markets",
    rest_url: "https://data.alpaca.markets",
    // One session an endpoint and account; attempts are not limited in writing. A dozen a minute serves both lines and
    // hammers nobody.
    connections: Limit { count: 12, per: Duration::from_secs(60) },
    // Not published. Requests go one by one, each after its answer.
    messages: Limit { count: 10, per: Duration::from_secs(1) },
    requests: Limit { count: 200, per: Duration::from_secs(60) },
    // Shares are silent at night. Sooner than this the venue is asked for a sign of life.
    silence_max: Duration::from_secs(30),
    // No cut is documented.
    connection_life: None,
    // A whole crypto book or the echo of thousands of symbols, times ten.
    deflate: true,
    frame_max: 16 << 20,
};

/// What an error of the venue means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request at hand is refused as a whole; parts of it may be fine.
    Split,
    /// The stream is not offered on this feed.
    NoSuchStream,
    /// Nothing follows.
    Harmless,
    /// The session is of no more use: another, after a while.
    Reconnect,
    /// Nothing that a new session could mend: another after a long while.
    Fatal,
}

/// The verdict on an error code.
pub fn verdict(code: u64) -> Verdict {
    match code {
        400 | 405 => Verdict::Split,
        410 => Verdict::NoSuchStream,
        403 => Verdict::Harmless,
        402 | 408 | 409 | 411 => Verdict::Fatal,
        _ => Verdict::Reconnect,
    }
}

/// "Symbol limit exceeded": what does not fit will not fit a moment later.
pub const SYMBOL_LIMIT: u64 = 405;
