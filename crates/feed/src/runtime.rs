//! One venue's feed: the loop that drives its machine over a real socket and puts what it tells into the ring.
//!
//! socket -> [`Decoder`] -> [`Session::step`] -> [`Outbox`] -> ring. One thread, one page: everything that can wake it
//! is in `Feed::turn`. On the good path there is no allocation, no lock and no log line.

use crate::{
    backoff::{Backoff, BackoffConfig},
    budget::Budget,
    capture::{CaptureError, CaptureWriter},
    epoch::{self, EpochError},
    metrics::FeedMetrics,
    quarantine::Quarantine,
    rest::{self, RestClient, RestConfig},
    transport::{
        BadUrl, Dial, DialRequest, Endpoint, Interest, Stream, TlsClient, TlsError, TlsOptions, Waker, readable, wait,
        watch,
    },
    websocket::{Decoder, DecoderConfig, DeflateOffer, Encoder, Message, Role},
};
use model::{InstrumentId, Reason, UnixNanos, Venue};
use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use telemetry::{Registry, clock};
use venues::{
    Input, MachineError, Memory, Outbox, Outgoing, Reply, Request, RequestId, Session, SessionSettings, Settings,
};
use wire::{Origin, Record};

/// How a feed is set up.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// The venue.
    pub venue: Venue,
    /// WebSocket endpoint, with path.
    pub ws_url: String,
    /// REST base, without a slash at its end.
    pub rest_url: String,
    /// What is wanted of the venue.
    pub settings: Settings,
    /// The venue's own documented choices.
    pub choices: Vec<(String, String)>,
    /// Pacing of what is told for late joiners.
    pub session: SessionSettings,
    /// Whether compression is offered; `None`: as the venue's own limits say.
    pub deflate: Option<bool>,
    /// The machine's configured name.
    pub site: String,
    /// The build's name.
    pub build: String,
    /// Where the data comes from.
    pub origin: Origin,
    /// Folder of the rings.
    pub ring_dir: PathBuf,
    /// Slots of the ring, a power of two.
    pub ring_slots: u64,
    /// Folder of what must survive: epochs and quarantined frames.
    pub state_dir: PathBuf,
    /// Where to write the session's inputs, if wanted.
    pub capture: Option<PathBuf>,
    /// Certificates to trust beside the public ones.
    pub tls: TlsOptions,
    /// Waits between attempts.
    pub backoff: BackoffConfig,
    /// Whether to burn a core for latency instead of sleeping.
    pub waiting: Waiting,
    /// Seeds jitter and masks.
    pub seed: u64,
}

/// What the loop does while nothing happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// Sleep in the kernel.
    #[default]
    Block,
    /// Read again and again.
    Spin,
}

/// Why a feed cannot run (on).
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The venue or its settings.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// An address in the configuration.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// A certificate in the configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The ring.
    #[error(transparent)]
    Ring(#[from] ring::RingError),
    /// The epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A thread or event descriptor could not be had.
    #[error("the operating system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Ends a running feed from another thread, in order.
#[derive(Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stop {
    /// A stop that has not been asked for.
    pub fn new() -> io::Result<Stop> {
        Ok(Stop { flag: Arc::default(), waker: Arc::new(Waker::new()?) })
    }
    /// Asks for the end.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }
    fn asked(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// The connection's state.
enum Link {
    /// Not connected; the next attempt is due then.
    Down { until: UnixNanos },
    /// An attempt is under way.
    Dialing(Dial),
    /// Connected.
    Open(Box<Open>),
}

struct Open {
    stream: Stream,
    decoder: Decoder,
    encoder: Encoder,
    /// Frames of the machine that wait for the message budget.
    waiting: VecDeque<Outgoing>,
    messages: Budget,
    /// Nothing valid came yet on this connection.
    fresh: bool,
}

/// Why a connection ends.
struct Lost(Reason, String);

/// Bytes read in one go; a burst of a busy venue fits.
const READ_BYTES: usize = 256 << 10;
/// Reads in one turn before timers and answers get their chance.
const READS_MAX: usize = 16;
/// Time for lookup, TCP, TLS and upgrade together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the wall clock is compared and metrics are shown.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// Empty reads between two looks at timers and answers when spinning.
const SPINS: u32 = 256;

/// One venue's feed.
pub struct Feed {
    options: FeedOptions,
    endpoint: Endpoint,
    session: Session,
    out: Outbox,
    clock: clock::RunClock,
    writer: ring::Writer,
    rest: RestClient,
    request_budget: Budget,
    request_cost_max: u32,
    requests: VecDeque<Request>,
    connections: Budget,
    backoff: Backoff,
    rng: fastrand::Rng,
    tls: TlsClient,
    link: Link,
    stop: Stop,
    capture: Option<CaptureWriter>,
    quarantine: Quarantine,
    metrics: FeedMetrics,
    housekeeping: UnixNanos,
    last_frame: UnixNanos,
    /// When a record of each type was last told, by the type's code.
    newest: [UnixNanos; 32],
    /// The bell rang since it was last silenced, as far as the last sleep could tell.
    rang: bool,
    spec: &'static venues::Spec,
}

impl Feed {
    /// Claims the ring, takes a new epoch and reads back what an earlier run told. Connects to nothing yet.
    pub fn open(options: FeedOptions, stop: Stop, registry: &Registry) -> Result<Feed, FeedError> {
        let spec = venues::spec(options.venue, &options.choices)?;
        let endpoint = Endpoint::parse(&options.ws_url)?;
        Endpoint::parse(&options.rest_url)?;
        let machine = venues::machine(options.venue, &options.settings, &options.choices)?;
        let tls = TlsClient::new(&options.tls)?;
        let clock = clock::RunClock::start();
        let name = options.venue.name();
        let directory = ring::Directory::open(&options.ring_dir)?;
        let floor = newest_epoch(&directory, name).map_or(0, |e| e + 1);
        let epoch = epoch::next(&options.state_dir, name, clock.now() / 1_000_000_000, floor)?;
        let writer = ring::Writer::open(&directory, name, ring::WriterOptions { slots: options.ring_slots, epoch })?;
        let rest = RestClient::new(&tls, RestConfig::default(), stop.waker.clone())
            .map_err(|source| FeedError::System { what: "a thread for REST requests", source })?;
        let capture = options.capture.as_deref().map(CaptureWriter::create).transpose()?;
        let mut session_settings = options.session;
        // A ring must always hold a refresh of every instrument, however small it is.
        session_settings.refresh_records = session_settings.refresh_records.min(writer.capacity() / 4);
        let mut feed = Feed {
            session: Session::new(machine, session_settings),
            out: Outbox::new(),
            request_budget: Budget::new(spec.requests.count, spec.requests.per),
            request_cost_max: spec.requests.count,
            requests: VecDeque::new(),
            connections: Budget::new(spec.connections.count, spec.connections.per),
            backoff: Backoff::new(options.backoff),
            rng: fastrand::Rng::with_seed(options.seed),
            link: Link::Down { until: UnixNanos::ZERO },
            quarantine: Quarantine::new(&options.state_dir.join("quarantine"), name),
            metrics: FeedMetrics::new(registry, name),
            housekeeping: UnixNanos::ZERO,
            last_frame: UnixNanos::ZERO,
            newest: [UnixNanos::ZERO; 32],
            rang: true,
            endpoint,
            clock,
            writer,
            rest,
            tls,
            stop,
            capture,
            options,
            spec,
        };
        feed.begin(epoch)?;
        Ok(feed)
    }

    /// The run's epoch.
    pub fn epoch(&self) -> u64 {
        self.session.epoch()
    }

    /// Runs until it is stopped, or until the ring or the capture fails.
    pub fn run(&mut self) -> Result<(), FeedError> {
        while !self.stop.asked() {
            self.turn()?;
        }
        self.end()
    }

    fn now(&self) -> UnixNanos {
        UnixNanos(self.clock.now())
    }

    fn begin(&mut self, epoch: u64) -> Result<(), FeedError> {
        let memories = match self.writer.before()? {
            Some(reader) => remembered(reader)?,
            None => HashMap::new(),
        };
        let now = self.now();
        let (site, build) = (self.options.site.clone(), self.options.build.clone());
        let (pid, origin) = (std::process::id(), self.options.origin);
        self.step(Input::Start { epoch, pid, origin, site: &site, build: &build }, now)?;
        let mut memories: Vec<_> = memories.into_iter().collect();
        memories.sort_by_key(|(id, _)| *id);
        for (instrument, memory) in memories {
            self.step(Input::Remember(instrument, memory), now)?;
        }
        self.commit(now);
        Ok(())
    }

    fn end(&mut self) -> Result<(), FeedError> {
        let now = self.now();
        if let Link::Open(open) = &mut self.link {
            let mut bytes = vec![];
            open.encoder.close(1000, "shutdown", &mut bytes);
            // The venue may be gone already; we leave either way.
            let _ = open.stream.send(&bytes);
            open.stream.shutdown();
        }
        self.step(Input::Disconnected(Reason::Shutdown, "shutting down"), now)?;
        self.step(Input::End(Reason::Shutdown), now)?;
        self.commit(now);
        self.metrics.show(&self.session);
        if let Some(capture) = &mut self.capture {
            capture.flush()?;
        }
        Ok(())
    }

    /// Steps the session, with the capture's copy first.
    #[inline]
    fn step(&mut self, input: Input<'_>, now: UnixNanos) -> Result<(), FeedError> {
        if let Some(capture) = &mut self.capture {
            capture.write(&input, now)?;
        }
        self.session.step(input, now, &mut self.out);
        Ok(())
    }

    /// Publishes what the outbox tells.
    #[inline]
    fn commit(&mut self, received: UnixNanos) {
        if self.out.records.is_empty() {
            return;
        }
        for record in self.out.records.iter() {
            self.writer.push(record);
            // Byte 0 of a record is its type.
            self.newest[usize::from(record[0] as u8) % self.newest.len()] = received;
        }
        let published = self.clock.now();
        self.writer.publish(published);
        self.metrics.publish.record(published.saturating_sub(received.0));
        self.out.records.clear();
    }

    /// Everything that can happen, once: timers, answers, the connection, what the machine wants, then sleep.
    fn turn(&mut self) -> Result<(), FeedError> {
        if std::mem::take(&mut self.rang) {
            self.stop.waker.clear();
        }
        let now = self.now();
        if self.session.next_timer().is_some_and(|due| due <= now) || self.session.wants_timer() {
            self.step(Input::Timer, now)?;
        }
        if now >= self.housekeeping {
            self.keep_house(now)?;
        }
        self.take_answers()?;
        self.serve_link()?;
        self.serve_wishes()?;
        self.commit(now);
        self.sleep();
        Ok(())
    }

    fn keep_house(&mut self, now: UnixNanos) -> Result<(), FeedError> {
        self.housekeeping = now.after(HOUSEKEEPING);
        self.metrics.show(&self.session);
        self.metrics.frame_age_ms.set(now.since(self.last_frame).as_millis() as i64);
        for (kind, gauge) in &self.metrics.stream_age_ms {
            let newest = self.newest[*kind as usize];
            // A stream that never told anything has no age.
            gauge.set(if newest == UnixNanos::ZERO { -1 } else { now.since(newest).as_millis() as i64 });
        }
        if let Some(capture) = &mut self.capture {
            capture.flush()?;
        }
        if let Some(step) = self.clock.check(now.0, clock::wall_ns()) {
            tracing::warn!(venue = %self.options.venue, wall = step.wall, expected = step.expected, "the wall clock stepped");
            self.step(Input::Clock(UnixNanos(step.wall)), now)?;
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Result<(), FeedError> {
        while let Some(done) = self.rest.poll() {
            let now = self.now();
            let id = RequestId(done.id);
            match done.result {
                Ok(r) => {
                    if let (429 | 418, Some(wait)) = (r.status, r.retry_after()) {
                        self.request_budget.hold_until(Duration::from_nanos(now.0) + wait);
                    }
                    let reply = Reply::Http { status: r.status, body: &r.body, retry_after: r.retry_after() };
                    self.step(Input::Response(id, reply), now)?;
                }
                Err(e) => {
                    let why = e.to_string();
                    tracing::warn!(venue = %self.options.venue, "{why}");
                    self.step(Input::Response(id, Reply::Failed(&why)), now)?;
                }
            }
            self.commit(now);
        }
        Ok(())
    }

    fn serve_link(&mut self) -> Result<(), FeedError> {
        match std::mem::replace(&mut self.link, Link::Down { until: UnixNanos::ZERO }) {
            Link::Down { until } => self.serve_down(until),
            Link::Dialing(dial) => self.serve_dial(dial),
            Link::Open(mut open) => {
                let read = self.read(&mut open)?;
                self.link = Link::Open(open);
                match read {
                    Ok(()) => Ok(()),
                    Err(lost) => self.lose(lost, None),
                }
            }
        }
    }

    fn serve_down(&mut self, until: UnixNanos) -> Result<(), FeedError> {
        let now = self.now();
        if now < until {
            self.link = Link::Down { until };
            return Ok(());
        }
        if let Err(wait) = self.connections.admit(Duration::from_nanos(now.0)) {
            let text =
                format!("the venue's connection budget is spent; the next try is in {:.1} s", wait.as_secs_f64());
            tracing::warn!(venue = %self.options.venue, "{text}");
            self.step(Input::Disconnected(Reason::Budget, &text), now)?;
            self.link = Link::Down { until: now.after(wait) };
            return Ok(());
        }
        let to = self.options.ws_url.clone();
        self.step(Input::Connecting(&to), now)?;
        let request = DialRequest {
            endpoint: self.endpoint.clone(),
            headers: vec![],
            deflate: self.options.deflate.unwrap_or(self.spec.deflate).then(DeflateOffer::default),
            timeout: DIAL_TIMEOUT,
            seed: self.rng.u64(..),
        };
        let dial = Dial::start(request, self.tls.clone(), self.stop.waker.clone())
            .map_err(|source| FeedError::System { what: "a thread to connect with", source })?;
        self.link = Link::Dialing(dial);
        Ok(())
    }

    fn serve_dial(&mut self, mut dial: Dial) -> Result<(), FeedError> {
        match dial.poll() {
            None => {
                self.link = Link::Dialing(dial);
                Ok(())
            }
            Some(Err(e)) => {
                let reason = if e.retry_after().is_some() { Reason::Refused } else { Reason::Connection };
                self.lose(Lost(reason, e.to_string()), e.retry_after())
            }
            Some(Ok(dialed)) => {
                let config = DecoderConfig {
                    buffer_bytes: READ_BYTES,
                    max_message_bytes: self.spec.frame_max,
                    deflate: dialed.upgraded.deflate,
                    ..DecoderConfig::new(Role::Client)
                };
                let mut decoder = Decoder::new(config);
                decoder.push(&dialed.upgraded.leftover);
                let limit = self.spec.messages;
                let open = Open {
                    stream: dialed.stream,
                    decoder,
                    encoder: Encoder::client(self.rng.fork()),
                    waiting: VecDeque::new(),
                    messages: Budget::new(limit.count, limit.per),
                    fresh: true,
                };
                let now = self.now();
                self.metrics.connects.add(1);
                self.metrics.connected.set(1);
                self.last_frame = now;
                tracing::info!(venue = %self.options.venue, url = %self.options.ws_url, "connected");
                self.step(Input::Connected, now)?;
                self.link = Link::Open(Box::new(open));
                Ok(())
            }
        }
    }

    /// Tells the loss and plans the next attempt.
    fn lose(&mut self, Lost(reason, why): Lost, retry_after: Option<Duration>) -> Result<(), FeedError> {
        let now = self.now();
        let wait = self.backoff.next(&mut self.rng).max(retry_after.unwrap_or(Duration::ZERO));
        let text = format!("{why}; the next try is in {:.1} s", wait.as_secs_f64());
        tracing::warn!(venue = %self.options.venue, "{text}");
        if let Link::Open(open) = &mut self.link {
            open.stream.shutdown();
        }
        self.metrics.disconnects.add(1);
        self.metrics.connected.set(0);
        self.step(Input::Disconnected(reason, &text), now)?;
        self.requests.clear();
        self.link = Link::Down { until: now.after(wait) };
        Ok(())
    }

    /// Reads what is there, steps every frame, publishes after each read.
    fn read(&mut self, open: &mut Open) -> Result<Result<(), Lost>, FeedError> {
        let mut spins = 0;
        for _ in 0..READS_MAX {
            // Bytes may wait in the decoder from the upgrade, so frames are taken first.
            match open.decoder.fill(&mut open.stream) {
                Ok(0) => return Ok(Err(Lost(Reason::Connection, "the venue closed the connection".to_owned()))),
                Ok(n) => {
                    self.metrics.bytes.add(n as u64);
                    self.metrics.reads.add(1);
                    if let Err(lost) = self.take_frames(open)? {
                        return Ok(Err(lost));
                    }
                    // A read that did not fill the room has emptied the socket: the next would only say so.
                    if n < READ_BYTES / 2 && !open.stream.has_unread() && self.options.waiting == Waiting::Block {
                        return Ok(Ok(()));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.options.waiting == Waiting::Block || spins == SPINS {
                        if open.decoder.pending_bytes() > 0 && open.fresh {
                            // What came with the upgrade's answer is not announced by the socket.
                            return self.take_frames(open);
                        }
                        return Ok(Ok(()));
                    }
                    spins += 1;
                    std::hint::spin_loop();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Ok(Err(Lost(Reason::Connection, format!("the connection broke: {e}")))),
            }
        }
        Ok(Ok(()))
    }

    fn take_frames(&mut self, open: &mut Open) -> Result<Result<(), Lost>, FeedError> {
        let received = self.now();
        let books = self.session.machine().counts().book_updates;
        loop {
            match open.decoder.next_message() {
                Ok(None) => break,
                Ok(Some(Message::Text(frame) | Message::Binary(frame))) => {
                    if let Some(capture) = &mut self.capture {
                        capture.write(&Input::Frame(frame), received)?;
                    }
                    match self.session.step(Input::Frame(frame), received, &mut self.out) {
                        None => {
                            if open.fresh {
                                open.fresh = false;
                                self.backoff.reset();
                            }
                        }
                        Some(bad) => quarantine(&mut self.quarantine, self.options.venue, frame, &bad, received),
                    }
                    if self.out.reconnect.is_some() {
                        break;
                    }
                }
                Ok(Some(Message::Ping(payload))) => {
                    let mut bytes = Vec::with_capacity(payload.len() + 14);
                    open.encoder.pong(payload, &mut bytes);
                    // A pong must not wait, but it counts: what we say next waits the longer for it.
                    let _ = open.messages.admit(Duration::from_nanos(received.0));
                    if let Err(e) = open.stream.send(&bytes) {
                        return Ok(Err(Lost(Reason::Connection, format!("the connection broke: {e}"))));
                    }
                }
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close { code, reason })) => {
                    let why = String::from_utf8_lossy(reason);
                    let code = code.map_or_else(|| "no code".to_owned(), |c| c.to_string());
                    self.commit(received);
                    let text = format!(
                        "the venue closed the connection ({code}{}{why})",
                        if why.is_empty() { "" } else { ": " }
                    );
                    return Ok(Err(Lost(Reason::Venue, text)));
                }
                Err(e) => {
                    self.commit(received);
                    return Ok(Err(Lost(Reason::Malformed, format!("the venue broke the WebSocket protocol: {e}"))));
                }
            }
        }
        self.last_frame = received;
        self.sample(received);
        let told = !self.out.records.is_empty();
        self.commit(received);
        if told && self.session.machine().counts().book_updates != books {
            self.metrics.book.record(self.clock.now().saturating_sub(received.0));
        }
        if self.session.wants_timer() {
            self.step(Input::Timer, received)?;
            self.commit(received);
        }
        Ok(Ok(()))
    }

    /// The venue's latency, from the first record of a read that carries the venue's time.
    #[inline]
    fn sample(&mut self, received: UnixNanos) {
        if let Some(event) = self.out.records.iter().next().map(|words| words[1])
            && event != 0
            && received.0 > event
        {
            self.metrics.venue.record(received.0 - event);
        }
    }

    /// Sends frames and makes requests within the venue's budgets; reconnects when the machine asks for it.
    fn serve_wishes(&mut self) -> Result<(), FeedError> {
        if let Some((reason, why)) = self.out.reconnect.take() {
            self.out.frames.clear();
            self.lose(Lost(reason, why), None)?;
        }
        let now = Duration::from_nanos(self.clock.now());
        self.requests.extend(self.out.requests.drain(..));
        while let Some(request) = self.requests.front() {
            if self.request_budget.admit_cost(now, request.weight.clamp(1, self.request_cost_max)).is_err() {
                break;
            }
            let Some(request) = self.requests.pop_front() else { break };
            self.submit(request)?;
        }
        if let Link::Open(open) = &mut self.link {
            open.waiting.extend(self.out.frames.drain(..));
            let sent = send_waiting(open, now);
            if let Err(e) = sent.and_then(|()| open.stream.flush()) {
                self.lose(Lost(Reason::Connection, format!("the connection broke: {e}")), None)?;
            }
        }
        // Frames for a connection that is gone have no receiver.
        self.out.frames.clear();
        Ok(())
    }

    fn submit(&mut self, request: Request) -> Result<(), FeedError> {
        let url = format!("{}{}", self.options.rest_url, request.path);
        let get = rest::Request { id: request.id.0, method: rest::Method::Get, url, headers: vec![] };
        if let Err(e) = self.rest.submit(get) {
            let now = self.now();
            let why = e.to_string();
            self.step(Input::Response(request.id, Reply::Failed(&why)), now)?;
        }
        Ok(())
    }

    /// Sleeps until the socket, an answer, a timer or the stop wakes it.
    fn sleep(&mut self) {
        if self.options.waiting == Waiting::Spin && matches!(self.link, Link::Open(_)) {
            self.rang = true;
            return;
        }
        let now = self.now();
        let mut until = self.session.next_timer().unwrap_or(UnixNanos(u64::MAX)).min(self.housekeeping_due());
        if let Link::Down { until: retry } = self.link {
            until = until.min(retry);
        }
        let now_d = Duration::from_nanos(now.0);
        if let Some(request) = self.requests.front() {
            let cost = request.weight.clamp(1, self.request_cost_max);
            until = until.min(now.after(self.request_budget.clone().admit_cost(now_d, cost).err().unwrap_or_default()));
        }
        let waker = self.stop.waker.clone();
        let bell = watch(&*waker, Interest::Read);
        // A failed wait only costs a turn: whatever is wrong with a descriptor shows when it is read.
        let _ = match &self.link {
            Link::Open(open) if open.stream.has_unread() => {
                self.rang = true;
                Ok(0)
            }
            Link::Open(open) => {
                if !open.waiting.is_empty() {
                    until = until.min(now.after(open.messages.clone().admit(now_d).err().unwrap_or_default()));
                }
                let mut fds = [bell, watch(open.stream.socket(), open.stream.interest())];
                let woken = wait(&mut fds, Some(until.since(now)));
                self.rang = readable(&fds[0]);
                woken
            }
            _ => {
                let mut fds = [bell];
                let woken = wait(&mut fds, Some(until.since(now)));
                self.rang = readable(&fds[0]);
                woken
            }
        };
    }

    /// Housekeeping must not wake an idle feed more often than it needs.
    fn housekeeping_due(&self) -> UnixNanos {
        self.housekeeping.after(HOUSEKEEPING)
    }
}

/// Sends what the message budget allows.
fn send_waiting(open: &mut Open, now: Duration) -> io::Result<()> {
    let mut bytes = vec![];
    while let Some(frame) = open.waiting.front() {
        if open.messages.admit(now).is_err() {
            break;
        }
        if frame.binary {
            open.encoder.binary(&frame.payload, &mut bytes);
        } else {
            open.encoder.text_bytes(&frame.payload, &mut bytes);
        }
        open.waiting.pop_front();
    }
    if bytes.is_empty() { Ok(()) } else { open.stream.send(&bytes) }
}

#[cold]
fn quarantine(quarantine: &mut Quarantine, venue: Venue, frame: &[u8], bad: &venues::Quarantined, received: UnixNanos) {
    match quarantine.keep(frame, bad, received.0) {
        Ok(true) => {
            tracing::warn!(%venue, kept = %quarantine.path().display(), "frame {} is malformed: {}", bad.frame, bad.error)
        }
        Ok(false) => tracing::warn!(%venue, "frame {} is malformed: {}; the quarantine is full", bad.frame, bad.error),
        Err(e) => {
            tracing::error!(%venue, "frame {} is malformed: {}; it cannot be kept in {}: {e}", bad.frame, bad.error, quarantine.path().display())
        }
    }
}

/// The newest epoch a ring holds, if there is one that can be read.
fn newest_epoch(directory: &ring::Directory, name: &str) -> Option<u64> {
    let reader = ring::Reader::open(directory, name).ok()?;
    reader.epochs().ok()?.last().map(|e| e.epoch)
}

/// What the ring's earlier runs told of each instrument.
fn remembered(mut reader: ring::Reader) -> Result<HashMap<InstrumentId, Memory>, ring::RingError> {
    let mut memories: HashMap<InstrumentId, Memory> = HashMap::new();
    let mut take = |words: &[u64]| {
        let Ok(record) = Record::read(words) else { return };
        let Ok(header) = wire::Header::read(words) else { return };
        if header.instrument() == InstrumentId::NONE {
            return;
        }
        let memory = memories.entry(header.instrument()).or_default();
        memory.last_seen = memory.last_seen.max(UnixNanos(words[2]));
        if let Record::Trade(trade) = record
            && let Some(id) = trade.id()
        {
            memory.trade_id = memory.trade_id.max(Some(id));
        }
    };
    loop {
        match reader.poll(4096, |_, words| take(words))? {
            ring::Poll::Idle | ring::Poll::Retired => return Ok(memories),
            ring::Poll::Records(_) | ring::Poll::Lapped(_) => {}
        }
    }
}
