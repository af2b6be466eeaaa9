//! Advanced Trade's public REST paths, with and without `/market`: products, books, trades, bars, time.

use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::frames::side_word;
use crate::http::{Response, percent_decoded};
use crate::market::{Bar, Market, Pair, Trade};
use crate::requests::Left;
use crate::sums::last_day;
use crate::text::{push_padded_wide, push_rfc3339, push_rfc3339_trimmed};

/// Trades of an answer, unless asked otherwise and at most.
const TRADES_DEFAULT: usize = 100;
const TRADES_MAX: usize = 1000;
/// Bars of an answer.
const CANDLES_MAX: usize = 350;

/// Bar intervals by name.
const GRANULARITIES: [(&str, u64); 6] = [
    ("ONE_MINUTE", 60),
    ("FIVE_MINUTE", 300),
    ("FIFTEEN_MINUTE", 900),
    ("ONE_HOUR", 3600),
    ("SIX_HOUR", 21_600),
    ("ONE_DAY", 86_400),
];

type Answer = Result<Value, (u16, &'static str, String)>;

/// Says how many requests are left.
pub(crate) fn limited(response: Response, left: Left, now: UnixNanos) -> Response {
    response
        .header("x-ratelimit-limit", left.limit)
        .header("x-ratelimit-remaining", left.remaining.unwrap_or(0))
        .header("x-ratelimit-reset", left.full.since(now).as_secs() + 1)
}

/// Answers one request; `path` is what follows `/api/v3/brokerage`.
pub(crate) fn answer(path: &str, head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Response {
    let public = path.strip_prefix("/market");
    let parts: Vec<String> = public.unwrap_or(path).split('/').skip(1).map(percent_decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let signed = head.header("Authorization").or(head.header("CB-ACCESS-SIGN")).is_some();
    let answer = match parts.as_slice() {
        ["time"] => {
            let (seconds, millis) = (now.0 / 1_000_000_000, now.0 / 1_000_000);
            Ok(json!({"iso": stamp(now, 0), "epochSeconds": seconds.to_string(), "epochMillis": millis.to_string()}))
        }
        // The same without `/market` are for keys, whichever they are.
        [..] if public.is_none() && !signed => return Response::json(401, "Unauthorized\n"),
        ["products"] => products(head, market, now),
        ["products", id] => find(id, market).map(|at| product(at, market, now)),
        ["products", id, "ticker"] => find(id, market).and_then(|at| trades(head, at, market)),
        ["products", id, "candles"] => find(id, market).and_then(|at| candles(head, at, market)),
        ["product_book"] => product_book(head, market, now),
        ["best_bid_ask"] if public.is_none() => best_bid_ask(head, market, now),
        // An account in which nothing is and nothing happens.
        ["accounts"] => Ok(json!({"accounts": [], "has_next": false, "cursor": "", "size": 0})),
        ["orders", "historical", "batch"] => Ok(json!({"orders": [], "has_next": false, "cursor": ""})),
        ["orders", "historical", "fills"] => Ok(json!({"fills": [], "cursor": ""})),
        ["transaction_summary"] => Ok(json!({
            "total_volume": 0, "total_fees": 0, "advanced_trade_only_volume": 0, "advanced_trade_only_fees": 0,
            "fee_tier": {"pricing_tier": "Advanced 1", "usd_from": "0", "usd_to": "1000", "taker_fee_rate": "0.012",
                         "maker_fee_rate": "0.006"},
        })),
        _ => {
            let message = format!("the emulator does not serve {}", head.path);
            return failure(404, "NOT_FOUND", &message).unknown();
        }
    };
    match answer {
        Ok(body) => Response::json(200, body.to_string()),
        Err((status, error, message)) => failure(status, error, &message),
    }
}

fn failure(status: u16, error: &str, message: &str) -> Response {
    let body = json!({"error": error, "error_details": message, "message": message});
    Response::json(status, body.to_string())
}

fn find(id: &str, market: &dyn Market) -> Result<usize, (u16, &'static str, String)> {
    let at = market.pairs().iter().position(|pair| pair.symbol == id);
    at.ok_or_else(|| (404, "NOT_FOUND", format!("valid product_id is required, {id} is none")))
}

fn query<T: std::str::FromStr>(head: &RequestHead, name: &str) -> Result<Option<T>, (u16, &'static str, String)> {
    head.query_value(name)
        .map(|text| text.parse().map_err(|_| (400, "INVALID_ARGUMENT", format!("{name} {text:?} cannot be read"))))
        .transpose()
}

fn text(mantissa: i64, scale: u8) -> String {
    let mut out = Vec::new();
    scan::push_fixed(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn wide(mantissa: i128, scale: u8) -> String {
    let mut out = Vec::new();
    push_padded_wide(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn stamp(time: UnixNanos, decimals: u8) -> String {
    let mut out = Vec::new();
    match decimals {
        0 => push_rfc3339(time, 0, &mut out),
        _ => push_rfc3339_trimmed(time, decimals, &mut out),
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Ids named in a query, which may name several.
fn named<'a>(head: &'a RequestHead, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = head.query.as_deref().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(key, _)| *key == name).map(|(_, value)| percent_decoded(value))
}

fn products(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Answer {
    let spot = head.query_value("product_type").is_none_or(|kind| kind == "SPOT");
    let ids: Vec<String> = named(head, "product_ids").collect();
    let (limit, offset) = (query::<usize>(head, "limit")?, query::<usize>(head, "offset")?.unwrap_or(0));
    let wanted = |at: &usize| spot && (ids.is_empty() || ids.contains(&market.pairs()[*at].symbol));
    let chosen: Vec<usize> = (0..market.pairs().len()).filter(wanted).collect();
    let page = chosen.iter().skip(offset).take(limit.unwrap_or(usize::MAX));
    let list: Vec<Value> = page.map(|at| product(*at, market, now)).collect();
    Ok(json!({"num_products": list.len(), "products": list}))
}

fn product(at: usize, market: &mut dyn Market, now: UnixNanos) -> Value {
    let pair = market.pairs()[at].clone();
    let day = last_day(at, market, now);
    let price = market.trades(at).last().map_or(String::new(), |trade| text(trade.price.0, pair.price_scale));
    let (tick, lot) = (text(pair.tick.0, pair.price_scale), text(pair.lot.0, pair.size_scale));
    json!({
        "product_id": pair.symbol,
        "price": price,
        "price_percentage_change_24h": "0",
        "volume_24h": day.map_or("0".to_owned(), |bar| wide(bar.volume, pair.size_scale)),
        "volume_percentage_change_24h": "0",
        "base_increment": lot,
        "quote_increment": tick,
        "price_increment": tick,
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": lot,
        "base_max_size": "3400",
        "base_name": pair.base,
        "quote_name": pair.quote,
        "watched": false,
        "is_disabled": false,
        "new": false,
        "status": pair.status_text("online", "delisted"),
        "cancel_only": false,
        "limit_only": false,
        "post_only": false,
        "trading_disabled": false,
        "auction_mode": false,
        "product_type": "SPOT",
        "quote_currency_id": pair.quote,
        "base_currency_id": pair.base,
        "fcm_trading_session_details": null,
        "mid_market_price": "",
        "alias": "",
        "alias_to": if pair.quote == "USD" { json!([format!("{}-USDC", pair.base)]) } else { json!([]) },
        "base_display_symbol": pair.base,
        "quote_display_symbol": pair.quote,
        "view_only": false,
        "display_name": pair.symbol,
        "product_venue": "CBE",
    })
}

fn product_book(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Answer {
    let id = head.query_value("product_id").map(percent_decoded).unwrap_or_default();
    let at = find(&id, market)?;
    let limit = query::<usize>(head, "limit")?.unwrap_or(usize::MAX);
    Ok(json!({"pricebook": pricebook(at, limit, market, now)}))
}

fn best_bid_ask(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Answer {
    let asked: Vec<String> = named(head, "product_ids").collect();
    let all = asked.is_empty().then(|| (0..market.pairs().len()).collect());
    let chosen: Vec<usize> = match all {
        Some(all) => all,
        None => asked.iter().map(|id| find(id, market)).collect::<Result<_, _>>()?,
    };
    Ok(json!({"pricebooks": Value::from_iter(chosen.into_iter().map(|at| pricebook(at, 1, market, now)))}))
}

fn pricebook(at: usize, limit: usize, market: &mut dyn Market, now: UnixNanos) -> Value {
    let view = market.book(at, limit).unwrap_or_default();
    let pair = &market.pairs()[at];
    let side = |levels: &[book::Level]| -> Vec<Value> {
        let level = |level: &book::Level| json!({"price": text(level.price.0, pair.price_scale), "size": text(level.size.0, pair.size_scale)});
        levels.iter().map(level).collect()
    };
    let (bids, asks) = (side(&view.bids), side(&view.asks));
    json!({"product_id": pair.symbol, "bids": bids, "asks": asks, "time": stamp(now, 6)})
}

fn trades(head: &RequestHead, at: usize, market: &mut dyn Market) -> Answer {
    let limit = query::<usize>(head, "limit")?.unwrap_or(TRADES_DEFAULT).min(TRADES_MAX);
    let (start, end) = (query::<u64>(head, "start")?, query::<u64>(head, "end")?);
    let second = |trade: &Trade| trade.time.0 / 1_000_000_000;
    let fits =
        |trade: &&Trade| start.is_none_or(|start| second(trade) >= start) && end.is_none_or(|end| second(trade) <= end);
    let view = market.book(at, 1).unwrap_or_default();
    let all = market.trades(at);
    let pair = &market.pairs()[at];
    let entry = |trade: &Trade| {
        json!({
            "trade_id": trade.id.to_string(), "product_id": pair.symbol,
            "price": text(trade.price.0, pair.price_scale), "size": text(trade.size.0, pair.size_scale),
            "time": stamp(trade.time, 6), "side": side_word(trade.taker.opposite()), "bid": "", "ask": "",
            "exchange": "coinbase",
        })
    };
    let price = |level: Option<&book::Level>| level.map_or(String::new(), |l| text(l.price.0, pair.price_scale));
    let page: Vec<Value> = all.iter().rev().filter(fits).take(limit).map(entry).collect();
    Ok(json!({"trades": page, "best_bid": price(view.bids.first()), "best_ask": price(view.asks.first())}))
}

fn candles(head: &RequestHead, at: usize, market: &mut dyn Market) -> Answer {
    let name = head.query_value("granularity").unwrap_or("FIVE_MINUTE");
    let seconds = GRANULARITIES.iter().find(|(known, _)| *known == name).map(|(_, seconds)| *seconds);
    let seconds = seconds.ok_or_else(|| (400, "INVALID_ARGUMENT", format!("granularity {name:?} is not known")))?;
    let (start, end) = (query::<u64>(head, "start")?, query::<u64>(head, "end")?);
    let bars = market.bars(at, seconds);
    let pair = &market.pairs()[at];
    let begin = |bar: &Bar| bar.begin.0 / 1_000_000_000;
    let fits = |bar: &&Bar| start.is_none_or(|start| begin(bar) >= start) && end.is_none_or(|end| begin(bar) <= end);
    let entry = |bar: &Bar| candle(bar, pair);
    let candles: Vec<Value> = bars.iter().rev().filter(fits).take(CANDLES_MAX).map(entry).collect();
    Ok(json!({"candles": candles}))
}

fn candle(bar: &Bar, pair: &Pair) -> Value {
    let price = |mantissa| text(mantissa, pair.price_scale);
    json!({
        "start": (bar.begin.0 / 1_000_000_000).to_string(), "low": price(bar.low.0), "high": price(bar.high.0),
        "open": price(bar.open.0), "close": price(bar.close.0), "volume": wide(bar.volume, pair.size_scale),
    })
}
