//! One connection: HTTP requests until it ends or upgrades, then frames out and messages in until either side is done.
//!
//! One thread, one loop, one place to sleep. A turn moves the market on, takes this client's frames, answers what it
//! said, and writes all of that in one piece. While the socket is full nothing is taken, so a slow client costs the
//! log's bound and not more. At high rates a turn lasts at least [`TURN`], so that a write carries many frames.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use feed::transport::{Interest, Stream, Waker, readable, wait, watch};
use feed::websocket::handshake::{RequestHead, accept, accept_deflate};
use feed::websocket::{Decoder, DecoderConfig, Deflate, Deflater, Encoder, Message, Role};
use model::{StreamKind, UnixNanos};

use crate::faults::engine::FrameFaults;
use crate::faults::ledger::Spot;
use crate::faults::{Fault, Place, Trigger, refusal};
use crate::http::{Response, SERVER};
use crate::hub::{ConnectionPlan, Hub, Lapped, Pull};
use crate::market::{Market, TopicId};
use crate::options::EmulatedVenue;
use crate::outgoing::Outgoing;
use crate::requests::Part;
use crate::server::Shared;
use crate::stats::ConnectionStats;
use crate::{alpaca, binance, coinbase, kraken};

/// Shortest sleep between two writes of frames. At 100,000 frames a second a write then carries 100.
const TURN: Duration = Duration::from_millis(1);
/// Longest sleep, so that no missed wake-up lasts.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// A turn takes about this many bytes; the rest waits for the next.
const TURN_BYTES: usize = 1 << 20;
/// A client has this long to send a request.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// Most bytes of a request's body that are read and thrown away.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a message that is compressed whole.
const GIANT_DEFLATED_MAX: usize = 256 << 20;
/// After a close frame the client has this long to answer.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// Why and how the server ends a WebSocket connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// What a client was heard to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text,
    Ping,
    Pong,
}

/// A venue's half of one WebSocket connection.
pub(crate) trait Protocol: Send {
    /// The connection is open.
    fn open(&mut self, desk: &mut Desk<'_>);
    /// A frame of any kind came; an answer ends the connection.
    fn heard(&mut self, what: Heard, now: UnixNanos) -> Option<Close>;
    /// A text message came.
    fn text(&mut self, text: &[u8], desk: &mut Desk<'_>);
    /// A binary message came; an answer ends the connection.
    fn binary(&mut self, _: &[u8], _: &mut Desk<'_>) -> Option<Close> {
        Some(Close { code: 1003, reason: "text only" })
    }
    /// Called in every turn.
    fn turn(&mut self, desk: &mut Desk<'_>) -> Option<Close>;
    /// When [`Protocol::turn`] has something to do.
    fn next_timer(&self) -> UnixNanos;
}

/// What a protocol works with during one turn.
pub(crate) struct Desk<'a> {
    hub: &'a mut Hub,
    /// Frames to send.
    pub(crate) out: &'a mut Outgoing,
    subscribed: &'a mut [bool],
    number: u64,
    /// The turn's time.
    pub(crate) now: UnixNanos,
}

impl Desk<'_> {
    /// Sends an ack, status or heartbeat.
    pub(crate) fn say(&mut self, text: &str) {
        self.out.say(text.as_bytes());
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.out.encoder.ping(payload, &mut self.out.bytes);
    }

    pub(crate) fn market(&mut self) -> &mut dyn Market {
        &mut *self.hub.market
    }

    pub(crate) fn is_subscribed(&self, topic: TopicId) -> bool {
        self.subscribed[topic as usize]
    }

    /// Subscribes; the snapshot that comes back must be sent before anything else of the topic, see [`Desk::snapshot`].
    pub(crate) fn subscribe(&mut self, topic: TopicId) -> Option<Vec<u8>> {
        if self.is_subscribed(topic) {
            return None;
        }
        // Whatever stands in the log is older than the subscription: out with it, before the topic is one of ours.
        self.drain();
        let snapshot = self.hub.subscribe(topic, self.now);
        self.drain();
        self.subscribed[topic as usize] = true;
        snapshot
    }

    /// Sends a topic's snapshot.
    pub(crate) fn snapshot(&mut self, topic: TopicId, frame: &[u8]) {
        self.out.topic_frame(topic, frame);
    }

    /// Ends a subscription; `false` when there was none.
    pub(crate) fn unsubscribe(&mut self, topic: TopicId) -> bool {
        let was = std::mem::take(&mut self.subscribed[topic as usize]);
        if was {
            self.hub.unsubscribe(topic);
        }
        was
    }

    fn drain(&mut self) {
        // Lapped readers are found in the next turn; here nothing more can be done for them.
        let _ = take_frames(self.hub, self.out, self.subscribed, self.number, usize::MAX);
    }
}

fn take_frames(
    hub: &mut Hub,
    out: &mut Outgoing,
    subscribed: &[bool],
    number: u64,
    bytes_max: usize,
) -> Result<(), Lapped> {
    hub.pull(number, |topic, frame| {
        if subscribed[topic as usize] {
            out.topic_frame(topic, frame);
        }
        if out.bytes.len() < bytes_max && out.fired.is_empty() { Pull::More } else { Pull::Enough }
    })?;
    out.flush();
    Ok(())
}

pub(crate) struct Connection<'a> {
    number: u64,
    stream: Stream,
    shared: &'a Shared,
    waker: Arc<Waker>,
    drops: u64,
    crowded: bool,
    /// Whose requests count together.
    peer: IpAddr,
    /// A fault broke this connection: it ends without a word.
    broken: bool,
}

/// Why a connection's thread ends; the peer is told where the protocol has words for it.
enum End {
    /// Nothing more to say.
    Silent,
    /// With a close frame.
    Close(Close),
    /// The socket failed.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Broken(error)
    }
}

impl<'a> Connection<'a> {
    pub(crate) fn new(
        number: u64,
        stream: Stream,
        peer: IpAddr,
        shared: &'a Shared,
        waker: Arc<Waker>,
        crowded: bool,
    ) -> Self {
        let drops = shared.drops();
        Self { number, stream, shared, waker, drops, crowded, peer, broken: false }
    }

    pub(crate) fn run(mut self) {
        match self.requests() {
            Err(End::Broken(error)) => tracing::debug!(number = self.number, %error, "connection broke"),
            Err(End::Silent | End::Close(_)) | Ok(()) => {}
        }
        if self.drops == self.shared.drops() && !self.broken {
            self.stream.shutdown();
        }
    }

    fn interrupted(&self) -> bool {
        self.shared.stopping() || self.drops != self.shared.drops()
    }

    /// Sleeps until something is to be done; says whether the socket is readable.
    fn sleep(&mut self, timeout: Duration) -> io::Result<bool> {
        if self.stream.has_unread() {
            return Ok(true);
        }
        let mut fds = [watch(&self.stream, self.stream.interest()), watch(&*self.waker, Interest::Read)];
        wait(&mut fds, Some(timeout))?;
        let (ready, rung) = (readable(&fds[0]), readable(&fds[1]));
        if rung {
            self.waker.clear();
        }
        if self.stream.wants_write() {
            self.stream.flush()?;
        }
        Ok(ready)
    }

    /// Answers requests until one upgrades, and then serves that.
    fn requests(&mut self) -> Result<(), End> {
        let mut bytes = Vec::new();
        loop {
            let Some(head) = self.read_head(&mut bytes)? else { return Ok(()) };
            let now = self.shared.clock.now();
            let refused = self.shared.refusal(now).or(self.crowded.then_some((503, 1)));
            if let Some((status, wait)) = refused {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                let answer = refusal::answer(self.shared.venue, status, wait, &head.path, now);
                return self.respond(&head, answer, false, now);
            }
            let rest = bytes.split_off(head.head_bytes);
            bytes = rest;
            if head.is_upgrade() {
                return self.upgrade(&head, &bytes, now);
            }
            self.skip_body(&head, &mut bytes)?;
            let close = head.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let response = self.answer(&head, now);
            if response.unknown_path {
                self.shared.unknown_path(&head.path);
            }
            self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
            self.respond(&head, response, !close, now)?;
            if close {
                return Ok(());
            }
        }
    }

    /// Reads until a whole request head is there; `None` when the client is done.
    fn read_head(&mut self, bytes: &mut Vec<u8>) -> Result<Option<RequestHead>, End> {
        let start = self.shared.clock.now();
        loop {
            match RequestHead::parse(bytes) {
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) => {}
                Err(error) => {
                    let mut out = Vec::new();
                    Response::json(400, format!("{{\"error\":{}}}", serde_json::json!(error.to_string())))
                        .write(false, false, &mut out);
                    self.stream.send(&out)?;
                    return Ok(None);
                }
            }
            if !self.read_more(bytes, start)? {
                return Ok(None);
            }
        }
    }

    /// Reads some bytes; `false` at the end of the stream, of the patience, or of the server.
    fn read_more(&mut self, bytes: &mut Vec<u8>, start: UnixNanos) -> Result<bool, End> {
        let mut chunk = [0; 4096];
        loop {
            match io::Read::read(&mut self.stream, &mut chunk) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    bytes.extend_from_slice(&chunk[..read]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if self.interrupted() || self.shared.clock.now().since(start) > REQUEST_WITHIN {
                return Ok(false);
            }
            self.sleep(SLEEP_MAX)?;
        }
    }

    fn skip_body(&mut self, head: &RequestHead, bytes: &mut Vec<u8>) -> Result<(), End> {
        let length = head.header("Content-Length").and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
        if length > BODY_BYTES_MAX {
            return Err(End::Silent);
        }
        let start = self.shared.clock.now();
        while bytes.len() < length {
            if !self.read_more(bytes, start)? {
                return Err(End::Silent);
            }
        }
        bytes.drain(..length);
        Ok(())
    }

    fn answer(&self, head: &RequestHead, now: UnixNanos) -> Response {
        let mut hub = self.shared.hub.lock().expect("no holder of this lock panics");
        hub.advance(now);
        let mut response = match self.shared.venue {
            EmulatedVenue::Kraken => kraken::answer(head, &mut *hub.market, now),
            EmulatedVenue::Binance => {
                let mut rest = self.shared.binance_rest.lock().expect("no holder of this lock panics");
                rest.answer(head, self.peer, &mut *hub.market, now)
            }
            EmulatedVenue::Coinbase => {
                let left = self.shared.take_request((self.peer, Part::Data), coinbase::limit(&self.shared.limits), now);
                coinbase::answer(head, left, &mut *hub.market, now)
            }
            EmulatedVenue::Alpaca => {
                let (part, limit) = alpaca::limit(&head.path, &self.shared.account, &self.shared.limits);
                let left = self.shared.take_request((self.peer, part), limit, now);
                alpaca::answer(head, &self.shared.account, left, &mut *hub.market, now)
            }
        };
        if response.status == 200 && is_book(&head.path) {
            let url = format!("{}?{}", head.path, head.query.as_deref().unwrap_or_default());
            hub.rest_book(&url, &mut response.body, now);
        }
        response
    }

    fn respond(&mut self, head: &RequestHead, response: Response, keep: bool, now: UnixNanos) -> Result<(), End> {
        let mut out = Vec::new();
        let offered = head.header("Accept-Encoding").unwrap_or_default();
        let takes_gzip = self.shared.deflate && offered.split([',', ';']).any(|name| name.trim() == "gzip");
        response.write(keep, takes_gzip, &mut out);
        if let Some(journal) = &self.shared.journal {
            let query = head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            let url = format!("{}{query}", head.path);
            if let Err(error) = journal.rest(&head.method, &url, response.status, now, &response.body) {
                tracing::error!(%error, "the journal of REST answers cannot be written");
            }
        }
        self.stream.send(&out)?;
        let start = self.shared.clock.now();
        while self.stream.wants_write() {
            if self.interrupted() || self.shared.clock.now().since(start) > REQUEST_WITHIN {
                return Err(End::Silent);
            }
            self.sleep(SLEEP_MAX)?;
        }
        Ok(())
    }

    fn upgrade(&mut self, head: &RequestHead, early: &[u8], now: UnixNanos) -> Result<(), End> {
        let (limits, account) = (&self.shared.limits, &self.shared.account);
        let protocol: Option<Box<dyn Protocol>> = match self.shared.venue {
            EmulatedVenue::Kraken => kraken::at(head, self.number, limits, now),
            EmulatedVenue::Binance => binance::Protocol::at(head, limits, now),
            EmulatedVenue::Coinbase => coinbase::Protocol::at(head, account, limits, now),
            EmulatedVenue::Alpaca => {
                alpaca::Protocol::at(head, self.number, account, &self.shared.alpaca_sessions, limits, now)
            }
        };
        let Some(protocol) = protocol else {
            self.shared.unknown_path(&head.path);
            return self.respond(head, Response::page(404), false, now);
        };
        let key = match head.upgrade_key() {
            Ok(key) => key,
            Err(error) => {
                let body = format!("{{\"error\":{}}}", serde_json::json!(error.to_string()));
                return self.respond(head, Response::json(400, body), false, now);
            }
        };
        let mut out = Vec::new();
        let mut headers = vec![(SERVER.0.to_owned(), SERVER.1.to_owned())];
        let agreed = if self.shared.deflate { accept_deflate(&head.headers) } else { None };
        let terms = agreed.map(|(terms, answer)| {
            headers.push(("Sec-WebSocket-Extensions".to_owned(), answer));
            terms
        });
        accept(key, &headers, &mut out).map_err(io::Error::other)?;
        self.stream.send(&out)?;
        let number = self.number;
        let shared = self.shared;
        if let Some(journal) = &shared.journal {
            let query = head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            journal.opened(number, now, &format!("{}{query}", head.path))?;
        }
        let end = Session::new(self, protocol, early, terms, now)?.run();
        if let Some(journal) = &shared.journal {
            journal.closed(number, shared.clock.now())?;
        }
        end
    }
}

/// Whether a REST path serves whole books, at whichever venue.
fn is_book(path: &str) -> bool {
    let ends = ["/depth", "/Depth", "/book", "/product_book", "/latest/orderbooks"];
    ends.iter().any(|end| path.ends_with(end))
}

/// The WebSocket half of a connection.
struct Session<'c, 'a> {
    connection: &'c mut Connection<'a>,
    protocol: Box<dyn Protocol>,
    decoder: Decoder,
    out: Outgoing,
    /// The figures last made known.
    recorded: ConnectionStats,
    subscribed: Vec<bool>,
    /// Plans of the hub before this one were seen.
    plans_seen: usize,
    /// Until then, every byte is sent by itself.
    trickles_until: UnixNanos,
}

impl<'c, 'a> Session<'c, 'a> {
    fn new(
        connection: &'c mut Connection<'a>,
        protocol: Box<dyn Protocol>,
        early: &[u8],
        terms: Option<Deflate>,
        now: UnixNanos,
    ) -> Result<Self, End> {
        let shared = connection.shared;
        let journal = shared.journal.as_ref().map(|journal| journal.connection(connection.number)).transpose()?;
        let mut hub = shared.hub.lock().expect("no holder of this lock panics");
        hub.enter(connection.number);
        let kinds: Vec<StreamKind> = hub.market.topics().iter().map(|topic| topic.kind).collect();
        drop(hub);
        // Clients say little: small reads, and no client has more to say than a list of a thousand streams.
        let config = DecoderConfig {
            buffer_bytes: 8 << 10,
            max_message_bytes: 1 << 20,
            deflate: terms,
            ..DecoderConfig::new(Role::Server)
        };
        let mut decoder = Decoder::new(config);
        decoder.push(early);
        let subscribed = vec![false; kinds.len()];
        let mut out = Outgoing::new(connection.number, kinds, journal, now);
        out.deflater = terms.as_ref().and_then(Deflater::server);
        let recorded = ConnectionStats { number: connection.number, ..ConnectionStats::default() };
        let trickles_until = UnixNanos::ZERO;
        let mut session =
            Self { connection, protocol, decoder, out, recorded, subscribed, plans_seen: 0, trickles_until };
        // What was planned for all connections at once was before this one's time.
        let fired = session.plans(|plan| plan.planned.connection.is_some() || plan.planned.trigger != Trigger::Next);
        session.out.fired = fired;
        Ok(session)
    }

    /// Takes in the hub's new plans; those of the socket that need no frame come back.
    fn plans(&mut self, wanted: impl Fn(&ConnectionPlan) -> bool) -> Vec<Arc<ConnectionPlan>> {
        let shared = self.connection.shared;
        let number = self.connection.number;
        let hub = shared.hub.lock().expect("no holder of this lock panics");
        let mut now = Vec::new();
        for plan in hub.plans(self.plans_seen) {
            self.plans_seen += 1;
            let ours = plan.planned.connection.is_none_or(|connection| connection == number);
            if !ours || !wanted(plan) || plan.fired.load(Ordering::Acquire) {
                continue;
            }
            match (plan.planned.fault.place(), plan.planned.trigger) {
                (Place::Frames, _) => {
                    let fresh = || {
                        let faults = FrameFaults::new(Arc::clone(&shared.ledger), Some(number));
                        (faults, hub.market.topics().to_vec())
                    };
                    let (faults, _) = self.out.faults.get_or_insert_with(fresh);
                    faults.add(plan.id, plan.planned.clone(), shared.clock.now());
                }
                (_, Trigger::Next) => now.push(Arc::clone(plan)),
                _ => self.out.awaiting.push(Arc::clone(plan)),
            }
        }
        now
    }

    /// Does what faults want with this socket.
    fn suffer(&mut self) -> Result<(), End> {
        let mut fired = std::mem::take(&mut self.out.fired);
        fired.extend(self.plans(|_| true));
        let shared = self.connection.shared;
        for plan in fired {
            let now = shared.clock.now();
            let frame = self.out.stats.frames;
            let spot = Spot { connection: Some(self.connection.number), frame, ..Spot::default() };
            shared.ledger.hit(plan.id, plan.planned.fault.name(), now, &spot);
            shared.ledger.finish(plan.id);
            match &plan.planned.fault {
                Fault::Drop => {
                    self.connection.broken = true;
                    return Err(End::Silent);
                }
                Fault::HalfOpen(wait) => return self.hold_still(now.after(*wait)),
                Fault::Trickle(wait) => self.trickles_until = now.after(*wait),
                Fault::Fragment { bytes, wait } => self.out.fragments = Some((*bytes as usize, now.after(*wait))),
                Fault::Giant { mib } => self.send_giant(*mib)?,
                Fault::Say(text) => self.out.say(text.as_bytes()),
                // The others are none of a socket's.
                _ => {}
            }
        }
        Ok(())
    }

    /// Neither reads nor writes until then, and breaks.
    fn hold_still(&mut self, until: UnixNanos) -> Result<(), End> {
        let shared = self.connection.shared;
        loop {
            let left = until.since(shared.clock.now());
            if left.is_zero() || self.connection.interrupted() {
                self.connection.broken = true;
                return Err(End::Silent);
            }
            let mut fds = [watch(&*self.connection.waker, Interest::Read)];
            wait(&mut fds, Some(left.min(SLEEP_MAX)))?;
            self.connection.waker.clear();
        }
    }

    /// A text message of spaces. Uncompressed it is never whole in memory here.
    fn send_giant(&mut self, mib: u32) -> Result<(), End> {
        let length = (mib as usize) << 20;
        if let Some(deflater) = &mut self.out.deflater {
            let spaces = vec![b' '; length.min(GIANT_DEFLATED_MAX)];
            self.out.encoder.text_deflated(&spaces, deflater, &mut self.out.bytes);
            return Ok(());
        }
        let mut head = vec![0x81, 127];
        head.extend_from_slice(&(length as u64).to_be_bytes());
        self.connection.stream.send(&head)?;
        let piece = vec![b' '; 64 << 10];
        for _ in 0..length / piece.len() {
            self.connection.stream.send(&piece)?;
            while self.connection.stream.wants_write() {
                if self.connection.interrupted() {
                    return Err(End::Silent);
                }
                // What the client says meanwhile waits; only the way out counts here.
                let mut fds = [
                    watch(&self.connection.stream, Interest::ReadWrite),
                    watch(&*self.connection.waker, Interest::Read),
                ];
                wait(&mut fds, Some(SLEEP_MAX))?;
                self.connection.waker.clear();
                self.connection.stream.flush()?;
            }
        }
        Ok(())
    }

    fn run(mut self) -> Result<(), End> {
        let end = self.serve();
        let ours = self.subscribed.iter().enumerate().filter(|(_, on)| **on).map(|(topic, _)| topic as TopicId);
        let mut hub = self.connection.shared.hub.lock().expect("no holder of this lock panics");
        hub.leave(self.connection.number, ours);
        drop(hub);
        if let Err(End::Close(close)) = &end {
            self.say_goodbye(close);
        }
        if self.connection.drops != self.connection.shared.drops() {
            self.connection.shared.dropped(self.connection.number, self.out.stats.frames);
        }
        self.out.stats.open = false;
        self.record();
        end
    }

    /// Sends a close frame and gives the client a moment to answer it.
    fn say_goodbye(&mut self, close: &Close) {
        let mut bytes = Vec::new();
        Encoder::server().close(close.code, close.reason, &mut bytes);
        let clock = &self.connection.shared.clock;
        let start = clock.now();
        let mut done = self.connection.stream.send(&bytes).is_err();
        // What was sent before has to be read first, and a client may be slow.
        while !done && self.connection.stream.wants_write() && clock.now().since(start) < REQUEST_WITHIN {
            done = self.connection.interrupted() || self.connection.sleep(CLOSE_WITHIN).is_err();
        }
        let start = clock.now();
        while !done && clock.now().since(start) < CLOSE_WITHIN {
            done = match self.decoder.fill(&mut self.connection.stream) {
                Ok(0) => true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connection.sleep(CLOSE_WITHIN / 10).is_err()
                }
                Err(_) => true,
                Ok(_) => {
                    while let Ok(Some(_)) = self.decoder.next_message() {}
                    self.decoder.is_closed()
                }
            };
        }
    }

    fn serve(&mut self) -> Result<(), End> {
        self.with_desk(|protocol, desk| protocol.open(desk));
        self.messages()?;
        self.send()?;
        loop {
            if self.connection.shared.stopping() {
                return Err(End::Close(Close { code: 1001, reason: "emulator stops" }));
            }
            if self.connection.interrupted() {
                return Err(End::Silent);
            }
            let (next, close) = self.turn()?;
            self.send()?;
            self.suffer()?;
            self.send()?;
            if let Some(close) = close {
                return Err(End::Close(close));
            }
            let now = self.connection.shared.clock.now();
            let mut timeout = UnixNanos(next.0.min(self.protocol.next_timer().0)).since(now).min(SLEEP_MAX);
            let congested = self.connection.stream.wants_write();
            if next != UnixNanos::ZERO || congested {
                // Flat out there is no pause but the socket's own.
                timeout = timeout.max(TURN);
            }
            if self.connection.sleep(timeout)? {
                self.read()?;
            }
        }
    }

    fn with_desk<T>(&mut self, work: impl FnOnce(&mut dyn Protocol, &mut Desk<'_>) -> T) -> T {
        let shared = self.connection.shared;
        let mut hub = shared.hub.lock().expect("no holder of this lock panics");
        self.out.now = shared.clock.now();
        let now = self.out.now;
        let Self { protocol, out, subscribed, connection, .. } = self;
        let mut desk = Desk { hub: &mut hub, out, subscribed, number: connection.number, now };
        work(&mut **protocol, &mut desk)
    }

    /// Moves the market on and takes what is for this client, unless it still has to read what it has. Says when the
    /// next frames are due, and whether the connection ends behind those taken now.
    fn turn(&mut self) -> Result<(UnixNanos, Option<Close>), End> {
        let congested = self.connection.stream.wants_write();
        let (drops, shared) = (self.connection.drops, self.connection.shared);
        self.with_desk(|protocol, desk| {
            if drops != shared.drops() {
                // Whoever broke the connections may have put another market behind them.
                return Err(End::Silent);
            }
            desk.hub.advance(desk.now);
            if !congested {
                take_frames(desk.hub, desk.out, desk.subscribed, desk.number, TURN_BYTES)
                    .map_err(|Lapped| End::Close(Close { code: 1008, reason: "client reads too slowly" }))?;
            }
            let over = desk.hub.is_over_for(desk.number) && !congested;
            let over = over.then_some(Close { code: 1001, reason: "session over" });
            let due = desk.hub.market.next_due().unwrap_or(UnixNanos(u64::MAX));
            Ok((due, protocol.turn(desk).or(over)))
        })
    }

    fn send(&mut self) -> Result<(), End> {
        if self.out.bytes.is_empty() {
            return Ok(());
        }
        match self.out.now < self.trickles_until {
            false => self.connection.stream.send(&self.out.bytes)?,
            true => self.trickle()?,
        }
        self.out.bytes.clear();
        self.record();
        if let Some(journal) = &mut self.out.journal {
            journal.flush()?;
        }
        match self.out.failed.take() {
            Some(error) => Err(End::Broken(error)),
            None => Ok(()),
        }
    }

    /// Sends what there is byte by byte, each in a write of its own.
    fn trickle(&mut self) -> Result<(), End> {
        let bytes = std::mem::take(&mut self.out.bytes);
        for byte in &bytes {
            self.connection.stream.send(std::slice::from_ref(byte))?;
            while self.connection.stream.wants_write() {
                if self.connection.interrupted() {
                    return Err(End::Silent);
                }
                self.connection.sleep(SLEEP_MAX)?;
            }
        }
        self.out.bytes = bytes;
        Ok(())
    }

    /// Makes the figures since the last write known.
    fn record(&mut self) {
        self.out.stats.crc32 = self.out.crc32();
        self.connection.shared.counters.record(&self.recorded, &self.out.stats);
        self.recorded = self.out.stats;
    }

    fn read(&mut self) -> Result<(), End> {
        match self.decoder.fill(&mut self.connection.stream) {
            Ok(0) => return Err(End::Silent),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.messages()
    }

    fn messages(&mut self) -> Result<(), End> {
        let shared = self.connection.shared;
        let mut hub = shared.hub.lock().expect("no holder of this lock panics");
        self.out.now = shared.clock.now();
        let now = self.out.now;
        let Self { protocol, out, subscribed, connection, decoder, .. } = self;
        let mut desk = Desk { hub: &mut hub, out, subscribed, number: connection.number, now };
        loop {
            let message = decoder.next_message().map_err(|error| {
                tracing::debug!(%error, "client broke the WebSocket protocol");
                End::Close(Close { code: error.close_code(), reason: "protocol error" })
            })?;
            let close = match message {
                None => return Ok(()),
                Some(Message::Text(text)) => {
                    let close = protocol.heard(Heard::Text, now);
                    if close.is_none() {
                        protocol.text(text, &mut desk);
                    }
                    close
                }
                Some(Message::Ping(payload)) => {
                    desk.out.encoder.pong(payload, &mut desk.out.bytes);
                    protocol.heard(Heard::Ping, now)
                }
                Some(Message::Pong(_)) => protocol.heard(Heard::Pong, now),
                Some(Message::Binary(bytes)) => {
                    protocol.heard(Heard::Text, now).or_else(|| protocol.binary(bytes, &mut desk))
                }
                Some(Message::Close { .. }) => Some(Close { code: 1000, reason: "" }),
            };
            if let Some(close) = close {
                return Err(End::Close(close));
            }
        }
    }
}
