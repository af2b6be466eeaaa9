//! How often an address may fail to come in: a bucket of failures per address, which fills again with time.
//! Pure; the caller brings the time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures an address may have at once.
const FAILURES_MAX: u32 = 10;
/// How long one failure counts.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);
/// Addresses remembered: a bound on what strangers make us keep. The one that failed longest ago is forgotten first.
const ADDRESSES_MAX: usize = 1024;

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    /// When the oldest of them is forgiven.
    next: Instant,
}

/// Who failed how often of late.
#[derive(Default)]
pub(super) struct Attempts {
    by_address: HashMap<IpAddr, Failures>,
}

impl Attempts {
    /// Whether the address may try.
    pub(super) fn allows(&mut self, address: IpAddr, now: Instant) -> bool {
        let key = key(address);
        let Some(failures) = self.by_address.get_mut(&key) else { return true };
        failures.forgive(now);
        if failures.count == 0 {
            self.by_address.remove(&key);
            return true;
        }
        failures.count < FAILURES_MAX
    }

    /// It tried and failed.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        let key = key(address);
        if !self.by_address.contains_key(&key) && self.by_address.len() >= ADDRESSES_MAX {
            let oldest = self.by_address.iter().min_by_key(|(_, failures)| failures.next).map(|(address, _)| *address);
            oldest.and_then(|oldest| self.by_address.remove(&oldest));
        }
        let failures = self.by_address.entry(key).or_insert(Failures { count: 0, next: now + FORGIVEN_AFTER });
        failures.forgive(now);
        if failures.count == 0 {
            failures.next = now + FORGIVEN_AFTER;
        }
        failures.count = (failures.count + 1).min(FAILURES_MAX);
    }
}

impl Failures {
    fn forgive(&mut self, now: Instant) {
        while self.count > 0 && now >= self.next {
            self.count -= 1;
            self.next += FORGIVEN_AFTER;
        }
    }
}

/// Addresses of one owner: a single one of version 4, a /64 of version 6.
pub(super) fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((u128::from(six) & !u128::from(u64::MAX)).into()),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_run_out_and_are_forgiven() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let [a, b, six, neighbour] =
            ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"].map(|text| text.parse::<IpAddr>().expect("address"));
        for _ in 0..FAILURES_MAX {
            assert!(attempts.allows(a, start));
            attempts.failed(a, start);
            attempts.failed(six, start);
        }
        assert!(!attempts.allows(a, start) && attempts.allows(b, start));
        assert!(!attempts.allows(neighbour, start), "one owner has many addresses of version 6");
        assert!(attempts.allows(a, at(1)));
        attempts.failed(a, at(1));
        assert!(!attempts.allows(a, at(1)));
        assert!(attempts.allows(a, at(60)) && attempts.by_address.len() == 1, "what is forgiven is forgotten");
    }

    #[test]
    fn strangers_cannot_make_it_grow() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for at in 0..2 * ADDRESSES_MAX as u32 {
            attempts.failed(IpAddr::V4(at.into()), now);
        }
        assert_eq!(attempts.by_address.len(), ADDRESSES_MAX);
    }
}
