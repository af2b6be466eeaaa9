//! A live run's raw captures, replayed with their times and epoch, tell the same records byte for byte.

mod common;

use common::{Site, Tap, Up};
use serde_json::Value;
use std::{fs, path::Path};

#[test]
fn a_replayed_run_tells_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("captures");
    let extra =
        format!("[capture]\npath = {captures:?}\n[venues.kraken]\nrefresh_s = 2\n[venues.binance]\nrefresh_s = 2\n");
    let site = Site::new(&extra);
    let up = Up::start(&site, &[]);
    let ring = site.rings.path().join("binance.ring");
    common::wait_for("rings", || ring.exists().then_some(()));
    let tap = Tap::start(&site, &["--from", "oldest"]);
    let mut seen = [0u32; 2];
    tap.find("a few hundred records of each venue", |l| {
        seen[usize::from(l["venue"] == "binance")] += 1;
        seen.iter().all(|n| *n > 300)
    });
    // The emulator's end makes the run tell a lost connection too.
    common::kill(site.pid("emulator-kraken").expect("announced"), "-KILL");
    tap.find("the loss", |l| l["type"] == "status" && l["state"] == "down");
    tap.find("the return", |l| l["type"] == "book" && l["venue"] == "kraken" && l["kind"] == "snapshot");
    drop(tap);
    assert_eq!(up.stop(), Some(0));
    for venue in ["kraken", "binance"] {
        let run = |args: &[&str], path: &std::path::Path| {
            common::program().args(args).arg(path).output().expect("the program runs")
        };
        let rings = site.rings.path().to_str().expect("a path of text");
        let out = run(&["capture", "replay", "--venue", venue, "--compare", rings], &captures);
        let words = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{venue}: {words}");
        assert!(words.contains(", 0 different"), "{venue}: {words}");
        println!("{venue}: {words}");
        // The same inputs through the books: each was proved, but for the time without a connection.
        let out = run(&["verify", "books", "--json"], &captures.join(venue));
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        assert_eq!(out.status.code(), Some(0), "{venue}: {report}");
        let books = report["files"][0]["books"].as_array().expect("books");
        assert_eq!((books.len(), &report["files"][0]["venue"]), (3, &venue.into()), "{report}");
        let proof = if venue == "kraken" { "checksum" } else { "ids" };
        assert!(books.iter().all(|b| b["held"][proof].as_u64() > Some(0) && b["rebuilt"].as_u64() > Some(0)));
        let kept = Kept { rings, journal: &site.state.path().join("journal") };
        check_rebuild(venue, &captures, &kept, folder.path());
        let out = run(&["capture", "verify", "--venue", venue], &captures);
        assert!(out.status.success(), "{venue}: {}", String::from_utf8_lossy(&out.stdout));
    }
}

/// Where a run's records were kept.
struct Kept<'a> {
    rings: &'a str,
    journal: &'a Path,
}

/// Rows rebuilt from raw frames are those the ring, the journal and a file of lines hold; kept anew, they are the same
/// again; of a doctored file, the rows are named.
fn check_rebuild(venue: &str, captures: &Path, Kept { rings, journal }: &Kept<'_>, folder: &Path) {
    let run = |args: &[&str]| {
        let mut program = common::program();
        program.args(["capture", "rebuild", "--json", "--venue", venue]).args(args).arg(captures);
        let out = program.output().expect("the program runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        (out.status.code(), rows, String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, rows, words) = run(&["--rings", rings]);
    assert_eq!((code, rows.len()), (Some(0), 1), "{venue}: {rows:?} {words}");
    assert!(rows[0]["equal"].as_u64() > Some(300) && rows[0]["changed"] == 0, "{rows:?}");
    // The recorder drained the rings into the journal: the same rows.
    let (code, rows, words) = run(&["--journal", journal.to_str().expect("a path of text")]);
    assert_eq!((code, rows.len()), (Some(0), 1), "{venue}: {rows:?} {words}");
    assert!(rows[0]["equal"].as_u64() > Some(300) && rows[0]["changed"] == 0, "{rows:?}");
    // Kept anew, the journal is that of the rows, and so are the Parquet files.
    let anew = folder.join(format!("anew-{venue}"));
    let to = anew.to_str().expect("a path of text");
    let (code, made, words) = run(&["--to", to]);
    assert_eq!((code, made.len()), (Some(0), 1), "{venue}: {made:?} {words}");
    assert!(made[0]["rows"].as_u64() > Some(200) && made[0]["files"].as_u64() >= Some(3), "{made:?}");
    let again = anew.join("journal");
    let (code, rows, words) = run(&["--journal", again.to_str().expect("a path of text")]);
    assert_eq!((code, rows.len()), (Some(0), 1), "{venue}: {rows:?} {words}");
    assert_eq!(rows[0]["rows"], rows[0]["equal"], "{rows:?}");
    let (code, _, words) = run(&["--to", to]);
    assert!(code == Some(2) && words.contains("holds a journal already"), "{words}");
    let out = common::program().args(["capture", "replay", "--venue", venue]).arg(captures).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines: Vec<String> = String::from_utf8(out.stdout).expect("text").lines().map(str::to_owned).collect();
    let kept = folder.join(format!("{venue}.jsonl"));
    let file = kept.to_str().expect("a path of text");
    fs::write(&kept, lines.join("\n")).expect("written");
    let (code, rows, words) = run(&["--against", file]);
    assert_eq!((code, rows.len()), (Some(0), 1), "{venue}: {rows:?} {words}");
    assert_eq!(rows[0]["rows"], rows[0]["equal"], "{rows:?}");
    // A price, a row taken out, a row put in.
    let row = |n: usize| serde_json::from_str::<Value>(&lines[n]).expect("JSON");
    let trade = (100..lines.len()).find(|n| row(*n)["type"] == "trade").expect("a trade");
    let mut doctored = lines.clone();
    let mut changed = row(trade);
    changed["price"] = "1.5".into();
    doctored[trade] = changed.to_string();
    let gone = doctored.remove(trade + 20);
    let mut added = row(trade + 40);
    let free = (2..).map(|n| added["seq"].as_u64().expect("a number") + n);
    let taken: Vec<u64> =
        lines.iter().map(|l| serde_json::from_str::<Value>(l).expect("JSON")["seq"].as_u64().expect("one")).collect();
    let seq = free.into_iter().find(|n| !taken.contains(n)).filter(|n| n < taken.last().expect("rows"));
    let at = |seq: u64| {
        doctored.iter().position(|l| serde_json::from_str::<Value>(l).expect("JSON")["seq"].as_u64() > Some(seq))
    };
    if let Some((seq, at)) = seq.and_then(|seq| Some((seq, at(seq)?))) {
        added["seq"] = seq.into();
        doctored.insert(at, added.to_string());
    }
    fs::write(&kept, doctored.join("\n")).expect("written");
    let (code, rows, words) = run(&["--against", file]);
    assert_eq!(code, Some(1), "{words}");
    let named: Vec<&Value> = rows.iter().filter_map(|r| r.get("seq")).collect();
    assert!(named.contains(&&changed["seq"]), "{rows:?}");
    assert!(named.contains(&&serde_json::from_str::<Value>(&gone).expect("JSON")["seq"]), "{rows:?}");
    assert!(seq.is_none_or(|seq| named.contains(&&seq.into())), "{rows:?}");
    assert_eq!(named.len(), 2 + usize::from(seq.is_some()), "{rows:?}");
}
