//! Mounts the file system in a folder of its own and sees to it that the mount goes away, whatever happens to the test.
//!
//! A small watcher process waits for the end of a pipe that only this process holds: when the test ends, panics or is
//! killed, the pipe closes, and the watcher unmounts, by force and lazily, so that nobody hangs in a call either. A
//! process that was killed while a thread of its own waits for an answer of its own cannot end, and keeps the pipe: the
//! watcher looks at the process, too.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption};

use crate::control::Control;
use crate::fuse::Fuse;

/// Threads that answer the kernel: so many stalled calls do not stop others.
const THREADS: usize = 8;

/// How long an end waits for the watcher.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// This machine or user cannot mount FUSE at all; a test says that it was skipped.
    #[error("no FUSE file system can be mounted here: {why}")]
    Impossible {
        /// What stands in the way.
        why: String,
    },
    /// It could be mounted, and something else failed.
    #[error("cannot mount a file system of faults on {path}: {source}")]
    Failed {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A mounted file system of faults; unmounted when dropped.
#[derive(Debug)]
pub struct FaultFs {
    path: PathBuf,
    control: Control,
    session: Option<BackgroundSession>,
    watcher: Child,
}

impl FaultFs {
    /// Mounts an empty file system in a new folder of the system's place for temporary files.
    pub fn mount() -> Result<Self, MountError> {
        let possible = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
        possible.map_err(|error| MountError::Impossible { why: format!("/dev/fuse: {error}") })?;
        let path = folder().map_err(|source| MountError::Failed { path: std::env::temp_dir(), source })?;
        Self::mount_at(path.clone()).inspect_err(|_| drop(std::fs::remove_dir(&path)))
    }

    /// Mounts, or says on standard error that the named test is skipped, and why.
    ///
    /// # Panics
    /// When a mount is possible here and failed all the same.
    pub fn mount_or_skip(test: &str) -> Option<Self> {
        match Self::mount() {
            Ok(mounted) => Some(mounted),
            Err(error @ MountError::Impossible { .. }) => {
                eprintln!("SKIPPED {test}: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn mount_at(path: PathBuf) -> Result<Self, MountError> {
        let failed = |source| MountError::Failed { path: path.clone(), source };
        // Before the mount, so that there is no moment without one.
        let mut watcher = watch(&path).map_err(failed)?;
        let control = Control::new();
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("faultfs".into()), MountOption::NoDev, MountOption::NoSuid, MountOption::NoAtime];
        config.n_threads = Some(THREADS);
        match fuser::spawn_mount(Fuse(control.shared()), &path, &config) {
            Ok(session) => Ok(Self { path, control, session: Some(session), watcher }),
            Err(error) => {
                release(&mut watcher);
                let denied = [libc::EPERM, libc::EACCES, libc::ENODEV];
                // Who may not mount is sent to a helper program, which is not there either.
                let no_helper = error.kind() == io::ErrorKind::NotFound;
                if no_helper || error.raw_os_error().is_some_and(|code| denied.contains(&code)) {
                    return Err(MountError::Impossible { why: format!("mount: {error}") });
                }
                Err(failed(error))
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The handle that breaks things.
    pub fn control(&self) -> &Control {
        &self.control
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        // Whoever waits in a stalled call is let go first.
        self.control.power_off(crate::Cut::Clean);
        release(&mut self.watcher);
        if let Some(session) = self.session.take() {
            let ended = session.umount_and_join();
            if let Err(error) = ended.filter_gone() {
                eprintln!("faultfs at {}: {error}", self.path.display());
            }
        }
        // Gone, or busy in some other mount namespace; the folder is empty either way.
        let _ = std::fs::remove_dir(&self.path);
    }
}

trait FilterGone {
    fn filter_gone(self) -> io::Result<()>;
}

impl FilterGone for io::Result<()> {
    /// The watcher was first: there is nothing left to unmount.
    fn filter_gone(self) -> io::Result<()> {
        match self {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT | libc::ENOTCONN)) => Ok(()),
            other => other,
        }
    }
}

/// A new folder with a name of its own.
fn folder() -> io::Result<PathBuf> {
    loop {
        let path = std::env::temp_dir().join(format!("faultfs-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| path),
        }
    }
}

/// Unmounts `$1` when standard input ends, or when process `$2` is dead or all but dead.
const WATCHER: &str = r#"
unmount() { umount -c -i -f -l "$1" 2>/dev/null; rmdir "$1" 2>/dev/null; }
( while grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$2/status" 2>/dev/null; do sleep 0.5; done; unmount "$1" ) &
read -r _
kill $! 2>/dev/null
unmount "$1"
:
"#;

/// Starts the watcher, in a process group of its own so that what kills the test's does not reach it.
fn watch(path: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHER, "sh"])
        .arg(path)
        .arg(std::process::id().to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Lets the watcher do its work and waits for it, within bounds.
fn release(watcher: &mut Child) {
    drop(watcher.stdin.take());
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if !matches!(watcher.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = watcher.kill();
    let _ = watcher.wait();
}
