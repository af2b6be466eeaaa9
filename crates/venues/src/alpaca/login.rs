//! The session with the venue: welcome, login, subscriptions one by one, refusals, and how long to stay away.
//!
//! Requests wait in a queue and go one at a time, each after the answer to the one before, because answers carry no id:
//! `subscription` lists everything there is, an error names nothing. So it is always known which symbols an answer is
//! about, and what is missing in it is refused by name.

use super::choices::{Encoding, Feed, Probe};
use super::definitions;
use super::machine::{Alpaca, Line};
use super::map::{DAY_S, MINUTE_S};
use super::msgpack::Writer;
use super::spec::{CREDENTIALS, SPEC, SYMBOL_LIMIT, Verdict, verdict};
use crate::choices::Switch;
use crate::{Known, Outbox, Outgoing};
use model::{InstrumentId, Reason, StreamKind, StreamState, UnixNanos};
use std::collections::VecDeque;
use std::time::Duration;
use wire::Status;

/// How long welcome and login may each take. The venue itself gives ten seconds to log in.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Symbols of one request: a few kilobytes, which every server takes.
const SYMBOLS_PER_REQUEST: usize = 400;

/// Before the next login after an error that another session may mend: this, then twice as long each time.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest of those waits.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Before the next login after an error that only the user can mend.
const FATAL_WAIT: Duration = Duration::from_secs(300);

/// A session that lasted so long has the errors before it forgotten.
const ERRORS_FORGET: Duration = Duration::from_secs(60);

/// What is asked of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Subscribe,
    Unsubscribe,
    /// Nothing: the answer is a sign of life.
    Probe,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub action: Action,
    pub channel: &'static str,
    pub stream: StreamKind,
    /// The venue's symbols.
    pub symbols: Vec<String>,
}

/// How far the session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No connection.
    #[default]
    Closed,
    /// Waits for the venue's welcome.
    Greeting,
    /// Welcomed, but a wait is not over.
    Holding,
    /// The keys are sent.
    LoggingIn,
    /// Subscribes and listens.
    Ready,
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct Connection {
    pub phase: Phase,
    /// When the last sound frame came, or the connection was opened.
    pub heard: UnixNanos,
    /// Until when welcome or login must have come.
    deadline: Option<UnixNanos>,
    ready_since: UnixNanos,
    queue: VecDeque<Request>,
    in_flight: Option<(Request, UnixNanos)>,
    /// Another connection was asked for.
    given_up: bool,
}

/// How long no login is tried. Outlives connections: a venue that cuts us off is not hammered.
#[derive(Debug, Default)]
pub struct Hold {
    until: Option<UnixNanos>,
    errors: u32,
}

impl Alpaca {
    pub(super) fn session_opened(&mut self, now: UnixNanos) {
        let phase = if self.learns() { Phase::Ready } else { Phase::Greeting };
        let deadline = (phase == Phase::Greeting).then(|| now.after(HANDSHAKE_WAIT));
        self.connection = Connection { phase, heard: now, deadline, ready_since: now, ..Connection::default() };
    }

    /// Sends a map of texts and lists, in the encoding that was agreed on.
    fn send(&self, members: &[(&str, Value<'_>)], out: &mut Outbox) -> usize {
        out.frames.push(match self.choices.encoding {
            Encoding::Json => {
                let object: serde_json::Map<String, serde_json::Value> =
                    members.iter().map(|(k, v)| ((*k).to_owned(), v.json())).collect();
                Outgoing::text(serde_json::Value::Object(object).to_string())
            }
            Encoding::Msgpack => {
                let mut writer = Writer::default();
                writer.map(members.len());
                for (key, value) in members {
                    writer.text(key);
                    match value {
                        Value::Text(text) => writer.text(text),
                        Value::List(list) => writer.texts(list),
                    }
                }
                Outgoing::binary(writer.into_bytes())
            }
        });
        out.frames.len() - 1
    }

    pub(super) fn on_success(&mut self, text: &str, now: UnixNanos, out: &mut Outbox) {
        self.counts.acks += 1;
        match (text, self.connection.phase) {
            ("connected", Phase::Greeting) => match self.hold.until.filter(|until| now < *until) {
                Some(_) => {
                    self.connection.phase = Phase::Holding;
                    self.connection.deadline = None;
                }
                None => self.log_in(now, out),
            },
            ("authenticated", Phase::Greeting | Phase::Holding | Phase::LoggingIn) => self.logged_in(now, out),
            _ => {}
        }
    }

    fn log_in(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Some(keys) = self.settings.credentials.clone() else {
            self.stay_away(Verdict::Fatal, format!("{CREDENTIALS} are not set"), now, out);
            return;
        };
        let auth =
            [("action", Value::Text("auth")), ("key", Value::Text(&keys.key)), ("secret", Value::Text(&keys.secret))];
        let sent = self.send(&auth, out);
        out.frames[sent].secret = true;
        self.hold.until = None;
        self.connection.phase = Phase::LoggingIn;
        self.connection.deadline = Some(now.after(HANDSHAKE_WAIT));
    }

    fn logged_in(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.connection.phase = Phase::Ready;
        self.connection.deadline = None;
        self.connection.ready_since = now;
        let mut streams = self.settings.streams.clone();
        streams.sort_by_key(|s| *s != StreamKind::Trade);
        streams.dedup();
        if self.line == Line::Stocks && self.choices.statuses == Switch::On && self.choices.feed != Feed::Test {
            streams.push(StreamKind::Instrument);
        }
        for stream in streams {
            for channel in self.channels(stream) {
                for symbols in self.wanted.chunks(SYMBOLS_PER_REQUEST) {
                    self.connection.queue.push_back(Request {
                        action: Action::Subscribe,
                        channel,
                        stream,
                        symbols: symbols.to_vec(),
                    });
                }
            }
        }
        self.ask_next(now, out);
    }

    /// The venue's channels of a stream.
    fn channels(&self, stream: StreamKind) -> &'static [&'static str] {
        match stream {
            StreamKind::Trade => &["trades"],
            StreamKind::Quote => &["quotes"],
            // Shares have no depth of book at this venue.
            StreamKind::Book if self.line == Line::Crypto => &["orderbooks"],
            StreamKind::Bar if self.settings.bar_interval_s == MINUTE_S => &["bars", "updatedBars"],
            StreamKind::Bar if self.settings.bar_interval_s == DAY_S => &["dailyBars"],
            StreamKind::Instrument => &["statuses", "lulds"],
            _ => &[],
        }
    }

    /// Puts requests before those that wait.
    pub(super) fn ask_first(&mut self, requests: Vec<Request>, now: UnixNanos, out: &mut Outbox) {
        for request in requests.into_iter().rev() {
            self.connection.queue.push_front(request);
        }
        self.ask_next(now, out);
    }

    fn ask_next(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.connection.phase != Phase::Ready || self.connection.in_flight.is_some() {
            return;
        }
        let Some(request) = self.connection.queue.pop_front() else { return };
        let action = if request.action == Action::Unsubscribe { "unsubscribe" } else { "subscribe" };
        self.send(&[("action", Value::Text(action)), (request.channel, Value::List(&request.symbols))], out);
        self.connection.in_flight = Some((request, now.after(ANSWER_WAIT)));
    }

    /// Every subscription there is: the answer to the request under way.
    pub(super) fn on_subscription(&mut self, channels: &[(String, Vec<String>)], now: UnixNanos, out: &mut Outbox) {
        self.counts.acks += 1;
        let Some((request, _)) = self.connection.in_flight.take() else { return };
        match request.action {
            Action::Probe => self.counts.heartbeats += 1,
            Action::Unsubscribe => {}
            Action::Subscribe => {
                let listed = channels.iter().find(|(name, _)| name == request.channel).map(|(_, symbols)| symbols);
                let has = |symbol: &String| listed.is_some_and(|l| l.iter().any(|s| s == symbol || s == "*"));
                let (there, missing): (Vec<String>, Vec<String>) =
                    request.symbols.iter().cloned().partition(|symbol| has(symbol));
                for symbol in &there {
                    self.subscribed(symbol, &request, now, out);
                }
                let why = if listed.is_some() { "the venue's list has no such symbol" } else { "not on this feed" };
                self.refuse(&Request { symbols: missing, ..request }, why, now, out);
            }
        }
        self.ask_next(now, out);
    }

    fn subscribed(&mut self, symbol: &str, request: &Request, now: UnixNanos, out: &mut Outbox) {
        let k = match self.instruments.find(symbol.as_bytes()) {
            Some(k) => k,
            None => {
                let checked = definitions::check_learnable(symbol, &self.instruments, &[]);
                if let Err(problem) = checked {
                    self.refuse(&Request { symbols: vec![symbol.to_owned()], ..request.clone() }, &problem, now, out);
                    return;
                }
                let (price, size) = definitions::scales(symbol);
                self.define(definitions::provisional(symbol, price, size), now, out)
            }
        };
        match request.stream {
            StreamKind::Book => {
                self.watch.start(k, StreamKind::Book, now);
                self.book_asked_for(k, now, out);
            }
            StreamKind::Trade => {
                self.watch.start(k, StreamKind::Trade, now);
                self.trades_flow(k, now, out);
            }
            StreamKind::Quote | StreamKind::Bar => self.watch.start(k, request.stream, now),
            _ => {}
        }
    }

    /// Symbols the venue does not send on a channel, by name.
    fn refuse(&mut self, request: &Request, why: &str, now: UnixNanos, out: &mut Outbox) {
        for symbol in &request.symbols {
            self.counts.refusals += 1;
            let known = self.instruments.find(symbol.as_bytes());
            let name = definitions::provisional(symbol, 0, 0).symbol;
            let text = format!("{name}: {} refused: {why}", request.channel);
            let status = Status::Stream(request.stream, StreamState::Down);
            self.tell(known, status, (Reason::Refused, &text), now, out);
        }
    }

    /// The venue said no.
    pub(super) fn on_error(&mut self, code: u64, text: &str, now: UnixNanos, out: &mut Outbox) {
        let why = format!("{code} {text}");
        let phase = self.connection.phase;
        if self.learns() || phase == Phase::Closed {
            self.counts.refusals += 1;
            let status = Status::Stream(StreamKind::Connection, StreamState::Down);
            self.tell(None, status, (Reason::Refused, &why), now, out);
            return;
        }
        match (verdict(code), self.connection.in_flight.take()) {
            (Verdict::Harmless, in_flight) => {
                self.counts.refusals += 1;
                self.connection.in_flight = in_flight;
            }
            (Verdict::Split, Some((request, _))) => self.split(code, request, &why, now, out),
            (Verdict::NoSuchStream, Some((request, _))) => {
                let channel = request.channel;
                self.refuse(&request, &why, now, out);
                self.refuse_waiting(channel, &why, now, out);
                self.ask_next(now, out);
            }
            // While we hold, the venue tires of waiting for a login; that is no news.
            (Verdict::Reconnect, _) if phase == Phase::Holding => self.counts.refusals += 1,
            (Verdict::Fatal, _) => {
                self.counts.refusals += 1;
                self.stay_away(Verdict::Fatal, why, now, out);
            }
            _ => {
                self.counts.refusals += 1;
                self.stay_away(Verdict::Reconnect, why, now, out);
            }
        }
    }

    /// A refused request may hold symbols that are fine: its halves are asked for, down to single symbols.
    fn split(&mut self, code: u64, mut request: Request, why: &str, now: UnixNanos, out: &mut Outbox) {
        if request.action == Action::Subscribe && request.symbols.len() > 1 {
            let second = request.symbols.split_off(request.symbols.len() / 2);
            let second = Request { symbols: second, ..request.clone() };
            self.ask_first(vec![request, second], now, out);
            return;
        }
        self.refuse(&request, why, now, out);
        if code == SYMBOL_LIMIT {
            self.refuse_waiting(request.channel, why, now, out);
        }
        self.ask_next(now, out);
    }

    /// What waits for a channel that takes no more.
    fn refuse_waiting(&mut self, channel: &str, why: &str, now: UnixNanos, out: &mut Outbox) {
        let (refused, kept): (VecDeque<Request>, VecDeque<Request>) = std::mem::take(&mut self.connection.queue)
            .into_iter()
            .partition(|r| r.channel == channel && r.action == Action::Subscribe);
        self.connection.queue = kept;
        for request in refused {
            self.refuse(&request, why, now, out);
        }
    }

    /// The session is of no more use; the next login waits.
    fn stay_away(&mut self, verdict: Verdict, why: String, now: UnixNanos, out: &mut Outbox) {
        if self.connection.phase == Phase::Ready && now.since(self.connection.ready_since) >= ERRORS_FORGET {
            self.hold.errors = 0;
        }
        let wait = match verdict {
            Verdict::Fatal => FATAL_WAIT,
            _ => (BACKOFF * 2u32.pow(self.hold.errors.min(16))).min(BACKOFF_MAX),
        };
        self.hold.errors += 1;
        self.hold.until = Some(now.after(wait));
        self.connection.phase = Phase::Holding;
        self.connection.deadline = None;
        self.connection.queue.clear();
        self.connection.in_flight = None;
        self.connection.given_up = true;
        let text = format!("{why}; the next login is in {} s", wait.as_secs());
        let status = Status::Stream(StreamKind::Connection, StreamState::Down);
        self.tell(None, status, (Reason::Refused, &text), now, out);
        out.reconnect = Some((Reason::Refused, why));
        out.not_before = self.hold.until;
    }

    /// When a silent venue is asked for a sign of life.
    fn probe_after(&self) -> Duration {
        match self.settings.stale_after.limit(StreamKind::Connection) {
            Some(limit) => SPEC.silence_max.min(limit / 2),
            None => SPEC.silence_max,
        }
    }

    /// When the session is to be looked after.
    pub(super) fn session_due(&self) -> Option<UnixNanos> {
        let c = &self.connection;
        if c.phase == Phase::Closed || c.given_up {
            return None;
        }
        if c.phase == Phase::Holding {
            return self.hold.until;
        }
        let answer = c.in_flight.as_ref().map(|(_, by)| *by);
        let idle = c.phase == Phase::Ready && c.in_flight.is_none() && !self.learns();
        let probe = (idle && self.choices.probe == Probe::Subscribe).then(|| c.heard.after(self.probe_after()));
        let limit = self.settings.stale_after.limit(StreamKind::Connection);
        let give_up = limit.map(|limit| c.heard.after(limit));
        [c.deadline, answer, probe, give_up].into_iter().flatten().min()
    }

    pub(super) fn check_session(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.session_due().is_none_or(|due| now < due) {
            return;
        }
        let c = &mut self.connection;
        if c.phase == Phase::Holding {
            self.log_in(now, out);
            return;
        }
        let silent = now.since(c.heard);
        let limit = self.settings.stale_after.limit(StreamKind::Connection);
        let late = if limit.is_some_and(|limit| silent >= limit) {
            Some(format!("not a frame for {} s", silent.as_secs()))
        } else if c.deadline.is_some_and(|by| by <= now) {
            let step = if c.phase == Phase::Greeting { "welcome" } else { "answer to the login" };
            Some(format!("no {step} within {} s", HANDSHAKE_WAIT.as_secs()))
        } else if let Some((request, _)) = c.in_flight.as_ref().filter(|(_, by)| *by <= now) {
            let what = request.channel;
            Some(format!("no answer within {} s to a request for {what}", ANSWER_WAIT.as_secs()))
        } else {
            None
        };
        match late {
            Some(why) => {
                c.given_up = true;
                out.reconnect = Some((Reason::Timeout, why));
            }
            None => {
                let (action, symbols) = (Action::Probe, vec![]);
                let probe = Request { action, channel: "bars", stream: StreamKind::Connection, symbols };
                self.ask_first(vec![probe], now, out);
            }
        }
    }

    /// Tells a state of an instrument, or of the whole venue.
    pub(super) fn tell(
        &self,
        of: Option<Known>,
        status: Status,
        why: (Reason, &str),
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let id = of.map_or(InstrumentId::NONE, |k| self.instruments.get(k).id);
        out.records.push_status(SPEC.venue, id, status, why.0, why.1, UnixNanos::ZERO, now);
    }
}

/// A member of a request.
enum Value<'a> {
    Text(&'a str),
    List(&'a [String]),
}

impl Value<'_> {
    fn json(&self) -> serde_json::Value {
        match self {
            Value::Text(text) => (*text).into(),
            Value::List(list) => (*list).into(),
        }
    }
}
