//! One folder per venue, one trait: frames in, records out. Pure state machines: no socket, no clock, no task.
//!
//! A [`VenueMachine`] speaks one venue's protocol. A [`Session`] wraps it with what is the same everywhere
//! (quarantine of bad frames, status of the connection, heartbeats, refreshes for late joiners, the count of
//! records), so that live, replay, fuzzing and simulation run the very same steps on the same inputs.
#![forbid(unsafe_code)]

pub mod alpaca;
mod arbiter;
pub mod binance;
mod channels;
mod choices;
pub mod coinbase;
mod counts;
mod demand;
mod instruments;
pub mod kraken;
mod outbox;
mod recall;
mod registry;
mod session;
mod settings;
pub mod trades;
mod trust;
mod watch;

pub use channels::{Channel, Maturity, channels};
pub use counts::Counts;
pub use instruments::{Defined, InstrumentSet, Known};
pub use outbox::{EventMark, Outbox, Outgoing, Reply, Request, RequestId};
pub use recall::Recall;
pub use registry::{Line, MachineError, Spec, allows_pairs, lines, machine, spec};
pub use session::{Input, LineShape, Quarantined, Session, SessionLine, SessionSettings, ToldBook};
pub use settings::{Credentials, Limit, Settings, StaleAfter};
pub use trust::{Proof, Tally, Trust};
pub use watch::Watch;

use model::{InstrumentId, UnixNanos, Venue};

/// Why a frame could not be read: it is set aside with this and counted, and the stream goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {field}: {problem}")]
pub struct FrameError {
    /// Where in the frame, counted from 0.
    pub offset: usize,
    /// The field or part being read.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// What a feed knew of an instrument before it was restarted, read back from its own ring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The last trade id told, where there was one.
    pub trade_id: Option<u64>,
    /// When the last record of the instrument was received.
    pub last_seen: UnixNanos,
    /// When the venue says the newest trade told happened; 0 where there was none.
    pub trade_time: UnixNanos,
    /// Trades told as missing and not told late since.
    pub missing: Vec<trades::Missing>,
    /// Ids (first and last) that were jumped over without a gap that names them: a run with several connections waits
    /// with it for the others, and may end before. Where ids have holes by nature these mean nothing.
    pub untold: Vec<(u64, u64)>,
    /// Trades told at the moment of the newest one or of an end of a missing window (around it, where ids have no
    /// order), by the venue's time, with their
    /// id or [`trades::key`]: what a venue without contiguous ids may bring again.
    pub recent: Vec<(UnixNanos, u64)>,
    /// Where ids have no order: what happened earlier than this, by the venue's clock, may have been told, and nobody
    /// remembers.
    pub told_from: UnixNanos,
}

impl Memory {
    /// For machines that have yet to meet the instrument: what another connection has told by now stands in for what
    /// the earlier run told.
    pub fn catch_up(memories: &mut Vec<(InstrumentId, Memory)>, instrument: InstrumentId, last_trade: u64) {
        match memories.iter_mut().find(|(id, _)| *id == instrument) {
            Some((_, memory)) if memory.trade_id < Some(last_trade) => {
                memory.trade_id = Some(last_trade);
                memory.missing.clear();
            }
            Some(_) => {}
            None => memories.push((instrument, Memory { trade_id: Some(last_trade), ..Memory::default() })),
        }
    }
}

/// One venue's protocol as a machine. Opens no socket, reads no clock, spawns nothing.
pub trait VenueMachine: Send {
    /// The venue it speaks to.
    fn venue(&self) -> Venue;

    /// Takes in what an earlier run told, before the first connection. Called once for each instrument.
    fn remember(&mut self, instrument: InstrumentId, memory: Memory);

    /// The socket is open: say what is wanted.
    fn on_connected(&mut self, now: UnixNanos, out: &mut Outbox);

    /// One text or binary frame of the venue. An error means that nothing of the frame was used.
    fn on_frame(&mut self, frame: &[u8], received: UnixNanos, out: &mut Outbox) -> Result<(), FrameError>;

    /// The answer to a request from the outbox, or why there is none.
    fn on_response(&mut self, request: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox);

    /// The time named by [`VenueMachine::next_timer`] has come (or passed).
    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox);

    /// The socket is gone: books are no longer live, answers to old requests no longer wanted.
    fn on_disconnected(&mut self, now: UnixNanos, out: &mut Outbox);

    /// When to call `on_timer` even if the venue stays silent.
    fn next_timer(&self) -> Option<UnixNanos>;

    /// Tells an instrument's definition, the state of its book and, when live, a snapshot again, for late joiners.
    fn refresh(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox);

    /// Tells the whole book of an instrument, when it is live, as a snapshot that begins it anew: a consumer changes over
    /// to this connection. A machine whose refresh is cut at a depth must tell all of it here.
    fn snapshot(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Outbox) {
        self.refresh(instrument, now, out);
    }

    /// The id of the last trade told of an instrument, where the venue numbers trades upwards: a second connection that
    /// joins later goes on from it.
    fn last_trade(&self, _instrument: InstrumentId) -> Option<u64> {
        None
    }

    /// Another connection has told trades up to this id, and this one is about to join it: those are neither news here nor
    /// missing, however long this one was away.
    fn catch_up(&mut self, _instrument: InstrumentId, _last_trade: u64) {}

    /// The trades of an instrument that are missing here and may yet be fetched, by id.
    fn missing(&self, _instrument: InstrumentId) -> &[trades::Missing] {
        &[]
    }

    /// Another connection is gone before it could fetch these trades of an instrument: they are to be fetched here and
    /// told late.
    fn take_missing(&mut self, _instrument: InstrumentId, _missing: &[trades::Missing], _now: UnixNanos) {}

    /// Whether a jump of an instrument's trade ids means that trades are missing.
    fn trade_ids_are_contiguous(&self) -> bool {
        true
    }

    /// An instrument's book as it was told so far, whatever its state, and the trust in it; `None` where there is none.
    fn book(&self, _instrument: InstrumentId) -> Option<(&book::Book, &Trust)> {
        None
    }

    /// The instruments registered so far.
    fn instruments(&self) -> &InstrumentSet;

    /// What was seen and done so far.
    fn counts(&self) -> &Counts;
}
