//! What the emulator's tests share: a WebSocket client that is not ours, and plain HTTP requests.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A test that waits longer than this for a frame has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Client = WebSocket<TcpStream>;

pub fn connect(addr: SocketAddr, path: &str) -> Client {
    let socket = TcpStream::connect(addr).expect("the emulator listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (client, response) = tungstenite::client(format!("ws://{addr}{path}"), socket).expect("an upgrade");
    assert_eq!(response.headers()["server"], "alphapulse-emulator");
    client
}

/// Connects with headers of the client's own.
pub fn connect_with(addr: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Client {
    let socket = TcpStream::connect(addr).expect("the emulator listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut request = format!("ws://{addr}{path}").into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    tungstenite::client(request, socket).expect("an upgrade").0
}

/// Reads until the server closes; gives the code of its close frame.
pub fn close_code(client: &mut Client) -> Option<u16> {
    loop {
        if let Message::Close(frame) = client.read().expect("a close frame in time") {
            return frame.map(|frame| frame.code.into());
        }
    }
}

/// A decimal text as an integer of 10^-12, read without our own parser. JSON values print small numbers with an
/// exponent.
pub fn units(text: &str) -> i128 {
    if let Some((digits, exponent)) = text.split_once("e-") {
        return units(digits) / 10_i128.pow(exponent.parse().expect("an exponent"));
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    assert!(decimals.len() <= 12, "{text}");
    format!("{whole}{decimals:0<12}").parse().unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The text of a JSON number or string.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Price and size of each level in [`units`]; size 0 takes a level out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    pub bids: BTreeMap<i128, i128>,
    pub asks: BTreeMap<i128, i128>,
}

impl Levels {
    pub fn set(&mut self, is_bid: bool, price: &str, size: &str) {
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        match units(size) {
            0 => drop(side.remove(&units(price))),
            size => drop(side.insert(units(price), size)),
        }
    }

    pub fn is_crossed(&self) -> bool {
        let (bid, ask) = (self.bids.last_key_value(), self.asks.first_key_value());
        bid.zip(ask).is_some_and(|(bid, ask)| bid.0 >= ask.0)
    }
}

pub fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).expect("a message is sent");
}

/// The next text frame as it came.
pub fn next_text<S: Read + Write>(client: &mut WebSocket<S>) -> String {
    loop {
        match client.read().expect("a frame in time") {
            Message::Text(text) => return text.to_string(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

pub fn next<S: Read + Write>(client: &mut WebSocket<S>) -> Value {
    let text = next_text(client);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Status, head and body of a GET.
pub fn get(addr: SocketAddr, target: &str) -> (u16, String, String) {
    get_with(addr, target, "")
}

/// The same with header lines of the client's own, each with its line end.
pub fn get_with(addr: SocketAddr, target: &str, headers: &str) -> (u16, String, String) {
    let mut socket = TcpStream::connect(addr).expect("the emulator listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(socket, "GET {target} HTTP/1.1\r\nHost: emulator\r\n{headers}Connection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

/// The folder of recorded data, or `None` with a loud line.
pub fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ALPHAPULSE_TEST_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("SKIPPED: no {} (set ALPHAPULSE_TEST_DATA)", found.display());
    None
}

/// A Kraken book kept as the text of its numbers, judged by the venue's checksum alone.
#[derive(Debug, Default)]
pub struct TextBook {
    /// Price digits padded to one width, so that text order is number order; size digits.
    bids: BTreeMap<String, String>,
    asks: BTreeMap<String, String>,
    pub depth: usize,
}

impl TextBook {
    pub fn new(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    /// Applies the text of one frame, taking every number as it is written.
    pub fn apply(&mut self, frame: &str) {
        if frame.contains("\"type\":\"snapshot\"") {
            self.bids.clear();
            self.asks.clear();
        }
        for (name, is_bid) in [("\"bids\":[", true), ("\"asks\":[", false)] {
            let from = frame.find(name).expect("both sides") + name.len();
            let list = &frame[from..from + frame[from..].find(']').expect("an end")];
            for level in list.split("},").filter(|level| !level.is_empty()) {
                let price = number(level, "\"price\":");
                let size = number(level, "\"qty\":");
                let key = format!("{:0>20}", price.replace('.', ""));
                let side = if is_bid { &mut self.bids } else { &mut self.asks };
                let digits = size.replace('.', "");
                let digits = digits.trim_start_matches('0');
                if digits.is_empty() {
                    assert!(side.remove(&key).is_some(), "a level that was never sent is deleted: {level}");
                } else {
                    side.insert(key, digits.to_owned());
                }
            }
        }
        while self.bids.len() > self.depth {
            self.bids.pop_first();
        }
        while self.asks.len() > self.depth {
            self.asks.pop_last();
        }
    }

    pub fn crc(&self) -> u64 {
        let mut digits = String::new();
        let mut add = |(price, size): (&String, &String)| {
            digits.push_str(price.trim_start_matches('0'));
            digits.push_str(size);
        };
        self.asks.iter().take(10).for_each(&mut add);
        self.bids.iter().rev().take(10).for_each(&mut add);
        u64::from(crc_by_bits(digits.as_bytes()))
    }

    /// Digits of the best bid and ask.
    pub fn best(&self) -> (String, String) {
        let digits = |level: Option<(&String, &String)>| level.map(|(p, _)| p.trim_start_matches('0').to_owned());
        (
            digits(self.bids.last_key_value()).unwrap_or_default(),
            digits(self.asks.first_key_value()).unwrap_or_default(),
        )
    }

    pub fn len(&self) -> (usize, usize) {
        (self.bids.len(), self.asks.len())
    }
}

fn number<'a>(level: &'a str, name: &str) -> &'a str {
    let from = level.find(name).expect("the field") + name.len();
    let len = level[from..].find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(level.len() - from);
    &level[from..from + len]
}

/// CRC-32 (IEEE), bit by bit as the standard writes it.
fn crc_by_bits(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
