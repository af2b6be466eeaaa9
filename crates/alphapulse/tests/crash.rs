//! A feed that is killed again and again in the middle of a session tells every trade once: nothing twice, and nothing
//! missing that the venue's REST interface still serves.
//!
//! An emulator, a witness (a second feed with a ring of its own, so that the market goes on while the first is dead),
//! the feed that is killed, and a reader of its ring. In the end the reader's trades are compared with the emulator's
//! journal. The emulator numbers each symbol's trades without holes, also where the venue's ids mean nothing, so that a
//! missing one shows. Kraken's older protocol sends no ids: its trades are judged by `verify loss` alone, once every gap
//! was told to be filled.
//! `ALPHAPULSE_TEST_KILLS` sets how often; `make crash` kills 200 times.

mod common;

use common::{
    PATIENCE, Site, Tap, free_ports,
    journal::{answered, journal, number},
    role::Role,
    wait_for,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Kills unless more are asked for.
const KILLS: u32 = 6;
/// Frames a second of the emulator: about 250 trades a second of each symbol, so that a second is more than the
/// snapshot of trades that Kraken sends after a subscription.
const RATE: u32 = 2500;

/// What a reader of the killed feed's ring has seen.
#[derive(Default)]
struct Seen {
    /// A jump of ids is a gap that names them.
    contiguous: bool,
    /// The venue sends ids.
    numbered: bool,
    /// Trades by symbol and id: side, price, size.
    trades: BTreeMap<(String, u64), String>,
    /// Of each symbol the first and the last id and how many trades there are.
    spans: BTreeMap<String, (u64, u64, u64)>,
    twice: Vec<(String, u64)>,
    /// Ids told as missing and not told late since.
    missing: BTreeSet<(String, u64)>,
    /// Gaps without ids, by the event times around them, less what was told to be filled. The second time is 0 before it
    /// is known.
    windows: Vec<(String, u64, u64)>,
    /// When the newest trade of each symbol happened.
    newest: BTreeMap<String, u64>,
    gaps: u64,
    late: u64,
    epoch: u64,
    runs: u32,
    /// Runs that began while trades of an earlier one were still missing.
    resumed: u32,
    /// Runs, gaps and jumps of ids, in their order: what a failure is understood by.
    story: Vec<String>,
    /// Everything as it was told.
    lines: Vec<String>,
}

impl Seen {
    fn take(&mut self, l: &Value) {
        self.lines.push(l.to_string());
        let epoch = l["epoch"].as_u64().unwrap_or(self.epoch);
        if epoch != self.epoch {
            self.runs += 1;
            self.resumed += u32::from(!self.is_whole());
            self.story.push(format!("run {}", self.runs));
            self.epoch = epoch;
        }
        match l["type"].as_str() {
            Some("trade") => self.trade(l),
            Some("gap") if l["stream"] == "trade" => self.gap(l),
            Some("backfill") => self.fill(l),
            Some("overrun") => panic!("the reader fell behind: {l}"),
            _ => {}
        }
    }

    fn trade(&mut self, l: &Value) {
        let text = |k: &str| l[k].as_str().unwrap_or_else(|| panic!("{k} in {l}"));
        let id: u64 = if self.numbered {
            text("trade_id").parse().expect("an id")
        } else {
            assert!(l["trade_id"].is_null(), "an id nobody sent: {l}");
            self.trades.len() as u64
        };
        if l["late"] != true {
            let (symbol, at) = (text("symbol"), l["ts_event"].as_u64().expect("a time"));
            self.newest.insert(symbol.to_owned(), at);
            self.windows.iter_mut().filter(|w| w.0 == symbol && w.2 == 0).for_each(|w| w.2 = at);
        }
        let line = format!("{} {} {}", l["side"].as_str().unwrap_or("-"), number(text("price")), number(text("size")));
        let key = (text("symbol").to_owned(), id);
        self.late += u64::from(l["late"] == true);
        if self.missing.remove(&key) {
            assert_eq!(l["late"], true, "it was told as missing before: {l}");
        }
        if !self.numbered {
            // Times say nothing of what is between them.
        } else if let Some((_, last, _)) = self.spans.get(&key.0).filter(|span| span.1 + 1 < id) {
            self.story.push(format!("{} jumps from {last} to {id}", key.0));
        } else if l["late"] == true && !self.trades.contains_key(&(key.0.clone(), id - 1)) {
            self.story.push(format!("{} {id} is late", key.0));
        }
        let span = self.spans.entry(key.0.clone()).or_insert((id, id, 0));
        *span = (span.0.min(id), span.1.max(id), span.2 + 1);
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
            let told = self.contiguous && self.spans.contains_key(symbol);
            assert!(!told, "the last id was known: {l}");
            if let Some(since) = self.newest.get(symbol) {
                self.windows.push((symbol.to_owned(), *since, 0));
            }
            return;
        }
        self.story.push(format!("{symbol} gap {}..={}, {}", end("first"), end("last"), l["cause"]));
        for id in end("first")..=end("last") {
            let news = self.missing.insert((symbol.to_owned(), id));
            assert!(news, "told as missing twice: {symbol} {id}\n{}", self.story.join("\n"));
        }
    }

    fn fill(&mut self, l: &Value) {
        let time = |k: &str| l[k].as_u64().unwrap_or_else(|| panic!("{k} in {l}"));
        let (from, to) = (time("ts_from"), time("ts_to"));
        for w in self.windows.iter_mut().filter(|w| l["symbol"] == w.0 && from <= w.1) {
            w.1 = w.1.max(to);
        }
        self.windows.retain(|(_, since, until)| *until == 0 || since <= until);
    }

    /// Whether nothing is missing between the first and the last told of each symbol.
    fn is_whole(&self) -> bool {
        if !self.numbered {
            return self.windows.is_empty();
        }
        self.missing.is_empty() && self.spans.values().all(|(first, last, count)| last - first + 1 == *count)
    }

    /// Ids between the first and the last told of each symbol that were not told.
    fn holes(&self) -> Vec<(String, u64)> {
        let all = self.spans.iter().flat_map(|(symbol, s)| (s.0..=s.1).map(|id| (symbol.clone(), id)));
        all.filter(|key| !self.trades.contains_key(key)).collect()
    }
}

/// Ids of a list in short.
fn ranges(keys: &[(String, u64)]) -> String {
    let mut ranges: Vec<(&str, u64, u64)> = vec![];
    for (symbol, id) in keys {
        match ranges.last_mut().filter(|(of, _, last)| of == symbol && last + 1 == *id) {
            Some(range) => range.2 = *id,
            None => ranges.push((symbol, *id, *id)),
        }
    }
    ranges.iter().map(|(symbol, first, last)| format!("{symbol} {first}..={last}, ")).collect()
}

/// Every trade the emulator sent to anybody, over a socket or as an answer.
fn sent(folder: &Path, venue: &str) -> BTreeMap<(String, u64), String> {
    let mut all = BTreeMap::new();
    let mut add = |symbol: &str, line: &str| {
        let (id, rest) = line.split_once(' ').expect("id, side, price, size");
        let before = all.insert((symbol.to_owned(), id.parse().expect("an id")), rest.to_owned());
        assert!(before.is_none_or(|b| b == rest), "the emulator contradicts itself");
    };
    for entry in fs::read_dir(folder).expect("the journal").flatten() {
        let path = entry.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with('0') && name.ends_with(".jsonl") {
            let trades = journal(&path, venue).into_iter().filter(|((kind, _), _)| kind == "trade");
            trades.for_each(|((_, symbol), lines)| lines.iter().for_each(|line| add(&symbol, line)));
        }
    }
    if venue == "alpaca" {
        // An account has one session, so that nobody is sent what the feed misses.
        for (symbol, line) in answered(&folder.join("rest.http.jsonl")) {
            add(&symbol, &line);
        }
    }
    all
}

/// `alphapulse verify loss` says the same.
fn verify(site: &Site, journal: &Path, venue: &str, lines: &[String]) {
    let told = site.state.path().join("told.jsonl");
    fs::write(&told, lines.join("\n") + "\n").expect("written");
    let files = [journal, &told].map(|path| path.display().to_string());
    let output = site.output(&["verify", "loss", "--venue", venue, "--sent", &files[0], "--received", &files[1]]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// A feed to kill.
struct Case {
    name: &'static str,
    venue: &'static str,
    ws_path: &'static str,
    /// What is set of the venue.
    set: &'static [&'static str],
    /// What is set of the witness.
    witness: &'static [&'static str],
}

impl Case {
    fn is_contiguous(&self) -> bool {
        self.venue != "alpaca" && self.is_numbered()
    }

    fn is_numbered(&self) -> bool {
        !self.set.contains(&V1)
    }

    /// Kills the feed at random moments and compares in the end.
    fn kill_and_compare(&self) {
        let Case { name, venue, .. } = self;
        let kills = std::env::var("ALPHAPULSE_TEST_KILLS").map_or(KILLS, |n| n.parse().expect("a number of kills"));
        let mut plant = Plant::start(self);
        let tap = Tap::start(&plant.site, &["--from", "oldest", "--type", "trade", "--venue", venue]);
        let mut seen = Seen { contiguous: self.is_contiguous(), numbered: self.is_numbered(), ..Seen::default() };
        tap.find("a trade", |l| {
            seen.take(l);
            l["type"] == "trade"
        });

        let seed = fastrand::u64(..);
        println!("{name}: seed {seed}");
        let mut dice = fastrand::Rng::with_seed(seed);
        for _ in 0..kills {
            // Long enough now and then for more than a page of any venue to be missed.
            let dead = if dice.u8(..8) == 0 { dice.u64(2000..6000) } else { dice.u64(0..500) };
            plant.kill_for(Duration::from_millis(dead));
            thread::sleep(Duration::from_millis(dice.u64(50..1000)));
            tap.drain().iter().for_each(|l| seen.take(l));
        }
        // The last run may finish what the others left.
        let deadline = Instant::now() + PATIENCE;
        thread::sleep(Duration::from_secs(3));
        while !seen.is_whole() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(200));
            tap.drain().iter().for_each(|l| seen.take(l));
        }
        let journal = plant.stop();
        tap.drain().iter().for_each(|l| seen.take(l));

        let holes = if seen.numbered { seen.holes() } else { vec![] };
        println!(
            "{name}: {kills} kills, {} runs, {} of them with trades of an earlier one still missing; {} trades, {} gaps, \
             {} late; twice {}, missed {}",
            seen.runs,
            seen.resumed,
            seen.trades.len(),
            seen.gaps,
            seen.late,
            seen.twice.len(),
            holes.len()
        );
        verify(&plant.site, &journal, venue, &seen.lines);
        let story = seen.story.join("\n");
        assert!(seen.twice.is_empty(), "told twice: {}\n{story}", ranges(&seen.twice));
        assert!(holes.is_empty(), "missed: {}\n{story}", ranges(&holes));
        assert!(seen.missing.is_empty(), "called missing in the end: {:?}", seen.missing);
        assert!(seen.numbered || seen.windows.is_empty(), "not told to be filled: {:?}", seen.windows);
        let sent = if seen.numbered { sent(&journal, venue) } else { BTreeMap::new() };
        for (key, line) in &seen.trades {
            // What was traded before anybody listened may be fetched all the same.
            let listened = sent.range((key.0.clone(), 0)..).next().is_some_and(|(first, _)| first <= key);
            assert!(
                !listened || sent.get(key) == Some(line),
                "{key:?} {line} is not what was sent: {:?}",
                sent.get(key)
            );
        }
        assert!(seen.late > 0, "nothing was missed, so nothing was proven");
    }
}

/// An emulator, a witness and the feed that is killed.
struct Plant {
    site: Site,
    venue: &'static str,
    set: Vec<String>,
    emulator: Role,
    witness: Role,
    victim: Role,
    /// The witness's folders.
    _aside: tempfile::TempDir,
}

impl Plant {
    fn start(case: &Case) -> Plant {
        let (venue, site) = (case.venue, Site::new(""));
        let listen = format!("127.0.0.1:{}", free_ports(1)[0]);
        let mut set = vec![
            format!("emulator.{venue}.listen={listen:?}"),
            format!("emulator.{venue}.journal={:?}", site.state.path().join("journal").display().to_string()),
            format!("emulator.{venue}.frames_per_second={RATE}"),
            // The market outlives every wait for a request: what is missing in the end was lost, not forgotten.
            format!("emulator.{venue}.trades_kept=200000"),
            format!("venues.{venue}.ws_url=\"ws://{listen}{}\"", case.ws_path),
            format!("venues.{venue}.rest_url=\"http://{listen}\""),
            format!("venues.{venue}.book_depth=10"),
            "ring.slots=262144".to_owned(),
        ];
        let own = |set: &[&str]| set.iter().map(|s| format!("venues.{venue}.{s}")).collect::<Vec<_>>();
        set.extend(own(case.set));
        let aside = tempfile::tempdir().expect("a folder");
        let folder = |name| format!("paths.{name}={:?}", aside.path().join(name).display().to_string());
        let witness_set = [&set[..], &["state", "rings"].map(folder), &own(case.witness)].concat();
        let emulator = Role::start(&site, &["emulator", venue], &set);
        wait_for("the emulator", || std::net::TcpStream::connect(&listen).ok());
        let feed = Plant::feed(venue);
        let witness = Role::start(&site, &feed, &witness_set);
        let victim = Role::start(&site, &feed, &set);
        wait_for("the ring", || site.rings.path().join(format!("{venue}.ring")).exists().then_some(()));
        Plant { site, venue, set, emulator, witness, victim, _aside: aside }
    }

    fn feed(venue: &'static str) -> [&'static str; 4] {
        ["feed", venue, "--origin", "simulated"]
    }

    fn kill_for(&mut self, dead: Duration) {
        self.victim.kill();
        thread::sleep(dead);
        self.victim = Role::start(&self.site, &Plant::feed(self.venue), &self.set);
    }

    /// Ends all in order; the emulator's journal.
    fn stop(&mut self) -> std::path::PathBuf {
        self.victim.stop();
        self.witness.stop();
        self.emulator.stop();
        // The tap goes on reading.
        thread::sleep(Duration::from_millis(500));
        self.site.state.path().join("journal")
    }
}

const BOOKS: &str = "streams=[\"trade\",\"book\"]";
/// For venues that count what is asked for each book: it would all be spent at such a rate of starts.
const TRADES: &str = "streams=[\"trade\"]";
const DOLLARS: &str = "symbols=[\"BTC-USD\",\"ETH-USD\",\"SOL-USD\"]";
const PAIR: &str = "pair=true";
/// Trades without ids.
const V1: &str = "choices.api=\"v1\"";

const KRAKEN: Case = Case { name: "kraken", venue: "kraken", ws_path: "/v2", set: &[BOOKS], witness: &[] };
const BINANCE: Case = Case { name: "binance", venue: "binance", ws_path: "/stream", set: &[TRADES], witness: &[] };
const COINBASE: Case =
    Case { name: "coinbase exchange", venue: "coinbase", ws_path: "", set: &[BOOKS, DOLLARS], witness: &[] };

/// One session an endpoint: the witness takes another one, whose readers keep the same market going.
const COINS: Case = Case {
    name: "alpaca crypto",
    venue: "alpaca",
    ws_path: "",
    set: &[TRADES, DOLLARS],
    witness: &["symbols=[\"AAPL\"]"],
};
const SHARES: Case = Case {
    name: "alpaca stocks",
    set: &[TRADES, "symbols=[\"AAPL\",\"SPY\"]"],
    witness: &["choices.feed=\"sip\""],
    ..COINS
};

macro_rules! cases {
    ($($test:ident = $case:expr;)+) => {
        $(#[test] fn $test() { $case.kill_and_compare(); })+
    };
}

cases! {
    kraken = KRAKEN;
    kraken_v1 = Case { name: "kraken v1", ws_path: "", set: &[TRADES, V1], ..KRAKEN };
    binance = BINANCE;
    coinbase_exchange = COINBASE;
    coinbase_advanced = Case {
        name: "coinbase advanced",
        set: &[BOOKS, DOLLARS, "choices.api=\"advanced\""],
        ..COINBASE
    };
    alpaca_crypto = COINS;
    alpaca_stocks = SHARES;
    pair_of_kraken = Case { name: "kraken, pair", set: &[BOOKS, PAIR], ..KRAKEN };
    pair_of_binance = Case { name: "binance, pair", set: &[TRADES, PAIR], ..BINANCE };
    pair_of_coinbase_exchange = Case {
        name: "coinbase exchange, pair",
        set: &[BOOKS, DOLLARS, PAIR],
        ..COINBASE
    };
}
