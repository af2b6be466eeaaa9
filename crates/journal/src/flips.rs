//! Every single bit of a segment, flipped: each is noticed, by the page or the batch it stands in.
//!
//! A flip can only be seen through the checksum that covers it, so only that one is checked again; what a reader
//! makes of damage is tested on whole journals in `tests/damage.rs`.

use crate::format::{HeaderFound, PAGE_BYTES, Page, SegmentHeader, segment_name};
use crate::scan::{Found, Window, batch_at, end_of_bytes};
use crate::{Access, Disk, Files, Helper, Options, Writer};
use model::{UnixNanos, Venue};
use wire::HeartbeatRecord;

/// A segment filled to the brim with batches of up to 1.5 KiB, and its bytes.
fn filled(segment_bytes: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options { segment_bytes, reserve_bytes: 1024, helper: Helper::Inline, ..Options::small() };
    let (mut writer, _) = Writer::open(dir.path(), options, "test", UnixNanos(7)).expect("opens");
    let mut sequence = 1;
    while writer.marks().written.segment == 1 {
        let records: Vec<_> = (sequence..sequence + 1 + sequence % 47)
            .map(|s| HeartbeatRecord::new(Venue::Kraken, s, UnixNanos(s)))
            .collect();
        let count = records.len() as u64;
        let taken = (sequence..).zip(records.iter().map(|r| r.as_words()));
        writer.append(Venue::Kraken, 1, UnixNanos(sequence), taken).expect("takes them");
        writer.write(UnixNanos(sequence)).expect("writes");
        sequence += count;
    }
    let file = Files::at(dir.path()).open(&segment_name(1), Access::Read).expect("is there");
    let mut bytes = vec![0; segment_bytes as usize];
    assert_eq!(file.read_at(&mut bytes, 0).expect("reads"), bytes.len());
    bytes
}

/// Flips each bit of `bytes[range]`, asks, and flips it back.
fn each_flip(bytes: &mut [u8], range: std::ops::Range<usize>, mut noticed: impl FnMut(&[u8]) -> bool) -> u64 {
    let mut flips = 0;
    for byte in range {
        for bit in 0..8 {
            bytes[byte] ^= 1 << bit;
            assert!(noticed(bytes), "byte {byte}, bit {bit}: not noticed");
            bytes[byte] ^= 1 << bit;
            flips += 1;
        }
    }
    flips
}

/// With `ALPHAPULSE_TEST_FLIPS_BYTES=1048576` a segment of that size.
#[test]
fn every_flipped_bit_of_a_segment_is_noticed() {
    let size = std::env::var("ALPHAPULSE_TEST_FLIPS_BYTES").map_or(64 << 10, |n| n.parse().expect("a number"));
    let mut bytes = filled(size);
    let limit = bytes.len() as u64;
    let mut flips = each_flip(&mut bytes, 0..PAGE_BYTES, |bytes| {
        let page: &Page = bytes.first_chunk().expect("a page");
        matches!(SegmentHeader::read(page, ""), Ok(HeaderFound::Damaged))
    });
    let page: &Page = bytes.first_chunk().expect("a page");
    let Ok(HeaderFound::Whole(header)) = SegmentHeader::read(page, "") else { panic!("whole") };
    let mut window = Window::over(&bytes);
    let (mut at, mut chain, mut batches) = (PAGE_BYTES as u64, header.seed, 0);
    while let Found::Batch { header, end } = batch_at(&mut window, at, Some(chain), limit).expect("memory") {
        for byte in at as usize..end as usize {
            for bit in 0..8 {
                window.bytes_mut()[byte] ^= 1 << bit;
                let found = batch_at(&mut window, at, Some(chain), limit).expect("memory");
                assert!(!matches!(found, Found::Batch { .. }), "byte {byte}, bit {bit}: {found:?}");
                window.bytes_mut()[byte] ^= 1 << bit;
                flips += 1;
            }
        }
        (at, chain, batches) = (end, header.checksum, batches + 1);
    }
    assert!(batches > 50 && end_of_bytes(&mut window, at, limit).expect("memory") == at);
    // What was never written is known to be zero.
    flips += each_flip(&mut bytes, at as usize..limit as usize, |bytes| bytes[at as usize..].iter().any(|b| *b != 0));
    assert_eq!(flips, size * 8);
    println!("{flips} single-bit flips of a segment of {size} bytes with {batches} batches: all noticed");
}
