//! From the venue's messages to records. Applies what it tells to the market at hand, and nothing else.

use super::market::Market;
use super::messages::{MatchMessage, OrderMessage, QuoteMessage};
use crate::Counts;
use book::{Effect, Level};
use model::{GapCause, InstrumentId, Price, Qty, Side, SideSource, StreamKind, UnixNanos, Venue};
use wire::{
    BookAction, BookChangeRecord, Flags, GapRecord, Header, NONE, OrderAction, OrderRecord, QuoteRecord, RecordBuf,
    SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, TradeRecord,
};

const VENUE: Venue = Venue::Coinbase;

/// When something happened: where the venue names no time, when it was received.
#[inline]
pub fn when(time: UnixNanos, received: UnixNanos) -> UnixNanos {
    if time == UnixNanos::ZERO { received } else { time }
}

/// A trade. The venue names the maker's side; the taker's is the other.
#[inline]
pub fn trade(m: &Market, t: &MatchMessage, flags: Flags, received: UnixNanos, records: &mut RecordBuf) {
    let (side, source) = (Some(t.maker.opposite()), SideSource::InvertedMaker);
    let (price, size, id, time) = (Price(t.price), Qty(t.size), Some(t.id), when(t.time, received));
    records.push_trade(&TradeRecord::new(VENUE, m.id, side, source, flags, time, received, price, size, id));
}

/// Best bid and offer.
#[inline]
pub fn quote(m: &Market, q: &QuoteMessage, received: UnixNanos, records: &mut RecordBuf) {
    let level = |l: (i64, i64)| (Price(l.0), Qty(l.1));
    let (bid, ask, time) = (q.bid.map(level), q.ask.map(level), when(q.time, received));
    records.push(&QuoteRecord::new(VENUE, m.id, Flags::EMPTY, time, received, bid, ask));
}

/// One step of an order's life.
#[inline]
pub fn order(m: &Market, o: &OrderMessage, received: UnixNanos, records: &mut RecordBuf) {
    let price = o.new_price.or(o.price).unwrap_or(NONE);
    order_record(m.id, o, (price, o.size.unwrap_or(NONE)), received, records);
}

/// What a trade took from the maker's order.
#[inline]
pub fn matched(m: &Market, t: &MatchMessage, received: UnixNanos, records: &mut RecordBuf) {
    let o = OrderMessage {
        target: t.target,
        action: OrderAction::Match,
        side: t.maker,
        order: t.order,
        price: None,
        size: None,
        new_price: None,
        sequence: t.sequence,
        time: t.time,
    };
    order_record(m.id, &o, (t.price, t.size), received, records);
}

#[inline]
fn order_record(
    id: InstrumentId,
    o: &OrderMessage,
    (price, size): (i64, i64),
    received: UnixNanos,
    records: &mut RecordBuf,
) {
    let flags = Flags::of_side(Some(o.side)) | Flags::LAST;
    records.push(&OrderRecord {
        header: Header::new(OrderRecord::TYPE, OrderRecord::WORDS, Some(VENUE), flags, id),
        ts_event: when(o.time, received).0,
        ts_recv: received.0,
        price,
        size,
        order_id: o.order,
        venue_sequence: o.sequence,
        action: o.action as u8,
        reserved: [0; 7],
    });
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
    records.push(&GapRecord::new(VENUE, m.id, stream, cause, range, from, to));
}

/// The levels of an update, into the book and onto the stream, in the venue's order.
#[inline]
pub fn changes(
    m: &mut Market,
    changes: &[(Side, Level)],
    trust: Flags,
    time: UnixNanos,
    received: UnixNanos,
    records: &mut RecordBuf,
    counts: &mut Counts,
) {
    let (time, mut left) = (when(time, received), changes.len());
    counts.book_levels += left as u64;
    for &(side, Level { price, size }) in changes {
        left -= 1;
        let action = match m.ladder.book.set(side, price, size) {
            Effect::Added => BookAction::Add,
            Effect::Changed => BookAction::Change,
            Effect::Deleted => BookAction::Delete,
            Effect::Absent => {
                counts.absent_deletes += 1;
                BookAction::Delete
            }
        };
        let flags = trust | Flags::LAST.when(left == 0);
        records.push(&BookChangeRecord::new(VENUE, m.id, side, flags, time, received, price, size, action));
    }
}

/// Marks the book changes told since `mark` as not to be trusted.
pub fn distrust(mark: (usize, usize), records: &mut RecordBuf) {
    let mut at = mark.0;
    while let Ok(&header) = Header::read(&records.words()[at..]) {
        if header.record_type() == Some(BookChangeRecord::TYPE) {
            records.set_header(at, header.with_flags(header.flags() | Flags::NOT_TRUSTED));
        }
        at += header.words();
    }
}

/// The book as it stands, at most `depth` levels a side; the number of levels told. The venue keeps all levels, and so
/// do readers.
pub fn snapshot(m: &Market, reason: SnapshotReason, depth: usize, now: UnixNanos, records: &mut RecordBuf) -> u64 {
    let ladder = &m.ladder;
    let told = |side| ladder.book.depth(side).min(depth);
    let (bids, asks) = (told(Side::Buy), told(Side::Sell));
    let capped = bids < ladder.book.depth(Side::Buy) || asks < ladder.book.depth(Side::Sell);
    let count = |n: usize| u32::try_from(n).expect("a depth is given in 32 bits");
    let (time, update_id) = (ladder.time, m.orders.applied());
    records.push(&SnapshotBeginRecord {
        header: Header::new(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Some(VENUE), Flags::EMPTY, m.id),
        ts_event: time.0,
        ts_recv: now.0,
        bids: count(bids),
        asks: count(asks),
        depth: 0,
        reason: reason as u8,
        capped: u8::from(capped),
        reserved: [0; 2],
        update_id,
    });
    for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
        for l in ladder.book.levels(side).take(levels) {
            let (flags, action) = (Flags::SNAPSHOT, BookAction::Add);
            records.push(&BookChangeRecord::new(VENUE, m.id, side, flags, time, now, l.price, l.size, action));
        }
    }
    records.push(&SnapshotEndRecord {
        header: Header::new(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Some(VENUE), Flags::LAST, m.id),
        ts_event: time.0,
        ts_recv: now.0,
        levels: count(bids + asks),
        checksum: 0,
        update_id,
        reserved: 0,
    });
    (bids + asks) as u64
}
