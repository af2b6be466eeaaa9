//! What of an instrument's trades is missing, and since when: the stretches of time in which a bar is not whole.
//! gaps, losses of the transport and what was fetched late in -> whether a stretch of time misses anything.

use model::UnixNanos;

/// Trades that are not here, happened or received between two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    from: UnixNanos,
    to: UnixNanos,
    /// The venue's ids of them, where it says, and how many are still missing.
    ids: Option<(u64, u64, u64)>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Missed {
    stretches: Vec<Stretch>,
}

impl Missed {
    /// Trades between two times are missing: those of `ids` (first and last), or nobody knows which.
    pub fn lose(&mut self, from: UnixNanos, to: UnixNanos, ids: Option<(u64, u64)>) {
        let ids = ids.map(|(first, last)| (first, last, last.saturating_sub(first) + 1));
        self.stretches.push(Stretch { from, to, ids });
    }

    /// A trade came late. Whether the last of a gap's trades is here with it, and since when that gap was.
    pub fn found(&mut self, id: u64) -> Option<(UnixNanos, UnixNanos)> {
        let within = |s: &Stretch| s.ids.is_some_and(|(first, last, _)| (first..=last).contains(&id));
        let at = self.stretches.iter().position(within)?;
        let (_, _, left) = self.stretches[at].ids.as_mut()?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let whole = self.stretches.remove(at);
        Some((whole.from, whole.to))
    }

    /// Between two times nothing is missing any more, though no ids say so. Whether that changes anything.
    pub fn fetched(&mut self, from: UnixNanos, to: UnixNanos) -> bool {
        let before = self.stretches.clone();
        for stretch in self.stretches.iter_mut().filter(|s| s.ids.is_none()) {
            if from <= stretch.from && stretch.from < to {
                stretch.from = to;
            }
        }
        self.stretches.retain(|s| s.ids.is_some() || s.from < s.to);
        before != self.stretches
    }

    /// Whether anything between two times is missing.
    pub fn touches(&self, from: UnixNanos, to: UnixNanos) -> bool {
        self.stretches.iter().any(|s| s.from <= to && from <= s.to)
    }

    /// Whether anything is missing at all.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> UnixNanos {
        UnixNanos(s)
    }

    #[test]
    fn a_gap_heals_when_its_last_trade_is_here() {
        let mut missed = Missed::default();
        missed.lose(at(10), at(20), Some((5, 6)));
        assert!(missed.touches(at(20), at(25)) && !missed.touches(at(0), at(9)));
        assert_eq!((missed.found(4), missed.found(5)), (None, None));
        assert_eq!(missed.found(6), Some((at(10), at(20))));
        assert!(missed.is_empty());
    }

    #[test]
    fn what_was_fetched_by_time_is_no_longer_missing() {
        let mut missed = Missed::default();
        missed.lose(at(10), at(20), None);
        missed.lose(at(30), at(40), Some((1, 9)));
        assert!(!missed.fetched(at(11), at(20)));
        assert!(missed.fetched(at(9), at(15)));
        assert!(!missed.touches(at(10), at(14)) && missed.touches(at(15), at(16)));
        assert!(missed.fetched(at(15), at(60)));
        assert!(!missed.touches(at(0), at(29)) && missed.touches(at(30), at(30)));
    }
}
