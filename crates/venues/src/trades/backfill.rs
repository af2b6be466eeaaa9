//! When missing trades are asked for: a few requests at a time, page by page, slower after every failure, and not for
//! ever.

use super::Holes;
use crate::{Counts, Known, Outbox, Reply, RequestId};
use model::{Decimal, Side, UnixNanos};
use std::time::Duration;

/// Requests of one machine under way at once: books and definitions share the budget.
const OUTSTANDING_MAX: usize = 2;
/// What is missing may still come by itself (a venue's snapshot of trades), and REST may trail the stream.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The first wait after an attempt that brought nothing; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Attempts in a row that bring nothing, after which a range is given up.
const ATTEMPTS_MAX: u32 = 8;
/// Empty or useless answers in a row, after which the venue does not have the range.
const EMPTY_MAX: u32 = 5;
/// A pause the venue asks for without saying how long.
const PAUSE: Duration = Duration::from_secs(60);

/// In which order a venue serves old trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// From an id or time on, upwards.
    Up,
    /// From an id or time on, downwards.
    Down,
}

/// What one request should bring: trades `first..=last`, or, of a venue without ids, those from `since` to `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The instrument.
    pub instrument: Known,
    /// First missing id; 0 without ids.
    pub first: u64,
    /// Last missing id; 0 without ids.
    pub last: u64,
    /// When the trade before happened, by the venue's clock; 0 when that is not known.
    pub since: UnixNanos,
    /// When the trade behind happened, by the venue's clock; 0 when that is not known.
    pub until: UnixNanos,
}

/// A trade as REST tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The venue's id, or the [`super::key`] of a trade without one.
    pub id: u64,
    /// When it happened.
    pub time: UnixNanos,
    /// Price, digits as the venue wrote them.
    pub price: Decimal,
    /// Size, digits as the venue wrote them.
    pub size: Decimal,
    /// The taker's side, where the venue says it.
    pub side: Option<Side>,
}

impl Row {
    /// The decimals of price and size that hold all of these, at least those given.
    pub fn scales(rows: &[Row], price: u8, size: u8) -> (u8, u8) {
        let most = |(p, s): (u8, u8), r: &Row| (p.max(r.price.decimals()), s.max(r.size.decimals()));
        rows.iter().fold((price, size), most)
    }
}

/// One instrument with something missing.
#[derive(Clone, Copy, Debug)]
struct Job {
    instrument: Known,
    due: UnixNanos,
    attempts: u32,
    empty: u32,
    /// The venue asked us to wait, which is no failed attempt.
    paused: bool,
    asked: Option<(RequestId, Page)>,
}

/// The missing trades of all instruments of a machine, being fetched.
#[derive(Clone, Debug)]
pub struct Backfill {
    on: bool,
    paging: Paging,
    open: bool,
    /// No request before: the venue asked for it.
    hold: UnixNanos,
    jobs: Vec<Job>,
}

impl Backfill {
    /// Nothing missing yet. Off: nothing is ever asked for.
    pub fn new(on: bool, paging: Paging) -> Backfill {
        Backfill { on, paging, open: false, hold: UnixNanos::ZERO, jobs: vec![] }
    }

    /// Something of an instrument is missing (since now, or since an earlier run).
    pub fn wanted(&mut self, instrument: Known, now: UnixNanos) {
        if self.on && !self.jobs.iter().any(|j| j.instrument == instrument) {
            let due = now.after(FIRST_WAIT);
            self.jobs.push(Job { instrument, due, attempts: 0, empty: 0, paused: false, asked: None });
        }
    }

    /// The connection is open: requests may be made.
    pub fn connected(&mut self) {
        self.open = true;
    }

    /// The connection is gone: no answer is waited for, what is missing is asked for again on the next one.
    pub fn disconnected(&mut self) {
        self.open = false;
        for job in &mut self.jobs {
            job.asked = None;
        }
    }

    /// When [`Backfill::ask`] has something to do.
    #[inline]
    pub fn next(&self) -> Option<UnixNanos> {
        if self.jobs.is_empty() || !self.open {
            return None;
        }
        self.next_due()
    }

    fn next_due(&self) -> Option<UnixNanos> {
        if self.jobs.iter().filter(|j| j.asked.is_some()).count() >= OUTSTANDING_MAX {
            return None;
        }
        self.jobs.iter().filter(|j| j.asked.is_none()).map(|j| j.due.max(self.hold)).min()
    }

    /// Asks for what is due. `holes` finds an instrument's missing trades; `path` makes the request's path and weight,
    /// or says when the machine's own budget allows it.
    pub fn ask<'a, H: Holes + ?Sized + 'a>(
        &mut self,
        now: UnixNanos,
        out: &mut Outbox,
        holes: impl Fn(Known) -> &'a H,
        mut path: impl FnMut(&Page) -> Result<(String, u32), UnixNanos>,
    ) {
        while self.next().is_some_and(|due| due <= now) {
            let Some(at) = self.jobs.iter().position(|j| j.asked.is_none() && j.due <= now) else { return };
            let instrument = self.jobs[at].instrument;
            let Some(m) = holes(instrument).next_page() else {
                // It came by itself.
                self.jobs.remove(at);
                continue;
            };
            let page = Page { instrument, first: m.first, last: m.last, since: m.since, until: m.until };
            match path(&page) {
                Ok((path, weight)) => {
                    let id = out.request(path, weight);
                    self.jobs[at].asked = Some((id, page));
                }
                Err(later) => self.jobs[at].due = later.max(UnixNanos(now.0 + 1)),
            }
        }
    }

    /// The page an answer belongs to, with its body or why there is none; `None` when it is not ours.
    pub fn answer<'b>(
        &mut self,
        request: RequestId,
        reply: &Reply<'b>,
        now: UnixNanos,
    ) -> Option<(Page, Result<&'b [u8], String>)> {
        let job = self.jobs.iter_mut().find(|j| j.asked.is_some_and(|(id, _)| id == request))?;
        let (_, page) = job.asked.take()?;
        let body = match *reply {
            Reply::Http { status: 200..=299, body, .. } => Ok(body),
            Reply::Http { status, retry_after, .. } => {
                if let Some(wait) = retry_after.or(matches!(status, 418 | 429).then_some(PAUSE)) {
                    self.hold = now.after(wait);
                    job.paused = true;
                }
                Err(format!("HTTP status {status}"))
            }
            Reply::Failed(why) => Err(why.to_owned()),
        };
        Some((page, body))
    }

    /// Takes in what a page brought and plans what follows. The rows that come back are to be told, late.
    pub fn settle(
        &mut self,
        page: &Page,
        rows: Result<Vec<Row>, String>,
        holes: &mut impl Holes,
        counts: &mut Counts,
        now: UnixNanos,
    ) -> Vec<Row> {
        let Some(at) = self.jobs.iter().position(|j| j.instrument == page.instrument) else { return vec![] };
        let job = &mut self.jobs[at];
        let mut told = vec![];
        match rows {
            Ok(mut rows) => {
                if holes.take_rows(page, self.paging, &mut rows, counts) {
                    (job.attempts, job.empty, job.due) = (0, 0, now);
                } else {
                    (job.attempts, job.empty) = (job.attempts + 1, job.empty + 1);
                }
                told = rows;
            }
            Err(_) => {
                counts.backfills_failed += 1;
                job.attempts += u32::from(!std::mem::take(&mut job.paused));
            }
        }
        if job.attempts >= ATTEMPTS_MAX || job.empty >= EMPTY_MAX {
            holes.give_up(page, counts);
            (job.attempts, job.empty, job.due) = (0, 0, now);
        } else if job.attempts > 0 {
            job.due = now.after((RETRY_FIRST * (1 << (job.attempts - 1))).min(RETRY_MAX));
        }
        if holes.next_page().is_none() {
            self.jobs.remove(at);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::TradeIds;
    use super::*;

    const MS: u64 = 1_000_000;

    fn t(ms: u64) -> UnixNanos {
        UnixNanos(ms * MS)
    }

    fn row(id: u64) -> Row {
        Row { id, time: t(id), price: Decimal::new(1, 0), size: Decimal::new(1, 0), side: None }
    }

    /// One instrument whose trades 11..=19 are missing, with a connection.
    fn setup(paging: Paging) -> (Backfill, TradeIds, Outbox, Counts) {
        let mut ids = TradeIds::default();
        ids.take(10, t(10), t(10));
        ids.take(20, t(20), t(20));
        let mut b = Backfill::new(true, paging);
        b.connected();
        b.wanted(0, t(20));
        b.wanted(0, t(21));
        (b, ids, Outbox::new(), Counts::default())
    }

    fn ask(b: &mut Backfill, ids: &TradeIds, out: &mut Outbox, now: UnixNanos) -> Option<RequestId> {
        b.ask(now, out, |_| ids, |p| Ok((format!("{}-{}", p.first, p.last), 1)));
        out.requests.pop().map(|r| r.id)
    }

    fn bring(b: &mut Backfill, ids: &mut TradeIds, request: RequestId, rows: &[u64], counts: &mut Counts) -> Vec<u64> {
        let reply = Reply::Http { status: 200, body: b"", retry_after: None };
        let (page, body) = b.answer(request, &reply, t(1000)).expect("ours");
        let rows = body.map(|_| rows.iter().map(|id| row(*id)).collect());
        b.settle(&page, rows, ids, counts, t(1000)).iter().map(|r| r.id).collect()
    }

    #[test]
    fn pages_follow_one_another_until_nothing_is_missing() {
        let (mut b, mut ids, mut out, mut counts) = setup(Paging::Up);
        assert_eq!(b.next(), Some(t(270)));
        assert_eq!(ask(&mut b, &ids, &mut out, t(269)), None, "too early");
        let first = ask(&mut b, &ids, &mut out, t(270)).expect("a request");
        assert_eq!(b.next(), None, "one page at a time");
        assert_eq!(bring(&mut b, &mut ids, first, &[11, 12, 13], &mut counts), [11, 12, 13]);
        ids.take(15, t(15), t(900));
        let second = ask(&mut b, &ids, &mut out, t(1000)).expect("the next page");
        assert_eq!(bring(&mut b, &mut ids, second, &[13, 14, 15, 16, 18, 19, 20], &mut counts), [14, 16, 18, 19]);
        assert_eq!(ids.missing().len(), 1, "only the page's own range is judged by what it brought");
        let third = ask(&mut b, &ids, &mut out, t(1000)).expect("the last page");
        assert!(bring(&mut b, &mut ids, third, &[18, 19, 20], &mut counts).is_empty());
        assert_eq!((b.next(), counts.trades_backfilled, counts.trades_lost), (None, 7, 1), "17 does not exist");
        assert!(b.jobs.is_empty() && ids.missing().is_empty());
    }

    #[test]
    fn pages_may_go_down() {
        let (mut b, mut ids, mut out, mut counts) = setup(Paging::Down);
        let first = ask(&mut b, &ids, &mut out, t(270)).expect("a request");
        assert_eq!(bring(&mut b, &mut ids, first, &[19, 18, 17], &mut counts), [17, 18, 19]);
        assert_eq!((ids.missing()[0].first, ids.missing()[0].last), (11, 16));
        let second = ask(&mut b, &ids, &mut out, t(1000)).expect("the next page");
        assert_eq!(bring(&mut b, &mut ids, second, &[16, 12, 10], &mut counts), [12, 16]);
        assert_eq!((b.next(), counts.trades_lost), (None, 4));
    }

    #[test]
    fn what_the_venue_no_longer_serves_is_lost_at_once() {
        let (mut b, mut ids, mut out, mut counts) = setup(Paging::Up);
        let request = ask(&mut b, &ids, &mut out, t(270)).expect("a request");
        assert_eq!(bring(&mut b, &mut ids, request, &[17, 18, 19, 20, 21], &mut counts), [17, 18, 19]);
        assert_eq!((b.next(), counts.trades_lost), (None, 6));
    }

    #[test]
    fn nothing_at_all_is_asked_for_a_few_times() {
        let (mut b, mut ids, mut out, mut counts) = setup(Paging::Up);
        for n in 0..EMPTY_MAX {
            let due = b.next().unwrap_or_else(|| panic!("attempt {n}"));
            let request = ask(&mut b, &ids, &mut out, due).expect("a request");
            assert!(bring(&mut b, &mut ids, request, &[], &mut counts).is_empty());
        }
        assert_eq!((b.next(), counts.trades_lost), (None, 9));
    }

    #[test]
    fn failures_back_off_and_end_and_a_pause_is_kept() {
        let (mut b, mut ids, mut out, mut counts) = setup(Paging::Up);
        let request = ask(&mut b, &ids, &mut out, t(270)).expect("a request");
        let limited = Reply::Http { status: 429, body: b"", retry_after: Some(Duration::from_secs(7)) };
        let (page, body) = b.answer(request, &limited, t(300)).expect("ours");
        b.settle(&page, body.map(|_| vec![]), &mut ids, &mut counts, t(300));
        assert_eq!(b.next(), Some(t(7300)));
        let mut waits = vec![];
        let mut now = t(7300);
        while let Some(due) = b.next() {
            waits.push(due.since(now).as_millis());
            now = due;
            let request = ask(&mut b, &ids, &mut out, now).expect("a request");
            let (page, body) = b.answer(request, &Reply::Failed("unreachable"), now).expect("ours");
            b.settle(&page, body.map(|_| vec![]), &mut ids, &mut counts, now);
        }
        assert!(waits.windows(2).all(|w| w[0] <= w[1]) && waits.len() <= ATTEMPTS_MAX as usize, "{waits:?}");
        assert_eq!((counts.trades_lost, ids.missing().len()), (9, 0), "given up in the end");
    }

    #[test]
    fn a_lost_connection_asks_again_and_off_asks_never() {
        let (mut b, ids, mut out, _) = setup(Paging::Up);
        let request = ask(&mut b, &ids, &mut out, t(270)).expect("a request");
        b.disconnected();
        assert_eq!(b.next(), None);
        let reply = Reply::Http { status: 200, body: b"", retry_after: None };
        assert!(b.answer(request, &reply, t(300)).is_none(), "an answer from before");
        b.connected();
        assert!(ask(&mut b, &ids, &mut out, t(400)).is_some());
        let mut off = Backfill::new(false, Paging::Up);
        off.connected();
        off.wanted(0, t(1));
        assert_eq!(off.next(), None);
    }
}
