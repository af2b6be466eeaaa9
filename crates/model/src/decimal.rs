//! Exact decimals: what a venue's number says, no more and no less.

use std::{fmt, str::FromStr};

/// The largest decimal scale a value may have: `10^18` is the largest power of ten that fits an `i64`.
pub const SCALE_MAX: u8 = 18;

/// `mantissa * 10^-scale`, exact. Equal numbers of different scale compare equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    /// The digits as an integer.
    pub mantissa: i128,
    /// How many of them stand behind the point, 0 to [`SCALE_MAX`].
    pub scale: u8,
}

/// Why a text is no decimal, or a decimal does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not the text of a number.
    #[error("not a decimal number (at byte {offset})")]
    NotANumber {
        /// Where the text stops being a number.
        offset: usize,
    },
    /// More decimals than the scale allows.
    #[error("needs {decimals} decimals, the scale allows {scale}")]
    TooPrecise {
        /// Decimals the value needs.
        decimals: u8,
        /// Decimals there are.
        scale: u8,
    },
    /// Does not fit 64 bits at this scale.
    #[error("does not fit 64 bits at scale {scale}")]
    Overflow {
        /// The scale asked for.
        scale: u8,
    },
}

impl Decimal {
    /// `mantissa * 10^-scale`.
    pub const fn new(mantissa: i128, scale: u8) -> Decimal {
        Decimal { mantissa, scale }
    }

    /// The same number with the least scale that holds it.
    pub fn normalised(self) -> Decimal {
        let Decimal { mut mantissa, mut scale } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal { mantissa, scale }
    }

    /// The decimals it needs: those of its least scale.
    pub fn decimals(self) -> u8 {
        self.normalised().scale
    }

    /// The mantissa at another scale; never rounds.
    pub fn at_scale(self, scale: u8) -> Result<i64, DecimalError> {
        let n = self.normalised();
        if n.scale > scale {
            return Err(DecimalError::TooPrecise { decimals: n.scale, scale });
        }
        let factor = 10i128.pow(u32::from(scale - n.scale));
        let wide = n.mantissa.checked_mul(factor).ok_or(DecimalError::Overflow { scale })?;
        i64::try_from(wide).map_err(|_| DecimalError::Overflow { scale })
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        let (a, b) = (self.normalised(), other.normalised());
        a.mantissa == b.mantissa && a.scale == b.scale
    }
}
impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.normalised();
        let digits = n.mantissa.unsigned_abs().to_string();
        let sign = if n.mantissa < 0 { "-" } else { "" };
        let scale = usize::from(n.scale);
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (int, frac) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{int}.{frac}")
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;
    /// Plain decimal text, with an optional sign and exponent. Exact or an error.
    fn from_str(text: &str) -> Result<Decimal, DecimalError> {
        let bytes = text.as_bytes();
        let mut at = 0;
        let negative = bytes.first() == Some(&b'-');
        at += usize::from(negative);
        let (mut mantissa, mut scale, mut digits, mut point) = (0i128, 0i32, 0usize, false);
        while let Some(&c) = bytes.get(at) {
            match c {
                b'0'..=b'9' => {
                    mantissa = mantissa
                        .checked_mul(10)
                        .and_then(|m| m.checked_add(i128::from(c - b'0')))
                        .ok_or(DecimalError::Overflow { scale: SCALE_MAX })?;
                    scale += i32::from(point);
                    digits += 1;
                }
                b'.' if !point && digits > 0 => point = true,
                _ => break,
            }
            at += 1;
        }
        if digits == 0 || (point && scale == 0) {
            return Err(DecimalError::NotANumber { offset: at });
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let exponent: i32 =
                text.get(at + 1..).and_then(|e| e.parse().ok()).ok_or(DecimalError::NotANumber { offset: at + 1 })?;
            scale = scale.checked_sub(exponent).ok_or(DecimalError::NotANumber { offset: at + 1 })?;
            at = bytes.len();
        }
        if at != bytes.len() {
            return Err(DecimalError::NotANumber { offset: at });
        }
        if mantissa == 0 {
            return Ok(Decimal::new(0, 0));
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        while scale < 0 {
            mantissa = mantissa.checked_mul(10).ok_or(DecimalError::Overflow { scale: 0 })?;
            scale += 1;
        }
        let scale = u8::try_from(scale)
            .ok()
            .filter(|s| *s <= SCALE_MAX)
            .ok_or(DecimalError::TooPrecise { decimals: u8::try_from(scale).unwrap_or(u8::MAX), scale: SCALE_MAX })?;
        Ok(Decimal::new(if negative { -mantissa } else { mantissa }, scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_their_numbers() {
        for (text, shown) in [
            ("0", "0"),
            ("0.00000000", "0"),
            ("63388.7", "63388.7"),
            ("61837.63000000", "61837.63"),
            ("1e-08", "0.00000001"),
            ("5E3", "5000"),
            ("-0.5", "-0.5"),
            ("12.50e1", "125"),
        ] {
            assert_eq!(text.parse::<Decimal>().map(|d| d.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for bad in ["", "-", ".5", "5.", "1.2.3", "1e", "0x10", "nan", "1 ", "1e999999999999"] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad:?} was taken for a number");
        }
    }

    #[test]
    fn a_scale_that_is_too_small_is_named() {
        let d: Decimal = "0.125".parse().expect("a number");
        assert_eq!(d.at_scale(2), Err(DecimalError::TooPrecise { decimals: 3, scale: 2 }));
        assert_eq!(d.at_scale(8), Ok(12_500_000));
        let big: Decimal = "123456789012".parse().expect("a number");
        assert_eq!(big.at_scale(8), Err(DecimalError::Overflow { scale: 8 }));
    }

    proptest! {
        #[test]
        fn up_to_18_digits_survive(mantissa in -999_999_999_999_999_999i64..=999_999_999_999_999_999, scale in 0u8..=18) {
            let d = Decimal::new(mantissa.into(), scale);
            let back: Decimal = d.to_string().parse().expect("our own text");
            prop_assert_eq!(back, d);
            prop_assert_eq!(d.at_scale(scale), Ok(mantissa));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Decimal>();
        }
    }
}
