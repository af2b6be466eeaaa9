//! The server's end: parses a request head, be it an upgrade or a plain request, and writes the answers.

use super::{
    HEAD_BYTES_MAX, HEADERS_MAX, HandshakeError, accept_value, has_token, owned, require_token, value_of, write_headers,
};

/// One parsed request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Method, such as `GET`.
    pub method: String,
    /// Path without the query, as sent.
    pub path: String,
    /// Query without its question mark; `None` when there is none.
    pub query: Option<String>,
    /// Header fields, names as sent.
    pub headers: Vec<(String, String)>,
    /// Bytes of the head; what follows is the body or the first frames.
    pub head_bytes: usize,
}

impl RequestHead {
    /// Parses what has arrived so far: `None` while the head is incomplete.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        let head_bytes = match request.parse(window).map_err(HandshakeError::Malformed)? {
            httparse::Status::Complete(head_bytes) => head_bytes,
            httparse::Status::Partial if bytes.len() >= HEAD_BYTES_MAX => return Err(HandshakeError::HeadTooLong),
            httparse::Status::Partial => return Ok(None),
        };
        let target = request.path.expect("httparse completes a request only with its target");
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Ok(Some(Self {
            method: request.method.expect("httparse completes a request only with its method").to_owned(),
            path: path.to_owned(),
            query,
            headers: owned(request.headers),
            head_bytes,
        }))
    }

    /// First value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// First value of a query parameter, as sent (not percent-decoded).
    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.query.as_deref()?.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|p| p.1)
    }

    /// Whether the client asks for a WebSocket at all.
    pub fn is_upgrade(&self) -> bool {
        has_token(&self.headers, "Upgrade", "websocket")
    }

    /// The client's key, once the rest of the upgrade is found in order.
    pub fn upgrade_key(&self) -> Result<&str, HandshakeError> {
        require_token(&self.headers, "Upgrade", "websocket")?;
        require_token(&self.headers, "Connection", "Upgrade")?;
        require_token(&self.headers, "Sec-WebSocket-Version", "13")?;
        let key = self.header("Sec-WebSocket-Key").unwrap_or_default();
        // Sixteen bytes in base64 are 22 characters and two of padding.
        if key.len() != 24 || !key.ends_with("==") {
            let expected = "16 bytes in base64".to_owned();
            return Err(HandshakeError::Header { name: "Sec-WebSocket-Key", expected, found: key.to_owned() });
        }
        Ok(key)
    }
}

/// Appends the 101 response that accepts the upgrade with `key`.
pub fn accept(key: &str, headers: &[(String, String)], out: &mut Vec<u8>) -> Result<(), HandshakeError> {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    write_headers(&[("Sec-WebSocket-Accept".to_owned(), accept_value(key))], out)?;
    write_headers(headers, out)?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends a complete response with a body that refuses the upgrade, `reason` being the status line's phrase.
pub fn refuse(
    status: u16,
    reason: &str,
    headers: &[(String, String)],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), HandshakeError> {
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    write_headers(headers, out)?;
    out.extend_from_slice(format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    Ok(())
}
