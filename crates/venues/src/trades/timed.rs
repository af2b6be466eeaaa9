//! Trades told by time, for venues whose trades have no ids: a window of time is fetched after every break, and what is
//! known of it by key is not told again.
//!
//! A page holds everything from a time on, so it serves every window it reaches over. What it leaves whole is told
//! ([`TimedTrades::whole`]), since nothing else says that a window without ids has nothing missing any more: neither to a
//! reader nor to the next run of the feed.

use super::{Holes, Missing, Page, Paging, Row, Verdict, lose};
use crate::{Counts, Memory};
use model::{Decimal, GapCause, Side, UnixNanos};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Keys remembered of the trades told last.
const SEEN_MAX: usize = 256;

/// Trades of one moment cannot be told apart by time: times are cut to the microsecond.
const MOMENT: Duration = Duration::from_micros(1);

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

/// The trades of one instrument, by time. Two trades alike in one moment are two; only after a break, when the venue may
/// repeat itself, equal ones are taken for the same. Windows are fetched upwards, from their older end on.
#[derive(Clone, Debug)]
pub struct TimedTrades {
    time: UnixNanos,
    received: UnixNanos,
    cause: GapCause,
    /// The trades of the stream told last.
    seen: VecDeque<(UnixNanos, u64)>,
    /// From the oldest to the newest.
    missing: Vec<Missing>,
    /// Trades told at the very moment a window begins or ends: those a page may bring again.
    edges: Vec<(UnixNanos, u64)>,
    whole: Option<(UnixNanos, UnixNanos)>,
}

impl Default for TimedTrades {
    fn default() -> TimedTrades {
        TimedTrades::new()
    }
}

impl TimedTrades {
    /// No trade yet.
    pub fn new() -> TimedTrades {
        TimedTrades {
            time: UnixNanos::ZERO,
            received: UnixNanos::ZERO,
            cause: GapCause::Sequence,
            seen: VecDeque::new(),
            missing: vec![],
            edges: vec![],
            whole: None,
        }
    }

    /// What an earlier run told, and the windows it may not have got to fetch.
    pub fn remember(&mut self, memory: &Memory) {
        (self.time, self.received) = (memory.trade_time, memory.last_seen);
        self.cause = GapCause::Restart;
        self.missing = memory.missing.iter().filter(|m| m.first == 0 && m.since <= m.until).copied().collect();
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

    /// From when up to, not including, when the last page left nothing missing, by the venue's clock; said once.
    pub fn whole(&mut self) -> Option<(UnixNanos, UnixNanos)> {
        self.whole.take()
    }

    /// Judges a trade of the stream and takes note of it. `key` is its [`key`]; `time` is the venue's.
    pub fn take(&mut self, key: u64, time: UnixNanos, received: UnixNanos) -> Verdict {
        // What the venue repeats on a new connection goes back further than is remembered. Of those trades what was not
        // told lies in a window, and is fetched with it.
        if self.is_broken() && (time < self.time || time == self.time && self.told(time, key) > 0) {
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
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((time, key));
        self.note_edge(time, key);
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

    fn note_edge(&mut self, time: UnixNanos, key: u64) {
        if self.missing.iter().any(|m| m.since == time || m.until == time) {
            self.edges.push((time, key));
        }
    }
}

impl Holes for TimedTrades {
    /// The oldest window first: its page may serve those behind it too.
    fn next_page(&self) -> Option<Missing> {
        self.missing.first().copied()
    }

    /// An answer without a trade of the window is none: REST may trail the stream, whose trade ends the window.
    fn take_rows(&mut self, page: &Page, _: Paging, rows: &mut Vec<Row>, counts: &mut Counts) -> bool {
        let Some(newest) = rows.iter().map(|r| r.time).max().filter(|newest| *newest >= page.since) else {
            rows.clear();
            return false;
        };
        // The answer may end within a moment, unless that is the one it begins with.
        let to = if newest > page.since { newest } else { newest.after(MOMENT) };
        rows.sort_by_key(|r| r.time);
        let mut in_page: HashMap<(UnixNanos, u64), usize> = HashMap::new();
        rows.retain(|r| {
            let copy = in_page.entry((r.time, r.id)).or_default();
            *copy += 1;
            let missing = self.missing.iter().any(|m| m.since >= page.since && m.since <= r.time && r.time <= m.until);
            missing && *copy > self.told(r.time, r.id)
        });
        counts.trades_backfilled += rows.len() as u64;
        for m in self.missing.iter_mut().filter(|m| m.since >= page.since) {
            m.since = m.since.max(to);
        }
        self.missing.retain(|m| m.since <= m.until);
        for r in rows.iter() {
            self.note_edge(r.time, r.id);
        }
        if self.missing.is_empty() {
            self.edges.clear();
        }
        self.whole = Some((page.since, to));
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

    /// Takes a page of rows by key and time; the keys that are to be told.
    fn bring(trades: &mut TimedTrades, rows: &[(u64, u64)]) -> (bool, Vec<u64>) {
        let window = trades.next_page().expect("a window");
        let mut rows: Vec<_> = rows.iter().map(|(id, time)| row(*id, *time)).collect();
        let useful = trades.take_rows(&page(window), Paging::Up, &mut rows, &mut Counts::default());
        (useful, rows.iter().map(|r| r.id).collect())
    }

    fn told(trades: &mut TimedTrades, key: u64, time: u64) -> Verdict {
        trades.take(key, t(time), t(time))
    }

    #[test]
    fn a_window_is_fetched_after_a_break_and_nothing_of_it_is_told_twice() {
        let mut trades = TimedTrades::new();
        assert_eq!([(1, 1), (7, 2)].map(|(id, n)| told(&mut trades, id, n)), [Verdict::First, Verdict::Next]);
        trades.disconnected();
        assert_eq!((told(&mut trades, 7, 2), told(&mut trades, 99, 9)), (Verdict::Repeat, Verdict::Break));
        assert_eq!(trades.cause(), GapCause::Sequence);
        assert_eq!(trades.next_page(), Some(Missing { first: 0, last: 0, since: t(2), until: t(9) }));
        assert_eq!(bring(&mut trades, &[(7, 2), (30, 4), (20, 3)]), (true, vec![20, 30]));
        assert_eq!(trades.whole(), Some((t(2), t(4))), "more may have happened in the last moment");
        assert_eq!(bring(&mut trades, &[(30, 4), (40, 8), (99, 9), (100, 10)]), (true, vec![40]));
        assert_eq!((trades.whole(), trades.whole(), trades.next_page()), (Some((t(4), t(10))), None, None));
    }

    #[test]
    fn a_page_serves_every_window_it_reaches_over() {
        let mut trades = TimedTrades::new();
        for (id, time) in [(1, 1), (4, 4), (5, 5), (8, 8), (9, 9), (12, 12)] {
            told(&mut trades, id, time);
            if id % 4 == 1 {
                trades.disconnected();
            }
        }
        assert_eq!(trades.missing().len(), 3);
        let all = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|n| (n, n));
        assert_eq!(bring(&mut trades, &all), (true, vec![2, 3, 6, 7, 10]));
        assert_eq!((trades.missing().len(), trades.whole()), (1, Some((t(1), t(10)))));
        assert_eq!(bring(&mut trades, &[(10, 10), (11, 11), (12, 12)]), (true, vec![11]));
        assert_eq!(bring(&mut trades, &[(12, 12), (14, 12)]), (true, vec![14]), "the moment the last page ended in");
        assert_eq!((trades.next_page(), trades.whole()), (None, Some((t(12), t(13)))));
    }

    #[test]
    fn what_rest_does_not_show_yet_stays_missing() {
        let mut trades = TimedTrades::new();
        told(&mut trades, 1, 1);
        trades.disconnected();
        told(&mut trades, 5, 5);
        assert_eq!(bring(&mut trades, &[]), (false, vec![]));
        assert_eq!(bring(&mut trades, &[(1, 1)]), (true, vec![]), "the first moment is whole");
        assert_eq!(bring(&mut trades, &[(1, 1)]), (false, vec![]), "which is no news");
        assert_eq!(trades.next_page().map(|m| (m.since, m.until)), Some((t(2), t(5))));
        assert_eq!(bring(&mut trades, &[(3, 3), (5, 5), (6, 6)]), (true, vec![3]));
        assert_eq!(trades.next_page(), None);
    }

    #[test]
    fn trades_alike_are_counted() {
        let mut trades = TimedTrades::new();
        assert_eq!(told(&mut trades, 5, 1), Verdict::First);
        assert_eq!(told(&mut trades, 5, 1), Verdict::Next, "two alike are two");
        trades.disconnected();
        assert_eq!(told(&mut trades, 5, 1), Verdict::Repeat, "the venue repeats itself");
        assert_eq!(told(&mut trades, 6, 3), Verdict::Break);
        assert_eq!(
            bring(&mut trades, &[(5, 1), (5, 1), (5, 1), (6, 3), (6, 4)]),
            (true, vec![5]),
            "one was never told"
        );
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
