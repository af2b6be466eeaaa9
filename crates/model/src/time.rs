//! Time as every record carries it.

use std::{fmt, time::Duration};

/// Nanoseconds since the Unix epoch, UTC. Handed in from a clock; no constructor reads one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The epoch itself: "no time given" in records that need no venue time.
    pub const ZERO: UnixNanos = UnixNanos(0);

    /// From whole milliseconds, as Binance sends them; `None` past the year 2554.
    pub fn from_millis(ms: u64) -> Option<UnixNanos> {
        ms.checked_mul(1_000_000).map(UnixNanos)
    }

    /// From whole microseconds; `None` past the year 2554.
    pub fn from_micros(us: u64) -> Option<UnixNanos> {
        us.checked_mul(1_000).map(UnixNanos)
    }

    /// This moment plus `d`, held at the end of time rather than wrapped.
    pub fn after(self, d: Duration) -> UnixNanos {
        UnixNanos(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: UnixNanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
