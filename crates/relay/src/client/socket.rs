//! Reading a relay's socket: the batches, proof that nothing is missing, and coming back after the relay
//! went away.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::dial::{Dial, Dialed, Target};
use super::{ClientError, ClientOptions, Delivery, Reconnect};
use crate::handshake::Answer;
use crate::link::Link;
use crate::subscription::{Position, Start, Subscription};
use model::Venue;
use rustix::event::{PollFd, PollFlags, Timespec};
use wire::batch::{BatchHeader, CATCH_UP, FINAL, HEADER_BYTES, OUT_OF_BAND};
use wire::{Envelope, OverrunCause, OverrunRecord, Record};
use zerocopy::IntoBytes;

/// Words of the receive buffer to begin with; it grows when a batch does not fit.
const BUFFER_WORDS: usize = 32 * 1024;
/// Reads of the socket per poll.
const READS_PER_POLL: usize = 4;

pub(super) struct SocketSource {
    target: Target,
    /// The target, for messages.
    name: String,
    subscription: Subscription,
    options: ClientOptions,
    connection: Option<Link>,
    /// A new connection on its way.
    dial: Option<Dial>,
    retry: Retry,
    random: fastrand::Rng,
    buffer: Buffer,
    order: Order,
    unknown_symbols: Vec<String>,
    warnings: Vec<String>,
    site: String,
    /// When anything was last received.
    heard_at: Instant,
    connections: u64,
    too_slow: Option<Venue>,
}

/// When to try again.
struct Retry {
    wait: Duration,
    at: Instant,
}

/// Received bytes, aligned as records need it: every batch is a whole number of words.
struct Buffer {
    words: Vec<u64>,
    /// Bytes given out.
    start: usize,
    /// Bytes received.
    end: usize,
}

/// Per venue, what comes next.
#[derive(Default)]
struct Order {
    next: Vec<Position>,
}

impl SocketSource {
    pub(super) fn open(
        target: Target,
        subscription: Subscription,
        options: ClientOptions,
    ) -> Result<SocketSource, ClientError> {
        let first = match options.reconnect {
            Reconnect::Never => Duration::ZERO,
            Reconnect::Backoff { first, .. } => first,
        };
        let mut source = SocketSource {
            name: target.name(),
            target,
            subscription,
            options,
            connection: None,
            dial: None,
            retry: Retry { wait: first, at: Instant::now() },
            random: fastrand::Rng::with_seed(options.seed),
            buffer: Buffer { words: vec![0; BUFFER_WORDS], start: 0, end: 0 },
            order: Order::default(),
            unknown_symbols: Vec::new(),
            warnings: Vec::new(),
            site: String::new(),
            heard_at: Instant::now(),
            connections: 0,
            too_slow: None,
        };
        let dialed = source.target.dial(source.asked(source.subscription.from.clone()))?;
        source.begin(dialed);
        Ok(source)
    }

    fn asked(&self, from: Start) -> Subscription {
        Subscription { from, ..self.subscription.clone() }
    }

    fn begin(&mut self, dialed: Dialed) {
        let Dialed { link, answer, rest } = dialed;
        self.buffer.restart(&rest);
        self.order.begin(&answer);
        self.unknown_symbols = answer.unknown_symbols;
        self.warnings = answer.warnings;
        self.site = answer.site;
        self.heard_at = Instant::now();
        self.connections += 1;
        self.connection = Some(link);
    }

    #[inline]
    pub(super) fn poll(&mut self, mut f: impl FnMut(Delivery, &[u64])) -> Result<usize, ClientError> {
        if let Some(venue) = self.too_slow {
            return Err(ClientError::TooSlow { venue });
        }
        if self.connection.is_none() {
            self.reconnect()?;
        }
        let (mut told, mut heard) = (0, false);
        for _ in 0..READS_PER_POLL {
            let Some(connection) = &mut self.connection else { break };
            let room = self.buffer.room();
            let room_bytes = room.len();
            let received = match connection.read(room) {
                Ok(0) => Received::End,
                Ok(bytes) => {
                    heard = true;
                    self.buffer.end += bytes;
                    if bytes < room_bytes { Received::All } else { Received::Some }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Received::All,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The relay died with our bytes unread, say: the end, told differently.
                Err(_) => Received::End,
            };
            told += self.tell(&mut f)?;
            match received {
                Received::Some => {}
                Received::All => break,
                Received::End => {
                    self.lost_connection(told)?;
                    break;
                }
            }
        }
        self.listen(heard, told)?;
        Ok(told)
    }

    /// A relay on another machine says something every second. When it does not for long, the link is cut, though
    /// nothing else may ever say so.
    fn listen(&mut self, heard: bool, told: usize) -> Result<(), ClientError> {
        if !self.target.is_remote() || self.connection.is_none() {
            return Ok(());
        }
        if heard {
            self.heard_at = Instant::now();
        } else if self.heard_at.elapsed() > self.options.silence {
            tracing::warn!(relay = self.name, "relay is silent: the link is taken for cut");
            self.lost_connection(told)?;
        }
        Ok(())
    }

    /// Tells every whole batch in the buffer.
    fn tell(&mut self, f: &mut impl FnMut(Delivery, &[u64])) -> Result<usize, ClientError> {
        let mut told = 0;
        let bad = |relay: &str, what: String| ClientError::BadBatch { relay: relay.to_owned(), what };
        while let Some(header) =
            BatchHeader::read(self.buffer.bytes()).map_err(|error| bad(&self.name, error.to_string()))?
        {
            let length = HEADER_BYTES + header.length as usize;
            if self.buffer.bytes().len() < length {
                self.buffer.reserve(length);
                break;
            }
            let Some(venue) = header.venue() else {
                // A venue this build does not know: nothing here could name it.
                self.buffer.start += length;
                continue;
            };
            let aside = header.flags & (CATCH_UP | OUT_OF_BAND) != 0;
            let epoch = header.epoch;
            if !aside {
                let lost = self
                    .order
                    .advance(venue, epoch, header.scan_first, header.scan_last)
                    .map_err(|what| bad(&self.name, what))?;
                if let Some((first, last)) = lost {
                    told += 1;
                    let now = (self.options.clock)();
                    let record = OverrunRecord::new(Some(venue), epoch, first, Some(last), OverrunCause::Relay, now);
                    let envelope = Envelope { epoch, sequence: 0 };
                    f(Delivery { venue, envelope, published_ns: header.published, catch_up: false }, record.as_words());
                }
            }
            let body = &self.buffer.words[(self.buffer.start + HEADER_BYTES) / 8..(self.buffer.start + length) / 8];
            let order = &mut self.order;
            let out_of_band = header.flags & OUT_OF_BAND != 0;
            let catch_up = header.flags & CATCH_UP != 0;
            header
                .open(body, |envelope, words| {
                    let mut envelope = envelope;
                    if out_of_band {
                        envelope.sequence = 0;
                        order.note_overrun(venue, words);
                    }
                    told += 1;
                    f(Delivery { venue, envelope, published_ns: header.published, catch_up }, words);
                })
                .map_err(|error| bad(&self.name, error.to_string()))?;
            self.buffer.start += length;
            if header.flags & FINAL != 0 {
                self.too_slow = Some(venue);
            }
        }
        self.buffer.compact();
        Ok(told)
    }

    fn lost_connection(&mut self, told: usize) -> Result<(), ClientError> {
        self.connection = None;
        if self.too_slow.is_some() {
            return Ok(());
        }
        match self.options.reconnect {
            Reconnect::Never if told == 0 => Err(ClientError::Closed { relay: self.name.clone() }),
            // The next poll finds the end again, through the missing connection.
            Reconnect::Never => Ok(()),
            Reconnect::Backoff { first, .. } => {
                tracing::warn!(relay = self.name, "relay went away");
                self.retry = Retry { wait: first, at: Instant::now() };
                Ok(())
            }
        }
    }

    /// One try, if it is time for one. A refusal is final, silence is not.
    fn reconnect(&mut self) -> Result<(), ClientError> {
        let Reconnect::Backoff { max, .. } = self.options.reconnect else {
            return Err(ClientError::Closed { relay: self.name.clone() });
        };
        let outcome = match &mut self.dial {
            Some(dial) => {
                let Some(outcome) = dial.poll() else { return Ok(()) };
                self.dial = None;
                outcome
            }
            None => {
                let now = Instant::now();
                if now < self.retry.at {
                    return Ok(());
                }
                // Somewhere in the second half, so that clients that lost one relay do not come back as one.
                let jittered = self.retry.wait.mul_f64(0.5 + self.random.f64() / 2.0);
                self.retry = Retry { wait: (self.retry.wait * 2).min(max), at: now + jittered };
                let from = if self.order.next.is_empty() {
                    self.subscription.from.clone()
                } else {
                    Start::Sequence(self.order.next.clone())
                };
                let asked = self.asked(from);
                if self.target.is_remote() {
                    self.dial = Some(self.target.dial_aside(asked)?);
                    return Ok(());
                }
                self.target.dial(asked)
            }
        };
        match outcome {
            Ok(dialed) => {
                tracing::info!(relay = self.name, "relay is back");
                self.begin(dialed);
                Ok(())
            }
            Err(ClientError::Io { .. } | ClientError::Closed { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    pub(super) fn wait(&mut self, timeout: Duration) {
        let Some(connection) = &self.connection else {
            if let Some(dial) = &mut self.dial {
                return dial.wait(timeout);
            }
            let until = self.retry.at.saturating_duration_since(Instant::now());
            return std::thread::sleep(until.min(timeout));
        };
        if self.buffer.holds_a_batch() || connection.holds_unread() {
            return;
        }
        let timeout = if self.target.is_remote() { timeout.min(self.options.silence) } else { timeout };
        let mut fds = [PollFd::new(connection, PollFlags::IN)];
        // A signal, a time-out and news mean the same to the caller: poll.
        if self.options.spin {
            let end = Instant::now() + timeout;
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            while Instant::now() < end && matches!(rustix::event::poll(&mut fds, Some(&none)), Ok(0)) {
                std::hint::spin_loop();
            }
            return;
        }
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        self.order.next.clone()
    }

    /// The machine the relay runs on, as it says.
    pub(super) fn site(&self) -> &str {
        &self.site
    }

    /// How often a connection came about.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    pub(super) fn unknown_symbols(&self) -> &[String] {
        &self.unknown_symbols
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }
}

enum Received {
    /// There may be more.
    Some,
    /// What was there.
    All,
    End,
}

impl Buffer {
    fn restart(&mut self, bytes: &[u8]) {
        self.start = 0;
        self.end = 0;
        self.reserve(bytes.len());
        self.words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        self.end = bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[self.start..self.end]
    }

    fn room(&mut self) -> &mut [u8] {
        let end = self.end;
        &mut self.words.as_mut_bytes()[end..]
    }

    /// Moves what is left to the front, whole words at a time so that it stays aligned.
    fn compact(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.end > self.words.len() * 4 {
            let (start, end) = (self.start, self.end);
            self.words.as_mut_bytes().copy_within(start..end, 0);
            self.start = 0;
            self.end = end - start;
        }
    }

    /// Makes room for a batch of so many bytes, and for something behind it.
    fn reserve(&mut self, bytes: usize) {
        if self.start + bytes >= self.words.len() * 8 {
            let (start, end) = (self.start, self.end);
            self.words.as_mut_bytes().copy_within(start..end, 0);
            self.start = 0;
            self.end = end - start;
            let needed = (bytes / 8 + 1).next_multiple_of(BUFFER_WORDS);
            if needed > self.words.len() {
                self.words.resize(needed, 0);
            }
        }
    }

    fn holds_a_batch(&self) -> bool {
        match BatchHeader::read(self.bytes()) {
            Ok(Some(header)) => self.bytes().len() >= HEADER_BYTES + header.length as usize,
            Ok(None) => false,
            // The poll says what is wrong.
            Err(_) => true,
        }
    }
}

impl Order {
    /// What the relay says it starts at counts only where nothing was expected yet: a difference is a loss.
    fn begin(&mut self, answer: &Answer) {
        for ring in &answer.rings {
            if self.find(ring.start.venue).is_none() {
                self.next.push(ring.start);
            }
        }
    }

    fn find(&mut self, venue: Venue) -> Option<&mut Position> {
        self.next.iter_mut().find(|next| next.venue == venue)
    }

    /// Takes in a scanned range. The sequences that are missing before it, if any, were lost.
    fn advance(&mut self, venue: Venue, epoch: u64, first: u64, last: u64) -> Result<Option<(u64, u64)>, String> {
        let end = Position { venue, epoch, sequence: last.wrapping_add(1) };
        let Some(next) = self.find(venue) else {
            self.next.push(end);
            return Ok(None);
        };
        let expected = if epoch == next.epoch { next.sequence } else { 1 };
        if epoch < next.epoch || first < expected {
            return Err(format!(
                "{venue}: sequence {first} of epoch {epoch} came where {} of epoch {} was due",
                next.sequence, next.epoch
            ));
        }
        *next = end;
        Ok((first > expected).then(|| (expected, first - 1)))
    }

    /// The records an overrun names are accounted for.
    fn note_overrun(&mut self, venue: Venue, words: &[u64]) {
        if let Ok(Record::Overrun(overrun)) = Record::read(words)
            && overrun.last != 0
        {
            let (epoch, sequence) = (overrun.epoch, overrun.last + 1);
            match self.find(venue) {
                Some(next) if (next.epoch, next.sequence) < (epoch, sequence) => {
                    *next = Position { venue, epoch, sequence };
                }
                Some(_) => {}
                None => self.next.push(Position { venue, epoch, sequence }),
            }
        }
    }
}
