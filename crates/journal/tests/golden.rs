//! The files as they are committed: today's writer makes the same bytes, and today's reader understands them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/sim.rs"]
mod sim;

use common::*;
use journal::{Cursor, From, Level, Options, PAGE_BYTES, Reader, State, Watermark, Writer};
use model::Venue::{Binance, Kraken};
use sim::Sim;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use wire::{OverrunCause, OverrunRecord};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/journal")
}

const FILES: [&str; 6] =
    ["0000000001.seg", "0000000001.idx", "0000000002.seg", "checkpoint", "watermark", "cursors/parquet"];

/// Two venues, an overrun, two segments, a cursor: a journal of every kind of content.
fn written() -> Sim {
    let disk = Sim::new();
    let options = Options {
        segment_bytes: 16 << 10,
        reserve_bytes: 1 << 10,
        checkpoint_bytes: 4 << 10,
        batch_bytes: 4 << 10,
        ..Options::small()
    };
    let (mut writer, _) = Writer::open_on(Arc::new(disk.clone()), options, "golden", START).unwrap();
    for k in 0..9 {
        append(&mut writer, Kraken, 7, k * 40 + 1, k * 40 + 40, at(k * 10));
        append(&mut writer, Binance, 8, k * 3 + 1, k * 3 + 3, at(k * 10 + 1));
        writer.write(at(k * 10 + 2)).unwrap();
        writer.sync(at(k * 10 + 3)).unwrap();
    }
    let lost = OverrunRecord::new(Some(Kraken), 7, 361, Some(400), OverrunCause::Slow, at(90));
    writer.append_overrun(&lost, at(90)).unwrap();
    append(&mut writer, Kraken, 7, 401, 402, at(91));
    writer.write(at(92)).unwrap();
    let mut reader = Reader::open_on(Arc::new(disk.clone()), From::Oldest, Level::Synced).unwrap();
    drain(&mut reader, &mut Read::default());
    reader.cursor("parquet", at(93)).store_on(&disk).unwrap();
    disk
}

/// A watermark names its process, which no two runs share.
fn without_process(name: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    if name == "watermark" {
        bytes[12..16].copy_from_slice(&4242u32.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..PAGE_BYTES - 4]);
        bytes[PAGE_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

#[test]
fn todays_writer_makes_the_committed_bytes() {
    let disk = written();
    for name in FILES {
        let (now, path) = (without_process(name, disk.bytes(name)), folder().join(name));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &now).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|committed| committed == now),
            "fixtures/journal/{name} is out of date; a change of format is a new version of it (docs/journal.md); \
             `UPDATE_GOLDEN=1 cargo test -p journal --test golden` rewrites the files"
        );
    }
}

#[test]
fn todays_reader_understands_the_committed_bytes() {
    let mut expected = vec![];
    for k in 0..9 {
        expected.extend(names(Kraken, 7, k * 40 + 1, k * 40 + 40));
        expected.extend(names(Binance, 8, k * 3 + 1, k * 3 + 3));
    }
    expected.extend(names(Kraken, 7, 401, 402));
    // The page was written on another run of another machine: what is there is found by looking.
    let read = read_all(&folder(), Level::Written);
    assert_eq!((read.names, read.missing), (expected, vec![]));

    let mark = Watermark::read(&folder()).unwrap().unwrap();
    assert_eq!((mark.state, mark.pid, mark.same_boot), (State::Ok, 4242, false));
    assert_eq!(mark.written_positions.to_string(), "kraken 7/402, binance 8/27");
    assert_eq!(mark.synced_positions.to_string(), "kraken 7/360, binance 8/27");
    let cursor = Cursor::load(&folder(), "parquet").unwrap().unwrap();
    assert_eq!((cursor.positions.to_string(), cursor.place), ("kraken 7/360, binance 8/27".to_owned(), mark.synced));
}

/// The document's tables of offsets, held against the committed bytes.
#[test]
fn the_document_tells_where_things_stand() {
    let doc = fs::read_to_string(folder().join("../../docs/journal.md")).unwrap();
    let field = |file: &str, page: usize, section: &str, name: &str| -> Vec<u8> {
        let section = &doc[doc.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no {section:?}"))..];
        let row = section.lines().find(|l| l.contains(&format!("| `{name}` |"))).unwrap_or_else(|| panic!("no {name}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (offset, bytes): (usize, usize) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
        fs::read(folder().join(file)).unwrap()[page + offset..page + offset + bytes].to_vec()
    };
    let number = |bytes: Vec<u8>| bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let segment = |name| field("0000000002.seg", 0, "Segment", name);
    assert_eq!(segment("magic"), b"APJRNL01");
    assert_eq!(["version", "wire", "number", "bytes"].map(|n| number(segment(n))), [1, 1, 2, 16 << 10]);
    assert_eq!([number(segment("journal")), number(segment("created"))], [START.0, at(82).0]);
    assert!(segment("site").starts_with(b"golden\0"));
    assert_eq!(number(segment("venues")), 2);
    let mark = |name| field("watermark", 0, "Watermark", name);
    assert_eq!(mark("magic"), b"APWMRK01");
    assert_eq!(["version", "pid", "state", "venues"].map(|n| number(mark(n))), [1, 4242, 1, 2]);
    assert_eq!(number(mark("opened")), START.0);
    let written = Watermark::read(&folder()).unwrap().unwrap();
    let places = ["written_segment", "written_offset", "synced_segment", "synced_offset"].map(|n| number(mark(n)));
    assert_eq!(places, [written.written.segment, written.written.offset, written.synced.segment, written.synced.offset]);
    let cursor = |name| field("cursors/parquet", 0, "Cursor", name);
    assert_eq!(cursor("magic"), b"APJCUR01");
    assert_eq!(["segment", "offset"].map(|n| number(cursor(n))), [written.synced.segment, written.synced.offset]);
    let checkpoint = |name| field("checkpoint", PAGE_BYTES, "Checkpoint", name);
    assert_eq!(checkpoint("magic"), b"APJCHK01");
    assert_eq!(number(checkpoint("serial")) % 2, 1);
    assert_eq!(number(checkpoint("journal")), START.0);
    let index = |name| field("0000000001.idx", 0, "Index", name);
    assert_eq!(index("magic"), b"APJIDX01");
    assert_eq!(["version", "segment"].map(|n| number(index(n))), [1, 1]);
}
