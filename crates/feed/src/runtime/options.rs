//! What a feed is told at its start, why it may fail, and how it is ended.

use crate::{
    backoff::BackoffConfig,
    cpu::CpuError,
    epoch::EpochError,
    transport::{BadUrl, TlsError, TlsOptions, Waker},
};
use model::Venue;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use venues::{MachineError, SessionSettings, Settings};
use wire::Origin;

/// How a feed is set up.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// The venue.
    pub venue: Venue,
    /// WebSocket endpoint, with path.
    pub ws_url: String,
    /// Endpoint of the second connection of a pair, where it is another; empty: the same.
    pub ws_url_b: String,
    /// Whether two connections carry the same instruments, so that losing one costs nothing.
    pub pair: bool,
    /// After this time a connection is replaced by a new one, which is live before the old one is closed; `None`: in
    /// time before the venue cuts it.
    pub renew: Option<Duration>,
    /// The processor the feed's thread is kept on.
    pub cpu: Option<usize>,
    /// REST base, without a slash at its end.
    pub rest_url: String,
    /// What is wanted of the venue.
    pub settings: Settings,
    /// The venue's own documented choices.
    pub choices: Vec<(String, String)>,
    /// Pacing of what is told for late joiners.
    pub session: SessionSettings,
    /// Whether compression is offered; `None`: as the venue's own limits say.
    pub deflate: Option<bool>,
    /// The machine's configured name.
    pub site: String,
    /// The build's name.
    pub build: String,
    /// Where the data comes from.
    pub origin: Origin,
    /// Folder of the rings.
    pub ring_dir: PathBuf,
    /// Slots of the ring, a power of two.
    pub ring_slots: u64,
    /// Folder of what must survive: epochs and quarantined frames.
    pub state_dir: PathBuf,
    /// How what goes by is captured, if it is.
    pub capture: Option<capture::Options>,
    /// Certificates to trust beside the public ones.
    pub tls: TlsOptions,
    /// Waits between attempts.
    pub backoff: BackoffConfig,
    /// Whether to burn a core for latency instead of sleeping.
    pub waiting: Waiting,
    /// Seeds jitter and masks.
    pub seed: u64,
}

/// What the loop does while nothing happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// Sleep in the kernel.
    #[default]
    Block,
    /// Read again and again.
    Spin,
}

/// Why a feed cannot run (on).
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The venue or its settings.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// An address in the configuration.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// A certificate in the configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The ring.
    #[error(transparent)]
    Ring(#[from] ring::RingError),
    /// The table of latest values.
    #[error(transparent)]
    Table(#[from] ring::table::TableError),
    /// The epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// A processor that is not there.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A thread or event descriptor could not be had.
    #[error("the operating system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Ends a running feed from another thread, in order.
#[derive(Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    pub(super) waker: Arc<Waker>,
}

impl Stop {
    /// A stop that has not been asked for.
    pub fn new() -> io::Result<Stop> {
        Ok(Stop { flag: Arc::default(), waker: Arc::new(Waker::new()?) })
    }
    /// Asks for the end.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }
    pub(super) fn asked(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}
