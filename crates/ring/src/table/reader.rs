//! A reader of a table: a read-only mapping. It costs the writer nothing and owns nothing there.

use super::file::{TableMap, file_name, is_locked};
use super::seqlock::try_copy;
use super::{Line, Row, SILENCE_NS, TableError};
use crate::directory::{Directory, check_name};
use crate::file::Access;
use crate::layout::Slot;
use crate::sync::Ordering;
use std::time::Duration;

/// Copies tried in a row before anything else is done about a row that is being written: a write takes far less.
const TRIES: u32 = 256;
/// After them, so often: look whether the writer lives, wait for [`WAIT`], try again. Some hundred ms together: longer
/// than a live writer in the middle of a row is kept from its core by others.
const ROUNDS_MAX: u32 = 2_000;
const WAIT: Duration = Duration::from_micros(100);

/// What is known of a copied row beside its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// How often the row was written, in all generations: two copies with the same number are the same.
    pub version: u64,
    /// The writer that wrote it last; 0 when no word of it was ever written, or a killed writer left it torn.
    pub generation: u64,
    /// Written by the present writer. Else it is what an earlier one left, and says nothing about now.
    pub current: bool,
}

/// One reader of one table.
pub struct TableReader {
    map: TableMap,
    directory: Directory,
    name: String,
    /// When the writer was last seen alive by its lock.
    seen_ns: u64,
}

impl TableReader {
    /// Maps the table `name`.
    pub fn open(directory: &Directory, name: &str) -> Result<TableReader, TableError> {
        check_name(name)?;
        let folder = directory.folder();
        let Some(file) = folder.open_file(&file_name(name), libc::O_RDONLY)? else {
            return Err(TableError::NotFound { path: folder.path_of(&file_name(name)) });
        };
        let size = TableMap::check(folder, name, &file)?;
        let map = TableMap::map(folder, name, file, size, Access::Read)?;
        Ok(TableReader { map, directory: directory.clone(), name: name.to_owned(), seen_ns: 0 })
    }

    /// Copies the first `LINES` lines of a row as they stood at one moment. `now_ns` is the time by the writer's
    /// clock (ns since the Unix epoch): with it a reader learns of a dead writer within [`SILENCE_NS`], by a
    /// system call that it makes no more often than that; without news of that kind it makes none.
    ///
    /// Fails when nobody writes the table any more, whatever the row holds; when a live writer keeps a row half
    /// written for some hundred milliseconds; or when there is no such row.
    #[inline(always)]
    pub fn read<const LINES: usize>(
        &mut self,
        row: Row,
        now_ns: u64,
        out: &mut [Line; LINES],
    ) -> Result<Stamp, TableError> {
        const { assert!(LINES > 0, "a copy of no line says nothing") };
        let ownership = &self.map.header().ownership;
        let generation = ownership.generation.load(Ordering::Acquire);
        if now_ns.abs_diff(ownership.beat_ns.load(Ordering::Relaxed)) > SILENCE_NS {
            self.look_after(now_ns)?;
        }
        let Some(lines) = self.map.first_lines(row.0) else { return Err(self.no_row(row, LINES)) };
        match try_copy(lines, out) {
            Some(version) => Ok(stamp(version, generation, out)),
            None => self.read_again(row, lines, generation, out),
        }
    }

    /// The row was being written.
    #[cold]
    #[inline(never)]
    fn read_again<const LINES: usize>(
        &self,
        row: Row,
        lines: &[Slot; LINES],
        generation: u64,
        out: &mut [Line; LINES],
    ) -> Result<Stamp, TableError> {
        for _ in 0..TRIES {
            std::hint::spin_loop();
            if let Some(version) = try_copy(lines, out) {
                return Ok(stamp(version, generation, out));
            }
        }
        // It stays odd, or changes faster than it can be copied.
        for _ in 0..ROUNDS_MAX {
            self.check_writer()?;
            std::thread::sleep(WAIT);
            for _ in 0..TRIES {
                if let Some(version) = try_copy(lines, out) {
                    return Ok(stamp(version, generation, out));
                }
            }
        }
        let pid = self.map.header().ownership.writer_pid.load(Ordering::Relaxed);
        Err(TableError::Held { name: self.name.clone(), row: row.0, pid })
    }

    /// The writer has not said lately that it lives.
    #[cold]
    fn look_after(&mut self, now_ns: u64) -> Result<(), TableError> {
        if now_ns.abs_diff(self.seen_ns) > SILENCE_NS {
            self.check_writer()?;
            self.seen_ns = now_ns;
        }
        // An orderly end is told without a system call, and at once.
        let ownership = &self.map.header().ownership;
        if ownership.writer_pid.load(Ordering::Relaxed) == 0 || ownership.retired.load(Ordering::Relaxed) != 0 {
            self.check_writer()?;
        }
        Ok(())
    }

    /// Asks the kernel whether the table is being written: a system call, and an answer that is true at once after a
    /// kill.
    pub fn check_writer(&self) -> Result<(), TableError> {
        let ownership = &self.map.header().ownership;
        let name = || self.name.clone();
        if ownership.retired.load(Ordering::Acquire) != 0 {
            return Err(TableError::Retired { name: name() });
        }
        let pid = ownership.writer_pid.load(Ordering::Relaxed);
        if is_locked(self.directory.folder(), &file_name(&self.name), self.map.file())? {
            return Ok(());
        }
        // A file that a new writer has replaced or that was removed by hand is nobody's, and the name leads elsewhere.
        if !self.directory.folder().is_at(&file_name(&self.name), self.map.file())? {
            return Err(TableError::Retired { name: name() });
        }
        if pid == 0 { Err(TableError::Ended { name: name() }) } else { Err(TableError::Died { name: name(), pid }) }
    }

    /// Maps what the name leads to now: after [`TableError::Retired`].
    pub fn reopen(&mut self) -> Result<(), TableError> {
        *self = TableReader::open(&self.directory, &self.name)?;
        Ok(())
    }

    /// The row of a key. Looks through the rows, so keep the answer: it stays true for this file and its successors.
    pub fn find(&self, key: u64) -> Option<Row> {
        self.map.find(key).map(Row)
    }

    /// The rows in use, with their keys.
    pub fn rows(&self) -> impl Iterator<Item = (Row, u64)> + '_ {
        (0..self.map.used()).map(|row| (Row(row), self.map.key(row)))
    }

    /// Lines of 64 bytes in a row.
    pub fn lines(&self) -> usize {
        self.map.size.lines as usize
    }

    /// Counts the writers this table has had, from 1.
    pub fn generation(&self) -> u64 {
        self.map.header().ownership.generation.load(Ordering::Acquire)
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cold]
    fn no_row(&self, row: Row, lines: usize) -> TableError {
        let (used, has) = (self.map.used(), self.map.size.lines);
        TableError::NoRow { name: self.name.clone(), row: row.0, lines, used, has }
    }
}

#[inline(always)]
fn stamp(version: u64, present: u64, lines: &[Line]) -> Stamp {
    let generation = lines[0][2];
    // A writer that has taken over since `present` was read has written it: as present as can be.
    Stamp { version, generation, current: generation != 0 && generation >= present }
}
