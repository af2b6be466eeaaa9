//! Instruments: what the venue's list of products and its `status` channel say, and what can be known of a product that
//! nobody defined.

use super::exact::{Result, require, text};
use super::messages::{Named, Product, View};
use super::spec::SPEC;
use crate::FrameError;
use crate::instruments::{check_name, check_pair};
use model::{
    Decimal, DecimalError, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, SCALE_MAX,
    canonical_symbol,
};
use scan::{Json, NAME_LEN_MAX};
use serde::Deserialize;
use std::borrow::Cow;

/// Instruments learnt from what arrives; a capture that names more is not one.
const LEARNT_MAX: usize = 4096;

/// Where the list of products is.
pub const PATH: &str = "/api/v3/brokerage/market/products";

/// The list of products.
#[derive(Deserialize)]
pub struct Products<'a> {
    #[serde(borrow)]
    pub products: Vec<Listed<'a>>,
}

/// One product of the list.
#[derive(Deserialize)]
pub struct Listed<'a> {
    #[serde(borrow)]
    pub product_id: Cow<'a, str>,
    #[serde(default)]
    pub product_type: Cow<'a, str>,
    /// The product whose market this is only another name of; empty when it is a market of its own.
    #[serde(default)]
    pub alias: Cow<'a, str>,
    base_currency_id: Cow<'a, str>,
    quote_currency_id: Cow<'a, str>,
    #[serde(default)]
    base_increment: Cow<'a, str>,
    #[serde(default)]
    quote_increment: Cow<'a, str>,
    #[serde(default)]
    price_increment: Cow<'a, str>,
    #[serde(default)]
    base_min_size: Cow<'a, str>,
    #[serde(default)]
    quote_min_size: Cow<'a, str>,
    #[serde(default)]
    status: Cow<'a, str>,
    #[serde(default)]
    is_disabled: bool,
    #[serde(default)]
    trading_disabled: bool,
    #[serde(default)]
    view_only: bool,
    #[serde(default)]
    cancel_only: bool,
    #[serde(default)]
    limit_only: bool,
    #[serde(default)]
    post_only: bool,
    #[serde(default)]
    auction_mode: bool,
}

/// A definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// A number of it.
    #[error("{product}: {field} {value:?} is not usable: {source}")]
    Number { product: String, field: &'static str, value: String, source: DecimalError },
    /// A name no record holds.
    #[error("{0}")]
    Name(String),
}

impl Listed<'_> {
    fn status(&self) -> InstrumentStatus {
        let restricted = self.cancel_only || self.limit_only || self.post_only || self.auction_mode;
        match status_of(&self.status) {
            InstrumentStatus::Delisted => InstrumentStatus::Delisted,
            _ if self.is_disabled || self.trading_disabled || self.view_only => InstrumentStatus::Halted,
            InstrumentStatus::Trading if restricted => InstrumentStatus::Restricted,
            told => told,
        }
    }

    fn number(&self, field: &'static str, value: &str) -> std::result::Result<Option<Decimal>, DefinitionError> {
        if value.is_empty() {
            return Ok(None);
        }
        let number = value.parse::<Decimal>().map_err(|source| DefinitionError::Number {
            product: self.product_id.to_string(),
            field,
            value: value.to_owned(),
            source,
        })?;
        Ok(Some(number).filter(|n| n.mantissa > 0))
    }

    /// What defines it.
    pub fn product(&self) -> std::result::Result<Product, DefinitionError> {
        check_name(&self.product_id)
            .and_then(|()| check_pair(&self.base_currency_id, &self.quote_currency_id))
            .map_err(|problem| DefinitionError::Name(format!("{}: a name {problem}", self.product_id)))?;
        let tick = self.number("price_increment", &self.price_increment)?;
        Ok(Product {
            id: self.product_id.to_string(),
            base: self.base_currency_id.to_string(),
            quote: self.quote_currency_id.to_string(),
            status: self.status(),
            tick: tick.or(self.number("quote_increment", &self.quote_increment)?),
            lot: self.number("base_increment", &self.base_increment)?,
            min_size: self.number("base_min_size", &self.base_min_size)?,
            min_notional: self.number("quote_min_size", &self.quote_min_size)?,
        })
    }
}

/// A product as the `status` channel tells it.
pub fn read(json: &mut Json<'_>, unknown_fields: &mut u64) -> Result<Product> {
    let (mut id, mut base, mut quote, mut status) = (None, None, None, InstrumentStatus::Unknown);
    let (mut tick, mut lot, mut min_notional) = (None, None, None);
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("products")?;
    while let Some(key) = json.key().of("products")? {
        match key.name(&mut room) {
            b"id" => id = Some(name(json, "id")?),
            b"base_currency" => base = Some(name(json, "base_currency")?),
            b"quote_currency" => quote = Some(name(json, "quote_currency")?),
            b"status" => status = status_of(&text(json, "status")?),
            b"quote_increment" => tick = decimal(json, "quote_increment")?,
            b"base_increment" => lot = decimal(json, "base_increment")?,
            b"min_market_funds" => min_notional = decimal(json, "min_market_funds")?,
            b"product_type" | b"display_name" | b"status_message" => {}
            _ => *unknown_fields += 1,
        }
    }
    let (id, base) = (require(id, json, "id")?, require(base, json, "base_currency")?);
    let quote = require(quote, json, "quote_currency")?;
    let error = |problem| FrameError { offset: json.offset(), field: "quote_currency", problem };
    check_pair(&base, &quote).map_err(error)?;
    Ok(Product { id, base, quote, status, tick, lot, min_size: None, min_notional })
}

fn status_of(word: &str) -> InstrumentStatus {
    match word {
        "online" => InstrumentStatus::Trading,
        "offline" | "internal" => InstrumentStatus::Halted,
        "delisted" => InstrumentStatus::Delisted,
        _ => InstrumentStatus::Unknown,
    }
}

fn name(json: &mut Json<'_>, field: &'static str) -> Result<String> {
    let offset = json.offset();
    let name = text(json, field)?;
    check_name(&name).map_err(|problem| FrameError { offset, field, problem })?;
    Ok(name)
}

/// An increment; a blank or a zero is none.
fn decimal(json: &mut Json<'_>, field: &'static str) -> Result<Option<Decimal>> {
    let offset = json.offset();
    let error = |problem: String| FrameError { offset, field, problem };
    let text = json.number_or_string().of(field)?;
    if text.is("") {
        return Ok(None);
    }
    let exact = text.exact().map_err(|e| error(e.to_string()))?.trimmed();
    if exact.scale > SCALE_MAX || exact.mantissa < 0 || i64::try_from(exact.mantissa).is_err() {
        return Err(error("is no positive number of at most 18 decimals".to_owned()));
    }
    Ok(Some(Decimal::new(exact.mantissa, exact.scale)).filter(|d| d.mantissa > 0))
}

/// Whether an instrument nobody defined may be learnt from a frame that also names `others`.
pub fn check_learnable(name: &str, view: View<'_>, others: &[String]) -> std::result::Result<(), String> {
    check_name(name)?;
    let id = InstrumentId::of(SPEC.venue, name);
    let taken = |other: InstrumentId| other == id;
    if view.markets.iter().any(|m| taken(m.id)) || others.iter().any(|o| taken(InstrumentId::of(SPEC.venue, o))) {
        return Err(format!("has the same id as another: {id}"));
    }
    if view.markets.len() + others.len() >= LEARNT_MAX {
        return Err(format!("is one more than the {LEARNT_MAX} that are learnt"));
    }
    Ok(())
}

/// What can be known of a product by its name alone. Tick, lot and minimum are not: they stay untold.
pub fn provisional(product: &str, price_scale: u8, size_scale: u8) -> Instrument {
    // `BTC-USD`; a future such as `BIP-20DEC30-CDE` is no pair.
    let pair = product.split_once('-').filter(|(_, quote)| !quote.contains('-'));
    let (base, quote) = pair.unwrap_or((product, ""));
    Instrument {
        id: InstrumentId::of(SPEC.venue, product),
        venue: SPEC.venue,
        symbol: pair.map_or_else(|| product.to_uppercase(), |(base, quote)| canonical_symbol(base, quote)),
        venue_symbol: product.to_owned(),
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

/// The definition of a product. Scales never shrink below those already told (`known`), and hold every increment.
pub fn definition(product: &Product, known: Option<&Instrument>) -> std::result::Result<Instrument, DecimalError> {
    let (price_known, size_known) = known.map_or((0, 0), |i| (i.price_scale, i.size_scale));
    let scale = |d: Option<Decimal>| d.map_or(0, |d| d.normalised().scale);
    let price_scale = scale(product.tick).max(price_known);
    let size_scale = scale(product.lot).max(scale(product.min_size)).max(size_known);
    let at = |d: Option<Decimal>, scale| d.unwrap_or_default().at_scale(scale);
    Ok(Instrument {
        symbol: canonical_symbol(&product.base, &product.quote),
        base: product.base.clone(),
        quote: product.quote.clone(),
        status: product.status,
        tick: Price(at(product.tick, price_scale)?),
        lot: Qty(at(product.lot, size_scale)?),
        min_size: Qty(at(product.min_size, size_scale)?),
        min_notional: product.min_notional,
        ..provisional(&product.id, price_scale, size_scale)
    })
}

/// A definition at wider scales, when its increments fit them.
pub fn widened(i: &Instrument, price_scale: u8, size_scale: u8) -> Option<Instrument> {
    let factor = |from: u8, to: u8| 10i64.pow(u32::from(to.saturating_sub(from)));
    let (price, size) = (factor(i.price_scale, price_scale), factor(i.size_scale, size_scale));
    Some(Instrument {
        price_scale: price_scale.max(i.price_scale),
        size_scale: size_scale.max(i.size_scale),
        tick: Price(i.tick.0.checked_mul(price)?),
        lot: Qty(i.lot.0.checked_mul(size)?),
        min_size: Qty(i.min_size.0.checked_mul(size)?),
        ..i.clone()
    })
}
