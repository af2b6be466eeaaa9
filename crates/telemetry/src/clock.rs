//! The one clock of a process: a wall-clock anchor plus the monotonic clock, so that it never steps back in a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock may differ this much from ours before it is called a step: slewing by NTP stays below it.
pub const STEP_MIN: Duration = Duration::from_millis(250);

/// Nanoseconds since the Unix epoch, UTC, that never step back.
#[derive(Clone, Debug)]
pub struct RunClock {
    anchor: Instant,
    anchor_wall: u64,
    told_step: i64,
}

/// The wall clock against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the wall clock shows, ns since the Unix epoch.
    pub wall: u64,
    /// What our clock shows.
    pub expected: u64,
}

/// What the operating system's wall clock shows, ns since the Unix epoch, UTC.
pub fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl RunClock {
    /// A clock that agrees with the wall clock now.
    pub fn start() -> RunClock {
        RunClock::anchored(Instant::now(), wall_ns())
    }

    /// A clock that shows `wall` at `anchor`.
    pub fn anchored(anchor: Instant, wall: u64) -> RunClock {
        RunClock { anchor, anchor_wall: wall, told_step: 0 }
    }

    /// Nanoseconds since the Unix epoch, UTC.
    #[inline]
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// What the clock shows at `instant`.
    #[inline]
    pub fn at(&self, instant: Instant) -> u64 {
        self.anchor_wall + instant.saturating_duration_since(self.anchor).as_nanos() as u64
    }

    /// Compares with a reading of the wall clock: a step is told once, not at every look.
    pub fn check(&mut self, now: u64, wall: u64) -> Option<Step> {
        let difference = wall as i64 - now as i64;
        if (difference - self.told_step).unsigned_abs() < STEP_MIN.as_nanos() as u64 {
            return None;
        }
        self.told_step = difference;
        Some(Step { wall, expected: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_is_told_once_and_moves_nothing() {
        let start = Instant::now();
        let mut clock = RunClock::anchored(start, 9_000_000_000_000);
        let later = clock.at(start + Duration::from_secs(5));
        assert_eq!(later, 9_005_000_000_000);
        assert_eq!(clock.check(later, later + 1_000_000), None, "slewing is no step");
        let stepped = later - 3_600_000_000_000;
        assert_eq!(clock.check(later, stepped), Some(Step { wall: stepped, expected: later }));
        assert_eq!(clock.check(later + 5, stepped + 5), None);
        assert!(clock.check(later, later).is_some(), "the step back is told too");
    }
}
