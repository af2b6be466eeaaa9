//! What the journal's tests share: records whose content follows from their name, and readers that check it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; tests")]

use journal::{Item, Level, Missing, Options, Reader, Writer};
use model::{UnixNanos, Venue};
use std::path::Path;
use std::sync::Arc;
use wire::{HeartbeatRecord, Record};

/// A clock that only moves when told.
pub const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

/// A later moment.
pub fn at(ms: u64) -> UnixNanos {
    UnixNanos(START.0 + ms * 1_000_000)
}

/// The record of this name: 32 bytes that follow from venue, epoch and sequence.
pub fn record(venue: Venue, epoch: u64, sequence: u64) -> HeartbeatRecord {
    HeartbeatRecord::new(venue, sequence + 1, UnixNanos(epoch * 1_000_003 + sequence * 7))
}

/// Appends `first..=last`.
pub fn append(writer: &mut Writer, venue: Venue, epoch: u64, first: u64, last: u64, now: UnixNanos) {
    try_append(writer, venue, epoch, first, last, now).unwrap();
}

/// Appends `first..=last`, or tells why not.
pub fn try_append(
    writer: &mut Writer,
    venue: Venue,
    epoch: u64,
    first: u64,
    last: u64,
    now: UnixNanos,
) -> Result<(), journal::JournalError> {
    let records: Vec<HeartbeatRecord> = (first..=last).map(|s| record(venue, epoch, s)).collect();
    writer.append(venue, epoch, now, (first..=last).zip(records.iter().map(|r| r.as_words())))
}

/// A record's name.
pub type Name = (Venue, u64, u64);

/// What a journal holds.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Read {
    pub names: Vec<Name>,
    pub missing: Vec<Missing>,
    pub batches: u64,
}

/// Reads on to the end for now, checking each record against its name.
pub fn drain(reader: &mut Reader, read: &mut Read) {
    loop {
        match reader.next().unwrap() {
            Item::End => return,
            Item::Missing(missing) => read.missing.push(missing),
            Item::Batch(batch) => {
                read.batches += 1;
                let venue = batch.header.venue();
                batch
                    .records(|envelope, words| match Record::read(words).unwrap() {
                        Record::Heartbeat(found) => {
                            let venue = venue.unwrap();
                            assert_eq!(*found, record(venue, envelope.epoch, envelope.sequence), "another's content");
                            read.names.push((venue, envelope.epoch, envelope.sequence));
                        }
                        // What a venue of the future sends: handed through.
                        Record::Overrun(_) | Record::Unknown(_) => {}
                        other => panic!("{other:?} was never written"),
                    })
                    .unwrap();
            }
        }
    }
}

/// Everything a journal holds at a level.
pub fn read_all(folder: &Path, level: Level) -> Read {
    let mut read = Read::default();
    drain(&mut Reader::open(folder, journal::From::Oldest, level).unwrap(), &mut read);
    read
}

/// As [`read_all`], on any disk.
pub fn read_all_on(disk: Arc<dyn journal::Disk>, level: Level) -> Read {
    let mut read = Read::default();
    drain(&mut Reader::open_on(disk, journal::From::Oldest, level).unwrap(), &mut read);
    read
}

/// Opens a small journal.
pub fn open(folder: &Path, now: UnixNanos) -> Writer {
    Writer::open(folder, Options::small(), "test", now).unwrap().0
}

/// The names `first..=last` of a venue and epoch.
pub fn names(venue: Venue, epoch: u64, first: u64, last: u64) -> Vec<Name> {
    (first..=last).map(|s| (venue, epoch, s)).collect()
}
