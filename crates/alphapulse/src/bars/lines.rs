//! What is told of bars, as lines people read and as lines of JSON.

use super::maker::{Event, Market};
use book::bars::{Bar, Marks};
use model::{Decimal, Side, UnixNanos};
use serde_json::{Value, json};

/// Decimals that a mean price has more than prices have.
const VWAP_DECIMALS: u8 = 4;
/// The share of the volume that the value area holds, in hundredths.
const VALUE_AREA: u8 = 70;

/// One event as a line of JSON.
pub fn json(event: &Event<'_>) -> Value {
    match event {
        Event::Bar { market, bar, missed, revision, open } => {
            let mut line = of(market, "bar");
            let mut put = |key: &str, value: Value| line[key] = value;
            put("start", bar.start.0.into());
            put("end", bar.end.0.into());
            put("trades", bar.trades.into());
            if bar.trades > 0 {
                for (key, price) in [("open", bar.open), ("high", bar.high), ("low", bar.low), ("close", bar.close)] {
                    put(key, text(market.price(price.0.into())));
                }
                put("vwap", vwap(market, bar).map_or(Value::Null, text));
            }
            put("volume", text(market.size(bar.volume)));
            put("notional", text(market.notional(bar.notional)));
            put("buy_volume", text(market.size(bar.buy_volume)));
            put("sell_volume", text(market.size(bar.sell_volume)));
            put("revision", (*revision).into());
            put("marks", marks(bar, *missed, *open).into());
            if let Some(flow) = &market.flow {
                put("cvd", text(market.size(flow.cvd.delta())));
                put("volatility", flow.volatility.volatility().into());
            }
            line
        }
        Event::Large { market, trade } => {
            let mut line = of(market, "large_trade");
            line["trade_id"] = trade.id.to_string().into();
            line["ts_event"] = trade.time.0.into();
            line["price"] = text(market.price(trade.price.0.into()));
            line["size"] = text(market.size(trade.size.0.into()));
            line["side"] = side(trade.taker).into();
            line
        }
        Event::Lost { market, from, to, ids, cause } => {
            let mut line = of(market, "missed");
            line["from"] = from.0.into();
            line["to"] = to.0.into();
            line["cause"] = (*cause).into();
            if let Some((first, last)) = ids {
                line["first"] = first.to_string().into();
                line["last"] = last.to_string().into();
            }
            line
        }
        Event::Unplaced { market, trade_id } => {
            let mut line = of(market, "unplaced");
            line["trade_id"] = trade_id.to_string().into();
            line
        }
    }
}

/// One event as people read it.
pub fn plain(event: &Event<'_>) -> String {
    match event {
        Event::Bar { market, bar, missed, revision, open } => {
            let p = |price: i128| market.price(price).to_string();
            let mut line = format!("{} {:<8} {}", utc(bar.start), market.venue.name(), market.symbol);
            if bar.trades > 0 {
                let [o, h, l, c] = [bar.open, bar.high, bar.low, bar.close].map(|price| p(price.0.into()));
                line += &format!("  O {o} H {h} L {l} C {c}");
            }
            line += &format!("  volume {} trades {}", market.size(bar.volume), bar.trades);
            if let Some(vwap) = vwap(market, bar) {
                line += &format!(" vwap {vwap}");
            }
            line += &format!(" delta {}", market.size(bar.delta()));
            if let Some(flow) = &market.flow {
                line += &format!(" cvd {}", market.size(flow.cvd.delta()));
            }
            if *revision > 0 {
                line += &format!("  revision {revision}");
            }
            let marks = marks(bar, *missed, *open);
            if !marks.is_empty() {
                line += &format!("  [{}]", marks.join(" "));
            }
            line
        }
        Event::Large { market, trade } => format!(
            "{} {:<8} {}  LARGE {} {} at {}",
            utc(trade.time),
            market.venue.name(),
            market.symbol,
            side(trade.taker),
            market.size(trade.size.0.into()),
            market.price(trade.price.0.into())
        ),
        Event::Lost { market, from, to, ids, cause } => {
            let which = ids.map_or("trades".to_owned(), |(first, last)| format!("trades {first} to {last}"));
            let (venue, symbol) = (market.venue.name(), &market.symbol);
            format!("{} {venue:<8} {symbol}  MISSED {which} until {} ({cause})", utc(*from), utc(*to))
        }
        Event::Unplaced { market, trade_id } => {
            format!("{:<8} {}  a correction of trade {trade_id} is of no bar here", market.venue.name(), market.symbol)
        }
    }
}

/// What an instrument's trades told beside its bars, in all; `None` where nobody asked.
pub fn flow_json(market: &Market) -> Option<Value> {
    let flow = market.flow.as_ref()?;
    let mut line = of(market, "flow");
    line["bought"] = text(market.size(flow.cvd.bought));
    line["sold"] = text(market.size(flow.cvd.sold));
    line["unknown"] = text(market.size(flow.cvd.unknown));
    line["cvd"] = text(market.size(flow.cvd.delta()));
    line["large_trades"] = flow.large.into();
    line["volatility"] = flow.volatility.volatility().into();
    line["returns"] = flow.volatility.returns.into();
    line["point_of_control"] = flow.profile.point_of_control().map_or(Value::Null, |(low, _)| text(market.price(low)));
    line["value_area"] = flow
        .profile
        .value_area(VALUE_AREA)
        .map_or(Value::Null, |area| json!([market.price(area.low).to_string(), market.price(area.high).to_string()]));
    let bucket = |(low, cvd): (i128, book::flow::Cvd)| {
        let sums = [market.size(cvd.bought), market.size(cvd.sold), market.size(cvd.unknown)].map(|s| s.to_string());
        json!([market.price(low).to_string(), sums[0], sums[1], sums[2]])
    };
    line["profile"] = flow.profile.buckets().map(bucket).collect();
    Some(line)
}

/// The same for people; without the buckets, of which there may be many.
pub fn flow_plain(market: &Market) -> Option<String> {
    let flow = market.flow.as_ref()?;
    let mut text = format!(
        "{} {}: cvd {} (bought {}, sold {}, unknown {}), {} large trades, volatility {:.6} of {} returns",
        market.venue.name(),
        market.symbol,
        market.size(flow.cvd.delta()),
        market.size(flow.cvd.bought),
        market.size(flow.cvd.sold),
        market.size(flow.cvd.unknown),
        flow.large,
        flow.volatility.volatility(),
        flow.volatility.returns
    );
    if let (Some((control, _)), Some(area)) = (flow.profile.point_of_control(), flow.profile.value_area(VALUE_AREA)) {
        let [control, low, high] = [control, area.low, area.high].map(|price| market.price(price));
        text += &format!("; most volume at {control}, {VALUE_AREA} % of it from {low} to {high}");
    }
    Some(text)
}

fn of(market: &Market, kind: &str) -> Value {
    json!({"type": kind, "venue": market.venue.name(), "symbol": market.symbol})
}

fn text(number: Decimal) -> Value {
    number.to_string().into()
}

fn side(taker: Option<Side>) -> &'static str {
    taker.map_or("none", Side::name)
}

/// The mean price by size, rounded half to even at a few decimals more than prices have.
fn vwap(market: &Market, bar: &Bar) -> Option<Decimal> {
    let finer = 10i128.pow(VWAP_DECIMALS.into());
    let mean = book::Ratio::new(bar.notional.0.checked_mul(finer)?, bar.volume)?;
    Some(Decimal::new(mean.round(), market.price_scale + VWAP_DECIMALS))
}

fn marks(bar: &Bar, missed: bool, open: bool) -> Vec<&'static str> {
    const NAMES: [(Marks, &str); 6] = [
        (Marks::LATE, "late"),
        (Marks::CORRECTED, "corrected"),
        (Marks::CANCELLED, "cancelled"),
        (Marks::FRAGMENT, "fragment"),
        (Marks::OVERFLOW, "overflow"),
        (Marks::PARTIAL, "partial"),
    ];
    let own = NAMES.iter().filter(|(mark, _)| bar.marks.contains(*mark)).map(|(_, name)| *name);
    own.chain(missed.then_some("missed")).chain(open.then_some("open")).collect()
}

/// Date and time of day, UTC, with milliseconds where there are any.
fn utc(time: UnixNanos) -> String {
    let (days, s) = (time.0 / 86_400_000_000_000, time.0 / 1_000_000_000 % 86_400);
    // The civil calendar, from days since 1970 (Howard Hinnant's algorithm).
    let z = days as i64 + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let millis = time.0 / 1_000_000 % 1000;
    let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}{fraction}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        for (ns, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000_000_000, "2000-02-29 00:00:00"),
            (1_700_000_000_123_000_000, "2023-11-14 22:13:20.123"),
            (1_735_689_599_000_000_000, "2024-12-31 23:59:59"),
        ] {
            assert_eq!(utc(UnixNanos(ns)), text);
        }
    }
}
