//! What the venue's documents leave open or contradict, as settings with a default and a reason (README.md).

use crate::choices::{IdRule, Seconds, Switch, choice, choices};
use model::UnixNanos;

choice! {
    /// Which of the two trade streams is told; never both, as each tells every trade.
    TradeKind {
        /// One message a trade.
        #[default] Trade = "trade",
        /// The fills of one taker order at one price and time as one.
        AggTrade = "agg_trade",
    }
}

choice! {
    /// How often depth messages come.
    DepthSpeed {
        /// Ten times a second.
        #[default] Tenth = "100",
        /// Once a second.
        Second = "1000",
    }
}

choice! {
    /// The unit of the venue's times on this connection. It is never guessed from a value.
    TimeUnit {
        /// The venue's default.
        #[default] Millis = "ms",
        /// With `timeUnit=MICROSECOND` in the URL.
        Micros = "us",
    }
}

/// No time of this venue lies before it in µs (it is in March 1973), but each of its times in ms does.
const MICROS_LEAST: u64 = 100_000_000_000_000;

impl TimeUnit {
    /// A venue's time; `None` when it cannot be of this unit.
    #[inline]
    pub(super) fn nanos(self, time: u64) -> Option<UnixNanos> {
        match self {
            TimeUnit::Millis => UnixNanos::from_millis(time),
            TimeUnit::Micros if time < MICROS_LEAST => None,
            TimeUnit::Micros => UnixNanos::from_micros(time),
        }
    }
}

/// Seconds between comparisons of each live book with a fresh snapshot, at most a day.
pub(super) type CompareEvery = Seconds<600, 86_400>;

choices! {
    /// All choices. With no `trades` chosen, `trade` is subscribed to, and of captured frames the kind seen first of a
    /// symbol is told. `trade_ids`: the documents do not promise that they have no holes. `depth_speed_ms`: milliseconds
    /// between depth messages. `backfill`: whether missed trades are fetched by REST.
    Choices {
        "trades" => trades: Option<TradeKind>,
        "trade_ids" => trade_ids: IdRule,
        "depth_speed_ms" => depth_speed: DepthSpeed,
        "time_unit" => time_unit: TimeUnit,
        "backfill" => backfill: Switch,
        "compare_s" => compare_every: CompareEvery,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Venue;

    #[test]
    fn every_key_sets_its_choice() {
        let given = [
            ("trades", "agg_trade"),
            ("trade_ids", "rising"),
            ("depth_speed_ms", "1000"),
            ("time_unit", "us"),
            ("backfill", "off"),
            ("compare_s", "0"),
        ];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Choices {
            trades: Some(TradeKind::AggTrade),
            trade_ids: IdRule::Rising,
            depth_speed: DepthSpeed::Second,
            time_unit: TimeUnit::Micros,
            backfill: Switch::Off,
            compare_every: Seconds(0),
        };
        assert_eq!(Choices::read(Venue::Binance, &given), Ok(expected));
    }

    #[test]
    fn a_time_of_the_other_unit_is_refused() {
        let (ms, us) = (1_723_161_255_208, 1_723_161_255_208_123);
        assert_eq!(TimeUnit::Millis.nanos(ms), Some(UnixNanos(1_723_161_255_208_000_000)));
        assert_eq!(TimeUnit::Micros.nanos(us), Some(UnixNanos(1_723_161_255_208_123_000)));
        assert_eq!(TimeUnit::Millis.nanos(us), None);
        assert_eq!(TimeUnit::Micros.nanos(ms), None);
    }
}
