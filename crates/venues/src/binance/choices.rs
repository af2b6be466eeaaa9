//! What the venue's documents leave open or contradict, as settings with a default and a reason (README.md).

use crate::MachineError;
use model::{UnixNanos, Venue};

/// Which of the two trade streams is told; never both, as each tells every trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TradeKind {
    /// One message a trade.
    Trade,
    /// The fills of one taker order at one price and time as one.
    AggTrade,
}

/// What is believed of trade ids, whose lack of holes the documents do not promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TradeIds {
    /// A jump is a loss.
    Contiguous,
    /// They only rise: a jump says nothing.
    Increasing,
}

/// The unit of the venue's times on this connection. It is never guessed from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    /// The venue's default.
    Millis,
    /// With `timeUnit=MICROSECOND` in the URL.
    Micros,
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

/// The venue's own documented choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choices {
    /// `None`: `trade` is subscribed to; of captured frames the kind seen first of a symbol is told.
    pub trades: Option<TradeKind>,
    pub trade_ids: TradeIds,
    /// Milliseconds between depth messages: 100 or 1000.
    pub depth_speed_ms: u32,
    pub time_unit: TimeUnit,
    /// Whether missed trades are fetched by REST.
    pub backfill: bool,
    /// Seconds between comparisons of each live book with a fresh snapshot; 0: never.
    pub compare_s: u32,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices {
            trades: None,
            trade_ids: TradeIds::Contiguous,
            depth_speed_ms: 100,
            time_unit: TimeUnit::Millis,
            backfill: true,
            compare_s: 600,
        }
    }
}

fn refuse(venue: Venue, key: &'static str, value: &str, allowed: &str) -> MachineError {
    MachineError::Setting { venue, key, value: value.to_owned(), allowed: allowed.to_owned() }
}

impl Choices {
    /// Reads key and value texts; what is not given keeps its default.
    pub(super) fn read(venue: Venue, given: &[(String, String)]) -> Result<Choices, MachineError> {
        let mut choices = Choices::default();
        for (key, value) in given {
            match (key.as_str(), value.as_str()) {
                ("trades", "trade") => choices.trades = Some(TradeKind::Trade),
                ("trades", "agg_trade") => choices.trades = Some(TradeKind::AggTrade),
                ("trades", _) => return Err(refuse(venue, "trades", value, "trade or agg_trade")),
                ("trade_ids", "contiguous") => choices.trade_ids = TradeIds::Contiguous,
                ("trade_ids", "increasing") => choices.trade_ids = TradeIds::Increasing,
                ("trade_ids", _) => return Err(refuse(venue, "trade_ids", value, "contiguous or increasing")),
                ("depth_speed_ms", "100") => choices.depth_speed_ms = 100,
                ("depth_speed_ms", "1000") => choices.depth_speed_ms = 1000,
                ("depth_speed_ms", _) => return Err(refuse(venue, "depth_speed_ms", value, "100 or 1000")),
                ("time_unit", "ms") => choices.time_unit = TimeUnit::Millis,
                ("time_unit", "us") => choices.time_unit = TimeUnit::Micros,
                ("time_unit", _) => return Err(refuse(venue, "time_unit", value, "ms or us")),
                ("backfill", "on") => choices.backfill = true,
                ("backfill", "off") => choices.backfill = false,
                ("backfill", _) => return Err(refuse(venue, "backfill", value, "on or off")),
                ("compare_s", seconds) => {
                    let allowed = || refuse(venue, "compare_s", value, "0 (never) or seconds, up to 86400");
                    choices.compare_s = seconds.parse().ok().filter(|s| *s <= 86_400).ok_or_else(allowed)?;
                }
                _ => {
                    let known = "trades, trade_ids, depth_speed_ms, time_unit, backfill or compare_s";
                    return Err(refuse(venue, "a choice", key, known));
                }
            }
        }
        Ok(choices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Choices, String> {
        Choices::read(Venue::Binance, &[(key.to_owned(), value.to_owned())]).map_err(|e| e.to_string())
    }

    #[test]
    fn each_choice_is_read_and_a_wrong_one_named() {
        assert_eq!(read("trades", "agg_trade").map(|c| c.trades), Ok(Some(TradeKind::AggTrade)));
        assert_eq!(read("trade_ids", "increasing").map(|c| c.trade_ids), Ok(TradeIds::Increasing));
        assert_eq!(read("depth_speed_ms", "1000").map(|c| c.depth_speed_ms), Ok(1000));
        assert_eq!(read("time_unit", "us").map(|c| c.time_unit), Ok(TimeUnit::Micros));
        assert_eq!(read("time_unit", "s"), Err("binance: time_unit cannot be s; it can be ms or us".to_owned()));
        let unknown = "binance: a choice cannot be trade; it can be trades, trade_ids, depth_speed_ms, \
                       time_unit, backfill or compare_s";
        assert_eq!(read("compare_s", "0").map(|c| c.compare_s), Ok(0));
        assert!(read("compare_s", "-1").is_err_and(|text| text.contains("0 (never) or seconds")));
        assert_eq!(read("backfill", "off").map(|c| c.backfill), Ok(false));
        assert_eq!(read("trade", "x"), Err(unknown.to_owned()));
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
