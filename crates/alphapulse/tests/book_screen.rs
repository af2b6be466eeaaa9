//! `alphapulse book` against the demo: in a terminal, as plain text, as JSON, and what it says when there is nothing to
//! show.

mod common;

use common::{Site, Up, kill, wait_for};
use serde_json::Value;
use std::process::Command;

fn json(site: &Site, symbol: &str, venue: &str) -> Option<Value> {
    let out = site.output(&["book", symbol, "--venue", venue, "--json"]);
    serde_json::from_slice(&out.stdout).ok()
}

/// Once it is live, in a run after `epoch`.
fn live(site: &Site, symbol: &str, venue: &str, epoch: u64) -> Value {
    let is_live = |line: &Value| line["live"] == true && line["epoch"].as_u64() > Some(epoch);
    wait_for(&format!("a live book of {symbol}"), || json(site, symbol, venue).filter(is_live))
}

fn refusal(site: &Site, args: &[&str]) -> String {
    let out = site.output(args);
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{words}");
    words
}

/// Runs it in a terminal until the words are on its screen, then ends it by a key or a signal.
fn in_terminal(site: &Site, key: &str, words: &[&str], args: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(key).args(words).arg("--").arg(env!("CARGO_BIN_EXE_alphapulse"));
    let out = command.arg("--config").arg(&site.config).args(args).output().expect("python3");
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{told} {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_str(&told).expect("JSON")
}

#[test]
fn a_book_is_shown_in_a_terminal_as_text_and_as_json() {
    let site = Site::new("");
    assert!(refusal(&site, &["book", "BTC-USD"]).contains("no feed is running; start them with: alphapulse up"));
    let none = refusal(&site, &["book", "BTC-USD", "--venue", "kraken"]);
    assert!(none.contains("no feed writes the books of kraken") && none.contains("kraken.table"), "{none}");

    let up = Up::start(&site, &[]);
    let line = live(&site, "BTC-USD", "kraken", 0);
    assert_eq!((&line["type"], &line["simulated"], &line["venue"]), (&"latest".into(), &true.into(), &"kraken".into()));
    let best = |side: &str| line[side][0][0].as_str().and_then(|p| p.parse::<f64>().ok()).expect("a price");
    assert!(best("bids") < best("asks"), "{line}");
    live(&site, "BTC-USDT", "binance", 0);

    let once = site.output(&["book", "btc/usd", "--once", "--depth", "5"]);
    let text = String::from_utf8_lossy(&once.stdout).into_owned();
    assert!(text.starts_with("kraken BTC-USD (BTC/USD) SIMULATED\nstate "), "{text}");
    assert!(text.contains("spread ") && text.contains("imbalance(10)"), "{text}");

    let unknown = refusal(&site, &["book", "BTC-USX", "--venue", "kraken", "--once"]);
    assert!(unknown.contains("kraken has no book of BTC-USX; the nearest known are BTC-USD (kraken)"), "{unknown}");
    let elsewhere = refusal(&site, &["book", "BTC-USDT", "--venue", "kraken", "--once"]);
    assert!(elsewhere.contains("kraken has no book of BTC-USDT; binance has"), "{elsewhere}");
    assert!(refusal(&site, &["book", "BTC-USD"]).contains("this is no terminal; --once prints one picture"));

    for (key, words) in [
        ("q", ["BTC-USD", " LIVE ", "age "]),
        ("ctrl-c", ["SIMULATED", "spread ", "q: quit"]),
        ("SIGTERM", ["kraken", "bids", "imbalance"]),
    ] {
        let shown = in_terminal(&site, key, &words, &["book", "BTC-USD", "--venue", "kraken"]);
        assert_eq!((&shown["status"], &shown["restored"]), (&0.into(), &true.into()), "{key}: {shown}");
        assert_eq!(shown["screen"].as_array().map(Vec::len), Some(24));
    }

    let merged = site.output(&["book", "BTC-USD", "--consolidated", "--group", "USD+USDT", "--json"]);
    let merged: Value = serde_json::from_slice(&merged.stdout).expect("JSON");
    let members: Vec<_> = merged["members"].as_array().expect("members").iter().map(|m| m["venue"].clone()).collect();
    assert_eq!(members, ["binance", "kraken"], "{merged}");
    assert!(merged["asks"][0][2].as_object().is_some_and(|who| !who.is_empty()), "{merged}");
    assert_eq!(merged["fill"], Value::Null);

    let set = ["--set", "consolidated.groups=USD+USDT", "--set", "consolidated.fees.binance=\"10\""];
    let ask = |more: &[&str]| {
        let out = site.output(&[&set[..], &["book", "BTC-USD", "--consolidated"], more].concat());
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code())
    };
    let (sold, status) = ask(&["--json", "--fill", "0.001", "--side", "sell"]);
    let sold: Value = serde_json::from_str(&sold).expect("JSON");
    assert_eq!(sold["members"].as_array().map(Vec::len), Some(2), "the group is the configuration's: {sold}");
    let fill = &sold["fill"];
    assert_eq!((&fill["side"], &fill["size"], &fill["filled"]), (&"sell".into(), &"0.001".into(), &"0.001".into()));
    let binance = |leg: &Value| leg["venue"] == "binance" && leg["fee_bp"] != "10";
    let legs = fill["legs"].as_array().expect("legs");
    assert!(!legs.is_empty() && !legs.iter().any(binance), "{fill}");
    assert_eq!(status, Some(0), "{sold}");
    let (text, status) = ask(&["--fill", "1000000"]);
    assert!(text.contains("to buy 1000000: a taker pays ") && text.contains("NOT ALL OF IT: "), "{text}");
    assert!(text.contains("(10 bp)") && text.contains("(0 bp)"), "both give all they have: {text}");
    assert_eq!(status, Some(1), "{text}");
    let fine = refusal(&site, &["book", "BTC-USD", "--consolidated", "--fill", "0.0000000000001"]);
    assert!(fine.contains("--fill 0.0000000000001: needs 13 decimals, the scale allows 8"), "{fine}");

    let shown = in_terminal(&site, "q", &["consolidated", " live ", "kraken"], &["book", "BTC-USD", "--consolidated"]);
    assert_eq!((&shown["status"], &shown["restored"]), (&0.into(), &true.into()), "{shown}");

    // A killed feed's books come back under its next run.
    let epoch = line["epoch"].as_u64().expect("an epoch");
    kill(site.pid("feed-kraken").expect("it runs"), "-KILL");
    live(&site, "BTC-USD", "kraken", epoch);

    assert_eq!(up.stop(), Some(0));
    let ended = refusal(&site, &["book", "BTC-USD", "--venue", "kraken", "--once"]);
    assert!(ended.contains("no feed writes the books of kraken") && ended.contains("its writer has ended"), "{ended}");
}
