//! A journal on a disk that loses, tears, fails, fills and stalls, over many lives from one seed: what was acknowledged
//! at a level is there when that level's promise is called, in order and once; what is missing is named, exactly.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/sim.rs"]
mod sim;

use common::*;
use journal::{Item, JournalError, Level, Options, Positions, Reader, State, Watermark, Writer};
use model::Venue::{self, Binance, Coinbase, Kraken};
use proptest::prelude::*;
use sim::Sim;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::Envelope;

const VENUES: [Venue; 3] = [Kraken, Binance, Coinbase];

/// How a life of the writer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Closed,
    Killed,
    PowerCut,
    SyncFailed { evicted: bool },
    WriteFailed,
}

/// What the world outside knows of a journal: what it offered and what it was acknowledged.
struct World {
    disk: Sim,
    rng: fastrand::Rng,
    now: u64,
    /// The last sequence offered to the journal that may be in it, by venue.
    offered: BTreeMap<Venue, u64>,
    acknowledged: BTreeMap<Level, Positions>,
    /// Records that were lost without ever having been acknowledged, and that something behind them outlived.
    holes: BTreeSet<(Venue, u64)>,
}

impl World {
    fn new(seed: u64) -> World {
        let (disk, rng) = (Sim::new(), fastrand::Rng::with_seed(seed));
        World { disk, rng, now: 0, offered: BTreeMap::new(), acknowledged: BTreeMap::new(), holes: BTreeSet::new() }
    }

    fn now(&mut self) -> model::UnixNanos {
        self.now += self.rng.u64(1..400);
        at(self.now)
    }

    fn disk(&self) -> Arc<dyn journal::Disk> {
        Arc::new(self.disk.clone())
    }

    fn open(&mut self) -> Writer {
        let now = self.now();
        let (writer, _) = Writer::open_on(self.disk(), Options::small(), "test", now).unwrap();
        writer
    }

    /// Another process looks at the watermark.
    fn look(&mut self) {
        let mark = Watermark::read_on(&self.disk).unwrap().unwrap();
        for level in [Level::Written, Level::Synced] {
            let known = self.acknowledged.entry(level).or_default();
            for (venue, at) in mark.positions(level).iter() {
                known.raise(venue, at);
            }
        }
    }

    fn offer(&mut self, writer: &mut Writer) {
        let venue = VENUES[self.rng.usize(0..VENUES.len())];
        let first = writer.positions().get(venue).map_or(1, |at| at.sequence + 1);
        let last = first + self.rng.u64(0..120);
        let now = self.now();
        match try_append(writer, venue, 1, first, last, now) {
            Ok(()) => {}
            Err(JournalError::Backlog { .. }) => return,
            Err(error) => panic!("{error}"),
        }
        let offered = self.offered.entry(venue).or_default();
        *offered = (*offered).max(last);
    }

    /// One life: random work, then an end of some kind.
    fn live(&mut self) -> Death {
        let mut writer = self.open();
        self.look();
        let death = match self.rng.u8(0..10) {
            0 => Death::Closed,
            1..4 => Death::Killed,
            4..8 => Death::PowerCut,
            8 => Death::SyncFailed { evicted: self.rng.bool() },
            _ => Death::WriteFailed,
        };
        let steps = self.rng.usize(0..60);
        for _ in 0..steps {
            match self.rng.u8(0..10) {
                0..5 => self.offer(&mut writer),
                5..8 => drop(writer.write(self.now()).unwrap()),
                8 => drop(writer.sync(self.now()).unwrap()),
                _ => {
                    let spare = self.rng.u64(0..100_000);
                    if self.rng.bool() { self.disk.fill(spare) } else { self.disk.free() }
                }
            }
            self.look();
        }
        self.disk.free();
        self.die(writer, death);
        death
    }

    fn die(&mut self, mut writer: Writer, death: Death) {
        match death {
            Death::Closed => {
                writer.close(self.now()).unwrap();
                self.look();
            }
            Death::Killed => drop(writer),
            Death::PowerCut => {
                drop(writer);
                self.disk.power_cut(&mut self.rng);
                return;
            }
            Death::SyncFailed { evicted } => {
                self.offer(&mut writer);
                writer.write(self.now()).unwrap();
                self.look();
                self.disk.fail_syncs(1);
                let before = Watermark::read_on(&self.disk).unwrap().unwrap().synced;
                let refused = writer.sync(self.now()).unwrap_err();
                assert!(matches!(refused, JournalError::Poisoned { .. }), "{refused}");
                // Never again, whatever a second sync would say.
                assert!(writer.sync(self.now()).is_err() && writer.write(self.now()).is_err());
                assert!(try_append(&mut writer, Kraken, 1, 1, 1, at(0)).is_err());
                let mark = Watermark::read_on(&self.disk).unwrap().unwrap();
                assert_eq!((mark.state, mark.synced), (State::Poisoned, before));
                drop(writer);
                if evicted {
                    self.disk.evict();
                }
            }
            Death::WriteFailed => {
                self.offer(&mut writer);
                self.disk.fail_writes(1);
                assert!(matches!(writer.write(self.now()), Err(JournalError::Poisoned { .. })));
                self.disk.fail_writes(0);
                drop(writer);
            }
        }
        self.disk.process_dies();
    }

    /// Everything the journal tells, against what the world knows.
    fn check(&mut self, death: Death) {
        let promise = match death {
            Death::PowerCut | Death::SyncFailed { evicted: true } => Level::Synced,
            _ => Level::Written,
        };
        // What was acknowledged before the end is what counts, not what recovery says it found.
        let acknowledged = self.acknowledged.entry(promise).or_default().clone();
        let writer = self.open();
        let read = read_all_on(self.disk(), Level::Synced);
        drop(writer);
        self.disk.process_dies();
        let mut told: BTreeMap<Venue, BTreeSet<u64>> = BTreeMap::new();
        let mut last: BTreeMap<Venue, u64> = BTreeMap::new();
        for &(venue, _, sequence) in &read.names {
            assert!(last.insert(venue, sequence).is_none_or(|last| last < sequence), "{venue} {sequence}: order");
            assert!(sequence <= self.offered[&venue], "{venue} {sequence} was never offered");
            told.entry(venue).or_default().insert(sequence);
        }
        for (venue, at) in acknowledged.iter() {
            let told = told.entry(venue).or_default();
            for sequence in 1..=at.sequence {
                let is_there = told.contains(&sequence) || self.holes.contains(&(venue, sequence));
                assert!(is_there, "{venue} {sequence} was {promise:?} and is lost: {:?}", read.missing);
            }
        }
        self.check_missing(&read, &told);
        self.go_on(&told);
    }

    /// Told and missing together are everything up to the last, and never both.
    fn check_missing(&self, read: &Read, told: &BTreeMap<Venue, BTreeSet<u64>>) {
        let is_missing = |venue, sequence| {
            let ranges = read.missing.iter().flat_map(|missing| &missing.ranges);
            ranges.filter(|r| r.venue == venue).any(|r| r.first <= sequence && r.last.is_some_and(|l| sequence <= l))
        };
        for (&venue, told) in told {
            for sequence in 1..=told.last().copied().unwrap_or(0) {
                let (is_told, is_missing) = (told.contains(&sequence), is_missing(venue, sequence));
                assert!(is_told != is_missing, "{venue} {sequence}: told {is_told}, {:?}", read.missing);
            }
        }
    }

    /// The next life takes up where the journal ends, and owes what is left of this one.
    fn go_on(&mut self, told: &BTreeMap<Venue, BTreeSet<u64>>) {
        self.acknowledged.clear();
        self.offered.clear();
        for (&venue, told) in told {
            let Some(&end) = told.last() else { continue };
            self.offered.insert(venue, end);
            self.holes.extend((1..end).filter(|s| !told.contains(s)).map(|s| (venue, s)));
            for level in [Level::Written, Level::Synced] {
                let at = Envelope { epoch: 1, sequence: end };
                self.acknowledged.entry(level).or_default().raise(venue, at);
            }
        }
    }
}

/// `lives` lives of a journal from one seed. How many ended in which way is told.
fn simulate(seed: u64, lives: u64) -> (BTreeMap<String, u64>, usize) {
    let mut world = World::new(seed);
    let mut deaths = BTreeMap::new();
    for _ in 0..lives {
        let death = world.live();
        world.check(death);
        *deaths.entry(format!("{death:?}")).or_default() += 1;
    }
    (deaths, world.holes.len())
}

/// More with `ALPHAPULSE_TEST_JOURNAL_LIVES` (lives of each of 8 seeds).
#[test]
fn nothing_acknowledged_is_lost_over_many_lives() {
    let lives = std::env::var("ALPHAPULSE_TEST_JOURNAL_LIVES").map_or(25, |n| n.parse().unwrap());
    for seed in 0..8 {
        let result = std::panic::catch_unwind(|| simulate(seed, lives));
        let (deaths, holes) = result.unwrap_or_else(|_| panic!("seed {seed} fails"));
        println!("seed {seed}: {lives} lives {deaths:?}, acknowledged and lost 0, unacknowledged holes {holes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_whatever_the_seed(seed in any::<u64>()) {
        simulate(seed, 4);
    }
}

#[test]
fn the_same_seed_gives_the_same_lives_and_bytes() {
    let run = || {
        let mut world = World::new(11);
        for _ in 0..10 {
            let death = world.live();
            world.check(death);
        }
        let names = world.disk.names();
        names.iter().filter(|n| n.as_str() != "watermark").map(|n| world.disk.bytes(n)).collect::<Vec<_>>()
    };
    assert!(run() == run());
}

#[test]
fn a_full_disk_is_waited_out_and_nothing_is_lost() {
    let disk = Sim::new();
    let (mut writer, _) = Writer::open_on(Arc::new(disk.clone()), Options::small(), "test", START).unwrap();
    disk.fill(8 << 10);
    let (mut sequence, mut now) = (1, 0);
    // The recorder goes on offering what the rings bring until the journal takes no more.
    let refused = loop {
        now += 100;
        match try_append(&mut writer, Kraken, 1, sequence, sequence + 99, at(now)) {
            Ok(()) => sequence += 100,
            Err(error) => break error,
        }
        writer.write(at(now)).unwrap();
        writer.sync(at(now)).unwrap();
    };
    assert!(matches!(refused, JournalError::Backlog { .. }), "{refused}");
    let mark = Watermark::read_on(&disk).unwrap().unwrap();
    assert_eq!((mark.state, mark.written), (State::Full, mark.synced));
    assert!(mark.reason.contains("no storage space"), "{}", mark.reason);
    // What the ring lapped meanwhile is told as what it is.
    let lost =
        wire::OverrunRecord::new(Some(Kraken), 1, sequence, Some(sequence + 499), wire::OverrunCause::Slow, at(now));
    assert!(writer.append_overrun(&lost, at(now)).is_err());

    disk.free();
    now += 1000;
    assert_eq!(writer.write(at(now)).unwrap().state, State::Ok);
    writer.append_overrun(&lost, at(now)).unwrap();
    append(&mut writer, Kraken, 1, sequence + 500, sequence + 599, at(now));
    writer.write(at(now)).unwrap();
    writer.sync(at(now)).unwrap();
    let read = read_all_on(Arc::new(disk.clone()), Level::Synced);
    assert_eq!(read.missing, vec![]);
    assert_eq!(
        read.names,
        [names(Kraken, 1, 1, sequence - 1), names(Kraken, 1, sequence + 500, sequence + 599)].concat()
    );

    // The journal itself tells when it stopped and when it went on, the exact loss behind that.
    let mut reader = Reader::open_on(Arc::new(disk), journal::From::Oldest, Level::Synced).unwrap();
    let mut told = vec![];
    while let Item::Batch(batch) = reader.next().unwrap() {
        if let Some(event) = batch.event() {
            told.push(format!("{event:?}"));
        } else if batch.header.flags & wire::batch::OUT_OF_BAND != 0 {
            told.push(format!("overrun {}..", batch.header.first));
        }
    }
    assert_eq!(told, ["Full".to_owned(), "Resumed".to_owned(), format!("overrun {sequence}..")]);
}

#[test]
fn a_stall_is_told_while_it_lasts() {
    let disk = Sim::new();
    let options = Options {
        helper: journal::Helper::Thread,
        stall_after: std::time::Duration::from_millis(20),
        ..Options::small()
    };
    let (mut writer, _) = Writer::open_on(Arc::new(disk.clone()), options, "test", START).unwrap();
    append(&mut writer, Kraken, 1, 1, 10, at(1));
    writer.write(at(1)).unwrap();
    disk.stall(true);
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| writer.sync(at(2)).unwrap());
        let told = (0..10_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            Watermark::read_on(&disk).unwrap().filter(|mark| mark.state == State::Stalled)
        });
        // Readers of what is written do not notice.
        assert_eq!(read_all_on(Arc::new(disk.clone()), Level::Written).names, names(Kraken, 1, 1, 10));
        disk.stall(false);
        let told = told.unwrap();
        assert_eq!(
            (told.written_positions.get(Kraken).unwrap().sequence, told.synced_positions.get(Kraken)),
            (10, None)
        );
        assert!(told.reason.contains("has not returned"), "{}", told.reason);
        syncing.join().unwrap();
    });
    assert_eq!(Watermark::read_on(&disk).unwrap().unwrap().state, State::Ok);
    assert_eq!(read_all_on(Arc::new(disk), Level::Synced).names, names(Kraken, 1, 1, 10));
}

#[test]
fn a_disk_that_may_not_be_written_is_refused_in_one_sentence() {
    let disk = Sim::new();
    disk.make_read_only();
    let refused = Writer::open_on(Arc::new(disk), Options::small(), "test", START).unwrap_err();
    assert!(matches!(refused, JournalError::ReadOnly { .. }));
    let text = refused.to_string();
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with("recording needs a folder this user may write to"), "{text}");
}

#[test]
fn a_disk_without_room_for_a_journal_is_refused_in_one_sentence() {
    let disk = Sim::new();
    disk.fill(20_000);
    let refused = Writer::open_on(Arc::new(disk.clone()), Options::small(), "test", START).unwrap_err();
    assert!(matches!(refused, JournalError::Full { .. }), "{refused}");
    disk.process_dies();
    disk.free();
    Writer::open_on(Arc::new(disk), Options::small(), "test", START).unwrap();
}
