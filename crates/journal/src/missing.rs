//! Names exactly what damage or removal took away: from what stood before, what comes behind, and what the writer
//! says it had written.

use crate::scan::{Found, Window, batch_after, batch_at};
use crate::{Place, Positions};
use model::Venue;
use std::fmt;
use std::io;
use wire::batch::{BatchHeader, OUT_OF_BAND};
use wire::{Envelope, Record};

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The bytes are not what was written.
    Damaged,
    /// Retention removed the segments.
    Removed,
}

/// Records of a venue that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingRange {
    /// The venue.
    pub venue: Venue,
    /// The run of its feed.
    pub epoch: u64,
    /// First sequence missing.
    pub first: u64,
    /// Last sequence missing; `None` when the run may have gone on unseen.
    pub last: Option<u64>,
}

/// A piece of the journal that cannot be read, and what stood in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Why.
    pub why: Why,
    /// Where the piece begins.
    pub from: Place,
    /// Where reading goes on.
    pub to: Place,
    /// What stood in it. Empty when nothing is missing: the bytes held nothing, or all of it was told again.
    pub ranges: Vec<MissingRange>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Damaged => "damaged",
            Why::Removed => "removed",
        };
        write!(f, "{why} from {} to {}:", self.from, self.to)?;
        if self.ranges.is_empty() {
            f.write_str(" no record is missing")?;
        }
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let MissingRange { venue, epoch, first, last } = range;
            match last {
                Some(last) => write!(f, "{comma} {venue} {epoch}/{first}..={last}")?,
                None => write!(f, "{comma} {venue} {epoch}/{first} and perhaps more")?,
            }
        }
        Ok(())
    }
}

/// Each run of sequences that a batch accounts for: its own, or those its overruns tell. `f` gets venue code, epoch,
/// first and last.
fn spans(header: &BatchHeader, body: &[u64], mut f: impl FnMut(u8, u64, u64, u64)) {
    if header.flags & OUT_OF_BAND == 0 {
        if header.count > 0 {
            f(header.venue, header.epoch, header.first, header.scan_last);
        }
        return;
    }
    let mut rest = body;
    while let Some(&head) = rest.first() {
        let words = ((head >> 8 & 0xff) as usize).clamp(1, rest.len());
        if let Ok(Record::Overrun(lost)) = Record::read(&rest[..words])
            && let (Some(venue), true) = (lost.header.venue(), lost.last != 0)
        {
            f(venue.code(), lost.epoch, lost.first, lost.last);
        }
        rest = &rest[words..];
    }
}

/// What lies between a position and the next known one of the same venue, `first` being the next sequence known.
fn between(code: u8, before: Option<Envelope>, epoch: u64, first: u64, ranges: &mut Vec<MissingRange>) {
    let Some(venue) = Venue::from_code(code) else { return };
    let mut push = |epoch, first, last| ranges.push(MissingRange { venue, epoch, first, last });
    match before {
        Some(at) if at.epoch == epoch => {
            if first > at.sequence.saturating_add(1) {
                push(epoch, at.sequence + 1, Some(first - 1));
            }
        }
        before => {
            if let Some(at) = before {
                push(at.epoch, at.sequence.saturating_add(1), None);
            }
            // A run counts from 1.
            if first > 1 {
                push(epoch, 1, Some(first - 1));
            }
        }
    }
}

/// What lies between two sets of positions.
pub(crate) fn between_positions(before: &Positions, after: &Positions) -> Vec<MissingRange> {
    let mut ranges = vec![];
    for (code, at) in after.codes() {
        if before.of(code).is_none_or(|known| known < at) {
            between(code, before.of(code), at.epoch, at.sequence.saturating_add(1), &mut ranges);
        }
    }
    ranges
}

/// What is missing between `before` and the whole batches from `from` to `limit`. `after` is where each venue stood
/// there, where that is known.
///
/// A venue that does not show up again before the next damage is not judged here but there.
pub(crate) fn ranges_of(
    before: &Positions,
    window: &mut Window,
    from: u64,
    limit: u64,
    after: Option<&Positions>,
) -> io::Result<Vec<MissingRange>> {
    let mut ranges = vec![];
    let mut seen: Vec<u8> = vec![];
    let mut at = from;
    while let Found::Batch { header, end } = batch_at(window, at, None, limit)? {
        spans(&header, window.body(at, &header), |code, epoch, first, _| {
            if !seen.contains(&code) {
                seen.push(code);
                // A venue unheard of before may have begun in the damage: what that can have been is told.
                between(code, before.of(code), epoch, first, &mut ranges);
            }
        });
        at = end;
    }
    if let Some(after) = after
        && batch_after(window, at, limit)?.is_none()
    {
        let unseen = between_positions(before, after);
        ranges.extend(unseen.into_iter().filter(|range| !seen.contains(&range.venue.code())));
    }
    Ok(ranges)
}

/// Counts what is missing as told, so that it is told once.
pub(crate) fn raise_by(positions: &mut Positions, ranges: &[MissingRange]) {
    for range in ranges {
        if let Some(last) = range.last {
            positions.raise(range.venue, Envelope { epoch: range.epoch, sequence: last });
        }
    }
}
