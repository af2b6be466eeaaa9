//! `alphapulse capture ls` and `verify`: what there is, and whether it is sound.

use super::Where;
use capture::{FileInfo, Index};
use clap::Args;
use model::UnixNanos;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Compressed files are told by the index beside them, plain ones are read through.
#[derive(Args)]
pub struct LsArgs {
    #[command(flatten)]
    place: Where,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A file that a killed writer left half is a finding too, unless somebody writes it still.
#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    place: Where,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists files.
pub fn ls(args: &LsArgs, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut listed = vec![];
    for place in args.place.places(folder)? {
        let paths = if place.is_dir() { capture::files(&place)? } else { vec![place.clone()] };
        let index = place.is_dir().then(|| Index::read(&place, "")).unwrap_or_default();
        for path in paths {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let info = index.file(&name).cloned().map_or_else(|| capture::file_info(&path), Ok)?;
            listed.push((path, info));
        }
    }
    if args.json {
        let files: Vec<_> = listed.iter().map(|(path, info)| json(path, info)).collect();
        println!("{}", serde_json::to_string(&files)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<29} {:<29} {:>10} {:>10} {:>8} {:>8} {:>13} {:>13}  file",
        "first", "last", "entries", "frames in", "out", "lost", "bytes", "stored"
    );
    for (path, i) in &listed {
        println!(
            "{:<29} {:<29} {:>10} {:>10} {:>8} {:>8} {:>13} {:>13}  {}",
            time(i.first),
            time(i.last),
            i.entries,
            i.frames_in,
            i.frames_out,
            i.lost,
            i.bytes,
            i.stored_bytes,
            path.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn time(ns: u64) -> String {
    // Milliseconds are enough to find one's way.
    let text = capture::utc(UnixNanos(ns));
    format!("{}Z", &text[..text.len() - 7])
}

fn json(path: &Path, info: &FileInfo) -> serde_json::Value {
    let mut value = serde_json::to_value(info).expect("its fields are plain JSON");
    value["path"] = path.display().to_string().into();
    value
}

/// Checks files.
pub fn verify(args: &VerifyArgs, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<ExitCode> {
    let (mut files, mut problems) = (vec![], vec![]);
    for place in args.place.places(folder)? {
        let verified = capture::verify(&place)?;
        let parent = if place.is_dir() { place.clone() } else { place.with_file_name("") };
        files.extend(verified.files.iter().map(|info| (parent.join(&info.name), info.clone())));
        problems.extend(verified.problems);
    }
    let sum = |field: fn(&FileInfo) -> u64| files.iter().map(|(_, info)| field(info)).sum::<u64>();
    let (entries, bytes, lost) = (sum(|i| i.entries), sum(|i| i.bytes), sum(|i| i.lost));
    if args.json {
        let report = serde_json::json!({
            "files": files.iter().map(|(path, info)| json(path, info)).collect::<Vec<_>>(),
            "entries": entries, "bytes": bytes, "lost": lost, "problems": problems,
        });
        println!("{report}");
    } else {
        problems.iter().for_each(|problem| println!("{problem}"));
        println!(
            "{} files, {entries} entries, {bytes} bytes checked, {lost} entries told as lost, {} problems",
            files.len(),
            problems.len()
        );
    }
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}
