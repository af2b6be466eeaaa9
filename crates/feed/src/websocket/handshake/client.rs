//! The client's end of the upgrade: one request, one response, everything in it verified.

use std::io::{self, Read};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::deflate::{Deflate, DeflateOffer};
use super::{
    BODY_KEPT_BYTES, HEAD_BYTES_MAX, HEADERS_MAX, HandshakeError, accept_value, extensions, owned, require_token,
    value_of, write_headers,
};

/// An upgrade that was asked for and not yet answered.
#[derive(Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    accept: String,
    deflate: Option<DeflateOffer>,
}

/// The connection is a WebSocket from here on.
#[derive(Debug)]
pub struct Upgraded {
    /// The response's headers, names as sent.
    pub headers: Vec<(String, String)>,
    /// Bytes that came behind the head: the first frames. They go to [`Decoder::push`](crate::websocket::Decoder::push).
    pub leftover: Vec<u8>,
    /// The terms of compression, where it was offered and agreed to: they go into
    /// [`DecoderConfig`](crate::websocket::DecoderConfig).
    pub deflate: Option<Deflate>,
}

/// A parsed response head.
struct ResponseHead {
    status: u16,
    headers: Vec<(String, String)>,
    head_bytes: usize,
}

impl ClientHandshake {
    /// Prepares the request. `host` is the `Host` header's value, `target` the path with its query.
    ///
    /// `headers` are added as given; the ones that the upgrade itself needs are ours. With `deflate`, compression is
    /// offered; the server may go without.
    pub fn new(
        host: &str,
        target: &str,
        headers: &[(String, String)],
        deflate: Option<DeflateOffer>,
        rng: &mut fastrand::Rng,
    ) -> Result<Self, HandshakeError> {
        let mut nonce = [0_u8; 16];
        rng.fill(&mut nonce);
        let key = STANDARD.encode(nonce);
        let mut request = format!("GET {target} HTTP/1.1\r\n").into_bytes();
        let upgrade = [
            ("Host", host),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", &key),
        ];
        write_headers(&upgrade.map(|(name, value)| (name.to_owned(), value.to_owned())), &mut request)?;
        if let Some(offer) = &deflate {
            write_headers(&[(extensions::EXTENSIONS.to_owned(), extensions::offer(offer))], &mut request)?;
        }
        write_headers(headers, &mut request)?;
        request.extend_from_slice(b"\r\n");
        Ok(Self { request, accept: accept_value(&key), deflate })
    }

    /// The request to send, complete.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Judges what has arrived so far: `None` while the head is incomplete.
    ///
    /// For a refusal, `bytes` should hold as much of the body as is at hand; its beginning goes into the error.
    pub fn parse(&self, bytes: &[u8]) -> Result<Option<Upgraded>, HandshakeError> {
        let Some(head) = ResponseHead::parse(bytes)? else {
            return Ok(None);
        };
        if head.status != 101 {
            return Err(head.refusal(&bytes[head.head_bytes..]));
        }
        self.verify(&head.headers)?;
        let deflate = extensions::agreed(&head.headers, self.deflate.as_ref())?;
        Ok(Some(Upgraded { leftover: bytes[head.head_bytes..].to_vec(), headers: head.headers, deflate }))
    }

    /// Reads until the response is complete; `source` brings its own deadline as an I/O error.
    pub fn read_response<R: Read>(&self, source: &mut R) -> Result<Upgraded, HandshakeError> {
        let mut bytes = Vec::new();
        loop {
            match ResponseHead::parse(&bytes)? {
                Some(head) if head.status == 101 => break,
                Some(head) => {
                    head.read_body(source, &mut bytes);
                    break;
                }
                None => {}
            }
            if read_some(source, &mut bytes)? == 0 {
                return Err(HandshakeError::Closed { bytes: bytes.len() });
            }
        }
        Ok(self.parse(&bytes)?.expect("the loop ends only when the head is complete"))
    }

    fn verify(&self, headers: &[(String, String)]) -> Result<(), HandshakeError> {
        require_token(headers, "Upgrade", "websocket")?;
        require_token(headers, "Connection", "Upgrade")?;
        let found = value_of(headers, "Sec-WebSocket-Accept").unwrap_or_default();
        if found != self.accept {
            let (name, expected) = ("Sec-WebSocket-Accept", self.accept.clone());
            return Err(HandshakeError::Header { name, expected, found: found.to_owned() });
        }
        Ok(())
    }
}

impl ResponseHead {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        // Only so much may be head; what follows it may be any number of frames.
        let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        match response.parse(window).map_err(HandshakeError::Malformed)? {
            httparse::Status::Complete(head_bytes) => {
                let status = response.code.expect("httparse completes a response only with its status");
                Ok(Some(Self { status, headers: owned(response.headers), head_bytes }))
            }
            httparse::Status::Partial if bytes.len() >= HEAD_BYTES_MAX => Err(HandshakeError::HeadTooLong),
            httparse::Status::Partial => Ok(None),
        }
    }

    fn refusal(&self, body: &[u8]) -> HandshakeError {
        let seconds = value_of(&self.headers, "Retry-After").and_then(|v| v.parse::<u64>().ok());
        HandshakeError::Refused {
            status: self.status,
            retry_after: seconds.map(Duration::from_secs),
            body: String::from_utf8_lossy(&body[..body.len().min(BODY_KEPT_BYTES)]).into_owned(),
        }
    }

    /// Reads on to what the error quotes. The status is known already, so trouble here is not worth a second error.
    fn read_body<R: Read>(&self, source: &mut R, bytes: &mut Vec<u8>) {
        let declared = value_of(&self.headers, "Content-Length").and_then(|v| v.parse::<usize>().ok());
        let wanted = self.head_bytes + declared.unwrap_or(BODY_KEPT_BYTES).min(BODY_KEPT_BYTES);
        while bytes.len() < wanted {
            match read_some(source, bytes) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

/// One read, appended. The piece is small so that few frames have to be copied behind a head.
fn read_some<R: Read>(source: &mut R, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0_u8; 2048];
    let read = loop {
        match source.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    bytes.extend_from_slice(&piece[..read]);
    Ok(read)
}
