//! Holds the trades of the stream against those of the venue's REST interface: what the stream hid is named and told late.
//!
//! Neither ids nor frames of this venue are numbered, so a trade that never came leaves no trace in the stream. Every
//! few seconds the trades of a time that is over are asked for and compared by their keys with what was told. A trade
//! that only REST has is a gap with its id, told and filled in one step; one that only the stream had is counted.
//!
//! Invariants: never is a trade called hidden of a time that was not listened to as a whole ([`Trades::audit_from`]) or
//! whose memory was dropped ([`Audit::floor`]); time is passed over only when its comparison is finished.

use super::backfill::{DELAY, OVERLAP, before, read};
use super::choices::{Choices, Feed};
use super::machine::{Alpaca, Line};
use super::map;
use super::market::Trades;
use super::messages::{Item, TradeMessage};
use super::recent::Key;
use crate::choices::Switch;
use crate::{Known, Outbox, Reply, RequestId, Settings};
use model::{Reason, StreamKind, StreamState, UnixNanos};
use std::time::Duration;
use wire::{Flags, Status};

/// A time is over when the newest trade of the stream is so much newer: REST may trail the stream.
const LAG: Duration = Duration::from_secs(5);

/// How far behind the last comparison the next one begins: what reached REST late, and clocks that are apart.
const REACH: Duration = Duration::from_secs(10);

/// Until the first trade of a stream shows the venue's clock, ours is taken to be right to this.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// Between two requests of one comparison: at most twenty a minute, a tenth of what the smallest plan allows.
const PACE: Duration = Duration::from_secs(3);

/// Trades remembered of all instruments, 56 bytes each: half a minute of fifteen thousand a second.
const HEARD_MAX: usize = 1 << 19;

/// Instruments of one request.
const SYMBOLS_PER_REQUEST: usize = 50;

/// Before the next attempt when the venue does not let us have its trades: a plan does not change by itself.
const REFUSED_WAIT: Duration = Duration::from_secs(300);

/// Before the next attempt when there were too many requests, and the venue does not say how long.
const LIMITED_WAIT: Duration = Duration::from_secs(60);

/// Failures in a row after which the want of comparisons is told.
const FAILURES_MAX: u32 = 3;

/// A trade that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Heard {
    market: Known,
    key: Key,
    received: UnixNanos,
    /// REST has it too, or need not: what was told late is from there.
    found: bool,
}

/// One comparison under way.
#[derive(Debug)]
struct Comparison {
    request: Option<RequestId>,
    /// Instruments still to be asked for; the first few are being asked for.
    markets: Vec<Known>,
    start: UnixNanos,
    end: UnixNanos,
    page: Option<String>,
}

/// The comparisons of one machine.
#[derive(Debug)]
pub struct Audit {
    /// Between two comparisons; `None`: there are none.
    every: Option<Duration>,
    due: Option<UnixNanos>,
    /// Everything before is compared.
    until: UnixNanos,
    /// Of trades before then too little is remembered.
    floor: UnixNanos,
    /// How late the stream is by our clock, the least of late; and the least since the last comparison.
    behind: Duration,
    behind_now: Option<Duration>,
    /// What was told since the last answer, and before: that is in order.
    fresh: Vec<Heard>,
    heard: Vec<Heard>,
    /// Trades that were forgotten and not compared, until that is told.
    forgotten: u64,
    comparison: Option<Comparison>,
    failures: u32,
    /// That there are no comparisons was told.
    refused: bool,
}

impl Audit {
    /// None was made yet; none ever will be where trades are not fetched.
    pub fn new(settings: &Settings, choices: &Choices, line: Line, learns: bool) -> Audit {
        let off = learns
            || choices.backfill == Switch::Off
            || line == Line::Stocks && choices.feed == Feed::Test
            || !settings.streams.contains(&StreamKind::Trade);
        Audit {
            every: (choices.audit_every.0 > 0 && !off).then(|| Duration::from_secs(choices.audit_every.0.into())),
            due: None,
            until: UnixNanos::ZERO,
            floor: UnixNanos::ZERO,
            behind: if line == Line::Stocks && choices.feed == Feed::DelayedSip { DELAY } else { Duration::ZERO },
            behind_now: None,
            fresh: vec![],
            heard: vec![],
            forgotten: 0,
            comparison: None,
            failures: 0,
            refused: false,
        }
    }

    /// When [`Alpaca::audit`] is to be called.
    #[inline]
    pub fn due(&self) -> Option<UnixNanos> {
        self.due
    }

    /// Trades flow: comparisons may begin.
    pub fn start(&mut self, now: UnixNanos) {
        if let (None, Some(every)) = (self.due, self.every) {
            self.due = Some(now.after(every));
        }
    }

    /// The connection is gone, and with it the answer that was waited for. What was told stays known: what was not
    /// compared yet will be, as what was missed is fetched.
    pub fn cut(&mut self) {
        self.due = None;
        self.comparison = None;
    }

    /// A trade is told; `trades` are those of its instrument.
    #[inline]
    pub fn note(&mut self, k: Known, key: Key, time: UnixNanos, late: bool, received: UnixNanos, trades: &mut Trades) {
        if self.every.is_none() {
            return;
        }
        let lag = received.since(time);
        if !late {
            if trades.audit_from == Trades::NEVER {
                trades.audit_from = time.after(OVERLAP);
            }
            self.behind_now = Some(self.behind_now.map_or(lag, |least| least.min(lag)));
        }
        // What is reported long after it happened lies in no window to come.
        let found = late || time < trades.audit_from || lag > self.behind + REACH;
        if self.fresh.len() + self.heard.len() >= HEARD_MAX {
            self.forget(time);
        }
        self.fresh.push(Heard { market: k, key, received, found });
    }

    /// The memory is full: it begins anew, and what is before then cannot be compared.
    #[cold]
    fn forget(&mut self, time: UnixNanos) {
        self.forgotten += (self.fresh.len() + self.heard.len()) as u64;
        self.fresh.clear();
        self.heard.clear();
        self.floor = time.after(OVERLAP);
        self.comparison = None;
    }

    /// Brings what was told since in order.
    fn sort(&mut self) {
        self.heard.append(&mut self.fresh);
        // Two runs in order, which a stable sort merges.
        self.heard.sort();
    }

    /// Whether a trade was told. REST has it.
    fn find(&mut self, market: Known, key: Key) -> bool {
        let at = self.heard.partition_point(|h| (h.market, h.key) < (market, key));
        let Some(heard) = self.heard.get_mut(at).filter(|h| (h.market, h.key) == (market, key)) else { return false };
        heard.found = true;
        true
    }

    /// Drops what no later comparison reaches; how much of it REST never had.
    fn pass(&mut self) -> u64 {
        let last = before(self.until.after(self.behind), REACH + REACH);
        let mut unknown = 0;
        self.heard.retain(|h| {
            let stays = h.received >= last;
            unknown += u64::from(!stays && !h.found);
            stays
        });
        unknown
    }
}

impl Alpaca {
    /// Begins a comparison that is due, or asks for the next page of one.
    pub(super) fn audit(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.audit.due.is_none_or(|due| now < due) {
            return;
        }
        self.tell_forgotten(now, out);
        if self.audit.comparison.is_none() {
            self.begin_comparison(now);
        }
        let Some(comparison) = &self.audit.comparison else {
            self.audit.due = self.audit.every.map(|every| now.after(every));
            return;
        };
        let (markets, page) = (&comparison.markets, &comparison.page);
        let markets = &markets[..markets.len().min(SYMBOLS_PER_REQUEST)];
        let path = self.trades_path(markets.iter().copied(), comparison.start, comparison.end, page.as_deref());
        let request = out.request(path, 1);
        self.audit.due = None;
        self.audit.comparison.as_mut().expect("looked at above").request = Some(request);
    }

    /// Of everything that is over and not compared yet; nothing while missed trades are still being fetched.
    fn begin_comparison(&mut self, now: UnixNanos) {
        let audit = &mut self.audit;
        if let Some(behind) = audit.behind_now.take() {
            audit.behind = behind;
        }
        let end = before(now, LAG + audit.behind);
        for m in &mut self.markets {
            let flows = m.trades.flows_since.after(CLOCKS_APART);
            if m.trades.audit_from == Trades::NEVER && m.trades.flows_since != UnixNanos::ZERO && flows < end {
                // Not one trade came, and that too is to be proven.
                m.trades.audit_from = flows;
            }
        }
        let audited = |k: &Known| self.markets[*k as usize].trades.audit_from < end;
        let markets: Vec<Known> = (0..self.markets.len() as Known).filter(audited).collect();
        let first = markets.iter().map(|k| self.markets[*k as usize].trades.audit_from).min();
        let Some(first) = first.filter(|_| end > self.audit.until && self.fills.is_idle()) else { return };
        let start = before(self.audit.until, REACH).max(first).max(self.audit.floor);
        if start < end {
            self.audit.comparison = Some(Comparison { request: None, markets, start, end, page: None });
        }
    }

    /// An answer came, or will not; whether it was one of these.
    pub(super) fn on_audited(&mut self, id: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) -> bool {
        let Some(comparison) = self.audit.comparison.as_mut().filter(|c| c.request == Some(id)) else { return false };
        comparison.request = None;
        let (problem, wait) = match reply {
            Reply::Http { status: 200, body, .. } => match self.compare(body, now, out) {
                Ok(token) => {
                    self.compared(token, now);
                    return true;
                }
                Err(e) => (e.to_string(), Some(REFUSED_WAIT)),
            },
            Reply::Http { status: status @ (429 | 500..), retry_after, .. } => {
                let limited = (status == 429).then_some(LIMITED_WAIT);
                (format!("HTTP {status}"), retry_after.or(limited))
            }
            Reply::Http { status, body, .. } => {
                let text: String = String::from_utf8_lossy(body).chars().take(100).collect();
                (format!("HTTP {status} {text}"), Some(REFUSED_WAIT))
            }
            Reply::Failed(why) => (why.to_owned(), None),
        };
        self.not_compared(&problem, wait, now, out);
        true
    }

    /// There is no answer: the same is asked for later, and a lasting want of it is told once.
    fn not_compared(&mut self, problem: &str, wait: Option<Duration>, now: UnixNanos, out: &mut Outbox) {
        self.counts.audits_failed += 1;
        let audit = &mut self.audit;
        audit.failures += 1;
        let every = audit.every.expect("a request was made");
        audit.due = Some(now.after(wait.unwrap_or_default().max(every)));
        let markets = audit.comparison.take().map(|c| c.markets).unwrap_or_default();
        let lasting = wait == Some(REFUSED_WAIT) || audit.failures >= FAILURES_MAX;
        if !lasting || std::mem::replace(&mut audit.refused, true) {
            return;
        }
        let text = format!("trades are not compared with REST, what the stream hides is not seen: {problem}");
        for k in markets {
            let status = Status::Stream(StreamKind::Trade, StreamState::Live);
            self.tell(Some(k), status, (Reason::Refused, &text), now, out);
        }
    }

    /// A page is compared: the next one follows, or the next instruments, or that was all.
    fn compared(&mut self, token: Option<String>, now: UnixNanos) {
        let every = self.audit.every.expect("a request was made");
        let Some(comparison) = &mut self.audit.comparison else {
            // The memory ran over meanwhile.
            self.audit.due = Some(now.after(every));
            return;
        };
        if token.is_none() {
            let asked = comparison.markets.len().min(SYMBOLS_PER_REQUEST);
            comparison.markets.drain(..asked);
        }
        comparison.page = token;
        if !comparison.markets.is_empty() {
            self.audit.due = Some(now.after(PACE.min(every)));
            return;
        }
        self.audit.until = comparison.end;
        self.audit.comparison = None;
        (self.audit.failures, self.audit.refused) = (0, false);
        self.audit.due = Some(now.after(every));
        self.counts.trades_unconfirmed += self.audit.pass();
        self.counts.audits += 1;
    }

    /// Compares one page, and tells what the stream hid.
    fn compare(&mut self, body: &[u8], now: UnixNanos, out: &mut Outbox) -> Result<Option<String>, crate::FrameError> {
        let (view, scratch) = self.view();
        let token = read(body, view, scratch)?;
        self.prepare(now, out)?;
        self.audit.sort();
        let mut items = std::mem::take(&mut self.scratch.items);
        for item in &items {
            let Item::Trade(t) = item else { continue };
            self.compare_trade(t, now, out);
        }
        items.clear();
        self.scratch.items = items;
        Ok(token)
    }

    fn compare_trade(&mut self, t: &TradeMessage, now: UnixNanos, out: &mut Outbox) {
        let k = self.known(t.target);
        let m = &self.markets[k as usize];
        let Some(id) = t.id else { return };
        let key = Key::of(id, self.scratch.text(t.exchange), t.time, m.crypto);
        let heard = self.audit.find(k, key) || m.trades.recent.knows(key);
        if heard || t.time < m.trades.audit_from.max(self.audit.floor) {
            return;
        }
        map::hidden(m, id, t.time, now, &mut out.records);
        self.counts.gaps += 1;
        self.counts.trades_hidden += 1;
        let told = self.tell_trade(k, t, Flags::LATE | Flags::LAST, now, out);
        debug_assert!(told, "a trade that nobody knows is news");
        self.counts.trades_backfilled += 1;
    }

    /// More trades came than are remembered: what cannot be compared is said.
    fn tell_forgotten(&mut self, now: UnixNanos, out: &mut Outbox) {
        let forgotten = std::mem::take(&mut self.audit.forgotten);
        if forgotten == 0 {
            return;
        }
        self.counts.trades_unaudited += forgotten;
        let text = format!("{forgotten} trades are not compared with REST: more came than are remembered");
        let status = Status::Stream(StreamKind::Connection, StreamState::Live);
        self.tell(None, status, (Reason::Budget, &text), now, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn audit() -> Audit {
        let choices = Choices::default();
        Audit::new(&Settings::default(), &choices, Line::Crypto, false)
    }

    fn key(id: u64) -> Key {
        Key::of(id, "", UnixNanos::ZERO, true)
    }

    #[test]
    fn memory_is_bounded_and_what_it_drops_is_not_compared() {
        let (mut audit, mut trades) = (audit(), Trades::default());
        let start = UnixNanos(1_700_000_000_000_000_000);
        for id in 0..=HEARD_MAX as u64 {
            let time = UnixNanos(start.0 + id);
            audit.note(0, key(id), time, false, time, &mut trades);
        }
        assert_eq!((audit.fresh.len(), audit.forgotten), (1, HEARD_MAX as u64));
        assert_eq!(audit.floor, UnixNanos(start.0 + HEARD_MAX as u64).after(OVERLAP));
    }

    #[test]
    fn what_only_the_stream_had_is_counted_once_it_is_out_of_reach() {
        let (mut audit, mut trades) = (audit(), Trades::default());
        let at = |seconds: u32| UnixNanos(1_700_000_000_000_000_000).after(SECOND * seconds);
        let mut note = |audit: &mut Audit, id, time, late, received| {
            audit.note(0, key(id), time, late, received, &mut trades);
        };
        note(&mut audit, 1, at(0), false, at(0));
        for (id, seconds) in [(2, 5), (3, 6), (4, 7)] {
            note(&mut audit, id, at(seconds), false, at(seconds));
        }
        note(&mut audit, 5, at(1), true, at(8));
        note(&mut audit, 6, at(3), false, at(50));
        audit.sort();
        assert!(audit.find(0, key(3)) && !audit.find(0, key(7)) && !audit.find(1, key(3)));
        audit.until = at(25);
        assert_eq!(audit.pass(), 0, "1 is from before the first moment that is compared");
        audit.until = at(80);
        assert_eq!(audit.pass(), 2, "2 and 4; 5 is REST's own, and 6 was reported too late to be looked for");
        assert_eq!(audit.heard.len(), 0);
    }
}
