//! Trades missed on the stream, by REST: `historicalTrades` and `aggTrades` serve rising ids from one on; `trades` only
//! the latest, which is what remains where the venue wants a key for old ones.

use super::choices::{TimeUnit, TradeKind};
use super::machine::Machine;
use super::messages::{Scales, Trade};
use super::{map, subscribe::percent};
use crate::trades::{Page, Row};
use crate::{Known, Outbox, Reply, RequestId};
use model::{Decimal, Side, UnixNanos};
use serde::Deserialize;
use std::borrow::Cow;
use wire::Flags;

/// Trades the venue serves at most in one answer.
const ROWS_MAX: u64 = 1000;

/// A trade of either kind; aggregated ones have the short names of the stream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fetched<'a> {
    #[serde(alias = "a")]
    id: u64,
    #[serde(alias = "p", borrow)]
    price: Cow<'a, str>,
    #[serde(alias = "q", borrow)]
    qty: Cow<'a, str>,
    #[serde(alias = "T")]
    time: u64,
    #[serde(alias = "m")]
    is_buyer_maker: bool,
}

/// The path of a page and its weight.
fn path(symbol: &str, kind: TradeKind, latest_only: bool, page: &Page) -> (String, u32) {
    let (symbol, from) = (percent(symbol), page.first);
    let limit = (page.last - page.first + 1).min(ROWS_MAX);
    match kind {
        TradeKind::AggTrade => (format!("/api/v3/aggTrades?symbol={symbol}&fromId={from}&limit={limit}"), 4),
        TradeKind::Trade if latest_only => (format!("/api/v3/trades?symbol={symbol}&limit={ROWS_MAX}"), 25),
        TradeKind::Trade => (format!("/api/v3/historicalTrades?symbol={symbol}&fromId={from}&limit={limit}"), 25),
    }
}

fn rows(body: &[u8]) -> Result<Vec<Row>, String> {
    let list: Vec<Fetched<'_>> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let number = |text: &str| text.parse::<Decimal>().map_err(|e| format!("{text:?}: {e}"));
    let row = |t: &Fetched<'_>| {
        // Times of REST are in ms whatever the stream's are in.
        let time = TimeUnit::Millis.nanos(t.time).ok_or_else(|| format!("{} is not a time in ms", t.time))?;
        let side = if t.is_buyer_maker { Side::Sell } else { Side::Buy };
        Ok(Row { id: t.id, time, price: number(&t.price)?, size: number(&t.qty)?, side: Some(side) })
    };
    list.iter().map(row).collect()
}

impl Machine {
    /// Asks for missed trades when that is due.
    pub(super) fn ask_missed(&mut self, now: UnixNanos, out: &mut Outbox) {
        let kind = self.trade_kind().unwrap_or(TradeKind::Trade);
        let Machine { backfill, symbols, instruments, budget, latest_only, .. } = self;
        let path = |page: &Page| {
            let symbol = &instruments.get(page.instrument).venue_symbol;
            let (path, weight) = path(symbol, kind, *latest_only, page);
            budget.take(weight, now).map(|()| (path, weight))
        };
        backfill.ask(now, out, |known: Known| &symbols[known as usize].trades.ids, path);
    }

    /// The answer to a request for missed trades.
    pub(super) fn on_missed(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let Some((page, body)) = self.backfill.answer(request, &reply, now) else { return };
        if let Reply::Http { status, retry_after, .. } = reply {
            self.pause_if_told(status, retry_after, now);
            self.latest_only |= status == 401;
        }
        let ids = &mut self.symbols[page.instrument as usize].trades.ids;
        let rows = self.backfill.settle(&page, body.and_then(rows), ids, &mut self.counts, now);
        self.tell_late(page.instrument, &rows, now, out);
    }

    fn tell_late(&mut self, known: Known, rows: &[Row], now: UnixNanos, out: &mut Outbox) {
        let have = self.symbols[known as usize].scales;
        let (price, size) = Row::scales(rows, have.price, have.size);
        // Scales that do not fit show at each trade.
        let _ = self.widen(known, Scales { price, size }, now, out);
        let (of, scales) = (self.symbols[known as usize].of, self.symbols[known as usize].scales);
        let kind = self.trade_kind().unwrap_or(TradeKind::Trade);
        for r in rows {
            let (price, size) = (r.price.at_scale(scales.price), r.size.at_scale(scales.size));
            let (Ok(price), Ok(size)) = (price, size) else {
                // What no record can hold stays missing.
                self.counts.trades_lost += 1;
                continue;
            };
            let (price, size, buyer_is_maker) = (model::Price(price), model::Qty(size), r.side == Some(Side::Sell));
            let trade = Trade { kind, id: r.id, price, size, time: r.time, buyer_is_maker };
            out.records.push_trade(&map::trade(of, &trade, Flags::LATE, now));
            self.counts.trades += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(first: u64, last: u64) -> Page {
        Page { instrument: 0, first, last, since: UnixNanos::ZERO, until: UnixNanos::ZERO }
    }

    #[test]
    fn both_kinds_are_read_to_the_last_digit() {
        let plain = br#"[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",
            "time":1499865549590,"isBuyerMaker":true,"isBestMatch":true}]"#;
        let aggregated = br#"[{"a":28457,"p":"4.00000100","q":"12.00000000","f":27781,"l":27781,
            "T":1499865549590,"m":true,"M":true}]"#;
        let (price, size) = ("4.000001".parse().expect("a number"), Decimal::new(12, 0));
        let time = UnixNanos(1_499_865_549_590_000_000);
        let expected = vec![Row { id: 28457, time, price, size, side: Some(Side::Sell) }];
        assert_eq!(rows(plain), Ok(expected.clone()));
        assert_eq!(rows(aggregated), Ok(expected));
        assert!(rows(br#"[{"id":1}]"#).is_err() && rows(b"{}").is_err());
    }

    #[test]
    fn a_page_asks_for_no_more_than_is_missing() {
        let of = |kind, latest, page| path("BTCUSDT", kind, latest, &page).0;
        let historical = of(TradeKind::Trade, false, page(5, 7));
        assert_eq!(historical, "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=3");
        let aggregated = of(TradeKind::AggTrade, true, page(5, 5000));
        assert_eq!(aggregated, "/api/v3/aggTrades?symbol=BTCUSDT&fromId=5&limit=1000");
        assert_eq!(of(TradeKind::Trade, true, page(5, 7)), "/api/v3/trades?symbol=BTCUSDT&limit=1000");
    }
}
