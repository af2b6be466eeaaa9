//! The kernel's questions, answered from the state: a thin shell, one call of [`State`] each.
//!
//! Nothing is cached by the kernel (files are opened for direct I/O, names and attributes live for no time), so that
//! what another process does is seen at once, and a cut too.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::control::{Shared, Slow, State};
use crate::tree::{Birth, Kind};

/// How long the kernel may believe an answer.
const TTL: Duration = Duration::ZERO;

const BLOCK: u32 = 4096;

pub(crate) struct Fuse(pub(crate) Arc<Shared>);

impl Fuse {
    fn births(request: &Request, mode: u32, umask: u32) -> Birth {
        let mode = (mode & !umask & 0o7777) as u16;
        Birth { mode, uid: request.uid(), gid: request.gid(), now: SystemTime::now() }
    }
}

impl State {
    fn attributes(&self, ino: u64) -> Result<FileAttr, Errno> {
        self.powered()?;
        let node = self.tree.node(ino)?;
        let (kind, size) = match &node.kind {
            Kind::File(image) => (FileType::RegularFile, image.len()),
            Kind::Directory { .. } => (FileType::Directory, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: node.changed,
            mtime: node.changed,
            ctime: node.changed,
            crtime: node.changed,
            kind,
            perm: node.mode,
            nlink: if kind == FileType::Directory { 2 } else { self.tree.links(ino) },
            uid: node.uid,
            gid: node.gid,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    fn created(&mut self, parent: u64, name: &OsStr, birth: Birth) -> Result<(FileAttr, u64), Errno> {
        self.writable()?;
        if self.tree.used() >= self.capacity {
            self.counts.refused_for_space += 1;
            return Err(Errno::ENOSPC);
        }
        let ino = self.tree.create(parent, name, birth)?;
        Ok((self.attributes(ino)?, self.open(ino)))
    }

    fn made_directory(&mut self, parent: u64, name: &OsStr, birth: Birth) -> Result<FileAttr, Errno> {
        self.writable()?;
        let ino = self.tree.make_directory(parent, name, birth)?;
        self.attributes(ino)
    }

    fn wrote(&mut self, handle: u64, offset: u64, data: &[u8], append: bool) -> Result<u32, Errno> {
        self.writable()?;
        let ino = self.opened(handle)?;
        let length = self.tree.file(ino)?.len();
        let offset = if append { length } else { offset };
        let end = offset + data.len() as u64;
        let beyond = end.saturating_sub(length);
        let room = self.room(beyond);
        // What fits is written, as disks do it; the next try is told that there is no space.
        let fits = (data.len() as u64).saturating_sub(beyond - room) as usize;
        if fits == 0 && !data.is_empty() {
            return Err(Errno::ENOSPC);
        }
        let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        self.tree.file_mut(ino)?.write(offset, &data[..fits]);
        self.tree.node_mut(ino)?.changed = SystemTime::now();
        self.counts.writes += 1;
        self.counts.written_bytes += fits as u64;
        Ok(fits as u32)
    }

    fn set_length(&mut self, ino: u64, length: u64) -> Result<(), Errno> {
        self.writable()?;
        let beyond = length.saturating_sub(self.tree.file(ino)?.len());
        if self.room(beyond) < beyond {
            return Err(Errno::ENOSPC);
        }
        let length = usize::try_from(length).map_err(|_| Errno::EFBIG)?;
        self.tree.file_mut(ino)?.set_len(length);
        self.tree.node_mut(ino)?.changed = SystemTime::now();
        Ok(())
    }

    fn allocated(&mut self, handle: u64, offset: u64, length: u64, mode: i32) -> Result<(), Errno> {
        self.writable()?;
        let ino = self.opened(handle)?;
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        match mode {
            0 if end > self.tree.file(ino)?.len() => self.set_length(ino, end),
            0 => Ok(()),
            libc::FALLOC_FL_KEEP_SIZE => {
                let beyond = end.saturating_sub(self.tree.file(ino)?.len());
                if self.room(beyond) < beyond { Err(Errno::ENOSPC) } else { Ok(()) }
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

impl Filesystem for Fuse {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.0.lock();
        let found = state.powered().and_then(|()| state.attributes(state.tree.lookup(parent.0, name)?));
        match found {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.lock().attributes(ino.0) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.0.lock();
        let done = state.writable().and_then(|()| {
            if let Some(size) = size {
                state.set_length(ino.0, size)?;
            }
            let node = state.tree.node_mut(ino.0)?;
            node.mode = mode.map_or(node.mode, |mode| (mode & 0o7777) as u16);
            node.uid = uid.unwrap_or(node.uid);
            node.gid = gid.unwrap_or(node.gid);
            if let Some(TimeOrNow::SpecificTime(time)) = mtime {
                node.changed = time;
            }
            state.attributes(ino.0)
        });
        match done {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        match self.0.lock().made_directory(parent.0, name, Self::births(request, mode, umask)) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.0.lock();
        let done = state.writable().and_then(|()| state.tree.unlink(parent.0, name));
        state.collect();
        answer(reply, done);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.0.lock();
        let done = state.writable().and_then(|()| state.tree.remove_directory(parent.0, name));
        state.collect();
        answer(reply, done);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = match flags {
            flags if flags.is_empty() => true,
            RenameFlags::RENAME_NOREPLACE => false,
            _ => return reply.error(Errno::EINVAL),
        };
        let mut state = self.0.lock();
        let done =
            state.writable().and_then(|()| state.tree.rename((parent.0, name), (new_parent.0, new_name), replace));
        state.collect();
        answer(reply, done);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.0.lock();
        let done = state
            .writable()
            .and_then(|()| state.tree.link(ino.0, parent.0, name))
            .and_then(|()| state.attributes(ino.0));
        match done {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let mut state = self.0.lock();
        let allowed = match flags.acc_mode() {
            OpenAccMode::O_RDONLY => state.powered(),
            OpenAccMode::O_WRONLY | OpenAccMode::O_RDWR => state.writable(),
        };
        match allowed.and_then(|()| state.tree.file(ino.0).map(drop)) {
            Ok(()) => reply.opened(FileHandle(state.open(ino.0)), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.0.lock().created(parent.0, name, Self::births(request, mode, umask)) {
            Ok((attributes, handle)) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO;
                reply.created(&TTL, &attributes, Generation(0), FileHandle(handle), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.0.lock();
        let read = state.opened(fh.0).and_then(|ino| {
            if state.unreadable(ino, &(offset..offset.saturating_add(u64::from(size)))) {
                return Err(Errno::EIO);
            }
            Ok(state.tree.file(ino)?.read(offset, size as usize))
        });
        match read {
            Ok(bytes) => reply.data(bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let append = flags.0 & libc::O_APPEND != 0;
        match self.0.stall(Slow::Write).and_then(|()| self.0.lock().wrote(fh.0, offset, data, append)) {
            Ok(size) => reply.written(size),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer(reply, self.0.lock().opened(fh.0).map(drop));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.0.lock().close(fh.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let done = self.0.stall(Slow::Sync).and_then(|()| {
            let mut state = self.0.lock();
            state.writable()?;
            let ino = state.opened(fh.0)?;
            state.sync(ino)
        });
        answer(reply, done);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.0.lock();
        match state.powered().and_then(|()| state.tree.names(ino.0).map(drop)) {
            Ok(()) => reply.opened(FileHandle(state.open(ino.0)), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.0.lock();
        if let Err(error) = state.opened(fh.0) {
            return reply.error(error);
        }
        let dots = [(ino.0, true, OsString::from(".")), (ino.0, true, OsString::from(".."))];
        let entries = dots.iter().chain(&state.handles[&fh.0].listing);
        for (at, (ino, is_directory, name)) in (1..).zip(entries).skip(offset as usize) {
            let kind = if *is_directory { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(*ino), at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.0.lock().close(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let done = self.0.stall(Slow::Sync).and_then(|()| {
            let mut state = self.0.lock();
            state.writable()?;
            let ino = state.opened(fh.0)?;
            state.sync_directory(ino)
        });
        answer(reply, done);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.0.lock();
        let block = u64::from(BLOCK);
        let free = state.capacity.saturating_sub(state.tree.used()) / block;
        reply.statfs(state.capacity / block, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        answer(reply, self.0.lock().powered());
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.0.lock().allocated(fh.0, offset, length, mode));
    }
}

fn answer(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
