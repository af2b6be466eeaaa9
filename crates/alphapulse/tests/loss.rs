//! Connections that break and feeds and relays that are killed at random while frames flow cost nothing that is not
//! said: judged by `alphapulse verify loss` between the emulator's journal and a consumer of the relay.
//!
//! An emulator, a witness (a second feed, so that the market goes on while the first is dead and the journal knows what
//! that one missed), the feed behind a chaos proxy, the relay, and a tap whose lines go straight into the verification.
//! `ALPHAPULSE_TEST_FRAMES` sets how many frames are sent at least, `ALPHAPULSE_TEST_BREAKS` how often something breaks,
//! `ALPHAPULSE_TEST_RATE` the frames a second; `make loss` takes 10,000,000, 200 and 25,000.

mod common;

use common::{PATIENCE, Site, free_ports, role::Role, wait_for};
use emulator::chaos::{Address, Handle, Options, Proxy, Script};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |n| n.parse().unwrap_or_else(|_| panic!("{name}={n} is no number")))
}

/// Whose feed suffers.
struct Case {
    venue: &'static str,
    ws_path: &'static str,
}

/// Trades told as missing and not told late so far, and how many came late.
#[derive(Default)]
struct Missing {
    ids: BTreeSet<(String, u64)>,
    late: u64,
    trades: u64,
}

impl Missing {
    fn take(&mut self, line: &str) {
        let is_late = line.contains("\"late\":true");
        self.trades += u64::from(line.starts_with("{\"type\":\"trade\""));
        if !is_late && !line.starts_with("{\"type\":\"gap\"") {
            return;
        }
        let l: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let symbol = || l["symbol"].as_str().expect("a symbol").to_owned();
        let id = |key: &str| l[key].as_str().and_then(|text| text.parse::<u64>().ok());
        if let (true, Some(id)) = (is_late, id("trade_id")) {
            self.ids.remove(&(symbol(), id));
            self.late += 1;
        } else if let (Some("trade"), Some(first), Some(last)) = (l["stream"].as_str(), id("first"), id("last")) {
            self.ids.extend((first..=last).map(|id| (symbol(), id)));
        }
    }
}

/// A tap of the relay whose lines go into a verification.
struct Consumer {
    tap: Child,
    verify: Child,
    carrier: Option<JoinHandle<()>>,
    missing: Arc<Mutex<Missing>>,
}

impl Consumer {
    fn start(site: &Site, venue: &str, journal: &std::path::Path) -> Consumer {
        let mut verify = site
            .command()
            .args(["verify", "loss", "--json", "--others", "witness", "--received", "-", "--venue", venue, "--sent"])
            .arg(journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut tap = site
            .command()
            .args(["tap", "--relay", "--from", "oldest", "--type", "trade,book", "--venue", venue])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let missing = Arc::new(Mutex::new(Missing::default()));
        let (from, to, ours) =
            (tap.stdout.take().expect("piped"), verify.stdin.take().expect("piped"), missing.clone());
        let carrier = thread::spawn(move || carry(from, to, &ours));
        Consumer { tap, verify, carrier: Some(carrier), missing }
    }

    /// Ends the tap, then hears the verdict.
    fn verdict(mut self) -> (Option<i32>, Value, String) {
        common::kill(self.tap.id(), "-TERM");
        wait_for("the end of the tap", || self.tap.try_wait().expect("waiting"));
        self.carrier.take().expect("running").join().expect("every line was carried");
        let (mut json, mut words) = (String::new(), String::new());
        self.verify.stdout.take().expect("piped").read_to_string(&mut json).expect("read");
        self.verify.stderr.take().expect("piped").read_to_string(&mut words).expect("read");
        let status = self.verify.wait().expect("waiting");
        (status.code(), serde_json::from_str(&json).unwrap_or_default(), words)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        for child in [&mut self.tap, &mut self.verify] {
            // After an orderly end both calls find nothing left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn carry(from: impl Read, mut to: ChildStdin, missing: &Mutex<Missing>) {
    for line in BufReader::with_capacity(1 << 20, from).lines().map_while(Result::ok) {
        missing.lock().expect("a lock").take(&line);
        writeln!(to, "{line}").expect("the verification listens");
    }
}

/// Everything that runs.
struct Plant {
    site: Site,
    venue: &'static str,
    set: Vec<String>,
    emulator: Role,
    witness: Role,
    feed: Role,
    relay: Role,
    way: Handle,
    /// The witness's folders.
    _aside: tempfile::TempDir,
}

impl Plant {
    fn start(case: &Case, rate: u64) -> Plant {
        let (venue, site) = (case.venue, Site::new(""));
        let listen = format!("127.0.0.1:{}", free_ports(1)[0]);
        let state = site.state.path();
        let mut set = vec![
            format!("emulator.{venue}.listen={listen:?}"),
            format!("emulator.{venue}.journal={:?}", state.join("journal").display().to_string()),
            format!("emulator.{venue}.frames_per_second={rate}"),
            // The interface for history has all that was ever traded.
            format!("emulator.{venue}.trades_kept=1000000"),
            format!("venues.{venue}.rest_url=\"http://{listen}\""),
            format!("venues.{venue}.book_depth=10"),
            // No venue is spared here, and no connection lives long.
            "reconnect.base_ms=20".to_owned(),
            "reconnect.cap_ms=500".to_owned(),
            format!("ring.slots={}", (rate * 50).next_power_of_two().max(262_144)),
        ];
        let emulator = Role::start(&site, &["emulator", venue], &set);
        wait_for("the emulator", || TcpStream::connect(&listen).ok());
        let (here, to) = (Address::Tcp("127.0.0.1:0".to_owned()), Address::Tcp(listen.clone()));
        let options =
            Options { listen: here, to, script: Script::default(), seed: 1, journal: Box::new(std::io::sink()) };
        let way = Proxy::start(options).expect("a proxy");

        let aside = tempfile::tempdir().expect("a folder");
        let folder = |name| format!("paths.{name}={:?}", aside.path().join(name).display().to_string());
        let own = |url: String| vec![format!("venues.{venue}.ws_url=\"ws://{url}\"")];
        let apart = [
            &set[..],
            &["state", "rings"].map(folder),
            &own(format!("{listen}{}?witness", case.ws_path)),
            &[format!("venues.{venue}.streams=[\"trade\"]")],
        ]
        .concat();
        let witness = Role::start(&site, &Plant::feed(venue), &apart);
        set.extend(own(format!("{}{}", way.address(), case.ws_path)));
        let feed = Role::start(&site, &Plant::feed(venue), &set);
        wait_for("the ring", || site.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
        let relay = Role::start(&site, &["relay"], &set);
        wait_for("the relay", || state.join("relay.sock").exists().then_some(()));
        Plant { site, venue, set, emulator, witness, feed, relay, way, _aside: aside }
    }

    fn feed(venue: &'static str) -> [&'static str; 4] {
        ["feed", venue, "--origin", "simulated"]
    }

    fn journal(&self) -> PathBuf {
        self.site.state.path().join("journal")
    }

    /// Lets one thing go wrong: which one is drawn.
    fn break_something(&mut self, dice: &mut fastrand::Rng) -> &'static str {
        let dead = Duration::from_millis(dice.u64(0..300));
        match dice.u8(..3) {
            0 => {
                self.way.break_all();
                "connection"
            }
            1 => {
                self.feed.kill();
                thread::sleep(dead);
                self.feed = Role::start(&self.site, &Plant::feed(self.venue), &self.set);
                "feed"
            }
            _ => {
                self.relay.kill();
                thread::sleep(dead);
                self.relay = Role::start(&self.site, &["relay"], &self.set);
                "relay"
            }
        }
    }

    /// Frames the emulator sent so far, by its journal: a row of the times is some 27 bytes.
    fn frames(&self) -> u64 {
        let files = fs::read_dir(self.journal()).expect("the journal").flatten();
        let times = files.filter(|file| file.file_name().to_string_lossy().ends_with(".recv.tsv"));
        times.map(|file| file.metadata().map_or(0, |m| m.len()) / 27).sum()
    }

    fn stop(&mut self) {
        self.feed.stop();
        self.witness.stop();
        self.emulator.stop();
        // The relay goes on reading.
        thread::sleep(Duration::from_millis(500));
    }
}

impl Case {
    fn break_and_compare(&self) {
        let (frames, breaks) = (number("ALPHAPULSE_TEST_FRAMES", 20_000), number("ALPHAPULSE_TEST_BREAKS", 8));
        let rate = number("ALPHAPULSE_TEST_RATE", 2500);
        let mut plant = Plant::start(self, rate);
        let consumer = Consumer::start(&plant.site, self.venue, &plant.journal());
        let missing = consumer.missing.clone();
        wait_for("a trade", || (missing.lock().expect("a lock").trades > 0).then_some(()));
        let seed = fastrand::u64(..);
        println!("{}: seed {seed}", self.venue);
        let mut dice = fastrand::Rng::with_seed(seed);
        // So that the frames are out when the last thing breaks, or soon after.
        let pause = (frames * 1000 / rate / breaks).clamp(200, 10_000);
        let mut broken = std::collections::BTreeMap::<&str, u64>::new();
        for _ in 0..breaks {
            thread::sleep(Duration::from_millis(dice.u64(pause / 2..pause)));
            *broken.entry(plant.break_something(&mut dice)).or_default() += 1;
        }
        let left = Instant::now() + PATIENCE.max(Duration::from_secs(frames / rate * 2));
        while plant.frames() < frames && Instant::now() < left {
            thread::sleep(Duration::from_millis(100));
        }
        // What was missed is fetched in the end.
        thread::sleep(Duration::from_secs(2));
        let patience = Instant::now() + PATIENCE.max(Duration::from_secs(breaks));
        while !missing.lock().expect("a lock").ids.is_empty() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(100));
        }
        plant.stop();
        let (code, report, words) = consumer.verdict();
        println!("{}: {broken:?} broke, {report}", self.venue);
        let trades = &report["streams"]["trade"];
        let figure = |v: &Value, name: &str| v[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}: {words}"));
        for name in ["lost", "duplicated", "reordered", "different", "never_sent", "named_live", "misnamed"] {
            assert_eq!(figure(trades, name), 0, "{name}: {words}");
        }
        // The interface for history serves all of them.
        assert_eq!((figure(trades, "named"), figure(trades, "unnamed_gaps")), (0, 0), "not fetched: {words}");
        assert_eq!(figure(&report, "overruns"), 0, "the consumer was fast enough");
        assert_eq!(code, Some(0), "{words}");
        // No gap is larger than what the feed's own connections were not sent, or lost on their last way.
        let most = figure(trades, "down") + figure(&report, "in_flight") + figure(trades, "named_never_sent");
        let named = figure(&report, "named_ever");
        assert!(named <= most, "{named} named, {most} not sent to the feed");
        assert!(figure(&report["streams"]["book"], "delivered") > 0, "books are compared");
        assert!(figure(&report, "frames") >= frames, "fewer frames than asked for");
        let outages = ["connection", "feed"].iter().filter_map(|what| broken.get(what)).sum::<u64>();
        assert!(outages == 0 || figure(trades, "late") > 0, "nothing was missed, so nothing was proven");
    }
}

#[test]
fn kraken() {
    Case { venue: "kraken", ws_path: "/v2" }.break_and_compare();
}

#[test]
fn binance() {
    Case { venue: "binance", ws_path: "/stream" }.break_and_compare();
}
