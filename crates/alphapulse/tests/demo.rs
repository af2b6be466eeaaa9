//! The demo as a newcomer meets it: everything starts, the stream is alive, a killed process comes back alone.

mod common;

use common::{Site, Tap, Up, VENUES, kill, wait_for};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
};

fn is(line: &Value, kind: &str, venue: &str) -> bool {
    line["type"] == kind && line["venue"] == venue
}

/// What each venue of the demo tells at once. Bars of Coinbase Exchange there are none; Alpaca's come by the minute.
fn all_kinds(venue: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut kinds = vec!["instrument", "trade", "book", "quote"];
    if matches!(venue, "kraken" | "binance") {
        kinds.push("bar");
    }
    kinds.into_iter().map(|kind| (kind, venue)).collect()
}

#[test]
fn trades_books_and_quotes_of_all_venues_arrive() {
    let site = Site::all("");
    let up = Up::start(&site, &[]);
    wait_for("all rings", || VENUES.iter().all(|v| site.rings.path().join(format!("{v}.ring")).exists()).then_some(()));
    for relay in [false, true] {
        if relay {
            wait_for("the relay's socket", || site.state.path().join("relay.sock").exists().then_some(()));
        }
        let tap = Tap::start(&site, if relay { &["--relay"] } else { &[] });
        let mut missing: Vec<(&str, &str)> = VENUES.iter().flat_map(|venue| all_kinds(venue)).collect();
        let mut shares = vec!["AAPL", "SPY"];
        let mut books_before_snapshot = 0;
        let mut snapshots: Vec<(String, String)> = vec![];
        while !(missing.is_empty() && shares.is_empty()) {
            let line = tap.find(&format!("{missing:?} {shares:?} (relay: {relay})"), |_| true);
            missing.retain(|(kind, venue)| !is(&line, kind, venue));
            shares.retain(|share| !(is(&line, "trade", "alpaca") && line["symbol"] == *share));
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
    let words = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success(), "{words}");
    for venue in VENUES {
        assert!(words.contains(&format!("feed-{venue}")) && words.contains(&format!("ring {venue}")), "{words}");
    }
    let books: Value = serde_json::from_slice(&site.output(&["status", "--json"]).stdout).expect("JSON");
    for venue in VENUES {
        assert!(words.contains(&format!("books {venue:<12} ")), "{words}");
        let own = books["books"].as_array().expect("books").iter().find(|b| b["venue"] == venue).expect("its books");
        let live = own["states"]["live"].as_u64().unwrap_or(0);
        assert!(live > 0 && own["problem"].is_null(), "{own}");
        let all: u64 = own["states"].as_object().expect("states").values().filter_map(Value::as_u64).sum();
        assert_eq!(own["not_live"].as_array().map(Vec::len), Some((all - live) as usize), "{own}");
    }
    let known = instruments(&site);
    for venue in VENUES {
        assert!(known.iter().any(|i| i["venue"] == venue), "{venue} in /v1/instruments: {known:?}");
    }
    assert_eq!(up.stop(), Some(0), "an orderly end");
    let tap = site.output(&["tap", "--from", "oldest", "--for", "1", "--type", "trade"]);
    let told = String::from_utf8_lossy(&tap.stdout).into_owned();
    assert_eq!(told.matches(r#""type":"session_start""#).count(), VENUES.len(), "{told:.300}");
    assert_eq!(told.matches(r#""simulated":true"#).count(), VENUES.len(), "every session says it is simulated");
    assert_eq!(told.matches(r#""type":"session_end""#).count(), VENUES.len(), "all feeds told the end of their run");
}

/// What the gateway lists.
fn instruments(site: &Site) -> Vec<Value> {
    let roles: Value = serde_json::from_slice(&site.output(&["status", "--json"]).stdout).expect("JSON");
    let listen = roles["roles"].as_array().expect("roles").iter().find(|r| r["role"] == "gateway").expect("a gateway");
    let address =
        listen["listen"].as_str().and_then(|l| l.strip_prefix("ws://")?.split('/').next()).expect("an address");
    let mut socket = TcpStream::connect(address).expect("the gateway");
    let key = String::from_utf8(site.output(&["key", "create"]).stdout).expect("a key");
    let headers = format!("Host: {address}\r\nAuthorization: Bearer {}\r\nConnection: close", key.trim());
    write!(socket, "GET /v1/instruments HTTP/1.1\r\n{headers}\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    body.as_array().or_else(|| body["instruments"].as_array()).expect("a list").clone()
}

#[test]
fn a_killed_child_is_back_by_itself_and_the_others_never_stop() {
    let site = Site::new("");
    let _up = Up::start(&site, &[]);
    let all =
        ["emulator-binance", "emulator-kraken", "feed-binance", "feed-kraken", "gateway", "recorder", "relay", "up"];
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
    let urls = |venue: &&str| {
        format!("[venues.{venue}]\nws_url = \"wss://{venue}.invalid\"\nrest_url = \"https://{venue}.invalid\"\n")
    };
    let site = Site::all(&VENUES.iter().map(urls).collect::<String>());
    let up = Up::start(&site, &["--live"]);
    let tap = wait_for("rings", || {
        site.rings.path().join("binance.ring").exists().then(|| Tap::start(&site, &["--from", "oldest"]))
    });
    for venue in ["kraken", "binance", "coinbase"] {
        for _ in 0..2 {
            let line = tap.find("the failure in words", |l| is(l, "status", venue) && l["state"] == "down");
            let text = line["text"].as_str().expect("a text");
            assert!(text.contains(".invalid") && text.contains("the next try is in"), "{text}");
        }
    }
    drop(tap);
    assert_eq!(up.stop(), Some(0));
    let words = std::fs::read_to_string(site.state.path().join("up.out")).expect("what up said");
    assert!(words.contains("alpaca: disabled, no credentials"), "{words}");
    assert!(!site.rings.path().join("alpaca.ring").exists(), "nobody spoke for it");
}

#[test]
fn a_check_of_the_configuration_says_which_venue_lacks_keys() {
    let site = Site::all("");
    let out = site.output(&["config", "check"]);
    let words = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{words}");
    assert!(words.contains("alpaca: disabled, no credentials; set ALPACA_API_KEY and ALPACA_API_SECRET"), "{words}");
    let out =
        site.command().args(["config", "check"]).env("ALPACA_API_KEY", "k").env("ALPACA_API_SECRET", "s").output();
    let words = String::from_utf8_lossy(&out.expect("the program runs").stdout).into_owned();
    assert!(words.contains("alpaca: AAPL, SPY, BTC-USD") && !words.contains("disabled"), "{words}");
}

#[test]
fn keys_and_venues_do_not_meet_emulators() {
    let site = Site::all("");
    let real = "[venues.alpaca]\nws_url = \"wss://stream.data.alpaca.markets\"\n";
    for (site, args, part) in [
        (&Site::all(real), ["feed", "alpaca", "--origin", "simulated"], "a simulated feed speaks to an emulator"),
        (&site, ["feed", "alpaca", "--origin", "live"], "ALPACA_API_KEY and ALPACA_API_SECRET are not set"),
    ] {
        let out = site.output(&args);
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && words.contains(part), "{words}");
    }
    let text = std::fs::read_to_string(&site.config).expect("the configuration");
    let address = text.split("[emulator.kraken]\nlisten = \"").nth(1).and_then(|t| t.split('"').next()).expect("it");
    let site = Site::all(&format!("[venues.kraken]\nws_url = \"ws://{address}/v2\"\n"));
    let pointed =
        site.command().args(["--set", &format!("emulator.kraken.listen={address}"), "feed", "kraken"]).output();
    let words = String::from_utf8_lossy(&pointed.expect("the program runs").stderr).into_owned();
    assert!(words.contains("is the address of emulator.kraken"), "{words}");
}
