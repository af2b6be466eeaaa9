//! The steps every venue shares, around its machines: one closed list of inputs, and all that follows from them.
//!
//! `step(input, now) -> outbox`. The feed makes inputs from sockets and a clock, a replay reads them from a capture;
//! the records are the same to the byte. Keeps the count of records, and with it the sequence.
//!
//! A session has one line for each connection. Lines of one group carry the same instruments (an A/B pair, or a
//! connection and its successor): behind the first two of them that are used stands an [`Arbiter`]. Lines of different
//! groups carry different instruments and pass straight through. One line alone costs nothing for any of this.

mod refresh;

use crate::arbiter::Arbiter;
use crate::demand::Demands;
use crate::{Counts, FrameError, Memory, Outbox, Reply, RequestId, VenueMachine};
use model::{BookState, GapCause, Instrument, InstrumentId, Reason, StreamKind, StreamState, UnixNanos, Venue};
use std::time::Duration;
use wire::{ClockRecord, GapRecord, Header, HeartbeatRecord, Origin, RecordType, Status};

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
    /// A consumer wants an instrument's book told anew: a live one is, once and soon, however many ask. One that is not
    /// is told when it comes to be live, asked for or not.
    Snapshot(InstrumentId),
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

/// What a line is called and which instruments it carries: all that a replay must know beside the machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineShape {
    /// Its name in what is told of it.
    pub name: String,
    /// Lines of one group carry the same instruments, lines of different groups different ones.
    pub group: u32,
}

/// One connection's place in a session.
pub struct SessionLine {
    /// Name and group.
    pub shape: LineShape,
    /// Speaks on it. Lines of a group need machines that were made alike.
    pub machine: Box<dyn VenueMachine>,
}

/// A line and what the session keeps of it.
struct Line {
    shape: LineShape,
    machine: Box<dyn VenueMachine>,
    /// Its group, by index.
    group: usize,
    /// Its number within the group.
    place: usize,
    connected: bool,
    /// When the last sound frame came, or the connection was opened; zero while it never was.
    last_frame: UnixNanos,
    /// Its instruments were told to be without a connection.
    told_down: bool,
}

/// Lines that carry the same instruments.
struct Group {
    lines: Vec<usize>,
    /// There from the moment a second line is used.
    arbiter: Option<Box<Arbiter>>,
    /// What an earlier run told, for the arbiter.
    memories: Vec<(InstrumentId, Memory)>,
}

/// An instrument's holes that the last run did not live to tell, and when its last record was received.
type Untold = (InstrumentId, Vec<(u64, u64)>, UnixNanos);

/// A book as one line's machine keeps it.
#[derive(Clone, Copy)]
pub struct ToldBook<'a> {
    /// The book.
    pub book: &'a book::Book,
    /// The instrument at the scales of the book's mantissas, which may be narrower than those told.
    pub definition: &'a Instrument,
}

/// The lines of a venue, with the steps every venue shares.
pub struct Session {
    lines: Vec<Line>,
    groups: Vec<Group>,
    venue: Venue,
    settings: SessionSettings,
    epoch: u64,
    records: u64,
    frames: u64,
    malformed: u64,
    /// Lines that are connected.
    up: usize,
    last_record: UnixNanos,
    /// The instrument refreshed last, when (or when the connection opened), and at which record count the next is due.
    refresh_index: usize,
    refreshed: Option<UnixNanos>,
    refresh_records_due: u64,
    /// Books that consumers asked for.
    demands: Demands,
    /// What a machine tells before an arbiter has judged it.
    side: Outbox,
    /// Holes that an earlier run did not live to tell, and since when, until their instruments are defined.
    untold: Vec<Untold>,
}

impl Session {
    /// A session of one line.
    pub fn new(machine: Box<dyn VenueMachine>, settings: SessionSettings) -> Session {
        let shape = LineShape { name: String::new(), group: 0 };
        Session::with_lines(vec![SessionLine { shape, machine }], settings)
    }

    /// A session of one line or more.
    ///
    /// # Panics
    /// Without a line.
    pub fn with_lines(lines: Vec<SessionLine>, settings: SessionSettings) -> Session {
        let venue = lines.first().expect("a session has a line").machine.venue();
        let mut numbers: Vec<u32> = vec![];
        let mut groups: Vec<Group> = vec![];
        let mut own: Vec<Line> = vec![];
        for (index, SessionLine { shape, machine }) in lines.into_iter().enumerate() {
            let group = numbers.iter().position(|g| *g == shape.group).unwrap_or_else(|| {
                numbers.push(shape.group);
                groups.push(Group { lines: vec![], arbiter: None, memories: vec![] });
                groups.len() - 1
            });
            let place = groups[group].lines.len();
            groups[group].lines.push(index);
            own.push(Line {
                shape,
                machine,
                group,
                place,
                connected: false,
                last_frame: UnixNanos::ZERO,
                told_down: false,
            });
        }
        Session {
            lines: own,
            groups,
            venue,
            settings,
            epoch: 0,
            records: 0,
            frames: 0,
            malformed: 0,
            up: 0,
            last_record: UnixNanos::ZERO,
            refresh_index: 0,
            refreshed: None,
            refresh_records_due: 0,
            demands: Demands::default(),
            side: Outbox::default(),
            untold: vec![],
        }
    }

    /// The first line's machine.
    pub fn machine(&self) -> &dyn VenueMachine {
        &*self.lines[0].machine
    }

    /// Every line's machine.
    pub fn machines(&self) -> impl Iterator<Item = &dyn VenueMachine> {
        self.lines.iter().map(|line| &*line.machine)
    }

    /// How many books are in each state, in the order of [`BookState::ALL`], by the line of each group that is used.
    pub fn book_states(&self) -> [u64; BookState::ALL.len()] {
        let mut states = [0; BookState::ALL.len()];
        for group in &self.groups {
            let machine = &self.lines[self.alone(group)].machine;
            for (_, trust) in machine.instruments().iter().filter_map(|i| machine.book(i.id)) {
                states[usize::from(trust.state().code()) - 1] += 1;
            }
        }
        states
    }

    /// Every line's name and group.
    pub fn shape(&self) -> Vec<LineShape> {
        self.lines.iter().map(|line| line.shape.clone()).collect()
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

    /// What was seen and done on all lines, where records are counted as told.
    pub fn counts(&self) -> Counts {
        if let [line] = &self.lines[..] {
            return *line.machine.counts();
        }
        let mut all = Counts::default();
        for group in &self.groups {
            let mut counts = Counts::default();
            for line in &group.lines {
                counts.add(self.lines[*line].machine.counts());
            }
            if let Some(arbiter) = &group.arbiter {
                arbiter.correct(&mut counts);
            }
            all.add(&counts);
        }
        all
    }

    /// Book update messages that the lines' machines have applied.
    #[inline]
    pub fn book_updates(&self) -> u64 {
        self.lines.iter().map(|line| line.machine.counts().book_updates).sum()
    }

    /// An instrument's book as it was told by the last step, whichever line told it; `None` where there is none, or while
    /// the line that is to go on with it has yet to come to where another one left it.
    #[inline]
    pub fn book(&self, instrument: InstrumentId) -> Option<ToldBook<'_>> {
        let of = |line: usize| {
            let machine = &self.lines[line].machine;
            let (book, _) = machine.book(instrument)?;
            let definition = machine.instruments().get(machine.instruments().index_of(instrument)?);
            Some(ToldBook { book, definition })
        };
        self.groups.iter().find_map(|group| match &group.arbiter {
            Some(arbiter) => of(group.lines[arbiter.book_line(instrument)?]),
            None => of(self.alone(group)),
        })
    }

    /// Whether a line is connected and carries all that its group tells, so that another line may go.
    pub fn is_ready(&self, line: usize) -> bool {
        let Line { group, place, connected, .. } = self.lines[line];
        connected && self.groups[group].arbiter.as_ref().is_some_and(|arbiter| arbiter.is_ready(place))
    }

    /// How much market data a line's machine has taken, over all its connections. See [`Counts::market_data`].
    pub fn market_data(&self, line: usize) -> u64 {
        self.lines[line].machine.counts().market_data()
    }

    /// Does one step of the first line. See [`Session::step_line`].
    #[inline]
    pub fn step(&mut self, input: Input<'_>, now: UnixNanos, out: &mut Outbox) -> Option<Quarantined> {
        self.step_line(0, input, now, out)
    }

    /// Does one step. The outbox's records are appended to, and each appended record takes the next sequence; frames,
    /// requests and the wish to reconnect are the line's. A frame that could not be read comes back with the reason; it
    /// is already told as a gap. Start, clock and end are of the whole session, whatever the line.
    #[inline]
    pub fn step_line(
        &mut self,
        line: usize,
        input: Input<'_>,
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Option<Quarantined> {
        let before = out.records.len();
        let bad = self.apply(line, input, now, out);
        if !self.untold.is_empty() {
            self.tell_untold(before, now, out);
        }
        let told = (out.records.len() - before) as u64;
        if told > 0 {
            self.records += told;
            self.last_record = now;
        }
        bad
    }

    /// Tells the holes of an earlier run whose instruments were defined in this step, from its record `before` on.
    #[cold]
    fn tell_untold(&mut self, before: usize, now: UnixNanos, out: &mut Outbox) {
        let defined: Vec<InstrumentId> = (out.records.iter().skip(before))
            .filter_map(|words| Header::read(words).ok())
            .filter(|header| header.record_type() == Some(RecordType::Instrument))
            .map(|header| header.instrument())
            .collect();
        let (stream, cause) = (StreamKind::Trade, GapCause::Restart);
        for (id, ranges, from) in self.untold.extract_if(.., |(id, ..)| defined.contains(id)) {
            for range in ranges {
                out.records.push(&GapRecord::new(self.venue, id, stream, cause, Some(range), from, now));
            }
        }
    }

    #[inline]
    fn apply(&mut self, line: usize, input: Input<'_>, now: UnixNanos, out: &mut Outbox) -> Option<Quarantined> {
        match input {
            Input::Frame(frame) => return self.on_frame(line, frame, now, out),
            Input::Timer => self.on_timer(line, now, out),
            Input::Response(id, reply) => self.run(line, now, out, |m, out| m.on_response(id, reply, now, out)),
            Input::Connecting(to) => {
                self.arbitrate(line, now);
                if self.up == 0 {
                    self.tell_connection(StreamState::Connecting, Reason::Start, to, now, out);
                }
            }
            Input::Connected => self.on_connected(line, now, out),
            Input::Disconnected(reason, why) => self.on_disconnected(line, reason, why, now, out),
            Input::Remember(instrument, memory) => {
                for line in &mut self.lines {
                    line.machine.remember(instrument, memory.clone());
                }
                for group in self.groups.iter_mut().filter(|g| g.lines.len() > 1) {
                    group.memories.push((instrument, memory.clone()));
                }
                if !memory.untold.is_empty() && self.lines[line].machine.trade_ids_are_contiguous() {
                    self.untold.push((instrument, memory.untold.clone(), memory.last_seen));
                }
            }
            Input::Snapshot(instrument) => {
                self.demands.ask(instrument);
                self.serve_demands(now, out);
            }
            Input::Clock(wall) => out.records.push(&ClockRecord::new(self.venue, wall, now)),
            Input::Start { epoch, pid, origin, site, build } => {
                self.epoch = epoch;
                out.records
                    .push_session_start(self.venue, epoch, pid, origin, site, build, now)
                    .expect("site and build names are checked when the configuration is read");
            }
            Input::End(reason) => {
                out.records.push_session_end(self.venue, self.epoch, reason, now);
            }
        }
        None
    }

    #[inline]
    fn on_frame(&mut self, index: usize, frame: &[u8], now: UnixNanos, out: &mut Outbox) -> Option<Quarantined> {
        self.frames += 1;
        let line = &mut self.lines[index];
        if self.groups[line.group].arbiter.is_some() {
            return self.on_arbitrated_frame(index, frame, now, out);
        }
        let mark = out.records.mark();
        match line.machine.on_frame(frame, now, out) {
            Ok(()) => {
                line.last_frame = now;
                None
            }
            Err(error) => {
                out.records.truncate(mark);
                Some(self.quarantine(index, error, now, out))
            }
        }
    }

    fn on_arbitrated_frame(
        &mut self,
        index: usize,
        frame: &[u8],
        now: UnixNanos,
        out: &mut Outbox,
    ) -> Option<Quarantined> {
        let mut result = Ok(());
        self.run(index, now, out, |machine, out| {
            result = machine.on_frame(frame, now, out);
            if result.is_err() {
                out.records.clear();
                out.marks.clear();
            }
        });
        match result {
            Ok(()) => {
                self.lines[index].last_frame = now;
                None
            }
            Err(error) => Some(self.quarantine(index, error, now, out)),
        }
    }

    /// Lets a line's machine act; what it tells passes its group's arbiter, if there is one.
    #[inline]
    fn run(
        &mut self,
        index: usize,
        now: UnixNanos,
        out: &mut Outbox,
        act: impl FnOnce(&mut dyn VenueMachine, &mut Outbox),
    ) {
        let line = &mut self.lines[index];
        let Some(arbiter) = &mut self.groups[line.group].arbiter else { return act(&mut *line.machine, out) };
        // The machine's wishes go where they always go; its records are judged first.
        std::mem::swap(&mut out.records, &mut self.side.records);
        out.marking = true;
        act(&mut *line.machine, out);
        out.marking = false;
        std::mem::swap(&mut out.records, &mut self.side.records);
        arbiter.take(line.place, &self.side.records, &out.marks, now, &mut out.records);
        self.side.records.clear();
        out.marks.clear();
        self.settle(index, now, out);
    }

    fn settle(&mut self, index: usize, now: UnixNanos, out: &mut Outbox) {
        let Session { lines, groups, side, .. } = self;
        let Group { lines: members, arbiter: Some(arbiter), .. } = &mut groups[lines[index].group] else { return };
        arbiter.settle(now, &mut out.records, &mut |place, instrument, records| {
            side.clear();
            lines[members[place]].machine.snapshot(instrument, now, side);
            std::mem::swap(records, &mut side.records);
            side.clear();
        });
    }

    /// Puts an arbiter behind a group when a second of its lines is about to be used: it takes over where the first one
    /// stands.
    fn arbitrate(&mut self, index: usize, now: UnixNanos) {
        let Session { lines, groups, side, venue, .. } = self;
        let group = &mut groups[lines[index].group];
        if group.arbiter.is_some() {
            return;
        }
        let used = |l: &&usize| **l != index && lines[**l].last_frame != UnixNanos::ZERO;
        let Some(first) = group.lines.iter().find(used).copied() else { return };
        let contiguous = lines[index].machine.trade_ids_are_contiguous();
        let mut arbiter = Box::new(Arbiter::new(*venue, group.lines.len(), contiguous));
        for (instrument, memory) in group.memories.drain(..) {
            arbiter.remember(instrument, &memory);
        }
        let Line { machine, place, connected, last_frame, .. } = &mut lines[first];
        let known: Vec<_> = machine.instruments().iter().cloned().collect();
        for definition in known {
            side.clear();
            machine.refresh(definition.id, now, side);
            let trades = (machine.last_trade(definition.id), machine.missing(definition.id));
            arbiter.seed(*place, &definition, &side.records, trades, *last_frame);
        }
        side.clear();
        arbiter.take_over(*place, *connected, machine.counts());
        group.arbiter = Some(arbiter);
    }

    fn on_connected(&mut self, index: usize, now: UnixNanos, out: &mut Outbox) {
        self.arbitrate(index, now);
        let line = &mut self.lines[index];
        let group = line.group;
        self.up += usize::from(!std::mem::replace(&mut line.connected, true));
        line.last_frame = now;
        if let Some(arbiter) = &mut self.groups[line.group].arbiter {
            arbiter.line_up(line.place);
            for (instrument, last) in arbiter.trades_told() {
                line.machine.catch_up(instrument, last);
            }
        }
        self.refreshed = Some(now);
        self.refresh_records_due = self.records + self.refresh_records_step();
        let text = match &self.lines[index].shape.name[..] {
            "" => String::new(),
            name => format!("line {name} is up"),
        };
        self.tell_connection(StreamState::Live, Reason::Ok, &text, now, out);
        if std::mem::take(&mut self.lines[index].told_down) {
            self.tell_carried(index, (StreamState::Live, Reason::Ok), &text, now, out);
        }
        self.run(index, now, out, |machine, out| machine.on_connected(now, out));
        self.hand_on(group, now);
    }

    /// What lines that are gone did not get to fetch is fetched by one that is up.
    fn hand_on(&mut self, group: usize, now: UnixNanos) {
        let Group { lines: members, arbiter: Some(arbiter), .. } = &self.groups[group] else { return };
        let Some(heir) = members.iter().copied().find(|l| self.lines[*l].connected) else { return };
        let mut left = vec![];
        for line in members.iter().map(|l| &self.lines[*l]).filter(|line| !line.connected) {
            let missing = line.machine.instruments().iter().map(|i| (i.id, line.machine.missing(i.id)));
            left.extend(missing.map(|(id, missing)| (id, arbiter.still_missing(id, missing))));
        }
        for (id, missing) in left.into_iter().filter(|(_, missing)| !missing.is_empty()) {
            self.lines[heir].machine.take_missing(id, &missing, now);
        }
    }

    /// The venue is down only when its last line is; what a line alone carried is told instrument by instrument.
    fn on_disconnected(&mut self, index: usize, reason: Reason, why: &str, now: UnixNanos, out: &mut Outbox) {
        let line = &mut self.lines[index];
        let (group, place, was) = (line.group, line.place, std::mem::take(&mut line.connected));
        self.up -= usize::from(was);
        let carried = self.groups[group].lines.iter().any(|l| self.lines[*l].connected);
        let name = &self.lines[index].shape.name;
        let text = if name.is_empty() { why.to_owned() } else { format!("line {name}: {why}") };
        let state = if self.up > 0 { StreamState::Live } else { StreamState::Down };
        self.tell_connection(state, reason, &text, now, out);
        if !was {
            return;
        }
        if self.up > 0 && !carried {
            self.lines[index].told_down = true;
            self.tell_carried(index, (StreamState::Down, reason), &text, now, out);
        }
        if let Some(arbiter) = &mut self.groups[group].arbiter {
            arbiter.line_going(place);
        }
        self.run_unsettled(index, now, out);
        if let Some(arbiter) = &mut self.groups[group].arbiter {
            arbiter.line_down(place, now, &mut out.records);
        }
        self.settle(index, now, out);
        self.hand_on(group, now);
    }

    /// The machine's part of a lost connection; who leads is decided when the arbiter knows all of it.
    fn run_unsettled(&mut self, index: usize, now: UnixNanos, out: &mut Outbox) {
        let line = &mut self.lines[index];
        let Some(arbiter) = &mut self.groups[line.group].arbiter else { return line.machine.on_disconnected(now, out) };
        std::mem::swap(&mut out.records, &mut self.side.records);
        line.machine.on_disconnected(now, out);
        std::mem::swap(&mut out.records, &mut self.side.records);
        arbiter.take(line.place, &self.side.records, &[], now, &mut out.records);
        self.side.records.clear();
    }

    /// The state of the one line that carries these instruments, while others keep the venue up.
    fn tell_carried(
        &self,
        index: usize,
        (state, reason): (StreamState, Reason),
        text: &str,
        now: UnixNanos,
        out: &mut Outbox,
    ) {
        let status = Status::Stream(StreamKind::Connection, state);
        for instrument in self.lines[index].machine.instruments().iter() {
            out.records.push_status(self.venue, instrument.id, status, reason, text, UnixNanos::ZERO, now);
        }
    }

    /// When an [`Input::Timer`] is due for one of the lines.
    pub fn next_timer(&self) -> Option<UnixNanos> {
        let lines = self.lines.iter().filter_map(|line| line.machine.next_timer()).min();
        [lines, self.shared_timer()].into_iter().flatten().min()
    }

    /// Whether an [`Input::Timer`] is due for this line.
    #[inline]
    pub fn timer_is_due(&self, line: usize, now: UnixNanos) -> bool {
        let due = self.lines[line].machine.next_timer().is_some_and(|due| due <= now);
        due || line == 0 && (self.wants_timer() || self.shared_timer().is_some_and(|due| due <= now))
    }

    /// When what concerns all lines is due: heartbeat, refresh, and what arbiters wait for.
    fn shared_timer(&self) -> Option<UnixNanos> {
        let heartbeat = (self.epoch != 0).then(|| self.last_record.after(self.settings.heartbeat));
        let refresh = self.refresh_due().filter(|_| self.up > 0 && self.instruments() > 0);
        let arbiters = self.groups.iter().filter_map(|g| g.arbiter.as_ref()?.next_timer()).min();
        [heartbeat, refresh, arbiters, self.demands.due()].into_iter().flatten().min()
    }

    /// Whether a refresh is overdue by the count of records: a shell that is always busy must still send a timer.
    #[inline]
    pub fn wants_timer(&self) -> bool {
        self.up > 0 && self.records >= self.refresh_records_due && self.instruments() > 0
    }

    fn on_timer(&mut self, index: usize, now: UnixNanos, out: &mut Outbox) {
        let before = out.records.len();
        if self.lines[index].machine.next_timer().is_some_and(|due| due <= now) {
            self.run(index, now, out, |machine, out| machine.on_timer(now, out));
        }
        for group in &mut self.groups {
            if let Some(arbiter) = &mut group.arbiter {
                arbiter.on_timer(now, &mut out.records);
            }
        }
        if self.refresh_due().is_some_and(|due| due <= now) || self.wants_timer() {
            self.refresh_one(now, out);
        }
        self.serve_demands(now, out);
        if self.epoch != 0 && out.records.len() == before && now >= self.last_record.after(self.settings.heartbeat) {
            let next = self.records + 2;
            out.records.push(&HeartbeatRecord::new(self.venue, next, now));
        }
    }

    /// How many instruments there are on all lines.
    #[inline]
    fn instruments(&self) -> usize {
        if let [line] = &self.lines[..] {
            return line.machine.instruments().len();
        }
        self.groups.iter().map(|group| self.instruments_of(group)).sum()
    }

    fn instruments_of(&self, group: &Group) -> usize {
        match &group.arbiter {
            Some(arbiter) => arbiter.instruments(),
            None => self.lines[self.alone(group)].machine.instruments().len(),
        }
    }

    /// The one line of a group that is used while there is no arbiter.
    fn alone(&self, group: &Group) -> usize {
        let connected = group.lines.iter().find(|l| self.lines[**l].connected);
        *connected.unwrap_or(&group.lines[0])
    }

    fn tell_connection(&self, state: StreamState, reason: Reason, text: &str, now: UnixNanos, out: &mut Outbox) {
        let status = Status::Connection(state);
        out.records.push_status(self.venue, InstrumentId::NONE, status, reason, text, UnixNanos::ZERO, now);
    }

    /// A frame that cannot be read is told as a gap, unless another line vouches for what it held.
    #[cold]
    fn quarantine(&mut self, index: usize, error: FrameError, now: UnixNanos, out: &mut Outbox) -> Quarantined {
        self.malformed += 1;
        let line = &mut self.lines[index];
        let arbiter = self.groups[line.group].arbiter.as_ref();
        if arbiter.is_none_or(|arbiter| arbiter.would_miss(line.place)) {
            let (stream, cause) = (StreamKind::Connection, GapCause::Malformed);
            let gap = GapRecord::new(self.venue, InstrumentId::NONE, stream, cause, None, line.last_frame, now);
            out.records.push(&gap);
        }
        line.last_frame = now;
        Quarantined { frame: self.frames, error }
    }
}
