//! Reads captures back: entry by entry, over files in order, plain or compressed, with what is damaged named and
//! nothing behind it hidden.

use crate::{
    CaptureError,
    format::{Direction, ENTRY_HEAD, EntryHead, FILE_HEAD, FileHead, Kind, is_sound},
    names::{self, HOUR_NS, PACKED},
    source::{self, Frame, Source, Unpack},
};
use model::UnixNanos;
use std::{
    collections::VecDeque,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// How far an entry's number may be ahead behind damage for the entry to be believed.
const NUMBERS_AHEAD: u32 = 1 << 24;

/// An entry as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its head.
    pub head: EntryHead,
    /// Where its head begins in the file's content, bytes.
    pub offset: u64,
    /// Its body.
    pub body: &'a [u8],
}

/// Bytes of a file that are no entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where they begin in its content.
    pub from: u64,
    /// Where they end.
    pub to: u64,
    /// Whether the file ends with them: a writer was killed, or the file was cut.
    pub cut: bool,
}

/// What a reader comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A sound entry.
    Entry(Entry<'a>),
    /// Something that is none.
    Damaged(Damage),
}

/// What a reader came to; the body of an entry is lent by [`Reader::body`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Entry(EntryHead, u64),
    Damaged(Damage),
}

/// Whether a file is a capture, plain or compressed; `false` where it cannot be read.
pub fn is_capture(path: &Path) -> bool {
    FileReader::open(path).is_ok()
}

/// One file's entries.
pub(crate) struct FileReader {
    path: PathBuf,
    head: FileHead,
    source: Source,
    buffer: Vec<u8>,
    /// Where in the buffer the next entry begins, and where that is in the content.
    at: usize,
    offset: u64,
    /// Bytes of the entry that was read last.
    last: usize,
    /// The number the next entry should have.
    number: u32,
    frames: Vec<Frame>,
}

impl FileReader {
    pub fn open(path: &Path) -> Result<FileReader, CaptureError> {
        let packed = path.to_str().is_some_and(|p| p.ends_with(PACKED) || p.ends_with(".zst"));
        let file = File::open(path).map_err(CaptureError::io(path))?;
        let mut frames = vec![];
        let source = if packed {
            frames = source::table(path, &file)?.unwrap_or_default();
            Source::Packed(Unpack::begin(path, frames.clone(), 0)?)
        } else {
            Source::Plain(file)
        };
        let head = FileHead { venue: model::Venue::Coinbase, created: UnixNanos::ZERO, run: 0 };
        let mut reader = FileReader {
            path: path.to_owned(),
            head,
            source,
            buffer: vec![],
            at: 0,
            offset: 0,
            last: 0,
            number: 0,
            frames,
        };
        reader.have(FILE_HEAD)?;
        let damaged = |problem| CaptureError::Damaged { path: path.to_owned(), offset: 0, problem };
        let head = reader.buffer.first_chunk().ok_or_else(|| damaged("is no capture: it is shorter than a head"))?;
        reader.head = FileHead::read(head).map_err(damaged)?;
        (reader.at, reader.offset) = (FILE_HEAD, FILE_HEAD as u64);
        Ok(reader)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn head(&self) -> FileHead {
        self.head
    }

    /// Sees that so many bytes are there from `at` on; `false` when the content ends before.
    fn have(&mut self, bytes: usize) -> Result<bool, CaptureError> {
        while self.buffer.len() - self.at < bytes {
            self.buffer.drain(..self.at);
            self.at = 0;
            if self.source.fill(&self.path, &mut self.buffer)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        self.offset += bytes as u64;
    }

    /// The next entry or damage; `None` at the end.
    pub fn advance(&mut self) -> Result<Option<Found>, CaptureError> {
        let last = std::mem::take(&mut self.last);
        self.skip(last);
        if !self.have(1)? {
            return Ok(None);
        }
        if let Some(head) = self.sound()? {
            return Ok(Some(self.take(head)));
        }
        let from = self.offset;
        let cut = loop {
            self.skip(1);
            if !self.have(ENTRY_HEAD)? {
                let rest = self.buffer.len() - self.at;
                self.skip(rest);
                break true;
            }
            if self.plausible().is_some() && self.sound()?.is_some() {
                break false;
            }
        };
        Ok(Some(Found::Damaged(Damage { path: self.path.clone(), from, to: self.offset, cut })))
    }

    fn take(&mut self, head: EntryHead) -> Found {
        self.last = head.size();
        self.number = head.number.wrapping_add(1);
        Found::Entry(head, self.offset)
    }

    /// The entry that begins here, if one does.
    #[inline]
    fn sound(&mut self) -> Result<Option<EntryHead>, CaptureError> {
        if !self.have(ENTRY_HEAD)? {
            return Ok(None);
        }
        let Some(head) = self.buffer[self.at..].first_chunk().and_then(EntryHead::read) else { return Ok(None) };
        if !self.have(head.size())? {
            return Ok(None);
        }
        Ok(is_sound(&self.buffer[self.at..self.at + head.size()]).then_some(head))
    }

    /// Whether an entry may begin here: the cheap questions, asked of every byte behind damage.
    fn plausible(&self) -> Option<EntryHead> {
        let head = self.buffer[self.at..].first_chunk().and_then(EntryHead::read)?;
        let fits = head.time.0 / HOUR_NS <= self.head.created.0 / HOUR_NS;
        (fits && head.number.wrapping_sub(self.number) < NUMBERS_AHEAD).then_some(head)
    }

    /// The body of the entry that was read last.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.at + ENTRY_HEAD.min(self.last)..self.at + self.last]
    }

    /// Where the content goes on, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset + self.last as u64
    }

    /// Goes on at the last zstd frame that begins before a time; nothing in a plain file, which is read through.
    pub fn seek(&mut self, time: UnixNanos) -> Result<(), CaptureError> {
        if self.frames.len() < 2 {
            return Ok(());
        }
        let file = File::open(&self.path).map_err(CaptureError::io(&self.path))?;
        // The first frame begins with the file's head, and is where to begin when nothing else is.
        let (mut low, mut high) = (0, self.frames.len() - 1);
        while low < high {
            let middle = (low + high).div_ceil(2);
            let piece = source::peek(&self.path, &file, &self.frames[middle])?;
            let begins = piece.first_chunk().and_then(EntryHead::read).map(|head| head.time);
            match begins {
                Some(begins) if begins < time => low = middle,
                _ => high = middle - 1,
            }
        }
        if low == 0 {
            return Ok(());
        }
        self.source = Source::Packed(Unpack::begin(&self.path, self.frames.clone(), low)?);
        self.buffer.clear();
        (self.at, self.last, self.offset) = (0, 0, self.frames[low].offset);
        Ok(())
    }
}

/// The entries of one capture file or several, in order.
pub struct Reader {
    files: VecDeque<PathBuf>,
    file: Option<FileReader>,
    from: UnixNanos,
    until: UnixNanos,
}

impl Reader {
    /// The entries of a file, plain or compressed, or of all files of a venue's folder.
    pub fn open(path: &Path) -> Result<Reader, CaptureError> {
        if !path.is_dir() {
            return Reader::of_files(vec![path.to_owned()]);
        }
        let files = names::files(path)?;
        if files.is_empty() {
            return Err(CaptureError::Empty { path: path.to_owned() });
        }
        Reader::of_files(files)
    }

    /// The entries of these files, in this order. The first one is opened at once, so that a wrong name is told.
    pub fn of_files(files: Vec<PathBuf>) -> Result<Reader, CaptureError> {
        let mut files = VecDeque::from(files);
        let file = files.pop_front().map(|path| FileReader::open(&path)).transpose()?;
        Ok(Reader { files, file, from: UnixNanos::ZERO, until: UnixNanos(u64::MAX) })
    }

    /// Only entries from a time on and before another. Compressed files are not read from their beginning for it.
    pub fn within(mut self, from: UnixNanos, until: UnixNanos) -> Result<Reader, CaptureError> {
        (self.from, self.until) = (from, until);
        let early = |path: &PathBuf| names::place(path).is_some_and(|p| p.begins().0.saturating_add(HOUR_NS) <= from.0);
        self.files.retain(|path| !early(path));
        if let Some(file) = &mut self.file {
            file.seek(from)?;
        }
        Ok(self)
    }

    /// The file that is being read.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(FileReader::path)
    }

    /// The next entry or damage; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "it lends what it returns, and an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, CaptureError> {
        Ok(match self.advance()? {
            None => None,
            Some(Found::Damaged(damage)) => Some(Item::Damaged(damage)),
            Some(Found::Entry(head, offset)) => Some(Item::Entry(Entry { head, offset, body: self.body() })),
        })
    }

    /// The same without the body, which [`Reader::body`] lends.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<Option<Found>, CaptureError> {
        loop {
            let Some(file) = &mut self.file else { return Ok(None) };
            match file.advance()? {
                Some(Found::Entry(head, _)) if head.time < self.from || head.time >= self.until => {}
                Some(found) => return Ok(Some(found)),
                None => {
                    self.file = match self.files.pop_front() {
                        Some(path) => {
                            let mut file = FileReader::open(&path)?;
                            file.seek(self.from)?;
                            Some(file)
                        }
                        None => None,
                    };
                }
            }
        }
    }

    /// The body of the entry that was read last.
    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        self.file.as_ref().map_or(&[], FileReader::body)
    }
}

/// Copies the content of a file, unpacked, byte for byte.
pub fn unpack(path: &Path, to: &mut impl std::io::Write) -> Result<u64, CaptureError> {
    let file = File::open(path).map_err(CaptureError::io(path))?;
    let mut from: Box<dyn Read> = if path.extension().is_some_and(|e| e == "zst") {
        Box::new(zstd::stream::read::Decoder::new(file).map_err(CaptureError::io(path))?)
    } else {
        Box::new(file)
    };
    std::io::copy(&mut from, to).map_err(CaptureError::io(path))
}

impl Entry<'_> {
    /// Whether a session steps it.
    pub fn is_input(&self) -> bool {
        is_input(&self.head)
    }
}

/// Whether an entry with this head is stepped: frames we sent are none of a session's inputs.
#[inline]
pub(crate) fn is_input(head: &EntryHead) -> bool {
    head.kind.is_input() && head.direction != Direction::Out
}

/// The run a file is of, by its first entry; `None` where that is damaged.
pub fn run_of(path: &Path) -> Result<Option<crate::Run>, CaptureError> {
    let mut file = FileReader::open(path)?;
    match file.advance()? {
        Some(Found::Entry(head, _)) if head.kind == Kind::Run => Ok(serde_json::from_slice(file.body()).ok()),
        _ => Ok(None),
    }
}
