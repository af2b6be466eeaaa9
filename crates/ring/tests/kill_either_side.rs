//! Writers and readers in processes of their own, killed with SIGKILL in full flight: every record is delivered in
//! order or named as lost, no copy is torn, and the survivors never stop.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{checksum, now_ns, record};
use ring::{Directory, From, Lost, Poll, Reader, RingError, Writer, WriterOptions};

const DIRECTORY: &str = "RING_TEST_DIRECTORY";
const EPOCH: &str = "RING_TEST_EPOCH";
const SLOTS: &str = "RING_TEST_SLOTS";
const RECORDS: &str = "RING_TEST_RECORDS";
const UNTIL_EPOCH: &str = "RING_TEST_UNTIL_EPOCH";
/// A hang is a failure, not a stuck build.
const PATIENCE: Duration = Duration::from_secs(60);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Starts this test binary again, to run the one test `role` with these variables.
fn spawn(role: &str, variables: &[(&str, String)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([role, "--exact", "--nocapture", "--test-threads=1"]).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, value) in variables {
        command.env(name, value);
    }
    command.spawn().unwrap()
}

/// Child: writes `RECORDS` records in batches of changing size, then ends in good order.
#[test]
fn child_writer() {
    let (Ok(path), Some(epoch)) = (std::env::var(DIRECTORY), variable(EPOCH)) else { return };
    let directory = Directory::open(Path::new(&path)).unwrap();
    let slots = variable(SLOTS).unwrap();
    let mut writer = Writer::open(&directory, "stress", WriterOptions { slots, epoch }).unwrap();
    let records = variable(RECORDS).unwrap();
    while writer.next_sequence() <= records {
        let batch = 1 + writer.next_sequence() % 97;
        for _ in 0..batch.min(records + 1 - writer.next_sequence()) {
            writer.push(&record(epoch, writer.next_sequence()));
        }
        writer.publish(now_ns());
    }
}

/// Keeps the books of one reader: what was delivered, what was named lost, and that there is nothing between.
struct Ledger {
    reader: Reader,
    at: (u64, u64),
    delivered: u64,
    lost: u64,
    /// Epochs whose end was told by a loss or by the next epoch, with their last sequence.
    ended: Vec<(u64, u64)>,
}

impl Ledger {
    fn new(reader: Reader) -> Ledger {
        let next = reader.next();
        Ledger { reader, at: (next.epoch, next.sequence), delivered: 0, lost: 0, ended: Vec::new() }
    }

    fn expect(&mut self, epoch: u64, sequence: u64) {
        if epoch != self.at.0 {
            assert!(epoch > self.at.0);
            assert_eq!(sequence, 1, "epoch {epoch} does not begin at its first record");
            self.ended.push((self.at.0, self.at.1 - 1));
            self.at = (epoch, 1);
        }
        assert_eq!((epoch, sequence), self.at);
    }

    fn lose(&mut self, lost: &Lost) {
        self.expect(lost.epoch, lost.first);
        self.lost += lost.count().unwrap();
        self.at.1 = lost.last.unwrap() + 1;
    }

    fn poll(&mut self) -> Poll {
        let mut names = Vec::new();
        let polled = self.reader.poll(64, |entry, words| {
            assert_eq!(checksum(words), words[3], "torn copy of {entry:?}");
            assert_eq!(words, record(entry.epoch, entry.sequence));
            names.push(entry);
        });
        for entry in names {
            self.expect(entry.epoch, entry.sequence);
            self.at.1 += 1;
            self.delivered += 1;
        }
        match polled {
            Ok(Poll::Lapped(lost)) => {
                lost.iter().for_each(|lost| self.lose(lost));
                Poll::Lapped(lost)
            }
            Ok(other) => other,
            Err(RingError::Contended { .. }) => Poll::Idle,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Child: reads until `UNTIL_EPOCH` was read to record `RECORDS`, sleeping on the doorbell; prints its ledger.
#[test]
fn child_reader() {
    let (Ok(path), Some(until)) = (std::env::var(DIRECTORY), variable(UNTIL_EPOCH)) else { return };
    let directory = Directory::open(Path::new(&path)).unwrap();
    let mut ledger = Ledger::new(Reader::open(&directory, "stress").unwrap());
    println!("reading");
    let end = (until, variable(RECORDS).unwrap() + 1);
    let begun = Instant::now();
    while ledger.at != end {
        assert!(begun.elapsed() < PATIENCE, "stuck at {:?}, {:?}", ledger.at, ledger.reader.next());
        match ledger.poll() {
            Poll::Idle => {
                let ticket = directory.doorbell().arm();
                if !ledger.reader.has_news() {
                    // Long enough that a lost wake-up would show as a stuck test when nothing else rings.
                    directory.doorbell().wait(ticket, Some(PATIENCE));
                }
            }
            Poll::Retired => ledger.reader.reopen(&directory).unwrap(),
            Poll::Missing(lost) => panic!("a feed leaves nothing out: {lost:?}"),
            Poll::Records(_) | Poll::Lapped(_) => {}
        }
    }
    println!("done delivered={} lost={} ended={:?}", ledger.delivered, ledger.lost, ledger.ended);
}

fn started(child: &mut Child) -> BufReader<ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut output, "reading");
    output
}

fn wait_for(output: &mut impl BufRead, word: &str) -> String {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended before it said {word:?}");
    }
    line
}

#[test]
fn writers_are_killed_and_readers_account_for_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let directory = Directory::open(folder.path()).unwrap();
    let slots = |round: u64| if round == 4 { 2048u64 } else { 1024 };
    drop(Writer::open(&directory, "stress", WriterOptions { slots: 1024, epoch: 1 }).unwrap());

    let rounds = 7;
    let last_records = 50_000;
    let reader_variables =
        [(DIRECTORY, path.clone()), (UNTIL_EPOCH, (rounds + 1).to_string()), (RECORDS, last_records.to_string())];
    let mut readers: Vec<_> = (0..2).map(|_| spawn("child_reader", &reader_variables)).collect();
    let mut outputs: Vec<_> = readers.iter_mut().map(started).collect();
    let mut victim = spawn("child_reader", &reader_variables);
    started(&mut victim);

    for round in 1..=rounds {
        let records = if round == rounds { last_records } else { u64::MAX >> 20 };
        let mut writer = spawn(
            "child_writer",
            &[
                (DIRECTORY, path.clone()),
                (EPOCH, (round + 1).to_string()),
                (SLOTS, slots(round).to_string()),
                (RECORDS, records.to_string()),
            ],
        );
        if round == rounds {
            assert!(writer.wait().unwrap().success());
            break;
        }
        let mut watcher = await_epoch(&directory, round + 1);
        std::thread::sleep(Duration::from_millis(20 + round * 13));
        if round == 2 {
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // The dead writer is still named, the file stays readable, and its published end holds.
        assert_eq!(watcher.writer_pid(), Some(u64::from(writer.id())));
        watcher.attach(From::Oldest).unwrap();
        let mut ledger = Ledger::new(watcher);
        while !matches!(ledger.poll(), Poll::Idle | Poll::Retired) {}
        assert!(ledger.delivered > 0);
    }
    let mut lines = Vec::new();
    for (reader, output) in readers.iter_mut().zip(&mut outputs) {
        lines.push(wait_for(output, "done"));
        assert!(reader.wait().unwrap().success());
    }
    // Both readers agree on where each killed writer's epoch ended.
    let ends = |line: &str| line.split("ended=").nth(1).unwrap().trim().to_owned();
    assert_eq!(ends(&lines[0]), ends(&lines[1]));
    print!("{}{}", lines[0], lines[1]);
}

/// A reader of the run `epoch`, once it has published.
fn await_epoch(directory: &Directory, epoch: u64) -> Reader {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the writer of epoch {epoch} did not start");
        let reader = Reader::open(directory, "stress").unwrap();
        let newest = reader.epochs().unwrap().pop().unwrap();
        if newest.epoch == epoch && reader.tail() > newest.start_position {
            return reader;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_reader_killed_in_its_sleep_costs_one_wake() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut writer = Writer::open(&directory, "stress", WriterOptions { slots: 128, epoch: 1 }).unwrap();
    let variables = [
        (DIRECTORY, folder.path().to_str().unwrap().to_owned()),
        (UNTIL_EPOCH, "1".to_owned()),
        (RECORDS, "1000000".to_owned()),
    ];
    let mut reader = spawn("child_reader", &variables);
    started(&mut reader);
    let begun = Instant::now();
    while !sleeps(reader.id()) {
        assert!(begun.elapsed() < PATIENCE, "the reader does not go to sleep");
        std::thread::sleep(Duration::from_millis(1));
    }
    reader.kill().unwrap();
    reader.wait().unwrap();
    let before = directory.doorbell().wakes();
    for _ in 0..100 {
        writer.push(&record(1, writer.next_sequence()));
        writer.publish(now_ns());
    }
    assert_eq!(directory.doorbell().wakes() - before, 1);
}

/// Whether any thread of a process waits in a futex.
fn sleeps(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let waits = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    // The main thread of a test binary waits in a (private) futex for its test thread; the doorbell's is shared.
    let number = libc::SYS_futex.to_string();
    let shared = format!("{:#x}", libc::FUTEX_WAIT);
    waits.into_iter().any(|line| {
        let mut words = line.split(' ');
        words.next() == Some(&number) && words.nth(1) == Some(&shared)
    })
}
