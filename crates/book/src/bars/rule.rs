//! When a bar is full.

use super::Bar;
use model::{Notional, Qty, UnixNanos};
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;

/// Why there can be no such bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Time bars lie on a grid that begins anew each midnight, UTC.
    #[error("an interval of {interval:?}: give whole seconds that divide a day, 1 s to 1 d")]
    Interval {
        /// What was asked for.
        interval: Duration,
    },
    /// A bar that is full before it has a trade.
    #[error("a limit of {limit}: give one above 0")]
    Limit {
        /// What was asked for.
        limit: i128,
    },
}

/// The length of time bars: whole seconds that divide a day, so that bars begin at the same times each day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(u64);

impl Interval {
    /// One second.
    pub const SECOND: Interval = Interval(SECOND_NS);
    /// One minute.
    pub const MINUTE: Interval = Interval(60 * SECOND_NS);
    /// One hour.
    pub const HOUR: Interval = Interval(3600 * SECOND_NS);
    /// One day, from midnight to midnight UTC.
    pub const DAY: Interval = Interval(DAY_NS);

    /// Of this length.
    ///
    /// # Errors
    /// When it is not whole seconds or does not divide a day.
    pub fn new(interval: Duration) -> Result<Interval, RuleError> {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(0);
        if nanos == 0 || !nanos.is_multiple_of(SECOND_NS) || !DAY_NS.is_multiple_of(nanos) {
            return Err(RuleError::Interval { interval });
        }
        Ok(Interval(nanos))
    }

    /// The length, ns.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Which bar since the epoch a moment is in.
    #[inline]
    pub(crate) fn number(self, time: UnixNanos) -> u64 {
        time.0 / self.0
    }

    /// Begin and end of a bar.
    #[inline]
    pub(crate) fn span(self, number: u64) -> (UnixNanos, UnixNanos) {
        let start = number * self.0;
        (UnixNanos(start), UnixNanos(start.saturating_add(self.0)))
    }
}

/// When a bar is full. A trade is never split: the one that fills a bar is its last and counts in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// At the end of its stretch of time. Stretches without a trade have no bar.
    Time(Interval),
    /// With so many trades.
    Ticks(u64),
    /// With this volume, as size mantissa.
    Volume(Qty),
    /// With this notional, in price times size mantissas: dollar bars, where dollars are quoted.
    Notional(Notional),
    /// When what buyers took and what sellers took differ by so much, as size mantissa. Trades whose taker is not known
    /// count for neither.
    Imbalance(Qty),
}

impl Rule {
    pub(crate) fn checked(self) -> Result<Rule, RuleError> {
        let limit = match self {
            Rule::Time(_) => 1,
            Rule::Ticks(limit) => limit.into(),
            Rule::Volume(limit) | Rule::Imbalance(limit) => limit.0.into(),
            Rule::Notional(limit) => limit.0,
        };
        if limit > 0 { Ok(self) } else { Err(RuleError::Limit { limit }) }
    }

    /// Whether a bar that time does not close is full.
    #[inline]
    pub(crate) fn is_full(&self, bar: &Bar) -> bool {
        match self {
            Rule::Time(_) => false,
            Rule::Ticks(limit) => bar.trades >= *limit,
            Rule::Volume(limit) => bar.volume >= limit.0.into(),
            Rule::Notional(limit) => bar.notional >= *limit,
            Rule::Imbalance(limit) => bar.delta().abs() >= limit.0.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_divide_a_day() {
        for good in [1, 5, 60, 300, 900, 3600, 14_400, 86_400] {
            assert_eq!(Interval::new(Duration::from_secs(good)).map(|i| i.0 / SECOND_NS), Ok(good));
        }
        for bad in [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(7), Duration::from_secs(172_800)] {
            assert_eq!(Interval::new(bad), Err(RuleError::Interval { interval: bad }));
        }
        assert_eq!(Rule::Ticks(0).checked(), Err(RuleError::Limit { limit: 0 }));
    }
}
