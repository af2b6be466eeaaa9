//! What a user may set for a venue, with defaults a trader would choose.

use model::StreamKind;
use serde::Deserialize;
use std::time::Duration;

/// So many of something within so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: u32,
    /// Within this time.
    pub per: Duration,
}

/// Settings that every venue shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Canonical symbols (`BTC-USD`) or the venue's own (`BTC/USD`, `BTCUSDT`). Empty: whatever arrives, as when
    /// captured frames are decoded.
    pub symbols: Vec<String>,
    /// The streams wanted of each symbol.
    pub streams: Vec<StreamKind>,
    /// Levels a side to subscribe to or fetch, where the venue offers a choice.
    pub book_depth: u32,
    /// Bar interval in seconds, where bars are wanted.
    pub bar_interval_s: u32,
    /// Levels a side of the periodic snapshots for late joiners.
    pub snapshot_depth: u32,
    /// How long a stream may be silent.
    pub stale_after: StaleAfter,
    /// Who we are at the venue, where it asks.
    pub credentials: Option<Credentials>,
}

/// Keys of an account at a venue. Shown to nobody: the `Debug` form hides all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key's id.
    pub key: String,
    /// The secret that belongs to it.
    pub secret: String,
    /// A third part, where the venue has one.
    pub passphrase: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials(<secret>)")
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            symbols: vec![],
            streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar],
            book_depth: 1000,
            bar_interval_s: 60,
            snapshot_depth: 1000,
            stale_after: StaleAfter::default(),
            credentials: None,
        }
    }
}

/// How long each kind of stream may be silent before it is called stale; 0 means for ever. Trades of a quiet symbol
/// may well be silent for hours, so they have no limit unless one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaleAfter {
    /// Seconds without a trade.
    pub trade_s: u32,
    /// Seconds without a book update.
    pub book_s: u32,
    /// Seconds without a quote.
    pub quote_s: u32,
    /// Seconds without a bar.
    pub bar_s: u32,
    /// Seconds of silence for which no book is called suspect, however fast the rhythm it had; 0: never for silence.
    pub book_rhythm_s: u32,
    /// Seconds without any frame, heartbeats included, after which the connection is given up.
    pub connection_s: u32,
}

impl Default for StaleAfter {
    fn default() -> StaleAfter {
        StaleAfter { trade_s: 0, book_s: 30, quote_s: 60, bar_s: 0, book_rhythm_s: 5, connection_s: 10 }
    }
}

impl StaleAfter {
    /// The least silence a book is called suspect for; `None` when it never is.
    pub fn rhythm_floor(&self) -> Option<Duration> {
        (self.book_rhythm_s > 0).then(|| Duration::from_secs(self.book_rhythm_s.into()))
    }

    /// The limit of a kind of stream; `None` when it may be silent for ever.
    pub fn limit(&self, stream: StreamKind) -> Option<Duration> {
        let seconds = match stream {
            StreamKind::Trade => self.trade_s,
            StreamKind::Book => self.book_s,
            StreamKind::Quote => self.quote_s,
            StreamKind::Bar => self.bar_s,
            StreamKind::Connection => self.connection_s,
            StreamKind::Order | StreamKind::Instrument => 0,
        };
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}
