//! Listings, delistings and new ticks and lots during a session: by a list, by the seed, or both.
//! (list, seed, time) -> [`Changes`] -> one change of one instrument at a time.

use std::collections::VecDeque;
use std::time::Duration;

use model::{Price, Qty};

use super::draw::Draw;
use super::simulation::SimulatedPair;
use super::{Pair, PairStatus};
use crate::error::StartError;

/// The first pairs of a venue stay as they are, unless the list says otherwise.
const LEFT_ALONE: usize = 3;
/// A tick or lot grows by this factor, and goes back.
const FACTOR: i64 = 10;

/// What happens to an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is traded from now on; where this is the first change of an instrument, it did not exist before.
    Listing,
    /// It is not traded any more.
    Delisting,
    /// New orders keep to this price step, in units of 10^-price_scale; those in the book stay.
    Tick(Price),
    /// New orders keep to this size step, in units of 10^-size_scale; those in the book stay.
    Lot(Qty),
}

/// A change at a set time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentChange {
    /// After the market began to run, in its own time.
    pub after: Duration,
    /// The venue's symbol.
    pub symbol: String,
    /// What happens.
    pub change: Change,
}

/// Whether every change can be made.
pub(crate) fn check(changes: &[InstrumentChange], specs: &[SimulatedPair]) -> Result<(), StartError> {
    for InstrumentChange { symbol, change, .. } in changes {
        let refuse = |problem: String| Err(StartError::Option { name: "changes", problem });
        if !specs.iter().any(|spec| spec.pair.symbol == *symbol) {
            return refuse(format!("{symbol} is no instrument of the session; name one that is"));
        }
        match change {
            Change::Tick(Price(..=0)) | Change::Lot(Qty(..=0)) => {
                return refuse(format!("{symbol} cannot have a step of {change:?}; give 1 or more"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Instruments that are not there from the start come last, in the order in which they are listed.
pub(crate) fn in_order(specs: Vec<SimulatedPair>, changes: &[InstrumentChange]) -> (Vec<SimulatedPair>, usize) {
    let mut sorted: Vec<&InstrumentChange> = changes.iter().collect();
    sorted.sort_by_key(|change| change.after);
    let listed_at = |spec: &SimulatedPair| {
        let first = sorted.iter().position(|change| change.symbol == spec.pair.symbol);
        first.filter(|at| sorted[*at].change == Change::Listing)
    };
    let (mut later, mut now): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| listed_at(spec).is_some());
    later.sort_by_key(&listed_at);
    let listed = now.len();
    now.extend(later);
    (now, listed)
}

/// The changes of a session, one after the other.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Time (ns), instrument, change; earliest first.
    list: VecDeque<(u64, usize, Change)>,
    seed: u64,
    /// Distance of the changes by the seed, ns.
    every_ns: Option<u64>,
    turn: u64,
}

impl Changes {
    pub(crate) fn new(list: &[InstrumentChange], specs: &[SimulatedPair], seed: u64, every: Option<Duration>) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = |symbol: &str| specs.iter().position(|spec| spec.pair.symbol == symbol);
        let timed = list.iter().filter_map(|change| Some((nanos(change.after), at(&change.symbol)?, change.change)));
        let mut list: Vec<_> = timed.collect();
        list.sort_by_key(|(time, ..)| *time);
        Self { list: list.into(), seed, every_ns: every.map(nanos).filter(|ns| *ns > 0), turn: 0 }
    }

    fn by_seed_ns(&self) -> u64 {
        self.every_ns.map_or(u64::MAX, |every| every.saturating_mul(self.turn + 1))
    }

    /// When the next change happens, ns of the market's own time.
    pub(crate) fn next_ns(&self) -> u64 {
        self.list.front().map_or(u64::MAX, |(time, ..)| *time).min(self.by_seed_ns())
    }

    /// The next change, given the instruments listed so far and their first ticks and lots.
    pub(crate) fn take<'a>(
        &mut self,
        listed: usize,
        pair: impl Fn(usize) -> (&'a Pair, &'a SimulatedPair),
    ) -> Option<(usize, Change)> {
        if self.list.front().is_some_and(|(time, ..)| *time <= self.by_seed_ns()) {
            return self.list.pop_front().map(|(_, at, change)| (at, change));
        }
        self.turn += 1;
        let mut draw = Draw::new(self.seed, super::draw::stream(&["changes"]), self.turn);
        let choices = listed.checked_sub(LEFT_ALONE).filter(|count| *count > 0)?;
        let at = LEFT_ALONE + draw.below(choices as u64) as usize;
        let (now, first) = pair(at);
        let change = match draw.below(3) {
            _ if now.status == PairStatus::Delisted => Change::Listing,
            0 => Change::Delisting,
            1 => Change::Lot(if now.lot == first.pair.lot { Qty(now.lot.0 * FACTOR) } else { first.pair.lot }),
            _ => Change::Tick(if now.tick == first.pair.tick { Price(now.tick.0 * FACTOR) } else { first.pair.tick }),
        };
        Some((at, change))
    }
}
