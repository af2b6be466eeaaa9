//! A table file in our address space, and the lock that says whether anybody writes it.

use super::{LINES_MAX, ROWS_MAX, TableError};
use crate::error::RingError;
use crate::file::{Access, Folder, Locked, Mapping};
use crate::layout::{HEADER_BYTES, SLOT_BYTES, Slot};
use crate::sync::{AtomicU64, Ordering};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Version of a table's layout, apart from the ring's: any other is refused.
const LAYOUT_VERSION: u32 = 1;
const TABLE_MAGIC: u64 = u64::from_le_bytes(*b"APTABLE\n");

#[repr(C, align(64))]
struct Identity {
    magic: AtomicU64,
    /// Low half: layout version. High half: bytes before the first row.
    version: AtomicU64,
    rows: AtomicU64,
    lines: AtomicU64,
}

/// Read with every row, so it shares no line with what claims change.
#[repr(C, align(64))]
pub(super) struct Ownership {
    pub(super) generation: AtomicU64,
    pub(super) writer_pid: AtomicU64,
    pub(super) retired: AtomicU64,
    pub(super) beat_ns: AtomicU64,
}

#[repr(C, align(64))]
pub(super) struct Use {
    pub(super) rows: AtomicU64,
}

/// The start of a table file.
#[repr(C, align(64))]
pub(super) struct Header {
    identity: Identity,
    pub(super) ownership: Ownership,
    pub(super) in_use: Use,
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Header, ownership) == 64 && offset_of!(Header, in_use) == 128);
    assert!(offset_of!(Ownership, beat_ns) == 24 && size_of::<Header>() <= HEADER_BYTES);
};

/// How large a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u32,
    pub(super) lines: u32,
}

impl Size {
    pub(super) fn check(self, name: &str) -> Result<(), TableError> {
        if (1..=ROWS_MAX).contains(&self.rows) && (1..=LINES_MAX).contains(&self.lines) {
            return Ok(());
        }
        let Size { rows, lines } = self;
        Err(TableError::BadSize { name: name.to_owned(), rows, lines, rows_max: ROWS_MAX, lines_max: LINES_MAX })
    }

    pub(super) fn bytes(self) -> u64 {
        HEADER_BYTES as u64 + SLOT_BYTES as u64 * u64::from(self.rows) * u64::from(self.lines)
    }
}

/// A table file in our address space, its length checked against its size.
pub(super) struct TableMap {
    mapping: Mapping,
    /// Read once and checked; the header's own words are never believed again.
    pub(super) size: Size,
    file: File,
}

impl TableMap {
    /// Maps a freshly allocated file, or one already checked.
    pub(super) fn map(folder: &Folder, name: &str, file: File, size: Size, access: Access) -> Result<Self, RingError> {
        let bytes = usize::try_from(size.bytes()).expect("64-bit machines only");
        let mapping = Mapping::new(&file, bytes, access, &folder.path_of(&file_name(name)))?;
        Ok(TableMap { mapping, size, file })
    }

    /// Checks what a file says of itself.
    pub(super) fn check(folder: &Folder, name: &str, file: &File) -> Result<Size, RingError> {
        let file_name = file_name(name);
        let path = folder.path_of(&file_name);
        let metadata = folder.metadata(&file_name, file)?;
        if metadata.len() < HEADER_BYTES as u64 {
            return Err(folder.unusable(&file_name, "it is shorter than a table's header"));
        }
        let head = Mapping::new(file, HEADER_BYTES, Access::Read, &path)?;
        // SAFETY: as in `TableMap::header`.
        let Header { identity, .. } = unsafe { head.start().cast::<Header>().as_ref() };
        if identity.magic.load(Ordering::Acquire) != TABLE_MAGIC {
            return Err(folder.unusable(&file_name, "it is not a table (wrong magic)"));
        }
        let version = identity.version.load(Ordering::Relaxed);
        if version as u32 != LAYOUT_VERSION {
            return Err(RingError::Layout { path, found: version as u32, expected: LAYOUT_VERSION });
        }
        if version >> 32 != HEADER_BYTES as u64 {
            return Err(folder.unusable(&file_name, "its header has another size"));
        }
        let small = |word: &AtomicU64| u32::try_from(word.load(Ordering::Relaxed)).unwrap_or(0);
        let size = Size { rows: small(&identity.rows), lines: small(&identity.lines) };
        if size.check(name).is_err() {
            return Err(folder.unusable(&file_name, "its size is not a table's"));
        }
        if metadata.len() != size.bytes() {
            return Err(folder.unusable(&file_name, "its length does not fit its size"));
        }
        // A hole would be filled at the first read, and a full file system would turn that read into a SIGBUS.
        if metadata.blocks() * 512 < metadata.len() {
            return Err(folder.unusable(&file_name, "it has holes"));
        }
        Ok(size)
    }

    /// Writes what never changes into zeroed memory; the magic last.
    pub(super) fn format(&self) {
        let Header { identity, .. } = self.header();
        identity.rows.store(self.size.rows.into(), Ordering::Relaxed);
        identity.lines.store(self.size.lines.into(), Ordering::Relaxed);
        identity.version.store(u64::from(LAYOUT_VERSION) | (HEADER_BYTES as u64) << 32, Ordering::Relaxed);
        identity.magic.store(TABLE_MAGIC, Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &Header {
        // SAFETY:
        // - Alignment: a mapping starts on a page boundary, `Header` asks for 64.
        // - Bounds: a mapping has at least `HEADER_BYTES` bytes, `Header` fewer; the borrow keeps the mapping alive.
        // - Aliasing: `Header` is made of atomics only, so other processes may store to it while we read.
        // - Validity: every bit pattern is a valid atomic integer.
        // - Read-only mappings: readers only ever load.
        unsafe { self.mapping.start().cast::<Header>().as_ref() }
    }

    /// The lines of a row.
    ///
    /// # Panics
    /// When there is no room for such a row.
    #[inline(always)]
    pub(super) fn row(&self, row: u32) -> &[Slot] {
        let Size { rows, lines } = self.size;
        assert!(row < rows, "row {row} of a table with room for {rows}");
        let lines = lines as usize;
        // SAFETY:
        // - Alignment: rows begin a page after a page boundary and are whole lines, `Slot` asks for 64.
        // - Bounds: the row is below `rows`, and `map` mapped `bytes()` of them; the borrow keeps the mapping alive.
        // - Aliasing, validity, read-only mappings: as in `header`.
        unsafe {
            let first = self.mapping.start().add(HEADER_BYTES).cast::<Slot>().add(row as usize * lines);
            std::slice::from_raw_parts(first.as_ptr(), lines)
        }
    }

    /// The first lines of a row, unless there is no room for such a row or its rows are shorter.
    #[inline(always)]
    pub(super) fn first_lines<const LINES: usize>(&self, row: u32) -> Option<&[Slot; LINES]> {
        if row < self.size.rows { self.row(row).first_chunk() } else { None }
    }

    /// Rows in use, bounded by what there is room for.
    #[inline]
    pub(super) fn used(&self) -> u32 {
        // Pairs with the Release store in `TableWriter::claim`: a row that is in use has its key.
        let used = self.header().in_use.rows.load(Ordering::Acquire);
        used.min(u64::from(self.size.rows)) as u32
    }

    /// The key of a row in use.
    pub(super) fn key(&self, row: u32) -> u64 {
        self.row(row)[0].words[1].load(Ordering::Relaxed)
    }

    /// The row with this key. One cache line a row is touched, so a place is best kept.
    pub(super) fn find(&self, key: u64) -> Option<u32> {
        (0..self.used()).find(|row| self.key(*row) == key)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: an all-zero `flock` is a valid value: from the start of the file to its end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock
}

fn io_error(action: &'static str, folder: &Folder, name: &str) -> RingError {
    RingError::Io { action, path: folder.path_of(name), source: io::Error::last_os_error() }
}

/// Takes the writer's lock of a file, if it is free. It ends with the file's last descriptor, so with the process. Not
/// `flock`: nobody can ask who holds that without taking it.
pub(super) fn lock(folder: &Folder, name: &str, file: &File) -> Result<Locked, RingError> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: an open descriptor and a lock to read.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(Locked::Yes);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(Locked::No),
        _ => Err(io_error("lock", folder, name)),
    }
}

/// Gives the lock up, whoever else has inherited the descriptor.
pub(super) fn unlock(file: &File) {
    let lock = whole_file(libc::F_UNLCK);
    // SAFETY: an open descriptor and a lock to read. A failure would leave the lock to the end of the process.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
}

/// Whether a writer holds the lock. Takes nothing.
pub(super) fn is_locked(folder: &Folder, name: &str, file: &File) -> Result<bool, RingError> {
    let mut lock = whole_file(libc::F_RDLCK);
    // SAFETY: an open descriptor and a lock to read and write.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } != 0 {
        return Err(io_error("look for the lock of", folder, name));
    }
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// The file of a table.
pub(super) fn file_name(table: &str) -> String {
    format!("{table}.table")
}

/// Where a table is built before it gets its name.
pub(super) fn temporary_name(table: &str) -> String {
    format!(".{table}.table.tmp")
}
