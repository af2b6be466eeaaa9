//! Reads the recorder's Parquet files, with nothing of the code that wrote them.

use arrow_array::{UInt64Array, cast::AsArray, types::UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{fs::File, path::Path};

/// The (epoch, sequence) of every row.
pub fn names(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut names = vec![];
    for batch in builder.build().expect("a reader") {
        let batch = batch.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let column = |name: &str| -> UInt64Array {
            batch.column_by_name(name).expect("a column").as_primitive::<UInt64Type>().clone()
        };
        let (epochs, sequences) = (column("epoch"), column("sequence"));
        names.extend(epochs.values().iter().copied().zip(sequences.values().iter().copied()));
    }
    names
}
