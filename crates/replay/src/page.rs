//! Records read ahead from one source, with the moment each is told at.

use model::UnixNanos;
use wire::Envelope;

/// Place of the receive time in every record.
const RECEIVED: usize = 2;

/// A record on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// When it is told: when it was received, but never before the record before it.
    pub time: UnixNanos,
    /// Its name; sequence 0 for what no feed numbered.
    pub at: Envelope,
    begin: usize,
    end: usize,
}

/// Records in the order of their source.
#[derive(Debug, Default)]
pub struct Page {
    words: Vec<u64>,
    rows: Vec<Row>,
    time: UnixNanos,
}

impl Page {
    /// An empty page.
    pub fn new() -> Page {
        Page::default()
    }

    /// Appends a record under its name. It is told at its receive time, or with the record before it where that was
    /// received later (a snapshot that is repeated names the time of its last change).
    #[inline]
    pub fn push(&mut self, at: Envelope, words: &[u64]) {
        self.time = self.time.max(UnixNanos(words.get(RECEIVED).copied().unwrap_or(0)));
        let begin = self.words.len();
        self.words.extend_from_slice(words);
        self.rows.push(Row { time: self.time, at, begin, end: self.words.len() });
    }

    /// When the next record would be told if it were received long ago.
    pub fn time(&self) -> UnixNanos {
        self.time
    }

    /// Words on it.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn words(&self, row: &Row) -> &[u64] {
        &self.words[row.begin..row.end]
    }

    /// Forgets the first `count` rows.
    pub(crate) fn forget(&mut self, count: usize) {
        if count == self.rows.len() {
            self.rows.clear();
            self.words.clear();
            return;
        }
        let Some(first) = self.rows.get(count).map(|row| row.begin) else { return };
        self.rows.drain(..count);
        self.words.drain(..first);
        for row in &mut self.rows {
            row.begin -= first;
            row.end -= first;
        }
    }

    /// Begins anew, as for another time.
    pub(crate) fn restart(&mut self) {
        *self =
            Page { words: std::mem::take(&mut self.words), rows: std::mem::take(&mut self.rows), ..Page::default() };
        self.words.clear();
        self.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_never_step_back_and_what_is_forgotten_moves_the_rest() {
        let mut page = Page::new();
        let at = |sequence| Envelope { epoch: 1, sequence };
        for (n, received) in [5u64, 3, 9].into_iter().enumerate() {
            page.push(at(n as u64 + 1), &[3 << 8, 0, received]);
        }
        assert_eq!(page.rows().iter().map(|row| row.time.0).collect::<Vec<_>>(), [5, 5, 9]);
        page.forget(2);
        assert_eq!((page.rows().len(), page.words(&page.rows()[0])[2], page.len()), (1, 9, 3));
        page.forget(1);
        assert!(page.is_empty());
    }
}
