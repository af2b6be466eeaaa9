//! The journal beside the least that could make records durable: a loop of pwrite and fdatasync into a file that was
//! written full of zeros before.
//!
//! One bare group, one of ours, one bare: what the disk does to one it does to the other. Both write the same
//! records; ours adds envelope, checksum, chain, the watermark page twice, checkpoints, and new segments made beside
//! it. The scan is compared with reading the same files and summing them up, which is the least a scan must do.

use crate::{BenchError, Goal, Options, Pairs, Report, Row, Spread};
use ::journal::{Level, Options as Kept, Writer, verify};
use model::{UnixNanos, Venue};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Words of a trade record.
const WORDS: usize = 6;
const RECORD_BYTES: usize = WORDS * 8;
/// Records per sync.
const GROUPS: [usize; 3] = [1, 64, 1024];
/// Syncs per half of a pair.
const SYNCS: usize = 100;
/// The bare loop's file, written over again and again.
const FILE_BYTES: u64 = 64 << 20;
/// The journal that is scanned.
const SCANNED_BYTES: u64 = 256 << 20;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<(), BenchError> {
    let folder = Folder::new()?;
    for group in GROUPS {
        commits(options, &folder.0, group, report)?;
    }
    scan(options, &folder.0, report)?;
    report.note(
        "Bare: pwrite + fdatasync into a file written full of zeros before. Ours: append, write (survives a process), \
         watermark, sync (survives power loss), watermark; tails are of single commits, interleaved one by one.",
    );
    Ok(())
}

/// A folder on the disk, gone when measured.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, BenchError> {
        let path = std::env::temp_dir().join(format!("alphapulse-bench-journal-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(BenchError::system("make a folder for the journal"))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Bare {
    file: File,
    at: u64,
    bytes: Vec<u8>,
}

impl Bare {
    fn new(folder: &Path, group: usize) -> Result<Bare, BenchError> {
        let path = folder.join("bare");
        let mut open = File::options();
        let file = open.read(true).write(true).create(true).truncate(true).open(path);
        let file = file.map_err(BenchError::system("create the bare file"))?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).map_err(BenchError::system("fill the bare file"))?;
        }
        file.sync_all().map_err(BenchError::system("sync the bare file"))?;
        Ok(Bare { file, at: 0, bytes: vec![0x5a; group * RECORD_BYTES] })
    }

    fn commit(&mut self) -> Result<(), BenchError> {
        if self.at + self.bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.bytes, self.at).map_err(BenchError::system("write the bare file"))?;
        self.at += self.bytes.len() as u64;
        self.file.sync_data().map_err(BenchError::system("sync the bare file"))
    }
}

/// The journal's side: groups of records of one venue.
struct Ours {
    writer: Writer,
    sequence: u64,
    records: Vec<[u64; WORDS]>,
    started: Instant,
}

impl Ours {
    fn open(folder: &Path, name: &str, kept: Kept, group: usize) -> Result<Ours, BenchError> {
        let (writer, _) = Writer::open(&folder.join(name), kept, "bench", UnixNanos(1))?;
        let mut record = [0x5a5a_5a5a_5a5a_5a5a; WORDS];
        // A trade's type and length, so that readers can walk it.
        record[0] = 1 | (WORDS as u64) << 8;
        Ok(Ours { writer, sequence: 1, records: vec![record; group], started: Instant::now() })
    }

    fn append(&mut self) -> Result<UnixNanos, BenchError> {
        let now = UnixNanos(self.started.elapsed().as_nanos() as u64 + 1);
        let records = (self.sequence..).zip(self.records.iter().map(|record| &record[..]));
        self.writer.append(Venue::Kraken, 1, now, records)?;
        self.sequence += self.records.len() as u64;
        Ok(now)
    }

    fn commit(&mut self) -> Result<(), BenchError> {
        let now = self.append()?;
        self.writer.write(now)?;
        self.writer.sync(now)?;
        Ok(())
    }
}

fn timed(f: impl FnOnce() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed().as_nanos() as f64)
}

fn commits(options: &Options, folder: &Path, group: usize, report: &mut Report) -> Result<(), BenchError> {
    let kept = Kept { retain_bytes: Some(128 << 20), ..Kept::default() };
    let mut bare = Bare::new(folder, group)?;
    let mut ours = Ours::open(folder, &format!("journal-{group}"), kept, group)?;
    let (mut theirs_all, mut ours_all) = (vec![], vec![]);
    let mut pairs = Pairs::default();
    for pair in 0..=options.pairs.max(1) {
        let (mut theirs_sum, mut ours_sum) = (0.0, 0.0);
        let syncs = options.effort.of(SYNCS);
        for _ in 0..syncs {
            let theirs = timed(|| bare.commit())?;
            let own = timed(|| ours.commit())?;
            theirs_sum += theirs;
            ours_sum += own;
            if pair > 0 {
                theirs_all.push(theirs);
                ours_all.push(own);
            }
        }
        ours.writer.retain(UnixNanos(1))?;
        if pair > 0 {
            pairs.push(theirs_sum / syncs as f64 / 1000.0, ours_sum / syncs as f64 / 1000.0);
        }
    }
    let name = format!("{group} records per sync");
    report.row(Row::speed(name.clone(), "bare", &pairs, "µs/commit").goal(Goal::AtLeast(0.8)));
    report.note(format!("{name}: bare {}; ours {}", tail(&mut theirs_all), tail(&mut ours_all)));
    Ok(())
}

fn tail(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] / 1000.0;
    format!("p50 {:.0} µs, p90 {:.0}, p99 {:.0}, max {:.0}", at(0.5), at(0.9), at(0.99), at(1.0))
}

/// Everything read back and checked, as recovery and the scrub do.
fn scan(options: &Options, folder: &Path, report: &mut Report) -> Result<(), BenchError> {
    let bytes = options.effort.of(SCANNED_BYTES as usize) as u64;
    let kept = Kept { checkpoint_bytes: u64::MAX, ..Kept::default() };
    let mut ours = Ours::open(folder, "scanned", kept.clone(), 128)?;
    let mut written = 0;
    while written < bytes {
        for _ in 0..64 {
            ours.append()?;
            written += (ours.records.len() * RECORD_BYTES) as u64;
        }
        ours.writer.write(UnixNanos(1))?;
    }
    ours.writer.sync(UnixNanos(1))?;
    drop(ours);
    let folder = folder.join("scanned");
    let checked = verify(&folder, Level::Synced)?;
    let gigabytes = checked.bytes as f64 / 1e9;
    let mut figures = vec![];
    let pairs = Pairs::measure(
        options.pairs.min(5),
        || timed(|| sum_up(&folder)).map(|ns| ns / gigabytes / 1e6),
        || {
            let ns = timed(|| Ok(verify(&folder, Level::Synced).map(drop)?))?;
            figures.push(checked.bytes as f64 / ns);
            Ok(ns / gigabytes / 1e6)
        },
    )?;
    report.row(Row::speed("scan", "read and sum up", &pairs, "ms/GB"));
    report.row(Row::figure("scan", Spread::of(&figures[1..]), "GB/s").goal(Goal::AtLeast(1.0)));
    let start = Instant::now();
    let (_, recovered) = Writer::open(&folder, kept, "bench", UnixNanos(2))?;
    let seconds = start.elapsed().as_secs_f64();
    report.note(format!(
        "A start after a kill that had no checkpoint to go by (the default puts one down every 8 MiB) looked at {} batches, \
         {:.0} MB, and secured the end in {seconds:.3} s.",
        recovered.scanned_batches,
        recovered.scanned_bytes as f64 / 1e6,
    ));
    Ok(())
}

fn sum_up(folder: &Path) -> Result<(), BenchError> {
    let mut block = vec![0; 1 << 20];
    let mut sum = 0;
    let entries = fs::read_dir(folder).map_err(BenchError::system("list the journal"))?;
    for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "seg")) {
        let file = File::open(entry.path()).map_err(BenchError::system("open a segment"))?;
        let mut at = 0;
        loop {
            let read = file.read_at(&mut block, at).map_err(BenchError::system("read a segment"))?;
            if read == 0 {
                break;
            }
            sum = crc32c::crc32c_append(sum, &block[..read]);
            at += read as u64;
        }
    }
    std::hint::black_box(sum);
    Ok(())
}
