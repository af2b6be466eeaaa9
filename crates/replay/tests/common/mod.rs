//! What the tests of replays share: recordings made of fixtures and of a market of our own, as captures and journals,
//! with what was told when they were made.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; tests")]

use capture::{Kind, Recording, Run, RunLine, RunSettings};
use journal::Helper;
use model::{InstrumentId, Price, Qty, Reason, Side, StreamKind, UnixNanos, Venue};
use replay::{Call, Choice, Replay, ReplayError, RunOptions, Runner, Sink, Source, Speed, Told};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use venues::{Input, Outbox, SessionSettings, Settings};
use wire::{
    BookAction, BookChangeRecord, Envelope, Flags, Header, Origin, RecordBuf, SnapshotBeginRecord, SnapshotEndRecord,
    SnapshotReason, Status, TradeRecord,
};

/// When all recordings begin.
pub const BEGIN: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

/// So many ms later.
pub fn at(ms: u64) -> UnixNanos {
    BEGIN.after(Duration::from_millis(ms))
}

/// A record that was told: name and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub at: Envelope,
    pub words: Vec<u64>,
}

/// Records as a replay must tell them: session starts say that they are replayed.
pub fn as_replayed(rows: &[Row]) -> Vec<Row> {
    let one = |row: &Row| {
        let words = replay::marked(&row.words).map_or_else(|| row.words.clone(), |session| session.words().to_vec());
        Row { at: row.at, words }
    };
    rows.iter().map(one).collect()
}

/// The frames of a fixture, n ms after the beginning.
pub fn fixture(case: &str) -> Vec<(UnixNanos, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(case).join("frames.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().zip(1..).map(|(line, n)| (at(n), line.as_bytes().to_vec())).collect()
}

/// One fixture of each venue.
pub const FIXTURES: [(Venue, &str); 4] = [
    (Venue::Coinbase, "coinbase_exchange/first_light"),
    (Venue::Kraken, "kraken/first_light"),
    (Venue::Binance, "binance/all_streams"),
    (Venue::Alpaca, "alpaca/coins"),
];

/// Makes a capture as a feed would: the frames through a session, its timers in between. What it told.
pub fn capture(folder: &Path, venue: Venue, epoch: u64, frames: &[(UnixNanos, Vec<u8>)]) -> Vec<Row> {
    let settings = Settings {
        // Alpaca's machine is not made without; nothing it tells hangs on them.
        credentials: (venue == Venue::Alpaca).then(|| venues::Credentials {
            key: "key".to_owned(),
            secret: "secret".to_owned(),
            passphrase: None,
        }),
        streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar],
        ..Settings::default()
    };
    let session_settings = SessionSettings { refresh: Duration::from_secs(2), ..SessionSettings::default() };
    let run = Run {
        venue: venue.name().to_owned(),
        epoch,
        piece: 0,
        site: "desk".to_owned(),
        build: "golden".to_owned(),
        simulated: false,
        lines: vec![RunLine { name: String::new(), group: 0 }],
        settings: RunSettings::new(&settings, &[], session_settings),
    };
    let session = run.make_session(folder).unwrap();
    let recording = Recording::begin(&capture::Options::new(folder), venue, run).unwrap();
    let mut desk = Feed { session, recording, out: Outbox::new(), rows: vec![], epoch, sequence: 0 };
    let first = frames.first().map_or(BEGIN, |frame| frame.0);
    desk.step(Input::Start { epoch, pid: 1, origin: Origin::Live, site: "desk", build: "golden" }, first);
    desk.step(Input::Connecting("wss://venue"), first);
    desk.step(Input::Connected, first);
    let mut last = first;
    for (now, frame) in frames {
        desk.timers(*now);
        desk.step(Input::Frame(frame), *now);
        last = *now;
    }
    desk.timers(last);
    desk.step(Input::Disconnected(Reason::Shutdown, "over"), last);
    desk.step(Input::End(Reason::Shutdown), last);
    desk.recording.entry(Kind::Imported, b"{}", last).unwrap();
    desk.recording.end().unwrap();
    desk.rows
}

struct Feed {
    session: venues::Session,
    recording: Recording,
    out: Outbox,
    rows: Vec<Row>,
    epoch: u64,
    sequence: u64,
}

impl Feed {
    fn timers(&mut self, now: UnixNanos) {
        while let Some(due) = self.session.next_timer().filter(|due| *due <= now) {
            self.step(Input::Timer, due);
            if self.session.next_timer() == Some(due) {
                return;
            }
        }
    }

    fn step(&mut self, input: Input<'_>, now: UnixNanos) {
        self.recording.input(0, &input, now).unwrap();
        self.session.step(input, now, &mut self.out);
        for words in self.out.records.iter() {
            self.sequence += 1;
            let at = Envelope { epoch: self.epoch, sequence: self.sequence };
            self.rows.push(Row { at, words: words.to_vec() });
        }
        self.out.clear();
    }
}

/// Puts what venues told into a journal, a few records of each at a time, as a recorder drains the rings.
pub fn journal(folder: &Path, told: &[(Venue, Vec<Row>)]) {
    let options = journal::Options {
        segment_bytes: 256 << 10,
        reserve_bytes: 4 << 10,
        checkpoint_bytes: 16 << 10,
        batch_bytes: 8 << 10,
        helper: Helper::Inline,
        ..journal::Options::default()
    };
    let (mut writer, _) = journal::Writer::open(folder, options, "desk", BEGIN).unwrap();
    let mut places = vec![0; told.len()];
    let mut now = BEGIN;
    while places.iter().zip(told).any(|(place, (_, rows))| *place < rows.len()) {
        for (place, (venue, rows)) in places.iter_mut().zip(told) {
            // Uneven shares: venues are drained at their own pace.
            let share = &rows[*place..(*place + 7 + 5 * usize::from(venue.code())).min(rows.len())];
            let Some(first) = share.first() else { continue };
            let share: Vec<&Row> = share.iter().take_while(|row| row.at.epoch == first.at.epoch).collect();
            let newest = share.iter().map(|row| row.words[2]).max().unwrap();
            now = now.max(UnixNanos(newest));
            writer
                .append(*venue, first.at.epoch, now, share.iter().map(|row| (row.at.sequence, &row.words[..])))
                .unwrap();
            *place += share.len();
        }
        writer.write(now).unwrap();
    }
    writer.close(now).unwrap();
}

/// A market of our own: books and trades of a few instruments, refreshed in turn.
pub struct Market {
    venue: Venue,
    epoch: u64,
    out: RecordBuf,
    books: Vec<book::Book>,
    rng: u64,
    pub rows: Vec<Row>,
}

/// Levels a side that a snapshot tells.
pub const SNAPSHOT_LEVELS: usize = 20;

impl Market {
    /// Begins a run with its session, definitions and books.
    pub fn begin(venue: Venue, epoch: u64, instruments: usize, now: UnixNanos) -> Market {
        let books = (0..instruments).map(|_| book::Book::default()).collect();
        let rng = 0x9e37_79b9 ^ u64::from(venue.code());
        let mut market = Market { venue, epoch, out: RecordBuf::default(), books, rng, rows: vec![] };
        market.out.push_session_start(venue, epoch, 1, Origin::Live, "desk", "golden", now).unwrap();
        let status = Status::Connection(model::StreamState::Live);
        market.out.push_status(venue, InstrumentId::NONE, status, Reason::Ok, "", UnixNanos::ZERO, now);
        for n in 0..instruments {
            for level in 1..=30 {
                market.books[n].set(Side::Buy, Price(1000 - level), Qty(level));
                market.books[n].set(Side::Sell, Price(1000 + level), Qty(level));
            }
            market.refresh(n, SnapshotReason::Sync, now);
        }
        market.take();
        market
    }

    pub fn id(&self, n: usize) -> InstrumentId {
        InstrumentId::of(self.venue, &symbol(n))
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % below
    }

    fn take(&mut self) {
        for words in self.out.iter() {
            let sequence = self.rows.len() as u64 + 1;
            self.rows.push(Row { at: Envelope { epoch: self.epoch, sequence }, words: words.to_vec() });
        }
        self.out.clear();
    }

    /// Definition, state and snapshot, as feeds repeat them.
    pub fn refresh(&mut self, n: usize, reason: SnapshotReason, now: UnixNanos) {
        let (venue, id) = (self.venue, self.id(n));
        self.out.push_instrument(&definition(venue, n), UnixNanos::ZERO, now).unwrap();
        let status = Status::Book(model::BookState::Live);
        self.out.push_status(venue, id, status, Reason::Ok, "", UnixNanos::ZERO, now);
        let book = &self.books[n];
        let told = |side| book.depth(side).min(SNAPSHOT_LEVELS);
        let (bids, asks) = (told(Side::Buy), told(Side::Sell));
        self.out.push(&SnapshotBeginRecord {
            header: Header::new(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Some(venue), Flags::EMPTY, id),
            ts_event: 0,
            ts_recv: now.0,
            bids: bids as u32,
            asks: asks as u32,
            depth: 0,
            reason: reason as u8,
            capped: u8::from(bids < book.depth(Side::Buy) || asks < book.depth(Side::Sell)),
            reserved: [0; 2],
            update_id: 0,
        });
        for side in [Side::Buy, Side::Sell] {
            for l in book.levels(side).take(SNAPSHOT_LEVELS) {
                let (flags, none) = (Flags::SNAPSHOT, UnixNanos::ZERO);
                let change = BookChangeRecord::new(venue, id, side, flags, none, now, l.price, l.size, BookAction::Add);
                self.out.push(&change);
            }
        }
        self.out.push(&SnapshotEndRecord {
            header: Header::new(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Some(venue), Flags::LAST, id),
            ts_event: 0,
            ts_recv: now.0,
            levels: (bids + asks) as u32,
            checksum: 0,
            update_id: 0,
            reserved: 0,
        });
    }

    /// A few changes of one book, told as one event, and now and then a trade.
    pub fn change(&mut self, now: UnixNanos) {
        let n = self.draw(self.books.len() as u64) as usize;
        let (venue, id) = (self.venue, self.id(n));
        let changes = 1 + self.draw(4);
        for left in (0..changes).rev() {
            let side = if self.draw(2) == 0 { Side::Buy } else { Side::Sell };
            let away = 1 + self.draw(40) as i64;
            let price = Price(if side == Side::Buy { 1000 - away } else { 1000 + away });
            let size = Qty(self.draw(5) as i64 * i64::from(self.books[n].depth(side) > 25 || away > 3));
            let size = if self.books[n].depth(side) <= 25 { Qty(size.0 + 1) } else { size };
            let action = match self.books[n].set(side, price, size) {
                book::Effect::Added => BookAction::Add,
                book::Effect::Changed => BookAction::Change,
                book::Effect::Deleted | book::Effect::Absent => BookAction::Delete,
            };
            let flags = Flags::LAST.when(left == 0);
            self.out.push(&BookChangeRecord::new(venue, id, side, flags, now, now, price, size, action));
        }
        if self.draw(4) == 0 {
            let price = Price(990 + self.draw(20) as i64);
            let number = self.rows.len() as u64 + 1;
            let (side, source) = (Some(Side::Buy), model::SideSource::ExplicitTaker);
            let trade = TradeRecord::new(venue, id, side, source, Flags::EMPTY, now, now, price, Qty(3), Some(number));
            self.out.push_trade(&trade);
            let (bid, ask) = ((Price(999), Qty(2)), Some((Price(1001), Qty(1))));
            let bid = (!number.is_multiple_of(3)).then_some(bid);
            self.out.push(&wire::QuoteRecord::new(venue, id, Flags::EMPTY, now, now, bid, ask));
        }
        self.take();
    }

    /// So many events, so far apart; an instrument is refreshed every `refresh`.
    pub fn run(&mut self, begin: UnixNanos, events: usize, apart: Duration, refresh: Duration) {
        let (mut now, mut due, mut next) = (begin, begin.after(refresh), 0);
        for _ in 0..events {
            now = now.after(apart);
            if now >= due {
                self.refresh(next, SnapshotReason::Periodic, now);
                self.take();
                next = (next + 1) % self.books.len();
                due = due.after(refresh);
                now = now.after(Duration::from_nanos(1));
            }
            self.change(now);
        }
    }
}

fn symbol(n: usize) -> String {
    format!("C{n}-USD")
}

fn definition(venue: Venue, n: usize) -> model::Instrument {
    model::Instrument {
        id: InstrumentId::of(venue, &symbol(n)),
        venue,
        symbol: symbol(n),
        venue_symbol: symbol(n),
        base: format!("C{n}"),
        quote: "USD".to_owned(),
        version: 1,
        kind: model::InstrumentKind::Spot,
        status: model::InstrumentStatus::Trading,
        price_scale: 2,
        size_scale: 0,
        tick: Price(1),
        lot: Qty(1),
        min_size: Qty(1),
        min_notional: None,
    }
}

/// What a sink heard, with the marks a joiner sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub venue: Venue,
    pub time: UnixNanos,
    pub catch_up: bool,
    pub row: Row,
}

pub type Ears = Arc<Mutex<Vec<Heard>>>;

/// A sink that remembers all.
pub fn listener() -> (Ears, Box<dyn Sink>) {
    let ears = Ears::default();
    let heard = ears.clone();
    let call = Call(move |told: &Told<'_>| {
        heard.lock().unwrap().push(hear(told));
        Ok(())
    });
    (ears, Box::new(call))
}

pub fn hear(told: &Told<'_>) -> Heard {
    let row = Row { at: told.at, words: told.words.to_vec() };
    Heard { venue: told.venue, time: told.time, catch_up: told.catch_up, row }
}

/// Everything a choice of these sources tells, flat out.
pub fn all(sources: Vec<Box<dyn Source>>, choice: Choice) -> Vec<Heard> {
    let (ears, sink) = listener();
    flat_out(sources, choice, vec![sink]);
    ears.lock().unwrap().clone()
}

/// Runs flat out to these sinks.
pub fn flat_out(sources: Vec<Box<dyn Source>>, choice: Choice, sinks: Vec<Box<dyn Sink>>) {
    let replay = Replay::open(sources, choice).unwrap();
    let options = RunOptions { speed: Speed::Max, paused: false, linger: false };
    let (runner, _handle) = Runner::new(replay, sinks, options);
    runner.run(&mut replay::SystemClock::start()).unwrap();
}

/// Only what was recorded, without what a joiner gets beside it.
pub fn recorded(heard: &[Heard], venue: Venue) -> Vec<Row> {
    heard.iter().filter(|h| h.venue == venue && !h.catch_up).map(|h| h.row.clone()).collect()
}

/// The folder of recorded data, or `None` with a word about it.
pub fn data(test: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("ALPHAPULSE_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    if folder.join("venues").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: {} is not there", folder.display());
    None
}

/// Bytes that can be looked at while a sink owns their writer.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// For closures that may fail.
pub type Outcome = Result<(), ReplayError>;
