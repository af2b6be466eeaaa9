//! Two small venues whose rings hold real records, a gateway over them, and a client of its stream.
#![allow(dead_code, reason = "each test uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::{By, GatewayOptions, Handle, Role, Scopes, Secret, Server, Store};
use model::{
    Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Side, SideSource, UnixNanos, Venue,
};
use relay::Source;
use ring::{Directory, Writer, WriterOptions};
use serde_json::{Value, json};
use telemetry::Registry;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::Response;
use tungstenite::{HandshakeError, Message, WebSocket};
use wire::{
    BookAction, BookChangeRecord, Flags, Header, Origin, RecordBuf, RecordType, SnapshotBeginRecord, SnapshotEndRecord,
    SnapshotReason, TradeRecord,
};

/// A test that waits this long for a message has failed.
const HANG: Duration = Duration::from_secs(30);
/// The run of every feed here.
pub const EPOCH: u64 = 7;
const PRICE_SCALE: u8 = 1;
const SIZE_SCALE: u8 = 8;

/// One venue's feed.
pub struct Feed {
    venue: Venue,
    writer: Writer,
    clock: u64,
}

impl Feed {
    /// Starts a run: told are the session and the instruments.
    pub fn start(directory: &Directory, venue: Venue, slots: u64, symbols: &[(&str, &str)]) -> Feed {
        let writer = Writer::open(directory, venue.name(), WriterOptions { slots, epoch: EPOCH }).unwrap();
        let mut feed = Feed { venue, writer, clock: 1_700_000_000_000_000_000 };
        feed.write(|venue, now, out| {
            out.push_session_start(venue, EPOCH, 1, Origin::Simulated, "here", "0.1.0", now).unwrap();
        });
        for (symbol, venue_symbol) in symbols {
            feed.define(symbol, venue_symbol);
        }
        feed
    }

    /// Defines an instrument.
    pub fn define(&mut self, symbol: &str, venue_symbol: &str) -> u64 {
        self.write(|venue, now, out| {
            out.push_instrument(&definition(venue, symbol, venue_symbol), UnixNanos::ZERO, now).unwrap();
        })
    }

    /// Writes records and publishes them at once; returns the sequence of the last.
    pub fn write(&mut self, f: impl FnOnce(Venue, UnixNanos, &mut RecordBuf)) -> u64 {
        self.clock += 1_000;
        let mut records = RecordBuf::default();
        f(self.venue, UnixNanos(self.clock), &mut records);
        for record in &records {
            self.writer.push(record);
        }
        self.writer.publish(self.clock);
        self.writer.next_sequence() - 1
    }

    /// So many trades with rising ids.
    pub fn trades(&mut self, venue_symbol: &str, first_id: u64, count: u64) -> u64 {
        self.write(|venue, now, out| {
            for id in first_id..first_id + count {
                out.push(&TradeRecord::new(
                    venue,
                    InstrumentId::of(venue, venue_symbol),
                    Some(Side::Buy),
                    SideSource::ExplicitTaker,
                    Flags::LAST,
                    now,
                    now,
                    Price(641_234),
                    Qty(351_000),
                    Some(id),
                ));
            }
        })
    }

    /// A book of one bid and one ask.
    pub fn snapshot(&mut self, venue_symbol: &str) -> u64 {
        self.write(|venue, now, out| {
            let id = InstrumentId::of(venue, venue_symbol);
            let header = |kind| Header::new(kind, 6, Some(venue), Flags::SNAPSHOT, id);
            out.push(&SnapshotBeginRecord {
                header: header(RecordType::SnapshotBegin),
                ts_event: now.0,
                ts_recv: now.0,
                bids: 1,
                asks: 1,
                depth: 0,
                reason: SnapshotReason::Sync as u8,
                capped: 0,
                reserved: [0; 2],
                update_id: 0,
            });
            for (side, price) in [(Side::Buy, 641_234), (Side::Sell, 641_235)] {
                out.push(&level(venue, id, side, Flags::SNAPSHOT, price, 50_000_000, now));
            }
            out.push(&SnapshotEndRecord {
                header: header(RecordType::SnapshotEnd),
                ts_event: now.0,
                ts_recv: now.0,
                levels: 2,
                checksum: 0,
                reserved: 0,
                update_id: 0,
            });
        })
    }

    /// One event that changes a bid.
    pub fn bid(&mut self, venue_symbol: &str, size: i64) -> u64 {
        self.write(|venue, now, out| {
            let id = InstrumentId::of(venue, venue_symbol);
            out.push(&level(venue, id, Side::Buy, Flags::LAST, 641_234, size, now));
        })
    }
}

fn level(
    venue: Venue,
    id: InstrumentId,
    side: Side,
    flags: Flags,
    price: i64,
    size: i64,
    now: UnixNanos,
) -> BookChangeRecord {
    let action = if size == 0 { BookAction::Delete } else { BookAction::Change };
    BookChangeRecord::new(venue, id, side, flags, now, now, Price(price), Qty(size), action)
}

fn definition(venue: Venue, symbol: &str, venue_symbol: &str) -> Instrument {
    let (base, quote) = symbol.split_once('-').unwrap();
    Instrument {
        id: InstrumentId::of(venue, venue_symbol),
        venue,
        symbol: symbol.to_owned(),
        venue_symbol: venue_symbol.to_owned(),
        base: base.to_owned(),
        quote: quote.to_owned(),
        version: 1,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        price_scale: PRICE_SCALE,
        size_scale: SIZE_SCALE,
        tick: Price(1),
        lot: Qty(1),
        min_size: Qty(1),
        min_notional: None,
    }
}

/// Kraken and Binance in rings of their own, and a gateway that reads them.
pub struct Market {
    pub kraken: Feed,
    pub binance: Feed,
    pub registry: Registry,
    pub gateway: Handle,
    pub store: Arc<Store>,
    /// An admin's key for everything.
    pub key: String,
    pub folder: tempfile::TempDir,
}

impl Market {
    pub fn open(slots: u64) -> Market {
        let folder = tempfile::tempdir().unwrap();
        let rings = folder.path().join("rings");
        let directory = Directory::open(&rings).unwrap();
        let pairs = [("BTC-USD", "BTC/USD"), ("ETH-USD", "ETH/USD")];
        let kraken = Feed::start(&directory, Venue::Kraken, slots, &pairs);
        let binance = Feed::start(&directory, Venue::Binance, slots, &[("BTC-USDT", "BTCUSDT")]);
        let registry = Registry::new();
        let (store, key) = users(folder.path());
        let gateway = serve(Source::Rings(rings), &registry, &store);
        Market { kraken, binance, registry, gateway, store, key, folder }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.gateway.addr(), &self.key)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.gateway.addr(), path, &self.key)
    }

    /// Asks again until the answer is so; the gateway looks at the rings now and then.
    pub fn get_until(&self, path: &str, is: impl Fn(&str) -> bool) -> String {
        get_until(self.gateway.addr(), path, &self.key, is)
    }
}

/// Whoever sets a test up, now.
pub fn by() -> By {
    By::command_line(telemetry::clock::wall_ns())
}

/// The password of every user here.
pub const PASSWORD: &str = "correct horse battery";

/// A store with one admin, and a key of theirs for everything.
pub fn users(folder: &Path) -> (Arc<Store>, String) {
    let store = Store::open(&folder.join("gateway")).unwrap();
    store.add_user(&by(), "ann", Role::Admin, &Secret::new(PASSWORD)).unwrap();
    let (_, key) = store.create_key(&by(), "ann", "tests", Scopes::of_role(Role::Admin), None).unwrap();
    (Arc::new(store), key.reveal().to_owned())
}

/// What a gateway needs, on a free port.
pub fn options(source: Source, registry: &Registry, store: &Arc<Store>) -> GatewayOptions {
    GatewayOptions {
        listen: "127.0.0.1:0".to_owned(),
        tls: None,
        names: vec![],
        source,
        registry: registry.clone(),
        store: store.clone(),
        configuration: json!({"site": "test", "api_secret": "CANARY"}),
        roles: Arc::new(Vec::new),
    }
}

/// A gateway on a free port.
pub fn serve(source: Source, registry: &Registry, store: &Arc<Store>) -> Handle {
    Server::start(options(source, registry, store)).unwrap()
}

/// A client of the stream.
pub struct Client {
    socket: WebSocket<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr, key: &str) -> Client {
        Client::over(TcpStream::connect(address).unwrap(), &[("authorization", &bearer(key))]).expect("an upgrade")
    }

    /// Upgrades a connection, with these headers instead of the usual; a refusal is the server's answer.
    pub fn over(stream: TcpStream, headers: &[(&'static str, &str)]) -> Result<Client, Box<Response<Option<Vec<u8>>>>> {
        stream.set_read_timeout(Some(HANG)).unwrap();
        let mut request = format!("ws://{}/v1/stream", stream.peer_addr().unwrap()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer),
            Err(other) => panic!("neither an upgrade nor an answer: {other}"),
        }
    }

    pub fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Subscribes and reads up to the answer.
    pub fn subscribe(&mut self, mut request: Value) {
        request["op"] = json!("subscribe");
        self.say(&request.to_string());
        let answer = self.until(|message| message["type"] == "subscribed" || message["type"] == "error");
        assert_eq!(answer["type"], "subscribed", "{answer}");
    }

    pub fn message(&mut self) -> Message {
        self.socket.read().expect("a message")
    }

    /// Answers a close and reads to the end.
    pub fn hang_up(&mut self) {
        while self.socket.read().is_ok() {}
    }

    /// The next text message.
    pub fn next(&mut self) -> Value {
        loop {
            match self.message() {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                other => panic!("not a line: {other:?}"),
            }
        }
    }

    /// Reads on until a message is so.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next();
            if is(&message) {
                return message;
            }
        }
    }

    /// The next line of market data, past definitions and states.
    pub fn data(&mut self) -> Value {
        self.until(|line| ["trade", "book", "quote", "overrun"].iter().any(|kind| line["type"] == *kind))
    }
}

/// How a key is shown.
pub fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// An HTTP request of these lines, the first without the version, and its answer: its status and its whole text.
pub fn ask(address: SocketAddr, lines: &[&str], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    let headers: String = lines[1..].iter().map(|line| format!("{line}\r\n")).collect();
    let first = lines[0];
    // A server that has heard enough may close before all is sent.
    let _ = write!(
        stream,
        "{first} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    answer(&mut stream)
}

/// Reads an answer to its end.
pub fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status line: {answer:?}")), answer)
}

/// A GET with a key.
pub fn get(address: SocketAddr, path: &str, key: &str) -> (u16, String) {
    let key = format!("Authorization: {}", bearer(key));
    ask(address, &[&format!("GET {path}"), &format!("Host: {address}"), &key], "")
}

/// The body of an answer as JSON.
pub fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Asks again until the answer is so.
pub fn get_until(address: SocketAddr, path: &str, key: &str, is: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    for _ in 0..400 {
        last = get(address, path, key).1;
        if is(&last) {
            return last;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{path} never came to say it; last: {last}");
}
