//! Trades missed on the socket, by REST `Trades`: rows in rising order from a time on, with the ids of the stream.
//!
//! The older protocol's trades have no ids: rows are known by time, price, size and side, to the microsecond that the
//! stream tells (digits below are taken as cut off, as the venue does not say), and told without an id.

use super::machine::Kraken;
use super::map;
use super::messages::{Target, TradeMessage};
use super::spec::SPEC;
use crate::trades::{self, Page, Row};
use crate::{Known, Outbox, Reply, RequestId};
use model::{Decimal, Side, StreamKind, UnixNanos};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use wire::{BackfillRecord, Flags};

/// Trades the venue serves at most in one answer.
const ROWS_MAX: u32 = 1000;

/// What every request counts.
const WEIGHT: u32 = 1;

#[derive(Deserialize)]
struct Body<'a> {
    error: Vec<String>,
    #[serde(borrow)]
    result: Option<BTreeMap<&'a str, &'a RawValue>>,
}

/// REST knows pairs by other names than the socket: without a slash, and with two old codes.
fn rest_pair(symbol: &str) -> String {
    let code = |asset: &str| match asset {
        "BTC" => "XBT".to_owned(),
        "DOGE" => "XDG".to_owned(),
        other => other.to_owned(),
    };
    symbol.split('/').map(code).collect()
}

/// `since` leaves out what happened at that very time, and the socket's times have no digits below a microsecond, so
/// that it must lie before the last trade known.
fn path(symbol: &str, page: &Page) -> String {
    let since = page.since.0.saturating_sub(1);
    format!("/0/public/Trades?pair={}&since={since}&count={ROWS_MAX}", rest_pair(symbol))
}

/// Seconds with decimals as ns; digits below are dropped.
fn time(text: &str) -> Result<UnixNanos, String> {
    let bad = || format!("{text:?} is not a time in seconds");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let digits: String = format!("{fraction:0<9}").chars().take(9).collect();
    let fraction: u64 = digits.parse().map_err(|_| bad())?;
    whole.checked_mul(1_000_000_000).and_then(|s| s.checked_add(fraction)).map(UnixNanos).ok_or_else(bad)
}

/// A row: price, size, time, side, order type, miscellaneous, id; the venue may append more.
fn row(fields: &[&RawValue]) -> Result<Row, String> {
    let field = |n: usize| fields.get(n).map(|f| f.get().trim_matches('"')).ok_or(format!("a trade without field {n}"));
    let number = |n: usize| {
        let text = field(n)?;
        text.parse::<Decimal>().map_err(|e| format!("{text:?}: {e}"))
    };
    let side = match field(3)? {
        "b" => Side::Buy,
        "s" => Side::Sell,
        other => return Err(format!("{other:?} is no side")),
    };
    let id = field(6)?.parse().map_err(|e| format!("{:?} is no trade id: {e}", field(6)))?;
    Ok(Row { id, time: time(field(2)?)?, price: number(0)?, size: number(1)?, side: Some(side) })
}

fn rows(body: &[u8]) -> Result<Vec<Row>, String> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if let Some(error) = body.error.first() {
        return Err(error.clone());
    }
    let lists = body.result.unwrap_or_default();
    let (_, list) = lists.iter().find(|(key, _)| **key != "last").ok_or("an answer without trades")?;
    let list: Vec<Vec<&RawValue>> = serde_json::from_str(list.get()).map_err(|e| e.to_string())?;
    list.iter().map(|fields| row(fields)).collect()
}

/// A row as the older protocol would have told it: times end with the microsecond, and what names it is all of it.
fn unnumbered(row: Row) -> Row {
    let time = UnixNanos(row.time.0 - row.time.0 % 1000);
    Row { id: trades::key(time, row.price, row.size, row.side), time, ..row }
}

impl Kraken {
    /// Asks for missed trades when that is due.
    pub(super) fn ask_missed(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Kraken { backfill, markets, instruments, .. } = self;
        let symbol = |k: Known| instruments.get(k).venue_symbol.as_str();
        let path = |page: &Page| Ok((path(symbol(page.instrument), page), WEIGHT));
        backfill.ask(now, out, |k| markets[k as usize].holes(), path);
    }

    /// The answer to a request for missed trades.
    pub(super) fn on_missed(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let Some((page, body)) = self.backfill.answer(request, &reply, now) else { return };
        let (numbered, m) = (page.first > 0, &mut self.markets[page.instrument as usize]);
        let rows = body.and_then(rows);
        let rows = if numbered {
            self.backfill.settle(&page, rows, &mut m.trades, &mut self.counts, now)
        } else {
            let rows = rows.map(|rows| rows.into_iter().map(unnumbered).collect());
            self.backfill.settle(&page, rows, &mut m.unnumbered, &mut self.counts, now)
        };
        let told = self.tell_late(page.instrument, &rows, numbered, now, out);
        let m = &mut self.markets[page.instrument as usize];
        if let Some(extent) = m.unnumbered.whole().filter(|_| told == rows.len()) {
            let record = BackfillRecord::new(SPEC.venue, m.id, StreamKind::Trade, extent, told as u32, now);
            out.records.push(&record);
        }
    }

    /// Tells what was fetched; how many of them.
    fn tell_late(&mut self, k: Known, rows: &[Row], numbered: bool, now: UnixNanos, out: &mut Outbox) -> usize {
        let m = &self.markets[k as usize];
        let (price, size) = Row::scales(rows, m.price_scale, m.size_scale);
        if (price, size) != (m.price_scale, m.size_scale) && self.can_widen(k, price, size) {
            self.widen(k, (price, size), false, now, out);
        }
        let m = &self.markets[k as usize];
        let mut told = 0;
        for (n, r) in rows.iter().enumerate() {
            let (price, size) = (r.price.at_scale(m.price_scale), r.size.at_scale(m.size_scale));
            let (Ok(price), Ok(size), Some(side)) = (price, size, r.side) else {
                // What no record can hold stays missing.
                self.counts.trades_lost += 1;
                continue;
            };
            let id = numbered.then_some(r.id);
            let trade = TradeMessage { target: Target::Known(k), side, price, size, id, time: r.time };
            let flags = Flags::LATE | Flags::LAST.when(n + 1 == rows.len());
            map::trade(m, &trade, flags, now, &mut out.records);
            told += 1;
        }
        self.counts.trades += told as u64;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"error":[],"result":{"XXBTZUSD":[
        ["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952],
        ["30243.30000","0.00376960",1688669598,"s","l","",61044953]],"last":"1688671969993150842"}}"#;

    #[test]
    fn rows_are_read_to_the_last_digit() {
        let read = rows(BODY.as_bytes()).expect("readable");
        let d = |text: &str| text.parse::<Decimal>().expect("a number");
        assert_eq!((read[0].id, read[0].time), (61_044_952, UnixNanos(1_688_669_597_827_736_900)));
        assert_eq!((read[0].price, read[0].size, read[0].side), (d("30243.4"), d("0.34507674"), Some(Side::Buy)));
        assert_eq!((read[1].time, read[1].side), (UnixNanos(1_688_669_598_000_000_000), Some(Side::Sell)));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn the_venues_errors_and_odd_rows_are_errors() {
        let error = |body: &str| rows(body.as_bytes()).expect_err("refused");
        assert_eq!(error(r#"{"error":["EAPI:Rate limit exceeded"]}"#), "EAPI:Rate limit exceeded");
        assert!(error(&BODY.replace(",61044952", "")).contains("field 6"));
        assert!(error(&BODY.replace("\"b\"", "\"x\"")).contains("no side"));
        assert!(error("{").contains("EOF"));
        let empty = r#"{"error":[],"result":{"XXBTZUSD":[],"last":"1"}}"#;
        assert_eq!(rows(empty.as_bytes()), Ok(vec![]));
    }

    #[test]
    fn pairs_have_their_rest_names() {
        assert_eq!(["BTC/USD", "ETH/BTC", "DOGE/EUR"].map(rest_pair), ["XBTUSD", "ETHXBT", "XDGEUR"]);
    }
}
