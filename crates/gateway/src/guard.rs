//! From where a request may come: it must name this server, and a page that asks must be one of this server's.
//!
//! Any web page can make a browser open connections to loopback. `Host` stops a foreign name that was made to resolve
//! here; `Origin` stops a foreign page, one of another port of this machine too, as cookies ignore ports. What a cookie
//! proves, a page must ask for by an origin of ours, and with a header that other sites cannot send. Pure.

use axum::http::{HeaderMap, Method, header};

use crate::secret::{csrf, same};

/// What a page repeats to show that it could read the session.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// The names of this machine to itself.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The names by which this server may be called.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the Host header must name this server: {0}")]
    Host(String),
    #[error("pages of other sites may not ask this: the Origin must be {0}")]
    Origin(String),
    #[error("a request with a session, or to begin one, must have an Origin: {0}")]
    NoOrigin(String),
    #[error("the request was made by a page of another site")]
    CrossSite,
    #[error("a change by a session needs the header {CSRF_HEADER} with the session's csrf value")]
    Csrf,
}

/// Whether a request changes something or opens a socket, as such must show from where it comes.
pub(crate) fn is_unsafe(method: &Method, headers: &HeaderMap) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    !reads || headers.contains_key(header::UPGRADE)
}

impl Names {
    /// A server at this port, on loopback's names when it listens there, and on these others, as clients write them.
    pub(crate) fn new(loopback: bool, port: u16, secure: bool, others: &[String]) -> Names {
        let own = LOOPBACK_NAMES.iter().filter(|_| loopback).map(|name| format!("{name}:{port}"));
        let hosts: Vec<String> = own.chain(others.iter().map(|name| name.to_ascii_lowercase())).collect();
        let scheme = if secure { "https" } else { "http" };
        let origins = hosts.iter().map(|host| format!("{scheme}://{host}")).collect();
        Names { hosts, origins }
    }

    /// What every request must be, whoever sends it.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match only(headers, header::HOST.as_str()) {
            Ok(Some(host)) if self.hosts.contains(&host.to_ascii_lowercase()) => {}
            _ => return Err(Refusal::Host(self.hosts.join(", "))),
        }
        match only(headers, header::ORIGIN.as_str()) {
            Ok(None) => {}
            Ok(Some(origin)) if self.origins.contains(&origin.to_ascii_lowercase()) => {}
            _ => return Err(Refusal::Origin(self.origins.join(", "))),
        }
        // A browser says of itself when another site makes it ask. Following a link is fine: pages do nothing by being
        // looked at.
        let told = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let foreign = matches!(told("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
        if foreign && told("sec-fetch-mode") != Some(b"navigate") {
            return Err(Refusal::CrossSite);
        }
        Ok(())
    }

    /// What a request must be that acts by a session, or by nothing yet, and changes something or opens a socket.
    pub(crate) fn check_page(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(header::ORIGIN) { Ok(()) } else { Err(Refusal::NoOrigin(self.origins.join(", "))) }
    }
}

/// Whether the request repeats what follows from the session.
pub(crate) fn check_csrf(headers: &HeaderMap, session: &str) -> Result<(), Refusal> {
    match only(headers, CSRF_HEADER) {
        Ok(Some(told)) if same(told.as_bytes(), csrf(session).as_bytes()) => Ok(()),
        _ => Err(Refusal::Csrf),
    }
}

/// A header that may be there once, as text.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn names() -> Names {
        Names::new(true, 8080, false, &["plant.example.org:8080".to_owned()])
    }

    fn judged(all: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        names().check(&headers)
    }

    #[test]
    fn the_host_must_be_this_server() {
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LocalHost:8080", "plant.example.org:8080"] {
            assert_eq!(judged(&[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:",
            "localhost:8081",
            "localhost:+8080",
            "localhost:88080",
            "localhost.:8080",
            "localhost.example:8080",
            "example.com:8080",
            "plant.example.org",
            "127.0.0.1.example.com:8080",
            "[::1]x:8080",
            "0.0.0.0:8080",
        ] {
            assert!(matches!(judged(&[("host", host)]), Err(Refusal::Host(_))), "{host}");
        }
        assert!(matches!(judged(&[]), Err(Refusal::Host(_))));
        let twice = [("host", "localhost:8080"), ("host", "example.com")];
        assert!(matches!(judged(&twice), Err(Refusal::Host(_))));
    }

    #[test]
    fn a_page_must_be_one_of_this_server() {
        let from = |origin| judged(&[("host", "localhost:8080"), ("origin", origin)]);
        for origin in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "http://LOCALHOST:8080"] {
            assert_eq!(from(origin), Ok(()), "{origin}");
        }
        for origin in [
            "null",
            "",
            "localhost",
            "file://localhost",
            "https://example.com",
            "https://localhost:8080",
            "http://localhost",
            "http://localhost:5173",
            "http://localhost.example.com",
            "http://localhost:8080.example.com",
            "http://localhost:8080@example.com",
            "http://example.com/http://localhost:8080",
        ] {
            assert!(matches!(from(origin), Err(Refusal::Origin(_))), "{origin}");
        }
        let host = ("host", "localhost:8080");
        let twice = [host, ("origin", "http://localhost:8080"), ("origin", "https://example.com")];
        assert!(matches!(judged(&twice), Err(Refusal::Origin(_))));
        for site in ["cross-site", "same-site"] {
            assert_eq!(judged(&[host, ("sec-fetch-site", site), ("sec-fetch-mode", "cors")]), Err(Refusal::CrossSite));
            assert_eq!(judged(&[host, ("sec-fetch-site", site)]), Err(Refusal::CrossSite));
            assert_eq!(judged(&[host, ("sec-fetch-site", site), ("sec-fetch-mode", "navigate")]), Ok(()));
        }
        assert_eq!(judged(&[host, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")]), Ok(()));
    }

    #[test]
    fn changes_by_a_session_repeat_its_csrf_value() {
        let with = |value: &str| {
            HeaderMap::from_iter([(CSRF_HEADER.parse().expect("a name"), value.parse().expect("a value"))])
        };
        assert_eq!(check_csrf(&with(&csrf("mine")), "mine"), Ok(()));
        assert_eq!(check_csrf(&with(&csrf("another")), "mine"), Err(Refusal::Csrf));
        assert_eq!(check_csrf(&with(""), "mine"), Err(Refusal::Csrf));
        assert_eq!(check_csrf(&HeaderMap::new(), "mine"), Err(Refusal::Csrf));
        assert!(matches!(names().check_page(&HeaderMap::new()), Err(Refusal::NoOrigin(_))));
        let upgrade: HeaderMap = HeaderMap::from_iter([(header::UPGRADE, HeaderValue::from_static("websocket"))]);
        for (method, headers, expected) in [
            (Method::GET, HeaderMap::new(), false),
            (Method::HEAD, HeaderMap::new(), false),
            (Method::GET, upgrade, true),
            (Method::POST, HeaderMap::new(), true),
            (Method::PUT, HeaderMap::new(), true),
            (Method::DELETE, HeaderMap::new(), true),
        ] {
            assert_eq!(is_unsafe(&method, &headers), expected, "{method}");
        }
    }
}
