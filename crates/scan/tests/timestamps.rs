//! Times against a calendar counted day by day.

use proptest::prelude::*;
use scan::{DayCache, TimestampError, rfc3339_nanos};

const DAY_NS: u64 = 86_400_000_000_000;

fn month_lengths(year: u64) -> [u64; 12] {
    let leap = year.is_multiple_of(400) || (year.is_multiple_of(4) && !year.is_multiple_of(100));
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

#[test]
fn every_day_that_64_bits_hold_follows_the_day_before() {
    let (mut days, mut start) = (DayCache::default(), 0);
    for year in 1970..2554 {
        for (month, length) in (1..).zip(month_lengths(year)) {
            for day in 1..=length {
                let text = format!("{year}-{month:02}-{day:02}T00:00:00Z");
                assert_eq!(rfc3339_nanos(text.as_bytes()), Ok((start, 20)), "{text}");
                let last = format!("{year}-{month:02}-{day:02}T23:59:59.999999999Z");
                assert_eq!(days.rfc3339_nanos(last.as_bytes()), Ok((start + DAY_NS - 1, 30)), "{last}");
                start += DAY_NS;
            }
            let after = format!("{year}-{month:02}-{:02}T00:00:00Z", length + 1);
            assert_eq!(rfc3339_nanos(after.as_bytes()), Err(TimestampError::OutOfRange { field: "day" }), "{after}");
        }
    }
}

/// Cold, then warm, alone and with bytes behind it.
#[track_caller]
fn check(text: &str, expected: Result<u64, TimestampError>) {
    let expected = expected.map(|nanos| (nanos, text.len()));
    let mut days = DayCache::default();
    for after in ["", "\"", "\",\"trades\":[{\"side\":\"buy\",\"price\":\"1\"}]}", ""] {
        let text = format!("{text}{after}");
        assert_eq!(rfc3339_nanos(text.as_bytes()), expected, "{text}");
        assert_eq!(days.rfc3339_nanos(text.as_bytes()), expected, "{text} after others");
    }
}

#[test]
fn times_as_venues_write_them() {
    check("1970-01-01T00:00:00Z", Ok(0));
    check("2026-08-02T03:35:51.660084Z", Ok(1_785_641_751_660_084_000));
    check("2026-08-02T03:35:51.6Z", Ok(1_785_641_751_600_000_000));
    check("2026-08-02T03:35:51.660084123Z", Ok(1_785_641_751_660_084_123));
    check("2026-08-02T03:35:51.66008412Z", Ok(1_785_641_751_660_084_120));
    check("2026-08-02T05:35:51.660084123+02:00", Ok(1_785_641_751_660_084_123));
    check("2026-08-01T22:05:51-05:30", Ok(1_785_641_751_000_000_000));
    check("1969-12-31T23:30:00-01:00", Ok(1_800_000_000_000));
    check("2554-07-21T23:34:33.709551615Z", Ok(u64::MAX));
}

#[test]
fn times_that_are_none() {
    use TimestampError::{AfterRange, BeforeEpoch, LeapSecond, NotATime, OutOfRange, TooPrecise};
    check("0001-01-01T00:00:00Z", Err(BeforeEpoch));
    check("0000-01-01T00:00:00Z", Err(BeforeEpoch));
    check("1969-12-31T23:59:59.999999999Z", Err(BeforeEpoch));
    check("1970-01-01T00:30:00+01:00", Err(BeforeEpoch));
    check("2554-07-21T23:34:33.709551616Z", Err(AfterRange));
    check("9999-12-31T23:59:59Z", Err(AfterRange));
    check("2016-12-31T23:59:60Z", Err(LeapSecond));
    check("2016-12-31T23:59:61Z", Err(OutOfRange { field: "second" }));
    check("2026-02-29T00:00:00Z", Err(OutOfRange { field: "day" }));
    check("2100-02-29T00:00:00Z", Err(OutOfRange { field: "day" }));
    check("2026-13-01T00:00:00Z", Err(OutOfRange { field: "month" }));
    check("2026-00-01T00:00:00Z", Err(OutOfRange { field: "month" }));
    check("1970-01-01T24:00:00Z", Err(OutOfRange { field: "hour" }));
    check("1970-01-01T29:00:00Z", Err(OutOfRange { field: "hour" }));
    check("1970-01-01T00:60:00Z", Err(OutOfRange { field: "minute" }));
    check("1970-01-01T00:00:00+24:00", Err(OutOfRange { field: "offset hour" }));
    check("1970-01-01T00:00:00-00:60", Err(OutOfRange { field: "offset minute" }));
    check("1970-01-01T00:00:00.1234567890Z", Err(TooPrecise));
    check("1970-01-01T00:00:00.Z", Err(NotATime { offset: 20 }));
    check("1970-01-01T00:00:00", Err(NotATime { offset: 19 }));
    check("1970-01-01T00:00:00.123456789", Err(NotATime { offset: 29 }));
    check("1970-01-01 00:00:00Z", Err(NotATime { offset: 10 }));
    check("1970-01-01T00:00:0xZ", Err(NotATime { offset: 18 }));
    check("1970-01-01T00:00;00Z", Err(NotATime { offset: 16 }));
    check("", Err(NotATime { offset: 0 }));
}

/// The same, written plainly; `None` for what must be refused.
fn reference(date: [u64; 3], time: [u64; 3], fraction: &str, zone_minutes: i64) -> Option<u64> {
    let [year, month, day] = date;
    let [hour, minute, second] = time;
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let months = month_lengths(year);
    if !(1..=months[month as usize - 1]).contains(&day) {
        return None;
    }
    let days = (1970..year).map(|year| month_lengths(year).iter().sum::<u64>()).sum::<u64>()
        + months[..month as usize - 1].iter().sum::<u64>()
        + day
        - 1;
    let minutes = (days * 1_440 + hour * 60 + minute) as i64 - zone_minutes;
    let nanos = format!("{fraction:0<9}").parse::<u64>().ok()?;
    Some((u64::try_from(minutes).ok()? * 60 + second) * 1_000_000_000 + nanos)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_fields_agree_with_the_reference(
        date in (1970u64..2554, 0u64..14, 0u64..33), time in (0u64..26, 0u64..62, 0u64..62),
        fraction in "[0-9]{0,11}", zone in prop::option::of((prop::bool::ANY, 0i64..24, 0i64..60)),
        after in "[^0-9].{0,30}", warm: bool,
    ) {
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date.0, date.1, date.2, time.0, time.1, time.2,
        );
        if !fraction.is_empty() {
            text += &format!(".{fraction}");
        }
        let zone_minutes = zone.map_or(0, |(east, hours, minutes)| (hours * 60 + minutes) * if east { 1 } else { -1 });
        text += &zone.map_or("Z".into(), |(east, hours, minutes)| {
            format!("{}{hours:02}:{minutes:02}", if east { '+' } else { '-' })
        });
        let expected = reference([date.0, date.1, date.2], [time.0, time.1, time.2], &fraction, zone_minutes)
            .map(|nanos| (nanos, text.len()));
        let mut days = DayCache::default();
        if warm {
            let same_day = format!("{}T12:00:00Z", &text[..10]);
            prop_assert_eq!(days.rfc3339_nanos(same_day.as_bytes()).is_ok(), rfc3339_nanos(same_day.as_bytes()).is_ok());
        }
        prop_assert_eq!(days.rfc3339_nanos(text.as_bytes()).ok(), expected, "{}", text);
        prop_assert_eq!(days.rfc3339_nanos(format!("{text}{after}").as_bytes()).ok(), expected, "{}", text);
    }

    #[test]
    fn a_warm_cache_reads_any_bytes_like_a_cold_one(
        changes in prop::collection::vec((0usize..40, any::<u8>()), 0..4), len in 0usize..45,
    ) {
        let mut text = *b"2026-08-02T03:35:51.660084123Z\",\"side\":\"buy\",";
        for (at, byte) in changes {
            text[at] = byte;
        }
        let text = &text[..len];
        let mut days = DayCache::default();
        prop_assert!(days.rfc3339_nanos(b"2026-08-02T00:00:00Z").is_ok());
        prop_assert_eq!(days.rfc3339_nanos(text), rfc3339_nanos(text));
    }
}
