//! Files and mappings: the only place that talks to the operating system about them.
//!
//! A ring file is complete (full size allocated, header written) before it gets its name, never shrinks after, and is
//! checked against its own size before a word of it is believed; so no mapping can end in a SIGBUS.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::RingError;
use crate::layout::{HEADER_BYTES, Header, LAYOUT_VERSION, Memory, RING_MAGIC, SLOT_BYTES, SLOTS_MAX, SLOTS_MIN, Slot};
use crate::sync::Ordering;

/// Feeds own their rings; their group may read.
const RING_MODE: libc::mode_t = 0o640;

/// A directory held open: names are resolved inside it, whatever happens to its path.
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// What an attempt to open or lock may say besides failing.
pub(crate) enum Locked {
    Yes,
    No,
}

fn cstring(name: &str) -> CString {
    CString::new(name).expect("names are checked to hold no zero byte")
}

fn io_error(action: &'static str, path: PathBuf) -> RingError {
    RingError::Io { action, path, source: io::Error::last_os_error() }
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Folder, RingError> {
        use std::os::unix::ffi::OsStrExt;
        let unusable = |source| RingError::Io { action: "open directory", path: path.to_owned(), source };
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| unusable(error.into()))?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: the path is a C string.
        let fd = unsafe { libc::open(name.as_ptr(), flags) };
        if fd < 0 {
            return Err(unusable(io::Error::last_os_error()));
        }
        // SAFETY: a descriptor just opened and owned by nobody else.
        Ok(Folder { fd: unsafe { OwnedFd::from_raw_fd(fd) }, path: path.to_owned() })
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file, following no symbolic link; `None` when there is none.
    pub(crate) fn open_file(&self, name: &str, flags: libc::c_int) -> Result<Option<File>, RingError> {
        let c_name = cstring(name);
        let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: an open directory and a C string.
        let fd = unsafe { libc::openat(self.fd.as_raw_fd(), c_name.as_ptr(), flags, RING_MODE) };
        if fd < 0 {
            let source = io::Error::last_os_error();
            return match source.raw_os_error() {
                Some(libc::ENOENT) => Ok(None),
                Some(libc::ELOOP) => Err(self.unusable(name, "it is a symbolic link")),
                _ => Err(RingError::Io { action: "open", path: self.path_of(name), source }),
            };
        }
        // SAFETY: a descriptor just opened and owned by nobody else.
        let file = unsafe { File::from_raw_fd(fd) };
        if !self.metadata(name, &file)?.is_file() {
            return Err(self.unusable(name, "it is not a regular file"));
        }
        Ok(Some(file))
    }

    pub(crate) fn unusable(&self, name: &str, reason: &'static str) -> RingError {
        RingError::Unusable { path: self.path_of(name), reason }
    }

    pub(crate) fn metadata(&self, name: &str, file: &File) -> Result<std::fs::Metadata, RingError> {
        file.metadata().map_err(|source| RingError::Io { action: "stat", path: self.path_of(name), source })
    }

    /// Takes the writer's lock, if it is free. It ends with the file's last descriptor, so with the process.
    pub(crate) fn lock(&self, name: &str, file: &File) -> Result<Locked, RingError> {
        // SAFETY: an open descriptor.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Locked::Yes);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EWOULDBLOCK) => Ok(Locked::No),
            _ => Err(io_error("lock", self.path_of(name))),
        }
    }

    /// Gives the lock up although readers in this process may keep the file open.
    pub(crate) fn unlock(file: &File) {
        // SAFETY: an open descriptor. A failure would leave the lock to the end of the process.
        unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
    }

    /// Whether `name` still leads to this file.
    pub(crate) fn is_at(&self, name: &str, file: &File) -> Result<bool, RingError> {
        let ours = self.metadata(name, file)?;
        let c_name = cstring(name);
        // SAFETY: an all-zero `stat` is a valid value.
        let mut there: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: an open directory, a C string and a `stat` to fill.
        let found =
            unsafe { libc::fstatat(self.fd.as_raw_fd(), c_name.as_ptr(), &mut there, libc::AT_SYMLINK_NOFOLLOW) };
        Ok(found == 0 && there.st_ino == ours.ino() && there.st_dev == ours.dev())
    }

    /// Gives a file its name; false when `replace` is not wanted and the name is taken.
    pub(crate) fn rename(&self, from: &str, to: &str, replace: bool) -> Result<bool, RingError> {
        let (c_from, c_to) = (cstring(from), cstring(to));
        let flags = if replace { 0 } else { libc::RENAME_NOREPLACE };
        let fd = self.fd.as_raw_fd();
        // SAFETY: an open directory and two C strings.
        if unsafe { libc::renameat2(fd, c_from.as_ptr(), fd, c_to.as_ptr(), flags) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EEXIST) => Ok(false),
            _ => Err(io_error("rename to", self.path_of(to))),
        }
    }

    /// Removes a file of ours that never got its final name.
    pub(crate) fn remove(&self, name: &str) {
        let c_name = cstring(name);
        // SAFETY: an open directory and a C string. A failure leaves a temporary file that the next creation reuses.
        unsafe { libc::unlinkat(self.fd.as_raw_fd(), c_name.as_ptr(), 0) };
    }

    /// Gives a nameless-to-readers file its full size with every block allocated, all zero.
    pub(crate) fn allocate(&self, name: &str, file: &File, bytes: u64) -> Result<(), RingError> {
        let resize = |bytes| {
            file.set_len(bytes).map_err(|source| RingError::Io { action: "resize", path: self.path_of(name), source })
        };
        resize(0)?;
        resize(bytes)?;
        let length = libc::off_t::try_from(bytes).expect("ring sizes are bounded far below 2^63");
        loop {
            // SAFETY: an open descriptor.
            if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
                return Ok(());
            }
            let source = io::Error::last_os_error();
            match source.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOSPC | libc::ENOMEM | libc::EDQUOT | libc::EFBIG) => {
                    return Err(RingError::Full { path: self.path_of(name), bytes, source });
                }
                _ => return Err(RingError::Io { action: "allocate", path: self.path_of(name), source }),
            }
        }
    }
}

/// How a mapping may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Some bytes of a file in our address space.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is shared memory by nature; all access goes through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The caller has made sure that the file has `bytes` allocated bytes, and no party ever shrinks it.
    pub(crate) fn new(file: &File, bytes: usize, access: Access, path: &Path) -> Result<Mapping, RingError> {
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
        };
        // Populated at once, so that the first lap pays no page faults on the hot path.
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io_error("map", path.to_owned()));
        }
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at address zero unasked");
        Ok(Mapping { start, bytes })
    }

    /// Looked up with every row of a table and every slot of a ring: a call would cost as much as a line's copy.
    #[inline(always)]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one `mmap` returned, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A ring file in our address space, its size checked against its capacity.
pub(crate) struct RingMap {
    mapping: Mapping,
    /// Read once and checked; the header's own word is never believed again.
    capacity: usize,
    name: String,
    file: File,
}

impl RingMap {
    pub(crate) fn bytes_for(slots: u64) -> u64 {
        HEADER_BYTES as u64 + slots * SLOT_BYTES as u64
    }

    /// Maps a freshly allocated file, or one already checked.
    pub(crate) fn map(
        folder: &Folder,
        name: &str,
        file: File,
        slots: u64,
        access: Access,
    ) -> Result<RingMap, RingError> {
        let path = folder.path_of(&file_name(name));
        let bytes = usize::try_from(Self::bytes_for(slots)).expect("64-bit machines only");
        let mapping = Mapping::new(&file, bytes, access, &path)?;
        Ok(RingMap { mapping, capacity: slots as usize, name: name.to_owned(), file })
    }

    /// Checks what a file says of itself and returns its capacity in slots.
    pub(crate) fn check(folder: &Folder, name: &str, file: &File) -> Result<u64, RingError> {
        let file_name = file_name(name);
        let path = folder.path_of(&file_name);
        let metadata = folder.metadata(&file_name, file)?;
        if metadata.len() < HEADER_BYTES as u64 {
            return Err(folder.unusable(&file_name, "it is shorter than a ring's header"));
        }
        let head = Mapping::new(file, HEADER_BYTES, Access::Read, &path)?;
        // SAFETY: as in `RingMap::header`.
        let identity = unsafe { &head.start().cast::<Header>().as_ref().identity };
        if identity.magic.load(Ordering::Acquire) != RING_MAGIC {
            return Err(folder.unusable(&file_name, "it is not a ring (wrong magic)"));
        }
        let version = identity.version.load(Ordering::Relaxed);
        if version as u32 != LAYOUT_VERSION {
            return Err(RingError::Layout { path, found: version as u32, expected: LAYOUT_VERSION });
        }
        if version >> 32 != HEADER_BYTES as u64 {
            return Err(folder.unusable(&file_name, "its header has another size"));
        }
        let slots = identity.capacity.load(Ordering::Relaxed);
        if !slots.is_power_of_two() || !(SLOTS_MIN..=SLOTS_MAX).contains(&slots) {
            return Err(folder.unusable(&file_name, "its capacity is not a ring's"));
        }
        if metadata.len() != Self::bytes_for(slots) {
            return Err(folder.unusable(&file_name, "its size does not fit its capacity"));
        }
        // A hole would be filled at the first read, and a full file system would turn that read into a SIGBUS.
        if metadata.blocks() * 512 < metadata.len() {
            return Err(folder.unusable(&file_name, "it has holes"));
        }
        Ok(slots)
    }
}

impl Memory for RingMap {
    fn name(&self) -> &str {
        &self.name
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY:
        // - Alignment: a mapping starts on a page boundary, `Header` asks for 64.
        // - Bounds: a mapping has at least `HEADER_BYTES` bytes, `Header` fewer; the borrow keeps the mapping alive.
        // - Aliasing: `Header` is made of atomics only, so other processes may store to it while we read.
        // - Validity: every bit pattern is a valid atomic integer.
        // - Read-only mappings: readers only ever load.
        unsafe { self.mapping.start().cast::<Header>().as_ref() }
    }

    #[inline(always)]
    fn slots(&self) -> &[Slot] {
        // SAFETY:
        // - Alignment: the slots begin a page after a page boundary, `Slot` asks for 64.
        // - Bounds: `map` mapped `bytes_for(capacity)` bytes; the borrow keeps the mapping alive.
        // - Aliasing, validity, read-only mappings: as in `header`.
        unsafe {
            let first = self.mapping.start().add(HEADER_BYTES).cast::<Slot>();
            std::slice::from_raw_parts(first.as_ptr(), self.capacity)
        }
    }
}

/// A shared [`RingMap`] with the addresses at hand: two loads fewer on the way to every slot.
#[derive(Clone)]
pub(crate) struct SharedMap {
    header: NonNull<Header>,
    slots: NonNull<[Slot]>,
    map: Arc<RingMap>,
}

// SAFETY: the pointers are those of `map`, which is both, and everything behind them is atomic.
unsafe impl Send for SharedMap {}
// SAFETY: as above.
unsafe impl Sync for SharedMap {}

impl SharedMap {
    pub(crate) fn new(map: RingMap) -> SharedMap {
        let map = Arc::new(map);
        SharedMap { header: NonNull::from(map.header()), slots: NonNull::from(map.slots()), map }
    }

    pub(crate) fn file(&self) -> &File {
        &self.map.file
    }

    /// Whether both are the same mapping, not only of the same file.
    #[inline]
    pub(crate) fn is_same(&self, other: &SharedMap) -> bool {
        Arc::ptr_eq(&self.map, &other.map)
    }
}

impl Memory for SharedMap {
    fn name(&self) -> &str {
        &self.map.name
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: from `RingMap::header`; the mapping never moves and `self.map` keeps it alive.
        unsafe { self.header.as_ref() }
    }

    #[inline(always)]
    fn slots(&self) -> &[Slot] {
        // SAFETY: from `RingMap::slots`; the mapping never moves and `self.map` keeps it alive.
        unsafe { self.slots.as_ref() }
    }
}

/// The file of a ring.
pub(crate) fn file_name(ring: &str) -> String {
    format!("{ring}.ring")
}

/// Where a ring is built before it gets its name.
pub(crate) fn temporary_name(ring: &str) -> String {
    format!(".{ring}.ring.tmp")
}
