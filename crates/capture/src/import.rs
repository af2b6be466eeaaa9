//! Writes captures from recordings: what a feed would have captured, had it been there. Waits for the disk, unlike a
//! feed's tap, and fails when it fails.

use crate::{
    CaptureError,
    format::{Direction, EntryHead, Kind, push_entry},
    inputs,
    log::{Chunk, Log},
    redact::Keys,
    run::Run,
    scribe,
    tap::Options,
};
use model::{UnixNanos, Venue};
use std::{fs::File, path::PathBuf};
use venues::Input;

/// Bytes written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A capture being made of a recording.
pub struct Recording {
    log: Log,
    chunk: Chunk,
    folder: PathBuf,
    files: Vec<PathBuf>,
    /// Held while this process writes the folder.
    _lock: File,
}

impl Recording {
    /// Begins one; an error where another process writes captures of the venue.
    pub fn begin(options: &Options, venue: Venue, run: Run) -> Result<Recording, CaptureError> {
        let folder = options.folder.join(venue.name());
        let lock = scribe::lock(&folder).map_err(CaptureError::io(&folder))?;
        let log = Log::new(options.disk.clone(), &folder, venue, run, Keys::default(), options.piece());
        Ok(Recording { log, chunk: Chunk::default(), folder, files: vec![], _lock: lock })
    }

    /// Takes in an input.
    pub fn input(&mut self, line: usize, input: &Input<'_>, now: UnixNanos) -> Result<(), CaptureError> {
        let direction = match input {
            Input::Frame(_) | Input::Response(..) => Direction::In,
            _ => Direction::Own,
        };
        let (head, mut kind) = (head(line, Kind::Timer, direction, now), Kind::Timer);
        let begin = self.chunk.bytes.len();
        push_entry(&mut self.chunk.bytes, head, |body| kind = inputs::encode(input, body));
        self.chunk.bytes[begin + crate::format::KIND_AT] = kind as u8;
        self.write(CHUNK_BYTES)
    }

    /// Takes in an entry that is no input.
    pub fn entry(&mut self, kind: Kind, body: &[u8], now: UnixNanos) -> Result<(), CaptureError> {
        let head = head(0, kind, Direction::Own, now);
        push_entry(&mut self.chunk.bytes, head, |to| to.extend_from_slice(body));
        self.write(CHUNK_BYTES)
    }

    /// Ends it; the files it made, in order.
    pub fn end(mut self) -> Result<Vec<PathBuf>, CaptureError> {
        self.write(0)?;
        self.log.finish().map_err(CaptureError::io(&self.folder))?;
        self.files.extend(self.log.take_finished());
        Ok(self.files)
    }

    fn write(&mut self, most: usize) -> Result<(), CaptureError> {
        if self.chunk.bytes.len() > most {
            self.log.append(&mut self.chunk).map_err(CaptureError::io(&self.folder))?;
            self.chunk.bytes.clear();
            self.chunk.done = 0;
            self.files.extend(self.log.take_finished());
        }
        Ok(())
    }
}

fn head(line: usize, kind: Kind, direction: Direction, now: UnixNanos) -> EntryHead {
    EntryHead { time: now, monotonic: 0, length: 0, number: 0, connection: line as u16, kind, direction }
}
