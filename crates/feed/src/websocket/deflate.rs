//! Message compression (RFC 7692, permessage-deflate) for both ends: the terms, an inflater and a deflater.
//!
//! handshake -> [`Deflate`] (what was agreed) -> decoder's inflater / [`Deflater`] for an encoder. A venue that offers
//! compression sends a tenth of the bytes, which matters where a snapshot is megabytes and the link is far. Our own
//! requests are short and stay uncompressed, which the RFC allows to each message.
//!
//! Invariants: an inflated message never takes more than the decoder's limit and one byte, whatever its compressed
//! form promises; rooms are reused, so that nothing is allocated once they have grown. Knows nothing of frames.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::ProtocolError;

/// Smallest window of the format, as a power of two.
pub(super) const WINDOW_BITS_MIN: u8 = 8;
/// Largest window, and the one that holds when nothing is said.
pub(super) const WINDOW_BITS_MAX: u8 = 15;
/// The sender leaves these off the end of each message (RFC 7692 §7.2.1): an empty stored block's length.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The same with a final empty block behind it. A message that stands alone and ends between blocks ends the stream
/// exactly here; one that was cut in the middle of a block does not.
const TAIL_AND_END: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];
/// First size of a room, bytes: a trade frame fits several times.
const ROOM_BYTES: usize = 4096;

/// What a client asks for beside the mere compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeflateOffer {
    /// Each of the server's messages shall stand alone: costs bandwidth, saves nothing of ours, for servers that
    /// compress no other way.
    pub server_no_context_takeover: bool,
    /// The server shall look back no further than two to this many bytes, 8 to 15.
    pub server_max_window_bits: Option<u8>,
}

/// The terms both ends agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// Each of the server's messages stands alone.
    pub server_no_context_takeover: bool,
    /// Each of the client's messages stands alone.
    pub client_no_context_takeover: bool,
    /// How far the server looks back, two to this many bytes, 8 to 15.
    pub server_max_window_bits: u8,
    /// How far the client looks back, two to this many bytes, 8 to 15.
    pub client_max_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: WINDOW_BITS_MAX,
            client_max_window_bits: WINDOW_BITS_MAX,
        }
    }
}

/// Takes messages apart that the other end compressed.
#[derive(Debug)]
pub(super) struct Inflater {
    inflate: Decompress,
    /// Messages refer to earlier ones.
    takeover: bool,
    /// Largest message, bytes.
    max: usize,
    /// The message under way. One byte larger than the limit at most, so that a breach shows.
    message: Vec<u8>,
}

impl Inflater {
    /// `takeover`: whether the sender's messages refer to earlier ones; `max`: bytes of the largest one taken.
    pub(super) fn new(takeover: bool, max: usize) -> Self {
        // The largest window reads what any smaller one wrote.
        Self { inflate: Decompress::new(false), takeover, max, message: Vec::new() }
    }

    /// Forgets everything but the room.
    pub(super) fn reset(&mut self) {
        self.inflate.reset(false);
        self.message.clear();
    }

    /// A new message begins.
    pub(super) fn begin(&mut self) {
        self.message.clear();
    }

    /// Inflates one frame's payload.
    pub(super) fn push(&mut self, compressed: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = compressed;
        loop {
            self.make_room();
            let (read, written) = (self.inflate.total_in(), self.message.len());
            let status = self.inflate.decompress_vec(rest, &mut self.message, FlushDecompress::Sync);
            let Ok(status) = status else {
                return Err(ProtocolError::Inflate { after: self.message.len() });
            };
            let taken = (self.inflate.total_in() - read) as usize;
            rest = &rest[taken..];
            if self.message.len() > self.max {
                return Err(ProtocolError::TooLong { bytes: self.message.len() as u64, max: self.max as u64 });
            }
            if status == Status::StreamEnd {
                // A final block ends a stream but not the message (RFC 7692 §7.2.3.4); the next one begins afresh.
                self.inflate.reset(false);
            } else if taken == 0 && self.message.len() == written && !rest.is_empty() {
                return Err(ProtocolError::Inflate { after: self.message.len() });
            }
            if rest.is_empty() && self.message.len() < self.message.capacity() {
                return Ok(());
            }
        }
    }

    /// The message is complete.
    pub(super) fn end(&mut self) -> Result<(), ProtocolError> {
        if self.takeover {
            return self.push(&TAIL);
        }
        let before = self.message.len();
        self.push(&TAIL_AND_END[..TAIL_AND_END.len() - 1])?;
        // The very last byte must end the stream: `reset` by it leaves the counter at nothing read.
        self.push(&TAIL_AND_END[TAIL_AND_END.len() - 1..])?;
        let whole = self.inflate.total_in() == 0 && self.message.len() == before;
        self.inflate.reset(false);
        if whole { Ok(()) } else { Err(ProtocolError::Inflate { after: self.message.len() }) }
    }

    /// The message, inflated.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Bytes of memory held for messages; the window's 32 KiB are not in it.
    pub(super) fn memory_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Doubles a full room, one byte past the limit at most.
    fn make_room(&mut self) {
        let room = self.message.capacity();
        if self.message.len() == room {
            let size = (room * 2).max(ROOM_BYTES).min(self.max.saturating_add(1)).max(self.message.len() + 1);
            self.message.reserve_exact(size - self.message.len());
        }
    }
}

/// Compresses messages for [`Encoder::text_deflated`](super::Encoder::text_deflated).
#[derive(Debug)]
pub struct Deflater {
    deflate: Compress,
    takeover: bool,
    room: Vec<u8>,
}

impl Deflater {
    /// The server's compressor under these terms, at a level that is fast. `None` for a window of 2^8 bytes, which
    /// the compressor cannot keep to; [`accept_deflate`](super::handshake::accept_deflate) agrees to none such.
    pub fn server(terms: &Deflate) -> Option<Self> {
        (terms.server_max_window_bits > WINDOW_BITS_MIN).then(|| Self {
            deflate: Compress::new_with_window_bits(Compression::fast(), false, terms.server_max_window_bits),
            takeover: !terms.server_no_context_takeover,
            room: Vec::with_capacity(ROOM_BYTES),
        })
    }

    /// The compressed form of one message, without the tail that the RFC leaves off.
    pub fn deflate(&mut self, mut message: &[u8]) -> &[u8] {
        self.room.clear();
        if message.is_empty() {
            // Nothing to flush gives nothing at all; the RFC (§7.2.3.6) names this form for it.
            self.room.push(0);
            return &self.room;
        }
        if !self.takeover {
            self.deflate.reset();
        }
        loop {
            let read = self.deflate.total_in();
            self.deflate
                .compress_vec(message, &mut self.room, FlushCompress::Sync)
                .expect("a compressor refuses only a state that it was not put into");
            message = &message[(self.deflate.total_in() - read) as usize..];
            if message.is_empty() && self.room.len() < self.room.capacity() {
                break;
            }
            self.room.reserve(self.room.capacity().max(ROOM_BYTES));
        }
        let whole = self.room.strip_suffix(&TAIL).expect("a flush ends with an empty stored block");
        &self.room[..whole.len()]
    }
}

#[cfg(test)]
#[path = "deflate_tests.rs"]
mod tests;
