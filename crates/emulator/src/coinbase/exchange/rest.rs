//! Exchange's REST paths: products, books of three levels, trades in pages.

use feed::websocket::handshake::RequestHead;
use model::{Side, UnixNanos};
use serde_json::{Value, json};

use super::super::{INTERVALS_S, assets};
use crate::http::{Response, percent_decoded};
use crate::market::orders::{Order, levels, push_uuid};
use crate::market::{Bar, Market, Pair, PairStatus, Trade};
use crate::sums::last_day;
use crate::text::{push_padded, push_padded_wide, push_rfc3339};

/// Trades of a page, unless asked otherwise and at most.
const TRADES_PAGE: usize = 1000;
/// Levels of a book of level 1.
const TOP: usize = 1;
/// Bars of an answer.
const CANDLES_MAX: usize = 300;

type Answer = Result<Response, (u16, String)>;

/// Answers one request.
pub(crate) fn answer(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Response {
    if head.method != "GET" {
        return failure(405, "MethodNotAllowed");
    }
    match route(head, market, now) {
        Ok(response) => response,
        Err((status, message)) if message == UNKNOWN => failure(status, &message).unknown(),
        Err((status, message)) => failure(status, &message),
    }
}

const UNKNOWN: &str = "Route not found";

fn failure(status: u16, message: &str) -> Response {
    Response::json(status, json!({"message": message}).to_string())
}

fn route(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Answer {
    let parts: Vec<String> = head.path.split('/').skip(1).map(percent_decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["time"] => {
            let epoch = number(i64::try_from(now.0 / 1_000_000).unwrap_or(i64::MAX), 3);
            Ok(ok(&format!("{{\"iso\":\"{}\",\"epoch\":{epoch}}}", stamp(now, 3))))
        }
        ["products"] => {
            let products: Vec<Value> = market.pairs().iter().map(product).collect();
            Ok(ok(&Value::from(products).to_string()))
        }
        ["products", id] => Ok(ok(&product(&market.pairs()[find(id, market)?]).to_string())),
        ["products", id, "book"] => book(head, find(id, market)?, market, now),
        ["products", id, "trades"] => trades(head, find(id, market)?, market),
        ["products", id, "ticker"] => ticker(find(id, market)?, market),
        ["products", id, "stats"] => stats(find(id, market)?, market, now),
        ["currencies"] => {
            let list = assets(market.pairs()).into_iter().map(|(name, money)| currency(&name, money));
            Ok(ok(&Value::from_iter(list).to_string()))
        }
        ["currencies", id] => {
            let found = assets(market.pairs()).into_iter().find(|(name, _)| name == id);
            let (name, money) = found.ok_or_else(|| (404, "NotFound".to_owned()))?;
            Ok(ok(&currency(&name, money).to_string()))
        }
        ["products", id, "candles"] => candles(head, find(id, market)?, market),
        _ => Err((404, UNKNOWN.to_owned())),
    }
}

fn ok(body: &str) -> Response {
    Response::json(200, body)
}

fn find(id: &str, market: &dyn Market) -> Result<usize, (u16, String)> {
    market.pairs().iter().position(|pair| pair.symbol == id).ok_or_else(|| (404, "NotFound".to_owned()))
}

fn text(mantissa: i64, scale: u8) -> String {
    let mut out = Vec::new();
    push_padded(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn wide(mantissa: i128, scale: u8) -> String {
    let mut out = Vec::new();
    push_padded_wide(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A JSON number, which serde_json would take through a float.
fn number(mantissa: i64, scale: u8) -> String {
    let mut out = Vec::new();
    scan::push_fixed(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn stamp(time: UnixNanos, decimals: u8) -> String {
    let mut out = Vec::new();
    push_rfc3339(time, decimals, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A product as REST and the status channel tell it.
pub(super) fn product(pair: &Pair) -> Value {
    json!({
        "id": pair.symbol,
        "base_currency": pair.base,
        "quote_currency": pair.quote,
        "quote_increment": text(pair.tick.0, pair.price_scale),
        "base_increment": text(pair.lot.0, pair.size_scale),
        "display_name": format!("{}/{}", pair.base, pair.quote),
        "min_market_funds": "1",
        "margin_enabled": false,
        "post_only": false,
        "limit_only": false,
        "cancel_only": false,
        "status": pair.status_text("online", "delisted"),
        "status_message": "",
        "trading_disabled": pair.status == PairStatus::Delisted,
        "fx_stablecoin": false,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": false,
        "high_bid_limit_percentage": "",
    })
}

fn book(head: &RequestHead, at: usize, market: &mut dyn Market, now: UnixNanos) -> Answer {
    let level = head.query_value("level").unwrap_or("1");
    let pair = market.pairs()[at].clone();
    let entry = |price: i64, size: i64, third: Value| {
        json!([text(price, pair.price_scale), text(size, pair.size_scale), third])
    };
    let uuid = |order: &Order| {
        let mut out = Vec::new();
        push_uuid(order.id, &mut out);
        Value::from(String::from_utf8_lossy(&out).into_owned())
    };
    let (sequence, sides): (u64, Vec<Vec<Value>>) = match (level, market.orders(at)) {
        ("3", Some(orders)) => {
            let side = |side| orders.side(side).map(|o| entry(o.price.0, o.size.0, uuid(&o))).collect();
            (orders.sequence(), [Side::Buy, Side::Sell].map(side).into())
        }
        ("3", None) => return Err((400, "The recorded session has no orders".to_owned())),
        ("1" | "2", Some(orders)) => {
            let most = if level == "1" { TOP } else { usize::MAX };
            let side = |side| {
                let levels = levels(orders.side(side));
                levels.iter().take(most).map(|(l, count)| entry(l.price.0, l.size.0, json!(count))).collect()
            };
            (orders.sequence(), [Side::Buy, Side::Sell].map(side).into())
        }
        ("1" | "2", None) => {
            let view = market.book(at, if level == "1" { TOP } else { usize::MAX }).unwrap_or_default();
            let side =
                |levels: &Vec<book::Level>| levels.iter().map(|l| entry(l.price.0, l.size.0, json!(1))).collect();
            (view.update_id, vec![side(&view.bids), side(&view.asks)])
        }
        _ => return Err((400, "Invalid level".to_owned())),
    };
    let body = json!({
        "bids": sides[0], "asks": sides[1], "sequence": sequence, "auction_mode": false, "auction": null,
        "time": stamp(now, 6),
    });
    Ok(ok(&body.to_string()))
}

fn trades(head: &RequestHead, at: usize, market: &dyn Market) -> Answer {
    let bound = |name: &str| match head.query_value(name).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(id)) => Ok(Some(id)),
        Some(Err(_)) => Err((400, format!("Invalid {name}"))),
    };
    let (before, after) = (bound("before")?, bound("after")?);
    let limit = bound("limit")?.map_or(TRADES_PAGE, |limit| usize::try_from(limit).unwrap_or(TRADES_PAGE));
    if !(1..=TRADES_PAGE).contains(&limit) {
        return Err((400, "Invalid limit".to_owned()));
    }
    let pair = &market.pairs()[at];
    let all = market.trades(at);
    // `before` asks for what is newer than a cursor, `after` for what is older; a page is the newest of that.
    let fits = |trade: &&Trade| before.is_none_or(|id| trade.id > id) && after.is_none_or(|id| trade.id < id);
    let page: Vec<&Trade> = all.iter().rev().filter(fits).take(limit).collect();
    let entry = |trade: &&Trade| {
        let (price, size) = (text(trade.price.0, pair.price_scale), text(trade.size.0, pair.size_scale));
        json!({"trade_id": trade.id, "side": trade.taker.opposite().name(), "size": size, "price": price,
               "time": stamp(trade.time, 6)})
    };
    let body = Value::from(page.iter().map(entry).collect::<Vec<_>>());
    let response = ok(&body.to_string());
    Ok(match (page.first(), page.last()) {
        (Some(newest), Some(oldest)) => response.header("cb-before", newest.id).header("cb-after", oldest.id),
        _ => response,
    })
}

fn ticker(at: usize, market: &mut dyn Market) -> Answer {
    let pair = market.pairs()[at].clone();
    let view = market.book(at, TOP).unwrap_or_default();
    let price = |level: Option<&book::Level>| level.map_or(String::new(), |l| text(l.price.0, pair.price_scale));
    let trades = market.trades(at);
    let last = trades.last().ok_or((404, "NotFound".to_owned()))?;
    let volume: i128 = market.bars(at, 86_400).last().map_or(0, |bar| bar.volume);
    let body = json!({
        "ask": price(view.asks.first()), "bid": price(view.bids.first()), "volume": wide(volume, pair.size_scale),
        "trade_id": last.id, "price": text(last.price.0, pair.price_scale), "size": text(last.size.0, pair.size_scale),
        "time": stamp(last.time, 6),
    });
    Ok(ok(&body.to_string()))
}

fn currency(name: &str, money: bool) -> Value {
    json!({
        "id": name, "name": name, "min_size": if money { "0.01" } else { "0.00000001" }, "status": "online",
        "message": "", "max_precision": if money { "0.01" } else { "0.00000001" }, "convertible_to": [],
        "details": {"type": if money { "fiat" } else { "crypto" }, "symbol": null, "sort_order": 100,
                    "push_payment_methods": [], "display_name": null, "group_types": [], "max_withdrawal_amount": null},
        "default_network": "", "supported_networks": [], "display_name": name,
    })
}

fn stats(at: usize, market: &mut dyn Market, now: UnixNanos) -> Answer {
    let day = last_day(at, market, now).ok_or((404, "NotFound".to_owned()))?;
    let pair = &market.pairs()[at];
    let price = |value: i64| text(value, pair.price_scale);
    let volume = wide(day.volume, pair.size_scale);
    let body = json!({
        "open": price(day.first.open.0), "high": price(day.high), "low": price(day.low), "last": price(day.last.close.0),
        "volume": volume, "volume_30day": volume,
    });
    Ok(ok(&body.to_string()))
}

fn candles(head: &RequestHead, at: usize, market: &dyn Market) -> Answer {
    let seconds = head.query_value("granularity").map_or(Ok(60), str::parse::<u64>);
    let seconds = seconds.ok().filter(|seconds| INTERVALS_S.contains(seconds));
    let seconds = seconds.ok_or((400, "Unsupported granularity".to_owned()))?;
    let pair = &market.pairs()[at];
    let entry = |bar: &Bar| {
        let price = |mantissa| number(mantissa, pair.price_scale);
        let volume = number(bar.volume.clamp(0, i128::from(i64::MAX)) as i64, pair.size_scale);
        let [low, high, open, close] = [bar.low, bar.high, bar.open, bar.close].map(|p| price(p.0));
        format!("[{},{low},{high},{open},{close},{volume}]", bar.begin.0 / 1_000_000_000)
    };
    let bars: Vec<String> = market.bars(at, seconds).iter().rev().take(CANDLES_MAX).map(entry).collect();
    Ok(ok(&format!("[{}]", bars.join(","))))
}
