//! Loom models of the protocol: every interleaving of small runs, with the stale reads that weak memory allows.
//! Run: `RUSTFLAGS="--cfg loom" cargo test --release -p alphapulse-ring --lib`.
//!
//! A slot is two words here (sequence, payload), a ring two or four slots. Each guarantee has a twin that takes the
//! guarding order away and must fail, so that a model too small to notice is itself noticed.

use std::sync::Arc;

use crate::cursor::{Cursor, Poll};
use crate::doorbell::{Ticket, arm, claim};
use crate::epochs::Lost;
use crate::error::RingError;
use crate::layout::heap::Heap;
use crate::pen::{Pen, Weaken, finished_epochs, format};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

/// More switches of thread than these at once find nothing new in runs this short, and cost minutes.
const PREEMPTIONS_MAX: usize = 3;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(run);
}

/// A record whose every word names the record, so that a torn copy shows.
fn record(sequence: u64, words: u64) -> Vec<u64> {
    (0..words).map(|word| sequence << 16 | if word == 0 { words << 8 } else { word }).collect()
}

fn pen(heap: &Arc<Heap>, epoch: u64) -> Pen<Arc<Heap>> {
    Pen::begin(heap.clone(), &finished_epochs(heap).unwrap(), epoch, 1).unwrap()
}

/// Polls a few times; returns the sequences delivered and checks that nothing is torn, repeated or silently missing.
fn read(cursor: &mut Cursor<Arc<Heap>>, polls: usize, racing: bool) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    for _ in 0..polls {
        let from = cursor.next;
        let already = seen.len();
        let polled = cursor.poll(2, |entry, words| {
            assert!(words == record(entry.sequence, words.len() as u64), "torn copy");
            seen.push((entry.epoch, entry.sequence));
        });
        let next = cursor.next;
        let polled = match polled {
            // Two slots leave a racing reader no room to find a place; it may say so, but never when nothing races.
            Err(RingError::Contended { .. }) if racing => continue,
            Err(error) => panic!("torn copy: {error}"),
            Ok(polled) => polled,
        };
        match polled {
            Poll::Records(count) => {
                assert_eq!(count, seen.len() - already);
                let first = next.sequence - count as u64;
                assert!(first == if next.epoch == from.epoch { from.sequence } else { 1 });
                let named: Vec<_> = (first..next.sequence).map(|sequence| (next.epoch, sequence)).collect();
                assert_eq!(seen[already..], named);
            }
            Poll::Lapped(lost) => {
                assert_eq!(lost, [Lost { epoch: 1, first: from.sequence, last: Some(next.sequence - 1) }]);
            }
            Poll::Idle | Poll::Retired | Poll::Missing(_) => {}
        }
    }
    seen
}

fn write_and_read(slots: usize, lengths: &'static [u64], weaken: Weaken) {
    model(move || {
        let heap = Arc::new(Heap::new(slots));
        format(&heap, &[]);
        let mut pen = pen(&heap, 1);
        pen.weaken = weaken;
        let mut cursor = Cursor::new(heap).unwrap();
        let writer = thread::spawn(move || {
            for (index, words) in lengths.iter().enumerate() {
                pen.push(&record(index as u64 + 1, *words));
                pen.publish(index as u64);
            }
        });
        read(&mut cursor, 2, true);
        writer.join().unwrap();
        // Nothing races any more: what is left is delivered or named.
        read(&mut cursor, 5, false);
        assert_eq!(cursor.next.sequence, lengths.len() as u64 + 1);
    });
}

#[test]
fn a_published_record_is_seen_whole() {
    write_and_read(4, &[1, 1], Weaken::Nothing);
}

#[test]
#[should_panic(expected = "torn copy")]
fn a_relaxed_publish_is_caught() {
    write_and_read(4, &[1, 1], Weaken::RelaxedPublish);
}

#[test]
fn a_lapped_reader_knows_what_it_lost() {
    write_and_read(2, &[1, 1, 1, 1], Weaken::Nothing);
}

#[test]
#[should_panic(expected = "torn copy")]
fn a_missing_intent_fence_is_caught() {
    write_and_read(2, &[1, 1, 1, 1], Weaken::NoIntentFence);
}

#[test]
fn a_record_of_two_slots_is_seen_whole_or_not_at_all() {
    write_and_read(4, &[2, 1, 2], Weaken::Nothing);
}

#[test]
fn a_takeover_is_followed() {
    model(|| {
        let heap = Arc::new(Heap::new(4));
        format(&heap, &[]);
        let mut first = pen(&heap, 1);
        let mut cursor = Cursor::new(heap.clone()).unwrap();
        let writer = thread::spawn(move || {
            first.push(&record(1, 1));
            first.publish(1);
            // Pushed and never published: as if killed here.
            first.push(&record(2, 1));
            let mut second = pen(&heap, 2);
            second.push(&record(1, 1));
            second.publish(2);
        });
        let mut seen = read(&mut cursor, 2, true);
        writer.join().unwrap();
        seen.extend(read(&mut cursor, 3, false));
        assert_eq!(seen, [(1, 1), (2, 1)]);
    });
}

/// The kernel's half of a futex: compare and sleep are one step.
#[derive(Default)]
struct Kernel {
    queue: Mutex<()>,
    woken: Condvar,
}

impl Kernel {
    fn wait(&self, word: &AtomicU32, ticket: Ticket) {
        let guard = self.queue.lock().unwrap();
        if word.load(Ordering::Relaxed) == ticket.0 {
            drop(self.woken.wait(guard).unwrap());
        }
    }

    fn wake(&self) {
        let _guard = self.queue.lock().unwrap();
        self.woken.notify_all();
    }
}

/// Sleeping readers and publishing writers; loom reports a reader left asleep as a deadlock.
fn sleep_and_wake(writers: usize, readers: usize, notify: fn(&AtomicU32) -> bool) {
    model(move || {
        let kernel = Arc::new(Kernel::default());
        let word = Arc::new(AtomicU32::new(0));
        let tails: Arc<Vec<AtomicU64>> = Arc::new((0..writers).map(|_| AtomicU64::new(0)).collect());
        let spawned: Vec<_> = (0..writers)
            .map(|index| {
                let (kernel, word, tails) = (kernel.clone(), word.clone(), tails.clone());
                thread::spawn(move || {
                    tails[index].store(1, Ordering::Release);
                    if notify(&word) {
                        kernel.wake();
                    }
                })
            })
            .collect();
        let read = move || {
            let all = || tails.iter().all(|tail| tail.load(Ordering::Acquire) == 1);
            // One wake a writer at most, so the loop is bounded.
            while !all() {
                let ticket = arm(&word);
                if all() {
                    break;
                }
                kernel.wait(&word, ticket);
            }
        };
        let others: Vec<_> = (1..readers).map(|_| thread::spawn(read.clone())).collect();
        read();
        for handle in spawned.into_iter().chain(others) {
            handle.join().unwrap();
        }
    });
}

#[test]
fn no_wake_up_is_lost() {
    sleep_and_wake(1, 1, claim);
}

#[test]
fn no_wake_up_is_lost_among_two_readers() {
    sleep_and_wake(1, 2, claim);
}

#[test]
fn no_wake_up_is_lost_among_two_writers() {
    sleep_and_wake(2, 1, claim);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_missing_doorbell_fence_is_caught() {
    sleep_and_wake(1, 1, |word| {
        let value = word.load(Ordering::Relaxed);
        value & 1 != 0 && word.compare_exchange(value, (value & !1) + 2, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    });
}
