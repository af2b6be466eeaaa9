//! Binance's REST tickers: the last day, the running window, prices, best quotes, and the average of five minutes.
//!
//! The figures are those of the streams: see [`super::figures`].

use feed::websocket::handshake::RequestHead;
use model::{Qty, UnixNanos};
use serde_json::{Value, json};

use super::figures::{AVERAGE_MIN, Figures, bars_s};
use super::rest::{Failure, missing, price_text, size_text, symbol, wide};
use crate::http::percent_decoded;
use crate::market::{Market, Pair};

const DAY_MS: u64 = 86_400_000;
const HOUR_S: u64 = 3600;
const MINUTE_S: u64 = 60;

/// Whether a path ends with the name of a ticker.
pub(super) fn is_ticker(path: &str) -> bool {
    matches!(path, "24hr" | "price" | "bookTicker" | "tradingDay" | "")
}

/// What follows `/api/v3/ticker/`; the plain path is the running window.
pub(super) fn answer(
    name: &str,
    head: &RequestHead,
    market: &mut dyn Market,
    now: UnixNanos,
) -> Result<String, Failure> {
    let asked = asked(head, market.pairs())?;
    let mini = match head.query_value("type") {
        None | Some("FULL") => false,
        Some("MINI") => true,
        Some(_) => return Err((400, -1139, "Invalid ticker type.".to_owned())),
    };
    let span_ms = match name {
        "" => window_ms(head.query_value("windowSize").unwrap_or("1d"))?,
        _ => DAY_MS,
    };
    // Without a symbol these two would cost too much at the venue.
    if asked.is_none() && matches!(name, "" | "tradingDay") {
        return Err(missing("symbol"));
    }
    let one = |at: usize, market: &mut dyn Market| match name {
        "price" => json!({"symbol": market.pairs()[at].symbol, "price": last_price(at, market)}),
        "bookTicker" => book_ticker(at, market),
        _ => {
            let to = now.0 / 1_000_000;
            // The trading day begins at midnight, the others so long ago.
            let from = if name == "tradingDay" { to - to % DAY_MS } else { to.saturating_sub(span_ms) };
            statistics(name, mini, at, (from, to), market)
        }
    };
    Ok(match asked {
        Some(Asked::One(at)) => one(at, market).to_string(),
        Some(Asked::Several(list)) => Value::from_iter(list.into_iter().map(|at| one(at, market))).to_string(),
        None => Value::from_iter((0..market.pairs().len()).map(|at| one(at, market))).to_string(),
    })
}

/// `/api/v3/avgPrice`.
pub(super) fn average(head: &RequestHead, market: &mut dyn Market, now: UnixNanos) -> Result<String, Failure> {
    let at = symbol(head, market.pairs())?;
    let average = super::figures::average(market.bars(at, MINUTE_S).iter(), now);
    let price = match average {
        Some(price) => price_text(price, &market.pairs()[at]),
        None => last_price(at, market),
    };
    let last = market.trades(at).last().map_or(now, |trade| trade.time);
    Ok(json!({"mins": AVERAGE_MIN, "price": price, "closeTime": last.0 / 1_000_000}).to_string())
}

/// The request weight of a ticker, by how many symbols it tells.
pub(super) fn weight(name: &str, head: &RequestHead) -> u32 {
    let several = head.query_value("symbols").map(|list| percent_decoded(list).split(',').count() as u32);
    let one = head.query_value("symbol").is_some();
    match (name, several) {
        ("24hr", _) if one => 2,
        ("24hr", Some(..=20)) => 2,
        ("24hr", Some(..=100)) => 40,
        ("24hr", _) => 80,
        ("price" | "bookTicker", _) if one => 2,
        ("price" | "bookTicker", _) => 4,
        (_, several) => (several.unwrap_or(1) * 4).min(200),
    }
}

enum Asked {
    One(usize),
    Several(Vec<usize>),
}

fn asked(head: &RequestHead, pairs: &[Pair]) -> Result<Option<Asked>, Failure> {
    match (head.query_value("symbol"), head.query_value("symbols")) {
        (Some(_), Some(_)) => Err((400, -1128, "Combination of optional parameters invalid.".to_owned())),
        (Some(_), None) => symbol(head, pairs).map(|at| Some(Asked::One(at))),
        (None, None) => Ok(None),
        (None, Some(list)) => {
            let illegal = || (400, -1100, "Illegal characters found in parameter 'symbols'.".to_owned());
            let names: Vec<String> = serde_json::from_str(&percent_decoded(list)).map_err(|_| illegal())?;
            let at = |name: &String| pairs.iter().position(|pair| pair.symbol == *name);
            let list: Option<Vec<usize>> = names.iter().map(at).collect();
            list.map(|list| Some(Asked::Several(list))).ok_or((400, -1121, "Invalid symbol.".to_owned()))
        }
    }
}

/// `1m` to `59m`, `1h` to `23h`, `1d` to `7d`, in milliseconds.
fn window_ms(text: &str) -> Result<u64, Failure> {
    let invalid = || (400, -1130, "Data sent for parameter 'windowSize' is not valid.".to_owned());
    let (most, unit_s) = match text.chars().last() {
        Some('m') => (59, MINUTE_S),
        Some('h') => (23, HOUR_S),
        Some('d') => (7, 24 * HOUR_S),
        _ => return Err(invalid()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| invalid())?;
    if (1..=most).contains(&count) { Ok(count * unit_s * 1000) } else { Err(invalid()) }
}

fn last_price(at: usize, market: &mut dyn Market) -> String {
    let last = market.trades(at).last().copied();
    // A market in which nothing was traded yet still has a price: the best bid's.
    let price = last.map(|trade| trade.price).or_else(|| market.book(at, 1)?.bids.first().map(|level| level.price));
    price_text(price.map_or(0, |price| price.0), &market.pairs()[at])
}

fn book_ticker(at: usize, market: &mut dyn Market) -> Value {
    let view = market.book(at, 1).unwrap_or_default();
    let pair = &market.pairs()[at];
    let level = |levels: &[book::Level]| {
        let best = levels.first();
        (price_text(best.map_or(0, |l| l.price.0), pair), size_text(best.map_or(Qty(0), |l| l.size), pair))
    };
    let ((bid, bid_size), (ask, ask_size)) = (level(&view.bids), level(&view.asks));
    json!({"symbol": pair.symbol, "bidPrice": bid, "bidQty": bid_size, "askPrice": ask, "askQty": ask_size})
}

fn statistics(name: &str, mini: bool, at: usize, (from, to): (u64, u64), market: &mut dyn Market) -> Value {
    let figures = Figures::of(market.bars(at, bars_s(to - from)).iter(), (from, to));
    let quote = book_ticker(at, market);
    let last = market.trades(at).last().copied();
    let pair = &market.pairs()[at];
    let price = |value: i64| price_text(value, pair);
    let mut told = json!({
        "symbol": pair.symbol,
        "openPrice": price(figures.open), "highPrice": price(figures.high), "lowPrice": price(figures.low),
        "lastPrice": price(figures.close),
        "volume": wide(figures.volume, 0, pair), "quoteVolume": wide(figures.cost, pair.price_scale, pair),
        "openTime": from, "closeTime": to, "firstId": figures.first_id, "lastId": figures.last_id,
        "count": figures.trades,
    });
    if mini {
        return told;
    }
    told["priceChange"] = Value::from(price(figures.change()));
    told["priceChangePercent"] = Value::from(figures.percent());
    told["weightedAvgPrice"] = Value::from(price(figures.average));
    if name == "24hr" {
        told["prevClosePrice"] = Value::from(price(figures.open));
        told["lastQty"] = Value::from(size_text(last.map_or(Qty(0), |trade| trade.size), pair));
        for field in ["bidPrice", "bidQty", "askPrice", "askQty"] {
            told[field] = quote[field].clone();
        }
    }
    told
}
