//! Records as rows: what a table of a day says of a trade, a quote, a change of a book.
//! record + definition -> [`Row`] -> [`Rows`], each instrument's in the order of time.
//!
//! A row keeps mantissas and scales as they came, so that nothing is rounded; the columns are made in `columns`.

use model::Instrument;
use std::collections::BTreeMap;
use wire::{BookAction, Envelope, Flags, Record};

/// The kinds of tables. The name is the folder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Trades.
    Trade,
    /// Best bid and offer.
    Quote,
    /// Changes and snapshots of books.
    Book,
}

impl Table {
    /// The folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Trade => "trade",
            Table::Quote => "quote",
            Table::Book => "book",
        }
    }
}

/// What happened to a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The level is new.
    Add,
    /// The level has another size.
    Change,
    /// The level is gone.
    Delete,
    /// A snapshot begins: what was before counts no more.
    SnapshotBegin,
    /// The snapshot is complete.
    SnapshotEnd,
}

impl Action {
    /// Every value, in the order of their codes.
    pub const ALL: [Action; 5] =
        [Action::Add, Action::Change, Action::Delete, Action::SnapshotBegin, Action::SnapshotEnd];

    /// As the column says it.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Add => "add",
            Action::Change => "change",
            Action::Delete => "delete",
            Action::SnapshotBegin => "snapshot_begin",
            Action::SnapshotEnd => "snapshot_end",
        }
    }
}

/// The texts of a trade that has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub(crate) id: String,
    pub(crate) conditions: String,
    pub(crate) exchange: String,
    pub(crate) tape: String,
}

/// What a row says beside what every row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A trade: price, size, the venue's id as a number, texts.
    Trade {
        /// Price mantissa.
        price: i64,
        /// Size mantissa.
        size: i64,
        /// The venue's id, where it is a number.
        id: Option<u64>,
        /// Texts, where there are any.
        texts: Option<Box<Texts>>,
    },
    /// Best bid and offer: price and size mantissas, each side `None` when empty.
    Quote {
        /// Bid.
        bid: Option<(i64, i64)>,
        /// Ask.
        ask: Option<(i64, i64)>,
    },
    /// A change of a book; price and size are `None` where a snapshot begins or ends.
    Book {
        /// What happened.
        action: Action,
        /// Price and size mantissas of the level.
        level: Option<(i64, i64)>,
        /// Levels a side the venue keeps, told where a snapshot begins; 0: all.
        depth: Option<u32>,
    },
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub(crate) ts_recv: u64,
    pub(crate) name: Envelope,
    pub(crate) ts_event: u64,
    pub(crate) flags: Flags,
    pub(crate) price_scale: u8,
    pub(crate) size_scale: u8,
    pub(crate) fact: Fact,
}

/// The table of a record, if it has one.
pub fn table_of(record: &Record<'_>) -> Option<Table> {
    match record {
        Record::Trade(_) | Record::LongTrade(_) => Some(Table::Trade),
        Record::Quote(_) => Some(Table::Quote),
        Record::BookChange(_) | Record::SnapshotBegin(_) | Record::SnapshotEnd(_) => Some(Table::Book),
        _ => None,
    }
}

/// The row of a record of a table.
pub fn row_of(record: &Record<'_>, name: Envelope, instrument: &Instrument) -> Option<Row> {
    let (header, ts_event, ts_recv, fact) = match record {
        Record::Trade(r) => {
            let fact = Fact::Trade { price: r.price, size: r.size, id: r.id(), texts: None };
            (r.header, r.ts_event, r.ts_recv, fact)
        }
        Record::LongTrade(r) => {
            let texts = Texts {
                id: r.id.to_owned(),
                conditions: r.conditions.to_owned(),
                exchange: r.exchange.to_owned(),
                tape: r.tape.to_owned(),
            };
            // Only the canonical spelling: "007" is another id than 7.
            let id = r.id.parse::<u64>().ok().filter(|id| id.to_string() == r.id);
            let fact = Fact::Trade { price: r.head.price, size: r.head.size, id, texts: Some(Box::new(texts)) };
            (r.head.header, r.head.ts_event, r.head.ts_recv, fact)
        }
        Record::Quote(r) => {
            let bid = r.bid().map(|(price, size)| (price.0, size.0));
            let ask = r.ask().map(|(price, size)| (price.0, size.0));
            (r.header, r.ts_event, r.ts_recv, Fact::Quote { bid, ask })
        }
        Record::BookChange(r) => {
            let action = match r.action() {
                BookAction::Add => Action::Add,
                BookAction::Change => Action::Change,
                BookAction::Delete => Action::Delete,
            };
            let fact = Fact::Book { action, level: Some((r.price, r.size)), depth: None };
            (r.header, r.ts_event, r.ts_recv, fact)
        }
        Record::SnapshotBegin(r) => {
            let fact = Fact::Book { action: Action::SnapshotBegin, level: None, depth: Some(r.depth) };
            (r.header, r.ts_event, r.ts_recv, fact)
        }
        Record::SnapshotEnd(r) => {
            let fact = Fact::Book { action: Action::SnapshotEnd, level: None, depth: None };
            (r.header, r.ts_event, r.ts_recv, fact)
        }
        _ => return None,
    };
    let (price_scale, size_scale) = (instrument.price_scale, instrument.size_scale);
    Some(Row { ts_recv, name, ts_event, flags: header.flags(), price_scale, size_scale, fact })
}

/// Rows of one table, venue and hour, by symbol.
#[derive(Debug, Default)]
pub struct Rows {
    by_symbol: BTreeMap<String, Vec<Row>>,
    count: usize,
}

impl Rows {
    /// Adds a row.
    pub fn push(&mut self, symbol: &str, row: Row) {
        match self.by_symbol.get_mut(symbol) {
            Some(rows) => rows.push(row),
            None => {
                self.by_symbol.insert(symbol.to_owned(), vec![row]);
            }
        }
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, by symbol, then receive time, then name. Symbols are kept with their room for the next ones.
    pub fn sorted(&mut self) -> Vec<(&str, &[Row])> {
        let key = |row: &Row| (row.ts_recv, row.name.epoch, row.name.sequence);
        for rows in self.by_symbol.values_mut() {
            if !rows.is_sorted_by_key(key) {
                rows.sort_unstable_by_key(key);
            }
        }
        self.by_symbol.iter().filter(|(_, rows)| !rows.is_empty()).map(|(s, rows)| (s.as_str(), &rows[..])).collect()
    }

    /// Forgets the rows.
    pub fn clear(&mut self) {
        self.by_symbol.values_mut().for_each(Vec::clear);
        self.count = 0;
    }
}
