//! Our half of a comparison with programs of other languages: `half frames SHAPE COUNT` prints frames, one a line;
//! `half run VENUE FILE` answers each line on standard input with the processor time a frame took, in ns.
//! `half trades COUNT` writes trades of five 64-bit words (time, id, price, size, taker), `half bars COUNT` their minute
//! bars, and `half run-bars COUNT columns|list` answers each line on standard input with the processor time a trade took,
//! in ns.
//!
//! The machine is the one `alphapulse decode` uses: instruments are learnt from the frames.

use benches::frames::{Shape, frames};
use benches::{Arena, bars, learning_ns};
use book::bars::{Interval, Rule};
use std::error::Error;
use std::io::{BufRead, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["frames", shape, count] => {
            let shape = Shape::named(shape).ok_or_else(|| format!("no shape is called {shape:?}"))?;
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for frame in frames(shape, count.parse()?) {
                writeln!(out, "{frame}")?;
            }
            Ok(out.flush()?)
        }
        ["run", venue, file] => serve(venue.parse()?, &std::fs::read_to_string(file)?),
        ["trades", count] => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for t in bars::trades(count.parse()?) {
                let taker = t.taker.map_or(0, |side| side as u64);
                for word in [t.time.0, t.id, t.price.0 as u64, t.size.0 as u64, taker] {
                    out.write_all(&word.to_le_bytes())?;
                }
            }
            Ok(out.flush()?)
        }
        ["bars", count] => {
            print!("{}", bars::minute_lines(&bars::trades(count.parse()?)));
            Ok(())
        }
        ["run-bars", count, form @ ("columns" | "list")] => serve_bars(count.parse()?, form == "columns"),
        _ => Err(
            "use: half frames SHAPE COUNT | run VENUE FILE | trades COUNT | bars COUNT | run-bars COUNT columns|list"
                .into(),
        ),
    }
}

fn serve_bars(count: usize, in_columns: bool) -> Result<(), Box<dyn Error>> {
    let (trades, minutes) = (bars::trades(count), Rule::Time(Interval::MINUTE));
    let table = bars::Table::of(&trades);
    for line in std::io::stdin().lock().lines() {
        line?;
        let columns = || bars::columns_ns(&table.columns(), minutes);
        let took = if in_columns { columns() } else { bars::history_ns(&trades, minutes, 0) };
        println!("{took} {count} 0");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn serve(venue: model::Venue, text: &str) -> Result<(), Box<dyn Error>> {
    let frames: Vec<String> = text.lines().map(str::to_owned).collect();
    let arena = Arena::of(&frames);
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{} {} 0", learning_ns(venue, &arena, 1)?, frames.len());
        std::io::stdout().flush()?;
    }
    Ok(())
}
