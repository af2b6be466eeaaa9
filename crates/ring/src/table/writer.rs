//! The writer of a table: claims it by name, repairs what a dead one left, gives out rows, writes them without waiting.

use super::file::{Size, TableMap, file_name, lock, temporary_name, unlock};
use super::seqlock::{begin, end, is_torn, store};
use super::{OWN_WORDS, ROWS_MAX, Row, TableError};
use crate::directory::{Directory, check_name};
use crate::file::{Access, Locked};
use crate::layout::{SLOT_WORDS, Slot};
use crate::sync::Ordering;
use crate::writer::{OPEN_ATTEMPTS_MAX, pid};
use std::fs::File;

/// What a writer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableOptions {
    /// Rows there is room for at first, from 1 to [`ROWS_MAX`]; a file that has more keeps them.
    pub rows: u32,
    /// Lines of 64 bytes in a row, from 1 to [`super::LINES_MAX`].
    pub lines: u32,
}

/// The one writer of a table. Dropping it gives the table up.
pub struct TableWriter {
    map: TableMap,
    directory: Directory,
    name: String,
    generation: u64,
    used: u32,
    repaired: u32,
}

/// A row being written: hands words to shared memory as they come.
pub struct RowPen<'a> {
    row: &'a [Slot],
}

impl RowPen<'_> {
    /// Stores words from word `at` of the row on.
    ///
    /// # Panics
    /// When these are not words of the row, or are the table's own (the first three).
    #[inline(always)]
    pub fn put(&mut self, at: usize, words: &[u64]) {
        assert!(at >= OWN_WORDS, "word {at} is the table's own");
        assert!(at + words.len() <= self.row.len() * SLOT_WORDS, "{} words at {at} leave the row", words.len());
        store(self.row, at, words);
    }
}

impl TableWriter {
    /// Claims the table `name`: creates it, takes over what an earlier writer left, or replaces it when it has too few
    /// rows or rows of another length. Refused while another writer lives. Rows of earlier writers are there, marked as
    /// theirs; torn ones are empty.
    pub fn open(directory: &Directory, name: &str, options: TableOptions) -> Result<TableWriter, TableError> {
        check_name(name)?;
        let wanted = Size { rows: options.rows, lines: options.lines };
        wanted.check(name)?;
        let folder = directory.folder();
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let claimed = match folder.open_file(&file_name(name), libc::O_RDWR)? {
                Some(file) => take_over(directory, name, file, wanted)?,
                None => create(directory, name, wanted, None)?.map(|map| (map, 0)),
            };
            let Some((map, repaired)) = claimed else { continue };
            let generation = map.header().ownership.generation.load(Ordering::Relaxed);
            let used = map.used();
            return Ok(TableWriter {
                map,
                directory: directory.clone(),
                name: name.to_owned(),
                generation,
                used,
                repaired,
            });
        }
        Err(busy(directory, name, 0))
    }

    /// The row of a key, a new one at the end when it has none yet. When all are taken the table is replaced by one with
    /// twice the room, which takes some hundred microseconds.
    ///
    /// # Panics
    /// When the key is 0.
    pub fn claim(&mut self, key: u64) -> Result<Row, TableError> {
        assert!(key != 0, "key 0 names no row");
        if let Some(row) = self.map.find(key) {
            return Ok(Row(row));
        }
        if self.used == self.map.size.rows {
            self.grow()?;
        }
        let row = self.used;
        self.map.row(row)[0].words[1].store(key, Ordering::Relaxed);
        self.used += 1;
        // Pairs with the Acquire load in `TableMap::used`.
        self.map.header().in_use.rows.store(u64::from(self.used), Ordering::Release);
        Ok(Row(row))
    }

    fn grow(&mut self) -> Result<(), TableError> {
        let Size { rows, lines } = self.map.size;
        if rows >= ROWS_MAX {
            return Err(TableError::Full { name: self.name.clone(), rows });
        }
        let size = Size { rows: (rows * 2).min(ROWS_MAX), lines };
        let successor = create(&self.directory, &self.name, size, Some((&self.map, self.generation)))?;
        let Some(successor) = successor else { return Err(busy(&self.directory, &self.name, 0)) };
        retire(&std::mem::replace(&mut self.map, successor));
        Ok(())
    }

    /// Writes a row: what `write` puts is seen at once or not at all, the other words stay as they are, or are zero in a
    /// row that this writer has not written before. Never waits.
    ///
    /// # Panics
    /// When the row is of another table, or as [`RowPen::put`] does; the row is torn then, until it is written again.
    #[inline(always)]
    pub fn update(&mut self, row: Row, write: impl FnOnce(&mut RowPen<'_>)) {
        let row = self.map.row(row.0);
        let odd = begin(row);
        if row[0].words[2].load(Ordering::Relaxed) != self.generation {
            clear(row);
            row[0].words[2].store(self.generation, Ordering::Relaxed);
        }
        write(&mut RowPen { row });
        end(row, odd);
    }

    /// Says that the writer lives, `now_ns` by the clock that readers use.
    #[inline]
    pub fn beat(&self, now_ns: u64) {
        self.map.header().ownership.beat_ns.store(now_ns, Ordering::Relaxed);
    }

    /// The rows in use, with their keys.
    pub fn rows(&self) -> impl Iterator<Item = (Row, u64)> + '_ {
        (0..self.used).map(|row| (Row(row), self.map.key(row)))
    }

    /// How many rows there is room for.
    pub fn capacity(&self) -> u32 {
        self.map.size.rows
    }

    /// Counts the writers this table has had, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many rows an earlier writer was killed in the middle of; they are empty.
    pub fn repaired(&self) -> u32 {
        self.repaired
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        let ownership = &self.map.header().ownership;
        ownership.writer_pid.store(0, Ordering::Relaxed);
        ownership.beat_ns.store(0, Ordering::Release);
        unlock(self.map.file());
    }
}

/// The claimed table and how many rows were torn. `None`: the file moved under us, look again.
fn take_over(
    directory: &Directory,
    name: &str,
    file: File,
    wanted: Size,
) -> Result<Option<(TableMap, u32)>, TableError> {
    let folder = directory.folder();
    let size = TableMap::check(folder, name, &file)?;
    if let Locked::No = lock(folder, &file_name(name), &file)? {
        let held = TableMap::map(folder, name, file, size, Access::Read)?;
        return Err(busy(directory, name, held.header().ownership.writer_pid.load(Ordering::Relaxed)));
    }
    if !folder.is_at(&file_name(name), &file)? {
        return Ok(None);
    }
    let map = TableMap::map(folder, name, file, size, Access::Write)?;
    let generation = map.header().ownership.generation.load(Ordering::Relaxed) + 1;
    // First of all: from here on readers see that no row is of the present writer.
    begin_generation(&map, generation);
    let repaired = repair(&map);
    if size.rows >= wanted.rows && size.lines == wanted.lines {
        return Ok(Some((map, repaired)));
    }
    let larger = Size { rows: size.rows.max(wanted.rows), lines: wanted.lines };
    let successor = create(directory, name, larger, Some((&map, generation)))?;
    retire(&map);
    Ok(successor.map(|map| (map, repaired)))
}

fn begin_generation(map: &TableMap, generation: u64) {
    let ownership = &map.header().ownership;
    ownership.beat_ns.store(0, Ordering::Relaxed);
    ownership.writer_pid.store(pid(), Ordering::Relaxed);
    ownership.generation.store(generation, Ordering::Release);
}

/// Empties the rows that a killed writer left torn.
fn repair(map: &TableMap) -> u32 {
    let mut repaired = 0;
    for row in (0..map.used()).map(|row| map.row(row)).filter(|row| is_torn(row)) {
        let odd = begin(row);
        clear(row);
        end(row, odd);
        repaired += 1;
    }
    repaired
}

/// Zeroes all of a row but its lock and key.
#[cold]
fn clear(row: &[Slot]) {
    row.iter().flat_map(|line| &line.words).skip(2).for_each(|word| word.store(0, Ordering::Relaxed));
}

/// Only now does the name lead to the successor, so a reader that sees this finds it.
fn retire(old: &TableMap) {
    let ownership = &old.header().ownership;
    ownership.retired.store(1, Ordering::Relaxed);
    ownership.beat_ns.store(0, Ordering::Release);
    unlock(old.file());
}

/// Builds a table beside its name and moves it there when complete. `None`: somebody else was first.
fn create(
    directory: &Directory,
    name: &str,
    size: Size,
    old: Option<(&TableMap, u64)>,
) -> Result<Option<TableMap>, TableError> {
    let folder = directory.folder();
    let temporary = temporary_name(name);
    let Some(file) = folder.open_file(&temporary, libc::O_RDWR | libc::O_CREAT)? else { return Ok(None) };
    if let Locked::No = lock(folder, &temporary, &file)? {
        return Err(busy(directory, name, 0));
    }
    // A creator that finished between our open and our lock has moved this file to its final name.
    if !folder.is_at(&temporary, &file)? {
        return Ok(None);
    }
    let built = build(directory, name, file, size, old)
        .and_then(|map| Ok(folder.rename(&temporary, &file_name(name), old.is_some())?.then_some(map)));
    if !matches!(built, Ok(Some(_))) {
        folder.remove(&temporary);
    }
    built
}

fn build(
    directory: &Directory,
    name: &str,
    file: File,
    size: Size,
    old: Option<(&TableMap, u64)>,
) -> Result<TableMap, TableError> {
    let folder = directory.folder();
    folder.allocate(&temporary_name(name), &file, size.bytes())?;
    let map = TableMap::map(folder, name, file, size, Access::Write)?;
    if let Some((old, _)) = old {
        copy_rows(old, &map);
    }
    begin_generation(&map, old.map_or(1, |(_, generation)| generation));
    map.format();
    Ok(map)
}

/// Keeps every row in its place; its words only where rows are of the same length.
fn copy_rows(old: &TableMap, new: &TableMap) {
    let same = old.size.lines == new.size.lines;
    for row in 0..old.used() {
        let from = old.row(row).iter().flat_map(|line| &line.words);
        let to = new.row(row).iter().flat_map(|line| &line.words);
        let kept = if same { usize::MAX } else { 2 };
        for (to, from) in to.zip(from).take(kept) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    new.header().in_use.rows.store(u64::from(old.used()), Ordering::Relaxed);
}

fn busy(directory: &Directory, name: &str, pid: u64) -> TableError {
    TableError::Busy { path: directory.folder().path_of(&file_name(name)), pid }
}
