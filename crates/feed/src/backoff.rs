//! How long to wait before the next attempt: exponential with full jitter, so that many clients that lost the same
//! server do not come back together. Pure; the caller sleeps and brings the randomness.

use std::time::Duration;

/// Shape of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// Upper bound of the first jittered wait; doubles with each failure.
    pub base: Duration,
    /// Upper bound that the doubling never passes.
    pub cap: Duration,
    /// What the very first wait after a success is.
    pub first: FirstRetry,
}

/// Whether the first retry waits at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRetry {
    /// Try again at once: most losses are a single dropped connection.
    AtOnce,
    /// Jitter the first retry like all others.
    Jittered,
}

impl Default for BackoffConfig {
    /// At once, then up to 0.5 s, 1 s, 2 s … 60 s.
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(60), first: FirstRetry::AtOnce }
    }
}

/// A connection that carried market data has proved itself after so long: at one attempt in ten seconds no venue's
/// budget is ever spent, the narrowest allows twelve a minute.
const PROOF: Duration = Duration::from_secs(10);

/// What a connection brought while it lived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Trades, quotes, bars, orders or changes of books.
    Data,
    /// Nothing but greetings, states and heartbeats.
    Nothing,
}

/// Counts failures since the last success.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    /// Starts as after a success.
    pub fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0 }
    }

    /// How long to wait before the next attempt; every call counts as one failure.
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        let bound_ns = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(rng.u64(0..=bound_ns))
    }

    /// The longest that [`next`](Self::next) can answer now.
    pub fn bound(&self) -> Duration {
        let doublings = match self.config.first {
            FirstRetry::AtOnce if self.failures == 0 => return Duration::ZERO,
            FirstRetry::AtOnce => self.failures - 1,
            FirstRetry::Jittered => self.failures,
        };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.config.base.saturating_mul(factor).min(self.config.cap)
    }

    /// Call when a connection has ended, before [`next`](Self::next): one that proved itself makes the failures before
    /// it forgotten. A server that accepts, greets, even serves a snapshot, and then hangs up must not be hammered: it
    /// takes a life of ten seconds with data, or of the longest wait without, as in a market that is quiet. Where the
    /// longest wait is shorter than ten seconds, that is enough.
    pub fn ended(&mut self, life: Duration, carried: Carried) {
        let proof = match carried {
            Carried::Data => PROOF.min(self.config.cap),
            Carried::Nothing => self.config.cap,
        };
        if life >= proof {
            self.failures = 0;
        }
    }

    /// Failures since the last connection that proved itself.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(first: FirstRetry) -> BackoffConfig {
        BackoffConfig { base: Duration::from_millis(500), cap: Duration::from_secs(10), first }
    }

    #[test]
    fn bounds_double_up_to_the_cap_and_a_proof_begins_anew() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new(config(FirstRetry::AtOnce));
        let mut bounds = Vec::new();
        for _ in 0..8 {
            bounds.push(backoff.bound().as_millis());
            assert!(backoff.next(&mut rng).as_millis() <= *bounds.last().expect("just pushed"));
        }
        assert_eq!(bounds, [0, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(backoff.failures(), 8);
        backoff.ended(Duration::from_secs(10), Carried::Data);
        assert_eq!(backoff.next(&mut rng), Duration::ZERO);
        assert_eq!(Backoff::new(config(FirstRetry::Jittered)).bound(), Duration::from_millis(500));
    }

    /// The bounds of the waits behind connections that end one after another.
    fn bounds_after(lives: &[(u64, Carried)]) -> Vec<u128> {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut backoff = Backoff::new(BackoffConfig::default());
        let mut bounds = Vec::new();
        for (life_ms, carried) in lives {
            backoff.ended(Duration::from_millis(*life_ms), *carried);
            bounds.push(backoff.bound().as_millis());
            assert!(backoff.next(&mut rng).as_millis() <= *bounds.last().expect("just pushed"));
        }
        bounds
    }

    #[test]
    fn short_lives_are_failures_whatever_they_carried() {
        use Carried::{Data, Nothing};
        assert_eq!(bounds_after(&[(2, Nothing); 5]), [0, 500, 1000, 2000, 4000]);
        assert_eq!(bounds_after(&[(9_999, Data); 5]), [0, 500, 1000, 2000, 4000]);
        assert_eq!(bounds_after(&[(59_999, Nothing); 3]), [0, 500, 1000]);
    }

    #[test]
    fn a_long_life_is_tried_again_at_once() {
        use Carried::{Data, Nothing};
        assert_eq!(bounds_after(&[(10_000, Data); 3]), [0, 0, 0]);
        assert_eq!(bounds_after(&[(60_000, Nothing); 3]), [0, 0, 0]);
        let day = 86_400_000;
        assert_eq!(bounds_after(&[(2, Nothing), (2, Data), (2, Data), (day, Data), (2, Data)]), [0, 500, 1000, 0, 500]);
    }

    #[test]
    fn no_budget_is_spent_by_a_venue_that_hangs_up_at_once() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut backoff = Backoff::new(BackoffConfig::default());
        let (mut now, mut connections) = (Duration::ZERO, 0);
        while now < Duration::from_secs(600) {
            connections += 1;
            now += Duration::from_millis(2);
            backoff.ended(Duration::from_millis(2), Carried::Data);
            now += backoff.next(&mut rng);
        }
        assert!((20..50).contains(&connections), "{connections} in ten minutes; Kraken allows 150");
    }

    #[test]
    fn where_waits_are_short_so_is_the_proof() {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut backoff = Backoff::new(BackoffConfig { cap: Duration::from_millis(200), ..BackoffConfig::default() });
        let _ = backoff.next(&mut rng);
        backoff.ended(Duration::from_millis(199), Carried::Data);
        assert_eq!(backoff.failures(), 1);
        backoff.ended(Duration::from_millis(200), Carried::Nothing);
        assert_eq!(backoff.failures(), 0);
    }

    #[test]
    fn endless_failure_stays_at_the_cap() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut backoff = Backoff::new(config(FirstRetry::Jittered));
        for _ in 0..10_000 {
            assert!(backoff.next(&mut rng) <= Duration::from_secs(10));
        }
        assert_eq!(backoff.bound(), Duration::from_secs(10));
    }

    #[test]
    fn jitter_is_full_and_even() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            let mut backoff = Backoff::new(config(FirstRetry::Jittered));
            let wait = backoff.next(&mut rng);
            tenths[(wait.as_micros() * 10 / 500_001) as usize] += 1;
        }
        // 1,000 expected in each tenth; 150 is five standard deviations.
        assert!(tenths.iter().all(|n| (850..=1150).contains(n)), "{tenths:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut backoff = Backoff::new(config(FirstRetry::Jittered));
            (0..5).map(|_| backoff.next(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(waits(9), waits(9));
        assert_ne!(waits(9), waits(10));
    }
}
