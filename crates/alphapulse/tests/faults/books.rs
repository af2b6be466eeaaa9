//! Faults of books: lost and repeated changes, wrong levels and checksums, crossed books, old snapshots, silence.

use super::plant::*;
use super::table::{Figure, Row, at_least, exactly};
use super::*;
use emulator::{Fault, Planned};
use model::{
    StreamKind::{self, Book, Order},
    Venue,
};
use std::time::Duration;
use venues::StaleAfter;

/// Waits until the book of the first symbol was suspect and is live again, with as many snapshots.
pub fn until_mended(plant: &Plant, times: usize) {
    plant.until("a mended book", |told| {
        let symbol = plant.symbol();
        let of_book = |l: &&Value| l["type"] == "status" && l["scope"] == "book" && l["symbol"] == symbol;
        let states: Vec<&str> = told.iter().filter(of_book).map(|l| text(l, "state")).collect();
        let suspects = states.iter().filter(|s| **s == "suspect").count();
        (suspects >= times && states.last() == Some(&"live")).then_some(())
    });
    plant.trades(15);
}

/// Between the moment a book is suspect and the next snapshot, no change of it is told as trusted.
pub fn untrusted_told(told: &[Value], symbol: &str) -> u64 {
    let (mut suspect, mut bad) = (false, 0);
    for l in told.iter().filter(|l| l["symbol"] == symbol) {
        if l["type"] == "status" && l["scope"] == "book" {
            suspect = l["state"] == "suspect" || (suspect && l["state"] == "syncing");
        } else if l["type"] == "book" {
            if l["kind"] == "snapshot" {
                suspect = false;
            }
            bad += u64::from(suspect && l["trusted"] == true);
        }
    }
    bad
}

/// A book told is never crossed where it is told as trusted.
pub fn crossed_told(told: &[Value], symbol: &str) -> u64 {
    use std::collections::BTreeMap;
    let units = |v: &Value| -> i128 {
        let d: model::Decimal = v.as_str().expect("a number as text").parse().expect("a number");
        let text = d.to_string();
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        format!("{whole}{part:0<12}").parse().expect("digits")
    };
    let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
    let mut crossed = 0;
    for l in told.iter().filter(|l| l["symbol"] == symbol && l["type"] == "book") {
        if l["kind"] == "snapshot" {
            bids.clear();
            asks.clear();
        }
        for (side, book) in [("bids", &mut bids), ("asks", &mut asks)] {
            for level in l[side].as_array().into_iter().flatten() {
                let (price, size) = (units(&level[0]), units(&level[1]));
                if size == 0 {
                    book.remove(&price)
                } else {
                    book.insert(price, size)
                };
            }
        }
        if let (Some((bid, _)), Some((ask, _))) = (bids.last_key_value(), asks.first_key_value()) {
            crossed += u64::from(bid >= ask && l["trusted"] == true);
        }
    }
    crossed
}

/// The row of one failed proof of a book.
struct Proof {
    fault: &'static str,
    what: &'static str,
    injected: String,
    cause: &'static str,
    /// The other instrument may be asked for again too.
    all: bool,
    /// What counts the failure itself.
    figure: Figure,
}

/// What counts failed proofs of this cause; where ids jump the gap itself does.
fn counted(cause: &str) -> Figure {
    match cause {
        "checksum" => at_least("checksums_failed_total", 1),
        "crossed" => at_least("crossed_total", 1),
        _ => at_least("gaps_total", 1),
    }
}

fn row_of_proof(proof: &Proof, plant: &mut Plant) {
    until_mended(plant, 1);
    let told = plant.end();
    let [symbol, other] = plant.setup.symbols;
    let found = gaps(&told, "book", symbol);
    let right = found.iter().filter(|gap| gap["cause"] == proof.cause).count() as u64;
    let bad = untrusted_told(&told, symbol) + crossed_told(&told, symbol);
    let suspects = statuses(&told, symbol, "suspect");
    assert!(suspects.iter().all(|s| !text(s, "reason").is_empty()));
    Row {
        fault: proof.fault,
        what: proof.what,
        venue: plant.setup.name,
        injected: proof.injected.clone(),
        reported: format!(
            "suspect, {} ({}), {}",
            count(found.len() as u64, "gap"),
            causes(&told, "book", symbol),
            if proof.all { "every book whole again" } else { "this book whole again" }
        ),
        missed: u64::from(right == 0) + bad,
        spurious: found.len() as u64 - right.min(1)
            + if proof.all { 0 } else { trouble(&told, other) }
            + holes(&told, other),
    }
    .check_counted(
        plant,
        &[at_least("gaps_total", found.len() as u64), at_least("resyncs_total", 1), proof.figure.clone()],
    );
}

fn lost_changes(setup: Setup, kind: model::StreamKind, lost: u32, cause: &'static str, all: bool) {
    let mut plant = Plant::start(setup);
    let extents = plant.suffer(Fault::Lose(first(&plant, kind), lost));
    let injected = format!("{} lost", count(extents.iter().map(|e| e.count).sum(), "change"));
    let ids = hit_ids(&extents);
    until_mended(&plant, 1);
    if !ids.is_empty() {
        let stream = if kind == Order { "order" } else { "book" };
        let told = plant.told();
        assert_eq!(gap_ids(&told, stream, plant.symbol()), ids, "the extent is exact");
    }
    let figure = counted(cause);
    row_of_proof(&Proof { fault: "F01", what: "lost book changes", injected, cause, all, figure }, &mut plant);
}

#[test]
fn f01_lost_changes() {
    // One change at the touch is often healed by the next before a checksum sees it: several are lost.
    let cases = vec![
        (binance(), Book, 2, "sequence", false),
        (kraken(), Book, 8, "checksum", false),
        (kraken_v1(), Book, 8, "checksum", false),
        (full(), Order, 2, "sequence", false),
        (advanced(), Book, 1, "sequence", true),
    ];
    each(cases, |(setup, kind, lost, cause, all)| lost_changes(setup, kind, lost, cause, all));
}

fn repeated(setup: Setup, figure: &'static str) {
    let mut plant = Plant::start(setup);
    let before = plant.figure(figure);
    let extents = plant.suffer(Planned { count: 4, ..Fault::Duplicate(first(&plant, Book)).into() });
    plant.trades(20);
    let told = plant.end();
    let injected: u64 = extents.iter().map(|e| e.count).sum();
    let dropped = plant.figure(figure) - before;
    let figures = [exactly(figure, before + injected)];
    let [symbol, other] = plant.setup.symbols;
    Row {
        fault: "F02",
        what: "book changes sent twice",
        venue: plant.setup.name,
        injected: count(injected, "change"),
        reported: format!("{dropped} dropped and counted"),
        missed: injected.saturating_sub(dropped) + crossed_told(&told, symbol),
        spurious: trouble(&told, symbol) + trouble(&told, other) + dropped.saturating_sub(injected),
    }
    .check_counted(&plant, &figures);
}

#[test]
fn f02_repeated_changes() {
    repeated(binance(), "book_updates_old_total");
}

fn out_of_order(setup: Setup, changes: u32, cause: &'static str) {
    let mut plant = Plant::start(setup);
    plant.suffer(Planned { seed: 3, ..Fault::Reorder(first(&plant, Book), changes).into() });
    let injected = format!("{changes} changes in another order");
    let (what, figure) = ("book changes out of order", counted(cause));
    row_of_proof(&Proof { fault: "F03", what, injected, cause, all: false, figure }, &mut plant);
}

#[test]
fn f03_changes_out_of_order() {
    // A checksum reaches ten levels a side: with no more than these, every change is within.
    let ten = |setup: Setup| Setup { depth: 10, ..setup };
    let cases = vec![(binance(), 3, "sequence"), (ten(kraken()), 8, "checksum"), (ten(kraken_v1()), 8, "checksum")];
    each(cases, |(setup, changes, cause)| out_of_order(setup, changes, cause));
}

/// A level of the best ten is wrong, or the checksum alone.
fn wrong_proof(setup: Setup, what: &'static str, fault: fn(emulator::Target) -> Fault) {
    let mut plant = Plant::start(setup);
    plant.suffer(fault(first(&plant, Book)));
    let injected = "1 change".to_owned();
    let figure = counted("checksum");
    row_of_proof(&Proof { fault: "F08", what, injected, cause: "checksum", all: false, figure }, &mut plant);
    assert!(plant.figure("checksums_ok_total") > 0);
}

#[test]
fn f08_wrong_proof() {
    let checksum: fn(emulator::Target) -> Fault = Fault::Checksum;
    each(vec![kraken(), kraken_v1()], |setup| wrong_proof(setup, "a wrong checksum", checksum));
}

/// Where there is a checksum, one digit of one level shows.
#[test]
fn f08_wrong_level() {
    // The checksum is over the best ten: with more, a wrong level may never come among them.
    let ten = |setup: Setup| Setup { depth: 10, ..setup };
    each(vec![ten(kraken()), ten(kraken_v1())], |setup| wrong_proof(setup, "a wrong size of a level", Fault::Corrupt));
}

fn crossed(setup: Setup, cause: &'static str) {
    let mut plant = Plant::start(setup);
    plant.suffer(Fault::Cross(first(&plant, Book)));
    let (what, injected, figure) = ("a bid above the asks", "1 change".to_owned(), counted(cause));
    row_of_proof(&Proof { fault: "F09", what, injected, cause, all: false, figure }, &mut plant);
}

#[test]
fn f09_crossed() {
    // Kraken's checksum is looked at first, and is the better word.
    let cause = |setup: &Setup| if setup.venue == Venue::Kraken { "checksum" } else { "crossed" };
    each(with_books(), |setup| crossed(setup.clone(), cause(&setup)));
}

/// A book (or, where there is none, the quotes) falls silent, or repeats itself, while everything else goes on: it is stale, and live when it goes on.
fn silent(setup: Setup, what: &'static str, fault: fn(emulator::Target, Duration) -> Fault) {
    let busy = setup.busy();
    // Quotes of shares come in bursts.
    let (book_s, quote_s, kind, silence) = if busy == Book {
        (1, 0, "book for 2.6 s, stale after 1 s", 2600)
    } else {
        (0, 3, "stream of quotes for 6 s, stale after 3 s", 6000)
    };
    let setup = Setup { stale: StaleAfter { book_s, quote_s, ..StaleAfter::default() }, ..setup };
    let mut plant = Plant::start(setup);
    plant.suffer(fault(first(&plant, busy), Duration::from_millis(silence)));
    plant.until("a live stream", |told| {
        let states: Vec<&str> = told
            .iter()
            .filter(|l| l["type"] == "status" && l["scope"] == "stream" && l["symbol"] == plant.symbol())
            .map(|l| text(l, "state"))
            .collect();
        (states.contains(&"stale") && states.last() == Some(&"live")).then_some(())
    });
    plant.trades(10);
    let told = plant.end();
    let [symbol, other] = plant.setup.symbols;
    let stale = statuses(&told, symbol, "stale").len() as u64;
    Row {
        fault: "F10",
        what,
        venue: plant.setup.name,
        injected: format!("1 {kind}"),
        reported: format!("stale {}, then live", count(stale, "time")),
        missed: u64::from(stale == 0),
        spurious: stale.saturating_sub(1) + trouble(&told, other),
    }
    .check_counted(&plant, &[exactly("stale_total", stale)]);
}

#[test]
fn f10_mute() {
    each(every(), |setup| silent(setup, "a book falls silent", Fault::Mute));
}

#[test]
fn f10_freeze() {
    each(every(), |setup| silent(setup, "a book repeats itself", Fault::Freeze));
}

/// The snapshot that a book is mended with is older than what was sent since.
fn old_snapshot(setup: Setup, kind: model::StreamKind, lost: u32) {
    let mut plant = Plant::start(setup);
    let old = plant.plan(Fault::OldSnapshot(2));
    plant.suffer(Fault::Lose(first(&plant, kind), lost));
    plant.over(old);
    let snapshots = plant.figure("book_snapshots_total");
    until_mended(&plant, 1);
    plant.until("a sound book", |_| (plant.figure("book_snapshots_total") >= snapshots).then_some(()));
    plant.trades(20);
    let served: u64 = plant.emulator.extents().iter().filter(|e| e.id == old).map(|e| e.count).sum();
    let told = plant.end();
    let [symbol, other] = plant.setup.symbols;
    Row {
        fault: "F12",
        what: "snapshots older than the changes",
        venue: plant.setup.name,
        injected: format!("{} served in place of the current one", count(served, "old snapshot")),
        reported: "none told as a live book; fetched again until one bridges".to_owned(),
        missed: untrusted_told(&told, symbol) + crossed_told(&told, symbol),
        spurious: trouble(&told, other),
    }
    .check_counted(&plant, &[at_least("resyncs_total", 1), at_least("gaps_total", 1)]);
}

#[test]
fn f12_old_snapshot() {
    each(
        vec![(binance(), Book, 2), (full(), Order, 2), (kraken(), Book, 8), (kraken_v1(), Book, 8)],
        |(setup, kind, lost)| {
            old_snapshot(setup, kind, lost);
        },
    );
}

/// Event times are off by an hour either way: told as the venue says them, and nothing is lost or called old for it.
#[test]
fn f10_skew() {
    each(every(), |setup| {
        let mut plant = Plant::start(setup);
        for by_ms in [3_600_000, -3_600_000] {
            plant.suffer(Fault::Skew(emulator::Target::ALL, by_ms, Duration::from_millis(500)));
        }
        plant.trades(20);
        let told = plant.end();
        let [symbol, other] = plant.setup.symbols;
        Row {
            fault: "F10",
            what: "the venue's clock is off by an hour",
            venue: plant.setup.name,
            injected: "0.5 s ahead, 0.5 s behind".to_owned(),
            reported: "every record as the venue dates it".to_owned(),
            missed: holes(&told, symbol) + holes(&told, other),
            spurious: trouble(&told, symbol) + trouble(&told, other) + trades(&told, symbol).twice,
        }
        .check_counted(&plant, &[exactly("gaps_total", 0), exactly("stale_total", 0), exactly("malformed_total", 0)]);
    });
}

/// A definition changes in the middle of the stream: the new one is told before the first value that uses it.
fn defined_anew(setup: Setup, text: &str) {
    let mut plant = Plant::start(setup);
    let symbol = plant.symbol();
    plant.suffer(Fault::Say(text.to_owned()));
    plant.until("the new definition", |told| {
        let new = |l: &&Value| l["type"] == "instrument" && l["symbol"] == symbol && l["tick"] == "0.001";
        told.iter().find(new).map(|l| assert!(l["version"].as_u64() > Some(1), "{l}"))
    });
    plant.trades(20);
    let told = plant.end();
    Row {
        fault: "F17",
        what: "a finer tick in the middle of the stream",
        venue: plant.setup.name,
        injected: "1 definition".to_owned(),
        reported: "1 new version told before what follows".to_owned(),
        missed: holes(&told, symbol) + crossed_told(&told, symbol),
        spurious: trouble(&told, plant.setup.symbols[1]),
    }
    .check_counted(&plant, &[at_least("instruments_total", 3)]);
}

/// The venue's numbers get finer than it defined: the definition that can hold them is told first, the number is told as
/// it was sent, and so is all that follows.
fn finer(setup: Setup) {
    let mut plant = Plant::start(setup);
    let symbol = plant.symbol();
    let price = "512.0000125";
    plant.suffer(Fault::Number(first(&plant, StreamKind::Trade), emulator::Field::Price, price.to_owned()));
    let of_symbol = |kind: &'static str| move |l: &&Value| l["type"] == kind && l["symbol"] == symbol;
    plant.until("trades behind the fine one", |told| {
        let finer = told.iter().skip_while(|l| l["symbol"] != symbol || l["price"] != price);
        (finer.filter(of_symbol("trade")).count() > 10).then_some(())
    });
    let told = plant.end();
    let at = told.iter().position(|l| l["type"] == "trade" && l["symbol"] == symbol && l["price"] == price);
    let at = at.unwrap_or_else(|| panic!("{}: the price is not told as it was sent", plant.setup.name));
    let version = told[..at].iter().rfind(of_symbol("instrument")).expect("it is defined");
    assert!(version["version"].as_u64() > Some(1) && version["price_scale"].as_u64() >= Some(7), "{version}");
    // No price is off by a power of ten, before or behind.
    let usual = |l: &&Value| -> f64 { text(l, "price").parse().expect("a price") };
    let mut prices: Vec<f64> = told.iter().filter(of_symbol("trade")).map(|l| usual(&l)).collect();
    prices.retain(|found| (*found - 512.0000125).abs() > 1e-9);
    prices.sort_by(f64::total_cmp);
    let off = prices.iter().filter(|p| !(0.5..2.0).contains(&(*p / prices[prices.len() / 2]))).count() as u64;
    Row {
        fault: "F17",
        what: "digits finer than defined",
        venue: plant.setup.name,
        injected: "1 price".to_owned(),
        reported: "1 new version told before it, the price as sent".to_owned(),
        missed: holes(&told, symbol) + off + crossed_told(&told, symbol),
        spurious: trouble(&told, symbol) + trouble(&told, plant.setup.symbols[1]),
    }
    .check_counted(&plant, &[at_least("instruments_total", 3), exactly("malformed_total", 0)]);
}

#[test]
fn f17_finer_digits() {
    each(every(), finer);
}

#[test]
fn f17_definition() {
    let kraken_says = r#"{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":3,"price_increment":0.001,"cost_precision":5,"cost_min":"0.5","qty_min":0.00005,"marginable":false,"has_index":true}]}}"#;
    let coinbase_says = r#"{"type":"status","products":[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","base_increment":"0.00000001","quote_increment":"0.001","display_name":"BTC-USD","status":"online","margin_enabled":false,"status_message":"","min_market_funds":"1","post_only":false,"limit_only":false,"cancel_only":false,"auction_mode":false,"type":"spot","fx_stablecoin":false,"max_slippage_percentage":"0.02"}],"currencies":[]}"#;
    each(vec![(kraken(), kraken_says), (coinbase(), coinbase_says)], |(setup, text)| defined_anew(setup, text));
}
