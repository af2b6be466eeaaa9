//! `alphapulse verify books` over every recorded book of every venue: each checksum, each bridge and the connection's
//! whole sequence by number, level for level beside the plain book; and a copy with one wrong level is found by line.

mod common;

use common::{data, program};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Output,
};

fn verify(files: &[&Path]) -> Output {
    program().args(["verify", "books", "--json"]).args(files).output().expect("the program runs")
}

fn report(out: &Output) -> Value {
    let words = String::from_utf8_lossy(&out.stderr);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {words}"))
}

/// The books of one file, which agree in everything.
fn sound(file: &Path) -> Vec<Value> {
    let out = verify(&[file]);
    let report = report(&out);
    assert_eq!(out.status.code(), Some(0), "{}: {report}", file.display());
    assert_eq!((&report["disagreements"], &report["unreadable"]), (&Value::from(0), &Value::from(0)));
    let books = report["files"][0]["books"].as_array().expect("books").clone();
    for book in &books {
        assert_eq!(book["failed"]["uncrossed"], 0, "never crossed: {book}");
        assert_eq!((book["state"].as_str(), book["unproved"].as_u64()), (Some("live"), Some(0)), "{book}");
        let events = number(book, "updates") + number(book, "snapshots");
        assert_eq!(held(book, "uncrossed"), number(book, "updates"));
        // A message may change nothing, and several may share a line; each line that changes a book is compared.
        assert!(number(book, "rebuilt") > 0 && number(book, "rebuilt") <= events, "{book}");
        println!(
            "{} {}: {} updates, held {}, ticker {} of {} (apart {} s at most), rebuilt {}, {}",
            file.file_name().expect("a name").to_string_lossy(),
            book["symbol"],
            book["updates"],
            book["held"],
            book["held"]["ticker"],
            book["quotes"],
            book["apart_s_max"],
            book["rebuilt"],
            book["seconds"],
        );
    }
    books
}

fn number(book: &Value, key: &str) -> u64 {
    book[key].as_u64().unwrap_or_else(|| panic!("{key} of {book}"))
}

fn held(book: &Value, proof: &str) -> u64 {
    number(&book["held"], proof)
}

fn sum(books: &[Value], f: impl Fn(&Value) -> u64) -> u64 {
    books.iter().map(f).sum()
}

#[test]
fn every_kraken_checksum_verifies() {
    let Some(data) = data("every_kraken_checksum_verifies") else { return };
    let folder = data.join("venues/kraken");
    for (name, checksums) in [("book_btcusd_d25_20260802.jsonl", 2052), ("book_xrpusd_d25_20260802.jsonl", 1147)] {
        let books = sound(&folder.join("ws_v2").join(name));
        let [book] = &books[..] else { panic!("one book, not {}", books.len()) };
        assert_eq!((held(book, "checksum"), number(book, "updates")), (checksums, checksums - 1), "{name}");
        assert_eq!((number(book, "snapshots"), number(book, "rebuilt")), (1, checksums));
        assert_eq!((number(book, "bids"), number(book, "asks")), (25, 25));
    }
    let books = sound(&folder.join("ws_v1/book1000_20210405.jsonl.gz"));
    assert_eq!(books.len(), 10);
    assert_eq!(sum(&books, |b| held(b, "checksum")), 14_496);
    assert_eq!(sum(&books, |b| number(b, "updates")), 14_496);
}

#[test]
fn every_binance_capture_bridges() {
    let Some(data) = data("every_binance_capture_bridges") else { return };
    // File, books, updates that follow one another from the snapshot on.
    for (name, books, updates) in [
        ("binance/spot_ws/btcusdt_20240808.jsonl.gz", 1, 3449),
        ("binance/spot_ws/ethusdt_20240808.jsonl.gz", 1, 3432),
        ("binance/spot_ws/dot_btc_eth_usdt_20210404.jsonl.gz", 3, 2656),
        ("binance/spot_ws/four_symbols_20211012.jsonl", 4, 172),
        ("binance_us/spot_ws/ten_symbols_20210405.jsonl.gz", 10, 3185),
    ] {
        let told = sound(&data.join("venues").join(name));
        assert_eq!(told.len(), books, "{name}");
        assert!(told.iter().all(|b| number(b, "snapshots") == 1), "{name}: each from its snapshot");
        let all = (sum(&told, |b| number(b, "updates")), sum(&told, |b| held(b, "ids")));
        assert_eq!(all, (updates, updates), "{name}");
    }
}

#[test]
fn coinbase_books_are_whole() {
    let Some(data) = data("coinbase_books_are_whole") else { return };
    let folder = data.join("venues/coinbase");
    let books = sound(&folder.join("advanced_ws/all_channels_20260809.jsonl.gz"));
    assert_eq!((books.len(), sum(&books, |b| number(b, "updates"))), (2, 463));
    assert_eq!(sum(&books, |b| held(b, "connection")), 463, "each in a frame that follows the one before");
    assert!(books.iter().any(|b| number(b, "bids") + number(b, "asks") > 40_000), "at the venue's full depth");
    let books = sound(&folder.join("exchange_ws/level2_ticker_matches_20210417.jsonl"));
    assert_eq!((sum(&books, |b| number(b, "snapshots")), sum(&books, |b| number(b, "updates"))), (6, 5830));
}

/// A recording as plain lines in a folder of its own.
fn copied(from: &Path, folder: &Path, change: impl Fn(usize, &str) -> Option<String>) -> PathBuf {
    let mut bytes = fs::read(from).expect("readable");
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = vec![];
        GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip");
        bytes = plain;
    }
    let text = String::from_utf8(bytes).expect("text");
    let lines = text.lines().enumerate().filter_map(|(n, line)| change(n + 1, line));
    let to = folder.join("copy.jsonl");
    fs::write(&to, lines.map(|line| line + "\n").collect::<String>()).expect("written");
    to
}

/// The first disagreement of a file that has some.
fn first_disagreement(file: &Path) -> (u64, String, String) {
    let out = verify(&[file]);
    let report = report(&out);
    assert_eq!(out.status.code(), Some(1), "{report}");
    let first = &report["files"][0]["shown"][0];
    let text = |key: &str| first[key].as_str().expect("a text").to_owned();
    (number(first, "line"), text("proof"), text("text"))
}

/// The last digit of the first size of a best level is another one.
fn flip(line: &str, key: &str) -> String {
    let at = line.find(key).expect("a level") + key.len();
    let end = at + line[at..].find(|c: char| !c.is_ascii_digit() && c != '.').expect("its end");
    let last = line.as_bytes()[end - 1];
    let other = if last == b'7' { '3' } else { '7' };
    format!("{}{other}{}", &line[..end - 1], &line[end..])
}

#[test]
fn one_flipped_level_is_named_by_its_line() {
    let Some(data) = data("one_flipped_level_is_named_by_its_line") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let from = data.join("venues/kraken/ws_v2/book_btcusd_d25_20260802.jsonl");
    let text = fs::read_to_string(&from).expect("readable");
    let is_snapshot = |line: &&str| line.contains(r#""type":"snapshot""#) && line.contains(r#""checksum""#);
    let at = text.lines().position(|line| is_snapshot(&line)).expect("a snapshot") + 1;
    let copy =
        copied(&from, folder.path(), |n, line| Some(if n == at { flip(line, r#""qty":"#) } else { line.to_owned() }));
    let text_lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (line, proof, text) = first_disagreement(&copy);
    assert_eq!((line, proof.as_str()), (at as u64, "checksum"), "{text}");
    assert!(text.contains("our checksum 0x"), "{text}");
    // A change in the middle: one among the best ten shows at its own line, one further away later or never.
    let changes = |n: usize, line: &str| {
        n > 1000 && line.contains(r#""bids":[{"price""#) && !line.contains(r#""qty":0.0"#) && n < 1400
    };
    let candidates: Vec<usize> = text_lines
        .iter()
        .enumerate()
        .map(|(n, l)| (n + 1, l))
        .filter(|(n, l)| changes(*n, l))
        .map(|(n, _)| n)
        .collect();
    let noticed = candidates.iter().take(12).filter(|at| {
        let copy = copied(&from, folder.path(), |n, line| {
            Some(if n == **at { flip(line, r#""qty":"#) } else { line.to_owned() })
        });
        let out = verify(&[&copy]);
        let report = report(&out);
        let Some(first) = report["files"][0]["shown"].get(0) else { return false };
        assert!(number(first, "line") >= **at as u64 && out.status.code() == Some(1), "{report}");
        number(first, "line") == **at as u64
    });
    assert!(noticed.count() >= 3, "of {candidates:?}");
    let copy =
        copied(&from, folder.path(), |n, line| Some(if n == at { flip(line, r#""qty":"#) } else { line.to_owned() }));
    // The same in words, with the file's name and the line.
    let out = program().args(["verify", "books"]).arg(&copy).output().expect("it runs");
    let words = String::from_utf8_lossy(&out.stdout);
    assert!(words.contains(&format!("copy.jsonl:{at}: BTC-USD checksum")), "{words}");
}

#[test]
fn a_lost_change_is_named_by_the_line_after_it() {
    let Some(data) = data("a_lost_change_is_named_by_the_line_after_it") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let from = data.join("venues/coinbase/advanced_ws/all_channels_20260809.jsonl.gz");
    let copy = copied(&from, folder.path(), |n, line| (n != 300).then(|| line.to_owned()));
    let (line, proof, text) = first_disagreement(&copy);
    assert_eq!((line, proof.as_str()), (300, "connection"), "{text}");

    let spot = data.join("venues/binance/spot_ws");
    let rest = "four_symbols_20211012.rest_depth.http.jsonl";
    fs::copy(spot.join(rest), folder.path().join("copy.rest_depth.http.jsonl")).expect("copied");
    let four = spot.join("four_symbols_20211012.jsonl");
    let text = fs::read_to_string(&four).expect("readable");
    let deltas: Vec<usize> = (text.lines().enumerate())
        .filter(|(_, line)| line.contains("depthUpdate") && line.contains("NKNUSDT"))
        .map(|(n, _)| n + 1)
        .collect();
    let (lost, next) = (deltas[deltas.len() / 2], deltas[deltas.len() / 2 + 1]);
    let copy = copied(&four, folder.path(), |n, line| (n != lost).then(|| line.to_owned()));
    let (line, proof, text) = first_disagreement(&copy);
    assert_eq!((line, proof.as_str()), (next as u64 - 1, "ids"), "{text}");
}

#[test]
fn what_cannot_be_used_is_named_and_ends_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let broken = concat!(
        r#"{"channel":"book","type":"snapshot","data":[{"symbol":"AAA/BBB","bids":[{"price":1.0,"qty":2.0}],"#,
        r#""asks":[{"price":1.1,"qty":2.0}]}]}"#,
        "\n{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"AAA/BBB\",\"bids\":[{\"price\":true\n"
    );
    for (file, words) in [
        (write("broken.jsonl", broken), "line 2: byte"),
        (write("nobody.jsonl", "{\"a\":1}\n"), "say --venue"),
        (write("trades.jsonl", "{\"channel\":\"heartbeat\"}\n"), "holds no book"),
        (folder.path().join("nothing.jsonl"), "cannot be opened"),
    ] {
        let out = program().args(["verify", "books"]).arg(&file).output().expect("it runs");
        let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{told}");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(told.contains(words) && told.contains(&name), "{told}");
    }
}
