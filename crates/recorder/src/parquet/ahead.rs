//! Finds a definition that the journal tells only after the first record that needs it.
//!
//! A journal that begins in the middle of a run lacks the definitions from before; the feed repeats them within its
//! interval, and a change always comes before the first value that uses it. So the first one found further on is the
//! one in force here.

use super::SinkError;
use journal::{From, Item, Level, Place, Reader};
use model::{Instrument, InstrumentId, Venue};
use std::{collections::HashMap, path::Path};
use wire::Record;

/// A definition that did not come within so much of the stream does not come: feeds repeat theirs far more often.
const WITHIN_NS: u64 = 300_000_000_000;

/// What a look ahead found.
pub(crate) enum Found {
    /// The definition.
    Defined(Instrument),
    /// The journal's end, and the definition may still come.
    NotYet,
    /// It should have come.
    Never,
}

/// A second way through the journal, ahead of the first.
pub(crate) struct Ahead {
    reader: Reader,
    /// The first definition of each instrument behind the place it began at.
    first: HashMap<(Venue, InstrumentId), Instrument>,
    /// When the newest batch read was published.
    published: u64,
}

impl Ahead {
    pub(crate) fn open(journal: &Path, place: Place) -> Result<Ahead, SinkError> {
        let reader = Reader::open(journal, From::At(place), Level::Synced)?;
        Ok(Ahead { reader, first: HashMap::new(), published: 0 })
    }

    /// Reads on until the definition is found. `needed` is when the record that needs it was published.
    pub(crate) fn find(&mut self, venue: Venue, id: InstrumentId, needed: u64) -> Result<Found, SinkError> {
        loop {
            if let Some(instrument) = self.first.get(&(venue, id)) {
                return Ok(Found::Defined(instrument.clone()));
            }
            if self.published.saturating_sub(needed) > WITHIN_NS {
                return Ok(Found::Never);
            }
            match self.reader.next()? {
                Item::Batch(batch) => {
                    self.published = self.published.max(batch.header.published);
                    let first = &mut self.first;
                    // The reader has checked the batch.
                    let _ = batch.records(|_, words| note(first, words));
                }
                Item::Missing(_) => {}
                Item::End => return Ok(Found::NotYet),
            }
        }
    }
}

fn note(first: &mut HashMap<(Venue, InstrumentId), Instrument>, words: &[u64]) {
    if let Ok(Record::Instrument(view)) = Record::read(words)
        && let Some(instrument) = view.to_instrument()
    {
        first.entry((instrument.venue, instrument.id)).or_insert(instrument);
    }
}
