//! Exact quotients: what a mid, a mean price or an imbalance is before anybody rounds it.

use std::cmp::Ordering;

/// A fraction of two integers, not reduced; equal and ordered by value.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    /// `numerator / denominator`; `None` unless the denominator is positive.
    #[inline]
    pub fn new(numerator: i128, denominator: i128) -> Option<Ratio> {
        (denominator > 0).then_some(Ratio { numerator, denominator })
    }

    /// What is divided.
    #[inline]
    pub fn numerator(self) -> i128 {
        self.numerator
    }

    /// What it is divided by: positive.
    #[inline]
    pub fn denominator(self) -> i128 {
        self.denominator
    }

    /// The largest integer that is not above.
    #[inline]
    pub fn floor(self) -> i128 {
        self.numerator.div_euclid(self.denominator)
    }

    /// The smallest integer that is not below.
    #[inline]
    pub fn ceil(self) -> i128 {
        self.floor() + i128::from(self.numerator.rem_euclid(self.denominator) != 0)
    }

    /// The nearest integer; of two as near the even one.
    pub fn round(self) -> i128 {
        let (floor, rest) = (self.floor(), self.numerator.rem_euclid(self.denominator));
        // Compared as distances to both neighbours, since twice the rest need not fit.
        match rest.cmp(&(self.denominator - rest)) {
            Ordering::Less => floor,
            Ordering::Greater => floor + 1,
            Ordering::Equal => floor + (floor & 1),
        }
    }

    /// The nearest float, or one beside it: for display and models, never for money.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl Ord for Ratio {
    /// By whole parts and then, as the products need not fit, by the remainders' inverses: a continued fraction.
    fn cmp(&self, other: &Ratio) -> Ordering {
        let (mut a, mut b, mut turned) = (*self, *other, false);
        loop {
            let (whole_a, whole_b) = (a.floor(), b.floor());
            let (rest_a, rest_b) = (a.numerator.rem_euclid(a.denominator), b.numerator.rem_euclid(b.denominator));
            let order = match (whole_a.cmp(&whole_b), rest_a, rest_b) {
                (Ordering::Equal, 0, 0) => return Ordering::Equal,
                (Ordering::Equal, 0, _) => Ordering::Less,
                (Ordering::Equal, _, 0) => Ordering::Greater,
                (Ordering::Equal, _, _) => {
                    a = Ratio { numerator: a.denominator, denominator: rest_a };
                    b = Ratio { numerator: b.denominator, denominator: rest_b };
                    turned = !turned;
                    continue;
                }
                (order, _, _) => order,
            };
            return if turned { order.reverse() } else { order };
        }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Ratio) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ratio {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(n: i128, d: i128) -> Ratio {
        Ratio::new(n, d).expect("the denominator is positive")
    }

    proptest! {
        #[test]
        fn orders_as_products_do(a in -99i128..99, b in 1i128..99, c in -99i128..99, d in 1i128..99) {
            prop_assert_eq!(ratio(a, b).cmp(&ratio(c, d)), (a * d).cmp(&(c * b)));
        }

        #[test]
        fn rounds_to_the_nearest(n in -10_000i128..10_000, d in 1i128..50) {
            let r = ratio(n, d);
            prop_assert!(r.floor() * d <= n && n < (r.floor() + 1) * d);
            prop_assert!((r.ceil() - 1) * d < n && n <= r.ceil() * d);
            let off = (r.round() * d - n).abs() * 2;
            prop_assert!(off < d || (off == d && r.round() % 2 == 0));
        }
    }

    #[test]
    fn the_largest_numbers_are_ordered_too() {
        let near = ratio(i128::MAX, i128::MAX - 1);
        assert!(near > ratio(1, 1) && near < ratio(i128::MAX - 1, i128::MAX - 2));
        assert_eq!(ratio(i128::MIN, i128::MAX).round(), -1);
        assert_eq!(Ratio::new(1, 0), None);
        assert_eq!(Ratio::new(1, -1), None);
    }
}
