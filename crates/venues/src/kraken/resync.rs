//! Books and the trust in them: a snapshot begins it, every message proves it, a failed proof ends it.
//!
//! The venue has no sequence and no replay, so its checksum is the only proof between two snapshots. A book that fails
//! it is suspect at once; it alone is unsubscribed and subscribed again, at most [`ATTEMPTS_MAX`] times in a row, and
//! nothing of it is told until a snapshot agrees with its own checksum.

use super::machine::Kraken;
use super::market::Ladder;
use super::messages::{BookMessage, Kind};
use super::{map, subscribe};
use crate::trust::Doubts;
use crate::{Counts, Known, Outbox, Proof, Trust};
use book::Book;
use model::{BookState, GapCause, Price, Qty, Reason, Side, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::{SnapshotReason, Status};

/// How long the snapshot may take after a subscription. The largest come within a second.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(10);

/// Attempts in a row to bring a book back. With the waits between them they last over two minutes; a book that
/// still fails then is not mended by another try.
const ATTEMPTS_MAX: u32 = 8;

/// The first attempt is made at once, the second after this, and each later one after twice as long.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A book that was live for so long has its attempts forgotten.
const ATTEMPTS_FORGET: Duration = Duration::from_secs(60);

impl Doubts for Kraken {
    #[inline]
    fn proved(&mut self, k: Known) -> (&mut Trust, &Book, &mut Counts) {
        let Ladder { trust, book, .. } = &mut self.markets[k as usize].ladder;
        (trust, book, &mut self.counts)
    }

    fn book_count(&self) -> usize {
        self.markets.len()
    }

    fn last_heard(&self) -> UnixNanos {
        self.heard()
    }

    fn rhythm_floor(&self) -> Option<Duration> {
        self.settings.stale_after.rhythm_floor()
    }

    fn doubt(&mut self, k: Known, why: (Reason, GapCause, &str), now: UnixNanos, out: &mut Outbox) {
        self.distrust(k, why, now, out);
    }
}

impl Kraken {
    #[inline]
    pub(super) fn apply_books(&mut self, kind: Kind, received: UnixNanos, out: &mut Outbox) {
        for n in 0..self.scratch.books.len() {
            let message = self.scratch.books[n].clone();
            let k = self.known(message.target);
            match kind {
                Kind::Update => self.update_book(k, &message, received, out),
                Kind::Snapshot => self.load_book(k, &message, received, out),
            }
            self.seen(k, StreamKind::Book, message.time.0, received, out);
        }
    }

    #[inline]
    fn update_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        let verifies = self.verifies();
        let m = &mut self.markets[k as usize];
        if !m.ladder.trust.is_live() {
            self.counts.book_updates_old += 1;
            return;
        }
        let mark = out.records.mark();
        let (bids, asks) = (&self.scratch.bids[message.bids.clone()], &self.scratch.asks[message.asks.clone()]);
        let mut levels = [(Side::Buy, bids), (Side::Sell, asks)];
        if message.asks_first {
            levels.swap(0, 1);
        }
        map::changes(m, levels, message.time, received, &mut out.records, &mut self.counts);
        m.ladder.book.truncate(m.ladder.depth as usize);
        if let Some(theirs) = message.checksum.filter(|_| verifies) {
            let ours = m.ladder.checksum.of(&m.ladder.book, m.by);
            if ours != theirs {
                out.records.truncate(mark);
                self.counts.book_levels -= (bids.len() + asks.len()) as u64;
                self.checksum_differs(k, ours, theirs, received, out);
                return;
            }
            self.counts.checksums_ok += 1;
            m.ladder.trust.held(Proof::Checksum);
        }
        let Ladder { trust, book, .. } = &mut m.ladder;
        let crossed = trust.applied(book, message.time.0, received);
        if crossed && verifies {
            out.records.truncate(mark);
            self.counts.book_levels -= (bids.len() + asks.len()) as u64;
            return self.crossed(k, received, out);
        }
        self.counts.book_updates += 1;
        self.counts.crossed += u64::from(crossed);
        (m.ladder.proof, m.ladder.time, m.ladder.last_recv) =
            (message.checksum.unwrap_or_default(), message.time, received);
    }

    fn load_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        self.counts.book_snapshots += 1;
        let (verifies, learns) = (self.verifies(), self.learns());
        let m = &mut self.markets[k as usize];
        let (bids, asks) = (&self.scratch.bids[message.bids.clone()], &self.scratch.asks[message.asks.clone()]);
        if let (true, Some(depth)) = (learns, message.depth) {
            m.ladder.depth = depth;
        }
        if m.ladder.depth == 0 || (learns && bids.len().max(asks.len()) > m.ladder.depth as usize) {
            // A capture without its acknowledgements: the least depth that holds the snapshot.
            let levels = u32::try_from(bids.len().max(asks.len())).unwrap_or(u32::MAX);
            m.ladder.depth = subscribe::depth(levels).unwrap_or(levels);
        }
        if let Some((price, size)) = message.digits {
            m.learn_precision(price, size);
        }
        m.ladder.book.clear();
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for &(price, size) in levels {
                m.ladder.book.set(side, Price(price), Qty(size));
            }
        }
        m.ladder.book.truncate(m.ladder.depth as usize);
        if let Some(theirs) = message.checksum.filter(|_| verifies) {
            let ours = m.ladder.checksum.of(&m.ladder.book, m.by);
            if ours != theirs {
                self.checksum_differs(k, ours, theirs, received, out);
                return;
            }
            self.counts.checksums_ok += 1;
            m.ladder.trust.held(Proof::Checksum);
        }
        let crossed = m.ladder.book.is_crossed();
        if crossed {
            m.ladder.trust.failed(Proof::Uncrossed);
        }
        if crossed && verifies {
            return self.crossed(k, received, out);
        }
        self.counts.crossed += u64::from(crossed);
        if let Some((cause, from)) = m.ladder.gap.take() {
            map::gap(m, StreamKind::Book, cause, None, from, received, &mut out.records);
            self.counts.gaps += 1;
        }
        (m.ladder.proof, m.ladder.time, m.ladder.last_recv) =
            (message.checksum.unwrap_or_default(), message.time, received);
        self.counts.book_levels += map::snapshot(m, SnapshotReason::Sync, usize::MAX, received, &mut out.records);
        self.counts.resyncs += u64::from(std::mem::take(&mut m.ladder.broken));
        m.ladder.retry_at = None;
        m.ladder.trust.loaded(received);
        if !m.ladder.trust.is_live() {
            m.ladder.live_since = received;
            self.enter(k, BookState::Live, (Reason::Ok, ""), received, out);
        }
        self.find_next_retry();
    }

    #[cold]
    fn checksum_differs(&mut self, k: Known, ours: u32, theirs: u32, now: UnixNanos, out: &mut Outbox) {
        self.counts.checksums_failed += 1;
        self.markets[k as usize].ladder.trust.failed(Proof::Checksum);
        let text = format!("our checksum {ours:#010x}, the venue's {theirs:#010x}");
        self.distrust(k, (Reason::Checksum, GapCause::Checksum, &text), now, out);
    }

    /// The venue's own book is crossed, whatever its checksum says of it.
    #[cold]
    fn crossed(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        self.counts.crossed += 1;
        let text = "best bid at or above best ask after a whole message";
        self.distrust(k, (Reason::Crossed, GapCause::Crossed, text), now, out);
    }

    /// A book's state changes, and is told.
    fn enter(&mut self, k: Known, state: BookState, why: (Reason, &str), now: UnixNanos, out: &mut Outbox) {
        let trust = &mut self.markets[k as usize].ladder.trust;
        trust.enter(state, why.0, now);
        self.tell_state(k, why, now, out);
    }

    /// Tells the state of a book; of a halted one that the venue halted it, whatever brought it back.
    pub(super) fn tell_state(&self, k: Known, why: (Reason, &str), now: UnixNanos, out: &mut Outbox) {
        let trust = &self.markets[k as usize].ladder.trust;
        let (state, text) = (trust.state(), why.1);
        let reason = if state == BookState::Halted { trust.reason() } else { why.0 };
        self.tell(Some(k), Status::Book(state), (reason, text), now, out);
    }

    /// A proof failed: the book is suspect from now on, and asked for again.
    fn distrust(&mut self, k: Known, why: (Reason, GapCause, &str), now: UnixNanos, out: &mut Outbox) {
        let (reason, cause, text) = why;
        let m = &mut self.markets[k as usize];
        let was_live = m.ladder.trust.is_live();
        if was_live && now.since(m.ladder.live_since) >= ATTEMPTS_FORGET {
            m.ladder.attempts = 0;
        }
        m.ladder.book.clear();
        m.ladder.broken = true;
        self.enter(k, BookState::Suspect, (reason, text), now, out);
        let m = &mut self.markets[k as usize];
        if was_live {
            let from = m.ladder.last_recv;
            map::gap(m, StreamKind::Book, cause, None, from, now, &mut out.records);
            self.counts.gaps += 1;
        }
        if m.ladder.attempts == 0 {
            self.ask_again(k, now, out);
        } else {
            let wait = (BACKOFF * 2u32.pow((m.ladder.attempts - 1).min(16))).min(BACKOFF_MAX);
            m.ladder.retry_at = Some(now.after(wait));
            self.find_next_retry();
        }
    }

    /// Unsubscribes and subscribes one book, while there are attempts left.
    fn ask_again(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        if !self.is_open() {
            return;
        }
        let ladder = &mut self.markets[k as usize].ladder;
        if ladder.attempts == ATTEMPTS_MAX {
            ladder.retry_at = None;
            let text = format!("no sound snapshot after {ATTEMPTS_MAX} attempts; the next connection tries again");
            let status = Status::Stream(StreamKind::Book, StreamState::Down);
            self.tell(Some(k), status, (Reason::Checksum, &text), now, out);
        } else {
            ladder.attempts += 1;
            let depth = ladder.depth;
            self.ask("unsubscribe", StreamKind::Book, &format!(r#","depth":{depth}"#), &[k], out);
            self.books_asked_for(&[k], depth, now, out);
            let more = self.book_params();
            self.subscribe_channel(StreamKind::Book, &more, &[k], now, out);
        }
        self.find_next_retry();
    }

    /// Books are about to be subscribed to: they wait for their snapshots.
    pub(super) fn books_asked_for(&mut self, batch: &[Known], depth: u32, now: UnixNanos, out: &mut Outbox) {
        for k in batch {
            let ladder = &mut self.markets[*k as usize].ladder;
            ladder.depth = depth;
            ladder.retry_at = Some(now.after(SNAPSHOT_WAIT));
            self.enter(*k, BookState::Syncing, (Reason::Snapshot, ""), now, out);
        }
        self.find_next_retry();
    }

    /// Asks again for books whose wait is over: no snapshot came, or the last one failed a while ago.
    pub(super) fn retry_books(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.next_retry.is_none_or(|due| now < due) {
            return;
        }
        for k in 0..self.markets.len() as Known {
            if self.markets[k as usize].ladder.retry_at.is_some_and(|due| due <= now) {
                self.ask_again(k, now, out);
            }
        }
        self.find_next_retry();
    }

    fn find_next_retry(&mut self) {
        self.next_retry = self.markets.iter().filter_map(|m| m.ladder.retry_at).min();
    }

    /// The connection is gone, and with it what is known of a book.
    pub(super) fn books_lost(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        let ladder = &mut self.markets[k as usize].ladder;
        (ladder.attempts, ladder.retry_at, ladder.broken) = (0, None, false);
        ladder.trust.disconnected();
        if ladder.trust.state() == BookState::Cold {
            return;
        }
        // After a failed proof the gap is told already; what was missed since belongs to it.
        if ladder.trust.is_live() && ladder.gap.is_none() {
            ladder.gap = Some((GapCause::Reconnect, ladder.last_recv));
        }
        ladder.book.clear();
        self.enter(k, BookState::Suspect, (Reason::Connection, ""), now, out);
    }
}
