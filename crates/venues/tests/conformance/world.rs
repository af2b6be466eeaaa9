//! The feed and the network around a session, without either: what the machine sends is answered by the case, time
//! moves when the test says so, and every input is logged so that it can be played again.

use super::case::{Answer, Case, Sent};
use super::reader::Reader;
use model::{InstrumentId, Reason, Side, UnixNanos};
use std::collections::VecDeque;
use std::time::Duration;
use venues::{Input, Memory, Outbox, Quarantined, Reply, RequestId, Session, SessionSettings, Settings};
use wire::Origin;
use wire::json::Line;

/// More exchanges than this in a row mean that machine and venue talk for ever.
const EXCHANGES_MAX: usize = 1000;

/// One input as it was given, to be given again.
#[derive(Clone, Debug)]
pub enum Logged {
    Start(u64),
    Remember(InstrumentId, Memory),
    Connecting,
    Connected,
    Frame(Vec<u8>),
    Http(RequestId, u16, Vec<u8>),
    Timer,
    Snapshot(InstrumentId),
    Disconnected,
}

impl Logged {
    pub fn input(&self) -> Input<'_> {
        match self {
            Logged::Start(epoch) => {
                Input::Start { epoch: *epoch, pid: 1, origin: Origin::Simulated, site: "test", build: "test" }
            }
            Logged::Remember(id, memory) => Input::Remember(*id, memory),
            Logged::Connecting => Input::Connecting("the case"),
            Logged::Connected => Input::Connected,
            Logged::Frame(frame) => Input::Frame(frame),
            Logged::Http(id, status, body) => {
                Input::Response(*id, Reply::Http { status: *status, body, retry_after: None })
            }
            Logged::Timer => Input::Timer,
            Logged::Snapshot(id) => Input::Snapshot(*id),
            Logged::Disconnected => Input::Disconnected(Reason::Connection, "cut by the test"),
        }
    }
}

/// A request or a frame on its way to the venue.
struct Waiting {
    sent: Sent,
    request: Option<RequestId>,
}

/// One session with its venue.
pub struct World<C: Case> {
    pub venue: C,
    pub session: Session,
    pub reader: Reader,
    pub now: UnixNanos,
    /// Set when the machine asked for another connection.
    pub reconnect: Option<(Reason, String)>,
    pub quarantined: Vec<Quarantined>,
    /// Every record told, as words.
    pub words: Vec<u64>,
    pub log: Vec<(UnixNanos, Logged)>,
    /// While set, requests for books wait.
    pub hold_books: bool,
    /// How many requests for old trades are still answered; the others wait.
    pub trade_answers: usize,
    waiting: VecDeque<Waiting>,
    out: Outbox,
}

impl<C: Case> World<C> {
    /// A session that has not connected yet, around a venue that may have lived for a while.
    pub fn around(
        venue: C,
        settings: &Settings,
        epoch: u64,
        now: UnixNanos,
        memory: &[(InstrumentId, Memory)],
    ) -> Self {
        let mut w = World {
            venue,
            session: Session::new(C::machine(settings), SessionSettings::default()),
            reader: Reader::default(),
            now,
            reconnect: None,
            quarantined: vec![],
            words: vec![],
            log: vec![],
            hold_books: false,
            trade_answers: usize::MAX,
            waiting: VecDeque::new(),
            out: Outbox::new(),
        };
        w.step(Logged::Start(epoch));
        for (id, memory) in memory {
            w.step(Logged::Remember(*id, memory.clone()));
        }
        w
    }

    /// A session that has not connected yet.
    pub fn new(settings: &Settings) -> Self {
        World::around(C::default(), settings, 1, UnixNanos(1_700_000_000_000_000_000), &[])
    }

    /// A session with live books.
    pub fn live() -> Self {
        let mut w = World::new(&C::settings());
        w.connect();
        w
    }

    /// Opens a connection and lets machine and venue talk until both have said what they had to say.
    pub fn connect(&mut self) {
        self.step(Logged::Connecting);
        self.step(Logged::Connected);
        for frame in self.venue.connected(self.now) {
            self.frame(&frame);
        }
        self.talk();
        self.wait(Duration::from_secs(2));
    }

    /// Cuts the connection; what was under way is lost.
    pub fn disconnect(&mut self) {
        self.waiting.clear();
        self.step(Logged::Disconnected);
        self.waiting.clear();
    }

    /// A frame arrives, a millisecond after whatever came before.
    pub fn frame(&mut self, frame: &str) {
        self.bytes(frame.as_bytes());
    }

    /// Bytes arrive as a frame.
    pub fn bytes(&mut self, frame: &[u8]) {
        self.now = self.now.after(Duration::from_millis(1));
        self.step(Logged::Frame(frame.to_vec()));
        self.talk();
    }

    /// A trade happens and is heard of.
    pub fn trade(&mut self, symbol: usize, price: &str, size: &str, taker: Side) -> String {
        let frame = self.venue.trade(symbol, price, size, taker, self.now);
        self.frame(&frame);
        frame
    }

    /// A book changes and is heard of.
    pub fn update(&mut self, symbol: usize, changes: &[super::case::Change<'_>]) {
        let frame = self.venue.update(symbol, changes, self.now);
        self.frame(&frame);
    }

    /// Time passes and the machine's timers run; the venue gives its sign of life, if it has one, once a second.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            let second = self.now.after(Duration::from_secs(1)).min(end);
            self.silence(second.since(self.now));
            if let Some(beat) = self.venue.heartbeat() {
                self.step(Logged::Frame(beat.into_bytes()));
            }
            self.talk();
        }
    }

    /// Time passes without a sound from the venue; the machine's timers run.
    pub fn silence(&mut self, time: Duration) {
        let end = self.now.after(time);
        for _ in 0..EXCHANGES_MAX {
            match self.session.next_timer().filter(|due| *due <= end) {
                Some(due) => {
                    self.now = due.max(self.now);
                    self.step(Logged::Timer);
                }
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("more than {EXCHANGES_MAX} timers within {time:?}");
    }

    /// Requests for old trades that are not answered yet.
    pub fn trade_requests(&self) -> usize {
        self.waiting.iter().filter(|w| self.venue.asks_for_trades(&w.sent)).count()
    }

    /// Answers what was sent until nothing more is.
    pub fn talk(&mut self) {
        for _ in 0..EXCHANGES_MAX {
            let hold = self.hold_books;
            let next = self.waiting.iter().position(|w| {
                let held = hold && self.venue.asks_for_book(&w.sent);
                !held && (self.trade_answers > 0 || !self.venue.asks_for_trades(&w.sent))
            });
            let Some(next) = next.and_then(|at| self.waiting.remove(at)) else { return };
            if self.venue.asks_for_trades(&next.sent) {
                self.trade_answers -= 1;
            }
            for answer in self.venue.answer(&next.sent, self.now) {
                self.now = self.now.after(Duration::from_millis(1));
                self.step(match answer {
                    Answer::Frame(text) => Logged::Frame(text.into_bytes()),
                    Answer::Http(status, body) => {
                        let id = next.request.expect("only a GET is answered by a body");
                        Logged::Http(id, status, body.into_bytes())
                    }
                });
            }
        }
        panic!("machine and venue exchanged more than {EXCHANGES_MAX} messages");
    }

    /// One step of the session, logged; its records go to the reader, its wishes to the venue.
    pub fn step(&mut self, input: Logged) {
        let bad = self.session.step(input.input(), self.now, &mut self.out);
        self.quarantined.extend(bad);
        self.log.push((self.now, input));
        for words in &self.out.records {
            self.reader.push(words);
        }
        self.words.extend_from_slice(self.out.records.words());
        for frame in self.out.frames.drain(..) {
            let text = frame.as_text().expect("cases speak text").to_owned();
            self.waiting.push_back(Waiting { sent: Sent::Frame(text), request: None });
        }
        for request in self.out.requests.drain(..) {
            self.waiting.push_back(Waiting { sent: Sent::Get(request.path), request: Some(request.id) });
        }
        if let Some(asked) = self.out.reconnect.take() {
            self.reconnect = Some(asked);
        }
        self.out.clear();
    }

    /// The id of an instrument of the case.
    pub fn id(&self, symbol: usize) -> InstrumentId {
        InstrumentId::of(C::VENUE, C::VENUE_SYMBOLS[symbol])
    }

    /// The lines told since a mark that are picked.
    pub fn lines_since<'a, T>(&'a self, mark: usize, pick: impl Fn(&'a Line) -> Option<T>) -> Vec<T> {
        self.reader.lines[mark..].iter().filter_map(pick).collect()
    }

    /// A mark for [`World::lines_since`].
    pub fn mark(&self) -> usize {
        self.reader.lines.len()
    }
}

/// The records a fresh session tells when it is given the same inputs again.
pub fn replay<C: Case>(settings: &Settings, log: &[(UnixNanos, Logged)]) -> Vec<u64> {
    let mut session = Session::new(C::machine(settings), SessionSettings::default());
    let mut out = Outbox::new();
    let mut words = vec![];
    for (now, input) in log {
        session.step(input.input(), *now, &mut out);
        words.extend_from_slice(out.records.words());
        out.clear();
    }
    words
}
