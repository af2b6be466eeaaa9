//! An emulator and a feed in one process, over loopback sockets, and what the feed's ring tells in the end.

use super::common::running_feed::RunningFeed;
use emulator::{Account, EmulatedVenue, Fault, Handle, JournalOptions, Rate};
use feed::{FeedOptions, Waiting, backoff::BackoffConfig};
use model::{StreamKind, Venue};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use venues::{Credentials, SessionSettings, Settings};
use wire::Origin;

/// Frames a second of the emulator.
const RATE: u32 = 300;

/// What is run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub venue: Venue,
    pub emulated: EmulatedVenue,
    pub symbols: Vec<&'static str>,
    pub choices: Vec<(&'static str, &'static str)>,
    pub streams: Vec<StreamKind>,
    pub bar_interval_s: u32,
    pub deflate: bool,
}

impl Setup {
    pub fn new(venue: Venue, emulated: EmulatedVenue, symbols: &[&'static str]) -> Setup {
        let streams = vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar];
        Setup {
            venue,
            emulated,
            symbols: symbols.to_vec(),
            choices: vec![],
            streams,
            bar_interval_s: 60,
            deflate: false,
        }
    }

    pub fn with(mut self, key: &'static str, value: &'static str) -> Setup {
        self.choices.push((key, value));
        self
    }
}

/// A running pair of emulator and feed.
pub struct Plant {
    pub emulator: Handle,
    journal: tempfile::TempDir,
    feed: RunningFeed,
}

impl Plant {
    pub fn start(setup: Setup) -> Plant {
        Plant::with_account(setup, Account::default(), Account::default())
    }

    /// `known` is the account of the emulator, `used` the one the feed has the keys of.
    pub fn with_account(setup: Setup, known: Account, used: Account) -> Plant {
        let journal = tempfile::tempdir().expect("a folder");
        let mut options = emulator::Options::new(setup.emulated);
        options.rate = Rate::FramesPerSecond(RATE);
        options.journal = JournalOptions::Folder(journal.path().join("journal"));
        options.deflate = setup.deflate;
        options.account = known;
        let emulator = emulator::Server::start(options).expect("an emulator");
        let choices: Vec<(String, String)> =
            setup.choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let own = venues::spec(setup.venue, &choices).expect("a spec");
        let path = own.ws_url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let feed = RunningFeed::start(|folder| FeedOptions {
            venue: setup.venue,
            ws_url: format!("ws://{}{}", emulator.addr(), path.unwrap_or_default()),
            ws_url_b: String::new(),
            pair: false,
            renew: None,
            cpu: None,
            deflate: None,
            rest_url: format!("http://{}", emulator.addr()),
            settings: Settings {
                symbols: setup.symbols.iter().map(|s| (*s).to_owned()).collect(),
                streams: setup.streams.clone(),
                bar_interval_s: setup.bar_interval_s,
                credentials: Some(Credentials {
                    key: used.key,
                    secret: used.secret,
                    passphrase: Some(used.passphrase),
                }),
                ..Settings::default()
            },
            choices,
            session: SessionSettings { refresh: Duration::from_secs(1), ..SessionSettings::default() },
            site: "test".to_owned(),
            build: "test".to_owned(),
            origin: Origin::Simulated,
            ring_dir: folder.join("rings"),
            ring_slots: 1 << 19,
            state_dir: folder.join("state"),
            capture: None,
            tls: feed::transport::TlsOptions::default(),
            backoff: BackoffConfig { cap: Duration::from_millis(100), ..BackoffConfig::default() },
            waiting: Waiting::Block,
            seed: 1,
        });
        Plant { emulator, journal, feed }
    }

    pub fn journal(&self) -> PathBuf {
        self.journal.path().join("journal")
    }

    /// A figure of the feed's.
    pub fn figure(&self, name: &str) -> u64 {
        self.feed.figure(name)
    }

    /// Waits until a figure has grown by so much.
    pub fn wait_for(&self, name: &str, more: u64) {
        self.feed.wait_for(name, more);
    }

    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.emulator.inject(fault);
    }

    /// What is told so far.
    pub fn told(&self) -> Vec<Value> {
        self.feed.told()
    }

    /// Ends the run and returns what was told.
    pub fn end(&mut self) -> Vec<Value> {
        self.feed.end()
    }
}
