//! The door for other machines: a thread that takes TCP connections, agrees on TLS, reads the first line, and hands
//! over to the relay only who gave the right token.
//!
//! What strangers can make it do is bounded: connections at the door, together and per address, failures per address,
//! bytes and time per connection. The relay's own thread never sees a stranger, and its data never waits for a
//! handshake. One `poll` over all of it: nobody here is in a hurry.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ring::Doorbell;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use rustix::net::sockopt;
use rustls::ServerConfig;

use super::attempts::{Attempts, key};
use super::subscriber::HELLO_TIMEOUT;
use super::{DEAD_AFTER_DEFAULT, ServerError};
use crate::handshake::{Answer, HELLO_BYTES_MAX, Secret, read_hello};
use crate::link::Link;
use crate::subscription::Subscription;
use crate::tls;
use crate::token::Token;

/// Connections at the door at a time; each holds its first line at most.
const WAITING_MAX: usize = 64;
/// Of one address.
const WAITING_PER_ADDRESS_MAX: usize = 8;
/// Those let in that the relay has not taken yet.
const ADMITTED_MAX: usize = 64;
/// The longest sleep: how late a deadline may be noticed.
const SLEEP_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// A pause when connections cannot be taken: out of descriptors, say.
const TROUBLE_PAUSE: Duration = Duration::from_millis(100);

/// Listening for other machines. Beyond loopback TLS and a token are needed.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// As whom to appear; without it everything goes in the clear.
    pub identity: Option<Identity>,
    /// What clients must know.
    pub token: Option<Token>,
    /// How long a client's machine may leave bytes unacknowledged, or take none, before the connection is given up.
    pub dead_after: Duration,
}

/// A server's certificate and key, as PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TcpOptions {
    /// Defaults: no identity, no token, [`DEAD_AFTER_DEFAULT`].
    pub fn new(listen: SocketAddr) -> TcpOptions {
        TcpOptions { listen, identity: None, token: None, dead_after: DEAD_AFTER_DEFAULT }
    }

    fn check(&self) -> Result<(), ServerError> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let missing = match (&self.identity, &self.token) {
            (None, None) => "TLS and a token",
            (None, Some(_)) => "TLS",
            (Some(_), None) => "a token",
            (Some(_), Some(_)) => return Ok(()),
        };
        Err(ServerError::Unguarded { listen: self.listen, missing })
    }
}

/// Somebody who was let in.
pub(super) struct Admitted {
    pub(super) link: Link,
    pub(super) address: SocketAddr,
    pub(super) subscription: Subscription,
}

/// What the relay holds of the door.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    admitted: Receiver<Admitted>,
    shared: Arc<Shared>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    news: AtomicBool,
    stop: AtomicBool,
    refused: AtomicU64,
}

impl Door {
    pub(super) fn open(options: TcpOptions, doorbell: Doorbell) -> Result<Door, ServerError> {
        options.check()?;
        let failed = |action| move |source| ServerError::Tcp { action, listen: options.listen, source };
        let identity = options.identity.as_ref();
        let tls = identity.map(|files| tls::server(&files.certificate, &files.key)).transpose()?;
        let listener = TcpListener::bind(options.listen).map_err(failed("listen on"))?;
        listener.set_nonblocking(true).map_err(failed("set up"))?;
        let address = listener.local_addr().map_err(failed("look at"))?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| failed("wait for clients on")(error.into()))?;
        let woken = wake.try_clone().map_err(failed("wait for clients on"))?;
        let (sender, admitted) = sync_channel(ADMITTED_MAX);
        let shared = Arc::new(Shared::default());
        let doorman = Doorman {
            listener,
            woken,
            options,
            tls,
            waiting: Vec::new(),
            attempts: Attempts::default(),
            sender,
            shared: shared.clone(),
            doorbell,
            paused_until: None,
        };
        let thread = std::thread::Builder::new()
            .name("relay-door".to_owned())
            .spawn(move || doorman.run())
            .map_err(|source| ServerError::Tcp { action: "start a thread for", listen: address, source })?;
        Ok(Door { address, admitted, shared, wake, thread: Some(thread) })
    }

    /// Whether somebody was let in since the last [`Door::take`] that found nobody.
    pub(super) fn has_news(&self) -> bool {
        self.shared.news.load(Ordering::SeqCst)
    }

    pub(super) fn take(&self) -> Option<Admitted> {
        if !self.has_news() {
            return None;
        }
        self.shared.news.store(false, Ordering::SeqCst);
        let admitted = self.admitted.try_recv().ok()?;
        // There may be more.
        self.shared.news.store(true, Ordering::SeqCst);
        Some(admitted)
    }

    /// Connections that did not get in.
    pub(super) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // A counter of 1 always has room for another 1.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection at the door.
struct Waiting {
    link: Link,
    address: SocketAddr,
    line: Vec<u8>,
    /// A refusal and how much of it was taken; after it the connection ends.
    answer: Option<(Vec<u8>, usize)>,
    until: Instant,
}

/// What a look at a connection came to.
enum Outcome {
    Waits,
    Wants(Subscription),
    /// It ended, or failed; whether that counts against its address.
    Over {
        failed: bool,
    },
}

struct Doorman {
    listener: TcpListener,
    woken: OwnedFd,
    options: TcpOptions,
    tls: Option<Arc<ServerConfig>>,
    waiting: Vec<Waiting>,
    attempts: Attempts,
    sender: SyncSender<Admitted>,
    shared: Arc<Shared>,
    doorbell: Doorbell,
    paused_until: Option<Instant>,
}

impl Doorman {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::SeqCst) {
            let ready = self.wait();
            let now = Instant::now();
            self.look_after(&ready, now);
            if self.paused_until.is_none_or(|until| now >= until) {
                self.paused_until = None;
                self.accept(now);
            }
        }
    }

    /// Which of those at the door have something to say.
    fn wait(&self) -> Vec<bool> {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        fds.extend(self.waiting.iter().map(|waiting| {
            let flags = match &waiting.answer {
                Some(_) => PollFlags::OUT,
                None if waiting.link.is_flushed() => PollFlags::IN,
                None => PollFlags::IN | PollFlags::OUT,
            };
            PollFd::new(&waiting.link, flags)
        }));
        if self.paused_until.is_none() && self.waiting.len() < WAITING_MAX {
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        // A signal and the end of the time mean the same: look at the deadlines.
        let _ = rustix::event::poll(&mut fds, Some(&SLEEP_MAX));
        fds[1..=self.waiting.len()].iter().map(|fd| !fd.revents().is_empty()).collect()
    }

    fn look_after(&mut self, ready: &[bool], now: Instant) {
        let secret = match &self.options.token {
            Some(token) => Secret::Token(token),
            None => Secret::Optional,
        };
        let mut admitted = Vec::new();
        for at in (0..ready.len()).rev() {
            let waiting = &mut self.waiting[at];
            let outcome = if now >= waiting.until {
                tracing::info!(client = %waiting.address, "client at the door took too long");
                Outcome::Over { failed: true }
            } else if ready[at] {
                waiting.step(secret)
            } else {
                Outcome::Waits
            };
            match outcome {
                Outcome::Waits => {}
                Outcome::Wants(subscription) => {
                    let Waiting { link, address, .. } = self.waiting.swap_remove(at);
                    admitted.push(Admitted { link, address, subscription });
                }
                Outcome::Over { failed } => {
                    let mut over = self.waiting.swap_remove(at);
                    over.link.close();
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                    if failed {
                        self.attempts.failed(over.address.ip(), now);
                    }
                }
            }
        }
        for one in admitted {
            self.admit(one);
        }
    }

    fn admit(&self, admitted: Admitted) {
        let address = admitted.address;
        match self.sender.try_send(admitted) {
            Ok(()) => {
                self.shared.news.store(true, Ordering::SeqCst);
                self.doorbell.ring();
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::warn!(client = %address, "client sent away: the relay takes none for now");
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        while self.waiting.len() < WAITING_MAX {
            match self.listener.accept() {
                Ok((socket, address)) => self.meet(socket, address, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A client that left before it was met.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client from another machine");
                    self.paused_until = Some(now + TROUBLE_PAUSE);
                    return;
                }
            }
        }
    }

    fn meet(&mut self, socket: TcpStream, address: SocketAddr, now: Instant) {
        let same = |waiting: &&Waiting| key(waiting.address.ip()) == key(address.ip());
        let crowd = self.waiting.iter().filter(same).count() >= WAITING_PER_ADDRESS_MAX;
        if crowd || !self.attempts.allows(address.ip(), now) {
            // Not told why: it costs too much to say it to somebody who does not stop.
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(client = %address, crowd, "client turned away");
            return;
        }
        match self.link(socket) {
            Ok(link) => {
                let until = now + HELLO_TIMEOUT;
                self.waiting.push(Waiting { link, address, line: Vec::new(), answer: None, until });
            }
            Err(error) => tracing::warn!(client = %address, %error, "client's connection cannot be set up"),
        }
    }

    fn link(&self, socket: TcpStream) -> io::Result<Link> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let dead_after = u32::try_from(self.options.dead_after.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, dead_after)?;
        Ok(match &self.tls {
            None => Link::Tcp(socket),
            Some(config) => Link::tls(socket, tls::accept(config).map_err(io::Error::other)?),
        })
    }
}

impl Waiting {
    fn step(&mut self, secret: Secret<'_>) -> Outcome {
        if self.answer.is_some() {
            return self.finish();
        }
        let mut piece = [0; 4096];
        loop {
            match self.link.read(&mut piece) {
                Ok(0) => return Outcome::Over { failed: self.link.is_handshaking() },
                Ok(got) => {
                    if let Some(outcome) = self.take(&piece[..got], secret) {
                        return outcome;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Waits,
                Err(error) => {
                    tracing::info!(client = %self.address, %error, "client at the door failed");
                    return Outcome::Over { failed: true };
                }
            }
        }
    }

    /// More of the first line.
    fn take(&mut self, bytes: &[u8], secret: Secret<'_>) -> Option<Outcome> {
        let searched = self.line.len();
        self.line.extend_from_slice(bytes);
        let Some(end) = self.line[searched..].iter().position(|byte| *byte == b'\n') else {
            let too_long = self.line.len() > HELLO_BYTES_MAX;
            return too_long.then(|| self.refuse(format!("the first line has more than {HELLO_BYTES_MAX} bytes")));
        };
        let (line, behind) = self.line.split_at(searched + end);
        if behind.len() > 1 {
            return Some(self.refuse("the first line is followed by more; nothing may follow".to_owned()));
        }
        Some(match read_hello(line, secret) {
            Ok(subscription) => Outcome::Wants(subscription),
            Err(refused) => {
                if refused.of_secret {
                    tracing::warn!(client = %self.address, "client gave no or a wrong token");
                }
                self.refuse(refused.reason)
            }
        })
    }

    fn refuse(&mut self, reason: String) -> Outcome {
        tracing::info!(client = %self.address, reason, "client refused");
        self.answer = Some((Answer::refusal(reason).line(), 0));
        self.finish()
    }

    /// The rest of a refusal.
    fn finish(&mut self) -> Outcome {
        let Some((answer, from)) = &mut self.answer else { return Outcome::Over { failed: true } };
        let written = self.link.write(&answer[*from..]);
        let flushed = self.link.flush();
        match (written, flushed) {
            (Ok(some), Ok(flushed)) => {
                *from += some;
                if flushed && *from == answer.len() { Outcome::Over { failed: true } } else { Outcome::Waits }
            }
            _ => Outcome::Over { failed: true },
        }
    }
}
