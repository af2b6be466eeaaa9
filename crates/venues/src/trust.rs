//! The trust in one book: the state it is in, why and since when, and what has proved or failed it so far.
//!
//! What a machine does to its book it tells here; what follows (a failed proof, a new snapshot) stays the machine's.
//! Of the proofs, those that need only the book and a time are judged here: the age of a book against its own rhythm
//! ([`Rhythm`]) and the venue's ticker beside it ([`Ticker`]).
//!
//! Pure: times are passed in. An update costs a few additions and allocates nothing.

use crate::{Counts, Known, Outbox};
use book::Book;
use model::{BookState, GapCause, InstrumentStatus, Price, Reason, Side, UnixNanos};
use std::time::Duration;

/// What is told of a book that its ticker speaks against.
pub const TICKER_APART: &str = "the venue's ticker has had other best prices for too long";

/// What a book can be proved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// The venue's checksum of the book is ours.
    Checksum,
    /// The ids of the book's changes follow one another.
    Ids,
    /// The frames of the whole connection follow one another.
    Connection,
    /// After a whole message the best bid is below the best ask.
    Uncrossed,
    /// The venue's own ticker has the same best prices.
    Ticker,
    /// A fresh snapshot has the same levels.
    Snapshot,
    /// The book's stream is not silent for longer than its rhythm allows.
    Rhythm,
}

impl Proof {
    /// Every proof, in the order of [`Tally`]'s columns.
    pub const ALL: [Proof; 7] = [
        Proof::Checksum,
        Proof::Ids,
        Proof::Connection,
        Proof::Uncrossed,
        Proof::Ticker,
        Proof::Snapshot,
        Proof::Rhythm,
    ];

    /// The name used in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Proof::Checksum => "checksum",
            Proof::Ids => "ids",
            Proof::Connection => "connection",
            Proof::Uncrossed => "uncrossed",
            Proof::Ticker => "ticker",
            Proof::Snapshot => "snapshot",
            Proof::Rhythm => "rhythm",
        }
    }
}

/// What has happened to a book since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Whole messages of changes applied to a book that a snapshot began.
    pub updates: u64,
    /// Whole messages of changes told although no snapshot began the book: nothing can prove them.
    pub unproved: u64,
    /// Snapshots taken in.
    pub snapshots: u64,
    /// How often each proof held, in the order of [`Proof::ALL`].
    pub held: [u64; Proof::ALL.len()],
    /// How often each proof failed, in the order of [`Proof::ALL`].
    pub failed: [u64; Proof::ALL.len()],
    /// Quotes of the venue's ticker that were held against a live book.
    pub quotes: u64,
    /// The longest time for which no quote agreed with the book, ns.
    pub apart_ns_max: u64,
    /// Nanoseconds spent in each state, in the order of [`BookState::ALL`], up to the last change of state.
    in_state_ns: [u64; BookState::ALL.len()],
}

impl Tally {
    /// How often a proof held.
    pub fn held(&self, proof: Proof) -> u64 {
        self.held[proof as usize]
    }

    /// How often a proof failed.
    pub fn failed(&self, proof: Proof) -> u64 {
        self.failed[proof as usize]
    }

    /// How often any proof failed.
    pub fn failures(&self) -> u64 {
        self.failed.iter().sum()
    }
}

/// The trust in one book.
#[derive(Clone, Debug)]
pub struct Trust {
    state: BookState,
    reason: Reason,
    since: UnixNanos,
    halted: bool,
    /// What the last message was marked with.
    mark: u64,
    tally: Tally,
    rhythm: Rhythm,
    ticker: Ticker,
}

impl Default for Trust {
    fn default() -> Trust {
        Trust {
            state: BookState::Cold,
            reason: Reason::Start,
            since: UnixNanos::ZERO,
            halted: false,
            mark: 0,
            tally: Tally::default(),
            rhythm: Rhythm::default(),
            ticker: Ticker::default(),
        }
    }
}

impl Trust {
    /// The state as it is told: a live book of an instrument that the venue has halted is halted.
    pub fn state(&self) -> BookState {
        if self.halted && self.state == BookState::Live { BookState::Halted } else { self.state }
    }

    /// Why it is in this state.
    pub fn reason(&self) -> Reason {
        if self.state() == BookState::Halted { Reason::Venue } else { self.reason }
    }

    /// Since when it is in this state; zero before anything happened.
    pub fn since(&self) -> UnixNanos {
        self.since
    }

    /// Whether the book is the venue's as far as can be proved: it takes changes, and its prices may be told. A halted
    /// book is one of these.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == BookState::Live
    }

    /// What has happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Nanoseconds spent in a state by `now`. Before the first change of state no time is counted.
    pub fn in_state_ns(&self, state: BookState, now: UnixNanos) -> u64 {
        let open = self.state() == state && self.since != UnixNanos::ZERO;
        let running = if open { nanos(now.since(self.since)) } else { 0 };
        self.tally.in_state_ns[usize::from(state.code()) - 1] + running
    }

    /// The book is in this state from now on, for this reason. The same state again keeps its beginning.
    pub fn enter(&mut self, state: BookState, reason: Reason, now: UnixNanos) {
        self.reason = reason;
        if self.state == state {
            return;
        }
        self.leave(now);
        self.state = state;
        self.ticker.forget();
        self.rhythm.rest(now);
    }

    /// Whether an instrument in this status has a halted book.
    pub fn halts(status: InstrumentStatus) -> bool {
        matches!(status, InstrumentStatus::Halted | InstrumentStatus::Delisted)
    }

    /// The venue has halted the instrument, or lets it trade again. Whether the state that is told changes with it.
    pub fn halt(&mut self, halted: bool, now: UnixNanos) -> bool {
        if self.halted == halted {
            return false;
        }
        let live = self.is_live();
        if live {
            self.leave(now);
        }
        self.halted = halted;
        live
    }

    /// Ends the time spent in the state there is.
    fn leave(&mut self, now: UnixNanos) {
        if self.since != UnixNanos::ZERO {
            self.tally.in_state_ns[usize::from(self.state().code()) - 1] += nanos(now.since(self.since));
        }
        self.since = now;
    }

    /// A proof held.
    #[inline]
    pub fn held(&mut self, proof: Proof) {
        self.tally.held[proof as usize] += 1;
    }

    /// A proof failed.
    pub fn failed(&mut self, proof: Proof) {
        self.tally.failed[proof as usize] += 1;
    }

    /// A snapshot was taken in.
    pub fn loaded(&mut self, now: UnixNanos) {
        self.tally.snapshots += 1;
        self.rhythm.rest(now);
    }

    /// A whole message of changes was applied. Whether it left the book crossed. `mark` tells it from the one before:
    /// the venue's time or number, 0 where it has none. A venue that says the same again and again says nothing.
    #[inline]
    pub fn applied(&mut self, book: &Book, mark: u64, now: UnixNanos) -> bool {
        let crossed = book.is_crossed();
        self.tally.updates += 1;
        self.tally.held[Proof::Uncrossed as usize] += u64::from(!crossed);
        self.tally.failed[Proof::Uncrossed as usize] += u64::from(crossed);
        if mark == 0 || mark != self.mark {
            self.mark = mark;
            self.rhythm.beat(now);
        }
        if self.ticker.waits {
            self.look_again(book, now);
        }
        crossed
    }

    /// A whole message of changes was told without a snapshot before it.
    pub fn unproved(&mut self) {
        self.tally.unproved += 1;
    }

    #[inline(never)]
    fn look_again(&mut self, book: &Book, now: UnixNanos) {
        if self.ticker.is_top_of(book) {
            self.agreed(now);
        }
    }

    fn agreed(&mut self, now: UnixNanos) {
        if self.ticker.waits {
            self.tally.apart_ns_max = self.tally.apart_ns_max.max(nanos(now.since(self.ticker.since)));
        }
        self.tally.held[Proof::Ticker as usize] += 1;
        self.ticker.forget();
    }

    /// The venue's ticker, beside the book as it stands. `true` when they have been apart for too long: the proof
    /// failed, and is counted so.
    #[inline]
    pub fn quoted(
        &mut self,
        (bid, ask): (Option<Price>, Option<Price>),
        book: &Book,
        now: UnixNanos,
        counts: &mut Counts,
    ) -> bool {
        if self.state != BookState::Live {
            return false;
        }
        self.tally.quotes += 1;
        let news = !self.ticker.waits || (self.ticker.bid, self.ticker.ask) != (bid, ask);
        (self.ticker.bid, self.ticker.ask) = (bid, ask);
        if self.ticker.is_top_of(book) {
            self.agreed(now);
            counts.tickers_agreed += 1;
            return false;
        }
        let apart = self.ticker.differs(news, now) && self.parted(now);
        counts.tickers_apart += u64::from(apart);
        apart
    }

    #[cold]
    fn parted(&mut self, now: UnixNanos) -> bool {
        self.tally.apart_ns_max = self.tally.apart_ns_max.max(nanos(now.since(self.ticker.since)));
        self.failed(Proof::Ticker);
        self.ticker.forget();
        true
    }

    /// The venue proved by other means that the book's stream had nothing to say: its silence counts from now.
    #[inline]
    pub fn quiet(&mut self, now: UnixNanos) {
        self.rhythm.rest(now);
    }

    /// That a live book has been silent, in words, when that is longer than its rhythm allows and than `floor`, while
    /// the connection was heard at `heard`: the proof failed, and is counted so. Asked at intervals; a silence must be
    /// found twice, so that data that waits to be read is read first.
    pub fn silent(&mut self, now: UnixNanos, heard: UnixNanos, floor: Duration, counts: &mut Counts) -> Option<String> {
        if !self.is_live() || self.halted || now.since(heard) > HEARD_WITHIN {
            return None;
        }
        let silent = self.rhythm.silent(now, floor)?;
        self.failed(Proof::Rhythm);
        self.rhythm.doubt();
        counts.rhythms_broken += 1;
        Some(format!("silent for {} ms, against its rhythm", silent.as_millis()))
    }

    /// The connection is gone: nothing is known of the next one's rhythm but that it begins when a book is live again.
    pub fn disconnected(&mut self) {
        self.rhythm = Rhythm::default();
    }
}

/// A machine that holds its books against the venue's ticker and against their own rhythms: what it keeps, and what it
/// does about a book that fails. What is compared when is the same for all.
pub(crate) trait Doubts {
    /// The book of an instrument, the trust in it, and the machine's counts.
    fn proved(&mut self, k: Known) -> (&mut Trust, &Book, &mut Counts);
    /// How many instruments there are.
    fn book_count(&self) -> usize;
    /// When the connection was last heard.
    fn last_heard(&self) -> UnixNanos;
    /// The silence for which no book is doubted; `None`: for no silence.
    fn rhythm_floor(&self) -> Option<Duration>;
    /// A proof of a book failed.
    fn doubt(&mut self, k: Known, why: (Reason, GapCause, &str), now: UnixNanos, out: &mut Outbox);

    /// The venue's ticker, as price and size of bid and ask, beside the book.
    #[inline]
    fn compare_ticker(&mut self, k: Known, quote: [Option<(i64, i64)>; 2], now: UnixNanos, out: &mut Outbox) {
        let [bid, ask] = quote.map(|level| level.map(|(price, _)| Price(price)));
        let (trust, book, counts) = self.proved(k);
        if trust.quoted((bid, ask), book, now, counts) {
            self.doubt(k, (Reason::Disagreement, GapCause::Disagreement, TICKER_APART), now, out);
        }
    }

    /// Books whose silence is longer than their own rhythm allows, while the connection is heard.
    fn check_rhythms(&mut self, now: UnixNanos, out: &mut Outbox) {
        let Some(floor) = self.rhythm_floor() else { return };
        let heard = self.last_heard();
        for k in 0..self.book_count() as Known {
            let (trust, _, counts) = self.proved(k);
            let Some(text) = trust.silent(now, heard, floor, counts) else { continue };
            self.doubt(k, (Reason::Timeout, GapCause::Stale, &text), now, out);
        }
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// The connection must have been heard so recently for a book's silence to mean anything: heartbeats come every
/// second where there are any.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Octaves of nanoseconds: the last holds everything from 18 minutes on.
const OCTAVES: usize = 41;

/// Intervals that must be known before a silence is judged.
const BEATS_MIN: u32 = 128;

/// When so many intervals are known, all counts are halved, so that the rhythm follows the hours of the day.
const BEATS_MAX: u32 = 1 << 14;

/// A silence may be so many times as long as the interval that 99 of 100 do not exceed (known to within a factor of
/// two).
const PATIENCE: u64 = 8;

/// After each silence that brought a new snapshot the next may be twice as long, up to so many times.
const DOUBTS_MAX: u32 = 6;

/// How often a stream says something, from the stream alone.
#[derive(Clone, Debug)]
struct Rhythm {
    last: UnixNanos,
    /// How many intervals there were of each octave.
    octaves: [u32; OCTAVES],
    beats: u32,
    doubts: u32,
    /// A silence since this beat was found once.
    noted: UnixNanos,
}

impl Default for Rhythm {
    fn default() -> Rhythm {
        Rhythm { last: UnixNanos::ZERO, octaves: [0; OCTAVES], beats: 0, doubts: 0, noted: UnixNanos::ZERO }
    }
}

impl Rhythm {
    #[inline]
    fn beat(&mut self, now: UnixNanos) {
        let interval = now.0.saturating_sub(self.last.0);
        self.last = now;
        let octave = (63 - (interval | 1).leading_zeros() as usize).min(OCTAVES - 1);
        self.octaves[octave] += 1;
        self.beats += 1;
        if self.beats >= BEATS_MAX {
            self.fade();
        }
    }

    #[cold]
    fn fade(&mut self) {
        for count in &mut self.octaves {
            *count /= 2;
        }
        self.beats = self.octaves.iter().sum();
        self.doubts = 0;
    }

    /// The silence counts from now.
    #[inline]
    fn rest(&mut self, now: UnixNanos) {
        self.last = now;
    }

    fn doubt(&mut self) {
        self.doubts = (self.doubts + 1).min(DOUBTS_MAX);
    }

    /// The longest silence that is allowed; none while the rhythm is not known.
    fn limit(&self, floor: Duration) -> Option<u64> {
        if self.beats < BEATS_MIN {
            return None;
        }
        let mut above = self.beats / 100;
        for (octave, count) in self.octaves.iter().enumerate().rev() {
            if *count > above {
                let usual = 2u64 << octave;
                return Some(usual.saturating_mul(PATIENCE).max(nanos(floor)) << self.doubts);
            }
            above -= count;
        }
        None
    }

    fn silent(&mut self, now: UnixNanos, floor: Duration) -> Option<Duration> {
        let silent = now.since(self.last);
        if nanos(silent) < self.limit(floor)? {
            return None;
        }
        let before = std::mem::replace(&mut self.noted, self.last);
        (before == self.last).then_some(silent)
    }
}

/// Book and ticker come over streams without a common clock; each may run ahead of the other by less than this.
const APART_MAX: Duration = Duration::from_secs(5);

/// So many different quotes in a row must differ: a ticker that stands still says nothing against a book that moves.
const APART_QUOTES_MIN: u32 = 8;

/// The venue's own best prices beside the book's.
#[derive(Clone, Debug, Default)]
struct Ticker {
    bid: Option<Price>,
    ask: Option<Price>,
    /// The last quote was not the top of the book, and has not become it.
    waits: bool,
    /// Since when no quote was.
    since: UnixNanos,
    /// How many different quotes were not.
    differing: u32,
}

impl Ticker {
    #[inline]
    fn is_top_of(&self, book: &Book) -> bool {
        let best = |side| book.best(side).map(|level| level.price);
        best(Side::Buy) == self.bid && best(Side::Sell) == self.ask
    }

    fn forget(&mut self) {
        (self.waits, self.differing) = (false, 0);
    }

    /// A quote is not the top of the book. Whether that lasts for too long.
    #[inline(never)]
    fn differs(&mut self, news: bool, now: UnixNanos) -> bool {
        if !std::mem::replace(&mut self.waits, true) {
            self.since = now;
        }
        self.differing += u32::from(news);
        self.differing >= APART_QUOTES_MIN && now.since(self.since) >= APART_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Qty;

    const MS: u64 = 1_000_000;
    const FLOOR: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000 + ms * MS)
    }

    fn book(bid: i64, ask: i64) -> Book {
        let mut book = Book::default();
        book.set(Side::Buy, Price(bid), Qty(1));
        book.set(Side::Sell, Price(ask), Qty(1));
        book
    }

    fn live() -> Trust {
        let mut trust = Trust::default();
        trust.enter(BookState::Live, Reason::Ok, at(0));
        trust
    }

    #[test]
    fn each_state_has_its_reason_its_beginning_and_its_time() {
        let mut t = Trust::default();
        assert_eq!((t.state(), t.reason(), t.since()), (BookState::Cold, Reason::Start, UnixNanos::ZERO));
        t.enter(BookState::Syncing, Reason::Snapshot, at(10));
        t.enter(BookState::Live, Reason::Ok, at(30));
        t.enter(BookState::Live, Reason::Ok, at(40));
        assert_eq!((t.state(), t.reason(), t.since()), (BookState::Live, Reason::Ok, at(30)));
        assert!(t.halt(true, at(50)) && !t.halt(true, at(55)) && t.is_live());
        assert_eq!((t.state(), t.reason(), t.since()), (BookState::Halted, Reason::Venue, at(50)));
        t.enter(BookState::Suspect, Reason::Checksum, at(60));
        t.enter(BookState::Suspect, Reason::Connection, at(62));
        assert_eq!((t.reason(), t.since()), (Reason::Connection, at(60)));
        assert!(!t.halt(false, at(65)), "what is told stays suspect");
        let times = |state| t.in_state_ns(state, at(100)) / MS;
        let all: Vec<u64> = BookState::ALL.iter().map(|s| times(*s)).collect();
        assert_eq!(all, [0, 20, 20, 40, 10], "cold, syncing, live, suspect, halted");
    }

    #[test]
    fn a_silence_is_judged_by_the_rhythm_and_only_while_others_are_heard() {
        let (b, mut t) = (book(1, 2), live());
        for n in 1..=100 {
            t.applied(&b, n, at(n * 10));
        }
        let c = &mut Counts::default();
        assert_eq!(t.silent(at(90_000), at(90_000), FLOOR, c), None, "too little is known");
        for n in 101..=200 {
            t.applied(&b, n, at(n * 10));
        }
        let mut ask = |t: &mut Trust, ms: u64, heard: u64| t.silent(at(ms), at(heard), FLOOR, c);
        let silent = |ms| Some(format!("silent for {ms} ms, against its rhythm"));
        t.applied(&b, 200, at(2500));
        assert_eq!(ask(&mut t, 2900, 2900), None, "less than a second");
        assert_eq!(ask(&mut t, 5000, 2100), None, "nothing at all is heard");
        assert_eq!(ask(&mut t, 3100, 3050), None, "found once");
        assert_eq!(ask(&mut t, 3600, 3500), silent(1600), "found twice");
        assert_eq!(t.tally().failed(Proof::Rhythm), 1);
        t.loaded(at(3600));
        assert_eq!((ask(&mut t, 5000, 5000), ask(&mut t, 5500, 5500)), (None, None), "twice as long may the next be");
        assert_eq!((ask(&mut t, 5700, 5700), ask(&mut t, 6200, 6200)), (None, silent(2600)));
    }

    #[test]
    fn a_slow_rhythm_allows_a_longer_silence_than_the_floor() {
        let (b, mut t) = (book(1, 2), live());
        for n in 1..=300 {
            t.applied(&b, 0, at(n * 2000));
        }
        let last = 600_000;
        let c = &mut Counts::default();
        for ms in [10_000, 15_000, 16_000] {
            assert_eq!(t.silent(at(last + ms), at(last + ms), FLOOR, c), None);
        }
        assert_eq!(t.silent(at(last + 17_500), at(last + 17_500), FLOOR, c), None, "found once");
        assert!(t.silent(at(last + 18_000), at(last + 18_000), FLOOR, c).is_some());
        t.disconnected();
        assert_eq!(t.silent(at(last + 90_000), at(last + 90_000), FLOOR, c), None, "another connection begins anew");
    }

    #[test]
    fn a_ticker_may_run_ahead_or_behind_but_not_for_long() {
        let (mut t, near) = (live(), book(100, 102));
        let mut counts = Counts::default();
        let mut quote =
            |t: &mut Trust, bid, ask, ms| t.quoted((Some(Price(bid)), Some(Price(ask))), &near, at(ms), &mut counts);
        assert!(!quote(&mut t, 100, 102, 1));
        assert!(!quote(&mut t, 101, 102, 2), "ahead of the book");
        t.applied(&book(101, 102), 0, at(30));
        let tally = *t.tally();
        assert_eq!((tally.quotes, tally.held(Proof::Ticker), tally.apart_ns_max), (2, 2, 28 * MS));
        for n in 0..7 {
            assert!(!quote(&mut t, 90 + n, 102, 1000 + n as u64 * 1000));
        }
        for n in 0..9 {
            assert!(!quote(&mut t, 96, 102, 8000 + n), "the same again says nothing");
        }
        assert!(quote(&mut t, 97, 102, 9000), "eight different quotes over eight seconds");
        assert_eq!(t.tally().failed(Proof::Ticker), 1);
        t.enter(BookState::Suspect, Reason::Disagreement, at(9000));
        assert!(!quote(&mut t, 97, 102, 99_000), "only a live book is judged");
        assert_eq!((counts.tickers_agreed, counts.tickers_apart), (1, 1), "the other agreed when the book changed");
    }

    #[test]
    fn a_whole_message_that_crosses_is_counted() {
        let mut t = live();
        assert!(!t.applied(&book(1, 2), 7, at(1)));
        assert!(t.applied(&book(2, 2), 7, at(2)), "locked is crossed: the venues match such orders");
        assert_eq!((t.tally().updates, t.tally().failures()), (2, 1));
        assert_eq!((t.tally().held(Proof::Uncrossed), t.tally().failed(Proof::Uncrossed)), (1, 1));
    }
}
