//! `alphapulse capture rebuild`: records derived again from raw captures, held against what was kept, or kept anew.

mod anew;
mod kept;

use super::{Interval, Where, files, replay::ring_rows};
use crate::{config::Config, recorded};
use anyhow::{Context, bail};
use capture::{Difference, Player, Reader, Reference};
use clap::Args;
use kept::{JournalRows, LineRows, RingRows};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};

/// Compares with the configuration's journal unless something else is named. Exit status 0 when every row that could be
/// compared is equal, 1 when some are not, 2 when none could be compared.
#[derive(Args)]
pub struct RebuildArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    interval: Interval,
    /// Compare with what the feed left in the rings of this folder.
    #[arg(long, value_name = "DIR", group = "with")]
    rings: Option<PathBuf>,
    /// Compare with records as JSON lines, such as `capture replay` or `tap` prints.
    #[arg(long, value_name = "FILE", group = "with")]
    against: Option<PathBuf>,
    /// Compare with the journal in this folder.
    #[arg(long, value_name = "DIR", group = "with")]
    journal: Option<PathBuf>,
    /// Compare with nothing: keep the records in a new journal and new Parquet files in this folder.
    #[arg(long, value_name = "DIR", group = "with")]
    to: Option<PathBuf>,
    /// Differences shown.
    #[arg(long, value_name = "N", default_value_t = 100)]
    details: usize,
    /// Print JSON: one object a difference, then one with the counts.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &RebuildArgs, config: impl Fn() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    let place = args.place.place(|| Ok(config()?.capture_folder()))?;
    let bounds = args.interval.bounds();
    let files = files(&place, bounds)?;
    let run = files.first().map(|file| capture::run_of(file)).transpose()?.flatten();
    let run = run.context("the capture does not begin with how its run is set up")?;
    let venue = run.venue().context("the capture is of a venue this build does not know")?;
    if let Some(to) = &args.to {
        let made = anew::keep(&mut Player::new(Reader::of_files(files)?), &run, bounds, to)?;
        match args.json {
            true => println!("{}", json!({"records": made.records, "rows": made.rows, "files": made.files})),
            false => println!(
                "{} records in the journal {}, {} rows in {} Parquet files in {}",
                made.records,
                made.journal.display(),
                made.rows,
                made.files,
                made.parquet.display()
            ),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut reference: Box<dyn Reference> = match (&args.rings, &args.against, &args.journal) {
        (Some(rings), _, _) => Box::new(RingRows(ring_rows(&ring::Directory::open(rings)?, venue)?.into_iter())),
        (_, Some(path), _) => Box::new(LineRows::new(recorded::open(path)?, venue)),
        (_, _, Some(journal)) => Box::new(JournalRows::open(journal, venue)?),
        _ => Box::new(JournalRows::open(&config()?.journal_folder(), venue)?),
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
