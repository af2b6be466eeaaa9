//! What our books hold after each frame of a recorded session, for other implementations to be held against: recorded
//! frames -> the venue's machine -> records -> [`relay::Books`] -> one line of JSON for each book that changed and is live.
//!
//! usage: tops VENUE LEVELS FRAMES [REST_BODY]
//!
//! A line: `{"frame":7,"symbol":"BTC/USD","known":{"bids":"63300","asks":null},"bids":[["63388.7","0.25"],…],"asks":[…]}`,
//! the symbol in the venue's spelling, frames counted from 1, `known` the last price up to which a side is (null: all of
//! it). A request for a book is answered with REST_BODY at once.

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use model::{BookState, Instrument, Side, UnixNanos, Venue};
use relay::Books;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use venues::{Outbox, Reply, Settings};
use wire::json::decimal;

/// Not a real time: only its order counts.
const START: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

fn lines(path: &Path) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let zipped = path.extension().is_some_and(|ending| ending == "gz");
    let reader: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(BufReader::new(reader).lines())
}

/// A book's best levels as a line.
fn tell(
    out: &mut impl Write,
    frame: usize,
    i: &Instrument,
    rebuilt: &book::Rebuilt,
    levels: usize,
) -> anyhow::Result<()> {
    let [bids, asks] = [Side::Buy, Side::Sell].map(|side| match rebuilt.follower.bound(side) {
        Some(bound) => format!(r#""{}""#, decimal(bound.0, i.price_scale)),
        None => "null".to_owned(),
    });
    write!(out, r#"{{"frame":{frame},"symbol":"{}","known":{{"bids":{bids},"asks":{asks}}}"#, i.venue_symbol)?;
    for (name, side) in [("bids", Side::Buy), ("asks", Side::Sell)] {
        write!(out, r#","{name}":["#)?;
        for (n, level) in rebuilt.book.levels(side).take(levels).enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let (price, size) = (decimal(level.price.0, i.price_scale), decimal(level.size.0, i.size_scale));
            write!(out, r#"{comma}["{price}","{size}"]"#)?;
        }
        write!(out, "]")?;
    }
    Ok(writeln!(out, "}}")?)
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (venue, levels, frames, rest) = match arguments.as_slice() {
        [venue, levels, frames] => (venue, levels, frames, None),
        [venue, levels, frames, rest] => (venue, levels, frames, Some(std::fs::read(rest)?)),
        _ => bail!("usage: tops VENUE LEVELS FRAMES [REST_BODY]"),
    };
    let (venue, levels): (Venue, usize) = (venue.parse()?, levels.parse()?);
    let mut machine = venues::machine(venue, &Settings { snapshot_depth: u32::MAX, ..Settings::default() }, &[])?;
    let (mut books, mut out) = (Books::new(), Outbox::new());
    let mut lines_out = BufWriter::with_capacity(1 << 18, std::io::stdout().lock());
    machine.on_connected(START, &mut out);
    for (n, frame) in lines(Path::new(frames))?.enumerate() {
        let now = UnixNanos(START.0 + n as u64);
        // What a recording holds that is no frame (a cut line) is set aside, as in a feed.
        let _ = machine.on_frame(frame?.as_bytes(), now, &mut out);
        for request in std::mem::take(&mut out.requests) {
            let body = rest.as_deref().filter(|_| request.path.contains("depth"));
            let reply = body.map(|body| Reply::Http { status: 200, body, retry_after: None });
            machine.on_response(request.id, reply.unwrap_or(Reply::Failed("not recorded")), now, &mut out);
        }
        let mut changed = Vec::new();
        for words in &out.records {
            if let Some((_, id)) = books.push(words)?
                && !changed.contains(&id)
            {
                changed.push(id);
            }
        }
        out.clear();
        for id in changed {
            let Some(at) = machine.instruments().index_of(id) else { continue };
            let rebuilt = books.get(venue, id).context("a book that was told of is held")?;
            if rebuilt.follower.standing().state == BookState::Live {
                tell(&mut lines_out, n + 1, machine.instruments().get(at), rebuilt, levels)?;
            }
        }
    }
    Ok(lines_out.flush()?)
}
