//! What a client that reads the rings itself is owed from before their time: read from the journal, on its own time.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Delivery;
use crate::cursor::{Kind, RingCursor};
use crate::history::{Found, HistoryError, Look, Past, PastFrom};
use crate::index::RingIndex;
use crate::subscription::Subscription;
use model::UnixNanos;
use ring::RingError;

/// Looks at the journal per step.
const LOOKS_PER_STEP: usize = 16;
/// Records told per step, about: others have their turn then.
const RECORDS_PER_STEP: usize = 1024;
/// How long the journal's end is left alone before it is looked at again.
const REST: Duration = Duration::from_millis(5);
/// How long the journal may have nothing more while the ring does not hold what comes next either: a recorder that is
/// behind catches up in that time, and one that is not there any more never does.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cursor's way through the journal.
pub(super) struct FollowedPast {
    past: Past,
    rests_until: Option<Instant>,
    stuck_since: Option<Instant>,
}

/// What a step came to, with how many records were told.
pub(super) enum PastStep {
    /// There is more.
    Told(usize),
    /// The ring goes on.
    Over(usize),
}

impl FollowedPast {
    /// Finds the first record owed. `None` when the ring must do: the cursor is placed there then.
    pub(super) fn begin(
        folder: &Path,
        cursor: &mut RingCursor,
        subscription: &Subscription,
        index: &mut RingIndex,
    ) -> Result<Option<FollowedPast>, RingError> {
        let Some(from) = cursor.past() else { return Ok(None) };
        let stretch = index.reader().capacity();
        let opened = match Past::open(folder, cursor.venue(), from, subscription, stretch) {
            Ok(opened) => opened,
            Err(error) => {
                warn(cursor, &error);
                None
            }
        };
        let Some((past, found)) = opened.filter(|(_, found)| reaches_back(from, *found, cursor)) else {
            leave(cursor, index)?;
            return Ok(None);
        };
        cursor.was_told_until(found.owed);
        Ok(Some(FollowedPast { past, rests_until: None, stuck_since: None }))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.rests_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Tells what comes next, and hands over to the ring where that is possible.
    pub(super) fn step(
        &mut self,
        cursor: &mut RingCursor,
        index: &mut RingIndex,
        now: UnixNanos,
        f: &mut impl FnMut(Delivery, &[u64]),
    ) -> Result<PastStep, RingError> {
        let before = self.past.owed();
        let (told, at_end) = match self.tell(cursor, now, f) {
            Ok(told) => told,
            Err(error) => {
                warn(cursor, &error);
                leave(cursor, index)?;
                return Ok(PastStep::Over(0));
            }
        };
        cursor.was_told_until(self.past.owed());
        if cursor.go_on(at_end)? {
            return Ok(PastStep::Over(told));
        }
        self.rests_until = at_end.then(|| Instant::now() + REST);
        if !at_end || self.past.owed() != before {
            self.stuck_since = None;
        } else if self.stuck_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            leave(cursor, index)?;
            return Ok(PastStep::Over(told));
        }
        Ok(PastStep::Told(told))
    }

    fn tell(
        &mut self,
        cursor: &RingCursor,
        now: UnixNanos,
        f: &mut impl FnMut(Delivery, &[u64]),
    ) -> Result<(usize, bool), HistoryError> {
        let venue = cursor.venue();
        let mut told = 0;
        for _ in 0..LOOKS_PER_STEP {
            match self.past.look(now)? {
                Look::End => return Ok((told, true)),
                Look::Nothing => continue,
                Look::Live(_) | Look::CatchUp(_) | Look::OutOfBand(_) => {}
            }
            let published_ns = self.past.published_at();
            self.past.tell(&mut |kind, envelope, words| {
                told += 1;
                f(Delivery { venue, envelope, published_ns, catch_up: kind == Kind::CatchUp }, words);
            })?;
            if told >= RECORDS_PER_STEP {
                break;
            }
        }
        Ok((told, false))
    }
}

/// Whether the journal has more than the ring.
fn reaches_back(from: PastFrom, found: Found, cursor: &RingCursor) -> bool {
    // A ring that cannot be read here says so when the cursor is placed.
    cursor.oldest_held().is_ok_and(|oldest| found.reaches_back(from, oldest))
}

/// What the journal does not have is lost, unless the ring has it.
fn leave(cursor: &mut RingCursor, index: &mut RingIndex) -> Result<(), RingError> {
    if let Some(warning) = cursor.forgo_past(index)? {
        tracing::warn!(venue = %cursor.venue(), warning);
    }
    Ok(())
}

fn warn(cursor: &RingCursor, error: &HistoryError) {
    tracing::warn!(venue = %cursor.venue(), %error, "journal cannot be read; the ring must do");
}
