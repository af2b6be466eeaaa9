//! What an earlier run told, read back from its ring.

use model::{InstrumentId, UnixNanos};
use std::collections::HashMap;
use venues::Memory;
use wire::Record;

/// The newest epoch a ring holds, if there is one that can be read.
pub(super) fn newest_epoch(directory: &ring::Directory, name: &str) -> Option<u64> {
    let reader = ring::Reader::open(directory, name).ok()?;
    reader.epochs().ok()?.last().map(|e| e.epoch)
}

/// What the ring's earlier runs told of each instrument.
pub(super) fn remembered(mut reader: ring::Reader) -> Result<HashMap<InstrumentId, Memory>, ring::RingError> {
    let mut memories: HashMap<InstrumentId, Memory> = HashMap::new();
    let mut take = |words: &[u64]| {
        let Ok(record) = Record::read(words) else { return };
        let Ok(header) = wire::Header::read(words) else { return };
        if header.instrument() == InstrumentId::NONE {
            return;
        }
        let memory = memories.entry(header.instrument()).or_default();
        memory.last_seen = memory.last_seen.max(UnixNanos(words[2]));
        if let Record::Trade(trade) = record
            && let Some(id) = trade.id()
        {
            memory.trade_id = memory.trade_id.max(Some(id));
        }
    };
    loop {
        match reader.poll(4096, |_, words| take(words))? {
            ring::Poll::Idle | ring::Poll::Retired => return Ok(memories),
            ring::Poll::Records(_) | ring::Poll::Lapped(_) => {}
        }
    }
}
