//! Trades told by time, for venues whose trades have no ids or ids with holes: a window of time is fetched again after
//! every break, and what is known of it by key is not told again.

use super::{Holes, Missing, Page, Paging, Row, Verdict, lose};
use crate::{Counts, Memory};
use model::{Decimal, GapCause, Side, UnixNanos};
use std::collections::{HashMap, VecDeque};

/// Keys remembered of the trades told last.
const SEEN_MAX: usize = 256;

/// A key for a trade of a stream without ids: equal for equal trades, however their numbers are spelled.
pub fn key(time: UnixNanos, price: Decimal, size: Decimal, side: Option<Side>) -> u64 {
    let side = side.map_or(0, |s| if s == Side::Buy { 1 } else { 2 });
    // Multiply and fold: the same on every machine and in every build, so that captures replay alike.
    let mix = |h: u64, word: u64| {
        let product = u128::from(h ^ word) * 0x9e37_79b9_7f4a_7c15;
        product as u64 ^ (product >> 64) as u64
    };
    let number = |h, value: Decimal| {
        let Decimal { mantissa, scale } = value.normalised();
        [mantissa as u64, (mantissa >> 64) as u64, scale.into()].into_iter().fold(h, mix)
    };
    mix(number(number(mix(1, time.0), price), size), side)
}

/// The trades of one instrument, by time. Windows are fetched upwards, from their older end on.
#[derive(Clone, Debug)]
pub struct TimedTrades {
    /// Equal keys are the same trade, not two alike.
    unique: bool,
    time: UnixNanos,
    received: UnixNanos,
    cause: GapCause,
    /// The trades told last.
    seen: VecDeque<(UnixNanos, u64)>,
    missing: Vec<Missing>,
    /// Trades told at the very moment a window begins or ends: those a page may bring again.
    edges: Vec<(UnixNanos, u64)>,
}

impl TimedTrades {
    /// No trade yet. `unique`: the keys are the venue's ids. Otherwise two trades alike in one moment are two, and only
    /// after a break, when the venue may repeat itself, equal ones are taken for the same.
    pub fn new(unique: bool) -> TimedTrades {
        TimedTrades {
            unique,
            time: UnixNanos::ZERO,
            received: UnixNanos::ZERO,
            cause: GapCause::Sequence,
            seen: VecDeque::new(),
            missing: vec![],
            edges: vec![],
        }
    }

    /// What an earlier run told, and the windows it may not have got to fetch.
    pub fn remember(&mut self, memory: &Memory) {
        (self.time, self.received) = (memory.trade_time, memory.last_seen);
        self.cause = GapCause::Restart;
        self.missing = memory.missing.iter().filter(|m| m.first == 0 && m.since < m.until).copied().collect();
        self.seen = memory.recent.iter().filter(|(time, _)| *time == self.time).copied().collect();
        self.edges.clone_from(&memory.recent);
    }

    /// The connection is gone: what is missing before the next trade is due to that.
    pub fn disconnected(&mut self) {
        if self.time != UnixNanos::ZERO && self.cause == GapCause::Sequence {
            self.cause = GapCause::Reconnect;
        }
    }

    /// What missing trades before the next one are due to. Read it before [`TimedTrades::take`], which settles it.
    pub fn cause(&self) -> GapCause {
        self.cause
    }

    /// When the last trade was received: where a gap that is told now begins.
    pub fn received(&self) -> UnixNanos {
        self.received
    }

    /// Whether trades may be missing since the connection was lost or an earlier run ended.
    pub fn is_broken(&self) -> bool {
        self.cause != GapCause::Sequence
    }

    /// The windows still to be fetched.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Judges a trade of the stream and takes note of it. `key` is its id, or [`key`]; `time` is the venue's.
    pub fn take(&mut self, key: u64, time: UnixNanos, received: UnixNanos) -> Verdict {
        let may_repeat = self.unique || self.is_broken() && time <= self.time;
        if may_repeat && self.told(time, key) > 0 {
            return Verdict::Repeat;
        }
        // What the venue repeats on a new connection goes back further than is remembered. Of those trades what was not
        // told lies in a window, and is fetched with it.
        if !self.unique && self.is_broken() && time < self.time {
            return Verdict::Repeat;
        }
        let verdict = match (self.is_broken(), self.time) {
            (false, UnixNanos::ZERO) => Verdict::First,
            (false, _) => Verdict::Next,
            (true, since) => {
                self.open_window(since, time);
                Verdict::Break
            }
        };
        self.note(time, key);
        (self.time, self.received) = (self.time.max(time), received);
        self.cause = GapCause::Sequence;
        verdict
    }

    fn open_window(&mut self, since: UnixNanos, until: UnixNanos) {
        if since == UnixNanos::ZERO || until <= since {
            return;
        }
        lose(&mut self.missing, Missing { first: 0, last: 0, since, until });
        self.edges.extend(self.seen.iter().filter(|(time, _)| *time == since));
    }

    /// How often a trade was told, as far as that is remembered.
    fn told(&self, time: UnixNanos, key: u64) -> usize {
        let seen = self.seen.iter().filter(|(_, k)| *k == key).count();
        let edges = self.edges.iter().filter(|(t, k)| *t == time && *k == key).count();
        seen.max(edges)
    }

    fn note(&mut self, time: UnixNanos, key: u64) {
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((time, key));
        if self.missing.iter().any(|m| m.since == time || m.until == time) {
            self.edges.push((time, key));
        }
    }
}

impl Holes for TimedTrades {
    /// The newest window first: of those from earlier runs nobody knows whether they were fetched to their end.
    fn next_page(&self) -> Option<Missing> {
        self.missing.last().copied()
    }

    /// A page that does not bring its window on is the last of it.
    fn take_rows(&mut self, page: &Page, _: Paging, rows: &mut Vec<Row>, counts: &mut Counts) -> bool {
        let newest = rows.iter().map(|r| r.time).max();
        rows.sort_by_key(|r| r.time);
        let mut in_page: HashMap<(UnixNanos, u64), usize> = HashMap::new();
        rows.retain(|r| {
            let copy = in_page.entry((r.time, r.id)).or_default();
            *copy += 1;
            let told = self.told(r.time, r.id);
            let known = if self.unique { told > 0 || *copy > 1 } else { *copy <= told };
            !known && r.time >= page.since && r.time <= page.until
        });
        counts.trades_backfilled += rows.len() as u64;
        let Some(at) = self.missing.iter().position(|m| m.until == page.until) else { return true };
        let reached = newest.unwrap_or(page.since);
        let ends = reached <= page.since || reached >= page.until;
        if ends {
            self.missing.remove(at);
        } else {
            self.missing[at].since = reached;
        }
        for r in rows.iter() {
            self.note(r.time, r.id);
        }
        if self.missing.is_empty() {
            self.edges.clear();
        }
        true
    }

    fn give_up(&mut self, page: &Page, _: &mut Counts) {
        self.missing.retain(|m| m.until != page.until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(n: u64) -> UnixNanos {
        UnixNanos(n * 1000)
    }

    fn row(id: u64, time: u64) -> Row {
        let (price, size) = (Decimal::new(1, 0), Decimal::new(2, 0));
        Row { id, time: t(time), price, size, side: Some(Side::Buy) }
    }

    fn page(m: Missing) -> Page {
        Page { instrument: 0, first: m.first, last: m.last, since: m.since, until: m.until }
    }

    #[test]
    fn a_window_is_fetched_after_a_break_and_nothing_of_it_is_told_twice() {
        let mut trades = TimedTrades::new(true);
        assert_eq!([(1, 1), (7, 2), (7, 2)].map(|(id, n)| trades.take(id, t(n), t(n)))[2], Verdict::Repeat);
        trades.disconnected();
        assert_eq!((trades.take(99, t(9), t(9)), trades.cause()), (Verdict::Break, GapCause::Sequence));
        let first = trades.next_page().expect("a window");
        assert_eq!(first, Missing { first: 0, last: 0, since: t(2), until: t(9) });
        let (mut rows, mut counts) = (vec![row(7, 2), row(30, 4), row(20, 3)], Counts::default());
        assert!(trades.take_rows(&page(first), Paging::Up, &mut rows, &mut counts));
        assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), [20, 30]);
        let second = trades.next_page().expect("the rest of the window");
        assert_eq!((second.since, second.until), (t(4), t(9)));
        let mut rows = vec![row(30, 4), row(40, 8), row(99, 9), row(100, 10)];
        trades.take_rows(&page(second), Paging::Up, &mut rows, &mut counts);
        assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), [40]);
        assert_eq!((trades.next_page(), counts.trades_backfilled), (None, 3));
    }

    #[test]
    fn trades_alike_are_counted_where_there_are_no_ids() {
        let mut trades = TimedTrades::new(false);
        assert_eq!(trades.take(5, t(1), t(1)), Verdict::First);
        assert_eq!(trades.take(5, t(1), t(1)), Verdict::Next, "two alike are two");
        trades.disconnected();
        assert_eq!(trades.take(5, t(1), t(2)), Verdict::Repeat, "the venue repeats itself");
        assert_eq!(trades.take(6, t(3), t(3)), Verdict::Break);
        let window = trades.next_page().expect("a window");
        let mut rows = vec![row(5, 1), row(5, 1), row(5, 1), row(6, 3)];
        trades.take_rows(&page(window), Paging::Up, &mut rows, &mut Counts::default());
        assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), [5], "the third was never told");
        assert_eq!(trades.next_page(), None);
    }

    #[test]
    fn a_key_is_the_trade_not_its_spelling() {
        let d = |text: &str| text.parse::<Decimal>().expect("a number");
        let k = |price, side| key(t(1), d(price), d("1.50"), side);
        assert_eq!(k("2.0", Some(Side::Buy)), k("2.00", Some(Side::Buy)));
        assert_ne!(k("2.0", Some(Side::Buy)), k("2.0", Some(Side::Sell)));
    }
}
