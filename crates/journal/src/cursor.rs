//! Durable positions of sinks: how far each has read, so that it goes on there and retention leaves it what it needs.

use crate::format::{CursorPage, PAGE_BYTES, Page};
use crate::{Access, Disk, Files, JournalError, Place, Positions, crash, failed};
use model::UnixNanos;
use std::io;
use std::path::Path;

const FOLDER: &str = "cursors";

/// How far a sink has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The sink's name: letters, digits, `-` and `_`.
    pub name: String,
    /// The journal it reads, as told by [`crate::Reader::journal`]: a cursor of another journal is not used.
    pub journal: u64,
    /// Where the next batch to be read begins.
    pub place: Place,
    /// The last record of each venue it has dealt with: tells exactly what it missed, should the place be gone.
    pub positions: Positions,
    /// When it was stored.
    pub time: UnixNanos,
}

impl Cursor {
    /// The cursor of this name; `None` when there is none.
    pub fn load(folder: &Path, name: &str) -> Result<Option<Cursor>, JournalError> {
        Cursor::load_on(&Files::at(folder), name)
    }

    /// As [`Cursor::load`], on any disk.
    pub fn load_on(disk: &dyn Disk, name: &str) -> Result<Option<Cursor>, JournalError> {
        let path = path_of(name)?;
        let file = match disk.open(&path, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(disk, "open", &path)(e)),
        };
        let mut page: Page = [0; PAGE_BYTES];
        file.read_at(&mut page, 0).map_err(failed(disk, "read", &path))?;
        let found = CursorPage::read(&page, name)?;
        let page = found.ok_or_else(|| JournalError::CursorDamaged { name: name.to_owned() })?;
        let CursorPage { journal, place, time, positions } = page;
        Ok(Some(Cursor { name: name.to_owned(), journal, place, positions, time }))
    }

    /// Stores it, durably and at once: after a crash there is either this one or the one before.
    pub fn store(&self, folder: &Path) -> Result<(), JournalError> {
        self.store_on(&Files::at(folder))
    }

    /// As [`Cursor::store`], on any disk.
    pub fn store_on(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        let path = path_of(&self.name)?;
        let temporary = format!("{path}.tmp");
        let Cursor { journal, place, time, positions, .. } = self.clone();
        let page = CursorPage { journal, place, time, positions }.page();
        disk.make_folder(FOLDER).map_err(failed(disk, "create", FOLDER))?;
        let file = disk.open(&temporary, Access::Create).map_err(failed(disk, "create", &temporary))?;
        file.write_at(&page[..], 0).map_err(failed(disk, "write", &temporary))?;
        file.sync().map_err(failed(disk, "sync", &temporary))?;
        crash::point("journal.before_cursor_rename");
        disk.rename(&temporary, &path).map_err(failed(disk, "rename", &temporary))?;
        disk.sync_folder(FOLDER).map_err(failed(disk, "sync", FOLDER))?;
        crash::point("journal.after_cursor_rename");
        Ok(())
    }

    /// Removes a cursor: retention no longer waits for its sink.
    pub fn remove(folder: &Path, name: &str) -> Result<(), JournalError> {
        let (disk, path) = (Files::at(folder), path_of(name)?);
        disk.remove(&path).map_err(failed(&disk, "remove", &path))
    }

    /// Every cursor of a journal. One that is damaged stands for "needs everything": it is told as an error.
    pub fn list(folder: &Path) -> Result<Vec<Cursor>, JournalError> {
        Cursor::list_on(&Files::at(folder))
    }

    /// As [`Cursor::list`], on any disk.
    pub fn list_on(disk: &dyn Disk) -> Result<Vec<Cursor>, JournalError> {
        let mut names = disk.list(FOLDER).map_err(failed(disk, "list", FOLDER))?;
        names.retain(|name| path_of(name).is_ok());
        names.sort();
        let loaded = names.iter().map(|name| Cursor::load_on(disk, name));
        Ok(loaded.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

fn path_of(name: &str) -> Result<String, JournalError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(JournalError::CursorName { name: name.to_owned() });
    }
    Ok(format!("{FOLDER}/{name}"))
}
