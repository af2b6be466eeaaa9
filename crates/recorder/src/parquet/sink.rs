//! The loop of the store: batches of the journal become rows, rows become parts, and each part moves the ledger on.
//! [`run`] starts it again whenever it fails, from where the ledger says.

use super::ahead::{Ahead, Found};
use super::file::{OpenFile, Shelf};
use super::ledger::{Definition, Ledger, State};
use super::rows::{row_of, table_of};
use super::{CURSOR, ParquetOptions, SinkError, SinkShared, SinkStats};
use journal::{Batch, Cursor, From, Item, Level, Place, Positions, Reader};
use model::{InstrumentId, UnixNanos, Venue};
use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};
use wire::{
    Envelope, Record,
    batch::{BatchHeader, OUT_OF_BAND},
    json::Instruments,
};

/// Rows of one file that make a row group.
const GROUP_ROWS: usize = 65_536;
/// Rows held in memory over all files; the file with the most gives a row group when there are more.
const ROWS_MAX: usize = 131_072;
/// Between two looks at a journal that has nothing new.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// First and longest wait after a failure.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
const HOUR_NS: u64 = 3_600_000_000_000;

/// Follows the journal until asked to end, and then to its end.
pub(crate) fn run(options: &ParquetOptions, shared: &SinkShared) {
    let mut wait = RETRY_MIN;
    loop {
        let began = Instant::now();
        match Sink::open(options, shared).and_then(|(mut sink, reader)| sink.follow(reader)) {
            Ok(()) => return,
            Err(error) => shared.set_problem(Some(error.to_string())),
        }
        if shared.is_ending() {
            return;
        }
        wait = if began.elapsed() > RETRY_MAX { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        let until = Instant::now() + wait;
        while Instant::now() < until && !shared.is_ending() {
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Makes files of all that a journal acknowledges as synced, and ends.
pub fn make(options: &ParquetOptions) -> Result<SinkStats, SinkError> {
    let shared = SinkShared::default();
    shared.end();
    let (mut sink, reader) = Sink::open(options, &shared)?;
    sink.follow(reader)?;
    Ok(shared.stats(0))
}

/// A batch that is being taken in; so many of its records are in rows or need none.
struct Pending {
    header: BatchHeader,
    body: Vec<u64>,
    place: Place,
    behind: Place,
    taken: usize,
}

struct Sink<'a> {
    options: &'a ParquetOptions,
    shared: &'a SinkShared,
    ledger: Ledger,
    /// As of the last commit, but for `last`, which counts what is in rows too.
    state: State,
    instruments: Instruments,
    /// Instruments whose definition never came.
    undefined: HashSet<(Venue, InstrumentId)>,
    ahead: Option<Ahead>,
    open: BTreeMap<Shelf, OpenFile>,
    rows: usize,
    /// Where the rows in the open files begin: their names.
    begin: String,
    began: Option<Instant>,
    /// Where the next batch begins.
    place: Option<Place>,
}

impl<'a> Sink<'a> {
    fn open(options: &'a ParquetOptions, shared: &'a SinkShared) -> Result<(Sink<'a>, Reader), SinkError> {
        let (ledger, mut state) = Ledger::open(&options.folder)?;
        let oldest = Reader::open(&options.journal, From::Oldest, Level::Synced)?;
        let reader = match state.at().filter(|_| state.journal == oldest.journal()) {
            Some(place) => {
                let cursor = cursor(&state, place);
                Reader::open(&options.journal, From::Cursor(cursor), Level::Synced)?
            }
            // Another journal: what it tells of records that have rows already is passed over by their names.
            None => oldest,
        };
        state.journal = reader.journal();
        let mut instruments = Instruments::new();
        state.instruments.iter().filter_map(Definition::to_instrument).for_each(|i| instruments.insert(i));
        let mut sink = Sink {
            options,
            shared,
            ledger,
            state,
            instruments,
            undefined: HashSet::new(),
            ahead: None,
            open: BTreeMap::new(),
            rows: 0,
            begin: String::new(),
            began: None,
            place: None,
        };
        sink.begin_at(reader.place());
        // Retention must know of this sink before it is next asked what may go.
        sink.store_cursor(reader.place())?;
        shared.set_problem(None);
        Ok((sink, reader))
    }

    fn begin_at(&mut self, place: Place) {
        self.begin = format!("{:016x}-{:010}-{:012}", self.state.journal, place.segment, place.offset);
        self.place = Some(place);
        self.began = None;
    }

    fn follow(&mut self, mut reader: Reader) -> Result<(), SinkError> {
        loop {
            // Read before the look, so that what was synced before the request is in files at the end.
            let ending = self.shared.is_ending();
            let pending = match reader.next()? {
                Item::Batch(Batch { header, body, place, next }) => {
                    Some(Pending { header, body: body.to_vec(), place, behind: next, taken: 0 })
                }
                Item::Missing(missing) => {
                    self.shared.damaged.fetch_add(1, Relaxed);
                    tracing::error!("the Parquet files lack what the journal lacks: {missing}");
                    continue;
                }
                Item::End => None,
            };
            match pending {
                Some(mut pending) => {
                    if !self.take_whole(&mut pending)? {
                        // Asked to end while a definition is still to come: the next start goes on here.
                        return self.commit();
                    }
                }
                None if ending => return self.commit(),
                None => {
                    self.note_lag();
                    thread::sleep(LOOK_EVERY);
                }
            }
            if self.began.is_some_and(|began| began.elapsed() >= self.options.part) {
                self.commit()?;
            }
        }
    }

    /// Takes a batch in. False when the end was asked for while it could not be.
    fn take_whole(&mut self, pending: &mut Pending) -> Result<bool, SinkError> {
        self.began.get_or_insert_with(Instant::now);
        if self.shared.waiting_since.load(Relaxed) == 0 {
            self.shared.waiting_since.store(pending.header.published, Relaxed);
        }
        while let Some((venue, id)) = self.take(pending)? {
            if self.define(venue, id, pending)? {
                continue;
            }
            if self.shared.is_ending() {
                return Ok(false);
            }
            thread::sleep(LOOK_EVERY);
        }
        self.place = Some(pending.behind);
        Ok(true)
    }

    /// Takes in the records of a batch up to one whose instrument is not defined, and says which that is.
    fn take(&mut self, pending: &mut Pending) -> Result<Option<(Venue, InstrumentId)>, SinkError> {
        let header = pending.header;
        let Some(venue) = header.venue().filter(|_| header.flags & OUT_OF_BAND == 0) else { return Ok(None) };
        let done = self.state.last_of(venue);
        let mut walk = Walk { venue, done, last: None, at: 0, from: pending.taken, missing: None };
        // The reader has checked the batch: what does not open now has changed in memory.
        let opened = header.open(&pending.body, |name, words| {
            if walk.missing.is_none() {
                self.take_record(&mut walk, name, words);
            }
        });
        debug_assert!(opened.is_ok(), "the reader hands out whole batches");
        pending.taken = walk.at;
        if let Some(last) = walk.last {
            self.state.last.insert(venue.name().to_owned(), (last.epoch, last.sequence));
        }
        self.flush_large()?;
        Ok(walk.missing)
    }

    /// One record of a batch, unless it was taken before.
    fn take_record(&mut self, walk: &mut Walk, name: Envelope, words: &[u64]) {
        if walk.at >= walk.from {
            walk.missing = self.take_new(walk, name, words);
            if walk.missing.is_some() {
                return;
            }
            walk.last = Some(name);
        }
        walk.at += 1;
    }

    /// Says which definition is missing, where one is.
    fn take_new(&mut self, walk: &Walk, name: Envelope, words: &[u64]) -> Option<(Venue, InstrumentId)> {
        let (Ok(record), Ok(header)) = (Record::read(words), wire::Header::read(words)) else {
            self.shared.undefined.fetch_add(1, Relaxed);
            return None;
        };
        self.instruments.observe(&record);
        let table = table_of(&record)?;
        if name <= walk.done {
            self.shared.repeated.fetch_add(1, Relaxed);
            return None;
        }
        let key = (walk.venue, header.instrument());
        let Some(instrument) = self.instruments.of(header) else {
            if self.undefined.contains(&key) {
                self.shared.undefined.fetch_add(1, Relaxed);
                return None;
            }
            return Some(key);
        };
        if let Some(row) = row_of(&record, name, instrument) {
            let shelf = Shelf { table, venue: walk.venue, hour: row.ts_recv / HOUR_NS };
            let number = self.open.len();
            let begin = &self.begin;
            let make = || OpenFile::new(shelf, Ledger::temporary(begin, number));
            self.open.entry(shelf).or_insert_with(make).rows().push(&instrument.symbol, row);
            self.rows += 1;
        }
        None
    }

    /// Looks for the definition further on in the journal: a journal that began behind a ring's definitions gets them
    /// when the feed repeats them. False while it may still come.
    fn define(&mut self, venue: Venue, id: InstrumentId, pending: &Pending) -> Result<bool, SinkError> {
        let ahead = match &mut self.ahead {
            Some(ahead) => ahead,
            None => self.ahead.insert(Ahead::open(&self.options.journal, pending.place)?),
        };
        match ahead.find(venue, id, pending.header.published)? {
            Found::Defined(instrument) => self.instruments.insert(instrument),
            Found::Never => {
                tracing::error!(%venue, instrument = %id, "no definition came; its records are in no Parquet file");
                self.undefined.insert((venue, id));
            }
            Found::NotYet => return Ok(false),
        }
        Ok(true)
    }

    fn flush_large(&mut self) -> Result<(), SinkError> {
        let ParquetOptions { folder, site, zstd_level, .. } = self.options;
        while self.rows >= GROUP_ROWS {
            let Some(file) = self.open.values_mut().max_by_key(|file| file.waiting()) else { return Ok(()) };
            let rows = file.waiting();
            if rows < GROUP_ROWS && self.rows < ROWS_MAX {
                return Ok(());
            }
            file.flush(folder, site, *zstd_level)?;
            self.rows -= rows;
        }
        Ok(())
    }

    /// Ends the part: its files get their names and the sink stands behind their rows.
    fn commit(&mut self) -> Result<(), SinkError> {
        let Some(place) = self.place else { return Ok(()) };
        let ParquetOptions { folder, site, zstd_level, .. } = self.options;
        let mut files = Vec::new();
        for (shelf, mut file) in std::mem::take(&mut self.open) {
            file.flush(folder, site, *zstd_level)?;
            let name = format!("{}-{}.parquet", shelf.table.name(), self.begin);
            files.extend(file.finish(folder, &name)?);
        }
        self.rows = 0;
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let count = files.len() as u64;
        self.state.place = Some((place.segment, place.offset));
        self.state.instruments = self.instruments.iter().map(Definition::of).collect();
        self.ledger.commit(self.state.clone(), files)?;
        journal::crash::point("recorder.before_cursor");
        self.store_cursor(place)?;
        journal::crash::point("recorder.after_cursor");
        self.shared.rows.fetch_add(rows, Relaxed);
        self.shared.files.fetch_add(count, Relaxed);
        self.shared.waiting_since.store(0, Relaxed);
        self.begin_at(place);
        Ok(())
    }

    fn store_cursor(&self, place: Place) -> Result<(), SinkError> {
        Ok(cursor(&self.state, place).store(&self.options.journal)?)
    }

    /// Nothing is left to read: only rows in open files are behind.
    fn note_lag(&self) {
        if self.began.is_none() {
            self.shared.waiting_since.store(0, Relaxed);
        }
    }
}

/// What the journal is told of a sink that stands at `place`.
fn cursor(state: &State, place: Place) -> Cursor {
    let mut positions = Positions::default();
    for venue in Venue::ALL {
        let last = state.last_of(venue);
        if last.epoch > 0 {
            positions.raise(venue, last);
        }
    }
    let time = UnixNanos(telemetry::clock::wall_ns());
    Cursor { name: CURSOR.to_owned(), journal: state.journal, place, positions, time }
}

/// One way through a batch.
struct Walk {
    venue: Venue,
    /// Up to here records have rows already.
    done: Envelope,
    /// The last one taken in.
    last: Option<Envelope>,
    at: usize,
    from: usize,
    missing: Option<(Venue, InstrumentId)>,
}
