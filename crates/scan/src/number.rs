//! The grammar of a JSON number, and what may be wrong with one. Shared by decimals and by the pull parser, so that both
//! accept the same text.

use crate::lanes::{Window, digit_mask};

/// Why a number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text does not follow JSON's grammar of a number.
    #[error("not a number at byte {offset}")]
    NotANumber {
        /// Byte that should have been a digit (or must not be one), from the start of the text.
        offset: usize,
    },
    /// The value has more decimals than the scale holds; it is never rounded.
    #[error("needs {decimals} decimals, more than the scale holds")]
    TooPrecise {
        /// Decimals the value needs, without trailing zeros.
        decimals: u32,
    },
    /// The value does not fit the integer it is read into.
    #[error("number out of range")]
    Overflow,
}

/// A number taken apart: value = digits of `whole` and `fraction` joined × 10^(exponent − fraction.len()).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) negative: bool,
    pub(crate) whole: &'a [u8],
    pub(crate) fraction: &'a [u8],
    /// Saturates; a text cannot hold enough digits to bring such a value back into range, unless they are zeros.
    pub(crate) exponent: i64,
    /// Bytes the number takes.
    pub(crate) len: usize,
}

impl<'a> Parts<'a> {
    /// Splits the number at the start of `text`; what follows it is the caller's business.
    pub(crate) fn of(text: &'a [u8]) -> Result<Self, NumberError> {
        let negative = text.first() == Some(&b'-');
        let start = usize::from(negative);
        let whole = digits(text, start)?;
        if whole.len() > 1 && whole[0] == b'0' {
            return Err(NumberError::NotANumber { offset: start + 1 });
        }
        let mut len = start + whole.len();
        let mut fraction: &[u8] = &[];
        if text.get(len) == Some(&b'.') {
            fraction = digits(text, len + 1)?;
            len += 1 + fraction.len();
        }
        let mut exponent = 0;
        if matches!(text.get(len), Some(b'e' | b'E')) {
            let sign = text.get(len + 1);
            let from = len + 1 + usize::from(matches!(sign, Some(b'+' | b'-')));
            let power = digits(text, from)?;
            let size =
                power.iter().fold(0i64, |size, &digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
            exponent = if sign == Some(&b'-') { -size } else { size };
            len = from + power.len();
        }
        Ok(Self { negative, whole, fraction, exponent, len })
    }

    /// Decimals as written, an exponent taken into account: below zero when only multiples of ten can be written.
    pub(crate) fn decimals(&self) -> i64 {
        (self.fraction.len() as i64).saturating_sub(self.exponent)
    }

    /// All digits in order.
    pub(crate) fn digits(&self) -> impl DoubleEndedIterator<Item = u8> + 'a {
        self.whole.iter().chain(self.fraction).map(|&digit| digit - b'0')
    }

    /// Decimals left when the zeros at the end are dropped; zero for the value zero.
    pub(crate) fn decimals_needed(&self) -> u32 {
        if self.digits().all(|digit| digit == 0) {
            return 0;
        }
        let zeros = self.digits().rev().take_while(|&digit| digit == 0).count();
        self.decimals().saturating_sub(zeros as i64).clamp(0, i64::from(u32::MAX)) as u32
    }
}

/// At least one digit from `at`.
fn digits(text: &[u8], at: usize) -> Result<&[u8], NumberError> {
    let rest = text.get(at..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(NumberError::NotANumber { offset: at });
    }
    Ok(&rest[..count])
}

/// Bytes the number at the start of `text` takes.
#[inline]
pub(crate) fn number_len(text: &[u8]) -> Result<usize, NumberError> {
    match text.first_chunk().and_then(number_len_in) {
        Some(len) => Ok(len),
        None => Ok(Parts::of(text)?.len),
    }
}

/// [`number_len`] for a number without sign and exponent that ends inside the window; `None` leaves it to [`Parts`].
#[inline(always)]
fn number_len_in(window: &Window) -> Option<usize> {
    let others = !digit_mask(window);
    let whole = others.trailing_zeros() as usize;
    if whole == 0 || whole >= window.len() || (window[0] == b'0' && whole > 1) {
        return None;
    }
    let mut len = whole;
    if window[whole] == b'.' {
        len = (others & (others - 1)).trailing_zeros() as usize;
        if len == whole + 1 || len >= window.len() {
            return None;
        }
    }
    (window[len] | 0x20 != b'e').then_some(len)
}
