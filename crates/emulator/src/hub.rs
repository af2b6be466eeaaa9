//! What all connections of a server share: the market, the frames not yet read by all, and the faults.
//!
//! Whoever holds the lock moves the market on; there is no thread for it. With one client the frames are made by the
//! thread that sends them and never cross a core.

use std::collections::{BTreeMap, VecDeque};

use model::UnixNanos;

use crate::faults::{Fault, FrameFaults, ScriptedFault};
use crate::market::{Log, Market, TopicId};

/// A reader fell behind the frames that are kept.
pub(crate) use crate::market::Lapped;

pub(crate) struct Hub {
    pub(crate) market: Box<dyn Market>,
    log: Log,
    /// Readers of each topic.
    readers: Vec<u32>,
    /// Where each connection stands in the log.
    cursors: BTreeMap<u64, u64>,
    faults: FrameFaults,
    script: VecDeque<ScriptedFault>,
    started: UnixNanos,
}

impl Hub {
    pub(crate) fn new(market: Box<dyn Market>, script: Vec<ScriptedFault>, started: UnixNanos) -> Self {
        let readers = vec![0; market.topics().len()];
        let (log, faults, cursors) = (Log::default(), FrameFaults::default(), BTreeMap::new());
        Self { market, log, readers, cursors, faults, script: script.into(), started }
    }

    /// Faults of the script that are due; the caller injects them.
    pub(crate) fn due_faults(&mut self, now: UnixNanos) -> Vec<Fault> {
        let since = now.since(self.started);
        let due = self.script.iter().take_while(|fault| fault.after <= since).count();
        self.script.drain(..due).map(|fault| fault.fault).collect()
    }

    /// Lets a frame fault wait for its frame; others come back.
    pub(crate) fn inject(&mut self, fault: Fault, now: UnixNanos) -> Option<Fault> {
        self.faults.add(fault, now.0)
    }

    /// Frames that faults changed, added or withheld.
    pub(crate) fn fault_hits(&self) -> u64 {
        self.faults.hits
    }

    /// Writes what is due.
    pub(crate) fn advance(&mut self, now: UnixNanos) {
        let before = self.log.head();
        self.market.advance(now, &self.readers, &mut self.log);
        self.faults.act(before, now.0, self.market.topics(), &mut self.log);
    }

    pub(crate) fn enter(&mut self, connection: u64) {
        self.cursors.insert(connection, self.log.head());
    }

    pub(crate) fn leave(&mut self, connection: u64, topics: impl Iterator<Item = TopicId>) {
        topics.for_each(|topic| self.unsubscribe(topic));
        self.cursors.remove(&connection);
        self.release();
        if self.cursors.is_empty() {
            self.market.deserted();
        }
    }

    /// Whether every frame was taken and none will follow: the session is over.
    pub(crate) fn is_over_for(&self, connection: u64) -> bool {
        self.market.is_over() && self.cursors.get(&connection) == Some(&self.log.head())
    }

    /// Hands the next frames to `take` until it says enough.
    pub(crate) fn pull(&mut self, connection: u64, mut take: impl FnMut(TopicId, &[u8]) -> Pull) -> Result<(), Lapped> {
        let Some(cursor) = self.cursors.get_mut(&connection) else { return Ok(()) };
        for (topic, frame) in self.log.from(*cursor)? {
            *cursor += 1;
            if take(topic, frame) == Pull::Enough {
                break;
            }
        }
        self.release();
        Ok(())
    }

    /// Adds a reader to a topic and gives the frame it needs first. What other readers must see before is in the log.
    pub(crate) fn subscribe(&mut self, topic: TopicId, now: UnixNanos) -> Option<Vec<u8>> {
        let before = self.log.head();
        let joined = self.market.join(topic, now, &self.readers, &mut self.log);
        self.faults.act(before, now.0, self.market.topics(), &mut self.log);
        self.readers[topic as usize] += 1;
        joined.snapshot
    }

    pub(crate) fn unsubscribe(&mut self, topic: TopicId) {
        self.readers[topic as usize] -= 1;
    }

    fn release(&mut self) {
        let slowest = self.cursors.values().min().copied().unwrap_or_else(|| self.log.head());
        self.log.release(slowest);
    }
}

/// Whether more frames are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pull {
    More,
    Enough,
}
