//! When what was captured is due again: at its own pace, N times as fast, or at once.

use model::UnixNanos;
use std::{str::FromStr, time::Duration};

/// How fast a replay goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was.
    Times(f64),
    /// As fast as the machine can.
    Max,
}

/// The text is no speed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no speed; write max, or a number above 0 such as 1, 10 or 0.5")]
pub struct NoSpeed(String);

impl FromStr for Speed {
    type Err = NoSpeed;
    fn from_str(text: &str) -> Result<Speed, NoSpeed> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        let times = text.trim_end_matches('x').parse().ok().filter(|times: &f64| times.is_finite() && *times > 0.0);
        times.map(Speed::Times).ok_or_else(|| NoSpeed(text.to_owned()))
    }
}

/// Times of a capture on the clock of a replay.
#[derive(Clone, Debug)]
pub struct Pace {
    speed: Speed,
    begin: Option<(UnixNanos, Duration)>,
}

impl Pace {
    /// A pace that begins with the first time it is asked for.
    pub fn new(speed: Speed) -> Pace {
        Pace { speed, begin: None }
    }

    /// How long to wait, `now` on any clock that does not step, until what was captured at `time` is due. Always counted
    /// from the beginning: waits that are too long by a little do not add up.
    pub fn wait(&mut self, time: UnixNanos, now: Duration) -> Duration {
        let Speed::Times(times) = self.speed else { return Duration::ZERO };
        let (first, began) = *self.begin.get_or_insert((time, now));
        let due = began + time.since(first).div_f64(times);
        due.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_from_the_beginning() {
        let ms = Duration::from_millis;
        let at = |ms: u64| UnixNanos(1_700_000_000_000_000_000 + ms * 1_000_000);
        let mut pace = Pace::new(Speed::Times(1.0));
        assert_eq!(pace.wait(at(0), ms(500)), ms(0));
        assert_eq!(pace.wait(at(100), ms(510)), ms(90));
        assert_eq!(pace.wait(at(150), ms(700)), ms(0), "late is at once");
        assert_eq!(pace.wait(at(300), ms(701)), ms(99), "and what follows is in time again");
        let mut fast = Pace::new(Speed::Times(10.0));
        assert_eq!((fast.wait(at(0), ms(0)), fast.wait(at(100), ms(0))), (ms(0), ms(10)));
        let mut max = Pace::new(Speed::Max);
        assert_eq!((max.wait(at(0), ms(0)), max.wait(at(9999), ms(0))), (ms(0), ms(0)));
    }

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("1".parse(), Ok(Speed::Times(1.0)));
        assert_eq!("0.5x".parse(), Ok(Speed::Times(0.5)));
        for text in ["", "0", "-1", "inf", "NaN", "fast"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}
