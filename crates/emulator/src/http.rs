//! The little of HTTP/1.1 that a venue's REST side needs: an answer with headers and a body.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter bodies are sent as they are.
const GZIP_FROM: usize = 512;
/// Told in every answer, the upgrade's included: nothing served here is real.
pub(crate) const SERVER: (&str, &str) = ("Server", "alphapulse-emulator");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// Nothing is served at this path: worth a line in the log.
    pub(crate) unknown_path: bool,
    content_type: &'static str,
}

const JSON: &str = "application/json;charset=UTF-8";
const HTML: &str = "text/html";

impl Response {
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), unknown_path: false, content_type: JSON }
    }

    /// What the web server in front of a venue says where the venue itself is not asked.
    pub(crate) fn page(status: u16) -> Self {
        let title = format!("{status} {}", reason(status));
        let body = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        Self { content_type: HTML, ..Self::json(status, body) }
    }

    /// The same, for a path at which nothing is served.
    pub(crate) fn unknown(self) -> Self {
        Self { unknown_path: true, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Writes head and body, compressed if the client takes that and it is worth it.
    pub(crate) fn write(&self, keep_alive: bool, takes_gzip: bool, out: &mut Vec<u8>) {
        let packed = (takes_gzip && self.body.len() >= GZIP_FROM).then(|| gzip(self.body.as_bytes()));
        let body = packed.as_deref().unwrap_or(self.body.as_bytes());
        let mut head = format!("HTTP/1.1 {} {}\r\n{}: {}\r\n", self.status, reason(self.status), SERVER.0, SERVER.1);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if packed.is_some() {
            head.push_str("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
        }
        let connection = if keep_alive { "keep-alive" } else { "close" };
        head.push_str(&format!(
            "Content-Type: {}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            self.content_type,
            body.len()
        ));
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body);
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("memory takes all that is written to it")
}

pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        422 => "Unprocessable Entity",
        418 => "I'm a teapot",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

/// Percent-decodes a query value; a broken escape stays as it is.
pub(crate) fn percent_decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| value.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded() {
        assert_eq!(percent_decoded("%5B%22BTCUSDT%22%5D"), "[\"BTCUSDT\"]");
        assert_eq!(percent_decoded("a%2"), "a%2");
        assert_eq!(percent_decoded("%zz%"), "%zz%");
    }
}
