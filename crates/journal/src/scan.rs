//! Finds batches in a segment's bytes: the next one where it should be, the next one anywhere behind damage.
//!
//! Used alike by recovery, readers and the check of sealed segments, so that they cannot disagree about what is there.

use crate::DiskFile;
use std::io;
use wire::batch::{BODY_MAX, BatchHeader, HEADER_BYTES, MAGIC};
use zerocopy::{FromBytes, IntoBytes};

/// What is read at once.
const BLOCK: usize = 1 << 20;

/// A view of a file that moves forward: a part of it in memory, aligned so that records can be read in place.
#[derive(Debug)]
pub(crate) struct Window {
    file: Box<dyn DiskFile>,
    buffer: Vec<u64>,
    /// Offset in the file of the buffer's first byte.
    start: u64,
    /// Bytes of the buffer that are filled.
    filled: usize,
}

impl Window {
    pub fn new(file: Box<dyn DiskFile>) -> Window {
        Window { file, buffer: vec![], start: 0, filled: 0 }
    }

    pub fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Forgets what was read, because the file may have changed.
    pub fn forget(&mut self) {
        self.filled = 0;
    }

    /// Makes `[at, at + length)` available, less where `limit` or the file ends first. Nothing behind `limit` is
    /// looked at: it may be half written.
    fn load(&mut self, at: u64, length: usize, limit: u64) -> io::Result<&[u8]> {
        debug_assert!(at.is_multiple_of(8), "batches begin on whole words");
        let length = length.min(usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX));
        let inside = at >= self.start && at + length as u64 <= self.start + self.filled as u64;
        if !inside {
            self.fill(at, length, limit)?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.buffer.as_bytes()[from..(from + length).min(self.filled.max(from))])
    }

    fn fill(&mut self, at: u64, length: usize, limit: u64) -> io::Result<()> {
        let room = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = length.max(BLOCK).min(room);
        let words = wanted.div_ceil(8);
        let kept = match (self.start + self.filled as u64).checked_sub(at) {
            // What is already here of it is moved rather than read again.
            Some(kept) if at >= self.start && kept > 0 => {
                let from = (at - self.start) as usize;
                self.buffer.as_mut_bytes().copy_within(from..self.filled, 0);
                kept as usize
            }
            _ => 0,
        };
        if self.buffer.len() < words {
            self.buffer.resize(words, 0);
        }
        self.start = at;
        self.filled = kept;
        let target = &mut self.buffer.as_mut_bytes()[kept..wanted.max(kept)];
        self.filled += self.file.read_at(target, at + kept as u64)?;
        Ok(())
    }

    /// The body of a batch that [`batch_at`] has just found.
    pub fn body(&self, at: u64, header: &BatchHeader) -> &[u64] {
        let from = (at - self.start) as usize + HEADER_BYTES;
        let bytes = &self.buffer.as_bytes()[from..from + header.length as usize];
        <[u64]>::ref_from_bytes(bytes).expect("batches lie on whole words in the file and so in the buffer")
    }

    /// Over bytes in memory.
    #[cfg(test)]
    pub fn over(bytes: &[u8]) -> Window {
        let mut buffer = vec![0u64; bytes.len().div_ceil(8)];
        buffer.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Window { file: Box::new(NoFile), buffer, start: 0, filled: bytes.len() }
    }

    /// The bytes in memory, to be damaged.
    #[cfg(test)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut_bytes()
    }

    /// Copies bytes out.
    pub fn copy(&mut self, at: u64, length: usize, limit: u64) -> io::Result<Vec<u8>> {
        Ok(self.load(at, length, limit)?.to_vec())
    }
}

/// What is behind a window over memory: nothing more.
#[cfg(test)]
#[derive(Debug)]
struct NoFile;

#[cfg(test)]
impl DiskFile for NoFile {
    fn length(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch whose bytes are as they were written; the next one begins `end` bytes into the file.
    Batch { header: BatchHeader, end: u64 },
    /// Zeros, or the limit: nothing was written here.
    Nothing,
    /// Something else.
    Damage,
}

/// Looks at `at`. Where the batch before is known, so is its checksum, which this one must carry as its `chain`.
pub(crate) fn batch_at(window: &mut Window, at: u64, chain: Option<u32>, limit: u64) -> io::Result<Found> {
    let head = window.load(at, HEADER_BYTES, limit)?;
    if head.iter().all(|b| *b == 0) {
        return Ok(Found::Nothing);
    }
    let Ok(Some(header)) = BatchHeader::read(head) else { return Ok(Found::Damage) };
    let length = HEADER_BYTES + header.length as usize;
    let bytes = window.load(at, length, limit)?;
    if bytes.len() < length
        || header.checksum_of(&bytes[HEADER_BYTES..]) != header.checksum
        || chain.is_some_and(|chain| chain != header.chain)
    {
        return Ok(Found::Damage);
    }
    Ok(Found::Batch { header, end: at + length as u64 })
}

/// The first whole batch after damage at `at`, and where it begins.
///
/// Where the damaged batch's own length leads to a batch that carries its checksum, that one is next for certain, and
/// no bytes inside the damaged body can pose as a batch. Otherwise every word is tried.
pub(crate) fn batch_after(window: &mut Window, at: u64, limit: u64) -> io::Result<Option<(u64, BatchHeader, u64)>> {
    let used = end_of_bytes(window, at, limit)?;
    let head = window.load(at, HEADER_BYTES, limit)?.to_vec();
    if let Ok(Some(claimed)) = BatchHeader::read(&head) {
        let next = at + HEADER_BYTES as u64 + u64::from(claimed.length);
        if let Found::Batch { header, end } = batch_at(window, next, Some(claimed.checksum), limit)? {
            return Ok(Some((next, header, end)));
        }
    }
    let mut place = at + 8;
    while let Some(next) = next_magic(window, place, used)? {
        if let Found::Batch { header, end } = batch_at(window, next, None, limit)? {
            return Ok(Some((next, header, end)));
        }
        place = next + 8;
    }
    Ok(None)
}

/// The next word that begins as a batch does.
fn next_magic(window: &mut Window, mut place: u64, used: u64) -> io::Result<Option<u64>> {
    let magic = MAGIC.to_le_bytes();
    while place < used {
        let bytes = window.load(place, BLOCK, used)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(index) = bytes.chunks(8).position(|word| word.starts_with(&magic)) {
            return Ok(Some(place + index as u64 * 8));
        }
        place += (bytes.len() as u64).next_multiple_of(8);
    }
    Ok(None)
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Where the last byte that is not zero ends, from `at` on; `at` when all are zero.
pub(crate) fn end_of_bytes(window: &mut Window, at: u64, limit: u64) -> io::Result<u64> {
    let (mut place, mut end) = (at, at);
    while place < limit {
        let bytes = window.load(place, ZEROS.len(), limit)?;
        if bytes.is_empty() {
            break;
        }
        // Comparing whole blocks is what makes the untouched rest of a segment cheap to look through.
        if *bytes != ZEROS[..bytes.len()]
            && let Some(last) = bytes.iter().rposition(|b| *b != 0)
        {
            end = place + last as u64 + 1;
        }
        place += (bytes.len() as u64).next_multiple_of(8);
    }
    Ok(end)
}

const _: () = assert!(BODY_MAX < 1 << 30, "a length never overflows an offset");
