//! The listening socket: bound where nobody else listens, removed when done, and only its own file.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::ServerError;

/// Others of the group may connect; who they are is checked when they do.
const SOCKET_MODE: u32 = 0o660;

pub(super) struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    /// Device and inode of our socket: a successor's file is not ours to remove.
    identity: (u64, u64),
}

impl Listener {
    pub(super) fn bind(path: &Path) -> Result<Listener, ServerError> {
        crate::path::check(path)?;
        remove_stale(path)?;
        let io = |action| move |source| ServerError::Io { action, path: path.to_owned(), source };
        let socket = UnixListener::bind(path).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => ServerError::Busy { path: path.to_owned() },
            _ => io("listen at")(source),
        })?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(io("set the mode of"))?;
        socket.set_nonblocking(true).map_err(io("set up"))?;
        let identity = identity(path).map_err(io("look at"))?;
        Ok(Listener { socket, path: path.to_owned(), identity })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Removes what a killed relay left: a socket at which nobody answers.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let io = |action| move |source| ServerError::Io { action, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ServerError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(io("remove the stale socket"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("see who listens at")(error)),
        Ok(_) => Err(ServerError::Busy { path: path.to_owned() }),
    }
}
