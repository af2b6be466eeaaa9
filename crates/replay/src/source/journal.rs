//! A journal as a source: one venue's batches, as they were recorded.

use super::Source;
use crate::{Page, ReplayError, mark::nobody};
use journal::{From, Item, Level, Reader, Watermark};
use model::{UnixNanos, Venue};
use std::path::{Path, PathBuf};
use wire::{Envelope, OverrunCause, OverrunRecord, Record, batch::OUT_OF_BAND};

/// Batches looked at for the name of the site: all venues of a machine begin at about the same time.
const SITE_BATCHES_MAX: usize = 1024;

/// Reads one venue of a journal. Each venue has a reader of its own: the journal's order is that of recording, and what
/// one venue told while another was silent must not be held in memory.
pub struct JournalSource {
    folder: PathBuf,
    venue: Venue,
    level: Level,
    reader: Reader,
    site: String,
}

impl JournalSource {
    /// Whether a folder is a journal's.
    pub fn is_journal(path: &Path) -> bool {
        let segment = |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|e| e == "seg");
        std::fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(|entry| segment(&entry.file_name())))
    }

    /// The venues a journal has records of, as its watermark says; all of them where there is none.
    pub fn venues(path: &Path) -> Result<Vec<Venue>, ReplayError> {
        let told = Watermark::read(path)?.map(|mark| mark.written_positions.iter().map(|(venue, _)| venue).collect());
        Ok(told.filter(|venues: &Vec<Venue>| !venues.is_empty()).unwrap_or_else(|| Venue::ALL.to_vec()))
    }

    /// Opens a journal at its oldest record.
    pub fn open(path: &Path, venue: Venue, level: Level) -> Result<JournalSource, ReplayError> {
        let reader = Reader::open(path, From::Oldest, level)?;
        let site = first_site(Reader::open(path, From::Oldest, level)?, venue)?;
        Ok(JournalSource { folder: path.to_owned(), venue, level, reader, site })
    }
}

/// The site as the oldest batch of a venue says it: a run's first record does, and most journals begin with one.
fn first_site(mut reader: Reader, venue: Venue) -> Result<String, ReplayError> {
    let mut site = String::new();
    for _ in 0..SITE_BATCHES_MAX {
        match reader.next()? {
            Item::End => break,
            Item::Batch(batch) if batch.header.venue() == Some(venue) => {
                // A batch that cannot be opened is told of when it is read.
                let _ = batch.records(|_, words| {
                    if let Ok(Record::SessionStart(view)) = Record::read(words) {
                        view.site.clone_into(&mut site);
                    }
                });
                break;
            }
            Item::Batch(_) | Item::Missing(_) => {}
        }
    }
    Ok(site)
}

impl Source for JournalSource {
    fn venue(&self) -> Venue {
        self.venue
    }

    fn site(&self) -> String {
        self.site.clone()
    }

    fn name(&self) -> String {
        format!("journal {}", self.folder.display())
    }

    fn read(&mut self, page: &mut Page) -> Result<bool, ReplayError> {
        let before = page.len();
        while page.len() == before {
            match self.reader.next()? {
                Item::End => return Ok(false),
                Item::Missing(missing) => {
                    tracing::warn!("journal {}: {missing}", self.folder.display());
                    for range in missing.ranges.iter().filter(|range| range.venue == self.venue) {
                        let (cause, now) = (OverrunCause::Expired, page.time());
                        let lost =
                            OverrunRecord::new(Some(self.venue), range.epoch, range.first, range.last, cause, now);
                        page.push(nobody(range.epoch), lost.as_words());
                    }
                }
                Item::Batch(batch) if batch.header.venue() == Some(self.venue) => {
                    let out_of_band = batch.header.flags & OUT_OF_BAND != 0;
                    let name = |at: Envelope| if out_of_band { nobody(at.epoch) } else { at };
                    batch.records(|at, words| page.push(name(at), words)).map_err(|source| ReplayError::Batch {
                        path: self.folder.clone(),
                        place: batch.place,
                        source,
                    })?;
                }
                Item::Batch(_) => {}
            }
        }
        Ok(true)
    }

    fn seek(&mut self, begin: UnixNanos) -> Result<(), ReplayError> {
        // What was received at a time was published at that time or later.
        let from = if begin == UnixNanos::ZERO { From::Oldest } else { From::Time(begin) };
        self.reader = Reader::open(&self.folder, from, self.level)?;
        Ok(())
    }
}
