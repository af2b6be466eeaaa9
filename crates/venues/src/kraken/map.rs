//! From the venue's messages to records. Applies what it tells to the market at hand, and nothing else.

use super::market::{Market, OpenBar};
use super::messages::{BarMessage, Kind, QuoteMessage, TradeMessage};
use super::spec::SPEC;
use crate::Counts;
use book::Effect;
use model::{GapCause, Price, Qty, Side, SideSource, StreamKind, UnixNanos};
use wire::{
    BarRecord, BarState, BookAction, BookChangeRecord, Flags, GapRecord, Header, NONE, QuoteRecord, RecordBuf,
    SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, TradeRecord,
};

/// A trade; the side is the taker's, as the venue names it.
#[inline]
pub fn trade(m: &Market, t: &TradeMessage, flags: Flags, received: UnixNanos, records: &mut RecordBuf) {
    let source = SideSource::ExplicitTaker;
    let (price, size) = (Price(t.price), Qty(t.size));
    let (side, id) = (Some(t.side), t.id);
    records.push_trade(&TradeRecord::new(SPEC.venue, m.id, side, source, flags, t.time, received, price, size, id));
}

/// Best bid and offer.
#[inline]
pub fn quote(m: &Market, q: &QuoteMessage, kind: Kind, received: UnixNanos, records: &mut RecordBuf) {
    let flags = Flags::SNAPSHOT.when(kind == Kind::Snapshot);
    let level = |l: (i64, i64)| (Price(l.0), Qty(l.1));
    records.push(&QuoteRecord::new(SPEC.venue, m.id, flags, q.time, received, q.bid.map(level), q.ask.map(level)));
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
    levels: [(Side, &[(i64, i64)]); 2],
    time: UnixNanos,
    received: UnixNanos,
    records: &mut RecordBuf,
    counts: &mut Counts,
) {
    let mut left = levels[0].1.len() + levels[1].1.len();
    counts.book_levels += left as u64;
    for (side, levels) in levels {
        for &(price, size) in levels {
            left -= 1;
            let (price, size) = (Price(price), Qty(size));
            let action = match m.ladder.book.set(side, price, size) {
                Effect::Added => BookAction::Add,
                Effect::Changed => BookAction::Change,
                Effect::Deleted => BookAction::Delete,
                Effect::Absent => {
                    counts.absent_deletes += 1;
                    BookAction::Delete
                }
            };
            let flags = Flags::LAST.when(left == 0);
            records.push(&BookChangeRecord::new(SPEC.venue, m.id, side, flags, time, received, price, size, action));
        }
    }
}

/// The book as it stands, at most `depth` levels a side; the number of levels told.
pub fn snapshot(m: &Market, reason: SnapshotReason, depth: usize, now: UnixNanos, records: &mut RecordBuf) -> u64 {
    let ladder = &m.ladder;
    let told = |side| ladder.book.depth(side).min(depth);
    let (bids, asks) = (told(Side::Buy), told(Side::Sell));
    let capped = bids < ladder.book.depth(Side::Buy) || asks < ladder.book.depth(Side::Sell);
    let count = |n: usize| u32::try_from(n).expect("a book is cut to the venue's depth");
    records.push(&SnapshotBeginRecord {
        header: Header::new(
            SnapshotBeginRecord::TYPE,
            SnapshotBeginRecord::WORDS,
            Some(SPEC.venue),
            Flags::EMPTY,
            m.id,
        ),
        ts_event: ladder.time.0,
        ts_recv: now.0,
        bids: count(bids),
        asks: count(asks),
        depth: ladder.depth,
        reason: reason as u8,
        capped: u8::from(capped),
        reserved: [0; 2],
        update_id: 0,
    });
    for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
        for l in ladder.book.levels(side).take(levels) {
            let (flags, action) = (Flags::SNAPSHOT, BookAction::Add);
            let change =
                BookChangeRecord::new(SPEC.venue, m.id, side, flags, ladder.time, now, l.price, l.size, action);
            records.push(&change);
        }
    }
    records.push(&SnapshotEndRecord {
        header: Header::new(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Some(SPEC.venue), Flags::LAST, m.id),
        ts_event: ladder.time.0,
        ts_recv: now.0,
        levels: count(bids + asks),
        checksum: ladder.proof,
        update_id: 0,
        reserved: 0,
    });
    (bids + asks) as u64
}

impl OpenBar {
    fn of(b: &BarMessage) -> OpenBar {
        OpenBar {
            interval_s: b.interval_s,
            begin: b.begin,
            open: b.open,
            high: b.high,
            low: b.low,
            close: b.close,
            volume: b.volume,
            vwap: b.vwap,
            trades: b.trades,
        }
    }
}

/// When a bar's facts were sent and read, and as what.
#[derive(Clone, Copy)]
pub struct Told {
    /// When the venue sent them; 0 when it does not say.
    pub time: UnixNanos,
    pub received: UnixNanos,
    pub kind: Kind,
}

/// A bar; the number of bars told. The venue never says that a bar is closed: the first bar of a later interval does.
///
/// A snapshot's bars from before the open one are repeats and not told; such a bar in an update corrects a closed one.
pub fn bar(m: &mut Market, b: &BarMessage, told: Told, records: &mut RecordBuf) -> u64 {
    let Some(at) = m.bars.iter().position(|open| open.interval_s == b.interval_s) else {
        m.bars.push(OpenBar::of(b));
        push_bar(m, &OpenBar::of(b), BarState::Open, told, records);
        return 1;
    };
    let open = m.bars[at];
    if b.begin < open.begin {
        if told.kind == Kind::Snapshot {
            return 0;
        }
        push_bar(m, &OpenBar::of(b), BarState::Closed, told, records);
        return 1;
    }
    let closes = b.begin > open.begin;
    if closes {
        push_bar(m, &open, BarState::Closed, told, records);
    }
    m.bars[at] = OpenBar::of(b);
    push_bar(m, &OpenBar::of(b), BarState::Open, told, records);
    1 + u64::from(closes)
}

fn push_bar(m: &Market, b: &OpenBar, state: BarState, told: Told, records: &mut RecordBuf) {
    let flags = Flags::SNAPSHOT.when(told.kind == Kind::Snapshot);
    records.push(&BarRecord {
        header: Header::new(BarRecord::TYPE, BarRecord::WORDS, Some(SPEC.venue), flags, m.id),
        ts_event: told.time.0,
        ts_recv: told.received.0,
        ts_open: b.begin.0,
        interval_s: b.interval_s,
        state: state as u8,
        notional_scale: 0,
        vwap_scale: b.vwap.map_or(0, |(_, scale)| scale),
        reserved: 0,
        open: b.open,
        high: b.high,
        low: b.low,
        close: b.close,
        volume: b.volume,
        taker_buy_volume: NONE,
        notional: BarRecord::split(None),
        taker_buy_notional: BarRecord::split(None),
        vwap: b.vwap.map_or(NONE, |(mantissa, _)| mantissa),
        trades: b.trades,
    });
}
