//! The venue's bar intervals, put together from the four that the market keeps.
//! bars of a second, a minute, an hour or a day -> [`Interval`] -> bars of three minutes, a week, a month.
//!
//! Weeks begin on Mondays and months on their first day, in UTC; all other intervals are multiples since the epoch.

use model::UnixNanos;

use crate::market::Bar;
use crate::text::civil;

/// Intervals of the bars that the market keeps, seconds.
pub(crate) const INTERVALS_S: [u64; 4] = [1, MINUTE_S, HOUR_S, DAY_S];

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 86_400;
const SECOND_NS: u64 = 1_000_000_000;
/// The epoch was a Thursday: days from the Monday before it.
const EPOCH_WEEKDAY: u64 = 3;

/// How long bars of an interval are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Seconds(u64),
    Week,
    Month,
}

/// One of the venue's bar intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) name: &'static str,
    /// Interval of the bars that it is put together from, seconds.
    pub(super) base_s: u64,
    length: Length,
}

/// All of them.
pub(super) const INTERVALS: [Interval; 16] = [
    seconds("1s", 1, 1),
    seconds("1m", MINUTE_S, MINUTE_S),
    seconds("3m", MINUTE_S, 3 * MINUTE_S),
    seconds("5m", MINUTE_S, 5 * MINUTE_S),
    seconds("15m", MINUTE_S, 15 * MINUTE_S),
    seconds("30m", MINUTE_S, 30 * MINUTE_S),
    seconds("1h", HOUR_S, HOUR_S),
    seconds("2h", HOUR_S, 2 * HOUR_S),
    seconds("4h", HOUR_S, 4 * HOUR_S),
    seconds("6h", HOUR_S, 6 * HOUR_S),
    seconds("8h", HOUR_S, 8 * HOUR_S),
    seconds("12h", HOUR_S, 12 * HOUR_S),
    seconds("1d", DAY_S, DAY_S),
    seconds("3d", DAY_S, 3 * DAY_S),
    Interval { name: "1w", base_s: DAY_S, length: Length::Week },
    Interval { name: "1M", base_s: DAY_S, length: Length::Month },
];

const fn seconds(name: &'static str, base_s: u64, length_s: u64) -> Interval {
    Interval { name, base_s, length: Length::Seconds(length_s) }
}

impl Interval {
    /// The interval of a name.
    pub(super) fn of(name: &str) -> Option<&'static Interval> {
        INTERVALS.iter().find(|interval| interval.name == name)
    }

    /// Begin and length of the bar that a time belongs to; the length in seconds.
    fn span(&self, time: UnixNanos) -> (UnixNanos, u64) {
        let (second, day) = (time.0 / SECOND_NS, time.0 / SECOND_NS / DAY_S);
        let first_of_month = |day: u64| day + 1 - civil(day).2;
        let (begin_s, length_s) = match self.length {
            Length::Seconds(length) => (second - second % length, length),
            Length::Week => (day.saturating_sub((day + EPOCH_WEEKDAY) % 7) * DAY_S, 7 * DAY_S),
            Length::Month => {
                let first = first_of_month(day);
                (first * DAY_S, (first_of_month(first + 31) - first) * DAY_S)
            }
        };
        (UnixNanos(begin_s * SECOND_NS), length_s)
    }

    fn widened(&self, bar: &Bar) -> Bar {
        let (begin, interval_s) = self.span(bar.begin);
        Bar { begin, interval_s, ..*bar }
    }

    /// The last bar of kept ones, which come oldest first.
    pub(super) fn last<'a>(&self, kept: impl DoubleEndedIterator<Item = &'a Bar>) -> Option<Bar> {
        let mut newest_first = kept.rev().map(|bar| self.widened(bar));
        let last = newest_first.next()?;
        Some(newest_first.take_while(|bar| bar.begin == last.begin).fold(last, |sum, bar| bar.before(&sum)))
    }

    /// All bars of kept ones, oldest first.
    pub(super) fn all(&self, kept: &[Bar]) -> Vec<Bar> {
        let mut all: Vec<Bar> = Vec::new();
        for bar in kept.iter().map(|bar| self.widened(bar)) {
            match all.last_mut().filter(|last| last.begin == bar.begin) {
                Some(last) => *last = last.before(&bar),
                None => all.push(bar),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Trade;
    use model::{Price, Qty, Side};

    fn at(text: &str) -> UnixNanos {
        UnixNanos(scan::rfc3339_nanos(text.as_bytes()).expect("a time").0)
    }

    #[test]
    fn bars_begin_where_the_calendar_says() {
        for (name, time, begin, days) in [
            ("1w", "2026-11-22T07:00:00Z", "2026-11-16T00:00:00Z", 7),
            ("1w", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", 7),
            ("1M", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", 28),
            ("1M", "2024-02-01T00:00:00Z", "2024-02-01T00:00:00Z", 29),
            ("1M", "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", 31),
        ] {
            let span = Interval::of(name).expect("an interval").span(at(time));
            assert_eq!(span, (at(begin), days * DAY_S), "{name} at {time}");
        }
        let (begin, length) = Interval::of("4h").expect("an interval").span(at("2026-11-22T07:00:00Z"));
        assert_eq!((begin, length), (at("2026-11-22T04:00:00Z"), 4 * HOUR_S));
    }

    #[test]
    fn bars_are_the_sum_of_those_in_them() {
        let trade = |minute: u64| Trade {
            id: minute,
            aggregate: minute,
            time: UnixNanos(minute * MINUTE_S * SECOND_NS),
            price: Price(100 + (minute as i64 * 7) % 5),
            size: Qty(1 + minute as i64),
            taker: if minute.is_multiple_of(2) { Side::Buy } else { Side::Sell },
        };
        let minutes: Vec<Bar> =
            (0..13).map(|minute| Bar::first(&trade(minute), trade(minute).time, MINUTE_S)).collect();
        let five = Interval::of("5m").expect("an interval");
        let all = five.all(&minutes);
        assert_eq!(all.iter().map(|bar| bar.trades).collect::<Vec<_>>(), [5, 5, 3]);
        for (number, bar) in all.iter().enumerate() {
            let trades: Vec<Trade> = (0..13).map(trade).filter(|trade| trade.id as usize / 5 == number).collect();
            let mut plain = Bar::first(&trades[0], UnixNanos(number as u64 * 300 * SECOND_NS), 300);
            trades[1..].iter().for_each(|trade| plain.add(trade));
            assert_eq!(*bar, plain);
        }
        assert_eq!(five.last(minutes.iter()), all.last().copied());
    }
}
