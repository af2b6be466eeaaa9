//! What a machine wants done: records told, frames sent, requests made. The shell empties it after every step.

use model::Reason;
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

/// What a step wants done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Records for the ring, in order.
    pub records: RecordBuf,
    /// Text frames for the venue, in order. The shell spaces them by the venue's message budget.
    pub frames: Vec<String>,
    /// Requests to make.
    pub requests: Vec<Request>,
    /// The socket is of no more use: close it and connect again, for this reason.
    pub reconnect: Option<(Reason, String)>,
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

    /// Forgets what was wanted, keeps the room and the count of requests.
    pub fn clear(&mut self) {
        self.records.clear();
        self.frames.clear();
        self.requests.clear();
        self.reconnect = None;
    }
}
