//! Rows as columns: the schemas of the Parquet files, how each column is encoded, and the arrays themselves.
//!
//! Every type is one that DuckDB, pyarrow, polars and pandas read exactly: decimals as DECIMAL(38, 18), which holds
//! every 64-bit mantissa at every scale; times as nanoseconds since the Unix epoch, UTC.

use super::rows::{Action, Fact, Row, Table};
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Int32Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array, types::Int32Type,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use model::{Side, SideSource};
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{metadata::SortingColumn, properties::WriterProperties},
    schema::types::ColumnPath,
};
use std::sync::Arc;
use wire::Flags;

/// Digits of a decimal column, and those behind the point: the largest scale of an instrument.
const DECIMAL_DIGITS: u8 = 38;
const DECIMAL_SCALE: u8 = model::SCALE_MAX;

/// What the files name as the maker of their rows.
pub(crate) const LAYOUT_KEY: &str = "alphapulse.layout";
/// The layout below, by its number.
pub(crate) const LAYOUT: &str = "1";

/// Where a file's rows come from: the same for all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) site: &'a str,
    pub(crate) venue: &'a str,
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new_dictionary(name, DataType::Int32, DataType::Utf8, nullable)
}

fn time(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), nullable)
}

fn decimal(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Decimal128(DECIMAL_DIGITS, DECIMAL_SCALE as i8), nullable)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, false)
}

fn count(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::UInt64, nullable)
}

/// The columns of a table: symbol and times first, then what the table is about, then flags and name.
pub(crate) fn schema(table: Table) -> SchemaRef {
    let mut fields = vec![text("symbol", false), time("ts_recv", false), time("ts_event", true)];
    fields.extend(match table {
        Table::Trade => vec![
            decimal("price", false),
            decimal("size", false),
            text("side", true),
            text("side_source", false),
            count("trade_id", true),
            text("trade_id_text", true),
            text("conditions", true),
            text("exchange", true),
            text("tape", true),
        ],
        Table::Quote => vec![
            decimal("bid_price", true),
            decimal("bid_size", true),
            decimal("ask_price", true),
            decimal("ask_size", true),
        ],
        Table::Book => vec![
            text("action", false),
            text("side", true),
            decimal("price", true),
            decimal("size", true),
            flag("last"),
            Field::new("depth", DataType::UInt32, true),
        ],
    });
    fields.extend(["trusted", "snapshot", "late", "recv_suspect"].map(flag));
    fields.extend([text("site", false), text("venue", false), count("epoch", false), count("sequence", false)]);
    Arc::new(Schema::new(fields))
}

/// How the columns of a table are written.
pub(crate) fn properties(table: Table, zstd_level: i32) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level)?))
        .set_created_by(concat!("alphapulse ", env!("CARGO_PKG_VERSION")).to_owned())
        // Row groups are closed by the sink.
        .set_max_row_group_row_count(None)
        .set_sorting_columns(Some([0, 1].map(rising).to_vec()))
        .set_key_value_metadata(Some(vec![parquet::file::metadata::KeyValue::new(
            LAYOUT_KEY.to_owned(),
            LAYOUT.to_owned(),
        )]));
    for field in schema(table).fields() {
        let steps = matches!(field.data_type(), DataType::Timestamp(..) | DataType::UInt64);
        if steps {
            let path = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

fn rising(column_idx: i32) -> SortingColumn {
    SortingColumn { column_idx, descending: false, nulls_first: false }
}

/// A mantissa at the columns' scale. Exact: 64 bits and 18 digits fit 38 digits.
fn widen(mantissa: i64, scale: u8) -> i128 {
    i128::from(mantissa) * 10i128.pow(u32::from(DECIMAL_SCALE.saturating_sub(scale)))
}

/// Rows of several symbols, in the order they shall stand.
pub(crate) struct Columns<'a> {
    groups: &'a [(&'a str, &'a [Row])],
    rows: usize,
}

type Dictionary = DictionaryArray<Int32Type>;

impl<'a> Columns<'a> {
    pub(crate) fn new(groups: &'a [(&'a str, &'a [Row])]) -> Columns<'a> {
        Columns { groups, rows: groups.iter().map(|(_, rows)| rows.len()).sum() }
    }

    fn rows(&self) -> impl Iterator<Item = &'a Row> {
        self.groups.iter().flat_map(|(_, rows)| rows.iter())
    }

    /// The rows as one batch.
    pub(crate) fn batch(&self, table: Table, origin: Origin<'_>) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            self.symbols()?,
            self.times(|row| Some(row.ts_recv)),
            self.times(|row| Some(row.ts_event).filter(|at| *at != 0)),
        ];
        match table {
            Table::Trade => self.trade(&mut columns)?,
            Table::Quote => self.quote(&mut columns)?,
            Table::Book => self.book(&mut columns)?,
        }
        columns.push(self.flags(|flags| !flags.contains(Flags::NOT_TRUSTED)));
        columns.push(self.flags(|flags| flags.contains(Flags::SNAPSHOT)));
        columns.push(self.flags(|flags| flags.contains(Flags::LATE)));
        columns.push(self.flags(|flags| flags.contains(Flags::RECV_SUSPECT)));
        columns.push(self.one_of(&[origin.site], |_| Some(0))?);
        columns.push(self.one_of(&[origin.venue], |_| Some(0))?);
        columns.push(Arc::new(UInt64Array::from_iter_values(self.rows().map(|row| row.name.epoch))));
        columns.push(Arc::new(UInt64Array::from_iter_values(self.rows().map(|row| row.name.sequence))));
        RecordBatch::try_new(schema(table), columns)
    }

    fn symbols(&self) -> Result<ArrayRef, ArrowError> {
        let names = StringArray::from_iter_values(self.groups.iter().map(|(symbol, _)| symbol));
        let keys = self.groups.iter().zip(0..).flat_map(|((_, rows), key)| std::iter::repeat_n(key, rows.len()));
        Ok(Arc::new(Dictionary::try_new(Int32Array::from_iter_values(keys), Arc::new(names))?))
    }

    fn times(&self, of: impl Fn(&Row) -> Option<u64>) -> ArrayRef {
        let at = |row: &Row| of(row).map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        Arc::new(TimestampNanosecondArray::from_iter(self.rows().map(at)).with_timezone("UTC"))
    }

    fn flags(&self, of: impl Fn(Flags) -> bool) -> ArrayRef {
        Arc::new(BooleanArray::from_iter(self.rows().map(|row| Some(of(row.flags)))))
    }

    fn decimals(&self, of: impl Fn(&Row) -> Option<(i64, u8)>) -> Result<ArrayRef, ArrowError> {
        let wide = |row: &Row| of(row).map(|(mantissa, scale)| widen(mantissa, scale));
        let array = Decimal128Array::from_iter(self.rows().map(wide));
        Ok(Arc::new(array.with_precision_and_scale(DECIMAL_DIGITS, DECIMAL_SCALE as i8)?))
    }

    /// A column of few known texts.
    fn one_of(&self, names: &[&str], of: impl Fn(&Row) -> Option<i32>) -> Result<ArrayRef, ArrowError> {
        let names = StringArray::from_iter_values(names);
        let keys = Int32Array::from_iter(self.rows().map(of));
        Ok(Arc::new(Dictionary::try_new(keys, Arc::new(names))?))
    }

    /// A column of texts of which most are empty.
    fn texts(&self, of: impl Fn(&'a Row) -> Option<&'a str>) -> ArrayRef {
        Arc::new(self.rows().map(|row| of(row).filter(|text| !text.is_empty())).collect::<Dictionary>())
    }

    fn sides(&self) -> Result<ArrayRef, ArrowError> {
        self.one_of(&["buy", "sell"], |row| {
            row.flags.side().map(|side| match side {
                Side::Buy => 0,
                Side::Sell => 1,
            })
        })
    }

    fn trade(&self, columns: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        let trade = |row: &'a Row| match &row.fact {
            Fact::Trade { price, size, id, texts } => Some((*price, *size, *id, texts.as_deref())),
            Fact::Quote { .. } | Fact::Book { .. } => None,
        };
        let price = |row: &Row| match row.fact {
            Fact::Trade { price, .. } => Some((price, row.price_scale)),
            Fact::Quote { .. } | Fact::Book { .. } => None,
        };
        let size = |row: &Row| match row.fact {
            Fact::Trade { size, .. } => Some((size, row.size_scale)),
            Fact::Quote { .. } | Fact::Book { .. } => None,
        };
        columns.push(self.decimals(price)?);
        columns.push(self.decimals(size)?);
        columns.push(self.sides()?);
        let sources = SideSource::ALL.map(SideSource::name);
        columns.push(self.one_of(&sources, |row| {
            let source = row.flags.source();
            SideSource::ALL.iter().position(|one| *one == source).map(|at| at as i32)
        })?);
        columns.push(Arc::new(self.rows().map(|row| trade(row).and_then(|(_, _, id, _)| id)).collect::<UInt64Array>()));
        let texts = |row: &'a Row| trade(row).and_then(|(_, _, _, texts)| texts);
        columns.push(self.texts(|row| texts(row).map(|texts| texts.id.as_str())));
        columns.push(self.texts(|row| texts(row).map(|texts| texts.conditions.as_str())));
        columns.push(self.texts(|row| texts(row).map(|texts| texts.exchange.as_str())));
        columns.push(self.texts(|row| texts(row).map(|texts| texts.tape.as_str())));
        Ok(())
    }

    fn quote(&self, columns: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        let side = |row: &Row, ask_side: bool| match row.fact {
            Fact::Quote { bid, ask } => {
                if ask_side {
                    ask
                } else {
                    bid
                }
            }
            Fact::Trade { .. } | Fact::Book { .. } => None,
        };
        for ask_side in [false, true] {
            columns.push(self.decimals(|row| side(row, ask_side).map(|(price, _)| (price, row.price_scale)))?);
            columns.push(self.decimals(|row| side(row, ask_side).map(|(_, size)| (size, row.size_scale)))?);
        }
        Ok(())
    }

    fn book(&self, columns: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        let book = |row: &Row| match row.fact {
            Fact::Book { action, level, depth } => (Some(action), level, depth),
            Fact::Trade { .. } | Fact::Quote { .. } => (None, None, None),
        };
        let actions = Action::ALL.map(Action::name);
        columns.push(self.one_of(&actions, |row| book(row).0.map(|action| action as i32))?);
        columns.push(self.sides()?);
        columns.push(self.decimals(|row| book(row).1.map(|(price, _)| (price, row.price_scale)))?);
        columns.push(self.decimals(|row| book(row).1.map(|(_, size)| (size, row.size_scale)))?);
        columns.push(self.flags(|flags| flags.contains(Flags::LAST)));
        columns.push(Arc::new(self.rows().map(|row| book(row).2).collect::<UInt32Array>()));
        debug_assert_eq!(columns.last().map(|column| column.len()), Some(self.rows));
        Ok(())
    }
}
