//! Frames that could not be read, kept as they came, with the reason: one JSON line each, in a file that is bounded.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};
use venues::Quarantined;

/// The file stops growing here: a venue that sends nothing but nonsense must not fill the disk.
const BYTES_MAX: u64 = 64 << 20;

/// The frames set aside by one feed.
pub struct Quarantine {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Quarantine {
    /// Frames go to `folder/<name>.jsonl`, made when the first one comes.
    pub fn new(folder: &Path, name: &str) -> Quarantine {
        Quarantine { path: folder.join(format!("{name}.jsonl")), file: None, bytes: 0 }
    }

    /// Where the frames are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a frame. `Ok(false)` when the file is full and the frame is only counted.
    pub fn keep(&mut self, frame: &[u8], why: &Quarantined, now: u64) -> io::Result<bool> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = file.metadata()?.len();
            self.file = Some(file);
        }
        if self.bytes >= BYTES_MAX {
            return Ok(false);
        }
        let line = serde_json::json!({
            "ts_recv": now,
            "frame_number": why.frame,
            "offset": why.error.offset,
            "field": why.error.field,
            "problem": why.error.problem,
            "frame": String::from_utf8_lossy(frame),
        });
        let text = format!("{line}\n");
        self.bytes += text.len() as u64;
        let file = self.file.as_mut().expect("opened above");
        file.write_all(text.as_bytes())?;
        Ok(true)
    }
}
