//! What stands in the Parquet files is what stands in the journal: every row once, exact, under its name, whatever
//! order definitions, restarts and retention come in.

mod common;

use arrow_array::{Array, Decimal128Array, UInt64Array, cast::AsArray, types::UInt64Type};
use common::{Feed, Site, start, wait_durable, wait_for};
use journal::{Cursor, Options};
use model::Venue;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use recorder::{PARQUET_CURSOR, RecorderOptions};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

const VENUE: Venue = Venue::Kraken;

/// A trade as its row says it: name, price and size at 18 digits behind the point, the venue's id.
type Trade = ((u64, u64), i128, i128, u64);

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn trades(site: &Site) -> Vec<Trade> {
    let mut all = vec![];
    for path in files(&site.parquet().join("trade")) {
        let file = File::open(&path).expect("a file");
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader") {
            let batch = batch.expect("a batch");
            let column = |name: &str| batch.column_by_name(name).expect("a column").clone();
            let number = |name: &str| -> UInt64Array { column(name).as_primitive::<UInt64Type>().clone() };
            let decimal = |name: &str| -> Decimal128Array {
                column(name).as_any().downcast_ref::<Decimal128Array>().expect("a decimal").clone()
            };
            let (epochs, sequences, ids) = (number("epoch"), number("sequence"), number("trade_id"));
            let (prices, sizes) = (decimal("price"), decimal("size"));
            assert_eq!((prices.precision(), prices.scale()), (38, 18));
            for at in 0..batch.num_rows() {
                let name = (epochs.value(at), sequences.value(at));
                all.push((name, prices.value(at), sizes.value(at), ids.value(at)));
            }
        }
    }
    all.sort_unstable();
    all
}

/// What the feed of the tests said: its trades count up, price and id alike, at a scale of 1; sizes are 7 at one of 8.
fn expected(epoch: u64, sequences: impl Iterator<Item = u64>, first_trade_at: u64) -> Vec<Trade> {
    let trade = |sequence: u64| {
        let id = epoch * 1_000_000 + sequence - first_trade_at + 1;
        ((epoch, sequence), i128::from(id) * 10i128.pow(17), 7 * 10i128.pow(10), id)
    };
    sequences.map(trade).collect()
}

#[test]
fn rows_are_exact_and_each_is_there_once_over_restarts() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    feed.define();
    let mut last = 1;
    for _ in 0..3 {
        let recorder = start(site.with_parquet());
        for _ in 0..5 {
            last = feed.trades(200);
            wait_durable(&recorder, VENUE, 7, last);
        }
        recorder.stop().expect("an orderly end");
    }
    assert_eq!(trades(&site), expected(7, 2..=last, 2));
    let cursor = Cursor::load(&site.journal(), PARQUET_CURSOR).expect("readable").expect("a cursor");
    assert_eq!(cursor.positions.get(VENUE).map(|at| (at.epoch, at.sequence)), Some((7, last)));
    assert!(files(&site.parquet().join(".sink")).is_empty(), "nothing in the making is left");
}

#[test]
fn parts_come_while_the_hour_is_open() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    feed.define();
    let recorder = start(site.with_parquet());
    let last = feed.trades(100);
    wait_for("rows in files", || (recorder.sink().expect("a sink").rows == last - 1).then_some(()));
    assert_eq!(trades(&site), expected(7, 2..=last, 2));
    let path = files(&site.parquet())[0].clone();
    let folder = path.parent().expect("a folder").strip_prefix(site.parquet()).expect("below");
    // 1,700,007,000 s since the Unix epoch.
    assert_eq!(folder, Path::new("trade/kraken/date=2023-11-15/hour=00"));
    assert_eq!(recorder.sink().expect("a sink").lag_ns, 0);
    recorder.stop().expect("an orderly end");
}

#[test]
fn a_definition_that_comes_late_serves_the_records_before_it() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    let recorder = start(site.with_parquet());
    let before = feed.trades(300);
    wait_durable(&recorder, VENUE, 7, before);
    assert_eq!(recorder.sink().expect("a sink").rows, 0, "its scale is not known");
    let at = feed.define();
    let last = feed.trades(10);
    wait_for("rows in files", || (recorder.sink().expect("a sink").rows == last - 1).then_some(()));
    recorder.stop().expect("an orderly end");
    let mut all = expected(7, 1..at, 1);
    all.extend(expected(7, at + 1..=last, 2));
    assert_eq!(trades(&site), all);
}

#[test]
fn an_end_before_the_definition_leaves_the_records_to_the_next_start() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    let recorder = start(site.with_parquet());
    let before = feed.trades(300);
    wait_durable(&recorder, VENUE, 7, before);
    recorder.stop().expect("an orderly end");
    assert!(trades(&site).is_empty());
    let recorder = start(site.with_parquet());
    let at = feed.define();
    wait_durable(&recorder, VENUE, 7, at);
    recorder.stop().expect("an orderly end");
    assert_eq!(trades(&site), expected(7, 1..at, 1));
}

#[test]
fn a_new_scale_counts_from_its_definition_on() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    feed.define();
    let recorder = start(site.with_parquet());
    let change = feed.trades(10);
    feed.instrument.price_scale = 3;
    feed.define();
    let last = feed.trades(10);
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    let prices: Vec<i128> = trades(&site).iter().map(|trade| trade.1).collect();
    let at = |id: i128, digits: u32| (7_000_000 + id) * 10i128.pow(18 - digits);
    let wanted: Vec<i128> = (1..=10).map(|id| at(id, 1)).chain((11..=20).map(|id| at(id, 3))).collect();
    assert_eq!((prices, change), (wanted, 11));
}

#[test]
fn another_journal_of_the_same_ring_doubles_no_row() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    feed.define();
    let first = feed.trades(500);
    let recorder = start(site.with_parquet());
    wait_durable(&recorder, VENUE, 7, first);
    recorder.stop().expect("an orderly end");
    fs::remove_dir_all(site.journal()).expect("removed");
    let last = feed.trades(500);
    let recorder = start(site.with_parquet());
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    assert_eq!(trades(&site), expected(7, 2..=last, 2));
}

#[test]
fn retention_waits_for_the_files() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 15);
    feed.define();
    let small = || RecorderOptions {
        journal: Options { segment_bytes: 1 << 20, retain_bytes: Some(2 << 20), ..Options::default() },
        spill_bytes: 16 << 20,
        ..site.with_parquet()
    };
    let recorder = start(small());
    let mut last = 0;
    // 48 bytes a record: some 5 MiB.
    for _ in 0..220 {
        last = feed.trades(500);
        wait_durable(&recorder, VENUE, 7, last);
    }
    wait_for("the oldest segment to go", || {
        last = feed.trades(10);
        (!site.journal().join("0000000001.seg").exists()).then_some(())
    });
    recorder.stop().expect("an orderly end");
    assert_eq!(trades(&site), expected(7, 2..=last, 2));
}

#[test]
fn what_was_in_the_making_is_made_anew() {
    let site = Site::new();
    let mut feed = Feed::open(&site, VENUE, 7, 1 << 14);
    feed.define();
    let aside = site.parquet().join(".sink");
    fs::create_dir_all(&aside).expect("made");
    fs::write(aside.join("part-torn"), b"PAR1").expect("written");
    fs::write(aside.join("ledger.json.new"), b"{").expect("written");
    let recorder = start(site.with_parquet());
    let last = feed.trades(20);
    wait_durable(&recorder, VENUE, 7, last);
    recorder.stop().expect("an orderly end");
    assert_eq!(trades(&site), expected(7, 2..=last, 2));
    assert!(!aside.join("part-torn").exists() && !aside.join("ledger.json.new").exists());
}
