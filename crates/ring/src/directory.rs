//! The ring directory: finds rings by name and holds the one doorbell they share.
//!
//! The file `directory` is one page, writable by every party: 8 bytes magic, 4 bytes layout version, and at byte 64
//! the 32-bit doorbell word. Nothing in it can harm a reader: the worst a hostile word does is an extra wake-up.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::doorbell::Doorbell;
use crate::error::RingError;
use crate::file::{Access, Folder, Mapping};
use crate::layout::LAYOUT_VERSION;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

const SEGMENT_NAME: &str = "directory";
const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"APDIREC\n");
const SEGMENT_BYTES: usize = 4096;
const DIRECTORY_MODE: u32 = 0o770;
/// Readers arm the doorbell, so the group writes.
const SEGMENT_MODE: u32 = 0o660;
/// Longest ring name in bytes; file names end at 255.
const NAME_BYTES_MAX: usize = 64;
/// Each attempt that fails means that another process created the segment meanwhile.
const CREATE_ATTEMPTS_MAX: usize = 16;

/// A directory of rings and its doorbell.
#[derive(Clone)]
pub struct Directory {
    folder: Arc<Folder>,
    doorbell: Doorbell,
}

/// The mapped `directory` file.
pub(crate) struct Segment {
    mapping: Mapping,
}

#[repr(C, align(64))]
struct SegmentLine {
    magic: AtomicU64,
    version: AtomicU32,
}

#[repr(C, align(64))]
struct SegmentHeader {
    identity: SegmentLine,
    doorbell: DoorbellLine,
}

#[repr(C, align(64))]
struct DoorbellLine {
    word: AtomicU32,
}

const _: () = assert!(std::mem::offset_of!(SegmentHeader, doorbell) == 64);

impl Segment {
    #[inline(always)]
    fn header(&self) -> &SegmentHeader {
        // SAFETY:
        // - Alignment: a mapping starts on a page boundary, `SegmentHeader` asks for 64.
        // - Bounds: the mapping has `SEGMENT_BYTES` bytes, the header fewer; the borrow keeps it alive.
        // - Aliasing and validity: atomics only, every bit pattern valid.
        unsafe { self.mapping.start().cast::<SegmentHeader>().as_ref() }
    }

    #[inline(always)]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.header().doorbell.word
    }
}

impl Directory {
    /// Opens the directory at `path`, creating it and its doorbell where absent.
    pub fn open(path: &Path) -> Result<Directory, RingError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(|source| RingError::Io { action: "create directory", path: path.to_owned(), source })?;
        let folder = Folder::open(path)?;
        let segment = open_segment(&folder)?;
        Ok(Directory { folder: Arc::new(folder), doorbell: Doorbell::new(segment) })
    }

    /// Names of the rings, sorted.
    pub fn rings(&self) -> Result<Vec<String>, RingError> {
        self.named(".ring")
    }

    /// Names of the tables of latest values, sorted.
    pub fn tables(&self) -> Result<Vec<String>, RingError> {
        self.named(".table")
    }

    fn named(&self, ending: &str) -> Result<Vec<String>, RingError> {
        let failed = |source| RingError::Io { action: "list", path: self.path().to_owned(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path()).map_err(failed)? {
            let file_name = entry.map_err(failed)?.file_name();
            if let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(ending))
                && check_name(name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The doorbell shared by all rings here.
    pub fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Whether `name` can name a ring: no path, no hidden file, no surprise in a shell.
pub(crate) fn check_name(name: &str) -> Result<(), RingError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(RingError::BadName { name: name.to_owned() })
}

fn open_segment(folder: &Folder) -> Result<Segment, RingError> {
    for attempt in 0..CREATE_ATTEMPTS_MAX {
        if let Some(file) = folder.open_file(SEGMENT_NAME, libc::O_RDWR)? {
            let metadata = folder.metadata(SEGMENT_NAME, &file)?;
            if metadata.len() != SEGMENT_BYTES as u64 {
                return Err(folder.unusable(SEGMENT_NAME, "it has the wrong size"));
            }
            let path = folder.path_of(SEGMENT_NAME);
            let segment = Segment { mapping: Mapping::new(&file, SEGMENT_BYTES, Access::Write, &path)? };
            let identity = &segment.header().identity;
            if identity.magic.load(Ordering::Acquire) != SEGMENT_MAGIC {
                return Err(folder.unusable(SEGMENT_NAME, "it is not a ring directory's (wrong magic)"));
            }
            let found = identity.version.load(Ordering::Relaxed);
            if found != LAYOUT_VERSION {
                return Err(RingError::Layout { path, found, expected: LAYOUT_VERSION });
            }
            return Ok(segment);
        }
        create_segment(folder, attempt)?;
    }
    Err(folder.unusable(SEGMENT_NAME, "it vanishes as often as it is created"))
}

fn create_segment(folder: &Folder, attempt: usize) -> Result<(), RingError> {
    // Named by address and thread too: two threads of one process may create at once.
    let unique = std::ptr::from_ref(&attempt).addr();
    let name = format!(".directory.{}.{unique:x}.{attempt}.tmp", std::process::id());
    let made = build_segment(folder, &name).and_then(|()| folder.rename(&name, SEGMENT_NAME, false));
    if !matches!(made, Ok(true)) {
        folder.remove(&name);
    }
    made.map(|_| ())
}

fn build_segment(folder: &Folder, name: &str) -> Result<(), RingError> {
    let failed = |action| move |source| RingError::Io { action, path: folder.path_of(name), source };
    let Some(file) = folder.open_file(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)? else {
        return Err(folder.unusable(name, "it could not be created"));
    };
    file.set_permissions(std::fs::Permissions::from_mode(SEGMENT_MODE)).map_err(failed("set the mode of"))?;
    folder.allocate(name, &file, SEGMENT_BYTES as u64)?;
    let segment = Segment { mapping: Mapping::new(&file, SEGMENT_BYTES, Access::Write, &folder.path_of(name))? };
    let identity = &segment.header().identity;
    identity.version.store(LAYOUT_VERSION, Ordering::Relaxed);
    identity.magic.store(SEGMENT_MAGIC, Ordering::Release);
    Ok(())
}
