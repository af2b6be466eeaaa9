//! Logs for people or for machines, on standard error.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A line a person reads.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// The filter is no filter.
#[derive(Debug, thiserror::Error)]
#[error("log level {level:?} is not understood: {problem}; use error, warn, info, debug or trace")]
pub struct BadLevel {
    level: String,
    problem: String,
}

/// Starts logging. Call once, first thing; later calls change nothing.
pub fn init(format: Format, level: &str) -> Result<(), BadLevel> {
    let filter = EnvFilter::try_new(level).map_err(|e| BadLevel { level: level.to_owned(), problem: e.to_string() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        Format::Human => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false)).try_init()
        }
        Format::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init(),
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    Ok(())
}
