//! What is too large, too slow, too much or out of place is refused or bounded, and costs a stream nothing.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gateway::{BODY_BYTES_MAX, IDLE_MAX};
use market::{Market, answer, ask, bearer, body};
use serde_json::json;

const HANG: Duration = Duration::from_secs(30);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

/// Whether the other side has hung up, waiting for it.
fn is_over(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let (host, key) = (format!("Host: {address}"), format!("Authorization: {}", bearer(&market.key)));
    let put = ["PUT /v1/layouts/big", &host, &key, "Content-Type: application/json"];
    let fits = json!({"x": "y".repeat(BODY_BYTES_MAX - 100)}).to_string();
    assert_eq!(ask(address, &put, &fits).0, 200);
    let large = json!({"x": "y".repeat(BODY_BYTES_MAX)}).to_string();
    let (status, told) = ask(address, &put, &large);
    assert_eq!((status, body(&told)["code"].clone()), (413, json!("too_large")));
    // Without a length beforehand.
    let mut stream = connect(address);
    write!(stream, "{} HTTP/1.1\r\n{host}\r\n{key}\r\nContent-Type: application/json\r\n", put[0]).unwrap();
    let _ = write!(
        stream,
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_eq!(answer(&mut stream).0, 413);
    // A header, headers, and an address.
    let long = format!("X-Long: {}", "y".repeat(64 * 1024));
    assert_eq!(ask(address, &["GET /healthz", &host, &long], "").0, 431);
    let many: Vec<_> = (0..200).map(|i| format!("X-{i}: y")).collect();
    let lines: Vec<_> = ["GET /healthz", &host].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert_eq!(ask(address, &lines, "").0, 431);
    let path = format!("GET /{}", "y".repeat(64 * 1024));
    assert!([414, 431].contains(&ask(address, &[&path, &host], "").0));
    assert_eq!(market.get("/healthz").0, 200, "others are served");
}

#[test]
fn who_sends_slowly_is_cut_off() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let (mut silent, mut headers, mut content) = (connect(address), connect(address), connect(address));
    write!(headers, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nX-Slow: ").unwrap();
    let key = bearer(&market.key);
    let head = "PUT /v1/layouts/slow HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 10\r\n";
    write!(content, "{head}Host: {address}\r\nAuthorization: {key}\r\n\r\n{{").unwrap();
    assert_eq!(market.get("/healthz").0, 200, "others are served");
    assert!(is_over(&mut silent) && is_over(&mut headers));
    let mut told = [0; 12];
    content.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 408");
}

/// So many sockets that say nothing: some hundreds, or as many as the variable says.
fn idle_sockets() -> usize {
    std::env::var("ALPHAPULSE_TEST_IDLE").map_or(600, |text| text.parse().expect("a number of sockets"))
}

#[test]
fn idle_sockets_make_room_and_a_stream_loses_nothing() {
    let most = idle_sockets();
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let mut market = Market::open(1 << 16);
    let address = market.gateway.addr();
    let mut client = market.client();
    client.subscribe(json!({"types": ["trade"], "venues": ["kraken"]}));
    let mut idle = Vec::with_capacity(most);
    let mut next = 0;
    for i in 0..most {
        idle.push(connect(address));
        if i % 20 == 0 {
            market.kraken.trades("BTC/USD", next, 10);
            next += 10;
            for id in next - 10..next {
                assert_eq!(client.data()["trade_id"], id.to_string(), "while {i} sockets are idle");
            }
        }
        if i % 100 == 0 {
            assert_eq!(market.get("/healthz").0, 200, "somebody who asks is served");
        }
    }
    let told = market.get("/metrics").1;
    let open: usize = told.lines().find_map(|line| line.strip_prefix("http_connections ")).unwrap().parse().unwrap();
    assert!(open <= IDLE_MAX + 2, "{open} connections are open");
    let cut = idle.iter_mut().take(most.saturating_sub(IDLE_MAX)).filter(|stream| {
        stream.set_nonblocking(true).unwrap();
        !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(cut.count() >= most - IDLE_MAX - 64, "the oldest made room");
    client.say(r#"{"op":"ping","id":1}"#);
    assert_eq!(client.next()["type"], "pong");
}

#[test]
fn paths_lead_nowhere_else() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let (host, key) = (format!("Host: {address}"), format!("Authorization: {}", bearer(&market.key)));
    for path in [
        "/../etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/./././etc/passwd",
        "/style.css/../../keys",
        "/v1/layouts/..%2f..%2fkeys",
        "/v1/layouts/%00",
        "/v1/layouts/%ff%fe",
        "/v1/layouts/a%00b",
        "/v1/books/..%2f..%2fgateway/users.db",
        "/v1/books/kraken/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/trades/kraken/%2e%2e",
        "/v1/venues/..%5c..%5cwindows/status",
        "/login/link/..%2f..%2fkeys",
        "http://example.com/etc/passwd",
    ] {
        let (status, told) = ask(address, &[&format!("GET {path}"), &host, &key], "");
        assert!([400, 401, 403, 404].contains(&status), "{path}: {told}");
        assert!(!told.contains("root:") && !told.contains("SQLite"), "{path}: {told}");
    }
    for name in ["..%2f..%2fx", "%00", "A", "a%20b", "%E2%80%AE"] {
        let lines = [&format!("PUT /v1/layouts/{name}"), host.as_str(), &key, "Content-Type: application/json"];
        assert_eq!(ask(address, &lines, "{}").0, 400, "{name}");
    }
}

#[test]
fn answers_say_what_browsers_may_do_with_them() {
    let market = Market::open(1024);
    for path in ["/", "/login", "/docs", "/v1/me", "/nowhere", "/v1/config"] {
        let told = market.get(path).1.to_lowercase();
        let policy = told.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap_or("");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for header in
            ["x-content-type-options: nosniff", "referrer-policy: no-referrer", "x-trace: ", "cache-control: no-store"]
        {
            assert!(told.contains(header), "{path} without {header}");
        }
        let content = told.split_once("\r\n\r\n").unwrap().1;
        assert!(!content.contains("<script>") && !content.contains("onclick="), "{path} has a script in it");
    }
    let told = market.get("/nowhere").1;
    let error = body(&told);
    for field in ["code", "message", "hint", "trace"] {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {error}");
    }
    assert!(told.contains(error["trace"].as_str().unwrap()));
}
