//! The layout, proven to another language: the Python example reads what this writes.
//! Needs numpy; the interpreter is `ALPHAPULSE_TEST_PYTHON` or `python3`, and its absence is said, not hidden.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ring::{Directory, Writer, WriterOptions};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/examples/read_ring.py");
const INSTRUMENT_ID: u64 = 77;

fn instrument() -> Vec<u64> {
    let words = |bytes: &[u8; 24]| bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let names: Vec<u64> = words(b"BTC-USDBTC/USDBTCUSD\0\0\0\0");
    let scales = 1 | 2 << 48 | 8 << 56;
    let lengths = 7 | 7 << 8 | 3 << 16 | 3 << 24;
    let mut record = vec![7 | INSTRUMENT_ID << 32, 5, 6, scales, 1, 1, 1, 1, lengths];
    record.extend(names);
    record[0] |= (record.len() as u64) << 8;
    record
}

fn trade(price: i64, size: i64, side: u64, id: u64) -> [u64; 6] {
    [1 | 6 << 8 | side << 16 | 2 << 26 | INSTRUMENT_ID << 32, 5, 1000 + id, price as u64, size as u64, id]
}

/// The interpreter, if it has numpy.
fn python(test: &str) -> Option<String> {
    let python = std::env::var("ALPHAPULSE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED {test}: {python} has no numpy");
        return None;
    }
    Some(python)
}

#[test]
fn the_python_example_prints_the_trades() {
    let Some(python) = python("the_python_example_prints_the_trades") else { return };
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    for (epoch, records) in [(3, 2), (9, 300)] {
        let mut writer = Writer::open(&directory, "kraken", WriterOptions { slots: 512, epoch }).unwrap();
        writer.push(&instrument());
        for id in 1..=records {
            writer.push(&trade(-6_412_340 - id as i64, 351_000 + id as i64, id % 3, id));
        }
        writer.publish(1);
    }
    let ring = folder.path().join("kraken.ring");
    let output = Command::new(python).arg(SCRIPT).arg(&ring).args(["--oldest", "--seconds", "1"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 302, "{said}");
    assert_eq!(lines[0], "3 2 1001 BTC-USD buy -64123.41 0.00351001 1");
    assert_eq!(lines[1], "3 3 1002 BTC-USD sell -64123.42 0.00351002 2");
    assert_eq!(lines[301], "9 301 1300 BTC-USD none -64126.40 0.00351300 300");
}

#[test]
fn the_python_example_says_when_it_was_lapped() {
    let Some(python) = python("the_python_example_says_when_it_was_lapped") else { return };
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut writer = Writer::open(&directory, "kraken", WriterOptions { slots: 512, epoch: 3 }).unwrap();
    writer.push(&instrument());
    writer.push(&trade(1, 1, 1, 1));
    writer.publish(1);
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(folder.path().join("kraken.ring")).args(["--oldest", "--seconds", "30"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "3 2 1001 BTC-USD buy 0.01 0.00000001 1");
    let signal = |signal| {
        // SAFETY: signals a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    for id in 2..=2000 {
        writer.push(&trade(1, 1, 1, id));
        writer.publish(1);
    }
    signal(libc::SIGCONT);
    let lapped = lines.next().unwrap();
    let first: u64 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(lapped, format!("# lapped: lost from (3, 3) up to, not including, (3, {first})"));
    let last = lines.find(|line| line.ends_with(" 2000")).unwrap();
    assert_eq!(last, "3 2001 3000 BTC-USD buy 0.01 0.00000001 2000");
    child.kill().unwrap();
    child.wait().unwrap();
}
