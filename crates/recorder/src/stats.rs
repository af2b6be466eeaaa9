//! What the recorder's threads tell about themselves, readable at any time without waiting for one of them.

use crate::spill::Chunk;
use model::Venue;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use telemetry::{Histogram, Registry};

/// A disk that takes longer than this for one group is called stalled.
pub const STALLED_AFTER: Duration = Duration::from_secs(1);

/// What keeps records from the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskState {
    /// Nothing.
    #[default]
    Good,
    /// No space is left; records wait in the spill.
    Full,
    /// A write or sync does not return; records wait in the spill.
    Stalled,
    /// It cannot be opened or written: a read-only folder, say.
    Refused,
}

impl DiskState {
    /// Every state.
    pub const ALL: [DiskState; 4] = [DiskState::Good, DiskState::Full, DiskState::Stalled, DiskState::Refused];

    /// As status and metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            DiskState::Good => "ok",
            DiskState::Full => "full",
            DiskState::Stalled => "stalled",
            DiskState::Refused => "refused",
        }
    }
}

/// The recorder at one moment.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// What keeps records from the journal.
    pub disk: DiskState,
    /// Records taken from the rings.
    pub records: u64,
    /// Overruns told.
    pub overruns: u64,
    /// Records they name, where they can be counted.
    pub missed: u64,
    /// Records of a ring that the journal had already.
    pub repeated: u64,
    /// Groups synced.
    pub groups: u64,
    /// Bytes of the spill in use.
    pub spill_bytes: usize,
    /// Whether the spill is used up and the rings are not drained.
    pub spill_full: bool,
    /// Newest durable record of each venue: epoch and sequence.
    pub durable: Vec<(Venue, u64, u64)>,
    /// From a record's receipt until it is durable, ns: median and 99th percentile over the whole run.
    pub durable_ns: (u64, u64),
    /// One write and sync of a group, ns: the same.
    pub sync_ns: (u64, u64),
}

/// Shared by the threads.
pub(crate) struct Shared {
    ending: AtomicBool,
    /// The journal will take nothing more: what is in the spill stays there.
    hopeless: AtomicBool,
    records: AtomicU64,
    overruns: AtomicU64,
    missed: AtomicU64,
    repeated: AtomicU64,
    groups: AtomicU64,
    disk: Mutex<Disk>,
    /// From a record's receipt to its sync, ns.
    pub(crate) durable: Arc<Histogram>,
    /// One write and sync of a group, ns.
    pub(crate) sync: Arc<Histogram>,
}

#[derive(Default)]
struct Disk {
    state: DiskState,
    /// When the group that is being written was begun.
    busy_since: Option<Instant>,
    durable: Vec<(Venue, u64, u64)>,
}

impl Shared {
    pub(crate) fn new(registry: &Registry) -> Shared {
        let zero = || AtomicU64::new(0);
        Shared {
            ending: AtomicBool::new(false),
            hopeless: AtomicBool::new(false),
            records: zero(),
            overruns: zero(),
            missed: zero(),
            repeated: zero(),
            groups: zero(),
            disk: Mutex::default(),
            durable: registry.histogram("recorder_durable_us", "From a record's receipt until it is durable.", &[]),
            sync: registry.histogram("recorder_sync_us", "One write and sync of a group of records.", &[]),
        }
    }

    pub(crate) fn end(&self) {
        self.ending.store(true, Relaxed);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    pub(crate) fn give_up(&self) {
        self.hopeless.store(true, Relaxed);
    }

    pub(crate) fn is_hopeless(&self) -> bool {
        self.hopeless.load(Relaxed)
    }

    pub(crate) fn drained(&self, chunk: &Chunk) {
        let live = chunk.runs().iter().filter(|run| run.kind == crate::spill::RunKind::Live);
        self.records.fetch_add(live.map(|run| run.count).sum(), Relaxed);
    }

    pub(crate) fn overrun(&self, count: u64) {
        self.overruns.fetch_add(1, Relaxed);
        self.missed.fetch_add(count, Relaxed);
    }

    pub(crate) fn repeated(&self) {
        self.repeated.fetch_add(1, Relaxed);
    }

    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn busy(&self) {
        self.disk().busy_since = Some(Instant::now());
    }

    pub(crate) fn synced(&self, durable: Vec<(Venue, u64, u64)>) {
        self.groups.fetch_add(1, Relaxed);
        let mut disk = self.disk();
        disk.busy_since = None;
        disk.durable = durable;
    }

    /// The state before; `Stalled` is found, never set.
    pub(crate) fn set_disk(&self, state: DiskState) -> DiskState {
        let mut disk = self.disk();
        disk.busy_since = None;
        std::mem::replace(&mut disk.state, state)
    }

    pub(crate) fn stats(&self, (spill_bytes, spill_full): (usize, bool)) -> Stats {
        let disk = self.disk();
        let stalled = disk.busy_since.is_some_and(|since| since.elapsed() >= STALLED_AFTER);
        Stats {
            disk: if stalled && disk.state == DiskState::Good { DiskState::Stalled } else { disk.state },
            records: self.records.load(Relaxed),
            overruns: self.overruns.load(Relaxed),
            missed: self.missed.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            groups: self.groups.load(Relaxed),
            spill_bytes,
            spill_full,
            durable: disk.durable.clone(),
            durable_ns: median_and_p99(&self.durable),
            sync_ns: median_and_p99(&self.sync),
        }
    }
}

fn median_and_p99(histogram: &Histogram) -> (u64, u64) {
    (histogram.quantile(0.5), histogram.quantile(0.99))
}
