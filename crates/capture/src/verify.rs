//! Checks captures: every checksum, every number, and what the index says of each file.

use crate::{
    CaptureError,
    house::look_through,
    index::{FileInfo, Index},
    names::{self, PACKED},
    scribe,
};
use serde::Serialize;
use std::path::Path;

/// What was found in a folder or a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// What each file holds.
    pub files: Vec<FileInfo>,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
}

/// Checks a file, or all of a venue's folder with its index.
pub fn verify(path: &Path) -> Result<Verified, CaptureError> {
    let mut verified = Verified::default();
    if !path.is_dir() {
        verified.file(path, None, false);
        return Ok(verified);
    }
    let paths = names::files(path)?;
    if paths.is_empty() {
        return Err(CaptureError::Empty { path: path.to_owned() });
    }
    // The last plain file's end may be half, while somebody writes it.
    let written = scribe::lock(path).is_err();
    let index = Index::read(path, "");
    for (n, file) in paths.iter().enumerate() {
        let packed = file.to_string_lossy().ends_with(PACKED);
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let known = index.file(&name);
        if packed && known.is_none() {
            verified.problems.push(format!("{}: is not in {}", file.display(), crate::index::INDEX));
        }
        verified.file(file, known, written && !packed && n + 1 == paths.len());
    }
    for gone in index.files.iter().filter(|file| !path.join(&file.name).exists()) {
        verified.problems.push(format!(
            "{}: is in {} and not there",
            path.join(&gone.name).display(),
            crate::index::INDEX
        ));
    }
    Ok(verified)
}

impl Verified {
    fn file(&mut self, path: &Path, known: Option<&FileInfo>, being_written: bool) {
        let shown = path.display();
        let info = match look_through(path) {
            Ok(info) => info,
            Err(e) => return self.problems.push(e.to_string()),
        };
        if info.damaged > 0 {
            self.problems.push(format!("{shown}: {} places hold bytes that are no entries", info.damaged));
        }
        if info.misnumbered > 0 {
            self.problems.push(format!("{shown}: {} entries do not follow the ones before them", info.misnumbered));
        }
        if info.torn_bytes > 0 && !being_written {
            self.problems.push(format!("{shown}: its last {} bytes are no whole entry", info.torn_bytes));
        }
        if let Some(known) = known {
            let facts = |i: &FileInfo| (i.entries, i.bytes, i.stored_bytes, i.sha256.clone(), i.content_sha256.clone());
            if facts(known) != facts(&info) {
                self.problems.push(format!("{shown}: is not what {} says of it", crate::index::INDEX));
            }
        }
        self.files.push(info);
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}
