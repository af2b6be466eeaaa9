//! What a venue's machine does about trades it missed, where the venue's REST interface still serves them.

use super::behaviours::{check_ids, counts, gap, id_of, trade};
use super::case::ServesTrades;
use super::world::World;
use model::{InstrumentId, Side};
use std::time::Duration;
use venues::{Memory, Recall};
use wire::Records;
use wire::json::{GapLine, TradeLine};

const SECOND: Duration = Duration::from_secs(1);

/// So many trades happen and their frames are lost; each has a price of its own.
fn lose<C: ServesTrades>(w: &mut World<C>, symbol: usize, trades: usize) -> Vec<String> {
    let price = |n: usize| format!("100.{:02}", n + 1);
    let lost = |n| {
        w.now = w.now.after(C::APART);
        w.venue.trade(symbol, &price(n), "0.5", if n % 2 == 0 { Side::Buy } else { Side::Sell }, w.now)
    };
    (0..trades).map(lost).collect()
}

fn trades<C: ServesTrades>(w: &World<C>, symbol: usize) -> Vec<TradeLine> {
    w.lines_since(0, trade(C::SYMBOLS[symbol])).into_iter().cloned().collect()
}

fn gaps<C: ServesTrades>(w: &World<C>, symbol: usize) -> Vec<GapLine> {
    w.lines_since(0, gap(C::SYMBOLS[symbol], "trade")).into_iter().cloned().collect()
}

fn ids(trades: &[TradeLine], late: bool) -> Vec<u64> {
    trades.iter().filter(|t| t.late == late).map(id_of).collect()
}

/// Every id of a gap.
fn named(gaps: &[GapLine]) -> Vec<u64> {
    let end = |text: &Option<String>| text.as_deref().expect("an exact gap").parse::<u64>().expect("an id");
    gaps.iter().flat_map(|g| end(&g.first)..=end(&g.last)).collect()
}

/// What a feed that starts now would remember of what was told.
fn memory<C: ServesTrades>(w: &World<C>) -> Vec<(InstrumentId, Memory)> {
    let mut recall = Recall::default();
    Records::new(&w.words).for_each(|words| recall.push(words));
    recall.finish()
}

/// Without ids a cut is a window of time, and what was told at its ends is known by all that a trade says.
pub fn what_a_cut_and_a_restart_hide_is_fetched_by_time<C: ServesTrades>() {
    let mut w = World::<C>::live();
    w.trade(0, "99", "1", Side::Buy);
    w.disconnect();
    lose(&mut w, 0, 3 * C::PAGE + 2);
    w.connect();
    w.now = w.now.after(C::APART);
    let next = w.trade(0, "102", "1", Side::Buy);
    w.wait(10 * SECOND);
    w.frame(&next);
    let of = |told: &[TradeLine], late: bool| -> Vec<(u64, String)> {
        told.iter().filter(|t| t.late == late).map(|t| (t.ts_event, t.price.clone())).collect()
    };
    let first = trades(&w, 0);
    let late = of(&first, true);
    assert_eq!((late.len(), of(&first, false).len()), (3 * C::PAGE + 2, 3), "the frame again is another trade alike");
    assert!(late.is_sorted() && late.iter().all(|(_, price)| price.starts_with("100.")), "{late:?}");
    assert!(first.iter().all(|t| t.trade_id.is_none()));
    assert_eq!(
        gaps(&w, 0).iter().map(|g| (g.cause.as_str(), g.first.clone())).collect::<Vec<_>>(),
        [("reconnect", None)]
    );

    // The next run is killed while it fetches, the one after it goes on.
    let (memories, now, mut ring) = (memory(&w), w.now.after(SECOND), std::mem::take(&mut w.words));
    let mut w = World::around(w.venue, &C::settings(), 2, now, &memories);
    lose(&mut w, 0, 3 * C::PAGE);
    // The first run's window was told to be whole, so that the only page is one of the new one.
    w.trade_answers = 1;
    w.connect();
    w.now = w.now.after(C::APART);
    w.trade(0, "103", "1", Side::Buy);
    w.wait(10 * SECOND);
    let second = trades(&w, 0);
    assert!((1..=C::PAGE).contains(&of(&second, true).len()), "{} of one page", of(&second, true).len());
    ring.extend_from_slice(&w.words);
    let mut recall = Recall::default();
    Records::new(&ring).for_each(|words| recall.push(words));
    let (memories, now) = (recall.finish(), w.now.after(SECOND));
    let mut w = World::around(w.venue, &C::settings(), 2, now, &memories);
    w.connect();
    w.now = w.now.after(C::APART);
    w.trade(0, "104", "1", Side::Buy);
    w.wait(10 * SECOND);
    let third = trades(&w, 0);
    let mut all = [of(&second, true), of(&third, true)].concat();
    assert_eq!(all.len(), 3 * C::PAGE, "each once");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 3 * C::PAGE, "none twice");
}

pub fn missed_trades_are_fetched_and_told_late<C: ServesTrades>() {
    let mut w = World::<C>::live();
    let (missed, pages) = (3 * C::PAGE + 2, 4);
    w.trade(0, "100", "1", Side::Buy);
    w.trade(1, "100", "1", Side::Buy);
    let frames = lose(&mut w, 0, missed);
    w.trade(0, "100", "1", Side::Buy);
    let first_gap = gaps(&w, 0);
    let all: Vec<u64> = (1002..1002 + missed as u64).collect();
    assert_eq!(named(&first_gap), all, "the gap is told at once, whatever comes of it");
    assert!(ids(&trades(&w, 0), true).is_empty(), "nothing was fetched yet");
    // One of the lost frames comes after all, and one that will be fetched comes again afterwards.
    w.frame(&frames[7]);
    w.wait(10 * SECOND);
    w.frame(&frames[3]);
    w.frame(&frames[7]);
    let told = trades(&w, 0);
    let mut late = ids(&told, true);
    assert_eq!((late[0], late.len()), (1009, missed), "the frame, then what was fetched");
    late.sort_unstable();
    assert_eq!(late, all, "each once");
    let odd = told.iter().find(|t| id_of(t) == 1005).expect("a trade that was fetched");
    assert_eq!((odd.price.as_str(), odd.size.as_str(), odd.side.as_str()), ("100.04", "0.5", "sell"));
    assert_eq!(gaps(&w, 0), first_gap, "what is filled needs no further word");
    let c = counts(&w);
    assert_eq!((c.trades_backfilled, c.trades_lost, w.trade_requests()), (missed as u64 - 1, 0, 0));
    assert!(usize::MAX - w.trade_answers <= pages + 1, "asked {} times", usize::MAX - w.trade_answers);

    // A connection lost for a while is the same. Venues may help themselves with a snapshot of trades.
    w.disconnect();
    lose(&mut w, 0, missed);
    w.connect();
    let next = w.trade(0, "100", "1", Side::Buy);
    w.wait(10 * SECOND);
    w.frame(&next);
    let told = trades(&w, 0);
    let mut every: Vec<u64> = told.iter().map(id_of).collect();
    every.sort_unstable();
    assert_eq!(every, (1001..=1003 + 2 * missed as u64).collect::<Vec<_>>(), "nothing twice, nothing missing");
    for id in named(&gaps(&w, 0)) {
        assert!(told.iter().any(|t| id_of(t) == id && t.late), "{id} was called missing and is not called late");
    }
    assert!(gaps(&w, 1).is_empty(), "nothing is missing of the other");
}

pub fn a_restart_in_the_middle_of_a_backfill_goes_on<C: ServesTrades>() {
    let mut w = World::<C>::live();
    let missed = 4 * C::PAGE;
    w.trade(0, "100", "1", Side::Buy);
    lose(&mut w, 0, missed);
    w.trade(0, "100", "1", Side::Buy);
    w.trade_answers = 2;
    w.wait(10 * SECOND);
    let first = trades(&w, 0);
    // A page may begin with the trade before the gap.
    let fetched = ids(&first, true).len();
    assert!((2 * C::PAGE - 2..=2 * C::PAGE).contains(&fetched), "{fetched} fetched");
    assert_eq!(w.trade_requests(), 1, "killed while a page is under way");
    let (first_gaps, memory, now) = (gaps(&w, 0), memory(&w), w.now.after(SECOND));
    assert_eq!(memory.iter().map(|(_, m)| m.missing.len()).sum::<usize>(), 1, "{memory:?}");

    let mut w = World::around(w.venue, &C::settings(), 2, now, &memory);
    let hidden = lose(&mut w, 0, 3);
    w.connect();
    for frame in &hidden {
        w.frame(frame);
    }
    w.trade(0, "100", "1", Side::Buy);
    w.wait(10 * SECOND);
    let second = trades(&w, 0);
    let mut every: Vec<u64> = first.iter().chain(&second).map(id_of).collect();
    every.sort_unstable();
    assert_eq!(every, (1001..=1006 + missed as u64).collect::<Vec<_>>(), "nothing twice, nothing missing");
    let again = named(&gaps(&w, 0));
    assert!(named(&first_gaps).iter().all(|id| !again.contains(id)), "a gap is told once, not in every run");
    assert_eq!((w.trade_requests(), counts(&w).trades_lost), (0, 0));
}

pub fn what_rest_no_longer_serves_stays_a_gap<C: ServesTrades>() {
    let mut w = World::<C>::live();
    let (missed, served) = (2 * C::PAGE as u64, C::PAGE as u64 + 1);
    w.trade(0, "100", "1", Side::Buy);
    lose(&mut w, 0, missed as usize);
    w.trade(0, "100", "1", Side::Buy);
    w.venue.forget_trades(0, 1002 + missed - served);
    w.wait(60 * SECOND);
    let told = trades(&w, 0);
    let still: Vec<u64> = (1002 + missed - served..1002 + missed).collect();
    let mut late = ids(&told, true);
    // Pages may come newest first.
    late.sort_unstable();
    assert_eq!(late, still);
    assert_eq!(named(&gaps(&w, 0)), (1002..1002 + missed).collect::<Vec<_>>(), "told once, exactly");
    let c = counts(&w);
    assert_eq!((c.trades_lost, c.trades_backfilled, w.trade_requests()), (missed - served, served, 0));
    let asked = w.trade_answers;
    w.wait(60 * SECOND);
    assert_eq!(w.trade_answers, asked, "what is lost is not asked for for ever");

    // A gap of which nothing at all is served.
    lose(&mut w, 0, 4);
    w.trade(0, "100", "1", Side::Buy);
    w.venue.forget_trades(0, 1002 + missed + 5);
    w.wait(120 * SECOND);
    assert_eq!(counts(&w).trades_lost, missed - served + 4);
    let on_time = ids(&trades(&w, 0), false);
    let last = 1002 + missed + 5;
    let lost: Vec<GapLine> = gaps(&w, 0);
    check_ids(&on_time, &lost.iter().collect::<Vec<_>>(), 1001, last);
}
