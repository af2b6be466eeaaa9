//! What `verify books` found, as lines and as JSON.

use book::Book;
use model::{BookState, Side, UnixNanos};
use serde::Serialize;
use std::collections::BTreeMap;
use venues::{Proof, Trust};

/// One thing that disagrees.
#[derive(Serialize)]
pub struct Disagreement {
    /// The line (or input) it shows at, counted from 1.
    pub line: u64,
    pub symbol: String,
    /// The proof that failed; `plain`: the records do not rebuild the book; `unproved`: no snapshot began it.
    pub proof: &'static str,
    pub text: String,
}

/// One book.
#[derive(Serialize)]
pub struct BookReport {
    pub symbol: String,
    /// Whole messages of changes applied.
    pub updates: u64,
    pub snapshots: u64,
    /// Whole messages of changes told without a snapshot before them.
    pub unproved: u64,
    /// How often each proof held.
    pub held: BTreeMap<&'static str, u64>,
    /// How often each proof failed.
    pub failed: BTreeMap<&'static str, u64>,
    /// Events after which the book was compared with the one its records make.
    pub rebuilt: u64,
    /// Quotes of the venue's ticker held against the book.
    pub quotes: u64,
    /// The longest time for which none of them was its top, seconds.
    pub apart_s_max: f64,
    /// Seconds in each state.
    pub seconds: BTreeMap<&'static str, f64>,
    /// The state at the end, and why.
    pub state: &'static str,
    pub reason: &'static str,
    /// Levels at the end.
    pub bids: usize,
    pub asks: usize,
    pub disagreements: u64,
    #[serde(skip)]
    by_line: BTreeMap<usize, Figures>,
}

/// The figures of one line of the session.
#[derive(Clone, Copy, Default)]
struct Figures {
    updates: u64,
    snapshots: u64,
    unproved: u64,
    quotes: u64,
    apart_ns_max: u64,
    held: [u64; Proof::ALL.len()],
    failed: [u64; Proof::ALL.len()],
    states_ns: [u64; BookState::ALL.len()],
}

impl BookReport {
    /// A book of which nothing is known.
    pub fn new(symbol: &str) -> BookReport {
        BookReport {
            symbol: symbol.to_owned(),
            updates: 0,
            snapshots: 0,
            unproved: 0,
            held: BTreeMap::new(),
            failed: BTreeMap::new(),
            rebuilt: 0,
            quotes: 0,
            apart_s_max: 0.0,
            seconds: BTreeMap::new(),
            state: BookState::Cold.name(),
            reason: "",
            bids: 0,
            asks: 0,
            disagreements: 0,
            by_line: BTreeMap::new(),
        }
    }

    /// Whether anything came of a book.
    pub fn is_of_a_book(&self) -> bool {
        self.by_line.values().any(|f| f.updates + f.snapshots + f.unproved + f.failed.iter().sum::<u64>() > 0)
    }

    /// How it stands by now.
    pub fn note(&mut self, line: usize, book: &Book, trust: &Trust, rebuilt: u64, now: UnixNanos) {
        let tally = trust.tally();
        let figures = Figures {
            updates: tally.updates,
            snapshots: tally.snapshots,
            unproved: tally.unproved,
            quotes: tally.quotes,
            apart_ns_max: tally.apart_ns_max,
            held: tally.held,
            failed: tally.failed,
            states_ns: std::array::from_fn(|n| trust.in_state_ns(BookState::ALL[n], now)),
        };
        self.by_line.insert(line, figures);
        (self.state, self.reason) = (trust.state().name(), trust.reason().name());
        (self.bids, self.asks, self.rebuilt) = (book.depth(Side::Buy), book.depth(Side::Sell), rebuilt);
    }

    /// Adds the lines up.
    pub fn finish(&mut self) {
        let lines = self.by_line.values();
        self.updates = lines.clone().map(|f| f.updates).sum();
        self.snapshots = lines.clone().map(|f| f.snapshots).sum();
        self.unproved = lines.clone().map(|f| f.unproved).sum();
        self.quotes = lines.clone().map(|f| f.quotes).sum();
        self.apart_s_max = lines.clone().map(|f| f.apart_ns_max).max().unwrap_or(0) as f64 / 1e9;
        for (n, proof) in Proof::ALL.into_iter().enumerate() {
            self.held.insert(proof.name(), lines.clone().map(|f| f.held[n]).sum());
            self.failed.insert(proof.name(), lines.clone().map(|f| f.failed[n]).sum());
        }
        for (n, state) in BookState::ALL.iter().enumerate() {
            self.seconds.insert(state.name(), lines.clone().map(|f| f.states_ns[n]).sum::<u64>() as f64 / 1e9);
        }
    }

    fn print(&self, venue: &str) {
        let held: Vec<String> = Proof::ALL
            .into_iter()
            .filter(|p| self.held[p.name()] + self.failed[p.name()] > 0)
            .map(|p| match (p, self.failed[p.name()]) {
                (Proof::Ticker, 0) => format!("ticker {} of {}", self.held["ticker"], self.quotes),
                (p, 0) => format!("{} {}", p.name(), self.held[p.name()]),
                (p, failed) => format!("{} {} ({failed} FAILED)", p.name(), self.held[p.name()]),
            })
            .collect();
        let states: Vec<String> = BookState::ALL
            .iter()
            .filter(|s| self.seconds[s.name()] > 0.0)
            .map(|s| format!("{s} {:.1} s", self.seconds[s.name()]))
            .collect();
        let unproved = if self.unproved > 0 { format!(", {} UNPROVED", self.unproved) } else { String::new() };
        println!(
            "  {venue} {}: {} updates and {} snapshots applied{unproved}; proved: {}, rebuilt {}; {} disagree; {} ({}){}{}",
            self.symbol,
            self.updates,
            self.snapshots,
            if held.is_empty() { "by nothing".to_owned() } else { held.join(", ") },
            self.rebuilt,
            self.disagreements,
            self.state,
            self.reason,
            if states.is_empty() { "" } else { "; " },
            states.join(", "),
        );
    }
}

/// One file.
#[derive(Serialize)]
pub struct FileReport {
    pub file: String,
    pub venue: &'static str,
    /// REST exchanges used.
    pub rest: Vec<String>,
    /// Lines, or inputs, read.
    pub lines: u64,
    pub books: Vec<BookReport>,
    pub disagreements: u64,
    /// The first of them.
    pub shown: Vec<Disagreement>,
    /// Frames that could not be read.
    pub unreadable: u64,
    pub unreadable_shown: Vec<String>,
}

impl FileReport {
    /// Prints it as lines.
    pub fn print(&self) {
        let rest = if self.rest.is_empty() { String::new() } else { format!(", with {}", self.rest.join(", ")) };
        println!("{}: {} lines{rest}", self.file, self.lines);
        for book in &self.books {
            book.print(self.venue);
        }
        for d in &self.shown {
            println!("  {}:{}: {} {}: {}", self.file, d.line, d.symbol, d.proof, d.text);
        }
        for text in &self.unreadable_shown {
            println!("  {}: {text}", self.file);
        }
    }
}

/// All files.
#[derive(Serialize, Default)]
pub struct Report {
    pub books: u64,
    pub updates: u64,
    pub disagreements: u64,
    pub unreadable: u64,
    pub files: Vec<FileReport>,
}

impl Report {
    /// Takes in a file.
    pub fn add(&mut self, file: FileReport) {
        self.books += file.books.len() as u64;
        self.updates += file.books.iter().map(|b| b.updates).sum::<u64>();
        self.disagreements += file.disagreements;
        self.unreadable += file.unreadable;
        self.files.push(file);
    }

    /// Prints the sum.
    pub fn print_total(&self) {
        let unreadable =
            if self.unreadable > 0 { format!(", {} frames unreadable", self.unreadable) } else { String::new() };
        println!(
            "{} books, {} updates applied, {} disagreements{unreadable}",
            self.books, self.updates, self.disagreements
        );
    }

    /// 1 when something disagrees, 2 when a frame could not be read, 0 otherwise.
    pub fn exit(&self) -> u8 {
        match (self.disagreements, self.unreadable) {
            (0, 0) => 0,
            (0, _) => 2,
            _ => 1,
        }
    }
}
