//! When what happens: the times of each instrument's events, in virtual nanoseconds since the market first ran.
//! (seed, instrument, number) -> gaps -> [`Schedule`] -> whose event is next, and when.
//!
//! Gaps come in clusters. A lively market also has bursts, of all instruments at once, at 50 times the mean rate, and
//! quiet spells of one instrument; the mean stays what it was. Both are looked up by time, so that nothing is run
//! through that did not happen. Gaps know nothing of prices and of the wall's clock.

use super::draw::{Draw, ONE, mixed, stream};

/// Logarithm of the length of a burst, ns: 0.54 s, and of a quiet spell: 4.3 s.
const BURST_BITS: u32 = 29;
const QUIET_BITS: u32 = 32;
/// One such span in so many is a burst, or quiet.
const BURST_OF: u64 = 256;
const QUIET_OF: u64 = 10;
/// The rate in each, as multiples of the mean (16 bits).
const BURST: u64 = 50 * ONE;
const QUIET: u64 = ONE / 50;
/// What is left for all other times: 1/10 * 0.02 + 9/10 * (50 + 255 * x) / 256 = 1.
const USUAL: u64 = 60_107;

/// The gaps between events of one instrument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    seed: u64,
    stream: u64,
    /// Mean gap, ns in 8-bit fixed point.
    mean: u64,
    lively: bool,
}

impl Arrivals {
    pub(crate) fn new(seed: u64, stream: u64, mean_ns: u64, lively: bool) -> Self {
        Self { seed, stream, mean: mean_ns.clamp(1, 1 << 46) << 8, lively }
    }

    /// The multiple of the mean rate at a time, 16 bits.
    fn activity(&self, time_ns: u64) -> u64 {
        let quiet = mixed(self.seed ^ self.stream ^ mixed(time_ns >> QUIET_BITS));
        if quiet.is_multiple_of(QUIET_OF) {
            return QUIET;
        }
        if bursts(self.seed, time_ns) { BURST } else { USUAL }
    }

    /// When event `number` happens if the one before it happened at `last_ns`.
    #[inline]
    pub(crate) fn next(&self, number: u64, last_ns: u64) -> u64 {
        // A stream of its own: what happens does not depend on when.
        let gap = Draw::new(self.seed, !self.stream, number).clustered();
        let work = ((u128::from(gap) * u128::from(self.mean)) >> 24) as u64;
        if self.lively { self.stretched(last_ns, work) } else { last_ns + work.max(1) }
    }

    /// Ends when as much has happened as in `work` ns at the mean rate.
    fn stretched(&self, mut now: u64, mut work: u64) -> u64 {
        loop {
            let activity = self.activity(now);
            let end = ((now >> BURST_BITS) + 1) << BURST_BITS;
            let room = ((u128::from(end - now) * u128::from(activity)) >> 16) as u64;
            if room >= work {
                return now + ((u128::from(work) << 16) / u128::from(activity)).max(1) as u64;
            }
            work -= room;
            now = end;
        }
    }
}

/// Whether a lively market bursts at a time.
pub(crate) fn bursts(seed: u64, time_ns: u64) -> bool {
    mixed(seed ^ stream(&["burst"]) ^ mixed(time_ns >> BURST_BITS)).is_multiple_of(BURST_OF)
}

/// Whose event is next: the instruments play a knockout, the earlier time wins, the lower index where times are equal.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// When each instrument's next event is; `u64::MAX` for none.
    times: Vec<u64>,
    /// Winners, the champion in 1; the leaves follow, from `width` on.
    winners: Vec<u32>,
    width: usize,
}

impl Schedule {
    pub(crate) fn new(times: Vec<u64>) -> Self {
        let width = times.len().next_power_of_two();
        let mut schedule = Self { winners: vec![0; 2 * width], times, width };
        for leaf in 0..width {
            schedule.winners[width + leaf] = leaf as u32;
        }
        for node in (1..width).rev() {
            schedule.winners[node] = schedule.match_at(node);
        }
        schedule
    }

    #[inline]
    fn time(&self, at: u32) -> u64 {
        self.times.get(at as usize).copied().unwrap_or(u64::MAX)
    }

    #[inline]
    fn match_at(&self, node: usize) -> u32 {
        let (a, b) = (self.winners[2 * node], self.winners[2 * node + 1]);
        if self.time(b) < self.time(a) { b } else { a }
    }

    /// The next event's time and instrument.
    #[inline]
    pub(crate) fn first(&self) -> (u64, usize) {
        let at = self.winners[1];
        (self.time(at), at as usize)
    }

    /// Moves an instrument's next event.
    #[inline]
    pub(crate) fn set(&mut self, at: usize, time_ns: u64) {
        self.times[at] = time_ns;
        let mut node = (self.width + at) / 2;
        while node > 0 {
            self.winners[node] = self.match_at(node);
            node /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(arrivals: Arrivals, count: u64) -> Vec<u64> {
        let mut now = 0;
        (0..count)
            .map(|number| {
                now = arrivals.next(number, now);
                now
            })
            .collect()
    }

    #[test]
    fn steady_or_lively_the_mean_is_kept() {
        for lively in [false, true] {
            // A day of it: bursts are rare, and each is a minute's worth.
            let all = times(Arrivals::new(1, 2, 20_000_000, lively), 4_000_000);
            let mean = all[all.len() - 1] / all.len() as u64;
            assert!((19_000_000..21_000_000).contains(&mean), "lively {lively}: {mean}");
        }
    }

    #[test]
    fn bursts_are_fifty_times_the_rate_and_quiet_spells_a_fiftieth() {
        let all = times(Arrivals::new(1, 2, 1_000_000, true), 6_000_000);
        let mut spans = vec![0_u64; (all[all.len() - 1] >> BURST_BITS) as usize];
        for time in &all {
            if let Some(count) = spans.get_mut((time >> BURST_BITS) as usize) {
                *count += 1;
            }
        }
        // A thousand a second is 537 a span.
        let expected = (1 << BURST_BITS) / 1_000_000;
        let bursts = spans.iter().filter(|count| **count > 40 * expected && **count < 60 * expected).count();
        let quiet = spans.iter().filter(|count| **count < expected / 10).count();
        let (share, still) = (spans.len() / bursts.max(1), spans.len() / quiet.max(1));
        assert!((170..500).contains(&share) && (7..14).contains(&still), "one in {share}, one in {still}");
        assert!(spans.iter().all(|count| *count < 60 * expected));
    }

    #[test]
    fn bursts_come_to_all_and_quiet_to_one() {
        let (one, other) = (Arrivals::new(1, 2, SECOND, true), Arrivals::new(1, 3, SECOND, true));
        let spans: Vec<u64> = (0..100_000).map(|span| span << BURST_BITS).collect();
        let both =
            |level| spans.iter().filter(|at| one.activity(**at) == level && other.activity(**at) == level).count();
        let either = |level| spans.iter().filter(|at| one.activity(**at) == level).count();
        assert!(both(BURST) * 10 > either(BURST) * 8, "{} of {}", both(BURST), either(BURST));
        assert!(both(QUIET) * 10 < either(QUIET) * 2, "{} of {}", both(QUIET), either(QUIET));
    }

    #[test]
    fn the_earliest_is_first_and_ties_go_by_index() {
        for count in [1_usize, 2, 3, 7, 500] {
            let times: Vec<u64> = (0..count as u64).map(|at| mixed(at) % 50).collect();
            let mut schedule = Schedule::new(times.clone());
            let mut naive = times;
            for turn in 0..2_000 {
                let (time, at) = naive.iter().enumerate().map(|(at, time)| (*time, at)).min().expect("one");
                assert_eq!(schedule.first(), (time, at), "{count} at turn {turn}");
                naive[at] += mixed(turn) % 60;
                schedule.set(at, naive[at]);
            }
        }
    }
}
