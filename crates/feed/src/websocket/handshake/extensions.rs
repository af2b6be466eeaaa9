//! The `Sec-WebSocket-Extensions` header: offering, accepting and judging permessage-deflate (RFC 7692 §5, §7.1).
//!
//! A client is strict: what a server agrees to must have been offered and be in order, or the connection is refused. A
//! server is choosy: it takes the first offer that it can keep to, and goes without compression when there is none.

use super::super::deflate::{Deflate, DeflateOffer, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use super::HandshakeError;

/// Header name.
pub(super) const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
/// The one extension known here.
const DEFLATE: &str = "permessage-deflate";

/// One extension as named by a peer, with its parameters in order.
struct Named<'h> {
    name: &'h str,
    parameters: Vec<(&'h str, Option<&'h str>)>,
}

/// The header value that offers compression. That our own messages stand alone is promised outright: they are not
/// compressed, and so the server need not hold a window for them.
pub(super) fn offer(offer: &DeflateOffer) -> String {
    let mut value = format!("{DEFLATE}; client_no_context_takeover; client_max_window_bits");
    if offer.server_no_context_takeover {
        value.push_str("; server_no_context_takeover");
    }
    if let Some(bits) = offer.server_max_window_bits {
        value.push_str(&format!("; server_max_window_bits={bits}"));
    }
    value
}

/// What the server's answer agrees to. `None` when it goes without compression.
pub(super) fn agreed(
    headers: &[(String, String)],
    offer: Option<&DeflateOffer>,
) -> Result<Option<Deflate>, HandshakeError> {
    let value = whole(headers);
    let extensions = parse(&value);
    let Some(first) = extensions.first() else { return Ok(None) };
    let Some(offer) = offer.filter(|_| extensions.len() == 1 && first.name.eq_ignore_ascii_case(DEFLATE)) else {
        return Err(HandshakeError::NotOffered { name: EXTENSIONS, value });
    };
    let terms = terms(&first.parameters, false)
        .and_then(|terms| keeps(&terms, offer))
        .map_err(|problem| HandshakeError::Extension { problem, value: value.clone() })?;
    Ok(Some(terms))
}

/// A server's choice among a client's offers: the terms, and the header value that says so. `None` when the client
/// offers nothing that can be kept to.
pub fn accept_deflate(headers: &[(String, String)]) -> Option<(Deflate, String)> {
    let value = whole(headers);
    let offers = parse(&value);
    let mut good = offers.iter().filter(|offer| offer.name.eq_ignore_ascii_case(DEFLATE)).filter_map(|offer| {
        let terms = terms(&offer.parameters, true).ok()?;
        (terms.server_max_window_bits > WINDOW_BITS_MIN).then_some(terms)
    });
    let terms = good.next()?;
    let mut answer = DEFLATE.to_owned();
    if terms.server_no_context_takeover {
        answer.push_str("; server_no_context_takeover");
    }
    if terms.client_no_context_takeover {
        answer.push_str("; client_no_context_takeover");
    }
    if terms.server_max_window_bits < WINDOW_BITS_MAX {
        answer.push_str(&format!("; server_max_window_bits={}", terms.server_max_window_bits));
    }
    if terms.client_max_window_bits < WINDOW_BITS_MAX {
        answer.push_str(&format!("; client_max_window_bits={}", terms.client_max_window_bits));
    }
    Some((terms, answer))
}

/// All lines of the header as one list.
fn whole(headers: &[(String, String)]) -> String {
    let lines = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(EXTENSIONS));
    lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
}

fn parse(value: &str) -> Vec<Named<'_>> {
    value.split(',').filter(|part| !part.trim().is_empty()).map(named).collect()
}

fn named(part: &str) -> Named<'_> {
    let mut pieces = part.split(';').map(str::trim);
    let name = pieces.next().unwrap_or_default();
    let parameters = pieces.map(|piece| match piece.split_once('=') {
        // A value may come in quotes (RFC 7692 §5.2).
        Some((key, value)) => (key.trim(), Some(value.trim().trim_matches('"'))),
        None => (piece, None),
    });
    Named { name, parameters: parameters.collect() }
}

/// Reads the parameters. Only in an offer may `client_max_window_bits` come without a value.
fn terms(parameters: &[(&str, Option<&str>)], offer: bool) -> Result<Deflate, &'static str> {
    let mut terms = Deflate::default();
    for (index, (key, value)) in parameters.iter().enumerate() {
        if parameters[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err("a parameter comes twice");
        }
        match (*key, *value) {
            ("server_no_context_takeover", None) => terms.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => terms.client_no_context_takeover = true,
            ("server_no_context_takeover" | "client_no_context_takeover", Some(_)) => {
                return Err("a context takeover parameter has a value");
            }
            ("client_max_window_bits", None) if offer => {}
            ("server_max_window_bits", bits) => terms.server_max_window_bits = window_bits(bits)?,
            ("client_max_window_bits", bits) => terms.client_max_window_bits = window_bits(bits)?,
            _ => return Err("a parameter is unknown"),
        }
    }
    Ok(terms)
}

fn window_bits(value: Option<&str>) -> Result<u8, &'static str> {
    let digits = value.filter(|v| !v.starts_with('0') && v.bytes().all(|b| b.is_ascii_digit()));
    let bits = digits.and_then(|v| v.parse().ok());
    bits.filter(|bits| (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(bits)).ok_or("a window is not of 8 to 15 bits")
}

/// Whether the server keeps to what was asked of it.
fn keeps(terms: &Deflate, offer: &DeflateOffer) -> Result<Deflate, &'static str> {
    if offer.server_no_context_takeover && !terms.server_no_context_takeover {
        return Err("server_no_context_takeover was asked for and not agreed to");
    }
    if offer.server_max_window_bits.is_some_and(|asked| terms.server_max_window_bits > asked) {
        return Err("the server's window is larger than was asked for");
    }
    Ok(*terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> Vec<(String, String)> {
        values.iter().map(|v| ("sec-websocket-extensions".to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_is_offered_is_accepted_and_agreed() {
        let plain = DeflateOffer::default();
        let narrow = DeflateOffer { server_no_context_takeover: true, server_max_window_bits: Some(10) };
        for asked in [plain, narrow] {
            let (terms, answer) = accept_deflate(&headers(&[&offer(&asked)])).expect("an offer that can be kept to");
            assert_eq!(terms.server_no_context_takeover, asked.server_no_context_takeover);
            assert_eq!(terms.server_max_window_bits, asked.server_max_window_bits.unwrap_or(15));
            assert!(terms.client_no_context_takeover);
            assert_eq!(agreed(&headers(&[&answer]), Some(&asked)).expect("in order"), Some(terms), "{answer}");
        }
        assert_eq!(agreed(&[], Some(&plain)).expect("a server may go without"), None);
    }

    #[test]
    fn a_server_takes_the_first_offer_it_can_keep_to() {
        let offers = "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8, \
            permessage-deflate; server_max_window_bits=\"9\"; client_max_window_bits, permessage-deflate";
        let (terms, answer) = accept_deflate(&headers(&[offers])).expect("the third can be kept to");
        assert_eq!(terms, Deflate { server_max_window_bits: 9, ..Deflate::default() });
        assert_eq!(answer, "permessage-deflate; server_max_window_bits=9");
        let split = headers(&["permessage-deflate; unknown", "permessage-deflate; client_max_window_bits=11"]);
        assert_eq!(accept_deflate(&split).expect("the second line").0.client_max_window_bits, 11);
        for bad in ["", "permessage-bzip2", "permessage-deflate; server_max_window_bits"] {
            assert!(accept_deflate(&headers(&[bad])).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_answer_out_of_order_names_what_is_wrong() {
        let narrow = DeflateOffer { server_no_context_takeover: true, server_max_window_bits: Some(10) };
        let plain = DeflateOffer::default();
        for (offer, answer, needle) in [
            (None, "permessage-deflate", "not offered"),
            (Some(&plain), "permessage-bzip2", "not offered"),
            (Some(&plain), "permessage-deflate, permessage-deflate", "not offered"),
            (Some(&plain), "permessage-deflate; level=9", "unknown"),
            (Some(&plain), "permessage-deflate; client_max_window_bits", "8 to 15"),
            (Some(&plain), "permessage-deflate; server_max_window_bits=7", "8 to 15"),
            (Some(&plain), "permessage-deflate; server_max_window_bits=16", "8 to 15"),
            (Some(&plain), "permessage-deflate; server_max_window_bits=09", "8 to 15"),
            (Some(&plain), "permessage-deflate; server_no_context_takeover=1", "has a value"),
            (Some(&plain), "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "comes twice"),
            (Some(&narrow), "permessage-deflate; server_max_window_bits=10", "asked for and not agreed"),
            (
                Some(&narrow),
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
                "larger than was asked",
            ),
        ] {
            let error = agreed(&headers(&[answer]), offer).expect_err(answer).to_string();
            assert!(error.contains(needle), "{answer}: {error}");
        }
    }
}
