//! A replay that runs: paced, told to its sinks, and steered while it does.
//!
//! [`Runner::run`] is one loop on one thread: orders, then the next event when it is due. [`Handle`] gives orders from any
//! thread and gets an answer to each once it is obeyed. The clock is passed in.

use crate::bars::{BarChoice, BarCounter, ClosedBar};
use crate::pace::{Due, Pace};
use crate::{Replay, ReplayError, Sink, Take, Told};
use capture::Speed;
use model::UnixNanos;
use serde::Serialize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use telemetry::Histogram;
use wire::json::Instruments;
use wire::{Record, RecordType};

/// The replay's clock and how it sleeps. A simulated one makes tests of any length take no time.
pub trait Clock {
    /// A clock that never steps.
    fn now(&mut self) -> Duration;
    /// The wall clock, with which rings are stamped.
    fn wall(&mut self) -> UnixNanos;
    /// Sleeps until an order comes, which is returned, or for at most so long; for ever without a bound. `None` at the
    /// end of the time, and when nobody is left to give orders.
    fn sleep(&mut self, orders: &Receiver<Order>, most: Option<Duration>) -> Option<Order>;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// A clock that begins now.
    pub fn start() -> SystemClock {
        SystemClock { began: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Duration {
        self.began.elapsed()
    }

    fn wall(&mut self) -> UnixNanos {
        UnixNanos(telemetry::clock::wall_ns())
    }

    fn sleep(&mut self, orders: &Receiver<Order>, most: Option<Duration>) -> Option<Order> {
        let Some(most) = most else { return orders.recv().ok() };
        match orders.recv_timeout(most) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(most);
                None
            }
        }
    }
}

/// What a replay can be asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Say how it stands.
    Status,
    /// Stop where it is.
    Pause,
    /// Go on.
    Resume,
    /// Go to a time, forward or back. Paused stays paused.
    Seek(UnixNanos),
    /// Another speed, from here on.
    Speed(Speed),
    /// Tell so many events at once, then pause.
    StepEvents(u64),
    /// Tell until so many bars are closed, then pause.
    StepBars(u64, BarChoice),
    /// End.
    Stop,
}

/// An order: a command, and where its answer goes.
pub struct Order {
    /// What to do.
    pub command: Command,
    answer: Sender<Result<Status, String>>,
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It tells events as they are due.
    Playing,
    /// It waits for an order.
    Paused,
    /// All was told; a seek leads back.
    Ended,
}

/// How a replay stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Always true: nothing of it is live.
    pub replay: bool,
    /// What it does.
    pub state: State,
    /// The time of the event told last, or of the moment that was gone to, ns.
    pub time: u64,
    /// When the next event was received, ns; `None` at the end.
    pub next: Option<u64>,
    /// `max`, or how many times as fast as it was.
    pub speed: String,
    /// Beginnings so far: 1, and one more with each seek.
    pub take: u64,
    /// Events told.
    pub events: u64,
    /// Records told, without those that only help a joiner.
    pub records: u64,
    /// What is replayed.
    pub sources: Vec<String>,
    /// The bars that a step by bars closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<ClosedBar>,
}

/// The replay is over: nobody obeys any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the replay is over")]
pub struct Over;

/// Why an order was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Nobody is there.
    #[error(transparent)]
    Over(#[from] Over),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// Steers a running replay, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: Sender<Order>,
}

impl Handle {
    /// Gives an order; what comes is its answer, once it is obeyed or refused (in words).
    pub fn give(&self, command: Command) -> Result<Receiver<Result<Status, String>>, Over> {
        let (answer, answers) = channel();
        self.orders.send(Order { command, answer }).map_err(|_| Over)?;
        Ok(answers)
    }

    /// Gives an order and waits until it is obeyed; of a step, until it is over.
    pub fn order(&self, command: Command) -> Result<Status, OrderError> {
        self.give(command)?.recv().map_err(|_| Over)?.map_err(OrderError::Refused)
    }

    /// How it stands.
    pub fn status(&self) -> Result<Status, OrderError> {
        self.order(Command::Status)
    }

    /// Stops where it is.
    pub fn pause(&self) -> Result<Status, OrderError> {
        self.order(Command::Pause)
    }

    /// Goes on.
    pub fn resume(&self) -> Result<Status, OrderError> {
        self.order(Command::Resume)
    }

    /// Goes to a time, forward or back.
    pub fn seek(&self, to: UnixNanos) -> Result<Status, OrderError> {
        self.order(Command::Seek(to))
    }

    /// Another speed.
    pub fn set_speed(&self, speed: Speed) -> Result<Status, OrderError> {
        self.order(Command::Speed(speed))
    }

    /// Tells so many events and pauses.
    pub fn step_events(&self, count: u64) -> Result<Status, OrderError> {
        self.order(Command::StepEvents(count))
    }

    /// Tells until so many bars are closed and pauses.
    pub fn step_bars(&self, count: u64, choice: BarChoice) -> Result<Status, OrderError> {
        self.order(Command::StepBars(count, choice))
    }

    /// Ends it.
    pub fn stop(&self) -> Result<Status, OrderError> {
        self.order(Command::Stop)
    }
}

/// How a replay begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How fast.
    pub speed: Speed,
    /// Begin paused.
    pub paused: bool,
    /// Wait for orders at the end, rather than end.
    pub linger: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Events told.
    pub events: u64,
    /// Records told, without those that only help a joiner.
    pub records: u64,
    /// Of the events that were waited for: how late each was told, ns.
    pub late: Histogram,
    /// And by how much its distance from the one before was another than recorded (at speed), ns.
    pub spacing: Histogram,
}

/// A step that is under way.
enum Stepping {
    Events(u64),
    Bars(u64),
}

/// A paced replay.
pub struct Runner {
    replay: Replay,
    sinks: Vec<Box<dyn Sink>>,
    pace: Pace,
    linger: bool,
    orders: Receiver<Order>,
    stepping: Option<(Stepping, Sender<Result<Status, String>>)>,
    counter: Option<BarCounter>,
    closed: Vec<ClosedBar>,
    instruments: Instruments,
    take: u64,
    ending: bool,
    summary: Summary,
    /// When the last event that was waited for was told and due.
    spaced: Option<(Duration, UnixNanos)>,
}

impl Runner {
    /// A replay told to these sinks, and what steers it.
    pub fn new(replay: Replay, sinks: Vec<Box<dyn Sink>>, options: RunOptions) -> (Runner, Handle) {
        let (give, orders) = channel();
        let mut pace = Pace::new(options.speed);
        if options.paused {
            pace.pause(replay.time(), Duration::ZERO);
        }
        let runner = Runner {
            replay,
            sinks,
            pace,
            linger: options.linger,
            orders,
            stepping: None,
            counter: None,
            closed: vec![],
            instruments: Instruments::new(),
            take: 0,
            ending: false,
            summary: Summary::default(),
            spaced: None,
        };
        (runner, Handle { orders: give })
    }

    /// Runs to the end, or until it is stopped.
    pub fn run(mut self, clock: &mut dyn Clock) -> Result<Summary, ReplayError> {
        self.begin_take(clock)?;
        while !self.ending {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order, clock)?;
            }
            if self.ending {
                break;
            }
            self.turn(clock)?;
        }
        self.sinks.iter_mut().try_for_each(|sink| sink.end())?;
        Ok(self.summary)
    }

    fn turn(&mut self, clock: &mut dyn Clock) -> Result<(), ReplayError> {
        let Some(time) = self.replay.next_time()? else {
            self.end_step(clock)?;
            if !self.linger {
                self.ending = true;
                return Ok(());
            }
            // Nobody left to give orders: nobody will lead back.
            let order = clock.sleep(&self.orders, None);
            self.ending = order.is_none();
            return order.map_or(Ok(()), |order| self.obey(order, clock));
        };
        if self.stepping.is_some() {
            return self.step(time, clock);
        }
        match self.due(time, clock) {
            Due::Now => self.tell_event(time, clock),
            Due::In(wait) => {
                let order = clock.sleep(&self.orders, Some(wait));
                order.map_or(Ok(()), |order| self.obey(order, clock))
            }
            Due::Held => {
                let order = clock.sleep(&self.orders, None);
                self.ending = order.is_none();
                order.map_or(Ok(()), |order| self.obey(order, clock))
            }
        }
    }

    #[inline]
    fn due(&mut self, time: UnixNanos, clock: &mut dyn Clock) -> Due {
        // Flat out, the clock is not asked.
        let now = if self.pace.speed() == Speed::Max { Duration::ZERO } else { clock.now() };
        self.pace.due(time, now)
    }

    fn step(&mut self, time: UnixNanos, clock: &mut dyn Clock) -> Result<(), ReplayError> {
        if let (Some((Stepping::Bars(left), _)), Some(counter)) = (&mut self.stepping, &mut self.counter) {
            let closed = counter.before(time, &self.instruments);
            *left = left.saturating_sub(closed.len() as u64);
            self.closed.extend(closed);
            if *left == 0 {
                return self.end_step(clock);
            }
        }
        self.tell_event(time, clock)?;
        let over = match &mut self.stepping {
            Some((Stepping::Events(left), _)) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Some((Stepping::Bars(left), _)) => *left == 0,
            None => false,
        };
        if over { self.end_step(clock) } else { Ok(()) }
    }

    /// Pauses behind a step and answers who asked for it.
    fn end_step(&mut self, clock: &mut dyn Clock) -> Result<(), ReplayError> {
        let Some((_, answer)) = self.stepping.take() else { return Ok(()) };
        let now = clock.now();
        self.pace.pause(self.replay.time(), now);
        self.pace.move_to(self.replay.time(), now);
        let status = self.status()?;
        // Who asked may be gone.
        let _ = answer.send(Ok(status));
        Ok(())
    }

    fn tell_event(&mut self, time: UnixNanos, clock: &mut dyn Clock) -> Result<(), ReplayError> {
        self.measure(time, clock);
        let Runner { replay, sinks, summary, instruments, counter, stepping, closed, .. } = self;
        let mut telling = Telling { sinks, summary, instruments, counter, stepping, closed };
        replay.event(&mut |told| telling.tell(told))?;
        self.summary.events += 1;
        let wall = clock.wall();
        self.sinks.iter_mut().try_for_each(|sink| sink.event(time, wall))
    }

    /// How well the pace was kept, of events that stand alone: those that were waited for.
    fn measure(&mut self, time: UnixNanos, clock: &mut dyn Clock) {
        let Speed::Times(times) = self.pace.speed() else { return };
        if self.stepping.is_some() {
            self.spaced = None;
            return;
        }
        let now = clock.now();
        if let Some(late) = self.pace.late(time, now) {
            self.summary.late.record(nanos(late));
        }
        if let Some((before, at)) = self.spaced.replace((now, time)) {
            let recorded = time.since(at).div_f64(times);
            self.summary.spacing.record(nanos((now - before).abs_diff(recorded)));
        }
    }

    fn begin_take(&mut self, clock: &mut dyn Clock) -> Result<(), ReplayError> {
        self.take += 1;
        self.spaced = None;
        let mut venues: Vec<_> = self.replay.venues().collect();
        venues.sort_unstable();
        venues.dedup();
        let take = Take { number: self.take, time: self.replay.time(), venues, wall: clock.wall() };
        self.sinks.iter_mut().try_for_each(|sink| sink.begin(&take))?;
        let Runner { replay, sinks, summary, instruments, counter, stepping, closed, .. } = self;
        let mut telling = Telling { sinks, summary, instruments, counter, stepping, closed };
        replay.opening(&mut |told| telling.tell(told))?;
        let (time, wall) = (self.replay.time(), clock.wall());
        self.sinks.iter_mut().try_for_each(|sink| sink.event(time, wall))
    }

    fn obey(&mut self, order: Order, clock: &mut dyn Clock) -> Result<(), ReplayError> {
        let Order { command, answer } = order;
        let now = clock.now();
        if !matches!(command, Command::Status) {
            // What is asked for now counts; a step under way ends here.
            self.end_step(clock)?;
        }
        match command {
            Command::Status => {}
            Command::Pause => self.pace.pause(self.replay.time(), now),
            Command::Resume => self.pace.resume(now),
            Command::Speed(speed) => self.pace.set_speed(speed, self.replay.time(), now),
            Command::Stop => self.ending = true,
            Command::Seek(to) => {
                match self.replay.seek(to) {
                    Err(refused @ ReplayError::OutOfInterval { .. }) => {
                        let _ = answer.send(Err(refused.to_string()));
                        return Ok(());
                    }
                    other => other?,
                }
                self.counter = None;
                self.pace.move_to(to, clock.now());
                self.begin_take(clock)?;
            }
            Command::StepEvents(0) | Command::StepBars(0, _) => self.pace.pause(self.replay.time(), now),
            Command::StepEvents(count) => {
                self.closed.clear();
                self.stepping = Some((Stepping::Events(count), answer));
                return Ok(());
            }
            Command::StepBars(count, choice) => {
                self.closed.clear();
                if self.counter.as_ref().is_none_or(|counter| counter.choice != choice) {
                    match BarCounter::new(choice, self.replay.time()) {
                        Ok(counter) => self.counter = Some(counter),
                        Err(refused) => {
                            let _ = answer.send(Err(refused.to_string()));
                            return Ok(());
                        }
                    }
                }
                self.stepping = Some((Stepping::Bars(count), answer));
                return Ok(());
            }
        }
        let status = self.status()?;
        // Who asked may be gone.
        let _ = answer.send(Ok(status));
        Ok(())
    }

    fn status(&mut self) -> Result<Status, ReplayError> {
        let next = self.replay.next_time()?.map(|time| time.0);
        let state = match next {
            None => State::Ended,
            Some(_) if self.pace.is_paused() => State::Paused,
            Some(_) => State::Playing,
        };
        let speed = match self.pace.speed() {
            Speed::Max => "max".to_owned(),
            Speed::Times(times) => times.to_string(),
        };
        Ok(Status {
            replay: true,
            state,
            time: self.replay.time().0,
            next,
            speed,
            take: self.take,
            events: self.summary.events,
            records: self.summary.records,
            sources: self.replay.sources().collect(),
            bars: std::mem::take(&mut self.closed),
        })
    }
}

/// Everything that looks at a record while it is told.
struct Telling<'a> {
    sinks: &'a mut [Box<dyn Sink>],
    summary: &'a mut Summary,
    instruments: &'a mut Instruments,
    counter: &'a mut Option<BarCounter>,
    stepping: &'a mut Option<(Stepping, Sender<Result<Status, String>>)>,
    closed: &'a mut Vec<ClosedBar>,
}

impl Telling<'_> {
    #[inline]
    fn tell(&mut self, told: Told<'_>) -> Result<(), ReplayError> {
        self.summary.records += u64::from(!told.catch_up);
        if told.words.first().is_some_and(|head| *head as u8 == RecordType::Instrument as u8)
            && let Ok(record) = Record::read(told.words)
        {
            self.instruments.observe(&record);
        }
        if let Some(counter) = &mut self.counter
            && let Some(bar) = counter.note(&told, self.instruments)
            && let Some((Stepping::Bars(left), _)) = &mut self.stepping
        {
            *left = left.saturating_sub(1);
            self.closed.push(bar);
        }
        self.sinks.iter_mut().try_for_each(|sink| sink.tell(&told))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
