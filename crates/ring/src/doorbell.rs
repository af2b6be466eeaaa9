//! How a writer wakes sleeping readers without a system call while nobody sleeps.
//!
//! One 32-bit word per ring directory: bit 0 says "somebody sleeps", the rest counts rings. A reader sets the bit,
//! looks at its rings once more and sleeps on the value it saw; a writer publishes, looks at the word behind a full
//! fence, and only when the bit is set replaces the value and wakes everybody. Either the reader's second look sees
//! the publication or the writer's look sees the bit. A reader killed in its sleep leaves the bit behind: one wake for
//! nobody, no more. A writer killed between replacing the value and the wake leaves its readers to their time-out or
//! to its successor, which rings when it takes the ring over.

use crate::sync::{AtomicU32, Ordering, fence};

/// Bit 0 of the word.
pub(crate) const SLEEPING: u32 = 1;
/// What one ring adds, past the bit.
const RING: u32 = 2;

/// A promise to have looked: the value to sleep on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub(crate) u32);

/// Announces a sleeper. Whatever is published before this is seen by a look after it; whatever is published after it
/// changes the word.
#[inline]
pub(crate) fn arm(word: &AtomicU32) -> Ticket {
    let value = word.fetch_or(SLEEPING, Ordering::SeqCst) | SLEEPING;
    // Pairs with the fence in `claim`.
    fence(Ordering::SeqCst);
    Ticket(value)
}

/// After a publication: true when somebody sleeps and it fell to the caller to wake them.
#[inline(always)]
pub(crate) fn claim(word: &AtomicU32) -> bool {
    // Pairs with the fence in `arm`: the publication comes before the look at the word.
    fence(Ordering::SeqCst);
    let value = word.load(Ordering::Relaxed);
    value & SLEEPING != 0 && claim_from(word, value)
}

#[cold]
#[inline(never)]
fn claim_from(word: &AtomicU32, mut value: u32) -> bool {
    // Bounded by the other writers and readers of the directory: each failure is somebody else's success.
    while value & SLEEPING != 0 {
        match word.compare_exchange(value, next(value), Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(seen) => value = seen,
        }
    }
    false
}

/// Changes the word whether somebody sleeps or not.
pub(crate) fn force(word: &AtomicU32) {
    fence(Ordering::SeqCst);
    let mut value = word.load(Ordering::Relaxed);
    while let Err(seen) = word.compare_exchange(value, next(value), Ordering::SeqCst, Ordering::Relaxed) {
        value = seen;
    }
}

fn next(value: u32) -> u32 {
    (value & !SLEEPING).wrapping_add(RING)
}

#[cfg(not(loom))]
pub use shell::Doorbell;

#[cfg(not(loom))]
mod shell {
    use super::{Ticket, arm, claim, force};
    use crate::directory::Segment;
    use crate::sync::{AtomicU64, Ordering};
    use std::sync::Arc;
    use std::time::Duration;

    /// The doorbell of one ring directory. Clones share it.
    #[derive(Clone)]
    pub struct Doorbell {
        segment: Arc<Segment>,
        wakes: Arc<AtomicU64>,
    }

    impl Doorbell {
        pub(crate) fn new(segment: Segment) -> Doorbell {
            Doorbell { segment: Arc::new(segment), wakes: Arc::new(AtomicU64::new(0)) }
        }

        /// First step of going to sleep. Then look at every ring once more ([`crate::Reader::has_news`]); with news,
        /// drop the ticket and read; without, [`Doorbell::wait`].
        #[inline]
        pub fn arm(&self) -> Ticket {
            arm(self.segment.word())
        }

        /// Sleeps until the doorbell rings after `ticket` was drawn, or for `timeout`, or for no reason at all (a
        /// signal): look again in every case.
        pub fn wait(&self, ticket: Ticket, timeout: Option<Duration>) {
            let timeout = timeout.map(|timeout| libc::timespec {
                tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the word lies in a mapping that `self.segment` keeps alive, and the time-out is null or on our
            // stack. Every outcome (woken, changed before, time-out, signal) means the same: look again.
            unsafe {
                libc::syscall(libc::SYS_futex, self.segment.word().as_ptr(), libc::FUTEX_WAIT, ticket.0, timeout);
            }
        }

        /// Wakes every sleeper of the directory, whether or not anything was published: for a shutdown, say.
        pub fn ring(&self) {
            force(self.segment.word());
            self.wake();
        }

        /// After a publication: wakes whoever sleeps. No system call when nobody does.
        #[inline(always)]
        pub(crate) fn notify(&self) {
            if claim(self.segment.word()) {
                self.wake();
            }
        }

        /// Wake-ups issued (system calls made) through this doorbell and its clones.
        pub fn wakes(&self) -> u64 {
            self.wakes.load(Ordering::Relaxed)
        }

        #[cold]
        #[inline(never)]
        fn wake(&self) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the word lies in a mapping that `self.segment` keeps alive; waking reads no memory of ours.
            unsafe {
                libc::syscall(libc::SYS_futex, self.segment.word().as_ptr(), libc::FUTEX_WAKE, i32::MAX);
            }
        }
    }
}
