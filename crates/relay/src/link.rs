//! One connection, whatever it runs over: a Unix socket, TCP, or TLS on TCP, read and written alike.
//!
//! Invariants: on a non-blocking socket nothing here waits; of what was handed over, at most [`TLS_BUFFER_BYTES`] are
//! kept besides the socket's own buffer. A read that fills less than it was given room for has read all there was.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;

/// Encrypted bytes that may wait for the socket: two of the relay's batches.
const TLS_BUFFER_BYTES: usize = 128 * 1024;
/// Encrypted bytes read at once: four of TLS's longest records.
const TLS_READ_BYTES: usize = 64 * 1024;

pub(crate) enum Link {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsLink>),
}

pub(crate) struct TlsLink {
    socket: TcpStream,
    tls: rustls::Connection,
    /// Encrypted bytes not looked at yet.
    raw: Box<[u8]>,
    raw_start: usize,
    raw_end: usize,
}

impl Link {
    /// `tls` over `socket`.
    pub(crate) fn tls(socket: TcpStream, mut tls: rustls::Connection) -> Link {
        tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        let raw = vec![0; TLS_READ_BYTES].into_boxed_slice();
        Link::Tls(Box::new(TlsLink { socket, tls, raw, raw_start: 0, raw_end: 0 }))
    }

    /// Whether the other side may be another machine.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Link::Unix(_))
    }

    /// Fills `into` as far as there is something; 0 is the end.
    #[inline]
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Unix(socket) => socket.read(into),
            Link::Tcp(socket) => socket.read(into),
            Link::Tls(link) => link.read(into),
        }
    }

    /// Takes as much as finds room, maybe nothing.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Unix(socket) => send(socket, bytes),
            Link::Tcp(socket) => send(socket, bytes),
            Link::Tls(link) => link.write(bytes),
        }
    }

    /// Passes on what was taken and waits inside. True when nothing does any more.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Link::Unix(_) | Link::Tcp(_) => Ok(true),
            Link::Tls(link) => link.flush(),
        }
    }

    /// Whether something that was taken waits for the socket.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Link::Unix(_) | Link::Tcp(_) => true,
            Link::Tls(link) => !link.tls.wants_write(),
        }
    }

    /// Whether bytes were received that the last read had no room for and no socket will announce.
    pub(crate) fn holds_unread(&self) -> bool {
        matches!(self, Link::Tls(link) if link.raw_start < link.raw_end)
    }

    /// Whether TLS is still being agreed on.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self, Link::Tls(link) if link.tls.is_handshaking())
    }

    /// Says goodbye, if the socket takes it, so that the other side can tell an end from a cut.
    pub(crate) fn close(&mut self) {
        if let Link::Tls(link) = self {
            link.tls.send_close_notify();
            // Whoever does not hear it sees the socket's end.
            let _ = link.flush();
        }
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Link::Unix(socket) => socket.set_nonblocking(nonblocking),
            Link::Tcp(socket) => socket.set_nonblocking(nonblocking),
            Link::Tls(link) => link.socket.set_nonblocking(nonblocking),
        }
    }

    /// For a blocking socket: how long one read or write may take, more than zero.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let set = |socket: &TcpStream| {
            socket.set_read_timeout(Some(timeout)).and_then(|()| socket.set_write_timeout(Some(timeout)))
        };
        match self {
            Link::Unix(socket) => {
                socket.set_read_timeout(Some(timeout)).and_then(|()| socket.set_write_timeout(Some(timeout)))
            }
            Link::Tcp(socket) => set(socket),
            Link::Tls(link) => set(&link.socket),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Link::Unix(socket) => socket.as_fd(),
            Link::Tcp(socket) => socket.as_fd(),
            Link::Tls(link) => link.socket.as_fd(),
        }
    }
}

/// Writes what the socket takes.
fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::net::send(&socket, &bytes[written..], SendFlags::NOSIGNAL) {
            Ok(some) => written += some,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

impl TlsLink {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < into.len() {
            match self.tls.reader().read(&mut into[got..]) {
                Ok(0) => break,
                Ok(some) => {
                    got += some;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Closed without a goodbye: batches are checked one by one, so nothing can be cut off unseen.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return if got > 0 { Ok(got) } else { Err(error) },
            }
            match self.receive() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if got > 0 && error.kind() == ErrorKind::WouldBlock => break,
                Err(_) if got > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    /// Takes in encrypted bytes: those at hand, or else the socket's. 0 is the end.
    fn receive(&mut self) -> io::Result<usize> {
        // Answers that the handshake waits for; a full socket is tried again by whoever polls it.
        self.flush()?;
        if self.raw_start == self.raw_end {
            let got = loop {
                match self.socket.read(&mut self.raw) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            if got == 0 {
                return Ok(0);
            }
            (self.raw_start, self.raw_end) = (0, got);
        }
        let mut at_hand = &self.raw[self.raw_start..self.raw_end];
        let taken = self.tls.read_tls(&mut at_hand)?;
        self.raw_start += taken;
        if let Err(error) = self.tls.process_new_packets() {
            // The other side is told why, if it still listens.
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(taken)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            written += self.tls.writer().write(&bytes[written..])?;
            if !self.flush()? || written == bytes.len() {
                return Ok(written);
            }
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
