//! What faults do to the bytes of a frame, and which ids a frame carries. Works on the venues' JSON as text, because a
//! frame must differ in that one place and nowhere else.

use std::ops::Range;

use model::{StreamKind, UnixNanos};

use super::Field;
use crate::text::push_rfc3339;

/// What stands before a size, in the order in which frames are searched: a venue's book, its trades, its quotes.
/// Books of Binance and Coinbase Exchange have none: there a size is the last text of its list.
const SIZE_MARKS: [&[u8]; 14] = [
    b"\"qty\":",
    b"\"new_quantity\":\"",
    b"\"size\":\"",
    b"\"remaining_size\":\"",
    b"\"best_bid_size\":\"",
    b"\"best_bid_quantity\":\"",
    b"\"bid_qty\":",
    b"\"last_size\":\"",
    b"\"q\":\"",
    b"\"B\":\"",
    b"\"s\":",
    b"\"bs\":",
    b"\",\"",
    b"\"v\":",
];
/// What stands before a price.
const PRICE_MARKS: [&[u8]; 12] = [
    b"\"price\":\"",
    b"\"price\":",
    b"\"price_level\":\"",
    b"\"p\":\"",
    b"\"p\":",
    b"\"best_bid\":\"",
    b"\"bid\":",
    b"\"bp\":",
    b"[\"buy\",\"",
    b"[\"sell\",\"",
    b"[[\"",
    b"\"b\":\"",
];
/// What stands before the best bid of a book's changes: its price comes next, and its size is the next number.
const BID_MARKS: [&[u8]; 5] =
    [b"\"bids\":[{\"price\":", b"\"b\":[[\"", b"[\"buy\",\"", b"\"b\":[{\"p\":", b"\"side\":\"bid\""];

/// Changes the last digit of the first size that is not zero; `false` when the frame has none.
pub(super) fn corrupt(frame: &mut [u8]) -> bool {
    let Some(at) = number(frame, Field::Size, |digits| digits.iter().any(|b| (b'1'..=b'9').contains(b))) else {
        return false;
    };
    other_digit(&mut frame[at])
}

/// Changes the last digit of Kraken's checksum; `false` when the frame has none.
pub(super) fn checksum(frame: &mut [u8]) -> bool {
    let marks: [&[u8]; 2] = [b"\"checksum\":", b"\"c\":\""];
    for mark in marks {
        let Some(at) = find(frame, mark, 0) else { continue };
        let digits = digits_at(frame, at + mark.len());
        if other_digit(&mut frame[digits]) {
            return true;
        }
    }
    false
}

fn other_digit(number: &mut [u8]) -> bool {
    let Some(digit) = number.iter_mut().rfind(|b| b.is_ascii_digit()) else { return false };
    *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
    true
}

/// Puts other digits where a number stands; with `quotes` its quotes go too.
pub(super) fn replace(frame: &mut Vec<u8>, field: Field, value: &str, quotes: bool) -> bool {
    let Some(mut at) = number(frame, field, |_| true) else { return false };
    if quotes && frame.get(at.start.wrapping_sub(1)) == Some(&b'"') && frame.get(at.end) == Some(&b'"') {
        at = at.start - 1..at.end + 1;
    }
    frame.splice(at, value.bytes());
    true
}

/// Puts a bid two per cent above where it was, which is above the asks.
pub(super) fn cross(frame: &mut Vec<u8>) -> bool {
    for mark in BID_MARKS {
        let mut from = 0;
        while let Some(at) = find(frame, mark, from) {
            from = at + mark.len();
            if mark == b"\"side\":\"bid\"" {
                let Some(price) = find(frame, b"\"price_level\":", from) else { break };
                from = price;
            }
            // The price is the next number, the size the one behind it.
            let Some(price) = next_number(frame, from) else { break };
            let Some(size) = next_number(frame, price.end) else { break };
            if frame[size].iter().any(|b| (b'1'..=b'9').contains(b)) {
                let raised = raised(&frame[price.clone()]);
                frame.splice(price, raised);
                return true;
            }
        }
    }
    false
}

/// A number two per cent higher, with as many decimals and no finer step than it had.
fn raised(number: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = number.iter().copied().filter(u8::is_ascii_digit).collect();
    let zeros = digits.iter().rev().take_while(|b| **b == b'0').count();
    let mantissa = digits[..digits.len() - zeros].iter().fold(0_u128, |sum, b| sum * 10 + u128::from(b - b'0'));
    let decimals = number.iter().position(|b| *b == b'.').map_or(0, |point| number.len() - point - 1);
    let mut raised = (mantissa + (mantissa / 50).max(1)).to_string().into_bytes();
    raised.extend(std::iter::repeat_n(b'0', zeros));
    if decimals > 0 {
        while raised.len() <= decimals {
            raised.insert(0, b'0');
        }
        raised.insert(raised.len() - decimals, b'.');
    }
    raised
}

/// Shifts every time of a frame; `false` when it has none.
pub(super) fn skew(frame: &mut Vec<u8>, by_ms: i64) -> bool {
    let mut shifted = false;
    let mut from = 0;
    while let Some(quote) = frame[from..].iter().position(|b| *b == b'"').map(|at| at + from) {
        let start = quote + 1;
        let len = frame[start..].iter().position(|b| *b == b'"').unwrap_or(frame.len() - start);
        let new = shifted_time(&frame[start..start + len], by_ms);
        from = start + len;
        if let Some(new) = new {
            from = start + new.len() + 1;
            frame.splice(start..start + len, new);
            shifted = true;
        } else if matches!(&frame[start..start + len], b"E" | b"T")
            && let Some(number) = next_number(frame, start + len).filter(|n| n.start == start + len + 2)
            && matches!(number.len(), 13 | 16)
            && let Ok(time) = String::from_utf8_lossy(&frame[number.clone()]).parse::<i64>()
        {
            let unit = if number.len() == 16 { 1000 } else { 1 };
            let new = time.saturating_add(by_ms.saturating_mul(unit)).to_string();
            from = number.start + new.len();
            frame.splice(number, new.into_bytes());
            shifted = true;
        }
    }
    shifted
}

/// RFC 3339, or Kraken v1's seconds with six decimals.
fn shifted_time(text: &[u8], by_ms: i64) -> Option<Vec<u8>> {
    if text.len() == 17 && text[10] == b'.' {
        let (micros, len) = scan::fixed(text, 6).ok()?;
        let moved = micros.saturating_add(by_ms.saturating_mul(1000));
        return (len == text.len())
            .then(|| format!("{}.{:06}", moved / 1_000_000, moved.rem_euclid(1_000_000)).into_bytes());
    }
    if text.len() < 20 || text[10] != b'T' {
        return None;
    }
    let (ns, len) = scan::rfc3339_nanos(text).ok()?;
    if len != text.len() {
        return None;
    }
    let decimals = text.iter().position(|b| *b == b'.').map_or(0, |point| text.len() - point - 2);
    let ns = ns.saturating_add_signed(by_ms.saturating_mul(1_000_000));
    let mut out = Vec::new();
    push_rfc3339(UnixNanos(ns), decimals.min(9) as u8, &mut out);
    Some(out)
}

/// Where the first number of a field stands, without quotes.
fn number(frame: &[u8], field: Field, fits: impl Fn(&[u8]) -> bool) -> Option<Range<usize>> {
    let marks: &[&[u8]] = if field == Field::Size { &SIZE_MARKS } else { &PRICE_MARKS };
    for mark in marks {
        // In a list without names the size comes behind the price and ends the list.
        let listed = *mark == b"\",\"";
        let mut from = 0;
        while let Some(at) = find(frame, mark, from) {
            let digits = digits_at(frame, at + mark.len());
            let ends = || frame[digits.end..].starts_with(b"\"]") || is_before_a_time(&frame[digits.end..]);
            if !digits.is_empty() && (!listed || ends()) && fits(&frame[digits.clone()]) {
                return Some(digits);
            }
            from = at + mark.len();
        }
    }
    None
}

/// Kraken v1 puts seconds with six decimals behind a size.
fn is_before_a_time(rest: &[u8]) -> bool {
    rest.starts_with(b"\",\"") && rest.get(13) == Some(&b'.') && rest[3..13].iter().all(u8::is_ascii_digit)
}

fn digits_at(frame: &[u8], start: usize) -> Range<usize> {
    let len = frame[start..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
    start..start + len
}

/// The next number that is a value: behind a colon, a bracket, a comma or a quote.
fn next_number(frame: &[u8], from: usize) -> Option<Range<usize>> {
    let mut start = from;
    loop {
        start += frame.get(start..)?.iter().position(u8::is_ascii_digit)?;
        let digits = digits_at(frame, start);
        let before = start.checked_sub(1).and_then(|at| frame.get(at));
        if before.is_some_and(|b| matches!(b, b':' | b'"' | b'[' | b',')) {
            return Some(digits);
        }
        start = digits.end;
    }
}

fn find(text: &[u8], mark: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(mark.len()).position(|window| window == mark).map(|at| at + from)
}

/// The venue's ids in a frame, in its order: of its trades, of a book's change, of an order's step.
pub(super) fn ids(frame: &[u8], kind: StreamKind) -> Vec<(u64, u64)> {
    match kind {
        StreamKind::Trade => {
            let named = all(frame, b"\"trade_id\":");
            if !named.is_empty() {
                return named;
            }
            if find(frame, b"\"e\":\"trade\"", 0).is_some() {
                return all(frame, b"\"t\":");
            }
            if find(frame, b"\"e\":\"aggTrade\"", 0).is_some() {
                return all(frame, b"\"a\":");
            }
            all(frame, b"\"i\":")
        }
        StreamKind::Book => match (all(frame, b"\"U\":").first(), all(frame, b"\"u\":").first()) {
            (Some(first), Some(last)) => vec![(first.0, last.0)],
            _ => vec![],
        },
        StreamKind::Order => all(frame, b"\"sequence\":"),
        _ => vec![],
    }
}

fn all(frame: &[u8], mark: &[u8]) -> Vec<(u64, u64)> {
    let (mut from, mut found) = (0, Vec::new());
    while let Some(at) = find(frame, mark, from) {
        from = at + mark.len();
        let start = from + usize::from(frame.get(from) == Some(&b'"'));
        let digits = digits_at(frame, start);
        if let Ok(id) = String::from_utf8_lossy(&frame[digits]).parse() {
            found.push((id, id));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(frame: &str, change: impl Fn(&mut Vec<u8>) -> bool) -> Option<String> {
        let mut bytes = frame.as_bytes().to_vec();
        change(&mut bytes).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn one_place_of_a_frame_is_changed() {
        let kraken = r#"{"symbol":"A/B","bids":[{"price":64123.4,"qty":0.5}],"asks":[],"checksum":2439117997,"timestamp":"2026-01-02T03:04:05.123456Z"}"#;
        let binance = r#"{"e":"trade","E":1700000000123,"s":"AB","t":55,"p":"1.50","q":"2.00","T":1700000000123}"#;
        let depth = r#"{"e":"depthUpdate","U":7,"u":9,"b":[["100.00000000","0.0"],["64123.40000000","0.5"]],"a":[]}"#;
        let v1 = r#"[1,{"b":[["100.5","0.2","1700000000.123456"]],"c":"123"},"book-10","XBT/USD"]"#;
        let exchange =
            r#"{"type":"l2update","changes":[["sell","10","1"],["buy","10.00","2"]],"time":"2026-01-02T03:04:05Z"}"#;
        let advanced = r#""updates":[{"side":"bid","event_time":"2026-01-02T03:04:05Z","price_level":"10","new_quantity":"0"},{"side":"bid","event_time":"2026-01-02T03:04:05Z","price_level":"20","new_quantity":"3"}]"#;
        let with = |frame: &str, old: &str, new: &str| Some(frame.replacen(old, new, 1));
        assert_eq!(changed(kraken, |f| checksum(f)), with(kraken, "7997", "7998"));
        assert_eq!(changed(v1, |f| checksum(f)), with(v1, "123\"}", "124\"}"));
        assert_eq!(changed(binance, |f| checksum(f)), None);
        assert_eq!(changed(kraken, cross), with(kraken, "64123.4", "65405.8"));
        assert_eq!(changed(v1, cross), with(v1, "100.5", "102.5"));
        assert_eq!(changed(exchange, cross), with(exchange, "10.00", "20.00"));
        assert_eq!(changed(advanced, cross), with(advanced, "\"20\"", "\"30\""));
        assert_eq!(changed(kraken, |f| skew(f, -1500)), with(kraken, "05.123456", "03.623456"));
        assert_eq!(changed(v1, |f| skew(f, 1000)), with(v1, "0000.1", "0001.1"));
        let late = binance.replace("0000123", "0001123");
        assert_eq!(changed(binance, |f| skew(f, 1000)), Some(late));
        assert_eq!(changed(binance, |f| replace(f, Field::Size, "1e400", false)), with(binance, "2.00", "1e400"));
        assert_eq!(changed(binance, |f| replace(f, Field::Price, "true", true)), with(binance, "\"1.50\"", "true"));
        assert_eq!(changed(v1, |f| replace(f, Field::Size, "-1", false)), with(v1, "\"0.2", "\"-1"));
        assert_eq!(changed(depth, |f| corrupt(f)), with(depth, "\"0.5\"", "\"0.6\""));
        assert_eq!(changed(depth, cross), None, "the first bid is taken away");
    }

    #[test]
    fn ids_are_read() {
        let read = |frame: &str, kind| ids(frame.as_bytes(), kind);
        assert_eq!(read(r#"{"trade_id":5},{"trade_id":6}"#, StreamKind::Trade), [(5, 5), (6, 6)]);
        assert_eq!(read(r#"{"trade_id":"5"}"#, StreamKind::Trade), [(5, 5)]);
        assert_eq!(read(r#"{"e":"trade","t":55,"T":9}"#, StreamKind::Trade), [(55, 55)]);
        assert_eq!(read(r#"{"T":"t","i":7,"t":"x"}"#, StreamKind::Trade), [(7, 7)]);
        assert_eq!(read(r#"{"e":"depthUpdate","U":7,"u":9}"#, StreamKind::Book), [(7, 9)]);
    }
}
