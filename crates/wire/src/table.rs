//! A row of the latest-value table: the current book of one instrument as any process may look at it.
//! lines of 64 bytes out of shared memory -> [`TableHead`] (two of them) or [`TableRow`] (all), viewed in place.
//!
//! The first three words are the table's own (lock, key, generation of the writer); everything else says, beside each
//! other, what rests at the touch and whether it can be trusted.

use crate::{NONE, buf::words_of};
use model::{BookState, InstrumentId, Price, Qty, Reason, UnixNanos, Venue};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Levels a side of a row.
pub const TABLE_DEPTH: usize = 50;
/// Bytes of a symbol in a row; longer ones have no row.
pub const TABLE_SYMBOL_BYTES: usize = 64;

/// A line of a row as it is copied: eight words.
pub type Line = [u64; 8];

/// Where the prices of a row come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TableSource {
    /// Nothing has been told of the instrument but its definition.
    Nothing = 0,
    /// Its book.
    Book = 1,
    /// The venue's best bid and offer, where it has no book of the instrument: there are no levels.
    Quote = 2,
}

impl TableSource {
    /// The source with this code.
    pub const fn from_code(code: u8) -> Option<TableSource> {
        match code {
            0 => Some(TableSource::Nothing),
            1 => Some(TableSource::Book),
            2 => Some(TableSource::Quote),
            _ => None,
        }
    }
}

/// The first two lines of a row: state and top of book, 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct TableHead {
    /// The table's lock; its half counts the writes.
    pub lock: u64,
    /// The instrument.
    pub instrument: u32,
    /// The [`Venue`]'s code.
    pub venue: u8,
    /// Zero.
    pub reserved_key: [u8; 3],
    /// Counts the table's writers; which of them wrote the row.
    pub generation: u64,
    /// The [`BookState`]'s code.
    pub state: u8,
    /// The [`Reason`]'s code: why it is in that state.
    pub reason: u8,
    /// The [`TableSource`]'s code.
    pub source: u8,
    /// Decimals of every price mantissa of the row.
    pub price_scale: u8,
    /// Decimals of every size mantissa of the row.
    pub size_scale: u8,
    /// 1 when the data comes from an emulator.
    pub simulated: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Since when it is in that state.
    pub since: u64,
    /// Epoch of the last record the row reflects.
    pub epoch: u64,
    /// Sequence of that record.
    pub sequence: u64,
    /// When the venue says it happened; 0 when it does not say.
    pub ts_event: u64,
    /// When its bytes were read from the socket.
    pub ts_recv: u64,
    /// Best bid price mantissa; [`NONE`] when the side is empty, as the other three.
    pub bid_price: i64,
    /// Its size mantissa.
    pub bid_size: i64,
    /// Best ask price mantissa.
    pub ask_price: i64,
    /// Its size mantissa.
    pub ask_size: i64,
    /// Bid levels of the whole book; the row has the best [`TABLE_DEPTH`] of them.
    pub bids: u32,
    /// Ask levels of the whole book.
    pub asks: u32,
    /// Smallest price step; 0 when not told.
    pub tick: i64,
    /// When the row was written.
    pub written: u64,
}
assert_layout!(
    TableHead, 128, align 8, lock @ 0, instrument @ 8, venue @ 12, reserved_key @ 13, generation @ 16, state @ 24,
    reason @ 25, source @ 26, price_scale @ 27, size_scale @ 28, simulated @ 29, reserved @ 30, since @ 32, epoch @ 40, sequence @ 48,
    ts_event @ 56, ts_recv @ 64, bid_price @ 72, bid_size @ 80, ask_price @ 88, ask_size @ 96, bids @ 104, asks @ 108,
    tick @ 112, written @ 120,
);

impl TableHead {
    /// Lines of a head.
    pub const LINES: usize = 2;

    /// The head in copied lines.
    #[inline]
    pub fn view(lines: &[Line; TableHead::LINES]) -> &TableHead {
        TableHead::ref_from_bytes(lines.as_bytes()).expect("lines are as large as a head and aligned as one")
    }

    /// A row of which nothing is known but its definition, which follows.
    pub fn empty(venue: Venue, instrument: InstrumentId) -> TableHead {
        TableHead {
            lock: 0,
            instrument: instrument.0,
            venue: venue.code(),
            reserved_key: [0; 3],
            generation: 0,
            state: BookState::Cold.code(),
            reason: Reason::Start.code(),
            source: TableSource::Nothing as u8,
            price_scale: 0,
            size_scale: 0,
            simulated: 0,
            reserved: [0; 2],
            since: 0,
            epoch: 0,
            sequence: 0,
            ts_event: 0,
            ts_recv: 0,
            bid_price: NONE,
            bid_size: NONE,
            ask_price: NONE,
            ask_size: NONE,
            bids: 0,
            asks: 0,
            tick: 0,
            written: 0,
        }
    }

    /// The key a row has in its table; never 0.
    pub const fn key(venue: Venue, instrument: InstrumentId) -> u64 {
        (venue.code() as u64) << 32 | instrument.0 as u64
    }

    /// The head as words, in the order of the row.
    #[inline]
    pub fn as_words(&self) -> &[u64] {
        words_of(self)
    }

    /// The state of what is shown; cold where nobody has said.
    #[inline]
    pub fn state(&self) -> BookState {
        BookState::from_code(self.state).unwrap_or(BookState::Cold)
    }

    /// Whether prices may be believed. Those of any other state are what was known last.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == BookState::Live as u8
    }

    /// Why it is in its state.
    pub fn reason(&self) -> Reason {
        Reason::from_code(self.reason).unwrap_or(Reason::Start)
    }

    /// Where prices come from.
    pub fn source(&self) -> TableSource {
        TableSource::from_code(self.source).unwrap_or(TableSource::Nothing)
    }

    /// The instrument.
    pub fn instrument(&self) -> InstrumentId {
        InstrumentId(self.instrument)
    }

    /// Since when it is in its state.
    pub fn since(&self) -> UnixNanos {
        UnixNanos(self.since)
    }

    /// Best bid, unless the side is empty. Believe it only beside [`TableHead::is_live`].
    #[inline]
    pub fn bid(&self) -> Option<(Price, Qty)> {
        (self.bid_price != NONE).then_some((Price(self.bid_price), Qty(self.bid_size)))
    }

    /// Best ask, unless the side is empty.
    #[inline]
    pub fn ask(&self) -> Option<(Price, Qty)> {
        (self.ask_price != NONE).then_some((Price(self.ask_price), Qty(self.ask_size)))
    }

    /// What is left of the head for a reader when its writer is not the present one: nothing but which row it is.
    pub fn forget(&mut self, state: BookState, reason: Reason) {
        let (bid, ask) = ((NONE, NONE), (NONE, NONE));
        ((self.bid_price, self.bid_size), (self.ask_price, self.ask_size)) = (bid, ask);
        (self.bids, self.asks, self.source) = (0, 0, TableSource::Nothing as u8);
        (self.state, self.reason) = (state.code(), reason.code());
    }
}

/// One level of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct TableLevel {
    /// Price mantissa.
    pub price: i64,
    /// Size mantissa.
    pub size: i64,
}
assert_layout!(TableLevel, 16, align 8, price @ 0, size @ 8);

/// A whole row, 1856 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct TableRow {
    /// State and top of book.
    pub head: TableHead,
    /// Canonical symbol, padded with zeros.
    pub symbol: [u8; TABLE_SYMBOL_BYTES],
    /// The venue's own spelling, padded with zeros.
    pub venue_symbol: [u8; TABLE_SYMBOL_BYTES],
    /// The best bids, best first; what lies behind [`TableRow::bids`] means nothing.
    pub bid_levels: [TableLevel; TABLE_DEPTH],
    /// The best asks, best first.
    pub ask_levels: [TableLevel; TABLE_DEPTH],
}
assert_layout!(
    TableRow, 1856, align 8, head @ 0, symbol @ 128, venue_symbol @ 192, bid_levels @ 256, ask_levels @ 1056,
);

impl TableRow {
    /// Lines of a row.
    pub const LINES: usize = 29;
    /// Word at which the symbols begin.
    pub const SYMBOLS_AT: usize = 16;
    /// Word at which the bids begin.
    pub const BIDS_AT: usize = 32;
    /// Word at which the asks begin.
    pub const ASKS_AT: usize = 132;

    /// The row in copied lines.
    #[inline]
    pub fn view(lines: &[Line; TableRow::LINES]) -> &TableRow {
        TableRow::ref_from_bytes(lines.as_bytes()).expect("lines are as large as a row and aligned as one")
    }

    /// The same, to be changed.
    #[inline]
    pub fn view_mut(lines: &mut [Line; TableRow::LINES]) -> &mut TableRow {
        TableRow::mut_from_bytes(lines.as_mut_bytes()).expect("lines are as large as a row and aligned as one")
    }

    /// A symbol as a row holds it; `None` when it is longer than [`TABLE_SYMBOL_BYTES`].
    pub fn padded(symbol: &str) -> Option<[u8; TABLE_SYMBOL_BYTES]> {
        let mut bytes = [0; TABLE_SYMBOL_BYTES];
        bytes.get_mut(..symbol.len())?.copy_from_slice(symbol.as_bytes());
        Some(bytes)
    }

    /// The canonical symbol; empty when the row has not been defined by its present writer.
    pub fn symbol(&self) -> &str {
        text(&self.symbol)
    }

    /// The venue's symbol.
    pub fn venue_symbol(&self) -> &str {
        text(&self.venue_symbol)
    }

    /// The best bids, best first, at most [`TABLE_DEPTH`].
    #[inline]
    pub fn bids(&self) -> &[TableLevel] {
        &self.bid_levels[..(self.head.bids as usize).min(TABLE_DEPTH)]
    }

    /// The best asks.
    #[inline]
    pub fn asks(&self) -> &[TableLevel] {
        &self.ask_levels[..(self.head.asks as usize).min(TABLE_DEPTH)]
    }
}

fn text(bytes: &[u8; TABLE_SYMBOL_BYTES]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_viewed_in_place_and_forgets_its_prices_but_not_its_name() {
        let mut lines = [[0u64; 8]; TableRow::LINES];
        let row = TableRow::view_mut(&mut lines);
        row.head = TableHead::empty(Venue::Kraken, InstrumentId(7));
        row.symbol = TableRow::padded("BTC-USD").expect("it fits");
        (row.head.bid_price, row.head.bid_size, row.head.bids) = (100, 2, 60);
        row.head.state = BookState::Live.code();
        let head = TableHead::view(lines.first_chunk().expect("two lines"));
        assert_eq!((head.bid(), head.ask(), head.is_live()), (Some((Price(100), Qty(2))), None, true));
        assert_eq!(lines[0][1], TableHead::key(Venue::Kraken, InstrumentId(7)));
        let row = TableRow::view_mut(&mut lines);
        assert_eq!((row.symbol(), row.venue_symbol(), row.bids().len()), ("BTC-USD", "", TABLE_DEPTH));
        row.head.forget(BookState::Cold, Reason::Start);
        assert_eq!((row.head.bid(), row.bids().len(), row.symbol()), (None, 0, "BTC-USD"));
        assert_eq!(TableRow::padded(&"x".repeat(65)), None);
    }
}
