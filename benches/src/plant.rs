//! A real feed in a thread, connected over loopback to a venue that says exactly what a bench wants, when it wants.
//!
//! The venue speaks just enough of its protocol: it answers REST requests, accepts the WebSocket, acknowledges
//! subscriptions and defines its one instrument. After that the socket is the bench's alone.

use crate::clock::ThreadClock;
use crate::frames::kraken_definitions;
use crate::machine::{pin, unpin};
use crate::ring::Folder;
use crate::venue::{answer, settings};
use crate::{BenchError, agree};
use ::ring::{Directory, Poll, Reader};
use feed::websocket::handshake::{HandshakeError, RequestHead, accept, refuse};
use feed::websocket::{Decoder, DecoderConfig, Encoder, Message, ProtocolError, Role};
use feed::{Feed, FeedOptions, Stop, Waiting};
use model::Venue;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use telemetry::Registry;
use wire::{Origin, Record};

/// Everything on loopback that is not there after so long will not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// 4 MiB: as a small production ring.
const RING_SLOTS: u64 = 1 << 16;

/// A feed and its venue.
pub struct Plant {
    socket: TcpStream,
    encoder: Encoder,
    venue: Venue,
    directory: Directory,
    /// The feed's own processor time.
    pub clock: ThreadClock,
    registry: Registry,
    stop: Stop,
    feed: Option<JoinHandle<Result<(), BenchError>>>,
    rest_address: SocketAddr,
    rest_stop: Arc<AtomicBool>,
    rest: Option<JoinHandle<()>>,
    _folder: Folder,
}

impl Plant {
    /// Starts both; the feed has its definitions and its subscriptions when this returns. `core`: where the feed runs.
    pub fn start(venue: Venue, waiting: Waiting, core: Option<usize>) -> Result<Plant, BenchError> {
        Plant::start_captured(venue, waiting, core, None)
    }

    /// The same with what goes by captured.
    pub fn start_captured(
        venue: Venue,
        waiting: Waiting,
        core: Option<usize>,
        capture: Option<::capture::Options>,
    ) -> Result<Plant, BenchError> {
        let folder = Folder::new("plant");
        let listen = || TcpListener::bind(("127.0.0.1", 0)).map_err(BenchError::system("listen on loopback"));
        let (socket, rest) = (listen()?, listen()?);
        let address = |l: &TcpListener| l.local_addr().map_err(BenchError::system("ask for a listener's address"));
        let (ws_address, rest_address) = (address(&socket)?, address(&rest)?);
        let rest_stop = Arc::new(AtomicBool::new(false));
        let flag = rest_stop.clone();
        let rest = Some(std::thread::spawn(move || serve_rest(&rest, &flag)));

        let registry = Registry::new();
        let stop = Stop::new().map_err(BenchError::system("make an event descriptor"))?;
        let options = FeedOptions {
            venue,
            ws_url: format!("ws://{ws_address}/stream"),
            ws_url_b: String::new(),
            pair: false,
            renew: None,
            cpu: None,
            rest_url: format!("http://{rest_address}"),
            settings: settings(venue),
            choices: vec![],
            deflate: None,
            session: venues::SessionSettings::default(),
            site: "bench".to_owned(),
            build: "bench".to_owned(),
            origin: Origin::Simulated,
            ring_dir: folder.0.join("rings"),
            ring_slots: RING_SLOTS,
            state_dir: folder.0.join("state"),
            capture,
            tls: feed::transport::TlsOptions::default(),
            backoff: feed::backoff::BackoffConfig::default(),
            waiting,
            seed: 1,
        };
        let directory = Directory::open(&options.ring_dir)?;
        let (opened, is_open) = mpsc::channel();
        let (feed_stop, feed_registry) = (stop.clone(), registry.clone());
        let run = move || -> Result<(), BenchError> {
            let mut feed = Feed::open(options, feed_stop, &feed_registry)?;
            core.map_or_else(unpin, pin);
            // The receiver is gone only when the start failed, and then the feed is stopped.
            let _ = opened.send(ThreadClock::of_this());
            Ok(feed.run()?)
        };
        let thread = std::thread::Builder::new().name("feed".to_owned()).spawn(run);
        let thread = thread.map_err(BenchError::system("start a thread"))?;
        let Ok(clock) = is_open.recv() else {
            return Err(thread.join().expect("a feed does not panic").expect_err("a feed that never opened failed"));
        };
        let (socket, _) = socket.accept().map_err(BenchError::system("accept the feed"))?;
        socket.set_nodelay(true).map_err(BenchError::system("set an option of a socket"))?;
        let mut plant = Plant {
            socket,
            encoder: Encoder::server(),
            venue,
            directory,
            clock,
            registry,
            stop,
            feed: Some(thread),
            rest_address,
            rest_stop,
            rest,
            _folder: folder,
        };
        plant.welcome()?;
        Ok(plant)
    }

    /// Folder of the rings.
    pub fn rings(&self) -> &Path {
        self.directory.path()
    }

    /// A reader of the feed's ring, at its tail.
    pub fn reader(&self) -> Result<Reader, BenchError> {
        let mut reader = Reader::open(&self.directory, self.venue.name())?;
        reader.attach(::ring::From::Now)?;
        Ok(reader)
    }

    /// Reads of the socket so far that brought something.
    pub fn reads(&self) -> u64 {
        let text = self.registry.render();
        let line = text.lines().find(|line| line.contains("reads_total{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// The bytes of text frames as they go over the socket.
    pub fn encode(&mut self, frames: &[String]) -> Vec<u8> {
        let mut bytes = vec![];
        for frame in frames {
            self.encoder.text(frame, &mut bytes);
        }
        bytes
    }

    /// Sends bytes of whole frames.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.socket.write_all(bytes).map_err(BenchError::system("write to the feed"))
    }

    /// Sends frames and waits until the ring tells what `until` looks for.
    pub fn settle(&mut self, frames: &[String], until: impl Fn(&Record<'_>) -> bool) -> Result<(), BenchError> {
        let mut reader = self.reader()?;
        let bytes = self.encode(frames);
        self.send(&bytes)?;
        let begun = Instant::now();
        let mut found = false;
        while !found {
            let poll = reader.poll(256, |_, words| found |= Record::read(words).is_ok_and(|record| until(&record)))?;
            if poll == Poll::Idle {
                std::thread::sleep(Duration::from_millis(1));
            }
            agree("the feed's answer within its time", &(begun.elapsed() < PATIENCE), &true)?;
        }
        Ok(())
    }

    /// Accepts the upgrade and answers what the feed says until it has what it asked for.
    fn welcome(&mut self) -> Result<(), BenchError> {
        let failed = |e: HandshakeError| BenchError::system("shake hands with the feed")(io::Error::other(e));
        let broken = |e: ProtocolError| BenchError::system("read what the feed says")(io::Error::other(e));
        let (mut bytes, mut out) = (vec![], vec![]);
        let head = loop {
            if let Some(head) = RequestHead::parse(&bytes).map_err(failed)? {
                break head;
            }
            let mut chunk = [0; 4096];
            let count = self.socket.read(&mut chunk).map_err(BenchError::system("read from the feed"))?;
            bytes.extend_from_slice(&chunk[..count]);
        };
        accept(head.upgrade_key().map_err(failed)?, &[], &mut out).map_err(failed)?;
        self.send(&out)?;

        let mut decoder = Decoder::new(DecoderConfig::new(Role::Server));
        decoder.push(&bytes[head.head_bytes..]);
        let mut asked = 0;
        let wanted = if self.venue == Venue::Kraken { 4 } else { 1 };
        while asked < wanted {
            let mut answers = vec![];
            while let Some(message) = decoder.next_message().map_err(broken)? {
                if let Message::Text(text) = message {
                    asked += 1;
                    answers.extend(acknowledge(self.venue, text));
                }
            }
            let bytes = self.encode(&answers);
            self.send(&bytes)?;
            if asked < wanted {
                decoder.fill(&mut self.socket).map_err(BenchError::system("read from the feed"))?;
            }
        }
        // The last of it: an instrument told means that definitions were asked for, answered and understood.
        let mut reader = Reader::open(&self.directory, self.venue.name())?;
        let (begun, mut defined) = (Instant::now(), false);
        while !defined {
            let found = |words: &[u64]| matches!(Record::read(words), Ok(Record::Instrument(_)));
            if reader.poll(256, |_, words| defined |= found(words))? == Poll::Idle {
                std::thread::sleep(Duration::from_millis(1));
            }
            agree("definitions told within their time", &(begun.elapsed() < PATIENCE), &true)?;
        }
        Ok(())
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(feed) = self.feed.take() {
            // Its failure, if any, shows as missing records; here there is nobody to tell.
            let _ = feed.join();
        }
        self.rest_stop.store(true, Ordering::Release);
        // Wakes the accept.
        let _ = TcpStream::connect(self.rest_address);
        if let Some(rest) = self.rest.take() {
            let _ = rest.join();
        }
    }
}

fn serve_rest(listener: &TcpListener, stop: &AtomicBool) {
    while let Ok((mut stream, _)) = listener.accept() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let (mut bytes, mut chunk) = (vec![], [0; 4096]);
        while let Ok(None) = RequestHead::parse(&bytes) {
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
                _ => break,
            }
        }
        let Ok(Some(head)) = RequestHead::parse(&bytes) else { continue };
        let (mut out, body) = (vec![], answer(&head.path));
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
        // The client retries what it gets no answer to.
        let _ = refuse(200, "OK", &headers, body.as_bytes(), &mut out).map(|()| stream.write_all(&out));
    }
}

/// What the venue answers to a subscription.
fn acknowledge(venue: Venue, text: &[u8]) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    if venue == Venue::Binance {
        return vec![format!(r#"{{"result":null,"id":{}}}"#, request["id"])];
    }
    let (params, id) = (&request["params"], &request["req_id"]);
    let mut result = serde_json::Map::new();
    for key in ["channel", "depth", "event_trigger", "snapshot"] {
        if let Some(value) = params.get(key) {
            result.insert(key.to_owned(), value.clone());
        }
    }
    let definitions = params["channel"] == "instrument";
    if !definitions {
        result.insert("symbol".to_owned(), "BTC/USD".into());
    }
    let result = serde_json::Value::Object(result);
    let mut answers = vec![format!(
        r#"{{"method":"subscribe","req_id":{id},"result":{result},"success":true,"time_in":"2025-08-17T20:00:00.000000Z","time_out":"2025-08-17T20:00:00.000001Z"}}"#
    )];
    if definitions {
        answers.push(kraken_definitions());
    }
    answers
}
