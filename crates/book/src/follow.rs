//! A book out of what is told of it, from wherever the telling is joined.
//! definitions, states, snapshots, changes and losses of one instrument in -> [`Follower`] -> the levels of a [`Target`]
//! (a [`Book`], or a seat in a [`crate::Consolidated`]), and a [`Standing`] that says whether they may be believed.
//!
//! Who joins waits for the next snapshot. A snapshot that was cut tells where knowledge ends ([`Follower::bound`]): the
//! book then holds exactly the levels of the true one up to there, and nothing beyond, since what else rests there is not
//! known; once a side is eaten up to there the next snapshot is waited for. A repeated snapshot is held against what
//! was followed, and puts it right where they differ.
//!
//! Knows nothing of bytes: who reads records calls one method for each.

use crate::{Book, Effect, Standing};
use model::{BookState, InstrumentStatus, Price, Qty, Reason, Side, UnixNanos};

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// What a [`Follower`] keeps up to date.
pub trait Target {
    /// Its levels.
    fn book(&self) -> &Book;
    /// Sets a level to an absolute size, received at `time`; 0 removes it.
    fn set(&mut self, side: Side, price: Price, size: Qty, time: UnixNanos) -> Effect;
    /// Replaces a side.
    fn load(&mut self, side: Side, levels: &[(Price, Qty)], time: UnixNanos);
    /// Keeps the best `depth` levels of each side.
    fn truncate(&mut self, depth: usize);
    /// Forgets all levels.
    fn clear(&mut self);
    /// Price and size scale grow from the `old` ones. `false` when the levels do not fit: what it holds is then cleared.
    fn rescale(&mut self, new: (u8, u8), old: (u8, u8)) -> bool;
    /// What the levels may be taken for from here on.
    fn stand(&mut self, standing: Standing);
}

impl Target for Book {
    fn book(&self) -> &Book {
        self
    }

    #[inline]
    fn set(&mut self, side: Side, price: Price, size: Qty, _time: UnixNanos) -> Effect {
        Book::set(self, side, price, size)
    }

    fn load(&mut self, side: Side, levels: &[(Price, Qty)], _time: UnixNanos) {
        Book::load(self, side, levels);
    }

    #[inline]
    fn truncate(&mut self, depth: usize) {
        Book::truncate(self, depth);
    }

    fn clear(&mut self) {
        Book::clear(self);
    }

    fn rescale(&mut self, new: (u8, u8), old: (u8, u8)) -> bool {
        let factor = |new: u8, old: u8| 10i64.checked_pow(u32::from(new.checked_sub(old)?));
        match (factor(new.0, old.0), factor(new.1, old.1)) {
            (Some(price), Some(size)) => Book::rescale(self, price, size),
            _ => false,
        }
    }

    fn stand(&mut self, _standing: Standing) {}
}

/// The beginning of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Levels that follow, of bids and of asks.
    pub levels: [usize; 2],
    /// Levels a side the venue keeps: the book is cut to them after every event. `None` when it keeps all.
    pub depth: Option<usize>,
    /// The book has more levels than follow.
    pub capped: bool,
    /// Repeated for those who join, not news.
    pub periodic: bool,
}

/// Where in the telling it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// For a snapshot, because of what and since when.
    Waits(Reason, UnixNanos),
    /// The levels are those of the venue's book, as far as the bounds.
    Whole,
}

/// What was done, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Snapshots the book was begun from.
    pub snapshots: u64,
    /// Repeated snapshots that told what the book held.
    pub agreed: u64,
    /// Repeated snapshots that told something else: the book was begun from them.
    pub disagreed: u64,
    /// Snapshots that broke off.
    pub broken: u64,
    /// Levels set or removed by changes.
    pub changes: u64,
    /// Changes passed over: before a snapshot, or of levels beyond the bound.
    pub passed_over: u64,
}

/// Follows one book.
#[derive(Clone, Debug)]
pub struct Follower {
    scales: Option<(u8, u8)>,
    told: Option<(BookState, Reason, UnixNanos)>,
    halted: bool,
    silent: bool,
    stage: Stage,
    standing: Standing,
    depth: usize,
    bound: [Option<Price>; 2],
    opening: Option<Opening>,
    levels: [Vec<(Price, Qty)>; 2],
    counts: Followed,
}

impl Default for Follower {
    fn default() -> Follower {
        Follower {
            scales: None,
            told: None,
            halted: false,
            silent: false,
            stage: Stage::Waits(Reason::Start, UnixNanos::ZERO),
            standing: Standing::COLD,
            depth: usize::MAX,
            bound: [None; 2],
            opening: None,
            levels: [Vec::new(), Vec::new()],
            counts: Followed::default(),
        }
    }
}

fn at(side: Side) -> usize {
    usize::from(side == Side::Sell)
}

/// Whether a price lies beyond the last that is known.
fn beyond(side: Side, price: Price, bound: Option<Price>) -> bool {
    bound.is_some_and(|bound| if side == Side::Buy { price < bound } else { price > bound })
}

impl Follower {
    /// What the book may be taken for.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The last price of a side up to which the levels are known; `None` when all are.
    pub fn bound(&self, side: Side) -> Option<Price> {
        self.bound[at(side)]
    }

    /// Levels a side the venue keeps; `None` when it keeps all.
    pub fn depth(&self) -> Option<usize> {
        (self.depth < usize::MAX).then_some(self.depth)
    }

    /// The levels are those of the venue's book as far as the bounds, whatever its state.
    pub fn is_whole(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// Price and size scale as last defined.
    pub fn scales(&self) -> Option<(u8, u8)> {
        self.scales
    }

    /// What was done so far.
    pub fn counts(&self) -> &Followed {
        &self.counts
    }

    /// A definition: scales and trading status.
    pub fn define(&mut self, scales: (u8, u8), status: InstrumentStatus, time: UnixNanos, target: &mut impl Target) {
        match self.scales.replace(scales) {
            Some(old) if old != scales => {
                let factor = |new: u8, old: u8| 10i64.checked_pow(u32::from(new.checked_sub(old)?));
                let widen = |bound: Option<Price>| Some(bound.map(|b| b.0.checked_mul(factor(scales.0, old.0)?)));
                let bounds = self.bound.map(|bound| widen(bound).flatten());
                let bounds_fit = bounds.iter().all(|bound| bound.is_none_or(|bound| bound.is_some()));
                if target.rescale(scales, old) && bounds_fit {
                    self.bound = bounds.map(|bound| bound.flatten().map(Price));
                } else {
                    self.lose(Reason::Definition, time, target);
                }
            }
            _ => {}
        }
        self.trade(status, time, target);
    }

    /// Whether the venue trades it.
    pub fn trade(&mut self, status: InstrumentStatus, time: UnixNanos, target: &mut impl Target) {
        self.halted = matches!(status, InstrumentStatus::Halted | InstrumentStatus::Delisted);
        self.stand(time, target);
    }

    /// The state the feed says the book is in.
    pub fn state(&mut self, state: BookState, reason: Reason, time: UnixNanos, target: &mut impl Target) {
        self.told = Some((state, reason, time));
        self.stand(time, target);
    }

    /// The feed itself is silent, or speaks again: a book of which nobody speaks is not live, and nothing is missing.
    pub fn silence(&mut self, silent: bool, time: UnixNanos, target: &mut impl Target) {
        if self.silent != silent {
            self.silent = silent;
            self.stand(time, target);
        }
    }

    /// Records are missing: nothing is known until the next snapshot.
    pub fn lose(&mut self, reason: Reason, time: UnixNanos, target: &mut impl Target) {
        self.opening = None;
        self.stage = Stage::Waits(reason, time);
        target.clear();
        self.stand(time, target);
    }

    /// Another run of the feed: what was told in the last one is void.
    pub fn restart(&mut self, reason: Reason, time: UnixNanos, target: &mut impl Target) {
        self.told = None;
        self.lose(reason, time, target);
    }

    /// A snapshot begins.
    pub fn begin(&mut self, opening: Opening, time: UnixNanos, target: &mut impl Target) {
        if self.opening.replace(opening).is_some() {
            self.break_off(time, target);
            self.opening = Some(opening);
        }
        self.levels.iter_mut().for_each(Vec::clear);
    }

    /// A level of it.
    pub fn level(&mut self, side: Side, price: Price, size: Qty) {
        // Without a beginning it is the rest of a snapshot that was joined in the middle.
        if self.opening.is_some() {
            self.levels[at(side)].push((price, size));
        }
    }

    /// It is complete.
    pub fn end(&mut self, time: UnixNanos, target: &mut impl Target) {
        let Some(opening) = self.opening.take() else { return };
        if opening.levels != [self.levels[0].len(), self.levels[1].len()] {
            return self.break_off(time, target);
        }
        let bounds = SIDES.map(|side| self.bound_of(opening, side));
        if opening.capped && bounds == [None; 2] {
            // Cut to nothing: it tells nothing.
            return;
        }
        self.depth = opening.depth.unwrap_or(usize::MAX);
        if opening.periodic && self.is_whole() {
            if SIDES.into_iter().all(|side| self.agrees(side, bounds[at(side)], target.book())) {
                self.counts.agreed += 1;
                return self.extend(bounds, time, target);
            }
            self.counts.disagreed += 1;
        }
        for side in SIDES {
            target.load(side, &self.levels[at(side)], time);
        }
        self.bound = bounds;
        self.stage = Stage::Whole;
        self.counts.snapshots += 1;
        self.stand(time, target);
    }

    /// One level changes; `last` is set on the last of an event, after which the book is whole.
    #[inline]
    pub fn change(
        &mut self,
        side: Side,
        (price, size): (Price, Qty),
        last: bool,
        time: UnixNanos,
        target: &mut impl Target,
    ) {
        if self.stage != Stage::Whole || self.opening.is_some() {
            self.counts.passed_over += 1;
            if self.opening.is_some() {
                self.break_off(time, target);
            }
            return;
        }
        if beyond(side, price, self.bound[at(side)]) {
            self.counts.passed_over += 1;
        } else {
            target.set(side, price, size, time);
            self.counts.changes += 1;
        }
        if last {
            self.close_event(time, target);
        }
    }

    /// After the last change of an event.
    #[inline]
    fn close_event(&mut self, time: UnixNanos, target: &mut impl Target) {
        if self.depth < usize::MAX {
            target.truncate(self.depth);
        }
        if self.bound != [None; 2] {
            let eaten = |side| self.bound[at(side)].is_some() && target.book().depth(side) == 0;
            if SIDES.into_iter().any(eaten) {
                self.lose(Reason::Snapshot, time, target);
            }
        }
    }

    /// Something else came before all of a snapshot did: records are missing.
    #[cold]
    fn break_off(&mut self, time: UnixNanos, target: &mut impl Target) {
        self.counts.broken += 1;
        self.lose(Reason::Snapshot, time, target);
    }

    /// The last price a snapshot knows of a side. A side that was cut has as many levels as the longer one.
    fn bound_of(&self, opening: Opening, side: Side) -> Option<Price> {
        let [bids, asks] = opening.levels;
        let levels = &self.levels[at(side)];
        let worst = levels.iter().map(|l| l.0);
        let worst = if side == Side::Buy { worst.min() } else { worst.max() };
        worst.filter(|_| opening.capped && levels.len() == bids.max(asks))
    }

    /// Whether a repeated snapshot tells what the book holds, as far as both know.
    fn agrees(&self, side: Side, bound: Option<Price>, book: &Book) -> bool {
        let own = self.bound[at(side)];
        let told = self.levels[at(side)].iter().take_while(|l| !beyond(side, l.0, own)).copied();
        let held = book.levels(side).take_while(|l| !beyond(side, l.price, bound));
        held.map(|l| (l.price, l.size)).eq(told)
    }

    /// Takes from a snapshot that agrees what lies beyond the bounds.
    fn extend(&mut self, bounds: [Option<Price>; 2], time: UnixNanos, target: &mut impl Target) {
        for side in SIDES {
            let own = self.bound[at(side)];
            for (price, size) in self.levels[at(side)].iter().filter(|l| beyond(side, l.0, own)) {
                target.set(side, *price, *size, time);
            }
            let farther = own.is_some() && bounds[at(side)].is_none_or(|bound| beyond(side, bound, own));
            if farther {
                self.bound[at(side)] = bounds[at(side)];
            }
        }
    }

    fn stand(&mut self, time: UnixNanos, target: &mut impl Target) {
        let (state, reason, time) = match (self.told, self.stage) {
            _ if self.silent => (BookState::Suspect, Reason::Timeout, time),
            (None, Stage::Waits(reason, since)) => (BookState::Cold, reason, since),
            (None, Stage::Whole) => (BookState::Cold, Reason::Start, time),
            (Some((BookState::Live, ..)), Stage::Waits(reason, since)) => (BookState::Syncing, reason, since),
            (Some((BookState::Live, ..)), Stage::Whole) if self.halted => (BookState::Halted, Reason::Venue, time),
            (Some((state, reason, since)), _) => (state, reason, since.max(self.standing.since)),
        };
        let since = if state == self.standing.state { self.standing.since } else { time };
        let standing = Standing { state, reason, since };
        if standing != self.standing {
            self.standing = standing;
            target.stand(standing);
        }
    }
}

/// A book that is followed.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// Where in the telling it is, and what it may be taken for.
    pub follower: Follower,
    /// Its levels.
    pub book: Book,
}
