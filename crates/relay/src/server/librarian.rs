//! The thread that reads history for clients, so that neither a disk nor much to read ever holds up the relay.
//!
//! A lane whose cursor stands in the past orders a reading; the librarian puts finished batches, a few pieces ahead, on
//! its shelf; the relay sends them when the client's socket has room, and ends the reading where the ring takes over.
//! Readings take turns by the piece. The thread is a little less urgent than others: history can wait, markets cannot.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::encode::{NO_SCAN, flags_of};
use crate::cursor::Kind;
use crate::history::{Found, HistoryError, Look, Past, PastFrom};
use crate::subscription::Subscription;
use model::{UnixNanos, Venue};
use ring::{Doorbell, Point};
use wire::batch::BatchBuilder;

/// Bytes of a piece, about: as much as a batch of the ring's has at most.
const PIECE_BYTES: usize = 64 * 1024;
/// Looks at the journal per piece: so much may be passed over before others have their turn.
const LOOKS_PER_PIECE: usize = 64;
/// Pieces that lie ready per reading.
const PIECES_AHEAD: usize = 2;
/// How long the journal's end is left alone before it is looked at again.
const REST: Duration = Duration::from_millis(5);
/// The longest sleep; whoever wants something wakes the librarian sooner.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Added to the thread's nice value.
const NICENESS: i32 = 5;

/// What is asked for.
pub(super) struct Order {
    pub(super) venue: Venue,
    pub(super) from: PastFrom,
    pub(super) subscription: Subscription,
    /// Records before the start that may say what a joiner must know.
    pub(super) stretch: u64,
}

/// Finished batches.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Records owed among them.
    pub(super) told: usize,
    /// What is owed behind them.
    pub(super) owed: Point,
    /// The journal had no more.
    pub(super) at_end: bool,
}

/// What a reading comes to, in this order: found, then pieces; or failed at any time.
pub(super) enum News {
    /// Where it begins; `None` when the journal has nothing of it.
    Found(Option<Found>),
    Piece(Piece),
    Failed(String),
}

#[derive(Default)]
struct Shelf {
    news: VecDeque<News>,
    over: bool,
}

/// One lane's reading, given up when dropped.
pub(super) struct Reading {
    shelf: Arc<Mutex<Shelf>>,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Hall {
    orders: Vec<(Order, Arc<Mutex<Shelf>>)>,
    /// Counts what happened that the librarian may want to know.
    nudges: u64,
    closed: bool,
}

struct Desk {
    hall: Mutex<Hall>,
    bell: Condvar,
    folder: PathBuf,
    doorbell: Doorbell,
    clock: fn() -> UnixNanos,
}

/// Reads the journal for the relay.
#[derive(Clone)]
pub(super) struct Librarian {
    desk: Arc<Desk>,
}

/// Closes the hall when the relay is gone.
pub(super) struct Closing(Librarian);

impl Librarian {
    /// Starts the thread. `doorbell` wakes the relay.
    pub(super) fn start(
        folder: PathBuf,
        doorbell: Doorbell,
        clock: fn() -> UnixNanos,
    ) -> std::io::Result<(Librarian, Closing)> {
        let desk = Arc::new(Desk { hall: Mutex::default(), bell: Condvar::new(), folder, doorbell, clock });
        let theirs = desk.clone();
        std::thread::Builder::new().name("relay-history".to_owned()).spawn(move || serve(&theirs))?;
        let librarian = Librarian { desk };
        Ok((librarian.clone(), Closing(librarian)))
    }

    /// Begins a reading.
    pub(super) fn order(&self, order: Order) -> Reading {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        lock(&self.desk.hall).orders.push((order, shelf.clone()));
        self.desk.nudge();
        Reading { shelf, desk: self.desk.clone() }
    }
}

impl Drop for Closing {
    /// The thread ends by itself: a disk that hangs must not hold up the relay's end.
    fn drop(&mut self) {
        lock(&self.0.desk.hall).closed = true;
        self.0.desk.nudge();
    }
}

impl Desk {
    fn nudge(&self) {
        lock(&self.hall).nudges += 1;
        self.bell.notify_one();
    }
}

impl Reading {
    /// What came of it since.
    pub(super) fn next(&self) -> Option<News> {
        let news = lock(&self.shelf).news.pop_front();
        if news.is_some() {
            self.desk.nudge();
        }
        news
    }

    /// Whether there is news.
    pub(super) fn is_ready(&self) -> bool {
        !lock(&self.shelf).news.is_empty()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.shelf).over = true;
        self.desk.nudge();
    }
}

/// Nothing that is locked here is ever left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: until the hall is closed.
fn serve(desk: &Desk) {
    // On Linux this is the calling thread's alone. Where it is refused, history is merely as urgent as the rest.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let mut desks: Vec<Work> = Vec::new();
    loop {
        let seen = {
            let mut hall = lock(&desk.hall);
            if hall.closed {
                return;
            }
            desks.extend(hall.orders.drain(..).map(|(order, shelf)| Work::new(order, shelf)));
            hall.nudges
        };
        desks.retain(|work| !work.done && !lock(&work.shelf).over);
        let mut worked = false;
        for work in &mut desks {
            worked |= work.step(desk);
        }
        if !worked {
            let rests = desks.iter().any(|work| work.rests_until.is_some() && work.has_room());
            let hall = lock(&desk.hall);
            if hall.nudges == seen {
                let wait = if rests { REST } else { SLEEP_MAX };
                drop(desk.bell.wait_timeout(hall, wait));
            }
        }
    }
}

/// One reading on the thread.
struct Work {
    order: Order,
    shelf: Arc<Mutex<Shelf>>,
    past: Option<Past>,
    scribe: Scribe,
    rests_until: Option<Instant>,
    done: bool,
}

impl Work {
    fn new(order: Order, shelf: Arc<Mutex<Shelf>>) -> Work {
        let scribe =
            Scribe { venue: order.venue, builder: BatchBuilder::new(), reported: Point::default(), open: None };
        Work { order, shelf, past: None, scribe, rests_until: None, done: false }
    }

    fn has_room(&self) -> bool {
        lock(&self.shelf).news.len() < PIECES_AHEAD
    }

    /// Finds the start, or makes a piece. False when there was nothing to do.
    fn step(&mut self, desk: &Desk) -> bool {
        if self.done || !self.has_room() || self.rests_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let news = match &mut self.past {
            None => {
                let Order { venue, from, subscription, stretch } = &self.order;
                Past::open(&desk.folder, *venue, *from, subscription, *stretch).map(|opened| {
                    let found = opened.as_ref().map(|(_, found)| *found);
                    self.past = opened.map(|(past, _)| past);
                    self.scribe.reported = found.map_or(Point::default(), |found| found.owed);
                    self.done = found.is_none();
                    Some(News::Found(found))
                })
            }
            Some(past) => self.scribe.piece(past, (desk.clock)()).map(|piece| {
                self.rests_until = piece.at_end.then(|| Instant::now() + REST);
                (piece.at_end || !piece.bytes.is_empty()).then_some(News::Piece(piece))
            }),
        };
        let news = news.unwrap_or_else(|error| {
            self.done = true;
            Some(News::Failed(error.to_string()))
        });
        if let Some(news) = news {
            let mut shelf = lock(&self.shelf);
            shelf.news.push_back(news);
            // With more on the shelf the relay is not asleep for want of this.
            if shelf.news.len() == 1 {
                desk.doorbell.ring();
            }
        }
        true
    }
}

/// From looks to batches.
struct Scribe {
    venue: Venue,
    builder: BatchBuilder,
    /// The first sequence the client was not told of being looked at.
    reported: Point,
    /// What the batch in the builder is.
    open: Option<(Kind, u64)>,
}

impl Scribe {
    fn piece(&mut self, past: &mut Past, now: UnixNanos) -> Result<Piece, HistoryError> {
        let (mut bytes, mut told, mut at_end) = (Vec::new(), 0, false);
        for _ in 0..LOOKS_PER_PIECE {
            if bytes.len() + self.builder.body_bytes() >= PIECE_BYTES {
                break;
            }
            let (before, published) = (past.owed(), past.published_at());
            let (kind, epoch) = match past.look(now)? {
                Look::Nothing => continue,
                Look::End => {
                    at_end = true;
                    break;
                }
                Look::Live(epoch) => (Kind::Live, epoch),
                Look::CatchUp(epoch) => (Kind::CatchUp, epoch),
                Look::OutOfBand(epoch) => (Kind::OutOfBand, epoch),
            };
            if self.open != Some((kind, epoch)) || kind == Kind::OutOfBand {
                self.close(before, published, &mut bytes);
                self.open = Some((kind, epoch));
                if kind == Kind::Live && epoch != self.reported.epoch {
                    self.reported = past.first_owed();
                }
            }
            told += self.take_in(past, kind, &mut bytes)?;
        }
        self.close(past.owed(), past.published_at(), &mut bytes);
        Ok(Piece { bytes, told, owed: past.owed(), at_end })
    }

    /// What the last look found, in batches that do not grow too large.
    fn take_in(&mut self, past: &mut Past, kind: Kind, bytes: &mut Vec<u8>) -> Result<usize, HistoryError> {
        let published = past.published_at();
        let mut told = 0;
        past.tell(&mut |_, envelope, words| {
            if self.builder.body_bytes() >= PIECE_BYTES {
                let open = self.open;
                self.close(Point { epoch: envelope.epoch, sequence: envelope.sequence }, published, bytes);
                self.open = open;
            }
            told += usize::from(kind == Kind::Live);
            self.builder.push(envelope.sequence, words);
        })?;
        if kind == Kind::OutOfBand {
            self.close(past.owed(), published, bytes);
            self.reported = past.owed();
        }
        Ok(told)
    }

    /// Finishes the batch at hand; everything before `until` was looked at.
    fn close(&mut self, until: Point, published: u64, bytes: &mut Vec<u8>) {
        let Some((kind, epoch)) = self.open.take() else { return };
        let venue = Some(self.venue);
        if kind != Kind::Live {
            if !self.builder.is_empty() {
                self.builder.finish(venue, epoch, NO_SCAN, published, flags_of(kind), bytes);
            }
            return;
        }
        let scan = (self.reported.sequence, until.sequence - 1);
        if until > self.reported || !self.builder.is_empty() {
            self.builder.finish(venue, epoch, scan, published, 0, bytes);
            self.reported = until;
        }
    }
}
