//! A lane that stands in the past: what the librarian has for it is sent until the ring takes over.

use std::time::{Duration, Instant};

use super::encode::Lane;
use super::librarian::{Librarian, News, Order, Piece, Reading};
use crate::history::Found;
use crate::index::RingIndex;
use crate::subscription::Subscription;
use ring::RingError;

/// How long the journal may have nothing more while the ring does not hold what comes next either: a recorder that is
/// behind catches up in that time, and one that is not there any more never does.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a lane keeps while its cursor stands in the past.
#[derive(Default)]
pub(super) struct PastLane {
    reading: Option<Reading>,
    /// The first record owed is known.
    begun: bool,
    stuck_since: Option<Instant>,
}

impl Lane {
    /// Whether the first record owed is not known yet.
    pub(super) fn is_undecided(&self) -> bool {
        self.cursor.past().is_some() && !self.past.begun
    }

    /// Whether there is anything to do for it.
    pub(super) fn has_work(&self) -> bool {
        match self.cursor.past() {
            None => self.cursor.has_work(),
            Some(_) => self.past.reading.as_ref().is_none_or(Reading::is_ready),
        }
    }

    /// Asks for what comes next in the past, and takes what there is. Bytes to be sent, and records owed among them;
    /// `None` when there is nothing yet. `holds`: nothing may be sent now.
    pub(super) fn step_past(
        &mut self,
        librarian: &Librarian,
        subscription: &Subscription,
        index: &mut RingIndex,
        holds: bool,
    ) -> Result<Option<(Vec<u8>, usize)>, RingError> {
        let Some(from) = self.cursor.past() else { return Ok(None) };
        if self.past.reading.is_none() {
            let (venue, stretch) = (self.cursor.venue(), index.reader().capacity());
            let subscription = subscription.clone();
            self.past = PastLane::default();
            self.past.reading = Some(librarian.order(Order { venue, from, subscription, stretch }));
        }
        if holds && self.past.begun {
            return Ok(None);
        }
        match self.past.reading.as_ref().and_then(Reading::next) {
            None => Ok(None),
            Some(News::Found(found)) => self.on_found(found, index).map(|()| Some((Vec::new(), 0))),
            Some(News::Piece(piece)) => self.on_piece(piece, index).map(Some),
            Some(News::Failed(why)) => {
                tracing::warn!(venue = %self.cursor.venue(), why, "journal cannot be read; the ring must do");
                self.leave_past(index).map(|()| Some((Vec::new(), 0)))
            }
        }
    }

    fn on_found(&mut self, found: Option<Found>, index: &mut RingIndex) -> Result<(), RingError> {
        let oldest = self.cursor.oldest_held()?;
        let reaches = found.zip(self.cursor.past()).filter(|(found, from)| found.reaches_back(*from, oldest));
        let Some((found, _)) = reaches else { return self.leave_past(index) };
        self.cursor.was_told_until(found.owed);
        self.reported = found.owed;
        self.past.begun = true;
        Ok(())
    }

    fn on_piece(&mut self, piece: Piece, index: &mut RingIndex) -> Result<(Vec<u8>, usize), RingError> {
        self.cursor.was_told_until(piece.owed);
        self.reported = piece.owed;
        self.sent |= !piece.bytes.is_empty();
        if self.cursor.go_on(piece.at_end)? {
            self.past = PastLane::default();
        } else if !piece.at_end || !piece.bytes.is_empty() {
            self.past.stuck_since = None;
        } else if self.past.stuck_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            self.leave_past(index)?;
        }
        Ok((piece.bytes, piece.told))
    }

    /// What the journal does not have is lost, unless the ring has it.
    fn leave_past(&mut self, index: &mut RingIndex) -> Result<(), RingError> {
        self.past = PastLane::default();
        if let Some(warning) = self.cursor.forgo_past(index)? {
            tracing::warn!(venue = %self.cursor.venue(), warning);
        }
        self.reported = self.cursor.owed();
        Ok(())
    }
}
