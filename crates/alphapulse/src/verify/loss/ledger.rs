//! The comparison itself: first everything that was told, then everything that was sent, then the verdict.
//! told lines -> [`Ledger::hear`]; sent events -> [`Visitor`]; in the end [`Ledger::judge`].
//!
//! Numbered events (trades, order steps) are compared by their ids, exactly. Book changes and trades without ids are
//! compared by content and time: between two of one connection that were told without a resync or gap between them,
//! every one must have been told. Memory: four bytes a numbered event, some 50 bytes another one.

use super::{
    content::Content,
    frames::Event,
    ids::{ANSWERED, Ids, LATE, LIVE, Marks, NAMED, OTHER, OWED, OWN, SAME, SENT, TOLD},
    report::{Kind, Report, Stream},
    sent::{Sent, Visitor},
    symbols::Symbols,
    told::{Line, Place},
};
use std::collections::HashMap;

/// Numbered events of one instrument.
#[derive(Default)]
struct Numbered {
    ids: Ids,
    first: Option<u64>,
    last: Option<u64>,
    /// The highest id told live.
    live: Option<u64>,
    /// Ids between these (exclusive) may be missing: nobody could say which.
    open: Vec<(u64, u64)>,
    /// Such a range without its end yet.
    begun: Option<u64>,
}

/// Events without a number of one instrument.
#[derive(Default)]
struct Flow {
    /// How often the stream was interrupted: gaps, resyncs, runs.
    part: u32,
    told: bool,
    gaps: Gaps,
}

/// Where trades without ids may be missing: from the event time of one told live to that of the next.
#[derive(Default)]
struct Gaps {
    /// When the newest trade told live happened.
    newest: u64,
    begun: Option<u64>,
    open: Vec<(u64, u64)>,
}

impl Gaps {
    fn trade(&mut self, at: u64) {
        if let Some(begun) = self.begun.take() {
            self.open.push((begun, at));
        }
        self.newest = self.newest.max(at);
    }

    fn begin(&mut self) {
        self.begun = self.begun.or((self.newest > 0).then_some(self.newest));
    }

    /// All between these times, the second not included, was told.
    fn fill(&mut self, from: u64, to: u64) {
        for gap in self.open.iter_mut().filter(|gap| from <= gap.0) {
            gap.0 = gap.0.max(to);
        }
        self.open.retain(|gap| gap.0 <= gap.1);
    }

    fn are_closed(&self) -> bool {
        self.begun.is_none() && self.open.is_empty()
    }
}

#[derive(Default)]
struct Instrument {
    trades: Numbered,
    orders: Numbered,
    book: Flow,
    plain_trades: Flow,
    heard: bool,
}

/// An event without a number.
#[derive(Clone, Copy, Default)]
struct Seen {
    part: u32,
    told: u16,
    /// The most times one connection carried it.
    sent: u16,
    /// The connection that carried it last, and how often so far.
    connection: u32,
    here: u16,
    verdict: u8,
    is_trade: bool,
}

const EXCUSED: u8 = 1;
const LOST: u8 = 2;

/// What one connection sent and was not told so far, of one flow.
#[derive(Default)]
struct Pending {
    part: Option<u32>,
    /// Keys and lines.
    events: Vec<(u64, u64, Option<u64>)>,
}

/// What one connection sent and was not told live so far, of one instrument's trades.
#[derive(Default)]
struct Trail {
    named: Vec<u64>,
    untold: u64,
}

/// The comparison.
pub struct Ledger {
    /// Whether what was sent before the first and after the last told counts too.
    pub whole: bool,
    /// Within so many ns of the consumer's ends nothing is owed.
    pub grace: u64,
    /// Only these instruments; empty: those heard of.
    pub wanted: Vec<usize>,
    /// Whether ids rise.
    pub ids_rise: bool,
    /// The instruments.
    pub symbols: Symbols,
    all: Vec<Instrument>,
    flows: HashMap<u64, Seen>,
    /// The last name of a record that comes once.
    last: (u64, u64),
    /// When the first and the last line were received.
    pub listened: (u64, u64),
    pending: HashMap<(usize, Stream), Pending>,
    trails: HashMap<usize, Trail>,
    place: Option<Place>,
    /// What was found.
    pub report: Report,
}

impl Ledger {
    /// Nothing told, nothing sent.
    pub fn new(details: usize) -> Ledger {
        Ledger {
            whole: false,
            grace: 0,
            wanted: vec![],
            ids_rise: true,
            symbols: Symbols::default(),
            all: vec![],
            flows: HashMap::new(),
            last: (0, 0),
            listened: (u64::MAX, 0),
            pending: HashMap::new(),
            trails: HashMap::new(),
            place: None,
            report: Report::new(details),
        }
    }

    fn at(&mut self, symbol: &str) -> usize {
        let number = self.symbols.number(symbol);
        self.all.resize_with(self.symbols.len(), Instrument::default);
        number
    }

    // Told ----------------------------------------------------------------------------------------------------------

    /// Takes in a line of the venue.
    pub fn hear(&mut self, place: &Place, line: &Line<'_>) {
        if line.ts_recv > 0 {
            self.listened = (self.listened.0.min(line.ts_recv), self.listened.1.max(line.ts_recv));
        }
        let number = line.symbol.as_deref().map(|symbol| self.at(symbol));
        if let Some(number) = number {
            self.all[number].heard = true;
        }
        match (&*line.kind, number) {
            ("instrument", Some(number)) => {
                if let Some(other) = &line.venue_symbol {
                    let name = self.symbols.name(number).to_owned();
                    self.symbols.alias(&name, other);
                }
            }
            ("trade", Some(number)) if self.is_news(place, line) => self.trade(number, place, line),
            ("book", Some(number)) => self.book(number, place, line),
            ("order", Some(number)) if self.is_news(place, line) => {
                if let Some(sequence) = line.venue_seq {
                    self.number(number, Stream::Order, sequence, 0, false, place);
                }
            }
            ("gap", number) if self.is_news(place, line) => self.gap(number, line),
            ("backfill", Some(number)) if self.is_news(place, line) && line.stream.as_deref() == Some("trade") => {
                self.all[number].plain_trades.gaps.fill(line.ts_from, line.ts_to);
            }
            ("status", number) => {
                let (scope, state) = (line.scope.as_deref(), line.state.as_deref());
                if scope == Some("connection") && state != Some("live")
                    || scope == Some("book") && state != Some("live")
                {
                    self.interrupt(number, Stream::Book);
                }
            }
            ("overrun", _) => {
                self.report.overruns += line.missing.unwrap_or(1);
                for stream in [Stream::Trade, Stream::Book, Stream::Order] {
                    self.interrupt(None, stream);
                    self.open(None, stream);
                }
            }
            ("session_start", _) => self.interrupt(None, Stream::Book),
            _ => {}
        }
    }

    /// Records that come once come in the order of their names.
    fn is_news(&mut self, place: &Place, line: &Line<'_>) -> bool {
        let name = (line.epoch, line.seq_first.unwrap_or(line.seq));
        if name <= self.last {
            let what = format!("record {} of run {}", name.1, name.0);
            self.report.found(Kind::Reordered, Stream::Record, &what, place.to_string());
            return name != self.last;
        }
        self.last = (line.epoch, line.seq);
        true
    }

    fn trade(&mut self, number: usize, place: &Place, line: &Line<'_>) {
        let text = |field: &Option<std::borrow::Cow<'_, str>>| field.as_deref().unwrap_or_default().to_owned();
        let (side, price, size) = (text(&line.side), text(&line.price), text(&line.size));
        match line.trade_id.as_deref().map(str::parse) {
            Some(Ok(id)) => {
                let content = Content::trade(&side, &price, &size);
                self.number(number, Stream::Trade, id, content, line.late, place);
            }
            _ => {
                let content = Content::timed_trade(line.ts_event, &side, &price, &size);
                self.flow(number, Stream::Trade, content);
                if !line.late {
                    self.all[number].plain_trades.gaps.trade(line.ts_event);
                }
            }
        }
    }

    fn number(&mut self, number: usize, stream: Stream, id: u64, content: u64, late: bool, place: &Place) {
        let rises = self.ids_rise;
        let of = self.all[number].numbered(stream);
        let before = of.ids.mark(id, if late { TOLD | LATE } else { TOLD });
        let mut found = None;
        if before & TOLD != 0 {
            found = Some(Kind::Duplicated);
        } else {
            of.ids.keep(id, content);
            if !late && rises && of.live.is_some_and(|live| live > id) {
                found = Some(Kind::Reordered);
            }
        }
        if !late {
            if let Some(begun) = of.begun.take() {
                of.open.push((begun, id));
            }
            of.live = of.live.max(Some(id));
        }
        of.first = Some(of.first.map_or(id, |first| first.min(id)));
        of.last = of.last.max(Some(id));
        if let Some(kind) = found {
            let what = format!("{} {id}", self.symbols.name(number));
            self.report.found(kind, stream, &what, place.to_string());
        }
    }

    fn book(&mut self, number: usize, place: &Place, line: &Line<'_>) {
        if line.book_kind.as_deref() != Some("update") {
            // Repeated for late joiners, or told again to one: no news, and no interruption.
            if !line.periodic && (line.epoch, line.seq) > self.last {
                self.last = (line.epoch, line.seq);
                self.interrupt(Some(number), Stream::Book);
            }
            return;
        }
        if self.is_news(place, line) {
            let mut content = Content::new(line.ts_event);
            line.bids.iter().for_each(|l| content.level('b', &l[0], &l[1]));
            line.asks.iter().for_each(|l| content.level('a', &l[0], &l[1]));
            self.flow(number, Stream::Book, content.finish());
        }
    }

    fn flow(&mut self, number: usize, stream: Stream, content: u64) {
        let of = self.all[number].flow(stream);
        of.told = true;
        let part = of.part;
        let seen = self.flows.entry(key(number, stream, content)).or_default();
        seen.is_trade = stream == Stream::Trade;
        if seen.told == 0 {
            seen.part = part;
        }
        seen.told = seen.told.saturating_add(1);
    }

    fn gap(&mut self, number: Option<usize>, line: &Line<'_>) {
        let stream = match line.stream.as_deref() {
            Some("trade") => Stream::Trade,
            Some("order") => Stream::Order,
            Some("book") => Stream::Book,
            _ => return,
        };
        self.report.gaps += 1;
        self.interrupt(number, stream);
        let id = |v: &Option<serde_json::Value>| v.as_ref()?.as_str()?.parse::<u64>().ok();
        match (number, id(&line.first), id(&line.last)) {
            (Some(number), Some(first), Some(last)) if stream != Stream::Book && first <= last => {
                self.name(number, stream, first, last);
            }
            _ => self.open(number, stream),
        }
    }

    /// More ids than any gap of a venue has; a gap beyond names nothing that can be checked one by one.
    const NAMES_MAX: u64 = 10_000_000;

    fn name(&mut self, number: usize, stream: Stream, first: u64, last: u64) {
        if last - first >= Ledger::NAMES_MAX {
            return self.open(Some(number), stream);
        }
        for id in first..=last {
            if self.all[number].numbered(stream).ids.mark(id, NAMED) & TOLD != 0 {
                let what = format!("{} {id} is called missing and was told", self.symbols.name(number));
                self.report.found(Kind::Misnamed, stream, &what, String::new());
            }
        }
        self.report.named_ever += last - first + 1;
    }

    /// From the last trade told to the next, nobody can say what is missing.
    fn open(&mut self, number: Option<usize>, stream: Stream) {
        if stream == Stream::Book {
            return;
        }
        for (at, instrument) in self.all.iter_mut().enumerate() {
            if number.is_none_or(|n| n == at) {
                let of = instrument.numbered(stream);
                of.begun = of.begun.or(of.live);
                if stream == Stream::Trade {
                    instrument.plain_trades.gaps.begin();
                }
            }
        }
    }

    /// What follows need not join what came before.
    fn interrupt(&mut self, number: Option<usize>, stream: Stream) {
        if stream == Stream::Order {
            return;
        }
        for (at, instrument) in self.all.iter_mut().enumerate() {
            if number.is_none_or(|n| n == at) {
                instrument.flow(stream).part += 1;
            }
        }
    }

    // Sent ----------------------------------------------------------------------------------------------------------

    /// Whether something sent at this time had to be told.
    fn is_owed(&self, at: Option<u64>) -> bool {
        let (from, to) = self.listened;
        self.whole || at.is_some_and(|at| at >= from.saturating_add(self.grace) && at.saturating_add(self.grace) <= to)
    }

    fn sent_number(&mut self, sent: &Sent, number: usize, stream: Stream, id: u64, content: u64, repeat: bool) {
        let mut marks: Marks = if sent.at.is_some() { SENT } else { ANSWERED };
        if self.is_owed(sent.at) && !repeat {
            marks |= OWED;
        }
        if sent.is_own {
            marks |= OWN;
        }
        let before = self.all[number].numbered(stream).ids.compare(id, marks, content);
        if stream != Stream::Trade || !sent.is_own || repeat {
            return;
        }
        let trail = self.trails.entry(number).or_default();
        if before & TOLD != 0 && before & LATE == 0 {
            // A gap named ids that this very connection had carried, and it went on.
            for id in std::mem::take(&mut trail.named) {
                self.all[number].trades.ids.mark(id, LIVE);
            }
            trail.untold = 0;
        } else {
            trail.untold += 1;
            if before & NAMED != 0 {
                trail.named.push(id);
            }
        }
    }

    fn sent_flow(&mut self, sent: &Sent, number: usize, stream: Stream, content: u64) {
        if !sent.is_own && stream == Stream::Book {
            return;
        }
        let key = key(number, stream, content);
        let seen = self.flows.entry(key).or_default();
        seen.is_trade = stream == Stream::Trade;
        let connection = sent.connection as u32;
        seen.here = if seen.connection == connection && connection != 0 { seen.here.saturating_add(1) } else { 1 };
        seen.connection = connection;
        seen.sent = seen.sent.max(seen.here);
        if sent.at.is_none() {
            // An answer: in no order with the rest.
            return;
        }
        let (told, part) = (seen.told > 0, seen.part);
        let pending = self.pending.entry((number, stream)).or_default();
        if !told {
            pending.events.push((key, sent.place.line, sent.at));
            return;
        }
        // Before the first that was told, nothing says where the consumer began.
        let excuses = stream == Stream::Book || !self.all[number].plain_trades.gaps.are_closed();
        let excused = pending.part.is_none_or(|before| before != part && excuses);
        let mut events = std::mem::take(&mut pending.events);
        if pending.part.replace(part).is_none() {
            // Nor is anything owed of the time before it did.
            let (from, grace) = (self.listened.0, self.grace);
            events.retain(|event| self.whole || event.2.is_some_and(|at| at >= from.saturating_add(grace)));
        }
        let place = sent.place.file.clone();
        self.settle(number, stream, &events, excused, &place);
    }

    fn settle(&mut self, number: usize, stream: Stream, events: &[(u64, u64, Option<u64>)], excused: bool, file: &str) {
        for (key, line, _) in events {
            let Some(seen) = self.flows.get_mut(key) else { continue };
            seen.verdict |= if excused { EXCUSED } else { LOST };
            if !excused {
                let place = format!("{file}:{line}");
                self.report.detail(Kind::Lost, stream, self.symbols.name(number), place);
            }
        }
    }
}

impl Visitor for Ledger {
    fn sent(&mut self, sent: &Sent, symbol: &str, event: Event) {
        let number = self.at(symbol);
        if self.place.as_ref().is_none_or(|place| place.file != sent.place.file) {
            self.place = Some(sent.place.clone());
        }
        match event {
            Event::Trade { timed: Some(timed), .. } if self.all[number].plain_trades.told => {
                self.sent_flow(sent, number, Stream::Trade, timed);
            }
            Event::Trade { id: Some(id), content, repeat, .. } => {
                self.sent_number(sent, number, Stream::Trade, id, content, repeat);
            }
            Event::Trade { id: None, content, .. } => self.sent_flow(sent, number, Stream::Trade, content),
            Event::Book { content } => self.sent_flow(sent, number, Stream::Book, content),
            Event::Order { sequence } => self.sent_number(sent, number, Stream::Order, sequence, 0, false),
        }
    }

    fn end_of_connection(&mut self, is_own: bool) {
        let file = self.place.as_ref().map_or_else(|| "".into(), |place| place.file.clone());
        for ((number, stream), pending) in std::mem::take(&mut self.pending) {
            // What came last may not have arrived, which is told by an interruption, or by the consumer's own end.
            let excuses = stream == Stream::Book || !self.all[number].plain_trades.gaps.are_closed();
            let part = self.all[number].flow(stream).part;
            let excused = pending.part.is_none_or(|last| last < part && excuses);
            let (owed, after): (Vec<_>, Vec<_>) =
                pending.events.into_iter().partition(|event| excused || self.is_owed(event.2));
            self.settle(number, stream, &owed, excused, &file);
            drop(after);
        }
        for (_, trail) in std::mem::take(&mut self.trails) {
            self.report.in_flight += if is_own { trail.untold } else { 0 };
        }
    }
}

impl Instrument {
    fn numbered(&mut self, stream: Stream) -> &mut Numbered {
        if stream == Stream::Order { &mut self.orders } else { &mut self.trades }
    }

    fn flow(&mut self, stream: Stream) -> &mut Flow {
        if stream == Stream::Trade { &mut self.plain_trades } else { &mut self.book }
    }
}

/// One key for a content of one instrument's stream.
fn key(number: usize, stream: Stream, content: u64) -> u64 {
    content ^ (number as u64 * 2 + u64::from(stream == Stream::Trade) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

// The verdict -------------------------------------------------------------------------------------------------------

impl Ledger {
    /// Says of every event what became of it.
    pub fn judge(&mut self) {
        let wanted = |ledger: &Ledger, number: usize| match &ledger.wanted[..] {
            [] => ledger.all[number].heard,
            some => some.contains(&number),
        };
        for number in 0..self.all.len() {
            if !wanted(self, number) {
                self.report.not_asked_for += 1;
                continue;
            }
            let mut instrument = std::mem::take(&mut self.all[number]);
            let name = self.symbols.name(number).to_owned();
            instrument.trades.close();
            instrument.orders.close();
            if !instrument.plain_trades.told {
                instrument.trades.judge(Stream::Trade, &name, self.whole, &mut self.report);
            }
            if instrument.orders.first.is_some() {
                instrument.orders.judge(Stream::Order, &name, self.whole, &mut self.report);
            }
            self.all[number] = instrument;
        }
        self.judge_flows();
    }

    fn judge_flows(&mut self) {
        // A consumer that asked for no books is owed none.
        // And where the venue sends none, as where a book is made of orders, there is nothing to compare.
        let is_sent = |is_trade| self.flows.values().any(|seen| seen.sent > 0 && seen.is_trade == is_trade);
        let books = self.all.iter().any(|i| i.book.told) && is_sent(false);
        let trades = self.all.iter().any(|i| i.plain_trades.told) && is_sent(true);
        for seen in self.flows.values() {
            let stream = match seen.is_trade {
                true if trades => Stream::Trade,
                false if books => Stream::Book,
                _ => continue,
            };
            let figures = self.report.figures(stream);
            if seen.sent == 0 {
                figures.never_sent += u64::from(seen.told);
                continue;
            }
            figures.sent += 1;
            match (seen.told, seen.verdict) {
                (0, verdict) if verdict & EXCUSED != 0 => figures.unnamed_gaps += 1,
                (0, verdict) if verdict & LOST != 0 => figures.lost += 1,
                (0, _) => {
                    figures.sent -= 1;
                    figures.not_judged += 1;
                }
                (told, _) => {
                    figures.delivered += 1;
                    figures.duplicated += u64::from(told.saturating_sub(seen.sent));
                }
            }
        }
    }
}

impl Numbered {
    fn close(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.open.push((begun, u64::MAX));
        }
        self.open.sort_unstable();
    }

    fn judge(&self, stream: Stream, name: &str, whole: bool, report: &mut Report) {
        report.compared(stream);
        let is_open = |id: u64| {
            let before = self.open.partition_point(|(from, _)| *from < id);
            self.open[..before].iter().any(|(_, to)| id < *to)
        };
        for (id, marks) in self.ids.iter() {
            let sent = marks & (SENT | ANSWERED) != 0;
            let figures = report.figures(stream);
            if marks & TOLD != 0 {
                if !sent {
                    figures.never_sent += 1;
                    report.detail(Kind::NeverSent, stream, &format!("{name} {id}"), String::new());
                    continue;
                }
                figures.sent += 1;
                figures.delivered += 1;
                figures.late += u64::from(marks & LATE != 0);
                figures.down += u64::from(marks & OWN == 0);
                if marks & OTHER != 0 && marks & SAME == 0 {
                    figures.different += 1;
                    report.locate(Kind::Different, stream, name, id);
                }
            } else if !sent {
                figures.named_never_sent += u64::from(marks & NAMED != 0);
            } else if marks & NAMED != 0 {
                figures.sent += 1;
                figures.named += 1;
                figures.down += u64::from(marks & OWN == 0);
                if marks & LIVE != 0 {
                    figures.named_live += 1;
                    report.locate(Kind::NamedLive, stream, name, id);
                }
            } else if is_open(id) {
                figures.sent += 1;
                figures.unnamed_gaps += 1;
                figures.down += u64::from(marks & OWN == 0);
            } else if self.is_outside(id, marks, whole) {
                figures.not_judged += 1;
            } else {
                figures.sent += 1;
                figures.lost += 1;
                report.locate(Kind::Lost, stream, name, id);
            }
        }
    }

    /// Before the first or after the last that was told, where the consumer may not have listened.
    fn is_outside(&self, id: u64, marks: Marks, whole: bool) -> bool {
        let outside = match (self.first, self.last) {
            (Some(first), Some(last)) if id >= first => id > last,
            (Some(_), _) => return !whole,
            _ => true,
        };
        outside && !whole && marks & OWED == 0
    }
}
