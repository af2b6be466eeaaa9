//! Where to connect: the parts of a `ws`, `wss`, `http` or `https` URL, checked once.

use std::fmt;

/// Protocol of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// WebSocket over TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// HTTP over TCP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// Whether TLS is spoken.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Wss | Self::Https)
    }

    /// Whether it is a WebSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn default_port(self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A parsed URL. Its `Display` leaves the query out, since venues put keys there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
    target: String,
}

/// The URL cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad URL {url:?}: {reason}")]
pub struct BadUrl {
    /// The URL up to its query.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Endpoint {
    /// Parses and checks a URL.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        parse(url).map_err(|reason| BadUrl { url: presentable(url), reason })
    }

    /// Protocol.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they go into the request line; at least `/`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Value of the `Host` header: the port only when it is not the scheme's own.
    pub fn host_header(&self) -> String {
        let host = bracketed(&self.host);
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme.name(), self.host_header())
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// What an error may repeat of a URL: no query, no credentials.
fn presentable(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match (plain.find("://"), plain.rfind('@')) {
        (Some(start), Some(at)) if start < at => format!("{}://…{}", &plain[..start], &plain[at..]),
        _ => plain.to_owned(),
    }
}

fn parse(url: &str) -> Result<Endpoint, &'static str> {
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("only printable ASCII without spaces is allowed; percent-encode the rest");
    }
    let (scheme, rest) = url.split_once("://").ok_or("no scheme; begin with ws://, wss://, http:// or https://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err("unknown scheme; use ws, wss, http or https"),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("user and password in a URL are not supported; use headers");
    }
    if target.contains('#') {
        return Err("a fragment (#…) has no meaning for a connection");
    }
    let (host, port) = split_port(authority)?;
    let port = match port {
        None => scheme.default_port(),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or("the port must be 1 to 65535")?
        }
        Some(_) => return Err("the port must be a number"),
    };
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Endpoint { scheme, host: host.to_ascii_lowercase(), port, target })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(v6) = authority.strip_prefix('[') {
        let (host, rest) = v6.split_once(']').ok_or("an IPv6 address needs its closing bracket")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in brackets must be an IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("only a port may follow an address in brackets"),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err("an IPv6 address goes in brackets");
    }
    if host.is_empty() {
        return Err("no host");
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err("the host has a character that names do not have");
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_good_urls() {
        for (url, scheme, host, port, target, host_header) in [
            ("wss://ws.kraken.com/v2", Scheme::Wss, "ws.kraken.com", 443, "/v2", "ws.kraken.com"),
            ("ws://127.0.0.1:9001", Scheme::Ws, "127.0.0.1", 9001, "/", "127.0.0.1:9001"),
            ("https://API.x.com?a=b/c", Scheme::Https, "api.x.com", 443, "/?a=b/c", "api.x.com"),
            ("http://[::1]:8080/p?q=1", Scheme::Http, "::1", 8080, "/p?q=1", "[::1]:8080"),
            (
                "wss://stream.x.com:9443/stream?streams=a@b/c@d",
                Scheme::Wss,
                "stream.x.com",
                9443,
                "/stream?streams=a@b/c@d",
                "stream.x.com:9443",
            ),
        ] {
            let endpoint = Endpoint::parse(url).expect(url);
            assert_eq!(endpoint.scheme(), scheme, "{url}");
            assert_eq!(endpoint.host(), host, "{url}");
            assert_eq!(endpoint.port(), port, "{url}");
            assert_eq!(endpoint.target(), target, "{url}");
            assert_eq!(endpoint.host_header(), host_header, "{url}");
        }
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (url, needle) in [
            ("ws.kraken.com", "no scheme"),
            ("ftp://x", "unknown scheme"),
            ("ws://", "no host"),
            ("ws:///path", "no host"),
            ("ws://host:port", "must be a number"),
            ("ws://host:", "1 to 65535"),
            ("ws://host:+80", "must be a number"),
            ("ws://host:0", "1 to 65535"),
            ("ws://host:65536", "1 to 65535"),
            ("ws://a:b@host", "use headers"),
            ("ws://::1/x", "in brackets"),
            ("ws://[::1/x", "closing bracket"),
            ("ws://[::1]x", "only a port"),
            ("ws://[host]", "IPv6 address"),
            ("ws://ho st/", "printable"),
            ("ws://host/a\r\nX: y", "printable"),
            ("ws://host/#x", "fragment"),
            ("ws://ho%20st/", "names do not have"),
        ] {
            let error = Endpoint::parse(url).expect_err(url).to_string();
            assert!(error.contains(needle), "{url}: {error}");
        }
    }

    #[test]
    fn neither_errors_nor_logs_repeat_secrets() {
        let endpoint = Endpoint::parse("wss://x.com/ws?listenKey=SECRET").expect("a good URL");
        assert_eq!(endpoint.to_string(), "wss://x.com/ws");
        let error = Endpoint::parse("wss://user:SECRET@x.com/?k=SECRET").expect_err("credentials").to_string();
        assert!(!error.contains("SECRET"), "{error}");
    }
}
