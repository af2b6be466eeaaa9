//! What `GET /0/public/AssetPairs` says of pairs.

use crate::instruments::{check_name, check_pair};
use crate::kraken::machine::Wanted;
use crate::kraken::messages::Pair;
use crate::kraken::pairs::{new_spelling, status_of};
use model::{Decimal, SCALE_MAX};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Path of all pairs' definitions: one that names pairs is refused as a whole for a single one that does not exist.
pub const PATH: &str = "/0/public/AssetPairs";

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    result: BTreeMap<Cow<'a, str>, AssetPair<'a>>,
}

#[derive(Deserialize)]
struct AssetPair<'a> {
    /// Its name on the socket; pairs of the dark pool have none.
    #[serde(borrow)]
    wsname: Option<Cow<'a, str>>,
    pair_decimals: u8,
    lot_decimals: u8,
    #[serde(borrow)]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ordermin: Option<Cow<'a, str>>,
    #[serde(borrow)]
    costmin: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
}

/// The pairs of a body that are wanted, or why it cannot be used.
pub fn read(body: &[u8], wanted: &[Wanted]) -> Result<Vec<Pair>, String> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if let Some(error) = body.error.iter().find(|e| e.starts_with('E')) {
        return Err(error.to_string());
    }
    let mut pairs = vec![];
    for pair in body.result.values() {
        let Some(name) = &pair.wsname else { continue };
        let symbol = new_spelling(name).into_owned();
        let (base, quote) = symbol.split_once('/').unwrap_or((&symbol, ""));
        if wanted.iter().any(|w| w.means(&symbol, base, quote)) {
            pairs.push(pair.read(&symbol, base, quote).map_err(|problem| format!("{name}: {problem}"))?);
        }
    }
    Ok(pairs)
}

impl AssetPair<'_> {
    fn read(&self, symbol: &str, base: &str, quote: &str) -> Result<Pair, String> {
        check_name(symbol)?;
        check_pair(base, quote)?;
        let decimals = |field: &str, decimals: u8| {
            if decimals > SCALE_MAX {
                return Err(format!("{field} is {decimals}; at most {SCALE_MAX} decimals can be told"));
            }
            Ok(Decimal::new(1, decimals))
        };
        // Bodies from before the tick had a field of its own give it by the decimals.
        let tick = decimals("pair_decimals", self.pair_decimals)?;
        let tick = number("tick_size", &self.tick_size)?.unwrap_or(tick);
        Ok(Pair {
            status: self.status.as_deref().map_or(model::InstrumentStatus::Unknown, status_of),
            price_precision: self.pair_decimals,
            size_precision: self.lot_decimals,
            tick,
            lot: decimals("lot_decimals", self.lot_decimals)?,
            min_size: number("ordermin", &self.ordermin)?.unwrap_or_default(),
            min_notional: number("costmin", &self.costmin)?,
            symbol: symbol.to_owned(),
            base: base.to_owned(),
            quote: quote.to_owned(),
        })
    }
}

fn number(field: &str, text: &Option<Cow<'_, str>>) -> Result<Option<Decimal>, String> {
    let Some(text) = text else { return Ok(None) };
    let number: Decimal = text.parse().map_err(|e| format!("{field} {text:?} is not usable: {e}"))?;
    if number.mantissa < 0 || number.scale > SCALE_MAX {
        return Err(format!("{field} {text:?} is no positive number of at most {SCALE_MAX} decimals"));
    }
    Ok(Some(number))
}
