//! Books of several lines as one: who leads, and how the lead changes.

use super::{Arbiter, Market, in_snapshot, push, scales};
use crate::{EventMark, Memory};
use model::{BookState, GapCause, InstrumentId, Reason, StreamKind, UnixNanos};
use wire::{Record, RecordBuf, RecordType, SnapshotReason, Status};

/// One instrument's book as it was told.
#[derive(Debug)]
pub(super) struct Desk {
    pub leader: Option<usize>,
    pub told: BookState,
    /// Why it is in the state that was told.
    pub why: Reason,
    /// The venue's id of the last event told; 0 where it has none.
    pub at: u64,
    /// A gap that is still to be told before the next snapshot of another line: why and since when.
    gap: Option<(GapCause, UnixNanos)>,
    /// When the last change told was received.
    last: UnixNanos,
    /// The leader is in doubt: what it tells waits for the end of the step.
    holding: bool,
    /// The id of the last event that waits.
    held_at: u64,
    /// Another line leads since this step.
    changed: bool,
    /// Waits for [`Arbiter::settle`].
    touched: bool,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            leader: None,
            told: BookState::Cold,
            why: Reason::Start,
            at: 0,
            gap: None,
            last: UnixNanos::ZERO,
            holding: false,
            held_at: 0,
            changed: false,
            touched: false,
        }
    }
}

/// Whether a book in this state can be traded on (or would be, if the venue let one trade).
fn sound(state: BookState) -> bool {
    matches!(state, BookState::Live | BookState::Halted)
}

impl Desk {
    pub(super) fn remember(&mut self, memory: &Memory) {
        (self.gap, self.last) = (Some((GapCause::Restart, memory.last_seen)), memory.last_seen);
    }

    pub(super) fn seed(&mut self, line: usize, (state, why): (BookState, Reason), at: u64, last: UnixNanos) {
        (self.leader, self.told, self.why, self.at) = (Some(line), state, why, at);
        match state {
            BookState::Cold => {}
            state if sound(state) => (self.gap, self.last) = (None, last),
            _ => (self.gap, self.last) = (Some((GapCause::Reconnect, last)), last),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        sound(self.told)
    }
}

/// Why data is missing after a book ceased to be live.
fn cause(reason: Reason) -> Option<GapCause> {
    match reason {
        Reason::Crossed => Some(GapCause::Crossed),
        Reason::Connection | Reason::Shutdown => Some(GapCause::Reconnect),
        Reason::Checksum => Some(GapCause::Checksum),
        Reason::Malformed => Some(GapCause::Malformed),
        Reason::Timeout => Some(GapCause::Stale),
        Reason::Disagreement => Some(GapCause::Disagreement),
        _ => Some(GapCause::Sequence),
    }
}

impl Arbiter {
    /// How much a line's book is worth: 2 live, 1 live and stale, 0 nothing.
    pub(super) fn rank(&self, market: &Market, line: usize) -> u8 {
        let view = &market.views[line];
        match (self.up[line] && sound(view.book), view.stale[usize::from(StreamKind::Book.code())]) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        }
    }

    fn leader_rank(&self, market: &Market) -> u8 {
        market.book.leader.map_or(0, |leader| self.rank(market, leader))
    }

    pub(super) fn touch(&mut self, m: usize) {
        if !std::mem::replace(&mut self.markets[m].book.touched, true) {
            self.touched.push(m);
        }
    }

    /// Whether a numbered event is the next one, from whichever line it comes.
    #[inline]
    pub(super) fn admit_event(&mut self, line: usize, mark: &EventMark) -> bool {
        let m = self.market(mark.instrument);
        self.markets[m].views[line].book_at = mark.last;
        let market = &self.markets[m];
        let (usable, led) = (self.rank(market, line) > 0, self.leader_rank(market) > 0);
        let desk = &mut self.markets[m].book;
        let mine = desk.leader == Some(line);
        if desk.holding || !led {
            // Nobody vouches for the book: its leader goes on as if it were alone.
            if mine {
                *(if desk.holding { &mut desk.held_at } else { &mut desk.at }) = mark.last;
            }
            return mine;
        }
        if desk.at == 0 {
            desk.at = if mine { mark.last } else { 0 };
            return mine;
        }
        let follows = mark.first <= desk.at.saturating_add(1) && desk.at < mark.last;
        if !usable || !follows {
            return false;
        }
        (desk.at, desk.leader) = (mark.last, Some(line));
        true
    }

    /// Levels, snapshots and gaps of a book.
    #[inline]
    pub(super) fn on_book(
        &mut self,
        m: usize,
        line: usize,
        event: Option<bool>,
        words: &[u64],
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let market = &mut self.markets[m];
        if let Ok(Record::SnapshotBegin(begin)) = Record::read(words) {
            market.views[line].book_at = begin.update_id;
        }
        let leads = *market.book.leader.get_or_insert(line) == line;
        if event.unwrap_or(leads) {
            self.tell_or_hold(m, line, words, now, out);
        }
    }

    pub(super) fn on_book_state(
        &mut self,
        m: usize,
        line: usize,
        state: BookState,
        words: &[u64],
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let market = &mut self.markets[m];
        market.views[line].book = state;
        if *market.book.leader.get_or_insert(line) == line {
            market.book.holding |= !sound(state);
            self.tell_or_hold(m, line, words, now, out);
        }
        self.touch(m);
    }

    fn tell_or_hold(&mut self, m: usize, line: usize, words: &[u64], now: UnixNanos, out: &mut RecordBuf) {
        if self.markets[m].book.holding {
            push(words, &mut self.held);
            self.held_of.push((m, line));
        } else {
            self.tell_book(m, line, words, now, out);
        }
    }

    /// Tells a record of the leader's book, with what follows from it.
    #[inline]
    fn tell_book(&mut self, m: usize, line: usize, words: &[u64], now: UnixNanos, out: &mut RecordBuf) {
        let desk = &mut self.markets[m].book;
        match Record::read(words) {
            Ok(Record::BookChange(_)) => desk.last = now,
            // The leader tells its own gaps; what it begins anew is whole.
            Ok(Record::SnapshotBegin(begin)) => (desk.at, desk.gap, desk.last) = (begin.update_id, None, now),
            Ok(Record::Gap(_)) => desk.gap = None,
            Ok(Record::Status(view)) => {
                if let Status::Book(state) = view.status {
                    if sound(state) {
                        desk.gap = None;
                    } else if sound(desk.told) {
                        desk.gap = cause(view.reason).map(|cause| (cause, desk.last));
                    }
                    (desk.told, desk.why) = (state, view.reason);
                }
            }
            _ => {}
        }
        self.tell(m, line, words, out);
    }

    /// A line's book can no longer be relied on for a reason its machine does not know.
    pub(super) fn doubt_book(&mut self, m: usize, line: usize, text: &str, now: UnixNanos) {
        let market = &mut self.markets[m];
        market.views[line].book = BookState::Suspect;
        if market.book.leader == Some(line) {
            market.book.holding = true;
            let status = Status::Book(BookState::Suspect);
            let reason = if self.up[line] { Reason::Malformed } else { Reason::Connection };
            self.held.push_status(self.venue, market.id, status, reason, text, UnixNanos::ZERO, now);
            self.held_of.push((m, line));
        }
        self.touch(m);
    }

    /// A line is gone, whatever its machine told of its books.
    pub(super) fn book_lost(&mut self, m: usize, line: usize, now: UnixNanos) {
        if sound(self.markets[m].views[line].book) {
            self.doubt_book(m, line, "the connection is gone", now);
        }
        self.markets[m].views[line].book = BookState::Cold;
    }

    /// Ends a step: leaders that cannot vouch for their books are replaced by lines that can. `snapshot` has a line's
    /// machine tell a whole book.
    pub(crate) fn settle(
        &mut self,
        now: UnixNanos,
        out: &mut RecordBuf,
        snapshot: &mut dyn FnMut(usize, InstrumentId, &mut RecordBuf),
    ) {
        if self.touched.is_empty() {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        for &m in &touched {
            let market = &self.markets[m];
            let worth = |line: &usize| (self.rank(market, *line), market.views[*line].book_at, usize::MAX - *line);
            let best = (0..self.up.len()).max_by_key(worth);
            let Some(best) = best.filter(|b| self.rank(market, *b) > self.leader_rank(market)) else { continue };
            self.markets[m].book.changed = self.lead(m, best, now, out, snapshot);
        }
        let (held, held_of) = (std::mem::take(&mut self.held), std::mem::take(&mut self.held_of));
        for (words, &(m, line)) in held.iter().zip(&held_of) {
            if !self.markets[m].book.changed {
                self.tell_book(m, line, words, now, out);
            }
        }
        for &m in &touched {
            let desk = &mut self.markets[m].book;
            if desk.holding && !desk.changed {
                desk.at = desk.at.max(desk.held_at);
            }
            (desk.holding, desk.changed, desk.touched, desk.held_at) = (false, false, false, 0);
            match self.leader_rank(&self.markets[m]) {
                0 => {}
                rank => self.tell_stale(m, StreamKind::Book, rank == 1, now, out),
            }
        }
        // The room is used again.
        (self.held, self.held_of, self.touched) = (held, held_of, touched);
        self.held.clear();
        self.held_of.clear();
        self.touched.clear();
    }

    /// Lets a line lead, and says whether it does.
    fn lead(
        &mut self,
        m: usize,
        line: usize,
        now: UnixNanos,
        out: &mut RecordBuf,
        snapshot: &mut dyn FnMut(usize, InstrumentId, &mut RecordBuf),
    ) -> bool {
        let market = &mut self.markets[m];
        let (at, reached) = (market.book.at, market.views[line].book_at);
        let numbered = at != 0 && reached != 0;
        let seamless = sound(market.book.told);
        if seamless && numbered && reached <= at {
            // It has yet to come to where the book stands: its events are told from there on.
            market.book.leader = Some(line);
            return true;
        }
        let mut side = std::mem::take(&mut self.side);
        side.clear();
        snapshot(line, market.id, &mut side);
        let told = side.iter().any(|words| words[0] as u8 == RecordType::SnapshotBegin as u8);
        if told {
            self.tell_change_of_lead(m, line, (numbered, reached), &side, now, out);
        }
        self.side = side;
        told
    }

    fn tell_change_of_lead(
        &mut self,
        m: usize,
        line: usize,
        (numbered, reached): (bool, u64),
        snapshot: &RecordBuf,
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let desk = &self.markets[m].book;
        let missing = (numbered && reached > desk.at).then(|| (desk.at + 1, reached));
        let gap = match (sound(desk.told), missing) {
            // Events that no line brought one by one, as their ids prove.
            (true, Some(_)) if desk.leader.is_some_and(|l| !self.up[l]) => Some((GapCause::Reconnect, desk.last)),
            (true, Some(_)) => Some((GapCause::Sequence, desk.last)),
            (true, None) => None,
            (false, None) if numbered => None,
            (false, _) => desk.gap,
        };
        if let Some((cause, from)) = gap {
            self.tell_gap(m, StreamKind::Book, cause, missing, (from, now), out);
        }
        let factors = self.markets[m].views[line].factors;
        let mut room = std::mem::take(&mut self.room);
        for words in snapshot.iter().filter(|words| in_snapshot(words)) {
            match scales::rescaled(words, factors, &mut room) {
                Some(words) => tell_as_sync(words, out),
                None => self.doubt_book(m, line, "a level does not fit 64 bits", now),
            }
        }
        self.room = room;
        let (state, id) = (self.markets[m].views[line].book, self.markets[m].id);
        let desk = &mut self.markets[m].book;
        (desk.leader, desk.at, desk.gap, desk.last) = (Some(line), reached, None, now);
        if std::mem::replace(&mut desk.told, state) != state {
            desk.why = Reason::Ok;
            out.push_status(self.venue, id, Status::Book(state), Reason::Ok, "", UnixNanos::ZERO, now);
        }
    }
}

/// Tells a part of a snapshot, as one that begins the book anew and not as a repetition for late joiners.
fn tell_as_sync(words: &[u64], out: &mut RecordBuf) {
    match Record::read(words) {
        Ok(Record::SnapshotBegin(begin)) => {
            out.push(&wire::SnapshotBeginRecord { reason: SnapshotReason::Sync as u8, ..*begin });
        }
        _ => push(words, out),
    }
}
