//! Snapshots that consumers ask for: whose, and when each may be told without costing those who do not ask.
//! [`Demands::ask`] -> [`Demands::take`] when [`Demands::due`] -> told; however many ask, each book is told once.
//!
//! Invariant: between two snapshots told on demand lies [`PAUSE`], more after a long one, and a book is told again no
//! sooner than [`AGAIN`] after it was last told for any reason. Pure: times are passed in.

use model::{InstrumentId, UnixNanos};
use std::collections::VecDeque;
use std::time::Duration;

/// Between two snapshots on demand: all books of a venue of twenty pairs are told within a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
/// What a record told on demand is paid with: no more than 20,000 of them come in a second, and a ring of a quarter of a
/// million slots still holds ten seconds of them.
const PAUSE_PER_RECORD: Duration = Duration::from_micros(50);
/// An instrument's book is told again no sooner: who asks within this time gets what is told at its end.
pub(crate) const AGAIN: Duration = Duration::from_millis(500);

/// Room for so many instruments is there from the beginning: a refresh allocates nothing.
const INSTRUMENTS: usize = 256;

/// What is asked for and not told yet.
#[derive(Debug)]
pub(crate) struct Demands {
    /// In the order of asking, each once.
    wanted: VecDeque<InstrumentId>,
    /// No sooner than this on demand, of those told before, in the order of their ids.
    not_before: Vec<(InstrumentId, UnixNanos)>,
    /// No snapshot on demand is told before.
    next: UnixNanos,
}

impl Default for Demands {
    fn default() -> Demands {
        let not_before = Vec::with_capacity(INSTRUMENTS);
        Demands { wanted: VecDeque::with_capacity(INSTRUMENTS), not_before, next: UnixNanos::ZERO }
    }
}

impl Demands {
    /// Somebody wants the book of an instrument.
    pub(crate) fn ask(&mut self, id: InstrumentId) {
        if !self.holds(id) {
            self.wanted.push_back(id);
        }
    }

    /// Whether somebody waits for it.
    pub(crate) fn holds(&self, id: InstrumentId) -> bool {
        self.wanted.contains(&id)
    }

    /// The book was told, whoever asked: all demands for it are answered.
    pub(crate) fn told(&mut self, id: InstrumentId, now: UnixNanos) {
        self.wanted.retain(|wanted| *wanted != id);
        self.hold(id, now.after(AGAIN));
    }

    /// What is told of an instrument in its turn comes at `turn`: its demand waits for that.
    pub(crate) fn leave_to_turn(&mut self, id: InstrumentId, turn: UnixNanos) {
        self.ask(id);
        self.hold(id, turn.after(PAUSE));
    }

    /// So many records were told on demand.
    pub(crate) fn spent(&mut self, records: usize, now: UnixNanos) {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.next = now.after(PAUSE.max(PAUSE_PER_RECORD.saturating_mul(records)));
    }

    /// When the next one is due; `None` when nobody waits.
    #[inline]
    pub(crate) fn due(&self) -> Option<UnixNanos> {
        if self.wanted.is_empty() { None } else { self.earliest() }
    }

    #[cold]
    fn earliest(&self) -> Option<UnixNanos> {
        self.wanted.iter().map(|id| self.from(*id)).min()
    }

    fn from(&self, id: InstrumentId) -> UnixNanos {
        self.place(id).map_or(self.next, |at| self.next.max(self.not_before[at].1))
    }

    /// It is not told on demand before.
    fn hold(&mut self, id: InstrumentId, until: UnixNanos) {
        match self.place(id) {
            Ok(at) => self.not_before[at].1 = until,
            Err(at) => self.not_before.insert(at, (id, until)),
        }
    }

    fn place(&self, id: InstrumentId) -> Result<usize, usize> {
        self.not_before.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// One that is due, no longer waiting.
    pub(crate) fn take(&mut self, now: UnixNanos) -> Option<InstrumentId> {
        let at = self.wanted.iter().position(|id| self.from(*id) <= now)?;
        self.wanted.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InstrumentId = InstrumentId(1);
    const B: InstrumentId = InstrumentId(2);

    fn ms(ms: u64) -> UnixNanos {
        UnixNanos(1_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn a_flood_is_told_once_and_paced() {
        let mut demands = Demands::default();
        let mut told = vec![];
        for n in 0..2_000 {
            for _ in 0..3 {
                demands.ask(A);
                demands.ask(B);
            }
            if let Some(id) = demands.take(ms(n)) {
                demands.spent(20, ms(n));
                demands.told(id, ms(n));
                told.push((n, id));
            }
        }
        let expected: Vec<_> = (0..4).flat_map(|n| [(n * 500, A), (n * 500 + 50, B)]).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_long_snapshot_is_paid_for_and_one_in_its_turn_answers() {
        let mut demands = Demands::default();
        assert_eq!(demands.due(), None);
        demands.ask(A);
        assert_eq!(demands.take(ms(0)), Some(A));
        demands.spent(40_000, ms(0));
        demands.told(A, ms(0));
        demands.ask(B);
        assert_eq!((demands.due(), demands.take(ms(1_999))), (Some(ms(2_000)), None));
        demands.leave_to_turn(B, ms(2_010));
        assert_eq!(demands.take(ms(2_010)), None);
        demands.told(B, ms(2_010));
        assert_eq!(demands.due(), None);
    }
}
