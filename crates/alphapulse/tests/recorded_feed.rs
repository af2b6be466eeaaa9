//! A recorded capture served by the emulator is told by the feed as `alphapulse decode` reads the very same file: every
//! trade, quote and book record, in order and with the venue's times. What cannot be served is refused in a sentence.

mod common;

use common::{PATIENCE, Site, data, free_ports, program, wait_for};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

/// A process, ended with the test.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is compared of a line of market data: all but when and as the how manieth it was received.
fn told(line: &str) -> Option<Value> {
    let mut record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let wanted = ["trade", "book", "quote"].iter().any(|kind| record["type"] == *kind);
    let fields = record.as_object_mut()?;
    for own in ["ts_recv", "epoch", "seq", "seq_first"] {
        fields.remove(own);
    }
    wanted.then_some(record)
}

fn decoded(venue: &str, file: &Path, rest: Option<&Path>) -> Vec<Value> {
    let mut command = program();
    command.args(["decode", "--venue", venue]).arg(file);
    if let Some(rest) = rest {
        command.arg("--rest").arg(rest);
    }
    let output = command.output().expect("the program runs");
    String::from_utf8(output.stdout).expect("text").lines().filter_map(told).collect()
}

struct Case {
    venue: &'static str,
    ws_path: &'static str,
    rate: u32,
    set: &'static [&'static str],
}

impl Case {
    /// Serves the file to a feed and gives what a tap reads of its first connection.
    fn served(&self, file: &Path) -> Vec<Value> {
        let (site, venue) = (Site::all(""), self.venue);
        let port = free_ports(1)[0];
        let listen = format!("127.0.0.1:{port}");
        let mut set: Vec<String> = vec![
            format!("emulator.{venue}.listen={listen:?}"),
            format!("venues.{venue}.ws_url=\"ws://{listen}{}\"", self.ws_path),
            format!("venues.{venue}.rest_url=\"http://{listen}\""),
            "ring.slots=262144".to_owned(),
        ];
        set.extend(self.set.iter().map(|pair| (*pair).to_owned()));
        let log = File::options().create(true).append(true).open(site.state.path().join("roles.log")).expect("a log");
        let start = |args: &[&str], out: Stdio| {
            let mut command = site.command();
            for pair in &set {
                command.args(["--set", pair]);
            }
            let log = log.try_clone().expect("a handle");
            Role(command.args(args).stdin(Stdio::null()).stdout(out).stderr(log).spawn().expect("the program starts"))
        };
        let (path, rate) = (file.display().to_string(), self.rate.to_string());
        let _emulator = start(&["emulator", venue, "--recorded", &path, "--rate", &rate], Stdio::null());
        wait_for("the emulator", || TcpStream::connect(&listen).ok());
        let _feed = start(&["feed", venue, "--origin", "simulated"], Stdio::null());
        wait_for("the ring", || site.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
        let mut tap = start(&["tap", "--from", "oldest", "--venue", venue], Stdio::piped());
        let (lines, read) = mpsc::channel();
        let from = BufReader::new(tap.0.stdout.take().expect("piped"));
        thread::spawn(move || from.lines().map_while(Result::ok).all(|line| lines.send(line).is_ok()));
        let (mut records, begin) = (Vec::new(), Instant::now());
        loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let line = read.recv_timeout(left).expect("the session ends, and its connection with it");
            let is_down = line.contains("\"scope\":\"connection\"") && line.contains("\"state\":\"down\"");
            // The one pass that is served is one connection.
            if is_down && !records.is_empty() {
                return records;
            }
            records.extend(told(&line));
        }
    }
}

fn of_type<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["type"] == kind).collect()
}

fn same(what: &str, ours: &[&Value], theirs: &[&Value]) {
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours, theirs, "{what} {at}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
}

#[test]
fn a_book_with_checksums_is_told_as_it_was_recorded() {
    let Some(data) = data("a_book_with_checksums_is_told_as_it_was_recorded") else { return };
    let file = data.join("venues/kraken/ws_v2/book_btcusd_d25_20260802.jsonl");
    let set =
        &["venues.kraken.symbols=[\"BTC-USD\"]", "venues.kraken.streams=[\"book\"]", "venues.kraken.book_depth=25"];
    let case = Case { venue: "kraken", ws_path: "/v2", rate: 1_000, set };
    let expected = decoded("kraken", &file, None);
    assert_eq!(expected.len(), 2_052, "a snapshot and its updates");
    let got = case.served(&file);
    same("book record", &got.iter().collect::<Vec<_>>(), &expected.iter().collect::<Vec<_>>());
}

#[test]
fn trades_quotes_and_a_bridged_book_are_told_as_they_were_recorded() {
    let Some(data) = data("trades_quotes_and_a_bridged_book_are_told_as_they_were_recorded") else { return };
    let folder = data.join("venues/binance/spot_ws");
    let file = folder.join("btcusdt_20240808.jsonl.gz");
    let set = &["venues.binance.symbols=[\"BTC-USDT\"]", "venues.binance.streams=[\"trade\",\"quote\",\"book\"]"];
    let case = Case { venue: "binance", ws_path: "/stream", rate: 5_000, set };
    let expected = decoded("binance", &file, Some(&folder.join("btcusdt_20240808.depth_snapshot.jsonl")));
    let got = case.served(&file);
    for kind in ["trade", "quote"] {
        same(kind, &of_type(&got, kind), &of_type(&expected, kind));
    }
    // The bridge is built to the book as it is served, a little later than the recorded one: what follows is the same.
    let deltas = |records: &[Value]| -> Vec<Value> {
        of_type(records, "book").into_iter().filter(|record| record["kind"] != "snapshot").cloned().collect()
    };
    let (ours, theirs) = (deltas(&got), deltas(&expected));
    let count = ours.len().min(theirs.len());
    assert!(count * 10 > theirs.len() * 9, "{} of {} book changes", ours.len(), theirs.len());
    let last = |all: &'_ [Value]| all[all.len() - count..].to_vec();
    let (ours, theirs) = (last(&ours), last(&theirs));
    same("book change", &ours.iter().collect::<Vec<_>>(), &theirs.iter().collect::<Vec<_>>());
}

#[test]
fn a_capture_that_cannot_be_served_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let frame =
        b"{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1,\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"1\",";
    let cut = file("cut.jsonl", frame);
    // The beginning of a gzip file, and nothing behind it.
    let torn = file("torn.jsonl.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2]);
    let empty = file("empty.jsonl", b"");
    for (capture, word) in [
        (folder.path().join("missing.jsonl"), "missing.jsonl"),
        (cut, "cut.jsonl"),
        (torn, "torn.jsonl.gz"),
        (empty, "empty.jsonl"),
    ] {
        let output =
            program().args(["emulator", "binance", "--recorded"]).arg(&capture).output().expect("the program runs");
        let words = String::from_utf8(output.stderr).expect("text");
        let said: Vec<&str> = words.lines().filter(|line| line.starts_with("alphapulse: ")).collect();
        assert!(output.status.code() == Some(2) && said.len() == 1 && said[0].contains(word), "{word}: {words}");
    }
}
