//! What trades tell beyond bars: who was in a hurry, at which prices, which trades were large, how much prices moved.
//!
//! Each takes trades one at a time, can be merged with its like of another stretch of the same stream, and is exact,
//! except realised volatility, which is a logarithm and therefore a float.

use crate::bars::Trade;
use model::{Price, Qty, Side};
use std::collections::{BTreeMap, VecDeque};

/// Cumulative volume delta: what buyers took less what sellers took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cvd {
    /// Size mantissas that buyers took.
    pub bought: i128,
    /// Size mantissas that sellers took.
    pub sold: i128,
    /// Size mantissas of trades whose taker is not known: in neither.
    pub unknown: i128,
}

impl Cvd {
    /// Takes a trade.
    #[inline]
    pub fn push(&mut self, trade: &Trade) {
        *self.part(trade.taker) += i128::from(trade.size.0);
    }

    /// Takes a trade back.
    pub fn cancel(&mut self, trade: &Trade) {
        *self.part(trade.taker) -= i128::from(trade.size.0);
    }

    fn part(&mut self, taker: Option<Side>) -> &mut i128 {
        match taker {
            Some(Side::Buy) => &mut self.bought,
            Some(Side::Sell) => &mut self.sold,
            None => &mut self.unknown,
        }
    }

    /// Bought less sold, as size mantissa.
    pub fn delta(&self) -> i128 {
        self.bought - self.sold
    }

    /// All volume, as size mantissa.
    pub fn volume(&self) -> i128 {
        self.bought + self.sold + self.unknown
    }

    /// Both together.
    pub fn merge(&self, other: &Cvd) -> Cvd {
        Cvd { bought: self.bought + other.bought, sold: self.sold + other.sold, unknown: self.unknown + other.unknown }
    }
}

/// Volume by price: how much was traded in each bucket of prices, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeProfile {
    width: i64,
    buckets: BTreeMap<i64, Cvd>,
}

/// A stretch of prices that holds a given share of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueArea {
    /// Lowest price of the lowest bucket, as price mantissa; an `i128`, as buckets may reach past 64 bits.
    pub low: i128,
    /// The first price above the highest bucket.
    pub high: i128,
    /// Its volume, as size mantissa.
    pub volume: i128,
}

impl VolumeProfile {
    /// Of buckets that are `width` price mantissas wide and begin at multiples of it; `None` unless it is positive.
    pub fn new(width: Price) -> Option<VolumeProfile> {
        (width.0 > 0).then(|| VolumeProfile { width: width.0, buckets: BTreeMap::new() })
    }

    /// Takes a trade.
    pub fn push(&mut self, trade: &Trade) {
        self.buckets.entry(trade.price.0.div_euclid(self.width)).or_default().push(trade);
    }

    /// Takes a trade back.
    pub fn cancel(&mut self, trade: &Trade) {
        let bucket = trade.price.0.div_euclid(self.width);
        let left = self.buckets.entry(bucket).or_default();
        left.cancel(trade);
        if *left == Cvd::default() {
            self.buckets.remove(&bucket);
        }
    }

    /// The buckets, lowest first: each one's lowest price mantissa and what was traded in it.
    pub fn buckets(&self) -> impl Iterator<Item = (i128, Cvd)> + '_ {
        self.buckets.iter().map(|(bucket, cvd)| (self.low(*bucket), *cvd))
    }

    fn low(&self, bucket: i64) -> i128 {
        i128::from(bucket) * i128::from(self.width)
    }

    /// The bucket with the most volume (the lowest of equals): its lowest price mantissa and what was traded in it.
    pub fn point_of_control(&self) -> Option<(i128, Cvd)> {
        let (bucket, cvd) = self.control()?;
        Some((self.low(bucket), cvd))
    }

    fn control(&self) -> Option<(i64, Cvd)> {
        let most = self.buckets.iter().rev().max_by_key(|(_, cvd)| cvd.volume());
        most.map(|(bucket, cvd)| (*bucket, *cvd))
    }

    /// The stretch around the point of control that holds at least this many hundredths of the volume: from there on the
    /// neighbour with more volume is taken in, the upper one of equals.
    pub fn value_area(&self, percent: u8) -> Option<ValueArea> {
        let (control, first) = self.control()?;
        let total: i128 = self.buckets.values().map(Cvd::volume).sum();
        let mut above = self.buckets.range(control..).skip(1).peekable();
        let mut below = self.buckets.range(..control).rev().peekable();
        let (mut low, mut high, mut volume) = (control, control, first.volume());
        while volume * 100 < total * i128::from(percent) {
            let volume_of = |next: Option<&(&i64, &Cvd)>| next.map(|(_, cvd)| cvd.volume());
            let up = match (volume_of(above.peek()), volume_of(below.peek())) {
                (None, None) => break,
                (up, down) => up >= down,
            };
            let Some((bucket, cvd)) = (if up { above.next() } else { below.next() }) else { break };
            (low, high) = (low.min(*bucket), high.max(*bucket));
            volume += cvd.volume();
        }
        Some(ValueArea { low: self.low(low), high: self.low(high) + i128::from(self.width), volume })
    }

    /// Both together; `None` when their buckets differ in width.
    pub fn merge(&self, other: &VolumeProfile) -> Option<VolumeProfile> {
        let mut sum = self.clone();
        for (bucket, cvd) in &other.buckets {
            let there = sum.buckets.entry(*bucket).or_default();
            *there = there.merge(cvd);
        }
        (self.width == other.width).then_some(sum)
    }
}

/// When a trade is large, measured by the trades before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeRule {
    /// Larger than at least this many thousandths of them.
    Quantile {
        /// Thousandths, 1 to 1000.
        per_mille: u16,
    },
    /// At least so many times their mean size.
    Multiple {
        /// How many times.
        times: u32,
    },
}

/// Finds trades that are large beside the `window` trades before them. Until there are so many nothing is large.
///
/// Both rules are integer comparisons on exact sums and counts, so a replay finds the same trades.
#[derive(Clone, Debug)]
pub struct LargeTrades {
    rule: LargeRule,
    window: usize,
    /// The sizes in the window as they came, and in order for the quantile.
    recent: VecDeque<Qty>,
    ordered: Vec<Qty>,
    sum: i128,
}

impl LargeTrades {
    /// By a rule over the last `window` trades (at least 1).
    pub fn new(rule: LargeRule, window: usize) -> LargeTrades {
        let window = window.max(1);
        let ordered = Vec::with_capacity(window + 1);
        LargeTrades { rule, window, recent: VecDeque::with_capacity(window + 1), ordered, sum: 0 }
    }

    /// Takes a trade: whether it is large.
    pub fn push(&mut self, trade: &Trade) -> bool {
        let large = self.recent.len() == self.window && self.judge(trade.size);
        if self.recent.len() == self.window
            && let Some(gone) = self.recent.pop_front()
        {
            self.sum -= i128::from(gone.0);
            self.ordered.remove(self.ordered.partition_point(|size| *size < gone));
        }
        self.recent.push_back(trade.size);
        self.sum += i128::from(trade.size.0);
        self.ordered.insert(self.ordered.partition_point(|size| *size < trade.size), trade.size);
        large
    }

    fn judge(&self, size: Qty) -> bool {
        let window = self.window as i128;
        match self.rule {
            LargeRule::Quantile { per_mille } => {
                let smaller = self.ordered.partition_point(|other| *other < size) as i128;
                smaller * 1000 >= i128::from(per_mille) * window
            }
            LargeRule::Multiple { times } => i128::from(size.0) * window >= i128::from(times) * self.sum,
        }
    }
}

/// Realised volatility: the sum of squared logarithms of the ratio of each price to the one before.
///
/// The one float here. A logarithm has no exact value; the sum is good to about 15 digits and depends in the last ones
/// on how stretches are merged. Give it the closes of bars: between single trades it measures the spread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RealisedVolatility {
    first: Option<Price>,
    last: Option<Price>,
    /// The sum of squared log returns.
    pub sum: f64,
    /// How many returns.
    pub returns: u64,
}

impl RealisedVolatility {
    /// Takes the next price; one that is not positive has no logarithm and is left out.
    pub fn push(&mut self, price: Price) {
        if price.0 <= 0 {
            return;
        }
        if let Some(last) = self.last {
            self.add(last, price);
        }
        self.first.get_or_insert(price);
        self.last = Some(price);
    }

    fn add(&mut self, from: Price, to: Price) {
        let step = (to.0 as f64 / from.0 as f64).ln();
        self.sum += step * step;
        self.returns += 1;
    }

    /// The square root of the sum: the volatility over the whole stretch, as a fraction.
    pub fn volatility(&self) -> f64 {
        self.sum.sqrt()
    }

    /// The volatility of a year that has so many returns (525,600 of minute bars that never pause).
    pub fn annualised(&self, returns_a_year: f64) -> Option<f64> {
        (self.returns > 0).then(|| (self.sum / self.returns as f64 * returns_a_year).sqrt())
    }

    /// This stretch and the one after it, with the return from one to the other.
    pub fn merge(&self, after: &RealisedVolatility) -> RealisedVolatility {
        let mut both = *self;
        if let (Some(last), Some(first)) = (self.last, after.first) {
            both.add(last, first);
        }
        both.sum += after.sum;
        both.returns += after.returns;
        both.first = self.first.or(after.first);
        both.last = after.last.or(self.last);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::UnixNanos;

    fn trade(price: i64, size: i64, taker: Option<Side>) -> Trade {
        Trade { time: UnixNanos(1), id: 1, price: Price(price), size: Qty(size), taker }
    }

    const BUY: Option<Side> = Some(Side::Buy);
    const SELL: Option<Side> = Some(Side::Sell);

    #[test]
    fn the_delta_leaves_unknown_takers_out() {
        let mut cvd = Cvd::default();
        for (size, taker) in [(5, BUY), (2, SELL), (7, None), (1, BUY)] {
            cvd.push(&trade(1, size, taker));
        }
        assert_eq!((cvd.delta(), cvd.volume()), (4, 15));
        cvd.cancel(&trade(1, 5, BUY));
        assert_eq!(cvd.merge(&cvd).delta(), -2);
    }

    #[test]
    fn a_profile_knows_where_the_volume_was() {
        let mut profile = VolumeProfile::new(Price(10)).expect("a width");
        for (price, size) in [(101, 4), (109, 2), (115, 10), (128, 5), (-3, 1)] {
            profile.push(&trade(price, size, BUY));
        }
        let lows: Vec<i128> = profile.buckets().map(|(low, _)| low).collect();
        assert_eq!(lows, [-10, 100, 110, 120]);
        assert_eq!(profile.point_of_control().map(|(low, cvd)| (low, cvd.volume())), Some((110, 10)));
        assert_eq!(profile.value_area(70), Some(ValueArea { low: 100, high: 120, volume: 16 }));
        assert_eq!(profile.value_area(90), Some(ValueArea { low: 100, high: 130, volume: 21 }));
        assert_eq!(profile.value_area(100).map(|area| area.volume), Some(22));
        let doubled = profile.merge(&profile).expect("the same width");
        assert_eq!(doubled.value_area(100).map(|area| area.volume), Some(44));
        assert_eq!(profile.merge(&VolumeProfile::new(Price(5)).expect("a width")), None);
        profile.cancel(&trade(115, 10, BUY));
        assert_eq!(profile.buckets().count(), 3);
        assert_eq!(VolumeProfile::new(Price(0)), None);
    }

    #[test]
    fn a_large_trade_is_large_beside_those_before_it() {
        let sizes = [1, 2, 3, 4, 100, 5, 9];
        let found = |rule| {
            let mut large = LargeTrades::new(rule, 4);
            sizes.map(|size| large.push(&trade(1, size, BUY)))
        };
        // Windows before the last three: 1 2 3 4; 2 3 4 100; 3 4 100 5.
        assert_eq!(found(LargeRule::Multiple { times: 3 }), [false, false, false, false, true, false, false]);
        assert_eq!(found(LargeRule::Quantile { per_mille: 750 }), [false, false, false, false, true, true, true]);
        assert_eq!(found(LargeRule::Quantile { per_mille: 1000 }), [false, false, false, false, true, false, false]);
    }

    #[test]
    fn volatility_of_stretches_is_that_of_the_whole() {
        let prices = [100, 110, 99, 0, 105, 107];
        let of = |prices: &[i64]| {
            let mut realised = RealisedVolatility::default();
            prices.iter().for_each(|p| realised.push(Price(*p)));
            realised
        };
        let (whole, both) = (of(&prices), of(&prices[..2]).merge(&of(&prices[2..])));
        assert_eq!((whole.returns, both.returns), (4, 4));
        assert!((whole.sum - both.sum).abs() < 1e-15);
        let by_hand: f64 = [(110.0, 100.0), (99.0, 110.0), (105.0, 99.0), (107.0, 105.0)]
            .iter()
            .map(|(to, from): &(f64, f64)| (to / from).ln().powi(2))
            .sum();
        assert!((whole.sum - by_hand).abs() < 1e-15);
        assert!(whole.volatility() > 0.1549 && whole.volatility() < 0.1550);
        assert_eq!(RealisedVolatility::default().annualised(525_600.0), None);
    }
}
