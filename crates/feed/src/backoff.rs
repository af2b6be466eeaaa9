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

    /// Call when a connection proved itself, not on the mere connection: a server that accepts, or greets, and then
    /// hangs up must not be hammered.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last reset.
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
    fn bounds_double_up_to_the_cap_and_reset_begins_anew() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new(config(FirstRetry::AtOnce));
        let mut bounds = Vec::new();
        for _ in 0..8 {
            bounds.push(backoff.bound().as_millis());
            assert!(backoff.next(&mut rng).as_millis() <= *bounds.last().expect("just pushed"));
        }
        assert_eq!(bounds, [0, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(backoff.failures(), 8);
        backoff.reset();
        assert_eq!(backoff.next(&mut rng), Duration::ZERO);
        assert_eq!(Backoff::new(config(FirstRetry::Jittered)).bound(), Duration::from_millis(500));
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
