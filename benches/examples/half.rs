//! Our half of a comparison with programs of other languages: `half frames SHAPE COUNT` prints frames, one a line;
//! `half run VENUE FILE` answers each line on standard input with the processor time a frame took, in ns.
//!
//! The machine is the one `alphapulse decode` uses: instruments are learnt from the frames.

use benches::frames::{Shape, frames};
use benches::{Arena, learning_ns};
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
        _ => Err("use: half frames SHAPE COUNT | half run VENUE FILE".into()),
    }
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
