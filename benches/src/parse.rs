//! Frame bytes to records through `VenueMachine::on_frame`, beside the fixed-order scan of the same bytes (the limit)
//! and beside typed serde_json (what one would write without a scanner).
//!
//! Ours finds the instrument, checks the sequence, keeps the book and builds records with every field; the scan only
//! reads numbers. Times are of the thread's own processor time, so a neighbour's time slice is not counted.

use crate::fixed_order::{self, Arena, Level, Side, Trade};
use crate::frames::{Shape, frames};
use crate::venue::{NOW, ready, ready_for};
use crate::{BenchError, Effort, Goal, Options, Pairs, Report, Row, Spread, agree, clock, recorded, typed};
use book::Book;
use model::{Price, Qty, StreamKind};
use std::hint::black_box;
use wire::Record;

const FRAMES: usize = 20_000;
/// Passes over the frames in one measurement, each by a new machine.
const PASSES: usize = 5;
/// Frames between two clearings of the outbox, as a large read brings them.
pub(crate) const READ: usize = 64;

/// Everything a trade or depth frame says, from our records, at 8 decimals.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    trades: Vec<Trade>,
    levels: Vec<Level>,
}

fn said_by_machine(shape: Shape, frames: &[String]) -> Said {
    let (mut machine, mut out) = ready(shape, frames);
    let mut said = Said::default();
    for frame in &frames[1..] {
        out.records.clear();
        machine.on_frame(frame.as_bytes(), NOW, &mut out).expect("generated frames are well formed");
        let instrument = machine.instruments().get(0);
        let eight = |mantissa: i64, scale: u8| mantissa * 10i64.pow(8 - u32::from(scale));
        for record in out.records.records() {
            match record {
                Ok(Record::Trade(t)) => said.trades.push(Trade {
                    id: t.trade_id,
                    price: eight(t.price, instrument.price_scale),
                    size: eight(t.size, instrument.size_scale),
                    time: t.ts_event,
                    side: side(t.header.flags().side()),
                }),
                Ok(Record::BookChange(c)) => said.levels.push(Level {
                    side: side(c.header.flags().side()),
                    price: eight(c.price, instrument.price_scale),
                    size: eight(c.size, instrument.size_scale),
                }),
                _ => {}
            }
        }
    }
    said
}

fn side(side: Option<model::Side>) -> Side {
    if side == Some(model::Side::Buy) { Side::Buy } else { Side::Sell }
}

fn said_by_scan(shape: Shape, arena: &Arena) -> Said {
    let mut said = Said::default();
    for frame in arena.with_slack() {
        match shape {
            Shape::BinanceTrade => said.trades.extend(fixed_order::binance_trade(frame)),
            Shape::KrakenTrade => said.trades.extend(fixed_order::kraken_trade(frame)),
            _ => drop(fixed_order::binance_depth(frame, &mut said.levels)),
        }
    }
    said
}

fn said_by_serde(shape: Shape, arena: &Arena) -> Said {
    let mut said = Said::default();
    for frame in arena.iter() {
        match shape {
            Shape::BinanceTrade => said.trades.extend(typed::binance_trade(frame)),
            Shape::KrakenTrade => said.trades.extend(typed::kraken_trade(frame)),
            _ => drop(typed::binance_depth(frame, &mut said.levels)),
        }
    }
    said
}

/// Ns a frame of processor time, through the machine.
pub fn machine_ns(shape: Shape, frames: &[String], arena: &Arena, passes: usize) -> f64 {
    let (mut spent, mut count) = (0, 0);
    for _ in 0..passes {
        let (mut machine, mut out) = ready(shape, frames);
        let start = clock::cpu_ns();
        for frame in arena.iter() {
            machine.on_frame(frame, NOW, &mut out).expect("generated frames are well formed");
            count += 1;
            if count % READ == 0 {
                black_box(out.records.words());
                out.records.clear();
            }
        }
        spent += clock::cpu_ns() - start;
        assert_eq!(machine.counts().malformed, 0, "every frame was read");
    }
    spent as f64 / count as f64
}

/// Ns a frame of processor time through a machine that learns its instruments from the frames, as `decode` runs it.
///
/// # Errors
/// When a frame is refused.
pub fn learning_ns(venue: model::Venue, arena: &Arena, passes: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let (mut spent, mut count) = (0, 0);
    for _ in 0..passes {
        let mut machine = venues::machine(venue, &venues::Settings::default(), &[])?;
        let mut out = venues::Outbox::new();
        machine.on_connected(NOW, &mut out);
        let start = clock::cpu_ns();
        for frame in arena.iter() {
            machine.on_frame(frame, NOW, &mut out)?;
            count += 1;
            if count % READ == 0 {
                black_box(out.records.words());
                out.records.clear();
            }
        }
        spent += clock::cpu_ns() - start;
        let counts = machine.counts();
        if counts.trades as usize != arena.iter().count() {
            return Err(format!("{} trades were told of {} frames", counts.trades, arena.iter().count()).into());
        }
    }
    Ok(spent as f64 / count as f64)
}

/// The same frames to a machine that was not asked for books: they are read in full and then left.
fn unused_ns(frames: &[String], arena: &Arena, passes: usize) -> f64 {
    let (mut machine, mut out) = ready_for(Shape::BinanceDepth, frames, &[StreamKind::Trade]);
    timed(passes, arena.iter().count(), || {
        for frame in arena.iter() {
            machine.on_frame(frame, NOW, &mut out).expect("generated frames are well formed");
            out.clear();
        }
    })
}

/// The changes applied to a book as deep, without any frame; ns a level.
fn book_ns(said: &Said, passes: usize) -> f64 {
    let mut book = Book::with_capacity(2048);
    for n in (1..=1000).rev() {
        for (side, sign) in [(model::Side::Buy, -1), (model::Side::Sell, 1)] {
            book.set(side, Price((11_673_661 + sign * n) * 1_000_000), Qty(150_000_000));
        }
    }
    let pass = || {
        for level in &said.levels {
            let side = if level.side == Side::Buy { model::Side::Buy } else { model::Side::Sell };
            black_box(book.set(side, Price(level.price), Qty(level.size)));
        }
    };
    timed(passes, said.levels.len(), pass)
}

fn timed(passes: usize, count: usize, mut pass: impl FnMut()) -> f64 {
    let start = clock::cpu_ns();
    for _ in 0..passes {
        pass();
    }
    (clock::cpu_ns() - start) as f64 / (passes * count) as f64
}

fn scan_ns(shape: Shape, arena: &Arena, passes: usize) -> f64 {
    let (count, mut levels) = (arena.iter().count(), Vec::with_capacity(1 << 12));
    timed(passes, count, || {
        for frame in arena.with_slack() {
            match shape {
                Shape::BinanceTrade => drop(black_box(fixed_order::binance_trade(frame))),
                Shape::KrakenTrade => drop(black_box(fixed_order::kraken_trade(frame))),
                _ => {
                    levels.clear();
                    black_box(fixed_order::binance_depth(frame, &mut levels));
                    black_box(&levels);
                }
            }
        }
    })
}

fn serde_ns(shape: Shape, arena: &Arena, passes: usize) -> f64 {
    let (count, mut levels) = (arena.iter().count(), Vec::with_capacity(1 << 12));
    timed(passes, count, || {
        for frame in arena.iter() {
            match shape {
                Shape::BinanceTrade => drop(black_box(typed::binance_trade(frame))),
                Shape::KrakenTrade => drop(black_box(typed::kraken_trade(frame))),
                _ => {
                    levels.clear();
                    black_box(typed::binance_depth(frame, &mut levels));
                    black_box(&levels);
                }
            }
        }
    })
}

/// The same frames with their keys in alphabetical order and numbers in their shortest form: legal, and nothing the
/// fast path takes.
fn permuted(frames: &[String]) -> Vec<String> {
    let permute = |frame: &String| {
        let value: serde_json::Value = serde_json::from_str(frame).expect("generated frames are JSON");
        value.to_string()
    };
    frames.iter().map(permute).collect()
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let passes = if options.effort == Effort::Smoke { 1 } else { PASSES };
    for (shape, name) in [
        (Shape::BinanceTrade, "Binance trade"),
        (Shape::KrakenTrade, "Kraken v2 trade"),
        (Shape::BinanceDepth, "Binance depth, 19 levels, book 1000 deep"),
    ] {
        let frames = frames(shape, options.effort.of(FRAMES));
        let arena = Arena::of(&frames[1..]);
        let ours = said_by_machine(shape, &frames);
        agree(&format!("{name}: serde_json"), &ours, &said_by_serde(shape, &arena))?;
        if fixed_order::available() {
            agree(&format!("{name}: fixed-order scan"), &ours, &said_by_scan(shape, &arena))?;
            let pairs = Pairs::measure(
                options.pairs,
                || Ok(scan_ns(shape, &arena, passes)),
                || Ok(machine_ns(shape, &frames, &arena, passes)),
            )?;
            let row = Row::speed(name, "fixed-order scan", &pairs, "ns");
            let trade = shape != Shape::BinanceDepth;
            report.row(if trade { row.goal(Goal::AtLeast(0.5)) } else { row });
            if !trade {
                let levels = ours.levels.len() as f64 / arena.iter().count() as f64;
                let per = |s: Spread| Spread { median: s.median / levels, min: s.min / levels, max: s.max / levels };
                let row = Row::figure(format!("{name}: a level ({levels:.1} a frame)"), per(pairs.ours()), "ns");
                report.row(row.goal(Goal::AtMost(35.0)));
                report.row(Row::figure("fixed-order scan: a level", per(pairs.reference()), "ns"));
                let parts = Pairs::measure(
                    options.pairs,
                    || Ok(book_ns(&ours, passes)),
                    || Ok(unused_ns(&frames, &arena, passes) / levels),
                )?;
                report.row(Row::figure("of it reading alone (book not subscribed): a level", parts.ours(), "ns"));
                report.row(Row::figure("of it the book alone: a level", parts.reference(), "ns"));
            }
        }
        let pairs = Pairs::measure(
            options.pairs,
            || Ok(serde_ns(shape, &arena, passes)),
            || Ok(machine_ns(shape, &frames, &arena, passes)),
        )?;
        report.row(Row::speed(name, "typed serde_json", &pairs, "ns"));

        let unusual = permuted(&frames);
        let unusual_arena = Arena::of(&unusual[1..]);
        agree(&format!("{name}: fallback"), &said_by_machine(shape, &unusual), &ours)?;
        agree(&format!("{name}: serde_json, permuted"), &said_by_serde(shape, &unusual_arena), &ours)?;
        let pairs = Pairs::measure(
            options.pairs,
            || Ok(serde_ns(shape, &unusual_arena, passes)),
            || Ok(machine_ns(shape, &unusual, &unusual_arena, passes)),
        )?;
        let row = Row::speed(format!("{name}: other key order"), "typed serde_json", &pairs, "ns");
        report.row(row.goal(Goal::AtLeast(2.0)));
    }
    recorded::measure(options, passes, report)
}
