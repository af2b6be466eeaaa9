//! Asks for an orderly end on SIGTERM and SIGINT.

use anyhow::Context;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Calls `stop` once when the process is asked to end. A second request ends it at once.
pub fn on_end(stop: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut waiting = signals.forever();
            if waiting.next().is_some() {
                stop();
            }
            if waiting.next().is_some() {
                eprintln!("alphapulse: asked twice to end; ending at once");
                std::process::exit(130);
            }
        })
        .context("a thread for signals cannot be had")?;
    Ok(())
}

/// Ends this process when its parent dies, so that a killed supervisor leaves no orphans. Only for children of `up`.
pub fn die_with_parent() {
    if std::env::var_os(CHILD_ENV).is_some() {
        // Refused only on kernels without the call; then an orphan must be ended by hand.
        if let Err(e) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM)) {
            tracing::warn!("this process will outlive a killed supervisor: {e}");
        }
    }
}

/// Set by the supervisor in its children's environment.
pub const CHILD_ENV: &str = "AP_CHILD_OF_UP";
