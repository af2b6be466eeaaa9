//! What one client, and all of them together, may cost. Time is handed in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use telemetry::Gauge;

/// The most streams at once: each has a thread that reads the rings.
pub const STREAMS_MAX: usize = 256;
/// The most TCP connections at once, streams not counted: with the streams, below the 1,024 files that a process may
/// have open where nobody raised that.
pub const CONNECTIONS_MAX: usize = 512;
/// The most of them that wait for a request; the oldest makes room for a new one.
pub const IDLE_MAX: usize = 256;
/// The most of them from one address that is not this machine's.
pub const ADDRESS_MAX: usize = 64;
/// The most bytes the body of a request may have.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The most bytes all headers of a request may have.
pub(crate) const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The most headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;
/// How long a request's headers may take to come, and how long a connection may wait for the next request.
pub(crate) const HEADERS_WAIT: Duration = Duration::from_secs(5);
/// How long a request's body may take to come.
pub(crate) const BODY_WAIT: Duration = Duration::from_secs(10);
/// How often a stream asks whether whom it serves may stay.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often is looked for changes by other processes, such as a key revoked on the command line.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most bytes one request of a client may have: the longest list of symbols it may name, with room to spare.
pub const REQUEST_BYTES_MAX: usize = 512 * 1024;

/// Requests a client may make at once, and again every [`REQUESTS_WINDOW`]: an order of magnitude above a person
/// who clicks, far below what opening subscriptions costs.
const REQUESTS_MAX: u32 = 30;
const REQUESTS_WINDOW: Duration = Duration::from_secs(10);

/// A client that has said nothing for this long is pinged.
const PING_AFTER: Duration = Duration::from_secs(20);
/// A client that has said nothing for this long, not even a pong, is gone.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A client's budget of requests: full at the start, refilled evenly.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    refilled: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Budget {
        Budget { left: REQUESTS_MAX, refilled: now }
    }

    /// Takes one; when there is none, says how long until there is.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        const EACH: Duration = Duration::from_nanos(REQUESTS_WINDOW.as_nanos() as u64 / REQUESTS_MAX as u64);
        let earned = now.saturating_duration_since(self.refilled).as_nanos() / EACH.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(REQUESTS_MAX);
            self.refilled = if self.left == REQUESTS_MAX { now } else { self.refilled + EACH * earned };
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err((self.refilled + EACH).saturating_duration_since(now)),
        }
    }
}

/// Whether a client is still there.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Instant,
    pinged: Option<Instant>,
}

/// What a look at a silent client comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Fine,
    Ping,
    Gone,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Liveness {
        Liveness { heard: now, pinged: None }
    }

    /// Anything came from the client.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// When to look next.
    pub(crate) fn look_at(&self) -> Instant {
        let ping = self.pinged.unwrap_or(self.heard) + PING_AFTER;
        ping.min(self.heard + SILENCE_MAX)
    }

    pub(crate) fn look(&mut self, now: Instant) -> Look {
        if now >= self.heard + SILENCE_MAX {
            return Look::Gone;
        }
        if now < self.look_at() {
            return Look::Fine;
        }
        self.pinged = Some(now);
        Look::Ping
    }
}

/// The places for streams.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: Mutex<usize>,
    shown: Gauge,
}

/// A place taken, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Seats>);

impl Seats {
    pub(crate) fn new(shown: Gauge) -> Arc<Seats> {
        Arc::new(Seats { taken: Mutex::new(0), shown })
    }

    /// A place; `None` when all are taken.
    pub(crate) fn take(self: &Arc<Seats>) -> Option<Seat> {
        self.change(|taken| (taken < STREAMS_MAX).then_some(taken + 1)).then(|| Seat(self.clone()))
    }

    fn change(&self, next: impl FnOnce(usize) -> Option<usize>) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = next(*taken) else { return false };
        *taken = next;
        self.shown.set(next as i64);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.change(|taken| taken.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_full_at_first_and_refills_evenly() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for _ in 0..REQUESTS_MAX {
            assert_eq!(budget.take(start), Ok(()));
        }
        let wait = budget.take(start).expect_err("nothing is left");
        assert!(budget.take(start + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(budget.take(start + wait), Ok(()));
        assert!(budget.take(start + wait).is_err(), "one was earned, not two");
        let later = start + wait + REQUESTS_WINDOW * 5;
        assert_eq!((0..REQUESTS_MAX + 1).filter(|_| budget.take(later).is_ok()).count(), REQUESTS_MAX as usize);
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_gone() {
        let start = Instant::now();
        let mut client = Liveness::new(start);
        assert_eq!(client.look_at(), start + PING_AFTER);
        assert_eq!(client.look(start + PING_AFTER / 2), Look::Fine);
        assert_eq!(client.look(start + PING_AFTER), Look::Ping);
        assert_eq!(client.look(start + PING_AFTER), Look::Fine, "one ping at a time");
        client.heard(start + PING_AFTER);
        assert_eq!(client.look(start + SILENCE_MAX), Look::Ping, "it was heard since");
        assert_eq!(client.look_at(), start + PING_AFTER + SILENCE_MAX);
        assert_eq!(client.look(start + PING_AFTER + SILENCE_MAX), Look::Gone);
    }

    #[test]
    fn there_are_so_many_seats_and_no_more() {
        let shown = Gauge::default();
        let seats = Seats::new(shown.clone());
        let mut taken: Vec<_> = (0..STREAMS_MAX).map(|_| seats.take()).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(seats.take().is_none());
        assert_eq!(shown.get(), STREAMS_MAX as i64);
        taken.pop();
        assert_eq!(shown.get(), STREAMS_MAX as i64 - 1);
        assert!(seats.take().is_some());
    }
}
