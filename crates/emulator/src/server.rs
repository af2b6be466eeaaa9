//! Listens, starts one thread per connection, and stops them all again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use feed::transport::{Interest, Stream, TlsServer, Waker, readable, wait, watch};
use model::UnixNanos;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::error::StartError;
use crate::faults::Fault;
use crate::hub::Hub;
use crate::journal::Journal;
use crate::market::simulation::Simulation;
use crate::market::{Beside, CaptureFormat, Generated, Market, Pace, Pair, Recorded, many, read_capture};
use crate::options::{Account, EmulatedVenue, JournalOptions, Limits, Options, Rate, Session};
use crate::stats::{Counters, Stats};
use crate::{alpaca, binance, coinbase, kraken};

/// How often the script is looked at while nobody connects.
const TURN: Duration = Duration::from_millis(50);
/// Unknown paths remembered so that each is logged once; a client that tries more is not worth more lines.
const UNKNOWN_PATHS_MAX: usize = 64;
/// Ids of a run start this far apart for each second of its start, so that a later run is above an earlier one.
const IDS_PER_SECOND: u64 = 1_000_000;

/// What the threads of a server share.
pub(crate) struct Shared {
    pub(crate) venue: EmulatedVenue,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) deflate: bool,
    pub(crate) hub: Mutex<Hub>,
    pub(crate) account: Account,
    pub(crate) binance_rest: Mutex<binance::Rest>,
    pub(crate) alpaca_sessions: alpaca::Sessions,
    pub(crate) counters: Counters,
    pub(crate) journal: Option<Journal>,
    stop: AtomicBool,
    drops: AtomicU64,
    refuse: Mutex<Option<(u16, UnixNanos)>>,
    wakers: Mutex<BTreeMap<u64, Arc<Waker>>>,
    unknown_paths: Mutex<BTreeSet<String>>,
}

impl Shared {
    /// Logs a path that nothing is served at, once.
    pub(crate) fn unknown_path(&self, path: &str) {
        let mut known = self.unknown_paths.lock().expect("no holder of this lock panics");
        if known.len() < UNKNOWN_PATHS_MAX && known.insert(path.to_owned()) {
            tracing::warn!(venue = self.venue.name(), path, "the emulator serves nothing at this path");
        }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Counts the times every connection was to break; a connection breaks when it sees another number.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// Status and seconds to stay away, while a fault refuses connections.
    pub(crate) fn refusal(&self, now: UnixNanos) -> Option<(u16, u64)> {
        let refuse = *self.refuse.lock().expect("no holder of this lock panics");
        refuse.filter(|(_, until)| *until > now).map(|(status, until)| (status, until.since(now).as_secs() + 1))
    }

    pub(crate) fn inject(&self, fault: Fault, now: UnixNanos) {
        if let Some(Err(error)) = self.journal.as_ref().map(|journal| journal.fault(now, &fault)) {
            tracing::error!(%error, "the journal of faults cannot be written");
        }
        let mut hub = self.hub.lock().expect("no holder of this lock panics");
        let rest = hub.inject(fault, now);
        drop(hub);
        match rest {
            Some(Fault::Drop) => {
                self.drops.fetch_add(1, Ordering::Release);
                self.wake_all();
            }
            Some(Fault::Refuse { status, wait }) => {
                *self.refuse.lock().expect("no holder of this lock panics") = Some((status, now.after(wait)));
            }
            _ => {}
        }
    }

    pub(crate) fn inject_due(&self, now: UnixNanos) {
        let due = self.hub.lock().expect("no holder of this lock panics").due_faults(now);
        due.into_iter().for_each(|fault| self.inject(fault, now));
    }

    fn wake_all(&self) {
        self.wakers.lock().expect("no holder of this lock panics").values().for_each(|waker| waker.wake());
    }
}

/// Starts emulated venues.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Listens and serves until the handle is stopped or dropped.
    ///
    /// # Errors
    /// A busy port, a missing or broken capture, certificate or journal folder, or a rate of 0.
    pub fn start(options: Options) -> Result<Handle, StartError> {
        let clock = Clock::start();
        let started = clock.now();
        let tls = options.tls.as_ref().map(|tls| TlsServer::from_pem(&tls.certificate, &tls.key)).transpose()?;
        let journal = match &options.journal {
            JournalOptions::Counts => None,
            JournalOptions::Folder(path) => {
                Some(Journal::create(path).map_err(|source| StartError::Journal { path: path.clone(), source })?)
            }
        };
        let market = market(&options, started)?;
        let listen = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared {
            venue: options.venue,
            clock,
            binance_rest: Mutex::new(binance::Rest::new(options.limits.weight_per_minute)),
            limits: options.limits,
            deflate: options.deflate,
            account: options.account,
            alpaca_sessions: alpaca::Sessions::default(),
            hub: Mutex::new(Hub::new(market, options.script, started)),
            counters: Counters::default(),
            journal,
            stop: AtomicBool::new(false),
            drops: AtomicU64::new(0),
            refuse: Mutex::new(None),
            wakers: Mutex::new(BTreeMap::new()),
            unknown_paths: Mutex::new(BTreeSet::new()),
        });
        let waker = Arc::new(Waker::new().map_err(StartError::Thread)?);
        let acceptor =
            Acceptor { listener, tls, shared: Arc::clone(&shared), waker: Arc::clone(&waker), threads: vec![] };
        let thread = std::thread::Builder::new()
            .name(format!("{}-accept", options.venue.name()))
            .spawn(move || acceptor.run())
            .map_err(StartError::Thread)?;
        tracing::info!(venue = options.venue.name(), %address, "emulated venue listens; everything it serves is simulated");
        Ok(Handle { address, shared, waker, thread: Some(thread) })
    }
}

/// The market that the options ask for.
fn market(options: &Options, started: UnixNanos) -> Result<Box<dyn Market>, StartError> {
    if options.rate == Rate::FramesPerSecond(0) || options.rate == Rate::Thousandths(0) {
        let problem = "0 would never send a frame; give 1 or more".to_owned();
        return Err(StartError::Option { name: "rate", problem });
    }
    let session = match &options.session {
        Session::Recorded(session) => {
            let format: &'static dyn CaptureFormat = match options.venue {
                EmulatedVenue::Kraken => &kraken::Format,
                EmulatedVenue::Binance => &binance::Format,
                EmulatedVenue::Coinbase => &coinbase::Format,
                EmulatedVenue::Alpaca => {
                    let problem = "there are no captures of alpaca to serve; use a generated session".to_owned();
                    return Err(StartError::Option { name: "session", problem });
                }
            };
            let capture = read_capture(format, options.venue.name(), &session.paths)?;
            return Ok(Box::new(Recorded::new(format, capture, session, options.rate)));
        }
        Session::Generated(session) => session,
    };
    many::check(session)?;
    let first_id = started.0 / 1_000_000_000 * IDS_PER_SECOND;
    Ok(generated(options.venue, session, pace(options.rate), first_id))
}

/// The pace of a generated session.
pub(crate) fn pace(rate: Rate) -> Pace {
    match rate {
        Rate::FramesPerSecond(rate) => Pace::PerSecond(rate.into()),
        Rate::Thousandths(thousandths) => Pace::PerSecond((u64::from(thousandths) / 10).max(1)),
        Rate::FlatOut => Pace::FlatOut,
    }
}

pub(crate) fn generated(
    venue: EmulatedVenue,
    session: &crate::GeneratedSession,
    pace: Pace,
    first_id: u64,
) -> Box<dyn Market> {
    let specs = match venue {
        _ if !session.pairs.is_empty() => session.pairs.clone(),
        EmulatedVenue::Kraken => many::pairs(kraken::default_pairs(), session.instruments),
        EmulatedVenue::Binance => many::pairs(binance::default_pairs(), session.instruments),
        EmulatedVenue::Coinbase => many::pairs(coinbase::default_pairs(), session.instruments),
        EmulatedVenue::Alpaca => many::pairs(alpaca::default_pairs(), session.instruments),
    };
    let pairs: Vec<Pair> = specs.iter().map(|spec| spec.pair.clone()).collect();
    let book_pace = session.book_pace;
    let simulate = |intervals| {
        Simulation::new(session.seed, specs, session.levels, intervals, first_id).keeping(session.trades_kept)
    };
    match venue {
        EmulatedVenue::Kraken => {
            let v2 = kraken::KrakenWriter::new(&pairs, book_pace);
            let v1 = kraken::v1::Writer::new(&pairs, book_pace);
            Box::new(Generated::new(simulate(&kraken::INTERVALS_S), Beside::new(v2, v1), pace))
        }
        EmulatedVenue::Binance => {
            let writer = binance::BinanceWriter::new(&pairs, book_pace);
            Box::new(Generated::new(simulate(&binance::INTERVALS_S), writer, pace))
        }
        EmulatedVenue::Coinbase => {
            let exchange = coinbase::exchange::Writer::new(&pairs, book_pace);
            let advanced = coinbase::advanced::Writer::new(&pairs, book_pace);
            let simulation = simulate(&coinbase::INTERVALS_S).with_orders(session.seed);
            Box::new(Generated::new(simulation, Beside::new(exchange, advanced), pace))
        }
        EmulatedVenue::Alpaca => {
            let writer = alpaca::Writer::new(&pairs, book_pace);
            Box::new(Generated::new(simulate(&alpaca::INTERVALS_S), writer, pace))
        }
    }
}

/// A running server. Dropping it stops the server.
pub struct Handle {
    address: SocketAddr,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Where it listens, the port filled in.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Figures since the start.
    pub fn stats(&self) -> Stats {
        let faults = self.shared.hub.lock().expect("no holder of this lock panics").fault_hits();
        self.shared.counters.faults.store(faults, Ordering::Relaxed);
        self.shared.counters.read()
    }

    /// Lets something go wrong, now or with the next frame that fits.
    pub fn inject(&self, fault: Fault) {
        self.shared.inject(fault, self.shared.clock.now());
    }

    /// Closes every connection and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.wake();
        self.shared.wake_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the emulator's accept thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Acceptor {
    listener: TcpListener,
    tls: Option<TlsServer>,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    threads: Vec<JoinHandle<()>>,
}

impl Acceptor {
    fn run(mut self) {
        while !self.shared.stopping() {
            self.shared.inject_due(self.shared.clock.now());
            self.reap(JoinHandle::is_finished);
            let mut fds = [watch(&self.listener, Interest::Read), watch(&*self.waker, Interest::Read)];
            if let Err(error) = wait(&mut fds, Some(TURN)) {
                tracing::error!(%error, "the emulator cannot wait for connections and stops");
                break;
            }
            if readable(&fds[0]) {
                self.accept();
            }
        }
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake_all();
        self.reap(|_| true);
    }

    fn reap(&mut self, done: impl Fn(&JoinHandle<()>) -> bool) {
        for thread in self.threads.extract_if(.., |thread| done(thread)) {
            if thread.join().is_err() {
                tracing::error!("a connection thread of the emulator panicked");
            }
        }
    }

    fn accept(&mut self) {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                // Out of descriptors, most likely: give the others time to end rather than spin.
                tracing::warn!(%error, "a connection cannot be accepted");
                return std::thread::sleep(TURN);
            }
        };
        let number = self.shared.counters.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let crowded = self.threads.len() >= self.shared.limits.connections;
        let started = Stream::accept(socket, self.tls.as_ref()).and_then(|stream| {
            let waker = Arc::new(Waker::new()?);
            self.shared.wakers.lock().expect("no holder of this lock panics").insert(number, Arc::clone(&waker));
            let shared = Arc::clone(&self.shared);
            let name = format!("{}-{number}", self.shared.venue.name());
            std::thread::Builder::new().name(name).spawn(move || {
                Connection::new(number, stream, &shared, waker, crowded).run();
                shared.wakers.lock().expect("no holder of this lock panics").remove(&number);
            })
        });
        match started {
            Ok(thread) => self.threads.push(thread),
            Err(error) => tracing::warn!(%error, number, "a connection cannot be served"),
        }
    }
}
