//! The recorder as a whole: its threads, how they are started, watched and ended.
//!
//! One thread drains the rings, one brings groups down to the disk, one makes Parquet files of what is durable. A journal
//! that cannot be opened for want of room or of the right to write is tried again until it can.

use crate::commit::Commit;
use crate::drain::{Drain, DrainOptions};
use crate::parquet::{self, ParquetOptions, SinkShared, SinkStats};
use crate::spill::Spill;
use crate::stats::{DiskState, Shared, Stats};
use journal::{Disk, JournalError, Options, Writer};
use model::UnixNanos;
use relay::{ClientError, ClientOptions, Position};
use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use telemetry::{Registry, clock};

/// Between two tries at a journal that cannot be opened.
const OPEN_RETRY: Duration = Duration::from_secs(1);
/// How soon a request to end is noticed meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is recorded, where, and how.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Directory of the rings.
    pub rings: PathBuf,
    /// The journal's folder.
    pub disk: Arc<dyn Disk>,
    /// Names this machine.
    pub site: String,
    /// How long records are collected for one sync.
    pub window: Duration,
    /// Bytes of records that may wait for the disk before the rings are left alone.
    pub spill_bytes: usize,
    /// How the journal is kept.
    pub journal: Options,
    /// The Parquet files, if any are made.
    pub parquet: Option<ParquetOptions>,
}

/// Why the recorder cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The rings.
    #[error(transparent)]
    Rings(#[from] ClientError),
    /// A thread.
    #[error("a thread of the recorder cannot be had: {0}")]
    Thread(#[from] io::Error),
}

/// A running recorder.
pub struct Recorder {
    shared: Arc<Shared>,
    spill: Arc<Spill>,
    sink: Option<Arc<SinkShared>>,
    main: JoinHandle<Result<(), RecorderError>>,
}

impl Recorder {
    /// Starts recording behind what the journal has.
    pub fn start(options: RecorderOptions, registry: &Registry) -> Result<Recorder, RecorderError> {
        let shared = Arc::new(Shared::new(registry));
        let spill = Arc::new(Spill::new(options.spill_bytes));
        let sink = options.parquet.as_ref().map(|_| Arc::new(SinkShared::default()));
        let parts = Parts { options, shared: shared.clone(), spill: spill.clone(), sink: sink.clone() };
        let main = thread::Builder::new().name("recorder-commit".to_owned()).spawn(move || parts.run())?;
        Ok(Recorder { shared, spill, sink, main })
    }

    /// Its numbers.
    pub fn stats(&self) -> Stats {
        self.shared.stats(self.spill.fill())
    }

    /// The Parquet files' numbers, where they are made.
    pub fn sink(&self) -> Option<SinkStats> {
        self.sink.as_ref().map(|sink| sink.stats(clock::wall_ns()))
    }

    /// Whether it has ended by itself; [`Recorder::stop`] says why.
    pub fn has_ended(&self) -> bool {
        self.main.is_finished()
    }

    /// Records what the rings have now, makes it durable, makes files of it, and ends.
    pub fn stop(self) -> Result<(), RecorderError> {
        self.shared.end();
        self.main.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What the threads are made of.
struct Parts {
    options: RecorderOptions,
    shared: Arc<Shared>,
    spill: Arc<Spill>,
    sink: Option<Arc<SinkShared>>,
}

impl Parts {
    fn run(self) -> Result<(), RecorderError> {
        let Some(writer) = self.open()? else { return Ok(()) };
        let last: Vec<Position> = writer
            .positions()
            .iter()
            .map(|(venue, at)| Position { venue, epoch: at.epoch, sequence: at.sequence })
            .collect();
        let sink = match (self.options.parquet.clone(), self.sink.clone()) {
            (Some(options), Some(shared)) => {
                let follow = move || parquet::run(&options, &shared);
                Some(thread::Builder::new().name("recorder-parquet".to_owned()).spawn(follow)?)
            }
            _ => None,
        };
        let outcome = self.record(writer, &last);
        if let Some(shared) = &self.sink {
            // Behind the journal's end, so that its last record has its row.
            shared.end();
        }
        if let Some(sink) = sink {
            sink.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        outcome
    }

    fn record(&self, writer: Writer, last: &[Position]) -> Result<(), RecorderError> {
        let drain = DrainOptions {
            rings: self.options.rings.clone(),
            window: self.options.window,
            client: ClientOptions::default(),
        };
        let drain = Drain::open(drain, last, self.spill.clone(), self.shared.clone())?;
        let draining = thread::Builder::new().name("recorder-drain".to_owned()).spawn(move || drain.run())?;
        let commit = Commit { writer, spill: self.spill.clone(), shared: self.shared.clone(), clock: now };
        let committed = commit.run();
        self.shared.give_up();
        let drained = draining.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        committed?;
        Ok(drained?)
    }

    /// Opens the journal, again and again where its disk may yet let us; `None` when the end was asked for before.
    fn open(&self) -> Result<Option<Writer>, RecorderError> {
        let RecorderOptions { disk, site, journal, .. } = &self.options;
        let mut told = false;
        loop {
            let error = match Writer::open_on(disk.clone(), journal.clone(), site, now()) {
                Ok((writer, recovered)) => {
                    tracing::info!(place = %recovered.place, batches = recovered.scanned_batches, "journal open");
                    self.shared.set_disk(DiskState::Good);
                    return Ok(Some(writer));
                }
                Err(error) => error,
            };
            let state = match &error {
                JournalError::Full { .. } => DiskState::Full,
                JournalError::ReadOnly { .. } | JournalError::Io { .. } => DiskState::Refused,
                _ => return Err(error.into()),
            };
            self.shared.set_disk(state);
            if !told {
                tracing::error!("nothing is recorded, which is tried again every second: {error}");
                told = true;
            }
            let until = Instant::now() + OPEN_RETRY;
            while Instant::now() < until {
                if self.shared.is_ending() {
                    return Ok(None);
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

fn now() -> UnixNanos {
    UnixNanos(clock::wall_ns())
}
