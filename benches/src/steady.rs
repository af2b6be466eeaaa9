//! What a feed costs while nothing unusual happens: user time a frame over plain TCP, and while the venue is silent.
//!
//! The venue never runs ahead by more than one write, so a read brings what one write sent.

use crate::frames::{Shape, frames};
use crate::plant::Plant;
use crate::{BenchError, Effort, Goal, Options, Report, Row, Spread};
use ::ring::{Poll, Reader};
use feed::Waiting;
use model::Venue;
use std::time::{Duration, Instant};

/// Of a run; five runs are the ten million frames of the long form.
const TOTAL: usize = 2_000_000;
/// How long silence is watched.
const IDLE: Duration = Duration::from_secs(5);

struct Cost {
    user_ns: f64,
    system_ns: f64,
    total_ns: f64,
    frames_a_read: f64,
}

/// Sends `total` frames, `batch` a write, and waits for the records of each write before the next.
fn cost(total: usize, batch: usize) -> Result<Cost, BenchError> {
    let mut plant = Plant::start(Venue::Binance, Waiting::Block, Some(1))?;
    crate::machine::pin(0);
    let frames = frames(Shape::BinanceTrade, total + 1);
    plant.settle(&frames[..1], |record| matches!(record, wire::Record::Trade(_)))?;
    let writes: Vec<Vec<u8>> = frames[1..].chunks(batch).map(|chunk| plant.encode(chunk)).collect();
    let mut reader = plant.reader()?;
    let (reads, (user, system), all) = (plant.reads(), plant.clock.user_system_ns(), plant.clock.total_ns());
    for (bytes, chunk) in writes.iter().zip(frames[1..].chunks(batch)) {
        plant.send(bytes)?;
        await_trades(&mut reader, chunk.len())?;
    }
    let (reads, all) = (plant.reads() - reads, plant.clock.total_ns() - all);
    let (user_after, system_after) = plant.clock.user_system_ns();
    let count = total as f64;
    Ok(Cost {
        user_ns: (user_after - user) as f64 / count,
        system_ns: (system_after - system) as f64 / count,
        total_ns: all as f64 / count,
        frames_a_read: count / reads as f64,
    })
}

fn await_trades(reader: &mut Reader, count: usize) -> Result<(), BenchError> {
    let mut seen = 0;
    while seen < count {
        let poll = reader.poll(256, |_, words| seen += usize::from(words[0] as u8 == wire::RecordType::Trade as u8))?;
        if poll == Poll::Idle {
            std::hint::spin_loop();
        }
    }
    Ok(())
}

fn idle_share(time: Duration) -> Result<f64, BenchError> {
    let plant = Plant::start(Venue::Binance, Waiting::Block, None)?;
    std::thread::sleep(Duration::from_millis(300));
    let (start, used) = (Instant::now(), plant.clock.total_ns());
    std::thread::sleep(time);
    Ok((plant.clock.total_ns() - used) as f64 / start.elapsed().as_nanos() as f64 * 100.0)
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let rounds = if options.effort == Effort::Smoke { 1 } else { 3 };
    // Frames are made beforehand and ten million are 3 GB, so a long measurement is several runs.
    let (rounds, total) = match options.effort {
        Effort::Long => (5, TOTAL),
        effort => (rounds, effort.of(TOTAL / 4)),
    };
    for (batch, share, goal) in [(64, 1, 150.0), (1, 4, 1_000.0)] {
        let runs = (0..rounds).map(|_| cost(total / share, batch)).collect::<Result<Vec<_>, _>>()?;
        let pick = |f: fn(&Cost) -> f64| Spread::of(&runs.iter().map(f).collect::<Vec<_>>());
        let name = format!("{batch} frame{} a write", if batch == 1 { "" } else { "s" });
        report
            .row(Row::figure(format!("{name}: user time a frame"), pick(|c| c.user_ns), "ns").goal(Goal::AtMost(goal)));
        report.row(Row::figure(format!("{name}: system time a frame"), pick(|c| c.system_ns), "ns"));
        report.row(Row::figure(format!("{name}: both, by the scheduler's clock"), pick(|c| c.total_ns), "ns"));
        report.row(Row::figure(format!("{name}: frames a read"), pick(|c| c.frames_a_read), ""));
    }
    let time = if options.effort == Effort::Smoke { Duration::from_millis(500) } else { IDLE };
    let share = idle_share(time)?;
    report.row(Row::figure("connected and silent: share of a core", Spread::of(&[share]), "%").goal(Goal::AtMost(0.5)));
    report.note("User and system time are the kernel's division of the feed thread's time, in ticks of 10 ms.");
    report.note("That no message allocates is asserted by the test `steady_alloc`.");
    Ok(())
}
