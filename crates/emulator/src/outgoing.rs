//! Frames on their way to one socket, dressed as the venue's protocol has them, and the account of what was sent.
//! topic frame -> [`Dress`] -> WebSocket frame -> figures, checksum and journal.
//!
//! Topics are written once for all readers; what differs between two connections (a stream's name, a running number,
//! the encoding) is added here. An empty frame stands for one that a fault took out: it is never sent, but where the
//! venue counts its frames it has used up its number.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use feed::websocket::{Deflater, Encoder};
use model::{StreamKind, UnixNanos};

use crate::alpaca::msgpack;
use crate::faults::Trigger;
use crate::faults::engine::FrameFaults;
use crate::hub::ConnectionPlan;
use crate::journal::ConnectionJournal;
use crate::market::{Topic, TopicId};
use crate::stats::{ConnectionStats, kind_index};
use crate::text::push_u64;

/// Where a running number is put: the digits behind it are replaced.
const NUMBER_MARK: &[u8] = b"\"sequence_num\":";
/// The number stands in the envelope, which comes first.
const NUMBER_WITHIN: usize = 200;
/// So many bytes of payloads are summed up at a time.
const UNSUMMED_BYTES: usize = 8 << 10;
/// Most messages and bytes that one array carries.
const BATCH_MESSAGES_MAX: u32 = 64;
const BATCH_BYTES_MAX: usize = 32 << 10;

/// What a connection's protocol adds to the frames of its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    /// Nothing.
    Bare,
    /// Binance's `{"stream":…,"data":…}` around data.
    Wrapped,
    /// The connection's next number in every frame, answers included.
    Counted {
        /// The number of the next frame.
        next: u64,
    },
    /// Messages that are ready at the same time share an array; answers come alone.
    Batched {
        /// Binary msgpack instead of JSON text.
        msgpack: bool,
    },
}

pub(crate) struct Outgoing {
    pub(crate) encoder: Encoder,
    /// Compresses messages, where the client offered it and the server is to.
    pub(crate) deflater: Option<Deflater>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) dress: Dress,
    scratch: Vec<u8>,
    /// What stands before a frame of each topic when frames are wrapped; it is closed by a brace.
    pub(crate) wrappers: Vec<Vec<u8>>,
    /// The array that is being filled, without its closing bracket, and what it holds.
    batch: Vec<u8>,
    batch_kind: StreamKind,
    batch_messages: u32,
    /// What each topic carries.
    kinds: Vec<StreamKind>,
    pub(crate) stats: ConnectionStats,
    crc: crc32fast::Hasher,
    /// Payloads that are not in the checksum yet: it is much faster over many at once.
    unsummed: Vec<u8>,
    pub(crate) journal: Option<ConnectionJournal>,
    pub(crate) now: UnixNanos,
    pub(crate) failed: Option<io::Error>,
    /// When a data or answer frame was last written.
    pub(crate) last_text: UnixNanos,
    /// Faults for frames of this connection alone, and the topics they know.
    pub(crate) faults: Option<(FrameFaults, Vec<Topic>)>,
    /// Faults of the socket that wait for a frame.
    pub(crate) awaiting: Vec<Arc<ConnectionPlan>>,
    /// Those whose frame came: nothing more is taken until they were seen to.
    pub(crate) fired: Vec<Arc<ConnectionPlan>>,
    /// Frames of topics so far, for faults that wait for one.
    topic_frames: u64,
    /// Until then, messages go in frames of at most so many bytes.
    pub(crate) fragments: Option<(usize, UnixNanos)>,
}

impl Outgoing {
    pub(crate) fn new(number: u64, kinds: Vec<StreamKind>, journal: Option<ConnectionJournal>, now: UnixNanos) -> Self {
        Self {
            encoder: Encoder::server(),
            deflater: None,
            bytes: Vec::new(),
            dress: Dress::Bare,
            scratch: Vec::new(),
            wrappers: vec![Vec::new(); kinds.len()],
            batch: Vec::new(),
            batch_kind: StreamKind::Connection,
            batch_messages: 0,
            kinds,
            stats: ConnectionStats { number, open: true, ..ConnectionStats::default() },
            crc: crc32fast::Hasher::new(),
            unsummed: Vec::with_capacity(UNSUMMED_BYTES * 2),
            journal,
            now,
            failed: None,
            last_text: now,
            faults: None,
            awaiting: Vec::new(),
            fired: Vec::new(),
            topic_frames: 0,
            fragments: None,
        }
    }

    /// The checksum of all payloads so far.
    pub(crate) fn crc32(&mut self) -> u32 {
        self.sum_up();
        self.crc.clone().finalize()
    }

    fn sum_up(&mut self) {
        self.crc.update(&self.unsummed);
        self.unsummed.clear();
    }

    /// Sends an answer: an ack, a status, a heartbeat.
    pub(crate) fn say(&mut self, payload: &[u8]) {
        match self.dress {
            Dress::Bare | Dress::Wrapped => self.text(StreamKind::Connection, payload),
            Dress::Counted { .. } => self.counted(StreamKind::Connection, payload),
            Dress::Batched { msgpack } => {
                self.flush();
                self.whole(StreamKind::Connection, payload, msgpack);
            }
        }
    }

    /// Sends a frame of a topic, unless a fault of this connection has another word.
    pub(crate) fn topic_frame(&mut self, topic: TopicId, frame: &[u8]) {
        match self.faults.take() {
            Some((mut faults, topics)) if !frame.is_empty() => {
                faults.expire(self.now);
                faults.pass(topic, &topics, frame.to_vec(), self.now, |topic, frame| self.dressed(topic, frame));
                self.faults = (!faults.is_idle()).then_some((faults, topics));
            }
            faults => {
                self.faults = faults;
                self.dressed(topic, frame);
            }
        }
        if self.awaiting.is_empty() || frame.is_empty() {
            return;
        }
        self.topic_frames += 1;
        let sent = self.topic_frames;
        let fired = self.awaiting.extract_if(.., |plan| match plan.planned.trigger {
            Trigger::Frame(number) if sent < number => plan.fired.load(Ordering::Acquire),
            _ => true,
        });
        self.fired.extend(fired.filter(|plan| !plan.fired.swap(true, Ordering::AcqRel)));
    }

    fn dressed(&mut self, topic: TopicId, frame: &[u8]) {
        if frame.is_empty() {
            if let Dress::Counted { next } = &mut self.dress {
                *next += 1;
            }
            return;
        }
        let kind = self.kinds[topic as usize];
        match self.dress {
            Dress::Bare => self.text(kind, frame),
            Dress::Wrapped => self.wrapped(kind, topic, frame),
            Dress::Counted { .. } => self.counted(kind, frame),
            Dress::Batched { .. } => self.batched(kind, frame),
        }
    }

    /// Sends the array that is being filled.
    pub(crate) fn flush(&mut self) {
        let Dress::Batched { msgpack } = self.dress else { return };
        if self.batch_messages == 0 {
            return;
        }
        self.batch_messages = 0;
        let mut batch = std::mem::take(&mut self.batch);
        batch.push(b']');
        self.whole(self.batch_kind, &batch, msgpack);
        batch.clear();
        self.batch = batch;
    }

    fn wrapped(&mut self, kind: StreamKind, topic: TopicId, frame: &[u8]) {
        let wrapper = &self.wrappers[topic as usize];
        if wrapper.is_empty() {
            return self.text(kind, frame);
        }
        let mut whole = std::mem::take(&mut self.scratch);
        whole.clear();
        whole.extend_from_slice(wrapper);
        whole.extend_from_slice(frame);
        whole.push(b'}');
        self.text(kind, &whole);
        self.scratch = whole;
    }

    fn counted(&mut self, kind: StreamKind, frame: &[u8]) {
        let Dress::Counted { next } = &mut self.dress else { return self.text(kind, frame) };
        let number = *next;
        let window = &frame[..frame.len().min(NUMBER_WITHIN)];
        let found = window.windows(NUMBER_MARK.len()).position(|window| window == NUMBER_MARK);
        let Some(mark) = found else { return self.text(kind, frame) };
        *next += 1;
        let digits = mark + NUMBER_MARK.len();
        let rest = digits + frame[digits..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut whole = std::mem::take(&mut self.scratch);
        whole.clear();
        whole.extend_from_slice(&frame[..digits]);
        push_u64(number, &mut whole);
        whole.extend_from_slice(&frame[rest..]);
        self.text(kind, &whole);
        self.scratch = whole;
    }

    fn batched(&mut self, kind: StreamKind, frame: &[u8]) {
        // What a fault cut in half is no array and goes out as it is.
        let Some(messages) = frame.strip_prefix(b"[").and_then(|frame| frame.strip_suffix(b"]")) else {
            self.flush();
            let binary = matches!(self.dress, Dress::Batched { msgpack: true });
            return self.payload(kind, frame, frame, binary);
        };
        self.batch.push(if self.batch_messages == 0 { b'[' } else { b',' });
        self.batch.extend_from_slice(messages);
        if self.batch_messages == 0 {
            self.batch_kind = kind;
        }
        self.batch_messages += 1;
        if self.batch_messages == BATCH_MESSAGES_MAX || self.batch.len() >= BATCH_BYTES_MAX {
            self.flush();
        }
    }

    /// One JSON array, in the connection's encoding. The journal has the JSON of it either way.
    fn whole(&mut self, kind: StreamKind, json: &[u8], binary: bool) {
        if !binary {
            return self.text(kind, json);
        }
        let mut packed = std::mem::take(&mut self.scratch);
        packed.clear();
        if msgpack::push(json, &mut packed).is_none() {
            packed.clear();
            packed.extend_from_slice(json);
        }
        self.payload(kind, &packed, json, true);
        self.scratch = packed;
    }

    fn text(&mut self, kind: StreamKind, payload: &[u8]) {
        self.payload(kind, payload, payload, false);
    }

    fn payload(&mut self, kind: StreamKind, payload: &[u8], journaled: &[u8], binary: bool) {
        let start = self.bytes.len();
        match (binary, &mut self.deflater) {
            (true, None) => self.encoder.binary(payload, &mut self.bytes),
            (false, None) => self.encoder.text_bytes(payload, &mut self.bytes),
            (true, Some(deflater)) => self.encoder.binary_deflated(payload, deflater, &mut self.bytes),
            (false, Some(deflater)) => self.encoder.text_deflated(payload, deflater, &mut self.bytes),
        }
        if let Some((fragment_bytes, _)) = self.fragments.filter(|(_, until)| self.now < *until) {
            let whole = self.bytes.split_off(start);
            push_fragments(&whole, fragment_bytes, &mut self.bytes);
        }
        self.unsummed.extend_from_slice(payload);
        if self.unsummed.len() >= UNSUMMED_BYTES {
            self.sum_up();
        }
        self.stats.frames += 1;
        self.stats.bytes += payload.len() as u64;
        self.stats.frames_by_kind[kind_index(kind)] += 1;
        self.last_text = self.now;
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.frame(journaled, self.now)
        {
            self.failed = Some(error);
        }
    }
}

/// Cuts one frame of a server into several, control bits and all.
fn push_fragments(frame: &[u8], fragment_bytes: usize, out: &mut Vec<u8>) {
    const FIN: u8 = 0x80;
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let last = (frame.len() - head).div_ceil(fragment_bytes).saturating_sub(1);
    for (index, fragment) in frame[head..].chunks(fragment_bytes).enumerate() {
        let kind = if index == 0 { frame[0] & !FIN } else { 0 };
        out.push(kind | if index == last { FIN } else { 0 });
        match fragment.len() {
            len @ 0..=125 => out.push(len as u8),
            len @ 126..=0xFFFF => {
                out.push(126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(fragment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(dress: Dress, frames: &[&str]) -> (u64, Vec<u8>, Dress) {
        let mut out = Outgoing::new(1, vec![StreamKind::Trade], None, UnixNanos::ZERO);
        out.dress = dress;
        frames.iter().for_each(|frame| out.topic_frame(0, frame.as_bytes()));
        out.flush();
        (out.stats.frames, out.bytes, out.dress)
    }

    #[test]
    fn a_frame_that_a_fault_took_uses_up_its_number() {
        let frame = r#"{"channel":"x","sequence_num":0,"events":[]}"#;
        let (frames, bytes, dress) = sent(Dress::Counted { next: 9 }, &[frame, "", frame]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!((frames, dress), (2, Dress::Counted { next: 12 }));
        assert!(text.contains("_num\":9,") && text.contains("_num\":11,") && !text.contains("_num\":10,"), "{text}");
    }

    #[test]
    fn fragments_are_the_message() {
        use feed::websocket::{Decoder, DecoderConfig, Message, Role};
        let mut out = Outgoing::new(1, vec![StreamKind::Trade], None, UnixNanos::ZERO);
        out.fragments = Some((3, UnixNanos(1)));
        let text = "x".repeat(200);
        out.topic_frame(0, text.as_bytes());
        let mut decoder = Decoder::new(DecoderConfig::new(Role::Client));
        decoder.push(&out.bytes);
        assert_eq!(decoder.next_message().ok().flatten(), Some(Message::Text(text.as_bytes())));
        assert_eq!(out.bytes.len(), 200 + 2 * 67);
    }

    #[test]
    fn messages_share_an_array() {
        let (frames, bytes, _) = sent(Dress::Batched { msgpack: false }, &["[1]", "", "[2,3]", "[4", "[5]"]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(frames, 3);
        assert!(text.contains("[1,2,3]") && text.ends_with("[5]"), "{text}");
    }
}
