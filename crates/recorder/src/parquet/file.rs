//! One Parquet file in the making: rows -> row groups in a file beside the others -> synced and read back.
//!
//! It stands in a folder of its own until it is whole, so that nobody who looks for `*.parquet` finds a part of one.

use super::SinkError;
use super::columns::{self, Columns, Origin};
use super::rows::{Rows, Table};
use model::Venue;
use parquet::{
    arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions},
    file::metadata::ParquetMetaDataReader,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// What a file holds: one table of one venue for one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shelf {
    pub(crate) table: Table,
    pub(crate) venue: Venue,
    /// Hours since the Unix epoch, UTC, by the time of receipt.
    pub(crate) hour: u64,
}

impl Shelf {
    /// The folder, below that of all files.
    pub(crate) fn folder(&self) -> PathBuf {
        let (year, month, day) = civil(self.hour / 24);
        PathBuf::from(self.table.name())
            .join(self.venue.name())
            .join(format!("date={year:04}-{month:02}-{day:02}"))
            .join(format!("hour={:02}", self.hour % 24))
    }
}

/// A whole file that waits for its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Its name while it waits, below the folder of all files.
    pub(crate) temporary: PathBuf,
    /// Its name from then on, below the folder of all files.
    pub(crate) path: PathBuf,
    /// Its rows.
    pub(crate) rows: u64,
}

/// An open file and the rows that are not in it yet.
pub(crate) struct OpenFile {
    shelf: Shelf,
    temporary: PathBuf,
    writer: Option<ArrowWriter<File>>,
    rows: Rows,
    written: u64,
}

impl OpenFile {
    pub(crate) fn new(shelf: Shelf, temporary: PathBuf) -> OpenFile {
        OpenFile { shelf, temporary, writer: None, rows: Rows::default(), written: 0 }
    }

    pub(crate) fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// Rows that are in no row group yet.
    pub(crate) fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Closes a row group of what was collected.
    pub(crate) fn flush(&mut self, root: &Path, site: &str, zstd_level: i32) -> Result<(), SinkError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let path = root.join(&self.temporary);
        let groups = self.rows.sorted();
        let origin = Origin { site, venue: self.shelf.venue.name() };
        let batch = Columns::new(&groups).batch(self.shelf.table, origin).map_err(SinkError::columns(&path))?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(create(&path, self.shelf.table, zstd_level)?),
        };
        writer.write(&batch).and_then(|()| writer.flush()).map_err(SinkError::parquet(&path))?;
        self.written += batch.num_rows() as u64;
        self.rows.clear();
        Ok(())
    }

    /// Ends the file, makes it durable and reads its footer back. `None` when it never had a row.
    pub(crate) fn finish(mut self, root: &Path, name: &str) -> Result<Option<Finished>, SinkError> {
        assert!(self.rows.is_empty(), "a file is finished behind its last flush");
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let path = root.join(&self.temporary);
        let file = writer.into_inner().map_err(SinkError::parquet(&path))?;
        journal::crash::point("recorder.before_part_sync");
        file.sync_all().map_err(SinkError::io("sync", &path))?;
        journal::crash::point("recorder.before_verify");
        verify(&path, self.written)?;
        let place = self.shelf.folder().join(name);
        Ok(Some(Finished { temporary: self.temporary, path: place, rows: self.written }))
    }
}

fn create(path: &Path, table: Table, zstd_level: i32) -> Result<ArrowWriter<File>, SinkError> {
    let file = File::create(path).map_err(SinkError::io("create", path))?;
    let properties = columns::properties(table, zstd_level).map_err(SinkError::parquet(path))?;
    // The types of the format itself say all there is to say; Arrow's own would have texts read as dictionaries.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(file, columns::schema(table), options).map_err(SinkError::parquet(path))
}

/// The footer as it is read from the file, against what was written.
fn verify(path: &Path, expected: u64) -> Result<(), SinkError> {
    let file = File::open(path).map_err(SinkError::io("open", path))?;
    let footer = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(SinkError::parquet(path))?;
    let in_groups: i64 = footer.row_groups().iter().map(|group| group.num_rows()).sum();
    let (told, counted) = (footer.file_metadata().num_rows(), in_groups);
    if u64::try_from(told) != Ok(expected) || counted != told {
        return Err(SinkError::Count { path: path.to_owned(), expected, told, counted });
    }
    Ok(())
}

/// Year, month and day of a day since the Unix epoch (the proleptic Gregorian calendar).
fn civil(day: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the odd day of a leap year is the last of its year.
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_names() {
        for (day, name) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_148, (2025, 3, 1)),
            (20_147, (2025, 2, 28)),
            (20_819, (2027, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), name);
        }
        let shelf = Shelf { table: Table::Book, venue: Venue::Kraken, hour: 20_148 * 24 + 7 };
        assert_eq!(shelf.folder(), Path::new("book/kraken/date=2025-03-01/hour=07"));
    }
}
