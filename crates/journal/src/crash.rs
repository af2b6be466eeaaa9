//! Points in the code at which a test can have the process killed, as a power switch would.
//!
//! `ALPHAPULSE_TEST_CRASH_AT=journal.before_sync:3` kills this process (SIGKILL, nothing is flushed) when it comes to
//! that point for the third time. Without the variable a point costs one look at a word that never changes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that names a point, and after a colon which visit to it kills (1 when left out).
pub const VARIABLE: &str = "ALPHAPULSE_TEST_CRASH_AT";

/// Every point of the journal, so that a test can visit them all.
pub const POINTS: [&str; 18] = [
    "journal.before_write",
    "journal.after_write",
    "journal.before_sync",
    "journal.after_sync",
    "journal.after_watermark",
    "journal.before_checkpoint",
    "journal.after_checkpoint",
    "journal.before_prepare",
    "journal.after_prepare",
    "journal.before_rotate",
    "journal.before_rotate_rename",
    "journal.after_rotate_rename",
    "journal.after_rotate",
    "journal.before_cursor_rename",
    "journal.after_cursor_rename",
    "journal.before_remove",
    "journal.after_remove",
    "journal.after_rewrite",
];

struct Target {
    name: String,
    visits_left: AtomicU64,
}

fn target() -> Option<&'static Target> {
    static TARGET: OnceLock<Option<Target>> = OnceLock::new();
    let read = || {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, visit) = text.split_once(':').unwrap_or((&text, "1"));
        let visit = visit.parse().expect("the variable holds NAME or NAME:VISIT");
        Some(Target { name: name.to_owned(), visits_left: AtomicU64::new(visit) })
    };
    TARGET.get_or_init(read).as_ref()
}

/// The process ends here when the environment says so.
#[inline]
pub fn point(name: &str) {
    if let Some(target) = target()
        && target.name == name
        && target.visits_left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        kill();
    }
}

#[cold]
fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal ends the process before the call returns; should it not have come, ending is still what was asked for.
    std::process::abort()
}
