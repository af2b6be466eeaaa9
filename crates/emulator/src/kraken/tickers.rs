//! Kraken's REST figures of a pair: ticker, bars, spread; and the list of assets.

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Map, Value, json};

use super::rest::{failed, is_meant, ok, text};
use super::{INTERVALS_MIN, asset_key, legacy, result_key};
use crate::http::percent_decoded;
use crate::market::{Bar, Market, Pair};
use crate::sums::{Sum, last_day};
use crate::text::push_padded_wide;

const DAY_S: u64 = 86_400;

/// `/0/public/Assets`.
pub(super) fn assets(head: &RequestHead, pairs: &[Pair]) -> String {
    let asked = head.query_value("asset").map(percent_decoded);
    let mut result = Map::new();
    for name in pairs.iter().flat_map(|pair| [&pair.base, &pair.quote]) {
        let (key, alt) = (asset_key(name), legacy(name));
        let decimals = if key.starts_with('Z') { 4 } else { 10 };
        let asset = json!({
            "aclass": "currency", "altname": alt, "decimals": decimals,
            "display_decimals": decimals / 2, "status": "enabled",
        });
        let meant = |text: &str| text == key || text == alt || text == name;
        if asked.as_ref().is_none_or(|asked| asked.split(',').any(meant)) {
            result.insert(key, asset);
        }
    }
    match (result.is_empty(), asked) {
        (true, Some(_)) => failed("EQuery:Unknown asset"),
        _ => ok(Value::Object(result)),
    }
}

/// `/0/public/Ticker`, of one pair, several or all.
pub(super) fn ticker(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> String {
    let asked = head.query_value("pair").map(percent_decoded);
    let mut result = Map::new();
    for name in asked.iter().flat_map(|asked| asked.split(',')) {
        if !market.pairs().iter().any(|pair| is_meant(pair, name)) {
            return failed("EQuery:Unknown asset pair");
        }
    }
    for at in 0..market.pairs().len() {
        let pair = &market.pairs()[at];
        if asked.as_ref().is_none_or(|asked| asked.split(',').any(|name| is_meant(pair, name))) {
            result.insert(result_key(pair), figures(at, market, now));
        }
    }
    ok(Value::Object(result))
}

fn figures(at: usize, market: &mut dyn Market, now: UnixNanos) -> Value {
    let view = market.book(at, 1).unwrap_or_default();
    let last = market.trades(at).last().copied();
    let today = Sum::of(market.bars(at, DAY_S).last().into_iter());
    let day = last_day(at, market, now);
    let pair = &market.pairs()[at];
    let price = |value: i64| text(value, pair.price_scale);
    let quote = |levels: &[book::Level]| {
        let (at, size) = levels.first().map_or((0, 0), |level| (level.price.0, level.size.0));
        json!([price(at), (size / 10_i64.pow(pair.size_scale.into())).max(1).to_string(), text(size, pair.size_scale)])
    };
    // Today's figure and that of the last 24 hours.
    let both = |of: &dyn Fn(&Sum) -> Value, none: Value| {
        let one = |sum: &Option<Sum>| sum.as_ref().map_or(none.clone(), of);
        json!([one(&today), one(&day)])
    };
    let zero = || Value::from(price(0));
    let (paid, size) = last.map_or((0, 0), |trade| (trade.price.0, trade.size.0));
    json!({
        "a": quote(&view.asks), "b": quote(&view.bids), "c": [price(paid), text(size, pair.size_scale)],
        "v": both(&|sum| Value::from(wide(sum.volume, pair)), Value::from(wide(0, pair))),
        "p": both(&|sum| Value::from(price(sum.average())), zero()),
        "t": both(&|sum| Value::from(sum.trades), Value::from(0)),
        "l": both(&|sum| Value::from(price(sum.low)), zero()),
        "h": both(&|sum| Value::from(price(sum.high)), zero()),
        "o": price(today.as_ref().map_or(0, |sum| sum.first.open.0)),
    })
}

/// `/0/public/OHLC`: bars behind `since`, the running one last; `last` names the newest that is complete.
pub(super) fn bars(head: &RequestHead, at: usize, market: &dyn Market) -> String {
    let number = |name: &str, default: u64| head.query_value(name).map_or(Some(default), |text| text.parse().ok());
    let minutes = number("interval", 1).filter(|minutes| INTERVALS_MIN.contains(minutes));
    let (Some(minutes), Some(since)) = (minutes, number("since", 0)) else {
        return failed("EGeneral:Invalid arguments");
    };
    let pair = &market.pairs()[at];
    let second = |bar: &Bar| bar.begin.0 / 1_000_000_000;
    let all: Vec<Bar> = market.bars(at, minutes * 60).into_iter().filter(|bar| second(bar) > since).collect();
    let row = |bar: &Bar| {
        let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(|p| text(p.0, pair.price_scale));
        let average = Sum::of([bar].into_iter()).map_or(0, |sum| sum.average());
        json!([
            second(bar),
            open,
            high,
            low,
            close,
            text(average, pair.price_scale),
            wide(bar.volume, pair),
            bar.trades
        ])
    };
    let complete = all.len().checked_sub(2).map_or(since, |before| second(&all[before]));
    let rows = Value::from_iter(all.iter().map(row));
    ok(Value::Object(Map::from_iter([(result_key(pair), rows), ("last".to_owned(), Value::from(complete))])))
}

/// `/0/public/Spread`. The market keeps no quotes: the one that stands is all there is.
pub(super) fn spread(at: usize, market: &mut dyn Market, now: UnixNanos) -> String {
    let view = market.book(at, 1).unwrap_or_default();
    let pair = &market.pairs()[at];
    let second = now.0 / 1_000_000_000;
    let best = view.bids.first().zip(view.asks.first());
    let row = |(bid, ask): (&book::Level, &book::Level)| {
        json!([second, text(bid.price.0, pair.price_scale), text(ask.price.0, pair.price_scale)])
    };
    let rows = Value::from_iter(best.map(row));
    ok(Value::Object(Map::from_iter([(result_key(pair), rows), ("last".to_owned(), Value::from(second))])))
}

fn wide(sum: i128, pair: &Pair) -> String {
    let mut out = Vec::new();
    push_padded_wide(sum, pair.size_scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
