//! Rings as files: creation, takeover, replacement, refusal, and bytes that somebody else wrote.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use common::{now_ns, record};
use ring::{Directory, From, Lost, Mirror, Point, Poll, Reader, RingError, Writer, WriterOptions};
use tempfile::TempDir;

fn open() -> (TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    (folder, directory)
}

fn writer(directory: &Directory, slots: u64, epoch: u64) -> Result<Writer, RingError> {
    Writer::open(directory, "feed", WriterOptions { slots, epoch })
}

fn write(writer: &mut Writer, records: u64) {
    for _ in 0..records {
        writer.push(&record(writer.epoch(), writer.next_sequence()));
        writer.publish(now_ns());
    }
}

/// A hole shows as its last sequence and a million.
fn names(reader: &mut Reader) -> Vec<(u64, u64)> {
    let mut names = Vec::new();
    loop {
        let polled = reader.poll(64, |entry, words| {
            assert_eq!(words, record(entry.epoch, entry.sequence));
            names.push((entry.epoch, entry.sequence));
        });
        match polled.unwrap() {
            Poll::Records(_) => {}
            Poll::Lapped(lost) => panic!("{lost:?}"),
            Poll::Missing(lost) => names.push((lost.epoch, lost.last.expect("known") + 1_000_000)),
            Poll::Idle | Poll::Retired => return names,
        }
    }
}

#[track_caller]
fn refused<T>(result: Result<T, RingError>, says: &str) {
    let error = result.err().expect("should have been refused").to_string();
    assert!(error.contains(says), "{error:?} does not say {says:?}");
}

#[test]
fn a_second_writer_is_refused_by_pid_until_the_first_ends() {
    let (_folder, directory) = open();
    let first = writer(&directory, 128, 1).unwrap();
    let reader = first.reader().unwrap();
    refused(writer(&directory, 128, 2), &format!("is being written by process {}", std::process::id()));
    drop(first);
    assert_eq!(reader.writer_pid(), None);
    assert!(writer(&directory, 128, 2).unwrap().taken_over());
}

#[test]
fn a_takeover_reads_back_what_was_and_readers_follow() {
    let (_folder, directory) = open();
    let mut first = writer(&directory, 1024, 1).unwrap();
    assert!(!first.taken_over() && first.before().unwrap().is_none());
    write(&mut first, 5);
    let mut reader = Reader::open(&directory, "feed").unwrap();
    drop(first);
    let mut second = writer(&directory, 1024, 2).unwrap();
    assert_eq!(second.generation(), 2);
    assert_eq!(names(&mut second.before().unwrap().unwrap()).len(), 5);
    write(&mut second, 2);
    assert_eq!(names(&mut reader)[4..], [(1, 5), (2, 1), (2, 2)]);
    refused(writer(&directory, 1024, 3), "is being written");
    drop(second);
    refused(writer(&directory, 1024, 2), "epoch 2 is not newer than epoch 2");
}

#[test]
fn pushed_records_are_published_at_the_end() {
    let (_folder, directory) = open();
    let mut writer = writer(&directory, 128, 1).unwrap();
    let mut reader = Reader::open(&directory, "feed").unwrap();
    writer.push(&record(1, 1));
    assert_eq!(names(&mut reader), []);
    drop(writer);
    assert_eq!(names(&mut reader), [(1, 1)]);
}

#[test]
fn another_capacity_is_another_file_and_readers_reopen_by_name() {
    let (folder, directory) = open();
    let mut first = writer(&directory, 128, 1).unwrap();
    write(&mut first, 6);
    let mut reader = Reader::open(&directory, "feed").unwrap();
    let mut late = Reader::open(&directory, "feed").unwrap();
    late.poll(1, |_, _| {}).unwrap();
    drop(first);
    let mut second = writer(&directory, 256, 2).unwrap();
    assert_eq!((second.generation(), second.taken_over()), (2, true));
    assert_eq!(names(&mut second.before().unwrap().unwrap()).len(), 6);
    write(&mut second, 2);

    assert_eq!(names(&mut reader).len(), 6);
    assert_eq!(reader.poll(64, |_, _| {}).unwrap(), Poll::Retired);
    assert!(!reader.is_current(&directory).unwrap());
    reader.reopen(&directory).unwrap();
    assert!(reader.is_current(&directory).unwrap());
    assert_eq!(names(&mut reader), [(2, 1), (2, 2)]);

    // Who leaves the retired file early is told what stayed behind.
    late.reopen(&directory).unwrap();
    let lost = late.poll(64, |_, _| {}).unwrap();
    assert_eq!(lost, Poll::Lapped(vec![Lost { epoch: 1, first: 2, last: Some(6) }]));
    assert_eq!(names(&mut late), [(2, 1), (2, 2)]);
    assert_eq!(fs::metadata(folder.path().join("feed.ring")).unwrap().len(), 4096 + 256 * 64);
}

#[test]
fn no_wake_is_issued_while_nobody_sleeps() {
    let (_folder, directory) = open();
    let mut writer = writer(&directory, 128, 1).unwrap();
    let mut reader = Reader::open(&directory, "feed").unwrap();
    let before = directory.doorbell().wakes();
    for _ in 0..1000 {
        write(&mut writer, 1);
        names(&mut reader);
    }
    assert_eq!(directory.doorbell().wakes(), before);

    let ticket = directory.doorbell().arm();
    write(&mut writer, 50);
    assert_eq!(directory.doorbell().wakes(), before + 1);
    // The word has changed since the ticket was drawn, so this returns at once.
    directory.doorbell().wait(ticket, None);
}

#[test]
fn one_reader_sleeps_on_many_rings_and_a_shutdown_wakes_it() {
    let (_folder, directory) = open();
    // Room for all that is written, however late the reader begins.
    let options = WriterOptions { slots: 4096, epoch: 1 };
    let mut left = Writer::open(&directory, "left", options).unwrap();
    let mut right = Writer::open(&directory, "right", options).unwrap();
    assert_eq!(directory.rings().unwrap(), ["left", "right"]);
    let path = directory.path().to_owned();
    let sleeper = std::thread::spawn(move || {
        // An own mapping, as another process would have.
        let directory = Directory::open(&path).unwrap();
        let mut readers = ["left", "right"].map(|name| Reader::open(&directory, name).unwrap());
        let mut seen = 0;
        while seen < 200 {
            let before = seen;
            readers.iter_mut().for_each(|reader| seen += names(reader).len());
            let ticket = directory.doorbell().arm();
            if seen == before && !readers.iter().any(Reader::has_news) {
                directory.doorbell().wait(ticket, None);
            }
        }
        let ticket = directory.doorbell().arm();
        directory.doorbell().wait(ticket, None);
        seen
    });
    for _ in 0..100 {
        write(&mut left, 1);
        write(&mut right, 1);
        std::thread::yield_now();
    }
    while !sleeper.is_finished() {
        directory.doorbell().ring();
        std::thread::yield_now();
    }
    assert_eq!(sleeper.join().unwrap(), 200);
}

#[test]
fn a_sleep_ends_with_its_time_out() {
    let (_folder, directory) = open();
    let ticket = directory.doorbell().arm();
    directory.doorbell().wait(ticket, Some(Duration::from_millis(5)));
}

#[test]
fn names_and_sizes_that_cannot_be_are_refused() {
    let (_folder, directory) = open();
    for name in ["", "../feed", "a/b", ".hidden", "a b", "ä", "nul\0", &"x".repeat(65)] {
        refused(Reader::open(&directory, name), "is not usable");
        refused(Writer::open(&directory, name, WriterOptions { slots: 128, epoch: 1 }), "is not usable");
    }
    for slots in [0, 1, 64, 129, 1 << 31, u64::MAX] {
        refused(writer(&directory, slots, 1), "a power of two from 128");
    }
    refused(Reader::open(&directory, "feed"), "its feed has not been started");
    refused(writer(&directory, 128, 0), "epoch 0 is not newer");
    assert_eq!(directory.rings().unwrap(), [""; 0]);
}

#[test]
fn links_and_strange_files_are_not_followed() {
    let (folder, directory) = open();
    drop(writer(&directory, 128, 1).unwrap());
    symlink(folder.path().join("feed.ring"), folder.path().join("link.ring")).unwrap();
    fs::create_dir(folder.path().join("folder.ring")).unwrap();
    refused(Reader::open(&directory, "link"), "symbolic link");
    refused(Writer::open(&directory, "link", WriterOptions { slots: 128, epoch: 2 }), "symbolic link");
    refused(Reader::open(&directory, "folder"), "not a regular file");
    symlink(folder.path(), folder.path().join("elsewhere")).unwrap();
    refused(Directory::open(&folder.path().join("elsewhere")), "cannot open directory");
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("feed.ring") & !0o640, 0);
    assert_eq!(mode("directory"), 0o660);
}

/// Opens a damaged ring in every way there is; nothing may crash.
fn exercise(directory: &Directory) -> Result<(), RingError> {
    let mut reader = Reader::open(directory, "feed")?;
    let mut polls = Ok(());
    for from in [From::Oldest, From::Now, From::Time(50), From::Sequence { epoch: 1, sequence: 20 }] {
        polls = polls.and(reader.attach(from));
        for _ in 0..4 {
            polls = polls.and(reader.poll(64, |_, words| assert!(words.len() < 256)).map(|_| ()));
        }
    }
    polls = polls.and(reader.skip().map(|_| ()));
    polls.and(writer(directory, 128, u64::MAX / 2).map(|mut writer| write(&mut writer, 200)))
}

fn damaged(bytes: &[(u64, &[u8])]) -> (TempDir, Result<(), RingError>) {
    let (folder, directory) = open();
    write(&mut writer(&directory, 128, 1).unwrap(), 60);
    let file = OpenOptions::new().write(true).open(folder.path().join("feed.ring")).unwrap();
    for (offset, bytes) in bytes {
        file.write_all_at(bytes, *offset).unwrap();
    }
    let result = exercise(&directory);
    (folder, result)
}

#[test]
fn a_hostile_header_is_an_error_in_words() {
    let word = u64::to_le_bytes;
    refused(damaged(&[(0, b"NOTARING")]).1, "wrong magic");
    refused(damaged(&[(8, &1u32.to_le_bytes())]).1, "has layout version 1, this program speaks 2");
    refused(damaged(&[(12, &[0; 4])]).1, "header has another size");
    refused(damaged(&[(16, &word(127))]).1, "capacity is not a ring's");
    refused(damaged(&[(16, &word(1 << 63))]).1, "capacity is not a ring's");
    refused(damaged(&[(16, &word(256))]).1, "size does not fit");
    refused(damaged(&[(64, &word(0))]).1, "no generation");
    refused(damaged(&[(64, &word(9))]).1, "no newest entry");
    refused(damaged(&[(128, &word(0))]).1, "cursors contradict");
    refused(damaged(&[(192, &word(u64::MAX))]).1, "cursors contradict");
    assert!(damaged(&[]).1.is_ok());
}

#[test]
fn random_bytes_are_errors_or_harmless() {
    // A fixed seed: a failure is repeated by running again.
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut errors = 0;
    for round in 0..400 {
        let count = 1 + random() % 4;
        let writes: Vec<(u64, Vec<u8>)> = (0..count)
            .map(|_| {
                // Past the identity more often than not, else nothing else would ever be tried.
                let offset = if round % 4 == 0 { random() % 64 } else { 64 + random() % 800 };
                let offset = if round % 5 == 4 { 4096 + random() % (128 * 64) } else { offset };
                let value = if random() % 2 == 0 { random() } else { random() % 300 };
                (offset & !7, value.to_le_bytes().to_vec())
            })
            .collect();
        let writes: Vec<(u64, &[u8])> = writes.iter().map(|(offset, bytes)| (*offset, bytes.as_slice())).collect();
        errors += u32::from(damaged(&writes).1.is_err());
    }
    assert!(errors > 50, "only {errors} of 400 damaged rings were noticed");
}

#[test]
fn files_of_the_wrong_size_are_refused() {
    let (folder, directory) = open();
    let path = folder.path().join("feed.ring");
    for (bytes, says) in [(0, "shorter"), (4095, "shorter"), (4096, "wrong magic"), (1 << 20, "wrong magic")] {
        File::create(&path).unwrap().set_len(bytes).unwrap();
        refused(Reader::open(&directory, "feed"), says);
        refused(writer(&directory, 128, 1), says);
    }
    fs::remove_file(&path).unwrap();
    drop(writer(&directory, 128, 1).unwrap());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..4096 + 127 * 64]).unwrap();
    refused(Reader::open(&directory, "feed"), "size does not fit");
    // A hole where the slots should be.
    fs::remove_file(&path).unwrap();
    let file = File::create(&path).unwrap();
    file.write_all_at(&whole[..4096], 0).unwrap();
    file.set_len(4096 + 128 * 64).unwrap();
    refused(Reader::open(&directory, "feed"), "has holes");
}

#[test]
fn a_foreign_directory_segment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("directory"), [0; 4096]).unwrap();
    refused(Directory::open(folder.path()), "wrong magic");
    fs::write(folder.path().join("directory"), [0; 10]).unwrap();
    refused(Directory::open(folder.path()), "wrong size");
    let (made, directory) = open();
    drop(directory);
    let file = OpenOptions::new().write(true).open(made.path().join("directory")).unwrap();
    file.write_all_at(&7u32.to_le_bytes(), 8).unwrap();
    refused(Directory::open(made.path()), "has layout version 7, this program speaks 2");
}

#[test]
fn a_creation_cut_short_is_cleaned_up_by_the_next() {
    let (folder, directory) = open();
    fs::write(folder.path().join(".feed.ring.tmp"), b"left behind by a killed writer").unwrap();
    write(&mut writer(&directory, 128, 1).unwrap(), 3);
    assert!(!folder.path().join(".feed.ring.tmp").exists());
    assert_eq!(names(&mut Reader::open(&directory, "feed").unwrap()).len(), 3);
}

#[test]
fn many_processes_worth_of_threads_open_one_directory_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("rings");
    let opened: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let directory = Directory::open(&path).unwrap();
                let writer = writer(&directory, 128, 1).ok();
                (directory, writer)
            })
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(opened.iter().filter(|(_, writer)| writer.is_some()).count(), 1);
    let left: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

const FULL: &str = "RING_TEST_FULL";

/// Child, in a mount namespace of its own: a file system of 64 KiB.
#[test]
fn child_on_a_full_file_system() {
    let Ok(path) = std::env::var(FULL) else { return };
    let directory = Directory::open(Path::new(&path)).unwrap();
    write(&mut writer(&directory, 128, 1).unwrap(), 300);
    let refused = Writer::open(&directory, "large", WriterOptions { slots: 4096, epoch: 1 });
    assert!(matches!(refused, Err(RingError::Full { bytes: 266_240, .. })));
    self::refused(refused, "free shared memory or configure a smaller ring");
    // Growing a ring that does not fit leaves the old one alone.
    assert!(matches!(writer(&directory, 4096, 2), Err(RingError::Full { .. })));
    write(&mut writer(&directory, 128, 2).unwrap(), 300);
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["directory", "feed.ring"]);
    println!("survived a full file system");
}

#[test]
fn a_full_file_system_is_an_error_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path()).arg(std::env::current_exe().unwrap());
    command.args(["child_on_a_full_file_system", "--exact", "--nocapture"]).env(FULL, folder.path());
    let allowed = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t tmpfs -o size=64k none \"$1\"", "sh"])
        .arg(folder.path())
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED a_full_file_system_is_an_error_not_a_crash: no right to mount a tmpfs");
        return;
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("survived a full file system"), "{said}");
}

const ORIGIN: u64 = 77;

fn repeat(mirror: &mut Mirror, epoch: u64, sequences: impl Iterator<Item = u64>) {
    for sequence in sequences {
        mirror.push(Point { epoch, sequence }, &record(epoch, sequence)).unwrap();
    }
    mirror.publish(now_ns());
}

#[test]
fn a_mirror_keeps_the_names_of_what_it_repeats() {
    let (_folder, directory) = open();
    let claim = |slots| Mirror::open(&directory, "feed", slots, ORIGIN).unwrap();
    let mut mirror = claim(128);
    assert_eq!(mirror.next(), None);
    repeat(&mut mirror, 7, 40..43);
    let mut reader = Reader::open(&directory, "feed").unwrap();
    assert_eq!(reader.origin(), Some(ORIGIN));
    assert_eq!(names(&mut reader), [(7, 40), (7, 41), (7, 42)]);
    // What another process would do after a crash or an orderly end.
    drop(mirror);
    let mut mirror = claim(128);
    assert_eq!(mirror.next(), Some(Point { epoch: 7, sequence: 43 }));
    repeat(&mut mirror, 7, 43..45);
    repeat(&mut mirror, 7, 50..51);
    assert_eq!(names(&mut reader), [(7, 43), (7, 44), (7, 1_000_049), (7, 50)]);
    // Names only rise.
    let error = mirror.push(Point { epoch: 7, sequence: 50 }, &record(7, 50)).unwrap_err();
    assert!(error.to_string().contains("sequence 51 of epoch 7 is next"), "{error}");
    // The end of a run, all of another, and the beginning of a third.
    mirror.lose(Lost { epoch: 7, first: 51, last: Some(60) }).unwrap();
    mirror.lose(Lost { epoch: 8, first: 1, last: Some(5) }).unwrap();
    mirror.lose(Lost { epoch: 7, first: 51, last: Some(60) }).unwrap();
    repeat(&mut mirror, 9, 1..3);
    assert_eq!(names(&mut reader), [(7, 1_000_060), (8, 1_000_005), (9, 1), (9, 2)]);
    // An end that nobody knows.
    mirror.lose(Lost { epoch: 9, first: 3, last: None }).unwrap();
    repeat(&mut mirror, 12, 1..2);
    assert_eq!(reader.poll(64, |_, _| {}).unwrap(), Poll::Missing(Lost { epoch: 9, first: 3, last: None }));
    assert_eq!(names(&mut reader), [(12, 1)]);
    // Another capacity: readers go on in the successor, which begins behind what the old file holds.
    drop(mirror);
    let mut mirror = claim(256);
    assert_eq!(mirror.next(), Some(Point { epoch: 12, sequence: 2 }));
    repeat(&mut mirror, 12, 2..4);
    assert_eq!(reader.poll(64, |_, _| {}).unwrap(), Poll::Retired);
    reader.reopen(&directory).unwrap();
    assert_eq!(names(&mut reader), [(12, 2), (12, 3)]);
}

#[test]
fn a_mirror_and_a_feed_do_not_share_a_ring() {
    let (_folder, directory) = open();
    let mut feed = writer(&directory, 128, 1).unwrap();
    write(&mut feed, 3);
    refused(Mirror::open(&directory, "feed", 128, ORIGIN), "being written by process");
    drop(feed);
    refused(Mirror::open(&directory, "feed", 128, ORIGIN), "a feed of this machine");
    let mut mirror = Mirror::open(&directory, "other", 128, ORIGIN).unwrap();
    repeat(&mut mirror, 7, 1..4);
    refused(Mirror::open(&directory, "other", 128, ORIGIN), "being written by process");
    drop(mirror);
    refused(Mirror::open(&directory, "other", 128, ORIGIN + 1), "another machine");
    // A feed may take it over; the repeated run then ends nobody here knows where.
    let mut reader = Reader::open(&directory, "other").unwrap();
    let mut feed = Writer::open(&directory, "other", WriterOptions { slots: 128, epoch: 8 }).unwrap();
    write(&mut feed, 1);
    assert_eq!(
        names_until_missing(&mut reader),
        (vec![(7, 1), (7, 2), (7, 3)], Lost { epoch: 7, first: 4, last: None })
    );
    assert_eq!((names(&mut reader), reader.origin()), (vec![(8, 1)], None));
}

fn names_until_missing(reader: &mut Reader) -> (Vec<(u64, u64)>, Lost) {
    let mut names = Vec::new();
    loop {
        let polled = reader.poll(64, |entry, _| names.push((entry.epoch, entry.sequence)));
        if let Poll::Missing(lost) = polled.unwrap() {
            return (names, lost);
        }
    }
}
