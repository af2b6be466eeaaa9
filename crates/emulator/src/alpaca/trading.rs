//! Alpaca's trading paths that clients ask at their start: clock, calendar, an account in which nothing is.
//!
//! Where stocks keep the exchanges' hours, clock and calendar are New York's. Otherwise the simulated market never
//! closes, and they say so: every day is a session from 00:00 to 23:59.

use base64::Engine;
use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::rest::Failure;
use crate::http::percent_decoded;
use crate::market::sessions::{self, Session};
use crate::market::{Hours, Market};
use crate::text::push_rfc3339;

const DAY_NS: u64 = 86_400_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;
/// The last minute of a day.
const LAST_MINUTE: u64 = 24 * 60 - 1;
/// Days of a calendar unless asked otherwise, from today on; and at most.
const DAYS: u64 = 30;
const DAYS_MAX: u64 = 3660;
/// The emulator's one account, an id for good.
const ACCOUNT: &str = "616c7068-6170-756c-7365-000000000001";

/// The body at a path below `/v2`, if this part of the venue has it.
pub(super) fn answer(
    parts: &[&str],
    head: &RequestHead,
    market: &dyn Market,
    now: UnixNanos,
) -> Option<Result<String, Failure>> {
    Some(match parts {
        ["clock"] => Ok(clock(market, now)),
        ["calendar"] => calendar(head, market, now),
        ["account"] => Ok(account(now)),
        ["account", "configurations"] => Ok(json!({
            "dtbp_check": "entry", "fractional_trading": true, "max_margin_multiplier": "1", "no_shorting": true,
            "pdt_check": "entry", "suspend_trade": false, "trade_confirm_email": "none",
        })
        .to_string()),
        ["positions"] | ["orders"] | ["watchlists"] | ["account", "activities"] => Ok("[]".to_owned()),
        _ => return None,
    })
}

/// Whether a path is of the trading side, which words its errors otherwise.
pub(super) fn is_trading(parts: &[&str]) -> bool {
    matches!(parts, ["v2", "assets" | "clock" | "calendar" | "account" | "positions" | "orders" | "watchlists", ..])
}

/// The key and secret of basic credentials, as another of the venue's APIs takes them.
pub(super) fn basic(value: &str) -> Option<(String, String)> {
    let text = base64::engine::general_purpose::STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(text).ok()?;
    text.split_once(':').map(|(key, secret)| (key.to_owned(), secret.to_owned()))
}

fn stamp(time: UnixNanos) -> String {
    let mut out = Vec::new();
    push_rfc3339(time, 9, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The date of a day since 1970.
fn date(day: u64) -> String {
    let mut text = stamp(UnixNanos(day * DAY_NS));
    text.truncate("2000-01-01".len());
    text
}

/// Whether any stock keeps the exchanges' hours, and so clock and calendar do.
fn keeps_hours(market: &dyn Market) -> bool {
    market.pairs().iter().any(|pair| pair.hours == Hours::Exchange)
}

fn clock(market: &dyn Market, now: UnixNanos) -> String {
    if keeps_hours(market) {
        let (open, close) = (sessions::next(now, |day| day.opens), sessions::next(now, |day| day.closes));
        return json!({
            "timestamp": local_stamp(now, 9), "is_open": sessions::is_open(now), "next_open": local_stamp(open, 0),
            "next_close": local_stamp(close, 0),
        })
        .to_string();
    }
    let tomorrow = (now.0 / DAY_NS + 1) * DAY_NS;
    let close = UnixNanos(tomorrow - 60_000_000_000);
    let close = if close > now { close } else { close.after(std::time::Duration::from_nanos(DAY_NS)) };
    json!({
        "timestamp": stamp(now), "is_open": true, "next_open": stamp(UnixNanos(tomorrow)), "next_close": stamp(close),
    })
    .to_string()
}

/// A time as a clock in New York shows it.
fn local_stamp(time: UnixNanos, decimals: u8) -> String {
    let behind = sessions::behind_utc(time);
    let mut out = Vec::new();
    push_rfc3339(UnixNanos(time.0 - behind * HOUR_NS), decimals, &mut out);
    out.pop();
    out.extend_from_slice(format!("-0{behind}:00").as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

fn calendar(head: &RequestHead, market: &dyn Market, now: UnixNanos) -> Result<String, Failure> {
    let day = |name: &str, default: u64| match head.query_value(name).map(percent_decoded) {
        None => Ok(default),
        Some(text) => {
            let whole = format!("{}T00:00:00Z", text.get(..10).unwrap_or(&text));
            let read = scan::rfc3339_nanos(whole.as_bytes()).ok();
            read.map(|(ns, _)| ns / DAY_NS).ok_or_else(|| (422, format!("invalid {name} date: {text}")))
        }
    };
    let start = day("start", now.0 / DAY_NS)?;
    let end = day("end", start + DAYS)?.min(start + DAYS_MAX);
    let entry = |session: Session| {
        let Session { day, begins, opens, closes, ends } = session;
        let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let plain = |minute: u64| format!("{:02}{:02}", minute / 60, minute % 60);
        let settled = if keeps_hours(market) { sessions::following(day) } else { day + 1 };
        json!({"date": date(day), "open": clock(opens), "close": clock(closes), "session_open": plain(begins),
               "session_close": plain(ends), "settlement_date": date(settled)})
    };
    let around_the_clock = |day| Session { day, begins: 0, opens: 0, closes: LAST_MINUTE, ends: LAST_MINUTE };
    Ok(match keeps_hours(market) {
        true => Value::from_iter((start..=end).filter_map(sessions::session).map(entry)),
        false => Value::from_iter((start..=end).map(around_the_clock).map(entry)),
    }
    .to_string())
}

fn account(now: UnixNanos) -> String {
    json!({
        "id": ACCOUNT, "account_number": "PA0SIMULATED", "status": "ACTIVE", "crypto_status": "ACTIVE",
        "currency": "USD", "cash": "100000", "buying_power": "100000", "regt_buying_power": "100000",
        "daytrading_buying_power": "0", "non_marginable_buying_power": "100000", "options_buying_power": "0",
        "accrued_fees": "0", "portfolio_value": "100000", "equity": "100000", "last_equity": "100000",
        "long_market_value": "0", "short_market_value": "0", "position_market_value": "0", "initial_margin": "0",
        "maintenance_margin": "0", "last_maintenance_margin": "0", "sma": "0", "daytrade_count": 0, "multiplier": "1",
        "pattern_day_trader": false, "trading_blocked": false, "transfers_blocked": false, "account_blocked": false,
        "trade_suspended_by_user": false, "shorting_enabled": false, "created_at": stamp(UnixNanos(now.0 / DAY_NS * DAY_NS)),
        "crypto_tier": 1, "options_approved_level": 0, "options_trading_level": 0,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Rate;
    use crate::{EmulatedVenue, GeneratedSession};

    fn market(hours: Hours) -> Box<dyn Market> {
        let session = GeneratedSession { hours, ..GeneratedSession::default() };
        let pace = crate::server::pace(Rate::FramesPerSecond(100));
        crate::server::generated(EmulatedVenue::Alpaca, &session, pace, 1, UnixNanos(DAY_NS))
    }

    fn told(market: &dyn Market, now: UnixNanos) -> Value {
        serde_json::from_str(&clock(market, now)).expect("our own text")
    }

    #[test]
    fn the_clock_is_ahead_of_now_at_any_minute() {
        let market = market(Hours::Always);
        for ns in [0, DAY_NS - 61_000_000_000, DAY_NS - 1, DAY_NS] {
            let clock = told(&*market, UnixNanos(ns));
            let at =
                |name: &str| scan::rfc3339_nanos(clock[name].as_str().expect("text").as_bytes()).expect("a time").0;
            assert!(at("next_close") > ns && at("next_open") > ns && at("timestamp") == ns, "{clock}");
        }
    }

    #[test]
    fn the_clock_is_new_york_s_where_stocks_keep_its_hours() {
        let market = market(Hours::Exchange);
        let at = |text: &str| UnixNanos(scan::rfc3339_nanos(text.as_bytes()).expect("a time").0);
        let open = json!({
            "timestamp": "2026-07-06T12:00:00.000000000-04:00", "is_open": true,
            "next_open": "2026-07-07T09:30:00-04:00", "next_close": "2026-07-06T16:00:00-04:00",
        });
        assert_eq!(told(&*market, at("2026-07-06T16:00:00Z")), open);
        let closed = json!({
            "timestamp": "2026-11-25T18:00:00.000000000-05:00", "is_open": false,
            "next_open": "2026-11-27T09:30:00-05:00", "next_close": "2026-11-27T13:00:00-05:00",
        });
        assert_eq!(told(&*market, at("2026-11-25T23:00:00Z")), closed);
    }
}
