//! A replay into rings of its own, to be read like live ones and never to be taken for them.
//!
//! The rings lie in a folder that holds nothing else, with a file that says what it is; a folder with rings that no
//! replay wrote is refused. A take is a run of its own under a new epoch, and records are numbered anew: names are of
//! the site `replay:…`. Without a filter, and from a run's beginning, the sequences are those that were recorded.

use super::{Sink, Take};
use crate::mark::{Start, session_start};
use crate::{ReplayError, Told};
use model::{UnixNanos, Venue};
use ring::{Directory, Reader, Writer, WriterOptions};
use std::path::{Path, PathBuf};
use wire::{HeartbeatRecord, Record, RecordBuf, RecordType};

/// The file that says that a folder's rings are a replay's.
pub const MARKER: &str = "REPLAY";

/// Where rings go and how large they are.
#[derive(Clone, Debug)]
pub struct RingsOptions {
    /// The folder.
    pub folder: PathBuf,
    /// Slots of 64 bytes in each ring, a power of two.
    pub slots: u64,
    /// What the marker says: for people and for `status`.
    pub about: String,
}

/// Rings of a replay.
pub struct Rings {
    options: RingsOptions,
    directory: Directory,
    /// By venue's code.
    writers: Vec<Option<Writer>>,
    /// A session start was pushed in this take.
    begun: [bool; 64],
}

/// Whether the rings of a folder are a replay's.
pub fn is_replay_folder(folder: &Path) -> bool {
    folder.join(MARKER).exists()
}

impl Rings {
    /// Claims a folder. The marker is there before the first ring is.
    pub fn open(options: RingsOptions) -> Result<Rings, ReplayError> {
        let folder = &options.folder;
        let has_rings = folder.is_dir() && !Directory::open(folder)?.rings()?.is_empty();
        if has_rings && !is_replay_folder(folder) {
            return Err(ReplayError::LiveRings { path: folder.clone() });
        }
        let directory = Directory::open(folder)?;
        let marker = folder.join(MARKER);
        std::fs::write(&marker, &options.about).map_err(ReplayError::io("write", &marker))?;
        Ok(Rings { directory, options, writers: (0..64).map(|_| None).collect(), begun: [false; 64] })
    }

    /// A run's epoch: greater than all the ring had, and like a feed's about the time it began.
    fn open_writer(&mut self, venue: Venue, wall: UnixNanos) -> Result<(), ReplayError> {
        // The ring is given up before it is taken again.
        self.writers[place(venue)] = None;
        let newest = match Reader::open(&self.directory, venue.name()) {
            Ok(reader) => reader.epochs()?.last().map(|epoch| epoch.epoch),
            Err(_) => None,
        };
        let epoch = newest.map_or(0, |epoch| epoch + 1).max(wall.0 / 1_000_000_000);
        let options = WriterOptions { slots: self.options.slots, epoch };
        self.writers[place(venue)] = Some(Writer::open(&self.directory, venue.name(), options)?);
        self.begun[place(venue)] = false;
        Ok(())
    }
}

fn place(venue: Venue) -> usize {
    usize::from(venue.code()) % 64
}

/// A take's first session start, under the ring's own epoch.
fn renamed(venue: Venue, epoch: u64, words: &[u64]) -> Option<RecordBuf> {
    let Ok(Record::SessionStart(view)) = Record::read(words) else { return None };
    let pid = u32::try_from(view.head.pid).unwrap_or(u32::MAX);
    let start = Start { epoch, pid, site: view.site, build: view.build };
    Some(session_start(venue, &start, UnixNanos(view.head.ts_recv)))
}

impl Sink for Rings {
    fn begin(&mut self, take: &Take) -> Result<(), ReplayError> {
        take.venues.iter().try_for_each(|venue| self.open_writer(*venue, take.wall))
    }

    #[inline]
    fn tell(&mut self, told: &Told<'_>) -> Result<(), ReplayError> {
        let at = place(told.venue);
        let Some(writer) = &mut self.writers[at] else { return Ok(()) };
        let kind = told.words.first().map_or(0, |head| *head as u8);
        if kind == RecordType::Heartbeat as u8 {
            let next = writer.next_sequence() + 1;
            let beat = HeartbeatRecord::new(told.venue, next, UnixNanos(told.words.get(2).copied().unwrap_or(0)));
            writer.push(beat.as_words());
            return Ok(());
        }
        if kind == RecordType::SessionStart as u8 && !std::mem::replace(&mut self.begun[at], true) {
            let start = renamed(told.venue, writer.epoch(), told.words);
            writer.push(start.as_ref().map_or(told.words, RecordBuf::words));
            return Ok(());
        }
        writer.push(told.words);
        Ok(())
    }

    #[inline]
    fn event(&mut self, _time: UnixNanos, wall: UnixNanos) -> Result<(), ReplayError> {
        self.writers.iter_mut().flatten().for_each(|writer| writer.publish(wall.0));
        Ok(())
    }

    fn end(&mut self) -> Result<(), ReplayError> {
        self.writers.iter_mut().for_each(|writer| *writer = None);
        Ok(())
    }
}
