//! Faults of single frames: broken JSON, wrong types, numbers that cannot be. The frame is set aside with the reason,
//! counted, told as a gap; no other is lost.

use super::plant::*;
use super::table::{Row, exactly};
use super::*;
use emulator::{Fault, Field, Planned};
use model::{StreamKind::Trade, Venue};

/// One bad frame of trades for each fault, and what is told of it.
fn set_aside(
    fault: &'static str,
    what: &'static str,
    injected: &str,
    setup: Setup,
    faults: Vec<Fault>,
    replaces: bool,
    fields: &[&str],
) {
    let mut plant = if replaces { Plant::start_audited(setup) } else { Plant::start(setup) };
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
        hit.is_subset(&seen).then_some(())
    });
    let told = plant.end();
    let symbol = plant.symbol();
    let malformed: Vec<&Value> = told.iter().filter(|l| l["type"] == "gap" && l["cause"] == "malformed").collect();
    let kept = plant.quarantine();
    if !fields.is_empty() {
        let named: Vec<&str> = kept.iter().map(|line| text(line, "field")).collect();
        assert_eq!(named, fields, "{}: each is named, in its order", plant.setup.name);
        assert!(kept.iter().all(|line| !text(line, "problem").is_empty() && line["offset"].as_u64() > Some(0)));
    }
    let seen = trades(&told, symbol);
    Row {
        fault,
        what,
        venue: plant.setup.name,
        injected: format!("{} {injected}", count(frames, "frame")),
        reported: format!(
            "{} set aside{}, {}",
            kept.len(),
            if fields.is_empty() { "" } else { " with the field" },
            count(malformed.len() as u64, "gap")
        ),
        missed: frames.saturating_sub(malformed.len() as u64).max(frames.saturating_sub(kept.len() as u64)),
        spurious: (malformed.len() as u64).saturating_sub(frames)
            + seen.twice
            + (holes(&told, plant.setup.symbols[1]))
            + if hit.is_empty() { holes(&told, symbol) } else { 0 },
    }
    .check_counted(&plant, &[exactly("malformed_total", frames), exactly("quarantined_total", frames)]);
}

fn broken(setup: Setup) {
    let target = emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    let faults = vec![Fault::Malform(target.clone()), Fault::Malform(target)];
    set_aside("F05", "half a frame beside", "of broken JSON", setup, faults, false, &[]);
}

fn cut_short(setup: Setup) {
    let target = emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    set_aside("F05", "a frame cut short", "cut in the middle", setup, vec![Fault::Truncate(target)], true, &[]);
}

/// What the venue calls the price and the size of a trade.
fn named(setup: &Setup) -> [&'static str; 2] {
    match setup.name {
        "binance" => ["p", "q"],
        "kraken" => ["price", "qty"],
        "kraken v1" => ["price", "volume"],
        name if name.starts_with("alpaca") => ["p", "s"],
        _ => ["price", "size"],
    }
}

fn wrong_type(setup: Setup) {
    let fields = named(&setup);
    let target = emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    let faults = vec![
        Fault::Type(target.clone(), Field::Price, "true".to_owned()),
        Fault::Type(target, Field::Size, "{}".to_owned()),
    ];
    set_aside("F05", "wrong types", "with true for a price, {} for a size", setup, faults, true, &fields);
}

/// Digits that fit no record, or are no number: the field is named, and nothing is rounded or cut.
fn impossible(setup: Setup) {
    // MessagePack has no digits.
    let setup = if setup.venue == Venue::Alpaca { setup.with("encoding", "json") } else { setup };
    let target = || emulator::Target::of(Trade, &setup.spelled(setup.symbols[0]));
    let [price, size] = named(&setup);
    let thirty = "123456789012345678901234567890";
    let digits = ["1e400", "-1", "9223372036854775808", thirty, "0.00000000000000000000000000001"];
    let mut faults: Vec<Fault> = digits.iter().map(|d| Fault::Number(target(), Field::Size, (*d).to_owned())).collect();
    faults.push(Fault::Number(target(), Field::Price, "NaN".to_owned()));
    // A number that is not quoted is no JSON then, and there is no field to speak of.
    let price = if setup.venue == Venue::Alpaca { "message" } else { price };
    let fields = [size, size, size, size, size, price];
    let injected = "with 1e400, -1, 19 digits, 30 digits, 29 decimals, NaN";
    set_aside("F07", "impossible numbers", injected, setup, faults, true, &fields);
}

#[test]
fn f05_half_a_frame() {
    each(every(), broken);
}

#[test]
fn f05_cut_short() {
    each(every(), cut_short);
}

#[test]
fn f05_wrong_types() {
    each(every(), wrong_type);
}

#[test]
fn f07_impossible_numbers() {
    each(every(), impossible);
}
