//! What a server did, in numbers: totals at any time, and one line of truth per connection.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use model::StreamKind;

/// Finished connections remembered; older ones are in the totals only.
const CONNECTIONS_KEPT: usize = 1024;

/// What one connection was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Its number, from 1 in order of acceptance.
    pub number: u64,
    /// Frames that are not control frames.
    pub frames: u64,
    /// Their bytes, without WebSocket headers.
    pub bytes: u64,
    /// CRC-32 (IEEE) of all their bytes in order.
    pub crc32: u32,
    /// Text frames by kind: trade, book, quote, bar, instrument, protocol (acks, status, heartbeats) and order.
    pub frames_by_kind: [u64; 7],
    /// Whether it is still open; its figures are those of the last write.
    pub open: bool,
}

impl ConnectionStats {
    /// Frames of one kind; [`StreamKind::Connection`] stands for acks, status and heartbeats.
    pub fn frames_of(&self, kind: StreamKind) -> u64 {
        self.frames_by_kind[kind_index(kind)]
    }
}

/// A server's figures since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections taken, REST ones included.
    pub accepted: u64,
    /// Connections refused because there were too many or by a fault.
    pub refused: u64,
    /// REST requests answered.
    pub requests: u64,
    /// Frames sent on all WebSocket connections, control frames apart.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Writes to sockets that carried frames.
    pub writes: u64,
    /// Frames that faults changed, added or withheld.
    pub faults: u64,
    /// The latest WebSocket connections, oldest first.
    pub connections: Vec<ConnectionStats>,
}

pub(crate) fn kind_index(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Trade => 0,
        StreamKind::Book => 1,
        StreamKind::Quote => 2,
        StreamKind::Bar => 3,
        StreamKind::Instrument => 4,
        StreamKind::Connection => 5,
        StreamKind::Order => 6,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) requests: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    writes: AtomicU64,
    pub(crate) faults: AtomicU64,
    connections: Mutex<VecDeque<ConnectionStats>>,
}

impl Counters {
    /// Takes in a connection's figures after a write.
    pub(crate) fn record(&self, before: &ConnectionStats, now: &ConnectionStats) {
        self.frames.fetch_add(now.frames - before.frames, Ordering::Relaxed);
        self.bytes.fetch_add(now.bytes - before.bytes, Ordering::Relaxed);
        self.writes.fetch_add(u64::from(now.frames > before.frames), Ordering::Relaxed);
        let mut connections = self.connections.lock().expect("no holder of this lock panics");
        match connections.iter_mut().rfind(|known| known.number == now.number) {
            Some(known) => *known = *now,
            None => {
                if connections.len() == CONNECTIONS_KEPT {
                    connections.pop_front();
                }
                connections.push_back(*now);
            }
        }
    }

    pub(crate) fn read(&self) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            accepted: of(&self.accepted),
            refused: of(&self.refused),
            requests: of(&self.requests),
            frames: of(&self.frames),
            bytes: of(&self.bytes),
            writes: of(&self.writes),
            faults: of(&self.faults),
            connections: self.connections.lock().expect("no holder of this lock panics").iter().copied().collect(),
        }
    }
}
