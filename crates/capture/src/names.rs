//! The names of a capture's files: `<venue>/YYYYMMDD_HH.wslog`, with `_001` and so on where an hour has several, `.zst`
//! when it is compressed. The hour is the receive time's in UTC.

use crate::CaptureError;
use model::UnixNanos;
use std::path::{Path, PathBuf};

/// Nanoseconds of an hour.
pub(crate) const HOUR_NS: u64 = 3_600_000_000_000;

/// How a plain file ends.
pub(crate) const PLAIN: &str = ".wslog";
/// How a compressed one does.
pub(crate) const PACKED: &str = ".wslog.zst";

/// A file's place among those of its venue: the hour since the epoch, then which of the hour's files it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub hour: u64,
    pub part: u32,
}

impl Place {
    pub fn at(time: UnixNanos) -> Place {
        Place { hour: time.0 / HOUR_NS, part: 0 }
    }

    /// The name without its ending.
    pub fn stem(self) -> String {
        let (year, month, day) = date(self.hour / 24);
        let hour = format!("{year:04}{month:02}{day:02}_{:02}", self.hour % 24);
        if self.part == 0 { hour } else { format!("{hour}_{:03}", self.part) }
    }

    pub fn plain(self) -> String {
        self.stem() + PLAIN
    }

    /// The place a name of a plain or a compressed file stands for.
    pub fn of(name: &str) -> Option<Place> {
        let stem = name.strip_suffix(PACKED).or_else(|| name.strip_suffix(PLAIN))?;
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        let (day, rest) = stem.split_once('_')?;
        if day.len() < 8 {
            return None;
        }
        let (year, month, of_month) = (
            number(&day[..day.len() - 4])?,
            number(&day[day.len() - 4..day.len() - 2])?,
            number(&day[day.len() - 2..])?,
        );
        let (hour, part) = rest.split_once('_').map_or((rest, Some(0)), |(h, p)| (h, number(p)));
        let place = Place { hour: days(year, month, of_month)? * 24 + number(hour)?, part: part?.try_into().ok()? };
        (place.stem() == stem).then_some(place)
    }

    /// The first moment of its hour.
    pub fn begins(self) -> UnixNanos {
        UnixNanos(self.hour * HOUR_NS)
    }
}

/// A time as people read it: RFC 3339 in UTC with nanoseconds.
pub fn utc(time: UnixNanos) -> String {
    let (seconds, ns) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

/// The civil date of a day since the epoch (Hinnant's algorithm).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The day since the epoch of a civil date.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || day == 0 || year < 1970 {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)
}

/// The capture files of a venue's folder, oldest first. Where a file is there plain and compressed (a crash came
/// between), the compressed one counts: it was checked before it got its name.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let mut found: Vec<(Place, bool, PathBuf)> = vec![];
    for entry in std::fs::read_dir(folder).map_err(CaptureError::io(folder))? {
        let entry = entry.map_err(CaptureError::io(folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(place) = Place::of(name) {
            found.push((place, name.ends_with(PLAIN), entry.path()));
        }
    }
    found.sort();
    found.dedup_by_key(|(place, ..)| *place);
    Ok(found.into_iter().map(|(_, _, path)| path).collect())
}

/// The place of a path's file.
pub(crate) fn place(path: &Path) -> Option<Place> {
    Place::of(path.file_name()?.to_str()?)
}

/// The same file under its other name: plain for compressed and the other way round.
pub(crate) fn packed(plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    name.push(".zst");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hours_in_utc_and_lead_back() {
        // 2025-01-13 02:59:59.999999999
        let time = UnixNanos(1_736_737_199_999_999_999);
        assert_eq!(Place::at(time).plain(), "20250113_02.wslog");
        assert_eq!(Place::at(UnixNanos(time.0 + 1)).plain(), "20250113_03.wslog");
        assert_eq!(Place { part: 7, ..Place::at(time) }.plain(), "20250113_02_007.wslog");
        assert_eq!(Place::at(UnixNanos::ZERO).plain(), "19700101_00.wslog");
        assert_eq!(utc(time), "2025-01-13T02:59:59.999999999Z");
        assert_eq!(Place::at(UnixNanos(u64::MAX)).plain(), "25540721_23.wslog");
        for hour in (0..24 * 366 * 60).step_by(7) {
            let place = Place { hour, part: (hour % 2000) as u32 };
            assert_eq!(Place::of(&place.plain()), Some(place));
            assert_eq!(Place::of(&(place.stem() + PACKED)), Some(place));
        }
        for name in [
            "",
            "index.json",
            "20250113_02.wslog.tmp",
            "20250113_24.wslog",
            "20250113.wslog",
            "2025+113_02.wslog",
            "20250113_02_1.wslog",
            "20250230_02.wslog",
        ] {
            assert_eq!(Place::of(name), None, "{name}");
        }
    }

    #[test]
    fn files_are_told_in_order_and_a_compressed_one_stands_for_its_plain_one() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "20250113_03.wslog",
            "20250113_02_001.wslog",
            "20250113_02.wslog.zst",
            "20250113_02.wslog",
            "x",
            "20250113_02_1000.wslog",
            "20250113_02_999.wslog",
        ] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let names: Vec<String> = files(folder.path())
            .expect("files")
            .iter()
            .map(|p| p.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            [
                "20250113_02.wslog.zst",
                "20250113_02_001.wslog",
                "20250113_02_999.wslog",
                "20250113_02_1000.wslog",
                "20250113_03.wslog"
            ]
        );
    }
}
