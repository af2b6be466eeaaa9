//! What a relay tells about itself, for whoever renders metrics.

use std::sync::{Arc, Mutex, PoisonError};

/// The relay at one moment. Counters only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections refused since the start: too many, not allowed, or a first line that made no sense.
    pub refused: u64,
    /// Batches encoded since the start.
    pub batches_encoded: u64,
    /// Batches handed to sockets since the start; the difference was shared among clients.
    pub batches_sent: u64,
    /// Bytes handed to sockets since the start.
    pub bytes_sent: u64,
    /// Those subscribed now.
    pub clients: Vec<ClientStats>,
    /// The rings read.
    pub rings: Vec<RingStats>,
}

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Its process, when it is one of this machine; else 0.
    pub pid: i32,
    /// Its user, when it is a process of this machine; else 0.
    pub uid: u32,
    /// Where it is, when that is on TCP.
    pub address: Option<std::net::SocketAddr>,
    /// How far it is behind, in ring slots of 64 bytes, summed over its rings.
    pub lag_slots: u64,
    /// Records told as owed.
    pub delivered: u64,
    /// Overruns told.
    pub overruns: u64,
    /// Records the overruns name.
    pub missed: u64,
    /// Its socket is full.
    pub blocked: bool,
}

impl ClientStats {
    /// What tells it from others: its address, or its process.
    pub fn name(&self) -> String {
        self.address.map_or_else(|| self.pid.to_string(), |address| address.to_string())
    }
}

/// One ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingStats {
    /// Venue.
    pub venue: model::Venue,
    /// Instruments defined.
    pub instruments: usize,
    /// Slot position behind the newest record: how much was ever written.
    pub tail: u64,
}

/// Reads a relay's numbers from another thread; a quarter of a second old at most while it runs.
#[derive(Clone, Debug, Default)]
pub struct StatsHandle(Arc<Mutex<Stats>>);

impl StatsHandle {
    /// The latest numbers.
    pub fn get(&self) -> Stats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, stats: Stats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}
