//! Finds where a journal ends, from its last checkpoint on, and makes that end safe to build on.
//!
//! Bounded by the checkpoint interval, never by history. What a crash left half written is kept aside and cut; damage
//! in the middle is named and left where it is, and what follows it stays. What stands behind the checkpoint is written
//! once more, the same bytes, and synced before anything is acknowledged: a sync that failed before may have marked its
//! pages clean, so that reading them back proves nothing about the disk.

use crate::format::{Checkpoint, HeaderFound, PAGE_BYTES, Page, SegmentHeader, segment_name, segment_number};
use crate::helper::{CHECKPOINT, zero};
use crate::missing::{Missing, Why, between_positions, raise_by, ranges_of};
use crate::scan::{Found, Window, batch_after, batch_at, end_of_bytes};
use crate::{Access, Disk, JournalError, Place, Positions, crash, failed};
use std::io;
use wire::batch::BatchHeader;

/// What was found when a journal was opened for writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// There was none; it was begun.
    pub fresh: bool,
    /// Where looking began: the last checkpoint, or where its segment's batches begin.
    pub from: Place,
    /// Where writing goes on.
    pub place: Place,
    /// The last record of each venue.
    pub positions: Positions,
    /// Batches looked at.
    pub scanned_batches: u64,
    /// Bytes they have.
    pub scanned_bytes: u64,
    /// What a crash left half written.
    pub torn: Option<Torn>,
    /// What cannot be read although more follows it.
    pub damaged: Vec<Missing>,
}

/// What a crash left half written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it began.
    pub place: Place,
    /// Its bytes, up to the last that was not zero.
    pub bytes: u64,
    /// The file it is kept in; `None` when there was no room for it.
    pub kept: Option<String>,
}

/// The end of a journal as its bytes tell it.
#[derive(Debug)]
pub(crate) struct End {
    /// The header of the last segment; `None` when damaged: then nothing more is written to it.
    pub header: Option<SegmentHeader>,
    pub place: Place,
    pub from: Place,
    pub chain: u32,
    pub positions: Positions,
    /// The latest time of publication, ns.
    pub published: u64,
    pub batches: u64,
    pub bytes: u64,
    pub damaged: Vec<Missing>,
    /// Where the bytes behind the last batch end: `place.offset` when there are none.
    pub used: u64,
    pub checkpoint: Option<Checkpoint>,
}

/// The segments there are, oldest first.
pub(crate) fn segments(disk: &dyn Disk) -> Result<Vec<u64>, JournalError> {
    let names = disk.list("").map_err(failed(disk, "list", "the folder"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a segment and reads its first page.
pub(crate) fn open_segment(
    disk: &dyn Disk,
    number: u64,
    access: Access,
) -> Result<(Window, Option<SegmentHeader>), JournalError> {
    let name = segment_name(number);
    let file = disk.open(&name, access).map_err(failed(disk, "open", &name))?;
    let mut page: Page = [0; PAGE_BYTES];
    file.read_at(&mut page, 0).map_err(failed(disk, "read", &name))?;
    let header = match SegmentHeader::read(&page, &name)? {
        HeaderFound::Whole(header) if header.number == number => Some(*header),
        HeaderFound::Whole(_) | HeaderFound::Damaged => None,
    };
    Ok((Window::new(file), header))
}

fn checkpoint(disk: &dyn Disk) -> Result<Option<Checkpoint>, JournalError> {
    let file = match disk.open(CHECKPOINT, Access::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(disk, "open", CHECKPOINT)(e)),
    };
    let mut newest: Option<Checkpoint> = None;
    for slot in 0..2 {
        let mut page: Page = [0; PAGE_BYTES];
        file.read_at(&mut page, slot * PAGE_BYTES as u64).map_err(failed(disk, "read", CHECKPOINT))?;
        if let Some(found) = Checkpoint::read(&page)
            && newest.as_ref().is_none_or(|newest| newest.serial < found.serial)
        {
            newest = Some(found);
        }
    }
    Ok(newest)
}

/// Looks from the last checkpoint to the end. Changes nothing.
pub(crate) fn find_end(disk: &dyn Disk, segments: &[u64]) -> Result<End, JournalError> {
    let mut end = begin(disk, segments)?;
    let mut chain = Some(end.chain).filter(|_| end.header.is_some() || end.checkpoint.is_some());
    let first = end.place.segment;
    let last = *segments.last().expect("asked only where there are segments");
    for &number in segments.iter().filter(|number| **number >= first) {
        let (mut window, header) = open_segment(disk, number, Access::Read)?;
        if number > first {
            end.enter(number, header.as_ref(), &mut chain);
        }
        end.walk(disk, &mut window, &mut chain, number == last)?;
        end.header = header;
    }
    end.chain = chain.unwrap_or(end.chain);
    Ok(end)
}

/// Where to begin: at the checkpoint, or without one at the last segment whose header can be read, as headers know
/// every venue's position too.
fn begin(disk: &dyn Disk, segments: &[u64]) -> Result<End, JournalError> {
    if let Some(checkpoint) = checkpoint(disk)?.filter(|c| segments.contains(&c.place.segment)) {
        let (_, header) = open_segment(disk, checkpoint.place.segment, Access::Read)?;
        if header.as_ref().is_none_or(|header| header.journal == checkpoint.journal) {
            let Checkpoint { place, chain, published, .. } = checkpoint;
            let mut end = End::at(place, chain, checkpoint.positions.clone(), published.0);
            end.checkpoint = Some(checkpoint);
            return Ok(end);
        }
    }
    let mut oldest = Place { segment: 0, offset: PAGE_BYTES as u64 };
    for &segment in segments.iter().rev() {
        oldest.segment = segment;
        if let (_, Some(header)) = open_segment(disk, segment, Access::Read)? {
            let mut end = End::at(oldest, header.seed, header.positions.clone(), header.published.0);
            end.header = Some(header);
            return Ok(end);
        }
    }
    Ok(End::at(oldest, 0, Positions::default(), 0))
}

impl End {
    pub(crate) fn at(place: Place, chain: u32, positions: Positions, published: u64) -> End {
        End {
            header: None,
            place,
            from: place,
            chain,
            positions,
            published,
            batches: 0,
            bytes: 0,
            damaged: vec![],
            used: place.offset,
            checkpoint: None,
        }
    }

    /// Goes on to the next segment, whose header knows how far the one before went.
    fn enter(&mut self, number: u64, header: Option<&SegmentHeader>, chain: &mut Option<u32>) {
        let from = self.place;
        self.place = Place { segment: number, offset: PAGE_BYTES as u64 };
        self.used = self.place.offset;
        let Some(header) = header else {
            let ranges = vec![];
            self.damaged.push(Missing {
                why: Why::Damaged,
                from: Place { segment: number, offset: 0 },
                to: self.place,
                ranges,
            });
            *chain = None;
            return;
        };
        if chain.is_some_and(|chain| chain != header.seed) {
            let ranges = between_positions(&self.positions, &header.positions);
            self.damaged.push(Missing { why: Why::Damaged, from, to: self.place, ranges });
        }
        for (code, at) in header.positions.codes() {
            self.positions.raise_code(code, at);
        }
        self.published = self.published.max(header.published.0);
        *chain = Some(header.seed);
    }

    /// Walks the batches of one segment, from `place` on.
    fn walk(
        &mut self,
        disk: &dyn Disk,
        window: &mut Window,
        chain: &mut Option<u32>,
        is_last: bool,
    ) -> Result<(), JournalError> {
        let name = segment_name(self.place.segment);
        let limit = window.file().length().map_err(failed(disk, "measure", &name))?;
        loop {
            let at = self.place.offset;
            let found = batch_at(window, at, *chain, limit).map_err(failed(disk, "read", &name))?;
            let (start, header, end) = match found {
                Found::Batch { header, end } => (at, header, end),
                Found::Nothing | Found::Damage => {
                    let next = batch_after(window, at, limit).map_err(failed(disk, "read", &name))?;
                    let Some(next) = next else { break };
                    self.skip(disk, window, next.0, limit)?;
                    next
                }
            };
            self.positions
                .note(&header, window_body(window, start, &header, limit).map_err(failed(disk, "read", &name))?);
            self.published = self.published.max(header.published);
            self.batches += 1;
            self.bytes += end - start;
            *chain = Some(header.checksum);
            self.place.offset = end;
        }
        let used = end_of_bytes(window, self.place.offset, limit).map_err(failed(disk, "read", &name))?;
        if is_last {
            self.used = used;
        } else if used > self.place.offset {
            let (from, to) = (self.place, Place { offset: used, ..self.place });
            self.damaged.push(Missing { why: Why::Damaged, from, to, ranges: vec![] });
        }
        Ok(())
    }

    /// Notes damage that is followed by whole batches.
    fn skip(&mut self, disk: &dyn Disk, window: &mut Window, next: u64, limit: u64) -> Result<(), JournalError> {
        let name = segment_name(self.place.segment);
        // A venue that does not show up behind the damage stays where it was: what it lost is taken in once more, if
        // its ring still holds it.
        let ranges = ranges_of(&self.positions, window, next, limit, None).map_err(failed(disk, "read", &name))?;
        raise_by(&mut self.positions, &ranges);
        let (from, to) = (self.place, Place { offset: next, ..self.place });
        self.damaged.push(Missing { why: Why::Damaged, from, to, ranges });
        Ok(())
    }
}

/// The body of a batch that may have left the window while others were looked at.
fn window_body<'a>(window: &'a mut Window, at: u64, header: &BatchHeader, limit: u64) -> io::Result<&'a [u64]> {
    batch_at(window, at, None, limit)?;
    Ok(window.body(at, header))
}

/// Makes the end of the last segment safe to build on: torn bytes kept aside and cut, the tail written once more, all
/// of it synced.
pub(crate) fn secure(disk: &dyn Disk, end: &End) -> Result<Option<Torn>, JournalError> {
    let name = segment_name(end.place.segment);
    let (mut window, _) = open_segment(disk, end.place.segment, Access::Write)?;
    let length = window.file().length().map_err(failed(disk, "measure", &name))?;
    let torn = (end.used > end.place.offset).then(|| keep_torn(disk, &mut window, end)).transpose()?;
    let mut at = if end.from.segment == end.place.segment { end.from.offset } else { PAGE_BYTES as u64 };
    while at < end.place.offset {
        let bytes = window.copy(at, 1 << 20, end.place.offset).map_err(failed(disk, "read", &name))?;
        window.file().write_at(&bytes, at).map_err(failed(disk, "write", &name))?;
        at += bytes.len() as u64;
    }
    if end.used > end.place.offset {
        let zeros = vec![0; (end.used - end.place.offset) as usize];
        window.file().write_at(&zeros, end.place.offset).map_err(failed(disk, "write", &name))?;
    }
    let full = end.header.as_ref().map_or(length, |header| header.bytes);
    let result = if length < full { zero(window.file(), length, full) } else { window.file().sync() };
    result.map_err(|error| match error {
        error if crate::error::is_full(&error) => failed(disk, "extend", &name)(error),
        error => JournalError::Poisoned {
            path: disk.path().to_owned(),
            segment: end.place.segment,
            what: "sync the recovered end of",
            reason: error.to_string(),
        },
    })?;
    crash::point("journal.after_rewrite");
    Ok(torn)
}

fn keep_torn(disk: &dyn Disk, window: &mut Window, end: &End) -> Result<Torn, JournalError> {
    let segment = segment_name(end.place.segment);
    let bytes = end.used - end.place.offset;
    let torn = window.copy(end.place.offset, bytes as usize, end.used).map_err(failed(disk, "read", &segment))?;
    let name = format!("kept/{:010}-{}.torn", end.place.segment, end.place.offset);
    let kept = keep(disk, &name, &torn);
    if let Err(error) = &kept {
        // The bytes were never acknowledged; going on recording is worth more than they are.
        tracing::warn!(%error, %name, "a torn tail could not be kept aside");
    }
    Ok(Torn { place: end.place, bytes, kept: kept.is_ok().then_some(name) })
}

fn keep(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    disk.make_folder("kept")?;
    let file = disk.open(name, Access::Create)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.sync_folder("kept")
}
