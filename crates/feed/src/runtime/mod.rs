//! One venue's feed: the loop that drives its machines over real sockets and puts what they tell into the ring.
//!
//! sockets -> [`Decoder`](crate::websocket::Decoder) -> [`Session::step_line`] -> [`Outbox`] -> ring, and the books as
//! they are then into the table of latest values. One thread, one page: everything that can wake it is in `Feed::turn`. On the good path there is no allocation, no lock and no log
//! line. Connections are in `links`, their replacement before the venue cuts them in `renew`.

mod ask;
mod link;
mod links;
mod memory;
mod options;
mod renew;
mod table;

pub use options::{FeedError, FeedOptions, Stop, Waiting};
pub use table::Latest;

use crate::{
    budget::Budget,
    cpu, epoch,
    metrics::FeedMetrics,
    quarantine::Quarantine,
    rest::{self, RestClient, RestConfig},
    transport::{Endpoint, Interest, TlsClient, readable, wait, watch},
};
use capture::{About, Anchor, RunSettings, Tap};
use link::{Link, State};
use memory::{newest_epoch, remembered};
use model::{Reason, UnixNanos, Venue};
use std::{collections::VecDeque, time::Duration};
use telemetry::{Registry, clock};
use venues::{Input, Outbox, Reply, Request, RequestId, Session};

/// How long a feed that ends waits for the disk of its capture.
const CAPTURE_PATIENCE: Duration = Duration::from_secs(2);
/// How often the wall clock is compared and metrics are shown.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// One venue's feed.
pub struct Feed {
    options: FeedOptions,
    session: Session,
    out: Outbox,
    clock: clock::RunClock,
    writer: ring::Writer,
    table: Latest,
    rest: RestClient,
    request_budget: Budget,
    request_cost_max: u32,
    /// Requests that wait for the budget, with their links.
    requests: VecDeque<(usize, Request)>,
    /// Requests under way, with their links.
    asked: Vec<(RequestId, usize)>,
    connections: Budget,
    rng: fastrand::Rng,
    tls: TlsClient,
    /// Where consumers ask for snapshots; `None` where that could not be opened.
    door: Option<ask::Door>,
    links: Vec<Link>,
    renew_after: Option<Duration>,
    stop: Stop,
    capture: Option<Tap>,
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
        Endpoint::parse(&options.rest_url)?;
        if let Some(cpu) = options.cpu {
            cpu::check(cpu)?;
        }
        let renew_after = renew::after(&options, spec);
        let clock = clock::RunClock::start();
        let (links, lines) = links::plan(&options, renew_after.is_some(), UnixNanos(clock.now()))?;
        let tls = TlsClient::new(&options.tls)?;
        let name = options.venue.name();
        let directory = ring::Directory::open(&options.ring_dir)?;
        let floor = newest_epoch(&directory, name).map_or(0, |e| e + 1);
        let epoch = epoch::next(&options.state_dir, name, clock.now() / 1_000_000_000, floor)?;
        let writer = ring::Writer::open(&directory, name, ring::WriterOptions { slots: options.ring_slots, epoch })?;
        let symbols = options.settings.symbols.len();
        let table = Latest::open(&directory, options.venue, (epoch, options.origin), symbols, clock.now())?;
        let rest = RestClient::new(&tls, RestConfig::default(), stop.waker.clone())
            .map_err(|source| FeedError::System { what: "a thread for REST requests", source })?;
        let mut session_settings = options.session;
        // A ring must always hold a refresh of every instrument, however small it is.
        session_settings.refresh_records = session_settings.refresh_records.min(writer.capacity() / 4);
        let session = Session::with_lines(lines, session_settings);
        let capture = begin_capture(&options, &session, session_settings, epoch, UnixNanos(clock.now()))?;
        let door = ask::Door::open(ask::path(directory.path(), name), stop.waker.clone());
        let door = door
            .inspect_err(|e| tracing::warn!(venue = name, "nobody can ask for snapshots: {e}; they come in their turn"))
            .ok();
        let mut feed = Feed {
            session,
            out: Outbox::new(),
            request_budget: Budget::new(spec.requests.count, spec.requests.per),
            request_cost_max: spec.requests.count,
            requests: VecDeque::new(),
            asked: vec![],
            connections: Budget::new(spec.connections.count, spec.connections.per),
            rng: fastrand::Rng::with_seed(options.seed),
            links,
            renew_after,
            quarantine: Quarantine::new(&options.state_dir.join("quarantine"), name),
            metrics: FeedMetrics::new(registry, name),
            housekeeping: UnixNanos::ZERO,
            last_frame: UnixNanos::ZERO,
            newest: [UnixNanos::ZERO; 32],
            rang: true,
            clock,
            writer,
            table,
            rest,
            door,
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
        if let Some(cpu) = self.options.cpu {
            cpu::pin(cpu)?;
        }
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
            None => vec![],
        };
        let now = self.now();
        let (site, build) = (self.options.site.clone(), self.options.build.clone());
        let (pid, origin) = (std::process::id(), self.options.origin);
        self.step(0, Input::Start { epoch, pid, origin, site: &site, build: &build }, now)?;
        for (instrument, memory) in &memories {
            self.step(0, Input::Remember(*instrument, memory), now)?;
        }
        self.commit(now);
        Ok(())
    }

    fn end(&mut self) -> Result<(), FeedError> {
        let now = self.now();
        for index in 0..self.links.len() {
            if self.links[index].say_goodbye("shutdown") || index == 0 {
                self.step(index, Input::Disconnected(Reason::Shutdown, "shutting down"), now)?;
            }
        }
        self.step(0, Input::End(Reason::Shutdown), now)?;
        self.commit(now);
        self.table.close(Reason::Shutdown, now);
        self.metrics.show(&self.session);
        if let Some(capture) = self.capture.take() {
            self.metrics.show_capture(capture.close(CAPTURE_PATIENCE));
        }
        Ok(())
    }

    /// Steps a line of the session, with the capture's copy first.
    #[inline]
    fn step(&mut self, line: usize, input: Input<'_>, now: UnixNanos) -> Result<(), FeedError> {
        if let Some(capture) = &mut self.capture {
            capture.input(line, &input, now);
        }
        self.session.step_line(line, input, now, &mut self.out);
        Ok(())
    }

    /// Publishes what the outbox tells, then writes the table's rows of what it was about.
    #[inline]
    fn commit(&mut self, received: UnixNanos) {
        if self.out.records.is_empty() {
            return;
        }
        for record in self.out.records.iter() {
            let sequence = self.writer.push(record);
            self.table.note(record, sequence);
            // Byte 0 of a record is its type.
            self.newest[usize::from(record[0] as u8) % self.newest.len()] = received;
        }
        let published = self.clock.now();
        self.writer.publish(published);
        self.metrics.publish.record(published.saturating_sub(received.0));
        self.out.records.clear();
        self.table.write(&self.session, published);
    }

    /// Everything that can happen, once: timers, answers, the connections, what the machines want, then sleep.
    fn turn(&mut self) -> Result<(), FeedError> {
        if std::mem::take(&mut self.rang) {
            self.stop.waker.clear();
            self.take_demands()?;
        }
        let now = self.now();
        for line in 0..self.links.len() {
            if self.session.timer_is_due(line, now) {
                self.step(line, Input::Timer, now)?;
                self.collect(line)?;
            }
        }
        if now >= self.housekeeping {
            self.keep_house(now)?;
        }
        self.take_answers()?;
        for index in 0..self.links.len() {
            self.serve_link(index)?;
        }
        self.make_requests()?;
        self.send_frames()?;
        self.commit(now);
        if let Some(capture) = &mut self.capture {
            capture.hand_over(now);
        }
        self.sleep();
        Ok(())
    }

    /// What consumers asked for since. A book that waits to be told already needs no other input.
    fn take_demands(&mut self) -> Result<(), FeedError> {
        while let Some(asked) = self.door.as_ref().and_then(ask::Door::take) {
            let now = self.now();
            let named: Vec<_> = asked.symbols.iter().map(|symbol| self.session.named(symbol)).collect();
            if let Some(unknown) = named.iter().position(Vec::is_empty).filter(|_| named.iter().all(Vec::is_empty)) {
                let words = format!("no instrument of {} is called {:?}", self.options.venue, asked.symbols[unknown]);
                asked.answer(Err(words));
                continue;
            }
            let mut ids: Vec<_> = named.into_iter().flatten().filter(|id| self.session.has_live_book(*id)).collect();
            ids.sort_unstable();
            ids.dedup();
            for id in &ids {
                if !self.session.is_asked_for(*id) {
                    self.step(0, Input::Snapshot(*id), now)?;
                }
            }
            asked.answer(Ok(ids.len()));
        }
        Ok(())
    }

    fn keep_house(&mut self, now: UnixNanos) -> Result<(), FeedError> {
        self.housekeeping = now.after(HOUSEKEEPING);
        self.table.beat(now);
        self.metrics.show(&self.session);
        self.metrics.frame_age_ms.set(now.since(self.last_frame).as_millis() as i64);
        for (kind, gauge) in &self.metrics.stream_age_ms {
            let newest = self.newest[*kind as usize];
            // A stream that never told anything has no age.
            gauge.set(if newest == UnixNanos::ZERO { -1 } else { now.since(newest).as_millis() as i64 });
        }
        if let Some(capture) = &self.capture {
            self.metrics.show_capture(capture.stats());
        }
        if let Some(step) = self.clock.check(now.0, clock::wall_ns()) {
            tracing::warn!(venue = %self.options.venue, wall = step.wall, expected = step.expected, "the wall clock stepped");
            self.step(0, Input::Clock(UnixNanos(step.wall)), now)?;
        }
        self.renew(now)
    }

    fn take_answers(&mut self) -> Result<(), FeedError> {
        while let Some(done) = self.rest.poll() {
            let now = self.now();
            let id = RequestId(done.id);
            let Some(at) = self.asked.iter().position(|(asked, _)| *asked == id) else { continue };
            let line = self.asked.swap_remove(at).1;
            match done.result {
                Ok(r) => {
                    if let (429 | 418, Some(wait)) = (r.status, r.retry_after()) {
                        self.request_budget.hold_until(Duration::from_nanos(now.0) + wait);
                    }
                    let reply = Reply::Http { status: r.status, body: &r.body, retry_after: r.retry_after() };
                    self.step(line, Input::Response(id, reply), now)?;
                }
                Err(e) => {
                    let why = e.to_string();
                    tracing::warn!(venue = %self.options.venue, "{why}");
                    self.step(line, Input::Response(id, Reply::Failed(&why)), now)?;
                }
            }
            self.collect(line)?;
            self.commit(now);
        }
        Ok(())
    }

    /// Makes requests within the venue's budget, which all lines share.
    fn make_requests(&mut self) -> Result<(), FeedError> {
        let now = Duration::from_nanos(self.clock.now());
        while let Some((_, request)) = self.requests.front() {
            if self.request_budget.admit_cost(now, request.weight.clamp(1, self.request_cost_max)).is_err() {
                break;
            }
            let Some((line, request)) = self.requests.pop_front() else { break };
            self.submit(line, request)?;
        }
        Ok(())
    }

    fn submit(&mut self, line: usize, request: Request) -> Result<(), FeedError> {
        let url = format!("{}{}", self.options.rest_url, request.path);
        let headers = self.links[line].rest_headers.clone();
        let now = self.now();
        if let Some(capture) = &mut self.capture {
            capture.requested(line, (request.id, rest::Method::Get.name(), &url), &headers, now);
        }
        let get = rest::Request { id: request.id.0, method: rest::Method::Get, url, headers };
        match self.rest.submit(get) {
            Ok(()) => self.asked.push((request.id, line)),
            Err(e) => {
                let why = e.to_string();
                self.step(line, Input::Response(request.id, Reply::Failed(&why)), now)?;
                self.collect(line)?;
            }
        }
        Ok(())
    }

    /// Sleeps until a socket, an answer, a timer or the stop wakes it.
    fn sleep(&mut self) {
        let spins = self.options.waiting == Waiting::Spin && self.links.iter().any(|l| l.open().is_some());
        if spins || self.links.iter().any(|l| l.open().is_some_and(|open| open.stream.has_unread())) {
            self.rang = true;
            self.links.iter_mut().for_each(|link| link.ready = true);
            return;
        }
        let now = self.now();
        let timeout = self.sleep_until(now).since(now);
        let waker = self.stop.waker.clone();
        let bell = watch(&*waker, Interest::Read);
        let mut open = self.links.iter().filter_map(Link::open).map(|o| watch(o.stream.socket(), o.stream.interest()));
        // Two connections are the most that most venues have; more cost an allocation each sleep.
        let mut ready = [true; 2];
        self.rang = match (open.next(), open.next(), open.next()) {
            (None, ..) => {
                let mut fds = [bell];
                // A failed wait only costs a turn: whatever is wrong with a descriptor shows when it is read.
                let _ = wait(&mut fds, Some(timeout));
                readable(&fds[0])
            }
            (Some(one), None, _) => {
                let mut fds = [bell, one];
                let _ = wait(&mut fds, Some(timeout));
                readable(&fds[0])
            }
            (Some(one), Some(two), None) => {
                let mut fds = [bell, one, two];
                let _ = wait(&mut fds, Some(timeout));
                ready = [readable(&fds[1]), readable(&fds[2])];
                readable(&fds[0])
            }
            (Some(one), Some(two), Some(three)) => {
                let mut fds: Vec<_> = [bell, one, two, three].into_iter().chain(open).collect();
                let _ = wait(&mut fds, Some(timeout));
                readable(&fds[0])
            }
        };
        let mut ready = ready.into_iter().chain(std::iter::repeat(true));
        for link in self.links.iter_mut().filter(|link| link.open().is_some()) {
            link.ready = ready.next().unwrap_or(true);
        }
    }

    /// When there is something to do though nothing happens.
    fn sleep_until(&self, now: UnixNanos) -> UnixNanos {
        let now_d = Duration::from_nanos(now.0);
        let mut until = self.session.next_timer().unwrap_or(UnixNanos(u64::MAX)).min(self.housekeeping_due());
        if let Some((_, request)) = self.requests.front() {
            let cost = request.weight.clamp(1, self.request_cost_max);
            until = until.min(now.after(self.request_budget.clone().admit_cost(now_d, cost).err().unwrap_or_default()));
        }
        if let Some(due) = self.capture.as_ref().and_then(Tap::due) {
            until = until.min(due);
        }
        for link in &self.links {
            match &link.state {
                State::Down { until: retry } => until = until.min(*retry),
                State::Open(open) if !open.waiting.is_empty() => {
                    until = until.min(now.after(open.messages.clone().admit(now_d).err().unwrap_or_default()));
                }
                _ => {}
            }
        }
        until
    }

    /// Housekeeping must not wake an idle feed more often than it needs.
    fn housekeeping_due(&self) -> UnixNanos {
        self.housekeeping.after(HOUSEKEEPING)
    }
}

/// Begins to capture, if that is wanted.
fn begin_capture(
    options: &FeedOptions,
    session: &Session,
    settings: venues::SessionSettings,
    epoch: u64,
    now: UnixNanos,
) -> Result<Option<Tap>, FeedError> {
    let Some(how) = &options.capture else { return Ok(None) };
    let about = About {
        venue: options.venue,
        epoch,
        site: &options.site,
        build: &options.build,
        origin: options.origin,
        shape: &session.shape(),
        settings: RunSettings::new(&options.settings, &options.choices, settings),
        credentials: options.settings.credentials.as_ref(),
    };
    let tap = Tap::open(how, &about, Anchor::now(now));
    tap.map(Some).map_err(|source| FeedError::System { what: "a thread to write the capture with", source })
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
