//! What earlier runs told, read back from their own ring: where each instrument's trades stand and what is missing.
//!
//! Only what the ring still shows can be known: a gap whose record was overwritten stays a gap, and of an instrument
//! without a trade in the ring the last id is unknown.

use crate::trades::{self, Missing};
use crate::{Memory, UnixNanos, registry};
use model::{Decimal, InstrumentId, StreamKind};
use std::collections::HashMap;
use std::time::Duration;
use wire::{BackfillRecord, Flags, GapRecord, Header, LongTradeView, Record, TradeRecord};

/// How much earlier than our own clock says a venue's time may be. Only used for gaps whose trade before is gone.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// Where ids have no order, the trades told so long before the newest one or around a missing window are remembered, and
/// those told within it: what such a venue reports late is asked for again, and only its id says that it was told.
pub(crate) const UNORDERED: Duration = Duration::from_secs(2);

/// What is gathered of one instrument.
#[derive(Default)]
struct Recalled {
    memory: Memory,
    price_scale: u8,
    size_scale: u8,
    told: Vec<(UnixNanos, u64)>,
    /// Trade ids say nothing of the order.
    unordered: bool,
    /// The highest id told as a trade or as missing.
    high: Option<u64>,
    /// It was only ever told late.
    late_only: bool,
    /// What was jumped over and not told as a gap yet.
    untold: Vec<Missing>,
}

/// Reads records in their order and knows in the end what a feed should remember.
#[derive(Default)]
pub struct Recall {
    instruments: HashMap<InstrumentId, Recalled>,
}

impl Recall {
    /// Takes in one record; one that cannot be read is passed over.
    pub fn push(&mut self, words: &[u64]) {
        let (Ok(record), Ok(header)) = (Record::read(words), Header::read(words)) else { return };
        if header.instrument() == InstrumentId::NONE {
            return;
        }
        let known = self.instruments.entry(header.instrument()).or_default();
        // Word 2 of every record is when it was received.
        known.memory.last_seen = known.memory.last_seen.max(UnixNanos(words[2]));
        match record {
            Record::Instrument(v) => (known.price_scale, known.size_scale) = (v.head.price_scale, v.head.size_scale),
            Record::Trade(t) if header.venue().is_none_or(registry::trade_ids_rise) => known.trade(t),
            Record::Trade(t) => known.unordered(*header, UnixNanos(t.ts_event), t.id()),
            Record::LongTrade(t) => known.long_trade(*header, &t),
            Record::Backfill(b) if b.stream() == StreamKind::Trade => known.backfill(b),
            Record::Gap(g) if g.stream() == StreamKind::Trade => {
                known.unordered |= header.venue().is_some_and(|venue| !registry::trade_ids_rise(venue));
                known.gap(g);
            }
            _ => {}
        }
    }

    /// What is known of each instrument, by id.
    pub fn finish(self) -> Vec<(InstrumentId, Memory)> {
        let mut all: Vec<_> = self.instruments.into_iter().map(|(id, known)| (id, known.finish())).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }
}

impl Recalled {
    fn trade(&mut self, t: &TradeRecord) {
        let (time, late) = (UnixNanos(t.ts_event), t.header.flags().contains(Flags::LATE));
        let number = |mantissa: i64, scale| Decimal::new(mantissa.into(), scale);
        let key = || {
            let (price, size) = (number(t.price, self.price_scale), number(t.size, self.size_scale));
            trades::key(time, price, size, t.header.flags().side())
        };
        self.told.push((time, t.id().unwrap_or_else(key)));
        let m = &mut self.memory;
        for window in m.missing.iter_mut().filter(|w| w.first == 0) {
            if late && window.since < time && time < window.until {
                window.since = time;
            }
        }
        if let Some(id) = t.id() {
            trades::fill(&mut self.untold, id, time);
            if trades::fill(&mut m.missing, id, time) {
                // Whatever is behind it was told before.
                return;
            }
        }
        let newest = t.id() > self.high;
        if late && !newest {
            return;
        }
        if !newest && t.id().is_some() {
            // A repeat is never told, so the venue began its ids anew (or they say nothing of the order).
            m.missing.retain(|range| range.first == 0);
            self.untold.clear();
        }
        // What was told late alone may belong to a gap that is no longer in the ring: no hole follows from it.
        let stands = !self.late_only;
        self.late_only = late && (self.late_only || self.high.is_none());
        if let (Some(high), Some(id)) = (self.high, t.id())
            && newest
            && stands
            && id - high > 1
        {
            // Of several connections a hole is told only when none of them fills it, and the run may end before that.
            // Where ids have holes by nature, nobody asks for it.
            let range = Missing { first: high + 1, last: id - 1, since: m.trade_time, until: UnixNanos::ZERO };
            trades::lose(&mut m.missing, range);
            if self.untold.len() == trades::RANGES_MAX {
                self.untold.remove(0);
            }
            self.untold.push(range);
        }
        for range in m.missing.iter_mut().filter(|range| range.until == UnixNanos::ZERO) {
            range.until = time;
        }
        self.high = t.id();
        m.trade_time = m.trade_time.max(time);
    }

    /// A trade with texts: of a venue whose ids have no order, or are no numbers.
    fn long_trade(&mut self, header: Header, t: &LongTradeView<'_>) {
        self.unordered(header, UnixNanos(t.head.ts_event), t.id.parse().ok());
    }

    /// A trade whose id orders nothing: its time alone says where trades stand.
    fn unordered(&mut self, header: Header, time: UnixNanos, id: Option<u64>) {
        self.unordered = true;
        self.begins(time);
        if let Some(id) = id.filter(|id| *id > 0) {
            // Windows have 0 for an id.
            trades::fill(&mut self.memory.missing, id, time);
        }
        self.told.extend(id.map(|id| (time, id)));
        let m = &mut self.memory;
        let late = header.flags().contains(Flags::LATE);
        for window in &mut m.missing {
            let open = window.until == UnixNanos::ZERO;
            if late && window.since < time && (open || time < window.until) {
                window.since = time;
            } else if !late && open {
                window.until = time.max(window.since);
            }
        }
        (m.trade_id, m.trade_time) = (id, m.trade_time.max(time));
    }

    /// Of what was told before the first record the ring still shows nothing is known.
    fn begins(&mut self, at: UnixNanos) {
        if self.memory.told_from == UnixNanos::ZERO {
            self.memory.told_from = at;
        }
    }

    fn gap(&mut self, g: &GapRecord) {
        if self.unordered {
            self.begins(UnixNanos(g.ts_from));
        }
        let since = match self.memory.trade_time {
            UnixNanos::ZERO if self.unordered => UnixNanos(g.ts_from),
            UnixNanos::ZERO => UnixNanos(g.ts_from.saturating_sub(CLOCKS_APART.as_nanos() as u64)),
            time => time,
        };
        let missing = &mut self.memory.missing;
        let Some((first, last)) = g.range() else {
            if !self.unordered && self.memory.trade_time == UnixNanos::ZERO {
                // What was told before is gone, so that nobody knows what of it would be told twice.
                return;
            }
            if self.unordered && missing.len() == trades::RANGES_MAX {
                // What was told in between is remembered, so the two oldest windows can be one.
                let oldest = missing.remove(0);
                missing[0].since = oldest.since.min(missing[0].since);
            }
            return trades::lose(missing, Missing { first: 0, last: 0, since, until: UnixNanos::ZERO });
        };
        if self.unordered {
            // Named by a comparison with REST, and told late right behind.
            let (since, until) = (UnixNanos(g.ts_from), UnixNanos(g.ts_to));
            return trades::lose(missing, Missing { first, last, since, until });
        }
        trades::forget(&mut self.untold, first, last);
        (self.high, self.late_only) = (self.high.max(Some(last)), false);
        // What is known as missing already happened at a time that is known better than now.
        let known: Vec<_> = missing.iter().filter(|m| m.first > 0).map(|m| (m.first, m.last)).collect();
        for (first, last) in trades::without((first, last), &known) {
            trades::lose(missing, Missing { first, last, since, until: UnixNanos::ZERO });
        }
    }

    /// Windows, or their beginnings, that were fetched whole.
    fn backfill(&mut self, b: &BackfillRecord) {
        let missing = &mut self.memory.missing;
        for window in missing.iter_mut().filter(|w| w.first == 0 && b.ts_from <= w.since.0) {
            window.since = window.since.max(UnixNanos(b.ts_to));
        }
        missing.retain(|w| w.first > 0 || w.until == UnixNanos::ZERO || w.since <= w.until);
    }

    fn finish(mut self) -> Memory {
        let m = &self.memory;
        if self.unordered {
            let reach = UNORDERED.as_nanos() as u64;
            let after = |time: UnixNanos, edge: UnixNanos| edge.0 <= time.0.saturating_add(reach);
            let before = |time: UnixNanos, w: &Missing| w.until == UnixNanos::ZERO || time.0 <= w.until.0 + reach;
            let within = |time, w: &Missing| after(time, w.since) && before(time, w);
            self.told.retain(|(time, _)| after(*time, m.trade_time) || m.missing.iter().any(|w| within(*time, w)));
            return Memory { recent: self.told, ..self.memory };
        }
        let edge = |time: UnixNanos| {
            let ends = |w: &Missing| w.first == 0 && (w.since == time || w.until == time);
            time == m.trade_time || m.missing.iter().any(ends)
        };
        self.told.retain(|(time, _)| edge(*time));
        let untold = self.untold.iter().map(|range| (range.first, range.last)).collect();
        // What follows a gap told last is news, and the gap is not told again.
        Memory { trade_id: self.high, untold, recent: self.told, ..self.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{GapCause, Price, Qty, Side, SideSource, Venue};

    const ID: InstrumentId = InstrumentId(7);

    fn t(n: u64) -> UnixNanos {
        UnixNanos(n * 1000)
    }

    fn trade(r: &mut Recall, id: Option<u64>, time: u64, flags: Flags) {
        let (side, source, price) = (Some(Side::Buy), SideSource::ExplicitTaker, Price(time as i64));
        let (event, received) = (t(time), t(time + 500));
        let record = TradeRecord::new(Venue::Kraken, ID, side, source, flags, event, received, price, Qty(2), id);
        r.push(record.as_words());
    }

    fn gap(r: &mut Recall, range: Option<(u64, u64)>, from: u64) {
        let (stream, cause) = (StreamKind::Trade, GapCause::Reconnect);
        r.push(GapRecord::new(Venue::Kraken, ID, stream, cause, range, t(from), t(from + 1)).as_words());
    }

    fn finish(r: Recall) -> Memory {
        let all = r.finish();
        assert_eq!((all.len(), all[0].0), (1, ID));
        all[0].1.clone()
    }

    #[test]
    fn gaps_told_less_the_trades_told_late_are_what_is_missing() {
        let mut r = Recall::default();
        trade(&mut r, Some(10), 10, Flags::EMPTY);
        gap(&mut r, Some((11, 19)), 510);
        trade(&mut r, Some(20), 20, Flags::EMPTY);
        trade(&mut r, Some(11), 11, Flags::LATE);
        trade(&mut r, Some(12), 12, Flags::LATE);
        trade(&mut r, Some(3), 3, Flags::LATE);
        trade(&mut r, Some(21), 21, Flags::EMPTY);
        let missing = vec![Missing { first: 13, last: 19, since: t(12), until: t(20) }];
        let recent = vec![(t(21), 21)];
        let (trade_id, last_seen, trade_time, untold) = (Some(21), t(521), t(21), vec![]);
        let told_from = UnixNanos::ZERO;
        let expected = Memory { trade_id, last_seen, trade_time, missing, untold, recent, told_from };
        assert_eq!(finish(r), expected);
    }

    #[test]
    fn a_late_trade_whose_gap_is_gone_opens_no_hole() {
        let mut r = Recall::default();
        trade(&mut r, Some(19), 19, Flags::LATE);
        trade(&mut r, Some(900), 900, Flags::EMPTY);
        trade(&mut r, Some(901), 901, Flags::EMPTY);
        let m = finish(r);
        assert_eq!((m.trade_id, m.missing, m.untold), (Some(901), vec![], vec![]));
    }

    #[test]
    fn a_late_trade_alone_is_where_trades_stand() {
        let mut r = Recall::default();
        trade(&mut r, Some(18), 18, Flags::LATE);
        trade(&mut r, Some(19), 19, Flags::LATE);
        let m = finish(r);
        assert_eq!((m.trade_id, m.missing), (Some(19), vec![]));
    }

    #[test]
    fn a_hole_that_was_not_told_yet_is_missing_all_the_same_and_only_once() {
        let mut r = Recall::default();
        trade(&mut r, Some(10), 10, Flags::EMPTY);
        trade(&mut r, Some(20), 20, Flags::EMPTY);
        trade(&mut r, Some(13), 13, Flags::LATE);
        trade(&mut r, Some(30), 30, Flags::EMPTY);
        gap(&mut r, Some((14, 19)), 540);
        trade(&mut r, Some(14), 14, Flags::LATE);
        let m = finish(r);
        let ranges: Vec<_> = m.missing.iter().map(|m| (m.first, m.last, m.since, m.until)).collect();
        assert_eq!(ranges, [(11, 12, t(10), t(13)), (15, 19, t(14), t(20)), (21, 29, t(20), t(30))]);
        assert_eq!(m.untold, [(11, 12), (21, 29)], "no gap names these");
    }

    #[test]
    fn what_follows_a_gap_at_the_end_is_no_jump() {
        let mut r = Recall::default();
        trade(&mut r, Some(10), 10, Flags::EMPTY);
        gap(&mut r, Some((11, 15)), 510);
        trade(&mut r, Some(15), 15, Flags::LATE);
        trade(&mut r, Some(16), 16, Flags::EMPTY);
        gap(&mut r, Some((17, 18)), 520);
        let m = finish(r);
        let ranges: Vec<_> = m.missing.iter().map(|m| (m.first, m.last)).collect();
        assert_eq!((m.trade_id, ranges, m.untold), (Some(18), vec![(11, 14), (17, 18)], vec![]));
    }

    #[test]
    fn a_gap_whose_trade_before_is_gone_is_looked_for_from_well_before() {
        let mut r = Recall::default();
        gap(&mut r, Some((11, 19)), 100_000_000);
        trade(&mut r, Some(20), 100_000_100, Flags::EMPTY);
        assert_eq!(finish(r).missing[0].since, t(40_000_000));
    }

    #[test]
    fn ids_that_begin_anew_are_followed() {
        let mut r = Recall::default();
        trade(&mut r, Some(1000), 10, Flags::EMPTY);
        gap(&mut r, Some((1001, 1005)), 510);
        trade(&mut r, Some(1006), 20, Flags::EMPTY);
        trade(&mut r, Some(1), 30, Flags::EMPTY);
        let m = finish(r);
        assert_eq!((m.trade_id, m.missing), (Some(1), vec![]));
    }

    #[test]
    fn all_that_a_crash_loop_told_is_known_where_ids_have_no_order() {
        let mut r = Recall::default();
        let (stream, cause) = (StreamKind::Trade, GapCause::Restart);
        let ms = |n: u64| UnixNanos(1_000_000_000_000 + n * 1_000_000);
        let mut live = vec![];
        for run in 0..200 {
            let begin = ms(run * 500);
            r.push(GapRecord::new(Venue::Alpaca, ID, stream, cause, None, begin, begin).as_words());
            for n in 0..10 {
                let (time, id) = (ms(run * 500 + 200 + n), 1000 * run + n);
                let (side, source) = (Some(Side::Buy), SideSource::ExplicitTaker);
                let flags = Flags::EMPTY;
                let (price, size) = (Price(1), Qty(2));
                let t = TradeRecord::new(Venue::Alpaca, ID, side, source, flags, time, time, price, size, Some(id));
                r.push(t.as_words());
                live.push((time, id));
            }
        }
        let m = finish(r);
        let (first, last) = (m.missing[0], m.missing[m.missing.len() - 1]);
        assert_eq!((m.missing.len(), last.until), (trades::RANGES_MAX, ms(199 * 500 + 200)));
        assert_eq!((m.recent, m.told_from), (live, ms(0)), "from {first:?}");
    }

    #[test]
    fn a_window_without_ids_goes_on_behind_what_was_told_late() {
        let mut r = Recall::default();
        trade(&mut r, None, 10, Flags::EMPTY);
        gap(&mut r, None, 510);
        trade(&mut r, None, 20, Flags::EMPTY);
        trade(&mut r, None, 12, Flags::LATE);
        trade(&mut r, None, 15, Flags::LATE);
        trade(&mut r, None, 21, Flags::EMPTY);
        let m = finish(r);
        assert_eq!(m.missing, [Missing { first: 0, last: 0, since: t(15), until: t(20) }]);
        assert_eq!(m.recent.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [t(20), t(15), t(21)]);
    }

    #[test]
    fn a_gap_without_ids_at_the_end_of_memory_stays_a_gap() {
        let mut r = Recall::default();
        gap(&mut r, None, 100_000_000);
        trade(&mut r, None, 100_000_100, Flags::EMPTY);
        assert_eq!(finish(r).missing, []);
    }

    #[test]
    fn what_was_fetched_whole_is_not_missing_any_more() {
        let mut r = Recall::default();
        let whole = |r: &mut Recall, from, to| {
            let extent = (t(from), t(to));
            r.push(BackfillRecord::new(Venue::Kraken, ID, StreamKind::Trade, extent, 0, t(900)).as_words());
        };
        for run in [10, 30, 50] {
            trade(&mut r, None, run, Flags::EMPTY);
            gap(&mut r, None, run + 500);
            trade(&mut r, None, run + 10, Flags::EMPTY);
        }
        whole(&mut r, 10, 35);
        trade(&mut r, None, 61, Flags::EMPTY);
        let window = |since, until| Missing { first: 0, last: 0, since: t(since), until: t(until) };
        assert_eq!(r.instruments[&ID].memory.missing, [window(35, 40), window(50, 60)]);
        whole(&mut r, 35, 40);
        assert_eq!(r.instruments[&ID].memory.missing, [window(40, 40), window(50, 60)], "its last moment may be cut");
        whole(&mut r, 40, 61);
        assert_eq!(finish(r).missing, []);
    }
}
