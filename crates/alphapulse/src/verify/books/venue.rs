//! Which venue sent a recording: by what its first frames look like.

use crate::recorded::Frames;
use model::Venue;
use serde_json::Value;
use std::path::Path;

/// Frames that are looked at.
const LOOKED_AT: u64 = 50;

/// The venue whose protocol the first frames are of. Binance's is spoken by two, told apart by the folders the file
/// lies in.
pub fn of_frames(path: &Path) -> anyhow::Result<Option<Venue>> {
    let mut frames = Frames::open(path)?;
    while let Some((number, _)) = frames.advance()? {
        let venue = serde_json::from_slice(&frames.line).ok().and_then(|frame: Value| of(&frame));
        if venue == Some(Venue::Binance) {
            let us = path.components().any(|part| part.as_os_str() == Venue::BinanceUs.name());
            return Ok(Some(if us { Venue::BinanceUs } else { Venue::Binance }));
        }
        if venue.is_some() || number == LOOKED_AT {
            return Ok(venue);
        }
    }
    Ok(None)
}

fn of(frame: &Value) -> Option<Venue> {
    let has = |key: &str| frame.get(key).is_some();
    match frame {
        Value::Array(items) if items.first().is_some_and(|item| item.get("T").is_some()) => Some(Venue::Alpaca),
        Value::Array(items) if items.len() >= 4 => Some(Venue::Kraken),
        Value::Object(_) if has("channel") && has("events") => Some(Venue::Coinbase),
        Value::Object(_) if has("channel") || has("method") || has("event") => Some(Venue::Kraken),
        Value::Object(_) if has("type") => Some(Venue::Coinbase),
        Value::Object(_) if has("stream") || has("e") || has("u") => Some(Venue::Binance),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_known_by_its_frames() {
        for (frame, venue) in [
            (r#"{"channel":"book","type":"update","data":[]}"#, Some(Venue::Kraken)),
            (r#"{"event":"systemStatus","status":"online"}"#, Some(Venue::Kraken)),
            (r#"[336,{"a":[]},"book-10","XBT/USD"]"#, Some(Venue::Kraken)),
            (r#"{"channel":"l2_data","events":[]}"#, Some(Venue::Coinbase)),
            (r#"{"type":"l2update","product_id":"BTC-USD"}"#, Some(Venue::Coinbase)),
            (r#"{"stream":"btcusdt@depth","data":{}}"#, Some(Venue::Binance)),
            (r#"{"e":"depthUpdate","s":"BTCUSDT"}"#, Some(Venue::Binance)),
            (r#"[{"T":"o","S":"BTC/USD"}]"#, Some(Venue::Alpaca)),
            (r#"{"result":null,"id":1}"#, None),
        ] {
            assert_eq!(of(&serde_json::from_str(frame).expect("JSON")), venue, "{frame}");
        }
    }
}
