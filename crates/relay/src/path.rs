//! Paths of Unix sockets: checked before the system answers with something nobody understands.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most bytes a Unix socket's path may have (`sun_path` holds 108, the last is zero).
pub const SOCKET_PATH_MAX: usize = 107;

/// The path cannot be a socket's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("socket path {path} has {bytes} bytes, at most {SOCKET_PATH_MAX} are possible: choose a shorter one")]
pub struct SocketPathError {
    /// The path.
    pub path: PathBuf,
    /// Its length.
    pub bytes: usize,
}

/// Checks the length.
pub(crate) fn check(path: &Path) -> Result<(), SocketPathError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > SOCKET_PATH_MAX {
        return Err(SocketPathError { path: path.to_owned(), bytes });
    }
    Ok(())
}
