//! The bytes of a capture: what stands at the head of a file and of each entry, and which entries there are.
//!
//! A file is 32 bytes of head, then entries of 32 bytes of head and a body each, one behind the other, all numbers
//! little-endian. The checksum is the CRC-32 that zlib has, so that any language's library checks it; it stands first
//! and covers all that is behind it in the head and the body. See docs/capture.md.

use model::{UnixNanos, Venue};

/// A file begins with these.
pub const MAGIC: [u8; 8] = *b"APWSLOG1";
/// The version of the format this build writes, and the only one it reads.
pub const VERSION: u16 = 1;
/// Bytes of a file's head.
pub const FILE_HEAD: usize = 32;
/// Bytes of an entry's head.
pub const ENTRY_HEAD: usize = 32;
/// Where in an entry's head its kind stands.
pub(crate) const KIND_AT: usize = 30;
/// The largest body a reader believes; larger ones mean damage. Four times the largest answer a feed takes.
pub const BODY_MAX: u32 = 256 << 20;

/// What a file's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// The venue all its entries are of.
    pub venue: Venue,
    /// The receive time it was begun for.
    pub created: UnixNanos,
    /// The epoch of the run it is of; 0 for imported recordings.
    pub run: u64,
}

impl FileHead {
    /// The head's bytes.
    pub fn to_bytes(self) -> [u8; FILE_HEAD] {
        let mut bytes = [0; FILE_HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[12..14].copy_from_slice(&VERSION.to_le_bytes());
        bytes[14..16].copy_from_slice(&u16::from(self.venue.code()).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.run.to_le_bytes());
        let crc = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a head; what is wrong with it otherwise.
    pub fn read(bytes: &[u8; FILE_HEAD]) -> Result<FileHead, &'static str> {
        if bytes[..8] != MAGIC {
            return Err("is no capture: it does not begin with APWSLOG1");
        }
        if u32_at(bytes, 8) != crc32fast::hash(&bytes[12..]) {
            return Err("the checksum of its head differs");
        }
        if u16_at(bytes, 12) != VERSION {
            return Err("is of a version this build does not know");
        }
        let venue = u8::try_from(u16_at(bytes, 14)).ok().and_then(Venue::from_code);
        let venue = venue.ok_or("is of a venue this build does not know")?;
        Ok(FileHead { venue, created: UnixNanos(u64_at(bytes, 16)), run: u64_at(bytes, 24) })
    }
}

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the venue to us.
    In = 0,
    /// From us to the venue.
    Out = 1,
    /// Neither: our own doing, such as a timer.
    Own = 2,
}

impl Direction {
    /// The direction with this code.
    pub const fn from_code(code: u8) -> Option<Direction> {
        match code {
            0 => Some(Direction::In),
            1 => Some(Direction::Out),
            2 => Some(Direction::Own),
            _ => None,
        }
    }

    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Own => "own",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// What an entry is. Codes below 32 are inputs of a session; a replay steps exactly those.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])+ $name = $code,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$name,)+];

            /// The kind with this code.
            pub const fn from_code(code: u8) -> Option<Kind> {
                match code { $($code => Some(Kind::$name),)+ _ => None }
            }

            /// The name on the command line and in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)+ }
            }
        }
    };
}

kinds! {
    /// The run begins.
    Start = 1, "start";
    /// What an earlier run told of an instrument.
    Remember = 2, "remember";
    /// A connection is being made.
    Connecting = 3, "connecting";
    /// A socket is open.
    Connected = 4, "connected";
    /// A WebSocket message, in or out; the body is its payload, byte for byte.
    Frame = 5, "frame";
    /// A REST request was answered.
    Answer = 6, "answer";
    /// A REST request was not answered.
    Failed = 7, "failed";
    /// A timer was due.
    Timer = 8, "timer";
    /// A socket is gone.
    Disconnected = 9, "disconnected";
    /// The wall clock stepped.
    Clock = 10, "clock";
    /// The run ended in order.
    End = 11, "end";
    /// A consumer asked for an instrument's book.
    Snapshot = 12, "snapshot";
    /// How the run is set up: first in every file.
    Run = 32, "run";
    /// A REST request: number, method, path and the names of its headers.
    Request = 33, "request";
    /// Entries are missing here: how many, and why.
    Lost = 40, "lost";
    /// A line of an imported file that is no frame.
    Line = 41, "line";
    /// What an imported file was, behind its last line.
    Imported = 42, "imported";
    /// A file that lay beside an imported one, byte for byte.
    Beside = 43, "beside";
}

impl Kind {
    /// Whether a session steps it. Frames are inputs only when they came in.
    pub const fn is_input(self) -> bool {
        (self as u8) < 32
    }
}

/// What an entry's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// When, on the run's clock: wall time at the start, never stepping since; what a replay is told as `now`.
    pub time: UnixNanos,
    /// The machine's monotonic clock in ns, to order files of several processes on one machine.
    pub monotonic: u64,
    /// Bytes of the body.
    pub length: u32,
    /// Which entry of the file it is, counted from 0, wrapping.
    pub number: u32,
    /// The session's line.
    pub connection: u16,
    /// What it is.
    pub kind: Kind,
    /// Which way it went.
    pub direction: Direction,
}

impl EntryHead {
    /// The head's bytes, but for number and checksum, which [`finish`] sets.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_HEAD] {
        let mut bytes = [0; ENTRY_HEAD];
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.monotonic.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.number.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.connection.to_le_bytes());
        bytes[KIND_AT] = self.kind as u8;
        bytes[31] = self.direction as u8;
        bytes
    }

    /// Reads the fields; `None` where one of them means nothing. Does not look at the checksum.
    #[inline]
    pub(crate) fn read(bytes: &[u8; ENTRY_HEAD]) -> Option<EntryHead> {
        let length = u32_at(bytes, 4);
        if length > BODY_MAX {
            return None;
        }
        Some(EntryHead {
            time: UnixNanos(u64_at(bytes, 8)),
            monotonic: u64_at(bytes, 16),
            length,
            number: u32_at(bytes, 24),
            connection: u16_at(bytes, 28),
            kind: Kind::from_code(bytes[KIND_AT])?,
            direction: Direction::from_code(bytes[31])?,
        })
    }

    /// Bytes of the entry, head and body.
    #[inline]
    pub fn size(&self) -> usize {
        ENTRY_HEAD + self.length as usize
    }
}

/// Numbers a whole entry and sets its checksum.
#[inline]
pub(crate) fn finish(entry: &mut [u8], number: u32) {
    entry[24..28].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&entry[4..]);
    entry[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Whether a whole entry's checksum is right.
#[inline]
pub(crate) fn is_sound(entry: &[u8]) -> bool {
    u32_at(entry, 0) == crc32fast::hash(&entry[4..])
}

/// Appends a whole entry, but for number and checksum.
#[inline]
pub(crate) fn push_entry(to: &mut Vec<u8>, head: EntryHead, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = to.len();
    to.extend_from_slice(&head.to_bytes());
    body(to);
    let length = (to.len() - begin - ENTRY_HEAD) as u32;
    to[begin + 4..begin + 8].copy_from_slice(&length.to_le_bytes());
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_and_no_flipped_bit_does() {
        let head = FileHead { venue: Venue::Kraken, created: UnixNanos(7), run: 9 };
        let bytes = head.to_bytes();
        assert_eq!(FileHead::read(&bytes), Ok(head));
        for bit in 0..FILE_HEAD * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHead::read(&bad).is_err(), "bit {bit}");
        }
        let head = EntryHead {
            time: UnixNanos(u64::MAX),
            monotonic: 5,
            length: 3,
            number: 0,
            connection: 2,
            kind: Kind::Frame,
            direction: Direction::Out,
        };
        let mut entry = vec![];
        push_entry(&mut entry, head, |body| body.extend_from_slice(b"abc"));
        finish(&mut entry, 8);
        assert!(is_sound(&entry));
        let read = EntryHead::read(entry.first_chunk().expect("a head"));
        assert_eq!(read, Some(EntryHead { number: 8, ..head }));
        for bit in 0..entry.len() * 8 {
            entry[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_sound(&entry), "bit {bit}");
            entry[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn codes_lead_back_to_their_kinds() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(*kind as u8), Some(*kind));
        }
        assert_eq!(Kind::from_code(0), None);
        assert_eq!([0, 1, 2, 3].map(Direction::from_code).map(|d| d.is_some()), [true, true, true, false]);
    }
}
