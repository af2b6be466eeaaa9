//! How fast the emulator is: frames made without sockets beside serde_json writing the same ones, and frames through one
//! plain loopback connection.
//!
//! `cargo run --release -p emulator --example rate` prints a line for each venue and mode. The mix is that of a load
//! run: 50 % quotes, 30 % trades, 20 % small book updates of three pairs. Making includes everything: what traders do,
//! the matching books, the checksums. The reference gets the finished frames as typed structs, numbers as text, and only
//! writes them; both are timed on this thread's processor time, in turns. Outside the timed parts every frame goes
//! through this project's own machine, which proves each checksum.

mod typed;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use emulator::{BookPace, EmulatedVenue, GeneratedFrames, GeneratedSession, Options, Rate, Server, Session};
use feed::websocket::handshake::ClientHandshake;
use feed::websocket::{Decoder, DecoderConfig, Encoder, Message, Role};
use model::{UnixNanos, Venue};
use venues::{Outbox, Settings};

const SECONDS: Duration = Duration::from_secs(5);
/// Turns of making and of writing, and frames of one.
const TURNS: usize = 15;
const FRAMES: usize = 200_000;
const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);
const BINANCE: &str = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/ethusdt@trade/\
                       ethusdt@bookTicker/ethusdt@depth@100ms/solusdt@trade/solusdt@bookTicker/solusdt@depth@100ms";

fn session() -> GeneratedSession {
    GeneratedSession { book_pace: BookPace::Batched, ..GeneratedSession::default() }
}

fn wanted(name: &str) -> bool {
    let binance = ["@trade", "@bookTicker", "@depth@100ms"].iter().any(|end| name.ends_with(end));
    let kraken =
        name.starts_with("trade:") || name.ends_with(":bbo") || (name.starts_with("book:") && name.ends_with(":10"));
    binance || kraken
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Frames one behind the other.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Makes frames and lets serde_json write the same ones, in turns.
fn made(venue: EmulatedVenue, proof: Option<Venue>) {
    let mut frames = GeneratedFrames::new(venue, &session(), Rate::FlatOut, 1, wanted);
    let mut machine = proof.map(|venue| venues::machine(venue, &Settings::default(), &[]).expect("no choices"));
    let mut out = Outbox::new();
    if let Some(machine) = &mut machine {
        for pair in ["BTC/USD", "ETH/USD", "SOL/USD"] {
            let snapshot = frames.snapshot(&format!("book:{pair}:10"), START).expect("books have snapshots");
            machine.on_frame(&snapshot, START, &mut out).expect("a frame of the venue's");
        }
    }
    let (mut arena, mut written) = (Arena::default(), Vec::new());
    let (mut rates, mut ratios, mut count, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    for turn in 0..TURNS as u64 {
        arena.clear();
        let begin = cpu();
        while arena.ends.len() < FRAMES {
            frames.advance(UnixNanos(START.0 + turn * 1_000_000_000), |_, frame| {
                arena.bytes.extend_from_slice(frame);
                arena.ends.push(arena.bytes.len());
            });
        }
        let making = cpu() - begin;
        let typed: Vec<typed::Frame<'_>> =
            arena.iter().map(|frame| typed::read(venue, frame).expect("a frame of a known form")).collect();
        written.clear();
        written.reserve(arena.bytes.len());
        let begin = cpu();
        typed.iter().for_each(|frame| serde_json::to_writer(&mut written, frame).expect("plain structs"));
        let writing = cpu() - begin;
        assert!(written == arena.bytes, "the reference writes other bytes");
        if let Some(machine) = &mut machine {
            for frame in arena.iter() {
                machine.on_frame(frame, START, &mut out).expect("a frame of the venue's");
                out.clear();
            }
        }
        // The first turn warms up.
        if turn > 0 {
            count += arena.ends.len() as u64;
            bytes += arena.bytes.len() as u64;
            rates.push(arena.ends.len() as f64 / making.as_secs_f64());
            ratios.push(writing.as_secs_f64() / making.as_secs_f64());
        }
    }
    rates.sort_by(f64::total_cmp);
    ratios.sort_by(f64::total_cmp);
    let middle = |of: &[f64]| of[of.len() / 2];
    let (name, rate) = (venue.name(), middle(&rates));
    println!(
        "{:<18} {name:<8} {rate:>10.0} frames/s of processor time ({:.0} to {:.0})  {:>4} bytes/frame",
        "made",
        rates[0],
        rates[rates.len() - 1],
        bytes / count
    );
    println!(
        "{:<18} {name:<8} {:>10.0} frames/s; making them takes {:.2} times as long as writing ({:.2} to {:.2})",
        "written by serde",
        rate / middle(&ratios),
        1.0 / middle(&ratios),
        1.0 / ratios[ratios.len() - 1],
        1.0 / ratios[0]
    );
    if let Some(machine) = machine {
        let counts = machine.counts();
        println!(
            "{:<18} {name:<8} {:>10} checksums right, {} wrong, {} frames",
            "proven", counts.checksums_ok, counts.checksums_failed, counts.frames
        );
        assert_eq!(counts.checksums_failed, 0, "a checksum was wrong");
    }
}

fn report(what: &str, venue: EmulatedVenue, count: u64, bytes: u64, took: Duration, more: String) {
    let (venue, per_s) = (venue.name(), count as f64 / took.as_secs_f64());
    println!("{what:<18} {venue:<8} {per_s:>10.0} frames/s  {:>4} bytes/frame{more}", bytes / count.max(1));
}
fn served(venue: EmulatedVenue, rate: Rate) {
    let options = Options { session: Session::Generated(session()), rate, ..Options::new(venue) };
    let server = Server::start(options).expect("a free port");
    let mut socket = TcpStream::connect(server.addr()).expect("the server listens");
    let path = if venue == EmulatedVenue::Binance { BINANCE } else { "/v2" };
    let mut rng = fastrand::Rng::with_seed(1);
    let handshake = ClientHandshake::new("localhost", path, &[], None, &mut rng).expect("a request");
    socket.write_all(handshake.request()).expect("a request is sent");
    let upgraded = handshake.read_response(&mut socket).expect("an upgrade");
    let mut decoder = Decoder::new(DecoderConfig::new(Role::Client));
    decoder.push(&upgraded.leftover);
    let mut out = Vec::new();
    if venue == EmulatedVenue::Kraken {
        let mut encoder = Encoder::client(rng);
        for channel in ["\"trade\"", "\"ticker\",\"event_trigger\":\"bbo\"", "\"book\",\"depth\":10"] {
            let symbols = "[\"BTC/USD\",\"ETH/USD\",\"SOL/USD\"]";
            let text =
                format!("{{\"method\":\"subscribe\",\"params\":{{\"channel\":{channel},\"symbol\":{symbols}}}}}");
            encoder.text(&text, &mut out);
        }
        socket.write_all(&out).expect("subscriptions are sent");
    }
    let (mut count, mut bytes, start) = (0_u64, 0_u64, Instant::now());
    while start.elapsed() < SECONDS {
        decoder.fill(&mut socket as &mut dyn Read).expect("bytes");
        while let Some(message) = decoder.next_message().expect("frames") {
            if let Message::Text(text) = message {
                count += 1;
                bytes += text.len() as u64;
            }
        }
    }
    let stats = server.stats();
    let more = format!("  {:>5} frames/write", stats.frames / stats.writes.max(1));
    let what = match rate {
        Rate::FramesPerSecond(rate) => format!("served at {rate}"),
        _ => "served flat out".to_owned(),
    };
    report(&what, venue, count, bytes, start.elapsed(), more);
}

fn main() {
    for venue in [EmulatedVenue::Binance, EmulatedVenue::Kraken] {
        made(venue, (venue == EmulatedVenue::Kraken).then_some(Venue::Kraken));
        served(venue, Rate::FramesPerSecond(100));
        served(venue, Rate::FramesPerSecond(150_000));
        served(venue, Rate::FlatOut);
    }
}
