//! The HTTP/1.1 upgrade that opens a WebSocket, for both ends, with limits on what a peer may make us hold.
//!
//! Client: [`ClientHandshake`] writes the request and verifies the response. Server: [`RequestHead`] parses any
//! request, an upgrade or not, and [`accept`] answers it. Parsing is pure and takes whatever has arrived so far;
//! only [`ClientHandshake::read_response`] reads.

mod client;
mod extensions;
mod server;

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use client::{ClientHandshake, Upgraded};
pub use extensions::accept_deflate;
pub use server::{RequestHead, accept, refuse};

/// Largest request or response head taken, bytes. Real ones have 200 to 2,000.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most header fields in a head; a content network adds twenty of its own.
const HEADERS_MAX: usize = 96;
/// How much of a refusal's body is kept for the error, bytes.
const BODY_KEPT_BYTES: usize = 200;
/// Appended to the client's key before hashing (RFC 6455 §1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why the upgrade failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The server answered with another status than 101.
    #[error("upgrade refused with HTTP status {status}{}: {body}", retry_note(*.retry_after))]
    Refused {
        /// HTTP status code.
        status: u16,
        /// `Retry-After` in seconds form; the date form is not used by venues and reads as absent.
        retry_after: Option<Duration>,
        /// First 200 bytes of the body, for the log.
        body: String,
    },
    /// The head is not HTTP/1.1.
    #[error("malformed HTTP head: {0}")]
    Malformed(httparse::Error),
    /// More bytes than [`HEAD_BYTES_MAX`] without an end of the head.
    #[error("HTTP head exceeds {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// A header that the upgrade needs is missing or says something else.
    #[error("header {name} is {found:?}, the upgrade needs {expected:?}")]
    Header {
        /// Header name.
        name: &'static str,
        /// What it must say.
        expected: String,
        /// What it says; empty when absent.
        found: String,
    },
    /// The server agreed to something that we did not offer.
    #[error("server chose {name}: {value}, which was not offered")]
    NotOffered {
        /// Header name.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The server's terms of compression are out of order.
    #[error("server answers the offer of compression with {value:?}: {problem}; set the venue's deflate to false")]
    Extension {
        /// What is wrong.
        problem: &'static str,
        /// The header's value.
        value: String,
    },
    /// A header of our own cannot be written safely.
    #[error("header {name:?} has a character that HTTP does not allow in it")]
    BadHeader {
        /// Header name as given.
        name: String,
    },
    /// The peer went away before the head was complete.
    #[error("connection closed during the upgrade after {bytes} bytes")]
    Closed {
        /// Bytes received until then.
        bytes: usize,
    },
    /// The socket failed or the deadline passed.
    #[error("upgrade failed: {0}")]
    Io(#[from] io::Error),
}

impl HandshakeError {
    /// How long the server asked us to stay away, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn retry_note(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!(" (retry after {} s)", wait.as_secs())).unwrap_or_default()
}

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
fn accept_value(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(ACCEPT_GUID);
    STANDARD.encode(hash.finalize())
}

/// Header fields as owned pairs; values that are not text are kept lossily, since none that we read may be.
fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    headers.iter().map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).trim().to_owned())).collect()
}

fn value_of<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// Whether a comma-separated header names `token`; such a header may also come in several lines.
fn has_token(headers: &[(String, String)], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .flat_map(|(_, v)| v.split(','))
        .any(|t| t.trim().eq_ignore_ascii_case(token))
}

fn require_token(headers: &[(String, String)], name: &'static str, token: &str) -> Result<(), HandshakeError> {
    if has_token(headers, name, token) {
        return Ok(());
    }
    let found = value_of(headers, name).unwrap_or_default().to_owned();
    Err(HandshakeError::Header { name, expected: token.to_owned(), found })
}

/// Appends header lines, refusing anything that could end a line early.
fn write_headers(headers: &[(String, String)], out: &mut Vec<u8>) -> Result<(), HandshakeError> {
    for (name, value) in headers {
        let name_ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let value_ok = value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7F));
        if !name_ok || !value_ok {
            return Err(HandshakeError::BadHeader { name: name.clone() });
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
