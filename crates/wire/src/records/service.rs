//! What a reader must know of the stream itself: gaps, what filled them, what it missed, clock and heartbeat.

use super::view;
use crate::{Flags, Header, RecordError};
use model::{GapCause, InstrumentId, StreamKind, UnixNanos, Venue};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Data of the venue is missing, 72 bytes. Ids and count are told only where the venue's ids allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct GapRecord {
    /// Type 11, 9 words. No instrument: every instrument of the venue.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was noticed.
    pub ts_recv: u64,
    /// The [`StreamKind`]'s code.
    pub stream: u8,
    /// The [`GapCause`]'s code.
    pub cause: u8,
    /// Bit 0: `first` and `last` are known. Bit 1: `missing` is known.
    pub known: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// First missing id of the venue.
    pub first: u64,
    /// Last missing id of the venue.
    pub last: u64,
    /// How many are missing.
    pub missing: u64,
    /// Receive time of the last record before the gap; 0 when there was none.
    pub ts_from: u64,
    /// Receive time of the first record after it.
    pub ts_to: u64,
}
layout!(
    GapRecord, 72, Gap,
    stream @ 24, cause @ 25, known @ 26, reserved @ 27, first @ 32, last @ 40, missing @ 48, ts_from @ 56, ts_to @ 64,
);

impl GapRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        let code = |field, code: u8| RecordError::Code { kind: r.header.kind, field, code: code.into() };
        StreamKind::from_code(r.stream).ok_or(code("stream", r.stream))?;
        GapCause::from_code(r.cause).ok_or(code("cause", r.cause))?;
        Ok(r)
    }

    /// A gap in a stream. `range` is the venue's first and last missing id, where it has contiguous ids.
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        stream: StreamKind,
        cause: GapCause,
        range: Option<(u64, u64)>,
        from: UnixNanos,
        to: UnixNanos,
    ) -> Self {
        let (first, last) = range.unwrap_or((0, 0));
        debug_assert!(first <= last, "a gap from {first} to {last} is none");
        GapRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, instrument),
            ts_event: 0,
            ts_recv: to.0,
            stream: stream.code(),
            cause: cause.code(),
            known: if range.is_some() { 3 } else { 0 },
            reserved: [0; 5],
            first,
            last,
            missing: if range.is_some() { last.saturating_sub(first).saturating_add(1) } else { 0 },
            ts_from: from.0,
            ts_to: to.0,
        }
    }

    /// First and last missing id, where known.
    pub fn range(&self) -> Option<(u64, u64)> {
        (self.known & 1 != 0).then_some((self.first, self.last))
    }

    /// How many are missing, where known.
    pub fn missing(&self) -> Option<u64> {
        (self.known & 2 != 0).then_some(self.missing)
    }

    /// The stream with the gap.
    pub fn stream(&self) -> StreamKind {
        StreamKind::from_code(self.stream).expect("checked when the record was viewed")
    }

    /// Why.
    pub fn cause(&self) -> GapCause {
        GapCause::from_code(self.cause).expect("checked when the record was viewed")
    }
}

/// What was missing between two times has been fetched, 48 bytes: all of it that the venue still serves was told, by
/// the stream or late. It closes gaps without ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BackfillRecord {
    /// Type 19, 6 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When the venue's answer was taken in.
    pub ts_recv: u64,
    /// From which time on nothing is missing any more, by the venue's clock.
    pub ts_from: u64,
    /// Up to, not including, which time, by the venue's clock.
    pub ts_to: u64,
    /// Records told late just before this one, from the same answer.
    pub told: u32,
    /// The [`StreamKind`]'s code.
    pub stream: u8,
    /// Zero.
    pub reserved: [u8; 3],
}
layout!(BackfillRecord, 48, Backfill, ts_from @ 24, ts_to @ 32, told @ 40, stream @ 44, reserved @ 45);

impl BackfillRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        let code = RecordError::Code { kind: r.header.kind, field: "stream", code: r.stream.into() };
        StreamKind::from_code(r.stream).ok_or(code)?;
        Ok(r)
    }

    /// Of `stream` nothing is missing between `from` and `to`, after `told` records were told late at `received`.
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        stream: StreamKind,
        (from, to): (UnixNanos, UnixNanos),
        told: u32,
        received: UnixNanos,
    ) -> Self {
        BackfillRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, instrument),
            ts_event: 0,
            ts_recv: received.0,
            ts_from: from.0,
            ts_to: to.0,
            told,
            stream: stream.code(),
            reserved: [0; 3],
        }
    }

    /// Of which stream.
    pub fn stream(&self) -> StreamKind {
        StreamKind::from_code(self.stream).expect("checked when the record was viewed")
    }
}

/// Why a consumer missed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OverrunCause {
    /// The consumer was slower than the ring is long.
    Slow = 1,
    /// What was asked for is no longer held.
    Expired = 2,
    /// The relay was not running.
    Relay = 3,
}

impl OverrunCause {
    /// Every value, in the order of their codes.
    pub const ALL: [OverrunCause; 3] = [OverrunCause::Slow, OverrunCause::Expired, OverrunCause::Relay];

    /// The value with this code.
    pub fn from_code(code: u8) -> Option<OverrunCause> {
        OverrunCause::ALL.into_iter().find(|v| *v as u8 == code)
    }

    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            OverrunCause::Slow => "slow",
            OverrunCause::Expired => "expired",
            OverrunCause::Relay => "relay",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<OverrunCause> {
        OverrunCause::ALL.into_iter().find(|v| v.name() == name)
    }
}

/// What a consumer missed, 64 bytes. Made by the transport, never part of a feed's own sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct OverrunRecord {
    /// Type 12, 8 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was noticed.
    pub ts_recv: u64,
    /// Epoch of the missed records.
    pub epoch: u64,
    /// First sequence missed.
    pub first: u64,
    /// Last sequence missed; 0 when nobody can know.
    pub last: u64,
    /// How many; 0 when nobody can know.
    pub count: u64,
    /// The [`OverrunCause`]'s code.
    pub cause: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(OverrunRecord, 64, Overrun, epoch @ 24, first @ 32, last @ 40, count @ 48, cause @ 56, reserved @ 57);

impl OverrunRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if OverrunCause::from_code(r.cause).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "cause", code: r.cause.into() });
        }
        Ok(r)
    }

    /// Why the records were missed.
    pub fn cause(&self) -> OverrunCause {
        OverrunCause::from_code(self.cause).expect("checked when the record was viewed")
    }

    /// Sequences `first..=last` of `epoch` were missed; `last` is `None` when nobody can know.
    pub fn new(
        venue: Option<Venue>,
        epoch: u64,
        first: u64,
        last: Option<u64>,
        cause: OverrunCause,
        now: UnixNanos,
    ) -> Self {
        debug_assert!(last.is_none_or(|last| first <= last), "an overrun from {first} to {last:?} is none");
        OverrunRecord {
            header: Header::new(Self::TYPE, Self::WORDS, venue, Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: now.0,
            epoch,
            first,
            last: last.unwrap_or(0),
            count: last.map_or(0, |last| last.saturating_sub(first).saturating_add(1)),
            cause: cause as u8,
            reserved: [0; 7],
        }
    }
}

/// The wall clock stepped, 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct ClockRecord {
    /// Type 13, 6 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was noticed, on the clock the records use.
    pub ts_recv: u64,
    /// How far the wall clock moved against the monotonic clock, in ns.
    pub step_ns: i64,
    /// What the wall clock showed.
    pub wall: u64,
    /// What it should have shown.
    pub expected: u64,
}
layout!(ClockRecord, 48, Clock, step_ns @ 24, wall @ 32, expected @ 40);

impl ClockRecord {
    /// The wall clock shows `wall` where `expected` was due.
    pub fn new(venue: Venue, wall: UnixNanos, expected: UnixNanos) -> Self {
        ClockRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: expected.0,
            step_ns: (wall.0 as i64).wrapping_sub(expected.0 as i64),
            wall: wall.0,
            expected: expected.0,
        }
    }
}

/// Nothing happened, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct HeartbeatRecord {
    /// Type 14, 4 words.
    pub header: Header,
    /// 0.
    pub ts_event: u64,
    /// When it was made.
    pub ts_recv: u64,
    /// The sequence the next record will have (in a ring: the one after this record's own).
    pub next_sequence: u64,
}
layout!(HeartbeatRecord, 32, Heartbeat, next_sequence @ 24);

impl HeartbeatRecord {
    /// The next record will have `next_sequence`.
    pub fn new(venue: Venue, next_sequence: u64, now: UnixNanos) -> Self {
        HeartbeatRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), Flags::EMPTY, InstrumentId::NONE),
            ts_event: 0,
            ts_recv: now.0,
            next_sequence,
        }
    }
}
