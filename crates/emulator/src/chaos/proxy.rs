//! The proxy's sockets and threads: one thread accepts, two per connection carry the bytes, each after its lane's word.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Deed, Direction, End, Lane, Script, Step};

/// Longest sleep: how soon the end of the other direction, or of the proxy, is noticed.
const TICK: Duration = Duration::from_millis(20);
/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes that wait in one direction before no more are read.
const QUEUE_BYTES: usize = 4 << 20;
/// A connection to the other side comes about within this time, or the proxy's client is closed.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Connections at a time; more wait until one ends.
const CONNECTIONS_MAX: usize = 256;

/// Where one end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; write host:port, or the path of a Unix socket with a slash in it (./socket)")]
pub struct AddressError(String);

impl std::str::FromStr for Address {
    type Err = AddressError;

    /// What has a slash is a path; anything else needs a host and a port.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let is_tcp =
            || text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        match text {
            _ if text.contains('/') => Ok(Address::Unix(text.into())),
            _ if is_tcp() => Ok(Address::Tcp(text.to_owned())),
            _ => Err(AddressError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why a proxy cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {cause}; write it as 127.0.0.1:7500 or as the path of a socket")]
    Listen {
        /// The address.
        address: Address,
        /// Why not.
        cause: io::Error,
    },
    /// A thread cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Everything a proxy is told.
pub struct Options {
    /// Where clients connect.
    pub listen: Address,
    /// Where they are to get.
    pub to: Address,
    /// What goes wrong.
    pub script: Script,
    /// What chance is drawn from.
    pub seed: u64,
    /// Takes a line for each deed.
    pub journal: Box<dyn Write + Send>,
}

/// Begins proxies.
pub struct Proxy;

/// A running proxy. Dropping it ends every connection.
pub struct Handle {
    address: Address,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    to: Address,
    script: Script,
    seed: u64,
    start: Instant,
    stop: AtomicBool,
    accepted: AtomicU64,
    /// How often everything was to break.
    breaks: AtomicU64,
    journal: Mutex<Box<dyn Write + Send>>,
}

impl Proxy {
    /// Listens and returns.
    pub fn start(options: Options) -> Result<Handle, ChaosError> {
        let failed = |cause| ChaosError::Listen { address: options.listen.clone(), cause };
        let listener = Listener::bind(&options.listen).map_err(failed)?;
        let address = listener.address().map_err(failed)?;
        let shared = Arc::new(Shared {
            to: options.to,
            script: options.script,
            seed: options.seed,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            breaks: AtomicU64::new(0),
            journal: Mutex::new(options.journal),
        });
        let ours = Arc::clone(&shared);
        let run = move || accept(&listener, &ours);
        let thread = std::thread::Builder::new().name("chaos".to_owned()).spawn(run).map_err(ChaosError::Thread)?;
        Ok(Handle { address, shared, thread: Some(thread) })
    }
}

impl Handle {
    /// Where it listens, the port filled in.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Resets every connection there is now.
    pub fn break_all(&self) {
        self.shared.breaks.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends every connection and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the proxy's accept thread panicked");
        }
        if let Address::Unix(path) = &self.address {
            // Somebody may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn tell(&self, connection: u64, direction: Direction, deeds: &[Deed]) {
        if deeds.is_empty() {
            return;
        }
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut journal = self.journal.lock().expect("no holder of this lock panics");
        for deed in deeds {
            if let Err(error) = writeln!(journal, "{}", deed.line(at_ms, connection, direction)) {
                return tracing::error!(%error, "the proxy's journal cannot be written");
            }
        }
        if let Err(error) = journal.flush() {
            tracing::error!(%error, "the proxy's journal cannot be written");
        }
    }
}

fn accept(listener: &Listener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = vec![];
    while !shared.stopping() {
        threads.retain(|thread| !thread.is_finished());
        if threads.len() >= 2 * CONNECTIONS_MAX || !readable(listener.as_fd(), TICK) {
            if threads.len() >= 2 * CONNECTIONS_MAX {
                std::thread::sleep(TICK);
            }
            continue;
        }
        let Ok(client) = listener.accept() else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        match Socket::connect(&shared.to) {
            Ok(server) => threads.extend(carry(number, client, server, shared)),
            Err(error) => {
                tracing::warn!(to = %shared.to, %error, "the proxy cannot connect to the other side");
                shared.tell(number, Direction::Up, &[Deed::End { read: 0, passed: 0, why: "broken" }]);
            }
        }
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the proxy panicked");
        }
    }
}

/// Both ends of one connection, closed when both directions are done with them.
struct Link {
    number: u64,
    client: Socket,
    server: Socket,
    ended: AtomicBool,
    /// When it began.
    start: Instant,
    /// How often everything had been broken then.
    breaks: u64,
}

fn carry(number: u64, client: Socket, server: Socket, shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let breaks = shared.breaks.load(Ordering::Acquire);
    let link = Link { number, client, server, ended: AtomicBool::new(false), start: Instant::now(), breaks };
    let link = Arc::new(link);
    let mut threads = vec![];
    for direction in [Direction::Up, Direction::Down] {
        let (ours, shared) = (Arc::clone(&link), Arc::clone(shared));
        let run = move || {
            let lane = Lane::new(&shared.script, shared.seed, number, direction);
            let queue = Queue::default();
            Carrier { link: &ours, shared: &shared, direction, lane, queue, read: 0, written: 0, is_over: false }.run();
        };
        match std::thread::Builder::new().name(format!("chaos-{number}-{}", direction.name())).spawn(run) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                tracing::error!(%error, "the proxy cannot carry a connection");
                link.ended.store(true, Ordering::Release);
            }
        }
    }
    threads
}

/// Bytes on their way, with the times at which they may go on.
#[derive(Default)]
struct Queue {
    chunks: VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
    /// Of the first chunk, gone already.
    gone: usize,
}

impl Queue {
    fn push(&mut self, due: Duration, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.chunks.push_back((due, bytes));
    }

    /// The bytes that may go on.
    fn ready(&mut self, now: Duration) -> &mut [u8] {
        match self.chunks.front_mut() {
            Some((due, bytes)) if *due <= now => &mut bytes[self.gone..],
            _ => &mut [],
        }
    }

    fn due(&self) -> Option<Duration> {
        self.chunks.front().map(|chunk| chunk.0)
    }

    fn advance(&mut self, bytes: usize) {
        self.gone += bytes;
        self.bytes -= bytes;
        if self.chunks.front().is_some_and(|chunk| chunk.1.len() == self.gone) {
            self.chunks.pop_front();
            self.gone = 0;
        }
    }
}

struct Carrier<'a> {
    link: &'a Link,
    shared: &'a Shared,
    direction: Direction,
    lane: Lane,
    queue: Queue,
    read: u64,
    written: u64,
    /// The sender has said all it had to say.
    is_over: bool,
}

impl Carrier<'_> {
    fn run(mut self) {
        let why = match self.carry() {
            Ok(why) => why,
            Err(error) => {
                tracing::debug!(connection = self.link.number, %error, "a connection through the proxy broke");
                // The other side hears of it as it would without a proxy.
                self.link.reset();
                "broken"
            }
        };
        let mut deeds = self.lane.finish();
        deeds.push(Deed::End { read: self.read, passed: self.written, why });
        self.shared.tell(self.link.number, self.direction, &deeds);
    }

    fn ends(&self) -> (&Socket, &Socket) {
        match self.direction {
            Direction::Up => (&self.link.client, &self.link.server),
            Direction::Down => (&self.link.server, &self.link.client),
        }
    }

    fn carry(&mut self) -> io::Result<&'static str> {
        loop {
            if self.link.ended.load(Ordering::Acquire) {
                return Ok("ended");
            }
            if self.shared.stopping() {
                self.link.close();
                return Ok("stopped");
            }
            if self.shared.breaks.load(Ordering::Acquire) != self.link.breaks {
                self.shared.tell(self.link.number, self.direction, &[Deed::Reset { byte: self.lane.offset() }]);
                self.link.reset();
                return Ok("reset");
            }
            let now = self.link.start.elapsed();
            let step = self.lane.step(self.queue.ready(now).len(), now);
            let deeds = self.lane.deeds();
            self.shared.tell(self.link.number, self.direction, &deeds);
            match step {
                Step::Pass(bytes) => self.pass(bytes, now)?,
                Step::Swallow(bytes) => {
                    self.lane.swallow(bytes, now);
                    self.queue.advance(bytes);
                }
                Step::End(End::Reset) => {
                    self.link.reset();
                    return Ok("reset");
                }
                Step::End(End::Close) => {
                    self.link.close();
                    return Ok("close");
                }
                Step::Wait(until) => {
                    if self.is_over && self.queue.bytes == 0 {
                        self.ends().1.shutdown_write();
                        return Ok("eof");
                    }
                    self.wait(until, now)?;
                }
            }
        }
    }

    fn pass(&mut self, bytes: usize, now: Duration) -> io::Result<()> {
        let piece = &mut self.queue.ready(now)[..bytes];
        self.lane.pass(piece, now);
        let deeds = self.lane.deeds();
        self.shared.tell(self.link.number, self.direction, &deeds);
        let mut to = match self.direction {
            Direction::Up => &self.link.server,
            Direction::Down => &self.link.client,
        };
        let mut piece = &self.queue.ready(now)[..bytes];
        while !piece.is_empty() && !self.link.ended.load(Ordering::Acquire) && !self.shared.stopping() {
            match to.write(piece) {
                Ok(written) => {
                    piece = &piece[written..];
                    self.written += written as u64;
                }
                // A side that reads slowly is no trouble of the proxy's.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.queue.advance(bytes);
        Ok(())
    }

    /// Sleeps until more bytes came or something is due.
    fn wait(&mut self, until: Option<Duration>, now: Duration) -> io::Result<()> {
        let due = [until, self.queue.due().filter(|due| *due > now)].into_iter().flatten().min();
        let timeout = due.map_or(TICK, |due| due.saturating_sub(now).min(TICK));
        let (mut from, _) = self.ends();
        if self.is_over || self.queue.bytes >= QUEUE_BYTES {
            std::thread::sleep(timeout);
            return Ok(());
        }
        if !readable(from.as_fd(), timeout) {
            return Ok(());
        }
        let mut bytes = vec![0; READ_BYTES];
        match from.read(&mut bytes) {
            Ok(0) => self.is_over = true,
            Ok(read) => {
                bytes.truncate(read);
                let due = self.lane.due(self.read, self.link.start.elapsed());
                self.read += read as u64;
                self.queue.push(due, bytes);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Link {
    /// Ends both sides as a broken way does. They are closed when both directions have noticed.
    fn reset(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.client.linger_not();
            self.server.linger_not();
        }
    }

    fn close(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).expect("a tick is short");
    // An interrupted sleep is a short one.
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
            Address::Unix(path) => {
                remove_dead(path)?;
                UnixListener::bind(path).map(|listener| Listener::Unix(listener, path.clone()))
            }
        }
    }

    fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(|address| Address::Tcp(address.to_string())),
            Listener::Unix(_, path) => Ok(Address::Unix(path.clone())),
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Tcp(listener) => listener.accept().and_then(|(socket, _)| Socket::tcp(socket)),
            Listener::Unix(listener, _) => listener.accept().and_then(|(socket, _)| Socket::unix(socket)),
        }
    }
}

/// A socket that nobody listens at is left over from a proxy that was killed.
fn remove_dead(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn connect(address: &Address) -> io::Result<Socket> {
        match address {
            Address::Tcp(address) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for one in std::net::ToSocketAddrs::to_socket_addrs(address)? {
                    match TcpStream::connect_timeout(&one, CONNECT_WITHIN) {
                        Ok(socket) => return Socket::tcp(socket),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Address::Unix(path) => UnixStream::connect(path).and_then(Socket::unix),
        }
    }

    fn tcp(socket: TcpStream) -> io::Result<Socket> {
        // A piece is a packet.
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(TICK))?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(Socket::Tcp(socket))
    }

    fn unix(socket: UnixStream) -> io::Result<Socket> {
        socket.set_write_timeout(Some(TICK))?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(Socket::Unix(socket))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }

    /// The close that follows is a reset. A Unix socket knows no difference.
    fn linger_not(&self) {
        if let Socket::Tcp(socket) = self
            && let Err(error) = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))
        {
            tracing::warn!(%error, "a connection will be closed rather than reset");
        }
    }

    fn shutdown_write(&self) {
        // A side that is gone needs no word.
        let _ = match self {
            Socket::Tcp(socket) => socket.shutdown(std::net::Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(std::net::Shutdown::Write),
        };
    }
}

impl Read for &Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&*socket).read(into),
            Socket::Unix(socket) => (&*socket).read(into),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&*socket).write(bytes),
            Socket::Unix(socket) => (&*socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_path() {
        for text in ["127.0.0.1:7500", "localhost:0", "[::1]:80"] {
            assert_eq!(text.parse(), Ok(Address::Tcp(text.to_owned())));
        }
        for text in ["./socket", "/run/a:1", "a/b"] {
            assert_eq!(text.parse(), Ok(Address::Unix(text.into())));
        }
        for text in ["nope", "", ":80", "host:", "host:port", "host:70000", "host"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError(text.to_owned())), "{text}");
        }
    }
}
