//! Instruments: what can be known of one from its symbol, and how its scales grow.
//!
//! The market data host defines nothing; increments live on the trading host. So definitions are provisional: scales
//! begin at [`scales`] and widen as numbers need it, tick, lot and minimum are not told.

use super::spec::SPEC;
use crate::InstrumentSet;
use crate::instruments::check_name;
use model::{Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, canonical_symbol};

/// Instruments learnt from what arrives; a capture that names more is not one.
const LEARNT_MAX: usize = 16_384;

/// Whether a symbol of the venue is a pair of currencies: they are written with a slash, shares are not.
pub fn is_pair(symbol: &str) -> bool {
    symbol.contains('/')
}

/// The venue's spelling of a symbol in either spelling: `BTC-USD` is `BTC/USD`, `aapl` is `AAPL`. Shares have no dash:
/// their classes are written with a dot.
pub fn venue_symbol(symbol: &str) -> String {
    symbol.to_uppercase().replace('-', "/")
}

/// Decimals of prices and sizes before any number was seen. Shares trade in steps of 0.01 or, below a dollar, 0.0001,
/// and whole shares; coins in steps as small as 10^-9, where a wide scale would leave no room for the large sizes of
/// small coins, so theirs begin narrow.
pub fn scales(symbol: &str) -> (u8, u8) {
    if is_pair(symbol) { (2, 4) } else { (4, 0) }
}

/// Whether an instrument may be learnt from a frame that also names `others`.
pub fn check_learnable(name: &str, known: &InstrumentSet, others: &[String]) -> Result<(), String> {
    check_name(name)?;
    let id = InstrumentId::of(SPEC.venue, name);
    if known.index_of(id).is_some() || others.iter().any(|o| InstrumentId::of(SPEC.venue, o) == id) {
        return Err(format!("has the same id as another: {id}"));
    }
    if known.len() + others.len() >= LEARNT_MAX {
        return Err(format!("is one more than the {LEARNT_MAX} that are learnt"));
    }
    Ok(())
}

/// What can be known of an instrument from its symbol alone.
pub fn provisional(symbol: &str, price_scale: u8, size_scale: u8) -> Instrument {
    let (base, quote) = symbol.split_once('/').unwrap_or((symbol, "USD"));
    let pair = is_pair(symbol);
    Instrument {
        id: InstrumentId::of(SPEC.venue, symbol),
        venue: SPEC.venue,
        symbol: if pair { canonical_symbol(base, quote) } else { symbol.to_owned() },
        venue_symbol: symbol.to_owned(),
        base: base.to_owned(),
        quote: quote.to_owned(),
        version: 0,
        kind: if pair { InstrumentKind::Spot } else { InstrumentKind::Equity },
        status: InstrumentStatus::Unknown,
        price_scale,
        size_scale,
        tick: Price(0),
        lot: Qty(0),
        min_size: Qty(0),
        min_notional: None,
    }
}

/// The same definition at scales that are at least these; they never shrink.
pub fn widened(known: &Instrument, price_scale: u8, size_scale: u8) -> Instrument {
    Instrument {
        price_scale: known.price_scale.max(price_scale),
        size_scale: known.size_scale.max(size_scale),
        ..known.clone()
    }
}

/// What a trading status of a share means; `None` when it says nothing of whether it trades. The codes of the two
/// plans (CTA for tapes A and B, UTP for tape C) do not overlap.
pub fn status_of(code: &str) -> Option<InstrumentStatus> {
    match code {
        // CTA: trading halt; resume.
        "2" => Some(InstrumentStatus::Halted),
        "3" => Some(InstrumentStatus::Trading),
        // UTP: trading halt, volatility pause; quotation resumes; trading resumes.
        "H" | "P" => Some(InstrumentStatus::Halted),
        "Q" => Some(InstrumentStatus::Restricted),
        "T" => Some(InstrumentStatus::Trading),
        // Imbalances, price indications, short sale restrictions.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_in_either_spelling() {
        for (given, venue, canonical, kind) in [
            ("BTC-USD", "BTC/USD", "BTC-USD", InstrumentKind::Spot),
            ("eth/btc", "ETH/BTC", "ETH-BTC", InstrumentKind::Spot),
            ("AAPL", "AAPL", "AAPL", InstrumentKind::Equity),
            ("brk.b", "BRK.B", "BRK.B", InstrumentKind::Equity),
        ] {
            let symbol = venue_symbol(given);
            let definition = provisional(&symbol, 2, 4);
            assert_eq!((symbol.as_str(), definition.symbol.as_str(), definition.kind), (venue, canonical, kind));
        }
    }
}
