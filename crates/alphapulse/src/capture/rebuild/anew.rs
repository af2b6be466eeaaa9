//! Records derived again from raw captures, kept in a journal and Parquet files of their own: what a recorder would have
//! made of them.

use anyhow::bail;
use capture::{Played, Player, Run};
use journal::{Options, Writer};
use model::UnixNanos;
use recorder::{ParquetOptions, parquet};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use telemetry::clock;

/// Bytes that are written at once.
const PIECE_BYTES: usize = 4 << 20;
/// As the configuration has it by default.
const ZSTD_LEVEL: i32 = 3;
/// The journal of a recording that no feed made is of this site.
const IMPORTED: &str = "imported";

/// What was made.
pub struct Made {
    /// The journal's folder.
    pub journal: PathBuf,
    /// The Parquet files' folder.
    pub parquet: PathBuf,
    /// Records in the journal.
    pub records: u64,
    /// Rows in the Parquet files.
    pub rows: u64,
    /// Those files.
    pub files: u64,
}

/// Keeps the records received in an interval under `to`, where no journal is yet.
pub fn keep(player: &mut Player, run: &Run, (from, until): (UnixNanos, UnixNanos), to: &Path) -> anyhow::Result<Made> {
    let (journal, files) = (to.join("journal"), to.join("parquet"));
    let site = if run.site.is_empty() { IMPORTED } else { &run.site };
    let now = || UnixNanos(clock::wall_ns());
    let (mut writer, recovered) = Writer::open(&journal, Options::default(), site, now())?;
    if !recovered.fresh {
        bail!("{} holds a journal already; name an empty folder", journal.display());
    }
    let mut records = 0;
    while let Some(played) = player.next()? {
        match played {
            Played::Step(step) if from <= step.time && step.time < until => {
                let Some(venue) = run.venue() else { continue };
                records += step.out.records.iter().count() as u64;
                writer.append(venue, step.epoch, step.time, step.records().map(|(at, words)| (at.sequence, words)))?;
                if writer.pending_bytes() > PIECE_BYTES {
                    writer.write(now())?;
                }
            }
            Played::Step(_) | Played::Run { .. } => {}
            Played::Lost(lost) => {
                bail!("{} entries of the capture are lost: what follows would have wrong names", lost.entries)
            }
            Played::Damaged(damage) if damage.cut => {}
            Played::Damaged(damage) => bail!("bytes {} to {} of the capture are damaged", damage.from, damage.to),
        }
    }
    writer.close(now())?;
    let options = ParquetOptions {
        folder: files.clone(),
        journal: journal.clone(),
        site: site.to_owned(),
        part: Duration::from_secs(3600),
        zstd_level: ZSTD_LEVEL,
    };
    let stats = parquet::make(&options)?;
    Ok(Made { journal, parquet: files, records, rows: stats.rows, files: stats.files })
}
