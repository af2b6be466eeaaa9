//! Faults on demand: what a test or a demo wants to go wrong, when, and exactly what it did.
//!
//! [`parse_script`] or [`parse_command`] -> [`Planned`] -> frames ([`engine`]), sockets or the server -> [`Extent`].
//! Frame faults act where frames enter the log, so every reader of a stream sees the same fault, or on one connection
//! when the plan names it. Socket faults act on connections, server faults on what is accepted and answered. Nothing
//! is random but by a seed.

pub(crate) mod control;
pub(crate) mod engine;
pub(crate) mod ledger;
mod mutate;
pub(crate) mod refusal;
mod script;

use std::path::PathBuf;
use std::time::Duration;

use model::StreamKind;

pub use ledger::Extent;
pub use script::{ScriptError, parse_command, parse_script};

use crate::market::Topic;

/// Which streams a frame fault means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind; `None` means all.
    pub kind: Option<StreamKind>,
    /// The venue's symbol; `None` means all.
    pub symbol: Option<String>,
}

impl Target {
    /// Every stream.
    pub const ALL: Target = Target { kind: None, symbol: None };

    /// One kind of stream of one symbol.
    pub fn of(kind: StreamKind, symbol: &str) -> Self {
        Self { kind: Some(kind), symbol: Some(symbol.to_owned()) }
    }

    pub(crate) fn fits(&self, topic: &Topic) -> bool {
        if topic.kind == StreamKind::Connection {
            // Heartbeats that come from the market are no more hit than those of a protocol.
            return false;
        }
        self.kind.is_none_or(|kind| kind == topic.kind) && self.symbol.as_ref().is_none_or(|s| *s == topic.symbol)
    }
}

/// A number of a trade, quote or level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its price.
    Price,
    /// Its size.
    Size,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every connection breaks, without a close frame.
    Drop,
    /// Streams fall silent for a time; pings and heartbeats go on.
    Mute(Target, Duration),
    /// The next frames are lost. Where the venue counts its frames, each has used up its number.
    Lose(Target, u32),
    /// The next frames never were: REST has what they told, the stream does not, and no number is used up.
    Hide(Target, u32),
    /// One digit of a size in the next frame that has one is changed: a wrong checksum at Kraken (as soon as the level is
    /// among the best ten), a wrong level at Binance.
    Corrupt(Target),
    /// The checksum alone of the next frame that has one is changed.
    Checksum(Target),
    /// The next frame is sent twice.
    Duplicate(Target),
    /// The next so many frames are sent in another order.
    Reorder(Target, u32),
    /// The next frame is followed by its first half, which is no JSON.
    Malform(Target),
    /// The next frame ends in its middle.
    Truncate(Target),
    /// A number is replaced by these digits, in quotes where the venue quotes it.
    Number(Target, Field, String),
    /// A number is replaced, quotes and all, by this JSON value.
    Type(Target, Field, String),
    /// Event times are off by so many milliseconds for a time.
    Skew(Target, i64, Duration),
    /// A bid of the next book frame that has one is put above the asks.
    Cross(Target),
    /// Streams repeat their last frame for a time instead of going on.
    Freeze(Target, Duration),
    /// Connections stay open, and nothing is sent or read on them, for a time; then they break.
    HalfOpen(Duration),
    /// Connections send one byte at a time, each in a write of its own, for a time.
    Trickle(Duration),
    /// Connections send messages in WebSocket frames of at most so many bytes for a time.
    Fragment {
        /// Bytes of a frame, at least 1.
        bytes: u32,
        /// For so long.
        wait: Duration,
    },
    /// Each connection is sent a message of so many MiB of spaces. Compressed, where that was agreed, it is a bomb.
    Giant {
        /// MiB, 1 to 1024, and at most 256 on a connection that is compressed.
        mib: u32,
    },
    /// Each connection is sent this text.
    Say(String),
    /// New connections and requests are answered with this HTTP status, `Retry-After` and the venue's own body for a time.
    Refuse {
        /// 418 (Binance's ban), 429 or 503.
        status: u16,
        /// For so long.
        wait: Duration,
    },
    /// The venue's backend starts anew: every connection breaks, and trade ids and sequences begin at 1 again.
    Restart,
    /// The next books served whole, by REST or on the stream, are the first ones that were.
    OldSnapshot(u32),
    /// New connections see this certificate (PEM files); those that are open stay.
    Certificate {
        /// Certificate chain.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// Where a fault acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Frames,
    Sockets,
    Server,
}

impl Fault {
    /// The name it has in scripts and journals.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Drop => "drop",
            Fault::Mute(..) => "mute",
            Fault::Lose(..) => "lose",
            Fault::Hide(..) => "hide",
            Fault::Corrupt(_) => "corrupt",
            Fault::Checksum(_) => "checksum",
            Fault::Duplicate(_) => "duplicate",
            Fault::Reorder(..) => "reorder",
            Fault::Malform(_) => "malform",
            Fault::Truncate(_) => "truncate",
            Fault::Number(..) => "number",
            Fault::Type(..) => "type",
            Fault::Skew(..) => "skew",
            Fault::Cross(_) => "cross",
            Fault::Freeze(..) => "freeze",
            Fault::HalfOpen(_) => "half_open",
            Fault::Trickle(_) => "trickle",
            Fault::Fragment { .. } => "fragment",
            Fault::Giant { .. } => "giant",
            Fault::Say(_) => "say",
            Fault::Refuse { .. } => "refuse",
            Fault::Restart => "restart",
            Fault::OldSnapshot(_) => "old_snapshot",
            Fault::Certificate { .. } => "certificate",
        }
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Fault::Drop
            | Fault::HalfOpen(_)
            | Fault::Trickle(_)
            | Fault::Fragment { .. }
            | Fault::Giant { .. }
            | Fault::Say(_) => Place::Sockets,
            Fault::Refuse { .. } | Fault::Restart | Fault::OldSnapshot(_) | Fault::Certificate { .. } => Place::Server,
            _ => Place::Frames,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        match self {
            Fault::Mute(target, _)
            | Fault::Lose(target, _)
            | Fault::Hide(target, _)
            | Fault::Corrupt(target)
            | Fault::Checksum(target)
            | Fault::Duplicate(target)
            | Fault::Reorder(target, _)
            | Fault::Malform(target)
            | Fault::Truncate(target)
            | Fault::Number(target, ..)
            | Fault::Type(target, ..)
            | Fault::Skew(target, ..)
            | Fault::Cross(target)
            | Fault::Freeze(target, _) => target,
            _ => &Target::ALL,
        }
    }

    /// For how long it acts, where that is a time.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        match self {
            Fault::Mute(_, wait)
            | Fault::Skew(_, _, wait)
            | Fault::Freeze(_, wait)
            | Fault::HalfOpen(wait)
            | Fault::Trickle(wait)
            | Fault::Fragment { wait, .. }
            | Fault::Refuse { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

/// Which frame sets a fault off, counted from when the fault was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The next that fits; what needs no frame happens at once.
    Next,
    /// The one with this number among those that fit, from 1.
    Frame(u64),
    /// Each that fits, with this chance in a million.
    PerMillion(u32),
}

/// A fault, what sets it off and how often it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What goes wrong.
    pub fault: Fault,
    /// What sets it off.
    pub trigger: Trigger,
    /// Only on the connection with this number, as in the journal; `None`: for all.
    pub connection: Option<u64>,
    /// Frames hit, where the fault itself has no count.
    pub count: u32,
    /// Seeds chance and order.
    pub seed: u64,
}

impl From<Fault> for Planned {
    fn from(fault: Fault) -> Self {
        Self { fault, trigger: Trigger::Next, connection: None, count: 1, seed: 1 }
    }
}

/// A plan and when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedFault {
    /// After the start of the server.
    pub after: Duration,
    /// What goes wrong.
    pub planned: Planned,
}
