//! Keeps the feed's thread on one processor, and the threads it starts off it.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{io, sync::OnceLock};

/// What this process may run on, as it was before a thread was pinned.
static ALLOWED: OnceLock<CpuSet> = OnceLock::new();

/// A processor that a thread cannot be kept on.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// It is not there, or not for us.
    #[error("processor {cpu} is not among those this process may use: {allowed}; set cpu to one of them")]
    NotAllowed {
        /// As configured.
        cpu: usize,
        /// What there is.
        allowed: String,
    },
    /// The kernel refuses.
    #[error("the operating system does not keep a thread on processor {cpu}: {source}")]
    System {
        /// As configured.
        cpu: usize,
        /// Why not.
        source: io::Error,
    },
}

/// The processors this process may run on, counted from 0.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = match ALLOWED.get() {
        Some(set) => *set,
        None => sched_getaffinity(None)?,
    };
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Whether a thread could be kept on a processor.
pub fn check(cpu: usize) -> Result<(), CpuError> {
    let allowed = allowed().map_err(|source| CpuError::System { cpu, source })?;
    if allowed.contains(&cpu) {
        return Ok(());
    }
    let names: Vec<String> = allowed.iter().map(usize::to_string).collect();
    Err(CpuError::NotAllowed { cpu, allowed: names.join(", ") })
}

/// Keeps the calling thread on a processor.
pub fn pin(cpu: usize) -> Result<(), CpuError> {
    check(cpu)?;
    let failed = |source: rustix::io::Errno| CpuError::System { cpu, source: source.into() };
    let before = sched_getaffinity(None).map_err(failed)?;
    // Only the first pinned thread saw what the process may use.
    let _ = ALLOWED.set(before);
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(failed)
}

/// A thread started by a pinned one runs where the process may: it must not get in the way of the one that is pinned.
pub fn spread() {
    if let Some(set) = ALLOWED.get() {
        // What it may run on was asked of the kernel; should that have changed since, it stays where it is.
        let _ = sched_setaffinity(None, set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_kept_where_it_is_told_and_one_it_starts_is_not() {
        let allowed = allowed().expect("this thread may run somewhere");
        let cpu = *allowed.last().expect("at least one");
        let shown = |set: CpuSet| (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect::<Vec<_>>();
        std::thread::spawn(move || {
            pin(cpu).expect("an allowed processor");
            assert_eq!(shown(sched_getaffinity(None).expect("ours")), [cpu]);
            let child = std::thread::spawn(|| {
                spread();
                sched_getaffinity(None).expect("ours")
            });
            assert_eq!(shown(child.join().expect("it ends")), allowed);
        })
        .join()
        .expect("it ends");
        let error = check(CpuSet::MAX_CPU - 1).expect_err("no machine of ours has so many").to_string();
        assert!(error.contains("set cpu to one of them"), "{error}");
    }
}
