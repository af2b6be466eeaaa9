//! The one clock of a server: wall time at its start, moved on by the monotonic clock, so it never steps.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::UnixNanos;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: u64,
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), start: Instant::now() }
    }

    pub(crate) fn now(&self) -> UnixNanos {
        UnixNanos(self.wall).after(self.start.elapsed())
    }
}
