//! A histogram of nanoseconds without a lock: log-linear buckets of atomics, at most 6.25 % wide.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SUB_BITS: u32 = 4;
const SUBS: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUBS;

/// Counts values by size. Recording is two relaxed adds.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    if value < SUBS as u64 {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let sub = (value >> (exponent - SUB_BITS)) as usize & (SUBS - 1);
    (exponent - SUB_BITS + 1) as usize * SUBS + sub
}

/// The largest value a bucket counts.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUBS {
        return bucket as u64;
    }
    let exponent = (bucket / SUBS) as u32 + SUB_BITS - 1;
    let step = 1u64 << (exponent - SUB_BITS);
    (1u64 << exponent) + (bucket % SUBS) as u64 * step + (step - 1)
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Histogram {
        Histogram::default()
    }

    /// Counts a value.
    #[inline]
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts a value `times` times.
    #[inline]
    pub fn record_many(&self, value: u64, times: u64) {
        self.buckets[bucket_of(value)].fetch_add(times, Relaxed);
        self.sum.fetch_add(value.wrapping_mul(times), Relaxed);
        if value > self.max.load(Relaxed) {
            self.max.fetch_max(value, Relaxed);
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Relaxed)).sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// The value that a share `q` (0 to 1) of all values does not exceed, to the bucket's width; 0 when empty.
    pub fn quantile(&self, q: f64) -> u64 {
        let wanted = (self.count() as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (i, b) in self.buckets.iter().enumerate() {
            seen += b.load(Relaxed);
            if seen >= wanted {
                return upper_bound(i).min(self.max());
            }
        }
        0
    }

    /// How many values are at most `bound` (counting whole buckets).
    pub(crate) fn count_to(&self, bound: u64) -> u64 {
        (0..BUCKETS).take_while(|i| upper_bound(*i) <= bound).map(|i| self.buckets[i].load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_falls_in_a_bucket_that_is_near(value in any::<u64>()) {
            let b = bucket_of(value);
            prop_assert!(b < BUCKETS);
            prop_assert!(upper_bound(b) >= value);
            prop_assert!(b == 0 || upper_bound(b - 1) < value);
            prop_assert!(upper_bound(b) - value <= value / 16);
        }
    }

    #[test]
    fn quantiles_of_known_values() {
        let h = Histogram::new();
        (1..=1000).for_each(|v| h.record(v * 1000));
        assert_eq!(h.count(), 1000);
        assert_eq!(h.max(), 1_000_000);
        let p50 = h.quantile(0.5);
        assert!((500_000..=532_000).contains(&p50), "{p50}");
        assert_eq!(h.quantile(1.0), 1_000_000);
        assert_eq!(h.count_to(u64::MAX), 1000);
    }
}
