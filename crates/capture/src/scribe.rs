//! The thread that writes what the feed handed over, and tries again until the disk takes it.

use crate::{
    house::Housekeeper,
    log::{Chunk, Log},
    names,
    redact::Keys,
    run::Run,
    tap::{Options, SPARE_BYTES_MAX, Shared},
};
use model::Venue;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender, SyncSender, channel},
    },
    time::Duration,
};

/// Between two attempts on a disk that refuses.
pub(crate) const RETRY: Duration = Duration::from_millis(250);

/// Writes a venue's capture.
pub(crate) struct Scribe {
    log: Log,
    folder: PathBuf,
    venue: Venue,
    shared: Arc<Shared>,
    /// Held while this process writes the folder.
    lock: Option<File>,
    house: Option<Housekeeper>,
    finished: Option<Sender<PathBuf>>,
}

impl Scribe {
    pub fn new(options: &Options, venue: Venue, run: Run, keys: Keys, shared: Arc<Shared>) -> Scribe {
        let folder = options.folder.join(venue.name());
        let log = Log::new(options.disk.clone(), &folder, venue, run, keys, options.piece());
        let house =
            options.keeps_house.then(|| Housekeeper::new(&folder, venue, options.keep, options.level, shared.clone()));
        Scribe { log, folder, venue, shared, lock: None, house, finished: None }
    }

    /// Writes chunks until there are no more.
    pub fn run(mut self, chunks: &Receiver<Chunk>, give_back: &SyncSender<Vec<u8>>) {
        while let Ok(mut chunk) = chunks.recv() {
            let bytes = chunk.bytes.len() as u64;
            if !self.write(&mut chunk) {
                return self.give_up();
            }
            self.shared.written.fetch_add(bytes, Ordering::Relaxed);
            self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
            if chunk.bytes.capacity() <= SPARE_BYTES_MAX {
                chunk.bytes.clear();
                // The feed has enough spare ones, or has ended.
                let _ = give_back.try_send(chunk.bytes);
            }
            self.tell_finished();
        }
        if let Err(e) = self.log.sync() {
            tracing::error!(venue = %self.venue, "the end of the capture may not survive a loss of power: {e}");
        }
    }

    /// Writes a chunk; `false` when nobody waits for it any more.
    fn write(&mut self, chunk: &mut Chunk) -> bool {
        let mut told: Option<io::ErrorKind> = None;
        loop {
            match self.take_folder().and_then(|()| self.log.append(chunk)) {
                Ok(()) => {
                    if told.is_some() {
                        tracing::warn!(venue = %self.venue, "the capture's disk takes entries again");
                        self.shared.troubled.store(false, Ordering::Relaxed);
                    }
                    return true;
                }
                // Said once, not at every attempt.
                Err(e) if told == Some(e.kind()) => {}
                Err(e) => {
                    told = Some(e.kind());
                    self.shared.troubled.store(true, Ordering::Relaxed);
                    tracing::error!(venue = %self.venue, "{}", sentence(&self.folder, &e));
                }
            }
            self.tell_finished();
            if self.shared.closing.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(RETRY);
        }
    }

    fn give_up(&self) {
        tracing::error!(
            venue = %self.venue,
            "the capture ends and its disk still refuses: {} bytes that waited for it are lost",
            self.shared.waiting.load(Ordering::Relaxed)
        );
    }

    /// Sees that no other process writes this folder, and that what an earlier one left is looked after.
    fn take_folder(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        self.lock = Some(lock(&self.folder)?);
        let Some(house) = self.house.take() else { return Ok(()) };
        let (finished, work) = channel();
        let left = names::files(&self.folder).unwrap_or_default();
        for path in left {
            // The receiver is just below.
            let _ = finished.send(path);
        }
        let name = format!("capture-keep-{}", self.venue);
        match std::thread::Builder::new().name(name).spawn(move || house.run(&work)) {
            Ok(_) => self.finished = Some(finished),
            Err(e) => {
                tracing::error!(venue = %self.venue, "captures are neither compressed nor deleted: no thread: {e}")
            }
        }
        Ok(())
    }

    fn tell_finished(&mut self) {
        for path in self.log.take_finished() {
            if let Some(house) = &self.finished {
                // A housekeeper that died has said so; the next run finds the file.
                let _ = house.send(path);
            }
        }
    }
}

/// Takes a venue's folder for this process; another one that has it is an error.
pub(crate) fn lock(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process writes captures there"))
        }
        Err(e) => Err(e.into()),
    }
}

/// One sentence on what is wrong and what follows.
fn sentence(folder: &Path, error: &io::Error) -> String {
    let folder = folder.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "the disk of {folder} is full: the capture waits for space, market data goes on; free some, or set \
             capture.keep_bytes lower"
        ),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => format!(
            "{folder} cannot be written ({error}): the capture waits, market data goes on; make it writable, or set \
             capture.path elsewhere"
        ),
        _ => format!("{folder}: {error}: the capture waits, market data goes on"),
    }
}
