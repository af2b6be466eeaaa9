//! Tables of latest values as files: claimed, taken over, repaired, grown, retired; who may write, and what a reader is
//! told when nobody does.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use ring::table::{Row, SILENCE_NS, Stamp, TableError, TableOptions, TableReader, TableWriter};
use ring::{Directory, RingError};
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

const OPTIONS: TableOptions = TableOptions { rows: 4, lines: 3 };
const NOW: u64 = 1_700_000_000_000_000_000;

fn folder() -> (TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    (folder, directory)
}

fn open(directory: &Directory) -> TableWriter {
    let writer = TableWriter::open(directory, "kraken", OPTIONS).unwrap();
    writer.beat(NOW);
    writer
}

fn fill(writer: &mut TableWriter, row: Row, value: u64) {
    writer.update(row, |pen| pen.put(3, &[value; 21]));
}

fn read(reader: &mut TableReader, row: Row) -> (Stamp, [u64; 21]) {
    let mut lines = [[0; 8]; 3];
    let stamp = reader.read(row, NOW, &mut lines).unwrap();
    (stamp, lines.as_flattened()[3..].try_into().unwrap())
}

#[test]
fn a_row_is_read_as_it_was_written_in_full_or_from_its_head() {
    let (_folder, directory) = folder();
    let mut writer = open(&directory);
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    assert_eq!(reader.find(7), None);
    let (one, two) = (writer.claim(7).unwrap(), writer.claim(9).unwrap());
    assert_eq!((reader.find(7), reader.find(9), reader.find(8)), (Some(one), Some(two), None));
    assert_eq!(read(&mut reader, one).0, Stamp { version: 0, generation: 0, current: false }, "never written");

    fill(&mut writer, one, 5);
    writer.update(one, |pen| pen.put(15, &[6, 7]));
    let (stamp, words) = read(&mut reader, one);
    assert_eq!(stamp, Stamp { version: 2, generation: 1, current: true });
    assert_eq!((words[0], words[11], words[12], words[13], words[14], words[20]), (5, 5, 6, 7, 5, 5));
    let mut head = [[0; 8]; 1];
    reader.read(one, NOW, &mut head).unwrap();
    assert_eq!(head[0], [4, 7, 1, 5, 5, 5, 5, 5]);
    assert!(reader.rows().eq([(one, 7), (two, 9)]) && writer.rows().eq(reader.rows()));
    assert_eq!(directory.tables().unwrap(), ["kraken"]);
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let (_folder, directory) = folder();
    let writer = open(&directory);
    let refused = TableWriter::open(&directory, "kraken", OPTIONS).err().unwrap();
    assert!(matches!(refused, TableError::Busy { pid, .. } if pid == u64::from(std::process::id())), "{refused}");
    drop(writer);
    assert_eq!(open(&directory).generation(), 2);
}

#[test]
fn an_end_is_told_at_once_and_a_new_writer_is_followed() {
    let (_folder, directory) = folder();
    let mut writer = open(&directory);
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    let row = writer.claim(7).unwrap();
    let other = writer.claim(8).unwrap();
    fill(&mut writer, row, 5);
    fill(&mut writer, other, 6);
    drop(writer);
    let ended = reader.read(row, NOW, &mut [[0; 8]; 1]).unwrap_err();
    assert!(matches!(ended, TableError::Ended { .. }) && ended.is_gone(), "{ended}");

    let mut writer = open(&directory);
    let (stamp, words) = read(&mut reader, row);
    assert_eq!((stamp.current, stamp.generation, words), (false, 1, [5; 21]), "what the earlier writer left");
    // What is not written anew is empty, not what it was.
    writer.update(row, |pen| pen.put(3, &[9]));
    let (stamp, words) = read(&mut reader, row);
    assert_eq!((stamp.current, stamp.generation, words[0], words[1]), (true, 2, 9, 0));
    assert!(!read(&mut reader, other).0.current);
}

#[test]
fn a_silent_writer_that_lives_is_believed_and_looked_for_now_and_then() {
    let (_folder, directory) = folder();
    let mut writer = open(&directory);
    let row = writer.claim(7).unwrap();
    fill(&mut writer, row, 5);
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    for now in [NOW + SILENCE_NS * 5, NOW + SILENCE_NS * 5 + 1, NOW - SILENCE_NS * 5, NOW] {
        assert!(reader.read(row, now, &mut [[0; 8]; 1]).unwrap().current);
    }
}

#[test]
fn a_row_left_torn_is_empty_for_the_next_writer() {
    let (folder, directory) = folder();
    let mut writer = open(&directory);
    let rows = [7, 8].map(|key| writer.claim(key).unwrap());
    rows.into_iter().for_each(|row| fill(&mut writer, row, 5));
    // A write that never ends: the closure leaves in the middle.
    let torn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.update(rows[0], |pen| {
            pen.put(3, &[6; 4]);
            panic!("in the middle");
        })
    }));
    assert!(torn.is_err());
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    let held = reader.read(rows[0], NOW, &mut [[0; 8]; 1]).unwrap_err();
    assert!(matches!(held, TableError::Held { row: 0, .. }) && !held.is_gone(), "{held}");
    assert_eq!(read(&mut reader, rows[1]).1, [5; 21], "the other row is whole");
    drop(writer);
    let ended = reader.read(rows[0], NOW, &mut [[0; 8]; 1]).unwrap_err();
    assert!(ended.is_gone(), "{ended}");

    let mut writer = open(&directory);
    assert_eq!(writer.repaired(), 1);
    let (stamp, words) = read(&mut reader, rows[0]);
    assert_eq!((stamp.current, stamp.generation, words), (false, 0, [0; 21]));
    fill(&mut writer, rows[0], 8);
    assert_eq!(read(&mut reader, rows[0]).1, [8; 21]);
    drop(folder);
}

#[test]
fn a_full_table_is_followed_by_a_larger_one() {
    let (_folder, directory) = folder();
    let mut writer = open(&directory);
    let first = writer.claim(1).unwrap();
    fill(&mut writer, first, 5);
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    for key in 2..=9 {
        let row = writer.claim(key).unwrap();
        assert_eq!(row.index() as u64, key - 1);
    }
    assert_eq!((writer.capacity(), writer.generation()), (16, 1));
    writer.beat(NOW);
    let retired = reader.read(first, NOW, &mut [[0; 8]; 1]).unwrap_err();
    assert!(matches!(retired, TableError::Retired { .. }), "{retired}");
    reader.reopen().unwrap();
    assert_eq!(read(&mut reader, first).1, [5; 21], "rows keep their places and words");
    assert!(read(&mut reader, first).0.current);
    assert_eq!(reader.rows().count(), 9);
    // A later writer that asks for less keeps them too.
    drop(writer);
    assert_eq!(open(&directory).capacity(), 16);
}

#[test]
fn rows_of_another_length_start_empty_under_their_keys() {
    let (_folder, directory) = folder();
    let mut writer = open(&directory);
    let row = writer.claim(7).unwrap();
    fill(&mut writer, row, 5);
    drop(writer);
    let writer = TableWriter::open(&directory, "kraken", TableOptions { rows: 2, lines: 5 }).unwrap();
    writer.beat(NOW);
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    assert_eq!((writer.generation(), writer.capacity(), reader.lines()), (2, 4, 5));
    let mut lines = [[0; 8]; 5];
    assert_eq!(reader.read(row, NOW, &mut lines).unwrap().generation, 0);
    assert_eq!(lines.as_flattened()[1..], {
        let mut empty = [0; 39];
        empty[0] = 7;
        empty
    });
}

#[test]
fn what_is_no_table_is_refused_by_name() {
    let (folder, directory) = folder();
    let missing = TableReader::open(&directory, "kraken").err().unwrap();
    assert!(matches!(&missing, TableError::NotFound { path } if path.ends_with("kraken.table")), "{missing}");
    for bad in [
        TableOptions { rows: 0, lines: 1 },
        TableOptions { rows: 1, lines: 0 },
        TableOptions { rows: 1 << 17, lines: 1 },
    ] {
        assert!(matches!(TableWriter::open(&directory, "kraken", bad), Err(TableError::BadSize { .. })));
    }
    assert!(matches!(
        TableWriter::open(&directory, "../kraken", OPTIONS),
        Err(TableError::File(RingError::BadName { .. }))
    ));
    let mut writer = open(&directory);
    let row = writer.claim(7).unwrap();
    let mut reader = TableReader::open(&directory, "kraken").unwrap();
    let long = reader.read(row, NOW, &mut [[0; 8]; 4]).unwrap_err();
    assert!(matches!(long, TableError::NoRow { lines: 4, has: 3, .. }), "{long}");
    drop(writer);

    let path = folder.path().join("kraken.table");
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    for (at, bytes) in [(0u64, 1u64), (8, 2 | 4096 << 32), (16, 5), (16, 1 << 40), (24, 4)] {
        let mut before = [0; 8];
        file.read_exact_at(&mut before, at).unwrap();
        file.write_all_at(&bytes.to_le_bytes(), at).unwrap();
        for refused in
            [TableReader::open(&directory, "kraken").err(), TableWriter::open(&directory, "kraken", OPTIONS).err()]
        {
            let refused = refused.unwrap();
            assert!(
                matches!(refused, TableError::File(RingError::Unusable { .. } | RingError::Layout { .. })),
                "{refused}"
            );
        }
        file.write_all_at(&before, at).unwrap();
    }
    assert!(TableReader::open(&directory, "kraken").is_ok());
}
