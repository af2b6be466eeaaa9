//! A feed that is killed again and again in the middle of a session tells every trade once: nothing twice, and nothing
//! missing that the venue's REST interface still serves.
//!
//! An emulator, a witness (a second feed with a ring of its own, so that the market goes on while the first is dead),
//! the feed that is killed, and a reader of its ring. In the end the reader's trades are compared with the emulator's
//! journal. `ALPHAPULSE_TEST_KILLS` sets how often; `make crash` kills 200 times.

mod common;

use common::{
    PATIENCE, Site, Tap,
    journal::{journal, number},
    wait_for,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Kills unless more are asked for.
const KILLS: u32 = 10;
/// Frames a second of the emulator: about 250 trades a second of each symbol, so that a second is more than the
/// snapshot of trades that Kraken sends after a subscription.
const RATE: u32 = 2500;

/// A role of the program, killed at the end of the test if not before.
struct Role(Child);

impl Role {
    fn start(site: &Site, args: &[&str], set: &[String]) -> Role {
        let log = fs::File::options().create(true).append(true).open(site.state.path().join("roles.log"));
        let mut command = site.command();
        for pair in set {
            command.args(["--set", pair]);
        }
        let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        Role(command.spawn().expect("the program starts"))
    }

    fn kill(&mut self) {
        self.0.kill().expect("it lives until it is killed");
        self.0.wait().expect("it is dead");
    }

    fn stop(mut self) {
        common::kill(self.0.id(), "-TERM");
        wait_for("the end of a role", || self.0.try_wait().expect("waiting"));
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // After an orderly end both calls find nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a reader of the killed feed's ring has seen.
#[derive(Default)]
struct Seen {
    /// Trades by symbol and id: side, price, size.
    trades: BTreeMap<(String, u64), String>,
    twice: Vec<(String, u64)>,
    /// Ids told as missing and not told late since.
    missing: BTreeSet<(String, u64)>,
    gaps: u64,
    late: u64,
    epoch: u64,
    runs: u32,
    /// Runs that began while trades of an earlier one were still missing.
    resumed: u32,
}

impl Seen {
    fn take(&mut self, l: &Value) {
        match l["type"].as_str() {
            Some("trade") => self.trade(l),
            Some("gap") if l["stream"] == "trade" => self.gap(l),
            Some("overrun") => panic!("the reader fell behind: {l}"),
            _ => {}
        }
        let epoch = l["epoch"].as_u64().unwrap_or(self.epoch);
        if epoch != self.epoch {
            self.runs += 1;
            self.resumed += u32::from(!self.missing.is_empty());
            self.epoch = epoch;
        }
    }

    fn trade(&mut self, l: &Value) {
        let text = |k: &str| l[k].as_str().unwrap_or_else(|| panic!("{k} in {l}"));
        let id: u64 = text("trade_id").parse().expect("an id");
        let line = format!("{} {} {}", text("side"), number(text("price")), number(text("size")));
        let key = (text("symbol").to_owned(), id);
        let was_missing = self.missing.remove(&key);
        if was_missing {
            self.late += 1;
            assert_eq!(l["late"], true, "it was told as missing before: {l}");
        }
        if self.trades.insert(key.clone(), line).is_some() {
            self.twice.push(key);
        }
    }

    fn gap(&mut self, l: &Value) {
        let end = |k: &str| l[k].as_str().and_then(|t| t.parse::<u64>().ok()).unwrap_or_else(|| panic!("{k} in {l}"));
        let symbol = l["symbol"].as_str().expect("a symbol");
        self.gaps += 1;
        if l["first"].is_null() {
            // Killed before the first trade of a symbol: nobody can say which ids were missed.
            let told = self.trades.keys().any(|(s, _)| s == symbol);
            return assert!(!told, "the last id was known: {l}");
        }
        for id in end("first")..=end("last") {
            assert!(self.missing.insert((symbol.to_owned(), id)), "told as missing twice: {symbol} {id}");
        }
    }

    /// Ids between the first and the last told of each symbol that were not told.
    fn holes(&self) -> Vec<(String, u64)> {
        let mut ends: BTreeMap<&String, (u64, u64)> = BTreeMap::new();
        for (symbol, id) in self.trades.keys() {
            let end = ends.entry(symbol).or_insert((*id, *id));
            *end = (end.0.min(*id), end.1.max(*id));
        }
        let all = ends.into_iter().flat_map(|(symbol, (first, last))| (first..=last).map(|id| (symbol.clone(), id)));
        all.filter(|key| !self.trades.contains_key(key)).collect()
    }
}

/// Every trade the emulator sent to anybody.
fn sent(folder: &Path, venue: &str) -> BTreeMap<(String, u64), String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the journal").flatten() {
        let path = entry.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !(name.starts_with('0') && name.ends_with(".jsonl")) {
            continue;
        }
        for ((kind, symbol), lines) in journal(&path, venue) {
            for line in lines.iter().filter(|_| kind == "trade") {
                let (id, rest) = line.split_once(' ').expect("id, side, price, size");
                let key = (symbol.clone(), id.parse().expect("an id"));
                let before = all.insert(key, rest.to_owned());
                assert!(before.is_none_or(|b| b == rest), "the emulator contradicts itself");
            }
        }
    }
    all
}

/// Kills the feed of one venue at random moments and compares in the end.
fn kill_and_compare(venue: &str, ws_path: &str) {
    let kills = std::env::var("ALPHAPULSE_TEST_KILLS").map_or(KILLS, |n| n.parse().expect("a number of kills"));
    let site = Site::new("");
    let config: toml::Table = fs::read_to_string(&site.config).expect("readable").parse().expect("TOML");
    let listen = config["emulator"][venue]["listen"].as_str().expect("an address").to_owned();
    let common = [
        format!("emulator.{venue}.frames_per_second={RATE}"),
        format!("venues.{venue}.ws_url=\"ws://{listen}{ws_path}\""),
        format!("venues.{venue}.rest_url=\"http://{listen}\""),
        // The emulator counts request weight as the venue does, and books would spend it all at such a rate of starts.
        format!("venues.{venue}.streams={}", if venue == "kraken" { "[\"trade\",\"book\"]" } else { "[\"trade\"]" }),
        format!("venues.{venue}.book_depth=10"),
        "ring.slots=262144".to_owned(),
    ];
    let aside = tempfile::tempdir().expect("a folder");
    let witness_paths =
        ["state", "rings"].map(|name| format!("paths.{name}={:?}", aside.path().join(name).display().to_string()));
    let emulator = Role::start(&site, &["emulator", venue], &common);
    wait_for("the emulator", || std::net::TcpStream::connect(&listen).ok());
    let feed = ["feed", venue, "--origin", "simulated"];
    let witness = Role::start(&site, &feed, &[&common[..], &witness_paths[..]].concat());
    let mut victim = Role::start(&site, &feed, &common);
    wait_for("the ring", || site.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
    let tap = Tap::start(&site, &["--from", "oldest", "--type", "trade", "--venue", venue]);
    let mut seen = Seen::default();
    let first = tap.find("a trade", |l| {
        seen.take(l);
        l["type"] == "trade"
    });
    println!("{venue}: begins with {}", first["trade_id"]);

    let seed = fastrand::u64(..);
    println!("{venue}: seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        victim.kill();
        // Long enough now and then for more than a page of either venue to be missed.
        let dead = if dice.u8(..8) == 0 { dice.u64(2000..6000) } else { dice.u64(0..500) };
        thread::sleep(Duration::from_millis(dead));
        victim = Role::start(&site, &feed, &common);
        thread::sleep(Duration::from_millis(dice.u64(50..1000)));
        tap.drain().iter().for_each(|l| seen.take(l));
    }
    // The last run may finish what the others left.
    let deadline = Instant::now() + PATIENCE;
    let settled = |seen: &Seen| seen.missing.is_empty() && seen.holes().is_empty();
    thread::sleep(Duration::from_secs(3));
    loop {
        tap.drain().iter().for_each(|l| seen.take(l));
        if settled(&seen) || Instant::now() > deadline {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
    victim.stop();
    witness.stop();
    emulator.stop();
    thread::sleep(Duration::from_millis(500));
    tap.drain().iter().for_each(|l| seen.take(l));

    let sent = sent(&site.state.path().join(format!("journal-{venue}")), venue);
    let holes = seen.holes();
    println!(
        "{venue}: {kills} kills, {} runs, {} of them with trades of an earlier one still missing; {} trades, {} gaps, \
         {} late; twice {}, missed {}",
        seen.runs,
        seen.resumed,
        seen.trades.len(),
        seen.gaps,
        seen.late,
        seen.twice.len(),
        holes.len()
    );
    assert_eq!(seen.twice, [], "told twice");
    assert_eq!(holes, [], "missed");
    assert!(seen.missing.is_empty(), "called missing in the end: {:?}", seen.missing);
    for (key, line) in &seen.trades {
        assert_eq!(sent.get(key), Some(line), "{key:?} is not what was sent");
    }
    assert!(seen.gaps > 0 && seen.late > 0, "nothing was missed, so nothing was proven");
}

#[test]
fn kraken_s_feed_may_be_killed_at_any_moment() {
    kill_and_compare("kraken", "/v2");
}

#[test]
fn binance_s_feed_may_be_killed_at_any_moment() {
    kill_and_compare("binance", "/stream");
}
