//! A reader hammers a table whose writer, a process of its own, is killed at random, over and over: no torn row is ever
//! returned, and after each death the reader is told that the writer is gone.
//!
//! `ALPHAPULSE_TEST_KILLS` says how often (30 by default).

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use common::now_ns;
use ring::Directory;
use ring::table::{Line, Row, Stamp, TableError, TableOptions, TableReader, TableWriter};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const DIRECTORY: &str = "RING_TEST_TABLE_DIRECTORY";
const RUN: &str = "RING_TEST_TABLE_RUN";
const KILLS: &str = "ALPHAPULSE_TEST_KILLS";
/// A hang is a failure, not a stuck build.
const PATIENCE: Duration = Duration::from_secs(60);

const LINES: usize = 29;
const WORDS: usize = LINES * 8 - 3;
const ROWS: u64 = 4;
/// Words that are written beside the head only now and then, as a feed's depth is.
const HEAD: usize = 13;

/// Any mixture of two writes shows: every word says which one it is of.
fn word(counter: u64, at: usize) -> u64 {
    (counter ^ at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Child: writes rows without pause until it is killed. Word 0 and the head follow one counter, the rest another, whose
/// value is in the head, because most writes are of the head alone.
#[test]
fn child_writer() {
    let (Ok(path), Some(run)) = (std::env::var(DIRECTORY), number(RUN)) else { return };
    let directory = Directory::open(Path::new(&path)).unwrap();
    let options = TableOptions { rows: 8, lines: LINES as u32 };
    let mut writer = TableWriter::open(&directory, "stress", options).unwrap();
    writer.beat(now_ns());
    let rows: Vec<Row> = (1..=ROWS).map(|key| writer.claim(key).unwrap()).collect();
    println!("writing {}", writer.repaired());
    for counter in run << 40.. {
        let row = rows[(counter % ROWS) as usize];
        let whole = counter & 3 == 0 || counter < (run << 40) + ROWS;
        writer.update(row, |pen| {
            // Made while the row is open, so that most kills meet a write.
            for at in 0..if whole { WORDS } else { HEAD } {
                pen.put(3 + at, &[word(counter, at)]);
            }
        });
        if counter & 0xfff == 0 {
            writer.beat(now_ns());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a copy is of; panics when it is of more than one write.
fn whole(lines: &[Line]) -> Option<u64> {
    let words = &lines.as_flattened()[3..];
    let of = |at: usize, from: usize| words[at].wrapping_mul(INVERSE) ^ from as u64;
    if words[0] == 0 {
        assert!(words.iter().all(|word| *word == 0), "a row that was emptied has words");
        return None;
    }
    let counter = of(0, 0);
    let head = words.len().min(HEAD);
    assert!((0..head).all(|at| of(at, at) == counter), "TORN head: {lines:?}");
    if words.len() > HEAD {
        let body = of(HEAD, HEAD);
        assert!((HEAD..WORDS).all(|at| of(at, at) == body), "TORN body: {lines:?}");
        assert!(body <= counter, "a body of a later write than its head: {body:#x} {counter:#x}");
    }
    Some(counter)
}

/// Of the multiplier of [`word`].
const INVERSE: u64 = {
    let mut inverse = 1u64;
    let mut step = 0;
    while step < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(inverse.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        step += 1;
    }
    inverse
};

/// Starts the writer, which says how many torn rows it found.
fn start(path: &str, run: u64) -> (Child, u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_writer", "--exact", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).env(DIRECTORY, path).env(RUN, run.to_string());
    let mut child = command.spawn().unwrap();
    let output: ChildStdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(output).lines();
    let said = loop {
        let line = lines.next().expect("the child ended before it wrote").unwrap();
        if let Some((_, repaired)) = line.split_once("writing ") {
            break repaired.trim().parse().unwrap();
        }
    };
    (child, said)
}

#[derive(Default, Debug)]
struct Counts {
    kills: u64,
    copies: u64,
    /// Copies of rows that the present writer has not written.
    stale: u64,
    /// Rows found torn by the next writer.
    repaired: u64,
    /// Kills in the middle of a write.
    in_a_write: u64,
    /// From the kill until the reader was told, the longest.
    told_after_max: Duration,
}

impl Counts {
    /// The writer that follows says how many rows were torn.
    fn found(&mut self, repaired: u64) {
        self.repaired += repaired;
        self.in_a_write += u64::from(repaired > 0);
    }
}

/// Looks at every row until `until`, or until the writer is found to be gone.
fn hammer(reader: &mut TableReader, newest: &mut [u64], counts: &mut Counts, until: Instant) -> Option<TableError> {
    let mut lines = [[0; 8]; LINES];
    while Instant::now() < until {
        let now = now_ns();
        for (at, newest) in newest.iter_mut().enumerate() {
            let Some(row) = reader.find(at as u64 + 1) else { continue };
            // The head alone as often as all of it.
            let part = if counts.copies & 1 == 0 { LINES } else { 2 };
            let read = match lines.first_chunk_mut::<2>() {
                Some(head) if part == 2 => reader.read(row, now, head),
                _ => reader.read(row, now, &mut lines),
            };
            match read {
                Ok(stamp) => see(stamp, &lines[..part], newest, counts),
                Err(error) => return Some(error),
            }
        }
    }
    None
}

fn see(stamp: Stamp, lines: &[Line], newest: &mut u64, counts: &mut Counts) {
    counts.copies += 1;
    let Some(counter) = whole(lines) else {
        assert!(!stamp.current);
        return;
    };
    assert!(counter >= *newest, "the past came back");
    *newest = counter;
    assert!(stamp.generation == counter >> 40, "generation {} of run {}", stamp.generation, counter >> 40);
    counts.stale += u64::from(!stamp.current);
}

#[test]
fn no_torn_row_is_returned_and_every_death_is_told() {
    let kills = number(KILLS).unwrap_or(30);
    let folder = if Path::new("/dev/shm").is_dir() { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let path = folder.path().to_str().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let (mut counts, mut newest) = (Counts::default(), [0; ROWS as usize]);
    let mut random = 0x2545_F491_4F6C_DD1D_u64 ^ now_ns();
    let mut reader = None;
    for run in 1..=kills {
        let (mut writer, repaired) = start(path, run);
        counts.found(repaired);
        let reader = reader.get_or_insert_with(|| TableReader::open(&directory, "stress").unwrap());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let life = Duration::from_micros(200 + (random >> 33) % 5_000);
        let told = hammer(reader, &mut newest, &mut counts, Instant::now() + life);
        assert!(told.is_none(), "a live writer is gone: {told:?}");
        writer.kill().unwrap();
        // Not reaped yet: the reader must learn it from the table, not from us.
        let begun = Instant::now();
        let told = hammer(reader, &mut newest, &mut counts, begun + PATIENCE).expect("nobody tells of the death");
        counts.told_after_max = counts.told_after_max.max(begun.elapsed());
        assert!(matches!(told, TableError::Died { pid, .. } if pid == u64::from(writer.id())), "{told}");
        writer.wait().unwrap();
        counts.kills += 1;
    }
    let last = TableWriter::open(&directory, "stress", TableOptions { rows: 8, lines: LINES as u32 }).unwrap();
    counts.found(last.repaired().into());
    println!("{counts:?}, torn copies returned: 0");
    assert_eq!(counts.kills, kills);
    assert!(counts.copies > kills * ROWS);
    assert!(kills < 30 || counts.in_a_write > 0, "no kill met a write: nothing was tried");
}
