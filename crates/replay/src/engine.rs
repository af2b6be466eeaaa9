//! The merge: many sources as one stream of events in the order of time, from any moment on.
//!
//! An event is what one venue told at one moment: all records of a source, one behind the other, with the same time.
//! Events come in the order of (time, venue, order in which the sources were given), and within a source in its own
//! order: the same input gives the same stream, whatever the pace.
//!
//! Invariants: the first record of a source in a take is a session start that says `replay:`; what is told behind a seek
//! can be joined there, because the session, the definitions, the books and the states as of that moment come first.

use crate::desk::Desk;
use crate::mark::{Start, marked, session_start};
use crate::{Page, ReplayError, Source};
use model::{UnixNanos, Venue};
use std::collections::HashMap;
use std::time::Duration;
use wire::{Envelope, Record, RecordType};

/// What is replayed of the sources.
#[derive(Clone, Debug)]
pub struct Choice {
    /// From this time on; zero: from the beginning.
    pub from: UnixNanos,
    /// Up to this time, without it.
    pub until: UnixNanos,
    /// Only these instruments, by canonical or venue's symbol; empty: all. What concerns a whole venue always comes.
    pub symbols: Vec<String>,
}

impl Default for Choice {
    fn default() -> Choice {
        Choice { from: UnixNanos::ZERO, until: UnixNanos(u64::MAX), symbols: vec![] }
    }
}

/// A record as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Which source, in the order in which they were given.
    pub source: usize,
    /// Its venue.
    pub venue: Venue,
    /// When it is told on the clock of the recording.
    pub time: UnixNanos,
    /// Its name where it was recorded. Sequence 0: an overrun, which is nobody's record.
    pub at: Envelope,
    /// It stands for what lies before the point of joining, and may come again.
    pub catch_up: bool,
    /// The record.
    pub words: &'a [u64],
}

/// Takes what is told.
pub type Tell<'a> = dyn FnMut(Told<'_>) -> Result<(), ReplayError> + 'a;

/// How often a beginning is looked for farther back, each time four times as far: from a minute to three days.
const LOOKS_MAX: u32 = 6;

struct Lane {
    source: Box<dyn Source>,
    venue: Venue,
    page: Page,
    /// Rows of the page that were told.
    next: usize,
    /// Where the event that begins at `next` ends.
    end: usize,
    over: bool,
    /// A session start was told in this take.
    begun: bool,
    /// Whether an instrument is wanted, as far as its definition was seen.
    wanted: HashMap<u32, bool>,
    /// What a seek found out, until it is told.
    desk: Option<Desk>,
}

/// Sources merged.
pub struct Replay {
    lanes: Vec<Lane>,
    choice: Choice,
    time: UnixNanos,
}

impl Replay {
    /// Merges these sources, and goes to where the choice begins.
    pub fn open(sources: Vec<Box<dyn Source>>, choice: Choice) -> Result<Replay, ReplayError> {
        let choice =
            Choice { symbols: choice.symbols.iter().map(|symbol| symbol.to_ascii_uppercase()).collect(), ..choice };
        let lanes = sources.into_iter().map(|source| Lane {
            venue: source.venue(),
            source,
            page: Page::new(),
            next: 0,
            end: 0,
            over: false,
            begun: false,
            wanted: HashMap::new(),
            desk: None,
        });
        let mut replay = Replay { lanes: lanes.collect(), time: choice.from, choice };
        if replay.choice.from > UnixNanos::ZERO {
            replay.seek(replay.choice.from)?;
        }
        Ok(replay)
    }

    /// What is replayed of the sources.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The venues of the sources, in their order.
    pub fn venues(&self) -> impl Iterator<Item = Venue> + '_ {
        self.lanes.iter().map(|lane| lane.venue)
    }

    /// Kind and path of each source.
    pub fn sources(&self) -> impl Iterator<Item = String> + '_ {
        self.lanes.iter().map(|lane| format!("{} of {}", lane.source.name(), lane.venue))
    }

    /// The time of the event told last, or of the moment that was gone to.
    pub fn time(&self) -> UnixNanos {
        self.time
    }

    /// Goes to a moment, forward or back: the next event is the first at that time or later. What a joiner needs there
    /// is told by [`Replay::opening`].
    pub fn seek(&mut self, to: UnixNanos) -> Result<(), ReplayError> {
        let Choice { from, until, .. } = self.choice;
        if to < from || to >= until {
            return Err(ReplayError::OutOfInterval { to, from, until });
        }
        for lane in &mut self.lanes {
            lane.seek(to)?;
        }
        self.time = to;
        Ok(())
    }

    /// Tells what lies before the point of joining: nothing at the beginning of the sources.
    pub fn opening(&mut self, f: &mut Tell<'_>) -> Result<(), ReplayError> {
        let time = self.time;
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        order.sort_by_key(|index| (self.lanes[*index].venue, *index));
        for source in order {
            self.lanes[source].opening(source, time, &self.choice, f)?;
        }
        Ok(())
    }

    /// When the next event is told on the clock of the recording; `None` at the end.
    pub fn next_time(&mut self) -> Result<Option<UnixNanos>, ReplayError> {
        Ok(self.next_lane()?.map(|(time, _)| time))
    }

    /// Tells the next event; its time, or `None` at the end. All of its records may be unwanted.
    pub fn event(&mut self, f: &mut Tell<'_>) -> Result<Option<UnixNanos>, ReplayError> {
        let Some((time, source)) = self.next_lane()? else { return Ok(None) };
        self.lanes[source].event(source, &self.choice, f)?;
        self.time = time;
        Ok(Some(time))
    }

    #[inline]
    fn next_lane(&mut self) -> Result<Option<(UnixNanos, usize)>, ReplayError> {
        let mut first: Option<(UnixNanos, Venue, usize)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let Some(time) = lane.next_time()? else { continue };
            let key = (time, lane.venue, index);
            if first.is_none_or(|first| key < first) {
                first = Some(key);
            }
        }
        Ok(first.filter(|(time, ..)| *time < self.choice.until).map(|(time, _, index)| (time, index)))
    }
}

impl Lane {
    /// Sees that a whole event is on the page; its time.
    #[inline]
    fn next_time(&mut self) -> Result<Option<UnixNanos>, ReplayError> {
        if self.end == self.next && !self.find_event()? {
            return Ok(None);
        }
        Ok(Some(self.page.rows()[self.next].time))
    }

    fn find_event(&mut self) -> Result<bool, ReplayError> {
        loop {
            let rows = self.page.rows();
            if let Some(first) = rows.get(self.next) {
                let same = rows[self.end.max(self.next)..].iter().take_while(|row| row.time == first.time).count();
                self.end = self.end.max(self.next) + same;
                if self.end < rows.len() || self.over {
                    return Ok(true);
                }
            } else if self.over {
                return Ok(false);
            }
            // The event may go on where the page ends.
            self.page.forget(self.next);
            self.end -= self.next;
            self.next = 0;
            self.over = !self.source.read(&mut self.page)?;
        }
    }

    fn event(&mut self, source: usize, choice: &Choice, f: &mut Tell<'_>) -> Result<(), ReplayError> {
        if !self.begun {
            self.begin(source, f)?;
        }
        let Lane { page, venue, wanted, .. } = self;
        for row in &page.rows()[self.next..self.end] {
            let words = page.words(row);
            let told = Told { source, venue: *venue, time: row.time, at: row.at, catch_up: false, words };
            if !choice.symbols.is_empty() && !wants(wanted, &choice.symbols, words) {
                continue;
            }
            match marked(words) {
                None => f(told)?,
                Some(session) => f(Told { words: session.words(), ..told })?,
            }
        }
        self.next = self.end;
        Ok(())
    }

    /// A take's first record of a source says that it is a replay.
    fn begin(&mut self, source: usize, f: &mut Tell<'_>) -> Result<(), ReplayError> {
        self.begun = true;
        let Some(row) = self.page.rows().get(self.next) else { return Ok(()) };
        let words = self.page.words(row);
        if words.first().is_some_and(|head| *head as u8 == RecordType::SessionStart as u8) {
            return Ok(());
        }
        let start = Start { epoch: row.at.epoch, pid: 0, site: &self.source.site(), build: crate::BUILD };
        let session = session_start(self.venue, &start, row.time);
        let at = Envelope { sequence: row.at.sequence.saturating_sub(1), ..row.at };
        f(Told { source, venue: self.venue, time: row.time, at, catch_up: true, words: session.words() })
    }

    fn seek(&mut self, to: UnixNanos) -> Result<(), ReplayError> {
        let mut back = self.source.lookback();
        for look in 0..=LOOKS_MAX {
            let begin = if look == LOOKS_MAX { UnixNanos::ZERO } else { before(to, back) };
            let desk = self.go_to(begin, to)?;
            let found = desk.is_whole() || begin == UnixNanos::ZERO;
            self.desk = Some(desk);
            if found {
                break;
            }
            back *= 4;
        }
        Ok(())
    }

    /// Reads from `begin` on up to the first event at `to` or later.
    fn go_to(&mut self, begin: UnixNanos, to: UnixNanos) -> Result<Desk, ReplayError> {
        self.source.seek(begin)?;
        self.page.restart();
        (self.next, self.end, self.over, self.begun) = (0, 0, false, false);
        let mut desk = Desk::new(self.venue);
        while let Some(time) = self.next_time()?.filter(|time| *time < to) {
            for row in &self.page.rows()[self.next..self.end] {
                let noted = desk.note(row.at, time, self.page.words(row));
                noted.map_err(|source| ReplayError::Record { venue: self.venue, time, source })?;
            }
            self.next = self.end;
        }
        Ok(desk)
    }

    fn opening(
        &mut self,
        source: usize,
        time: UnixNanos,
        choice: &Choice,
        f: &mut Tell<'_>,
    ) -> Result<(), ReplayError> {
        let Some(desk) = self.desk.take() else { return Ok(()) };
        if desk.is_empty() {
            return Ok(());
        }
        for words in desk.definitions() {
            wants(&mut self.wanted, &choice.symbols, words);
        }
        let Lane { wanted, venue, begun, .. } = self;
        *begun = true;
        let wants = |id: u32| choice.symbols.is_empty() || wanted.get(&id).copied().unwrap_or(false);
        let site = self.source.site();
        desk.tell(&site, wants, &mut |at, words| {
            let told = Told { source, venue: *venue, time, at, catch_up: true, words };
            match marked(words) {
                None => f(told),
                Some(session) => f(Told { words: session.words(), ..told }),
            }
        })
    }
}

fn before(time: UnixNanos, back: Duration) -> UnixNanos {
    UnixNanos(time.0.saturating_sub(u64::try_from(back.as_nanos()).unwrap_or(u64::MAX)))
}

/// Whether a record is of an instrument that was chosen. Feeds define an instrument before they tell of it.
fn wants(wanted: &mut HashMap<u32, bool>, symbols: &[String], words: &[u64]) -> bool {
    let (kind, id) = words.first().map_or((0, 0), |head| (*head as u8, (head >> 32) as u32));
    if id == 0 {
        return true;
    }
    if kind == RecordType::Instrument as u8
        && let Ok(Record::Instrument(view)) = Record::read(words)
    {
        let named = |name: &str| symbols.iter().any(|symbol| symbol.eq_ignore_ascii_case(name));
        wanted.insert(id, named(view.symbol) || named(view.venue_symbol));
    }
    wanted.get(&id).copied().unwrap_or(false)
}
