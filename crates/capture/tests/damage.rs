//! No flipped bit goes unseen, a cut costs nothing before it, and damage in the middle hides nothing behind it.

mod common;

use capture::{CaptureError, ENTRY_HEAD, FILE_HEAD, Item, Keep, Options, Reader, keep_house};
use common::{TWO, push, read, tap};
use model::{UnixNanos, Venue};
use std::{fs, path::PathBuf, time::Duration};

/// A small file of frames: its path, and where each entry begins.
fn small(folder: &tempfile::TempDir, frames: u64) -> (PathBuf, Vec<u64>) {
    let options = Options { keeps_house: false, ..Options::new(folder.path()) };
    let mut tap = tap(&options, 7, None);
    (0..frames).for_each(|n| push(&mut tap, n, TWO + n));
    assert_eq!(tap.close(Duration::from_secs(60)).lost, 0);
    let path = folder.path().join("kraken/20250113_02.wslog");
    let (mut reader, mut begins) = (Reader::open(&path).expect("a capture"), vec![]);
    while let Some(Item::Entry(entry)) = reader.next().expect("readable") {
        begins.push(entry.offset);
    }
    begins.push(fs::metadata(&path).expect("a file").len());
    (path, begins)
}

#[test]
fn every_flipped_bit_is_detected_and_costs_its_entry_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, begins) = small(&folder, 6);
    let whole = fs::read(&path).expect("the file");
    let sound = read(&path);
    assert_eq!((sound.numbers.len(), sound.damage.len(), sound.others), (6, 0, 1));
    let other = folder.path().join("flipped.wslog");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&other, &bytes).expect("written");
        if bit / 8 < FILE_HEAD {
            let refused = Reader::open(&other).err();
            assert!(matches!(refused, Some(CaptureError::Damaged { offset: 0, .. })), "bit {bit}");
            continue;
        }
        let all = read(&other);
        let entry = begins.iter().rposition(|b| *b as usize <= bit / 8).expect("an entry");
        let last = entry + 2 == begins.len();
        assert_eq!(all.damage, [(begins[entry], begins[entry + 1], last)], "bit {bit}");
        assert_eq!(all.numbers.len() + all.others, sound.numbers.len() + sound.others - 1, "bit {bit}");
        assert!(!capture::verify(&other).expect("readable").is_sound(), "bit {bit}");
    }
}

#[test]
fn a_file_cut_anywhere_tells_all_that_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, begins) = small(&folder, 6);
    let whole = fs::read(&path).expect("the file");
    let cut_folder = folder.path().join("cut");
    fs::create_dir(&cut_folder).expect("a folder");
    let other = cut_folder.join("20250113_02.wslog");
    for cut in FILE_HEAD..whole.len() {
        fs::write(&other, &whole[..cut]).expect("written");
        let all = read(&other);
        let entries = begins.iter().filter(|b| **b as usize <= cut).count() - 1;
        assert_eq!(all.numbers.len() + all.others, entries, "cut at {cut}");
        let torn = cut as u64 - begins[entries];
        let expected = if torn == 0 { vec![] } else { vec![(begins[entries], cut as u64, true)] };
        assert_eq!(all.damage, expected, "cut at {cut}");
        // Compressed, the whole entries are kept and the rest set aside.
        if cut % 37 == 0 && entries > 0 {
            keep_house(&cut_folder, Venue::Kraken, Keep::default(), 3, UnixNanos(TWO)).expect("kept");
            let sealed = cut_folder.join("20250113_02.wslog.zst");
            assert_eq!(read(&sealed).numbers, all.numbers);
            assert_eq!(read(&sealed).damage, []);
            let aside = fs::read(cut_folder.join("20250113_02.wslog.torn")).unwrap_or_default();
            assert_eq!(aside, whole[begins[entries] as usize..cut]);
            fs::read_dir(&cut_folder)
                .expect("a folder")
                .flatten()
                .for_each(|e| fs::remove_file(e.path()).expect("gone"));
        }
    }
}

#[test]
fn damage_that_looks_like_anything_hides_nothing_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, begins) = small(&folder, 200);
    let whole = fs::read(&path).expect("the file");
    let other = folder.path().join("damaged.wslog");
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        let first = random.usize(1..150);
        let entries = random.usize(1..20);
        let (from, to) = (begins[first] as usize, begins[first + entries] as usize);
        let mut bytes = whole.clone();
        match round % 3 {
            // Noise; zeros; the heads of other entries, which say lengths that lead anywhere.
            0 => bytes[from..to].fill_with(|| random.u8(..)),
            1 => bytes[from..to].fill(0),
            _ => {
                let head = whole[from..from + ENTRY_HEAD].to_vec();
                bytes[from..to].iter_mut().zip(head.iter().cycle()).for_each(|(b, h)| *b = *h);
            }
        }
        fs::write(&other, &bytes).expect("written");
        let all = read(&other);
        assert_eq!(all.damage, [(from as u64, to as u64, false)], "round {round}");
        let expected: Vec<u64> = (0..200).filter(|n| !(first..first + entries).contains(&(*n as usize + 1))).collect();
        assert_eq!(all.numbers, expected, "round {round}");
    }
}

#[test]
fn what_a_compressed_file_lost_is_an_error_and_an_index_that_lies_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = small(&folder, 300);
    let venue = path.parent().expect("a folder").to_owned();
    keep_house(&venue, Venue::Kraken, Keep::default(), 3, UnixNanos(TWO)).expect("kept");
    assert_eq!(capture::verify(&venue).expect("readable").problems, Vec::<String>::new());
    let sealed = venue.join("20250113_02.wslog.zst");
    let whole = fs::read(&sealed).expect("the file");
    for at in [20, whole.len() / 2, whole.len() - 30] {
        let mut bytes = whole.clone();
        bytes[at] ^= 8;
        fs::write(&sealed, &bytes).expect("written");
        assert!(!capture::verify(&venue).expect("readable").is_sound(), "byte {at}");
        fs::write(&sealed, &whole[..at]).expect("written");
        assert!(!capture::verify(&venue).expect("readable").is_sound(), "cut at {at}");
    }
    fs::write(&sealed, &whole).expect("written");
    assert!(capture::verify(&venue).expect("readable").is_sound());
    fs::remove_file(&sealed).expect("gone");
    assert!(matches!(capture::verify(&venue), Err(CaptureError::Empty { .. })));
}
