//! The tables in `docs/reliability.md`: one row for each fault and venue, made by the test that lets it happen; the figures
//! that count it; and why a venue has no row. A line that is not there as made fails its test; `UPDATE_GOLDEN=1` writes
//! the lines of the tests that run.

use super::absent::ABSENT;
use super::plant::{Plant, every};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::PathBuf,
    sync::Mutex,
};

/// A table of the page: how it begins and ends, and how many of its columns name a line.
struct Table {
    begin: &'static str,
    end: &'static str,
    keys: usize,
}

const ROWS: Table = Table {
    begin: "| fault | what goes wrong | venue | injected | reported | missed | spurious |\n|---|---|---|---|---|---|---|\n",
    end: "\n<!-- end of the table -->",
    keys: 3,
};

const FIGURES: Table = Table {
    begin: "| fault | what goes wrong | counted by |\n|---|---|---|\n",
    end: "\n<!-- end of the figures -->",
    keys: 2,
};

const REASONS: Table = Table {
    begin: "| fault | what goes wrong | venue | why it has no row |\n|---|---|---|---|\n",
    end: "\n<!-- end of the reasons -->",
    keys: 3,
};

static WRITING: Mutex<()> = Mutex::new(());

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md")
}

fn updates() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

impl Table {
    fn key(&self, line: &str) -> String {
        line.split(" | ").take(self.keys).collect::<Vec<_>>().join(" | ").trim_end_matches(" |").to_owned()
    }

    /// The lines on the page, by their keys.
    fn lines(&self, text: &str) -> BTreeMap<String, String> {
        let (_, rest) = text.split_once(self.begin).expect("the head of the table");
        let (rows, _) = rest.split_once(self.end).expect("the end of the table");
        rows.lines().filter(|l| !l.is_empty()).map(|l| (self.key(l), l.to_owned())).collect()
    }

    fn write(&self, text: &str, lines: BTreeMap<String, String>) {
        let (head, rest) = text.split_once(self.begin).expect("the head of the table");
        let (_, tail) = rest.split_once(self.end).expect("the end of the table");
        let lines: Vec<String> = lines.into_values().collect();
        let (begin, end) = (self.begin, self.end);
        fs::write(page(), format!("{head}{begin}{}{end}{tail}", lines.join("\n"))).expect("written");
    }

    /// Holds a line against the page.
    fn check(&self, line: &str) {
        let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = fs::read_to_string(page()).expect("docs/reliability.md");
        let mut lines = self.lines(&text);
        if updates() {
            lines.insert(self.key(line), line.to_owned());
            self.write(&text, lines);
            return;
        }
        let known = lines.get(&self.key(line)).map(String::as_str);
        assert_eq!(known, Some(line), "docs/reliability.md is out of date; UPDATE_GOLDEN=1 rewrites its rows");
    }
}

/// What one fault at one venue came to.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number in the list of faults.
    pub fault: &'static str,
    pub what: &'static str,
    pub venue: &'static str,
    pub injected: String,
    pub reported: String,
    /// Injected and not told.
    pub missed: u64,
    /// Told and not injected.
    pub spurious: u64,
}

/// A figure and what it must be.
pub type Figure = (&'static str, RangeInclusive<u64>);

/// A figure that is known exactly.
pub fn exactly(name: &'static str, n: u64) -> Figure {
    (name, n..=n)
}

/// A figure that may be more, for reasons of its own.
pub fn at_least(name: &'static str, n: u64) -> Figure {
    (name, n..=u64::MAX)
}

impl Row {
    fn line(&self) -> String {
        let Row { fault, what, venue, injected, reported, missed, spurious } = self;
        format!("| {fault} | {what} | {venue} | {injected} | {reported} | {missed} | {spurious} |")
    }

    /// Holds the row against the table.
    pub fn check(&self) {
        println!("{}", self.line());
        ROWS.check(&self.line());
    }

    /// The same, and the feed's own figures against what the fault did. Venues may have different figures.
    pub fn check_counted(&self, plant: &Plant, figures: &[Figure]) {
        for (name, right) in figures {
            let is = plant.figure(name);
            assert!(right.contains(&is), "{}: {name} is {is}, not {right:?}", self.venue);
        }
        self.check();
        let (fault, what) = (self.fault, self.what);
        let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = fs::read_to_string(page()).expect("docs/reliability.md");
        let mut lines = FIGURES.lines(&text);
        let key = FIGURES.key(&format!("| {fault} | {what} |"));
        let known = lines.get(&key).and_then(|line| line.strip_prefix(&format!("{key} | "))?.strip_suffix(" |"));
        let known: BTreeSet<&str> = known.unwrap_or_default().split(", ").filter(|name| !name.is_empty()).collect();
        let ours = figures.iter().map(|(name, _)| *name);
        if updates() {
            let all: BTreeSet<&str> = known.into_iter().chain(ours).collect();
            let line = format!("{key} | {} |", all.into_iter().collect::<Vec<_>>().join(", "));
            lines.insert(key, line);
            FIGURES.write(&text, lines);
            return;
        }
        for name in ours {
            assert!(
                known.contains(name),
                "docs/reliability.md does not say that {name} counts {what}; UPDATE_GOLDEN=1"
            );
        }
    }
}

/// Whatever can go wrong was tried at every venue, or it is said why not.
#[test]
fn every_fault_has_a_row_of_every_venue_or_a_reason() {
    let text = fs::read_to_string(page()).expect("docs/reliability.md");
    let rows = ROWS.lines(&text);
    let faults: BTreeSet<&str> = rows.keys().map(|key| key.rsplit_once(" | ").expect("three columns").0).collect();
    let mut reasons = BTreeMap::new();
    for fault in faults {
        for setup in every() {
            let key = format!("{fault} | {}", setup.name);
            let why = ABSENT.iter().find(|why| fault.ends_with(&format!("| {}", why.what)) && why.fits(setup.name));
            match (rows.contains_key(&key), why) {
                (true, None) => {}
                (false, Some(why)) => drop(reasons.insert(key.clone(), format!("{key} | {} |", why.reason))),
                (true, Some(_)) => panic!("{key} has a row, and a reason to have none"),
                (false, None) => panic!("{key} has no row, and no reason is given"),
            }
        }
    }
    let numbers: BTreeSet<&str> = rows.keys().filter_map(|key| key.get(2..5)).collect();
    let all: Vec<String> = (1..=17).map(|n| format!("F{n:02}")).collect();
    assert!(all.iter().all(|n| numbers.contains(n.as_str())), "of {all:?} there are {numbers:?}");
    if updates() {
        let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = fs::read_to_string(page()).expect("docs/reliability.md");
        return REASONS.write(&text, reasons);
    }
    assert_eq!(REASONS.lines(&text), reasons, "docs/reliability.md is out of date; UPDATE_GOLDEN=1 rewrites it");
}
