//! The book: two sides that need not know of each other.

use crate::half::Half;
use crate::{Effect, Level};
use model::{Price, Qty, Side};

/// A book that is quick to change and to read from the touch. A side takes 16 to 64 bytes for each level far from the
/// touch and, from 64 levels on, a window near it that grows with their number: 33 KiB for 1,000 levels, 520 KiB for
/// more than 8,000. Once it has grown to its levels it allocates no more.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bids: Half<true>,
    asks: Half<false>,
}

impl Book {
    /// An empty book with room for `levels` a side.
    pub fn with_capacity(levels: usize) -> Book {
        Book { bids: Half::with_capacity(levels), asks: Half::with_capacity(levels) }
    }

    /// Sets a level to an absolute size; 0 (or less) removes it.
    #[inline]
    pub fn set(&mut self, side: Side, price: Price, size: Qty) -> Effect {
        match side {
            Side::Buy => self.bids.set(price, size),
            Side::Sell => self.asks.set(price, size),
        }
    }

    /// Replaces a side by these levels, each an absolute size, as clearing it and setting each in turn would: of equal
    /// prices the last counts, and a size of 0 (or less) is no level. A single pass when they come best first.
    pub fn load(&mut self, side: Side, levels: &[(Price, Qty)]) {
        match side {
            Side::Buy => self.bids.load(levels),
            Side::Sell => self.asks.load(levels),
        }
    }

    /// The size at a price; 0 where nothing rests.
    #[inline]
    pub fn size(&self, side: Side, price: Price) -> Qty {
        match side {
            Side::Buy => self.bids.size(price),
            Side::Sell => self.asks.size(price),
        }
    }

    /// Keeps the best `depth` levels of each side.
    #[inline]
    pub fn truncate(&mut self, depth: usize) {
        self.bids.truncate(depth);
        self.asks.truncate(depth);
    }

    /// Forgets everything, keeps the room.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// The levels of a side, best first, without copying.
    #[inline]
    pub fn levels(&self, side: Side) -> impl ExactSizeIterator<Item = Level> + '_ {
        match side {
            Side::Buy => Levels { bids: Some(self.bids.levels()), asks: None, left: self.bids.depth() },
            Side::Sell => Levels { bids: None, asks: Some(self.asks.levels()), left: self.asks.depth() },
        }
    }

    /// Copies the best levels of a side, best first, as many as there are and have room: how many. What [`Book::levels`]
    /// tells one by one, for who reads the same few again and again.
    #[inline(always)]
    pub fn copy_best<const N: usize>(&self, side: Side, into: &mut [Level; N]) -> usize {
        match side {
            Side::Buy => self.bids.copy_best(into),
            Side::Sell => self.asks.copy_best(into),
        }
    }

    /// How many levels a side has.
    #[inline]
    pub fn depth(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.depth(),
            Side::Sell => self.asks.depth(),
        }
    }

    /// The best level of a side.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Level> {
        match side {
            Side::Buy => self.bids.best(),
            Side::Sell => self.asks.best(),
        }
    }

    /// How often bids and asks changed: each level that was set or removed; a load, a cut, a clearing and a new scale once
    /// each. Who sees the same number again sees the same levels.
    #[inline]
    pub fn changes(&self) -> [u64; 2] {
        [self.bids.changes(), self.asks.changes()]
    }

    /// Bytes of memory it has asked for; of large empty stretches the system gives none until they are used.
    pub fn bytes(&self) -> usize {
        size_of::<Book>() + self.bids.bytes() + self.asks.bytes()
    }

    /// Best bid at or above best ask: judge only after a whole event.
    #[inline]
    pub fn is_crossed(&self) -> bool {
        match (self.bids.best(), self.asks.best()) {
            (Some(bid), Some(ask)) => bid.price >= ask.price,
            _ => false,
        }
    }

    /// Multiplies every price and size mantissa by a power of ten, as when an instrument's scale grows. `false`, and
    /// nothing done, when one would not fit.
    pub fn rescale(&mut self, price_factor: i64, size_factor: i64) -> bool {
        let fits =
            |l: Level| l.price.0.checked_mul(price_factor).is_some() && l.size.0.checked_mul(size_factor).is_some();
        if !self.bids.levels().chain(self.asks.levels()).all(fits) {
            return false;
        }
        self.bids.rescale(price_factor, size_factor);
        self.asks.rescale(price_factor, size_factor);
        true
    }
}

/// Books are equal when their levels are, however they are kept.
impl PartialEq for Book {
    fn eq(&self, other: &Book) -> bool {
        [Side::Buy, Side::Sell].into_iter().all(|side| self.levels(side).eq(other.levels(side)))
    }
}

impl Eq for Book {}

/// The levels of one of the sides.
struct Levels<B, A> {
    bids: Option<B>,
    asks: Option<A>,
    left: usize,
}

impl<B: Iterator<Item = Level>, A: Iterator<Item = Level>> Iterator for Levels<B, A> {
    type Item = Level;

    #[inline]
    fn next(&mut self) -> Option<Level> {
        self.left = self.left.saturating_sub(1);
        match &mut self.bids {
            Some(bids) => bids.next(),
            None => self.asks.as_mut().and_then(Iterator::next),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<B: Iterator<Item = Level>, A: Iterator<Item = Level>> ExactSizeIterator for Levels<B, A> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mark, PlainBook};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(Side, i64, i64),
        /// Many levels at once, as a snapshot brings them.
        Fill(Side, i64, i64, usize),
        /// The same as a whole side.
        Load(Side, i64, i64, usize),
        /// Deletes the best levels, so that the touch moves away.
        Eat(Side, usize),
        Truncate(usize),
        Rescale(i64, i64),
        Clear,
    }

    fn side() -> impl Strategy<Value = Side> {
        prop_oneof![Just(Side::Buy), Just(Side::Sell)]
    }

    /// Prices near, 10 % away, off the step, anywhere, and at the ends of what 64 bits hold.
    fn price() -> impl Strategy<Value = i64> {
        prop_oneof![
            20 => (6_000i64..6_060).prop_map(|p| p * 1_000),
            10 => (5_000i64..7_000).prop_map(|p| p * 1_000),
            5 => (0i64..80_000).prop_map(|p| p * 1_000),
            2 => 5_990_000i64..6_070_000,
            1 => any::<i64>(),
            1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1), Just(1 << 62), Just(-(1 << 62))],
        ]
    }

    fn spacing() -> impl Strategy<Value = i64> {
        prop_oneof![Just(1_000i64), Just(-1_000), Just(3_000), Just(1), Just(100_000), Just(1 << 50), Just(0)]
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![Just(0), Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), 1i64..5, 1i64..5, 1i64..5];
        prop_oneof![
            60 => (side(), price(), size).prop_map(|(s, p, q)| Step::Set(s, p, q)),
            4 => (side(), price(), spacing(), 1usize..200).prop_map(|(s, p, by, n)| Step::Fill(s, p, by, n)),
            3 => (side(), price(), spacing(), 0usize..300).prop_map(|(s, p, by, n)| Step::Load(s, p, by, n)),
            2 => (side(), 0usize..100).prop_map(|(s, n)| Step::Eat(s, n)),
            2 => (0usize..150).prop_map(Step::Truncate),
            1 => prop_oneof![Just((1, 1)), Just((10, 1)), Just((1, 10))].prop_map(|(p, q)| Step::Rescale(p, q)),
            1 => Just(Step::Clear),
        ]
    }

    fn both(fast: &mut Book, plain: &mut PlainBook, side: Side, price: i64, size: i64) {
        let (price, size) = (Price(price), Qty(size));
        assert_eq!(fast.set(side, price, size), plain.set(side, price, size), "{side:?} {price:?} {size:?}");
    }

    fn run(fast: &mut Book, plain: &mut PlainBook, step: Step) {
        match step {
            Step::Set(side, price, size) => both(fast, plain, side, price, size),
            Step::Fill(side, from, by, count) => {
                for n in 0..count as i64 {
                    both(fast, plain, side, from.wrapping_add(by.wrapping_mul(n)), 1 + n % 7);
                }
            }
            Step::Load(side, from, by, count) => {
                // Sizes are now and then 0, and a spacing of 0 repeats one price.
                let size = |n: i64| Qty(if from % 3 == 0 { n % 5 } else { 1 + n % 5 });
                let levels: Vec<(Price, Qty)> =
                    (0..count as i64).map(|n| (Price(from.wrapping_add(by.wrapping_mul(n))), size(n))).collect();
                fast.load(side, &levels);
                plain.load(side, &levels);
            }
            Step::Eat(side, count) => {
                for level in plain.levels(side).into_iter().take(count) {
                    both(fast, plain, side, level.price.0, 0);
                }
            }
            Step::Truncate(depth) => {
                fast.truncate(depth);
                plain.truncate(depth);
            }
            Step::Rescale(price, size) => {
                assert_eq!(fast.rescale(price, size), plain.rescale(price, size));
            }
            Step::Clear => {
                fast.clear();
                plain.clear();
            }
        }
    }

    fn compare(fast: &Book, plain: &PlainBook) {
        let bests = [Side::Buy, Side::Sell].map(|side| {
            let levels = plain.levels(side);
            assert_eq!(fast.levels(side).len(), levels.len());
            assert_eq!(fast.depth(side), levels.len());
            assert!(fast.levels(side).eq(levels.iter().copied()), "{side:?}");
            assert_eq!(fast.best(side), levels.first().copied());
            compare_best::<1>(fast, side, &levels);
            compare_best::<10>(fast, side, &levels);
            compare_best::<200>(fast, side, &levels);
            levels.first().map(|l| l.price)
        });
        assert_eq!(fast.is_crossed(), matches!(bests, [Some(bid), Some(ask)] if bid >= ask));
    }

    fn compare_best<const N: usize>(fast: &Book, side: Side, levels: &[Level]) {
        let untouched = Level { price: Price(3), size: Qty(-3) };
        let mut best = [untouched; N];
        let count = fast.copy_best(side, &mut best);
        assert_eq!((count, &best[..count]), (N.min(levels.len()), &levels[..count]));
        assert!(best[count..].iter().all(|level| *level == untouched));
    }

    fn compare_sizes(fast: &Book, plain: &PlainBook) {
        for side in [Side::Buy, Side::Sell] {
            for l in plain.levels(side) {
                for price in [l.price, Price(l.price.0.wrapping_add(1))] {
                    assert_eq!(fast.size(side, price), plain.size(side, price));
                }
            }
        }
    }

    /// Every answer, at depths, prices and sizes that depend on the book.
    fn compare_answers(fast: &Book, plain: &PlainBook, marks: &mut [Mark; 2], n: usize) {
        assert_eq!(fast.mid(), plain.mid());
        assert_eq!(fast.weighted_mid(), plain.weighted_mid());
        assert_eq!(fast.microprice(n), plain.microprice(n));
        assert_eq!(fast.spread(), plain.spread());
        assert_eq!(fast.spread_ticks(Price(n as i64)), plain.spread_ticks(Price(n as i64)));
        assert_eq!(fast.imbalance(n), plain.imbalance(n));
        assert_eq!(fast.since(&mut marks[0]), plain.since(&mut marks[1]));
        for side in [Side::Buy, Side::Sell] {
            assert_eq!(fast.total(side, n), plain.total(side, n));
            let bp = (n * n) as u32;
            assert_eq!(fast.total_within(side, bp), plain.total_within(side, bp));
            let levels = plain.levels(side);
            let near =
                levels.get(n).or(levels.last()).map_or(Price(0), |l| Price(l.price.0.wrapping_add(n as i64 % 3)));
            assert_eq!(fast.total_to(side, near), plain.total_to(side, near));
            let size = Qty(i64::try_from(plain.total(side, n).size).unwrap_or(i64::MAX) - n as i64 % 2);
            assert_eq!(fast.fill(side.opposite(), size), plain.fill(side.opposite(), size));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_book(steps in prop::collection::vec(step(), 0..400)) {
            let (mut fast, mut plain, mut marks) = (Book::default(), PlainBook::new(), [Mark::default(); 2]);
            for (n, step) in steps.into_iter().enumerate() {
                run(&mut fast, &mut plain, step);
                compare(&fast, &plain);
                if n % 8 == 0 {
                    compare_sizes(&fast, &plain);
                    compare_answers(&fast, &plain, &mut marks, n % 150);
                }
            }
        }

        /// A deep book on one step whose touch wanders and now and then jumps a tenth of the price.
        #[test]
        fn agrees_while_the_touch_wanders(moves in prop::collection::vec((-300i64..300, 0u8..40, any::<u32>()), 1..40)) {
            let (mut fast, mut plain) = (Book::with_capacity(100), PlainBook::new());
            let mut mid = 6_000_000i64;
            for (by, jump, seed) in moves {
                mid += if jump == 0 { by.signum() * mid / 10 } else { by * 10 };
                let mut random = u64::from(seed) | 1;
                for _ in 0..120 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (away, size) = ((random >> 33) % 30_000 * ((random >> 50) & 3) / 3, (random >> 60) as i64 - 6);
                    let side = if random >> 63 == 0 { Side::Buy } else { Side::Sell };
                    let price = if side == Side::Buy { mid - away as i64 } else { mid + 1 + away as i64 };
                    both(&mut fast, &mut plain, side, price * 1_000_000, size);
                }
                for side in [Side::Buy, Side::Sell] {
                    for level in plain.levels(side) {
                        let passed = if side == Side::Buy { level.price.0 > mid * 1_000_000 } else { level.price.0 <= mid * 1_000_000 };
                        if passed {
                            both(&mut fast, &mut plain, side, level.price.0, 0);
                        }
                    }
                }
                compare(&fast, &plain);
                compare_sizes(&fast, &plain);
            }
        }
    }

    #[test]
    fn a_scale_that_does_not_fit_changes_nothing() {
        let mut b = Book::default();
        b.set(Side::Buy, Price(7), Qty(i64::MAX / 5));
        let before = b.clone();
        assert!(!b.rescale(1, 10));
        assert_eq!(b, before);
        assert!(b.rescale(10, 1));
        assert_eq!(b.best(Side::Buy).map(|l| l.price), Some(Price(70)));
    }
}
