//! A scaled integer back to text: the shortest decimal for people and JSON, the bare digits for checksums.

use crate::decimal::SCALE_MAX;

/// Longest text written here: a sign, 19 digits and a point, or "-0." and 18 decimals, rounded up.
pub const FORMAT_LEN: usize = 24;

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// Writes `mantissa` × 10^-`scale` without zeros at the end and without an exponent: 6338870 at scale 2 is "63388.7".
///
/// # Panics
/// When `scale` is above [`SCALE_MAX`].
pub fn format_fixed(mantissa: i64, scale: u8, out: &mut [u8; FORMAT_LEN]) -> &str {
    assert!(scale <= SCALE_MAX, "scale {scale} is above {SCALE_MAX}");
    let scale = usize::from(scale);
    let mut digits = [b'0'; FORMAT_LEN];
    // One digit before the point at least, so "5" at scale 3 is seen as "0005".
    let start = write_digits(mantissa.unsigned_abs(), &mut digits).min(FORMAT_LEN - scale - 1);
    let point = FORMAT_LEN - scale;
    let mut end = FORMAT_LEN;
    while end > point && digits[end - 1] == b'0' {
        end -= 1;
    }
    let mut len = 0;
    if mantissa < 0 {
        out[0] = b'-';
        len = 1;
    }
    let whole = &digits[start..point];
    out[len..len + whole.len()].copy_from_slice(whole);
    len += whole.len();
    if end > point {
        out[len] = b'.';
        len += 1;
        let fraction = &digits[point..end];
        out[len..len + fraction.len()].copy_from_slice(fraction);
        len += fraction.len();
    }
    ascii(&out[..len])
}

/// Writes the digits of `mantissa` as they are, with a minus where it is negative. At the scale a venue writes its
/// numbers with these are the number's digits without point and leading zeros, which checksums are made of.
pub fn format_digits(mantissa: i64, out: &mut [u8; FORMAT_LEN]) -> &str {
    let mut start = write_digits(mantissa.unsigned_abs(), out);
    if mantissa < 0 {
        start -= 1;
        out[start] = b'-';
    }
    ascii(&out[start..])
}

/// Appends [`format_fixed`]'s text.
///
/// # Panics
/// When `scale` is above [`SCALE_MAX`].
pub fn push_fixed(mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format_fixed(mantissa, scale, &mut [0; FORMAT_LEN]).as_bytes());
}

/// Appends [`format_digits`]'s text.
pub fn push_digits(mantissa: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(format_digits(mantissa, &mut [0; FORMAT_LEN]).as_bytes());
}

/// Right-aligned, at least one digit; gives where they start.
#[inline]
fn write_digits(mut value: u64, out: &mut [u8; FORMAT_LEN]) -> usize {
    let mut start = FORMAT_LEN;
    while value >= 100 {
        start -= 2;
        out[start..start + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        out[start..start + 2].copy_from_slice(&PAIRS[value as usize]);
    } else {
        start -= 1;
        out[start] = b'0' + value as u8;
    }
    start
}

fn ascii(bytes: &[u8]) -> &str {
    debug_assert!(bytes.is_ascii());
    // SAFETY: only digits, '-' and '.' are written above, which is ASCII and so valid UTF-8.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mantissa: i64, scale: u8, fixed: &str, digits: &str) {
        assert_eq!(format_fixed(mantissa, scale, &mut [0xff; FORMAT_LEN]), fixed);
        assert_eq!(format_digits(mantissa, &mut [0xff; FORMAT_LEN]), digits);
    }

    #[test]
    fn numbers_are_written_shortest() {
        check(0, 0, "0", "0");
        check(0, 18, "0", "0");
        check(5, 3, "0.005", "5");
        check(-5, 3, "-0.005", "-5");
        check(6_338_870, 2, "63388.7", "6338870");
        check(100, 2, "1", "100");
        check(-100, 0, "-100", "-100");
        check(i64::MIN, 18, "-9.223372036854775808", "-9223372036854775808");
        check(i64::MAX, 0, "9223372036854775807", "9223372036854775807");
        check(-1, 18, "-0.000000000000000001", "-1");
    }

    #[test]
    fn appending_keeps_what_is_there() {
        let mut out = b"p=".to_vec();
        push_fixed(15, 1, &mut out);
        push_digits(15, &mut out);
        assert_eq!(out, b"p=1.515");
    }

    #[test]
    #[should_panic(expected = "scale 19 is above 18")]
    fn a_scale_that_cannot_be_is_refused() {
        format_fixed(1, 19, &mut [0; FORMAT_LEN]);
    }
}
