//! Says on the watermark that the writer is stuck in a write or sync, since the writer itself cannot.

use crate::watermark::{Published, State};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The watermark page and how the writer's current call to the disk is getting on.
#[derive(Debug)]
pub(crate) struct Shared {
    published: Mutex<Published>,
    /// Odd while the writer is inside a call to the disk; counts up at its start and its end.
    calls: AtomicU64,
}

impl Shared {
    pub fn new(published: Published) -> Arc<Shared> {
        Arc::new(Shared { published: Mutex::new(published), calls: AtomicU64::new(0) })
    }

    pub fn lock(&self) -> MutexGuard<'_, Published> {
        // A page that was half filled by a thread that panicked is filled anew before it is put.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call to the disk under watch.
    pub fn call<T>(&self, f: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let result = f();
        self.calls.fetch_add(1, Ordering::Relaxed);
        result
    }
}

/// Starts the thread that looks after the writer; it ends with it.
pub(crate) fn start(shared: &Arc<Shared>, stall_after: Duration) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    let pause = stall_after / 4;
    std::thread::Builder::new().name("journal-watch".into()).spawn(move || {
        let mut seen = (0, Instant::now());
        let mut told = false;
        loop {
            std::thread::sleep(pause);
            let Some(shared) = shared.upgrade() else { return };
            let calls = shared.calls.load(Ordering::Relaxed);
            if calls != seen.0 {
                seen = (calls, Instant::now());
                told = false;
            } else if !calls.is_multiple_of(2) && !told && seen.1.elapsed() >= stall_after {
                told = true;
                tell(&shared, stall_after);
            }
        }
    })?;
    Ok(())
}

fn tell(shared: &Shared, stall_after: Duration) {
    let mut published = shared.lock();
    let now = published.page.time.after(stall_after);
    published.page.state = State::Stalled as u32;
    published.page.since = published.page.time;
    published.page.reason = format!("a write or sync has not returned for {} ms", stall_after.as_millis());
    tracing::warn!("the journal's disk stalls: {}", published.page.reason);
    // A page that cannot be put down either leaves the old one, which acknowledges no more than it did.
    let _ = published.put(now);
}
