//! Integer text to `u64` and `i64`: ids, sequence numbers, epoch times. JSON's grammar, so no leading zeros.

use crate::lanes::{Window, digit_mask, padded, sixteen_digits};
use crate::number::NumberError;

/// Reads the unsigned integer at the start of `text`, with the number of bytes it took.
///
/// Stops at the first byte that is no digit; whether a point or an exponent may follow is the caller's business.
#[inline]
pub fn u64_at(text: &[u8]) -> Result<(u64, usize), NumberError> {
    match text.first_chunk().and_then(u64_in) {
        Some(read) => Ok(read),
        None => u64_outside(text),
    }
}

/// [`u64_at`] without the reason of a refusal, and always inlined.
#[inline(always)]
pub(crate) fn whole_at(text: &[u8]) -> Option<(u64, usize)> {
    match text.first_chunk().and_then(u64_in) {
        Some(read) => Some(read),
        None => u64_outside(text).ok(),
    }
}

/// A number of exactly `N` digits, at most 16; any other is `None`.
#[inline(always)]
pub(crate) fn whole_of<const N: usize>(window: &Window) -> Option<u64> {
    const { assert!(N > 1 && N <= 16) };
    let digits = (1u32 << N) - 1;
    let exactly = digit_mask(window) & (digits << 1 | 1) == digits;
    (exactly && window[0] != b'0').then(|| sixteen_digits(window, N))
}

/// A number of exactly so many digits, at most 16; any other is `None`.
#[inline(always)]
pub(crate) fn whole_like(window: &Window, count: usize) -> Option<u64> {
    if count == 0 || count > 16 {
        return None;
    }
    let digits = (1u32 << count) - 1;
    let exactly = digit_mask(window) & (digits << 1 | 1) == digits;
    (exactly && (window[0] != b'0' || count == 1)).then(|| sixteen_digits(window, count))
}

/// Reads the integer with an optional minus at the start of `text`, with the number of bytes it took.
#[inline]
pub fn i64_at(text: &[u8]) -> Result<(i64, usize), NumberError> {
    let Some((b'-', digits)) = text.split_first() else {
        let (value, len) = u64_at(text)?;
        return Ok((i64::try_from(value).map_err(|_| NumberError::Overflow)?, len));
    };
    match u64_at(digits) {
        Ok((value, len)) => Ok((0i64.checked_sub_unsigned(value).ok_or(NumberError::Overflow)?, len + 1)),
        Err(NumberError::NotANumber { offset }) => Err(NumberError::NotANumber { offset: offset + 1 }),
        Err(other) => Err(other),
    }
}

/// Up to 16 digits; `None` leaves it to [`u64_scalar`].
#[inline(always)]
fn u64_in(window: &Window) -> Option<(u64, usize)> {
    let len = (!digit_mask(window)).trailing_zeros() as usize;
    if len == 0 || len > 16 || (window[0] == b'0' && len > 1) {
        return None;
    }
    Some((sixteen_digits(window, len), len))
}

#[inline(never)]
fn u64_outside(text: &[u8]) -> Result<(u64, usize), NumberError> {
    if text.len() < size_of::<Window>()
        && let Some(read) = u64_in(&padded(text))
    {
        return Ok(read);
    }
    u64_scalar(text)
}

/// The definition of [`u64_at`], digit by digit.
fn u64_scalar(text: &[u8]) -> Result<(u64, usize), NumberError> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return Err(NumberError::NotANumber { offset: 0 });
    }
    if len > 1 && text[0] == b'0' {
        return Err(NumberError::NotANumber { offset: 1 });
    }
    let value =
        text[..len].iter().try_fold(0u64, |value, &digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    Ok((value.ok_or(NumberError::Overflow)?, len))
}
