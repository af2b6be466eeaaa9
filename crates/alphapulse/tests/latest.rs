//! The table of latest values against the stream it was written beside: at every moment looked at, each row is the book
//! that the records up to its sequence make, level for level, whichever of two connections told them.

mod common;

use book::Book;
use common::{PATIENCE, Site, Up, VENUES, wait_for};
use model::{BookState, InstrumentId, Price, Qty, Side, UnixNanos, Venue};
use relay::table::BookTable;
use ring::{Directory, From, Poll, Reader};
use std::{
    collections::{BTreeMap, VecDeque},
    fs, thread,
    time::{Duration, Instant},
};
use wire::{Flags, Record, SnapshotReason, Status, TABLE_DEPTH, TableRow};

/// Rows compared at each venue, each while its book is live and at a sequence of its own.
const COMPARED: usize = 40;

/// One instrument's book out of the stream.
#[derive(Default)]
struct Followed {
    book: Book,
    known: bool,
    depth: usize,
    state: Option<BookState>,
    scales: (u8, u8),
    /// A repetition for late joiners is passed over.
    passing: bool,
    waiting: VecDeque<(u64, Vec<u64>)>,
}

impl Followed {
    /// Takes in what waits up to a sequence.
    fn until(&mut self, sequence: u64) {
        while let Some((_, words)) = self.waiting.pop_front_if(|(at, _)| *at <= sequence) {
            self.take(&words);
        }
    }

    fn take(&mut self, words: &[u64]) {
        match Record::read(words).expect("a sound record") {
            Record::Instrument(view) => {
                let scales = (view.head.price_scale, view.head.size_scale);
                if self.scales != (0, 0) && self.scales != scales {
                    let factor = |new: u8, old: u8| 10i64.pow(u32::from(new - old));
                    let [price, size] = [factor(scales.0, self.scales.0), factor(scales.1, self.scales.1)];
                    assert!(self.book.rescale(price, size));
                }
                self.scales = scales;
            }
            Record::Status(view) => {
                if let Status::Book(state) = view.status {
                    self.state = Some(state);
                }
            }
            Record::SnapshotBegin(begin) => {
                self.passing = begin.reason().is_repeat() && self.known;
                if !self.passing {
                    self.book.clear();
                    // A cut repetition is no book to compare with.
                    self.known = begin.capped == 0 || begin.reason() == SnapshotReason::Sync;
                    self.depth = begin.depth as usize;
                }
            }
            Record::SnapshotEnd(_) => self.passing = false,
            Record::BookChange(change) => {
                let flags = change.header.flags();
                if self.passing && flags.contains(Flags::SNAPSHOT) {
                    return;
                }
                let side = flags.side().expect("a level has a side");
                self.book.set(side, Price(change.price), Qty(change.size));
                if flags.contains(Flags::LAST) && self.depth > 0 {
                    self.book.truncate(self.depth);
                }
            }
            _ => {}
        }
    }

    fn levels(&self, side: Side) -> Vec<(i64, i64)> {
        self.book.levels(side).take(TABLE_DEPTH).map(|l| (l.price.0, l.size.0)).collect()
    }
}

/// One venue's ring and table.
struct Watched {
    venue: Venue,
    reader: Reader,
    table: BookTable,
    books: BTreeMap<InstrumentId, Followed>,
    compared: usize,
    /// The sequence each row was last compared at.
    newest: BTreeMap<InstrumentId, u64>,
    /// Rows seen in each state.
    states: BTreeMap<&'static str, usize>,
}

impl Watched {
    fn open(directory: &Directory, name: &str) -> Watched {
        let venue: Venue = name.parse().expect("a venue");
        let mut reader = Reader::open(directory, name).expect("its ring");
        reader.attach(From::Oldest).expect("the oldest");
        let table = BookTable::open(directory, venue).expect("its table");
        let (books, newest, states) = Default::default();
        Watched { venue, reader, table, books, compared: 0, newest, states }
    }

    fn now() -> UnixNanos {
        UnixNanos(telemetry::clock::wall_ns())
    }

    /// Reads each row and compares it with the book of the records up to it.
    fn look(&mut self) {
        let listed = self.table.list(Watched::now()).expect("a feed");
        for listed in listed {
            let row = *self.table.book(listed.row, Watched::now()).expect("a feed that lives");
            self.poll();
            self.compare(&row);
        }
    }

    fn poll(&mut self) {
        loop {
            let books = &mut self.books;
            let poll = self.reader.poll(4096, |entry, words| {
                let id = InstrumentId((words[0] >> 32) as u32);
                books.entry(id).or_default().waiting.push_back((entry.sequence, words.to_vec()));
            });
            match poll.expect("a sound ring") {
                Poll::Records(_) => {}
                Poll::Idle => return,
                other => panic!("{other:?}: the ring is too small for the test"),
            }
        }
    }

    fn compare(&mut self, row: &TableRow) {
        let head = &row.head;
        let Some(book) = self.books.get_mut(&head.instrument()) else { return };
        book.until(head.sequence);
        *self.states.entry(head.state().name()).or_default() += 1;
        // Stale streams are told of the stream, not of the book.
        if book.state == Some(BookState::Live) && head.state() == BookState::Suspect {
            return;
        }
        if let Some(state) = book.state.filter(|_| head.source == 1) {
            assert_eq!(head.state(), state, "{} {}", self.venue, row.symbol());
        }
        if !head.is_live() || !book.known || head.source != 1 {
            return;
        }
        let place = format!("{} {} at sequence {}", self.venue, row.symbol(), head.sequence);
        assert_eq!((head.price_scale, head.size_scale), book.scales, "{place}");
        for (side, levels) in [(Side::Buy, row.bids()), (Side::Sell, row.asks())] {
            let shown: Vec<_> = levels.iter().map(|l| (l.price, l.size)).collect();
            assert_eq!(shown, book.levels(side), "{place} {side:?}");
        }
        let best = |side: Side| book.book.best(side).map(|l| (l.price, l.size));
        assert_eq!((head.bid(), head.ask()), (best(Side::Buy), best(Side::Sell)), "{place}");
        let news = self.newest.insert(head.instrument(), head.sequence) != Some(head.sequence);
        self.compared += usize::from(news);
    }
}

#[test]
fn every_row_is_the_book_of_the_records_before_it() {
    let site = Site::all("[venues.binance]\npair = true\n[venues.kraken]\npair = true\nsnapshot_depth = 100\n");
    // Their emulators take faults.
    let mut text = fs::read_to_string(&site.config).expect("the configuration");
    let socket = |venue: &str| site.state.path().join(format!("faults-{venue}"));
    for venue in ["binance", "kraken"] {
        let section = format!("[emulator.{venue}]\n");
        text = text.replace(&section, &format!("{section}control = {:?}\n", socket(venue)));
    }
    fs::write(&site.config, text).expect("written");
    let _up = Up::start(&site, &[]);
    wait_for("all tables", || {
        VENUES.iter().all(|v| site.rings.path().join(format!("{v}.table")).exists()).then_some(())
    });
    let directory = Directory::open(site.rings.path()).expect("the rings");
    let mut watched: Vec<Watched> = VENUES.iter().map(|venue| Watched::open(&directory, venue)).collect();
    let begun = Instant::now();
    // In the order they are taken: from the end.
    let mut drops = vec![0, 2, 1];
    while watched.iter().any(|w| w.compared < COMPARED) || !drops.is_empty() {
        let least = watched.iter().map(|w| w.compared).min().unwrap_or(0);
        if least > COMPARED / 4 * (4 - drops.len()).min(3)
            && let Some(connection) = drops.pop()
        {
            // All connections, or one of the first two: the arbiter changes over to what is left.
            let which = if connection == 0 { String::new() } else { format!(", connection = {connection}") };
            for venue in ["binance", "kraken"] {
                let path = socket(venue).display().to_string();
                let out = site.output(&["emulator", "fault", &path, &format!("do = \"drop\"{which}")]);
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            }
        }
        for one in &mut watched {
            one.look();
        }
        let counts: Vec<_> = watched.iter().map(|w| (w.venue.name(), w.compared)).collect();
        assert!(begun.elapsed() < PATIENCE, "compared too few rows: {counts:?}");
        thread::sleep(Duration::from_millis(5));
    }
    for one in &watched {
        println!("{}: {} rows compared while live, rows seen by state {:?}", one.venue, one.compared, one.states);
    }
    let broken = watched.iter().filter(|w| w.states.keys().any(|state| *state != "live")).count();
    assert!(broken > 0, "a book without any connection is not live");
}
