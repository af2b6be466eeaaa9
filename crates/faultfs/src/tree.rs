//! Names and files: directories as seen and as on the medium, and the log of changes that lie between the two.
//!
//! A change of names is logged and reaches the medium when one of its directories is synced, in order; a rename reaches
//! it whole. A cut drops the log, or applies a random first part of it, as a file system with a metadata log would.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};
use std::time::SystemTime;

use fuser::Errno;

use crate::image::{Image, Unit};

/// The root directory's inode number.
pub(crate) const ROOT: u64 = 1;

type Names = BTreeMap<OsString, u64>;

/// A file or a directory.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) changed: SystemTime,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A regular file.
    File(Image),
    /// A directory.
    Directory {
        /// Its names as processes see them.
        seen: Names,
        /// Its names after a cut.
        medium: Names,
    },
}

/// One name gets another file, or none.
#[derive(Debug)]
struct Change {
    directory: u64,
    name: OsString,
    to: Option<u64>,
}

/// Who owns a new node, and when it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) now: SystemTime,
}

/// All files and names.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
    /// Changes of names that are not on the medium; the changes of one entry happen together.
    log: Vec<Vec<Change>>,
}

impl Tree {
    pub(crate) fn new(birth: Birth) -> Self {
        let mut tree = Self { nodes: HashMap::new(), next: ROOT, log: Vec::new() };
        tree.add(directory(), birth);
        tree
    }

    fn add(&mut self, kind: Kind, birth: Birth) -> u64 {
        let ino = self.next;
        self.next += 1;
        let Birth { mode, uid, gid, now } = birth;
        self.nodes.insert(ino, Node { kind, mode, uid, gid, changed: now });
        ino
    }

    pub(crate) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn file(&self, ino: u64) -> Result<&Image, Errno> {
        match &self.node(ino)?.kind {
            Kind::File(image) => Ok(image),
            Kind::Directory { .. } => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn file_mut(&mut self, ino: u64) -> Result<&mut Image, Errno> {
        match &mut self.node_mut(ino)?.kind {
            Kind::File(image) => Ok(image),
            Kind::Directory { .. } => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn names(&self, ino: u64) -> Result<&Names, Errno> {
        match &self.node(ino)?.kind {
            Kind::Directory { seen, .. } => Ok(seen),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn lookup(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The node at a path relative to the root, as seen.
    pub(crate) fn at(&self, path: &Path) -> Result<u64, Errno> {
        let mut ino = ROOT;
        for part in path.components() {
            match part {
                Component::Normal(name) => ino = self.lookup(ino, name)?,
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL),
            }
        }
        Ok(ino)
    }

    /// The node at a path relative to the root, as a cut would leave it.
    pub(crate) fn at_on_medium(&self, path: &Path) -> Option<u64> {
        let mut ino = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let Kind::Directory { medium, .. } = &self.nodes.get(&ino)?.kind else { return None };
            ino = *medium.get(name)?;
        }
        Some(ino)
    }

    /// Names a node has, as seen.
    pub(crate) fn links(&self, ino: u64) -> u32 {
        let count = |node: &Node| match &node.kind {
            Kind::Directory { seen, .. } => seen.values().filter(|&&to| to == ino).count(),
            Kind::File(_) => 0,
        };
        self.nodes.values().map(count).sum::<usize>() as u32
    }

    /// A name of a node as seen, if it has any.
    pub(crate) fn name_of(&self, ino: u64) -> Option<&OsStr> {
        self.nodes.values().find_map(|node| match &node.kind {
            Kind::Directory { seen, .. } => seen.iter().find(|(_, to)| **to == ino).map(|(name, _)| name.as_os_str()),
            Kind::File(_) => None,
        })
    }

    /// Bytes of all files that can still be reached or are open.
    pub(crate) fn used(&self) -> u64 {
        self.nodes.values().map(|node| if let Kind::File(image) = &node.kind { image.len() } else { 0 }).sum()
    }

    pub(crate) fn create(&mut self, parent: u64, name: &OsStr, birth: Birth) -> Result<u64, Errno> {
        self.free(parent, name)?;
        let ino = self.add(Kind::File(Image::default()), birth);
        self.change(vec![Change { directory: parent, name: name.into(), to: Some(ino) }]);
        Ok(ino)
    }

    pub(crate) fn make_directory(&mut self, parent: u64, name: &OsStr, birth: Birth) -> Result<u64, Errno> {
        self.free(parent, name)?;
        let ino = self.add(directory(), birth);
        self.change(vec![Change { directory: parent, name: name.into(), to: Some(ino) }]);
        Ok(ino)
    }

    pub(crate) fn link(&mut self, ino: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.file(ino)?;
        self.free(parent, name)?;
        self.change(vec![Change { directory: parent, name: name.into(), to: Some(ino) }]);
        Ok(())
    }

    pub(crate) fn unlink(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.file(self.lookup(parent, name)?)?;
        self.change(vec![Change { directory: parent, name: name.into(), to: None }]);
        Ok(())
    }

    pub(crate) fn remove_directory(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        if !self.names(self.lookup(parent, name)?)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.change(vec![Change { directory: parent, name: name.into(), to: None }]);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        if let Ok(other) = self.lookup(to.0, to.1) {
            if !replace {
                return Err(Errno::EEXIST);
            }
            if other == ino {
                return Ok(());
            }
            match (&self.node(ino)?.kind, &self.node(other)?.kind) {
                (Kind::File(_), Kind::Directory { .. }) => return Err(Errno::EISDIR),
                (Kind::Directory { .. }, Kind::File(_)) => return Err(Errno::ENOTDIR),
                (_, Kind::Directory { seen, .. }) if !seen.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        self.names(to.0)?;
        self.change(vec![
            Change { directory: from.0, name: from.1.into(), to: None },
            Change { directory: to.0, name: to.1.into(), to: Some(ino) },
        ]);
        Ok(())
    }

    fn free(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        match self.lookup(parent, name) {
            Ok(_) => Err(Errno::EEXIST),
            Err(error) if error.code() == Errno::ENOENT.code() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn change(&mut self, changes: Vec<Change>) {
        for change in &changes {
            if let Some(Node { kind: Kind::Directory { seen, .. }, .. }) = self.nodes.get_mut(&change.directory) {
                set(seen, change);
            }
        }
        self.log.push(changes);
    }

    /// The names of a directory are on the medium, and those of every directory a rename ties it to.
    pub(crate) fn sync_directory(&mut self, ino: u64) -> Result<(), Errno> {
        self.names(ino)?;
        let mut tied = HashSet::from([ino]);
        loop {
            let before = tied.len();
            for changes in &self.log {
                if changes.iter().any(|change| tied.contains(&change.directory)) {
                    tied.extend(changes.iter().map(|change| change.directory));
                }
            }
            if tied.len() == before {
                break;
            }
        }
        let (now, later) = std::mem::take(&mut self.log)
            .into_iter()
            .partition(|changes| changes.iter().any(|change| tied.contains(&change.directory)));
        self.log = later;
        self.apply(now);
        Ok(())
    }

    fn apply(&mut self, log: Vec<Vec<Change>>) {
        for change in log.into_iter().flatten() {
            if let Some(Node { kind: Kind::Directory { medium, .. }, .. }) = self.nodes.get_mut(&change.directory) {
                set(medium, &change);
            }
        }
    }

    /// The power fails. `torn` is the unit, the chance in percent that an unsynced piece is on the medium, and chance.
    pub(crate) fn cut(&mut self, torn: Option<(Unit, u8, &mut fastrand::Rng)>) {
        let mut log = std::mem::take(&mut self.log);
        let mut inos: Vec<u64> = self.nodes.keys().copied().collect();
        inos.sort_unstable();
        let mut torn = torn;
        if let Some((_, keep, random)) = &mut torn {
            let reached = if random.u8(0..100) < *keep { random.usize(0..=log.len()) } else { 0 };
            log.truncate(reached);
            self.apply(log);
        }
        for ino in inos {
            match &mut self.nodes.get_mut(&ino).expect("the numbers are those of the nodes").kind {
                Kind::Directory { seen, medium } => seen.clone_from(medium),
                Kind::File(image) => match &mut torn {
                    Some((unit, keep, random)) => image.cut_torn(*unit, *keep, random),
                    None => image.cut(),
                },
            }
        }
        self.collect(&HashSet::new());
    }

    /// Drops what no name reaches, seen or on the medium or in the log, and nobody has open.
    pub(crate) fn collect(&mut self, open: &HashSet<u64>) {
        let mut reached = HashSet::new();
        let mut todo: Vec<u64> = open.iter().copied().chain([ROOT]).collect();
        todo.extend(self.log.iter().flatten().filter_map(|change| change.to));
        todo.extend(self.log.iter().flatten().map(|change| change.directory));
        while let Some(ino) = todo.pop() {
            if !reached.insert(ino) {
                continue;
            }
            if let Some(Node { kind: Kind::Directory { seen, medium }, .. }) = self.nodes.get(&ino) {
                todo.extend(seen.values().chain(medium.values()));
            }
        }
        self.nodes.retain(|ino, _| reached.contains(ino));
    }
}

fn directory() -> Kind {
    Kind::Directory { seen: Names::new(), medium: Names::new() }
}

fn set(names: &mut Names, change: &Change) {
    match change.to {
        Some(ino) => names.insert(change.name.clone(), ino),
        None => names.remove(&change.name),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    const BIRTH: Birth = Birth { mode: 0o755, uid: 0, gid: 0, now: SystemTime::UNIX_EPOCH };

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    /// A tree with a synced file `old` that holds `1`.
    fn tree() -> (Tree, u64) {
        let mut tree = Tree::new(BIRTH);
        let old = tree.create(ROOT, name("old"), BIRTH).unwrap();
        tree.file_mut(old).unwrap().write(0, b"1");
        tree.file_mut(old).unwrap().sync();
        tree.sync_directory(ROOT).unwrap();
        (tree, old)
    }

    #[test]
    fn a_name_is_lost_until_its_directory_is_synced() {
        let (mut tree, _) = tree();
        let new = tree.create(ROOT, name("new"), BIRTH).unwrap();
        tree.file_mut(new).unwrap().write(0, b"2");
        tree.file_mut(new).unwrap().sync();
        assert!(tree.at_on_medium(Path::new("new")).is_none());
        tree.cut(None);
        assert!(tree.lookup(ROOT, name("new")).is_err());
        assert_eq!(tree.file(tree.lookup(ROOT, name("old")).unwrap()).unwrap().read(0, 9), b"1");
    }

    #[test]
    fn a_rename_over_a_file_leaves_the_old_one_or_the_new_one() {
        let mut seen = [0, 0];
        for seed in 0..200 {
            let (mut tree, old) = tree();
            let new = tree.create(ROOT, name("new.tmp"), BIRTH).unwrap();
            tree.file_mut(new).unwrap().write(0, b"2");
            tree.file_mut(new).unwrap().sync();
            tree.rename((ROOT, name("new.tmp")), (ROOT, name("old")), true).unwrap();
            tree.collect(&HashSet::new());
            assert!(tree.node(old).is_ok(), "the medium still has the old one");
            tree.cut(Some((Unit::Sector, 70, &mut fastrand::Rng::with_seed(seed))));
            let now = tree.file(tree.lookup(ROOT, name("old")).unwrap()).unwrap().read(0, 9).to_vec();
            assert!(now == b"1" || now == b"2");
            assert!(now == b"1" || tree.lookup(ROOT, name("new.tmp")).is_err(), "a rename is whole");
            seen[usize::from(now == b"2")] += 1;
        }
        assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    }

    #[test]
    fn a_rename_is_durable_when_the_directory_is_synced() {
        let (mut tree, old) = tree();
        tree.make_directory(ROOT, name("there"), BIRTH).unwrap();
        let there = tree.lookup(ROOT, name("there")).unwrap();
        tree.rename((ROOT, name("old")), (there, name("new")), true).unwrap();
        // The target alone is synced: a rename is whole, so the source is too, and the target's own name with it.
        tree.sync_directory(there).unwrap();
        tree.cut(None);
        assert_eq!(tree.at(Path::new("there/new")).unwrap(), old);
        assert!(tree.lookup(ROOT, name("old")).is_err());
    }

    #[test]
    fn a_removed_file_comes_back_when_the_removal_was_not_synced() {
        let (mut tree, old) = tree();
        tree.unlink(ROOT, name("old")).unwrap();
        tree.collect(&HashSet::new());
        assert!(tree.lookup(ROOT, name("old")).is_err());
        tree.cut(None);
        assert_eq!(tree.lookup(ROOT, name("old")).unwrap(), old);
        tree.unlink(ROOT, name("old")).unwrap();
        tree.sync_directory(ROOT).unwrap();
        tree.collect(&HashSet::from([old]));
        assert!(tree.node(old).is_ok(), "open");
        tree.collect(&HashSet::new());
        assert!(tree.node(old).is_err());
    }

    #[test]
    fn directories_keep_their_rules() {
        let (mut tree, _) = tree();
        let inner = tree.make_directory(ROOT, name("d"), BIRTH).unwrap();
        tree.create(inner, name("f"), BIRTH).unwrap();
        let code = |result: Result<(), Errno>| result.unwrap_err().code();
        assert_eq!(code(tree.remove_directory(ROOT, name("d"))), libc::ENOTEMPTY);
        assert_eq!(code(tree.unlink(ROOT, name("d"))), libc::EISDIR);
        assert_eq!(code(tree.rename((ROOT, name("old")), (inner, name("f")), false)), libc::EEXIST);
        assert_eq!(code(tree.rename((ROOT, name("old")), (ROOT, name("d")), true)), libc::EISDIR);
        assert_eq!(code(tree.create(ROOT, name("old"), BIRTH).map(drop)), libc::EEXIST);
        assert_eq!(tree.used(), 1);
        assert_eq!(tree.links(inner), 1);
    }
}
