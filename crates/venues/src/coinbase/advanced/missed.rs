//! Trades missed on the socket, by the public REST ticker: the newest of a span of whole seconds, with the stream's ids.
//!
//! The span is told in seconds, so more trades in one second than an answer holds cannot all be had: what is not
//! reached stays the gap that was told.

use super::machine::Advanced;
use super::map;
use super::messages::{Kind, Target, TradeMessage};
use super::products::{self, PATH};
use crate::trades::{Page, Row};
use crate::{Known, Outbox, Reply, RequestId};
use model::{Decimal, Side, UnixNanos};
use serde::Deserialize;
use std::borrow::Cow;
use wire::Flags;

/// Trades asked for in one request. The venue names no limit.
const ROWS_MAX: u32 = 1000;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    trades: Vec<Trade<'a>>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    trade_id: Cow<'a, str>,
    price: Cow<'a, str>,
    size: Cow<'a, str>,
    time: Cow<'a, str>,
    side: Cow<'a, str>,
}

/// The seconds around what is missing; without an end where nothing is known behind it.
fn path(product: &str, page: &Page) -> String {
    const SECOND: u64 = 1_000_000_000;
    let start = page.since.0 / SECOND;
    let end = if page.until == UnixNanos::ZERO { String::new() } else { format!("&end={}", page.until.0 / SECOND + 1) };
    format!("{PATH}/{product}/ticker?limit={ROWS_MAX}&start={start}{end}")
}

fn row(t: &Trade<'_>) -> Result<Row, String> {
    let number = |text: &str| text.parse::<Decimal>().map_err(|e| format!("{text:?}: {e}"));
    let side = match &*t.side {
        "BUY" => Some(Side::Buy),
        "SELL" => Some(Side::Sell),
        "UNKNOWN_ORDER_SIDE" | "" => None,
        other => return Err(format!("{other:?} is no side")),
    };
    let id = t.trade_id.parse().map_err(|e| format!("{:?} is no trade id: {e}", t.trade_id))?;
    let time = match scan::rfc3339_nanos(t.time.as_bytes()) {
        Ok((nanos, len)) if len == t.time.len() => UnixNanos(nanos),
        _ => return Err(format!("{:?} is no time", t.time)),
    };
    Ok(Row { id, time, price: number(&t.price)?, size: number(&t.size)?, side })
}

fn rows(body: &[u8]) -> Result<Vec<Row>, String> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    body.trades.iter().map(row).collect()
}

impl Advanced {
    /// Asks for missed trades when that is due.
    pub(super) fn ask_missed(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Advanced { backfill, markets, .. } = self;
        let path = |page: &Page| Ok((path(&markets[page.instrument as usize].data_name, page), 1));
        backfill.ask(now, out, |k| &markets[k as usize].trades, path);
    }

    /// The answer to a request for missed trades.
    pub(super) fn on_missed(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let Some((page, body)) = self.backfill.answer(request, &reply, now) else { return };
        let trades = &mut self.markets[page.instrument as usize].trades;
        let rows = self.backfill.settle(&page, body.and_then(rows), trades, &mut self.counts, now);
        self.tell_late(page.instrument, &rows, now, out);
    }

    fn tell_late(&mut self, k: Known, rows: &[Row], now: UnixNanos, out: &mut Outbox) {
        let m = &self.markets[k as usize];
        let (price, size) = Row::scales(rows, m.price_scale, m.size_scale);
        let wide = products::widened(self.instruments.get(k), price, size).filter(|_| m.fits(price, size));
        if let Some(wide) = wide.filter(|_| (price, size) != (m.price_scale, m.size_scale)) {
            let name = m.data_name.clone();
            self.define(wide, &name, now, out);
        }
        let m = &self.markets[k as usize];
        for (n, r) in rows.iter().enumerate() {
            let (Ok(price), Ok(size)) = (r.price.at_scale(m.price_scale), r.size.at_scale(m.size_scale)) else {
                // What no record can hold stays missing.
                self.counts.trades_lost += 1;
                continue;
            };
            let (target, kind) = (Target::Known(k), Kind::Update);
            let trade = TradeMessage { target, kind, side: r.side, price, size, id: r.id, time: r.time };
            let flags = Flags::LATE | Flags::LAST.when(n + 1 == rows.len());
            map::trade(m, &trade, self.choices.side, flags, now, &mut out.records);
            self.counts.trades += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"trades":[
        {"trade_id":"995098663","product_id":"BTC-USD","price":"68923.67","size":"0.00064","time":"2026-04-07T00:28:58.544778Z","side":"SELL","bid":"","ask":"","exchange":"coinbase"},
        {"trade_id":"995098662","product_id":"BTC-USD","price":"68923","size":"1","time":"2026-04-07T00:28:58Z","side":"BUY"}],
        "best_bid":"68923.66","best_ask":"68923.67"}"#;

    #[test]
    fn rows_are_read_to_the_last_digit() {
        let read = rows(BODY.as_bytes()).expect("readable");
        let d = |text: &str| text.parse::<Decimal>().expect("a number");
        assert_eq!((read[0].id, read[0].time), (995_098_663, UnixNanos(1_775_521_738_544_778_000)));
        assert_eq!((read[0].price, read[0].size, read[0].side), (d("68923.67"), d("0.00064"), Some(Side::Sell)));
        assert_eq!((read[1].time.0 % 1_000_000_000, read.len()), (0, 2));
        let error = |from: &str, to: &str| rows(BODY.replace(from, to).as_bytes()).expect_err("refused");
        assert!(error("\"SELL\"", "\"UP\"").contains("no side"));
        assert!(error("995098662", "x").contains("no trade id"));
        assert!(error("00:28:58Z", "00:28:58").contains("no time"));
    }

    #[test]
    fn the_seconds_around_what_is_missing_are_asked_for() {
        let page =
            |since, until| Page { instrument: 0, first: 5, last: 9, since: UnixNanos(since), until: UnixNanos(until) };
        let base = "/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1000";
        assert_eq!(path("BTC-USD", &page(7_900_000_000, 9_100_000_000)), format!("{base}&start=7&end=10"));
        assert_eq!(path("BTC-USD", &page(7_900_000_000, 0)), format!("{base}&start=7"));
    }
}
