//! The least that could do a ring's work: the same protocol, capacity and batches over raw shared memory, and a futex.
//!
//! One writer announces an intent, stores slots and publishes a tail; readers copy a batch and check the intent.
//! Left out is all that makes a ring usable: generations, epochs, records of other lengths, the doorbell, names, locks
//! and hostile memory. Its harness never lets the writer pass a reader, which is also why plain copies are sound here.

use crate::BenchError;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

const HEADER_BYTES: usize = 4096;
const INTENT: usize = 128;
const TAIL: usize = 192;
const WORD: usize = 256;
/// As our ring: the intent is raised over so many slots at once.
const CHUNK: u64 = 64;
/// As our ring: so many slots are copied and checked at once.
const COPIED: usize = 64;

/// Words of a slot: sequence, six words of record, one of padding.
pub type Line = [u64; 8];

/// A shared mapping of anonymous shared memory.
pub struct Shm {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is plain memory without ties to a thread; all access goes through atomics or through copies that
// the progress words of the harness order.
unsafe impl Send for Shm {}
// SAFETY: as above.
unsafe impl Sync for Shm {}

impl Shm {
    /// `count` mappings of the same new memory with room for `slots` slots.
    pub fn mappings(slots: u64, count: usize) -> Result<Vec<Shm>, BenchError> {
        let bytes = HEADER_BYTES + slots as usize * size_of::<Line>();
        // SAFETY: the name is a C string literal; the descriptor returned belongs to nobody else.
        let fd = unsafe { libc::memfd_create(c"bare-ring".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(BenchError::system("make shared memory")(io::Error::last_os_error()));
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(bytes as u64).map_err(BenchError::system("size shared memory"))?;
        (0..count).map(|_| Shm::map(&file, bytes)).collect()
    }

    fn map(file: &File, bytes: usize) -> Result<Shm, BenchError> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping at an address of the kernel's choice; the file is as large as the mapping.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(BenchError::system("map shared memory")(io::Error::last_os_error()));
        }
        let start = NonNull::new(start.cast()).expect("a successful mapping is not at address 0");
        Ok(Shm { start, bytes })
    }

    #[inline(always)]
    fn cell(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: offsets are the constants above, aligned to 8 and inside the header; the borrow keeps the mapping.
        unsafe { self.start.add(offset).cast::<AtomicU64>().as_ref() }
    }

    #[inline(always)]
    fn slot(&self, position: u64, mask: u64) -> *mut Line {
        let offset = HEADER_BYTES + (position & mask) as usize * size_of::<Line>();
        // SAFETY: the mask keeps the slot inside the mapping.
        unsafe { self.start.as_ptr().add(offset).cast() }
    }

    /// A 32-bit word to sleep on.
    pub fn word(&self) -> &AtomicU32 {
        // SAFETY: a constant offset inside the header, aligned to 8; the borrow keeps the mapping.
        unsafe { self.start.add(WORD).cast::<AtomicU32>().as_ref() }
    }

    /// A word beside it, to carry a stamp.
    pub fn stamp(&self) -> &AtomicU64 {
        self.cell(TAIL)
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length, and nothing borrowed from it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The writing half.
pub struct BareWriter {
    memory: Shm,
    mask: u64,
    position: u64,
    reserved: u64,
    wakes: Wakes,
}

/// Whether a bare writer could wake a sleeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// Readers spin; nobody is looked for.
    Never,
    /// It orders its publication before a look at a word that says whether somebody sleeps: what any ring pays whose
    /// readers may sleep and whose writer makes no system call while they do not.
    Looks,
}

impl BareWriter {
    /// At position 0 of fresh memory.
    pub fn new(memory: Shm, slots: u64, wakes: Wakes) -> BareWriter {
        BareWriter { memory, mask: slots - 1, position: 0, reserved: 0, wakes }
    }

    /// Writes one record.
    #[inline]
    pub fn push(&mut self, record: &[u64; 6]) {
        if self.position == self.reserved {
            self.reserved += CHUNK;
            self.memory.cell(INTENT).store(self.reserved, Ordering::Relaxed);
            fence(Ordering::Release);
        }
        let [a, b, c, d, e, f] = *record;
        // SAFETY: inside the mapping and aligned to 64. No reader copies this slot now: the harness lets the writer
        // on only when every reader's progress, stored with release and loaded with acquire, is past it.
        unsafe { self.memory.slot(self.position, self.mask).write([self.position + 1, a, b, c, d, e, f, 0]) };
        self.position += 1;
    }

    /// Makes everything pushed visible.
    #[inline]
    pub fn publish(&mut self) {
        self.memory.cell(TAIL).store(self.position, Ordering::Release);
        if self.wakes == Wakes::Looks {
            fence(Ordering::SeqCst);
            if self.memory.word().load(Ordering::Relaxed) != 0 {
                futex_wake(self.memory.word());
            }
        }
    }
}

/// The reading half.
pub struct BareReader {
    memory: Shm,
    mask: u64,
    position: u64,
    lines: Box<Lines>,
}

#[repr(align(64))]
struct Lines([Line; COPIED]);

impl BareReader {
    /// At position 0.
    pub fn new(memory: Shm, slots: u64) -> BareReader {
        BareReader { memory, mask: slots - 1, position: 0, lines: Box::new(Lines([[0; 8]; COPIED])) }
    }

    /// Hands out up to `max` records; how many there were.
    #[inline]
    pub fn poll(&mut self, max: usize, mut take: impl FnMut(&[u64])) -> usize {
        let tail = self.memory.cell(TAIL).load(Ordering::Acquire);
        let end = tail.min(self.position + max as u64);
        let start = self.position;
        while self.position != end {
            let batch = ((end - self.position) as usize).min(COPIED);
            for (index, line) in self.lines.0[..batch].iter_mut().enumerate() {
                // SAFETY: inside the mapping and aligned; written before the tail that was loaded with acquire, and
                // not written again before this reader's progress is past it.
                *line = unsafe { self.memory.slot(self.position + index as u64, self.mask).read() };
            }
            fence(Ordering::Acquire);
            let intent = self.memory.cell(INTENT).load(Ordering::Relaxed);
            assert!(intent - self.position <= self.mask + 1, "the harness lets nobody be overtaken");
            for line in &self.lines.0[..batch] {
                take(&line[1..7]);
            }
            self.position += batch as u64;
        }
        (end - start) as usize
    }
}

/// Sleeps while the word holds `seen`, at most 100 ms.
pub fn futex_wait(word: &AtomicU32, seen: u32) {
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // SAFETY: the word outlives the call and the time-out is on our stack. Every outcome means: look again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &timeout) };
}

/// Wakes whoever sleeps on the word.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: waking reads no memory of ours.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
