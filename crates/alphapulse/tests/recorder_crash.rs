//! A recorder, the feeds before it and the relay beside it are killed again and again, at random moments and at every
//! point of the recorder's and the journal's code that has a name. Nothing that the watermark acknowledged before a kill
//! is ever lost, nothing stands twice or out of order, and gaps of the venues are told as exactly as their ids allow.
//!
//! Emulators that keep a journal of what they sent, feeds, a relay, the recorder: all processes of their own. A witness
//! in this process reads the rings. In the end the journal is held against the witness record by record, the Parquet
//! files against the journal row by row, and the lines of the journal against what the emulators sent.
//! `ALPHAPULSE_TEST_KILLS` sets how often; `make recorder-crash` kills 1,000 times and more.

mod common;
#[path = "common/parquet.rs"]
mod parquet_file;
#[path = "common/recorded.rs"]
mod recorded;

use common::{PATIENCE, Site, free_ports, role::Role, wait_for};
use journal::Level;
use model::Venue;
use recorded::{Faults, Name, Story, Witness, acknowledged, compare, files_below, read_journal};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Kills unless more are asked for.
const KILLS: u32 = 64;
/// Frames a second of each emulator.
const RATE: u32 = 1500;
/// A recorder that is to die at a point it does not come to is killed after this.
const POINT_WAIT: Duration = Duration::from_millis(500);
/// What makes Parquet files comes to its points at an orderly end, which is asked for after this.
const PART_AFTER: Duration = Duration::from_millis(150);
/// Points that are not on the way of this test: retention removes nothing here.
const ELSEWHERE: [&str; 2] = ["journal.before_remove", "journal.after_remove"];
/// Kills after which every point must have been died at.
const KILLS_OF_ALL_POINTS: u32 = 500;

/// All processes of the plant.
struct Plant {
    site: Site,
    set: Vec<String>,
    emulators: Vec<Role>,
    feeds: Vec<(Venue, Role)>,
    relay: Role,
    recorder: Role,
}

const VENUES: [Venue; 2] = [Venue::Kraken, Venue::Binance];

impl Plant {
    fn start() -> Plant {
        let site = Site::new("");
        let ports = free_ports(VENUES.len());
        let mut set = vec![
            "ring.slots=1048576".to_owned(),
            "journal.segment_mib=1".to_owned(),
            "journal.retain_mib=0".to_owned(),
            "parquet.part_s=1".to_owned(),
        ];
        for (venue, port) in VENUES.iter().zip(&ports) {
            let path = if *venue == Venue::Kraken { "/v2" } else { "/stream" };
            let streams = if *venue == Venue::Kraken { "[\"trade\",\"book\"]" } else { "[\"trade\",\"quote\"]" };
            set.extend([
                format!("emulator.{venue}.listen=\"127.0.0.1:{port}\""),
                format!("emulator.{venue}.frames_per_second={RATE}"),
                // The market outlives every wait for a request: what is missing in the end was lost, not forgotten.
                format!("emulator.{venue}.trades_kept=200000"),
                format!("venues.{venue}.ws_url=\"ws://127.0.0.1:{port}{path}\""),
                format!("venues.{venue}.rest_url=\"http://127.0.0.1:{port}\""),
                format!("venues.{venue}.book_depth=10"),
                format!("venues.{venue}.streams={streams}"),
            ]);
        }
        let emulators = VENUES.iter().map(|venue| Role::start(&site, &["emulator", venue.name()], &set)).collect();
        for port in &ports {
            wait_for("an emulator", || std::net::TcpStream::connect(("127.0.0.1", *port)).ok());
        }
        let feeds = VENUES.iter().map(|venue| (*venue, feed(&site, *venue, &set))).collect();
        for venue in VENUES {
            wait_for("a ring", || site.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
        }
        let relay = Role::start(&site, &["relay"], &set);
        let recorder = Role::start(&site, &["recorder"], &set);
        Plant { site, set, emulators, feeds, relay, recorder }
    }

    fn journal(&self) -> PathBuf {
        self.site.state.path().join("journal")
    }

    /// Starts the recorder so that it dies at its next visit to a point.
    fn start_recorder(&mut self, point: &str) {
        let variables = [(journal::crash::VARIABLE, point)];
        self.recorder = Role::start_with(&self.site, &["recorder"], &self.set, &variables);
    }

    /// Ends all in order, the recorder once it has what the rings have.
    fn stop(&mut self) {
        for (_, feed) in &mut self.feeds {
            feed.stop();
        }
        self.recorder.stop();
        self.relay.stop();
        self.emulators.iter_mut().for_each(Role::stop);
    }
}

fn feed(site: &Site, venue: Venue, set: &[String]) -> Role {
    Role::start(site, &["feed", venue.name(), "--origin", "simulated"], set)
}

/// What the watermark said so far.
#[derive(Default)]
struct Acknowledged(BTreeMap<Venue, Vec<Name>>);

impl Acknowledged {
    /// What a process that dies now has promised: written survives that, and synced with it.
    fn note(&mut self, plant: &Plant) {
        for (venue, name) in acknowledged(&plant.journal(), Level::Written) {
            let names = self.0.entry(venue).or_default();
            assert!(names.last().is_none_or(|last| *last <= name), "{venue}: the watermark went back to {name:?}");
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
    }

    fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

/// The points, each to be died at; those nobody died at yet come first.
struct Points {
    waiting: VecDeque<&'static str>,
    hit: BTreeSet<&'static str>,
    all: usize,
    /// What the recorder that runs is to die at.
    armed: &'static str,
}

impl Points {
    fn new() -> Points {
        let all = journal::crash::POINTS.iter().chain(&recorder::CRASH_POINTS).copied();
        let waiting: VecDeque<_> = all.filter(|point| !ELSEWHERE.contains(point)).collect();
        Points { all: waiting.len(), waiting, hit: BTreeSet::new(), armed: "" }
    }

    /// Kills what runs, unless it died by itself, and starts the next one.
    fn next(&mut self, plant: &mut Plant, dice: &mut fastrand::Rng) {
        let died = plant.recorder.ended().is_some_and(|status| status.signal() == Some(9));
        if died {
            self.hit.insert(self.armed);
        } else {
            plant.recorder.kill();
        }
        if !self.armed.is_empty() {
            self.waiting.push_back(self.armed);
        }
        let unhit = self.waiting.iter().position(|point| !self.hit.contains(point)).unwrap_or(0);
        self.armed = self.waiting.remove(unhit).expect("there are points");
        // Rare ones would not be visited twice.
        let visit = if self.hit.contains(self.armed) { dice.u32(1..4) } else { 1 };
        plant.start_recorder(&format!("{}:{visit}", self.armed));
    }
}

#[test]
fn nothing_acknowledged_is_ever_lost() {
    let kills = std::env::var("ALPHAPULSE_TEST_KILLS").map_or(KILLS, |n| n.parse().expect("a number of kills"));
    let seed = fastrand::u64(..);
    println!("recorder: seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut plant = Plant::start();
    let witness = Witness::start(plant.site.rings.path());
    let mut promised = Acknowledged::default();
    wait_for("a first record in the journal", || {
        (acknowledged(&plant.journal(), Level::Synced).len() == VENUES.len()).then_some(())
    });
    let mut points = Points::new();
    let mut by_role = BTreeMap::<&str, u32>::new();
    for kill in 0..kills {
        promised.note(&plant);
        let role = match kill % 16 {
            3 | 11 => "feed",
            7 => "relay",
            _ => "recorder",
        };
        *by_role.entry(role).or_default() += 1;
        match role {
            "feed" => {
                let (venue, feed) = &mut plant.feeds[dice.usize(..VENUES.len())];
                feed.kill();
                *feed = self::feed(&plant.site, *venue, &plant.set);
                thread::sleep(Duration::from_millis(dice.u64(20..200)));
            }
            "relay" => {
                plant.relay.kill();
                plant.relay = Role::start(&plant.site, &["relay"], &plant.set);
            }
            _ => {
                points.next(&mut plant, &mut dice);
                let wait = if dice.bool() { POINT_WAIT } else { Duration::from_millis(dice.u64(0..400)) };
                let (begun, mut asked) = (Instant::now(), !points.armed.starts_with("recorder."));
                while plant.recorder.ended().is_none() && begun.elapsed() < wait {
                    promised.note(&plant);
                    thread::sleep(Duration::from_millis(2));
                    if !asked && begun.elapsed() > PART_AFTER {
                        asked = true;
                        plant.recorder.ask_to_end();
                    }
                }
            }
        }
    }
    promised.note(&plant);
    plant.recorder.kill();
    plant.recorder = Role::start(&plant.site, &["recorder"], &plant.set);
    settle(&plant);
    plant.stop();
    let ring = witness.end();
    let (journal, lines) = read_journal(&plant.journal());
    let faults = compare(&journal, &ring, &promised.0);
    let overruns: usize = journal.overruns.values().map(Vec::len).sum();
    println!(
        "recorder: {kills} kills ({by_role:?}; {} of {} named points died at), {} watermarks, {} records of {} in the \
         rings: lost {}, twice {}, reordered {}, changed {}, unnamed {}; overruns {overruns}; with 95 % certainty fewer \
         than {:.4} of kills lose anything",
        points.hit.len(),
        points.all,
        promised.count(),
        journal.count(),
        ring.count(),
        faults.lost,
        faults.twice,
        faults.reordered,
        faults.changed,
        faults.unnamed,
        3.0 / f64::from(kills)
    );
    let missed: Vec<_> = points.waiting.iter().filter(|point| !points.hit.contains(*point)).collect();
    println!("recorder: not died at: {missed:?}");
    assert!(kills < KILLS_OF_ALL_POINTS || missed.is_empty(), "points nobody died at: {missed:?}");
    assert_eq!(faults, Faults::default());
    assert_eq!(overruns, 0, "the rings held everything: {:?}", journal.overruns);
    assert_eq!(journal.count(), ring.count());
    rows_are_records(&plant, &journal);
    for venue in VENUES {
        nothing_of_the_venue_is_missing(&plant, venue, &lines[&venue]);
    }
}

/// Waits until the recorder has what the rings have, and the feeds have told late what they missed.
fn settle(plant: &Plant) {
    thread::sleep(Duration::from_secs(2));
    let directory = ring::Directory::open(plant.site.rings.path()).expect("the rings");
    let deadline = Instant::now() + PATIENCE;
    for venue in VENUES {
        let mut reader = ring::Reader::open(&directory, venue.name()).expect("a ring");
        reader.attach(ring::From::Now).expect("a place");
        let last = (reader.next().epoch, reader.next().sequence - 1);
        while acknowledged(&plant.journal(), Level::Synced).iter().all(|(v, name)| *v != venue || *name < last) {
            assert!(Instant::now() < deadline, "{venue}: the recorder never came to {last:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Every record that has a table is one row of it, and every row is such a record.
fn rows_are_records(plant: &Plant, journal: &Story) {
    let folder = plant.site.state.path().join("parquet");
    for ((venue, table), names) in &journal.rows {
        let files = files_below(&folder.join(table).join(venue.name()), "parquet");
        let mut found: Vec<Name> = files.iter().flat_map(|file| parquet_file::names(file)).collect();
        found.sort_unstable();
        let mut expected = names.clone();
        expected.sort_unstable();
        assert_eq!(found.len(), expected.len(), "{venue} {table}: rows in {} files", files.len());
        assert!(found == expected, "{venue} {table}: rows are not the journal's records");
    }
}

/// `alphapulse verify loss` compares the journal's lines with what the emulator sent.
fn nothing_of_the_venue_is_missing(plant: &Plant, venue: Venue, lines: &[String]) {
    let state = plant.site.state.path();
    let (sent, told) = (state.join(format!("journal-{venue}")), state.join(format!("told-{venue}.jsonl")));
    std::fs::write(&told, lines.join("\n") + "\n").expect("written");
    let files = [&sent, &told].map(|path| path.display().to_string());
    let args = ["verify", "loss", "--venue", venue.name(), "--sent", &files[0], "--received", &files[1]];
    let output = plant.site.output(&args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{venue}: {}", text(&output.stdout).lines().last().unwrap_or_default());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
