//! The frames written and not yet read by everybody: one run of bytes and where each frame lies in it.
//!
//! Invariants: entries lie in the bytes in order; `first` is the sequence of the oldest entry kept. Bounded: what a
//! reader has not taken when the bound is reached is gone for it, and it is told so.

use super::TopicId;

/// Most bytes kept for slow readers. At 100,000 frames a second this is about a second.
const BYTES_MAX: usize = 32 << 20;
/// Spent bytes are moved out once they are this many and half of all.
const SPENT_BYTES_MIN: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) topic: TopicId,
    start: usize,
    end: usize,
}

/// A reader fell so far behind that frames it never saw are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lapped;

#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries before this index are spent.
    spent: usize,
    /// Sequence of `entries[0]`.
    first: u64,
    /// Added to the topics of frames that are committed.
    shift: TopicId,
}

impl Log {
    /// The buffer to write a frame into; [`Log::commit`] makes what was appended a frame.
    #[inline]
    pub(crate) fn pen(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes the bytes appended since the last frame a frame of `topic`.
    #[inline]
    pub(crate) fn commit(&mut self, topic: TopicId) {
        let start = self.entries.last().map_or(0, |entry| entry.end);
        self.entries.push(Entry { topic: topic + self.shift, start, end: self.bytes.len() });
    }

    /// Lets somebody write whose first topic is not the market's first but its `first`.
    pub(crate) fn shifted<T>(&mut self, first: usize, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.shift, first as TopicId);
        let result = write(self);
        self.shift = before;
        result
    }

    /// Appends a whole frame.
    pub(crate) fn push(&mut self, topic: TopicId, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.commit(topic);
    }

    /// The sequence the next frame will have.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Frames not yet spent.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.spent
    }

    /// Bytes not yet spent.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.bytes.len() - self.entries.get(self.spent).map_or(self.bytes.len(), |entry| entry.start)
    }

    /// The frames from `cursor` on.
    pub(crate) fn from(&self, cursor: u64) -> Result<impl Iterator<Item = (TopicId, &[u8])>, Lapped> {
        let at = cursor.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()).ok_or(Lapped)?;
        if at < self.spent {
            return Err(Lapped);
        }
        let rest = self.entries.get(at..).unwrap_or_default();
        Ok(rest.iter().map(|entry| (entry.topic, &self.bytes[entry.start..entry.end])))
    }

    /// Takes the frames from `cursor` on out again, as `(topic, frame)`: the last word on them is not spoken yet.
    pub(crate) fn split_off(&mut self, cursor: u64) -> Vec<(TopicId, Vec<u8>)> {
        let taken = match self.from(cursor) {
            Ok(frames) => frames.map(|(topic, frame)| (topic, frame.to_vec())).collect(),
            Err(Lapped) => Vec::new(),
        };
        self.entries.truncate(self.entries.len() - taken.len());
        self.bytes.truncate(self.entries.last().map_or(0, |entry| entry.end));
        taken
    }

    /// Everything before `cursor` was read by all; drops it when that is worth the move, and the oldest frames when
    /// too much waits.
    pub(crate) fn release(&mut self, cursor: u64) {
        let read = usize::try_from(cursor.saturating_sub(self.first)).unwrap_or(0);
        self.spent = self.spent.max(read.min(self.entries.len()));
        if self.spent == self.entries.len() {
            self.first += self.spent as u64;
            self.spent = 0;
            self.entries.clear();
            return self.bytes.clear();
        }
        if self.bytes.len() > BYTES_MAX {
            let half = self.entries.partition_point(|entry| entry.end < BYTES_MAX / 2);
            self.spent = self.spent.max(half);
        }
        let spent_bytes = self.entries[self.spent].start;
        if spent_bytes >= SPENT_BYTES_MIN && spent_bytes * 2 >= self.bytes.len() || self.bytes.len() > BYTES_MAX {
            self.bytes.drain(..spent_bytes);
            self.entries.drain(..self.spent);
            self.first += self.spent as u64;
            self.spent = 0;
            for entry in &mut self.entries {
                entry.start -= spent_bytes;
                entry.end -= spent_bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &Log, cursor: u64) -> Result<String, Lapped> {
        Ok(log.from(cursor)?.map(|(topic, frame)| format!("{topic}{} ", String::from_utf8_lossy(frame))).collect())
    }

    #[test]
    fn readers_see_what_follows_their_cursor() {
        let mut log = Log::default();
        log.push(1, b"a");
        log.push(2, b"bb");
        assert_eq!(
            (read(&log, 0), read(&log, 1), read(&log, 2)),
            (Ok("1a 2bb ".into()), Ok("2bb ".into()), Ok("".into()))
        );
        log.release(1);
        assert_eq!((read(&log, 0), read(&log, 1)), (Err(Lapped), Ok("2bb ".into())));
        log.release(2);
        log.push(3, b"c");
        assert_eq!((read(&log, 2), log.head(), log.backlog_bytes()), (Ok("3c ".into()), 3, 1));
        assert_eq!(log.split_off(2), vec![(3, b"c".to_vec())]);
        assert_eq!((log.head(), log.backlog_bytes()), (2, 0));
    }

    #[test]
    fn a_reader_that_stands_still_is_lapped_and_memory_stays_bounded() {
        let mut log = Log::default();
        let frame = vec![b'x'; 1 << 20];
        for _ in 0..200 {
            log.push(0, &frame);
            log.release(0);
            assert!(log.bytes.len() <= BYTES_MAX + frame.len());
        }
        assert_eq!(read(&log, 0), Err(Lapped));
        assert!(read(&log, log.head() - 1).is_ok());
    }
}
