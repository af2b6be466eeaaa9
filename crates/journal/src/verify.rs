//! Reads a whole journal and says what is in it and what is damaged: the scrub that finds rot before a reader needs
//! the bytes.

use crate::reader::{From, Item, Reader};
use crate::{Disk, Files, JournalError, Level, Missing, Positions};
use std::path::Path;
use std::sync::Arc;

/// What a whole journal turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whole batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How far each venue has come.
    pub positions: Positions,
    /// What cannot be read.
    pub missing: Vec<Missing>,
}

/// Reads everything acknowledged at a level.
pub fn verify(folder: &Path, level: Level) -> Result<Checked, JournalError> {
    verify_on(Arc::new(Files::at(folder)), level)
}

/// As [`verify`], on any disk.
pub fn verify_on(disk: Arc<dyn Disk>, level: Level) -> Result<Checked, JournalError> {
    let mut reader = Reader::open_on(disk, From::Oldest, level)?;
    let mut checked = Checked::default();
    loop {
        match reader.next()? {
            Item::Batch(batch) => {
                checked.batches += 1;
                checked.records += u64::from(batch.header.count);
                checked.bytes += batch.next.offset - batch.place.offset;
            }
            Item::Missing(missing) => checked.missing.push(missing),
            Item::End => break,
        }
    }
    checked.positions = reader.positions().clone();
    Ok(checked)
}
