//! From the venue's messages to records. Applies what it tells to the market at hand, and nothing else.

use super::market::Market;
use super::messages::{BandMessage, BarKind, BarMessage, CorrectionMessage, QuoteMessage, Scratch, TradeMessage};
use super::spec::SPEC;
use crate::Counts;
use book::Effect;
use model::{GapCause, Price, Qty, Side, SideSource, StreamKind, UnixNanos};
use wire::{
    BarRecord, BarState, BookAction, BookChangeRecord, CorrectionKind, CorrectionRecord, Flags, GapRecord, Header,
    LongTrade, NONE, PriceBandRecord, QuoteRecord, RecordBuf, SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason,
    TradeRecord,
};

/// Length of the minute bars and of the daily bar.
pub const MINUTE_S: u32 = 60;
/// As [`MINUTE_S`].
pub const DAY_S: u32 = 86_400;

/// The digits of an id.
struct Digits {
    room: [u8; 20],
    from: usize,
}

impl Digits {
    #[inline]
    fn of(mut value: u64) -> Digits {
        let (mut room, mut from) = ([b'0'; 20], 20);
        while value >= 10 {
            // Two digits a division: half the wait.
            let pair = (value % 100) as u8;
            value /= 100;
            from -= 2;
            (room[from], room[from + 1]) = (b'0' + pair / 10, b'0' + pair % 10);
        }
        if value > 0 || from == 20 {
            from -= 1;
            room[from] = b'0' + value as u8;
        }
        Digits { room, from }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.room[self.from..]).expect("digits are ASCII")
    }
}

/// A trade: with its texts where it has any, as shares do.
#[inline]
pub fn trade(
    m: &Market,
    t: &TradeMessage,
    scratch: &Scratch,
    flags: Flags,
    received: UnixNanos,
    records: &mut RecordBuf,
) {
    let (conditions, exchange, tape) = (scratch.text(t.conditions), scratch.text(t.exchange), scratch.text(t.tape));
    let source = SideSource::ExplicitTaker;
    let (price, size) = (Price(t.price), Qty(t.size));
    let trade = TradeRecord::new(SPEC.venue, m.id, t.side, source, flags, t.time, received, price, size, t.id);
    if conditions.is_empty() && exchange.is_empty() && tape.is_empty() {
        records.push_trade(&trade);
        return;
    }
    let digits = t.id.map(Digits::of);
    let id = digits.as_ref().map_or("", Digits::text);
    records
        .push_long_trade(&LongTrade { trade, id, conditions, exchange, tape })
        .expect("texts are kept only when they fit");
}

/// Best bid and offer.
#[inline]
pub fn quote(m: &Market, q: &QuoteMessage, received: UnixNanos, records: &mut RecordBuf) {
    let level = |l: (i64, i64)| (Price(l.0), Qty(l.1));
    let (bid, ask) = (q.bid.map(level), q.ask.map(level));
    records.push(&QuoteRecord::new(SPEC.venue, m.id, Flags::EMPTY, q.time, received, bid, ask));
}

/// Missing data of one instrument, noticed now. The venue's ids have no order, so it has no range.
pub fn gap(
    m: &Market,
    stream: StreamKind,
    cause: GapCause,
    (from, to): (UnixNanos, UnixNanos),
    now: UnixNanos,
    records: &mut RecordBuf,
) {
    let gap = GapRecord::new(SPEC.venue, m.id, stream, cause, None, from, to);
    records.push(&GapRecord { ts_recv: now.0, ..gap });
}

/// A trade that the stream hid and REST has: its id names it, though ids have no order. It happened when it happened.
pub fn hidden(m: &Market, id: u64, time: UnixNanos, now: UnixNanos, records: &mut RecordBuf) {
    let (stream, cause) = (StreamKind::Trade, GapCause::Sequence);
    let gap = GapRecord::new(SPEC.venue, m.id, stream, cause, Some((id, id)), time, time);
    records.push(&GapRecord { ts_recv: now.0, ..gap });
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

/// The book as it stands, at most `depth` levels a side; the number of levels told. The venue streams the whole book,
/// so readers cut nothing.
pub fn snapshot(m: &Market, reason: SnapshotReason, depth: usize, now: UnixNanos, records: &mut RecordBuf) -> u64 {
    let ladder = &m.ladder;
    let told = |side| ladder.book.depth(side).min(depth);
    let (bids, asks) = (told(Side::Buy), told(Side::Sell));
    let capped = bids < ladder.book.depth(Side::Buy) || asks < ladder.book.depth(Side::Sell);
    let count = |n: usize| u32::try_from(n).expect("a frame holds fewer levels");
    let header = |kind, words, flags| Header::new(kind, words, Some(SPEC.venue), flags, m.id);
    records.push(&SnapshotBeginRecord {
        header: header(SnapshotBeginRecord::TYPE, SnapshotBeginRecord::WORDS, Flags::EMPTY),
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
        header: header(SnapshotEndRecord::TYPE, SnapshotEndRecord::WORDS, Flags::LAST),
        ts_event: ladder.time.0,
        ts_recv: now.0,
        levels: count(bids + asks),
        checksum: 0,
        update_id: 0,
        reserved: 0,
    });
    (bids + asks) as u64
}

/// A bar. The venue says when it begins, not when it was sent.
pub fn bar(m: &Market, b: &BarMessage, received: UnixNanos, records: &mut RecordBuf) {
    let (interval_s, state) = match b.kind {
        BarKind::Minute | BarKind::Updated => (MINUTE_S, BarState::Closed),
        BarKind::Daily => (DAY_S, BarState::Open),
    };
    records.push(&BarRecord {
        header: Header::new(BarRecord::TYPE, BarRecord::WORDS, Some(SPEC.venue), Flags::EMPTY, m.id),
        ts_event: 0,
        ts_recv: received.0,
        ts_open: b.begin.0,
        interval_s,
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

/// The prices a share may trade between.
pub fn band(m: &Market, b: &BandMessage, received: UnixNanos, records: &mut RecordBuf) {
    let (kind, words) = (PriceBandRecord::TYPE, PriceBandRecord::WORDS);
    records.push(&PriceBandRecord {
        header: Header::new(kind, words, Some(SPEC.venue), Flags::EMPTY, m.id),
        ts_event: b.time.0,
        ts_recv: received.0,
        lower: b.lower.unwrap_or(NONE),
        upper: b.upper.unwrap_or(NONE),
        indicator: b.indicator,
        reserved: [0; 7],
    });
}

/// An earlier trade is cancelled or corrected.
pub fn correction(m: &Market, c: &CorrectionMessage, received: UnixNanos, records: &mut RecordBuf) {
    let (kind, words) = (CorrectionRecord::TYPE, CorrectionRecord::WORDS);
    let (new_trade_id, price, size) = c.corrected.unwrap_or((0, NONE, NONE));
    let what = if c.corrected.is_some() { CorrectionKind::Correct } else { CorrectionKind::Cancel };
    records.push(&CorrectionRecord {
        header: Header::new(kind, words, Some(SPEC.venue), Flags::EMPTY, m.id),
        ts_event: c.time.0,
        ts_recv: received.0,
        trade_id: c.id,
        new_trade_id,
        price,
        size,
        kind: what as u8,
        reserved: [0; 7],
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_the_number(value in any::<u64>(), cut in 0u32..64) {
            let digits = Digits::of(value >> cut);
            prop_assert_eq!(digits.text(), (value >> cut).to_string());
        }
    }
}
