//! Files turn with the hour, with their size and with the run; compressed ones read as they did before, from any time on.

mod common;

use capture::{Index, Keep, Options, Played, Player, Reader, keep_house, run_of};
use common::{HOUR, S, TWO, names, push, read, read_from, tap};
use model::{UnixNanos, Venue};
use std::{fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn files_turn_with_the_hour_of_the_receive_time_and_with_each_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let venue = folder.path().join("kraken");
    let options = Options { keeps_house: false, ..Options::new(folder.path()) };
    let mut first = tap(&options, 7, None);
    for (number, time) in [(0, TWO + 1), (1, TWO + HOUR - 1), (2, TWO + HOUR), (3, TWO + 3 * HOUR + S)] {
        push(&mut first, number, time);
    }
    first.close(PATIENCE);
    // The next run within the hour leaves the file of the one before alone.
    let mut second = tap(&options, 8, None);
    push(&mut second, 4, TWO + 3 * HOUR + 2 * S);
    second.close(PATIENCE);
    let expected = ["20250113_02.wslog", "20250113_03.wslog", "20250113_05.wslog", "20250113_05_001.wslog"];
    assert_eq!(names(&venue), expected);
    let numbers = expected.map(|name| read(&venue.join(name)).numbers);
    assert_eq!(numbers, [vec![0, 1], vec![2], vec![3], vec![4]]);
    let runs = expected.map(|name| run_of(&venue.join(name)).expect("readable").map(|run| (run.epoch, run.piece)));
    assert_eq!(runs, [Some((7, 0)), Some((7, 1)), Some((7, 2)), Some((8, 0))]);
    assert_eq!(read(&venue).numbers, [0, 1, 2, 3, 4]);
    // A player follows a run over its files, and does not begin in the middle of one.
    let steps = |mut player: Player| {
        let (mut steps, mut runs) = (0, vec![]);
        while let Some(played) = player.next().expect("readable") {
            match played {
                Played::Run { run, whole } => runs.push((run.epoch, whole)),
                Played::Step(_) => steps += 1,
                _ => panic!("nothing is missing"),
            }
        }
        (steps, runs)
    };
    assert_eq!(steps(Player::open(&venue).expect("captures")), (5, vec![(7, true), (8, true)]));
    let from_the_middle = Player::open(&venue.join("20250113_03.wslog")).expect("a capture");
    assert_eq!(steps(from_the_middle), (0, vec![(7, false)]));
    let files = |from, until| capture::files_for(&venue, UnixNanos(from), UnixNanos(until)).expect("files").len();
    assert_eq!(files(TWO + HOUR, TWO + 2 * HOUR), 2, "from the run's beginning");
    assert_eq!(files(TWO + 3 * HOUR, u64::MAX), 4, "either run may reach into the hour");
    assert_eq!(files(TWO + 4 * HOUR, u64::MAX), 1);
}

#[test]
fn a_large_file_is_followed_by_another_within_the_hour() {
    let folder = tempfile::tempdir().expect("a folder");
    let venue = folder.path().join("kraken");
    let options = Options { keeps_house: false, piece_bytes: 20_000, ..Options::new(folder.path()) };
    let mut tap = tap(&options, 7, None);
    (0..1000).for_each(|n| push(&mut tap, n, TWO + n));
    assert_eq!(tap.close(PATIENCE).written, 1000 * 32 + (0..1000).map(|n| common::frame(n).len() as u64).sum::<u64>());
    assert_eq!(read(&venue).numbers, (0..1000).collect::<Vec<_>>());
    for name in names(&venue) {
        let size = fs::metadata(venue.join(&name)).expect("a file").len();
        assert!(size <= 20_000 + 32 + 400, "{name}: {size}");
    }
    assert!(names(&venue).len() > 5, "{:?}", names(&venue));
}

#[test]
fn a_compressed_file_reads_like_the_plain_one_from_any_time_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let venue = folder.path().join("kraken");
    let options = Options { keeps_house: false, ..Options::new(folder.path()) };
    let mut tap = tap(&options, 7, None);
    // Some frames of the compressed file, and moments in which many entries have the same time.
    const FRAMES: u64 = 30_000;
    let time = |n: u64| TWO + n / 7 * 1_000_000;
    (0..FRAMES).for_each(|n| push(&mut tap, n, time(n)));
    assert_eq!(tap.close(PATIENCE).lost, 0);
    let plain = venue.join("20250113_02.wslog");
    let content = fs::read(&plain).expect("the file");
    let copy = folder.path().join("20250113_02.wslog");
    fs::write(&copy, &content).expect("written");
    assert_eq!(keep_house(&venue, Venue::Kraken, Keep::default(), 3, UnixNanos(TWO)).expect("kept"), 1);
    assert!(!plain.exists());
    let packed = venue.join("20250113_02.wslog.zst");
    let mut unpacked = vec![];
    capture::unpack(&packed, &mut unpacked).expect("zstd reads it");
    assert!(unpacked == content, "zstd gives the plain file");
    let index = Index::read(&venue, "kraken");
    let info = index.file("20250113_02.wslog.zst").expect("it is in the index");
    assert_eq!((info.entries, info.frames_in, info.bytes), (FRAMES + 1, FRAMES, content.len() as u64));
    assert_eq!(info.stored_bytes, fs::metadata(&packed).expect("a file").len());
    assert!(info.seek.len() > 3 && info.seek.is_sorted() && info.seek[0].1 == 0, "{:?}", info.seek);
    // The index's places are entries' beginnings.
    for (time, offset) in &info.seek[1..] {
        let at = usize::try_from(*offset).expect("small") + 8;
        assert_eq!(u64::from_le_bytes(content[at..at + 8].try_into().expect("8 bytes")), *time);
    }
    let within = |path, from, until| {
        let reader = Reader::open(path).expect("a capture").within(UnixNanos(from), UnixNanos(until));
        read_from(reader.expect("seekable"))
    };
    let mut random = fastrand::Rng::with_seed(11);
    let ends = [(0, u64::MAX), (TWO, time(FRAMES)), (time(FRAMES) + 1, u64::MAX), (TWO, TWO)];
    let others = (0..40).map(|_| (time(random.u64(..FRAMES)) + random.u64(..2), time(random.u64(..FRAMES))));
    for (from, until) in ends.into_iter().chain(others.collect::<Vec<_>>()) {
        let expected: Vec<u64> = (0..FRAMES).filter(|n| (from..until).contains(&time(*n))).collect();
        assert_eq!(within(&copy, from, until).numbers, expected, "plain, {from} to {until}");
        assert_eq!(within(&packed, from, until).numbers, expected, "compressed, {from} to {until}");
    }
    // What somebody else compressed has no table and reads all the same.
    let theirs = folder.path().join("theirs.wslog.zst");
    fs::write(&theirs, zstd::stream::encode_all(&content[..], 1).expect("compressed")).expect("written");
    assert_eq!(read(&theirs), read(&copy));
}

#[test]
fn a_run_finds_and_compresses_what_an_earlier_one_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let venue = folder.path().join("kraken");
    let first = Options { keeps_house: false, ..Options::new(folder.path()) };
    let mut old = tap(&first, 7, None);
    (0..100).for_each(|n| push(&mut old, n, TWO + n));
    old.close(PATIENCE);
    let mut new = tap(&Options::new(folder.path()), 8, None);
    push(&mut new, 100, TWO + S);
    // Handed over, so that the thread takes the folder.
    new.hand_over(UnixNanos(TWO + 2 * S));
    let begin = std::time::Instant::now();
    while !(venue.join("20250113_02.wslog.zst").exists() && Index::read(&venue, "").files.len() == 1) {
        assert!(begin.elapsed() < PATIENCE, "it was never compressed");
        std::thread::sleep(Duration::from_millis(5));
    }
    push(&mut new, 101, TWO + 2 * S);
    new.close(PATIENCE);
    assert_eq!(names(&venue), ["20250113_02.wslog.zst", "20250113_02_001.wslog"]);
    assert_eq!(read(&venue).numbers, (0..102).collect::<Vec<_>>());
}
