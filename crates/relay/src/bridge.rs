//! Another machine's rings, repeated here: everything its relay tells of a venue goes into a ring of this machine under
//! the names it has there, so that readers here cannot tell it from a feed's.
//! [`Client`] -> [`Bridge::step`] -> [`ring::Mirror`] per venue.
//!
//! Invariants: (site, venue, epoch, sequence) of a record stay; the ring here is the only state, and where it ends is
//! where the next connection goes on; what never came is a hole that readers are told of, exactly.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::{Client, ClientError, ClientOptions, Delivery, Source};
use crate::filter::kind_and_instrument;
use crate::subscription::{Position, Slow, Start, Subscription};
use model::{UnixNanos, Venue};
use ring::{Directory, Lost, Mirror, Point, RingError};
use wire::{Record, RecordType};

/// What is repeated, and where.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// The other machine's relay.
    pub source: Source,
    /// The venues to repeat, at least one.
    pub venues: Vec<Venue>,
    /// Directory of the rings of this machine.
    pub rings: PathBuf,
    /// Slots of each, a power of two.
    pub slots: u64,
    /// How to wait, when to take the link for cut, and what the time is.
    pub client: ClientOptions,
}

/// Why a bridge cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Nothing to do.
    #[error("a bridge repeats the venues it is given, and was given none: name at least one")]
    NoVenues,
    /// A ring of this machine cannot be written.
    #[error("{venue} cannot be repeated here: {source}")]
    Ring {
        /// The venue.
        venue: Venue,
        /// Why not.
        source: RingError,
    },
    /// The directory of the rings.
    #[error(transparent)]
    Directory(#[from] RingError),
    /// The other machine's relay.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The address leads to another machine than before.
    #[error(
        "the relay was that of site {before:?} and is that of {now:?}: its records have other names; start the bridge anew"
    )]
    OtherSite {
        /// Site at the start.
        before: String,
        /// Site now.
        now: String,
    },
}

impl BridgeError {
    /// Whether the other machine was merely not there: try again.
    pub fn is_absence(&self) -> bool {
        matches!(self, BridgeError::Client(ClientError::Io { .. } | ClientError::Closed { .. }))
    }
}

/// A bridge at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeStats {
    /// Whether the other machine is connected.
    pub connected: bool,
    /// Connections that came about so far.
    pub connections: u64,
    /// Each venue.
    pub venues: Vec<BridgedVenue>,
}

/// One venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgedVenue {
    /// Venue.
    pub venue: Venue,
    /// Records repeated.
    pub records: u64,
    /// Records known to be missing.
    pub lost: u64,
    /// Losses told, those of unknown extent with them.
    pub overruns: u64,
    /// How old the newest record was when it was repeated, from its publication there to that here, in ns; by two
    /// clocks.
    pub lag_ns: u64,
}

/// How long a loss waits for what is told behind it: definitions and states within it would come too late once it is
/// written. Readers here learn of a loss about this long after it was told at the latest.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// Repeats another machine's rings.
pub struct Bridge {
    client: Client,
    venues: Vec<Repeated>,
    site: String,
    connections: u64,
    clock: fn() -> UnixNanos,
}

/// One venue on its way from there to here.
struct Repeated {
    mirror: Mirror,
    /// Losses not written yet: what a joiner is told of may lie within.
    losses: Vec<Lost>,
    /// Definitions and states told ahead of what is owed.
    ahead: Vec<(Point, Vec<u64>)>,
    /// When the newest of `losses` and of what came aside of records owed since was told; `None` without losses.
    unsettled_since: Option<Instant>,
    newest_published: u64,
    stats: BridgedVenue,
}

impl Bridge {
    /// Connects, claims the rings here and goes on where they end. Blocks for seconds at most.
    pub fn open(options: BridgeOptions) -> Result<Bridge, BridgeError> {
        let BridgeOptions { source, venues, rings, slots, client: client_options } = options;
        if venues.is_empty() {
            return Err(BridgeError::NoVenues);
        }
        let directory = Directory::open(&rings)?;
        // Whose records these are must be known before a ring that may hold them is claimed.
        let asked =
            Subscription { venues: venues.clone(), types: vec!["status".to_owned()], ..Subscription::default() };
        let site = Client::open(source.clone(), asked, client_options)?.site().unwrap_or_default().to_owned();
        let claim = |venue: &Venue| {
            let mirror = Mirror::open(&directory, venue.name(), slots, origin(&site));
            mirror
                .map(|mirror| Repeated::new(*venue, mirror))
                .map_err(|source| BridgeError::Ring { venue: *venue, source })
        };
        let repeated = venues.iter().map(claim).collect::<Result<Vec<_>, _>>()?;
        let positions = repeated.iter().filter_map(Repeated::position).collect();
        let subscription = Subscription {
            venues,
            // Without a filter of any kind, so that a hole is a loss.
            heartbeats: true,
            from: Start::Sequence(positions),
            slow: Slow::Skip,
            ..Subscription::default()
        };
        let client = Client::open(source, subscription, client_options)?;
        Ok(Bridge { connections: client.connections(), client, venues: repeated, site, clock: client_options.clock })
    }

    /// Repeats what is there, or waits for it for at most `timeout`. Returns how many records that was.
    pub fn step(&mut self, timeout: Duration) -> Result<usize, BridgeError> {
        let mut failed = None;
        let venues = &mut self.venues;
        let polled = self.client.poll(|delivery, words| {
            let repeated = venues.iter_mut().find(|repeated| repeated.stats.venue == delivery.venue);
            if let Some(repeated) = repeated
                && failed.is_none()
                && let Err(source) = repeated.take(delivery, words)
            {
                failed = Some(BridgeError::Ring { venue: delivery.venue, source });
            }
        })?;
        if polled > 0 {
            let now = (self.clock)().0;
            self.venues.iter_mut().for_each(|repeated| repeated.publish(now));
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        self.check_site()?;
        let unsettled = self.settle_overdue()?;
        if polled == 0 {
            self.client.wait(if unsettled { timeout.min(SETTLE_AFTER) } else { timeout });
        }
        Ok(polled)
    }

    /// Writes losses behind which no record owed came for a while: it may be long before one does. True when others
    /// still wait.
    fn settle_overdue(&mut self) -> Result<bool, BridgeError> {
        let mut waiting = false;
        for repeated in &mut self.venues {
            let Some(since) = repeated.unsettled_since else { continue };
            if since.elapsed() < SETTLE_AFTER {
                waiting = true;
                continue;
            }
            let venue = repeated.stats.venue;
            repeated.settle_losses().map_err(|source| BridgeError::Ring { venue, source })?;
            repeated.mirror.publish((self.clock)().0);
        }
        Ok(waiting)
    }

    fn check_site(&mut self) -> Result<(), BridgeError> {
        if std::mem::replace(&mut self.connections, self.client.connections()) == self.connections {
            return Ok(());
        }
        let now = self.client.site().unwrap_or_default();
        if now != self.site {
            return Err(BridgeError::OtherSite { before: self.site.clone(), now: now.to_owned() });
        }
        Ok(())
    }

    /// The machine whose records these are.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// Its numbers.
    pub fn stats(&self) -> BridgeStats {
        BridgeStats {
            connected: self.client.is_connected(),
            connections: self.connections,
            venues: self.venues.iter().map(|repeated| repeated.stats).collect(),
        }
    }
}

impl Repeated {
    fn new(venue: Venue, mirror: Mirror) -> Repeated {
        let stats = BridgedVenue { venue, records: 0, lost: 0, overruns: 0, lag_ns: 0 };
        Repeated { mirror, losses: Vec::new(), ahead: Vec::new(), unsettled_since: None, newest_published: 0, stats }
    }

    fn position(&self) -> Option<Position> {
        let Point { epoch, sequence } = self.mirror.next()?;
        Some(Position { venue: self.stats.venue, epoch, sequence })
    }

    fn take(&mut self, delivery: Delivery, words: &[u64]) -> Result<(), RingError> {
        let at = Point { epoch: delivery.envelope.epoch, sequence: delivery.envelope.sequence };
        if delivery.catch_up {
            if self.unsettled_since.is_some() {
                self.unsettled_since = Some(Instant::now());
            }
            if explains(words) {
                self.ahead.push((at, words.to_vec()));
            }
            return Ok(());
        }
        if at.sequence == 0 {
            self.note_loss(words);
            return Ok(());
        }
        if !self.losses.is_empty() || !self.ahead.is_empty() {
            self.settle(at)?;
        }
        if self.mirror.next().is_some_and(|next| (at.epoch, at.sequence) < (next.epoch, next.sequence)) {
            // Its name says that it is here already.
            return Ok(());
        }
        self.mirror.push(at, words)?;
        self.stats.records += 1;
        self.newest_published = delivery.published_ns;
        Ok(())
    }

    fn note_loss(&mut self, words: &[u64]) {
        let Ok(Record::Overrun(overrun)) = Record::read(words) else { return };
        let lost =
            Lost { epoch: overrun.epoch, first: overrun.first, last: (overrun.last != 0).then_some(overrun.last) };
        self.stats.overruns += 1;
        self.stats.lost += lost.count().unwrap_or(0);
        tracing::warn!(
            venue = %self.stats.venue, epoch = lost.epoch, first = lost.first, last = lost.last,
            "records of the other machine will never come"
        );
        self.losses.push(lost);
        self.unsettled_since = Some(Instant::now());
    }

    /// Writes what lies before `next`, the first record owed: holes, and in them what a joiner is told.
    #[cold]
    fn settle(&mut self, next: Point) -> Result<(), RingError> {
        self.settle_losses()?;
        self.tell_ahead(next)?;
        self.ahead.clear();
        Ok(())
    }

    fn settle_losses(&mut self) -> Result<(), RingError> {
        self.unsettled_since = None;
        self.ahead.sort_by_key(|(at, _)| (at.epoch, at.sequence));
        for lost in std::mem::take(&mut self.losses) {
            let last = lost.last.unwrap_or(lost.first.saturating_sub(1));
            self.tell_ahead(Point { epoch: lost.epoch, sequence: last.saturating_add(1) })?;
            self.mirror.lose(lost)?;
        }
        Ok(())
    }

    /// Those of the run of `end` that lie before it and behind what the ring has. Others are here, or of runs of which
    /// nothing else is.
    fn tell_ahead(&mut self, end: Point) -> Result<(), RingError> {
        for (at, words) in self.ahead.iter().filter(|(at, _)| at.epoch == end.epoch && at.sequence < end.sequence) {
            let is_new = self.mirror.next().is_none_or(|next| (next.epoch, next.sequence) <= (at.epoch, at.sequence));
            if is_new {
                self.mirror.push(*at, words)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, now: u64) {
        self.mirror.publish(now);
        self.stats.lag_ns = now.saturating_sub(self.newest_published);
    }
}

/// Whether data cannot be read without the record. Books are left out: without all between they are no books.
fn explains(words: &[u64]) -> bool {
    const EXPLAIN: [RecordType; 3] = [RecordType::SessionStart, RecordType::Instrument, RecordType::Status];
    let kind = kind_and_instrument(words).0;
    EXPLAIN.iter().any(|explains| *explains as u8 == kind)
}

/// A site as rings name what they repeat: FNV-1a of its name, never 0.
fn origin(site: &str) -> u64 {
    let hash = site
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.max(1)
}
