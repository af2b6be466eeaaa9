//! Reading the rings of this machine without a relay: one cursor per ring, merged by receive time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::past::{FollowedPast, PastStep};
use super::{ClientError, ClientOptions, Delivery};
use crate::cursor::{Kind, RingCursor, Step};
use crate::history::Reach;
use crate::rings::{RESCAN_EVERY, Rings};
use crate::subscription::{Position, Subscription};
use ring::RingError;

/// Slots per ring and poll: enough to amortise a poll, short enough to come back to the other rings.
const POLL_SLOTS: usize = 1024;
/// Slots per ring when several are merged.
const MERGE_SLOTS: usize = 256;
/// Spins between two looks at the clock.
const SPINS_PER_LOOK: usize = 64;

/// Records of one ring that wait to be merged.
#[derive(Default)]
struct Run {
    words: Vec<u64>,
    records: Vec<Queued>,
    next: usize,
}

struct Queued {
    delivery: Delivery,
    received: u64,
    start: usize,
    end: usize,
}

struct Follower {
    cursor: RingCursor,
    mapping: u64,
    run: Run,
    /// While the cursor stands in the past.
    past: Option<FollowedPast>,
}

pub(super) struct DirectSource {
    rings: Rings,
    /// The journal's folder.
    journal: Option<PathBuf>,
    subscription: Subscription,
    options: ClientOptions,
    /// As long as the list of rings; `None` where the venue is not wanted.
    followers: Vec<Option<Follower>>,
    unknown_symbols: Vec<String>,
    warnings: Vec<String>,
}

impl DirectSource {
    pub(super) fn open(
        path: &Path,
        journal: Option<PathBuf>,
        subscription: Subscription,
        options: ClientOptions,
    ) -> Result<DirectSource, ClientError> {
        let mut source = DirectSource {
            rings: Rings::open(path)?,
            journal,
            subscription,
            options,
            followers: Vec::new(),
            unknown_symbols: Vec::new(),
            warnings: Vec::new(),
        };
        source.follow_new(None)?;
        let subscription = &source.subscription;
        source.unknown_symbols =
            source.rings.unknown_symbols(&subscription.symbols, |venue| subscription.wants_venue(venue));
        source.warnings.extend(crate::warn_of_unknown(&source.unknown_symbols, &subscription.symbols));
        Ok(source)
    }

    /// Rings that appear after the subscription began are read from their start: all of it came after.
    fn follow_new(&mut self, from: Option<ring::From>) -> Result<(), RingError> {
        for at in self.followers.len()..self.rings.len() {
            let ring = self.rings.get_mut(at);
            let follower = if self.subscription.wants_venue(ring.venue) {
                let reach = if from.is_none() { self.subscription.reach_at(ring.venue) } else { Reach::Laps };
                let reach = reach.where_kept(self.journal.is_some());
                let from = from.unwrap_or_else(|| self.subscription.start_at(ring.venue));
                let (mut cursor, warning) =
                    RingCursor::new(ring.venue, &self.subscription, from, reach, &mut ring.index)?;
                self.warnings.extend(warning);
                let past = match &self.journal {
                    // Now, so that the position is known from the beginning.
                    Some(folder) if cursor.past().is_some() => {
                        FollowedPast::begin(folder, &mut cursor, &self.subscription, &mut ring.index)?
                    }
                    _ => None,
                };
                let mapping = ring.mapping;
                if cursor.has_asks() {
                    self.warnings.extend(self.rings.pass_on(&mut cursor));
                }
                Some(Follower { cursor, mapping, run: Run::default(), past })
            } else {
                None
            };
            self.followers.push(follower);
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), RingError> {
        if !self.rings.refresh(Instant::now())? {
            return Ok(());
        }
        self.follow_new(Some(ring::From::Oldest))?;
        for (at, follower) in self.followers.iter_mut().enumerate() {
            let Some(follower) = follower else { continue };
            if self.rings.list()[at].mapping != follower.mapping && !follower.cursor.has_work() {
                self.rings.move_on(at, &mut follower.cursor, &mut follower.mapping)?;
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn poll(&mut self, mut f: impl FnMut(Delivery, &[u64])) -> Result<usize, ClientError> {
        self.refresh()?;
        let mut working = self.followers.iter().enumerate().filter(|(_, follower)| has_work(follower));
        let first = working.next().map(|(at, _)| at);
        let several = working.next().is_some();
        match first {
            None => Ok(0),
            Some(at) if !several => self.follow(at, POLL_SLOTS, &mut f),
            Some(_) => self.merge(&mut f),
        }
    }

    /// One step of one ring.
    fn follow(&mut self, at: usize, slots: usize, f: &mut impl FnMut(Delivery, &[u64])) -> Result<usize, ClientError> {
        let Some(follower) = &mut self.followers[at] else { return Ok(0) };
        if follower.cursor.past().is_some() {
            return self.follow_past(at, f);
        }
        let ring = self.rings.get_mut(at);
        let cursor = &mut follower.cursor;
        let (venue, published_ns) = (cursor.venue(), cursor.reader().published_at());
        let now = if cursor.is_plain() { model::UnixNanos::ZERO } else { (self.options.clock)() };
        let mut told = 0;
        let step = cursor.poll(slots, now, &mut ring.index, |kind, envelope, words| {
            told += 1;
            f(Delivery { venue, envelope, published_ns, catch_up: kind == Kind::CatchUp }, words);
        });
        if cursor.has_asks() {
            self.rings.pass_on(cursor);
        }
        let ring = self.rings.get_mut(at);
        match step {
            Ok(Step::Live { .. } | Step::Aside) => Ok(told),
            Ok(Step::Ended) => Err(ClientError::TooSlow { venue }),
            Ok(Step::Idle) => Ok(told),
            Ok(Step::Retired) => {
                self.rings.move_on(at, &mut follower.cursor, &mut follower.mapping)?;
                Ok(told)
            }
            Err(error) => {
                follower.cursor.recover(&mut ring.index)?;
                Err(error.into())
            }
        }
    }

    /// One step through the journal.
    #[cold]
    fn follow_past(&mut self, at: usize, f: &mut impl FnMut(Delivery, &[u64])) -> Result<usize, ClientError> {
        let (Some(follower), Some(folder)) = (&mut self.followers[at], &self.journal) else { return Ok(0) };
        let index = &mut self.rings.get_mut(at).index;
        let Follower { cursor, past, .. } = follower;
        if past.is_none() {
            *past = FollowedPast::begin(folder, cursor, &self.subscription, index)?;
        }
        let Some(reading) = past else { return Ok(0) };
        match reading.step(cursor, index, (self.options.clock)(), f)? {
            PastStep::Told(told) => Ok(told),
            PastStep::Over(told) => {
                *past = None;
                Ok(told)
            }
        }
    }

    /// One step of every ring, told by (receive time, venue, sequence).
    fn merge(&mut self, f: &mut impl FnMut(Delivery, &[u64])) -> Result<usize, ClientError> {
        let mut told = 0;
        let mut failed = None;
        for at in 0..self.followers.len() {
            if !has_work(&self.followers[at]) {
                continue;
            }
            // What catches up is told at once, what is owed in its turn.
            let plain = self.followers[at]
                .as_ref()
                .is_some_and(|follower| follower.cursor.past().is_none() && follower.cursor.is_plain());
            let mut run =
                self.followers[at].as_mut().map(|follower| std::mem::take(&mut follower.run)).unwrap_or_default();
            let step = if plain {
                self.follow(at, MERGE_SLOTS, &mut |delivery, words| run.push(delivery, words))
            } else {
                self.follow(at, MERGE_SLOTS, f)
            };
            match step {
                Ok(records) => told += records,
                Err(error) => failed = Some(error),
            }
            if let Some(follower) = &mut self.followers[at] {
                follower.run = run;
            }
        }
        self.tell_merged(f);
        // What was read is told before the trouble is.
        failed.map_or(Ok(told), Err)
    }

    fn tell_merged(&mut self, f: &mut impl FnMut(Delivery, &[u64])) {
        loop {
            let heads = self.followers.iter().enumerate().filter_map(|(at, follower)| {
                let run = &follower.as_ref()?.run;
                let head = run.records.get(run.next)?;
                Some((head.received, head.delivery.venue, at))
            });
            let Some((_, _, at)) = heads.min() else { break };
            if let Some(follower) = &mut self.followers[at] {
                follower.run.tell_next(f);
            }
        }
        for follower in self.followers.iter_mut().flatten() {
            follower.run.clear();
        }
    }

    pub(super) fn wait(&mut self, timeout: Duration) {
        if self.followers.iter().any(has_work) {
            return;
        }
        if self.options.spin {
            return self.spin(timeout);
        }
        let doorbell = self.rings.directory().doorbell();
        let ticket = doorbell.arm();
        if !self.followers.iter().any(has_work) {
            doorbell.wait(ticket, Some(timeout.min(RESCAN_EVERY)));
        }
    }

    fn spin(&self, timeout: Duration) {
        let end = Instant::now() + timeout.min(RESCAN_EVERY);
        while Instant::now() < end {
            for _ in 0..SPINS_PER_LOOK {
                if self.followers.iter().any(has_work) {
                    return;
                }
                std::hint::spin_loop();
            }
        }
    }

    pub(super) fn lag(&self) -> u64 {
        self.followers.iter().flatten().map(|follower| follower.cursor.reader().lag()).sum()
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        let position = |cursor: &RingCursor| {
            let owed = cursor.owed();
            Position { venue: cursor.venue(), epoch: owed.epoch, sequence: owed.sequence }
        };
        self.followers.iter().flatten().map(|follower| position(&follower.cursor)).collect()
    }

    pub(super) fn unknown_symbols(&self) -> &[String] {
        &self.unknown_symbols
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[inline]
fn has_work(follower: &Option<Follower>) -> bool {
    follower.as_ref().is_some_and(|follower| match follower.cursor.past() {
        None => follower.cursor.has_work(),
        Some(_) => follower.past.as_ref().is_none_or(FollowedPast::is_ready),
    })
}

impl Run {
    fn push(&mut self, delivery: Delivery, words: &[u64]) {
        let start = self.words.len();
        self.words.extend_from_slice(words);
        // Word 2 of every record is its receive time.
        let received = words.get(2).copied().unwrap_or(0);
        self.records.push(Queued { delivery, received, start, end: self.words.len() });
    }

    fn tell_next(&mut self, f: &mut impl FnMut(Delivery, &[u64])) {
        let Queued { delivery, start, end, .. } = self.records[self.next];
        self.next += 1;
        f(delivery, &self.words[start..end]);
    }

    fn clear(&mut self) {
        self.words.clear();
        self.records.clear();
        self.next = 0;
    }
}
