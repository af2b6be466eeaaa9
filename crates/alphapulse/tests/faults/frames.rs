//! Faults of single frames: broken JSON, wrong types, numbers that cannot be. The frame is set aside with the reason,
//! counted, told as a gap; no other is lost.

use super::plant::*;
use super::table::Row;
use super::*;
use emulator::{Fault, Field, Planned};
use model::StreamKind::Trade;

/// One bad frame of trades for each fault, and what is told of it.
fn set_aside(
    fault: &'static str,
    what: &'static str,
    injected: &str,
    setup: Setup,
    faults: Vec<Fault>,
    replaces: bool,
    field: Option<&str>,
) {
    let mut plant = Plant::start(setup);
    let (mut hit, mut frames) = (BTreeSet::new(), 0);
    for fault in faults {
        let extents = plant.suffer(Planned::from(fault));
        frames += extents.iter().map(|e| e.count).sum::<u64>();
        if replaces {
            hit.extend(hit_ids(&extents));
        }
    }
    plant.trades(20);
    plant.until("the lost trades", |told| {
        let seen = trades(told, plant.symbol()).all;
        (hit.is_subset(&seen) || plant.setup.name == "alpaca").then_some(())
    });
    let told = plant.end();
    let symbol = plant.symbol();
    let malformed: Vec<&Value> = told.iter().filter(|l| l["type"] == "gap" && l["cause"] == "malformed").collect();
    let kept = plant.quarantine();
    if let Some(field) = field {
        for line in &kept {
            assert!(text(line, "field").contains(field) || text(line, "problem").contains(field), "{line}");
        }
    }
    assert_eq!(plant.figure("quarantined_total"), kept.len() as u64);
    let seen = trades(&told, symbol);
    Row {
        fault,
        what,
        venue: plant.setup.name,
        injected: format!("{} {injected}", count(frames, "frame")),
        reported: format!("{} set aside, {}", kept.len(), count(malformed.len() as u64, "gap")),
        missed: frames.saturating_sub(malformed.len() as u64).max(frames.saturating_sub(kept.len() as u64)),
        spurious: (malformed.len() as u64).saturating_sub(frames)
            + seen.twice
            + (holes(&told, plant.setup.symbols[1]))
            + if hit.is_empty() { holes(&told, symbol) } else { 0 },
    }
    .check();
}

fn broken(setup: Setup) {
    let target = emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    let faults = vec![Fault::Malform(target.clone()), Fault::Malform(target)];
    set_aside("F05", "half a frame beside", "of broken JSON", setup, faults, false, None);
}

fn cut_short(setup: Setup) {
    let target = emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    set_aside("F05", "a frame cut short", "cut in the middle", setup, vec![Fault::Truncate(target)], true, None);
}

fn wrong_type(setup: Setup) {
    let target = emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    let faults = vec![
        Fault::Type(target.clone(), Field::Price, "true".to_owned()),
        Fault::Type(target, Field::Size, "{}".to_owned()),
    ];
    set_aside("F05", "wrong types", "with true for a price, {} for a size", setup, faults, true, None);
}

fn impossible(setup: Setup) {
    let target = || emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    let digits = ["1e400", "-1", "123456789012345678901234567890", "0.00000000000000000000000000001"];
    let mut faults: Vec<Fault> = digits.iter().map(|d| Fault::Number(target(), Field::Size, (*d).to_owned())).collect();
    faults.push(Fault::Number(target(), Field::Price, "NaN".to_owned()));
    set_aside("F07", "impossible numbers", "with 1e400, -1, 30 digits, 29 decimals, NaN", setup, faults, true, None);
}

#[test]
fn f05_half_a_frame() {
    each(all(), broken);
}

#[test]
fn f05_cut_short() {
    each(all(), cut_short);
}

#[test]
fn f05_wrong_types() {
    each(all(), wrong_type);
}

#[test]
fn f07_impossible_numbers() {
    each(all(), impossible);
}
