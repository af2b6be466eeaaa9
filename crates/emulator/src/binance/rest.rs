//! Binance's REST paths for market data, with request weights counted and limited as the venue does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use feed::websocket::handshake::RequestHead;
use model::{Qty, Side, UnixNanos};
use serde_json::{Value, json};

use super::frames::push_book;
use super::intervals::Interval;
use super::tickers;
use crate::http::{Response, percent_decoded};
use crate::market::{Bar, BookView, Market, Pair, Trade};
use crate::text::{push_padded, push_padded_wide};

/// Requests that an address may go on making in a minute in which it was told to stop, before it is banned.
const WARNINGS_MAX: u32 = 20;
/// The shortest of the venue's bans.
const BAN: Duration = Duration::from_secs(120);

/// Request weights of the running minute, by address.
#[derive(Debug)]
pub(crate) struct Rest {
    limit: u32,
    minute: u64,
    used: BTreeMap<IpAddr, Used>,
}

/// What an address has used up.
#[derive(Debug, Default)]
struct Used {
    weight: u32,
    warnings: u32,
    banned_until: Option<UnixNanos>,
}

pub(super) type Failure = (u16, i32, String);
type Answer = Result<String, Failure>;

impl Rest {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, minute: 0, used: BTreeMap::new() }
    }

    /// Answers one request.
    pub(crate) fn answer(
        &mut self,
        head: &RequestHead,
        from: IpAddr,
        market: &mut dyn Market,
        now: UnixNanos,
    ) -> Response {
        let minute = now.0 / 60_000_000_000;
        if minute != self.minute {
            self.minute = minute;
            self.used.retain(|_, used| used.banned_until.is_some_and(|until| until > now));
            self.used.values_mut().for_each(|used| (used.weight, used.warnings) = (0, 0));
        }
        let limit = self.limit;
        let used = self.used.entry(from).or_default();
        used.weight = used.weight.saturating_add(weight(head));
        let answer = if let Some(until) = used.banned_until.filter(|until| *until > now) {
            banned(until, now)
        } else if used.weight > limit {
            used.warnings += 1;
            if used.warnings > WARNINGS_MAX {
                let until = *used.banned_until.insert(now.after(BAN));
                banned(until, now)
            } else {
                let text = format!(
                    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. Please use \
                     WebSocket Streams for live updates to avoid polling the API."
                );
                failure(429, -1003, &text).header("Retry-After", 60 - now.0 / 1_000_000_000 % 60)
            }
        } else {
            match answer(head, market, now) {
                Some(Ok(body)) => Response::json(200, body),
                Some(Err((status, code, text))) => failure(status, code, &text),
                // Where no part of the API is, the web server in front of it answers.
                None => Response::page(404).unknown(),
            }
        };
        answer.header("X-MBX-USED-WEIGHT", used.weight).header("X-MBX-USED-WEIGHT-1M", used.weight)
    }
}

fn banned(until: UnixNanos, now: UnixNanos) -> Response {
    let text = format!(
        "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live updates to avoid \
         bans.",
        until.0 / 1_000_000
    );
    failure(418, -1003, &text).header("Retry-After", until.since(now).as_secs() + 1)
}

fn failure(status: u16, code: i32, text: &str) -> Response {
    Response::json(status, format!("{{\"code\":{code},\"msg\":{}}}", Value::from(text)))
}

fn weight(head: &RequestHead) -> u32 {
    let limit: u32 = head.query_value("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
    match head.path.as_str() {
        "/api/v3/exchangeInfo" => 20,
        "/api/v3/depth" if limit <= 100 => 5,
        "/api/v3/depth" if limit <= 500 => 25,
        "/api/v3/depth" if limit <= 1000 => 50,
        "/api/v3/depth" => 250,
        "/api/v3/trades" | "/api/v3/historicalTrades" => 25,
        "/api/v3/aggTrades" => 4,
        "/api/v3/klines" | "/api/v3/uiKlines" | "/api/v3/avgPrice" => 2,
        path => ticker(path).map_or(1, |name| tickers::weight(name, head)),
    }
}

/// The name of a ticker, where a path is one's.
fn ticker(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/api/v3/ticker")?;
    let name = if name.is_empty() { name } else { name.strip_prefix('/').filter(|name| !name.is_empty())? };
    tickers::is_ticker(name).then_some(name)
}

/// The answer, if there is anything at the path.
fn answer(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Option<Answer> {
    let path = head.path.as_str();
    if path.starts_with("/api/v3/") && head.method != "GET" {
        return Some(Err((405, 0, format!("Request method '{}' not supported", head.method))));
    }
    Some(match path {
        "/api/v3/ping" => Ok("{}".to_owned()),
        "/api/v3/time" => Ok(format!("{{\"serverTime\":{}}}", now.0 / 1_000_000)),
        "/api/v3/exchangeInfo" => exchange_info(head, market.pairs(), now),
        "/api/v3/depth" => symbol(head, market.pairs()).and_then(|at| {
            let book = market.book(at, limit(head, 100, 5000)?).unwrap_or_default();
            Ok(depth(&market.pairs()[at], &book))
        }),
        "/api/v3/trades" | "/api/v3/historicalTrades" | "/api/v3/aggTrades" => trades_page(head, market),
        "/api/v3/klines" | "/api/v3/uiKlines" => klines_page(head, market),
        "/api/v3/avgPrice" => tickers::average(head, market, now),
        // Keys are no business of market data: whoever shows none, or another's, is told so.
        "/api/v3/account" | "/api/v3/openOrders" | "/api/v3/myTrades" | "/api/v3/userDataStream" => {
            Err((401, -2014, "API-key format invalid.".to_owned()))
        }
        _ => tickers::answer(ticker(path)?, head, market, now),
    })
}

fn trades_page(head: &RequestHead, market: &mut dyn Market) -> Answer {
    let at = symbol(head, market.pairs())?;
    let limit = limit(head, 500, 1000)?;
    let aggregated = head.path.ends_with("aggTrades");
    let from = from_id(head)?;
    let (start, end) = if aggregated { span(head)? } else { (None, None) };
    if from.is_some() && (start.is_some() || end.is_some()) {
        return Err((400, -1128, "Combination of optional parameters invalid.".to_owned()));
    }
    let mut all = market.trades(at);
    let ms = |time: UnixNanos| time.0 / 1_000_000;
    all.retain(|trade| end.is_none_or(|end| ms(trade.time) <= end));
    let (pair, kept): (_, Vec<&[Trade]>) = (
        &market.pairs()[at],
        match aggregated {
            true => all.chunk_by(|a, b| a.aggregate == b.aggregate).collect(),
            false => all.chunks(1).collect(),
        },
    );
    let id = |fills: &[Trade]| if aggregated { fills[0].aggregate } else { fills[0].id };
    let first = match (from, start) {
        (Some(from), _) => kept.partition_point(|fills| id(fills) < from),
        (None, Some(start)) => kept.partition_point(|fills| ms(fills[0].time) < start),
        (None, None) => kept.len().saturating_sub(limit),
    };
    let push = if aggregated { aggregate } else { trade };
    let served: Vec<String> = kept[first..].iter().take(limit).map(|fills| push(pair, fills)).collect();
    Ok(format!("[{}]", served.join(",")))
}

fn klines_page(head: &RequestHead, market: &mut dyn Market) -> Answer {
    let at = symbol(head, market.pairs())?;
    let limit = limit(head, 500, 1000)?;
    let name = head.query_value("interval").ok_or_else(|| missing("interval"))?;
    let interval = Interval::of(name).ok_or((400, -1120, "Invalid interval.".to_owned()))?;
    let (start, end) = span(head)?;
    let mut bars = interval.all(&market.bars(at, interval.base_s));
    let ms = |bar: &Bar| bar.begin.0 / 1_000_000;
    bars.retain(|bar| start.is_none_or(|start| ms(bar) >= start) && end.is_none_or(|end| ms(bar) <= end));
    // From a start on the oldest, otherwise the latest.
    let first = if start.is_some() { 0 } else { bars.len().saturating_sub(limit) };
    Ok(klines(&market.pairs()[at], &bars[first..(first + limit).min(bars.len())]))
}

/// Start and end of a request, milliseconds.
fn span(head: &RequestHead) -> Result<(Option<u64>, Option<u64>), Failure> {
    let bound = |name: &str| {
        let illegal = || {
            let legal = "legal range is '^[0-9]{1,20}$'";
            (400, -1100, format!("Illegal characters found in parameter '{name}'; {legal}."))
        };
        head.query_value(name).map(|text| text.parse().map_err(|_| illegal())).transpose()
    };
    Ok((bound("startTime")?, bound("endTime")?))
}

pub(super) fn missing(name: &str) -> Failure {
    (400, -1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
}

/// The symbol a request is about.
pub(super) fn symbol(head: &RequestHead, pairs: &[Pair]) -> Result<usize, Failure> {
    let asked = head.query_value("symbol").map(percent_decoded).filter(|text| !text.is_empty());
    let asked = asked.ok_or_else(|| missing("symbol"))?;
    let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if asked.len() > 20 || !asked.bytes().all(legal) {
        let legal = "legal range is '^[A-Z0-9-_.]{1,20}$'";
        return Err((400, -1100, format!("Illegal characters found in parameter 'symbol'; {legal}.")));
    }
    let at = pairs.iter().position(|pair| pair.symbol == asked);
    at.ok_or_else(|| (400, -1121, "Invalid symbol.".to_owned()))
}

fn limit(head: &RequestHead, default: usize, most: usize) -> Result<usize, Failure> {
    let Some(text) = head.query_value("limit") else { return Ok(default) };
    let limit: usize = text.parse().map_err(|_| missing("limit"))?;
    if limit == 0 { Err(missing("limit")) } else { Ok(limit.min(most)) }
}

/// Where to begin; `trades` always ends with the latest.
fn from_id(head: &RequestHead) -> Result<Option<u64>, Failure> {
    let asked = head.query_value("fromId").filter(|_| head.path != "/api/v3/trades");
    asked.map(|text| text.parse().map_err(|_| missing("fromId"))).transpose()
}

fn text(mantissa: i64, scale: u8) -> String {
    let mut out = Vec::new();
    push_padded(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A price in the pair's own decimals.
pub(super) fn price_text(value: i64, pair: &Pair) -> String {
    text(value, pair.price_scale)
}

/// A size in the pair's own decimals.
pub(super) fn size_text(value: Qty, pair: &Pair) -> String {
    text(value.0, pair.size_scale)
}

/// A sum of sizes, `extra` decimals longer than they are.
pub(super) fn wide(sum: i128, extra: u8, pair: &Pair) -> String {
    let mut out = Vec::new();
    push_padded_wide(sum / 10_i128.pow(extra.into()), pair.size_scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn exchange_info(head: &RequestHead, pairs: &[Pair], now: UnixNanos) -> Answer {
    let invalid = || (400, -1121, "Invalid symbol.".to_owned());
    let asked: Option<Vec<String>> = match (head.query_value("symbol"), head.query_value("symbols")) {
        (Some(one), _) => Some(vec![percent_decoded(one)]),
        (None, Some(list)) => {
            let list = serde_json::from_str(&percent_decoded(list));
            Some(list.map_err(|_| (400, -1100, "Illegal characters found in parameter 'symbols'.".to_owned()))?)
        }
        (None, None) => None,
    };
    let chosen: Vec<&Pair> = match asked {
        None => pairs.iter().collect(),
        Some(names) => {
            let found = |name: &String| pairs.iter().find(|pair| pair.symbol == *name);
            names.iter().map(found).collect::<Option<_>>().ok_or_else(invalid)?
        }
    };
    let symbols: Vec<Value> = chosen.into_iter().map(symbol_entry).collect();
    let limits = json!([
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
    ]);
    let info = json!({
        "timezone": "UTC", "serverTime": now.0 / 1_000_000, "rateLimits": limits, "exchangeFilters": [], "symbols": symbols,
    });
    Ok(info.to_string())
}

fn symbol_entry(pair: &Pair) -> Value {
    let price = |mantissa| text(mantissa, pair.price_scale);
    let size = |mantissa| text(mantissa, pair.size_scale);
    let most = i64::MAX / 10;
    // Price filter first: some clients take the tick size from the first filter unseen.
    let filters = json!([
        {"filterType": "PRICE_FILTER", "minPrice": price(pair.tick.0), "maxPrice": price(most - most % pair.tick.0.max(1)),
         "tickSize": price(pair.tick.0)},
        {"filterType": "LOT_SIZE", "minQty": size(pair.lot.0), "maxQty": size(most - most % pair.lot.0.max(1)),
         "stepSize": size(pair.lot.0)},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": true,
         "maxNotional": "9000000.00000000", "applyMaxToMarket": false, "avgPriceMins": 5},
    ]);
    json!({
        "symbol": pair.symbol,
        "status": pair.status_text("TRADING", "BREAK"),
        "baseAsset": pair.base,
        "baseAssetPrecision": pair.size_scale,
        "quoteAsset": pair.quote,
        "quotePrecision": pair.price_scale,
        "quoteAssetPrecision": pair.price_scale,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": false,
        "ocoAllowed": false,
        "otoAllowed": false,
        "quoteOrderQtyMarketAllowed": true,
        "allowTrailingStop": false,
        "cancelReplaceAllowed": false,
        "amendAllowed": false,
        "isSpotTradingAllowed": true,
        "isMarginTradingAllowed": false,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    })
}

pub(crate) fn depth(pair: &Pair, book: &BookView) -> String {
    let mut out = Vec::new();
    push_book(pair, book.update_id, book.bids.iter().copied(), book.asks.iter().copied(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The fills of one taker at one price, one at least.
fn aggregate(pair: &Pair, fills: &[Trade]) -> String {
    let (first, last) = (&fills[0], &fills[fills.len() - 1]);
    let size = fills.iter().map(|fill| fill.size.0).sum();
    format!(
        "{{\"a\":{},\"p\":\"{}\",\"q\":\"{}\",\"f\":{},\"l\":{},\"T\":{},\"m\":{},\"M\":true}}",
        first.aggregate,
        price_text(first.price.0, pair),
        size_text(Qty(size), pair),
        first.id,
        last.id,
        first.time.0 / 1_000_000,
        first.taker == Side::Sell
    )
}

/// The one trade of a list.
fn trade(pair: &Pair, fills: &[Trade]) -> String {
    let trade = &fills[0];
    format!(
        "{{\"id\":{},\"price\":\"{}\",\"qty\":\"{}\",\"quoteQty\":\"{}\",\"time\":{},\"isBuyerMaker\":{},\
         \"isBestMatch\":true}}",
        trade.id,
        price_text(trade.price.0, pair),
        size_text(trade.size, pair),
        wide(trade.price.notional(trade.size).0, pair.price_scale, pair),
        trade.time.0 / 1_000_000,
        trade.taker == Side::Sell
    )
}

fn klines(pair: &Pair, bars: &[Bar]) -> String {
    let price = |mantissa| text(mantissa, pair.price_scale);
    let entries: Vec<String> = bars
        .iter()
        .map(|bar| {
            json!([
                bar.begin.0 / 1_000_000,
                price(bar.open.0),
                price(bar.high.0),
                price(bar.low.0),
                price(bar.close.0),
                wide(bar.volume, 0, pair),
                bar.end().0 / 1_000_000 - 1,
                wide(bar.cost, pair.price_scale, pair),
                bar.trades,
                wide(bar.taker_buy_volume, 0, pair),
                wide(bar.taker_buy_cost, pair.price_scale, pair),
                "0",
            ])
            .to_string()
        })
        .collect();
    format!("[{}]", entries.join(","))
}
