//! The cheapest clock there is: the time stamp counter where the processor has a constant one, else the system's.
//!
//! One-way times compare stamps of two cores; x86-64 machines of the last decade count in step on all of them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A reading of the counter. Earlier loads are done when it is taken.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn ticks() -> u64 {
    let mut core = 0;
    // SAFETY: `rdtscp` is part of every x86-64 processor that Linux runs on today; it writes only `core`.
    unsafe { std::arch::x86_64::__rdtscp(&mut core) }
}

/// A reading of the counter.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn ticks() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Ticks in a nanosecond, measured once over 50 ms.
pub fn ticks_per_ns() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, from) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let (elapsed, to) = (start.elapsed(), ticks());
        (to - from) as f64 / elapsed.as_nanos() as f64
    })
}

/// Nanoseconds that `ticks` are.
pub fn ns(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_ns()
}

/// Waits without giving up the core until the counter has passed `until`.
#[inline]
pub fn spin_until(until: u64) {
    while ticks() < until {
        std::hint::spin_loop();
    }
}

/// Percentiles of latencies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Percentiles {
    /// Median, ns.
    pub p50: f64,
    /// One in a hundred is above, ns.
    pub p99: f64,
    /// One in a thousand is above, ns.
    pub p999: f64,
}

impl Percentiles {
    /// Of `samples` in ticks; zeros when there are none.
    pub fn of(mut samples: Vec<u64>) -> Percentiles {
        samples.sort_unstable();
        let at = |q: f64| {
            let index = ((samples.len() as f64 * q) as usize).min(samples.len().saturating_sub(1));
            samples.get(index).map_or(0.0, |ticks| ns(*ticks))
        };
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// Processor time of the calling thread, ns: what a neighbour's time slices do not add to.
pub fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
