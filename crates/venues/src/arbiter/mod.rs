//! Makes one stream of several connections that carry the same instruments: what is told is told once, and losing a
//! connection while another carries on costs nothing.
//!
//! records of each line's machine -> [`Arbiter::take`], then [`Arbiter::settle`] -> the venue's records. Pure: no
//! socket, no clock. What passes:
//!
//! - **Definitions** once, at the widest scales any line has told; narrower numbers are brought to them exactly.
//! - **Trades** by id: the first line to bring one wins. A jump of the ids is told as a gap only for ids that no line has
//!   brought, once every line that is up has passed them or [`GRACE`] is over. An id that fills a hole later is told
//!   with the flag "late". Trades without ids come from one leading line.
//! - **Books** from one leading line. When it can no longer vouch for its book and another line can, that line leads at
//!   once: no state but live is told and no gap. Where the venue numbers its events they pass from whichever line brings
//!   the next one first, so that a change of leader neither misses nor repeats any.
//! - **Everything else** from the leading line of its stream, which changes when that line is gone or stale.

mod books;
mod scales;
mod streams;
#[cfg(test)]
mod tests;
mod trades;

use crate::trades::Missing;
use crate::{Counts, EventMark, Memory};
use books::Desk;
use model::{BookState, GapCause, Instrument, InstrumentId, Reason, StreamKind, UnixNanos, Venue};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;
use streams::Streams;
use trades::{Position, Trades};
use wire::{Flags, Header, Record, RecordBuf, RecordType, Status, StatusView};

/// How long missing trades may still come from a line that has not passed them. Two connections to one venue are
/// rarely further apart than a tenth of it.
pub const GRACE: Duration = Duration::from_secs(2);

/// Statuses of the whole venue that are remembered so that the second line does not repeat them.
const NOTICES_MAX: usize = 64;

/// Kinds of streams, with room for code 0.
const KINDS: usize = StreamKind::ALL.len() + 1;

/// Instrument ids are hashes already.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0 << 8 | u64::from(*b));
    }
    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What is known of one instrument on one line.
#[derive(Clone, Debug)]
struct View {
    /// The line's machine has defined it.
    defined: bool,
    /// Scales the line tells numbers at, and by what these grow to the scales told.
    scales: (u8, u8),
    factors: (i64, i64),
    trades: Position,
    book: BookState,
    /// The venue's id the line's book stands at; 0 where it has none.
    book_at: u64,
    stale: [bool; KINDS],
}

impl View {
    fn new() -> View {
        View {
            defined: false,
            scales: (0, 0),
            factors: (1, 1),
            trades: Position::default(),
            book: BookState::Cold,
            book_at: 0,
            stale: [false; KINDS],
        }
    }
}

/// One instrument.
#[derive(Debug)]
struct Market {
    id: InstrumentId,
    /// As it was told.
    told: Option<Instrument>,
    views: Vec<View>,
    trades: Trades,
    book: Desk,
    streams: Streams,
}

impl Market {
    fn new(id: InstrumentId, lines: usize) -> Market {
        Market {
            id,
            told: None,
            views: vec![View::new(); lines],
            trades: Trades::default(),
            book: Desk::default(),
            streams: Streams::default(),
        }
    }
}

/// What a line brought since it came up, for deciding whether it can do without another.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    trades: u64,
    told_before: u64,
}

/// See the module.
pub(crate) struct Arbiter {
    venue: Venue,
    /// A jump of trade ids means that trades are missing.
    contiguous: bool,
    up: Vec<bool>,
    flows: Vec<Flow>,
    markets: Vec<Market>,
    by_id: HashMap<InstrumentId, usize, BuildHasherDefault<IdHasher>>,
    /// The market of the record before: runs of records are of one instrument.
    recent: (InstrumentId, usize),
    notices: Vec<Vec<u64>>,
    venue_state: Vec<u64>,
    /// Records of leaders whose books are in doubt, with market and line, until the end of the step.
    held: RecordBuf,
    held_of: Vec<(usize, usize)>,
    /// Markets whose leader may have to change.
    touched: Vec<usize>,
    /// When missing trades are given up next.
    due: Option<UnixNanos>,
    /// Where the last trade told in this step begins in the outbox, while it does not close its event.
    open_trade: Option<usize>,
    /// Trades without ids were seen: a lost frame may hold some that nothing will show.
    unnumbered: bool,
    told: Counts,
    room: Vec<u64>,
    side: RecordBuf,
}

impl Arbiter {
    /// An arbiter of so many lines, none of which is up.
    pub(crate) fn new(venue: Venue, lines: usize, contiguous: bool) -> Arbiter {
        Arbiter {
            venue,
            contiguous,
            up: vec![false; lines],
            flows: vec![Flow::default(); lines],
            markets: vec![],
            by_id: HashMap::default(),
            recent: (InstrumentId::NONE, 0),
            notices: vec![],
            venue_state: vec![],
            held: RecordBuf::default(),
            held_of: vec![],
            touched: vec![],
            due: None,
            open_trade: None,
            unnumbered: false,
            told: Counts::default(),
            room: vec![],
            side: RecordBuf::default(),
        }
    }

    /// What an earlier run told of an instrument.
    pub(crate) fn remember(&mut self, id: InstrumentId, memory: &Memory) {
        let m = self.market(id);
        let market = &mut self.markets[m];
        market.trades.remember(memory);
        market.book.remember(memory);
    }

    /// Takes over from a line that told without an arbiter until now: its `definition`, what a refresh of it tells, and
    /// its last trade and what it misses. Nothing is told.
    pub(crate) fn seed(
        &mut self,
        line: usize,
        definition: &Instrument,
        refresh: &RecordBuf,
        (last_trade, missing): (Option<u64>, &[Missing]),
        last_frame: UnixNanos,
    ) {
        let m = self.market(definition.id);
        let market = &mut self.markets[m];
        market.told = Some(definition.clone());
        market.trades.seed(line, last_trade, missing);
        let view = &mut market.views[line];
        (view.defined, view.scales) = (true, (definition.price_scale, definition.size_scale));
        view.trades.at = last_trade;
        let mut why = Reason::Start;
        for record in refresh.records().flatten() {
            match record {
                Record::Status(StatusView { status: Status::Book(state), reason, .. }) => {
                    (view.book, why) = (state, reason)
                }
                Record::SnapshotBegin(r) => view.book_at = r.update_id,
                _ => {}
            }
        }
        market.book.seed(line, (view.book, why), view.book_at, last_frame);
        market.streams.seed(line, definition.status);
    }

    /// A line's socket is open.
    pub(crate) fn line_up(&mut self, line: usize) {
        self.up[line] = true;
        self.flows[line] = Flow { trades: 0, told_before: self.told.trades };
        for market in &mut self.markets {
            let view = &mut market.views[line];
            view.trades = Position::at_era(market.trades.era);
            (view.book, view.book_at) = (BookState::Cold, 0);
            view.stale = [false; KINDS];
        }
    }

    /// A line's socket is gone. Before its machine is told, so that it is no candidate for anything.
    pub(crate) fn line_going(&mut self, line: usize) {
        self.up[line] = false;
    }

    /// After its machine told what it lost.
    pub(crate) fn line_down(&mut self, line: usize, now: UnixNanos, out: &mut RecordBuf) {
        for m in 0..self.markets.len() {
            self.book_lost(m, line, now);
            let view = &mut self.markets[m].views[line];
            view.stale = [false; KINDS];
            self.judge_stale(m, now, out);
            self.judge_missing(m, now, out);
        }
        if !self.up.contains(&true) {
            self.notices.clear();
        }
    }

    /// Whether another line than this one is up.
    pub(crate) fn others_up(&self, line: usize) -> bool {
        self.up.iter().enumerate().any(|(n, up)| *up && n != line)
    }

    /// Whether what a lost frame of this line held would be missed: with another line up, numbered trades and books show
    /// it by themselves and the newest quote replaces the lost one; only trades without ids would go unnoticed.
    pub(crate) fn would_miss(&self, line: usize) -> bool {
        self.unnumbered || !self.others_up(line)
    }

    /// Whether a line carries all that is told, so that the others could go.
    pub(crate) fn is_ready(&self, line: usize) -> bool {
        let told = || self.markets.iter().filter(|m| m.told.is_some());
        let books = told().filter(|m| m.book.is_live()).count();
        let same = told().all(|m| m.views[line].defined && (!m.book.is_live() || self.rank(m, line) > 0));
        let flow = self.flows[line];
        let quiet = flow.told_before == self.told.trades && books > 0;
        self.up[line] && told().next().is_some() && same && (flow.trades > 0 || quiet)
    }

    /// The instruments, in the order they were told.
    pub(crate) fn instrument(&self, n: usize) -> Option<InstrumentId> {
        self.markets.get(n).map(|m| m.id)
    }

    /// The highest trade id told of each instrument.
    pub(crate) fn trades_told(&self) -> impl Iterator<Item = (InstrumentId, u64)> {
        self.markets.iter().filter_map(|m| Some((m.id, m.trades.high()?)))
    }

    /// What of an instrument's missing trades no line has brought yet.
    pub(crate) fn still_missing(&self, id: InstrumentId, missing: &[Missing]) -> Vec<Missing> {
        let market = self.by_id.get(&id).map(|m| &self.markets[*m]);
        market.map_or_else(Vec::new, |market| market.trades.still_missing(missing))
    }

    /// How many instruments there are.
    pub(crate) fn instruments(&self) -> usize {
        self.markets.len()
    }

    /// What was told, where that differs from what the machines count.
    pub(crate) fn correct(&self, counts: &mut Counts) {
        let t = &self.told;
        (counts.trades, counts.quotes, counts.bars, counts.gaps) = (t.trades, t.quotes, t.bars, t.gaps);
        (counts.instruments, counts.book_levels) = (t.instruments, t.book_levels);
        counts.trades_repeated += t.trades_repeated;
    }

    /// After the seeds: the line may be up, and has told so much.
    pub(crate) fn take_over(&mut self, line: usize, up: bool, counts: &Counts) {
        self.up[line] = up;
        self.told = Counts { trades_repeated: 0, ..*counts };
    }

    /// When [`Arbiter::on_timer`] is due.
    #[inline]
    pub(crate) fn next_timer(&self) -> Option<UnixNanos> {
        self.due
    }

    /// Missing trades are not waited for longer.
    pub(crate) fn on_timer(&mut self, now: UnixNanos, out: &mut RecordBuf) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        for m in 0..self.markets.len() {
            self.judge_missing(m, now, out);
        }
        self.due = self.markets.iter().filter_map(|m| m.trades.due()).min();
    }

    /// What one line's machine told in one step. [`Arbiter::settle`] must follow.
    pub(crate) fn take(
        &mut self,
        line: usize,
        told: &RecordBuf,
        marks: &[EventMark],
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let mut marks = marks.iter().peekable();
        let (mut admitted, mut event_end) = (false, 0);
        for (n, words) in told.iter().enumerate() {
            while let Some(mark) = marks.next_if(|mark| mark.at <= n) {
                (admitted, event_end) = (self.admit_event(line, mark), mark.at + mark.records);
            }
            let Ok(header) = Header::read(words) else { continue };
            self.one(line, header, words, (n < event_end).then_some(admitted), now, out);
        }
        for mark in marks {
            self.admit_event(line, mark);
        }
        self.open_trade = None;
    }

    /// One record. `event` says whether the numbered book event it belongs to is admitted.
    #[inline]
    fn one(
        &mut self,
        line: usize,
        header: &Header,
        words: &[u64],
        event: Option<bool>,
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let id = header.instrument();
        if id == InstrumentId::NONE {
            return self.of_venue(line, words, out);
        }
        let m = self.market(id);
        match header.record_type() {
            Some(RecordType::Trade) => self.on_trade(m, line, header.flags(), words, now, out),
            Some(RecordType::BookChange | RecordType::SnapshotBegin | RecordType::SnapshotEnd) => {
                self.on_book(m, line, event, words, now, out);
            }
            Some(RecordType::Quote) => self.on_stream(m, line, StreamKind::Quote, words, out),
            Some(RecordType::Bar) => self.on_bar(m, line, words, out),
            Some(RecordType::Order) => self.on_stream(m, line, StreamKind::Order, words, out),
            Some(RecordType::LongTrade | RecordType::Correction | RecordType::Backfill) => {
                self.unnumbered = true;
                self.on_stream(m, line, StreamKind::Trade, words, out);
            }
            Some(RecordType::Status | RecordType::Gap | RecordType::Instrument) => {
                self.of_instrument(m, line, words, now, out);
            }
            _ => self.on_stream(m, line, StreamKind::Instrument, words, out),
        }
    }

    fn of_instrument(&mut self, m: usize, line: usize, words: &[u64], now: UnixNanos, out: &mut RecordBuf) {
        match Record::read(words) {
            Ok(Record::Instrument(view)) => {
                if let Some(definition) = view.to_instrument() {
                    let times = (UnixNanos(view.head.ts_event), UnixNanos(view.head.ts_recv));
                    self.define(m, line, definition, times, out);
                }
            }
            Ok(Record::Status(view)) => match view.status {
                Status::Book(state) => self.on_book_state(m, line, state, words, now, out),
                Status::Stream(kind, state) => self.on_stream_state(m, line, (kind, state), words, now, out),
                Status::Instrument(status) => {
                    if self.markets[m].streams.status.replace(status) != Some(status) {
                        self.tell(m, line, words, out);
                    }
                }
                Status::Connection(_) | Status::Venue(_) => self.tell(m, line, words, out),
            },
            Ok(Record::Gap(gap)) => match gap.stream() {
                StreamKind::Trade => self.on_trade_gap(m, line, gap, now, out),
                StreamKind::Book => self.on_book(m, line, None, words, now, out),
                _ if self.others_up(line) => {}
                _ => self.tell(m, line, words, out),
            },
            _ => {}
        }
    }

    /// Records of the whole venue: gaps only when no other line can vouch, statuses only when they are news.
    fn of_venue(&mut self, line: usize, words: &[u64], out: &mut RecordBuf) {
        let news = match Record::read(words) {
            Ok(Record::Gap(_)) => self.would_miss(line),
            Ok(Record::Status(view)) => {
                let mut same = words.to_vec();
                same[1..3].fill(0);
                if matches!(view.status, Status::Venue(_)) {
                    std::mem::replace(&mut self.venue_state, same.clone()) != same
                } else {
                    let news = !self.notices.contains(&same);
                    if news {
                        self.notices.truncate(NOTICES_MAX - 1);
                        self.notices.insert(0, same);
                    }
                    news
                }
            }
            _ => true,
        };
        if news {
            push(words, out);
        }
    }

    /// A definition: told when it says something new, at scales that never shrink.
    fn define(
        &mut self,
        m: usize,
        line: usize,
        definition: Instrument,
        times: (UnixNanos, UnixNanos),
        out: &mut RecordBuf,
    ) {
        let market = &mut self.markets[m];
        let view = &mut market.views[line];
        (view.defined, view.scales) = (true, (definition.price_scale, definition.size_scale));
        let merged = match &market.told {
            None => Some(Instrument { version: 1, ..definition }),
            Some(told) => scales::merged(told, definition),
        };
        if let Some(merged) = merged {
            out.push_instrument(&merged, times.0, times.1).expect("its texts were read from a record that holds them");
            self.told.instruments += 1;
            market.told = Some(merged);
        }
        if let Some(told) = &market.told {
            for view in &mut market.views {
                view.factors = scales::factors(view.scales, (told.price_scale, told.size_scale));
            }
        }
    }

    /// The line whose machine holds the book as it was told, for a refresh; any that knows the instrument, and `false`,
    /// when none does.
    pub(crate) fn refresher(&self, id: InstrumentId) -> Option<(usize, bool)> {
        let market = &self.markets[*self.by_id.get(&id)?];
        let holds = |line: &usize| {
            let view = &market.views[*line];
            self.rank(market, *line) > 0 && (market.book.at == 0 || view.book_at == market.book.at)
        };
        let leader = market.book.leader.filter(holds);
        let exact = leader.or_else(|| (0..self.up.len()).find(|l| market.book.at != 0 && holds(l)));
        match exact {
            Some(line) => Some((line, market.book.is_live())),
            None => (0..self.up.len()).find(|l| market.views[*l].defined).map(|line| (line, false)),
        }
    }

    /// The line whose machine has the book exactly as it was told, if any has: the leader, unless it has yet to come to
    /// where another one had brought the book.
    pub(crate) fn book_line(&self, id: InstrumentId) -> Option<usize> {
        let market = &self.markets[*self.by_id.get(&id)?];
        let desk = &market.book;
        desk.leader.filter(|leader| desk.at == 0 || market.views[*leader].book_at == desk.at)
    }

    /// Tells a refresh that a line's machine wrote, as of what was told: our definition, our state of the book.
    pub(crate) fn tell_refresh(
        &mut self,
        line: usize,
        id: InstrumentId,
        with_book: bool,
        refresh: &RecordBuf,
        out: &mut RecordBuf,
    ) {
        let m = self.market(id);
        for words in refresh {
            match Record::read(words) {
                Ok(Record::Instrument(view)) => {
                    if let Some(told) = &self.markets[m].told {
                        out.push_instrument(told, UnixNanos(view.head.ts_event), UnixNanos(view.head.ts_recv))
                            .expect("it was told before");
                    }
                }
                Ok(Record::Status(StatusView { status: Status::Book(_), head, .. })) => {
                    let book = &self.markets[m].book;
                    let (status, why) = (Status::Book(book.told), book.why);
                    let now = UnixNanos(head.ts_recv);
                    out.push_status(self.venue, id, status, why, "", UnixNanos::ZERO, now);
                }
                Ok(Record::SnapshotBegin(_) | Record::SnapshotEnd(_) | Record::BookChange(_)) if !with_book => {}
                Ok(_) => self.tell(m, line, words, out),
                Err(_) => {}
            }
        }
    }

    /// The index of an instrument, which is made room for when it is new.
    #[inline]
    fn market(&mut self, id: InstrumentId) -> usize {
        if self.recent.0 == id {
            return self.recent.1;
        }
        let (markets, lines) = (&mut self.markets, self.up.len());
        let m = *self.by_id.entry(id).or_insert_with(|| {
            markets.push(Market::new(id, lines));
            markets.len() - 1
        });
        self.recent = (id, m);
        m
    }

    /// Tells a record of a line at the scales told. What does not fit them is told as a gap of its stream.
    #[inline]
    fn tell(&mut self, m: usize, line: usize, words: &[u64], out: &mut RecordBuf) {
        let market = &self.markets[m];
        let factors = market.views[line].factors;
        let kind = words[0] as u8;
        if factors == (1, 1) {
            push(words, out);
        } else if let Some(rescaled) = scales::rescaled(words, factors, &mut self.room) {
            push(rescaled, out);
        } else {
            return self.tell_unfit(m, line, words, out);
        }
        match RecordType::from_code(kind) {
            Some(RecordType::Trade | RecordType::LongTrade) => self.told.trades += 1,
            Some(RecordType::BookChange) => self.told.book_levels += 1,
            Some(RecordType::Quote) => self.told.quotes += 1,
            Some(RecordType::Bar) => self.told.bars += 1,
            Some(RecordType::Gap) => self.told.gaps += 1,
            _ => {}
        }
    }

    /// A number of the line does not fit 64 bits at the scales another line made necessary.
    #[cold]
    fn tell_unfit(&mut self, m: usize, line: usize, words: &[u64], out: &mut RecordBuf) {
        let now = UnixNanos(words[2]);
        let (stream, range) = match Record::read(words) {
            Ok(Record::Trade(t)) => (StreamKind::Trade, t.id().map(|id| (id, id))),
            Ok(Record::LongTrade(_) | Record::Correction(_)) => (StreamKind::Trade, None),
            Ok(Record::Quote(_)) => (StreamKind::Quote, None),
            Ok(Record::Bar(_)) => (StreamKind::Bar, None),
            Ok(Record::Order(_)) => (StreamKind::Order, None),
            Ok(Record::BookChange(_)) => return self.doubt_book(m, line, "a level does not fit 64 bits", now),
            _ => (StreamKind::Instrument, None),
        };
        self.tell_gap(m, stream, GapCause::Malformed, range, (now, now), out);
    }

    fn tell_gap(
        &mut self,
        m: usize,
        stream: StreamKind,
        cause: GapCause,
        range: Option<(u64, u64)>,
        (from, now): (UnixNanos, UnixNanos),
        out: &mut RecordBuf,
    ) {
        out.push(&wire::GapRecord::new(self.venue, self.markets[m].id, stream, cause, range, from, now));
        self.told.gaps += 1;
    }
}

#[inline]
fn push(words: &[u64], out: &mut RecordBuf) {
    out.push_words(words).expect("records of a machine are whole");
}

/// Whether a record is a part of a snapshot.
fn in_snapshot(words: &[u64]) -> bool {
    Header::read(words).is_ok_and(|h| match h.record_type() {
        Some(RecordType::SnapshotBegin | RecordType::SnapshotEnd) => true,
        Some(RecordType::BookChange) => h.flags().contains(Flags::SNAPSHOT),
        _ => false,
    })
}
