//! Words, bytes and texts that nobody of us wrote: they are refused or passed over, and never panic.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use wire::batch::{BODY_MAX, BatchBuilder, BatchError, BatchHeader, HEADER_BYTES};
use wire::{Envelope, Record, RecordBuf, RecordError, Records, json};

fn words() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![any::<u64>(), 0u64..=0xffff], 0..64)
}

/// The examples' records with some bytes overwritten.
fn damaged() -> impl Strategy<Value = Vec<u64>> {
    let examples: Vec<Vec<u64>> = cases().iter().map(|c| c.records.words().to_vec()).collect();
    let damage = prop::collection::vec((any::<Index>(), any::<u8>()), 1..6);
    (select(examples), damage).prop_map(|(mut words, damage)| {
        for (at, byte) in damage {
            let bit = at.index(words.len() * 8);
            let shift = 8 * (bit % 8);
            words[bit / 8] = words[bit / 8] & !(0xff << shift) | u64::from(byte) << shift;
        }
        words
    })
}

/// Reads, tells and reads back whatever can be.
fn exercise(words: &[u64]) {
    let (mut encoder, mut decoder, mut out) = (encoder(), decoder(), RecordBuf::default());
    let mut walk = Records::new(words);
    for (n, record) in (0..).zip(walk.by_ref()) {
        let _ = Record::read(record);
        let at = Envelope { epoch: EPOCH, sequence: n };
        if let Ok(Some(line)) = encoder.push(at, record) {
            let text = serde_json::to_string(&line).unwrap();
            let _ = decoder.push_text(&text, &mut out);
        }
    }
    let rest = walk.rest();
    assert!(rest.is_empty() || Record::read(rest).is_err());
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// The least code that means nothing.
const FIRST_UNKNOWN: u8 = wire::RecordType::ALL.len() as u8 + 1;

proptest! {
    #[test]
    fn words_of_anybody_do_no_harm(words in words()) {
        exercise(&words);
    }

    #[test]
    fn damaged_records_do_no_harm(words in damaged()) {
        exercise(&words);
    }

    #[test]
    fn a_record_of_an_unknown_type_is_passed_over(kind in FIRST_UNKNOWN.., extra in prop::collection::vec(any::<u64>(), 0..20)) {
        let mut unknown = vec![u64::from(kind) | (extra.len() as u64 + 1) << 8];
        unknown.extend(&extra);
        prop_assert!(matches!(Record::read(&unknown), Ok(Record::Unknown(h)) if h.kind == kind));
        let mut records = RecordBuf::default();
        records.push_words(&unknown).unwrap();
        records.push_trade(&trade());
        let lines = lines_of(&records, FIRST);
        prop_assert!(matches!(&lines[..], [json::Line::Trade(t)] if t.seq == FIRST + 1));
    }

    #[test]
    fn a_record_that_is_cut_off_is_refused(cut in any::<Index>()) {
        for case in cases() {
            for record in &case.records {
                let cut = cut.index(record.len());
                let refused = Record::read(&record[..cut]);
                prop_assert!(matches!(refused, Err(RecordError::Empty | RecordError::Length { .. })), "{}", case.name);
            }
        }
    }

    #[test]
    fn bytes_of_anybody_are_no_batch(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some(header)) = BatchHeader::read(&bytes) {
            prop_assert!(header.length as usize <= BODY_MAX);
            let _ = header.open(&[], |_, _| ());
        }
    }

    #[test]
    fn a_lying_batch_header_is_noticed(
        count in prop_oneof![0u32..8, any::<u32>()], flags in any::<u8>(), first in any::<u64>(), body in words(),
    ) {
        let mut bytes = vec![];
        BatchBuilder::new().finish(None, EPOCH, (1, 2), 3, flags, &mut bytes);
        bytes[8..12].copy_from_slice(&(body.len() as u32 * 8).to_le_bytes());
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        bytes[24..32].copy_from_slice(&first.to_le_bytes());
        bytes[56..60].fill(0);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &bytes_of(&body));
        bytes[56..60].copy_from_slice(&checksum.to_le_bytes());
        let header = BatchHeader::read(&bytes).unwrap().unwrap();
        let mut seen = 0;
        match header.open(&body, |_, record| { seen += 1; let _ = Record::read(record); }) {
            Ok(()) => prop_assert_eq!(seen, count),
            Err(BatchError::Count { expected, .. }) => prop_assert_eq!(expected, count),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn texts_of_anybody_are_no_line(text in "\\PC{0,80}") {
        let mut out = RecordBuf::default();
        prop_assert!(decoder().push_text(&text, &mut out).is_err());
    }

    #[test]
    fn a_damaged_line_leaves_records_or_nothing(
        case in 0..cases().len(), at in any::<Index>(), with in select(b"0123456789.\",:{}[]-eE nulltrf".to_vec()),
    ) {
        let line = &lines_of(&cases()[case].records, FIRST)[0];
        let mut text = serde_json::to_string(line).unwrap().into_bytes();
        let at = at.index(text.len());
        text[at] = with;
        let mut out = RecordBuf::default();
        match decoder().push_text(std::str::from_utf8(&text).unwrap(), &mut out) {
            Ok(span) => {
                prop_assert_eq!(span.records, out.len());
                prop_assert!(out.records().all(|r| r.is_ok()), "an unreadable record was made");
            }
            Err(_) => prop_assert!(out.is_empty() && out.words().is_empty()),
        }
    }
}

#[test]
fn nothing_hides_behind_a_record() {
    for case in cases() {
        let mut words = case.records.iter().next().unwrap().to_vec();
        words.push(0);
        words[0] += 1 << 8;
        let refused = Record::read(&words).err();
        let (kind, length) = (words[0] as u8, words.len());
        assert_eq!(refused, Some(RecordError::Size { kind, words: length }), "{}", case.name);
    }
}

#[test]
fn a_batch_that_is_not_whole_yet_is_waited_for() {
    let mut bytes = vec![];
    BatchBuilder::new().finish(None, EPOCH, (1, 0), 3, 0, &mut bytes);
    assert_eq!(bytes.len(), HEADER_BYTES);
    for n in 0..HEADER_BYTES {
        assert_eq!(BatchHeader::read(&bytes[..n]), Ok(None));
    }
}
