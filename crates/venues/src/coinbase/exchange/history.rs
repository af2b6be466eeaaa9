//! Trades that were missed, fetched by REST: `/products/{id}/trades` serves them by id, newest first.

use super::exact::bad;
use super::machine::Exchange;
use super::map;
use super::messages::{MatchMessage, Named, Target};
use crate::trades::{Page, Row};
use crate::{FrameError, Known, Outbox, Reply, RequestId};
use model::{Decimal, SCALE_MAX, Side, UnixNanos};
use scan::{DayCache, Json, NAME_LEN_MAX};
use wire::Flags;

/// Trades in one answer, the most the venue serves.
const LIMIT: u32 = 1000;

impl Exchange {
    /// Asks for missed trades that are due.
    pub(super) fn ask_trades(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Exchange { backfill, markets, instruments, .. } = self;
        let path = |page: &Page| {
            let symbol = &instruments.get(page.instrument).venue_symbol;
            // "After" in the order in which the venue serves: from the newest on.
            Ok((format!("/products/{symbol}/trades?limit={LIMIT}&after={}", page.last.saturating_add(1)), 1))
        };
        backfill.ask(now, out, |k| &markets[k as usize].trades.ids, path);
    }

    /// Tells what an answer brings of missed trades; `false` when it is the answer to something else.
    pub(super) fn on_trades(
        &mut self,
        request: RequestId,
        reply: &Reply<'_>,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> bool {
        let Some((page, body)) = self.backfill.answer(request, reply, now) else { return false };
        let days = &mut self.scratch.days;
        let rows = body.and_then(|body| rows(body, days).map_err(|e| e.to_string()));
        let ids = &mut self.markets[page.instrument as usize].trades.ids;
        for row in self.backfill.settle(&page, rows, ids, &mut self.counts, now) {
            self.tell_late(page.instrument, &row, now, out);
        }
        true
    }

    /// Tells a trade that was missed.
    fn tell_late(&mut self, k: Known, row: &Row, now: UnixNanos, out: &mut Outbox) {
        let scales = (row.price.normalised().scale, row.size.normalised().scale);
        let fits = self.widen(k, scales, now, out).is_ok();
        let m = &self.markets[k as usize];
        let mantissas = (row.price.at_scale(m.price_scale), row.size.at_scale(m.size_scale));
        let (true, (Ok(price), Ok(size)), Some(taker)) = (fits, mantissas, row.side) else {
            self.counts.trades_lost += 1;
            return;
        };
        let target = Target::Known(k);
        let (id, time, maker) = (row.id, row.time, taker.opposite());
        let t = MatchMessage { target, last: false, maker, price, size, id, sequence: 0, order: [0; 2], time };
        map::trade(m, &t, Flags::LAST | Flags::LATE, now, &mut out.records);
        self.counts.trades += 1;
    }
}

/// The trades of an answer; the side it names is the maker's, as in the stream.
fn rows(body: &[u8], days: &mut DayCache) -> Result<Vec<Row>, FrameError> {
    let mut json = Json::new(body);
    let mut rows = vec![];
    json.array().of("trades")?;
    while json.element().of("trades")? {
        let (mut id, mut time, mut price, mut size, mut maker) = (None, None, None, None, None);
        let mut room = [0; NAME_LEN_MAX];
        json.object().of("trades")?;
        while let Some(key) = json.key().of("trades")? {
            match key.name(&mut room) {
                b"trade_id" => id = Some(json.u64().of("trade_id")?),
                b"price" => price = Some(decimal(&mut json, "price")?),
                b"size" => size = Some(decimal(&mut json, "size")?),
                b"side" => maker = Some(super::exact::side(&mut json)?),
                b"time" => {
                    let offset = json.offset();
                    let text = json.string().of("time")?;
                    let read = days.rfc3339_nanos(text.name(&mut [0; NAME_LEN_MAX]));
                    time = Some(read.map_err(|e| bad(offset, "time", e.to_string()))?.0);
                }
                _ => {}
            }
        }
        let missing = |field| bad(json.offset(), field, "is missing");
        rows.push(Row {
            id: id.ok_or_else(|| missing("trade_id"))?,
            time: UnixNanos(time.ok_or_else(|| missing("time"))?),
            price: price.ok_or_else(|| missing("price"))?,
            size: size.ok_or_else(|| missing("size"))?,
            side: Some(Side::opposite(maker.ok_or_else(|| missing("side"))?)),
        });
    }
    json.end().of("trades")?;
    Ok(rows)
}

fn decimal(json: &mut Json<'_>, field: &'static str) -> Result<Decimal, FrameError> {
    let offset = json.offset();
    let exact = json.number_or_string().of(field)?.exact().map_err(|e| bad(offset, field, e.to_string()))?;
    let exact = exact.trimmed();
    if exact.scale > SCALE_MAX || exact.mantissa < 0 {
        return Err(bad(offset, field, format!("is no positive number of at most {SCALE_MAX} decimals")));
    }
    Ok(Decimal::new(exact.mantissa, exact.scale))
}
