//! The present book of any instrument, out of a venue's table of latest values: no stream is followed.
//! [`BookTable::find_symbol`] once, then [`BookTable::top`] or [`BookTable::book`] as often as wanted: a copy that was
//! never torn, with its state beside it, or a [`TableError`] that says that nobody writes it.
//!
//! What an earlier run of the feed left is cold and has no prices. A table that was replaced by a larger one is followed.

use model::{BookState, InstrumentId, Reason, UnixNanos, Venue};
use ring::Directory;
use ring::table::{Row, Stamp, TableError, TableReader};
use wire::{Line, TableHead, TableRow};

/// One venue's books.
pub struct BookTable {
    reader: TableReader,
    venue: Venue,
    lines: Box<[Line; TableRow::LINES]>,
}

/// An instrument that has a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its row.
    pub row: Row,
    /// Its id.
    pub instrument: InstrumentId,
    /// Its canonical symbol; empty when the present run of the feed has not defined it yet.
    pub symbol: String,
    /// The venue's spelling.
    pub venue_symbol: String,
}

impl BookTable {
    /// Maps the table of a venue.
    pub fn open(directory: &Directory, venue: Venue) -> Result<BookTable, TableError> {
        let reader = TableReader::open(directory, venue.name())?;
        Ok(BookTable { reader, venue, lines: Box::new([[0; 8]; TableRow::LINES]) })
    }

    /// The venue.
    pub fn venue(&self) -> Venue {
        self.venue
    }

    /// State and top of book. `now` is the time, by the same clock as the feed's: wall clock, ns since the Unix epoch.
    #[inline]
    pub fn top(&mut self, row: Row, now: UnixNanos) -> Result<&TableHead, TableError> {
        let stamp = self.copy::<{ TableHead::LINES }>(row, now)?;
        self.judge(stamp);
        Ok(&TableRow::view(&self.lines).head)
    }

    /// State, top, symbols and the best 50 levels a side.
    #[inline]
    pub fn book(&mut self, row: Row, now: UnixNanos) -> Result<&TableRow, TableError> {
        let stamp = self.copy::<{ TableRow::LINES }>(row, now)?;
        self.judge(stamp);
        Ok(TableRow::view(&self.lines))
    }

    #[inline]
    fn copy<const LINES: usize>(&mut self, row: Row, now: UnixNanos) -> Result<Stamp, TableError> {
        let lines = self.lines.first_chunk_mut::<LINES>().expect("no part of a row is longer than a row");
        match self.reader.read(row, now.0, lines) {
            Err(TableError::Retired { .. }) => {
                self.reader.reopen()?;
                self.reader.read(row, now.0, lines)
            }
            other => other,
        }
    }

    /// What the present writer has not written says nothing about now.
    #[inline]
    fn judge(&mut self, stamp: Stamp) {
        if !stamp.current {
            TableRow::view_mut(&mut self.lines).head.forget(BookState::Cold, Reason::Start);
        }
    }

    /// The row of an instrument. Looks through the table, so keep the answer.
    pub fn find(&self, instrument: InstrumentId) -> Option<Row> {
        self.reader.find(TableHead::key(self.venue, instrument))
    }

    /// The row of a symbol, canonical or in the venue's spelling, capitals or not.
    pub fn find_symbol(&mut self, symbol: &str, now: UnixNanos) -> Result<Option<Row>, TableError> {
        let same = |listed: &Listed| {
            [&listed.symbol, &listed.venue_symbol].iter().any(|known| known.eq_ignore_ascii_case(symbol))
        };
        Ok(self.list(now)?.into_iter().find(same).map(|listed| listed.row))
    }

    /// All rows, in the order their instruments were first defined.
    pub fn list(&mut self, now: UnixNanos) -> Result<Vec<Listed>, TableError> {
        // Rows read after a reopening are still those listed before: places are kept.
        let rows: Vec<Row> = self.reader.rows().map(|(row, _)| row).collect();
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let told = self.book(row, now)?;
            all.push(Listed {
                row,
                instrument: told.head.instrument(),
                symbol: told.symbol().to_owned(),
                venue_symbol: told.venue_symbol().to_owned(),
            });
        }
        Ok(all)
    }

    /// Whether the feed lives; a system call.
    pub fn check_writer(&self) -> Result<(), TableError> {
        self.reader.check_writer()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use ring::table::{OWN_WORDS, TableOptions, TableWriter};

    const NOW: UnixNanos = UnixNanos(1_700_000_000_000_000_000);
    const ID: InstrumentId = InstrumentId(7);

    fn writer(directory: &Directory) -> TableWriter {
        let options = TableOptions { rows: 1, lines: TableRow::LINES as u32 };
        let writer = TableWriter::open(directory, "kraken", options).unwrap();
        writer.beat(NOW.0);
        writer
    }

    fn tell(writer: &mut TableWriter, id: InstrumentId, symbol: &str, bid: i64) {
        let row = writer.claim(TableHead::key(Venue::Kraken, id)).unwrap();
        let mut head = TableHead::empty(Venue::Kraken, id);
        (head.state, head.bid_price, head.bid_size, head.bids) = (BookState::Live.code(), bid, 3, 1);
        let mut lines = [[0; 8]; TableRow::LINES];
        let whole = TableRow::view_mut(&mut lines);
        (whole.head, whole.symbol) = (head, TableRow::padded(symbol).unwrap());
        whole.bid_levels[0] = wire::TableLevel { price: bid, size: 3 };
        writer.update(row, |pen| pen.put(OWN_WORDS, &lines.as_flattened()[OWN_WORDS..]));
    }

    #[test]
    fn a_book_is_found_by_its_symbol_and_is_cold_once_its_feed_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let mut feed = writer(&directory);
        tell(&mut feed, ID, "BTC-USD", 100);
        let mut table = BookTable::open(&directory, Venue::Kraken).unwrap();
        let row = table.find_symbol("btc-usd", NOW).unwrap().unwrap();
        assert_eq!((table.find(ID), table.find_symbol("ETH-USD", NOW).unwrap()), (Some(row), None));
        assert!(table.top(row, NOW).unwrap().is_live());
        let book = table.book(row, NOW).unwrap();
        assert_eq!((book.bids().len(), book.bids()[0].price, book.asks().len()), (1, 100, 0));

        // A second instrument needs more room than there is: the table is followed.
        tell(&mut feed, InstrumentId(8), "ETH-USD", 50);
        feed.beat(NOW.0);
        assert_eq!(table.top(row, NOW).unwrap().bid_price, 100);
        assert_eq!(table.list(NOW).unwrap().len(), 2);

        drop(feed);
        assert!(matches!(table.top(row, NOW), Err(TableError::Ended { .. })));
        let mut feed = writer(&directory);
        let head = table.top(row, NOW).unwrap();
        assert_eq!((head.state(), head.bid()), (BookState::Cold, None), "what the earlier run left");
        assert_eq!(table.book(row, NOW).unwrap().bids().len(), 0);
        tell(&mut feed, ID, "BTC-USD", 101);
        assert_eq!(table.top(row, NOW).unwrap().bid_price, 101);
    }
}
