//! A live book beside a fresh snapshot of the venue's, at the snapshot's own id.
//!
//! A copy of the book is taken when the snapshot is asked for, and what changes from then on is kept for it. When the
//! answer is there, the copy is brought to the answer's id and both are compared, level by level. An id in the middle
//! of a change leaves open only the levels which that change names; they are not compared.
//!
//! This finds what ids cannot: a level that was wrong in a frame that came in order, or one beyond the depth of the
//! first snapshot that has since come near the touch. It is paced by the choice `compare_s` and costs the least weight
//! a snapshot can have.

use super::exact::{Numbers, fetched_book};
use super::machine::{Machine, Pending};
use super::messages::Depth;
use super::subscribe::{depth_path, depth_weight};
use crate::{Known, Outbox, Proof, Reply};
use book::{Book, Level};
use model::{GapCause, Price, Reason, Side, UnixNanos};
use std::time::Duration;

/// Levels a side that are compared: as many as the least weight buys.
const LEVELS: u32 = 100;

/// Changes kept for the answer: many seconds of the fastest stream. More, and the comparison is given up.
const EVENTS_MAX: usize = 256;

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The book as it was, brought to the snapshot's id.
    copy: Book,
    /// The id the copy stands at.
    at: u64,
    /// What changed since, oldest first.
    events: Vec<(Depth, Vec<Level>)>,
    /// The answer.
    fetched: Option<Fetched>,
}

#[derive(Debug)]
struct Fetched {
    update_id: u64,
    levels: [Vec<Level>; 2],
}

/// How a comparison ended.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A change that reaches the snapshot's id is still to come.
    Waits,
    /// Nothing can be said.
    Void,
    Same,
    Other(String),
}

impl Comparison {
    fn of(book: &Book, at: u64) -> Comparison {
        Comparison { copy: book.clone(), at, events: vec![], fetched: None }
    }

    /// Keeps a change; `false` when there are too many.
    fn keep(&mut self, depth: &Depth, levels: &[Level]) -> bool {
        self.events.push((*depth, levels.to_vec()));
        self.events.len() <= EVENTS_MAX
    }

    fn judge(&mut self) -> Verdict {
        let Some(fetched) = &self.fetched else { return Verdict::Waits };
        if fetched.update_id < self.at {
            return Verdict::Void;
        }
        let mut open: &[Level] = &[];
        let mut bids = 0;
        for (depth, levels) in &self.events {
            if self.at == fetched.update_id {
                break;
            }
            if depth.last > fetched.update_id {
                (open, bids, self.at) = (levels, depth.bids as usize, fetched.update_id);
                break;
            }
            let (bids, asks) = levels.split_at(depth.bids as usize);
            for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
                for level in levels {
                    self.copy.set(side, level.price, level.size);
                }
            }
            self.at = depth.last;
        }
        if self.at != fetched.update_id {
            self.events.clear();
            return Verdict::Waits;
        }
        let (bids, asks) = open.split_at(bids);
        let sides = [(Side::Buy, bids, &fetched.levels[0]), (Side::Sell, asks, &fetched.levels[1])];
        let other = sides.into_iter().find_map(|(side, open, theirs)| differs(&self.copy, side, open, theirs));
        other.map_or(Verdict::Same, |text| Verdict::Other(format!("snapshot {}: {text}", fetched.update_id)))
    }
}

/// The first level that is not the venue's, in words.
fn differs(ours: &Book, side: Side, open: &[Level], theirs: &[Level]) -> Option<String> {
    let is_open = |level: &Level| open.iter().any(|o| o.price == level.price);
    // Behind the last level of a full side the venue may have more.
    let end = theirs.last().filter(|_| theirs.len() >= LEVELS as usize).map(|level| level.price);
    let within = |price: Price| match (end, side) {
        (None, _) => true,
        (Some(end), Side::Buy) => price >= end,
        (Some(end), Side::Sell) => price <= end,
    };
    let mut ours = ours.levels(side).take_while(|l| within(l.price)).filter(|l| !is_open(l));
    let mut theirs = theirs.iter().copied().filter(|l| !is_open(l));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return None,
            (our, their) if our == their => {}
            (our, their) => {
                let shown = |l: Option<Level>| {
                    l.map_or("none".to_owned(), |l| format!("{} of {} (mantissas)", l.size.0, l.price.0))
                };
                return Some(format!("{side} has {} where ours has {}", shown(their), shown(our)));
            }
        }
    }
}

impl Machine {
    /// When the next comparison is to begin.
    pub(super) fn compare_after(&self, now: UnixNanos) -> Option<UnixNanos> {
        (self.choices.compare_every.0 > 0).then(|| now.after(Duration::from_secs(self.choices.compare_every.0.into())))
    }

    /// Asks for the snapshots that live books are to be compared with.
    pub(super) fn begin_comparisons(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.compare_due.is_none_or(|due| now < due) {
            return;
        }
        let next = self.compare_after(now);
        for (index, symbol) in self.symbols.iter_mut().enumerate() {
            let book = &mut symbol.book;
            if !book.is_proved() || book.comparison.is_some() {
                continue;
            }
            let Ok(()) = self.budget.take(depth_weight(LEVELS), now) else { break };
            let id = out.request(depth_path(&self.instruments.get(index as Known).venue_symbol, LEVELS), 5);
            self.pending.push((id, Pending::Comparison(index as Known)));
            book.comparison = Some(Box::new(Comparison::of(book.levels(), book.last())));
        }
        self.compare_due = next;
    }

    /// A change of a book that is being compared, before it is applied.
    #[cold]
    pub(super) fn keep_for_comparison(&mut self, known: Known, d: &Depth, now: UnixNanos, out: &mut Outbox) -> bool {
        let Some(comparison) = &mut self.symbols[known as usize].book.comparison else { return true };
        if !comparison.keep(d, &self.levels) {
            self.symbols[known as usize].book.comparison = None;
            return true;
        }
        self.end_comparison(known, now, out)
    }

    /// The answer to a request for a snapshot to compare with. One that fails is tried again when the next is due.
    pub(super) fn on_comparison(&mut self, known: Known, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let body = match reply {
            Reply::Http { status: 200, body, .. } => Some(body),
            Reply::Http { status, retry_after, .. } => {
                self.pause_if_told(status, retry_after, now);
                None
            }
            Reply::Failed(_) => None,
        };
        let symbol = &mut self.symbols[known as usize];
        let Some(comparison) = &mut symbol.book.comparison else { return };
        let (mut numbers, mut levels) = (Numbers::at(symbol.scales), vec![]);
        let read = body.and_then(|body| fetched_book(body, &mut numbers, &mut levels).ok());
        let fetched = read.filter(|_| numbers.need == numbers.have).and_then(|read| {
            let asks = levels.split_off(read.bids);
            Some(Fetched { update_id: u64::try_from(read.update_id).ok()?, levels: [levels, asks] })
        });
        if fetched.is_none() {
            symbol.book.comparison = None;
            return;
        }
        comparison.fetched = fetched;
        self.end_comparison(known, now, out);
    }

    /// Judges a comparison when it can be. `false`: the book is not the venue's, and is being fetched anew.
    fn end_comparison(&mut self, known: Known, now: UnixNanos, out: &mut Outbox) -> bool {
        let book = &mut self.symbols[known as usize].book;
        let Some(comparison) = &mut book.comparison else { return true };
        let verdict = comparison.judge();
        if verdict == Verdict::Waits {
            return true;
        }
        book.comparison = None;
        match verdict {
            Verdict::Waits | Verdict::Void => true,
            Verdict::Same => {
                book.trust.held(Proof::Snapshot);
                self.counts.snapshots_agreed += 1;
                true
            }
            Verdict::Other(text) => {
                book.trust.failed(Proof::Snapshot);
                self.counts.snapshots_apart += 1;
                self.distrust_book(known, (Reason::Disagreement, GapCause::Disagreement, &text), now, out);
                false
            }
        }
    }
}
