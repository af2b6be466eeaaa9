//! Where and when a run was made, and on which core a thread runs.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a figure is worth nothing without.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Load averages at the start: others' work moves every figure.
    pub load: String,
    /// The commit measured, marked when the tree differs from it.
    pub commit: String,
    /// The command.
    pub command: String,
    /// When, UTC.
    pub date: String,
}

impl Machine {
    /// Looks.
    pub fn here() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        let mut command: Vec<String> = std::env::args().collect();
        if let Some(first) = command.first_mut() {
            *first = first.rsplit('/').next().unwrap_or_default().to_owned();
        }
        Machine {
            cpu: model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned()),
            cores: cores(),
            kernel: read("/proc/sys/kernel/osrelease"),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            commit: commit(),
            command: command.join(" "),
            date: utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        }
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{commit} with local changes"),
        _ => commit,
    }
}

/// `2026-01-31 17:05 UTC`, by Hinnant's conversion of days to a civil date.
fn utc(unix_seconds: u64) -> String {
    let (days, seconds) = ((unix_seconds / 86_400) as i64, unix_seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60)
}

/// Keeps the calling thread, and those it starts from now on, on one core, when there is such a core.
pub fn pin(core: usize) {
    if core < cores() {
        run_on(core..core + 1);
    }
}

/// Lets the calling thread run on every core: threads inherit the place of the one that starts them.
pub fn unpin() {
    run_on(0..cores());
}

/// Cores of the machine, whatever this thread may use of them.
fn cores() -> usize {
    // SAFETY: asks for a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1)
}

fn run_on(cores: std::ops::Range<usize>) {
    // SAFETY: an all-zero `cpu_set_t` is the empty set, the setter writes inside it for every core Linux can number
    // here, and the kernel only reads it. Failure leaves the thread where it is: a worse measurement and no error.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in cores {
            libc::CPU_SET(core, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_735_689_600), "2025-01-01 00:00 UTC");
    }
}
