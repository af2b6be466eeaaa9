//! A writer killed with SIGKILL, at random and at every named point: nothing another process had read as acknowledged
//! is lost, nothing is told twice or out of order, and a reader in another process sees one stream throughout.
//!
//! The child is this same test binary, started for its `child` alone.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use journal::{Cursor, From, Helper, Item, Level, Options, Positions, Reader, Watermark, Writer, crash};
use model::UnixNanos;
use model::Venue::{self, Binance, Coinbase, Kraken};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const FOLDER: &str = "ALPHAPULSE_TEST_JOURNAL_FOLDER";
const KEEP_ALL: &str = "ALPHAPULSE_TEST_JOURNAL_KEEP_ALL";
const VENUES: [Venue; 3] = [Kraken, Binance, Coinbase];
/// A child whose parent died ends by itself.
const ROUNDS_MAX: u64 = 200_000;

fn options() -> Options {
    Options {
        segment_bytes: 256 << 10,
        checkpoint_bytes: 64 << 10,
        batch_bytes: 48 << 10,
        retain_bytes: std::env::var_os(KEEP_ALL).is_none().then_some(1 << 20),
        helper: Helper::Thread,
        ..Options::small()
    }
}

fn now() -> UnixNanos {
    UnixNanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// The child's work: groups that straddle pages, syncs, a sink that advances, retention.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (mut writer, _) = Writer::open(folder, options(), "test", now()).unwrap();
    let mut reader = Reader::open(folder, From::Oldest, Level::Synced).unwrap();
    let mut rng = fastrand::Rng::with_seed(u64::from(std::process::id()));
    for round in 0..ROUNDS_MAX {
        for _ in 0..rng.usize(1..4) {
            let venue = VENUES[rng.usize(0..VENUES.len())];
            let first = writer.positions().get(venue).map_or(1, |at| at.sequence + 1);
            append(&mut writer, venue, 1, first, first + rng.u64(0..300), now());
        }
        writer.write(now()).unwrap();
        if rng.u8(0..3) == 0 {
            writer.sync(now()).unwrap();
        }
        if round % 4 == 0 {
            while !matches!(reader.next().unwrap(), Item::End) {}
            reader.cursor("sink", now()).store(folder).unwrap();
            writer.retain(now()).unwrap();
        }
    }
}

fn spawn(folder: &Path, crash_at: Option<String>, keep_all: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(point) = crash_at {
        command.env(crash::VARIABLE, point);
    }
    if keep_all {
        command.env(KEEP_ALL, "1");
    }
    command.spawn().unwrap()
}

/// What another process could read as acknowledged, the highest of all looks.
#[derive(Default)]
struct Acknowledged {
    written: Positions,
    looks: u64,
}

impl Acknowledged {
    fn look(&mut self, folder: &Path) -> Option<Watermark> {
        let mark = Watermark::read(folder).unwrap()?;
        for (venue, at) in mark.written_positions.iter() {
            self.written.raise(venue, at);
        }
        self.looks += 1;
        Some(mark)
    }
}

/// Recovers as the next run would and reads all there is.
fn check(folder: &Path, acknowledged: &Acknowledged, told: &mut Tally) {
    let (writer, recovered) = Writer::open(folder, options(), "test", now()).unwrap();
    assert_eq!(recovered.damaged, vec![], "a kill tears at most the end");
    assert!(recovered.scanned_bytes <= (64 << 10) + 2 * (256 << 10), "{recovered:?}");
    told.torn += u64::from(recovered.torn.is_some());
    for (venue, at) in acknowledged.written.iter() {
        let found = writer.positions().get(venue).unwrap_or_default();
        assert!(found >= at, "{venue}: {at:?} was acknowledged, the journal ends at {found:?}");
    }
    drop(writer);
    let read = read_all(folder, Level::Synced);
    assert_eq!(read.missing, vec![]);
    for venue in VENUES {
        let sequences: Vec<u64> = read.names.iter().filter(|n| n.0 == venue).map(|n| n.2).collect();
        assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1), "{venue}: lost, repeated or out of order");
    }
    // A sink's place is one that can be read from.
    if let Some(cursor) = Cursor::load(folder, "sink").unwrap() {
        Reader::open(folder, From::Cursor(cursor), Level::Synced).unwrap().next().unwrap();
    }
    told.records = told.records.max(read.names.last().map_or(0, |n| n.2));
}

#[derive(Default)]
struct Tally {
    kills: u64,
    torn: u64,
    records: u64,
}

fn long_run() -> Option<u64> {
    std::env::var("ALPHAPULSE_TEST_JOURNAL_KILLS").ok().map(|n| n.parse().unwrap())
}

#[test]
fn a_kill_at_every_named_point_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Tally::default();
    let mut rng = fastrand::Rng::with_seed(5);
    for point in crash::POINTS {
        for visit in if long_run().is_some() { vec![1, 2, rng.u64(3..12)] } else { vec![rng.u64(1..3)] } {
            // Only a start that finds a journal rewrites its end, and only once.
            let visit = if point == "journal.after_rewrite" { 1 } else { visit };
            let mut child = spawn(dir.path(), Some(format!("{point}:{visit}")), false);
            let mut acknowledged = Acknowledged::default();
            let status = loop {
                acknowledged.look(dir.path());
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                std::thread::sleep(Duration::from_micros(200));
            };
            assert_eq!(status.signal(), Some(9), "{point}:{visit} was not reached: {status}");
            acknowledged.look(dir.path());
            told.kills += 1;
            if dir.path().join("0000000001.seg").exists() || acknowledged.looks > 1 {
                check(dir.path(), &acknowledged, &mut told);
            }
        }
    }
    println!("{} kills at {} named points: acknowledged and lost 0, repeated 0, reordered 0", told.kills, crash::POINTS.len());
}

/// More with `ALPHAPULSE_TEST_JOURNAL_KILLS`.
#[test]
fn kills_at_random_lose_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(9);
    let mut told = Tally::default();
    for _ in 0..long_run().unwrap_or(20) {
        let mut child = spawn(dir.path(), None, false);
        let mut acknowledged = Acknowledged::default();
        let patience = Instant::now();
        while acknowledged.look(dir.path()).is_none_or(|mark| mark.pid != child.id()) {
            assert!(patience.elapsed() < Duration::from_secs(60), "the child never opened the journal");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(rng.u64(0..40_000)));
        acknowledged.look(dir.path());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        told.kills += 1;
        check(dir.path(), &acknowledged, &mut told);
    }
    let bound = 300.0 / told.kills as f64;
    println!(
        "{} kills at random: acknowledged and lost 0, repeated 0, reordered 0, torn tails {}, records a venue {}; \
         at 95 % fewer than {bound:.2} % of kills lose any",
        told.kills, told.torn, told.records
    );
}

#[test]
fn readers_in_another_process_follow_a_writer_through_its_deaths() {
    let dir = tempfile::tempdir().unwrap();
    let mut streams: Vec<(Reader, Read)> = vec![];
    for _ in 0..3 {
        let mut child = spawn(dir.path(), None, true);
        let patience = Instant::now();
        let target = streams.first().map_or(0, |s| s.1.names.len()) + 20_000;
        loop {
            assert!(patience.elapsed() < Duration::from_secs(60), "the child does not write");
            if streams.is_empty() {
                let opened = [Level::Written, Level::Synced].map(|level| Reader::open(dir.path(), From::Oldest, level));
                streams.extend(opened.into_iter().flatten().map(|reader| (reader, Read::default())));
                if streams.len() < 2 {
                    streams.clear();
                    continue;
                }
            }
            streams.iter_mut().for_each(|(reader, read)| drain(reader, read));
            if streams.iter().all(|(_, read)| read.names.len() > target) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    drop(Writer::open(dir.path(), options(), "test", now()).unwrap());
    let all = read_all(dir.path(), Level::Synced);
    for (reader, read) in &mut streams {
        drain(reader, read);
        assert_eq!(read.missing, vec![]);
        assert_eq!(read.names.len(), all.names.len());
        assert!(read.names == all.names, "the stream of {:?} is the journal", reader.level());
    }
    for venue in VENUES {
        let count = all.names.iter().filter(|n| n.0 == venue).count() as u64;
        assert_eq!(all.names.iter().rfind(|n| n.0 == venue).map(|n| n.2), Some(count), "counted from 1 without holes");
    }
}
