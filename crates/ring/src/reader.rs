//! The public reader: a read-only mapping and a place in it. It costs the writer nothing and owns nothing there.

use crate::attach::From;
use crate::cursor::{Cursor, Entry, Poll};
use crate::directory::{Directory, check_name};
use crate::epochs::{Epoch, EpochTable, Lost, Point};
use crate::error::RingError;
use crate::file::{Access, RingMap, SharedMap, file_name};
use crate::layout::Memory;
use crate::sync::Ordering;

/// One reader of one ring.
pub struct Reader {
    cursor: Cursor<SharedMap>,
    name: String,
}

impl Reader {
    /// Maps the ring `name` and stands at its oldest record.
    pub fn open(directory: &Directory, name: &str) -> Result<Reader, RingError> {
        check_name(name)?;
        let folder = directory.folder();
        let Some(file) = folder.open_file(&file_name(name), libc::O_RDONLY)? else {
            return Err(RingError::NotFound { path: folder.path_of(&file_name(name)) });
        };
        let slots = RingMap::check(folder, name, &file)?;
        let map = RingMap::map(folder, name, file, slots, Access::Read)?;
        Ok(Reader::from_cursor(Cursor::new(SharedMap::new(map))?, name))
    }

    pub(crate) fn from_cursor(cursor: Cursor<SharedMap>, name: &str) -> Reader {
        Reader { cursor, name: name.to_owned() }
    }

    /// A second reader of the same mapping, standing where this one stands. Costs no mapping of its own.
    pub fn fork(&self) -> Reader {
        Reader { cursor: self.cursor.fork(), name: self.name.clone() }
    }

    /// Moves to where `other` stands, without a look at the ring: for readers that were handed what `other` read.
    /// False, and nothing moved, when `other` reads another mapping.
    #[inline]
    pub fn stand_with(&mut self, other: &Reader) -> bool {
        let same = self.cursor.memory.is_same(&other.cursor.memory);
        if same {
            self.cursor.stand_with(&other.cursor);
        }
        same
    }

    /// After [`Poll::Retired`]: maps the successor and goes on behind the last record handed out. What the change
    /// cost is the next poll's first answer.
    pub fn reopen(&mut self, directory: &Directory) -> Result<(), RingError> {
        let Point { epoch, sequence } = self.cursor.next;
        let mut successor = Reader::open(directory, &self.name)?;
        successor.attach(From::Sequence { epoch, sequence })?;
        *self = successor;
        Ok(())
    }

    /// Moves to `from`. Losses this implies are the next poll's first answer.
    pub fn attach(&mut self, from: From) -> Result<(), RingError> {
        self.cursor.attach(from)
    }

    /// Hands the records of up to `max_slots` slots (at least one record, if there is one) to `f`, in order. The
    /// words belong to a private copy that the writer cannot touch; they are valid during the call. Allocates
    /// nothing unless records were lost. After an error it stands before what could not be read; records handed out
    /// before that count, and attaching moves on.
    #[inline]
    pub fn poll<F: FnMut(Entry, &[u64])>(&mut self, max_slots: usize, f: F) -> Result<Poll, RingError> {
        self.cursor.poll(max_slots, f)
    }

    /// Whether a poll would find anything: the second look between [`crate::Doorbell::arm`] and
    /// [`crate::Doorbell::wait`].
    #[inline]
    pub fn has_news(&self) -> bool {
        self.cursor.has_news()
    }

    /// Moves to a record's position as an [`Entry`] gave it, or to the tail; refused when no longer held.
    pub fn seek(&mut self, position: u64) -> Result<(), RingError> {
        self.cursor.seek(position)
    }

    /// Jumps to the tail and names what was left out.
    pub fn skip(&mut self) -> Result<Vec<Lost>, RingError> {
        self.cursor.skip()
    }

    /// The record expected next.
    #[inline]
    pub fn next(&self) -> Point {
        self.cursor.next
    }

    /// Slot position of the record expected next.
    #[inline]
    pub fn position(&self) -> u64 {
        self.cursor.position
    }

    /// Slot position behind the newest record.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.cursor.memory.header().published.tail.load(Ordering::Acquire)
    }

    /// Slots published and not yet read.
    #[inline]
    pub fn lag(&self) -> u64 {
        self.tail().saturating_sub(self.cursor.position)
    }

    /// When the newest record was published, ns since the Unix epoch by the writer's clock; 0 before the first.
    #[inline]
    pub fn published_at(&self) -> u64 {
        self.cursor.memory.header().published.at_ns.load(Ordering::Relaxed)
    }

    /// Capacity in slots.
    pub fn capacity(&self) -> u64 {
        self.cursor.capacity
    }

    /// The ring's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The writer's process id; `None` when the last writer ended in good order.
    pub fn writer_pid(&self) -> Option<u64> {
        Some(self.cursor.memory.header().ownership.writer_pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// What the ring repeats, as its [`crate::Mirror`] named it; `None` where the writer numbers its records itself.
    pub fn origin(&self) -> Option<u64> {
        Some(self.cursor.memory.header().ownership.origin.load(Ordering::Relaxed)).filter(|origin| *origin != 0)
    }

    /// The runs the ring remembers, oldest first, up to 16.
    pub fn epochs(&self) -> Result<Vec<Epoch>, RingError> {
        Ok(EpochTable::read(&self.cursor.memory)?.all().to_vec())
    }

    /// Whether the ring's name still leads to the file this reader maps. A file removed by hand is never retired;
    /// look now and then, and open again when this turns false.
    pub fn is_current(&self, directory: &Directory) -> Result<bool, RingError> {
        directory.folder().is_at(&file_name(&self.name), self.cursor.memory.file())
    }
}
