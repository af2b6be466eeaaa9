//! How each venue says that a client came too often, or that it is not there: status, body and headers.

use model::UnixNanos;

use crate::http::Response;
use crate::options::EmulatedVenue;

/// The answer to whoever comes while a fault refuses; `wait_s` seconds are left.
pub(crate) fn answer(venue: EmulatedVenue, status: u16, wait_s: u64, path: &str, now: UnixNanos) -> Response {
    let until_ms = now.0 / 1_000_000 + wait_s * 1000;
    let limited = |response: Response, limit: u64| {
        let reset = now.0 / 1_000_000_000 + wait_s;
        response
            .header("X-RateLimit-Limit", limit)
            .header("X-RateLimit-Remaining", 0)
            .header("X-RateLimit-Reset", reset)
    };
    let response = match (venue, status) {
        (_, 503) => Response::json(503, "{\"error\":\"the emulator refuses connections for now\"}"),
        (EmulatedVenue::Binance, 418) => Response::json(
            418,
            format!(
                "{{\"code\":-1003,\"msg\":\"Way too much request weight used; IP banned until {until_ms}. Please use \
                 WebSocket Streams for live updates to avoid bans.\"}}"
            ),
        ),
        (EmulatedVenue::Binance, _) => {
            let text = "{\"code\":-1003,\"msg\":\"Too much request weight used; current limit is 6000 request weight \
                        per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.\"}";
            Response::json(status, text).header("X-MBX-USED-WEIGHT-1M", 6001)
        }
        (EmulatedVenue::Kraken, _) => Response::json(status, "{\"error\":[\"EAPI:Rate limit exceeded\"]}"),
        (EmulatedVenue::Coinbase, _) if path.starts_with("/api/v3") => {
            let text = "{\"errors\":[{\"id\":\"rate_limit_exceeded\",\"message\":\"Too many requests\"}]}";
            limited(Response::json(status, text), 10)
        }
        (EmulatedVenue::Coinbase, _) => {
            limited(Response::json(status, "{\"message\":\"Public rate limit exceeded\"}"), 10)
        }
        (EmulatedVenue::Alpaca, _) => limited(Response::json(status, "{\"message\": \"too many requests.\"}"), 200),
    };
    response.header("Retry-After", wait_s)
}
