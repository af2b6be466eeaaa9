//! Recordings go in as raw captures and come out byte for byte, plain and compressed; a replay of them tells what
//! `decode` tells of the recordings.

mod common;

use capture::{Keep, keep_house};
use common::{data, program};
use flate2::read::MultiGzDecoder;
use model::{UnixNanos, Venue};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// A file's content, unpacked.
fn content(path: &Path) -> Vec<u8> {
    let mut bytes = vec![];
    let mut file = File::open(path).expect("a file");
    let read = match path.extension().is_some_and(|e| e == "gz") {
        true => MultiGzDecoder::new(file).read_to_end(&mut bytes),
        false => file.read_to_end(&mut bytes),
    };
    read.expect("readable");
    bytes
}

fn output(args: &[&str], paths: &[&Path]) -> Vec<u8> {
    let out = program().args(args).args(paths).output().expect("the program runs");
    assert!(out.status.success(), "{args:?} {paths:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Imports a file into a folder of its own; the capture files.
fn import(path: &Path, venue: Venue, raw: bool, to: &Path) -> Vec<PathBuf> {
    let to = to.to_str().expect("a path of text");
    let mut args = vec!["capture", "import", "--json", "--venue", venue.name(), "--to", to];
    args.extend(raw.then_some("--raw"));
    let told: serde_json::Value = serde_json::from_slice(&output(&args, &[path])).expect("JSON");
    told["captures"].as_array().expect("a list").iter().map(|p| p.as_str().expect("a text").into()).collect()
}

/// Whether a recording is one of frames: those are played, all else is only kept.
fn is_of_frames(path: &Path) -> bool {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    stem.ends_with(".jsonl") && !stem.contains(".rest") && !stem.contains("snapshot") && !stem.contains("rest_")
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (vec![], vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("a folder").flatten().map(|e| e.path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

#[test]
fn every_recorded_file_comes_out_byte_for_byte() {
    let Some(data) = data("every_recorded_file_comes_out_byte_for_byte") else { return };
    let (mut played, mut kept) = (0, 0);
    for venue in Venue::ALL {
        let folder = data.join("venues").join(venue.name());
        if !folder.is_dir() {
            continue;
        }
        for path in all_files(&folder) {
            let to = tempfile::tempdir().expect("a folder");
            let frames = is_of_frames(&path) && told(&path, venue).is_some();
            let captures = import(&path, venue, !frames, to.path());
            let expected = content(&path);
            let place = to.path().join(venue.name());
            assert!(output(&["capture", "cat", "--raw"], &[&place]) == expected, "{} comes out", path.display());
            assert!(!captures.is_empty());
            keep_house(&place, venue, Keep::default(), 3, UnixNanos(1)).expect("kept");
            assert!(output(&["capture", "cat", "--raw"], &[&place]) == expected, "{} comes out", path.display());
            output(&["capture", "verify"], &[&place]);
            played += usize::from(frames);
            kept += usize::from(!frames);
        }
    }
    println!("{played} recordings of frames, {kept} other files");
    assert!(played > 20 && kept > 10, "{played} {kept}");
}

/// What `decode` tells of a recording; `None` where it tells nothing or cannot read it all.
fn told(path: &Path, venue: Venue) -> Option<Vec<u8>> {
    let out = program().args(["decode", "--venue", venue.name()]).arg(path).output().expect("the program runs");
    (out.status.success() && !out.stdout.is_empty()).then_some(out.stdout)
}

#[test]
fn an_imported_recording_replays_to_what_decode_tells() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    for (venue, case) in [
        (Venue::Kraken, "kraken/first_light"),
        (Venue::Coinbase, "coinbase_exchange/first_light"),
        (Venue::Alpaca, "alpaca/coins"),
    ] {
        let frames = root.join(case).join("frames.jsonl");
        let to = tempfile::tempdir().expect("a folder");
        import(&frames, venue, false, to.path());
        let replayed = output(&["capture", "replay"], &[to.path()]);
        let decoded =
            program().args(["decode", "--venue", venue.name()]).arg(&frames).output().expect("it runs").stdout;
        assert!(!decoded.is_empty(), "{case}");
        let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&replayed), lines(&decoded), "{case}");
    }
}

#[test]
fn lines_of_any_kind_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().expect("a folder");
    for (n, text) in ["", "\n", "a", "a\n\n\nb\r\n", "\n\nx", "{}\n\u{0}\n"].iter().enumerate() {
        let path = folder.path().join(format!("{n}.jsonl"));
        fs::write(&path, text).expect("written");
        let to = folder.path().join(format!("captures-{n}"));
        import(&path, Venue::Kraken, true, &to);
        assert_eq!(output(&["capture", "cat", "--raw"], &[&to]), text.as_bytes(), "{text:?}");
    }
}
