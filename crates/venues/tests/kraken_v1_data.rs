//! Kraken's recorded WebSocket v1 channels through the session: counts as the data's own README gives them, every number
//! as another JSON reader sees it, and the venue's checksums over the very strings that came.
#![allow(clippy::unwrap_used)]

use flate2::read::GzDecoder;
use model::{Decimal, InstrumentId, UnixNanos, Venue};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use venues::{Counts, Input, Outbox, Session, SessionSettings, Settings};
use wire::json::{BookLine, Encoder, Line};
use wire::{Envelope, Origin};

/// Where a folder of the shared data is; `None`, said aloud, when it is not there.
fn folder(test: &str, name: &str) -> Option<PathBuf> {
    let root = std::env::var("ALPHAPULSE_TEST_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = root.join("venues/kraken").join(name);
    if !path.is_dir() {
        println!("SKIPPED {test}: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn text(path: &Path) -> String {
    if path.extension().is_some_and(|e| e == "gz") {
        let mut text = String::new();
        GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        return text;
    }
    std::fs::read_to_string(path).unwrap()
}

/// What decoding a capture gave.
struct Decoded {
    lines: Vec<Line>,
    counts: Counts,
    /// Frame number and reason of each frame that was set aside.
    rejects: Vec<(u64, String)>,
}

fn decode<'a>(frames: impl Iterator<Item = (&'a str, UnixNanos)>) -> Decoded {
    let machine = venues::machine(Venue::Kraken, &Settings::default(), &[]).unwrap();
    let (mut session, mut out) = (Session::new(machine, SessionSettings::default()), Outbox::new());
    let (mut encoder, mut lines, mut rejects, mut sequence) = (Encoder::new(), vec![], vec![], 0);
    let start = Input::Start { epoch: 1, pid: 1, origin: Origin::Live, site: "test", build: "test" };
    session.step(start, UnixNanos(1), &mut out);
    for (frame, received) in frames {
        if let Some(q) = session.step(Input::Frame(frame.as_bytes()), received, &mut out) {
            rejects.push((q.frame, q.error.to_string()));
        }
        for words in &out.records {
            sequence += 1;
            lines.extend(encoder.push(Envelope { epoch: 1, sequence }, words).unwrap());
        }
        out.clear();
    }
    Decoded { lines, counts: *session.machine().counts(), rejects }
}

/// A capture with its receive times, in seconds with decimals.
fn capture(folder: &Path, name: &str, file: &str) -> (String, Vec<UnixNanos>) {
    let frames = text(&folder.join(file));
    let tsv = [format!("{name}.recv.tsv"), format!("{name}.recv.tsv.gz")];
    let tsv = tsv.iter().map(|f| folder.join(f)).find(|path| path.exists()).unwrap();
    let at = |row: &str| row.split('\t').nth(1).unwrap().parse::<Decimal>().unwrap().at_scale(9).unwrap();
    let received: Vec<_> = text(&tsv).lines().skip(1).map(|row| UnixNanos(at(row) as u64)).collect();
    assert_eq!(frames.lines().count(), received.len());
    (frames, received)
}

/// Data frames only: events are objects.
fn data(frames: &str) -> impl Iterator<Item = Value> {
    frames.lines().filter(|l| l.starts_with('[')).map(|l| serde_json::from_str(l).unwrap())
}

fn number(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

fn nanos(value: &Value) -> u64 {
    number(value).at_scale(9).unwrap() as u64
}

/// The pair as instruments are known by it.
fn canonical(pair: &Value) -> String {
    pair.as_str().unwrap().replace("XBT", "BTC").replace("XDG", "DOGE").replace('/', "-")
}

/// Levels by price at a common scale, with the two strings that came.
type Strings = BTreeMap<i64, [String; 2]>;

/// One book as the venue's documents say to keep it, in the strings that came.
#[derive(Default)]
struct Received {
    bids: Strings,
    asks: Strings,
}

impl Received {
    fn apply(&mut self, part: &Value) {
        for key in ["as", "a", "bs", "b"] {
            let side = if key.starts_with('a') { &mut self.asks } else { &mut self.bids };
            for level in part[key].as_array().into_iter().flatten() {
                let price = number(&level[0]).at_scale(10).unwrap();
                let strings = [0, 1].map(|n| level[n].as_str().unwrap().to_owned());
                if number(&level[1]).mantissa == 0 {
                    side.remove(&price);
                } else {
                    side.insert(price, strings);
                }
            }
        }
    }

    fn cut(&mut self, depth: usize) {
        while self.bids.len() > depth {
            self.bids.pop_first();
        }
        while self.asks.len() > depth {
            self.asks.pop_last();
        }
    }

    fn checksum(&self) -> u32 {
        let digits = |text: &String| text.replace('.', "").trim_start_matches('0').to_owned();
        let levels = self.asks.values().take(10).chain(self.bids.values().rev().take(10));
        let text: String = levels.flatten().map(digits).collect();
        let step = |crc: u32| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        !text.bytes().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
    }
}

/// A book kept from the lines alone, by a reader who knows nothing of Kraken but the depth it is told.
#[derive(Default)]
struct Plain {
    sides: [BTreeMap<i64, Decimal>; 2],
    depth: usize,
}

impl Plain {
    fn apply(&mut self, line: &BookLine) {
        if line.kind == "snapshot" {
            *self = Plain { depth: line.depth.unwrap() as usize, ..Plain::default() };
        }
        for (levels, told) in self.sides.iter_mut().zip([&line.bids, &line.asks]) {
            for [price, size] in told {
                let (price, size): (Decimal, Decimal) = (price.parse().unwrap(), size.parse().unwrap());
                if size.mantissa == 0 {
                    levels.remove(&price.at_scale(10).unwrap());
                } else {
                    levels.insert(price.at_scale(10).unwrap(), size);
                }
            }
        }
        while self.sides[0].len() > self.depth {
            self.sides[0].pop_first();
        }
        while self.sides[1].len() > self.depth {
            self.sides[1].pop_last();
        }
    }
}

fn same_levels(told: &[[String; 2]], parts: &[Value], keys: [&str; 2]) {
    let written = parts.iter().flat_map(|p| keys.iter().filter_map(move |k| p[k].as_array())).flatten();
    let written: Vec<[Decimal; 2]> = written.map(|l| [number(&l[0]), number(&l[1])]).collect();
    let told: Vec<[Decimal; 2]> = told.iter().map(|l| [l[0].parse().unwrap(), l[1].parse().unwrap()]).collect();
    assert_eq!(told, written);
}

#[test]
fn the_recorded_books_verify_to_the_last_message() {
    let Some(folder) = folder("the_recorded_books_verify_to_the_last_message", "ws_v1") else { return };
    let (frames, received) = capture(&folder, "book1000_20210405", "book1000_20210405.jsonl.gz");
    let d = decode(frames.lines().zip(received));
    let c = d.counts;
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    assert_eq!((c.frames, c.book_updates, c.book_snapshots), (14_636, 14_496, 10));
    assert_eq!((c.heartbeats, c.acks, c.venue_status, c.instruments), (119, 10, 1, 10));
    assert_eq!((c.checksums_ok, c.checksums_failed, c.crossed, c.gaps), (14_496, 0, 0, 0));
    assert_eq!((c.unknown_types, c.unknown_fields, c.unknown_symbols, c.refusals), (0, 0, 0, 0));
    assert_eq!(c.slow_path, 10, "only the snapshots that teach the scales");

    let mut told = d.lines.iter().filter_map(|l| if let Line::Book(b) = l { Some(b) } else { None });
    let mut books: HashMap<String, (Received, Plain)> = HashMap::new();
    for frame in data(&frames) {
        let parts = frame.as_array().unwrap();
        let symbol = canonical(parts.last().unwrap());
        let payload = &parts[1..parts.len() - 2];
        let line = told.next().expect("a line for each frame");
        assert_eq!((&line.symbol, line.trusted), (&symbol, true));
        same_levels(&line.bids, payload, ["bs", "b"]);
        same_levels(&line.asks, payload, ["as", "a"]);
        let times = payload.iter().flat_map(|p| p.as_object().unwrap().values()).filter_map(Value::as_array).flatten();
        assert_eq!(
            line.ts_event,
            times.map(|level| nanos(&level[2])).max().unwrap(),
            "the latest of the levels' times"
        );
        let (theirs, plain) = books.entry(symbol).or_default();
        payload.iter().for_each(|part| theirs.apply(part));
        theirs.cut(1000);
        plain.apply(line);
        assert_eq!(plain.depth, 1000);
        if let Some(sum) = payload.last().unwrap()["c"].as_str() {
            assert_eq!(theirs.checksum().to_string(), sum);
        }
        for (ours, theirs) in plain.sides.iter().zip([&theirs.bids, &theirs.asks]) {
            assert!(ours.keys().eq(theirs.keys()));
        }
        let (bid, ask) = (plain.sides[0].keys().next_back().unwrap(), plain.sides[1].keys().next().unwrap());
        assert!(bid < ask, "the reader's book is never crossed");
    }
    assert!(told.next().is_none());
    for (theirs, plain) in books.values() {
        for (ours, theirs) in plain.sides.iter().zip([&theirs.bids, &theirs.asks]) {
            assert!(ours.values().copied().eq(theirs.values().map(|s| s[1].parse().unwrap())));
        }
    }
}

#[test]
fn the_recorded_trades_are_told_as_written() {
    let Some(folder) = folder("the_recorded_trades_are_told_as_written", "ws_v1") else { return };
    let (frames, received) = capture(&folder, "trade_20210405", "trade_20210405.jsonl");
    let d = decode(frames.lines().zip(received));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    let c = d.counts;
    assert_eq!((c.frames, c.heartbeats, c.acks, c.venue_status, c.gaps), (142, 119, 10, 1, 0));
    assert_eq!((c.unknown_types, c.unknown_fields, c.trades_repeated), (0, 0, 0));
    let mut told = d.lines.iter().filter_map(|l| if let Line::Trade(t) = l { Some(t) } else { None });
    let mut trades = 0;
    for frame in data(&frames) {
        let list = frame[1].as_array().unwrap();
        for (n, written) in list.iter().enumerate() {
            let t = told.next().expect("a line for each trade");
            trades += 1;
            assert_eq!(t.symbol, canonical(&frame[3]));
            assert_eq!(
                [&t.price, &t.size].map(|s| s.parse::<Decimal>().unwrap()),
                [number(&written[0]), number(&written[1])]
            );
            assert_eq!(t.ts_event, nanos(&written[2]));
            assert_eq!(t.side, if written[3] == "b" { "buy" } else { "sell" });
            assert_eq!((t.side_source.as_str(), t.trade_id.as_deref()), ("explicit_taker", None));
            assert_eq!(t.last, n + 1 == list.len());
        }
    }
    assert!(told.next().is_none());
    assert_eq!(c.trades, trades);
    // The same instrument as in the newer protocol.
    let bitcoin = d.lines.iter().find_map(|l| match l {
        Line::Instrument(i) if i.symbol == "BTC-USD" => Some(i),
        _ => None,
    });
    let bitcoin = bitcoin.expect("it trades");
    assert_eq!(bitcoin.venue_symbol, "BTC/USD");
    assert_eq!(bitcoin.instrument_id, InstrumentId::of(Venue::Kraken, "BTC/USD").0);
}

#[test]
fn the_recorded_tickers_are_told_as_written() {
    let Some(folder) = folder("the_recorded_tickers_are_told_as_written", "ws_v1") else { return };
    let (frames, received) = capture(&folder, "ticker_20210405", "ticker_20210405.jsonl");
    let d = decode(frames.lines().zip(received));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    let c = d.counts;
    assert_eq!((c.frames, c.quotes, c.heartbeats, c.acks, c.venue_status), (152, 22, 119, 10, 1));
    assert_eq!((c.unknown_types, c.unknown_fields), (0, 0));
    let mut told = d.lines.iter().filter_map(|l| if let Line::Quote(q) = l { Some(q) } else { None });
    for frame in data(&frames) {
        let (q, written) = (told.next().expect("a line for each ticker"), &frame[1]);
        assert_eq!((q.symbol.clone(), q.ts_event), (canonical(&frame[3]), 0));
        let ours =
            [&q.bid, &q.bid_size, &q.ask, &q.ask_size].map(|s| s.as_deref().unwrap().parse::<Decimal>().unwrap());
        let theirs = [&written["b"][0], &written["b"][2], &written["a"][0], &written["a"][2]].map(number);
        assert_eq!(ours, theirs);
    }
    assert!(told.next().is_none());
}

/// Single frames of every channel. The books among them have nothing to do with one another, so their checksums cannot
/// agree; the last line is the body of a REST answer, which is no frame of either protocol and is set aside.
#[test]
fn example_frames_of_every_channel_are_read() {
    let Some(folder) = folder("example_frames_of_every_channel_are_read", "examples") else { return };
    let frames = text(&folder.join("ws_v1_single_frames.jsonl"));
    let d = decode(frames.lines().zip((2..).map(UnixNanos)));
    assert_eq!(d.rejects, [(9, "byte 9: error: expected a string".to_owned())]);
    let c = d.counts;
    assert_eq!((c.frames, c.trades, c.quotes, c.bars, c.book_snapshots), (9, 1, 2, 1, 2));
    assert_eq!((c.checksums_failed, c.book_updates_old, c.checksums_ok), (1, 1, 0));
    assert_eq!((c.unknown_types, c.unused_types), (0, 0));
    let bars: Vec<_> = d.lines.iter().filter_map(|l| if let Line::Bar(b) = l { Some(b) } else { None }).collect();
    assert_eq!((bars[0].ts_open, bars[0].interval_s), (1_675_209_600_000_000_000, 60));
    assert_eq!(bars[0].ts_event, 1_675_209_613_118_218_000);
    let told = [&bars[0].open, &bars[0].high, &bars[0].low, &bars[0].close, &bars[0].volume];
    assert_eq!(told, ["23135", "23135.4", "23135", "23135.4", "0.39012812"]);
    assert_eq!((bars[0].vwap.as_deref(), bars[0].trades), (Some("23135.13297"), 7));
    let quotes: Vec<_> = d.lines.iter().filter_map(|l| if let Line::Quote(q) = l { Some(q) } else { None }).collect();
    assert_eq!(quotes[0].ts_event, 1_654_031_976_197_239_000, "a spread has the venue's time, a ticker none");
    assert_eq!((quotes[0].ask.as_deref(), quotes[0].ask_size.as_deref()), (Some("31760.1"), Some("6.46761464")));
    assert_eq!((quotes[1].bid.as_deref(), quotes[1].bid_size.as_deref()), (Some("29938.5"), Some("0.0841")));
}

/// Frames of the private channels name nothing we tell, and cost nothing.
#[test]
fn private_frames_are_passed_over() {
    let Some(folder) = folder("private_frames_are_passed_over", "examples") else { return };
    let frames = text(&folder.join("ws_v1_private_openorders.jsonl"));
    let d = decode(frames.lines().zip((2..).map(UnixNanos)));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    assert_eq!((d.counts.frames, d.counts.unused_types, d.counts.unknown_types), (6, 6, 0));
    assert_eq!(d.lines.len(), 1, "the start of the session");
}
