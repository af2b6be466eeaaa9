//! A process killed while it writes leaves a file that tells all that reached the disk; the next run goes on beside it.

mod common;

use capture::{Keep, Options, keep_house};
use common::{TWO, names, push, read, tap};
use model::{UnixNanos, Venue};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const INSIDE: &str = "ALPHAPULSE_TEST_CAPTURES_UNTIL_KILLED";

/// Writes until it is killed.
fn write(folder: &Path, epoch: u64) -> ! {
    let options = Options { keeps_house: false, ..Options::new(folder) };
    let mut tap = tap(&options, epoch, None);
    for n in 0.. {
        push(&mut tap, n, TWO + epoch * 1_000_000_000 + n);
        if n % 64 == 0 {
            // Pieces of all sizes are on their way when the end comes.
            tap.hand_over(UnixNanos(u64::MAX));
            std::thread::yield_now();
        }
    }
    unreachable!("numbers do not end")
}

#[test]
fn a_kill_while_writing_costs_no_entry_before_the_last_write() {
    if let (Some(folder), Ok(epoch)) = (std::env::var_os(INSIDE), std::env::var("ALPHAPULSE_TEST_EPOCH")) {
        write(Path::new(&folder), epoch.parse().expect("a number"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let venue = folder.path().join("kraken");
    let mut random = fastrand::Rng::with_seed(17);
    let kills: u64 = std::env::var("ALPHAPULSE_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let mut torn = 0;
    for epoch in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_kill_while_writing_costs_no_entry_before_the_last_write"])
            .env(INSIDE, folder.path())
            .env("ALPHAPULSE_TEST_EPOCH", epoch.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let begin = Instant::now();
        let written =
            || names(&venue).last().and_then(|n| std::fs::metadata(venue.join(n)).ok()).map_or(0, |m| m.len());
        let goal = random.u64(1_000..2_000_000);
        while !venue.exists() || (names(&venue).len() as u64) <= epoch || written() < goal {
            assert!(begin.elapsed() < Duration::from_secs(60), "it writes nothing");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().expect("it lives until it is killed");
        child.wait().expect("it is dead");
        let last = venue.join(names(&venue).last().expect("a file"));
        let all = read(&last);
        assert_eq!(all.numbers, (0..all.numbers.len() as u64).collect::<Vec<_>>(), "epoch {epoch}");
        assert!(all.numbers.len() > 1 && all.lost.is_empty(), "epoch {epoch}");
        assert!(all.damage.iter().all(|(_, _, cut)| *cut), "{:?}", all.damage);
        torn += all.damage.len();
    }
    assert_eq!(names(&venue).len() as u64, kills, "each run has a file of its own");
    let before = read(&venue).numbers;
    keep_house(&venue, Venue::Kraken, Keep::default(), 1, UnixNanos(TWO)).expect("kept");
    assert_eq!(read(&venue).numbers, before);
    let verified = capture::verify(&venue).expect("readable");
    assert_eq!(verified.files.iter().map(|f| f.frames_in).sum::<u64>(), before.len() as u64);
    println!("{kills} kills, {torn} torn ends, {} frames kept", before.len());
}
