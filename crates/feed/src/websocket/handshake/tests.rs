//! Both ends against each other, and each against what a careless or hostile peer sends.

use std::io::Read;

use super::*;

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn client() -> ClientHandshake {
    let mut rng = fastrand::Rng::with_seed(5);
    let headers = pairs(&[("User-Agent", "alphapulse"), ("Sec-WebSocket-Protocol", "v1")]);
    ClientHandshake::new("example.org:9443", "/ws?a=b", &headers, None, &mut rng).expect("good headers")
}

/// The server's answer to [`client`].
fn answer() -> Vec<u8> {
    let client = client();
    let head = RequestHead::parse(client.request()).expect("a good request").expect("a whole request");
    let mut out = Vec::new();
    accept(head.upgrade_key().expect("an upgrade"), &pairs(&[("X-Served-By", "emulator")]), &mut out).expect("headers");
    out
}

fn answer_with(from: &str, to: &str) -> Result<Option<Upgraded>, HandshakeError> {
    let text = String::from_utf8(answer()).expect("ASCII");
    assert!(text.contains(from));
    client().parse(text.replace(from, to).as_bytes())
}

#[test]
fn the_example_of_the_rfc() {
    assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn both_ends_agree_and_the_first_frames_are_left_over() {
    let client = client();
    let head = RequestHead::parse(client.request()).expect("good").expect("whole");
    assert_eq!((head.method.as_str(), head.path.as_str(), head.query.as_deref()), ("GET", "/ws", Some("a=b")));
    assert_eq!(head.header("host"), Some("example.org:9443"));
    assert_eq!(head.header("USER-AGENT"), Some("alphapulse"));
    assert_eq!(head.query_value("a"), Some("b"));
    assert_eq!(head.query_value("b"), None);
    assert_eq!(head.head_bytes, client.request().len());
    assert!(head.is_upgrade());
    let mut bytes = answer();
    bytes.extend_from_slice(b"\x81\x02hi");
    let upgraded = client.parse(&bytes).expect("good").expect("whole");
    assert_eq!(upgraded.leftover, b"\x81\x02hi");
    assert_eq!(value_of(&upgraded.headers, "x-served-by"), Some("emulator"));
}

#[test]
fn every_prefix_is_incomplete_and_bytewise_reading_ends_in_the_same() {
    struct Bytewise<'a>(&'a [u8]);
    impl Read for Bytewise<'_> {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            let take = self.0.len().min(1);
            (&self.0[..take]).read(target)?;
            self.0 = &self.0[take..];
            Ok(take)
        }
    }
    let (client, bytes) = (client(), answer());
    for end in 0..bytes.len() {
        assert!(client.parse(&bytes[..end]).expect("good so far").is_none());
        assert!(RequestHead::parse(&client.request()[..end.min(client.request().len() - 1)]).expect("good").is_none());
    }
    assert!(client.read_response(&mut Bytewise(&bytes)).expect("good").leftover.is_empty());
    let closed = client.read_response(&mut Bytewise(&bytes[..50])).expect_err("cut");
    assert!(matches!(closed, HandshakeError::Closed { bytes: 50 }), "{closed}");
}

#[test]
fn a_429_says_when_to_come_back() {
    let mut bytes = Vec::new();
    let body = "x".repeat(300);
    refuse(429, "Too Many Requests", &pairs(&[("Retry-After", "17")]), body.as_bytes(), &mut bytes).expect("headers");
    let error = client().read_response(&mut bytes.as_slice()).expect_err("refused");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
    let text = error.to_string();
    assert!(text.starts_with("upgrade refused with HTTP status 429 (retry after 17 s): xxx"), "{text}");
    assert_eq!(text.matches('x').count(), BODY_KEPT_BYTES);
}

#[test]
fn a_refusal_without_body_or_with_a_short_one_still_names_the_status() {
    for bytes in
        ["HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 503 Busy\r\nContent-Length: 90\r\nRetry-After: soon\r\n\r\nbusy"]
    {
        let error = client().read_response(&mut bytes.as_bytes()).expect_err("refused");
        assert!(matches!(error, HandshakeError::Refused { status: 503, retry_after: None, .. }), "{error}");
    }
}

#[test]
fn a_wrong_answer_names_the_header() {
    for (from, to, needle) in [
        ("Upgrade: websocket", "Upgrade: h2c", "header Upgrade is \"h2c\""),
        ("Connection: Upgrade", "Connection: close", "header Connection is \"close\""),
        ("Connection: Upgrade\r\n", "", "header Connection is \"\""),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x", "header Sec-WebSocket-Accept"),
        ("X-Served-By: ", "Sec-WebSocket-Extensions: ", "not offered"),
        ("HTTP/1.1", "HTTQ/1.1", "malformed HTTP head"),
    ] {
        let error = answer_with(from, to).expect_err(from).to_string();
        assert!(error.contains(needle), "{from} -> {to}: {error}");
    }
    assert!(answer_with("Connection: Upgrade", "connection: keep-alive, upgrade").expect("good").is_some());
}

#[test]
fn endless_heads_are_cut_off_at_both_ends() {
    let endless = format!("HTTP/1.1 101 x\r\nX: {}", "y".repeat(HEAD_BYTES_MAX));
    assert!(matches!(client().parse(endless.as_bytes()), Err(HandshakeError::HeadTooLong)));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(HEAD_BYTES_MAX));
    assert!(matches!(RequestHead::parse(endless.as_bytes()), Err(HandshakeError::HeadTooLong)));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
    assert!(matches!(RequestHead::parse(many.as_bytes()), Err(HandshakeError::Malformed(_))));
}

#[test]
fn headers_cannot_smuggle_lines() {
    for (name, value) in [("X", "a\r\nY: b"), ("X\r\nY", "a"), ("", "a"), ("X Y", "a"), ("X", "a\0")] {
        let mut rng = fastrand::Rng::with_seed(1);
        let error = ClientHandshake::new("h", "/", &pairs(&[(name, value)]), None, &mut rng).expect_err("smuggling");
        assert!(matches!(error, HandshakeError::BadHeader { .. }), "{error}");
    }
}

#[test]
fn a_plain_request_is_parsed_but_is_no_upgrade() {
    let bytes = b"GET /api/v3/depth?symbol=BTCUSDT&limit=5000 HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = RequestHead::parse(bytes).expect("good").expect("whole");
    assert_eq!(head.query_value("limit"), Some("5000"));
    assert!(!head.is_upgrade());
    assert!(matches!(head.upgrade_key(), Err(HandshakeError::Header { name: "Upgrade", .. })));
    let request = String::from_utf8(client().request().to_vec()).expect("ASCII");
    for (from, to, name) in [
        ("Version: 13", "Version: 8", "Sec-WebSocket-Version"),
        ("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: short", "Sec-WebSocket-Key"),
    ] {
        let head = RequestHead::parse(request.replace(from, to).as_bytes()).expect("good").expect("whole");
        let error = head.upgrade_key().expect_err(from);
        assert!(matches!(&error, HandshakeError::Header { name: n, .. } if *n == name), "{error}");
    }
}

#[test]
fn hostile_heads_never_panic() {
    let client = client();
    for seed in 0..5_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bytes = if rng.bool() { answer() } else { client.request().to_vec() };
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
        }
        let _ = client.parse(&bytes);
        if let Ok(Some(head)) = RequestHead::parse(&bytes) {
            assert!(head.head_bytes <= bytes.len());
            let _ = head.upgrade_key();
        }
    }
}
