//! What an emulated venue is told at its start. Everything has a default but the venue and the session.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::faults::ScriptedFault;
use crate::market::Hours;
use crate::market::reference::InstrumentChange;
use crate::market::simulation::SimulatedPair;

/// The venues that can be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmulatedVenue {
    /// Kraken spot: WebSocket v2 on `/v2`, v1 on `/`, REST under `/0/public`.
    Kraken,
    /// Binance spot: WebSocket on `/ws` and `/stream`, REST under `/api/v3`.
    Binance,
    /// Coinbase: Exchange and Advanced Trade on one port. The first subscription's form chooses a connection's
    /// protocol, `channels` or `channel`; REST of Advanced is under `/api/v3/brokerage`, the rest is Exchange's.
    Coinbase,
    /// Alpaca: stocks on `/v2/iex`, `/v2/sip` and `/v2/test`, crypto on `/v1beta3/crypto/us`, REST on the same port.
    Alpaca,
}

impl EmulatedVenue {
    /// The name used in paths, flags and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kraken => "kraken",
            Self::Binance => "binance",
            Self::Coinbase => "coinbase",
            Self::Alpaca => "alpaca",
        }
    }
}

/// How fast a session is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many frames a second, when trades, quotes and batched book changes of all pairs are read.
    FramesPerSecond(u32),
    /// A recording's own rhythm, so many thousandths as fast: 1000 is as recorded, 10,000 ten times. A generated
    /// session has no rhythm of its own and takes 1000 as 100 frames a second.
    Thousandths(u32),
    /// As fast as the slowest client reads.
    FlatOut,
}

/// When a generated book tells its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookPace {
    /// As the venue does: Kraken, Alpaca and Coinbase's `level2` each change, Binance every 100 ms (and every second),
    /// Coinbase's `level2_batch` and Advanced Trade every 50 ms.
    Venue,
    /// After each change behind the touch, together with what happened at the touch since: the load mix of 50 % quotes,
    /// 30 % trades and 20 % small book updates.
    Batched,
}

/// A session made up from a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedSession {
    /// Same seed, same events.
    pub seed: u64,
    /// What is traded; empty: three pairs of the venue.
    pub pairs: Vec<SimulatedPair>,
    /// Pairs of two assets in all where `pairs` is empty: the venue's three and made-up ones; at most
    /// [`crate::INSTRUMENTS_MAX`]. Up to three: the venue's three.
    pub instruments: usize,
    /// Levels a side of each book, 20 to [`crate::LEVELS_MAX`]; over all instruments at most [`crate::LEVELS_SUM_MAX`].
    pub levels: usize,
    /// When books tell their changes.
    pub book_pace: BookPace,
    /// Whether there are bursts at 50 times the rate, of half a second every two minutes or so, and quiet spells of
    /// single instruments at a fiftieth; the mean rate is the same.
    pub lively: bool,
    /// Whether Alpaca's stock trades are marked by session (`T` outside New York's regular hours) and some are printed
    /// late, behind later ones (`Z`, `U`).
    pub tape: bool,
    /// When stocks are traded; their clock and calendar say so.
    pub hours: Hours,
    /// Listings, delistings and new ticks and lots at set times.
    pub changes: Vec<InstrumentChange>,
    /// Distance of further changes by the seed, of instruments beyond the first three; `None`: none.
    pub changes_every: Option<Duration>,
    /// Trades of each instrument that REST and snapshots serve, the latest ones; 1,000 to [`crate::TRADES_KEPT_MAX`].
    pub trades_kept: usize,
}

impl Default for GeneratedSession {
    fn default() -> Self {
        Self {
            seed: 1,
            pairs: Vec::new(),
            instruments: 0,
            levels: 250,
            book_pace: BookPace::Venue,
            lively: false,
            tape: false,
            hours: Hours::Always,
            changes: Vec::new(),
            changes_every: None,
            trades_kept: 20_000,
        }
    }
}

/// Whether a recording's times are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// As recorded.
    Recorded,
    /// So that a frame is as old when it is sent as it was when it was recorded.
    Now,
}

/// A recorded session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSession {
    /// Files or folders: `*.jsonl[.gz]` with `*.recv.tsv[.gz]`, `*.depth_snapshot.jsonl` and `*.http.jsonl[.gz]` beside.
    /// A file stands for all whose names share its first part (up to the first point); a folder for all in it. Several
    /// are merged by receive time.
    pub paths: Vec<PathBuf>,
    /// Whether times are moved to now.
    pub times: Times,
    /// How often the session may be served from its start; `None`: without end. Each pass ends by closing every
    /// connection; ids of the next are larger.
    pub passes: Option<u64>,
}

/// Where the frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Session {
    /// Made up from a seed.
    Generated(GeneratedSession),
    /// Replayed from files.
    Recorded(RecordedSession),
}

/// What is written down of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalOptions {
    /// Counts and a running CRC-32 per connection, in [`crate::Stats`].
    Counts,
    /// Every frame and REST answer, in files in this folder, which is made if need be.
    Folder(PathBuf),
}

/// Certificate and key to serve TLS with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Whose account a venue with keys knows, and what its plan allows. The keys guard nothing and may be published.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Public half of the key.
    pub key: String,
    /// Secret half; Coinbase's is base64.
    pub secret: String,
    /// Coinbase Exchange's passphrase.
    pub passphrase: String,
    /// Whether Alpaca's consolidated feed is in the plan; without it `/v2/sip` fails with 409.
    pub sip: bool,
    /// Most symbols over Alpaca's trades and quotes of a connection; more fail with 405. `None`: no limit.
    pub symbols_max: Option<usize>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            key: "ALPHAPULSE-EMULATOR".to_owned(),
            secret: "YWxwaGFwdWxzZS10ZXN0LXNlY3JldA==".to_owned(),
            passphrase: "emulator".to_owned(),
            sip: true,
            symbols_max: None,
        }
    }
}

impl std::fmt::Debug for Account {
    /// Without the secrets: somebody may have put real ones here.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("sip", &self.sip)
            .field("symbols_max", &self.symbols_max)
            .finish_non_exhaustive()
    }
}

/// The venue's own limits, adjustable so that tests need not wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more are answered with status 503.
    pub connections: usize,
    /// Binance pings this often.
    pub ping_every: Duration,
    /// Binance gives up on a client that did not answer a ping for so long.
    pub pong_within: Duration,
    /// Binance cuts each connection at this age.
    pub connection_age: Duration,
    /// Binance's messages a second and connection; more end it with code 1008.
    pub messages_per_s: usize,
    /// Kraken closes a connection without traffic after this time.
    pub idle: Duration,
    /// Kraken sends a heartbeat after so much silence.
    pub heartbeat: Duration,
    /// Binance's request weight a minute.
    pub weight_per_minute: u32,
    /// Coinbase's REST requests a second and address; half as many more may come at once.
    pub requests_per_s: u32,
    /// Alpaca's REST requests a minute and address.
    pub requests_per_minute: u32,
    /// Coinbase wants the first subscription within this time.
    pub subscribe_within: Duration,
    /// Alpaca wants the login within this time.
    pub auth_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            ping_every: Duration::from_secs(20),
            pong_within: Duration::from_secs(60),
            connection_age: Duration::from_secs(24 * 3600),
            messages_per_s: 5,
            idle: Duration::from_secs(60),
            heartbeat: Duration::from_secs(1),
            weight_per_minute: 6000,
            requests_per_s: 10,
            requests_per_minute: 200,
            subscribe_within: Duration::from_secs(5),
            auth_within: Duration::from_secs(10),
        }
    }
}

/// Everything a [`crate::Server`] is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose protocol is spoken.
    pub venue: EmulatedVenue,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `None` serves plain HTTP and WebSocket.
    pub tls: Option<TlsIdentity>,
    /// What is served.
    pub session: Session,
    /// How fast.
    pub rate: Rate,
    /// What is written down.
    pub journal: JournalOptions,
    /// Faults at set times after the start, as [`crate::parse_script`] reads them.
    pub script: Vec<ScriptedFault>,
    /// Where to listen for commands: a Unix socket; `None`: nowhere.
    pub control: Option<PathBuf>,
    /// Limits.
    pub limits: Limits,
    /// Whether messages and REST answers are compressed for clients that offer it.
    pub deflate: bool,
    /// The account of venues that ask for keys.
    pub account: Account,
}

impl Options {
    /// A generated session at 100 frames a second on a free port of the loopback, plain, counted only.
    pub fn new(venue: EmulatedVenue) -> Self {
        Self {
            venue,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            session: Session::Generated(GeneratedSession::default()),
            rate: Rate::FramesPerSecond(100),
            journal: JournalOptions::Counts,
            script: Vec::new(),
            control: None,
            limits: Limits::default(),
            deflate: false,
            account: Account::default(),
        }
    }
}
