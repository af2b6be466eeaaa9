//! Instruments: what the instrument channel says of a pair, what can be known of one that nobody defined, and how the
//! venue spelled pairs before.

use super::messages::{Named, Pair, Scratch, View};
use super::reading::text;
use crate::FrameError;
use crate::instruments::{check_name, check_pair};
use model::{
    Decimal, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, SCALE_MAX, Venue, canonical_symbol,
};
use scan::{Json, NAME_LEN_MAX};
use std::borrow::Cow;

/// Instruments learnt from what arrives; a capture that names more is not one.
const LEARNT_MAX: usize = 4096;

/// Assets that the older protocol and REST name otherwise: the old name and the new.
const RENAMED: [(&str, &str); 2] = [("XBT", "BTC"), ("XDG", "DOGE")];

fn respelled<'a>(symbol: &'a str, from_to: impl Fn(&str) -> Option<&'static str>) -> Cow<'a, str> {
    let Some(at) = symbol.find(['/', '-']) else { return Cow::Borrowed(symbol) };
    let (base, quote) = (&symbol[..at], &symbol[at + 1..]);
    match (from_to(base), from_to(quote)) {
        (None, None) => Cow::Borrowed(symbol),
        (b, q) => Cow::Owned(format!("{}{}{}", b.unwrap_or(base), &symbol[at..=at], q.unwrap_or(quote))),
    }
}

/// A pair in the spelling that instruments are known by, whichever it came in.
pub fn new_spelling(symbol: &str) -> Cow<'_, str> {
    respelled(symbol, |asset| RENAMED.iter().find(|(old, _)| *old == asset).map(|(_, new)| *new))
}

/// A pair in the spelling of the older protocol.
pub fn old_spelling(symbol: &str) -> Cow<'_, str> {
    respelled(symbol, |asset| RENAMED.iter().find(|(_, new)| *new == asset).map(|(old, _)| *old))
}

/// The data of the instrument channel: an object of assets, which say nothing of trading, and pairs.
pub fn read(json: &mut Json<'_>, view: View<'_>, scratch: &mut Scratch) -> Result<(), FrameError> {
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("instrument")?;
    while let Some(key) = json.key().of("instrument")? {
        match key.name(&mut room) {
            b"pairs" => {
                json.array().of("pairs")?;
                while json.element().of("pairs")? {
                    scratch.pairs.extend(pair(json, view, &mut scratch.unknown_fields)?);
                }
            }
            b"assets" => {}
            _ => scratch.unknown_fields += 1,
        }
    }
    Ok(())
}

/// One pair, when it is wanted.
fn pair(json: &mut Json<'_>, view: View<'_>, unknown_fields: &mut u64) -> Result<Option<Pair>, FrameError> {
    let (mut symbol, mut base, mut quote, mut status) = (None, None, None, InstrumentStatus::Unknown);
    let (mut price_precision, mut size_precision, mut min_notional) = (None, None, None);
    let (mut tick, mut lot, mut min_size) = (None, None, None);
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("pairs")?;
    while let Some(key) = json.key().of("pairs")? {
        match key.name(&mut room) {
            b"symbol" => symbol = Some(text(json, "symbol")?),
            b"base" => base = Some(text(json, "base")?),
            b"quote" => quote = Some(text(json, "quote")?),
            b"status" => status = status_of(&text(json, "status")?),
            b"price_precision" => price_precision = Some(precision(json, "price_precision")?),
            b"qty_precision" => size_precision = Some(precision(json, "qty_precision")?),
            b"price_increment" => tick = Some(decimal(json, "price_increment")?),
            b"qty_increment" => lot = Some(decimal(json, "qty_increment")?),
            b"qty_min" => min_size = Some(decimal(json, "qty_min")?),
            b"cost_min" => min_notional = Some(decimal(json, "cost_min")?),
            b"tick_size"
            | b"cost_precision"
            | b"marginable"
            | b"has_index"
            | b"margin_initial"
            | b"position_limit_long"
            | b"position_limit_short" => {}
            _ => *unknown_fields += 1,
        }
    }
    let missing = |field| FrameError { offset: json.offset(), field, problem: "is missing".to_owned() };
    let symbol = symbol.ok_or_else(|| missing("symbol"))?;
    let (base, quote) = (base.ok_or_else(|| missing("base"))?, quote.ok_or_else(|| missing("quote"))?);
    if !view.learns() && !view.wanted.iter().any(|w| w.means(&symbol, &base, &quote)) {
        return Ok(None);
    }
    let checks = [("symbol", check_name(&symbol)), ("base", check_pair(&base, &quote))];
    for (field, check) in checks {
        check.map_err(|problem| FrameError { offset: json.offset(), field, problem })?;
    }
    Ok(Some(Pair {
        price_precision: price_precision.ok_or_else(|| missing("price_precision"))?,
        size_precision: size_precision.ok_or_else(|| missing("qty_precision"))?,
        tick: tick.unwrap_or_default(),
        lot: lot.unwrap_or_default(),
        min_size: min_size.unwrap_or_default(),
        min_notional,
        status,
        symbol,
        base,
        quote,
    }))
}

pub fn status_of(word: &str) -> InstrumentStatus {
    match word {
        "online" => InstrumentStatus::Trading,
        "cancel_only" | "limit_only" | "post_only" | "reduce_only" => InstrumentStatus::Restricted,
        "maintenance" | "work_in_progress" => InstrumentStatus::Halted,
        "delisted" => InstrumentStatus::Delisted,
        _ => InstrumentStatus::Unknown,
    }
}

fn precision(json: &mut Json<'_>, field: &'static str) -> Result<u8, FrameError> {
    let offset = json.offset();
    let value = json.u64().of(field)?;
    u8::try_from(value).ok().filter(|v| *v <= SCALE_MAX).ok_or_else(|| FrameError {
        offset,
        field,
        problem: format!("is {value}; at most {SCALE_MAX} decimals can be told"),
    })
}

/// An increment or minimum: a number or, as `cost_min` sometimes is, a string, `1e-08` included.
fn decimal(json: &mut Json<'_>, field: &'static str) -> Result<Decimal, FrameError> {
    let offset = json.offset();
    let error = |problem: String| FrameError { offset, field, problem };
    let exact = json.number_or_string().of(field)?.exact().map_err(|e| error(e.to_string()))?.trimmed();
    if exact.scale > SCALE_MAX || exact.mantissa < 0 || i64::try_from(exact.mantissa).is_err() {
        return Err(error("is no positive number of at most 18 decimals".to_owned()));
    }
    Ok(Decimal::new(exact.mantissa, exact.scale))
}

/// Whether an instrument nobody defined may be learnt from a frame that also names `others`.
pub fn check_learnable(name: &str, view: View<'_>, others: &[String]) -> Result<(), String> {
    check_name(name)?;
    let id = InstrumentId::of(Venue::Kraken, name);
    if view.instruments.index_of(id).is_some() || others.iter().any(|o| InstrumentId::of(Venue::Kraken, o) == id) {
        return Err(format!("has the same id as another: {id}"));
    }
    if view.instruments.len() + others.len() >= LEARNT_MAX {
        return Err(format!("is one more than the {LEARNT_MAX} that are learnt"));
    }
    Ok(())
}

/// What can be known of a pair from its symbol alone. Tick, lot and minimum are not: they stay untold.
pub fn provisional(symbol: &str, price_scale: u8, size_scale: u8) -> Instrument {
    let (base, quote) = symbol.split_once('/').unwrap_or((symbol, ""));
    Instrument {
        id: InstrumentId::of(Venue::Kraken, symbol),
        venue: Venue::Kraken,
        symbol: if quote.is_empty() { symbol.to_uppercase() } else { canonical_symbol(base, quote) },
        venue_symbol: symbol.to_owned(),
        base: base.to_owned(),
        quote: quote.to_owned(),
        version: 0,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Unknown,
        price_scale,
        size_scale,
        tick: Price(0),
        lot: Qty(0),
        min_size: Qty(0),
        min_notional: None,
    }
}

/// The definition of a pair. Scales never shrink below those already told (`known`), and hold every increment.
pub fn definition(pair: &Pair, known: Option<&Instrument>) -> Result<Instrument, model::DecimalError> {
    let (price_known, size_known) = known.map_or((0, 0), |i| (i.price_scale, i.size_scale));
    let price_scale = pair.price_precision.max(pair.tick.normalised().scale).max(price_known);
    let size_scale = [pair.lot, pair.min_size]
        .iter()
        .fold(pair.size_precision.max(size_known), |scale, d| scale.max(d.normalised().scale));
    Ok(Instrument {
        symbol: canonical_symbol(&pair.base, &pair.quote),
        base: pair.base.clone(),
        quote: pair.quote.clone(),
        status: pair.status,
        tick: Price(pair.tick.at_scale(price_scale)?),
        lot: Qty(pair.lot.at_scale(size_scale)?),
        min_size: Qty(pair.min_size.at_scale(size_scale)?),
        min_notional: pair.min_notional,
        ..provisional(&pair.symbol, price_scale, size_scale)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_go_both_ways_and_leave_other_names_alone() {
        for (old, new) in [
            ("XBT/USD", "BTC/USD"),
            ("ALGO/XBT", "ALGO/BTC"),
            ("XDG/XBT", "DOGE/BTC"),
            ("XBT-EUR", "BTC-EUR"),
            ("ETH/USD", "ETH/USD"),
            ("XBTC/USD", "XBTC/USD"),
            ("XBT", "XBT"),
            ("", ""),
        ] {
            assert_eq!(new_spelling(old), new);
            assert_eq!(new_spelling(new), new);
            assert_eq!(old_spelling(new), old);
        }
        // The dot behind a pair of the dark pool is part of the asset's name.
        assert_eq!(new_spelling("ETH/XBT.d"), "ETH/XBT.d");
    }
}
