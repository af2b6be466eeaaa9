//! The venue's floats as exact decimals: the shortest decimal that names the float and no other, as its JSON shows it.
//!
//! MessagePack carries 64 bits where JSON carries digits, and both must become the same record. [`fixed`] guesses the
//! integer count of 10^-scale and proves it by one division: below 10^15 two decimals never share a float, so a count
//! that divides back to the float is its shortest decimal. Whatever cannot be proven so goes through the text.

use scan::NumberError;
use std::fmt::{LowerExp, Write};

/// 10^0 to 10^18.
pub const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// The same as floats; all are exact (10^22 is the last that is).
const FLOAT_POWERS: [f64; 19] = {
    let mut powers = [1.0; 19];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = POWERS[n] as f64;
        n += 1;
    }
    powers
};

/// Any two decimals of up to 15 digits have floats of their own.
const PROVABLE: f64 = 1e15;

/// A float in units of 10^-`scale`; `None` when it is negative, no number, needs more decimals or does not fit.
#[inline(always)]
#[expect(clippy::float_cmp, reason = "a decimal is the float's when dividing it gives the very same bits")]
pub fn fixed(value: f64, scale: u8) -> Option<i64> {
    let power = *FLOAT_POWERS.get(usize::from(scale))?;
    let count = value * power;
    if (0.0..PROVABLE).contains(&count) {
        // The error of the product is below a quarter, so this is the nearest count.
        let nearest = (count + 0.5) as i64;
        if nearest as f64 / power == value {
            return Some(nearest);
        }
    }
    fixed_slow(value, scale)
}

#[inline(never)]
fn fixed_slow(value: f64, scale: u8) -> Option<i64> {
    shortest(value).ok()?.at_scale(scale).ok().filter(|v| *v >= 0)
}

/// The longest text of a float: a sign, 17 digits, a point, `e-308`.
const ROOM: usize = 32;

struct Room {
    bytes: [u8; ROOM],
    len: usize,
}

impl Write for Room {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The shortest decimal that reads back as this float of its width.
pub fn shortest(value: impl LowerExp) -> Result<scan::Decimal, NumberError> {
    let mut room = Room { bytes: [0; ROOM], len: 0 };
    write!(room, "{value:e}").expect("no float's shortest text is longer");
    // "NaN" and "inf" are texts too, and refused here as what they are: not numbers.
    Ok(scan::exact(&room.bytes[..room.len])?.0.trimmed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_are_what_their_digits_say() {
        assert_eq!(fixed(126.55, 4), Some(1_265_500));
        assert_eq!(fixed(0.1 + 0.2, 2), None);
        assert_eq!(fixed(0.1 + 0.2, 17), Some(30_000_000_000_000_004));
        assert_eq!(fixed(29.205707815, 9), Some(29_205_707_815));
        assert_eq!(fixed(26679.5912436798, 10), Some(266_795_912_436_798));
        assert_eq!(fixed(0.0, 18), Some(0));
        assert_eq!((fixed(f64::NAN, 2), fixed(f64::INFINITY, 2), fixed(-1.5, 2)), (None, None, None));
        assert_eq!(fixed(9_007_199_254_740_993.0, 0), Some(9_007_199_254_740_992));
        assert_eq!(shortest(1.1f32), Ok(scan::Decimal { mantissa: 11, scale: 1 }));
        assert!(shortest(f64::NAN).is_err() && shortest(f64::NEG_INFINITY).is_err() && shortest(5e-324).is_err());
    }

    proptest! {
        #[test]
        fn the_guess_is_the_shortest_text(mantissa in 0u64..=u64::MAX >> 1, digits in 0u32..19, scale in 0u8..=12) {
            let value: f64 = format!("{}e-{scale}", mantissa / 10u64.pow(18 - digits.min(18))).parse().expect("a float");
            for at in 0..=18 {
                let text = shortest(value).ok().and_then(|d| d.at_scale(at).ok());
                prop_assert_eq!(fixed(value, at), text, "{} at {}", value, at);
            }
        }

        #[test]
        fn any_bits_are_read_alike(bits in any::<u64>(), at in 0u8..=18) {
            let value = f64::from_bits(bits);
            let text = shortest(value).ok().and_then(|d| d.at_scale(at).ok()).filter(|v| *v >= 0);
            prop_assert_eq!(fixed(value, at), text);
        }
    }
}
