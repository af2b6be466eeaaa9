//! The power fails: a writer in a process of its own on a disk that loses what was not synced, tears sectors and keeps
//! names only where their folder was synced. Whatever stood on the watermark as synced before the cut is there after
//! it. And the disk's other faults: a sync that fails and then lies, no room, a stall.
//!
//! `ALPHAPULSE_TEST_CUTS` sets the number of cuts (10 unless it is set), `ALPHAPULSE_TEST_STALL_MS` the stall (300).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{append, at, read_all, record};
use faultfs::{Control, Cut, FaultFs, Slow, Unit};
use journal::{Access, Disk, DiskFile, Files, Item, JournalError, Level, Options, Reader, State, Watermark, Writer};
use model::Venue;
use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const VENUE: Venue = Venue::Kraken;
const EPOCH: u64 = 7;
/// Tells the writer process where, and in which run of the machine.
const FOLDER: &str = "ALPHAPULSE_TEST_POWER_FOLDER";
const BOOT: &str = "ALPHAPULSE_TEST_POWER_BOOT";
const SEED: &str = "ALPHAPULSE_TEST_POWER_SEED";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn options() -> Options {
    Options {
        segment_bytes: 256 << 10,
        reserve_bytes: 8 << 10,
        checkpoint_bytes: 32 << 10,
        batch_bytes: 16 << 10,
        stall_after: Duration::from_millis(50),
        ..Options::default()
    }
}

/// The real files, in a run of the machine that ends when the test says so.
#[derive(Debug)]
struct Machine {
    files: Files,
    boot: u64,
}

impl Disk for Machine {
    fn path(&self) -> &Path {
        self.files.path()
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.files.open(name, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.files.list(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.files.make_folder(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.files.sync_folder(folder)
    }
    fn lock(&self, name: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.files.lock(name)
    }
    fn boot(&self) -> u64 {
        self.boot
    }
}

fn machine(folder: &Path, boot: u64) -> Arc<dyn Disk> {
    Arc::new(Machine { files: Files::at(folder), boot })
}

fn open(folder: &Path, boot: u64, ms: u64) -> Writer {
    Writer::open_on(machine(folder, boot), options(), "power", at(ms)).unwrap().0
}

fn last(positions: &journal::Positions) -> u64 {
    positions.get(VENUE).map_or(0, |last| last.sequence)
}

/// The last record that the watermark calls synced.
fn acknowledged(folder: &Path, boot: u64) -> u64 {
    let mark = Watermark::read_on(&*machine(folder, boot)).unwrap_or(None);
    mark.filter(|mark| mark.same_boot).map_or(0, |mark| last(mark.positions(Level::Synced)))
}

/// Ranges of sequences that are missing by name.
type Holes = Vec<(u64, u64)>;

/// Every record from the first on, in order, each once, with the content it was written with, or named as missing;
/// gives the last, and what is missing.
fn check(folder: &Path, boot: u64) -> (u64, Holes) {
    let mut reader = Reader::open_on(machine(folder, boot), journal::From::Oldest, Level::Synced).unwrap();
    let (mut next, mut holes) = (1, Holes::new());
    loop {
        match reader.next().unwrap() {
            Item::End => return (next - 1, holes),
            Item::Missing(missing) => {
                for range in missing.ranges {
                    assert_eq!(
                        (range.venue, range.epoch, range.first),
                        (VENUE, EPOCH, next),
                        "not where it is missing"
                    );
                    next = range.last.unwrap() + 1;
                    holes.push((range.first, next - 1));
                }
            }
            Item::Batch(batch) => batch
                .records(|envelope, words| {
                    assert_eq!((envelope.epoch, envelope.sequence), (EPOCH, next), "lost, repeated or out of order");
                    assert_eq!(words, record(VENUE, EPOCH, next).as_words(), "wrong content");
                    next += 1;
                })
                .unwrap(),
        }
    }
}

#[test]
#[ignore = "the writer that another test cuts off"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut random = fastrand::Rng::with_seed(number(SEED, 0));
    let mut writer = open(&folder, number(BOOT, 0), number(BOOT, 0) * 1_000_000);
    let mut next = last(writer.positions()) + 1;
    for ms in number(BOOT, 0) * 1_000_000.. {
        for _ in 0..random.u64(1..4) {
            let behind = next + random.u64(1..400);
            append(&mut writer, VENUE, EPOCH, next, behind - 1, at(ms));
            next = behind;
        }
        writer.write(at(ms)).unwrap();
        if random.u8(0..3) > 0 {
            writer.sync(at(ms)).unwrap();
        }
    }
}

struct Victim(Child);

impl Victim {
    fn start(folder: &Path, boot: u64, seed: u64) -> Victim {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writer"])
            .env(FOLDER, folder)
            .env(BOOT, boot.to_string())
            .env(SEED, seed.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Victim(child.unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn random_cut(random: &mut fastrand::Rng) -> Cut {
    match random.u8(0..5) {
        0 => Cut::Clean,
        _ => Cut::Torn {
            seed: random.u64(..),
            keep: random.u8(1..100),
            unit: if random.bool() { Unit::Sector } else { Unit::Page },
        },
    }
}

/// Recovers and checks; gives the last record. `holes` are those of earlier cuts: a sector that was torn behind what
/// was acknowledged may have whole batches behind it.
fn recover_and_check(folder: &Path, boot: u64, acknowledged: u64, holes: &mut Holes) -> u64 {
    let writer = open(folder, boot, boot * 1_000_000);
    let recovered = last(writer.positions());
    drop(writer);
    let (left, missing) = check(folder, boot);
    assert_eq!(left, recovered, "what recovery found is what a reader finds");
    assert!(left >= acknowledged, "acknowledged {acknowledged} and lost: only {left} are left");
    for hole in missing {
        assert!(hole.0 > acknowledged || holes.contains(&hole), "acknowledged {acknowledged} and lost: {hole:?}");
        if !holes.contains(&hole) {
            holes.push(hole);
        }
    }
    left
}

/// Cuts the power, brings it back, recovers and checks.
fn cut_and_check(control: &Control, folder: &Path, cut: Cut, boot: u64, acknowledged: u64) -> u64 {
    control.cut(cut);
    recover_and_check(folder, boot, acknowledged, &mut Holes::new())
}

#[test]
fn what_was_acknowledged_as_synced_outlives_any_power_cut() {
    let Some(fs) = FaultFs::mount_or_skip("what_was_acknowledged_as_synced_outlives_any_power_cut") else { return };
    let cuts = number("ALPHAPULSE_TEST_CUTS", 10);
    let seed = number(SEED, 1);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut records, mut beyond, mut exact, mut torn) = (0, 0, 0, 0);
    let mut holes = Holes::new();
    let mut boot = 1;
    for cut in 0..cuts {
        if cut % 8 == 0 {
            torn += std::mem::take(&mut holes).len();
        }
        // A new journal every so often, so that beginning one is cut as well and checking does not grow long.
        let folder = fs.path().join((cut / 8).to_string());
        let before = acknowledged(&folder, boot);
        let mut victim = Victim::start(&folder, boot, random.u64(..));
        // One cut in eight comes while the writer still opens the journal, or even before.
        let patience = if random.u8(0..8) == 0 { random.u32(0..300) } else { u32::MAX };
        for _ in 0..patience {
            if acknowledged(&folder, boot) > before || victim.0.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
        let mut acked = acknowledged(&folder, boot);
        assert!(victim.0.try_wait().unwrap().is_none(), "the writer ended by itself");
        // Dead disk first, dead process second: what it still believes while it dies is nobody's business.
        fs.control().power_off(random_cut(&mut random));
        drop(victim);
        boot += 1;
        fs.control().power_on();
        // What recovery acknowledged is cut off too.
        if random.u8(0..4) == 0 {
            acked = recover_and_check(&folder, boot, acked, &mut holes);
            fs.control().cut(random_cut(&mut random));
            boot += 1;
        }
        let left = recover_and_check(&folder, boot, acked, &mut holes);
        boot += 1;
        records += left;
        beyond += left - acked;
        exact += u64::from(left == acked);
    }
    torn += holes.len();
    println!(
        "power: {cuts} cuts, acknowledged and lost 0, duplicated 0, reordered 0 (95 % bound {:.2} % per cut); {records} \
         records checked, {beyond} of them beyond what was acknowledged, {torn} torn there; {exact} cuts left exactly \
         what was acknowledged; seed {seed}",
        300.0 / cuts as f64
    );
}

#[test]
fn a_failed_sync_is_never_acknowledged_and_its_lie_is_not_believed() {
    let test = "a_failed_sync_is_never_acknowledged_and_its_lie_is_not_believed";
    let Some(fs) = FaultFs::mount_or_skip(test) else { return };
    for (round, restart_first) in [true, false].into_iter().enumerate() {
        let folder = fs.path().join(format!("j{round}"));
        let mut writer = open(&folder, 1, 0);
        append(&mut writer, VENUE, EPOCH, 1, 500, at(1));
        writer.write(at(1)).unwrap();
        writer.sync(at(1)).unwrap();
        append(&mut writer, VENUE, EPOCH, 501, 900, at(2));
        writer.write(at(2)).unwrap();
        fs.control().fail_fsync_of(".seg", 0);
        let failed = writer.sync(at(2)).unwrap_err();
        assert!(matches!(failed, JournalError::Io { .. } | JournalError::Poisoned { .. }), "{failed}");
        // No way of asking again makes it true.
        for ms in 3..6 {
            assert!(common::try_append(&mut writer, VENUE, EPOCH, 901, 950, at(ms)).is_err());
            assert!(writer.write(at(ms)).is_err());
            assert!(writer.sync(at(ms)).is_err());
        }
        let mark = Watermark::read_on(&*machine(&folder, 1)).unwrap().unwrap();
        assert_eq!((mark.state, last(mark.positions(Level::Synced))), (State::Poisoned, 500));
        assert_eq!(last(writer.acknowledged(Level::Synced)), 500);
        drop(writer);
        if restart_first {
            // Reads still show what the failed sync lost. A writer that believed them would acknowledge it.
            let writer = open(&folder, 1, 10);
            let believed = last(writer.acknowledged(Level::Synced));
            assert!(believed >= 500);
            drop(writer);
            let left = cut_and_check(fs.control(), &folder, Cut::Clean, 2, believed);
            assert_eq!(left, believed);
        } else {
            cut_and_check(fs.control(), &folder, Cut::Clean, 2, 500);
        }
    }
}

#[test]
fn every_sync_of_a_journals_life_may_fail() {
    let Some(fs) = FaultFs::mount_or_skip("every_sync_of_a_journals_life_may_fail") else { return };
    for nth in 0..24 {
        let folder = fs.path().join(format!("j{nth}"));
        fs.control().fail_fsync(nth);
        let before = fs.control().counts().failed_syncs;
        let mut boot = 2 * nth + 1;
        let opened = Writer::open_on(machine(&folder, boot), options(), "power", at(0));
        if let Ok((mut writer, _)) = opened {
            let mut next = 1;
            for ms in 1..60 {
                append_what_it_takes(&mut writer, &mut next, ms);
                let _ = writer.write(at(ms));
                let _ = writer.sync(at(ms));
            }
        }
        let acked = acknowledged(&folder, boot);
        boot += 1;
        cut_and_check(fs.control(), &folder, Cut::Clean, boot, acked);
        assert_eq!(fs.control().counts().failed_syncs, before + 1, "the {nth}. sync was never made");
    }
}

fn append_what_it_takes(writer: &mut Writer, next: &mut u64, ms: u64) {
    if common::try_append(writer, VENUE, EPOCH, *next, *next + 299, at(ms)).is_ok() {
        *next += 300;
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_recording_goes_on() {
    let test = "a_full_disk_loses_nothing_that_was_acknowledged_and_recording_goes_on";
    let Some(fs) = FaultFs::mount_or_skip(test) else { return };
    let folder = fs.path().join("journal");
    let mut writer = open(&folder, 1, 0);
    fs.control().fill(100 << 10);
    let (mut next, mut ms) = (1, 1);
    while writer.state() != State::Full {
        append_what_it_takes(&mut writer, &mut next, ms);
        writer.write(at(ms)).unwrap();
        writer.sync(at(ms)).unwrap();
        ms += 1;
        assert!(ms < 10_000, "the disk never filled");
    }
    let mark = Watermark::read_on(&*machine(&folder, 1)).unwrap().unwrap();
    assert_eq!(mark.state, State::Full);
    let readable = (last(mark.positions(Level::Synced)), Holes::new());
    assert_eq!(check(&folder, 1), readable, "readers do not notice");
    assert!(last(mark.positions(Level::Synced)) < next - 1, "something waits for room");

    fs.control().make_space();
    let (mut waited, mut turns) = (next - 1, 0);
    while writer.state() == State::Full {
        // The helper makes the next segment while the writer's clock goes on.
        std::thread::sleep(Duration::from_millis(5));
        ms += 1000;
        turns += 1;
        writer.write(at(ms)).unwrap();
        assert!(turns < 1000, "it never went on");
    }
    append_what_it_takes(&mut writer, &mut next, ms);
    waited = waited.max(next - 1);
    writer.write(at(ms)).unwrap();
    writer.sync(at(ms)).unwrap();
    assert_eq!(last(writer.acknowledged(Level::Synced)), waited);
    drop(writer);
    assert_eq!(cut_and_check(fs.control(), &folder, Cut::Clean, 2, waited), waited);
}

#[test]
fn a_power_cut_on_a_full_disk_loses_nothing_that_was_acknowledged() {
    let test = "a_power_cut_on_a_full_disk_loses_nothing_that_was_acknowledged";
    let Some(fs) = FaultFs::mount_or_skip(test) else { return };
    let folder = fs.path().join("journal");
    let mut writer = open(&folder, 1, 0);
    fs.control().fill(64 << 10);
    let mut next = 1;
    for ms in 1..200 {
        append_what_it_takes(&mut writer, &mut next, ms);
        writer.write(at(ms)).unwrap();
        writer.sync(at(ms)).unwrap();
    }
    assert_eq!(writer.state(), State::Full);
    let acked = acknowledged(&folder, 1);
    drop(writer);
    cut_and_check(fs.control(), &folder, Cut::Torn { seed: 1, keep: 50, unit: Unit::Sector }, 2, acked);
}

#[test]
fn a_stalled_disk_is_told_and_nothing_is_acknowledged_meanwhile() {
    let test = "a_stalled_disk_is_told_and_nothing_is_acknowledged_meanwhile";
    let Some(fs) = FaultFs::mount_or_skip(test) else { return };
    let stall = Duration::from_millis(number("ALPHAPULSE_TEST_STALL_MS", 300));
    let folder = fs.path().join("journal");
    let mut writer = open(&folder, 1, 0);
    append(&mut writer, VENUE, EPOCH, 1, 100, at(1));
    writer.write(at(1)).unwrap();
    writer.sync(at(1)).unwrap();
    append(&mut writer, VENUE, EPOCH, 101, 200, at(2));
    writer.write(at(2)).unwrap();
    // Ten times as long as it is left in place: it ends when the test says so.
    fs.control().stall(Slow::Sync, stall * 10);
    let waiting = std::thread::spawn(move || {
        let marks = writer.sync(at(3));
        (writer, marks)
    });
    let mut states = Vec::new();
    let start = std::time::Instant::now();
    while start.elapsed() < stall || states.last() != Some(&State::Stalled) {
        assert!(!waiting.is_finished(), "a sync that hangs was acknowledged, or its stall never told: {states:?}");
        let mark = Watermark::read_on(&*machine(&folder, 1)).unwrap().unwrap();
        assert_eq!(last(mark.positions(Level::Synced)), 100);
        assert_eq!(last(mark.positions(Level::Written)), 200, "readers of what is written do not notice");
        states.push(mark.state);
        std::thread::sleep(Duration::from_millis(5));
    }
    fs.control().stall(Slow::Sync, Duration::ZERO);
    let (mut writer, marks) = waiting.join().unwrap();
    marks.unwrap();
    append(&mut writer, VENUE, EPOCH, 201, 300, at(4));
    writer.write(at(4)).unwrap();
    writer.sync(at(4)).unwrap();
    let mark = Watermark::read_on(&*machine(&folder, 1)).unwrap().unwrap();
    assert_eq!((mark.state, last(mark.positions(Level::Synced))), (State::Ok, 300));
    assert_eq!(read_all(&folder, Level::Written).names.len(), 300);
}

#[test]
fn a_read_only_disk_is_refused_in_one_sentence() {
    let Some(fs) = FaultFs::mount_or_skip("a_read_only_disk_is_refused_in_one_sentence") else { return };
    let folder = fs.path().join("journal");
    let mut writer = open(&folder, 1, 0);
    append(&mut writer, VENUE, EPOCH, 1, 100, at(1));
    writer.close(at(1)).unwrap();
    fs.control().read_only(true);
    let error = Writer::open_on(machine(&folder, 1), options(), "power", at(2)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("journal") && !text.contains('\n'), "{text}");
    assert_eq!(check(&folder, 1), (100, Holes::new()), "it can still be read");
}
