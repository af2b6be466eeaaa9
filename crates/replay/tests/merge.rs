//! Many sources as one stream: in the order of time, ties by venue, the same bytes each time, and what was recorded.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use model::{UnixNanos, Venue};
use replay::{Batches, Choice, Lines, Sink, find};
use std::time::Duration;

/// The four venues' fixtures as captures in one folder.
fn captures(folder: &std::path::Path) -> Vec<(Venue, Vec<Row>)> {
    FIXTURES.iter().map(|(venue, case)| (*venue, capture(folder, *venue, 7, &fixture(case)))).collect()
}

/// What a merge must tell, worked out another way: events sorted by time and venue.
fn merged(told: &[(Venue, Vec<Row>)]) -> Vec<(UnixNanos, Venue, Row)> {
    let mut all = vec![];
    for (venue, rows) in told {
        let mut time = UnixNanos::ZERO;
        for row in as_replayed(rows) {
            time = time.max(UnixNanos(row.words[2]));
            all.push((time, *venue, row));
        }
    }
    all.sort_by_key(|(time, venue, _)| (*time, *venue));
    all
}

#[test]
fn four_venues_captures_come_in_the_order_of_time_with_ties_by_venue() {
    let folder = tempfile::tempdir().unwrap();
    let told = captures(folder.path());
    let heard = all(find(folder.path(), &[]).unwrap(), Choice::default());
    let expected = merged(&told);
    let ties = expected.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1).count();
    assert!(ties > 10, "{ties} ties");
    assert!(told.iter().all(|(_, rows)| rows.len() > 10), "{:?}", told.iter().map(|t| t.1.len()).collect::<Vec<_>>());
    assert_eq!(heard.len(), expected.len());
    for (heard, (time, venue, row)) in heard.iter().zip(&expected) {
        assert_eq!((heard.time, heard.venue, &heard.row, heard.catch_up), (*time, *venue, row, false));
    }
    // Each venue by itself is what was told when it was captured.
    for (venue, rows) in &told {
        assert_eq!(recorded(&heard, *venue), as_replayed(rows), "{venue}");
        let alone = all(find(folder.path(), &[*venue]).unwrap(), Choice::default());
        assert_eq!(recorded(&alone, *venue), as_replayed(rows), "{venue} alone");
    }
}

#[test]
fn a_replayed_journal_equals_the_journal_and_the_captures_it_was_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = captures(&folder.path().join("captures"));
    // A longer one too, so that segments turn over.
    let mut market = Market::begin(Venue::BinanceUs, 9, 3, BEGIN);
    market.run(BEGIN, 3000, Duration::from_micros(700), Duration::from_millis(200));
    told.push((Venue::BinanceUs, market.rows));
    journal(&folder.path().join("journal"), &told);
    let heard = all(find(&folder.path().join("journal"), &[]).unwrap(), Choice::default());
    assert!(heard.iter().all(|heard| !heard.catch_up));
    let rows: Vec<_> = heard.iter().map(|h| (h.time, h.venue, h.row.clone())).collect();
    assert_eq!(rows, merged(&told));
    let from_captures = all(find(&folder.path().join("captures"), &[]).unwrap(), Choice::default());
    let mut without = heard;
    without.retain(|heard| heard.venue != Venue::BinanceUs);
    assert_eq!(from_captures, without, "one rule for the time of a record, whatever kept it");
}

/// The bytes of a replay in both forms.
fn bytes(folder: &std::path::Path) -> (Vec<u8>, Vec<u8>) {
    let (lines, batches) = (Shared::default(), Shared::default());
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Lines::new(lines.clone())), Box::new(Batches::new(batches.clone()))];
    flat_out(find(folder, &[]).unwrap(), Choice::default(), sinks);
    let take = |shared: Shared| std::mem::take(&mut *shared.0.lock().unwrap());
    (take(lines), take(batches))
}

#[test]
fn the_same_input_gives_the_same_bytes_in_each_run_and_build() {
    let folder = tempfile::tempdir().unwrap();
    captures(folder.path());
    let (lines, batches) = bytes(folder.path());
    assert_eq!((&lines, &batches), (&bytes(folder.path()).0, &bytes(folder.path()).1));
    let digest = format!(
        "lines {} bytes crc32c {:08x}\nbatches {} bytes crc32c {:08x}\n",
        lines.len(),
        crc32c::crc32c(&lines),
        batches.len(),
        crc32c::crc32c(&batches)
    );
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/replay/digest.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &digest).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&golden).unwrap(), digest, "UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn batches_hold_what_was_told_under_its_names_and_say_what_a_filter_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut market = Market::begin(Venue::Kraken, 9, 3, BEGIN);
    market.run(BEGIN, 500, Duration::from_millis(1), Duration::from_millis(200));
    journal(folder.path(), &[(Venue::Kraken, market.rows.clone())]);
    let out = Shared::default();
    let choice = Choice { symbols: vec!["c1-usd".to_owned()], ..Choice::default() };
    let heard = all(find(folder.path(), &[]).unwrap(), choice.clone());
    flat_out(find(folder.path(), &[]).unwrap(), choice, vec![Box::new(Batches::new(out.clone()))]);
    let bytes = out.0.lock().unwrap().clone();
    let (mut rest, mut rows, mut looked) = (&bytes[..], vec![], 0);
    while let Some(header) = wire::batch::BatchHeader::read(rest).unwrap() {
        let (body, behind) = rest[wire::batch::HEADER_BYTES..].split_at(header.length as usize);
        let words: Vec<u64> = body.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
        header.open(&words, |at, words| rows.push(Row { at, words: words.to_vec() })).unwrap();
        assert_eq!(header.scan_first, looked + 1, "what the filter left out was looked at");
        looked = header.scan_last;
        rest = behind;
    }
    let expected: Vec<Row> = heard.into_iter().map(|heard| heard.row).collect();
    assert_eq!(rows, expected);
    let id = market.id(1).0;
    let others = rows.iter().filter(|row| ![0, id].contains(&((row.words[0] >> 32) as u32))).count();
    assert!(others == 0 && rows.len() > 300, "{others} of {}", rows.len());
}
