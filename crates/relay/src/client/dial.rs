//! Opening a connection to a relay: the socket, TLS where that is asked for, the two lines. All of it blocks, within
//! bounds; a client that must not block has it done by a thread of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::ClientError;
use crate::handshake::{ANSWER_BYTES_MAX, Answer, Hello, PROTOCOL_VERSION};
use crate::link::Link;
use crate::subscription::Subscription;
use crate::tls;
use crate::token::Token;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// How long one address may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long TLS may take to agree, and then a relay to answer: it may be looking through a large ring for the first
/// time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A relay on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSource {
    /// `host:port`.
    pub address: String,
    /// Whom to trust.
    pub trust: Trust,
    /// What the relay asks for.
    pub token: Option<Token>,
}

/// How to know that a relay on TCP is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Not at all: in the clear, on this machine only.
    Loopback,
    /// By TLS.
    Roots {
        /// PEM file of the certificates to trust, and no others.
        file: PathBuf,
        /// The name in the relay's certificate, if it is not the address's host.
        server_name: Option<String>,
    },
}

/// Where to connect, ready to be used many times.
#[derive(Clone)]
pub(super) enum Target {
    Unix(PathBuf),
    Tcp { address: String, tls: Option<(Arc<ClientConfig>, ServerName<'static>)>, token: Option<Token> },
}

/// An open connection. `rest` are the bytes that came with the relay's line.
pub(super) struct Dialed {
    pub(super) link: Link,
    pub(super) answer: Answer,
    pub(super) rest: Vec<u8>,
}

/// A connection being opened by another thread.
pub(super) struct Dial {
    result: Receiver<Result<Dialed, ClientError>>,
    /// It came while nobody looked.
    early: Option<Result<Dialed, ClientError>>,
}

impl Target {
    pub(super) fn unix(path: PathBuf) -> Result<Target, ClientError> {
        crate::path::check(&path)?;
        Ok(Target::Unix(path))
    }

    pub(super) fn tcp(source: TcpSource) -> Result<Target, ClientError> {
        let TcpSource { address, trust, token } = source;
        let host = address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err(ClientError::Address { address });
        };
        let tls = match trust {
            Trust::Loopback => None,
            Trust::Roots { file, server_name } => {
                Some((tls::client(&file)?, tls::name(server_name.as_deref().unwrap_or(host))?))
            }
        };
        Ok(Target::Tcp { address, tls, token })
    }

    /// As messages name it.
    pub(super) fn name(&self) -> String {
        match self {
            Target::Unix(path) => path.display().to_string(),
            Target::Tcp { address, tls: Some(_), .. } => format!("tls://{address}"),
            Target::Tcp { address, tls: None, .. } => format!("tcp://{address}"),
        }
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Target::Tcp { .. })
    }

    /// Connects and subscribes. Blocks, for some seconds at most.
    pub(super) fn dial(&self, subscribe: Subscription) -> Result<Dialed, ClientError> {
        let token = match self {
            Target::Tcp { token: Some(token), .. } => Some(token.reveal().to_owned()),
            _ => None,
        };
        let hello = Hello { version: PROTOCOL_VERSION, token, subscribe };
        let mut line = serde_json::to_vec(&hello).expect("strings and numbers always become JSON");
        line.push(b'\n');
        let mut link = self.connect()?;
        let until = Instant::now() + ANSWER_TIMEOUT;
        // A relay that refuses at once may have closed its side already: its words are still there to be read.
        let written = write_all(&mut link, &line, until);
        let (answer, rest) = match self.read_answer(&mut link, until) {
            Err(ClientError::Io { .. } | ClientError::Closed { .. }) if written.is_err() => {
                return Err(self.failed("write to")(written.err().unwrap_or_else(timed_out)));
            }
            other => other?,
        };
        if !answer.ok {
            let reason = answer.error.unwrap_or_else(|| "no reason given".to_owned());
            return Err(ClientError::Refused { relay: self.name(), reason });
        }
        link.set_nonblocking(true).map_err(self.failed("set up"))?;
        Ok(Dialed { link, answer, rest })
    }

    /// The same on a thread of its own.
    pub(super) fn dial_aside(&self, subscribe: Subscription) -> Result<Dial, ClientError> {
        let (sender, result) = sync_channel(1);
        let target = self.clone();
        std::thread::Builder::new()
            .name("relay-dial".to_owned())
            .spawn(move || {
                // Whoever asked may be gone.
                let _ = sender.send(target.dial(subscribe));
            })
            .map_err(self.failed("start a thread to connect to"))?;
        Ok(Dial { result, early: None })
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> ClientError {
        let relay = self.name();
        move |source| ClientError::Io { action, relay: relay.clone(), source }
    }

    fn connect(&self) -> Result<Link, ClientError> {
        let failed = self.failed("connect to");
        match self {
            Target::Unix(path) => connect_unix(path).map_err(failed),
            Target::Tcp { address, tls, .. } => {
                let socket = self.connect_tcp(address, tls.is_some())?;
                socket.set_nodelay(true).map_err(&failed)?;
                match tls {
                    None => Ok(Link::Tcp(socket)),
                    Some((config, name)) => self.agree(socket, config, name.clone()),
                }
            }
        }
    }

    fn connect_tcp(&self, address: &str, protected: bool) -> Result<TcpStream, ClientError> {
        let failed = self.failed("connect to");
        let found: Vec<SocketAddr> = address.to_socket_addrs().map_err(self.failed("find"))?.collect();
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for one in found {
            if !protected && !one.ip().is_loopback() {
                return Err(ClientError::InTheClear { address: address.to_owned() });
            }
            match TcpStream::connect_timeout(&one, CONNECT_TIMEOUT) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    fn agree(
        &self,
        socket: TcpStream,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Link, ClientError> {
        let no_trust = |reason: String| ClientError::Trust { relay: self.name(), reason };
        let mut tls = tls::connect(config, name).map_err(|error| no_trust(error.to_string()))?;
        let mut timed = Timed { socket: &socket, until: Instant::now() + ANSWER_TIMEOUT };
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut timed) {
                return Err(match error.kind() {
                    // What rustls has to say; all else is the socket's.
                    ErrorKind::InvalidData => no_trust(error.to_string()),
                    _ => self.failed("agree on TLS with")(error),
                });
            }
        }
        Ok(Link::tls(socket, tls))
    }

    fn read_answer(&self, link: &mut Link, until: Instant) -> Result<(Answer, Vec<u8>), ClientError> {
        let not_a_relay = |what: String| ClientError::NotARelay { relay: self.name(), what };
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let got = left(until).and_then(|left| link.set_timeout(left)).and_then(|()| link.read(&mut piece));
            let got = got.map_err(block_is_timeout).map_err(self.failed("read the answer of"))?;
            if got == 0 {
                return Err(ClientError::Closed { relay: self.name() });
            }
            let searched = bytes.len();
            bytes.extend_from_slice(&piece[..got]);
            if let Some(newline) = bytes[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = bytes.split_off(searched + newline + 1);
                let answer = serde_json::from_slice(&bytes).map_err(|error| not_a_relay(error.to_string()))?;
                return Ok((answer, rest));
            }
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(not_a_relay(format!("no end of line within {ANSWER_BYTES_MAX} bytes")));
            }
        }
    }
}

impl Dial {
    /// The outcome, once it is there.
    pub(super) fn poll(&mut self) -> Option<Result<Dialed, ClientError>> {
        if let Some(early) = self.early.take() {
            return Some(early);
        }
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => unreachable!("the thread sends once, and nobody asks again after that"),
        }
    }

    /// Waits for the outcome.
    pub(super) fn wait(&mut self, timeout: Duration) {
        if self.early.is_none() {
            match self.result.recv_timeout(timeout) {
                Ok(result) => self.early = Some(result),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }
}

fn connect_unix(path: &Path) -> io::Result<Link> {
    UnixStream::connect(path).map(Link::Unix)
}

fn timed_out() -> io::Error {
    ErrorKind::TimedOut.into()
}

/// A blocking socket tells the end of its time-out as "would block".
fn block_is_timeout(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { timed_out() } else { error }
}

fn left(until: Instant) -> io::Result<Duration> {
    until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(timed_out)
}

fn write_all(link: &mut Link, bytes: &[u8], until: Instant) -> io::Result<()> {
    let mut written = 0;
    loop {
        link.set_timeout(left(until)?)?;
        written += link.write(&bytes[written..])?;
        if link.flush()? && written == bytes.len() {
            return Ok(());
        }
    }
}

/// A blocking socket that gives up in time, however slowly the other side drips.
struct Timed<'a> {
    socket: &'a TcpStream,
    until: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.until)?))?;
        self.socket.read(into).map_err(block_is_timeout)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.until)?))?;
        self.socket.write(bytes).map_err(block_is_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
