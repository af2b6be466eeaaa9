//! Each hop of the hot path measured beside the least that could do its work, interleaved in one run.
//! part name -> [`run`] -> [`Report`]: medians, paired ratios with their spread, and whether the goal was met.
//!
//! A machine shared with others moves by a factor of two within a minute, so an absolute figure means little and a
//! figure from another day nothing. What is judged is the median of paired ratios: reference, ours, reference, ours.
//! Both sides of a pair do the same work on the same input, and their results are asserted equal before the clock
//! starts. Nothing here fails on a slow machine: goals are printed as met or missed.

mod bare;
pub mod bars;
pub mod books;
mod capture;
pub mod clock;
mod e2e;
mod fanout;
mod fixed_order;
pub mod frames;
mod journal;
pub mod machine;
mod pairs;
mod parse;
pub mod plant;
pub mod random;
mod record;
mod recorded;
mod report;
mod ring;
mod steady;
mod table;
mod typed;
pub mod venue;

pub use crate::ring::deliver_ns;
pub use fixed_order::Arena;
pub use machine::Machine;
pub use pairs::{Pairs, Spread};
pub use parse::{learning_ns, machine_ns};
pub use report::{Goal, Report, Row};

use std::io;
use std::path::PathBuf;

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pairs of reference and ours; the ratio is the median over them.
    pub pairs: usize,
    /// How much work one half of a pair does.
    pub effort: Effort,
    /// Folder of recorded venue data; its rows are left out by name when absent.
    pub data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { pairs: 9, effort: Effort::Normal, data: None }
    }
}

/// How much work one half of a pair does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A hundredth: shows that everything runs, measures nothing.
    Smoke,
    /// Some ten to two hundred milliseconds.
    Normal,
    /// Ten times as much.
    Long,
}

impl Effort {
    /// `normal` scaled to the effort, at least 64.
    pub fn of(self, normal: usize) -> usize {
        match self {
            Effort::Smoke => (normal / 100).max(64),
            Effort::Normal => normal,
            Effort::Long => normal * 10,
        }
    }
}

/// Why a part could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No such part.
    #[error("no part of the benchmark is called {part:?}; there are {}", PARTS.join(", "))]
    UnknownPart {
        /// What was asked for.
        part: String,
    },
    /// The ring.
    #[error(transparent)]
    Ring(#[from] ::ring::RingError),
    /// The table of latest values.
    #[error(transparent)]
    Table(#[from] Box<::ring::table::TableError>),
    /// The feed.
    #[error(transparent)]
    Feed(#[from] Box<feed::FeedError>),
    /// A raw capture.
    #[error(transparent)]
    Capture(#[from] Box<::capture::CaptureError>),
    /// A subscriber.
    #[error(transparent)]
    Client(#[from] Box<relay::ClientError>),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] Box<relay::ServerError>),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] Box<::journal::JournalError>),
    /// The operating system.
    #[error("failed to {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The two sides of a pair disagree, so their times cannot be compared.
    #[error("{what}: ours gives {ours}, the reference {reference}")]
    Disagree {
        /// The row.
        what: String,
        /// Our result.
        ours: String,
        /// The reference's result.
        reference: String,
    },
}

macro_rules! boxed {
    ($($error:ty),+) => {
        $(impl From<$error> for BenchError {
            fn from(error: $error) -> BenchError {
                Box::new(error).into()
            }
        })+
    };
}
boxed!(
    ::capture::CaptureError,
    ::journal::JournalError,
    ::ring::table::TableError,
    feed::FeedError,
    relay::ClientError,
    relay::ServerError
);

impl BenchError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> BenchError {
        move |source| BenchError::System { what, source }
    }
}

/// The parts, in the order of the path.
pub const PARTS: [&str; 11] =
    ["parse", "book", "bars", "record", "ring", "table", "relay", "e2e", "steady", "journal", "capture"];

/// Measures one part.
pub fn run(part: &str, options: &Options) -> Result<Report, BenchError> {
    let mut report = Report::new(part);
    // A thread of its own, as the parts pin the thread they run on.
    std::thread::scope(|scope| scope.spawn(|| measure(part, options, &mut report)).join())
        .expect("a part returns its failures")?;
    Ok(report)
}

fn measure(part: &str, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    match part {
        "parse" => parse::measure(options, report),
        "book" => books::measure(options, report),
        "bars" => bars::measure(options, report),
        "record" => record::measure(options, report),
        "relay" => fanout::measure(options, report),
        "e2e" => e2e::measure(options, report),
        "steady" => steady::measure(options, report),
        "ring" => ring::measure(options, report),
        "table" => table::measure(options, report),
        "capture" => capture::measure(options, report),
        "journal" => journal::measure(options, report),
        other => Err(BenchError::UnknownPart { part: other.to_owned() }),
    }
}

/// Both sides of a pair must tell the same before they are timed.
pub(crate) fn agree<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, reference: &T) -> Result<(), BenchError> {
    if ours == reference {
        return Ok(());
    }
    Err(BenchError::Disagree { what: what.to_owned(), ours: format!("{ours:?}"), reference: format!("{reference:?}") })
}
