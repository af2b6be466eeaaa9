//! What is done beside the writer, so that it need not wait: the next segment made ahead of need, checkpoints put
//! down, sealed segments read back and indexed.
//!
//! A thread in production; inline where a test wants the same steps in the same order every time.

use crate::format::Checkpoint;
use crate::{Access, Disk, DiskFile, Place, crash, index};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel};

/// The next segment's name until it is needed.
pub(crate) const PREPARED: &str = "prepared.tmp";
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// Zeros are written, not promised: blocks of a file that were only reserved cost a metadata write each at the sync
/// that first fills them.
const PIECE: usize = 1 << 20;
/// The zeros are synced in pieces, so that the writer's own syncs never wait behind a whole segment of them.
const PIECES_PER_SYNC: u64 = 4;

/// Who does the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Helper {
    /// A thread beside the writer.
    #[default]
    Thread,
    /// The writer itself, between its own steps.
    Inline,
}

/// A file full of zeros, durable but for its name.
pub(crate) type Prepared = io::Result<Box<dyn DiskFile>>;

pub(crate) enum Job {
    Prepare,
    Checkpoint(Box<Checkpoint>),
    Index { segment: u64, end: Place },
}

#[derive(Debug)]
pub(crate) enum Work {
    Inline { disk: Arc<dyn Disk>, segment_bytes: u64 },
    Thread { jobs: Sender<Job>, prepared: Receiver<Prepared>, asked: bool },
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Job::Prepare => "prepare",
            Job::Checkpoint(_) => "checkpoint",
            Job::Index { .. } => "index",
        })
    }
}

impl Work {
    pub fn start(helper: Helper, disk: Arc<dyn Disk>, segment_bytes: u64) -> io::Result<Work> {
        if helper == Helper::Inline {
            return Ok(Work::Inline { disk, segment_bytes });
        }
        let (jobs, todo) = channel();
        let (done, prepared) = channel();
        std::thread::Builder::new().name("journal-helper".into()).spawn(move || {
            while let Ok(job) = todo.recv() {
                match job {
                    Job::Prepare => {
                        if done.send(prepare(&*disk, segment_bytes)).is_err() {
                            return;
                        }
                    }
                    job => run(&*disk, job),
                }
            }
        })?;
        Ok(Work::Thread { jobs, prepared, asked: false })
    }

    /// Has the next segment made, unless that is already under way.
    pub fn prepare_ahead(&mut self) {
        if let Work::Thread { jobs, asked, .. } = self
            && !*asked
        {
            *asked = jobs.send(Job::Prepare).is_ok();
        }
    }

    /// The next segment; waits for it when it is not ready.
    pub fn prepared(&mut self) -> Prepared {
        self.prepare_ahead();
        match self {
            Work::Inline { disk, segment_bytes } => prepare(&**disk, *segment_bytes),
            Work::Thread { prepared, asked, .. } => {
                *asked = false;
                prepared.recv().unwrap_or_else(|RecvError| Err(gone()))
            }
        }
    }

    /// As [`Work::prepared`], but `None` instead of waiting.
    pub fn prepared_if_ready(&mut self) -> Option<Prepared> {
        self.prepare_ahead();
        match self {
            Work::Inline { .. } => Some(self.prepared()),
            Work::Thread { prepared, asked, .. } => match prepared.try_recv() {
                Ok(file) => {
                    *asked = false;
                    Some(file)
                }
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(gone())),
            },
        }
    }

    pub fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.submit(Job::Checkpoint(Box::new(checkpoint)));
    }

    pub fn index(&mut self, segment: u64, end: Place) {
        self.submit(Job::Index { segment, end });
    }

    fn submit(&mut self, job: Job) {
        match self {
            Work::Inline { disk, .. } => run(&**disk, job),
            // A helper that is gone costs time at the next start, not records; `prepared` will say so.
            Work::Thread { jobs, .. } => drop(jobs.send(job)),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the journal's helper thread is gone")
}

fn run(disk: &dyn Disk, job: Job) {
    let (what, result) = match job {
        Job::Checkpoint(checkpoint) => ("checkpoint", put_checkpoint(disk, &checkpoint)),
        Job::Index { segment, end } => ("index", index::write(disk, segment, end)),
        Job::Prepare => return,
    };
    // Neither is needed for what was acknowledged: a start without them looks at more, and finds the same.
    if let Err(error) = result {
        tracing::warn!(%error, what, "the journal's helper failed; the next start or seek takes longer");
    }
}

/// Puts a checkpoint into its slot, durably.
pub(crate) fn put_checkpoint(disk: &dyn Disk, checkpoint: &Checkpoint) -> io::Result<()> {
    crash::point("journal.before_checkpoint");
    let file = disk.open(CHECKPOINT, Access::Write)?;
    file.write_at(&checkpoint.page()[..], checkpoint.slot())?;
    file.sync()?;
    crash::point("journal.after_checkpoint");
    Ok(())
}

fn prepare(disk: &dyn Disk, segment_bytes: u64) -> Prepared {
    crash::point("journal.before_prepare");
    let made = write_zeros(disk, segment_bytes);
    if made.is_err() {
        // Half a segment would take the very room that is missing.
        let _ = disk.remove(PREPARED);
    }
    crash::point("journal.after_prepare");
    made
}

fn write_zeros(disk: &dyn Disk, segment_bytes: u64) -> Prepared {
    let file = disk.open(PREPARED, Access::Create)?;
    zero(&*file, 0, segment_bytes)?;
    Ok(file)
}

/// Writes zeros and syncs them.
pub(crate) fn zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; PIECE.min((to - from) as usize)];
    let mut at = from;
    let mut pieces = 0;
    while at < to {
        let length = (to - at).min(PIECE as u64);
        file.write_at(&zeros[..length as usize], at)?;
        at += length;
        pieces += 1;
        if pieces % PIECES_PER_SYNC == 0 {
            file.sync()?;
        }
    }
    file.sync()
}
