//! Books out of records, from wherever a subscription begins: what a consumer of the stream holds.
//! records -> [`Books`] -> one [`book::Rebuilt`] an instrument; or records -> [`Consolidation`] -> one
//! [`Consolidated`] a pair, over all venues told of.
//!
//! Who joins late is told definitions, states and the last snapshot first (the relay and [`crate::Client`] see to that);
//! a reader of bare records waits for the next repeated snapshot. What a transport lost it tells as an overrun, and the
//! books this may concern then wait for a snapshot: none is ever quietly wrong. A gap of the venue's own is told by the
//! state of the books it concerns: what a feed holds is what is rebuilt here, at every moment.

use crate::filter::IdHasher;
use book::consolidated::{Fee, Groups, JoinError, MemberId, Settled};
use book::{Consolidated, Follower, Opening, Rebuilt, Target};
use model::{InstrumentId, InstrumentStatus, Price, Qty, Reason, UnixNanos, Venue};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::time::Duration;
use wire::{Flags, Header, Record, RecordError, Status};

/// Venue codes fit the six bits the header gives them.
const VENUES: usize = 64;

/// Place of the receive time in every record.
const RECEIVED: usize = 2;

/// What names an instrument among all venues.
#[inline]
fn key(venue: Venue, instrument: InstrumentId) -> u64 {
    u64::from(venue.code()) << 32 | u64::from(instrument.0)
}

/// Which books a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    One(Venue, InstrumentId),
    Venue(Venue),
    All,
    Nobody,
}

/// What all readers of books keep: who is followed, and of each venue which run it is in and when it was heard.
#[derive(Debug)]
struct Desk<E> {
    places: HashMap<u64, usize, BuildHasherDefault<IdHasher>>,
    entries: Vec<(Venue, InstrumentId, E)>,
    epochs: [u64; VENUES],
    heard: [UnixNanos; VENUES],
    /// A bit for each venue that is silent.
    silent: u64,
}

impl<E> Default for Desk<E> {
    fn default() -> Desk<E> {
        let (epochs, heard) = ([0; VENUES], [UnixNanos::ZERO; VENUES]);
        Desk { places: HashMap::default(), entries: Vec::new(), epochs, heard, silent: 0 }
    }
}

impl<E> Desk<E> {
    #[inline]
    fn place(&self, venue: Venue, instrument: InstrumentId) -> Option<usize> {
        self.places.get(&key(venue, instrument)).copied()
    }

    fn add(&mut self, venue: Venue, instrument: InstrumentId, entry: E) -> usize {
        let place = self.entries.len();
        self.places.insert(key(venue, instrument), place);
        self.entries.push((venue, instrument, entry));
        place
    }

    /// Whose book a record is about. A session that is told again to a joiner is none that began.
    #[inline]
    fn concern(&mut self, header: &Header, record: &Record<'_>) -> Concern {
        match (record, header.venue()) {
            (Record::BookChange(_) | Record::SnapshotBegin(_) | Record::SnapshotEnd(_), Some(venue))
            | (Record::Instrument(_), Some(venue)) => Concern::One(venue, header.instrument()),
            (Record::Status(view), Some(venue)) => match view.status {
                Status::Book(_) | Status::Instrument(_) => Concern::One(venue, header.instrument()),
                _ => Concern::Nobody,
            },
            (Record::SessionStart(view), Some(venue)) => {
                let before = std::mem::replace(&mut self.epochs[usize::from(venue.code())], view.head.epoch);
                if before == view.head.epoch { Concern::Nobody } else { Concern::Venue(venue) }
            }
            (Record::SessionEnd(_) | Record::Overrun(_), Some(venue)) => Concern::Venue(venue),
            (Record::Overrun(_), None) => Concern::All,
            _ => Concern::Nobody,
        }
    }

    /// Whether a venue speaks again that was taken for silent.
    #[inline]
    fn hear(&mut self, venue: Option<Venue>, received: UnixNanos) -> Option<Venue> {
        let venue = venue?;
        let (n, bit) = (usize::from(venue.code()), 1 << venue.code());
        self.heard[n] = self.heard[n].max(received);
        let again = self.silent & bit != 0;
        self.silent &= !bit;
        again.then_some(venue)
    }

    /// Venues with books of which nothing was heard for so long, each once.
    fn fallen_silent(&mut self, now: UnixNanos, limit: Duration) -> impl Iterator<Item = Venue> + use<E> {
        let mut fallen = 0u64;
        for (venue, ..) in &self.entries {
            let silence = now.since(self.heard[usize::from(venue.code())]);
            fallen |= u64::from(silence > limit) << venue.code();
        }
        fallen &= !self.silent;
        self.silent |= fallen;
        Venue::ALL.into_iter().filter(move |venue| fallen >> venue.code() & 1 == 1)
    }

    /// The places a record is about, unless it is about one instrument.
    fn places(&self, concern: Concern) -> impl Iterator<Item = usize> + use<E> {
        let wanted = |at: &Venue| match concern {
            Concern::Venue(venue) => *at == venue,
            Concern::All => true,
            Concern::One(..) | Concern::Nobody => false,
        };
        let places: Vec<usize> = (0..self.entries.len()).filter(|n| wanted(&self.entries[*n].0)).collect();
        places.into_iter()
    }
}

/// One record, taken in by one follower.
#[inline]
fn take(record: &Record<'_>, received: UnixNanos, follower: &mut Follower, target: &mut impl Target) {
    match record {
        Record::BookChange(r) => {
            let flags = r.header.flags();
            let side = flags.side().expect("checked when the record was viewed");
            let (price, size) = (Price(r.price), Qty(r.size));
            if flags.contains(Flags::SNAPSHOT) {
                follower.level(side, price, size);
            } else {
                follower.change(side, (price, size), flags.contains(Flags::LAST), received, target);
            }
        }
        _ => take_seldom(record, received, follower, target),
    }
}

fn take_seldom(record: &Record<'_>, received: UnixNanos, follower: &mut Follower, target: &mut impl Target) {
    match record {
        Record::SnapshotBegin(r) => {
            let opening = Opening {
                levels: [r.bids as usize, r.asks as usize],
                depth: (r.depth > 0).then_some(r.depth as usize),
                capped: r.capped == 1,
                periodic: r.reason().is_repeat(),
            };
            follower.begin(opening, received, target);
        }
        Record::SnapshotEnd(_) => follower.end(received, target),
        Record::Status(view) => match view.status {
            Status::Book(state) => follower.state(state, view.reason, received, target),
            Status::Instrument(status) => follower.trade(status, received, target),
            _ => {}
        },
        Record::Instrument(view) => {
            let status = InstrumentStatus::from_code(view.head.status).expect("checked when the record was viewed");
            follower.define((view.head.price_scale, view.head.size_scale), status, received, target);
        }
        Record::SessionStart(_) => follower.restart(Reason::Start, received, target),
        Record::SessionEnd(end) => {
            let reason = Reason::from_code(end.reason).expect("checked when the record was viewed");
            follower.restart(reason, received, target);
        }
        Record::Overrun(_) => follower.lose(Reason::Sequence, received, target),
        _ => {}
    }
}

/// The books of all instruments told of.
#[derive(Debug, Default)]
pub struct Books {
    desk: Desk<Rebuilt>,
}

impl Books {
    /// No book yet.
    pub fn new() -> Books {
        Books::default()
    }

    /// Takes in one record; tells whose book it was about, if one instrument's.
    #[inline]
    pub fn push(&mut self, words: &[u64]) -> Result<Option<(Venue, InstrumentId)>, RecordError> {
        let record = Record::read(words)?;
        let header = Header::read(words)?;
        let received = UnixNanos(words[RECEIVED]);
        if let Some(venue) = self.desk.hear(header.venue(), received) {
            self.silence(venue, false, received);
        }
        let concern = self.desk.concern(header, &record);
        if let Concern::One(venue, instrument) = concern {
            let place = self.desk.place(venue, instrument);
            let place = place.unwrap_or_else(|| self.desk.add(venue, instrument, Rebuilt::default()));
            let rebuilt = &mut self.desk.entries[place].2;
            take(&record, received, &mut rebuilt.follower, &mut rebuilt.book);
            return Ok(Some((venue, instrument)));
        }
        if concern != Concern::Nobody {
            for place in self.desk.places(concern) {
                let rebuilt = &mut self.desk.entries[place].2;
                take(&record, received, &mut rebuilt.follower, &mut rebuilt.book);
            }
        }
        Ok(None)
    }

    /// Venues of which no record came for so long, heartbeats included, are silent: their books are suspect until they
    /// speak again.
    pub fn tick(&mut self, now: UnixNanos, limit: Duration) {
        for venue in self.desk.fallen_silent(now, limit) {
            self.silence(venue, true, now);
        }
    }

    #[cold]
    fn silence(&mut self, venue: Venue, silent: bool, now: UnixNanos) {
        for (_, _, rebuilt) in self.desk.entries.iter_mut().filter(|(at, ..)| *at == venue) {
            rebuilt.follower.silence(silent, now, &mut rebuilt.book);
        }
    }

    /// The book of an instrument.
    pub fn get(&self, venue: Venue, instrument: InstrumentId) -> Option<&Rebuilt> {
        self.desk.place(venue, instrument).map(|place| &self.desk.entries[place].2)
    }

    /// All books, in the order in which they were first told of.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Venue, InstrumentId, &Rebuilt)> {
        self.desk.entries.iter().map(|(venue, instrument, rebuilt)| (*venue, *instrument, rebuilt))
    }
}

/// Which pairs are put together, and what their venues charge.
#[derive(Clone, Debug, Default)]
pub struct ConsolidationOptions {
    /// Canonical symbols, with the name of the quote currency's group; empty for all pairs.
    pub symbols: Vec<String>,
    /// Quote currencies that are taken for one another.
    pub groups: Groups,
    /// Takers' fees; a venue that is not named charges nothing.
    pub fees: BTreeMap<Venue, Fee>,
}

/// Why a record was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ConsolidationError {
    /// It is none.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its instrument cannot be part of its pair's book. Told once an instrument.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// An instrument's place in the book of its pair.
#[derive(Debug)]
struct Seated {
    follower: Follower,
    /// Where; `None` for an instrument nobody wants or that was refused.
    seat: Option<(usize, MemberId)>,
}

/// The consolidated books of all pairs wanted.
#[derive(Debug)]
pub struct Consolidation {
    options: ConsolidationOptions,
    desk: Desk<Seated>,
    books: Vec<Consolidated>,
}

impl Consolidation {
    /// No pair yet: pairs come with the definitions of their instruments.
    pub fn new(options: ConsolidationOptions) -> Consolidation {
        let symbols = options.symbols.iter().map(|symbol| symbol.to_uppercase()).collect();
        Consolidation { options: ConsolidationOptions { symbols, ..options }, desk: Desk::default(), books: Vec::new() }
    }

    /// Takes in one record. `settled` is told each book that is whole again after an event, and what of it changed.
    #[inline]
    pub fn push(
        &mut self,
        words: &[u64],
        mut settled: impl FnMut(&Consolidated, Settled),
    ) -> Result<(), ConsolidationError> {
        let record = Record::read(words)?;
        let header = Header::read(words)?;
        let received = UnixNanos(words[RECEIVED]);
        if let Some(venue) = self.desk.hear(header.venue(), received) {
            self.silence(venue, false, received, &mut settled);
        }
        let concern = self.desk.concern(header, &record);
        if let Concern::One(venue, instrument) = concern {
            let place = match self.desk.place(venue, instrument) {
                Some(place) => place,
                None => match self.meet(venue, instrument, &record, received)? {
                    Some(place) => place,
                    None => return Ok(()),
                },
            };
            let seated = &mut self.desk.entries[place].2;
            let Some((book, member)) = seated.seat else { return Ok(()) };
            let book = &mut self.books[book];
            take(&record, received, &mut seated.follower, &mut book.seat(member));
            // Within an event a book may look crossed.
            if !matches!(&record, Record::BookChange(r) if !r.header.flags().contains(Flags::LAST)) {
                let changed = book.settle(received);
                settled(book, changed);
            }
        } else if concern != Concern::Nobody {
            for place in self.desk.places(concern) {
                self.each(place, received, &mut settled, |follower, target| take(&record, received, follower, target));
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        place: usize,
        now: UnixNanos,
        settled: &mut impl FnMut(&Consolidated, Settled),
        done: impl FnOnce(&mut Follower, &mut book::consolidated::Seat<'_>),
    ) {
        let seated = &mut self.desk.entries[place].2;
        if let Some((book, member)) = seated.seat {
            let book = &mut self.books[book];
            done(&mut seated.follower, &mut book.seat(member));
            let changed = book.settle(now);
            settled(book, changed);
        }
    }

    /// An instrument that was not met before: it joins the book of its pair with its definition.
    #[cold]
    fn meet(
        &mut self,
        venue: Venue,
        instrument: InstrumentId,
        record: &Record<'_>,
        now: UnixNanos,
    ) -> Result<Option<usize>, ConsolidationError> {
        let Record::Instrument(view) = record else { return Ok(None) };
        let Some(definition) = view.to_instrument() else { return Ok(None) };
        let place = self.desk.add(venue, instrument, Seated { follower: Follower::default(), seat: None });
        let symbol = self.options.groups.symbol(&definition.base, &definition.quote);
        if !self.options.symbols.is_empty() && !self.options.symbols.contains(&symbol) {
            return Ok(Some(place));
        }
        let at = self.books.iter().position(|book| book.symbol() == symbol).unwrap_or_else(|| {
            self.books.push(Consolidated::new(&definition.base, &definition.quote, &self.options.groups));
            self.books.len() - 1
        });
        let fee = self.options.fees.get(&venue).copied().unwrap_or(Fee::ZERO);
        let member = self.books[at].join(&definition, fee, now)?;
        self.desk.entries[place].2.seat = Some((at, member));
        Ok(Some(place))
    }

    /// Venues of which no record came for so long, heartbeats included, are silent: their books are suspect, and so
    /// excluded, until they speak again.
    pub fn tick(&mut self, now: UnixNanos, limit: Duration, mut settled: impl FnMut(&Consolidated, Settled)) {
        for venue in self.desk.fallen_silent(now, limit) {
            self.silence(venue, true, now, &mut settled);
        }
    }

    #[cold]
    fn silence(
        &mut self,
        venue: Venue,
        silent: bool,
        now: UnixNanos,
        settled: &mut impl FnMut(&Consolidated, Settled),
    ) {
        for place in self.desk.places(Concern::Venue(venue)) {
            self.each(place, now, settled, |follower, target| follower.silence(silent, now, target));
        }
    }

    /// The book of a pair, by its canonical symbol with the name of the quote currency's group.
    pub fn get(&self, symbol: &str) -> Option<&Consolidated> {
        self.books.iter().find(|book| book.symbol() == symbol)
    }

    /// All books, in the order in which their pairs were first told of.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Consolidated> {
        self.books.iter()
    }

    /// Where in the telling an instrument's book is, and up to which price it is known.
    pub fn follower(&self, venue: Venue, instrument: InstrumentId) -> Option<&Follower> {
        self.desk.place(venue, instrument).map(|place| &self.desk.entries[place].2.follower)
    }
}
