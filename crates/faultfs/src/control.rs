//! The hand on the plug: what a test does to the disk while others use it.
//!
//! [`Control`] is a handle on the same state that the file system serves; every method takes effect at once, for every
//! process that has the mount open.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::Errno;

use crate::image::Unit;
use crate::tree::{Birth, Kind, Tree};

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Clean,
    /// A random part, as of a disk that was writing in an order of its own.
    Torn {
        /// The same seed on the same history leaves the same bytes.
        seed: u64,
        /// The chance, in percent, that an unsynced unit reached the medium.
        keep: u8,
        /// What reaches the medium whole.
        unit: Unit,
    },
}

/// What a slow disk is slow at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slow {
    /// write and pwrite.
    Write,
    /// fsync and fdatasync, of files and directories.
    Sync,
}

/// What happened so far, cuts included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that reached the file system.
    pub writes: u64,
    /// Bytes they carried.
    pub written_bytes: u64,
    /// Syncs of files that succeeded.
    pub syncs: u64,
    /// Syncs of directories that succeeded.
    pub directory_syncs: u64,
    /// Syncs that were made to fail.
    pub failed_syncs: u64,
    /// Writes and creations refused for want of space.
    pub refused_for_space: u64,
    /// Power cuts.
    pub cuts: u64,
}

/// A sync that is going to fail.
#[derive(Debug)]
struct FailSync {
    /// How many more succeed before.
    after: u64,
    /// Of which file; `None` is any.
    suffix: Option<String>,
}

/// An open file or directory.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) ino: u64,
    /// What a directory held when it was opened, so that a listing is of one moment.
    pub(crate) listing: Vec<(u64, bool, std::ffi::OsString)>,
}

/// Files, faults and what is open.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) handles: HashMap<u64, Handle>,
    next_handle: u64,
    pub(crate) counts: Counts,
    /// False between a power cut and the start that follows it.
    powered: bool,
    read_only: bool,
    /// Bytes that all files together may have.
    pub(crate) capacity: u64,
    fail_syncs: Vec<FailSync>,
    fail_directory_sync: Option<u64>,
    stalls: HashMap<Slow, Duration>,
    bad_reads: Vec<(u64, Range<u64>)>,
}

/// The bytes a disk has unless a test says otherwise: enough, and visible in `df`.
const CAPACITY: u64 = 1 << 40;

impl State {
    fn new() -> Self {
        let birth = Birth { mode: 0o755, uid: 0, gid: 0, now: SystemTime::now() };
        Self {
            tree: Tree::new(birth),
            handles: HashMap::new(),
            next_handle: 1,
            counts: Counts::default(),
            powered: true,
            read_only: false,
            capacity: CAPACITY,
            fail_syncs: Vec::new(),
            fail_directory_sync: None,
            stalls: HashMap::new(),
            bad_reads: Vec::new(),
        }
    }

    pub(crate) fn powered(&self) -> Result<(), Errno> {
        if self.powered { Ok(()) } else { Err(Errno::EIO) }
    }

    pub(crate) fn writable(&self) -> Result<(), Errno> {
        self.powered()?;
        if self.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    pub(crate) fn open(&mut self, ino: u64) -> u64 {
        let listing = match &self.tree.node(ino).map(|node| &node.kind) {
            Ok(Kind::Directory { seen, .. }) => {
                seen.iter().map(|(name, &ino)| (ino, self.tree.names(ino).is_ok(), name.clone())).collect()
            }
            _ => Vec::new(),
        };
        let handle = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(handle, Handle { ino, listing });
        handle
    }

    /// The inode behind a handle; none is left open by a cut.
    pub(crate) fn opened(&self, handle: u64) -> Result<u64, Errno> {
        self.powered()?;
        self.handles.get(&handle).map(|handle| handle.ino).ok_or(Errno::EIO)
    }

    pub(crate) fn close(&mut self, handle: u64) {
        self.handles.remove(&handle);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        let open: HashSet<u64> = self.handles.values().map(|handle| handle.ino).collect();
        self.tree.collect(&open);
    }

    /// How many of `wanted` bytes beyond what is there still fit.
    pub(crate) fn room(&mut self, wanted: u64) -> u64 {
        if wanted == 0 {
            return 0;
        }
        let room = self.capacity.saturating_sub(self.tree.used()).min(wanted);
        self.counts.refused_for_space += u64::from(room < wanted);
        room
    }

    pub(crate) fn unreadable(&self, ino: u64, range: &Range<u64>) -> bool {
        self.bad_reads.iter().any(|(bad, at)| *bad == ino && at.start < range.end && range.start < at.end)
    }

    /// Syncs a file, or fails as it was told to, after which its unsynced data is lost for good.
    pub(crate) fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        let name = self.tree.name_of(ino).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let matches = |fail: &FailSync| fail.suffix.as_ref().is_none_or(|suffix| name.ends_with(suffix.as_str()));
        let mut due = None;
        for (at, fail) in self.fail_syncs.iter_mut().enumerate().filter(|(_, fail)| matches(fail)) {
            match fail.after.checked_sub(1) {
                Some(left) => fail.after = left,
                None => due = Some(at),
            }
        }
        let image = self.tree.file_mut(ino)?;
        if let Some(due) = due {
            image.forget_dirty();
            self.fail_syncs.remove(due);
            self.counts.failed_syncs += 1;
            return Err(Errno::EIO);
        }
        image.sync();
        self.counts.syncs += 1;
        Ok(())
    }

    pub(crate) fn sync_directory(&mut self, ino: u64) -> Result<(), Errno> {
        match self.fail_directory_sync.take() {
            Some(0) => {
                self.counts.failed_syncs += 1;
                return Err(Errno::EIO);
            }
            left => self.fail_directory_sync = left.map(|left| left - 1),
        }
        self.tree.sync_directory(ino)?;
        self.counts.directory_syncs += 1;
        self.collect();
        Ok(())
    }
}

/// The state and the bell that ends stalls.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock must still be able to unmount.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the disk is slow at this; a power cut ends it with an error.
    pub(crate) fn stall(&self, at: Slow) -> Result<(), Errno> {
        let start = Instant::now();
        let mut state = self.lock();
        let cuts = state.counts.cuts;
        loop {
            if state.counts.cuts != cuts {
                return Err(Errno::EIO);
            }
            let left = state.stalls.get(&at).and_then(|stall| stall.checked_sub(start.elapsed()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return Ok(()) };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The test's handle on a mounted file system. Paths are relative to the mount.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(State::new()), changed: Condvar::new() }) }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The power fails and comes back at once: [`Control::power_off`] and [`Control::power_on`].
    pub fn cut(&self, cut: Cut) {
        self.power_off(cut);
        self.power_on();
    }

    /// The power fails. Until it comes back every call of every process fails with an I/O error, stalled ones included,
    /// so a process that is killed only now has seen nothing of the life after.
    pub fn power_off(&self, cut: Cut) {
        let mut state = self.shared.lock();
        match cut {
            Cut::Clean => state.tree.cut(None),
            Cut::Torn { seed, keep, unit } => {
                state.tree.cut(Some((unit, keep, &mut fastrand::Rng::with_seed(seed))));
            }
        }
        state.powered = false;
        state.counts.cuts += 1;
        self.shared.changed.notify_all();
    }

    /// The power is back. Handles from before stay dead: their calls fail with an I/O error.
    pub fn power_on(&self) {
        let mut state = self.shared.lock();
        state.handles.clear();
        state.collect();
        state.powered = true;
    }

    /// The `nth` sync of a file from now (0 is the next) fails with an I/O error and takes the unsynced data for
    /// written: the next sync succeeds, reads still show the data, and it is not on the medium.
    pub fn fail_fsync(&self, nth: u64) {
        self.shared.lock().fail_syncs.push(FailSync { after: nth, suffix: None });
    }

    /// As [`Control::fail_fsync`], counting only files whose name ends so.
    pub fn fail_fsync_of(&self, suffix: &str, nth: u64) {
        self.shared.lock().fail_syncs.push(FailSync { after: nth, suffix: Some(suffix.to_owned()) });
    }

    /// The `nth` sync of a directory from now (0 is the next) fails; its names stay unsynced.
    pub fn fail_directory_fsync(&self, nth: u64) {
        self.shared.lock().fail_directory_sync = Some(nth);
    }

    /// Leaves this many bytes free. What is already there can still be overwritten.
    pub fn fill(&self, free_bytes: u64) {
        let mut state = self.shared.lock();
        state.capacity = state.tree.used() + free_bytes;
    }

    /// There is space again.
    pub fn make_space(&self) {
        self.shared.lock().capacity = CAPACITY;
    }

    /// Every such call takes this much longer; zero ends it, also for calls that wait already.
    pub fn stall(&self, at: Slow, duration: Duration) {
        self.shared.lock().stalls.insert(at, duration);
        self.shared.changed.notify_all();
    }

    /// Whether every change is refused, as on a disk that the kernel has remounted read-only.
    pub fn read_only(&self, on: bool) {
        self.shared.lock().read_only = on;
    }

    /// Reads that touch these bytes of the file fail with an I/O error. False when there is no such file.
    pub fn fail_reads(&self, path: impl AsRef<Path>, bytes: Range<u64>) -> bool {
        let mut state = self.shared.lock();
        let Ok(ino) = state.tree.at(path.as_ref()) else { return false };
        state.bad_reads.push((ino, bytes));
        true
    }

    /// Everything can be read again.
    pub fn heal_reads(&self) {
        self.shared.lock().bad_reads.clear();
    }

    /// Turns over one bit of a file on the medium, counted from its start. False when there is no such bit.
    pub fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) -> bool {
        let mut state = self.shared.lock();
        let Ok(ino) = state.tree.at(path.as_ref()) else { return false };
        state.tree.file_mut(ino).is_ok_and(|image| image.flip(bit))
    }

    /// Drops a file from memory, so that reads show what the medium holds, except for what waits for a sync.
    /// False when there is no such file.
    pub fn evict(&self, path: impl AsRef<Path>) -> bool {
        let mut state = self.shared.lock();
        let Ok(ino) = state.tree.at(path.as_ref()) else { return false };
        state.tree.file_mut(ino).map(|image| image.evict()).is_ok()
    }

    /// What a clean cut would leave of a file; `None` when its name would be lost.
    pub fn on_medium(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        let ino = state.tree.at_on_medium(path.as_ref())?;
        state.tree.file(ino).ok().map(|image| image.medium().to_vec())
    }

    /// Whether a file has bytes that wait for a sync.
    pub fn is_dirty(&self, path: impl AsRef<Path>) -> bool {
        let state = self.shared.lock();
        state.tree.at(path.as_ref()).and_then(|ino| state.tree.file(ino)).is_ok_and(|image| image.is_dirty())
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}
