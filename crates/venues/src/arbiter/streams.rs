//! Streams whose records carry no ids: from one leading line, and from another when that is gone or silent.

use super::{Arbiter, KINDS};
use model::{InstrumentStatus, Reason, StreamKind, StreamState, UnixNanos};
use wire::{BarState, RecordBuf, Status};

/// The word of a bar that says when it opened, and the one with its interval and state.
const BAR_OPEN_WORD: usize = 3;
const BAR_STATE_WORD: usize = 4;

/// The streams of one instrument as they were told.
#[derive(Debug)]
pub(super) struct Streams {
    leader: [Option<usize>; KINDS],
    stale: [bool; KINDS],
    /// The last state told that is neither live nor stale.
    odd: [Option<StreamState>; KINDS],
    pub status: Option<InstrumentStatus>,
    /// Of each interval the last bar told as closed: seconds, opening time, line.
    closed: Vec<(u32, u64, usize)>,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { leader: [None; KINDS], stale: [false; KINDS], odd: [None; KINDS], status: None, closed: vec![] }
    }
}

impl Streams {
    pub(super) fn seed(&mut self, line: usize, status: InstrumentStatus) {
        self.leader = [Some(line); KINDS];
        self.status = Some(status);
    }
}

impl Arbiter {
    /// Whether a line leads a stream, which it does as soon as the leader is gone or stale.
    #[inline]
    fn leads(&mut self, m: usize, line: usize, kind: StreamKind) -> bool {
        let market = &mut self.markets[m];
        let column = usize::from(kind.code());
        let leader = &mut market.streams.leader[column];
        if *leader == Some(line) {
            return true;
        }
        let free = leader.is_none_or(|l| !self.up[l] || market.views[l].stale[column]);
        if free {
            *leader = Some(line);
        }
        free
    }

    #[inline]
    pub(super) fn on_stream(&mut self, m: usize, line: usize, kind: StreamKind, words: &[u64], out: &mut RecordBuf) {
        if self.leads(m, line, kind) {
            self.tell(m, line, words, out);
        }
    }

    /// A bar: one that another line has told as closed is not told again by its successor.
    pub(super) fn on_bar(&mut self, m: usize, line: usize, words: &[u64], out: &mut RecordBuf) {
        if !self.leads(m, line, StreamKind::Bar) {
            return;
        }
        let (open, interval) = (words[BAR_OPEN_WORD], words[BAR_STATE_WORD] as u32);
        let is_closed = (words[BAR_STATE_WORD] >> 32) as u8 == BarState::Closed as u8;
        let closed = &mut self.markets[m].streams.closed;
        match closed.iter_mut().find(|c| c.0 == interval) {
            Some((_, last, by)) if *by != line && open <= *last => return,
            Some(entry) if is_closed => *entry = (interval, open, line),
            None if is_closed => closed.push((interval, open, line)),
            _ => {}
        }
        self.tell(m, line, words, out);
    }

    pub(super) fn on_stream_state(
        &mut self,
        m: usize,
        line: usize,
        (kind, state): (StreamKind, StreamState),
        words: &[u64],
        now: UnixNanos,
        out: &mut RecordBuf,
    ) {
        let column = usize::from(kind.code());
        let others = self.others_up(line);
        let market = &mut self.markets[m];
        match state {
            StreamState::Stale | StreamState::Live => {
                market.views[line].stale[column] = state == StreamState::Stale;
                if market.streams.odd[column].is_some() && state == StreamState::Live {
                    market.streams.odd[column] = None;
                    return self.tell(m, line, words, out);
                }
                if kind == StreamKind::Book {
                    self.touch(m);
                } else {
                    self.judge_stale_of(m, kind, now, out);
                }
            }
            _ => {
                // Another line that leads the stream can do without this one.
                let led = market.streams.leader[column].is_some_and(|l| l != line && self.up[l]);
                let live = kind == StreamKind::Book && market.book.is_live() && market.book.leader != Some(line);
                if !(others && (led || live)) && market.streams.odd[column].replace(state) != Some(state) {
                    self.tell(m, line, words, out);
                }
            }
        }
    }

    /// Tells that a stream is stale on every line, or no longer.
    fn judge_stale_of(&mut self, m: usize, kind: StreamKind, now: UnixNanos, out: &mut RecordBuf) {
        let column = usize::from(kind.code());
        let up = || self.up.iter().zip(&self.markets[m].views).filter(|(up, _)| **up);
        let all = up().all(|(_, view)| view.stale[column]);
        if up().next().is_none() {
            // Without a connection nothing is watched; the venue is down anyway.
            self.markets[m].streams.stale[column] = false;
            return;
        }
        self.tell_stale(m, kind, all, now, out);
    }

    pub(super) fn tell_stale(&mut self, m: usize, kind: StreamKind, stale: bool, now: UnixNanos, out: &mut RecordBuf) {
        let market = &mut self.markets[m];
        if std::mem::replace(&mut market.streams.stale[usize::from(kind.code())], stale) == stale {
            return;
        }
        let (state, reason, text) = match stale {
            true => (StreamState::Stale, Reason::Timeout, "silent on every connection"),
            false => (StreamState::Live, Reason::Ok, ""),
        };
        let status = Status::Stream(kind, state);
        out.push_status(self.venue, market.id, status, reason, text, UnixNanos::ZERO, now);
    }

    /// A line went: what it alone kept from being stale is.
    pub(super) fn judge_stale(&mut self, m: usize, now: UnixNanos, out: &mut RecordBuf) {
        for kind in [StreamKind::Trade, StreamKind::Quote, StreamKind::Bar, StreamKind::Order] {
            self.judge_stale_of(m, kind, now, out);
        }
    }
}
