//! Instruments: from the venue's exchange information, or provisionally from a symbol alone.

use super::messages::Scales;
use model::{
    Decimal, DecimalError, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Venue,
    canonical_symbol,
};
use serde::Deserialize;
use std::borrow::Cow;

/// The venue pads every price and size to this many decimals, so a symbol known by its name alone has this scale.
pub(super) const PROVISIONAL: Scales = Scales { price: 8, size: 8 };

/// The most bytes a symbol may have: what an instrument record holds.
pub(super) const SYMBOL_MAX: usize = 64;

/// Quote currencies by which a bare symbol is split; the longest that fits counts.
const QUOTES: [&str; 35] = [
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USDS", "BIDR", "IDRT", "BKRW", "BVND", "EURI", "GYEN", "DOGE",
    "USD1", "RLUSD", "PAX", "DAI", "VAI", "BTC", "ETH", "BNB", "EUR", "USD", "TRY", "BRL", "AUD", "GBP", "RUB", "NGN",
    "UAH", "ZAR", "XRP", "TRX", "JPY",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExchangeInfo<'a> {
    #[serde(borrow)]
    pub symbols: Vec<SymbolInfo<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SymbolInfo<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    status: Cow<'a, str>,
    base_asset: Cow<'a, str>,
    quote_asset: Cow<'a, str>,
    filters: Vec<Filter<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter<'a> {
    #[serde(borrow)]
    filter_type: Cow<'a, str>,
    tick_size: Option<Cow<'a, str>>,
    step_size: Option<Cow<'a, str>>,
    min_qty: Option<Cow<'a, str>>,
    min_notional: Option<Cow<'a, str>>,
}

/// A body with an error of the venue.
#[derive(Deserialize)]
pub(super) struct ErrorBody {
    pub code: i64,
    pub msg: String,
}

/// The venue's code for a symbol it does not know.
pub(super) const INVALID_SYMBOL: i64 = -1121;

/// A definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DefinitionError {
    /// A filter's number.
    #[error("{symbol}: {field} {value:?} is not usable: {source}")]
    Number { symbol: String, field: &'static str, value: String, source: DecimalError },
    /// A name no record holds.
    #[error("symbol {0:?} is empty or has more than {SYMBOL_MAX} bytes")]
    Name(String),
}

fn instrument_status(status: &str) -> InstrumentStatus {
    match status {
        "TRADING" => InstrumentStatus::Trading,
        "HALT" | "BREAK" => InstrumentStatus::Halted,
        "END_OF_DAY" | "CANCEL_ONLY" | "PRE_TRADING" | "POST_TRADING" | "AUCTION_MATCH" => InstrumentStatus::Restricted,
        _ => InstrumentStatus::Unknown,
    }
}

impl SymbolInfo<'_> {
    fn number(&self, filter: &str, field: &'static str) -> Result<Option<Decimal>, DefinitionError> {
        let filter = self.filters.iter().find(|f| f.filter_type == filter);
        let value = filter.and_then(|f| match field {
            "tickSize" => f.tick_size.as_deref(),
            "stepSize" => f.step_size.as_deref(),
            "minQty" => f.min_qty.as_deref(),
            _ => f.min_notional.as_deref(),
        });
        let Some(value) = value else { return Ok(None) };
        let bad = |source| DefinitionError::Number {
            symbol: self.symbol.to_string(),
            field,
            value: value.to_owned(),
            source,
        };
        let number: Decimal = value.parse().map_err(bad)?;
        // Zero switches a filter off.
        Ok(Some(number).filter(|n| n.mantissa != 0))
    }

    /// The canonical symbol.
    pub(super) fn canonical(&self) -> String {
        canonical_symbol(&self.base_asset, &self.quote_asset)
    }

    /// The definition, at the scales of tick and lot but never below `least`: a scale once told only grows.
    pub(super) fn instrument(&self, venue: Venue, least: Option<Scales>) -> Result<Instrument, DefinitionError> {
        let tick = self.number("PRICE_FILTER", "tickSize")?;
        let lot = self.number("LOT_SIZE", "stepSize")?;
        let min_size = self.number("LOT_SIZE", "minQty")?;
        let min_notional = self.number("NOTIONAL", "minNotional")?;
        let min_notional = min_notional.or(self.number("MIN_NOTIONAL", "minNotional")?);
        let scale_of = |n: Option<Decimal>| n.map(|n| n.normalised().scale);
        let least = least.unwrap_or(Scales { price: 0, size: 0 });
        let scales = Scales {
            price: scale_of(tick).unwrap_or(PROVISIONAL.price).max(least.price),
            size: scale_of(lot).max(scale_of(min_size)).unwrap_or(PROVISIONAL.size).max(least.size),
        };
        let at = |field, n: Option<Decimal>, scale| {
            let n = n.unwrap_or_default();
            let bad = |source| DefinitionError::Number {
                symbol: self.symbol.to_string(),
                field,
                value: n.to_string(),
                source,
            };
            n.at_scale(scale).map_err(bad)
        };
        let mut instrument = named(venue, &self.symbol, &self.base_asset, &self.quote_asset, scales)?;
        instrument.status = instrument_status(&self.status);
        instrument.tick = Price(at("tickSize", tick, scales.price)?);
        instrument.lot = Qty(at("stepSize", lot, scales.size)?);
        instrument.min_size = Qty(at("minQty", min_size, scales.size)?);
        instrument.min_notional = min_notional;
        Ok(instrument)
    }
}

fn named(venue: Venue, symbol: &str, base: &str, quote: &str, scales: Scales) -> Result<Instrument, DefinitionError> {
    let canonical = canonical_symbol(base, quote);
    if symbol.is_empty() || symbol.len() > SYMBOL_MAX || canonical.len() > SYMBOL_MAX {
        return Err(DefinitionError::Name(symbol.chars().take(SYMBOL_MAX).collect()));
    }
    Ok(Instrument {
        id: InstrumentId::of(venue, symbol),
        venue,
        symbol: canonical,
        venue_symbol: symbol.to_owned(),
        base: base.to_owned(),
        quote: quote.to_owned(),
        version: 0,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Unknown,
        price_scale: scales.price,
        size_scale: scales.size,
        tick: Price(0),
        lot: Qty(0),
        min_size: Qty(0),
        min_notional: None,
    })
}

/// What can be said of a symbol by its name alone: split at a known quote currency, or else base without a quote.
pub(super) fn provisional(venue: Venue, symbol: &str, scales: Scales) -> Result<Instrument, DefinitionError> {
    let split = QUOTES.iter().filter_map(|quote| symbol.strip_suffix(quote).map(|base| (base, *quote)));
    let known = split.filter(|(base, _)| !base.is_empty()).max_by_key(|(_, quote)| quote.len());
    match known {
        Some((base, quote)) => named(venue, symbol, base, quote, scales),
        None => Ok(Instrument { symbol: symbol.to_uppercase(), ..named(venue, symbol, symbol, "", scales)? }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = r#"{"timezone":"UTC","symbols":[{"symbol":"BTCUSDT","status":"BREAK","baseAsset":"BTC",
        "quoteAsset":"USDT","filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},
        {"filterType":"LOT_SIZE","minQty":"0.00010000","stepSize":"0.00001000"},
        {"filterType":"MARKET_LOT_SIZE","minQty":"0.0","stepSize":"0.00000000"},
        {"filterType":"NOTIONAL","minNotional":"5.00000000","applyMinToMarket":true}]}]}"#;

    #[test]
    fn scales_come_from_tick_and_lot() {
        let info: ExchangeInfo<'_> = serde_json::from_str(INFO).expect("well formed");
        let i = info.symbols[0].instrument(Venue::Binance, None).expect("usable");
        assert_eq!((i.symbol.as_str(), i.price_scale, i.size_scale), ("BTC-USDT", 2, 5));
        assert_eq!((i.tick, i.lot, i.min_size), (Price(1), Qty(1), Qty(10)));
        assert_eq!((i.min_notional, i.status), (Some(Decimal::new(5, 0)), InstrumentStatus::Halted));
        let wider = info.symbols[0].instrument(Venue::Binance, Some(Scales { price: 4, size: 3 })).expect("usable");
        assert_eq!((wider.price_scale, wider.size_scale, wider.tick), (4, 5, Price(100)));
    }

    #[track_caller]
    fn split(symbol: &str, canonical: &str) {
        assert_eq!(provisional(Venue::Binance, symbol, PROVISIONAL).map(|i| i.symbol), Ok(canonical.to_owned()));
    }

    #[test]
    fn bare_symbols_are_split_at_a_known_quote() {
        split("BTCUSDT", "BTC-USDT");
        split("BTCFDUSD", "BTC-FDUSD");
        split("USDTTRY", "USDT-TRY");
        split("LRCBTC", "LRC-BTC");
        split("RUNEEUR", "RUNE-EUR");
        split("BTC", "BTC");
        split("ABCXYZ", "ABCXYZ");
        assert!(provisional(Venue::Binance, "", PROVISIONAL).is_err());
        assert!(provisional(Venue::Binance, &"X".repeat(65), PROVISIONAL).is_err());
    }
}
