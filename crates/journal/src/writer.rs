//! The one writer of a journal: takes records in, writes them in groups, syncs, and says how far it has come.
//!
//! append -> pending bytes -> [`Writer::write`] (level written) -> [`Writer::sync`] (level synced). The three are
//! separate so that the caller chooses the group window. Full disks are waited out; failed writes and syncs are not.

mod segment;

use crate::error::is_full;
use crate::format::{Checkpoint, PAGE_BYTES, SITE_MAX, SegmentHeader, WatermarkPage};
use crate::helper::{CHECKPOINT, PREPARED, Work};
use crate::recover::{End, Recovered, find_end, secure, segments};
use crate::watch::{self, Shared};
use crate::watermark::{Published, State};
use crate::{
    Access, Disk, DiskFile, Event, Files, Helper, JournalError, Level, Options, Place, Positions, Watermark, crash,
    failed,
};
use model::{UnixNanos, Venue};
use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;
use wire::batch::{BatchBuilder, BatchHeader, HEADER_BYTES, OUT_OF_BAND};
use wire::{Envelope, OverrunRecord};
use zerocopy::IntoBytes;

const LOCK: &str = "lock";

/// How far the writer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Up to here everything survives the death of any process.
    pub written: Place,
    /// Up to here everything survives the loss of power.
    pub synced: Place,
    /// [`State::Ok`], or [`State::Full`] when something waits for room.
    pub state: State,
}

/// The segment that is written.
#[derive(Debug)]
struct Current {
    number: u64,
    file: Box<dyn DiskFile>,
    /// Where batches must end; behind it lies the reserve.
    limit: u64,
    /// Where the file ends.
    bytes: u64,
    /// What reads this segment must know first; `None` when its first page is damaged, so that it is left.
    header: Option<SegmentHeader>,
}

/// The one writer of a journal.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    options: Options,
    site: String,
    journal: u64,
    current: Current,
    builder: BatchBuilder,
    /// Whole batches that are not written yet.
    pending: Vec<u8>,
    /// Checksum of the last batch appended.
    chain: u32,
    appended: Positions,
    /// The latest time of publication appended, ns.
    published: u64,
    written: Mark,
    synced: Mark,
    /// Where the last checkpoint stands, its serial and how many bytes were synced since.
    checkpoint_serial: u64,
    since_checkpoint: u64,
    state: State,
    since: UnixNanos,
    reason: String,
    /// Where there was no room, when to try again.
    retry_full_at: UnixNanos,
    /// What failed, once the writer is poisoned.
    failed: Option<(&'static str, u64)>,
    shared: Arc<Shared>,
    work: Work,
    _lock: Box<dyn Any + Send + Sync>,
}

/// All that is known at a place: enough to go on from there.
#[derive(Clone, Debug)]
struct Mark {
    place: Place,
    chain: u32,
    published: u64,
    positions: Positions,
}

impl Writer {
    /// Opens a journal, or begins one, and takes the lock that keeps other writers out. `now` names a new journal, so
    /// that two journals are never taken for one.
    pub fn open(
        folder: &Path,
        options: Options,
        site: &str,
        now: UnixNanos,
    ) -> Result<(Writer, Recovered), JournalError> {
        Writer::open_on(Arc::new(Files::at(folder)), options, site, now)
    }

    /// As [`Writer::open`], on any disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
        site: &str,
        now: UnixNanos,
    ) -> Result<(Writer, Recovered), JournalError> {
        options.check()?;
        if site.is_empty() || site.len() > SITE_MAX {
            return Err(JournalError::Options(format!("a site's name has 1 to {SITE_MAX} bytes, not {}", site.len())));
        }
        disk.make_folder("").map_err(failed(&*disk, "create", "the folder"))?;
        let lock = lock(&*disk)?;
        let numbers = segments(&*disk)?;
        let _ = disk.remove(PREPARED);
        let mut work = Work::start(options.helper, disk.clone(), options.segment_bytes).map_err(failed(
            &*disk,
            "start",
            "the helper thread",
        ))?;
        make_checkpoint_file(&*disk)?;
        let (end, recovered) = match numbers.is_empty() {
            true => (begin(&*disk, &mut work, &options, site, now)?, Recovered { fresh: true, ..Recovered::default() }),
            false => recover(&*disk, &numbers, site)?,
        };
        Writer::start(disk, options, site, now, end, work, lock).map(|writer| {
            let recovered = Recovered { place: writer.synced.place, ..recovered };
            (writer, recovered)
        })
    }

    fn start(
        disk: Arc<dyn Disk>,
        options: Options,
        site: &str,
        now: UnixNanos,
        end: End,
        work: Work,
        lock: Box<dyn Any + Send + Sync>,
    ) -> Result<Writer, JournalError> {
        let current = Current::open(&*disk, &end, &options)?;
        let journal = match (&current.header, &end.checkpoint) {
            (Some(header), _) => header.journal,
            (None, Some(checkpoint)) => checkpoint.journal,
            (None, None) => now.0,
        };
        let mark = Mark { place: end.place, chain: end.chain, published: end.published, positions: end.positions };
        let page = WatermarkPage {
            pid: std::process::id(),
            journal,
            boot: disk.boot(),
            opened: now,
            opened_at: mark.place,
            ..WatermarkPage::default()
        };
        let shared = Shared::new(Published::open(&*disk, page)?);
        let threaded = options.helper == Helper::Thread;
        if threaded {
            watch::start(&shared, options.stall_after).map_err(failed(&*disk, "start", "the watching thread"))?;
        }
        let mut writer = Writer {
            journal,
            current,
            builder: BatchBuilder::with_capacity(options.batch_bytes + HEADER_BYTES),
            pending: vec![],
            chain: mark.chain,
            appended: mark.positions.clone(),
            published: mark.published,
            written: mark.clone(),
            synced: mark,
            checkpoint_serial: end.checkpoint.as_ref().map_or(0, |c| c.serial),
            since_checkpoint: 0,
            state: State::Ok,
            since: now,
            reason: String::new(),
            retry_full_at: UnixNanos::ZERO,
            failed: None,
            shared,
            work,
            disk,
            options,
            site: site.to_owned(),
            _lock: lock,
        };
        writer.publish(now)?;
        writer.shared.lock().sync().map_err(failed(&*writer.disk, "sync", "watermark"))?;
        writer.disk.sync_folder("").map_err(failed(&*writer.disk, "sync", "the folder"))?;
        writer.checkpoint_here(now)?;
        writer.work.prepare_ahead();
        Ok(writer)
    }

    /// Takes records of one venue and epoch, in the order of their sequences; `published` is when they came. Nothing
    /// is written yet. A record that was taken before or leaves a hole is refused, those before it are kept.
    pub fn append<'r>(
        &mut self,
        venue: Venue,
        epoch: u64,
        published: UnixNanos,
        records: impl IntoIterator<Item = (u64, &'r [u64])>,
    ) -> Result<(), JournalError> {
        self.check_alive()?;
        self.check_room()?;
        let mut result = Ok(());
        for (sequence, words) in records {
            result = self.check_next(venue.code(), epoch, sequence, sequence);
            if result.is_err() {
                break;
            }
            if self.builder.body_bytes() + size_of_val(words) > self.options.batch_bytes {
                self.finish(Some(venue), epoch, published, 0);
            }
            self.builder.push(sequence, words);
            self.appended.raise(venue, Envelope { epoch, sequence });
        }
        if !self.builder.is_empty() {
            self.finish(Some(venue), epoch, published, 0);
        }
        result
    }

    /// Takes what the recorder itself missed: as every reader of the journal will be told.
    pub fn append_overrun(&mut self, lost: &OverrunRecord, published: UnixNanos) -> Result<(), JournalError> {
        self.check_alive()?;
        self.check_room()?;
        let venue = lost.header.venue();
        if let Some(venue) = venue {
            self.check_next(venue.code(), lost.epoch, lost.first, lost.last.max(lost.first))?;
        }
        self.builder.push(lost.first, lost.as_words());
        if let (Some(venue), true) = (venue, lost.last != 0) {
            self.appended.raise(venue, Envelope { epoch: lost.epoch, sequence: lost.last });
        }
        self.finish(venue, lost.epoch, published, OUT_OF_BAND);
        Ok(())
    }

    /// Writes everything appended: it survives the death of this process from here on.
    ///
    /// When there is no room for all of it, the rest waits, the marks say [`State::Full`], and the next call tries
    /// again.
    pub fn write(&mut self, now: UnixNanos) -> Result<Marks, JournalError> {
        self.check_alive()?;
        if self.pending.is_empty() {
            return Ok(self.marks());
        }
        while !self.pending.is_empty() && self.write_piece(now)? {}
        self.publish(now)?;
        Ok(self.marks())
    }

    /// Syncs everything written: it survives the loss of power from here on.
    pub fn sync(&mut self, now: UnixNanos) -> Result<Marks, JournalError> {
        self.check_alive()?;
        if self.synced.place == self.written.place {
            return Ok(self.marks());
        }
        self.sync_segment(now)?;
        self.publish(now)?;
        if self.since_checkpoint >= self.options.checkpoint_bytes {
            let checkpoint = self.next_checkpoint(now);
            self.work.checkpoint(checkpoint);
        }
        Ok(self.marks())
    }

    /// Writes, syncs, puts a checkpoint down and says that all is well: the next start has nothing to look at.
    pub fn close(mut self, now: UnixNanos) -> Result<Marks, JournalError> {
        self.write(now)?;
        self.sync(now)?;
        self.checkpoint_here(now)?;
        if self.pending.is_empty() {
            self.set_state(State::Closed, String::new(), now);
        }
        self.publish(now)?;
        Ok(self.marks())
    }

    /// How far the writer has come.
    pub fn marks(&self) -> Marks {
        Marks { written: self.written.place, synced: self.synced.place, state: self.state }
    }

    /// Whether it records, waits for room, or has failed.
    pub fn state(&self) -> State {
        self.state
    }

    /// The last record of each venue that was taken, written or not: a recorder goes on behind these.
    pub fn positions(&self) -> &Positions {
        &self.appended
    }

    /// The last record of each venue at a level.
    pub fn acknowledged(&self, level: Level) -> &Positions {
        match level {
            Level::Written => &self.written.positions,
            Level::Synced => &self.synced.positions,
        }
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Names the journal: when it was begun, ns.
    pub fn journal(&self) -> u64 {
        self.journal
    }

    /// How the journal is kept.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn synced_segment(&self) -> u64 {
        self.synced.place.segment
    }

    fn finish(&mut self, venue: Option<Venue>, epoch: u64, published: UnixNanos, flags: u8) {
        self.published = self.published.max(published.0);
        let out = &mut self.pending;
        self.chain = self.builder.finish_chained(venue, epoch, published.0, flags, self.chain, out);
    }

    fn check_alive(&self) -> Result<(), JournalError> {
        match self.failed {
            None => Ok(()),
            Some((what, segment)) => Err(JournalError::Poisoned {
                path: self.disk.path().to_owned(),
                segment,
                what,
                reason: self.reason.clone(),
            }),
        }
    }

    fn check_room(&self) -> Result<(), JournalError> {
        if self.pending.len() < self.options.pending_bytes {
            return Ok(());
        }
        Err(JournalError::Backlog { pending: self.pending.len() })
    }

    /// Records are taken once, in order, and without a hole that nobody told of.
    fn check_next(&self, venue: u8, epoch: u64, first: u64, last: u64) -> Result<(), JournalError> {
        let Some(at) = self.appended.of(venue) else { return Ok(()) };
        let (last_epoch, last_sequence) = (at.epoch, at.sequence);
        if (Envelope { epoch, sequence: last }) <= at {
            return Err(JournalError::Repeat { venue, epoch, sequence: first, last_epoch, last_sequence });
        }
        if epoch == last_epoch && first > last_sequence + 1 {
            return Err(JournalError::Hole { venue, epoch, sequence: first, last_sequence });
        }
        Ok(())
    }

    fn set_state(&mut self, state: State, reason: String, now: UnixNanos) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.reason = reason;
    }

    /// Puts the watermark page down. Where even that fails, nobody could learn of an acknowledgement.
    fn publish(&mut self, now: UnixNanos) -> Result<(), JournalError> {
        let mut published = self.shared.lock();
        let page = &mut published.page;
        page.state = self.state as u32;
        page.since = self.since;
        page.reason.clone_from(&self.reason);
        page.written = self.written.place;
        page.synced = self.synced.place;
        page.written_positions.clone_from(&self.written.positions);
        page.synced_positions.clone_from(&self.synced.positions);
        let put = self.shared.call(|| published.put(now));
        drop(published);
        crash::point("journal.after_watermark");
        put.or_else(|error| self.poison("publish the watermark of", &error, now))
    }

    /// Nothing is acknowledged any more.
    fn poison(&mut self, what: &'static str, error: &io::Error, now: UnixNanos) -> Result<(), JournalError> {
        self.set_state(State::Poisoned, error.to_string(), now);
        let first = self.failed.is_none();
        self.failed = Some((what, self.current.number));
        tracing::error!(%error, what, segment = self.current.number, "the journal stops acknowledging");
        if first {
            // The caller gets the first failure; that the page says so too is best effort.
            let _ = self.publish(now);
        }
        self.failed = Some((what, self.current.number));
        self.reason = error.to_string();
        self.check_alive()
    }

    fn next_checkpoint(&mut self, now: UnixNanos) -> Checkpoint {
        self.checkpoint_serial += 1;
        self.since_checkpoint = 0;
        Checkpoint {
            journal: self.journal,
            serial: self.checkpoint_serial,
            place: self.synced.place,
            published: UnixNanos(self.synced.published),
            time: now,
            chain: self.synced.chain,
            positions: self.synced.positions.clone(),
        }
    }

    fn checkpoint_here(&mut self, now: UnixNanos) -> Result<(), JournalError> {
        let checkpoint = self.next_checkpoint(now);
        crate::helper::put_checkpoint(&*self.disk, &checkpoint).map_err(failed(&*self.disk, "write", CHECKPOINT))
    }
}

fn lock(disk: &dyn Disk) -> Result<Box<dyn Any + Send + Sync>, JournalError> {
    disk.lock(LOCK).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let pid = Watermark::read_on(disk).ok().flatten().map_or(0, |watermark| watermark.pid);
            JournalError::Locked { path: disk.path().to_owned(), pid }
        }
        _ => failed(disk, "lock", LOCK)(error),
    })
}

/// The two slots are made once, so that a checkpoint needs no room later.
fn make_checkpoint_file(disk: &dyn Disk) -> Result<(), JournalError> {
    let room = 2 * PAGE_BYTES as u64;
    let whole = disk.open(CHECKPOINT, Access::Read).and_then(|file| file.length()).is_ok_and(|bytes| bytes >= room);
    if whole {
        return Ok(());
    }
    let file = disk.open(CHECKPOINT, Access::Create).map_err(failed(disk, "create", CHECKPOINT))?;
    crate::helper::zero(&*file, 0, room).map_err(failed(disk, "write", CHECKPOINT))
}

fn begin(disk: &dyn Disk, work: &mut Work, options: &Options, site: &str, now: UnixNanos) -> Result<End, JournalError> {
    let header = SegmentHeader {
        journal: now.0,
        number: 1,
        created: now,
        bytes: options.segment_bytes,
        published: UnixNanos::ZERO,
        seed: 0,
        site: site.to_owned(),
        positions: Positions::default(),
    };
    let name = crate::format::segment_name(1);
    let file = work.prepared().map_err(failed(disk, "prepare", &name))?;
    segment::install(disk, &*file, &header).map_err(failed(disk, "begin", &name))?;
    Ok(End::fresh(header))
}

fn recover(disk: &dyn Disk, numbers: &[u64], site: &str) -> Result<(End, Recovered), JournalError> {
    let end = find_end(disk, numbers)?;
    if let Some(header) = &end.header
        && header.site != site
    {
        let (theirs, ours) = (header.site.clone(), site.to_owned());
        return Err(JournalError::Site { path: disk.path().to_owned(), theirs, ours });
    }
    let torn = secure(disk, &end)?;
    for missing in &end.damaged {
        tracing::warn!("the journal is damaged: {missing}");
    }
    let recovered = Recovered {
        fresh: false,
        from: end.from,
        place: end.place,
        positions: end.positions.clone(),
        scanned_batches: end.batches,
        scanned_bytes: end.bytes,
        torn,
        damaged: end.damaged.clone(),
    };
    Ok((end, recovered))
}

/// The bytes of an event's batch: no records, and what happened in the place of a sequence.
fn event_batch(event: Event, published: u64, chain: u32) -> [u8; HEADER_BYTES] {
    let mut header = BatchHeader {
        magic: wire::batch::MAGIC,
        version: wire::WIRE_VERSION,
        venue: 0,
        flags: OUT_OF_BAND,
        reserved: [0; 3],
        length: 0,
        count: 0,
        epoch: 0,
        first: event as u64,
        scan_first: 0,
        scan_last: 0,
        published,
        checksum: 0,
        chain,
    };
    header.checksum = header.checksum_of(&[]);
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}
