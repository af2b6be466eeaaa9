//! RFC 3339 text to nanoseconds since the Unix epoch: "2026-08-02T03:35:51.660084Z". Exact to the ninth decimal.
//!
//! A venue's messages share their date for a whole day, so [`DayCache`] compares ten bytes instead of computing a date.
//! `T` and `Z` must be upper case: RFC 3339 lets a reader insist, and no venue writes them otherwise.

use crate::lanes::{digits_leading, eight_digits, keep_first, word_at};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Why a time was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The text is not shaped like an RFC 3339 time.
    #[error("not a time at byte {offset}")]
    NotATime {
        /// The byte that does not fit, from the start of the text.
        offset: usize,
    },
    /// A field holds a number that no calendar or clock has.
    #[error("no such {field}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
    },
    /// More than nine decimals of a second; they are never cut off.
    #[error("more than nine decimals of a second")]
    TooPrecise,
    /// Second 60. Unix time has no name for it and guessing would move the event.
    #[error("leap second, which Unix time cannot name")]
    LeapSecond,
    /// Before 1970, such as the year 1 some venues send for "no time".
    #[error("before 1970")]
    BeforeEpoch,
    /// Beyond what 64 bits of nanoseconds hold, in July 2554.
    #[error("after the last nanosecond of 64 bits")]
    AfterRange,
}

/// Reads the time at the start of `text` as nanoseconds since the Unix epoch (UTC), with the number of bytes it took.
///
/// Zero to nine decimals of a second; `Z` or an offset such as `+02:00`. A second of 60 is
/// [`TimestampError::LeapSecond`]. For a stream of times keep a [`DayCache`].
pub fn rfc3339_nanos(text: &[u8]) -> Result<(u64, usize), TimestampError> {
    DayCache::default().rfc3339_nanos(text)
}

/// Remembers the last date seen. One per connection or per thread that parses.
#[derive(Clone, Debug)]
pub struct DayCache {
    /// As far as the `T`.
    date: [u8; 11],
    /// Nanoseconds since the epoch when the date starts; the whole day fits 64 bits.
    start_ns: u64,
}

impl Default for DayCache {
    fn default() -> Self {
        Self { date: *b"1970-01-01T", start_ns: 0 }
    }
}

impl DayCache {
    /// [`rfc3339_nanos`], fastest when the date is that of the call before.
    #[inline]
    pub fn rfc3339_nanos(&mut self, text: &[u8]) -> Result<(u64, usize), TimestampError> {
        match self.same_day(text) {
            Some(read) => Ok(read),
            None => self.rfc3339_outside(text),
        }
    }

    /// The same without the reason of a refusal.
    #[inline(always)]
    pub(crate) fn nanos_at(&mut self, text: &[u8]) -> Option<(u64, usize)> {
        // Not `or_else`, which may become a call for the times of today too.
        match self.same_day(text) {
            Some(read) => Some(read),
            None => self.rfc3339_outside(text).ok(),
        }
    }

    /// The remembered date, a valid time of day, `Z`; `None` leaves it to [`Civil`]. Reads as far as the time goes and no
    /// further, because times stand at the end of many frames.
    #[inline(always)]
    fn same_day(&self, text: &[u8]) -> Option<(u64, usize)> {
        let head = text.first_chunk::<20>()?;
        if head.first_chunk() != Some(&self.date) {
            return None;
        }
        // Each byte minus what it must at least be ("00:00:00"), then one addition carries into the top bit of every
        // byte that is more than it may be ("29:59:59"). Hours 24 to 29 are left to the last comparison.
        let clock = word_at(head, 11) ^ u64::from_le_bytes(*b"00:00:00");
        let above = clock.wrapping_add(0x7f7f_7f7f_7f7f_7f7f - u64::from_le_bytes([2, 9, 0, 5, 9, 0, 5, 9]));
        if (clock | above) & 0x8080_8080_8080_8080 != 0 {
            return None;
        }
        let pairs = clock.wrapping_mul(10).wrapping_add(clock >> 8);
        let (hour, minute, second) = (pairs & 0xff, (pairs >> 24) & 0xff, (pairs >> 48) & 0xff);
        if hour > 23 {
            return None;
        }
        let (mut nanos, mut len) = (0, 19);
        if head[19] == b'.' {
            let digits = word_at(text, 20);
            let count = digits_leading(digits);
            if count == 0 {
                return None;
            }
            nanos = eight_digits(keep_first(digits, count)) * 10;
            len = 20 + count;
            if count == 8
                && let Some(digit @ b'0'..=b'9') = text.get(28)
            {
                nanos += u64::from(digit - b'0');
                len = 29;
            }
        }
        if text.get(len) != Some(&b'Z') {
            return None;
        }
        let seconds = hour * 3_600 + minute * 60 + second;
        Some((self.start_ns + seconds * NANOS_PER_SECOND + nanos, len + 1))
    }

    /// A new date, an offset, or an error.
    #[inline(never)]
    fn rfc3339_outside(&mut self, text: &[u8]) -> Result<(u64, usize), TimestampError> {
        let civil = Civil::of(text)?;
        let read = (civil.nanos()?, civil.len);
        let start = u64::try_from(civil.day * SECONDS_PER_DAY).ok();
        let start = start.and_then(|start| start.checked_mul(NANOS_PER_SECOND));
        if let (Some(start_ns), Some(date)) = (start, text.first_chunk())
            && start_ns.checked_add(SECONDS_PER_DAY as u64 * NANOS_PER_SECOND).is_some()
        {
            *self = Self { date: *date, start_ns };
        }
        Ok(read)
    }
}

/// A time read field by field: the definition of the result, and of every error.
struct Civil {
    /// Days since 1970-01-01, as written (before the offset is applied).
    day: i64,
    /// Seconds since the start of that day, offset applied: may leave the day.
    seconds: i64,
    nanos: u64,
    len: usize,
}

impl Civil {
    fn of(text: &[u8]) -> Result<Self, TimestampError> {
        let year = number(text, 0, 4)?;
        byte(text, 4, b'-')?;
        let month = number(text, 5, 2)?;
        byte(text, 7, b'-')?;
        let day = number(text, 8, 2)?;
        byte(text, 10, b'T')?;
        let hour = number(text, 11, 2)?;
        byte(text, 13, b':')?;
        let minute = number(text, 14, 2)?;
        byte(text, 16, b':')?;
        let second = number(text, 17, 2)?;
        let (nanos, zone) = fraction(text, 19)?;
        let (offset, len) = zone_seconds(text, zone)?;
        within("month", month, 1, 12)?;
        within("day", day, 1, days_in_month(year, month))?;
        within("hour", hour, 0, 23)?;
        within("minute", minute, 0, 59)?;
        if second == 60 {
            return Err(TimestampError::LeapSecond);
        }
        within("second", second, 0, 59)?;
        let seconds = hour * 3_600 + minute * 60 + second - offset;
        Ok(Self { day: days_from_civil(year, month, day), seconds, nanos, len })
    }

    fn nanos(&self) -> Result<u64, TimestampError> {
        let seconds = self.day * SECONDS_PER_DAY + self.seconds;
        let seconds = u64::try_from(seconds).map_err(|_| TimestampError::BeforeEpoch)?;
        let nanos = seconds.checked_mul(NANOS_PER_SECOND).and_then(|nanos| nanos.checked_add(self.nanos));
        nanos.ok_or(TimestampError::AfterRange)
    }
}

fn byte(text: &[u8], at: usize, expected: u8) -> Result<(), TimestampError> {
    if text.get(at) == Some(&expected) { Ok(()) } else { Err(TimestampError::NotATime { offset: at }) }
}

/// Exactly `count` digits from `at`.
fn number(text: &[u8], at: usize, count: usize) -> Result<i64, TimestampError> {
    (at..at + count).try_fold(0, |value, at| match text.get(at) {
        Some(digit) if digit.is_ascii_digit() => Ok(value * 10 + i64::from(digit - b'0')),
        _ => Err(TimestampError::NotATime { offset: at }),
    })
}

fn within(field: &'static str, value: i64, least: i64, most: i64) -> Result<(), TimestampError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(TimestampError::OutOfRange { field }) }
}

/// Nanoseconds of the optional decimals at `at`, and where they end.
fn fraction(text: &[u8], at: usize) -> Result<(u64, usize), TimestampError> {
    if text.get(at) != Some(&b'.') {
        return Ok((0, at));
    }
    let digits = text.get(at + 1..).unwrap_or_default();
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(TimestampError::NotATime { offset: at + 1 });
    }
    if count > 9 {
        return Err(TimestampError::TooPrecise);
    }
    let nanos = (0..9).fold(0, |nanos, index| {
        let digit = if index < count { digits[index] - b'0' } else { 0 };
        nanos * 10 + u64::from(digit)
    });
    Ok((nanos, at + 1 + count))
}

/// Seconds the written time is ahead of UTC, and where the text ends.
fn zone_seconds(text: &[u8], at: usize) -> Result<(i64, usize), TimestampError> {
    let sign = match text.get(at) {
        Some(b'Z') => return Ok((0, at + 1)),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(TimestampError::NotATime { offset: at }),
    };
    let hours = number(text, at + 1, 2)?;
    byte(text, at + 3, b':')?;
    let minutes = number(text, at + 4, 2)?;
    within("offset hour", hours, 0, 23)?;
    within("offset minute", minutes, 0, 59)?;
    Ok((sign * (hours * 3_600 + minutes * 60), at + 6))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for years 0 to 9999. Years start in March here, so that
/// the leap day is the last day of one and month lengths follow a straight line.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
