//! The configuration: one TOML file, environment variables over it, flags over that. An unknown key is an error that
//! names the nearest known one.

use anyhow::{Context, bail};
use book::consolidated::{Fee, Groups};
use model::{Decimal, StreamKind, Venue};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use venues::{Credentials, MachineError, Settings, StaleAfter};

/// Environment variables that begin like this set configuration keys: `ALPHAPULSE_GATEWAY__LISTEN` is
/// `gateway.listen`.
pub const ENV_PREFIX: &str = "ALPHAPULSE_";
/// Environment variables that hold an account's keys at a venue: key, secret, passphrase (empty: the venue has none).
/// They are no configuration keys: they are never shown, written to a file or logged.
const CREDENTIALS: [(Venue, [&str; 3]); 2] = [
    (Venue::Alpaca, ["ALPACA_API_KEY", "ALPACA_API_SECRET", ""]),
    (Venue::Coinbase, ["COINBASE_API_KEY", "COINBASE_API_SECRET", "COINBASE_API_PASSPHRASE"]),
];
/// Base of Alpaca's REST interface, used unless `venues.alpaca.rest_url` says otherwise. Set to the trading interface
/// (`https://paper-api.alpaca.markets`, `https://api.alpaca.markets`), as clients that send orders want it, it does not
/// concern market data, which is served elsewhere.
const ALPACA_BASE_URL: &str = "ALPACA_BASE_URL";
/// How the trading interface's hosts end.
const ALPACA_TRADING_HOST: &str = "api.alpaca.markets";
/// A connection renewed more often than this would spend its life waiting for its books.
const RENEW_S_MIN: u32 = 5;
/// Variables with the prefix that are no configuration keys: where the file is, and what only tests read.
const ENV_RESERVED: [&str; 2] = ["ALPHAPULSE_CONFIG", "ALPHAPULSE_TEST_"];

/// Everything that can be configured, with the defaults of a first start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names this machine in the records.
    pub site: String,
    /// Where things are kept.
    pub paths: Paths,
    /// Logs.
    pub log: Log,
    /// The shared-memory rings.
    pub ring: Ring,
    /// The relay.
    pub relay: Relay,
    /// Other machines whose rings are repeated here, by a name of your choice.
    pub bridge: BTreeMap<String, BridgeConfig>,
    /// The recorder: from the rings into the journal.
    pub recorder: Recorder,
    /// The journal.
    pub journal: Journal,
    /// The Parquet files made of the journal.
    pub parquet: Parquet,
    /// The gateway.
    pub gateway: Gateway,
    /// Metrics of each process.
    pub metrics: Metrics,
    /// Raw captures of what venues send.
    pub capture: CaptureConfig,
    /// Certificates to trust beside the public ones.
    pub tls: Tls,
    /// Waits between connection attempts.
    pub reconnect: Reconnect,
    /// How venues' books are put together.
    pub consolidated: ConsolidatedConfig,
    /// The venues, by name.
    pub venues: BTreeMap<String, VenueConfig>,
    /// The emulators of the demo, by venue.
    pub emulator: BTreeMap<String, EmulatorConfig>,
}

/// Where things are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Folder of the rings: shared memory.
    pub rings: PathBuf,
    /// Folder of what must survive a restart.
    pub state: PathBuf,
    /// Folder of the journal; empty: `journal` in the state folder.
    pub journal: PathBuf,
    /// Folder of the Parquet files; empty: `parquet` in the state folder.
    pub parquet: PathBuf,
}

/// Logs go to standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `human` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,feed=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// For machines.
    Json,
}

/// The rings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ring {
    /// Slots of 64 bytes in each venue's ring, a power of two.
    pub slots: u64,
}

/// The relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relay {
    /// Path of its Unix socket; empty: `relay.sock` in the state folder.
    pub socket: PathBuf,
    /// Whether and how it serves other machines.
    pub tcp: RelayTcp,
}

/// The relay's door for other machines. Beyond loopback it opens only with certificate, key and token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayTcp {
    /// Address to listen on, such as `0.0.0.0:7443`; empty: no door.
    pub listen: String,
    /// Certificate chain (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// File with the token that clients must know; nobody but its owner may read it.
    pub token_file: PathBuf,
    /// Seconds a client's machine may leave bytes unacknowledged, or take none, before it is given up.
    pub dead_after_s: u32,
}

/// The recorder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recorder {
    /// Whether `up` starts it.
    pub enabled: bool,
    /// Microseconds in which records are collected for one sync; 0: each round of draining is synced by itself.
    pub window_us: u64,
    /// MiB of records that wait in memory while the disk is slow, before the rings are left to overwrite them.
    pub spill_mib: usize,
}

/// The journal. The oldest segments go when it has more bytes or age than this, but none that a sink still needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// MiB of a segment.
    pub segment_mib: u64,
    /// MiB kept, at least; 0: without bound.
    pub retain_mib: u64,
    /// Hours kept, at least; 0: without bound.
    pub retain_hours: u64,
    /// Whether the bounds hold even where a sink still needs what would go: it then misses that, which is said.
    pub retain_force: bool,
}

/// The Parquet files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parquet {
    /// Whether they are made.
    pub enabled: bool,
    /// A part of an hour is whole, and can be queried, so many seconds after its first record at the latest; in the demo
    /// 10 at most.
    pub part_s: u32,
    /// Level of zstd, 1 to 22.
    pub zstd_level: i32,
}

/// One other machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeConfig {
    /// Its relay, as `host:port`.
    pub address: String,
    /// The name in its certificate, if it is not the address's host.
    pub server_name: String,
    /// Certificates to trust (PEM), and no others; empty: in the clear, on loopback only.
    pub ca: PathBuf,
    /// File with the relay's token; nobody but its owner may read it.
    pub token_file: PathBuf,
    /// The venues to repeat; no feed of this machine may write them.
    pub venues: Vec<String>,
    /// Seconds of silence after which the link is taken for cut.
    pub silence_s: u32,
}

/// The gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Address to listen on; beyond loopback only with certificate, key, names and a user.
    pub listen: String,
    /// Certificate chain (PEM) to serve TLS with; empty: plain HTTP, on loopback only.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Names by which clients call it beside loopback's, with the port unless it is 443: `plant.example.org:7400`.
    pub names: Vec<String>,
}

/// Metrics of each process, for Prometheus.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Host each process listens on.
    pub host: String,
    /// The first port; each role has a fixed distance from it. 0 takes any free port.
    pub base_port: u16,
}

/// Raw captures: every frame and answer, byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Whether feeds capture.
    pub enabled: bool,
    /// The folder, with one in it for each venue; empty: `capture` in the state folder.
    pub path: PathBuf,
    /// Captures older than so many hours are deleted; 0: never for their age.
    pub keep_hours: u64,
    /// Bytes kept of each venue, above which the oldest compressed captures are deleted; 0: no bound.
    pub keep_bytes: u64,
}

/// Trust.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM files of root certificates.
    pub extra_roots: Vec<PathBuf>,
}

/// Waits between connection attempts: exponential with full jitter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconnect {
    /// Bound of the first jittered wait in milliseconds.
    pub base_ms: u64,
    /// Bound that the doubling never passes, in milliseconds.
    pub cap_ms: u64,
}

/// How venues' books of a pair are put together by `alphapulse book --consolidated`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsolidatedConfig {
    /// Quote currencies that are taken for the same, such as `USD+USDT, EUR+EURC`; empty: none.
    pub groups: String,
    /// What a taker pays, in basis points as text (`"10"`, `"7.5"`), by venue; below zero where the venue pays. Venues that
    /// are not named: nothing.
    pub fees: BTreeMap<String, String>,
}

/// One venue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VenueConfig {
    /// Whether `up` starts a feed for it.
    pub enabled: bool,
    /// WebSocket endpoint; empty: the venue's own.
    pub ws_url: String,
    /// WebSocket endpoint of a pair's second connection; empty: the same as the first one's.
    pub ws_url_b: String,
    /// Whether two connections carry the same instruments, so that losing one costs nothing.
    pub pair: bool,
    /// Seconds after which a connection is replaced by a new one, without a gap; 0: in time before the venue cuts it,
    /// where it does.
    pub renew_s: u32,
    /// The processor (counted from 0) that the feed's thread is kept on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<usize>,
    /// REST base; empty: the venue's own.
    pub rest_url: String,
    /// Symbols, canonical or in the venue's spelling.
    pub symbols: Vec<String>,
    /// `trade`, `book`, `quote`, `bar`.
    pub streams: Vec<String>,
    /// Levels a side to subscribe to or fetch.
    pub book_depth: u32,
    /// Interval of the venue's bars in seconds.
    pub bar_interval_s: u32,
    /// Levels a side of the snapshots for late joiners.
    pub snapshot_depth: u32,
    /// Each instrument is told again for late joiners at least this often, in seconds.
    pub refresh_s: u32,
    /// Whether the feed burns a core for latency.
    pub spin: bool,
    /// Whether compression of messages is offered; absent: where the venue is known to do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate: Option<bool>,
    /// Silences that are not normal.
    pub stale_after: StaleConfig,
    /// The venue's own documented choices.
    pub choices: BTreeMap<String, String>,
    /// Keys of the account there, from the environment only.
    #[serde(skip)]
    pub credentials: Option<Credentials>,
}

/// Seconds of silence after which a stream is stale; 0: never.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaleConfig {
    /// Without a trade.
    pub trade_s: u32,
    /// Without a book update.
    pub book_s: u32,
    /// Without a quote.
    pub quote_s: u32,
    /// Without a bar.
    pub bar_s: u32,
    /// Seconds of silence for which no book is called suspect, however fast its rhythm was; 0: never for silence.
    pub book_rhythm_s: u32,
    /// Without any frame.
    pub connection_s: u32,
}

/// The emulator of one venue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmulatorConfig {
    /// Where it listens.
    pub listen: String,
    /// Seed of the generated session.
    pub seed: u64,
    /// Pairs of the generated session, made-up ones beside the venue's own three; 0: the venue's own.
    pub instruments: usize,
    /// Levels a side of its books.
    pub levels: usize,
    /// Trades of each instrument that its REST interface serves.
    pub trades_kept: usize,
    /// Whether the generated session has bursts at 50 times the rate and quiet spells.
    pub lively: bool,
    /// Whether Alpaca's stock trades are marked by session and some printed late.
    pub tape: bool,
    /// Whether Alpaca's stocks keep the hours of New York's exchanges: nothing is traded outside, and its clock and
    /// calendar say so.
    pub exchange_hours: bool,
    /// Seconds between two listings, delistings or changes of tick or lot; 0: none.
    pub changes_every_s: u64,
    /// Frames a second of the generated session.
    pub frames_per_second: u32,
    /// Whether books tell their changes in the mix of the load test: 50 % quotes, 30 % trades, 20 % book updates.
    pub load_mix: bool,
    /// Folder for the journal of what it sent; empty: none.
    pub journal: PathBuf,
    /// Whether it serves TLS under a certificate of its own, made in the state folder at the first run.
    pub tls: bool,
    /// Certificate chain to serve TLS with instead (PEM); empty: plain, unless `tls` says otherwise.
    pub tls_certificate: PathBuf,
    /// Its private key (PEM).
    pub tls_key: PathBuf,
    /// Whether messages are compressed for clients that offer it.
    pub deflate: bool,
    /// Script of faults (TOML); empty: none.
    pub faults: PathBuf,
    /// Unix socket for faults on demand; empty: none.
    pub control: PathBuf,
}

impl Default for Config {
    fn default() -> Config {
        let state = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        Config {
            site: "local".to_owned(),
            paths: Paths {
                rings: PathBuf::from("/dev/shm/alphapulse"),
                state: state.unwrap_or_else(std::env::temp_dir).join("alphapulse"),
                journal: PathBuf::new(),
                parquet: PathBuf::new(),
            },
            log: Log::default(),
            ring: Ring::default(),
            relay: Relay::default(),
            bridge: BTreeMap::new(),
            recorder: Recorder::default(),
            journal: Journal::default(),
            parquet: Parquet::default(),
            gateway: Gateway::default(),
            metrics: Metrics::default(),
            capture: CaptureConfig::default(),
            tls: Tls::default(),
            reconnect: Reconnect::default(),
            consolidated: ConsolidatedConfig::default(),
            venues: BTreeMap::from([
                venue(Venue::Kraken, &["BTC-USD", "ETH-USD", "SOL-USD"]),
                venue(Venue::Binance, &["BTC-USDT", "ETH-USDT", "SOL-USDT"]),
                venue(Venue::Coinbase, &["BTC-USD", "ETH-USD"]),
                venue(Venue::Alpaca, &["AAPL", "SPY", "BTC-USD"]),
            ]),
            emulator: BTreeMap::from([
                emulator(Venue::Kraken, 7411),
                emulator(Venue::Binance, 7412),
                emulator(Venue::Coinbase, 7413),
                emulator(Venue::Alpaca, 7414),
                emulator(Venue::BinanceUs, 7415),
            ]),
        }
    }
}

fn venue(venue: Venue, symbols: &[&str]) -> (String, VenueConfig) {
    let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    (venue.name().to_owned(), VenueConfig { symbols, ..VenueConfig::default() })
}

fn emulator(venue: Venue, port: u16) -> (String, EmulatorConfig) {
    let listen = format!("127.0.0.1:{port}");
    (venue.name().to_owned(), EmulatorConfig { listen, ..EmulatorConfig::default() })
}

impl Default for Paths {
    fn default() -> Paths {
        Config::default().paths
    }
}
impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Human, level: "info".to_owned() }
    }
}
impl Default for Ring {
    fn default() -> Ring {
        Ring { slots: 1 << 18 }
    }
}
impl Default for Relay {
    fn default() -> Relay {
        Relay { socket: PathBuf::new(), tcp: RelayTcp::default() }
    }
}
impl Default for RelayTcp {
    fn default() -> RelayTcp {
        RelayTcp {
            listen: String::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            token_file: PathBuf::new(),
            dead_after_s: relay::DEAD_AFTER_DEFAULT.as_secs() as u32,
        }
    }
}
impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { enabled: true, window_us: 1000, spill_mib: 64 }
    }
}
impl Default for Journal {
    fn default() -> Journal {
        Journal { segment_mib: 64, retain_mib: 8192, retain_hours: 0, retain_force: false }
    }
}
impl Default for Parquet {
    fn default() -> Parquet {
        Parquet { enabled: true, part_s: 60, zstd_level: 1 }
    }
}
impl Default for BridgeConfig {
    fn default() -> BridgeConfig {
        BridgeConfig {
            address: String::new(),
            server_name: String::new(),
            ca: PathBuf::new(),
            token_file: PathBuf::new(),
            venues: vec![],
            silence_s: relay::SILENCE_DEFAULT.as_secs() as u32,
        }
    }
}
impl Default for Gateway {
    fn default() -> Gateway {
        Gateway { listen: "127.0.0.1:7400".to_owned(), certificate: PathBuf::new(), key: PathBuf::new(), names: vec![] }
    }
}
impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { host: "127.0.0.1".to_owned(), base_port: 7420 }
    }
}
impl Default for CaptureConfig {
    fn default() -> CaptureConfig {
        CaptureConfig { enabled: true, path: PathBuf::new(), keep_hours: 7 * 24, keep_bytes: 4 << 30 }
    }
}
impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect { base_ms: 500, cap_ms: 60_000 }
    }
}
impl Default for VenueConfig {
    fn default() -> VenueConfig {
        let s = Settings::default();
        VenueConfig {
            enabled: true,
            ws_url: String::new(),
            ws_url_b: String::new(),
            pair: false,
            renew_s: 0,
            cpu: None,
            rest_url: String::new(),
            symbols: vec![],
            streams: s.streams.iter().map(|k| k.name().to_owned()).collect(),
            book_depth: s.book_depth,
            bar_interval_s: s.bar_interval_s,
            snapshot_depth: s.snapshot_depth,
            refresh_s: 30,
            spin: false,
            deflate: None,
            stale_after: StaleConfig::default(),
            choices: BTreeMap::new(),
            credentials: None,
        }
    }
}
impl Default for StaleConfig {
    fn default() -> StaleConfig {
        let StaleAfter { trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s } = StaleAfter::default();
        StaleConfig { trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s }
    }
}
impl Default for EmulatorConfig {
    fn default() -> EmulatorConfig {
        EmulatorConfig {
            listen: "127.0.0.1:0".to_owned(),
            seed: 1,
            instruments: 0,
            levels: emulator::GeneratedSession::default().levels,
            trades_kept: emulator::GeneratedSession::default().trades_kept,
            lively: false,
            tape: false,
            exchange_hours: false,
            changes_every_s: 0,
            frames_per_second: 200,
            load_mix: false,
            journal: PathBuf::new(),
            tls: false,
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            deflate: false,
            faults: PathBuf::new(),
            control: PathBuf::new(),
        }
    }
}

impl VenueConfig {
    /// What the venue's machine is told.
    pub fn settings(&self, venue: Venue) -> anyhow::Result<Settings> {
        let stream = |name: &String| match StreamKind::from_name(name) {
            Some(k) if !matches!(k, StreamKind::Instrument | StreamKind::Connection) => Ok(k),
            _ => bail!(
                "venues.{venue}.streams: there is no stream {name:?}; there are trade, book, quote, bar and order"
            ),
        };
        let StaleConfig { trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s } = self.stale_after;
        if self.symbols.is_empty() {
            bail!("venues.{venue}.symbols is empty; name at least one, such as \"BTC-USD\"");
        }
        Ok(Settings {
            symbols: self.symbols.clone(),
            streams: self.streams.iter().map(stream).collect::<anyhow::Result<_>>()?,
            book_depth: self.book_depth,
            bar_interval_s: self.bar_interval_s,
            snapshot_depth: self.snapshot_depth,
            stale_after: StaleAfter { trade_s, book_s, quote_s, bar_s, book_rhythm_s, connection_s },
            credentials: self.credentials.clone(),
        })
    }

    /// Checks what concerns connections: that they can be had.
    fn check(&self, venue: Venue) -> anyhow::Result<()> {
        if let Some(cpu) = self.cpu.filter(|_| self.enabled) {
            feed::cpu::check(cpu).with_context(|| format!("venues.{venue}.cpu"))?;
        }
        if !self.ws_url_b.is_empty() && !self.pair {
            bail!("venues.{venue}.ws_url_b is only used with venues.{venue}.pair = true");
        }
        if (self.pair || self.renew_s > 0) && !venues::allows_pairs(venue) {
            bail!("venues.{venue}: the venue allows one connection at a time; take away pair and renew_s");
        }
        if (1..RENEW_S_MIN).contains(&self.renew_s) {
            bail!("venues.{venue}.renew_s must be 0 or at least {RENEW_S_MIN}, it is {}", self.renew_s);
        }
        Ok(())
    }

    /// The venue's own choices as key and value texts.
    pub fn choices(&self) -> Vec<(String, String)> {
        self.choices.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

impl Gateway {
    fn check(&self) -> anyhow::Result<()> {
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            bail!("gateway.certificate and gateway.key go together; set both or none");
        }
        Ok(())
    }

    /// Whether only this machine can reach it. What is no address is refused when it is listened on.
    pub fn is_loopback(&self) -> bool {
        let address = self.listen.parse::<std::net::SocketAddr>();
        self.listen.starts_with("localhost:") || address.is_ok_and(|address| address.ip().is_loopback())
    }

    /// Certificate and key, where it serves TLS.
    pub fn tls(&self) -> Option<gateway::TlsFiles> {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        (!certificate.as_os_str().is_empty()).then_some(gateway::TlsFiles { certificate, key })
    }
}

/// Below this a budget of captures would be spent by the file that is being written.
const CAPTURE_BYTES_MIN: u64 = 16 << 20;

impl CaptureConfig {
    fn check(&self) -> anyhow::Result<()> {
        if (1..CAPTURE_BYTES_MIN).contains(&self.keep_bytes) {
            bail!("capture.keep_bytes must be 0 or at least {CAPTURE_BYTES_MIN}, it is {}", self.keep_bytes);
        }
        Ok(())
    }

    /// What is kept of a venue's captures.
    pub fn keep(&self) -> capture::Keep {
        capture::Keep {
            bytes: (self.keep_bytes > 0).then_some(self.keep_bytes),
            age: (self.keep_hours > 0).then(|| Duration::from_secs(self.keep_hours.saturating_mul(3600))),
        }
    }
}

impl RelayTcp {
    fn check(&self) -> anyhow::Result<()> {
        if !self.listen.is_empty() && self.listen.parse::<std::net::SocketAddr>().is_err() {
            bail!("relay.tcp.listen = {:?} is no address; write it as 0.0.0.0:7443", self.listen);
        }
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            bail!("relay.tcp.certificate and relay.tcp.key go together; set both or none");
        }
        if self.dead_after_s < 2 {
            bail!("relay.tcp.dead_after_s must be at least 2: a sign of life is sent every second");
        }
        Ok(())
    }
}

impl Recorder {
    fn check(&self) -> anyhow::Result<()> {
        if self.window_us > 1_000_000 {
            bail!("recorder.window_us must be at most 1000000 (a second), it is {}", self.window_us);
        }
        if !(1..=65_536).contains(&self.spill_mib) {
            bail!("recorder.spill_mib must be 1 to 65536, it is {}", self.spill_mib);
        }
        Ok(())
    }
}

impl Journal {
    fn check(&self) -> anyhow::Result<()> {
        if !(1..=4096).contains(&self.segment_mib) {
            bail!("journal.segment_mib must be 1 to 4096, it is {}", self.segment_mib);
        }
        if self.retain_mib != 0 && self.retain_mib < 3 * self.segment_mib {
            bail!(
                "journal.retain_mib must be 0 or at least three segments of {} MiB, it is {}",
                self.segment_mib,
                self.retain_mib
            );
        }
        Ok(())
    }
}

impl Parquet {
    fn check(&self) -> anyhow::Result<()> {
        if !(1..=3600).contains(&self.part_s) {
            bail!("parquet.part_s must be 1 to 3600, it is {}", self.part_s);
        }
        if !(1..=22).contains(&self.zstd_level) {
            bail!("parquet.zstd_level must be 1 to 22, it is {}", self.zstd_level);
        }
        Ok(())
    }
}

impl ConsolidatedConfig {
    fn check(&self) -> anyhow::Result<()> {
        self.groups()?;
        for name in self.fees.keys() {
            let venue: Venue = name.parse().with_context(|| format!("consolidated.fees.{name}"))?;
            self.fee(venue)?;
        }
        Ok(())
    }

    /// The groups of quote currencies.
    pub fn groups(&self) -> anyhow::Result<Groups> {
        self.groups.parse().with_context(|| format!("consolidated.groups = {:?}", self.groups))
    }

    /// What a taker pays at a venue.
    pub fn fee(&self, venue: Venue) -> anyhow::Result<Fee> {
        let Some(text) = self.fees.get(venue.name()) else { return Ok(Fee::ZERO) };
        let told = || format!("consolidated.fees.{venue} = {text:?}");
        let basis_points: Decimal = text.parse().with_context(told)?;
        Fee::basis_points(basis_points).with_context(told)
    }
}

impl BridgeConfig {
    fn check(&self, name: &str) -> anyhow::Result<()> {
        let usable = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(usable) {
            bail!("[bridge.{name}]: a bridge's name is made of letters, digits, '-' and '_'");
        }
        if self.address.is_empty() {
            bail!("bridge.{name}.address is empty; write it as host:port");
        }
        if self.silence_s < 2 {
            bail!("bridge.{name}.silence_s must be at least 2: a sign of life comes every second");
        }
        self.venues().with_context(|| format!("bridge.{name}.venues"))?;
        Ok(())
    }

    /// The venues to repeat.
    pub fn venues(&self) -> anyhow::Result<Vec<Venue>> {
        if self.venues.is_empty() {
            bail!("no venue is named; name those that no feed of this machine writes");
        }
        Ok(self.venues.iter().map(|name| name.parse()).collect::<Result<_, _>>()?)
    }
}

impl Config {
    /// The relay's socket.
    pub fn relay_socket(&self) -> PathBuf {
        if self.relay.socket.as_os_str().is_empty() {
            return self.paths.state.join("relay.sock");
        }
        self.relay.socket.clone()
    }

    /// The folder of the captures.
    pub fn capture_folder(&self) -> PathBuf {
        self.in_state(&self.capture.path, "capture")
    }

    /// The folder of the journal.
    pub fn journal_folder(&self) -> PathBuf {
        self.in_state(&self.paths.journal, "journal")
    }

    /// The folder of the Parquet files.
    pub fn parquet_folder(&self) -> PathBuf {
        self.in_state(&self.paths.parquet, "parquet")
    }

    fn in_state(&self, path: &Path, name: &str) -> PathBuf {
        if path.as_os_str().is_empty() { self.paths.state.join(name) } else { path.to_owned() }
    }

    /// A venue's section, by its name.
    pub fn venue(&self, venue: Venue) -> anyhow::Result<&VenueConfig> {
        self.venues.get(venue.name()).with_context(|| {
            format!("there is no section [venues.{venue}] in the configuration; add one with its symbols")
        })
    }

    /// Checks what the types cannot: every section is usable.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.site.is_empty() || self.site.len() > 64 {
            bail!("site must have 1 to 64 bytes, it has {}", self.site.len());
        }
        if !self.ring.slots.is_power_of_two() {
            let nearest = self.ring.slots.next_power_of_two();
            bail!("ring.slots must be a power of two; {} is not, {nearest} is", self.ring.slots);
        }
        for (name, section) in &self.venues {
            let venue: Venue = name.parse().with_context(|| format!("[venues.{name}]"))?;
            let settings = section.settings(venue)?;
            section.check(venue)?;
            if section.enabled {
                self.check_lines(venue, settings, section).with_context(|| format!("[venues.{name}]"))?;
            }
        }
        self.capture.check()?;
        self.relay.tcp.check()?;
        self.gateway.check()?;
        self.recorder.check()?;
        self.journal.check()?;
        self.parquet.check()?;
        self.consolidated.check()?;
        for (name, bridge) in &self.bridge {
            bridge.check(name)?;
        }
        for name in self.emulator.keys() {
            name.parse::<Venue>().with_context(|| format!("[emulator.{name}]"))?;
        }
        Ok(())
    }
}

impl Config {
    /// Whether the venue takes its settings and choices. Keys that are missing are no mistake of the configuration: the
    /// demo does without, and a live feed says so.
    fn check_lines(&self, venue: Venue, mut settings: Settings, section: &VenueConfig) -> anyhow::Result<()> {
        settings.credentials.get_or_insert_with(emulator_keys);
        venues::lines(venue, &settings, &section.choices())?;
        Ok(())
    }

    /// The variables a venue's keys would come from, when it says nothing without keys and has none.
    pub fn missing_keys(&self, venue: Venue) -> anyhow::Result<Option<&'static str>> {
        let section = self.venue(venue)?;
        match venues::lines(venue, &section.settings(venue)?, &section.choices()) {
            Err(MachineError::NoCredentials { variables, .. }) => Ok(Some(variables)),
            Err(e) => Err(e.into()),
            Ok(_) => Ok(None),
        }
    }
}

/// The account every emulator knows. It guards nothing, and no venue is ever told it.
pub fn emulator_keys() -> Credentials {
    let account = emulator::Account::default();
    Credentials { key: account.key, secret: account.secret, passphrase: Some(account.passphrase) }
}

/// The names of all variables that hold keys.
pub fn key_variables() -> impl Iterator<Item = &'static str> {
    CREDENTIALS.iter().flat_map(|(_, names)| *names).filter(|name| !name.is_empty())
}

/// Reads the file (if one is named), the environment and the `key=value` settings of the command line, in this order.
pub fn load(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    set: &[String],
) -> anyhow::Result<Config> {
    let mut table = toml::Table::try_from(Config::default()).context("the default configuration")?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
        // Read by itself first, so that an error has a line of the file.
        if let Err(e) = toml::from_str::<Config>(&text) {
            bail!("{}: {}", path.display(), explain(&e.to_string()));
        }
        let over: toml::Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
        merge(&mut table, over);
    }
    let mut secrets = BTreeMap::new();
    for (key, value) in env {
        if key == ALPACA_BASE_URL || CREDENTIALS.iter().any(|(_, names)| names.contains(&&key[..])) {
            secrets.insert(key, value);
        } else if let Some(name) = key.strip_prefix(ENV_PREFIX)
            && !ENV_RESERVED.iter().any(|reserved| key.starts_with(reserved))
        {
            let path = name.to_lowercase().replace("__", ".");
            set_key(&mut table, &path, &value).with_context(|| format!("environment variable {key}"))?;
        }
    }
    for setting in set {
        let (key, value) =
            setting.split_once('=').with_context(|| format!("--set {setting}: write it as key=value"))?;
        set_key(&mut table, key.trim(), value.trim()).with_context(|| format!("--set {setting}"))?;
    }
    let mut config = Config::deserialize(table).map_err(|e| anyhow::anyhow!("{}", explain(&e.to_string())))?;
    take_secrets(&mut config, &mut secrets)?;
    config.check()?;
    Ok(config)
}

/// Puts the accounts' keys where they belong.
fn take_secrets(config: &mut Config, secrets: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    secrets.retain(|_, value| !value.is_empty());
    for (venue, [key_name, secret_name, passphrase_name]) in CREDENTIALS {
        let Some(section) = config.venues.get_mut(venue.name()) else { continue };
        let passphrase = secrets.remove(passphrase_name);
        section.credentials = match (secrets.remove(key_name), secrets.remove(secret_name)) {
            (Some(key), Some(secret)) => Some(Credentials { key, secret, passphrase }),
            (None, None) => None,
            (Some(_), None) => bail!("{key_name} is set and {secret_name} is not; set both or neither"),
            (None, Some(_)) => bail!("{secret_name} is set and {key_name} is not; set both or neither"),
        };
    }
    if let Some(section) = config.venues.get_mut(Venue::Alpaca.name())
        && section.rest_url.is_empty()
        && let Some(url) = secrets.remove(ALPACA_BASE_URL)
        && !is_trading_host(authority(&url))
    {
        section.rest_url = url;
    }
    Ok(())
}

/// Alpaca's trading interface, which serves no market data.
fn is_trading_host(authority: &str) -> bool {
    authority.split(':').next().is_some_and(|host| host.ends_with(ALPACA_TRADING_HOST))
}

/// Host and port of a URL.
pub fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default()
}

/// The path of a URL, with its slash; empty where there is none.
pub fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Sets `a.b.c` to a TOML value, or to the text itself when it is no TOML.
fn set_key(table: &mut toml::Table, path: &str, text: &str) -> anyhow::Result<()> {
    let parsed: Option<toml::Table> = toml::from_str(&format!("v = {text}")).ok();
    let value = parsed.and_then(|mut t| t.remove("v")).unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut keys = path.split('.').peekable();
    let mut at = table;
    while let Some(key) = keys.next() {
        if key.is_empty() {
            bail!("{path:?} is no key");
        }
        if keys.peek().is_none() {
            at.insert(key.to_owned(), value);
            return Ok(());
        }
        let below = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = below.as_table_mut().with_context(|| format!("{key} in {path} is not a section"))?;
    }
    bail!("a key is missing")
}

/// Adds the nearest known key to an error about an unknown one.
fn explain(error: &str) -> String {
    let mut quoted = error.split('`').skip(1).step_by(2);
    let text = error.trim_end().to_owned();
    if !error.contains("unknown field") {
        return text;
    }
    let Some(unknown) = quoted.next() else { return text };
    let nearest = quoted.map(|known| (strsim::levenshtein(unknown, known), known)).min();
    match nearest {
        Some((d, known)) if d <= unknown.len().max(3) / 2 => format!("{text}\ndid you mean `{known}`?"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> impl Iterator<Item = (String, String)> {
        std::iter::empty()
    }

    #[test]
    fn a_wrong_key_names_the_line_and_the_nearest_known_one() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[ring]\nslosts = 1024\n").expect("written");
        let error = load(Some(file.path()), none(), &[]).expect_err("an unknown key").to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("did you mean `slots`?"), "{error}");
    }

    #[test]
    fn the_environment_goes_over_the_file_and_flags_over_both() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "site = \"a\"\n[ring]\nslots = 1024\n[venues.kraken]\nsymbols = [\"ETH-USD\"]\n")
            .expect("written");
        let env = || {
            [("ALPHAPULSE_RING__SLOTS", "2048"), ("ALPHAPULSE_SITE", "b"), ("ALPHAPULSE_TEST_DATA", "x"), ("PATH", "y")]
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        };
        let c = load(Some(file.path()), env(), &[]).expect("a configuration");
        assert_eq!((c.site.as_str(), c.ring.slots), ("b", 2048));
        assert_eq!(c.venues["kraken"].symbols, ["ETH-USD"]);
        assert!(c.venues["binance"].enabled, "what the file does not name keeps its default");
        let c = load(Some(file.path()), env(), &["ring.slots=4096".to_owned()]).expect("a configuration");
        assert_eq!(c.ring.slots, 4096);
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        for (setting, part) in [
            ("ring.slots=1000", "1024 is"),
            ("venues.kraken.streams=[\"trades\"]", "no stream \"trades\""),
            ("venues.krakn.symbols=[\"BTC-USD\"]", "krakn"),
            ("venues.coinbase.choices.level2=\"level3\"", "level2_batch or level2 or full"),
            ("venues.coinbase.choices.levl2=\"full\"", "level2"),
            ("venues.alpaca.choices.feed=\"nasdaq\"", "iex"),
            ("venues.kraken.choices.api=\"v3\"", "v1"),
            ("venues.alpaca.symbols=[\"FAKEPACA\"]", "feed = test"),
            ("venues.alpaca.bar_interval_s=300", "60 or 86400"),
            ("venues.kraken.cpu=100000", "processor 100000"),
            ("venues.kraken.renew_s=2", "at least 5"),
            ("venues.kraken.ws_url_b=\"ws://x/\"", "pair = true"),
            ("consolidated.groups=USD", "consolidated.groups = \"USD\": USD is alone in its group"),
            ("consolidated.groups=USD+USDT,EUR+USDT", "USDT is in the group of USD and in that of EUR"),
            ("consolidated.fees.krakn=\"10\"", "consolidated.fees.krakn"),
            ("consolidated.fees.kraken=\"ten\"", "consolidated.fees.kraken = \"ten\": not a decimal number"),
            ("consolidated.fees.kraken=\"0.001\"", "consolidated.fees.kraken = \"0.001\": a fee of 0.001 basis points"),
            ("consolidated.fees.kraken=\"10000\"", "between -10000 and 10000"),
            ("consolidated.fees.kraken=7.5", "expected a string"),
            ("consolidated.fee.kraken=\"1\"", "did you mean `fees`?"),
            ("recorder.window_us=2000000", "at most 1000000"),
            ("recorder.spil_mib=1", "did you mean `spill_mib`?"),
            ("journal.segment_mib=0", "1 to 4096"),
            ("journal.retain_mib=100", "three segments of 64 MiB"),
            ("parquet.zstd_level=40", "1 to 22"),
            ("capture.keep_bytes=1000", "capture.keep_bytes must be 0 or at least 16777216"),
            ("capture.enable=false", "did you mean `enabled`?"),
            ("gateway.listn=1", "did you mean `listen`?"),
            ("gateway", "key=value"),
        ] {
            let error = format!("{:#}", load(None, none(), &[setting.to_owned()]).expect_err(setting));
            assert!(error.contains(part), "{setting}: {error}");
        }
    }

    #[test]
    fn groups_and_fees_of_the_consolidated_book_are_read() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "[consolidated]\ngroups = \"USD+USDT\"\nfees.binance = \"7.5\"\nfees.kraken = \"-1\"\n";
        std::fs::write(file.path(), text).expect("written");
        let c = load(Some(file.path()), none(), &[]).expect("a configuration").consolidated;
        assert_eq!(c.groups().expect("a group").symbol("BTC", "USDT"), "BTC-USD");
        let fee = |venue| c.fee(venue).expect("a fee").parts_per_million();
        assert_eq!([Venue::Binance, Venue::Kraken, Venue::Coinbase].map(fee), [750, -100, 0]);
        let none = load(None, none(), &[]).expect("a configuration").consolidated;
        assert_eq!(none.groups().expect("no group").symbol("BTC", "USDT"), "BTC-USDT");
    }

    #[test]
    fn keys_come_from_the_environment_and_are_shown_nowhere() {
        let env = |list: &[(&str, &str)]| {
            list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
        };
        let both = [("ALPACA_API_KEY", "KEY1"), ("ALPACA_API_SECRET", "SECRET1"), (ALPACA_BASE_URL, "https://x")];
        let set = ["venues.alpaca.symbols=[\"AAPL\"]".to_owned(), "venues.alpaca.enabled=false".to_owned()];
        let c = load(None, env(&both), &set).expect("a configuration");
        let alpaca = &c.venues["alpaca"];
        let settings = alpaca.settings(Venue::Alpaca).expect("settings");
        assert_eq!(settings.credentials.as_ref().map(|c| (&c.key[..], &c.secret[..])), Some(("KEY1", "SECRET1")));
        assert_eq!(alpaca.rest_url, "https://x");
        let trading = [both[0], both[1], (ALPACA_BASE_URL, "https://paper-api.alpaca.markets")];
        let other = load(None, env(&trading), &set).expect("a configuration");
        assert_eq!(other.venues["alpaca"].rest_url, "", "market data is not served by the trading interface");
        let shown = format!("{}{c:?}{settings:?}", toml::to_string_pretty(&c).expect("TOML"));
        assert!(!shown.contains("KEY1") && !shown.contains("SECRET1"), "{shown}");
        let error = load(None, env(&both[..1]), &set).expect_err("half of a pair").to_string();
        assert!(error.contains("ALPACA_API_SECRET is not"), "{error}");
        assert!(!error.contains("KEY1"), "{error}");
        let pair = [set[0].clone(), set[1].clone(), "venues.alpaca.pair=true".to_owned()];
        let error = format!("{:#}", load(None, env(&both), &pair).expect_err("one connection is allowed"));
        assert!(error.contains("one connection at a time"), "{error}");
    }
}
