//! The trades told last, so that none is told twice: by exchange, id and trading day, as ids of different exchanges and
//! days may be equal. Ids at this venue need not rise, so a last id would not do.
//!
//! A set of 2,048 keys in groups of four, which are several seconds of the busiest share and more than a reconnect's
//! overlap; a full group forgets its oldest. It can forget, but never mistake one trade
//! for another.

use model::UnixNanos;

const WAYS: usize = 4;
const GROUPS: usize = 512;

/// Trading days in America end where this hour of UTC begins, in summer and winter, and nobody trades.
const DAY_BEGINS_NS: u64 = 5 * 3600 * 1_000_000_000;
const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// What names a trade of an instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    id: u64,
    exchange: u32,
    /// Counted from 1, so that no key equals an empty place.
    day: u32,
}

impl Key {
    /// The key of a trade. Coins have one exchange and ids that do not begin anew: their day is not looked at.
    #[inline]
    pub fn of(id: u64, exchange: &str, time: UnixNanos, crypto: bool) -> Key {
        let day = if crypto { 1 } else { 2 + (time.0.saturating_sub(DAY_BEGINS_NS) / DAY_NS) as u32 };
        let exchange = match exchange.as_bytes() {
            [] => 0,
            [letter] => u32::from(*letter),
            other => other.iter().fold(0x811c_9dc5, |h: u32, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)),
        };
        Key { id, exchange, day }
    }

    fn group(self) -> usize {
        let mixed = (self.id ^ u64::from(self.exchange) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 55) as usize % GROUPS
    }
}

/// The keys of the trades told last.
#[derive(Debug, Default)]
pub struct Recent {
    groups: Vec<[Key; WAYS]>,
}

impl Recent {
    /// Whether a trade was noted and is remembered.
    pub fn knows(&self, key: Key) -> bool {
        self.groups.get(key.group()).is_some_and(|group| group.contains(&key))
    }

    /// Notes a trade; `false` when it was noted before.
    #[inline]
    pub fn insert(&mut self, key: Key) -> bool {
        if self.groups.is_empty() {
            self.groups.resize(GROUPS, Default::default());
        }
        let group = &mut self.groups[key.group()];
        if group.contains(&key) {
            return false;
        }
        group.copy_within(0..WAYS - 1, 1);
        group[0] = key;
        true
    }
}

impl Extend<Key> for Recent {
    fn extend<T: IntoIterator<Item = Key>>(&mut self, keys: T) {
        for key in keys {
            self.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_is_new_once() {
        let (mut r, time) = (Recent::default(), UnixNanos(1_700_000_000_000_000_000));
        assert!(r.insert(Key::of(7, "V", time, false)));
        assert!(!r.insert(Key::of(7, "V", time.after(std::time::Duration::from_secs(1)), false)));
        assert!(r.insert(Key::of(7, "P", time, false)), "ids belong to their exchange");
        let tomorrow = time.after(std::time::Duration::from_secs(86_400));
        assert!(r.insert(Key::of(7, "V", tomorrow, false)), "and to their day");
        assert!(r.insert(Key::of(0, "", UnixNanos(0), true)), "an id of 0 is one too");
        assert!(!r.insert(Key::of(0, "", tomorrow, true)), "the day of a coin's trade says nothing");
    }

    #[test]
    fn the_last_trades_are_remembered() {
        let mut r = Recent::default();
        let key = |id: u64| Key::of(id, "", UnixNanos(0), true);
        for id in 0..1_000 {
            assert!(r.insert(key(52_983_625_699_126 + id)));
        }
        let known = (0..1_000).filter(|id| !r.insert(key(52_983_625_699_126 + id))).count();
        assert!(known >= 900, "{known} of 1000");
    }

    #[test]
    fn an_evening_in_winter_belongs_to_its_day() {
        // 19:30 in New York on 2024-01-02 is 00:30 UTC of the 3rd.
        let evening = UnixNanos(scan::rfc3339_nanos(b"2024-01-03T00:30:00Z").expect("a time").0);
        let noon = UnixNanos(scan::rfc3339_nanos(b"2024-01-02T17:00:00Z").expect("a time").0);
        let morning = UnixNanos(scan::rfc3339_nanos(b"2024-01-03T09:00:00Z").expect("a time").0);
        let of = |time| Key::of(1, "V", time, false);
        assert_eq!(of(evening), of(noon));
        assert_ne!(of(evening), of(morning));
    }
}
