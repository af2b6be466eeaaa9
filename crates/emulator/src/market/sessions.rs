//! When the stock exchanges of New York trade: regular and extended hours, holidays, early closes, daylight saving.
//! day, time -> [`Session`]; a function of the calendar alone.
//!
//! Holidays are those of the exchanges' rules since 2022: a fixed date on a Saturday is kept on the Friday before, on a
//! Sunday on the Monday after, New Year's Day on a Saturday not at all. Days of mourning are not foreseen.

use model::UnixNanos;

use crate::text::civil;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;
/// Minutes of a day in New York.
const BEGINS: u64 = 4 * 60;
const OPENS: u64 = 9 * 60 + 30;
const CLOSES: u64 = 16 * 60;
const CLOSES_EARLY: u64 = 13 * 60;
/// Trading after hours goes on for so long.
const AFTER: u64 = 4 * 60;
/// The longest run of days without a session is shorter than this.
const DAYS_MAX: u64 = 10;

/// One trading day. Times are minutes of the day in New York.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Since 1970-01-01.
    pub(crate) day: u64,
    pub(crate) begins: u64,
    pub(crate) opens: u64,
    pub(crate) closes: u64,
    pub(crate) ends: u64,
}

/// The session of a day since 1970-01-01, if there is one.
pub(crate) fn session(day: u64) -> Option<Session> {
    if weekday(day) >= 6 || is_holiday(day) {
        return None;
    }
    let closes = if is_short(day) { CLOSES_EARLY } else { CLOSES };
    Some(Session { day, begins: BEGINS, opens: OPENS, closes, ends: closes + AFTER })
}

impl Session {
    /// The moment at which a minute of this day begins.
    pub(crate) fn at(&self, minute: u64) -> UnixNanos {
        // Sessions lie hours away from where the clocks change.
        let standard_s = self.day * DAY_S + minute * 60 + 5 * 3_600;
        let utc_s = if is_summer(standard_s) { standard_s - 3_600 } else { standard_s };
        UnixNanos(utc_s * SECOND_NS)
    }
}

/// Hours that New York is behind UTC.
pub(crate) fn behind_utc(time: UnixNanos) -> u64 {
    if is_summer(time.0 / SECOND_NS) { 4 } else { 5 }
}

/// Day and minute in New York.
pub(crate) fn local(time: UnixNanos) -> (u64, u64) {
    let local_s = time.0 / SECOND_NS - behind_utc(time) * 3_600;
    (local_s / DAY_S, local_s % DAY_S / 60)
}

/// Whether the regular session is on.
pub(crate) fn is_open(time: UnixNanos) -> bool {
    let (day, minute) = local(time);
    session(day).is_some_and(|session| (session.opens..session.closes).contains(&minute))
}

/// Whether anything is traded: the regular session or the hours before and behind it.
pub(crate) fn is_trading(time: UnixNanos) -> bool {
    let (day, minute) = local(time);
    session(day).is_some_and(|session| (session.begins..session.ends).contains(&minute))
}

/// The next moment after `now` at which a session's minute, named by `of`, begins.
pub(crate) fn next(now: UnixNanos, of: impl Fn(&Session) -> u64) -> UnixNanos {
    let (today, _) = local(now);
    let moments = (today..today + DAYS_MAX).filter_map(session).map(|session| session.at(of(&session)));
    moments.into_iter().find(|moment| *moment > now).expect("no ten days are without a session")
}

/// The trading day behind a day.
pub(crate) fn following(day: u64) -> u64 {
    (day + 1..day + DAYS_MAX).find(|day| session(*day).is_some()).expect("no ten days are without a session")
}

/// 1 is Monday and 7 Sunday. The epoch was a Thursday.
fn weekday(day: u64) -> u64 {
    (day + 3) % 7 + 1
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

fn is_holiday(day: u64) -> bool {
    let (year, month, date) = civil(day);
    let weekday = weekday(day);
    // A fixed date, or the working day next to it where it is on a weekend.
    let kept = |m: u64, d: u64| match weekday {
        1 => (month, date) == (m, d) || civil(day - 1) == (year, m, d),
        5 => (month, date) == (m, d) || civil(day + 1) == (year, m, d),
        _ => (month, date) == (m, d),
    };
    let nth_monday = |m: u64, n: u64| month == m && weekday == 1 && (date - 1) / 7 + 1 == n;
    let last_monday = |m: u64| month == m && weekday == 1 && date > 24;
    kept(1, 1)
        || nth_monday(1, 3)
        || nth_monday(2, 3)
        || is_easter(year, day + 2)
        || last_monday(5)
        || year >= 2022 && kept(6, 19)
        || kept(7, 4)
        || nth_monday(9, 1)
        || is_thanksgiving(day)
        || kept(12, 25)
}

fn is_thanksgiving(day: u64) -> bool {
    let (_, month, date) = civil(day);
    month == 11 && weekday(day) == 4 && (22..=28).contains(&date)
}

/// Days on which trading ends at one o'clock.
fn is_short(day: u64) -> bool {
    let (_, month, date) = civil(day);
    let before_a_working_day = weekday(day) < 5;
    match (month, date) {
        (7, 3) | (12, 24) => before_a_working_day,
        _ => is_thanksgiving(day - 1),
    }
}

/// Whether a day is Easter Sunday: Gauss's rule as Butcher wrote it down.
fn is_easter(year: u64, day: u64) -> bool {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let h = (19 * a + b - b / 4 - (b - (b + 8) / 25 + 1) / 3 + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let sum = h + l + 114 - 7 * m;
    civil(day) == (year, sum / 31, sum % 31 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixNanos {
        UnixNanos(scan::rfc3339_nanos(text.as_bytes()).expect("a time").0)
    }

    fn day(date: &str) -> u64 {
        at(&format!("{date}T00:00:00Z")).0 / SECOND_NS / DAY_S
    }

    #[test]
    fn sessions_are_new_york_s() {
        for (text, open) in [
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
            // The day after Thanksgiving ends at one o'clock.
            ("2026-11-26T16:00:00Z", false),
            ("2026-11-27T17:59:00Z", true),
            ("2026-11-27T18:00:00Z", false),
        ] {
            assert_eq!(is_open(at(text)), open, "{text}");
        }
        assert!(is_trading(at("2026-11-27T21:59:00Z")) && !is_trading(at("2026-11-27T22:00:00Z")));
        assert!(is_trading(at("2026-01-05T09:00:00Z")) && !is_trading(at("2026-01-05T08:59:00Z")));
    }

    #[test]
    fn holidays_are_kept() {
        let closed_2026 = [
            "2026-01-01",
            "2026-01-19",
            "2026-02-16",
            "2026-04-03",
            "2026-05-25",
            "2026-06-19",
            "2026-07-03",
            "2026-09-07",
            "2026-11-26",
            "2026-12-25",
        ];
        let found: Vec<u64> = (day("2026-01-01")..=day("2026-12-31"))
            .filter(|day| weekday(*day) < 6 && session(*day).is_none())
            .collect();
        assert_eq!(found, closed_2026.map(day));
        // New Year's Day of 2022 was a Saturday and not kept; Christmas 2022 was a Sunday.
        assert!(session(day("2021-12-31")).is_some() && session(day("2022-12-26")).is_none());
        let early = |date: &str| session(day(date)).is_some_and(|session| session.closes == CLOSES_EARLY);
        assert!(early("2025-07-03") && early("2026-12-24") && early("2024-11-29") && !early("2026-07-02"));
    }

    #[test]
    fn the_next_open_and_close_are_found() {
        // A Wednesday evening before Thanksgiving.
        let now = at("2026-11-25T23:00:00Z");
        assert_eq!(next(now, |session| session.opens), at("2026-11-27T14:30:00Z"));
        assert_eq!(next(now, |session| session.closes), at("2026-11-27T18:00:00Z"));
        let noon = at("2026-07-06T16:00:00Z");
        assert_eq!(next(noon, |session| session.opens), at("2026-07-07T13:30:00Z"));
        assert_eq!(next(noon, |session| session.closes), at("2026-07-06T20:00:00Z"));
    }
}
