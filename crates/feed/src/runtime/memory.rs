//! What an earlier run told, read back from its ring.

use model::InstrumentId;
use venues::{Memory, Recall};

/// The newest epoch a ring holds, if there is one that can be read.
pub(super) fn newest_epoch(directory: &ring::Directory, name: &str) -> Option<u64> {
    let reader = ring::Reader::open(directory, name).ok()?;
    reader.epochs().ok()?.last().map(|e| e.epoch)
}

/// What the ring's earlier runs told of each instrument.
pub(super) fn remembered(mut reader: ring::Reader) -> Result<Vec<(InstrumentId, Memory)>, ring::RingError> {
    let mut recall = Recall::default();
    loop {
        match reader.poll(4096, |_, words| recall.push(words))? {
            ring::Poll::Idle | ring::Poll::Retired => return Ok(recall.finish()),
            ring::Poll::Records(_) | ring::Poll::Lapped(_) | ring::Poll::Missing(_) => {}
        }
    }
}
