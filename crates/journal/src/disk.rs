//! What the journal asks of a file system, as one small door: the real one here, simulated ones in tests.
//!
//! A [`Disk`] is one folder of named files; a name may begin with the name of a folder inside it and a `/`. No call
//! is retried here, and nothing is hidden: a failed sync is the caller's to judge.

use rustix::fs::{FlockOperation, flock};
use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing file, to be read.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// A new, empty file, in the place of one that may have been there.
    Create,
}

/// A folder of files that may lose what was not synced, tear writes, fill up or fail.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Where it is, for messages.
    fn path(&self) -> &Path;

    /// Opens a file.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Puts a file in the place of another, at once.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names in a folder (`""`: the journal's own), in no order; a folder that is not there is empty.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes a folder and those above it, unless they are there; its name is durable then.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// Makes names durable: files made, renamed and removed in a folder.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Takes a lock that falls with this process. `WouldBlock` when another holds it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// Names the run of the machine: another value means that what was not synced may be gone.
    fn boot(&self) -> u64;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads from `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`; after a failure any part of them may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable. After a failure nothing written since the last success may be believed durable,
    /// whatever a later call says.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the real file system.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// The folder, which need not be there yet.
    pub fn at(folder: &Path) -> Files {
        Files { folder: folder.to_owned() }
    }

    fn join(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }
}

impl Disk for Files {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => {}
            Access::Write => drop(options.write(true)),
            Access::Create => drop(options.write(true).create(true).truncate(true)),
        }
        Ok(Box::new(RealFile(options.open(self.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.join(from), self.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.join(name))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.join(folder)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        make_durable(&self.join(folder))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.join(folder))?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.join(name))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn boot(&self) -> u64 {
        // Without the kernel's word every start counts as the same run of the machine, which is what it mostly is.
        let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u64::from(crc32c::crc32c(&id)) | 1 << 32
    }
}

/// A folder whose name is lost in a power cut takes everything synced in it along. Also where it is there already: who
/// made it may have died before its name was durable.
fn make_durable(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = match fs::create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => make_durable(parent).and_then(|()| fs::create_dir(folder)),
        made => made,
    };
    let was_there = match made {
        Err(_) if folder.is_dir() => true,
        made => made.map(|()| false)?,
    };
    match File::open(parent).and_then(|parent| parent.sync_all()) {
        // Somebody else's folder, or one that nobody can change any more.
        Err(e)
            if was_there && matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.0.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
