//! What traders do: orders, cancels and trades of one instrument, drawn around its worth.
//! (seed, instrument, number), worth -> [`Flow::act`] -> instructions to the matching book.
//!
//! Of 70 events 28 are takers, 23 change the touch and 19 the levels behind it: the load mix is stated by that. Quotes
//! that a jump of the worth left on the wrong side are taken by those who saw it first, or withdrawn. Sizes have heavy
//! tails. What the constants stand for was fitted to recorded sessions by the report.

use model::{Price, Qty, Side};

use super::Pair;
use super::draw::{Draw, ONE};
use super::event::Event;
use super::matching::Matching;

/// Events of each kind in [`KINDS`] of them, on average; deep is the rest.
pub(crate) const TAKERS: u64 = 28;
pub(crate) const TOUCHES: u64 = 23;
pub(crate) const KINDS: u64 = 70;
/// Trades of a taker on average, in hundredths: what a sweep meets beyond its first order.
pub(crate) const TRADES_OF_TAKER_PERCENT: u64 = 115;

/// A side with fewer levels is not consumed further.
pub(crate) const SIDE_LEVELS_MIN: usize = 12;
/// A side has so many levels more than asked for, and at most so many more again.
const LEVELS_SPARE: usize = 8;
const LEVELS_SLACK: usize = 16;
/// Orders that a level starts with at most, and that one cancel of a whole level takes out at most.
const START_ORDERS_MAX: i64 = 3;
/// A level with so many orders gets no further one.
const LEVEL_ORDERS_MAX: u32 = 8;
/// Levels that one taker or one withdrawal goes through at most.
const SWEEP_LEVELS_MAX: i64 = 6;

/// After a jump one withdrawal goes through so many levels more, and so many are laid.
const JUMP_LEVELS_MAX: i64 = 40;

/// Orders that follow a quote that went far ahead, at most.
const FOLLOWERS_MAX: i64 = 4;
/// Levels behind the best that see the most changes.
const NEAR_LEVELS: usize = 5;

/// Usual distance between levels near the touch, hundredths of a basis point of the price.
const GAP: i128 = 8;

/// Median sizes as parts of the usual one, and how far they spread, in doublings (16 bits): of orders at the touch, of
/// those behind it, and of takers.
const TOUCH_SPREAD: i64 = 3 * ONE as i64 / 2;
const DEEP_PART: i64 = 6;
const DEEP_SPREAD: i64 = 2 * ONE as i64;
const TAKEN_PART: i64 = 1_000;
const TAKEN_SPREAD: i64 = 13 * ONE as i64 / 4;

/// The traders of one instrument.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    seed: u64,
    stream: u64,
    /// Usual distance between levels near the touch, in price units.
    gap: i64,
    levels: usize,
    tick: i64,
    lot: i64,
    usual: i64,
    /// Whether sizes come in hundreds: shares.
    shares: bool,
    /// The worth as quotes have it.
    seen: i64,
}

impl Flow {
    pub(crate) fn new(
        (seed, stream): (u64, u64),
        pair: &Pair,
        (start, usual): (Price, Qty),
        worth: Price,
        levels: usize,
    ) -> Self {
        Self {
            seed,
            stream,
            gap: gap(pair, start, levels),
            levels,
            tick: pair.tick.0,
            lot: pair.lot.0.max(1),
            usual: usual.0,
            shares: pair.size_scale == 0,
            seen: worth.0,
        }
    }

    /// New orders keep to another tick and lot from now on; those in the book stay as they are.
    pub(crate) fn regrid(&mut self, tick: Price, lot: Qty) {
        (self.tick, self.lot) = (tick.0, lot.0.max(1));
    }

    /// Puts the orders of the beginning into an empty book.
    pub(crate) fn fill(&self, book: &mut Matching, out: &mut Event) {
        let mut draw = Draw::new(self.seed, self.stream.rotate_left(1), 0);
        for side in [Side::Buy, Side::Sell] {
            let mut price = self.quote(side);
            for index in 0..self.levels.max(SIDE_LEVELS_MIN) + LEVELS_SPARE {
                for _ in 0..draw.within(1, START_ORDERS_MAX) {
                    if price > 0 {
                        book.submit(side, Some(Price(price)), self.size(index, &mut draw), out);
                    }
                }
                price = self.behind(side, price, &mut draw);
            }
        }
    }

    /// What event `number` is, given what the instrument is worth.
    pub(crate) fn act(&mut self, number: u64, worth: Price, book: &mut Matching, out: &mut Event) {
        self.seen = worth.0;
        let mut draw = Draw::new(self.seed, self.stream, number);
        let kind = draw.below(KINDS);
        if kind < TAKERS {
            return self.take(&mut draw, book, out);
        }
        if kind < TAKERS + TOUCHES {
            self.touch(&mut draw, book, out);
            if out.changes.is_empty() {
                self.alter(Side::Buy, 0, &mut draw, book, out);
            }
            return;
        }
        for _ in 0..draw.within(1, 3) {
            self.deep(&mut draw, book, out);
        }
    }

    /// The best price that traders would quote on a side: bids at or below the worth, asks above it.
    fn quote(&self, side: Side) -> i64 {
        match side {
            Side::Buy => floor(self.seen, self.tick),
            Side::Sell => floor(self.seen, self.tick) + self.tick,
        }
    }

    /// The next price further from the other side, one gap away or so.
    fn behind(&self, side: Side, price: i64, draw: &mut Draw) -> i64 {
        let ticks = draw.within(1, (2 * self.gap / self.tick - 1).max(1));
        match side {
            Side::Buy => floor(price, self.tick) - ticks * self.tick,
            Side::Sell => floor(price, self.tick) + ticks * self.tick,
        }
    }

    fn best(&self, side: Side, book: &Matching) -> i64 {
        book.book().best(side).expect("a side never runs empty: its last levels are not consumed").price.0
    }

    /// Whether a price is on the wrong side of the worth.
    fn is_stale(&self, side: Side, price: i64) -> bool {
        match side {
            Side::Buy => price > self.seen,
            Side::Sell => price <= self.seen,
        }
    }

    /// How far a taker goes who knows the worth: to the last price of a side that is wrong, the best one at least.
    fn reach(&self, side: Side, best: i64) -> i64 {
        let last = floor(self.seen, self.tick);
        match side {
            Side::Buy => best.min(last + self.tick),
            Side::Sell => best.max(last),
        }
    }

    fn stale_side(&self, book: &Matching) -> Option<Side> {
        [Side::Buy, Side::Sell].into_iter().find(|side| self.is_stale(*side, self.best(*side, book)))
    }

    fn is_thin(side: Side, book: &Matching, taken: i64) -> bool {
        book.book().depth(side) <= SIDE_LEVELS_MIN + taken as usize
    }

    /// The size of an order `rank` levels behind the touch, where the largest stand.
    fn size(&self, rank: usize, draw: &mut Draw) -> Qty {
        match rank {
            0 => self.rounded(self.usual, TOUCH_SPREAD, draw),
            _ => self.rounded(self.usual / DEEP_PART, DEEP_SPREAD, draw),
        }
    }

    /// What a taker wants, if it does not go for all it can get.
    fn wanted(&self, draw: &mut Draw) -> i64 {
        let (part, spread) = if self.shares { (4, 2 * ONE as i64) } else { (TAKEN_PART, TAKEN_SPREAD) };
        self.rounded(self.usual / part, spread, draw).0
    }

    /// A lognormal multiple of a usual size, in lots; many traders like round numbers.
    fn rounded(&self, usual: i64, deviation: i64, draw: &mut Draw) -> Qty {
        let times = i128::from(draw.lognormal(deviation).min(4_096 * ONE));
        let mut size = ((i128::from(usual.max(1)) * times) >> 16) as i64;
        if self.shares {
            if size >= 50 && draw.chance(700) {
                size = (size + 50) / 100 * 100;
            }
        } else if draw.chance(300) {
            let digit = 10_i64.pow(size.max(1).ilog10());
            size = size / digit.max(1) * digit;
        }
        Qty((size / self.lot).max(1) * self.lot)
    }

    /// A taker meets what rests.
    fn take(&mut self, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        let stale = self.stale_side(book).filter(|_| draw.chance(850));
        let side = stale.unwrap_or(if draw.chance(500) { Side::Buy } else { Side::Sell });
        let best = self.best(side, book);
        let (mut levels, mut limit) = (1, Some(best));
        if stale.is_some() {
            (levels, limit) = (draw.within(1, 3), Some(self.reach(side, best)));
        } else if draw.chance(20) {
            (levels, limit) = (draw.within(2, SWEEP_LEVELS_MAX), None);
        } else if draw.chance(333) {
            limit = None;
        }
        if Self::is_thin(side, book, levels) {
            // The last levels are refilled rather than consumed: somebody shows the next part of an iceberg.
            levels = 1;
            book.submit(side, Some(Price(best)), self.size(0, draw), out);
        }
        let mut room = 0;
        let mut last = 0;
        for level in book.book().levels(side).take(levels as usize) {
            if levels > 1 && limit.is_some() && !self.is_stale(side, level.price.0) {
                break;
            }
            last = level.size.0;
            room += last;
        }
        let room = if room == 0 { book.book().size(side, Price(best)).0 } else { room };
        let wanted = self.wanted(draw);
        // Most takers look at what stands first and take no more.
        let oldest = book.place(side, Price(best), 0).map_or(room, |place| book.size(place).0);
        let wanted = if draw.chance(850) { wanted.min(oldest) } else { wanted };
        let size = if levels > 1 {
            // The last level is met in part, as often as not.
            if draw.chance(500) { room } else { room - last / 2 }
        } else if Self::is_thin(side, book, 0) {
            wanted.min(room - 1)
        } else {
            wanted.min(room)
        };
        let size = (size / self.lot).max(1) * self.lot;
        book.submit(side.opposite(), limit.map(Price), Qty(size.min(room)), out);
        // What was taken is offered again soon, where the worth still allows it.
        if self.best(side, book) != best && draw.chance(800) {
            self.improve(side, draw, book, out);
        }
    }

    /// The best level of a side changes without a trade.
    fn touch(&mut self, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        if let Some(side) = self.stale_side(book) {
            // After a jump more than a few levels are wrong, and as many are missing on the other side.
            let off = (self.best(side, book) - self.seen).abs() / (8 * self.gap);
            let off = off.min(JUMP_LEVELS_MAX);
            self.withdraw(side, draw.within(1, 4) + off, draw, book, out);
            // Whoever was first to see it quotes anew on both sides.
            for side in [side.opposite(), side] {
                if draw.chance(850) {
                    self.improve(side, draw, book, out);
                }
            }
            if off > 0 {
                self.lay(side.opposite(), off, draw, book, out);
            }
            return;
        }
        let side = if draw.chance(500) { Side::Buy } else { Side::Sell };
        let room = |side| (self.quote(side) - self.best(side, book)) * sign(side);
        let wider = if room(Side::Buy) > room(Side::Sell) { Side::Buy } else { Side::Sell };
        if room(wider) > 0 && draw.chance(850) {
            self.improve(wider, draw, book, out);
            return self.improve(wider.opposite(), draw, book, out);
        }
        self.alter(side, 0, draw, book, out);
    }

    /// A better quote than the best, where the worth allows one.
    fn improve(&mut self, side: Side, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        let (best, quote) = (self.best(side, book), self.quote(side));
        let other = self.best(side.opposite(), book);
        let ticks = (quote - best) * sign(side) / self.tick;
        if ticks <= 0 {
            return;
        }
        let ticks = if draw.chance(850) { ticks } else { draw.within(1, ticks) };
        let price = floor(best, self.tick) + ticks * self.tick * sign(side);
        // Never a taker: stale quotes of the other side stay where they are until somebody takes them.
        if (other - price) * sign(side) <= 0 || (price - best) * sign(side) <= 0 {
            return;
        }
        book.submit(side, Some(Price(price)), self.size(0, draw), out);
        // Others follow a quote that went far ahead, and stand behind it.
        let (mut behind, bare) = (price, (price - best).abs() / (2 * self.gap));
        for rank in 1..=bare.min(FOLLOWERS_MAX) {
            behind = self.behind(side, behind, draw);
            book.submit(side, Some(Price(behind)), self.size(rank as usize, draw), out);
        }
    }

    /// Cancels stale levels, the best first.
    fn withdraw(&mut self, side: Side, levels: i64, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        for _ in 0..levels {
            let best = self.best(side, book);
            if !self.is_stale(side, best) {
                return;
            }
            if Self::is_thin(side, book, 0) {
                // Somebody has to stay in the market, where it is now.
                self.lay(side, 1, draw, book, out);
            }
            self.clear_level(side, Price(best), book, out);
        }
    }

    /// Orders on so many levels and until the side is not thin, from where traders would quote now.
    fn lay(&self, side: Side, levels: i64, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        let other = self.best(side.opposite(), book);
        let (mut price, mut laid) = (self.quote(side), 0);
        while (laid < levels || Self::is_thin(side, book, 0)) && price > 0 {
            if (other - price) * sign(side) > 0 {
                book.submit(side, Some(Price(price)), self.size(laid as usize, draw), out);
                laid += 1;
            }
            price = self.behind(side, price, draw);
        }
    }

    fn clear_level(&self, side: Side, price: Price, book: &mut Matching, out: &mut Event) {
        while let Some(place) = book.place(side, price, 0) {
            book.cancel(place, out);
        }
    }

    /// A level `rank` behind the best gains, loses or changes an order.
    fn alter(&mut self, side: Side, rank: usize, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        let price = book.price(side, rank).expect("the rank was drawn below the side's depth");
        let count = book.count(side, price);
        let choice = draw.below(100);
        let joins = choice < 42 || count == 1 && (choice < 60 || Self::is_thin(side, book, 0));
        if joins && count < LEVEL_ORDERS_MAX {
            return book.submit(side, Some(price), self.size(rank, draw), out);
        }
        let place = book.place(side, price, draw.below(count.into()) as u32);
        let place = place.expect("a level of the book has orders");
        let left = book.size(place).0;
        if choice >= 85 && left > self.lot {
            let kept = (left / self.lot * draw.within(1, 15) / 16).max(1) * self.lot;
            // An order from before the lot changed may be none of its multiples.
            return book.reduce(place, Qty(kept.min(left - 1)), out);
        }
        if count == 1 && Self::is_thin(side, book, 0) {
            book.submit(side, Some(price), self.size(rank, draw), out);
        }
        book.cancel(place, out);
    }

    /// One level behind the best changes, and the number of levels stays about what was asked for.
    fn deep(&mut self, draw: &mut Draw, book: &mut Matching, out: &mut Event) {
        let target = self.levels.max(SIDE_LEVELS_MIN) + LEVELS_SPARE;
        let off = |side| book.book().depth(side).abs_diff(target);
        let side = match off(Side::Buy).cmp(&off(Side::Sell)) {
            std::cmp::Ordering::Greater => Side::Buy,
            std::cmp::Ordering::Less => Side::Sell,
            std::cmp::Ordering::Equal if draw.chance(500) => Side::Buy,
            std::cmp::Ordering::Equal => Side::Sell,
        };
        let depth = book.book().depth(side);
        let mut any = || 1 + draw.below(depth as u64 - 1) as usize;
        // Most changes are near the touch, as at real venues.
        let rank = any().min(any()).min(any());
        let rank = if draw.chance(300) { rank.min(NEAR_LEVELS) } else { rank };
        let level =
            |rank: usize, book: &Matching| book.price(side, rank).expect("the rank was drawn below the side's depth");
        if depth > target + LEVELS_SLACK {
            let worst = level(depth - 1, book);
            return self.clear_level(side, worst, book, out);
        }
        if depth < target || draw.chance(450) {
            // By distance and not by rank, so that what a move left bare fills up; few levels grow at the far end too.
            let from = match depth < target && draw.chance(400) {
                true => level(depth - 1, book).0,
                false => self.best(side, book) - (rank as i64 - 1) * self.gap * sign(side),
            };
            let price = self.behind(side, from, draw);
            if price > 0 && book.count(side, Price(price)) < LEVEL_ORDERS_MAX {
                return book.submit(side, Some(Price(price)), self.size(rank, draw), out);
            }
        }
        self.alter(side, rank, draw, book, out);
    }
}

/// A tick at least; so wide a book finds room above zero.
fn gap(pair: &Pair, start: Price, levels: usize) -> i64 {
    let part = (i128::from(start.0) * GAP / 1_000_000) as i64;
    part.min(start.0 / (4 * levels.max(1) as i64)).max(pair.tick.0)
}

/// The next multiple of `step` at or below.
fn floor(price: i64, step: i64) -> i64 {
    price.div_euclid(step) * step
}

/// What makes a price of a side better.
fn sign(side: Side) -> i64 {
    if side == Side::Buy { 1 } else { -1 }
}
