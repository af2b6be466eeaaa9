//! How fast the emulator is: frames made without sockets, and frames through one plain loopback connection.
//!
//! `cargo run --release -p emulator --example rate` prints a line for each venue and mode. The mix is that of a load
//! run: 50 % quotes, 30 % trades, 20 % small book updates of three pairs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use emulator::{BookPace, EmulatedVenue, GeneratedFrames, GeneratedSession, Options, Rate, Server, Session};
use feed::websocket::handshake::ClientHandshake;
use feed::websocket::{Decoder, DecoderConfig, Encoder, Message, Role};
use model::UnixNanos;

const SECONDS: Duration = Duration::from_secs(5);
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

fn made(venue: EmulatedVenue) {
    let mut frames = GeneratedFrames::new(venue, &session(), Rate::FlatOut, 1, wanted);
    let (mut count, mut bytes, start) = (0_u64, 0_u64, Instant::now());
    while start.elapsed() < SECONDS {
        let now = UnixNanos(1_700_000_000_000_000_000).after(start.elapsed());
        frames.advance(now, |_, frame| {
            count += 1;
            bytes += frame.len() as u64;
        });
    }
    report("made", venue, count, bytes, start.elapsed(), String::new());
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
        made(venue);
        served(venue, Rate::FramesPerSecond(100));
        served(venue, Rate::FramesPerSecond(150_000));
        served(venue, Rate::FlatOut);
    }
}
