//! The content of a capture file in pieces, plain or compressed. Compressed ones are unpacked by a thread of their own,
//! a few pieces ahead: whoever reads them has other work.

use crate::{CaptureError, format::u32_at};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

/// Bytes read in one go.
const READ: usize = 1 << 20;
/// Pieces unpacked ahead.
const AHEAD: usize = 4;

/// The last four bytes of a file with a seek table, and the first four of the table: zstd's seekable format.
pub(crate) const TABLE_END: u32 = 0x8F92_EAB1;
pub(crate) const TABLE_BEGIN: u32 = 0x184D_2A5E;
/// Bytes of the table's end: the number of frames, what the table holds, the magic number.
pub(crate) const TABLE_FOOT: usize = 9;

/// A zstd frame of a compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it begins in the file.
    pub at: u64,
    /// Its bytes there.
    pub packed: u32,
    /// Where its content begins.
    pub offset: u64,
    /// The bytes of its content.
    pub unpacked: u32,
}

/// Where content comes from.
pub(crate) enum Source {
    Plain(File),
    Packed(Unpack),
}

impl Source {
    /// Appends what comes next; 0 at the end.
    pub fn fill(&mut self, path: &Path, to: &mut Vec<u8>) -> Result<usize, CaptureError> {
        match self {
            Source::Plain(file) => {
                let before = to.len();
                to.resize(before + READ, 0);
                let read = loop {
                    match file.read(&mut to[before..]) {
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        other => break other,
                    }
                };
                let read = read.map_err(CaptureError::io(path));
                to.truncate(before + read.as_ref().map_or(0, |n| *n));
                read
            }
            Source::Packed(unpack) => unpack.fill(to),
        }
    }
}

/// The thread that unpacks, from here.
pub(crate) struct Unpack {
    pieces: Receiver<Result<Vec<u8>, CaptureError>>,
    spare: SyncSender<Vec<u8>>,
}

impl Unpack {
    /// Begins at a frame; without a table at the beginning.
    pub fn begin(path: &Path, frames: Vec<Frame>, first: usize) -> Result<Unpack, CaptureError> {
        let file = File::open(path).map_err(CaptureError::io(path))?;
        let (give, pieces) = sync_channel(AHEAD);
        let (spare, spares) = sync_channel(AHEAD + 1);
        let owned = path.to_owned();
        let work = move || {
            let unpacked = match frames.is_empty() {
                true => stream(&owned, file, &give),
                false => each(&owned, &file, &frames[first..], &give, &spares),
            };
            if let Err(e) = unpacked {
                // A reader that has gone wants no error either.
                let _ = give.send(Err(e));
            }
        };
        std::thread::Builder::new().name("capture-unpack".to_owned()).spawn(work).map_err(CaptureError::io(path))?;
        Ok(Unpack { pieces, spare })
    }

    fn fill(&mut self, to: &mut Vec<u8>) -> Result<usize, CaptureError> {
        let Ok(piece) = self.pieces.recv() else { return Ok(0) };
        let mut piece = piece?;
        let read = piece.len();
        if to.is_empty() {
            // Pieces hold whole entries, so this is the rule: nothing is copied.
            std::mem::swap(to, &mut piece);
        } else {
            to.extend_from_slice(&piece);
        }
        // The thread has enough spare ones.
        let _ = self.spare.try_send(piece);
        Ok(read)
    }
}

type Give = SyncSender<Result<Vec<u8>, CaptureError>>;

fn each(
    path: &Path,
    file: &File,
    frames: &[Frame],
    give: &Give,
    spares: &Receiver<Vec<u8>>,
) -> Result<(), CaptureError> {
    let mut unpacker = zstd::bulk::Decompressor::new().map_err(CaptureError::io(path))?;
    let mut packed = vec![];
    for frame in frames {
        let mut piece = spares.try_recv().unwrap_or_default();
        unpack(path, file, frame, &mut unpacker, &mut packed, &mut piece)?;
        if give.send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn unpack(
    path: &Path,
    file: &File,
    frame: &Frame,
    unpacker: &mut zstd::bulk::Decompressor<'_>,
    packed: &mut Vec<u8>,
    piece: &mut Vec<u8>,
) -> Result<(), CaptureError> {
    packed.resize(frame.packed as usize, 0);
    file.read_exact_at(packed, frame.at).map_err(CaptureError::io(path))?;
    piece.clear();
    piece.reserve(frame.unpacked as usize);
    let unpacked = unpacker.decompress_to_buffer(&packed[..], piece);
    if unpacked.is_ok_and(|n| n == frame.unpacked as usize) {
        return Ok(());
    }
    let problem = "a zstd frame cannot be unpacked to what the seek table says";
    Err(CaptureError::Damaged { path: path.to_owned(), offset: frame.offset, problem })
}

/// A file somebody else compressed, or one whose table is gone.
fn stream(path: &Path, file: File, give: &Give) -> Result<(), CaptureError> {
    let mut unpacker = zstd::stream::read::Decoder::new(file).map_err(CaptureError::io(path))?;
    loop {
        let mut piece = Vec::with_capacity(READ);
        let read = unpacker.by_ref().take(READ as u64).read_to_end(&mut piece).map_err(CaptureError::io(path))?;
        if read == 0 || give.send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
}

/// The frames of a compressed file by its seek table; `None` where it has none.
pub(crate) fn table(path: &Path, file: &File) -> Result<Option<Vec<Frame>>, CaptureError> {
    let failed = || CaptureError::io(path);
    let length = file.metadata().map_err(failed())?.len();
    let mut foot = [0; TABLE_FOOT];
    let Some(foot_at) = length.checked_sub(TABLE_FOOT as u64) else { return Ok(None) };
    file.read_exact_at(&mut foot, foot_at).map_err(failed())?;
    if u32_at(&foot, 5) != TABLE_END {
        return Ok(None);
    }
    // Bit 7: each row has a checksum of four bytes more.
    let (count, row) = (u64::from(u32_at(&foot, 0)), if foot[4] & 0x80 == 0 { 8 } else { 12 });
    let Some(begin) = foot_at.checked_sub(count * row + 8) else { return Ok(None) };
    let mut rows = vec![0; (count * row + 8) as usize];
    file.read_exact_at(&mut rows, begin).map_err(failed())?;
    let size = count * row + TABLE_FOOT as u64;
    if u32_at(&rows, 0) != TABLE_BEGIN || u64::from(u32_at(&rows, 4)) != size {
        return Ok(None);
    }
    let (mut at, mut offset) = (0u64, 0u64);
    let frames: Vec<Frame> = rows[8..]
        .chunks_exact(row as usize)
        .map(|row| {
            let frame = Frame { at, packed: u32_at(row, 0), offset, unpacked: u32_at(row, 4) };
            at += u64::from(frame.packed);
            offset += u64::from(frame.unpacked);
            frame
        })
        .collect();
    // A table that does not add up is none: the content still speaks for itself.
    Ok((at == begin && !frames.is_empty()).then_some(frames))
}

/// Unpacks one frame, for a look at its beginning.
pub(crate) fn peek(path: &PathBuf, file: &File, frame: &Frame) -> Result<Vec<u8>, CaptureError> {
    let mut unpacker = zstd::bulk::Decompressor::new().map_err(CaptureError::io(path))?;
    let mut piece = vec![];
    unpack(path, file, frame, &mut unpacker, &mut vec![], &mut piece)?;
    Ok(piece)
}
