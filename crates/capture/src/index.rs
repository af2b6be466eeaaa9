//! `index.json` of a venue's folder: what its compressed files hold, and where in them a time is. Replaced whole, so
//! that a reader sees the old one or the new one. A view: it can be made again from the files.

use crate::CaptureError;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// The name of the file.
pub const INDEX: &str = "index.json";

/// What is known of a venue's compressed files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Version of this file's form.
    pub version: u32,
    /// The venue's name.
    pub venue: String,
    /// The files, oldest first.
    pub files: Vec<FileInfo>,
    /// What was deleted to keep the budget.
    #[serde(default)]
    pub deleted: Deleted,
}

/// What one file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// The epoch of its run; 0 for an imported recording.
    pub run: u64,
    /// Time of the first entry, ns.
    pub first: u64,
    /// Time of the last entry, ns.
    pub last: u64,
    /// Entries.
    pub entries: u64,
    /// Frames that came in.
    pub frames_in: u64,
    /// Frames that went out.
    pub frames_out: u64,
    /// Answers of REST requests.
    pub answers: u64,
    /// Entries that were lost before they could be written, as the file says.
    pub lost: u64,
    /// Places where bytes are no entries.
    pub damaged: u64,
    /// Entries whose numbers do not follow.
    pub misnumbered: u64,
    /// Bytes at the end that a killed writer left: kept in a file of the same name that ends in `.torn`.
    pub torn_bytes: u64,
    /// Bytes of the content.
    pub bytes: u64,
    /// Bytes of the file.
    pub stored_bytes: u64,
    /// SHA-256 of the file as it is stored.
    pub sha256: String,
    /// SHA-256 of the content.
    pub content_sha256: String,
    /// Where a time is: time in ns and offset in the content, of each zstd frame.
    pub seek: Vec<(u64, u64)>,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Files.
    pub files: u64,
    /// Their bytes as stored.
    pub bytes: u64,
    /// Time of the last entry deleted, ns.
    pub until: u64,
}

impl Index {
    /// Reads a folder's index; an empty one where there is none, or none that can be read: it is a view.
    pub fn read(folder: &Path, venue: &str) -> Index {
        let read = fs::read(folder.join(INDEX)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.unwrap_or_else(|| Index { version: 1, venue: venue.to_owned(), ..Index::default() })
    }

    /// The entry of a file.
    pub fn file(&self, name: &str) -> Option<&FileInfo> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Takes in what is known of a file.
    pub fn put(&mut self, info: FileInfo) {
        self.files.retain(|file| file.name != info.name);
        self.files.push(info);
        self.files.sort_by_key(|file| crate::names::Place::of(&file.name));
    }

    /// Replaces a folder's index.
    pub fn write(&self, folder: &Path) -> Result<(), CaptureError> {
        let path = folder.join(INDEX);
        let text = serde_json::to_vec_pretty(self).map_err(|e| CaptureError::io(&path)(io::Error::other(e)))?;
        replace(&path, &text)
    }
}

/// Replaces a file's content at once, for good.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CaptureError> {
    let new = path.with_extension("json.tmp");
    let failed = || CaptureError::io(path);
    let mut file = File::create(&new).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    file.sync_all().map_err(failed())?;
    fs::rename(&new, path).map_err(failed())?;
    sync_folder(path)
}

/// Makes the names in a file's folder survive a loss of power.
pub(crate) fn sync_folder(path: &Path) -> Result<(), CaptureError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(CaptureError::io(folder))
}
