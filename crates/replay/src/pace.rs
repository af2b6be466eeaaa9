//! When the next event is due: logic over a clock that is passed in.
//!
//! The clock of the recording and that of the replay are tied together at one point, and every wait is counted from
//! there, so that waits that are too long by a little do not add up. Pausing, another speed and another place tie them
//! anew.

use capture::Speed;
use model::UnixNanos;
use std::time::Duration;

/// What to do before the next event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: tell it.
    Now,
    /// Wait so long.
    In(Duration),
    /// Wait until something changes: the replay is paused.
    Held,
}

/// The pace of a replay.
#[derive(Clone, Debug)]
pub struct Pace {
    speed: Speed,
    paused: bool,
    /// A time of the recording and when it is on the replay's clock; `None` until the first event is asked for.
    tie: Option<(UnixNanos, Duration)>,
}

impl Pace {
    /// A pace that begins with the first event that is asked for.
    pub fn new(speed: Speed) -> Pace {
        Pace { speed, paused: false, tie: None }
    }

    /// How fast it goes.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// When an event of this time is due. `now` is of a clock that never steps.
    #[inline]
    pub fn due(&mut self, time: UnixNanos, now: Duration) -> Due {
        if self.paused {
            return Due::Held;
        }
        let Speed::Times(times) = self.speed else { return Due::Now };
        let (first, began) = *self.tie.get_or_insert((time, now));
        let wait = (began + time.since(first).div_f64(times)).saturating_sub(now);
        if wait.is_zero() { Due::Now } else { Due::In(wait) }
    }

    /// Where on the clock of the recording it is; `None` where that is not known: before the first event, and flat out.
    fn place(&self, now: Duration) -> Option<UnixNanos> {
        let (first, began) = self.tie?;
        let Speed::Times(times) = self.speed else { return None };
        Some(first.after(now.saturating_sub(began).mul_f64(times)))
    }

    /// By how much an event of this time is late; `None` flat out.
    pub fn late(&self, time: UnixNanos, now: Duration) -> Option<Duration> {
        let ((first, began), Speed::Times(times)) = (self.tie?, self.speed) else { return None };
        Some(now.saturating_sub(began + time.since(first).div_f64(times)))
    }

    /// Stops where it is. `last` is the time of the event told last.
    pub fn pause(&mut self, last: UnixNanos, now: Duration) {
        if !self.paused {
            self.tie = tie(self.place(now).unwrap_or(last), now);
            self.paused = true;
        }
    }

    /// Goes on from where it was paused.
    pub fn resume(&mut self, now: Duration) {
        if std::mem::take(&mut self.paused)
            && let Some((_, began)) = &mut self.tie
        {
            *began = now;
        }
    }

    /// Goes on at another speed from where it is.
    pub fn set_speed(&mut self, speed: Speed, last: UnixNanos, now: Duration) {
        if !self.paused {
            self.tie = tie(self.place(now).unwrap_or(last), now);
        }
        self.speed = speed;
    }

    /// The replay was moved to this time, by a seek or a step.
    pub fn move_to(&mut self, time: UnixNanos, now: Duration) {
        self.tie = tie(time, now);
    }
}

/// Nothing is known of a time before the first event.
fn tie(time: UnixNanos, now: Duration) -> Option<(UnixNanos, Duration)> {
    (time != UnixNanos::ZERO).then_some((time, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn events_are_due_at_their_distance_from_the_first_however_late_one_was() {
        let mut pace = Pace::new(Speed::Times(1.0));
        assert_eq!(pace.due(at(0), ms(500)), Due::Now);
        assert_eq!(pace.due(at(100), ms(510)), Due::In(ms(90)));
        assert_eq!(pace.due(at(150), ms(700)), Due::Now);
        assert_eq!(pace.due(at(300), ms(701)), Due::In(ms(99)));
        let mut fast = Pace::new(Speed::Times(10.0));
        assert_eq!((fast.due(at(0), ms(0)), fast.due(at(100), ms(0))), (Due::Now, Due::In(ms(10))));
        let mut max = Pace::new(Speed::Max);
        assert_eq!((max.due(at(0), ms(0)), max.due(at(9999), ms(0))), (Due::Now, Due::Now));
    }

    #[test]
    fn a_pause_takes_no_time_of_the_recording() {
        let mut pace = Pace::new(Speed::Times(2.0));
        assert_eq!(pace.due(at(0), ms(0)), Due::Now);
        // 30 ms on our clock are 60 ms of the recording's.
        pace.pause(at(0), ms(30));
        assert_eq!(pace.due(at(100), ms(31)), Due::Held);
        pace.resume(ms(1000));
        assert_eq!(pace.due(at(100), ms(1000)), Due::In(ms(20)));
    }

    #[test]
    fn another_speed_goes_on_from_where_it_is() {
        let mut pace = Pace::new(Speed::Times(1.0));
        assert_eq!(pace.due(at(0), ms(0)), Due::Now);
        pace.set_speed(Speed::Times(4.0), at(0), ms(60));
        assert_eq!(pace.due(at(100), ms(60)), Due::In(ms(10)));
        pace.set_speed(Speed::Max, at(0), ms(65));
        assert_eq!(pace.due(at(5000), ms(65)), Due::Now);
        // Flat out, the place is that of the last event.
        pace.set_speed(Speed::Times(1.0), at(5000), ms(70));
        assert_eq!(pace.due(at(5040), ms(70)), Due::In(ms(40)));
        pace.pause(at(5000), ms(80));
        let mut held = Pace::new(Speed::Times(1.0));
        held.pause(UnixNanos::ZERO, ms(0));
        held.resume(ms(100));
        assert_eq!(held.due(at(0), ms(100)), Due::Now, "paused before the first event, it begins with it");
        pace.move_to(at(1000), ms(90));
        pace.set_speed(Speed::Times(2.0), at(1000), ms(95));
        pace.resume(ms(100));
        assert_eq!(pace.due(at(1010), ms(100)), Due::In(ms(5)));
    }
}
