//! A small feed that writes real records to a real ring, and what the scenarios share.
#![allow(dead_code)]

pub mod recorded;

use book::PlainBook;
use model::{
    BookState, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Reason, Side, SideSource,
    StreamState, UnixNanos, Venue,
};
use relay::{
    Client, ClientOptions, Delivery, Reconnect, Server, ServerOptions, Source, StatsHandle, Subscription, TcpOptions,
    TcpSource, Token, Trust,
};
use ring::{Directory, Writer, WriterOptions};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wire::{
    BookAction, BookChangeRecord, Flags, Header, Origin, QuoteRecord, Record, RecordBuf, RecordType,
    SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, Status, TradeRecord,
};

/// A directory on a memory file system, where there is one.
pub fn folder() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { TempDir::with_prefix_in("relay-test-", shm) } else { TempDir::with_prefix("relay-test-") }
        .expect("temporary directory")
}

/// One venue's feed: a ring, a few instruments, their books, and a clock that it steps itself.
pub struct Feed {
    pub writer: Writer,
    pub venue: Venue,
    pub instruments: Vec<Instrument>,
    pub books: BTreeMap<InstrumentId, PlainBook>,
    pub now: u64,
    random: u64,
    trade_id: u64,
    buf: RecordBuf,
}

pub fn instrument(venue: Venue, base: &str) -> Instrument {
    let venue_symbol = format!("{base}/USD");
    Instrument {
        id: InstrumentId::of(venue, &venue_symbol),
        venue,
        symbol: format!("{base}-USD"),
        venue_symbol,
        base: base.into(),
        quote: "USD".into(),
        version: 1,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        price_scale: 1,
        size_scale: 8,
        tick: Price(1),
        lot: Qty(1),
        min_size: Qty(1),
        min_notional: None,
    }
}

impl Feed {
    pub fn open(rings: &Path, venue: Venue, epoch: u64, slots: u64, bases: &[&str]) -> Feed {
        let directory = Directory::open(rings).expect("directory");
        let writer = Writer::open(&directory, venue.name(), WriterOptions { slots, epoch }).expect("writer");
        let mut feed = Feed {
            writer,
            venue,
            instruments: bases.iter().map(|base| instrument(venue, base)).collect(),
            books: BTreeMap::new(),
            now: 1_700_000_000_000_000_000 + epoch * 1_000_000_000,
            random: 0x9e37_79b9 ^ epoch,
            trade_id: 0,
            buf: RecordBuf::default(),
        };
        feed.buf
            .push_session_start(venue, epoch, 1, Origin::Simulated, "here", "test", UnixNanos(feed.now))
            .expect("short texts");
        let now = UnixNanos(feed.now);
        let up = Status::Connection(StreamState::Live);
        feed.buf.push_status(venue, InstrumentId::NONE, up, Reason::Ok, "", now, now);
        for at in 0..feed.instruments.len() {
            feed.books.insert(feed.instruments[at].id, PlainBook::new());
            feed.define(at);
        }
        feed
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// A definition alone, as when a tick or a scale changes.
    pub fn redefine(&mut self, at: usize) {
        let now = UnixNanos(self.now);
        self.instruments[at].version += 1;
        self.buf.push_instrument(&self.instruments[at], now, now).expect("short texts");
        self.flush();
    }

    /// Definition, book state and whole book of one instrument, as feeds repeat them.
    pub fn define(&mut self, at: usize) {
        let instrument = self.instruments[at].clone();
        let now = UnixNanos(self.now);
        self.buf.push_instrument(&instrument, now, now).expect("short texts");
        self.buf.push_status(self.venue, instrument.id, Status::Book(BookState::Live), Reason::Ok, "", now, now);
        let book = &self.books[&instrument.id];
        let sides = [Side::Buy, Side::Sell].map(|side| (side, book.levels(side)));
        let header = |kind| Header::new(kind, 6, Some(self.venue), Flags::EMPTY, instrument.id);
        self.buf.push(&SnapshotBeginRecord {
            header: header(RecordType::SnapshotBegin),
            ts_event: now.0,
            ts_recv: now.0,
            bids: sides[0].1.len() as u32,
            asks: sides[1].1.len() as u32,
            depth: 0,
            reason: SnapshotReason::Periodic as u8,
            capped: 0,
            reserved: [0; 2],
            update_id: 0,
        });
        let mut levels = 0;
        for (side, side_levels) in sides {
            for level in side_levels {
                levels += 1;
                self.buf.push(&BookChangeRecord::new(
                    self.venue,
                    instrument.id,
                    side,
                    Flags::SNAPSHOT,
                    now,
                    now,
                    level.price,
                    level.size,
                    BookAction::Add,
                ));
            }
        }
        self.buf.push(&SnapshotEndRecord {
            header: header(RecordType::SnapshotEnd),
            ts_event: now.0,
            ts_recv: now.0,
            levels,
            checksum: 0,
            update_id: 0,
            reserved: 0,
        });
        self.flush();
    }

    /// A change, a trade or a quote of a random instrument.
    pub fn tick(&mut self) {
        self.now += 1_000;
        let now = UnixNanos(self.now);
        let at = self.roll(self.instruments.len() as u64) as usize;
        let id = self.instruments[at].id;
        let side = if self.roll(2) == 0 { Side::Buy } else { Side::Sell };
        let offset = self.roll(40) as i64;
        let price = Price(if side == Side::Buy { 1_000 - offset } else { 1_001 + offset });
        match self.roll(4) {
            0 => {
                self.trade_id += 1;
                self.buf.push_trade(&TradeRecord::new(
                    self.venue,
                    id,
                    Some(side),
                    SideSource::ExplicitTaker,
                    Flags::LAST,
                    now,
                    now,
                    price,
                    Qty(5),
                    Some(self.trade_id),
                ));
            }
            1 => self.buf.push(&QuoteRecord::new(
                self.venue,
                id,
                Flags::EMPTY,
                now,
                now,
                Some((Price(1_000), Qty(1))),
                Some((Price(1_001), Qty(1))),
            )),
            _ => {
                let size = Qty(self.roll(3) as i64 * 7);
                self.books.get_mut(&id).expect("known").set(side, price, size);
                let action = if size.0 == 0 { BookAction::Delete } else { BookAction::Change };
                self.buf.push(&BookChangeRecord::new(self.venue, id, side, Flags::LAST, now, now, price, size, action));
            }
        }
        self.flush();
    }

    /// Moves records from the buffer to the ring, unpublished.
    fn flush(&mut self) {
        for record in self.buf.iter() {
            self.writer.push(record);
        }
        self.buf.clear();
    }

    pub fn publish(&mut self) {
        self.writer.publish(self.now);
    }

    /// `ticks` ticks in batches of 16, every instrument told again every 200 ticks.
    pub fn run(&mut self, ticks: usize) {
        for tick in 0..ticks {
            self.tick();
            if tick % 200 == 199 {
                for at in 0..self.instruments.len() {
                    self.define(at);
                }
            }
            if tick % 16 == 15 {
                self.publish();
            }
        }
        self.publish();
    }

    /// Sequence of the last record pushed.
    pub fn last(&self) -> u64 {
        self.writer.next_sequence() - 1
    }
}

/// A record as a consumer got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub venue: Venue,
    pub epoch: u64,
    pub sequence: u64,
    pub catch_up: bool,
    pub words: Vec<u64>,
}

impl Got {
    pub fn record(&self) -> Record<'_> {
        Record::read(&self.words).expect("whole record")
    }
}

pub fn got(delivery: Delivery, words: &[u64]) -> Got {
    Got {
        venue: delivery.venue,
        epoch: delivery.envelope.epoch,
        sequence: delivery.envelope.sequence,
        catch_up: delivery.catch_up,
        words: words.to_vec(),
    }
}

/// Long enough for a busy machine; reached only by failures.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `done` says so of all that came.
pub fn collect_until(client: &mut Client, all: &mut Vec<Got>, mut done: impl FnMut(&[Got]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(all) {
        assert!(Instant::now() < end, "still waiting after {} records; last {:?}", all.len(), all.last());
        if client.poll(|delivery, words| all.push(got(delivery, words))).expect("poll") == 0 {
            client.wait(Duration::from_millis(20));
        }
    }
}

/// Waits until it holds.
pub fn wait_for(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the record `sequence` of `epoch`, or one after it, came live.
pub fn reached(all: &[Got], epoch: u64, sequence: u64) -> bool {
    all.iter()
        .rev()
        .find(|got| !got.catch_up && got.sequence != 0)
        .is_some_and(|got| (got.epoch, got.sequence) >= (epoch, sequence))
}

/// What came live of one venue, as ranges of (epoch, first, last, how): told, or named in an overrun. Panics when a
/// record comes twice or out of order.
pub fn account(all: &[Got], venue: Venue) -> Vec<(u64, u64, u64, &'static str)> {
    let mut ranges: Vec<(u64, u64, u64, &'static str)> = Vec::new();
    for got in all.iter().filter(|got| got.venue == venue && !got.catch_up) {
        let (epoch, first, last, how) = match got.record() {
            Record::Overrun(overrun) => (overrun.epoch, overrun.first, overrun.last, "lost"),
            _ => (got.epoch, got.sequence, got.sequence, "told"),
        };
        match ranges.last_mut() {
            Some(range) if range.0 == epoch => {
                assert!(first > range.2, "{first} came after {}", range.2);
                if range.3 == how && first == range.2 + 1 {
                    range.2 = last;
                    continue;
                }
            }
            Some(range) => assert!(epoch > range.0, "epoch {epoch} came after {}", range.0),
            None => {}
        }
        ranges.push((epoch, first, last, how));
    }
    ranges
}

/// The books a consumer holds after all this, each live, whole, and as every repeated snapshot said.
pub fn rebuilt(all: &[Got]) -> BTreeMap<InstrumentId, PlainBook> {
    let mut books = relay::Books::new();
    for got in all {
        books.push(&got.words).expect("a sound record");
    }
    let plain = |(_, instrument, rebuilt): (Venue, InstrumentId, &book::Rebuilt)| {
        assert_eq!(rebuilt.follower.standing().state, BookState::Live, "{instrument}");
        assert_eq!(rebuilt.follower.counts().disagreed, 0, "{instrument}");
        let mut plain = PlainBook::new();
        for side in [Side::Buy, Side::Sell] {
            assert_eq!(rebuilt.follower.bound(side), None, "{instrument} is known as a whole");
            for level in rebuilt.book.levels(side) {
                plain.set(side, level.price, level.size);
            }
        }
        (instrument, plain)
    };
    books.iter().map(plain).collect()
}

/// A relay in a thread of this process.
pub struct Running {
    pub socket: PathBuf,
    pub tcp: Option<std::net::SocketAddr>,
    pub stats: StatsHandle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(rings: &Path, socket: &Path) -> Running {
        Running::with(ServerOptions::new(rings.to_owned(), socket.to_owned()))
    }

    pub fn with(options: ServerOptions) -> Running {
        let socket = options.socket.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let server = Server::bind(options).expect("bind");
        let (flag, stats, tcp) = (stop.clone(), server.stats(), server.tcp_address());
        let thread = std::thread::spawn(move || server.run(&flag));
        Running { socket, tcp, stats, stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the relay's thread panicked");
        }
    }
}

pub fn over_socket(socket: &Path, subscription: Subscription) -> Client {
    Client::open(Source::Unix(socket.to_owned()), subscription, quick()).expect("subscribe over the socket")
}

pub fn over_rings(rings: &Path, subscription: Subscription) -> Client {
    Client::open(Source::Rings(rings.to_owned()), subscription, quick()).expect("subscribe to the rings")
}

pub fn quick() -> ClientOptions {
    let reconnect = Reconnect::Backoff { first: Duration::from_millis(5), max: Duration::from_millis(50) };
    ClientOptions { reconnect, silence: Duration::from_millis(2500), ..ClientOptions::default() }
}

/// A CA and a relay's certificate for "localhost" and 127.0.0.1, as PEM files.
pub struct Pki {
    pub folder: TempDir,
}

impl Pki {
    pub fn new() -> Pki {
        let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().expect("a key");
        let root = authority.self_signed(&authority_key).expect("a root");
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = rcgen::KeyPair::generate().expect("a key");
        let server = rcgen::CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("signed");
        let pki = Pki { folder: TempDir::with_prefix("relay-pki-").expect("folder") };
        for (name, text) in [("ca.pem", root.pem()), ("cert.pem", server.pem()), ("key.pem", key.serialize_pem())] {
            std::fs::write(pki.file(name), text).expect("written");
        }
        pki
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn identity(&self) -> relay::Identity {
        relay::Identity { certificate: self.file("cert.pem"), key: self.file("key.pem") }
    }
}

pub const TOKEN: &str = "a-token-of-some-length-for-the-tests-only";

pub fn token(text: &str) -> Token {
    Token::new(text).expect("long enough")
}

/// Options of a relay that serves TLS on a free port of loopback to whoever knows the token.
pub fn guarded(rings: &Path, socket: &Path, pki: &Pki) -> ServerOptions {
    let mut options = ServerOptions::new(rings.to_owned(), socket.to_owned());
    let mut tcp = TcpOptions::new("127.0.0.1:0".parse().expect("address"));
    tcp.identity = Some(pki.identity());
    tcp.token = Some(token(TOKEN));
    options.tcp = Some(tcp);
    options.site = "there".to_owned();
    options
}

/// How to reach it, at this address.
pub fn over_tls(address: std::net::SocketAddr, pki: &Pki) -> TcpSource {
    TcpSource {
        address: address.to_string(),
        trust: Trust::Roots { file: pki.file("ca.pem"), server_name: Some("localhost".to_owned()) },
        token: Some(token(TOKEN)),
    }
}

pub fn over_tcp(source: TcpSource, subscription: Subscription) -> Client {
    Client::open(Source::Tcp(source), subscription, quick()).expect("subscribe over TCP")
}

/// Stands between a client and a relay and treats the link badly.
pub struct Proxy {
    pub address: std::net::SocketAddr,
    mode: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a proxy does to what passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Link {
    /// Passes everything on.
    Up = 0,
    /// Takes nothing from either side and says nothing; connections stay.
    Stalled = 1,
    /// Closes what is there and whatever comes.
    Cut = 2,
    /// Takes what comes and drops it without a word: a half-open connection. What was dropped stays dropped, so a
    /// connection that saw it never goes on.
    HalfOpen = 3,
}

impl Proxy {
    pub fn start(target: std::net::SocketAddr) -> Proxy {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.set_nonblocking(true).expect("set up");
        let address = listener.local_addr().expect("address");
        let (mode, stop) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicBool::new(false)));
        let (theirs, flag) = (mode.clone(), stop.clone());
        let thread = std::thread::spawn(move || pass(&listener, target, &theirs, &flag));
        Proxy { address, mode, stop, thread: Some(thread) }
    }

    pub fn set(&self, link: Link) {
        self.mode.store(link as u8, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the proxy's thread panicked");
        }
    }
}

/// One direction of one connection.
struct Way {
    from: std::net::TcpStream,
    to: std::net::TcpStream,
    waiting: Vec<u8>,
}

impl Way {
    /// False at the end.
    fn step(&mut self, drop_it: bool) -> bool {
        let mut piece = [0; 16 * 1024];
        if drop_it {
            self.waiting.clear();
        }
        if self.waiting.is_empty() {
            match self.from.read(&mut piece) {
                Ok(0) => return false,
                Ok(got) if !drop_it => self.waiting.extend_from_slice(&piece[..got]),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        match self.to.write(&self.waiting) {
            Ok(some) => drop(self.waiting.drain(..some)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }
}

fn pass(listener: &std::net::TcpListener, target: std::net::SocketAddr, mode: &AtomicU8, stop: &AtomicBool) {
    // Both ways, and whether something of it was dropped.
    let mut ways: Vec<([Way; 2], bool)> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let mode = mode.load(Ordering::SeqCst);
        if let Ok((near, _)) = listener.accept()
            && mode != Link::Cut as u8
            && let Ok(far) = std::net::TcpStream::connect(target)
        {
            for socket in [&near, &far] {
                socket.set_nonblocking(true).expect("set up");
            }
            let way = |from: &std::net::TcpStream, to: &std::net::TcpStream| Way {
                from: from.try_clone().expect("a descriptor"),
                to: to.try_clone().expect("a descriptor"),
                waiting: Vec::new(),
            };
            ways.push(([way(&near, &far), way(&far, &near)], false));
        }
        if mode == Link::Cut as u8 {
            ways.clear();
        }
        if mode != Link::Stalled as u8 {
            ways.retain_mut(|(both, dropped)| {
                *dropped |= mode == Link::HalfOpen as u8;
                both.iter_mut().all(|way| way.step(*dropped))
            });
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
