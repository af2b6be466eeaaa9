//! The feed's side of a capture: copies what goes by into a buffer and hands full buffers to a thread that writes them.
//!
//! The feed never waits. What waits for the disk is bounded; when that is full, entries are counted instead of kept, and
//! the count is written where they would stand. There is no other way to lose one: a write that fails is tried again
//! until the disk takes it.

use crate::{
    disk::{Disk, SystemDisk},
    format::{Direction, ENTRY_HEAD, EntryHead, KIND_AT, Kind, push_entry},
    inputs::{self, Lost, Requested},
    log::Chunk,
    redact::{self, Keys},
    run::{Run, RunLine, RunSettings},
    scribe::{self, Scribe},
};
use model::{UnixNanos, Venue};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use venues::{Credentials, Input, LineShape, Outgoing, RequestId};
use wire::Origin;

/// A buffer of this size is handed over: some hundred frames, so that waking the thread costs nothing per frame.
const CHUNK_BYTES: usize = 256 << 10;
/// A buffer is handed over when its first entry is this old, full or not.
pub const HAND_OVER: Duration = Duration::from_millis(100);
/// Buffers kept for reuse, and the largest that is: a rare large answer must not hold its memory for ever.
const SPARES: usize = 4;
pub(crate) const SPARE_BYTES_MAX: usize = 2 * CHUNK_BYTES;

/// What is kept of a venue's captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of a venue's files; the oldest compressed and checked ones are deleted beyond. `None`: no bound.
    pub bytes: Option<u64>,
    /// Files older than this are deleted. `None`: never for age.
    pub age: Option<Duration>,
}

/// How a capture is written.
#[derive(Clone)]
pub struct Options {
    /// The folder that has a folder for each venue.
    pub folder: PathBuf,
    /// What is kept.
    pub keep: Keep,
    /// A file is ended when it is so long, within the hour too.
    pub piece_bytes: u64,
    /// What may wait for the disk, bytes.
    pub spill_bytes: u64,
    /// zstd's level for files that are whole.
    pub level: i32,
    /// Whether files that are whole are compressed and old ones deleted.
    pub keeps_house: bool,
    /// Where files are made.
    pub disk: Arc<dyn Disk>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Options { folder, keep, piece_bytes, spill_bytes, level, keeps_house, .. } = self;
        write!(f, "Options({folder:?}, {keep:?}, {piece_bytes}, {spill_bytes}, {level}, {keeps_house})")
    }
}

impl Options {
    /// Files of at most 1 GiB in `folder`, 32 MiB of waiting room, all kept.
    pub fn new(folder: impl Into<PathBuf>) -> Options {
        Options {
            folder: folder.into(),
            keep: Keep::default(),
            piece_bytes: 1 << 30,
            spill_bytes: 32 << 20,
            level: 3,
            keeps_house: true,
            disk: Arc::new(SystemDisk),
        }
    }

    /// A file's bound: a quarter of the budget at most, so that there is always something to delete.
    pub(crate) fn piece(&self) -> u64 {
        self.keep.bytes.map_or(self.piece_bytes, |budget| self.piece_bytes.min(budget / 4)).max(1)
    }
}

/// Whose capture it is.
pub struct About<'a> {
    /// The venue.
    pub venue: Venue,
    /// The run's epoch.
    pub epoch: u64,
    /// The machine's configured name.
    pub site: &'a str,
    /// The build.
    pub build: &'a str,
    /// Where the data comes from.
    pub origin: Origin,
    /// The session's lines.
    pub shape: &'a [LineShape],
    /// What the session was told.
    pub settings: RunSettings,
    /// The keys that must not be found in the capture.
    pub credentials: Option<&'a Credentials>,
}

/// The same moment on the run's clock and on the machine's monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    /// The run's clock.
    pub wall: UnixNanos,
    /// The monotonic clock, ns.
    pub monotonic: u64,
}

impl Anchor {
    /// The monotonic clock now, beside a reading of the run's clock that was just taken.
    pub fn now(wall: UnixNanos) -> Anchor {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Anchor { wall, monotonic: now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64 }
    }
}

/// What a capture did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries taken in.
    pub entries: u64,
    /// Their bytes, heads included.
    pub bytes: u64,
    /// Bytes written to files.
    pub written: u64,
    /// Entries that were not kept.
    pub lost: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// Bytes that wait for the disk.
    pub waiting: u64,
    /// Files deleted to keep the budget.
    pub deleted: u64,
    /// Whether the disk refuses or stalls.
    pub troubled: bool,
}

/// What the feed's thread and the writing one share.
#[derive(Default)]
pub(crate) struct Shared {
    pub waiting: AtomicU64,
    pub written: AtomicU64,
    pub deleted: AtomicU64,
    pub troubled: AtomicBool,
    /// Nobody waits for the disk any more.
    pub closing: AtomicBool,
}

/// Takes in what goes by. One per feed, on its thread.
pub struct Tap {
    chunk: Vec<u8>,
    /// When the first entry of the chunk is due for the disk.
    due: Option<UnixNanos>,
    lost: Lost,
    entries: u64,
    bytes: u64,
    lost_entries: u64,
    lost_bytes: u64,
    /// From the run's clock to the monotonic one.
    offset: u64,
    spill_bytes: u64,
    queue: Option<Sender<Chunk>>,
    spare: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    scribe: Option<JoinHandle<()>>,
    ended: Receiver<()>,
    venue: Venue,
    /// Whether the loss under way was said.
    said: bool,
}

impl Tap {
    /// Begins a capture. A disk that refuses is no failure: it is said, and tried again until it takes what waits.
    pub fn open(options: &Options, about: &About<'_>, anchor: Anchor) -> io::Result<Tap> {
        let run = Run {
            venue: about.venue.name().to_owned(),
            epoch: about.epoch,
            piece: 0,
            site: about.site.to_owned(),
            build: about.build.to_owned(),
            simulated: about.origin == Origin::Simulated,
            lines: about.shape.iter().map(|l| RunLine { name: l.name.clone(), group: l.group }).collect(),
            settings: about.settings.clone(),
        };
        let shared = Arc::new(Shared::default());
        let (queue, chunks) = channel();
        let (give_back, spare) = sync_channel(SPARES);
        let (tell, ended) = channel();
        let scribe = Scribe::new(options, about.venue, run, Keys::new(about.credentials), shared.clone());
        let work = move || {
            scribe.run(&chunks, &give_back);
            // The tap may have lost patience already.
            let _ = tell.send(());
        };
        let scribe = std::thread::Builder::new().name(format!("capture-{}", about.venue)).spawn(work)?;
        Ok(Tap {
            chunk: Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2)),
            due: None,
            lost: Lost::default(),
            entries: 0,
            bytes: 0,
            lost_entries: 0,
            lost_bytes: 0,
            offset: anchor.monotonic.wrapping_sub(anchor.wall.0),
            spill_bytes: options.spill_bytes,
            queue: Some(queue),
            spare,
            shared,
            scribe: Some(scribe),
            ended,
            venue: about.venue,
            said: false,
        })
    }

    /// Takes in an input of a line, before it is stepped.
    #[inline]
    pub fn input(&mut self, line: usize, input: &Input<'_>, now: UnixNanos) {
        let direction = match input {
            Input::Frame(_) | Input::Response(..) => Direction::In,
            _ => Direction::Own,
        };
        if let Input::Connecting(url) = input {
            // Where to is told in words too, and an address may carry a secret.
            let clean = redact::url(url);
            return self.push(line, direction, now, |body| inputs::encode(&Input::Connecting(&clean), body));
        }
        self.push(line, direction, now, |body| inputs::encode(input, body));
    }

    /// Takes in a frame as it is sent.
    pub fn sent(&mut self, line: usize, frame: &Outgoing, now: UnixNanos) {
        let clean = redact::frame(frame);
        self.push(line, Direction::Out, now, |body| {
            body.extend_from_slice(&clean);
            Kind::Frame
        });
    }

    /// Takes in a REST request as it is made. Of its headers only the names are kept.
    pub fn requested(
        &mut self,
        line: usize,
        (id, method, url): (RequestId, &str, &str),
        headers: &[(String, String)],
        now: UnixNanos,
    ) {
        let url = redact::url(url);
        let headers = headers.iter().map(|(name, _)| &name[..]).collect();
        self.push(line, Direction::Out, now, |body| {
            Requested { id, method, url: &url, headers }.push(body);
            Kind::Request
        });
    }

    #[inline]
    fn push(&mut self, line: usize, direction: Direction, now: UnixNanos, body: impl FnOnce(&mut Vec<u8>) -> Kind) {
        if self.chunk.len() >= CHUNK_BYTES && !self.pass_on() {
            return self.lose(now, body);
        }
        if self.lost.entries > 0 {
            self.tell_lost(now);
        }
        let begin = self.chunk.len();
        let (head, mut kind) = (self.head(line, direction, now), Kind::Timer);
        push_entry(&mut self.chunk, head, |chunk| kind = body(chunk));
        // What the body is, is known when it stands there.
        self.chunk[begin + KIND_AT] = kind as u8;
        self.entries += 1;
        self.bytes += (self.chunk.len() - begin) as u64;
        if self.due.is_none() {
            self.due = Some(now.after(HAND_OVER));
        }
    }

    #[inline]
    fn head(&self, line: usize, direction: Direction, now: UnixNanos) -> EntryHead {
        EntryHead {
            time: now,
            monotonic: now.0.wrapping_add(self.offset),
            length: 0,
            number: 0,
            connection: line as u16,
            kind: Kind::Timer,
            direction,
        }
    }

    #[cold]
    fn lose(&mut self, now: UnixNanos, body: impl FnOnce(&mut Vec<u8>) -> Kind) {
        let mut unkept = vec![];
        body(&mut unkept);
        let bytes = ENTRY_HEAD + unkept.len();
        self.lost.note(bytes, now);
        self.lost_entries += 1;
        self.lost_bytes += bytes as u64;
        if !std::mem::replace(&mut self.said, true) {
            tracing::error!(
                venue = %self.venue,
                "the capture's disk takes nothing and {} bytes wait for it: entries are lost from here on, which are \
                 counted; market data goes on",
                self.shared.waiting.load(Ordering::Relaxed)
            );
        }
    }

    #[cold]
    fn tell_lost(&mut self, now: UnixNanos) {
        let lost = std::mem::take(&mut self.lost);
        self.said = false;
        let head = EntryHead { kind: Kind::Lost, ..self.head(0, Direction::Own, now) };
        push_entry(&mut self.chunk, head, |body| lost.push(body));
        tracing::error!(
            venue = %self.venue, first = lost.first.0, last = lost.last.0,
            "the capture goes on; {} entries ({} bytes) are lost", lost.entries, lost.bytes
        );
    }

    /// When entries have waited long enough to be handed over.
    pub fn due(&self) -> Option<UnixNanos> {
        self.due
    }

    /// Hands over what has waited long enough.
    #[inline]
    pub fn hand_over(&mut self, now: UnixNanos) {
        if self.due.is_some_and(|due| due <= now) && !self.pass_on() {
            self.due = Some(now.after(HAND_OVER));
        }
    }

    /// Hands the chunk over, if there is room among what waits.
    fn pass_on(&mut self) -> bool {
        let bytes = self.chunk.len() as u64;
        let waiting = self.shared.waiting.load(Ordering::Acquire);
        // A single chunk larger than all the room there is must still get through.
        if waiting > 0 && waiting + bytes > self.spill_bytes {
            return false;
        }
        let Some(queue) = &self.queue else { return false };
        let next = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2)));
        let chunk = Chunk { bytes: std::mem::replace(&mut self.chunk, next), done: 0 };
        self.shared.waiting.fetch_add(bytes, Ordering::AcqRel);
        self.due = None;
        // The thread ends only after the queue is closed; if it died, nothing can be written any more.
        queue.send(chunk).is_ok()
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.entries,
            bytes: self.bytes,
            written: self.shared.written.load(Ordering::Relaxed),
            lost: self.lost_entries,
            lost_bytes: self.lost_bytes,
            waiting: self.shared.waiting.load(Ordering::Relaxed) + self.chunk.len() as u64,
            deleted: self.shared.deleted.load(Ordering::Relaxed),
            troubled: self.shared.troubled.load(Ordering::Relaxed) || self.lost.entries > 0,
        }
    }

    /// Ends the capture: what waits is written, for which the disk has this much time. What it does not take by then is
    /// lost, and said.
    pub fn close(mut self, patience: Duration) -> Stats {
        self.end(patience);
        self.stats()
    }

    fn end(&mut self, patience: Duration) {
        let Some(scribe) = self.scribe.take() else { return };
        if self.lost.entries > 0 {
            // The last chunk is full and goes first; the count stands behind it.
            let now = self.lost.last;
            self.tell_lost(now);
        }
        if !self.chunk.is_empty()
            && let Some(queue) = &self.queue
        {
            let chunk = Chunk { bytes: std::mem::take(&mut self.chunk), done: 0 };
            self.shared.waiting.fetch_add(chunk.bytes.len() as u64, Ordering::AcqRel);
            // A thread that died has said so.
            let _ = queue.send(chunk);
        }
        self.queue = None;
        let deadline = Instant::now() + patience;
        if self.ended.recv_timeout(patience).is_err() {
            self.shared.closing.store(true, Ordering::Release);
            // It looks at this between two attempts; one that hangs in the disk is left behind.
            let left = deadline.saturating_duration_since(Instant::now()).max(2 * scribe::RETRY);
            if self.ended.recv_timeout(left).is_err() {
                tracing::error!(
                    venue = %self.venue,
                    "the capture's disk hangs: {} bytes that waited for it are lost",
                    self.shared.waiting.load(Ordering::Relaxed)
                );
                return;
            }
        }
        // A panic of the thread was reported by the panic hook.
        let _ = scribe.join();
    }
}

impl Drop for Tap {
    /// A feed that ends by an error still gives the disk a moment.
    fn drop(&mut self) {
        self.end(Duration::from_secs(2));
    }
}
