//! One venue's batches, taken off the journal one by one; everything else in it is passed over.

use std::path::Path;

use super::{HistoryError, PastFrom};
use journal::{Item, Level, MissingRange, Reader, Watermark};
use model::{UnixNanos, Venue};
use ring::Point;
use wire::Envelope;
use wire::batch::BatchHeader;
use zerocopy::FromZeros;

/// Batches of other venues passed over in one go: so much may be read before the caller is asked again.
const PASSED_OVER_MAX: usize = 16;

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A batch: [`Source::header`] and [`Source::each`].
    Batch,
    /// Something is missing here: [`Source::missing`].
    Missing,
    /// Nothing of the venue; there is more.
    Other,
    /// There is no more for now.
    End,
}

pub(super) struct Source {
    venue: Venue,
    reader: Reader,
    /// Of the batch taken last.
    pub(super) header: BatchHeader,
    body: Vec<u64>,
    pub(super) missing: Vec<MissingRange>,
}

impl Source {
    /// `None` when there is no journal, or nothing of the venue in it.
    pub(super) fn open(folder: &Path, venue: Venue, from: PastFrom) -> Result<Option<Source>, HistoryError> {
        let Some(watermark) = Watermark::read(folder)? else { return Ok(None) };
        if watermark.positions(Level::Written).get(venue).is_none() {
            return Ok(None);
        }
        let from = match from {
            PastFrom::Oldest => journal::From::Sequence(venue, Envelope { epoch: 0, sequence: 0 }),
            PastFrom::Time(ns) => journal::From::Time(UnixNanos(ns)),
            PastFrom::Record(point) => at(venue, point),
        };
        Ok(Some(Source {
            venue,
            reader: Reader::open(folder, from, Level::Written)?,
            header: BatchHeader::new_zeroed(),
            body: Vec::new(),
            missing: Vec::new(),
        }))
    }

    /// The batch that is taken next is the first with this record or a later one.
    pub(super) fn stand_at(&mut self, folder: &Path, point: Point) -> Result<(), HistoryError> {
        self.reader = Reader::open(folder, at(self.venue, point), Level::Written)?;
        Ok(())
    }

    pub(super) fn take(&mut self) -> Result<Taken, HistoryError> {
        for _ in 0..PASSED_OVER_MAX {
            match self.reader.next()? {
                Item::Batch(batch) if batch.header.venue == self.venue.code() => {
                    self.header = batch.header;
                    self.body.clear();
                    self.body.extend_from_slice(batch.body);
                    return Ok(Taken::Batch);
                }
                Item::Batch(_) => {}
                Item::Missing(missing) => {
                    self.missing = missing.ranges;
                    return Ok(Taken::Missing);
                }
                Item::End => return Ok(Taken::End),
            }
        }
        Ok(Taken::Other)
    }

    /// The records of the batch taken last.
    pub(super) fn each(&self, f: impl FnMut(Envelope, &[u64])) -> Result<(), HistoryError> {
        Ok(self.header.open(&self.body, f)?)
    }
}

fn at(venue: Venue, Point { epoch, sequence }: Point) -> journal::From {
    journal::From::Sequence(venue, Envelope { epoch, sequence })
}
