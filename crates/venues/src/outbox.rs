//! What a machine wants done: records told, frames sent, requests made. The shell empties it after every step.

use model::{InstrumentId, Reason, UnixNanos};
use std::time::Duration;
use wire::RecordBuf;

/// Names a request so that its answer finds back; never reused within a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A GET of the venue's REST interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names the answer.
    pub id: RequestId,
    /// Path and query, to be put behind the configured REST base.
    pub path: String,
    /// What it costs of the venue's request budget, in the venue's own weights.
    pub weight: u32,
}

/// A frame for the venue.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The payload; UTF-8 unless it is binary.
    pub payload: Vec<u8>,
    /// A binary frame instead of a text frame.
    pub binary: bool,
    /// It carries a credential: never logged, captured or shown.
    pub secret: bool,
}

impl Outgoing {
    /// A text frame.
    pub fn text(text: impl Into<String>) -> Outgoing {
        Outgoing { payload: text.into().into_bytes(), binary: false, secret: false }
    }

    /// A binary frame.
    pub fn binary(payload: Vec<u8>) -> Outgoing {
        Outgoing { payload, binary: true, secret: false }
    }

    /// The same frame, marked as one that carries a credential.
    pub fn secret(self) -> Outgoing {
        Outgoing { secret: true, ..self }
    }

    /// The payload as text, when it is a text frame.
    pub fn as_text(&self) -> Option<&str> {
        if self.binary { None } else { std::str::from_utf8(&self.payload).ok() }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.secret, self.as_text()) {
            (true, _) => write!(f, "Outgoing(<secret>)"),
            (false, Some(text)) => write!(f, "Outgoing({text:?})"),
            (false, None) => write!(f, "Outgoing({} bytes)", self.payload.len()),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The venue answered.
    Http {
        /// HTTP status.
        status: u16,
        /// The body as sent.
        body: &'a [u8],
        /// What a `Retry-After` header asked for.
        retry_after: Option<Duration>,
    },
    /// There was no answer; why, in words.
    Failed(&'a str),
}

/// One event of a book as the venue numbers it: lets an arbiter continue a book on another connection exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMark {
    /// Whose book.
    pub instrument: InstrumentId,
    /// How many records stood in the outbox before the event's first.
    pub at: usize,
    /// How many records tell it; 0 when the event changed no level.
    pub records: usize,
    /// The venue's first id in it.
    pub first: u64,
    /// The venue's last id in it.
    pub last: u64,
}

/// What a step wants done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Records for the ring, in order.
    pub records: RecordBuf,
    /// Frames for the venue, in order. The shell spaces them by the venue's message budget.
    pub frames: Vec<Outgoing>,
    /// Requests to make.
    pub requests: Vec<Request>,
    /// The socket is of no more use: close it and connect again, for this reason.
    pub reconnect: Option<(Reason, String)>,
    /// With [`Outbox::reconnect`]: no other connection of this line is made before.
    pub not_before: Option<UnixNanos>,
    /// Book events told by this step, where they are asked for and the venue numbers them.
    pub marks: Vec<EventMark>,
    /// Whether book events are to be marked: only an arbiter reads them.
    pub marking: bool,
    next_request: u64,
}

/// Room for the records of one large read, so that steady state allocates nothing.
const RECORD_WORDS: usize = 1 << 16;

impl Outbox {
    /// An empty outbox with room for a large read's records.
    pub fn new() -> Outbox {
        Outbox { records: RecordBuf::with_capacity(RECORD_WORDS), ..Outbox::default() }
    }

    /// Asks for a GET and returns the id its answer will carry.
    pub fn request(&mut self, path: String, weight: u32) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.requests.push(Request { id, path, weight });
        id
    }

    /// Marks the book event whose records are all that were pushed since there were `at`, when marks are asked for.
    #[inline]
    pub fn mark_event(&mut self, instrument: InstrumentId, at: usize, first: u64, last: u64) {
        if self.marking {
            self.marks.push(EventMark { instrument, at, records: self.records.len() - at, first, last });
        }
    }

    /// Forgets what was wanted, keeps the room and the count of requests.
    pub fn clear(&mut self) {
        self.records.clear();
        self.frames.clear();
        self.requests.clear();
        self.marks.clear();
        self.reconnect = None;
        self.not_before = None;
    }
}
