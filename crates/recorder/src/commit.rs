//! Writes what waits in the spill into the journal, a group at a time, and waits out what the disk does.
//! [`Spill`] -> [`Commit::run`] -> [`journal::Writer`]: append, write, sync.
//!
//! Invariants: what was taken from the spill counts there until the journal has synced it; a disk without room is asked
//! again until it has some, and after a failed write or sync nothing more is tried: the next start recovers.

use crate::spill::{Chunk, Run, RunKind, Spill};
use crate::stats::{DiskState, Shared};
use journal::{JournalError, Level, Marks, State, Writer};
use model::{UnixNanos, Venue};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use wire::{OverrunCause, OverrunRecord, Record};

/// Bytes of one group: what a disk of 200 MB/s takes in about 20 ms.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Between two tries at a full disk.
const FULL_RETRY: Duration = Duration::from_millis(100);
/// Between two looks at what retention may remove.
const RETAIN_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the first record of a group.
const WAIT: Duration = Duration::from_millis(100);

/// The thread's state.
pub(crate) struct Commit {
    pub(crate) writer: Writer,
    pub(crate) spill: Arc<Spill>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: fn() -> UnixNanos,
}

impl Commit {
    /// Writes group after group until the spill is closed and empty, and then closes the journal.
    pub(crate) fn run(mut self) -> Result<(), JournalError> {
        let mut group = Vec::new();
        let mut retain_at = Instant::now() + RETAIN_EVERY;
        self.tell_durable();
        while self.spill.take(&mut group, GROUP_BYTES_MAX, WAIT) {
            if !group.is_empty() {
                if !self.commit(&group)? {
                    break;
                }
                self.spill.done(&mut group);
            }
            if Instant::now() >= retain_at {
                retain_at = Instant::now() + RETAIN_EVERY;
                self.retain()?;
            }
        }
        // Who drains must not wait for room that never comes.
        self.shared.give_up();
        let now = (self.clock)();
        self.writer.close(now)?;
        Ok(())
    }

    /// Brings a group down to the disk. False when the end was asked for and the disk has no room for it: what is not in
    /// the journal stays in the rings, and the next start takes it from there or names it.
    fn commit(&mut self, group: &[Chunk]) -> Result<bool, JournalError> {
        self.shared.busy();
        for run in group.iter().flat_map(Chunk::runs) {
            while let Err(JournalError::Backlog { .. }) = self.append(run) {
                if !self.write_and_sync()? {
                    return Ok(false);
                }
            }
        }
        let begun = Instant::now();
        if !self.write_and_sync()? {
            return Ok(false);
        }
        self.shared.sync.record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.note_latency(group);
        self.tell_durable();
        Ok(true)
    }

    /// Only a backlog is the caller's to deal with: what else the journal refuses is a broken promise of ours, which is
    /// said and does not stop the recording.
    fn append(&mut self, run: &Run) -> Result<(), JournalError> {
        let published = UnixNanos(run.published_ns);
        let appended = match run.kind {
            RunKind::Live => self.writer.append(run.venue, run.epoch, published, run.records()),
            RunKind::Overrun => match Record::read(&run.words) {
                Ok(Record::Overrun(lost)) => self.writer.append_overrun(lost, published),
                _ => Ok(()),
            },
        };
        match appended {
            Err(JournalError::Hole { sequence, last_sequence, .. }) => {
                tracing::error!(
                    venue = %run.venue, epoch = run.epoch, first = last_sequence + 1, last = sequence - 1,
                    "the ring left records out without a word; the journal names them as missed"
                );
                let (first, last) = (last_sequence + 1, Some(sequence - 1));
                let lost =
                    OverrunRecord::new(Some(run.venue), run.epoch, first, last, OverrunCause::Slow, (self.clock)());
                self.writer.append_overrun(&lost, published)?;
                self.append(run)
            }
            Err(error @ JournalError::Repeat { .. }) => {
                self.shared.repeated();
                tracing::warn!(%error, "left out");
                Ok(())
            }
            other => other,
        }
    }

    /// False when the end was asked for while there was no room.
    fn write_and_sync(&mut self) -> Result<bool, JournalError> {
        loop {
            let Marks { .. } = self.writer.write((self.clock)())?;
            let marks = self.writer.sync((self.clock)())?;
            if marks.state != State::Full {
                if self.shared.set_disk(DiskState::Good) == DiskState::Full {
                    tracing::info!("the journal's disk has room again; recording goes on");
                }
                return Ok(true);
            }
            if self.shared.set_disk(DiskState::Full) != DiskState::Full {
                tracing::error!(
                    journal = %self.writer.disk().path().display(),
                    "the journal's disk is full; records wait in memory, readers of the rings do not notice; free \
                     space or lower journal.retain_mib"
                );
            }
            if self.shared.is_ending() {
                return Ok(false);
            }
            self.retain()?;
            thread::sleep(FULL_RETRY);
        }
    }

    fn retain(&mut self) -> Result<(), JournalError> {
        self.writer.retain((self.clock)()).map(drop)
    }

    /// From receipt to durable, for every record of the group.
    fn note_latency(&self, group: &[Chunk]) {
        let now = (self.clock)().0;
        let live = group.iter().flat_map(Chunk::runs).filter(|run| run.kind == RunKind::Live);
        for (_, words) in live.flat_map(Run::records) {
            // Word 2 of every record is its receive time.
            let received = words.get(2).copied().unwrap_or(now);
            self.shared.durable.record(now.saturating_sub(received));
        }
    }

    fn tell_durable(&self) {
        let synced = self.writer.acknowledged(Level::Synced);
        let durable: Vec<(Venue, u64, u64)> = synced.iter().map(|(venue, at)| (venue, at.epoch, at.sequence)).collect();
        self.shared.synced(durable);
    }
}
