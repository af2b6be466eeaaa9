//! The rings of a directory as a consumer sees them: found by name, followed when they are replaced, each with the
//! index that joiners need. A ring's name is its venue's; others are left alone.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::ask;
use crate::cursor::RingCursor;
use crate::index::RingIndex;
use model::Venue;
use ring::{Directory, Reader, RingError};

/// How often the directory is looked through: a new ring also rings the doorbell, but need not be seen sooner.
pub(crate) const RESCAN_EVERY: Duration = Duration::from_millis(200);

/// One ring.
pub(crate) struct Ring {
    pub(crate) venue: Venue,
    pub(crate) index: RingIndex,
    /// Counts the files the name has led to; positions of different files have nothing in common.
    pub(crate) mapping: u64,
}

/// All rings of a directory. A ring once found keeps its place in the list.
pub(crate) struct Rings {
    directory: Directory,
    list: Vec<Ring>,
    rescan_at: Option<Instant>,
}

impl Rings {
    pub(crate) fn open(path: &Path) -> Result<Rings, RingError> {
        let mut rings = Rings { directory: Directory::open(path)?, list: Vec::new(), rescan_at: None };
        rings.rescan()?;
        Ok(rings)
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn list(&self) -> &[Ring] {
        &self.list
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> &mut Ring {
        &mut self.list[at]
    }

    pub(crate) fn list_mut(&mut self) -> &mut [Ring] {
        &mut self.list
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Looks through the directory when it is time to. True when it was: rings may have been added or replaced.
    pub(crate) fn refresh(&mut self, now: Instant) -> Result<bool, RingError> {
        if self.rescan_at.is_some_and(|at| now < at) {
            return Ok(false);
        }
        self.rescan_at = Some(now + RESCAN_EVERY);
        self.rescan()?;
        Ok(true)
    }

    fn rescan(&mut self) -> Result<(), RingError> {
        for name in self.directory.rings()? {
            let Ok(venue) = name.parse::<Venue>() else { continue };
            match self.list.iter().position(|ring| ring.venue == venue) {
                Some(at) => self.replace_if_moved(at),
                None => match Reader::open(&self.directory, &name) {
                    Ok(reader) => self.list.push(Ring { venue, index: RingIndex::new(reader), mapping: 0 }),
                    Err(error) => tracing::warn!(ring = name, %error, "ring left out until it can be opened"),
                },
            }
        }
        Ok(())
    }

    /// Opens a ring's successor, if its name leads to another file now.
    pub(crate) fn replace_if_moved(&mut self, at: usize) {
        let ring = &mut self.list[at];
        let successor = match ring.index.reader().is_current(&self.directory) {
            Ok(true) => return,
            Ok(false) => Reader::open(&self.directory, ring.venue.name()),
            Err(error) => Err(error),
        };
        match successor {
            Ok(reader) => {
                ring.index = RingIndex::new(reader);
                ring.mapping += 1;
            }
            // Removed and not there again yet.
            Err(RingError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(ring = ring.venue.name(), %error, "successor of the ring cannot be opened"),
        }
    }

    /// Takes a cursor that has read its file to the end into the ring's next file, if there is one.
    pub(crate) fn move_on(&mut self, at: usize, cursor: &mut RingCursor, mapping: &mut u64) -> Result<(), RingError> {
        if self.list[at].mapping == *mapping {
            self.replace_if_moved(at);
        }
        let ring = &mut self.list[at];
        if ring.mapping != *mapping {
            *mapping = ring.mapping;
            cursor.adopt(&mut ring.index)?;
        }
        Ok(())
    }

    /// Asks a cursor's feed for the books it wants told anew. Says so where they were asked for and cannot be had.
    #[cold]
    pub(crate) fn pass_on(&self, cursor: &mut RingCursor) -> Option<String> {
        let (symbols, fresh) = cursor.take_asks();
        let venue = cursor.venue();
        let error = ask::snapshots(self.directory.path(), venue, &symbols).err()?;
        tracing::debug!(%venue, %error, books = symbols.len(), "the feed cannot be asked for snapshots");
        fresh.then(|| format!("{venue}: its feed cannot be asked for fresh books ({error}); they come in their turn"))
    }

    /// Those of `symbols` that no ring of a wanted venue defines (yet).
    pub(crate) fn unknown_symbols(&self, symbols: &[String], wants: impl Fn(Venue) -> bool) -> Vec<String> {
        let known = |symbol: &String| self.list.iter().any(|ring| wants(ring.venue) && ring.index.knows(symbol));
        symbols.iter().filter(|symbol| !known(symbol)).cloned().collect()
    }
}
