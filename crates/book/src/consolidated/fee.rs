//! What a venue takes of a taker, exactly: a price after the fee is an integer, not a rounded one.

use model::{Decimal, Side};

/// Units of a fee in the whole: a hundredth of a basis point is a part in a million.
pub(super) const WHOLE: i128 = 1_000_000;

/// A taker's fee as part of the value traded, in hundredths of a basis point; below zero where the venue pays it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fee(i32);

/// Why a number is no fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fee of {basis_points} basis points: it has at most two decimals and lies between -10000 and 10000")]
pub struct FeeError {
    /// What was given.
    pub basis_points: Decimal,
}

impl Fee {
    /// No fee.
    pub const ZERO: Fee = Fee(0);

    /// A fee in basis points with at most two decimals, more than -10,000 and less than 10,000: at the whole value the
    /// order of prices would be lost.
    pub fn basis_points(basis_points: Decimal) -> Result<Fee, FeeError> {
        let hundredths = basis_points.at_scale(2).map_err(|_| FeeError { basis_points })?;
        let fits = i128::from(hundredths).abs() < WHOLE;
        i32::try_from(hundredths).ok().filter(|_| fits).map(Fee).ok_or(FeeError { basis_points })
    }

    /// The fee in hundredths of a basis point: parts in a million.
    pub fn parts_per_million(self) -> i32 {
        self.0
    }

    /// The fee of a value, at six more decimals; `None` when it does not fit. Charged on the amount, whatever its sign.
    pub(super) fn of(self, value: i128) -> Option<i128> {
        value.checked_abs()?.checked_mul(self.0.into())
    }

    /// What a unit costs a buyer or brings a seller, fee included, at six more decimals; held at the ends of 128 bits.
    pub(super) fn after(self, taker: Side, price: i128) -> i128 {
        let fee = price.saturating_abs().saturating_mul(self.0.into());
        let whole = price.saturating_mul(WHOLE);
        if taker == Side::Buy { whole.saturating_add(fee) } else { whole.saturating_sub(fee) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_exact_or_refused() {
        let fee = |text: &str| Fee::basis_points(text.parse().expect("a decimal"));
        assert_eq!(fee("26"), Ok(Fee(2600)));
        assert_eq!(fee("4.5").map(Fee::parts_per_million), Ok(450));
        assert_eq!(fee("-0.25"), Ok(Fee(-25)));
        assert_eq!(fee("9999.99"), Ok(Fee(999_999)));
        for bad in ["0.125", "10000", "-10000", "99999999999999999"] {
            assert!(fee(bad).is_err(), "{bad} was taken for a fee");
        }
    }

    #[test]
    fn a_buyer_pays_it_and_a_seller_gets_so_much_less() {
        let fee = Fee(1000);
        assert_eq!(fee.after(Side::Buy, 200), 200_200_000);
        assert_eq!(fee.after(Side::Sell, 200), 199_800_000);
        assert_eq!(fee.after(Side::Buy, -200), -199_800_000);
        assert_eq!(fee.of(-200), Some(200_000));
        assert_eq!(fee.of(i128::MAX), None);
    }
}
