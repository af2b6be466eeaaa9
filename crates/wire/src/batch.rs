//! The envelope of records on a socket and in the journal: a 64-byte header, then the records back to back.

use crate::{Envelope, WIRE_VERSION};
use model::Venue;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks the start of a batch: "AP".
pub const MAGIC: u16 = u16::from_le_bytes(*b"AP");

/// The most bytes a batch's body may have.
pub const BODY_MAX: usize = 4 << 20;

/// The records' sequences are told one by one: a list of `count` 32-bit distances from `first`, padded to a word,
/// stands before the records. Set where a filter leaves holes.
pub const SEQUENCES_LISTED: u8 = 1;
/// The records have no sequence of a feed: the transport made them (overruns).
pub const OUT_OF_BAND: u8 = 2;
/// The records lie before the point of joining: definitions and books a late joiner needs.
pub const CATCH_UP: u8 = 4;
/// The last batch of the connection: the subscriber was too slow and asked to be dropped then.
pub const FINAL: u8 = 8;

/// 64 bytes before every run of records of one venue and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BatchHeader {
    /// [`MAGIC`].
    pub magic: u16,
    /// [`WIRE_VERSION`].
    pub version: u8,
    /// The venue's code; 0 for none.
    pub venue: u8,
    /// [`SEQUENCES_LISTED`], [`OUT_OF_BAND`], [`CATCH_UP`], [`FINAL`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Bytes of the body.
    pub length: u32,
    /// Records in the body.
    pub count: u32,
    /// The run of the feed.
    pub epoch: u64,
    /// Sequence of the first record.
    pub first: u64,
    /// First sequence looked at: with `scan_last` it tells a filter from a loss.
    pub scan_first: u64,
    /// Last sequence looked at; `scan_first - 1` when none was.
    pub scan_last: u64,
    /// When the batch was published, ns since the Unix epoch, UTC.
    pub published: u64,
    /// CRC32C of the header with this field zero, then the body.
    pub checksum: u32,
    /// In the journal the checksum of the batch before; zero on sockets.
    pub chain: u32,
}
assert_layout!(
    BatchHeader, 64, align 8, magic @ 0, version @ 2, venue @ 3, flags @ 4, reserved @ 5, length @ 8, count @ 12,
    epoch @ 16, first @ 24, scan_first @ 32, scan_last @ 40, published @ 48, checksum @ 56, chain @ 60,
);

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = size_of::<BatchHeader>();

/// Why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Does not begin like a batch.
    #[error("no batch here: the magic is {0:#06x}")]
    Magic(u16),
    /// Another version.
    #[error("batch of wire version {0}, this build reads {WIRE_VERSION}")]
    Version(u8),
    /// A body no sender makes.
    #[error("batch body of {0} bytes, at most {BODY_MAX} in whole words are allowed")]
    Length(u32),
    /// The bytes changed on the way.
    #[error("batch checksum {theirs:#010x}, ours {ours:#010x}")]
    Checksum {
        /// What we compute.
        ours: u32,
        /// What the header says.
        theirs: u32,
    },
    /// The body does not hold what the header says.
    #[error("batch of {expected} records holds {found} whole ones")]
    Count {
        /// What the header says.
        expected: u32,
        /// What is there.
        found: u32,
    },
}

impl BatchHeader {
    /// Reads a header from the start of `bytes`; `None` while it is not whole.
    pub fn read(bytes: &[u8]) -> Result<Option<BatchHeader>, BatchError> {
        let Ok((header, _)) = BatchHeader::read_from_prefix(bytes) else { return Ok(None) };
        if header.magic != MAGIC {
            return Err(BatchError::Magic(header.magic));
        }
        if header.version != WIRE_VERSION {
            return Err(BatchError::Version(header.version));
        }
        if header.length as usize > BODY_MAX || header.length % 8 != 0 {
            return Err(BatchError::Length(header.length));
        }
        Ok(Some(header))
    }

    fn envelope(venue: Option<Venue>, epoch: u64, scanned: (u64, u64), published: u64, flags: u8) -> BatchHeader {
        BatchHeader {
            magic: MAGIC,
            version: WIRE_VERSION,
            venue: venue.map_or(0, Venue::code),
            flags,
            reserved: [0; 3],
            length: 0,
            count: 0,
            epoch,
            first: 0,
            scan_first: scanned.0,
            scan_last: scanned.1,
            published,
            checksum: 0,
            chain: 0,
        }
    }

    /// The venue, if one made the records and this build knows it.
    pub fn venue(&self) -> Option<Venue> {
        Venue::from_code(self.venue)
    }

    /// The checksum this header and `body` should carry: what the header itself says there does not count.
    pub fn checksum_of(&self, body: &[u8]) -> u32 {
        let blank = BatchHeader { checksum: 0, ..*self };
        crc32c::crc32c_append(crc32c::crc32c(blank.as_bytes()), body)
    }

    /// Checks the body's checksum and walks its records: `f` gets each record's envelope and words.
    pub fn open<'a>(&self, body: &'a [u64], mut f: impl FnMut(Envelope, &'a [u64])) -> Result<(), BatchError> {
        let ours = self.checksum_of(body.as_bytes());
        if ours != self.checksum {
            return Err(BatchError::Checksum { ours, theirs: self.checksum });
        }
        let listed = self.flags & SEQUENCES_LISTED != 0;
        let list_words = if listed { (self.count as usize).div_ceil(2) } else { 0 };
        let short = BatchError::Count { expected: self.count, found: 0 };
        let (list, records) = body.split_at_checked(list_words).ok_or(short)?;
        let mut rest = records;
        for found in 0..self.count {
            let wrong = BatchError::Count { expected: self.count, found };
            // Byte 1 of a record is its length in words.
            let words = rest.first().map_or(0, |head| (head >> 8 & 0xff) as usize);
            let (record, behind) = rest.split_at_checked(words).filter(|_| words > 0).ok_or(wrong)?;
            let distance = match list.get(found as usize / 2) {
                Some(pair) if listed => u64::from((pair >> (32 * (found % 2))) as u32),
                _ => u64::from(found),
            };
            f(Envelope { epoch: self.epoch, sequence: self.first.wrapping_add(distance) }, record);
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(BatchError::Count { expected: self.count, found: self.count.saturating_add(1) });
        }
        Ok(())
    }
}

/// Builds batches, one after the other, in buffers that are used again.
///
/// Records are written where they will be sent from: behind room for the header. Only a list of sequences, known to be
/// needed when the first hole shows, moves them once more.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// Room for the header, then the records; empty before the first record.
    bytes: Vec<u8>,
    count: u32,
    first: u64,
    last: u64,
    /// Distances of all records from the first; empty while there is no hole.
    distances: Vec<u32>,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// An empty builder with room for a batch of `bytes`, its header included.
    pub fn with_capacity(bytes: usize) -> BatchBuilder {
        BatchBuilder { bytes: Vec::with_capacity(bytes), ..BatchBuilder::default() }
    }

    /// Adds a record with its sequence; sequences rise within a batch and span less than 2^32.
    #[inline]
    pub fn push(&mut self, sequence: u64, record: &[u64]) {
        if self.count == 0 {
            self.begin(sequence);
        } else if !self.distances.is_empty() || self.last.checked_add(1) != Some(sequence) {
            self.note_distance(sequence);
        }
        self.last = sequence;
        self.count += 1;
        self.bytes.extend_from_slice(record.as_bytes());
    }

    fn begin(&mut self, sequence: u64) {
        self.first = sequence;
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
    }

    /// Sequences are listed from the first hole on: those before it are caught up on.
    fn note_distance(&mut self, sequence: u64) {
        if self.distances.is_empty() {
            self.distances.extend(0..self.count);
        }
        let distance = sequence.checked_sub(self.first).and_then(|d| u32::try_from(d).ok());
        self.distances.push(distance.expect("sequences rise within a batch and span less than 2^32"));
    }

    /// Bytes the body has so far, the list of sequences with it: to be finished before it passes [`BODY_MAX`].
    pub fn body_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_BYTES) + self.list_bytes()
    }

    fn list_bytes(&self) -> usize {
        self.distances.len().div_ceil(2) * 8
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the finished batch to `out` and starts over. `scanned` are the first and last sequence looked at. An
    /// empty `out` is exchanged for the buffer the batch was built in, which saves copying it.
    pub fn finish(
        &mut self,
        venue: Option<Venue>,
        epoch: u64,
        scanned: (u64, u64),
        published: u64,
        flags: u8,
        out: &mut Vec<u8>,
    ) {
        self.finish_as(BatchHeader::envelope(venue, epoch, scanned, published, flags), out);
    }

    /// As [`BatchBuilder::finish`], for a batch of the journal: chained to the batch before, whose checksum is `chain`.
    /// It was looked at all its sequences, from the first to the last. Gives its own checksum.
    pub fn finish_chained(
        &mut self,
        venue: Option<Venue>,
        epoch: u64,
        published: u64,
        flags: u8,
        chain: u32,
        out: &mut Vec<u8>,
    ) -> u32 {
        let scanned = (self.first, self.last);
        self.finish_as(BatchHeader { chain, ..BatchHeader::envelope(venue, epoch, scanned, published, flags) }, out)
    }

    /// Length, count, first sequence and checksum are filled in; the rest of the header is `envelope`'s.
    fn finish_as(&mut self, envelope: BatchHeader, out: &mut Vec<u8>) -> u32 {
        assert!(self.body_bytes() <= BODY_MAX, "a batch is finished before its body passes the limit");
        if self.count == 0 {
            self.begin(0);
        }
        let listed = !self.distances.is_empty();
        let mut header = BatchHeader {
            flags: envelope.flags | if listed { SEQUENCES_LISTED } else { 0 },
            length: self.body_bytes() as u32,
            count: self.count,
            first: self.first,
            ..envelope
        };
        let start = out.len();
        if listed {
            out.extend_from_slice(&self.bytes[..HEADER_BYTES]);
            out.extend_from_slice(self.distances.as_bytes());
            out.resize(start + HEADER_BYTES + self.list_bytes(), 0);
            out.extend_from_slice(&self.bytes[HEADER_BYTES..]);
        } else if start == 0 {
            std::mem::swap(out, &mut self.bytes);
        } else {
            out.extend_from_slice(&self.bytes);
        }
        out[start..start + HEADER_BYTES].copy_from_slice(header.as_bytes());
        header.checksum = crc32c::crc32c(&out[start..]);
        out[start..start + HEADER_BYTES].copy_from_slice(header.as_bytes());
        self.bytes.clear();
        self.distances.clear();
        self.count = 0;
        header.checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeartbeatRecord, Record};
    use model::UnixNanos;

    fn batch(sequences: &[u64]) -> Vec<u8> {
        let mut b = BatchBuilder::new();
        for &s in sequences {
            b.push(s, HeartbeatRecord::new(Venue::Kraken, s + 1, UnixNanos(7)).as_words());
        }
        let mut out = vec![];
        b.finish(Some(Venue::Kraken), 9, (1, 40), 5, 0, &mut out);
        assert!(b.is_empty());
        out
    }

    fn words(bytes: &[u8]) -> Vec<u64> {
        bytes.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes"))).collect()
    }

    #[test]
    fn sequences_come_back_with_and_without_holes() {
        for sequences in [&[3u64, 4, 5][..], &[3, 9, 40], &[3, 4, 5, 9, 10], &[]] {
            let bytes = batch(sequences);
            let header = BatchHeader::read(&bytes).expect("a batch").expect("whole");
            let body = words(&bytes[HEADER_BYTES..]);
            let mut seen = vec![];
            header
                .open(&body, |e, r| {
                    assert_eq!(e.epoch, 9);
                    assert!(matches!(Record::read(r), Ok(Record::Heartbeat(h)) if h.next_sequence == e.sequence + 1));
                    seen.push(e.sequence);
                })
                .expect("whole");
            assert_eq!(seen, sequences);
        }
    }

    #[test]
    fn batches_appended_equal_batches_made_in_fresh_buffers() {
        let mut builder = BatchBuilder::with_capacity(1024);
        let (mut all, mut one_by_one) = (vec![], vec![]);
        for sequences in [&[3u64, 4, 5, 9, 10][..], &[11, 12], &[], &[13, 15]] {
            for &s in sequences {
                builder.push(s, HeartbeatRecord::new(Venue::Kraken, s + 1, UnixNanos(7)).as_words());
            }
            builder.finish(Some(Venue::Kraken), 9, (1, 40), 5, 0, &mut all);
            one_by_one.extend(batch(sequences));
        }
        assert_eq!(all, one_by_one);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let good = batch(&[3, 9]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = BatchHeader::read(&bad).map(|h| h.map(|h| h.open(&words(&bad[HEADER_BYTES..]), |_, _| ())));
            assert!(!matches!(opened, Ok(Some(Ok(())))), "bit {bit} went unnoticed");
        }
    }
}
