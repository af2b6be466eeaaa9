//! What every venue's machine does, each as one story. Generic over the venue; prices follow the promise of
//! [`Case`]: ten levels a side, bids from 100 down and asks from 101 up in steps of 1.

use super::case::{Case, Truth};
use super::reader::Reader;
use super::world::{Logged, World, replay};
use model::{BookState, Reason, Side, UnixNanos};
use std::collections::BTreeSet;
use std::time::Duration;
use venues::{Counts, Memory};
use wire::json::{BookLine, GapLine, Line, StatusLine, TradeLine};
use wire::{Header, Record, RecordType, Records};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn trade<'a>(symbol: &'a str) -> impl Fn(&'a Line) -> Option<&'a TradeLine> {
    move |line| match line {
        Line::Trade(t) if t.symbol == symbol => Some(t),
        _ => None,
    }
}

fn book<'a>(symbol: &'a str) -> impl Fn(&'a Line) -> Option<&'a BookLine> {
    move |line| match line {
        Line::Book(b) if b.symbol == symbol => Some(b),
        _ => None,
    }
}

pub(super) fn gap<'a>(symbol: &'a str, stream: &'a str) -> impl Fn(&'a Line) -> Option<&'a GapLine> {
    move |line| match line {
        Line::Gap(g) if g.symbol.as_deref() == Some(symbol) && g.stream == stream => Some(g),
        _ => None,
    }
}

fn status<'a>(symbol: &'a str, scope: &'a str) -> impl Fn(&'a Line) -> Option<&'a StatusLine> {
    move |line| match line {
        Line::Status(s) if s.symbol.as_deref() == Some(symbol) && s.scope == scope => Some(s),
        _ => None,
    }
}

pub(super) fn id_of(t: &TradeLine) -> u64 {
    t.trade_id.as_deref().expect("the venue gives ids").parse().expect("the ids are numbers")
}

pub(super) fn counts<C: Case>(w: &World<C>) -> Counts {
    *w.session.machine().counts()
}

/// The book of the records, of the venue and of a reader who has followed from the start are the same, and live.
#[track_caller]
fn check_books<C: Case>(w: &World<C>) {
    for symbol in 0..2 {
        let id = w.id(symbol);
        assert_eq!(w.reader.book(id).state, Some(BookState::Live), "{}", C::SYMBOLS[symbol]);
        assert_eq!(w.reader.levels(id), w.venue.truth(symbol), "{}", C::SYMBOLS[symbol]);
    }
}

/// Every id of `from..=to` was told once or lies in one gap; nothing else was told.
#[track_caller]
pub(super) fn check_ids(told: &[u64], gaps: &[&GapLine], from: u64, to: u64) {
    let mut seen = BTreeSet::new();
    let named = gaps.iter().flat_map(|g| {
        let end = |text: &Option<String>| text.as_deref().expect("an exact gap").parse::<u64>().expect("an id");
        end(&g.first)..=end(&g.last)
    });
    for id in told.iter().copied().chain(named) {
        assert!(seen.insert(id), "trade {id} was told twice, or told and called missing");
    }
    assert_eq!(seen, (from..=to).collect(), "told {told:?}, gaps {gaps:?}");
}

/// The same after a cut. Where ids have holes by nature, one gap without ids says when nobody listened.
#[track_caller]
fn check_cut<C: Case>(told: &[u64], gaps: &[&GapLine], from: u64, to: u64) {
    if C::TRADE_IDS_CONTIGUOUS {
        return check_ids(told, gaps, from, to);
    }
    assert_eq!(gaps.iter().map(|g| g.first.as_deref()).collect::<Vec<_>>(), [None], "{gaps:?}");
    check_ids(told, &[], from, to);
}

/// Ordinary traffic on both instruments.
fn traffic<C: Case>(w: &mut World<C>, rounds: usize) {
    for n in 0..rounds {
        let symbol = n % 2;
        let (size, far) = (format!("{}.5", n + 1), format!("{}.25", 92 + n % 7));
        w.update(symbol, &[(Side::Buy, "100", &size), (Side::Buy, &far, "0.0125"), (Side::Sell, "101.5", &size)]);
        w.trade(symbol, "101", "0.0001", Side::Buy);
        w.update(symbol, &[(Side::Sell, "101.5", "0"), (Side::Buy, &far, "0")]);
        w.trade(symbol, "100.01", "20", Side::Sell);
    }
}

pub fn definitions_then_snapshot_then_changes<C: Case>() {
    let mut w = World::<C>::live();
    check_books(&w);
    for symbol in C::SYMBOLS {
        let first = w.lines_since(0, |l| match l {
            Line::Instrument(i) if i.symbol == symbol => Some("instrument"),
            Line::Book(b) if b.symbol == symbol => Some(b.kind.as_str()),
            _ => None,
        });
        assert_eq!(first, ["instrument", "snapshot"], "{symbol}");
    }
    w.update(0, &[(Side::Buy, "100.5", "3"), (Side::Sell, "101", "0"), (Side::Buy, "100", "0.75")]);
    check_books(&w);
    let told = w.lines_since(0, book(C::SYMBOLS[0]));
    let last = told.last().expect("the update");
    assert_eq!((last.kind.as_str(), last.trusted), ("update", true));
    assert_eq!(last.bids, [["100.5", "3"], ["100", "0.75"]].map(|l| l.map(str::to_owned)));
    assert_eq!(last.asks, [["101", "0"]].map(|l| l.map(str::to_owned)));
    traffic(&mut w, 6);
    check_books(&w);
}

pub fn updates_before_the_snapshot_are_not_lost<C: Case>() {
    let mut w = World::<C>::new(&C::settings());
    w.hold_books = true;
    w.connect();
    w.update(0, &[(Side::Buy, "100.25", "7")]);
    w.update(0, &[(Side::Sell, "101", "0.5")]);
    assert!(w.lines_since(0, book(C::SYMBOLS[0])).iter().all(|b| !b.trusted), "told as trusted without a snapshot");
    w.hold_books = false;
    w.talk();
    w.wait(2 * SECOND);
    w.update(0, &[(Side::Sell, "101.25", "9")]);
    w.update(1, &[(Side::Sell, "101.25", "9")]);
    check_books(&w);
}

pub fn a_gap_in_the_book_is_told_and_mended<C: Case>() {
    let mut w = World::<C>::live();
    let mark = w.mark();
    w.hold_books = true;
    let _lost = w.venue.update(0, C::LOST, w.now);
    w.update(0, C::SHOWS);
    let symbol = C::SYMBOLS[0];
    assert_eq!(w.lines_since(mark, gap(symbol, "book")).len(), 1, "the gap is told at once, and once");
    let state = w.reader.book(w.id(0)).state;
    assert_ne!(state, Some(BookState::Live), "a book with a hole must not be called live");
    w.update(0, &[(Side::Sell, "105", "67")]);
    let updates = w.lines_since(mark, book(symbol));
    assert!(updates.iter().all(|b| !b.trusted), "changes after the hole are not trusted");
    assert_eq!(w.reconnect, None, "the socket stays");
    w.hold_books = false;
    w.talk();
    w.wait(10 * SECOND);
    w.update(0, &[(Side::Sell, "105", "68")]);
    assert_eq!(counts(&w).resyncs, if C::ONE_SEQUENCE { 2 } else { 1 });
    check_books(&w);
}

pub fn one_bad_symbol_leaves_the_others_alone<C: Case>() {
    let mut w = World::<C>::live();
    if C::ONE_SEQUENCE {
        return one_hole_concerns_every_book(w);
    }
    let mark = w.mark();
    w.hold_books = true;
    let _lost = w.venue.update(0, C::LOST, w.now);
    w.update(0, C::SHOWS);
    for n in 1..5 {
        w.update(0, &[(Side::Sell, "105", &n.to_string())]);
        w.update(1, &[(Side::Sell, "101", &n.to_string())]);
        assert_eq!(w.reader.levels(w.id(1)), w.venue.truth(1));
    }
    let good = C::SYMBOLS[1];
    let updates = w.lines_since(mark, book(good));
    assert_eq!(updates.len(), 4);
    assert!(updates.iter().all(|b| b.trusted && b.kind == "update"), "{updates:?}");
    assert!(w.lines_since(mark, status(good, "book")).is_empty());
    assert!(w.lines_since(mark, gap(good, "book")).is_empty());
    assert_eq!(w.reconnect, None, "the socket stays");
}

/// Where frames are numbered for the whole connection nobody can say whose the lost one was: every book is suspect,
/// each once, and all are mended at once; trades go on and so does the socket.
fn one_hole_concerns_every_book<C: Case>(mut w: World<C>) {
    let mark = w.mark();
    w.hold_books = true;
    let _lost = w.venue.update(0, &[(Side::Buy, "100", "55")], w.now);
    for n in 1..5 {
        w.update(1, &[(Side::Sell, "101", &n.to_string())]);
        w.trade(0, "100", "1", Side::Buy);
        w.trade(1, "100", "1", Side::Buy);
    }
    for (n, symbol) in C::SYMBOLS.into_iter().enumerate() {
        assert_eq!(w.lines_since(mark, gap(symbol, "book")).len(), 1, "{symbol}");
        assert_ne!(w.reader.book(w.id(n)).state, Some(BookState::Live), "{symbol}");
        assert!(w.lines_since(mark, book(symbol)).iter().all(|b| !b.trusted), "{symbol}");
        assert_eq!(w.lines_since(mark, trade(symbol)).len(), 4, "{symbol}");
        assert!(w.lines_since(mark, gap(symbol, "trade")).is_empty(), "{symbol}");
    }
    assert_eq!(w.reconnect, None, "the socket stays");
    w.hold_books = false;
    w.talk();
    w.wait(10 * SECOND);
    traffic(&mut w, 2);
    for symbol in C::SYMBOLS {
        let snapshots = w.lines_since(mark, book(symbol)).iter().filter(|b| b.kind == "snapshot").count();
        assert_eq!(snapshots, 1, "{symbol}: one attempt was enough");
    }
    check_books(&w);
}

pub fn an_unknown_symbol_is_refused_by_name<C: Case>() {
    let mut settings = C::settings();
    settings.symbols.insert(1, C::UNKNOWN.to_owned());
    let mut w = World::<C>::new(&settings);
    w.connect();
    let refused = w.lines_since(0, |l| match l {
        Line::Status(s) if s.reason == "refused" => Some(s),
        _ => None,
    });
    let named = |s: &&StatusLine| s.text.contains(C::UNKNOWN) || s.symbol.as_deref() == Some(C::UNKNOWN);
    assert!(!refused.is_empty() && refused.iter().all(named), "{refused:?}");
    assert_eq!(w.reconnect, None, "the others go on");
    traffic(&mut w, 2);
    check_books(&w);
}

/// Trades told of an instrument since a mark.
fn told_since<C: Case>(w: &World<C>, mark: usize, symbol: usize) -> usize {
    w.lines_since(mark, trade(C::SYMBOLS[symbol])).len()
}

/// Without ids the venue is trusted to repeat nothing within a connection; across a cut a trade no newer than the last one
/// told is a repeat, whatever else it says.
fn repeats_without_ids_are_told_once<C: Case>() {
    let mut w = World::<C>::live();
    let first = w.trade(0, "100", "1", Side::Buy);
    let second = w.trade(0, "101", "2.5", Side::Sell);
    let other = w.venue.trade(1, "101", "2.5", Side::Sell, w.now);
    w.frame(&second.clone());
    assert_eq!(told_since(&w, 0, 0), 3, "within a connection equal trades are trades");
    w.disconnect();
    w.connect();
    for repeat in [&first, &second] {
        w.frame(repeat);
    }
    w.frame(&other);
    assert_eq!((told_since(&w, 0, 0), told_since(&w, 0, 1)), (3, 1), "what was told belongs to its instrument");
    assert_eq!(counts(&w).trades_repeated, 2);
}

/// What is missing across a cut has no ids: one gap without a range, before the first new trade.
fn a_cut_without_ids_is_one_gap<C: Case>(w: &World<C>, mark: usize, symbol: usize, cause: &str) {
    let gaps = w.lines_since(mark, gap(C::SYMBOLS[symbol], "trade"));
    assert_eq!(gaps.iter().map(|g| (g.cause.as_str(), g.first.as_deref())).collect::<Vec<_>>(), [(cause, None)]);
    assert!(gaps[0].ts_from < gaps[0].ts_to);
}

pub fn a_repeated_trade_is_told_once<C: Case>() {
    if !C::TRADE_IDS {
        return repeats_without_ids_are_told_once::<C>();
    }
    let mut w = World::<C>::live();
    let first = w.trade(0, "100", "1", Side::Buy);
    let second = w.trade(0, "101", "2.5", Side::Sell);
    for repeat in [&second, &first, &second] {
        w.frame(repeat);
    }
    let other = w.trade(1, "101", "2.5", Side::Sell);
    w.frame(&other);
    let told: Vec<_> = w.lines_since(0, trade(C::SYMBOLS[0])).iter().map(|t| (id_of(t), t.side.clone())).collect();
    assert_eq!(told, [(1001, "buy".to_owned()), (1002, "sell".to_owned())]);
    assert_eq!(w.lines_since(0, trade(C::SYMBOLS[1])).len(), 1, "ids belong to their instrument");
    assert_eq!(counts(&w).trades_repeated, 4);
    assert!(w.lines_since(0, gap(C::SYMBOLS[0], "trade")).is_empty());
}

pub fn a_jump_of_trade_ids_is_a_gap<C: Case>() {
    let mut w = World::<C>::live();
    w.trade(0, "100", "1", Side::Buy);
    for _ in 0..3 {
        let _lost = w.venue.trade(0, "100", "1", Side::Buy, w.now);
    }
    w.trade(0, "100", "1", Side::Buy);
    let gaps = w.lines_since(0, gap(C::SYMBOLS[0], "trade"));
    if !C::TRADE_IDS_CONTIGUOUS {
        assert_eq!((gaps.len(), told_since(&w, 0, 0)), (0, 2), "nothing follows from ids that only rise, or from none");
        return check_books(&w);
    }
    assert_eq!(gaps.len(), 1);
    let (first, last) = (gaps[0].first.as_deref(), gaps[0].last.as_deref());
    assert_eq!((first, last, gaps[0].missing), (Some("1002"), Some("1004"), Some(3)));
    assert_eq!(gaps[0].cause, "sequence");
    check_books(&w);
}

pub fn a_mute_stream_is_stale<C: Case>() {
    let mut w = World::<C>::live();
    let mark = w.mark();
    for n in 1..8 {
        w.wait(SECOND);
        w.update(1, &[(Side::Buy, "100", &n.to_string())]);
    }
    let stale = |w: &World<C>, symbol: &str| -> Vec<String> {
        let told = w.lines_since(mark, |l| match l {
            Line::Status(s) if s.symbol.as_deref() == Some(symbol) && s.scope == "stream" => Some(s),
            _ => None,
        });
        told.iter().filter(|s| s.stream.as_deref() == Some("book")).map(|s| s.state.clone()).collect()
    };
    assert_eq!(stale(&w, C::SYMBOLS[0]), ["stale"], "told once");
    assert!(stale(&w, C::SYMBOLS[1]).is_empty(), "its neighbour's data counts for nobody else");
    w.update(0, &[(Side::Buy, "100", "4")]);
    assert_eq!(stale(&w, C::SYMBOLS[0]), ["stale", "live"]);
    assert_eq!(counts(&w).stale, 1);
    check_books(&w);
}

pub fn a_silent_socket_is_given_up<C: Case>() {
    let mut w = World::<C>::live();
    // The last sign of life is now, whether the venue has heartbeats or not.
    w.update(0, &[(Side::Buy, "100", "4")]);
    w.silence(9 * SECOND);
    assert_eq!(w.reconnect, None, "too early");
    w.silence(3 * SECOND);
    let (reason, why) = w.reconnect.take().expect("another connection is asked for");
    assert_eq!(reason, Reason::Timeout);
    assert!(!why.is_empty());
}

/// Both streams go on at the venue while nobody listens.
fn meanwhile<C: Case>(w: &mut World<C>) {
    for symbol in 0..2 {
        let _ = w.venue.trade(symbol, "100.5", "3", Side::Sell, w.now);
        let _ = w.venue.trade(symbol, "100.75", "4", Side::Buy, w.now);
        let _ = w.venue.update(symbol, &[(Side::Buy, "100", "0"), (Side::Sell, "101", "12")], w.now);
    }
    w.now = w.now.after(3 * SECOND);
}

pub fn a_reconnect_drops_repeats_and_tells_the_gap<C: Case>() {
    let mut w = World::<C>::live();
    let old: Vec<String> = (0..2).map(|symbol| w.trade(symbol, "100", "1", Side::Buy)).collect();
    let before = w.mark();
    w.disconnect();
    for symbol in 0..2 {
        let state = w.reader.book(w.id(symbol)).state;
        assert_ne!(state, Some(BookState::Live), "nobody can know the book without a connection");
    }
    meanwhile(&mut w);
    w.connect();
    for (symbol, frame) in old.iter().enumerate() {
        let frame = w.venue.again(frame);
        w.frame(&frame);
        w.trade(symbol, "101", "2", Side::Buy);
    }
    for symbol in C::SYMBOLS {
        let gaps = w.lines_since(0, gap(symbol, "trade"));
        if C::TRADE_IDS {
            let told: Vec<u64> = w.lines_since(0, trade(symbol)).iter().map(|t| id_of(t)).collect();
            check_cut::<C>(&told, &gaps, 1001, 1004);
            assert!(gaps.iter().all(|g| g.cause == "reconnect"), "{gaps:?}");
        } else {
            assert_eq!(w.lines_since(0, trade(symbol)).len(), 2, "the repeat is dropped");
            let index = C::SYMBOLS.iter().position(|s| *s == symbol).expect("one of two");
            a_cut_without_ids_is_one_gap(&w, before, index, "reconnect");
        }
        let gaps = w.lines_since(before, gap(symbol, "book"));
        assert_eq!(gaps.iter().map(|g| g.cause.as_str()).collect::<Vec<_>>(), ["reconnect"], "{symbol}");
        assert!(gaps[0].ts_from < gaps[0].ts_to);
    }
    check_books(&w);
}

pub fn a_restart_goes_on_where_the_last_run_ended<C: Case>() {
    let mut w = World::<C>::live();
    let last = w.trade(0, "100", "1", Side::Buy);
    let trade_id = C::TRADE_IDS.then_some(1001);
    let memory = Memory { trade_id, last_seen: w.now, ..Memory::default() };
    meanwhile(&mut w);
    let (id, now) = (w.id(0), w.now);
    let mut w = World::around(w.venue, &C::settings(), 2, now, &[(id, memory.clone())]);
    w.connect();
    let symbol = C::SYMBOLS[0];
    if C::TRADE_IDS {
        let last = w.venue.again(&last);
        w.frame(&last);
    }
    w.trade(0, "101", "2", Side::Buy);
    if C::TRADE_IDS {
        let told: Vec<u64> = w.lines_since(0, trade(symbol)).iter().map(|t| id_of(t)).collect();
        let gaps = w.lines_since(0, gap(symbol, "trade"));
        check_cut::<C>(&told, &gaps, 1002, 1004);
        assert!(gaps.iter().all(|g| g.cause == "restart"), "{gaps:?}");
    } else {
        assert_eq!(told_since(&w, 0, 0), 1);
        a_cut_without_ids_is_one_gap(&w, 0, 0, "restart");
    }
    let gaps = w.lines_since(0, gap(symbol, "book"));
    assert_eq!(gaps.iter().map(|g| g.cause.as_str()).collect::<Vec<_>>(), ["restart"]);
    assert_eq!(gaps[0].ts_from, memory.last_seen.0);
    assert!(w.lines_since(0, gap(C::SYMBOLS[1], "book")).is_empty(), "nothing is known to be missing of the other");
    check_books(&w);
}

pub fn a_bad_frame_costs_nothing_else<C: Case>() {
    let mut w = World::<C>::live();
    traffic(&mut w, 2);
    let good = w.venue.trade(0, "100.5", "1", Side::Buy, w.now);
    w.frame(&good[..good.len() / 2]);
    w.frame(&good);
    w.frame("no JSON at all");
    traffic(&mut w, 2);
    assert_eq!(w.quarantined.len(), 2);
    for q in &w.quarantined {
        assert!(!q.error.field.is_empty() && !q.error.problem.is_empty(), "{q:?}");
        assert!(q.error.offset <= good.len(), "{q:?}");
    }
    assert_eq!(counts(&w).malformed, 2);
    let malformed = w.lines_since(0, |l| match l {
        Line::Gap(g) if g.cause == "malformed" => Some(g),
        _ => None,
    });
    assert_eq!(malformed.len(), 2, "each is told as a gap");
    if C::TRADE_IDS {
        let told: Vec<u64> = w.lines_since(0, trade(C::SYMBOLS[0])).iter().map(|t| id_of(t)).collect();
        check_ids(&told, &[], 1001, 1005);
    }
    assert_eq!(told_since(&w, 0, 0), 5);
    assert_eq!(w.reconnect, None, "the socket stays");
    check_books(&w);
}

pub fn unknown_types_and_fields_are_passed_over<C: Case>() {
    let mut w = World::<C>::live();
    let (mark, before) = (w.mark(), counts(&w));
    let unknown = w.venue.unknown_type();
    w.frame(&unknown);
    assert_eq!(w.mark(), mark, "nothing is told");
    assert_eq!(counts(&w).unknown_types, before.unknown_types + 1);
    let frame = w.venue.trade(0, "100.5", "1", Side::Buy, w.now);
    let frame = w.venue.with_unknown_field(&frame);
    w.frame(&frame);
    assert_eq!(w.lines_since(mark, trade(C::SYMBOLS[0])).len(), 1);
    let frame = w.venue.update(0, &[(Side::Buy, "100", "2")], w.now);
    let frame = w.venue.with_unknown_field(&frame);
    w.frame(&frame);
    assert_eq!(counts(&w).unknown_fields, before.unknown_fields + 2);
    assert!(w.quarantined.is_empty());
    check_books(&w);
}

pub fn more_decimals_are_a_new_version<C: Case>() {
    let mut w = World::<C>::live();
    traffic(&mut w, 2);
    let mark = w.mark();
    for frame in w.venue.widen(0, w.now) {
        w.frame(&frame);
    }
    w.update(0, &[(Side::Buy, "100.125", "3")]);
    let told = w.lines_since(mark, |l| match l {
        Line::Instrument(i) if i.symbol == C::SYMBOLS[0] => Some((i.version, i.price_scale)),
        Line::Book(b) if b.symbol == C::SYMBOLS[0] => Some((0, b.bids.len() as u8)),
        _ => None,
    });
    assert_eq!(told, [(2, 3), (0, 1)], "the new version, then the first value that needs it");
    check_books(&w);
    traffic(&mut w, 4);
    check_books(&w);
    assert_eq!(w.reconnect, None);
}

/// Long enough for each instrument to be refreshed by the session, with traffic all the while.
fn a_while<C: Case>(w: &mut World<C>) {
    for _ in 0..55 {
        w.wait(2 * SECOND);
        traffic(w, 2);
    }
}

pub fn a_refresh_repeats_definition_state_and_book<C: Case>() {
    let mut w = World::<C>::live();
    let mark = w.mark();
    a_while(&mut w);
    for symbol in C::SYMBOLS {
        let told = w.lines_since(mark, |l| match l {
            Line::Instrument(i) if i.symbol == symbol => Some(format!("definition {}", i.version)),
            Line::Status(s) if s.symbol.as_deref() == Some(symbol) => Some(format!("{} {}", s.scope, s.state)),
            Line::Book(b) if b.symbol == symbol && b.kind == "snapshot" => Some(format!("periodic {}", b.periodic)),
            _ => None,
        });
        assert!(told.len() >= 6 && told.len().is_multiple_of(3), "{told:?}");
        for round in told.chunks(3) {
            assert_eq!(round, ["definition 1", "book live", "periodic true"], "{symbol}");
        }
    }
    check_books(&w);
}

/// Asks for every book a thousand times at one moment.
fn flood<C: Case>(w: &mut World<C>) {
    for _ in 0..1_000 {
        for symbol in 0..C::SYMBOLS.len() {
            w.step(Logged::Snapshot(w.id(symbol)));
        }
    }
}

pub fn a_book_that_many_ask_for_is_told_once_and_again_in_time<C: Case>() {
    let mut w = World::<C>::live();
    let mark = w.mark();
    flood(&mut w);
    w.wait(2 * SECOND);
    for (n, symbol) in C::SYMBOLS.into_iter().enumerate() {
        let told = w.lines_since(mark, |l| match l {
            Line::Status(s) if s.symbol.as_deref() == Some(symbol) => Some(format!("{} {}", s.state, s.reason)),
            Line::Book(b) if b.symbol == symbol && b.requested => Some(format!("periodic {}", b.periodic)),
            _ => None,
        });
        // The very first demand at once, and those behind it together half a second later; of the other books, whose
        // turn came only when all had asked, one is enough.
        let times = if n == 0 { 2 } else { 1 };
        assert_eq!(told, ["live ok", "periodic true"].repeat(times), "{symbol}");
    }
    check_books(&w);
    // Nobody waits any more, and a book that is not live is told when it is, asked for or not.
    w.disconnect();
    let mark = w.mark();
    flood(&mut w);
    let told = w.lines_since(mark, |l| matches!(l, Line::Book(_)).then_some(()));
    assert!(told.is_empty(), "{told:?}");
}

/// Follows one instrument from the `join`-th time its definition is told.
fn joined_at<C: Case>(w: &World<C>, symbol: usize, join: usize) -> Option<Truth> {
    let id = w.id(symbol);
    let own = Records::new(&w.words).filter(|r| Header::read(r).expect("a record").instrument() == id);
    let is_definition = |r: &&[u64]| Header::read(r).expect("a record").record_type() == Some(RecordType::Instrument);
    let starts: Vec<usize> = own.clone().enumerate().filter(|(_, r)| is_definition(r)).map(|(n, _)| n).collect();
    let mut late = Reader::default();
    own.skip(*starts.get(join)?).for_each(|r| late.push(r));
    Some(late.levels(id))
}

pub fn a_late_joiner_holds_the_same_book<C: Case>() {
    let mut w = World::<C>::live();
    a_while(&mut w);
    w.update(0, &[(Side::Buy, "99", "0"), (Side::Buy, "98.5", "2"), (Side::Sell, "110", "0")]);
    for symbol in 0..2 {
        let mut joins = 0;
        while let Some(book) = joined_at(&w, symbol, joins) {
            assert_eq!(book, w.venue.truth(symbol), "{} joined at {joins}", C::SYMBOLS[symbol]);
            joins += 1;
        }
        assert!(joins >= 3, "the start and at least two refreshes");
    }
}

pub fn the_same_inputs_give_the_same_bytes<C: Case>() {
    let mut w = World::<C>::live();
    a_while(&mut w);
    let _lost = w.venue.update(0, &[(Side::Buy, "100", "55")], w.now);
    traffic(&mut w, 4);
    w.bytes(b"{\"broken");
    w.wait(10 * SECOND);
    w.disconnect();
    meanwhile(&mut w);
    w.connect();
    traffic(&mut w, 4);
    assert!(w.words.len() > 1000);
    assert!(w.words == replay::<C>(&C::settings(), &w.log), "a replay of the same inputs told other records");
}

/// Small, seeded, the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A frame no reader of JSON may accept: cut short, with a control byte, or with something behind its end.
fn broken(good: &str, dice: &mut Dice) -> Vec<u8> {
    let mut frame = good.as_bytes().to_vec();
    let at = dice.below(frame.len());
    match dice.below(3) {
        0 => frame.truncate(at),
        1 => frame[at] = 1,
        _ => frame.extend_from_slice(b"}]"),
    }
    frame
}

/// The words told, without the gaps that name malformed frames.
fn without_malformed(words: &[u64]) -> Vec<u64> {
    let keep = |r: &&[u64]| !matches!(Record::read(r), Ok(Record::Gap(g)) if g.cause() == model::GapCause::Malformed);
    Records::new(words).filter(keep).flatten().copied().collect()
}

pub fn hostile_bytes_change_nothing<C: Case>() {
    let (mut clean, mut hostile) = (World::<C>::live(), World::<C>::live());
    let mut dice = Dice(7);
    for n in 0..300usize {
        let size = (n + 1).to_string();
        let make = |w: &mut World<C>| match n % 3 {
            0 => w.venue.trade(n % 2, "100.5", &size, Side::Sell, w.now),
            1 => w.venue.update(n % 2, &[(Side::Buy, "100", &size), (Side::Sell, "101.5", &size)], w.now),
            _ => w.venue.update(n % 2, &[(Side::Buy, "99.25", &size), (Side::Sell, "101.5", "0")], w.now),
        };
        let (good, same) = (make(&mut clean), make(&mut hostile));
        assert_eq!(good, same, "both worlds live the same life");
        for _ in 0..4 {
            hostile.bytes(&broken(&good, &mut dice));
            clean.now = UnixNanos(clean.now.0 + 1_000_000);
        }
        clean.frame(&good);
        hostile.frame(&good);
    }
    assert_eq!(hostile.quarantined.len(), 1200);
    check_books(&hostile);
    assert!(without_malformed(&hostile.words) == clean.words, "a refused frame left something behind");

    // Frames with any bytes changed may be legal and say something else; they must only never panic, nor break what
    // every reader relies on, which the reader of the world checks.
    let (w, start) = (&mut hostile, dice.0);
    for n in 0..5000 {
        let mut frame = match n % 2 {
            0 => w.venue.trade(0, "100.5", "1", Side::Sell, w.now),
            _ => w.venue.update(0, &[(Side::Buy, "100", "1"), (Side::Sell, "101.5", "2")], w.now),
        }
        .into_bytes();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(frame.len());
            frame[at] = match dice.below(3) {
                0 => b"0123456789-+eE.,:[]{}\"\\ntrue"[dice.below(28)],
                1 => frame[dice.below(frame.len())],
                _ => dice.below(256) as u8,
            };
        }
        w.bytes(&frame);
    }
    assert!(w.quarantined.len() > 1200, "seed {start}: no mutation was refused");
}
