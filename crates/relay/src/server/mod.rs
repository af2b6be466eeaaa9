//! The relay: fans the rings out to Unix sockets and TCP, and never waits for a client.
//! doorbell or socket event -> [`Server::run`]'s one loop -> per client and ring one batch -> its socket.
//!
//! Invariants: no queue per client (one cursor per ring and at most one partly written batch); a socket without room
//! costs nothing until it has room; what a client missed is told exactly. Nothing here would be missed by a restart.

mod attempts;
mod control;
mod door;
mod encode;
mod librarian;
mod listener;
mod past;
mod stats;
mod subscriber;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::system_clock;
use crate::link::Link;
use crate::path::SocketPathError;
use crate::rings::Rings;
use crate::subscription::Subscription;
use crate::tls::TlsError;
use control::{Control, READABLE, WRITABLE};
use door::{Admitted, Door};
use encode::Encoder;
use librarian::{Closing, Librarian};
use listener::Listener;
use model::UnixNanos;
use ring::RingError;
use rustix::event::{PollFd, Timespec};
use subscriber::{Greeted, Peer, Subscriber};

pub use door::{Identity, TcpOptions};
pub use stats::{ClientStats, RingStats, Stats, StatsHandle};

/// Connections a relay holds by default: more consumers than a machine of this kind feeds.
pub const CLIENTS_MAX_DEFAULT: usize = 256;
/// How long a client on another machine may leave bytes unacknowledged, by default: longer than a link's usual hiccups,
/// short enough that nobody's place is held for the dead.
pub const DEAD_AFTER_DEFAULT: Duration = Duration::from_secs(15);
/// Bytes asked for as a client's socket's buffer (Linux grants twice that, for its own book-keeping). A full socket
/// counts as having room once three quarters of it are read: the larger, the fewer wake-ups per byte.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
/// The longest sleep: how late a request to stop may be noticed.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// The longest direct wait for room, in which no index follows its ring.
const ROOM_WAIT_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// How often idle clients are told how far the relay looked.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Slots an index follows per turn.
const FOLLOW_SLOTS: usize = 2048;
/// How often the numbers are renewed.
const STATS_EVERY: Duration = Duration::from_millis(250);
/// Turns taken to hand out what is there when the relay is stopped.
const DRAIN_TURNS_MAX: usize = 64;

/// How to run a relay.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Directory of the rings.
    pub rings: PathBuf,
    /// Where to listen; at most [`crate::SOCKET_PATH_MAX`] bytes.
    pub socket: PathBuf,
    /// Connections at a time; more are refused.
    pub clients_max: usize,
    /// Users allowed beside the relay's own and root.
    pub uids: Vec<u32>,
    /// Whether and how to listen for other machines.
    pub tcp: Option<TcpOptions>,
    /// Folder of the journal, where subscriptions that start in the past are served from it. It may appear later.
    pub journal: Option<PathBuf>,
    /// The machine, as its records name it; told to clients.
    pub site: String,
    /// Nanoseconds since the Unix epoch, for the records the relay makes itself (overruns).
    pub clock: fn() -> UnixNanos,
}

impl ServerOptions {
    /// Defaults: [`CLIENTS_MAX_DEFAULT`], no users but the relay's own and root, no other machines, no journal, a
    /// machine without a name, the system's clock.
    pub fn new(rings: PathBuf, socket: PathBuf) -> ServerOptions {
        ServerOptions {
            rings,
            socket,
            clients_max: CLIENTS_MAX_DEFAULT,
            uids: Vec::new(),
            tcp: None,
            journal: None,
            site: String::new(),
            clock: system_clock,
        }
    }
}

/// Why a relay cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The path cannot be a socket's.
    #[error(transparent)]
    Path(#[from] SocketPathError),
    /// Another relay.
    #[error("somebody listens at {path} already: stop that relay or choose another path")]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// The path belongs to something else.
    #[error("{path} exists and is not a socket: remove it or choose another path")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Listening beyond this machine without protection.
    #[error(
        "refusing to listen on {listen} without {missing}: beyond loopback anybody could read along; set certificate, \
         key and token_file, or listen on 127.0.0.1"
    )]
    Unguarded {
        /// The address.
        listen: SocketAddr,
        /// What is missing.
        missing: &'static str,
    },
    /// A certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The operating system refused, for TCP.
    #[error("cannot {action} {listen}: {source}")]
    Tcp {
        /// What was tried.
        action: &'static str,
        /// The address.
        listen: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The rings' directory.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// A relay that listens.
pub struct Server {
    options: ServerOptions,
    rings: Rings,
    listener: Listener,
    control: Control,
    door: Option<Door>,
    librarian: Option<(Librarian, Closing)>,
    /// By slot.
    clients: Vec<Option<Subscriber>>,
    encoder: Encoder,
    filters: u64,
    own_uid: u32,
    accept_again: bool,
    /// Something was handed out since the sockets were last waited for directly.
    served_since_wait: bool,
    stats: StatsHandle,
    totals: Stats,
    beat_at: Instant,
    stats_at: Instant,
}

impl Server {
    /// Opens the rings' directory and listens. Clients are served by [`Server::run`].
    pub fn bind(options: ServerOptions) -> Result<Server, ServerError> {
        let rings = Rings::open(&options.rings)?;
        let listener = Listener::bind(&options.socket)?;
        let io = |action| {
            let path = options.socket.clone();
            move |source| ServerError::Io { action, path, source }
        };
        let slots = options.clients_max + 1;
        let control = Control::start(slots, rings.directory().doorbell().clone()).map_err(io("wait for sockets at"))?;
        control.add(options.clients_max, &listener.socket).map_err(io("wait for clients at"))?;
        let tcp = options.tcp.clone();
        let door = tcp.map(|tcp| Door::open(tcp, rings.directory().doorbell().clone())).transpose()?;
        let journal = options.journal.clone();
        let read = |folder| Librarian::start(folder, rings.directory().doorbell().clone(), options.clock);
        let librarian = journal.map(read).transpose().map_err(io("start the thread that reads history for"))?;
        let now = Instant::now();
        Ok(Server {
            clients: (0..options.clients_max).map(|_| None).collect(),
            rings,
            listener,
            control,
            door,
            librarian,
            encoder: Encoder::new(),
            filters: 0,
            own_uid: rustix::process::geteuid().as_raw(),
            accept_again: true,
            served_since_wait: false,
            stats: StatsHandle::default(),
            totals: Stats::default(),
            beat_at: now + BEAT_EVERY,
            stats_at: now,
            options,
        })
    }

    /// Where it listens for other machines.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.door.as_ref().map(|door| door.address)
    }

    /// Its numbers, for another thread.
    pub fn stats(&self) -> StatsHandle {
        self.stats.clone()
    }

    /// Serves until `stop` turns true, then hands out what is there and closes.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.on_sockets();
            self.on_door();
            self.on_time();
            let progressed = self.serve();
            self.served_since_wait |= progressed;
            if self.follow() && !progressed && !self.wait_for_room() {
                self.sleep();
            }
        }
        for _ in 0..DRAIN_TURNS_MAX {
            if !self.serve() {
                break;
            }
        }
    }

    /// One batch per client and ring at most, so that nobody waits for one with much to catch up on.
    fn serve(&mut self) -> bool {
        let now = (self.options.clock)();
        let mut progressed = false;
        for at in 0..self.rings.len() {
            for client in self.clients.iter_mut().flatten() {
                progressed |= client.serve(at, &mut self.rings, &mut self.encoder, &self.control, now);
            }
        }
        self.drop_the_gone();
        progressed
    }

    fn drop_the_gone(&mut self) {
        for client in &mut self.clients {
            let Some(mut over) = client.take_if(|client| client.is_over()) else { continue };
            over.close();
            self.totals.bytes_sent += over.bytes_sent;
            self.totals.batches_sent += over.batches_sent;
            tracing::info!(client = %over.peer(), "client gone");
        }
    }

    /// The indexes keep up, so that whoever joins later need not wait. A step as long as a batch or two, whose slots
    /// are still in the cache. True when there is no more to follow.
    fn follow(&mut self) -> bool {
        let mut done = true;
        for ring in self.rings.list_mut() {
            match ring.index.advance(FOLLOW_SLOTS) {
                Ok(all) => done &= all,
                Err(error) => tracing::warn!(venue = %ring.venue, %error, "ring cannot be followed"),
            }
        }
        done
    }

    /// Where all sockets are full, what the rings have is nobody's for now: waits for room itself, which saves the
    /// hop through the other thread. Once and briefly after something was handed out; whoever takes longer than that
    /// to read is waited for like everything else. False when there was nothing to wait for.
    fn wait_for_room(&mut self) -> bool {
        let all_full = self.clients.iter().flatten().all(Subscriber::is_blocked);
        if !std::mem::take(&mut self.served_since_wait) || !all_full || self.has_news() {
            return false;
        }
        let mut full: Vec<&mut Subscriber> = self.clients.iter_mut().flatten().collect();
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd> = full.iter().map(|client| client.room_poll()).collect();
            // A signal and the end of the time mean the same: nothing is ready.
            let _ = rustix::event::poll(&mut fds, Some(&ROOM_WAIT_MAX));
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        for (client, _) in full.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            client.on_writable(&self.control);
            self.served_since_wait = true;
        }
        true
    }

    fn sleep(&mut self) {
        self.control.going_to_sleep();
        let doorbell = self.rings.directory().doorbell();
        let ticket = doorbell.arm();
        if !self.has_news() && !self.clients.iter().flatten().any(Subscriber::has_work) {
            doorbell.wait(ticket, Some(SLEEP_MAX));
        }
        self.control.awake();
    }

    fn has_news(&self) -> bool {
        self.control.has_news() || self.door.as_ref().is_some_and(Door::has_news)
    }

    fn on_sockets(&mut self) {
        if !self.control.has_news() && !self.accept_again {
            return;
        }
        let mut wanting = Vec::new();
        let (clients, totals, control) = (&mut self.clients, &mut self.totals, &self.control);
        let mut accept = std::mem::take(&mut self.accept_again);
        control.take(|slot, events| {
            let Some(entry) = clients.get_mut(slot) else {
                accept = true;
                return;
            };
            let Some(client) = entry else { return };
            if events & WRITABLE != 0 {
                client.on_writable(control);
            }
            if events & READABLE != 0 {
                match client.on_readable(control) {
                    Greeted::Waiting => {}
                    Greeted::Wants(subscription) => wanting.push((slot, subscription)),
                    Greeted::Refused => totals.refused += 1,
                }
            }
        });
        for (slot, subscription) in wanting {
            if let Some(client) = self.clients[slot].take() {
                self.begin(client, slot, subscription);
            }
        }
        if accept {
            self.accept();
        }
        self.drop_the_gone();
    }

    fn begin(&mut self, mut client: Subscriber, slot: usize, subscription: Subscription) {
        let (clients, filters) = (&self.clients, &mut self.filters);
        let filter_of = |key: &_| {
            let same = clients.iter().flatten().filter_map(Subscriber::streaming).find(|other| other.key == *key);
            same.map_or_else(
                || {
                    *filters += 1;
                    *filters
                },
                |other| other.filter,
            )
        };
        let librarian = self.librarian.as_ref().map(|(librarian, _)| librarian);
        client.begin(subscription, filter_of, &mut self.rings, librarian, &self.options.site, &self.control);
        // What came with the line, or its end right behind it, is not announced again.
        client.on_readable(&self.control);
        self.clients[slot] = Some(client);
    }

    /// Those from other machines who gave the right token and said what they want.
    fn on_door(&mut self) {
        while let Some(Admitted { link, address, subscription }) = self.door.as_ref().and_then(Door::take) {
            let free = self.clients.iter().position(Option::is_none);
            let slot = free.unwrap_or(self.options.clients_max);
            let mut client = Subscriber::new(link, slot, Peer::Remote(address), Instant::now());
            if free.is_none() {
                self.totals.refused += 1;
                client.refuse(self.no_room(), &self.control);
                client.close();
            } else if client.watch(&self.control) {
                self.totals.accepted += 1;
                self.begin(client, slot, subscription);
            }
        }
    }

    fn no_room(&self) -> String {
        format!("{} clients are connected, that is the limit", self.options.clients_max)
    }

    fn accept(&mut self) {
        loop {
            match self.listener.socket.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors, say. The one who waits is not announced again, so try at the next turn.
                    tracing::warn!(%error, "cannot accept a client");
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream) {
        let Ok(credentials) = rustix::net::sockopt::socket_peercred(&stream) else { return };
        let uid = credentials.uid.as_raw();
        let peer = Peer::Local { pid: credentials.pid.as_raw_nonzero().get(), uid };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // Where the system grants less it is less: then the relay is only woken more often.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
        let free = self.clients.iter().position(Option::is_none);
        // A refused client is told, never watched: its slot is that of nobody.
        let slot = free.unwrap_or(self.options.clients_max);
        let mut client = Subscriber::new(Link::Unix(stream), slot, peer, Instant::now());
        let reason = if !self.allows(uid) {
            Some(format!("user {uid} may not connect: allow it in the relay's configuration"))
        } else if free.is_none() {
            Some(self.no_room())
        } else {
            None
        };
        if let Some(reason) = reason {
            self.totals.refused += 1;
            client.refuse(reason, &self.control);
            return;
        }
        if client.watch(&self.control) {
            self.totals.accepted += 1;
            self.clients[slot] = Some(client);
        }
    }

    fn allows(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own_uid || self.options.uids.contains(&uid)
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        let rescanned = self.rings.refresh(now).unwrap_or_else(|error| {
            tracing::warn!(%error, "new rings are not seen until the directory can be read again");
            false
        });
        if rescanned {
            for client in self.clients.iter_mut().flatten() {
                client.on_rescan(&mut self.rings, now);
                if client.is_late(now) {
                    self.totals.refused += 1;
                    let limit = subscriber::HELLO_TIMEOUT.as_secs();
                    client.refuse(format!("no subscription within {limit} s"), &self.control);
                }
            }
        }
        if now >= self.beat_at {
            self.beat_at = now + BEAT_EVERY;
            for client in self.clients.iter_mut().flatten() {
                client.beat(&mut self.encoder, &self.control);
            }
        }
        if now >= self.stats_at {
            self.stats_at = now + STATS_EVERY;
            self.publish_stats();
        }
    }

    fn publish_stats(&self) {
        let live = self.clients.iter().flatten();
        self.stats.set(Stats {
            batches_encoded: self.encoder.encoded,
            batches_sent: self.totals.batches_sent + live.clone().map(|client| client.batches_sent).sum::<u64>(),
            bytes_sent: self.totals.bytes_sent + live.clone().map(|client| client.bytes_sent).sum::<u64>(),
            refused: self.totals.refused + self.door.as_ref().map_or(0, Door::refused),
            clients: live.filter_map(Subscriber::stats).collect(),
            rings: self
                .rings
                .list()
                .iter()
                .map(|ring| RingStats {
                    venue: ring.venue,
                    instruments: ring.index.instruments(),
                    tail: ring.index.reader().tail(),
                })
                .collect(),
            ..self.totals.clone()
        });
    }
}
