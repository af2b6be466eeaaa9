//! Alpaca's data REST paths: trades in pages, bars, latest trades, quotes and books, and the list of assets.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use feed::websocket::handshake::RequestHead;
use model::UnixNanos;
use serde_json::{Value, json};

use super::frames::{push_bar_fields, push_book_fields, push_quote, push_trade_fields};
use super::trading::{self, is_trading};
use super::{Endpoint, INTERVALS_S, is_crypto};
use crate::http::{Response, percent_decoded};
use crate::market::{Bar, Market, Pair, PairStatus, Trade};
use crate::options::Account;
use crate::requests::Left;
use crate::text::push_padded;

/// Entries of a page, unless asked otherwise and at most.
const PAGE_DEFAULT: usize = 1000;
const PAGE_MAX: usize = 10_000;

pub(super) type Failure = (u16, String);
/// What is said of a path at which there is nothing.
const UNKNOWN: &str = "endpoint not found.";

/// Answers one request.
pub(crate) fn answer(
    head: &RequestHead,
    account: &Account,
    left: Left,
    market: &mut dyn Market,
    now: UnixNanos,
) -> Response {
    let parts: Vec<String> = head.path.split('/').skip(1).map(percent_decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let done = match left.remaining {
        None if is_trading(&parts) => Err((429, "rate limit exceeded".to_owned())),
        None => Err((429, "too many requests.".to_owned())),
        Some(_) => allowed(head, account).and_then(|()| route(&parts, head, account, market, now)),
    };
    let response = match done {
        Ok(body) => Response::json(200, body),
        Err((status, message)) => {
            let body = match status {
                401 => json!({"code": 40_110_000, "message": message}),
                404 if is_trading(&parts) => json!({"code": 40_410_000, "message": message}),
                422 => json!({"code": 42_210_000, "message": message}),
                429 if is_trading(&parts) => json!({"code": 42_910_000, "message": message}),
                _ => json!({"message": message}),
            };
            let response = Response::json(status, body.to_string());
            let response = if message == UNKNOWN { response.unknown() } else { response };
            if status == 429 { response.header("Retry-After", left.wait.as_secs() + 1) } else { response }
        }
    };
    response
        .header("X-RateLimit-Limit", left.limit)
        .header("X-RateLimit-Remaining", left.remaining.unwrap_or(0))
        .header("X-RateLimit-Reset", left.full.0 / 1_000_000_000 + 1)
}

fn allowed(head: &RequestHead, account: &Account) -> Result<(), Failure> {
    let keys = head.header("APCA-API-KEY-ID").zip(head.header("APCA-API-SECRET-KEY"));
    let basic = head.header("Authorization").and_then(trading::basic);
    let keys = keys.map(|(key, secret)| (key.to_owned(), secret.to_owned())).or(basic);
    let bearer = head.header("Authorization").and_then(|value| value.strip_prefix("Bearer "));
    match (&keys, bearer) {
        (None, None) => Err((401, "request is not authorized".to_owned())),
        (Some((key, secret)), _) if *key == account.key && *secret == account.secret => Ok(()),
        (None, Some(token)) if token == account.secret => Ok(()),
        _ => Err((403, "forbidden.".to_owned())),
    }
}

/// A data path: which instruments, what of them, and of which one if it names one.
struct Asked<'a> {
    crypto: bool,
    what: &'a str,
    latest: bool,
    symbol: Option<&'a str>,
}

fn parse<'a>(parts: &[&'a str]) -> Option<Asked<'a>> {
    let asked = |crypto, what, latest, symbol| Some(Asked { crypto, what, latest, symbol });
    match *parts {
        ["v2", "stocks", what] => asked(false, what, false, None),
        ["v2", "stocks", what @ ("trades" | "quotes" | "bars"), "latest"] => asked(false, what, true, None),
        ["v2", "stocks", symbol, "snapshot"] => asked(false, "snapshots", false, Some(symbol)),
        ["v2", "stocks", symbol, what] => asked(false, what, false, Some(symbol)),
        ["v2", "stocks", symbol, what, "latest"] => asked(false, what, true, Some(symbol)),
        ["v1beta3", "crypto", "us", what] => asked(true, what, false, None),
        ["v1beta3", "crypto", "us", "latest", what] => asked(true, what, true, None),
        _ => None,
    }
}

fn route(
    parts: &[&str],
    head: &RequestHead,
    account: &Account,
    market: &mut dyn Market,
    now: UnixNanos,
) -> Result<String, Failure> {
    match parts {
        ["v2", "assets", rest @ ..] => return assets(head, rest, market),
        ["v2", rest @ ..] => {
            if let Some(done) = trading::answer(rest, head, &*market, now) {
                return done;
            }
        }
        _ => {}
    }
    let unknown = || (404, UNKNOWN.to_owned());
    let asked = parse(parts).ok_or_else(unknown)?;
    let endpoint = endpoint(head, &asked, account)?;
    let pairs = chosen(head, &asked, endpoint, market)?;
    match (asked.what, asked.latest) {
        ("trades", false) => history(head, &asked, market, &pairs, |market, at, span| {
            let pair = &market.pairs()[at];
            let all = market.trades(at).into_iter().filter(|trade: &Trade| span.holds(trade.time));
            all.map(|trade| (trade.id, object(|out| push_trade_fields(pair, &trade, endpoint, out)))).collect()
        }),
        ("bars", false) => {
            let seconds = match head.query_value("timeframe") {
                Some("1Min" | "1T") => INTERVALS_S[0],
                Some("1Day" | "1D") => INTERVALS_S[1],
                other => return Err((400, format!("invalid timeframe: {}; 1Min and 1Day are", other.unwrap_or("")))),
            };
            history(head, &asked, market, &pairs, |market, at, span| {
                let pair = &market.pairs()[at];
                let all = market.bars(at, seconds).into_iter().filter(|bar: &Bar| span.holds(bar.begin));
                all.map(|bar| (bar.begin.0, object(|out| push_bar_fields(pair, &bar, out)))).collect()
            })
        }
        ("snapshots", false) => Ok(snapshots(&asked, endpoint, market, &pairs, now)),
        (what, true) => latest(&asked, what, endpoint, market, &pairs, now).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

/// The feed whose data are asked for.
fn endpoint(head: &RequestHead, asked: &Asked<'_>, account: &Account) -> Result<Endpoint, Failure> {
    match head.query_value("feed") {
        _ if asked.crypto => Ok(Endpoint::Crypto),
        Some("iex") => Ok(Endpoint::Iex),
        None if !account.sip => Ok(Endpoint::Iex),
        None | Some("sip") if account.sip => Ok(Endpoint::Sip),
        Some("sip") => Err((403, "subscription does not permit querying recent SIP data".to_owned())),
        other => Err((400, format!("invalid feed: {}", other.unwrap_or_default()))),
    }
}

fn chosen(
    head: &RequestHead,
    asked: &Asked<'_>,
    endpoint: Endpoint,
    market: &dyn Market,
) -> Result<Vec<usize>, Failure> {
    let list = head.query_value("symbols").map(percent_decoded);
    let names = match (asked.symbol, list.as_deref()) {
        (Some(symbol), _) => symbol,
        (None, Some(list)) if !list.is_empty() => list,
        _ => return Err((400, "symbols is required".to_owned())),
    };
    let at = |name: &str| market.pairs().iter().position(|pair| pair.symbol == name && endpoint.carries(name));
    let mut chosen: Vec<usize> = names.split(',').filter_map(at).collect();
    chosen.sort_by(|a, b| market.pairs()[*a].symbol.cmp(&market.pairs()[*b].symbol));
    chosen.dedup();
    Ok(chosen)
}

/// A JSON object of fields that are written with a comma before each.
fn object(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    let fields = String::from_utf8_lossy(&out);
    format!("{{{}}}", fields.strip_prefix(',').unwrap_or(&fields))
}

/// The time span of a request, both ends included.
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    fn of(head: &RequestHead) -> Result<Self, Failure> {
        let bound = |name: &str, default: u64| match head.query_value(name).map(percent_decoded) {
            None => Ok(default),
            Some(text) => {
                let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.clone() };
                let read = scan::rfc3339_nanos(whole.as_bytes()).ok().filter(|(_, len)| *len == whole.len());
                read.map(|(ns, _)| ns).ok_or_else(|| (400, format!("invalid {name}: {text}")))
            }
        };
        Ok(Self { start: bound("start", 0)?, end: bound("end", u64::MAX)? })
    }

    fn holds(&self, time: UnixNanos) -> bool {
        (self.start..=self.end).contains(&time.0)
    }
}

/// Entries of several symbols, symbol by symbol, cut into pages. A page token names the last entry told.
fn history(
    head: &RequestHead,
    asked: &Asked<'_>,
    market: &dyn Market,
    pairs: &[usize],
    entries: impl Fn(&dyn Market, usize, &Span) -> Vec<(u64, String)>,
) -> Result<String, Failure> {
    let span = Span::of(head)?;
    let limit = head.query_value("limit").map_or(Ok(PAGE_DEFAULT), str::parse::<usize>);
    let limit = limit.ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    let limit = limit.ok_or((400, "invalid limit".to_owned()))?;
    let falling = head.query_value("sort") == Some("desc");
    let after = match head.query_value("page_token").map(percent_decoded) {
        None => None,
        Some(token) => Some(read_token(&token).ok_or((400, "invalid page_token".to_owned()))?),
    };
    let is_next = |symbol: &str, id: u64| {
        after.as_ref().is_none_or(|(last, told)| match symbol.cmp(last) {
            Ordering::Equal => {
                if falling {
                    id < *told
                } else {
                    id > *told
                }
            }
            order => order == Ordering::Greater,
        })
    };
    let mut rest = pairs.iter().flat_map(|at| {
        let symbol = &market.pairs()[*at].symbol;
        let mut list = entries(market, *at, &span);
        if falling {
            list.reverse();
        }
        list.into_iter().filter(|(id, _)| is_next(symbol, *id)).map(move |(id, entry)| (symbol.clone(), id, entry))
    });
    let page: Vec<(String, u64, String)> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let token = page.last().filter(|_| more).map_or(Value::Null, |(symbol, id, _)| Value::from(token(symbol, *id)));
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for (symbol, _, entry) in page {
        match told.last_mut().filter(|(last, _)| *last == symbol) {
            Some((_, list)) => list.push(entry),
            None => told.push((symbol, vec![entry])),
        }
    }
    let body = match asked.symbol {
        Some(symbol) => {
            let page = told.into_iter().next().map(|(_, page)| page).unwrap_or_default();
            format!(
                "{{\"{}\":[{}],\"symbol\":{},\"next_page_token\":{token}}}",
                asked.what,
                page.join(","),
                json!(symbol)
            )
        }
        None => {
            let lists: Vec<String> =
                told.iter().map(|(symbol, page)| format!("{}:[{}]", json!(symbol), page.join(","))).collect();
            format!("{{\"{}\":{{{}}},\"next_page_token\":{token}}}", asked.what, lists.join(","))
        }
    };
    Ok(body)
}

fn latest(
    asked: &Asked<'_>,
    what: &str,
    endpoint: Endpoint,
    market: &mut dyn Market,
    pairs: &[usize],
    now: UnixNanos,
) -> Option<String> {
    let mut lists = Vec::new();
    for at in pairs {
        let view = market.book(*at, if what == "orderbooks" { usize::MAX } else { 1 }).unwrap_or_default();
        let pair = &market.pairs()[*at];
        let entry = match what {
            "trades" => {
                let last = market.trades(*at).last().copied();
                last.map(|trade| object(|out| push_trade_fields(pair, &trade, endpoint, out)))
            }
            "bars" => market.bars(*at, INTERVALS_S[0]).last().map(|bar| object(|out| push_bar_fields(pair, bar, out))),
            "quotes" => view
                .bids
                .first()
                .zip(view.asks.first())
                .map(|(bid, ask)| object(|out| push_quote(pair, [*bid, *ask], view.update_id, endpoint, now, out))),
            "orderbooks" if asked.crypto => {
                Some(object(|out| push_book_fields(pair, &view.bids, &view.asks, now, out)))
            }
            _ => return None,
        };
        lists.extend(entry.map(|entry| (pair.symbol.clone(), entry)));
    }
    let one = what.trim_end_matches('s');
    Some(match asked.symbol {
        Some(symbol) => {
            let entry = lists.first().map_or("null", |(_, entry)| entry);
            format!("{{\"symbol\":{},\"{one}\":{entry}}}", json!(symbol))
        }
        None => {
            let lists: Vec<String> = lists.iter().map(|(symbol, entry)| format!("{}:{entry}", json!(symbol))).collect();
            format!("{{\"{what}\":{{{}}}}}", lists.join(","))
        }
    })
}

/// Latest trade and quote, and the bars of the minute and of the day.
fn snapshots(
    asked: &Asked<'_>,
    endpoint: Endpoint,
    market: &mut dyn Market,
    pairs: &[usize],
    now: UnixNanos,
) -> String {
    let mut all = Vec::new();
    for at in pairs {
        let view = market.book(*at, 1).unwrap_or_default();
        let pair = &market.pairs()[*at];
        let trade = market.trades(*at).last().map(|t| object(|out| push_trade_fields(pair, t, endpoint, out)));
        let best = view.bids.first().zip(view.asks.first());
        let quote =
            best.map(|(bid, ask)| object(|out| push_quote(pair, [*bid, *ask], view.update_id, endpoint, now, out)));
        let bar = |seconds, from_end: usize| {
            let bars = market.bars(*at, seconds);
            let bar = bars.len().checked_sub(from_end).and_then(|index| bars.get(index));
            bar.map(|bar| object(|out| push_bar_fields(pair, bar, out)))
        };
        let parts = [
            ("latestTrade", trade),
            ("latestQuote", quote),
            ("minuteBar", bar(INTERVALS_S[0], 1)),
            ("dailyBar", bar(INTERVALS_S[1], 1)),
            ("prevDailyBar", bar(INTERVALS_S[1], 2)),
        ];
        let known = parts.into_iter().filter_map(|(name, part)| part.map(|part| format!("\"{name}\":{part}")));
        all.push((pair.symbol.clone(), known.collect::<Vec<_>>().join(",")));
    }
    if let Some(symbol) = asked.symbol {
        let fields = all.first().filter(|(_, fields)| !fields.is_empty()).map(|(_, fields)| format!(",{fields}"));
        return format!("{{\"symbol\":{}{}}}", json!(symbol), fields.unwrap_or_default());
    }
    let lists: Vec<String> = all.iter().map(|(symbol, fields)| format!("{}:{{{fields}}}", json!(symbol))).collect();
    // Crypto has the list in a field of its own, stocks are the list.
    if asked.crypto { format!("{{\"snapshots\":{{{}}}}}", lists.join(",")) } else { format!("{{{}}}", lists.join(",")) }
}

fn token(symbol: &str, id: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{symbol}|{id}"))
}

fn read_token(token: &str) -> Option<(String, u64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (symbol, id) = text.split_once('|')?;
    Some((symbol.to_owned(), id.parse().ok()?))
}

fn assets(head: &RequestHead, rest: &[&str], market: &dyn Market) -> Result<String, Failure> {
    let (class, status) = (head.query_value("asset_class"), head.query_value("status"));
    let fits = |pair: &&Pair| {
        let own = if is_crypto(&pair.symbol) { "crypto" } else { "us_equity" };
        class.is_none_or(|class| class == own) && status.is_none_or(|status| status == asset_status(pair))
    };
    match rest {
        [] => {
            let list: Vec<Value> = market.pairs().iter().filter(fits).map(asset).collect();
            Ok(Value::from(list).to_string())
        }
        // A crypto symbol's slash may come as it is.
        parts => {
            let name = parts.join("/");
            let found = market.pairs().iter().find(|pair| pair.symbol == name || pair.symbol.replace('/', "") == name);
            found.map(|pair| asset(pair).to_string()).ok_or_else(|| (404, format!("asset not found for {name}")))
        }
    }
}

fn asset_status(pair: &Pair) -> &'static str {
    pair.status_text("active", "inactive")
}

fn asset(pair: &Pair) -> Value {
    let text = |mantissa: i64, scale: u8| {
        let mut out = Vec::new();
        push_padded(mantissa, scale, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    let crypto = is_crypto(&pair.symbol);
    // An id for good: the symbol's bytes.
    let mut id = [b' '; 16];
    id.iter_mut().zip(pair.symbol.bytes()).for_each(|(to, from)| *to = from);
    let mut uuid = Vec::new();
    crate::market::orders::push_uuid(u128::from_be_bytes(id), &mut uuid);
    let mut asset = json!({
        "id": String::from_utf8_lossy(&uuid),
        "class": if crypto { "crypto" } else { "us_equity" },
        "exchange": if crypto { "CRYPTO" } else { "NASDAQ" },
        "symbol": pair.symbol,
        "name": format!("{}, simulated", pair.symbol),
        "status": asset_status(pair),
        "tradable": pair.status == PairStatus::Trading,
        "marginable": !crypto,
        "shortable": !crypto,
        "easy_to_borrow": !crypto,
        "fractionable": true,
        "attributes": [],
    });
    if crypto {
        asset["min_order_size"] = Value::from(text(pair.lot.0, pair.size_scale));
        asset["min_trade_increment"] = Value::from(text(pair.lot.0, pair.size_scale));
        asset["price_increment"] = Value::from(text(pair.tick.0, pair.price_scale));
    }
    asset
}
