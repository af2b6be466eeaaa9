//! What the scenarios share: records that show a torn copy.
#![allow(dead_code, reason = "every test file is a crate of its own and uses its part")]

use std::time::{SystemTime, UNIX_EPOCH};

/// Word 3 sums the rest, so that no mixture of two records passes for one.
pub fn record(epoch: u64, sequence: u64) -> Vec<u64> {
    let words = 4 + (sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize;
    let mut record: Vec<u64> = (0..words as u64).map(|word| (epoch << 40 ^ sequence).wrapping_mul(word + 3)).collect();
    record[0] = (words as u64) << 8 | sequence << 16;
    record[2] = sequence;
    record[3] = 0;
    record[3] = checksum(&record);
    record
}

pub fn checksum(record: &[u64]) -> u64 {
    let parts = record.iter().enumerate().filter(|(index, _)| *index != 3);
    parts.fold(0, |sum: u64, (_, word)| sum.rotate_left(7).wrapping_add(*word))
}

pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}
