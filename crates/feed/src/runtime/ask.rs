//! Consumers ask a feed for snapshots here: a Unix socket beside its ring, `VENUE.ask`, served by a thread of its own.
//! `snapshot SYMBOL…` (`*` for all) in -> [`Asked`] for the feed's loop -> `ok N` or `error …` back.
//!
//! Only the feed's own user and root are heard, as the kernel names them. What a flood costs is bounded: one connection
//! at a time, [`REST_BETWEEN`] between two, one request each; how often a book is told is the session's own pace. Who
//! does not wait for the answer is served as well.

use crate::transport::{Interest, Waker, readable, wait, watch};
use rustix::net::sockopt::socket_peercred;
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The longest path a Unix socket can have, in bytes.
const PATH_BYTES_MAX: usize = 107;
/// The most bytes of a request: some thousand symbols.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How long a caller may take to say what it wants.
const LINE_WITHIN: Duration = Duration::from_millis(500);
/// How long the feed's loop may take to answer: it turns within its longest sleep.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Between two connections: a thousand requests a second at most reach the feed's loop.
const REST_BETWEEN: Duration = Duration::from_millis(1);

/// Symbols whose books a consumer wants, and where to say what came of it.
pub(super) struct Asked {
    pub symbols: Vec<String>,
    answer: SyncSender<Result<usize, String>>,
}

impl Asked {
    /// So many books will be told, or why none can be.
    pub(super) fn answer(self, outcome: Result<usize, String>) {
        // Who asked may be gone; what was asked for is told all the same.
        let _ = self.answer.try_send(outcome);
    }
}

/// The socket, open as long as this lives.
pub(super) struct Door {
    path: PathBuf,
    asked: Receiver<Asked>,
    close: Arc<Waker>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Door {
    /// Listens at `path`; `bell` is rung when something was asked.
    pub(super) fn open(path: PathBuf, bell: Arc<Waker>) -> io::Result<Door> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            let words = format!("{} has more than {PATH_BYTES_MAX} bytes; choose a shorter folder", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        // The ring beside it is ours, so whoever listened here is gone.
        if fs::symlink_metadata(&path).is_ok_and(|m| m.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let close = Arc::new(Waker::new()?);
        let (sender, asked) = sync_channel(1);
        let porter = Porter { listener, close: close.clone(), bell, asked: sender };
        let thread = thread::Builder::new().name("snapshots-asked".to_owned()).spawn(move || porter.serve())?;
        Ok(Door { path, asked, close, thread: Some(thread) })
    }

    /// What was asked since.
    pub(super) fn take(&self) -> Option<Asked> {
        match self.asked.try_recv() {
            Ok(asked) => Some(asked),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close.wake();
        // One who waits for an answer is told that there is none.
        while let Some(asked) = self.take() {
            asked.answer(Err("the feed ends".to_owned()));
        }
        if let Some(thread) = self.thread.take() {
            // It ends by itself and says nothing.
            let _ = thread.join();
        }
        // A successor may have replaced it; then there is nothing of ours to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// The path of a venue's socket among the rings.
pub(super) fn path(rings: &Path, venue: &str) -> PathBuf {
    rings.join(format!("{venue}.ask"))
}

/// What the thread holds.
struct Porter {
    listener: UnixListener,
    close: Arc<Waker>,
    bell: Arc<Waker>,
    asked: SyncSender<Asked>,
}

impl Porter {
    fn serve(self) {
        loop {
            let mut fds = [watch(&*self.close, Interest::Read), watch(&self.listener, Interest::Read)];
            if wait(&mut fds, None).is_err() || readable(&fds[0]) {
                return;
            }
            if let Ok((caller, _)) = self.listener.accept() {
                // A caller that breaks off has said nothing.
                let _ = self.hear(caller);
            }
            thread::sleep(REST_BETWEEN);
        }
    }

    fn hear(&self, mut caller: UnixStream) -> io::Result<()> {
        let uid = socket_peercred(&caller)?.uid;
        let outcome = if uid.is_root() || uid == rustix::process::geteuid() {
            caller.set_nonblocking(false)?;
            let line = line(&mut caller)?;
            self.ask(&line)
        } else {
            Err(format!("user {} may not ask this feed for anything", uid.as_raw()))
        };
        let answer = match outcome {
            Ok(books) => format!("ok {books}\n"),
            Err(words) => format!("error {words}\n"),
        };
        caller.set_write_timeout(Some(LINE_WITHIN))?;
        caller.write_all(answer.as_bytes())
    }

    fn ask(&self, line: &str) -> Result<usize, String> {
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        let verb = words.next();
        let symbols: Vec<String> = words.collect();
        if verb.as_deref() != Some("snapshot") || symbols.is_empty() {
            return Err("the one request is: snapshot SYMBOL… (canonical or the venue's, * for all)".to_owned());
        }
        let (answer, outcome) = sync_channel(1);
        self.asked.send(Asked { symbols, answer }).map_err(|_| "the feed ends".to_owned())?;
        self.bell.wake();
        outcome.recv_timeout(ANSWER_WITHIN).unwrap_or_else(|_| Err("the feed does not answer in time".to_owned()))
    }
}

/// The caller's one line, as far as it says it in time.
fn line(caller: &mut UnixStream) -> io::Result<String> {
    let until = Instant::now() + LINE_WITHIN;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || bytes.len() > LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        caller.set_read_timeout(Some(left))?;
        let got = caller.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..got]);
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            bytes.truncate(end);
            return String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into());
        }
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
