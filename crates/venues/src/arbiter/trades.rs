//! Trades of several lines as one: each id once, and a hole told only when no line fills it.

use super::{Arbiter, GRACE};
use crate::Memory;
use model::{GapCause, StreamKind, UnixNanos};
use wire::{Flags, GapRecord, Header, RecordBuf};

/// Holes remembered of one instrument; the oldest is forgotten (and told before that).
const MISSING_MAX: usize = 64;

/// The word of a trade record that holds its id.
const ID_WORD: usize = 5;

/// Ids that no line has brought.
#[derive(Clone, Copy, Debug)]
struct Missing {
    first: u64,
    last: u64,
    cause: GapCause,
    /// When the last trade before it was received.
    from: UnixNanos,
    /// Not waited for longer than this.
    due: UnixNanos,
    /// It was told as a gap; what comes of it later is told all the same.
    told: bool,
}

/// Where one line's trades of one instrument stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// The highest id brought on this connection.
    pub at: Option<u64>,
    /// How often ids have begun anew.
    era: u32,
    /// Why the next jump would be, as the line's machine says.
    broke: Option<GapCause>,
}

impl Position {
    pub(super) fn at_era(era: u32) -> Position {
        Position { era, ..Position::default() }
    }
}

/// One instrument's trades as they were told.
#[derive(Debug, Default)]
pub(super) struct Trades {
    /// Every id up to here was told, is missing, or lies before the run.
    high: Option<u64>,
    missing: Vec<Missing>,
    pub era: u32,
    last_recv: UnixNanos,
    /// What the next jump is due to, when it is not just a jump.
    cause: Option<GapCause>,
    /// The line that told before there was an arbiter and does not know its last id: others are not heard before it.
    first_from: Option<usize>,
}

impl Trades {
    pub(super) fn remember(&mut self, memory: &Memory) {
        (self.high, self.last_recv) = (memory.trade_id, memory.last_seen);
        self.missing = self.told_before(&memory.missing);
        self.cause = Some(GapCause::Restart);
    }

    /// Holes that were told already; what is fetched of them is told late.
    fn told_before(&self, missing: &[crate::trades::Missing]) -> Vec<Missing> {
        let told = |m: &crate::trades::Missing| Missing {
            first: m.first,
            last: m.last,
            cause: GapCause::Restart,
            from: self.last_recv,
            due: UnixNanos::ZERO,
            told: true,
        };
        missing.iter().filter(|m| m.first > 0).map(told).collect()
    }

    /// The line told its own holes, and filled those of the earlier run that it no longer misses.
    pub(super) fn seed(&mut self, line: usize, last: Option<u64>, missing: &[crate::trades::Missing]) {
        self.missing = self.told_before(missing);
        self.high = self.high.max(last);
        self.first_from = self.high.is_none().then_some(line);
        self.cause = None;
    }

    pub(super) fn high(&self) -> Option<u64> {
        self.high
    }

    /// The parts of these that no line has brought.
    pub(super) fn still_missing(&self, missing: &[crate::trades::Missing]) -> Vec<crate::trades::Missing> {
        let part = |m: &crate::trades::Missing, hole: &Missing| crate::trades::Missing {
            first: m.first.max(hole.first),
            last: m.last.min(hole.last),
            ..*m
        };
        let parts = missing.iter().flat_map(|m| self.missing.iter().map(|hole| part(m, hole)));
        parts.filter(|m| m.first > 0 && m.first <= m.last).collect()
    }

    /// When the next hole is given up.
    pub(super) fn due(&self) -> Option<UnixNanos> {
        self.missing.iter().filter(|m| !m.told).map(|m| m.due).min()
    }

    /// Whether an id was missing; it no longer is.
    fn fill(&mut self, id: u64) -> bool {
        let Some(n) = self.missing.iter().position(|m| (m.first..=m.last).contains(&id)) else { return false };
        let hole = self.missing.remove(n);
        let parts = [(hole.first, id.wrapping_sub(1), id > hole.first), (id + 1, hole.last, id < hole.last)];
        let rest = parts.into_iter().filter(|p| p.2).map(|(first, last, _)| Missing { first, last, ..hole });
        self.missing.splice(n..n, rest);
        true
    }
}

impl Arbiter {
    #[inline]
    pub(super) fn on_trade(
        &mut self,
        m: usize,
        line: usize,
        flags: Flags,
        words: &[u64],
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        if flags.contains(Flags::NO_ID) {
            self.unnumbered = true;
            return self.on_stream(m, line, StreamKind::Trade, words, out);
        }
        self.flows[line].trades += 1;
        let (id, late) = (words[ID_WORD], flags.contains(Flags::LATE));
        let market = &mut self.markets[m];
        let (position, trades) = (&mut market.views[line].trades, &mut market.trades);
        if position.at.is_some_and(|at| id <= at) && !late {
            self.ids_began_anew(m, line, now, out);
        } else if position.era < trades.era && !late {
            // The others are past the day when ids began anew; this line has yet to come to it.
            return;
        }
        let market = &mut self.markets[m];
        let (position, trades) = (&mut market.views[line].trades, &mut market.trades);
        position.at = position.at.max(Some(id));
        if trades.high.is_none() && trades.first_from.is_some_and(|first| first != line && self.up[first]) {
            return;
        }
        let (news, jump) = trades.high.map_or((true, None), |high| {
            let jump = (id > high && id - high > 1).then(|| (high + 1, id - 1));
            (id > high, jump)
        });
        if let Some(range) = jump.filter(|_| self.contiguous) {
            let cause = position.broke.or(trades.cause).unwrap_or(GapCause::Sequence);
            self.add_missing(m, range, cause, now, out);
        }
        if self.due.is_some() {
            self.judge_missing(m, now, out);
        }
        let market = &mut self.markets[m];
        if news {
            let trades = &mut market.trades;
            (trades.high, trades.last_recv, trades.cause) = (Some(id), now, None);
            market.views[line].trades.broke = None;
            self.open_trade = (!flags.contains(Flags::LAST)).then(|| out.mark().0);
            self.tell(m, line, words, out);
        } else if market.trades.fill(id) {
            self.tell_late(m, line, words, out);
        } else {
            self.told.trades_repeated += 1;
            self.close_event(flags, out);
        }
    }

    /// A trade that closes its event was told before: the last one told of the event closes it.
    fn close_event(&mut self, flags: Flags, out: &mut RecordBuf) {
        if !flags.contains(Flags::LAST) {
            return;
        }
        if let Some(at) = self.open_trade.take()
            && let Ok(&header) = Header::read(out.words().get(at..).unwrap_or_default())
        {
            out.set_header(at, header.with_flags(header.flags() | Flags::LAST));
        }
    }

    /// An id that was missing: it happened before what was told last.
    fn tell_late(&mut self, m: usize, line: usize, words: &[u64], out: &mut RecordBuf) {
        let at = out.mark().0;
        self.tell(m, line, words, out);
        if let Ok(&header) = Header::read(out.words().get(at..).unwrap_or_default())
            && header.record_type() == Some(wire::RecordType::Trade)
        {
            out.set_header(at, header.with_flags(header.flags() | Flags::LATE));
        }
    }

    #[cold]
    fn ids_began_anew(&mut self, m: usize, line: usize, now: UnixNanos, out: &mut RecordBuf) {
        let market = &mut self.markets[m];
        let position = &mut market.views[line].trades;
        position.at = None;
        if position.era < market.trades.era {
            position.era = market.trades.era;
            return;
        }
        position.era += 1;
        market.trades.era = position.era;
        for hole in &mut market.trades.missing {
            hole.due = now;
        }
        self.judge_missing(m, now, out);
        let trades = &mut self.markets[m].trades;
        trades.missing.clear();
        trades.high = None;
        let from = trades.last_recv;
        self.tell_gap(m, StreamKind::Trade, GapCause::Sequence, None, (from, now), out);
    }

    fn add_missing(
        &mut self,
        m: usize,
        (first, last): (u64, u64),
        cause: GapCause,
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let trades = &mut self.markets[m].trades;
        if trades.missing.len() == MISSING_MAX {
            let oldest = trades.missing.remove(0);
            if !oldest.told {
                let times = (oldest.from, now);
                self.tell_gap(m, StreamKind::Trade, oldest.cause, Some((oldest.first, oldest.last)), times, out);
            }
        }
        let trades = &mut self.markets[m].trades;
        let due = now.after(GRACE);
        trades.missing.push(Missing { first, last, cause, from: trades.last_recv, due, told: false });
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
    }

    /// Tells the holes that nobody will fill: every line that is up has passed them, or the grace is over.
    pub(super) fn judge_missing(&mut self, m: usize, now: UnixNanos, out: &mut RecordBuf) {
        let market = &mut self.markets[m];
        if market.trades.missing.iter().all(|hole| hole.told) {
            return;
        }
        let up = || market.views.iter().zip(&self.up).filter(|(_, up)| **up).map(|(view, _)| view);
        let passed = up().map(|view| view.trades.at.unwrap_or(0)).min().unwrap_or(u64::MAX);
        let mut lost = vec![];
        for hole in market.trades.missing.iter_mut().filter(|hole| !hole.told) {
            if hole.last < passed || hole.due <= now {
                hole.told = true;
                lost.push(*hole);
            }
        }
        for hole in lost {
            self.tell_gap(m, StreamKind::Trade, hole.cause, Some((hole.first, hole.last)), (hole.from, now), out);
        }
    }

    /// A line's machine found trades missing. With ids that count on, the jump itself is judged over all lines, and this
    /// only says why; else it is told when no other line is up.
    pub(super) fn on_trade_gap(&mut self, m: usize, line: usize, gap: &GapRecord, now: UnixNanos, out: &mut RecordBuf) {
        let market = &mut self.markets[m];
        market.views[line].trades.broke = Some(gap.cause());
        if !self.contiguous {
            if !self.others_up(line) {
                self.tell_gap(m, StreamKind::Trade, gap.cause(), gap.range(), (UnixNanos(gap.ts_from), now), out);
            }
            return;
        }
        // Beyond what any line has brought: the trade behind it may never come.
        if let Some((first, last)) = gap.range()
            && market.trades.high.is_none_or(|high| last > high)
        {
            let first = market.trades.high.map_or(first, |high| first.max(high + 1));
            market.trades.high = Some(last);
            self.add_missing(m, (first, last), gap.cause(), now, out);
        }
    }
}
