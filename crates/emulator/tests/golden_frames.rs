//! One seed, one market: the bytes of every venue's frames are the same in each run, in debug and in release builds.

use emulator::{BookPace, EmulatedVenue, GeneratedFrames, GeneratedSession, Rate};
use model::UnixNanos;
use std::time::Duration;

const START: u64 = 1_700_000_000_000_000_000;

/// Count, bytes and CRC-32 of all streams' frames over `millis` of a session with everything in it.
fn frames(venue: EmulatedVenue, seed: u64, millis: u64) -> (u64, u64, u32) {
    let session = GeneratedSession {
        seed,
        levels: 60,
        instruments: 8,
        lively: true,
        changes_every: Some(Duration::from_millis(300)),
        book_pace: BookPace::Venue,
        ..GeneratedSession::default()
    };
    let rate = Rate::FramesPerSecond(3_000);
    let mut frames = GeneratedFrames::new(venue, &session, rate, 1_000_000, |name| !name.contains('#'));
    let (mut count, mut bytes, mut crc) = (0, 0, crc32fast::Hasher::new());
    for step in 0..=millis / 5 {
        frames.advance(UnixNanos(START + step * 5_000_000), |stream, frame| {
            crc.update(stream.as_bytes());
            crc.update(frame);
            count += 1;
            bytes += frame.len() as u64;
        });
    }
    (count, bytes, crc.finalize())
}

#[test]
fn bytes_are_those_of_every_other_run() {
    let all = [EmulatedVenue::Kraken, EmulatedVenue::Binance, EmulatedVenue::Coinbase, EmulatedVenue::Alpaca];
    let got = all.map(|venue| format!("{} {:?}", venue.name(), frames(venue, 11, 3_000)));
    assert_eq!(got, GOLDEN, "if the market is meant to be another one, these are the new figures");
    let other = frames(EmulatedVenue::Kraken, 12, 3_000);
    assert_ne!(format!("kraken {other:?}"), GOLDEN[0]);
}

const GOLDEN: [&str; 4] = [
    "kraken (77218, 12783911, 1880587851)",
    "binance (7506, 1553060, 3997645402)",
    "coinbase (25094, 7019698, 1928269604)",
    "alpaca (8033, 998402, 825692963)",
];
