//! Crypto books and the trust in them. The venue sends the whole book first and again when it likes, then changes, with
//! neither sequence nor checksum: a lost change shows only when the book is crossed after a whole message.
//!
//! Such a book is suspect at once; it alone is unsubscribed and subscribed again, at most [`ATTEMPTS_MAX`] times in a
//! row, and nothing of it is told until it comes whole again.

use super::choices::Crossed;
use super::login::{Action, Phase, Request};
use super::machine::Alpaca;
use super::map;
use super::market::Ladder;
use super::messages::{BookMessage, QuoteMessage};
use crate::trust::TICKER_APART;
use crate::{Known, Outbox, Proof};
use model::{BookState, GapCause, Price, Qty, Reason, Side, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::{SnapshotReason, Status};

/// How long the whole book may take after a subscription.
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

impl Alpaca {
    #[inline]
    pub(super) fn apply_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        if message.reset {
            self.load_book(k, message, received, out);
        } else {
            self.update_book(k, message, received, out);
        }
        self.seen(k, StreamKind::Book, message.time.0, received, out);
    }

    #[inline]
    fn update_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        if !m.ladder.trust.is_live() {
            self.counts.book_updates_old += 1;
            return;
        }
        let (mark, told) = (out.records.mark(), self.counts);
        let (bids, asks) = (&self.scratch.bids[message.bids.clone()], &self.scratch.asks[message.asks.clone()]);
        let levels = [(Side::Buy, bids), (Side::Sell, asks)];
        map::changes(m, levels, message.time, received, &mut out.records, &mut self.counts);
        let Ladder { trust, book, .. } = &mut m.ladder;
        if trust.applied(book, message.time.0, received) {
            if self.choices.crossed == Crossed::Resync {
                out.records.truncate(mark);
                self.counts = told;
                self.crossed(k, received, out);
                return;
            }
            self.counts.crossed += 1;
        }
        self.counts.book_updates += 1;
        (m.ladder.time, m.ladder.last_recv) = (message.time, received);
    }

    fn load_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        self.counts.book_snapshots += 1;
        let m = &mut self.markets[k as usize];
        let (bids, asks) = (&self.scratch.bids[message.bids.clone()], &self.scratch.asks[message.asks.clone()]);
        m.ladder.book.clear();
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for &(price, size) in levels {
                m.ladder.book.set(side, Price(price), Qty(size));
            }
        }
        if m.ladder.book.is_crossed() {
            m.ladder.trust.failed(Proof::Uncrossed);
            if self.choices.crossed == Crossed::Resync {
                self.crossed(k, received, out);
                return;
            }
            self.counts.crossed += 1;
        }
        if let Some((cause, from)) = m.ladder.gap.take() {
            map::gap(m, StreamKind::Book, cause, (from, received), received, &mut out.records);
            self.counts.gaps += 1;
        }
        (m.ladder.time, m.ladder.last_recv) = (message.time, received);
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

    /// The book is crossed.
    #[cold]
    fn crossed(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        self.counts.crossed += 1;
        let text = "best bid at or above best ask after a whole message";
        self.distrust(k, (Reason::Crossed, GapCause::Crossed, text), now, out);
    }

    /// A book's state changes, and is told.
    fn enter(&mut self, k: Known, state: BookState, why: (Reason, &str), now: UnixNanos, out: &mut Outbox) {
        self.markets[k as usize].ladder.trust.enter(state, why.0, now);
        self.tell_state(k, why, now, out);
    }

    /// Tells the state of a book; of a halted one that the venue halted it, whatever brought it back.
    pub(super) fn tell_state(&self, k: Known, why: (Reason, &str), now: UnixNanos, out: &mut Outbox) {
        let trust = &self.markets[k as usize].ladder.trust;
        let reason = if trust.state() == BookState::Halted { trust.reason() } else { why.0 };
        self.tell(Some(k), Status::Book(trust.state()), (reason, why.1), now, out);
    }

    /// Books whose silence is longer than their own rhythm allows, while the connection is heard.
    pub(super) fn check_rhythms(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Some(floor) = self.settings.stale_after.rhythm_floor() else { return };
        let heard = self.connection.heard;
        for k in 0..self.markets.len() as Known {
            let trust = &mut self.markets[k as usize].ladder.trust;
            let Some(text) = trust.silent(now, heard, floor, &mut self.counts) else { continue };
            self.distrust(k, (Reason::Timeout, GapCause::Stale, &text), now, out);
        }
    }

    /// A proof failed: the book is suspect from now on, and asked for again.
    #[cold]
    fn distrust(
        &mut self,
        k: Known,
        (reason, cause, text): (Reason, GapCause, &str),
        now: UnixNanos,
        out: &mut Outbox,
    ) {
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
            map::gap(m, StreamKind::Book, cause, (from, now), now, &mut out.records);
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
        let ladder = &mut self.markets[k as usize].ladder;
        ladder.retry_at = None;
        if self.connection.phase != Phase::Ready || self.learns() {
            self.find_next_retry();
            return;
        }
        let ladder = &mut self.markets[k as usize].ladder;
        if ladder.attempts == ATTEMPTS_MAX {
            let text = format!("no sound book after {ATTEMPTS_MAX} attempts; the next connection tries again");
            let status = Status::Stream(StreamKind::Book, StreamState::Down);
            self.tell(Some(k), status, (Reason::Crossed, &text), now, out);
        } else {
            ladder.attempts += 1;
            let symbol = self.instruments.get(k).venue_symbol.clone();
            let request = |action| Request {
                action,
                channel: "orderbooks",
                stream: StreamKind::Book,
                symbols: vec![symbol.clone()],
            };
            self.ask_first(vec![request(Action::Unsubscribe), request(Action::Subscribe)], now, out);
        }
        self.find_next_retry();
    }

    /// A book was subscribed to: it waits to come whole, unless it came before the venue's answer.
    pub(super) fn book_asked_for(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        let ladder = &mut self.markets[k as usize].ladder;
        if ladder.trust.is_live() {
            return;
        }
        ladder.retry_at = Some(now.after(SNAPSHOT_WAIT));
        self.enter(k, BookState::Syncing, (Reason::Snapshot, ""), now, out);
        self.find_next_retry();
    }

    /// Asks again for books whose wait is over: none came, or the last one failed a while ago.
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
    pub(super) fn book_lost(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
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
        self.find_next_retry();
    }

    /// The venue's quote beside the book. The two streams have no common clock: one quote that differs is only counted,
    /// but they must not be apart for long.
    #[inline]
    pub(super) fn compare_with_book(&mut self, k: Known, q: &QuoteMessage, now: UnixNanos, out: &mut Outbox) {
        let Ladder { trust, book, .. } = &mut self.markets[k as usize].ladder;
        if !trust.is_live() {
            return;
        }
        let top = |side| book.best(side).map(|l| (l.price.0, l.size.0));
        let same = top(Side::Buy) == q.bid && top(Side::Sell) == q.ask;
        self.counts.quotes_off_book += u64::from(!same);
        let price = |level: Option<(i64, i64)>| level.map(|(price, _)| Price(price));
        if trust.quoted((price(q.bid), price(q.ask)), book, now, &mut self.counts) {
            self.distrust(k, (Reason::Disagreement, GapCause::Disagreement, TICKER_APART), now, out);
        }
    }
}
