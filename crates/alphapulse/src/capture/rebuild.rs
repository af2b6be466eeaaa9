//! `alphapulse capture rebuild`: records derived again from raw captures, held against what was kept.

use super::{Interval, Where, files, replay::ring_rows};
use crate::recorded;
use anyhow::{Context, bail};
use capture::{Difference, Player, Reader, Reference, ReferenceError, Row};
use clap::Args;
use model::Venue;
use serde_json::{Value, json};
use std::{collections::btree_map, io::BufRead, path::PathBuf, process::ExitCode};
use wire::Envelope;

/// Exit status 0 when every row that could be compared is equal, 1 when some are not, 2 when none could be compared.
#[derive(Args)]
pub struct RebuildArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    interval: Interval,
    /// Compare with what the feed left in the rings of this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "against", required_unless_present = "against")]
    rings: Option<PathBuf>,
    /// Compare with records as JSON lines, such as `capture replay` or `tap` prints.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Differences shown.
    #[arg(long, value_name = "N", default_value_t = 100)]
    details: usize,
    /// Print JSON: one object a difference, then one with the counts.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &RebuildArgs, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<ExitCode> {
    let place = args.place.place(folder)?;
    let bounds = args.interval.bounds();
    let files = files(&place, bounds)?;
    let run = files.first().map(|file| capture::run_of(file)).transpose()?.flatten();
    let venue = run.and_then(|run| run.venue()).context("the capture does not say of which venue it is")?;
    let mut reference: Box<dyn Reference> = match (&args.rings, &args.against) {
        (Some(rings), _) => Box::new(RingRows(ring_rows(&ring::Directory::open(rings)?, venue)?.into_iter())),
        (None, Some(path)) => {
            Box::new(LineRows { lines: recorded::open(path)?, venue, text: String::new(), number: 0 })
        }
        (None, None) => bail!("say what to compare with: --rings or --against"),
    };
    let mut player = Player::new(Reader::of_files(files)?);
    let mut shown = 0;
    let result = capture::rebuild(&mut player, bounds, &mut *reference, |difference| {
        shown += 1;
        if shown <= args.details {
            print(&difference, args.json);
        }
    })?;
    if args.json {
        println!(
            "{}",
            json!({
                "rows": result.rows, "equal": result.equal, "changed": result.changed, "added": result.added,
                "missing": result.missing, "beyond": result.beyond, "holes": result.holes, "headless": result.headless,
            })
        );
    } else {
        if shown > args.details {
            println!("and {} more", shown - args.details);
        }
        println!(
            "{} rows rebuilt: {} equal, {} changed, {} that were not kept, {} kept that are not rebuilt, {} from before \
             what was kept; {} holes in the capture, {} runs without a beginning",
            result.rows,
            result.equal,
            result.changed,
            result.added,
            result.missing,
            result.beyond,
            result.holes,
            result.headless
        );
    }
    if result.equal + result.changed + result.added + result.missing == 0 {
        bail!("nothing could be compared: the reference holds no row of the interval");
    }
    Ok(ExitCode::from(u8::from(!result.agrees())))
}

fn print(difference: &Difference, as_json: bool) {
    let Difference { at, rebuilt, kept } = difference;
    if as_json {
        println!("{}", json!({"epoch": at.epoch, "seq": at.sequence, "kept": kept, "rebuilt": rebuilt}));
        return;
    }
    let row = format!("epoch {} sequence {}", at.epoch, at.sequence);
    match (kept, rebuilt) {
        (Some(kept), None) => println!("{row}: is not rebuilt; kept {kept}"),
        (None, Some(rebuilt)) => println!("{row}: was not kept; rebuilt {rebuilt}"),
        (Some(kept), Some(rebuilt)) => {
            let kind = kept["type"].as_str().unwrap_or("record");
            let symbol = kept["symbol"].as_str().unwrap_or_default();
            let fields: Vec<String> =
                difference.fields().iter().map(|(name, kept, rebuilt)| format!("{name} {kept} -> {rebuilt}")).collect();
            let text = if fields.is_empty() { format!("{kept} -> {rebuilt}") } else { fields.join(", ") };
            println!("{row}: {kind} {symbol}: {text}");
        }
        (None, None) => println!("{row}: differs"),
    }
}

/// What a ring holds.
struct RingRows(btree_map::IntoIter<Envelope, Vec<u64>>);

impl Reference for RingRows {
    fn next(&mut self) -> Result<Option<(Envelope, Row)>, ReferenceError> {
        Ok(self.0.next().map(|(at, words)| (at, Row::Record(words))))
    }
}

/// Records as JSON lines; those of other venues are passed over.
struct LineRows {
    lines: Box<dyn BufRead>,
    venue: Venue,
    text: String,
    number: u64,
}

impl LineRows {
    fn row(&mut self) -> anyhow::Result<Option<(Envelope, Row)>> {
        loop {
            self.text.clear();
            self.number += 1;
            if self.lines.read_line(&mut self.text)? == 0 {
                return Ok(None);
            }
            let line: Value = serde_json::from_str(&self.text).with_context(|| format!("line {}", self.number))?;
            if line["venue"] != self.venue.name() {
                continue;
            }
            let number =
                |name: &str| line[name].as_u64().with_context(|| format!("line {} has no {name}", self.number));
            let at = Envelope { epoch: number("epoch")?, sequence: number("seq")? };
            return Ok(Some((at, Row::Line(line))));
        }
    }
}

impl Reference for LineRows {
    fn next(&mut self) -> Result<Option<(Envelope, Row)>, ReferenceError> {
        self.row().map_err(|e| ReferenceError(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rows_of_their_venue() {
        let text = "{\"venue\":\"kraken\",\"epoch\":1,\"seq\":2}\n{\"venue\":\"binance\",\"epoch\":9,\"seq\":9}\n{\"venue\":\"kraken\",\"epoch\":1}\n";
        let mut rows = LineRows {
            lines: Box::new(std::io::Cursor::new(text)),
            venue: Venue::Kraken,
            text: String::new(),
            number: 0,
        };
        let row = rows.next().expect("a row").expect("one");
        assert_eq!(row.0, Envelope { epoch: 1, sequence: 2 });
        let error = rows.next().expect_err("no sequence").to_string();
        assert!(error.contains("line 3 has no seq"), "{error}");
    }
}
