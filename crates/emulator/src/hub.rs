//! What all connections of a server share: the market, the frames not yet read by all, and the faults.
//!
//! Whoever holds the lock moves the market on; there is no thread for it. With one client the frames are made by the
//! thread that sends them and never cross a core.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use model::{StreamKind, UnixNanos};

use crate::faults::engine::FrameFaults;
use crate::faults::ledger::{Ledger, Spot};
use crate::faults::{Planned, ScriptedFault};
use crate::market::{Log, Market, TopicId};

/// First snapshots kept for the fault that serves old ones, bytes in all.
const FIRST_BYTES_MAX: usize = 32 << 20;

/// A reader fell behind the frames that are kept.
pub(crate) use crate::market::Lapped;

/// Makes the market anew, with ids from this one on.
pub(crate) type Anew = Box<dyn Fn(u64) -> Box<dyn Market> + Send>;

/// A fault for connections: each takes it in when it sees it.
#[derive(Debug)]
pub(crate) struct ConnectionPlan {
    pub(crate) id: u64,
    pub(crate) planned: Planned,
    /// Whether the frame it waits for came, on whichever connection was first.
    pub(crate) fired: AtomicBool,
}

/// The first books served whole, by REST path or topic, and how many more of them are served in place of current ones.
#[derive(Debug, Default)]
struct FirstBooks {
    rest: BTreeMap<String, String>,
    topics: BTreeMap<TopicId, Vec<u8>>,
    bytes: usize,
    /// The fault that wants them served, and how often.
    wanted: Option<(u64, u32)>,
}

pub(crate) struct Hub {
    pub(crate) market: Box<dyn Market>,
    anew: Option<Anew>,
    log: Log,
    /// Readers of each topic.
    readers: Vec<u32>,
    /// Where each connection stands in the log.
    cursors: BTreeMap<u64, u64>,
    faults: FrameFaults,
    script: VecDeque<ScriptedFault>,
    plans: Vec<Arc<ConnectionPlan>>,
    first: FirstBooks,
    ledger: Arc<Ledger>,
    started: UnixNanos,
}

impl Hub {
    pub(crate) fn new(market: Box<dyn Market>, anew: Option<Anew>, ledger: Arc<Ledger>, started: UnixNanos) -> Self {
        let readers = vec![0; market.topics().len()];
        let faults = FrameFaults::new(Arc::clone(&ledger), None);
        Self {
            market,
            anew,
            log: Log::default(),
            readers,
            cursors: BTreeMap::new(),
            faults,
            script: VecDeque::new(),
            plans: Vec::new(),
            first: FirstBooks::default(),
            ledger,
            started,
        }
    }

    /// Keeps a fault of the script until its time, counted from `from`.
    pub(crate) fn schedule(&mut self, mut fault: ScriptedFault, from: UnixNanos) {
        fault.after = fault.after.saturating_add(from.since(self.started));
        let at = self.script.partition_point(|other| other.after <= fault.after);
        self.script.insert(at, fault);
    }

    /// Faults of the script that are due; the caller plans them.
    pub(crate) fn due_faults(&mut self, now: UnixNanos) -> Vec<Planned> {
        self.faults.expire(now);
        let since = now.since(self.started);
        let due = self.script.iter().take_while(|fault| fault.after <= since).count();
        self.script.drain(..due).map(|fault| fault.planned).collect()
    }

    /// How long until a fault of the script is due.
    pub(crate) fn next_fault(&self, now: UnixNanos) -> Option<Duration> {
        self.script.front().map(|fault| fault.after.saturating_sub(now.since(self.started)))
    }

    /// Lets a frame fault wait for its frame.
    pub(crate) fn add_fault(&mut self, id: u64, planned: Planned, now: UnixNanos) {
        self.faults.add(id, planned, now);
    }

    /// Lets connections see a fault that is for them.
    pub(crate) fn add_plan(&mut self, id: u64, planned: Planned) {
        self.plans.push(Arc::new(ConnectionPlan { id, planned, fired: AtomicBool::new(false) }));
    }

    /// The plans from the one with this index on.
    pub(crate) fn plans(&self, from: usize) -> &[Arc<ConnectionPlan>] {
        &self.plans[from..]
    }

    pub(crate) fn can_begin_anew(&self) -> bool {
        self.anew.is_some()
    }

    /// The venue's backend starts anew: ids begin at 1. The caller breaks every connection before it lets the hub go.
    pub(crate) fn begin_anew(&mut self) {
        if let Some(anew) = &self.anew {
            self.market = anew(1);
            (self.first.rest, self.first.topics) = Default::default();
        }
    }

    /// The next so many whole books are the first ones that were.
    pub(crate) fn serve_old_books(&mut self, id: u64, count: u32) {
        self.first.wanted = Some((id, count));
    }

    /// Takes note of a book that is about to be served by REST, or puts an old one in its place.
    pub(crate) fn rest_book(&mut self, url: &str, body: &mut String, now: UnixNanos) {
        match self.first.rest.get(url) {
            Some(first) => {
                let first = first.clone();
                if self.old_book_served(None, now) {
                    *body = first;
                }
            }
            None if self.first.bytes + body.len() <= FIRST_BYTES_MAX => {
                self.first.bytes += body.len();
                self.first.rest.insert(url.to_owned(), body.clone());
            }
            None => {}
        }
    }

    fn stream_book(&mut self, topic: TopicId, snapshot: &mut Vec<u8>, now: UnixNanos) {
        if self.market.topics()[topic as usize].kind != StreamKind::Book {
            return;
        }
        match self.first.topics.get(&topic) {
            Some(first) => {
                let first = first.clone();
                if self.old_book_served(Some(topic), now) {
                    *snapshot = first;
                }
            }
            None if self.first.bytes + snapshot.len() <= FIRST_BYTES_MAX => {
                self.first.bytes += snapshot.len();
                self.first.topics.insert(topic, snapshot.clone());
            }
            None => {}
        }
    }

    /// Whether an old book is wanted here; counts it.
    fn old_book_served(&mut self, topic: Option<TopicId>, now: UnixNanos) -> bool {
        let Some((id, left)) = self.first.wanted else { return false };
        let about = topic.map(|topic| &self.market.topics()[topic as usize]);
        let spot =
            Spot { stream: Some(StreamKind::Book), symbol: about.map(|about| &about.symbol[..]), ..Spot::default() };
        self.ledger.hit(id, "old_snapshot", now, &spot);
        self.first.wanted = (left > 1).then(|| (id, left - 1));
        if left <= 1 {
            self.ledger.finish(id);
        }
        true
    }

    /// Writes what is due.
    pub(crate) fn advance(&mut self, now: UnixNanos) {
        let before = self.log.head();
        self.market.advance(now, &self.readers, &mut self.log);
        self.faults.act(before, now, self.market.topics(), &mut self.log);
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
        self.faults.act(before, now, self.market.topics(), &mut self.log);
        self.readers[topic as usize] += 1;
        let mut snapshot = joined.snapshot;
        if let Some(snapshot) = &mut snapshot {
            self.stream_book(topic, snapshot, now);
        }
        snapshot
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
