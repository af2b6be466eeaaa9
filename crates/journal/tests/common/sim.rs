//! A disk that forgets what was not synced, tears sectors, fails, fills up and stalls, all from one seed.
//!
//! What programs see is the cache. A sync copies a file's dirty sectors to the platter; a power cut keeps of the others
//! any subset, some torn in the middle, and of the folder changes since its last sync any number of the first. A sync
//! that fails marks its sectors clean without having stored them, as Linux does.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; tests")]

use journal::{Access, Disk, DiskFile};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Data {
    cache: Vec<u8>,
    platter: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// Clean in the cache's eyes, yet not on the platter.
    lied: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum Op {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Data>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    ops: Vec<Op>,
    boot: u64,
    locked: bool,
    capacity: Option<u64>,
    fail_syncs: u32,
    fail_writes: u32,
    read_only: bool,
    stalled: bool,
    syncs: u64,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Sim {
    inner: Arc<Mutex<Inner>>,
    unstalled: Arc<Condvar>,
}

impl Sim {
    pub fn new() -> Sim {
        Sim::default()
    }

    /// Another disk with the same files, everything on it synced.
    pub fn copy(&self) -> Sim {
        let copy = Sim::new();
        {
            let (inner, mut other) = (self.lock(), copy.lock());
            for (name, id) in &inner.names {
                let bytes = inner.files[*id].cache.clone();
                let id = other.files.len();
                other.files.push(Data { platter: bytes.clone(), cache: bytes, ..Data::default() });
                other.names.insert(name.clone(), id);
            }
            other.durable = other.names.clone();
            other.boot = inner.boot;
        }
        copy
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Power is lost and comes back.
    pub fn power_cut(&self, rng: &mut fastrand::Rng) {
        let mut inner = self.lock();
        inner.boot += 1;
        inner.locked = false;
        let keep = rng.usize(0..=inner.ops.len());
        let ops = std::mem::take(&mut inner.ops);
        for op in ops.into_iter().take(keep) {
            apply(&mut inner.durable, &op);
        }
        inner.names = inner.durable.clone();
        let odds = rng.u8(0..=100);
        for data in &mut inner.files {
            data.lied.clear();
            for sector in std::mem::take(&mut data.dirty) {
                if rng.u8(0..100) < odds {
                    let torn = if rng.u8(0..8) == 0 { rng.usize(0..SECTOR) } else { SECTOR };
                    data.store(sector, torn);
                }
            }
            data.cache = data.platter.clone();
        }
    }

    /// The process dies; the machine lives on.
    pub fn process_dies(&self) {
        self.lock().locked = false;
    }

    /// Clean pages leave the cache: what a failed sync lied about is gone.
    pub fn evict(&self) {
        for data in &mut self.lock().files {
            for sector in std::mem::take(&mut data.lied) {
                let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(data.cache.len()));
                for at in from..to {
                    data.cache[at] = data.platter.get(at).copied().unwrap_or(0);
                }
            }
        }
    }

    pub fn fail_syncs(&self, count: u32) {
        self.lock().fail_syncs = count;
    }

    pub fn fail_writes(&self, count: u32) {
        self.lock().fail_writes = count;
    }

    /// No more than what is used now, and `spare` bytes.
    pub fn fill(&self, spare: u64) {
        let mut inner = self.lock();
        inner.capacity = Some(inner.used() + spare);
    }

    pub fn free(&self) {
        self.lock().capacity = None;
    }

    pub fn make_read_only(&self) {
        self.lock().read_only = true;
    }

    /// Syncs hang until it is turned off.
    pub fn stall(&self, on: bool) {
        self.lock().stalled = on;
        self.unstalled.notify_all();
    }

    /// Changes a file behind everybody's back.
    pub fn edit(&self, name: &str, f: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let id = inner.names[name];
        let data = &mut inner.files[id];
        f(&mut data.cache);
        data.platter = data.cache.clone();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let inner = self.lock();
        inner.files[inner.names[name]].cache.clone()
    }

    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }
}

fn apply(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Link(name, id) => drop(names.insert(name.clone(), *id)),
        Op::Unlink(name) => drop(names.remove(name)),
        Op::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[*id].cache.len() as u64).sum()
    }

    fn change(&mut self, op: Op) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        apply(&mut self.names, &op);
        self.ops.push(op);
        Ok(())
    }
}

impl Data {
    fn store(&mut self, sector: usize, bytes: usize) {
        let from = sector * SECTOR;
        let to = (from + bytes).min(self.cache.len());
        if to <= from {
            return;
        }
        if self.platter.len() < (from + SECTOR).min(self.cache.len()) {
            self.platter.resize((from + SECTOR).min(self.cache.len()), 0);
        }
        self.platter[from..to].copy_from_slice(&self.cache[from..to]);
    }
}

impl Disk for Sim {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        let id = match (inner.names.get(name), access) {
            (Some(&id), Access::Read) => id,
            (Some(&id), Access::Write) if !inner.read_only => id,
            (_, Access::Create) => {
                let id = inner.files.len();
                inner.change(Op::Link(name.to_owned(), id))?;
                inner.files.push(Data::default());
                id
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
            (Some(_), _) => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        };
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().change(Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Op::Unlink(name.to_owned()))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let inner = self.lock();
        let inside = |name: &String| match folder {
            "" => (!name.contains('/')).then(|| name.clone()),
            folder => Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_owned()),
        };
        Ok(inner.names.keys().filter_map(inside).collect())
    }

    fn make_folder(&self, _: &str) -> io::Result<()> {
        if self.lock().read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn sync_folder(&self, _: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let ops = std::mem::take(&mut inner.ops);
        ops.iter().for_each(|op| apply(&mut inner.durable, op));
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut inner = Sim::lock(self);
        if inner.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if inner.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        inner.locked = true;
        Ok(Box::new(()))
    }

    fn boot(&self) -> u64 {
        Sim::lock(self).boot
    }
}

#[derive(Debug)]
struct SimFile {
    disk: Sim,
    id: usize,
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.id].cache.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock();
        let cache = &inner.files[self.id].cache;
        let from = (offset as usize).min(cache.len());
        let to = (from + bytes.len()).min(cache.len());
        bytes[..to - from].copy_from_slice(&cache[from..to]);
        Ok(to - from)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        if inner.fail_writes > 0 {
            inner.fail_writes -= 1;
            return Err(io::Error::other("input/output error"));
        }
        let (from, mut to) = (offset as usize, offset as usize + bytes.len());
        let growth = to.saturating_sub(inner.files[self.id].cache.len()) as u64;
        let room = inner.capacity.map_or(u64::MAX, |most| most.saturating_sub(inner.used()));
        let short = growth > room;
        if short {
            to -= (growth - room) as usize;
        }
        let data = &mut inner.files[self.id];
        if data.cache.len() < to {
            data.cache.resize(to, 0);
        }
        if to > from {
            data.cache[from..to].copy_from_slice(&bytes[..to - from]);
            for sector in from / SECTOR..to.div_ceil(SECTOR) {
                data.dirty.insert(sector);
                data.lied.remove(&sector);
            }
        }
        if short { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        while inner.stalled {
            inner = self.disk.unstalled.wait(inner).unwrap();
        }
        inner.syncs += 1;
        let fails = inner.fail_syncs > 0;
        inner.fail_syncs = inner.fail_syncs.saturating_sub(1);
        let data = &mut inner.files[self.id];
        let dirty = std::mem::take(&mut data.dirty);
        if fails {
            data.lied.extend(dirty);
            return Err(io::Error::other("input/output error"));
        }
        if data.platter.len() != data.cache.len() {
            data.platter.resize(data.cache.len(), 0);
        }
        for sector in dirty {
            data.store(sector, SECTOR);
        }
        Ok(())
    }
}
