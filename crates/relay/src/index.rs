//! Remembers where each instrument's definitions, states and snapshots stand in one ring, so that whoever joins can
//! be started there. Built by scanning the window once and then followed; nothing in it outlives the window.

use std::collections::VecDeque;

use crate::filter::{Definitions, Filter, IdMap, kind_and_instrument};
use crate::subscription::Snapshots;
use model::Scope;
use ring::{Entry, Poll, Reader, RingError};
use wire::{Record, RecordType};

/// Slots per step of catching up.
const ADVANCE_SLOTS: usize = 16 * 1024;
/// The part of the window nearest to the writer that no join is planned in: it would be gone before it is read.
const MARGIN_DIVISOR: u64 = 8;

/// A place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: u64,
    epoch: u64,
}

/// Places of one kind, rising.
type Marks = VecDeque<Mark>;

/// A whole snapshot.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    begin: Mark,
    end: u64,
}

#[derive(Default)]
struct Known {
    symbol: String,
    venue_symbol: String,
    scales: (u8, u8),
    /// Position of the last definition that changed a scale: no book reaches across it.
    rescaled: u64,
    definitions: Marks,
    opening: Option<Mark>,
    snapshots: VecDeque<Snapshot>,
    /// Per scope and stream: the codes are checked, so there are few.
    states: Vec<((u8, u8), Marks)>,
}

/// Whether a joiner needs the books.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Books {
    Told,
    Known,
}

/// What a joiner is told before the first record it is owed.
#[derive(Default, Debug)]
pub(crate) struct Plan {
    /// Single records, rising.
    pub(crate) points: Vec<u64>,
    /// Where the scan begins; equal to `until` when there is none.
    pub(crate) scan_from: u64,
    /// From where on each instrument's book, definitions and states are told during the scan.
    pub(crate) starts: IdMap<u64>,
    /// The first record that is owed anyway.
    pub(crate) until: u64,
    /// Venue's symbols of the books that the feed is to be asked for.
    pub(crate) asks: Vec<String>,
}

/// Where the late joiner's records stand in one ring.
pub(crate) struct RingIndex {
    reader: Reader,
    tables: Tables,
}

/// The same for any run of records with rising positions.
#[derive(Default)]
pub(crate) struct Tables {
    /// Instrument 0 holds the states of the venue as a whole.
    instruments: IdMap<Known>,
    sessions: Marks,
    /// Definitions of instruments not known before.
    defined: u64,
    /// Nothing before this is held any more.
    floor: u64,
}

impl RingIndex {
    /// `reader` stands at the oldest record.
    pub(crate) fn new(reader: Reader) -> RingIndex {
        RingIndex { reader, tables: Tables::default() }
    }

    /// The reader it follows with: to fork from, and to see whether there is news.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How many instruments are defined.
    pub(crate) fn instruments(&self) -> usize {
        self.tables.instruments.values().filter(|known| !known.symbol.is_empty()).count()
    }

    /// Whether the symbol, canonical or the venue's, is known here.
    pub(crate) fn knows(&self, symbol: &str) -> bool {
        let named = |own: &String| own.eq_ignore_ascii_case(symbol);
        self.tables.instruments.values().any(|known| named(&known.symbol) || named(&known.venue_symbol))
    }

    /// Follows the ring for up to so many slots. True when all that was there at the start was read.
    pub(crate) fn advance(&mut self, slots: usize) -> Result<bool, RingError> {
        let tables = &mut self.tables;
        let tail = self.reader.tail();
        tables.floor = tail.saturating_sub(self.reader.capacity());
        Ok(match self.reader.poll(slots, |entry, words| tables.note(entry, words))? {
            Poll::Records(_) => self.reader.position() >= tail,
            Poll::Idle | Poll::Retired => true,
            Poll::Lapped(_) => {
                tables.forget_positions();
                false
            }
            Poll::Missing(_) => {
                tables.forget_books();
                false
            }
        })
    }

    /// Follows the ring to its end. Ends because reading is many times faster than writing.
    pub(crate) fn catch_up(&mut self) -> Result<(), RingError> {
        while !self.advance(ADVANCE_SLOTS)? {}
        Ok(())
    }

    /// What a joiner that is owed everything from slot position `until` (of `epoch`) on is told before it, and whose
    /// books must be asked for.
    pub(crate) fn plan(&self, until: u64, epoch: u64, filter: &Filter, (books, snapshots): (Books, Snapshots)) -> Plan {
        let capacity = self.reader.capacity();
        let oldest = (self.reader.tail() + capacity / MARGIN_DIVISOR).saturating_sub(capacity);
        self.tables.plan(oldest, (until, epoch), filter, (books, snapshots))
    }
}

impl Definitions for RingIndex {
    #[inline]
    fn defined(&self) -> u64 {
        self.tables.defined
    }

    fn symbols_of(&self, instrument: u32) -> Option<(&str, &str)> {
        self.tables.symbols_of(instrument)
    }

    fn look_further(&mut self) {
        // The definition may lie between where the index stands and the record at hand. A ring that cannot be read
        // here will say so to its reader too.
        let _ = self.catch_up();
    }
}

impl Definitions for Tables {
    fn defined(&self) -> u64 {
        self.defined
    }

    fn symbols_of(&self, instrument: u32) -> Option<(&str, &str)> {
        let known = self.instruments.get(&instrument)?;
        (!known.symbol.is_empty()).then_some((known.symbol.as_str(), known.venue_symbol.as_str()))
    }

    /// All up to the record at hand was noted.
    fn look_further(&mut self) {}
}

impl Tables {
    /// As [`RingIndex::plan`], where nothing before `oldest` can be read.
    pub(crate) fn plan(
        &self,
        oldest: u64,
        (until, epoch): (u64, u64),
        filter: &Filter,
        (books, snapshots): (Books, Snapshots),
    ) -> Plan {
        let mut plan = Plan { scan_from: until, until, ..Plan::default() };
        plan.points.extend(last(&self.sessions, oldest, until, Some(epoch)));
        let books = books == Books::Told && filter.wants_type(RecordType::BookChange as u8);
        for (instrument, known) in &self.instruments {
            if *instrument != 0 && (known.symbol.is_empty() || !filter.wants_symbol(&known.symbol, &known.venue_symbol))
            {
                continue;
            }
            let snapshot = books.then(|| known.snapshot_before(oldest, until, epoch)).flatten();
            if books && *instrument != 0 && (snapshots == Snapshots::Fresh || !known.tells_a_book(oldest, epoch)) {
                plan.asks.push(known.venue_symbol.clone());
            }
            let start = snapshot.unwrap_or(until);
            if start < until {
                plan.starts.insert(*instrument, start);
                plan.scan_from = plan.scan_from.min(start);
            }
            plan.points.extend(
                // The scale of records whose definition is no longer held is best told by the next one.
                last(&known.definitions, oldest, start, None).or_else(|| {
                    known.definitions.iter().map(|mark| mark.position).find(|at| *at >= oldest && until > 0)
                }),
            );
            let states = known.states.iter().filter_map(|(_, marks)| last(marks, oldest, start, Some(epoch)));
            let first = plan.points.len();
            plan.points.extend(states);
            // A state told before the last definition is told under the one it was told under.
            if let Some(state) = plan.points[first..].iter().min() {
                plan.points.extend(last(&known.definitions, oldest, *state, None));
            }
        }
        plan.points.sort_unstable();
        plan.points.dedup();
        plan
    }
}

/// The last of `marks` in `oldest..before`, of one epoch if one is given.
fn last(marks: &Marks, oldest: u64, before: u64, epoch: Option<u64>) -> Option<u64> {
    let mark = marks.get(marks.partition_point(|mark| mark.position < before).checked_sub(1)?)?;
    (mark.position >= oldest && epoch.is_none_or(|epoch| epoch == mark.epoch)).then_some(mark.position)
}

impl Known {
    /// Whether a snapshot of `epoch` is held that a joiner can begin from, whole or on its way, before where it joins or
    /// behind.
    fn tells_a_book(&self, oldest: u64, epoch: u64) -> bool {
        let usable = |begin: &Mark| begin.position >= oldest.max(self.rescaled) && begin.epoch == epoch;
        self.opening.as_ref().is_some_and(usable) || self.snapshots.iter().any(|snapshot| usable(&snapshot.begin))
    }

    /// Begin of the last snapshot that was whole before `before` and still belongs to the book of `epoch`.
    fn snapshot_before(&self, oldest: u64, before: u64, epoch: u64) -> Option<u64> {
        let behind = self.snapshots.partition_point(|snapshot| snapshot.end < before);
        let begin = self.snapshots.get(behind.checked_sub(1)?)?.begin;
        let rescaled = begin.position < self.rescaled && self.rescaled < before;
        (begin.position >= oldest && begin.epoch == epoch && !rescaled).then_some(begin.position)
    }
}

impl Tables {
    /// From now on only what instruments are called is kept up.
    pub(crate) fn keep_symbols_only(&mut self) {
        self.forget_positions();
        self.floor = u64::MAX;
    }

    /// No book reaches across what is missing.
    pub(crate) fn forget_books(&mut self) {
        for known in self.instruments.values_mut() {
            known.opening = None;
            known.snapshots.clear();
        }
    }

    /// Symbols stay known, places do not.
    fn forget_positions(&mut self) {
        self.sessions.clear();
        for known in self.instruments.values_mut() {
            known.definitions.clear();
            known.opening = None;
            known.snapshots.clear();
            known.states.clear();
        }
    }

    /// Takes in a record.
    #[inline]
    pub(crate) fn note(&mut self, entry: Entry, words: &[u64]) {
        let (kind, instrument) = kind_and_instrument(words);
        match RecordType::from_code(kind) {
            Some(RecordType::Trade | RecordType::BookChange | RecordType::Quote) | None => {}
            Some(kind) => self.note_rare(kind, instrument, entry, words),
        }
    }

    fn note_rare(&mut self, kind: RecordType, instrument: u32, entry: Entry, words: &[u64]) {
        let mark = Mark { position: entry.position, epoch: entry.epoch };
        let floor = self.floor;
        match kind {
            RecordType::SessionStart => push(&mut self.sessions, mark, floor),
            RecordType::SnapshotBegin => self.instruments.entry(instrument).or_default().opening = Some(mark),
            RecordType::SnapshotEnd => {
                let known = self.instruments.entry(instrument).or_default();
                if let Some(begin) = known.opening.take().filter(|begin| begin.epoch == entry.epoch) {
                    while known.snapshots.front().is_some_and(|oldest| oldest.begin.position < floor) {
                        known.snapshots.pop_front();
                    }
                    known.snapshots.push_back(Snapshot { begin, end: entry.position });
                }
            }
            RecordType::Instrument => self.note_definition(instrument, mark, words),
            RecordType::Status => self.note_state(instrument, mark, words),
            _ => {}
        }
    }

    fn note_definition(&mut self, instrument: u32, mark: Mark, words: &[u64]) {
        let Ok(Record::Instrument(view)) = Record::read(words) else { return };
        let known = self.instruments.entry(instrument).or_default();
        let scales = (view.head.price_scale, view.head.size_scale);
        if known.symbol.is_empty() {
            self.defined += 1;
        } else if known.scales != scales {
            known.rescaled = mark.position;
        }
        known.scales = scales;
        if known.symbol != view.symbol || known.venue_symbol != view.venue_symbol {
            known.symbol = view.symbol.to_owned();
            known.venue_symbol = view.venue_symbol.to_owned();
        }
        push(&mut known.definitions, mark, self.floor);
    }

    fn note_state(&mut self, instrument: u32, mark: Mark, words: &[u64]) {
        let Ok(Record::Status(view)) = Record::read(words) else { return };
        let key = (view.head.scope, if view.status.scope() == Scope::Stream { view.head.stream } else { 0 });
        let states = &mut self.instruments.entry(instrument).or_default().states;
        let at = states.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
            states.push((key, Marks::new()));
            states.len() - 1
        });
        push(&mut states[at].1, mark, self.floor);
    }
}

/// Appends, and forgets what fell out of the window.
fn push(marks: &mut Marks, mark: Mark, floor: u64) {
    while marks.front().is_some_and(|oldest| oldest.position < floor) {
        marks.pop_front();
    }
    marks.push_back(mark);
}
