//! Decimal text to an exact scaled integer: "61837.63" at scale 8 is 6183763000000. Never through a float, never rounded.
//!
//! [`fixed`] is what every price and size goes through. Numbers as venues write them (up to eight digits each side of the
//! point) take a branch-light path over one window of bytes; anything else (sign, exponent, more digits, the last bytes
//! of a buffer) takes [`fixed_scalar`], which accepts a text of any length and is the definition of the result.

use crate::lanes::{
    Window, align_right, digit_mask, eight_digits, eight_digits_twice, keep_first, load, padded, sixteen_digits,
};
use crate::number::{NumberError, Parts};
use crate::shape::Shape;

/// Most decimals a mantissa in an `i64` can carry for values of 1 and above.
pub const SCALE_MAX: u8 = 18;
/// Most decimals [`exact`] keeps: 10^38 is the last power of ten in an `i128`.
pub const DECIMAL_SCALE_MAX: u8 = 38;

pub(crate) const POW10: [u64; 20] = {
    let mut powers = [1; 20];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// Reads the number at the start of `text` as an integer count of 10^-`scale`, with the number of bytes it took.
///
/// The text follows JSON's grammar (no leading `+`, no leading zeros, digits on both sides of a point, an optional
/// exponent) and may go on after the number. Zeros beyond the scale are fine, other digits are
/// [`NumberError::TooPrecise`]. Fastest where at least 32 bytes are readable from the start of the number.
#[inline]
pub fn fixed(text: &[u8], scale: u8) -> Result<(i64, usize), NumberError> {
    match text.first_chunk().and_then(|window| fixed_in(window, scale)) {
        Some(read) => Ok(read),
        None => fixed_outside(text, scale),
    }
}

/// [`fixed`] without the reason of a refusal, and always inlined: a frame's numbers are then read side by side.
#[inline(always)]
pub(crate) fn fixed_at(text: &[u8], scale: u8) -> Option<(i64, usize)> {
    match text.first_chunk().and_then(|window| fixed_in(window, scale)) {
        Some(read) => Some(read),
        None => fixed_outside(text, scale).ok(),
    }
}

/// A sign, more digits, or the short tail of a buffer, which gets a window of its own; the rest is unusual.
#[inline(never)]
fn fixed_outside(text: &[u8], scale: u8) -> Result<(i64, usize), NumberError> {
    let negative = text.first() == Some(&b'-');
    let digits = &text[usize::from(negative)..];
    let read = match digits.first_chunk() {
        Some(window) => magnitude_in(window, scale),
        None => magnitude_in(&padded(digits), scale),
    };
    match read {
        Some((magnitude, len)) => Ok((signed(magnitude.into(), negative)?, usize::from(negative) + len)),
        None => fixed_scalar(text, scale),
    }
}

/// At most eight digits on each side of the point, no sign, no exponent; `None` leaves it to [`fixed_outside`].
#[inline(always)]
fn fixed_in(window: &Window, scale: u8) -> Option<(i64, usize)> {
    let others = !digit_mask(window);
    let point = others.trailing_zeros() as usize;
    if point == 0 || point > 8 {
        return None;
    }
    let mut len = point;
    if window[point] == b'.' {
        len = (others & (others - 1)).trailing_zeros() as usize;
        if len - point - 1 == 0 || len - point - 1 > 8 {
            return None;
        }
    }
    Some((between(window, point, len, scale)?, len))
}

/// [`fixed_in`] of a number whose point and end are where the shape has them; any other is `None`.
#[inline(always)]
pub(crate) fn fixed_like(window: &Window, shape: &Shape, scale: u8) -> Option<i64> {
    if !shape.fits(window) {
        return None;
    }
    between(window, shape.point(), shape.len(), scale)
}

/// The number of `len` bytes with its point at `point`, or without one where they are the same: 1 to 8 digits before it,
/// and as many behind it where there is one.
#[inline(always)]
fn between(window: &Window, point: usize, len: usize, scale: u8) -> Option<i64> {
    if scale > SCALE_MAX || (window[0] == b'0' && point > 1) || window[len] | 0x20 == b'e' {
        return None;
    }
    let whole = align_right(load(window, 0), point);
    let power = POW10[usize::from(scale)];
    if point == len {
        return i64::try_from(eight_digits(whole).checked_mul(power)?).ok();
    }
    let (fraction, rest) = kept_decimals(load(window, point + 1), len - point - 1, scale)?;
    let (whole, fraction) = eight_digits_twice(whole, fraction);
    let mantissa = whole.checked_mul(power)?.checked_add(fraction * POW10[rest])?;
    i64::try_from(mantissa).ok()
}

/// The first `scale` of `count` (1..=8) decimals, for [`eight_digits`], and by which power of ten to multiply those;
/// `None` when the others are not all zeros.
#[inline(always)]
fn kept_decimals(word: u64, count: usize, scale: u8) -> Option<(u64, usize)> {
    let digits = keep_first(word, count) & 0x0f0f_0f0f_0f0f_0f0f;
    let scale = usize::from(scale);
    if scale == 0 {
        return (digits == 0).then_some((0, 0));
    }
    let kept = align_right(digits, scale.min(8));
    (kept >> (64 - 8 * scale.min(8)) == digits).then_some((kept, scale.saturating_sub(8)))
}

/// At most sixteen digits on each side of the point, all in the window with the byte after them; no sign, no exponent.
fn magnitude_in(window: &Window, scale: u8) -> Option<(u64, usize)> {
    let others = !digit_mask(window);
    let point = others.trailing_zeros() as usize;
    if point == 0 || point > 16 || scale > SCALE_MAX || (window[0] == b'0' && point > 1) {
        return None;
    }
    let mut magnitude = sixteen_digits(window, point).checked_mul(POW10[usize::from(scale)])?;
    let mut len = point;
    if window[point] == b'.' {
        len = (others & (others - 1)).trailing_zeros() as usize;
        let count = len - point - 1;
        // The second eight decimals are loaded whole, and must lie in the window.
        let loaded = point + 1 + if count > 8 { 16 } else { 8 };
        if count == 0 || count > 16 || len >= size_of::<Window>() || loaded > size_of::<Window>() {
            return None;
        }
        let (digits, power) = kept_decimals(load(window, point + 1), count.min(8), scale)?;
        magnitude = magnitude.checked_add(eight_digits(digits) * POW10[power])?;
        if count > 8 {
            let (digits, power) = kept_decimals(load(window, point + 9), count - 8, scale.saturating_sub(8))?;
            magnitude = magnitude.checked_add(eight_digits(digits) * POW10[power])?;
        }
    }
    (window[len] | 0x20 != b'e').then_some((magnitude, len))
}

/// The definition of [`fixed`], digit by digit, for a text of any length.
fn fixed_scalar(text: &[u8], scale: u8) -> Result<(i64, usize), NumberError> {
    let parts = Parts::of(text)?;
    let magnitude = magnitude_at(&parts, i64::from(scale), u64::MAX.into())?;
    Ok((signed(magnitude, parts.negative)?, parts.len))
}

fn signed(magnitude: u128, negative: bool) -> Result<i64, NumberError> {
    let magnitude = i128::try_from(magnitude).map_err(|_| NumberError::Overflow)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| NumberError::Overflow)
}

/// The value without its sign in units of 10^-`scale`, at most `limit`.
fn magnitude_at(parts: &Parts<'_>, scale: i64, limit: u128) -> Result<u128, NumberError> {
    let written = parts.whole.len() + parts.fraction.len();
    let shift = scale.saturating_sub(parts.decimals());
    let dropped = usize::try_from(shift.saturating_neg()).unwrap_or(0).min(written);
    if parts.digits().rev().take(dropped).any(|digit| digit != 0) {
        return Err(NumberError::TooPrecise { decimals: parts.decimals_needed() });
    }
    let times_ten_plus = |value: u128, digit: u8| {
        let next = value.checked_mul(10).and_then(|value| value.checked_add(u128::from(digit)));
        next.filter(|&next| next <= limit).ok_or(NumberError::Overflow)
    };
    let value = parts.digits().take(written - dropped).try_fold(0, times_ten_plus)?;
    if value == 0 {
        return Ok(0);
    }
    // Ends at the latest when the limit is passed, so a huge exponent costs at most 39 steps.
    (0..shift.max(0)).try_fold(value, |value, _| times_ten_plus(value, 0))
}

/// A decimal with the scale it was written with: "63388.70" is 6338870 at scale 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Value in units of 10^-`scale`.
    pub mantissa: i128,
    /// Number of decimals, at most [`DECIMAL_SCALE_MAX`].
    pub scale: u8,
}

impl Decimal {
    /// The same value at the smallest scale that holds it: 6338870 at scale 2 becomes 633887 at scale 1.
    pub fn trimmed(self) -> Self {
        let Self { mut mantissa, mut scale } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// The value in units of 10^-`scale`, exact or an error.
    pub fn at_scale(self, scale: u8) -> Result<i64, NumberError> {
        let Self { mut mantissa, scale: least } = self.trimmed();
        if mantissa == 0 {
            return Ok(0);
        }
        if least > scale {
            return Err(NumberError::TooPrecise { decimals: least.into() });
        }
        for _ in least..scale {
            mantissa = mantissa.checked_mul(10).ok_or(NumberError::Overflow)?;
        }
        i64::try_from(mantissa).map_err(|_| NumberError::Overflow)
    }
}

/// Reads the number at the start of `text` with the decimals it was written with, and the bytes it took.
///
/// For learning a scale rather than for every message. An exponent moves the point: "1e-08" is 1 at scale 8, "5E3" is
/// 5000 at scale 0. More than [`DECIMAL_SCALE_MAX`] decimals are [`NumberError::TooPrecise`].
pub fn exact(text: &[u8]) -> Result<(Decimal, usize), NumberError> {
    let parts = Parts::of(text)?;
    let decimals = parts.decimals().max(0);
    let scale = u8::try_from(decimals)
        .ok()
        .filter(|&scale| scale <= DECIMAL_SCALE_MAX)
        .ok_or(NumberError::TooPrecise { decimals: u32::try_from(decimals).unwrap_or(u32::MAX) })?;
    let magnitude = magnitude_at(&parts, decimals, i128::MAX.unsigned_abs())?;
    // Cannot fail: the limit above is the largest `i128`.
    let magnitude = i128::try_from(magnitude).map_err(|_| NumberError::Overflow)?;
    let mantissa = if parts.negative { -magnitude } else { magnitude };
    Ok((Decimal { mantissa, scale }, parts.len))
}

/// Decimals of the number at the start of `text` as written, zeros at the end included: "63388.70" has 2.
pub fn decimals(text: &[u8]) -> Result<u32, NumberError> {
    Ok(Parts::of(text)?.decimals().clamp(0, u32::MAX.into()) as u32)
}
