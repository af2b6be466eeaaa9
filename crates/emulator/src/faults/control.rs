//! The control socket: one command a line, one line of JSON for each as the answer.
//!
//! A command is a fault as [`parse_command`] reads it, or `extents`, which answers with what the faults did so far.
//! Whoever may open the socket's file may break the emulated venue, and nothing else.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use feed::transport::{Interest, readable, wait, watch};
use serde_json::json;

use super::parse_command;
use crate::server::Shared;

/// How often a thread that waits looks whether the server ends.
const TURN: Duration = Duration::from_millis(100);
/// Longest command, bytes.
const LINE_BYTES_MAX: usize = 1 << 16;

/// Listens at a path. What an earlier run left there is taken away; a socket that somebody serves is not.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the socket until the server ends, then removes it.
pub(crate) fn serve(listener: UnixListener, path: PathBuf, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("{}-control", shared.venue.name())).spawn(move || {
        let mut clients: Vec<JoinHandle<()>> = Vec::new();
        while !shared.stopping() {
            clients.retain(|client| !client.is_finished());
            let mut fds = [watch(&listener, Interest::Read)];
            let ready = wait(&mut fds, Some(TURN)).is_ok() && readable(&fds[0]);
            if let Some((client, _)) = ready.then(|| listener.accept().ok()).flatten() {
                let shared = Arc::clone(&shared);
                let thread = std::thread::Builder::new().name("control".to_owned());
                clients.extend(thread.spawn(move || talk(client, &shared)).ok());
            }
        }
        for client in clients {
            if client.join().is_err() {
                tracing::error!("a thread of the control socket panicked");
            }
        }
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "the control socket cannot be removed");
        }
    })
}

fn talk(client: UnixStream, shared: &Shared) {
    if let Err(error) = answer_all(client, shared) {
        tracing::debug!(%error, "a client of the control socket is gone");
    }
}

fn answer_all(client: UnixStream, shared: &Shared) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(TURN))?;
    let mut answers = client.try_clone()?;
    let (mut reader, mut line) = (BufReader::new(client), Vec::new());
    while !shared.stopping() && line.len() <= LINE_BYTES_MAX {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) if line.is_empty() => return Ok(()),
            Ok(_) => {
                let answer = answer(String::from_utf8_lossy(&line).trim(), shared);
                writeln!(answers, "{answer}")?;
                line.clear();
            }
            // What was read so far stays in the line.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(command: &str, shared: &Shared) -> serde_json::Value {
    if command == "extents" {
        let extents: Vec<_> = shared.ledger.extents().iter().map(super::Extent::json).collect();
        return json!({"ok": true, "extents": extents});
    }
    let planned = match parse_command(command) {
        Ok(planned) => planned,
        Err(error) => return json!({"ok": false, "error": error.problem}),
    };
    let mut ids = Vec::new();
    for scripted in planned {
        match shared.schedule(scripted) {
            Ok(id) => ids.extend(id),
            Err(error) => return json!({"ok": false, "error": error.to_string()}),
        }
    }
    json!({"ok": true, "ids": ids})
}
