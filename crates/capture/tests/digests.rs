//! Committed captures of every venue tell the very records they told when they were made, in every build: the digests of
//! the records are committed beside them. After a change of a decoder that is meant,
//! `UPDATE_GOLDEN=1 cargo test -p capture --test digests` writes them anew, and the diff is reviewed.

use capture::{Played, Player, verify};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/capture")
}

/// The captures, by name.
fn captures() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the fixtures").flatten().map(|e| e.path());
    let mut captures: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "zst")).collect();
    captures.sort();
    captures
}

/// What a capture tells: how many records, and the SHA-256 of their names and words.
fn told(path: &Path) -> (u64, String) {
    let mut player = Player::open(path).expect("a capture");
    let (mut hash, mut records) = (Sha256::new(), 0);
    while let Some(played) = player.next().expect("sound") {
        match played {
            Played::Step(step) => {
                for (at, words) in step.records() {
                    records += 1;
                    hash.update(at.epoch.to_le_bytes());
                    hash.update(at.sequence.to_le_bytes());
                    words.iter().for_each(|word| hash.update(word.to_le_bytes()));
                }
            }
            Played::Run { whole, .. } => assert!(whole),
            Played::Lost(_) | Played::Damaged(_) => panic!("{}: something is missing", path.display()),
        }
    }
    assert!(player.is_exact());
    (
        records,
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a text takes everything");
            text
        }),
    )
}

#[test]
fn committed_captures_tell_the_very_records_they_told() {
    let mut table = String::new();
    for path in captures() {
        let (records, digest) = told(&path);
        assert!(records > 50, "{}: {records}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        writeln!(table, "{name}\t{records}\t{digest}").expect("a text takes everything");
    }
    assert_eq!(table.lines().count(), 4, "a capture of each venue");
    let file = folder().join("digests.tsv");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &table).expect("written");
    }
    assert_eq!(table, fs::read_to_string(&file).expect("the digests"));
}

#[test]
fn a_replay_is_the_same_plain_and_compressed_and_time_after_time() {
    let other = tempfile::tempdir().expect("a folder");
    for path in captures() {
        assert!(verify(&path).expect("readable").is_sound());
        let plain = other.path().join("20250113_02.wslog");
        capture::unpack(&path, &mut fs::File::create(&plain).expect("a file")).expect("zstd reads it");
        assert_eq!(told(&path), told(&plain));
        assert_eq!(told(&path), told(&path));
    }
}

/// What a step wants done is as much a part of a session as what it tells: frames and requests are those captured.
#[test]
fn a_session_made_anew_says_what_the_captured_one_said() {
    for path in captures() {
        let mut asked = 0;
        let mut player = Player::open(&path).expect("a capture");
        while let Some(played) = player.next().expect("sound") {
            if let Played::Step(step) = played {
                asked += step.out.frames.len() + step.out.requests.len();
            }
        }
        let mut reader = capture::Reader::open(&path).expect("a capture");
        let mut sent = 0;
        while let Some(item) = reader.next().expect("readable") {
            if let capture::Item::Entry(entry) = item {
                sent += usize::from(entry.head.direction == capture::Direction::Out);
            }
        }
        assert_eq!(asked, sent, "{}", path.display());
        assert!(sent > 0);
    }
}
