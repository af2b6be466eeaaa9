//! Short sessions of our own making: frames in, records out as JSON lines, compared with what is committed.
//!
//! `fixtures/<protocol>/<case>/frames.jsonl` holds one frame a line; frame n is received n ms after a fixed time. Beside
//! it stands `expected.jsonl`: the lines told, a line of type `reject` for each frame set aside, and the counts.
//! `UPDATE_GOLDEN=1` rewrites the expected files; the difference is for people to read.
#![allow(clippy::unwrap_used)]

mod packing;

use model::{UnixNanos, Venue};
use packing::{Stamps, pack};
use std::path::Path;
use std::time::Duration;
use venues::{Input, Outbox, Session, SessionSettings, Settings, VenueMachine};
use wire::json::Encoder;
use wire::{Envelope, Origin};

/// What a machine tells of frames.
struct Told {
    /// Records and rejects.
    lines: String,
    /// What was counted.
    counts: String,
}

fn tell(machine: Box<dyn VenueMachine>, frames: &[Vec<u8>]) -> Told {
    let (mut session, mut out) = (Session::new(machine, SessionSettings::default()), Outbox::new());
    let (mut encoder, mut lines, mut sequence) = (Encoder::new(), String::new(), 0);
    let begin = UnixNanos(1_700_000_000_000_000_000);
    let start = Input::Start { epoch: 1, pid: 1, origin: Origin::Simulated, site: "golden", build: "golden" };
    session.step(start, begin, &mut out);
    for (n, frame) in frames.iter().enumerate() {
        let now = begin.after(Duration::from_millis(n as u64 + 1));
        let bad = session.step(Input::Frame(frame), now, &mut out);
        for words in &out.records {
            sequence += 1;
            if let Some(line) = encoder.push(Envelope { epoch: 1, sequence }, words).unwrap() {
                lines += &(serde_json::to_string(&line).unwrap() + "\n");
            }
        }
        out.clear();
        if let Some(bad) = bad {
            let reject = serde_json::json!({"type": "reject", "frame": bad.frame, "error": bad.error.to_string()});
            lines += &(reject.to_string() + "\n");
        }
    }
    let counts = session.machine().counts().iter().filter(|(_, n)| *n > 0);
    let counts: serde_json::Map<String, serde_json::Value> = counts.map(|(k, n)| (k.to_owned(), n.into())).collect();
    Told { lines, counts: serde_json::json!({"type": "counts", "counts": counts}).to_string() + "\n" }
}

/// Every case of a protocol, of which there are at least so many, with a machine anew for each; `also` looks at the
/// frames and lines of each.
fn every_case(
    protocol: &str,
    least: usize,
    machine: impl Fn() -> Box<dyn VenueMachine>,
    also: impl Fn(&Path, &[Vec<u8>], &str),
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(protocol);
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() >= least, "the cases are committed");
    for case in cases {
        let frames = std::fs::read_to_string(case.join("frames.jsonl")).unwrap();
        let frames: Vec<Vec<u8>> = frames.lines().map(|l| l.as_bytes().to_vec()).collect();
        let Told { lines, counts } = tell(machine(), &frames);
        also(&case, &frames, &lines);
        let told = lines + &counts;
        let path = case.join("expected.jsonl");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (n, (told, expected)) in told.lines().zip(expected.lines()).enumerate() {
            assert_eq!(told, expected, "{} line {}", path.display(), n + 1);
        }
        assert_eq!(told.lines().count(), expected.lines().count(), "{}", path.display());
    }
}

fn of(venue: Venue) -> impl Fn() -> Box<dyn VenueMachine> {
    move || venues::machine(venue, &Settings::default(), &[]).unwrap()
}

#[test]
fn kraken_tells_what_is_committed() {
    every_case("kraken", 4, of(Venue::Kraken), |_, _, _| {});
}

#[test]
fn coinbase_exchange_tells_what_is_committed() {
    every_case("coinbase_exchange", 3, of(Venue::Coinbase), |_, _, _| {});
}

#[test]
fn coinbase_advanced_tells_what_is_committed() {
    let machine = || venues::coinbase::advanced::machine(&Settings::default(), &[]).unwrap();
    every_case("coinbase_advanced", 5, machine, |_, _, _| {});
}

/// The same frames as MessagePack tell the same.
#[test]
fn alpaca_tells_what_is_committed_in_either_encoding() {
    every_case("alpaca", 4, of(Venue::Alpaca), |case, frames, lines| {
        let same = tell(of(Venue::Alpaca)(), &packed(frames)).lines;
        assert_eq!(without_places(lines), without_places(&same), "{} as MessagePack", case.display());
    });
}

/// The frames as MessagePack; what is no JSON stays as it is.
fn packed(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let one = |f: &Vec<u8>| serde_json::from_slice(f).map_or_else(|_| f.clone(), |v| pack(&v, Stamps::Extension));
    frames.iter().map(one).collect()
}

/// Where a frame is refused differs between the encodings, why does not.
fn without_places(told: &str) -> String {
    let line = |l: &str| match (l.find(r#""error":"byte "#), l.find(": ")) {
        (Some(at), Some(colon)) => format!("{}{}\n", &l[..at], &l[colon..]),
        _ => l.to_owned() + "\n",
    };
    told.lines().map(line).collect()
}
