//! Two connections to one venue, told as one stream: whatever either of them loses, a consumer sees every trade once and
//! a right book, and of a single lost connection nothing at all.
#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "the world and the cases are the conformance suite's; this test uses a part of them")]

mod conformance {
    pub mod binance;
    pub mod case;
    pub mod coinbase_advanced;
    pub mod coinbase_exchange;
    pub mod kraken;
    pub mod reader;
    pub mod world;
}

use conformance::binance::Binance;
use conformance::case::{Answer, Case, Sent, Truth};
use conformance::coinbase_advanced::CoinbaseAdvanced;
use conformance::coinbase_exchange::CoinbaseExchange;
use conformance::kraken::Kraken;
use conformance::reader::Reader;
use conformance::world::Logged;
use model::{BookState, InstrumentId, Side, UnixNanos};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use venues::{LineShape, Outbox, Session, SessionLine, SessionSettings};
use wire::json::{GapLine, Line};

/// Rounds of half a second in which everything must come right again: longer than any machine's waits.
const ROUNDS: usize = 300;

/// What is on its way to one line.
struct Coming {
    input: Logged,
    /// The symbol and, of a trade, its id; `None` for answers.
    data: Option<(usize, Option<u64>)>,
}

/// One connection.
#[derive(Default)]
struct Lane {
    open: bool,
    /// It has been subscribed to everything.
    settled: bool,
    /// Frames the venue has sent on this connection.
    sent: u64,
    coming: VecDeque<Coming>,
}

impl Lane {
    /// The venue sends a frame, with a number of this connection where it numbers them.
    fn send<C: Case>(&mut self, frame: &str, data: Option<(usize, Option<u64>)>) {
        let frame = C::numbered(frame, self.sent);
        self.sent += 1;
        self.coming.push_back(Coming { input: Logged::Frame(frame.into_bytes()), data });
    }
}

/// A session of several lines with one venue behind them.
struct Pair<C: Case> {
    venue: C,
    session: Session,
    reader: Reader,
    now: UnixNanos,
    out: Outbox,
    lanes: Vec<Lane>,
    log: Vec<(usize, UnixNanos, Logged)>,
    words: Vec<u64>,
    /// Every state the books have had, and up to which a consumer has come.
    history: [Vec<Truth>; 2],
    come: [usize; 2],
    trades: [u64; 2],
    /// Trades that reached a line which was subscribed.
    brought: HashSet<(usize, u64)>,
    /// Whether events are numbered: then a book never goes back.
    numbered: bool,
}

fn session<C: Case>(lines: usize) -> Session {
    let line = |n: usize| SessionLine {
        shape: LineShape { name: "abc"[n..=n].to_owned(), group: 0 },
        machine: C::machine(&C::settings()),
    };
    Session::with_lines((0..lines).map(line).collect(), SessionSettings::default())
}

impl<C: Case> Pair<C> {
    fn new(lines: usize) -> Self {
        let venue = C::default();
        let history = [vec![venue.truth(0)], vec![venue.truth(1)]];
        let mut pair = Pair {
            venue,
            session: session::<C>(lines),
            reader: Reader::default(),
            now: UnixNanos(1_700_000_000_000_000_000),
            out: Outbox::new(),
            lanes: (0..lines).map(|_| Lane::default()).collect(),
            log: vec![],
            words: vec![],
            history,
            come: [0; 2],
            trades: [1000; 2],
            brought: HashSet::new(),
            numbered: C::BOOK_EVENTS_NUMBERED,
        };
        pair.step(0, Logged::Start(1));
        pair
    }

    /// Both lines are up, their books live, and a trade of each symbol was heard.
    fn live(lines: usize) -> Self {
        let mut pair = Pair::new(lines);
        for line in 0..lines.min(2) {
            pair.open(line);
        }
        pair.rest();
        for symbol in 0..2 {
            pair.trade(symbol);
        }
        pair.rest();
        pair.check_books();
        pair
    }

    fn id(symbol: usize) -> InstrumentId {
        InstrumentId::of(C::VENUE, C::VENUE_SYMBOLS[symbol])
    }

    fn open(&mut self, line: usize) {
        if self.lanes[line].open {
            return;
        }
        (self.lanes[line].open, self.lanes[line].sent) = (true, 0);
        self.step(line, Logged::Connecting);
        self.step(line, Logged::Connected);
        for frame in self.venue.connected(self.now) {
            self.lanes[line].send::<C>(&frame, None);
        }
    }

    fn cut(&mut self, line: usize) {
        let lane = &mut self.lanes[line];
        if std::mem::take(&mut lane.open) {
            lane.settled = false;
            lane.coming.clear();
            self.step(line, Logged::Disconnected);
        }
    }

    fn trade(&mut self, symbol: usize) {
        let frame = self.venue.trade(symbol, "100.5", "0.25", Side::Buy, self.now);
        self.trades[symbol] += 1;
        let id = self.trades[symbol];
        self.broadcast(&frame, (symbol, Some(id)));
    }

    fn update(&mut self, symbol: usize, level: u8, size: u8) {
        // Levels nearest the touch stay, so that the book never empties.
        let (side, price) =
            if level.is_multiple_of(2) { (Side::Buy, 99 - level / 2) } else { (Side::Sell, 102 + level / 2) };
        let frame = self.venue.update(symbol, &[(side, &price.to_string(), &size.to_string())], self.now);
        self.history[symbol].push(self.venue.truth(symbol));
        self.broadcast(&frame, (symbol, None));
    }

    fn broadcast(&mut self, frame: &str, data: (usize, Option<u64>)) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.open) {
            lane.send::<C>(frame, Some(data));
        }
    }

    /// The next frames of a line arrive.
    fn deliver(&mut self, line: usize, count: usize) {
        for _ in 0..count {
            let Some(coming) = self.lanes[line].coming.pop_front() else { break };
            self.now = self.now.after(Duration::from_millis(1));
            if let (true, Some((symbol, Some(id)))) = (self.lanes[line].settled, coming.data) {
                self.brought.insert((symbol, id));
            }
            self.step(line, coming.input);
        }
        let lane = &mut self.lanes[line];
        lane.settled |= lane.open && lane.coming.is_empty();
    }

    /// A frame of a line is lost on the way: of a trade where the loss of another could not show.
    fn lose(&mut self, line: usize) {
        let coming = &mut self.lanes[line].coming;
        let shows = |(_, trade): (usize, Option<u64>)| C::LOST_LEVELS_SHOW || trade.is_some();
        if let Some(at) = coming.iter().position(|c| c.data.is_some_and(shows)) {
            coming.remove(at);
        }
    }

    fn deliver_all(&mut self) {
        while self.lanes.iter().any(|lane| !lane.coming.is_empty()) {
            for line in 0..self.lanes.len() {
                self.deliver(line, 1);
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.deliver_all();
        self.now = self.now.after(time);
        for line in 0..self.lanes.len() {
            for _ in 0..100 {
                if !self.session.timer_is_due(line, self.now) {
                    break;
                }
                self.step(line, Logged::Timer);
            }
        }
        self.deliver_all();
    }

    /// Everything arrives, and what was broken is mended.
    fn rest(&mut self) {
        for round in 0..ROUNDS {
            self.wait(Duration::from_millis(500));
            for symbol in 0..2 {
                self.update(symbol, (round % 10) as u8, (round % 7 + 1) as u8);
            }
            if let Some(beat) = self.venue.heartbeat() {
                for lane in self.lanes.iter_mut().filter(|lane| lane.open) {
                    lane.send::<C>(&beat, None);
                }
            }
            let live = (0..2).all(|s| self.reader.book(Self::id(s)).state == Some(BookState::Live));
            if round > 10 && live && self.lanes.iter().all(|lane| lane.settled || !lane.open) {
                break;
            }
        }
        self.deliver_all();
    }

    /// One step; what it wants of the venue is answered.
    fn step(&mut self, line: usize, input: Logged) {
        let bad = self.session.step_line(line, input.input(), self.now, &mut self.out);
        assert_eq!(bad, None);
        self.log.push((line, self.now, input));
        self.words.extend_from_slice(self.out.records.words());
        for words in &self.out.records {
            self.reader.push(words);
        }
        let frames: Vec<_> = self.out.frames.drain(..).collect();
        let requests: Vec<_> = self.out.requests.drain(..).collect();
        let reconnect = self.out.reconnect.take();
        self.out.clear();
        let sent = frames.iter().map(|f| (Sent::Frame(f.as_text().expect("text").to_owned()), None));
        let asked = requests.into_iter().map(|r| (Sent::Get(r.path), Some(r.id)));
        for (sent, request) in sent.chain(asked) {
            for answer in self.venue.answer(&sent, self.now) {
                let lane = &mut self.lanes[line];
                match answer {
                    Answer::Frame(text) => lane.send::<C>(&text, None),
                    Answer::Http(status, body) => {
                        let input = Logged::Http(request.expect("a GET"), status, body.into_bytes());
                        lane.coming.push_back(Coming { input, data: None });
                    }
                }
            }
        }
        if reconnect.is_some() {
            self.cut(line);
            self.open(line);
        }
        self.check_history();
    }

    /// A live book is one that the venue has had, and (where events are numbered) never an earlier one while it is live.
    fn check_history(&mut self) {
        for symbol in 0..2 {
            let id = Self::id(symbol);
            if !self.reader.knows(id) || self.reader.book(id).state != Some(BookState::Live) {
                self.come[symbol] = 0;
                continue;
            }
            let (levels, history) = (self.reader.levels(Self::id(symbol)), &self.history[symbol]);
            let come = self.come[symbol];
            let ahead = (come..history.len()).find(|n| history[*n] == levels);
            let back = || (0..come).rev().find(|n| !self.numbered && history[*n] == levels);
            self.come[symbol] =
                ahead.or_else(back).unwrap_or_else(|| panic!("{}: no book of the venue", C::SYMBOLS[symbol]));
        }
    }

    fn check_books(&self) {
        for symbol in 0..2 {
            let id = Self::id(symbol);
            assert_eq!(self.reader.book(id).state, Some(BookState::Live), "{}", C::SYMBOLS[symbol]);
            assert_eq!(self.reader.levels(id), self.venue.truth(symbol), "{}", C::SYMBOLS[symbol]);
        }
    }

    /// Every trade was told once, or lies in one exact gap because no line brought it (or brought it too late).
    fn check_trades(&self) {
        let number = |text: &Option<String>| text.as_deref().unwrap().parse::<u64>().unwrap();
        for (symbol, name) in C::SYMBOLS.iter().enumerate() {
            let mut told: HashMap<u64, usize> = HashMap::new();
            let mut gaps: HashMap<u64, usize> = HashMap::new();
            for (at, line) in self.reader.lines.iter().enumerate() {
                match line {
                    Line::Trade(t) if t.symbol == *name => {
                        let twice = told.insert(number(&t.trade_id), at);
                        assert_eq!(twice, None, "{name}: trade {:?} was told twice", t.trade_id);
                    }
                    Line::Gap(g) if g.symbol.as_deref() == Some(name) && g.stream == "trade" => {
                        for id in number(&g.first)..=number(&g.last) {
                            assert_eq!(gaps.insert(id, at), None, "{name}: trade {id} is in two gaps");
                        }
                    }
                    _ => {}
                }
            }
            for id in 1001..=self.trades[symbol] {
                match (told.get(&id), gaps.get(&id)) {
                    (None, None) => panic!("{name}: trade {id} is missing and nobody says so"),
                    (Some(told), Some(gap)) => assert!(told > gap, "{name}: trade {id} is a gap after it was told"),
                    (None, Some(_)) => {
                        assert!(!self.brought.contains(&(symbol, id)), "{name}: trade {id} was brought, not told");
                    }
                    (Some(_), None) => {}
                }
            }
        }
    }

    /// The same inputs tell the same bytes.
    fn check_replay(&self) {
        let mut again = session::<C>(self.lanes.len());
        let (mut out, mut words) = (Outbox::new(), vec![]);
        for (line, now, input) in &self.log {
            again.step_line(*line, input.input(), *now, &mut out);
            words.extend_from_slice(out.records.words());
            out.clear();
        }
        assert!(words == self.words, "a replay differs");
    }

    /// Nothing since a mark says that data was missing or a stream not live.
    #[track_caller]
    fn check_untroubled(&self, mark: usize) {
        for line in &self.reader.lines[mark..] {
            match line {
                Line::Gap(GapLine { stream, symbol, .. }) => panic!("a gap of {stream} {symbol:?}"),
                Line::Status(s) => assert_eq!(s.state, "live", "{s:?}"),
                _ => {}
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Trade(usize),
    Update(usize, u8, u8),
    Deliver(usize, usize),
    Lose(usize),
    Cut(usize),
    Open(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let (symbol, line) = (0..2usize, 0..2usize);
    prop_oneof![
        6 => symbol.clone().prop_map(Act::Trade),
        6 => (symbol, 0..10u8, 0..9u8).prop_map(|(s, level, size)| Act::Update(s, level, size)),
        10 => (line.clone(), 1..6usize).prop_map(|(l, n)| Act::Deliver(l, n)),
        2 => line.clone().prop_map(Act::Lose),
        1 => line.clone().prop_map(Act::Cut),
        2 => line.prop_map(Act::Open),
        1 => (1..400u64).prop_map(Act::Wait),
    ]
}

fn whatever_happens<C: Case>(acts: &[Act]) {
    let mut pair = Pair::<C>::live(2);
    for act in acts {
        match *act {
            Act::Trade(symbol) => pair.trade(symbol),
            Act::Update(symbol, level, size) => pair.update(symbol, level, size),
            Act::Deliver(line, count) => pair.deliver(line, count),
            Act::Lose(line) => pair.lose(line),
            Act::Cut(line) => pair.cut(line),
            Act::Open(line) => pair.open(line),
            Act::Wait(ms) => pair.wait(Duration::from_millis(ms)),
        }
    }
    for line in 0..2 {
        pair.open(line);
    }
    pair.rest();
    for symbol in 0..2 {
        pair.trade(symbol);
    }
    pair.rest();
    pair.check_books();
    pair.check_trades();
    pair.check_replay();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn binance_comes_out_whole(acts in prop::collection::vec(act(), 1..250)) {
        whatever_happens::<Binance>(&acts);
    }

    #[test]
    fn kraken_comes_out_whole(acts in prop::collection::vec(act(), 1..250)) {
        whatever_happens::<Kraken>(&acts);
    }

    #[test]
    fn coinbase_exchange_comes_out_whole(acts in prop::collection::vec(act(), 1..250)) {
        whatever_happens::<CoinbaseExchange<false>>(&acts);
    }

    #[test]
    fn coinbase_advanced_comes_out_whole(acts in prop::collection::vec(act(), 1..250)) {
        whatever_happens::<CoinbaseAdvanced>(&acts);
    }
}

/// Losing either connection, in turns, in the middle of everything.
fn one_lost_connection_is_not_noticed<C: Case>() {
    let mut pair = Pair::<C>::live(2);
    let mark = pair.reader.lines.len();
    for round in 0..20u8 {
        let line = usize::from(round % 2);
        for n in 0..6u8 {
            pair.trade(usize::from(n % 2));
            pair.update(usize::from(n % 2), n, round % 5 + 1);
            pair.deliver(usize::from(n % 2), 3);
        }
        pair.cut(line);
        for n in 0..6u8 {
            pair.trade(usize::from(n % 2));
            pair.update(usize::from(n % 2), n, round % 4 + 1);
        }
        pair.deliver_all();
        pair.check_books();
        pair.open(line);
        pair.rest();
    }
    pair.check_untroubled(mark);
    pair.check_books();
    pair.check_trades();
    pair.check_replay();
}

/// A third line takes the place of the first, again and again, as before a venue's forced cut.
fn a_renewed_connection_is_not_noticed<C: Case>() {
    let mut pair = Pair::<C>::new(2);
    pair.open(0);
    pair.rest();
    (0..2).for_each(|symbol| pair.trade(symbol));
    pair.rest();
    let mark = pair.reader.lines.len();
    for round in 0..6 {
        let (old, new) = (round % 2, (round + 1) % 2);
        pair.open(new);
        for n in 0..200 {
            pair.trade(n % 2);
            pair.update(n % 2, (n % 10) as u8, (n % 7) as u8);
            pair.wait(Duration::from_millis(20));
            if pair.session.is_ready(new) {
                break;
            }
        }
        assert!(pair.session.is_ready(new), "round {round}");
        pair.trade(0);
        pair.update(1, 3, 2);
        pair.cut(old);
        pair.rest();
    }
    pair.check_untroubled(mark);
    pair.check_books();
    pair.check_trades();
    pair.check_replay();
}

macro_rules! suite {
    ($venue:ident, $case:ty: $($story:ident),+ $(,)?) => {
        mod $venue { $(#[test] fn $story() { super::$story::<$case>(); })+ }
    };
}

suite!(binance, crate::Binance: one_lost_connection_is_not_noticed, a_renewed_connection_is_not_noticed);
suite!(kraken, crate::Kraken: one_lost_connection_is_not_noticed, a_renewed_connection_is_not_noticed);
suite!(coinbase_exchange, crate::CoinbaseExchange<false>: one_lost_connection_is_not_noticed, a_renewed_connection_is_not_noticed);
suite!(coinbase_advanced, crate::CoinbaseAdvanced: one_lost_connection_is_not_noticed, a_renewed_connection_is_not_noticed);
