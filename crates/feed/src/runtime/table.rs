//! Keeps the venue's table of latest values: the book of each instrument as it was told, for processes that do not follow
//! the stream.
//! records as they are published -> [`Latest::note`], then once a read [`Latest::write`] -> one row for each instrument
//! they were about.
//!
//! State and reason come from the records, prices from the book of the machine whose records were told; both at the same
//! record, as a commit hands on all that the session has stepped through. Levels are written only when one of those a
//! row shows may have changed. Allocates only when an instrument is defined.

use book::Book;
use model::{BookState, InstrumentId, Reason, Side, StreamKind, StreamState, UnixNanos, Venue};
use ring::table::{Row, TableError, TableOptions, TableWriter};
use std::collections::HashMap;
use venues::{Session, ToldBook};
use wire::{
    Flags, Header, NONE, Origin, QuoteRecord, Record, RecordType, Status, StatusView, TABLE_DEPTH, TableHead, TableRow,
    TableSource,
};

/// The least room a table is made with; it doubles when it is full.
const ROWS_MIN: usize = 64;

/// Words of a row's two symbols.
const NAME_WORDS: usize = 2 * wire::TABLE_SYMBOL_BYTES / 8;

/// The types that change rows, as bits by their codes; trades pass with one look.
const NOTED: u64 = {
    let types = [
        RecordType::BookChange,
        RecordType::SnapshotBegin,
        RecordType::SnapshotEnd,
        RecordType::Quote,
        RecordType::Instrument,
        RecordType::Status,
    ];
    let (mut bits, mut n) = (0, 0);
    while n < types.len() {
        bits |= 1 << types[n] as u8;
        n += 1;
    }
    bits
};

/// One instrument's row, as it was written or is about to be.
struct Place {
    row: Row,
    head: TableHead,
    /// Symbols still to be written.
    names: Option<Box<[u64; NAME_WORDS]>>,
    /// The state of the book as told, and why.
    told: (BookState, Reason),
    /// The venue is silent about it for too long.
    stale: bool,
    /// Waits for [`Latest::write`].
    touched: bool,
    /// So do its levels.
    deep: bool,
    /// Changes at worse prices than these leave the row's levels as they are.
    worst_bid: i64,
    worst_ask: i64,
}

/// A venue's table of latest values, as its feed writes it.
pub struct Latest {
    writer: TableWriter,
    venue: Venue,
    epoch: u64,
    simulated: bool,
    places: Vec<Place>,
    by_id: HashMap<InstrumentId, usize>,
    /// The place of the record before: runs of records are of one instrument.
    recent: (InstrumentId, usize),
    touched: Vec<usize>,
    /// Bids and asks on their way to shared memory.
    levels: Box<[[u64; 2 * TABLE_DEPTH]; 2]>,
}

impl Latest {
    /// Claims the venue's table for the run `epoch`, with room for so many instruments at first.
    pub fn open(
        directory: &ring::Directory,
        venue: Venue,
        (epoch, origin): (u64, Origin),
        instruments: usize,
        now_ns: u64,
    ) -> Result<Latest, TableError> {
        let rows = instruments.next_power_of_two().clamp(ROWS_MIN, ring::table::ROWS_MAX as usize);
        let options = TableOptions { rows: rows as u32, lines: TableRow::LINES as u32 };
        let writer = TableWriter::open(directory, venue.name(), options)?;
        if writer.repaired() > 0 {
            tracing::info!(%venue, rows = writer.repaired(), "an earlier run was killed while it wrote its table; these rows are empty");
        }
        writer.beat(now_ns);
        Ok(Latest {
            writer,
            venue,
            epoch,
            simulated: origin == Origin::Simulated,
            places: vec![],
            by_id: HashMap::new(),
            recent: (InstrumentId::NONE, 0),
            touched: vec![],
            levels: Box::new([[0; 2 * TABLE_DEPTH]; 2]),
        })
    }

    /// Says that the feed lives.
    pub fn beat(&self, now: UnixNanos) {
        self.writer.beat(now.0);
    }

    /// Takes in a record under the sequence it was published with.
    #[inline]
    pub fn note(&mut self, words: &[u64], sequence: u64) {
        if NOTED >> (words[0] & 63) & 1 != 0 {
            self.take(words, sequence);
        }
    }

    #[inline]
    fn take(&mut self, words: &[u64], sequence: u64) {
        let Ok(header) = Header::read(words) else { return };
        let id = header.instrument();
        let Some(kind) = header.record_type() else { return };
        if matches!(kind, RecordType::Instrument | RecordType::Status) {
            return self.take_rare(words, id, sequence);
        }
        let Some(at) = self.find(id) else { return };
        let place = &mut self.places[at];
        match kind {
            RecordType::BookChange => place.on_change(header, words[3] as i64),
            RecordType::SnapshotBegin | RecordType::SnapshotEnd => place.on_book(),
            // A book says more than a quote, and is what the row is for where there is one.
            RecordType::Quote if place.head.source == TableSource::Book as u8 => return,
            RecordType::Quote => place.on_quote(words),
            _ => return,
        }
        (place.head.ts_event, place.head.ts_recv) = (words[1], words[2]);
        self.touch(at, sequence);
    }

    #[inline]
    fn touch(&mut self, at: usize, sequence: u64) {
        let place = &mut self.places[at];
        place.head.sequence = sequence;
        if !std::mem::replace(&mut place.touched, true) {
            self.touched.push(at);
        }
    }

    #[inline]
    fn find(&mut self, id: InstrumentId) -> Option<usize> {
        if self.recent.0 != id {
            self.recent = (id, *self.by_id.get(&id)?);
        }
        (id != InstrumentId::NONE).then_some(self.recent.1)
    }

    #[cold]
    fn take_rare(&mut self, words: &[u64], id: InstrumentId, sequence: u64) {
        match Record::read(words) {
            Ok(Record::Instrument(view)) => self.define(id, &view, sequence),
            Ok(Record::Status(view)) if id == InstrumentId::NONE => self.on_venue(&view, sequence),
            Ok(Record::Status(view)) => {
                if let Some(at) = self.find(id)
                    && self.places[at].on_status(&view)
                {
                    self.touch(at, sequence);
                }
            }
            _ => {}
        }
    }

    /// Quotes of instruments without a book are as good as the connection that brings them.
    fn on_venue(&mut self, view: &StatusView<'_>, sequence: u64) {
        let Status::Connection(state) = view.status else { return };
        if state == StreamState::Live {
            return;
        }
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            if place.head.source == TableSource::Quote as u8 && place.told.0 == BookState::Live {
                place.told = (BookState::Suspect, view.reason);
                place.show(view.head.ts_recv);
                self.touch(at, sequence);
            }
        }
    }

    /// A definition: a row for a new instrument, other scales or another tick for a known one.
    fn define(&mut self, id: InstrumentId, view: &wire::InstrumentView<'_>, sequence: u64) {
        let at = match self.find(id) {
            Some(at) => at,
            None => match self.admit(id, view) {
                Ok(at) => at,
                Err(why) => {
                    tracing::error!(venue = %self.venue, symbol = view.symbol, "the instrument has no row in the table of latest values: {why}");
                    return;
                }
            },
        };
        let place = &mut self.places[at];
        let scales = (view.head.price_scale, view.head.size_scale);
        if (place.head.price_scale, place.head.size_scale, place.head.tick) == (scales.0, scales.1, view.head.tick)
            && place.names.is_none()
        {
            return;
        }
        place.rescale(scales, view.head.tick);
        self.touch(at, sequence);
    }

    fn admit(&mut self, id: InstrumentId, view: &wire::InstrumentView<'_>) -> Result<usize, String> {
        let names = [view.symbol, view.venue_symbol].map(TableRow::padded);
        let [Some(symbol), Some(venue_symbol)] = names else {
            return Err(format!("a symbol has more than {} bytes", wire::TABLE_SYMBOL_BYTES));
        };
        let row = self.writer.claim(TableHead::key(self.venue, id)).map_err(|e| e.to_string())?;
        let mut head = TableHead::empty(self.venue, id);
        (head.epoch, head.simulated) = (self.epoch, self.simulated.into());
        (head.price_scale, head.size_scale) = (view.head.price_scale, view.head.size_scale);
        head.since = view.head.ts_recv;
        self.places.push(Place {
            row,
            head,
            names: Some(Box::new(name_words(&symbol, &venue_symbol))),
            told: (BookState::Cold, Reason::Start),
            stale: false,
            touched: false,
            deep: true,
            worst_bid: i64::MIN,
            worst_ask: i64::MAX,
        });
        // Room for all of them, so that touching allocates nothing.
        self.touched.reserve(self.places.len());
        self.by_id.insert(id, self.places.len() - 1);
        Ok(self.places.len() - 1)
    }

    /// Writes the rows of what was noted since the last time, from the books as they stand. `now` goes into them.
    #[inline]
    pub fn write(&mut self, session: &Session, now: u64) {
        while let Some(at) = self.touched.pop() {
            self.write_row(at, session, now);
        }
    }

    fn write_row(&mut self, at: usize, session: &Session, now: u64) {
        let Latest { writer, places, levels, .. } = self;
        let place = &mut places[at];
        place.touched = false;
        place.head.written = now;
        let mut filled = None;
        if place.head.source != TableSource::Quote as u8
            && let Some(told) = session.book(place.head.instrument())
        {
            let ToldBook { book, definition } = told;
            place.rescale((definition.price_scale, definition.size_scale), definition.tick.0);
            place.top(book);
            // Laid out before the lock is taken, so that readers wait for copies only.
            filled = place.deep.then(|| place.fill(book, levels));
        }
        writer.update(place.row, |pen| {
            pen.put(ring::table::OWN_WORDS, &place.head.as_words()[ring::table::OWN_WORDS..]);
            if let Some(names) = place.names.take() {
                pen.put(TableRow::SYMBOLS_AT, &names[..]);
            }
            if let Some([bids, asks]) = filled {
                pen.put(TableRow::BIDS_AT, &levels[0][..2 * bids]);
                pen.put(TableRow::ASKS_AT, &levels[1][..2 * asks]);
            }
        });
    }

    /// The run ends: no row is live any more.
    pub fn close(&mut self, reason: Reason, now: UnixNanos) {
        for place in &mut self.places {
            place.told = (BookState::Cold, reason);
            place.show(now.0);
            place.head.written = now.0;
            let head = &place.head;
            self.writer
                .update(place.row, |pen| pen.put(ring::table::OWN_WORDS, &head.as_words()[ring::table::OWN_WORDS..]));
        }
    }
}

/// Lays out the best levels of a side; how many there are.
#[inline]
fn fill(book: &Book, side: Side, levels: &mut [u64; 2 * TABLE_DEPTH]) -> usize {
    let mut filled = 0;
    for (level, to) in book.levels(side).zip(levels.chunks_exact_mut(2)) {
        (to[0], to[1]) = (level.price.0 as u64, level.size.0 as u64);
        filled += 1;
    }
    filled
}

/// Both symbols as they stand in a row.
fn name_words(symbol: &[u8], venue_symbol: &[u8]) -> [u64; NAME_WORDS] {
    let both = [symbol, venue_symbol].concat();
    std::array::from_fn(|n| u64::from_le_bytes(std::array::from_fn(|byte| both[n * 8 + byte])))
}

impl Place {
    #[inline]
    fn on_change(&mut self, header: &Header, price: i64) {
        self.head.source = TableSource::Book as u8;
        let near = match header.flags().side() {
            Some(Side::Buy) => price >= self.worst_bid,
            _ => price <= self.worst_ask,
        };
        self.deep |= near || header.flags().contains(Flags::SNAPSHOT);
    }

    fn on_book(&mut self) {
        self.head.source = TableSource::Book as u8;
        self.deep = true;
    }

    fn on_quote(&mut self, words: &[u64]) {
        let Ok(Record::Quote(quote)) = Record::read(words) else { return };
        let QuoteRecord { bid_price, bid_size, ask_price, ask_size, .. } = *quote;
        let head = &mut self.head;
        head.source = TableSource::Quote as u8;
        (head.bid_price, head.bid_size, head.ask_price, head.ask_size) = (bid_price, bid_size, ask_price, ask_size);
        let trusted = !quote.header.flags().contains(Flags::NOT_TRUSTED);
        self.told = if trusted { (BookState::Live, Reason::Ok) } else { (BookState::Suspect, Reason::Venue) };
        self.stale = false;
        self.show(quote.ts_recv);
    }

    /// Whether it changes what is shown.
    fn on_status(&mut self, view: &StatusView<'_>) -> bool {
        match view.status {
            // Told again for late joiners: the reason it came to be so stays.
            Status::Book(state) if state == self.told.0 => return false,
            Status::Book(state) => {
                if state != BookState::Cold {
                    self.head.source = TableSource::Book as u8;
                }
                self.told = (state, view.reason);
                self.deep = true;
            }
            Status::Stream(StreamKind::Book | StreamKind::Quote, state) => {
                self.stale = state == StreamState::Stale;
            }
            _ => return false,
        }
        let before = (self.head.state, self.head.reason);
        self.show(view.head.ts_recv);
        before != (self.head.state, self.head.reason)
    }

    /// Brings state and reason into the head. A live book that has been silent for too long is in doubt.
    fn show(&mut self, now: u64) {
        let silent = self.stale && self.told.0 == BookState::Live;
        let (state, reason) = if silent { (BookState::Suspect, Reason::Timeout) } else { self.told };
        if self.head.state != state.code() {
            self.head.since = now;
        }
        (self.head.state, self.head.reason) = (state.code(), reason.code());
    }

    /// The row's numbers are at these scales from here on; levels are written anew when they were at others.
    #[inline]
    fn rescale(&mut self, scales: (u8, u8), tick: i64) {
        let head = &mut self.head;
        self.deep |= (head.price_scale, head.size_scale) != scales;
        (head.price_scale, head.size_scale, head.tick) = (scales.0, scales.1, tick);
    }

    /// Lays out the best levels of both sides; how many there are of each.
    #[inline]
    fn fill(&mut self, book: &Book, levels: &mut [[u64; 2 * TABLE_DEPTH]; 2]) -> [usize; 2] {
        let [bids, asks] = levels;
        let filled = [fill(book, Side::Buy, bids), fill(book, Side::Sell, asks)];
        let worst = |filled: usize, side: &[u64], open: i64| {
            if filled == TABLE_DEPTH { side[2 * TABLE_DEPTH - 2] as i64 } else { open }
        };
        self.worst_bid = worst(filled[0], bids, i64::MIN);
        self.worst_ask = worst(filled[1], asks, i64::MAX);
        self.deep = false;
        filled
    }

    #[inline]
    fn top(&mut self, book: &Book) {
        let level = |side| book.best(side).map_or((NONE, NONE), |level| (level.price.0, level.size.0));
        let head = &mut self.head;
        (head.bid_price, head.bid_size) = level(Side::Buy);
        (head.ask_price, head.ask_size) = level(Side::Sell);
        (head.bids, head.asks) = (book.depth(Side::Buy) as u32, book.depth(Side::Sell) as u32);
    }
}
