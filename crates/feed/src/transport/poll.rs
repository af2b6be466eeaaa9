//! The one place where the feed's thread sleeps, and the bell that other threads ring to end its sleep.
//!
//! A process has a handful of descriptors, so `poll` costs no more than `epoll` and keeps no state in the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

pub use rustix::event::PollFd;

/// What to be woken for. Errors and hang-ups always wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read.
    Read,
    /// Bytes to read, or room to write what is pending.
    ReadWrite,
}

/// An entry for [`wait`].
pub fn watch<Fd: AsFd>(fd: &Fd, interest: Interest) -> PollFd<'_> {
    let flags = match interest {
        Interest::Read => PollFlags::IN,
        Interest::ReadWrite => PollFlags::IN | PollFlags::OUT,
    };
    PollFd::new(fd, flags)
}

/// Sleeps until a descriptor is ready or `timeout` has passed; `None` sleeps without end. Returns how many are ready.
///
/// A signal ends the sleep with 0, so that the loop around it looks at what the signal changed.
pub fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(|t| Timespec::try_from(t).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match poll(fds, timeout.as_ref()) {
        Ok(ready) => Ok(ready),
        Err(Errno::INTR) => {
            fds.iter_mut().for_each(PollFd::clear_revents);
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a read will not block: bytes, the end of the stream, or an error to collect.
pub fn readable(fd: &PollFd<'_>) -> bool {
    fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
}

/// Whether a write makes progress or reports why not.
pub fn writable(fd: &PollFd<'_>) -> bool {
    fd.revents().intersects(PollFlags::OUT | PollFlags::ERR)
}

/// Whether the peer is gone; what it sent before may still be read.
pub fn hung_up(fd: &PollFd<'_>) -> bool {
    fd.revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// A descriptor that another thread makes readable. Share it in an `Arc`.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
}

impl Waker {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)? })
    }

    /// Makes it readable. Any number of calls before [`clear`](Self::clear) are one.
    pub fn wake(&self) {
        // WouldBlock means that the counter stands at its maximum: the sleeper is as awake as can be.
        match rustix::io::write(&self.event, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => panic!("writing to an open eventfd can only fail by a full counter: {error}"),
        }
    }

    /// Silences it and says whether it rang. Clear first, then look at what was announced: the other order loses a ring.
    pub fn clear(&self) -> bool {
        let mut counter = [0_u8; 8];
        rustix::io::read(&self.event, &mut counter).is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_ring_from_another_thread_ends_the_sleep_once() {
        let waker = Arc::new(Waker::new().expect("an eventfd"));
        let ringer = Arc::clone(&waker);
        let thread = std::thread::spawn(move || {
            ringer.wake();
            ringer.wake();
        });
        let mut fds = [watch(&*waker, Interest::Read)];
        assert_eq!(wait(&mut fds, Some(Duration::from_secs(20))).expect("poll"), 1);
        assert!(readable(&fds[0]));
        thread.join().expect("the ringer");
        assert!(waker.clear());
        assert!(!waker.clear());
        let mut fds = [watch(&*waker, Interest::Read)];
        assert_eq!(wait(&mut fds, Some(Duration::ZERO)).expect("poll"), 0);
        assert!(!readable(&fds[0]));
    }
}
