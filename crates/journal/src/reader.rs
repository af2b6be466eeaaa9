//! Reads a journal from any place on, in any process, also while it is written: never past the watermark of its level.
//!
//! [`Reader::next`] -> batch after batch, or what is missing between two, or the end for now. What is missing is told
//! before what follows it, exactly.

mod seek;

use crate::format::PAGE_BYTES;
use crate::missing::{Missing, MissingRange, Why, between_positions, raise_by, ranges_of};
use crate::recover::{find_end, open_segment, segments};
use crate::scan::{Found, Window, batch_after, batch_at, end_of_bytes};
use crate::watermark::{self, Watermark, read_page};
use crate::{Access, Cursor, Disk, DiskFile, Files, JournalError, Level, Place, Positions, failed, format};
use model::{UnixNanos, Venue};
use std::io;
use std::path::Path;
use std::sync::Arc;
use wire::Envelope;
use wire::batch::{BatchError, BatchHeader, OUT_OF_BAND};

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest record there is.
    Oldest,
    /// What is written from now on.
    Now,
    /// The first batch published at or after this time.
    Time(UnixNanos),
    /// The first batch of this venue that holds this record or a later one.
    Sequence(Venue, Envelope),
    /// The batch that begins here.
    At(Place),
    /// Where a sink stopped; what it can no longer have is told first.
    Cursor(Cursor),
}

/// Something that happened to the journal itself, told in it as a batch without records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Event {
    /// The disk was full: recording stopped behind this.
    Full = 1,
    /// There was room again: recording goes on. What was lost meanwhile, if anything, is told by overruns.
    Resumed = 2,
}

/// A whole batch, checked.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its header, as on a socket; `chain` is the checksum of the batch before.
    pub header: BatchHeader,
    /// Its body.
    pub body: &'a [u64],
    /// Where it begins.
    pub place: Place,
    /// Where the next one does: what a cursor stores once this batch is dealt with.
    pub next: Place,
}

impl<'a> Batch<'a> {
    /// Hands out its records.
    pub fn records(&self, f: impl FnMut(Envelope, &'a [u64])) -> Result<(), BatchError> {
        self.header.open(self.body, f)
    }

    /// What happened to the journal here, where the batch is no run of records.
    pub fn event(&self) -> Option<Event> {
        if self.header.flags & OUT_OF_BAND == 0 || self.header.count != 0 {
            return None;
        }
        [Event::Full, Event::Resumed].into_iter().find(|event| *event as u64 == self.header.first)
    }
}

/// What comes next in a journal.
#[derive(Debug)]
pub enum Item<'a> {
    /// A batch.
    Batch(Batch<'a>),
    /// A piece that cannot be read.
    Missing(Missing),
    /// Everything at this level was read; there may be more later.
    End,
}

/// Reads a journal.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    level: Level,
    journal: u64,
    watermark: Option<Box<dyn DiskFile>>,
    /// Up to here may be read, and how far each venue had come there.
    limit: Place,
    limit_positions: Positions,
    /// The run of the writer that the limit is from.
    opened: UnixNanos,
    number: u64,
    window: Window,
    /// Bytes of the segment's file.
    bytes: u64,
    at: u64,
    chain: Option<u32>,
    positions: Positions,
    /// What is to be told before anything else.
    missing: Option<Missing>,
    skip: Skip,
}

/// Which batches are passed over before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    PublishedBefore(u64),
    Before(u8, Envelope),
}

/// What a step came to, without borrowing what it found.
enum Step {
    Batch { at: u64, header: BatchHeader, end: u64 },
    Missing(Missing),
    End,
}

impl Reader {
    /// Opens a journal to read what is acknowledged at a level.
    pub fn open(folder: &Path, from: From, level: Level) -> Result<Reader, JournalError> {
        Reader::open_on(Arc::new(Files::at(folder)), from, level)
    }

    /// As [`Reader::open`], on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, from: From, level: Level) -> Result<Reader, JournalError> {
        let numbers = segments(&*disk)?;
        let Some(&oldest) = numbers.first() else {
            return Err(JournalError::Absent { path: disk.path().to_owned() });
        };
        let (window, header) = open_segment(&*disk, oldest, Access::Read)?;
        let file = disk.open(watermark::NAME, Access::Read);
        let mut reader = Reader {
            level,
            journal: header.as_ref().map_or(0, |h| h.journal),
            watermark: file.ok(),
            limit: Place::default(),
            limit_positions: Positions::default(),
            opened: UnixNanos::ZERO,
            number: oldest,
            bytes: 0,
            window,
            at: PAGE_BYTES as u64,
            chain: None,
            positions: Positions::default(),
            missing: None,
            skip: Skip::Nothing,
            disk,
        };
        if !reader.refresh()? {
            // Nobody vouches for an end, so it is looked for; only what is whole is behind it.
            let end = find_end(&*reader.disk, &numbers)?;
            reader.limit = end.place;
            reader.limit_positions = end.positions;
        }
        reader.seek(from, &numbers)?;
        Ok(reader)
    }

    /// What comes next. After [`Item::End`] it may be called again for what came meanwhile.
    #[expect(clippy::should_implement_trait, reason = "a batch borrows the reader, which an iterator's items cannot")]
    pub fn next(&mut self) -> Result<Item<'_>, JournalError> {
        loop {
            match self.step()? {
                Step::Batch { at, header, end } => {
                    if self.passes_over(&header) {
                        continue;
                    }
                    let (segment, body) = (self.number, self.window.body(at, &header));
                    let place = Place { segment, offset: at };
                    return Ok(Item::Batch(Batch { header, body, place, next: Place { offset: end, ..place } }));
                }
                Step::Missing(missing) => return Ok(Item::Missing(missing)),
                Step::End => return Ok(Item::End),
            }
        }
    }

    /// Where the next batch is looked for.
    pub fn place(&self) -> Place {
        Place { segment: self.number, offset: self.at }
    }

    /// How far each venue has come, missing pieces counted: the positions a cursor stores.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Names the journal: when it was begun, ns.
    pub fn journal(&self) -> u64 {
        self.journal
    }

    /// The level that is read.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Up to where may be read, as of the last look at the watermark.
    pub fn limit(&self) -> Place {
        self.limit
    }

    /// A cursor that stands where this reader does.
    pub fn cursor(&self, name: &str, now: UnixNanos) -> Cursor {
        let (journal, place, positions) = (self.journal, self.place(), self.positions.clone());
        Cursor { name: name.to_owned(), journal, place, positions, time: now }
    }

    fn passes_over(&mut self, header: &BatchHeader) -> bool {
        let early = match self.skip {
            Skip::Nothing => return false,
            Skip::PublishedBefore(time) => header.published < time,
            Skip::Before(venue, at) => {
                let last = Envelope { epoch: header.epoch, sequence: header.scan_last };
                header.venue != venue || header.flags & OUT_OF_BAND != 0 || header.count == 0 || last < at
            }
        };
        if !early {
            self.skip = Skip::Nothing;
        }
        early
    }

    fn step(&mut self) -> Result<Step, JournalError> {
        if let Some(missing) = self.missing.take() {
            raise_by(&mut self.positions, &missing.ranges);
            return Ok(Step::Missing(missing));
        }
        loop {
            if self.number >= self.limit.segment && self.at >= self.limit.offset && !self.moved_on()? {
                return Ok(Step::End);
            }
            let limit = self.segment_limit();
            match self.io(|window, at, chain| batch_at(window, at, chain, limit))? {
                Found::Batch { header, end } => {
                    let at = self.at;
                    self.positions.note(&header, self.window.body(at, &header));
                    self.chain = Some(header.checksum);
                    self.at = end;
                    return Ok(Step::Batch { at, header, end });
                }
                Found::Nothing | Found::Damage => {
                    if let Some(missing) = self.pass_damage(limit)? {
                        return Ok(Step::Missing(missing));
                    }
                }
            }
        }
    }

    /// Up to where this segment may be read.
    fn segment_limit(&self) -> u64 {
        if self.number == self.limit.segment { self.limit.offset } else { self.bytes }
    }

    /// Looks at the watermark again. Whether there is more to read.
    fn moved_on(&mut self) -> Result<bool, JournalError> {
        let before = (self.limit, self.opened);
        self.refresh()?;
        Ok((self.limit, self.opened) != before
            && (self.number < self.limit.segment || (self.number == self.limit.segment && self.at < self.limit.offset)))
    }

    /// Takes the watermark in, if there is one to be believed.
    fn refresh(&mut self) -> Result<bool, JournalError> {
        if self.watermark.is_none() {
            self.watermark = self.disk.open(watermark::NAME, Access::Read).ok();
        }
        let Some(file) = &self.watermark else { return Ok(false) };
        let Some(mark) = read_page(&*self.disk, &**file)? else { return Ok(false) };
        if !mark.same_boot || (self.journal != 0 && mark.journal != self.journal) {
            return Ok(false);
        }
        self.journal = mark.journal;
        if self.opened != UnixNanos::ZERO && self.opened != mark.opened {
            self.step_back(&mark)?;
        }
        self.opened = mark.opened;
        self.limit = mark.place(self.level);
        self.limit_positions.clone_from(mark.positions(self.level));
        Ok(true)
    }

    /// A new writer may have begun before where the old one had come, as what the old one wrote was never safe. What
    /// was read of that is told again.
    fn step_back(&mut self, mark: &Watermark) -> Result<(), JournalError> {
        self.window.forget();
        if self.place() <= mark.opened_at {
            return Ok(());
        }
        let (number, at) = (mark.opened_at.segment, mark.opened_at.offset);
        let (window, _) = open_segment(&*self.disk, number, Access::Read)?;
        self.window = window;
        self.number = number;
        self.bytes = self.measure()?;
        self.at = at;
        self.chain = None;
        Ok(())
    }

    /// Passes over what is no batch: the rest of a sealed segment, or damage.
    fn pass_damage(&mut self, limit: u64) -> Result<Option<Missing>, JournalError> {
        let sealed = self.number < self.limit.segment;
        let used = self.io(|window, at, _| end_of_bytes(window, at, limit))?;
        if sealed && used == self.at {
            return self.enter_next();
        }
        let from = self.place();
        let Some((next, _, _)) = self.io(|window, at, _| batch_after(window, at, limit))? else {
            return self.pass_damaged_end(from, sealed, limit);
        };
        let after = match sealed {
            true => self.header_after()?.map(|header| header.positions),
            false => Some(self.limit_positions.clone()),
        };
        let name = format::segment_name(self.number);
        let ranges = ranges_of(&self.positions, &mut self.window, next, limit, after.as_ref()).map_err(failed(
            &*self.disk,
            "read",
            &name,
        ))?;
        self.at = next;
        self.chain = None;
        Ok(Some(self.told(from, ranges)))
    }

    /// Nothing whole follows in this segment.
    fn pass_damaged_end(&mut self, from: Place, sealed: bool, limit: u64) -> Result<Option<Missing>, JournalError> {
        if sealed {
            // The chain of the next segment is broken now, which tells what is missing.
            let missing = self.enter_next()?;
            let ranges = missing.map_or_else(Vec::new, |m| m.ranges);
            return Ok(Some(Missing { why: Why::Damaged, from, to: self.place(), ranges }));
        }
        let ranges = between_positions(&self.positions, &self.limit_positions);
        self.at = limit;
        self.chain = None;
        Ok(Some(self.told(from, ranges)))
    }

    fn told(&mut self, from: Place, ranges: Vec<MissingRange>) -> Missing {
        raise_by(&mut self.positions, &ranges);
        Missing { why: Why::Damaged, from, to: self.place(), ranges }
    }

    fn header_after(&self) -> Result<Option<crate::SegmentHeader>, JournalError> {
        match open_segment(&*self.disk, self.number + 1, Access::Read) {
            Ok((_, header)) => Ok(header),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Goes on to the next segment there is.
    fn enter_next(&mut self) -> Result<Option<Missing>, JournalError> {
        let from = self.place();
        let mut wanted = self.number + 1;
        let (window, header) = loop {
            match open_segment(&*self.disk, wanted, Access::Read) {
                Ok(opened) => break opened,
                Err(error) if is_absent(&error) => {
                    let later = segments(&*self.disk)?.into_iter().find(|number| *number > wanted);
                    wanted = later.ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        };
        let removed = wanted != self.number + 1;
        self.window = window;
        self.number = wanted;
        self.at = PAGE_BYTES as u64;
        self.bytes = self.measure()?;
        let to = self.place();
        let Some(header) = header else {
            self.chain = None;
            let why = if removed { Why::Removed } else { Why::Damaged };
            return Ok(Some(Missing { why, from, to, ranges: vec![] }));
        };
        let broken = self.chain.is_some_and(|chain| chain != header.seed);
        let ranges = between_positions(&self.positions, &header.positions);
        for (code, at) in header.positions.codes() {
            self.positions.raise_code(code, at);
        }
        self.chain = Some(header.seed);
        let why = if removed { Why::Removed } else { Why::Damaged };
        Ok((removed || broken || !ranges.is_empty()).then_some(Missing { why, from, to, ranges }))
    }

    fn measure(&self) -> Result<u64, JournalError> {
        let name = format::segment_name(self.number);
        self.window.file().length().map_err(failed(&*self.disk, "measure", &name))
    }

    fn io<T>(&mut self, f: impl FnOnce(&mut Window, u64, Option<u32>) -> io::Result<T>) -> Result<T, JournalError> {
        let name = format::segment_name(self.number);
        f(&mut self.window, self.at, self.chain).map_err(failed(&*self.disk, "read", &name))
    }
}

fn is_absent(error: &JournalError) -> bool {
    matches!(error, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
