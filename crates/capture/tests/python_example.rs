//! The format, proven to another language: the Python example reads what this writes. A compressed file needs the
//! zstandard package; its absence is said, not hidden.

mod common;

use capture::{Keep, Options, keep_house};
use common::{TWO, push, tap};
use model::{UnixNanos, Venue};
use std::{fs, path::Path, process::Command, time::Duration};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/examples/read_wslog.py");

fn python() -> String {
    std::env::var("ALPHAPULSE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn has(test: &str, module: &str) -> bool {
    let found = Command::new(python()).args(["-c", &format!("import {module}")]).output();
    let found = found.is_ok_and(|out| out.status.success());
    if !found {
        eprintln!("SKIPPED {test}: {} has no {module}", python());
    }
    found
}

/// The exit status, what was printed, and what was complained of.
fn reads(path: &Path) -> (bool, Vec<String>, String) {
    let out = Command::new(python()).arg(SCRIPT).arg(path).output().expect("python runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (out.status.success(), text.lines().map(str::to_owned).collect(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn the_python_example_prints_the_entries() {
    let test = "the_python_example_prints_the_entries";
    if !has(test, "zlib") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { keeps_house: false, ..Options::new(folder.path()) };
    let mut tap = tap(&options, 7, None);
    (0..3000).for_each(|n| push(&mut tap, n, TWO + n));
    tap.close(Duration::from_secs(60));
    let venue = folder.path().join("kraken");
    let path = venue.join("20250113_02.wslog");
    let (good, lines, words) = reads(&path);
    assert!(good, "{words}");
    assert_eq!(lines.len(), 3001);
    assert!(lines[0].starts_with(&format!("{TWO} 0 own run {{\"venue\":\"kraken\",\"epoch\":7")), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("{TWO} 0 in frame ")), "{}", lines[1]);
    assert!(lines[3000].starts_with(&format!("{} 0 in frame ", TWO + 2999)), "{}", lines[3000]);
    // Damage is told, and where; so is a cut.
    let whole = fs::read(&path).expect("the file");
    let mut bytes = whole.clone();
    let at = bytes.len() - 5;
    bytes[at] ^= 1;
    let other = folder.path().join("other.wslog");
    fs::write(&other, &bytes).expect("written");
    let (good, lines, words) = reads(&other);
    assert!(!good && lines.len() == 3000 && words.contains("is damaged"), "{words}");
    fs::write(&other, &whole[..at]).expect("written");
    let (good, lines, words) = reads(&other);
    assert!(!good && lines.len() == 3000 && words.contains("is cut off"), "{words}");
    if has(test, "zstandard") {
        let plain = reads(&path).1;
        keep_house(&venue, Venue::Kraken, Keep::default(), 3, UnixNanos(TWO)).expect("kept");
        let (good, lines, words) = reads(&venue.join("20250113_02.wslog.zst"));
        assert!(good && lines == plain, "{words}");
    }
}
