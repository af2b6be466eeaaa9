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

/// What a thread has used, read from another thread.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock {
    clock: libc::clockid_t,
    thread: libc::pid_t,
}

impl ThreadClock {
    /// Of the calling thread; to be read while it lives.
    pub fn of_this() -> ThreadClock {
        let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
        // SAFETY: the calling thread's handle is valid, and the call writes one clock id; `gettid` has no arguments.
        let thread = unsafe {
            libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock);
            libc::gettid()
        };
        ThreadClock { clock, thread }
    }

    /// Processor time, user and system, ns.
    pub fn total_ns(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: an id of a thread that is gone gives an error and leaves the zeros; else one `timespec` is written.
        unsafe { libc::clock_gettime(self.clock, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    /// User and system time in ns, in steps of the kernel's tick (10 ms); zeros when the thread is gone.
    pub fn user_system_ns(&self) -> (u64, u64) {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", self.thread)).unwrap_or_default();
        // The name in brackets may hold spaces; user and system time are the 12th and 13th fields after it.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let mut next = || fields.next().and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
        // SAFETY: asks for a constant of the system.
        let tick_ns = 1_000_000_000 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
        (next() * tick_ns, next() * tick_ns)
    }
}
