//! Kraken's recorded WebSocket v2 channels through the session, against the counts of the data's own README, the venue's
//! checksums, and the numbers of the frames as another JSON reader sees them.
#![allow(clippy::unwrap_used)]

use model::{Decimal, UnixNanos, Venue};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
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
    println!("{test}: {}", path.display());
    Some(path)
}

/// What decoding a capture gave.
struct Decoded {
    lines: Vec<Line>,
    counts: Counts,
    /// Frame number and reason of each frame that was set aside.
    rejects: Vec<(u64, String)>,
}

fn decode<'a>(frames: impl Iterator<Item = (&'a str, UnixNanos)>) -> Decoded {
    let settings = Settings::default();
    let machine = venues::machine(Venue::Kraken, &settings, &[]).unwrap();
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

fn receive_times(path: &Path) -> Vec<UnixNanos> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|row| row.split('\t').nth(1).unwrap().parse().unwrap());
    rows.map(UnixNanos).collect()
}

/// A frame's numbers as they are written.
#[derive(serde::Deserialize)]
struct BookFrame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Vec<BookData<'a>>,
}

#[derive(serde::Deserialize)]
struct BookData<'a> {
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    #[serde(borrow)]
    asks: Vec<Level<'a>>,
    checksum: u32,
}

#[derive(serde::Deserialize)]
struct Level<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

type Levels = Vec<(Decimal, Decimal)>;

fn as_written(levels: &[Level<'_>]) -> Levels {
    levels.iter().map(|l| (l.price.get().parse().unwrap(), l.qty.get().parse().unwrap())).collect()
}

fn as_told(levels: &[[String; 2]]) -> Levels {
    levels.iter().map(|[price, size]| (price.parse().unwrap(), size.parse().unwrap())).collect()
}

/// A book kept from the lines alone, by a reader who knows nothing of Kraken but the depth it is told.
#[derive(Default)]
struct Plain {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    depth: usize,
}

impl Plain {
    fn apply(&mut self, line: &BookLine, price_scale: u8) {
        if line.kind == "snapshot" {
            *self = Plain { depth: line.depth.expect("Kraken's books have a depth") as usize, ..Plain::default() };
        }
        for (levels, told) in [(&mut self.bids, &line.bids), (&mut self.asks, &line.asks)] {
            for (price, size) in as_told(told) {
                let (price, size) = (price.at_scale(price_scale).unwrap(), size.at_scale(8).unwrap());
                if size == 0 {
                    levels.remove(&price)
                } else {
                    levels.insert(price, size)
                };
            }
        }
        while self.bids.len() > self.depth {
            self.bids.pop_first();
        }
        while self.asks.len() > self.depth {
            self.asks.pop_last();
        }
    }

    /// The venue's rule over digits, written down once more: `price_scale` and 8 are the pairs' precisions.
    fn checksum(&self) -> u32 {
        let levels = self.asks.iter().take(10).chain(self.bids.iter().rev().take(10));
        let text: String = levels.map(|(price, size)| format!("{price}{size}")).collect();
        let step = |crc: u32| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        !text.bytes().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
    }
}

fn check_capture(name: &str, updates: u64, heartbeats: u64, price_scale: u8) {
    let Some(folder) = folder(name, "ws_v2") else { return };
    let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    let received = receive_times(&folder.join(format!("{name}.recv.tsv")));
    assert_eq!(text.lines().count(), received.len());
    let d = decode(text.lines().zip(received));

    let c = d.counts;
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    assert_eq!(
        (c.book_updates, c.book_snapshots, c.heartbeats, c.venue_status, c.acks),
        (updates, 1, heartbeats, 1, 1)
    );
    assert_eq!(c.frames, updates + heartbeats + 3, "every frame is one of these");
    assert_eq!((c.checksums_ok, c.checksums_failed), (updates + 1, 0));
    assert_eq!(c.crossed, 0);
    assert_eq!((c.unknown_types, c.unknown_fields, c.unknown_symbols, c.refusals, c.gaps), (0, 0, 0, 0, 0));
    assert_eq!(c.slow_path, 1, "only the snapshot that teaches the scales");

    // The same numbers in the same order, frame by frame.
    let told: Vec<&BookLine> =
        d.lines.iter().filter_map(|l| if let Line::Book(b) = l { Some(b) } else { None }).collect();
    let frames: Vec<BookFrame<'_>> = text
        .lines()
        .filter(|l| l.starts_with(r#"{"channel":"book""#))
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(told.len(), frames.len());
    let mut plain = Plain::default();
    for (line, frame) in told.iter().zip(&frames) {
        let data = &frame.data[0];
        assert_eq!(line.kind, frame.kind);
        assert!(line.trusted);
        assert_eq!(as_told(&line.bids), as_written(&data.bids));
        assert_eq!(as_told(&line.asks), as_written(&data.asks));
        plain.apply(line, price_scale);
        assert_eq!(plain.checksum(), data.checksum, "a reader's book, cut to the depth told, is the venue's");
        let (bid, ask) = (plain.bids.keys().next_back().unwrap(), plain.asks.keys().next().unwrap());
        assert!(bid < ask, "the reader's book is never crossed");
    }
}

#[test]
fn the_recorded_btc_book_verifies_to_the_last_message() {
    check_capture("book_btcusd_d25_20260802", 2051, 50, 1);
}

#[test]
fn the_recorded_xrp_book_verifies_to_the_last_message() {
    check_capture("book_xrpusd_d25_20260802", 1146, 43, 5);
}

#[test]
fn the_recorded_instruments_are_defined_as_written() {
    let Some(folder) = folder("the_recorded_instruments_are_defined_as_written", "ws_v2") else { return };
    let text = std::fs::read_to_string(folder.join("instrument_snapshot.json")).unwrap();
    let d = decode(std::iter::once((text.as_str(), UnixNanos(2))));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    assert_eq!((d.counts.instruments, d.counts.unknown_fields), (683, 0));

    #[derive(serde::Deserialize)]
    struct Pair<'a> {
        symbol: String,
        base: String,
        quote: String,
        status: String,
        price_precision: u8,
        qty_precision: u8,
        #[serde(borrow)]
        price_increment: &'a RawValue,
        #[serde(borrow)]
        qty_increment: &'a RawValue,
        #[serde(borrow)]
        qty_min: &'a RawValue,
        #[serde(borrow)]
        cost_min: &'a RawValue,
    }
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        pairs: Vec<Pair<'a>>,
    }
    #[derive(serde::Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    let frame: Frame<'_> = serde_json::from_str(&text).unwrap();
    let told: Vec<_> =
        d.lines.iter().filter_map(|l| if let Line::Instrument(i) = l { Some(i) } else { None }).collect();
    assert_eq!(told.len(), frame.data.pairs.len());
    for (i, p) in told.iter().zip(&frame.data.pairs) {
        assert_eq!((&i.venue_symbol, &i.base, &i.quote), (&p.symbol, &p.base, &p.quote));
        assert_eq!(i.symbol, format!("{}-{}", p.base, p.quote).to_uppercase());
        assert_eq!((i.price_scale, i.size_scale), (p.price_precision, p.qty_precision), "{}", p.symbol);
        let same = |told: &Option<String>, written: &RawValue| {
            let told: Decimal = told.as_deref().unwrap_or("0").parse().unwrap();
            assert_eq!(told, written.get().trim_matches('"').parse().unwrap(), "{}", p.symbol);
        };
        same(&i.tick, p.price_increment);
        same(&i.lot, p.qty_increment);
        same(&i.min_size, p.qty_min);
        same(&i.min_notional, p.cost_min);
        let status = match p.status.as_str() {
            "online" => "trading",
            "cancel_only" | "reduce_only" => "restricted",
            other => panic!("{} is {other}: which of ours is that?", p.symbol),
        };
        assert_eq!(i.status, status, "{}", p.symbol);
    }
}

/// Single frames of several sources: types rather than a life. The books among them were cut to five levels by their
/// source, so their checksums, which cover ten, cannot agree.
#[test]
fn example_frames_of_every_type_are_read() {
    let Some(folder) = folder("example_frames_of_every_type_are_read", "examples") else { return };
    let text = std::fs::read_to_string(folder.join("ws_v2_market_and_acks.jsonl")).unwrap();
    let d = decode(text.lines().zip((2..).map(UnixNanos)));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    let c = d.counts;
    assert_eq!(c.frames, 23);
    assert_eq!((c.acks, c.refusals, c.heartbeats, c.venue_status), (8, 2, 2, 1));
    assert_eq!((c.quotes, c.bars, c.trades, c.unused_types, c.unknown_types), (2, 3, 4, 2, 0));
    assert_eq!((c.book_snapshots, c.checksums_failed, c.checksums_ok, c.book_updates_old), (1, 1, 0, 1));
    assert_eq!(c.gaps, 1, "between trades 70635252 and 70635299");
    let bars: Vec<_> = d.lines.iter().filter_map(|l| if let Line::Bar(b) = l { Some(b) } else { None }).collect();
    let told: Vec<_> = bars.iter().map(|b| (b.closed, b.close.as_str(), b.vwap.as_deref(), b.trades)).collect();
    let first = ("3026.13", Some("3027.01"), 9);
    assert_eq!(
        told,
        [(false, first.0, first.1, first.2), (true, first.0, first.1, first.2), (false, "3026.47", Some("3026.46"), 4)]
    );
}

/// Frames of the private channels name nothing we tell, and cost nothing.
#[test]
fn private_frames_are_passed_over() {
    let Some(folder) = folder("private_frames_are_passed_over", "examples") else { return };
    let text = std::fs::read_to_string(folder.join("ws_v2_orders_executions.jsonl")).unwrap();
    let d = decode(text.lines().zip((2..).map(UnixNanos)));
    assert_eq!(d.rejects.first(), None, "of {}", d.rejects.len());
    assert_eq!((d.counts.frames, d.counts.unused_types, d.counts.unknown_types), (15, 15, 0));
    assert_eq!(d.lines.len(), 1, "the start of the session");
}
