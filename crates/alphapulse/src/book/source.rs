//! Where the book comes from: the table of the one venue asked for. What cannot be found is said with what can.

use super::{BookArgs, merged::Many, picture::Picture};
use crate::config::Config;
use ::book::consolidated::Groups;
use anyhow::{Context, bail};
use model::{UnixNanos, Venue};
use relay::table::BookTable;
use ring::Directory;
use ring::table::{Row, TableError};
use std::path::Path;

/// Symbols that are named instead of one that is not known.
const NEAR_MAX: usize = 3;

/// What is looked at.
pub enum Source {
    /// One venue's book.
    Venue(Box<One>),
    /// All venues' books as one.
    Consolidated(Box<Many>),
}

/// One instrument of one venue.
pub struct One {
    pub table: BookTable,
    pub row: Row,
}

impl Source {
    /// Finds the symbol in the tables.
    pub fn open(config: &Config, args: &BookArgs, now: UnixNanos) -> anyhow::Result<Source> {
        let rings: &Path = &config.paths.rings;
        if !rings.exists() {
            bail!("there are no tables in {}; start the feeds with: alphapulse up", rings.display());
        }
        let directory = Directory::open(rings)?;
        if args.consolidated {
            let groups = groups(config, args)?;
            let found = Many::open(&directory, &args.symbol, &groups, |venue| config.consolidated.fee(venue), now)?;
            return match found {
                Some(many) => Ok(Source::Consolidated(Box::new(many))),
                None => bail!("{}", unknown(&directory, &args.symbol, None, now)?),
            };
        }
        if let Some(venue) = args.venue {
            let mut table = BookTable::open(&directory, venue).with_context(|| no_feed(venue))?;
            let found = table.find_symbol(&args.symbol, now).with_context(|| no_feed(venue))?;
            return match found {
                Some(row) => Ok(Source::Venue(Box::new(One { table, row }))),
                None => bail!("{}", unknown(&directory, &args.symbol, Some(venue), now)?),
            };
        }
        let mut found = vec![];
        for venue in venues(&directory)? {
            // A feed that has ended has no books; the others may.
            let Ok(mut table) = BookTable::open(&directory, venue) else { continue };
            if let Ok(Some(row)) = table.find_symbol(&args.symbol, now) {
                found.push(One { table, row });
            }
        }
        match found.len() {
            0 => bail!("{}", unknown(&directory, &args.symbol, None, now)?),
            1 => Ok(Source::Venue(Box::new(found.remove(0)))),
            _ => {
                let names: Vec<_> = found.iter().map(|one| one.table.venue().name()).collect();
                bail!("{} is traded at {}; choose one with --venue, or --consolidated", args.symbol, names.join(", "))
            }
        }
    }

    /// The book as it is now.
    pub fn look(&mut self, now: UnixNanos) -> Result<Picture, TableError> {
        match self {
            Source::Venue(one) => {
                let venue = one.table.venue();
                Ok(Picture::of(one.table.book(one.row, now)?, venue, now))
            }
            Source::Consolidated(many) => many.look(now),
        }
    }
}

/// The groups that were asked for, or else the configuration's.
fn groups(config: &Config, args: &BookArgs) -> anyhow::Result<Groups> {
    if args.groups.is_empty() {
        return config.consolidated.groups();
    }
    let mut groups = Groups::default();
    for group in &args.groups {
        groups.add(&group.split('+').collect::<Vec<_>>())?;
    }
    Ok(groups)
}

fn no_feed(venue: Venue) -> String {
    format!("no feed writes the books of {venue} (alphapulse status shows what runs; start it with: alphapulse up)")
}

/// The venues that have a table.
pub fn venues(directory: &Directory) -> anyhow::Result<Vec<Venue>> {
    Ok(directory.tables()?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Names the symbols that are near, and who has them.
fn unknown(directory: &Directory, symbol: &str, asked: Option<Venue>, now: UnixNanos) -> anyhow::Result<String> {
    let wanted = symbol.to_uppercase();
    let mut known: Vec<(String, Vec<&str>)> = vec![];
    let mut running = 0;
    for venue in venues(directory)? {
        let listed = BookTable::open(directory, venue).and_then(|mut table| table.list(now));
        // Whose feed has ended has nothing to show.
        let Ok(listed) = listed else { continue };
        running += 1;
        for symbol in listed.into_iter().map(|l| l.symbol).filter(|symbol| !symbol.is_empty()) {
            match known.iter_mut().find(|(name, _)| *name == symbol) {
                Some((_, venues)) => venues.push(venue.name()),
                None => known.push((symbol, vec![venue.name()])),
            }
        }
    }
    if running == 0 {
        return Ok("no feed is running; start them with: alphapulse up".to_owned());
    }
    let place = asked.map_or("no venue".to_owned(), |venue| venue.to_string());
    let verb = if asked.is_some() { "has no" } else { "has a" };
    let mut words = format!("{place} {verb} book of {symbol}");
    if let Some((_, venues)) = known.iter().find(|(name, _)| *name == wanted) {
        return Ok(format!("{words}; {} has", venues.join(", ")));
    }
    known.sort_by_key(|(name, venues)| {
        // What the asked venue itself has comes first among equally near ones.
        let elsewhere = asked.is_some_and(|venue| !venues.contains(&venue.name()));
        (strsim::levenshtein(&wanted, name), elsewhere, name.clone())
    });
    let near: Vec<String> =
        known.iter().take(NEAR_MAX).map(|(name, venues)| format!("{name} ({})", venues.join(", "))).collect();
    if !near.is_empty() {
        words += &format!("; the nearest known are {}", near.join(", "));
    }
    Ok(words)
}
