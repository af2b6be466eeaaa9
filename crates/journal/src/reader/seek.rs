//! Finds where to begin reading: by segment headers, then by the segment's index, then batch by batch.

use super::{From, Reader, Skip, is_absent};
use crate::format::{PAGE_BYTES, SegmentHeader, segment_name};
use crate::index::{self, Entry};
use crate::missing::{Missing, Why, between_positions};
use crate::recover::{open_segment, segments};
use crate::scan::{Found, batch_after, batch_at};
use crate::{Access, Cursor, JournalError, Place, Positions, failed};
use wire::Envelope;

impl Reader {
    pub(super) fn seek(&mut self, from: From, numbers: &[u64]) -> Result<(), JournalError> {
        match from {
            From::Oldest => self.begin_in(numbers[0]),
            From::Now => self.begin_now(),
            From::Time(time) => {
                let earlier = |header: &SegmentHeader| header.published.0 < time.0;
                self.begin_before(numbers, earlier, |entry| entry.published < time.0)?;
                self.skip = Skip::PublishedBefore(time.0);
                Ok(())
            }
            From::Sequence(venue, at) => {
                let code = venue.code();
                let before = |positions: &Positions| positions.of(code).is_none_or(|known| known < at);
                self.begin_before(numbers, |header| before(&header.positions), |entry| before(&entry.positions))?;
                self.skip = Skip::Before(code, at);
                Ok(())
            }
            From::At(place) => self.begin_at(place, numbers),
            From::Cursor(cursor) => self.begin_at_cursor(cursor, numbers),
        }
    }

    fn begin_now(&mut self) -> Result<(), JournalError> {
        let limit = self.limit;
        self.begin_in(limit.segment)?;
        self.at = limit.offset;
        self.chain = None;
        self.positions.clone_from(&self.limit_positions);
        Ok(())
    }

    /// At a segment's first batch.
    fn begin_in(&mut self, number: u64) -> Result<(), JournalError> {
        let header = self.open_segment(number)?;
        match header {
            Some(header) => self.begin_from(&index::first_entry(&header)),
            None => {
                self.at = PAGE_BYTES as u64;
                self.chain = None;
                let from = Place { segment: number, offset: 0 };
                self.missing = Some(Missing { why: Why::Damaged, from, to: self.place(), ranges: vec![] });
            }
        }
        Ok(())
    }

    fn begin_from(&mut self, entry: &Entry) {
        self.at = entry.offset;
        self.chain = entry.chain;
        self.positions.clone_from(&entry.positions);
    }

    fn open_segment(&mut self, number: u64) -> Result<Option<SegmentHeader>, JournalError> {
        let (window, header) = open_segment(&*self.disk, number, Access::Read)?;
        self.window = window;
        self.number = number;
        self.bytes = self.measure()?;
        Ok(header)
    }

    /// At the last known place that is surely before what is looked for.
    fn begin_before(
        &mut self,
        numbers: &[u64],
        header_before: impl Fn(&SegmentHeader) -> bool,
        entry_before: impl Fn(&Entry) -> bool,
    ) -> Result<(), JournalError> {
        let number = self.last_segment(numbers, header_before)?;
        let Some(header) = self.open_segment(number)? else { return self.begin_in(number) };
        let entries = self.entries(&header)?;
        let place = entries.partition_point(entry_before).saturating_sub(1);
        self.begin_from(&entries[place]);
        Ok(())
    }

    /// The last segment whose header says that it begins before what is looked for; the oldest when none does. A
    /// header that is damaged is passed over.
    fn last_segment(&self, numbers: &[u64], before: impl Fn(&SegmentHeader) -> bool) -> Result<u64, JournalError> {
        let readable: Vec<u64> = numbers.iter().copied().filter(|n| *n <= self.limit.segment).collect();
        let (mut low, mut high) = (0, readable.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let header = match open_segment(&*self.disk, readable[middle], Access::Read) {
                Ok((_, header)) => header,
                // Removed while we looked: then it is older than what is left.
                Err(error) if is_absent(&error) => None,
                Err(error) => return Err(error),
            };
            if header.is_none_or(|header| before(&header)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(readable.get(low.saturating_sub(1)).or(numbers.first()).copied().unwrap_or(1))
    }

    /// The segment's index, stored or made by looking through it.
    fn entries(&mut self, header: &SegmentHeader) -> Result<Vec<Entry>, JournalError> {
        if let Some(entries) = index::read(&*self.disk, header).filter(|entries| !entries.is_empty()) {
            return Ok(entries);
        }
        let (limit, name) = (self.segment_limit(), segment_name(self.number));
        index::build(&mut self.window, header, limit).map_err(failed(&*self.disk, "read", &name))
    }

    /// At a place where a batch begins. Everything before it in its segment is passed over unseen, so that positions
    /// and chain are known.
    fn begin_at(&mut self, place: Place, numbers: &[u64]) -> Result<(), JournalError> {
        let oldest = Place { segment: numbers[0], offset: PAGE_BYTES as u64 };
        let wrong = |newest| JournalError::Place { path: self.disk.path().to_owned(), place, oldest, newest };
        if place > self.limit || place < oldest || !numbers.contains(&place.segment) {
            return Err(wrong(self.limit));
        }
        let newest = self.limit;
        let Some(header) = self.open_segment(place.segment)? else {
            self.at = place.offset;
            self.chain = None;
            return Ok(());
        };
        let entries = self.entries(&header)?;
        let entry = entries.partition_point(|entry| entry.offset <= place.offset).saturating_sub(1);
        self.begin_from(&entries[entry]);
        let limit = self.segment_limit();
        while self.at < place.offset {
            let (start, header, end) = match self.io(|window, at, chain| batch_at(window, at, chain, limit))? {
                Found::Batch { header, end } => (self.at, header, end),
                Found::Nothing | Found::Damage => {
                    match self.io(|window, at, _| batch_after(window, at, limit))? {
                        Some(found) if found.0 <= place.offset => found,
                        // The place lies in damage, which is told when it is read.
                        _ => return Ok(()),
                    }
                }
            };
            if start == place.offset {
                self.at = start;
                self.chain = None;
                break;
            }
            self.positions.note(&header, self.window.body(start, &header));
            self.chain = Some(header.checksum);
            self.at = end;
        }
        if self.at != place.offset {
            return Err(JournalError::Place { path: self.disk.path().to_owned(), place, oldest, newest });
        }
        Ok(())
    }

    /// Where a sink stopped. Where that is gone, it is told exactly what it missed.
    fn begin_at_cursor(&mut self, cursor: Cursor, numbers: &[u64]) -> Result<(), JournalError> {
        let foreign = self.journal != 0 && cursor.journal != self.journal;
        if !foreign && cursor.place.segment >= numbers[0] {
            self.begin_at(cursor.place, numbers)?;
            self.positions = cursor.positions;
            return Ok(());
        }
        self.begin_in(numbers[0])?;
        let before = if foreign { Positions::default() } else { cursor.positions };
        let ranges = between_positions(&before, &self.positions);
        let to = self.place();
        if !foreign {
            self.missing = Some(Missing { why: Why::Removed, from: cursor.place, to, ranges });
        }
        Ok(())
    }

    /// The oldest segment there is, for callers that look for what is left.
    pub fn oldest(&self) -> Result<Option<u64>, JournalError> {
        Ok(segments(&*self.disk)?.first().copied())
    }

    /// What the journal can no longer tell of a venue: everything up to here was removed.
    pub fn removed_up_to(&self, venue: model::Venue) -> Result<Option<Envelope>, JournalError> {
        let Some(oldest) = self.oldest()? else { return Ok(None) };
        let (_, header) = open_segment(&*self.disk, oldest, Access::Read)?;
        Ok(header.and_then(|header| header.positions.get(venue)))
    }
}
