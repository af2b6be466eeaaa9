//! Bars added up, for the figures of a day that REST paths of every venue tell.

use model::UnixNanos;

use crate::market::{Bar, Market};

/// Bars of the last day are added up from those of an hour.
const HOUR_S: u64 = 3600;
const DAY_NS: u64 = 86_400_000_000_000;

/// The sum of bars, from the first that had a trade to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) first: Bar,
    pub(crate) last: Bar,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) volume: i128,
    pub(crate) cost: i128,
    pub(crate) trades: u64,
}

impl Sum {
    /// Adds up bars in the order of their time; `None` where nothing was traded.
    pub(crate) fn of<'a>(bars: impl Iterator<Item = &'a Bar>) -> Option<Self> {
        bars.filter(|bar| bar.trades > 0).fold(None, |sum: Option<Self>, bar| {
            Some(match sum {
                None => Self {
                    first: *bar,
                    last: *bar,
                    high: bar.high.0,
                    low: bar.low.0,
                    volume: bar.volume,
                    cost: bar.cost,
                    trades: bar.trades,
                },
                Some(sum) => Self {
                    last: *bar,
                    high: sum.high.max(bar.high.0),
                    low: sum.low.min(bar.low.0),
                    volume: sum.volume + bar.volume,
                    cost: sum.cost + bar.cost,
                    trades: sum.trades + bar.trades,
                    ..sum
                },
            })
        })
    }

    /// Cost over volume is a price: the sizes' scale cancels out.
    pub(crate) fn average(&self) -> i64 {
        i64::try_from(self.cost / self.volume.max(1)).unwrap_or(i64::MAX)
    }
}

/// The last 24 hours of a pair.
pub(crate) fn last_day(at: usize, market: &dyn Market, now: UnixNanos) -> Option<Sum> {
    let since = UnixNanos(now.0.saturating_sub(DAY_NS));
    Sum::of(market.bars(at, HOUR_S).iter().filter(|bar| bar.end() > since))
}
