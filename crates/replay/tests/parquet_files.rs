//! The files of the recorder as a source: the same trades, quotes and books as the journal they were made of.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use model::{Side, UnixNanos, Venue};
use recorder::{ParquetOptions, Recorder, RecorderOptions};
use relay::Books;
use replay::{Choice, Replay, find};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const VENUES: [Venue; 2] = [Venue::Kraken, Venue::Coinbase];

/// Two venues' rings through a recorder: its journal and its files. What was told.
fn record(folder: &Path) -> Vec<(Venue, Vec<Row>)> {
    let rings = folder.join("rings");
    let directory = ring::Directory::open(&rings).unwrap();
    let told: Vec<(Venue, Vec<Row>)> = VENUES
        .map(|venue| {
            let mut market = Market::begin(venue, 9, 3, BEGIN);
            market.run(BEGIN, 2500, Duration::from_millis(10), Duration::from_millis(400));
            (venue, market.rows)
        })
        .into();
    let journal = folder.join("journal");
    let options = RecorderOptions {
        rings: rings.clone(),
        disk: Arc::new(journal::Files::at(&journal)),
        site: "desk".to_owned(),
        window: Duration::from_millis(1),
        spill_bytes: 8 << 20,
        journal: journal::Options { segment_bytes: 1 << 20, ..journal::Options::default() },
        parquet: Some(ParquetOptions {
            folder: folder.join("parquet"),
            journal: journal.clone(),
            site: "desk".to_owned(),
            // Several parts, so that snapshots and instruments go on from one to the next.
            part: Duration::from_millis(50),
            zstd_level: 1,
        }),
    };
    let mut writers: Vec<ring::Writer> = VENUES
        .iter()
        .map(|venue| {
            let options = ring::WriterOptions { slots: 1 << 16, epoch: 9 };
            ring::Writer::open(&directory, venue.name(), options).unwrap()
        })
        .collect();
    let recorder = Recorder::start(options, &telemetry::Registry::new()).unwrap();
    for (writer, (_, rows)) in writers.iter_mut().zip(&told) {
        for (number, row) in rows.iter().enumerate() {
            writer.push(&row.words);
            if number % 500 == 0 {
                writer.publish(row.words[2]);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        writer.publish(rows.last().unwrap().words[2]);
    }
    let begun = Instant::now();
    let durable = || {
        let mark = journal::Watermark::read(&journal).ok().flatten()?;
        let all = told.iter().all(|(venue, rows)| mark.synced_positions.get(*venue) == rows.last().map(|row| row.at));
        all.then_some(())
    };
    while durable().is_none() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for the recorder");
        std::thread::sleep(Duration::from_millis(5));
    }
    recorder.stop().unwrap();
    told
}

/// Trades, quotes and books as lines, without what no column holds.
fn lines(heard: &[Heard]) -> Vec<Value> {
    let mut encoder = wire::json::Encoder::new();
    let mut lines = vec![];
    for heard in heard {
        let Some(line) = encoder.push(heard.row.at, &heard.row.words).unwrap() else { continue };
        let mut line = serde_json::to_value(line).unwrap();
        if ["trade", "quote", "book"].contains(&line["type"].as_str().unwrap()) {
            let fields = line.as_object_mut().unwrap();
            for name in ["capped", "periodic", "update_id", "checksum"] {
                fields.remove(name);
            }
            lines.push(line);
        }
    }
    lines
}

#[test]
fn files_tell_the_rows_of_the_journal_in_its_order_and_can_be_joined() {
    let folder = tempfile::tempdir().unwrap();
    let told = record(folder.path());
    let sources = |name: &str| find(&folder.path().join(name), &[]).unwrap();
    let from_files = all(sources("parquet"), Choice::default());
    let from_journal = all(sources("journal"), Choice::default());
    let (ours, theirs) = (lines(&from_files), lines(&from_journal));
    assert!(theirs.iter().any(|line| line["type"] == "quote") && theirs.len() > 5000, "{}", theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    // Joined in the middle, the books are those of the live stream.
    let to = at(12_000);
    let mut replay = Replay::open(sources("parquet"), Choice::default()).unwrap();
    replay.seek(to).unwrap();
    let mut books = Books::new();
    let mut sites = vec![];
    replay
        .opening(&mut |told| {
            books.push(told.words).unwrap();
            if let Ok(wire::Record::SessionStart(start)) = wire::Record::read(told.words) {
                sites.push(start.site.to_owned());
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(sites, ["replay:desk", "replay:desk"]);
    let mut live = Books::new();
    for (_, rows) in &told {
        let before = rows.iter().take_while(|row| UnixNanos(row.words[2]) < to);
        before.for_each(|row| live.push(&row.words).map(|_| ()).unwrap());
    }
    assert_eq!(live.iter().len(), 6);
    for (venue, id, live) in live.iter() {
        let ours = books.get(venue, id).unwrap();
        for side in [Side::Buy, Side::Sell] {
            // The files' scale is as many decimals as are needed.
            let levels = |rebuilt: &book::Rebuilt| -> Vec<(String, String)> {
                let (price, size) = rebuilt.follower.scales().unwrap();
                let shown =
                    |l: book::Level| (wire::json::decimal(l.price.0, price), wire::json::decimal(l.size.0, size));
                rebuilt.book.levels(side).take(15).map(shown).collect()
            };
            assert_eq!(levels(ours), levels(live), "{venue} {id}");
        }
    }
}
