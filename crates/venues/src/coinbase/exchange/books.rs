//! Books and the trust in them: a snapshot begins one, changes follow, and a failed proof ends it.
//!
//! The level 2 channels have neither sequence nor checksum, so a lost message shows only when it leaves the book
//! crossed, or in silence while heartbeats count on. Then that book alone is asked for again, at most [`ATTEMPTS_MAX`]
//! times in a row, and nothing of it is told until its snapshot is there. [`super::orders`] keeps books of orders, which
//! are proven, and shares the rest.

use super::machine::Exchange;
use super::map;
use super::market::Ladder;
use super::messages::QuoteMessage;
use super::subscribe::book_channel;
use crate::coinbase::choices::Crossed;
use crate::trust::TICKER_APART;
use crate::{Known, Outbox, Proof};
use model::{BookState, GapCause, Price, Reason, Side, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::{Flags, SnapshotReason, Status};

/// How long a snapshot may take after it was asked for. The largest are several MiB.
pub(super) const SNAPSHOT_WAIT: Duration = Duration::from_secs(15);

/// Attempts in a row to bring a book back. With the waits between them they last over two minutes; a book that
/// still fails then is not mended by another try.
const ATTEMPTS_MAX: u32 = 8;

/// The first attempt is made at once, the second after this, and each later one after twice as long.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A book that was live for so long has its attempts forgotten.
const ATTEMPTS_FORGET: Duration = Duration::from_secs(60);

/// Levels the scratch keeps room for after a snapshot: changes need little, and books come seldom.
const ROOM_KEPT: usize = 1024;

/// Why a book is no longer trusted.
pub(super) struct Fault<'a> {
    pub reason: Reason,
    pub text: &'a str,
    /// First and last sequence that is missing, where the venue has them.
    pub range: Option<(u64, u64)>,
}

impl Exchange {
    /// A whole book, in the scratch.
    pub(super) fn apply_snapshot(&mut self, k: Known, time: UnixNanos, received: UnixNanos, out: &mut Outbox) {
        let learns = self.learns();
        let m = &mut self.markets[k as usize];
        if m.full && !learns {
            self.counts.unused_types += 1;
            return;
        }
        m.full = false;
        self.counts.book_snapshots += 1;
        m.ladder.book.load(Side::Buy, &self.scratch.bids);
        m.ladder.book.load(Side::Sell, &self.scratch.asks);
        for levels in [&mut self.scratch.bids, &mut self.scratch.asks] {
            levels.clear();
            levels.shrink_to(ROOM_KEPT);
        }
        m.ladder.time = time;
        let crossed = m.ladder.book.is_crossed();
        self.counts.crossed += u64::from(crossed);
        if crossed {
            m.ladder.trust.failed(Proof::Uncrossed);
        }
        if crossed && self.choices.crossed == Crossed::Resync {
            let fault = Fault { reason: Reason::Crossed, text: "the snapshot is crossed", range: None };
            self.fail_book(k, fault, received, out);
        } else {
            let missed = self.markets[k as usize].ladder.gap.map(|_| None);
            self.went_live(k, missed, received, out);
        }
        self.seen(k, StreamKind::Book, time.0, received, out);
    }

    /// Changes of a book, in the scratch.
    #[inline]
    pub(super) fn apply_changes(&mut self, k: Known, time: UnixNanos, received: UnixNanos, out: &mut Outbox) {
        let market = &self.markets[k as usize];
        let flags = if market.ladder.trust.is_live() && !market.full {
            Flags::EMPTY
        } else {
            match self.untrusted(k, received, out) {
                Some(flags) => flags,
                None => return,
            }
        };
        let m = &mut self.markets[k as usize];
        let mark = out.records.mark();
        map::changes(m, &self.scratch.changes, flags, time, received, &mut out.records, &mut self.counts);
        m.ladder.time = time;
        self.counts.book_updates += 1;
        let Ladder { trust, book, .. } = &mut m.ladder;
        if flags != Flags::EMPTY {
            trust.unproved();
        } else if trust.applied(book, time.0, received) {
            self.apply_crossed(k, mark, received, out);
        }
        self.markets[k as usize].ladder.last_recv = received;
        self.seen(k, StreamKind::Book, time.0, received, out);
    }

    /// How changes of a book that is not live are told: not at all, except from a capture.
    #[cold]
    fn untrusted(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) -> Option<Flags> {
        let learns = self.learns();
        let m = &mut self.markets[k as usize];
        if m.full || !learns {
            self.counts.book_updates_old += 1;
            return None;
        }
        if m.ladder.trust.state() != BookState::Suspect {
            let why = (Reason::Snapshot, "changes are told without a snapshot");
            self.enter(k, BookState::Suspect, why, now, out);
        }
        Some(Flags::NOT_TRUSTED)
    }

    /// After a whole message the book is crossed.
    #[cold]
    fn apply_crossed(&mut self, k: Known, mark: (usize, usize), now: UnixNanos, out: &mut Outbox) {
        self.counts.crossed += 1;
        if self.choices.crossed == Crossed::Resync {
            map::distrust(mark, &mut out.records);
            let fault = Fault { reason: Reason::Crossed, text: "best bid at or above best ask", range: None };
            self.fail_book(k, fault, now, out);
        }
    }

    /// A book as it stands is the venue's from now on. `missed` is a gap to be told, with its ids where they are known.
    pub(super) fn went_live(&mut self, k: Known, missed: Option<Option<(u64, u64)>>, now: UnixNanos, out: &mut Outbox) {
        let depth = self.settings.snapshot_depth as usize;
        let m = &mut self.markets[k as usize];
        if let (Some((cause, from)), Some(range)) = (m.ladder.gap.take(), missed) {
            map::gap(m, StreamKind::Book, cause, range, from, now, &mut out.records);
            self.counts.gaps += 1;
        }
        m.ladder.last_recv = now;
        self.counts.book_levels += map::snapshot(m, SnapshotReason::Sync, depth, now, &mut out.records);
        let mended = std::mem::take(&mut m.ladder.broken);
        self.counts.resyncs += u64::from(mended);
        if !mended {
            // Nothing had failed: the first fault to come is met at once.
            m.ladder.attempts = 0;
        }
        m.ladder.retry_at = None;
        m.ladder.trust.loaded(now);
        if !m.ladder.trust.is_live() {
            m.ladder.live_since = now;
            self.enter(k, BookState::Live, (Reason::Ok, ""), now, out);
        }
        self.find_next_retry();
    }

    /// A book's state changes, and is told.
    pub(super) fn enter(&mut self, k: Known, state: BookState, why: (Reason, &str), now: UnixNanos, out: &mut Outbox) {
        self.markets[k as usize].ladder.trust.enter(state, why.0, now);
        self.tell_state(k, why, now, out);
    }

    /// Tells the state of a book; of a halted one that the venue halted it, whatever brought it back.
    pub(super) fn tell_state(&self, k: Known, why: (Reason, &str), now: UnixNanos, out: &mut Outbox) {
        let trust = &self.markets[k as usize].ladder.trust;
        let reason = if trust.state() == BookState::Halted { trust.reason() } else { why.0 };
        self.tell(Some(k), Status::Book(trust.state()), (reason, why.1), now, out);
    }

    /// The venue's ticker beside the book.
    #[inline]
    pub(super) fn compare_ticker(&mut self, k: Known, q: &QuoteMessage, now: UnixNanos, out: &mut Outbox) {
        let Ladder { trust, book, .. } = &mut self.markets[k as usize].ladder;
        let price = |level: Option<(i64, i64)>| level.map(|(price, _)| Price(price));
        if trust.quoted((price(q.bid), price(q.ask)), book, now, &mut self.counts) {
            let fault = Fault { reason: Reason::Disagreement, text: TICKER_APART, range: None };
            self.fail_book(k, fault, now, out);
        }
    }

    /// Books whose silence is longer than their own rhythm allows, while the connection is heard.
    pub(super) fn check_rhythms(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Some(floor) = self.settings.stale_after.rhythm_floor() else { return };
        let heard = self.heard();
        for k in 0..self.markets.len() as Known {
            let trust = &mut self.markets[k as usize].ladder.trust;
            let Some(text) = trust.silent(now, heard, floor, &mut self.counts) else { continue };
            self.fail_book(k, Fault { reason: Reason::Timeout, text: &text, range: None }, now, out);
        }
    }

    /// A proof failed: the book is suspect from now on, and asked for again.
    #[cold]
    pub(super) fn fail_book(&mut self, k: Known, fault: Fault<'_>, now: UnixNanos, out: &mut Outbox) {
        let learns = self.learns();
        let m = &mut self.markets[k as usize];
        let was_live = m.ladder.trust.is_live();
        if was_live && now.since(m.ladder.live_since) >= ATTEMPTS_FORGET {
            m.ladder.attempts = 0;
        }
        if m.full || !learns {
            m.ladder.book.clear();
        }
        m.ladder.broken = true;
        self.enter(k, BookState::Suspect, (fault.reason, fault.text), now, out);
        let m = &mut self.markets[k as usize];
        if was_live {
            let from = m.ladder.last_recv;
            let cause = match fault.reason {
                Reason::Crossed => GapCause::Crossed,
                Reason::Timeout => GapCause::Stale,
                Reason::Disagreement => GapCause::Disagreement,
                _ => GapCause::Sequence,
            };
            map::gap(m, StreamKind::Book, cause, fault.range, from, now, &mut out.records);
            self.counts.gaps += 1;
        }
        if learns && !m.full {
            return;
        }
        if m.ladder.attempts == 0 { self.ask_again(k, now, out) } else { self.retry_later(k, now) }
    }

    /// Asks for a book again after a while.
    pub(super) fn retry_later(&mut self, k: Known, now: UnixNanos) {
        let ladder = &mut self.markets[k as usize].ladder;
        let wait = (BACKOFF * 2u32.pow(ladder.attempts.saturating_sub(1).min(16))).min(BACKOFF_MAX);
        ladder.retry_at = Some(now.after(wait));
        self.find_next_retry();
    }

    /// Asks for one book again, while there are attempts left.
    pub(super) fn ask_again(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        if !self.is_open() {
            return;
        }
        let m = &mut self.markets[k as usize];
        if m.ladder.attempts == ATTEMPTS_MAX {
            m.ladder.retry_at = None;
            let text = format!("no sound snapshot after {ATTEMPTS_MAX} attempts; the next connection tries again");
            let status = Status::Stream(StreamKind::Book, StreamState::Down);
            self.tell(Some(k), status, (Reason::Snapshot, &text), now, out);
        } else if m.full {
            m.ladder.attempts += 1;
            self.wait_for_book(k, SNAPSHOT_WAIT, now, out);
            self.fetch_orders(k, out);
        } else {
            m.ladder.attempts += 1;
            let channel = book_channel(self.choices.level2);
            self.send("unsubscribe", channel, &[k], now, out);
            self.wait_for_book(k, SNAPSHOT_WAIT, now, out);
            self.send("subscribe", channel, &[k], now, out);
            self.watch.start(k, StreamKind::Book, now);
        }
        self.find_next_retry();
    }

    /// A book waits for its snapshot, which is asked for (again) after `wait`.
    pub(super) fn wait_for_book(&mut self, k: Known, wait: Duration, now: UnixNanos, out: &mut Outbox) {
        let ladder = &mut self.markets[k as usize].ladder;
        ladder.retry_at = Some(now.after(wait));
        if ladder.trust.state() != BookState::Syncing {
            self.enter(k, BookState::Syncing, (Reason::Snapshot, ""), now, out);
        }
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

    pub(super) fn find_next_retry(&mut self) {
        self.next_retry = self.markets.iter().filter_map(|m| m.ladder.retry_at).min();
    }

    /// The connection is gone, and with it what is known of a book.
    pub(super) fn books_lost(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        m.orders.disconnect();
        let ladder = &mut m.ladder;
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
