//! From records to batches, once for all clients that want the same bytes.
//!
//! Clients with equal filters that stand at the same record get the same batch: the last few batches are remembered
//! with the place they begin at and the reader that stands behind them.

use super::past::PastLane;
use crate::cursor::{Kind, RingCursor, Scan, Step};
use crate::index::RingIndex;
use model::{UnixNanos, Venue};
use ring::{Point, Reader, RingError};
use wire::batch::{BatchBuilder, CATCH_UP, FINAL, HEADER_BYTES, OUT_OF_BAND};

/// Slots per batch at most: some 60 KiB, a third of a socket's usual buffer. Batches end where the position passes a
/// multiple of it, so that clients that drifted apart come to the same places again.
const BATCH_SLOTS: usize = 1024;
const _: () = assert!(BATCH_SLOTS.is_power_of_two());
/// Batches remembered: a few different filters, and clients a few batches apart. 2 MiB when all are full.
const MEMOS_MAX: usize = 32;
/// Bytes of a batch of that many slots, its header and a list of its sequences.
const MEMO_BYTES: usize = HEADER_BYTES + BATCH_SLOTS * (56 + 4);
/// "None was looked at", for batches that stand beside the sequence.
pub(super) const NO_SCAN: (u64, u64) = (1, 0);

/// Where a client stands, for whoever wants to know whether another stands there too.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    ring: usize,
    mapping: u64,
    filter: u64,
    position: u64,
    /// The first sequence the client was not told of being looked at.
    reported: Point,
}

/// What a place leads to.
struct Memo {
    place: Place,
    bytes: Vec<u8>,
    told: usize,
    after: Reader,
    reported: Point,
}

/// One client's way through one ring, and what it was told of it.
pub(super) struct Lane {
    pub(super) cursor: RingCursor,
    pub(super) mapping: u64,
    /// The first sequence the client was not told of being looked at.
    pub(super) reported: Point,
    /// Whether a batch was sent since the last beat.
    pub(super) sent: bool,
    /// While the cursor stands in the past.
    pub(super) past: PastLane,
}

/// What an encoding came to.
pub(super) struct Encoded<'a> {
    /// To be sent; may be empty.
    pub(super) bytes: &'a [u8],
    /// Records owed among them.
    pub(super) told: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// There may be more.
    Progress,
    Idle,
    /// The ring has a successor.
    Retired,
    /// These are the client's last bytes.
    Last,
}

pub(super) struct Encoder {
    builder: BatchBuilder,
    memos: Vec<Memo>,
    /// Buffers for memos to come.
    spare: Vec<Vec<u8>>,
    next_memo: usize,
    scratch: Vec<u8>,
    /// Batches encoded.
    pub(super) encoded: u64,
}

impl Lane {
    pub(super) fn new(cursor: RingCursor, mapping: u64) -> Lane {
        let reported = cursor.owed();
        Lane { cursor, mapping, reported, sent: false, past: PastLane::default() }
    }

    /// What was looked at and not yet reported, up to `next`.
    fn unreported(&self, next: Point) -> Option<Scan> {
        let Point { epoch, sequence } = self.reported;
        (next.epoch == epoch && next.sequence > sequence).then(|| Scan {
            epoch,
            first: sequence,
            last: next.sequence - 1,
        })
    }
}

impl Memo {
    /// A short batch, made when there was no more, would only slow down whoever is far behind by now.
    fn is_worth_sending(&self, lane: &Lane) -> bool {
        let end = self.after.position();
        let whole = self.place.position / BATCH_SLOTS as u64 != end / BATCH_SLOTS as u64;
        whole || lane.cursor.reader().tail().saturating_sub(end) < BATCH_SLOTS as u64
    }
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            builder: BatchBuilder::with_capacity(MEMO_BYTES),
            memos: Vec::with_capacity(MEMOS_MAX),
            // Written to now, so that a burst in a week does not make the process grow.
            spare: (0..MEMOS_MAX).map(|_| vec![u8::MAX; MEMO_BYTES]).collect(),
            next_memo: 0,
            scratch: Vec::new(),
            encoded: 0,
        }
    }

    /// The next batch of a lane.
    pub(super) fn next(
        &mut self,
        lane: &mut Lane,
        ring: usize,
        filter: u64,
        index: &mut RingIndex,
        now: UnixNanos,
    ) -> Result<Encoded<'_>, RingError> {
        if !lane.cursor.is_plain() {
            return self.aside(lane, index, now);
        }
        let (mapping, position) = (lane.mapping, lane.cursor.reader().position());
        let place = Place { ring, mapping, filter, position, reported: lane.reported };
        if let Some(at) = self.memos.iter().position(|memo| memo.place == place && memo.is_worth_sending(lane))
            && lane.cursor.stand_with(&self.memos[at].after)
        {
            let memo = &self.memos[at];
            lane.reported = memo.reported;
            return Ok(Encoded { bytes: &memo.bytes, told: memo.told, what: What::Progress });
        }
        self.live(lane, place, index, now)
    }

    fn live(
        &mut self,
        lane: &mut Lane,
        place: Place,
        index: &mut RingIndex,
        now: UnixNanos,
    ) -> Result<Encoded<'_>, RingError> {
        let before = lane.cursor.owed();
        let builder = &mut self.builder;
        let slots = BATCH_SLOTS - place.position as usize % BATCH_SLOTS;
        let step = lane.cursor.poll(slots, now, index, |_, envelope, words| {
            builder.push(envelope.sequence, words);
        })?;
        let (told, scan) = match step {
            Step::Live { told, scan } => (told, scan),
            Step::Aside => return self.flush(lane, before, What::Progress),
            Step::Ended => return self.flush(lane, before, What::Last),
            Step::Retired => return Ok(Encoded { bytes: &[], told: 0, what: What::Retired }),
            Step::Idle => return Ok(Encoded { bytes: &[], told: 0, what: What::Idle }),
        };
        let mut bytes = self.take_memo();
        let (venue, published) = (lane.cursor.venue(), lane.cursor.reader().published_at());
        if scan.epoch != lane.reported.epoch {
            if let Some(rest) = lane.unreported(before) {
                self.empty(venue, rest, published, &mut bytes);
            }
            lane.reported = Point { epoch: scan.epoch, sequence: scan.first };
        }
        if told > 0 {
            self.encoded += 1;
            let range = (lane.reported.sequence, scan.last);
            self.builder.finish(Some(venue), scan.epoch, range, published, 0, &mut bytes);
            lane.reported.sequence = scan.last + 1;
        }
        let at = self.remember(place, bytes, told, lane);
        let memo = &self.memos[at];
        Ok(Encoded { bytes: &memo.bytes, told, what: What::Progress })
    }

    /// A buffer to encode into: the one remembered longest.
    fn take_memo(&mut self) -> Vec<u8> {
        let used = self.memos.get_mut(self.next_memo).map(|memo| std::mem::take(&mut memo.bytes));
        let mut bytes = used.or_else(|| self.spare.pop()).unwrap_or_default();
        bytes.clear();
        bytes
    }

    fn remember(&mut self, place: Place, bytes: Vec<u8>, told: usize, lane: &Lane) -> usize {
        let (at, reader, reported) = (self.next_memo, lane.cursor.reader(), lane.reported);
        self.next_memo = (at + 1) % MEMOS_MAX;
        match self.memos.get_mut(at) {
            None => self.memos.push(Memo { place, bytes, told, after: reader.fork(), reported }),
            Some(memo) => {
                if !memo.after.stand_with(reader) {
                    memo.after = reader.fork();
                }
                (memo.place, memo.bytes, memo.told, memo.reported) = (place, bytes, told, reported);
            }
        }
        at
    }

    /// Overruns, and what a joiner needs: rare, and each client's own.
    fn aside(&mut self, lane: &mut Lane, index: &mut RingIndex, now: UnixNanos) -> Result<Encoded<'_>, RingError> {
        self.scratch.clear();
        let (venue, published) = (lane.cursor.venue(), lane.cursor.reader().published_at());
        let (builder, out) = (&mut self.builder, &mut self.scratch);
        let mut current: Option<(Kind, u64)> = None;
        let step = lane.cursor.poll(BATCH_SLOTS, now, index, |kind, envelope, words| {
            if let Some((open, epoch)) = current.filter(|open| *open != (kind, envelope.epoch)) {
                builder.finish(Some(venue), epoch, NO_SCAN, published, flags_of(open), out);
            }
            current = Some((kind, envelope.epoch));
            builder.push(envelope.sequence, words);
        });
        if let Some((open, epoch)) = current {
            self.encoded += 1;
            builder.finish(Some(venue), epoch, NO_SCAN, published, flags_of(open), out);
        }
        let what = if step? == Step::Ended { What::Last } else { What::Progress };
        if what == What::Last {
            builder.finish(Some(venue), lane.reported.epoch, NO_SCAN, published, OUT_OF_BAND | FINAL, out);
        }
        lane.reported = lane.cursor.owed();
        Ok(Encoded { bytes: &self.scratch, told: 0, what })
    }

    /// Reports what was looked at before the cursor left its way.
    fn flush(&mut self, lane: &mut Lane, before: Point, what: What) -> Result<Encoded<'_>, RingError> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        if let Some(rest) = lane.unreported(before) {
            self.empty(lane.cursor.venue(), rest, lane.cursor.reader().published_at(), &mut out);
        }
        lane.reported = lane.cursor.owed();
        self.scratch = out;
        Ok(Encoded { bytes: &self.scratch, told: 0, what })
    }

    /// A batch without records: the range looked at, and with it the next sequence.
    pub(super) fn beat(&mut self, lane: &mut Lane) -> &[u8] {
        let Point { epoch, sequence } = lane.cursor.owed();
        let scan = lane.unreported(lane.cursor.owed()).unwrap_or(Scan { epoch, first: sequence, last: sequence - 1 });
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        self.empty(lane.cursor.venue(), scan, lane.cursor.reader().published_at(), &mut out);
        lane.reported = lane.cursor.owed();
        self.scratch = out;
        &self.scratch
    }

    /// A batch of no ring: nothing but a sign that the link holds.
    pub(super) fn sign_of_life(&mut self) -> &[u8] {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        BatchBuilder::new().finish(None, 0, NO_SCAN, 0, 0, &mut out);
        self.scratch = out;
        &self.scratch
    }

    fn empty(&mut self, venue: Venue, scan: Scan, published: u64, out: &mut Vec<u8>) {
        self.encoded += 1;
        let range = (scan.first, scan.last);
        BatchBuilder::new().finish(Some(venue), scan.epoch, range, published, 0, out);
    }
}

pub(super) fn flags_of(kind: Kind) -> u8 {
    match kind {
        Kind::Live => 0,
        Kind::CatchUp => CATCH_UP,
        Kind::OutOfBand => OUT_OF_BAND,
    }
}
