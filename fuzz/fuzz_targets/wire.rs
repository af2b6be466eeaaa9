//! Feeds bytes of anybody to everything that reads records, batches and lines: none may panic, and what is read must
//! be writable again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::batch::{BatchHeader, HEADER_BYTES};
use wire::{Envelope, Record, RecordBuf, Records, json};

fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("chunks of 8 bytes"))).collect()
}

/// Tells every record as a line and takes every line back.
fn records(words: &[u64]) {
    let (mut encoder, mut decoder, mut out) = (json::Encoder::new(), json::Decoder::new(), RecordBuf::default());
    for (sequence, record) in (1..).zip(Records::new(words)) {
        let Ok(view) = Record::read(record) else { continue };
        decoder.instruments.observe(&view);
        if let Ok(Some(line)) = encoder.push(Envelope { epoch: 1, sequence }, record) {
            let _ = decoder.push(&line, &mut out);
        }
    }
    assert!(out.records().all(|record| record.is_ok()), "a line became a record nobody can read");
}

fn batch(bytes: &[u8]) {
    let Ok(Some(header)) = BatchHeader::read(bytes) else { return };
    let body = words_of(&bytes[HEADER_BYTES..]);
    let _ = header.open(&body, |_, record| {
        let _ = Record::read(record);
    });
}

fuzz_target!(|bytes: &[u8]| {
    records(&words_of(bytes));
    batch(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = json::Decoder::new().push_text(text, &mut RecordBuf::default());
    }
});
