//! Cuts a byte stream into WebSocket messages without copying them.
//! reads -> [`Decoder::fill`] -> one buffer -> [`Decoder::next_message`] -> [`Message`] borrowed from that buffer.
//!
//! Invariants: `start <= end <= buffer.len()`; bytes before `start` are spent, bytes from `end` are free. Memory
//! follows the bytes that arrived, never the length a peer declared, and stops at `max_message_bytes`. After an
//! error or a close frame nothing more is read. A frame costs one header parse; bytes move only when a partial
//! frame sits in the last quarter of the buffer, or when a message came in fragments. A compressed message is inflated
//! frame by frame into a room of its own, within the same limit.

use std::io::{self, Read};
use std::ops::Range;

use super::deflate::{Deflate, Inflater};
use super::{CONTROL_PAYLOAD_BYTES_MAX, Message, ProtocolError, RSV1, Role, close_code_valid, mask, opcode};

/// Largest frame header: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
/// A smaller buffer would spend its time on system calls rather than on frames.
const BUFFER_BYTES_MIN: usize = 64;

/// Whether text messages are checked for UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextCheck {
    /// Text is handed on as bytes; a venue's scanner validates what it uses.
    Unchecked,
    /// A text message that is not UTF-8 is a protocol error, as RFC 6455 asks.
    Utf8,
}

/// Sizes and strictness of a [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderConfig {
    /// Which end we are.
    pub role: Role,
    /// First size of the read buffer and so of one read, bytes.
    pub buffer_bytes: usize,
    /// Largest message accepted, bytes, whole or in fragments.
    pub max_message_bytes: usize,
    /// UTF-8 check of text.
    pub text: TextCheck,
    /// The terms of compression, where the handshake agreed to it.
    pub deflate: Option<Deflate>,
}

impl DecoderConfig {
    /// 256 KiB reads (64 trade frames fit many times), messages up to 64 MiB (ten times the largest book snapshot
    /// seen from any venue), text unchecked, no compression.
    pub fn new(role: Role) -> Self {
        Self { role, buffer_bytes: 256 << 10, max_message_bytes: 64 << 20, text: TextCheck::Unchecked, deflate: None }
    }
}

/// Where the payload of a complete message lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    Buffer,
    Assembly,
    Inflated,
}

/// A complete message before it is borrowed. Ranges instead of slices keep the search loop free of borrows.
struct Found {
    opcode: u8,
    place: Place,
    range: Range<usize>,
}

/// One frame header, verified against the role, the limits and RFC 6455 §5.
struct Header {
    opcode: u8,
    last: bool,
    /// RSV1 of a message's first frame: the message is compressed.
    compressed: bool,
    mask: Option<[u8; 4]>,
    header_bytes: usize,
    payload_bytes: usize,
}

/// Reads messages from a byte stream, in place.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes from `start` that the frame at `start` needs in all; 0 while its header is incomplete.
    frame_bytes: usize,
    /// Fragments of the message under assembly, unmasked. Cleared when the next one begins.
    assembly: Vec<u8>,
    /// Opcode of the message under assembly.
    assembling: Option<u8>,
    /// Payload bytes of the message under assembly, as they came.
    assembled: u64,
    /// The message under assembly is compressed.
    inflating: bool,
    inflater: Option<Box<Inflater>>,
    failed: Option<ProtocolError>,
    closed: bool,
}

impl Decoder {
    /// Allocates the buffer; nothing else is allocated while messages fit it and come unfragmented.
    pub fn new(config: DecoderConfig) -> Self {
        let buffer = vec![0; config.buffer_bytes.max(BUFFER_BYTES_MIN)];
        let inflater = config.deflate.map(|terms| {
            let alone = match config.role {
                Role::Client => terms.server_no_context_takeover,
                Role::Server => terms.client_no_context_takeover,
            };
            Box::new(Inflater::new(!alone, config.max_message_bytes))
        });
        Self {
            config,
            buffer,
            start: 0,
            end: 0,
            frame_bytes: 0,
            assembly: Vec::new(),
            assembling: None,
            assembled: 0,
            inflating: false,
            inflater,
            failed: None,
            closed: false,
        }
    }

    /// Forgets everything but the buffers, for a new connection on the same terms.
    pub fn reset(&mut self) {
        (self.start, self.end, self.frame_bytes) = (0, 0, 0);
        self.assembly.clear();
        self.assembling = None;
        self.assembled = 0;
        self.inflating = false;
        if let Some(inflater) = &mut self.inflater {
            inflater.reset();
        }
        self.failed = None;
        self.closed = false;
    }

    /// Reads once from `source` into the free space. `Ok(0)` is the end of the stream, as in [`Read`].
    ///
    /// Take all messages before filling again: a buffer full of untaken ones is an error of kind `StorageFull`.
    pub fn fill<R: Read + ?Sized>(&mut self, source: &mut R) -> io::Result<usize> {
        self.make_room();
        if self.end == self.buffer.len() {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "websocket buffer is full of untaken messages; take them before reading on",
            ));
        }
        let read = source.read(&mut self.buffer[self.end..])?;
        assert!(read <= self.buffer.len() - self.end, "a reader reported more bytes than it was given room for");
        self.end += read;
        Ok(read)
    }

    /// Appends bytes that were read elsewhere, such as those that came behind the handshake's response.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        if self.buffer.len() - self.end < bytes.len() {
            self.buffer.resize(self.end + bytes.len(), 0);
        }
        self.buffer[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// The next complete message, or `None` until more bytes are read. Errors are final and repeat.
    #[inline]
    pub fn next_message(&mut self) -> Result<Option<Message<'_>>, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.find() {
            Ok(None) => Ok(None),
            Ok(Some(found)) => Ok(Some(self.message(found))),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Bytes read but not yet part of a message that was handed out.
    pub fn pending_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory held for reading, assembling and inflating.
    pub fn memory_bytes(&self) -> usize {
        let inflated = self.inflater.as_ref().map_or(0, |i| i.memory_bytes());
        self.buffer.capacity() + self.assembly.capacity() + inflated
    }

    /// Whether the peer's close frame was handed out.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    #[inline]
    fn find(&mut self) -> Result<Option<Found>, ProtocolError> {
        while !self.closed {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let total = header.header_bytes + header.payload_bytes;
            if self.end - self.start < total {
                self.frame_bytes = total;
                return Ok(None);
            }
            let payload = self.start + header.header_bytes..self.start + total;
            self.start += total;
            self.frame_bytes = 0;
            if let Some(key) = header.mask {
                mask::apply(&mut self.buffer[payload.clone()], key);
            }
            if header.opcode >= opcode::CLOSE {
                return self.control(header.opcode, payload).map(Some);
            }
            if header.last && self.assembling.is_none() && !header.compressed {
                self.check_text(header.opcode, &self.buffer[payload.clone()])?;
                return Ok(Some(Found { opcode: header.opcode, place: Place::Buffer, range: payload }));
            }
            if let Some(found) = self.assemble(&header, payload)? {
                return Ok(Some(found));
            }
        }
        // RFC 6455 §5.5.1: whatever follows a close frame is discarded.
        self.start = self.end;
        Ok(None)
    }

    /// Parses the header at `start`; `None` while it is incomplete. Breaches are named as early as their byte is here.
    #[inline]
    fn header(&self) -> Result<Option<Header>, ProtocolError> {
        let bytes = &self.buffer[self.start..self.end];
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        self.check_first_bytes(*first, *second)?;
        let (declared, length_bytes) = match second & 0x7F {
            126 => match rest.first_chunk::<2>() {
                Some(be) => (u64::from(u16::from_be_bytes(*be)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(be) => (u64::from_be_bytes(*be), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let payload_bytes = self.check_length(first & 0x0F, declared, length_bytes)?;
        let mut header_bytes = 2 + length_bytes;
        let mut mask = None;
        if second & 0x80 != 0 {
            let Some(key) = bytes[header_bytes..].first_chunk::<4>() else {
                return Ok(None);
            };
            mask = Some(*key);
            header_bytes += 4;
        }
        let (opcode, last, compressed) = (first & 0x0F, first & 0x80 != 0, first & RSV1 != 0);
        Ok(Some(Header { opcode, last, compressed, mask, header_bytes, payload_bytes }))
    }

    #[inline]
    fn check_first_bytes(&self, first: u8, second: u8) -> Result<(), ProtocolError> {
        let opcode = first & 0x0F;
        // RFC 7692 §6: the bit stands on the first frame of a compressed message and nowhere else.
        let compressed = self.inflater.is_some() && matches!(opcode, opcode::TEXT | opcode::BINARY);
        if first & if compressed { 0x70 ^ RSV1 } else { 0x70 } != 0 {
            return Err(ProtocolError::ReservedBits { bits: first >> 4 & 0x07 });
        }
        match (self.config.role, second & 0x80 != 0) {
            (Role::Client, true) => return Err(ProtocolError::MaskedByServer),
            (Role::Server, false) => return Err(ProtocolError::UnmaskedByClient),
            _ => {}
        }
        match opcode {
            opcode::TEXT | opcode::BINARY if self.assembling.is_some() => {
                Err(ProtocolError::InterleavedData { opcode })
            }
            opcode::CONTINUATION if self.assembling.is_none() => Err(ProtocolError::UnexpectedContinuation),
            opcode::CONTINUATION | opcode::TEXT | opcode::BINARY => Ok(()),
            opcode::CLOSE | opcode::PING | opcode::PONG if first & 0x80 == 0 => {
                Err(ProtocolError::FragmentedControl { opcode })
            }
            opcode::CLOSE | opcode::PING | opcode::PONG if second & 0x7F > CONTROL_PAYLOAD_BYTES_MAX as u8 => {
                Err(ProtocolError::ControlTooLong { opcode })
            }
            opcode::CLOSE | opcode::PING | opcode::PONG => Ok(()),
            _ => Err(ProtocolError::UnknownOpcode { opcode }),
        }
    }

    /// The declared length as a size we are willing to hold.
    #[inline]
    fn check_length(&self, opcode: u8, declared: u64, length_bytes: usize) -> Result<usize, ProtocolError> {
        let shortest = match length_bytes {
            0 => true,
            2 => declared > 125,
            _ => declared > 0xFFFF && declared >> 63 == 0,
        };
        if !shortest {
            return Err(ProtocolError::LengthNotMinimal { declared });
        }
        let assembled = if opcode == opcode::CONTINUATION { self.assembled } else { 0 };
        let bytes = assembled + declared;
        let max = self.config.max_message_bytes as u64;
        // A control frame is bounded by its own 125 bytes whatever the limit for messages.
        if bytes > max && opcode < opcode::CLOSE {
            return Err(ProtocolError::TooLong { bytes, max });
        }
        Ok(declared as usize)
    }

    fn control(&mut self, opcode: u8, payload: Range<usize>) -> Result<Found, ProtocolError> {
        if opcode == opcode::CLOSE {
            match &self.buffer[payload.clone()] {
                [] => {}
                [_] => return Err(ProtocolError::CloseTruncated),
                [high, low, ..] => {
                    let code = u16::from_be_bytes([*high, *low]);
                    if !close_code_valid(code) {
                        return Err(ProtocolError::CloseCode { code });
                    }
                }
            }
            self.closed = true;
        }
        Ok(Found { opcode, place: Place::Buffer, range: payload })
    }

    /// Adds one fragment; gives the message when it was the last.
    fn assemble(&mut self, header: &Header, payload: Range<usize>) -> Result<Option<Found>, ProtocolError> {
        if header.opcode != opcode::CONTINUATION {
            self.assembly.clear();
            self.assembling = Some(header.opcode);
            self.assembled = 0;
            self.inflating = header.compressed;
            if let Some(inflater) = &mut self.inflater {
                inflater.begin();
            }
        }
        self.assembled += payload.len() as u64;
        if self.inflating {
            return self.inflate(header.last, payload);
        }
        self.reserve_assembly(payload.len());
        self.assembly.extend_from_slice(&self.buffer[payload]);
        if !header.last {
            return Ok(None);
        }
        let opcode = self.assembling.take().expect("check_first_bytes lets no continuation pass without a beginning");
        self.check_text(opcode, &self.assembly)?;
        Ok(Some(Found { opcode, place: Place::Assembly, range: 0..self.assembly.len() }))
    }

    /// Inflates one frame of a compressed message; gives the message when it was the last.
    fn inflate(&mut self, last: bool, payload: Range<usize>) -> Result<Option<Found>, ProtocolError> {
        let inflater = self.inflater.as_mut().expect("check_first_bytes lets no compressed message pass without terms");
        inflater.push(&self.buffer[payload])?;
        if !last {
            return Ok(None);
        }
        inflater.end()?;
        let bytes = inflater.message().len();
        let opcode = self.assembling.take().expect("assemble notes the opcode of a message's first frame");
        self.check_text(opcode, self.inflated())?;
        Ok(Some(Found { opcode, place: Place::Inflated, range: 0..bytes }))
    }

    fn inflated(&self) -> &[u8] {
        self.inflater.as_ref().map_or(&[], |inflater| inflater.message())
    }

    /// Doubles like a vector would, but never past the limit that the header was checked against.
    fn reserve_assembly(&mut self, more: usize) {
        let needed = self.assembly.len() + more;
        if needed > self.assembly.capacity() {
            let size = (self.assembly.capacity() * 2).min(self.config.max_message_bytes).max(needed);
            self.assembly.reserve_exact(size - self.assembly.len());
        }
    }

    #[inline]
    fn check_text(&self, opcode: u8, payload: &[u8]) -> Result<(), ProtocolError> {
        if self.config.text == TextCheck::Unchecked || opcode != opcode::TEXT {
            return Ok(());
        }
        match std::str::from_utf8(payload) {
            Ok(_) => Ok(()),
            Err(error) => Err(ProtocolError::NotUtf8 { valid_bytes: error.valid_up_to() }),
        }
    }

    #[inline]
    fn message(&self, found: Found) -> Message<'_> {
        let payload = match found.place {
            Place::Buffer => &self.buffer[found.range],
            Place::Assembly => &self.assembly[found.range],
            Place::Inflated => &self.inflated()[found.range],
        };
        match found.opcode {
            opcode::TEXT => Message::Text(payload),
            opcode::BINARY => Message::Binary(payload),
            opcode::PING => Message::Ping(payload),
            opcode::PONG => Message::Pong(payload),
            _ => match payload {
                [high, low, reason @ ..] => Message::Close { code: Some(u16::from_be_bytes([*high, *low])), reason },
                _ => Message::Close { code: None, reason: &[] },
            },
        }
    }

    /// Makes sure that a read finds worthwhile space: for free when all is taken, by moving the partial frame when
    /// the tail is short, by growing when that frame alone nearly fills the buffer.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            return;
        }
        if self.tail_is_short() || self.start + self.frame_bytes > self.buffer.len() {
            self.compact();
        }
        if self.tail_is_short() && self.frame_bytes > self.buffer.len() {
            self.grow();
        }
    }

    fn tail_is_short(&self) -> bool {
        self.buffer.len() - self.end < self.buffer.len() / 4
    }

    /// Doubles, so that memory follows the bytes that did arrive; the declared length was checked against the limit.
    fn grow(&mut self) {
        let most = self.config.max_message_bytes.saturating_add(HEADER_BYTES_MAX);
        let size = (self.buffer.len() * 2).min(most);
        self.buffer.reserve_exact(size.saturating_sub(self.buffer.len()));
        self.buffer.resize(size.max(self.buffer.len()), 0);
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
