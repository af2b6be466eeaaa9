//! Columns of the recorder's Parquet files as rows: names, times and exact numbers as they stand there.

use super::Name;
use crate::ReplayError;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use model::{SCALE_MAX, Side, SideSource};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::statistics::Statistics;
use std::fs::File;
use std::path::Path;
use wire::{BookAction, Flags};

/// A row. Numbers are in units of 10^-18.
#[derive(Clone, Debug)]
pub(super) struct PartRow {
    pub at: Name,
    pub symbol: String,
    pub received: u64,
    pub event: u64,
    pub flags: Flags,
    pub fact: Fact,
}

/// What a row tells.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// Texts: id, conditions, exchange, tape.
    Trade {
        price: i128,
        size: i128,
        source: SideSource,
        id: Option<u64>,
        texts: Option<Box<[String; 4]>>,
    },
    Quote {
        bid: Option<(i128, i128)>,
        ask: Option<(i128, i128)>,
    },
    Level {
        action: BookAction,
        price: i128,
        size: i128,
    },
    SnapshotBegin {
        depth: u32,
    },
    SnapshotEnd,
}

impl PartRow {
    /// Decimals that its prices and its sizes need.
    pub fn decimals(&self) -> (u8, u8) {
        let both = |level: (i128, i128)| (decimals(level.0), decimals(level.1));
        match &self.fact {
            Fact::Trade { price, size, .. } | Fact::Level { price, size, .. } => both((*price, *size)),
            Fact::Quote { bid, ask } => {
                let [bid, ask] = [bid, ask].map(|level| level.map_or((0, 0), both));
                (bid.0.max(ask.0), bid.1.max(ask.1))
            }
            Fact::SnapshotBegin { .. } | Fact::SnapshotEnd => (0, 0),
        }
    }
}

fn decimals(value: i128) -> u8 {
    let (mut left, mut decimals) = (value, SCALE_MAX);
    while decimals > 0 && left % 10 == 0 {
        left /= 10;
        decimals -= 1;
    }
    decimals
}

/// Puts the rows of a file behind `rows`, and the site that they are of into `site`.
pub(super) fn read_file(path: &Path, site: &mut String, rows: &mut Vec<PartRow>) -> Result<(), ReplayError> {
    let wrong = |problem: String| ReplayError::Parquet { path: path.to_owned(), problem };
    let file = File::open(path).map_err(ReplayError::io("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    for batch in reader.map_err(|e| wrong(e.to_string()))? {
        let batch = batch.map_err(|e| wrong(e.to_string()))?;
        read_batch(&batch, site, rows).map_err(|problem| wrong(problem.to_owned()))?;
    }
    Ok(())
}

/// The newest receive time in a file, ns, where its footer says it.
pub(super) fn newest(path: &Path) -> Result<Option<u64>, ReplayError> {
    let file = File::open(path).map_err(ReplayError::io("open", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    let builder = builder.map_err(|e| ReplayError::Parquet { path: path.to_owned(), problem: e.to_string() })?;
    let mut newest = Some(0);
    for group in builder.metadata().row_groups() {
        let column = group.columns().iter().find(|column| column.column_path().string() == "ts_recv");
        let max = match column.and_then(|column| column.statistics()) {
            Some(Statistics::Int64(told)) => told.max_opt().and_then(|max| u64::try_from(*max).ok()),
            _ => None,
        };
        newest = newest.zip(max).map(|(a, b)| a.max(b));
    }
    Ok(newest)
}

/// A column of texts, by dictionary or plain.
struct Texts<'a> {
    array: &'a dyn Array,
}

impl<'a> Texts<'a> {
    fn of(batch: &'a RecordBatch, name: &'static str) -> Result<Texts<'a>, &'static str> {
        Ok(Texts { array: &**batch.column_by_name(name).ok_or(name)? })
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        if self.array.is_null(row) {
            return None;
        }
        if let Some(dictionary) = self.array.as_dictionary_opt::<Int32Type>() {
            let values: &StringArray = dictionary.values().as_string_opt()?;
            let key = usize::try_from(dictionary.keys().value(row)).ok()?;
            return (!values.is_null(key)).then(|| values.value(key));
        }
        self.array.as_string_opt::<i32>().map(|plain| plain.value(row))
    }
}

const MISSING: &str = "a column is missing or of another type: it is no file of the recorder's";

fn read_batch(batch: &RecordBatch, site: &mut String, rows: &mut Vec<PartRow>) -> Result<(), &'static str> {
    let texts = |name| Texts::of(batch, name).map_err(|_| MISSING);
    let column = |name: &str| batch.column_by_name(name);
    let number = |name: &str| column(name).and_then(|c| c.as_primitive_opt::<UInt64Type>());
    let time = |name: &str| column(name).and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>()).ok_or(MISSING);
    let flag = |name: &str| column(name).and_then(|c| c.as_boolean_opt());
    let decimal = |name: &str| {
        let found = column(name).and_then(|c| c.as_primitive_opt::<Decimal128Type>());
        found.filter(|array| array.scale() == SCALE_MAX as i8)
    };
    let (symbols, sites) = (texts("symbol")?, texts("site")?);
    let (received, event) = (time("ts_recv")?, time("ts_event")?);
    let (epochs, sequences) = (number("epoch").ok_or(MISSING)?, number("sequence").ok_or(MISSING)?);
    let sides = texts("side").ok();
    let actions = texts("action").ok();
    let sources = texts("side_source").ok();
    let long = ["trade_id_text", "conditions", "exchange", "tape"].map(|name| texts(name).ok());
    let is = |name: &str, row: usize| flag(name).is_some_and(|array| !array.is_null(row) && array.value(row));
    let value =
        |name: &str, row: usize| decimal(name).filter(|array| !array.is_null(row)).map(|array| array.value(row));
    for row in 0..batch.num_rows() {
        if let Some(told) = sites.get(row)
            && told != site
        {
            told.clone_into(site);
        }
        let side = sides.as_ref().and_then(|sides| sides.get(row)).and_then(Side::from_name);
        let mut flags = Flags::of_side(side)
            | Flags::NOT_TRUSTED.when(!is("trusted", row))
            | Flags::LATE.when(is("late", row))
            | Flags::RECV_SUSPECT.when(is("recv_suspect", row));
        let level = || Some((value("price", row)?, value("size", row)?));
        let fact = match (&actions, &sources) {
            (Some(actions), _) => {
                flags = flags | Flags::LAST.when(is("last", row)) | Flags::SNAPSHOT.when(is("snapshot", row));
                let action = actions.get(row).ok_or(MISSING)?;
                let change = |action| {
                    let (price, size) = level().ok_or(MISSING)?;
                    Ok(Fact::Level { action, price, size })
                };
                match action {
                    "add" => change(BookAction::Add)?,
                    "change" => change(BookAction::Change)?,
                    "delete" => change(BookAction::Delete)?,
                    "snapshot_begin" => {
                        let depth = column("depth").and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or(MISSING)?;
                        Fact::SnapshotBegin { depth: if depth.is_null(row) { 0 } else { depth.value(row) } }
                    }
                    "snapshot_end" => Fact::SnapshotEnd,
                    _ => return Err("an action of a book that this build does not know"),
                }
            }
            (None, Some(sources)) => {
                let (price, size) = level().ok_or(MISSING)?;
                let source = sources.get(row).and_then(SideSource::from_name).ok_or(MISSING)?;
                let id = number("trade_id").filter(|array| !array.is_null(row)).map(|array| array.value(row));
                let told = long.each_ref().map(|column| column.as_ref().and_then(|column| column.get(row)));
                let texts = told.iter().any(Option::is_some);
                let texts = texts.then(|| Box::new(told.map(|text| text.unwrap_or_default().to_owned())));
                Fact::Trade { price, size, source, id, texts }
            }
            (None, None) => {
                let both = |price: &str, size: &str| value(price, row).zip(value(size, row));
                Fact::Quote { bid: both("bid_price", "bid_size"), ask: both("ask_price", "ask_size") }
            }
        };
        rows.push(PartRow {
            at: Name { epoch: epochs.value(row), sequence: sequences.value(row) },
            symbol: symbols.get(row).ok_or(MISSING)?.to_owned(),
            received: u64::try_from(received.value(row)).unwrap_or(0),
            event: if event.is_null(row) { 0 } else { u64::try_from(event.value(row)).unwrap_or(0) },
            flags,
            fact,
        });
    }
    Ok(())
}
