//! From the venue's messages to records. Applies what it tells to the market at hand, and nothing else.

use super::choices::TradesSide;
use super::market::{Market, OpenBar};
use super::messages::{BarMessage, Kind, LevelMessage, QuoteMessage, TradeMessage};
use super::spec::SPEC;
use crate::Counts;
use book::Effect;
use model::{GapCause, Price, Qty, Side, SideSource, StreamKind, UnixNanos};
use wire::{
    BarRecord, BarState, BookAction, BookChangeRecord, Flags, GapRecord, Header, NONE, QuoteRecord, RecordBuf,
    SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, TradeRecord,
};

/// The only interval the venue makes candles of.
pub const BAR_SECONDS: u32 = 300;

/// A trade. Sources disagree about whose side the venue names: the choice decides and the record says so.
#[inline]
pub fn trade(
    m: &Market,
    t: &TradeMessage,
    side: TradesSide,
    flags: Flags,
    received: UnixNanos,
    records: &mut RecordBuf,
) {
    let side = if side == TradesSide::Maker { t.side.map(Side::opposite) } else { t.side };
    let source = SideSource::Disputed;
    let (price, size, id) = (Price(t.price), Qty(t.size), Some(t.id));
    records.push_trade(&TradeRecord::new(SPEC.venue, m.id, side, source, flags, t.time, received, price, size, id));
}

/// Best bid and offer, as of when the venue sent them.
#[inline]
pub fn quote(m: &Market, q: &QuoteMessage, sent: UnixNanos, received: UnixNanos, records: &mut RecordBuf) {
    let flags = Flags::LAST | Flags::SNAPSHOT.when(q.kind == Kind::Snapshot);
    let level = |l: (i64, i64)| (Price(l.0), Qty(l.1));
    records.push(&QuoteRecord::new(SPEC.venue, m.id, flags, sent, received, q.bid.map(level), q.ask.map(level)));
}

/// Missing data of one instrument.
pub fn gap(
    m: &Market,
    stream: StreamKind,
    cause: GapCause,
    range: Option<(u64, u64)>,
    from: UnixNanos,
    to: UnixNanos,
    records: &mut RecordBuf,
) {
    records.push(&GapRecord::new(SPEC.venue, m.id, stream, cause, range, from, to));
}

/// The levels of an update, into the book and onto the stream.
#[inline]
pub fn changes(
    m: &mut Market,
    levels: &[LevelMessage],
    received: UnixNanos,
    records: &mut RecordBuf,
    counts: &mut Counts,
) {
    for (n, level) in levels.iter().enumerate() {
        let (price, size) = (Price(level.price), Qty(level.size));
        let action = match m.ladder.book.set(level.side, price, size) {
            Effect::Added => BookAction::Add,
            Effect::Changed => BookAction::Change,
            Effect::Deleted => BookAction::Delete,
            Effect::Absent => {
                counts.absent_deletes += 1;
                BookAction::Delete
            }
        };
        let flags = Flags::LAST.when(n + 1 == levels.len());
        let (venue, side, time) = (SPEC.venue, level.side, level.time);
        records.push(&BookChangeRecord::new(venue, m.id, side, flags, time, received, price, size, action));
    }
}

/// The book as it stands, at most `depth` levels a side; the number of levels told. The venue's changes reach every
/// depth, so readers cut nothing: depth 0.
pub fn snapshot(m: &Market, reason: SnapshotReason, depth: usize, now: UnixNanos, records: &mut RecordBuf) -> u64 {
    let ladder = &m.ladder;
    let told = |side| ladder.book.depth(side).min(depth);
    let (bids, asks) = (told(Side::Buy), told(Side::Sell));
    let capped = bids < ladder.book.depth(Side::Buy) || asks < ladder.book.depth(Side::Sell);
    let count = |n: usize| u32::try_from(n).expect("a frame holds fewer than 2^32 levels");
    let header = |kind, words, flags| Header::new(kind, words, Some(SPEC.venue), flags, m.id);
    records.push(&SnapshotBeginRecord {
        header: header(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Flags::SNAPSHOT),
        ts_event: ladder.time.0,
        ts_recv: now.0,
        bids: count(bids),
        asks: count(asks),
        depth: 0,
        reason: reason as u8,
        capped: u8::from(capped),
        reserved: [0; 2],
        update_id: 0,
    });
    for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
        for l in ladder.book.levels(side).take(levels) {
            let (flags, action, time) = (Flags::SNAPSHOT, BookAction::Add, ladder.time);
            records.push(&BookChangeRecord::new(SPEC.venue, m.id, side, flags, time, now, l.price, l.size, action));
        }
    }
    records.push(&SnapshotEndRecord {
        header: header(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Flags::SNAPSHOT | Flags::LAST),
        ts_event: ladder.time.0,
        ts_recv: now.0,
        levels: count(bids + asks),
        checksum: 0,
        update_id: 0,
        reserved: 0,
    });
    (bids + asks) as u64
}

impl OpenBar {
    fn of(b: &BarMessage) -> OpenBar {
        OpenBar { begin: b.begin, open: b.open, high: b.high, low: b.low, close: b.close, volume: b.volume }
    }
}

/// A candle; the number of bars told. The venue never says that one is closed: the first of a later interval does, so
/// `more` says whether the frame holds a later one of the same instrument.
///
/// A snapshot's candles from before the open one are repeats and not told; such a candle in an update corrects a
/// closed one.
pub fn bar(
    m: &mut Market,
    b: &BarMessage,
    more: bool,
    sent: UnixNanos,
    received: UnixNanos,
    records: &mut RecordBuf,
) -> u64 {
    let (flags, now) = (Flags::LAST | Flags::SNAPSHOT.when(b.kind == Kind::Snapshot), OpenBar::of(b));
    let mut push = |bar: &OpenBar, state| {
        records.push(&BarRecord {
            header: Header::new(BarRecord::TYPE, BarRecord::WORDS, Some(SPEC.venue), flags, m.id),
            ts_event: sent.0,
            ts_recv: received.0,
            ts_open: bar.begin.0,
            interval_s: BAR_SECONDS,
            state: state as u8,
            notional_scale: 0,
            vwap_scale: 0,
            reserved: 0,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
            taker_buy_volume: NONE,
            notional: BarRecord::split(None),
            taker_buy_notional: BarRecord::split(None),
            vwap: NONE,
            trades: 0,
        });
    };
    let open = m.bar;
    if open.is_some_and(|open| b.begin < open.begin) {
        if b.kind == Kind::Snapshot {
            return 0;
        }
        push(&now, BarState::Closed);
        return 1;
    }
    let closes = open.filter(|open| b.begin > open.begin);
    if let Some(open) = closes {
        push(&open, BarState::Closed);
    }
    let told = u64::from(closes.is_some()) + 1;
    if more {
        push(&now, BarState::Closed);
        m.bar = None;
    } else {
        push(&now, BarState::Open);
        m.bar = Some(now);
    }
    told
}
