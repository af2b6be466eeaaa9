//! Trades told by number: what follows, what repeats, what is missing.

use super::{Holes, Page, Paging, Row};
use crate::{Counts, Memory};
use model::{GapCause, UnixNanos};

/// Missing ranges kept of an instrument. What falls off stays a gap and is not fetched.
pub const RANGES_MAX: usize = 128;

/// Trades fetched of one range, its newest: a longer hole would flood the ring with history.
pub const RANGE_TRADES_MAX: u64 = 100_000;

/// Trades that are missing and may be fetched. Of a venue without ids both are 0 and the times alone count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// First missing id.
    pub first: u64,
    /// Last missing id.
    pub last: u64,
    /// When the venue says the trade before it happened; 0 when that is not known.
    pub since: UnixNanos,
    /// When the venue says the trade behind it happened; 0 when that is not known.
    pub until: UnixNanos,
}

/// No venue sends more of the latest trades again.
const REPEATS_MAX: u64 = 1000;

/// What a trade of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first of its instrument: tell it.
    First,
    /// It follows the one before: tell it.
    Next,
    /// It was told before: drop it.
    Repeat,
    /// Trades are missing before it: tell a gap of these ids, then the trade.
    Jump {
        /// First missing id.
        first: u64,
        /// Last missing id.
        last: u64,
    },
    /// Trades may be missing before it, and nobody can say which: tell a gap without ids, then the trade.
    Break,
    /// It was missing and comes late: tell it with `Flags::LATE`.
    Fills,
}

/// The trades of one instrument, by the venue's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeIds {
    last: Option<u64>,
    time: UnixNanos,
    received: UnixNanos,
    cause: GapCause,
    contiguous: bool,
    /// In the order of their ids.
    missing: Vec<Missing>,
}

impl Default for TradeIds {
    fn default() -> TradeIds {
        TradeIds::new(true)
    }
}

impl TradeIds {
    /// No trade yet. `contiguous`: ids follow one another without holes, so that a jump is a loss.
    pub fn new(contiguous: bool) -> TradeIds {
        let (time, received) = (UnixNanos::ZERO, UnixNanos::ZERO);
        TradeIds { last: None, time, received, cause: GapCause::Sequence, contiguous, missing: vec![] }
    }

    /// What an earlier run told, and what it did not get to fetch.
    pub fn remember(&mut self, memory: &Memory) {
        self.last = memory.trade_id;
        let time = if memory.trade_time == UnixNanos::ZERO { memory.last_seen } else { memory.trade_time };
        (self.time, self.received) = (time, memory.last_seen);
        self.cause = GapCause::Restart;
        self.missing.clear();
        if self.contiguous {
            self.missing.extend(memory.missing.iter().filter(|m| m.first > 0 && m.first <= m.last).copied());
            self.missing.sort_by_key(|m| m.first);
        }
    }

    /// Another connection told trades up to this id: they are neither news nor missing here.
    pub fn catch_up(&mut self, last: u64) {
        self.last = self.last.max(Some(last));
    }

    /// The connection is gone: what is missing before the next trade is due to that.
    pub fn disconnected(&mut self) {
        if self.last.is_some() && self.cause == GapCause::Sequence {
            self.cause = GapCause::Reconnect;
        }
    }

    /// What missing trades before the next one are due to. Read it before [`TradeIds::take`], which settles it.
    pub fn cause(&self) -> GapCause {
        self.cause
    }

    /// The last id told.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// When the last trade was received: where a gap that is told now begins.
    pub fn received(&self) -> UnixNanos {
        self.received
    }

    /// Whether trades may be missing since the connection was lost or an earlier run ended.
    pub fn is_broken(&self) -> bool {
        self.cause != GapCause::Sequence
    }

    /// What is missing, in the order of ids.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Takes over what another connection did not get to fetch; whether any of it was news.
    pub fn take_missing(&mut self, missing: &[Missing]) -> bool {
        let known: Vec<_> = self.missing.iter().map(|m| (m.first, m.last)).collect();
        let mut news = false;
        for m in missing.iter().filter(|m| self.contiguous && self.last.is_some_and(|last| m.last <= last)) {
            for (first, last) in without((m.first, m.last), &known) {
                lose(&mut self.missing, Missing { first, last, ..*m });
                news = true;
            }
        }
        self.missing.sort_by_key(|m| m.first);
        news
    }

    /// Judges a trade of the stream and takes note of it. `time` is the venue's.
    #[inline]
    pub fn take(&mut self, id: u64, time: UnixNanos, received: UnixNanos) -> Verdict {
        if self.last == Some(id.wrapping_sub(1)) && id != 0 {
            self.advance(id, time, received);
            return Verdict::Next;
        }
        self.judge(id, time, received)
    }

    #[inline]
    fn advance(&mut self, id: u64, time: UnixNanos, received: UnixNanos) {
        (self.last, self.time, self.received) = (Some(id), time, received);
        self.cause = GapCause::Sequence;
    }

    #[cold]
    fn judge(&mut self, id: u64, time: UnixNanos, received: UnixNanos) -> Verdict {
        let verdict = match self.last {
            None if self.is_broken() => Verdict::Break,
            None => Verdict::First,
            Some(last) if self.is_of_another_count(id, last, time) => {
                self.missing.clear();
                Verdict::Break
            }
            Some(last) if id <= last => {
                return if self.fill(id, time) { Verdict::Fills } else { Verdict::Repeat };
            }
            Some(last) if self.contiguous => {
                let (first, last) = (last + 1, id - 1);
                self.lose(first, last, time);
                Verdict::Jump { first, last }
            }
            Some(_) if self.is_broken() => Verdict::Break,
            Some(_) => Verdict::Next,
        };
        self.advance(id, time, received);
        verdict
    }

    /// Whether the venue began its ids anew: a trade that is newer than the last one has an id far below it. What a
    /// venue repeats is of late and older.
    fn is_of_another_count(&self, id: u64, last: u64, time: UnixNanos) -> bool {
        time > self.time && id < last / 2 && last - id > REPEATS_MAX
    }

    /// The venue began its ids anew: this one is the first of the new ones, and nothing can be said of the old.
    pub fn begin_anew(&mut self, id: u64, time: UnixNanos, received: UnixNanos) {
        self.missing.clear();
        self.advance(id, time, received);
    }

    /// The venue says by another way that this trade was the last, and it has not come: it is missing with all before
    /// it. First and last missing id, to be told as a gap; should they come yet, they fill it.
    pub fn tail(&mut self, id: u64, received: UnixNanos) -> Option<(u64, u64)> {
        let first = self.last.filter(|last| self.contiguous && *last < id)? + 1;
        self.lose(first, id, UnixNanos::ZERO);
        (self.last, self.received, self.cause) = (Some(id), received, GapCause::Sequence);
        Some((first, id))
    }

    /// When the last trade of the stream happened.
    pub fn time(&self) -> UnixNanos {
        self.time
    }

    fn lose(&mut self, first: u64, last: u64, until: UnixNanos) {
        lose(&mut self.missing, Missing { first, last, since: self.time, until });
    }

    fn fill(&mut self, id: u64, time: UnixNanos) -> bool {
        fill(&mut self.missing, id, time)
    }

    fn forget(&mut self, first: u64, last: u64) -> u64 {
        forget(&mut self.missing, first, last)
    }
}

/// The parts of a range of ids that none of the others covers.
pub(crate) fn without((first, last): (u64, u64), others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = vec![(first, last)];
    for (from, to) in others {
        let parts = |(first, last): (u64, u64)| {
            let (below, above) = ((first, last.min(from.saturating_sub(1))), (first.max(to.saturating_add(1)), last));
            [below, above].into_iter().filter(|(first, last)| first <= last)
        };
        let overlaps = |range: &(u64, u64)| range.0 <= *to && *from <= range.1;
        rest = rest.into_iter().flat_map(|r| if overlaps(&r) { parts(r).collect() } else { vec![r] }).collect();
    }
    rest
}

/// Takes `first..=last` out of what is missing, and says how many that were.
pub(crate) fn forget(missing: &mut Vec<Missing>, first: u64, last: u64) -> u64 {
    let mut lost = 0;
    for m in std::mem::take(missing) {
        let (from, to) = (m.first.max(first), m.last.min(last));
        if from > to {
            missing.push(m);
            continue;
        }
        lost += to - from + 1;
        if m.first < from {
            missing.push(Missing { last: from - 1, ..m });
        }
        if m.last > to {
            missing.push(Missing { first: to + 1, ..m });
        }
    }
    lost
}

/// Adds a range behind those that are missing, within the bounds.
pub(crate) fn lose(missing: &mut Vec<Missing>, range: Missing) {
    if missing.len() == RANGES_MAX {
        missing.remove(0);
    }
    let first = range.first.max(range.last.saturating_sub(RANGE_TRADES_MAX - 1));
    missing.push(Missing { first, ..range });
}

/// Takes an id out of what is missing; `false` when it is not.
pub(crate) fn fill(missing: &mut Vec<Missing>, id: u64, time: UnixNanos) -> bool {
    let Some(at) = missing.iter().position(|m| (m.first..=m.last).contains(&id)) else { return false };
    let m = missing[at];
    match (id == m.first, id == m.last) {
        (true, true) => drop(missing.remove(at)),
        (true, false) => (missing[at].first, missing[at].since) = (id + 1, time),
        (false, true) => (missing[at].last, missing[at].until) = (id - 1, time),
        (false, false) => {
            missing[at] = Missing { last: id - 1, until: time, ..m };
            missing.insert(at + 1, Missing { first: id + 1, since: time, ..m });
        }
    }
    true
}

impl Holes for TradeIds {
    fn next_page(&self) -> Option<Missing> {
        self.missing.first().copied()
    }

    /// Going up, the venue serves in rising order from the page's first id (or time) on; going down, in falling order
    /// from its last. Whatever it passed over it does not have.
    fn take_rows(&mut self, page: &Page, paging: Paging, rows: &mut Vec<Row>, counts: &mut Counts) -> bool {
        let (low, high) = rows.iter().fold((u64::MAX, 0), |(low, high), r| (low.min(r.id), high.max(r.id)));
        let before = rows.iter().filter(|r| r.id < page.first).map(|r| r.time).max();
        let behind = rows.iter().filter(|r| r.id > page.last).map(|r| r.time).min();
        rows.sort_by_key(|r| r.id);
        rows.retain(|r| self.fill(r.id, r.time));
        counts.trades_backfilled += rows.len() as u64;
        let passed = match paging {
            Paging::Up if high >= page.first && low <= high => Some((page.first, high.min(page.last))),
            Paging::Down if low <= page.last && low <= high => Some((low.max(page.first), page.last)),
            _ => None,
        };
        if let Some((first, last)) = passed {
            counts.trades_lost += self.forget(first, last);
            return true;
        }
        // Nothing of the page itself, but by time it came nearer.
        let Some(m) = self.missing.iter_mut().find(|m| m.first == page.first) else { return true };
        let was = *m;
        match paging {
            Paging::Up => m.since = m.since.max(before.unwrap_or(UnixNanos::ZERO)),
            Paging::Down => m.until = behind.map_or(m.until, |t| if m.until.0 == 0 { t } else { m.until.min(t) }),
        }
        *m != was
    }

    fn give_up(&mut self, page: &Page, counts: &mut Counts) {
        counts.trades_lost += self.forget(page.first, page.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_that_never_came_is_missing_until_it_does() {
        let t = UnixNanos;
        let mut ids = TradeIds::new(true);
        assert_eq!(ids.tail(5, t(1)), None, "nothing is known before the first trade");
        ids.take(5, t(1), t(2));
        assert_eq!(ids.tail(5, t(3)), None);
        assert_eq!(ids.tail(8, t(4)), Some((6, 8)));
        assert_eq!(ids.take(7, t(3), t(5)), Verdict::Fills);
        assert_eq!(ids.take(9, t(6), t(6)), Verdict::Next);
        assert_eq!(ids.missing().iter().map(|m| (m.first, m.last)).collect::<Vec<_>>(), [(6, 6), (8, 8)]);
    }

    fn t(n: u64) -> UnixNanos {
        UnixNanos(n * 1000)
    }

    fn take(ids: &mut TradeIds, id: u64) -> Verdict {
        ids.take(id, t(id), t(id))
    }

    fn ranges(ids: &TradeIds) -> Vec<(u64, u64)> {
        ids.missing().iter().map(|m| (m.first, m.last)).collect()
    }

    #[test]
    fn what_another_connection_told_is_neither_news_nor_missing() {
        let mut ids = TradeIds::new(true);
        let t = UnixNanos(1);
        ids.take(5, t, t);
        ids.catch_up(1000);
        assert_eq!(ids.take(1000, t, t), Verdict::Repeat);
        assert_eq!(ids.take(1001, t, t), Verdict::Next);
        ids.catch_up(900);
        assert_eq!(ids.take(1002, t, t), Verdict::Next);
        assert_eq!(ids.missing(), []);
    }

    #[test]
    fn each_id_is_told_once_and_what_is_missing_is_known_exactly() {
        let mut ids = TradeIds::default();
        let told: Vec<Verdict> = [10, 11, 11, 9, 15, 13, 13, 12, 14, 14, 16].map(|id| take(&mut ids, id)).to_vec();
        let jump = Verdict::Jump { first: 12, last: 14 };
        use Verdict::{Fills, First, Next, Repeat};
        assert_eq!(told, [First, Next, Repeat, Repeat, jump, Fills, Repeat, Fills, Fills, Repeat, Next]);
        assert!(ids.missing().is_empty());
    }

    #[test]
    fn a_hole_knows_the_times_around_it_and_splits() {
        let mut ids = TradeIds::default();
        take(&mut ids, 10);
        take(&mut ids, 20);
        assert_eq!(ids.missing(), [Missing { first: 11, last: 19, since: t(10), until: t(20) }]);
        assert_eq!(take(&mut ids, 15), Verdict::Fills);
        let (low, high) = (Missing { first: 11, last: 14, since: t(10), until: t(15) }, t(15));
        assert_eq!(ids.missing(), [low, Missing { first: 16, last: 19, since: high, until: t(20) }]);
    }

    #[test]
    fn a_jump_names_its_cause() {
        let mut ids = TradeIds::default();
        take(&mut ids, 10);
        ids.disconnected();
        assert_eq!(ids.cause(), GapCause::Reconnect);
        assert_eq!(take(&mut ids, 12), Verdict::Jump { first: 11, last: 11 });
        assert_eq!(ids.cause(), GapCause::Sequence);
        let missing = vec![Missing { first: 5, last: 6, since: t(4), until: t(7) }];
        ids.remember(&Memory { trade_id: Some(12), last_seen: t(12), trade_time: t(12), missing, ..Memory::default() });
        ids.disconnected();
        assert_eq!(ids.cause(), GapCause::Restart, "a connection lost before the first trade changes nothing");
        assert_eq!((take(&mut ids, 13), ranges(&ids)), (Verdict::Next, vec![(5, 6)]));
    }

    #[test]
    fn ids_that_begin_anew_are_not_taken_for_repeats() {
        let mut ids = TradeIds::default();
        let mut at = |id, time| ids.take(id, t(time), t(time));
        assert_eq!(at(5000, 10), Verdict::First);
        assert_eq!(at(5003, 11), Verdict::Jump { first: 5001, last: 5002 });
        assert_eq!(at(1, 9), Verdict::Repeat, "older than the last one");
        assert_eq!(at(4500, 12), Verdict::Repeat, "not far below it");
        assert_eq!(at(2, 12), Verdict::Break);
        assert_eq!(at(3, 12), Verdict::Next);
        assert!(ids.missing().is_empty(), "nothing can be fetched of the old ones");
    }

    #[test]
    fn ids_that_only_rise_say_nothing_but_after_a_break() {
        let mut ids = TradeIds::new(false);
        assert_eq!([10, 20, 20].map(|id| take(&mut ids, id)), [Verdict::First, Verdict::Next, Verdict::Repeat]);
        ids.disconnected();
        assert_eq!((take(&mut ids, 30), take(&mut ids, 40)), (Verdict::Break, Verdict::Next));
        assert!(ids.missing().is_empty());
    }

    #[test]
    fn the_list_is_bounded_and_so_is_a_range() {
        let mut ids = TradeIds::default();
        for n in 0..=RANGES_MAX as u64 + 3 {
            take(&mut ids, 10 * n);
        }
        assert_eq!((ids.missing().len(), ids.missing()[0].first), (RANGES_MAX, 31));
        let mut ids = TradeIds::default();
        take(&mut ids, 1);
        take(&mut ids, 1_000_000);
        assert_eq!(ranges(&ids), [(900_000, 999_999)], "the newest are fetched");
    }
}
