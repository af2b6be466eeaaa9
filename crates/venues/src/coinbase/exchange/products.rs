//! Instruments: what `/products` and the status channel say of one, and what can be known of one that nobody defined.

use super::exact::text;
use super::messages::{Message, Named, Scratch, View};
use crate::FrameError;
use crate::instruments::{check_name, check_pair};
use model::{
    Decimal, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, SCALE_MAX, Venue, canonical_symbol,
};
use scan::{Json, NAME_LEN_MAX};

/// Instruments learnt from what arrives; a capture that names more is not one.
const LEARNT_MAX: usize = 4096;

/// A symbol that was asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    pub found: bool,
}

impl Wanted {
    /// Whether a product is meant: `BTC-USD`, in any case, or `BTC/USD`.
    pub fn means(&self, product: &str) -> bool {
        self.name.replace('/', "-").eq_ignore_ascii_case(product)
    }
}

/// One product as the venue describes it.
#[derive(Clone, Debug)]
pub struct Product {
    pub symbol: String,
    pub base: String,
    pub quote: String,
    pub status: InstrumentStatus,
    pub tick: Decimal,
    pub lot: Decimal,
    /// `None` where the venue does not say, as in newer descriptions.
    pub min_size: Option<Decimal>,
    pub min_notional: Option<Decimal>,
}

/// A message of the status channel, its products in the scratch. Its currencies say nothing of trading.
pub fn status(frame: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<Message, FrameError> {
    let mut json = Json::new(frame);
    let mut room = [0; NAME_LEN_MAX];
    scratch.products.clear();
    json.object().of("status")?;
    while let Some(key) = json.key().of("status")? {
        match key.name(&mut room) {
            b"products" => list(&mut json, view, &mut scratch.products, &mut scratch.unknown_fields)?,
            b"type" | b"currencies" => {}
            _ => scratch.unknown_fields += 1,
        }
    }
    Ok(Message::Products)
}

/// The answer to `GET /products`.
pub fn answer(body: &[u8], view: View<'_>, products: &mut Vec<Product>) -> Result<(), FrameError> {
    let mut json = Json::new(body);
    products.clear();
    list(&mut json, view, products, &mut 0)?;
    json.end().of("products")
}

fn list(
    json: &mut Json<'_>,
    view: View<'_>,
    products: &mut Vec<Product>,
    unknown_fields: &mut u64,
) -> Result<(), FrameError> {
    json.array().of("products")?;
    while json.element().of("products")? {
        products.extend(product(json, view, unknown_fields)?);
    }
    Ok(())
}

/// One product, when it is wanted.
fn product(json: &mut Json<'_>, view: View<'_>, unknown_fields: &mut u64) -> Result<Option<Product>, FrameError> {
    let (mut symbol, mut base, mut quote, mut word) = (None, None, None, String::new());
    let (mut tick, mut lot, mut min_size, mut min_notional) = (None, None, None, None);
    let (mut halted, mut restricted) = (false, false);
    let mut room = [0; NAME_LEN_MAX];
    json.object().of("products")?;
    while let Some(key) = json.key().of("products")? {
        match key.name(&mut room) {
            b"id" => symbol = Some(text(json, "id")?),
            b"base_currency" => base = Some(text(json, "base_currency")?),
            b"quote_currency" => quote = Some(text(json, "quote_currency")?),
            b"quote_increment" => tick = decimal(json, "quote_increment")?,
            b"base_increment" => lot = decimal(json, "base_increment")?,
            b"base_min_size" => min_size = decimal(json, "base_min_size")?,
            b"min_market_funds" => min_notional = decimal(json, "min_market_funds")?,
            b"status" => word = text(json, "status")?,
            b"trading_disabled" => halted |= json.bool().of("trading_disabled")?,
            b"post_only" => restricted |= json.bool().of("post_only")?,
            b"limit_only" => restricted |= json.bool().of("limit_only")?,
            b"cancel_only" => restricted |= json.bool().of("cancel_only")?,
            b"auction_mode" => restricted |= json.bool().of("auction_mode")?,
            b"display_name"
            | b"status_message"
            | b"base_max_size"
            | b"max_market_funds"
            | b"margin_enabled"
            | b"fx_stablecoin"
            | b"max_slippage_percentage"
            | b"high_bid_limit_percentage"
            | b"type" => {}
            _ => *unknown_fields += 1,
        }
    }
    let missing = |field| FrameError { offset: json.offset(), field, problem: "is missing".to_owned() };
    let symbol = symbol.ok_or_else(|| missing("id"))?;
    if !view.learns() && !view.wanted.iter().any(|w| w.means(&symbol)) {
        return Ok(None);
    }
    let base = base.ok_or_else(|| missing("base_currency"))?;
    let quote = quote.ok_or_else(|| missing("quote_currency"))?;
    let checks = [("id", check_name(&symbol)), ("base_currency", check_pair(&base, &quote))];
    for (field, check) in checks {
        check.map_err(|problem| FrameError { offset: json.offset(), field, problem })?;
    }
    Ok(Some(Product {
        status: status_of(&word, halted, restricted),
        tick: tick.ok_or_else(|| missing("quote_increment"))?,
        lot: lot.ok_or_else(|| missing("base_increment"))?,
        min_size,
        min_notional,
        symbol,
        base,
        quote,
    }))
}

fn status_of(word: &str, halted: bool, restricted: bool) -> InstrumentStatus {
    match word {
        "online" if halted => InstrumentStatus::Halted,
        "online" if restricted => InstrumentStatus::Restricted,
        "online" => InstrumentStatus::Trading,
        "offline" | "internal" => InstrumentStatus::Halted,
        "delisted" => InstrumentStatus::Delisted,
        _ => InstrumentStatus::Unknown,
    }
}

/// An increment or minimum; absent when it is `null` or empty.
fn decimal(json: &mut Json<'_>, field: &'static str) -> Result<Option<Decimal>, FrameError> {
    if json.null_if().of(field)? {
        return Ok(None);
    }
    let offset = json.offset();
    let error = |problem: String| FrameError { offset, field, problem };
    let written = json.number_or_string().of(field)?;
    if written.is("") {
        return Ok(None);
    }
    let exact = written.exact().map_err(|e| error(e.to_string()))?.trimmed();
    if exact.scale > SCALE_MAX || exact.mantissa < 0 || i64::try_from(exact.mantissa).is_err() {
        return Err(error("is no positive number of at most 18 decimals".to_owned()));
    }
    Ok(Some(Decimal::new(exact.mantissa, exact.scale)))
}

/// Whether an instrument nobody defined may be learnt from a frame.
pub fn check_learnable(name: &str, view: View<'_>) -> Result<(), String> {
    check_name(name)?;
    let id = InstrumentId::of(Venue::Coinbase, name);
    if view.instruments.index_of(id).is_some() {
        return Err(format!("has the same id as another: {id}"));
    }
    if view.instruments.len() >= LEARNT_MAX {
        return Err(format!("is one more than the {LEARNT_MAX} that are learnt"));
    }
    Ok(())
}

/// What can be known of a product from its symbol alone. Tick, lot and minima are not: they stay untold.
pub fn provisional(symbol: &str, price_scale: u8, size_scale: u8) -> Instrument {
    let (base, quote) = symbol.split_once('-').unwrap_or((symbol, ""));
    Instrument {
        id: InstrumentId::of(Venue::Coinbase, symbol),
        venue: Venue::Coinbase,
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

/// The definition of a product. Scales never shrink below those already told (`known`), and hold every increment; what
/// this description leaves out stays as it was.
pub fn definition(product: &Product, known: Option<&Instrument>) -> Result<Instrument, model::DecimalError> {
    let (price_known, size_known) = known.map_or((0, 0), |i| (i.price_scale, i.size_scale));
    let min_known = known.map_or(Decimal::default(), |i| Decimal::new(i.min_size.0.into(), i.size_scale));
    let min_size = product.min_size.unwrap_or(min_known);
    let price_scale = product.tick.normalised().scale.max(price_known);
    let sizes = [product.lot, min_size];
    let size_scale = sizes.iter().fold(size_known, |scale, d| scale.max(d.normalised().scale));
    Ok(Instrument {
        symbol: canonical_symbol(&product.base, &product.quote),
        base: product.base.clone(),
        quote: product.quote.clone(),
        status: product.status,
        tick: Price(product.tick.at_scale(price_scale)?),
        lot: Qty(product.lot.at_scale(size_scale)?),
        min_size: Qty(min_size.at_scale(size_scale)?),
        min_notional: product.min_notional.or(known.and_then(|i| i.min_notional)),
        ..provisional(&product.symbol, price_scale, size_scale)
    })
}

/// A definition at wider scales, when its increments fit them.
pub fn widened(i: &Instrument, price_scale: u8, size_scale: u8) -> Option<Instrument> {
    let factor = |from: u8, to: u8| 10i64.checked_pow(u32::from(to.saturating_sub(from)));
    let (price, size) = (factor(i.price_scale, price_scale)?, factor(i.size_scale, size_scale)?);
    Some(Instrument {
        price_scale: price_scale.max(i.price_scale),
        size_scale: size_scale.max(i.size_scale),
        tick: Price(i.tick.0.checked_mul(price)?),
        lot: Qty(i.lot.0.checked_mul(size)?),
        min_size: Qty(i.min_size.0.checked_mul(size)?),
        ..i.clone()
    })
}
