//! How often somebody may try to log in: a bucket per account and one per address, so that neither guessing one account
//! from many places nor many accounts from one place goes far. Time is handed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tries in a row for one account, and how long until there is another.
const ACCOUNT: Bucket = Bucket { most: 5, each: Duration::from_secs(30) };
/// The same for one address, which several people may share.
const ADDRESS: Bucket = Bucket { most: 20, each: Duration::from_secs(10) };
/// Buckets kept; beyond them the fullest are forgotten first, as forgetting a full one changes nothing.
const BUCKETS_MAX: usize = 4096;

struct Bucket {
    most: u32,
    each: Duration,
}

/// When a bucket will be full again: all there is to know of it.
type Full = Instant;

/// What was tried of late.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<String, Full>>);

impl Attempts {
    /// Takes a try for this account from this address; when there is none, says how long until there is.
    pub(crate) fn take(&self, account: &str, address: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = [(format!("account {account}"), ACCOUNT), (format!("address {address}"), ADDRESS)];
        let wait = |(key, bucket): &(String, Bucket)| {
            let full = all.get(key).copied().unwrap_or(now).max(now);
            (full + bucket.each).saturating_duration_since(now + bucket.each * bucket.most)
        };
        let longest = keys.iter().map(wait).max().unwrap_or_default();
        if !longest.is_zero() {
            return Err(longest);
        }
        for (key, bucket) in keys {
            let full = all.entry(key).or_insert(now);
            *full = (*full).max(now) + bucket.each;
        }
        if all.len() > BUCKETS_MAX {
            all.retain(|_, full| *full > now);
        }
        while all.len() > BUCKETS_MAX {
            let Some(soonest) = all.iter().min_by_key(|(_, full)| **full).map(|(key, _)| key.clone()) else { break };
            all.remove(&soonest);
        }
        Ok(())
    }

    /// The try was right: it does not count against the account.
    pub(crate) fn right(&self, account: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&format!("account {account}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_an_address_have_so_many_tries() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for i in 0..ACCOUNT.most {
            assert_eq!(attempts.take("ann", &format!("10.0.0.{i}"), now), Ok(()), "{i}");
        }
        assert_eq!(attempts.take("ann", "10.0.0.99", now), Err(ACCOUNT.each), "from another place");
        assert_eq!(attempts.take("ann", "10.0.0.99", now + ACCOUNT.each), Ok(()));
        assert!(attempts.take("ann", "10.0.0.99", now + ACCOUNT.each).is_err());
        attempts.right("ann");
        assert_eq!(attempts.take("ann", "10.0.0.99", now + ACCOUNT.each), Ok(()));
        for i in 0..ADDRESS.most {
            assert_eq!(attempts.take(&format!("user{i}"), "192.0.2.1", now), Ok(()));
        }
        assert_eq!(attempts.take("another", "192.0.2.1", now), Err(ADDRESS.each));
        assert_eq!(attempts.take("another", "192.0.2.2", now), Ok(()));
    }

    #[test]
    fn names_without_end_cost_no_memory_without_end() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for i in 0..BUCKETS_MAX + 100 {
            assert_eq!(attempts.take(&format!("user{i}"), &format!("address{i}"), now), Ok(()));
        }
        assert!(attempts.0.lock().expect("whole").len() <= BUCKETS_MAX);
    }
}
