//! Faults that no id and no checksum shows: a book that is silent while others are not, one that the venue's ticker
//! contradicts, one that a fresh snapshot contradicts. Each makes that book alone suspect, with its reason, and it comes
//! back whole.

use super::books::{crossed_told, until_mended, untrusted_told};
use super::plant::*;
use super::table::Row;
use super::*;
use emulator::{Fault, Field, Planned, Target, Trigger};
use model::StreamKind::{Book, Quote};
use std::time::Duration;
use venues::StaleAfter;

/// How often a book was told to be suspect for this reason.
fn suspects(told: &[Value], symbol: &str, reason: &str) -> u64 {
    statuses(told, symbol, "suspect").into_iter().filter(|s| s["reason"] == reason).count() as u64
}

fn row(plant: &mut Plant, (what, injected): (&'static str, String), (reason, cause): (&str, &str), figure: &str) {
    until_mended(plant, 1);
    let told = plant.end();
    let [symbol, other] = plant.setup.symbols;
    let found = gaps(&told, "book", symbol).into_iter().filter(|gap| gap["cause"] == cause).count() as u64;
    let right = suspects(&told, symbol, reason);
    assert_eq!((found, right), (plant.figure(figure), plant.figure(figure)), "each told once, with a gap");
    assert!(plant.figure("resyncs_total") >= 1, "it was mended");
    let states = told.iter().filter(|l| l["type"] == "status" && l["scope"] == "book");
    assert!(states.clone().all(|l| !text(l, "reason").is_empty()), "every state has its reason");
    Row {
        fault: "F10",
        what,
        venue: plant.setup.name,
        injected,
        reported: format!("suspect ({reason}), a gap ({cause}), this book whole again"),
        missed: u64::from(right == 0) + untrusted_told(&told, symbol) + crossed_told(&told, symbol),
        spurious: trouble(&told, other) + holes(&told, other),
    }
    .check();
}

/// The connection is alive and so is the other book; this one says nothing (new), against the rhythm it had.
fn against_its_rhythm(setup: Setup, what: &'static str, fault: fn(Target, Duration) -> Fault) {
    let stale = StaleAfter { book_rhythm_s: 1, ..StaleAfter::default() };
    let mut plant = Plant::start(Setup { stale, ..setup });
    // The rhythm is known after a hundred and some changes.
    let goal = plant.figure("book_updates_total") + 400;
    common::wait_for("a rhythm", || (plant.figure("book_updates_total") >= goal).then_some(()));
    plant.suffer(fault(first(&plant, Book), Duration::from_millis(3500)));
    row(
        &mut plant,
        (what, "1 book for 3.5 s, after a rhythm of many a second".to_owned()),
        ("timeout", "stale"),
        "rhythms_broken_total",
    );
}

#[test]
fn f10_silent_against_its_rhythm() {
    each(with_books(), |setup| against_its_rhythm(setup, "a book is silent against its rhythm", Fault::Mute));
}

#[test]
fn f10_frozen_against_its_rhythm() {
    each(with_books(), |setup| against_its_rhythm(setup, "a book is frozen against its rhythm", Fault::Freeze));
}

/// The venue's best bid is another one than the book's, in every quote. Coinbase's quotes begin with the last trade's
/// price, which the fault would hit; Kraken v1's are lists it does not know.
#[test]
fn f10_ticker_says_otherwise() {
    each(vec![kraken(), binance(), alpaca()], |setup| {
        let mut plant = Plant::start(setup);
        let wrong = Fault::Number(first(&plant, Quote), Field::Price, "1".to_owned());
        plant.plan(Planned { count: 100_000, ..wrong.into() });
        row(
            &mut plant,
            ("the ticker says otherwise", "every best bid of the ticker, for over 5 s".to_owned()),
            ("disagreement", "disagreement"),
            "tickers_apart_total",
        );
    });
}

/// Ids follow one another whatever is in a change: only a fresh snapshot shows a wrong level.
#[test]
fn f10_a_fresh_snapshot_says_otherwise_binance() {
    let mut plant = Plant::start(binance().with("compare_s", "1"));
    plant.until("a comparison that agrees", |_| (plant.figure("snapshots_agreed_total") > 0).then_some(()));
    assert_eq!(plant.figure("snapshots_apart_total"), 0);
    let wrong = Fault::Corrupt(first(&plant, Book));
    plant.plan(Planned { count: 400, trigger: Trigger::PerMillion(200_000), ..wrong.into() });
    row(
        &mut plant,
        ("sizes of levels are wrong", "1 book change in 5".to_owned()),
        ("disagreement", "disagreement"),
        "snapshots_apart_total",
    );
}
