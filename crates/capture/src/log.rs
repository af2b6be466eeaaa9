//! Puts entries into the files they belong in: numbers and checksums them, begins a new file when the hour or the size
//! says so. Every failure leaves the state as it was, so that the very same bytes can be tried again.

use crate::{
    disk::{Disk, DiskFile},
    format::{Direction, ENTRY_HEAD, EntryHead, FileHead, Kind, finish, push_entry},
    names::Place,
    redact::Keys,
    run::Run,
};
use model::{UnixNanos, Venue};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The most files an hour may have: a feed that is restarted every second makes fewer.
const PARTS_MAX: u32 = 10_000;

/// Entries on their way to a file, and how many bytes of them have arrived.
#[derive(Default)]
pub(crate) struct Chunk {
    pub bytes: Vec<u8>,
    pub done: usize,
}

/// The files of a venue being written, one after the other.
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    venue: Venue,
    run: Run,
    keys: Keys,
    piece_bytes: u64,
    current: Option<Open>,
    /// Files that are whole now.
    finished: Vec<PathBuf>,
}

struct Open {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    place: Place,
    length: u64,
    number: u32,
}

impl Log {
    /// Files of `folder` (the venue's own), of a new run. Opens nothing yet.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path, venue: Venue, run: Run, keys: Keys, piece_bytes: u64) -> Log {
        let folder = folder.to_owned();
        Log { disk, folder, venue, run, keys, piece_bytes, current: None, finished: vec![] }
    }

    /// Files that were finished since this was asked last.
    pub fn take_finished(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.finished)
    }

    /// Writes what is left of a chunk. After an error the same chunk may be tried again: nothing is written twice.
    pub fn append(&mut self, chunk: &mut Chunk) -> io::Result<()> {
        while chunk.done < chunk.bytes.len() {
            let (first, _) = entry_at(&chunk.bytes, chunk.done);
            self.have_room(first.time)?;
            let open = self.current.as_mut().expect("a file was opened");
            let (mut end, mut number) = (chunk.done, open.number);
            while end < chunk.bytes.len() {
                let (head, next) = entry_at(&chunk.bytes, end);
                let fits = open.length + (end - chunk.done) as u64 <= self.piece_bytes;
                if end > chunk.done && (!fits || Place::at(head.time).hour > open.place.hour) {
                    break;
                }
                let entry = &mut chunk.bytes[end..next];
                if !self.keys.is_empty() {
                    self.keys.blot(&mut entry[ENTRY_HEAD..], head.direction == Direction::In);
                }
                finish(entry, number);
                number = number.wrapping_add(1);
                end = next;
            }
            open.file.write_all_at(&chunk.bytes[chunk.done..end], open.length)?;
            open.length += (end - chunk.done) as u64;
            open.number = number;
            chunk.done = end;
        }
        Ok(())
    }

    /// Makes what was written survive a loss of power.
    pub fn sync(&mut self) -> io::Result<()> {
        self.current.as_mut().map_or(Ok(()), |open| open.file.sync())
    }

    /// Ends the file being written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.sync()?;
        self.finished.extend(self.current.take().map(|open| open.path));
        Ok(())
    }

    /// Sees that there is a file for an entry of this time. Time never leads back to an earlier file: the order of
    /// entries is what a replay needs.
    fn have_room(&mut self, time: UnixNanos) -> io::Result<()> {
        let place = Place::at(time);
        if let Some(open) = &self.current {
            if open.place.hour >= place.hour && open.length <= self.piece_bytes {
                return Ok(());
            }
            self.finish()?;
        }
        self.current = Some(self.begin(place, time)?);
        self.run.piece += 1;
        Ok(())
    }

    fn begin(&self, place: Place, time: UnixNanos) -> io::Result<Open> {
        let mut bytes = FileHead { venue: self.venue, created: time, run: self.run.epoch }.to_bytes().to_vec();
        let begin = bytes.len();
        let head = EntryHead {
            time,
            monotonic: 0,
            length: 0,
            number: 0,
            connection: 0,
            kind: Kind::Run,
            direction: Direction::Own,
        };
        let run = serde_json::to_vec(&self.run).map_err(io::Error::other)?;
        push_entry(&mut bytes, head, |body| body.extend_from_slice(&run));
        finish(&mut bytes[begin..], 0);
        for part in place.part..PARTS_MAX {
            let place = Place { part, ..place };
            let path = self.folder.join(place.plain());
            // The part's number is taken, whatever became of the file.
            if crate::names::packed(&path).exists() {
                continue;
            }
            match self.disk.create(&path) {
                Ok(mut file) => {
                    if let Err(e) = file.write_all_at(&bytes, 0) {
                        // An empty file would stand in the way of the next attempt and mean nothing.
                        let _ = std::fs::remove_file(&path);
                        return Err(e);
                    }
                    return Ok(Open { file, path, place, length: bytes.len() as u64, number: 1 });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other(format!("the hour {} has {PARTS_MAX} files already", place.stem())))
    }
}

/// The head of the entry at a place of a chunk, and where it ends.
fn entry_at(bytes: &[u8], at: usize) -> (EntryHead, usize) {
    let head = bytes[at..].first_chunk().and_then(EntryHead::read).expect("a chunk holds whole entries of ours");
    (head, at + head.size())
}
