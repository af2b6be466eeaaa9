//! The number of a run: greater than that of every run before, on disk before the first record carries it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The epoch could not be made durable: without it two runs could give two records one name.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}; the feed's epoch is kept there, make the file readable and writable")]
pub struct EpochError {
    path: PathBuf,
    problem: String,
}

/// The next epoch: `max(last + 1, unix seconds, floor)`, made durable in `folder/<name>.epoch` before it is returned.
pub fn next(folder: &Path, name: &str, unix_seconds: u64, floor: u64) -> Result<u64, EpochError> {
    let path = folder.join(format!("{name}.epoch"));
    let failed = |problem: String| EpochError { path: path.clone(), problem };
    fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().map_err(|_| failed(format!("holds {text:?}, not a number")))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(failed(e.to_string())),
    };
    let epoch = unix_seconds.max(last.saturating_add(1)).max(floor);
    persist(folder, &path, epoch).map_err(|e| failed(e.to_string()))?;
    Ok(epoch)
}

fn persist(folder: &Path, path: &Path, epoch: u64) -> io::Result<()> {
    let temporary = path.with_extension("epoch.new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_only_grow_whatever_the_clock_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |seconds, floor| next(folder.path(), "kraken", seconds, floor).expect("an epoch");
        assert_eq!(at(1_700_000_000, 0), 1_700_000_000);
        assert_eq!(at(1_700_000_000, 0), 1_700_000_001);
        assert_eq!(at(5, 0), 1_700_000_002, "the clock went back, the epoch did not");
        assert_eq!(at(5, 1_800_000_000), 1_800_000_000, "nor behind what the ring holds");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("kraken.epoch"), "x").expect("written");
        let error = next(folder.path(), "kraken", 5, 0).expect_err("no number").to_string();
        assert!(error.contains("kraken.epoch") && error.contains("not a number"), "{error}");
    }
}
