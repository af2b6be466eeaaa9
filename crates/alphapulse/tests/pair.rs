//! A pair of connections to one venue, each through a line that loses frames and breaks when it is told to: losing one
//! shows nothing, losing both shows exactly what is missing, and a connection is renewed unseen.

mod common;

use common::running_feed::RunningFeed;
use emulator::{EmulatedVenue, GeneratedSession, Rate};
use feed::{FeedOptions, Waiting, backoff::BackoffConfig};
use model::Venue;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use venues::{SessionSettings, Settings};
use wire::Origin;

/// Frames a second of the emulator.
const RATE: u32 = 200;
/// Trading pairs of the emulator.
const PAIRS: u64 = 3;

/// A text frame of the venue that came to a line, and whether the line carried it on.
type Carried = (String, bool);

/// A line between feed and venue: TCP, with an eye on the venue's WebSocket frames.
struct Line {
    address: SocketAddr,
    state: Arc<LineState>,
    thread: Option<JoinHandle<()>>,
}

struct LineState {
    /// Of a thousand data frames so many are lost.
    loss: AtomicU32,
    /// While set nobody gets through.
    broken: AtomicBool,
    stop: AtomicBool,
    connections: AtomicUsize,
    sockets: Mutex<Vec<TcpStream>>,
    carried: Mutex<Vec<Carried>>,
}

impl Line {
    fn to(venue: SocketAddr, seed: u64) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(LineState {
            loss: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            sockets: Mutex::default(),
            carried: Mutex::default(),
        });
        let shared = state.clone();
        let thread = thread::spawn(move || {
            let mut threads = vec![];
            for client in listener.incoming().map_while(Result::ok) {
                if shared.stop.load(Ordering::Acquire) {
                    break;
                }
                if shared.broken.load(Ordering::Acquire) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(venue) else { continue };
                shared.connections.fetch_add(1, Ordering::AcqRel);
                let copy = |s: &TcpStream| s.try_clone().expect("a socket");
                shared.sockets.lock().expect("unpoisoned").extend([copy(&client), copy(&server)]);
                let (up, down) = ((copy(&client), copy(&server)), (server, client));
                threads.push(thread::spawn(move || carry_up(up)));
                let (state, seed) = (shared.clone(), seed + threads.len() as u64);
                threads.push(thread::spawn(move || carry_down(down, &state, seed)));
            }
            threads.into_iter().for_each(|t| t.join().expect("a carrier does not panic"));
        });
        Line { address, state, thread: Some(thread) }
    }

    /// Breaks what is connected.
    fn cut(&self) {
        for socket in self.state.sockets.lock().expect("unpoisoned").drain(..) {
            // The other end may have gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn set_broken(&self, broken: bool) {
        self.state.broken.store(broken, Ordering::Release);
        if broken {
            self.cut();
        }
    }

    fn carried(&self) -> Vec<Carried> {
        self.state.carried.lock().expect("unpoisoned").clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        self.cut();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a line does not panic");
        }
    }
}

fn carry_up((mut from, mut to): (TcpStream, TcpStream)) {
    // Ends when either socket does.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Carries the venue's answer to the upgrade, then its frames one by one.
fn carry_down((mut from, mut to): (TcpStream, TcpStream), state: &LineState, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut bytes, mut chunk, mut upgraded) = (vec![], [0u8; 16 << 10], false);
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..n]);
        let mut out = vec![];
        if !upgraded {
            let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            out.extend(bytes.drain(..end + 4));
            upgraded = true;
        }
        while let Some((head, length)) = frame(&bytes) {
            let whole: Vec<u8> = bytes.drain(..head + length).collect();
            let text = (whole[0] & 15 == 1).then(|| String::from_utf8_lossy(&whole[head..]).into_owned());
            let is_data = text.as_ref().is_some_and(|t| t.contains(r#""type":"update""#) || t.contains(r#""stream":"#));
            let lost = is_data && rng.u32(..1000) < state.loss.load(Ordering::Acquire);
            if !lost {
                out.extend_from_slice(&whole);
            }
            if let Some(text) = text.filter(|_| is_data) {
                state.carried.lock().expect("unpoisoned").push((text, !lost));
            }
        }
        if to.write_all(&out).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Lengths of the header and the payload of the first frame, when it is whole. Servers do not mask.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match bytes.get(1)? & 127 {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= head + length).then_some((head, length))
}

/// A venue, its lines, and a feed over them.
struct Plant {
    venue: Venue,
    _emulator: emulator::Handle,
    lines: Vec<Line>,
    feed: RunningFeed,
}

fn symbols(venue: Venue) -> Vec<String> {
    let quote = if venue == Venue::Kraken { "USD" } else { "USDT" };
    ["BTC", "ETH", "SOL"].iter().map(|base| format!("{base}-{quote}")).collect()
}

impl Plant {
    fn start(venue: Venue, pair: bool, renew: Option<Duration>, limits: emulator::Limits) -> Plant {
        let emulated = if venue == Venue::Kraken { EmulatedVenue::Kraken } else { EmulatedVenue::Binance };
        let mut options = emulator::Options::new(emulated);
        options.rate = Rate::FramesPerSecond(RATE);
        options.session = emulator::Session::Generated(GeneratedSession::default());
        options.limits = limits;
        let emulator = emulator::Server::start(options).expect("an emulator");
        let lines = vec![Line::to(emulator.addr(), 1), Line::to(emulator.addr(), 1000)];
        let path = if venue == Venue::Kraken { "/v2" } else { "/stream" };
        let feed = RunningFeed::start(|folder| FeedOptions {
            venue,
            ws_url: format!("ws://{}{path}", lines[0].address),
            ws_url_b: format!("ws://{}{path}", lines[1].address),
            pair,
            renew,
            cpu: None,
            deflate: None,
            rest_url: format!("http://{}", emulator.addr()),
            settings: Settings { symbols: symbols(venue), ..Settings::default() },
            choices: vec![],
            session: SessionSettings { refresh: Duration::from_secs(2), ..SessionSettings::default() },
            site: "test".to_owned(),
            build: "test".to_owned(),
            origin: Origin::Simulated,
            ring_dir: folder.join("rings"),
            ring_slots: 1 << 18,
            state_dir: folder.join("state"),
            capture: Some(capture::Options::new(folder.join("capture"))),
            tls: feed::transport::TlsOptions::default(),
            backoff: BackoffConfig { cap: Duration::from_millis(100), ..BackoffConfig::default() },
            waiting: Waiting::Block,
            seed: 1,
        });
        Plant { venue, _emulator: emulator, lines, feed }
    }

    /// Waits until so many books have been brought up, and for some more trades.
    fn wait_for_books(&self, books: u64) {
        self.feed.reach("book_snapshots_total", books);
        self.wait_for_trades(20);
    }

    fn wait_for_trades(&self, more: u64) {
        self.feed.wait_for("trades_total", more);
    }

    /// Ends the run and returns what was told.
    fn end(&mut self) -> Vec<Value> {
        self.feed.end()
    }

    /// The capture tells the same bytes again.
    fn check_replay(&self) {
        let out = common::program()
            .args(["capture", "replay"])
            .arg(self.feed.folder().join("capture").join(self.venue.name()))
            .arg("--compare")
            .arg(self.feed.folder().join("rings"))
            .output()
            .expect("the program runs");
        let words = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && words.contains(", 0 different"), "{words}");
    }
}

/// The trades of a data frame: symbol as told, id.
fn trades(text: &str) -> Vec<(String, u64)> {
    let frame: Value = serde_json::from_str(text).expect("JSON");
    if frame["channel"] == "trade" {
        let one = |d: &Value| Some((d["symbol"].as_str()?.replace('/', "-"), d["trade_id"].as_u64()?));
        return frame["data"].as_array().expect("a list").iter().filter_map(one).collect();
    }
    match frame["stream"].as_str() {
        Some(stream) if stream.ends_with("@trade") => {
            let symbol = frame["data"]["s"].as_str().expect("a symbol").replace("USDT", "-USDT");
            vec![(symbol, frame["data"]["t"].as_u64().expect("an id"))]
        }
        _ => vec![],
    }
}

fn id(value: &Value) -> u64 {
    value.as_str().and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}

/// Every trade was told once, and each that any line carried was told; what none carried is told late or lies in an
/// exact gap. Returns how many none carried.
fn check_trades(plant: &Plant, told: &[Value], from: &BTreeMap<String, u64>) -> u64 {
    let mut seen: BTreeSet<(String, u64)> = BTreeSet::new();
    let mut gaps: BTreeSet<(String, u64)> = BTreeSet::new();
    let mut late: BTreeSet<(String, u64)> = BTreeSet::new();
    for line in told {
        let symbol = line["symbol"].as_str().unwrap_or_default().to_owned();
        if line["type"] == "trade" {
            let at = (symbol, id(&line["trade_id"]));
            if line["late"] == true {
                late.insert(at.clone());
            }
            assert!(seen.insert(at), "told twice: {line}");
        } else if line["type"] == "gap" && line["stream"] == "trade" {
            for missing in id(&line["first"])..=id(&line["last"]) {
                assert!(gaps.insert((symbol.clone(), missing)), "in two gaps: {line}");
            }
        }
    }
    let last = |symbol: &str| seen.iter().filter(|(s, _)| s == symbol).map(|(_, id)| *id).max();
    let mut carried = BTreeSet::new();
    for line in &plant.lines {
        for (text, _) in line.carried().iter().filter(|(_, carried)| *carried) {
            carried.extend(trades(text));
        }
    }
    let (mut told, mut missing, mut neither) = (0, 0, 0);
    for (symbol, first) in from {
        for id in *first..=last(symbol).expect("trades of every symbol") {
            let at = (symbol.clone(), id);
            told += u64::from(seen.contains(&at));
            missing += u64::from(gaps.contains(&at));
            assert!(seen.contains(&at) || gaps.contains(&at), "{symbol} {id} is missing and nobody says so");
            assert!(seen.contains(&at) || !carried.contains(&at), "{symbol} {id} was carried and not told");
            let known = carried.contains(&at) || late.contains(&at) || gaps.contains(&at);
            assert!(known, "{symbol} {id} came by neither line and is told as if it had");
            neither += u64::from(!carried.contains(&at));
        }
    }
    println!("{}: {told} trades told once, {missing} in exact gaps, {neither} carried by neither line", plant.venue);
    neither
}

/// The last id told so far of each symbol: from there on everything is looked at.
fn start_of(told: &[Value]) -> BTreeMap<String, u64> {
    let mut start = BTreeMap::new();
    for line in told.iter().filter(|l| l["type"] == "trade") {
        start.entry(line["symbol"].as_str().expect("a symbol").to_owned()).or_insert_with(|| id(&line["trade_id"]));
    }
    start
}

/// No gap and no state but live since every book was live first.
fn check_untroubled(told: &[Value]) {
    let mut live = BTreeSet::new();
    let begin = told.iter().position(|line| {
        if line["type"] == "status" && line["scope"] == "book" && line["state"] == "live" {
            live.insert(line["symbol"].to_string());
        }
        live.len() as u64 == PAIRS
    });
    let end = told.iter().rposition(|l| l["text"].as_str().is_some_and(|t| t.contains("shutting down")));
    let (begin, end) = (begin.expect("live books"), end.expect("an end"));
    let first_end = told[begin..end].iter().position(|l| l["text"].as_str().is_some_and(|t| t.contains("shutting")));
    for line in &told[begin..begin + first_end.unwrap_or(end - begin)] {
        assert!(line["type"] != "gap", "{line}");
        assert!(line["type"] != "status" || line["state"] == "live" || line["scope"] == "venue", "{line}");
    }
}

/// Binance numbers its events: those told are those sent, each once and in order.
fn check_events(plant: &Plant, told: &[Value]) {
    let mut sent: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    let side = |list: &Value| {
        let level = |l: &Value| format!("{}x{}", plain(&l[0]), plain(&l[1]));
        list.as_array().map(|l| l.iter().map(level).collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    for line in &plant.lines {
        for (text, _) in line.carried() {
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            let data = &frame["data"];
            if data["e"] == "depthUpdate" {
                let symbol = data["s"].as_str().expect("a symbol").replace("USDT", "-USDT");
                let levels = format!("{} / {}", side(&data["b"]), side(&data["a"]));
                sent.entry(symbol).or_default().insert(data["u"].as_u64().expect("an id"), levels);
            }
        }
    }
    for (symbol, events) in sent {
        let sent: Vec<String> = events.into_values().filter(|l| l != " / ").collect();
        let update = |l: &&Value| l["type"] == "book" && l["kind"] == "update" && l["symbol"] == *symbol;
        let told: Vec<String> =
            told.iter().filter(update).map(|l| format!("{} / {}", side(&l["bids"]), side(&l["asks"]))).collect();
        let start = sent.iter().position(|l| *l == told[0]).unwrap_or_else(|| panic!("{symbol}: {}", told[0]));
        assert!(told.len() > 20, "{symbol}: {} events are too few to prove anything", told.len());
        assert_eq!(told, sent[start..start + told.len()], "{symbol}");
        println!("{symbol}: {} book events in order", told.len());
    }
}

/// Digits without trailing zeros.
fn plain(value: &Value) -> String {
    value.as_str().expect("a number as text").parse::<model::Decimal>().expect("a number").to_string()
}

fn losing_one_connection_shows_nothing(venue: Venue) {
    let mut plant = Plant::start(venue, true, None, emulator::Limits::default());
    let mut books = 2 * PAIRS;
    plant.wait_for_books(books);
    for round in 0..6 {
        let line = &plant.lines[round % 2];
        line.set_broken(true);
        plant.wait_for_trades(30);
        line.set_broken(false);
        books += PAIRS;
        plant.wait_for_books(books);
    }
    let told = plant.end();
    check_untroubled(&told);
    let start = start_of(&told);
    assert_eq!(check_trades(&plant, &told, &start), 0, "nothing was lost on both");
    if venue == Venue::Binance {
        check_events(&plant, &told);
    }
    assert!(told.iter().any(|l| l["text"].as_str().is_some_and(|t| t.starts_with("line b: "))), "the loss is told");
    plant.check_replay();
}

fn whatever_both_lose_is_told(venue: Venue) {
    let mut plant = Plant::start(venue, true, None, emulator::Limits::default());
    plant.wait_for_books(2 * PAIRS);
    let mut rng = fastrand::Rng::with_seed(7);
    plant.lines.iter().for_each(|line| line.state.loss.store(30, Ordering::Release));
    for _ in 0..20 {
        plant.lines[rng.usize(..2)].cut();
        plant.wait_for_trades(rng.u64(1..15));
    }
    // A trade that neither carries.
    plant.lines.iter().for_each(|line| line.state.loss.store(1000, Ordering::Release));
    let lost = |line: &Line| {
        let lost: Vec<Carried> = line.carried().into_iter().filter(|(_, carried)| !carried).collect();
        lost.iter().flat_map(|(text, _)| trades(text)).collect::<BTreeSet<_>>()
    };
    common::wait_for("a trade lost on both", || {
        lost(&plant.lines[0]).intersection(&lost(&plant.lines[1])).next().map(|_| ())
    });
    plant.lines.iter().for_each(|line| line.state.loss.store(0, Ordering::Release));
    plant.wait_for_trades(30);
    for line in &plant.lines {
        line.set_broken(true);
    }
    thread::sleep(Duration::from_millis(200));
    for line in &plant.lines {
        line.set_broken(false);
    }
    plant.wait_for_trades(100);
    let told = plant.end();
    assert!(told.iter().any(|l| l["type"] == "status" && l["scope"] == "connection" && l["state"] == "down"));
    let start = start_of(&told);
    assert!(check_trades(&plant, &told, &start) > 0, "something was lost on both");
    plant.check_replay();
}

fn a_renewed_connection_shows_nothing(venue: Venue) {
    let limits = emulator::Limits { connection_age: Duration::from_secs(20), ..emulator::Limits::default() };
    let mut plant = Plant::start(venue, false, Some(Duration::from_secs(1)), limits);
    plant.wait_for_books(PAIRS);
    let opened = || plant.lines[0].state.connections.load(Ordering::Acquire);
    common::wait_for("five connections", || (opened() >= 5).then_some(()));
    plant.wait_for_trades(30);
    let told = plant.end();
    check_untroubled(&told);
    let start = start_of(&told);
    assert_eq!(check_trades(&plant, &told, &start), 0, "nothing was lost on both");
    if venue == Venue::Binance {
        check_events(&plant, &told);
    }
    let renewed = told.iter().filter(|l| l["text"].as_str().is_some_and(|t| t.contains("renewed by line"))).count();
    assert!(renewed >= 3, "{renewed} connections were renewed");
    plant.check_replay();
}

macro_rules! stories {
    ($($venue:ident = $name:expr),+) => {
        $(mod $venue {
            #[test] fn losing_one_connection_shows_nothing() { super::losing_one_connection_shows_nothing($name); }
            #[test] fn whatever_both_lose_is_told() { super::whatever_both_lose_is_told($name); }
            #[test] fn a_renewed_connection_shows_nothing() { super::a_renewed_connection_shows_nothing($name); }
        })+
    };
}

stories!(kraken = model::Venue::Kraken, binance = model::Venue::Binance);
