//! Who may ask: a request must name this server, and a page that asks must come from this machine.
//!
//! Any web page can make a browser open connections to loopback. `Host` stops a foreign name that was made to resolve
//! to loopback; `Origin` stops a foreign page.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The names of this machine to itself.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Refuses what [`check`] refuses.
pub(crate) async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    match check(request.headers(), port) {
        Ok(()) => next.run(request).await,
        Err(refusal) => (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response(),
    }
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the Host header must be localhost, 127.0.0.1 or [::1] with port {0}")]
    Host(u16),
    #[error("pages of other sites may not connect: the Origin must be absent or on localhost, 127.0.0.1 or [::1]")]
    Origin,
}

/// Judges the headers of a request to the server on this port.
pub(crate) fn check(headers: &HeaderMap, port: u16) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or("");
    if hosts.next().is_some() || split_port(host) != Some((true, Some(port))) {
        return Err(Refusal::Host(port));
    }
    let ours = |origin: &str| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.and_then(split_port).is_some_and(|(loopback, _)| loopback)
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if origins.all(|origin| origin.to_str().is_ok_and(ours)) { Ok(()) } else { Err(Refusal::Origin) }
}

/// Whether the name is loopback's, and the port if one is named; `None` when it is no port.
fn split_port(authority: &str) -> Option<(bool, Option<u16>)> {
    let lower = authority.to_ascii_lowercase();
    let Some(rest) = LOOPBACK_NAMES.iter().find_map(|name| lower.strip_prefix(name)) else {
        return Some((false, None));
    };
    match rest.strip_prefix(':') {
        None => Some((rest.is_empty(), None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some((true, Some(digits.parse().ok()?))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn judged(host: &str, origin: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a header"));
        }
        check(&headers, 8080)
    }

    #[test]
    fn the_host_must_be_this_server() {
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LocalHost:8080"] {
            assert_eq!(judged(host, None), Ok(()), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:",
            "localhost:8081",
            "localhost:+8080",
            "localhost:88080",
            "localhost.example:8080",
            "example.com:8080",
            "127.0.0.1.example.com:8080",
            "[::1]x:8080",
            "0.0.0.0:8080",
        ] {
            assert_eq!(judged(host, None), Err(Refusal::Host(8080)), "{host}");
        }
        assert_eq!(check(&HeaderMap::new(), 8080), Err(Refusal::Host(8080)));
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, HeaderValue::from_static("localhost:8080"));
        twice.append(header::HOST, HeaderValue::from_static("example.com"));
        assert_eq!(check(&twice, 8080), Err(Refusal::Host(8080)));
    }

    #[test]
    fn a_page_must_come_from_this_machine() {
        for origin in ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:8080", "http://LOCALHOST"] {
            assert_eq!(judged("localhost:8080", Some(origin)), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "",
            "localhost",
            "file://localhost",
            "https://example.com",
            "http://localhost.example.com",
            "http://localhost:80.example.com",
            "http://localhost@example.com",
            "http://example.com/http://localhost",
        ] {
            assert_eq!(judged("localhost:8080", Some(origin)), Err(Refusal::Origin), "{origin}");
        }
    }
}
