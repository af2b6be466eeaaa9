//! A growable run of records: what a venue machine writes and a sequencer reads.

use crate::{Header, Record, RecordError, TradeRecord};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Records one behind the other, as words. Cleared and filled again without allocating.
#[derive(Debug, Default, Clone)]
pub struct RecordBuf {
    words: Vec<u64>,
    count: usize,
}

impl RecordBuf {
    /// An empty buffer with room for `words` words.
    pub fn with_capacity(words: usize) -> RecordBuf {
        RecordBuf { words: Vec::with_capacity(words), count: 0 }
    }

    /// Appends a record of fixed layout. Its header's length must be the layout's.
    #[inline]
    pub fn push<R: IntoBytes + Immutable + KnownLayout>(&mut self, record: &R) {
        let words = words_of(record);
        debug_assert_eq!(Header::read(words).map(Header::words), Ok(words.len()));
        self.words.extend_from_slice(words);
        self.count += 1;
    }

    /// Appends a trade: the hot path's own door.
    #[inline]
    pub fn push_trade(&mut self, record: &TradeRecord) {
        self.push(record);
    }

    /// Appends a record that is already words.
    pub fn push_words(&mut self, words: &[u64]) -> Result<(), RecordError> {
        let n = Header::read(words)?.words();
        self.words.extend_from_slice(&words[..n]);
        self.count += 1;
        Ok(())
    }

    /// Appends a record of zeros, to be written in place.
    #[inline]
    pub(crate) fn push_zeros(&mut self, words: usize) -> &mut [u64] {
        let begin = self.words.len();
        self.words.resize(begin + words, 0);
        self.count += 1;
        &mut self.words[begin..]
    }

    /// The records in order, each as its words.
    pub fn iter(&self) -> Records<'_> {
        Records { words: &self.words }
    }

    /// The records, checked and viewed in place.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, RecordError>> {
        self.iter().map(Record::read)
    }

    /// How many records there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All records as one run of words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Where the next record will begin, in words: a mark for [`RecordBuf::truncate`] and [`RecordBuf::set_header`].
    #[inline]
    pub fn mark(&self) -> (usize, usize) {
        (self.words.len(), self.count)
    }

    /// Takes back everything pushed since `mark`.
    pub fn truncate(&mut self, mark: (usize, usize)) {
        self.words.truncate(mark.0);
        self.count = mark.1;
    }

    /// Replaces the header of the record that begins at word `at`.
    #[inline]
    pub fn set_header(&mut self, at: usize, header: Header) {
        debug_assert_eq!(Header::read(&self.words[at..]).map(Header::words), Ok(header.words()));
        self.words[at] = zerocopy::transmute!(header);
    }

    /// Forgets the records, keeps the room.
    #[inline]
    pub fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }
}

impl<'a> IntoIterator for &'a RecordBuf {
    type Item = &'a [u64];
    type IntoIter = Records<'a>;
    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Iterates over the records of a run of words.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    words: &'a [u64],
}

impl<'a> Records<'a> {
    /// The records of `words`, which end where a header is not whole.
    pub fn new(words: &'a [u64]) -> Records<'a> {
        Records { words }
    }

    /// The words not yet iterated; empty when every record was whole.
    pub fn rest(&self) -> &'a [u64] {
        self.words
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u64];
    #[inline]
    fn next(&mut self) -> Option<&'a [u64]> {
        let n = Header::read(self.words).ok()?.words();
        let (record, rest) = self.words.split_at(n);
        self.words = rest;
        Some(record)
    }
}

/// The words of a record of fixed layout.
#[inline]
pub(crate) fn words_of<R: IntoBytes + Immutable>(record: &R) -> &[u64] {
    const { assert!(align_of::<R>() == 8 && size_of::<R>().is_multiple_of(8)) };
    <[u64]>::ref_from_bytes(record.as_bytes()).expect("size and alignment are asserted above")
}
