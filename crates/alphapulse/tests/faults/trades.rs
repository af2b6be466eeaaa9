//! Faults of trades: lost, hidden, repeated, out of order, ids that begin anew.

use super::plant::*;
use super::table::{Row, at_least, exactly};
use super::*;
use emulator::{Fault, Planned, Trigger};
use model::{StreamKind::Trade, Venue};
use std::time::Duration;

/// Waits until the trades of these ids were told.
fn until_told(plant: &Plant, ids: &BTreeSet<u64>) {
    plant.until("trades told late", |told| ids.is_subset(&trades(told, plant.symbol()).all).then_some(()));
}

/// The row of lost trades, found by their ids.
fn row_of_lost(fault: &'static str, what: &'static str, plant: &mut Plant, extents: &[Extent]) {
    let hit = hit_ids(extents);
    until_told(plant, &hit);
    plant.trades(20);
    let told = plant.end();
    let symbol = plant.symbol();
    let (gap, seen) = (gap_ids(&told, "trade", symbol), trades(&told, symbol));
    let fetched = seen.late.intersection(&hit).count() as u64;
    let mut figures = vec![
        exactly("gaps_total", gaps(&told, "trade", symbol).len() as u64),
        exactly("trades_backfilled_total", fetched),
    ];
    if plant.setup.venue == Venue::Alpaca {
        // A gap that is told for another reason may name one of them too.
        figures.push(("trades_hidden_total", 1..=hit.len() as u64));
        figures.push(exactly("trades_unconfirmed_total", 0));
    }
    Row {
        fault,
        what,
        venue: plant.setup.name,
        injected: format!("{} of trades", count(frames(extents), "frame")),
        reported: format!(
            "{} in gaps ({}), {} told late",
            if gap == hit { "exactly their ids".to_owned() } else { format!("{} ids", gap.len()) },
            causes(&told, "trade", symbol),
            if hit.is_subset(&seen.late) { "all" } else { "not all" }
        ),
        missed: hit.difference(&gap).count() as u64 + holes(&told, symbol),
        spurious: gap.difference(&hit).count() as u64
            + seen.twice
            + trouble(&told, plant.setup.symbols[1])
            + holes(&told, plant.setup.symbols[1]),
    }
    .check_counted(plant, &figures);
}

fn lost(setup: Setup) {
    let mut plant = Plant::start_audited(setup);
    let extents = plant.suffer(from_frame(5, Fault::Lose(first(&plant, Trade), 3)));
    assert_eq!(extents.iter().map(|e| e.count).sum::<u64>(), 3);
    row_of_lost("F01", "lost trades", &mut plant, &extents);
}

#[test]
fn f01_lost_trades() {
    // Where the connection counts its frames, a lost one makes every book suspect: here there are none.
    let alone = Setup { streams: vec![Trade], ..advanced() };
    each(vec![kraken(), binance(), coinbase(), alone, alpaca(), alpaca_stocks()], lost);
}

/// REST has them, the stream does not, and no number tells.
fn hidden(setup: Setup) {
    let mut plant = Plant::start_audited(setup);
    let hide = Fault::Hide(first(&plant, Trade), 8);
    let extents = plant.suffer(Planned { trigger: Trigger::PerMillion(170_000), seed: 7, ..hide.into() });
    row_of_lost("F11", "17 % of trades hidden", &mut plant, &extents);
}

#[test]
fn f11_hidden_trades() {
    each(with_ids(), hidden);
}

fn repeated(setup: Setup) {
    let mut plant = Plant::start(setup);
    let twice = Fault::Duplicate(first(&plant, Trade));
    let extents = plant.suffer(Planned { count: 5, ..twice.into() });
    plant.trades(20);
    let told = plant.end();
    let (hit, seen) = (hit_ids(&extents), trades(&told, plant.symbol()));
    let dropped = plant.figure("trades_repeated_total");
    Row {
        fault: "F02",
        what: "trades sent twice",
        venue: plant.setup.name,
        injected: format!("{} of trades", count(frames(&extents), "frame")),
        reported: if dropped == hit.len() as u64 { "exactly theirs dropped and counted" } else { "others dropped" }
            .to_owned(),
        missed: seen.twice + (hit.len() as u64).saturating_sub(dropped),
        spurious: trouble(&told, plant.symbol())
            + trouble(&told, plant.setup.symbols[1])
            + holes(&told, plant.symbol())
            + dropped.saturating_sub(hit.len() as u64),
    }
    .check_counted(&plant, &[exactly("trades_repeated_total", hit.len() as u64)]);
}

#[test]
fn f02_repeated_trades() {
    each(with_ids(), repeated);
}

/// Four trades change places: each is told once, what was passed over is named at once and told late.
fn out_of_order(setup: Setup) {
    let mut plant = Plant::start(setup);
    let shuffle = Fault::Reorder(first(&plant, Trade), 4);
    let extents = plant.suffer(Planned { seed: 3, ..shuffle.into() });
    let hit = hit_ids(&extents);
    until_told(&plant, &hit);
    plant.trades(20);
    let told = plant.end();
    let (symbol, seen) = (plant.symbol(), trades(&told, plant.symbol()));
    // In the order told, an id that is lower than one before is marked late.
    let (mut highest, mut violations) = (0, 0);
    for line in told.iter().filter(|l| l["type"] == "trade" && l["symbol"] == symbol) {
        let id = number(line, "trade_id");
        violations += u64::from(id < highest && line["late"] != true);
        highest = highest.max(id);
    }
    let gap = gap_ids(&told, "trade", symbol);
    // The ids of one venue say nothing of an order: what comes is told as it comes.
    let ordered = plant.setup.venue != Venue::Alpaca;
    assert!(hit.len() >= 4 && gap.is_empty() != ordered, "{hit:?} in another order, {gap:?} in gaps");
    Row {
        fault: "F03",
        what: "trades out of order",
        venue: plant.setup.name,
        // How many trades share a frame is the market's affair.
        injected: "4 frames in another order".to_owned(),
        reported: if ordered { "trades passed over in gaps, all told late" } else { "each told once, as they come" }
            .to_owned(),
        missed: hit.difference(&seen.all).count() as u64 + if ordered { violations } else { 0 },
        spurious: gap.difference(&hit).count() as u64 + seen.twice + trouble(&told, plant.setup.symbols[1]),
    }
    .check_counted(&plant, &[exactly("gaps_total", gaps(&told, "trade", symbol).len() as u64)]);
}

#[test]
fn f03_trades_out_of_order() {
    let alone = Setup { streams: vec![Trade], ..advanced() };
    each(vec![kraken(), binance(), coinbase(), alone, alpaca(), alpaca_stocks()], out_of_order);
}

/// The venue's backend begins anew: connections break, and every id begins at 1. Nothing new is taken for a repeat.
fn anew(setup: Setup) {
    let mut plant = Plant::start(setup);
    let before = plant.told();
    plant.suffer(Fault::Restart);
    plant.flow(plant.setup.books(), 30);
    plant.until("trades of the new backend", |told| {
        let new = |symbol: &&str| trades(told, symbol).all.first() < trades(&before, symbol).all.first();
        plant.setup.symbols.iter().all(new).then_some(())
    });
    let told = plant.end();
    let (mut missed, mut twice) = (0, 0);
    for symbol in plant.setup.symbols {
        twice += trades(&told, symbol).twice;
        let old = trades(&before, symbol).all;
        let new: Vec<u64> =
            trades(&told, symbol).all.into_iter().filter(|id| id < old.first().expect("trades")).collect();
        assert!(!new.is_empty(), "{symbol}: no trade of the new backend is told");
        // The venue's ids begin at 1, and from the first one told none is passed over.
        let all = new[0]..=new[new.len() - 1];
        missed += all.count() as u64 - new.len() as u64;
        assert!(!gaps(&told, "trade", symbol).is_empty(), "{symbol}: the break is told");
    }
    Row {
        fault: "F04",
        what: "ids and sequences begin at 1",
        venue: plant.setup.name,
        injected: "1 restart of the venue".to_owned(),
        reported: "the break told, books anew, trades from the first on".to_owned(),
        missed,
        spurious: twice,
    }
    .check_counted(&plant, &[at_least("gaps_total", 2), at_least("reconnects_total", 1)]);
}

#[test]
fn f04_restart() {
    each(with_ids(), anew);
}

/// Nothing is told of a trade twice however often connections break.
fn storm(setup: Setup) {
    let mut plant = Plant::start(setup);
    for _ in 0..4 {
        plant.emulator.inject(Fault::Drop);
        std::thread::sleep(Duration::from_millis(300));
    }
    let connects = plant.figure("connects_total");
    plant.emulator.inject(Fault::Drop);
    common::wait_for("another connection", || (plant.figure("connects_total") > connects).then_some(()));
    plant.trades(60);
    let told = plant.end();
    let down = told.iter().filter(|l| l["scope"] == "connection" && l["state"] == "down").count() as u64;
    assert!(down > 0, "the breaks are told");
    let mut missed = 0;
    let mut twice = 0;
    for symbol in plant.setup.symbols {
        missed += holes(&told, symbol);
        twice += trades(&told, symbol).twice;
    }
    Row {
        fault: "F13",
        what: "a storm of breaks",
        venue: plant.setup.name,
        injected: "5 breaks within 2 s".to_owned(),
        reported: "each connection's end told; trades fetched or in gaps".to_owned(),
        missed,
        spurious: twice,
    }
    .check_counted(&plant, &[at_least("reconnects_total", down), at_least("gaps_total", 1)]);
}

#[test]
fn f13_storm() {
    each(every(), storm);
}
