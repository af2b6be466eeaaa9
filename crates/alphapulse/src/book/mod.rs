//! `alphapulse book`: an instrument's book as it is now, out of the feed's table of latest values. No stream is followed,
//! so it shows the present at once and costs the feed nothing.
//! [`source`] (or [`merged`], of all venues) -> [`Picture`](picture::Picture) -> [`screen`] (a terminal), [`text`] (one plain picture, one JSON line).

mod merged;
mod picture;
mod screen;
mod source;
#[cfg(test)]
mod tests;
mod text;

use crate::{config::Config, venue_name};
use anyhow::{Context, bail};
use clap::Args;
use model::{BookState, UnixNanos, Venue};
use source::Source;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use telemetry::clock;

/// Reads the venue's table of latest values; keys: q or Ctrl-C ends it. With --once or --json the exit status is 0 for a
/// book that is live, 1 for one that is not, 2 when there is none to show.
#[derive(Args)]
pub struct BookArgs {
    /// The symbol, canonical (BTC-USD) or in the venue's spelling.
    symbol: String,
    /// The venue; may be left out when only one has the symbol.
    #[arg(long, value_parser = venue_name)]
    venue: Option<Venue>,
    /// All venues' books as one, with who has how much at each level.
    #[arg(long, conflicts_with = "venue")]
    consolidated: bool,
    /// Quote currencies that are taken for the same, such as USD+USDT; may be repeated.
    #[arg(long = "group", value_name = "GROUP", requires = "consolidated")]
    groups: Vec<String>,
    /// Print one picture as plain text and end.
    #[arg(long)]
    once: bool,
    /// Print one picture as a line of JSON and end.
    #[arg(long, conflicts_with = "once")]
    json: bool,
    /// Levels a side that are printed, at most 50.
    #[arg(long, default_value_t = 10, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=50))]
    depth: u8,
    /// Pictures a second in the terminal.
    #[arg(long, default_value_t = 10, value_name = "RATE", value_parser = clap::value_parser!(u8).range(1..=60))]
    rate: u8,
}

/// Runs the subcommand.
pub fn run(config: &Config, args: &BookArgs) -> anyhow::Result<ExitCode> {
    let mut source = Source::open(&config.paths.rings, args, now())?;
    if args.once || args.json {
        return print(&mut source, args);
    }
    if !io::stdout().is_terminal() {
        bail!("this is no terminal; --once prints one picture of the book, --json a line of JSON");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    crate::signals::on_end(move || asked.store(true, Ordering::Release))?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let shown = screen::show(&mut terminal, &mut source, args.rate, &stop);
    // The screen is given back before a word is said on it.
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

fn print(source: &mut Source, args: &BookArgs) -> anyhow::Result<ExitCode> {
    let picture = source.look(now())?;
    let depth = usize::from(args.depth);
    let text = if args.json { text::json(&picture, depth) } else { text::plain(&picture, depth) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(picture.state != BookState::Live)))
}

fn now() -> UnixNanos {
    UnixNanos(clock::wall_ns())
}
