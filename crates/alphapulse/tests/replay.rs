//! The inputs of a live run, replayed with their times and epoch, tell the same records byte for byte.

mod common;

use common::{Site, Tap, Up};
use std::fs;

#[test]
fn a_replayed_run_tells_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("captures");
    let extra = format!(
        "[venues.kraken]\ncapture = {captures:?}\nrefresh_s = 2\n[venues.binance]\ncapture = {captures:?}\nrefresh_s = 2\n"
    );
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
    for (venue, symbols) in [("kraken", "BTC-USD,ETH-USD,SOL-USD"), ("binance", "BTC-USDT,ETH-USDT,SOL-USDT")] {
        let capture = fs::read_dir(&captures)
            .expect("captures")
            .flatten()
            .map(|e| e.path())
            .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(venue)))
            .expect("a capture");
        let out = common::program()
            .args(["replay", "--venue", venue, "--symbols", symbols, "--ring-slots", "65536", "--refresh-s", "2"])
            .arg(&capture)
            .arg("--compare")
            .arg(site.rings.path())
            .output()
            .expect("the program runs");
        let words = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{venue}: {words}");
        assert!(words.contains(", 0 different"), "{venue}: {words}");
        println!("{venue}: {words}");
        // The same inputs through the books: each was proved, but for the time without a connection.
        let out = common::program()
            .args(["verify", "books", "--json", "--symbols", symbols])
            .arg(&capture)
            .output()
            .expect("the program runs");
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        assert_eq!(out.status.code(), Some(0), "{venue}: {report}");
        let books = report["files"][0]["books"].as_array().expect("books");
        assert_eq!((books.len(), &report["files"][0]["venue"]), (3, &venue.into()), "{report}");
        let proof = if venue == "kraken" { "checksum" } else { "ids" };
        assert!(books.iter().all(|b| b["held"][proof].as_u64() > Some(0) && b["rebuilt"].as_u64() > Some(0)));
    }
}
