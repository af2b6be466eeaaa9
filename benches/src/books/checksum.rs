//! What proving a Kraken book at every message costs: frames through the machine that compares the venue's checksum, beside
//! the same machine that does not.

use crate::fixed_order::Arena;
use crate::frames::{Shape, frames, kraken_definitions};
use crate::parse::READ;
use crate::recorded::read;
use crate::venue::{NOW, settings};
use crate::{BenchError, Goal, Options, Pairs, Report, Row, agree, clock};
use model::Venue;
use std::hint::black_box;
use venues::{Counts, Outbox, Settings};

const FRAMES: usize = 20_000;
const RECORDED: &str = "venues/kraken/ws_v2/book_btcusd_d25_20260802.jsonl";
/// How much a checksum may add.
const ADDED_MAX: f64 = 1.4;

/// Ns a frame after the first `skipped`, and what the machine counted.
fn through(rule: &str, settings: &Settings, arena: &Arena, skipped: usize) -> (f64, Counts) {
    let choices = [("checksum".to_owned(), rule.to_owned())];
    let mut machine = venues::machine(Venue::Kraken, settings, &choices).expect("Kraken offers both rules");
    let mut out = Outbox::new();
    machine.on_connected(NOW, &mut out);
    let (mut start, mut count) = (clock::cpu_ns(), 0);
    for (n, frame) in arena.iter().enumerate() {
        if n == skipped {
            start = clock::cpu_ns();
        }
        machine.on_frame(frame, NOW, &mut out).expect("the frames are well formed");
        count += usize::from(n >= skipped);
        if n % READ == 0 {
            black_box(out.records.words());
            out.clear();
        }
    }
    ((clock::cpu_ns() - start) as f64 / count as f64, *machine.counts())
}

fn row(
    options: &Options,
    name: &str,
    settings: &Settings,
    (arena, skipped): (&Arena, usize),
    passes: usize,
    report: &mut Report,
) -> Result<(), BenchError> {
    let (with, without) = (through("verify", settings, arena, 0).1, through("ignore", settings, arena, 0).1);
    agree(name, &with.book_levels, &without.book_levels)?;
    let proven = (with.checksums_ok > 0, with.checksums_failed, without.checksums_ok);
    agree(&format!("{name}: proven, failed, proven where nothing is compared"), &proven, &(true, 0, 0))?;
    let mean = |rule| {
        let sum: f64 = (0..passes).map(|_| through(rule, settings, arena, skipped).0).sum();
        Ok(sum / passes as f64)
    };
    let pairs = Pairs::measure(options.pairs, || mean("ignore"), || mean("verify"))?;
    report.row(Row::cost(name, "without", &pairs, "ns").goal(Goal::AtMost(ADDED_MAX)));
    Ok(())
}

pub(super) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let count = options.effort.of(FRAMES);
    let mut drawn = vec![kraken_definitions()];
    drawn.extend(frames(Shape::KrakenBook, count));
    // Definitions and snapshot are not of the stream.
    row(
        options,
        "Kraken book frame with checksum, drawn, ten deep",
        &settings(Venue::Kraken),
        (&Arena::of(&drawn), 2),
        3,
        report,
    )?;
    let path = options.data.as_deref().map(|data| data.join(RECORDED)).filter(|path| path.is_file());
    let Some(path) = path else {
        report.note(format!("Left out, not at hand: the recorded Kraken book (`{RECORDED}`)."));
        return Ok(());
    };
    let text = read(&path)?;
    let recorded: Vec<&str> = text.lines().collect();
    let passes = (count / recorded.len()).max(1);
    row(
        options,
        "Kraken book frame with checksum, recorded, 25 deep",
        &Settings::default(),
        (&Arena::of(&recorded), 4),
        passes,
        report,
    )
}
