//! A file system for tests whose disk can be pulled: what was not synced is lost on a power cut, sectors tear, fsync
//! fails and then lies, the disk fills up, stalls, goes read-only or rots, all on demand and by a seed.
//!
//! mount (FUSE, memory only) -> any process reads and writes files -> [`Control`] breaks things from the test.
//! Every file has two images: what processes see, and what is on the medium. Only fsync and fdatasync carry one to the
//! other; names (create, rename, remove) reach the medium when their directory is synced. The kernel caches nothing,
//! so the meaning of every call is decided here. Knows nothing of what is stored on it.
//!
//! Stricter than any real disk where it may be (a new file's name is not durable by the file's own fsync), never
//! kinder. Not modelled: permissions, symbolic links, shared writable mappings.

#![forbid(unsafe_code)]

mod control;
mod fuse;
mod image;
mod mount;
mod tree;

pub use control::{Control, Counts, Cut, Slow};
pub use image::Unit;
pub use mount::{FaultFs, MountError};
