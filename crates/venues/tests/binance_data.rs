//! Recorded Binance frames through the session, judged against a plain reading of the same text by `serde_json`.
//!
//! The captures are not part of the repository: `ALPHAPULSE_TEST_DATA` names their folder (default `../shared/data`
//! beside the repository); where it is absent each test says that it was skipped.

use flate2::read::GzDecoder;
use model::{Decimal, InstrumentId, StreamKind, UnixNanos, Venue};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use venues::{Counts, Input, Outbox, Reply, RequestId, Session, SessionSettings, Settings};
use wire::Envelope;
use wire::json::{BookLine, Encoder, Line};

fn folder(test: &str) -> Option<PathBuf> {
    venue_folder(test, Venue::Binance)
}

fn venue_folder(test: &str, venue: Venue) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("ALPHAPULSE_TEST_DATA").map_or_else(
        || root.join("../shared/data"),
        |given| {
            let given = PathBuf::from(given);
            if given.is_relative() { root.join(given) } else { given }
        },
    );
    let folder = data.join("venues").join(venue.name());
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED {test}: {} is not there", folder.display());
    None
}

fn text(path: &Path) -> String {
    let zipped = path.with_file_name(format!("{}.gz", path.file_name().expect("a file").to_string_lossy()));
    let mut text = String::new();
    if zipped.exists() {
        let file = std::fs::File::open(&zipped).expect("readable");
        GzDecoder::new(file).read_to_string(&mut text).expect("gzip of text");
    } else {
        text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    text
}

/// `1617566591.326123` s or whole ns.
fn recv_ns(text: &str) -> UnixNanos {
    let scale = if text.contains('.') { 9 } else { 0 };
    let time: Decimal = text.parse().expect("a receive time");
    UnixNanos(time.at_scale(scale).expect("in range") as u64)
}

/// RFC 3339, UTC.
fn at_ns(text: &str) -> UnixNanos {
    UnixNanos(scan::rfc3339_nanos(text.as_bytes()).expect("a time").0)
}

struct Fetched {
    symbol: String,
    at: UnixNanos,
    body: String,
}

struct Capture {
    frames: Vec<(UnixNanos, String)>,
    rest: Vec<Fetched>,
}

fn capture(folder: &Path, name: &str) -> Capture {
    let base = folder.join("spot_ws").join(name);
    let path = |suffix: &str| base.with_file_name(format!("{name}{suffix}"));
    let times = text(&path(".recv.tsv"));
    let times: Vec<UnixNanos> =
        times.lines().skip(1).map(|l| recv_ns(l.split('\t').nth(1).expect("two columns"))).collect();
    let frames = text(&path(".jsonl"));
    let frames: Vec<(UnixNanos, String)> = times.into_iter().zip(frames.lines().map(str::to_owned)).collect();
    let mut rest = vec![];
    if path(".rest_depth.http.jsonl").exists() {
        for line in text(&path(".rest_depth.http.jsonl")).lines() {
            let exchange: Value = serde_json::from_str(line).expect("an exchange");
            let url = exchange["url"].as_str().expect("a url");
            let symbol = url.split("symbol=").nth(1).and_then(|s| s.split('&').next()).expect("a symbol");
            rest.push(Fetched {
                symbol: symbol.to_owned(),
                at: at_ns(exchange["at"].as_str().expect("a time")),
                body: exchange["body"].as_str().expect("a body").to_owned(),
            });
        }
    } else {
        let at = text(&path(".depth_snapshot.recv.tsv"));
        rest.push(Fetched {
            symbol: name.split('_').next().expect("a symbol").to_uppercase(),
            at: recv_ns(at.lines().nth(1).and_then(|l| l.split('\t').nth(1)).expect("a time")),
            body: text(&path(".depth_snapshot.jsonl")).trim_end().to_owned(),
        });
    }
    Capture { frames, rest }
}

/// When a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answers {
    /// When the recorded answer came.
    AsRecorded,
    /// In the same step.
    AtOnce,
    /// Never: there is no file of answers.
    No,
}

struct Run {
    lines: Vec<Line>,
    counts: Counts,
    bad: Vec<String>,
    subscribed: Vec<String>,
}

struct Driver<'a> {
    session: Session,
    out: Outbox,
    encoder: Encoder,
    run: Run,
    sequence: u64,
    rest: &'a [Fetched],
    info: Option<&'a str>,
    answers: Answers,
    waiting: Vec<(UnixNanos, RequestId, usize)>,
}

impl<'a> Driver<'a> {
    fn new(settings: &Settings, choices: &[(String, String)], rest: &'a [Fetched], answers: Answers) -> Driver<'a> {
        Driver::of(Venue::Binance, settings, choices, rest, answers)
    }

    fn of(
        venue: Venue,
        settings: &Settings,
        choices: &[(String, String)],
        rest: &'a [Fetched],
        answers: Answers,
    ) -> Driver<'a> {
        let machine = venues::machine(venue, settings, choices).expect("offered settings");
        Driver {
            session: Session::new(machine, SessionSettings::default()),
            out: Outbox::new(),
            encoder: Encoder::new(),
            run: Run { lines: vec![], counts: Counts::default(), bad: vec![], subscribed: vec![] },
            sequence: 0,
            rest,
            info: None,
            answers,
            waiting: vec![],
        }
    }

    fn step(&mut self, input: Input<'_>, now: UnixNanos) {
        if let Some(bad) = self.session.step(input, now, &mut self.out) {
            self.run.bad.push(format!("frame {}: {}", bad.frame, bad.error));
        }
        for words in &self.out.records {
            self.sequence += 1;
            let at = Envelope { epoch: 1, sequence: self.sequence };
            if let Some(line) = self.encoder.push(at, words).expect("a record") {
                self.run.lines.push(line);
            }
        }
        let texts = self.out.frames.drain(..).map(|f| f.as_text().expect("text").to_owned());
        self.run.subscribed.extend(texts);
        let requests = std::mem::take(&mut self.out.requests);
        self.out.clear();
        for request in requests {
            let depth = request.path.strip_prefix("/api/v3/depth?symbol=");
            let symbol = depth.and_then(|rest| rest.split('&').next());
            let found = symbol.and_then(|symbol| self.rest.iter().position(|f| f.symbol == symbol));
            match (found, self.answers) {
                (Some(index), Answers::AsRecorded) => self.waiting.push((self.rest[index].at, request.id, index)),
                (Some(index), Answers::AtOnce) => {
                    let reply = Reply::Http { status: 200, body: self.rest[index].body.as_bytes(), retry_after: None };
                    self.step(Input::Response(request.id, reply), now);
                }
                _ if request.path.contains("exchangeInfo") && self.info.is_some() => {
                    let body = self.info.expect("just seen").as_bytes();
                    self.step(Input::Response(request.id, Reply::Http { status: 200, body, retry_after: None }), now);
                }
                _ => self.step(Input::Response(request.id, Reply::Failed("no answer is recorded")), now),
            }
        }
    }

    fn deliver(&mut self, now: UnixNanos) {
        while let Some(index) = self.waiting.iter().position(|w| w.0 <= now) {
            let (at, id, body) = self.waiting.swap_remove(index);
            let body = self.rest[body].body.as_bytes();
            self.step(Input::Response(id, Reply::Http { status: 200, body, retry_after: None }), at);
        }
    }

    fn frames(mut self, frames: &[(UnixNanos, String)]) -> Run {
        let start = frames.first().map_or(UnixNanos(1), |f| f.0);
        self.step(Input::Connected, start);
        for (now, frame) in frames {
            self.deliver(*now);
            if self.session.next_timer().is_some_and(|due| due <= *now) {
                self.step(Input::Timer, *now);
            }
            self.step(Input::Frame(frame.as_bytes()), *now);
        }
        self.run.counts = *self.session.machine().counts();
        assert!(self.waiting.is_empty(), "an answer came after the last frame");
        self.run
    }
}

fn decode(capture: &Capture, answers: Answers) -> Run {
    Driver::new(&Settings::default(), &[], &capture.rest, answers).frames(&capture.frames)
}

fn same(ours: &str, theirs: &Value) -> bool {
    let ours: Decimal = ours.parse().expect("our number");
    let theirs: Decimal = theirs.as_str().expect("a string").parse().expect("the venue's number");
    ours == theirs
}

#[track_caller]
fn same_levels(ours: &[[String; 2]], theirs: &Value, frame: &str) {
    let theirs = theirs.as_array().expect("levels");
    assert_eq!(ours.len(), theirs.len(), "{frame}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!(same(&ours[0], &theirs[0]) && same(&ours[1], &theirs[1]), "{ours:?} is not {theirs} in {frame}");
    }
}

const MS: u64 = 1_000_000;

/// Every trade, quote, bar and book change of the frames, in order, is told with the venue's own numbers.
fn check_values(capture: &Capture, run: &Run, expect_book: impl Fn(&str) -> i64) {
    let of = |kind: fn(&Line) -> bool| run.lines.iter().filter(move |l| kind(l));
    let mut trades = of(|l| matches!(l, Line::Trade(_)));
    let mut quotes = of(|l| matches!(l, Line::Quote(_)));
    let mut bars = of(|l| matches!(l, Line::Bar(_)));
    let mut books: HashMap<String, Vec<&BookLine>> = HashMap::new();
    for line in &run.lines {
        if let Line::Book(b) = line
            && b.kind == "update"
        {
            books.entry(b.symbol.replace('-', "")).or_default().push(b);
        }
    }
    for updates in books.values_mut() {
        updates.reverse();
    }
    for (received, frame) in &capture.frames {
        let value: Value = serde_json::from_str(frame).expect("json");
        let data = &value["data"];
        let symbol = data["s"].as_str().expect("a symbol");
        match data["e"].as_str() {
            Some("trade" | "aggTrade") => {
                let Some(Line::Trade(t)) = trades.next() else { panic!("no trade for {frame}") };
                let id = data["t"].as_u64().or(data["a"].as_u64()).expect("an id").to_string();
                assert_eq!(t.trade_id.as_deref(), Some(id.as_str()));
                assert_eq!((t.symbol.replace('-', ""), t.ts_recv), (symbol.to_owned(), received.0));
                assert_eq!(t.ts_event, data["T"].as_u64().expect("a time") * MS);
                assert_eq!(t.side, if data["m"] == true { "sell" } else { "buy" });
                assert_eq!(t.side_source, "inverted_maker");
                assert!(same(&t.price, &data["p"]) && same(&t.size, &data["q"]), "{t:?} is not {frame}");
            }
            Some("depthUpdate") => {
                let empty =
                    data["b"].as_array().is_some_and(Vec::is_empty) && data["a"].as_array().is_some_and(Vec::is_empty);
                if empty || data["u"].as_i64().expect("an id") <= expect_book(symbol) {
                    continue;
                }
                let update = books.get_mut(symbol).and_then(Vec::pop);
                let update = update.unwrap_or_else(|| panic!("no update for {frame}"));
                assert_eq!((update.ts_event, update.ts_recv), (data["E"].as_u64().expect("a time") * MS, received.0));
                same_levels(&update.bids, &data["b"], frame);
                same_levels(&update.asks, &data["a"], frame);
            }
            Some("kline") => {
                let Some(Line::Bar(b)) = bars.next() else { panic!("no bar for {frame}") };
                let k = &data["k"];
                assert_eq!((b.ts_open, b.interval_s), (k["t"].as_u64().expect("a time") * MS, 60));
                assert_eq!((b.closed, b.trades), (k["x"] == true, k["n"].as_u64().expect("a count")));
                for (ours, key) in [(&b.open, "o"), (&b.high, "h"), (&b.low, "l"), (&b.close, "c"), (&b.volume, "v")] {
                    assert!(same(ours, &k[key]), "{key} of {frame}");
                }
                for (ours, key) in [(&b.taker_buy_volume, "V"), (&b.notional, "q"), (&b.taker_buy_notional, "Q")] {
                    assert!(same(ours.as_deref().expect("told"), &k[key]), "{key} of {frame}");
                }
            }
            _ => {
                let Some(Line::Quote(q)) = quotes.next() else { panic!("no quote for {frame}") };
                assert_eq!((q.ts_event, q.ts_recv), (0, received.0));
                for (ours, key) in [(&q.bid, "b"), (&q.bid_size, "B"), (&q.ask, "a"), (&q.ask_size, "A")] {
                    assert!(same(ours.as_deref().expect("both sides"), &data[key]), "{key} of {frame}");
                }
            }
        }
    }
    assert!(trades.next().is_none() && quotes.next().is_none() && bars.next().is_none());
    assert!(books.values().all(Vec::is_empty), "updates that no frame told");
}

/// A reader's book, rebuilt from the lines alone, is never crossed and starts from the snapshot as fetched.
fn check_books(capture: &Capture, run: &Run) {
    let mut books: HashMap<&str, [BTreeMap<Decimal2, String>; 2]> = HashMap::new();
    for line in &run.lines {
        let Line::Book(b) = line else { continue };
        assert!(b.trusted, "{b:?}");
        let book = books.entry(&b.symbol).or_default();
        if b.kind == "snapshot" && !b.periodic {
            let fetched = capture.rest.iter().find(|f| f.symbol == b.symbol.replace('-', "")).expect("fetched");
            let body: Value = serde_json::from_str(&fetched.body).expect("json");
            same_levels(&b.bids, &body["bids"], "the snapshot's bids");
            same_levels(&b.asks, &body["asks"], "the snapshot's asks");
            assert_eq!(b.update_id, body["lastUpdateId"].as_u64());
            assert_eq!(b.capped, b.bids.len().max(b.asks.len()) >= 1000, "a thousand were asked for");
            *book = Default::default();
        }
        if b.periodic {
            continue;
        }
        for (side, levels) in [(0, &b.bids), (1, &b.asks)] {
            for [price, size] in levels {
                let key = Decimal2(price.parse().expect("a price"));
                if size == "0" {
                    book[side].remove(&key);
                } else {
                    book[side].insert(key, size.clone());
                }
            }
        }
        let (bid, ask) = (book[0].keys().next_back(), book[1].keys().next());
        assert!(bid.zip(ask).is_some_and(|(bid, ask)| bid < ask), "crossed or empty after {b:?}");
    }
}

/// Ordered at a common scale.
#[derive(PartialEq, Eq, Debug)]
struct Decimal2(Decimal);
impl Ord for Decimal2 {
    fn cmp(&self, other: &Decimal2) -> std::cmp::Ordering {
        let at = |d: &Decimal| d.at_scale(8).expect("eight decimals hold every price here");
        at(&self.0).cmp(&at(&other.0))
    }
}
impl PartialOrd for Decimal2 {
    fn partial_cmp(&self, other: &Decimal2) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Expected {
    name: &'static str,
    trades: u64,
    quotes: u64,
    bars: u64,
    depth: u64,
    applied: u64,
    symbols: u64,
}

const EXPECTED: [Expected; 4] = [
    Expected { name: "btcusdt_20240808", trades: 9757, quotes: 28040, bars: 0, depth: 3451, applied: 3449, symbols: 1 },
    Expected { name: "ethusdt_20240808", trades: 6106, quotes: 24077, bars: 0, depth: 3434, applied: 3432, symbols: 1 },
    Expected {
        name: "dot_btc_eth_usdt_20210404",
        trades: 1910,
        quotes: 0,
        bars: 118,
        depth: 2688,
        applied: 2656,
        symbols: 3,
    },
    Expected { name: "four_symbols_20211012", trades: 2, quotes: 84, bars: 2, depth: 177, applied: 172, symbols: 4 },
];

#[test]
fn every_capture_bridges_and_tells_every_number() {
    let Some(folder) = folder("every_capture_bridges_and_tells_every_number") else { return };
    check_captures(Venue::Binance, &folder, &EXPECTED);
}

/// The same machine by configuration: the records are the other venue's, and so are their instruments' ids.
#[test]
fn binance_us_is_read_by_the_same_machine() {
    let Some(folder) = venue_folder("binance_us_is_read_by_the_same_machine", Venue::BinanceUs) else { return };
    let name = "ten_symbols_20210405";
    let expected = Expected { name, trades: 188, quotes: 2624, bars: 0, depth: 3196, applied: 3185, symbols: 10 };
    check_captures(Venue::BinanceUs, &folder, &[expected]);
}

fn check_captures(venue: Venue, folder: &Path, all: &[Expected]) {
    for expected in all {
        let capture = capture(folder, expected.name);
        let ids: HashMap<String, i64> = capture.rest.iter().map(|f| (f.symbol.clone(), update_id(&f.body))).collect();
        for answers in [Answers::AsRecorded, Answers::AtOnce] {
            let run = Driver::of(venue, &Settings::default(), &[], &capture.rest, answers).frames(&capture.frames);
            println!("{} {answers:?}: {} lines", expected.name, run.lines.len());
            let c = &run.counts;
            assert_eq!(run.bad, [""; 0], "{}", expected.name);
            assert_eq!((c.trades, c.quotes, c.bars), (expected.trades, expected.quotes, expected.bars));
            assert_eq!(c.book_updates + c.book_updates_old, expected.depth, "{}", expected.name);
            assert_eq!((c.book_updates, c.sequences_ok), (expected.applied, expected.applied), "{}", expected.name);
            assert_eq!((c.book_snapshots, c.gaps, c.crossed, c.resyncs), (expected.symbols, 0, 0, 0));
            assert_eq!((c.unknown_types, c.unknown_fields, c.unused_types, c.trades_repeated), (0, 0, 0, 0));
            assert_eq!((c.instruments, c.malformed, c.snapshots_unbridged), (expected.symbols, 0, 0));
            let hot = expected.trades + expected.quotes + expected.depth;
            assert!(c.slow_path <= expected.symbols, "{} of {hot} took the exact path", c.slow_path);
            assert!(!run.lines.iter().any(|l| matches!(l, Line::Gap(_))));
            check_values(&capture, &run, |symbol| ids[symbol]);
            check_books(&capture, &run);
            check_venue(venue, &run);
        }
    }
}

/// Every record names the venue, and every instrument's id is made of the venue and its symbol.
fn check_venue(venue: Venue, run: &Run) {
    let mut instruments = 0;
    for line in &run.lines {
        let named = match line {
            Line::Instrument(i) => {
                instruments += 1;
                assert_eq!(i.instrument_id, InstrumentId::of(venue, &i.venue_symbol).0);
                &i.venue
            }
            Line::Trade(t) => &t.venue,
            Line::Quote(q) => &q.venue,
            Line::Book(b) => &b.venue,
            _ => continue,
        };
        assert_eq!(named, venue.name(), "{line:?}");
    }
    assert!(instruments > 0);
}

fn update_id(body: &str) -> i64 {
    let body: Value = serde_json::from_str(body).expect("json");
    body["lastUpdateId"].as_i64().expect("an id")
}

#[test]
fn without_a_snapshot_every_change_is_told_untrusted() {
    let Some(folder) = folder("without_a_snapshot_every_change_is_told_untrusted") else { return };
    let capture = capture(&folder, "four_symbols_20211012");
    let run = decode(&capture, Answers::No);
    assert_eq!((run.counts.book_updates, run.counts.book_snapshots, run.counts.gaps), (177, 0, 0));
    check_values(&capture, &run, |_| i64::MIN);
    let books: Vec<&BookLine> =
        run.lines.iter().filter_map(|l| if let Line::Book(b) = l { Some(b) } else { None }).collect();
    assert!(!books.is_empty() && books.iter().all(|b| !b.trusted));
    let told = "changes are told without a snapshot: no answer is recorded";
    let suspect = |l: &&Line| matches!(l, Line::Status(s) if s.state == "suspect" && s.text == told);
    assert_eq!(run.lines.iter().filter(suspect).count(), 4);
}

#[test]
fn a_missing_frame_is_told_exactly_and_heals() {
    let Some(folder) = folder("a_missing_frame_is_told_exactly_and_heals") else { return };
    let mut capture = capture(&folder, "btcusdt_20240808");
    let is = |frame: &str, event: &str| frame.contains(event);
    let depth = capture.frames.iter().enumerate().filter(|(_, f)| is(&f.1, "depthUpdate")).nth(1000);
    let lost = depth.map(|(index, _)| index).expect("a thousand depth frames");
    let lost: Value = serde_json::from_str(&capture.frames.remove(lost).1).expect("json");
    let trade = capture.frames.iter().enumerate().filter(|(_, f)| is(&f.1, "\"trade\"")).nth(500);
    let trade = trade.map(|(index, _)| index).expect("500 trades");
    let trade: Value = serde_json::from_str(&capture.frames.remove(trade).1).expect("json");
    let run = decode(&capture, Answers::AtOnce);
    let all = run.lines.iter().filter_map(|l| if let Line::Gap(g) = l { Some(g) } else { None });
    // What is kept for a snapshot that never comes overflows later on; that is told too.
    let (jumps, overflows): (Vec<_>, Vec<_>) = all.partition(|g| g.cause == "sequence");
    assert!(overflows.iter().all(|g| g.cause == "overflow"));
    let gaps: Vec<(String, Option<String>, Option<String>)> =
        jumps.iter().map(|g| (g.stream.clone(), g.first.clone(), g.last.clone())).collect();
    let text = |v: &Value| Some(v.to_string());
    let (d, t) = (&lost["data"], &trade["data"]);
    assert!(gaps.contains(&("book".to_owned(), text(&d["U"]), text(&d["u"]))), "{gaps:?}");
    assert!(gaps.contains(&("trade".to_owned(), text(&t["t"]), text(&t["t"]))), "{gaps:?}");
    assert_eq!(gaps.len(), 2);
    // The only recorded snapshot is older than the gap, so the book stays unproven, and nothing of it is told.
    assert_eq!((run.counts.book_snapshots, run.counts.resyncs), (1, 0));
    assert!(run.counts.snapshots_unbridged > 0);
    assert_eq!((run.counts.trades, run.counts.quotes), (9756, 28040), "the other streams go on");
}

#[test]
fn configured_symbols_get_the_scales_of_the_exchange_information() {
    let Some(folder) = folder("configured_symbols_get_the_scales_of_the_exchange_information") else { return };
    let capture = capture(&folder, "four_symbols_20211012");
    let exchange = text(&folder.join("rest/exchangeinfo_20211012.http.jsonl"));
    let exchange: Value = serde_json::from_str(&exchange).expect("json");
    let info = exchange["body"].as_str().expect("a body");
    let symbols = ["NKN-USDT", "BLZETH", "LRC/BTC", "runeeur"].map(str::to_owned).to_vec();
    let settings = Settings { symbols, ..Settings::default() };
    let choices = [("trades".to_owned(), "agg_trade".to_owned())];
    let mut driver = Driver::new(&settings, &choices, &capture.rest, Answers::AsRecorded);
    driver.info = Some(info);
    let run = driver.frames(&capture.frames);
    assert_eq!(run.bad, [""; 0]);
    assert_eq!((run.counts.book_updates, run.counts.gaps, run.counts.slow_path), (172, 0, 0));
    let scales: Vec<(String, u8, u8)> = run
        .lines
        .iter()
        .filter_map(|l| match l {
            Line::Instrument(i) => Some((i.symbol.clone(), i.price_scale, i.size_scale)),
            _ => None,
        })
        .collect();
    let expected = [("NKN-USDT", 4, 0), ("BLZ-ETH", 8, 0), ("LRC-BTC", 8, 0), ("RUNE-EUR", 3, 1)];
    assert_eq!(scales[..4], expected.map(|(s, p, q)| (s.to_owned(), p, q)));
    // The venue had made this tick coarser; the book still held orders at the finer one.
    assert_eq!(scales[4], ("NKN-USDT".to_owned(), 5, 1));
    check_values(&capture, &run, |symbol| {
        capture.rest.iter().find(|f| f.symbol == symbol).map_or(i64::MIN, |f| update_id(&f.body))
    });
    check_books(&capture, &run);
    let frame: Value = serde_json::from_str(&run.subscribed[0]).expect("json");
    let names = frame["params"].as_array().expect("names");
    assert_eq!((run.subscribed.len(), names.len()), (1, 16));
    // The very streams of the recorded connection's URL.
    for stream in ["nknusdt@depth@100ms", "blzeth@bookTicker", "lrcbtc@kline_1m", "runeeur@aggTrade"] {
        assert!(names.iter().any(|n| n == stream), "{stream}");
    }
}

#[test]
fn single_frames_and_user_data_decode_or_are_counted() {
    let Some(folder) = folder("single_frames_and_user_data_decode_or_are_counted") else { return };
    let run = |name: &str| {
        let lines = text(&folder.join("examples").join(name));
        let frames: Vec<(UnixNanos, String)> = lines.lines().map(|l| (UnixNanos(MS), l.to_owned())).collect();
        Driver::new(&Settings::default(), &[], &[], Answers::No).frames(&frames)
    };
    let single = run("spot_ws_single_frames.jsonl");
    assert_eq!(single.bad, [""; 0]);
    let c = single.counts;
    assert_eq!((c.trades, c.book_updates, c.quotes, c.bars), (1, 1, 1, 1));
    // Two partial books (one of them a REST body), a ticker and an array of tickers.
    assert_eq!((c.unused_types, c.unknown_types, c.unknown_fields), (4, 0, 0));
    let user = run("spot_user_data_stream.jsonl");
    assert_eq!(user.bad, [""; 0]);
    let c = user.counts;
    assert_eq!((c.trades, c.book_updates, c.bars), (1, 1, 1));
    // A ticker and the four events of user data.
    assert_eq!((c.unused_types, c.unknown_types, c.unknown_fields), (5, 0, 0));
    let docs = run("spot_docs_user_data.jsonl");
    assert_eq!(docs.bad, [""; 0]);
    assert_eq!(docs.counts.unused_types + docs.counts.unknown_types, 11);
}

#[test]
fn bare_symbols_are_split_as_the_venue_does() {
    let Some(folder) = folder("bare_symbols_are_split_as_the_venue_does") else { return };
    let exchange = text(&folder.join("rest/exchangeinfo_20211012.http.jsonl"));
    let exchange: Value = serde_json::from_str(&exchange).expect("json");
    let info: Value = serde_json::from_str(exchange["body"].as_str().expect("a body")).expect("json");
    let symbols = info["symbols"].as_array().expect("symbols");
    let frame = |s: &Value| format!(r#"{{"u":1,"s":{s},"b":"1.0","B":"1.0","a":"2.0","A":"1.0"}}"#);
    let frames: Vec<(UnixNanos, String)> = symbols.iter().map(|s| (UnixNanos(MS), frame(&s["symbol"]))).collect();
    let settings = Settings { streams: vec![StreamKind::Quote], ..Settings::default() };
    let run = Driver::new(&settings, &[], &[], Answers::No).frames(&frames);
    let told: Vec<&str> = run
        .lines
        .iter()
        .filter_map(|l| if let Line::Instrument(i) = l { Some(i.symbol.as_str()) } else { None })
        .collect();
    let named = |s: &Value, key: &str| s[key].as_str().expect("an asset").to_owned();
    let theirs: Vec<String> =
        symbols.iter().map(|s| format!("{}-{}", named(s, "baseAsset"), named(s, "quoteAsset"))).collect();
    let wrong: Vec<(&&str, &String)> = told.iter().zip(&theirs).filter(|(ours, theirs)| *ours != theirs).collect();
    assert_eq!((told.len(), &wrong[..]), (theirs.len(), &[][..]));
}
