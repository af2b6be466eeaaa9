//! How many requests an address may make: a bucket that fills at a steady rate, as Coinbase's and Alpaca's do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use model::UnixNanos;

/// Addresses remembered; a table that is full forgets those that have all of their requests again.
const ADDRESSES_MAX: usize = 4096;

/// A venue's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Requests at once.
    pub(crate) burst: u32,
    /// A request more after so long.
    pub(crate) every: Duration,
}

/// What is counted together: some venues count parts of themselves apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All of a venue, or its market data.
    Data,
    /// Where orders are made.
    Trading,
}

/// What is left of a limit after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Requests that a rested address could make at once.
    pub(crate) limit: u32,
    /// Requests that could follow at once; `None`: this one was too many.
    pub(crate) remaining: Option<u32>,
    /// When all of them are there again.
    pub(crate) full: UnixNanos,
    /// Until one is.
    pub(crate) wait: Duration,
}

/// Who asked how much. A request costs its share of the time after which the bucket is full again.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    full: BTreeMap<(IpAddr, Part), UnixNanos>,
}

impl Requests {
    /// Takes a request.
    pub(crate) fn take(&mut self, from: (IpAddr, Part), limit: Limit, now: UnixNanos) -> Left {
        if self.full.len() >= ADDRESSES_MAX {
            self.full.retain(|_, full| *full > now);
        }
        let full = self.full.entry(from).or_insert(now);
        let whole = limit.every * limit.burst;
        let after = UnixNanos(full.0.max(now.0)).after(limit.every);
        let owed = after.since(now);
        if owed > whole {
            return Left { limit: limit.burst, remaining: None, full: *full, wait: owed - whole };
        }
        *full = after;
        let remaining = (whole - owed).as_nanos() / limit.every.as_nanos().max(1);
        let limit = limit.burst;
        Left { limit, remaining: Some(u32::try_from(remaining).unwrap_or(u32::MAX)), full: after, wait: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_served_and_then_one_after_the_other() {
        let limit = Limit { burst: 3, every: Duration::from_millis(100) };
        let (mut requests, one) = (Requests::default(), (IpAddr::from([127, 0, 0, 1]), Part::Data));
        let start = UnixNanos(1_000_000_000_000);
        let mut at = |ms: u64| requests.take(one, limit, start.after(Duration::from_millis(ms)));
        let left: Vec<_> = (0..4).map(|_| at(0).remaining).collect();
        assert_eq!(left, [Some(2), Some(1), Some(0), None]);
        assert_eq!(at(0).wait, Duration::from_millis(100));
        assert_eq!((at(99).remaining, at(100).remaining, at(101).remaining), (None, Some(0), None));
        assert_eq!(at(10_000).remaining, Some(2), "no more than the burst is saved up");
        for other in [(IpAddr::from([127, 0, 0, 2]), Part::Data), (one.0, Part::Trading)] {
            assert_eq!(requests.take(other, limit, start).remaining, Some(2), "{other:?} has its own");
        }
    }
}
