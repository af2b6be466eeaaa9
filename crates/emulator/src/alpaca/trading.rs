//! Alpaca's trading paths that clients ask at their start: clock, calendar, an account in which nothing is.
//!
//! The simulated market never closes, and clock and calendar say so: every day is a session from 00:00 to 23:59.

use base64::Engine;
use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::rest::Failure;
use crate::http::percent_decoded;
use crate::text::push_rfc3339;

const DAY_NS: u64 = 86_400_000_000_000;
/// Days of a calendar unless asked otherwise, from today on; and at most.
const DAYS: u64 = 30;
const DAYS_MAX: u64 = 3660;
/// The emulator's one account, an id for good.
const ACCOUNT: &str = "616c7068-6170-756c-7365-000000000001";

/// The body at a path below `/v2`, if this part of the venue has it.
pub(super) fn answer(parts: &[&str], head: &RequestHead, now: UnixNanos) -> Option<Result<String, Failure>> {
    Some(match parts {
        ["clock"] => Ok(clock(now)),
        ["calendar"] => calendar(head, now),
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

fn clock(now: UnixNanos) -> String {
    let tomorrow = (now.0 / DAY_NS + 1) * DAY_NS;
    let close = UnixNanos(tomorrow - 60_000_000_000);
    let close = if close > now { close } else { close.after(std::time::Duration::from_nanos(DAY_NS)) };
    json!({
        "timestamp": stamp(now), "is_open": true, "next_open": stamp(UnixNanos(tomorrow)), "next_close": stamp(close),
    })
    .to_string()
}

fn calendar(head: &RequestHead, now: UnixNanos) -> Result<String, Failure> {
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
    let session = |day| {
        json!({"date": date(day), "open": "00:00", "close": "23:59", "session_open": "0000", "session_close": "2359",
               "settlement_date": date(day + 1)})
    };
    Ok(Value::from_iter((start..=end).map(session)).to_string())
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

    #[test]
    fn the_clock_is_ahead_of_now_at_any_minute() {
        for ns in [0, DAY_NS - 61_000_000_000, DAY_NS - 1, DAY_NS] {
            let clock: Value = serde_json::from_str(&clock(UnixNanos(ns))).expect("our own text");
            let at =
                |name: &str| scan::rfc3339_nanos(clock[name].as_str().expect("text").as_bytes()).expect("a time").0;
            assert!(at("next_close") > ns && at("next_open") > ns && at("timestamp") == ns, "{clock}");
        }
    }
}
