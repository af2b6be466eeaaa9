//! A ring that repeats another ring, one of another machine say, under the names its records have there.
//! (epoch, sequence, record) -> [`Mirror::push`], losses -> [`Mirror::lose`] -> readers that see what readers there see.
//!
//! Invariants: names only rise; what lies between two pushed records of a run is a hole that readers are told of; after
//! a crash the ring goes on behind its last published record. Knows nothing of how the records come here.

use crate::directory::{Directory, check_name};
use crate::epochs::{Epoch, Lost, Point};
use crate::error::RingError;
use crate::file::{SharedMap, file_name};
use crate::layout::{Memory, SLOT_FLAGS};
use crate::pen::{Pen, finished_epochs};
use crate::sync::Ordering;
use crate::writer::{OPEN_ATTEMPTS_MAX, RingPen, Start, Writer, busy, check_slots, claim, create, pid, replace};

/// The one writer of a ring that repeats another. Dropping it publishes what was pushed and gives the ring up.
pub struct Mirror {
    directory: Directory,
    name: String,
    slots: u64,
    origin: u64,
    /// `None` until the first record shows which run it is of.
    writer: Option<Writer>,
    /// Where the current run ends is not known.
    end_unknown: bool,
}

impl Mirror {
    /// Claims the ring `name`, if it is there already, to go on with it; a capacity other than `slots` replaces the
    /// file. `origin`, not 0, names what is repeated; refused are a ring that repeats something else or was written by
    /// a feed, and one whose writer lives.
    pub fn open(directory: &Directory, name: &str, slots: u64, origin: u64) -> Result<Mirror, RingError> {
        check_name(name)?;
        check_slots(name, slots)?;
        assert!(origin != 0, "0 names a writer that numbers its records itself");
        let mut mirror = Mirror {
            directory: directory.clone(),
            name: name.to_owned(),
            slots,
            origin,
            writer: None,
            end_unknown: false,
        };
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let Some(file) = directory.folder().open_file(&file_name(name), libc::O_RDWR)? else { return Ok(mirror) };
            let Some((old, found)) = claim(directory.folder(), name, file)? else { continue };
            let Some((pen, before)) = mirror.resume(old, found)? else { continue };
            mirror.writer = Some(Writer::begun(directory, name, pen, before));
            return Ok(mirror);
        }
        Err(busy(directory.folder(), name, 0))
    }

    fn resume(&self, old: SharedMap, found: u64) -> Result<Option<(RingPen, Option<SharedMap>)>, RingError> {
        let folder = self.directory.folder();
        let origin = old.header().ownership.origin.load(Ordering::Relaxed);
        if origin != self.origin {
            return Err(RingError::OtherOrigin { path: folder.path_of(&file_name(&self.name)) });
        }
        let mut history = finished_epochs(&old)?;
        if found == self.slots {
            let pen = Pen::resume(old.clone(), &history, pid()).ok_or_else(|| self.never_begun())?;
            return Ok(Some((pen, Some(old))));
        }
        let Some(Epoch { epoch, last_sequence: Some(last), .. }) = history.pop() else {
            return Err(self.never_begun());
        };
        let start = Start { origin, history, held_before: last, replaces: true, ..Start::fresh(self.slots, epoch) };
        Ok(replace(folder, &self.name, &start, &old)?.map(|pen| (pen, Some(old))))
    }

    fn never_begun(&self) -> RingError {
        RingError::Damaged { name: self.name.clone(), position: 0, what: "no run was ever begun" }
    }

    /// The name expected next; `None` while the ring is not there.
    pub fn next(&self) -> Option<Point> {
        let writer = self.writer.as_ref()?;
        Some(Point { epoch: writer.epoch(), sequence: writer.next_sequence() })
    }

    /// Appends a record of 1 to 255 words under its own name. Sequences left out become a hole; a greater epoch begins
    /// a new run, and the one before has ended where it stands. Readers see it after [`Mirror::publish`].
    ///
    /// # Panics
    /// When byte 1 of the record is not its length.
    #[inline]
    pub fn push(&mut self, at: Point, record: &[u64]) -> Result<(), RingError> {
        match &mut self.writer {
            Some(writer) if writer.epoch() == at.epoch && writer.next_sequence() == at.sequence => {
                writer.push(record);
                Ok(())
            }
            _ => self.push_elsewhere(at, record),
        }
    }

    #[cold]
    fn push_elsewhere(&mut self, at: Point, record: &[u64]) -> Result<(), RingError> {
        self.advance(at)?;
        if let Some(writer) = &mut self.writer {
            writer.push(record);
        }
        Ok(())
    }

    /// These will never come, and what comes next lies behind them. Where their end is not known, neither is that of
    /// their run. What of them the ring has passed already is left as it is.
    pub fn lose(&mut self, lost: Lost) -> Result<(), RingError> {
        match lost.last {
            Some(last) => {
                let behind = Point { epoch: lost.epoch, sequence: last.saturating_add(1) };
                if self.next().is_none_or(|next| (next.epoch, next.sequence) < (behind.epoch, behind.sequence)) {
                    self.advance(behind)?;
                }
            }
            None => {
                if self.next().is_none_or(|next| (next.epoch, next.sequence) < (lost.epoch, lost.first)) {
                    self.advance(Point { epoch: lost.epoch, sequence: lost.first })?;
                }
                self.end_unknown |= self.next().is_some_and(|next| next.epoch == lost.epoch);
            }
        }
        Ok(())
    }

    /// Begins the run and leaves out what is needed for `at` to be the next name.
    fn advance(&mut self, at: Point) -> Result<(), RingError> {
        let next = self.next();
        let behind = next.is_some_and(|next| (at.epoch, at.sequence) < (next.epoch, next.sequence));
        if behind || at.sequence == 0 || at.sequence & SLOT_FLAGS != 0 {
            let Point { epoch, sequence } = at;
            return Err(RingError::NotNext {
                name: self.name.clone(),
                epoch,
                sequence,
                next: next.unwrap_or_default(),
            });
        }
        if next.is_none_or(|next| next.epoch < at.epoch) {
            self.begin(at.epoch)?;
        }
        match &mut self.writer {
            Some(writer) if writer.next_sequence() < at.sequence => writer.pen.lose(at.sequence - 1),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, epoch: u64) -> Result<(), RingError> {
        let end_unknown = std::mem::take(&mut self.end_unknown);
        if let Some(writer) = &mut self.writer {
            writer.publish(writer.pen.published_at());
            let memory = writer.pen.memory().clone();
            let mut history = finished_epochs(&memory)?;
            if end_unknown && let Some(ended) = history.last_mut() {
                ended.last_sequence = None;
            }
            writer.pen = Pen::begin(memory, &history, epoch, pid())?;
            return Ok(());
        }
        let start = Start { origin: self.origin, ..Start::fresh(self.slots, epoch) };
        let folder = self.directory.folder();
        // Whoever was first is a writer of this machine.
        let pen = create(folder, &self.name, &start)?.ok_or_else(|| busy(folder, &self.name, 0))?;
        self.writer = Some(Writer::begun(&self.directory, &self.name, pen, None));
        Ok(())
    }

    /// Makes everything pushed visible, stamped `now_ns` (ns since the Unix epoch), and wakes sleeping readers.
    pub fn publish(&mut self, now_ns: u64) {
        if let Some(writer) = &mut self.writer {
            writer.publish(now_ns);
        }
    }

    /// The ring's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
