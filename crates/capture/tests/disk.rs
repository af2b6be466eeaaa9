//! Disks that are full, read-only, stalled or small: the feed's side never waits, one sentence says what is wrong, what is
//! lost is counted where it would stand, and all goes on when the disk does.

mod common;

use capture::{Disk, DiskFile, Index, Keep, Options, SystemDisk, keep_house};
use common::{HOUR, S, TWO, names, push, read, tap};
use model::{UnixNanos, Venue};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tracing::{Event, Level, Metadata, Subscriber, field::Visit, span};

const PATIENCE: Duration = Duration::from_secs(60);
const GOOD: u8 = 0;
const FULL: u8 = 1;
const READ_ONLY: u8 = 2;
const STALLED: u8 = 3;
/// Takes half of what is written, then is full.
const HALF: u8 = 4;

/// The system's disk, as long as it is good.
#[derive(Clone, Default)]
struct MoodyDisk {
    mood: Arc<AtomicU8>,
    writes: Arc<AtomicU64>,
}

struct MoodyFile(Box<dyn DiskFile>, MoodyDisk);

impl MoodyDisk {
    fn set(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
    fn check(&self) -> io::Result<u8> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        while self.mood.load(Ordering::SeqCst) == STALLED {
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.mood.load(Ordering::SeqCst) {
            FULL => Err(ErrorKind::StorageFull.into()),
            READ_ONLY => Err(ErrorKind::ReadOnlyFilesystem.into()),
            mood => Ok(mood),
        }
    }
}

impl Disk for MoodyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check()?;
        Ok(Box::new(MoodyFile(SystemDisk.create(path)?, self.clone())))
    }
}

impl DiskFile for MoodyFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.check()? == HALF {
            self.0.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.write_all_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

/// What was logged in this process: level and words.
fn logged() -> &'static Mutex<Vec<(Level, String)>> {
    static LOGGED: OnceLock<Mutex<Vec<(Level, String)>>> = OnceLock::new();
    LOGGED.get_or_init(|| {
        tracing::subscriber::set_global_default(Listener).expect("the first");
        Mutex::default()
    })
}

struct Listener;

struct Words(String, bool);

impl Visit for Words {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let name = field.name();
        if name == "message" {
            self.0 = format!("{value:?}{}", self.0);
        }
        self.1 |= name == "message";
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut words = Words(String::new(), false);
        event.record(&mut words);
        logged().lock().expect("not poisoned").push((*event.metadata().level(), words.0));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// One test at a time: they share what is logged.
static ONE: Mutex<()> = Mutex::new(());

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Frames while the disk is in a mood, then while it is good again; every one is there or counted.
fn suffer(mood: u8, spill_bytes: u64, during: u64) -> (Vec<String>, u64) {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    logged().lock().expect("not poisoned").clear();
    let folder = tempfile::tempdir().expect("a folder");
    let disk = MoodyDisk::default();
    let options =
        Options { keeps_house: false, spill_bytes, disk: Arc::new(disk.clone()), ..Options::new(folder.path()) };
    let mut tap = tap(&options, 7, None);
    let mut number = 0;
    let mut more = |tap: &mut capture::Tap, count: u64| {
        for _ in 0..count {
            push(tap, number, TWO + number);
            number += 1;
        }
        tap.hand_over(UnixNanos(TWO + number + S));
    };
    more(&mut tap, 1000);
    wait("the first to be written", || tap.stats().waiting == 0);
    let writes = disk.writes.load(Ordering::SeqCst);
    disk.set(mood);
    more(&mut tap, 100);
    wait("an attempt", || disk.writes.load(Ordering::SeqCst) > writes);
    more(&mut tap, during);
    let stats = tap.stats();
    assert_eq!(stats.entries + stats.lost, 1100 + during, "every one is taken in or counted");
    assert!(stats.waiting <= spill_bytes + (512 << 10), "what waits is bounded: {}", stats.waiting);
    disk.set(GOOD);
    wait("the disk to take what waits", || {
        tap.hand_over(UnixNanos(u64::MAX));
        tap.stats().waiting == 0
    });
    more(&mut tap, 500);
    let stats = tap.close(PATIENCE);
    assert!(!stats.troubled && stats.waiting == 0, "{stats:?}");
    let all = read(&folder.path().join("kraken"));
    assert_eq!(all.damage, []);
    let told: u64 = all.lost.iter().map(|(_, lost)| lost.entries).sum();
    assert_eq!((told, all.lost.iter().map(|(_, l)| l.bytes).sum::<u64>()), (stats.lost, stats.lost_bytes));
    assert_eq!(all.numbers.len() as u64 + told, 1600 + during);
    // Each count stands exactly where the numbers jump, and says what they jump over.
    let mut expected = 0;
    for (at, n) in all.numbers.iter().enumerate() {
        if let Some((_, lost)) = all.lost.iter().find(|(before, _)| *before == at) {
            assert_eq!(
                (lost.first, lost.last),
                (UnixNanos(TWO + expected), UnixNanos(TWO + expected + lost.entries - 1))
            );
            expected += lost.entries;
        }
        assert_eq!(*n, expected);
        expected += 1;
    }
    let words = logged().lock().expect("not poisoned").clone();
    let loud = |(level, words): (Level, String)| (level <= Level::WARN).then_some(words);
    (words.into_iter().filter_map(loud).collect(), stats.lost)
}

#[test]
fn a_full_disk_is_one_sentence_and_nothing_is_lost_that_can_wait() {
    for mood in [FULL, HALF] {
        let (words, lost) = suffer(mood, 8 << 20, 2000);
        assert_eq!((words.len(), lost), (2, 0), "{words:?}");
        assert!(words[0].contains("is full") && words[0].contains("market data goes on"), "{words:?}");
        assert!(words[1].contains("takes entries again"), "{words:?}");
    }
}

#[test]
fn a_full_disk_that_stays_full_costs_a_count_that_is_exact() {
    let (words, lost) = suffer(FULL, 1 << 20, 20_000);
    assert!(lost > 1000, "{lost}");
    let said = |part: &str| words.iter().filter(|w| w.contains(part)).count();
    assert_eq!((said("is full"), said("takes nothing"), said("takes entries again")), (1, 1, 1), "{words:?}");
    assert_eq!(said(&format!("{lost} entries")), 1, "{words:?}");
    assert_eq!(words.len(), 4, "{words:?}");
}

#[test]
fn a_read_only_folder_is_one_sentence() {
    let (words, lost) = suffer(READ_ONLY, 8 << 20, 2000);
    assert_eq!((words.len(), lost), (2, 0), "{words:?}");
    assert!(words[0].contains("cannot be written") && words[0].contains("capture.path"), "{words:?}");
}

#[test]
fn a_stalled_disk_holds_nobody_up_and_costs_a_count_that_is_exact() {
    let (words, lost) = suffer(STALLED, 1 << 20, 20_000);
    assert!(lost > 1000, "{lost}");
    assert!(words[0].contains("takes nothing") && words[1].contains(&format!("{lost} entries")), "{words:?}");
    assert_eq!(words.len(), 2, "{words:?}");
    let (words, lost) = suffer(STALLED, 16 << 20, 20_000);
    assert_eq!((words.len(), lost), (0, 0), "what fits waits in silence: {words:?}");
}

/// At the end a disk gets its time and no more.
#[test]
fn a_disk_that_hangs_does_not_hold_up_the_end() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for mood in [STALLED, FULL] {
        logged().lock().expect("not poisoned").clear();
        let folder = tempfile::tempdir().expect("a folder");
        let disk = MoodyDisk::default();
        disk.set(mood);
        let options = Options { keeps_house: false, disk: Arc::new(disk.clone()), ..Options::new(folder.path()) };
        let mut tap = tap(&options, 7, None);
        push(&mut tap, 1, TWO);
        let stats = tap.close(Duration::from_millis(50));
        assert!(stats.waiting > 0, "{stats:?}");
        let words = logged().lock().expect("not poisoned").clone();
        assert!(words.iter().any(|(_, w)| w.contains("are lost")), "{words:?}");
        disk.set(GOOD);
    }
}

#[test]
fn the_budget_deletes_the_oldest_checked_files_and_says_so() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let venue = folder.path().join("kraken");
    let options = Options { keeps_house: false, ..Options::new(folder.path()) };
    let mut writer = tap(&options, 7, None);
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(20_000).collect();
    for hour in 0..6 {
        // Noise does not compress: each file has about the same size.
        writer.input(0, &venues::Input::Frame(&noise), UnixNanos(TWO + hour * HOUR));
    }
    writer.close(PATIENCE);
    let now = UnixNanos(TWO + 6 * HOUR);
    let keep = |bytes, age: Option<u64>, now| {
        logged().lock().expect("not poisoned").clear();
        let keep = Keep { bytes, age: age.map(Duration::from_nanos) };
        keep_house(&venue, Venue::Kraken, keep, 1, now).expect("kept");
        let words = logged().lock().expect("not poisoned").clone();
        (names(&venue).len(), words.iter().filter(|(level, w)| *level == Level::WARN && w.contains("deleted")).count())
    };
    assert_eq!(keep(None, None, now), (6, 0));
    assert_eq!(keep(Some(90_000), None, now), (4, 2));
    assert_eq!(names(&venue)[0], "20250113_04.wslog.zst");
    assert_eq!(keep(None, Some(2 * HOUR + S), now), (2, 2));
    let index = Index::read(&venue, "kraken");
    assert_eq!((index.files.len(), index.deleted.files, index.deleted.until), (2, 4, TWO + 3 * HOUR));
    assert!(capture::verify(&venue).expect("readable").is_sound());
    // A file that is not compressed and checked is never deleted, whatever the budget.
    let mut writer = tap(&options, 8, None);
    writer.input(0, &venues::Input::Frame(&noise), UnixNanos(TWO + 7 * HOUR));
    writer.close(PATIENCE);
    fs::rename(venue.join("20250113_09.wslog"), venue.join("kept")).expect("moved");
    assert_eq!(keep(Some(10), None, now).0, 0);
    assert!(venue.join("kept").exists());
    assert!(logged().lock().expect("not poisoned").iter().any(|(_, w)| w.contains("none of them can be deleted")));
}

/// A memory file system of one mebibyte, filled by somebody else and freed again.
#[test]
fn a_small_file_system_fills_and_frees() {
    const INSIDE: &str = "ALPHAPULSE_TEST_SMALL_DISK";
    let name = "a_small_file_system_fills_and_frees";
    if let Some(mount) = std::env::var_os(INSIDE) {
        return fill(Path::new(&mount));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=1m none {mount} && {INSIDE}={mount} exec {exe} --exact {name} --nocapture",
        mount = folder.path().display(),
        exe = std::env::current_exe().expect("this program").display(),
    );
    let Ok(out) = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output() else {
        return eprintln!("SKIPPED {name}: there is no unshare");
    };
    let words = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    if words.contains("unshare:") || words.contains("mount:") {
        return eprintln!("SKIPPED {name}: no private mount can be made: {words}");
    }
    assert!(out.status.success(), "{words}");
}

fn fill(mount: &Path) {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    logged().lock().expect("not poisoned").clear();
    let options = Options { keeps_house: false, ..Options::new(mount.join("capture")) };
    let mut tap = tap(&options, 7, None);
    let ballast = mount.join("ballast");
    fs::write(&ballast, vec![0; 700 << 10]).expect("written");
    for n in 0..4000 {
        push(&mut tap, n, TWO + n);
    }
    tap.hand_over(UnixNanos(TWO + S));
    wait("the disk to be full", || tap.stats().troubled);
    fs::remove_file(&ballast).expect("freed");
    let stats = tap.close(PATIENCE);
    assert_eq!((stats.lost, stats.waiting), (0, 0), "{stats:?}");
    assert_eq!(read(&mount.join("capture/kraken")).numbers, (0..4000).collect::<Vec<_>>());
    let words = logged().lock().expect("not poisoned").clone();
    assert_eq!(words.iter().filter(|(_, w)| w.contains("is full")).count(), 1, "{words:?}");
}
