//! Binance's REST paths for market data, with request weights counted and limited as the venue does.

use feed::websocket::handshake::RequestHead;
use model::{Side, UnixNanos};
use serde_json::{Value, json};

use super::INTERVALS;
use super::frames::push_level;
use crate::http::{Response, percent_decoded};
use crate::market::{Bar, BookView, Market, Pair};
use crate::text::{push_padded, push_padded_wide, push_u64};

/// Request weights of the running minute. All clients of an emulator share the loopback address, and so the limit.
#[derive(Debug)]
pub(crate) struct Rest {
    limit: u32,
    minute: u64,
    used: u32,
}

type Answer = Result<String, (u16, i32, String)>;

impl Rest {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, minute: 0, used: 0 }
    }

    /// Answers one request.
    pub(crate) fn answer(&mut self, head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Response {
        let minute = now.0 / 60_000_000_000;
        if minute != self.minute {
            (self.minute, self.used) = (minute, 0);
        }
        self.used = self.used.saturating_add(weight(head));
        if self.used > self.limit {
            let wait = 60 - now.0 / 1_000_000_000 % 60;
            let text =
                format!("Too much request weight used; current limit is {} request weight per 1 MINUTE.", self.limit);
            return self.weighed(failure(429, -1003, &text)).header("Retry-After", wait);
        }
        self.weighed(match answer(head, market, now) {
            Ok(body) => Response::json(200, body),
            Err((status, code, text)) => Response { unknown_path: status == 404, ..failure(status, code, &text) },
        })
    }

    fn weighed(&self, response: Response) -> Response {
        response.header("X-MBX-USED-WEIGHT", self.used).header("X-MBX-USED-WEIGHT-1M", self.used)
    }
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
        "/api/v3/klines" => 2,
        _ => 1,
    }
}

fn answer(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Answer {
    match head.path.as_str() {
        "/api/v3/ping" => Ok("{}".to_owned()),
        "/api/v3/time" => Ok(format!("{{\"serverTime\":{}}}", now.0 / 1_000_000)),
        "/api/v3/exchangeInfo" => exchange_info(head, market.pairs(), now),
        "/api/v3/depth" => {
            let at = symbol(head, market.pairs())?;
            let limit = limit(head, 100, 5000)?;
            let book = market.book(at, limit).unwrap_or_default();
            Ok(depth(&market.pairs()[at], &book))
        }
        "/api/v3/trades" | "/api/v3/historicalTrades" | "/api/v3/aggTrades" => {
            let at = symbol(head, market.pairs())?;
            let limit = limit(head, 500, 1000)?;
            let from = from_id(head)?;
            let all = market.trades(at);
            let start = match from {
                Some(from) => all.partition_point(|trade| trade.id < from),
                None => all.len().saturating_sub(limit),
            };
            let served = &all[start..(start + limit).min(all.len())];
            Ok(trades(head.path.ends_with("aggTrades"), &market.pairs()[at], served))
        }
        "/api/v3/klines" => {
            let at = symbol(head, market.pairs())?;
            let limit = limit(head, 500, 1000)?;
            let name = head.query_value("interval").ok_or_else(|| missing("interval"))?;
            let interval = INTERVALS.iter().find(|(known, _)| *known == name);
            let (_, seconds) = interval.ok_or((400, -1120, "Invalid interval.".to_owned()))?;
            Ok(klines(&market.pairs()[at], &market.bars(at, *seconds), limit))
        }
        path => Err((404, -1000, format!("The emulator does not serve {path}."))),
    }
}

fn missing(name: &str) -> (u16, i32, String) {
    (400, -1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
}

fn symbol(head: &RequestHead, pairs: &[Pair]) -> Result<usize, (u16, i32, String)> {
    let asked = head.query_value("symbol").map(percent_decoded).ok_or_else(|| missing("symbol"))?;
    let at = pairs.iter().position(|pair| pair.symbol == asked);
    at.ok_or_else(|| (400, -1121, "Invalid symbol.".to_owned()))
}

fn limit(head: &RequestHead, default: usize, most: usize) -> Result<usize, (u16, i32, String)> {
    let Some(text) = head.query_value("limit") else { return Ok(default) };
    let limit: usize = text.parse().map_err(|_| missing("limit"))?;
    if limit == 0 { Err(missing("limit")) } else { Ok(limit.min(most)) }
}

/// Where to begin; `trades` always ends with the latest.
fn from_id(head: &RequestHead) -> Result<Option<u64>, (u16, i32, String)> {
    let asked = head.query_value("fromId").filter(|_| head.path != "/api/v3/trades");
    asked.map(|text| text.parse().map_err(|_| missing("fromId"))).transpose()
}

fn text(mantissa: i64, scale: u8) -> String {
    let mut out = Vec::new();
    push_padded(mantissa, scale, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn wide(sum: i128, extra: u8, pair: &Pair) -> String {
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
    let mut out = b"{\"lastUpdateId\":".to_vec();
    push_u64(book.update_id, &mut out);
    for (name, levels) in [("bids", &book.bids), ("asks", &book.asks)] {
        out.extend_from_slice(format!(",\"{name}\":[").as_bytes());
        for (index, level) in levels.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_level(level.price.0, level.size, pair, &mut out);
        }
        out.push(b']');
    }
    out.push(b'}');
    String::from_utf8_lossy(&out).into_owned()
}

fn trades(aggregated: bool, pair: &Pair, trades: &[crate::market::Trade]) -> String {
    let entries: Vec<String> = trades
        .iter()
        .map(|trade| {
            let (price, size) = (text(trade.price.0, pair.price_scale), text(trade.size.0, pair.size_scale));
            let (id, time, sold) = (trade.id, trade.time.0 / 1_000_000, trade.taker == Side::Sell);
            if aggregated {
                return format!(
                    "{{\"a\":{id},\"p\":\"{price}\",\"q\":\"{size}\",\"f\":{id},\"l\":{id},\"T\":{time},\"m\":{sold},\
                     \"M\":true}}"
                );
            }
            let cost = wide(trade.price.notional(trade.size).0, pair.price_scale, pair);
            format!(
                "{{\"id\":{id},\"price\":\"{price}\",\"qty\":\"{size}\",\"quoteQty\":\"{cost}\",\"time\":{time},\
                 \"isBuyerMaker\":{sold},\"isBestMatch\":true}}"
            )
        })
        .collect();
    format!("[{}]", entries.join(","))
}

fn klines(pair: &Pair, bars: &[Bar], limit: usize) -> String {
    let price = |mantissa| text(mantissa, pair.price_scale);
    let entries: Vec<String> = bars[bars.len().saturating_sub(limit)..]
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
