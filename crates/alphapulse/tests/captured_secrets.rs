//! Venues that ask for keys are logged into, with canaries for keys, and no file of the capture has one of them, plain or
//! compressed; the captures replay to the very records all the same, with no key at all.

mod common;

use capture::{Item, Keep, Kind, Reader, keep_house};
use common::running_feed::RunningFeed;
use emulator::{EmulatedVenue, GeneratedSession, Rate};
use feed::{FeedOptions, Waiting, backoff::BackoffConfig, transport::TlsOptions};
use model::{StreamKind, UnixNanos, Venue};
use std::{fs, path::Path};
use venues::{Credentials, SessionSettings, Settings};
use wire::Origin;

const KEY: &str = "CANARYKEYc4f1e07a";
/// Base64, as Coinbase wants it.
const SECRET: &str = "Q0FOQVJZU0VDUkVUMDEyMzQ1Njc4OWFiY2RlZg==";
const PASSPHRASE: &str = "canary-passphrase";

struct Case {
    venue: Venue,
    emulated: EmulatedVenue,
    symbols: [&'static str; 2],
    choices: &'static [(&'static str, &'static str)],
}

fn run(case: &Case) {
    let account = emulator::Account {
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        passphrase: PASSPHRASE.to_owned(),
        ..emulator::Account::default()
    };
    let mut options = emulator::Options::new(case.emulated);
    options.rate = Rate::FramesPerSecond(300);
    options.session = emulator::Session::Generated(GeneratedSession::default());
    options.account = account;
    let emulator = emulator::Server::start(options).expect("an emulator");
    let choices: Vec<_> = case.choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let spec = venues::spec(case.venue, &choices).expect("a spec");
    let path = spec.ws_url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let mut feed = RunningFeed::start(|folder| FeedOptions {
        venue: case.venue,
        ws_url: format!("ws://{}{}", emulator.addr(), path.unwrap_or_default()),
        ws_url_b: String::new(),
        pair: false,
        renew: None,
        cpu: None,
        deflate: None,
        rest_url: format!("http://{}", emulator.addr()),
        settings: Settings {
            symbols: case.symbols.iter().map(|s| (*s).to_owned()).collect(),
            streams: vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote],
            credentials: Some(Credentials {
                key: KEY.to_owned(),
                secret: SECRET.to_owned(),
                passphrase: Some(PASSPHRASE.to_owned()),
            }),
            ..Settings::default()
        },
        choices,
        session: SessionSettings::default(),
        site: "test".to_owned(),
        build: "test".to_owned(),
        origin: Origin::Simulated,
        ring_dir: folder.join("rings"),
        ring_slots: 1 << 17,
        state_dir: folder.join("state"),
        capture: Some(capture::Options::new(folder.join("capture"))),
        tls: TlsOptions::default(),
        backoff: BackoffConfig::default(),
        waiting: Waiting::Block,
        seed: 1,
    });
    feed.wait_for("trades_total", 30);
    feed.end();
    let (name, captures) = (case.venue.name(), feed.folder().join("capture"));
    let out = common::program()
        .args(["capture", "replay", "--compare"])
        .arg(feed.folder().join("rings"))
        .arg(&captures)
        .output()
        .expect("the program runs");
    let words = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && words.contains(", 0 different"), "{name}: {words}");
    check_login(&captures.join(name), name);
    search(feed.folder(), name);
    keep_house(&captures.join(name), case.venue, Keep::default(), 3, UnixNanos(1)).expect("kept");
    search(feed.folder(), name);
}

/// Something that carries a credential was sent, and is there without it.
fn check_login(folder: &Path, name: &str) {
    let mut reader = Reader::open(folder).expect("captures");
    let mut cleaned = 0;
    while let Some(Item::Entry(entry)) = reader.next().expect("readable") {
        if entry.head.kind == Kind::Frame && !entry.is_input() {
            let text = String::from_utf8_lossy(entry.body);
            cleaned += usize::from(text.contains("***") || text.starts_with("redacted: "));
            for field in ["signature", "secret", "passphrase"] {
                let read: Option<serde_json::Value> = serde_json::from_slice(entry.body).ok();
                let value = read.as_ref().and_then(|v| v.get(field));
                assert!(value.is_none_or(|value| value == "***"), "{name}: {text}");
            }
        }
    }
    assert!(cleaned > 0, "{name}: the login was captured, cleaned");
}

/// No file under a folder has a canary, in the clear or unpacked.
fn search(folder: &Path, name: &str) {
    let mut looked_at = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("a folder").flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = vec![];
            if path.extension().is_some_and(|e| e == "zst") {
                capture::unpack(&path, &mut bytes).expect("zstd reads it");
                looked_at += 1;
            }
            looked_at += usize::from(path.extension().is_some_and(|e| e == "wslog"));
            bytes.extend(fs::read(&path).expect("a file"));
            for canary in [KEY, SECRET, PASSPHRASE, "CANARYSECRET"] {
                let found = bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
                assert!(!found, "{name}: {canary} is in {}", path.display());
            }
        }
    }
    assert!(looked_at > 0, "{name}: there are captures");
}

#[test]
fn no_key_is_in_a_capture_of_a_venue_that_asks_for_one() {
    let alpaca = |symbols, choices| Case { venue: Venue::Alpaca, emulated: EmulatedVenue::Alpaca, symbols, choices };
    let coins = ["BTC-USD", "ETH-USD"];
    let coinbase =
        |choices| Case { venue: Venue::Coinbase, emulated: EmulatedVenue::Coinbase, symbols: coins, choices };
    let cases = [
        alpaca(coins, &[("encoding", "json")]),
        alpaca(coins, &[("encoding", "msgpack")]),
        alpaca(["AAPL", "SPY"], &[("audit_s", "1")]),
        coinbase(&[("level2", "full")]),
        coinbase(&[("level2", "level2")]),
    ];
    std::thread::scope(|scope| cases.iter().for_each(|case| drop(scope.spawn(|| run(case)))));
}
