//! Where what is replayed comes from: raw captures, which are decoded again, and records as they were kept.
//!
//! A [`Source`] tells the records of one venue in the order in which they were told; [`find`] makes of a path one source
//! for each venue that is in it.

mod capture;
mod journal;

pub use capture::CaptureSource;
pub use journal::JournalSource;

use crate::{Page, ReplayError};
use ::journal::Level;
use model::{UnixNanos, Venue};
use std::{path::Path, time::Duration};

/// The records of one venue, from files.
pub trait Source: Send {
    /// The venue.
    fn venue(&self) -> Venue;

    /// The site that recorded them, as far as it is known; empty where it is not. Session records among the records say
    /// it too.
    fn site(&self) -> String;

    /// What it is called in messages: kind and path.
    fn name(&self) -> String;

    /// Puts what comes next onto the page; `false` when there is nothing more.
    fn read(&mut self, page: &mut Page) -> Result<bool, ReplayError>;

    /// Begins anew so that all that was received at `begin` or later is read; of what was before, some may be read.
    fn seek(&mut self, begin: UnixNanos) -> Result<(), ReplayError>;

    /// How long before a moment one must begin to know definitions, states and books at that moment: as often as the
    /// feed repeated them. What is not known then is looked for farther back.
    fn lookback(&self) -> Duration {
        LOOKBACK
    }
}

/// Feeds repeat everything for late joiners every 30 s unless told otherwise; twice that, and a little.
pub const LOOKBACK: Duration = Duration::from_secs(65);

/// Words read ahead at most from a source before it is asked again: a few hundred records.
pub(crate) const PAGE_WORDS: usize = 4096;

/// The sources in a path, one for each venue (of `venues`, unless that is empty), in the order of the venues' codes: a
/// journal's folder, a capture file, a venue's folder of captures, or the folder of all venues' captures.
pub fn find(path: &Path, venues: &[Venue]) -> Result<Vec<Box<dyn Source>>, ReplayError> {
    let wanted = |venue: &Venue| venues.is_empty() || venues.contains(venue);
    if JournalSource::is_journal(path) {
        return JournalSource::venues(path)?
            .into_iter()
            .filter(wanted)
            .map(|venue| Ok(Box::new(JournalSource::open(path, venue, Level::Written)?) as Box<dyn Source>))
            .collect();
    }
    let places = CaptureSource::places(path)?;
    if places.is_empty() {
        return Err(ReplayError::Nothing { path: path.to_owned() });
    }
    let mut sources = places.iter().map(|place| CaptureSource::open(place)).collect::<Result<Vec<_>, _>>()?;
    sources.retain(|source| wanted(&source.venue()));
    sources.sort_by_key(Source::venue);
    Ok(sources.into_iter().map(|source| Box::new(source) as Box<dyn Source>).collect())
}
