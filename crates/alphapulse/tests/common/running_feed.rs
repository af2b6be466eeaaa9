//! A feed in a thread of the test, with a ring, metrics and a folder of its own: what it counts, and what it tells.

use super::wait_for;
use feed::{Feed, FeedOptions, Stop};
use model::Venue;
use serde_json::Value;
use std::{
    path::Path,
    thread::{self, JoinHandle},
};
use telemetry::Registry;
use wire::{Envelope, json};

/// The feed, ended with the test if not before.
pub struct RunningFeed {
    venue: Venue,
    folder: tempfile::TempDir,
    registry: Registry,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl RunningFeed {
    /// Starts it; `options` are made for its folder, whose `rings` are read here.
    pub fn start(options: impl FnOnce(&Path) -> FeedOptions) -> RunningFeed {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path());
        let venue = options.venue;
        let (stop, registry) = (Stop::new().expect("an eventfd"), Registry::new());
        let mut feed = Feed::open(options, stop.clone(), &registry).expect("a feed");
        let thread = Some(thread::spawn(move || feed.run().expect("it ends in order")));
        RunningFeed { venue, folder, registry, stop, thread }
    }

    /// Where it keeps what it keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All figures, as they are shown.
    pub fn figures(&self) -> String {
        self.registry.render()
    }

    /// A figure of the feed's, by the end of its name; 0 where there is none.
    pub fn figure(&self, name: &str) -> u64 {
        let text = self.figures();
        let line = text.lines().find(|l| !l.starts_with('#') && l.split('{').next().is_some_and(|n| n.ends_with(name)));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// Waits until a figure is so large.
    pub fn reach(&self, name: &str, goal: u64) {
        let what = format!("{name} of {goal} at {}", self.venue.name());
        wait_for(&what, || (self.figure(name) >= goal).then_some(()));
    }

    /// Waits until a figure has grown by so much.
    pub fn wait_for(&self, name: &str, more: u64) {
        self.reach(name, self.figure(name) + more);
    }

    /// What is told so far, as JSON.
    pub fn told(&self) -> Vec<Value> {
        let directory = ring::Directory::open(&self.folder.path().join("rings")).expect("the rings");
        let mut reader = ring::Reader::open(&directory, self.venue.name()).expect("the ring");
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

    /// Ends it and returns all that was told.
    pub fn end(&mut self) -> Vec<Value> {
        self.stop.stop();
        self.thread.take().expect("it runs").join().expect("the feed does not panic");
        self.told()
    }
}

impl Drop for RunningFeed {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A failed test is told by its own words.
            let _ = thread.join();
        }
    }
}
