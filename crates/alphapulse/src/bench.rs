//! `alphapulse bench`: hands over to the benchmarks.

use benches::{Effort, Options, PARTS};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

/// Each figure is the median of paired ratios, ours against a reference, interleaved in the same run. Goals are
/// printed as met or missed and never fail the command.
#[derive(Args)]
pub struct BenchArgs {
    /// What to measure; every part, when none is named.
    parts: Vec<String>,
    /// Pairs of reference and ours.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// A hundredth of the work: shows that everything runs, measures nothing.
    #[arg(long, conflicts_with = "long")]
    smoke: bool,
    /// Ten times the work.
    #[arg(long)]
    long: bool,
    /// Folder of generated frames; made in memory when not given.
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Folder of recorded venue data.
    #[arg(long, value_name = "DIR", env = "ALPHAPULSE_TEST_DATA")]
    data: Option<PathBuf>,
    /// Print tables in Markdown.
    #[arg(long)]
    markdown: bool,
}

/// Runs the subcommand.
pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let effort = match (args.smoke, args.long) {
        (true, _) => Effort::Smoke,
        (_, true) => Effort::Long,
        _ => Effort::Normal,
    };
    let options = Options { pairs: args.pairs, effort, frames: args.frames.clone(), data: args.data.clone() };
    let all: Vec<String> = PARTS.iter().map(|p| (*p).to_owned()).collect();
    for part in if args.parts.is_empty() { &all } else { &args.parts } {
        let report = benches::run(part, &options)?;
        if args.markdown {
            println!("{}", report.markdown());
        } else {
            println!("{report}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
