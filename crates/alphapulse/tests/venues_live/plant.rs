//! An emulator and a feed in one process, over loopback sockets, and what the feed's ring tells in the end.

use super::common;
use emulator::{Account, EmulatedVenue, Fault, Handle, JournalOptions, Rate};
use feed::{Feed, FeedOptions, Stop, Waiting, backoff::BackoffConfig};
use model::{StreamKind, Venue};
use serde_json::Value;
use std::{
    path::PathBuf,
    thread::{self, JoinHandle},
    time::Duration,
};
use telemetry::Registry;
use venues::{Credentials, SessionSettings, Settings};
use wire::{Envelope, Origin, json};

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
    pub deflate: bool,
}

impl Setup {
    pub fn new(venue: Venue, emulated: EmulatedVenue, symbols: &[&'static str]) -> Setup {
        let streams = vec![StreamKind::Trade, StreamKind::Book, StreamKind::Quote, StreamKind::Bar];
        Setup { venue, emulated, symbols: symbols.to_vec(), choices: vec![], streams, deflate: false }
    }

    pub fn with(mut self, key: &'static str, value: &'static str) -> Setup {
        self.choices.push((key, value));
        self
    }
}

/// A running pair of emulator and feed.
pub struct Plant {
    setup: Setup,
    pub emulator: Handle,
    folder: tempfile::TempDir,
    registry: Registry,
    stop: Stop,
    feed: Option<JoinHandle<()>>,
}

impl Plant {
    pub fn start(setup: Setup) -> Plant {
        Plant::with_account(setup, Account::default(), Account::default())
    }

    /// `known` is the account of the emulator, `used` the one the feed has the keys of.
    pub fn with_account(setup: Setup, known: Account, used: Account) -> Plant {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = emulator::Options::new(setup.emulated);
        options.rate = Rate::FramesPerSecond(RATE);
        options.journal = JournalOptions::Folder(folder.path().join("journal"));
        options.deflate = setup.deflate;
        options.account = known;
        let emulator = emulator::Server::start(options).expect("an emulator");
        let choices: Vec<(String, String)> =
            setup.choices.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let own = venues::spec(setup.venue, &choices).expect("a spec");
        let path = own.ws_url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let options = FeedOptions {
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
            ring_dir: folder.path().join("rings"),
            ring_slots: 1 << 19,
            state_dir: folder.path().join("state"),
            capture: None,
            tls: feed::transport::TlsOptions::default(),
            backoff: BackoffConfig { cap: Duration::from_millis(100), ..BackoffConfig::default() },
            waiting: Waiting::Block,
            seed: 1,
        };
        let (stop, registry) = (Stop::new().expect("an eventfd"), Registry::new());
        let mut feed = Feed::open(options, stop.clone(), &registry).expect("a feed");
        let feed = Some(thread::spawn(move || feed.run().expect("it ends in order")));
        Plant { setup, emulator, folder, registry, stop, feed }
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// A figure of the feed's.
    pub fn figure(&self, name: &str) -> u64 {
        let text = self.registry.render();
        let line = text.lines().find(|l| !l.starts_with('#') && l.split('{').next().is_some_and(|n| n.ends_with(name)));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// Waits until a figure has grown by so much.
    pub fn wait_for(&self, name: &str, more: u64) {
        let goal = self.figure(name) + more;
        common::wait_for(&format!("{name} of {goal}"), || (self.figure(name) >= goal).then_some(()));
    }

    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.emulator.inject(fault);
    }

    /// What is told so far.
    pub fn told(&self) -> Vec<Value> {
        let directory = ring::Directory::open(&self.folder.path().join("rings")).expect("the rings");
        let mut reader = ring::Reader::open(&directory, self.setup.venue.name()).expect("the ring");
        let (mut encoder, mut told) = (json::Encoder::new(), vec![]);
        loop {
            let poll = reader.poll(4096, |entry, words| {
                let at = Envelope { epoch: entry.epoch, sequence: entry.sequence };
                let line = encoder.push(at, words).expect("a record whose instrument was defined before it");
                told.extend(line.map(|l| serde_json::to_value(l).expect("JSON")));
            });
            match poll.expect("a sound ring") {
                ring::Poll::Records(_) => {}
                ring::Poll::Idle | ring::Poll::Retired => return told,
                ring::Poll::Lapped(_) | ring::Poll::Missing(_) => panic!("the ring is too small for the test"),
            }
        }
    }

    /// Ends the run and returns what was told.
    pub fn end(&mut self) -> Vec<Value> {
        self.stop.stop();
        self.feed.take().expect("it runs").join().expect("the feed does not panic");
        self.told()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(feed) = self.feed.take() {
            // A failed test is told by its own words.
            let _ = feed.join();
        }
    }
}
