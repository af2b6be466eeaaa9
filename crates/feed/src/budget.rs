//! What a venue lets us do in a stretch of time: connection attempts, outgoing messages, request weight, streams on a
//! connection. Pure; `now` is the time since any fixed origin, from the caller's clock.
//!
//! Invariant of [`Budget`]: no window of the configured length ever holds more than the limit, wherever it begins.
//! That is stricter than a venue's own fixed windows and so safe against any alignment of them.

use std::collections::VecDeque;
use std::time::Duration;

/// A sliding-window limit, optionally with a least distance between admissions.
#[derive(Debug, Clone)]
pub struct Budget {
    limit: u32,
    window: Duration,
    spacing: Duration,
    /// Admissions inside the window, oldest first, as (time, cost); at most `limit` of them.
    admitted: VecDeque<(Duration, u32)>,
    spent: u32,
    /// The last admission and its spacing; it outlives the window, which may be shorter.
    spaced_until: Duration,
    held_until: Duration,
}

impl Budget {
    /// At most `limit` units in any `window`.
    ///
    /// # Panics
    /// When `limit` is 0: nothing could ever be admitted.
    pub fn new(limit: u32, window: Duration) -> Self {
        assert!(limit > 0, "a budget admits at least one unit per window");
        Self {
            limit,
            window,
            spacing: Duration::ZERO,
            admitted: VecDeque::new(),
            spent: 0,
            spaced_until: Duration::ZERO,
            held_until: Duration::ZERO,
        }
    }

    /// Also keeps `spacing` between two admissions, so that a full budget is not spent in one burst.
    pub fn spaced(mut self, spacing: Duration) -> Self {
        self.spacing = spacing;
        self
    }

    /// Takes one unit, or says how long to wait before asking again.
    pub fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        self.admit_cost(now, 1)
    }

    /// Takes `cost` units at once (request weight), or says how long to wait.
    ///
    /// # Panics
    /// When `cost` exceeds the limit: no wait would ever be long enough.
    pub fn admit_cost(&mut self, now: Duration, cost: u32) -> Result<(), Duration> {
        assert!(cost <= self.limit, "cost {cost} exceeds the whole budget of {}", self.limit);
        self.expire(now);
        let wait = self.wait(now, cost);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.admitted.push_back((now, cost));
        self.spent += cost;
        self.spaced_until = now + self.spacing;
        Ok(())
    }

    /// Admits nothing before `until`: a venue said `Retry-After`. An earlier hold is never shortened.
    pub fn hold_until(&mut self, until: Duration) {
        self.held_until = self.held_until.max(until);
    }

    /// Units left in the window that ends now.
    pub fn left(&mut self, now: Duration) -> u32 {
        self.expire(now);
        self.limit - self.spent
    }

    fn expire(&mut self, now: Duration) {
        while let Some((time, cost)) = self.admitted.front().copied() {
            if time + self.window > now {
                break;
            }
            self.admitted.pop_front();
            self.spent -= cost;
        }
    }

    /// The longest of the three reasons to wait.
    fn wait(&self, now: Duration, cost: u32) -> Duration {
        self.held_until.max(self.spaced_until).max(self.room_at(cost)).saturating_sub(now)
    }

    /// When enough of the window will have expired to take `cost` more.
    fn room_at(&self, cost: u32) -> Duration {
        let mut spent = self.spent;
        for (time, freed) in &self.admitted {
            if spent + cost <= self.limit {
                break;
            }
            spent -= freed;
            if spent + cost <= self.limit {
                return *time + self.window;
            }
        }
        Duration::ZERO
    }
}

/// A count that must not pass a limit: streams on one connection.
#[derive(Debug, Clone)]
pub struct Slots {
    limit: u32,
    taken: u32,
}

/// The limit leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{asked} more would exceed the limit of {limit} on one connection ({taken} taken)")]
pub struct SlotsFull {
    /// How many were asked for.
    pub asked: u32,
    /// How many are taken.
    pub taken: u32,
    /// The limit.
    pub limit: u32,
}

impl Slots {
    /// All free.
    pub fn new(limit: u32) -> Self {
        Self { limit, taken: 0 }
    }

    /// Takes `count` or none.
    pub fn take(&mut self, count: u32) -> Result<(), SlotsFull> {
        if count > self.left() {
            return Err(SlotsFull { asked: count, taken: self.taken, limit: self.limit });
        }
        self.taken += count;
        Ok(())
    }

    /// Gives `count` back.
    ///
    /// # Panics
    /// When more come back than were taken.
    pub fn release(&mut self, count: u32) {
        assert!(count <= self.taken, "{count} slots released, only {} were taken", self.taken);
        self.taken -= count;
    }

    /// How many are free.
    pub fn left(&self) -> u32 {
        self.limit - self.taken
    }

    /// Frees all, for a new connection.
    pub fn reset(&mut self) {
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_wait_is_exact() {
        let mut budget = Budget::new(2, ms(1000));
        assert_eq!(budget.admit(ms(10)), Ok(()));
        assert_eq!(budget.admit(ms(400)), Ok(()));
        assert_eq!(budget.admit(ms(500)), Err(ms(510)));
        assert_eq!(budget.admit(ms(1009)), Err(ms(1)));
        assert_eq!(budget.admit(ms(1010)), Ok(()));
        assert_eq!(budget.admit(ms(1010)), Err(ms(390)));
    }

    #[test]
    fn spacing_keeps_a_full_budget_from_bursting() {
        let mut budget = Budget::new(5, ms(1000)).spaced(ms(200));
        assert_eq!(budget.admit(ms(0)), Ok(()));
        assert_eq!(budget.admit(ms(50)), Err(ms(150)));
        assert_eq!(budget.admit(ms(200)), Ok(()));
    }

    #[test]
    fn a_hold_outlasts_everything_and_is_never_shortened() {
        let mut budget = Budget::new(5, ms(1000));
        budget.hold_until(ms(3000));
        budget.hold_until(ms(2000));
        assert_eq!(budget.admit(ms(1000)), Err(ms(2000)));
        assert_eq!(budget.admit(ms(3000)), Ok(()));
    }

    #[test]
    fn weight_waits_for_as_many_as_it_needs() {
        let mut budget = Budget::new(100, ms(1000));
        assert_eq!(budget.admit_cost(ms(0), 50), Ok(()));
        assert_eq!(budget.admit_cost(ms(100), 40), Ok(()));
        assert_eq!(budget.left(ms(100)), 10);
        assert_eq!(budget.admit_cost(ms(200), 60), Err(ms(800)));
        assert_eq!(budget.admit_cost(ms(200), 61), Err(ms(900)));
    }

    #[test]
    fn no_window_ever_exceeds_the_limit_and_obeying_the_wait_always_succeeds() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (limit, window, spacing) = (rng.u32(1..20), ms(rng.u64(1..5000)), ms(rng.u64(0..300)));
            let mut budget = Budget::new(limit, window).spaced(spacing);
            let (mut now, mut log) = (ms(rng.u64(0..1000)), Vec::<(Duration, u32)>::new());
            for _ in 0..300 {
                let cost = rng.u32(1..=limit);
                match budget.admit_cost(now, cost) {
                    Ok(()) => log.push((now, cost)),
                    Err(wait) => {
                        assert!(wait > Duration::ZERO);
                        now += wait;
                        assert_eq!(budget.admit_cost(now, cost), Ok(()), "seed {seed}");
                        log.push((now, cost));
                    }
                }
                now += ms(rng.u64(0..window.as_millis() as u64 / 4 + 1));
            }
            for (start, _) in &log {
                let inside =
                    log.iter().filter(|(t, _)| t >= start && *t < *start + window).map(|(_, c)| c).sum::<u32>();
                assert!(inside <= limit, "seed {seed}: {inside} > {limit}");
            }
            assert!(log.windows(2).all(|w| w[1].0 - w[0].0 >= spacing), "seed {seed}");
        }
    }

    #[test]
    fn slots_are_taken_whole_or_not_at_all() {
        let mut slots = Slots::new(1024);
        assert_eq!(slots.take(1000), Ok(()));
        assert_eq!(slots.take(25), Err(SlotsFull { asked: 25, taken: 1000, limit: 1024 }));
        assert_eq!(slots.left(), 24);
        slots.release(1);
        assert_eq!(slots.take(25), Ok(()));
    }
}
