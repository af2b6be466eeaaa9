//! What changes in a book: levels, snapshots, single orders.

use super::{NONE, view};
use crate::{Flags, Header, RecordError};
use model::{InstrumentId, Price, Qty, Side, UnixNanos, Venue};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What happened to a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BookAction {
    /// The level is new.
    Add = 1,
    /// The level has another size.
    Change = 2,
    /// The level is gone; the size is 0.
    Delete = 3,
}

impl BookAction {
    /// The action with this code.
    #[inline]
    pub const fn from_code(code: u8) -> Option<BookAction> {
        match code {
            1 => Some(BookAction::Add),
            2 => Some(BookAction::Change),
            3 => Some(BookAction::Delete),
            _ => None,
        }
    }
}

/// One level of a book, 48 bytes. The size is absolute; 0 removes the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BookChangeRecord {
    /// Type 2, 6 words; the flags carry the book side, last-in-event, snapshot and trust.
    pub header: Header,
    /// When the venue says it happened; 0 when it does not say.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Price mantissa.
    pub price: i64,
    /// Absolute size mantissa.
    pub size: i64,
    /// The [`BookAction`]'s code.
    pub action: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(BookChangeRecord, 48, BookChange, price @ 24, size @ 32, action @ 40, reserved @ 41);

impl BookChangeRecord {
    #[inline]
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        // The size says it too; a record in which they disagree would be read differently by different readers.
        if BookAction::from_code(r.action).is_none_or(|a| (a == BookAction::Delete) != (r.size == 0)) {
            return Err(RecordError::Code { kind: r.header.kind, field: "action", code: r.action.into() });
        }
        if r.header.flags().side().is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "side", code: 0 });
        }
        Ok(r)
    }

    /// One level. `side` is [`Side::Buy`] for a bid.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        side: Side,
        flags: Flags,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        price: Price,
        size: Qty,
        action: BookAction,
    ) -> Self {
        debug_assert_eq!(
            action == BookAction::Delete,
            size.0 == 0,
            "a level is deleted by the size 0 and by nothing else"
        );
        let flags = flags | Flags::of_side(Some(side));
        BookChangeRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), flags, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            price: price.0,
            size: size.0,
            action: action as u8,
            reserved: [0; 7],
        }
    }

    /// What happened to the level.
    pub fn action(&self) -> BookAction {
        BookAction::from_code(self.action).expect("checked when the record was viewed")
    }
}

/// Why a snapshot was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SnapshotReason {
    /// The venue sent it after a subscription, or it was fetched.
    Sync = 1,
    /// Repeated so that a late joiner finds one.
    Periodic = 2,
    /// Repeated because a consumer asked for one.
    Requested = 3,
}

impl SnapshotReason {
    /// Whether it repeats what was told already: no news for whoever follows the book.
    pub const fn is_repeat(self) -> bool {
        !matches!(self, SnapshotReason::Sync)
    }
}

/// A snapshot begins, 48 bytes: `bids + asks` book changes with the flag "snapshot" follow, then the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SnapshotBeginRecord {
    /// Type 4, 6 words.
    pub header: Header,
    /// When the venue says it held; 0 when it does not say.
    pub ts_event: u64,
    /// When the last change in it was received.
    pub ts_recv: u64,
    /// Bid levels that follow.
    pub bids: u32,
    /// Ask levels that follow.
    pub asks: u32,
    /// Levels a side the venue keeps: a reader cuts its book to them after every event; 0 when it keeps all.
    pub depth: u32,
    /// The [`SnapshotReason`]'s code.
    pub reason: u8,
    /// 1 when the book has more levels than are told here.
    pub capped: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The venue's update id the snapshot stands at; 0 where it has none.
    pub update_id: u64,
}
layout!(
    SnapshotBeginRecord, 48, SnapshotBegin,
    bids @ 24, asks @ 28, depth @ 32, reason @ 36, capped @ 37, reserved @ 38, update_id @ 40,
);

impl SnapshotBeginRecord {
    fn read_reason(code: u8) -> Option<SnapshotReason> {
        match code {
            1 => Some(SnapshotReason::Sync),
            2 => Some(SnapshotReason::Periodic),
            3 => Some(SnapshotReason::Requested),
            _ => None,
        }
    }

    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if Self::read_reason(r.reason).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "reason", code: r.reason.into() });
        }
        if r.capped > 1 {
            return Err(RecordError::Code { kind: r.header.kind, field: "capped", code: r.capped.into() });
        }
        Ok(r)
    }

    /// Why the snapshot was made.
    pub fn reason(&self) -> SnapshotReason {
        Self::read_reason(self.reason).expect("checked when the record was viewed")
    }
}

/// A snapshot is complete, 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SnapshotEndRecord {
    /// Type 5, 6 words.
    pub header: Header,
    /// As in the beginning.
    pub ts_event: u64,
    /// As in the beginning.
    pub ts_recv: u64,
    /// Levels told between beginning and end.
    pub levels: u32,
    /// The venue's checksum of the book, where it has one; else 0.
    pub checksum: u32,
    /// As in the beginning.
    pub update_id: u64,
    /// Zero.
    pub reserved: u64,
}
layout!(SnapshotEndRecord, 48, SnapshotEnd, levels @ 24, checksum @ 28, update_id @ 32, reserved @ 40);

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OrderAction {
    /// The venue took it in; it does not rest yet. The size is what was ordered.
    Received = 1,
    /// It rests. The size is what remains of it.
    Open = 2,
    /// It rested and was traded against. The size is what was traded; the trade itself is told too.
    Match = 3,
    /// Its size or price is another. The size is what remains of it.
    Change = 4,
    /// It is gone because nothing of it remains.
    Filled = 5,
    /// It is gone because it was cancelled. The size is what remained of it.
    Canceled = 6,
    /// A stop order waits no longer.
    Activated = 7,
}

impl OrderAction {
    /// Every value, in the order of their codes.
    pub const ALL: [OrderAction; 7] = [
        OrderAction::Received,
        OrderAction::Open,
        OrderAction::Match,
        OrderAction::Change,
        OrderAction::Filled,
        OrderAction::Canceled,
        OrderAction::Activated,
    ];

    /// The value with this code.
    pub fn from_code(code: u8) -> Option<OrderAction> {
        OrderAction::ALL.into_iter().find(|v| *v as u8 == code)
    }

    /// The name used in the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            OrderAction::Received => "received",
            OrderAction::Open => "open",
            OrderAction::Match => "match",
            OrderAction::Change => "change",
            OrderAction::Filled => "filled",
            OrderAction::Canceled => "canceled",
            OrderAction::Activated => "activated",
        }
    }

    /// The value with this name.
    pub fn from_name(name: &str) -> Option<OrderAction> {
        OrderAction::ALL.into_iter().find(|v| v.name() == name)
    }
}

/// What happens to one order of a venue's book, 72 bytes. The flags carry the order's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct OrderRecord {
    /// Type 17, 9 words.
    pub header: Header,
    /// When the venue says it happened.
    pub ts_event: u64,
    /// When the bytes were read from the socket.
    pub ts_recv: u64,
    /// Price mantissa; [`NONE`] for an order without one.
    pub price: i64,
    /// Size mantissa, of what the action says; [`NONE`] where the venue does not say.
    pub size: i64,
    /// The venue's id of the order: the 128 bits of a UUID, high half first.
    pub order_id: [u64; 2],
    /// The venue's sequence of the message; 0 where it has none.
    pub venue_sequence: u64,
    /// The [`OrderAction`]'s code.
    pub action: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
layout!(
    OrderRecord, 72, Order,
    price @ 24, size @ 32, order_id @ 40, venue_sequence @ 56, action @ 64, reserved @ 65,
);

impl OrderRecord {
    pub(crate) fn read(words: &[u64]) -> Result<&Self, RecordError> {
        let r: &Self = view(words)?;
        if OrderAction::from_code(r.action).is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "action", code: r.action.into() });
        }
        if r.header.flags().side().is_none() {
            return Err(RecordError::Code { kind: r.header.kind, field: "side", code: 0 });
        }
        Ok(r)
    }

    /// One event of an order; `side` is the order's own.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call builds one record; each argument is a type of its own")]
    pub fn new(
        venue: Venue,
        instrument: InstrumentId,
        side: Side,
        flags: Flags,
        ts_event: UnixNanos,
        ts_recv: UnixNanos,
        price: Option<Price>,
        size: Option<Qty>,
        order_id: u128,
        venue_sequence: u64,
        action: OrderAction,
    ) -> Self {
        let flags = flags | Flags::of_side(Some(side));
        OrderRecord {
            header: Header::new(Self::TYPE, Self::WORDS, Some(venue), flags, instrument),
            ts_event: ts_event.0,
            ts_recv: ts_recv.0,
            price: price.map_or(NONE, |p| p.0),
            size: size.map_or(NONE, |s| s.0),
            order_id: [(order_id >> 64) as u64, order_id as u64],
            venue_sequence,
            action: action as u8,
            reserved: [0; 7],
        }
    }

    /// What happened.
    pub fn action(&self) -> OrderAction {
        OrderAction::from_code(self.action).expect("checked when the record was viewed")
    }

    /// The order's 128-bit id.
    pub fn id(&self) -> u128 {
        u128::from(self.order_id[0]) << 64 | u128::from(self.order_id[1])
    }
}
