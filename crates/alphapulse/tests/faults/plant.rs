//! One venue's emulator and the real feed in one process, over loopback sockets; what goes wrong, and what is told.

use super::common::{self, running_feed::RunningFeed};
use emulator::{EmulatedVenue, Extent, Fault, Handle, Planned, Rate};
use feed::{FeedOptions, Waiting, backoff::BackoffConfig};
use model::{StreamKind, Venue};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use venues::{Credentials, SessionSettings, Settings, StaleAfter};
use wire::Origin;

/// Frames a second of the emulator.
const RATE: u32 = 600;

/// A venue as the table names it, and how its feed is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// As the table names it.
    pub name: &'static str,
    pub venue: Venue,
    pub emulated: EmulatedVenue,
    /// The first is the one that faults hit.
    pub symbols: [&'static str; 2],
    pub choices: Vec<(&'static str, &'static str)>,
    pub streams: Vec<StreamKind>,
    pub stale: StaleAfter,
    /// Levels a side that are asked for.
    pub depth: u32,
    pub deflate: bool,
    /// Certificate, key and roots to trust.
    pub tls: Option<[PathBuf; 3]>,
    /// Where the feed looks instead of the emulator.
    pub host: Option<&'static str>,
    /// The feed's waits between attempts.
    pub backoff: BackoffConfig,
    /// Whether what comes in is kept, to be looked at step by step.
    pub captured: bool,
}

impl Setup {
    fn new(name: &'static str, venue: Venue, emulated: EmulatedVenue, symbols: [&'static str; 2]) -> Setup {
        Setup {
            name,
            venue,
            emulated,
            symbols,
            choices: vec![],
            streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote],
            stale: StaleAfter::default(),
            deflate: false,
            tls: None,
            host: None,
            backoff: BackoffConfig { cap: Duration::from_millis(200), ..BackoffConfig::default() },
            depth: Settings::default().book_depth,
            captured: false,
        }
    }

    pub fn with(mut self, key: &'static str, value: &'static str) -> Setup {
        self.choices.push((key, value));
        self
    }

    fn spec(&self) -> &'static venues::Spec {
        venues::spec(self.venue, &self.chosen()).expect("a spec")
    }

    fn chosen(&self) -> Vec<(String, String)> {
        self.choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// What the session is told.
    fn settings(&self) -> Settings {
        let account = emulator::Account::default();
        Settings {
            symbols: self.symbols.iter().map(|s| (*s).to_owned()).collect(),
            streams: self.streams.clone(),
            stale_after: self.stale,
            book_depth: self.depth,
            credentials: Some(Credentials {
                key: account.key,
                secret: account.secret,
                passphrase: Some(account.passphrase),
            }),
            ..Settings::default()
        }
    }

    /// The largest message of the venue that is taken, in bytes.
    pub fn frame_max(&self) -> u64 {
        self.spec().frame_max as u64
    }

    /// The path of the venue's endpoint.
    fn path(&self) -> String {
        let own = self.spec();
        let path = own.ws_url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        path.unwrap_or_default().to_owned()
    }

    /// What a feed of its own process is told, to do the same at this emulator.
    pub fn set(&self, emulator: &Handle) -> Vec<String> {
        let (venue, at) = (self.venue.name(), emulator.addr());
        let own = |set: String| format!("venues.{venue}.{set}");
        let streams: Vec<&str> = self.streams.iter().map(|stream| stream.name()).collect();
        let mut set = vec![
            own(format!("ws_url=\"ws://{at}{}\"", self.path())),
            own(format!("rest_url=\"http://{at}\"")),
            own(format!("symbols={:?}", self.symbols)),
            own(format!("streams={streams:?}")),
            "reconnect.base_ms=20".to_owned(),
            "reconnect.cap_ms=200".to_owned(),
            "ring.slots=16384".to_owned(),
        ];
        set.extend(self.choices.iter().map(|(key, value)| own(format!("choices.{key}={value:?}"))));
        if self.deflate {
            set.push(own("deflate=true".to_owned()));
        }
        set
    }

    /// How many books are told.
    pub fn books(&self) -> u64 {
        if self.streams.contains(&StreamKind::Book) { self.symbols.len() as u64 } else { 0 }
    }

    /// The stream that never rests: books, or quotes where there are none.
    pub fn busy(&self) -> StreamKind {
        if self.books() > 0 { StreamKind::Book } else { StreamKind::Quote }
    }

    /// The venue's own spelling of a symbol.
    pub fn spelled(&self, symbol: &str) -> String {
        match self.emulated {
            EmulatedVenue::Kraken | EmulatedVenue::Alpaca => symbol.replace('-', "/"),
            EmulatedVenue::Binance => symbol.replace('-', ""),
            EmulatedVenue::Coinbase => symbol.to_owned(),
        }
    }
}

pub fn kraken() -> Setup {
    Setup::new("kraken", Venue::Kraken, EmulatedVenue::Kraken, ["BTC-USD", "ETH-USD"])
}

pub fn kraken_v1() -> Setup {
    Setup { name: "kraken v1", ..kraken() }.with("api", "v1")
}

pub fn binance() -> Setup {
    Setup::new("binance", Venue::Binance, EmulatedVenue::Binance, ["BTC-USDT", "ETH-USDT"])
}

pub fn coinbase() -> Setup {
    Setup::new("coinbase", Venue::Coinbase, EmulatedVenue::Coinbase, ["BTC-USD", "ETH-USD"])
}

pub fn full() -> Setup {
    let mut setup = Setup { name: "coinbase full", ..coinbase() }.with("level2", "full");
    setup.streams.push(StreamKind::Order);
    setup
}

pub fn advanced() -> Setup {
    Setup { name: "coinbase advanced", ..coinbase() }.with("api", "advanced")
}

/// Alpaca's coins. Trades are compared with REST every second: nobody should wait here.
pub fn alpaca() -> Setup {
    Setup::new("alpaca crypto", Venue::Alpaca, EmulatedVenue::Alpaca, ["BTC-USD", "ETH-USD"]).with("audit_s", "1")
}

/// Alpaca's shares, which have no book.
pub fn alpaca_stocks() -> Setup {
    let streams = vec![StreamKind::Trade, StreamKind::Quote];
    let symbols = ["AAPL", "SPY"];
    Setup { name: "alpaca stocks", symbols, streams, ..alpaca() }
}

/// Every protocol whose trades and books are told, and whose trades have ids.
pub fn all() -> Vec<Setup> {
    vec![kraken(), binance(), coinbase(), advanced(), alpaca()]
}

/// Every protocol whose trades have ids.
pub fn with_ids() -> Vec<Setup> {
    [all(), vec![alpaca_stocks()]].concat()
}

/// Every protocol whose books are told.
pub fn with_books() -> Vec<Setup> {
    [all(), vec![kraken_v1()]].concat()
}

/// Every protocol.
pub fn every() -> Vec<Setup> {
    [all(), vec![kraken_v1(), alpaca_stocks()]].concat()
}

/// A running pair of emulator and feed.
pub struct Plant {
    pub setup: Setup,
    pub emulator: Handle,
    feed: RunningFeed,
}

impl Plant {
    /// Starts and waits until the books are live and trades flow.
    pub fn start(setup: Setup) -> Plant {
        let plant = Plant::launch(setup);
        plant.flow(plant.setup.books(), 20);
        plant
    }

    /// Starts, and where trades are compared with REST waits until that has begun: it does two seconds behind the first.
    pub fn start_audited(setup: Setup) -> Plant {
        let plant = Plant::start(setup);
        if plant.setup.venue == Venue::Alpaca {
            common::wait_for("a comparison", || (plant.figure("audits_total") > 0).then_some(()));
        }
        plant
    }

    pub fn launch(setup: Setup) -> Plant {
        let mut options = emulator::Options::new(setup.emulated);
        options.rate = Rate::FramesPerSecond(RATE);
        options.deflate = setup.deflate;
        let scheme = match &setup.tls {
            Some([certificate, key, _]) => {
                let identity = emulator::TlsIdentity { certificate: certificate.clone(), key: key.clone() };
                options.tls = Some(identity);
                "s"
            }
            None => "",
        };
        let emulator = emulator::Server::start(options).expect("an emulator");
        let at = setup.host.map_or_else(|| emulator.addr().to_string(), str::to_owned);
        let feed = RunningFeed::start(|folder| FeedOptions {
            venue: setup.venue,
            ws_url: format!("ws{scheme}://{at}{}", setup.path()),
            ws_url_b: String::new(),
            pair: false,
            renew: None,
            cpu: None,
            deflate: setup.deflate.then_some(true),
            rest_url: format!("http{scheme}://{at}"),
            settings: setup.settings(),
            choices: setup.chosen(),
            session: SessionSettings::default(),
            site: "test".to_owned(),
            build: "test".to_owned(),
            origin: Origin::Simulated,
            ring_dir: folder.join("rings"),
            ring_slots: 1 << 17,
            state_dir: folder.join("state"),
            capture: setup.captured.then(|| capture::Options::new(capture(folder))),
            tls: feed::transport::TlsOptions {
                extra_roots: setup.tls.iter().map(|[_, _, root]| root.clone()).collect(),
            },
            backoff: setup.backoff,
            waiting: Waiting::Block,
            seed: 1,
        });
        Plant { setup, emulator, feed }
    }

    /// The symbol that faults hit.
    pub fn symbol(&self) -> &'static str {
        self.setup.symbols[0]
    }

    /// The same in the venue's spelling.
    pub fn spelled(&self) -> String {
        self.setup.spelled(self.symbol())
    }

    /// A figure of the feed's.
    pub fn figure(&self, name: &str) -> u64 {
        self.feed.figure(name)
    }

    /// Waits for so many more snapshots of books, and then for so many more trades.
    pub fn flow(&self, books: u64, trades: u64) {
        self.feed.wait_for("book_snapshots_total", books);
        self.trades(trades);
    }

    pub fn trades(&self, more: u64) {
        self.feed.wait_for("trades_total", more);
    }

    /// Lets something go wrong and waits until it is over.
    pub fn suffer(&self, planned: impl Into<Planned>) -> Vec<Extent> {
        let id = self.plan(planned);
        self.over(id)
    }

    pub fn plan(&self, planned: impl Into<Planned>) -> u64 {
        self.emulator.plan(planned.into()).expect("the venue can have this fault")
    }

    /// What a fault did, when it is over.
    pub fn over(&self, id: u64) -> Vec<Extent> {
        common::wait_for(&format!("the fault of {}", self.setup.name), || {
            let extents: Vec<Extent> = self.emulator.extents().into_iter().filter(|e| e.id == id).collect();
            (!extents.is_empty() && extents.iter().all(|e| e.over)).then_some(extents)
        })
    }

    /// Waits until what is told is so.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + common::PATIENCE;
        loop {
            let told = self.told();
            if let Some(found) = look(&told) {
                return found;
            }
            if Instant::now() > deadline {
                let kinds = ["status", "gap", "instrument"];
                let figures = self.feed.figures();
                let counted = |l: &&str| l.contains("_total") && !l.starts_with('#') && !l.ends_with(" 0");
                figures.lines().filter(counted).for_each(|l| println!("{l}"));
                told.iter().filter(|l| kinds.contains(&super::text(l, "type"))).for_each(|l| println!("{l}"));
                panic!("waited {} s for {what} of {}", common::PATIENCE.as_secs(), self.setup.name);
            }
            thread::sleep(Duration::from_millis(80));
        }
    }

    /// What came in, of a setup that is captured, when the run has ended.
    pub fn capture(&self) -> capture::Player {
        capture::Player::open(&capture(self.feed.folder()).join(self.setup.venue.name())).expect("a capture")
    }

    /// What is told so far.
    pub fn told(&self) -> Vec<Value> {
        self.feed.told()
    }

    /// The frames set aside.
    pub fn quarantine(&self) -> Vec<Value> {
        let folder = self.feed.folder().join("state").join("quarantine");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let text: String = files.filter_map(|f| std::fs::read_to_string(f.path()).ok()).collect();
        text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
    }

    /// Ends the run and returns what was told, up to the end.
    pub fn end(&mut self) -> Vec<Value> {
        let mut told = self.feed.end();
        let end = told.iter().position(|l| l["text"].as_str().is_some_and(|t| t.contains("shutting down")));
        told.truncate(end.unwrap_or(told.len()));
        told
    }
}

fn capture(folder: &Path) -> PathBuf {
    folder.join("capture")
}

/// One kind of stream of the plant's first symbol.
pub fn first(plant: &Plant, kind: StreamKind) -> emulator::Target {
    emulator::Target::of(kind, &plant.spelled())
}

/// A fault that begins with the frame of this number.
pub fn from_frame(number: u64, fault: Fault) -> Planned {
    Planned { trigger: emulator::Trigger::Frame(number), ..fault.into() }
}
