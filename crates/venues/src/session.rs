//! The steps every venue shares, around its machine: one closed list of inputs, and all that follows from them.
//!
//! `step(input, now) -> outbox`. The feed makes inputs from a socket and a clock, a replay reads them from a capture;
//! the records are the same to the byte. Keeps the count of records, and with it the sequence.

use crate::{FrameError, Memory, Outbox, Reply, RequestId, VenueMachine};
use model::{GapCause, InstrumentId, Reason, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::{ClockRecord, GapRecord, HeartbeatRecord, Origin, Status};

/// Everything that can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The run begins. First of all inputs.
    Start {
        /// The run's epoch.
        epoch: u64,
        /// Process id of the writer.
        pid: u32,
        /// Where the data comes from.
        origin: Origin,
        /// The machine's configured name.
        site: &'a str,
        /// The build.
        build: &'a str,
    },
    /// What an earlier run told of an instrument.
    Remember(InstrumentId, &'a Memory),
    /// A connection is being made; where to, in words.
    Connecting(&'a str),
    /// The socket is open.
    Connected,
    /// A frame came.
    Frame(&'a [u8]),
    /// An answer came.
    Response(RequestId, Reply<'a>),
    /// A timer is due.
    Timer,
    /// The socket is gone (or could not be opened); why, in words.
    Disconnected(Reason, &'a str),
    /// The wall clock stepped: it shows this where `now` was due.
    Clock(UnixNanos),
    /// The run ends in order.
    End(Reason),
}

/// How a session paces what it adds to the venue's own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Silence after which a heartbeat is told.
    pub heartbeat: Duration,
    /// Each instrument is refreshed for late joiners at least this often.
    pub refresh: Duration,
    /// Each instrument is refreshed within so many records, so that a ring always holds a refresh of each. Should be
    /// well below the ring's slots.
    pub refresh_records: u64,
}

impl Default for SessionSettings {
    fn default() -> SessionSettings {
        SessionSettings {
            heartbeat: Duration::from_secs(1),
            refresh: Duration::from_secs(30),
            refresh_records: 1 << 18,
        }
    }
}

/// A frame that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number in this session, counted from 1.
    pub frame: u64,
    /// Why.
    pub error: FrameError,
}

/// A venue machine with the steps every venue shares.
pub struct Session {
    machine: Box<dyn VenueMachine>,
    settings: SessionSettings,
    epoch: u64,
    records: u64,
    frames: u64,
    malformed: u64,
    connected: bool,
    last_record: UnixNanos,
    last_frame: UnixNanos,
    /// The instrument refreshed last, when (or when the connection opened), and at which record count the next is due.
    refresh_index: usize,
    refreshed: Option<UnixNanos>,
    refresh_records_due: u64,
}

impl Session {
    /// A session around a machine.
    pub fn new(machine: Box<dyn VenueMachine>, settings: SessionSettings) -> Session {
        Session {
            machine,
            settings,
            epoch: 0,
            records: 0,
            frames: 0,
            malformed: 0,
            connected: false,
            last_record: UnixNanos::ZERO,
            last_frame: UnixNanos::ZERO,
            refresh_index: 0,
            refreshed: None,
            refresh_records_due: 0,
        }
    }

    /// The machine inside.
    pub fn machine(&self) -> &dyn VenueMachine {
        &*self.machine
    }

    /// The run's epoch; 0 before the start.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sequence the next record will have.
    pub fn next_sequence(&self) -> u64 {
        self.records + 1
    }

    /// Frames set aside as malformed.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Does one step. The outbox's records are appended to, and each appended record takes the next sequence.
    /// A frame that could not be read comes back with the reason; it is already told as a gap.
    pub fn step(&mut self, input: Input<'_>, now: UnixNanos, out: &mut Outbox) -> Option<Quarantined> {
        let before = out.records.len();
        let bad = self.apply(input, now, out);
        let told = (out.records.len() - before) as u64;
        if told > 0 {
            self.records += told;
            self.last_record = now;
        }
        bad
    }

    #[inline]
    fn apply(&mut self, input: Input<'_>, now: UnixNanos, out: &mut Outbox) -> Option<Quarantined> {
        match input {
            Input::Frame(frame) => {
                self.frames += 1;
                let mark = out.records.mark();
                match self.machine.on_frame(frame, now, out) {
                    Ok(()) => self.last_frame = now,
                    Err(error) => {
                        out.records.truncate(mark);
                        return Some(self.quarantine(error, now, out));
                    }
                }
            }
            Input::Timer => self.on_timer(now, out),
            Input::Response(id, reply) => self.machine.on_response(id, reply, now, out),
            Input::Connecting(to) => {
                self.tell_connection(StreamState::Connecting, Reason::Start, to, now, out);
            }
            Input::Connected => {
                self.connected = true;
                self.last_frame = now;
                self.refreshed = Some(now);
                self.refresh_records_due = self.records + self.refresh_records_step();
                self.tell_connection(StreamState::Live, Reason::Ok, "", now, out);
                self.machine.on_connected(now, out);
            }
            Input::Disconnected(reason, why) => {
                self.tell_connection(StreamState::Down, reason, why, now, out);
                if std::mem::take(&mut self.connected) {
                    self.machine.on_disconnected(now, out);
                }
            }
            Input::Remember(instrument, memory) => self.machine.remember(instrument, memory.clone()),
            Input::Clock(wall) => out.records.push(&ClockRecord::new(self.machine.venue(), wall, now)),
            Input::Start { epoch, pid, origin, site, build } => {
                self.epoch = epoch;
                out.records
                    .push_session_start(self.machine.venue(), epoch, pid, origin, site, build, now)
                    .expect("site and build names are checked when the configuration is read");
            }
            Input::End(reason) => {
                out.records.push_session_end(self.machine.venue(), self.epoch, reason, now);
            }
        }
        None
    }

    /// When a [`Input::Timer`] is due.
    pub fn next_timer(&self) -> Option<UnixNanos> {
        let heartbeat = (self.epoch != 0).then(|| self.last_record.after(self.settings.heartbeat));
        let refresh = self.refresh_due().filter(|_| self.connected && !self.machine.instruments().is_empty());
        [self.machine.next_timer(), heartbeat, refresh].into_iter().flatten().min()
    }

    /// Whether a refresh is overdue by the count of records: a shell that is always busy must still send a timer.
    #[inline]
    pub fn wants_timer(&self) -> bool {
        self.connected && self.records >= self.refresh_records_due && !self.machine.instruments().is_empty()
    }

    fn on_timer(&mut self, now: UnixNanos, out: &mut Outbox) {
        let before = out.records.len();
        if self.machine.next_timer().is_some_and(|due| due <= now) {
            self.machine.on_timer(now, out);
        }
        if self.refresh_due().is_some_and(|due| due <= now) || self.wants_timer() {
            self.refresh_one(now, out);
        }
        if self.epoch != 0 && out.records.len() == before && now >= self.last_record.after(self.settings.heartbeat) {
            let next = self.records + 2;
            out.records.push(&HeartbeatRecord::new(self.machine.venue(), next, now));
        }
    }

    /// Refreshes the next instrument of the round, so that the load is spread evenly.
    fn refresh_one(&mut self, now: UnixNanos, out: &mut Outbox) {
        let count = self.machine.instruments().len();
        if count > 0 && self.connected {
            self.refresh_index = (self.refresh_index + 1) % count;
            let id = self.machine.instruments().get(self.refresh_index as u32).id;
            self.machine.refresh(id, now, out);
        }
        self.refreshed = Some(now);
        self.refresh_records_due = self.records + self.refresh_records_step();
    }

    /// Counted with the instruments there are now: most become known only after the connection opened.
    fn refresh_due(&self) -> Option<UnixNanos> {
        self.refreshed.map(|at| at.after(self.refresh_step()))
    }

    fn refresh_step(&self) -> Duration {
        self.settings.refresh / u32::try_from(self.machine.instruments().len().max(1)).unwrap_or(u32::MAX)
    }

    fn refresh_records_step(&self) -> u64 {
        (self.settings.refresh_records / self.machine.instruments().len().max(1) as u64).max(1)
    }

    fn tell_connection(&self, state: StreamState, reason: Reason, text: &str, now: UnixNanos, out: &mut Outbox) {
        let (venue, status) = (self.machine.venue(), Status::Connection(state));
        out.records.push_status(venue, InstrumentId::NONE, status, reason, text, UnixNanos::ZERO, now);
    }

    #[cold]
    fn quarantine(&mut self, error: FrameError, now: UnixNanos, out: &mut Outbox) -> Quarantined {
        self.malformed += 1;
        let venue = self.machine.venue();
        let (stream, cause) = (StreamKind::Connection, GapCause::Malformed);
        out.records.push(&GapRecord::new(venue, InstrumentId::NONE, stream, cause, None, self.last_frame, now));
        self.last_frame = now;
        Quarantined { frame: self.frames, error }
    }
}
