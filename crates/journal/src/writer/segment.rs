//! Bytes onto the disk: pieces of what is pending, the change to the next segment, and what happens when there is none.

use super::{Current, Mark, Writer, event_batch, is_full};
use crate::format::{PAGE_BYTES, SegmentHeader, segment_name};
use crate::helper::PREPARED;
use crate::recover::End;
use crate::watermark::State;
use crate::{Access, Disk, DiskFile, Event, JournalError, Options, Place, crash, failed};
use model::UnixNanos;
use std::io;
use std::time::Duration;
use wire::batch::{BatchHeader, HEADER_BYTES};
use zerocopy::{FromBytes, IntoBytes};

/// Every try fills the disk to the brim and gives the room back, which others on it should not feel too often.
const RETRY_FULL_AFTER: Duration = Duration::from_millis(250);

/// Gives a prepared file its first page and its name. Nothing that a crash leaves of it looks like a segment before
/// it is one.
pub(super) fn install(disk: &dyn Disk, file: &dyn DiskFile, header: &SegmentHeader) -> io::Result<()> {
    file.write_at(&header.page()[..], 0)?;
    file.sync()?;
    crash::point("journal.before_rotate_rename");
    disk.rename(PREPARED, &segment_name(header.number))?;
    disk.sync_folder("")?;
    crash::point("journal.after_rotate_rename");
    Ok(())
}

impl Current {
    /// The segment recovery ended in.
    pub(super) fn open(disk: &dyn Disk, end: &End, options: &Options) -> Result<Current, JournalError> {
        let number = end.place.segment;
        let name = segment_name(number);
        let file = disk.open(&name, Access::Write).map_err(failed(disk, "open", &name))?;
        let header = end.header.clone();
        let bytes = header.as_ref().map_or(end.place.offset, |header| header.bytes);
        // A segment whose first page is damaged is not written to again: the next piece goes to a new one.
        let limit = header.as_ref().map_or(end.place.offset, |h| h.bytes.saturating_sub(options.reserve_bytes));
        Ok(Current { number, file, limit, bytes, header })
    }
}

impl End {
    /// The end of a journal that was just begun.
    pub(super) fn fresh(header: SegmentHeader) -> End {
        let place = Place { segment: header.number, offset: PAGE_BYTES as u64 };
        End { header: Some(header), ..End::at(place, 0, crate::Positions::default(), 0) }
    }
}

impl Writer {
    /// Writes as many pending batches as the segment has room for, or goes on to the next segment. `false` when
    /// neither is possible now.
    pub(super) fn write_piece(&mut self, now: UnixNanos) -> Result<bool, JournalError> {
        let room = self.current.limit.saturating_sub(self.written.place.offset) as usize;
        let length = if self.pending.len() <= room { self.pending.len() } else { fitting(&self.pending, room) };
        if length == 0 {
            return self.rotate(now);
        }
        crash::point("journal.before_write");
        let (offset, piece) = (self.written.place.offset, &self.pending[..length]);
        let result = self.shared.call(|| self.current.file.write_at(piece, offset));
        match result {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                // What of it reached the file is written over when there is room.
                self.enter_full(&error, now);
                return Ok(false);
            }
            Err(error) => return self.poison("write", &error, now).map(|()| false),
        }
        crash::point("journal.after_write");
        if self.state == State::Full {
            self.set_state(State::Ok, String::new(), now);
        }
        self.note_written(length);
        Ok(true)
    }

    /// Takes the first `length` pending bytes as written.
    fn note_written(&mut self, length: usize) {
        self.written.place.offset += length as u64;
        self.since_checkpoint += length as u64;
        if length == self.pending.len() {
            self.written.chain = self.chain;
            self.written.published = self.published;
            self.written.positions.clone_from(&self.appended);
            self.pending.clear();
            return;
        }
        for batch in batches(&self.pending[..length]) {
            self.written.note(batch);
        }
        self.pending.drain(..length);
    }

    pub(super) fn sync_segment(&mut self, now: UnixNanos) -> Result<(), JournalError> {
        crash::point("journal.before_sync");
        let result = self.shared.call(|| self.current.file.sync());
        if let Err(error) = result {
            return self.poison("sync", &error, now);
        }
        crash::point("journal.after_sync");
        self.synced.clone_from(&self.written);
        Ok(())
    }

    /// Seals the segment and begins the next. `false` when there is no room for one now.
    fn rotate(&mut self, now: UnixNanos) -> Result<bool, JournalError> {
        // What is written here must be safe before anything that builds on it is.
        if self.synced.place != self.written.place {
            self.sync_segment(now)?;
        }
        crash::point("journal.before_rotate");
        let prepared = match self.state {
            State::Full if now < self.retry_full_at => return Ok(false),
            // Not waited for: whoever calls has records to keep meanwhile.
            State::Full => match self.work.prepared_if_ready() {
                Some(prepared) => prepared,
                None => return Ok(false),
            },
            _ => self.shared.call(|| self.work.prepared()),
        };
        let header = self.next_header(now);
        let begun = prepared.and_then(|file| {
            self.shared.call(|| install(&*self.disk, &*file, &header))?;
            Ok(file)
        });
        match begun {
            Ok(file) => self.enter(file, header, now),
            Err(error) if is_full(&error) => {
                self.tell_full(&error, now)?;
                return Ok(false);
            }
            Err(error) => return self.poison("begin the segment after", &error, now).map(|()| false),
        }
        Ok(true)
    }

    fn next_header(&self, now: UnixNanos) -> SegmentHeader {
        SegmentHeader {
            journal: self.journal,
            number: self.current.number + 1,
            created: now,
            bytes: self.options.segment_bytes,
            published: UnixNanos(self.written.published),
            seed: self.written.chain,
            site: self.site.clone(),
            positions: self.written.positions.clone(),
        }
    }

    fn enter(&mut self, file: Box<dyn DiskFile>, header: SegmentHeader, now: UnixNanos) {
        let (sealed, number, bytes) = (self.current.number, header.number, header.bytes);
        let limit = bytes - self.options.reserve_bytes;
        self.current = Current { number, file, limit, bytes, header: Some(header) };
        self.written.place = Place { segment: number, offset: PAGE_BYTES as u64 };
        self.synced.clone_from(&self.written);
        self.work.index(sealed, self.written.place);
        self.work.prepare_ahead();
        crash::point("journal.after_rotate");
        if self.state == State::Full {
            self.set_state(State::Ok, String::new(), now);
            let event = event_batch(Event::Resumed, now.0, self.written.chain);
            self.pending.splice(..0, event);
            self.chain = rechain(&mut self.pending, self.written.chain);
        }
    }

    /// The reserve takes the event, so that the journal itself tells why it stops.
    fn tell_full(&mut self, error: &io::Error, now: UnixNanos) -> Result<(), JournalError> {
        let told = self.state == State::Full;
        self.enter_full(error, now);
        let place = self.written.place;
        if told || place.offset + HEADER_BYTES as u64 > self.current.bytes || self.current.header.is_none() {
            return Ok(());
        }
        let event = event_batch(Event::Full, now.0, self.written.chain);
        if let Err(error) = self.shared.call(|| self.current.file.write_at(&event, place.offset)) {
            return if is_full(&error) { Ok(()) } else { self.poison("write", &error, now) };
        }
        self.written.place.offset += HEADER_BYTES as u64;
        self.written.note(&event);
        self.chain = rechain(&mut self.pending, self.written.chain);
        self.sync_segment(now)
    }

    fn enter_full(&mut self, error: &io::Error, now: UnixNanos) {
        if self.state != State::Full {
            tracing::error!(%error, "the journal's disk is full; recording goes on when there is room");
        }
        self.retry_full_at = now.after(RETRY_FULL_AFTER);
        self.set_state(State::Full, error.to_string(), now);
    }
}

impl Mark {
    /// Takes one whole batch in.
    fn note(&mut self, batch: &[u8]) {
        let (header, body) = BatchHeader::read_from_prefix(batch).expect("whole batches are pending");
        self.chain = header.checksum;
        self.published = self.published.max(header.published);
        let words: Vec<u64> =
            body.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes"))).collect();
        self.positions.note(&header, &words);
    }
}

/// The batches in bytes that this writer made.
fn batches(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (header, _) = BatchHeader::read_from_prefix(bytes).ok()?;
        let (batch, rest) = bytes.split_at(HEADER_BYTES + header.length as usize);
        bytes = rest;
        Some(batch)
    })
}

/// Bytes of the whole batches that fit into `room`.
fn fitting(pending: &[u8], room: usize) -> usize {
    let mut length = 0;
    for batch in batches(pending) {
        if length + batch.len() > room {
            break;
        }
        length += batch.len();
    }
    length
}

/// Chains batches anew behind a batch with the checksum `chain`; gives the last checksum.
fn rechain(pending: &mut [u8], mut chain: u32) -> u32 {
    let mut at = 0;
    while let Ok((mut header, _)) = BatchHeader::read_from_prefix(&pending[at..]) {
        let body = at + HEADER_BYTES..at + HEADER_BYTES + header.length as usize;
        header.chain = chain;
        header.checksum = header.checksum_of(&pending[body.clone()]);
        pending[at..at + HEADER_BYTES].copy_from_slice(header.as_bytes());
        chain = header.checksum;
        at = body.end;
    }
    chain
}
