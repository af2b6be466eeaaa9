//! Opens a connection: name lookup, TCP to each address in turn, TLS, WebSocket upgrade, all within one deadline.
//!
//! All of it may block, so a [`Dial`] does it on a thread of its own and rings a [`Waker`] when it is done. What comes
//! out is non-blocking and belongs to the loop.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{CertificateError, ClientConnection};

use super::endpoint::Endpoint;
use super::poll::Waker;
use super::stream::Stream;
use super::tls::{TlsClient, server_name};
use crate::websocket::DeflateOffer;
use crate::websocket::handshake::{ClientHandshake, HandshakeError, Upgraded};

/// The least time one of several addresses gets before the next is tried.
const ADDRESS_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or the lookup failed.
    #[error("{host}: name not found: {reason}; check the host name and the DNS server")]
    Name {
        /// Host as configured.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// The lookup took all the time there was.
    #[error("{host}: name lookup took longer than {timeout:?}; check the DNS server")]
    NameTimeout {
        /// Host as configured.
        host: String,
        /// Time allowed for the whole connection.
        timeout: Duration,
    },
    /// Nothing listens there.
    #[error("{address} refused the connection ({host}); is the server running on that port?")]
    Refused {
        /// Host as configured.
        host: String,
        /// Last address tried.
        address: SocketAddr,
    },
    /// No route.
    #[error("{address} is unreachable ({host}): {source}; check the network and the firewall")]
    Unreachable {
        /// Host as configured.
        host: String,
        /// Last address tried.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{address} did not answer within {timeout:?} ({host}); check the network and the firewall")]
    Timeout {
        /// Host as configured.
        host: String,
        /// Last address tried.
        address: SocketAddr,
        /// Time allowed for the whole connection.
        timeout: Duration,
    },
    /// Any other failure of the socket.
    #[error("connecting to {address} ({host}) failed: {source}")]
    Socket {
        /// Host as configured.
        host: String,
        /// Last address tried.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The server's certificate is for somebody else.
    #[error("{host}: the server's certificate is for {presented}, not for this name")]
    WrongName {
        /// Host as configured.
        host: String,
        /// Names in the certificate.
        presented: String,
    },
    /// Nobody whom we trust signed the certificate.
    #[error(
        "{host}: the server's certificate is signed by an unknown issuer; if you trust it, add its root to the extra root certificates"
    )]
    UnknownIssuer {
        /// Host as configured.
        host: String,
    },
    /// The certificate is out of date, or our clock is.
    #[error("{host}: the server's certificate is not valid at this time ({reason}); check the system clock")]
    NotValidNow {
        /// Host as configured.
        host: String,
        /// What rustls says.
        reason: String,
    },
    /// Any other failure of TLS.
    #[error("{host}: TLS failed: {source}")]
    Tls {
        /// Host as configured.
        host: String,
        /// What rustls or the socket says.
        source: io::Error,
    },
}

/// Why a [`Dial`] failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection, but no WebSocket.
    #[error("{endpoint}: {source}")]
    Handshake {
        /// Where.
        endpoint: Endpoint,
        /// What the server did.
        source: HandshakeError,
    },
}

impl DialError {
    /// How long the server asked us to stay away, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connect(_) => None,
            Self::Handshake { source, .. } => source.retry_after(),
        }
    }
}

/// A WebSocket to open.
#[derive(Debug, Clone)]
pub struct DialRequest {
    /// Where.
    pub endpoint: Endpoint,
    /// Headers beside those of the upgrade.
    pub headers: Vec<(String, String)>,
    /// Compression to offer.
    pub deflate: Option<DeflateOffer>,
    /// Time for all of it: lookup, TCP, TLS, upgrade.
    pub timeout: Duration,
    /// Seeds the upgrade's key.
    pub seed: u64,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Dialed {
    /// The connection, non-blocking. Read it once before sleeping when it [`has_unread`](Stream::has_unread).
    pub stream: Stream,
    /// The response's headers, and the bytes behind it: push them to the decoder first.
    pub upgraded: Upgraded,
}

/// A connection attempt on a thread of its own. Dropping it abandons the attempt, which ends by its deadline.
#[derive(Debug)]
pub struct Dial {
    result: mpsc::Receiver<Result<Dialed, DialError>>,
}

impl Dial {
    /// Begins; `waker` rings when [`poll`](Self::poll) has an answer.
    pub fn start(request: DialRequest, tls: TlsClient, waker: Arc<Waker>) -> io::Result<Self> {
        let (sender, result) = mpsc::sync_channel(1);
        thread::Builder::new().name("dial".to_owned()).spawn(move || {
            crate::cpu::spread();
            // An abandoned dial has nobody to tell.
            let _ = sender.send(open(&request, &tls));
            waker.wake();
        })?;
        Ok(Self { result })
    }

    /// The answer, once; `None` while it is not there.
    ///
    /// # Panics
    /// When asked again after the answer.
    pub fn poll(&mut self) -> Option<Result<Dialed, DialError>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("a dial answers once; it was polled after its answer"),
        }
    }
}

/// Connects to `endpoint`, with TLS when its scheme asks for it. Blocks for at most `timeout`.
pub fn connect(endpoint: &Endpoint, tls: &TlsClient, timeout: Duration) -> Result<Stream, ConnectError> {
    let opening = Opening::connect(endpoint, tls, timeout)?;
    opening.into_stream().map_err(|source| ConnectError::Tls { host: endpoint.host().to_owned(), source })
}

fn open(request: &DialRequest, tls: &TlsClient) -> Result<Dialed, DialError> {
    let endpoint = &request.endpoint;
    let mut opening = Opening::connect(endpoint, tls, request.timeout)?;
    let upgraded = upgrade(&mut opening, request);
    let dialed = upgraded.and_then(|upgraded| Ok(Dialed { stream: opening.into_stream()?, upgraded }));
    dialed.map_err(|source| DialError::Handshake { endpoint: endpoint.clone(), source })
}

fn upgrade(opening: &mut Opening, request: &DialRequest) -> Result<Upgraded, HandshakeError> {
    let mut rng = fastrand::Rng::with_seed(request.seed);
    let endpoint = &request.endpoint;
    let handshake =
        ClientHandshake::new(&endpoint.host_header(), endpoint.target(), &request.headers, request.deflate, &mut rng)?;
    opening.write_all(handshake.request())?;
    opening.flush()?;
    handshake.read_response(opening)
}

/// A blocking socket that gives up at a deadline, however slowly the peer drips.
#[derive(Debug)]
struct Deadline {
    socket: TcpStream,
    at: Instant,
}

impl Deadline {
    /// What is left, as the limit of one call. The kernel takes zero for "no limit", so zero is an error here.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.at.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(timed_out()),
        }
    }
}

impl Read for Deadline {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(target).map_err(block_is_timeout)
    }
}

impl Write for Deadline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes).map_err(block_is_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blocking call that ran into its time limit says `WouldBlock` on Linux.
fn block_is_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { timed_out() } else { error }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer did not answer in time")
}

/// A connection that is still blocking.
struct Opening {
    socket: Deadline,
    tls: Option<ClientConnection>,
}

impl Opening {
    fn connect(endpoint: &Endpoint, tls: &TlsClient, timeout: Duration) -> Result<Self, ConnectError> {
        let at = Instant::now() + timeout;
        let addresses = resolve(endpoint, at, timeout)?;
        let mut socket = Deadline { socket: connect_any(endpoint, &addresses, at, timeout)?, at };
        let host = endpoint.host();
        let socket_error = |source| ConnectError::Tls { host: host.to_owned(), source };
        socket.socket.set_nodelay(true).map_err(socket_error)?;
        if !endpoint.scheme().is_tls() {
            return Ok(Self { socket, tls: None });
        }
        let name = server_name(host).ok_or_else(|| ConnectError::Name {
            host: host.to_owned(),
            reason: "not a name that a certificate can be for".to_owned(),
        })?;
        let mut connection = ClientConnection::new(tls.config(), name)
            .map_err(|error| ConnectError::tls(host, io::Error::other(error)))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(|error| ConnectError::tls(host, error))?;
        }
        Ok(Self { socket, tls: Some(connection) })
    }

    fn into_stream(self) -> io::Result<Stream> {
        match self.tls {
            None => Stream::plain(self.socket.socket),
            Some(connection) => Stream::tls(self.socket.socket, connection.into()),
        }
    }
}

impl Read for Opening {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(target),
            Some(connection) => rustls::Stream::new(connection, &mut self.socket).read(target),
        }
    }
}

impl Write for Opening {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(connection) => rustls::Stream::new(connection, &mut self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(connection) => rustls::Stream::new(connection, &mut self.socket).flush(),
        }
    }
}

/// All addresses of the host. The system's resolver cannot be interrupted, so it runs beside and may be left behind.
fn resolve(endpoint: &Endpoint, at: Instant, timeout: Duration) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = endpoint.host().to_owned();
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, endpoint.port())]);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let query = (host.clone(), endpoint.port());
    let lookup = thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        // A lookup that came too late has nobody to tell.
        let _ = sender.send(query.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    lookup.map_err(|error| ConnectError::Name { host: host.clone(), reason: error.to_string() })?;
    match receiver.recv_timeout(at.saturating_duration_since(Instant::now())) {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            Err(ConnectError::Name { host, reason: "it has no address".to_owned() })
        }
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(ConnectError::Name { host, reason: error.to_string() }),
        Err(RecvTimeoutError::Timeout) => Err(ConnectError::NameTimeout { host, timeout }),
        Err(RecvTimeoutError::Disconnected) => {
            Err(ConnectError::Name { host, reason: "the lookup thread died".to_owned() })
        }
    }
}

/// Tries each address in turn, each with its share of the time left. The last failure is the one told.
fn connect_any(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    at: Instant,
    timeout: Duration,
) -> Result<TcpStream, ConnectError> {
    let mut failure = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = at.saturating_duration_since(Instant::now());
        let share = (left / (addresses.len() - index) as u32).max(ADDRESS_TIMEOUT_MIN);
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(ConnectError::socket(endpoint.host(), *address, timeout, error)),
        }
    }
    Err(failure.expect("resolve gives at least one address, and each gave a socket or a failure"))
}

impl ConnectError {
    fn socket(host: &str, address: SocketAddr, timeout: Duration, source: io::Error) -> Self {
        let host = host.to_owned();
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { host, address },
            io::ErrorKind::TimedOut => Self::Timeout { host, address, timeout },
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::Unreachable { host, address, source }
            }
            _ => Self::Socket { host, address, source },
        }
    }

    /// Finds out which of the usual misfortunes a failed TLS handshake was.
    pub(crate) fn tls(host: &str, source: io::Error) -> Self {
        let host = host.to_owned();
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(certificate)) = inner else {
            return Self::Tls { host, source };
        };
        match certificate {
            CertificateError::UnknownIssuer => Self::UnknownIssuer { host },
            CertificateError::NotValidForName => Self::WrongName { host, presented: "other names".to_owned() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> = presented.iter().map(|name| bare_name(name)).collect();
                Self::WrongName { host, presented: names.join(", ") }
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                Self::NotValidNow { host, reason: certificate.to_string() }
            }
            _ => Self::Tls { host, source },
        }
    }
}

/// rustls presents names as `DnsName("example.org")`; people read the inside.
fn bare_name(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}
