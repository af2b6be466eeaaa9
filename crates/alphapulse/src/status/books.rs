//! The books in `alphapulse status`: how many of a venue's are in which state, from its table of latest values.

use crate::config::Config;
use model::{BookState, UnixNanos, Venue};
use relay::table::BookTable;
use ring::table::TableError;
use serde::Serialize;
use std::collections::BTreeMap;
use wire::TableSource;

/// A venue's books as its table of latest values has them.
#[derive(Serialize)]
pub(super) struct VenueBooks {
    venue: String,
    /// How many books are in each state.
    states: BTreeMap<&'static str, usize>,
    /// Those that are not live, the worst first.
    not_live: Vec<BookStatus>,
    /// Why nobody can say.
    problem: Option<String>,
}

#[derive(Serialize)]
struct BookStatus {
    symbol: String,
    state: &'static str,
    reason: &'static str,
    /// ns since the Unix epoch; 0 when nothing happened to it yet.
    since: u64,
    #[serde(skip)]
    rank: usize,
}

/// From the worst on: a book in doubt is worse than one on its way, and that worse than one of which nothing was told.
const WORST_FIRST: [BookState; 5] =
    [BookState::Suspect, BookState::Syncing, BookState::Cold, BookState::Halted, BookState::Live];

/// Looks at every table there is.
pub(super) fn gather(config: &Config, now: UnixNanos) -> Vec<VenueBooks> {
    if !config.paths.rings.exists() {
        return vec![];
    }
    // What is wrong with the folder the rings say.
    let Ok(directory) = ring::Directory::open(&config.paths.rings) else { return vec![] };
    let venues: Vec<Venue> =
        directory.tables().unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
    let of = |venue: &Venue| {
        let mut books =
            VenueBooks { venue: venue.to_string(), states: BTreeMap::new(), not_live: vec![], problem: None };
        let counted = BookTable::open(&directory, *venue).and_then(|mut table| count(&mut table, &mut books, now));
        books.problem = counted.err().map(|error| error.to_string());
        books.not_live.sort_by(|a, b| (a.rank, a.since, &a.symbol).cmp(&(b.rank, b.since, &b.symbol)));
        books
    };
    venues.iter().map(of).collect()
}

fn count(table: &mut BookTable, books: &mut VenueBooks, now: UnixNanos) -> Result<(), TableError> {
    for listed in table.list(now)? {
        let head = table.top(listed.row, now)?;
        // Of an instrument without a book there is nothing to say, and before its definition no name to say it of.
        if head.source() == TableSource::Quote || listed.symbol.is_empty() {
            continue;
        }
        let state = head.state();
        *books.states.entry(state.name()).or_default() += 1;
        if state != BookState::Live {
            let rank = WORST_FIRST.iter().position(|s| *s == state).unwrap_or(WORST_FIRST.len());
            let (reason, since) = (head.reason().name(), head.since().0);
            books.not_live.push(BookStatus { symbol: listed.symbol, state: state.name(), reason, since, rank });
        }
    }
    Ok(())
}

impl VenueBooks {
    /// How many are in which state, and the worst by name.
    pub(super) fn line(&self, now: u64) -> String {
        let mut line = format!("books {:<12} ", self.venue);
        if let Some(problem) = &self.problem {
            return line + "PROBLEM " + problem;
        }
        let states = WORST_FIRST.iter().rev().filter_map(|state| {
            let count = self.states.get(state.name())?;
            Some(format!("{count} {state}"))
        });
        let states: Vec<String> = states.collect();
        line += &if states.is_empty() { "none".to_owned() } else { states.join(", ") };
        if let Some(worst) = self.not_live.first() {
            line += &format!("; worst {} {} ({})", worst.symbol, worst.state, worst.reason);
            if worst.since > 0 {
                line += &format!(" for {} s", now.saturating_sub(worst.since) / 1_000_000_000);
            }
        }
        line
    }
}
