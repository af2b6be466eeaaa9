//! Stories of two lines and a consumer. Each line of a story is one step: who (`a`, `b`, `c`), and what that line's
//! machine tells. What the consumer sees is written the same way.

use super::Arbiter;
use crate::trades::Missing;
use crate::{Counts, Memory, Outbox};
use expect_test::{Expect, expect};
use model::{
    BookState, GapCause, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Price, Qty, Reason, Side,
    SideSource, StreamKind, StreamState, UnixNanos, Venue,
};
use std::fmt::Write;
use wire::{
    BarRecord, BarState, BookAction, BookChangeRecord, Flags, GapRecord, Header, QuoteRecord, Record, RecordBuf,
    RecordType, SnapshotBeginRecord, SnapshotEndRecord, SnapshotReason, Status, TradeRecord,
};

const VENUE: Venue = Venue::Kraken;
const ID: InstrumentId = InstrumentId(7);

fn definition(scales: &str) -> Instrument {
    let (price, size) = scales.split_once('/').expect("two scales");
    Instrument {
        id: ID,
        venue: VENUE,
        symbol: "X-Y".to_owned(),
        venue_symbol: "XY".to_owned(),
        base: "X".to_owned(),
        quote: "Y".to_owned(),
        version: 9,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        price_scale: price.parse().expect("a scale"),
        size_scale: size.parse().expect("a scale"),
        tick: Price(10i64.pow(price.parse::<u32>().expect("a scale").saturating_sub(2))),
        lot: Qty(0),
        min_size: Qty(0),
        min_notional: None,
    }
}

/// A book whose one level tells at which id it stands.
fn tell_book(at: u64, now: UnixNanos, records: &mut RecordBuf) {
    let header = |kind, flags| Header::new(kind, 6, Some(VENUE), flags, ID);
    records.push(&SnapshotBeginRecord {
        header: header(RecordType::SnapshotBegin, Flags::EMPTY),
        ts_event: 0,
        ts_recv: now.0,
        bids: 1,
        asks: 0,
        depth: 0,
        reason: SnapshotReason::Periodic as u8,
        capped: 0,
        reserved: [0; 2],
        update_id: at,
    });
    records.push(&change(at as i64, Flags::SNAPSHOT, now));
    records.push(&SnapshotEndRecord {
        header: header(RecordType::SnapshotEnd, Flags::SNAPSHOT | Flags::LAST),
        ts_event: 0,
        ts_recv: now.0,
        levels: 1,
        checksum: 0,
        update_id: at,
        reserved: 0,
    });
}

fn change(price: i64, flags: Flags, now: UnixNanos) -> BookChangeRecord {
    let (price, size) = (Price(price), Qty(1));
    BookChangeRecord::new(VENUE, ID, Side::Buy, flags, UnixNanos(1), now, price, size, BookAction::Change)
}

fn range(text: &str) -> (u64, u64) {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (first.parse().expect("an id"), last.parse().expect("an id"))
}

struct Story {
    arbiter: Arbiter,
    now: UnixNanos,
    /// The id at which each line's book stands.
    at: [u64; 3],
    told: Outbox,
    numbered: bool,
}

impl Story {
    fn new() -> Story {
        let arbiter = Arbiter::new(VENUE, 3, true);
        Story { arbiter, now: UnixNanos(1_000_000_000), at: [0; 3], told: Outbox::new(), numbered: false }
    }

    fn step(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let now = self.now;
        if let ["wait", ms] = words[..] {
            self.now = now.after(std::time::Duration::from_millis(ms.parse().expect("ms")));
            return self.arbiter.on_timer(self.now, &mut self.told.records);
        }
        let line = "abc".find(words[0]).expect("a line");
        let mut out = Outbox::default();
        out.marking = true;
        let state = |out: &mut Outbox, state: BookState, reason| {
            out.records.push_status(VENUE, ID, Status::Book(state), reason, "", UnixNanos::ZERO, now);
        };
        match words[1..] {
            ["up"] => return self.arbiter.line_up(line),
            ["down"] => {
                self.arbiter.line_going(line);
                if self.at[line] > 0 {
                    state(&mut out, BookState::Suspect, Reason::Connection);
                }
            }
            ["define", scales] => {
                out.records.push_instrument(&definition(scales), UnixNanos::ZERO, now).expect("it fits");
            }
            ["trade", id, ref rest @ ..] => {
                let late = Flags::LATE.when(rest.contains(&"late"));
                let flags = late | Flags::LAST.when(!rest.contains(&"open"));
                let (price, id) = (Price(5), (id != "none").then(|| id.parse().expect("an id")));
                let side = (Some(Side::Buy), SideSource::ExplicitTaker);
                let t = TradeRecord::new(VENUE, ID, side.0, side.1, flags, now, now, price, Qty(3), id);
                out.records.push_trade(&t);
            }
            ["lost", ids] => {
                let (stream, cause, ids) = (StreamKind::Trade, GapCause::Reconnect, Some(range(ids)));
                out.records.push(&GapRecord::new(VENUE, ID, stream, cause, ids, now, now));
            }
            ["book", id] => {
                self.at[line] = id.parse().expect("an id");
                tell_book(if self.numbered { self.at[line] } else { 0 }, now, &mut out.records);
                state(&mut out, BookState::Live, Reason::Ok);
            }
            ["doubt"] => {
                state(&mut out, BookState::Suspect, Reason::Checksum);
                let gap = GapRecord::new(VENUE, ID, StreamKind::Book, GapCause::Checksum, None, now, now);
                out.records.push(&gap);
            }
            ["event", ids] => {
                let (first, last) = range(ids);
                self.at[line] = last;
                out.records.push(&change(last as i64, Flags::LAST, now));
                out.mark_event(ID, 0, first, last);
            }
            ["change", price] => {
                self.at[line] = price.parse().expect("an id");
                out.records.push(&change(self.at[line] as i64, Flags::LAST, now));
            }
            ["quote", price] => {
                let bid = Some((Price(price.parse().expect("a price")), Qty(1)));
                out.records.push(&QuoteRecord::new(VENUE, ID, Flags::EMPTY, now, now, bid, None));
            }
            ["bar", open, closed] => {
                let state = if closed == "closed" { BarState::Closed } else { BarState::Open };
                out.records.push(&BarRecord {
                    header: Header::new(BarRecord::TYPE, BarRecord::WORDS, Some(VENUE), Flags::EMPTY, ID),
                    ts_event: 0,
                    ts_recv: now.0,
                    ts_open: open.parse().expect("a time"),
                    interval_s: 60,
                    state: state as u8,
                    notional_scale: 0,
                    vwap_scale: 0,
                    reserved: 0,
                    open: 1,
                    high: 1,
                    low: 1,
                    close: 1,
                    volume: 1,
                    taker_buy_volume: wire::NONE,
                    notional: BarRecord::split(None),
                    taker_buy_notional: BarRecord::split(None),
                    vwap: wire::NONE,
                    trades: 1,
                });
            }
            [stale @ ("stale" | "fresh"), kind] => {
                let kind = StreamKind::from_name(kind).expect("a stream");
                let state = if stale == "stale" { StreamState::Stale } else { StreamState::Live };
                let status = Status::Stream(kind, state);
                out.records.push_status(VENUE, ID, status, Reason::Timeout, "", UnixNanos::ZERO, now);
            }
            _ => panic!("{text:?} is no step"),
        }
        self.arbiter.take(line, &out.records, &out.marks, now, &mut self.told.records);
        if words[1] == "down" {
            self.arbiter.line_down(line, now, &mut self.told.records);
            self.at[line] = 0;
        }
        let (at, numbered) = (self.at, self.numbered);
        self.arbiter.settle(now, &mut self.told.records, &mut |line, _, records| {
            tell_book(if numbered { at[line] } else { 0 }, now, records);
        });
    }

    /// What was told, one record a line.
    fn read(&self) -> String {
        let mut text = String::new();
        for record in self.told.records.records() {
            let line = match record.expect("a sound record") {
                Record::Instrument(v) => {
                    format!(
                        "define v{} {}/{} tick {}",
                        v.head.version, v.head.price_scale, v.head.size_scale, v.head.tick
                    )
                }
                Record::Trade(t) => {
                    let late = if t.header.flags().contains(Flags::LATE) { " late" } else { "" };
                    let open = if t.header.flags().contains(Flags::LAST) { "" } else { " open" };
                    let id = t.id().map_or("none".to_owned(), |id| id.to_string());
                    format!("trade {id}{late}{open} {}x{}", t.price, t.size)
                }
                Record::Quote(q) => format!("quote {}", q.bid_price),
                Record::Bar(b) => format!("bar {} closed={}", b.ts_open, b.is_closed()),
                Record::SnapshotBegin(b) => format!("snapshot {} at {}", b.reason, b.update_id),
                Record::BookChange(c) if c.header.flags().contains(Flags::SNAPSHOT) => continue,
                Record::BookChange(c) => format!("change {}", c.price),
                Record::SnapshotEnd(_) => continue,
                Record::Status(s) => format!("{:?} {} {}", s.status, s.reason, s.text),
                Record::Gap(g) => {
                    let ids = g.range().map_or("?".to_owned(), |(first, last)| format!("{first}-{last}"));
                    format!("gap {} {ids} {}", g.stream(), g.cause())
                }
                other => format!("{other:?}"),
            };
            writeln!(text, "{}", line.trim_end()).expect("a String takes all");
        }
        text
    }
}

/// Plays a story in which both lines are up and have defined the instrument, which is not shown.
#[track_caller]
fn check(numbered: bool, steps: &str, seen: Expect) {
    let mut story = Story { numbered, ..Story::new() };
    for step in ["a up", "b up", "a define 2/4", "b define 2/4"] {
        story.step(step);
    }
    story.told.records.clear();
    for step in steps.lines().map(str::trim).filter(|l| !l.is_empty()) {
        story.step(step);
    }
    seen.assert_eq(&story.read());
}

#[test]
fn a_trade_is_told_by_whoever_brings_it_first() {
    check(
        false,
        "a trade 1
         b trade 1
         b trade 2
         a trade 2
         a down
         b trade 3",
        expect![[r#"
            trade 1 5x3
            trade 2 5x3
            trade 3 5x3
        "#]],
    );
}

#[test]
fn what_one_line_lost_the_other_fills() {
    check(
        false,
        "a trade 1
         b trade 1
         a lost 2-4
         a trade 5
         b trade 2
         b trade 3
         b trade 4
         b trade 5
         wait 5000",
        expect![[r#"
            trade 1 5x3
            trade 5 5x3
            trade 2 late 5x3
            trade 3 late 5x3
            trade 4 late 5x3
        "#]],
    );
}

#[test]
fn what_both_lost_is_told_exactly_once_and_may_still_come_late() {
    check(
        false,
        "a trade 1
         b trade 1
         a lost 2-5
         a trade 6
         b trade 3
         b lost 4-5
         b trade 6
         a trade 7
         b trade 7
         a trade 4 late
         b trade 4 late",
        expect![[r#"
            trade 1 5x3
            trade 6 5x3
            trade 3 late 5x3
            gap trade 2-2 reconnect
            gap trade 4-5 reconnect
            trade 7 5x3
            trade 4 late 5x3
        "#]],
    );
}

#[test]
fn a_hole_is_not_waited_for_longer_than_the_grace_nor_for_a_line_that_is_gone() {
    check(
        false,
        "a trade 1
         a lost 2-3
         a trade 4
         wait 1999
         wait 2
         a lost 5-6
         a trade 7
         b down
         a lost 8-9
         a trade 10",
        expect![[r#"
            trade 1 5x3
            trade 4 5x3
            gap trade 2-3 reconnect
            trade 7 5x3
            gap trade 5-6 reconnect
            gap trade 8-9 reconnect
            trade 10 5x3
        "#]],
    );
}

#[test]
fn a_line_that_never_saw_the_trades_before_does_not_hide_a_jump() {
    check(
        false,
        "a trade 1
         a down
         b trade 5",
        expect![[r#"
            trade 1 5x3
            gap trade 2-4 sequence
            trade 5 5x3
        "#]],
    );
}

#[test]
fn ids_that_begin_anew_are_followed_on_both_lines() {
    check(
        false,
        "a trade 900
         b trade 900
         a trade 1
         b trade 901
         b trade 1
         b trade 2
         a trade 2",
        expect![[r#"
            trade 900 5x3
            gap trade ? sequence
            trade 1 5x3
            trade 2 5x3
        "#]],
    );
}

#[test]
fn an_event_whose_end_was_told_before_is_closed() {
    let mut story = Story::new();
    story.step("a up");
    story.step("b up");
    story.step("b trade 1 open");
    story.step("b trade 2");
    let mut out = Outbox::default();
    for (id, flags) in [(3, Flags::EMPTY), (2, Flags::LAST)] {
        let side = (Some(Side::Buy), SideSource::ExplicitTaker);
        let t =
            TradeRecord::new(VENUE, ID, side.0, side.1, flags, UnixNanos(1), UnixNanos(1), Price(5), Qty(3), Some(id));
        out.records.push_trade(&t);
    }
    // The second record is of another era for its own line unless it is late.
    let late = *Header::read(&out.records.words()[6..]).expect("a record");
    out.records.set_header(6, late.with_flags(late.flags() | Flags::LATE));
    story.arbiter.take(0, &out.records, &[], UnixNanos(2), &mut story.told.records);
    assert_eq!(story.read(), "trade 1 open 5x3\ntrade 2 5x3\ntrade 3 5x3\n");
}

#[test]
fn a_book_without_ids_fails_over_whole_and_nothing_but_live_is_told() {
    check(
        false,
        "a book 1
         b book 1
         a change 2
         b change 2
         a down
         b change 3
         a up
         a book 3
         a change 4
         b change 4
         b doubt
         a change 5",
        expect![[r#"
            snapshot 2 at 0
            Book(Live) ok
            change 2
            snapshot 1 at 0
            change 3
            change 4
            snapshot 1 at 0
            change 5
        "#]],
    );
}

#[test]
fn without_another_live_book_the_leader_is_told_as_it_is() {
    check(
        false,
        "a book 1
         a doubt
         a change 2
         a book 3
         a down
         b book 4
         b change 5",
        expect![[r#"
            snapshot 2 at 0
            Book(Live) ok
            Book(Suspect) checksum
            gap book ? checksum
            change 2
            snapshot 2 at 0
            Book(Live) ok
            Book(Suspect) connection
            gap book ? reconnect
            snapshot 1 at 0
            Book(Live) ok
            change 5
        "#]],
    );
}

#[test]
fn numbered_events_pass_from_whichever_line_brings_the_next() {
    check(
        true,
        "a book 100
         b book 100
         a event 101-103
         b event 101-103
         b event 104-104
         b event 105-108
         a event 104-104
         b down
         a event 105-108
         a event 109-110",
        expect![[r#"
            snapshot 2 at 100
            Book(Live) ok
            change 103
            change 104
            change 108
            change 110
        "#]],
    );
}

#[test]
fn a_line_behind_goes_on_where_the_book_stands_without_a_snapshot() {
    check(
        true,
        "a book 100
         b book 90
         b event 91-95
         a event 101-103
         a down
         b event 96-102
         b event 103-103
         b event 104-106",
        expect![[r#"
            snapshot 2 at 100
            Book(Live) ok
            change 103
            change 106
        "#]],
    );
}

#[test]
fn events_that_no_line_brought_are_an_exact_gap() {
    check(
        true,
        "a book 100
         b book 110
         b event 111-111
         a event 101-102
         a down
         b event 112-112",
        expect![[r#"
            snapshot 2 at 100
            Book(Live) ok
            change 102
            gap book 103-111 reconnect
            snapshot 1 at 111
            change 112
        "#]],
    );
}

#[test]
fn a_book_that_died_comes_back_on_the_other_line_with_the_gap_its_ids_prove() {
    check(
        true,
        "a book 100
         a down
         b book 100
         b event 101-101
         b down
         a up
         a book 105",
        expect![[r#"
            snapshot 2 at 100
            Book(Live) ok
            Book(Suspect) connection
            snapshot 1 at 100
            Book(Live) ok
            change 101
            Book(Suspect) connection
            gap book 102-105 reconnect
            snapshot 1 at 105
            Book(Live) ok
        "#]],
    );
}

#[test]
fn a_stale_book_is_left_for_a_fresh_one_and_told_when_all_are() {
    check(
        true,
        "a book 100
         b book 100
         a stale book
         b event 101-101
         b stale book
         a fresh book",
        expect![[r#"
            snapshot 2 at 100
            Book(Live) ok
            change 101
            Stream(Book, Stale) timeout silent on every connection
            Stream(Book, Live) ok
        "#]],
    );
}

#[test]
fn quotes_follow_one_line_until_it_is_stale_or_gone() {
    check(
        false,
        "a quote 1
         b quote 1
         a quote 2
         a stale quote
         b quote 3
         b stale quote
         a fresh quote
         a quote 4
         a trade none
         b trade none
         a down
         b quote 5
         b trade none",
        expect![[r#"
            quote 1
            quote 2
            quote 3
            Stream(Quote, Stale) timeout silent on every connection
            Stream(Quote, Live) ok
            quote 4
            trade none 5x3
            Stream(Quote, Stale) timeout silent on every connection
            quote 5
            trade none 5x3
        "#]],
    );
}

#[test]
fn a_successor_does_not_close_a_bar_again() {
    check(
        false,
        "a bar 60 open
         a bar 60 closed
         a down
         b bar 60 closed
         b bar 120 open
         b bar 120 closed",
        expect![[r#"
            bar 60 closed=false
            bar 60 closed=true
            bar 120 closed=false
            bar 120 closed=true
        "#]],
    );
}

#[test]
fn lines_at_different_scales_are_told_at_the_widest() {
    check(
        false,
        "a trade 1
         b define 4/5
         a trade 2
         b trade 3
         b define 4/5
         a define 4/5
         a trade 4",
        expect![[r#"
            trade 1 5x3
            define v2 4/5 tick 100
            trade 2 500x30
            trade 3 5x3
            trade 4 5x3
        "#]],
    );
}

#[test]
fn an_earlier_run_is_gone_on_from() {
    let mut story = Story::new();
    story.arbiter.remember(ID, &Memory { trade_id: Some(10), last_seen: UnixNanos(5), ..Memory::default() });
    for step in [
        "a up",
        "b up",
        "a define 2/4",
        "b define 2/4",
        "a trade 9 late",
        "b trade 10 late",
        "b trade 12",
        "a trade 11",
    ] {
        story.step(step);
    }
    story.step("a book 5");
    expect![[r#"
        define v1 2/4 tick 1
        trade 12 5x3
        trade 11 late 5x3
        snapshot 2 at 0
        Book(Live) ok
    "#]]
    .assert_eq(&story.read());
}

#[test]
fn holes_told_by_a_line_that_was_alone_are_filled_and_what_it_filled_is_not_told_again() {
    let mut story = Story::new();
    let hole = |first, last| Missing { first, last, ..Missing::default() };
    let missing = vec![hole(3, 4)];
    story.arbiter.remember(ID, &Memory { trade_id: Some(10), missing, ..Memory::default() });
    story.arbiter.seed(0, &definition("2/4"), &RecordBuf::default(), (Some(15), &[hole(12, 13)]), story.now);
    story.arbiter.take_over(0, true, &Counts::default());
    for step in ["b up", "b define 2/4", "a trade 13 late", "b trade 3 late", "b trade 12 late", "b trade 16"] {
        story.step(step);
    }
    expect![[r#"
        trade 13 late 5x3
        trade 12 late 5x3
        trade 16 5x3
    "#]]
    .assert_eq(&story.read());
}

#[test]
fn a_successor_is_ready_when_it_carries_all_that_is_told() {
    let mut story = Story { numbered: true, ..Story::new() };
    for step in ["a up", "a define 2/4", "a book 100", "a trade 1", "b up"] {
        story.step(step);
        assert!(!story.arbiter.is_ready(1), "after {step}");
    }
    story.step("b define 2/4");
    story.step("b book 100");
    assert!(story.arbiter.is_ready(1), "no trade since it came up");
    story.step("a trade 2");
    assert!(!story.arbiter.is_ready(1), "a trade that it has not brought");
    story.step("b trade 2");
    assert!(story.arbiter.is_ready(1));
    story.told.records.clear();
    story.step("a down");
    assert_eq!(story.read(), "", "nothing is told of the change");
}
