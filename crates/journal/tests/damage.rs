//! Torn and damaged journals: the tail recovers wherever it is cut, damage in the middle costs what it hit and no more,
//! and other versions are refused by name.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/sim.rs"]
mod sim;

use common::*;
use journal::{From, Item, JournalError, Level, MissingRange, Options, PAGE_BYTES, Place, Reader, Recovered, Writer};
use model::Venue::{self, Binance, Kraken};
use sim::Sim;
use std::sync::Arc;

const SEGMENT: &str = "0000000001.seg";

fn open_on(disk: &Sim, now: u64) -> (Writer, Recovered) {
    Writer::open_on(Arc::new(disk.clone()), Options::small(), "test", at(now)).unwrap()
}

/// A batch of a journal: where it is and what it holds.
struct Held {
    place: Place,
    end: u64,
    venue: Venue,
    first: u64,
    last: u64,
}

fn held(disk: &Sim) -> Vec<Held> {
    let mut reader = Reader::open_on(Arc::new(disk.clone()), From::Oldest, Level::Written).unwrap();
    let mut all = vec![];
    while let Item::Batch(batch) = reader.next().unwrap() {
        let header = batch.header;
        let (venue, first, last) = (header.venue().unwrap(), header.first, header.scan_last);
        all.push(Held { place: batch.place, end: batch.next.offset, venue, first, last });
    }
    all
}

/// A journal of two venues whose batches have between 1 and 40 records.
fn journal(batches: u64) -> Sim {
    let disk = Sim::new();
    let (mut writer, _) = open_on(&disk, 0);
    for k in 0..batches {
        let venue = if k % 3 == 2 { Binance } else { Kraken };
        let first = writer.positions().get(venue).map_or(1, |at| at.sequence + 1);
        append(&mut writer, venue, 1, first, first + k * 7 % 40, at(k));
        writer.write(at(k)).unwrap();
    }
    writer.sync(at(batches)).unwrap();
    drop(writer);
    disk.process_dies();
    disk
}

fn names_of<'a>(held: impl IntoIterator<Item = &'a Held>) -> Vec<Name> {
    held.into_iter().flat_map(|h| names(h.venue, 1, h.first, h.last)).collect()
}

#[test]
fn a_cut_at_every_byte_of_the_tail_recovers() {
    let disk = journal(8);
    let batches = held(&disk);
    let whole = disk.bytes(SEGMENT);
    let end = batches.last().unwrap().end as usize;
    // The last three batches, byte by byte: the file ends there, or zeros begin there.
    for cut in batches[4].end as usize..=end {
        for truncate in [true, false] {
            let disk = disk.copy();
            disk.edit(SEGMENT, |bytes| {
                bytes.truncate(cut);
                if !truncate {
                    bytes.resize(whole.len(), 0);
                }
            });
            // A batch that ends in zeros outlives losing just those to zeros.
            let whole_still = |end: usize| end <= cut || (!truncate && whole[cut..end].iter().all(|b| *b == 0));
            let kept = batches.iter().filter(|h| whole_still(h.end as usize));
            let expected = names_of(kept.clone());
            let tail = kept.last().unwrap().end as usize;
            let (mut writer, recovered) = open_on(&disk, 100);
            assert_eq!(recovered.damaged, vec![]);
            assert_eq!(recovered.place.offset as usize, tail);
            let torn =
                whole[tail..cut.max(tail)].iter().rposition(|b| *b != 0).map(|last| whole[tail..=tail + last].to_vec());
            let kept_aside = recovered.torn.and_then(|torn| torn.kept).map(|name| disk.bytes(&name));
            assert_eq!(kept_aside, torn, "cut at {cut}");
            // Recording goes on there as if nothing had been.
            let next = writer.positions().get(Kraken).unwrap().sequence + 1;
            append(&mut writer, Kraken, 1, next, next + 4, at(101));
            writer.write(at(101)).unwrap();
            let read = read_all_on(Arc::new(disk.clone()), Level::Written);
            assert_eq!(read.missing, vec![]);
            assert_eq!(read.names, [expected, names(Kraken, 1, next, next + 4)].concat(), "cut at {cut}");
        }
    }
}

/// Damages a copy and reads it, both as it is and after a writer recovered it.
fn read_damaged(disk: &Sim, segment: &str, edit: impl Fn(&mut Vec<u8>)) -> Read {
    let damaged = disk.copy();
    damaged.edit(segment, &edit);
    let as_is = read_all_on(Arc::new(damaged.clone()), Level::Written);
    let (writer, _) = open_on(&damaged, 1000);
    drop(writer);
    let recovered = read_all_on(Arc::new(damaged), Level::Written);
    assert_eq!(as_is.names, recovered.names);
    as_is
}

#[test]
fn damage_in_the_middle_costs_exactly_the_damaged_batch() {
    let disk = journal(60);
    let batches = held(&disk);
    assert!(batches.iter().all(|h| h.place.segment == 1));
    for (k, hit) in batches.iter().enumerate().take(batches.len() - 6) {
        let (from, to) = (hit.place.offset as usize, hit.end as usize);
        let edits: [(&str, &dyn Fn(&mut Vec<u8>)); 6] = [
            ("a bit of the body", &|b| b[to - 5] ^= 16),
            ("a bit of the header", &|b| b[from + 20] ^= 1),
            ("its length", &|b| b[from + 9] ^= 0x40),
            ("all of it zeroed", &|b| b[from..to].fill(0)),
            ("all of it noise", &|b| b[from..to].iter_mut().enumerate().for_each(|(i, b)| *b = (i * 37) as u8 | 1)),
            ("its first word", &|b| b[from..from + 8].fill(0xff)),
        ];
        for (what, edit) in edits {
            let read = read_damaged(&disk, SEGMENT, edit);
            let expected = names_of(batches.iter().enumerate().filter(|(i, _)| *i != k).map(|(_, h)| h));
            assert_eq!(read.names, expected, "batch {k}: {what}");
            assert_eq!(read.missing.len(), 1, "batch {k}: {what}: {:?}", read.missing);
            let missing = &read.missing[0];
            assert_eq!((missing.from, missing.to.offset), (hit.place, hit.end), "batch {k}: {what}");
            let range = MissingRange { venue: hit.venue, epoch: 1, first: hit.first, last: Some(hit.last) };
            assert_eq!(missing.ranges, vec![range], "batch {k}: {what}");
        }
    }
}

#[test]
fn a_reader_names_damage_at_the_very_end_by_the_watermark() {
    let disk = journal(20);
    let batches = held(&disk);
    let last = batches.last().unwrap();
    let damaged = disk.copy();
    damaged.edit(SEGMENT, |bytes| bytes[last.end as usize - 1] ^= 1);
    let read = read_all_on(Arc::new(damaged), Level::Written);
    assert_eq!(read.names, names_of(&batches[..batches.len() - 1]));
    let range = MissingRange { venue: last.venue, epoch: 1, first: last.first, last: Some(last.last) };
    assert_eq!(read.missing.iter().flat_map(|m| &m.ranges).collect::<Vec<_>>(), vec![&range]);
}

#[test]
fn bytes_inside_a_damaged_body_cannot_pose_as_a_batch() {
    // A text that a venue sends holds a whole batch of this very journal.
    let disk = journal(3);
    let bait = disk.bytes(SEGMENT)[held(&disk)[0].place.offset as usize..held(&disk)[0].end as usize].to_vec();
    let words: Vec<u64> = bait.chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
    let (mut writer, _) = open_on(&disk, 50);
    let next = writer.positions().get(Kraken).unwrap().sequence + 1;
    // An unknown record type whose words hold the batch.
    let mut record = vec![0u64; words.len() + 1];
    record[0] = 200 | (record.len() as u64) << 8;
    record[1..].copy_from_slice(&words);
    writer.append(Kraken, 1, at(51), [(next, record.as_slice())]).unwrap();
    writer.write(at(51)).unwrap();
    append(&mut writer, Kraken, 1, next + 1, next + 9, at(52));
    writer.write(at(52)).unwrap();
    drop(writer);
    disk.process_dies();
    let mut places = vec![];
    let mut reader = Reader::open_on(Arc::new(disk.clone()), From::Oldest, Level::Written).unwrap();
    while let Item::Batch(batch) = reader.next().unwrap() {
        places.push((batch.place.offset as usize, batch.next.offset as usize));
    }
    let (from, to) = places[places.len() - 2];
    assert!(disk.bytes(SEGMENT)[from..to].windows(bait.len()).any(|w| w == bait));
    for byte in [to - 1, from + 24, to - 60] {
        let damaged = disk.copy();
        damaged.edit(SEGMENT, |bytes| bytes[byte] ^= 4);
        let read = read_all_on(Arc::new(damaged), Level::Written);
        let range = MissingRange { venue: Kraken, epoch: 1, first: next, last: Some(next) };
        assert_eq!(read.missing.iter().flat_map(|m| m.ranges.clone()).collect::<Vec<_>>(), vec![range], "byte {byte}");
        assert!(read.names.ends_with(&names(Kraken, 1, next + 1, next + 9)));
    }
}

#[test]
fn any_flipped_bit_of_a_whole_journal_is_named() {
    let disk = journal(25);
    let batches = held(&disk);
    let end = batches.last().unwrap().end as usize;
    for bit in (0..end * 8).step_by(61) {
        let damaged = disk.copy();
        damaged.edit(SEGMENT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let read = read_all_on(Arc::new(damaged), Level::Written);
        let hit = batches.iter().find(|h| (h.place.offset as usize..h.end as usize).contains(&(bit / 8)));
        let expected = names_of(batches.iter().filter(|h| hit.is_none_or(|hit| hit.place != h.place)));
        assert_eq!(read.names, expected, "bit {bit}");
        assert_eq!(read.missing.len(), 1, "bit {bit}");
    }
}

/// A journal of several segments.
fn long() -> Sim {
    let disk = journal(400);
    assert!(held(&disk).last().unwrap().place.segment > 2);
    disk
}

#[test]
fn a_damaged_first_page_hides_nothing() {
    let disk = long();
    let batches = held(&disk);
    let last = batches.last().unwrap().place.segment;
    for segment in 1..=last {
        let damaged = disk.copy();
        damaged.edit(&format!("{segment:010}.seg"), |bytes| bytes[77] ^= 1);
        let read = read_all_on(Arc::new(damaged.clone()), Level::Written);
        assert_eq!(read.names, names_of(&batches), "segment {segment}");
        assert_eq!(read.missing.len(), 1);
        // A writer goes on, in a new segment where it is the last one that is damaged.
        let (mut writer, _) = open_on(&damaged, 1000);
        let next = writer.positions().get(Kraken).unwrap().sequence + 1;
        append(&mut writer, Kraken, 1, next, next + 9, at(1001));
        writer.write(at(1001)).unwrap();
        let read = read_all_on(Arc::new(damaged), Level::Written);
        assert_eq!(read.names, [names_of(&batches), names(Kraken, 1, next, next + 9)].concat());
        assert_eq!(writer.marks().written.segment == last + 1, segment == last);
    }
}

#[test]
fn without_checkpoint_or_watermark_a_journal_is_found_all_the_same() {
    let disk = long();
    let batches = held(&disk);
    for name in ["checkpoint", "watermark"] {
        let damaged = disk.copy();
        damaged.edit(name, |bytes| bytes.iter_mut().for_each(|b| *b ^= 0x55));
        let read = read_all_on(Arc::new(damaged.clone()), Level::Synced);
        assert_eq!((read.names, read.missing), (names_of(&batches), vec![]), "{name}");
        let (_, recovered) = open_on(&damaged, 1000);
        assert_eq!(
            recovered.positions.get(Kraken).unwrap().sequence,
            batches.iter().rfind(|h| h.venue == Kraken).unwrap().last
        );
        assert_eq!(recovered.damaged, vec![]);
    }
}

#[test]
fn a_damaged_index_is_no_obstacle() {
    let disk = long();
    let batches = held(&disk);
    disk.edit("0000000001.idx", |bytes| bytes[40] ^= 1);
    for hit in batches.iter().step_by(17) {
        let mut reader = Reader::open_on(Arc::new(disk.clone()), From::At(hit.place), Level::Written).unwrap();
        assert!(matches!(reader.next().unwrap(), Item::Batch(batch) if batch.place == hit.place));
    }
}

#[test]
fn another_version_is_refused_naming_both() {
    let disk = journal(5);
    let with = |offset: usize, value: u32, name: &str| {
        let other = disk.copy();
        other.edit(name, |bytes| {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            let sum = crc32c::crc32c(&bytes[..PAGE_BYTES - 4]);
            bytes[PAGE_BYTES - 4..PAGE_BYTES].copy_from_slice(&sum.to_le_bytes());
        });
        let disk: Arc<dyn journal::Disk> = Arc::new(other);
        let writer = Writer::open_on(disk.clone(), Options::small(), "test", at(1)).unwrap_err();
        let reader = Reader::open_on(disk, From::Oldest, Level::Written).unwrap_err();
        (writer.to_string(), reader.to_string())
    };
    let format =
        "journal file 0000000001.seg has format version 2, this build reads 1; read it with the build that wrote it";
    assert_eq!(with(8, 2, SEGMENT), (format.to_owned(), format.to_owned()));
    let records = "journal file 0000000001.seg holds records of wire version 9, this build reads 1; read it with the build that wrote it";
    assert_eq!(with(12, 9, SEGMENT), (records.to_owned(), records.to_owned()));
    let watermark =
        "journal file watermark has format version 3, this build reads 1; read it with the build that wrote it";
    assert_eq!(with(8, 3, "watermark").1, watermark);
}

#[test]
fn no_journal_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Reader::open(dir.path(), From::Oldest, Level::Written).unwrap_err();
    assert!(matches!(refused, JournalError::Absent { .. }));
    assert!(refused.to_string().ends_with("there is none; a recorder makes it"));
}
