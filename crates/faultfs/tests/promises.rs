//! Each promise of the file system, kept through the kernel: real calls on a real mount, by this and other processes.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use faultfs::{Cut, FaultFs, Slow, Unit};

/// Where a child process of these tests works.
const FOLDER: &str = "ALPHAPULSE_TEST_FAULTFS";

fn create(path: &Path, bytes: &[u8]) -> File {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn sync_folder(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn code(result: std::io::Result<impl Sized>) -> i32 {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.raw_os_error().unwrap(),
    }
}

#[test]
fn files_and_folders_work_as_anywhere() {
    let Some(fs) = FaultFs::mount_or_skip("files_and_folders_work_as_anywhere") else { return };
    let folder = fs.path().join("a/b");
    fs::create_dir_all(&folder).unwrap();
    let mut file = create(&folder.join("f"), b"hello");
    file.write_all_at(b"world", 7).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"hello\0\0world");
    file.set_len(3).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3);

    let mut end = OpenOptions::new().append(true).open(folder.join("f")).unwrap();
    end.write_all(b"p me").unwrap();
    assert_eq!(fs::read(folder.join("f")).unwrap(), b"help me");

    fs::rename(folder.join("f"), fs.path().join("g")).unwrap();
    fs::hard_link(fs.path().join("g"), folder.join("h")).unwrap();
    assert_eq!(fs::read(folder.join("h")).unwrap(), b"help me");
    let mut names: Vec<_> = fs::read_dir(fs.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "g"]);
    assert_eq!(code(fs::remove_dir(&folder)), libc::ENOTEMPTY);
    fs::remove_file(folder.join("h")).unwrap();
    fs::remove_dir_all(fs.path().join("a")).unwrap();

    // An open file outlives its name.
    let open = File::open(fs.path().join("g")).unwrap();
    fs::remove_file(fs.path().join("g")).unwrap();
    let mut bytes = [0; 7];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"help me");

    // Many entries come over more than one answer of the kernel's.
    for at in 0..500 {
        File::create(fs.path().join(format!("a name that is somewhat long {at}"))).unwrap();
    }
    assert_eq!(fs::read_dir(fs.path()).unwrap().count(), 500);
}

#[test]
fn a_large_write_is_whole() {
    let Some(fs) = FaultFs::mount_or_skip("a_large_write_is_whole") else { return };
    let bytes: Vec<u8> = (0..3_000_001u32).map(|at| (at % 251) as u8).collect();
    create(&fs.path().join("f"), &bytes).sync_data().unwrap();
    sync_folder(fs.path());
    fs.control().cut(Cut::Clean);
    assert!(fs::read(fs.path().join("f")).unwrap() == bytes);
}

#[test]
fn a_cut_takes_what_was_not_synced() {
    let Some(fs) = FaultFs::mount_or_skip("a_cut_takes_what_was_not_synced") else { return };
    let path = fs.path().join("f");
    let file = create(&path, b"one");
    file.sync_data().unwrap();
    sync_folder(fs.path());
    file.write_all_at(b"two", 3).unwrap();
    assert!(fs.control().is_dirty("f"));
    assert_eq!(fs.control().on_medium("f").unwrap(), b"one");
    create(&fs.path().join("g"), b"never seen again").sync_all().unwrap();
    assert!(fs.control().on_medium("g").is_none());

    fs.control().cut(Cut::Clean);
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(fs::metadata(fs.path().join("g")).unwrap_err().kind(), ErrorKind::NotFound);
    // The handle from before the cut is dead.
    assert_eq!(code(file.write_all_at(b"x", 0)), libc::EIO);
    assert_eq!(code(file.sync_all()), libc::EIO);
}

#[test]
fn while_the_power_is_off_nothing_works() {
    let Some(fs) = FaultFs::mount_or_skip("while_the_power_is_off_nothing_works") else { return };
    fs.control().power_off(Cut::Clean);
    assert_eq!(code(File::create(fs.path().join("f"))), libc::EIO);
    assert_eq!(code(fs::read_dir(fs.path())), libc::EIO);
    fs.control().power_on();
    File::create(fs.path().join("f")).unwrap();
}

#[test]
fn a_rename_without_a_sync_of_its_folder_is_undone() {
    let Some(fs) = FaultFs::mount_or_skip("a_rename_without_a_sync_of_its_folder_is_undone") else { return };
    let (old, new) = (fs.path().join("f"), fs.path().join("f.tmp"));
    create(&old, b"old").sync_all().unwrap();
    sync_folder(fs.path());
    let replace = || {
        create(&new, b"new").sync_all().unwrap();
        fs::rename(&new, &old).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"new");
    };
    replace();
    fs.control().cut(Cut::Clean);
    assert_eq!(fs::read(&old).unwrap(), b"old");
    replace();
    sync_folder(fs.path());
    fs.control().cut(Cut::Clean);
    assert_eq!(fs::read(&old).unwrap(), b"new");
    assert!(!new.exists());
}

#[test]
fn torn_cuts_keep_some_sectors_and_lose_others() {
    let Some(fs) = FaultFs::mount_or_skip("torn_cuts_keep_some_sectors_and_lose_others") else { return };
    let path = fs.path().join("f");
    create(&path, &[0; 65_536]).sync_all().unwrap();
    sync_folder(fs.path());
    let mut torn = 0;
    for seed in 0..20 {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 65_536], 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[1; 65_536], 0).unwrap();
        drop(file);
        fs.control().cut(Cut::Torn { seed, keep: 50, unit: Unit::Sector });
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        torn += usize::from(bytes.contains(&0) && bytes.contains(&1));
    }
    assert!(torn >= 19, "{torn} of 20 were torn");
}

#[test]
fn a_failed_fsync_lies_afterwards() {
    let Some(fs) = FaultFs::mount_or_skip("a_failed_fsync_lies_afterwards") else { return };
    let path = fs.path().join("f.seg");
    let file = create(&path, &[1; 4096]);
    file.sync_all().unwrap();
    sync_folder(fs.path());
    fs.control().fail_fsync_of(".seg", 1);
    let other = create(&fs.path().join("other"), b"");
    file.write_all_at(&[2; 4096], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[3; 4096], 0).unwrap();
    other.sync_all().unwrap();
    assert_eq!(code(file.sync_data()), libc::EIO);
    file.sync_data().expect("the next one succeeds");
    assert_eq!(fs::read(&path).unwrap(), [3; 4096], "and reads show it");
    assert_eq!(fs.control().on_medium("f.seg").unwrap(), [2; 4096], "and it is not there");
    assert_eq!(fs.control().counts().failed_syncs, 1);
    assert!(fs.control().evict("f.seg"));
    assert_eq!(fs::read(&path).unwrap(), [2; 4096]);
    fs.control().cut(Cut::Clean);
    assert_eq!(fs::read(&path).unwrap(), [2; 4096]);

    fs.control().fail_fsync(0);
    assert_eq!(code(OpenOptions::new().write(true).open(&path).unwrap().sync_all()), libc::EIO);
    fs.control().fail_directory_fsync(0);
    assert_eq!(code(File::open(fs.path()).unwrap().sync_all()), libc::EIO);
    sync_folder(fs.path());
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites_what_is_there() {
    let Some(fs) = FaultFs::mount_or_skip("a_full_disk_takes_what_fits_and_overwrites_what_is_there") else { return };
    let file = create(&fs.path().join("f"), &[1; 1000]);
    fs.control().fill(100);
    assert_eq!(file.write_at(&[2; 4096], 1000).unwrap(), 100, "what fits is written");
    assert_eq!(code(file.write_at(&[2; 10], 1100)), libc::ENOSPC);
    assert_eq!(code(File::create(fs.path().join("g"))), libc::ENOSPC);
    assert_eq!(code(file.set_len(5000)), libc::ENOSPC);
    assert_eq!(file.write_at(&[3; 1100], 0).unwrap(), 1100, "what is there can be overwritten");
    file.sync_all().unwrap();
    assert!(fs.control().counts().refused_for_space >= 4);
    fs.control().make_space();
    file.write_all_at(&[2; 4096], 1100).unwrap();
}

#[test]
fn a_stalled_disk_lets_others_read_and_a_cut_ends_it() {
    let Some(fs) = FaultFs::mount_or_skip("a_stalled_disk_lets_others_read_and_a_cut_ends_it") else { return };
    let path = fs.path().join("f");
    let file = create(&path, b"x");
    fs.control().stall(Slow::Sync, Duration::from_secs(600));
    let waiting = std::thread::spawn(move || file.sync_all());
    for _ in 0..20 {
        assert_eq!(fs::read(&path).unwrap(), b"x", "others read meanwhile");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!waiting.is_finished() && fs.control().counts().syncs == 0);
    fs.control().stall(Slow::Sync, Duration::ZERO);
    waiting.join().unwrap().unwrap();

    let file = create(&fs.path().join("g"), b"x");
    fs.control().stall(Slow::Write, Duration::from_secs(600));
    let waiting = std::thread::spawn(move || file.write_all_at(b"y", 0));
    std::thread::sleep(Duration::from_millis(20));
    assert!(!waiting.is_finished());
    fs.control().cut(Cut::Clean);
    assert_eq!(code(waiting.join().unwrap()), libc::EIO);
}

#[test]
fn a_read_only_disk_refuses_changes_and_serves_reads() {
    let Some(fs) = FaultFs::mount_or_skip("a_read_only_disk_refuses_changes_and_serves_reads") else { return };
    let path = fs.path().join("f");
    let file = create(&path, b"x");
    fs.control().read_only(true);
    assert_eq!(code(file.write_all_at(b"y", 0)), libc::EROFS);
    assert_eq!(code(file.sync_all()), libc::EROFS);
    assert_eq!(code(File::create(fs.path().join("g"))), libc::EROFS);
    assert_eq!(code(fs::create_dir(fs.path().join("d"))), libc::EROFS);
    assert_eq!(code(fs::remove_file(&path)), libc::EROFS);
    assert_eq!(code(fs::rename(&path, fs.path().join("g"))), libc::EROFS);
    assert_eq!(fs::read(&path).unwrap(), b"x");
    fs.control().read_only(false);
    file.write_all_at(b"y", 0).unwrap();
}

#[test]
fn rot_and_bad_reads() {
    let Some(fs) = FaultFs::mount_or_skip("rot_and_bad_reads") else { return };
    let path = fs.path().join("f");
    create(&path, &[0; 8192]).sync_all().unwrap();
    sync_folder(fs.path());
    assert!(fs.control().flip_bit("f", 8 * 5000 + 1));
    assert!(!fs.control().flip_bit("f", 8 * 8192) && !fs.control().flip_bit("none", 0));
    assert_eq!(fs::read(&path).unwrap()[5000], 2);

    assert!(fs.control().fail_reads("f", 4096..4097));
    let file = File::open(&path).unwrap();
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(code(file.read_exact_at(&mut bytes, 4000)), libc::EIO);
    fs.control().heal_reads();
    file.read_exact_at(&mut bytes, 4000).unwrap();
}

#[test]
fn a_lock_holds_until_its_file_is_closed() {
    let Some(fs) = FaultFs::mount_or_skip("a_lock_holds_until_its_file_is_closed") else { return };
    let path = fs.path().join("lock");
    let file = create(&path, b"");
    file.lock().unwrap();
    assert!(matches!(File::open(&path).unwrap().try_lock(), Err(fs::TryLockError::WouldBlock)));
    drop(file);
    File::open(&path).unwrap().try_lock().unwrap();
}

#[test]
fn space_is_reserved_and_counted() {
    let Some(fs) = FaultFs::mount_or_skip("space_is_reserved_and_counted") else { return };
    let file = create(&fs.path().join("f"), b"x");
    let reserved = Command::new("fallocate").args(["-l", "100000"]).arg(fs.path().join("f")).status().unwrap();
    assert!(reserved.success());
    assert_eq!(file.metadata().unwrap().len(), 100_000);
    fs.control().fill(1 << 20);
    let free = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(fs.path()).output().unwrap();
    assert_eq!(String::from_utf8(free.stdout).unwrap().trim(), "256 4096");
}

/// Starts this program again to run the ignored test of that name alone.
fn child(test: &str, path: &Path) -> (Child, impl BufRead) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env(FOLDER, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

/// What a child says next behind that word; `None` at its end. A line cut by a kill is none.
fn next(said: &mut impl BufRead, word: &str) -> Option<String> {
    loop {
        let mut line = String::new();
        if said.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        // The runner's own words may stand before ours.
        if let Some((_, what)) = line.strip_suffix('\n').and_then(|line| line.split_once(word)) {
            return Some(what.trim().to_owned());
        }
    }
}

#[test]
#[ignore = "the writer that another test kills"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let file = create(&folder.join("log"), b"");
    sync_folder(&folder);
    for at in 0u64.. {
        file.write_all_at(&at.to_le_bytes(), at * 8).unwrap();
        if at % 3 == 0 {
            file.sync_data().unwrap();
            println!("synced {at}");
        }
    }
}

#[test]
fn what_a_killed_process_synced_is_there_after_a_cut() {
    let Some(fs) = FaultFs::mount_or_skip("what_a_killed_process_synced_is_there_after_a_cut") else { return };
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..5 {
        let folder = fs.path().join(round.to_string());
        fs::create_dir(&folder).unwrap();
        sync_folder(fs.path());
        let (mut writer, mut said) = child("writer", &folder);
        let mut synced: u64 = 0;
        for _ in 0..random.u32(5..60) {
            synced = next(&mut said, "synced ").unwrap().parse().unwrap();
        }
        fs.control().power_off(Cut::Torn { seed: round, keep: 50, unit: Unit::Page });
        writer.kill().unwrap();
        // What it said before it died was true as well.
        while let Some(at) = next(&mut said, "synced ") {
            synced = at.parse().unwrap();
        }
        assert!(!writer.wait().unwrap().success());
        fs.control().power_on();
        let bytes = fs::read(folder.join("log")).unwrap();
        for at in 0..=synced {
            assert_eq!(bytes[at as usize * 8..][..8], at.to_le_bytes(), "{at} was synced, {synced} the last");
        }
    }
    assert_eq!(fs.control().counts().cuts, 5);
}

fn mounted(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    fs::read_to_string("/proc/self/mounts").unwrap().lines().any(|line| line.split(' ').nth(1) == Some(path))
}

#[test]
#[ignore = "the process with a mount that another test kills"]
fn holder() {
    if std::env::var_os(FOLDER).is_none() {
        return;
    }
    let fs = FaultFs::mount().unwrap();
    println!("mounted {}", fs.path().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn no_mount_stays_behind() {
    let Some(fs) = FaultFs::mount_or_skip("no_mount_stays_behind") else { return };
    let path = fs.path().to_owned();
    // Even with a file open and a call that waits.
    let file = create(&path.join("f"), b"x");
    fs.control().stall(Slow::Sync, Duration::from_secs(600));
    let waiting = std::thread::spawn(move || file.sync_all());
    assert!(mounted(&path));
    drop(fs);
    assert!(!mounted(&path) && !path.exists());
    assert!(waiting.join().unwrap().is_err());

    let panicked = std::thread::spawn(|| {
        let fs = FaultFs::mount().unwrap();
        std::panic::panic_any(fs.path().to_owned());
    });
    let path = *panicked.join().unwrap_err().downcast::<PathBuf>().unwrap();
    assert!(!mounted(&path) && !path.exists());

    let (mut holder, mut said) = child("holder", Path::new("-"));
    let path = PathBuf::from(next(&mut said, "mounted ").expect("it mounts"));
    assert!(mounted(&path));
    holder.kill().unwrap();
    holder.wait().unwrap();
    for _ in 0..1000 {
        if !mounted(&path) && !path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} is still mounted", path.display());
}
