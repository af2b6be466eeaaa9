//! Reference, ours, reference, ours: what is compared lies a few milliseconds apart.

use crate::BenchError;

/// Median and extremes of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        Spread { median: (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0, min: sorted[0], max: sorted[last] }
    }
}

/// Paired measurements, each the time of one unit of work in ns.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    reference: Vec<f64>,
    ours: Vec<f64>,
}

impl Pairs {
    /// Measures `count` pairs after one unmeasured pair that warms caches and branch predictors.
    pub fn measure(
        count: usize,
        mut reference: impl FnMut() -> Result<f64, BenchError>,
        mut ours: impl FnMut() -> Result<f64, BenchError>,
    ) -> Result<Pairs, BenchError> {
        reference()?;
        ours()?;
        let mut pairs = Pairs::default();
        for _ in 0..count.max(1) {
            let theirs = reference()?;
            pairs.push(theirs, ours()?);
        }
        Ok(pairs)
    }

    /// Adds one pair.
    pub fn push(&mut self, reference: f64, ours: f64) {
        self.reference.push(reference);
        self.ours.push(ours);
    }

    /// The reference's own times.
    pub fn reference(&self) -> Spread {
        Spread::of(&self.reference)
    }

    /// Our own times.
    pub fn ours(&self) -> Spread {
        Spread::of(&self.ours)
    }

    /// Our speed in the reference's: 2 is twice as fast.
    pub fn speed(&self) -> Spread {
        self.ratios(|theirs, ours| theirs / ours)
    }

    /// Our time in the reference's: 2 takes twice as long.
    pub fn cost(&self) -> Spread {
        self.ratios(|theirs, ours| ours / theirs)
    }

    fn ratios(&self, ratio: impl Fn(f64, f64) -> f64) -> Spread {
        let ratios: Vec<f64> =
            self.reference.iter().zip(&self.ours).map(|(theirs, ours)| ratio(*theirs, *ours)).collect();
        Spread::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_pairs_not_of_medians() {
        let mut pairs = Pairs::default();
        for (reference, ours) in [(1.0, 2.0), (10.0, 5.0), (100.0, 25.0)] {
            pairs.push(reference, ours);
        }
        assert_eq!(pairs.speed(), Spread { median: 2.0, min: 0.5, max: 4.0 });
        assert_eq!(pairs.cost(), Spread { median: 0.5, min: 0.25, max: 2.0 });
        assert_eq!(pairs.ours(), Spread { median: 5.0, min: 2.0, max: 25.0 });
        assert_eq!(Spread::of(&[1.0, 3.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
    }
}
