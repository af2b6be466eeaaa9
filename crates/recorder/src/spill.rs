//! The bounded room in memory between the thread that drains the rings and the one that waits for the disk.
//! records -> [`Chunk`] -> [`Spill`] -> whole groups.
//!
//! Invariants: of each venue, what goes in comes out in the same order; bytes count until the journal has them, so that
//! a disk that stalls fills the room and not the machine. Knows nothing of rings, clocks or files.

use model::Venue;
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A run is closed at this size, so that a batch of the journal stays far below its limit.
const RUN_WORDS_MAX: usize = 32 * 1024;
/// Emptied chunks kept for the next records; more would be memory that a burst once needed.
const SPARE_CHUNKS_MAX: usize = 8;
/// An emptied chunk that grew beyond this is given back to the system.
const SPARE_CHUNK_BYTES_MAX: usize = 1 << 20;
/// What a run costs beside its words, counted so that many small ones cannot hide.
const RUN_OVERHEAD_BYTES: usize = 96;

/// Why records stand in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// A feed made them: each comes once, in order.
    Live,
    /// The rings' reader made it: it names what was missed.
    Overrun,
}

/// Records of one venue and epoch, one behind the other.
#[derive(Debug)]
pub struct Run {
    /// Why they are here.
    pub kind: RunKind,
    /// Venue of the ring.
    pub venue: Venue,
    /// Run of the feed.
    pub epoch: u64,
    /// When the newest of them was published, ns since the Unix epoch.
    pub published_ns: u64,
    /// Sequence of the first; the others count up from it.
    pub first: u64,
    /// The records.
    pub words: Vec<u64>,
    /// How many they are.
    pub count: u64,
}

impl Run {
    /// Each record with its sequence.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u64])> {
        (self.first..).zip(wire::Records::new(&self.words))
    }
}

/// What one round of draining found.
#[derive(Debug, Default)]
pub struct Chunk {
    runs: Vec<Run>,
    /// Runs in use; those behind wait to be used again.
    used: usize,
    bytes: usize,
}

impl Chunk {
    /// The runs, in an order that is each venue's own.
    pub fn runs(&self) -> &[Run] {
        &self.runs[..self.used]
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// What it takes of the spill.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record behind those of its venue.
    #[inline]
    pub fn push(
        &mut self,
        kind: RunKind,
        venue: Venue,
        (epoch, sequence): (u64, u64),
        published_ns: u64,
        words: &[u64],
    ) {
        let at = match self.open_run(kind, venue, (epoch, sequence)) {
            Some(at) => at,
            None => self.begin_run(kind, venue, (epoch, sequence)),
        };
        let run = &mut self.runs[at];
        run.published_ns = run.published_ns.max(published_ns);
        run.words.extend_from_slice(words);
        run.count += 1;
        self.bytes += words.len() * 8;
    }

    /// The venue's newest run, if the record may stand behind it.
    #[inline]
    fn open_run(&self, kind: RunKind, venue: Venue, (epoch, sequence): (u64, u64)) -> Option<usize> {
        let at = self.runs().iter().rposition(|run| run.venue == venue)?;
        let run = &self.runs[at];
        let both_live = run.kind == RunKind::Live && kind == RunKind::Live;
        let follows = run.epoch == epoch && sequence == run.first + run.count;
        (both_live && follows && run.words.len() < RUN_WORDS_MAX).then_some(at)
    }

    fn begin_run(&mut self, kind: RunKind, venue: Venue, (epoch, first): (u64, u64)) -> usize {
        let at = self.used;
        if at == self.runs.len() {
            self.runs.push(Run { kind, venue, epoch, published_ns: 0, first, words: Vec::new(), count: 0 });
        }
        let run = &mut self.runs[at];
        run.words.clear();
        (run.kind, run.venue, run.epoch, run.first) = (kind, venue, epoch, first);
        (run.published_ns, run.count) = (0, 0);
        self.used += 1;
        self.bytes += RUN_OVERHEAD_BYTES;
        at
    }

    fn clear(&mut self) {
        self.used = 0;
        self.bytes = 0;
    }

    fn held_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.words.capacity() * 8).sum()
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<Chunk>,
    spare: Vec<Chunk>,
    /// Of what is queued and of what was taken and is not in the journal yet.
    bytes: usize,
    /// The room was used up; it counts as full until half of it is free again, so that losses are few and long rather
    /// than many and short.
    full: bool,
    closed: bool,
}

/// The room. One thread fills it, one empties it.
pub struct Spill {
    state: Mutex<State>,
    news: Condvar,
    room: Condvar,
    bytes_max: usize,
}

impl Spill {
    /// Room for so many bytes; what one round of draining finds may go beyond it.
    pub fn new(bytes_max: usize) -> Spill {
        Spill { state: Mutex::default(), news: Condvar::new(), room: Condvar::new(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what was drained and returns an empty chunk for the next round.
    pub fn push(&self, chunk: Chunk) -> Chunk {
        let mut state = self.state();
        state.bytes += chunk.bytes;
        state.full |= state.bytes >= self.bytes_max;
        state.queue.push_back(chunk);
        let spare = state.spare.pop().unwrap_or_default();
        drop(state);
        self.news.notify_one();
        spare
    }

    /// Whether there is room, after waiting for it up to `timeout`.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let state = self.state();
        let (state, _) =
            self.room.wait_timeout_while(state, timeout, |state| state.full).unwrap_or_else(PoisonError::into_inner);
        !state.full
    }

    /// Moves up to about `bytes_max` bytes into `group`, after waiting for the first up to `timeout`. False when there
    /// is nothing and never will be.
    pub fn take(&self, group: &mut Vec<Chunk>, bytes_max: usize, timeout: Duration) -> bool {
        let idle = |state: &mut State| state.queue.is_empty() && !state.closed;
        let waited = self.news.wait_timeout_while(self.state(), timeout, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut taken = 0;
        while taken < bytes_max
            && let Some(chunk) = state.queue.pop_front()
        {
            taken += chunk.bytes;
            group.push(chunk);
        }
        !(group.is_empty() && state.closed)
    }

    /// What was taken is in the journal: its room is free again.
    pub fn done(&self, group: &mut Vec<Chunk>) {
        let mut state = self.state();
        for mut chunk in group.drain(..) {
            state.bytes -= chunk.bytes;
            if state.spare.len() < SPARE_CHUNKS_MAX && chunk.held_bytes() <= SPARE_CHUNK_BYTES_MAX {
                chunk.clear();
                state.spare.push(chunk);
            }
        }
        if state.full && state.bytes <= self.bytes_max / 2 {
            state.full = false;
            self.room.notify_all();
        }
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.state().closed = true;
        self.news.notify_all();
    }

    /// Bytes held, and whether the room is used up.
    pub fn fill(&self) -> (usize, bool) {
        let state = self.state();
        (state.bytes, state.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::UnixNanos;
    use wire::HeartbeatRecord;

    fn push(chunk: &mut Chunk, kind: RunKind, venue: Venue, epoch: u64, sequence: u64) {
        let record = HeartbeatRecord::new(venue, sequence + 1, UnixNanos(7));
        chunk.push(kind, venue, (epoch, sequence), sequence, record.as_words());
    }

    #[test]
    fn a_venues_records_stay_in_order_while_venues_are_grouped() {
        let mut chunk = Chunk::default();
        for sequence in 1..=3 {
            push(&mut chunk, RunKind::Live, Venue::Kraken, 7, sequence);
            push(&mut chunk, RunKind::Live, Venue::Binance, 9, 10 + sequence);
        }
        push(&mut chunk, RunKind::Overrun, Venue::Kraken, 7, 0);
        push(&mut chunk, RunKind::Live, Venue::Kraken, 7, 40);
        push(&mut chunk, RunKind::Live, Venue::Binance, 9, 14);
        let told = |run: &Run| {
            let sequences: Vec<u64> = run.records().map(|(sequence, _)| sequence).collect();
            (run.kind, run.venue, sequences)
        };
        let runs: Vec<_> = chunk.runs().iter().map(told).collect();
        assert_eq!(
            runs,
            [
                (RunKind::Live, Venue::Kraken, vec![1, 2, 3]),
                (RunKind::Live, Venue::Binance, vec![11, 12, 13, 14]),
                (RunKind::Overrun, Venue::Kraken, vec![0]),
                (RunKind::Live, Venue::Kraken, vec![40]),
            ]
        );
    }

    #[test]
    fn a_long_run_is_closed_and_a_used_chunk_serves_again() {
        let spill = Spill::new(1 << 30);
        let mut chunk = Chunk::default();
        let each = HeartbeatRecord::new(Venue::Kraken, 1, UnixNanos(7)).as_words().len();
        let count = (RUN_WORDS_MAX / each + 1) as u64;
        (1..=count).for_each(|sequence| push(&mut chunk, RunKind::Live, Venue::Kraken, 7, sequence));
        assert_eq!(chunk.runs().iter().map(|run| run.count).collect::<Vec<_>>(), [count - 1, 1]);
        let mut next = spill.push(chunk);
        assert!(next.is_empty());
        let mut group = Vec::new();
        assert!(spill.take(&mut group, usize::MAX, Duration::ZERO));
        spill.done(&mut group);
        push(&mut next, RunKind::Live, Venue::Kraken, 7, count + 1);
        let again = spill.push(next);
        assert!(
            again.is_empty() && again.bytes() == 0 && !again.runs.is_empty(),
            "room is used again, records are not"
        );
    }

    #[test]
    fn room_counts_until_the_journal_has_it_and_full_lasts_until_half_is_free() {
        let spill = Spill::new(1000);
        let fill = |from: u64| {
            let mut chunk = Chunk::default();
            (from..from + 10).for_each(|sequence| push(&mut chunk, RunKind::Live, Venue::Kraken, 7, sequence));
            spill.push(chunk);
        };
        (0..3).for_each(|round| fill(1 + 10 * round));
        assert!(!spill.wait_for_room(Duration::ZERO));
        let mut group = Vec::new();
        spill.take(&mut group, 1, Duration::ZERO);
        assert_eq!(group.len(), 1);
        assert!(!spill.wait_for_room(Duration::ZERO), "taken is not written");
        spill.done(&mut group);
        assert!(!spill.wait_for_room(Duration::ZERO), "less than half is free");
        spill.take(&mut group, usize::MAX, Duration::ZERO);
        spill.done(&mut group);
        assert!(spill.wait_for_room(Duration::ZERO));
        spill.close();
        assert!(!spill.take(&mut group, 1, Duration::from_secs(60)), "closed and empty ends the wait");
    }
}
