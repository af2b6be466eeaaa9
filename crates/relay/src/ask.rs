//! Asks a feed of this machine to tell books anew, for joiners whose ring no longer holds a snapshot, or who want a fresh one.
//! (rings' folder, venue, symbols) -> one line on the feed's socket `VENUE.ask`; the answer is the stream.
//!
//! Never waits: a socket without room, or without a feed behind it, is an error at once. How often a feed tells a book
//! is its own matter, so asking costs nobody anything.

use model::Venue;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};
use std::io;
use std::path::Path;

/// More symbols than this are asked for as all: a line stays far below what a feed reads and a socket takes at once.
const SYMBOLS_NAMED_MAX: usize = 256;

/// Asks for the books of these symbols.
pub(crate) fn snapshots(rings: &Path, venue: Venue, symbols: &[String]) -> io::Result<()> {
    let path = rings.join(format!("{}.ask", venue.name()));
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(&path)?)?;
    let named = if symbols.len() > SYMBOLS_NAMED_MAX { "*".to_owned() } else { symbols.join(" ") };
    let line = format!("snapshot {named}\n");
    // An empty socket of this size takes it whole or not at all.
    let sent = send(&socket, line.as_bytes(), SendFlags::NOSIGNAL)?;
    if sent == line.len() { Ok(()) } else { Err(Errno::AGAIN.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_request_is_one_line_and_many_symbols_are_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let asked = |symbols: &[String]| snapshots(folder.path(), Venue::Kraken, symbols);
        let error = asked(&["BTC/USD".to_owned()]).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(folder.path().join("kraken.ask")).expect("a socket");
        let heard = |symbols: &[String]| {
            asked(symbols).expect("there is room");
            let mut line = String::new();
            listener.accept().expect("a caller").0.read_to_string(&mut line).expect("text");
            line
        };
        assert_eq!(heard(&["BTC/USD".to_owned(), "ETH/USD".to_owned()]), "snapshot BTC/USD ETH/USD\n");
        assert_eq!(heard(&vec!["X".to_owned(); SYMBOLS_NAMED_MAX + 1]), "snapshot *\n");
    }
}
