//! One connection: its first line, then its way through the rings. Whatever it does, nobody waits for it.
//!
//! Beside its cursors it keeps at most one partly written batch.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::control::Control;
use super::encode::{Encoder, Lane, What};
use super::librarian::Librarian;
use super::stats::ClientStats;
use crate::cursor::RingCursor;
use crate::handshake::{self, Answer, HELLO_BYTES_MAX, PROTOCOL_VERSION, RingAnswer, Secret};
use crate::history::Reach;
use crate::link::Link;
use crate::rings::Rings;
use crate::subscription::{Position, Subscription};
use model::UnixNanos;
use rustix::event::{PollFd, PollFlags};

/// How long a client may take to say what it wants.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a ring that could not be read for a client is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who is on the other side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A process of this machine.
    Local { pid: i32, uid: u32 },
    /// Another machine.
    Remote(SocketAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Local { pid, .. } => write!(f, "{pid}"),
            Peer::Remote(address) => write!(f, "{address}"),
        }
    }
}

/// What makes two subscriptions want the same records.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FilterKey {
    symbols: Vec<String>,
    types: Vec<String>,
    heartbeats: bool,
}

impl FilterKey {
    fn of(subscription: &Subscription) -> FilterKey {
        let mut symbols: Vec<String> = subscription.symbols.iter().map(|symbol| symbol.to_ascii_uppercase()).collect();
        let mut types = subscription.types.clone();
        for names in [&mut symbols, &mut types] {
            names.sort_unstable();
            names.dedup();
        }
        FilterKey { symbols, types, heartbeats: subscription.heartbeats }
    }
}

/// What a client asked for, and how far it is. As many lanes as rings; `None` where a venue is not wanted.
pub(super) struct Streaming {
    subscription: Subscription,
    pub(super) filter: u64,
    pub(super) key: FilterKey,
    lanes: Vec<Option<Lane>>,
    /// Set when a ring could not be read.
    retry_at: Option<Instant>,
    delivered: u64,
    /// Reads the past, where there is a journal.
    librarian: Option<Librarian>,
    /// The answer, while it is not known yet which records are the first ones owed.
    answer: Option<Box<Answer>>,
}

enum State {
    /// It has not said yet what it wants.
    Greeting {
        line: Vec<u8>,
        until: Instant,
    },
    Streaming(Box<Streaming>),
    /// What is left to write is the last.
    Closing,
}

pub(super) struct Subscriber {
    link: Link,
    slot: usize,
    peer: Peer,
    state: State,
    /// The rest of a batch that the socket had no room for.
    rest: Vec<u8>,
    rest_from: usize,
    gone: bool,
    /// Bytes and batches handed to the socket.
    pub(super) bytes_sent: u64,
    pub(super) batches_sent: u64,
}

/// What came of a client's first bytes.
pub(super) enum Greeted {
    /// More is to come, or nothing is.
    Waiting,
    /// It wants this.
    Wants(Subscription),
    /// It was refused, and told why.
    Refused,
}

impl Subscriber {
    pub(super) fn new(link: Link, slot: usize, peer: Peer, now: Instant) -> Subscriber {
        Subscriber {
            link,
            slot,
            peer,
            state: State::Greeting { line: Vec::new(), until: now + HELLO_TIMEOUT },
            rest: Vec::new(),
            rest_from: 0,
            gone: false,
            bytes_sent: 0,
            batches_sent: 0,
        }
    }

    /// Has its socket watched. False when that cannot be.
    pub(super) fn watch(&self, control: &Control) -> bool {
        control.add(self.slot, &self.link).is_ok()
    }

    /// Whether the connection can be dropped.
    pub(super) fn is_over(&self) -> bool {
        self.gone || (matches!(self.state, State::Closing) && !self.is_blocked())
    }

    /// Its socket is full.
    pub(super) fn is_blocked(&self) -> bool {
        self.rest_from < self.rest.len() || !self.link.is_flushed()
    }

    /// Its socket, to be polled for room.
    pub(super) fn room_poll(&self) -> PollFd<'_> {
        PollFd::new(&self.link, PollFlags::OUT)
    }

    pub(super) fn streaming(&self) -> Option<&Streaming> {
        match &self.state {
            State::Streaming(streaming) => Some(streaming),
            _ => None,
        }
    }

    /// The socket says there is something to read, or that the other side is gone.
    pub(super) fn on_readable(&mut self, control: &Control) -> Greeted {
        let mut piece = [0; 4096];
        loop {
            let got = match self.link.read(&mut piece) {
                Ok(0) => None,
                Ok(got) => Some(got),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.answer_tls(control);
                    return Greeted::Waiting;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => None,
            };
            let (Some(got), State::Greeting { line, .. }) = (got, &mut self.state) else {
                // Gone; or it talks where it should listen, and what it says has no meaning.
                self.gone = got.is_none() || !matches!(self.state, State::Closing);
                return Greeted::Waiting;
            };
            let searched = line.len();
            line.extend_from_slice(&piece[..got]);
            if let Some(end) = line[searched..].iter().position(|byte| *byte == b'\n') {
                let (line, behind) = line.split_at(searched + end);
                if behind.len() > 1 {
                    return self.refuse("the first line is followed by more; nothing may follow".to_owned(), control);
                }
                let line = line.to_vec();
                return match handshake::read_hello(&line, Secret::None) {
                    Ok(subscription) => Greeted::Wants(subscription),
                    Err(refused) => self.refuse(refused.reason, control),
                };
            }
            if line.len() > HELLO_BYTES_MAX {
                return self.refuse(format!("the first line has more than {HELLO_BYTES_MAX} bytes"), control);
            }
        }
    }

    /// What was read may have been TLS's own and want an answer.
    fn answer_tls(&mut self, control: &Control) {
        if !self.link.is_flushed() {
            self.gone |= self.link.flush().is_err();
            self.gone |= self.is_blocked() && control.await_room(self.slot, &self.link).is_err();
        }
    }

    /// Says why not and ends.
    pub(super) fn refuse(&mut self, reason: String, control: &Control) -> Greeted {
        tracing::info!(client = %self.peer, reason, "client refused");
        self.send(&Answer::refusal(reason).line(), control);
        self.state = State::Closing;
        Greeted::Refused
    }

    /// Whether it took too long to say what it wants.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        matches!(self.state, State::Greeting { until, .. } if now >= until)
    }

    /// Places its cursors and answers. `filter` names what all with an equal key share.
    pub(super) fn begin(
        &mut self,
        subscription: Subscription,
        filter_of: impl FnOnce(&FilterKey) -> u64,
        rings: &mut Rings,
        librarian: Option<&Librarian>,
        site: &str,
        control: &Control,
    ) {
        let key = FilterKey::of(&subscription);
        let mut streaming = Box::new(Streaming {
            filter: filter_of(&key),
            key,
            lanes: Vec::new(),
            retry_at: None,
            delivered: 0,
            librarian: librarian.cloned(),
            answer: None,
            subscription,
        });
        let mut warnings = Vec::new();
        if let Err(error) = streaming.add_lanes(rings, None, &mut warnings) {
            self.refuse(error.to_string(), control);
            return;
        }
        let wanted = &streaming.subscription;
        let unknown_symbols = rings.unknown_symbols(&wanted.symbols, |venue| wanted.wants_venue(venue));
        warnings.extend(crate::warn_of_unknown(&unknown_symbols, &wanted.symbols));
        let answer = Answer {
            ok: true,
            error: None,
            version: PROTOCOL_VERSION,
            build: handshake::build(),
            site: site.to_owned(),
            rings: Vec::new(),
            unknown_symbols,
            warnings,
        };
        tracing::info!(client = %self.peer, ?wanted, "client subscribed");
        streaming.answer = Some(Box::new(answer));
        self.state = State::Streaming(streaming);
        self.answer(rings, control);
    }

    /// Answers once it is known of every ring which record is the first one owed.
    fn answer(&mut self, rings: &Rings, control: &Control) {
        let State::Streaming(streaming) = &mut self.state else { return };
        if streaming.lanes.iter().flatten().any(Lane::is_undecided) {
            return;
        }
        if let Some(mut answer) = streaming.answer.take() {
            answer.rings = streaming.answers(rings);
            self.send(&answer.line(), control);
        }
    }

    /// The next batch of one ring. True when there may be more to do.
    pub(super) fn serve(
        &mut self,
        at: usize,
        rings: &mut Rings,
        encoder: &mut Encoder,
        control: &Control,
        now: UnixNanos,
    ) -> bool {
        if self.is_blocked() || self.gone {
            return false;
        }
        let State::Streaming(streaming) = &mut self.state else { return false };
        let filter = streaming.filter;
        let Some(Some(lane)) = streaming.lanes.get_mut(at) else { return false };
        if streaming.retry_at.is_some() || !lane.has_work() {
            return false;
        }
        if lane.cursor.past().is_some() {
            return self.serve_past(at, rings, control);
        }
        if streaming.answer.is_some() {
            return false;
        }
        if lane.cursor.has_asks() {
            rings.pass_on(&mut lane.cursor);
        }
        let ring = rings.get_mut(at);
        let trouble = match encoder.next(lane, at, filter, &mut ring.index, now) {
            Ok(encoded) => {
                streaming.delivered += encoded.told as u64;
                let what = encoded.what;
                lane.sent |= !encoded.bytes.is_empty();
                if what == What::Retired {
                    rings.move_on(at, &mut lane.cursor, &mut lane.mapping).err()
                } else {
                    if !encoded.bytes.is_empty() {
                        self.send(encoded.bytes, control);
                    }
                    if what == What::Last {
                        self.state = State::Closing;
                    }
                    return what == What::Progress;
                }
            }
            Err(error) => {
                tracing::warn!(client = %self.peer, %error, "ring cannot be read; going on behind the trouble");
                lane.cursor.recover(&mut ring.index).err()
            }
        };
        if let Some(error) = trouble {
            tracing::error!(client = %self.peer, %error, "ring is left alone for a while");
            streaming.retry_at = Some(Instant::now() + RETRY_AFTER);
        }
        true
    }

    /// The next piece of the past.
    #[cold]
    fn serve_past(&mut self, at: usize, rings: &mut Rings, control: &Control) -> bool {
        let State::Streaming(streaming) = &mut self.state else { return false };
        let Streaming { lanes, librarian: Some(librarian), subscription, answer, .. } = &mut **streaming else {
            return false;
        };
        let Some(Some(lane)) = lanes.get_mut(at) else { return false };
        match lane.step_past(librarian, subscription, &mut rings.get_mut(at).index, answer.is_some()) {
            Ok(None) => return false,
            Ok(Some((bytes, told))) => {
                streaming.delivered += told as u64;
                if streaming.answer.is_some() {
                    self.answer(rings, control);
                } else if !bytes.is_empty() {
                    self.send(&bytes, control);
                }
            }
            Err(error) => {
                tracing::error!(client = %self.peer, %error, "ring is left alone for a while");
                streaming.retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
        true
    }

    /// Whether [`Subscriber::serve`] would find anything to do.
    pub(super) fn has_work(&self) -> bool {
        !self.is_blocked()
            && self.streaming().is_some_and(|streaming| {
                let answered = streaming.answer.is_none();
                let mut lanes = streaming.lanes.iter().flatten();
                streaming.retry_at.is_none() && lanes.any(|lane| lane.has_work() && (answered || lane.is_undecided()))
            })
    }

    /// Rings were looked for again: follows new ones from their start, and those that were replaced.
    pub(super) fn on_rescan(&mut self, rings: &mut Rings, now: Instant) {
        let State::Streaming(streaming) = &mut self.state else { return };
        streaming.retry_at = streaming.retry_at.filter(|at| now < *at);
        let mut moved = streaming.add_lanes(rings, Some(ring::From::Oldest), &mut Vec::new());
        for (at, lane) in streaming.lanes.iter_mut().enumerate() {
            let Some(lane) = lane else { continue };
            if lane.mapping != rings.list()[at].mapping && !lane.cursor.has_work() {
                moved = moved.and(rings.move_on(at, &mut lane.cursor, &mut lane.mapping));
            }
        }
        if let Err(error) = moved {
            tracing::warn!(client = %self.peer, %error, "ring cannot be followed; trying again");
            streaming.retry_at = Some(now + RETRY_AFTER);
        }
    }

    /// Once a second: whoever got nothing is told how far was looked.
    pub(super) fn beat(&mut self, encoder: &mut Encoder, control: &Control) {
        if self.streaming().is_some_and(|streaming| streaming.answer.is_some()) {
            return;
        }
        for at in 0..self.streaming().map_or(0, |streaming| streaming.lanes.len()) {
            if self.is_blocked() || self.gone {
                return;
            }
            let State::Streaming(streaming) = &mut self.state else { return };
            let Some(Some(lane)) = streaming.lanes.get_mut(at) else { continue };
            if !std::mem::take(&mut lane.sent) {
                let bytes = encoder.beat(lane);
                self.send(bytes, control);
            }
        }
        // Where there is no ring to tell of, another machine still learns that the link holds.
        let silent = self.streaming().is_some_and(|streaming| streaming.lanes.iter().all(Option::is_none));
        if silent && self.link.is_remote() && !self.is_blocked() && !self.gone {
            let bytes = encoder.sign_of_life();
            self.send(bytes, control);
        }
    }

    /// The socket has room again.
    pub(super) fn on_writable(&mut self, control: &Control) {
        if !self.is_blocked() {
            return;
        }
        self.gone |= self.link.flush().is_err();
        let rest = std::mem::take(&mut self.rest);
        let written = self.write(&rest[self.rest_from..]);
        self.rest = rest;
        self.rest_from += written;
        let watched = if self.is_blocked() {
            control.await_room(self.slot, &self.link)
        } else {
            self.rest.clear();
            self.rest_from = 0;
            control.await_reading(self.slot, &self.link)
        };
        self.gone |= watched.is_err();
    }

    fn send(&mut self, bytes: &[u8], control: &Control) {
        debug_assert!(!self.is_blocked());
        self.batches_sent += 1;
        let written = self.write(bytes);
        if !self.gone {
            self.rest.clear();
            self.rest.extend_from_slice(&bytes[written..]);
            self.rest_from = 0;
            self.gone |= self.is_blocked() && control.await_room(self.slot, &self.link).is_err();
        }
    }

    /// Writes what the socket takes without waiting.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let written = self.link.write(bytes).unwrap_or_else(|_| {
            self.gone = true;
            0
        });
        self.bytes_sent += written as u64;
        written
    }

    pub(super) fn stats(&self) -> Option<ClientStats> {
        let streaming = self.streaming()?;
        let (pid, uid, address) = match self.peer {
            Peer::Local { pid, uid } => (pid, uid, None),
            Peer::Remote(address) => (0, 0, Some(address)),
        };
        let mut stats = ClientStats {
            pid,
            uid,
            address,
            delivered: streaming.delivered,
            blocked: self.is_blocked(),
            ..ClientStats::default()
        };
        for lane in streaming.lanes.iter().flatten() {
            stats.lag_slots += lane.cursor.reader().lag();
            stats.overruns += lane.cursor.missed.overruns;
            stats.missed += lane.cursor.missed.records;
        }
        Some(stats)
    }

    /// Says goodbye where that is done.
    pub(super) fn close(&mut self) {
        self.link.close();
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }
}

impl Streaming {
    /// A lane for every ring that has none yet.
    fn add_lanes(
        &mut self,
        rings: &mut Rings,
        from: Option<ring::From>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ring::RingError> {
        for at in self.lanes.len()..rings.len() {
            let ring = rings.get_mut(at);
            let lane = if self.subscription.wants_venue(ring.venue) {
                let reach = if from.is_none() { self.subscription.reach_at(ring.venue) } else { Reach::Laps };
                let reach = reach.where_kept(self.librarian.is_some());
                let from = from.unwrap_or_else(|| self.subscription.start_at(ring.venue));
                let (mut cursor, warning) =
                    RingCursor::new(ring.venue, &self.subscription, from, reach, &mut ring.index)?;
                warnings.extend(warning);
                let mapping = ring.mapping;
                if cursor.has_asks() {
                    warnings.extend(rings.pass_on(&mut cursor));
                }
                Some(Lane::new(cursor, mapping))
            } else {
                None
            };
            self.lanes.push(lane);
        }
        Ok(())
    }

    fn answers(&self, rings: &Rings) -> Vec<RingAnswer> {
        let answer = |(lane, ring): (&Option<Lane>, &crate::rings::Ring)| {
            let owed = lane.as_ref()?.cursor.owed();
            let start = Position { venue: ring.venue, epoch: owed.epoch, sequence: owed.sequence };
            Some(RingAnswer { start, instruments: ring.index.instruments() })
        };
        self.lanes.iter().zip(rings.list()).filter_map(answer).collect()
    }
}
