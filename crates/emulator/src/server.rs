//! Listens, starts one thread per connection, and stops them all again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use feed::transport::{Interest, Stream, TlsServer, Waker, readable, wait, watch};
use model::UnixNanos;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::error::{FaultError, StartError};
use crate::faults::ledger::{Ledger, Spot};
use crate::faults::{Extent, Fault, Place, Planned, ScriptedFault, Trigger, control};
use crate::hub::{Anew, Hub};
use crate::journal::Journal;
use crate::market::reference;
use crate::market::simulation::{Setup, SimulatedPair, Simulation};
use crate::market::{Beside, CaptureFormat, Generated, Hours, Market, Pace, Pair, Recorded, many, read_capture};
use crate::options::{Account, EmulatedVenue, JournalOptions, Limits, Options, Rate, Session};
use crate::requests::{Left, Limit, Part, Requests};
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
    requests: Mutex<Requests>,
    pub(crate) counters: Counters,
    pub(crate) journal: Option<Journal>,
    /// What faults did.
    pub(crate) ledger: Arc<Ledger>,
    tls: Mutex<Option<TlsServer>>,
    stop: AtomicBool,
    drops: AtomicU64,
    /// The fault that broke every connection last.
    drop_fault: Mutex<(u64, &'static str)>,
    refuse: Mutex<Option<Refusal>>,
    /// Ends the acceptor's sleep.
    waker: Arc<Waker>,
    wakers: Mutex<BTreeMap<u64, Arc<Waker>>>,
    unknown_paths: Mutex<BTreeSet<String>>,
}

/// A fault that refuses whoever comes.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    fault: u64,
    status: u16,
    until: UnixNanos,
}

impl Shared {
    /// Logs a path that nothing is served at, once.
    pub(crate) fn unknown_path(&self, path: &str) {
        let mut known = self.unknown_paths.lock().expect("no holder of this lock panics");
        if known.len() < UNKNOWN_PATHS_MAX && known.insert(path.to_owned()) {
            tracing::warn!(venue = self.venue.name(), path, "the emulator serves nothing at this path");
        }
    }

    /// Counts a request against the limit of its address.
    pub(crate) fn take_request(&self, from: (IpAddr, Part), limit: Limit, now: UnixNanos) -> Left {
        self.requests.lock().expect("no holder of this lock panics").take(from, limit, now)
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Counts the times every connection was to break; a connection breaks when it sees another number.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// Status and seconds to stay away, while a fault refuses connections; counts one more that is refused.
    pub(crate) fn refusal(&self, now: UnixNanos) -> Option<(u16, u64)> {
        let refuse = *self.refuse.lock().expect("no holder of this lock panics");
        let Refusal { fault, status, until } = refuse.filter(|refusal| refusal.until > now)?;
        self.ledger.hit(fault, "refuse", now, &Spot::default());
        Some((status, until.since(now).as_secs() + 1))
    }

    /// A connection broke because every one was to.
    pub(crate) fn dropped(&self, connection: u64, frames: u64) {
        let (id, name) = *self.drop_fault.lock().expect("no holder of this lock panics");
        let spot = Spot { connection: Some(connection), frame: frames, ..Spot::default() };
        self.ledger.hit(id, name, self.clock.now(), &spot);
        self.ledger.finish(id);
    }

    /// Whether the venue can do this at all.
    fn check(&self, planned: &Planned) -> Result<(), FaultError> {
        let name = planned.fault.name();
        let cannot = |problem: String| Err(FaultError { venue: self.venue.name(), fault: name, problem });
        match &planned.fault {
            Fault::Checksum(_) if self.venue != EmulatedVenue::Kraken => {
                return cannot("its frames have no checksum; use corrupt".to_owned());
            }
            Fault::Refuse { status: 418, .. } if self.venue != EmulatedVenue::Binance => {
                return cannot("only Binance bans with 418; use 429".to_owned());
            }
            Fault::Restart if !self.hub.lock().expect("no holder of this lock panics").can_begin_anew() => {
                return cannot("a recorded session cannot begin its ids at 1; use a generated one".to_owned());
            }
            Fault::Certificate { .. } if self.tls.lock().expect("no holder of this lock panics").is_none() => {
                return cannot("there is no TLS here; give the emulator a certificate first".to_owned());
            }
            _ => {}
        }
        let Some(symbol) = &planned.fault.target().symbol else { return Ok(()) };
        let hub = self.hub.lock().expect("no holder of this lock panics");
        let symbols: BTreeSet<&str> = hub.market.topics().iter().map(|topic| &topic.symbol[..]).collect();
        if symbols.contains(&symbol[..]) {
            return Ok(());
        }
        let known: Vec<&str> = symbols.into_iter().filter(|known| !known.is_empty()).take(8).collect();
        cannot(format!("there is no symbol {symbol:?}; there are {}", known.join(", ")))
    }

    /// Plans a fault for its time, counted from now; what is due at once gets its id.
    pub(crate) fn schedule(&self, scripted: ScriptedFault) -> Result<Option<u64>, FaultError> {
        self.check(&scripted.planned)?;
        let now = self.clock.now();
        if scripted.after.is_zero() {
            return self.plan(scripted.planned, now).map(Some);
        }
        self.hub.lock().expect("no holder of this lock panics").schedule(scripted, now);
        self.waker.wake();
        Ok(None)
    }

    /// Lets something go wrong, now or with the frame it waits for.
    pub(crate) fn plan(&self, planned: Planned, now: UnixNanos) -> Result<u64, FaultError> {
        self.check(&planned)?;
        let id = self.ledger.enter();
        tracing::info!(venue = self.venue.name(), id, fault = planned.fault.name(), "a fault is planned");
        let everywhere = planned.connection.is_none();
        match planned.fault.place() {
            Place::Frames if everywhere => {
                self.hub.lock().expect("no holder of this lock panics").add_fault(id, planned, now);
            }
            Place::Sockets if everywhere && planned.fault == Fault::Drop && planned.trigger == Trigger::Next => {
                self.drop_all(id, "drop");
            }
            Place::Server => self.serve_fault(id, planned.fault, now)?,
            _ => {
                self.hub.lock().expect("no holder of this lock panics").add_plan(id, planned);
                self.wake_all();
            }
        }
        Ok(id)
    }

    fn drop_all(&self, id: u64, name: &'static str) {
        *self.drop_fault.lock().expect("no holder of this lock panics") = (id, name);
        self.drops.fetch_add(1, Ordering::Release);
        self.wake_all();
    }

    fn serve_fault(&self, id: u64, fault: Fault, now: UnixNanos) -> Result<(), FaultError> {
        match fault {
            Fault::Refuse { status, wait } => {
                let refusal = Refusal { fault: id, status, until: now.after(wait) };
                let before = self.refuse.lock().expect("no holder of this lock panics").replace(refusal);
                before.iter().for_each(|before| self.ledger.finish(before.fault));
            }
            Fault::Restart => {
                let mut hub = self.hub.lock().expect("no holder of this lock panics");
                self.drop_all(id, "restart");
                hub.begin_anew();
            }
            Fault::OldSnapshot(count) => {
                self.hub.lock().expect("no holder of this lock panics").serve_old_books(id, count);
            }
            Fault::Certificate { certificate, key } => {
                let tls = TlsServer::from_pem(&certificate, &key).map_err(|error| FaultError {
                    venue: self.venue.name(),
                    fault: "certificate",
                    problem: error.to_string(),
                })?;
                *self.tls.lock().expect("no holder of this lock panics") = Some(tls);
                self.ledger.hit(id, "certificate", now, &Spot::default());
                self.ledger.finish(id);
            }
            // The others are frames' and sockets'.
            _ => {}
        }
        Ok(())
    }

    /// Plans what is due by the script and ends what has lasted its time.
    fn keep_faults(&self, now: UnixNanos) {
        let due = self.hub.lock().expect("no holder of this lock panics").due_faults(now);
        for planned in due {
            if let Err(error) = self.plan(planned, now) {
                tracing::error!("{error}");
            }
        }
        let mut refuse = self.refuse.lock().expect("no holder of this lock panics");
        if let Some(over) = refuse.take_if(|refusal| refusal.until <= now) {
            self.ledger.finish(over.fault);
        }
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
                Some(Journal::create(path).map_err(|cause| StartError::Journal { path: path.clone(), cause })?)
            }
        };
        let (market, anew) = market(&options, started)?;
        let control = options.control.as_ref().map(|path| {
            let listener = control::listen(path).map_err(|cause| StartError::Control { path: path.clone(), cause })?;
            Ok::<_, StartError>((listener, path.clone()))
        });
        let control = control.transpose()?;
        let ledger = Arc::new(Ledger::new(journal.clone()));
        let waker = Arc::new(Waker::new().map_err(StartError::Thread)?);
        let listen = |cause| StartError::Listen { address: options.listen, cause };
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
            requests: Mutex::new(Requests::default()),
            hub: Mutex::new(Hub::new(market, anew, Arc::clone(&ledger), started)),
            counters: Counters::default(),
            journal,
            ledger,
            tls: Mutex::new(tls),
            stop: AtomicBool::new(false),
            drops: AtomicU64::new(0),
            drop_fault: Mutex::new((0, "drop")),
            refuse: Mutex::new(None),
            waker: Arc::clone(&waker),
            wakers: Mutex::new(BTreeMap::new()),
            unknown_paths: Mutex::new(BTreeSet::new()),
        });
        for fault in options.script {
            shared.schedule(fault)?;
        }
        let threads = match control {
            Some((listener, path)) => {
                vec![control::serve(listener, path, Arc::clone(&shared)).map_err(StartError::Thread)?]
            }
            None => vec![],
        };
        let acceptor = Acceptor { listener, shared: Arc::clone(&shared), waker: Arc::clone(&waker), threads };
        let thread = std::thread::Builder::new()
            .name(format!("{}-accept", options.venue.name()))
            .spawn(move || acceptor.run())
            .map_err(StartError::Thread)?;
        tracing::info!(venue = options.venue.name(), %address, "emulated venue listens; everything it serves is simulated");
        Ok(Handle { address, shared, waker, thread: Some(thread) })
    }
}

/// The market that the options ask for.
fn market(options: &Options, started: UnixNanos) -> Result<(Box<dyn Market>, Option<Anew>), StartError> {
    if options.rate == Rate::FramesPerSecond(0) || options.rate == Rate::Thousandths(0) {
        let problem = "0 would never send a frame; give 1 or more".to_owned();
        return Err(StartError::Option { name: "rate", problem });
    }
    let session = match &options.session {
        Session::Recorded(session) => return Ok((recorded(options.venue, session, options.rate)?, None)),
        Session::Generated(session) => session,
    };
    many::check(session)?;
    reference::check(&session.changes, &specs(options.venue, session))?;
    let first_id = started.0 / 1_000_000_000 * IDS_PER_SECOND;
    let (venue, session, pace) = (options.venue, session.clone(), pace(options.rate));
    let anew: Anew = Box::new(move |first_id| generated(venue, &session, pace, first_id, started));
    Ok((anew(first_id), Some(anew)))
}

/// The market of captured files.
pub(crate) fn recorded(
    venue: EmulatedVenue,
    session: &crate::RecordedSession,
    rate: Rate,
) -> Result<Box<dyn Market>, StartError> {
    let format: &'static dyn CaptureFormat = match venue {
        EmulatedVenue::Kraken => &kraken::Format,
        EmulatedVenue::Binance => &binance::Format,
        EmulatedVenue::Coinbase => &coinbase::Format,
        EmulatedVenue::Alpaca => {
            let problem = "there are no captures of alpaca to serve; use a generated session".to_owned();
            return Err(StartError::Option { name: "session", problem });
        }
    };
    let capture = read_capture(format, venue.name(), &session.paths)?;
    Ok(Box::new(Recorded::new(format, capture, session, rate)))
}

/// The pace of a generated session.
pub(crate) fn pace(rate: Rate) -> Pace {
    match rate {
        Rate::FramesPerSecond(rate) => Pace::PerSecond(rate.into()),
        Rate::Thousandths(thousandths) => Pace::PerSecond((u64::from(thousandths) / 10).max(1)),
        Rate::FlatOut => Pace::FlatOut,
    }
}

/// What a generated session trades.
fn specs(venue: EmulatedVenue, session: &crate::GeneratedSession) -> Vec<SimulatedPair> {
    let mut specs = match venue {
        _ if !session.pairs.is_empty() => session.pairs.clone(),
        EmulatedVenue::Kraken => many::pairs(kraken::default_pairs(), session.instruments),
        EmulatedVenue::Binance => many::pairs(binance::default_pairs(), session.instruments),
        EmulatedVenue::Coinbase => many::pairs(coinbase::default_pairs(), session.instruments),
        EmulatedVenue::Alpaca => many::pairs(alpaca::default_pairs(), session.instruments),
    };
    for SimulatedPair { pair, .. } in &mut specs {
        pair.tape |= session.tape;
        if pair.is_stock() && session.hours != Hours::Always {
            pair.hours = session.hours;
        }
    }
    specs
}

pub(crate) fn generated(
    venue: EmulatedVenue,
    session: &crate::GeneratedSession,
    pace: Pace,
    first_id: u64,
    opens: UnixNanos,
) -> Box<dyn Market> {
    let (specs, _) = reference::in_order(specs(venue, session), &session.changes);
    let pairs: Vec<Pair> = specs.iter().map(|spec| spec.pair.clone()).collect();
    let book_pace = session.book_pace;
    let simulate = |intervals_s, tells_orders| {
        let setup = Setup {
            venue: venue.name(),
            seed: session.seed,
            levels: session.levels,
            intervals_s,
            first_id,
            trades_kept: session.trades_kept,
            tells_orders,
            frames_per_s: pace.frames_per_s(),
            lively: session.lively,
            opens: pace.opens(opens),
            changes: session.changes.clone(),
            changes_every: session.changes_every,
        };
        Simulation::new(&setup, specs)
    };
    match venue {
        EmulatedVenue::Kraken => {
            let v2 = kraken::KrakenWriter::new(&pairs, book_pace);
            let v1 = kraken::v1::Writer::new(&pairs, book_pace);
            Box::new(Generated::new(simulate(&kraken::INTERVALS_S, false), Beside::new(v2, v1), pace))
        }
        EmulatedVenue::Binance => {
            let writer = binance::BinanceWriter::new(&pairs, book_pace);
            Box::new(Generated::new(simulate(&binance::INTERVALS_S, false), writer, pace))
        }
        EmulatedVenue::Coinbase => {
            let exchange = coinbase::exchange::Writer::new(&pairs, book_pace);
            let advanced = coinbase::advanced::Writer::new(&pairs, book_pace);
            let simulation = simulate(&coinbase::INTERVALS_S, true);
            Box::new(Generated::new(simulation, Beside::new(exchange, advanced), pace))
        }
        EmulatedVenue::Alpaca => {
            let writer = alpaca::Writer::new(&pairs, book_pace);
            Box::new(Generated::new(simulate(&alpaca::INTERVALS_S, false), writer, pace))
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
        self.shared.counters.faults.store(self.shared.ledger.hits(), Ordering::Relaxed);
        self.shared.counters.read()
    }

    /// Lets something go wrong, now or with the frame it waits for; its id names it among the extents.
    ///
    /// # Errors
    /// What this venue cannot do.
    pub fn plan(&self, planned: Planned) -> Result<u64, FaultError> {
        self.shared.plan(planned, self.shared.clock.now())
    }

    /// Lets something go wrong, now or with the next frame that fits; its id names it among the extents.
    ///
    /// # Panics
    /// When this venue cannot do it; [`Handle::plan`] answers instead.
    pub fn inject(&self, fault: Fault) -> u64 {
        self.plan(fault.into()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What faults did so far, exactly.
    pub fn extents(&self) -> Vec<Extent> {
        self.shared.ledger.extents()
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
        self.shared.ledger.finish_all();
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
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    threads: Vec<JoinHandle<()>>,
}

impl Acceptor {
    fn run(mut self) {
        while !self.shared.stopping() {
            let now = self.shared.clock.now();
            self.shared.keep_faults(now);
            self.reap(JoinHandle::is_finished);
            let next = self.shared.hub.lock().expect("no holder of this lock panics").next_fault(now);
            let timeout = next.map_or(TURN, |next| next.min(TURN));
            let mut fds = [watch(&self.listener, Interest::Read), watch(&*self.waker, Interest::Read)];
            if let Err(error) = wait(&mut fds, Some(timeout)) {
                tracing::error!(%error, "the emulator cannot wait for connections and stops");
                break;
            }
            let (knock, rung) = (readable(&fds[0]), readable(&fds[1]));
            if rung {
                self.waker.clear();
            }
            if knock {
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
        let (socket, peer) = match self.listener.accept() {
            Ok((socket, peer)) => (socket, peer.ip()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                // Out of descriptors, most likely: give the others time to end rather than spin.
                tracing::warn!(%error, "a connection cannot be accepted");
                return std::thread::sleep(TURN);
            }
        };
        let number = self.shared.counters.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let crowded = self.threads.len() >= self.shared.limits.connections;
        let tls = self.shared.tls.lock().expect("no holder of this lock panics").clone();
        let started = Stream::accept(socket, tls.as_ref()).and_then(|stream| {
            let waker = Arc::new(Waker::new()?);
            self.shared.wakers.lock().expect("no holder of this lock panics").insert(number, Arc::clone(&waker));
            let shared = Arc::clone(&self.shared);
            let name = format!("{}-{number}", self.shared.venue.name());
            std::thread::Builder::new().name(name).spawn(move || {
                Connection::new(number, stream, peer, &shared, waker, crowded).run();
                shared.wakers.lock().expect("no holder of this lock panics").remove(&number);
            })
        });
        match started {
            Ok(thread) => self.threads.push(thread),
            Err(error) => tracing::warn!(%error, number, "a connection cannot be served"),
        }
    }
}
