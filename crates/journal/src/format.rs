//! The pages of the journal's files, byte for byte as `docs/journal.md` draws them: segment head, checkpoint, watermark
//! and cursor. Each is 4096 bytes that end with a CRC32C of the bytes before.

use crate::positions::{Mark, Positions, VENUES_MAX};
use crate::{JournalError, Place};
use model::UnixNanos;
use wire::WIRE_VERSION;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The version of the files' layout; readers refuse another.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of every page.
pub const PAGE_BYTES: usize = 4096;

/// The most bytes a site's name may have.
pub const SITE_MAX: usize = 64;

const CHECKED: usize = PAGE_BYTES - 4;

/// A page's bytes.
pub(crate) type Page = [u8; PAGE_BYTES];

/// Puts the checksum at the end of a page.
pub(crate) fn seal(page: &mut Page) {
    let sum = crc32c::crc32c(&page[..CHECKED]);
    page[CHECKED..].copy_from_slice(&sum.to_le_bytes());
}

/// Whether a page is as it was sealed.
pub(crate) fn is_whole(page: &Page) -> bool {
    crc32c::crc32c(&page[..CHECKED]).to_le_bytes() == page[CHECKED..]
}

/// `0000000042.seg`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// `0000000042.idx`.
pub(crate) fn index_name(number: u64) -> String {
    format!("{number:010}.idx")
}

/// The number in a segment's file name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    name.strip_suffix(".seg").filter(|digits| digits.len() == 10)?.parse().ok()
}

fn table(positions: &Positions) -> (u32, [Mark; VENUES_MAX]) {
    let mut marks = [Mark::default(); VENUES_MAX];
    let mut count = 0;
    for (slot, mark) in marks.iter_mut().zip(positions.marks()) {
        *slot = mark;
        count += 1;
    }
    (count, marks)
}

fn listed(marks: &[Mark; VENUES_MAX], count: u32) -> Positions {
    Positions::from_marks(&marks[..(count as usize).min(VENUES_MAX)])
}

/// A name of at most [`SITE_MAX`] bytes, padded with zeros.
fn padded(text: &str) -> [u8; SITE_MAX] {
    let mut bytes = [0; SITE_MAX];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn unpadded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

const SEGMENT_MAGIC: [u8; 8] = *b"APJRNL01";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct RawSegment {
    magic: [u8; 8],
    version: u32,
    wire: u32,
    journal: u64,
    number: u64,
    created: u64,
    bytes: u64,
    published: u64,
    seed: u32,
    venues: u32,
    site: [u8; SITE_MAX],
    marks: [Mark; VENUES_MAX],
    zero: [u8; 2428],
    checksum: u32,
}
const _: () = assert!(size_of::<RawSegment>() == PAGE_BYTES);

/// The first page of a segment: what must be known to read it without the segments before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Names the journal: when it was begun, ns.
    pub journal: u64,
    /// Counted from 1.
    pub number: u64,
    /// When the segment was begun.
    pub created: UnixNanos,
    /// Bytes of the file, this page with it.
    pub bytes: u64,
    /// The latest time of publication in all segments before.
    pub published: UnixNanos,
    /// Checksum of the last batch of the segment before; 0 in the first.
    pub seed: u32,
    /// The site whose records these are.
    pub site: String,
    /// How far each venue had come before this segment.
    pub positions: Positions,
}

/// What a first page turned out to be.
pub(crate) enum HeaderFound {
    Whole(Box<SegmentHeader>),
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn page(&self) -> Box<Page> {
        let (venues, marks) = table(&self.positions);
        let raw = RawSegment {
            magic: SEGMENT_MAGIC,
            version: FORMAT_VERSION,
            wire: WIRE_VERSION.into(),
            journal: self.journal,
            number: self.number,
            created: self.created.0,
            bytes: self.bytes,
            published: self.published.0,
            seed: self.seed,
            venues,
            site: padded(&self.site),
            marks,
            zero: [0; 2428],
            checksum: 0,
        };
        sealed(raw.as_bytes())
    }

    /// Another version is refused by name, even where the rest of the page cannot be judged by this build.
    pub(crate) fn read(page: &Page, name: &str) -> Result<HeaderFound, JournalError> {
        let raw: RawSegment = zerocopy::transmute!(*page);
        if !is_whole(page) || raw.magic != SEGMENT_MAGIC {
            return Ok(HeaderFound::Damaged);
        }
        if raw.version != FORMAT_VERSION {
            let name = name.to_owned();
            return Err(JournalError::Version { name, theirs: raw.version, ours: FORMAT_VERSION });
        }
        if raw.wire != u32::from(WIRE_VERSION) {
            let name = name.to_owned();
            return Err(JournalError::WireVersion { name, theirs: raw.wire, ours: WIRE_VERSION.into() });
        }
        Ok(HeaderFound::Whole(Box::new(SegmentHeader {
            journal: raw.journal,
            number: raw.number,
            created: UnixNanos(raw.created),
            bytes: raw.bytes,
            published: UnixNanos(raw.published),
            seed: raw.seed,
            site: unpadded(&raw.site),
            positions: listed(&raw.marks, raw.venues),
        })))
    }
}

fn sealed(bytes: &[u8]) -> Box<Page> {
    let mut page: Box<Page> = Box::new([0; PAGE_BYTES]);
    page.copy_from_slice(bytes);
    seal(&mut page);
    page
}

const CHECKPOINT_MAGIC: [u8; 8] = *b"APJCHK01";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct RawCheckpoint {
    magic: [u8; 8],
    version: u32,
    venues: u32,
    journal: u64,
    serial: u64,
    segment: u64,
    offset: u64,
    published: u64,
    time: u64,
    chain: u32,
    pad: u32,
    marks: [Mark; VENUES_MAX],
    zero: [u8; 2484],
    checksum: u32,
}
const _: () = assert!(size_of::<RawCheckpoint>() == PAGE_BYTES);

/// Up to here everything is durable and need not be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub journal: u64,
    /// Counts checkpoints; its parity is the slot it stands in.
    pub serial: u64,
    pub place: Place,
    pub published: UnixNanos,
    pub time: UnixNanos,
    pub chain: u32,
    pub positions: Positions,
}

impl Checkpoint {
    pub fn page(&self) -> Box<Page> {
        let (venues, marks) = table(&self.positions);
        let raw = RawCheckpoint {
            magic: CHECKPOINT_MAGIC,
            version: FORMAT_VERSION,
            venues,
            journal: self.journal,
            serial: self.serial,
            segment: self.place.segment,
            offset: self.place.offset,
            published: self.published.0,
            time: self.time.0,
            chain: self.chain,
            pad: 0,
            marks,
            zero: [0; 2484],
            checksum: 0,
        };
        sealed(raw.as_bytes())
    }

    /// `None` when torn, damaged or of another version: then recovery starts further back.
    pub fn read(page: &Page) -> Option<Checkpoint> {
        let raw: RawCheckpoint = zerocopy::transmute!(*page);
        let ours = is_whole(page) && raw.magic == CHECKPOINT_MAGIC && raw.version == FORMAT_VERSION;
        ours.then(|| Checkpoint {
            journal: raw.journal,
            serial: raw.serial,
            place: Place { segment: raw.segment, offset: raw.offset },
            published: UnixNanos(raw.published),
            time: UnixNanos(raw.time),
            chain: raw.chain,
            positions: listed(&raw.marks, raw.venues),
        })
    }

    /// Where in the file this one stands: two slots take turns, so that a torn write leaves the one before.
    pub fn slot(&self) -> u64 {
        (self.serial % 2) * PAGE_BYTES as u64
    }
}

const CURSOR_MAGIC: [u8; 8] = *b"APJCUR01";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct RawCursor {
    magic: [u8; 8],
    version: u32,
    venues: u32,
    journal: u64,
    segment: u64,
    offset: u64,
    time: u64,
    marks: [Mark; VENUES_MAX],
    zero: [u8; 2508],
    checksum: u32,
}
const _: () = assert!(size_of::<RawCursor>() == PAGE_BYTES);

/// A cursor without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CursorPage {
    pub journal: u64,
    pub place: Place,
    pub time: UnixNanos,
    pub positions: Positions,
}

impl CursorPage {
    pub fn page(&self) -> Box<Page> {
        let (venues, marks) = table(&self.positions);
        let raw = RawCursor {
            magic: CURSOR_MAGIC,
            version: FORMAT_VERSION,
            venues,
            journal: self.journal,
            segment: self.place.segment,
            offset: self.place.offset,
            time: self.time.0,
            marks,
            zero: [0; 2508],
            checksum: 0,
        };
        sealed(raw.as_bytes())
    }

    /// `None` when damaged.
    pub fn read(page: &Page, name: &str) -> Result<Option<CursorPage>, JournalError> {
        let raw: RawCursor = zerocopy::transmute!(*page);
        if !is_whole(page) || raw.magic != CURSOR_MAGIC {
            return Ok(None);
        }
        if raw.version != FORMAT_VERSION {
            let name = format!("cursors/{name}");
            return Err(JournalError::Version { name, theirs: raw.version, ours: FORMAT_VERSION });
        }
        Ok(Some(CursorPage {
            journal: raw.journal,
            place: Place { segment: raw.segment, offset: raw.offset },
            time: UnixNanos(raw.time),
            positions: listed(&raw.marks, raw.venues),
        }))
    }
}

const WATERMARK_MAGIC: [u8; 8] = *b"APWMRK01";
/// The most bytes of a reason on the watermark page.
pub(crate) const REASON_MAX: usize = 128;

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawLevels {
    venue: u64,
    written_epoch: u64,
    written_sequence: u64,
    synced_epoch: u64,
    synced_sequence: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct RawWatermark {
    magic: [u8; 8],
    version: u32,
    pid: u32,
    journal: u64,
    serial: u64,
    time: u64,
    boot: u64,
    state: u32,
    venues: u32,
    since: u64,
    opened: u64,
    opened_segment: u64,
    opened_offset: u64,
    written_segment: u64,
    written_offset: u64,
    synced_segment: u64,
    synced_offset: u64,
    levels: [RawLevels; VENUES_MAX],
    reason: [u8; REASON_MAX],
    zero: [u8; 1284],
    checksum: u32,
}
const _: () = assert!(size_of::<RawWatermark>() == PAGE_BYTES);

/// A watermark as it stands on its page; [`crate::Watermark`] is its public face.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatermarkPage {
    pub pid: u32,
    pub journal: u64,
    pub serial: u64,
    pub time: UnixNanos,
    pub boot: u64,
    pub state: u32,
    pub since: UnixNanos,
    pub opened: UnixNanos,
    pub opened_at: Place,
    pub written: Place,
    pub synced: Place,
    pub written_positions: Positions,
    pub synced_positions: Positions,
    pub reason: String,
}

impl WatermarkPage {
    /// Fills a page that is used again and again: this runs once per write.
    pub fn fill(&self, page: &mut Page) {
        let mut levels = [RawLevels::default(); VENUES_MAX];
        let mut venues = 0;
        for (slot, (code, written)) in levels.iter_mut().zip(self.written_positions.codes()) {
            let synced = self.synced_positions.of(code).unwrap_or_default();
            *slot = RawLevels {
                venue: code.into(),
                written_epoch: written.epoch,
                written_sequence: written.sequence,
                synced_epoch: synced.epoch,
                synced_sequence: synced.sequence,
            };
            venues += 1;
        }
        let mut reason = [0; REASON_MAX];
        let kept = self.reason.floor_char_boundary(REASON_MAX);
        reason[..kept].copy_from_slice(&self.reason.as_bytes()[..kept]);
        let raw = RawWatermark {
            magic: WATERMARK_MAGIC,
            version: FORMAT_VERSION,
            pid: self.pid,
            journal: self.journal,
            serial: self.serial,
            time: self.time.0,
            boot: self.boot,
            state: self.state,
            venues,
            since: self.since.0,
            opened: self.opened.0,
            opened_segment: self.opened_at.segment,
            opened_offset: self.opened_at.offset,
            written_segment: self.written.segment,
            written_offset: self.written.offset,
            synced_segment: self.synced.segment,
            synced_offset: self.synced.offset,
            levels,
            reason,
            zero: FromZeros::new_zeroed(),
            checksum: 0,
        };
        page.copy_from_slice(raw.as_bytes());
        seal(page);
    }

    /// `None` when torn.
    pub fn read(page: &Page) -> Result<Option<WatermarkPage>, JournalError> {
        let raw: RawWatermark = zerocopy::transmute!(*page);
        if !is_whole(page) || raw.magic != WATERMARK_MAGIC {
            return Ok(None);
        }
        if raw.version != FORMAT_VERSION {
            let name = "watermark".to_owned();
            return Err(JournalError::Version { name, theirs: raw.version, ours: FORMAT_VERSION });
        }
        let mut written = Positions::default();
        let mut synced = Positions::default();
        for level in &raw.levels[..(raw.venues as usize).min(VENUES_MAX)] {
            let at = |epoch, sequence| wire::Envelope { epoch, sequence };
            written.raise_code(level.venue as u8, at(level.written_epoch, level.written_sequence));
            if level.synced_epoch != 0 || level.synced_sequence != 0 {
                synced.raise_code(level.venue as u8, at(level.synced_epoch, level.synced_sequence));
            }
        }
        Ok(Some(WatermarkPage {
            pid: raw.pid,
            journal: raw.journal,
            serial: raw.serial,
            time: UnixNanos(raw.time),
            boot: raw.boot,
            state: raw.state,
            since: UnixNanos(raw.since),
            opened: UnixNanos(raw.opened),
            opened_at: Place { segment: raw.opened_segment, offset: raw.opened_offset },
            written: Place { segment: raw.written_segment, offset: raw.written_offset },
            synced: Place { segment: raw.synced_segment, offset: raw.synced_offset },
            written_positions: written,
            synced_positions: synced,
            reason: unpadded(&raw.reason),
        }))
    }
}
