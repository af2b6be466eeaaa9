//! What the writer asks of a disk: so little that a test can put a full, slow or broken one in its place.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// Where capture files are made.
pub trait Disk: Send + Sync {
    /// Makes a new file and the folder it is in; an existing file is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
}

/// A capture file being written.
pub trait DiskFile: Send {
    /// Writes all of it at a place. What a failed attempt left there is overwritten by the next.
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written survive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }
}

impl DiskFile for File {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
