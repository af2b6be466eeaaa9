//! Looks at every step: which proofs failed in it, and whether what was told rebuilds the very book.
//!
//! Beside the machine's book stands a [`PlainBook`] made of the records alone, as a reader of the stream would make it.
//! Both begin equal with a snapshot; after each event the depths of both sides, the best levels and every level the
//! event names are the same, and so, step by step, are the whole books. At the end and at each snapshot all levels are
//! compared.

use super::report::{BookReport, Disagreement, FileReport};
use book::{Book, PlainBook};
use model::{BookState, InstrumentId, Price, Qty, Side, UnixNanos, Venue};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use venues::{Outbox, Proof, Quarantined, Session, Tally, Trust};
use wire::{Flags, Record, SnapshotReason, Status};

/// A book as the records tell it.
#[derive(Default)]
struct Told {
    symbol: String,
    scales: Option<(u8, u8)>,
    levels: PlainBook,
    /// Levels a side the venue keeps; 0: all.
    depth: usize,
    /// A snapshot for late joiners is being told, which changes nothing.
    repeating: bool,
    /// Levels named by the step at hand.
    named: Vec<(Side, Price)>,
    /// A snapshot of the step at hand is complete.
    whole: bool,
    /// It does not fit 64 bits at the scales told.
    lost: bool,
    /// Why the book is suspect, in words, where the step at hand says so.
    why: Option<String>,
    /// Events after which the two books were compared.
    compared: u64,
    /// How often each proof had failed, by line of the session.
    before: BTreeMap<usize, Tally>,
    disagreements: u64,
    /// They differ since then: told once until the next snapshot.
    differs: bool,
}

/// All books of a file.
pub struct Judge {
    books: BTreeMap<InstrumentId, Told>,
    disagreements: Vec<Disagreement>,
    counted: u64,
    bad: Vec<String>,
    bad_counted: u64,
    lines: u64,
    details: usize,
    now: UnixNanos,
    reports: BTreeMap<InstrumentId, BookReport>,
}

impl Judge {
    /// Has seen nothing. Shows so many disagreements.
    pub fn new(details: usize) -> Judge {
        Judge {
            books: BTreeMap::new(),
            disagreements: vec![],
            counted: 0,
            bad: vec![],
            bad_counted: 0,
            lines: 0,
            details,
            now: UnixNanos::ZERO,
            reports: BTreeMap::new(),
        }
    }

    /// Whether there was no book, and no frame that may have been of one.
    pub fn is_empty(&self) -> bool {
        self.bad_counted == 0 && self.reports.values().all(|report| !report.is_of_a_book())
    }

    /// One step.
    pub fn take(&mut self, line: u64, now: UnixNanos, bad: Option<&Quarantined>, out: &Outbox, session: &Session) {
        self.lines = self.lines.max(line);
        self.now = self.now.max(now);
        if let Some(bad) = bad {
            self.bad_counted += 1;
            if self.bad.len() < self.details {
                self.bad.push(format!("line {line}: {}", bad.error));
            }
        }
        let mut touched: Vec<InstrumentId> = vec![];
        for words in out.records.iter() {
            if let Ok(record) = Record::read(words) {
                self.hear(&record, &mut touched);
            }
        }
        // A proof never fails without a record that says so.
        for (index, machine) in session.machines().enumerate() {
            for &id in &touched {
                let Some((book, trust)) = machine.book(id) else { continue };
                self.judge(index, id, trust, line);
                if is_alone(session, id) {
                    self.compare(id, book, trust, line);
                }
            }
        }
        for id in touched {
            if let Some(told) = self.books.get_mut(&id) {
                (told.why, told.whole) = (None, false);
                told.named.clear();
            }
        }
    }

    fn hear(&mut self, record: &Record<'_>, touched: &mut Vec<InstrumentId>) {
        let id = match record {
            Record::BookChange(r) => r.header.instrument(),
            Record::SnapshotBegin(r) => r.header.instrument(),
            Record::SnapshotEnd(r) => r.header.instrument(),
            Record::Instrument(r) => r.head.header.instrument(),
            Record::Status(r) => r.head.header.instrument(),
            Record::Gap(r) => r.header.instrument(),
            _ => return,
        };
        if touched.last() != Some(&id) && !touched.contains(&id) {
            touched.push(id);
        }
        self.books.entry(id).or_default().hear(record);
    }

    /// Proofs that failed in this step.
    fn judge(&mut self, index: usize, id: InstrumentId, trust: &Trust, line: u64) {
        let told = self.books.entry(id).or_default();
        let before = told.before.insert(index, *trust.tally()).unwrap_or_default();
        if before.failures() == trust.tally().failures() && before.unproved == trust.tally().unproved {
            return;
        }
        let (symbol, why) = (told.symbol.clone(), told.why.clone());
        let unproved = before.unproved == 0 && trust.tally().unproved > 0;
        told.disagreements += u64::from(unproved);
        for proof in Proof::ALL {
            let times = trust.tally().failed(proof) - before.failed(proof);
            if times > 0 {
                self.books.entry(id).or_default().disagreements += 1;
                let text = why.clone().unwrap_or_else(|| format!("{times} times"));
                self.disagree(line, &symbol, proof.name(), text);
            }
        }
        if unproved {
            let text = why.unwrap_or_else(|| "changes are told without a snapshot".to_owned());
            self.disagree(line, &symbol, "unproved", text);
        }
    }

    /// The book of the records beside the machine's.
    fn compare(&mut self, id: InstrumentId, book: &Book, trust: &Trust, line: u64) {
        let Some(told) = self.books.get_mut(&id) else { return };
        if !trust.is_live() || told.differs || (told.named.is_empty() && !told.whole) {
            return;
        }
        told.compared += 1;
        let Some(text) = told.difference(book, told.whole) else { return };
        told.differs = true;
        told.disagreements += 1;
        let symbol = told.symbol.clone();
        self.disagree(line, &symbol, "plain", text);
    }

    /// The recording has ended: takes the figures of all books, and compares each a last time.
    pub fn end(&mut self, session: &Session) {
        for (index, machine) in session.machines().enumerate() {
            for instrument in machine.instruments().iter() {
                let Some((book, trust)) = machine.book(instrument.id) else { continue };
                let told = self.books.entry(instrument.id).or_default();
                let last = is_alone(session, instrument.id) && trust.is_live() && !told.differs;
                let difference = last.then(|| told.difference(book, true)).flatten();
                let entry = self.reports.entry(instrument.id).or_insert_with(|| BookReport::new(&instrument.symbol));
                entry.note(index, book, trust, told.compared, self.now);
                entry.disagreements = told.disagreements;
                if let Some(text) = difference {
                    entry.disagreements += 1;
                    self.disagree(self.lines, &instrument.symbol, "plain", text);
                }
            }
        }
        for report in self.reports.values_mut() {
            report.finish();
        }
    }

    fn disagree(&mut self, line: u64, symbol: &str, proof: &'static str, text: String) {
        self.counted += 1;
        if self.disagreements.len() < self.details {
            self.disagreements.push(Disagreement { line, symbol: symbol.to_owned(), proof, text });
        }
    }

    /// What it came to.
    pub fn report(self, path: &Path, venue: Venue, rest: Vec<PathBuf>) -> FileReport {
        let shown = |path: &Path| path.display().to_string();
        FileReport {
            file: shown(path),
            venue: venue.name(),
            rest: rest.iter().map(|path| shown(path)).collect(),
            lines: self.lines,
            books: self.reports.into_values().filter(BookReport::is_of_a_book).collect(),
            disagreements: self.counted,
            shown: self.disagreements,
            unreadable: self.bad_counted,
            unreadable_shown: self.bad,
        }
    }
}

/// Whether one line alone has ever had a book: what several tell passes an arbiter, and is no machine's own.
fn is_alone(session: &Session, id: InstrumentId) -> bool {
    let used = session.machines().filter_map(|machine| machine.book(id));
    used.filter(|(_, trust)| trust.state() != BookState::Cold).count() == 1
}

impl Told {
    fn hear(&mut self, record: &Record<'_>) {
        match record {
            Record::Instrument(i) => {
                i.symbol.clone_into(&mut self.symbol);
                self.rescale(i.head.price_scale, i.head.size_scale);
            }
            Record::SnapshotBegin(s) if s.reason == SnapshotReason::Sync as u8 => {
                self.levels.clear();
                (self.depth, self.differs) = (s.depth as usize, false);
            }
            Record::SnapshotBegin(_) => self.repeating = true,
            Record::SnapshotEnd(_) => self.whole |= !std::mem::take(&mut self.repeating),
            Record::BookChange(c) if !self.repeating => {
                let flags = c.header.flags();
                let Some(side) = flags.side() else { return };
                self.levels.set(side, Price(c.price), Qty(c.size));
                if !flags.contains(Flags::SNAPSHOT) {
                    self.named.push((side, Price(c.price)));
                }
                if flags.contains(Flags::LAST) && self.depth > 0 {
                    self.levels.truncate(self.depth);
                }
            }
            Record::Status(s) => {
                if let Status::Book(BookState::Suspect) = s.status {
                    self.why = Some(format!("{}: {}", s.reason, s.text));
                }
            }
            _ => {}
        }
    }

    fn rescale(&mut self, price: u8, size: u8) {
        if let Some((p, s)) = self.scales.replace((price, size)) {
            let factor = |from: u8, to: u8| 10i64.pow(u32::from(to.saturating_sub(from)));
            self.lost |= !self.levels.rescale(factor(p, price), factor(s, size));
        }
    }

    /// Where the books differ, in words. `whole`: all levels are looked at.
    fn difference(&self, book: &Book, whole: bool) -> Option<String> {
        if self.lost {
            return Some("what is told does not fit 64 bits".to_owned());
        }
        for side in [Side::Buy, Side::Sell] {
            let (plain, ours) = (self.levels.depth(side), book.depth(side));
            if plain != ours {
                return Some(format!("{side}: the records make {plain} levels, the book has {ours}"));
            }
            if self.levels.best(side) != book.best(side) {
                return Some(format!("{side}: the records make another best level than the book's"));
            }
            if whole && !self.levels.levels(side).into_iter().eq(book.levels(side)) {
                return Some(format!("{side}: the records make other levels than the book's"));
            }
        }
        let differs = |(side, price): &&(Side, Price)| self.levels.size(*side, *price) != book.size(*side, *price);
        let (side, price) = self.named.iter().find(differs)?;
        Some(format!("{side}: the records have another size at {} than the book", price.0))
    }
}
