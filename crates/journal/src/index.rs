//! The index of a sealed segment: every quarter of a mebibyte, how far time and each venue had come. Derived: without
//! it, or with one that is damaged, the segment is looked through instead.

use crate::format::{FORMAT_VERSION, HeaderFound, PAGE_BYTES, Page, SegmentHeader, index_name, segment_name};
use crate::positions::Mark;
use crate::scan::{Found, Window, batch_after, batch_at};
use crate::{Access, Disk, Place, Positions};
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"APJIDX01";
/// Bytes of journal between two entries.
const SPACING: u64 = 256 << 10;

/// What is known at a place in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// A batch begins here.
    pub offset: u64,
    /// The latest time of publication before it, ns.
    pub published: u64,
    /// The batch before it has this checksum.
    pub chain: Option<u32>,
    /// How far each venue had come before it.
    pub positions: Positions,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawHead {
    magic: [u8; 8],
    version: u32,
    entries: u32,
    journal: u64,
    segment: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawEntry {
    offset: u64,
    published: u64,
    chain: u32,
    /// Bit 0: the chain is known.
    known: u32,
    venues: u64,
}

/// The segment's header as an entry: where its batches begin.
pub(crate) fn first_entry(header: &SegmentHeader) -> Entry {
    Entry {
        offset: PAGE_BYTES as u64,
        published: header.published.0,
        chain: Some(header.seed),
        positions: header.positions.clone(),
    }
}

/// Looks through a segment up to `limit` and notes an entry at every [`SPACING`].
pub(crate) fn build(window: &mut Window, header: &SegmentHeader, limit: u64) -> io::Result<Vec<Entry>> {
    let mut at = first_entry(header);
    let mut entries = vec![at.clone()];
    loop {
        let (start, header, end) = match batch_at(window, at.offset, at.chain, limit)? {
            Found::Batch { header, end } => (at.offset, header, end),
            Found::Nothing | Found::Damage => match batch_after(window, at.offset, limit)? {
                Some(found) => found,
                None => return Ok(entries),
            },
        };
        at.positions.note(&header, window.body(start, &header));
        at.published = at.published.max(header.published);
        at.chain = Some(header.checksum);
        at.offset = end;
        if end >= entries.last().map_or(0, |last| last.offset) + SPACING {
            entries.push(at.clone());
        }
    }
}

/// Builds and stores the index of a sealed segment, whose batches end before `next`'s first.
pub(crate) fn write(disk: &dyn Disk, segment: u64, next: Place) -> io::Result<()> {
    debug_assert!(segment < next.segment, "only a segment that is no longer written is indexed");
    let file = disk.open(&segment_name(segment), Access::Read)?;
    let mut page: Page = [0; PAGE_BYTES];
    file.read_at(&mut page, 0)?;
    let Ok(HeaderFound::Whole(header)) = SegmentHeader::read(&page, "") else { return Ok(()) };
    let entries = build(&mut Window::new(file), &header, header.bytes)?;
    let bytes = encode(&header, &entries);
    disk.open(&index_name(segment), Access::Create)?.write_at(&bytes, 0)
}

fn encode(header: &SegmentHeader, entries: &[Entry]) -> Vec<u8> {
    let (journal, segment) = (header.journal, header.number);
    let head = RawHead { magic: MAGIC, version: FORMAT_VERSION, entries: entries.len() as u32, journal, segment };
    let mut bytes = head.as_bytes().to_vec();
    for entry in entries {
        let raw = RawEntry {
            offset: entry.offset,
            published: entry.published,
            chain: entry.chain.unwrap_or(0),
            known: entry.chain.is_some().into(),
            venues: entry.positions.marks().count() as u64,
        };
        bytes.extend_from_slice(raw.as_bytes());
        entry.positions.marks().for_each(|mark| bytes.extend_from_slice(mark.as_bytes()));
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The stored index of a segment; `None` when there is none of use.
pub(crate) fn read(disk: &dyn Disk, header: &SegmentHeader) -> Option<Vec<Entry>> {
    let file = disk.open(&index_name(header.number), Access::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
    let length = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(length);
    decode(&bytes, header)
}

fn decode(bytes: &[u8], header: &SegmentHeader) -> Option<Vec<Entry>> {
    let (bytes, sum) = bytes.split_last_chunk::<4>()?;
    let (head, mut rest) = RawHead::read_from_prefix(bytes).ok()?;
    let of_this = (head.magic, head.version, head.journal, head.segment)
        == (MAGIC, FORMAT_VERSION, header.journal, header.number);
    if !of_this || crc32c::crc32c(bytes).to_le_bytes() != *sum {
        return None;
    }
    let mut entries = vec![];
    for _ in 0..head.entries {
        let (raw, behind) = RawEntry::read_from_prefix(rest).ok()?;
        rest = behind;
        let mut marks = vec![];
        for _ in 0..raw.venues {
            let (mark, behind) = Mark::read_from_prefix(rest).ok()?;
            marks.push(mark);
            rest = behind;
        }
        entries.push(Entry {
            offset: raw.offset,
            published: raw.published,
            chain: (raw.known & 1 != 0).then_some(raw.chain),
            positions: Positions::from_marks(&marks),
        });
    }
    Some(entries)
}
