//! The public writer: claims a ring by name, takes over what a dead one left, pushes, publishes, wakes.

use std::fs::File;

use crate::cursor::Cursor;
use crate::directory::{Directory, check_name};
use crate::doorbell::Doorbell;
use crate::epochs::Epoch;
use crate::error::RingError;
use crate::file::{Access, Folder, Locked, RingMap, SharedMap, file_name, temporary_name};
use crate::layout::{Memory, SLOTS_MAX, SLOTS_MIN};
use crate::pen::{Pen, finished_epochs, format};
use crate::reader::Reader;
use crate::sync::Ordering;

/// Each attempt that fails means that another writer moved the file between our open and our lock.
pub(crate) const OPEN_ATTEMPTS_MAX: usize = 16;

/// What a writer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// Capacity in slots of 64 bytes; a power of two from 128 to 2^30.
    pub slots: u64,
    /// Names this run; must be greater than every earlier epoch of the ring.
    pub epoch: u64,
}

/// The one writer of a ring. Dropping it publishes what was pushed and gives the ring up.
pub struct Writer {
    pub(crate) pen: RingPen,
    doorbell: Doorbell,
    /// The ring as it was before: the same memory, or that of the retired file.
    before: Option<SharedMap>,
    name: String,
}

impl Writer {
    /// Claims the ring `name`: creates it, takes over what an earlier writer left, or replaces it when the capacity
    /// differs. Refused while another writer lives.
    pub fn open(directory: &Directory, name: &str, options: WriterOptions) -> Result<Writer, RingError> {
        check_name(name)?;
        let WriterOptions { slots, epoch } = options;
        check_slots(name, slots)?;
        let folder = directory.folder();
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let claimed = match folder.open_file(&file_name(name), libc::O_RDWR)? {
                Some(file) => take_over(folder, name, file, slots, epoch)?,
                None => create(folder, name, &Start::fresh(slots, epoch))?.map(|pen| (pen, None)),
            };
            let Some((pen, before)) = claimed else { continue };
            return Ok(Writer::begun(directory, name, pen, before));
        }
        Err(busy(folder, name, 0))
    }

    pub(crate) fn begun(directory: &Directory, name: &str, pen: RingPen, before: Option<SharedMap>) -> Writer {
        // Also wakes whoever a predecessor, killed in the middle of its wake, left asleep.
        directory.doorbell().ring();
        Writer { pen, before, doorbell: directory.doorbell().clone(), name: name.to_owned() }
    }

    /// Appends one record of 1 to 255 words whose byte 1 is its length in words, and returns its sequence. Readers
    /// see it after the next [`Writer::publish`] (at the latest when a quarter of the ring waits).
    ///
    /// # Panics
    /// When byte 1 of the record is not its length: publishing it would make the ring unreadable.
    #[inline(always)]
    pub fn push(&mut self, record: &[u64]) -> u64 {
        self.pen.push(record)
    }

    /// Makes everything pushed visible at once, stamped `now_ns` (ns since the Unix epoch), and wakes sleeping
    /// readers. Never waits; without a sleeper it makes no system call.
    #[inline]
    pub fn publish(&mut self, now_ns: u64) {
        if self.pen.publish(now_ns) {
            self.doorbell.notify();
        }
    }

    /// A reader of what earlier writers left, at its oldest record; `None` in a ring that never had a writer. Read it
    /// before the first push: until then nothing in it can be overwritten.
    pub fn before(&self) -> Result<Option<Reader>, RingError> {
        let Some(map) = &self.before else { return Ok(None) };
        Ok(Some(Reader::from_cursor(Cursor::new(map.clone())?, &self.name)))
    }

    /// A reader of this ring in this process, at the oldest record.
    pub fn reader(&self) -> Result<Reader, RingError> {
        Ok(Reader::from_cursor(Cursor::new(self.pen.memory().clone())?, &self.name))
    }

    /// Sequence the next record will get.
    #[inline]
    pub fn next_sequence(&self) -> u64 {
        self.pen.next_sequence()
    }

    /// Slot position the next record will get.
    #[inline]
    pub fn position(&self) -> u64 {
        self.pen.position()
    }

    /// The epoch of this run.
    pub fn epoch(&self) -> u64 {
        self.pen.epoch()
    }

    /// Counts the writers this ring has had, from 1.
    pub fn generation(&self) -> u64 {
        self.pen.generation()
    }

    /// Whether an earlier writer's ring was found.
    pub fn taken_over(&self) -> bool {
        self.before.is_some()
    }

    /// Capacity in slots.
    pub fn capacity(&self) -> u64 {
        self.pen.capacity()
    }

    /// The ring's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.publish(self.pen.published_at());
        self.pen.memory().header().ownership.writer_pid.store(0, Ordering::Relaxed);
        Folder::unlock(self.pen.memory().file());
    }
}

pub(crate) type RingPen = Pen<SharedMap>;
/// The new run, and the ring before it where there was one.
type Claimed = (RingPen, Option<SharedMap>);

/// How a new file begins.
pub(crate) struct Start {
    pub(crate) slots: u64,
    pub(crate) epoch: u64,
    /// As in the layout.
    pub(crate) origin: u64,
    /// Runs that ended before.
    pub(crate) history: Vec<Epoch>,
    /// Last sequence of the run that only an earlier file held, 0 for none.
    pub(crate) held_before: u64,
    /// Whether the name is taken from an earlier file.
    pub(crate) replaces: bool,
}

impl Start {
    pub(crate) fn fresh(slots: u64, epoch: u64) -> Start {
        Start { slots, epoch, origin: 0, history: Vec::new(), held_before: 0, replaces: false }
    }
}

/// Locks a file that was found at the ring's name and maps it, with its capacity. `None`: the file moved under us,
/// look again.
pub(crate) fn claim(folder: &Folder, name: &str, file: File) -> Result<Option<(SharedMap, u64)>, RingError> {
    let found = RingMap::check(folder, name, &file)?;
    if let Locked::No = folder.lock(&file_name(name), &file)? {
        let held = RingMap::map(folder, name, file, SLOTS_MIN, Access::Read)?;
        return Err(busy(folder, name, held.header().ownership.writer_pid.load(Ordering::Relaxed)));
    }
    if !folder.is_at(&file_name(name), &file)? {
        return Ok(None);
    }
    Ok(Some((SharedMap::new(RingMap::map(folder, name, file, found, Access::Write)?), found)))
}

fn take_over(folder: &Folder, name: &str, file: File, slots: u64, epoch: u64) -> Result<Option<Claimed>, RingError> {
    let Some((old, found)) = claim(folder, name, file)? else { return Ok(None) };
    let mut history = finished_epochs(&old)?;
    let ownership = &old.header().ownership;
    if ownership.origin.load(Ordering::Relaxed) != 0
        && let Some(repeated) = history.last_mut()
    {
        // Where the repeated ring's run ended is known over there.
        repeated.last_sequence = None;
    }
    if found == slots {
        ownership.origin.store(0, Ordering::Relaxed);
        let pen = Pen::begin(old.clone(), &history, epoch, pid())?;
        return Ok(Some((pen, Some(old))));
    }
    let start = Start { history, replaces: true, ..Start::fresh(slots, epoch) };
    Ok(replace(folder, name, &start, &old)?.map(|pen| (pen, Some(old))))
}

/// Builds the successor of a file that is ours.
pub(crate) fn replace(
    folder: &Folder,
    name: &str,
    start: &Start,
    old: &SharedMap,
) -> Result<Option<RingPen>, RingError> {
    let Some(pen) = create(folder, name, start)? else { return Ok(None) };
    // Only now does the name lead to the successor, so a reader that sees this finds it.
    old.header().ownership.retired.store(1, Ordering::Release);
    Ok(Some(pen))
}

/// Builds a ring beside its name and moves it there when complete. `None`: somebody else was first.
pub(crate) fn create(folder: &Folder, name: &str, start: &Start) -> Result<Option<RingPen>, RingError> {
    let temporary = temporary_name(name);
    let Some(file) = folder.open_file(&temporary, libc::O_RDWR | libc::O_CREAT)? else { return Ok(None) };
    if let Locked::No = folder.lock(&temporary, &file)? {
        return Err(busy(folder, name, 0));
    }
    // A creator that finished between our open and our lock has moved this file to its final name.
    if !folder.is_at(&temporary, &file)? {
        return Ok(None);
    }
    let built = build(folder, name, file, start)
        .and_then(|pen| Ok(folder.rename(&temporary, &file_name(name), start.replaces)?.then_some(pen)));
    if !matches!(built, Ok(Some(_))) {
        folder.remove(&temporary);
    }
    built
}

fn build(folder: &Folder, name: &str, file: File, start: &Start) -> Result<RingPen, RingError> {
    let Start { slots, epoch, origin, ref history, held_before, .. } = *start;
    folder.allocate(&temporary_name(name), &file, RingMap::bytes_for(slots))?;
    let map = SharedMap::new(RingMap::map(folder, name, file, slots, Access::Write)?);
    format(&map, history);
    map.header().ownership.origin.store(origin, Ordering::Relaxed);
    let mut pen = Pen::begin(map, history, epoch, pid())?;
    if held_before > 0 {
        pen.lose(held_before);
        pen.publish(0);
    }
    Ok(pen)
}

pub(crate) fn busy(folder: &Folder, name: &str, pid: u64) -> RingError {
    RingError::Busy { path: folder.path_of(&file_name(name)), pid }
}

/// Checks a capacity asked for.
pub(crate) fn check_slots(name: &str, slots: u64) -> Result<(), RingError> {
    if slots.is_power_of_two() && (SLOTS_MIN..=SLOTS_MAX).contains(&slots) {
        return Ok(());
    }
    Err(RingError::BadSlots { name: name.to_owned(), slots, min: SLOTS_MIN, max: SLOTS_MAX })
}

pub(crate) fn pid() -> u64 {
    u64::from(std::process::id())
}
