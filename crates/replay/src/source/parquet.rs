//! Parquet files as a source: the trades, quotes and book changes of one venue, put back into one stream.
//!
//! parts of files -> rows, by (epoch, sequence) -> records. A part of all tables is read at once: it holds a minute or
//! so. What no file holds is not told: states, gaps, sessions. Scales are made up: as many decimals as the values need,
//! told as a definition before the first value that needs more; numbers are exact.

mod columns;

use super::Source;
use crate::{Page, ReplayError, mark::nobody};
use columns::{Fact, PartRow, newest, read_file};
use model::{
    Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, SCALE_MAX, Side, UnixNanos, Venue,
};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use wire::{
    BookAction, BookChangeRecord, Envelope, Header, LongTrade, QuoteRecord, RecordBuf, SnapshotBeginRecord,
    SnapshotEndRecord, SnapshotReason, TradeRecord,
};

/// The tables, by the names of their folders.
const TABLES: [&str; 3] = ["trade", "quote", "book"];

/// What was told of an instrument.
struct Known {
    instrument: Instrument,
    /// Levels of the snapshot that began last.
    levels: u32,
}

/// Reads one venue of a folder of Parquet files.
pub struct ParquetSource {
    folder: PathBuf,
    venue: Venue,
    site: String,
    /// Parts in the order of the journal they were made of, with their files.
    parts: Vec<(String, Vec<PathBuf>)>,
    next: usize,
    rows: VecDeque<PartRow>,
    known: BTreeMap<String, Known>,
    out: RecordBuf,
}

impl ParquetSource {
    /// Whether a folder holds tables of Parquet files.
    pub fn is_parquet(path: &Path) -> bool {
        TABLES.iter().any(|table| path.join(table).is_dir())
    }

    /// The venues there are files of.
    pub fn venues(path: &Path) -> Vec<Venue> {
        let has = |venue: &Venue| TABLES.iter().any(|table| path.join(table).join(venue.name()).is_dir());
        Venue::ALL.into_iter().filter(has).collect()
    }

    /// Opens the files of a venue, at their beginning.
    pub fn open(path: &Path, venue: Venue) -> Result<ParquetSource, ReplayError> {
        let mut parts: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for table in TABLES {
            for file in files(&path.join(table).join(venue.name()))? {
                let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let part = name.split_once('-').map_or(name.clone(), |(_, part)| part.to_owned());
                parts.entry(part).or_default().push(file);
            }
        }
        Ok(ParquetSource {
            folder: path.to_owned(),
            venue,
            site: String::new(),
            parts: parts.into_iter().collect(),
            next: 0,
            rows: VecDeque::new(),
            known: BTreeMap::new(),
            out: RecordBuf::default(),
        })
    }

    /// Reads the next part behind the rows that are there; `false` when there is none.
    fn read_part(&mut self) -> Result<bool, ReplayError> {
        let Some((_, paths)) = self.parts.get(self.next) else { return Ok(false) };
        self.next += 1;
        let mut rows = vec![];
        for path in paths {
            read_file(path, &mut self.site, &mut rows)?;
        }
        rows.sort_by_key(|row: &PartRow| (row.at.epoch, row.at.sequence));
        self.rows.extend(rows);
        Ok(true)
    }

    /// How many levels of each side follow a snapshot's beginning; `None` where its end is not among the rows.
    fn levels_behind(&self, begin: usize) -> Option<[u32; 2]> {
        let mut levels = [0; 2];
        let symbol = &self.rows[begin].symbol;
        for row in self.rows.iter().skip(begin + 1).filter(|row| row.symbol == *symbol) {
            match &row.fact {
                Fact::Level { .. } if row.flags.contains(wire::Flags::SNAPSHOT) => {
                    levels[usize::from(row.flags.side() == Some(Side::Sell))] += 1;
                }
                Fact::SnapshotEnd | Fact::SnapshotBegin { .. } => return Some(levels),
                _ => {}
            }
        }
        None
    }

    /// Tells the definition of the row's instrument where it is not known, or has too few decimals for the row.
    fn define(&mut self, row: &PartRow, page: &mut Page) -> Result<(), ReplayError> {
        let (price, size) = row.decimals();
        let known = self.known.get(&row.symbol).map_or((0, 0, 0), |known| {
            let i = &known.instrument;
            (i.price_scale, i.size_scale, i.version)
        });
        if known.2 > 0 && known.0 >= price && known.1 >= size {
            return Ok(());
        }
        // The rest of the part is looked at too, so that a definition lasts.
        let same = || self.rows.iter().filter(|other| other.symbol == row.symbol).map(PartRow::decimals);
        let price_scale = same().map(|(price, _)| price).max().unwrap_or(0).max(price).max(known.0);
        let size_scale = same().map(|(_, size)| size).max().unwrap_or(0).max(size).max(known.1);
        let (base, quote) = row.symbol.split_once('-').unwrap_or((&row.symbol, "USD"));
        let id = InstrumentId::of(self.venue, &row.symbol);
        let instrument = Instrument {
            id,
            venue: self.venue,
            symbol: row.symbol.clone(),
            venue_symbol: row.symbol.clone(),
            base: base.to_owned(),
            quote: quote.to_owned(),
            version: known.2 + 1,
            kind: if row.symbol.contains('-') { InstrumentKind::Spot } else { InstrumentKind::Equity },
            status: InstrumentStatus::Unknown,
            price_scale,
            size_scale,
            tick: Price(0),
            lot: Qty(0),
            min_size: Qty(0),
            min_notional: None,
        };
        self.out.clear();
        let pushed = self.out.push_instrument(&instrument, UnixNanos::ZERO, UnixNanos(row.received));
        pushed.map_err(|e| self.wrong(format!("symbol {:?}: {e}", row.symbol)))?;
        page.push(nobody(row.at.epoch), self.out.words());
        self.known.insert(row.symbol.clone(), Known { instrument, levels: 0 });
        Ok(())
    }

    fn tell(&mut self, row: &PartRow, levels: [u32; 2], page: &mut Page) -> Result<(), ReplayError> {
        self.define(row, page)?;
        if let (Fact::SnapshotBegin { .. }, Some(known)) = (&row.fact, self.known.get_mut(&row.symbol)) {
            known.levels = levels[0] + levels[1];
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.put(row, levels, &mut out)?;
        page.push(row.at, out.words());
        self.out = out;
        Ok(())
    }

    /// The row's record.
    fn put(&self, row: &PartRow, levels: [u32; 2], out: &mut RecordBuf) -> Result<(), ReplayError> {
        let known = &self.known[&row.symbol];
        let (id, venue, flags, told) = (known.instrument.id, self.venue, row.flags, known.levels);
        let (event, received) = (UnixNanos(row.event), UnixNanos(row.received));
        let (price_scale, size_scale) = (known.instrument.price_scale, known.instrument.size_scale);
        let at_scale = |value: i128, scale: u8| {
            let unit = 10i128.pow(u32::from(SCALE_MAX - scale));
            i64::try_from(value / unit).map_err(|_| self.wrong(format!("a value of {} does not fit", row.symbol)))
        };
        let price = |value: i128| at_scale(value, price_scale).map(Price);
        let size = |value: i128| at_scale(value, size_scale).map(Qty);
        match &row.fact {
            Fact::Trade { price: p, size: s, source, id: trade_id, texts } => {
                let side = flags.side();
                let (p, s) = (price(*p)?, size(*s)?);
                let trade = TradeRecord::new(venue, id, side, *source, flags, event, received, p, s, *trade_id);
                match texts {
                    None => out.push_trade(&trade),
                    Some(texts) => {
                        let [id, conditions, exchange, tape] = texts.each_ref().map(String::as_str);
                        let long = LongTrade { trade, id, conditions, exchange, tape };
                        let pushed = out.push_long_trade(&long);
                        pushed.map_err(|e| self.wrong(format!("a trade of {}: {e}", row.symbol)))?;
                    }
                }
            }
            Fact::Quote { bid, ask } => {
                let side = |level: &Option<(i128, i128)>| -> Result<Option<(Price, Qty)>, ReplayError> {
                    level.map(|(p, s)| Ok((price(p)?, size(s)?))).transpose()
                };
                let quote = QuoteRecord::new(venue, id, flags, event, received, side(bid)?, side(ask)?);
                out.push(&quote);
            }
            Fact::Level { action, price: p, size: s } => {
                let side = flags.side().ok_or_else(|| self.wrong(format!("a level of {} has no side", row.symbol)))?;
                let (p, s) = (price(*p)?, size(*s)?);
                let action = if s.0 == 0 { BookAction::Delete } else { *action };
                out.push(&BookChangeRecord::new(venue, id, side, flags, event, received, p, s, action));
            }
            Fact::SnapshotBegin { depth } => {
                // Whether there were more levels is in no column. That is so unless all are told that the venue keeps.
                let whole = *depth > 0 && levels.iter().max().is_some_and(|told| told >= depth);
                out.push(&SnapshotBeginRecord {
                    header: Header::new(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Some(venue), flags, id),
                    ts_event: row.event,
                    ts_recv: row.received,
                    bids: levels[0],
                    asks: levels[1],
                    depth: *depth,
                    // Read as a repeated one it is right whatever it was.
                    reason: SnapshotReason::Periodic as u8,
                    capped: u8::from(!whole),
                    reserved: [0; 2],
                    update_id: 0,
                });
            }
            Fact::SnapshotEnd => out.push(&SnapshotEndRecord {
                header: Header::new(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Some(venue), flags, id),
                ts_event: row.event,
                ts_recv: row.received,
                levels: told,
                checksum: 0,
                update_id: 0,
                reserved: 0,
            }),
        }
        Ok(())
    }

    fn wrong(&self, problem: String) -> ReplayError {
        ReplayError::Parquet { path: self.folder.clone(), problem }
    }
}

impl Source for ParquetSource {
    fn venue(&self) -> Venue {
        self.venue
    }

    fn site(&self) -> String {
        self.site.clone()
    }

    fn name(&self) -> String {
        format!("Parquet files {}", self.folder.display())
    }

    fn read(&mut self, page: &mut Page) -> Result<bool, ReplayError> {
        if self.rows.is_empty() && !self.read_part()? {
            return Ok(false);
        }
        for _ in 0..ROWS_AT_ONCE {
            let mut levels = [0; 2];
            if matches!(self.rows.front(), Some(row) if matches!(row.fact, Fact::SnapshotBegin { .. })) {
                // Its end may be in the next part.
                levels = loop {
                    match self.levels_behind(0) {
                        Some(levels) => break levels,
                        None if self.read_part()? => {}
                        None => break [0; 2],
                    }
                };
            }
            let Some(row) = self.rows.pop_front() else { break };
            self.tell(&row, levels, page)?;
        }
        Ok(true)
    }

    fn seek(&mut self, begin: UnixNanos) -> Result<(), ReplayError> {
        self.rows.clear();
        self.known.clear();
        self.next = self.parts.len();
        for (number, (_, paths)) in self.parts.iter().enumerate() {
            let mut over = true;
            for path in paths {
                over &= newest(path)?.is_some_and(|newest| newest < begin.0);
            }
            if !over {
                self.next = number;
                break;
            }
        }
        Ok(())
    }
}

/// Rows told before the merge looks again.
const ROWS_AT_ONCE: usize = 512;

/// A name's place in a table: epoch and sequence.
pub(crate) type Name = Envelope;

/// The Parquet files below a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    let mut found = vec![];
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder).map_err(ReplayError::io("list", folder))? {
        let path = entry.map_err(ReplayError::io("list", folder))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
