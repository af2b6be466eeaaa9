//! What a message says, as records: pure, one function a kind.

use super::messages::{Bar, Quote, Trade};
use book::Level;
use model::{GapCause, InstrumentId, Side, SideSource, StreamKind, UnixNanos, Venue};
use wire::{
    BarRecord, BarState, BookAction, BookChangeRecord, Flags, GapRecord, Header, NONE, QuoteRecord, RecordType,
    SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, TradeRecord,
};

/// Whom records are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub venue: Venue,
    pub id: InstrumentId,
}

/// A trade. The venue tells whether the buyer was the maker, so the taker's side is its opposite.
#[inline]
pub(super) fn trade(of: Subject, t: &Trade, flags: Flags, received: UnixNanos) -> TradeRecord {
    let side = if t.buyer_is_maker { Side::Sell } else { Side::Buy };
    let source = SideSource::InvertedMaker;
    let flags = flags | Flags::LAST;
    TradeRecord::new(of.venue, of.id, Some(side), source, flags, t.time, received, t.price, t.size, Some(t.id))
}

/// A best bid and offer; the venue gives it no time.
#[inline]
pub(super) fn quote(of: Subject, q: &Quote, received: UnixNanos) -> QuoteRecord {
    let pair = |level: Level| (level.price, level.size);
    QuoteRecord::new(of.venue, of.id, Flags::LAST, UnixNanos::ZERO, received, q.bid.map(pair), q.ask.map(pair))
}

/// A bar.
pub(super) fn bar(of: Subject, b: &Bar, received: UnixNanos) -> BarRecord {
    BarRecord {
        header: Header::new(BarRecord::TYPE, BarRecord::WORDS, Some(of.venue), Flags::LAST, of.id),
        ts_event: b.time.0,
        ts_recv: received.0,
        ts_open: b.open_time.0,
        interval_s: b.interval_s,
        state: if b.closed { BarState::Closed } else { BarState::Open } as u8,
        notional_scale: b.notional_scale,
        vwap_scale: 0,
        reserved: 0,
        open: b.open.0,
        high: b.high.0,
        low: b.low.0,
        close: b.close.0,
        volume: b.volume.0,
        taker_buy_volume: b.taker_buy_volume.0,
        notional: BarRecord::split(Some(b.notional)),
        taker_buy_notional: BarRecord::split(Some(b.taker_buy_notional)),
        vwap: NONE,
        trades: b.trades,
    }
}

/// One level of a depth message.
#[inline]
pub(super) fn change(
    of: Subject,
    side: Side,
    flags: Flags,
    time: UnixNanos,
    received: UnixNanos,
    level: Level,
    action: BookAction,
) -> BookChangeRecord {
    BookChangeRecord::new(of.venue, of.id, side, flags, time, received, level.price, level.size, action)
}

/// What a snapshot is about.
pub(super) struct SnapshotFrame {
    pub of: Subject,
    pub reason: SnapshotReason,
    /// When the venue says it held; zero for a fetched one.
    pub time: UnixNanos,
    pub now: UnixNanos,
    pub bids: u32,
    pub asks: u32,
    /// The venue has levels that are not told.
    pub capped: bool,
    pub update_id: u64,
}

impl SnapshotFrame {
    /// The record before the levels. The venue's changes reach every depth, so readers cut nothing: depth 0.
    pub(super) fn begin(&self) -> SnapshotBeginRecord {
        let words = SnapshotBeginRecord::WORDS;
        SnapshotBeginRecord {
            header: Header::new(RecordType::SnapshotBegin, words, Some(self.of.venue), Flags::SNAPSHOT, self.of.id),
            ts_event: self.time.0,
            ts_recv: self.now.0,
            bids: self.bids,
            asks: self.asks,
            depth: 0,
            reason: self.reason as u8,
            capped: self.capped.into(),
            reserved: [0; 2],
            update_id: self.update_id,
        }
    }

    /// The record behind the levels.
    pub(super) fn end(&self) -> SnapshotEndRecord {
        let flags = Flags::SNAPSHOT | Flags::LAST;
        let words = SnapshotEndRecord::WORDS;
        SnapshotEndRecord {
            header: Header::new(RecordType::SnapshotEnd, words, Some(self.of.venue), flags, self.of.id),
            ts_event: self.time.0,
            ts_recv: self.now.0,
            levels: self.bids + self.asks,
            checksum: 0,
            update_id: self.update_id,
            reserved: 0,
        }
    }
}

/// Missing data of one instrument's stream.
pub(super) fn gap(
    of: Subject,
    stream: StreamKind,
    cause: GapCause,
    range: Option<(u64, u64)>,
    from: UnixNanos,
    now: UnixNanos,
) -> GapRecord {
    GapRecord::new(of.venue, of.id, stream, cause, range, from, now)
}
