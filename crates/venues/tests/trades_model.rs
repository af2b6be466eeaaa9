//! Whatever happens to a stream of trades, each is told once, and what is not told is what the venue no longer served
//! (or was given up) and is counted: any order of losses, repeats, cut connections, restarts, slow, failing and
//! forgetting REST interfaces.
#![allow(clippy::unwrap_used)]

use model::{Decimal, UnixNanos};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use venues::trades::{Backfill, Page, Paging, Row, TradeIds, Verdict};
use venues::{Counts, Memory, Outbox, Reply, RequestId};

#[derive(Clone, Debug)]
enum Event {
    /// So many trades arrive.
    Deliver(u64),
    /// So many trades happen and are lost.
    Lose(u64),
    /// The trade so far back arrives (again).
    Again(u64),
    Disconnect,
    Restart,
    /// The oldest request is answered with at most so many rows.
    Answer(usize),
    Fail,
    /// The venue serves only the latest so many.
    Forget(u64),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..8u64).prop_map(Event::Deliver),
        3 => (1..30u64).prop_map(Event::Lose),
        2 => (1..40u64).prop_map(Event::Again),
        1 => Just(Event::Disconnect),
        1 => Just(Event::Restart),
        6 => (1..9usize).prop_map(Event::Answer),
        1 => Just(Event::Fail),
        1 => (1..40u64).prop_map(Event::Forget),
        4 => (1..2000u64).prop_map(Event::Wait),
    ]
}

struct World {
    paging: Paging,
    ids: TradeIds,
    backfill: Backfill,
    out: Outbox,
    counts: Counts,
    now: UnixNanos,
    /// The last trade that happened; ids begin with 1.
    last: u64,
    /// The first the venue serves.
    served_from: u64,
    requests: VecDeque<(RequestId, Page)>,
    told: BTreeSet<u64>,
    /// Ids told as missing.
    named: BTreeSet<u64>,
    began: Option<u64>,
}

impl World {
    fn new(paging: Paging) -> World {
        let mut backfill = Backfill::new(true, paging);
        backfill.connected();
        World {
            paging,
            ids: TradeIds::default(),
            backfill,
            out: Outbox::new(),
            counts: Counts::default(),
            now: UnixNanos(1_000_000_000),
            last: 0,
            served_from: 1,
            requests: VecDeque::new(),
            told: BTreeSet::new(),
            named: BTreeSet::new(),
            began: None,
        }
    }

    fn tell(&mut self, id: u64) {
        assert!(self.told.insert(id), "{id} was told twice");
    }

    fn arrive(&mut self, id: u64) {
        match self.ids.take(id, UnixNanos(id), self.now) {
            Verdict::First | Verdict::Next => {
                self.began.get_or_insert(id);
                self.tell(id);
            }
            Verdict::Fills => {
                assert!(self.named.contains(&id), "{id} is late but was never called missing");
                self.tell(id);
            }
            Verdict::Repeat => {}
            Verdict::Jump { first, last } => {
                for missing in first..=last {
                    assert!(self.named.insert(missing), "{missing} was called missing twice");
                }
                self.tell(id);
                self.backfill.wanted(0, self.now);
            }
            Verdict::Break => panic!("the last id is always known here"),
        }
    }

    fn ask(&mut self) {
        let (ids, requests) = (&self.ids, &mut self.requests);
        let mut pages = vec![];
        self.backfill.ask(
            self.now,
            &mut self.out,
            |_| ids,
            |page| {
                pages.push(*page);
                Ok((String::new(), 1))
            },
        );
        requests.extend(self.out.requests.drain(..).map(|r| r.id).zip(pages));
    }

    fn serve(&self, page: &Page, most: usize) -> Vec<Row> {
        let one = Decimal::new(1, 0);
        let row = |id| Row { id, time: UnixNanos(id), price: one, size: one, side: None };
        match self.paging {
            Paging::Up => (page.first.max(self.served_from)..=self.last).take(most).map(row).collect(),
            Paging::Down => (self.served_from..=page.last).rev().take(most).map(row).collect(),
        }
    }

    fn answer(&mut self, most: Option<usize>) {
        let Some((request, page)) = self.requests.pop_front() else { return };
        let reply = match most {
            Some(_) => Reply::Http { status: 200, body: b"", retry_after: None },
            None => Reply::Failed("unreachable"),
        };
        let Some((page_again, body)) = self.backfill.answer(request, &reply, self.now) else { return };
        assert_eq!(page, page_again);
        let rows = body.map(|_| self.serve(&page, most.unwrap_or(0)));
        for row in self.backfill.settle(&page, rows, &mut self.ids, &mut self.counts, self.now) {
            assert!(self.named.contains(&row.id), "{} is late but was never called missing", row.id);
            self.tell(row.id);
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Deliver(n) => {
                for _ in 0..n {
                    self.last += 1;
                    self.arrive(self.last);
                }
            }
            Event::Lose(n) => self.last += n,
            Event::Again(back) if self.began.is_some_and(|first| self.last >= first + back) => {
                self.arrive(self.last - back);
            }
            Event::Again(_) => {}
            Event::Disconnect => {
                self.ids.disconnected();
                self.backfill.disconnected();
                self.backfill.connected();
            }
            Event::Restart if self.began.is_some() => {
                let memory = Memory {
                    trade_id: self.ids.last(),
                    trade_time: self.ids.time(),
                    missing: self.ids.missing().to_vec(),
                    ..Memory::default()
                };
                self.ids = TradeIds::default();
                self.ids.remember(&memory);
                self.backfill = Backfill::new(true, self.paging);
                self.backfill.connected();
                self.requests.clear();
                if !self.ids.missing().is_empty() {
                    self.backfill.wanted(0, self.now);
                }
            }
            Event::Restart => {}
            Event::Answer(most) => self.answer(Some(most)),
            Event::Fail => self.answer(None),
            Event::Forget(keep) => {
                self.served_from = self.served_from.max((self.last + 1).saturating_sub(keep).max(1));
            }
            Event::Wait(ms) => self.now = self.now.after(Duration::from_millis(ms)),
        }
        self.ask();
    }

    /// Everything still under way is answered.
    fn finish(&mut self) {
        self.happen(&Event::Deliver(1));
        for _ in 0..10_000 {
            if self.requests.is_empty() {
                let Some(due) = self.backfill.next() else { return };
                self.now = self.now.max(due);
                self.ask();
            }
            self.answer(Some(7));
        }
        panic!("it never ends");
    }
}

fn check(events: &[Event], paging: Paging) {
    let mut w = World::new(paging);
    events.iter().for_each(|e| w.happen(e));
    w.finish();
    let Some(first) = w.began else { return };
    let never: Vec<u64> = (first..=w.last).filter(|id| !w.told.contains(id)).collect();
    assert!(never.iter().all(|id| w.named.contains(id)), "neither told nor called missing: {never:?}");
    assert_eq!(w.counts.trades_lost, never.len() as u64, "{never:?}");
    let served = |id: &&u64| **id >= w.served_from;
    assert_eq!(never.iter().filter(served).count(), 0, "the venue serves {never:?} from {} on", w.served_from);
    assert!(w.ids.missing().is_empty() && w.requests.is_empty());
}

proptest! {
    #[test]
    fn each_trade_is_told_once_or_lost_by_the_venue(events in prop::collection::vec(event(), 1..60)) {
        check(&events, Paging::Up);
        check(&events, Paging::Down);
    }
}
