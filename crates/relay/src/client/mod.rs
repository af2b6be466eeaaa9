//! The subscriber's client: one API over the rings of this machine, a relay's socket, and another machine's relay.
//! [`Source`] + [`Subscription`] -> [`Client::poll`] -> records with their names, and overruns for what was missed.
//!
//! Invariants: per venue, records come in order, each once, and every one that the subscription covers comes or is
//! named in an overrun record, across restarts of feed and relay as long as the ring holds it. Across venues the order
//! is that of (receive time, venue, sequence) within what was there at the poll.

mod dial;
mod direct;
mod past;
mod socket;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::subscription::{Position, Subscription, SubscriptionError};
use crate::tls::TlsError;
use dial::Target;
use direct::DirectSource;
use model::{UnixNanos, Venue};
use socket::SocketSource;
use wire::json::Instruments;
use wire::{Envelope, Record, RecordType};

pub use dial::{TcpSource, Trust};

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The rings in this directory, read in place.
    Rings(PathBuf),
    /// The same, and the journal for what lies before their time.
    RingsAndJournal {
        /// The rings' directory.
        rings: PathBuf,
        /// The journal's folder.
        journal: PathBuf,
    },
    /// The relay that listens at this path.
    Unix(PathBuf),
    /// A relay on another machine.
    Tcp(TcpSource),
}

/// [`ClientOptions::silence`] when nothing else is asked for.
pub const SILENCE_DEFAULT: Duration = Duration::from_secs(10);

/// How a client waits and what it does when its relay goes away.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Spin while waiting rather than sleep: a few microseconds sooner for a whole core.
    pub spin: bool,
    /// What to do when the relay goes away; no meaning for rings.
    pub reconnect: Reconnect,
    /// How long a relay on another machine may say nothing before the link is taken for cut: more than the second in
    /// which it always says something. No meaning for others.
    pub silence: Duration,
    /// Of the jitter between tries.
    pub seed: u64,
    /// Nanoseconds since the Unix epoch, for the records the client makes itself (overruns).
    pub clock: fn() -> UnixNanos,
}

/// What to do when the relay goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// The next poll fails.
    Never,
    /// Try again, first after `first`, then twice as long each time up to `max`, for ever.
    Backoff {
        /// Wait before the first try.
        first: Duration,
        /// Longest wait.
        max: Duration,
    },
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            spin: false,
            reconnect: Reconnect::Backoff { first: Duration::from_millis(20), max: Duration::from_secs(2) },
            silence: SILENCE_DEFAULT,
            seed: system_clock().0 ^ u64::from(std::process::id()) << 32,
            clock: system_clock,
        }
    }
}

pub(crate) fn system_clock() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What stands beside a delivered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Venue of the ring it comes from.
    pub venue: Venue,
    /// Its epoch and sequence. An overrun is nobody's record: its sequence is 0.
    pub envelope: Envelope,
    /// When the newest record at the time of reading was published, ns since the Unix epoch by the feed's clock: for a
    /// reader that keeps up, when this one was.
    pub published_ns: u64,
    /// It lies before the start of the subscription: a definition, state or book that a joiner needs. Such records may
    /// come again; all others come once.
    pub catch_up: bool,
}

/// Why a client cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The subscription makes no sense.
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    /// A ring or its directory. The client goes on behind the trouble at the next poll, with an overrun.
    #[error(transparent)]
    Ring(#[from] ring::RingError),
    /// The relay's socket.
    #[error("cannot {action} relay {relay}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The relay.
        relay: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The path cannot be a socket's.
    #[error(transparent)]
    Path(#[from] crate::path::SocketPathError),
    /// An address that is none.
    #[error("{address:?} is no address of a relay: write it as host:port")]
    Address {
        /// The address.
        address: String,
    },
    /// A relay beyond this machine without TLS.
    #[error(
        "refusing to talk to {address} in the clear: only relays on loopback are reached without TLS; name a CA file"
    )]
    InTheClear {
        /// The address.
        address: String,
    },
    /// Certificates or names that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The relay is not who it should be, or does not speak TLS.
    #[error("relay {relay} cannot be trusted: {reason}")]
    Trust {
        /// The relay.
        relay: String,
        /// What is wrong.
        reason: String,
    },
    /// The relay refused the subscription, in its own words.
    #[error("relay {relay} refuses: {reason}")]
    Refused {
        /// The relay.
        relay: String,
        /// The relay's words.
        reason: String,
    },
    /// What listens there does not speak as a relay does.
    #[error("{relay} does not answer like a relay: {what}")]
    NotARelay {
        /// The relay.
        relay: String,
        /// What is wrong.
        what: String,
    },
    /// A batch is damaged or out of order.
    #[error("relay {relay} sent a bad batch: {what}")]
    BadBatch {
        /// The relay.
        relay: String,
        /// What is wrong.
        what: String,
    },
    /// The relay went away and no reconnecting was asked for.
    #[error("relay {relay} closed the connection")]
    Closed {
        /// The relay.
        relay: String,
    },
    /// The subscription was to end when this consumer is too slow, and it was. Everything before the next record was
    /// told or named in an overrun.
    #[error("{venue}: records were overwritten before they were read, and the subscription was to end then")]
    TooSlow {
        /// Venue of the ring.
        venue: Venue,
    },
}

enum Inner {
    Rings(Box<DirectSource>),
    Socket(Box<SocketSource>),
}

/// A subscriber.
pub struct Client {
    inner: Inner,
    instruments: Instruments,
}

impl Client {
    /// Subscribes. Blocks while a relay is asked (bounded by seconds) or the rings are looked through once.
    pub fn open(source: Source, subscription: Subscription, options: ClientOptions) -> Result<Client, ClientError> {
        subscription.check()?;
        let inner = match source {
            Source::Rings(path) => Inner::Rings(Box::new(DirectSource::open(&path, None, subscription, options)?)),
            Source::RingsAndJournal { rings, journal } => {
                Inner::Rings(Box::new(DirectSource::open(&rings, Some(journal), subscription, options)?))
            }
            Source::Unix(path) => {
                Inner::Socket(Box::new(SocketSource::open(Target::unix(path)?, subscription, options)?))
            }
            Source::Tcp(tcp) => Inner::Socket(Box::new(SocketSource::open(Target::tcp(tcp)?, subscription, options)?)),
        };
        Ok(Client { inner, instruments: Instruments::new() })
    }

    /// Hands what is there to `f`, up to a bounded amount, and returns how many records that was. Never blocks. The
    /// words are valid during the call.
    #[inline]
    pub fn poll<F: FnMut(Delivery, &[u64])>(&mut self, mut f: F) -> Result<usize, ClientError> {
        let instruments = &mut self.instruments;
        let deliver = |delivery: Delivery, words: &[u64]| {
            if words.first().is_some_and(|head| *head as u8 == RecordType::Instrument as u8)
                && let Ok(record) = Record::read(words)
            {
                instruments.observe(&record);
            }
            f(delivery, words);
        };
        match &mut self.inner {
            Inner::Rings(rings) => rings.poll(deliver),
            Inner::Socket(socket) => socket.poll(deliver),
        }
    }

    /// Waits until a poll may find something, for at most `timeout`. May return early and for no reason.
    pub fn wait(&mut self, timeout: Duration) {
        match &mut self.inner {
            Inner::Rings(rings) => rings.wait(timeout),
            Inner::Socket(socket) => socket.wait(timeout),
        }
    }

    /// The definitions delivered so far.
    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// How far this reader is behind, in ring slots of 64 bytes, summed over the rings; `None` over a socket, where
    /// only the relay knows.
    pub fn lag(&self) -> Option<u64> {
        match &self.inner {
            Inner::Rings(rings) => Some(rings.lag()),
            Inner::Socket(_) => None,
        }
    }

    /// Per venue, the record expected next: what to save, and to give as [`crate::Start::Sequence`] later.
    pub fn positions(&self) -> Vec<Position> {
        match &self.inner {
            Inner::Rings(rings) => rings.positions(),
            Inner::Socket(socket) => socket.positions(),
        }
    }

    /// Symbols asked for that no venue asked for had defined when this was opened (or last reconnected). They are
    /// delivered once a feed defines them.
    pub fn unknown_symbols(&self) -> &[String] {
        match &self.inner {
            Inner::Rings(rings) => rings.unknown_symbols(),
            Inner::Socket(socket) => socket.unknown_symbols(),
        }
    }

    /// What was asked for and could not be had as asked, in words.
    pub fn warnings(&self) -> &[String] {
        match &self.inner {
            Inner::Rings(rings) => rings.warnings(),
            Inner::Socket(socket) => socket.warnings(),
        }
    }

    /// The machine the relay runs on, as it says; `None` for rings.
    pub fn site(&self) -> Option<&str> {
        match &self.inner {
            Inner::Rings(_) => None,
            Inner::Socket(socket) => Some(socket.site()),
        }
    }

    /// How often a connection to the relay came about; 0 for rings.
    pub fn connections(&self) -> u64 {
        match &self.inner {
            Inner::Rings(_) => 0,
            Inner::Socket(socket) => socket.connections(),
        }
    }

    /// Whether the source is there: always for rings; for a relay, whether it is connected.
    pub fn is_connected(&self) -> bool {
        match &self.inner {
            Inner::Rings(_) => true,
            Inner::Socket(socket) => socket.is_connected(),
        }
    }
}
