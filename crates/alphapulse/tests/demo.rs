//! The demo as a newcomer meets it: everything starts, the stream is alive, a killed process comes back alone.

mod common;

use common::{Site, Tap, Up, kill, wait_for};
use serde_json::Value;

fn is(line: &Value, kind: &str, venue: &str) -> bool {
    line["type"] == kind && line["venue"] == venue
}

#[test]
fn trades_books_quotes_and_bars_of_both_venues_arrive() {
    let site = Site::new("");
    let up = Up::start(&site, &[]);
    wait_for("both rings", || {
        ["kraken", "binance"].iter().all(|v| site.rings.path().join(format!("{v}.ring")).exists()).then_some(())
    });
    for relay in [false, true] {
        if relay {
            wait_for("the relay's socket", || site.state.path().join("relay.sock").exists().then_some(()));
        }
        let tap = Tap::start(&site, if relay { &["--relay"] } else { &[] });
        let mut missing: Vec<(&str, &str)> = vec![];
        for kind in ["instrument", "trade", "book", "quote", "bar"] {
            missing.extend([(kind, "kraken"), (kind, "binance")]);
        }
        let mut books_before_snapshot = 0;
        let mut snapshots: Vec<(String, String)> = vec![];
        while !missing.is_empty() {
            let line = tap.find(&format!("{missing:?} (relay: {relay})"), |_| true);
            missing.retain(|(kind, venue)| !is(&line, kind, venue));
            if line["type"] == "book" {
                let book = (line["venue"].to_string(), line["symbol"].to_string());
                match line["kind"].as_str() {
                    Some("snapshot") => snapshots.push(book),
                    _ if snapshots.contains(&book) => {}
                    _ => books_before_snapshot += 1,
                }
            }
        }
        assert_eq!(books_before_snapshot, 0, "an update came before its book's snapshot (relay: {relay})");
    }
    let status = site.output(&["status"]);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    assert_eq!(up.stop(), Some(0), "an orderly end");
    let tap = site.output(&["tap", "--from", "oldest", "--for", "1", "--type", "trade"]);
    let told = String::from_utf8_lossy(&tap.stdout).into_owned();
    assert!(told.contains(r#""type":"session_start""#) && told.contains(r#""simulated":true"#), "{told:.300}");
    assert_eq!(told.matches(r#""type":"session_end""#).count(), 2, "both feeds told the end of their run");
}

#[test]
fn a_killed_child_is_back_by_itself_and_the_others_never_stop() {
    let site = Site::new("");
    let _up = Up::start(&site, &[]);
    let all = ["emulator-binance", "emulator-kraken", "feed-binance", "feed-kraken", "gateway", "relay", "up"];
    wait_for("all roles", || (site.roles().iter().map(|(r, _)| r.as_str()).eq(all)).then_some(()));
    let tap = Tap::start(&site, &[]);
    tap.find("a first trade of kraken", |l| is(l, "trade", "kraken"));
    tap.find("a first trade of binance", |l| is(l, "trade", "binance"));
    for victim in all.iter().filter(|r| **r != "up") {
        let before = site.roles();
        let pid = site.pid(victim).expect("announced");
        kill(pid, "-KILL");
        wait_for(&format!("{victim} to be back"), || site.pid(victim).filter(|new| *new != pid));
        for (role, pid) in before.iter().filter(|(r, _)| r != victim) {
            assert_eq!(site.pid(role), Some(*pid), "{role} stopped when {victim} was killed");
        }
        match *victim {
            "feed-kraken" | "feed-binance" => {
                let venue = &victim["feed-".len()..];
                let session = tap.find("the new run", |l| is(l, "session_start", venue));
                let epoch = session["epoch"].as_u64().expect("an epoch");
                tap.find("a live connection", |l| {
                    is(l, "status", venue) && l["scope"] == "connection" && l["state"] == "live" && l["epoch"] == epoch
                });
                let mut ids = std::collections::HashSet::new();
                tap.find("a trade of the new run", |l| {
                    if is(l, "trade", venue) {
                        assert!(ids.insert((l["symbol"].to_string(), l["trade_id"].to_string())), "told twice: {l}");
                    }
                    is(l, "trade", venue) && l["epoch"] == epoch
                });
            }
            "emulator-kraken" | "emulator-binance" => {
                let venue = &victim["emulator-".len()..];
                tap.find("the loss", |l| is(l, "status", venue) && l["scope"] == "connection" && l["state"] == "down");
                tap.find("the return", |l| {
                    is(l, "status", venue) && l["scope"] == "connection" && l["state"] == "live"
                });
                tap.find("a book again", |l| is(l, "book", venue) && l["kind"] == "snapshot");
            }
            _ => {}
        }
        // The reader of the rings has seen both venues go on.
        tap.find("kraken", |l| is(l, "trade", "kraken"));
        tap.find("binance", |l| is(l, "trade", "binance"));
    }
}

#[test]
fn unreachable_venues_are_said_so_one_by_one_and_tried_again() {
    // `.invalid` is reserved: no name server knows it. The real hosts must never be the target of a test.
    let extra = "[venues.kraken]\nws_url = \"wss://kraken.invalid/v2\"\nrest_url = \"https://kraken.invalid\"\n\
                 [venues.binance]\nws_url = \"wss://binance.invalid/stream\"\nrest_url = \"https://binance.invalid\"\n";
    let site = Site::new(extra);
    let up = Up::start(&site, &["--live"]);
    let tap = wait_for("rings", || {
        site.rings.path().join("binance.ring").exists().then(|| Tap::start(&site, &["--from", "oldest"]))
    });
    for venue in ["kraken", "binance"] {
        for _ in 0..2 {
            let line = tap.find("the failure in words", |l| is(l, "status", venue) && l["state"] == "down");
            let text = line["text"].as_str().expect("a text");
            assert!(text.contains(".invalid") && text.contains("the next try is in"), "{text}");
        }
    }
    drop(tap);
    assert_eq!(up.stop(), Some(0));
}
