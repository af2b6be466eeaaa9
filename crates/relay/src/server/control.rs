//! The second thread: sleeps on the sockets while the relay sleeps on the doorbell, and passes on what it sees.
//!
//! A futex and sockets cannot be waited for together, and every hop costs a wake-up. The data's way is feed, doorbell,
//! relay, so the relay's thread sleeps on the doorbell itself and this one, which knows nothing of data, rings it for
//! new connections, first lines, hang-ups and full sockets that have room again. It rings only while the relay sleeps.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use ring::Doorbell;
use rustix::event::{EventfdFlags, epoll, eventfd};

/// Something to read, or the other side is gone.
pub(super) const READABLE: u32 = 1;
/// Room to write.
pub(super) const WRITABLE: u32 = 2;

/// Events fetched at once; more wait for the next turn.
const EVENTS_PER_WAIT: usize = 64;

/// What happened, by slot.
struct Board {
    any: AtomicBool,
    /// The relay is about to sleep, or does.
    sleeping: AtomicBool,
    slots: Box<[AtomicU32]>,
    stop: AtomicBool,
}

pub(super) struct Control {
    epoll: Arc<OwnedFd>,
    wake: OwnedFd,
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Slots are numbered below `slots`.
    pub(super) fn start(slots: usize, doorbell: Doorbell) -> io::Result<Control> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let stop_slot = slots as u64;
        epoll::add(&*epoll, &wake, epoll::EventData::new_u64(stop_slot), epoll::EventFlags::IN)?;
        let board = Arc::new(Board {
            any: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            stop: AtomicBool::new(false),
        });
        let (theirs, on) = (board.clone(), epoll.clone());
        let thread = std::thread::Builder::new()
            .name("relay-sockets".to_owned())
            .spawn(move || watch(&on, &theirs, &doorbell))?;
        Ok(Control { epoll, wake, board, thread: Some(thread) })
    }

    /// Watches a socket for something to read, told once per change.
    pub(super) fn add(&self, slot: usize, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::add(&*self.epoll, socket, epoll::EventData::new_u64(slot as u64), reading())?)
    }

    /// Watches for room to write too, once.
    pub(super) fn await_room(&self, slot: usize, socket: impl AsFd) -> io::Result<()> {
        let flags = reading() | epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        Ok(epoll::modify(&*self.epoll, socket, epoll::EventData::new_u64(slot as u64), flags)?)
    }

    /// Back to reading alone.
    pub(super) fn await_reading(&self, slot: usize, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::modify(&*self.epoll, socket, epoll::EventData::new_u64(slot as u64), reading())?)
    }

    /// Whether anything happened since the last [`Control::take`].
    pub(super) fn has_news(&self) -> bool {
        self.board.any.load(Ordering::SeqCst)
    }

    /// Hands out what happened: slot and [`READABLE`] or [`WRITABLE`]. It may be about an earlier owner of the slot.
    pub(super) fn take(&self, mut f: impl FnMut(usize, u32)) {
        if !self.board.any.swap(false, Ordering::SeqCst) {
            return;
        }
        for (slot, events) in self.board.slots.iter().enumerate() {
            if events.load(Ordering::Relaxed) != 0 {
                f(slot, events.swap(0, Ordering::SeqCst));
            }
        }
    }

    /// From now on news rings the doorbell; look for news once more after this and before sleeping.
    pub(super) fn going_to_sleep(&self) {
        self.board.sleeping.store(true, Ordering::SeqCst);
    }

    pub(super) fn awake(&self) {
        self.board.sleeping.store(false, Ordering::SeqCst);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.board.stop.store(true, Ordering::SeqCst);
        // A counter of 1 always has room for another 1.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn reading() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
}

fn watch(epoll: &OwnedFd, board: &Board, doorbell: &Doorbell) {
    let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
    while !board.stop.load(Ordering::SeqCst) {
        match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for sockets: clients are noticed late");
                return;
            }
        }
        let mut any = false;
        for event in events.drain(..) {
            let (flags, slot) = (event.flags, event.data.u64() as usize);
            let Some(slot) = board.slots.get(slot) else { continue };
            let room = flags.contains(epoll::EventFlags::OUT);
            let other = !(flags - epoll::EventFlags::OUT).is_empty();
            slot.fetch_or(if room { WRITABLE } else { 0 } | if other { READABLE } else { 0 }, Ordering::SeqCst);
            any = true;
        }
        // Either the relay sees this before it sleeps, or we see that it sleeps.
        if any && !board.any.swap(true, Ordering::SeqCst) && board.sleeping.load(Ordering::SeqCst) {
            doorbell.ring();
        }
    }
}
