//! What one venue has told up to a moment, and how to tell it to somebody who joins there.
//!
//! Kept only while a replay is on its way to a moment: definitions, states, books. Told are they as a relay tells a late
//! joiner: the session, each instrument's definition, its book as a snapshot, its states.

use crate::mark::{Start, session_start};
use book::Rebuilt;
use model::{BookState, InstrumentId, Scope, Side, UnixNanos, Venue};
use relay::Books;
use std::collections::BTreeMap;
use wire::{
    BookAction, BookChangeRecord, Envelope, Flags, Header, Record, RecordBuf, RecordError, RecordType,
    SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason,
};

/// A record that was told.
type Kept = (Envelope, Vec<u64>);

/// Takes names and records.
type Hearer<'h> = dyn FnMut(Envelope, &[u64]) -> Result<(), crate::ReplayError> + 'h;

/// What one venue has told.
pub(crate) struct Desk {
    venue: Venue,
    session: Option<Kept>,
    definitions: BTreeMap<u32, Kept>,
    /// By instrument (0: the venue), scope and, of streams, stream.
    states: BTreeMap<(u32, u8, u8), Kept>,
    books: Books,
    last: Envelope,
    time: UnixNanos,
    /// Instruments of which something was told that needs a definition.
    undefined: BTreeMap<u32, ()>,
}

impl Desk {
    pub fn new(venue: Venue) -> Desk {
        Desk {
            venue,
            session: None,
            definitions: BTreeMap::new(),
            states: BTreeMap::new(),
            books: Books::new(),
            last: Envelope::default(),
            time: UnixNanos::ZERO,
            undefined: BTreeMap::new(),
        }
    }

    /// Takes in a record told at `time`.
    #[inline]
    pub fn note(&mut self, at: Envelope, time: UnixNanos, words: &[u64]) -> Result<(), RecordError> {
        if at.sequence != 0 {
            self.last = at;
        }
        self.time = time;
        let header = Header::read(words)?;
        match header.record_type() {
            Some(
                RecordType::BookChange | RecordType::SnapshotBegin | RecordType::SnapshotEnd | RecordType::Overrun,
            ) => {
                self.books.push(words)?;
            }
            Some(RecordType::Instrument | RecordType::Status | RecordType::SessionStart | RecordType::SessionEnd) => {
                self.books.push(words)?;
                return self.note_rare(at, words);
            }
            _ => {}
        }
        let id = header.instrument().0;
        if id != 0 && !self.definitions.contains_key(&id) {
            self.undefined.insert(id, ());
        }
        Ok(())
    }

    fn note_rare(&mut self, at: Envelope, words: &[u64]) -> Result<(), RecordError> {
        let id = Header::read(words)?.instrument().0;
        let kept = (at, words.to_vec());
        match Record::read(words)? {
            Record::SessionStart(_) => {
                // Another run: what was told in the last one is void.
                self.states.clear();
                self.session = Some(kept);
            }
            Record::SessionEnd(_) => self.states.clear(),
            Record::Instrument(_) => {
                self.undefined.remove(&id);
                self.definitions.insert(id, kept);
            }
            Record::Status(view) => {
                let stream = if view.status.scope() == Scope::Stream { view.head.stream } else { 0 };
                self.states.insert((id, view.head.scope, stream), kept);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether looking farther back would tell more: something lacks its definition, or a book its beginning.
    pub fn is_whole(&self) -> bool {
        let begun = |rebuilt: &Rebuilt| rebuilt.follower.is_whole() || rebuilt.follower.counts().passed_over == 0;
        self.last.epoch != 0 && self.undefined.is_empty() && self.books.iter().all(|(_, _, rebuilt)| begun(rebuilt))
    }

    /// Whether nothing was told yet.
    pub fn is_empty(&self) -> bool {
        self.last.epoch == 0 && self.session.is_none()
    }

    /// The definitions.
    pub fn definitions(&self) -> impl Iterator<Item = &[u64]> {
        self.definitions.values().map(|(_, words)| &words[..])
    }

    /// Tells what a joiner needs: `f` gets names and records. `site` is the source's, where no session record was seen.
    pub fn tell(&self, site: &str, wanted: impl Fn(u32) -> bool, f: &mut Hearer<'_>) -> Result<(), crate::ReplayError> {
        match &self.session {
            Some((at, words)) => f(*at, words)?,
            None => {
                let start = Start { epoch: self.last.epoch, pid: 0, site, build: crate::BUILD };
                f(self.last, session_start(self.venue, &start, self.time).words())?;
            }
        }
        self.tell_states(0, f)?;
        let mut snapshot = RecordBuf::default();
        for (id, (at, words)) in self.definitions.iter().filter(|(id, _)| wanted(**id)) {
            f(*at, words)?;
            if let Some(rebuilt) = self.books.get(self.venue, InstrumentId(*id)).filter(|r| r.follower.is_whole()) {
                snapshot.clear();
                tell_book(self.venue, InstrumentId(*id), rebuilt, self.time, &mut snapshot);
                snapshot.iter().try_for_each(|words| f(self.last, words))?;
            }
            self.tell_states(*id, f)?;
        }
        Ok(())
    }

    fn tell_states(&self, id: u32, f: &mut Hearer<'_>) -> Result<(), crate::ReplayError> {
        self.states.range((id, 0, 0)..=(id, u8::MAX, u8::MAX)).try_for_each(|(_, (at, words))| f(*at, words))
    }
}

/// A book as a snapshot. Where it is known only up to a price, both sides are cut to as many levels, so that who reads
/// it knows where knowledge ends.
fn tell_book(venue: Venue, id: InstrumentId, rebuilt: &Rebuilt, now: UnixNanos, out: &mut RecordBuf) {
    let Rebuilt { follower, book } = rebuilt;
    let sides = [Side::Buy, Side::Sell];
    let bounded = sides.into_iter().filter(|side| follower.bound(*side).is_some()).map(|side| book.depth(side)).min();
    let told = |side| book.depth(side).min(bounded.unwrap_or(usize::MAX));
    let count = |side| u32::try_from(told(side)).expect("a book has fewer levels than fit four bytes");
    let trust = Flags::NOT_TRUSTED.when(follower.standing().state != BookState::Live);
    out.push(&SnapshotBeginRecord {
        header: Header::new(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Some(venue), trust, id),
        ts_event: 0,
        ts_recv: now.0,
        bids: count(Side::Buy),
        asks: count(Side::Sell),
        depth: follower.depth().and_then(|depth| u32::try_from(depth).ok()).unwrap_or(0),
        reason: SnapshotReason::Sync as u8,
        capped: u8::from(bounded.is_some()),
        reserved: [0; 2],
        update_id: 0,
    });
    for side in sides {
        for level in book.levels(side).take(told(side)) {
            let (flags, action) = (Flags::SNAPSHOT | trust, BookAction::Add);
            let (event, price, size) = (UnixNanos::ZERO, level.price, level.size);
            out.push(&BookChangeRecord::new(venue, id, side, flags, event, now, price, size, action));
        }
    }
    out.push(&SnapshotEndRecord {
        header: Header::new(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Some(venue), Flags::LAST | trust, id),
        ts_event: 0,
        ts_recv: now.0,
        levels: count(Side::Buy) + count(Side::Sell),
        checksum: 0,
        update_id: 0,
        reserved: 0,
    });
}
