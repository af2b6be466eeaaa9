//! Books and the trust in them. The one proof is `sequence_num`, which counts every frame of the connection: a hole says
//! that frames are lost but not whose, so it makes every book suspect. Then all books are unsubscribed and subscribed
//! again, at once and afterwards in growing intervals; trades have ids of their own and go on, as does the socket.

use super::choices::SequenceScope;
use super::machine::Advanced;
use super::map;
use super::market::Ladder;
use super::messages::{BookMessage, Kind};
use crate::trust::Doubts;
use crate::{Counts, Known, Outbox, Proof, Trust};
use book::Book;
use model::{BookState, GapCause, InstrumentId, Reason, Side, StreamKind, UnixNanos};
use std::time::Duration;
use wire::{GapRecord, SnapshotReason, Status};

/// How long snapshots may take after a subscription. The largest have 5 MB and come within a second.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(15);

/// Attempts in a row to bring books back. With the waits between them they last over two minutes; then another
/// connection is tried.
const ATTEMPTS_MAX: u32 = 8;

/// The first attempt is made at once, the second after this, and each later one after twice as long.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// When all books were live for so long, attempts are forgotten.
const ATTEMPTS_FORGET: Duration = Duration::from_secs(60);

/// So many frames in a row with numbers had before are no repeats: the venue counts anew.
const OLD_MAX: u32 = 32;

/// Where the connection's frames stand, and the attempts to mend its books.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The number that follows; unknown before the first frame.
    next: Option<u64>,
    /// Frames in a row whose number was had before.
    old: u32,
    /// The heartbeat that follows; unknown after lost frames, as it may have been among them.
    beat: Option<u64>,
    attempts: u32,
    retry_at: Option<UnixNanos>,
    /// Snapshots are asked for and awaited, as opposed to a wait before the next attempt.
    asked: bool,
    /// Since when all books are live.
    whole_since: UnixNanos,
}

impl Sequence {
    /// When books are to be asked for again.
    pub fn retry_at(&self) -> Option<UnixNanos> {
        self.retry_at
    }
}

impl Doubts for Advanced {
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
        self.distrust_one(k, why, now, out);
    }
}

impl Advanced {
    /// Judges the number of a frame that was read. `false`: it was had before.
    #[inline]
    pub(super) fn follows(&mut self, now: UnixNanos, out: &mut Outbox) -> bool {
        let Some(sequence) = self.scratch.sequence else { return true };
        if self.sequence.next == Some(sequence) {
            self.sequence.next = Some(sequence.wrapping_add(1));
            self.sequence.old = 0;
            self.counts.sequences_ok += 1;
            return true;
        }
        self.judge(sequence, now, out)
    }

    #[cold]
    fn judge(&mut self, sequence: u64, now: UnixNanos, out: &mut Outbox) -> bool {
        let next = self.sequence.next;
        let begins_anew = sequence == 0 || self.sequence.old == OLD_MAX;
        if next.is_some_and(|next| sequence < next) && !begins_anew {
            self.sequence.old += 1;
            self.counts.frames_old += 1;
            return self.choices.sequence == SequenceScope::Ignore;
        }
        self.sequence.next = Some(sequence.wrapping_add(1));
        self.sequence.old = 0;
        let Some(next) = next else { return true };
        self.sequence.beat = None;
        if self.choices.sequence == SequenceScope::Ignore {
            return true;
        }
        let text = if sequence > next {
            format!("sequence_num {next} to {} are missing on the connection", sequence - 1)
        } else {
            format!("sequence_num {sequence} came where {next} was due")
        };
        // A capture that begins anew goes over a connection's end.
        let cause = if sequence < next && self.learns() { GapCause::Reconnect } else { GapCause::Sequence };
        self.distrust(cause, &text, now, out);
        true
    }

    /// Frames are lost: every book is suspect from now on, and all are asked for again.
    fn distrust(&mut self, cause: GapCause, text: &str, now: UnixNanos, out: &mut Outbox) {
        if now.since(self.sequence.whole_since) >= ATTEMPTS_FORGET && self.books_missing().next().is_none() {
            self.sequence.attempts = 0;
        }
        for k in 0..self.markets.len() as Known {
            let trust = &mut self.markets[k as usize].ladder.trust;
            if trust.is_live() && cause == GapCause::Sequence {
                trust.failed(Proof::Connection);
            }
            self.suspect(k, (Reason::Sequence, cause, text), now, out);
        }
        self.mend(now, out);
    }

    /// One book is crossed after a whole message.
    #[cold]
    fn crossed(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        self.counts.crossed += 1;
        let text = "best bid at or above best ask after a whole message";
        self.distrust_one(k, (Reason::Crossed, GapCause::Crossed, text), now, out);
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

    /// A proof of one book failed: it alone is asked for again.
    fn distrust_one(&mut self, k: Known, why: (Reason, GapCause, &str), now: UnixNanos, out: &mut Outbox) {
        if now.since(self.sequence.whole_since) >= ATTEMPTS_FORGET && self.books_missing().next().is_none() {
            self.sequence.attempts = 0;
        }
        self.suspect(k, why, now, out);
        self.mend(now, out);
    }

    /// A live book is not to be trusted any more.
    fn suspect(&mut self, k: Known, why: (Reason, GapCause, &str), now: UnixNanos, out: &mut Outbox) {
        let (reason, cause, text) = why;
        let ladder = &mut self.markets[k as usize].ladder;
        if !ladder.trust.is_live() {
            return;
        }
        ladder.book.clear();
        ladder.broken = true;
        self.enter(k, BookState::Suspect, (reason, text), now, out);
        let m = &self.markets[k as usize];
        map::gap(m, StreamKind::Book, cause, None, m.ladder.last_recv, now, &mut out.records);
        self.counts.gaps += 1;
    }

    /// Asks for the books that are not live, at once or after a while.
    fn mend(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.books_missing().next().is_none() {
            return;
        }
        if self.sequence.attempts == 0 {
            self.ask_again(now, out);
        } else if std::mem::take(&mut self.sequence.asked) {
            let wait = (BACKOFF * 2u32.pow((self.sequence.attempts - 1).min(16))).min(BACKOFF_MAX);
            self.sequence.retry_at = Some(now.after(wait));
        }
    }

    /// Books that are subscribed to and not live.
    fn books_missing(&self) -> impl Iterator<Item = Known> + '_ {
        let markets = self.markets.iter().enumerate();
        let missing = markets.filter(|(_, m)| m.subscribed && !m.ladder.trust.is_live());
        missing.map(|(k, _)| k as Known).filter(|_| self.takes(StreamKind::Book))
    }

    /// Unsubscribes and subscribes the books that are missing, while there are attempts left.
    fn ask_again(&mut self, now: UnixNanos, out: &mut Outbox) {
        let missing: Vec<Known> = self.books_missing().collect();
        if missing.is_empty() || !self.is_open() {
            self.sequence.retry_at = None;
            return;
        }
        if self.sequence.attempts == ATTEMPTS_MAX {
            self.sequence.retry_at = None;
            let text = format!("{} books are not sound after {ATTEMPTS_MAX} attempts", missing.len());
            self.give_up(Reason::Sequence, text, out);
            return;
        }
        self.sequence.attempts += 1;
        self.send("unsubscribe", "level2", &missing, out);
        self.ask_books(&missing, now, out);
    }

    /// Subscribes to books, which then wait for their snapshots.
    pub(super) fn ask_books(&mut self, books: &[Known], now: UnixNanos, out: &mut Outbox) {
        self.send("subscribe", "level2", books, out);
        for k in books {
            self.enter(*k, BookState::Syncing, (Reason::Snapshot, ""), now, out);
            self.watch.start(*k, StreamKind::Book, now);
        }
        self.sequence.retry_at = Some(now.after(SNAPSHOT_WAIT));
        self.sequence.asked = true;
    }

    /// Asks again for books whose wait is over: no snapshot came, or frames were lost a while ago.
    pub(super) fn retry_books(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.sequence.retry_at.is_some_and(|due| due <= now) {
            self.ask_again(now, out);
        }
    }

    /// The books of a frame.
    #[inline]
    pub(super) fn apply_books(&mut self, received: UnixNanos, out: &mut Outbox) {
        for n in 0..self.scratch.books.len() {
            let message = self.scratch.books[n].clone();
            let k = self.known(message.target);
            match message.kind {
                Kind::Update => self.update_book(k, &message, received, out),
                Kind::Snapshot => self.load_book(k, &message, received, out),
            }
            let levels = &self.scratch.levels[message.levels.clone()];
            let time = levels.last().map_or(message.time, |level| level.time);
            self.seen(k, StreamKind::Book, time.0, received, out);
        }
    }

    #[inline]
    fn update_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        if !m.ladder.trust.is_live() {
            self.counts.book_updates_old += 1;
            return;
        }
        let levels = &self.scratch.levels[message.levels.clone()];
        let mark = out.records.mark();
        map::changes(m, levels, received, &mut out.records, &mut self.counts);
        let Ladder { trust, book, .. } = &mut m.ladder;
        if self.scratch.sequence.is_some() && self.choices.sequence != SequenceScope::Ignore {
            trust.held(Proof::Connection);
        }
        let crossed = trust.applied(book, levels.last().map_or(0, |level| level.time.0), received);
        if crossed && !self.wanted.is_empty() {
            out.records.truncate(mark);
            return self.crossed(k, received, out);
        }
        self.counts.book_levels += levels.len() as u64;
        self.counts.book_updates += 1;
        self.counts.crossed += u64::from(crossed);
        m.ladder.last_recv = received;
        if let Some(last) = levels.last() {
            m.ladder.time = last.time;
        }
    }

    fn load_book(&mut self, k: Known, message: &BookMessage, received: UnixNanos, out: &mut Outbox) {
        self.counts.book_snapshots += 1;
        let depth = self.settings.snapshot_depth as usize;
        let m = &mut self.markets[k as usize];
        m.ladder.book.load(Side::Buy, &self.scratch.bids[message.bids.clone()]);
        m.ladder.book.load(Side::Sell, &self.scratch.asks[message.asks.clone()]);
        let crossed = m.ladder.book.is_crossed();
        if crossed {
            m.ladder.trust.failed(Proof::Uncrossed);
        }
        if crossed && !self.wanted.is_empty() {
            return self.crossed(k, received, out);
        }
        self.counts.crossed += u64::from(crossed);
        if let Some((cause, from)) = m.ladder.gap.take() {
            map::gap(m, StreamKind::Book, cause, None, from, received, &mut out.records);
            self.counts.gaps += 1;
        }
        m.ladder.time = if message.time == UnixNanos::ZERO { self.scratch.time } else { message.time };
        m.ladder.last_recv = received;
        self.counts.book_levels += map::snapshot(m, SnapshotReason::Sync, depth, received, &mut out.records);
        self.counts.resyncs += u64::from(std::mem::take(&mut m.ladder.broken));
        m.ladder.trust.loaded(received);
        if !m.ladder.trust.is_live() {
            self.enter(k, BookState::Live, (Reason::Ok, ""), received, out);
            if self.books_missing().next().is_none() {
                self.sequence.retry_at = None;
                self.sequence.whole_since = received;
            }
        }
    }

    /// A heartbeat with its own count. One that is missing although no frame is was not sent: nothing else is lost.
    #[inline]
    pub(super) fn apply_beat(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.counts.heartbeats += 1;
        let Some(beat) = self.scratch.beat else { return };
        if let Some(next) = self.sequence.beat
            && beat > next
        {
            let (stream, cause, range) = (StreamKind::Connection, GapCause::Sequence, Some((next, beat - 1)));
            let from = self.last_beat;
            out.records.push(&GapRecord::new(
                super::spec::SPEC.venue,
                InstrumentId::NONE,
                stream,
                cause,
                range,
                from,
                now,
            ));
            self.counts.gaps += 1;
        }
        self.sequence.beat = Some(beat.wrapping_add(1));
        self.last_beat = now;
    }

    /// The connection is gone, and with it what is known of books and counts.
    pub(super) fn books_lost(&mut self, now: UnixNanos, out: &mut Outbox) {
        self.sequence = Sequence::default();
        for k in 0..self.markets.len() as Known {
            let ladder = &mut self.markets[k as usize].ladder;
            ladder.broken = false;
            ladder.trust.disconnected();
            if ladder.trust.state() == BookState::Cold {
                continue;
            }
            // After a hole the gap is told already; what was missed since belongs to it.
            if ladder.trust.is_live() && ladder.gap.is_none() {
                ladder.gap = Some((GapCause::Reconnect, ladder.last_recv));
            }
            ladder.book.clear();
            self.enter(k, BookState::Suspect, (Reason::Connection, ""), now, out);
        }
    }
}
