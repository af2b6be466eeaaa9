//! What the consolidated tape says of a stock trade beside its price: extended hours, and prints out of sequence.
//!
//! Hours are those of New York. The emulator trades around the clock; what lies outside 09:30 to 16:00 is marked as the
//! tape marks it. Which prints come late depends on their ids alone.

use model::UnixNanos;

use crate::market::{Pair, Trade};
use crate::text::civil;

/// One trade in so many is printed late, and after so many more of its symbol.
const LATE_OF: u64 = 90;
pub(super) const LATE_AFTER: u64 = 2;
/// Minutes of the day at which the regular session begins and ends.
const REGULAR: std::ops::Range<u64> = 9 * 60 + 30..16 * 60;
const DAY_S: u64 = 86_400;

/// Whether a stock trade is told behind later ones.
pub(super) fn is_late(pair: &Pair, trade: &Trade) -> bool {
    pair.tape && trade.id % LATE_OF == 23
}

/// The tape's code for extended hours and late prints, if there is one.
pub(super) fn code(pair: &Pair, trade: &Trade) -> Option<&'static str> {
    if !pair.tape {
        return None;
    }
    match (is_regular(trade.time), is_late(pair, trade)) {
        (true, true) => Some("Z"),
        (false, true) => Some("U"),
        (false, false) => Some("T"),
        (true, false) => None,
    }
}

/// Whether the regular session is on: working days, without the exchange's holidays.
fn is_regular(time: UnixNanos) -> bool {
    let utc_s = time.0 / 1_000_000_000;
    let local_s = utc_s - if is_summer(utc_s) { 4 } else { 5 } * 3_600;
    // The epoch was a Thursday.
    let weekday = (local_s / DAY_S + 4) % 7;
    (1..=5).contains(&weekday) && REGULAR.contains(&(local_s % DAY_S / 60))
}

/// Daylight saving time: from the second Sunday of March to the first of November, at two o'clock.
fn is_summer(utc_s: u64) -> bool {
    let standard_s = utc_s - 5 * 3_600;
    let days = standard_s / DAY_S;
    let (_, month, day) = civil(days);
    let sundays = (day + 6 - (days + 4) % 7) / 7;
    let today_is = (days + 4).is_multiple_of(7);
    let past_two = standard_s % DAY_S >= if month == 11 { 3_600 } else { 2 * 3_600 };
    match month {
        4..=10 => true,
        3 => sundays > 2 || sundays == 2 && (!today_is || past_two),
        11 => sundays == 0 || sundays == 1 && today_is && !past_two,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixNanos {
        UnixNanos(scan::rfc3339_nanos(text.as_bytes()).expect("a time").0)
    }

    #[test]
    fn sessions_are_new_york_s() {
        for (text, regular) in [
            ("2026-01-05T14:29:59Z", false),
            ("2026-01-05T14:30:00Z", true),
            ("2026-01-05T20:59:59Z", true),
            ("2026-01-05T21:00:00Z", false),
            ("2026-07-06T13:30:00Z", true),
            ("2026-07-06T13:29:59Z", false),
            ("2026-07-06T20:00:00Z", false),
            ("2026-07-04T15:00:00Z", false),
            // Clocks changed on Sundays 8 March and 1 November.
            ("2026-03-06T13:45:00Z", false),
            ("2026-03-09T13:45:00Z", true),
            ("2026-10-30T13:45:00Z", true),
            ("2026-11-02T13:45:00Z", false),
            ("2026-11-02T14:45:00Z", true),
        ] {
            assert_eq!(is_regular(at(text)), regular, "{text}");
        }
    }
}
