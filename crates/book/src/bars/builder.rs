//! Trades to bars, one pass; and what happens to bars already told when a trade comes late or is taken back.

use super::columns::Turned;
use super::{Bar, Columns, Interval, Marks, Rule, RuleError, Trade, TradeKey};
use model::UnixNanos;
use std::collections::VecDeque;

/// Why a trade could not be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BarError {
    /// It is in no bar that is kept.
    #[error("no trade {} at {} in the {kept} bars that are kept: build the bar again from history", key.id, key.time)]
    NotKept {
        /// Which trade.
        key: TradeKey,
        /// How many closed bars are kept.
        kept: usize,
    },
}

/// A stream's bars.
///
/// The last bars closed can be kept with their trades, so that late and corrected trades amend them; a late trade for an
/// older bar is told as a fragment of it.
#[derive(Clone, Debug)]
pub struct Bars {
    rule: Rule,
    open: Option<(u64, Bar)>,
    /// The number of the open bar or, without one, of the next that may be: trades of bars before it are late.
    next: u64,
    /// Trades before this moment are missing from the stream.
    joined: UnixNanos,
    /// How many closed bars, and their trades, stay to be amended.
    keep: usize,
    /// Closed bars by number: a time bar's place on the grid, any other's place in the stream.
    kept: VecDeque<(u64, Bar)>,
    /// Their trades and the open bar's, each with its bar's number; none when nothing is kept.
    log: VecDeque<(u64, Trade)>,
}

impl Bars {
    /// Bars by a rule, of which the last `keep` closed ones can be amended. The open bar's trades are kept too unless
    /// `keep` is 0, which costs the least and takes nothing back.
    ///
    /// # Errors
    /// When a limit is not above 0.
    pub fn new(rule: Rule, keep: usize) -> Result<Bars, RuleError> {
        let rule = rule.checked()?;
        let (kept, log) = (VecDeque::new(), VecDeque::new());
        Ok(Bars { rule, open: None, next: 0, joined: UnixNanos::ZERO, keep, kept, log })
    }

    /// Bars of a stream that is joined at this moment: those that began before it are marked partial.
    pub fn joined_at(self, time: UnixNanos) -> Bars {
        Bars { joined: time, ..self }
    }

    /// The bar that is not closed yet.
    pub fn open(&self) -> Option<&Bar> {
        self.open.as_ref().map(|(_, bar)| bar)
    }

    /// The closed bars that are kept, oldest first, as they are after all amendments.
    pub fn kept(&self) -> impl ExactSizeIterator<Item = &Bar> {
        self.kept.iter().map(|(_, bar)| bar)
    }

    /// Takes the next trade: the bar that it closed, or the closed bar that it amended.
    #[inline]
    pub fn push(&mut self, trade: Trade) -> Option<Bar> {
        match self.rule {
            Rule::Time(interval) => self.push_timed(interval, trade),
            _ => self.push_counted(trade),
        }
    }

    /// Takes trades as [`Bars::push`] does, one after the other, and hands each bar that is closed or amended to `told`.
    /// Over history in memory this is several times as fast.
    pub fn push_all(&mut self, trades: &[Trade], mut told: impl FnMut(Bar)) {
        if !matches!(self.rule, Rule::Time(_)) {
            return trades.iter().filter_map(|trade| self.push(*trade)).for_each(told);
        }
        let mut turned = Turned::new();
        for some in trades.chunks(Turned::ROOM) {
            self.push_columns(&turned.columns(some), &mut told);
        }
    }

    /// The same with trades in columns, which is faster still.
    pub fn push_columns(&mut self, columns: &Columns<'_>, mut told: impl FnMut(Bar)) {
        let mut next = 0;
        while next < columns.len() {
            if let Some(bar) = self.push(columns.trade(next)) {
                told(bar);
            }
            next += 1;
            next += self.push_run(&columns.part(next..columns.len()));
        }
    }

    /// Takes trades that belong to the open time bar: how many.
    fn push_run(&mut self, columns: &Columns<'_>) -> usize {
        let (Rule::Time(_), Some((number, bar))) = (self.rule, &mut self.open) else { return 0 };
        let run = bar.add_columns(columns);
        if self.keep > 0 {
            self.log.extend((0..run).map(|at| (*number, columns.trade(at))));
        }
        run
    }

    #[inline]
    fn push_timed(&mut self, interval: Interval, trade: Trade) -> Option<Bar> {
        if let Some((number, bar)) = &mut self.open
            && bar.start <= trade.time
            && trade.time < bar.end
        {
            bar.add(&trade);
            if self.keep > 0 {
                self.log.push_back((*number, trade));
            }
            return None;
        }
        self.turn(interval, trade)
    }

    /// A trade that is not in the open time bar.
    #[inline(never)]
    fn turn(&mut self, interval: Interval, trade: Trade) -> Option<Bar> {
        let number = interval.number(trade.time);
        if number < self.next {
            return Some(self.late(interval, number, trade));
        }
        self.next = number;
        let closed = self.open.replace((number, self.begin(interval, number, &trade)));
        self.note(number, trade);
        closed.map(|(closed, bar)| {
            self.keep_closed(closed, bar);
            bar
        })
    }

    /// A time bar of its first trade.
    fn begin(&self, interval: Interval, number: u64, trade: &Trade) -> Bar {
        let (start, end) = interval.span(number);
        let mut bar = Bar::of(trade, start, end);
        if start < self.joined {
            bar.marks = bar.marks | Marks::PARTIAL;
        }
        bar
    }

    #[inline]
    fn push_counted(&mut self, trade: Trade) -> Option<Bar> {
        let (number, bar) = match &mut self.open {
            Some((number, bar)) => {
                if trade.key() < bar.last {
                    bar.marks = bar.marks | Marks::LATE;
                }
                bar.add(&trade);
                (bar.start, bar.end) = (bar.first.time, bar.last.time);
                (*number, *bar)
            }
            open => *open.insert((self.next, Bar::of(&trade, trade.time, trade.time))),
        };
        self.note(number, trade);
        if self.rule.is_full(&bar) {
            self.open = None;
            return Some(self.close(number, bar));
        }
        None
    }

    #[inline]
    fn note(&mut self, number: u64, trade: Trade) {
        if self.keep > 0 {
            self.log.push_back((number, trade));
        }
    }

    /// Closes a time bar whose end is not after `now`, for streams in which no trade may come for long.
    pub fn close_before(&mut self, now: UnixNanos) -> Option<Bar> {
        match (self.rule, self.open) {
            (Rule::Time(_), Some((number, bar))) if bar.end <= now => {
                self.open = None;
                Some(self.close(number, bar))
            }
            _ => None,
        }
    }

    /// Closes the open bar, full or not: at the end of a history.
    pub fn finish(&mut self) -> Option<Bar> {
        let (number, bar) = self.open.take()?;
        Some(self.close(number, bar))
    }

    fn close(&mut self, number: u64, bar: Bar) -> Bar {
        self.next = number + 1;
        self.keep_closed(number, bar);
        bar
    }

    fn keep_closed(&mut self, number: u64, bar: Bar) {
        if self.keep > 0 {
            self.store(number, bar);
        }
    }

    /// Keeps a closed bar in its place and forgets those that are too many.
    fn store(&mut self, number: u64, bar: Bar) {
        let at = self.kept.partition_point(|(n, _)| *n < number);
        self.kept.insert(at, (number, bar));
        while self.kept.len() > self.keep {
            self.kept.pop_front();
        }
        let oldest = self.kept.front().map_or(0, |(number, _)| *number);
        while self.log.front().is_some_and(|(number, _)| *number < oldest) {
            self.log.pop_front();
        }
    }

    /// A trade for a time bar that is closed.
    fn late(&mut self, interval: Interval, number: u64, trade: Trade) -> Bar {
        if let Ok(at) = self.kept.binary_search_by_key(&number, |(n, _)| *n) {
            self.log.push_back((number, trade));
            let bar = &mut self.kept[at].1;
            bar.add(&trade);
            bar.marks = bar.marks | Marks::LATE;
            bar.revision += 1;
            return *bar;
        }
        let mut bar = self.begin(interval, number, &trade);
        bar.marks = bar.marks | Marks::LATE;
        let within = self.keep > 0 && self.kept.front().is_none_or(|(oldest, _)| *oldest < number);
        if within || self.kept.len() < self.keep {
            // A stretch of time that had no trade so far.
            self.log.push_back((number, trade));
            self.store(number, bar);
        } else {
            bar.marks = bar.marks | Marks::FRAGMENT;
        }
        bar
    }

    /// Takes a trade back: the bar that it amended, unless that is the open one. Bars that trading closes keep their
    /// trades, so a bar may then be less than full.
    ///
    /// # Errors
    /// When no bar that is kept has a trade with this time and id.
    pub fn cancel(&mut self, key: TradeKey) -> Result<Option<Bar>, BarError> {
        let number = self.take_out(key)?;
        Ok(self.rebuild(number, Marks::CANCELLED))
    }

    /// Puts another trade in the place of one that was told: the bars that this amended, the open one apart. In a bar
    /// that trading closes the correction stays in the bar of the original.
    ///
    /// # Errors
    /// When no bar that is kept has a trade with this time and id.
    pub fn correct(&mut self, original: TradeKey, correction: Trade) -> Result<[Option<Bar>; 2], BarError> {
        let number = self.take_out(original)?;
        let to = match self.rule {
            Rule::Time(interval) => interval.number(correction.time),
            _ => number,
        };
        if to == number {
            self.log.push_back((number, correction));
            return Ok([self.rebuild(number, Marks::CORRECTED), None]);
        }
        let from = self.rebuild(number, Marks::CORRECTED);
        Ok([from, self.push(correction)])
    }

    /// Removes a trade from the log: the number of its bar.
    fn take_out(&mut self, key: TradeKey) -> Result<u64, BarError> {
        let at = self.log.iter().rposition(|(_, trade)| trade.key() == key);
        let taken = at.and_then(|at| self.log.remove(at));
        taken.map(|(number, _)| number).ok_or(BarError::NotKept { key, kept: self.kept.len() })
    }

    /// Adds up a bar again from its trades.
    fn rebuild(&mut self, number: u64, marks: Marks) -> Option<Bar> {
        let bar = match &mut self.open {
            Some((open, bar)) if *open == number => bar,
            _ => {
                let at = self.kept.binary_search_by_key(&number, |(n, _)| *n).ok()?;
                &mut self.kept[at].1
            }
        };
        let mut trades: Vec<Trade> = self.log.iter().filter(|(n, _)| *n == number).map(|(_, trade)| *trade).collect();
        // A stable sort: trades of one place stay as they came.
        trades.sort_by_key(Trade::key);
        let (start, end) = match (self.rule, trades.first(), trades.last()) {
            (Rule::Time(_), ..) | (_, None, _) | (_, _, None) => (bar.start, bar.end),
            (_, Some(first), Some(last)) => (first.time, last.time),
        };
        let mut sum = trades.iter().fold(Bar::void(start, end), |bar, trade| bar.merge(&Bar::of(trade, start, end)));
        sum.marks = sum.marks | bar.marks | marks;
        sum.revision = bar.revision;
        let open = self.open.as_ref().is_some_and(|(open, _)| *open == number);
        if open {
            self.open = Some((number, sum)).filter(|(_, bar)| bar.trades > 0);
            return None;
        }
        sum.revision += 1;
        let at = self.kept.binary_search_by_key(&number, |(n, _)| *n).ok()?;
        self.kept[at].1 = sum;
        Some(sum)
    }
}

/// The bars of a history, the last one as it stands at its end. Late trades amend whatever bar they belong to: each bar
/// is given once, as it is after all trades, in order.
///
/// # Errors
/// When a limit is not above 0.
pub fn bars_of(rule: Rule, trades: &[Trade]) -> Result<Vec<Bar>, RuleError> {
    history(rule, |bars, told| bars.push_all(trades, told))
}

/// The same of a history in columns.
///
/// # Errors
/// When a limit is not above 0.
pub fn bars_of_columns(rule: Rule, columns: &Columns<'_>) -> Result<Vec<Bar>, RuleError> {
    history(rule, |bars, told| bars.push_columns(columns, told))
}

fn history(rule: Rule, push: impl FnOnce(&mut Bars, &mut dyn FnMut(Bar))) -> Result<Vec<Bar>, RuleError> {
    let mut bars = Bars::new(rule, 0)?;
    let mut told: Vec<Bar> = vec![];
    push(&mut bars, &mut |bar| add(&mut told, bar));
    if let Some(bar) = bars.finish() {
        add(&mut told, bar);
    }
    Ok(told)
}

/// Adds a bar to those before it; a fragment is merged into its place.
fn add(told: &mut Vec<Bar>, bar: Bar) {
    if !bar.marks.contains(Marks::FRAGMENT) {
        return told.push(bar);
    }
    let at = told.partition_point(|b| b.start < bar.start);
    match told.get_mut(at).filter(|b| b.start == bar.start) {
        Some(there) => {
            *there = there.merge(&bar);
            there.marks = there.marks.without(Marks::FRAGMENT);
        }
        None => told.insert(at, Bar { marks: bar.marks.without(Marks::FRAGMENT), ..bar }),
    }
}
