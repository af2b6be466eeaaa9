//! Looks after a venue's folder: compresses files that are whole, keeps `index.json`, and deletes the oldest files when
//! there are more bytes or days than are to be kept. Only what was compressed and checked is ever deleted.

use crate::{
    CaptureError,
    index::Index,
    names::{self, PACKED, PLAIN},
    reader::FileReader,
    scribe,
    seal::{self, Census, UNFINISHED, seal},
    tap::{Keep, Shared},
};
use model::{UnixNanos, Venue};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

/// Between two looks at what is too much.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// The thread's niceness: compression can wait for everything else.
const NICE: i32 = 10;

/// Keeps one venue's folder.
pub(crate) struct Housekeeper {
    folder: PathBuf,
    venue: Venue,
    keep: Keep,
    level: i32,
    shared: Arc<Shared>,
    /// Said already: there is nothing left to delete.
    helpless: bool,
}

impl Housekeeper {
    pub fn new(folder: &Path, venue: Venue, keep: Keep, level: i32, shared: Arc<Shared>) -> Housekeeper {
        Housekeeper { folder: folder.to_owned(), venue, keep, level, shared, helpless: false }
    }

    /// Works off finished files until there are no more senders.
    pub fn run(mut self, finished: &Receiver<PathBuf>) {
        // A thread that may not be nicer does its work all the same.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        loop {
            match finished.recv_timeout(LOOK_EVERY) {
                Ok(path) => self.told(|house| house.take(&path)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let now = UnixNanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
            self.told(|house| house.tidy(now));
        }
    }

    fn told(&mut self, work: impl FnOnce(&mut Housekeeper) -> Result<(), CaptureError>) {
        if let Err(e) = work(self) {
            tracing::error!(venue = %self.venue, "captures are not looked after: {e}; it is tried again");
        }
    }

    /// Sees that a file is compressed, checked and in the index.
    fn take(&mut self, path: &Path) -> Result<(), CaptureError> {
        let mut index = Index::read(&self.folder, self.venue.name());
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let info = if name.ends_with(PACKED) {
            // Left by a crash between the plain file's end and the index.
            let plain = path.with_extension("");
            if plain.exists() {
                fs::remove_file(&plain).map_err(CaptureError::io(&plain))?;
            }
            if index.file(&name).is_some() {
                return Ok(());
            }
            look_through(path)?
        } else {
            seal(path, self.level)?
        };
        tracing::info!(
            venue = %self.venue, file = info.name, entries = info.entries, bytes = info.bytes,
            stored_bytes = info.stored_bytes, "captured and compressed"
        );
        index.put(info);
        index.write(&self.folder)
    }

    /// Deletes what is too much.
    pub fn tidy(&mut self, now: UnixNanos) -> Result<(), CaptureError> {
        let mut index = Index::read(&self.folder, self.venue.name());
        let mut used = used(&self.folder)?;
        let before = index.deleted;
        while let Some(oldest) = index.files.first() {
            let full = self.keep.bytes.is_some_and(|most| used > most);
            let aged = self.keep.age.is_some_and(|age| now.since(UnixNanos(oldest.last)) > age);
            if !full && !aged {
                break;
            }
            let path = self.folder.join(&oldest.name);
            match fs::remove_file(&path) {
                Ok(()) => {
                    tracing::warn!(
                        venue = %self.venue, file = oldest.name, bytes = oldest.stored_bytes, last = oldest.last,
                        "a capture was deleted: {}", if full { "the disk budget is spent" } else { "it is old enough" }
                    );
                    index.deleted.files += 1;
                    index.deleted.bytes += oldest.stored_bytes;
                    index.deleted.until = index.deleted.until.max(oldest.last);
                    self.shared.deleted.fetch_add(1, Ordering::Relaxed);
                }
                // Somebody else did; it is no more to be kept account of.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(CaptureError::io(&path)(e)),
            }
            used = used.saturating_sub(oldest.stored_bytes);
            index.files.remove(0);
        }
        if index.deleted != before {
            index.write(&self.folder)?;
        }
        let over = self.keep.bytes.is_some_and(|most| used > most);
        if over && !std::mem::replace(&mut self.helpless, over) {
            tracing::error!(
                venue = %self.venue, used, "captures need more than capture.keep_bytes and none of them can be deleted: \
                 the newest are not compressed yet"
            );
        }
        self.helpless &= over;
        Ok(())
    }
}

/// Bytes of a folder's files.
fn used(folder: &Path) -> Result<u64, CaptureError> {
    let entries = fs::read_dir(folder).map_err(CaptureError::io(folder))?;
    // A file that vanishes meanwhile needs no room.
    Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum())
}

/// What a file holds, plain or compressed, by reading all of it. Without places to begin at.
pub fn look_through(path: &Path) -> Result<crate::FileInfo, CaptureError> {
    let mut reader = FileReader::open(path)?;
    let mut census = Census::new(path, &reader);
    while let Some(found) = reader.advance()? {
        census.take(&found, reader.body());
    }
    let mut info = census.info;
    info.bytes = reader.offset();
    info.stored_bytes = fs::metadata(path).map_err(CaptureError::io(path))?.len();
    info.sha256 = seal::stored_digest(path)?;
    info.content_sha256 =
        if path.extension().is_some_and(|e| e == "zst") { seal::unpacked_digest(path)? } else { info.sha256.clone() };
    Ok(info)
}

/// Compresses and indexes all files of a venue's folder that are whole, and deletes what is too much; how many were
/// compressed. An error where another process writes there.
pub fn keep_house(folder: &Path, venue: Venue, keep: Keep, level: i32, now: UnixNanos) -> Result<u64, CaptureError> {
    let _lock = scribe::lock(folder).map_err(CaptureError::io(folder))?;
    let mut house = Housekeeper::new(folder, venue, keep, level, Arc::default());
    for entry in fs::read_dir(folder).map_err(CaptureError::io(folder))?.flatten() {
        if entry.path().to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(entry.path()).map_err(CaptureError::io(&entry.path()))?;
        }
    }
    let mut sealed = 0;
    for path in names::files(folder)? {
        sealed += u64::from(path.to_string_lossy().ends_with(PLAIN));
        house.take(&path)?;
    }
    house.tidy(now)?;
    Ok(sealed)
}
