//! A consumer of the records: rebuilds books as `docs/protocol.md` tells readers to, and checks what must hold of
//! every stream of records, whatever the test is about.

use super::case::Truth;
use book::PlainBook;
use model::{BookState, InstrumentId, Price, Qty, Side};
use std::collections::HashMap;
use wire::json::{Encoder, Line, decimal};
use wire::{Envelope, Flags, Record, Status};

/// One book as a reader sees it.
#[derive(Default)]
pub struct Rebuilt {
    book: PlainBook,
    depth: u32,
    pub state: Option<BookState>,
    /// Levels still to come of the snapshot being told.
    snapshot: Option<u32>,
    /// Snapshots taken in.
    pub snapshots: u32,
    event_open: bool,
}

/// A reader of one stream of records.
#[derive(Default)]
pub struct Reader {
    encoder: Encoder,
    books: HashMap<InstrumentId, Rebuilt>,
    sequence: u64,
    /// Everything told, in order.
    pub lines: Vec<Line>,
}

impl Reader {
    /// Takes in one record.
    pub fn push(&mut self, words: &[u64]) {
        self.sequence += 1;
        let at = Envelope { epoch: 1, sequence: self.sequence };
        let record = Record::read(words).expect("a sound record");
        self.rebuild(&record);
        let line = self.encoder.push(at, words).expect("a record whose instrument was defined before it");
        self.lines.extend(line);
    }

    fn rebuild(&mut self, record: &Record<'_>) {
        match record {
            Record::SnapshotBegin(r) => {
                let b = self.books.entry(r.header.instrument()).or_default();
                assert!(!b.event_open, "a snapshot begins inside an event");
                assert!(b.snapshot.is_none(), "a snapshot begins inside another");
                b.book.clear();
                b.depth = r.depth;
                b.snapshot = Some(r.bids + r.asks);
            }
            Record::BookChange(r) => {
                let f = r.header.flags();
                let b = self.books.get_mut(&r.header.instrument()).expect("a snapshot comes before the first change");
                let side = f.side().expect("a level has a side");
                if f.contains(Flags::SNAPSHOT) {
                    let left = b.snapshot.as_mut().expect("snapshot levels stand between begin and end");
                    *left = left.checked_sub(1).expect("no more levels than the beginning said");
                } else {
                    assert!(b.snapshot.is_none(), "a change inside a snapshot");
                    let live = b.state == Some(BookState::Live);
                    assert!(live || f.contains(Flags::NOT_TRUSTED), "a trusted change while the book is {:?}", b.state);
                    b.event_open = !f.contains(Flags::LAST);
                }
                b.book.set(side, Price(r.price), Qty(r.size));
                if f.contains(Flags::LAST) && b.depth > 0 {
                    b.book.truncate(b.depth as usize);
                }
            }
            Record::SnapshotEnd(r) => {
                let b = self.books.get_mut(&r.header.instrument()).expect("an end has a beginning");
                assert_eq!(b.snapshot.take(), Some(0), "levels told and levels announced differ");
                b.snapshots += 1;
            }
            Record::Status(v) => {
                if let Status::Book(state) = v.status {
                    self.books.entry(v.head.header.instrument()).or_default().state = Some(state);
                }
            }
            // A wider scale multiplies every mantissa; a reader does the same.
            Record::Instrument(v) => self.rescale(v.head.header.instrument(), v.head.price_scale, v.head.size_scale),
            _ => {}
        }
    }

    fn rescale(&mut self, id: InstrumentId, price_scale: u8, size_scale: u8) {
        let (Some(b), Some(old)) = (self.books.get_mut(&id), self.encoder.instruments.get(id)) else { return };
        assert!(!b.event_open && b.snapshot.is_none(), "a definition is told inside an event");
        let factor = |old: u8, new: u8| 10i64.pow(u32::from(new.checked_sub(old).expect("scales only grow")));
        let (price, size) = (factor(old.price_scale, price_scale), factor(old.size_scale, size_scale));
        let mut book = PlainBook::new();
        for side in [Side::Buy, Side::Sell] {
            for l in b.book.levels(side) {
                book.set(side, Price(l.price.0 * price), Qty(l.size.0 * size));
            }
        }
        b.book = book;
    }

    /// Whether a book was told of.
    #[allow(dead_code, reason = "not every test file asks")]
    pub fn knows(&self, id: InstrumentId) -> bool {
        self.books.contains_key(&id)
    }

    /// The book of an instrument.
    pub fn book(&self, id: InstrumentId) -> &Rebuilt {
        self.books.get(&id).expect("the book was told of")
    }

    /// The levels of a book as decimals.
    pub fn levels(&self, id: InstrumentId) -> Truth {
        let i = self.encoder.instruments.get(id).expect("it was defined");
        let side = |side| {
            let levels = self.book(id).book.levels(side);
            levels.iter().map(|l| [decimal(l.price.0, i.price_scale), decimal(l.size.0, i.size_scale)]).collect()
        };
        Truth { bids: side(Side::Buy), asks: side(Side::Sell) }
    }
}
