//! A non-blocking byte stream over TCP, plain or TLS, for either end of a connection.
//!
//! Reads give `WouldBlock` when nothing is there. Writes never block: what the socket does not take waits here, within
//! a bound, until [`Stream::flush`]. `poll` sees the socket only; after a TLS read that filled its target, decrypted
//! or encrypted bytes may remain inside, and [`Stream::has_unread`] says so.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use super::poll::Interest;
use super::tls::TlsServer;

/// Most bytes that wait for a slow peer before the stream gives up on it; see [`Stream::send`].
pub const PENDING_BYTES_MAX: usize = 4 << 20;
/// Encrypted bytes taken by one system call. A TLS record has at most 16 KiB, so this holds several.
const CIPHER_BYTES: usize = 128 << 10;

/// A connected, non-blocking socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP as it is.
    Plain(Plain),
    /// TLS over TCP. Boxed: it is far larger than the other.
    Tls(Box<Tls>),
}

/// The plain kind of [`Stream`].
#[derive(Debug)]
pub struct Plain {
    socket: TcpStream,
    /// Bytes the socket did not take yet, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
}

/// The TLS kind of [`Stream`].
#[derive(Debug)]
pub struct Tls {
    socket: TcpStream,
    connection: rustls::Connection,
    /// Encrypted bytes read ahead, `from..to`. rustls itself would ask the socket for 4 KiB at a time.
    cipher: Vec<u8>,
    from: usize,
    to: usize,
    unread: bool,
    /// An error that came behind bytes; told by the read after them.
    failed: Option<io::Error>,
}

impl Stream {
    /// Takes over a connected socket without TLS: sets it non-blocking and turns Nagle's delay off.
    pub fn plain(socket: TcpStream) -> io::Result<Self> {
        prepare(&socket)?;
        Ok(Self::Plain(Plain { socket, pending: Vec::new(), sent: 0 }))
    }

    /// Takes over a socket that a listener accepted; with `tls` the handshake runs inside the first reads, so read
    /// the client's request before sending: what is sent earlier waits for the handshake, within the same bound.
    pub fn accept(socket: TcpStream, tls: Option<&TlsServer>) -> io::Result<Self> {
        match tls {
            None => Self::plain(socket),
            Some(tls) => {
                let connection = rustls::ServerConnection::new(tls.config()).map_err(io::Error::other)?;
                Self::tls(socket, connection.into())
            }
        }
    }

    /// Takes over a socket with its TLS state, which may hold decrypted bytes already.
    pub(crate) fn tls(socket: TcpStream, mut connection: rustls::Connection) -> io::Result<Self> {
        prepare(&socket)?;
        connection.set_buffer_limit(Some(PENDING_BYTES_MAX));
        let cipher = vec![0; CIPHER_BYTES];
        Ok(Self::Tls(Box::new(Tls { socket, connection, cipher, from: 0, to: 0, unread: true, failed: None })))
    }

    /// Sends `bytes`, keeping what the socket does not take now.
    ///
    /// When more than [`PENDING_BYTES_MAX`] would wait, the peer does not read: an error of kind `StorageFull`, after
    /// which the connection is of no use.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.send(bytes),
            Self::Tls(tls) => tls.send(bytes),
        }
    }

    /// Writes what waits; call when the socket is writable.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether bytes wait for the socket to take them.
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.sent < plain.pending.len(),
            Self::Tls(tls) => tls.connection.wants_write(),
        }
    }

    /// What to ask `poll` for.
    pub fn interest(&self) -> Interest {
        if self.wants_write() { Interest::ReadWrite } else { Interest::Read }
    }

    /// Whether bytes may be read that `poll` cannot see: read again before sleeping.
    pub fn has_unread(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.unread,
        }
    }

    /// Says goodbye in TLS and closes our direction; the peer reads an end of stream after what was sent.
    ///
    /// Best effort: pending bytes that the socket does not take now are lost.
    pub fn shutdown(&mut self) {
        if let Self::Tls(tls) = self {
            tls.connection.send_close_notify();
        }
        // The connection is given up; that it may be broken already changes nothing.
        let _ = self.flush();
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// The socket below, for addresses and options.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(plain) => &plain.socket,
            Self::Tls(tls) => &tls.socket,
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.socket.read(target),
            Self::Tls(tls) => tls.read(target),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl Plain {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.sent < self.pending.len() {
            self.flush()?;
        }
        let taken = if self.sent < self.pending.len() { 0 } else { write_some(&mut self.socket, bytes)? };
        let rest = &bytes[taken..];
        if self.pending.len() - self.sent + rest.len() > PENDING_BYTES_MAX {
            return Err(peer_does_not_read());
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = write_some(&mut self.socket, &self.pending[self.sent..]);
        self.sent += *result.as_ref().unwrap_or(&0);
        // Dropping the sent part at once would move the rest each time; at half, each byte moves once on average.
        if self.sent * 2 >= self.pending.len() {
            self.pending.drain(..self.sent);
            self.sent = 0;
        }
        result.map(drop)
    }
}

impl Tls {
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.connection.writer().write(bytes)?;
            self.flush()?;
            // Only a full buffer takes nothing, and the one before this piece was flushed as far as the socket took it.
            if taken == 0 {
                return Err(peer_does_not_read());
            }
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills `target` as far as bytes are at hand, decrypting record after record; asks the socket only when it has to.
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.unread = false;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut filled = 0;
        match self.fill(target, &mut filled) {
            Ok(()) => Ok(filled),
            Err(error) if filled == 0 => Err(error),
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.failed = Some(error);
                    self.unread = true;
                }
                Ok(filled)
            }
        }
    }

    /// Ends when `target` is full, at the end of the stream, or with the error that stopped it, `WouldBlock` included.
    fn fill(&mut self, target: &mut [u8], filled: &mut usize) -> io::Result<()> {
        let mut drained = false;
        loop {
            match self.connection.reader().read(&mut target[*filled..]) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    *filled += read;
                    if *filled == target.len() {
                        self.unread = true;
                        return Ok(());
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.from == self.to {
                if drained {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                // A short read has emptied the socket: asking again would cost a call to hear `WouldBlock`. The end
                // of the stream is no such read, rustls says what it means.
                let read = self.read_socket()?;
                drained = read > 0 && read < self.cipher.len();
            }
            self.decrypt()?;
        }
    }

    fn read_socket(&mut self) -> io::Result<usize> {
        (self.from, self.to) = (0, 0);
        loop {
            match self.socket.read(&mut self.cipher) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.to = read;
                    return Ok(read);
                }
            }
        }
    }

    /// Hands rustls its next piece, or the end of the stream when there is none, and answers what it wants answered.
    fn decrypt(&mut self) -> io::Result<()> {
        self.from += self.connection.read_tls(&mut &self.cipher[self.from..self.to])?;
        let processed = self.connection.process_new_packets();
        let flushed = self.flush();
        // The peer's breach is the cause; that the alert about it could not be sent is not worth telling instead.
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        flushed
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)
}

/// Writes until the socket would block; how many bytes it took.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => written += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn peer_does_not_read() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("the peer does not read: {PENDING_BYTES_MAX} bytes wait for it"))
}
