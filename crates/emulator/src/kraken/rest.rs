//! Kraken's public REST paths: HTTP 200 with `error` and `result`, whatever happened.

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Map, Value, json};

use super::{altname, asset_key, result_key, tickers, wsname};
use crate::http::{Response, percent_decoded};
use crate::market::{Market, Pair};
use crate::text::{push_padded, push_rfc3339};

/// Levels of a depth answer unless asked otherwise.
const DEPTH_DEFAULT: usize = 100;
const DEPTH_MAX: usize = 500;
/// Trades of an answer at most, and unless asked otherwise.
const TRADES_MAX: usize = 1000;

/// Methods for keys that clients ask at their start.
const PRIVATE: [&str; 8] = [
    "GetWebSocketsToken",
    "Balance",
    "BalanceEx",
    "TradeBalance",
    "OpenOrders",
    "ClosedOrders",
    "OpenPositions",
    "TradesHistory",
];

/// Answers one request.
pub(crate) fn answer(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Response {
    if !["GET", "POST"].contains(&head.method.as_str()) {
        return Response::json(405, failed("EGeneral:Unknown method"));
    }
    let body = match head.path.as_str() {
        "/0/public/Time" => {
            let mut time = Vec::new();
            push_rfc3339(now, 0, &mut time);
            ok(json!({"unixtime": now.0 / 1_000_000_000, "rfc1123": String::from_utf8_lossy(&time)}))
        }
        "/0/public/SystemStatus" => {
            let mut time = Vec::new();
            push_rfc3339(now, 0, &mut time);
            ok(json!({"status": "online", "timestamp": String::from_utf8_lossy(&time)}))
        }
        "/0/public/Assets" => tickers::assets(head, market.pairs()),
        "/0/public/Ticker" => tickers::ticker(head, market, now),
        "/0/public/OHLC" => match pair_of(head, market) {
            Ok(at) => tickers::bars(head, at, market),
            Err(error) => failed(error),
        },
        "/0/public/Spread" => match pair_of(head, market) {
            Ok(at) => tickers::spread(at, market, now),
            Err(error) => failed(error),
        },
        // Nobody has a key here. The venue looks at the key before it looks at anything else.
        path if PRIVATE.iter().any(|name| path.strip_prefix("/0/private/") == Some(name)) => failed("EAPI:Invalid key"),
        "/0/public/AssetPairs" => asset_pairs(head, market.pairs()),
        "/0/public/Depth" => depth(head, market, now),
        "/0/public/Trades" => trades(head, market),
        path if path.starts_with("/0/") => return Response::json(200, failed("EGeneral:Unknown method")).unknown(),
        _ => return Response::page(404).unknown(),
    };
    Response::json(200, body)
}

/// The pair that a request must name, or the error's name.
fn pair_of(head: &RequestHead, market: &dyn Market) -> Result<usize, &'static str> {
    let asked = head.query_value("pair").map(percent_decoded).ok_or("EGeneral:Invalid arguments")?;
    market.pairs().iter().position(|pair| is_meant(pair, &asked)).ok_or("EQuery:Unknown asset pair")
}

pub(super) fn ok(result: Value) -> String {
    json!({"error": [], "result": result}).to_string()
}

pub(super) fn failed(error: &str) -> String {
    json!({"error": [error]}).to_string()
}

pub(super) fn text(mantissa: i64, scale: u8) -> String {
    let mut out = Vec::new();
    push_padded(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a client means this pair: clients say `XBTUSD`, `XXBTZUSD`, `XBT/USD`, `BTC/USD` or `BTCUSD`.
pub(super) fn is_meant(pair: &Pair, asked: &str) -> bool {
    let plain = pair.symbol.replace('/', "");
    [altname(pair), result_key(pair), wsname(pair), pair.symbol.clone(), plain].iter().any(|name| name == asked)
}

fn asset_pairs(head: &RequestHead, pairs: &[Pair]) -> String {
    let asked = head.query_value("pair").map(percent_decoded);
    let mut result = Map::new();
    for name in asked.iter().flat_map(|asked| asked.split(',')) {
        if !pairs.iter().any(|pair| is_meant(pair, name)) {
            return failed("EQuery:Unknown asset pair");
        }
    }
    for pair in pairs {
        if asked.as_ref().is_none_or(|asked| asked.split(',').any(|name| is_meant(pair, name))) {
            result.insert(result_key(pair), asset_pair(pair));
        }
    }
    ok(Value::Object(result))
}

fn asset_pair(pair: &Pair) -> Value {
    json!({
        "altname": altname(pair),
        "wsname": wsname(pair),
        "aclass_base": "currency",
        "base": asset_key(&pair.base),
        "aclass_quote": "currency",
        "quote": asset_key(&pair.quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": pair.price_scale,
        "lot_decimals": pair.size_scale,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": text(pair.lot.0, pair.size_scale),
        "costmin": "0.5",
        "tick_size": text(pair.tick.0, pair.price_scale),
        "status": pair.status_text("online", "delisted"),
    })
}

fn depth(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> String {
    let at = match pair_of(head, market) {
        Ok(at) => at,
        Err(error) => return failed(error),
    };
    let count = head.query_value("count").map_or(Some(DEPTH_DEFAULT), |count| count.parse().ok());
    let Some(count) = count.filter(|count| (1..=DEPTH_MAX).contains(count)) else {
        return failed("EGeneral:Invalid arguments:count");
    };
    let pair = market.pairs()[at].clone();
    let book = market.book(at, count).unwrap_or_default();
    let seconds = now.0 / 1_000_000_000;
    let side = |levels: &[book::Level]| -> Vec<Value> {
        let level = |level: &book::Level| {
            json!([text(level.price.0, pair.price_scale), text(level.size.0, pair.size_scale), seconds])
        };
        levels.iter().map(level).collect()
    };
    let mut result = Map::new();
    result.insert(result_key(&pair), json!({"asks": side(&book.asks), "bids": side(&book.bids)}));
    ok(Value::Object(result))
}

/// The oldest trades behind `since` (ns), or without it the latest: always in rising order.
fn trades(head: &RequestHead, market: &mut dyn Market) -> String {
    let at = match pair_of(head, market) {
        Ok(at) => at,
        Err(error) => return failed(error),
    };
    let number = |name: &str, default: u64| head.query_value(name).map_or(Some(default), |text| text.parse().ok());
    let Some(count) = number("count", TRADES_MAX as u64).filter(|n| (1..=TRADES_MAX as u64).contains(n)) else {
        return failed("EGeneral:Invalid arguments:count");
    };
    let Some(since) = number("since", 0) else { return failed("EGeneral:Invalid arguments:since") };
    let (pair, all) = (market.pairs()[at].clone(), market.trades(at));
    let from = match head.query_value("since") {
        Some(_) => all.partition_point(|trade| trade.time.0 <= since),
        None => all.len().saturating_sub(count as usize),
    };
    let served = &all[from..(from + count as usize).min(all.len())];
    let last = served.last().map_or(since, |trade| trade.time.0);
    // Written by hand: the times are JSON numbers with nine decimals, which no float holds.
    let rows: Vec<String> = served
        .iter()
        .map(|trade| {
            let (price, size) = (text(trade.price.0, pair.price_scale), text(trade.size.0, pair.size_scale));
            let (seconds, nanos) = (trade.time.0 / 1_000_000_000, trade.time.0 % 1_000_000_000);
            let side = if trade.taker == model::Side::Buy { "b" } else { "s" };
            format!("[\"{price}\",\"{size}\",{seconds}.{nanos:09},\"{side}\",\"m\",\"\",{}]", trade.id)
        })
        .collect();
    let key = result_key(&pair);
    format!("{{\"error\":[],\"result\":{{\"{key}\":[{}],\"last\":\"{last}\"}}}}", rows.join(","))
}
