//! Trades missed by a reconnect or restart: fetched by time from the venue's REST interface, told with the flag "late".
//!
//! The venue's ids have no order, so a hole in them cannot be seen and a gap has no range. What can be known is when
//! nobody listened: that is told as a gap at once, and the trades of that time are asked for; those told before are
//! dropped by their key. What the venue does not give stays the gap that was told.
//!
//! Not [`crate::trades::Backfill`]: one request here is for fifty instruments and its answers are pages behind a token,
//! their trades carry texts, and what was reported late lies before the newest trade told, which a window by time alone
//! would take for told.

use super::choices::Feed;
use super::exact::Frame;
use super::machine::{Alpaca, Line};
use super::map;
use super::market::{Absence, Market, Window};
use super::messages::{Item, Scratch, Target, TradeMessage, View, bad};
use super::pull::Pull;
use super::recent::Key;
use crate::choices::Switch;
use crate::recall::UNORDERED;
use crate::{FrameError, Known, Memory, Outbox, Reply, RequestId};
use model::{GapCause, Reason, SCALE_MAX, StreamKind, StreamState, UnixNanos};
use scan::{Json, NAME_LEN_MAX};
use std::time::Duration;
use wire::{Flags, Status};

/// After the subscription, before the fetch: what was traded until then has reached the venue's store by then.
const FETCH_AFTER: Duration = Duration::from_secs(1);

/// How far beyond a window is looked: what was on its way then, and told late by its exchange. What was told of that
/// time is remembered.
pub(super) const OVERLAP: Duration = UNORDERED;

/// How far the venue's clock, or its delivery, may be behind ours. A trade that is newer than this lets us look back
/// only to itself.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// The same trade has one id but, of two interfaces, perhaps times of different precision.
const SAME_TRADE: Duration = Duration::from_millis(1);

/// Windows kept of an instrument; what falls off stays the gap that was told.
const WINDOWS_MAX: usize = 16;

/// How late the delayed feed is.
pub(super) const DELAY: Duration = Duration::from_secs(15 * 60);

/// Instruments of one request.
const SYMBOLS_PER_REQUEST: usize = 50;

/// Trades of one answer: the most the venue gives.
const LIMIT: u32 = 10_000;

/// Answers of one fetch; a million trades are more than a reconnect misses.
const PAGES_MAX: u32 = 100;

/// How often an answer that did not come is asked for.
const ATTEMPTS_MAX: u32 = 4;

/// Before the second attempt; twice as long before each later one.
const RETRY: Duration = Duration::from_secs(2);

/// One fetch of several instruments' trades.
#[derive(Debug)]
struct Fill {
    /// The answer waited for; none while the next attempt waits.
    request: Option<RequestId>,
    /// Instruments, and where their windows begin.
    markets: Vec<(Known, UnixNanos)>,
    start: UnixNanos,
    end: UnixNanos,
    page: Option<String>,
    pages: u32,
    attempts: u32,
    retry_at: Option<UnixNanos>,
}

/// All fetches.
#[derive(Debug, Default)]
pub struct Fills {
    under_way: Vec<Fill>,
    /// Instruments whose trades flow again and were missed, to be fetched together.
    waiting: Vec<Known>,
    begin_at: Option<UnixNanos>,
    /// Those of which earlier runs or connections missed trades too. The venue has had the time to store them: they are
    /// fetched at once, so that a feed which never lives for long gets on with them.
    behind: Vec<Known>,
    behind_at: Option<UnixNanos>,
}

impl Fills {
    /// Nothing is being fetched, nor about to be.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty() && self.behind.is_empty()
    }

    /// When [`Alpaca::fetch_trades`] is to be called.
    #[inline]
    pub fn due(&self) -> Option<UnixNanos> {
        if self.under_way.is_empty() {
            return self.begin_at.into_iter().chain(self.behind_at).min();
        }
        self.under_way.iter().filter_map(|f| f.retry_at).chain(self.begin_at).chain(self.behind_at).min()
    }
}

impl Alpaca {
    /// The connection is gone: trades may be missed from the last sign of life on.
    pub(super) fn trades_cut(&mut self, heard: UnixNanos) {
        self.fills = Fills::default();
        if self.learns() {
            return;
        }
        let late = self.late();
        for m in &mut self.markets {
            let since = since(m.trades.newest, heard, late);
            m.trades.missed.get_or_insert((GapCause::Reconnect, heard));
            m.trades.absence.get_or_insert_default().add(Window { since, until: Window::OPEN });
        }
    }

    /// An earlier run ended: what it told, and what it did not get to fetch.
    pub(super) fn trades_remembered(&self, m: &mut Market, memory: &Memory) {
        let (heard, late) = (memory.last_seen, self.late());
        // What a comparison named and the run did not get to tell late has an id, and a time as short as a moment.
        let mut earlier: Vec<_> = memory.missing.iter().filter(|w| w.since != UnixNanos::ZERO).collect();
        earlier.sort_by_key(|w| w.since);
        let until = |until| if until == UnixNanos::ZERO { heard } else { until };
        let earlier = earlier.into_iter().map(|w| Window { since: w.since, until: until(w.until).max(w.since) });
        let known = memory.trade_time != UnixNanos::ZERO;
        let since = if known { since(memory.trade_time, heard, late) } else { before(heard, late) };
        let told = memory.recent.iter().map(|(time, id)| (*id, *time)).collect();
        let told_until = if known { memory.told_from } else { since };
        let mut absence = Absence { windows: vec![], told, told_until };
        earlier.for_each(|window| absence.add(window));
        // What lies within the newest window is fetched with it.
        absence.windows.retain(|w| w.since < since);
        if absence.windows.len() == WINDOWS_MAX {
            absence.windows.remove(0);
        }
        absence.windows.push(Window { since, until: Window::OPEN });
        m.trades.newest = memory.trade_time;
        m.trades.missed = Some((GapCause::Restart, heard));
        m.trades.absence = Some(Box::new(absence));
    }

    /// How much later than it happened a trade comes by the feed's nature.
    fn late(&self) -> Duration {
        if self.line == Line::Stocks && self.choices.feed == Feed::DelayedSip { DELAY } else { Duration::ZERO }
    }

    /// The venue confirmed that trades flow.
    pub(super) fn trades_flow(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        self.tell_missed(k, now, out);
        let flows_since = &mut self.markets[k as usize].trades.flows_since;
        if *flows_since == UnixNanos::ZERO {
            *flows_since = now;
        }
        self.audit.start(now);
        let absence = &mut self.markets[k as usize].trades.absence;
        if absence.is_none() {
            return;
        }
        if self.choices.backfill == Switch::Off || (self.line == Line::Stocks && self.choices.feed == Feed::Test) {
            *absence = None;
            return;
        }
        if absence.as_ref().is_some_and(|a| a.windows.len() > 1) {
            self.fills.behind.push(k);
            self.fills.behind_at.get_or_insert(now);
        }
        self.fills.waiting.push(k);
        self.fills.begin_at.get_or_insert(now.after(FETCH_AFTER));
    }

    /// What nobody listened to is a gap, whatever is fetched of it.
    fn tell_missed(&mut self, k: Known, now: UnixNanos, out: &mut Outbox) {
        let m = &mut self.markets[k as usize];
        if let Some((cause, from)) = m.trades.missed.take() {
            map::gap(m, StreamKind::Trade, cause, (from, now), now, &mut out.records);
            self.counts.gaps += 1;
        }
    }

    /// A trade of the stream while something is missing: it ends the gap and its window. Whether an earlier run told it.
    #[cold]
    pub(super) fn after_absence(&mut self, k: Known, t: &TradeMessage, now: UnixNanos, out: &mut Outbox) -> bool {
        let told = self.markets[k as usize].trades.absence.as_ref().is_some_and(|a| a.has_told(t));
        if told {
            return true;
        }
        self.tell_missed(k, now, out);
        if let Some(absence) = &mut self.markets[k as usize].trades.absence
            && let Some(open) = absence.windows.last_mut().filter(|w| w.until == Window::OPEN)
        {
            open.until = t.time.max(open.since);
        }
        false
    }

    /// Begins and repeats fetches that are due.
    pub(super) fn fetch_trades(&mut self, now: UnixNanos, out: &mut Outbox) {
        if self.fills.behind_at.is_some_and(|due| due <= now) {
            self.fills.behind_at = None;
            let behind = std::mem::take(&mut self.fills.behind);
            (2..=WINDOWS_MAX).for_each(|nth| self.begin_fetches(&behind, nth, now));
        }
        if self.fills.begin_at.is_some_and(|due| due <= now) {
            self.fills.begin_at = None;
            let waiting = std::mem::take(&mut self.fills.waiting);
            self.begin_fetches(&waiting, 1, now);
        }
        for n in 0..self.fills.under_way.len() {
            if self.fills.under_way[n].retry_at.is_some_and(|due| due <= now) {
                let path = self.path(&self.fills.under_way[n]);
                let fill = &mut self.fills.under_way[n];
                fill.retry_at = None;
                fill.attempts += 1;
                fill.request = Some(out.request(path, 1));
            }
        }
    }

    /// The newest window of each instrument (`nth` 1), or the one before ...: instruments that were cut off together are
    /// asked for together.
    fn begin_fetches(&mut self, instruments: &[Known], nth: usize, now: UnixNanos) {
        let window = |k: &Known| {
            let windows = &self.markets[*k as usize].trades.absence.as_ref()?.windows;
            windows.len().checked_sub(nth).map(|at| (*k, windows[at]))
        };
        let windows: Vec<(Known, Window)> = instruments.iter().filter_map(window).collect();
        for chunk in windows.chunks(SYMBOLS_PER_REQUEST) {
            let since = chunk.iter().map(|(_, w)| w.since).min().expect("a chunk is not empty");
            let until = chunk.iter().map(|(_, w)| w.until).max().expect("a chunk is not empty");
            let end = if until == Window::OPEN { now } else { until.after(OVERLAP).min(now) };
            self.fills.under_way.push(Fill {
                request: None,
                markets: chunk.iter().map(|(k, w)| (*k, w.since)).collect(),
                start: before(since, OVERLAP),
                end,
                page: None,
                pages: 0,
                attempts: 0,
                retry_at: Some(now),
            });
        }
    }

    fn path(&self, fill: &Fill) -> String {
        let markets = fill.markets.iter().map(|(k, _)| *k);
        self.trades_path(markets, fill.start, fill.end, fill.page.as_deref())
    }

    /// Path and query of the trades of some instruments and a time, from a page on.
    pub(super) fn trades_path(
        &self,
        markets: impl Iterator<Item = Known>,
        start: UnixNanos,
        end: UnixNanos,
        page: Option<&str>,
    ) -> String {
        let symbols = markets.map(|k| self.instruments.get(k).venue_symbol.replace('/', "%2F"));
        let symbols = symbols.collect::<Vec<_>>().join(",");
        let (base, feed) = match (self.line, self.choices.feed) {
            (Line::Crypto, _) => ("/v1beta3/crypto/us/trades", ""),
            (Line::Stocks, Feed::Iex) => ("/v2/stocks/trades", "&feed=iex"),
            (Line::Stocks, _) => ("/v2/stocks/trades", "&feed=sip"),
        };
        let page = page.map_or(String::new(), |token| format!("&page_token={}", escaped(token)));
        let (start, end) = (rfc3339(start), rfc3339(end));
        format!("{base}?symbols={symbols}&start={start}&end={end}&limit={LIMIT}&sort=asc{feed}{page}")
    }

    /// An answer came, or will not.
    pub(super) fn on_trades_fetched(&mut self, id: RequestId, reply: Reply<'_>, now: UnixNanos, out: &mut Outbox) {
        let Some(at) = self.fills.under_way.iter().position(|f| f.request == Some(id)) else { return };
        let mut fill = self.fills.under_way.swap_remove(at);
        fill.request = None;
        let (problem, again, wait) = match reply {
            Reply::Http { status: 200, body, .. } => match self.take_in(body, now, out) {
                Ok(None) => {
                    self.fetched(&fill);
                    return;
                }
                Ok(Some(token)) if fill.pages < PAGES_MAX => {
                    (fill.page, fill.pages, fill.attempts, fill.retry_at) = (Some(token), fill.pages + 1, 0, Some(now));
                    self.fills.under_way.push(fill);
                    self.fetch_trades(now, out);
                    return;
                }
                Ok(Some(_)) => (format!("more than {PAGES_MAX} answers"), false, None),
                Err(e) => (e.to_string(), false, None),
            },
            Reply::Http { status, body, retry_after } => {
                let text: String = String::from_utf8_lossy(body).chars().take(100).collect();
                (format!("HTTP {status} {text}"), status == 429 || status >= 500, retry_after)
            }
            Reply::Failed(why) => (why.to_owned(), true, None),
        };
        if again && fill.attempts < ATTEMPTS_MAX {
            let wait = (RETRY * 2u32.pow(fill.attempts - 1)).max(wait.unwrap_or_default());
            fill.retry_at = Some(now.after(wait));
            self.fills.under_way.push(fill);
            return;
        }
        let text = format!("missed trades could not be fetched: {problem}");
        self.counts.backfills_failed += 1;
        self.fetched(&fill);
        for (k, _) in fill.markets {
            let status = Status::Stream(StreamKind::Trade, StreamState::Live);
            self.tell(Some(k), status, (Reason::Refused, &text), now, out);
        }
    }

    /// Tells the trades of an answer that were not told before; the token of the next answer.
    fn take_in(&mut self, body: &[u8], now: UnixNanos, out: &mut Outbox) -> Result<Option<String>, FrameError> {
        let (view, scratch) = self.view();
        let token = read(body, view, scratch)?;
        self.prepare(now, out)?;
        let mut items = std::mem::take(&mut self.scratch.items);
        for item in &items {
            let Item::Trade(t) = item else { continue };
            self.take_in_trade(t, now, out);
        }
        items.clear();
        self.scratch.items = items;
        Ok(token)
    }

    fn take_in_trade(&mut self, t: &TradeMessage, now: UnixNanos, out: &mut Outbox) {
        let k = self.known(t.target);
        let m = &mut self.markets[k as usize];
        let Some(absence) = &m.trades.absence else { return };
        if !absence.covers(t.time) {
            return;
        }
        if absence.has_told(t) {
            // The stream may bring it again after the fetch.
            m.trades.recent.extend(t.id.map(|id| Key::of(id, self.scratch.text(t.exchange), t.time, m.crypto)));
            self.counts.trades_repeated += 1;
            return;
        }
        let told = self.tell_trade(k, t, Flags::LATE | Flags::LAST, now, out);
        self.counts.trades_backfilled += u64::from(told);
    }

    /// A fetch is over: its windows are.
    fn fetched(&mut self, fill: &Fill) {
        for (k, since) in &fill.markets {
            let trades = &mut self.markets[*k as usize].trades;
            if let Some(absence) = &mut trades.absence {
                absence.windows.retain(|w| w.since != *since);
                if absence.windows.is_empty() {
                    trades.absence = None;
                }
            }
        }
    }
}

impl Absence {
    /// Whether a trade of this time may have been missed.
    fn covers(&self, time: UnixNanos) -> bool {
        self.windows.iter().any(|w| before(w.since, OVERLAP) <= time && time <= w.until.after(OVERLAP))
    }

    /// One more window, later than the others. Those so near each other that their overlaps meet become one, as each
    /// page would bring the other's trades again.
    fn add(&mut self, window: Window) {
        if let Some(last) = self.windows.last_mut()
            && (last.until == Window::OPEN || before(window.since, OVERLAP) <= last.until.after(OVERLAP))
        {
            last.until = last.until.max(window.until);
            return;
        }
        if self.windows.len() == WINDOWS_MAX {
            self.windows.remove(0);
        }
        self.windows.push(window);
    }

    /// Whether this trade was told, by an earlier run or since.
    fn has_told(&self, t: &TradeMessage) -> bool {
        let Some(id) = t.id else { return t.time < self.told_until };
        let near = (before(t.time, SAME_TRADE), t.time.after(SAME_TRADE));
        t.time < self.told_until || self.told.range((id, near.0)..=(id, near.1)).next().is_some()
    }
}

/// From when on trades may be missing, by the venue's clock: from the newest one told, where it is as recent as what was
/// heard last.
fn since(newest: UnixNanos, heard: UnixNanos, late: Duration) -> UnixNanos {
    newest.max(before(heard, late + CLOCKS_APART))
}

pub(super) fn before(time: UnixNanos, by: Duration) -> UnixNanos {
    UnixNanos(time.0.saturating_sub(u64::try_from(by.as_nanos()).expect("minutes fit")))
}

/// The trades of an answer, by instrument or of one, and the token of the next answer. Nothing is used on an error.
pub(super) fn read(body: &[u8], view: View<'_>, scratch: &mut Scratch) -> Result<Option<String>, FrameError> {
    scratch.names.clear();
    scratch.scales.clear();
    for _ in 0..2 * usize::from(SCALE_MAX) + 2 {
        scratch.clear();
        let token = Body { frame: Frame { view, scratch: &mut *scratch } }.read(Json::new(body))?;
        if !scratch.again {
            return Ok(token);
        }
    }
    Err(bad(0, "trades", "numbers do not settle at a scale"))
}

struct Body<'v, 's> {
    frame: Frame<'v, 's>,
}

impl Body<'_, '_> {
    fn read(&mut self, mut json: Json<'_>) -> Result<Option<String>, FrameError> {
        let mut token = None;
        let mut room = [0; NAME_LEN_MAX];
        Pull::object(&mut json, "answer")?;
        while let Some(key) = Pull::key(&mut json, &mut room)? {
            match key {
                b"trades" if !Pull::null_if(&mut json, "trades")? => self.by_symbol(&mut json)?,
                b"next_page_token" if !Pull::null_if(&mut json, "next_page_token")? => {
                    token = Some(Pull::text(&mut json, "next_page_token")?.into_owned());
                }
                _ => {}
            }
        }
        Pull::end(&mut json)?;
        Ok(token)
    }

    fn by_symbol(&mut self, json: &mut Json<'_>) -> Result<(), FrameError> {
        let mut room = [0; NAME_LEN_MAX];
        Pull::object(json, "trades")?;
        while let Some(symbol) = Pull::key(json, &mut room)? {
            let offset = Pull::offset(json);
            let symbol = std::str::from_utf8(symbol).map_err(|_| bad(offset, "trades", "is not UTF-8"))?;
            let Some(target @ Target::Known(_)) = self.frame.target(symbol, offset)? else { continue };
            if Pull::null_if(json, "trades")? {
                continue;
            }
            Pull::array(json, "trades")?;
            while Pull::element(json, "trades")? {
                let item = self.frame.trade(json, self.frame.element(target))?;
                self.frame.scratch.items.push(item);
            }
        }
        Ok(())
    }
}

/// A time as the venue writes it, with all nine decimals.
fn rfc3339(time: UnixNanos) -> String {
    let (seconds, nanos) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Civil from days, after Howard Hinnant: years begin in March, eras have 400 of them.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{nanos:09}Z")
}

/// A token within a query.
fn escaped(token: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    token.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_written_as_they_are_read(nanos in 0u64..18_000_000_000_000_000_000) {
            let text = rfc3339(UnixNanos(nanos));
            prop_assert_eq!(scan::rfc3339_nanos(text.as_bytes()), Ok((nanos, text.len())));
        }
    }

    #[test]
    fn windows_near_each_other_are_one_and_none_of_a_crash_loop_is_forgotten() {
        let s = |seconds: u64| UnixNanos(seconds * 1_000_000_000);
        let mut absence = Absence::default();
        absence.add(Window { since: s(10), until: s(12) });
        for n in 0..200 {
            absence.add(Window { since: s(100 + 3 * n), until: s(101 + 3 * n) });
        }
        absence.add(Window { since: s(900), until: Window::OPEN });
        absence.add(Window { since: s(2000), until: Window::OPEN });
        let expected = [(s(10), s(12)), (s(100), s(698)), (s(900), Window::OPEN)];
        assert_eq!(absence.windows.iter().map(|w| (w.since, w.until)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tokens_are_escaped() {
        assert_eq!(escaped("QUFQ+/8w=="), "QUFQ%2B%2F8w%3D%3D");
    }
}
