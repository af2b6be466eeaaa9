//! How far each venue's stream has come: the last (epoch, sequence) by venue, as watermark, checkpoint, segment headers
//! and cursors carry it.

use model::Venue;
use std::fmt;
use wire::batch::{BatchHeader, OUT_OF_BAND};
use wire::{Envelope, Record};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most venues a page of the journal has room for.
pub(crate) const VENUES_MAX: usize = 64;

/// One venue's position in a page on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Mark {
    /// The venue's code.
    pub venue: u64,
    pub epoch: u64,
    pub sequence: u64,
}

/// The last (epoch, sequence) of each venue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<(u8, Envelope)>);

impl Positions {
    /// A venue's last (epoch, sequence); `None` before its first record.
    pub fn get(&self, venue: Venue) -> Option<Envelope> {
        self.of(venue.code())
    }

    /// Every venue that has a position, in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (Venue, Envelope)> + '_ {
        self.0.iter().filter_map(|&(code, at)| Some((Venue::from_code(code)?, at)))
    }

    /// Whether no venue has come anywhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves a venue forward; never back.
    pub fn raise(&mut self, venue: Venue, to: Envelope) {
        self.raise_code(venue.code(), to);
    }

    pub(crate) fn of(&self, code: u8) -> Option<Envelope> {
        self.0.iter().find(|(c, _)| *c == code).map(|(_, at)| *at)
    }

    pub(crate) fn codes(&self) -> impl Iterator<Item = (u8, Envelope)> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn raise_code(&mut self, code: u8, to: Envelope) {
        match self.0.iter_mut().find(|(c, _)| *c == code) {
            Some((_, at)) => *at = (*at).max(to),
            None => {
                let place = self.0.partition_point(|(c, _)| *c < code);
                self.0.insert(place, (code, to));
            }
        }
    }

    /// Takes a whole batch in: its own last sequence, or the ends of the overruns it tells.
    pub(crate) fn note(&mut self, header: &BatchHeader, body: &[u64]) {
        if header.flags & OUT_OF_BAND == 0 {
            if header.count > 0 {
                self.raise_code(header.venue, Envelope { epoch: header.epoch, sequence: header.scan_last });
            }
            return;
        }
        let mut rest = body;
        while let Some(&head) = rest.first() {
            let words = ((head >> 8 & 0xff) as usize).clamp(1, rest.len());
            if let Ok(Record::Overrun(lost)) = Record::read(&rest[..words])
                && let (Some(venue), true) = (lost.header.venue(), lost.last != 0)
            {
                self.raise(venue, Envelope { epoch: lost.epoch, sequence: lost.last });
            }
            rest = &rest[words..];
        }
    }

    pub(crate) fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.0.iter().map(|&(venue, at)| Mark { venue: venue.into(), epoch: at.epoch, sequence: at.sequence })
    }

    pub(crate) fn from_marks(marks: &[Mark]) -> Positions {
        let mut positions = Positions::default();
        for mark in marks {
            positions.raise_code(mark.venue as u8, Envelope { epoch: mark.epoch, sequence: mark.sequence });
        }
        positions
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (venue, at)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{venue} {}/{}", at.epoch, at.sequence)?;
        }
        Ok(())
    }
}
