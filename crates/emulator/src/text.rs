//! Numbers and times as the venues write them: decimals padded to a fixed count, RFC 3339 with chosen decimals.
//!
//! Written by hand because a load run writes hundreds of thousands of them a second. Never through a float.

use model::UnixNanos;

/// Appends `mantissa` × 10^-`scale` with exactly `scale` decimals: 5 at scale 3 is "0.005".
pub(crate) fn push_padded(mantissa: i64, scale: u8, out: &mut Vec<u8>) {
    let mut room = [0; scan::FORMAT_LEN];
    let digits = scan::format_digits(mantissa.abs(), &mut room).as_bytes();
    if mantissa < 0 {
        out.push(b'-');
    }
    let scale = usize::from(scale);
    if scale == 0 {
        return out.extend_from_slice(digits);
    }
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.push(b'0');
    }
    out.extend_from_slice(&digits[..whole]);
    out.push(b'.');
    out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
    out.extend_from_slice(&digits[whole..]);
}

/// Appends a wide value, cut towards zero to what an `i64` holds; sums of a simulated day stay far below.
pub(crate) fn push_padded_wide(mantissa: i128, scale: u8, out: &mut Vec<u8>) {
    let held = mantissa.clamp(i128::from(i64::MIN + 1), i128::from(i64::MAX));
    push_padded(held as i64, scale, out);
}

/// Appends an unsigned integer.
pub(crate) fn push_u64(value: u64, out: &mut Vec<u8>) {
    match i64::try_from(value) {
        Ok(value) => scan::push_digits(value, out),
        Err(_) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

fn push_two(value: u64, out: &mut Vec<u8>) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

/// Appends `time` as RFC 3339 in UTC with `decimals` (0 to 9) decimals of a second, cut rather than rounded.
pub(crate) fn push_rfc3339(time: UnixNanos, decimals: u8, out: &mut Vec<u8>) {
    let seconds = time.0 / 1_000_000_000;
    let (year, month, day) = civil(seconds / 86_400);
    push_two(year / 100, out);
    push_two(year % 100, out);
    out.push(b'-');
    push_two(month, out);
    out.push(b'-');
    push_two(day, out);
    out.push(b'T');
    push_two(seconds / 3_600 % 24, out);
    out.push(b':');
    push_two(seconds / 60 % 60, out);
    out.push(b':');
    push_two(seconds % 60, out);
    if decimals > 0 {
        out.push(b'.');
        let mut rest = time.0 % 1_000_000_000;
        let mut unit = 100_000_000;
        for _ in 0..decimals.min(9) {
            out.push(b'0' + (rest / unit) as u8);
            rest %= unit;
            unit /= 10;
        }
    }
    out.push(b'Z');
}

/// Appends `time` as RFC 3339 with at most `decimals` decimals of a second and no zeros at their end.
pub(crate) fn push_rfc3339_trimmed(time: UnixNanos, decimals: u8, out: &mut Vec<u8>) {
    push_rfc3339(time, decimals, out);
    if decimals == 0 {
        return;
    }
    out.pop();
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
    out.push(b'Z');
}

/// Year, month and day of a day count since 1970-01-01. Years start in March here, so the leap day ends one.
pub(crate) fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_padded() {
        for (mantissa, scale, expected) in
            [(5, 3, "0.005"), (0, 8, "0.00000000"), (633_810, 1, "63381.0"), (-12, 1, "-1.2"), (7, 0, "7")]
        {
            let mut out = Vec::new();
            push_padded(mantissa, scale, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn times_lose_zeros_at_their_end_only() {
        for (ns, expected) in [
            (1_600_000_000_000_000_000, "2020-09-13T12:26:40Z"),
            (1_600_000_000_120_000_000, "2020-09-13T12:26:40.12Z"),
            (1_600_000_000_000_000_009, "2020-09-13T12:26:40.000000009Z"),
        ] {
            let mut out = Vec::new();
            push_rfc3339_trimmed(UnixNanos(ns), 9, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn times_read_back_as_they_were() {
        for ns in [0, 951_782_400_123_456_789, 1_709_164_800_000_000_000, 1_785_641_750_295_158_100] {
            let mut out = Vec::new();
            push_rfc3339(UnixNanos(ns), 9, &mut out);
            let (read, len) = scan::rfc3339_nanos(&out).expect("our own text");
            assert_eq!((read, len), (ns, out.len()), "{}", String::from_utf8_lossy(&out));
        }
    }
}
