//! The journal on a good day: what goes in comes out, at its level, after restarts, across segments, from any place.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use journal::{Cursor, From, Helper, Item, JournalError, Level, Options, Reader, State, Watermark, Writer};
use model::Venue::{Binance, Coinbase, Kraken};
use std::time::Duration;
use wire::{Envelope, OverrunCause, OverrunRecord};

#[test]
fn each_level_is_told_when_it_is_reached_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), START);
    append(&mut writer, Kraken, 7, 1, 10, at(1));
    let mark = Watermark::read(dir.path()).unwrap().unwrap();
    assert_eq!((mark.written_positions.get(Kraken), mark.synced_positions.get(Kraken)), (None, None));
    assert_eq!(read_all(dir.path(), Level::Written).names, vec![]);

    writer.write(at(2)).unwrap();
    let mark = Watermark::read(dir.path()).unwrap().unwrap();
    let ten = Some(Envelope { epoch: 7, sequence: 10 });
    assert_eq!((mark.written_positions.get(Kraken), mark.synced_positions.get(Kraken)), (ten, None));
    assert_eq!(read_all(dir.path(), Level::Written).names, names(Kraken, 7, 1, 10));
    assert_eq!(read_all(dir.path(), Level::Synced).names, vec![]);

    writer.sync(at(3)).unwrap();
    let mark = Watermark::read(dir.path()).unwrap().unwrap();
    assert_eq!((mark.written_positions.get(Kraken), mark.synced_positions.get(Kraken)), (ten, ten));
    assert_eq!((mark.state, mark.pid), (State::Ok, std::process::id()));
    assert_eq!(read_all(dir.path(), Level::Synced).names, names(Kraken, 7, 1, 10));
}

#[test]
fn a_restart_goes_on_behind_the_last_record_of_each_venue() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = vec![];
    for run in 0..5 {
        let (mut writer, recovered) = Writer::open(dir.path(), Options::small(), "test", at(run * 100)).unwrap();
        assert_eq!(recovered.fresh, run == 0);
        let from = writer.positions().get(Kraken).map_or(1, |at| at.sequence + 1);
        assert_eq!(from, run * 900 + 1);
        append(&mut writer, Kraken, 7, from, from + 899, at(run * 100 + 1));
        append(&mut writer, Binance, 100 + run, 1, 50, at(run * 100 + 2));
        writer.write(at(run * 100 + 3)).unwrap();
        writer.sync(at(run * 100 + 4)).unwrap();
        expected.extend(names(Kraken, 7, from, from + 899));
        expected.extend(names(Binance, 100 + run, 1, 50));
        // Every second run ends in order, the others as by a kill.
        if run % 2 == 0 {
            writer.close(at(run * 100 + 5)).unwrap();
        }
    }
    let read = read_all(dir.path(), Level::Synced);
    assert_eq!(read.missing, vec![]);
    assert!(Watermark::read(dir.path()).unwrap().unwrap().written.segment > 1, "several segments were filled");
    assert_eq!(read.names, expected);
}

#[test]
fn a_repeat_and_a_hole_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), START);
    append(&mut writer, Kraken, 7, 1, 10, START);
    let refused = |r: Result<(), JournalError>| r.unwrap_err().to_string();
    assert_eq!(
        refused(try_append(&mut writer, Kraken, 7, 10, 11, START)),
        "venue 2: record 7/10 comes after 7/10 in the journal; it was taken already"
    );
    assert_eq!(
        refused(try_append(&mut writer, Kraken, 7, 13, 14, START)),
        "venue 2: record 7/13 leaves a hole behind 10; append an overrun for it first"
    );
    let lost = OverrunRecord::new(Some(Kraken), 7, 11, Some(12), OverrunCause::Slow, START);
    writer.append_overrun(&lost, START).unwrap();
    append(&mut writer, Kraken, 7, 13, 14, START);
    writer.write(START).unwrap();
    let read = read_all(dir.path(), Level::Written);
    assert_eq!(read.names, [names(Kraken, 7, 1, 10), names(Kraken, 7, 13, 14)].concat());
    assert_eq!(read.missing, vec![], "an overrun is no damage");
}

/// Fills a journal of several segments with three venues; batch k is published at `at(k)`.
fn history(folder: &std::path::Path) -> Writer {
    let mut writer = open(folder, START);
    for k in 0..300u64 {
        let venue = [Kraken, Binance, Coinbase][(k % 3) as usize];
        let first = k / 3 * 20 + 1;
        append(&mut writer, venue, 9, first, first + 19, at(k));
        writer.write(at(k)).unwrap();
        if k % 7 == 0 {
            writer.sync(at(k)).unwrap();
        }
    }
    writer.sync(at(300)).unwrap();
    writer
}

#[test]
fn reading_begins_at_any_time_record_or_place() {
    let dir = tempfile::tempdir().unwrap();
    let writer = history(dir.path());
    let mut all = Reader::open(dir.path(), From::Oldest, Level::Synced).unwrap();
    let mut places = vec![];
    while let Item::Batch(batch) = all.next().unwrap() {
        places.push((batch.place, batch.header.published, batch.header.venue, batch.header.first));
    }
    assert!(places.last().unwrap().0.segment > 3);
    for (k, &(place, published, venue, first)) in places.iter().enumerate() {
        let venue = model::Venue::from_code(venue).unwrap();
        let middle = Envelope { epoch: 9, sequence: first + 10 };
        for from in [From::At(place), From::Time(model::UnixNanos(published)), From::Sequence(venue, middle)] {
            let mut reader = Reader::open(dir.path(), from.clone(), Level::Synced).unwrap();
            match reader.next().unwrap() {
                Item::Batch(batch) => assert_eq!(batch.place, place, "batch {k} from {from:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
    let mut late = Reader::open(dir.path(), From::Time(at(100_000)), Level::Synced).unwrap();
    assert!(matches!(late.next().unwrap(), Item::End));
    let between = journal::Place { segment: 1, offset: 4104 };
    let refused = Reader::open(dir.path(), From::At(between), Level::Synced).unwrap_err().to_string();
    assert!(refused.contains("nothing begins at 1:4104"), "{refused}");
    drop(writer);
}

#[test]
fn a_reader_follows_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), START);
    let mut reader = Reader::open(dir.path(), From::Oldest, Level::Written).unwrap();
    let mut now = Reader::open(dir.path(), From::Now, Level::Synced).unwrap();
    let (mut read, mut read_now) = (Read::default(), Read::default());
    for k in 0..200 {
        append(&mut writer, Kraken, 7, k * 30 + 1, k * 30 + 30, at(k));
        writer.write(at(k)).unwrap();
        drain(&mut reader, &mut read);
        assert_eq!(read.names.len() as u64, k * 30 + 30);
        if k % 5 == 4 {
            writer.sync(at(k)).unwrap();
        }
        drain(&mut now, &mut read_now);
    }
    assert_eq!(read.names, names(Kraken, 7, 1, 6000));
    assert_eq!(read_now.names, names(Kraken, 7, 1, 6000));
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), START);
    let refused = Writer::open(dir.path(), Options::small(), "test", START).unwrap_err().to_string();
    assert!(refused.contains(&format!("another recorder (process {})", std::process::id())), "{refused}");
    drop(first);
    let refused = Writer::open(dir.path(), Options::small(), "elsewhere", START).unwrap_err().to_string();
    assert!(refused.contains("it belongs to site \"test\", this is \"elsewhere\""), "{refused}");
    open(dir.path(), START);
}

#[test]
fn a_restart_looks_at_as_much_of_a_long_journal_as_of_a_short_one() {
    let scanned = [1, 20].map(|times| {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path(), START);
        let mut sequence = 1;
        // Each round fills exactly one checkpoint interval; then comes the same short tail.
        for k in 0..times * 40 {
            append(&mut writer, Kraken, 7, sequence, sequence + 99, at(k));
            sequence += 100;
            writer.write(at(k)).unwrap();
            writer.sync(at(k)).unwrap();
        }
        drop(writer);
        let (writer, _) = Writer::open(dir.path(), Options::small(), "test", at(1_000_000)).unwrap();
        let mut writer = writer;
        for k in 0..3 {
            append(&mut writer, Kraken, 7, sequence, sequence + 9, at(k));
            sequence += 10;
            writer.write(at(k)).unwrap();
        }
        drop(writer);
        let (_, recovered) = Writer::open(dir.path(), Options::small(), "test", at(1_000_001)).unwrap();
        assert_eq!(recovered.damaged, vec![]);
        (recovered.scanned_batches, recovered.scanned_bytes)
    });
    assert_eq!(scanned[0], scanned[1]);
    assert_eq!(scanned[0].0, 3);
}

#[test]
fn a_kill_costs_at_most_a_checkpoint_interval_of_looking() {
    for total in [40, 800] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path(), START);
        for k in 0..total {
            append(&mut writer, Kraken, 7, k * 100 + 1, k * 100 + 100, at(k));
            writer.write(at(k)).unwrap();
            writer.sync(at(k)).unwrap();
        }
        drop(writer);
        let (writer, recovered) = Writer::open(dir.path(), Options::small(), "test", at(1_000_000)).unwrap();
        let most = writer.options().checkpoint_bytes + writer.options().batch_bytes as u64;
        assert!(recovered.scanned_bytes <= most, "{recovered:?}");
        assert_eq!(recovered.positions.get(Kraken).unwrap().sequence, total * 100);
    }
}

#[test]
fn retention_leaves_a_sink_what_it_needs_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    drop(history(dir.path()));
    let mut reader = Reader::open(dir.path(), From::Oldest, Level::Synced).unwrap();
    for _ in 0..100 {
        assert!(matches!(reader.next().unwrap(), Item::Batch(_)));
    }
    let cursor = reader.cursor("parquet", at(1));
    cursor.store(dir.path()).unwrap();
    assert_eq!(Cursor::load(dir.path(), "parquet").unwrap(), Some(cursor.clone()));
    let needed = cursor.place.segment;
    assert!(needed > 1);

    let options = Options { retain_bytes: Some(128 << 10), ..Options::small() };
    let (mut writer, _) = Writer::open(dir.path(), options.clone(), "test", at(400)).unwrap();
    let kept = writer.retain(at(500)).unwrap();
    assert_eq!(kept.removed, (1..needed).collect::<Vec<_>>());
    assert_eq!(kept.held.unwrap().1, "parquet");
    drop(writer);

    let options = Options { retain_force: true, ..options };
    let (mut writer, _) = Writer::open(dir.path(), options, "test", at(600)).unwrap();
    let forced = writer.retain(at(700)).unwrap();
    assert_eq!(forced.robbed, vec!["parquet"]);
    assert!(forced.bytes <= 128 << 10);

    // The sink is told exactly what it can no longer have, then reads on.
    let mut reader = Reader::open(dir.path(), From::Cursor(cursor.clone()), Level::Synced).unwrap();
    let Item::Missing(missing) = reader.next().unwrap() else { panic!("the loss is told first") };
    let mut read = Read::default();
    drain(&mut reader, &mut read);
    for venue in [Kraken, Binance, Coinbase] {
        let range = missing.ranges.iter().find(|range| range.venue == venue).unwrap();
        assert_eq!(range.first, cursor.positions.get(venue).unwrap().sequence + 1);
        let next = read.names.iter().find(|name| name.0 == venue).unwrap().2;
        assert_eq!(range.last, Some(next - 1));
    }
}

#[test]
fn age_removes_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(history(dir.path()));
    let options = Options { retain_age: Some(Duration::from_millis(200)), ..Options::small() };
    let (mut writer, _) = Writer::open(dir.path(), options, "test", at(300)).unwrap();
    assert_eq!(writer.retain(at(200)).unwrap().removed, Vec::<u64>::new());
    let removed = writer.retain(at(400)).unwrap().removed;
    assert!(!removed.is_empty());
    let mut reader = Reader::open(dir.path(), From::Oldest, Level::Synced).unwrap();
    let Item::Batch(first) = reader.next().unwrap() else { panic!() };
    assert!(first.header.published <= at(200).0, "nothing younger than the age is gone");
    writer.close(at(500)).unwrap();
}

#[test]
fn a_helper_thread_makes_the_same_journal() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { helper: Helper::Thread, ..Options::small() };
    let (mut writer, _) = Writer::open(dir.path(), options, "test", START).unwrap();
    for k in 0..200 {
        append(&mut writer, Kraken, 7, k * 100 + 1, k * 100 + 100, at(k));
        writer.write(at(k)).unwrap();
        writer.sync(at(k)).unwrap();
    }
    writer.close(at(200)).unwrap();
    assert_eq!(read_all(dir.path(), Level::Synced).names, names(Kraken, 7, 1, 20_000));
    assert_eq!(Watermark::read(dir.path()).unwrap().unwrap().state, State::Closed);
}
